//! Reading while the writer writes: rooms, devices, and entries in display order, in arrival order,
//! by id, by target, by word. Rows come back with their bodies still sealed. Pages for other nodes
//! are in `page`.

use std::path::Path;

use klatch_core::content::Kind;
use klatch_core::event::Event;
use klatch_core::ids::{DeviceId, EntryId, RoomId};
use klatch_core::log::entry::SealedEntry;
use klatch_core::query::Numbered;
use klatch_core::step::{DeviceRow, EntryRow};
use rusqlite::{Connection, OptionalExtension, params};
use zeroize::Zeroizing;

use super::bodies::{Bodies, Live};
use super::connect::{self, Role};
use super::error::StoreError;
use super::row::{self, COLUMNS, LineKey, SINCE, TABLES, bytes, count, int, ordered, whole};
use super::search::{self, Terms};
use super::write::room_number;
use super::{MAIN_FILE, places, schema, snapshot};

/// Matches of a search that are looked at, newest arrivals first: a word that stands in every
/// message of a large room shall not cost more than a few tens of milliseconds. Fewer matches are
/// searched in full.
pub(super) const MATCHES_MAX: i64 = 5_000;
/// Rows of one answer, whatever was asked for: bounds memory.
pub(super) const ROWS_MAX: usize = 10_000;

/// A reader's end of a profile's files: an own connection, may move to another thread, sees whole
/// commits only.
pub struct Reader {
    pub(super) main: Connection,
    pub(super) bodies: Bodies,
}

/// A room for lists. Its root secret is not among it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomAtRest {
    /// Its id.
    pub room: RoomId,
    /// Normalised name with `#`.
    pub name: String,
    /// Whether a passphrase went into the root.
    pub passphrase: bool,
    /// When it was first joined, Unix milliseconds.
    pub joined_ms: u64,
    /// No longer followed.
    pub left: bool,
    /// Bodies are no longer stored.
    pub over_budget: bool,
    /// Everything up to this journal number was read.
    pub read_upto: u64,
    /// Bytes of headers and bodies stored.
    pub bytes: u64,
    /// Texts and notices stored.
    pub messages: u64,
    /// Texts and notices of others that arrived after `read_upto`.
    pub unread: u64,
    /// Devices seen in it.
    pub members: u32,
    /// Entries whose body rotted here.
    pub damaged: u64,
}

/// Which lines of a room are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Found {
    /// Only lines displayed before this one.
    pub before: Option<LineKey>,
    /// Only lines written, or arrived, at or after this time, Unix milliseconds; of what was
    /// written before the room was joined, only the time of writing counts.
    pub since_ms: Option<u64>,
    /// At most this many, the newest ones.
    pub limit: usize,
}

impl Reader {
    pub(super) fn open(
        folder: &Path,
        key: &Zeroizing<[u8; 32]>,
        live: Live,
        role: Role,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            main: connect::open(&folder.join(MAIN_FILE), Some(key), role)?,
            bodies: Bodies::new(folder, live),
        })
    }

    /// Entries that were read with a body that is not the one that their header names, since the
    /// last time.
    #[must_use]
    pub fn take_doubts(&self) -> Vec<(RoomId, EntryId)> {
        self.bodies.take_doubts()
    }

    /// Bodies of these entries, in the order asked, where they are here.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn bodies_of(
        &self,
        room: RoomId,
        entries: &[EntryId],
    ) -> Result<Vec<(EntryId, Option<SealedEntry>)>, StoreError> {
        let mut found = Vec::with_capacity(entries.len());
        for id in entries {
            let entry = self.by_id(room, *id)?.map(|row| row.entry);
            found.push((*id, entry.filter(|e| e.body.is_some())));
        }
        Ok(found)
    }

    /// Lines of a room in display order, oldest first: the newest ones that `wanted` admits.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn lines(&self, room: RoomId, wanted: Found) -> Result<Vec<EntryRow>, StoreError> {
        let Some(room) = room_number(&self.main, room)? else { return Ok(Vec::new()) };
        let sql = format!(
            "SELECT {COLUMNS} FROM {TABLES} WHERE e.room = ?1 AND e.kind NOT IN ({}) AND {SINCE}
             AND (e.eff, e.lamport, e.hash) < (?3, ?4, ?5) ORDER BY e.eff DESC, e.lamport DESC, e.hash DESC",
            kinds_that_are_no_lines()
        );
        let since = int(wanted.since_ms.unwrap_or(0));
        let mut select = self.main.prepare_cached(&sql)?;
        let rows = match wanted.before {
            Some(key) => select.query(params![
                room,
                since,
                ordered(key.eff),
                ordered(key.lamport),
                key.hash.0
            ])?,
            // One byte longer than any hash: after everything.
            None => select.query(params![room, since, i64::MAX, i64::MAX, [0xff_u8; 33]])?,
        };
        let mut found = self.take(rows, wanted.limit, |_| true)?;
        found.reverse();
        Ok(found)
    }

    /// Lines of a room that follow one in display order, oldest first; from the beginning without
    /// one.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn lines_after(
        &self,
        room: RoomId,
        after: Option<LineKey>,
        limit: usize,
    ) -> Result<Vec<EntryRow>, StoreError> {
        let Some(room) = room_number(&self.main, room)? else { return Ok(Vec::new()) };
        let sql = format!(
            "SELECT {COLUMNS} FROM {TABLES} WHERE e.room = ?1 AND e.kind NOT IN ({})
             AND (e.eff, e.lamport, e.hash) > (?2, ?3, ?4) ORDER BY e.eff, e.lamport, e.hash",
            kinds_that_are_no_lines()
        );
        let mut select = self.main.prepare_cached(&sql)?;
        let rows = match after {
            Some(key) => {
                select.query(params![room, ordered(key.eff), ordered(key.lamport), key.hash.0])?
            }
            // Shorter than any hash: before everything.
            None => select.query(params![room, i64::MIN, i64::MIN, [0_u8; 0]])?,
        };
        self.take(rows, limit, |_| true)
    }

    /// Lines of a room, oldest first, that contain these words (the last one may be a prefix) in
    /// their present text: the newest ones that `wanted` admits. Exact up to 5,000 matches; beyond
    /// them, those that arrived last are considered.
    ///
    /// # Errors
    /// When the files cannot be read. Any text is a valid query.
    pub fn search(
        &self,
        room: RoomId,
        words: &str,
        wanted: Found,
    ) -> Result<Vec<EntryRow>, StoreError> {
        let Some(room) = room_number(&self.main, room)? else { return Ok(Vec::new()) };
        let Some(terms) = Terms::parse(words) else { return Ok(Vec::new()) };
        let mut newest = self.keys(&search::matches(&self.main, room, &terms, MATCHES_MAX)?)?;
        newest.retain(|(key, _)| wanted.before.is_none_or(|before| *key < before));
        newest.sort_unstable_by(|a, b| b.cmp(a));
        let mut select = self.main.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM {TABLES} WHERE e.journal = ?1 AND {SINCE}"
        ))?;
        let since = int(wanted.since_ms.unwrap_or(0));
        let mut found = Vec::new();
        for (_, journal) in newest {
            if found.len() >= wanted.limit.min(ROWS_MAX) {
                break;
            }
            let rows = select.query(params![journal, since])?;
            found.append(&mut self.take(rows, 1, |_| true)?);
        }
        found.reverse();
        Ok(found)
    }

    /// Entries of any kind in arrival order after a journal number; of all rooms without one.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn journal(
        &self,
        room: Option<RoomId>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<EntryRow>, StoreError> {
        let Some(room) = room else {
            let sql =
                format!("SELECT {COLUMNS} FROM {TABLES} WHERE e.journal > ?1 ORDER BY e.journal");
            let mut select = self.main.prepare_cached(&sql)?;
            return self.take(select.query([int(after)])?, limit, |_| true);
        };
        let Some(room) = room_number(&self.main, room)? else { return Ok(Vec::new()) };
        let sql = format!(
            "SELECT {COLUMNS} FROM {TABLES} WHERE e.room = ?1 AND e.journal > ?2 ORDER BY e.journal"
        );
        let mut select = self.main.prepare_cached(&sql)?;
        self.take(select.query([room, int(after)])?, limit, |_| true)
    }

    /// The newest journal number; 0 before anything happened.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn head(&self) -> Result<u64, StoreError> {
        Ok(whole(self.main.prepare_cached(schema::NEWEST)?.query_row([], |r| r.get(0))?))
    }

    /// The oldest journal number; `None` before anything happened. Every table that takes numbers
    /// is asked, as in [`Reader::head`].
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn oldest(&self) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT min(journal) FROM (SELECT min(journal) journal FROM entry UNION ALL
                   SELECT min(journal) FROM event UNION ALL SELECT min(journal) FROM direct)";
        let oldest: Option<i64> = self.main.prepare_cached(sql)?.query_row([], |r| r.get(0))?;
        Ok(oldest.map(whole))
    }

    /// Durable events other than messages, after a journal number.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn events(&self, after: u64, limit: usize) -> Result<Vec<Numbered>, StoreError> {
        let mut select = self.main.prepare_cached(
            "SELECT journal, event FROM event WHERE journal > ?1 ORDER BY journal LIMIT ?2",
        )?;
        let mut rows = select.query(params![int(after), count(limit.min(ROWS_MAX))])?;
        let mut found = Vec::new();
        while let Some(r) = rows.next()? {
            let text = r.get_ref(1)?.as_str().map_err(|_| StoreError::value("event"))?;
            let Kept { at_ms, event } = match serde_json::from_str(text) {
                Ok(kept) => kept,
                Err(_) => newer(text).ok_or(StoreError::value("event"))?,
            };
            found.push(Numbered { journal: whole(r.get(0)?), at_ms, event });
        }
        Ok(found)
    }

    /// One entry by its id.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn by_id(&self, room: RoomId, id: EntryId) -> Result<Option<EntryRow>, StoreError> {
        let Some(room) = room_number(&self.main, room)? else { return Ok(None) };
        let Some(journal) = places::find(&self.main, room, &id.0)? else { return Ok(None) };
        let mut select = self
            .main
            .prepare_cached(&format!("SELECT {COLUMNS} FROM {TABLES} WHERE e.journal = ?1"))?;
        Ok(self.take(select.query([journal])?, 1, |_| true)?.pop())
    }

    /// The last profile of a device before this number, which says what it was called until then.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn profile_before(
        &self,
        room: RoomId,
        device: DeviceId,
        journal: u64,
    ) -> Result<Option<EntryRow>, StoreError> {
        let Some(room) = room_number(&self.main, room)? else { return Ok(None) };
        // Answered by the index of arrivals alone, a few milliseconds for a hundred thousand rows.
        let mut select = self.main.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM {TABLES} WHERE e.journal =
             (SELECT max(x.journal) FROM entry x INDEXED BY entry_arrived WHERE x.room = ?1
              AND x.journal < ?2 AND x.kind = ?3
              AND x.device = (SELECT id FROM device WHERE device = ?4))"
        ))?;
        let kind = Kind::Profile.code();
        let rows = select.query((room, int(journal), kind, device.0.as_slice()))?;
        Ok(self.take(rows, 1, |_| true)?.pop())
    }

    /// Edits, deletes and reactions of these messages, in no particular order.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn annotations(
        &self,
        room: RoomId,
        targets: &[EntryId],
    ) -> Result<Vec<EntryRow>, StoreError> {
        let Some(room) = room_number(&self.main, room)? else { return Ok(Vec::new()) };
        let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE e.room = ?1 AND e.target = ?2");
        let mut select = self.main.prepare_cached(&sql)?;
        let mut found = Vec::new();
        for target in targets {
            let left = ROWS_MAX - found.len();
            found.append(&mut self.take(select.query(params![room, target.0])?, left, |_| true)?);
        }
        Ok(found)
    }

    /// Every room, by name. Unread counts leave out what `own` wrote.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn rooms(&self, own: Option<DeviceId>) -> Result<Vec<RoomAtRest>, StoreError> {
        let mut select = self.main.prepare_cached(
            "SELECT room, name, passphrase, joined_ms, gone, over_budget, read_upto, bytes, messages,
             (SELECT count(*) FROM entry e WHERE e.room = room.id AND e.journal > read_upto AND e.kind IN (1, 5)
              AND e.device IS NOT (SELECT id FROM device WHERE device.device = ?1)
              -- What its author deleted is not unread.
              AND e.body_at <> 0),
             (SELECT count(*) FROM member m WHERE m.room = room.id),
             -- The first condition is that of the index.
             (SELECT count(*) FROM entry e WHERE e.room = room.id AND e.body_at > 2 AND e.body_at = 5)
             FROM room ORDER BY name, id",
        )?;
        let mut rows = select.query([own.map(|d| d.0)])?;
        let mut found = Vec::new();
        while let Some(r) = rows.next()? {
            found.push(RoomAtRest {
                room: RoomId(bytes(r, 0)?),
                name: r.get(1)?,
                passphrase: r.get(2)?,
                joined_ms: whole(r.get(3)?),
                left: r.get(4)?,
                over_budget: r.get(5)?,
                read_upto: whole(r.get(6)?),
                bytes: whole(r.get(7)?),
                messages: whole(r.get(8)?),
                unread: whole(r.get(9)?),
                members: r.get(10)?,
                damaged: whole(r.get(11)?),
            });
        }
        Ok(found)
    }

    /// What is known of the devices in a room.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn devices(&self, room: RoomId) -> Result<Vec<DeviceRow>, StoreError> {
        snapshot::devices(&self.main, room)
    }

    /// How many of the own entries each device acknowledged (0 left out).
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn acked(&self, room: RoomId) -> Result<Vec<(DeviceId, u64)>, StoreError> {
        let all = self.devices(room)?;
        Ok(all.into_iter().filter(|d| d.acked > 0).map(|d| (d.device, d.acked)).collect())
    }

    /// How many entries of a device from this position on say or change something: profiles and
    /// goodbyes left out.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn said_since(&self, room: RoomId, device: DeviceId, seq: u64) -> Result<u64, StoreError> {
        let silent = [Kind::Profile, Kind::Leave].map(|k| k.code());
        let mut select = self.main.prepare_cached(
            "SELECT count(*) FROM entry WHERE room = (SELECT id FROM room WHERE room = ?1)
             AND device = (SELECT id FROM device WHERE device = ?2) AND seq >= ?3 AND kind NOT IN (?4, ?5)",
        )?;
        Ok(whole(
            select.query_row(params![room.0, device.0, int(seq), silent[0], silent[1]], |r| {
                r.get(0)
            })?,
        ))
    }

    /// The stored proofs of forks in a room: whose chain, where, and the conflicting run as
    /// received.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn forks(&self, room: RoomId) -> Result<Vec<(DeviceId, u64, Vec<u8>)>, StoreError> {
        let mut select = self.main.prepare_cached(
            "SELECT d.device, f.seq, f.proof FROM room r JOIN fork f ON f.room = r.id JOIN device d ON d.id = f.device
             WHERE r.room = ?1",
        )?;
        let mut rows = select.query([room.0])?;
        let mut found = Vec::new();
        while let Some(r) = rows.next()? {
            found.push((DeviceId(bytes(r, 0)?), whole(r.get(1)?), r.get(2)?));
        }
        Ok(found)
    }

    /// The newest journal number in use; 0 for none.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn newest(&self) -> Result<u64, StoreError> {
        Ok(whole(self.main.prepare_cached(schema::NEWEST)?.query_row([], |r| r.get(0))?))
    }

    fn keys(&self, journals: &[i64]) -> Result<Vec<(LineKey, i64)>, StoreError> {
        let mut select =
            self.main.prepare_cached("SELECT eff, lamport, hash FROM entry WHERE journal = ?1")?;
        let mut keys = Vec::with_capacity(journals.len());
        for journal in journals {
            let key = select
                .query_row([journal], |r| {
                    Ok((r.get::<_, i64>(0)?, r.get::<_, i64>(1)?, r.get::<_, [u8; 32]>(2)?))
                })
                .optional()?;
            if let Some((eff, lamport, hash)) = key {
                let hash = klatch_core::ids::EntryHash(hash);
                keys.push((
                    LineKey { eff: row::unordered(eff), lamport: row::unordered(lamport), hash },
                    *journal,
                ));
            }
        }
        Ok(keys)
    }

    fn take(
        &self,
        mut rows: rusqlite::Rows<'_>,
        limit: usize,
        wanted: impl Fn(&EntryRow) -> bool,
    ) -> Result<Vec<EntryRow>, StoreError> {
        let mut found = Vec::new();
        while found.len() < limit.min(ROWS_MAX) {
            let Some(r) = rows.next()? else { break };
            let row = row::read(r, &self.bodies)?;
            if wanted(&row) {
                found.push(row);
            }
        }
        Ok(found)
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

/// An event as its row says it.
#[derive(serde::Deserialize)]
struct Kept {
    /// Missing in rows of the first versions.
    #[serde(default)]
    at_ms: u64,
    #[serde(flatten)]
    event: Event,
}

/// An event that a newer version wrote, before somebody went back to this one: that it was there,
/// and what it is called. `None` if the row is no event at all.
fn newer(text: &str) -> Option<Kept> {
    let row: serde_json::Value = serde_json::from_str(text).ok()?;
    let what = row.get("event")?.as_str()?.to_owned();
    let at_ms = row.get("at_ms").and_then(serde_json::Value::as_u64).unwrap_or(0);
    Some(Kept { at_ms, event: Event::Newer { what } })
}

/// The wire numbers of kinds that are no lines, for `NOT IN (...)`: they are the shorter list.
pub(super) fn kinds_that_are_no_lines() -> String {
    let kinds = (0..=u8::MAX).filter(|code| !Kind::from_code(*code).is_some_and(Kind::is_line));
    kinds.map(|code| code.to_string()).collect::<Vec<_>>().join(",")
}
