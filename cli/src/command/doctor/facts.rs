//! What the checks are about, collected once: files, the system, and what the running node says.
//! Judges nothing.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use klatch_core::command::Passphrase;
use klatch_core::query::Status;
use klatch_node::StartError;
use klatch_node::look::{Look, look};
use klatch_node::place::Place;
use klatch_node::store::keystore::{KEYSTORE_FILE, Keystore};
use klatch_node::store::lock::LOCK_FILE;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::client::Client;
use crate::error::Report;
use crate::paths::Paths;
use crate::reach::{self, Reach, Silent};

/// A node that needs longer for its status is as good as hanging.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// A command that reads history holds the profile without answering anybody, but not for longer.
const READING_MAX: Duration = Duration::from_secs(2);
/// Files of a profile that hold secrets, if they are there.
const PRIVATE_FILES: [&str; 5] = [KEYSTORE_FILE, LOCK_FILE, "klatch.db", "bodies.db", "node.log"];

/// What the caller wants to know.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Whose.
    pub profile: String,
    /// Only what takes a moment.
    pub quick: bool,
    /// Opens the keystore of a profile whose node does not run.
    pub passphrase: Option<String>,
}

impl Asked {
    /// Without a passphrase.
    pub fn new(profile: &str, quick: bool) -> Self {
        Self { profile: profile.to_owned(), quick, passphrase: None }
    }
}

/// Everything that is known.
#[derive(Debug, Clone)]
pub struct Facts {
    pub profile: String,
    /// Version of this program.
    pub version: String,
    /// Unix milliseconds by the system's clock.
    pub now_ms: u64,
    pub data: PathBuf,
    pub keystore: Key,
    pub files: Vec<FileFact>,
    /// Bytes free for the profile.
    pub space: Option<u64>,
    pub store: StoreFact,
    /// Files that a node may have open.
    pub open_files: Option<u64>,
    pub node: NodeFact,
    pub terminal: Terminal,
}

/// The keystore, unopened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    Missing,
    Open,
    Protected,
    Broken { cause: String, fix: String },
}

/// A file or folder that should be ours alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFact {
    pub path: PathBuf,
    pub folder: bool,
    /// Permission bits.
    pub mode: u32,
    pub ours: bool,
    /// By us, as things stand.
    pub writable: bool,
}

/// The store of a profile whose node does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreFact {
    /// Not asked for, or there is nothing to look at.
    Unseen,
    /// The keystore is protected and nobody gave the passphrase.
    Locked,
    Readable(Look),
    Broken {
        cause: String,
        hint: String,
    },
}

/// The node of the profile.
#[derive(Debug, Clone)]
pub enum NodeFact {
    Absent,
    /// Nobody can tell: the lock cannot be looked at.
    Hidden {
        cause: String,
        fix: String,
    },
    /// A process has the profile and is not reached.
    Silent(Silent),
    /// Somebody answers, but not as expected.
    Strange {
        cause: String,
    },
    Answers {
        status: Box<Status>,
        took: Duration,
    },
}

/// Where the user reads this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terminal {
    pub there: bool,
    pub term: Option<String>,
    /// The first of LC_ALL, LC_CTYPE and LANG that is set.
    pub locale: Option<String>,
}

impl Facts {
    /// The status of a node that answers.
    pub fn status(&self) -> Option<&Status> {
        match &self.node {
            NodeFact::Answers { status, .. } => Some(status),
            _ => None,
        }
    }

    /// A command line of ours for this profile.
    pub fn klatch(&self, words: &str) -> String {
        if self.profile == "default" {
            return format!("klatch {words}");
        }
        format!("klatch --profile {} {words}", self.profile)
    }

    /// Stops the node and starts it with these options.
    pub fn restart(&self, options: &str) -> String {
        format!("{} && {}", self.klatch("down"), self.klatch(format!("up {options}").trim_end()))
    }
}

/// Looks at everything; starts nothing, changes nothing.
pub async fn collect(paths: &Paths, asked: Asked) -> Facts {
    let node = node(paths).await;
    let keystore = key(&Keystore::at(&paths.data));
    let store = match (&node, &keystore) {
        (NodeFact::Absent, Key::Protected) if asked.passphrase.is_none() && !asked.quick => {
            StoreFact::Locked
        }
        (NodeFact::Absent, Key::Open | Key::Protected) if !asked.quick => {
            let home = paths.data.clone();
            let passphrase = asked.passphrase.map(Passphrase);
            let seen = tokio::task::spawn_blocking(move || look(&home, passphrase.as_ref()));
            seen.await.map_or(StoreFact::Unseen, store)
        }
        _ => StoreFact::Unseen,
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Facts {
        profile: asked.profile,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        data: paths.data.clone(),
        keystore,
        files: files(paths),
        space: space(&paths.data),
        store,
        open_files: open_files(&node),
        node,
        terminal: terminal(),
    }
}

fn key(keystore: &Keystore) -> Key {
    if !keystore.exists() {
        return Key::Missing;
    }
    match keystore.needs_passphrase() {
        Ok(true) => Key::Protected,
        Ok(false) => Key::Open,
        Err(error) => Key::Broken { cause: error.to_string(), fix: error.hint() },
    }
}

fn store(seen: Result<Look, StartError>) -> StoreFact {
    match seen {
        Ok(seen) => StoreFact::Readable(seen),
        // Somebody took the profile meanwhile: then it is theirs to tell.
        Err(StartError::Lock(_)) => StoreFact::Unseen,
        Err(error) => StoreFact::Broken { cause: error.to_string(), hint: error.hint() },
    }
}

async fn node(paths: &Paths) -> NodeFact {
    match reach::wait(paths, READING_MAX).await {
        Ok(Reach::Nobody) => NodeFact::Absent,
        Ok(Reach::Silent(silent)) => NodeFact::Silent(silent),
        Ok(Reach::Node(reached)) => {
            let silent = Silent { pid: None, socket: reached.socket, taken: None };
            ask(reached.client, silent).await
        }
        Err(report) => NodeFact::Hidden { cause: report.cause, fix: report.hint },
    }
}

async fn ask(mut client: Client, silent: Silent) -> NodeFact {
    let begun = Instant::now();
    let answer = timeout(ANSWER_MAX, client.call("node.status", json!({}))).await;
    let took = begun.elapsed();
    match answer {
        Err(_) => NodeFact::Silent(silent),
        Ok(Err(report)) => NodeFact::Strange { cause: report.cause },
        Ok(Ok(value)) => match serde_json::from_value(value) {
            Ok(status) => NodeFact::Answers { status: Box::new(status), took },
            Err(error) => NodeFact::Strange { cause: error.to_string() },
        },
    }
}

/// What the node says in answer to these methods; nothing for those it refuses.
pub async fn asked_of_node(paths: &Paths, calls: Vec<(&str, Value)>) -> Vec<Value> {
    let Ok(Reach::Node(reached)) = reach::look(paths).await else { return Vec::new() };
    let mut client = reached.client;
    let mut answers = Vec::new();
    for (method, params) in calls {
        match timeout(ANSWER_MAX, client.call(method, params)).await {
            Ok(Ok(value)) => answers.push(value),
            Ok(Err(Report { .. })) => {}
            Err(_) => break,
        }
    }
    answers
}

fn files(paths: &Paths) -> Vec<FileFact> {
    let own = rustix::process::geteuid().as_raw();
    let inside = PRIVATE_FILES.iter().map(|name| paths.data.join(name));
    let all =
        [paths.data.clone(), paths.runtime.clone(), paths.peers.clone()].into_iter().chain(inside);
    let socket = Place::read(&paths.data).map_or_else(|| paths.socket(), |place| place.socket);
    let all = all.chain([socket]);
    let fact = |path: PathBuf| {
        let meta = std::fs::symlink_metadata(&path).ok()?;
        Some(FileFact {
            folder: meta.is_dir(),
            mode: meta.mode() & 0o777,
            ours: meta.uid() == own,
            writable: rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).is_ok(),
            path,
        })
    };
    all.filter_map(fact).collect()
}

/// Of the folder, or of the nearest one above it that is there.
fn space(folder: &Path) -> Option<u64> {
    let there = folder.ancestors().find(|p| p.exists())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The limit of the running node where the system tells it, else the own one, which a node started
/// from here inherits.
fn open_files(node: &NodeFact) -> Option<u64> {
    let of_node = |pid: u32| {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
        let line = limits.lines().find_map(|l| l.strip_prefix("Max open files"))?;
        line.split_whitespace().next()?.parse().ok()
    };
    match node {
        NodeFact::Answers { status, .. } => of_node(status.pid),
        _ => None,
    }
    .or_else(|| rustix::process::getrlimit(rustix::process::Resource::Nofile).current)
}

fn terminal() -> Terminal {
    use std::io::IsTerminal;
    let set = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    Terminal {
        there: std::io::stdout().is_terminal() || std::io::stderr().is_terminal(),
        term: set("TERM"),
        locale: ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set),
    }
}
