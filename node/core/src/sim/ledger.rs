//! What must hold at every commit and every event, whatever happens: the invariants of a world,
//! checked one write at a time.

use std::collections::{BTreeMap, BTreeSet};

use crate::direct::outbox::place_of;
use crate::ids::{DeviceId, EntryHash, EntryId, RoomId, SessionTag};
use crate::limits::CLOCK_AHEAD_MS_MAX;
use crate::log::entry::hlc_ms;
use crate::sim::disk::Disk;
use crate::step::{DirectRow, EntryRow, OutboxRow, Write};

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
    /// Direct messages that were ever on the disk of a device, with their author's device.
    letters: BTreeSet<(DeviceId, EntryId)>,
    /// Direct messages that a node lost with what came after an old copy of its disk.
    pub lost: BTreeSet<EntryId>,
    /// Which direct message has a number in a session, by sender and receiver.
    numbers: BTreeMap<(DeviceId, DeviceId, SessionTag, u64), EntryId>,
    /// Entries whose body rotted on one disk.
    pub rotted: BTreeSet<EntryHash>,
    /// Devices that went on from an old copy of their disk: a place may be used twice.
    pub restored: BTreeSet<DeviceId>,
    /// A device forked: entries may lack parents that lie in the branch not taken.
    pub forked: BTreeSet<DeviceId>,
}

impl Ledger {
    /// Checks a write of node `me` before it is applied to its disk. `clock_max` is the latest time
    /// its clock ever showed.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(
        &mut self,
        me: usize,
        own: DeviceId,
        clock_max: u64,
        now: u64,
        write: &Write,
    ) -> Result<(), String> {
        match write {
            Write::Append(row) => {
                self.check_entry(row, own, clock_max, now).map_err(|e| format!("node {me}: {e}"))
            }
            Write::Direct(row) => self.check_letter(row, own),
            Write::Outbox(row) => self.check_number(row, own),
            _ => Ok(()),
        }
    }

    fn check_letter(&mut self, row: &DirectRow, own: DeviceId) -> Result<(), String> {
        if self.honest.contains_key(&row.device)
            && row.device != own
            && !self.letters.contains(&(row.device, row.id))
        {
            return Err(format!(
                "direct message {} left before it was on its author's disk",
                row.id.short()
            ));
        }
        self.letters.insert((own, row.id));
        Ok(())
    }

    fn check_number(&mut self, row: &OutboxRow, own: DeviceId) -> Result<(), String> {
        let Some((session, number, true)) = place_of(row) else { return Ok(()) };
        let before = *self.numbers.entry((own, row.device, session, number)).or_insert(row.id);
        if before == row.id {
            return Ok(());
        }
        Err(format!(
            "direct messages {} and {} are both sealed as number {number}",
            before.short(),
            row.id.short()
        ))
    }

    /// Checks that a direct message that counts as delivered was on the disk of one of these
    /// devices.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check_delivered(&self, id: EntryId, to: &[DeviceId]) -> Result<(), String> {
        let honest = to.iter().filter(|d| self.honest.contains_key(d));
        if honest.clone().count() == 0 || honest.clone().any(|d| self.letters.contains(&(*d, id))) {
            return Ok(());
        }
        Err(format!(
            "counts direct message {} as delivered; it never was on the other disk",
            id.short()
        ))
    }

    /// A node continues from an old copy: what it sealed since is not known to it.
    pub fn forget_numbers(&mut self, own: DeviceId) {
        self.numbers.retain(|(from, ..), _| *from != own);
    }

    fn check_entry(
        &mut self,
        row: &EntryRow,
        own: DeviceId,
        clock_max: u64,
        now: u64,
    ) -> Result<(), String> {
        let name =
            || format!("entry {} of {} at {}", row.hash.id().short(), row.device.short(), row.seq);
        if let Some(why) = self.forbidden.get(&row.hash) {
            return Err(format!("{}: taken in although {why}", name()));
        }
        let slot = (row.room, row.device, row.seq);
        if self.restored.contains(&row.device) {
            return Ok(());
        }
        if row.device == own {
            if let Some((before, _)) = self.slots.get(&slot)
                && *before != row.hash
            {
                return Err(format!("{}: an own position is used a second time", name()));
            }
            if hlc_ms(row.hlc) > clock_max + CLOCK_AHEAD_MS_MAX {
                return Err(format!("{}: the own clock was dragged ahead", name()));
            }
            if hlc_ms(row.hlc) > row.arrived_ms + CLOCK_AHEAD_MS_MAX {
                return Err(format!("{}: dated by a clock that is right again", name()));
            }
            self.slots.entry(slot).or_insert((row.hash, now));
        } else if self.honest.contains_key(&row.device)
            && self.slots.get(&slot).map(|s| s.0) != Some(row.hash)
        {
            return Err(format!("{}: left its author before it was on the author's disk", name()));
        }
        let order = (row.eff, row.lamport);
        let first = *self.orders.entry((row.room, row.hash)).or_insert(order);
        if first != order && self.forked.is_empty() {
            return Err(format!("{}: display order {order:?} here, {first:?} elsewhere", name()));
        }
        Ok(())
    }

    /// Checks that a counted acknowledgement is true: the acknowledging device has the entry on its
    /// disk.
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
        let at = |d: &Disk| d.rooms.get(&room)?.at(&own, seq).map(|e| e.hash);
        let mine = self.honest.get(&own).and_then(|n| at(disks.get(*n)?));
        if mine.is_some() && at(disk) == mine {
            return Ok(());
        }
        if has > seq {
            return Err(format!(
                "counts {} as having entry {seq} of {}; it has another one there",
                by.short(),
                own.short()
            ));
        }
        Err(format!(
            "counts {} as having entry {seq} of {}; its disk has {has}",
            by.short(),
            own.short()
        ))
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
            return Err(format!(
                "message {} is told with number {journal} after {}",
                id.short(),
                self.journal
            ));
        }
        self.journal = journal;
        Ok(())
    }

    /// Messages that an old copy of the disk does not have may come, and be told, again.
    pub fn forget(&mut self, id: &EntryId) {
        self.ids.remove(id);
    }

    /// Everything up to this number was read by other means.
    pub fn read(&mut self, journal: u64) {
        self.journal = self.journal.max(journal);
    }
}
