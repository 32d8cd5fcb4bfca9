//! Figures. `KLATCH_FIGURES=1 cargo test --release -p klatch-node store_figures -- --nocapture`
//! prints them for a room of 100,000 messages; without the variable the same steps run on 5,000, as
//! a check that they work.

use std::time::{Duration, Instant};

use super::*;

/// Wall time and this thread's processor time: on a busy machine only the second one says much.
struct Clock(Instant, f64);

impl Clock {
    fn start() -> Self {
        Self(Instant::now(), cpu_ms())
    }

    fn report(&self, what: &str, count: usize) {
        let (wall, cpu) = (self.0.elapsed().as_secs_f64() * 1e3, cpu_ms() - self.1);
        let rate = count as f64 / wall * 1e3;
        println!(
            "{what:<32} {count:>7} in {wall:>9.1} ms ({cpu:>9.1} ms of processor) {rate:>9.0}/s"
        );
    }
}

/// Time this thread has run, where the system says so in the Linux way.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or_default() / 1e6
}

/// Commits `count` entries in batches and prints rate and latency.
fn commits(world: &mut World, what: &str, bytes: usize, batch: usize, count: usize) {
    let text = "lorem ipsum dolor sit amet ".repeat(bytes / 27 + 1);
    let batches: Vec<Vec<Write>> = (0..count / batch)
        .map(|b| {
            let by = u8::try_from(b % 5).unwrap();
            (0..batch)
                .map(|_| Write::Append(world.entry(ROOM, by, Kind::Text, &text[..bytes])))
                .collect()
        })
        .collect();
    let (start, mut slowest) = (Clock::start(), Vec::new());
    for batch in &batches {
        let one = Instant::now();
        world.store.commit(batch).unwrap();
        slowest.push(one.elapsed());
    }
    start.report(what, count);
    slowest.sort();
    let at = |q: usize| slowest[(slowest.len() - 1) * q / 100].as_secs_f64() * 1e3;
    println!("    per commit: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", at(50), at(99), at(100));
}

#[test]
fn store_figures() {
    let part = if std::env::var_os("KLATCH_FIGURES").is_some() { 1 } else { 20 };
    let mut world = World::new();
    commits(&mut world, "200 B, one per commit", 470, 1, 2_000 / part);
    commits(&mut world, "200 B, batches of 16", 470, 16, 16_000 / part);
    commits(&mut world, "200 B, batches of 100", 470, 100, 82_000 / part);
    queries(&mut world);
    removals();
    let folder = world.folder;
    drop(world.store);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        println!("    {:?} {} kB", file.file_name(), file.metadata().unwrap().len() / 1024);
    }
    let start = Clock::start();
    let store = Store::open(folder.path(), &master(1)).unwrap();
    start.report("open", 1);
    drop(store);

    let mut world = World::new();
    commits(&mut world, "20 kB, one per commit", 20_000, 1, 500 / part);
    commits(&mut world, "20 kB, batches of 16", 20_000, 16, 1_600 / part);
    commits(&mut world, "20 kB, batches of 100", 20_000, 100, 3_000 / part);
    commits(&mut world, "50 kB, batches of 16", 50_000, 16, 1_600 / part);
    queries(&mut world);
}

fn queries(world: &mut World) {
    let (start, loaded) = (Clock::start(), world.store.snapshot().unwrap());
    let count = loaded.rooms[0].entries.len();
    start.report("snapshot", count);
    let start = Clock::start();
    world.index();
    start.report("index", count);
    let reader = world.reader();
    for words in ["lor", "lorem dolor", "l", "nothing"] {
        let start = Clock::start();
        let found = reader.search(ROOM, words, Found { limit: 50, ..ALL }).unwrap();
        start.report(&format!("search `{words}`"), found.len());
    }
    let start = Clock::start();
    let lines = reader.lines(ROOM, Found { limit: 50, ..ALL }).unwrap();
    start.report("newest lines", lines.len());
    let start = Clock::start();
    reader.rooms(Some(device(1))).unwrap();
    start.report("rooms with all unread", 1);
    assert_eq!(catch_up(&reader), count);
}

/// What a deleted word costs in a large index, and a room that is forgotten.
fn removals() {
    let count = if std::env::var_os("KLATCH_FIGURES").is_some() { 100_000 } else { 5_000 };
    let mut world = World::new();
    // A vocabulary of 50,000 words, 30 of them in a text.
    let word = |n: usize| format!("w{:x}", (n * 7_919) % 50_000 * 0x9e37);
    let rows: Vec<EntryRow> = (0..count)
        .map(|n| {
            let text: Vec<String> = (0..30).map(|k| word(n * 31 + k * k)).collect();
            world.entry(ROOM, 1, Kind::Text, &text.join(" "))
        })
        .collect();
    for rows in rows.chunks(100) {
        let writes: Vec<Write> = rows.iter().cloned().map(Write::Append).collect();
        world.store.commit(&writes).unwrap();
    }
    world.index();
    world.store.commit(&[Write::DropBody { room: ROOM, entry: rows[7].hash.id() }]).unwrap();
    let (start, mut slowest, mut parts) = (Clock::start(), Duration::ZERO, 1);
    loop {
        let one = Instant::now();
        let done = world.store.clean().unwrap() != crate::store::Cleaned::Part;
        slowest = slowest.max(one.elapsed());
        if done {
            break;
        }
        parts += 1;
    }
    start.report("a deleted word leaves, in parts", parts);
    println!("    slowest part {:.1} ms", slowest.as_secs_f64() * 1e3);
    let start = Clock::start();
    world.store.commit(&[Write::ForgetRoom { room: ROOM, former: None }]).unwrap();
    start.report("a room is forgotten", count);
}

/// Reads all pages a new member asks for; returns how many entries they hold.
fn catch_up(reader: &Reader) -> usize {
    let (mut held, mut count, mut slowest) = (BTreeMap::new(), 0, Duration::ZERO);
    let start = Clock::start();
    loop {
        let one = Instant::now();
        let frontier = pages::frontier(&held);
        let (page, more) = reader.page(ROOM, &frontier, 512 << 10, 1_000).unwrap();
        slowest = slowest.max(one.elapsed());
        count += page.len();
        for entry in &page {
            let (device, seq) = pages::seq_of(entry);
            held.insert(device, seq);
        }
        if !more {
            break;
        }
    }
    start.report("pages of a whole room", count);
    println!("    slowest page {:.1} ms", slowest.as_secs_f64() * 1e3);
    count
}
