//! What is known of one linked peer: its connections, its topics and whether it reads. Which of the
//! connections live, and which one is used, is judged in `settle.rs`.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use klatch_core::ids::TopicId;
use libp2p::Multiaddr;
use libp2p::swarm::ConnectionId;

use super::meter::Meter;
use super::probe::Pulse;
use super::settings::{QUEUE_MESSAGES_MAX, SLOW_PAUSE, STALLED_BYTES, STALLED_MOVE, STALLED_TICKS};
use super::settle::{Settle, View};

/// One connection.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    /// Larger than that of every connection that was made before.
    pub(super) number: u64,
    pub(super) address: Multiaddr,
    pub(super) dialled: bool,
    pub(super) direct: bool,
    pub(super) since: Instant,
    pub(super) pulse: Pulse,
    /// What the peer says over this connection that it follows.
    pub(super) topics: BTreeSet<TopicId>,
    /// It was told to close: nobody counts on it any more.
    pub(super) closing: bool,
}

/// A linked peer.
pub(super) struct Link {
    /// Oldest first.
    pub(super) connections: Vec<Connection>,
    pub(super) settle: Settle,
    pub(super) since: Instant,
    /// Every well-formed topic the peer follows, ours or not. What was said over a connection that
    /// has ended counts until the peer says otherwise.
    pub(super) topics: BTreeSet<TopicId>,
    /// The peer followed a topic of ours: it is wanted back when it is lost.
    pub(super) shared: bool,
    /// This process stood still: once a connection has proved itself, the driver has to be told.
    pub(super) renewal_owed: bool,
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
    read_at: Instant,
    stalled_ticks: u32,
}

impl Link {
    pub(super) fn new(meter: Arc<Meter>) -> Self {
        Self {
            connections: Vec::new(),
            settle: Settle::default(),
            since: Instant::now(),
            topics: BTreeSet::new(),
            shared: false,
            renewal_owed: false,
            slow_owed: false,
            slow_told: None,
            overflowed: false,
            written_at_drop: None,
            written_at_tick: meter.written(),
            unsent: Unsent::new(meter.written()),
            read_seen: meter.read(),
            read_at: Instant::now(),
            meter,
            stalled_ticks: 0,
        }
    }

    /// The connections that count, for judging.
    pub(super) fn views(&self) -> Vec<View> {
        let open = self.connections.iter().filter(|c| !c.closing);
        open.map(|c| View { id: c.id, direct: c.direct, since: c.since, heard: c.pulse.now() })
            .collect()
    }

    /// Where the peer was when it dialled us, if we have not dialled it.
    pub(super) fn origin(&self) -> Option<Multiaddr> {
        let mut direct = self.connections.iter().filter(|c| c.direct);
        let first = direct.next().filter(|c| !c.dialled)?;
        direct.all(|c| !c.dialled).then(|| first.address.clone())
    }

    /// The connection in use; the first one, should all be closing.
    pub(super) fn chosen(&self) -> Option<&Connection> {
        let id = self.settle.chosen();
        self.connections.iter().find(|c| Some(c.id) == id).or(self.connections.first())
    }

    /// The number of a connection; 0 if it is not here any more.
    pub(super) fn number(&self, id: ConnectionId) -> u64 {
        self.connections.iter().find(|c| c.id == id).map_or(0, |c| c.number)
    }

    /// Whether a connection of it ends at this address.
    pub(super) fn is_at(&self, address: &Multiaddr) -> bool {
        self.connections.iter().any(|c| c.address == *address)
    }

    pub(super) fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|c| c.id == id)
    }

    /// How long no byte has come from the peer, over any connection.
    pub(super) fn quiet(&mut self, now: Instant) -> Duration {
        let read = self.meter.read();
        if std::mem::replace(&mut self.read_seen, read) != read {
            self.read_at = now;
        }
        now.saturating_duration_since(self.read_at)
    }

    /// How long the connection in use has not answered, if that is longer than usual.
    pub(super) fn overdue(&self, now: Instant, limit: Duration) -> Option<Duration> {
        let connection = self.chosen()?;
        let last = connection.pulse.now().heard.unwrap_or(connection.since).max(self.read_at);
        let silent = now.saturating_duration_since(last);
        (silent >= limit).then_some(silent)
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
        let before = self.written_at_drop.replace(written);
        self.overflowed = before.is_some_and(|before| written < before + STALLED_MOVE);
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

    /// Once per tick: `true` when much waits for the peer and it takes nothing.
    pub(super) fn is_stalled(&mut self) -> bool {
        let written = self.meter.written();
        // Probes and their answers get through where nothing else does.
        let moved = written >= self.written_at_tick + STALLED_MOVE;
        if moved || self.stalled_ticks == 0 {
            self.written_at_tick = written;
        }
        self.unsent.settle(written);
        self.overflowed &= !moved;
        let much = self.overflowed || self.unsent.bytes >= STALLED_BYTES;
        self.stalled_ticks = if moved || !much { 0 } else { self.stalled_ticks + 1 };
        self.stalled_ticks >= STALLED_TICKS
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
    fn a_peer_that_takes_nothing_ails_only_with_much_waiting() {
        let meters = Meters::new(Arc::default());
        let peer = libp2p::PeerId::random();
        let mut link = Link::new(meters.of(peer));
        link.handed(STALLED_BYTES - 1);
        assert!((0..2 * STALLED_TICKS).all(|_| !link.is_stalled()));
        link.handed(1);
        let stalled = (1..).find(|_| link.is_stalled());
        assert_eq!(stalled, Some(STALLED_TICKS));
    }

    #[test]
    fn a_slow_peer_that_takes_a_little_is_kept_and_so_is_one_that_has_caught_up() {
        let meters = Meters::new(Arc::default());
        let peer = libp2p::PeerId::random();
        let meter = meters.of(peer);
        let mut link = Link::new(meter.clone());
        for _ in 0..5 * STALLED_TICKS {
            meter.wrote(STALLED_MOVE as usize);
            link.handed(STALLED_BYTES);
            assert!(
                !link.is_stalled(),
                "publishing in between does not hide that something was written"
            );
        }
        meter.wrote(usize::MAX / 2);
        link.dropped(1_000);
        assert!((0..2 * STALLED_TICKS).all(|_| !link.is_stalled()), "an old loss in an idle link");
        link.dropped(1);
        let stalled = (1..).find(|_| link.is_stalled());
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
