//! Commit, reopen, counters, failure.

use klatch_core::event::Event;
use klatch_core::ids::Peer;
use klatch_core::query::Numbered;

use super::*;
use crate::store::{StoreError, book};

/// Larger than what stays in the encrypted file.
const LARGE: usize = 20_000;

#[test]
fn everything_committed_is_there_after_reopening() {
    let mut world = World::new();
    let small = world.entry(ROOM, 1, Kind::Text, "small");
    let large = world.entry(ROOM, 2, Kind::Text, &"large ".repeat(LARGE / 6));
    let mut unsigned = world.entry(OTHER, 1, Kind::Text, "elsewhere");
    unsigned.entry.signature = None;
    let mut bare = world.entry(ROOM, 1, Kind::Text, "");
    bare.entry.body = None;
    let rows = [small, large, unsigned, bare];
    let mut writes: Vec<Write> = rows.iter().cloned().map(Write::Append).collect();
    writes.push(Write::Device(device_row(ROOM, 2)));
    writes.push(Write::Name("alice".into()));
    writes.push(Write::Journal { journal: 9, at_ms: 7, event: Event::RoomLeft { room: OTHER } });
    world.store.commit(&writes).unwrap();

    let world = world.reopen();
    let snapshot = world.store.snapshot().unwrap();
    assert_eq!((snapshot.journal_next, snapshot.name.as_str()), (10, "alice"));
    assert_eq!(snapshot.rooms.len(), 2);
    let garden = &snapshot.rooms[0];
    assert_eq!((garden.row.name.as_str(), garden.row.root.as_bytes()), ("#garden", &[1; 32]));
    assert_eq!(garden.devices, vec![device_row(ROOM, 2)]);
    let hashes: Vec<_> = garden.entries.iter().map(|e| e.hash).collect();
    assert_eq!(hashes, vec![rows[0].hash, rows[1].hash, rows[3].hash]);
    assert!(!snapshot.rooms[1].entries[0].signed);

    let read = world.reader().journal(None, 0, 10).unwrap();
    for (read, written) in read.iter().zip(&rows) {
        assert_eq!(
            (read.journal, read.hash, read.device, read.seq),
            (written.journal, written.hash, written.device, written.seq)
        );
        assert_eq!(
            (read.hlc, read.eff, read.lamport, read.kind),
            (written.hlc, written.eff, written.lamport, written.kind)
        );
        assert_eq!(read.entry, written.entry);
    }
    let left = Numbered { journal: 9, at_ms: 7, event: Event::RoomLeft { room: OTHER } };
    assert_eq!(world.reader().events(0, 10).unwrap(), vec![left]);
    assert_eq!(world.reader().newest().unwrap(), 9);
}

#[test]
fn foreign_clocks_of_all_sizes_keep_their_value_and_order() {
    let mut world = World::new();
    let values = [u64::MAX, 0, 1 << 63, 1, (1 << 63) - 1];
    for value in values {
        let mut row = world.entry(ROOM, 1, Kind::Text, "x");
        (row.hlc, row.eff, row.lamport) = (value, value, value);
        world.store.commit(&[Write::Append(row)]).unwrap();
    }
    let loaded = world.store.snapshot().unwrap();
    let clocks: Vec<u64> = loaded.rooms[0].entries.iter().map(|e| e.hlc).collect();
    assert_eq!(clocks, values);
    let shown: Vec<u64> = world.reader().lines(ROOM, ALL).unwrap().iter().map(|r| r.eff).collect();
    assert_eq!(shown, [0, 1, (1 << 63) - 1, 1 << 63, u64::MAX]);
}

#[test]
fn failed_batch_leaves_nothing_behind_and_the_next_one_works() {
    let mut world = World::new();
    let first = world.say(1, "first");
    let fresh = world.entry(ROOM, 2, Kind::Text, &"x".repeat(LARGE));
    let mut twice = world.entry(ROOM, 1, Kind::Text, "second entry in one place");
    twice.seq = first.seq;
    let failed = world.store.commit(&[Write::Append(fresh.clone()), Write::Append(twice)]);
    assert!(matches!(failed, Err(StoreError::Conflict { .. })), "{failed:?}");
    assert_eq!(world.store.snapshot().unwrap().rooms[0].entries.len(), 1);
    // The device of the failed batch has no number yet: its entry must not go under somebody
    // else's.
    world.store.commit(&[Write::Append(fresh.clone())]).unwrap();
    let row = world.reader().by_id(ROOM, fresh.hash.id()).unwrap().unwrap();
    assert_eq!((row.device, row.entry), (fresh.device, fresh.entry));
}

#[test]
fn an_entry_of_an_unknown_room_is_refused() {
    let mut world = World::new();
    let row = world.entry(RoomId([9; 16]), 1, Kind::Text, "x");
    assert!(matches!(world.store.commit(&[Write::Append(row)]), Err(StoreError::Conflict { .. })));
}

#[test]
fn full_disk_rolls_back_and_the_store_works_again_with_space() {
    let mut world = World::new();
    world.say(1, "before");
    let pages: i64 = world.store.main.query_row("PRAGMA page_count", [], |r| r.get(0)).unwrap();
    world.store.main.execute_batch(&format!("PRAGMA max_page_count = {}", pages + 4)).unwrap();
    let rows: Vec<_> =
        (0..100).map(|_| world.entry(ROOM, 1, Kind::Text, &"x".repeat(4_000))).collect();
    let writes: Vec<_> = rows.into_iter().map(Write::Append).collect();
    let full = world.store.commit(&writes);
    assert!(matches!(&full, Err(e @ StoreError::Full { .. }) if e.retryable()), "{full:?}");
    assert_eq!(world.reader().journal(None, 0, 1_000).unwrap().len(), 1, "readers go on");
    assert_eq!(world.store.snapshot().unwrap().rooms[0].entries.len(), 1);

    world.store.main.execute_batch("PRAGMA max_page_count = 1000000").unwrap();
    world.store.commit(&writes).unwrap();
    assert_eq!(world.store.snapshot().unwrap().rooms[0].entries.len(), 101);
}

#[test]
fn what_its_author_deleted_is_not_unread() {
    let mut world = World::new();
    let rows: Vec<_> = (0..3).map(|n| world.say(2, &format!("text {n}"))).collect();
    let unread = |world: &World| world.reader().rooms(Some(device(1))).unwrap()[0].unread;
    assert_eq!(unread(&world), 3);
    for row in &rows[..2] {
        world.change(2, Kind::Delete, row.hash.id(), "");
        world.store.commit(&[Write::DropBody { room: ROOM, entry: row.hash.id() }]).unwrap();
    }
    assert_eq!(unread(&world), 1);
    // A text that is only not stored here is unread all the same.
    let mut bare = world.entry(ROOM, 2, Kind::Text, "not kept");
    bare.entry.body = None;
    world.store.commit(&[Write::Append(bare)]).unwrap();
    assert_eq!(unread(&world), 2);
}

#[test]
fn an_event_of_a_newer_version_is_passed_on_as_such() {
    let world = World::new();
    let left = Numbered { journal: 9, at_ms: 7, event: Event::RoomLeft { room: OTHER } };
    let rows = [
        (8, r#"{"journal":8,"at_ms":5,"event":"tea_served","cups":[2]}"#.to_owned()),
        (9, serde_json::to_string(&left).unwrap()),
    ];
    for (journal, text) in rows {
        world.store.main.execute("INSERT INTO event VALUES (?1, ?2)", (journal, text)).unwrap();
    }
    let newer = Event::Newer { what: "tea_served".to_owned() };
    let read = world.reader().events(0, 10).unwrap();
    assert_eq!(read, vec![Numbered { journal: 8, at_ms: 5, event: newer }, left]);
    world.store.main.execute("INSERT INTO event VALUES (10, 'rubbish')", []).unwrap();
    assert!(world.reader().events(0, 10).is_err(), "that is damage");
}

#[test]
fn counters_run_along_and_shrink_with_dropped_bodies() {
    let mut world = World::new();
    let own = device(1);
    let small = world.say(1, "small");
    let large = world.say(2, &"x".repeat(LARGE));
    world.change(2, Kind::Reaction, small.hash.id(), "+1");
    let room = |world: &World| world.reader().rooms(Some(own)).unwrap().remove(0);
    let before = room(&world);
    let sizes = |rows: &[&EntryRow]| rows.iter().map(|r| r.entry.header.len() as u64).sum::<u64>();
    assert_eq!((before.messages, before.unread), (2, 1));
    assert!(before.bytes > sizes(&[&small, &large]) + LARGE as u64);

    world.store.commit(&[Write::ReadUpto { room: ROOM, journal: large.journal }]).unwrap();
    world.store.commit(&[Write::ReadUpto { room: ROOM, journal: 1 }]).unwrap();
    world.store.commit(&[Write::DropBody { room: ROOM, entry: large.hash.id() }]).unwrap();
    world.store.commit(&[Write::DropBody { room: ROOM, entry: large.hash.id() }]).unwrap();
    let after = room(&world);
    assert_eq!((after.unread, after.read_upto), (0, large.journal));
    assert_eq!(before.bytes - after.bytes, LARGE as u64);
    assert_eq!(world.store.snapshot().unwrap().rooms[0].bytes, after.bytes);
}

#[test]
fn acknowledgements_only_grow() {
    let mut world = World::new();
    let acked = |seq| Write::Acked { room: ROOM, device: device(3), seq };
    world.store.commit(&[acked(7), acked(2)]).unwrap();
    world
        .store
        .commit(&[Write::Device(device_row(ROOM, 3)), Write::Device(device_row(ROOM, 4))])
        .unwrap();
    assert_eq!(world.reader().acked(ROOM).unwrap(), vec![(device(3), 8)]);
}

#[test]
fn fork_proof_is_kept_and_marks_the_device() {
    let mut world = World::new();
    let fork = |seq| Write::Fork { room: ROOM, device: device(3), seq, proof: vec![1, 2, 3] };
    world.store.commit(&[fork(9), fork(4), fork(4)]).unwrap();
    let proofs = world.reader().forks(ROOM).unwrap();
    assert_eq!(proofs, vec![(device(3), 4, vec![1, 2, 3]), (device(3), 9, vec![1, 2, 3])]);
    assert_eq!(world.reader().devices(ROOM).unwrap()[0].forked, Some(4));
}

#[test]
fn room_row_is_replaced_and_keeps_its_entries() {
    let mut world = World::new();
    world.say(1, "still here");
    world
        .store
        .commit(&[Write::Room(RoomRow {
            left: true,
            over_budget: true,
            ..room_row(ROOM, "#garden")
        })])
        .unwrap();
    let rooms = world.reader().rooms(None).unwrap();
    assert_eq!((rooms[0].left, rooms[0].over_budget, rooms[0].messages), (true, true, 1));
}

#[test]
fn body_is_gone_from_all_files_after_it_is_dropped() {
    let mut world = World::new();
    let small = world.say(1, "small-needle");
    let large = world.say(1, &"large-needle ".repeat(LARGE / 13));
    assert!(secrecy::on_disk(world.path(), &mask("large-needle ")));
    let drops = [&small, &large].map(|r| Write::DropBody { room: ROOM, entry: r.hash.id() });
    world.store.commit(&drops).unwrap();
    let reader = world.reader();
    for row in [&small, &large] {
        let read = reader.by_id(ROOM, row.hash.id()).unwrap().unwrap();
        assert_eq!((read.entry.body, read.entry.header), (None, row.entry.header.clone()));
    }
    assert!(!secrecy::on_disk(world.path(), &mask("large-needle ")), "overwritten");
    let doomed: i64 =
        world.store.main.query_row("SELECT count(*) FROM doomed", [], |r| r.get(0)).unwrap();
    assert_eq!(doomed, 0);
}

#[test]
fn readers_see_whole_commits_and_do_not_stop_the_writer() {
    let mut world = World::new();
    world.say(1, "one");
    let reader = world.reader();
    let held = reader.main.unchecked_transaction().unwrap();
    let count = |c: &rusqlite::Connection| {
        c.query_row("SELECT count(*) FROM entry", [], |r| r.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(count(&held), 1);
    let large = world.say(1, &"x".repeat(LARGE));
    world.store.commit(&[Write::DropBody { room: ROOM, entry: large.hash.id() }]).unwrap();
    assert_eq!(count(&held), 1, "a reader keeps its view");
    drop(held);
    assert_eq!(count(&reader.main), 2);
    assert!(reader.main.execute("DELETE FROM entry", []).is_err(), "readers cannot write");
}

#[test]
fn address_book_keeps_the_latest_addresses_of_each_peer() {
    let mut world = World::new();
    for n in 0..300_u64 {
        let peer = [u8::try_from(n % 7).unwrap()];
        world.store.remember_address(&peer, None, &format!("/ip4/127.0.0.1/tcp/{n}"), n).unwrap();
    }
    world.store.remember_address(&[3], Some(device(1)), "/ip4/127.0.0.1/tcp/290", 500).unwrap();
    world.store.remember_address(&[1], Some(device(1)), "/ip4/127.0.0.1/tcp/290", 400).unwrap();
    world.store.remember_address(&[3], None, "/ip4/127.0.0.1/tcp/290", 450).unwrap();
    world.store.remember_address(&[3], None, &"x".repeat(600), 900).unwrap();
    let known = world.reopen().store.addresses().unwrap();
    assert_eq!(
        (known[0].seen_ms, known[0].device, known[0].addr.as_str()),
        (500, Some(device(1)), "/ip4/127.0.0.1/tcp/290")
    );
    assert!(known.windows(2).all(|w| w[0].seen_ms >= w[1].seen_ms));
    for peer in 0..7 {
        let own: Vec<u64> = known.iter().filter(|a| a.peer == [peer]).map(|a| a.seen_ms).collect();
        assert_eq!(own.len(), 8, "of peer {peer}");
        // Eight rounds of seven peers back from the last one.
        assert!(own.iter().all(|seen| *seen >= 300 - 9 * 7), "{own:?}");
    }
}

#[test]
fn address_book_forgets_the_peers_not_reached_for_longest() {
    let mut world = World::new();
    let peers = |n: u64| n.to_be_bytes();
    let max = u64::try_from(book::PEERS_MAX).unwrap();
    for n in 0..max {
        for port in 0..2 {
            world
                .store
                .remember_address(
                    &peers(n),
                    None,
                    &format!("/ip4/127.0.0.1/tcp/{port}"),
                    n * 2 + port,
                )
                .unwrap();
        }
    }
    // The first one is reached again, at one of its addresses; two new ones come.
    world.store.remember_address(&peers(0), None, "/ip4/127.0.0.1/tcp/1", 5_000).unwrap();
    for n in [max, max + 1] {
        world.store.remember_address(&peers(n), None, "/ip4/127.0.0.1/tcp/9", 6_000 + n).unwrap();
    }
    let known = world.store.addresses().unwrap();
    let held = |n: u64| known.iter().filter(|a| a.peer == peers(n)).count();
    assert_eq!(
        known.iter().map(|a| &a.peer).collect::<std::collections::BTreeSet<_>>().len() as u64,
        max
    );
    assert_eq!([held(0), held(1), held(2), held(3), held(max), held(max + 1)], [2, 0, 0, 2, 1, 1]);
}

#[test]
fn address_book_forgets_a_peer_by_name_or_by_any_of_its_addresses() {
    let mut world = World::new();
    for (peer, port) in [(1, 1), (1, 2), (2, 3), (2, 4), (3, 5)] {
        let address = format!("/ip4/127.0.0.1/tcp/{port}");
        world.store.remember_address(&[peer], None, &address, port).unwrap();
    }
    let there = Some("/ip4/127.0.0.1/tcp/4");
    assert_eq!(world.store.forget_addresses(&[Peer(vec![1])], there).unwrap(), 4);
    assert_eq!(world.store.forget_addresses(&[Peer(vec![1])], there).unwrap(), 0);
    let left = world.reopen().store.addresses().unwrap();
    assert_eq!(left.iter().map(|a| a.peer[0]).collect::<Vec<_>>(), [3]);
}

#[test]
fn files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let mut world = World::new();
    world.say(1, &"x".repeat(LARGE));
    for file in std::fs::read_dir(world.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
    }
}

#[test]
fn durability_settings_are_in_force() {
    let world = World::new();
    for (name, value) in [
        ("journal_mode", "wal"),
        ("synchronous", "2"),
        ("secure_delete", "1"),
        ("foreign_keys", "1"),
        ("temp_store", "2"),
        ("page_size", "4096"),
        ("cipher_page_size", "4096"),
        ("cipher_hmac_algorithm", "HMAC_SHA256"),
    ] {
        let found = world.store.main.query_row(&format!("PRAGMA {name}"), [], |r| {
            r.get_ref(0)
                .map(|v| v.as_str().map_or_else(|_| v.as_i64().unwrap().to_string(), str::to_owned))
        });
        assert_eq!(found.unwrap(), value, "{name}");
    }
}
