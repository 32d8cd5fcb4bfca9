//! What all clients of a node share, whatever way they came.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::watch;

use super::http;
use super::sends::Sends;
use super::tokens::Tokens;
use crate::Node;

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
    pub(super) clients: watch::Sender<usize>,
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
            tokens: Tokens::default(),
            sends: Sends::default(),
            broadcast: Mutex::default(),
            http: tokio::sync::Mutex::default(),
        })
    }
}

/// Counts a client for as long as it lives.
#[derive(Debug)]
pub(super) struct Counted(Context);

impl Counted {
    /// `None` if there are that many already.
    pub(super) fn new(hub: &Context, max: usize) -> Option<Self> {
        let mut admitted = false;
        hub.clients.send_if_modified(|n| {
            admitted = *n < max;
            *n += usize::from(admitted);
            admitted
        });
        admitted.then(|| Self(hub.clone()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.clients.send_modify(|n| *n = n.saturating_sub(1));
    }
}

/// Waits for a flag; if whoever could raise it is gone, it is as good as raised.
pub(super) async fn raised(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|f| *f).await;
}
