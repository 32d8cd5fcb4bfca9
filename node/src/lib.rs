//! # klatch-node: the shell around the core
//!
//! Owns tasks, threads, sockets, files, the clock and randomness; contains no chat rule. A [`Node`]
//! is one running profile:
//!
//! ```text
//! network task -> workers (open, verify) -> driver (core, commit, send, tell) -> network task
//!                                             ^                       |
//! commands  ----------------------------------+      queries -> readers of the store
//! ```
//!
//! | module | owns |
//! |---|---|
//! | [`driver`] | the loop: the order of effects, batches, a full disk |
//! | [`verify`] | worker threads: decoding, opening, signatures |
//! | [`serve`] | pages of history for other members |
//! | [`history`] | answers to queries about rooms |
//! | [`people`] | answers to queries about people and conversations |
//! | [`journal`] | everything durable in the order in which it happened |
//! | [`feed`] | live events for everybody who listens |
//! | [`views`] | what the threads may know of the core's state |
//! | [`network`] | the libp2p swarm and discovery |
//! | [`store`] | bytes at rest, keystore, lock |
//! | [`place`] | where a running node is reached, as it says itself |
//! | [`look`] | a look into a profile without a node |
//! | [`api`] | the local JSON-RPC socket |
//!
//! # In a program of your own
//!
//! [`Node::spawn`] needs a tokio runtime around it; the network, the driver and the other threads
//! are the node's own. Put this into the `.cargo/config.toml` of *your* workspace:
//!
//! ```toml
//! [env]
//! LIBSQLITE3_FLAGS = "-DHAVE_FDATASYNC=1"
//! ```
//!
//! The bundled SQLite is compiled with what that variable says, and cargo takes it from the
//! workspace that is being built, never from that of a dependency. Without it everything works, but
//! a commit also flushes the times of the file (measured: 0.61 ms instead of 0.42 ms).

pub mod api;
mod cleaning;
pub mod clock;
pub mod config;
pub mod driver;
pub mod feed;
pub mod history;
pub mod journal;
mod keep;
pub mod look;
pub mod network;
pub mod people;
pub mod place;
pub mod serve;
mod start;
pub mod store;
pub mod verify;
pub mod views;
mod wants;

use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use klatch_core::command::{Command, Reply};
use klatch_core::crypto::group;
use klatch_core::error::CommandError;
use klatch_core::ids::{DeviceId, IdentityId, RoomId};
use klatch_core::place::{Opening, Place};
use klatch_core::query::{Answer, Discovery, Host, PeerSummary, Query, Status, WantedPeer};
use tokio::sync::{Semaphore, oneshot};

pub use config::Config;
pub use feed::Live as NodeEvent;
pub use klatch_core as core;
pub use start::StartError;

use driver::Work;
use history::{History, Page};
use network::{NetworkHandle, Stopped};
use people::People;
use store::Reader;
use store::lock::ProfileLock;
use views::Shared;

/// Queries answered at the same time.
const READERS: usize = 2;
/// Passphrases stretched at the same time: each takes 64 MiB.
const STRETCHED_AT_ONCE: usize = 2;
/// A command waits this long before it looks again whether the driver has room.
const PATIENCE: Duration = Duration::from_millis(2);
/// Network and threads are given this long to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A running node. Clones are handles to the same one.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    work: SyncSender<Work>,
    shared: Arc<Shared>,
    readers: Mutex<Vec<Reader>>,
    free_readers: Arc<Semaphore>,
    /// Who hands work over; fair, so that commands keep their order.
    turn: tokio::sync::Mutex<()>,
    /// Who makes a room's key out of its passphrase.
    stretching: Arc<Semaphore>,
    events: feed::Feed,
    network: NetworkHandle,
    identity: IdentityId,
    device: DeviceId,
    started: Instant,
    home: std::path::PathBuf,
    runtime: std::path::PathBuf,
    host: Option<Host>,
    /// Where the API is offered.
    socket: Mutex<Option<std::path::PathBuf>>,
    running: Mutex<Option<Running>>,
}

struct Running {
    driver: JoinHandle<()>,
    network: Stopped,
    /// Held until the store is closed.
    lock: ProfileLock,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.inner.device.short())
    }
}

impl Node {
    /// Opens the profile and starts everything. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// [`StartError`], which says what to do about it. Nothing on disk is changed then.
    pub async fn spawn(config: Config) -> Result<Self, StartError> {
        start::spawn(config).await
    }

    /// Does what the user asks for; answers when it is on disk.
    ///
    /// A send that is too fast for the other members is held back until they have caught up a
    /// little.
    ///
    /// # Errors
    /// [`CommandError`], which says what to do about it.
    pub async fn command(&self, command: Command) -> Result<Reply, CommandError> {
        if let Command::JoinRoom { room, passphrase } = command {
            return self.join(room, passphrase).await;
        }
        self.command_kept(command, None).await
    }

    /// As [`Node::command`], with notes that are on disk if and only if its effects are.
    async fn command_kept(
        &self,
        command: Command,
        keep: Option<keep::Keep>,
    ) -> Result<Reply, CommandError> {
        self.is_there(&command).await?;
        let (reply, answer) = oneshot::channel();
        self.give(Work::Command { command, reply, keep }).await?;
        answer.await.unwrap_or(Err(CommandError::Stopping))
    }

    /// Refuses to change what was deleted: only the store knows that, the core keeps no texts. What
    /// else is wrong with a command the core says.
    async fn is_there(&self, command: &Command) -> Result<(), CommandError> {
        let (Command::EditMessage { room, message, .. } | Command::React { room, message, .. }) =
            command
        else {
            return Ok(());
        };
        let query = Query::Message { room: *room, message: *message };
        match self.query(query).await {
            Ok(Answer::Message(found)) if found.deleted => {
                Err(CommandError::DeletedMessage { message: message.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Keeps notes of the API's own.
    async fn note(&self, notes: Vec<store::Note>) -> Result<(), CommandError> {
        let (done, answer) = oneshot::channel();
        self.give(Work::Note(keep::Noting { notes, done })).await?;
        answer.await.unwrap_or(Err(CommandError::Stopping))
    }

    /// The notes whose keys begin so.
    async fn notes(&self, kind: &'static str) -> Result<Vec<(String, String)>, CommandError> {
        self.read(move |_, history| history.reader().notes(kind).map_err(history::failed)).await
    }

    /// What a name or id means: how programs in the same process find the place for a command or
    /// a query.
    ///
    /// # Errors
    /// [`CommandError`]: no such room or person, or several of that name.
    pub fn place(&self, wanted: &str) -> Result<Place, CommandError> {
        self.inner.shared.place(wanted)
    }

    /// The person that a name, fingerprint, identity or conversation means.
    ///
    /// # Errors
    /// [`CommandError`]: nobody, several people, the user.
    pub fn person(&self, wanted: &str) -> Result<IdentityId, CommandError> {
        self.inner.shared.person(wanted)
    }

    async fn join(
        &self,
        room: String,
        passphrase: Option<klatch_core::command::Passphrase>,
    ) -> Result<Reply, CommandError> {
        let name = match self.inner.shared.to_open(&room, passphrase.is_some())? {
            Opening::Here { room, name } => return Ok(Reply::Joined { room, name, already: true }),
            Opening::Name(name) => name,
        };
        let protected = passphrase.is_some();
        // Held to the end, even if nobody waits for the answer any more.
        let turns = self.inner.stretching.clone();
        let turn = turns.acquire_owned().await.map_err(|_| CommandError::Stopping)?;
        let stretched = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            group::stretch(&name, passphrase.as_ref().map_or("", |p| p.0.as_str()))
        });
        let (name, root) = stretched.await.map_err(|_| CommandError::Stopping)??;
        let (reply, answer) = oneshot::channel();
        self.give(Work::Join { name, root: Arc::new(root), passphrase: protected, reply }).await?;
        answer.await.unwrap_or(Err(CommandError::Stopping))
    }

    async fn give(&self, work: Work) -> Result<(), CommandError> {
        let mut work = work;
        let _turn = self.inner.turn.lock().await;
        loop {
            work = match self.inner.work.try_send(work) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(work)) => work,
                Err(TrySendError::Disconnected(_)) => return Err(CommandError::Stopping),
            };
            tokio::time::sleep(PATIENCE).await;
        }
    }

    /// Reads from the store. Never waits for the core.
    ///
    /// # Errors
    /// [`CommandError`] when a room or message is unknown, or the store cannot be read.
    pub async fn query(&self, query: Query) -> Result<Answer, CommandError> {
        if let Query::History { search: Some(words), .. } = &query {
            if klatch_core::words::phrases(words).is_empty() {
                return Err(CommandError::NoWords);
            }
            let (done, indexed) = oneshot::channel();
            self.give(Work::Index(done)).await?;
            // Dropped when the node stops; what is indexed can be searched all the same.
            let _ = indexed.await;
        }
        self.read(move |node, history| node.answer(history, query)).await
    }

    /// The journal after a number, for those who follow it.
    ///
    /// # Errors
    /// [`CommandError`]: the store cannot be read.
    pub async fn journal(&self, wanted: journal::Wanted) -> Result<journal::Stretch, CommandError> {
        self.read(move |node, history| {
            journal::read(history, &node.people(history), wanted).map_err(history::failed)
        })
        .await
    }

    /// Where the journal begins and ends.
    ///
    /// # Errors
    /// [`CommandError`]: the store cannot be read.
    pub async fn journal_bounds(&self) -> Result<journal::Bounds, CommandError> {
        self.read(|_, history| journal::bounds(history).map_err(history::failed)).await
    }

    /// Reads with one of the readers, on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Self, &History<'_>) -> Result<T, CommandError> + Send + 'static,
    ) -> Result<T, CommandError> {
        let free = self.inner.free_readers.clone();
        let permit = free.acquire_owned().await.map_err(|_| CommandError::Stopping)?;
        let node = self.clone();
        let answer = tokio::task::spawn_blocking(move || {
            // Held until the reader is back, even if nobody waits for the answer any more.
            let _permit = permit;
            let Some(lent) = Lent::take(&node) else { return Err(CommandError::Stopping) };
            let Some(reader) = &lent.reader else { return Err(CommandError::Stopping) };
            let answer = look(&node, &History::new(reader, &node.inner.shared, node.inner.device));
            let doubts = reader.take_doubts();
            if !doubts.is_empty() {
                // If the driver is too busy, whoever reads them next says it again.
                let _ = node.inner.work.try_send(Work::Doubt(doubts));
            }
            answer
        });
        answer.await.map_err(|error| match error.is_panic() {
            // The log has its words.
            true => CommandError::ReadFailed { cause: "a fault of this program".to_owned() },
            false => CommandError::Stopping,
        })?
    }

    fn people<'a>(&'a self, history: &History<'a>) -> People<'a> {
        People::new(history.reader(), &self.inner.shared, self.inner.identity)
    }

    fn answer(&self, history: &History<'_>, query: Query) -> Result<Answer, CommandError> {
        let people = self.people(history);
        let failed = history::failed;
        Ok(match query {
            Query::Rooms => Answer::Rooms(history.rooms().map_err(failed)?),
            Query::Members { room } => match room {
                Place::Room(found) => Answer::Members(history.members(found).map_err(failed)?),
                Place::With(_) => {
                    return Err(CommandError::WrongPlace { room: room.to_string() });
                }
            },
            Query::History { room, limit, after: Some(after), .. } => {
                let lines = match room {
                    Place::Room(room) => history.lines_after(room, after, limit),
                    Place::With(identity) => people.lines_after(identity, after, limit),
                };
                Answer::Messages(lines.map_err(failed)?)
            }
            Query::History { room, limit, since_ms, before, search, after: None } => {
                let page = Page { limit, since_ms, before, search: search.as_deref() };
                let lines = match room {
                    Place::Room(room) => history.lines(room, &page),
                    Place::With(identity) => people.lines(identity, &page),
                };
                Answer::Messages(lines.map_err(failed)?)
            }
            Query::Journal { room, after, limit } => {
                let lines = match room {
                    None => people.journal_of_all(history, after, limit),
                    Some(Place::Room(room)) => history.journal(Some(room), after, limit),
                    Some(Place::With(identity)) => {
                        people.journal(Some(RoomId::of_conversation(&identity)), after, limit)
                    }
                };
                Answer::Messages(lines.map_err(failed)?)
            }
            Query::Message { room, message } => {
                let found = match room {
                    Place::Room(room) => history.message(room, message),
                    Place::With(identity) => people.message(identity, message),
                };
                let unknown = || CommandError::UnknownMessage { message: message.to_string() };
                Answer::Message(Box::new(found.map_err(failed)?.ok_or_else(unknown)?))
            }
            Query::Contacts => Answer::Contacts(people.contacts().map_err(failed)?),
            Query::Person { who } => Answer::Person(Box::new(people.person(who)?)),
            Query::Status => Answer::Status(Box::new(self.status(history)?)),
            _ => {
                return Err(CommandError::ReadFailed {
                    cause: "this node does not know that query".to_owned(),
                });
            }
        })
    }

    fn status(&self, history: &History<'_>) -> Result<Status, CommandError> {
        let network = self.inner.network.status().map_err(|_| CommandError::Stopping)?;
        let rooms = history.rooms().map_err(history::failed)?;
        let people = self.inner.shared.people();
        let behind = history.people_of_peers(rooms.iter().map(|r| r.room));
        let text = |peer: &klatch_core::ids::Peer| {
            network::id_of(peer).map(|p| p.to_string()).unwrap_or_default()
        };
        let peers = network.peers.iter().map(|p| PeerSummary {
            peer_id: text(&p.peer),
            identity: behind.get(&p.peer).copied(),
            name: behind.get(&p.peer).and_then(|i| people.directory.name_of(i)).map(str::to_owned),
            name_mark: behind.get(&p.peer).and_then(|i| people.directory.mark_of(i)),
            address: p.address.to_string(),
            path: network::path(&p.address),
            rtt_ms: p.rtt.map(|r| u32::try_from(r.as_millis()).unwrap_or(u32::MAX)),
            overdue_ms: p.overdue.map(|r| u32::try_from(r.as_millis()).unwrap_or(u32::MAX)),
        });
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let wanted = network.wanted.into_iter().map(|w| WantedPeer {
            address: w.address.to_string(),
            connected: w.linked,
            failures: w.failures,
            error: w.error,
            failed_ms_ago: w.failed_ago.map(ms),
            next_in_ms: w.next_in.map(ms),
        });
        Ok(Status {
            wanted: wanted.collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: self.inner.shared.name(),
            identity: self.inner.identity,
            device: self.inner.device,
            peer_id: text(&network.peer),
            pid: std::process::id(),
            host: self.inner.host,
            uptime_s: self.inner.started.elapsed().as_secs(),
            socket: self.socket().map(|s| s.display().to_string()),
            listening: network.listening.iter().map(ToString::to_string).collect(),
            families: network::families(&network.listening),
            loopback_only: network.stays_here,
            peers: peers.collect(),
            discovery: Some(Discovery {
                mdns: network.mdns.state,
                found: small(network.mdns.found),
                heard_ms_ago: network
                    .mdns
                    .heard
                    .map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
                missing: small(network.dialling),
            }),
            clock: self.inner.shared.clocks(|c| c.compare(clock::now_ms())),
            queued: rooms.iter().filter(|r| !r.left).map(|r| r.queued).sum::<u64>() + people.queued,
            rooms,
            journal: history.head().map_err(history::failed)?,
            receipts: people.receipts,
            typing: people.typing,
            read_only: self.inner.shared.read_only().is_some(),
            refused: self.inner.shared.refused(),
        })
    }

    /// Whether each part has answered just now: the driver takes work, the store is read, the
    /// network says how it is. Waits for as long as they take.
    pub async fn lives(&self) -> bool {
        // No notes: the driver's turn is all that is asked for.
        !self.is_stopped()
            && self.note(Vec::new()).await.is_ok()
            && self.query(Query::Status).await.is_ok()
    }

    /// Hears what happens from now on. Who falls too far behind misses some and is told how many
    /// ([`feed`]).
    #[must_use]
    pub fn subscribe(&self) -> feed::Listener {
        self.inner.events.listen()
    }

    /// The profile's folder.
    pub(crate) fn home(&self) -> &std::path::Path {
        &self.inner.home
    }

    /// Where the API is offered, if it is.
    pub(crate) fn socket(&self) -> Option<std::path::PathBuf> {
        self.inner.socket.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_socket(&self, socket: Option<std::path::PathBuf>) {
        *self.inner.socket.lock().unwrap_or_else(PoisonError::into_inner) = socket;
    }

    /// The own device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.inner.device
    }

    /// Stops everything: what is queued is finished, links are closed, files are closed. Safe to
    /// call twice.
    pub async fn shutdown(&self) {
        let running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(running) = running else { return };
        let _ = self.give(Work::Stop).await;
        let ended = tokio::task::spawn_blocking(move || {
            let Running { driver, network, lock } = running;
            let _ = driver.join();
            let _ = network.wait(STOP_TIMEOUT);
            drop(lock);
        });
        let _ = ended.await;
        self.inner.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether the node has stopped by itself (a damaged store) or by [`Node::shutdown`].
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().is_none_or(|r| r.driver.is_finished())
    }
}

/// A reader in use. It comes back whatever happens: a fault in one read must not cost all later ones
/// their reader.
struct Lent<'a> {
    node: &'a Node,
    reader: Option<Reader>,
}

impl<'a> Lent<'a> {
    fn take(node: &'a Node) -> Option<Self> {
        let reader = node.inner.readers.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(Self { node, reader: Some(reader) })
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut readers = self.node.inner.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.extend(self.reader.take());
    }
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
