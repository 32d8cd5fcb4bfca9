//! The state machine: one state, one input, one step. It only finds the room and forwards; the
//! rules live in the parts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::command::{Command, Reply};
use crate::ctx::{Ctx, Entropy};
use crate::direct::Direct;
use crate::directory::Directory;
use crate::error::CommandError;
use crate::identity::Keys;
use crate::ids::{Peer, RoomId, TopicId};
use crate::limits::ROOM_DISK_BYTES_DEFAULT;
use crate::linked::{Linked, Run};
use crate::place::{self, Place, RoomName};
use crate::presence::Process;
use crate::room::Room;
use crate::room::inbound::from_peer;
use crate::room::orders::{command_in, forget, join, set_name};
use crate::step::{CommandId, Former, Input, PeopleView, RequestId, RoomView, Snapshot, Step};

/// A node's whole protocol state.
#[derive(Debug)]
pub struct Machine {
    keys: Keys,
    me: Peer,
    process: Process,
    name: String,
    rooms: BTreeMap<RoomId, Room>,
    pub(crate) direct: Direct,
    /// Rooms that were forgotten and may be opened again.
    former: BTreeMap<RoomId, Former>,
    directory: Arc<Directory>,
    /// As the shell knows it.
    shown: Arc<Directory>,
    topics: BTreeMap<TopicId, RoomId>,
    links: BTreeMap<Peer, Linked>,
    journal: u64,
    request: RequestId,
    disk_budget: u64,
    wall: u64,
    /// How far the steady time is ahead of the wall clock: the sum of all steps back.
    ahead: u64,
}

impl Machine {
    /// Continues from what is on disk. `me` is the transport peer id of this start, `process` 16
    /// random bytes that it drew.
    #[must_use]
    pub fn open(keys: Keys, me: Peer, process: Process, snapshot: Snapshot, now: u64) -> Self {
        let own = keys.device_id();
        let budget = ROOM_DISK_BYTES_DEFAULT;
        let mut rooms: BTreeMap<RoomId, Room> = snapshot
            .rooms
            .into_iter()
            .map(|r| (r.row.room, Room::restore(r, own, now, budget)))
            .collect();
        let mut former: BTreeMap<_, _> = snapshot.former.into_iter().collect();
        rooms.values_mut().for_each(|r| r.returns(former.remove(&r.id())));
        let topics = rooms.values().map(|r| (r.keys.topic, r.id())).collect();
        let direct = Direct::open(snapshot.direct, now);
        let mut directory = Directory::new(keys.identity_id(), &snapshot.name);
        for row in rooms.values().flat_map(|r| r.members.values()) {
            directory.met(row);
        }
        direct.introduce(&mut directory);
        let directory = Arc::new(directory);
        Self {
            keys,
            me,
            process,
            name: snapshot.name,
            rooms,
            direct,
            former,
            shown: directory.clone(),
            directory,
            topics,
            links: BTreeMap::new(),
            journal: snapshot.journal_next.max(1),
            request: 0,
            disk_budget: budget,
            wall: now,
            ahead: 0,
        }
    }

    /// Starts again from what is on disk after a commit failed: everything since then is forgotten,
    /// links are kept.
    pub fn reopen(self, snapshot: Snapshot, now: u64, rng: &mut dyn Entropy) -> (Self, Step) {
        let devices: Vec<_> =
            self.rooms.iter().map(|(id, r)| (*id, r.links.linked_devices())).collect();
        let farewells: Vec<_> =
            self.rooms.iter().filter_map(|(id, r)| Some((*id, r.farewell_until()?))).collect();
        let (links, request, direct) = (self.links, self.request, self.direct);
        let mut machine = Self::open(self.keys, self.me, self.process, snapshot, now)
            .with_disk_budget(self.disk_budget);
        machine.request = request;
        machine.direct.restore_links(direct);
        for (id, until) in farewells {
            if let Some(room) = machine.rooms.get_mut(&id) {
                room.restore_farewell(until, now);
            }
        }
        let mut step = Step::default();
        for (peer, Linked { topics, process }) in links {
            step.absorb(machine.handle(now, rng, Input::LinkUp { peer: peer.clone() }));
            if let Some(linked) = machine.links.get_mut(&peer) {
                linked.process = process;
            }
            for topic in topics {
                step.absorb(machine.handle(
                    now,
                    rng,
                    Input::PeerSubscribed { peer: peer.clone(), topic },
                ));
            }
        }
        for (id, known) in devices {
            if let Some(room) = machine.rooms.get_mut(&id) {
                room.restore_devices(known);
            }
        }
        step.views = machine.views();
        (machine, step)
    }

    /// Stores at most so many bytes per room from others (default 1 GiB); applies to rooms joined
    /// later as well.
    #[must_use]
    pub fn with_disk_budget(mut self, bytes: u64) -> Self {
        self.disk_budget = bytes;
        for room in self.rooms.values_mut() {
            room.set_disk_budget(bytes);
        }
        self
    }

    /// What the shell needs at start: topics to follow, views for workers and queries.
    #[must_use]
    pub fn views(&self) -> Vec<RoomView> {
        self.rooms.values().map(|r| r.view(self.keys.device_id())).collect()
    }

    /// What queries may know of people at start; later views come with the steps.
    pub fn people(&mut self, now: u64, rng: &mut dyn Entropy) -> PeopleView {
        let step = &mut Step::default();
        let Self { keys, me, process, name, directory, journal, request, direct, .. } = self;
        let (process, wall) = (*process, now);
        direct.view(&Ctx {
            now,
            wall,
            rng,
            keys,
            me,
            process,
            name,
            directory,
            journal,
            request,
            step,
        })
    }

    /// The rooms.
    pub fn rooms(&self) -> impl Iterator<Item = &Room> {
        self.rooms.values()
    }

    /// What a name or id means. Whoever talks to a machine in the same process asks here; a node
    /// asks its views, which know the same rows.
    ///
    /// # Errors
    /// [`CommandError`]: no such room or person, or several of that name.
    pub fn place(&self, wanted: &str) -> Result<Place, CommandError> {
        let rooms = self.rooms.values().map(|r| RoomName {
            room: r.id(),
            name: r.name(),
            left: r.row.left,
            passphrase: r.row.passphrase,
        });
        place::find(wanted, rooms, &self.directory)
    }

    /// Whether own messages wait in this room for members that are connected: the shell holds more
    /// of them back, in order, instead of having them refused. `now` is Unix milliseconds.
    #[must_use]
    pub fn is_congested(&self, room: &RoomId, now: u64) -> bool {
        self.rooms.get(room).is_some_and(|r| r.is_congested(now + self.ahead))
    }

    /// Own keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Takes in one input and returns everything that follows from it. `now` is Unix milliseconds.
    pub fn handle(&mut self, now: u64, rng: &mut dyn Entropy, input: Input) -> Step {
        let mut step = Step::default();
        let (wall, now) = (now, self.steady(now));
        let Self {
            keys,
            me,
            process,
            name,
            rooms,
            direct,
            former,
            directory,
            shown,
            topics,
            links,
            journal,
            request,
            disk_budget,
            ahead,
            ..
        } = self;
        let (process, step_) = (*process, &mut step);
        let mut ctx = Ctx {
            now,
            wall,
            rng,
            keys,
            me,
            process,
            name,
            directory,
            journal,
            request,
            step: step_,
        };
        if !matches!(input, Input::Command { .. } | Input::Join { .. }) {
            // Own entries of a batch are adjacent in the journal: nothing may come between them.
            for room in rooms.values_mut() {
                room.sign_pending(&mut ctx);
            }
        }
        match input {
            Input::Command { id, command: Command::SetName { name: new } } => {
                let result = set_name(&mut ctx, rooms, &new);
                if result.is_ok() {
                    Arc::make_mut(ctx.directory).call_self(&new);
                    direct.renamed();
                    *name = new;
                }
                step.replies.push((id, result));
            }
            Input::Command { id, command } if Direct::is_meant(&command) => {
                let result = direct.command(&mut ctx, command);
                ctx.step.replies.push((id, result));
            }
            Input::Command { id, command: Command::ForgetRoom { room } } => {
                let result = forget(&mut ctx, rooms, topics, former, room);
                ctx.step.replies.push((id, result));
            }
            Input::Command { id, command } => {
                let result = command_in(&mut ctx, rooms, command);
                if result.is_ok() || !planted!(ForgetReply) {
                    ctx.step.replies.push((id, result));
                }
            }
            Input::Join { id, name, root, passphrase } => {
                let row = Room::row_of(name, root, passphrase, wall);
                let mut room = Room::new(row, ctx.now, *disk_budget);
                room.returns(former.get(&room.id()).copied());
                let result = join(&mut ctx, rooms, topics, links, room);
                if let Ok(Reply::Joined { room, .. }) = &result {
                    former.remove(room);
                }
                ctx.step.replies.push((id, result));
            }
            Input::DirectAsked { peer, token, frame } => {
                direct.asked(&mut ctx, &peer, token, frame)
            }
            Input::DirectAnswered { peer, request, answer } => {
                direct.answered(&mut ctx, &peer, request, answer);
            }
            Input::Tick | Input::BatchEnd => end_batch(&mut ctx, rooms, direct, shown),
            Input::LinkUp { .. }
            | Input::LinkRenewed { .. }
            | Input::LinkDown { .. }
            | Input::PeerSubscribed { .. }
            | Input::PeerUnsubscribed { .. }
            | Input::PeerSlow { .. }
            | Input::RequestFailed { .. } => {
                from_links(&mut ctx, rooms, topics, links, direct, input);
            }
            hello @ Input::Hello { .. } => heard_hello(&mut ctx, rooms, links, direct, hello),
            other => from_peer(&mut ctx, rooms, links, other),
        }
        let due = rooms.values().map(|r| if r.touched { now } else { r.timers.due_ms });
        let due = due.chain([if direct.touched { now } else { direct.due_ms }]).min();
        step.wake = due.map(|at| if at == u64::MAX { at } else { at.saturating_sub(*ahead) });
        step
    }

    /// Timers run on this: a wall clock that is set back by a day must not stop them for a day.
    fn steady(&mut self, wall: u64) -> u64 {
        self.ahead += self.wall.saturating_sub(wall);
        self.wall = wall;
        wall + self.ahead
    }
}

/// What was gathered goes out: rooms and conversations send, and queries learn of people.
fn end_batch(
    ctx: &mut Ctx<'_>,
    rooms: &mut BTreeMap<RoomId, Room>,
    direct: &mut Direct,
    shown: &mut Arc<Directory>,
) {
    poll(ctx, rooms);
    if direct.touched || direct.due_ms <= ctx.now {
        direct.poll(ctx);
    }
    if !Arc::ptr_eq(ctx.directory, shown) {
        *shown = ctx.directory.clone();
        let view = direct.view(ctx);
        ctx.step.people = Some(view);
    }
}

/// A peer says which process it is, and that its device is there.
fn heard_hello(
    ctx: &mut Ctx<'_>,
    rooms: &mut BTreeMap<RoomId, Room>,
    links: &mut BTreeMap<Peer, Linked>,
    direct: &mut Direct,
    input: Input,
) {
    let Input::Hello { ref peer, connection, ref presence, process } = input else { return };
    let run = links.get_mut(peer).map(|l| l.heard(process, connection));
    if run == Some(Run::Another) {
        renew(ctx, rooms, direct, peer);
    }
    // What a process said that is gone by now is too late.
    if run != Some(Run::Former) {
        direct.bind(peer, presence.device);
        from_peer(ctx, rooms, links, input);
    }
}

/// Inputs that the network itself caused: links come, change and go, and requests fail.
fn from_links(
    ctx: &mut Ctx<'_>,
    rooms: &mut BTreeMap<RoomId, Room>,
    topics: &BTreeMap<TopicId, RoomId>,
    links: &mut BTreeMap<Peer, Linked>,
    direct: &mut Direct,
    input: Input,
) {
    match input {
        Input::LinkUp { peer } => {
            direct.link_up(&peer);
            links.entry(peer).or_default();
        }
        Input::LinkRenewed { peer } => {
            links.entry(peer.clone()).or_default();
            renew(ctx, rooms, direct, &peer);
        }
        Input::LinkDown { peer } => {
            links.remove(&peer);
            direct.link_down(ctx, &peer);
            for room in rooms.values_mut() {
                room.link_down(ctx, &peer);
            }
        }
        Input::PeerSubscribed { peer, topic } => {
            links.entry(peer.clone()).or_default().follow(topic);
            if let Some(room) = topics.get(&topic).and_then(|id| rooms.get_mut(id)) {
                room.link_up(ctx, &peer);
            }
        }
        Input::PeerUnsubscribed { peer, topic } => {
            if let Some(known) = links.get_mut(&peer) {
                known.topics.remove(&topic);
            }
            if let Some(room) = topics.get(&topic).and_then(|id| rooms.get_mut(id)) {
                room.link_down(ctx, &peer);
            }
        }
        Input::PeerSlow { peer } => rooms.values_mut().for_each(|r| r.peer_slow(ctx, &peer)),
        Input::RequestFailed { peer, request } => {
            direct.request_failed(ctx, request);
            rooms.values_mut().for_each(|r| r.request_failed(ctx, &peer, request));
        }
        _ => {}
    }
}

fn poll(ctx: &mut Ctx<'_>, rooms: &mut BTreeMap<RoomId, Room>) {
    for room in rooms.values_mut() {
        if room.touched || room.view_dirty || room.timers.due_ms <= ctx.now {
            room.poll(ctx);
        }
    }
}

/// What was said to a linked peer may be lost: everything is said again, in all rooms and
/// conversations that are shared with it.
fn renew(ctx: &mut Ctx<'_>, rooms: &mut BTreeMap<RoomId, Room>, direct: &mut Direct, peer: &Peer) {
    if planted!(RenewalIgnored) {
        return;
    }
    for room in rooms.values_mut() {
        room.link_renewed(ctx, peer);
    }
    direct.link_renewed(ctx, peer);
}

/// The reply of a command whose batch could not be committed.
pub fn not_committed(id: CommandId, cause: &str) -> (CommandId, Result<Reply, CommandError>) {
    (id, Err(CommandError::ReadOnly { cause: cause.to_owned() }))
}
