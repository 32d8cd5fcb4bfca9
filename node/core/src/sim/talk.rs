//! Worlds of direct messages: two or three people who write to each other while everything goes
//! wrong that can. Every message must be with the other side exactly once, in order, or be reported
//! as waiting; every acknowledgement must be true.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::Command;
use crate::content::Kind;
use crate::direct::outbox::has_left;
use crate::direct::timeline::{Names, display_key};
use crate::event::{Delivery, Message};
use crate::ids::{DeviceId, EntryId, IdentityId, RoomId};
use crate::place::Place;
use crate::query::Standing;
use crate::sim::desk::Desk;
use crate::sim::plan::{MINUTE, Plan};
use crate::sim::rng::Seeded;
use crate::sim::world::{Happening, World};
use crate::sim::{Failure, Outcome};
use crate::step::{DirectRow, OutboxRow};

/// After everything healed: the longest pause between tries, and the time in which a lost session
/// may be replaced only once.
const CONVERGE_MS_MAX: u64 = 80 * MINUTE;
/// How often it is looked at: at first, and once it takes long.
const LOOK_MS: (u64, u64) = (500, 20_000);
/// How long silence is listened to, and how many frames of one node are silence.
const SILENCE: (u64, u64) = (20 * MINUTE, 6);
/// Users begin to talk once rooms have made them known to each other.
const BEGIN_MS: u64 = 5_000;

/// Runs the world of a seed.
#[must_use]
pub fn run(seed: u64, trace: bool) -> Outcome {
    let plan = plan(seed);
    crate::crypto::suite::set_fast(plan.fast);
    let mut world = World::new(plan);
    world.trace = trace;
    world.talk();
    world.outcome()
}

/// What a seed means.
#[must_use]
pub fn plan(seed: u64) -> Plan {
    let rng = &mut Seeded::new(seed, 5);
    let mut plan = Plan::calm(seed, rng.pick(&[2, 2, 2, 3]), 1);
    plan.calm = false;
    plan.fast = seed % 50 != 7;
    plan.active_ms = BEGIN_MS + rng.pick(&[10_000, 30_000, 60_000]);
    plan.commands = rng.pick(&[5, 10, 20, 40]);
    plan.delay_ms = rng.pick(&[5, 50, 200, 2_000]);
    plan.batch = rng.pick(&[1, 3, 8]);
    plan.fresh_peers = rng.chance(300);
    if rng.chance(100) {
        return plan;
    }
    plan.request_loss = rng.pick(&[0, 20, 150, 400]);
    plan.duplicates = rng.pick(&[0, 50, 300]);
    plan.crash = rng.pick(&[0, 0, 10, 40]);
    plan.down_ms = rng.pick(&[1_000, 20_000]);
    plan.outages = rng.pick(&[0, 0, 1, 2]);
    plan.partitions = rng.pick(&[0, 0, 1]);
    plan.flaps = rng.pick(&[0, 0, 3, 10]);
    plan.skew_ms = rng.pick(&[0, 0, 3_000, 86_400_000]);
    plan.full = rng.pick(&[0, 0, 0, 10]);
    plan
}

/// Plants a mistake and runs seeds until one of them fails.
#[cfg(feature = "faults")]
#[must_use]
pub fn hunt(fault: crate::sim::faults::Fault, seeds_max: u64) -> Option<(u64, Failure)> {
    use crate::sim::faults::plant;
    (0..seeds_max).find_map(|seed| {
        plant(Some(fault));
        let failure = run(seed, false).failure;
        plant(None);
        failure.filter(|_| run(seed, false).failure.is_none()).map(|f| (seed + 1, f))
    })
}

impl World {
    fn talk(&mut self) {
        self.schedule_talk();
        let end = self.plan.active_ms;
        self.run_until(end);
        self.heal();
        let from = self.now;
        while self.failure.is_none() {
            let look = if self.now - from < 10_000 { LOOK_MS.0 } else { LOOK_MS.1 };
            self.run_until(self.now + look);
            self.make_peace();
            let Some(what) = self.talk_difference() else { break };
            if self.now - from > CONVERGE_MS_MAX {
                self.fail(
                    None,
                    format!("not delivered {} min after healing: {what}", CONVERGE_MS_MAX / MINUTE),
                );
            }
        }
        self.quality.converged_ms = self.now - from;
        self.quality.entries = self.nodes.iter().map(|n| n.disk.desk.rows.len() as u64).sum();
        if self.failure.is_none() {
            self.compare_talk();
        }
        self.listen_to_talk();
    }

    fn schedule_talk(&mut self) {
        let end = self.plan.active_ms;
        for node in 0..self.nodes.len() {
            let at = self.rng.below(1_000);
            self.at(at, Happening::Start { node });
        }
        for _ in 0..self.plan.commands {
            let (at, node) = (self.rng.within(BEGIN_MS, end), self.rng.index(self.nodes.len()));
            self.at(at, Happening::Talk { node });
        }
        for _ in 0..self.plan.outages {
            let (at, node, for_ms) =
                (self.rng.below(end), self.rng.index(self.nodes.len()), self.rng.below(end / 2));
            self.at(at, Happening::Down { node, for_ms });
        }
        for _ in 0..self.plan.partitions {
            let (at, for_ms) = (self.rng.below(end), 1_000 + self.rng.below(end / 3));
            self.at(at, Happening::Partition { for_ms });
        }
        let pairs = self.network.pairs();
        for _ in 0..self.plan.flaps {
            let ((a, b), at, for_ms) =
                (self.rng.pick(&pairs), self.rng.below(end), self.rng.below(8_000));
            self.at(at, Happening::Flap { a, b, for_ms });
        }
        for (chance, restore) in [(250, false), (150, true)] {
            if self.plan.request_loss + self.plan.crash > 0 && self.rng.chance(chance) {
                let (at, node) = (self.rng.within(BEGIN_MS, end), self.rng.index(self.nodes.len()));
                let at_copy = self.rng.within(BEGIN_MS, at);
                if restore {
                    self.at(at_copy, Happening::CopyDesk { node });
                }
                self.at(at, Happening::LoseDesk { node, restore });
            }
        }
    }

    /// The keys of all sessions are lost, or everything about conversations is what it was at a
    /// copy.
    pub fn lose_desk(&mut self, node: usize, restore: bool) {
        if !self.faulty {
            return;
        }
        if self.nodes[node].machine.is_some() {
            self.crash(node, 500);
        }
        if !restore {
            let desk = &mut self.nodes[node].disk.desk;
            desk.account = None;
            desk.ratchets.clear();
            return self.say(|| format!("node {node} loses its session keys"));
        }
        let Some(copy) = self.nodes[node].copy.clone() else { return };
        self.say(|| format!("node {node} is restored from a copy"));
        let n = &mut self.nodes[node];
        // What has left since waits in the copy as if it never had: deleted there, nobody is told.
        let left = |r: &&OutboxRow| has_left(n.disk.desk.outbox.get(&(r.device, r.seq)));
        let unaware = copy.outbox.values().filter(|r| !has_left(Some(r))).filter(left);
        self.ledger.lost.extend(unaware.map(|r| r.id));
        for (at, id) in n.disk.desk.rows.iter().map(|r| ((r.room, r.id), r.id)) {
            if !copy.by_id.contains_key(&at) {
                self.ledger.lost.insert(id);
                n.told.forget(&id);
            }
        }
        n.disk.desk = copy;
        self.ledger.forget_numbers(n.device);
    }

    /// A user writes to somebody, or does something else about them.
    pub fn talk_act(&mut self, node: usize) {
        let other = (node + 1 + self.rng.index(self.nodes.len() - 1)) % self.nodes.len();
        let room = RoomId::of_conversation(&self.nodes[other].identity);
        let who = self.nodes[other].identity;
        let with = Place::With(who);
        match self.rng.below(100) {
            0..55 => {
                let burst = match self.rng.below(100) {
                    0..20 => self.rng.within(2, 12),
                    20..24 => self.rng.within(34, 50),
                    _ => 1,
                };
                for _ in 0..burst {
                    self.letter(node, with);
                }
            }
            55..80 => self.change_letter(node, room, with),
            80..86 => {
                let upto = self.nodes[node].disk.journal;
                self.order(node, Command::MarkRead { room: with, upto });
            }
            86..89 => {
                self.order(node, Command::Typing { room: with, typing: true });
            }
            89..91 => {
                let (receipts, typing) = (Some(self.rng.chance(700)), Some(self.rng.chance(700)));
                self.order(node, Command::SetPrivacy { receipts, typing });
            }
            91..94 => {
                self.order(node, Command::AcceptContact { who, petname: None });
            }
            94..96 => {
                let blocked = self.rng.chance(600);
                self.order(node, Command::BlockContact { who, blocked });
            }
            _ => {
                // Both at once.
                let own = Place::With(self.nodes[node].identity);
                self.letter(node, with);
                self.letter(other, own);
            }
        }
    }

    fn letter(&mut self, node: usize, with: Place) {
        let (n, long) = (self.rng.below(1_000_000), self.rng.below(60));
        let long = if self.rng.chance(20) { self.rng.within(500, 9_000) } else { long };
        let text = format!("{n} {}", "x".repeat(usize::try_from(long).unwrap_or(0)));
        self.order(node, Command::SendMessage { room: with, text, reply_to: None });
    }

    fn change_letter(&mut self, node: usize, room: RoomId, with: Place) {
        let kind = self.rng.below(20);
        let rows = &self.nodes[node].disk.desk.rows;
        let fits =
            |r: &&DirectRow| r.room == room && r.kind == Kind::Text.code() && (kind >= 12 || r.own);
        let near: Vec<EntryId> = rows.iter().rev().filter(fits).take(8).map(|r| r.id).collect();
        if near.is_empty() {
            return;
        }
        let message = self.rng.pick(&near);
        let text = format!("edited {}", self.rng.below(1_000));
        let command = match kind {
            0..7 => Command::EditMessage { room: with, message, text },
            7..12 => Command::DeleteMessage { room: with, message },
            _ => {
                Command::React {
                    room: with, message, emoji: "👍".into(), on: self.rng.chance(700)
                }
            }
        };
        self.order(node, command);
    }

    /// After everything healed, everybody takes in everybody.
    fn make_peace(&mut self) {
        for node in 0..self.nodes.len() {
            let contacts = self.nodes[node].disk.desk.contacts.values();
            let pending: Vec<(IdentityId, Standing)> = contacts
                .filter(|c| c.standing != Standing::Accepted)
                .map(|c| (c.identity, c.standing))
                .collect();
            for (who, standing) in pending {
                if standing == Standing::Blocked {
                    self.order(node, Command::BlockContact { who, blocked: false });
                }
                self.order(node, Command::AcceptContact { who, petname: None });
            }
        }
    }

    /// What is not delivered yet, if anything.
    fn talk_difference(&self) -> Option<String> {
        for (node, n) in self.nodes.iter().enumerate() {
            if !n.waiting.is_empty() {
                return Some(format!(
                    "node {node} has {} commands without a reply",
                    n.waiting.len()
                ));
            }
            if n.machine.as_ref().is_none_or(|m| !m.direct.is_idle())
                || !n.disk.desk.outbox.is_empty()
            {
                return Some(format!(
                    "node {node} has {} direct messages waiting",
                    n.disk.desk.outbox.len()
                ));
            }
        }
        None
    }

    /// Both sides have the same, show the same, and what is said to be delivered is.
    fn compare_talk(&mut self) {
        for (a, b) in (0..self.nodes.len()).flat_map(|a| (0..self.nodes.len()).map(move |b| (a, b)))
        {
            if a != b
                && let Err(what) = self.compare_pair(a, b)
            {
                return self.fail(Some(a), what);
            }
        }
    }

    fn compare_pair(&self, a: usize, b: usize) -> Result<(), String> {
        let room = |of: usize| RoomId::of_conversation(&self.nodes[of].identity);
        let (here, there) = (&self.nodes[a].disk.desk, &self.nodes[b].disk.desk);
        let mut own: Vec<&DirectRow> =
            here.rows.iter().filter(|r| r.room == room(b) && r.own).collect();
        let kept = |r: &&DirectRow| !self.ledger.lost.contains(&r.id);
        for row in own.iter().copied().filter(kept) {
            let other = there.get(&room(a), &row.id);
            if deleted_unsent(here, row, other) {
                continue;
            }
            if !matches!(row.state, Some(Delivery::Delivered { .. } | Delivery::Read)) {
                return Err(format!(
                    "message {} is {:?}, but does not wait",
                    row.id.short(),
                    row.state
                ));
            }
            let Some(other) = other else {
                return Err(format!("message {} is not with node {b}", row.id.short()));
            };
            // A withdrawal that was lost with an old copy is known to one side only.
            let withdrawn =
                !self.ledger.lost.is_empty() && (other.content.is_none() || row.content.is_none());
            let same = other.content == row.content || withdrawn;
            // Deleted before it arrived, and not known to have arrived: only that is told.
            let gone = row.target.unwrap_or(row.id);
            let told = (row.content.is_none() || withdrawn)
                && other.kind == Kind::Delete.code()
                && other.target.map_or(other.content.is_none(), |t| t == gone);
            let kind = other.kind == row.kind || told;
            if !(same || told) || !kind || (other.eff, other.lamport) != (row.eff, row.lamport) {
                let brief = |r: &DirectRow| (r.kind, r.content.is_some(), r.eff, r.lamport);
                return Err(format!(
                    "message {} is another one at node {b}: {:?} here, {:?} there",
                    row.id.short(),
                    brief(row),
                    brief(other)
                ));
            }
        }
        let order: Vec<u64> = own.iter().map(|r| r.seq).collect();
        own.sort_by_key(|r| display_key(r));
        if self.ledger.lost.is_empty() && own.iter().map(|r| r.seq).collect::<Vec<_>>() != order {
            return Err(
                "own messages are not shown in the order in which they were written".to_owned()
            );
        }
        let foreign = there.rows.iter().filter(|r| r.room == room(a) && !r.own).filter(kept);
        if let Some(row) =
            foreign.into_iter().find(|r| here.get(&room(b), &r.id).is_none_or(|o| !o.own))
        {
            return Err(format!("node {b} has message {}, which nobody wrote", row.id.short()));
        }
        if self.ledger.lost.is_empty() {
            let (mut mine, mut theirs) =
                (self.shown(a, room(b), false), self.shown(b, room(a), true));
            // What was deleted before it left is a line of its author's alone.
            let (ours, others) = (ids(&mine), ids(&theirs));
            mine.retain(|m| !m.deleted || others.contains(&m.id));
            theirs.retain(|m| !m.deleted || ours.contains(&m.id));
            if mine != theirs {
                let at = mine.iter().zip(&theirs).position(|(x, y)| x != y).unwrap_or(0);
                return Err(format!(
                    "line {at} is {:?} here, {:?} at node {b}",
                    mine.get(at),
                    theirs.get(at)
                ));
            }
        }
        Ok(())
    }

    /// What a node shows, without what is local; `own` turned around for the other side.
    fn shown(&self, node: usize, room: RoomId, turned: bool) -> Vec<Message> {
        let mut lines = self.nodes[node].disk.desk.timeline(room, &Names { own: "", other: "" });
        for line in &mut lines {
            line.room = RoomId([0; 16]);
            (line.journal, line.seq, line.arrived_ms, line.at_ms) = (0, 0, 0, 0);
            (line.identity, line.state) = (None, None);
            line.own ^= turned;
            line.reactions.iter_mut().for_each(|r| r.devices.sort_unstable());
        }
        lines
    }

    /// Nobody has anything to say: nothing is sent.
    fn listen_to_talk(&mut self) {
        if self.failure.is_some() {
            return;
        }
        let before: BTreeMap<DeviceId, u64> =
            self.nodes.iter().map(|n| (n.device, n.directs)).collect();
        self.run_until(self.now + SILENCE.0);
        for node in 0..self.nodes.len() {
            let sent = self.nodes[node].directs - before[&self.nodes[node].device];
            if sent > SILENCE.1 {
                self.fail(
                    Some(node),
                    format!("sent {sent} direct frames in {} silent minutes", SILENCE.0 / MINUTE),
                );
            }
        }
        if let Some(what) = self.talk_difference() {
            self.fail(None, format!("did not stay delivered: {what}"));
        }
    }
}

/// Whether a message was deleted before it left, or is the word of that: the other side needs
/// neither.
fn deleted_unsent(here: &Desk, row: &DirectRow, other: Option<&DirectRow>) -> bool {
    let gone = |r: &DirectRow| r.kind != Kind::Delete.code() && r.state == Some(Delivery::Failed);
    match row.target.filter(|_| row.kind == Kind::Delete.code()) {
        Some(target) => other.is_none() && here.get(&row.room, &target).is_some_and(gone),
        None => other.is_none() && gone(row),
    }
}

fn ids(lines: &[Message]) -> BTreeSet<EntryId> {
    lines.iter().map(|m| m.id).collect()
}
