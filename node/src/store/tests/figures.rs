//! Figures, not claims: `cargo test --release -p klatch-node store_figures -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use super::*;

fn report(what: &str, count: usize, took: Duration) {
    let rate = count as f64 / took.as_secs_f64();
    println!("{what:<42} {count:>7} in {:>9.1} ms  {rate:>9.0}/s", took.as_secs_f64() * 1e3);
}

/// Commits `count` entries in batches and prints rate and latency.
fn commits(world: &mut World, what: &str, bytes: usize, batch: usize, count: usize) {
    let text = "lorem ipsum dolor sit amet ".repeat(bytes / 27 + 1);
    let batches: Vec<Vec<Write>> = (0..count / batch)
        .map(|b| {
            let by = u8::try_from(b % 5).unwrap();
            (0..batch).map(|_| Write::Append(world.entry(ROOM, by, Kind::Text, &text[..bytes]))).collect()
        })
        .collect();
    let (start, mut slowest) = (Instant::now(), Vec::new());
    for batch in &batches {
        let one = Instant::now();
        world.store.commit(batch).unwrap();
        slowest.push(one.elapsed());
    }
    report(what, count, start.elapsed());
    slowest.sort();
    let at = |q: usize| slowest[(slowest.len() - 1) * q / 100].as_secs_f64() * 1e3;
    println!("    per commit: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", at(50), at(99), at(100));
}

#[test]
#[ignore = "prints figures"]
fn store_figures() {
    let mut world = World::new();
    commits(&mut world, "200 B, one per commit", 470, 1, 2_000);
    commits(&mut world, "200 B, batches of 16", 470, 16, 16_000);
    commits(&mut world, "200 B, batches of 100", 470, 100, 82_000);
    let (start, loaded) = (Instant::now(), world.store.snapshot().unwrap());
    report("snapshot", loaded.rooms[0].entries.len(), start.elapsed());
    let start = Instant::now();
    world.index();
    report("index", 100_000, start.elapsed());
    let reader = world.reader();
    for words in ["lor", "lorem dolor", "l", "nothing"] {
        let start = Instant::now();
        let found = reader.search(ROOM, words, Found { limit: 50, ..ALL }).unwrap();
        report(&format!("search `{words}`"), found.len(), start.elapsed());
    }
    let start = Instant::now();
    let lines = reader.lines(ROOM, Found { limit: 50, ..ALL }).unwrap();
    report("newest lines", lines.len(), start.elapsed());
    let start = Instant::now();
    reader.rooms(Some(device(1))).unwrap();
    report("rooms with 80,000 unread", 1, start.elapsed());
    catch_up(&reader);

    let folder = world.folder;
    drop(world.store);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        println!("    {:?} {} kB", file.file_name(), file.metadata().unwrap().len() / 1024);
    }
    let start = Instant::now();
    let store = Store::open(folder.path(), &master(1)).unwrap();
    report("open", 1, start.elapsed());
    drop(store);

    let mut world = World::new();
    commits(&mut world, "20 kB, one per commit", 20_000, 1, 500);
    commits(&mut world, "20 kB, batches of 16", 20_000, 16, 1_600);
    commits(&mut world, "20 kB, batches of 100", 20_000, 100, 3_000);
    commits(&mut world, "50 kB, batches of 16", 50_000, 16, 1_600);
    let start = Instant::now();
    world.index();
    report("index", 6_700, start.elapsed());
    catch_up(&world.reader());
}

fn catch_up(reader: &Reader) {
    let (mut held, mut count, mut slowest) = (BTreeMap::new(), 0, Duration::ZERO);
    let start = Instant::now();
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
    report("pages of a whole room", count, start.elapsed());
    println!("    slowest page {:.1} ms", slowest.as_secs_f64() * 1e3);
}
