//! What a node does with a batch: core, commit, send, tell, in this order and no other; and where
//! it may crash.

use std::sync::Arc;

use crate::command::{Command, Reply};
use crate::error::CommandError;
use crate::event::{Delivery, Event};
use crate::ids::{EntryId, RoomId};
use crate::log::entry::{SealedEntry, entry_hash, is_body_of};
use crate::machine::not_committed;
use crate::sim::world::{Happening, World};
use crate::step::{CommandId, Input, Lend, Send, Serve, Step, TopicChange, Write};

/// Where a node crashes in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    Never,
    BeforeCommit,
    BeforeSend,
    /// After so many effects have left.
    AfterEffects(u64),
    BeforeTell,
}

/// Crashes in batches of one world: who comes back is greeted by everybody, and each greeting is a
/// batch in which to crash again.
const CRASHES_MAX: u64 = 100;

impl World {
    fn draw_crash(&mut self) -> Crash {
        if !self.faulty || self.crashes >= CRASHES_MAX || !self.rng.chance(self.plan.crash) {
            return Crash::Never;
        }
        self.crashes += 1;
        match self.rng.below(5) {
            0 => Crash::BeforeCommit,
            1 => Crash::BeforeSend,
            2 => Crash::BeforeTell,
            _ => Crash::AfterEffects(1 + self.rng.below(4)),
        }
    }

    /// One turn of a node's driver.
    pub fn work(&mut self, node: usize) {
        self.nodes[node].working = false;
        let (batch, commands) = self.gather(node);
        if self.faulty && self.nodes[node].full_until > self.now {
            return self.work_read_only(node, batch);
        }
        let mut step = self.think(node, batch);
        let crash = self.draw_crash();
        if self.trace {
            self.trace_step(node, &step, crash);
        }
        #[cfg(feature = "faults")]
        self.leave_too_early(node, &mut step);
        if crash == Crash::BeforeCommit {
            return self.die(node);
        }
        if self.faulty && !step.writes.is_empty() && self.rng.chance(self.plan.full) {
            return self.refuse_writes(node, &step);
        }
        self.commit(node, &step);
        self.note_commands(node, &commands, &step.replies);
        if self.failure.is_some() {
            return;
        }
        if crash == Crash::BeforeSend {
            return self.die(node);
        }
        let replies = std::mem::take(&mut step.replies);
        let events = std::mem::take(&mut step.events).into_iter().map(|told| told.event).collect();
        if !self.send(node, step, crash) || crash == Crash::BeforeTell {
            return self.die(node);
        }
        self.tell(node, replies, events);
        self.check_machine(node);
        self.work_soon(node);
    }

    /// The disk is full: nothing of the batch happened, and the core starts again from what is on
    /// disk.
    fn refuse_writes(&mut self, node: usize, step: &Step) {
        let (now, for_ms) = (self.now, self.rng.within(1_000, 40_000));
        self.say(|| format!("node {node} has a full disk for {for_ms} ms"));
        let replies = step.replies.iter().map(|(id, _)| not_committed(*id, "full")).collect();
        let n = &mut self.nodes[node];
        let (clock, life) = (n.clock_at(now), n.life);
        n.full_until = now + for_ms;
        if let Some(machine) = n.machine.take() {
            let (machine, reopened) = machine.reopen(n.disk.snapshot(), clock, &mut n.rng);
            n.machine = Some(machine);
            for view in reopened.views {
                n.views.insert(view.room, view);
            }
        }
        n.wake_at = Some(n.full_until);
        let at = n.full_until;
        self.at(at, Happening::Wake { node, life, at });
        self.tell(node, replies, Vec::new());
        self.work_soon(node);
    }

    /// While the disk is full, links are noted and history is served; commands hear why nothing is
    /// written.
    fn work_read_only(&mut self, node: usize, batch: Vec<Input>) {
        let (now, mut step) = (self.now, Step::default());
        let n = &mut self.nodes[node];
        let clock = n.clock_at(now);
        for input in batch {
            match input {
                Input::Command { id, .. } | Input::Join { id, .. } => {
                    step.replies.push(not_committed(id, "full"))
                }
                Input::LinkUp { .. }
                | Input::LinkRenewed { .. }
                | Input::LinkDown { .. }
                | Input::PeerSubscribed { .. }
                | Input::PeerUnsubscribed { .. }
                | Input::Presence { .. }
                | Input::Hello { .. }
                | Input::SyncAsked { .. }
                | Input::BodiesAsked { .. } => {
                    if let Some(machine) = &mut n.machine {
                        step.absorb(machine.handle(clock, &mut n.rng, input));
                    }
                }
                _ => {}
            }
        }
        step.writes.clear();
        let replies = std::mem::take(&mut step.replies);
        self.send(node, step, Crash::Never);
        self.tell(node, replies, Vec::new());
        self.work_soon(node);
    }

    fn die(&mut self, node: usize) {
        let for_ms = 100 + self.rng.below(self.plan.down_ms);
        self.crash(node, for_ms);
    }

    /// The next inputs, commands first as the driver takes them.
    fn gather(&mut self, node: usize) -> (Vec<Input>, Vec<(CommandId, Command)>) {
        let most = if self.plan.calm { 8 } else { self.plan.batch };
        let take = 1 + self.rng.index(most);
        let n = &mut self.nodes[node];
        let mut batch: Vec<Input> = Vec::with_capacity(take);
        while batch.len() < take
            && let Some(input) = n.commands.pop_front().or_else(|| n.inbox.pop_front())
        {
            batch.push(input);
        }
        let commands = batch.iter().filter_map(|input| match input {
            Input::Command { id, command } => Some((*id, command.clone())),
            _ => None,
        });
        let commands = commands.collect();
        (batch, commands)
    }

    fn think(&mut self, node: usize, batch: Vec<Input>) -> Step {
        let now = self.now;
        self.inputs += batch.len() as u64 + 1;
        let n = &mut self.nodes[node];
        let clock = n.clock_at(now);
        n.clock_max = n.clock_max.max(clock);
        let mut step = Step::default();
        let Some(machine) = &mut n.machine else { return step };
        for input in batch {
            step.absorb(machine.handle(clock, &mut n.rng, input));
        }
        let last = machine.handle(clock, &mut n.rng, Input::BatchEnd);
        let wake = last.wake;
        step.absorb(last);
        self.wake(node, clock, wake);
        step
    }

    fn wake(&mut self, node: usize, clock: u64, wake: Option<u64>) {
        let Some(wake) = wake.filter(|w| *w < u64::MAX) else { return };
        if wake <= clock {
            return self.fail(
                Some(node),
                "wants to be woken in the past: the driver would spin".to_owned(),
            );
        }
        let at = self.now + (wake - clock);
        let n = &mut self.nodes[node];
        // As with a real timer, a later wish replaces an earlier one.
        if n.wake_at != Some(at) {
            n.wake_at = Some(at);
            let life = n.life;
            self.at(at, Happening::Wake { node, life, at });
        }
    }

    /// One transaction.
    fn commit(&mut self, node: usize, step: &Step) {
        let (own, clock_max, now) = (self.nodes[node].device, self.nodes[node].clock_max, self.now);
        self.nodes[node].disk.begin();
        for write in &step.writes {
            let orphans = !self.ledger.forked.is_empty();
            if let Write::ForgetRoom { room, .. } = write
                && let Some(gone) = self.nodes[node].disk.rooms.get(room)
            {
                // Whoever comes back is told of them again.
                let ids: Vec<EntryId> = gone.entries.iter().map(|e| e.hash.id()).collect();
                ids.iter().for_each(|id| self.nodes[node].told.forget(id));
            }
            let checked = self.ledger.check(node, own, clock_max, now, write);
            let applied = checked.and_then(|()| self.nodes[node].disk.apply(write, orphans));
            let known = applied.and_then(|()| self.check_write(node, write));
            let freed = self.nodes[node].disk.take_freed();
            if let Some((room, bytes)) = freed {
                self.nodes[node].inbox.push_back(Input::SpaceFreed { room, bytes });
            }
            if let Err(what) = known {
                return self.fail(Some(node), what);
            }
        }
        let queued = |w: &Write| matches!(w, Write::DropDirect { .. } | Write::Outbox(_));
        if step.writes.iter().any(queued)
            && let Err(what) = self.nodes[node].disk.desk.check_deleted()
        {
            return self.fail(Some(node), what);
        }
        if !step.writes.is_empty() {
            let digest =
                self.nodes[node].disk.rooms.values().fold(node as u64, |d, r| d ^ r.digest);
            let last = self.nodes[node]
                .disk
                .desk
                .rows
                .last()
                .map_or(0, |r| u64::from(r.id.0[0]) << 8 | r.journal);
            self.mark(digest ^ self.now ^ last << 20);
        }
    }

    /// Invariants that need more than one disk.
    fn check_write(&mut self, node: usize, write: &Write) -> Result<(), String> {
        match write {
            Write::Acked { room, device, seq } => {
                let disks: Vec<_> = self.nodes.iter().map(|n| &n.disk).collect();
                self.ledger.check_acked(*room, self.nodes[node].device, device, *seq, &disks)
            }
            Write::Room(row) if !row.left => {
                let now = self.now;
                self.nodes[node].joined_at.entry(row.room).or_insert(now);
                Ok(())
            }
            Write::DirectState { room, id, state: Delivery::Delivered { .. } | Delivery::Read } => {
                let contact =
                    self.nodes[node].disk.desk.contacts.values().find(|c| c.room == *room);
                let to: Vec<_> = self
                    .nodes
                    .iter()
                    .filter(|n| Some(n.identity) == contact.map(|c| c.identity))
                    .collect();
                let to: Vec<_> = to.into_iter().map(|n| n.device).collect();
                self.ledger.check_delivered(*id, &to)
            }
            Write::Append(row) if self.plan.calm => {
                self.check_latency(node, row.room, row.device, row.seq)
            }
            _ => Ok(()),
        }
    }

    /// In a calm world everybody has a message within seconds, however many hops away.
    fn check_latency(
        &self,
        node: usize,
        room: RoomId,
        device: crate::ids::DeviceId,
        seq: u64,
    ) -> Result<(), String> {
        let Some((_, written)) = self.ledger.slots.get(&(room, device, seq)) else { return Ok(()) };
        let joined = self.nodes[node].joined_at.get(&room).copied().unwrap_or(self.now);
        let hops = self.nodes.len() as u64;
        // A message that goes from link to link by gossip needs a delay per hop; one that was
        // written alone goes by sync.
        let limit = 4_000 + hops * (1_500 + 3 * self.plan.delay_ms);
        let after = self.now.saturating_sub(*written);
        if *written < joined.max(20_000) + 5_000 || after <= limit {
            return Ok(());
        }
        Err(format!("a message took {after} ms in a calm world of {hops} nodes"))
    }

    /// Tells the model what was committed, whether or not the user still hears of it.
    fn note_commands(
        &mut self,
        node: usize,
        commands: &[(CommandId, Command)],
        replies: &[(CommandId, Result<Reply, CommandError>)],
    ) {
        let author = self.nodes[node].device;
        for (id, command) in commands {
            let Some((_, Ok(reply))) = replies.iter().find(|(i, _)| i == id) else { continue };
            match (reply, command) {
                (Reply::Stored { message, room, .. }, _) => {
                    self.chat.apply(*room, author, *message, command)
                }
                (_, Command::SetName { name }) => self.chat.named(author, name),
                _ => {}
            }
        }
    }

    /// Everything that follows a commit. `false` when the node crashed in the middle.
    fn send(&mut self, node: usize, step: Step, crash: Crash) -> bool {
        let mut left = if let Crash::AfterEffects(n) = crash { n } else { u64::MAX };
        let mut alive = || {
            left -= 1;
            left > 0
        };
        for view in step.views {
            if view.sent_below > view.own_next {
                self.fail(Some(node), "says that it sent what it has not written".to_owned());
            }
            self.nodes[node].views.insert(view.room, view);
        }
        if let Some(people) = step.people {
            self.nodes[node].people = people;
        }
        for change in step.topics {
            self.follow(node, change);
        }
        for publish in step.publishes {
            self.publish(node, publish.topic, publish.bytes);
            if !alive() {
                return false;
            }
        }
        for send in step.sends {
            self.ask(node, send);
            if !alive() {
                return false;
            }
        }
        for send in step.directs {
            self.send_direct(node, send);
            if !alive() {
                return false;
            }
        }
        for serve in step.serves {
            self.serve(node, serve);
            if !alive() {
                return false;
            }
        }
        for lend in step.lends {
            self.lend(node, &lend);
            if !alive() {
                return false;
            }
        }
        for (token, bytes) in step.responds {
            self.respond(node, token, bytes);
        }
        for (peer, reason) in step.penalties {
            if let Some(other) = self.nodes[node].peers.get(&peer).map(|l| l.other) {
                self.penalise(node, other, reason);
            }
        }
        for (_, message, verdict) in step.verdicts {
            self.judged(node, &message, verdict);
            if !alive() {
                return false;
            }
        }
        !matches!(crash, Crash::AfterEffects(_))
    }

    fn follow(&mut self, node: usize, change: TopicChange) {
        let (topic, on) = match change {
            TopicChange::Subscribe(topic) => {
                if !self.nodes[node].subscribed.insert(topic) {
                    // Followed already, as after a farewell that was broken off: nobody is told.
                    return;
                }
                (topic, true)
            }
            TopicChange::Unsubscribe(topic) => {
                self.nodes[node].subscribed.remove(&topic);
                (topic, false)
            }
        };
        let peers: Vec<usize> = self.nodes[node].peers.values().map(|l| l.other).collect();
        for to in peers {
            self.carry(node, to, crate::sim::network::Packet::Follow(topic, on));
        }
    }

    fn serve(&mut self, node: usize, serve: Serve) {
        let (bytes_max, entries_max) =
            (serve.bytes_max.min(self.plan.page_bytes), self.plan.page_entries);
        let page = self.nodes[node]
            .disk
            .rooms
            .get(&serve.room)
            .map(|r| r.page(&serve.after, bytes_max, entries_max));
        let (mut entries, more) = page.unwrap_or_default();
        entries.iter_mut().for_each(|e| self.look_at(node, serve.room, e));
        let bytes = crate::wire::response_page(serve.proof, &entries, &serve.frontier, more);
        self.respond(node, serve.token, bytes);
    }

    fn lend(&mut self, node: usize, lend: &Lend) {
        let disk = self.nodes[node].disk.rooms.get(&lend.room);
        let found = |id: &EntryId| disk.and_then(|r| r.entry(id)).map(|row| row.entry.clone());
        let mut bodies: Vec<(EntryId, Option<SealedEntry>)> =
            lend.entries.iter().map(|id| (*id, found(id))).collect();
        for entry in bodies.iter_mut().filter_map(|(_, found)| found.as_mut()) {
            self.look_at(node, lend.room, entry);
        }
        let bytes = crate::wire::response_bodies(lend.proof, &bodies);
        self.respond(node, lend.token, bytes);
    }

    /// What is read from a disk is looked at, as a store does.
    fn look_at(&mut self, node: usize, room: RoomId, entry: &mut SealedEntry) {
        let rotted = |body: &Arc<[u8]>| !is_body_of(&entry.header, body);
        if self.plan.rots > 0 && entry.body.as_ref().is_some_and(rotted) {
            entry.body = None;
            let entry = entry_hash(&entry.header).id();
            self.input(node, Input::BodyRotted { room, entry });
        }
    }

    fn tell(
        &mut self,
        node: usize,
        replies: Vec<(CommandId, Result<Reply, CommandError>)>,
        events: Vec<Event>,
    ) {
        for (id, reply) in replies {
            if !self.nodes[node].waiting.remove(&id) {
                self.fail(Some(node), format!("a second reply to command {id}: {reply:?}"));
            }
            self.nodes[node].replies.insert(id, reply);
        }
        for event in events {
            if let Event::MessageAdded { message } = &event {
                let disk = &self.nodes[node].disk;
                let stored = if message.direct {
                    disk.desk.get(&message.room, &message.id).map(|r| r.journal)
                } else {
                    disk.rooms
                        .get(&message.room)
                        .and_then(|r| r.entry(&message.id))
                        .map(|e| e.journal)
                };
                if stored != Some(message.journal) {
                    self.fail(
                        Some(node),
                        format!(
                            "tells of message {}, which is not on its disk",
                            message.id.short()
                        ),
                    );
                }
                if let Err(what) = self.nodes[node].told.told(message.id, message.journal) {
                    self.fail(Some(node), what);
                }
            }
            self.nodes[node].heard.push(event);
            if self.nodes[node].heard.len() > EVENTS_KEPT {
                self.nodes[node].heard.clear();
            }
        }
        while self.nodes[node].replies.len() > EVENTS_KEPT {
            self.nodes[node].replies.pop_first();
        }
    }

    fn check_machine(&mut self, node: usize) {
        let direct = self.nodes[node].machine.as_ref().map_or(Ok(()), |m| m.direct.within_bounds());
        if let Err(what) = direct {
            self.fail(Some(node), what);
        }
        let outside =
            self.nodes[node].machine.as_ref().and_then(|m| m.rooms().find(|r| !r.within_bounds()));
        if let Some(room) = outside {
            let what = format!("room {} is outside its bounds", room.id().short());
            self.fail(Some(node), what);
        }
    }

    /// Planted mistakes of a driver: effects before the commit, and then perhaps a crash.
    #[cfg(feature = "faults")]
    fn leave_too_early(&mut self, node: usize, step: &mut Step) {
        use crate::sim::faults::{Fault, active};
        if active(Fault::SendBeforeCommit) {
            for publish in std::mem::take(&mut step.publishes) {
                self.publish(node, publish.topic, publish.bytes);
            }
        }
        if active(Fault::AckBeforeCommit) {
            let (acks, others): (Vec<Send>, Vec<Send>) =
                std::mem::take(&mut step.sends).into_iter().partition(|s| !s.wants_page);
            step.sends = others;
            for ack in acks {
                self.ask(node, ack);
            }
        }
    }

    fn trace_step(&self, node: usize, step: &Step, crash: Crash) {
        let mut words: Vec<String> = Vec::new();
        for write in &step.writes {
            if let Write::Append(row) = write {
                words.push(format!(
                    "+{}/{}",
                    self.node_of(&row.device).map_or("?".to_owned(), |n| n.to_string()),
                    row.seq
                ));
            }
        }
        words.extend(step.publishes.iter().map(|p| format!("publish:{}", p.bytes.len())));
        words.extend(step.sends.iter().map(|s| {
            let to =
                self.nodes[node].peers.get(&s.peer).map_or("?".to_owned(), |l| l.other.to_string());
            format!("{}>{to}", if s.wants_page { "sync" } else { "say" })
        }));
        words.extend(step.directs.iter().map(|d| {
            let to =
                self.nodes[node].peers.get(&d.peer).map_or("?".to_owned(), |l| l.other.to_string());
            format!("direct:{}>{to}", d.bytes.len())
        }));
        words.extend(step.events.iter().filter_map(|e| match &e.event {
            Event::MessageAdded { message } if message.direct => {
                Some(format!("letter:{}", message.id.short()))
            }
            Event::ContactChanged { name, news, .. } => Some(format!("{name}:{news:?}")),
            _ => None,
        }));
        words.extend(
            step.responds.iter().map(|(_, b)| format!("answer:{}", b.get(2).copied().unwrap_or(0))),
        );
        words.extend(step.serves.iter().map(|_| "serve".to_owned()));
        words.extend(step.verdicts.iter().map(|(_, _, v)| format!("{v:?}")));
        words.extend(step.penalties.iter().map(|(_, r)| format!("penalty:{}", r.name())));
        words.extend(
            step.replies.iter().filter_map(|(_, r)| r.as_ref().err()).map(|e| e.code().to_owned()),
        );
        if crash != Crash::Never {
            words.push(format!("CRASH {crash:?}"));
        }
        if !words.is_empty() {
            self.say(|| format!("node {node}: {}", words.join(" ")));
        }
    }
}

/// Events of a node that a story can look at.
const EVENTS_KEPT: usize = 10_000;

/// Whether a send of the core asks for a page (else it is an acknowledgement or a hello).
#[must_use]
pub fn is_sync(send: &Send) -> bool {
    send.wants_page
}
