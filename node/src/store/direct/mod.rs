//! Conversations with one person at rest: people, messages, sessions, the outbox. Everything here
//! is in the encrypted file. Unlike those of rooms, the texts are plain inside it: the session keys
//! that they came under are gone.
//!
//! `eff` and `lamport` come from the other side and may use all 64 bits, as with entries of rooms.

pub(super) mod index;
mod read;
pub(super) mod write;

use klatch_core::event::Delivery;
use klatch_core::ids::{DeviceId, EntryId, IdentityId, RoomId};
use klatch_core::query::Standing;
use klatch_core::step::{ContactRow, DirectIndexRow, DirectRow, DirectSnapshot, OutboxRow};
use rusqlite::{Connection, OptionalExtension, Row};
use zeroize::Zeroizing;

use super::error::StoreError;
use super::meta;
use super::row::{bytes, unordered, whole};

pub use read::{ContactAtRest, DirectFound};

/// How long the node has run while messages waited (in `meta`).
const RAN: &str = "direct_ran_ms";
/// Whether to tell others that their messages were read (in `meta`).
const RECEIPTS: &str = "direct_receipts";
/// Whether to tell others that one is writing (in `meta`).
const TYPING: &str = "direct_typing";

/// Where a message stands in a conversation: display order is the order of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirectKey {
    /// First key.
    pub eff: u64,
    /// Second key.
    pub lamport: u64,
    /// Decides ties.
    pub id: EntryId,
}

impl DirectKey {
    /// Where a row stands.
    #[must_use]
    pub fn of(row: &DirectRow) -> Self {
        Self { eff: row.eff, lamport: row.lamport, id: row.id }
    }
}

/// The columns [`read_row`] expects, of [`TABLES`].
const COLUMNS: &str = "x.journal, t.room, t.identity, x.id, d.device, x.own, x.seq, x.kind, x.eff, x.lamport, x.at_ms, \
        x.arrived_ms, x.target, x.state, x.content, x.shown_ms";
/// Messages that were written, or that arrived, at or after `?2`.
const SINCE: &str = "(x.shown_ms >= ?2 OR x.arrived_ms >= ?2)";
/// The tables of [`COLUMNS`]. CROSS JOIN keeps `direct` outermost, whose index gives the order.
const TABLES: &str =
    "direct x CROSS JOIN talk t ON t.id = x.talk CROSS JOIN device d ON d.id = x.device";

fn read_row(r: &Row<'_>) -> Result<DirectRow, StoreError> {
    let target = r.get_ref(12)?.as_blob_or_null().map_err(|_| StoreError::value("target"))?;
    Ok(DirectRow {
        journal: whole(r.get(0)?),
        room: RoomId(bytes(r, 1)?),
        identity: IdentityId(bytes(r, 2)?),
        id: EntryId(bytes(r, 3)?),
        device: DeviceId(bytes(r, 4)?),
        own: r.get(5)?,
        seq: r.get::<_, i64>(6)?.cast_unsigned(),
        kind: r.get(7)?,
        eff: unordered(r.get(8)?),
        lamport: unordered(r.get(9)?),
        at_ms: whole(r.get(10)?),
        arrived_ms: whole(r.get(11)?),
        target: target
            .map(|t| EntryId::from_slice(t).ok_or(StoreError::value("target")))
            .transpose()?,
        state: r.get::<_, Option<i64>>(13)?.map(state_of).transpose()?,
        content: r.get(14)?,
        shown_ms: whole(r.get(15)?),
    })
}

/// The columns [`read_contact`] expects, of `talk t` and `contact c`.
const CONTACT: &str = "t.identity, t.room, c.claimed, c.petname, c.standing, c.verified, c.keys, t.read_upto, c.since_ms";

fn read_contact(r: &Row<'_>) -> Result<ContactRow, StoreError> {
    let verified = r.get_ref(5)?.as_blob_or_null().map_err(|_| StoreError::value("digest"))?;
    Ok(ContactRow {
        identity: IdentityId(bytes(r, 0)?),
        room: RoomId(bytes(r, 1)?),
        claimed: r.get(2)?,
        petname: r.get(3)?,
        standing: match r.get::<_, i64>(4)? {
            0 => Standing::Requested,
            1 => Standing::Accepted,
            2 => Standing::Blocked,
            _ => return Err(StoreError::value("standing")),
        },
        verified: verified
            .map(|d| klatch_core::ids::Digest::from_slice(d).ok_or(StoreError::value("digest")))
            .transpose()?,
        keys: r.get(6)?,
        read_upto: whole(r.get(7)?),
        since_ms: whole(r.get(8)?),
    })
}

fn standing_code(standing: Standing) -> i64 {
    match standing {
        // Nothing was decided about who is only met; no such row is written.
        Standing::Met | Standing::Requested => 0,
        Standing::Accepted => 1,
        Standing::Blocked => 2,
    }
}

/// Of `n` and `m` in a number: a person has a handful of devices.
const DEVICES_MAX: u32 = 0xffff;

/// A delivery state as one number: what it is, and how many of how many devices.
fn state_code(state: Delivery) -> i64 {
    let code = |kind: i64, n: u32, m: u32| {
        kind | (i64::from(n.min(DEVICES_MAX)) << 8) | (i64::from(m.min(DEVICES_MAX)) << 24)
    };
    match state {
        Delivery::Queued => code(0, 0, 0),
        Delivery::Sent => code(1, 0, 0),
        Delivery::Relayed => code(2, 0, 0),
        Delivery::Delivered { n, m } => code(3, n, m),
        Delivery::Read => code(4, 0, 0),
        Delivery::Failed => code(5, 0, 0),
    }
}

/// Inverse of [`state_code`].
fn state_of(code: i64) -> Result<Delivery, StoreError> {
    let field = |shift: u32| u32::try_from((code >> shift) & i64::from(DEVICES_MAX)).unwrap_or(0);
    Ok(match code & 0xff {
        0 => Delivery::Queued,
        1 => Delivery::Sent,
        2 => Delivery::Relayed,
        3 => Delivery::Delivered { n: field(8), m: field(24) },
        4 => Delivery::Read,
        5 => Delivery::Failed,
        _ => return Err(StoreError::value("delivery state")),
    })
}

/// The number of a conversation; `None` if nothing was ever stored of it.
pub(super) fn talk_number(main: &Connection, room: RoomId) -> Result<Option<i64>, StoreError> {
    let mut select = main.prepare_cached("SELECT id FROM talk WHERE room = ?1")?;
    Ok(select.query_row([room.0], |r| r.get(0)).optional()?)
}

/// What the core gets at start, within the caller's transaction.
pub(super) fn load(tx: &Connection) -> Result<DirectSnapshot, StoreError> {
    let account = tx.query_row("SELECT state FROM account", [], |r| secret(r, 0)).optional()?;
    let mut found = DirectSnapshot {
        account,
        ran_ms: meta(tx, RAN)?,
        receipts: meta(tx, RECEIPTS)? != 0,
        typing: meta(tx, TYPING)? != 0,
        ..DirectSnapshot::default()
    };
    let mut select =
        tx.prepare("SELECT d.device, s.state FROM ratchet s CROSS JOIN device d ON d.id = s.device ORDER BY s.device")?;
    let mut rows = select.query([])?;
    while let Some(r) = rows.next()? {
        found.ratchets.push((DeviceId(bytes(r, 0)?), secret(r, 1)?));
    }
    let mut select = tx.prepare(&format!(
        "SELECT {CONTACT} FROM contact c JOIN talk t ON t.id = c.talk ORDER BY t.id"
    ))?;
    let mut rows = select.query([])?;
    while let Some(r) = rows.next()? {
        found.contacts.push(read_contact(r)?);
    }
    let mut select = tx.prepare(
        "SELECT d.device, o.identity, o.seq, o.id, o.queued_ms, o.frame, o.sealed
         FROM outbox o CROSS JOIN device d ON d.id = o.device ORDER BY o.device, o.seq",
    )?;
    let mut rows = select.query([])?;
    while let Some(r) = rows.next()? {
        found.outbox.push(OutboxRow {
            device: DeviceId(bytes(r, 0)?),
            identity: IdentityId(bytes(r, 1)?),
            seq: whole(r.get(2)?),
            id: EntryId(bytes(r, 3)?),
            queued_ms: whole(r.get(4)?),
            frame: r.get(5)?,
            sealed: r.get(6)?,
        });
    }
    let mut select = tx.prepare(
        "SELECT t.room, x.id, x.journal, x.own, x.seq, x.kind, x.eff, x.lamport, x.state, x.content IS NULL
         FROM direct x CROSS JOIN talk t ON t.id = x.talk ORDER BY x.journal",
    )?;
    let mut rows = select.query([])?;
    while let Some(r) = rows.next()? {
        found.index.push(DirectIndexRow {
            room: RoomId(bytes(r, 0)?),
            id: EntryId(bytes(r, 1)?),
            journal: whole(r.get(2)?),
            own: r.get(3)?,
            seq: r.get::<_, i64>(4)?.cast_unsigned(),
            kind: r.get(5)?,
            eff: unordered(r.get(6)?),
            lamport: unordered(r.get(7)?),
            state: r.get::<_, Option<i64>>(8)?.map(state_of).transpose()?,
            deleted: r.get(9)?,
        });
    }
    Ok(found)
}

/// A secret, without a copy that is not wiped.
fn secret(r: &Row<'_>, column: usize) -> rusqlite::Result<Zeroizing<Vec<u8>>> {
    Ok(Zeroizing::new(r.get_ref(column)?.as_blob()?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_keep_their_meaning() {
        let counted = Delivery::Delivered { n: 2, m: 3 };
        for state in [
            Delivery::Queued,
            Delivery::Sent,
            Delivery::Relayed,
            counted,
            Delivery::Read,
            Delivery::Failed,
        ] {
            assert_eq!(state_of(state_code(state)).unwrap(), state);
        }
        let many = Delivery::Delivered { n: u32::MAX, m: u32::MAX };
        assert_eq!(
            state_of(state_code(many)).unwrap(),
            Delivery::Delivered { n: 65_535, m: 65_535 }
        );
        assert!(state_of(77).is_err());
    }
}
