//! One node of a world: the machine and the shell around it, reduced to what the core can notice of
//! it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::crypto::Verifier;
use crate::crypto::group::RoomKeys;
use crate::identity::Keys;
use crate::ids::{DeviceId, EpochId, IdentityId, Peer, RoomId, TopicId};
use crate::machine::Machine;
use crate::presence::Process;
use crate::sim::desk::Desk;
use crate::sim::disk::Disk;
use crate::sim::ledger::Told;
use crate::sim::links::{Line, WireId};
use crate::sim::rng::Seeded;
use crate::sim::world::Happening;
use crate::step::{CommandId, GossipId, Input, PeopleView, RequestId, RoomView, Token};

/// The first instant of a world, Unix milliseconds.
pub const EPOCH_MS: u64 = 1_800_000_000_000;

/// Sealed bytes that many nodes hold at once.
pub type Bytes = Arc<[u8]>;

/// A request that was sent and not answered yet.
#[derive(Debug, Clone)]
pub struct Asked {
    /// To whom.
    pub peer: Peer,
    /// By which connection.
    pub wire: WireId,
    /// The room.
    pub room: RoomId,
    /// A page is wanted.
    pub page: bool,
    /// Bodies are wanted.
    pub bodies: bool,
    /// It is a direct frame.
    pub direct: bool,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    /// What its user is called at first.
    pub name: String,
    seeds: ([u8; 32], [u8; 32]),
    /// Its device.
    pub device: DeviceId,
    /// Its person.
    pub identity: IdentityId,
    /// What survives a crash.
    pub disk: Disk,
    /// What does not; `None` while the node is down.
    pub machine: Option<Machine>,
    /// Starts so far.
    pub life: u64,
    /// Its transport peer id.
    pub peer: Peer,
    /// How wrong its clock is, milliseconds.
    pub clock: i64,
    /// The latest time its clock ever showed.
    pub clock_max: u64,
    /// Its randomness.
    pub rng: Seeded,
    /// Verified inputs that wait for the driver.
    pub inbox: VecDeque<Input>,
    /// Commands that wait for the driver.
    pub commands: VecDeque<Input>,
    /// A batch is scheduled.
    pub working: bool,
    /// When the machine wants to be woken, in the world's time.
    pub wake_at: Option<u64>,
    /// What the workers know of each room.
    pub views: BTreeMap<RoomId, RoomView>,
    /// Topics followed.
    pub subscribed: BTreeSet<TopicId>,
    /// Gossip messages seen, and until when that is remembered.
    pub seen: BTreeMap<GossipId, u64>,
    /// Gossip messages that wait for a verdict: from whom, topic, bytes.
    pub held: BTreeMap<GossipId, (usize, TopicId, Bytes)>,
    /// Open requests.
    pub asked: BTreeMap<RequestId, Asked>,
    /// Whom an answer goes to: node, link, request there.
    pub tokens: BTreeMap<Token, (usize, WireId, RequestId)>,
    next_token: Token,
    /// Linked peers: who that is, and by which connections.
    pub peers: BTreeMap<Peer, Line>,
    /// Connections of this life so far.
    pub connections: u64,
    /// What they follow, as the gossip layer heard it.
    pub peer_topics: BTreeMap<Peer, BTreeSet<TopicId>>,
    /// Points against others, and since when.
    pub faults: BTreeMap<usize, (u32, u64)>,
    /// Who is refused, and until when.
    pub blocked: BTreeMap<usize, u64>,
    /// It hears nothing before this.
    pub stopped_until: u64,
    /// What it will hear then.
    pub deferred: Vec<Happening>,
    /// Decoded keys.
    pub verifier: Verifier,
    /// Commands without a reply yet.
    pub waiting: BTreeSet<CommandId>,
    /// What queries may know of people.
    pub people: PeopleView,
    /// Direct frames sent.
    pub directs: u64,
    /// A copy of what conversations left on disk, to be restored.
    pub copy: Option<Desk>,
    /// What its front end was told.
    pub told: Told,
    /// When the room was first joined, in the world's time.
    pub joined_at: BTreeMap<RoomId, u64>,
    /// Stored bytes per room.
    pub disk_budget: u64,
    /// Sync requests sent.
    pub syncs: u64,
    /// The disk takes no writes before this.
    pub full_until: u64,
    /// Replies told, for stories.
    pub replies: BTreeMap<CommandId, Result<crate::command::Reply, crate::error::CommandError>>,
    /// Events told, for stories.
    pub heard: Vec<crate::event::Event>,
}

impl Node {
    /// A node that was never started.
    #[must_use]
    pub fn new(index: usize, name: &str, seed: u64, clock: i64) -> Self {
        let mut rng = Seeded::new(seed, 1_000 + index as u64);
        let mut seeds = ([0; 32], [0; 32]);
        crate::ctx::Entropy::fill(&mut rng, &mut seeds.0);
        crate::ctx::Entropy::fill(&mut rng, &mut seeds.1);
        Self {
            name: name.to_owned(),
            seeds,
            device: Keys::from_seeds(&seeds.0, &seeds.1, EPOCH_MS).device_id(),
            identity: Keys::from_seeds(&seeds.0, &seeds.1, EPOCH_MS).identity_id(),
            disk: Disk::new(name),
            machine: None,
            life: 0,
            peer: Peer(Vec::new()),
            clock,
            clock_max: 0,
            rng,
            inbox: VecDeque::new(),
            commands: VecDeque::new(),
            working: false,
            wake_at: None,
            views: BTreeMap::new(),
            subscribed: BTreeSet::new(),
            seen: BTreeMap::new(),
            held: BTreeMap::new(),
            asked: BTreeMap::new(),
            tokens: BTreeMap::new(),
            next_token: 0,
            peers: BTreeMap::new(),
            connections: 0,
            peer_topics: BTreeMap::new(),
            faults: BTreeMap::new(),
            blocked: BTreeMap::new(),
            stopped_until: 0,
            deferred: Vec::new(),
            verifier: Verifier::default(),
            waiting: BTreeSet::new(),
            people: PeopleView::default(),
            directs: 0,
            copy: None,
            told: Told::default(),
            joined_at: BTreeMap::new(),
            disk_budget: crate::limits::ROOM_DISK_BYTES_DEFAULT,
            syncs: 0,
            full_until: 0,
            replies: BTreeMap::new(),
            heard: Vec::new(),
        }
    }

    /// Its keys, made anew from the keystore.
    #[must_use]
    pub fn keys(&self) -> Keys {
        Keys::from_seeds(&self.seeds.0, &self.seeds.1, EPOCH_MS)
    }

    /// What its clock shows.
    #[must_use]
    pub fn clock_at(&self, now: u64) -> u64 {
        (EPOCH_MS + now).saturating_add_signed(self.clock)
    }

    /// Starts from the disk.
    pub fn start(&mut self, peer: Peer, now: u64) {
        self.life += 1;
        self.peer = peer.clone();
        let now_ms = self.clock_at(now);
        self.clock_max = self.clock_max.max(now_ms);
        let mut process = Process([0; 16]);
        crate::ctx::Entropy::fill(&mut self.rng, &mut process.0);
        let machine = Machine::open(self.keys(), peer, process, self.disk.snapshot(), now_ms)
            .with_disk_budget(self.disk_budget);
        for view in machine.views() {
            self.subscribed.extend(view.followed.then_some(view.keys.topic));
            self.views.insert(view.room, view);
        }
        // The front end reads what it was not told from the journal.
        self.told.read(self.disk.journal);
        self.machine = Some(machine);
        self.working = false;
    }

    /// Everything but the disk is gone.
    pub fn crash(&mut self) {
        self.machine = None;
        self.inbox.clear();
        self.commands.clear();
        self.working = false;
        self.wake_at = None;
        self.views.clear();
        self.subscribed.clear();
        self.seen.clear();
        self.held.clear();
        self.asked.clear();
        self.tokens.clear();
        self.peers.clear();
        self.connections = 0;
        self.peer_topics.clear();
        self.faults.clear();
        self.blocked.clear();
        self.stopped_until = 0;
        self.deferred.clear();
        self.waiting.clear();
    }

    /// A name for an incoming request.
    pub fn token(&mut self, from: usize, wire: WireId, request: RequestId) -> Token {
        self.next_token += 1;
        self.tokens.insert(self.next_token, (from, wire, request));
        self.next_token
    }

    /// The number of a connection at this end.
    #[must_use]
    pub fn number(&self, wire: WireId) -> u64 {
        let wires = self.peers.values().flat_map(|l| &l.wires);
        wires.filter(|w| w.0 == wire).map(|w| w.1).next().unwrap_or(0)
    }

    /// Linked peers that are handed the envelopes of a topic: those that the gossip layer knows to
    /// follow it, and those that said hello there.
    #[must_use]
    pub fn followers(&self, topic: &TopicId) -> Vec<(Peer, usize)> {
        let room = self.views.values().find(|v| v.followed && v.keys.topic == *topic);
        let said_hello = |p: &Peer| room.is_some_and(|r| r.linked.iter().any(|(l, _)| l == p));
        let announced = |p: &Peer| self.peer_topics.get(p).is_some_and(|t| t.contains(topic));
        let peers = self.peers.iter().filter(|(p, _)| announced(p) || said_hello(p));
        peers.map(|(p, l)| (p.clone(), l.other)).collect()
    }

    /// The keys under which a topic's envelopes are opened, and whether this node forwards them.
    #[must_use]
    pub fn by_topic(&self, topic: &TopicId) -> Option<(Arc<RoomKeys>, bool)> {
        let view = self.views.values().find(|v| v.followed && v.keys.topic == *topic)?;
        Some((view.keys.clone(), view.forwarding))
    }

    /// The keys of an epoch that a request names.
    #[must_use]
    pub fn by_epoch(&self, epoch: &EpochId) -> Option<Arc<RoomKeys>> {
        self.views.values().find(|v| v.followed && v.keys.epoch == *epoch).map(|v| v.keys.clone())
    }

    /// Whether the room is joined and was not left, as the disk says.
    #[must_use]
    pub fn is_in(&self, room: &RoomId) -> bool {
        self.disk.rooms.get(room).is_some_and(|r| !r.row.left)
    }
}
