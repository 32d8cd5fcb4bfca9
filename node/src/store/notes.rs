//! Notes: small values that the shell keeps beside what the core writes, such as tokens of the API
//! and keys of requests that were done. A note can be part of the very transaction that did what it
//! is about.

use rusqlite::{Connection, params};

use super::Store;
use super::error::StoreError;
use super::read::Reader;

/// What all keys begin with in `meta`, so that they cannot meet others.
const PREFIX: &str = "note:";

/// A value under a key; `None` forgets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its name: `KIND/...`.
    pub key: String,
    /// What is kept.
    pub value: Option<String>,
}

impl Store {
    /// Makes a note with the next commit; if that fails, the note is not made.
    pub fn note(&mut self, note: Note) {
        self.notes.push(note);
    }
}

impl Reader {
    /// The notes whose keys begin so, by key.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn notes(&self, kind: &str) -> Result<Vec<(String, String)>, StoreError> {
        let start = format!("{PREFIX}{kind}");
        let mut select = self.main.prepare_cached(
            "SELECT substr(key, ?2), value FROM meta WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key",
        )?;
        let after = super::row::count(PREFIX.len() + 1);
        let mut rows = select.query(params![start, after])?;
        let mut found = Vec::new();
        while let Some(r) = rows.next()? {
            found.push((r.get(0)?, r.get(1)?));
        }
        Ok(found)
    }
}

pub(super) fn write(tx: &Connection, notes: &[Note]) -> Result<(), StoreError> {
    for note in notes {
        let key = format!("{PREFIX}{}", note.key);
        match &note.value {
            Some(value) => tx
                .prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?
                .execute(params![key, value])?,
            None => tx.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute(params![key])?,
        };
    }
    Ok(())
}
