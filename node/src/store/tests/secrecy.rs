//! What a disk thief finds: nothing in clear.

use std::fs;

use super::*;

/// Whether a file of the folder contains these bytes.
pub(super) fn on_disk(folder: &Path, needle: &[u8]) -> bool {
    let files = fs::read_dir(folder).unwrap().map(|f| fs::read(f.unwrap().path()).unwrap());
    files.into_iter().any(|bytes| bytes.windows(needle.len()).any(|w| w == needle))
}

#[test]
fn no_plaintext_is_on_disk() {
    let mut world = World::new();
    let room = RoomRow { room: RoomId([3; 16]), ..room_row(ROOM, "#secretgarden") };
    let person = DeviceRow { name: "Rumpelstiltskin".into(), ..device_row(ROOM, 1) };
    world
        .store
        .commit(&[Write::Room(room), Write::Device(person), Write::Name("Rumpelstiltskin".into())])
        .unwrap();
    let text = "the marmalade conspiracy starts at noon ".repeat(3);
    let said = world.say(1, &text);
    world.say(1, &text.repeat(200));
    world.change(1, Kind::Edit, said.hash.id(), &text);
    world
        .store
        .remember_address(b"peer-of-rumpel", None, "/dns4/hidden-host.example/tcp/4001", 1)
        .unwrap();
    world.index();
    assert_eq!(world.found("marmalade").len(), 2);

    let needles: [&[u8]; 10] = [
        b"marmalade",
        b"conspiracy",
        b"secretgarden",
        b"#garden",
        b"Rumpelstiltskin",
        b"hidden-host",
        b"peer-of-rumpel",
        b"SQLite format 3\0klatch",
        &master(1).database_key()[..],
        &[1; 32],
    ];
    let closed = |world: World| {
        drop(world.store);
        world.folder
    };
    for needle in needles {
        assert!(!on_disk(world.path(), needle), "open: {needle:?}");
    }
    let folder = closed(world);
    for needle in needles {
        assert!(!on_disk(folder.path(), needle), "closed: {needle:?}");
    }
}

#[test]
fn secrets_do_not_print() {
    let world = World::new();
    assert_eq!(format!("{:?}", master(65)), "MasterKey(Secret(..))");
    // The key of a world is all ones.
    let printed = format!("{:?} {:?}", world.store, world.reader());
    assert!(!printed.contains("1, 1") && !printed.contains("0101"), "{printed}");
}
