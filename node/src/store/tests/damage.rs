//! Files that cannot be used: each way has its own error, and nothing is overwritten.

use std::fs;

use klatch_core::step::Lack;

use super::*;
use crate::store::{MAIN_FILE, StoreError, connect, schema, segments};

/// A used and closed profile with so many messages.
fn profile(messages: usize) -> TempDir {
    let mut world = World::new();
    for n in 0..messages {
        world.say(1, &format!("message {n}"));
    }
    world.folder
}

/// The first file of large bodies.
fn segment(folder: &Path) -> std::path::PathBuf {
    folder.join(segments::name(1))
}

fn open(folder: &Path) -> Result<Store, StoreError> {
    Store::open(folder, &master(1))
}

/// Opening must fail, say what to do, and leave the files as they are.
fn refused(folder: &Path, key: u8) -> StoreError {
    let before = contents(folder);
    let error = Store::open(folder, &master(key)).err().unwrap();
    assert!(!error.hint().is_empty() && !error.to_string().is_empty());
    assert_eq!(contents(folder), before, "{error}");
    error
}

/// Every file but the ones the engine needs while it looks.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|f| f.path().is_file());
    files
        .map(|f| (f.file_name().to_string_lossy().into_owned(), fs::read(f.path()).unwrap()))
        .filter(|(name, _)| !name.ends_with("-shm") && !name.ends_with("-wal"))
        .collect()
}

#[test]
fn wrong_key_is_told_apart_from_damage() {
    let folder = profile(3);
    assert_eq!(refused(folder.path(), 2), StoreError::WrongKey);
    open(folder.path()).unwrap();
    let path = folder.path().join(MAIN_FILE);
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(refused(folder.path(), 1), StoreError::Corrupt { .. }));
}

#[test]
fn a_folder_in_the_place_of_a_file_is_told_as_what_it_is() {
    for file in [segments::name(1), segments::name(7), MAIN_FILE.to_owned()] {
        let folder = profile(3);
        let path = folder.path().join(&file);
        let _ = fs::remove_file(&path);
        fs::create_dir(&path).unwrap();
        assert_eq!(refused(folder.path(), 1), StoreError::Folder { file: file.clone() });
        let to_read = Store::open_to_read(folder.path(), &master(1)).err().unwrap();
        assert_eq!(to_read, StoreError::Folder { file }, "nor is it a disk that refuses writes");
        fs::remove_dir(&path).unwrap();
    }
}

#[test]
fn short_and_empty_files_are_not_taken_for_new_ones() {
    let folder = profile(3);
    let path = folder.path().join(MAIN_FILE);
    let whole = fs::read(&path).unwrap();
    for length in [0, 1, 100, 4_095, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let bytes = length as u64;
        assert_eq!(
            refused(folder.path(), 1),
            StoreError::Truncated { file: MAIN_FILE.into(), bytes }
        );
    }
}

#[test]
fn pages_missing_at_the_end_are_noticed() {
    let folder = profile(500);
    let path = folder.path().join(MAIN_FILE);
    let whole = fs::read(&path).unwrap();
    for pages in [1, 3, whole.len() / 4_096 - 1] {
        fs::write(&path, &whole[..pages * 4_096]).unwrap();
        let error = open(folder.path()).and_then(|store| store.snapshot().map(drop)).err();
        assert!(
            matches!(error, Some(StoreError::Corrupt { .. } | StoreError::Truncated { .. })),
            "{pages}: {error:?}"
        );
    }
}

#[test]
fn missing_database_is_an_error_and_a_missing_segment_is_only_missing_bodies() {
    let mut world = World::new();
    let row = world.say(1, &"x".repeat(9_000));
    let folder = world.folder;
    drop(world.store);
    let (main, bodies) = (folder.path().join(MAIN_FILE), segment(folder.path()));
    let kept = fs::read(&main).unwrap();
    fs::remove_file(&main).unwrap();
    assert_eq!(refused(folder.path(), 1), StoreError::Missing { file: MAIN_FILE.into() });
    fs::write(&main, kept).unwrap();
    fs::remove_file(&bodies).unwrap();
    let mut store = open(folder.path()).unwrap();
    assert_eq!(lacking(&store), [(row.hash.id(), Lack::Damaged)]);
    repair(&mut store, &row);
}

/// What the core hears at start of bodies that are not here.
fn lacking(store: &Store) -> Vec<(EntryId, Lack)> {
    let rooms = store.snapshot().unwrap().rooms;
    rooms.into_iter().flat_map(|r| r.lacking).collect()
}

/// The body comes again from somebody else, and is there at the next start.
fn repair(store: &mut Store, row: &EntryRow) {
    let (entry, body) = (row.hash.id(), row.entry.body.clone().unwrap());
    store.commit(&[Write::Body { room: ROOM, entry, target: None, body }]).unwrap();
    assert_eq!(lacking(store), []);
    let folder = store.folder.clone();
    let read = |store: &Store| store.reader().unwrap().by_id(ROOM, entry).unwrap().unwrap();
    assert_eq!(read(store).entry, row.entry);
    let again = Store::open(&folder, &master(1)).unwrap();
    assert_eq!(read(&again).entry, row.entry);
    assert_eq!(read(&again).lack, None);
}

#[test]
fn shortened_or_zeroed_segment_costs_the_bodies_in_it_and_they_can_come_again() {
    for damage in [Some(0), Some(1), Some(47), Some(48), Some(9_047), None] {
        let mut world = World::new();
        let row = world.say(1, &"x".repeat(9_000));
        let small = world.say(1, "small");
        let folder = world.folder;
        drop(world.store);
        let whole = fs::read(segment(folder.path())).unwrap();
        let left = damage.map_or(vec![0; whole.len()], |length| whole[..length].to_vec());
        fs::write(segment(folder.path()), left).unwrap();
        let mut store = open(folder.path()).unwrap();
        assert_eq!(lacking(&store), [(row.hash.id(), Lack::Damaged)], "{damage:?}");
        let reader = store.reader().unwrap();
        let read = reader.by_id(ROOM, row.hash.id()).unwrap().unwrap();
        assert_eq!((read.entry.body, read.lack), (None, Some(Lack::Damaged)));
        assert_eq!(reader.by_id(ROOM, small.hash.id()).unwrap().unwrap().entry, small.entry);
        assert!(reader.take_doubts().is_empty(), "it is known");
        repair(&mut store, &row);
    }
}

#[test]
fn zeroed_segment_without_bodies_is_begun_anew() {
    for bytes in [0, 47, 48, 4_096] {
        let folder = profile(2);
        fs::write(segment(folder.path()), vec![0; bytes]).unwrap();
        let store = open(folder.path()).unwrap();
        assert_eq!(lacking(&store), []);
        assert_eq!(store.snapshot().unwrap().rooms[0].entries.len(), 2);
    }
}

#[test]
fn one_flipped_bit_costs_one_body() {
    let mut world = World::new();
    let rows: Vec<_> = (0..3).map(|n| world.say(1, &n.to_string().repeat(9_000))).collect();
    let path = segment(world.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes[48 + 9_000 + 4_500] ^= 8;
    fs::write(&path, bytes).unwrap();
    let (page, _) = {
        let reader = world.reader();
        let page = reader.page(ROOM, &Vec::new(), 1 << 20, 100).unwrap();
        assert_eq!(reader.take_doubts(), [(ROOM, rows[1].hash.id())]);
        page
    };
    let here: Vec<bool> = page.iter().map(|e| e.body.is_some()).collect();
    assert_eq!(here, [true, false, true]);
    let lent = world.reader().bodies_of(ROOM, &[rows[1].hash.id(), rows[2].hash.id()]).unwrap();
    assert_eq!(lent.iter().map(|(_, e)| e.is_some()).collect::<Vec<_>>(), [false, true]);

    assert!(world.store.is_rotten(ROOM, rows[1].hash.id()).unwrap());
    assert!(!world.store.is_rotten(ROOM, rows[0].hash.id()).unwrap());
    let entry = rows[1].hash.id();
    world.store.commit(&[Write::Lack { room: ROOM, entry, lack: Lack::Damaged }]).unwrap();
    assert_eq!(lacking(&world.store), [(entry, Lack::Damaged)]);
    let damaged = |world: &World| world.reader().rooms(None).unwrap()[0].damaged;
    assert_eq!(damaged(&world), 1, "status and doctor say so");
    assert!(!world.store.is_rotten(ROOM, entry).unwrap(), "it is known");
    repair(&mut world.store, &rows[1]);
    let world = world.reopen();
    for row in &rows {
        assert_eq!(world.reader().by_id(ROOM, row.hash.id()).unwrap().unwrap().entry, row.entry);
    }
}

#[test]
fn what_is_deleted_stays_deleted_and_a_late_edit_of_it_is_not_kept() {
    let mut world = World::new();
    let line = world.say(1, "words");
    let id = line.hash.id();
    let mut edit = world.entry(ROOM, 1, Kind::Edit, &"other words ".repeat(1_000));
    let body = edit.entry.body.take().unwrap();
    world.store.commit(&[Write::Append(edit.clone())]).unwrap();
    world.change(1, Kind::Delete, id, "");
    world.store.commit(&[Write::DropBody { room: ROOM, entry: id }]).unwrap();
    assert_eq!(world.store.take_freed(), [(ROOM, 5)]);
    world.store.commit(&[Write::Lack { room: ROOM, entry: id, lack: Lack::Damaged }]).unwrap();
    let entry = edit.hash.id();
    assert_eq!(lacking(&world.store), [(entry, Lack::NotGiven)]);
    world.store.commit(&[Write::Body { room: ROOM, entry, target: Some(id), body }]).unwrap();
    for id in [id, entry] {
        let row = world.reader().by_id(ROOM, id).unwrap().unwrap();
        assert_eq!((row.entry.body, row.lack), (None, Some(Lack::Deleted)));
    }
    assert!(!secrecy::on_disk(world.path(), &mask("other words ")[..]));
}

#[test]
fn states_of_missing_bodies_are_told_apart_in_an_old_file() {
    let mut world = World::new();
    let rows: Vec<_> = (0..4).map(|n| world.say(1, &format!("text {n}"))).collect();
    world.change(1, Kind::Delete, rows[0].hash.id(), "");
    let edit = world.change(1, Kind::Edit, rows[0].hash.id(), "edited");
    let mut full = world.entry(OTHER, 1, Kind::Text, "no space");
    full.entry.body = None;
    world.store.commit(&[Write::Append(full.clone())]).unwrap();
    // As the version before left it: one number for all of it.
    world
        .store
        .main
        .execute_batch(&format!(
            "UPDATE entry SET body_at = 0 WHERE journal IN ({}, {}, {}, {});
         UPDATE room SET over_budget = 1 WHERE name = '#shed';
         DROP INDEX entry_lacking; DROP TABLE unindexed; PRAGMA user_version = 4;",
            rows[0].journal, rows[1].journal, edit.journal, full.journal
        ))
        .unwrap();
    let world = world.reopen();
    let lack =
        |row: &EntryRow| world.reader().by_id(row.room, row.hash.id()).unwrap().unwrap().lack;
    assert_eq!(lack(&rows[0]), Some(Lack::Deleted));
    assert_eq!(lack(&edit), Some(Lack::Deleted), "goes with its message");
    assert_eq!(lack(&rows[1]), Some(Lack::NotGiven));
    assert_eq!(lack(&full), Some(Lack::NotKept));
    assert_eq!(lack(&rows[2]), None);
    let rooms = world.reader().rooms(None).unwrap();
    assert_eq!(rooms.iter().map(|r| r.messages).collect::<Vec<_>>(), [3, 1]);
}

#[test]
fn segment_under_a_wrong_name_or_of_another_profile_is_refused() {
    let folder = profile(1);
    let other = tempfile::tempdir().unwrap();
    drop(Store::open(other.path(), &master(2)).unwrap());
    for foreign in [other.path(), folder.path()] {
        let intruder = folder.path().join(segments::name(2));
        fs::copy(segment(foreign), &intruder).unwrap();
        let error = refused(folder.path(), 1);
        assert!(
            matches!(&error, StoreError::Corrupt { file, .. } if *file == segments::name(2)),
            "{error:?}"
        );
        fs::remove_file(intruder).unwrap();
    }
}

#[test]
fn segment_lost_or_shortened_while_the_store_is_open_is_doubted() {
    let mut world = World::new();
    let row = world.say(1, &"x".repeat(9_000));
    let read = |world: &World| {
        let reader = world.reader();
        let lack = reader.by_id(ROOM, row.hash.id()).unwrap().unwrap().lack;
        (lack, reader.take_doubts().len())
    };
    assert_eq!(read(&world), (None, 0));
    let path = segment(world.path());
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(5_000).unwrap();
    assert_eq!(read(&world), (Some(Lack::Damaged), 1));
    fs::remove_file(path).unwrap();
    assert_eq!(read(&world), (Some(Lack::Damaged), 1));
}

#[test]
fn crash_while_the_profile_is_made_leaves_one_that_can_be_made_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(MAIN_FILE), b"").unwrap();
    drop(open(folder.path()).unwrap());
    fs::rename(segment(folder.path()), folder.path().join("bodies.seg.new")).unwrap();
    drop(open(folder.path()).unwrap());
    assert!(!folder.path().join("bodies.seg.new").exists());
}

#[test]
fn newer_formats_are_refused() {
    let folder = profile(1);
    let known = i64::try_from(schema::MIGRATIONS.len()).unwrap();
    let set_main = |version: i64| {
        let key = master(1).database_key();
        let conn = connect::open(&folder.path().join(MAIN_FILE), Some(&key), connect::Role::Writer)
            .unwrap();
        conn.execute_batch(&format!("PRAGMA user_version = {version}")).unwrap();
    };
    set_main(99);
    assert_eq!(
        refused(folder.path(), 1),
        StoreError::Newer { file: MAIN_FILE.into(), found: 99, known }
    );
    set_main(known);
    let mut bytes = fs::read(segment(folder.path())).unwrap();
    bytes[8] = 99;
    fs::write(segment(folder.path()), &bytes).unwrap();
    assert_eq!(
        refused(folder.path(), 1),
        StoreError::Newer { file: segments::name(1), found: 99, known: 1 }
    );
    bytes[8] = 1;
    fs::write(segment(folder.path()), &bytes).unwrap();
    open(folder.path()).unwrap();
}

#[test]
fn unreadable_file_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("missing").join("folder");
    assert!(matches!(open(&nowhere), Err(StoreError::Unreadable { .. })));
}

#[test]
fn foreign_bytes_are_refused() {
    let folder = profile(1);
    fs::write(segment(folder.path()), vec![42; 16_384]).unwrap();
    assert!(matches!(refused(folder.path(), 1), StoreError::Corrupt { .. }));
    fs::write(folder.path().join(MAIN_FILE), vec![42; 16_384]).unwrap();
    assert!(matches!(refused(folder.path(), 1), StoreError::WrongKey | StoreError::Corrupt { .. }));
}

#[test]
fn failed_migration_leaves_the_old_format() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    connect::create(&path).unwrap();
    let mut conn = connect::open(&path, None, connect::Role::Writer).unwrap();
    let broken = ["CREATE TABLE a (x)", "CREATE TABLE b (x); CREATE TABLE b (x)"];
    assert!(connect::migrate(&mut conn, "x.db", &broken).is_err());
    assert_eq!(connect::version(&conn, "x.db").unwrap(), 1);
    connect::migrate(&mut conn, "x.db", &["CREATE TABLE a (x)", "CREATE TABLE b (x)"]).unwrap();
    assert_eq!(connect::version(&conn, "x.db").unwrap(), 2);
}
