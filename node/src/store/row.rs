//! Between SQL values and the types of the core: one entry as it comes back from a query (bodies
//! still sealed: opening them needs the room's keys), and the small conversions that every query
//! needs.

use std::sync::Arc;

use klatch_core::ids::{DeviceId, EntryHash, EntryId, RoomId, Signature};
use klatch_core::log::entry::{SealedEntry, entry_hash, is_body_of};
use klatch_core::step::{EntryRow, Lack};

use super::bodies::{Bodies, Span};
use super::error::StoreError;
use super::schema::{
    BODY_APART, BODY_DAMAGED, BODY_DELETED, BODY_HERE, BODY_NOT_GIVEN, BODY_NOT_KEPT,
};

/// Where a line stands in a room: display order is the order of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineKey {
    /// First key.
    pub eff: u64,
    /// Second key.
    pub lamport: u64,
    /// Decides ties.
    pub hash: EntryHash,
}

impl LineKey {
    /// Where a row stands.
    #[must_use]
    pub fn of(row: &EntryRow) -> Self {
        Self { eff: row.eff, lamport: row.lamport, hash: row.hash }
    }
}

/// The columns [`read`] expects, of [`TABLES`].
pub(super) const COLUMNS: &str = "e.journal, r.room, e.hash, d.device, e.seq, e.kind, e.hlc, e.eff, e.lamport, \
        e.arrived_ms, e.target, e.body_at, s.header, s.signature, s.body, s.segment, s.start, s.size, e.shown_ms";
/// Lines that were written, or that arrived, at or after `?2`. What others had written before this
/// node joined is news to nobody, however late it arrived.
pub(super) const SINCE: &str =
    "(e.shown_ms >= ?2 OR (e.arrived_ms >= ?2 AND e.shown_ms >= r.joined_ms))";
/// The tables of [`COLUMNS`]. CROSS JOIN keeps `entry` outermost, whose index gives the order.
pub(super) const TABLES: &str = "entry e CROSS JOIN room r ON r.id = e.room CROSS JOIN device d ON d.id = e.device \
        CROSS JOIN sealed s ON s.journal = e.journal";

/// Reads the current row of a query over [`COLUMNS`].
pub(super) fn read(row: &rusqlite::Row<'_>, bodies: &Bodies) -> Result<EntryRow, StoreError> {
    let target = row.get_ref(10)?.as_blob_or_null().map_err(|_| StoreError::value("target"))?;
    let room = RoomId(bytes(row, 1)?);
    let (entry, lack) = sealed(row, 11, room, bodies)?;
    Ok(EntryRow {
        journal: whole(row.get(0)?),
        room,
        hash: EntryHash(bytes(row, 2)?),
        device: DeviceId(bytes(row, 3)?),
        seq: whole(row.get(4)?),
        kind: row.get(5)?,
        hlc: row.get::<_, i64>(6)?.cast_unsigned(),
        eff: unordered(row.get(7)?),
        lamport: unordered(row.get(8)?),
        arrived_ms: whole(row.get(9)?),
        target: target
            .map(|t| EntryId::from_slice(t).ok_or(StoreError::value("target")))
            .transpose()?,
        shown_ms: whole(row.get(18)?),
        entry,
        lack,
    })
}

/// Reads `body_at, header, signature, body, segment, start, size` from column `at` on, and says why
/// there is no body if there is none. A body that is not the one that its header names rotted: it
/// is as if it were not here, and is noted.
pub(super) fn sealed(
    row: &rusqlite::Row<'_>,
    at: usize,
    room: RoomId,
    bodies: &Bodies,
) -> Result<(SealedEntry, Option<Lack>), StoreError> {
    let header = row.get_ref(at + 1)?.as_blob().map_err(|_| StoreError::value("header"))?;
    let body_at = row.get::<_, i64>(at)?;
    let found: Option<Arc<[u8]>> = match body_at {
        BODY_HERE => {
            let body = row.get_ref(at + 3)?.as_blob().map_err(|_| StoreError::value("body"))?;
            Some(Arc::from(body))
        }
        BODY_APART => {
            bodies.get(&span(row, at + 4)?.ok_or(StoreError::value("place of a body"))?)?
        }
        _ => None,
    };
    let body = found.filter(|body| is_body_of(header, body));
    let lack = match body_at {
        _ if body.is_some() => None,
        BODY_HERE | BODY_APART => {
            bodies.doubt(room, entry_hash(header).id());
            Some(Lack::Damaged)
        }
        other => Some(lack_of(other)?),
    };
    let signature =
        row.get_ref(at + 2)?.as_blob_or_null().map_err(|_| StoreError::value("signature"))?;
    let signature = signature
        .map(|s| Signature::from_slice(s).ok_or(StoreError::value("signature")))
        .transpose()?;
    Ok((SealedEntry { header: Arc::from(header), signature, body }, lack))
}

/// Why a body is not here, as a number (`entry.body_at`).
pub(super) fn lack_code(lack: Lack) -> i64 {
    match lack {
        Lack::Deleted => BODY_DELETED,
        Lack::NotKept => BODY_NOT_KEPT,
        Lack::NotGiven => BODY_NOT_GIVEN,
        Lack::Damaged => BODY_DAMAGED,
    }
}

/// Inverse of [`lack_code`].
pub(super) fn lack_of(code: i64) -> Result<Lack, StoreError> {
    Ok(match code {
        BODY_DELETED => Lack::Deleted,
        BODY_NOT_KEPT => Lack::NotKept,
        BODY_NOT_GIVEN => Lack::NotGiven,
        BODY_DAMAGED => Lack::Damaged,
        _ => return Err(StoreError::value("place of a body")),
    })
}

/// Reads `segment, start, size` from column `at` on; `None` if the body never was in a segment.
pub(super) fn span(row: &rusqlite::Row<'_>, at: usize) -> Result<Option<Span>, StoreError> {
    let Some(segment) = row.get(at)? else { return Ok(None) };
    Ok(Some(Span { segment, start: whole(row.get(at + 1)?), size: row.get(at + 2)? }))
}

/// A column of exactly `N` bytes.
pub(super) fn bytes<const N: usize>(
    row: &rusqlite::Row<'_>,
    column: usize,
) -> Result<[u8; N], StoreError> {
    let blob = row.get_ref(column)?.as_blob().map_err(|_| StoreError::value("id"))?;
    blob.try_into().map_err(|_| StoreError::value("id"))
}

/// A time, size or position for SQL. None of them gets near 2^63 before everything else has ended.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count or length for SQL.
pub(super) fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Inverse of [`int`].
pub(super) fn whole(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A foreign 64-bit number for SQL such that signed order is its order.
pub(super) fn ordered(value: u64) -> i64 {
    (value ^ (1 << 63)).cast_signed()
}

/// Inverse of [`ordered`].
pub(super) fn unordered(value: i64) -> u64 {
    value.cast_unsigned() ^ (1 << 63)
}
