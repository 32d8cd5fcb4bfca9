//! What was forgotten leaves every table, in the transaction that says so. Large bodies are marked
//! in it, and wiped as deleted ones are; the words that stay in the search index's own blocks go
//! with its next merges (`search`).

use klatch_core::ids::{IdentityId, RoomId};
use klatch_core::step::Former;
use rusqlite::{Transaction, params};

use super::error::StoreError;
use super::row::int;
use super::schema::BODY_APART;
use super::search;

/// Marks the body of an entry to be removed from the body store, wherever that is.
pub(super) fn doom(tx: &Transaction<'_>, journal: i64) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT OR IGNORE INTO doomed SELECT journal, segment, start, size FROM sealed WHERE journal = ?1",
    )?
    .execute([journal])?;
    Ok(())
}

/// Removes a room; how many bodies are to be wiped.
pub(super) fn room(
    tx: &Transaction<'_>,
    room: RoomId,
    number: i64,
    former: Option<Former>,
) -> Result<usize, StoreError> {
    let run = |sql: &str| tx.execute(sql, [number]);
    let apart = tx.execute(
        "INSERT OR IGNORE INTO doomed SELECT s.journal, s.segment, s.start, s.size
         FROM entry e JOIN sealed s USING (journal) WHERE e.room = ?1 AND e.body_at = ?2",
        [number, BODY_APART],
    )?;
    search::remove_all(tx, "SELECT journal FROM entry WHERE room = ?1", number)?;
    run(
        "DELETE FROM place WHERE (id, journal) IN (SELECT substr(hash, 1, 8), journal FROM entry WHERE room = ?1)",
    )?;
    run("DELETE FROM unindexed WHERE journal IN (SELECT journal FROM entry WHERE room = ?1)")?;
    run("DELETE FROM sealed WHERE journal IN (SELECT journal FROM entry WHERE room = ?1)")?;
    for table in ["entry", "member", "fork"] {
        run(&format!("DELETE FROM {table} WHERE room = ?1"))?;
    }
    run("DELETE FROM room WHERE id = ?1")?;
    mentions(tx, &room.to_string())?;
    devices(tx)?;
    if let Some(Former { used, held }) = former {
        tx.execute(
            "INSERT OR REPLACE INTO former VALUES (?1, ?2, ?3)",
            params![room.0, int(used), int(held)],
        )?;
    }
    Ok(apart)
}

/// Removes a conversation, the person, and what belongs to these devices of theirs.
pub(super) fn conversation(
    tx: &Transaction<'_>,
    room: RoomId,
    identity: IdentityId,
    theirs: &[i64],
) -> Result<(), StoreError> {
    for device in theirs {
        for table in ["ratchet", "outbox"] {
            tx.execute(&format!("DELETE FROM {table} WHERE device = ?1"), [device])?;
        }
    }
    tx.execute("DELETE FROM outbox WHERE identity = ?1", [identity.0])?;
    if let Some(talk) = super::direct::talk_number(tx, room)? {
        search::remove_all(tx, "SELECT journal FROM direct WHERE talk = ?1", talk)?;
        for table in ["direct", "contact"] {
            tx.execute(&format!("DELETE FROM {table} WHERE talk = ?1"), [talk])?;
        }
        tx.execute("DELETE FROM talk WHERE id = ?1", [talk])?;
    }
    mentions(tx, &room.to_string())?;
    devices(tx)
}

/// Removes events about a room or conversation, and answers that are kept for repeated requests.
fn mentions(tx: &Transaction<'_>, id: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM event WHERE instr(event, ?1) > 0", [id])?;
    tx.execute("DELETE FROM meta WHERE key GLOB 'note:sent/*' AND instr(value, ?1) > 0", [id])?;
    Ok(())
}

/// Removes devices that nothing is known of any more.
fn devices(tx: &Transaction<'_>) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM device WHERE id NOT IN (SELECT device FROM member UNION SELECT device FROM fork
         UNION SELECT device FROM entry UNION SELECT device FROM direct UNION SELECT device FROM ratchet
         UNION SELECT device FROM outbox)",
        [],
    )?;
    Ok(())
}
