//! Pages for other nodes: what a peer lacks, in arrival order, whole runs only.
//!
//! The chains of a room are merged by the journal number at which their next run ends, so a page
//! costs what it holds plus one look-up per chain, however much the peer has already. That order
//! respects causality: an entry of another chain that arrived between those of an own run cannot
//! follow any of them, because a run leaves the node only when it has ended.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use klatch_core::ids::{DeviceId, DeviceShort, RoomId};
use klatch_core::log::entry::SealedEntry;
use klatch_core::wire::Frontier;
use rusqlite::{Connection, OptionalExtension};

use super::error::StoreError;
use super::read::Reader;
use super::row::{bytes, int, sealed};
use super::write::room_number;

/// The next run of a chain. Ordered by where it ends in the journal.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    end_journal: i64,
    device: i64,
    first: i64,
    last: i64,
}

impl Reader {
    /// Entries of a room that a peer with this frontier lacks, and whether there are more. At least
    /// one run, even if it is larger than asked for. A frontier names the last position a peer has
    /// of each chain; of others it wants everything.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn page(
        &self,
        room: RoomId,
        after: &Frontier,
        bytes_max: usize,
        entries_max: usize,
    ) -> Result<(Vec<SealedEntry>, bool), StoreError> {
        // One transaction: the chains do not grow under our hands.
        let tx = self.main.unchecked_transaction()?;
        let id = room;
        let Some(room) = room_number(&tx, room)? else { return Ok((Vec::new(), false)) };
        let mut nexts = missing(&tx, room, after)?;
        let (mut page, mut size) = (Vec::new(), 0);
        while let Some(Reverse(next)) = nexts.pop() {
            let mut run = self.run(&tx, id, room, &next)?;
            let run_size: usize = run.iter().map(SealedEntry::len).sum();
            if !page.is_empty()
                && (size + run_size > bytes_max || page.len() + run.len() > entries_max)
            {
                return Ok((page, true));
            }
            size += run_size;
            page.append(&mut run);
            nexts.extend(next_run(&tx, room, next.device, next.last + 1)?.map(Reverse));
        }
        Ok((page, false))
    }

    fn run(
        &self,
        tx: &Connection,
        id: RoomId,
        room: i64,
        next: &Next,
    ) -> Result<Vec<SealedEntry>, StoreError> {
        let mut select = tx.prepare_cached(
            "SELECT e.body_at, s.header, s.signature, s.body, s.segment, s.start, s.size
             FROM entry e CROSS JOIN sealed s USING (journal)
             WHERE e.room = ?1 AND e.device = ?2 AND e.seq BETWEEN ?3 AND ?4 ORDER BY e.seq",
        )?;
        let mut rows = select.query([room, next.device, next.first, next.last])?;
        let mut run = Vec::new();
        while let Some(r) = rows.next()? {
            run.push(sealed(r, 0, id, &self.bodies)?.0);
        }
        Ok(run)
    }
}

/// The first missing run of every chain that has one.
fn missing(
    tx: &Connection,
    room: i64,
    after: &Frontier,
) -> Result<BinaryHeap<Reverse<Next>>, StoreError> {
    let held: HashMap<DeviceShort, u64> =
        after.iter().map(|(device, seq, _)| (*device, *seq)).collect();
    // Walks the chain index from device to device instead of over all its entries.
    let mut select = tx.prepare_cached(
        "WITH RECURSIVE chain (device) AS (
           SELECT min(device) FROM entry WHERE room = ?1
           UNION ALL
           SELECT (SELECT min(e.device) FROM entry e WHERE e.room = ?1 AND e.device > chain.device) FROM chain
           WHERE chain.device IS NOT NULL
         ) SELECT d.id, d.device FROM chain CROSS JOIN device d ON d.id = chain.device",
    )?;
    let mut rows = select.query([room])?;
    let mut nexts = BinaryHeap::new();
    while let Some(r) = rows.next()? {
        let device = DeviceId(bytes(r, 1)?);
        let first = held.get(&device.prefix()).map_or(0, |last| last.saturating_add(1));
        nexts.extend(next_run(tx, room, r.get(0)?, int(first))?.map(Reverse));
    }
    Ok(nexts)
}

/// The run that starts at a position; `None` at the end of the chain.
fn next_run(
    tx: &Connection,
    room: i64,
    device: i64,
    first: i64,
) -> Result<Option<Next>, StoreError> {
    let mut select = tx.prepare_cached(
        "SELECT journal, seq FROM entry WHERE room = ?1 AND device = ?2 AND seq >= ?3 AND signed ORDER BY seq LIMIT 1",
    )?;
    let end = select.query_row([room, device, first], |r| Ok((r.get(0)?, r.get(1)?))).optional()?;
    Ok(end.map(|(end_journal, last)| Next { end_journal, device, first, last }))
}
