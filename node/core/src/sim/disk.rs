//! The disk of a simulated node: applies writes, gives snapshots and pages as the store of a real
//! node does, and refuses what a log must never contain.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::content::Kind;
use crate::ids::{DeviceId, DeviceShort, EntryHash, EntryId, RoomId};
use crate::log::entry::{Header, SealedEntry, entry_hash, is_body_of};
use crate::sim::desk::Desk;
use crate::step::{
    DeviceRow, EntryRow, Former, IndexRow, Lack, RoomRow, RoomSnapshot, Snapshot, Write,
};
use crate::wire::Frontier;

/// What survives a crash.
#[derive(Debug, Default, Clone)]
pub struct Disk {
    /// The own display name.
    pub name: String,
    /// Last journal number used.
    pub journal: u64,
    floor: u64,
    freed: Option<(RoomId, u64)>,
    /// Rooms.
    pub rooms: BTreeMap<RoomId, DiskRoom>,
    /// Rooms that were forgotten.
    pub former: BTreeMap<RoomId, Former>,
    /// Conversations.
    pub desk: Desk,
}

/// One room at rest.
#[derive(Debug, Clone)]
pub struct DiskRoom {
    /// The room.
    pub row: RoomRow,
    /// Devices seen.
    pub devices: BTreeMap<DeviceId, DeviceRow>,
    /// Entries in journal order.
    pub entries: Vec<EntryRow>,
    /// Where an entry is in `entries`.
    pub by_id: BTreeMap<EntryId, usize>,
    /// Each chain in order.
    pub chains: BTreeMap<DeviceId, Vec<usize>>,
    /// Proofs of forks.
    pub forks: BTreeMap<DeviceId, Vec<u8>>,
    /// Sum over the set of entries, whatever their order: equal sets have equal digests.
    pub digest: u64,
    /// Bytes stored.
    pub bytes: u64,
}

impl DiskRoom {
    fn new(row: RoomRow) -> Self {
        Self {
            row,
            devices: BTreeMap::new(),
            entries: Vec::new(),
            by_id: BTreeMap::new(),
            chains: BTreeMap::new(),
            forks: BTreeMap::new(),
            digest: 0,
            bytes: 0,
        }
    }

    /// Entries of a chain.
    #[must_use]
    pub fn chain_len(&self, device: &DeviceId) -> u64 {
        self.chains.get(device).map_or(0, |c| c.len() as u64)
    }

    /// The entry at a place of a chain.
    #[must_use]
    pub fn at(&self, device: &DeviceId, seq: u64) -> Option<&EntryRow> {
        let at = *self.chains.get(device)?.get(usize::try_from(seq).ok()?)?;
        self.entries.get(at)
    }

    /// An entry by its id.
    #[must_use]
    pub fn entry(&self, id: &EntryId) -> Option<&EntryRow> {
        self.entries.get(*self.by_id.get(id)?)
    }

    /// Whole runs that a peer with this frontier lacks, in the order in which the runs end in the
    /// journal.
    #[must_use]
    pub fn page(
        &self,
        after: &Frontier,
        bytes_max: usize,
        entries_max: usize,
    ) -> (Vec<SealedEntry>, bool) {
        let held: BTreeMap<DeviceShort, u64> =
            after.iter().map(|(d, seq, _)| (*d, seq.saturating_add(1))).collect();
        let first = |d: &DeviceId| {
            usize::try_from(held.get(&d.prefix()).copied().unwrap_or(0)).unwrap_or(usize::MAX)
        };
        let mut nexts: BinaryHeap<Reverse<(usize, DeviceId, usize, usize)>> =
            self.chains.keys().filter_map(|d| self.next_run(d, first(d))).map(Reverse).collect();
        let (mut page, mut size) = (Vec::new(), 0);
        while let Some(Reverse((_, device, first, last))) = nexts.pop() {
            let run: Vec<SealedEntry> = self.chains[&device][first..=last]
                .iter()
                .map(|at| self.entries[*at].entry.clone())
                .collect();
            let run_size: usize = run.iter().map(SealedEntry::len).sum();
            if !page.is_empty()
                && (size + run_size > bytes_max || page.len() + run.len() > entries_max)
            {
                return (page, true);
            }
            size += run_size;
            page.extend(run);
            nexts.extend(self.next_run(&device, last + 1).map(Reverse));
        }
        (page, false)
    }

    fn next_run(&self, device: &DeviceId, first: usize) -> Option<(usize, DeviceId, usize, usize)> {
        let chain = self.chains.get(device)?;
        let signed = |at: &usize| self.entries[*at].entry.signature.is_some();
        let last = first + chain.get(first..)?.iter().position(signed)?;
        Some((chain[last], *device, first, last))
    }

    /// Appends an entry, after checking everything that must hold of a log whatever the core
    /// believes. `orphans` says that a parent may be missing (a fork was seen).
    fn append(&mut self, row: &EntryRow, orphans: bool) -> Result<(), String> {
        let name =
            || format!("entry {} of {} at {}", row.hash.id().short(), row.device.short(), row.seq);
        let header = Header::decode(&row.entry.header).map_err(|e| format!("{}: {e}", name()))?;
        if entry_hash(&row.entry.header) != row.hash
            || header.device != row.device
            || header.seq != row.seq
        {
            return Err(format!("{}: the row does not match its header", name()));
        }
        let next = self.chain_len(&row.device);
        if row.seq < next {
            return Err(format!("{}: stored twice, or a second entry in its place", name()));
        }
        if row.seq > next {
            return Err(format!("{}: gap in the chain, next is {next}", name()));
        }
        let head: Option<EntryHash> =
            row.seq.checked_sub(1).and_then(|s| self.at(&row.device, s)).map(|e| e.hash);
        if header.prev != head {
            return Err(format!("{}: does not follow the head of its chain", name()));
        }
        if !orphans
            && let Some(missing) = header.parents.iter().find(|p| !self.by_id.contains_key(*p))
        {
            return Err(format!("{}: stored before its parent {}", name(), missing.short()));
        }
        if self.entries.last().is_some_and(|e| e.journal >= row.journal) {
            return Err(format!("{}: its journal number {} does not grow", name(), row.journal));
        }
        let at = self.entries.len();
        self.by_id.insert(row.hash.id(), at);
        self.chains.entry(row.device).or_default().push(at);
        self.digest = self.digest.wrapping_add(spread(&row.hash));
        self.bytes += row.entry.len() as u64;
        self.entries.push(row.clone());
        Ok(())
    }
}

fn spread(hash: &EntryHash) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&hash.0[..8]);
    u64::from_le_bytes(word) | 1
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// A transaction begins.
    pub fn begin(&mut self) {
        self.floor = self.journal;
    }

    /// Applies one write of a transaction.
    ///
    /// # Errors
    /// What a log must never contain, in words.
    pub fn apply(&mut self, write: &Write, orphans: bool) -> Result<(), String> {
        match write {
            Write::Room(row) => {
                self.rooms.entry(row.room).or_insert_with(|| DiskRoom::new(row.clone())).row =
                    row.clone();
            }
            Write::Append(row) => {
                // Runs of several rooms in one transaction may interleave; those of one room may
                // not.
                if row.journal <= self.floor {
                    return Err(format!("journal number {} follows {}", row.journal, self.floor));
                }
                self.journal = self.journal.max(row.journal);
                self.room(row.room)?.append(row, orphans)?;
            }
            Write::DropBody { room, entry } => self.drop_body(*room, entry)?,
            Write::Body { room, entry, target, body } => {
                let at = self.place(*room, entry)?;
                let room = self.room(*room)?;
                let row = &mut room.entries[at];
                if row.lack == Some(Lack::Deleted) {
                    // An edit that rotted, of a message that was deleted meanwhile.
                    return Ok(());
                }
                if row.entry.body.is_some() {
                    return Err("a body comes for an entry that lacks none".to_owned());
                }
                if !is_body_of(&row.entry.header, body) {
                    return Err("a body is not the one that the header names".to_owned());
                }
                row.target = *target;
                let deleted =
                    |id: &EntryId| room.entry(id).is_some_and(|t| t.lack == Some(Lack::Deleted));
                let edit = room.entries[at].kind == Kind::Edit.code();
                // The words of what was deleted meanwhile are not wanted any more.
                let gone = edit && target.as_ref().is_some_and(deleted);
                let row = &mut room.entries[at];
                row.lack = gone.then_some(Lack::Deleted);
                row.entry.body = Some(body.clone()).filter(|_| !gone);
                room.bytes += body.len() as u64;
            }
            Write::Lack { room, entry, lack } => {
                let at = self.place(*room, entry)?;
                let row = &mut self.room(*room)?.entries[at];
                if row.lack != Some(Lack::Deleted) {
                    (row.entry.body, row.lack) = (None, Some(*lack));
                }
            }
            Write::Device(row) => {
                self.room(row.room)?.devices.insert(row.device, row.clone());
            }
            Write::Acked { room, device, seq } => {
                let row = self
                    .room(*room)?
                    .devices
                    .get_mut(device)
                    .ok_or("an acknowledgement of an unknown device")?;
                row.acked = row.acked.max(seq + 1);
            }
            Write::Fork { room, device, proof, .. } => {
                self.room(*room)?.forks.insert(*device, proof.clone());
            }
            Write::Name(name) => self.name.clone_from(name),
            Write::Journal { journal, .. } => {
                if *journal <= self.floor {
                    return Err(format!(
                        "journal number {journal} of an event follows {}",
                        self.floor
                    ));
                }
                self.journal = self.journal.max(*journal);
            }
            Write::ReadUpto { .. } => {}
            Write::ForgetRoom { room, former } => {
                self.rooms.remove(room);
                self.former.extend(former.map(|former| (*room, former)));
            }
            Write::CameBack { room } => {
                self.former.remove(room);
            }
            other => {
                if let Write::Direct(row) = other {
                    if row.journal <= self.floor {
                        return Err(format!(
                            "journal number {} of a direct message follows {}",
                            row.journal, self.floor
                        ));
                    }
                    self.journal = self.journal.max(row.journal);
                }
                if !self.desk.apply(other)? {
                    return Err(format!("this disk does not know {other:?}"));
                }
            }
        }
        Ok(())
    }

    fn room(&mut self, room: RoomId) -> Result<&mut DiskRoom, String> {
        self.rooms
            .get_mut(&room)
            .ok_or_else(|| format!("a write for the unknown room {}", room.short()))
    }

    fn place(&mut self, room: RoomId, entry: &EntryId) -> Result<usize, String> {
        let at = self.room(room)?.by_id.get(entry).copied();
        at.ok_or_else(|| "a change of an entry that is not here".to_owned())
    }

    /// Drops the words of a message, its own and those of its edits.
    fn drop_body(&mut self, room: RoomId, entry: &EntryId) -> Result<(), String> {
        let at = self.place(room, entry)?;
        let (id, disk) = (room, self.room(room)?);
        let edit = |r: &EntryRow| r.target == Some(*entry) && r.kind == Kind::Edit.code();
        let edits = disk.entries.iter().enumerate().filter(|(_, r)| edit(r)).map(|(i, _)| i);
        let mut freed = 0;
        for at in edits.chain([at]).collect::<Vec<_>>() {
            let row = &mut disk.entries[at];
            freed += row.entry.body.take().map_or(0, |b| b.len() as u64);
            row.lack = Some(Lack::Deleted);
        }
        disk.bytes = disk.bytes.saturating_sub(freed);
        self.freed = Some((id, freed));
        Ok(())
    }

    /// What the last write freed.
    pub fn take_freed(&mut self) -> Option<(RoomId, u64)> {
        self.freed.take()
    }

    /// Entries whose bodies rotted.
    #[must_use]
    pub fn rotten(&self) -> Vec<(RoomId, EntryId)> {
        let bad =
            |r: &&EntryRow| r.entry.body.as_ref().is_some_and(|b| !is_body_of(&r.entry.header, b));
        let rows = self.rooms.values().flat_map(|r| r.entries.iter().filter(bad));
        rows.map(|r| (r.room, r.hash.id())).collect()
    }

    /// What a machine that starts now continues from.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let rooms = self.rooms.values().map(|r| RoomSnapshot {
            row: r.row.clone(),
            devices: r.devices.values().cloned().collect(),
            entries: r.entries.iter().map(index_row).collect(),
            bytes: r.bytes,
            lacking: r
                .entries
                .iter()
                .filter_map(|e| Some((e.hash.id(), e.lack.filter(|l| *l != Lack::Deleted)?)))
                .collect(),
        });
        Snapshot {
            journal_next: self.journal + 1,
            name: self.name.clone(),
            rooms: rooms.collect(),
            former: self.former.iter().map(|(room, former)| (*room, *former)).collect(),
            direct: self.desk.snapshot(),
        }
    }
}

fn index_row(row: &EntryRow) -> IndexRow {
    IndexRow {
        hash: row.hash,
        device: row.device,
        seq: row.seq,
        hlc: row.hlc,
        eff: row.eff,
        lamport: row.lamport,
        shown_ms: row.shown_ms,
        kind: row.kind,
        signed: row.entry.signature.is_some(),
    }
}
