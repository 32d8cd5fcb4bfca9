//! The network of a world: who is linked with whom, and what becomes of a packet. A stand-in for
//! the swarm: gossip with duplicate suppression and forwarding by verdict, requests with answers
//! and time-outs.

use std::collections::{BTreeMap, BTreeSet};

use crate::direct::frame;
use crate::error::Reject;
use crate::ids::{Peer, RoomId, TopicId};
use crate::sim::node::{Asked, Bytes};
use crate::sim::plan::{Plan, Shape};
use crate::sim::rng::Seeded;
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

#[derive(Debug, Default)]
struct Link {
    alive: Option<u64>,
    blocked_until: u64,
    may_rise_at: u64,
    /// It is looked at again when it may rise.
    rising: bool,
}

/// Links between nodes, by index; an attacker has the index after the last node.
#[derive(Debug)]
pub struct Network {
    links: BTreeMap<(usize, usize), Link>,
    wanted: BTreeSet<(usize, usize)>,
    groups: Vec<u64>,
    next_link: u64,
    opened: BTreeMap<(GossipId, RoomId, bool), Result<Gossip, Reject>>,
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl Network {
    /// The links that a plan wants.
    #[must_use]
    pub fn new(plan: &Plan, rng: &mut Seeded) -> Self {
        let n = plan.nodes;
        let mut network = Self {
            links: (1..n).flat_map(|b| (0..b).map(move |a| ((a, b), Link::default()))).collect(),
            wanted: BTreeSet::new(),
            groups: Vec::new(),
            next_link: 0,
            opened: BTreeMap::new(),
        };
        if plan.attacker {
            // Whom the attacker reaches does not change with the shape.
            network.links.extend(
                (0..n).filter(|i| *i == 0 || rng.chance(500)).map(|i| ((i, n), Link::default())),
            );
        }
        network.shape(n, plan.shape, true, rng);
        network
    }

    /// Changes who is linked with whom; `attacked` says whether the attacker keeps its links.
    pub fn shape(&mut self, n: usize, shape: Shape, attacked: bool, rng: &mut Seeded) {
        let chords: Vec<_> = (0..n / 2).map(|_| pair(rng.index(n), rng.index(n))).collect();
        let wants = |a: usize, b: usize| match shape {
            Shape::Mesh => b < n,
            Shape::Star => a == 0 && b < n,
            Shape::Line => a + 1 == b && b < n,
            Shape::Ring => (a + 1 == b && b < n) || (a == 0 && b + 1 == n),
            Shape::Chords => {
                (a + 1 == b && b < n) || (a == 0 && b + 1 == n) || chords.contains(&(a, b))
            }
        };
        self.wanted = self
            .links
            .keys()
            .filter(|(a, b)| (*b == n && attacked) || wants(*a, *b))
            .copied()
            .collect();
    }

    /// Links an attacker with everybody.
    pub fn let_attacker_reach_all(&mut self, n: usize) {
        let attacked = self.links.keys().any(|(_, b)| *b == n);
        for node in (0..n).filter(|_| attacked) {
            self.links.entry((node, n)).or_default();
            self.wanted.insert((node, n));
        }
    }

    /// Whether this link lives.
    #[must_use]
    pub fn is_alive(&self, a: usize, b: usize, link: u64) -> bool {
        self.links.get(&pair(a, b)).is_some_and(|l| l.alive == Some(link))
    }

    /// The living link between two.
    #[must_use]
    pub fn link(&self, a: usize, b: usize) -> Option<u64> {
        self.links.get(&pair(a, b)).and_then(|l| l.alive)
    }

    /// The pairs that may be linked.
    #[must_use]
    pub fn pairs(&self) -> Vec<(usize, usize)> {
        self.links.keys().copied().collect()
    }

    /// Keeps a link down for a while.
    pub fn block(&mut self, a: usize, b: usize, until: u64) {
        if let Some(link) = self.links.get_mut(&pair(a, b)) {
            link.blocked_until = link.blocked_until.max(until);
        }
    }

    /// Lets every link come up again.
    pub fn unblock(&mut self) {
        for link in self.links.values_mut() {
            link.blocked_until = 0;
        }
    }

    /// Divides the nodes into groups that cannot reach one another.
    pub fn divide(&mut self, groups: Vec<u64>) {
        self.groups = groups;
    }

    /// Ends a division.
    pub fn whole(&mut self) {
        self.groups.clear();
    }

    /// The transport peer id of a node's start.
    #[must_use]
    pub fn name_peer(&self, node: usize, life: u64) -> Peer {
        let mut bytes = vec![0x12, u8::try_from(node).unwrap_or(0xff)];
        bytes.extend_from_slice(&life.to_le_bytes()[..4]);
        Peer(bytes)
    }

    fn together(&self, a: usize, b: usize) -> bool {
        self.groups.get(a).copied().unwrap_or(0) == self.groups.get(b).copied().unwrap_or(0)
    }
}

impl World {
    fn is_running(&self, node: usize) -> bool {
        self.nodes.get(node).map_or(self.attacker.is_some(), |n| n.machine.is_some())
    }

    /// The transport peer id of a node or of the attacker.
    #[must_use]
    pub fn peer_of(&self, node: usize) -> Peer {
        self.nodes.get(node).map_or_else(|| self.network.name_peer(node, 0), |n| n.peer.clone())
    }

    /// Brings up the links that should be up, ends those that should not.
    pub fn reconcile(&mut self) {
        for (a, b) in self.network.pairs() {
            let ready = self.network.wanted.contains(&(a, b))
                && self.is_running(a)
                && self.is_running(b)
                && self.network.together(a, b);
            let Some(link) = self.network.links.get_mut(&(a, b)) else { continue };
            let wanted = ready && link.blocked_until <= self.now;
            match (wanted, link.alive) {
                (true, None) if link.may_rise_at <= self.now => {
                    self.network.next_link += 1;
                    let number = self.network.next_link;
                    link.alive = Some(number);
                    link.rising = false;
                    let delay = 1 + self.rng.below(10);
                    self.at(self.now + delay, Happening::Linked { a, b, link: number });
                }
                (true, None) if !link.rising => {
                    let at = link.may_rise_at;
                    link.rising = true;
                    self.at(at, Happening::Reconcile);
                }
                (false, Some(_)) => self.end_link(a, b),
                _ => {}
            }
        }
    }

    fn end_link(&mut self, a: usize, b: usize) {
        let crashed = !self.is_running(a) || !self.is_running(b);
        // Who is left alone by a crash notices late: the link is half open until then.
        let delay = if crashed && self.faulty { self.rng.below(5_000) } else { self.rng.below(20) };
        let Some(link) = self.network.links.get_mut(&pair(a, b)) else { return };
        link.alive = None;
        link.may_rise_at = self.now + delay + 1;
        link.rising = false;
        for (node, other) in [(a, b), (b, a)] {
            let Some(n) = self.nodes.get(node).filter(|n| n.machine.is_some()) else { continue };
            let life = n.life;
            let Some(peer) = n.peers.iter().find(|(_, (i, _))| *i == other).map(|(p, _)| p.clone())
            else {
                continue;
            };
            self.at(self.now + delay, Happening::Unlinked { node, life, other, peer });
        }
    }

    /// Both ends learn of a new link.
    pub fn linked(&mut self, a: usize, b: usize, link: u64) {
        if !self.network.is_alive(a, b, link) {
            return;
        }
        for (node, other) in [(a, b), (b, a)] {
            let peer = self.peer_of(other);
            if let Some(n) = self.nodes.get_mut(node) {
                n.peers.insert(peer.clone(), (other, link));
                self.input(node, Input::LinkUp { peer });
            }
            for topic in self.followed(node) {
                self.carry(node, other, Packet::Follow(topic, true));
            }
        }
    }

    fn followed(&self, node: usize) -> Vec<TopicId> {
        match self.nodes.get(node) {
            Some(n) => n.subscribed.iter().copied().collect(),
            None => self.places.iter().map(|p| p.keys.topic).collect(),
        }
    }

    /// One end learns that a link ended.
    pub fn unlinked(&mut self, node: usize, life: u64, other: usize, peer: &Peer) {
        let n = &mut self.nodes[node];
        if n.life != life || n.machine.is_none() {
            return;
        }
        n.peers.remove(peer);
        n.peer_topics.remove(&other);
        let failed: Vec<RequestId> =
            n.asked.iter().filter(|(_, a)| a.to == other).map(|(r, _)| *r).collect();
        for request in failed {
            self.nodes[node].asked.remove(&request);
            self.input(node, Input::RequestFailed { peer: peer.clone(), request });
        }
        self.input(node, Input::LinkDown { peer: peer.clone() });
    }

    /// Puts a packet on a link, if there is one. What the network does to it is decided here.
    pub fn carry(&mut self, from: usize, to: usize, packet: Packet) {
        let Some(link) = self.network.link(from, to) else { return };
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
        if faulty && self.rng.chance(lost) {
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
                Happening::Arrive { from, to, link, packet: packet.clone() },
            );
        }
        self.at(self.now + delay, Happening::Arrive { from, to, link, packet });
    }

    /// A packet arrives.
    pub fn arrive(&mut self, from: usize, to: usize, link: u64, packet: Packet) {
        if to >= self.nodes.len() {
            return self.attacker_hears(from, packet);
        }
        // What was on its way when the sender crashed still arrives, until the receiver notices
        // that the link ended.
        let known =
            self.nodes[to].peers.iter().find(|(_, l)| **l == (from, link)).map(|(p, _)| p.clone());
        let Some(peer) = known else { return };
        match packet {
            Packet::Gossip(id, topic, bytes) => self.hear(from, to, peer, id, topic, bytes),
            Packet::Follow(topic, on) => {
                let topics = self.nodes[to].peer_topics.entry(from).or_default();
                let input = if on {
                    topics.insert(topic);
                    Input::PeerSubscribed { peer, topic }
                } else {
                    topics.remove(&topic);
                    Input::PeerUnsubscribed { peer, topic }
                };
                self.input(to, input);
            }
            Packet::Request(request, bytes) => self.asked(from, to, link, peer, request, &bytes),
            Packet::Direct(request, bytes) => {
                self.direct_asked(from, to, link, peer, request, &bytes)
            }
            Packet::Answer(request, bytes) => self.answered(to, peer, request, &bytes),
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
        let to: Vec<usize> = self.nodes[node]
            .peer_topics
            .iter()
            .filter(|(peer, topics)| Some(**peer) != but && topics.contains(&topic))
            .map(|(peer, _)| *peer)
            .collect();
        for to in to {
            self.carry(node, to, Packet::Gossip(id.clone(), topic, bytes.clone()));
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
            Ok(Gossip::Presence(presence)) => {
                Input::Presence { peer, message: Some(message), presence }
            }
            Err(reject) => {
                return self.say(|| format!("node {to} refuses an envelope of {from}: {reject}"));
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

    /// A node asks a peer.
    pub fn ask(&mut self, node: usize, send: crate::step::Send) {
        let life = self.nodes[node].life;
        let Some((to, _)) = self.nodes[node].peers.get(&send.peer).copied() else {
            return self
                .input(node, Input::RequestFailed { peer: send.peer, request: send.request });
        };
        if send.wants_page {
            self.quality.sync_bytes += send.bytes.len() as u64;
            self.nodes[node].syncs += 1;
        }
        let (room, page, bodies) = (send.room, send.wants_page, send.wants_bodies);
        let asked = Asked { to, room, page, bodies, direct: false };
        self.nodes[node].asked.insert(send.request, asked);
        self.at(
            self.now + REQUEST_TIMEOUT_MS,
            Happening::Expire { node, life, request: send.request },
        );
        self.carry(node, to, Packet::Request(send.request, send.bytes.into()));
    }

    /// A node sends a direct frame.
    pub fn send_direct(&mut self, node: usize, send: crate::step::DirectSend) {
        let life = self.nodes[node].life;
        let Some((to, _)) = self.nodes[node].peers.get(&send.peer).copied() else {
            return self
                .input(node, Input::RequestFailed { peer: send.peer, request: send.request });
        };
        if send.bytes.len() > crate::limits::ENVELOPE_BYTES_MAX {
            return self
                .fail(Some(node), format!("sends a direct frame of {} bytes", send.bytes.len()));
        }
        self.nodes[node].directs += 1;
        let room = RoomId([0; 16]);
        let asked = Asked { to, room, page: false, bodies: false, direct: true };
        self.nodes[node].asked.insert(send.request, asked);
        self.at(
            self.now + REQUEST_TIMEOUT_MS,
            Happening::Expire { node, life, request: send.request },
        );
        self.carry(node, to, Packet::Direct(send.request, send.bytes.into()));
    }

    fn direct_asked(
        &mut self,
        from: usize,
        to: usize,
        link: u64,
        peer: Peer,
        request: RequestId,
        bytes: &[u8],
    ) {
        let node = &mut self.nodes[to];
        let me = node.peer.clone();
        match frame::open_request(&me, &peer, bytes, &mut node.verifier) {
            Ok(frame) => {
                let token = node.token(from, link, request);
                self.input(to, Input::DirectAsked { peer, token, frame });
            }
            Err(_) => self.carry(to, from, Packet::Answer(request, frame::refused().into())),
        }
    }

    /// A request was not answered in time.
    pub fn expire(&mut self, node: usize, life: u64, request: RequestId) {
        if self.nodes[node].life != life {
            return;
        }
        if let Some(asked) = self.nodes[node].asked.remove(&request) {
            let peer = self.peer_of(asked.to);
            self.input(node, Input::RequestFailed { peer, request });
        }
    }

    fn asked(
        &mut self,
        from: usize,
        to: usize,
        link: u64,
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
                let token = node.token(from, link, request);
                (Some(Input::SyncAsked { peer, token, request: request_in }), None)
            }
            Ok(Request::Bodies { room, entries }) => {
                let token = node.token(from, link, request);
                (Some(Input::BodiesAsked { peer, token, room, entries }), None)
            }
            Ok(Request::Ack(ack)) => (Some(Input::Ack { peer, ack }), Some(wire::response_ok())),
            Ok(Request::Hello(presence)) => {
                (Some(Input::Presence { peer, message: None, presence }), Some(wire::response_ok()))
            }
            Err(_) => (None, Some(wire::response_refused())),
        };
        if let Some(answer) = answer {
            self.carry(to, from, Packet::Answer(request, answer.into()));
        }
        if let Some(input) = input {
            self.input(to, input);
        }
    }

    /// A node answers a request by its token.
    pub fn respond(&mut self, node: usize, token: crate::step::Token, bytes: Vec<u8>) {
        let Some((to, link, request)) = self.nodes[node].tokens.remove(&token) else {
            return self.fail(Some(node), "a second answer to one request".to_owned());
        };
        self.quality.sync_bytes += bytes.len() as u64;
        if self.network.is_alive(node, to, link) {
            self.carry(node, to, Packet::Answer(request, bytes.into()));
        }
    }

    fn answered(&mut self, to: usize, peer: Peer, request: RequestId, bytes: &[u8]) {
        let node = &mut self.nodes[to];
        let Some(asked) = node.asked.remove(&request) else { return };
        if asked.direct {
            let me = node.peer.clone();
            let input = match frame::open_answer(&me, &peer, bytes, &mut node.verifier) {
                Ok(answer) => Input::DirectAnswered { peer, request, answer },
                Err(_) => Input::RequestFailed { peer, request },
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
            Err(_) => Input::RequestFailed { peer, request },
        };
        self.input(to, input);
    }
}

/// Names a gossip message by its bytes, as the gossip layer does.
#[must_use]
pub fn gossip_id(bytes: &[u8]) -> GossipId {
    GossipId(crate::crypto::hash(crate::crypto::Context::ENVELOPE, &[bytes]).0[..16].to_vec())
}
