//! The state machine: one state, one input, one step. It only finds the room and forwards; the
//! rules live in the parts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::command::{Command, Reply};
use crate::content::Content;
use crate::ctx::{Ctx, Entropy};
use crate::delivery::VerifiedAck;
use crate::direct::Direct;
use crate::directory::Directory;
use crate::error::{CommandError, Reject};
use crate::event::Event;
use crate::identity::Keys;
use crate::ids::{Peer, RoomId, TopicId};
use crate::limits::{ROOM_DISK_BYTES_DEFAULT, ROOMS_MAX, TEXT_BYTES_MAX};
use crate::names;
use crate::place::{self, Place, RoomName};
use crate::presence::Process;
use crate::room::exchange::PageIn;
use crate::room::{Room, Source, Taken};
use crate::step::{
    CommandId, Former, GossipId, Input, PeopleView, RequestId, RoomView, Snapshot, Step,
    TopicChange, Verdict, Write,
};
use crate::wire;

/// What is known of a linked peer, whatever the room.
#[derive(Debug, Default)]
struct Linked {
    /// What it follows, as far as anybody said.
    topics: BTreeSet<TopicId>,
    /// Its run, and the number of the connection over which it said so last.
    process: Option<(Process, u64)>,
}

/// What a process says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    Same,
    Another,
    /// Said over a former connection, and no longer true.
    Former,
}

impl Linked {
    fn heard(&mut self, process: Process, connection: u64) -> Run {
        match self.process {
            Some((known, over)) if known != process && connection < over => Run::Former,
            Some((known, _)) if known != process => {
                self.process = Some((process, connection));
                Run::Another
            }
            before => {
                let over = before.map_or(connection, |(_, over)| over.max(connection));
                self.process = Some((process, over));
                Run::Same
            }
        }
    }
}

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

/// Topics remembered of one peer; more than anybody's rooms.
const PEER_TOPICS_MAX: usize = 2_000;

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
        let (links, request, direct) = (self.links, self.request, self.direct);
        let mut machine = Self::open(self.keys, self.me, self.process, snapshot, now)
            .with_disk_budget(self.disk_budget);
        machine.request = request;
        machine.direct.restore_links(direct);
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
            let topics_known = &mut links.entry(peer.clone()).or_default().topics;
            if topics_known.len() < PEER_TOPICS_MAX {
                topics_known.insert(topic);
            }
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

/// Inputs that a member of a room caused.
fn from_peer(
    ctx: &mut Ctx<'_>,
    rooms: &mut BTreeMap<RoomId, Room>,
    links: &mut BTreeMap<Peer, Linked>,
    input: Input,
) {
    let room = match &input {
        Input::Gossip { room, .. } | Input::SyncPage { room, .. } => *room,
        Input::Beacon { ack, .. } | Input::Ack { ack, .. } => ack.room,
        Input::Presence { presence, .. } | Input::Hello { presence, .. } => presence.room,
        Input::SyncAsked { request, .. } => request.room,
        Input::BodiesAsked { room, .. }
        | Input::BodiesCame { room, .. }
        | Input::BodyRotted { room, .. }
        | Input::SpaceFreed { room, .. } => *room,
        _ => return,
    };
    // What this disk says holds for rooms that were left, too: who comes back needs it.
    let of_disk = matches!(input, Input::BodyRotted { .. } | Input::SpaceFreed { .. });
    let Some(room) = rooms.get_mut(&room).filter(|r| of_disk || r.is_followed()) else {
        if let Input::SyncAsked { token, .. } | Input::BodiesAsked { token, .. } = input {
            ctx.step.responds.push((token, wire::response_refused()));
        }
        return;
    };
    if room.row.left && !of_disk && !is_heard_at_farewell(&input) {
        return;
    }
    if let Input::SyncAsked { peer, .. } | Input::Hello { peer, .. } = &input
        && let Some(linked) = links.get_mut(peer)
        && linked.topics.len() < PEER_TOPICS_MAX
    {
        // Who proves membership follows the topic, whether or not the gossip layer told us.
        linked.topics.insert(room.keys.topic);
    }
    match input {
        Input::Gossip { peer, message, run, .. } => gossip(ctx, room, peer, message, run),
        Input::Beacon { peer, message, ack } => {
            heard_ack(ctx, room, &peer, &ack);
            room.heard_beacon(&ack.frontier);
            let known = room.log.knows(&ack.device);
            if known && room.hearsay.passes_beacon(ack.device, ack.says(), ctx.now) {
                verdict(ctx, room, peer, message);
            } else {
                ctx.step.verdicts.push((peer, message, Verdict::Ignore));
            }
        }
        Input::Ack { peer, ack } => {
            if links.contains_key(&peer) {
                room.proved(ctx, &peer);
            }
            heard_ack(ctx, room, &peer, &ack);
        }
        Input::Presence { peer, message, presence } => {
            let news = room.present(ctx, &presence, false) && room.log.knows(&presence.device);
            if news && room.hearsay.passes_presence(presence.device, ctx.now) {
                verdict(ctx, room, peer, message);
            } else {
                // An old record said again is not carried further.
                ctx.step.verdicts.push((peer, message, Verdict::Ignore));
            }
        }
        Input::Hello { peer, presence, .. } => {
            if links.contains_key(&peer) {
                room.proved(ctx, &peer);
            }
            room.present(ctx, &presence, true);
        }
        Input::SyncAsked { peer, token, request } => room.serve(ctx, &peer, token, request),
        Input::BodiesAsked { peer, token, entries, .. } => room.lend(ctx, &peer, token, entries),
        Input::BodiesCame { request, bodies, .. } => room.bodies_came(ctx, request, bodies),
        Input::BodyRotted { entry, .. } => room.body_rotted(ctx, entry),
        Input::SpaceFreed { bytes, .. } => room.space_freed(bytes),
        Input::SyncPage { peer, request, runs, frontier, more, fault, .. } => {
            if let Some(reject) = fault {
                ctx.step.penalties.push((peer.clone(), reject));
            }
            room.page(ctx, &peer, PageIn { request, runs, frontier, more, fault: fault.is_some() });
        }
        _ => {}
    }
}

/// What still counts while the goodbye is being said: who has it, and who asks for it.
fn is_heard_at_farewell(input: &Input) -> bool {
    use Input::{Ack, Beacon, BodiesAsked, Hello, SyncAsked};
    matches!(
        input,
        Ack { .. } | Beacon { .. } | BodiesAsked { .. } | Hello { .. } | SyncAsked { .. }
    )
}

fn gossip(
    ctx: &mut Ctx<'_>,
    room: &mut Room,
    peer: Peer,
    message: GossipId,
    run: crate::log::entry::VerifiedRun,
) {
    match room.accept(ctx, run, Source::Gossip) {
        Ok(Taken::New(_)) => verdict(ctx, room, peer, message),
        Ok(Taken::Parked) => {
            room.gap(ctx, &peer);
            verdict(ctx, room, peer, message);
        }
        // What the workers let through was well formed and signed. What is still wrong with it
        // depends on what is here: whoever has less, or more, passes it on in good faith.
        Err(reject) => {
            if reject != Reject::Duplicate {
                ctx.step.refused.push(reject);
            }
            if !matches!(reject, Reject::Duplicate | Reject::Rule) {
                room.gap(ctx, &peer);
            }
            if planted!(ForwarderBlamed) && reject == Reject::Rule {
                ctx.step.penalties.push((peer.clone(), Reject::Run));
            }
            ctx.step.verdicts.push((peer, message, Verdict::Ignore));
        }
    }
}

fn heard_ack(ctx: &mut Ctx<'_>, room: &mut Room, via: &Peer, ack: &VerifiedAck) {
    room.acknowledged(ctx, ack.device, &ack.frontier);
    room.compare(ctx, via, &ack.device, &ack.frontier);
}

/// Valid: forwarded, unless everybody is connected to everybody.
fn verdict(ctx: &mut Ctx<'_>, room: &Room, peer: Peer, message: GossipId) {
    let verdict = if room.links.full_mesh || planted!(ForwardNever) {
        Verdict::Ignore
    } else {
        Verdict::Accept
    };
    ctx.step.verdicts.push((peer, message, verdict));
}

fn find(rooms: &mut BTreeMap<RoomId, Room>, place: Place) -> Result<&mut Room, CommandError> {
    let unknown = || CommandError::UnknownRoom { room: place.to_string(), nearest: None };
    match place {
        Place::Room(id) => rooms.get_mut(&id).ok_or_else(unknown),
        Place::With(_) => Err(CommandError::WrongPlace { room: place.to_string() }),
    }
}

pub(crate) fn check_text(text: &str) -> Result<(), CommandError> {
    if text.trim().is_empty() {
        return Err(CommandError::EmptyText);
    }
    let (bytes, max) = (text.len() as u64, TEXT_BYTES_MAX as u64);
    if bytes > max { Err(CommandError::TextTooLong { bytes, max }) } else { Ok(()) }
}

fn command_in(
    ctx: &mut Ctx<'_>,
    rooms: &mut BTreeMap<RoomId, Room>,
    command: Command,
) -> Result<Reply, CommandError> {
    let (place, content) = match command {
        Command::JoinRoom { room, .. } => return Err(CommandError::BadRoomName { room }),
        Command::SetName { .. } => return Err(CommandError::BadName),
        Command::LeaveRoom { room } => return leave(ctx, find(rooms, room)?),
        // Before this: it takes the room away.
        Command::ForgetRoom { room } => {
            return Err(CommandError::WrongPlace { room: room.to_string() });
        }
        Command::MuteDevice { room, device, muted } => {
            return find(rooms, room)?.mute(ctx, device, muted).map(|()| Reply::Done);
        }
        Command::MarkRead { room, upto } => {
            let room = find(rooms, room)?.id();
            ctx.step.writes.push(Write::ReadUpto { room, journal: upto });
            return Ok(Reply::Done);
        }
        Command::SendMessage { room, text, reply_to } => {
            check_text(&text)?;
            if let Some(id) = reply_to {
                find(rooms, room)?.find(ctx, id, false)?;
            }
            (room, Content::Text { text, reply_to })
        }
        Command::SendNotice { room, text } => {
            check_text(&text)?;
            (room, Content::Notice { text })
        }
        Command::EditMessage { room, message, text } => {
            check_text(&text)?;
            find(rooms, room)?.find(ctx, message, true)?;
            (room, Content::Edit { target: message, text })
        }
        Command::DeleteMessage { room, message } => {
            find(rooms, room)?.find(ctx, message, true)?;
            (room, Content::Delete { target: message })
        }
        Command::React { room, message, emoji, on } => {
            find(rooms, room)?.find(ctx, message, false)?;
            let emoji = crate::emoji::emoji(&emoji).ok_or(CommandError::BadEmoji)?.to_owned();
            (room, Content::Reaction { target: message, emoji, on })
        }
        Command::AcceptContact { who, .. }
        | Command::BlockContact { who, .. }
        | Command::ForgetContact { who }
        | Command::RenameContact { who, .. }
        | Command::VerifyContact { who, .. } => {
            return Err(CommandError::UnknownPerson { who: who.to_string(), nearest: None });
        }
        Command::Typing { room, .. } => {
            return Err(CommandError::WrongPlace { room: room.to_string() });
        }
        Command::SetPrivacy { .. } => return Err(CommandError::WrongPlace { room: String::new() }),
    };
    let room = find(rooms, place)?;
    if room.row.left {
        return Err(CommandError::UnknownRoom { room: room.name().to_owned(), nearest: None });
    }
    let (message, seq, journal) = room.write(ctx, content)?;
    Ok(Reply::Stored { message, room: room.id(), seq, journal })
}

fn set_name(
    ctx: &mut Ctx<'_>,
    rooms: &mut BTreeMap<RoomId, Room>,
    new: &str,
) -> Result<Reply, CommandError> {
    if !names::is_name(new) {
        return Err(CommandError::BadName);
    }
    if new == ctx.name {
        // Nobody is told a new name that is none.
        return Ok(Reply::Done);
    }
    let mut ctx = Ctx {
        now: ctx.now,
        wall: ctx.wall,
        rng: ctx.rng,
        keys: ctx.keys,
        me: ctx.me,
        process: ctx.process,
        name: new,
        directory: ctx.directory,
        journal: ctx.journal,
        request: ctx.request,
        step: ctx.step,
    };
    // All or nothing, but for rooms in which this device may not write any more.
    let open = |r: &&mut Room| !r.row.left && !r.behind && r.returning.is_none();
    for room in rooms.values_mut().filter(open) {
        room.may_write(ctx.now)?;
    }
    ctx.step.writes.push(Write::Name(new.to_owned()));
    for room in rooms.values_mut().filter(open) {
        room.write_profile(&mut ctx)?;
    }
    Ok(Reply::Done)
}

fn join(
    ctx: &mut Ctx<'_>,
    rooms: &mut BTreeMap<RoomId, Room>,
    topics: &mut BTreeMap<TopicId, RoomId>,
    links: &BTreeMap<Peer, Linked>,
    new: Room,
) -> Result<Reply, CommandError> {
    let (id, name) = (new.id(), new.name().to_owned());
    if rooms.get(&id).is_some_and(|r| !r.row.left) {
        return Ok(Reply::Joined { room: id, name, already: true });
    }
    if rooms.values().filter(|r| !r.row.left).count() >= ROOMS_MAX {
        return Err(CommandError::TooManyRooms { max: ROOMS_MAX as u64 });
    }
    let room = rooms.entry(id).or_insert(new);
    room.come_in(ctx);
    ctx.step.writes.push(Write::Room(room.row.clone()));
    ctx.step.topics.push(TopicChange::Subscribe(room.keys.topic));
    topics.insert(room.keys.topic, id);
    if !room.behind && room.returning.is_none() {
        room.write_profile(ctx)?;
    }
    ctx.record(Event::RoomJoined { room: id, name: name.clone() });
    let topic = room.keys.topic;
    for (peer, _) in links.iter().filter(|(_, l)| l.topics.contains(&topic)) {
        room.link_up(ctx, peer);
    }
    Ok(Reply::Joined { room: id, name, already: false })
}

fn leave(ctx: &mut Ctx<'_>, room: &mut Room) -> Result<Reply, CommandError> {
    if room.row.left {
        return Ok(Reply::Done);
    }
    if !room.behind && room.returning.is_none() {
        room.write(ctx, Content::Leave)?;
    }
    room.leave(ctx);
    ctx.record(Event::RoomLeft { room: room.id() });
    Ok(Reply::Done)
}

/// Leaves a room, if it was not left before, and keeps nothing of it but how far this device had
/// written, if anybody else may have that.
fn forget(
    ctx: &mut Ctx<'_>,
    rooms: &mut BTreeMap<RoomId, Room>,
    topics: &mut BTreeMap<TopicId, RoomId>,
    former: &mut BTreeMap<RoomId, Former>,
    place: Place,
) -> Result<Reply, CommandError> {
    let room = find(rooms, place)?;
    let id = room.id();
    if !room.row.left {
        // Where nothing can be written others see that this device is away.
        if room.may_write(ctx.now).is_ok() {
            room.write(ctx, Content::Leave)?;
        }
        room.leave(ctx);
    }
    if room.is_followed() {
        room.stop_following(ctx);
    }
    let left = room.former(&ctx.keys.device_id());
    topics.remove(&room.keys.topic);
    rooms.remove(&id);
    former.extend(left.map(|left| (id, left)));
    ctx.step.writes.push(Write::ForgetRoom { room: id, former: left });
    // Nobody is told of a goodbye that is not kept.
    let told = |e: &Event| matches!(e, Event::MessageAdded { message } if message.room == id);
    ctx.step.events.retain(|t| !told(&t.event));
    ctx.step.forgotten.push(id);
    Arc::make_mut(ctx.directory).drop_room(&id);
    ctx.record(Event::Forgotten { room: id, direct: false });
    Ok(Reply::Done)
}

/// The reply of a command whose batch could not be committed.
pub fn not_committed(id: CommandId, cause: &str) -> (CommandId, Result<Reply, CommandError>) {
    (id, Err(CommandError::ReadOnly { cause: cause.to_owned() }))
}
