//! What a profile keeps on disk: the store, the keystore and the lock.
//!
//! The store is two SQLite files. `klatch.db` is encrypted as a whole under a key derived from the keystore's master key
//! and holds entries, rooms, names and the search index; `bodies.db` is plain and holds sealed bodies over
//! 4 kB as received. One [`Store`] writes, in one transaction per batch; any number of [`Reader`]s
//! read without ever blocking it. What rooms say is never stored in clear: opening bodies is done by the caller, who has the
//! keys. Direct messages are plain inside the encrypted file (`direct`).
//! Losing power at any moment loses nothing that [`Store::commit`] has returned from.

mod bodies;
mod book;
mod connect;
mod direct;
mod error;
pub mod keystore;
pub mod lock;
mod page;
mod places;
mod read;
mod row;
mod schema;
mod search;
mod snapshot;
mod write;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use klatch_core::step::{Snapshot, Write};
use rusqlite::Connection;
use zeroize::Zeroizing;

use bodies::Bodies;
use connect::Role;
use keystore::MasterKey;
use row::whole;

pub use book::KnownAddress;
pub use direct::{ContactAtRest, DirectFound, DirectKey, shown_ms};
pub use error::StoreError;
pub use read::{Found, Reader, RoomAtRest};
pub use row::LineKey;

/// The encrypted file.
const MAIN_FILE: &str = "klatch.db";
/// The plain file of sealed bodies.
const BODIES_FILE: &str = "bodies.db";
/// Sealed bodies larger than this go to the plain file: encrypting them again costs more than the second fsync.
const BODY_APART_ABOVE: usize = 4_096;

/// The writer's end of a profile's files. Exactly one exists per profile (see [`lock`]).
pub struct Store {
    main: Connection,
    bodies: Bodies,
    interned: write::Interned,
    /// A body was removed and its bytes are still in a write-ahead log.
    unscrubbed: bool,
    /// Session keys were replaced and the old ones are still in the write-ahead log.
    stale_keys: bool,
    folder: PathBuf,
    key: Zeroizing<[u8; 32]>,
}

impl Store {
    /// Opens the files in `folder`, or makes them if there are none.
    ///
    /// # Errors
    /// A [`StoreError`] that tells a wrong key, a newer format, and damaged, missing or unreadable files apart. Nothing is
    /// overwritten then.
    pub fn open(folder: &Path, key: &MasterKey) -> Result<Self, StoreError> {
        let (main_path, bodies_path) = (folder.join(MAIN_FILE), folder.join(BODIES_FILE));
        let (db_key, tag) = (key.database_key(), key.database_tag());
        let used = look(&main_path, &bodies_path)?;
        if !used {
            connect::create(&main_path)?;
        }
        let mut main = connect::open(&main_path, Some(&db_key), Role::Writer).map_err(|e| match e {
            StoreError::Corrupt { .. } if Bodies::made_under(&bodies_path, &tag) != Some(true) => StoreError::WrongKey,
            other => other,
        })?;
        connect::migrate(&mut main, MAIN_FILE, schema::MIGRATIONS)?;
        if connect::size(&bodies_path)?.is_none() {
            if any_body_apart(&main)? {
                return Err(StoreError::Missing { file: BODIES_FILE.to_owned() });
            }
            connect::create(&bodies_path)?;
        }
        let bodies = Bodies::open(&bodies_path, &tag)?;
        let mut store = Self {
            main,
            bodies,
            interned: write::Interned::default(),
            unscrubbed: false,
            stale_keys: false,
            folder: folder.to_owned(),
            key: db_key,
        };
        match store.tidy() {
            // History can be read all the same; it is done at the next start.
            Err(error @ StoreError::Full { .. }) => tracing::warn!(%error, "cannot tidy up after the last run"),
            done => done?,
        }
        Ok(store)
    }

    /// Writes all of it or nothing, durably. Bodies for the plain file go first: without their entry they are harmless.
    ///
    /// # Errors
    /// [`StoreError::Full`] when the disk refuses; nothing is kept then and a later call may succeed.
    pub fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let bodies = write::bodies_apart(writes);
        self.bodies.put(&bodies)?;
        let done = write::apply(&mut self.main, &mut self.interned, writes);
        if done.is_err() {
            // Numbers given out in the failed transaction mean nothing; its bodies only take space.
            self.interned = write::Interned::default();
            let _ = self.bodies.remove(&bodies.iter().map(|(journal, _)| *journal).collect::<Vec<_>>());
        }
        let removed = done?;
        if !removed.is_empty() {
            self.remove_bodies(&removed);
        }
        self.stale_keys |= writes.iter().any(|w| matches!(w, Write::Ratchet { .. } | Write::Account(_)));
        if writes.iter().any(|w| matches!(w, Write::DropDirect { .. })) {
            self.unscrubbed = true;
            if let Err(error) = self.scrub() {
                tracing::warn!(%error, "a withdrawn text is still in the log; will try again");
            }
        }
        Ok(())
    }

    /// As [`Store::commit`], but a power cut right afterwards may undo it (a crash of the program does not): for what others
    /// will say again, such as acknowledgements.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn commit_relaxed(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.main.execute_batch("PRAGMA synchronous = NORMAL;")?;
        let done = self.commit(writes);
        self.main.execute_batch("PRAGMA synchronous = FULL;")?;
        done
    }

    /// Everything the core remembers across restarts.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let loaded = snapshot::load(&self.main)?;
        // The pages read are not needed again soon.
        self.main.execute_batch("PRAGMA shrink_memory;")?;
        Ok(loaded)
    }

    /// A new reader with its own connections.
    ///
    /// # Errors
    /// When the files cannot be opened.
    pub fn reader(&self) -> Result<Reader, StoreError> {
        Reader::open(&self.folder, &self.key)
    }

    /// Removes bodies from the plain file. A failure here loses nothing: the request stands in the encrypted file and is
    /// repeated with the next removal or start.
    fn remove_bodies(&mut self, journals: &[i64]) {
        self.unscrubbed = true;
        if let Err(error) = self.clear_doomed().and_then(|()| self.scrub()) {
            tracing::warn!(%error, bodies = journals.len(), "removed bodies are still on disk; will try again");
        }
    }

    /// Removes every body that is marked for it, then the marks.
    fn clear_doomed(&mut self) -> Result<(), StoreError> {
        let doomed: Vec<i64> = {
            let mut select = self.main.prepare_cached("SELECT journal FROM doomed")?;
            select.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?
        };
        if doomed.is_empty() {
            return Ok(());
        }
        self.bodies.remove(&doomed)?;
        self.main.execute("DELETE FROM doomed", [])?;
        Ok(())
    }

    /// Empties both write-ahead logs if something was removed; does nothing while a reader is in the way.
    fn scrub(&mut self) -> Result<(), StoreError> {
        if self.unscrubbed {
            let (bodies, main) = (self.bodies.scrub()?, connect::scrub(&self.main, MAIN_FILE)?);
            self.unscrubbed = !(main && bodies);
            self.stale_keys &= !main;
        }
        Ok(())
    }

    /// Empties the log of session keys that were replaced: for idle moments.
    fn scrub_keys(&mut self) -> Result<(), StoreError> {
        if self.stale_keys {
            self.stale_keys = !connect::scrub(&self.main, MAIN_FILE)?;
        }
        Ok(())
    }

    /// After a crash: finishes removals and drops bodies whose entry was never committed.
    fn tidy(&mut self) -> Result<(), StoreError> {
        let newest: Option<i64> = self.main.query_row("SELECT max(journal) FROM entry", [], |r| r.get(0))?;
        self.bodies.remove_after(newest.unwrap_or(0))?;
        self.clear_doomed()?;
        // The logs of a crashed process may hold what it removed.
        self.unscrubbed = true;
        self.scrub()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Whether the profile has files already; refuses what would make the engine start an empty database over lost data.
fn look(main: &Path, bodies: &Path) -> Result<bool, StoreError> {
    let (size, apart) = (connect::size(main)?, connect::size(bodies)?);
    let log = connect::size(&connect::wal(main))?.unwrap_or(0);
    match size {
        None if apart.is_some() || log > 0 => Err(StoreError::Missing { file: MAIN_FILE.to_owned() }),
        // An empty file alone is what a crash leaves while the profile is being made.
        None => Ok(false),
        Some(0) if apart.is_none() && log == 0 => Ok(false),
        Some(bytes) if bytes == 0 || (log == 0 && bytes % connect::PAGE_BYTES != 0) => {
            Err(StoreError::Truncated { file: MAIN_FILE.to_owned(), bytes })
        }
        Some(_) => Ok(true),
    }
}

fn any_body_apart(main: &Connection) -> Result<bool, StoreError> {
    let apart = [schema::BODY_APART];
    Ok(main.query_row("SELECT EXISTS (SELECT 1 FROM entry WHERE body_at = ?1)", apart, |r| r.get(0))?)
}

/// A number from `meta`; 0 if it was never set.
fn meta(main: &Connection, key: &str) -> Result<u64, StoreError> {
    let mut select = main.prepare_cached("SELECT coalesce((SELECT value FROM meta WHERE key = ?1), 0)")?;
    Ok(whole(select.query_row([key], |r| r.get(0))?))
}

/// Sets a number in `meta`.
fn set_meta(main: &Connection, key: &str, value: u64) -> Result<(), StoreError> {
    main.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?
        .execute(rusqlite::params![key, row::int(value)])?;
    Ok(())
}
