//! Which node answers: the one that holds the lock of *this* profile, at the place that it says
//! itself, and no other. What the environment says may differ from what the node started with, and
//! another program may stand where its socket was.

use std::path::PathBuf;
use std::time::Duration;

use klatch_node::place::{FileMark, Place};
use klatch_node::store::lock::{Hold, ProfileLock};
use serde_json::json;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use crate::client::{Client, POLL};
use crate::error::{Report, exit};
use crate::paths::Paths;

/// A node that just took the lock offers its socket within this time, one whose socket was removed
/// makes it again, and a command that reads history has ended.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// A node says from memory that it is there; one that needs longer is stopped, or hangs.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How it stands with a profile.
#[derive(Debug)]
pub enum Reach {
    /// Nobody has it.
    Nobody,
    /// Its node answers.
    Node(Reached),
    /// A process has it and is not reached.
    Silent(Silent),
}

/// A connection to the node of the profile.
#[derive(Debug)]
pub struct Reached {
    /// For calls.
    pub client: Client,
    /// Where it was made.
    pub socket: PathBuf,
}

/// A process that has the profile, and why it is not reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    /// Which process, if it can be told.
    pub pid: Option<u32>,
    /// Where it should be reached.
    pub socket: PathBuf,
    /// Somebody else answers there: which process, if the system says.
    pub taken: Option<Option<u32>>,
}

impl Silent {
    /// One sentence.
    pub fn text(&self) -> String {
        let node = named(self.pid);
        match self.taken {
            None => format!("{node} has this profile and does not respond"),
            Some(other) => format!(
                "{} answers at {}, but {node} has this profile",
                named(other),
                self.socket.display()
            ),
        }
    }

    /// For a command that needs the node.
    pub fn report(&self) -> Report {
        let hint = match self.taken {
            None => {
                "try again in a moment: it may be starting, stopping, or reading history for a \
                 command; `klatch doctor` looks closer, `klatch down --yes` ends it"
            }
            Some(_) => {
                "try again in a moment: the node makes itself a new socket; `klatch doctor` looks \
                 closer"
            }
        };
        let mut report = Report::new("KLATCH-BUSY", self.text(), hint, exit::NO_NODE);
        report.retryable = true;
        report
    }
}

fn named(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// One look.
///
/// # Errors
/// The lock cannot be looked at, or the node takes nobody more.
pub async fn look(paths: &Paths) -> Result<Reach, Report> {
    let Hold::Held { pid } = ProfileLock::look(&paths.data)? else { return Ok(Reach::Nobody) };
    // A note of somebody else is what a killed node left.
    let place = Place::read(&paths.data).filter(|p| pid.is_none_or(|pid| p.pid == pid));
    let (socket, mark) = match place {
        Some(place) => (place.socket, Some(place.file)),
        None => (paths.socket(), None),
    };
    let mut silent = Silent { pid, socket, taken: None };
    let Ok(stream) = UnixStream::connect(&silent.socket).await else {
        return Ok(Reach::Silent(silent));
    };
    let other = stream.peer_cred().ok().and_then(|c| u32::try_from(c.pid()?).ok());
    // A node in a container has another number there; its file is the same one.
    let same_process = other.is_some() && other == pid;
    let same_file = mark.is_some() && FileMark::of(&silent.socket).ok() == mark;
    // A full disk keeps a node from saying who and where it is. The folder is this profile's own.
    if same_process || same_file || pid.is_none() {
        let mut client = Client::over(stream);
        return match timeout(ANSWER_MAX, client.call("rpc.ping", json!({}))).await {
            Err(_) => Ok(Reach::Silent(silent)),
            // It ended at this moment.
            Ok(Err(report)) if report.code == Report::gone().code => Ok(Reach::Silent(silent)),
            Ok(Err(report)) => Err(report),
            Ok(Ok(_)) => Ok(Reach::Node(Reached { client, socket: silent.socket })),
        };
    }
    silent.taken = Some(other);
    Ok(Reach::Silent(silent))
}

/// Looks until the answer is clear, or for so long.
///
/// # Errors
/// As [`look`].
pub async fn wait(paths: &Paths, patience: Duration) -> Result<Reach, Report> {
    let begun = Instant::now();
    loop {
        match look(paths).await? {
            Reach::Silent(_) if begun.elapsed() < patience => sleep(POLL).await,
            clear => return Ok(clear),
        }
    }
}
