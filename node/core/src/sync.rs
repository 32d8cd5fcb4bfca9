//! Whom to ask, when, and how often: the pull side of the exact exchange (PROTOCOL.md 8).
//!
//! A node asks with its frontier and gets what it lacks, page by page, in an order in which
//! everything can be accepted at once. Each page is committed before the next is asked. One peer
//! per room is asked at a time, so that a newcomer does not get the same history from everybody.

use std::collections::BTreeMap;

use crate::ids::{Peer, RoomId};
use crate::limits::{
    LINKS_MAX, PAGE_BYTES_MAX, SYNC_BACKOFF_MS_MAX, SYNC_BACKOFF_MS_MIN, SYNC_TIMEOUT_MS,
};
use crate::step::RequestId;
use crate::wire::Frontier;

/// A sync request of a proved member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRequest {
    /// The room.
    pub room: RoomId,
    /// What the asking node has.
    pub frontier: Frontier,
    /// It takes at most so many bytes.
    pub bytes_max: usize,
}

/// Plans the requests of one room.
#[derive(Debug, Default)]
pub struct Planner {
    flight: Option<Flight>,
    peers: BTreeMap<Peer, Plan>,
}

#[derive(Debug)]
struct Flight {
    peer: Peer,
    request: RequestId,
    deadline_ms: u64,
}

#[derive(Debug, Default)]
struct Plan {
    /// When to ask; `None`: no reason to.
    due_ms: Option<u64>,
    /// Not before.
    pause_until_ms: u64,
    failures: u32,
}

impl Planner {
    /// There is a reason to ask this peer, at the latest at `due_ms`.
    pub fn want(&mut self, peer: &Peer, due_ms: u64) {
        if self.peers.len() >= LINKS_MAX && !self.peers.contains_key(peer) {
            return;
        }
        let plan = self.peers.entry(peer.clone()).or_default();
        plan.due_ms = Some(plan.due_ms.map_or(due_ms, |d| d.min(due_ms)));
    }

    /// Takes the peer to ask now, if the room has no request in flight.
    pub fn take_due(&mut self, now: u64) -> Option<Peer> {
        if self.flight.is_some() {
            return None;
        }
        let ready = |p: &Plan| p.due_ms.map(|d| d.max(p.pause_until_ms));
        let (peer, _) = self
            .peers
            .iter()
            .filter_map(|(k, p)| Some((k, ready(p)?)))
            .filter(|(_, at)| *at <= now)
            .min_by_key(|(_, at)| *at)?;
        let peer = peer.clone();
        if let Some(plan) = self.peers.get_mut(&peer) {
            plan.due_ms = None;
        }
        Some(peer)
    }

    /// Bytes to ask a peer for: half as many after each failure, so that a slow link gets a page
    /// through in time.
    #[must_use]
    pub fn page_bytes(&self, peer: &Peer) -> usize {
        PAGE_BYTES_MAX >> self.peers.get(peer).map_or(0, |p| p.failures.min(5))
    }

    /// A request is on its way.
    pub fn sent(&mut self, peer: Peer, request: RequestId, now: u64) {
        self.flight = Some(Flight { peer, request, deadline_ms: now + SYNC_TIMEOUT_MS });
    }

    /// Whether `request` is the one in flight; if so it no longer is.
    pub fn landed(&mut self, request: RequestId) -> bool {
        let ours = self.flight.as_ref().is_some_and(|f| f.request == request);
        if ours {
            self.flight = None;
        }
        ours
    }

    /// The peer answered with something useful, or with nothing because there is nothing.
    pub fn succeeded(&mut self, peer: &Peer) {
        if let Some(plan) = self.peers.get_mut(peer) {
            plan.failures = 0;
            plan.pause_until_ms = 0;
        }
    }

    /// The peer did not answer, or made no progress: ask again after a pause that doubles.
    pub fn failed(&mut self, peer: &Peer, now: u64) {
        if let Some(plan) = self.peers.get_mut(peer) {
            let pause = (SYNC_BACKOFF_MS_MIN << plan.failures.min(16)).min(SYNC_BACKOFF_MS_MAX);
            plan.failures = plan.failures.saturating_add(1);
            plan.pause_until_ms = if planted!(NoSyncRetry) { u64::MAX } else { now + pause };
            plan.due_ms = Some(now + pause);
        }
    }

    /// What was asked of the peer may be lost, and what failed before says nothing of the new
    /// connection: it is asked anew, at once.
    pub fn renewed(&mut self, peer: &Peer, now: u64) {
        self.forget(peer);
        self.want(peer, now);
    }

    /// The link is gone.
    pub fn forget(&mut self, peer: &Peer) {
        self.peers.remove(peer);
        if self.flight.as_ref().is_some_and(|f| f.peer == *peer) {
            self.flight = None;
        }
    }

    /// Gives up a request that was never answered; returns its peer.
    pub fn expire(&mut self, now: u64) -> Option<Peer> {
        let late = self.flight.as_ref().is_some_and(|f| f.deadline_ms <= now);
        late.then(|| self.flight.take().map(|f| f.peer)).flatten()
    }

    /// When something is to be done next.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        match &self.flight {
            Some(f) => Some(f.deadline_ms),
            None => {
                self.peers.values().filter_map(|p| p.due_ms.map(|d| d.max(p.pause_until_ms))).min()
            }
        }
    }

    /// Peers planned for, for the bound check.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether no peer is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }
}
