//! Connections of a pair as they come, go and are heard: keeps the list, lets `settle.rs` judge,
//! carries out its word, and tells the driver when a pair talks over another connection than
//! before.

use std::time::Instant;

use libp2p::PeerId;
use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;

use super::address;
use super::counters::count;
use super::dialer::Source;
use super::link::{Connection, Link};
use super::message::NetEvent;
use super::pause::Moved;
use super::peer_of;
use super::settings::PROVEN_MS;
use super::settle::{Act, Around};
use super::task::Task;

impl Task {
    pub(super) fn on_established(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
    ) {
        let (remote, dialled) = match endpoint {
            ConnectedPoint::Dialer { address, .. } => {
                (address::split_peer(address.clone()).1, true)
            }
            ConnectedPoint::Listener { send_back_addr, .. } => (send_back_addr.clone(), false),
        };
        if dialled {
            self.wanted.reached(&remote);
        }
        self.dialer.linked(connection, peer, dialled.then_some(&remote), self.now_ms());
        let pulse = self.swarm.behaviour().probe.pulse(connection);
        let meter = self.meters.of(peer);
        let fresh = !self.links.contains_key(&peer);
        self.established += 1;
        let link = self.links.entry(peer).or_insert_with(|| Link::new(meter));
        link.connections.push(Connection {
            id: connection,
            number: self.established,
            address: remote.clone(),
            dialled,
            direct: !endpoint.is_relayed(),
            since: Instant::now(),
            pulse,
            topics: Default::default(),
            closing: false,
        });
        if fresh {
            self.out.push(NetEvent::LinkUp { peer: peer_of(&peer), address: remote, dialled });
            self.judge(peer);
        } else {
            self.cast_doubt(peer, false);
        }
    }

    pub(super) fn on_closed(&mut self, peer: PeerId, connection: ConnectionId, left: u32) {
        if left > 0 {
            if let Some(link) = self.links.get_mut(&peer) {
                link.connections.retain(|c| c.id != connection);
            }
            return self.judge(peer);
        }
        let Some(link) = self.links.remove(&peer) else { return };
        let lived_ms = u64::try_from(link.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Who dialled us is looked for where it was: both transports dial from the port on which
        // they listen, if they can.
        let origin = link.chosen().filter(|c| !c.dialled && link.shared && lived_ms >= PROVEN_MS);
        if let Some(from) = origin {
            self.dialer.add(Some(peer), from.address.clone(), Source::Lost);
        }
        self.dialer.unlinked(peer, lived_ms, self.now_ms());
        for lane in [&mut self.room, &mut self.direct] {
            lane.serving.unlinked(&peer);
        }
        let unasked = [self.room.asking.unlinked(&peer), self.direct.asking.unlinked(&peer)];
        for id in unasked.into_iter().flatten() {
            count(&self.counters.requests_failed);
            self.out.push(NetEvent::RequestFailed { peer: peer_of(&peer), id });
        }
        self.out.push(NetEvent::LinkDown { peer: peer_of(&peer) });
    }

    /// Every connection of this peer has to prove itself anew. `grave`: or go, also if it is the
    /// last one.
    pub(super) fn cast_doubt(&mut self, peer: PeerId, grave: bool) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        let acts = link.settle.cast_doubt(&link.views(), grave, Instant::now());
        self.carry_out(peer, acts);
        self.judge(peer);
    }

    /// Looks at the connections of a peer.
    pub(super) fn judge(&mut self, peer: PeerId) {
        let lower = self.swarm.local_peer_id().to_bytes() < peer.to_bytes();
        let deaf = self.out.is_full();
        let now = Instant::now();
        let Some(link) = self.links.get_mut(&peer) else { return };
        let before = link.settle.chosen();
        let quiet = link.quiet(now);
        if deaf {
            link.connections.iter().for_each(|c| c.pulse.excuse());
        }
        let acts = link.settle.judge(&link.views(), Around { now, lower, quiet, deaf });
        let after = link.settle.chosen();
        self.carry_out(peer, acts);
        if let Some(chosen) = after
            && before != after
        {
            let net = self.swarm.behaviour_mut();
            self.room.asking.moved(&mut net.room, peer, chosen);
            self.direct.asking.moved(&mut net.direct, peer, chosen);
            if before.is_some() {
                self.renewed(peer);
            }
        }
        if self.links.get(&peer).is_some_and(|l| l.renewal_owed && !l.settle.in_doubt()) {
            self.renewed(peer);
        }
    }

    /// This process stood still: every connection has to prove itself at once, and who is missing
    /// is dialled at once. What was said meanwhile may be lost.
    pub(super) fn stood_still(&mut self) {
        for link in self.links.values_mut() {
            link.renewal_owed = true;
            link.connections.iter().for_each(|c| c.pulse.excuse());
        }
        self.doubt_all(|_| true);
        self.dialer.wake();
        self.dial_due();
    }

    /// The machine's addresses changed: every connection that this may touch has to prove itself,
    /// and who is missing is dialled. When an address is gone everybody is dialled beside the links
    /// that are probably dead, so that nobody has to wait until they are proved to be.
    pub(super) fn have_moved(&mut self, moved: Moved) {
        let far = moved.came || moved.went;
        self.doubt_all(|link| {
            far || link.connections.iter().any(|c| address::link_local(&c.address).is_some())
        });
        self.dialer.wake();
        if moved.went {
            self.dialer.doubt();
        }
        self.dial_due();
    }

    fn doubt_all(&mut self, touched: impl Fn(&Link) -> bool) {
        let peers: Vec<PeerId> =
            self.links.iter().filter(|(_, link)| touched(link)).map(|(peer, _)| *peer).collect();
        for peer in peers {
            self.cast_doubt(peer, true);
        }
    }

    /// What was said to this peer so far may be lost.
    fn renewed(&mut self, peer: PeerId) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.renewal_owed = false;
        }
        count(&self.counters.renewed);
        self.out.push(NetEvent::LinkRenewed { peer: peer_of(&peer) });
    }

    fn carry_out(&mut self, peer: PeerId, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Ask(id) => self.swarm.behaviour_mut().probe.ask(peer, id),
                Act::Keep(id) => self.swarm.behaviour_mut().probe.keep(peer, id),
                Act::Silent(id) => {
                    tracing::debug!("a connection does not answer and is closed");
                    count(&self.counters.silent_closed);
                    self.close(peer, id);
                }
                Act::Surplus(id) => {
                    tracing::debug!("one connection of several stays, another is closed");
                    self.close(peer, id);
                }
            }
        }
    }

    fn close(&mut self, peer: PeerId, id: ConnectionId) {
        if let Some(found) = self.links.get_mut(&peer).and_then(|link| link.connection(id)) {
            found.closing = true;
        }
        // It may have ended by itself.
        self.swarm.close_connection(id);
    }
}
