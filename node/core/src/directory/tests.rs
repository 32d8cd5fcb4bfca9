//! Who is shown with a mark, and who is known by which name.

use super::*;

const ROOM: RoomId = RoomId([1; 16]);
const OTHER: RoomId = RoomId([2; 16]);

fn id(n: u8) -> IdentityId {
    IdentityId([n; 32])
}

fn row(room: RoomId, n: u8, name: &str, last_seen_ms: u64) -> DeviceRow {
    DeviceRow {
        room,
        device: DeviceId([n; 32]),
        identity: Some(id(n)),
        name: name.to_owned(),
        last_seen_ms,
        acked: 0,
        muted: false,
        forked: None,
    }
}

fn kept(claimed: &str, standing: Standing, verified: bool) -> Kept {
    let claimed = claimed.to_owned();
    Kept { claimed, petname: None, standing, verified, changed: false }
}

fn marks(directory: &Directory, devices: &[u8]) -> Vec<bool> {
    devices.iter().map(|n| directory.mark_in(&ROOM, &DeviceId([*n; 32])).is_some()).collect()
}

#[test]
fn all_who_share_a_name_are_marked_whatever_it_is_made_of() {
    let mut directory = Directory::new(id(9), "me");
    for (n, name) in [(1, "bob"), (2, "BOB\u{3164}"), (3, "b\u{43e}b"), (4, "ann")] {
        directory.met(&row(ROOM, n, name, 0));
    }
    assert_eq!(marks(&directory, &[1, 2, 3, 4]), [true, true, true, false]);
    // One that is in another room only is nobody's double here.
    directory.met(&row(OTHER, 5, "ann", 0));
    assert_eq!(marks(&directory, &[4]), [false]);
    assert!(directory.mark_of(&id(4)).is_some() && directory.mark_of(&id(5)).is_some());
    assert!(directory.mark_beyond(&ROOM, &DeviceId([4; 32])).is_some());
    // A new name frees the old one.
    directory.met(&row(ROOM, 2, "carol", 0));
    directory.met(&row(ROOM, 3, "dave", 0));
    assert_eq!(marks(&directory, &[1, 2, 3]), [false, false, false]);
}

#[test]
fn whoever_the_user_can_be_sure_of_stays_unmarked() {
    let mut directory = Directory::new(id(9), "me");
    directory.met(&row(ROOM, 1, "bob", 0));
    directory.met(&row(ROOM, 2, "bob", 0));
    directory.keep(id(1), kept("bob", Standing::Requested, false));
    assert_eq!(marks(&directory, &[1, 2]), [true, true], "a request proves nothing");
    directory.keep(id(1), kept("bob", Standing::Accepted, false));
    assert_eq!(marks(&directory, &[1, 2]), [false, true]);
    directory.keep(id(2), kept("bob", Standing::Accepted, false));
    assert_eq!(marks(&directory, &[1, 2]), [true, true]);
    directory.keep(id(2), kept("bob", Standing::Accepted, true));
    assert_eq!(marks(&directory, &[1, 2]), [true, false]);
    // A contact who is not in the room has a double there.
    directory.met(&row(ROOM, 3, "zoe", 0));
    directory.keep(id(4), kept("ZOE", Standing::Accepted, false));
    // So has the user.
    directory.met(&row(ROOM, 5, "ME", 0));
    directory.met(&row(ROOM, 9, "me", 0));
    assert_eq!(marks(&directory, &[3, 5, 9]), [true, true, false]);
}

#[test]
fn the_users_own_name_for_somebody_is_not_taken_by_a_contact_who_claims_it() {
    let mut directory = Directory::new(id(9), "me");
    let petname = Some("bob".to_owned());
    directory.keep(id(1), Kept { petname, ..kept("robert", Standing::Accepted, false) });
    directory.keep(id(2), kept("Bob", Standing::Accepted, true));
    assert_eq!(directory.mark_of(&id(1)), None);
    assert!(directory.mark_of(&id(2)).is_some());
}

#[test]
fn who_is_blocked_marks_nobody_else() {
    let mut directory = Directory::new(id(9), "me");
    directory.met(&row(ROOM, 1, "bob", 0));
    directory.met(&row(ROOM, 2, "bob", 0));
    directory.keep(id(2), kept("bob", Standing::Blocked, false));
    assert_eq!(marks(&directory, &[1, 2]), [false, true]);
}

#[test]
fn a_name_in_the_programs_own_voice_is_marked_but_for_oneself() {
    let mut directory = Directory::new(id(9), "klatch");
    for (n, name) in [(1, "you"), (2, "* alice"), (3, "alice:"), (4, "carol")] {
        directory.met(&row(ROOM, n, name, 0));
    }
    directory.met(&row(ROOM, 9, "klatch", 0));
    assert_eq!(marks(&directory, &[1, 2, 3, 4, 9]), [true, true, true, false, false]);
    assert!(directory.mark_of(&id(1)).is_some());
}

#[test]
fn a_name_made_like_a_marked_one_is_marked_itself() {
    let mut directory = Directory::new(id(9), "me");
    directory.met(&row(ROOM, 1, "alice~U2IX", 1));
    directory.met(&row(ROOM, 2, "carol", 1));
    assert_eq!(marks(&directory, &[1, 2]), [true, false]);
    directory.keep(id(1), kept("alice~U2IX", Standing::Accepted, true));
    assert_eq!(marks(&directory, &[1]), [true], "even of a contact");
}

#[test]
fn a_mark_is_long_enough_to_tell_its_group_apart() {
    let prefix = |n: u32, chars: usize| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        fingerprint(&IdentityId(bytes))[..chars].to_owned()
    };
    // Two identities whose fingerprints begin alike: found within some hundred tries for two
    // characters, which is what this test needs of four.
    let mut seen = BTreeMap::new();
    let (a, b) = (0..).find_map(|n| seen.insert(prefix(n, 4), n).map(|m| (m, n))).unwrap();
    let mut directory = Directory::new(id(9), "me");
    for (device, n) in [(1, a), (2, b)] {
        let mut row = row(ROOM, device, "bob", 0);
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        row.identity = Some(IdentityId(bytes));
        directory.met(&row);
    }
    let mark = |n: u8| directory.mark_in(&ROOM, &DeviceId([n; 32])).unwrap();
    assert_ne!(mark(1), mark(2));
    assert_eq!(mark(1)[..4], mark(2)[..4]);
}

#[test]
fn it_knows_names_devices_and_conversations() {
    let mut directory = Directory::new(id(9), "me");
    directory.met(&row(ROOM, 1, "old", 5));
    let mut second = row(OTHER, 2, "new", 7);
    second.identity = Some(id(1));
    assert!(directory.is_news(&second));
    directory.met(&second);
    assert!(!directory.is_news(&second));
    assert_eq!(directory.name_in_rooms(&id(1)), Some("new"));
    assert_eq!(directory.last_seen_ms(&id(1)), 7);
    assert_eq!(directory.owner(&DeviceId([2; 32])), Some(id(1)));
    assert_eq!(directory.rooms_of(&id(1)), BTreeSet::from([ROOM, OTHER]));
    assert_eq!(directory.devices_of(&id(1)).len(), 2);
    let conversation = RoomId::of_conversation(&id(1));
    assert_eq!(directory.person_of(&conversation), Some(id(1)));
    assert!(directory.knows(&id(1)) && !directory.knows(&id(2)) && !directory.knows(&id(9)));
}

#[test]
fn the_name_of_a_verified_person_is_taken_in_every_spelling() {
    let mut directory = Directory::new(id(9), "me");
    directory.keep(id(1), kept("bob", Standing::Accepted, true));
    for name in ["bob", "BOB", "bob\u{2800}", "b\u{43e}b", "\u{200e}bob"] {
        assert!(directory.is_taken(name, &id(2)), "{name:?}");
    }
    assert!(!directory.is_taken("bob", &id(1)) && !directory.is_taken("ann", &id(2)));
}
