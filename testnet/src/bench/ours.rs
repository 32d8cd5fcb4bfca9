//! Our side of the comparison: the real node inside the process, with everything on: signed,
//! encrypted, committed to disk, acknowledged.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use klatch_core::command::Command;
use klatch_core::error::CommandError;
use klatch_core::event::{Event, Message};
use klatch_core::query::{Answer, Query};
use klatch_node::api::private_folder;
use klatch_node::feed::{FeedError, Listener};
use klatch_node::store::keystore::{Keystore, Secrets};
use klatch_node::{Config, Node};
use tokio::sync::{Mutex, Semaphore};

use super::protocol::Bench;

/// The room of all benches.
pub const ROOM: &str = "#bench";
/// Sends without an answer at once: the node commits what is waiting in one transaction.
const IN_FLIGHT: usize = 64;
/// All nodes must have met by then.
const MEET_WITHIN: Duration = Duration::from_secs(25);
/// After "too fast".
const RETRY: Duration = Duration::from_millis(5);
/// Messages of one page when re-reading.
const PAGE: u32 = 500;

/// Starts a node of its own in `folder/name`; those in one folder find each other by its address
/// files.
pub async fn start(folder: &Path, name: &str) -> Result<Node> {
    let home = folder.join(name);
    for folder in [&home, &home.join("run"), &folder.join("peers")] {
        private_folder(folder)?;
    }
    let keystore = Keystore::at(&home);
    if !keystore.exists() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        keystore.create(&Secrets::generate(name, u64::try_from(now)?)?, None)?;
    }
    let mut config = Config::new(&home, home.join("run"), folder.join("peers"));
    config.loopback_only = true;
    config.mdns = false;
    Ok(Node::spawn(config).await?)
}

/// Joins the room of all benches.
pub async fn join(node: &Node) -> Result<()> {
    node.command(Command::JoinRoom { room: ROOM.to_owned(), passphrase: None }).await?;
    Ok(())
}

/// Says something, again and again while the node says that it is too fast.
pub async fn send(node: &Node, text: String, mut refused: impl FnMut()) -> Result<()> {
    let command = Command::SendMessage { room: node.place(ROOM)?, text, reply_to: None };
    loop {
        match node.command(command.clone()).await {
            Err(CommandError::TooFast { .. }) => {
                refused();
                tokio::time::sleep(RETRY).await;
            }
            answer => return answer.map(drop).map_err(Into::into),
        }
    }
}

/// Members connected now, without this node.
pub async fn online(node: &Node) -> Result<usize> {
    match node.query(Query::Members { room: node.place(ROOM)? }).await? {
        Answer::Members(members) => Ok(members.iter().filter(|m| m.online && !m.own).count()),
        _ => bail!("no list of members"),
    }
}

/// Waits until so many others are connected.
pub async fn meet(node: &Node, others: usize) -> Result<()> {
    let until = Instant::now() + MEET_WITHIN;
    while online(node).await? < others {
        if Instant::now() > until {
            bail!(
                "only {} of {others} others came within {} s",
                online(node).await?,
                MEET_WITHIN.as_secs()
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Runs one participant.
pub async fn run(config: &str) -> Result<()> {
    let bench = Bench::new(config)?;
    let folder = folder()?;
    let name = format!("p{}", bench.config.id);
    let node = start(&folder, &name).await?;
    let address = match node.query(Query::Status).await? {
        Answer::Status(status) => {
            status.listening.first().cloned().context("the node listens nowhere")?
        }
        _ => bail!("no status"),
    };
    bench.peers(&address).await?;
    let events = node.subscribe();
    join(&node).await?;
    let follower = tokio::spawn(Follower::new(node.clone(), Arc::clone(&bench)).run(events));
    meet(&node, bench.config.n - 1).await?;
    let slots = Arc::new(Semaphore::new(IN_FLIGHT));
    let failed: Arc<Mutex<Option<anyhow::Error>>> = Arc::default();
    let outcome = bench
        .drive(|text| {
            let (node, bench, slots, failed) =
                (node.clone(), Arc::clone(&bench), Arc::clone(&slots), Arc::clone(&failed));
            async move {
                if let Some(error) = failed.lock().await.take() {
                    return Err(error);
                }
                let slot = slots.acquire_owned().await?;
                tokio::spawn(async move {
                    if let Err(error) = send(&node, text, || bench.retried()).await {
                        *failed.lock().await = Some(error);
                    }
                    drop(slot);
                });
                Ok(())
            }
        })
        .await;
    follower.abort();
    node.shutdown().await;
    outcome
}

/// Where the homes of this run are: given by `compare`; beside the address files of the same
/// harness otherwise.
fn folder() -> Result<PathBuf> {
    let folder = match std::env::var_os("KLATCH_BENCH_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::temp_dir()
            .join(format!("klatch-bench-{}", std::os::unix::process::parent_id())),
    };
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Hands every message that the node tells of to the bench, and re-reads the journal where an event
/// was a summary or missed.
struct Follower {
    node: Node,
    bench: Arc<Bench>,
    /// Journal numbers handed over.
    seen: HashSet<u64>,
    /// The journal was read up to here.
    read: u64,
}

impl Follower {
    fn new(node: Node, bench: Arc<Bench>) -> Self {
        Self { node, bench, seen: HashSet::new(), read: 0 }
    }

    async fn run(mut self, mut events: Listener) -> Result<()> {
        loop {
            match events.recv().await {
                Ok(live) => match &live.event {
                    Event::MessageAdded { message } => self.take(message),
                    Event::HistoryAdded { .. } => self.reread().await?,
                    _ => {}
                },
                Err(FeedError::Missed { .. }) => self.reread().await?,
                Err(FeedError::Closed) => return Ok(()),
            }
        }
    }

    fn take(&mut self, message: &Message) {
        if self.seen.insert(message.journal) {
            self.bench.received(message.text.as_bytes());
        }
    }

    async fn reread(&mut self) -> Result<()> {
        loop {
            let room = Some(self.node.place(ROOM)?);
            let query = Query::Journal { room, after: self.read, limit: PAGE };
            let Answer::Messages(page) = self.node.query(query).await? else {
                bail!("no messages")
            };
            let Some(last) = page.last() else { return Ok(()) };
            self.read = last.journal;
            for message in &page {
                self.take(message);
            }
        }
    }
}
