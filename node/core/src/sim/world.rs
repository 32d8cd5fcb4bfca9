//! Time and events of a world: what happens next, and to whom.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use crate::crypto::group::{RoomKeys, RoomRoot};
use crate::ids::{DeviceId, Peer, RoomId};
use crate::sim::attacker::Attacker;
use crate::sim::ledger::Ledger;
use crate::sim::links::{Network, WireId};
use crate::sim::model::Chat;
use crate::sim::network::Packet;
use crate::sim::node::Node;
use crate::sim::plan::Plan;
use crate::sim::rng::Seeded;
use crate::sim::{Failure, Outcome, Quality};
use crate::step::{CommandId, Input, RequestId};

/// Something that happens at a time; the fields are what each sentence speaks of.
#[allow(missing_docs, reason = "named by the sentence of their variant")]
#[derive(Debug)]
pub enum Happening {
    /// A packet arrives, if the receiver still holds its connection.
    Arrive { from: usize, to: usize, wire: WireId, packet: Packet },
    /// A connection is up: one end learns it.
    Linked { node: usize, wire: WireId },
    /// A connection ended: one end learns it.
    Unlinked { node: usize, life: u64, wire: WireId },
    /// Of several connections with a peer, those that live are known by now.
    Settle { node: usize, life: u64, peer: Peer },
    /// A connection with a stopped process was silent for too long.
    Silent { node: usize, life: u64, wire: WireId, stopped: usize },
    /// A process is stopped.
    Stop { node: usize, for_ms: u64 },
    /// It goes on.
    Resume { node: usize, life: u64 },
    /// Links that should be up may come up now.
    Reconcile,
    /// The machine asked to be woken.
    Wake { node: usize, life: u64, at: u64 },
    /// The driver takes a batch.
    Work { node: usize, life: u64 },
    /// A request was not answered in time.
    Expire { node: usize, life: u64, request: RequestId },
    /// A user does something.
    Act { node: usize },
    /// A user writes to somebody.
    Talk { node: usize },
    /// What a node has of conversations is copied.
    CopyDesk { node: usize },
    /// A node loses its session keys, or goes back to the copy.
    LoseDesk { node: usize, restore: bool },
    /// A user opens a room, and tries again until it is open.
    Join { node: usize, room: usize },
    /// A node stops at once and starts again later.
    Down { node: usize, for_ms: u64 },
    /// A node starts.
    Start { node: usize },
    /// The network falls apart into groups, and is whole again later.
    Partition { for_ms: u64 },
    /// It is whole again.
    Whole,
    /// One link ends and comes back later.
    Flap { a: usize, b: usize, for_ms: u64 },
    /// A clock jumps.
    Jump { node: usize, by_ms: i64 },
    /// A body rots on a disk.
    Rot { node: usize, which: u64 },
    /// The attacker does something.
    Attack,
}

/// Events of one millisecond, beyond which something goes round in a circle.
const INSTANT_MAX: u64 = 200_000;

#[derive(Debug)]
struct Scheduled {
    at: u64,
    order: u64,
    what: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// A room that everybody knows.
#[derive(Debug)]
pub struct Place {
    /// Name with `#`.
    pub name: String,
    /// Its root.
    pub root: Arc<RoomRoot>,
    /// Its keys.
    pub keys: Arc<RoomKeys>,
}

impl Place {
    /// A room made without the expensive stretch.
    #[must_use]
    pub fn new(name: &str, secret: [u8; 32]) -> Self {
        let root = Arc::new(RoomRoot::from_bytes(secret));
        Self { name: name.to_owned(), keys: Arc::new(RoomKeys::of_root(&root)), root }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> RoomId {
        self.keys.room
    }
}

/// A whole world.
#[derive(Debug)]
pub struct World {
    /// What the seed means.
    pub plan: Plan,
    /// Milliseconds since the start.
    pub now: u64,
    queue: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
    /// Crashes during batches so far.
    pub crashes: u64,
    /// Events of this millisecond.
    instant: u64,
    /// Chance for everything but the nodes' own randomness.
    pub rng: Seeded,
    /// Members.
    pub nodes: Vec<Node>,
    /// Rooms.
    pub places: Vec<Place>,
    /// Links and packets.
    pub network: Network,
    /// Invariants.
    pub ledger: Ledger,
    /// The reference.
    pub chat: Chat,
    /// A member that breaks rules.
    pub attacker: Option<Attacker>,
    /// Faults may happen.
    pub faulty: bool,
    /// Which rooms each node's user wants to be in.
    pub wants: Vec<Vec<usize>>,
    /// The last command's number.
    pub command: CommandId,
    /// Commands given by users at random.
    pub said: u64,
    /// The first thing that went wrong.
    pub failure: Option<Failure>,
    /// Figures.
    pub quality: Quality,
    /// Print what happens.
    pub trace: bool,
    /// Inputs handled.
    pub inputs: u64,
    fingerprint: u64,
}

impl World {
    /// A world before its first instant: all nodes are down.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let mut rng = Seeded::new(plan.seed, 1);
        let names = [
            "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy",
            "mike", "olga",
        ];
        let nodes: Vec<Node> = (0..plan.nodes)
            .map(|i| {
                let skew = i64::try_from(rng.below(plan.skew_ms * 2 + 1)).unwrap_or(0);
                let skew = skew - i64::try_from(plan.skew_ms).unwrap_or(0);
                Node::new(i, names[i % names.len()], plan.seed, skew)
            })
            .collect();
        let places: Vec<Place> = (0..plan.rooms)
            .map(|i| {
                let mut secret = [0; 32];
                crate::ctx::Entropy::fill(&mut rng, &mut secret);
                Place::new(["#garden", "#kitchen"][i % 2], secret)
            })
            .collect();
        let mut ledger = Ledger::default();
        ledger.honest.extend(nodes.iter().enumerate().map(|(i, n)| (n.device, i)));
        let attacker = plan.attacker.then(|| Attacker::new(plan.seed, plan.nodes));
        Self {
            now: 0,
            queue: BinaryHeap::new(),
            order: 0,
            crashes: 0,
            instant: 0,
            nodes,
            network: Network::new(&plan, &mut rng),
            places,
            ledger,
            chat: Chat::default(),
            attacker,
            faulty: true,
            wants: vec![vec![0]; plan.nodes],
            command: 0,
            said: 0,
            failure: None,
            quality: Quality::default(),
            trace: false,
            inputs: 0,
            fingerprint: plan.seed,
            rng,
            plan,
        }
    }

    /// What became of it.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        Outcome {
            seed: self.plan.seed,
            fingerprint: self.fingerprint,
            inputs: self.inputs,
            quality: self.quality,
            failure: self.failure,
        }
    }

    /// Schedules something.
    pub fn at(&mut self, at: u64, what: Happening) {
        self.order += 1;
        self.queue.push(Reverse(Scheduled { at: at.max(self.now), order: self.order, what }));
    }

    /// Notes what went wrong; only the first counts.
    pub fn fail(&mut self, node: Option<usize>, what: String) {
        if self.failure.is_none() {
            let failure = Failure { at_ms: self.now, node, what };
            self.say(|| format!("FAILED: {failure}"));
            self.failure = Some(failure);
        }
    }

    /// Prints a line of the trace, if asked for.
    pub fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>9} {}", self.now, what());
        }
    }

    /// Mixes what happened into the fingerprint.
    pub fn mark(&mut self, what: u64) {
        self.fingerprint =
            (self.fingerprint.rotate_left(7) ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// Lets everything happen up to a time.
    pub fn run_until(&mut self, until: u64) {
        while self.failure.is_none() {
            if self.queue.peek().is_none_or(|Reverse(next)| next.at > until) {
                break;
            }
            let Some(Reverse(next)) = self.queue.pop() else { break };
            self.instant = if self.now == next.at { self.instant + 1 } else { 0 };
            if self.instant > INSTANT_MAX {
                return self.fail(None, format!("time stands still at {:?}", next.what));
            }
            self.now = next.at;
            self.happen(next.what);
        }
        self.now = self.now.max(until);
    }

    /// Whose process has to run for this to happen.
    fn sleeper(&self, what: &Happening) -> Option<usize> {
        let node = match what {
            Happening::Arrive { to: node, .. }
            | Happening::Linked { node, .. }
            | Happening::Unlinked { node, .. }
            | Happening::Settle { node, .. }
            | Happening::Silent { node, .. }
            | Happening::Wake { node, .. }
            | Happening::Work { node, .. }
            | Happening::Expire { node, .. }
            | Happening::Act { node }
            | Happening::Talk { node }
            | Happening::Join { node, .. } => *node,
            _ => return None,
        };
        self.nodes.get(node).filter(|n| n.stopped_until > self.now).map(|_| node)
    }

    fn happen(&mut self, what: Happening) {
        if let Some(node) = self.sleeper(&what) {
            return self.nodes[node].deferred.push(what);
        }
        match what {
            Happening::Arrive { from, to, wire, packet } => {
                self.arrive(from, to, wire, packet);
            }
            Happening::Linked { node, wire } => self.linked(node, wire),
            Happening::Unlinked { node, life, wire } => self.unlinked(node, life, wire),
            Happening::Settle { node, life, peer } => self.settle(node, life, &peer),
            Happening::Silent { node, life, wire, stopped } => {
                self.silent(node, life, wire, stopped)
            }
            Happening::Stop { node, for_ms } => self.stop(node, for_ms),
            Happening::Resume { node, life } => {
                if self.nodes[node].life == life {
                    self.resume(node);
                }
            }
            Happening::Reconcile => self.reconcile(),
            Happening::Wake { node, life, at } => {
                let n = &mut self.nodes[node];
                if n.life == life && n.wake_at == Some(at) && n.machine.is_some() {
                    n.wake_at = None;
                    self.input(node, Input::Tick);
                }
            }
            Happening::Work { node, life } => {
                if self.nodes[node].life == life && self.nodes[node].machine.is_some() {
                    self.work(node);
                }
            }
            Happening::Expire { node, life, request } => self.expire(node, life, request),
            Happening::Talk { node } => self.talk_act(node),
            Happening::CopyDesk { node } => {
                let n = &mut self.nodes[node];
                n.copy = Some(n.disk.desk.clone());
            }
            Happening::LoseDesk { node, restore } => self.lose_desk(node, restore),
            Happening::Act { node } => self.act(node),
            Happening::Join { node, room } => self.join(node, room),
            Happening::Down { node, for_ms } => {
                if self.nodes[node].machine.is_some() && self.faulty {
                    self.crash(node, for_ms);
                }
            }
            Happening::Start { node } => self.start(node),
            Happening::Partition { for_ms } => self.partition(for_ms),
            Happening::Whole => {
                self.network.whole();
                self.reconcile();
            }
            Happening::Flap { a, b, for_ms } => {
                if self.faulty {
                    self.network.block(a, b, self.now + for_ms);
                    self.reconcile();
                    self.at(self.now + for_ms + 1, Happening::Reconcile);
                }
            }
            Happening::Jump { node, by_ms } => {
                if self.faulty {
                    self.nodes[node].clock += by_ms;
                }
            }
            Happening::Rot { node, which } => self.rot(node, which),
            Happening::Attack => self.attack(),
        }
    }

    /// Gives a node an input and lets its driver work soon.
    pub fn input(&mut self, node: usize, input: Input) {
        let n = &mut self.nodes[node];
        if n.machine.is_none() {
            return;
        }
        match input {
            Input::Command { .. } | Input::Join { .. } => n.commands.push_back(input),
            other => n.inbox.push_back(other),
        }
        self.work_soon(node);
    }

    /// Schedules the next batch of a node.
    pub fn work_soon(&mut self, node: usize) {
        let n = &mut self.nodes[node];
        if n.working || (n.inbox.is_empty() && n.commands.is_empty()) {
            return;
        }
        n.working = true;
        let life = n.life;
        let delay = self.rng.below(4);
        self.at(self.now + delay, Happening::Work { node, life });
    }

    /// Stops a node at once; it starts again after `for_ms`.
    pub fn crash(&mut self, node: usize, for_ms: u64) {
        self.say(|| format!("node {node} is down for {for_ms} ms"));
        self.mark(0xdead + node as u64);
        self.nodes[node].crash();
        self.reconcile();
        self.at(self.now + for_ms, Happening::Start { node });
    }

    /// Starts a node that is down.
    pub fn start(&mut self, node: usize) {
        if self.nodes[node].machine.is_some() {
            return;
        }
        let life = if self.plan.fresh_peers { self.nodes[node].life + 1 } else { 0 };
        let peer = self.network.name_peer(node, life);
        let now = self.now;
        self.nodes[node].start(peer, now);
        self.say(|| format!("node {node} starts"));
        // What a shell does first: the core says when it wants to be woken.
        self.input(node, Input::Tick);
        for room in self.wants[node].clone() {
            self.at(self.now + 1, Happening::Join { node, room });
        }
        self.reconcile();
    }

    /// A place by index; the first if there are fewer.
    #[must_use]
    pub fn place(&self, room: usize) -> &Place {
        &self.places[room.min(self.places.len() - 1)]
    }

    /// The node of an honest device.
    #[must_use]
    pub fn node_of(&self, device: &DeviceId) -> Option<usize> {
        self.ledger.honest.get(device).copied()
    }

    /// Whose rooms are open, by node, for one place.
    #[must_use]
    pub fn members(&self, room: usize) -> Vec<usize> {
        let id = self.place(room).id();
        (0..self.nodes.len()).filter(|n| self.nodes[*n].is_in(&id)).collect()
    }

    /// Peers by name, for the tables of links.
    #[must_use]
    pub fn index_of(&self, peer: &Peer) -> Option<usize> {
        let by_name: BTreeMap<&Peer, usize> =
            self.nodes.iter().enumerate().map(|(i, n)| (&n.peer, i)).collect();
        by_name.get(peer).copied()
    }
}
