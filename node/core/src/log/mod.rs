//! The log of a room: one hash chain per device, linked to the others by causal parents
//! (PROTOCOL.md 5).
//!
//! The set held is causally closed: an entry is taken in only when its predecessor and all its
//! parents are. So whoever has an entry can serve everything below it, and display order is a pure
//! function of the set. What comes too early is parked, bounded, and asked for. Bodies are not kept
//! here.

pub mod entry;
mod parked;

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Reject;
use crate::ids::{DeviceId, DeviceShort, EntryHash, EntryId, HashShort};
use crate::limits::{CHAINS_MAX, CLOCK_AHEAD_MS_MAX, FRONTIER_MAX, LAMPORT_SLACK, PARENTS_MAX};
use crate::log::entry::{Place, VerifiedEntry, VerifiedRun, hlc_ms};
use crate::step::IndexRow;
use crate::times;
use crate::wire::Frontier;
use parked::Parked;

/// What the log keeps of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Display order, first key: hybrid logical clock, never below that of anything it follows.
    pub eff: u64,
    /// Display order, second key.
    pub lamport: u64,
    /// The time it shows here, Unix milliseconds ([`crate::times`]).
    pub shown_ms: u64,
    /// Who wrote it.
    pub author: DeviceShort,
    /// Place in its chain, as far as 32 bits go: so many entries are in no chain.
    pub seq: u32,
    /// Wire number of its kind.
    pub kind: u8,
}

fn short_seq(seq: u64) -> u32 {
    u32::try_from(seq).unwrap_or(u32::MAX)
}

#[derive(Debug, Clone, Copy)]
struct Chain {
    next: u64,
    head: EntryHash,
    eff: u64,
    lamport: u64,
    signed: Option<(u64, HashShort)>,
}

/// The log of one room.
#[derive(Debug, Default)]
pub struct Log {
    chains: BTreeMap<DeviceId, Chain>,
    index: BTreeMap<EntryId, Meta>,
    tips: BTreeMap<EntryId, u64>,
    parked: Parked,
    forked: BTreeSet<DeviceShort>,
    clock: u64,
}

/// An entry that was taken in, with its place in display order.
#[derive(Debug)]
pub struct Accepted {
    /// The entry.
    pub entry: VerifiedEntry,
    /// Display order, first key.
    pub eff: u64,
    /// The time it shows here, Unix milliseconds.
    pub shown_ms: u64,
}

/// What became of a run.
#[derive(Debug)]
pub enum Outcome {
    /// Taken in; these entries, including ones that had been parked, in an order that respects
    /// causality.
    Accepted(Vec<Accepted>),
    /// Something before it is missing.
    Parked,
    /// Another entry of this device is in its place: the proof of a fork.
    Forked(Box<VerifiedRun>),
    /// Refused.
    Refused(Reject),
}

/// Whether every parent must be here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strict {
    Yes,
    No,
}

/// When and how an entry came.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    at_ms: u64,
    /// From its author's hand or by gossip, rather than out of somebody's history.
    live: bool,
}

enum Check {
    Fits,
    Waits(Option<EntryId>),
    Known,
    Bad(Reject),
}

impl Log {
    /// Takes in an entry read from the store at start; rows come in journal order, so they fit.
    pub fn restore(&mut self, row: &IndexRow, own: DeviceId) {
        let meta = Meta {
            eff: row.eff,
            lamport: row.lamport,
            shown_ms: row.shown_ms,
            author: row.device.prefix(),
            seq: short_seq(row.seq),
            kind: row.kind,
        };
        self.index.insert(row.hash.id(), meta);
        let signed = self.chains.get(&row.device).and_then(|c| c.signed);
        let signed = if row.signed { Some((row.seq, row.hash.prefix())) } else { signed };
        let chain =
            Chain { next: row.seq + 1, head: row.hash, eff: row.eff, lamport: row.lamport, signed };
        self.chains.insert(row.device, chain);
        if row.device == own {
            self.clock = self.clock.max(row.hlc);
        }
    }

    /// After the last [`Log::restore`]: which parents were named is not stored, so every head
    /// counts as a tip until the next own entry follows them.
    pub fn restored(&mut self) {
        self.tips = self.chains.values().map(|c| (c.head.id(), c.lamport)).collect();
    }

    /// The place of the next own entry. Advances the clock.
    pub fn place(&mut self, own: DeviceId, now_ms: u64) -> Place {
        let now = now_ms << 16;
        let most = now_ms.saturating_add(CLOCK_AHEAD_MS_MAX) << 16;
        // A clock that was wrong once must not date everything written afterwards: order comes from
        // `eff` and lamport, which never go back, so this one may.
        let ran_ahead = self.clock > most && !planted!(ClockNeverBack);
        self.clock = if ran_ahead { now } else { (self.clock + 1).max(now) };
        let chain = self.chains.get(&own).copied();
        let head = chain.map(|c| c.head.id());
        let mut tips: Vec<(u64, EntryId)> = self
            .tips
            .iter()
            .filter(|(id, _)| Some(**id) != head)
            .map(|(id, l)| (*l, *id))
            .collect();
        // Others may hold another branch of a forked chain: naming it would make them wait for what
        // they will not take.
        tips.retain(|(_, id)| self.index.get(id).is_none_or(|m| !self.forked.contains(&m.author)));
        tips.sort_unstable_by(|a, b| b.cmp(a));
        tips.truncate(PARENTS_MAX);
        let below = tips.iter().map(|(l, _)| *l).chain(chain.map(|c| c.lamport)).max();
        let mut parents: Vec<EntryId> = tips.into_iter().map(|(_, id)| id).collect();
        parents.sort_unstable();
        Place {
            seq: chain.map_or(0, |c| c.next),
            prev: chain.map(|c| c.head),
            parents,
            lamport: below.map_or(0, |l| l.saturating_add(1)),
            hlc: self.clock,
        }
    }

    /// Takes in an own entry that was just composed at [`Log::place`]; returns its first display
    /// key and the time it shows.
    pub fn append_own(&mut self, entry: &VerifiedEntry, now_ms: u64) -> (u64, u64) {
        self.insert(entry, false, Arrival { at_ms: now_ms, live: true })
    }

    /// The own run up to here was signed: frontiers may name its end.
    pub fn mark_signed(&mut self, own: DeviceId) {
        if let Some(chain) = self.chains.get_mut(&own) {
            chain.signed = Some((chain.next - 1, chain.head.prefix()));
        }
    }

    /// Whether every entry of a run is here.
    #[must_use]
    pub fn has_all(&self, run: &VerifiedRun) -> bool {
        run.entries().iter().all(|e| self.index.contains_key(&e.hash.id()))
    }

    /// Takes in a verified run, or parks it, or says why not. `served` says whether a member sent
    /// the run from its log.
    pub fn accept(&mut self, run: VerifiedRun, served: bool, now_ms: u64) -> Outcome {
        if planted!(ParkedForgotten) && self.parked.holds(&run) {
            return Outcome::Refused(Reject::Duplicate);
        }
        match self.check(&run, Strict::Yes) {
            Check::Known => Outcome::Refused(Reject::Duplicate),
            Check::Bad(Reject::Fork) => Outcome::Forked(Box::new(run)),
            Check::Bad(reject) => Outcome::Refused(reject),
            Check::Waits(missing) => {
                if self.parked.insert(run, missing, served) {
                    Outcome::Parked
                } else {
                    Outcome::Refused(Reject::Rate)
                }
            }
            Check::Fits => {
                let mut out = Vec::new();
                self.take_in(run, Arrival { at_ms: now_ms, live: !served }, &mut out);
                Outcome::Accepted(out)
            }
        }
    }

    /// Nobody has what the parked runs follow. Those that a member served from its log stood there
    /// with their parents, so the parents lie in a branch that was refused here, of a chain that
    /// forked: they are passed over (PROTOCOL.md 5.5). The rest was invented, or will come again:
    /// it is dropped.
    pub(crate) fn give_up_waiting(&mut self, now_ms: u64) -> Vec<Accepted> {
        if planted!(ParkedForgotten) {
            return Vec::new();
        }
        let mut served = self.parked.drain();
        // Whatever one of them follows has a smaller lamport clock.
        served.sort_by_key(|r| r.first().header.lamport);
        let mut out = Vec::new();
        for run in served {
            if matches!(self.check(&run, Strict::No), Check::Fits) {
                self.take_in(run, Arrival { at_ms: now_ms, live: false }, &mut out);
            }
        }
        out
    }

    /// Takes in a run that fits, and every parked run that fits then.
    fn take_in(&mut self, run: VerifiedRun, arrival: Arrival, out: &mut Vec<Accepted>) {
        let mut ready = Vec::new();
        self.append(run, arrival, out, &mut ready);
        while let Some((run, served)) = ready.pop() {
            match self.check(&run, Strict::Yes) {
                Check::Fits => {
                    self.append(run, Arrival { live: !served, ..arrival }, out, &mut ready)
                }
                Check::Waits(missing) => {
                    self.parked.insert(run, missing, served);
                }
                Check::Known | Check::Bad(_) => {}
            }
        }
    }

    fn append(
        &mut self,
        run: VerifiedRun,
        arrival: Arrival,
        out: &mut Vec<Accepted>,
        ready: &mut Vec<(VerifiedRun, bool)>,
    ) {
        for entry in run.into_entries() {
            if self.index.contains_key(&entry.hash.id()) {
                continue;
            }
            if entry.header.hlc >> 16 <= arrival.at_ms.saturating_add(CLOCK_AHEAD_MS_MAX) {
                self.clock = self.clock.max(entry.header.hlc);
            }
            let signed = entry.sealed.signature.is_some();
            let (eff, shown_ms) = self.insert(&entry, signed, arrival);
            ready.extend(self.parked.take_after(&entry));
            out.push(Accepted { entry, eff, shown_ms });
        }
    }

    /// Returns the first display key and the time shown.
    fn insert(&mut self, entry: &VerifiedEntry, signed: bool, arrival: Arrival) -> (u64, u64) {
        let (h, id) = (&entry.header, entry.hash.id());
        let chain = self.chains.get(&h.device);
        let parents = h.parents.iter().filter_map(|p| self.index.get(p)).map(|m| m.eff);
        let eff = parents.chain(chain.map(|c| c.eff)).max().unwrap_or(0).max(h.hlc);
        let eff = if planted!(OrderByArrival) { eff.max(self.clock) } else { eff };
        let follows = h.parents.iter().copied().chain(h.prev.map(|p| p.id()));
        let follows = follows.filter_map(|p| self.index.get(&p)).map(|m| m.shown_ms);
        // The latest that can be true: a time that was shown under a wrong clock of this node is
        // not one of them.
        let follows = follows.filter(|f| times::is_plausible(*f, arrival.at_ms)).max();
        let shown_ms = times::shown_ms(hlc_ms(h.hlc), arrival.at_ms, follows, arrival.live);
        let before = chain.and_then(|c| c.signed);
        let signed = if signed { Some((h.seq, entry.hash.prefix())) } else { before };
        for p in h.parents.iter().chain(h.prev.map(|p| p.id()).as_ref()) {
            self.tips.remove(p);
        }
        self.tips.insert(id, h.lamport);
        let (author, kind) = (h.device.prefix(), h.kind.code());
        let seq = short_seq(h.seq);
        self.index.insert(id, Meta { eff, lamport: h.lamport, shown_ms, author, seq, kind });
        self.chains.insert(
            h.device,
            Chain { next: h.seq + 1, head: entry.hash, eff, lamport: h.lamport, signed },
        );
        (eff, shown_ms)
    }

    /// Whether a run can be taken in now. Looks at the run as a whole: entries in it may name one
    /// another.
    fn check(&self, run: &VerifiedRun, strict: Strict) -> Check {
        let device = run.first().header.device;
        let chain = self.chains.get(&device);
        // In a room that refuses new chains, parents may lie in a chain that was refused here: they
        // are passed over.
        let full = self.chains.len() >= CHAINS_MAX;
        if full && chain.is_none() {
            return Check::Bad(Reject::Full);
        }
        let next = chain.map_or(0, |c| c.next);
        let fresh: Vec<&VerifiedEntry> =
            run.entries().iter().skip_while(|e| self.index.contains_key(&e.hash.id())).collect();
        let Some(first) = fresh.first() else { return Check::Known };
        if first.header.seq < next {
            return Check::Bad(Reject::Fork);
        }
        if first.header.seq > next && !planted!(AcceptGap) {
            return Check::Waits(None);
        }
        if first.header.prev != chain.map(|c| c.head) && !planted!(AcceptGap) {
            return Check::Bad(Reject::Fork);
        }
        let mut lamport = chain.map(|c| c.lamport);
        let inside: BTreeSet<EntryId> = fresh.iter().map(|e| e.hash.id()).collect();
        for e in &fresh {
            let mut passed_over = false;
            for p in &e.header.parents {
                match self.index.get(p) {
                    Some(meta) => lamport = lamport.max(Some(meta.lamport)),
                    None if inside.contains(p) => return Check::Bad(Reject::Rule),
                    None if full || strict == Strict::No || planted!(AcceptOrphan) => {
                        passed_over = true
                    }
                    None => return Check::Waits(Some(*p)),
                }
            }
            let expected = lamport.map_or(0, |l| l.saturating_add(1));
            let most = if passed_over { expected.saturating_add(LAMPORT_SLACK) } else { expected };
            if !(expected..=most).contains(&e.header.lamport) && !planted!(SkipLamport) {
                return Check::Bad(Reject::Rule);
            }
            lamport = Some(e.header.lamport);
        }
        Check::Fits
    }

    /// The last signed entry of each chain.
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        let mut out: Frontier = Vec::with_capacity(self.chains.len());
        for (device, chain) in self.chains.iter().take(FRONTIER_MAX) {
            if let Some((seq, hash)) = chain.signed
                && out.last().is_none_or(|l| l.0 != device.prefix())
            {
                out.push((device.prefix(), seq, hash));
            }
        }
        out
    }

    /// The frontier of one chain.
    #[must_use]
    pub fn frontier_of(&self, device: &DeviceId) -> Frontier {
        let signed = self.chains.get(device).and_then(|c| c.signed);
        signed.map(|(seq, hash)| (device.prefix(), seq, hash)).into_iter().collect()
    }

    /// Whether `theirs` names something that is not here.
    #[must_use]
    pub fn lacks(&self, theirs: &Frontier) -> bool {
        theirs.iter().any(|(device, seq, _)| {
            !self.forked.contains(device) && self.chain_of(*device).is_none_or(|c| c.next <= *seq)
        })
    }

    fn chain_of(&self, device: DeviceShort) -> Option<&Chain> {
        let mut from = [0; 32];
        from[..16].copy_from_slice(&device.0);
        let (id, chain) = self.chains.range(DeviceId(from)..).next()?;
        (id.prefix() == device).then_some(chain)
    }

    /// What is known of an entry.
    #[must_use]
    pub fn meta(&self, id: &EntryId) -> Option<&Meta> {
        self.index.get(id)
    }

    /// Position of the next entry of a device.
    #[must_use]
    pub fn next_seq(&self, device: &DeviceId) -> u64 {
        self.chains.get(device).map_or(0, |c| c.next)
    }

    /// Whether the device has written here.
    #[must_use]
    pub fn knows(&self, device: &DeviceId) -> bool {
        self.chains.contains_key(device)
    }

    /// Whether runs wait for something that is missing.
    #[must_use]
    pub fn has_gap(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Drops everything that waits. Sync brings it again.
    pub(crate) fn drop_parked(&mut self) {
        if planted!(ParkedForgotten) {
            return;
        }
        self.parked = Parked::default();
    }

    /// A device forked: each node keeps the branch it saw first, so nobody is asked for more of it,
    /// and own entries do not name it.
    pub(crate) fn mark_forked(&mut self, device: &DeviceId) {
        self.forked.insert(device.prefix());
    }

    /// What `theirs` says of chains that forked.
    pub(crate) fn forked_in<'f>(
        &self,
        theirs: &'f Frontier,
    ) -> impl Iterator<Item = &'f (DeviceShort, u64, HashShort)> {
        theirs.iter().filter(|(device, _, _)| self.forked.contains(device))
    }

    /// The first chain of which `theirs` names an entry, in a place that is taken here by another
    /// one.
    pub(crate) fn contradicted(&self, theirs: &Frontier) -> Option<DeviceShort> {
        let other = |(device, seq, hash): &&(DeviceShort, u64, HashShort)| {
            let ours = self.chain_of(*device).filter(|c| c.next > *seq);
            ours.is_some_and(|c| c.head.prefix() != *hash && !self.holds(*device, hash))
        };
        theirs.iter().find(other).map(|f| f.0)
    }

    fn holds(&self, device: DeviceShort, hash: &HashShort) -> bool {
        self.named(hash).any(|meta| meta.author == device)
    }

    /// Whether this entry is the one in this place of a chain.
    #[must_use]
    pub fn holds_at(&self, device: DeviceShort, seq: u64, hash: &HashShort) -> bool {
        let seq = short_seq(seq);
        self.named(hash).any(|meta| meta.author == device && meta.seq == seq)
    }

    fn named(&self, hash: &HashShort) -> impl Iterator<Item = &Meta> {
        let (mut from, hash) = (EntryId([0; 16]), hash.0);
        from.0[..8].copy_from_slice(&hash);
        self.index.range(from..).take_while(move |(id, _)| id.0[..8] == hash).map(|(_, meta)| meta)
    }

    /// Whether a run would have to wait for something.
    #[must_use]
    pub fn would_wait(&self, run: &VerifiedRun) -> bool {
        matches!(self.check(run, Strict::Yes), Check::Waits(_))
    }

    /// Drops what waits of a device.
    pub(crate) fn stop_waiting_for(&mut self, device: &DeviceId) {
        self.parked.forget(device);
    }

    /// Whether what waits keeps within its bounds.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn parked_within_bounds(&self) -> bool {
        self.parked.within_bounds()
    }

    /// Entries held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Device chains held.
    #[must_use]
    pub fn chains(&self) -> usize {
        self.chains.len()
    }
}
