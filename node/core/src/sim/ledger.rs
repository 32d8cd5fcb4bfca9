//! What must hold at every commit and every event, whatever happens: the invariants of a world, checked one write at a time.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{DeviceId, EntryHash, EntryId, RoomId};
use crate::limits::CLOCK_AHEAD_MS_MAX;
use crate::log::entry::hlc_ms;
use crate::sim::disk::Disk;
use crate::step::{EntryRow, Write};

/// What is known of all disks together.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Honest devices and their nodes.
    pub honest: BTreeMap<DeviceId, usize>,
    /// What each honest device committed, and when.
    pub slots: BTreeMap<(RoomId, DeviceId, u64), (EntryHash, u64)>,
    /// The display key that the first node gave an entry.
    orders: BTreeMap<(RoomId, EntryHash), (u64, u64)>,
    /// Entries that must never be on an honest disk, and why.
    pub forbidden: BTreeMap<EntryHash, &'static str>,
    /// A device forked: entries may lack parents that lie in the branch not taken.
    pub forked: BTreeSet<DeviceId>,
}

impl Ledger {
    /// Checks a write of node `me` before it is applied to its disk. `clock_max` is the latest time its clock ever showed.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&mut self, me: usize, own: DeviceId, clock_max: u64, now: u64, write: &Write) -> Result<(), String> {
        if let Write::Append(row) = write {
            self.check_entry(row, own, clock_max, now).map_err(|e| format!("node {me}: {e}"))?;
        }
        Ok(())
    }

    fn check_entry(&mut self, row: &EntryRow, own: DeviceId, clock_max: u64, now: u64) -> Result<(), String> {
        let name = || format!("entry {} of {} at {}", row.hash.id().short(), row.device.short(), row.seq);
        if let Some(why) = self.forbidden.get(&row.hash) {
            return Err(format!("{}: taken in although {why}", name()));
        }
        let slot = (row.room, row.device, row.seq);
        if row.device == own {
            if let Some((before, _)) = self.slots.get(&slot)
                && *before != row.hash
            {
                return Err(format!("{}: an own position is used a second time", name()));
            }
            if hlc_ms(row.hlc) > clock_max + CLOCK_AHEAD_MS_MAX {
                return Err(format!("{}: the own clock was dragged ahead", name()));
            }
            self.slots.entry(slot).or_insert((row.hash, now));
        } else if self.honest.contains_key(&row.device) && self.slots.get(&slot).map(|s| s.0) != Some(row.hash) {
            return Err(format!("{}: left its author before it was on the author's disk", name()));
        }
        let order = (row.eff, row.lamport);
        let first = *self.orders.entry((row.room, row.hash)).or_insert(order);
        if first != order && self.forked.is_empty() {
            return Err(format!("{}: display order {order:?} here, {first:?} elsewhere", name()));
        }
        Ok(())
    }

    /// Checks that a counted acknowledgement is true: the acknowledging device has the entry on its disk.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check_acked(
        &self,
        room: RoomId,
        own: DeviceId,
        by: &DeviceId,
        seq: u64,
        disks: &[&Disk],
    ) -> Result<(), String> {
        let Some(disk) = self.honest.get(by).and_then(|n| disks.get(*n)) else { return Ok(()) };
        let has = disk.rooms.get(&room).map_or(0, |r| r.chain_len(&own));
        if has > seq {
            return Ok(());
        }
        Err(format!("counts {} as having entry {seq} of {}; its disk has {has}", by.short(), own.short()))
    }
}

/// Messages a front end was told of.
#[derive(Debug, Default)]
pub struct Told {
    ids: BTreeSet<EntryId>,
    journal: u64,
}

impl Told {
    /// A message was told.
    ///
    /// # Errors
    /// When it was told before, or its journal number does not grow.
    pub fn told(&mut self, id: EntryId, journal: u64) -> Result<(), String> {
        if !self.ids.insert(id) {
            return Err(format!("message {} is told a second time", id.short()));
        }
        if journal <= self.journal {
            return Err(format!("message {} is told with number {journal} after {}", id.short(), self.journal));
        }
        self.journal = journal;
        Ok(())
    }

    /// Everything up to this number was read by other means.
    pub fn read(&mut self, journal: u64) {
        self.journal = self.journal.max(journal);
    }
}
