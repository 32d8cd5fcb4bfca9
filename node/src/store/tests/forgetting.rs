//! What was deleted or forgotten is nowhere: every table is looked through, those that the search
//! index keeps for itself as well, and every file.

use std::collections::BTreeSet;

use klatch_core::content::Content;
use klatch_core::event::Event;
use klatch_core::ids::IdentityId;
use klatch_core::query::Standing;
use klatch_core::step::{ContactRow, DirectRow, Former, OutboxRow};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use zeroize::Zeroizing;

use super::*;
use crate::store::connect::{self, Role};
use crate::store::search::Cleaned;
use crate::store::{MAIN_FILE, Note, schema};

const BOB: IdentityId = IdentityId([5; 32]);

/// The tables that hold these bytes in any of their columns.
pub(super) fn tables_with(main: &Connection, needle: &[u8]) -> BTreeSet<String> {
    let mut select = main.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let names: Vec<String> =
        select.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(names.iter().any(|n| n == "words_data"), "the index has tables of its own");
    let holds = |name: &String| {
        // It has no content; what it knows is in the tables behind it.
        if name == "words" {
            return false;
        }
        let mut select = main.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let columns = select.column_count();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for at in 0..columns {
                if let ValueRef::Text(bytes) | ValueRef::Blob(bytes) = row.get_ref(at).unwrap()
                    && bytes.windows(needle.len()).any(|w| w == needle)
                {
                    return true;
                }
            }
        }
        false
    };
    names.into_iter().filter(holds).collect()
}

fn rows_in(world: &World, table: &str) -> i64 {
    world.store.main.query_row(&format!("SELECT count(*) FROM {table}"), [], |r| r.get(0)).unwrap()
}

/// Cleans to the end; how many calls that took.
fn clean(world: &mut World) -> usize {
    for calls in 1..1_000 {
        match world.store.clean().unwrap() {
            Cleaned::All => return calls,
            Cleaned::Part => {}
            Cleaned::InUse => panic!("nobody reads"),
        }
    }
    panic!("never clean");
}

/// A room with short and large texts, changes, members, events and kept answers, all of which speak
/// of the needle; and another one beside it.
fn told() -> World {
    let mut world = World::new();
    let person =
        DeviceRow { name: "needlewoman".into(), identity: Some(BOB), ..device_row(ROOM, 1) };
    let joined = Event::RoomJoined { room: ROOM, name: "#needles".into() };
    world.journal += 1;
    world.store.note(Note { key: "sent/1".into(), value: Some(format!("[\"{ROOM}\"]")) });
    world.store.note(Note { key: "sent/2".into(), value: Some(format!("[\"{OTHER}\"]")) });
    let room = RoomRow { name: "#needles".into(), ..room_row(ROOM, "") };
    world
        .store
        .commit(&[
            Write::Room(room),
            Write::Device(person),
            Write::Journal { journal: 1, at_ms: 1, event: joined },
            Write::Fork { room: ROOM, device: device(1), seq: 9, proof: b"needle".to_vec() },
        ])
        .unwrap();
    let line = world.say(1, "a needle in the hay");
    world.say(2, &"needle ".repeat(2_000));
    world.change(1, Kind::Edit, line.hash.id(), "two needles in the hay");
    let mut late = world.entry(ROOM, 1, Kind::Text, "needle, late");
    late.entry.body = None;
    world.store.commit(&[Write::Append(late)]).unwrap();
    let kept = world.entry(OTHER, 3, Kind::Text, "hay alone");
    let large = world.entry(OTHER, 3, Kind::Text, &"hay ".repeat(2_000));
    world.store.commit(&[Write::Append(kept), Write::Append(large)]).unwrap();
    world.index();
    world
}

const FORGET: Write = Write::ForgetRoom { room: ROOM, former: Some(Former { used: 4, held: 2 }) };

#[test]
fn nothing_of_a_forgotten_room_is_in_any_table_or_file() {
    let mut world = told();
    let (plain, sealed) = (b"needle".as_slice(), mask("needle"));
    let before = tables_with(&world.store.main, plain);
    for table in ["room", "member", "event", "fork", "words_data"] {
        assert!(before.contains(table), "{before:?}");
    }
    assert!(!tables_with(&world.store.main, &sealed).is_empty());
    assert!(secrecy::on_disk(world.path(), &sealed), "in a segment");

    world.store.commit(&[FORGET]).unwrap();
    assert!(!secrecy::on_disk(world.path(), &sealed), "overwritten at once");
    assert_eq!(tables_with(&world.store.main, &sealed), BTreeSet::new());
    let left = tables_with(&world.store.main, plain);
    assert!(left.iter().all(|table| table.starts_with("words_")), "{left:?}");
    clean(&mut world);
    assert_eq!(tables_with(&world.store.main, plain), BTreeSet::new());
    // Nor is it known that there was such a room, but for its id.
    assert_eq!(tables_with(&world.store.main, &ROOM.0), BTreeSet::from(["former".to_owned()]));
    assert_eq!(tables_with(&world.store.main, ROOM.to_string().as_bytes()), BTreeSet::new());
    assert_eq!(tables_with(&world.store.main, &BOB.0), BTreeSet::new());
    assert_eq!(rows_in(&world, "device"), 1, "only who is in the other room");

    let rows = world.reader().lines(OTHER, ALL).unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|r| r.entry.body.is_some()), "the other room is as it was");
    assert_eq!(world.reader().search(OTHER, "hay", ALL).unwrap().len(), 2);
    assert_eq!(world.reader().notes("sent/").unwrap().len(), 1);
    let world = world.reopen();
    let snapshot = world.store.snapshot().unwrap();
    assert_eq!(snapshot.former, [(ROOM, Former { used: 4, held: 2 })]);
    assert_eq!(snapshot.rooms.len(), 1);
}

#[test]
fn a_forgotten_room_can_be_opened_again_and_numbers_mean_what_they_are_given_for() {
    let mut world = told();
    let forgotten = Event::Forgotten { room: ROOM, direct: false };
    world.journal += 1;
    let (journal, at_ms) = (world.journal, 9);
    // The same batch goes on in the other room, and opens the forgotten one anew.
    let more = world.entry(OTHER, 4, Kind::Text, "more hay");
    let anew = world.entry(ROOM, 4, Kind::Text, "anew");
    world
        .store
        .commit(&[
            FORGET,
            Write::Journal { journal, at_ms, event: forgotten },
            Write::Append(more),
            Write::Room(room_row(ROOM, "#garden")),
            Write::Append(anew),
            Write::CameBack { room: ROOM },
        ])
        .unwrap();
    let read = |room| texts(&world.reader().lines(room, ALL).unwrap());
    assert_eq!(read(ROOM), ["anew"]);
    assert_eq!(read(OTHER).len(), 3);
    let events = world.reader().events(0, 10).unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
    let snapshot = world.store.snapshot().unwrap();
    assert_eq!((snapshot.journal_next, snapshot.former), (world.journal + 1, Vec::new()));
}

#[test]
fn bodies_of_a_forgotten_room_are_wiped_after_a_crash() {
    let mut world = told();
    let tx = world.store.main.transaction().unwrap();
    let number = crate::store::write::room_number(&tx, ROOM).unwrap().unwrap();
    crate::store::forget::room(&tx, ROOM, number, None).unwrap();
    tx.commit().unwrap();
    assert!(secrecy::on_disk(world.path(), &mask("needle")), "the process ended here");
    let world = world.reopen();
    assert!(!secrecy::on_disk(world.path(), &mask("needle")));
    assert_eq!(rows_in(&world, "doomed"), 0);
    assert_eq!(world.reader().lines(OTHER, ALL).unwrap().len(), 2);
}

#[test]
fn what_an_older_file_had_still_to_wipe_is_wiped() {
    let mut world = World::new();
    let row = world.say(1, &"needle ".repeat(2_000));
    world
        .store
        .main
        .execute_batch(&format!(
            "UPDATE entry SET body_at = 0 WHERE journal = {0};
             DROP TABLE doomed; CREATE TABLE doomed (journal INTEGER PRIMARY KEY) STRICT;
             INSERT INTO doomed VALUES ({0}); DROP TABLE former; PRAGMA user_version = 6;",
            row.journal
        ))
        .unwrap();
    let world = world.reopen();
    assert!(!secrecy::on_disk(world.path(), &mask("needle")));
    let key = master(1).database_key();
    let other = connect::open(&world.path().join(MAIN_FILE), Some(&key), Role::Reader).unwrap();
    let version: i64 = other.query_row("PRAGMA user_version", [], |r| r.get(0)).unwrap();
    assert_eq!(version, i64::try_from(schema::MIGRATIONS.len()).unwrap());
}

#[test]
fn a_deleted_word_leaves_the_tables_of_the_index_while_the_node_is_busy() {
    let mut world = World::new();
    let all = 3_000;
    let rows: Vec<EntryRow> = (0..all)
        .map(|n| {
            // Words that nobody else uses: the index is far larger than one step takes.
            let words = (0..20).map(|k| format!("{:x}", (n * 20 + k + 1) * 0x9e37_79b9));
            let filler = format!("filler {}", words.collect::<Vec<_>>().join(" "));
            let text = if n == all / 2 { "xylophonist".into() } else { filler };
            world.entry(ROOM, 1, Kind::Text, &text)
        })
        .collect();
    world.store.commit(&rows.iter().cloned().map(Write::Append).collect::<Vec<_>>()).unwrap();
    world.index();
    let word = b"xylophonist";
    assert_eq!(tables_with(&world.store.main, word), BTreeSet::from(["words_data".to_owned()]));
    let gone = rows[all / 2].hash.id();
    world.store.commit(&[Write::DropBody { room: ROOM, entry: gone }]).unwrap();
    assert_eq!(tables_with(&world.store.main, word), BTreeSet::from(["words_data".to_owned()]));
    // Something is said between the parts: cleaning does not wait for silence.
    let mut calls = 0;
    while world.store.clean().unwrap() == Cleaned::Part {
        world.say(1, "busy");
        calls += 1;
        assert!(calls < 100);
    }
    assert_eq!(tables_with(&world.store.main, word), BTreeSet::new());
    assert_eq!(world.found("filler").len(), 1_000, "as many as were asked for");
}

#[test]
fn an_edited_word_leaves_the_tables_of_the_index() {
    let mut world = World::new();
    let line = world.say(1, "xylophonist");
    for n in 0..200 {
        world.say(1, &format!("filler {n}"));
    }
    world.index();
    world.change(1, Kind::Edit, line.hash.id(), "percussionist");
    world.index();
    assert_eq!(tables_with(&world.store.main, b"xylophonist"), BTreeSet::new());
    assert_eq!(world.found("percussionist").len(), 1);
}

fn message(journal: u64, own: bool, content: &Content) -> DirectRow {
    DirectRow {
        journal,
        room: RoomId::of_conversation(&BOB),
        identity: BOB,
        id: EntryId([u8::try_from(journal).unwrap(); 16]),
        device: if own { device(1) } else { device(5) },
        own,
        seq: journal,
        kind: content.kind().code(),
        eff: journal,
        lamport: journal,
        at_ms: journal,
        arrived_ms: journal,
        shown_ms: journal,
        target: content.target(),
        content: Some(content.encode()),
        state: None,
    }
}

#[test]
fn nothing_of_a_forgotten_conversation_is_in_any_table() {
    let mut world = World::new();
    world.say(1, "hay in a room");
    let room = RoomId::of_conversation(&BOB);
    let text = |text: &str| Content::Text { text: text.to_owned(), reply_to: None };
    let contact = ContactRow {
        identity: BOB,
        room,
        claimed: "needleman".into(),
        petname: Some("needles".into()),
        standing: Standing::Accepted,
        verified: None,
        keys: b"needle keys".to_vec(),
        read_upto: 0,
        since_ms: 1,
    };
    let row = |number: u8| OutboxRow {
        device: device(number),
        identity: BOB,
        seq: 1,
        id: EntryId([11; 16]),
        queued_ms: 1,
        frame: b"needle frame".to_vec(),
        sealed: true,
    };
    let name_mark = None;
    let news = klatch_core::event::ContactNews::Accepted;
    let changed =
        Event::ContactChanged { identity: BOB, room, name: "needles".into(), name_mark, news };
    world
        .store
        .commit(&[
            Write::Contact(contact),
            Write::Direct(message(10, false, &text("a needle, from him"))),
            Write::Direct(message(11, true, &text("a needle, from me"))),
            Write::Ratchet { device: device(5), state: Zeroizing::new(b"needle key".to_vec()) },
            Write::Outbox(row(5)),
            Write::Outbox(row(6)),
            Write::Journal { journal: 12, at_ms: 1, event: changed },
        ])
        .unwrap();
    world.index();
    assert!(tables_with(&world.store.main, b"needle").len() >= 6);
    let forget = Write::ForgetDirect { room, identity: BOB, devices: vec![device(5)] };
    world.store.commit(&[forget]).unwrap();
    clean(&mut world);
    assert_eq!(tables_with(&world.store.main, b"needle"), BTreeSet::new());
    assert_eq!(tables_with(&world.store.main, &BOB.0), BTreeSet::new());
    assert_eq!(tables_with(&world.store.main, &room.0), BTreeSet::new());
    assert_eq!(rows_in(&world, "device"), 1);
    assert_eq!(world.found("hay").len(), 1);
}
