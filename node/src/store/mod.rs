//! What a profile keeps on disk: the store, the keystore and the lock.
//!
//! The store is a database and a series of segment files. `klatch.db` is encrypted as a whole under
//! a key derived from the keystore's master key and holds entries, rooms, names and the search
//! index; `bodies-00000001.seg`, ... are plain and hold sealed bodies over 4 kB as received, at
//! places that the database knows. One [`Store`] writes, in one transaction per batch; any number
//! of [`Reader`]s read without ever blocking it. What rooms say is never stored in clear: opening
//! bodies is done by the caller, who has the keys. Direct messages are plain inside the encrypted
//! file (`direct`). Losing power at any moment loses nothing that [`Store::commit`] has returned
//! from.

mod bodies;
mod book;
mod connect;
mod direct;
mod error;
mod forget;
pub mod holder;
pub mod keystore;
pub mod lock;
mod moving;
mod notes;
mod page;
mod places;
mod read;
mod row;
mod schema;
mod search;
mod segments;
mod snapshot;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use klatch_core::ids::{EntryId, RoomId};
use klatch_core::log::entry::is_body_of;
use klatch_core::step::{Snapshot, Write};
use rusqlite::Connection;
use zeroize::Zeroizing;

use bodies::{Bodies, Span};
use connect::Role;
use keystore::MasterKey;
use row::whole;
use segments::Segments;

pub use book::KnownAddress;
pub use direct::{ContactAtRest, DirectFound, DirectKey};
pub use error::StoreError;
pub use notes::Note;
pub use read::{Found, Reader, RoomAtRest};
pub use row::LineKey;
pub use search::Cleaned;

/// The encrypted file.
const MAIN_FILE: &str = "klatch.db";
/// Sealed bodies larger than this go to a segment: encrypting them again costs more than the second
/// fsync.
const BODY_APART_ABOVE: usize = 4_096;

/// The writer's end of a profile's files. Exactly one exists per profile (see [`lock`]).
pub struct Store {
    main: Connection,
    segments: Segments,
    bodies: Bodies,
    interned: write::Interned,
    /// To be kept with the next commit.
    notes: Vec<Note>,
    /// What rooms take less than before, not told yet.
    freed: Vec<(RoomId, u64)>,
    /// A body was removed and its bytes are still in a write-ahead log.
    unscrubbed: bool,
    /// Session keys were replaced and the old ones are still in the write-ahead log.
    stale_keys: bool,
    folder: PathBuf,
    key: Zeroizing<[u8; 32]>,
    /// Nothing can be written: why.
    frozen: Option<StoreError>,
}

impl Store {
    /// Opens the files in `folder`, or makes them if there are none.
    ///
    /// # Errors
    /// A [`StoreError`] that tells a wrong key, a newer format, and damaged, missing or unreadable
    /// files apart. Nothing is overwritten then.
    pub fn open(folder: &Path, key: &MasterKey) -> Result<Self, StoreError> {
        let (db_key, tag) = (key.database_key(), key.database_tag());
        let apart = segments::list(folder)?;
        if !used(folder, &apart)? {
            connect::create(&folder.join(MAIN_FILE))?;
        }
        let mut main = open_main(folder, key, Role::Writer, &apart)?;
        connect::migrate(&mut main, MAIN_FILE, schema::MIGRATIONS)?;
        let old = moving::Old::open(&main, folder, &tag)?;
        let (mut segments, damaged) = Segments::open(folder, &tag, &known_segments(&main)?)?;
        if let Some(old) = old {
            old.empty(&mut main, &mut segments)?;
        }
        let bodies = Bodies::new(folder, segments.live());
        let mut store = Self {
            main,
            segments,
            bodies,
            interned: write::Interned::default(),
            notes: Vec::new(),
            freed: Vec::new(),
            unscrubbed: false,
            stale_keys: false,
            folder: folder.to_owned(),
            key: db_key,
            frozen: None,
        };
        for number in damaged {
            let lost = store.look_through(number)?;
            let file = segments::name(number);
            tracing::warn!(file, lost, "damaged; what it lost is asked for from other members");
        }
        match store.tidy() {
            // History can be read all the same; it is done at the next start.
            Err(error @ StoreError::Full { .. }) => {
                tracing::warn!(%error, "cannot tidy up after the last run")
            }
            done => done?,
        }
        Ok(store)
    }

    /// As [`Store::open`]; where the disk refuses writes, what is there is opened for reading and
    /// every commit is refused. Needs the profile's lock as well, if there can be one.
    ///
    /// # Errors
    /// As [`Store::open`]; also for a profile that is empty, or older than this program, where it
    /// cannot be brought up to date.
    pub fn open_to_read(folder: &Path, key: &MasterKey) -> Result<Self, StoreError> {
        match Self::open(folder, key) {
            Err(error) if error.is_refusal() => {
                // If reading fails as well, the first error is the one to tell.
                Self::frozen(folder, key, &error).map_err(|why| match why {
                    why if why.is_refusal() => error.clone(),
                    why => why,
                })
            }
            done => done,
        }
    }

    fn frozen(folder: &Path, key: &MasterKey, why: &StoreError) -> Result<Self, StoreError> {
        let (db_key, tag) = (key.database_key(), key.database_tag());
        let apart = segments::list(folder)?;
        if !used(folder, &apart)? {
            return Err(why.clone());
        }
        let main = open_main(folder, key, Role::Frozen, &apart)?;
        if !current(&main)? || connect::size(&folder.join(moving::BODIES_FILE))?.is_some() {
            let cause = "it has an older format, and the disk refuses to have it changed";
            let (file, cause) = (MAIN_FILE.to_owned(), cause.to_owned());
            return Err(StoreError::Outdated { file, cause });
        }
        let segments = Segments::frozen(folder, &tag, &known_segments(&main)?)?;
        // Told by `Status::read_only`; whoever asked for it shows that in words.
        tracing::info!(%why, "the profile is open for reading only");
        Ok(Self {
            bodies: Bodies::new(folder, segments.live()),
            main,
            segments,
            interned: write::Interned::default(),
            notes: Vec::new(),
            freed: Vec::new(),
            unscrubbed: false,
            stale_keys: false,
            folder: folder.to_owned(),
            key: db_key,
            frozen: Some(why.clone()),
        })
    }

    /// Why nothing can be written, if nothing can.
    pub(crate) fn why_frozen(&self) -> Option<&StoreError> {
        self.frozen.as_ref()
    }

    /// Opens what is there for a look at names, changing nothing: bodies are not read. Nothing if
    /// the profile has never been used, or was last used by an older program and will be brought up
    /// to date at the next start.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub(crate) fn peek(folder: &Path, key: &MasterKey) -> Result<Option<Reader>, StoreError> {
        let apart = segments::list(folder)?;
        if !used(folder, &apart)? {
            return Ok(None);
        }
        let open = |role| open_main(folder, key, role, &apart).map(|main| (main, role));
        let (main, role) = match open(Role::Reader) {
            Err(error) if error.is_refusal() => open(Role::Frozen).map_err(|_| error)?,
            done => done?,
        };
        current(&main)?
            .then(|| Reader::open(folder, &key.database_key(), bodies::Live::default(), role))
            .transpose()
    }

    /// Marks the bodies of a damaged segment that are not what their headers name; how many.
    fn look_through(&mut self, number: u32) -> Result<usize, StoreError> {
        let tx = self.main.transaction()?;
        let bad: Vec<i64> = {
            let mut select = tx.prepare(
                "SELECT e.journal, s.header, s.segment, s.start, s.size FROM sealed s JOIN entry e USING (journal)
                 WHERE s.segment = ?1 AND e.body_at = ?2",
            )?;
            let mut rows = select.query(rusqlite::params![number, schema::BODY_APART])?;
            let mut bad = Vec::new();
            while let Some(r) = rows.next()? {
                let header: Vec<u8> = r.get(1)?;
                let span = row::span(r, 2)?.ok_or(StoreError::value("place of a body"))?;
                let body = self.bodies.get(&span)?;
                if !body.is_some_and(|body| is_body_of(&header, &body)) {
                    bad.push(r.get(0)?);
                }
            }
            bad
        };
        for journal in &bad {
            tx.prepare_cached("UPDATE entry SET body_at = ?2 WHERE journal = ?1")?
                .execute([*journal, schema::BODY_DAMAGED])?;
            forget::doom(&tx, *journal)?;
            tx.prepare_cached(
                "UPDATE room SET bytes = max(bytes - (SELECT size FROM sealed WHERE journal = ?1), 0)
                 WHERE id = (SELECT room FROM entry WHERE journal = ?1)",
            )?
            .execute([journal])?;
        }
        tx.commit()?;
        Ok(bad.len())
    }

    /// Whether the body of an entry really is not the one that its header names: a reader may have
    /// met one that was being removed.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn is_rotten(&self, room: RoomId, entry: EntryId) -> Result<bool, StoreError> {
        let Some(number) = write::room_number(&self.main, room)? else { return Ok(false) };
        let Some(journal) = places::find(&self.main, number, &entry.0)? else { return Ok(false) };
        let mut select = self.main.prepare_cached(&format!(
            "SELECT {} FROM {} WHERE e.journal = ?1",
            row::COLUMNS,
            row::TABLES
        ))?;
        let mut rows = select.query([journal])?;
        let Some(r) = rows.next()? else { return Ok(false) };
        let stored = r.get::<_, i64>(11)?;
        let apart = [schema::BODY_HERE, schema::BODY_APART].contains(&stored);
        let found = row::read(r, &self.bodies)?;
        self.bodies.take_doubts();
        Ok(apart && found.entry.body.is_none())
    }

    /// Bodies that the writer itself doubted, while it indexed.
    pub fn take_doubts(&self) -> Vec<(RoomId, EntryId)> {
        self.bodies.take_doubts()
    }

    /// Bytes that rooms take less than before, since the last time.
    pub fn take_freed(&mut self) -> Vec<(RoomId, u64)> {
        std::mem::take(&mut self.freed)
    }

    /// Writes all of it or nothing, durably. Large bodies go first: without their entry they are
    /// harmless.
    ///
    /// # Errors
    /// [`StoreError::Full`] when the disk refuses; nothing is kept then and a later call may
    /// succeed.
    pub fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let notes = std::mem::take(&mut self.notes);
        if writes.is_empty() && notes.is_empty() {
            return Ok(());
        }
        if let Some(why) = &self.frozen {
            return Err(StoreError::Full { cause: why.to_string() });
        }
        // A place that still waits to be overwritten must not be forgotten for a new one.
        if writes.iter().any(|w| matches!(w, Write::Body { .. })) {
            self.clear_doomed()?;
        }
        let segment = self.segments.number();
        let spans = self.segments.append(&write::bodies_apart(writes))?;
        let done = write::apply(&mut self.main, &mut self.interned, writes, &spans, &notes);
        if done.is_err() {
            // Numbers given out in the failed transaction mean nothing. Its bodies stay until the
            // next batch takes their place: a log that could not be flushed may bring it back after
            // a crash.
            self.interned = write::Interned::default();
        }
        let (dropped, freed) = done?;
        self.freed.extend(freed);
        self.segments.committed(&spans);
        let forgets =
            |w: &Write| matches!(w, Write::ForgetRoom { .. } | Write::ForgetDirect { .. });
        let forgotten = writes.iter().any(forgets);
        if forgotten {
            // Numbers of rooms and devices that are gone may be given out again.
            self.interned = write::Interned::default();
        }
        if dropped > 0 || forgotten {
            self.remove_bodies(dropped);
        } else if self.segments.number() != segment
            && let Err(error) = self.drop_empty_segments()
        {
            tracing::warn!(%error, "an empty segment is still on disk; will try again");
        }
        self.stale_keys |=
            writes.iter().any(|w| matches!(w, Write::Ratchet { .. } | Write::Account(_)));
        if writes.iter().any(|w| matches!(w, Write::DropDirect { .. })) {
            self.unscrubbed = true;
            if let Err(error) = self.scrub() {
                tracing::warn!(%error, "a withdrawn text is still in the log; will try again");
            }
        }
        Ok(())
    }

    /// As [`Store::commit`], but a power cut right afterwards may undo it (a crash of the program
    /// does not): for what others will say again, such as acknowledgements.
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
        let role = if self.frozen.is_some() { Role::Frozen } else { Role::Reader };
        Reader::open(&self.folder, &self.key, self.segments.live(), role)
    }

    /// Removes bodies for good. A failure here loses nothing: the request stands in the encrypted
    /// file and is repeated with the next removal or start.
    fn remove_bodies(&mut self, count: usize) {
        self.unscrubbed = true;
        if let Err(error) = self.clear_doomed().and_then(|()| self.scrub()) {
            tracing::warn!(%error, bodies = count, "removed bodies are still on disk; will try again");
        }
    }

    /// Overwrites every body that is marked for it, then takes the marks away.
    fn clear_doomed(&mut self) -> Result<(), StoreError> {
        let spans: Vec<Option<Span>> = {
            let mut select = self
                .main
                .prepare_cached("SELECT segment, start, size FROM doomed ORDER BY 1, 2")?;
            let mut rows = select.query([])?;
            let mut spans = Vec::new();
            while let Some(r) = rows.next()? {
                spans.push(row::span(r, 0)?);
            }
            spans
        };
        if spans.is_empty() {
            return Ok(());
        }
        // Those without a place were in the old file, which is gone.
        let spans: Vec<Span> = spans.into_iter().flatten().collect();
        self.segments.wipe(&spans)?;
        let tx = self.main.transaction()?;
        for spans in spans.chunk_by(|a, b| a.segment == b.segment) {
            tx.prepare_cached("UPDATE segment SET bodies = bodies - ?2 WHERE number = ?1")?
                .execute(rusqlite::params![
                    spans.first().map(|s| s.segment),
                    row::count(spans.len())
                ])?;
        }
        tx.execute("DELETE FROM doomed", [])?;
        tx.commit()?;
        self.drop_empty_segments()
    }

    /// Removes the segments that have no body left, except for the newest, which grows.
    fn drop_empty_segments(&mut self) -> Result<(), StoreError> {
        let empty: Vec<u32> = self
            .main
            .prepare_cached(
                "DELETE FROM segment WHERE bodies <= 0 AND number <> ?1 RETURNING number",
            )?
            .query_map([self.segments.number()], |r| r.get(0))?
            .collect::<Result<_, _>>()?;
        self.segments.remove(&empty)
    }

    /// Empties the write-ahead log if something was removed; does nothing while a reader is in the
    /// way.
    fn scrub(&mut self) -> Result<(), StoreError> {
        if self.unscrubbed {
            let done = connect::scrub(&self.main, MAIN_FILE)?;
            self.unscrubbed = !done;
            self.stale_keys &= !done;
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

    /// After a crash: finishes removals.
    fn tidy(&mut self) -> Result<(), StoreError> {
        moving::remove(&self.folder)?;
        self.clear_doomed()?;
        self.drop_empty_segments()?;
        // The log of a crashed process may hold what it removed.
        self.unscrubbed = true;
        self.scrub()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Whether the profile has files already; refuses what would make the engine start an empty
/// database over lost data. `apart` says whether there is any file of large bodies.
fn look(main: &Path, apart: bool) -> Result<bool, StoreError> {
    let log = connect::size(&connect::beside(main, connect::WAL))?.unwrap_or(0);
    match connect::size(main)? {
        None if apart || log > 0 => Err(StoreError::Missing { file: MAIN_FILE.to_owned() }),
        // An empty file alone is what a crash leaves while the profile is being made.
        None => Ok(false),
        Some(0) if !apart && log == 0 => Ok(false),
        Some(bytes) if bytes == 0 || (log == 0 && bytes % connect::PAGE_BYTES != 0) => {
            Err(StoreError::Truncated { file: MAIN_FILE.to_owned(), bytes })
        }
        Some(_) => Ok(true),
    }
}

/// As [`look`], for what stands in this folder.
fn used(folder: &Path, apart: &BTreeMap<u32, u64>) -> Result<bool, StoreError> {
    let apart = !apart.is_empty() || connect::size(&folder.join(moving::BODIES_FILE))?.is_some();
    look(&folder.join(MAIN_FILE), apart)
}

/// Opens the encrypted file. If that does not work, the bodies beside it tell whether it is damaged
/// or belongs to another keystore.
fn open_main(
    folder: &Path,
    key: &MasterKey,
    role: Role,
    apart: &BTreeMap<u32, u64>,
) -> Result<Connection, StoreError> {
    let tag = key.database_tag();
    let made_here =
        || segments::made_under(folder, &tag, apart) || moving::made_under(folder, &tag);
    connect::open(&folder.join(MAIN_FILE), Some(&key.database_key()), role).map_err(|e| match e {
        StoreError::Corrupt { .. } if !made_here() => StoreError::WrongKey,
        other => other,
    })
}

/// Whether a file has the newest format; refuses a newer one.
fn current(main: &Connection) -> Result<bool, StoreError> {
    let found = connect::version(main, MAIN_FILE)?;
    let known = i64::try_from(schema::MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known || found < 0 {
        return Err(StoreError::Newer { file: MAIN_FILE.to_owned(), found, known });
    }
    Ok(found == known)
}

/// The segments that have been written to, and up to where.
fn known_segments(main: &Connection) -> Result<BTreeMap<u32, u64>, StoreError> {
    let mut select = main.prepare("SELECT number, upto FROM segment")?;
    let known = select.query_map([], |r| Ok((r.get(0)?, whole(r.get(1)?))))?;
    Ok(known.collect::<Result<_, _>>()?)
}

/// A number from `meta`; 0 if it was never set.
fn meta(main: &Connection, key: &str) -> Result<u64, StoreError> {
    let mut select =
        main.prepare_cached("SELECT coalesce((SELECT value FROM meta WHERE key = ?1), 0)")?;
    Ok(whole(select.query_row([key], |r| r.get(0))?))
}

/// Sets a number in `meta`.
fn set_meta(main: &Connection, key: &str, value: u64) -> Result<(), StoreError> {
    main.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?
        .execute(rusqlite::params![key, row::int(value)])?;
    Ok(())
}
