//! The links of a world: connections between two nodes, each of which lives and dies at either end
//! on its own. A stand-in for the shell, which promises this and no more: a connection that is
//! dead is closed within [`LIVENESS_MS`] at the end that still holds it, within [`SETTLE_MS`] if
//! there is a second one; then the core hears that the link was renewed. A wanted peer that is not
//! connected is dialled again within [`REDIAL_MS`].
//!
//! Of gossip nothing is promised when connections change: topics are announced on the first
//! connection of the announcing side alone, and what is published to a changed link may be lost
//! until the shell nudges it. Who said hello in a room is handed its envelopes all the same.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Peer, TopicId};
use crate::sim::network::Packet;
use crate::sim::plan::{Plan, Shape};
use crate::sim::rng::Seeded;
use crate::sim::world::{Happening, World};
use crate::step::{Input, RequestId};

/// The longest that an end holds a dead connection while there is no other one.
pub const LIVENESS_MS: u64 = 25_000;
/// The longest until a pair with several connections has settled on one.
pub const SETTLE_MS: u64 = 3_000;
/// The longest until a wanted peer is dialled again.
pub const REDIAL_MS: u64 = 2_000;

/// The number of a connection, for both ends.
pub type WireId = u64;

/// What one end knows of a peer.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// Which node that is.
    pub other: usize,
    /// Connections that it holds, oldest first, each with its number at this end.
    pub wires: Vec<(WireId, u64)>,
    /// The connections changed, and gossip has not been nudged since.
    pub quiet: bool,
}

#[derive(Debug, Default)]
struct Pair {
    blocked_until: u64,
    may_rise_at: u64,
    /// It is looked at again when it may rise.
    rising: bool,
}

/// Connections between nodes, by index; an attacker has the index after the last node, strangers
/// have those that follow.
#[derive(Debug)]
pub struct Network {
    pairs: BTreeMap<(usize, usize), Pair>,
    wanted: BTreeSet<(usize, usize)>,
    groups: Vec<u64>,
    next_wire: WireId,
    /// Connections on which packets pass, with their ends. One that broke never works again.
    wires: BTreeMap<WireId, (usize, usize)>,
    /// Envelopes opened already.
    pub opened: crate::sim::network::Opened,
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
            pairs: (1..n).flat_map(|b| (0..b).map(move |a| ((a, b), Pair::default()))).collect(),
            wanted: BTreeSet::new(),
            groups: Vec::new(),
            next_wire: 0,
            wires: BTreeMap::new(),
            opened: BTreeMap::new(),
        };
        if plan.attacker {
            // Whom the attacker reaches does not change with the shape.
            network.pairs.extend(
                (0..n).filter(|i| *i == 0 || rng.chance(500)).map(|i| ((i, n), Pair::default())),
            );
        }
        // They reach everybody, always.
        let strangers = (n + 1..=n + plan.strangers).flat_map(|s| (0..n).map(move |i| (i, s)));
        network.pairs.extend(strangers.map(|ends| (ends, Pair::default())));
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
            .pairs
            .keys()
            .filter(|(a, b)| *b > n || (*b == n && attacked) || wants(*a, *b))
            .copied()
            .collect();
    }

    /// Links an attacker with everybody.
    pub fn let_attacker_reach_all(&mut self, n: usize) {
        let attacked = self.pairs.keys().any(|(_, b)| *b == n);
        for node in (0..n).filter(|_| attacked) {
            self.pairs.entry((node, n)).or_default();
            self.wanted.insert((node, n));
        }
    }

    /// Whether packets pass on this connection.
    #[must_use]
    pub fn works(&self, wire: WireId) -> bool {
        self.wires.contains_key(&wire)
    }

    /// A connection between two on which packets pass.
    #[must_use]
    pub fn working(&self, a: usize, b: usize) -> Option<WireId> {
        let ends = pair(a, b);
        self.wires.iter().find(|(_, e)| **e == ends).map(|(id, _)| *id)
    }

    /// The pairs that may be linked.
    #[must_use]
    pub fn pairs(&self) -> Vec<(usize, usize)> {
        self.pairs.keys().copied().collect()
    }

    /// Keeps a link down for a while.
    pub fn block(&mut self, a: usize, b: usize, until: u64) {
        if let Some(pair) = self.pairs.get_mut(&pair(a, b)) {
            pair.blocked_until = pair.blocked_until.max(until);
        }
    }

    /// Lets every link come up again.
    pub fn unblock(&mut self) {
        for pair in self.pairs.values_mut() {
            pair.blocked_until = 0;
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

    fn connect(&mut self, a: usize, b: usize) -> WireId {
        self.next_wire += 1;
        self.wires.insert(self.next_wire, pair(a, b));
        self.next_wire
    }
}

impl World {
    fn is_running(&self, node: usize) -> bool {
        let outside = node > self.nodes.len() || self.attacker.is_some();
        self.nodes.get(node).map_or(outside, |n| n.machine.is_some())
    }

    fn is_awake(&self, node: usize) -> bool {
        self.is_running(node) && self.nodes.get(node).is_none_or(|n| n.stopped_until <= self.now)
    }

    /// The transport peer id of a node or of the attacker.
    #[must_use]
    pub fn peer_of(&self, node: usize) -> Peer {
        self.nodes.get(node).map_or_else(|| self.network.name_peer(node, 0), |n| n.peer.clone())
    }

    /// The peer at the other end of a connection, as a node knows it.
    #[must_use]
    pub fn peer_at(&self, node: usize, wire: WireId) -> Option<Peer> {
        let holds = |l: &Line| l.wires.iter().any(|(w, _)| *w == wire);
        self.nodes[node].peers.iter().find(|(_, l)| holds(l)).map(|(p, _)| p.clone())
    }

    /// Whether an end believes that it has a connection with a node as that is now.
    fn believes(&self, node: usize, other: usize) -> bool {
        match self.nodes.get(node) {
            Some(n) => n.peers.contains_key(&self.peer_of(other)),
            None => self.network.working(node, other).is_some(),
        }
    }

    /// Brings up the links that should be up, breaks those that should not.
    pub fn reconcile(&mut self) {
        for (a, b) in self.network.pairs() {
            let ready = self.network.wanted.contains(&(a, b))
                && self.is_running(a)
                && self.is_running(b)
                && self.network.together(a, b);
            let Some(state) = self.network.pairs.get(&(a, b)) else { continue };
            let (may_rise, rising) = (state.may_rise_at, state.rising);
            let wanted = ready && state.blocked_until <= self.now;
            let works = self.network.working(a, b).is_some();
            // Somebody has to miss the other: who believes that a dead connection lives does not
            // dial.
            let missed = !self.believes(a, b) || !self.believes(b, a);
            if !wanted {
                self.break_all(a, b);
            } else if works || !missed || !self.is_awake(a) || !self.is_awake(b) {
                continue;
            } else if may_rise <= self.now {
                let both = self.faulty && self.rng.chance(self.plan.doubles);
                for _ in 0..1 + usize::from(both) {
                    self.dial(a, b);
                }
            } else if !rising {
                if let Some(state) = self.network.pairs.get_mut(&(a, b)) {
                    state.rising = true;
                }
                self.at(may_rise, Happening::Reconcile);
            }
        }
    }

    fn dial(&mut self, a: usize, b: usize) {
        if let Some(state) = self.network.pairs.get_mut(&(a, b)) {
            state.rising = false;
        }
        let wire = self.network.connect(a, b);
        let delay = 1 + self.rng.below(10);
        for node in [a, b] {
            self.at(self.now + delay, Happening::Linked { node, wire });
        }
    }

    /// Nothing passes between two any more. Each end notices by itself: soon, or late.
    pub fn break_all(&mut self, a: usize, b: usize) {
        let ends = pair(a, b);
        let broken: Vec<WireId> =
            self.network.wires.iter().filter(|(_, e)| **e == ends).map(|(id, _)| *id).collect();
        for wire in broken {
            self.break_wire(wire);
        }
    }

    fn break_wire(&mut self, wire: WireId) {
        let Some((a, b)) = self.network.wires.remove(&wire) else { return };
        let crashed = !self.is_running(a) || !self.is_running(b);
        for node in [a, b] {
            let Some(life) = self.nodes.get(node).map(|n| n.life) else { continue };
            let late = self.faulty && self.rng.chance(self.plan.half_open);
            let delay = match (late, crashed && self.faulty) {
                (true, _) => self.rng.below(LIVENESS_MS),
                (false, true) => self.rng.below(5_000),
                (false, false) => self.rng.below(20),
            };
            self.at(self.now + delay, Happening::Unlinked { node, life, wire });
        }
        let again = if self.faulty { self.rng.below(REDIAL_MS) } else { 20 };
        if let Some(state) = self.network.pairs.get_mut(&(a, b)) {
            state.may_rise_at = self.now + again + 1;
            state.rising = false;
        }
    }

    /// The connections between two die, and only `other` notices.
    pub fn half_break(&mut self, node: usize, other: usize) {
        let ends = pair(node, other);
        let broken: Vec<WireId> =
            self.network.wires.iter().filter(|(_, e)| **e == ends).map(|(id, _)| *id).collect();
        for wire in broken {
            self.network.wires.remove(&wire);
            let life = self.nodes[other].life;
            self.unlinked(other, life, wire);
        }
    }

    /// One end learns of a connection.
    pub fn linked(&mut self, node: usize, wire: WireId) {
        let Some((a, b)) = self.network.wires.get(&wire).copied() else { return };
        let other = if node == a { b } else { a };
        let peer = self.peer_of(other);
        let Some(n) = self.nodes.get_mut(node) else {
            for topic in self.places.iter().map(|p| p.keys.topic).collect::<Vec<_>>() {
                self.carry(node, other, Packet::Follow(topic, true));
            }
            return;
        };
        if n.machine.is_none() || n.blocked.get(&other).is_some_and(|until| *until > self.now) {
            return self.break_wire(wire);
        }
        n.connections += 1;
        let number = n.connections;
        let life = n.life;
        let line = n.peers.entry(peer.clone()).or_default();
        line.other = other;
        line.wires.push((wire, number));
        if line.wires.len() == 1 {
            self.input(node, Input::LinkUp { peer });
            for topic in self.followed(node) {
                self.carry(node, other, Packet::Follow(topic, true));
            }
            return;
        }
        // The older ones have to prove themselves.
        let at = self.now + self.rng.within(50, SETTLE_MS);
        self.at(at, Happening::Settle { node, life, peer });
    }

    fn followed(&self, node: usize) -> Vec<TopicId> {
        self.nodes.get(node).map_or_else(Vec::new, |n| n.subscribed.iter().copied().collect())
    }

    /// Old connections had their time to prove themselves. The end with the lower index decides
    /// which of several stays.
    pub fn settle(&mut self, node: usize, life: u64, peer: &Peer) {
        let Some(line) =
            self.nodes.get(node).filter(|n| n.life == life).and_then(|n| n.peers.get(peer))
        else {
            return;
        };
        let (other, wires) = (line.other, line.wires.clone());
        let (alive, dead): (Vec<WireId>, Vec<WireId>) =
            wires.iter().map(|(w, _)| *w).partition(|w| self.network.works(*w));
        for wire in dead {
            self.unlinked(node, life, wire);
        }
        if node > other || alive.len() < 2 {
            return;
        }
        let kept = self.rng.pick(&alive);
        for wire in alive.into_iter().filter(|w| *w != kept) {
            self.network.wires.remove(&wire);
            self.unlinked(node, life, wire);
            if let Some(life) = self.nodes.get(other).map(|n| n.life) {
                let at = self.now + 1 + self.rng.below(20);
                self.at(at, Happening::Unlinked { node: other, life, wire });
            }
        }
    }

    /// One end learns that a connection ended.
    pub fn unlinked(&mut self, node: usize, life: u64, wire: WireId) {
        if self.nodes[node].life != life || self.nodes[node].machine.is_none() {
            return;
        }
        let Some(peer) = self.peer_at(node, wire) else { return };
        let n = &mut self.nodes[node];
        let Some(line) = n.peers.get_mut(&peer) else { return };
        line.wires.retain(|(w, _)| *w != wire);
        let (other, left) = (line.other, line.wires.len());
        if left == 0 {
            n.peers.remove(&peer);
            n.peer_topics.remove(&peer);
        }
        let failed: Vec<RequestId> =
            n.asked.iter().filter(|(_, a)| a.wire == wire).map(|(r, _)| *r).collect();
        for request in failed {
            self.nodes[node].asked.remove(&request);
            self.input(node, Input::RequestFailed { peer: peer.clone(), request });
        }
        if left == 0 {
            self.input(node, Input::LinkDown { peer });
            let at = self.now + 1 + if self.faulty { self.rng.below(REDIAL_MS) } else { 1 };
            if let Some(state) = self.network.pairs.get_mut(&pair(node, other)) {
                state.may_rise_at = state.may_rise_at.max(at);
                state.rising = false;
            }
            return self.at(self.now, Happening::Reconcile);
        }
        if let Some(line) = self.nodes[node].peers.get_mut(&peer) {
            line.quiet = true;
        }
        self.input(node, Input::LinkRenewed { peer });
    }

    /// A process is stopped: it hears nothing for a while, and then everything at once.
    pub fn stop(&mut self, node: usize, for_ms: u64) {
        if !self.faulty || self.nodes[node].machine.is_none() {
            return;
        }
        self.say(|| format!("node {node} is stopped for {for_ms} ms"));
        let until = self.now + for_ms;
        self.nodes[node].stopped_until = until;
        let life = self.nodes[node].life;
        self.at(until, Happening::Resume { node, life });
        let held: Vec<(WireId, usize)> = self
            .network
            .wires
            .iter()
            .filter(|(_, (a, b))| *a == node || *b == node)
            .map(|(id, (a, b))| (*id, if *a == node { *b } else { *a }))
            .collect();
        for (wire, other) in held {
            let Some(life) = self.nodes.get(other).map(|n| n.life) else { continue };
            let at = self.now + LIVENESS_MS;
            self.at(at, Happening::Silent { node: other, life, wire, stopped: node });
        }
    }

    /// An end heard nothing on a connection for too long: it closes it. Who was stopped learns of
    /// it when it goes on.
    pub fn silent(&mut self, node: usize, life: u64, wire: WireId, stopped: usize) {
        if self.is_awake(stopped) || !self.network.works(wire) {
            return;
        }
        self.break_wire(wire);
        self.unlinked(node, life, wire);
    }

    /// A stopped process goes on: what came meanwhile comes now.
    pub fn resume(&mut self, node: usize) {
        if self.nodes[node].stopped_until > self.now {
            return;
        }
        for what in std::mem::take(&mut self.nodes[node].deferred) {
            self.at(self.now, what);
        }
        self.at(self.now, Happening::Reconcile);
    }
}
