//! Bodies from the format before the segments: a plain SQLite file, `bodies.db`. They are moved
//! when such a profile is opened, in steps that each leave a profile that opens: a body is in its
//! segment before its entry says so, and the old file goes only when no entry needs it.

use std::fs::OpenOptions;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::bodies::Span;
use super::connect::{self, Role};
use super::error::StoreError;
use super::row::int;
use super::schema::{BODY_APART, BODY_NOT_GIVEN};
use super::segments::{self, Segments};
use super::write::grow_segments;
use super::{meta, set_meta};

/// The old file of large bodies.
pub(super) const BODIES_FILE: &str = "bodies.db";
/// Its tables.
pub(super) const MIGRATIONS: &[&str] = &["
CREATE TABLE keycheck (tag BLOB NOT NULL) STRICT;
CREATE TABLE body (journal INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
"];
/// In `meta`; not 0 while entries may have their body in the old file. Set by the migration of the
/// main file.
const TO_MOVE: &str = "bodies_to_move";
/// Bodies per step: up to 18 MB in memory.
const STEP: i64 = 256;

/// The old file, open, while it is needed.
pub(super) struct Old(Connection);

impl Old {
    /// `None` if no entry needs the old file.
    ///
    /// # Errors
    /// When it is needed, and missing or unusable. Nothing was changed then.
    pub(super) fn open(
        main: &Connection,
        folder: &Path,
        tag: &[u8; 32],
    ) -> Result<Option<Self>, StoreError> {
        if meta(main, TO_MOVE)? == 0 {
            return Ok(None);
        }
        let path = folder.join(BODIES_FILE);
        if connect::size(&path)?.is_none() {
            return Err(StoreError::Missing { file: BODIES_FILE.to_owned() });
        }
        let mut conn = connect::open(&path, None, Role::Writer)?;
        connect::migrate(&mut conn, BODIES_FILE, MIGRATIONS)?;
        if tag_of(&conn).is_some_and(|found| found != tag) {
            let cause = "it belongs to another profile".to_owned();
            return Err(StoreError::Corrupt { file: BODIES_FILE.to_owned(), cause });
        }
        Ok(Some(Self(conn)))
    }

    /// Moves everything that is left.
    pub(super) fn empty(
        self,
        main: &mut Connection,
        segments: &mut Segments,
    ) -> Result<(), StoreError> {
        let mut after = 0;
        while let Some(last) = self.step(main, segments, after)? {
            after = last;
        }
        set_meta(main, TO_MOVE, 0)
    }

    /// Moves some bodies of entries after a journal number, and returns the last number; `None`
    /// when none are left.
    fn step(
        &self,
        main: &mut Connection,
        segments: &mut Segments,
        after: i64,
    ) -> Result<Option<i64>, StoreError> {
        let journals: Vec<i64> = main
            .prepare_cached(
                "SELECT e.journal FROM entry e JOIN sealed s USING (journal)
                 WHERE e.journal > ?1 AND e.body_at = ?2 AND s.segment IS NULL ORDER BY e.journal LIMIT ?3",
            )?
            .query_map([after, BODY_APART, STEP], |r| r.get(0))?
            .collect::<Result<_, _>>()?;
        let bodies =
            journals.iter().map(|journal| self.body(*journal)).collect::<Result<Vec<_>, _>>()?;
        let found: Vec<&[u8]> = bodies.iter().flatten().map(Vec::as_slice).collect();
        let spans = segments.append(&found)?;
        let tx = main.transaction()?;
        let mut next = spans.iter();
        for (journal, body) in journals.iter().zip(&bodies) {
            match body.as_ref().and_then(|_| next.next()) {
                Some(span) => place(&tx, *journal, span)?,
                // It read as "not stored here" before, too.
                None => {
                    tx.prepare_cached("UPDATE entry SET body_at = ?2 WHERE journal = ?1")?
                        .execute([*journal, BODY_NOT_GIVEN])?;
                }
            }
        }
        grow_segments(&tx, &spans)?;
        tx.commit()?;
        segments.committed(&spans);
        Ok(journals.last().copied())
    }

    fn body(&self, journal: i64) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = |e: rusqlite::Error| StoreError::in_file(BODIES_FILE, &e);
        let mut select =
            self.0.prepare_cached("SELECT bytes FROM body WHERE journal = ?1").map_err(sql)?;
        select.query_row([journal], |r| r.get(0)).optional().map_err(sql)
    }
}

fn place(tx: &Connection, journal: i64, span: &Span) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE sealed SET segment = ?2, start = ?3, size = ?4 WHERE journal = ?1")?
        .execute(params![journal, span.segment, int(span.start), span.size])?;
    Ok(())
}

/// Removes what is left of the old file, which nobody needs: overwritten first, since removed
/// bodies were in it as well.
pub(super) fn remove(folder: &Path) -> Result<(), StoreError> {
    let path = folder.join(BODIES_FILE);
    if let Some(bytes) = connect::size(&path)? {
        let io = |e: std::io::Error| StoreError::from_io(BODIES_FILE, &e);
        let file = OpenOptions::new().write(true).open(&path).map_err(io)?;
        segments::zero(&file, 0, bytes).and_then(|()| file.sync_data()).map_err(io)?;
        segments::remove(&path)?;
    }
    segments::remove(&connect::beside(&path, connect::WAL))?;
    segments::remove(&connect::beside(&path, "-shm"))
}

/// Whether the old file was made under the key with this tag.
pub(super) fn made_under(folder: &Path, tag: &[u8; 32]) -> bool {
    let path = folder.join(BODIES_FILE);
    let conn = connect::open(&path, None, Role::Reader).ok();
    conn.and_then(|conn| tag_of(&conn)).is_some_and(|found| found == tag)
}

fn tag_of(conn: &Connection) -> Option<Vec<u8>> {
    conn.query_row("SELECT tag FROM keycheck", [], |r| r.get(0)).ok()
}
