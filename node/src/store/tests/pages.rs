//! Pages for other nodes.

use klatch_core::ids::HashShort;
use klatch_core::wire::Frontier;

use super::*;

/// Runs of several devices, arrivals interleaved, some bodies large; returns the entries in arrival
/// order.
fn grow(world: &mut World, rounds: usize) -> Vec<EntryRow> {
    let mut all = Vec::new();
    for round in 0..rounds {
        for by in 1..=4_u8 {
            let length = (round * 7 + usize::from(by) * 3) % 6 + 1;
            let mut run: Vec<EntryRow> = (0..length)
                .map(|n| {
                    let text = if (round + n) % 9 == 0 {
                        "y".repeat(6_000)
                    } else {
                        format!("{by} says {round}.{n}")
                    };
                    world.entry(ROOM, by, Kind::Text, &text)
                })
                .collect();
            for row in &mut run[..length - 1] {
                row.entry.signature = None;
            }
            world
                .store
                .commit(&run.iter().cloned().map(Write::Append).collect::<Vec<_>>())
                .unwrap();
            all.append(&mut run);
        }
    }
    all
}

pub(super) fn seq_of(entry: &SealedEntry) -> (DeviceId, u64) {
    let header = Header::decode(&entry.header).unwrap();
    (header.device, header.seq)
}

/// Checks that a page consists of whole runs and moves the frontier of the peer that got it.
fn take(page: &[SealedEntry], held: &mut BTreeMap<DeviceId, u64>) {
    assert!(page.last().is_some_and(|e| e.signature.is_some()), "a page ends with a run");
    for entries in page.windows(2).filter(|w| w[0].signature.is_none()) {
        let ((a, n), (b, m)) = (seq_of(&entries[0]), seq_of(&entries[1]));
        assert_eq!((a, n + 1), (b, m), "runs are not torn");
    }
    for entry in page {
        let (device, seq) = seq_of(entry);
        let next = held.get(&device).map_or(0, |last| last + 1);
        assert_eq!(seq, next, "no gap, nothing twice");
        held.insert(device, seq);
    }
}

pub(super) fn frontier(held: &BTreeMap<DeviceId, u64>) -> Frontier {
    held.iter().map(|(device, seq)| (device.prefix(), *seq, HashShort([0; 8]))).collect()
}

#[test]
fn pages_bring_everything_once_in_whole_runs() {
    let mut world = World::new();
    let all = grow(&mut world, 20);
    let reader = world.reader();
    for (bytes_max, entries_max) in [(1 << 20, 1_000), (8_000, 1_000), (1 << 20, 10), (1, 1)] {
        let (mut held, mut got) = (BTreeMap::new(), Vec::new());
        loop {
            let (page, more) = reader.page(ROOM, &frontier(&held), bytes_max, entries_max).unwrap();
            take(&page, &mut held);
            got.extend(page);
            if !more {
                break;
            }
        }
        assert_eq!(got.len(), all.len());
        assert!(got.iter().zip(&all).all(|(g, a)| *g == a.entry), "in arrival order, as received");
    }
    let (rest, more) = reader.page(ROOM, &frontier(&last(&all)), 1 << 20, 1_000).unwrap();
    assert_eq!((rest.len(), more), (0, false));
}

fn last(all: &[EntryRow]) -> BTreeMap<DeviceId, u64> {
    all.iter().map(|r| (r.device, r.seq)).collect()
}

#[test]
fn page_stays_within_its_bounds_unless_one_run_is_larger() {
    let mut world = World::new();
    grow(&mut world, 10);
    let reader = world.reader();
    let (page, more) = reader.page(ROOM, &Vec::new(), 9_000, 1_000).unwrap();
    assert!(more && page.iter().map(SealedEntry::len).sum::<usize>() <= 9_000);
    let (page, _) = reader.page(ROOM, &Vec::new(), 1 << 20, 12).unwrap();
    assert!(page.len() <= 12);
    let (page, more) = reader.page(ROOM, &Vec::new(), 0, 0).unwrap();
    assert!(more && !page.is_empty() && page.iter().filter(|e| e.signature.is_some()).count() == 1);
}

#[test]
fn only_what_is_missing_is_sent() {
    let mut world = World::new();
    let all = grow(&mut world, 5);
    let mut held = last(&all);
    held.remove(&device(3));
    held.insert(device(9), 4);
    held.insert(device(2), u64::MAX);
    let (page, _) = world.reader().page(ROOM, &frontier(&held), 1 << 20, 1_000).unwrap();
    assert!(page.iter().all(|e| seq_of(e).0 == device(3)));
    assert_eq!(page.len(), all.iter().filter(|r| r.device == device(3)).count());
}

#[test]
fn unfinished_run_is_not_sent() {
    let mut world = World::new();
    world.say(1, "ended");
    let mut open = world.entry(ROOM, 1, Kind::Text, "not signed yet");
    open.entry.signature = None;
    world.store.commit(&[Write::Append(open)]).unwrap();
    let (page, more) = world.reader().page(ROOM, &Vec::new(), 1 << 20, 10).unwrap();
    assert_eq!((page.len(), more), (1, false));
}

#[test]
fn run_around_a_foreign_entry_comes_after_it() {
    let mut world = World::new();
    // Own entries are numbered when they are made and signed when the batch ends; another's entry
    // may come between.
    let mut first = world.entry(ROOM, 1, Kind::Text, "first");
    first.entry.signature = None;
    let foreign = world.entry(ROOM, 2, Kind::Text, "foreign");
    let second = world.entry(ROOM, 1, Kind::Text, "follows foreign");
    let rows = [foreign.clone(), first, second];
    world.store.commit(&rows.clone().map(Write::Append)).unwrap();
    let (page, _) = world.reader().page(ROOM, &Vec::new(), 1 << 20, 10).unwrap();
    assert!(page.iter().zip(&rows).all(|(p, r)| *p == r.entry));
    let (page, more) = world.reader().page(ROOM, &Vec::new(), 1, 1).unwrap();
    assert_eq!((page.len(), more), (1, true));
}

#[test]
fn entries_without_body_are_sent_all_the_same() {
    let mut world = World::new();
    let row = world.say(1, &"z".repeat(6_000));
    world.store.commit(&[Write::DropBody { room: ROOM, entry: row.hash.id() }]).unwrap();
    let (page, _) = world.reader().page(ROOM, &Vec::new(), 1 << 20, 10).unwrap();
    assert_eq!((page.len(), &page[0].body), (1, &None));
    assert_eq!(
        world.reader().page(RoomId([9; 16]), &Vec::new(), 1, 1).unwrap(),
        (Vec::new(), false)
    );
}
