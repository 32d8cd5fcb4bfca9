//! Files that cannot be used: each way has its own error, and nothing is overwritten.

use std::fs;

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
fn missing_file_beside_a_present_one_is_an_error() {
    let mut world = World::new();
    world.say(1, &"x".repeat(9_000));
    let folder = world.folder;
    drop(world.store);
    let (main, bodies) = (folder.path().join(MAIN_FILE), segment(folder.path()));
    let kept = fs::read(&main).unwrap();
    fs::remove_file(&main).unwrap();
    assert_eq!(refused(folder.path(), 1), StoreError::Missing { file: MAIN_FILE.into() });
    fs::write(&main, kept).unwrap();
    fs::remove_file(&bodies).unwrap();
    assert_eq!(refused(folder.path(), 1), StoreError::Missing { file: segments::name(1) });
}

#[test]
fn shortened_segment_is_noticed() {
    let mut world = World::new();
    world.say(1, &"x".repeat(9_000));
    let folder = world.folder;
    drop(world.store);
    let whole = fs::read(segment(folder.path())).unwrap();
    for length in [0, 1, 47, 48, whole.len() - 1] {
        fs::write(segment(folder.path()), &whole[..length]).unwrap();
        let bytes = length as u64;
        assert_eq!(
            refused(folder.path(), 1),
            StoreError::Truncated { file: segments::name(1), bytes }
        );
    }
    fs::write(segment(folder.path()), whole).unwrap();
    open(folder.path()).unwrap();
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
fn segment_lost_or_shortened_while_the_store_is_open_is_reported() {
    let mut world = World::new();
    let row = world.say(1, &"x".repeat(9_000));
    let read = |world: &World| world.reader().by_id(ROOM, row.hash.id()).map(drop);
    read(&world).unwrap();
    let path = segment(world.path());
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(5_000).unwrap();
    assert_eq!(read(&world), Err(StoreError::Truncated { file: segments::name(1), bytes: 5_000 }));
    fs::remove_file(path).unwrap();
    assert_eq!(read(&world), Err(StoreError::Missing { file: segments::name(1) }));
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
    fs::create_dir(folder.path().join(MAIN_FILE)).unwrap();
    fs::write(folder.path().join(MAIN_FILE).join("x"), b"").unwrap();
    let error = open(folder.path()).err().unwrap();
    assert!(
        matches!(error, StoreError::Unreadable { .. } | StoreError::Truncated { .. }),
        "{error:?}"
    );
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
