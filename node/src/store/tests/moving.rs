//! Profiles from before the segments: whatever state a crash left them in, their bodies are found
//! again.

use std::fs;
use std::path::PathBuf;

use rusqlite::{Connection, params};

use super::*;
use crate::store::connect::{self, Role};
use crate::store::moving::{BODIES_FILE, MIGRATIONS};
use crate::store::row::{count, int, ordered};
use crate::store::{MAIN_FILE, StoreError, schema, segments};

/// More than are moved in one step.
const ENTRIES: u64 = 300;

/// A profile as the first format had it: mostly large bodies, some small, some lost, some about to
/// be removed.
struct OldProfile {
    folder: TempDir,
    rows: Vec<EntryRow>,
}

fn is_lost(row: &EntryRow) -> bool {
    row.journal % 50 == 7
}

fn is_doomed(row: &EntryRow) -> bool {
    row.journal % 50 == 9
}

impl OldProfile {
    fn new() -> Self {
        let mut world = World::new();
        let rows: Vec<EntryRow> = (0..ENTRIES)
            .map(|n| {
                let bytes = if n % 3 == 0 { 100 } else { 9_000 };
                world.entry(ROOM, 1, Kind::Text, &format!("needle-{n:03} ").repeat(bytes / 11))
            })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let (mut main, mut old) =
            (database(folder.path(), MAIN_FILE), database(folder.path(), BODIES_FILE));
        connect::migrate(&mut main, MAIN_FILE, &schema::MIGRATIONS[..1]).unwrap();
        connect::migrate(&mut old, BODIES_FILE, MIGRATIONS).unwrap();
        old.execute("INSERT INTO keycheck VALUES (?1)", [master(1).database_tag()]).unwrap();
        let tx = main.transaction().unwrap();
        tx.execute_batch(
            "INSERT INTO room VALUES (1, x'01010101010101010101010101010101', '#garden', zeroblob(32), 0, 5, 0, 0, 0, 0, 0);
             INSERT INTO device VALUES (1, x'0101010101010101010101010101010101010101010101010101010101010101');",
        )
        .unwrap();
        for row in &rows {
            insert(&tx, row);
        }
        tx.commit().unwrap();
        let tx = old.transaction().unwrap();
        for row in rows.iter().filter(|row| row.journal % 3 != 1 && !is_lost(row)) {
            let body = row.entry.body.as_deref().unwrap();
            tx.execute("INSERT INTO body VALUES (?1, ?2)", params![int(row.journal), body])
                .unwrap();
        }
        tx.commit().unwrap();
        Self { folder, rows }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn open(&self) -> Result<Store, StoreError> {
        Store::open(self.path(), &master(1))
    }

    /// Everything is where it belongs, and the old file is gone.
    fn check(&self, store: &Store) {
        let read = store.reader().unwrap().journal(None, 0, 1_000).unwrap();
        assert_eq!(read.len(), self.rows.len());
        for (read, row) in read.iter().zip(&self.rows) {
            let gone = row.journal % 3 != 1 && (is_lost(row) || is_doomed(row));
            assert_eq!(
                read.entry.body,
                row.entry.body.clone().filter(|_| !gone),
                "entry {}",
                row.journal
            );
        }
        let left = fs::read_dir(self.path())
            .unwrap()
            .map(|f| f.unwrap().file_name().into_string().unwrap());
        let left: Vec<String> = left.filter(|name| name.starts_with("bodies")).collect();
        assert_eq!(left, [segments::name(1)]);
        let doomed = self.rows.iter().find(|row| is_doomed(row) && row.journal % 3 != 1).unwrap();
        assert!(!secrecy::on_disk(self.path(), &doomed.entry.body.as_deref().unwrap()[..10]));
    }
}

fn database(folder: &Path, file: &str) -> Connection {
    let key = master(1).database_key();
    connect::create(&folder.join(file)).unwrap();
    connect::open(&folder.join(file), (file == MAIN_FILE).then_some(&*key), Role::Writer).unwrap()
}

/// A row as the first format had it.
fn insert(tx: &Connection, row: &EntryRow) {
    let (journal, small) = (int(row.journal), row.journal % 3 == 1);
    let doomed = !small && is_doomed(row);
    let body_at = if small { schema::BODY_HERE } else { schema::BODY_APART };
    let body_at = if doomed { schema::BODY_DELETED } else { body_at };
    let (hlc, eff, lamport) = (row.hlc.cast_signed(), ordered(row.eff), ordered(row.lamport));
    tx.execute(
        "INSERT INTO entry VALUES (?1, 1, 1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8, ?9, NULL)",
        params![
            journal,
            int(row.seq),
            row.kind,
            body_at,
            hlc,
            eff,
            lamport,
            int(row.arrived_ms),
            row.hash.0
        ],
    )
    .unwrap();
    let (header, signature) = (&row.entry.header[..], row.entry.signature.unwrap().0);
    let body = row.entry.body.as_deref().filter(|_| small);
    tx.execute(
        "INSERT INTO sealed VALUES (?1, ?2, ?3, ?4)",
        params![journal, header, signature, body],
    )
    .unwrap();
    if doomed {
        tx.execute("INSERT INTO doomed VALUES (?1)", [journal]).unwrap();
    }
    let bytes = count(row.entry.header.len() + row.entry.body.as_ref().map_or(0, |b| b.len()));
    tx.execute("UPDATE room SET bytes = bytes + ?1, messages = messages + 1", [bytes]).unwrap();
}

fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn bodies_of_the_first_format_are_moved() {
    let profile = OldProfile::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("link");
    fs::hard_link(profile.path().join(BODIES_FILE), &link).unwrap();
    let mut store = profile.open().unwrap();
    profile.check(&store);
    assert!(
        fs::read(link).unwrap().iter().all(|byte| *byte == 0),
        "its blocks may be anybody's next"
    );
    let before = store.reader().unwrap().rooms(None).unwrap()[0].bytes;
    let row = &profile.rows[1];
    store.commit(&[Write::DropBody { room: ROOM, entry: row.hash.id() }]).unwrap();
    let after = store.reader().unwrap().rooms(None).unwrap()[0].bytes;
    assert_eq!(
        before - after,
        row.entry.body.as_ref().unwrap().len() as u64,
        "their sizes are known"
    );
    drop(store);
    assert_eq!(
        profile.open().unwrap().snapshot().unwrap().rooms[0].entries.len(),
        profile.rows.len()
    );
}

/// The states that a crash can leave, each made by hand from a profile before and after the move.
#[test]
fn move_can_be_interrupted_anywhere() {
    let profile = OldProfile::new();
    let old = tempfile::tempdir().unwrap();
    copy(profile.path(), old.path());
    let old_file =
        |name: &str| -> (PathBuf, PathBuf) { (old.path().join(name), profile.path().join(name)) };

    // The tables are new, nothing is moved yet.
    let mut main = database(profile.path(), MAIN_FILE);
    connect::migrate(&mut main, MAIN_FILE, schema::MIGRATIONS).unwrap();
    drop(main);
    profile.check(&profile.open().unwrap());

    // Everything is moved, and the old file is there again, whole, cut, or overwritten.
    for bytes in [fs::read(old_file(BODIES_FILE).0).unwrap(), Vec::new(), vec![0; 70_000]] {
        fs::write(old_file(BODIES_FILE).1, bytes).unwrap();
        fs::write(profile.path().join(format!("{BODIES_FILE}-wal")), b"left behind").unwrap();
        profile.check(&profile.open().unwrap());
    }

    // Some are moved: of those that are not, one step lies in the segment without its entries
    // knowing.
    fs::copy(old_file(BODIES_FILE).0, old_file(BODIES_FILE).1).unwrap();
    let main = database(profile.path(), MAIN_FILE);
    let upto: i64 = main
        .query_row(
            "SELECT start FROM sealed JOIN entry USING (journal) WHERE body_at = 2 AND journal >= 100",
            [],
            |r| r.get(0),
        )
        .unwrap();
    main.execute_batch(&format!(
        "UPDATE segment SET upto = {upto}, bodies = (SELECT count(*) FROM sealed WHERE start < {upto});
         UPDATE sealed SET segment = NULL, start = NULL, size = NULL WHERE start >= {upto};
         INSERT OR REPLACE INTO meta VALUES ('bodies_to_move', 1);"
    ))
    .unwrap();
    drop(main);
    profile.check(&profile.open().unwrap());
    profile.check(&profile.open().unwrap());
}

#[test]
fn missing_or_foreign_old_file_is_an_error_while_it_is_needed() {
    let profile = OldProfile::new();
    let path = profile.path().join(BODIES_FILE);
    let kept = fs::read(&path).unwrap();
    let refused = |error: &StoreError| {
        let found = profile.open().err();
        assert_eq!(
            found.as_ref().map(std::mem::discriminant),
            Some(std::mem::discriminant(error)),
            "{found:?}"
        );
        assert!(!profile.path().join(segments::name(1)).exists());
    };
    let nothing = String::new;
    fs::remove_file(&path).unwrap();
    refused(&StoreError::Missing { file: nothing() });
    fs::write(&path, vec![42; 16_384]).unwrap();
    refused(&StoreError::Corrupt { file: nothing(), cause: nothing() });
    assert_eq!(fs::read(&path).unwrap(), vec![42; 16_384]);

    fs::write(&path, &kept).unwrap();
    let old = database(profile.path(), BODIES_FILE);
    old.execute_batch("PRAGMA user_version = 99").unwrap();
    refused(&StoreError::Newer { file: nothing(), found: 0, known: 0 });
    old.execute_batch("PRAGMA user_version = 1").unwrap();
    old.execute("UPDATE keycheck SET tag = ?1", [master(2).database_tag()]).unwrap();
    refused(&StoreError::Corrupt { file: nothing(), cause: nothing() });
    old.execute("UPDATE keycheck SET tag = ?1", [master(1).database_tag()]).unwrap();
    drop(old);
    profile.check(&profile.open().unwrap());
}

#[test]
fn wrong_key_is_told_apart_from_damage_in_the_first_format_too() {
    let profile = OldProfile::new();
    assert_eq!(Store::open(profile.path(), &master(2)).err(), Some(StoreError::WrongKey));
    let path = profile.path().join(MAIN_FILE);
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(profile.open(), Err(StoreError::Corrupt { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(profile.open(), Err(StoreError::Missing { .. })));
}
