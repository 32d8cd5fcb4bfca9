//! What is known of one linked peer: its connections, its topics, whether it lives and whether it reads.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use klatch_core::ids::TopicId;
use libp2p::Multiaddr;
use libp2p::swarm::ConnectionId;

use super::meter::Meter;
use super::settings::{QUEUE_MESSAGES_MAX, SILENT_TICKS, STALLED_BYTES, STALLED_TICKS};

/// A linked peer.
pub(super) struct Link {
    pub(super) connections: Vec<ConnectionId>,
    pub(super) address: Multiaddr,
    pub(super) dialled: bool,
    pub(super) since: Instant,
    pub(super) rtt: Option<Duration>,
    /// Every well-formed topic the peer follows, ours or not.
    pub(super) topics: BTreeSet<TopicId>,
    /// Something was dropped: the driver has to be told.
    pub(super) slow_owed: bool,
    unsent: Unsent,
    meter: Arc<Meter>,
    read_seen: u64,
    silent_ticks: u32,
}

/// Why a link has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ailment {
    /// Nothing came for too long.
    Silent,
    /// Much waits and nothing leaves.
    Stalled,
}

impl Link {
    pub(super) fn new(connection: ConnectionId, address: Multiaddr, dialled: bool, meter: Arc<Meter>) -> Self {
        Self {
            connections: vec![connection],
            address,
            dialled,
            since: Instant::now(),
            rtt: None,
            topics: BTreeSet::new(),
            slow_owed: false,
            unsent: Unsent::new(meter.written()),
            read_seen: meter.read(),
            meter,
            silent_ticks: 0,
        }
    }

    /// Bytes were handed to gossipsub for this peer.
    pub(super) fn handed(&mut self, bytes: usize) {
        self.unsent.settle(self.meter.written());
        self.unsent.push(bytes);
    }

    /// gossipsub says that it dropped that many of them.
    pub(super) fn dropped(&mut self, messages: usize) {
        self.unsent.settle(self.meter.written());
        self.unsent.forget_newest(messages);
    }

    /// Handed over and not yet written, by our estimate.
    pub(super) fn unsent_bytes(&mut self) -> usize {
        self.unsent.settle(self.meter.written());
        self.unsent.bytes
    }

    /// Once per tick: is the peer alive, does it take what we send?
    pub(super) fn tick(&mut self) -> Option<Ailment> {
        let read = self.meter.read();
        self.silent_ticks = if read == self.read_seen { self.silent_ticks + 1 } else { 0 };
        self.read_seen = read;
        let moved = self.unsent.settle(self.meter.written());
        self.unsent.stalled_ticks =
            if moved || self.unsent.bytes < STALLED_BYTES { 0 } else { self.unsent.stalled_ticks + 1 };
        if self.silent_ticks >= SILENT_TICKS {
            Some(Ailment::Silent)
        } else if self.unsent.stalled_ticks >= STALLED_TICKS {
            Some(Ailment::Stalled)
        } else {
            None
        }
    }
}

/// Estimates what waits in gossipsub's queue of a peer: sizes handed over, oldest first, less what was written since.
/// Other streams write too, so the estimate errs on the low side; it never counts more messages than the queue holds.
struct Unsent {
    sizes: VecDeque<usize>,
    bytes: usize,
    written_seen: u64,
    stalled_ticks: u32,
}

impl Unsent {
    fn new(written: u64) -> Self {
        Self { sizes: VecDeque::new(), bytes: 0, written_seen: written, stalled_ticks: 0 }
    }

    fn push(&mut self, bytes: usize) {
        if self.sizes.len() < QUEUE_MESSAGES_MAX {
            self.sizes.push_back(bytes);
            self.bytes += bytes;
        }
    }

    fn forget_newest(&mut self, messages: usize) {
        for _ in 0..messages {
            let Some(size) = self.sizes.pop_back() else { return };
            self.bytes -= size;
        }
    }

    /// Takes off what was written since the last call; `true` if anything was.
    fn settle(&mut self, written: u64) -> bool {
        let mut left = usize::try_from(written - self.written_seen).unwrap_or(usize::MAX);
        let moved = left > 0;
        self.written_seen = written;
        while left > 0 {
            let Some(first) = self.sizes.front_mut() else { break };
            let taken = left.min(*first);
            *first -= taken;
            self.bytes -= taken;
            left -= taken;
            if *first == 0 {
                self.sizes.pop_front();
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_taken_off_oldest_first() {
        let mut unsent = Unsent::new(1_000);
        unsent.push(100);
        unsent.push(200);
        assert!(unsent.settle(1_150));
        assert_eq!((unsent.bytes, unsent.sizes.len()), (150, 1));
        assert!(!unsent.settle(1_150));
        unsent.push(50);
        unsent.forget_newest(1);
        assert_eq!(unsent.bytes, 150);
        assert!(unsent.settle(9_999));
        assert_eq!((unsent.bytes, unsent.sizes.len()), (0, 0));
        for _ in 0..10 * QUEUE_MESSAGES_MAX {
            unsent.push(1);
        }
        assert_eq!(unsent.bytes, QUEUE_MESSAGES_MAX);
    }
}
