//! The words of direct messages: in the same index as those of rooms, under the same journal
//! numbers. Nothing has to be opened here: the texts stand plain in the encrypted file.

use klatch_core::content::{Content, Kind};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::store::error::StoreError;
use crate::store::row::{count, int, whole};
use crate::store::search::{Terms, put_words, remove_words};
use crate::store::{meta, set_meta};

/// Newest journal number of a direct message that was looked at.
const UPTO: &str = "direct_indexed_upto";

/// Indexes up to `limit` further messages; how many it looked at.
pub(in crate::store) fn some(tx: &Transaction<'_>, limit: usize) -> Result<usize, StoreError> {
    let (mut seen, mut newest) = (0, meta(tx, UPTO)?);
    let mut select = tx.prepare_cached(
        "SELECT journal, kind, talk, own, id, target FROM direct WHERE journal > ?1 ORDER BY journal LIMIT ?2",
    )?;
    let mut rows = select.query(params![int(newest), count(limit)])?;
    while let Some(r) = rows.next()? {
        let (journal, talk): (i64, i64) = (r.get(0)?, r.get(2)?);
        match Kind::from_code(r.get(1)?) {
            Some(Kind::Text | Kind::Notice) => {
                refresh(tx, talk, &r.get::<_, Vec<u8>>(4)?, r.get(3)?, journal)?
            }
            Some(Kind::Edit | Kind::Delete) => {
                let (own, target): (bool, Option<Vec<u8>>) = (r.get(3)?, r.get(5)?);
                let target = target.unwrap_or_default();
                if let Some(line) = line_of(tx, talk, &target, own)? {
                    refresh(tx, talk, &target, own, line)?;
                }
            }
            _ => {}
        }
        newest = whole(journal);
        seen += 1;
    }
    if seen > 0 {
        set_meta(tx, UPTO, newest)?;
    }
    Ok(seen)
}

/// A content was dropped: so are its words.
pub(super) fn forget(tx: &Transaction<'_>, journal: i64) -> Result<(), StoreError> {
    if meta(tx, UPTO)? >= whole(journal) {
        remove_words(tx, journal)?;
    }
    Ok(())
}

/// The journal numbers of messages of a conversation that match, newest arrivals first.
pub(super) fn matches(
    main: &Connection,
    talk: i64,
    terms: &Terms,
    limit: i64,
) -> Result<Vec<i64>, StoreError> {
    let mut select = main.prepare_cached(
        "SELECT w.rowid FROM words w CROSS JOIN direct x ON x.journal = w.rowid WHERE w.text MATCH ?1 AND x.talk = ?2
         ORDER BY w.rowid DESC LIMIT ?3",
    )?;
    Ok(select
        .query_map(params![terms.as_str(), talk, limit], |r| r.get(0))?
        .collect::<Result<_, _>>()?)
}

/// Makes the index say of a line what it says now: the text of its latest edit, its own, or nothing
/// if it was withdrawn. Only its author's changes count.
fn refresh(
    tx: &Transaction<'_>,
    talk: i64,
    id: &[u8],
    own: bool,
    line: i64,
) -> Result<(), StoreError> {
    let mut select = tx.prepare_cached(
        "SELECT journal, kind FROM direct WHERE talk = ?1 AND target = ?2 AND own = ?3 AND kind IN (?4, ?5)
         ORDER BY kind = ?5 DESC, eff DESC, lamport DESC, id DESC LIMIT 1",
    )?;
    let (edit, delete) = (Kind::Edit.code(), Kind::Delete.code());
    let changed: Option<(i64, u8)> = select
        .query_row(params![talk, id, own, edit, delete], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?;
    let source = match changed {
        Some((_, kind)) if kind == delete => None,
        Some((edit, _)) => Some(edit),
        None => Some(line),
    };
    let text = source.map(|journal| text_of(tx, journal)).transpose()?.flatten();
    if changed.is_some() {
        remove_words(tx, line)?;
    }
    if let Some(text) = text {
        put_words(tx, line, &text)?;
    }
    Ok(())
}

/// The journal number of a text or notice of one side by its id.
fn line_of(
    tx: &Transaction<'_>,
    talk: i64,
    id: &[u8],
    own: bool,
) -> Result<Option<i64>, StoreError> {
    let mut select = tx.prepare_cached(
        "SELECT journal FROM direct WHERE talk = ?1 AND id = ?2 AND own = ?3 AND kind IN (?4, ?5) ORDER BY journal",
    )?;
    let kinds = (Kind::Text.code(), Kind::Notice.code());
    Ok(select.query_row(params![talk, id, own, kinds.0, kinds.1], |r| r.get(0)).optional()?)
}

fn text_of(tx: &Transaction<'_>, journal: i64) -> Result<Option<String>, StoreError> {
    let mut select = tx.prepare_cached("SELECT kind, content FROM direct WHERE journal = ?1")?;
    let (kind, content): (u8, Option<Vec<u8>>) =
        select.query_row([journal], |r| Ok((r.get(0)?, r.get(1)?)))?;
    let opened = Kind::from_code(kind)
        .zip(content)
        .and_then(|(kind, bytes)| Content::decode(kind, &bytes).ok());
    Ok(opened.and_then(|c| c.text().map(str::to_owned)))
}
