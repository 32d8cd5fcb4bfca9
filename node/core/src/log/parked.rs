//! Runs that came before something they follow: bounded, woken exactly when what they wait for
//! arrives.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{DeviceId, EntryId};
use crate::limits::{PARKED_BYTES_MAX, PARKED_PER_CHAIN_MAX};
use crate::log::entry::{VerifiedEntry, VerifiedRun};

type Key = (DeviceId, u64);

/// A run that waits, and whether a member served it from its log (else it is only hearsay).
#[derive(Debug)]
struct Waiting {
    run: VerifiedRun,
    served: bool,
}

/// The gap buffer of one room.
#[derive(Debug, Default)]
pub struct Parked {
    runs: BTreeMap<Key, Waiting>,
    waiting: BTreeMap<EntryId, BTreeSet<Key>>,
    bytes: usize,
}

impl Parked {
    /// Holds a run back until its predecessor (`missing` is `None`) or a parent arrives. `false`
    /// when there is no room for it: it is dropped, sync will bring it.
    pub fn insert(&mut self, run: VerifiedRun, missing: Option<EntryId>, served: bool) -> bool {
        let device = run.first().header.device;
        let key = (device, run.first().header.seq);
        if let Some(there) = self.runs.get_mut(&key)
            && there.run.last().hash == run.last().hash
        {
            there.served |= served;
            return true;
        }
        // Of two runs in one place the later one stays: either may be the branch that fits.
        self.remove(&key);
        let in_chain = self.runs.range((device, 0)..=(device, u64::MAX)).count();
        if planted!(ParkWithoutBound) {
            self.bytes -= self.bytes.min(run.len_bytes());
        } else if in_chain >= PARKED_PER_CHAIN_MAX
            || self.bytes + run.len_bytes() > PARKED_BYTES_MAX
        {
            return false;
        }
        self.bytes += run.len_bytes();
        if let Some(id) = missing {
            self.waiting.entry(id).or_default().insert(key);
        }
        self.runs.insert(key, Waiting { run, served });
        true
    }

    /// Takes the runs that waited for `entry`: the next one of its chain, and those that name it as
    /// a parent. Runs of the same chain that `entry` has overtaken are dropped.
    pub fn take_after(&mut self, entry: &VerifiedEntry) -> Vec<(VerifiedRun, bool)> {
        let (device, seq) = (entry.header.device, entry.header.seq);
        if planted!(ParkedForgotten) {
            return Vec::new();
        }
        let mut keys = self.waiting.remove(&entry.hash.id()).unwrap_or_default();
        keys.insert((device, seq + 1));
        let passed: Vec<Key> =
            self.runs.range((device, 0)..=(device, seq)).map(|(k, _)| *k).collect();
        for key in passed {
            if let Some(waiting) = self.runs.get(&key)
                && waiting.run.last().header.seq <= seq
            {
                self.remove(&key);
            }
        }
        keys.iter().filter_map(|k| self.remove(k)).collect()
    }

    /// Whether a run in this place waits already.
    pub fn holds(&self, run: &VerifiedRun) -> bool {
        self.runs.contains_key(&(run.first().header.device, run.first().header.seq))
    }

    /// Empties the buffer and returns the runs that members served from their logs; hearsay is
    /// dropped.
    pub fn drain(&mut self) -> Vec<VerifiedRun> {
        let all = std::mem::take(self);
        all.runs.into_values().filter(|w| w.served).map(|w| w.run).collect()
    }

    /// Drops everything of a device.
    pub fn forget(&mut self, device: &DeviceId) {
        let keys: Vec<Key> =
            self.runs.range((*device, 0)..=(*device, u64::MAX)).map(|(k, _)| *k).collect();
        for key in keys {
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &Key) -> Option<(VerifiedRun, bool)> {
        let Waiting { run, served } = self.runs.remove(key)?;
        self.bytes = self.bytes.saturating_sub(run.len_bytes());
        for entry in run.entries() {
            for parent in &entry.header.parents {
                if let Some(keys) = self.waiting.get_mut(parent) {
                    keys.remove(key);
                    if keys.is_empty() {
                        self.waiting.remove(parent);
                    }
                }
            }
        }
        Some((run, served))
    }

    /// Whether every chain keeps within its share.
    #[cfg(feature = "sim")]
    pub fn within_bounds(&self) -> bool {
        let mut per_chain: BTreeMap<DeviceId, usize> = BTreeMap::new();
        self.runs.keys().for_each(|(device, _)| *per_chain.entry(*device).or_default() += 1);
        self.bytes <= PARKED_BYTES_MAX && per_chain.values().all(|n| *n <= PARKED_PER_CHAIN_MAX)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}
