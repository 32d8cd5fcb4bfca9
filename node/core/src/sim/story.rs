//! Stories: small worlds with named people, for tests that read like prose. Nothing happens by
//! chance here but small delays.
//!
//! ```text
//! let story = Story::of(["alice", "bob"]);
//! let [alice, bob] = story.people();
//! alice.joins("#garden");
//! alice.says("hello");
//! story.settles();
//! bob.sees(&["alice: hello"]);
//! ```

#![allow(clippy::panic, clippy::expect_used, reason = "a story that goes wrong ends the test")]

use std::cell::RefCell;
use std::rc::Rc;

use crate::command::{Command, Reply};
use crate::content::Kind;
use crate::crypto::{Context, hash, suite};
use crate::error::CommandError;
use crate::event::{Delivery, Event, Message};
use crate::ids::{DeviceId, EntryId, RoomId};
use crate::limits::RECIPIENT_MS;
use crate::place::Place as Meant;
use crate::sim::disk::Disk;
use crate::sim::plan::Plan;
use crate::sim::world::{Place, World};
use crate::step::Input;

/// Long enough for beacons after silence and everything that follows from them.
const SETTLE_MS: u64 = 90_000;

/// A world that a test tells about.
#[derive(Debug, Clone)]
pub struct Story {
    world: Rc<RefCell<World>>,
}

/// Somebody in a story.
#[derive(Debug, Clone)]
pub struct Person {
    world: Rc<RefCell<World>>,
    /// Index of the node.
    pub node: usize,
}

impl Story {
    /// People who all are at home, connected with one another, in no room yet.
    #[must_use]
    pub fn of<const N: usize>(names: [&str; N]) -> Self {
        Self::told(names, false, 0)
    }

    /// The same beside strangers without any key, who are connected with everybody, follow every
    /// room and never answer.
    #[must_use]
    pub fn with_strangers<const N: usize>(names: [&str; N], strangers: usize) -> Self {
        Self::told(names, false, strangers)
    }

    /// The same with mallory, a member of every room who breaks rules and is connected with
    /// everybody.
    #[must_use]
    pub fn with_mallory<const N: usize>(names: [&str; N]) -> Self {
        Self::told(names, true, 0)
    }

    fn told<const N: usize>(names: [&str; N], attacker: bool, strangers: usize) -> Self {
        suite::set_fast(false);
        let mut world = World::new(Plan { attacker, strangers, ..Plan::calm(1, N, 1) });
        for (node, name) in names.iter().enumerate() {
            (*name).clone_into(&mut world.nodes[node].name);
            world.nodes[node].disk.name = (*name).to_owned();
            world.wants[node].clear();
        }
        world.places.clear();
        world.plan.calm = false;
        world.faulty = false;
        world.network.let_attacker_reach_all(N);
        for node in 0..N {
            world.start(node);
        }
        let story = Self { world: Rc::new(RefCell::new(world)) };
        story.passes(1_000);
        story
    }

    /// Everybody, in the order of their names.
    #[must_use]
    pub fn people<const N: usize>(&self) -> [Person; N] {
        std::array::from_fn(|node| Person { world: self.world.clone(), node })
    }

    /// Time passes.
    pub fn passes(&self, ms: u64) {
        let mut world = self.world.borrow_mut();
        let until = world.now + ms;
        world.run_until(until);
        assert_eq!(world.failure, None, "an invariant is broken");
    }

    /// Time passes until nothing is left to be said.
    pub fn settles(&self) {
        self.passes(SETTLE_MS);
    }

    /// Everything that must hold in every world, and nothing else to look at.
    #[must_use]
    pub fn world(&self) -> Rc<RefCell<World>> {
        self.world.clone()
    }

    /// Mallory does something to a room.
    pub fn mallory(&self, what: impl FnOnce(&mut World)) {
        what(&mut self.world.borrow_mut());
    }

    /// Mallory's device.
    #[must_use]
    pub fn mallorys_device(&self) -> DeviceId {
        self.world.borrow().attacker.as_ref().expect("a story with mallory").device()
    }
}

impl Person {
    pub(super) fn rc(&self) -> Rc<RefCell<World>> {
        self.world.clone()
    }

    pub(super) fn with<T>(&self, what: impl FnOnce(&mut World) -> T) -> T {
        what(&mut self.world.borrow_mut())
    }

    fn passes(&self, ms: u64) {
        self.with(|w| {
            let until = w.now + ms;
            w.run_until(until);
            assert_eq!(w.failure, None, "an invariant is broken");
        });
    }

    /// Opens a room that anybody who knows its name can read.
    pub fn joins(&self, room: &str) -> RoomId {
        self.joins_with(room, "")
    }

    /// Opens the room that name and passphrase make together.
    pub fn joins_with(&self, room: &str, passphrase: &str) -> RoomId {
        // As the stretch does, without its cost.
        let secret = hash(Context::ROOM_SALT, &[room.as_bytes(), passphrase.as_bytes()]);
        let place = Place::new(room, secret.0);
        let id = place.id();
        let reply = self.with(|w| {
            let (name, root) = (place.name.clone(), place.root.clone());
            if !w.places.iter().any(|p| p.id() == id) {
                w.places.push(place);
            }
            w.command += 1;
            let command = w.command;
            w.nodes[self.node].waiting.insert(command);
            w.input(
                self.node,
                Input::Join { id: command, name, root, passphrase: !passphrase.is_empty() },
            );
            command
        });
        assert!(matches!(self.hears_back(reply), Ok(Reply::Joined { .. })), "the room opens");
        self.passes(500);
        id
    }

    fn hears_back(&self, command: u64) -> Result<Reply, CommandError> {
        for _ in 0..50 {
            self.passes(1);
            if let Some(reply) = self.with(|w| w.nodes[self.node].replies.remove(&command)) {
                return reply;
            }
        }
        panic!("no reply");
    }

    /// Gives a command and waits for its reply.
    ///
    /// # Errors
    /// What the core says.
    pub fn tries(&self, command: Command) -> Result<Reply, CommandError> {
        let id = self.with(|w| w.order(self.node, command));
        self.hears_back(id)
    }

    fn does(&self, command: Command) -> EntryId {
        match self.tries(command) {
            Ok(Reply::Stored { message, .. }) => message,
            other => panic!("not stored: {other:?}"),
        }
    }

    /// What a name means to this person.
    ///
    /// # Errors
    /// What the core says.
    pub fn finds(&self, wanted: &str) -> Result<Meant, CommandError> {
        self.with(|w| w.nodes[self.node].machine.as_ref().expect("is on").place(wanted))
    }

    /// The room or conversation of that name.
    #[must_use]
    #[track_caller]
    pub fn place(&self, wanted: &str) -> Meant {
        self.finds(wanted).unwrap_or_else(|error| panic!("{wanted}: {error}"))
    }

    fn room(&self) -> String {
        self.with(|w| {
            let rooms = w.nodes[self.node].disk.rooms.values();
            rooms.filter(|r| !r.row.left).map(|r| r.row.name.clone()).next().expect("is in a room")
        })
    }

    fn here(&self) -> Meant {
        self.place(&self.room())
    }

    /// Writes in the only room.
    pub fn says(&self, text: &str) -> EntryId {
        self.says_in(&self.room(), text)
    }

    /// Writes in a room.
    pub fn says_in(&self, room: &str, text: &str) -> EntryId {
        self.does(Command::SendMessage {
            room: self.place(room),
            text: text.to_owned(),
            reply_to: None,
        })
    }

    /// Answers a message.
    pub fn replies(&self, to: EntryId, text: &str) -> EntryId {
        self.does(Command::SendMessage {
            room: self.here(),
            text: text.to_owned(),
            reply_to: Some(to),
        })
    }

    /// Changes an own message.
    pub fn edits(&self, message: EntryId, text: &str) {
        self.does(Command::EditMessage { room: self.here(), message, text: text.to_owned() });
    }

    /// Withdraws an own message.
    pub fn deletes(&self, message: EntryId) {
        self.does(Command::DeleteMessage { room: self.here(), message });
    }

    /// Puts an emoji on a message.
    pub fn reacts(&self, message: EntryId, emoji: &str) {
        self.does(Command::React { room: self.here(), message, emoji: emoji.to_owned(), on: true });
    }

    /// Takes it off again.
    pub fn unreacts(&self, message: EntryId, emoji: &str) {
        self.does(Command::React {
            room: self.here(),
            message,
            emoji: emoji.to_owned(),
            on: false,
        });
    }

    /// Leaves the only room.
    pub fn leaves(&self) {
        assert_eq!(self.tries(Command::LeaveRoom { room: self.here() }), Ok(Reply::Done));
        self.passes(500);
    }

    /// Hides what a device writes.
    pub fn mutes(&self, device: DeviceId) {
        assert_eq!(
            self.tries(Command::MuteDevice { room: self.here(), device, muted: true }),
            Ok(Reply::Done)
        );
    }

    /// Closes the lid.
    pub fn goes_away(&self) {
        self.with(|w| w.crash(self.node, u64::from(u32::MAX)));
        self.passes(100);
    }

    /// Opens it again.
    pub fn comes_back(&self) {
        self.with(|w| w.start(self.node));
        self.passes(1_000);
    }

    /// The link to somebody ends, and does not come back by itself.
    pub fn loses(&self, other: &Self) {
        self.with(|w| {
            w.network.block(self.node, other.node, u64::MAX);
            w.reconcile();
        });
        self.passes(50);
    }

    /// The connection to somebody dies, and only the other side has noticed: it dials again.
    pub fn holds_a_dead_connection_to(&self, other: &Self) {
        self.with(|w| w.half_break(self.node, other.node));
        self.passes(50);
    }

    /// All links come back.
    pub fn finds_everybody(&self) {
        self.with(|w| {
            w.network.unblock();
            w.reconcile();
        });
        self.passes(1_000);
    }

    /// The clock is wrong from now on.
    pub fn has_clock_off_by(&self, ms: i64) {
        self.with(|w| w.nodes[self.node].clock += ms);
    }

    /// At most so many bytes are stored per room, from the next start on.
    pub fn has_disk_of(&self, bytes: u64) {
        self.with(|w| w.nodes[self.node].disk_budget = bytes);
        self.goes_away();
        self.comes_back();
    }

    /// A copy of the disk.
    #[must_use]
    pub fn backs_up(&self) -> Disk {
        self.with(|w| w.nodes[self.node].disk.clone())
    }

    /// The disk is what it was at a backup; the node starts from it.
    pub fn restores(&self, backup: &Disk) {
        self.goes_away();
        self.with(|w| {
            w.nodes[self.node].disk = backup.clone();
            w.nodes[self.node].told = crate::sim::ledger::Told::default();
            let device = w.nodes[self.node].device;
            w.ledger.restored.insert(device);
        });
        self.comes_back();
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.with(|w| w.nodes[self.node].device)
    }

    /// What the screen shows of the only room.
    #[must_use]
    pub fn timeline(&self) -> Vec<Message> {
        self.timeline_of(&self.room())
    }

    /// What the screen shows of a room: muted devices are hidden.
    #[must_use]
    pub fn timeline_of(&self, room: &str) -> Vec<Message> {
        self.with(|w| {
            let disk = w.nodes[self.node].disk.rooms.values().find(|r| r.row.name == room);
            let Some(disk) = disk else { return Vec::new() };
            let muted = |d: &DeviceId| disk.devices.get(d).is_some_and(|r| r.muted);
            w.timeline(self.node, disk.row.room).into_iter().filter(|m| !muted(&m.device)).collect()
        })
    }

    /// Texts and notices in display order, as a person would read them aloud.
    #[must_use]
    pub fn reads(&self, room: &str) -> Vec<String> {
        let lines = self
            .timeline_of(room)
            .into_iter()
            .filter(|m| matches!(m.kind, Kind::Text | Kind::Notice));
        lines.map(|m| aloud(&m)).collect()
    }

    /// Asserts what is shown of the only room.
    #[track_caller]
    pub fn sees(&self, lines: &[&str]) {
        assert_eq!(self.reads(&self.room()), lines);
    }

    /// Asserts what is shown of a room.
    #[track_caller]
    pub fn sees_in(&self, room: &str, lines: &[&str]) {
        assert_eq!(self.reads(room), lines);
    }

    /// Where an own message is, by the rule of PROTOCOL.md 9.
    #[must_use]
    pub fn state_of(&self, message: EntryId) -> Delivery {
        self.with(|w| {
            let n = &w.nodes[self.node];
            let (room, row) = n
                .disk
                .rooms
                .iter()
                .find_map(|(id, r)| Some((id, r.entry(&message)?)))
                .expect("an own message");
            let others = || n.disk.rooms[room].devices.values().filter(|d| d.device != n.device);
            let recent = |seen: u64| n.clock_at(w.now).saturating_sub(seen) < RECIPIENT_MS;
            let has = others().filter(|d| d.acked > row.seq).count();
            let all = others().filter(|d| d.acked > row.seq || recent(d.last_seen_ms)).count();
            let count = |x: usize| u32::try_from(x).unwrap_or(u32::MAX);
            if has > 0 {
                Delivery::Delivered { n: count(has), m: count(all) }
            } else if n.views.get(room).is_some_and(|v| row.seq < v.sent_below) {
                Delivery::Sent
            } else {
                Delivery::Queued
            }
        })
    }

    /// Events told so far.
    #[must_use]
    pub fn was_told(&self) -> Vec<Event> {
        self.with(|w| w.nodes[self.node].heard.clone())
    }

    /// Times a message was told.
    #[must_use]
    pub fn times_told(&self, text: &str) -> usize {
        let is = |e: &Event| matches!(e, Event::MessageAdded { message } if message.text == text);
        self.was_told().iter().filter(|e| is(e)).count()
    }
}

pub(super) fn aloud(message: &Message) -> String {
    let mut line = format!("{}: {}", message.name, message.text);
    if message.deleted {
        line.push_str("(withdrawn)");
    } else if message.missing {
        line.push_str("(not stored)");
    } else if message.edited {
        line.push_str(" (edited)");
    }
    for reaction in &message.reactions {
        line.push_str(&format!(" {}{}", reaction.emoji, reaction.devices.len()));
    }
    line
}
