//! The way out to the driver: offers events to its sink, in order, and keeps what the sink has no
//! room for.

use std::collections::VecDeque;

use super::message::{Delivered, NetEvent};
use super::settings::{EVENTS_PENDING_MAX, GOSSIP_PENDING_BYTES_MAX};

/// The driver's sink.
pub(super) type Sink = Box<dyn FnMut(NetEvent) -> Delivered + Send>;

/// The sink and the events that wait for it.
pub(super) struct Outlet {
    sink: Sink,
    pending: VecDeque<NetEvent>,
    gossip_bytes: usize,
    closed: bool,
}

impl Outlet {
    pub(super) fn new(sink: Sink) -> Self {
        Self { sink, pending: VecDeque::new(), gossip_bytes: 0, closed: false }
    }

    /// Never drops: the caller stops producing while [`Self::is_full`].
    pub(super) fn push(&mut self, event: NetEvent) {
        if self.closed {
            return;
        }
        if self.pending.is_empty() {
            match (self.sink)(event) {
                Delivered::Taken => {}
                Delivered::Full(event) => self.keep(event),
                Delivered::Closed => self.closed = true,
            }
        } else {
            self.keep(event);
        }
    }

    /// Gossip may be lost: `false` when there is no room for these bytes.
    pub(super) fn push_gossip(&mut self, event: NetEvent) -> bool {
        if self.gossip_bytes + gossip_bytes(&event) > GOSSIP_PENDING_BYTES_MAX {
            return false;
        }
        self.push(event);
        true
    }

    /// Offers what waits until the sink is full again.
    pub(super) fn flush(&mut self) {
        while let Some(event) = self.pending.pop_front() {
            let bytes = gossip_bytes(&event);
            match (self.sink)(event) {
                Delivered::Taken => self.gossip_bytes -= bytes,
                Delivered::Full(event) => {
                    self.pending.push_front(event);
                    return;
                }
                Delivered::Closed => {
                    self.closed = true;
                    self.pending.clear();
                    self.gossip_bytes = 0;
                }
            }
        }
    }

    /// Too much waits: stop making more.
    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= EVENTS_PENDING_MAX
    }

    /// Less than half of what may wait does.
    pub(super) fn is_calm(&self) -> bool {
        self.pending.len() < EVENTS_PENDING_MAX / 2
            && self.gossip_bytes < GOSSIP_PENDING_BYTES_MAX / 2
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// The driver no longer listens.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    fn keep(&mut self, event: NetEvent) {
        self.gossip_bytes += gossip_bytes(&event);
        self.pending.push_back(event);
    }
}

fn gossip_bytes(event: &NetEvent) -> usize {
    match event {
        NetEvent::Gossip { bytes, .. } => bytes.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{TrySendError, sync_channel};

    use klatch_core::ids::{Peer, TopicId};
    use klatch_core::step::GossipId;

    use super::*;

    fn gossip(n: usize) -> NetEvent {
        NetEvent::Gossip {
            peer: Peer(vec![1]),
            message: GossipId(vec![2]),
            topic: TopicId([3; 32]),
            bytes: vec![0; n],
        }
    }

    #[test]
    fn a_busy_driver_loses_gossip_beyond_the_bound_and_nothing_else() {
        let (tx, rx) = sync_channel(1);
        let mut outlet = Outlet::new(Box::new(move |event| match tx.try_send(event) {
            Ok(()) => Delivered::Taken,
            Err(TrySendError::Full(event)) => Delivered::Full(event),
            Err(TrySendError::Disconnected(_)) => Delivered::Closed,
        }));
        let big = GOSSIP_PENDING_BYTES_MAX / 4;
        let taken = (0..10).filter(|_| outlet.push_gossip(gossip(big))).count();
        assert_eq!(taken, 5, "one in the channel, four in the queue");
        for i in 0..EVENTS_PENDING_MAX {
            outlet.push(NetEvent::LinkDown { peer: Peer(vec![i as u8]) });
        }
        assert!(outlet.is_full() && !outlet.is_calm());
        let mut seen = 0;
        while let Ok(event) = rx.try_recv() {
            assert_eq!(matches!(event, NetEvent::Gossip { .. }), seen < 5, "order is kept");
            seen += 1;
            outlet.flush();
        }
        assert_eq!(seen, 5 + EVENTS_PENDING_MAX);
        assert!(outlet.is_calm() && outlet.gossip_bytes == 0);
        drop(rx);
        outlet.push(gossip(1));
        assert!(outlet.is_closed());
    }
}
