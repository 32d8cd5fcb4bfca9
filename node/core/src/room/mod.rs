//! A room: its log, its members, and what the local user does in it. Ties membership, log, sync and
//! delivery together; the rules themselves live in those parts. What depends on links and time is
//! in [`links`], `exchange` and [`poll`].

mod acks;
mod back;
pub(crate) mod bodies;
mod check;
pub(crate) mod exchange;
mod farewell;
pub(crate) mod hearsay;
pub(crate) mod inbound;
pub mod links;
pub(crate) mod orders;
pub mod poll;
mod space;
pub mod timeline;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::bucket::Bucket;
use crate::content::{Content, Kind};
use crate::crypto::group::{RoomKeys, RoomRoot};
use crate::ctx::Ctx;
use crate::delivery::{Outbox, Owed, Window};
use crate::error::{CommandError, Reject};
use crate::event::{Delivery, Event};
use crate::ids::{DeviceId, EntryId, RoomId};
use crate::limits::{
    CHAINS_BURST, CHAINS_PER_MINUTE, DEVICE_BYTES_BURST, DEVICE_BYTES_PER_S, DEVICE_ENTRIES_BURST,
    DEVICE_ENTRIES_PER_S, LAST_SEEN_WRITE_MS, OUTBOX_BYTES_MAX, OUTBOX_ENTRIES_MAX, QUARANTINE_MAX,
    RUN_BYTES_MAX, RUN_ENTRIES_MAX,
};
use crate::log::entry::{ForkBranch, VerifiedEntry, VerifiedRun, compose};
use crate::log::{Accepted, Log, Outcome};
use crate::step::{DeviceRow, EntryRow, Former, Lack, RoomRow, RoomSnapshot, RoomView, Write};
use crate::sync::Planner;
use bodies::Bodies;
use hearsay::Hearsay;
use links::Links;
use poll::Timers;
use space::words_of;

/// One room of this node.
#[derive(Debug)]
pub struct Room {
    pub(crate) row: RoomRow,
    pub(crate) keys: Arc<RoomKeys>,
    pub(crate) log: Log,
    pub(crate) members: BTreeMap<DeviceId, DeviceRow>,
    rates: BTreeMap<DeviceId, (Bucket, Bucket)>,
    new_chains: Bucket,
    /// Devices that broke a rule of the log: what they write is taken in where it fits, and waits
    /// for nothing.
    quarantine: BTreeSet<DeviceId>,
    pending: Vec<(VerifiedEntry, EntryRow)>,
    pub(crate) outbox: Outbox,
    pub(crate) window: Window,
    pub(crate) owed: Owed,
    pub(crate) planner: Planner,
    pub(crate) links: Links,
    pub(crate) hearsay: Hearsay,
    pub(crate) timers: Timers,
    pub(crate) bodies: Bodies,
    bytes: u64,
    disk_budget: u64,
    /// The own chain is longer elsewhere: writing on would fork it.
    pub(crate) behind: bool,
    /// The room was forgotten: nothing is written until what this device wrote there is here again.
    pub(crate) returning: Option<Former>,
    /// Left, and the goodbye is being said: until then.
    farewell_until_ms: Option<u64>,
    pub(crate) touched: bool,
    pub(crate) view_dirty: bool,
}

/// Where a verified run came from: decides limits and how it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Gossip,
    Sync,
}

impl Room {
    /// A room that is joined for the first time.
    pub(crate) fn new(row: RoomRow, now: u64, disk_budget: u64) -> Self {
        let keys = Arc::new(RoomKeys::of_root(&row.root));
        Self {
            row,
            keys,
            log: Log::default(),
            members: BTreeMap::new(),
            rates: BTreeMap::new(),
            new_chains: Bucket::full(CHAINS_BURST, now),
            quarantine: BTreeSet::new(),
            pending: Vec::new(),
            outbox: Outbox::default(),
            window: Window::default(),
            owed: Owed::default(),
            planner: Planner::default(),
            links: Links::default(),
            hearsay: Hearsay::default(),
            timers: Timers::starting(now),
            bodies: Bodies::default(),
            bytes: 0,
            disk_budget,
            behind: false,
            returning: None,
            farewell_until_ms: None,
            touched: true,
            view_dirty: true,
        }
    }

    /// A room read back from the store.
    pub(crate) fn restore(
        snapshot: RoomSnapshot,
        own: DeviceId,
        now: u64,
        disk_budget: u64,
    ) -> Self {
        let mut room = Self::new(snapshot.row, now, disk_budget);
        let last = snapshot.entries.iter().rposition(|r| r.device == own && r.seq > 0);
        for (i, row) in snapshot.entries.iter().enumerate() {
            if !(planted!(ReuseOwnSeq) && Some(i) == last) {
                room.log.restore(row, own);
            }
        }
        room.log.restored();
        for row in snapshot.devices.iter().filter(|d| d.forked.is_some()) {
            // The own row says that this device wrote more than is on this disk.
            if row.device == own { room.behind = true } else { room.log.mark_forked(&row.device) }
        }
        room.members = snapshot.devices.into_iter().map(|d| (d.device, d)).collect();
        room.bytes = snapshot.bytes;
        for (id, lack) in snapshot.lacking {
            room.bodies.want(id, lack, now);
        }
        room
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> RoomId {
        self.row.room
    }

    /// Its name with `#`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.row.name
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Row for a new room from what a join brings.
    pub(crate) fn row_of(name: String, root: Arc<RoomRoot>, passphrase: bool, now: u64) -> RoomRow {
        let room = RoomKeys::of_root(&root).room;
        RoomRow { room, name, root, passphrase, joined_ms: now, left: false, over_budget: false }
    }

    // ---- what the local user does ---------------------------------------------------------------

    /// Writes an own entry: composed at once, signed at the end of the batch.
    pub(crate) fn write(
        &mut self,
        ctx: &mut Ctx<'_>,
        content: Content,
    ) -> Result<(EntryId, u64, u64), CommandError> {
        self.may_write(ctx.now)?;
        let own = ctx.keys.device_id();
        let ends_run = content.kind().ends_run();
        let target = content.target();
        let place = self.log.place(own, ctx.wall);
        let entry = compose(&self.keys, own, place, content);
        let pending_bytes: usize = self.pending.iter().map(|(e, _)| e.sealed.len()).sum();
        if self.pending.len() >= RUN_ENTRIES_MAX
            || pending_bytes + entry.sealed.len() > RUN_BYTES_MAX
        {
            self.sign_pending(ctx);
        }
        let (eff, shown_ms) = self.log.append_own(&entry, ctx.wall);
        let row = self.entry_row(ctx, &entry, (eff, shown_ms), target);
        let (id, seq, journal) = (entry.hash.id(), entry.header.seq, row.journal);
        let before = self.members.get(&own).map(|m| m.name.clone());
        self.tell(ctx, &entry, &row, before);
        self.pending.push((entry, row));
        self.touched = true;
        if ends_run {
            self.sign_pending(ctx);
        }
        Ok((id, seq, journal))
    }

    /// Whether an own entry may be written now.
    pub(crate) fn may_write(&self, now: u64) -> Result<(), CommandError> {
        if self.behind {
            return Err(CommandError::DeviceBehind);
        }
        if self.returning.is_some() {
            return Err(CommandError::NotBackYet { room: self.row.name.clone() });
        }
        let much = self.outbox.bytes() > OUTBOX_BYTES_MAX && self.is_congested(now);
        if much { Err(CommandError::TooFast { queued: self.outbox.len() as u64 }) } else { Ok(()) }
    }

    /// Much waits for members that are connected and acknowledge: whoever writes more had better
    /// wait, too.
    pub(crate) fn is_congested(&self, now: u64) -> bool {
        let much = self.outbox.bytes() > OUTBOX_BYTES_MAX / 2
            || self.outbox.len() as u64 > OUTBOX_ENTRIES_MAX;
        much && self.links.holding_from(now, &self.members).is_some()
    }

    /// Signs the pending own entries as one run and queues them: writes now, publish when the
    /// window allows.
    pub(crate) fn sign_pending(&mut self, ctx: &mut Ctx<'_>) {
        if self.pending.is_empty() {
            return;
        }
        let (entries, mut rows): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().unzip();
        let Some(run) = VerifiedRun::sign(ctx.keys.device_key(), entries) else { return };
        let seq = run.first().header.seq;
        let gone: BTreeSet<EntryId> =
            run.entries().iter().filter_map(|e| self.body_to_drop(e)).collect();
        let mut sealed = Vec::with_capacity(rows.len());
        let mut says = BTreeSet::new();
        for (row, entry) in rows.iter_mut().zip(run.entries()) {
            let (mut entry, words) = (entry.sealed.clone(), words_of(entry));
            if words.is_some_and(|id| gone.contains(&id)) {
                // Written and deleted in one batch: the words never reach the disk.
                (entry.body, row.lack) = (None, Some(Lack::Deleted));
            }
            says.extend(words);
            row.entry = entry.clone();
            self.bytes += entry.len() as u64;
            sealed.push(entry);
        }
        ctx.step.writes.extend(rows.into_iter().map(Write::Append));
        let room = self.id();
        let drops = gone.iter().map(|entry| Write::DropBody { room, entry: *entry });
        ctx.step.writes.extend(drops);
        self.log.mark_signed(ctx.keys.device_id());
        self.outbox.push(seq, sealed, says);
        for id in &gone {
            self.outbox.withdraw(id);
            self.bodies.done(id);
        }
        self.timers.changed(ctx.now, ctx.rng);
        self.touched = true;
        self.view_dirty = true;
    }

    /// The profile entry: opens the own chain, and tells a new name.
    pub(crate) fn write_profile(&mut self, ctx: &mut Ctx<'_>) -> Result<(), CommandError> {
        let content = Content::Profile { name: ctx.name.to_owned(), cert: ctx.keys.cert().clone() };
        self.write(ctx, content)?;
        let row = self.member_row(ctx.keys.device_id());
        row.name = ctx.name.to_owned();
        row.identity = Some(ctx.keys.identity_id());
        ctx.device(row);
        Ok(())
    }

    /// Checks that `message` is here and, if `own` is asked for, written by this device.
    pub(crate) fn find(
        &self,
        ctx: &Ctx<'_>,
        message: EntryId,
        own: bool,
    ) -> Result<(), CommandError> {
        let unknown = || CommandError::UnknownMessage { message: message.to_string() };
        let meta = self.log.meta(&message).ok_or_else(unknown)?;
        if !matches!(Kind::from_code(meta.kind), Some(Kind::Text | Kind::Notice)) {
            return Err(unknown());
        }
        if own && meta.author != ctx.keys.device_id().prefix() {
            return Err(CommandError::NotYours);
        }
        Ok(())
    }

    /// Hides or shows a device, locally.
    pub(crate) fn mute(
        &mut self,
        ctx: &mut Ctx<'_>,
        device: DeviceId,
        muted: bool,
    ) -> Result<(), CommandError> {
        let row = self.members.get_mut(&device).ok_or(CommandError::UnknownMember)?;
        row.muted = muted;
        ctx.device(row);
        Ok(())
    }

    // ---- what others wrote ----------------------------------------------------------------------

    /// Takes in a verified run. Returns how many entries are new, or why it was refused.
    pub(crate) fn accept(
        &mut self,
        ctx: &mut Ctx<'_>,
        run: VerifiedRun,
        source: Source,
    ) -> Result<Taken, Reject> {
        let (device, seq) = (run.first().header.device, run.first().header.seq);
        // Before any limit: anybody can send what a device wrote once more, that must not count
        // against the device.
        if self.log.has_all(&run) {
            if planted!(ForgetDuplicates) {
                let again = run.into_entries().into_iter().map(|entry| Accepted {
                    entry,
                    eff: 0,
                    shown_ms: 0,
                });
                self.take_in(ctx, again.collect());
            }
            return Err(Reject::Duplicate);
        }
        if device == ctx.keys.device_id() {
            if !self.is_former(&run) {
                self.fall_behind(ctx, seq);
            }
        } else if source == Source::Gossip {
            self.within_limits(&run, ctx.now)?;
            if self.quarantine.contains(&device) && self.log.would_wait(&run) {
                return Err(Reject::Rule);
            }
        }
        match self.log.accept(run, source == Source::Sync, ctx.wall) {
            Outcome::Accepted(accepted) => Ok(self.take_in(ctx, accepted)),
            Outcome::Parked => Ok(Taken::Parked),
            Outcome::Forked(run) => {
                self.record_fork(ctx, device, seq, ForkBranch::of(&run).encode());
                Err(Reject::Fork)
            }
            Outcome::Refused(reject) => {
                if reject == Reject::Rule {
                    self.set_apart(device);
                }
                Err(reject)
            }
        }
    }

    /// A device signed what no honest program writes. Others may hold what it wrote before, and
    /// stand on it, so that is still taken in; but nothing of it is kept waiting or asked for.
    fn set_apart(&mut self, device: DeviceId) {
        self.log.stop_waiting_for(&device);
        if self.quarantine.len() >= QUARANTINE_MAX {
            self.quarantine.pop_first();
        }
        self.quarantine.insert(device);
    }

    /// Own entries that are not here come back from others: this is a restored backup or a copied
    /// disk. They are taken in like others', but there may be more of them, so nothing is written
    /// here any more: it would fork the chain.
    fn fall_behind(&mut self, ctx: &mut Ctx<'_>, seq: u64) {
        if self.behind {
            return;
        }
        self.behind = true;
        self.view_dirty = true;
        let (room, device) = (self.id(), ctx.keys.device_id());
        let row = self.member_row(device);
        row.forked = Some(seq);
        ctx.device(row);
        ctx.record(Event::ForkFound { room, device, seq });
    }

    /// What gossip may bring per device and time; sync asks for one page at a time and needs no
    /// such limit.
    fn within_limits(&mut self, run: &VerifiedRun, now: u64) -> Result<(), Reject> {
        let first = &run.first().header;
        if self.log.knows(&first.device) {
            return if self.within_rate(first.device, run, now) {
                Ok(())
            } else {
                Err(Reject::Rate)
            };
        }
        // Only the first entry of a chain makes a new device; what follows waits for it.
        let may_enter =
            first.seq > 0 || self.new_chains.take(1, CHAINS_PER_MINUTE, 60_000, CHAINS_BURST, now);
        if may_enter { Ok(()) } else { Err(Reject::Full) }
    }

    fn within_rate(&mut self, device: DeviceId, run: &VerifiedRun, now: u64) -> bool {
        let full =
            || (Bucket::full(DEVICE_ENTRIES_BURST, now), Bucket::full(DEVICE_BYTES_BURST, now));
        let (entries, bytes) = self.rates.entry(device).or_insert_with(full);
        entries.take(
            run.entries().len() as u64,
            DEVICE_ENTRIES_PER_S,
            1_000,
            DEVICE_ENTRIES_BURST,
            now,
        ) && bytes.take(run.len_bytes() as u64, DEVICE_BYTES_PER_S, 1_000, DEVICE_BYTES_BURST, now)
    }

    fn take_in(&mut self, ctx: &mut Ctx<'_>, accepted: Vec<Accepted>) -> Taken {
        let count = accepted.len();
        let mut owed: BTreeMap<DeviceId, u64> = BTreeMap::new();
        for Accepted { entry, eff, shown_ms } in accepted {
            *owed.entry(entry.header.device).or_default() += 1;
            let target = entry.content.as_ref().and_then(Content::target);
            let mut row = self.entry_row(ctx, &entry, (eff, shown_ms), target);
            let before = self.members.get(&row.device).map(|m| m.name.clone());
            self.meet(ctx, &entry);
            self.apply_budget(ctx, &mut row);
            if let Some(lack) = row.lack {
                self.bodies.want(entry.hash.id(), lack, ctx.now);
            }
            self.tell(ctx, &entry, &row, before);
            ctx.step.writes.push(Write::Append(row));
            if let Some(gone) = self.body_to_drop(&entry) {
                self.bodies.done(&gone);
                ctx.step.writes.push(Write::DropBody { room: self.id(), entry: gone });
            }
        }
        for (author, entries) in
            owed.into_iter().filter(|(author, _)| *author != ctx.keys.device_id())
        {
            self.owed.add(author, entries, ctx.now);
        }
        self.timers.changed(ctx.now, ctx.rng);
        self.touched = true;
        Taken::New(count)
    }

    fn entry_row(
        &mut self,
        ctx: &mut Ctx<'_>,
        entry: &VerifiedEntry,
        (eff, shown_ms): (u64, u64),
        target: Option<EntryId>,
    ) -> EntryRow {
        let journal = *ctx.journal;
        *ctx.journal += 1;
        let h = &entry.header;
        EntryRow {
            journal,
            room: self.id(),
            hash: entry.hash,
            device: h.device,
            seq: h.seq,
            kind: h.kind.code(),
            hlc: h.hlc,
            eff,
            lamport: h.lamport,
            arrived_ms: ctx.wall,
            shown_ms,
            target,
            entry: entry.sealed.clone(),
            lack: entry.sealed.body.is_none().then_some(Lack::NotGiven),
        }
    }

    /// Learns the author's name from a profile, and that it is alive.
    fn meet(&mut self, ctx: &mut Ctx<'_>, entry: &VerifiedEntry) {
        if let Some(Content::Profile { name, cert }) = &entry.content {
            let (name, identity) = (name.clone(), cert.identity);
            let row = self.member_row(entry.header.device);
            row.name = name;
            row.identity = Some(identity);
            ctx.device(row);
            // It may have said that it is there before its profile came.
            if self.is_present(&entry.header.device) {
                self.heard(ctx, entry.header.device);
            }
        }
    }

    pub(crate) fn member_row(&mut self, device: DeviceId) -> &mut DeviceRow {
        let room = self.id();
        self.members.entry(device).or_insert_with(|| DeviceRow {
            room,
            device,
            identity: None,
            name: String::new(),
            last_seen_ms: 0,
            acked: 0,
            muted: false,
            forked: None,
        })
    }

    /// A device proved that it is alive now. One that has written nothing is no recipient and takes
    /// no space.
    pub(crate) fn heard(&mut self, ctx: &mut Ctx<'_>, device: DeviceId) {
        if !self.log.knows(&device) {
            return;
        }
        let row = self.member_row(device);
        if ctx.wall.abs_diff(row.last_seen_ms) >= LAST_SEEN_WRITE_MS {
            row.last_seen_ms = ctx.wall;
            ctx.device(row);
        }
    }

    /// A device that was there is gone, and was last there at this time.
    pub(crate) fn gone(&mut self, ctx: &mut Ctx<'_>, device: DeviceId, at_ms: u64) {
        if !self.log.knows(&device) {
            return;
        }
        let row = self.member_row(device);
        // A time that is still to come was noted by a clock that was wrong.
        if row.last_seen_ms < at_ms || row.last_seen_ms > ctx.wall {
            row.last_seen_ms = at_ms;
            ctx.device(row);
        }
    }

    /// `before`: what its author was called until then.
    fn tell(
        &mut self,
        ctx: &mut Ctx<'_>,
        entry: &VerifiedEntry,
        row: &EntryRow,
        before: Option<String>,
    ) {
        let member = self.members.get(&row.device);
        if member.is_some_and(|m| m.muted) {
            return;
        }
        let line = timeline::Line { row, content: entry.content.as_ref() };
        let mut message = timeline::message(&line, member);
        message.name_mark = ctx.directory.mark_in(&row.room, &row.device);
        if message.kind == Kind::Profile && row.seq > 0 {
            message.former_name = before.filter(|name| !name.is_empty());
        }
        if row.device == ctx.keys.device_id() {
            message.own = true;
            message.state = Some(Delivery::Queued);
            ctx.name.clone_into(&mut message.name);
        }
        ctx.tell(Event::MessageAdded { message: Box::new(message) });
    }

    fn record_fork(&mut self, ctx: &mut Ctx<'_>, device: DeviceId, seq: u64, proof: Vec<u8>) {
        let room = self.id();
        let row = self.member_row(device);
        if row.forked.is_some() {
            return;
        }
        row.forked = Some(seq);
        ctx.device(row);
        self.log.mark_forked(&device);
        ctx.step.writes.push(Write::Fork { room, device, seq, proof });
        ctx.record(Event::ForkFound { room, device, seq });
    }

    /// What workers and status queries may know.
    pub(crate) fn view(&self, own: DeviceId) -> RoomView {
        RoomView {
            room: self.id(),
            name: self.row.name.as_str().into(),
            passphrase: self.row.passphrase,
            keys: self.keys.clone(),
            joined: !self.row.left,
            followed: self.is_followed(),
            up_to_date: u32::try_from(self.up_to_date(&own)).unwrap_or(u32::MAX),
            forwarding: !self.links.full_mesh,
            online: self.links.online.iter().copied().collect(),
            linked: self.links.linked_devices(),
            sent_below: self.links.sent_below(),
            own_next: self.log.next_seq(&own),
            behind: self.behind,
        }
    }
}

/// What became of a run that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    New(usize),
    Parked,
}
