//! What users do and what befalls them: commands of every kind, outages, partitions, clocks that
//! jump.

use crate::command::Command;
use crate::content::Kind;
use crate::ids::EntryId;
use crate::place::Place;
use crate::sim::plan::Shape;
use crate::sim::rng::Seeded;
use crate::sim::world::{Happening, World};
use crate::step::{CommandId, EntryRow, Input};

/// Commands of one world, about.
const MESSAGES_MAX: u64 = 200;
/// How soon a user who could not open a room tries again.
const TRY_AGAIN_MS: u64 = 3_000;
const EMOJI: [&str; 4] = ["👍", "🎉", "❤️", "😄"];

impl World {
    /// Schedules the whole active time of a world.
    pub fn schedule(&mut self) {
        let end = self.plan.active_ms;
        // Who is not in a room does not forward for it: in a sparse network everybody is, so that
        // members reach each other.
        let sparse = (self.plan.shape, self.plan.healed_shape) != (Shape::Mesh, Shape::Mesh);
        for node in 0..self.nodes.len() {
            if self.plan.rooms > 1 && (sparse || self.rng.chance(700)) {
                self.wants[node].push(1);
            }
            // Most are there from the start; some come later.
            let late = self.rng.chance(150) && (!self.plan.calm || self.plan.shape == Shape::Mesh);
            let at = if late { self.rng.below(end / 2) } else { self.rng.below(2_000) };
            self.at(at, Happening::Start { node });
        }
        for _ in 0..self.plan.commands {
            let (at, node) = (3_000 + self.rng.below(end), self.rng.index(self.nodes.len()));
            self.at(at, Happening::Act { node });
        }
        for _ in 0..self.plan.outages {
            let (at, node, for_ms) =
                (self.rng.below(end), self.rng.index(self.nodes.len()), self.rng.below(end / 2));
            self.at(at, Happening::Down { node, for_ms });
        }
        for _ in 0..self.plan.kills {
            let (at, node) = (self.rng.below(end), self.rng.index(self.nodes.len()));
            let for_ms = 50 + self.rng.below(800);
            self.at(at, Happening::Down { node, for_ms });
        }
        for _ in 0..self.plan.stops {
            let (at, node) = (self.rng.below(end), self.rng.index(self.nodes.len()));
            let for_ms = self.rng.pick(&[900, 5_000, 15_000, 60_000]);
            self.at(at, Happening::Stop { node, for_ms });
        }
        for _ in 0..self.plan.partitions {
            let (at, for_ms) = (self.rng.below(end), 1_000 + self.rng.below(end / 3));
            self.at(at, Happening::Partition { for_ms });
        }
        let pairs = self.network.pairs();
        for _ in 0..self.plan.flaps {
            let ((a, b), at, for_ms) =
                (self.rng.pick(&pairs), self.rng.below(end), self.rng.below(30_000));
            self.at(at, Happening::Flap { a, b, for_ms });
        }
        for _ in 0..self.plan.jumps {
            let (at, node) = (self.rng.below(end), self.rng.index(self.nodes.len()));
            let by_ms = self.rng.pick(&[-86_400_000, -600_000, -3_000, 3_000, 600_000, 86_400_000]);
            self.at(at, Happening::Jump { node, by_ms });
        }
        let rot = &mut Seeded::new(self.plan.seed, 7);
        for _ in 0..self.plan.rots {
            let (at, node) = (rot.below(end), rot.index(self.nodes.len()));
            let which = rot.below(u64::MAX);
            self.at(at, Happening::Rot { node, which });
        }
        if self.plan.attacker {
            for _ in 0..self.rng.within(5, 40) {
                let at = self.rng.below(end);
                self.at(at, Happening::Attack);
            }
        }
    }

    /// A bit of a body flips on a disk. Somebody else still has it, and keeps it: what rots once
    /// rots nowhere else.
    pub fn rot(&mut self, node: usize, which: u64) {
        // Only large bodies lie in plain files. Names and deletions never do: they are in pages of
        // the database, each with a check of its own.
        let is_text = |e: &EntryRow| {
            matches!(Kind::from_code(e.kind), Some(Kind::Text | Kind::Notice | Kind::Edit))
        };
        let elsewhere = |e: &EntryRow| {
            let others = self.nodes.iter().enumerate().filter(|(n, _)| *n != node);
            others.flat_map(|(_, n)| n.disk.rooms.get(&e.room)).any(|r| {
                !r.row.left && r.entry(&e.hash.id()).is_some_and(|o| o.entry.body.is_some())
            })
        };
        let rooms = self.nodes[node].disk.rooms.values().filter(|r| !r.row.left);
        let fits = |e: &&EntryRow| {
            is_text(e)
                && e.entry.body.is_some()
                && !self.ledger.rotted.contains(&e.hash)
                && elsewhere(e)
        };
        let rows: Vec<&EntryRow> = rooms.flat_map(|r| r.entries.iter().filter(fits)).collect();
        let Some(at) = which.checked_rem(rows.len() as u64) else { return };
        let Some((room, id, hash)) = rows
            .get(usize::try_from(at).unwrap_or(0))
            .map(|row| (row.room, row.hash.id(), row.hash))
        else {
            return;
        };
        self.ledger.rotted.insert(hash);
        self.say(|| format!("node {node}: the body of {} rots", id.short()));
        if let Some(disk) = self.nodes[node].disk.rooms.get_mut(&room)
            && let Some(row) = disk.by_id.get(&id).and_then(|at| disk.entries.get_mut(*at))
            && let Some(body) = &row.entry.body
        {
            let mut bytes = body.to_vec();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            row.entry.body = Some(bytes.into());
        }
    }

    /// The network falls apart.
    pub fn partition(&mut self, for_ms: u64) {
        if !self.faulty {
            return;
        }
        let kinds = self.rng.within(2, 3);
        let groups = (0..=self.nodes.len()).map(|_| self.rng.below(kinds)).collect();
        self.say(|| format!("partition {groups:?} for {for_ms} ms"));
        self.network.divide(groups);
        self.reconcile();
        self.at(self.now + for_ms, Happening::Whole);
    }

    /// Gives a command in a user's name. Its reply is expected.
    pub fn order(&mut self, node: usize, command: Command) -> CommandId {
        self.command += 1;
        let id = self.command;
        if self.nodes[node].machine.is_some() {
            self.nodes[node].waiting.insert(id);
            self.said += 1;
            self.say(|| format!("node {node} wants {}", short(&command)));
            self.input(node, Input::Command { id, command });
        }
        id
    }

    /// A user opens a room unless it is open.
    pub fn join(&mut self, node: usize, room: usize) {
        let place = self.place(room);
        if self.nodes[node].machine.is_none()
            || self.nodes[node].is_in(&place.id())
            || !self.wants[node].contains(&room)
        {
            return;
        }
        let (name, root) = (place.name.clone(), place.root.clone());
        self.command += 1;
        let id = self.command;
        self.nodes[node].waiting.insert(id);
        self.input(node, Input::Join { id, name, root, passphrase: false });
        // The reply may be lost in a crash.
        self.at(self.now + TRY_AGAIN_MS, Happening::Join { node, room });
    }

    /// A user does something at random.
    pub fn act(&mut self, node: usize) {
        if self.nodes[node].machine.is_none() || self.said >= MESSAGES_MAX {
            return;
        }
        let room = self.rng.pick(&self.wants[node].clone());
        let place = Place::Room(self.place(room).id());
        match self.rng.below(100) {
            0..55 => {
                // A burst becomes a run of several entries, or fills the window.
                let burst = match self.rng.below(100) {
                    0..9 => self.rng.within(2, 12),
                    9 => self.rng.within(35, 60),
                    _ => 1,
                };
                for _ in 0..burst {
                    let text = self.words(node);
                    self.order(node, Command::SendMessage { room: place, text, reply_to: None });
                }
            }
            55..63 => {
                let (reply_to, text) = (self.some_message(node, room, false), self.words(node));
                self.order(node, Command::SendMessage { room: place, text, reply_to });
            }
            63..67 => {
                let text = self.words(node);
                self.order(node, Command::SendNotice { room: place, text });
            }
            67..97 => self.change(node, room, place),
            97..98 => {
                let name = format!("name {}", self.rng.below(1_000));
                self.order(node, Command::SetName { name });
            }
            _ if self.plan.calm => {}
            _ => {
                self.order(node, Command::LeaveRoom { room: place });
                let at = self.now + self.rng.below(120_000);
                self.at(at, Happening::Join { node, room });
            }
        }
    }

    fn change(&mut self, node: usize, room: usize, place: Place) {
        let kind = self.rng.below(30);
        let Some(message) = self.some_message(node, room, kind < 15) else { return };
        let command = match kind {
            0..10 => Command::EditMessage { room: place, message, text: self.words(node) },
            10..15 => Command::DeleteMessage { room: place, message },
            _ => Command::React {
                room: place,
                message,
                emoji: self.rng.pick(&EMOJI).to_owned(),
                on: self.rng.chance(700),
            },
        };
        self.order(node, command);
    }

    /// A message on the disk of a node, perhaps one of its own.
    fn some_message(&mut self, node: usize, room: usize, own: bool) -> Option<EntryId> {
        let place = self.place(room).id();
        let (text, notice) = (Kind::Text.code(), Kind::Notice.code());
        let n = &self.nodes[node];
        let entries = &n.disk.rooms.get(&place)?.entries;
        let fits = |e: &&crate::step::EntryRow| {
            (e.kind == text || e.kind == notice) && (!own || e.device == n.device)
        };
        // The last few are what people react to.
        let near: Vec<EntryId> =
            entries.iter().rev().filter(fits).take(12).map(|e| e.hash.id()).collect();
        (!near.is_empty()).then(|| self.rng.pick(&near))
    }

    fn words(&mut self, node: usize) -> String {
        let n = self.rng.below(1_000_000);
        let long =
            if self.rng.chance(40) { self.rng.within(500, 9_000) } else { self.rng.below(60) };
        format!(
            "{} says {n} {}",
            self.nodes[node].name,
            "x".repeat(usize::try_from(long).unwrap_or(0))
        )
    }
}

fn short(command: &Command) -> String {
    format!("{command:?}").chars().take(100).collect()
}
