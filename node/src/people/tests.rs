//! What is said of people and conversations, over a real store.

use klatch_core::crypto::group::RoomRoot;
use klatch_core::directory::{Directory, Kept};
use klatch_core::ids::{DeviceId, Digest, EntryHash, EpochId};
use klatch_core::log::entry::{Header, SealedEntry};
use klatch_core::step::{ContactRow, DeviceRow, EntryRow, RoomRow, Write};
use tempfile::TempDir;

use super::*;
use crate::store::Store;
use crate::store::keystore::{MasterKey, Secret};

const GARDEN: RoomId = RoomId([1; 16]);
const SHED: RoomId = RoomId([2; 16]);

fn person(n: u8) -> IdentityId {
    IdentityId([n; 32])
}

fn with(n: u8) -> RoomId {
    RoomId::of_conversation(&person(n))
}

fn contact(n: u8, claimed: &str, standing: Standing) -> ContactRow {
    ContactRow {
        identity: person(n),
        room: with(n),
        claimed: claimed.to_owned(),
        petname: None,
        standing,
        verified: None,
        keys: Vec::new(),
        read_upto: 0,
        since_ms: 1,
    }
}

fn room(room: RoomId, name: &str, left: bool) -> Write {
    let root = Arc::new(RoomRoot::from_bytes([1; 32]));
    let (name, passphrase, over_budget) = (name.to_owned(), false, false);
    Write::Room(RoomRow { room, name, root, passphrase, joined_ms: 1, left, over_budget })
}

fn member(room: RoomId, n: u8, name: &str, last_seen_ms: u64) -> Write {
    Write::Device(DeviceRow {
        room,
        device: DeviceId([n; 32]),
        identity: Some(person(n)),
        name: name.to_owned(),
        last_seen_ms,
        acked: 0,
        muted: false,
        forked: None,
    })
}

fn direct(n: u8, journal: u8, own: bool, content: &Content) -> Write {
    Write::Direct(DirectRow {
        journal: journal.into(),
        room: with(n),
        identity: person(n),
        id: EntryId([journal; 16]),
        device: DeviceId([if own { 0 } else { n }; 32]),
        own,
        seq: 0,
        kind: content.kind().code(),
        eff: journal.into(),
        lamport: journal.into(),
        at_ms: journal.into(),
        arrived_ms: journal.into(),
        shown_ms: journal.into(),
        target: content.target(),
        content: Some(content.encode()),
        state: own.then_some(Delivery::Queued),
    })
}

fn text(text: &str) -> Content {
    Content::Text { text: text.to_owned(), reply_to: None }
}

/// An entry whose body is not stored.
fn entry(journal: u8) -> Write {
    let header = Header {
        room: GARDEN,
        device: DeviceId([9; 32]),
        seq: journal.into(),
        prev: Some(EntryHash([7; 32])),
        parents: Vec::new(),
        lamport: 1,
        hlc: 1 << 16,
        kind: Kind::Text,
        auth: None,
        epoch: EpochId([0; 16]),
        index: 0,
        ttl: None,
        body_hash: Some(Digest([0; 32])),
        body_len: 300,
    };
    Write::Append(EntryRow {
        journal: journal.into(),
        room: GARDEN,
        hash: EntryHash([journal; 32]),
        device: DeviceId([9; 32]),
        seq: journal.into(),
        kind: Kind::Text.code(),
        hlc: 1 << 16,
        eff: 1 << 16,
        lamport: 1,
        arrived_ms: 1,
        shown_ms: 1,
        target: None,
        entry: SealedEntry { header: header.encode().into(), signature: None, body: None },
        lack: None,
    })
}

struct World {
    _folder: TempDir,
    reader: Reader,
    shared: Shared,
}

impl World {
    fn new(writes: &[Write], mut view: PeopleView) -> Self {
        let mut directory = Directory::new(person(0), "me");
        for write in writes {
            match write {
                Write::Device(row) => directory.met(row),
                Write::Contact(row) => {
                    let (claimed, petname) = (row.claimed.clone(), row.petname.clone());
                    let (standing, verified) = (row.standing, row.verified.is_some());
                    let changed = view.changed.contains(&row.identity);
                    let kept = Kept { claimed, petname, standing, verified, changed };
                    directory.keep(row.identity, kept);
                }
                _ => {}
            }
        }
        view.directory = Arc::new(directory);
        let folder = tempfile::tempdir().unwrap();
        let mut store =
            Store::open(folder.path(), &MasterKey::new(Secret::from_bytes([1; 32]))).unwrap();
        store.commit(&[room(GARDEN, "#garden", false), room(SHED, "#shed", true)]).unwrap();
        store.commit(writes).unwrap();
        let shared = Shared::default();
        shared.set_name("me".to_owned());
        shared.set_people(Some(view));
        Self { _folder: folder, reader: store.reader().unwrap(), shared }
    }

    fn people(&self) -> People<'_> {
        People::new(&self.reader, &self.shared, person(0))
    }

    fn rooms(&self) -> History<'_> {
        History::new(&self.reader, &self.shared, DeviceId([0; 32]))
    }
}

fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|m| m.text.as_str()).collect()
}

#[test]
fn people_are_listed_with_what_is_known_of_them() {
    let verified = Some(Digest([5; 32]));
    let writes = [
        Write::Contact(contact(1, "zoe", Standing::Requested)),
        Write::Contact(contact(2, "adam", Standing::Blocked)),
        Write::Contact(ContactRow { verified, ..contact(3, "carol", Standing::Accepted) }),
        Write::Contact(ContactRow { verified, ..contact(4, "bert", Standing::Accepted) }),
        member(GARDEN, 3, "carol", 77),
        direct(1, 1, false, &text("hello")),
        direct(1, 2, true, &text("who is there")),
    ];
    let view = PeopleView {
        online: [person(3)].into(),
        changed: [person(4)].into(),
        ..PeopleView::default()
    };
    let world = World::new(&writes, view);
    let all = world.people().contacts().unwrap();
    let names: Vec<(&str, Verification)> =
        all.iter().map(|c| (c.name.as_str(), c.verification)).collect();
    let (no, yes, other) =
        (Verification::Unverified, Verification::Verified, Verification::Changed);
    assert_eq!(names, [("zoe", no), ("bert", other), ("carol", yes), ("adam", no)]);
    assert_eq!((all[0].messages, all[0].unread, all[0].last_ms, all[0].online), (2, 1, 2, false));
    // Whoever is there was last seen now.
    assert!(all[2].online && all[2].last_ms > 77);
}

#[test]
fn a_person_has_codes_devices_and_common_rooms() {
    let digest = Digest([6; 32]);
    let view = PeopleView {
        codes: [(person(1), digest)].into(),
        devices: [(person(1), vec![DeviceId([8; 32])])].into(),
        ..PeopleView::default()
    };
    let writes = [
        Write::Contact(contact(1, "bob", Standing::Accepted)),
        member(GARDEN, 1, "bob", 1),
        member(SHED, 1, "bob", 2),
        member(GARDEN, 2, "carol", 3),
    ];
    let world = World::new(&writes, view);
    let bob = world.people().person(person(1)).unwrap();
    assert_eq!((bob.rooms, bob.devices), (vec!["#garden".to_owned()], vec![DeviceId([8; 32])]));
    assert_eq!((bob.digits, bob.emoji), verify::code(&digest).unwrap());
    let carol = world.people().person(person(2)).unwrap();
    assert_eq!(
        (carol.contact.standing, carol.contact.room, carol.digits.as_str()),
        (Standing::Met, with(2), "")
    );
    assert_eq!((carol.contact.last_ms, carol.devices), (3, vec![DeviceId([2; 32])]));
}

#[test]
fn a_conversation_shows_names_states_and_changes() {
    let first = EntryId([1; 16]);
    let writes = [
        Write::Contact(ContactRow {
            petname: Some("Bobby".into()),
            ..contact(1, "bob", Standing::Accepted)
        }),
        direct(1, 1, true, &text("one")),
        direct(1, 2, false, &text("two")),
        direct(1, 3, true, &text("three")),
        direct(1, 4, true, &text("four")),
        direct(1, 5, true, &Content::Edit { target: first, text: "uno".into() }),
        direct(1, 6, false, &Content::Edit { target: first, text: "not theirs to change".into() }),
        Write::DirectState {
            room: with(1),
            id: EntryId([4; 16]),
            state: Delivery::Delivered { n: 1, m: 1 },
        },
    ];
    let view =
        PeopleView { sent: [EntryId([3; 16]), EntryId([4; 16])].into(), ..PeopleView::default() };
    let world = World::new(&writes, view);
    let page = |limit, before| Page { limit, since_ms: None, before, search: None };
    let lines = world.people().lines(person(1), &page(10, None)).unwrap();
    assert_eq!(texts(&lines), ["uno", "two", "three", "four"]);
    assert!(lines.iter().all(|m| m.direct && m.room == with(1)));
    let names: Vec<&str> = lines.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["me", "Bobby", "me", "me"]);
    let states: Vec<Option<Delivery>> = lines.iter().map(|m| m.state).collect();
    let delivered = Delivery::Delivered { n: 1, m: 1 };
    assert_eq!(states, [Some(Delivery::Queued), None, Some(Delivery::Sent), Some(delivered)]);
    let earlier = world.people().lines(person(1), &page(1, Some(lines[2].id))).unwrap();
    assert_eq!(texts(&earlier), ["two"]);
    let after = |id, limit| world.people().lines_after(person(1), id, limit).unwrap();
    assert_eq!(texts(&after(lines[1].id, 10)), ["three", "four"]);
    assert_eq!(texts(&after(EntryId([99; 16]), 2)), ["uno", "two"], "from the beginning");
    let one = world.people().message(person(1), first).unwrap().unwrap();
    assert!(one.edited && one.text == "uno");
    assert_eq!(world.people().message(person(2), first).unwrap(), None);
}

#[test]
fn the_journal_of_all_has_rooms_and_conversations_in_one_order() {
    let writes = [
        direct(1, 1, false, &text("one")),
        entry(2),
        direct(2, 3, false, &text("three")),
        entry(4),
        entry(5),
        direct(1, 6, true, &text("six")),
    ];
    let world = World::new(&writes, PeopleView::default());
    let numbers = |after, limit| {
        let all = world.people().journal_of_all(&world.rooms(), after, limit).unwrap();
        all.iter().map(|m| (m.journal, m.direct)).collect::<Vec<_>>()
    };
    assert_eq!(
        numbers(0, 100),
        [(1, true), (2, false), (3, true), (4, false), (5, false), (6, true)]
    );
    let (mut seen, mut after) = (Vec::new(), 0);
    loop {
        let part = numbers(after, 2);
        let Some((last, _)) = part.last() else { break };
        after = *last;
        seen.extend(part);
    }
    assert_eq!(seen, numbers(0, 100), "nothing is lost between pages");
    let ours = world.people().journal(Some(with(1)), 0, 10).unwrap();
    assert_eq!(texts(&ours), ["one", "six"]);
}

#[test]
fn people_whose_names_look_alike_are_marked_in_every_list() {
    let writes = [
        Write::Contact(contact(1, "bob", Standing::Accepted)),
        Write::Contact(contact(2, "b\u{43e}b\u{3164}", Standing::Requested)),
        member(GARDEN, 1, "bob", 1),
        member(GARDEN, 3, "BOB", 1),
        member(GARDEN, 4, "carol", 1),
        direct(2, 1, false, &text("it is me")),
    ];
    let world = World::new(&writes, PeopleView::default());
    let marked = |mark: Option<String>, n: u8| {
        assert!(mark.is_none_or(|m| fingerprint(&person(n)).starts_with(&m)));
    };
    for contact in world.people().contacts().unwrap() {
        assert_eq!(contact.name_mark.is_some(), contact.identity == person(2));
        marked(contact.name_mark, 2);
    }
    let members = world.rooms().members(GARDEN).unwrap();
    let names: Vec<(&str, bool)> =
        members.iter().map(|m| (m.name.as_str(), m.name_mark.is_some())).collect();
    assert_eq!(names, [("BOB", true), ("bob", false), ("carol", false)]);
    let page = Page { limit: 10, since_ms: None, before: None, search: None };
    let lines = world.people().lines(person(2), &page).unwrap();
    assert!(lines[0].name_mark.is_some());
}
