//! Whom to ask, when, and how often: the pull side of the exact exchange (PROTOCOL.md 8).
//!
//! A node asks with its frontier and gets what it lacks, page by page, in an order in which
//! everything can be accepted at once. Each page is committed before the next is asked. One peer
//! per room is asked at a time, so that a newcomer does not get the same history from everybody;
//! but one that says nothing for [`SYNC_PATIENCE_MS`] is not waited for: another one is asked
//! beside it, up to [`SYNC_FLIGHTS_MAX`]. Whom to ask first is decided by what asking brought so
//! far, and only members are asked at all (`room/links.rs`).

use std::collections::BTreeMap;

use crate::ids::{Peer, RoomId};
use crate::limits::{
    LINKS_MAX, PAGE_BYTES_MAX, SYNC_BACKOFF_MS_MAX, SYNC_BACKOFF_MS_MIN, SYNC_FLIGHTS_MAX,
    SYNC_PATIENCE_MS, SYNC_TIMEOUT_MS,
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
    /// Oldest first.
    flights: Vec<Flight>,
    peers: BTreeMap<Peer, Plan>,
}

#[derive(Debug)]
struct Flight {
    peer: Peer,
    request: RequestId,
    sent_ms: u64,
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

    /// From when on one more may be asked.
    fn free_ms(&self) -> Option<u64> {
        match self.flights.last() {
            None => Some(0),
            Some(_) if self.flights.len() >= SYNC_FLIGHTS_MAX => None,
            Some(last) => Some(last.sent_ms + SYNC_PATIENCE_MS),
        }
    }

    /// Peers that may be asked, with the time from which on.
    fn ready(&self) -> impl Iterator<Item = (&Peer, &Plan, u64)> {
        let flying = |peer: &Peer| self.flights.iter().any(|f| f.peer == *peer);
        let waiting = self.peers.iter().filter(move |(peer, _)| !flying(peer));
        waiting.filter_map(|(peer, p)| Some((peer, p, p.due_ms?.max(p.pause_until_ms))))
    }

    /// Takes the peer to ask now, if one may be asked: of those that are due the one that failed
    /// least since it last gave something.
    pub fn take_due(&mut self, now: u64) -> Option<Peer> {
        if self.free_ms().is_none_or(|at| at > now) {
            return None;
        }
        let due = self.ready().filter(|(.., at)| *at <= now);
        let (peer, ..) = due.min_by_key(|(_, plan, at)| (plan.failures, *at))?;
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
        self.flights.push(Flight { peer, request, sent_ms: now });
    }

    /// Whether `request` is in flight; if so it no longer is.
    pub fn landed(&mut self, request: RequestId) -> bool {
        let before = self.flights.len();
        self.flights.retain(|f| f.request != request);
        self.flights.len() < before
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
        self.flights.retain(|f| f.peer != *peer);
    }

    /// Gives up a request that was never answered; returns its peer.
    pub fn expire(&mut self, now: u64) -> Option<Peer> {
        let late = self.flights.iter().position(|f| f.sent_ms + SYNC_TIMEOUT_MS <= now)?;
        Some(self.flights.remove(late).peer)
    }

    /// When something is to be done next.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        let late = self.flights.iter().map(|f| f.sent_ms + SYNC_TIMEOUT_MS).min();
        let next = self.free_ms().zip(self.ready().map(|(.., at)| at).min());
        late.into_iter().chain(next.map(|(free, at)| free.max(at))).min()
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn peer(n: u8) -> Peer {
        Peer(vec![n])
    }

    fn planner(peers: u8) -> Planner {
        let mut planner = Planner::default();
        (0..peers).for_each(|n| planner.want(&peer(n), u64::from(n)));
        planner
    }

    #[test]
    fn a_silent_peer_costs_its_patience_and_no_more() {
        let mut planner = planner(5);
        let mut asked = Vec::new();
        for now in 0..SYNC_TIMEOUT_MS {
            if let Some(peer) = planner.take_due(now) {
                planner.sent(peer, asked.len() as u64, now);
                asked.push(now);
            }
        }
        assert_eq!(asked, [0, SYNC_PATIENCE_MS, 2 * SYNC_PATIENCE_MS]);
        assert_eq!(planner.next_due(), Some(SYNC_TIMEOUT_MS));
        assert_eq!(planner.expire(SYNC_TIMEOUT_MS), Some(peer(0)));
        assert_eq!(planner.expire(SYNC_TIMEOUT_MS), None);
        assert_eq!(planner.take_due(SYNC_TIMEOUT_MS), Some(peer(3)));
    }

    #[test]
    fn a_peer_that_answers_is_asked_alone() {
        let mut planner = planner(3);
        assert_eq!(planner.take_due(5), Some(peer(0)));
        planner.sent(peer(0), 1, 5);
        assert_eq!(planner.take_due(5 + SYNC_PATIENCE_MS - 1), None);
        assert!(planner.landed(1));
        assert!(!planner.landed(1));
        assert_eq!(planner.take_due(6), Some(peer(1)));
    }

    #[test]
    fn who_failed_is_asked_after_all_others_until_it_gives_something() {
        let mut planner = planner(2);
        planner.failed(&peer(0), 0);
        planner.want(&peer(1), 50_000);
        assert_eq!(planner.take_due(60_000), Some(peer(1)));
        planner.want(&peer(1), 60_000);
        planner.succeeded(&peer(0));
        assert_eq!(planner.take_due(60_000), Some(peer(0)));
    }
}
