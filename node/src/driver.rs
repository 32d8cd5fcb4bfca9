//! The driver: the one loop in which everything happens. Inputs -> core -> one transaction -> sends
//! -> events.
//!
//! A plain thread owns the machine and the store's only writer, so nothing here is async and
//! nothing can come between a step and its commit. While a batch is being committed the next one
//! gathers: that is the group commit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError};
use std::time::{Duration, Instant};

use klatch_core::command::{Command, Reply};
use klatch_core::crypto::group::RoomRoot;
use klatch_core::error::CommandError;
use klatch_core::event::Event;
use klatch_core::ids::{EntryId, Peer, RoomId};
use klatch_core::limits::BATCH_INPUTS_MAX;
use klatch_core::machine::{Machine, not_committed};
use klatch_core::place::Place;
use klatch_core::step::{CommandId, Input, Step, TopicChange, Write};
use klatch_core::wire;
use libp2p::Multiaddr;
use tokio::sync::oneshot;

use crate::cleaning::is_removal;
use crate::clock::{SystemEntropy, now_ms};
use crate::feed::Feed;
use crate::keep::{Keep, Keeper, Noting};
use crate::network::{self, NetCommand, NetworkHandle};
use crate::serve::Errand;
use crate::store::{Store, StoreError};
use crate::views::{Awaited, Shared};
use crate::wants;

/// Work waiting for the driver: about ten batches, so that a commit never starves and memory stays
/// small.
pub const WORK_MAX: usize = 1_024;
/// Texts indexed for search in one go while nothing else is to do: a few milliseconds.
const INDEX_SLICE: usize = 16;
/// Indexing waits until nothing has happened for this long: a busy node shall not pay for it in
/// latency. Who searches earlier gets it done at once.
const INDEX_AFTER: Duration = Duration::from_millis(400);
/// Bytes of text taken from users in one batch: with the core's own bound this keeps the outbox
/// within its memory.
const BATCH_TEXT_MAX: usize = 2 << 20;
/// After a batch of so many inputs...
const CROWD: usize = 4;
/// ...the next one waits so long for what else comes, because who was just answered asks again: one
/// commit and signature for many messages. Who writes one at a time waits for nothing.
const CROWD_PAUSE: Duration = Duration::from_millis(1);
/// Commands held back while a room's window is full. More are refused: whoever sends waits for
/// answers.
const HELD_MAX: usize = 4_096;
/// How often held commands are looked at when nothing else happens.
const HELD_CHECK: Duration = Duration::from_millis(20);
/// How often a store that refused writes is tried again.
pub(crate) const RETRY: Duration = Duration::from_secs(2);
/// Longest sleep without a timer.
const NAP: Duration = Duration::from_secs(60);

/// Where the reply to a command goes.
pub type ReplyTo = oneshot::Sender<Result<Reply, CommandError>>;

/// What others want of the driver.
#[derive(Debug)]
pub enum Work {
    /// From the network, verified.
    Input(Input),
    /// From the user.
    Command {
        /// What.
        command: Command,
        /// Where the reply goes.
        reply: ReplyTo,
        /// What is to be remembered with it.
        keep: Option<Keep>,
    },
    /// The API wants something remembered.
    Note(Noting),
    /// From the user, with the stretched root.
    Join {
        /// Normalised name.
        name: String,
        /// The root.
        root: Arc<RoomRoot>,
        /// Whether a passphrase went into it.
        passphrase: bool,
        /// Where the reply goes.
        reply: ReplyTo,
    },
    /// A link came up at an address: for the address book.
    Linked {
        /// Who.
        peer: Peer,
        /// Where.
        address: Multiaddr,
        /// We dialled it, so it can be dialled again.
        dialled: bool,
    },
    /// A peer that dialled us, and shares something: for the address book.
    CameFrom {
        /// Who.
        peer: Peer,
        /// From where.
        address: Multiaddr,
    },
    /// Peers that the user does not want looked for where they once were.
    Unwant(wants::Unwant),
    /// Somebody wants to search: index what is stored, then say so.
    Index(oneshot::Sender<()>),
    /// These bodies were read, and are not what their headers name.
    Doubt(Vec<(RoomId, EntryId)>),
    /// Finish what is queued, then end.
    Stop,
}

/// The loop and what it owns.
pub struct Driver {
    pub(crate) machine: Option<Machine>,
    pub(crate) store: Store,
    pub(crate) network: NetworkHandle,
    pub(crate) shared: Arc<Shared>,
    pub(crate) librarian: SyncSender<Errand>,
    pub(crate) events: Feed,
    pub(crate) replies: BTreeMap<CommandId, ReplyTo>,
    pub(crate) next_command: CommandId,
    pub(crate) wake_ms: Option<u64>,
    pub(crate) read_only_since: Option<Instant>,
    pub(crate) indexed: bool,
    /// User commands in order, not yet given to the core: their room waits for its members.
    pub(crate) held: VecDeque<Input>,
    /// What the API wants remembered.
    pub(crate) keeper: Keeper,
    /// What follows from what was stored or read, for the core.
    pub(crate) own: Vec<Input>,
    /// Who waits for the index.
    pub(crate) searchers: Vec<oneshot::Sender<()>>,
    /// The last batch was large: more of the same is on its way.
    pub(crate) crowded: bool,
    /// When something last happened.
    pub(crate) busy: Instant,
    /// When what was removed is to leave the index and the log.
    pub(crate) clean_at: Option<Instant>,
}

impl Driver {
    /// Runs until [`Work::Stop`], or until the store is damaged: then the node ends rather than
    /// spread the damage.
    pub fn run(mut self, work: &Receiver<Work>) {
        while let Some((batch, stop)) = self.gather(work) {
            if let Err(error) = self.turn(batch) {
                tracing::error!(%error, hint = error.hint(), "the store failed; the node stops");
                break;
            }
            if stop {
                break;
            }
        }
        self.events.close();
        let _ = self.network.send(NetCommand::Shutdown);
        self.clean_up();
    }

    /// Waits for the next batch: what is queued, at most [`BATCH_INPUTS_MAX`], user commands first
    /// so that own entries of a batch are adjacent. `None` when everybody is gone.
    fn gather(&mut self, work: &Receiver<Work>) -> Option<(Vec<Input>, bool)> {
        self.clean();
        let first = match self.next(work) {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return None,
        };
        let (mut inputs, mut stop, mut count) = (Vec::new(), false, 0);
        let (until, crowded) = (Instant::now() + CROWD_PAUSE, std::mem::take(&mut self.crowded));
        let mut taken = first;
        while let Some(item) = taken {
            match item {
                Work::Input(input) => {
                    if let Input::LinkDown { peer } = &input {
                        self.tell(Event::PeerDisconnected { peer_id: peer_text(peer) });
                    }
                    inputs.push(input);
                }
                Work::Note(noting) => self.keeper.alone(noting),
                Work::Command { command, reply, keep } => {
                    let id = self.expect_reply(reply);
                    self.keeper.with_command(id, keep);
                    self.held.push_back(Input::Command { id, command });
                }
                Work::Join { name, root, passphrase, reply } => {
                    let id = self.expect_reply(reply);
                    self.held.push_back(Input::Join { id, name, root, passphrase });
                }
                Work::Linked { peer, address, dialled } => self.linked(&peer, &address, dialled),
                Work::CameFrom { peer, address } => self.remember(&peer, &address.to_string()),
                Work::Unwant(unwant) => self.unwant(unwant),
                Work::Index(done) => self.searchers.push(done),
                Work::Doubt(doubts) => self.doubted(doubts),
                Work::Stop => stop = true,
            }
            count += 1;
            if stop || count >= BATCH_INPUTS_MAX {
                break;
            }
            let left = until.saturating_duration_since(Instant::now());
            taken = if crowded { work.recv_timeout(left).ok() } else { work.try_recv().ok() };
        }
        self.crowded = count >= CROWD;
        let mut batch = self.admit();
        batch.append(&mut inputs);
        batch.append(&mut self.own);
        Some((batch, stop))
    }

    /// Takes held commands in order, but leaves those of a room whose members have to catch up
    /// first, and everything for that room behind them: what one person says stays in the order in
    /// which it was said.
    fn admit(&mut self) -> Vec<Input> {
        let Some(machine) = &self.machine else { return self.held.drain(..).collect() };
        let (mut admitted, mut kept, mut bytes) = (Vec::new(), VecDeque::new(), 0);
        let mut blocked: BTreeSet<Place> = BTreeSet::new();
        while let Some(input) = self.held.pop_front() {
            let Input::Command { command, .. } = &input else {
                admitted.push(input);
                continue;
            };
            let place = command.place();
            let full = bytes >= BATCH_TEXT_MAX || admitted.len() >= BATCH_INPUTS_MAX;
            let congested = |place: &Place| match place {
                Place::Room(id) => machine.is_congested(id, now_ms()),
                Place::With(_) => false,
            };
            let waits = place.is_some_and(|p| blocked.contains(&p) || congested(&p));
            if full || waits {
                blocked.extend(place);
                kept.push_back(input);
            } else {
                bytes += command.text_bytes();
                admitted.push(input);
            }
        }
        self.held = kept;
        while self.held.len() > HELD_MAX {
            if let Some(Input::Command { id, .. }) = self.held.pop_back() {
                self.reply(id, Err(CommandError::TooFast { queued: HELD_MAX as u64 }));
            }
        }
        admitted
    }

    /// Waits until there is work or a timer is due. While nothing happens, texts are indexed for
    /// search.
    fn next(&mut self, work: &Receiver<Work>) -> Result<Work, RecvTimeoutError> {
        loop {
            match work.try_recv() {
                Ok(item) => return Ok(item),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            self.clean();
            if !self.own.is_empty() && self.read_only_since.is_none() {
                return Err(RecvTimeoutError::Timeout);
            }
            // While the disk refuses writes the core's timers rest: only the probe is due.
            let timer = self.wake_ms.filter(|_| self.read_only_since.is_none());
            let until_wake =
                timer.map_or(NAP, |at| Duration::from_millis(at.saturating_sub(now_ms())));
            let mut nap = if self.read_only_since.is_some() { RETRY } else { NAP };
            if !self.held.is_empty() {
                nap = HELD_CHECK;
            }
            if let Some(at) = self.clean_at.filter(|_| self.read_only_since.is_none()) {
                nap = nap.min(at.saturating_duration_since(Instant::now()));
            }
            let mut waits_to_index = false;
            if !self.indexed && self.read_only_since.is_none() {
                if !self.searchers.is_empty() || self.busy.elapsed() >= INDEX_AFTER {
                    self.index();
                    if until_wake.is_zero() {
                        return Err(RecvTimeoutError::Timeout);
                    }
                    continue;
                }
                waits_to_index = self.held.is_empty();
                nap = nap.min(INDEX_AFTER);
            } else {
                // Whether or not indexing succeeded: nothing more will come of waiting.
                for done in self.searchers.drain(..) {
                    // Who asked may have gone.
                    let _ = done.send(());
                }
            }
            match work.recv_timeout(until_wake.min(nap)) {
                // Woken only to index; everything else is a turn, also after a long nap (the clock
                // may have been set).
                Err(RecvTimeoutError::Timeout) if waits_to_index && nap < until_wake => {}
                result => return result,
            }
        }
    }

    fn index(&mut self) {
        let shared = self.shared.clone();
        let open = move |room, entry: &klatch_core::log::entry::SealedEntry| {
            shared.keys(&room)?.open(entry).ok()?.text().map(str::to_owned)
        };
        match self.store.index_some(&open, INDEX_SLICE) {
            Ok(n) => self.indexed = n < INDEX_SLICE,
            Err(error) => {
                tracing::warn!(%error, "cannot index for search now");
                self.indexed = true;
            }
        }
        let doubts = self.store.take_doubts();
        self.doubted(doubts);
    }

    /// A body may have been removed while it was read; what is really rotten is for the core.
    fn doubted(&mut self, doubts: Vec<(RoomId, EntryId)>) {
        for (room, entry) in doubts {
            match self.store.is_rotten(room, entry) {
                Ok(true) => {
                    tracing::warn!(?entry, "a stored body rotted; it is asked for again");
                    self.own.push(Input::BodyRotted { room, entry });
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "cannot look at a body again"),
            }
        }
    }

    fn expect_reply(&mut self, reply: ReplyTo) -> CommandId {
        self.next_command += 1;
        self.replies.insert(self.next_command, reply);
        self.next_command
    }

    fn linked(&mut self, peer: &Peer, address: &Multiaddr, dialled: bool) {
        let (peer_id, path) = (peer_text(peer), network::path(address));
        let address = address.to_string();
        self.tell(Event::PeerConnected { peer_id, address: address.clone(), path });
        if dialled {
            self.remember(peer, &address);
        }
    }

    fn remember(&mut self, peer: &Peer, address: &str) {
        if let Err(error) = self.store.remember_address(&peer.0, None, address, now_ms()) {
            tracing::debug!(%error, "cannot remember an address");
        }
    }

    /// One turn: core, commit, send, tell.
    fn turn(&mut self, batch: Vec<Input>) -> Result<(), StoreError> {
        if self.read_only_since.is_some() && !self.writable_again()? {
            self.turn_read_only(batch);
            return Ok(());
        }
        let step = self.think(batch);
        let noted = self.keeper.prepare(&mut self.store, &step.replies);
        if !step.writes.is_empty() || noted {
            let hearsay = !noted && step.writes.iter().all(is_hearsay);
            let done = if hearsay {
                self.store.commit_relaxed(&step.writes)
            } else {
                self.store.commit(&step.writes)
            };
            if let Err(error) = done {
                return self.refuse_writes(step, error);
            }
            let freed = self.store.take_freed().into_iter();
            self.own.extend(freed.map(|(room, bytes)| Input::SpaceFreed { room, bytes }));
            self.clean_later(&step.writes);
            if step.writes.iter().any(is_indexed) {
                self.indexed = false;
                self.busy = Instant::now();
            }
        }
        self.keeper.settle(None);
        self.send(step);
        Ok(())
    }

    fn think(&mut self, batch: Vec<Input>) -> Step {
        let mut step = Step::default();
        let (now, mut rng) = (now_ms(), SystemEntropy);
        let Some(machine) = &mut self.machine else { return step };
        for input in batch {
            step.absorb(machine.handle(now, &mut rng, input));
        }
        let last = machine.handle(now, &mut rng, Input::BatchEnd);
        self.wake_ms = last.wake;
        step.absorb(last);
        step
    }

    /// Everything that follows a commit, in the order of `step.rs`.
    fn send(&mut self, step: Step) {
        self.shared.update(step.views);
        self.shared.forget(&step.forgotten);
        self.shared.set_people(step.people);
        for write in &step.writes {
            if let Write::Name(name) = write {
                self.shared.set_name(name.clone());
            }
        }
        for topic in step.topics {
            self.tell_network(match topic {
                TopicChange::Subscribe(topic) => NetCommand::Subscribe(topic),
                TopicChange::Unsubscribe(topic) => NetCommand::Unsubscribe(topic),
            });
        }
        for publish in step.publishes {
            self.tell_network(NetCommand::Publish { topic: publish.topic, bytes: publish.bytes });
        }
        for send in step.sends {
            if (send.wants_page || send.wants_bodies)
                && let Some(keys) = self.shared.keys(&send.room)
            {
                let what = if send.wants_page { Awaited::Page } else { Awaited::Bodies };
                self.shared.await_page(send.request, keys, what);
            }
            self.tell_network(NetCommand::Request {
                peer: send.peer,
                id: send.request,
                bytes: send.bytes,
            });
        }
        for direct in step.directs {
            let (peer, id, bytes) = (direct.peer, direct.request, direct.bytes);
            self.tell_network(NetCommand::AskDirect { peer, id, bytes });
        }
        let pages = step.serves.into_iter().map(Errand::Page);
        for errand in pages.chain(step.lends.into_iter().map(Errand::Bodies)) {
            if let Err(TrySendError::Full(errand) | TrySendError::Disconnected(errand)) =
                self.librarian.try_send(errand)
            {
                self.tell_network(NetCommand::Respond {
                    token: errand.token(),
                    bytes: wire::response_refused(),
                });
            }
        }
        for (token, bytes) in step.responds {
            self.tell_network(NetCommand::Respond { token, bytes });
        }
        for (peer, message, verdict) in step.verdicts {
            self.tell_network(NetCommand::Verdict { peer, message, verdict });
        }
        for reason in step.refused {
            self.shared.refuse(reason);
        }
        for (peer, reason) in step.penalties {
            self.shared.refuse(reason);
            self.tell_network(NetCommand::Penalise { peer, reason });
        }
        for (id, result) in step.replies {
            self.reply(id, result);
        }
        for event in step.events {
            self.events.tell(event);
        }
    }

    /// Tells what concerns this node only, and is not kept.
    fn tell(&self, event: Event) {
        self.events.tell(event.into());
    }

    fn tell_network(&self, command: NetCommand) {
        // An error means that the network has ended, which only happens when the node stops.
        let _ = self.network.send(command);
    }

    fn reply(&mut self, id: CommandId, result: Result<Reply, CommandError>) {
        self.keeper.forget(id);
        if let Some(reply) = self.replies.remove(&id) {
            // The asking side may have gone: the effect stays.
            let _ = reply.send(result);
        }
    }

    // ---- when the disk is full ------------------------------------------------------------------

    /// A commit failed: nothing of the batch happened. Commands hear so, the core starts again from
    /// the disk, and until writes succeed the node only listens, serves and answers queries.
    fn refuse_writes(&mut self, step: Step, error: StoreError) -> Result<(), StoreError> {
        if !error.retryable() {
            return Err(error);
        }
        tracing::error!(%error, "the store refuses writes; read-only until it takes them again");
        self.read_only_since = Some(Instant::now());
        let cause = match error {
            StoreError::Full { cause } => cause,
            other => other.to_string(),
        };
        self.shared.set_read_only(Some(cause.clone()));
        self.keeper.settle(Some(&cause));
        for (id, _) in step.replies {
            let (id, result) = not_committed(id, &cause);
            self.reply(id, result);
        }
        let snapshot = self.store.snapshot()?;
        if let Some(machine) = self.machine.take() {
            let (machine, step) = machine.reopen(snapshot, now_ms(), &mut SystemEntropy);
            self.machine = Some(machine);
            self.shared.update(step.views);
            self.shared.set_people(step.people);
        }
        Ok(())
    }

    fn writable_again(&mut self) -> Result<bool, StoreError> {
        if self.read_only_since.is_some_and(|since| since.elapsed() < RETRY) {
            return Ok(false);
        }
        match self.store.commit(&[Write::Name(self.shared.name())]) {
            Ok(()) => {
                tracing::info!("the store takes writes again");
                self.read_only_since = None;
                self.shared.set_read_only(None);
                Ok(true)
            }
            Err(error) if error.retryable() => {
                self.read_only_since = Some(Instant::now());
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Links are noted and history is served; everything that would write is refused or left to a
    /// later sync.
    fn turn_read_only(&mut self, batch: Vec<Input>) {
        let cause = self.shared.read_only().unwrap_or_default();
        self.keeper.settle(Some(&cause));
        let mut step = Step::default();
        let (now, mut rng) = (now_ms(), SystemEntropy);
        for input in batch {
            match input {
                Input::Command { id, .. } | Input::Join { id, .. } => {
                    let (id, result) = not_committed(id, &cause);
                    self.reply(id, result);
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
                    if let Some(machine) = &mut self.machine {
                        step.absorb(machine.handle(now, &mut rng, input));
                    }
                }
                // At once rather than by its timeout: it keeps the frame and tries again.
                Input::DirectAsked { token, .. } => {
                    self.tell_network(NetCommand::Decline { token })
                }
                _ => {}
            }
        }
        step.writes.clear();
        self.send(step);
    }
}

fn peer_text(peer: &Peer) -> String {
    network::id_of(peer).map(|id| id.to_string()).unwrap_or_default()
}

/// What the search index follows. Session keys are not in it, but the log is emptied of replaced
/// ones along with it.
fn is_indexed(write: &Write) -> bool {
    matches!(
        write,
        Write::Append(_)
            | Write::Body { .. }
            | Write::Direct(_)
            | Write::DropDirect { .. }
            | Write::Ratchet { .. }
    ) || is_removal(write)
}

/// What others will say again should it be lost in a power cut: worth no flush of its own. A frame
/// whose acknowledgement is forgotten is sent again, as the very same bytes, and acknowledged
/// again. Sessions, messages and frames are not hearsay: nobody could repeat them.
fn is_hearsay(write: &Write) -> bool {
    matches!(
        write,
        Write::Acked { .. }
            | Write::Device(_)
            | Write::ReadUpto { .. }
            | Write::DirectState { .. }
            | Write::OutboxDone { .. }
    )
}
