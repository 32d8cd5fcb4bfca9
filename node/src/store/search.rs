//! Full-text search: which words stand in which message. The index holds words, no texts, inside
//! the encrypted file; it is filled when the node is idle and follows edits and deletes. A message
//! is found under the journal number of its first version. What a word is, is for the core to say.

use klatch_core::content::Kind;
use klatch_core::ids::{EntryHash, RoomId};
use klatch_core::log::entry::SealedEntry;
use klatch_core::words::{phrases, tokens};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::bodies::Bodies;
use super::error::StoreError;
use super::row::{self, COLUMNS, TABLES, count, int};
use super::write::is_message;
use super::{Store, direct, meta, places, set_meta};

/// Index pages merged at once.
const MERGE_PAGES: i64 = 64;
/// Merges per call: a megabyte of index. All that 100,000 messages have takes a dozen calls
/// (measured: under a second in all, without optimisation).
const MERGE_STEPS: usize = 4;
/// Newest journal number that was looked at.
const UPTO: &str = "indexed_upto";
/// Not 0 while removed words may still be in the index.
const UNMERGED: &str = "words_unmerged";

/// Opens the body of an entry of a room; `None` when it cannot or has no text.
pub type OpenText<'a> = dyn Fn(RoomId, &SealedEntry) -> Option<String> + 'a;

impl Store {
    /// Indexes up to `limit` further entries in one transaction and returns how many it looked at;
    /// fewer than `limit` mean that the index is up to date, and has no words of removed texts any
    /// more: these are wiped out of it, a bounded part per call.
    ///
    /// # Errors
    /// As [`Store::commit`]; nothing is lost, the next call goes on.
    pub fn index_some(&mut self, open: &OpenText<'_>, limit: usize) -> Result<usize, StoreError> {
        self.scrub()?;
        let upto = meta(&self.main, UPTO)?;
        let tx = self.main.transaction()?;
        let (mut seen, mut newest) = (late(&tx, &self.bodies, upto, limit, open)?, upto);
        let done_late = seen;
        {
            let mut select = tx.prepare_cached(
                "SELECT e.journal, e.kind, e.room, e.target, e.hash FROM entry e WHERE e.journal > ?1
                 ORDER BY e.journal LIMIT ?2",
            )?;
            let mut rows = select.query(params![int(upto), count(limit - seen)])?;
            while let Some(r) = rows.next()? {
                let (journal, room): (i64, i64) = (r.get(0)?, r.get(2)?);
                match Kind::from_code(r.get(1)?) {
                    Some(Kind::Text | Kind::Notice) => {
                        let hash = EntryHash(row::bytes(r, 4)?);
                        refresh(&tx, &self.bodies, room, &hash.id().0, journal, open)?;
                    }
                    Some(Kind::Edit | Kind::Delete) => {
                        let target: [u8; 16] = row::bytes(r, 3)?;
                        if let Some(line) = line_of(&tx, room, &target)? {
                            refresh(&tx, &self.bodies, room, &target, line, open)?;
                        }
                    }
                    _ => {}
                }
                newest = row::whole(journal);
                seen += 1;
            }
        }
        if seen > done_late {
            set_meta(&tx, UPTO, newest)?;
        }
        seen += direct::index::some(&tx, limit - seen)?;
        let mut wiped = Wiped::Nothing;
        if seen < limit {
            places::catch_up(&tx)?;
            wiped = wipe(&tx)?;
        }
        tx.commit()?;
        self.unscrubbed |= wiped != Wiped::Nothing;
        if seen < limit {
            self.scrub()?;
            self.scrub_keys()?;
        }
        Ok(if wiped == Wiped::Part { limit } else { seen })
    }

    /// Wipes words of removed texts out of the index, a bounded part per call, and empties the log.
    ///
    /// # Errors
    /// As [`Store::commit`]; nothing is lost, the next call goes on.
    pub fn clean(&mut self) -> Result<Cleaned, StoreError> {
        let tx = self.main.transaction()?;
        let wiped = wipe(&tx)?;
        tx.commit()?;
        self.unscrubbed |= wiped != Wiped::Nothing;
        if wiped == Wiped::Part {
            return Ok(Cleaned::Part);
        }
        self.scrub()?;
        Ok(if self.unscrubbed { Cleaned::InUse } else { Cleaned::All })
    }
}

/// How far the index and the log are free of what was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleaned {
    /// Nothing is left.
    All,
    /// There is more to do.
    Part,
    /// A reader uses the log.
    InUse,
}

/// What a call of [`wipe`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wiped {
    Nothing,
    Part,
    All,
}

/// Indexes up to `limit` entries whose bodies came after they were looked at; how many.
fn late(
    tx: &Transaction<'_>,
    bodies: &Bodies,
    upto: u64,
    limit: usize,
    open: &OpenText<'_>,
) -> Result<usize, StoreError> {
    let mut select = tx.prepare_cached(
        "SELECT u.journal, e.kind, e.room, e.target, e.hash FROM unindexed u JOIN entry e USING (journal) LIMIT ?1",
    )?;
    let mut rows = select.query([count(limit)])?;
    let mut done = Vec::new();
    while let Some(r) = rows.next()? {
        let (journal, room): (i64, i64) = (r.get(0)?, r.get(2)?);
        done.push(journal);
        if row::whole(journal) > upto {
            continue;
        }
        let id: Option<[u8; 16]> = match Kind::from_code(r.get(1)?) {
            Some(Kind::Text | Kind::Notice) => Some(EntryHash(row::bytes(r, 4)?).id().0),
            Some(Kind::Edit | Kind::Delete) => r.get(3)?,
            _ => None,
        };
        if let Some(id) = id
            && let Some(line) = line_of(tx, room, &id)?
        {
            refresh(tx, bodies, room, &id, line, open)?;
        }
    }
    for journal in &done {
        tx.prepare_cached("DELETE FROM unindexed WHERE journal = ?1")?.execute([journal])?;
    }
    Ok(done.len())
}

/// What a user looks for, as a query the engine cannot misread: each word a quoted phrase, the last
/// one as a prefix.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Terms(String);

impl Terms {
    /// `None` if there is no word in it.
    pub(super) fn parse(words: &str) -> Option<Self> {
        let phrase = |tokens: Vec<String>| format!("\"{}\"", tokens.join(" "));
        let mut terms: Vec<String> = phrases(words).into_iter().map(phrase).collect();
        terms.last_mut()?.push('*');
        Some(Self(terms.join(" ")))
    }

    /// In the engine's syntax.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The journal numbers of lines of a room that match, newest arrivals first.
pub(super) fn matches(
    main: &Connection,
    room: i64,
    terms: &Terms,
    limit: i64,
) -> Result<Vec<i64>, StoreError> {
    let mut select = main.prepare_cached(
        "SELECT w.rowid FROM words w CROSS JOIN entry e ON e.journal = w.rowid WHERE w.text MATCH ?1 AND e.room = ?2
         ORDER BY w.rowid DESC LIMIT ?3",
    )?;
    Ok(select.query_map(params![terms.0, room, limit], |r| r.get(0))?.collect::<Result<_, _>>()?)
}

/// A body was dropped: so are its words.
pub(super) fn forget(tx: &Transaction<'_>, journal: i64) -> Result<(), StoreError> {
    if meta(tx, UPTO)? >= row::whole(journal) {
        remove_words(tx, journal)?;
    }
    Ok(())
}

/// Takes the words of a line out of the index; they are wiped with the next merge.
pub(super) fn remove_words(tx: &Transaction<'_>, journal: i64) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM words WHERE rowid = ?1")?.execute([journal])?;
    set_meta(tx, UNMERGED, 1)
}

/// Takes the words of many lines out of the index: those that `lines` selects by the number of
/// their room or conversation.
pub(super) fn remove_all(tx: &Transaction<'_>, lines: &str, number: i64) -> Result<(), StoreError> {
    tx.execute(&format!("DELETE FROM words WHERE rowid IN ({lines})"), [number])?;
    set_meta(tx, UNMERGED, 1)
}

/// Sets the words of a line.
pub(super) fn put_words(tx: &Transaction<'_>, journal: i64, text: &str) -> Result<(), StoreError> {
    tx.prepare_cached("INSERT OR REPLACE INTO words (rowid, text) VALUES (?1, ?2)")?
        .execute(params![journal, tokens(text).join(" ")])?;
    Ok(())
}

/// Makes the index say of a line what it says now: the text of its latest edit, its own, or nothing
/// if it was deleted.
fn refresh(
    tx: &Transaction<'_>,
    bodies: &Bodies,
    room: i64,
    target: &[u8],
    line: i64,
    open: &OpenText<'_>,
) -> Result<(), StoreError> {
    let changed = latest_change(tx, room, target, line)?;
    let source = match changed {
        Some((_, kind)) if kind == Kind::Delete.code() => None,
        Some((edit, _)) => Some(edit),
        None => Some(line),
    };
    let text = source.map(|journal| text_of(tx, bodies, journal, open)).transpose()?.flatten();
    if changed.is_some() {
        remove_words(tx, line)?;
    }
    if let Some(text) = text {
        put_words(tx, line, &text)?;
    }
    Ok(())
}

/// The author's delete of a line, or else the latest edit: its journal number and kind. Changes by
/// others count for nothing; another device of the same person is the author, too.
fn latest_change(
    tx: &Transaction<'_>,
    room: i64,
    target: &[u8],
    line: i64,
) -> Result<Option<(i64, u8)>, StoreError> {
    let mut select = tx.prepare_cached(
        "SELECT c.journal, c.kind FROM entry c JOIN entry l ON l.journal = ?3
         WHERE c.room = ?1 AND c.target = ?2 AND c.kind IN (?4, ?5)
         AND (c.device = l.device OR (SELECT identity FROM member WHERE room = ?1 AND device = c.device)
              = (SELECT identity FROM member WHERE room = ?1 AND device = l.device))
         ORDER BY c.kind = ?5 DESC, c.eff DESC, c.lamport DESC, c.hash DESC LIMIT 1",
    )?;
    let kinds = (Kind::Edit.code(), Kind::Delete.code());
    Ok(select
        .query_row(params![room, target, line, kinds.0, kinds.1], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?)
}

/// The journal number of a text or notice by its id.
fn line_of(tx: &Transaction<'_>, room: i64, id: &[u8; 16]) -> Result<Option<i64>, StoreError> {
    let Some(journal) = places::find(tx, room, id)? else { return Ok(None) };
    let kind = tx
        .prepare_cached("SELECT kind FROM entry WHERE journal = ?1")?
        .query_row([journal], |r| r.get(0))?;
    Ok(is_message(kind).then_some(journal))
}

fn text_of(
    tx: &Transaction<'_>,
    bodies: &Bodies,
    journal: i64,
    open: &OpenText<'_>,
) -> Result<Option<String>, StoreError> {
    let mut select =
        tx.prepare_cached(&format!("SELECT {COLUMNS} FROM {TABLES} WHERE e.journal = ?1"))?;
    let mut rows = select.query([journal])?;
    let Some(r) = rows.next()? else { return Ok(None) };
    let found = row::read(r, bodies)?;
    Ok(if found.entry.body.is_some() { open(found.room, &found.entry) } else { None })
}

/// Removing a row only marks its words; merging the index drops them.
fn wipe(tx: &Transaction<'_>) -> Result<Wiped, StoreError> {
    if meta(tx, UNMERGED)? == 0 {
        return Ok(Wiped::Nothing);
    }
    let changes = || tx.query_row("SELECT total_changes()", [], |r| r.get::<_, i64>(0));
    for _ in 0..MERGE_STEPS {
        let before = changes()?;
        tx.execute("INSERT INTO words (words, rank) VALUES ('merge', ?1)", [-MERGE_PAGES])?;
        // The engine reports fewer than two changes once there was nothing to do.
        if changes()? - before < 2 {
            set_meta(tx, UNMERGED, 0)?;
            return Ok(Wiped::All);
        }
    }
    Ok(Wiped::Part)
}
