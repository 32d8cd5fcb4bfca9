//! What the task does by the clock and at the end: liveness of links, bounds on what waits for
//! them, status, shutdown.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::StreamExt;
use klatch_core::query::Mdns;
use libp2p::{Multiaddr, PeerId};
use tokio::time;

use super::counters::count;
use super::discovery::Watcher;
use super::link::Link;
use super::message::{MdnsStatus, NetEvent, PeerStatus, Status};
use super::pause::Moved;
use super::peer_of;
use super::settings::{CLOSE, DRAIN, DRAIN_STEP, OVERDUE, TICK, UNSENT_BYTES_MAX};
use super::task::Task;
use super::topics::ident;

impl Task {
    /// Looks after links, refused peers and dials.
    pub(super) fn on_tick(&mut self) {
        let moved = std::mem::take(&mut self.moved);
        if let Some(late) = self.pauses.look(TICK) {
            tracing::info!(seconds = late.as_secs(), "this process stood still");
            self.stood_still();
        } else if moved != Moved::default() {
            tracing::info!("the addresses of this machine changed");
            self.have_moved(moved);
        }
        let now_ms = self.now_ms();
        let peers: Vec<PeerId> = self.links.keys().copied().collect();
        for peer in peers {
            self.judge(peer);
            if self.links.get_mut(&peer).is_some_and(Link::is_stalled) {
                tracing::info!("link closed: the peer takes nothing");
                count(&self.counters.stalled_closed);
                // It may be closing already.
                let _ = self.swarm.disconnect_peer_id(peer);
            }
        }
        for peer in self.faults.released(now_ms) {
            self.swarm.behaviour_mut().blocked.unblock_peer(peer);
        }
        self.dialer.forget(now_ms);
        self.dial_due();
        self.tell_slow();
    }

    /// All peers together may hold up so much and no more: whoever holds up most has to go.
    pub(super) fn shed(&mut self) {
        let waiting: Vec<(usize, PeerId)> =
            self.links.iter_mut().map(|(peer, link)| (link.unsent_bytes(), *peer)).collect();
        if waiting.iter().map(|(bytes, _)| bytes).sum::<usize>() > UNSENT_BYTES_MAX
            && let Some((bytes, worst)) = waiting.into_iter().max()
        {
            tracing::info!(bytes, "link closed: too much waits for it");
            count(&self.counters.stalled_closed);
            let _ = self.swarm.disconnect_peer_id(worst);
        }
    }

    /// Says which peers lost something, not too often and once the driver has time to do something
    /// about it.
    fn tell_slow(&mut self) {
        if !self.out.is_calm() {
            return;
        }
        for (peer, link) in self.links.iter_mut() {
            if link.owes_slow() {
                self.out.push(NetEvent::Slow { peer: peer_of(peer) });
            }
        }
    }

    /// What is connected now.
    pub(super) fn status(&mut self) -> Status {
        let mdns = self.mdns_status();
        let now_ms = self.now_ms();
        let linked = self.dialer.linked_at();
        let outlook = |address: &_| (linked.contains(address), self.dialer.next_dial(address));
        let wanted = self.wanted.list(now_ms, outlook);
        let (topics, now) = (&self.topics, Instant::now());
        let peers = self.links.iter_mut().map(|(peer, link)| PeerStatus {
            peer: peer_of(peer),
            address: link.chosen().map_or_else(Multiaddr::empty, |c| c.address.clone()),
            dialled: link.chosen().is_some_and(|c| c.dialled),
            up: link.since.elapsed(),
            connections: link.connections.len(),
            rtt: link.chosen().and_then(|c| c.pulse.now().rtt),
            overdue: link.overdue(now, OVERDUE),
            topics: link
                .topics
                .iter()
                .filter(|t| topics.find(&ident(**t).hash()).is_some())
                .count(),
            unsent_bytes: link.unsent_bytes(),
        });
        Status {
            wanted,
            peer: peer_of(self.swarm.local_peer_id()),
            peers: peers.collect(),
            listening: self.listening(),
            stays_here: self.stays_here,
            dialling: self.dialer.missing(),
            mdns,
            topics: self.topics.len(),
            events_pending: self.out.len(),
            counters: self.counters.snapshot(),
        }
    }

    fn mdns_status(&self) -> MdnsStatus {
        let behaviour = self.swarm.behaviour().mdns.as_ref();
        let six = self.swarm.behaviour().mdns_six.as_ref();
        let state = match (self.mdns_wanted, &behaviour) {
            (false, _) => Mdns::Off,
            (true, None) => Mdns::Failed,
            (true, Some(_)) => Mdns::On,
        };
        // Several addresses of one peer are one neighbour.
        let found: BTreeSet<&PeerId> =
            [behaviour, six].into_iter().flatten().flat_map(|b| b.discovered_nodes()).collect();
        MdnsStatus { state, found: found.len(), heard: self.mdns_heard.map(|at| at.elapsed()) }
    }

    /// Lets queued bytes leave, closes every connection, removes the address file. Events are no
    /// longer reported.
    pub(super) async fn stop(mut self) {
        let removed = self.watcher.as_ref().map(Watcher::stop);
        let end = time::Instant::now() + DRAIN;
        while time::Instant::now() < end
            && self.links.values_mut().any(|link| link.unsent_bytes() > 0)
        {
            self.poll_for(DRAIN_STEP).await;
        }
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // It may be closing already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let end = time::Instant::now() + CLOSE;
        while time::Instant::now() < end && self.swarm.connected_peers().next().is_some() {
            self.poll_for(DRAIN_STEP).await;
        }
        if let Some(removed) = removed {
            // Too late is as good as never: the process ends, and others remove the files of dead
            // processes.
            let _ = time::timeout_at(end, removed).await;
        }
    }

    /// Lets the swarm work for a moment, whatever it reports.
    async fn poll_for(&mut self, moment: Duration) {
        let _ = time::timeout(moment, self.swarm.select_next_some()).await;
    }
}
