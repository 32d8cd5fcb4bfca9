//! The network of a world: what becomes of a packet. A stand-in for the swarm: gossip with
//! duplicate suppression and forwarding by verdict, requests with answers and time-outs. Who is
//! linked with whom is in `links.rs`.

use std::collections::BTreeMap;

use crate::direct::frame;
use crate::error::Reject;
use crate::ids::{Peer, RoomId, TopicId};
use crate::sim::links::WireId;
use crate::sim::node::{Asked, Bytes};
use crate::sim::world::{Happening, World};
use crate::step::{GossipId, Input, RequestId, Verdict};
use crate::wire::{self, Gossip, Request};

/// How long a gossip layer remembers a message id.
const SEEN_MS: u64 = 120_000;
/// How long a shell waits for an answer.
const REQUEST_TIMEOUT_MS: u64 = 15_000;
/// Opened envelopes remembered: opening is a pure function of keys and bytes, so it is done once
/// per message and not once per node.
const OPENED_MAX: usize = 2_048;

/// What a fault weighs in the shell; five within a minute are too many.
const FAULT_POINTS: u32 = 10;

/// What travels on a link.
#[derive(Debug, Clone)]
pub enum Packet {
    /// A gossip message.
    Gossip(GossipId, TopicId, Bytes),
    /// The sender follows a topic, or no longer does.
    Follow(TopicId, bool),
    /// A request.
    Request(RequestId, Bytes),
    /// The answer to it.
    Answer(RequestId, Bytes),
    /// A direct frame.
    Direct(RequestId, Bytes),
}

/// Opened envelopes, by name, room, and whether the topic signature was checked.
pub type Opened = BTreeMap<(GossipId, RoomId, bool), Result<Gossip, Reject>>;

impl World {
    /// Puts a packet on the oldest connection to a node, if there is one.
    pub fn carry(&mut self, from: usize, to: usize, packet: Packet) {
        let wire = match self.nodes.get(from) {
            None => self.network.working(from, to),
            Some(n) => {
                let peer = self.peer_of(to);
                n.peers.get(&peer).and_then(|l| l.wires.first()).map(|w| w.0)
            }
        };
        if let Some(wire) = wire {
            self.carry_on(wire, from, to, packet);
        }
    }

    /// Puts a packet on a connection. What the network does to it is decided here.
    fn carry_on(&mut self, wire: WireId, from: usize, to: usize, packet: Packet) {
        let faulty = self.faulty;
        let (lost, twice) = match &packet {
            Packet::Gossip(_, _, bytes) => {
                self.quality.envelopes += 1;
                self.quality.envelope_bytes += bytes.len() as u64;
                (self.plan.loss, self.plan.duplicates)
            }
            Packet::Request(..) | Packet::Answer(..) => (self.plan.request_loss, 0),
            Packet::Direct(..) => (self.plan.request_loss, self.plan.duplicates),
            Packet::Follow(..) => (0, 0),
        };
        if !self.network.works(wire) || (faulty && self.rng.chance(lost)) {
            return;
        }
        let delay = match packet {
            // What a peer follows arrives in order: a later word must not be overtaken.
            Packet::Follow(..) => 3,
            _ if faulty || self.plan.calm => 1 + self.rng.below(self.plan.delay_ms),
            _ => 1 + self.rng.below(50),
        };
        if faulty && self.rng.chance(twice) {
            let later = self.rng.below(4_000);
            self.at(
                self.now + delay + later,
                Happening::Arrive { from, to, wire, packet: packet.clone() },
            );
        }
        self.at(self.now + delay, Happening::Arrive { from, to, wire, packet });
    }

    /// A packet arrives.
    pub fn arrive(&mut self, from: usize, to: usize, wire: WireId, packet: Packet) {
        if to > self.nodes.len() {
            // A stranger says nothing.
            return;
        }
        if to == self.nodes.len() {
            return self.attacker_hears(from, packet);
        }
        // What was on its way when the sender crashed still arrives, until the receiver notices
        // that the connection ended.
        let Some(peer) = self.peer_at(to, wire) else { return };
        match packet {
            Packet::Gossip(id, topic, bytes) => self.hear(from, to, peer, id, topic, bytes),
            Packet::Follow(topic, on) => {
                let topics = self.nodes[to].peer_topics.entry(peer.clone()).or_default();
                let input = if on {
                    topics.insert(topic);
                    Input::PeerSubscribed { peer, topic }
                } else {
                    topics.remove(&topic);
                    Input::PeerUnsubscribed { peer, topic }
                };
                self.input(to, input);
            }
            Packet::Request(request, bytes) => self.asked(from, to, wire, peer, request, &bytes),
            Packet::Direct(request, bytes) => {
                self.direct_asked(from, to, wire, peer, request, &bytes)
            }
            Packet::Answer(request, bytes) => self.answered(from, to, peer, request, &bytes),
        }
    }

    // ---- gossip ---------------------------------------------------------------------------------

    /// Sends an envelope of a node to everybody it is linked with that follows the topic.
    pub fn publish(&mut self, node: usize, topic: TopicId, bytes: Vec<u8>) {
        let id = gossip_id(&bytes);
        let until = self.now + SEEN_MS;
        self.nodes[node].seen.insert(id.clone(), until);
        self.spread(node, None, &id, topic, &bytes.into());
    }

    fn spread(
        &mut self,
        node: usize,
        but: Option<usize>,
        id: &GossipId,
        topic: TopicId,
        bytes: &Bytes,
    ) {
        for (peer, to) in self.nodes[node].followers(&topic) {
            if Some(to) == but {
                continue;
            }
            // A connection that changed is silent until the nudge, which follows the first
            // envelope: that one may be late, or lost.
            let Some(line) = self.nodes[node].peers.get_mut(&peer) else { continue };
            let (quiet, oldest) = (std::mem::take(&mut line.quiet), line.wires.first().copied());
            let lost = quiet && self.rng.chance(300);
            if let Some((wire, _)) = oldest.filter(|_| !lost) {
                self.carry_on(wire, node, to, Packet::Gossip(id.clone(), topic, bytes.clone()));
            }
        }
    }

    fn hear(
        &mut self,
        from: usize,
        to: usize,
        peer: Peer,
        id: GossipId,
        topic: TopicId,
        bytes: Bytes,
    ) {
        let now = self.now;
        let node = &mut self.nodes[to];
        if node.seen.get(&id).is_some_and(|until| *until > now) {
            return;
        }
        node.seen.insert(id.clone(), now + SEEN_MS);
        if node.seen.len() > 4_096 {
            node.seen.retain(|_, until| *until > now);
        }
        let Some((keys, forwarding)) = node.by_topic(&topic) else { return };
        let key = (id.clone(), keys.room, forwarding);
        if self.network.opened.len() > OPENED_MAX {
            self.network.opened.clear();
        }
        let opened = self
            .network
            .opened
            .entry(key)
            .or_insert_with(|| wire::open_envelope(&keys, &bytes, forwarding, &mut node.verifier))
            .clone();
        let (message, room) = (id.clone(), keys.room);
        let input = match opened {
            Ok(Gossip::Run(run)) => Input::Gossip { peer, message, room, run },
            Ok(Gossip::Beacon(ack)) => Input::Beacon { peer, message, ack },
            Ok(Gossip::Presence(presence)) => Input::Presence { peer, message, presence },
            Err(reject) => {
                self.say(|| format!("node {to} refuses an envelope of {from}: {reject}"));
                return self.penalise(to, from, reject);
            }
        };
        self.nodes[to].held.insert(id, (from, topic, bytes));
        self.input(to, input);
    }

    /// What the core thinks of a gossip message.
    pub fn judged(&mut self, node: usize, id: &GossipId, verdict: Verdict) {
        let Some((from, topic, bytes)) = self.nodes[node].held.remove(id) else {
            return self.fail(Some(node), "a second verdict for one message".to_owned());
        };
        if verdict == Verdict::Accept {
            self.spread(node, Some(from), id, topic, &bytes);
        }
    }

    // ---- requests -------------------------------------------------------------------------------

    /// A connection to a peer, any of those that a node believes to have.
    fn way_to(&mut self, node: usize, peer: &Peer) -> Option<(usize, WireId)> {
        let line = self.nodes[node].peers.get(peer)?;
        let (to, wires) = (line.other, line.wires.iter().map(|w| w.0).collect::<Vec<_>>());
        Some((to, self.rng.pick(&wires)))
    }

    /// A node asks a peer.
    pub fn ask(&mut self, node: usize, send: crate::step::Send) {
        let life = self.nodes[node].life;
        let Some((to, wire)) = self.way_to(node, &send.peer) else {
            return self
                .input(node, Input::RequestFailed { peer: send.peer, request: send.request });
        };
        if send.wants_page {
            self.quality.sync_bytes += send.bytes.len() as u64;
            self.nodes[node].syncs += 1;
        }
        let (room, page, bodies) = (send.room, send.wants_page, send.wants_bodies);
        let asked = Asked { peer: send.peer, wire, room, page, bodies, direct: false };
        self.nodes[node].asked.insert(send.request, asked);
        self.at(
            self.now + REQUEST_TIMEOUT_MS,
            Happening::Expire { node, life, request: send.request },
        );
        self.carry_on(wire, node, to, Packet::Request(send.request, send.bytes.into()));
    }

    /// A node sends a direct frame.
    pub fn send_direct(&mut self, node: usize, send: crate::step::DirectSend) {
        let life = self.nodes[node].life;
        let Some((to, wire)) = self.way_to(node, &send.peer) else {
            return self
                .input(node, Input::RequestFailed { peer: send.peer, request: send.request });
        };
        if send.bytes.len() > crate::limits::ENVELOPE_BYTES_MAX {
            return self
                .fail(Some(node), format!("sends a direct frame of {} bytes", send.bytes.len()));
        }
        self.nodes[node].directs += 1;
        let room = RoomId([0; 16]);
        let asked = Asked { peer: send.peer, wire, room, page: false, bodies: false, direct: true };
        self.nodes[node].asked.insert(send.request, asked);
        self.at(
            self.now + REQUEST_TIMEOUT_MS,
            Happening::Expire { node, life, request: send.request },
        );
        self.carry_on(wire, node, to, Packet::Direct(send.request, send.bytes.into()));
    }

    fn direct_asked(
        &mut self,
        from: usize,
        to: usize,
        wire: WireId,
        peer: Peer,
        request: RequestId,
        bytes: &[u8],
    ) {
        let node = &mut self.nodes[to];
        let me = node.peer.clone();
        match frame::open_request(&me, &peer, bytes, &mut node.verifier) {
            Ok(frame) => {
                let token = node.token(from, wire, request);
                self.input(to, Input::DirectAsked { peer, token, frame });
            }
            Err(reject) => {
                self.penalise(to, from, reject);
                self.carry_on(wire, to, from, Packet::Answer(request, frame::refused().into()));
            }
        }
    }

    /// A request was not answered in time.
    pub fn expire(&mut self, node: usize, life: u64, request: RequestId) {
        if self.nodes[node].life != life {
            return;
        }
        if let Some(asked) = self.nodes[node].asked.remove(&request) {
            self.input(node, Input::RequestFailed { peer: asked.peer, request });
        }
    }

    fn asked(
        &mut self,
        from: usize,
        to: usize,
        wire: WireId,
        peer: Peer,
        request: RequestId,
        bytes: &[u8],
    ) {
        let node = &mut self.nodes[to];
        let me = node.peer.clone();
        let opened = wire::request_epoch(bytes).and_then(|epoch| {
            let keys = node.by_epoch(&epoch).ok_or(Reject::Proof)?;
            wire::open_request(&keys, &me, &peer, bytes, &mut node.verifier)
        });
        let (input, answer) = match opened {
            Ok(Request::Sync(request_in)) => {
                let token = node.token(from, wire, request);
                (Some(Input::SyncAsked { peer, token, request: request_in }), None)
            }
            Ok(Request::Bodies { room, entries }) => {
                let token = node.token(from, wire, request);
                (Some(Input::BodiesAsked { peer, token, room, entries }), None)
            }
            Ok(Request::Ack(ack)) => (Some(Input::Ack { peer, ack }), Some(wire::response_ok())),
            Ok(Request::Hello(presence, process)) => {
                let connection = node.number(wire);
                (
                    Some(Input::Hello { peer, connection, presence, process }),
                    Some(wire::response_ok()),
                )
            }
            Err(reject) => {
                self.penalise(to, from, reject);
                (None, Some(wire::response_refused()))
            }
        };
        if let Some(answer) = answer {
            self.carry_on(wire, to, from, Packet::Answer(request, answer.into()));
        }
        if let Some(input) = input {
            self.input(to, input);
        }
    }

    /// A node answers a request by its token.
    pub fn respond(&mut self, node: usize, token: crate::step::Token, bytes: Vec<u8>) {
        let Some((to, wire, request)) = self.nodes[node].tokens.remove(&token) else {
            return self.fail(Some(node), "a second answer to one request".to_owned());
        };
        self.quality.sync_bytes += bytes.len() as u64;
        self.carry_on(wire, node, to, Packet::Answer(request, bytes.into()));
    }

    /// A node counts a fault of another one, as the shell does: who has too many is disconnected and
    /// refused for a while. Nobody honest may ever be charged with what weighs as a fault.
    pub fn penalise(&mut self, node: usize, other: usize, reason: Reject) {
        let points = match reason {
            _ if reason.is_fault() => FAULT_POINTS,
            Reject::Rate | Reject::Proof => 1,
            _ => return,
        };
        if other < self.nodes.len() && points == FAULT_POINTS {
            return self
                .fail(Some(node), format!("charges node {other}, who is honest, with: {reason}"));
        }
        let now = self.now;
        let n = &mut self.nodes[node];
        let faults = n.faults.entry(other).or_insert((0, now));
        let halvings = now.saturating_sub(faults.1) / 60_000;
        if halvings > 0 {
            *faults =
                (faults.0.checked_shr(u32::try_from(halvings).unwrap_or(64)).unwrap_or(0), now);
        }
        faults.0 += points;
        if faults.0 < 5 * FAULT_POINTS {
            return;
        }
        n.faults.remove(&other);
        n.blocked.insert(other, now + 5 * crate::sim::plan::MINUTE);
        if other < self.nodes.len() {
            return self.fail(Some(node), format!("refuses node {other}, who is honest"));
        }
        self.say(|| format!("node {node} refuses {other} for a while"));
        self.break_all(node, other);
    }

    fn answered(&mut self, from: usize, to: usize, peer: Peer, request: RequestId, bytes: &[u8]) {
        let node = &mut self.nodes[to];
        let Some(asked) = node.asked.remove(&request) else { return };
        if asked.direct {
            let me = node.peer.clone();
            let input = match frame::open_answer(&me, &peer, bytes, &mut node.verifier) {
                Ok(answer) => Input::DirectAnswered { peer, request, answer },
                Err(reject) => {
                    self.penalise(to, from, reject);
                    Input::RequestFailed { peer, request }
                }
            };
            return self.input(to, input);
        }
        if !asked.page && !asked.bodies {
            if !wire::response_is_ok(bytes) {
                self.input(to, Input::RequestFailed { peer, request });
            }
            return;
        }
        let me = node.peer.clone();
        let Some(keys) = node.views.get(&asked.room).map(|v| v.keys.clone()) else { return };
        if asked.bodies {
            let opened = wire::open_bodies(&keys, &me, &peer, bytes, &mut node.verifier);
            let input = match opened {
                Ok(bodies) => Input::BodiesCame { peer, request, room: keys.room, bodies },
                Err(_) => Input::RequestFailed { peer, request },
            };
            return self.input(to, input);
        }
        let input = match wire::open_page(&keys, &me, &peer, bytes, &mut node.verifier) {
            Ok(page) => Input::SyncPage {
                peer,
                request,
                room: keys.room,
                runs: page.runs,
                frontier: page.frontier,
                more: page.more,
                fault: page.fault,
            },
            Err(reject) => {
                self.penalise(to, from, reject);
                Input::RequestFailed { peer, request }
            }
        };
        self.input(to, input);
    }
}

/// Names a gossip message by its bytes, as the gossip layer does.
#[must_use]
pub fn gossip_id(bytes: &[u8]) -> GossipId {
    GossipId(crate::crypto::hash(crate::crypto::Context::ENVELOPE, &[bytes]).0[..16].to_vec())
}
