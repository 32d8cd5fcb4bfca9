//! How each [`Write`] becomes SQL: one transaction per batch, cached statements, rooms and devices
//! as small integers.

use std::collections::{BTreeMap, HashMap};

use klatch_core::content::Kind;
use klatch_core::ids::{DeviceId, EntryId, RoomId};
use klatch_core::query::Numbered;
use klatch_core::step::{DeviceRow, EntryRow, Former, Lack, RoomRow, Write};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::bodies::Span;
use super::direct::write as direct;
use super::error::StoreError;
use super::row::{count, int, lack_code, ordered, whole};
use super::schema::{BODY_APART, BODY_DELETED, BODY_HERE};
use super::{
    BODY_APART_ABOVE, forget,
    notes::{self, Note},
    places, search,
};

/// Devices remembered with their number; more than one full room has. Beyond it the memory is
/// started anew.
const INTERNED_MAX: usize = 16_384;

/// The numbers of rooms and devices, so that an entry need not look them up.
#[derive(Default)]
pub(super) struct Interned {
    rooms: HashMap<RoomId, i64>,
    devices: HashMap<DeviceId, i64>,
}

/// Bytes and messages a batch adds to a room, and bytes it takes away.
#[derive(Default, Clone, Copy)]
struct Growth {
    bytes: i64,
    messages: i64,
}

/// The bodies of a batch that belong into the body store.
pub(super) fn bodies_apart(writes: &[Write]) -> Vec<&[u8]> {
    let appended = writes.iter().filter_map(|write| match write {
        Write::Append(row) => row.entry.body.as_deref(),
        Write::Body { body, .. } => Some(&body[..]),
        _ => None,
    });
    appended.filter(|body| is_apart(body)).collect()
}

fn is_apart(body: &[u8]) -> bool {
    body.len() > BODY_APART_ABOVE
}

/// Applies a batch in one transaction; `spans` says where its [`bodies_apart`] lie. Returns how
/// many bodies are to be wiped, and what rooms take less by it.
pub(super) fn apply(
    main: &mut Connection,
    interned: &mut Interned,
    writes: &[Write],
    spans: &[Span],
    notes: &[Note],
) -> Result<(usize, Vec<(RoomId, u64)>), StoreError> {
    let tx = main.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut batch = Batch {
        tx: &tx,
        interned,
        spans: spans.iter(),
        growth: HashMap::new(),
        dropped: 0,
        freed: BTreeMap::new(),
    };
    for write in writes {
        batch.write(write)?;
    }
    batch.grow()?;
    grow_segments(&tx, spans)?;
    places::follow(&tx)?;
    let (dropped, freed) = (batch.dropped, std::mem::take(&mut batch.freed));
    notes::write(&tx, notes)?;
    tx.commit()?;
    Ok((dropped, freed.into_iter().collect()))
}

/// Notes that segments have these further bodies. `spans` are as they were written.
pub(super) fn grow_segments(tx: &Connection, spans: &[Span]) -> Result<(), StoreError> {
    for spans in spans.chunk_by(|a, b| a.segment == b.segment) {
        let Some(last) = spans.last() else { continue };
        tx.prepare_cached(
            "INSERT INTO segment VALUES (?1, ?2, ?3) ON CONFLICT (number) DO UPDATE SET upto = ?2, bodies = bodies + ?3",
        )?
        .execute(params![last.segment, int(last.end()), count(spans.len())])?;
    }
    Ok(())
}

struct Batch<'a> {
    tx: &'a Transaction<'a>,
    interned: &'a mut Interned,
    /// Of the bodies apart that are still to come.
    spans: std::slice::Iter<'a, Span>,
    growth: HashMap<i64, Growth>,
    /// Bodies taken away, wherever they were.
    dropped: usize,
    /// How large they were.
    freed: BTreeMap<RoomId, u64>,
}

impl Batch<'_> {
    fn write(&mut self, write: &Write) -> Result<(), StoreError> {
        match write {
            Write::Room(row) => self.room(row),
            Write::Append(row) => self.append(row),
            Write::DropBody { room, entry } => self.drop_body(*room, *entry),
            Write::Body { room, entry, target, body } => self.body(*room, *entry, *target, body),
            Write::Lack { room, entry, lack } => self.lack(*room, *entry, *lack),
            Write::Device(row) => self.device(row),
            Write::Acked { room, device, seq } => self.acked(*room, *device, *seq),
            Write::ReadUpto { room, journal } => self.read_upto(*room, *journal),
            Write::Fork { room, device, seq, proof } => self.fork(*room, *device, *seq, proof),
            Write::Journal { journal, at_ms, event } => {
                let row = Numbered { journal: *journal, at_ms: *at_ms, event: event.clone() };
                let row = serde_json::to_string(&row)
                    .map_err(|e| StoreError::Engine { cause: e.to_string() })?;
                self.run("INSERT INTO event VALUES (?1, ?2)", params![int(*journal), row])
            }
            Write::ForgetRoom { room, former } => self.forget_room(*room, *former),
            Write::CameBack { room } => self.run("DELETE FROM former WHERE room = ?1", [room.0]),
            Write::Name(name) => {
                self.run("INSERT OR REPLACE INTO meta VALUES ('name', ?1)", [name])
            }
            _ => self.conversation(write),
        }
    }

    fn conversation(&mut self, write: &Write) -> Result<(), StoreError> {
        match write {
            Write::Direct(row) => {
                let device = self.device_number(row.device)?;
                direct::direct(self.tx, row, device)
            }
            Write::DirectState { room, id, state } => direct::state(self.tx, *room, *id, *state),
            Write::DropDirect { room, id } => direct::drop_content(self.tx, *room, *id),
            Write::Contact(row) => direct::contact(self.tx, row),
            Write::Ratchet { device, state } => {
                let device = self.device_number(*device)?;
                direct::ratchet(self.tx, device, state)
            }
            Write::Account(state) => direct::account(self.tx, state),
            Write::Outbox(row) => {
                let device = self.device_number(row.device)?;
                direct::outbox(self.tx, row, device)
            }
            Write::OutboxDone { device, seq } => {
                let device = self.device_number(*device)?;
                direct::outbox_done(self.tx, device, *seq)
            }
            Write::ForgetDirect { room, identity, devices } => {
                let devices: Result<Vec<i64>, _> =
                    devices.iter().map(|d| self.device_number(*d)).collect();
                forget::conversation(self.tx, *room, *identity, &devices?)?;
                self.interned.devices.clear();
                Ok(())
            }
            Write::Privacy { receipts, typing } => direct::privacy(self.tx, *receipts, *typing),
            Write::Ran(ms) => direct::ran(self.tx, *ms),
            // Everything else is about rooms and the profile, see `write`.
            _ => Ok(()),
        }
    }

    fn run(&self, sql: &str, values: impl rusqlite::Params) -> Result<(), StoreError> {
        self.tx.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    fn room(&mut self, row: &RoomRow) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO room (room, name, root, passphrase, joined_ms, gone, over_budget)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (room) DO UPDATE SET name = ?2, root = ?3, passphrase = ?4, joined_ms = ?5, gone = ?6,
             over_budget = ?7",
            params![
                row.room.0,
                row.name,
                row.root.as_bytes().as_slice(),
                row.passphrase,
                int(row.joined_ms),
                row.left,
                row.over_budget
            ],
        )
    }

    fn append(&mut self, row: &EntryRow) -> Result<(), StoreError> {
        let (room, device) = (self.room_number(row.room)?, self.device_number(row.device)?);
        let journal = int(row.journal);
        let body = row.entry.body.as_deref();
        let body_at = match body {
            None => lack_code(row.lack.unwrap_or(Lack::NotGiven)),
            Some(body) if is_apart(body) => BODY_APART,
            Some(_) => BODY_HERE,
        };
        self.run(
            "INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            params![
                journal,
                room,
                device,
                int(row.seq),
                row.kind,
                row.entry.signature.is_some(),
                body_at,
                row.hlc.cast_signed(),
                ordered(row.eff),
                ordered(row.lamport),
                int(row.arrived_ms),
                row.hash.0,
                row.target.map(|t| t.0),
                int(row.shown_ms),
            ],
        )?;
        let span = if body_at == BODY_APART { self.spans.next() } else { None };
        self.run(
            "INSERT INTO sealed VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                journal,
                &row.entry.header[..],
                row.entry.signature.map(|s| s.0),
                body.filter(|_| body_at == BODY_HERE),
                span.map(|s| s.segment),
                span.map(|s| int(s.start)),
                span.map(|s| s.size),
            ],
        )?;
        let grown = self.growth.entry(room).or_default();
        grown.bytes += count(row.entry.header.len()) + count(body.map_or(0, <[u8]>::len));
        grown.messages += i64::from(is_message(row.kind) && body_at != BODY_DELETED);
        Ok(())
    }

    /// A body came after its entry. Nothing happens if it is here, or was deleted meanwhile.
    fn body(
        &mut self,
        room: RoomId,
        id: EntryId,
        target: Option<EntryId>,
        body: &[u8],
    ) -> Result<(), StoreError> {
        let apart = is_apart(body);
        let span = if apart { self.spans.next() } else { None };
        let number = self.room_number(room)?;
        let Some(journal) = places::find(self.tx, number, &id.0)? else { return Ok(()) };
        let (before, kind): (i64, u8) = self
            .tx
            .prepare_cached("SELECT body_at, kind FROM entry WHERE journal = ?1")?
            .query_row([journal], |r| Ok((r.get(0)?, r.get(1)?)))?;
        if before == BODY_DELETED && is_message(kind) {
            // Deleted again below, and counted off again.
            self.growth.entry(number).or_default().messages += 1;
        }
        let body_at = if apart { BODY_APART } else { BODY_HERE };
        self.run(
            "UPDATE entry SET body_at = ?2, target = ?3 WHERE journal = ?1",
            params![journal, body_at, target.map(|t| t.0)],
        )?;
        self.run(
            "UPDATE sealed SET body = ?2, segment = ?3, start = ?4, size = ?5 WHERE journal = ?1",
            params![
                journal,
                Some(body).filter(|_| !apart),
                span.map(|s| s.segment),
                span.map(|s| int(s.start)),
                span.map(|s| s.size),
            ],
        )?;
        self.growth.entry(number).or_default().bytes += count(body.len());
        // The words of what was deleted meanwhile are not wanted any more.
        let gone = "SELECT 1 FROM entry e JOIN entry d ON d.room = e.room AND d.kind = ?2 AND d.device = e.device
             WHERE e.journal = ?1 AND (d.target = substr(e.hash, 1, 16) OR (e.kind = ?3 AND d.target = e.target))";
        let kinds = (Kind::Delete.code(), Kind::Edit.code());
        if self.tx.prepare_cached(gone)?.exists(params![journal, kinds.0, kinds.1])? {
            return self.drop_one(number, journal, Lack::Deleted);
        }
        self.run("INSERT OR IGNORE INTO unindexed VALUES (?1)", [journal])
    }

    /// Says why a body is not here; if there is one after all, it is of no use.
    fn lack(&mut self, room: RoomId, id: EntryId, lack: Lack) -> Result<(), StoreError> {
        let room = self.room_number(room)?;
        match places::find(self.tx, room, &id.0)? {
            Some(journal) => self.drop_one(room, journal, lack),
            None => Ok(()),
        }
    }

    fn drop_body(&mut self, room: RoomId, id: EntryId) -> Result<(), StoreError> {
        let room = self.room_number(room)?;
        if let Some(journal) = places::find(self.tx, room, &id.0)? {
            self.drop_one(room, journal, Lack::Deleted)?;
        }
        // What an edit says is the text that was withdrawn.
        let edits: Vec<i64> = self
            .tx
            .prepare_cached(
                "SELECT journal FROM entry WHERE room = ?1 AND target = ?2 AND kind = ?3",
            )?
            .query_map(params![room, id.0, Kind::Edit.code()], |r| r.get(0))?
            .collect::<Result<_, _>>()?;
        for journal in edits {
            self.drop_one(room, journal, Lack::Deleted)?;
        }
        Ok(())
    }

    /// Takes a body away, if there is one, and says why it is not here. What was deleted stays so.
    fn drop_one(&mut self, room: i64, journal: i64, lack: Lack) -> Result<(), StoreError> {
        let (body_at, bytes, kind): (i64, i64, u8) = self
            .tx
            .prepare_cached(
                "SELECT e.body_at, coalesce(length(s.body), s.size, 0), e.kind FROM entry e JOIN sealed s USING (journal)
                 WHERE e.journal = ?1",
            )?
            .query_row([journal], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
        if body_at == BODY_DELETED {
            return Ok(());
        }
        self.run("UPDATE entry SET body_at = ?2 WHERE journal = ?1", [journal, lack_code(lack)])?;
        if lack == Lack::Deleted && is_message(kind) {
            self.growth.entry(room).or_default().messages -= 1;
        }
        if body_at != BODY_HERE && body_at != BODY_APART {
            return Ok(());
        }
        self.run("UPDATE sealed SET body = NULL WHERE journal = ?1", [journal])?;
        search::forget(self.tx, journal)?;
        if body_at == BODY_APART {
            forget::doom(self.tx, journal)?;
        }
        self.growth.entry(room).or_default().bytes -= bytes;
        let id = self.interned.rooms.iter().find(|(_, number)| **number == room).map(|(id, _)| *id);
        if let Some(id) = id {
            *self.freed.entry(id).or_default() += whole(bytes);
        }
        self.dropped += 1;
        Ok(())
    }

    fn forget_room(&mut self, room: RoomId, former: Option<Former>) -> Result<(), StoreError> {
        let number = self.room_number(room)?;
        self.dropped += forget::room(self.tx, room, number, former)?;
        self.growth.remove(&number);
        self.freed.remove(&room);
        self.interned.rooms.remove(&room);
        self.interned.devices.clear();
        Ok(())
    }

    fn device(&mut self, row: &DeviceRow) -> Result<(), StoreError> {
        let (room, device) = (self.room_number(row.room)?, self.device_number(row.device)?);
        self.run(
            "INSERT INTO member VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (room, device) DO UPDATE SET identity = ?3, name = ?4, last_seen_ms = ?5,
             acked = max(acked, ?6), muted = ?7, forked = ?8",
            params![
                room,
                device,
                row.identity.map(|i| i.0),
                row.name,
                int(row.last_seen_ms),
                int(row.acked),
                row.muted,
                row.forked.map(int)
            ],
        )
    }

    fn acked(&mut self, room: RoomId, device: DeviceId, seq: u64) -> Result<(), StoreError> {
        let (room, device) = (self.room_number(room)?, self.device_number(device)?);
        self.run(
            "INSERT INTO member VALUES (?1, ?2, NULL, '', 0, ?3, 0, NULL)
             ON CONFLICT (room, device) DO UPDATE SET acked = max(acked, ?3)",
            params![room, device, int(seq.saturating_add(1))],
        )
    }

    fn read_upto(&mut self, room: RoomId, journal: u64) -> Result<(), StoreError> {
        if direct::read_upto(self.tx, room, journal)? {
            return Ok(());
        }
        let room = self.room_number(room)?;
        self.run(
            "UPDATE room SET read_upto = max(read_upto, ?2) WHERE id = ?1",
            [room, int(journal)],
        )
    }

    fn fork(
        &mut self,
        room: RoomId,
        device: DeviceId,
        seq: u64,
        proof: &[u8],
    ) -> Result<(), StoreError> {
        let (room, device) = (self.room_number(room)?, self.device_number(device)?);
        self.run(
            "INSERT OR IGNORE INTO fork VALUES (?1, ?2, ?3, ?4)",
            params![room, device, int(seq), proof],
        )?;
        self.run(
            "INSERT INTO member VALUES (?1, ?2, NULL, '', 0, 0, 0, ?3)
             ON CONFLICT (room, device) DO UPDATE SET forked = coalesce(min(forked, ?3), ?3)",
            [room, device, int(seq)],
        )
    }

    fn room_number(&mut self, room: RoomId) -> Result<i64, StoreError> {
        if let Some(number) = self.interned.rooms.get(&room) {
            return Ok(*number);
        }
        let number = room_number(self.tx, room)?
            .ok_or_else(|| StoreError::Conflict { cause: format!("{room:?} was never stored") })?;
        self.interned.rooms.insert(room, number);
        Ok(number)
    }

    fn device_number(&mut self, device: DeviceId) -> Result<i64, StoreError> {
        if let Some(number) = self.interned.devices.get(&device) {
            return Ok(*number);
        }
        self.run("INSERT OR IGNORE INTO device (device) VALUES (?1)", [device.0])?;
        let number = self
            .tx
            .prepare_cached("SELECT id FROM device WHERE device = ?1")?
            .query_row([device.0], |r| r.get(0))?;
        if self.interned.devices.len() >= INTERNED_MAX {
            self.interned.devices.clear();
        }
        self.interned.devices.insert(device, number);
        Ok(number)
    }

    /// Brings the running counters up to date, once per batch and room.
    fn grow(&self) -> Result<(), StoreError> {
        for (room, grown) in &self.growth {
            self.run(
                "UPDATE room SET bytes = max(bytes + ?2, 0), messages = messages + ?3 WHERE id = ?1",
                [*room, grown.bytes, grown.messages],
            )?;
        }
        Ok(())
    }
}

/// The number of a room; `None` if it was never stored.
pub(super) fn room_number(main: &Connection, room: RoomId) -> Result<Option<i64>, StoreError> {
    let mut select = main.prepare_cached("SELECT id FROM room WHERE room = ?1")?;
    Ok(select.query_row([room.0], |r| r.get(0)).optional()?)
}

/// Whether people count it as a message.
pub(super) fn is_message(kind: u8) -> bool {
    matches!(Kind::from_code(kind), Some(Kind::Text | Kind::Notice))
}
