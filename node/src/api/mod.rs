//! The local API: JSON-RPC 2.0, one object per line, over a Unix socket that only its owner can
//! open, and over loopback HTTP when asked for.
//!
//! Owns who may connect, how requests are framed, and the table of methods; the types are the
//! core's own. Contains no chat rule and keeps nothing: commands, queries and events go straight to
//! [`Node`].
//!
//! | file | owns |
//! |---|---|
//! | `rpc` | requests, responses, errors |
//! | `registry` | the table of methods |
//! | `spec` | the table as an OpenRPC document and as a page |
//! | `methods` | what answers each method |
//! | `broadcast`, `sends` | saying something everywhere; sending once |
//! | `events` | subscriptions: replay from the journal, then follow |
//! | `topics` | where events belong, what they are called, who wants them |
//! | `rights`, `tokens` | what a client may do, and how it shows so |
//! | `hub` | what all clients share |
//! | `session` | one client, whatever way it came |
//! | `out` | what waits for one client to read |
//! | `door` | the socket file: where it stands, and that it stays ours |
//! | `socket`, `framing` | the connections on it; lines, within a size and a time |
//! | `http` | the same over loopback HTTP, when asked for |

mod broadcast;
mod door;
mod events;
mod framing;
mod http;
mod hub;
mod methods;
mod out;
pub mod registry;
mod rights;
pub mod rpc;
mod sends;
mod session;
mod socket;
pub mod spec;
mod tokens;
mod topics;

use std::path::{Path, PathBuf};

use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Node;
use door::Door;
use hub::{Context, Hub};

pub use door::{folder_name, private_folder, user_folder};
pub use klatch_core::names::nearest;
pub use topics::{body, event, kind, topic};

/// File name of the socket in the runtime folder of a profile.
pub const SOCKET: &str = "api.sock";

/// Why the API cannot be offered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// Somebody answers on that socket already.
    #[error("another node answers on {0}")]
    InUse(PathBuf),
    /// The folder or file in the way belongs to somebody else, or is no socket.
    #[error("{0} cannot be trusted: {1}")]
    Untrusted(PathBuf, &'static str),
    /// The system refused.
    #[error("cannot open {0}: {1}")]
    Io(PathBuf, #[source] std::io::Error),
}

impl ApiError {
    /// A stable code for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InUse(_) => "KLATCH-ALREADY-RUNNING",
            Self::Untrusted(..) => "KLATCH-RUNTIME-FOLDER",
            Self::Io(..) => "KLATCH-API-SOCKET",
        }
    }

    /// What to try.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::InUse(_) => "`klatch status` shows it, `klatch down` stops it".to_owned(),
            Self::Untrusted(..) => "look who made it, remove it, and start again".to_owned(),
            Self::Io(..) => {
                "check that the folder exists and belongs to you, or set KLATCH_HOME to another"
                    .to_owned()
            }
        }
    }
}

/// A node's API while it is offered.
#[derive(Debug)]
pub struct Server {
    clients: watch::Receiver<usize>,
    stop: watch::Receiver<bool>,
    close: watch::Sender<bool>,
    task: JoinHandle<()>,
    hub: Context,
}

/// Offers the API of a node on [`SOCKET`] in `runtime`, a folder that is created with mode 0700 if
/// needed; elsewhere if that path is taken or its folder is not ours. Where it is stands in a note
/// in the profile's folder ([`crate::place`]). Needs the node's lock on that folder.
///
/// # Errors
/// [`ApiError`]: no socket can be opened anywhere.
pub fn serve(node: Node, runtime: &Path) -> Result<Server, ApiError> {
    let door = Door::open(&node, runtime)?;
    Ok(Server::start(node, |context| tokio::spawn(socket::accept(door, context))))
}

/// Answers one client inside this process. There is no socket, so nobody else can come to depend on
/// a node that will end soon.
///
/// # Errors
/// [`ApiError::Io`]: no file descriptor is left.
pub fn serve_alone(node: Node) -> Result<(Server, UnixStream), ApiError> {
    let (ours, theirs) = UnixStream::pair().map_err(|e| ApiError::Io(PathBuf::from(SOCKET), e))?;
    Ok((Server::start(node, |context| tokio::spawn(socket::one(ours, context))), theirs))
}

impl Server {
    fn start(node: Node, spawn: impl FnOnce(Context) -> JoinHandle<()>) -> Self {
        let (close, closing) = watch::channel(false);
        let (stopping, stop) = watch::channel(false);
        let (count, clients) = watch::channel(0);
        let hub = Hub::new(node, stopping, closing, count);
        let task = spawn(hub.clone());
        Self { clients, stop, close, task, hub }
    }

    /// The socket, if one is offered.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        self.hub.node.socket()
    }

    /// Clients attached now.
    #[must_use]
    pub fn clients(&self) -> usize {
        *self.clients.borrow()
    }

    /// Waits until no client is attached: an embedded node lives until then.
    pub async fn idle(&self) {
        let mut clients = self.clients.clone();
        // An error means that the accept task is gone, and with it every client.
        let _ = clients.wait_for(|n| *n == 0).await;
    }

    /// Whether a client has called `node.stop`.
    #[must_use]
    pub fn stop_asked(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until a client has called `node.stop`.
    pub async fn stopped(&self) {
        let mut stop = self.stop.clone();
        if stop.wait_for(|s| *s).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Takes no more clients, sends what was answered, ends the connections and removes the socket.
    pub async fn close(self) {
        let _ = self.close.send(true);
        http::close(&self.hub).await;
        let _ = self.task.await;
    }
}

#[cfg(test)]
mod tests;
