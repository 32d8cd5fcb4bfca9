//! What all clients of a node share, whatever way they came.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::http;
use super::rights::Rights;
use super::rpc::RpcError;
use super::sends::Sends;
use super::tokens::Tokens;
use crate::Node;

/// Clients on the socket that may stay. A front end takes three connections, so this is room for
/// some of them and for scripts.
const CLIENTS_MAX: usize = 32;
/// Further ones, each for a moment: whatever stays attached, `status`, `token revoke` and `down` get
/// through.
const BRIEF_MAX: usize = 8;
/// That moment.
pub(super) const BRIEF_TIME_MAX: Duration = Duration::from_secs(5);
/// WebSockets and event streams at a time; requests that end are bounded by the connections.
const STREAMS_MAX: usize = 64;
/// Joins in work, most of which wait for their turn: each takes most of a second.
const JOINS_MAX: usize = 16;
/// Of these with one token: nobody who has one keeps the others out.
const STREAMS_PER_TOKEN_MAX: usize = 32;

/// Shared by everything that serves one node.
pub(super) type Context = Arc<Hub>;

/// What all clients share.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) node: Node,
    /// Raised when a client calls `node.stop`.
    pub(super) stop: watch::Sender<bool>,
    /// Raised when the API closes.
    pub(super) closing: watch::Receiver<bool>,
    /// All who are attached: a node inside a command lives until nobody is.
    pub(super) clients: watch::Sender<usize>,
    seats: Mutex<Seats>,
    /// Joins in work.
    joins: Arc<Semaphore>,
    pub(super) tokens: Tokens,
    pub(super) sends: Sends,
    /// When something was last said in all rooms, and under which idempotency key.
    pub(super) broadcast: Mutex<Option<(Instant, Option<String>)>>,
    pub(super) http: tokio::sync::Mutex<Option<http::Running>>,
}

impl Hub {
    pub(super) fn new(
        node: Node,
        stop: watch::Sender<bool>,
        closing: watch::Receiver<bool>,
        clients: watch::Sender<usize>,
    ) -> Context {
        Arc::new(Self {
            node,
            stop,
            closing,
            clients,
            seats: Mutex::default(),
            joins: Arc::new(Semaphore::new(JOINS_MAX)),
            tokens: Tokens::default(),
            sends: Sends::default(),
            broadcast: Mutex::default(),
            http: tokio::sync::Mutex::default(),
        })
    }

    /// A place for a join, until dropped.
    pub(super) fn join(&self) -> Result<OwnedSemaphorePermit, RpcError> {
        let place = self.joins.clone().try_acquire_owned();
        place.map_err(|_| Counted::full("too many rooms are being joined just now".to_owned()))
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is attached, each kind apart: what comes over HTTP never takes a place on the socket.
#[derive(Debug, Default)]
struct Seats {
    /// On the socket.
    clients: usize,
    /// WebSockets and event streams, by the name of their token.
    streams: BTreeMap<String, usize>,
}

/// How a client is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seat {
    Client,
    Stream(String),
}

/// Counts a client for as long as it lives.
#[derive(Debug)]
pub(super) struct Counted {
    hub: Context,
    seat: Seat,
    brief: bool,
}

impl Counted {
    /// A client on the socket. Beyond [`CLIENTS_MAX`] it is served briefly.
    pub(super) fn client(hub: &Context) -> Result<Self, RpcError> {
        let mut seats = hub.seats();
        if seats.clients >= CLIENTS_MAX + BRIEF_MAX {
            return Err(Self::full("too many clients are attached".to_owned()));
        }
        let brief = seats.clients >= CLIENTS_MAX;
        seats.clients += 1;
        drop(seats);
        Ok(Self::counting(hub, Seat::Client, brief))
    }

    /// A WebSocket or an event stream.
    pub(super) fn stream(hub: &Context, rights: &Rights) -> Result<Self, RpcError> {
        let mut seats = hub.seats();
        if seats.streams.values().sum::<usize>() >= STREAMS_MAX {
            let text = format!("at most {STREAMS_MAX} WebSockets and event streams");
            return Err(Self::full(text));
        }
        let own = seats.streams.entry(rights.name().to_owned()).or_default();
        if *own >= STREAMS_PER_TOKEN_MAX {
            let text = format!("at most {STREAMS_PER_TOKEN_MAX} of them with one token");
            return Err(Self::full(text));
        }
        *own += 1;
        drop(seats);
        Ok(Self::counting(hub, Seat::Stream(rights.name().to_owned()), false))
    }

    fn counting(hub: &Context, seat: Seat, brief: bool) -> Self {
        hub.clients.send_modify(|n| *n += 1);
        Self { hub: hub.clone(), seat, brief }
    }

    fn full(text: String) -> RpcError {
        let mut error = RpcError::failed(text, "KLATCH-API-BUSY", "close some and try again", 5);
        error.data.retryable = true;
        error
    }

    /// Whether it is answered for [`BRIEF_TIME_MAX`] only, and has no subscriptions.
    pub(super) fn is_brief(&self) -> bool {
        self.brief
    }

    /// What a client hears that is served briefly and asks for more.
    pub(super) fn too_long() -> RpcError {
        Self::full("so many clients are attached that others are answered briefly".to_owned())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut seats = self.hub.seats();
        match &self.seat {
            Seat::Client => seats.clients = seats.clients.saturating_sub(1),
            Seat::Stream(token) => {
                let left = seats.streams.get(token).map_or(0, |n| n.saturating_sub(1));
                if left == 0 {
                    seats.streams.remove(token);
                } else if let Some(n) = seats.streams.get_mut(token) {
                    *n = left;
                }
            }
        }
        drop(seats);
        self.hub.clients.send_modify(|n| *n = n.saturating_sub(1));
    }
}

/// Waits for a flag; if whoever could raise it is gone, it is as good as raised.
pub(super) async fn raised(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|f| *f).await;
}
