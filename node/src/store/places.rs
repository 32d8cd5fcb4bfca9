//! From an entry's id to its journal number. Ids are random, so an index over them that is kept up
//! with every commit dirties a page per entry, and pages are what commits cost: more than half of
//! the time (measured). Here it follows in sorted batches instead; the few entries that it lacks
//! are looked through one by one.

use rusqlite::{Connection, OptionalExtension, params};

use super::error::StoreError;
use super::row::{int, whole};
use super::{meta, set_meta};

/// Entries that may be missing in the index: looking through them takes a millisecond or two.
const BEHIND_MAX: u64 = 4_096;
/// Newest journal number in the index.
const UPTO: &str = "placed_upto";

/// The journal number of an entry of a room.
pub(super) fn find(main: &Connection, room: i64, id: &[u8; 16]) -> Result<Option<i64>, StoreError> {
    let mut placed = main.prepare_cached(
        "SELECT e.journal FROM place p CROSS JOIN entry e ON e.journal = p.journal
         WHERE p.id = ?1 AND substr(e.hash, 1, 16) = ?2 AND e.room = ?3",
    )?;
    let found = placed.query_row(params![&id[..8], id, room], |r| r.get(0)).optional()?;
    if found.is_some() {
        return Ok(found);
    }
    let mut behind = main.prepare_cached(
        "SELECT journal FROM entry WHERE journal > ?1 AND substr(hash, 1, 16) = ?2 AND room = ?3",
    )?;
    Ok(behind.query_row(params![int(meta(main, UPTO)?), id, room], |r| r.get(0)).optional()?)
}

/// Brings the index up to date if too much is missing. Called within every commit.
pub(super) fn follow(main: &Connection) -> Result<(), StoreError> {
    fill(main, BEHIND_MAX)
}

/// Brings the index up to date: for idle moments.
pub(super) fn catch_up(main: &Connection) -> Result<(), StoreError> {
    fill(main, 0)
}

fn fill(main: &Connection, behind_max: u64) -> Result<(), StoreError> {
    let upto = meta(main, UPTO)?;
    let mut select = main.prepare_cached("SELECT coalesce(max(journal), 0) FROM entry")?;
    let newest = whole(select.query_row([], |r| r.get(0))?);
    if newest.saturating_sub(upto) <= behind_max {
        return Ok(());
    }
    main.prepare_cached(
        "INSERT OR IGNORE INTO place SELECT substr(hash, 1, 8) AS id, journal FROM entry WHERE journal > ?1 ORDER BY id",
    )?
    .execute([int(upto)])?;
    set_meta(main, UPTO, newest)
}
