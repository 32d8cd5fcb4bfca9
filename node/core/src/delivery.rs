//! Acknowledgements, beacons, the window of own messages and their delivery states (PROTOCOL.md 9).
//!
//! This file owns what others have said about having our entries, and what we owe them in the same
//! way. What is on disk where is decided by signed acknowledgements only; a link that took bytes
//! proves nothing but `sent`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::cbor::{self, DecodeError};
use crate::crypto::group::RoomKeys;
use crate::crypto::{Context, Verifier, hash, sign};
use crate::error::Reject;
use crate::identity::Keys;
use crate::ids::{DeviceId, Digest, EntryId, RoomId, Signature};
use crate::limits::{
    ACK_DELAY_MS, ACK_ENTRIES, OUTBOX_BYTES_MAX, REQUEST_BYTES_MAX, WINDOW_BYTES, WINDOW_ENTRIES,
};
use crate::log::entry::SealedEntry;
use crate::wire::{Frontier, frontier_ok};

type AckFields = (u8, RoomId, DeviceId, Frontier, Signature);

/// `Ack[room, device, frontier, sig]`: a device says, signed, what is on its disk. Point to point
/// it names the addressed author's chain; as a beacon it names all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAck {
    /// The room.
    pub room: RoomId,
    /// Who says so.
    pub device: DeviceId,
    /// What it has.
    pub frontier: Frontier,
}

impl VerifiedAck {
    const VERSION: u8 = 1;

    fn digest(room: &RoomId, device: &DeviceId, frontier: &Frontier) -> Digest {
        hash(Context::ACK, &[&cbor::encode(&(Self::VERSION, room, device, frontier))])
    }

    /// What it says, in short: two that say the same have the same.
    #[must_use]
    pub fn says(&self) -> Digest {
        Self::digest(&self.room, &self.device, &self.frontier)
    }

    /// Signs what this device has.
    #[must_use]
    pub fn issue(keys: &Keys, room: RoomId, frontier: &Frontier) -> Vec<u8> {
        let device = keys.device_id();
        let signature =
            sign(keys.device_key(), Context::ACK, &Self::digest(&room, &device, frontier));
        cbor::encode(&(Self::VERSION, room, device, frontier, signature))
    }

    /// Checks form, room and signature.
    ///
    /// # Errors
    /// [`Reject`].
    pub fn verify(keys: &RoomKeys, bytes: &[u8], verifier: &mut Verifier) -> Result<Self, Reject> {
        let (v, room, device, frontier, signature): AckFields =
            cbor::decode(bytes, REQUEST_BYTES_MAX)?;
        if v != Self::VERSION {
            return Err(DecodeError::Unknown.into());
        }
        if room != keys.room {
            return Err(Reject::UnknownRoom);
        }
        if !frontier_ok(&frontier) {
            return Err(DecodeError::Bounds.into());
        }
        if !verifier.check(
            &device.0,
            Context::ACK,
            &Self::digest(&room, &device, &frontier),
            &signature,
        ) {
            return Err(Reject::Signature);
        }
        Ok(Self { room, device, frontier })
    }
}

/// Own entries that are on disk and wait for the window: gossip is a hint, so what does not fit is
/// left to sync.
#[derive(Debug, Default)]
pub struct Outbox {
    runs: VecDeque<Waiting>,
    bytes: usize,
    /// A run was dropped from memory: only sync can deliver it.
    pub skipped: bool,
}

/// A run that waits.
#[derive(Debug)]
struct Waiting {
    seq: u64,
    run: Vec<SealedEntry>,
    /// The messages whose words are in it, their own or those of an edit.
    says: BTreeSet<EntryId>,
}

impl Outbox {
    /// Adds a signed run whose first entry is at `seq`; `says` names the messages whose words are
    /// in it.
    pub fn push(&mut self, seq: u64, run: Vec<SealedEntry>, says: BTreeSet<EntryId>) {
        self.bytes += bytes_of(&run);
        self.runs.push_back(Waiting { seq, run, says });
        while self.bytes > OUTBOX_BYTES_MAX && self.runs.len() > 1 {
            self.pop();
            self.skipped = true;
        }
    }

    /// Position of the oldest waiting entry.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.runs.front().map(|w| w.seq)
    }

    /// Takes the oldest run.
    pub fn pop(&mut self) -> Option<(u64, Vec<SealedEntry>)> {
        let Waiting { seq, run, .. } = self.runs.pop_front()?;
        self.bytes = self.bytes.saturating_sub(bytes_of(&run));
        Some((seq, run))
    }

    /// A message was deleted: its words do not leave from here any more. A run is published whole
    /// or not at all, so what else is in it is left to sync.
    pub fn withdraw(&mut self, message: &EntryId) {
        let before = self.runs.len();
        self.runs.retain(|w| !w.says.contains(message));
        self.skipped |= self.runs.len() < before;
        self.bytes = self.runs.iter().map(|w| bytes_of(&w.run)).sum();
    }

    /// Forgets everything: nobody is connected, sync will deliver.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.bytes = 0;
    }

    /// Waiting runs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Waiting bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

pub(crate) fn bytes_of(run: &[SealedEntry]) -> usize {
    run.iter().map(SealedEntry::len).sum()
}

/// Own runs that are under way: published, and not yet acknowledged by everybody who holds the
/// window (PROTOCOL.md 9.2).
#[derive(Debug, Default)]
pub struct Window {
    /// Where each ends, and its bytes.
    runs: VecDeque<(u64, usize)>,
    bytes: usize,
}

impl Window {
    /// Whether a run whose first entry is at `first` may leave. Everybody who holds the window has
    /// what is below `acked`; `None` if nobody holds it.
    pub fn admits(&mut self, first: u64, acked: Option<u64>) -> bool {
        let acked = acked.unwrap_or(u64::MAX);
        while let Some((_, bytes)) = self.runs.pop_front_if(|(below, _)| *below <= acked) {
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        first < acked.saturating_add(WINDOW_ENTRIES) && self.bytes < WINDOW_BYTES
    }

    /// A run of `bytes` has left; all its entries are below `below`.
    pub fn published(&mut self, below: u64, bytes: usize) {
        self.runs.push_back((below, bytes));
        self.bytes += bytes;
    }

    /// Bytes under way, as of the last time somebody asked to be admitted.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Acknowledgements owed to authors.
#[derive(Debug, Default)]
pub struct Owed {
    authors: BTreeMap<DeviceId, Debt>,
}

#[derive(Debug, Clone, Copy)]
struct Debt {
    entries: u64,
    due_ms: u64,
}

impl Owed {
    /// `entries` more of `author` are on disk.
    pub fn add(&mut self, author: DeviceId, entries: u64, now: u64) {
        let debt =
            self.authors.entry(author).or_insert(Debt { entries: 0, due_ms: now + ACK_DELAY_MS });
        debt.entries += entries;
        if debt.entries >= ACK_ENTRIES || planted!(AckBeforeCommit) {
            debt.due_ms = now;
        }
    }

    /// Takes the authors whose acknowledgement is due.
    pub fn take_due(&mut self, now: u64) -> Vec<DeviceId> {
        let due: Vec<_> =
            self.authors.iter().filter(|(_, d)| d.due_ms <= now).map(|(a, _)| *a).collect();
        for author in &due {
            self.authors.remove(author);
        }
        due
    }

    /// When the next one is due.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        self.authors.values().map(|d| d.due_ms).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{ENTRY_BYTES_MAX, LAG_ENTRIES};

    #[test]
    fn window_is_as_wide_as_the_entries_it_counts_from_the_slowest_that_holds_it() {
        let mut window = Window::default();
        window.published(10, 300);
        assert!(window.admits(10 + WINDOW_ENTRIES - 1, Some(10)));
        assert!(!window.admits(10 + WINDOW_ENTRIES, Some(10)));
        assert!(window.admits(10 + WINDOW_ENTRIES, None), "nobody holds it");
    }

    #[test]
    fn few_large_runs_close_the_window_until_one_of_them_is_acknowledged() {
        let mut window = Window::default();
        let half = WINDOW_BYTES / 2;
        window.published(1, half);
        assert!(window.admits(1, Some(0)), "half of the bytes are free");
        window.published(3, half);
        assert!(!window.admits(3, Some(0)));
        assert!(window.admits(3, Some(2)), "the first is with everybody");
        window.published(4, half);
        assert!(!window.admits(4, Some(2)), "half of a run that is acknowledged counts whole");
        assert!(window.admits(4, Some(3)));
        assert!(window.admits(4, None));
        assert_eq!(window.bytes(), 0, "nobody holds it, so nothing is under way");
    }

    #[test]
    fn who_lags_can_be_told_however_large_the_entries_are() {
        let mut window = Window::default();
        let mut under_way = 0;
        while window.admits(under_way, Some(0)) {
            under_way += 1;
            window.published(under_way, ENTRY_BYTES_MAX);
        }
        assert!(under_way >= LAG_ENTRIES, "the fastest gets that far ahead of the slowest");
    }
}
