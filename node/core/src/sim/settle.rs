//! The end of a world: faults stop, everything heals, and then all members must have the same, show
//! the same, know that they do, and fall silent.

use std::collections::BTreeMap;

use crate::content::{Content, Kind};
use crate::event::Message;
use crate::ids::{DeviceId, RoomId};
use crate::room::timeline::{self, Line};
use crate::rows::Lack;
use crate::sim::plan::MINUTE;
use crate::sim::world::{Happening, World};
use crate::step::EntryRow;

/// After everything healed, convergence may take this long: two beacon intervals, should one beacon
/// meet a full queue.
const CONVERGE_MS_MAX: u64 = 12 * MINUTE;
/// How often it is looked at.
const LOOK_MS: u64 = 1_000;
/// How long silence is listened to.
const SILENCE_MS: u64 = 3 * MINUTE;
/// Sync requests of one node per peer and room in that time: a few rounds after a gap that nobody
/// can fill, not a loop.
const SILENT_SYNCS_MAX: u64 = 10;

impl World {
    /// A whole life: faults, healing, comparison.
    pub fn live(&mut self) {
        self.schedule();
        let end = self.plan.active_ms;
        self.run_until(end);
        self.heal();
        let from = self.now;
        while self.failure.is_none() {
            self.scroll();
            self.run_until(self.now + LOOK_MS);
            let difference = self.difference();
            if self.quality.same_ms == 0 && self.is_same() {
                self.quality.same_ms = self.now - from;
            }
            let Some(what) = difference else { break };
            if self.now - from > CONVERGE_MS_MAX {
                self.fail(
                    None,
                    format!(
                        "no convergence {} min after healing: {what}",
                        CONVERGE_MS_MAX / MINUTE
                    ),
                );
            }
        }
        self.quality.converged_ms = self.now - from;
        self.listen();
        self.compare_all();
    }

    /// All faults end: everybody is up, linked, and wants to be in their rooms.
    pub fn heal(&mut self) {
        self.faulty = false;
        self.network.whole();
        self.network.unblock();
        let (nodes, shape) = (self.nodes.len(), self.plan.healed_shape);
        self.network.shape(nodes, shape, false, &mut self.rng);
        self.say(|| format!("healed: {shape:?}"));
        for node in 0..nodes {
            self.nodes[node].stopped_until = self.now;
            self.resume(node);
            if self.nodes[node].full_until > self.now {
                self.input(node, crate::step::Input::Tick);
            }
            self.start(node);
            for room in self.wants[node].clone() {
                self.at(self.now + 1, Happening::Join { node, room });
            }
        }
        self.reconcile();
    }

    /// Somebody scrolls through everything: what rotted is noticed, as a store does when it reads.
    fn scroll(&mut self) {
        for node in 0..self.nodes.len() {
            for (room, entry) in self.nodes[node].disk.rotten() {
                self.input(node, crate::step::Input::BodyRotted { room, entry });
            }
        }
    }

    fn is_same(&self) -> bool {
        (0..self.places.len()).all(|room| self.set_difference(room).is_none())
    }

    /// What still differs, if anything.
    #[must_use]
    pub fn difference(&self) -> Option<String> {
        let places = 0..self.places.len();
        places
            .clone()
            .find_map(|r| self.set_difference(r))
            .or_else(|| places.clone().find_map(|r| self.body_difference(r)))
            .or_else(|| places.clone().find_map(|r| self.ack_difference(r)))
            .or_else(|| self.queue_difference())
    }

    fn set_difference(&self, room: usize) -> Option<String> {
        let id = self.place(room).id();
        let wanting = |n: &usize| self.wants[*n].contains(&room);
        let mut first: Option<(usize, u64, usize)> = None;
        for node in (0..self.nodes.len()).filter(wanting) {
            let Some(disk) = self.nodes[node].disk.rooms.get(&id).filter(|r| !r.row.left) else {
                return Some(format!("node {node} is not in {}", self.place(room).name));
            };
            let (digest, len) = self.comparable(disk);
            match first {
                None => first = Some((node, digest, len)),
                Some((other, d, l)) if (d, l) != (digest, len) => {
                    return Some(format!(
                        "node {node} has {len} entries in {}, node {other} has {l}",
                        self.place(room).name
                    ));
                }
                Some(_) => {}
            }
        }
        None
    }

    /// Everybody has the bodies that their authors have.
    fn body_difference(&self, room: usize) -> Option<String> {
        let id = self.place(room).id();
        let has = |node: usize, entry: &EntryRow| {
            let row = self.nodes[node].disk.rooms.get(&id)?.entry(&entry.hash.id())?;
            row.entry.body.as_ref()
        };
        for node in (0..self.nodes.len()).filter(|n| self.wants[*n].contains(&room)) {
            if let Some((_, entry)) = self.nodes[node].disk.rotten().iter().find(|r| r.0 == id) {
                return Some(format!("node {node} has a rotten body of {}", entry.short()));
            }
            let rows = &self.nodes[node].disk.rooms.get(&id)?.entries;
            // An edit that came back after its message was deleted is not wanted any more.
            let unwanted =
                |r: &EntryRow| r.lack == Some(Lack::Deleted) && r.kind == Kind::Edit.code();
            for row in rows.iter().filter(|r| r.entry.body.is_none() && !unwanted(r)) {
                // What the attacker wrote, any member may still have.
                let given = match self.node_of(&row.device) {
                    Some(author) => has(author, row).is_some(),
                    None => (0..self.nodes.len()).any(|n| has(n, row).is_some()),
                };
                if given {
                    return Some(format!(
                        "node {node} lacks the body of {} ({:?})",
                        row.hash.id().short(),
                        row.lack
                    ));
                }
            }
        }
        None
    }

    /// Digest and size of what all must have: everything but the chains of devices that forked.
    fn comparable(&self, disk: &crate::sim::disk::DiskRoom) -> (u64, usize) {
        if self.ledger.forked.is_empty() {
            return (disk.digest, disk.entries.len());
        }
        let kept = || disk.entries.iter().filter(|e| !self.ledger.forked.contains(&e.device));
        let digest = kept().fold(0u64, |d, e| {
            d.wrapping_add(u64::from(e.hash.0[0]) << 32 | u64::from(e.hash.0[9]))
        });
        (digest, kept().count())
    }

    /// Every author knows that every member has everything.
    fn ack_difference(&self, room: usize) -> Option<String> {
        let id = self.place(room).id();
        let members: Vec<usize> =
            (0..self.nodes.len()).filter(|n| self.wants[*n].contains(&room)).collect();
        for &author in &members {
            let disk = self.nodes[author].disk.rooms.get(&id)?;
            let written = disk.chain_len(&self.nodes[author].device);
            for &other in members.iter().filter(|o| **o != author) {
                let acked = disk.devices.get(&self.nodes[other].device).map_or(0, |d| d.acked);
                if acked != written {
                    return Some(format!(
                        "node {author} counts {acked} of its {written} entries as being with node {other}"
                    ));
                }
            }
        }
        None
    }

    fn queue_difference(&self) -> Option<String> {
        for (node, n) in self.nodes.iter().enumerate() {
            let busy = n.machine.as_ref().and_then(|m| {
                m.rooms().find(|r| !r.is_idle() || (r.is_asking() && self.attacker.is_none()))
            });
            if let Some(room) = busy {
                return Some(format!("node {node} still has work queued in {}", room.name()));
            }
            if !n.waiting.is_empty() {
                return Some(format!(
                    "node {node} has {} commands without a reply",
                    n.waiting.len()
                ));
            }
        }
        None
    }

    /// Nobody has anything to say: the network must be almost silent.
    fn listen(&mut self) {
        let before: Vec<u64> = self.nodes.iter().map(|n| n.syncs).collect();
        self.run_until(self.now + SILENCE_MS);
        for (node, before) in before.into_iter().enumerate() {
            let asked = self.nodes[node].syncs - before;
            let most = SILENT_SYNCS_MAX * (self.places.len() * self.nodes.len()) as u64;
            if asked > most {
                self.fail(
                    Some(node),
                    format!(
                        "asked {asked} times for history in {} silent minutes",
                        SILENCE_MS / MINUTE
                    ),
                );
            }
        }
        // A presence or a beacon may be on its way just now.
        let calm = (0..5).any(|_| {
            self.run_until(self.now + LOOK_MS);
            self.difference().is_none()
        });
        if !calm && let Some(what) = self.difference() {
            self.fail(None, format!("did not stay converged: {what}"));
        }
    }

    /// Same timeline everywhere, and the one that a naive chat would show.
    fn compare_all(&mut self) {
        if self.failure.is_some() {
            return;
        }
        for room in 0..self.places.len() {
            let id = self.place(room).id();
            let mut first: Option<(usize, Vec<Message>)> = None;
            for node in self.members(room) {
                self.quality.entries =
                    self.quality.entries.max(self.nodes[node].disk.rooms[&id].entries.len() as u64);
                let shown = self.timeline(node, id);
                let honest = |d: &DeviceId| self.ledger.honest.contains_key(d);
                let agreed = self.chat.compare(id, &shown, honest);
                let agreed = agreed.and_then(|()| self.compare_deleted(node, id, &shown));
                if let Err(what) = agreed.and_then(|()| self.compare_names(node, id)) {
                    return self.fail(Some(node), format!("{}: {what}", self.place(room).name));
                }
                let mut comparable: Vec<Message> =
                    shown.into_iter().filter(|m| !self.ledger.forked.contains(&m.device)).collect();
                if !self.ledger.forked.is_empty() {
                    // Where a fork hides parents, order is not the same everywhere; the messages
                    // are.
                    comparable.sort_by_key(|m| m.id);
                }
                match &first {
                    None => first = Some((node, comparable)),
                    Some((other, lines)) if *lines != comparable => {
                        let at =
                            lines.iter().zip(&comparable).position(|(a, b)| a != b).unwrap_or(0);
                        let what = format!(
                            "line {at} is {:?} here and {:?} at node {other}",
                            comparable.get(at),
                            lines.get(at)
                        );
                        return self.fail(Some(node), what);
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// What its author withdrew is on no disk any more.
    fn compare_deleted(&self, node: usize, room: RoomId, shown: &[Message]) -> Result<(), String> {
        let disk = &self.nodes[node].disk.rooms[&room];
        let kept = shown
            .iter()
            .find(|m| m.deleted && disk.entry(&m.id).is_some_and(|e| e.entry.body.is_some()));
        kept.map_or(Ok(()), |m| {
            Err(format!("still has the text of message {}, which was withdrawn", m.id.short()))
        })
    }

    fn compare_names(&self, node: usize, room: RoomId) -> Result<(), String> {
        for (device, row) in &self.nodes[node].disk.rooms[&room].devices {
            let Some(name) = self.chat.name(device) else { continue };
            if row.name != name {
                return Err(format!(
                    "knows {} as {:?}, they are {name:?}",
                    device.short(),
                    row.name
                ));
            }
        }
        Ok(())
    }

    /// What a node shows of a room, without what is local (numbers, times of arrival, states).
    #[must_use]
    pub fn timeline(&self, node: usize, room: RoomId) -> Vec<Message> {
        let n = &self.nodes[node];
        let Some(disk) = n.disk.rooms.get(&room) else { return Vec::new() };
        let Some(keys) = self.places.iter().find(|p| p.id() == room).map(|p| &p.keys) else {
            return Vec::new();
        };
        let opened: Vec<(&EntryRow, Option<Content>)> =
            disk.entries.iter().map(|e| (e, keys.open(&e.entry).ok())).collect();
        let is_line = |e: &EntryRow| {
            crate::content::Kind::from_code(e.kind).is_some_and(crate::content::Kind::is_line)
        };
        let all = opened.iter().map(|(row, content)| Line { row, content: content.as_ref() });
        let (lines, changes): (Vec<Line<'_>>, Vec<Line<'_>>) = all.partition(|l| is_line(l.row));
        let devices: BTreeMap<DeviceId, _> = disk.devices.clone();
        let mut shown = timeline::fold(&lines, &changes, &devices);
        for message in &mut shown {
            message.journal = 0;
            message.arrived_ms = 0;
            message.at_ms = 0;
        }
        shown
    }
}
