//! Conversations at rest.

use klatch_core::content::Content;
use klatch_core::event::Delivery;
use klatch_core::ids::IdentityId;
use klatch_core::query::Standing;
use klatch_core::step::{ContactRow, DirectRow, OutboxRow};
use zeroize::Zeroizing;

use super::*;
use crate::store::bodies::Bodies;
use crate::store::connect::{self, Role};
use crate::store::segments::Segments;
use crate::store::{DirectFound, DirectKey, MAIN_FILE, StoreError, schema, write};

/// The newest messages, without conditions.
const EVERY: DirectFound = DirectFound { before: None, since_ms: None, limit: 1_000 };
const NOON: u64 = 1_000_000;

fn person(number: u8) -> IdentityId {
    IdentityId([number; 32])
}

fn with(number: u8) -> RoomId {
    RoomId::of_conversation(&person(number))
}

fn contact(number: u8) -> ContactRow {
    ContactRow {
        identity: person(number),
        room: with(number),
        claimed: format!("person {number}"),
        petname: None,
        standing: Standing::Accepted,
        verified: None,
        keys: vec![number; 40],
        read_upto: 0,
        since_ms: 7,
    }
}

/// A message of the conversation with a person; odd journal numbers are theirs.
fn row(with_whom: u8, journal: u64, content: &Content) -> DirectRow {
    DirectRow {
        journal,
        room: with(with_whom),
        identity: person(with_whom),
        id: EntryId([u8::try_from(journal).unwrap(); 16]),
        device: device(with_whom),
        own: journal.is_multiple_of(2),
        seq: journal,
        kind: content.kind().code(),
        eff: NOON + journal,
        lamport: journal,
        at_ms: NOON + journal,
        arrived_ms: NOON + journal,
        shown_ms: NOON + journal,
        target: content.target(),
        content: Some(content.encode()),
        state: journal.is_multiple_of(2).then_some(Delivery::Queued),
    }
}

fn says(text: &str) -> Content {
    Content::Text { text: text.to_owned(), reply_to: None }
}

fn said(rows: &[DirectRow]) -> Vec<String> {
    let text = |row: &DirectRow| {
        let kind = Kind::from_code(row.kind).unwrap();
        let content = row.content.as_ref().map(|bytes| Content::decode(kind, bytes).unwrap());
        content.and_then(|c| c.text().map(str::to_owned)).unwrap_or_default()
    };
    rows.iter().map(text).collect()
}

fn frame(number: u8, seq: u64) -> OutboxRow {
    OutboxRow {
        device: device(number),
        identity: person(number),
        seq,
        id: EntryId([9; 16]),
        queued_ms: 3,
        frame: vec![number; 300],
        sealed: true,
    }
}

fn keys(number: u8) -> Write {
    Write::Ratchet { device: device(number), state: Zeroizing::new(vec![number; 100]) }
}

/// Writes texts alternately, in the conversation with person 1.
fn chat(world: &mut World, texts: &[&str]) -> Vec<DirectRow> {
    let rows: Vec<DirectRow> = (1..).zip(texts).map(|(n, text)| row(1, n, &says(text))).collect();
    let writes: Vec<Write> = rows.iter().cloned().map(Write::Direct).collect();
    world.store.commit(&[&[Write::Contact(contact(1))], &writes[..]].concat()).unwrap();
    rows
}

#[test]
fn everything_about_conversations_is_there_after_reopening() {
    let mut world = World::new();
    let (first, second) = (row(1, 4, &says("hello")), row(2, 5, &says("hi")));
    let known = ContactRow {
        petname: Some("Bobby".into()),
        standing: Standing::Requested,
        verified: Some(Digest([8; 32])),
        read_upto: 4,
        ..contact(1)
    };
    world
        .store
        .commit(&[
            // A message may stand before the person it is from.
            Write::Direct(first.clone()),
            Write::Contact(known.clone()),
            Write::Contact(contact(2)),
            Write::Direct(second.clone()),
            keys(1),
            keys(2),
            Write::Account(Zeroizing::new(vec![4; 200])),
            Write::Outbox(frame(1, 0)),
            Write::Outbox(frame(1, 1)),
            Write::Outbox(frame(2, 0)),
            Write::Privacy { receipts: true, typing: false },
        ])
        .unwrap();
    world
        .store
        .commit(&[
            Write::Ratchet { device: device(1), state: Zeroizing::new(vec![77; 90]) },
            Write::OutboxDone { device: device(1), seq: 0 },
            Write::OutboxDone { device: device(7), seq: 0 },
            Write::Outbox(OutboxRow { sealed: false, ..frame(1, 1) }),
            Write::DirectState {
                room: with(1),
                id: first.id,
                state: Delivery::Delivered { n: 1, m: 2 },
            },
        ])
        .unwrap();
    let world = world.reopen();
    let snapshot = world.store.snapshot().unwrap();
    assert_eq!(snapshot.journal_next, 6);
    let direct = snapshot.direct;
    assert_eq!(direct.account.map(|a| a.to_vec()), Some(vec![4; 200]));
    let ratchets: Vec<_> = direct.ratchets.iter().map(|(d, state)| (*d, state.to_vec())).collect();
    assert_eq!(ratchets, vec![(device(1), vec![77; 90]), (device(2), vec![2; 100])]);
    assert_eq!(direct.contacts, vec![known, contact(2)]);
    assert_eq!(direct.outbox, vec![OutboxRow { sealed: false, ..frame(1, 1) }, frame(2, 0)]);
    assert_eq!((direct.receipts, direct.typing), (true, false));
    let index: Vec<_> =
        direct.index.iter().map(|i| (i.room, i.id, i.journal, i.own, i.seq, i.state)).collect();
    let delivered = Some(Delivery::Delivered { n: 1, m: 2 });
    let wanted =
        [(with(1), first.id, 4, true, 4, delivered), (with(2), second.id, 5, false, 5, None)];
    assert_eq!(index, wanted);
    assert_eq!(
        (direct.index[0].eff, direct.index[0].lamport, direct.index[0].kind),
        (first.eff, 4, 1)
    );

    let reader = world.reader();
    let read = reader.direct_journal(None, 0, 10).unwrap();
    assert_eq!(read, vec![DirectRow { state: delivered, ..first }, second]);
    assert_eq!(reader.head().unwrap(), 5);
    assert_eq!(reader.person_of(with(2)).unwrap(), Some(person(2)));
    assert_eq!(reader.person_of(with(3)).unwrap(), None);
}

#[test]
fn foreign_numbers_of_all_sizes_keep_their_value_and_order() {
    let mut world = World::new();
    let values = [u64::MAX, 0, 1 << 63, 1, (1 << 63) - 1];
    for (journal, value) in (1..).zip(values) {
        let row = DirectRow {
            eff: value,
            lamport: value,
            seq: value,
            at_ms: value,
            ..row(1, journal, &says("x"))
        };
        world.store.commit(&[Write::Direct(row)]).unwrap();
    }
    let loaded = world.store.snapshot().unwrap().direct.index;
    assert_eq!(loaded.iter().map(|i| i.seq).collect::<Vec<_>>(), values);
    let lines = world.reader().direct_lines(with(1), EVERY).unwrap();
    let shown: Vec<u64> = lines.iter().map(|r| r.eff).collect();
    assert_eq!(shown, [0, 1, (1 << 63) - 1, 1 << 63, u64::MAX]);
}

#[test]
fn pages_go_back_without_gaps_and_obey_limit_and_time() {
    let mut world = World::new();
    let texts: Vec<String> = (1..=20).map(|n| format!("line {n}")).collect();
    let rows = chat(&mut world, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    world.store.commit(&[Write::Direct(row(2, 30, &says("elsewhere")))]).unwrap();
    let reader = world.reader();
    let (mut pages, mut before) = (Vec::new(), None);
    loop {
        let page =
            reader.direct_lines(with(1), DirectFound { before, since_ms: None, limit: 7 }).unwrap();
        let Some(first) = page.first() else { break };
        before = Some(DirectKey::of(first));
        pages.push(said(&page));
    }
    pages.reverse();
    assert_eq!(pages.concat(), texts);
    let since = Some(NOON + 19);
    assert_eq!(
        said(&reader.direct_lines(with(1), DirectFound { since_ms: since, ..EVERY }).unwrap()),
        texts[18..]
    );
    let after = reader.direct_journal(Some(with(1)), 17, 2).unwrap();
    assert_eq!(said(&after), texts[17..19]);
    assert_eq!(reader.direct_by_id(with(1), rows[3].id).unwrap().as_ref(), Some(&rows[3]));
    assert_eq!(
        reader.direct_by_id(with(2), rows[3].id).unwrap(),
        None,
        "ids belong to a conversation"
    );
}

#[test]
fn changes_are_no_lines_and_are_found_by_what_they_change() {
    let mut world = World::new();
    let rows = chat(&mut world, &["one", "two"]);
    let edit = row(1, 3, &Content::Edit { target: rows[0].id, text: "uno".into() });
    let smile = row(1, 4, &Content::Reaction { target: rows[0].id, emoji: "+".into(), on: true });
    world.store.commit(&[Write::Direct(edit.clone()), Write::Direct(smile.clone())]).unwrap();
    let reader = world.reader();
    assert_eq!(said(&reader.direct_lines(with(1), EVERY).unwrap()), ["one", "two"]);
    let targets = [rows[0].id, rows[1].id];
    assert_eq!(reader.direct_annotations(with(1), &targets).unwrap(), vec![edit, smile]);
    assert_eq!(reader.direct_journal(Some(with(1)), 0, 10).unwrap().len(), 4);
}

#[test]
fn people_are_listed_with_what_is_new_of_them() {
    let mut world = World::new();
    chat(&mut world, &["theirs", "mine", "theirs again", "mine", "theirs at last"]);
    world.store.commit(&[Write::Contact(contact(2))]).unwrap();
    let listed = |world: &World| {
        let all = world.reader().contacts().unwrap();
        all.into_iter()
            .map(|c| (c.row.claimed, c.messages, c.unread, c.last_ms))
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(&world), [("person 1".into(), 5, 3, NOON + 5), ("person 2".into(), 0, 0, 0)]);
    world.store.commit(&[Write::ReadUpto { room: with(1), journal: 3 }]).unwrap();
    // Going back is not possible, neither by itself nor along with the rest.
    world
        .store
        .commit(&[Write::ReadUpto { room: with(1), journal: 1 }, Write::Contact(contact(1))])
        .unwrap();
    assert_eq!(listed(&world)[0], ("person 1".into(), 5, 1, NOON + 5));
    assert_eq!(world.reader().contacts().unwrap()[0].row.read_upto, 3);
    let last = world.reader().direct_journal(Some(with(1)), 0, 10).unwrap().pop().unwrap();
    world.store.commit(&[Write::DropDirect { room: with(1), id: last.id }]).unwrap();
    assert_eq!(listed(&world)[0], ("person 1".into(), 4, 0, NOON + 5), "deleted is not unread");
}

#[test]
fn words_are_found_in_their_conversation_and_follow_edits() {
    let mut world = World::new();
    let garden = world.say(1, "roses in the garden");
    let rows = chat(&mut world, &["x", "roses for you", "thorns for me"]);
    // Journal numbers are one sequence; the first was taken by the room.
    assert_eq!((garden.journal, rows[0].journal), (1, 1));
    let found = |world: &World, words: &str| {
        said(&world.reader().direct_search(with(1), words, EVERY).unwrap())
    };
    assert!(found(&world, "roses").is_empty(), "not indexed yet");
    world.index();
    assert_eq!(found(&world, "ros"), ["roses for you"]);
    let edit = row(1, 4, &Content::Edit { target: rows[1].id, text: "tulips for you".into() });
    let foreign = row(1, 5, &Content::Edit { target: rows[1].id, text: "nettles for you".into() });
    world.store.commit(&[Write::Direct(edit), Write::Direct(foreign)]).unwrap();
    world.index();
    assert_eq!((found(&world, "roses").len(), found(&world, "nettles").len()), (0, 0));
    assert_eq!(
        found(&world, "tulips"),
        ["roses for you"],
        "the line is found, by its present text"
    );
    assert_eq!(world.reader().direct_search(with(2), "tulips", EVERY).unwrap(), []);
    let limited = DirectFound { before: Some(DirectKey::of(&rows[2])), ..EVERY };
    assert_eq!(
        said(&world.reader().direct_search(with(1), "for", limited).unwrap()),
        ["roses for you"]
    );
    for hostile in ["", "\"", "AND", "NEAR(", "*", "text:"] {
        found(&world, hostile);
    }
    // Indexing goes on after a restart.
    let mut world = world.reopen();
    world.store.commit(&[Write::Direct(row(1, 6, &says("violets")))]).unwrap();
    world.index();
    assert_eq!(found(&world, "violets"), ["violets"]);
}

#[test]
fn a_failed_batch_leaves_nothing_behind_and_the_next_one_works() {
    let mut world = World::new();
    chat(&mut world, &["first"]);
    let again = row(1, 1, &says("the same number"));
    let writes =
        [Write::Contact(contact(3)), keys(3), Write::Outbox(frame(3, 0)), Write::Direct(again)];
    assert!(matches!(world.store.commit(&writes), Err(StoreError::Conflict { .. })));
    let direct = world.store.snapshot().unwrap().direct;
    assert_eq!(
        (direct.contacts.len(), direct.ratchets.len(), direct.outbox.len(), direct.index.len()),
        (1, 0, 0, 1)
    );
    // The device of the failed batch has no number yet: what it writes must not go under somebody
    // else's.
    world
        .store
        .commit(&[Write::Direct(row(3, 2, &says("fresh"))), keys(3), Write::Outbox(frame(3, 0))])
        .unwrap();
    let world = world.reopen();
    let direct = world.store.snapshot().unwrap().direct;
    assert_eq!((direct.ratchets[0].0, direct.outbox[0].device), (device(3), device(3)));
    assert_eq!(world.reader().direct_journal(None, 1, 10).unwrap()[0].device, device(3));
}

#[test]
fn the_oldest_format_gets_the_tables_and_a_newer_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(MAIN_FILE);
    connect::create(&path).unwrap();
    let key = master(1).database_key();
    let mut old = connect::open(&path, Some(&key), Role::Writer).unwrap();
    connect::migrate(&mut old, MAIN_FILE, &schema::MIGRATIONS[..1]).unwrap();
    old.execute("INSERT INTO meta VALUES ('name', 'alice')", []).unwrap();
    drop(old);
    let mut store = Store::open(folder.path(), &master(1)).unwrap();
    store.commit(&[Write::Direct(row(1, 1, &says("hello")))]).unwrap();
    let snapshot = store.snapshot().unwrap();
    assert_eq!((snapshot.name.as_str(), snapshot.direct.index.len()), ("alice", 1));
    store.main.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(store);
    assert!(matches!(
        Store::open(folder.path(), &master(1)),
        Err(StoreError::Newer { found: 99, .. })
    ));
}

#[test]
fn no_plaintext_of_conversations_is_on_disk() {
    let mut world = World::new();
    let person = ContactRow {
        claimed: "Rumpelstiltskin".into(),
        petname: Some("Rumpel".into()),
        ..contact(1)
    };
    let large = "a marmalade conspiracy ".repeat(2_000);
    let account = Write::Account(Zeroizing::new(b"the account of secrets".to_vec()));
    let session = Write::Ratchet {
        device: device(1),
        state: Zeroizing::new(b"the session of secrets".to_vec()),
    };
    let waiting = OutboxRow { frame: b"not sealed yet".to_vec(), sealed: false, ..frame(1, 0) };
    let writes = [
        Write::Contact(person),
        Write::Direct(row(1, 1, &says("short marmalade"))),
        Write::Direct(row(1, 2, &says(&large))),
        account,
        session,
        Write::Outbox(waiting),
    ];
    world.store.commit(&writes).unwrap();
    world.index();
    assert_eq!(world.reader().direct_search(with(1), "marmalade", EVERY).unwrap().len(), 2);
    let needles: [&[u8]; 5] =
        [b"marmalade", b"Rumpel", b"of secrets", b"not sealed yet", &person_bytes()];
    for needle in needles {
        assert!(!secrecy::on_disk(world.path(), needle), "open: {needle:?}");
    }
    drop(world.store);
    for needle in needles {
        assert!(!secrecy::on_disk(world.folder.path(), needle), "closed: {needle:?}");
    }
}

fn person_bytes() -> [u8; 32] {
    person(1).0
}

/// A store whose main file is not encrypted, so that a test can look for what is left in it.
fn bare(folder: &Path) -> Store {
    let main_path = folder.join(MAIN_FILE);
    connect::create(&main_path).unwrap();
    let mut main = connect::open(&main_path, None, Role::Writer).unwrap();
    connect::migrate(&mut main, MAIN_FILE, schema::MIGRATIONS).unwrap();
    let (segments, _) = Segments::open(folder, &[1; 32], &BTreeMap::new()).unwrap();
    Store {
        main,
        bodies: Bodies::new(folder, segments.live()),
        segments,
        notes: Vec::new(),
        freed: Vec::new(),
        interned: write::Interned::default(),
        unscrubbed: false,
        stale_keys: false,
        folder: folder.to_owned(),
        key: Zeroizing::new([0; 32]),
        frozen: None,
    }
}

#[test]
fn a_withdrawn_message_is_in_no_file_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = bare(folder.path());
    let first = row(1, 1, &says(&"a needle in hay ".repeat(1_000)));
    let edit = row(1, 3, &Content::Edit { target: first.id, text: "another needle".into() });
    store.commit(&[Write::Direct(first.clone()), Write::Direct(edit)]).unwrap();
    for journal in 4..100 {
        store.commit(&[Write::Direct(row(1, journal, &says("only hay")))]).unwrap();
    }
    while store.index_some(&unmask, 100).unwrap() == 100 {}
    assert!(secrecy::on_disk(folder.path(), b"needle"), "the test can find it");
    store.commit(&[Write::DropDirect { room: first.room, id: first.id }]).unwrap();
    // The word is still in the index, which is cleaned when there is time.
    assert!(!secrecy::on_disk(folder.path(), b"another needle"));
    assert!(!secrecy::on_disk(folder.path(), b"needle in hay"));
    while store.index_some(&unmask, 100).unwrap() == 100 {}
    assert!(!secrecy::on_disk(folder.path(), b"needle"));
    assert!(secrecy::on_disk(folder.path(), b"only hay"));
    let direct = super::super::snapshot::load(&store.main).unwrap().direct;
    assert_eq!(direct.index.len(), 98, "the rows stay");
}

#[test]
fn replaced_session_keys_are_in_no_file_any_more_once_it_is_quiet() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = bare(folder.path());
    for round in 0..20_u8 {
        let state =
            |what: &str| Zeroizing::new(format!("{what} {round} ").repeat(100).into_bytes());
        store
            .commit(&[
                Write::Ratchet { device: device(1), state: state("session") },
                Write::Account(state("account")),
            ])
            .unwrap();
    }
    assert!(secrecy::on_disk(folder.path(), b"session 18 "), "the log has it");
    assert_eq!(store.index_some(&unmask, 100).unwrap(), 0);
    for round in 0..19 {
        for what in ["session", "account"] {
            assert!(
                !secrecy::on_disk(folder.path(), format!("{what} {round} ").as_bytes()),
                "{what} {round}"
            );
        }
    }
    assert!(
        secrecy::on_disk(folder.path(), b"session 19 ")
            && secrecy::on_disk(folder.path(), b"account 19 ")
    );
}
