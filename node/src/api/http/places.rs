//! Places of HTTP connections. They are bounded, and whoever takes one without a right to be here
//! gives way: any user of this machine can open connections and say nothing on them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::Service;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Connections at a time: many more than anybody needs.
pub(super) const CONNECTIONS_MAX: usize = 256;
/// A connection that gives way is gone within this.
const LEAVE_TIME_MAX: Duration = Duration::from_millis(500);

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    unheard: Mutex<Unheard>,
}

/// Connections on which nobody has shown a token yet, oldest first.
#[derive(Debug, Default)]
struct Unheard {
    next: u64,
    all: BTreeMap<u64, Option<AbortHandle>>,
}

impl Places {
    pub(super) fn new() -> Arc<Self> {
        let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Arc::new(Self { free, unheard: Mutex::default() })
    }

    fn unheard(&self) -> MutexGuard<'_, Unheard> {
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more connection. If there is none, the oldest connection on which no token
    /// was shown ends; without one the new one is not taken.
    pub(super) async fn take(self: &Arc<Self>) -> Option<Place> {
        let permit = match self.free.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let (_, oldest) = self.unheard().all.pop_first()?;
                oldest?.abort();
                timeout(LEAVE_TIME_MAX, self.free.clone().acquire_owned()).await.ok()?.ok()?
            }
        };
        let mut unheard = self.unheard();
        let number = unheard.next;
        unheard.next += 1;
        unheard.all.insert(number, None);
        drop(unheard);
        Some(Place { number, places: self.clone(), _permit: permit })
    }

    /// How to end a connection, which may be over or heard by now.
    pub(super) fn started(&self, number: u64, task: AbortHandle) {
        if let Some(slot) = self.unheard().all.get_mut(&number) {
            *slot = Some(task);
        }
    }
}

/// One connection's place, until dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    places: Arc<Places>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn heard(&self) -> Heard {
        Heard { number: self.number, places: self.places.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.unheard().all.remove(&self.number);
    }
}

/// What a request carries of the connection it came on.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    number: u64,
    places: Arc<Places>,
}

impl Heard {
    /// Somebody with a token speaks there: it stays.
    pub(super) fn stays(&self) {
        self.places.unheard().all.remove(&self.number);
    }
}

/// Puts [`Heard`] into each request.
#[derive(Debug, Clone)]
pub(super) struct Marking<S> {
    pub(super) inner: S,
    pub(super) heard: Heard,
}

impl<S: Service<hyper::Request<Incoming>>> Service<hyper::Request<Incoming>> for Marking<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: hyper::Request<Incoming>) -> S::Future {
        request.extensions_mut().insert(self.heard.clone());
        self.inner.call(request)
    }
}
