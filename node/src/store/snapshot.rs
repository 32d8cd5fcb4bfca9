//! What the core gets at start: rooms, devices, an index of all entries, and conversations, in one
//! pass over the narrow `entry` table.

use std::collections::HashMap;
use std::sync::Arc;

use klatch_core::crypto::group::RoomRoot;
use klatch_core::ids::{DeviceId, EntryHash, EntryId, IdentityId, RoomId};
use klatch_core::limits::BODIES_WANTED_MAX;
use klatch_core::step::{DeviceRow, Former, IndexRow, Lack, RoomRow, RoomSnapshot, Snapshot};
use rusqlite::{Connection, OptionalExtension};

use super::error::StoreError;
use super::row::{bytes, count, lack_of, unordered, whole};
use super::{direct, schema};

/// Loads everything, in a read transaction so that the parts belong together.
pub(super) fn load(main: &Connection) -> Result<Snapshot, StoreError> {
    let tx = main.unchecked_transaction()?;
    let name =
        tx.query_row("SELECT value FROM meta WHERE key = 'name'", [], |r| r.get(0)).optional()?;
    let newest: i64 = tx.query_row(schema::NEWEST, [], |r| r.get(0))?;
    let mut places = HashMap::new();
    let mut loaded = rooms(&tx, &mut places)?;
    for room in &mut loaded {
        room.devices = devices(&tx, room.row.room)?;
    }
    entries(&tx, &places, &mut loaded)?;
    let former = former(&tx)?;
    let direct = direct::load(&tx)?;
    Ok(Snapshot {
        journal_next: whole(newest) + 1,
        name: name.unwrap_or_default(),
        rooms: loaded,
        former,
        direct,
    })
}

/// All rooms without their content; `places` maps a room's number to its position in the result.
fn rooms(
    tx: &Connection,
    places: &mut HashMap<i64, usize>,
) -> Result<Vec<RoomSnapshot>, StoreError> {
    let mut select = tx.prepare(
        "SELECT id, room, name, root, passphrase, joined_ms, gone, over_budget, bytes, (SELECT count(*) FROM entry e WHERE e.room = room.id) FROM room ORDER BY id",
    )?;
    let mut rows = select.query([])?;
    let mut loaded = Vec::new();
    while let Some(r) = rows.next()? {
        places.insert(r.get(0)?, loaded.len());
        let row = RoomRow {
            room: RoomId(bytes(r, 1)?),
            name: r.get(2)?,
            root: Arc::new(RoomRoot::from_bytes(bytes(r, 3)?)),
            passphrase: r.get(4)?,
            joined_ms: whole(r.get(5)?),
            left: r.get(6)?,
            over_budget: r.get(7)?,
        };
        let entries = Vec::with_capacity(usize::try_from(whole(r.get(9)?)).unwrap_or(0));
        let bytes = whole(r.get(8)?);
        let lacking = lacking(tx, r.get(0)?)?;
        loaded.push(RoomSnapshot { row, devices: Vec::new(), entries, bytes, lacking });
    }
    Ok(loaded)
}

/// Rooms that were forgotten.
fn former(tx: &Connection) -> Result<Vec<(RoomId, Former)>, StoreError> {
    let mut select = tx.prepare("SELECT room, used, held FROM former")?;
    let mut rows = select.query([])?;
    let mut found = Vec::new();
    while let Some(r) = rows.next()? {
        let former = Former { used: whole(r.get(1)?), held: whole(r.get(2)?) };
        found.push((RoomId(bytes(r, 0)?), former));
    }
    Ok(found)
}

/// Entries of a room whose bodies are not here but could be.
fn lacking(tx: &Connection, room: i64) -> Result<Vec<(EntryId, Lack)>, StoreError> {
    let mut select = tx.prepare_cached(
        "SELECT hash, body_at FROM entry WHERE room = ?1 AND body_at > 2 ORDER BY journal LIMIT ?2",
    )?;
    let mut rows = select.query([room, count(BODIES_WANTED_MAX)])?;
    let mut found = Vec::new();
    while let Some(r) = rows.next()? {
        found.push((EntryHash(bytes(r, 0)?).id(), lack_of(r.get(1)?)?));
    }
    Ok(found)
}

/// The devices known in a room.
pub(super) fn devices(tx: &Connection, room: RoomId) -> Result<Vec<DeviceRow>, StoreError> {
    let mut select = tx.prepare_cached(
        "SELECT d.device, m.identity, m.name, m.last_seen_ms, m.acked, m.muted, m.forked
         FROM room r JOIN member m ON m.room = r.id JOIN device d ON d.id = m.device WHERE r.room = ?1",
    )?;
    let mut rows = select.query([room.0])?;
    let mut found = Vec::new();
    while let Some(r) = rows.next()? {
        let identity =
            r.get_ref(1)?.as_blob_or_null().map_err(|_| StoreError::value("identity"))?;
        found.push(DeviceRow {
            room,
            device: DeviceId(bytes(r, 0)?),
            identity: identity
                .map(|i| IdentityId::from_slice(i).ok_or(StoreError::value("identity")))
                .transpose()?,
            name: r.get(2)?,
            last_seen_ms: whole(r.get(3)?),
            acked: whole(r.get(4)?),
            muted: r.get(5)?,
            forked: r.get::<_, Option<i64>>(6)?.map(whole),
        });
    }
    Ok(found)
}

fn entries(
    tx: &Connection,
    places: &HashMap<i64, usize>,
    loaded: &mut [RoomSnapshot],
) -> Result<(), StoreError> {
    let known = device_ids(tx)?;
    let mut select =
        tx.prepare("SELECT room, device, seq, kind, signed, hlc, eff, lamport, hash, shown_ms FROM entry ORDER BY journal")?;
    let mut rows = select.query([])?;
    while let Some(r) = rows.next()? {
        let device = known.get(&r.get(1)?).ok_or(StoreError::value("device"))?;
        let room = places
            .get(&r.get(0)?)
            .and_then(|p| loaded.get_mut(*p))
            .ok_or(StoreError::value("room"))?;
        room.entries.push(IndexRow {
            hash: EntryHash(bytes(r, 8)?),
            device: *device,
            seq: whole(r.get(2)?),
            hlc: r.get::<_, i64>(5)?.cast_unsigned(),
            eff: unordered(r.get(6)?),
            lamport: unordered(r.get(7)?),
            shown_ms: whole(r.get(9)?),
            kind: r.get(3)?,
            signed: r.get(4)?,
        });
    }
    Ok(())
}

fn device_ids(tx: &Connection) -> Result<HashMap<i64, DeviceId>, StoreError> {
    let mut select = tx.prepare("SELECT id, device FROM device")?;
    let mut rows = select.query([])?;
    let mut known = HashMap::new();
    while let Some(r) = rows.next()? {
        known.insert(r.get(0)?, DeviceId(bytes(r, 1)?));
    }
    Ok(known)
}
