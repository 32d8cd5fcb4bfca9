//! A member that breaks rules: it has the keys of every room, and sends what no honest node would.
//! What it sends must do no harm: nothing invalid is ever stored, what is valid converges like
//! everything else, and nobody else suffers.

use std::collections::BTreeMap;

use crate::content::Content;
use crate::delivery::VerifiedAck;
use crate::identity::Keys;
use crate::ids::{DeviceShort, Digest, EntryHash, EntryId, HashShort, RoomId, Signature, TopicId};
use crate::log::entry::{Place as Slot, SealedEntry, VerifiedEntry, VerifiedRun, compose};
use crate::presence::{Process, VerifiedPresence};
use crate::sim::network::{Packet, gossip_id};
use crate::sim::node::{Bytes, EPOCH_MS};
use crate::sim::rng::Seeded;
use crate::sim::world::World;
use crate::wire::{self, Gossip, Request};

/// Envelopes kept for replay.
const KEPT: usize = 64;

/// The own chain in a room.
#[derive(Debug, Clone, Default)]
struct Chain {
    next: u64,
    head: Option<EntryHash>,
    lamport: Option<u64>,
}

/// Who breaks the rules.
#[derive(Debug)]
pub struct Attacker {
    index: usize,
    rng: Seeded,
    keys: Keys,
    chains: BTreeMap<RoomId, Chain>,
    kept: Vec<(TopicId, Bytes)>,
    written: Vec<(RoomId, Vec<SealedEntry>)>,
    /// It answers like a member that has no more than who asks.
    polite: bool,
}

/// What it does.
const KINDS: u64 = 16;

impl Attacker {
    /// An attacker with the index after the last honest node.
    #[must_use]
    pub fn new(seed: u64, index: usize) -> Self {
        let mut rng = Seeded::new(seed, 7_777);
        let keys = new_keys(&mut rng);
        Self {
            index,
            rng,
            keys,
            chains: BTreeMap::new(),
            kept: Vec::new(),
            written: Vec::new(),
            polite: false,
        }
    }

    /// Goes on as somebody new. Two signed entries in one place would be a fork, which is another
    /// attack: a device that has signed something invalid never signs again.
    fn change_device(&mut self) {
        self.keys = new_keys(&mut self.rng);
        self.chains.clear();
    }

    /// Its device.
    #[must_use]
    pub fn device(&self) -> crate::ids::DeviceId {
        self.keys.device_id()
    }
}

fn new_keys(rng: &mut Seeded) -> Keys {
    let (mut identity, mut device) = ([0; 32], [0; 32]);
    crate::ctx::Entropy::fill(rng, &mut identity);
    crate::ctx::Entropy::fill(rng, &mut device);
    Keys::from_seeds(&identity, &device, EPOCH_MS)
}

impl World {
    /// The attacker receives something: it keeps envelopes and answers requests badly.
    pub fn attacker_hears(&mut self, from: usize, packet: Packet) {
        let Some(attacker) = &mut self.attacker else { return };
        match packet {
            Packet::Gossip(_, topic, bytes) => {
                if attacker.kept.len() >= KEPT {
                    let at = attacker.rng.index(KEPT);
                    attacker.kept.swap_remove(at);
                }
                attacker.kept.push((topic, bytes));
            }
            Packet::Request(request, bytes) => {
                if let Some(answer) = self.bad_answer(from, &bytes) {
                    let index = self.nodes.len();
                    self.carry(index, from, Packet::Answer(request, answer.into()));
                }
            }
            Packet::Answer(..) | Packet::Follow(..) | Packet::Direct(..) => {}
        }
    }

    /// To a sync request: nothing, a refusal, garbage, or a page that promises what it does not
    /// hold.
    fn bad_answer(&mut self, from: usize, bytes: &[u8]) -> Option<Vec<u8>> {
        let peer = self.peer_of(from);
        let me = self.peer_of(self.nodes.len());
        let (keys, attacker) =
            (self.places.iter().map(|p| p.keys.clone()), self.attacker.as_mut()?);
        let keys =
            keys.into_iter().find(|k| wire::request_epoch(bytes).is_ok_and(|e| e == k.epoch))?;
        let request =
            wire::open_request(&keys, &me, &peer, bytes, &mut crate::crypto::Verifier::default());
        let Ok(Request::Sync(request)) = request else { return Some(wire::response_ok()) };
        let proof = keys.proof(crate::crypto::Context::PROOF_RESPONSE, &me, &peer);
        let mut frontier = request.frontier;
        if attacker.polite {
            return Some(wire::response_page(proof, &[], &frontier, false));
        }
        match attacker.rng.below(5) {
            0 => None,
            1 => Some(wire::response_refused()),
            2 => Some(vec![0x85, 1, 2, 3]),
            3 => {
                frontier.iter_mut().for_each(|f| f.1 += 1_000);
                Some(wire::response_page(proof, &[], &frontier, true))
            }
            _ => {
                let runs = attacker.written.iter().filter(|(room, _)| *room == keys.room);
                let entries: Vec<SealedEntry> = runs.flat_map(|(_, run)| run.clone()).collect();
                Some(wire::response_page(proof, &entries, &frontier, false))
            }
        }
    }

    /// The attacker does something at random.
    pub fn attack(&mut self) {
        if !self.faulty || self.attacker.is_none() {
            return;
        }
        let room = self.rng.index(self.places.len());
        let kind = self.rng.below(KINDS);
        self.say(|| format!("attack {kind}"));
        match kind {
            0 => self.attack_with_bytes(),
            1 => self.attack_with(room, "its signature is wrong", |run, _| {
                if let Some(last) = run.last_mut() {
                    last.signature = Some(Signature([7; 64]));
                }
            }),
            2 => self.attack_at(room, "its lamport clock is wrong", |slot| slot.lamport += 5),
            3 => self.attack_at(room, "nothing is before it", |slot| {
                slot.seq += 7;
                slot.prev = Some(EntryHash([9; 32]));
            }),
            4 => self.attack_at(room, "its parent does not exist", |slot| {
                slot.parents = vec![EntryId([3; 16])]
            }),
            5 => self.write_as_attacker(room, 86_400_000, true),
            6 => self.attack_with_replay(),
            7 => self.attack_with_new_envelope(room),
            8 => self.attack_with_beacon(room),
            9 if self.plan.forks => self.fork(room),
            10 => self.attack_with_presence(room),
            11 => self.attack_with_stranger(room),
            12 => self.attack_others_message(room),
            13 if self.rng.chance(100) => self.flood(room),
            _ => self.write_as_attacker(room, 0, self.plan.seed.is_multiple_of(2)),
        }
    }

    fn blast(&mut self, topic: TopicId, bytes: &Bytes, to_all: bool) {
        let index = self.nodes.len();
        let mut to: Vec<usize> =
            (0..index).filter(|n| self.network.working(*n, index).is_some()).collect();
        if !to_all && to.len() > 1 {
            to = vec![self.rng.pick(&to)];
        }
        for node in to {
            self.carry(index, node, Packet::Gossip(gossip_id(bytes), topic, bytes.clone()));
        }
    }

    fn blast_run(&mut self, room: usize, run: &[SealedEntry], to_all: bool) {
        let keys = self.place(room).keys.clone();
        let mut nonce = [0; 24];
        crate::ctx::Entropy::fill(&mut self.rng, &mut nonce);
        let bytes = wire::envelope_of_run(&keys, EPOCH_MS + self.now, nonce, run);
        self.blast(keys.topic, &bytes.into(), to_all);
    }

    fn attack_with_bytes(&mut self) {
        let topic = self.place(0).keys.topic;
        let kept = self.attacker.as_ref().and_then(|a| a.kept.last().cloned());
        let mut bytes = kept.map_or_else(|| vec![0x87; 40], |(_, b)| b.to_vec());
        let at = self.rng.index(bytes.len());
        bytes[at] ^= 1 << self.rng.below(8);
        self.blast(topic, &bytes.into(), true);
    }

    fn compose_as_attacker(
        &mut self,
        room: usize,
        ahead_ms: u64,
        bend: impl FnOnce(&mut Slot),
    ) -> Option<VerifiedEntry> {
        self.compose_content(room, ahead_ms, None, bend)
    }

    fn compose_content(
        &mut self,
        room: usize,
        ahead_ms: u64,
        content: Option<Content>,
        bend: impl FnOnce(&mut Slot),
    ) -> Option<VerifiedEntry> {
        let keys = self.place(room).keys.clone();
        let now = EPOCH_MS + self.now;
        let attacker = self.attacker.as_mut()?;
        let chain = attacker.chains.entry(keys.room).or_default();
        let mut slot = Slot {
            seq: chain.next,
            prev: chain.head,
            parents: Vec::new(),
            lamport: chain.lamport.map_or(0, |l| l + 1),
            hlc: (now + ahead_ms) << 16,
        };
        bend(&mut slot);
        let content = if slot.seq == 0 {
            Content::Profile { name: "mallory".to_owned(), cert: attacker.keys.cert().clone() }
        } else if let Some(content) = content {
            content
        } else {
            Content::Text {
                text: format!("mallory says {}", attacker.rng.below(1_000_000)),
                reply_to: None,
            }
        };
        Some(compose(&keys, attacker.keys.device_id(), slot, content))
    }

    fn sign_as_attacker(&self, entry: VerifiedEntry) -> Vec<SealedEntry> {
        let Some(attacker) = &self.attacker else { return Vec::new() };
        let run = VerifiedRun::sign(attacker.keys.device_key(), vec![entry]);
        run.map(|r| r.into_entries().into_iter().map(|e| e.sealed).collect()).unwrap_or_default()
    }

    /// A valid entry of the attacker, sent to all or to one only.
    pub fn write_as_attacker(&mut self, room: usize, ahead_ms: u64, to_all: bool) {
        self.write_content(room, ahead_ms, None, to_all);
    }

    fn write_content(
        &mut self,
        room: usize,
        ahead_ms: u64,
        content: Option<Content>,
        to_all: bool,
    ) {
        let Some(entry) = self.compose_content(room, ahead_ms, content, |_| {}) else { return };
        let (id, hash, lamport) = (self.place(room).id(), entry.hash, entry.header.lamport);
        let run = self.sign_as_attacker(entry);
        let Some(attacker) = &mut self.attacker else { return };
        let chain = attacker.chains.entry(id).or_default();
        *chain = Chain { next: chain.next + 1, head: Some(hash), lamport: Some(lamport) };
        attacker.written.push((id, run.clone()));
        self.blast_run(room, &run, to_all);
    }

    fn attack_at(&mut self, room: usize, why: &'static str, bend: impl FnOnce(&mut Slot)) {
        self.open_new_chain(room);
        let Some(entry) = self.compose_as_attacker(room, 0, bend) else { return };
        self.ledger.forbidden.insert(entry.hash, why);
        let run = self.sign_as_attacker(entry);
        self.blast_run(room, &run, true);
        self.change_attackers_device();
    }

    fn attack_with(
        &mut self,
        room: usize,
        why: &'static str,
        bend: impl FnOnce(&mut Vec<SealedEntry>, &mut Seeded),
    ) {
        self.open_chain(room);
        let Some(entry) = self.compose_as_attacker(room, 0, |_| {}) else { return };
        self.ledger.forbidden.insert(entry.hash, why);
        let mut run = self.sign_as_attacker(entry);
        let mut rng = self.rng.clone();
        bend(&mut run, &mut rng);
        self.blast_run(room, &run, true);
    }

    /// Most rules concern what follows the first entry of a chain.
    fn open_chain(&mut self, room: usize) {
        let id = self.place(room).id();
        if self.attacker.as_ref().is_some_and(|a| a.chains.get(&id).is_none_or(|c| c.next == 0)) {
            self.write_as_attacker(room, 0, true);
        }
    }

    /// Sends every envelope that was heard once more: as it was, in other bytes, and its run in a
    /// new envelope.
    pub fn replay_everything(&mut self, room: usize) {
        let kept = self.attacker.as_ref().map(|a| a.kept.clone()).unwrap_or_default();
        for (topic, bytes) in kept {
            self.blast(topic, &bytes, true);
            // The same array with an indefinite length: the same values to a careless reader.
            let mut spelled = vec![0x9f];
            spelled.extend_from_slice(&bytes[1..]);
            spelled.push(0xff);
            self.blast(topic, &spelled.into(), true);
            self.attack_with_new_envelope(room);
        }
    }

    /// Far more valid entries at once than a device may send, in runs of 64.
    pub fn flood_with_texts(&mut self, room: usize, runs: usize) {
        self.open_chain(room);
        let id = self.place(room).id();
        for _ in 0..runs {
            let mut entries = Vec::new();
            for _ in 0..crate::limits::RUN_ENTRIES_MAX {
                let Some(entry) = self.compose_as_attacker(room, 0, |_| {}) else { return };
                let Some(attacker) = &mut self.attacker else { return };
                let chain = attacker.chains.entry(id).or_default();
                *chain = Chain {
                    next: chain.next + 1,
                    head: Some(entry.hash),
                    lamport: Some(entry.header.lamport),
                };
                entries.push(entry);
            }
            let Some(attacker) = &self.attacker else { return };
            let Some(run) = VerifiedRun::sign(attacker.keys.device_key(), entries) else { return };
            let sealed: Vec<SealedEntry> =
                run.into_entries().into_iter().map(|e| e.sealed).collect();
            self.blast_run(room, &sealed, true);
        }
    }

    fn change_attackers_device(&mut self) {
        if let Some(attacker) = &mut self.attacker {
            attacker.change_device();
        }
    }

    fn open_new_chain(&mut self, room: usize) {
        self.change_attackers_device();
        self.open_chain(room);
    }

    fn attack_with_replay(&mut self) {
        let Some(attacker) = &self.attacker else { return };
        if attacker.kept.is_empty() {
            return;
        }
        let at = self.rng.index(self.attacker.as_ref().map_or(0, |a| a.kept.len()));
        let Some((topic, bytes)) = self.attacker.as_ref().and_then(|a| a.kept.get(at).cloned())
        else {
            return;
        };
        self.blast(topic, &bytes, true);
    }

    /// An honest run in a new envelope: the gossip layer has not seen it before.
    fn attack_with_new_envelope(&mut self, room: usize) {
        let keys = self.place(room).keys.clone();
        let Some(attacker) = &self.attacker else { return };
        let mut verifier = crate::crypto::Verifier::default();
        let runs = attacker.kept.iter().filter(|(topic, _)| *topic == keys.topic);
        let run = runs
            .filter_map(|(_, b)| wire::open_envelope(&keys, b, false, &mut verifier).ok())
            .find_map(|g| match g {
                Gossip::Run(run) => Some(run),
                _ => None,
            });
        if let Some(run) = run {
            let sealed: Vec<SealedEntry> = run.entries().iter().map(|e| e.sealed.clone()).collect();
            self.blast_run(room, &sealed, true);
        }
    }

    /// A valid entry that edits or withdraws what somebody else wrote: it must have no effect.
    fn attack_others_message(&mut self, room: usize) {
        self.open_chain(room);
        let id = self.place(room).id();
        let of = self.rng.index(self.nodes.len());
        let Some(disk) = self.nodes[of].disk.rooms.get(&id) else { return };
        let text = crate::content::Kind::Text.code();
        let Some(target) = disk.entries.iter().rev().find(|e| e.kind == text).map(|e| e.hash.id())
        else {
            return;
        };
        let content = if self.rng.chance(500) {
            Content::Delete { target }
        } else {
            Content::Edit { target, text: "mallory was here".to_owned() }
        };
        self.write_content(room, 0, Some(content), true);
    }

    /// More runs that wait than anybody keeps.
    fn flood(&mut self, room: usize) {
        self.open_new_chain(room);
        for ahead in 0..300 {
            let bent = self.compose_as_attacker(room, 0, |slot| {
                slot.seq += 10 + ahead;
                slot.prev = Some(EntryHash([8; 32]));
            });
            let Some(entry) = bent else { return };
            self.ledger.forbidden.insert(entry.hash, "nothing is before it");
            let run = self.sign_as_attacker(entry);
            self.blast_run(room, &run, true);
        }
        self.change_attackers_device();
    }

    fn hand_to(&mut self, node: usize, room: usize, run: &[SealedEntry]) {
        let keys = self.place(room).keys.clone();
        let mut nonce = [0; 24];
        crate::ctx::Entropy::fill(&mut self.rng, &mut nonce);
        let bytes: Bytes = wire::envelope_of_run(&keys, EPOCH_MS + self.now, nonce, run).into();
        let index = self.nodes.len();
        self.carry(index, node, Packet::Gossip(gossip_id(&bytes), keys.topic, bytes));
    }

    /// A new device shows itself to one node, and hands another one an entry that breaks a rule:
    /// only who knows what it follows can tell.
    pub fn break_a_rule_between(&mut self, room: usize, knows: usize, lacks: usize) {
        self.change_attackers_device();
        let Some(profile) = self.compose_as_attacker(room, 0, |_| {}) else { return };
        let (id, hash, lamport) = (self.place(room).id(), profile.hash, profile.header.lamport);
        let run = self.sign_as_attacker(profile);
        self.hand_to(knows, room, &run);
        if let Some(attacker) = &mut self.attacker {
            let chain = Chain { next: 1, head: Some(hash), lamport: Some(lamport) };
            attacker.chains.insert(id, chain);
        }
        let bent = self.compose_as_attacker(room, 0, |slot| slot.lamport += 5);
        let Some(entry) = bent else { return };
        self.ledger.forbidden.insert(entry.hash, "its lamport clock is wrong");
        let run = self.sign_as_attacker(entry);
        self.hand_to(lacks, room, &run);
    }

    /// Hands one node runs of one device that follow something that does not exist.
    pub fn keep_waiting(&mut self, room: usize, node: usize, from: u64, count: u64) {
        for seq in from..from + count {
            let bent = self.compose_as_attacker(room, 0, |slot| {
                slot.seq = seq;
                slot.prev = Some(EntryHash([8; 32]));
            });
            let Some(entry) = bent else { return };
            let run = self.sign_as_attacker(entry);
            self.hand_to(node, room, &run);
        }
    }

    /// A beacon about history that nobody has.
    pub fn attack_with_beacon(&mut self, room: usize) {
        let keys = self.place(room).keys.clone();
        let mut frontier: Vec<_> =
            self.nodes.iter().map(|n| (n.device.prefix(), 1_000_000, HashShort([1; 8]))).collect();
        frontier.push((DeviceShort([5; 16]), 3, HashShort([5; 8])));
        frontier.sort_unstable();
        let Some(attacker) = &self.attacker else { return };
        let ack = VerifiedAck::issue(&attacker.keys, keys.room, &frontier);
        // Sealed anew each time: no gossip layer has seen it before.
        let mut nonce = [4; 24];
        nonce[..8].copy_from_slice(&self.now.to_le_bytes());
        let bytes = wire::envelope_of_beacon(&keys, EPOCH_MS + self.now, nonce, ack);
        self.blast(keys.topic, &bytes.into(), true);
    }

    /// Says hello to a node, as a member does, and answers like one from now on: who sends garbage
    /// is soon refused.
    pub fn say_hello_as_attacker(&mut self, room: usize, node: usize) {
        let keys = self.place(room).keys.clone();
        let (me, peer) = (self.peer_of(self.nodes.len()), self.peer_of(node));
        let Some(attacker) = &mut self.attacker else { return };
        attacker.polite = true;
        let presence =
            VerifiedPresence::issue(&attacker.keys, keys.room, &me, Digest([1; 32]), u64::MAX);
        let (process, nonce) = (Process([9; 16]), [5; 24]);
        let bytes = wire::hello_request(&keys, &me, &peer, presence, &process, nonce);
        self.carry(self.nodes.len(), node, Packet::Request(0, bytes.into()));
    }

    /// Tells a node, truly, that it has what that node wrote up to a position.
    pub fn acknowledge_as_attacker(&mut self, room: usize, node: usize, seq: u64) {
        let keys = self.place(room).keys.clone();
        let (me, peer) = (self.peer_of(self.nodes.len()), self.peer_of(node));
        let n = &self.nodes[node];
        let written = n.disk.rooms.get(&keys.room).into_iter().flat_map(|r| &r.entries);
        let named = written.filter(|e| e.device == n.device).find(|e| e.seq == seq);
        let Some((hash, device)) = named.map(|e| (e.hash, e.device)) else { return };
        let Some(attacker) = &self.attacker else { return };
        let frontier = vec![(device.prefix(), seq, hash.prefix())];
        let ack = VerifiedAck::issue(&attacker.keys, keys.room, &frontier);
        let bytes = wire::ack_request(&keys, &me, &peer, ack);
        self.carry(self.nodes.len(), node, Packet::Request(0, bytes.into()));
    }

    /// Presence at a peer that is somebody else.
    fn attack_with_presence(&mut self, room: usize) {
        let keys = self.place(room).keys.clone();
        let peer = self.peer_of(self.rng.clone().index(self.nodes.len()));
        let Some(attacker) = &self.attacker else { return };
        let presence =
            VerifiedPresence::issue(&attacker.keys, keys.room, &peer, Digest([1; 32]), u64::MAX);
        let bytes = wire::envelope_of_presence(&keys, EPOCH_MS + self.now, [6; 24], presence);
        self.blast(keys.topic, &bytes.into(), true);
    }

    /// A new device whose first entry is not its profile.
    fn attack_with_stranger(&mut self, room: usize) {
        let keys = self.place(room).keys.clone();
        let seed = self.rng.bits().to_le_bytes().repeat(4);
        let mut device = [0; 32];
        device.copy_from_slice(&seed);
        let stranger = Keys::from_seeds(&[1; 32], &device, 0);
        let slot = Slot {
            seq: 0,
            prev: None,
            parents: Vec::new(),
            lamport: 0,
            hlc: (EPOCH_MS + self.now) << 16,
        };
        let content = Content::Text { text: "no profile".to_owned(), reply_to: None };
        let entry = compose(&keys, stranger.device_id(), slot, content);
        self.ledger.forbidden.insert(entry.hash, "it begins a chain without a profile");
        if let Some(run) = VerifiedRun::sign(stranger.device_key(), vec![entry]) {
            let sealed: Vec<SealedEntry> =
                run.into_entries().into_iter().map(|e| e.sealed).collect();
            self.blast_run(room, &sealed, true);
        }
    }

    /// Two entries in one place, each for another half of the group.
    pub fn fork(&mut self, room: usize) {
        self.open_chain(room);
        let Some(device) = self.attacker.as_ref().map(Attacker::device) else { return };
        let (left, right) =
            (self.compose_as_attacker(room, 0, |_| {}), self.compose_as_attacker(room, 1, |_| {}));
        let (Some(left), Some(right)) = (left, right) else { return };
        self.ledger.forked.insert(device);
        let index = self.nodes.len();
        let (hash, lamport, id) = (left.hash, left.header.lamport, self.place(room).id());
        let branches = [self.sign_as_attacker(left), self.sign_as_attacker(right)];
        let keys = self.place(room).keys.clone();
        for node in
            (0..index).filter(|n| self.network.working(*n, index).is_some()).collect::<Vec<_>>()
        {
            let branch = &branches[node % 2];
            let mut nonce = [0; 24];
            crate::ctx::Entropy::fill(&mut self.rng, &mut nonce);
            let bytes: Bytes =
                wire::envelope_of_run(&keys, EPOCH_MS + self.now, nonce, branch).into();
            self.carry(index, node, Packet::Gossip(gossip_id(&bytes), keys.topic, bytes));
        }
        if let Some(attacker) = &mut self.attacker {
            let chain = attacker.chains.entry(id).or_default();
            *chain = Chain { next: chain.next + 1, head: Some(hash), lamport: Some(lamport) };
        }
    }
}

impl Attacker {
    /// Its index among the linked.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }
}
