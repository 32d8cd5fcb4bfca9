//! How writes about conversations become SQL, as a part of the batch in `store/write.rs`.

use klatch_core::content::Kind;
use klatch_core::event::Delivery;
use klatch_core::ids::{EntryId, IdentityId, RoomId};
use klatch_core::step::{ContactRow, DirectRow, OutboxRow};
use rusqlite::{Transaction, params};

use super::{RAN, RECEIPTS, TYPING, index, standing_code, state_code, talk_number};
use crate::store::error::StoreError;
use crate::store::row::{int, ordered};
use crate::store::set_meta;

/// One statement.
fn run(tx: &Transaction<'_>, sql: &str, values: impl rusqlite::Params) -> Result<(), StoreError> {
    tx.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// The number of the conversation with a person, given out on first use.
fn talk(tx: &Transaction<'_>, room: RoomId, identity: IdentityId) -> Result<i64, StoreError> {
    if let Some(number) = talk_number(tx, room)? {
        return Ok(number);
    }
    run(tx, "INSERT INTO talk (room, identity) VALUES (?1, ?2)", params![room.0, identity.0])?;
    Ok(tx.last_insert_rowid())
}

/// Appends a message or a change of one. `device` is the number of the writing device.
pub(in crate::store) fn direct(
    tx: &Transaction<'_>,
    row: &DirectRow,
    device: i64,
) -> Result<(), StoreError> {
    let talk = talk(tx, row.room, row.identity)?;
    run(
        tx,
        "INSERT INTO direct VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,
         ?15)",
        params![
            int(row.journal),
            talk,
            row.id.0,
            device,
            row.own,
            row.seq.cast_signed(),
            row.kind,
            ordered(row.eff),
            ordered(row.lamport),
            int(row.at_ms),
            int(row.arrived_ms),
            row.target.map(|t| t.0),
            row.state.map(state_code),
            row.content,
            int(row.shown_ms),
        ],
    )
}

/// Says where an own message is.
pub(in crate::store) fn state(
    tx: &Transaction<'_>,
    room: RoomId,
    id: EntryId,
    state: Delivery,
) -> Result<(), StoreError> {
    run(
        tx,
        "UPDATE direct SET state = ?3 WHERE talk = (SELECT id FROM talk WHERE room = ?1) AND id = ?2 AND own",
        params![room.0, id.0, state_code(state)],
    )
}

/// Drops the content of a message and of its edits, and its words in the index.
pub(in crate::store) fn drop_content(
    tx: &Transaction<'_>,
    room: RoomId,
    id: EntryId,
) -> Result<(), StoreError> {
    let Some(talk) = talk_number(tx, room)? else { return Ok(()) };
    // What an edit says is the text that was withdrawn.
    let journals: Vec<i64> = tx
        .prepare_cached(
            "SELECT journal FROM direct WHERE talk = ?1 AND id = ?2
             UNION SELECT journal FROM direct WHERE talk = ?1 AND target = ?2 AND kind = ?3",
        )?
        .query_map(params![talk, id.0, Kind::Edit.code()], |r| r.get(0))?
        .collect::<Result<_, _>>()?;
    for journal in journals {
        run(tx, "UPDATE direct SET content = NULL WHERE journal = ?1", [journal])?;
        index::forget(tx, journal)?;
    }
    Ok(())
}

/// Inserts or replaces a person.
pub(in crate::store) fn contact(tx: &Transaction<'_>, row: &ContactRow) -> Result<(), StoreError> {
    let talk = talk(tx, row.room, row.identity)?;
    run(
        tx,
        "INSERT OR REPLACE INTO contact VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            talk,
            row.claimed,
            row.petname,
            standing_code(row.standing),
            row.verified.map(|d| d.0),
            row.keys,
            int(row.since_ms)
        ],
    )?;
    run(
        tx,
        "UPDATE talk SET read_upto = max(read_upto, ?2) WHERE id = ?1",
        [talk, int(row.read_upto)],
    )
}

/// Everything up to a journal number was read; `false` if there is no such conversation.
pub(in crate::store) fn read_upto(
    tx: &Transaction<'_>,
    room: RoomId,
    journal: u64,
) -> Result<bool, StoreError> {
    let mut update =
        tx.prepare_cached("UPDATE talk SET read_upto = max(read_upto, ?2) WHERE room = ?1")?;
    Ok(update.execute(params![room.0, int(journal)])? > 0)
}

/// Inserts or replaces the sessions with a device. Secret.
pub(in crate::store) fn ratchet(
    tx: &Transaction<'_>,
    device: i64,
    state: &[u8],
) -> Result<(), StoreError> {
    run(tx, "INSERT OR REPLACE INTO ratchet VALUES (?1, ?2)", params![device, state])
}

/// Replaces the own account. Secret.
pub(in crate::store) fn account(tx: &Transaction<'_>, state: &[u8]) -> Result<(), StoreError> {
    run(tx, "INSERT OR REPLACE INTO account VALUES (1, ?1)", [state])
}

/// Keeps a frame until it is acknowledged.
pub(in crate::store) fn outbox(
    tx: &Transaction<'_>,
    row: &OutboxRow,
    device: i64,
) -> Result<(), StoreError> {
    run(
        tx,
        "INSERT OR REPLACE INTO outbox (device, seq, identity, id, queued_ms, frame, sealed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            device,
            int(row.seq),
            row.identity.0,
            row.id.0,
            int(row.queued_ms),
            row.frame,
            row.sealed
        ],
    )
}

/// A frame was acknowledged or given up.
pub(in crate::store) fn outbox_done(
    tx: &Transaction<'_>,
    device: i64,
    seq: u64,
) -> Result<(), StoreError> {
    run(tx, "DELETE FROM outbox WHERE device = ?1 AND seq = ?2", [device, int(seq)])
}

/// How long the node has run while direct messages waited.
pub(in crate::store) fn ran(tx: &Transaction<'_>, ms: u64) -> Result<(), StoreError> {
    set_meta(tx, RAN, ms)
}

/// What direct messages tell the other side.
pub(in crate::store) fn privacy(
    tx: &Transaction<'_>,
    receipts: bool,
    typing: bool,
) -> Result<(), StoreError> {
    set_meta(tx, RECEIPTS, u64::from(receipts))?;
    set_meta(tx, TYPING, u64::from(typing))
}
