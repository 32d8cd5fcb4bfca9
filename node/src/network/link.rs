//! What is known of one linked peer: its connections, its topics, whether it lives and whether it
//! reads.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use klatch_core::ids::TopicId;
use libp2p::Multiaddr;
use libp2p::swarm::ConnectionId;

use super::meter::Meter;
use super::settings::{QUEUE_MESSAGES_MAX, SILENT_TICKS, SLOW_PAUSE, STALLED_BYTES, STALLED_TICKS};

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
    slow_told: Option<Instant>,
    /// gossipsub dropped messages twice and wrote nothing in between. It counts what is forwarded,
    /// which we cannot.
    overflowed: bool,
    written_at_drop: Option<u64>,
    written_at_tick: u64,
    unsent: Unsent,
    meter: Arc<Meter>,
    read_seen: u64,
    silent_ticks: u32,
    stalled_ticks: u32,
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
    pub(super) fn new(
        connection: ConnectionId,
        address: Multiaddr,
        dialled: bool,
        meter: Arc<Meter>,
    ) -> Self {
        Self {
            connections: vec![connection],
            address,
            dialled,
            since: Instant::now(),
            rtt: None,
            topics: BTreeSet::new(),
            slow_owed: false,
            slow_told: None,
            overflowed: false,
            written_at_drop: None,
            written_at_tick: meter.written(),
            unsent: Unsent::new(meter.written()),
            read_seen: meter.read(),
            meter,
            silent_ticks: 0,
            stalled_ticks: 0,
        }
    }

    /// Bytes were handed to gossipsub for this peer.
    pub(super) fn handed(&mut self, bytes: usize) {
        self.unsent.settle(self.meter.written());
        self.unsent.push(bytes);
    }

    /// gossipsub says that it dropped that many of them.
    pub(super) fn dropped(&mut self, messages: usize) {
        let written = self.meter.written();
        self.unsent.settle(written);
        self.unsent.forget_newest(messages);
        self.overflowed = self.written_at_drop.replace(written) == Some(written);
    }

    /// Handed over and not yet written, by our estimate.
    pub(super) fn unsent_bytes(&mut self) -> usize {
        self.unsent.settle(self.meter.written());
        self.unsent.bytes
    }

    /// Whether to tell the driver now that something was dropped.
    pub(super) fn owes_slow(&mut self) -> bool {
        let due = self.slow_owed && self.slow_told.is_none_or(|told| told.elapsed() >= SLOW_PAUSE);
        if due {
            self.slow_owed = false;
            self.slow_told = Some(Instant::now());
        }
        due
    }

    /// Once per tick: is the peer alive, does it take what we send? `deaf`: we do not read
    /// ourselves.
    pub(super) fn tick(&mut self, deaf: bool) -> Option<Ailment> {
        let read = self.meter.read();
        self.silent_ticks = if read == self.read_seen && !deaf { self.silent_ticks + 1 } else { 0 };
        self.read_seen = read;
        let written = self.meter.written();
        let moved = written != self.written_at_tick;
        self.written_at_tick = written;
        self.unsent.settle(written);
        self.overflowed &= !moved;
        let much = self.overflowed || self.unsent.bytes >= STALLED_BYTES;
        self.stalled_ticks = if moved || !much { 0 } else { self.stalled_ticks + 1 };
        if self.silent_ticks >= SILENT_TICKS {
            Some(Ailment::Silent)
        } else if self.stalled_ticks >= STALLED_TICKS {
            Some(Ailment::Stalled)
        } else {
            None
        }
    }
}

/// Estimates what waits in gossipsub's queue of a peer: sizes handed over, oldest first, less what
/// was written since. Other streams write too, so the estimate errs on the low side; it never
/// counts more messages than the queue holds.
struct Unsent {
    sizes: VecDeque<usize>,
    bytes: usize,
    written_seen: u64,
    /// Messages not noted because the queue was full: gossipsub will report them as dropped.
    overflow: usize,
}

impl Unsent {
    fn new(written: u64) -> Self {
        Self { sizes: VecDeque::new(), bytes: 0, written_seen: written, overflow: 0 }
    }

    fn push(&mut self, bytes: usize) {
        if self.sizes.len() < QUEUE_MESSAGES_MAX {
            self.sizes.push_back(bytes);
            self.bytes += bytes;
        } else {
            self.overflow += 1;
        }
    }

    fn forget_newest(&mut self, messages: usize) {
        let noted = messages.saturating_sub(self.overflow);
        self.overflow = self.overflow.saturating_sub(messages);
        for _ in 0..noted {
            let Some(size) = self.sizes.pop_back() else { return };
            self.bytes -= size;
        }
    }

    /// Takes off what was written since the last call.
    fn settle(&mut self, written: u64) {
        let mut left = usize::try_from(written - self.written_seen).unwrap_or(usize::MAX);
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
    }
}

#[cfg(test)]
mod tests {
    use super::super::meter::Meters;
    use super::*;

    #[test]
    fn a_silent_peer_ails_after_its_time_and_not_while_we_are_deaf() {
        let meters = Meters::new(Arc::default());
        let peer = libp2p::PeerId::random();
        let mut link = Link::new(
            ConnectionId::new_unchecked(1),
            super::super::address::any_tcp(1),
            true,
            meters.of(peer),
        );
        for _ in 0..5 * SILENT_TICKS {
            assert_eq!(link.tick(true), None);
        }
        let silent = (1..).find(|_| link.tick(false).is_some());
        assert_eq!(silent, Some(SILENT_TICKS));
        assert_eq!(link.tick(false), Some(Ailment::Silent));
    }

    #[test]
    fn a_peer_that_takes_nothing_ails_only_with_much_waiting() {
        let meters = Meters::new(Arc::default());
        let peer = libp2p::PeerId::random();
        let mut link = Link::new(
            ConnectionId::new_unchecked(1),
            super::super::address::any_tcp(1),
            true,
            meters.of(peer),
        );
        link.handed(STALLED_BYTES - 1);
        assert!((0..2 * STALLED_TICKS).all(|_| link.tick(true).is_none()));
        link.handed(1);
        let stalled = (1..).find(|_| link.tick(true).is_some());
        assert_eq!(stalled, Some(STALLED_TICKS));
    }

    #[test]
    fn a_slow_peer_that_takes_a_little_is_kept_and_so_is_one_that_has_caught_up() {
        let meters = Meters::new(Arc::default());
        let peer = libp2p::PeerId::random();
        let meter = meters.of(peer);
        let mut link = Link::new(
            ConnectionId::new_unchecked(1),
            super::super::address::any_tcp(1),
            true,
            meter.clone(),
        );
        for _ in 0..5 * STALLED_TICKS {
            meter.wrote(1);
            link.handed(STALLED_BYTES);
            assert_eq!(
                link.tick(true),
                None,
                "publishing in between does not hide that something was written"
            );
        }
        meter.wrote(usize::MAX / 2);
        link.dropped(1_000);
        assert!(
            (0..2 * STALLED_TICKS).all(|_| link.tick(true).is_none()),
            "an old loss in an idle link"
        );
        link.dropped(1);
        let stalled = (1..).find(|_| link.tick(true).is_some());
        assert_eq!(stalled, Some(STALLED_TICKS), "losses go on and nothing leaves");
    }

    #[test]
    fn what_was_written_is_taken_off_oldest_first() {
        let mut unsent = Unsent::new(1_000);
        unsent.push(100);
        unsent.push(200);
        unsent.settle(1_150);
        assert_eq!((unsent.bytes, unsent.sizes.len()), (150, 1));
        unsent.settle(1_150);
        unsent.push(50);
        unsent.forget_newest(1);
        assert_eq!(unsent.bytes, 150);
        unsent.settle(9_999);
        assert_eq!((unsent.bytes, unsent.sizes.len()), (0, 0));
        for _ in 0..10 * QUEUE_MESSAGES_MAX {
            unsent.push(1);
        }
        unsent.forget_newest(9 * QUEUE_MESSAGES_MAX);
        assert_eq!(
            unsent.bytes, QUEUE_MESSAGES_MAX,
            "what never was in the queue is not taken out of it"
        );
    }
}
