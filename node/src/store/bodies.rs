//! The body store: sealed bodies too large for the encrypted file, as received, under their journal number. They are
//! ciphertext already, so this file is plain. A body that no entry refers to is harmless; an entry whose body is gone reads
//! as "not stored here". Small enough to be replaced by segment files.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::BODIES_FILE;
use super::connect::{self, Role};
use super::error::StoreError;

const MIGRATIONS: &[&str] = &["
CREATE TABLE keycheck (tag BLOB NOT NULL) STRICT;
CREATE TABLE body (journal INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
"];

/// The file of large bodies.
pub(super) struct Bodies {
    conn: Connection,
}

impl Bodies {
    /// Opens an existing file for the writer. `tag` is a one-way hash of the database key, kept on first use: it tells a wrong
    /// key from a damaged first page of the other file.
    pub(super) fn open(path: &Path, tag: &[u8; 32]) -> Result<Self, StoreError> {
        let mut conn = connect::open(path, None, Role::Writer)?;
        connect::migrate(&mut conn, BODIES_FILE, MIGRATIONS)?;
        conn.execute("INSERT INTO keycheck SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM keycheck)", [tag.as_slice()])
            .map_err(|e| sql(&e))?;
        Ok(Self { conn })
    }

    /// Opens it for reading only.
    pub(super) fn reader(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { conn: connect::open(path, None, Role::Reader)? })
    }

    /// Whether the file was made under the key with this tag; `None` if it cannot say.
    pub(super) fn made_under(path: &Path, tag: &[u8; 32]) -> Option<bool> {
        let conn = connect::open(path, None, Role::Reader).ok()?;
        let known: Vec<u8> = conn.query_row("SELECT tag FROM keycheck", [], |r| r.get(0)).ok()?;
        Some(known == tag)
    }

    /// Stores bodies durably. A leftover under the same number, from a batch that failed later on, is replaced.
    pub(super) fn put(&mut self, bodies: &[(i64, Arc<[u8]>)]) -> Result<(), StoreError> {
        if bodies.is_empty() {
            return Ok(());
        }
        let tx = self.conn.transaction().map_err(|e| sql(&e))?;
        {
            let mut insert = tx.prepare_cached("INSERT OR REPLACE INTO body VALUES (?1, ?2)").map_err(|e| sql(&e))?;
            for (journal, bytes) in bodies {
                insert.execute(params![journal, &bytes[..]]).map_err(|e| sql(&e))?;
            }
        }
        tx.commit().map_err(|e| sql(&e))
    }

    /// The body of an entry, if it is here.
    pub(super) fn get(&self, journal: i64) -> Result<Option<Arc<[u8]>>, StoreError> {
        let mut select = self.conn.prepare_cached("SELECT bytes FROM body WHERE journal = ?1").map_err(|e| sql(&e))?;
        select.query_row([journal], |r| Ok(Arc::from(r.get_ref(0)?.as_blob()?))).optional().map_err(|e| sql(&e))
    }

    /// Removes bodies and overwrites their place.
    pub(super) fn remove(&mut self, journals: &[i64]) -> Result<(), StoreError> {
        if journals.is_empty() {
            return Ok(());
        }
        let tx = self.conn.transaction().map_err(|e| sql(&e))?;
        {
            let mut delete = tx.prepare_cached("DELETE FROM body WHERE journal = ?1").map_err(|e| sql(&e))?;
            for journal in journals {
                delete.execute([journal]).map_err(|e| sql(&e))?;
            }
        }
        tx.commit().map_err(|e| sql(&e))
    }

    /// Removes what a crash left behind: bodies newer than the newest entry.
    pub(super) fn remove_after(&mut self, journal: i64) -> Result<(), StoreError> {
        self.conn.execute("DELETE FROM body WHERE journal > ?1", [journal]).map_err(|e| sql(&e))?;
        Ok(())
    }

    /// See [`connect::scrub`].
    pub(super) fn scrub(&self) -> Result<bool, StoreError> {
        connect::scrub(&self.conn, BODIES_FILE)
    }
}

fn sql(error: &rusqlite::Error) -> StoreError {
    StoreError::in_file(BODIES_FILE, error)
}
