//! Who broke rules, and for how long nobody listens to them. Pure: time is an argument.

use std::collections::BTreeMap;

use klatch_core::error::Reject;
use libp2p::PeerId;

use super::settings::{
    BLOCK_MS, FAULT_HALF_MS, FAULT_POINTS, FAULT_POINTS_MAX, NUISANCE_POINTS, OFFENDERS_MAX,
};

/// Points against peers, kept across reconnects.
#[derive(Debug, Default)]
pub(super) struct Faults {
    points: BTreeMap<PeerId, Points>,
    blocked_until: BTreeMap<PeerId, u64>,
    /// Refused, but forgotten to make room: to be let in again.
    forgotten: Vec<PeerId>,
}

#[derive(Debug, Clone, Copy)]
struct Points {
    points: u32,
    at_ms: u64,
}

impl Faults {
    /// Counts a fault; `true` if the peer is to be disconnected and refused from now on.
    pub(super) fn count(&mut self, peer: PeerId, points: u32, now_ms: u64) -> bool {
        if points == 0 || self.blocked_until.contains_key(&peer) {
            return false;
        }
        let entry = self.points.entry(peer).or_insert(Points { points: 0, at_ms: now_ms });
        let halvings =
            u32::try_from(now_ms.saturating_sub(entry.at_ms) / FAULT_HALF_MS).unwrap_or(u32::MAX);
        if halvings > 0 {
            entry.points = entry.points.checked_shr(halvings).unwrap_or(0);
            entry.at_ms = now_ms;
        }
        entry.points = entry.points.saturating_add(points);
        let block = entry.points >= FAULT_POINTS_MAX;
        if block {
            self.points.remove(&peer);
            self.blocked_until.insert(peer, now_ms + BLOCK_MS);
            self.forgotten.extend(evict(&mut self.blocked_until, |until| *until));
        } else {
            evict(&mut self.points, |p| p.at_ms);
        }
        block
    }

    /// Peers whose time is over, and those that had to be forgotten: whoever refuses by this table
    /// must let both in again, or its own list grows for ever.
    pub(super) fn released(&mut self, now_ms: u64) -> Vec<PeerId> {
        let free: Vec<PeerId> = self
            .blocked_until
            .iter()
            .filter(|(_, until)| **until <= now_ms)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in &free {
            self.blocked_until.remove(peer);
        }
        let mut free = free;
        free.append(&mut self.forgotten);
        free
    }
}

/// How much a reason weighs. What an honest peer may cause weighs nothing: it may have been handed
/// on in good faith. (What gossip brings too much of is not charged at all; too many requests are.)
pub(super) fn weight(reason: Reject) -> u32 {
    match reason {
        _ if reason.is_fault() => FAULT_POINTS,
        Reject::Rate | Reject::Proof => NUISANCE_POINTS,
        _ => 0,
    }
}

/// Keeps a table within its bound by forgetting the entries with the smallest times, which it
/// returns.
fn evict<V>(table: &mut BTreeMap<PeerId, V>, time: impl Fn(&V) -> u64) -> Vec<PeerId> {
    let mut gone = Vec::new();
    while table.len() > OFFENDERS_MAX {
        let Some(oldest) = table.iter().min_by_key(|(_, v)| time(v)).map(|(peer, _)| *peer) else {
            break;
        };
        table.remove(&oldest);
        gone.push(oldest);
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_faults_in_a_minute_block_and_five_in_an_hour_do_not() {
        let (mut faults, peer) = (Faults::default(), PeerId::random());
        let fault = weight(Reject::Signature);
        for i in 0..4 {
            assert!(!faults.count(peer, fault, i));
        }
        assert!(faults.count(peer, fault, 5));
        assert!(!faults.count(peer, fault, 6), "refused already");
        assert!(faults.released(BLOCK_MS).is_empty());
        assert_eq!(faults.released(BLOCK_MS + 5), vec![peer]);
        for i in 1..100 {
            assert!(!faults.count(peer, fault, BLOCK_MS + i * 600_000));
        }
        for passed_on in [Reject::Duplicate, Reject::Rule, Reject::Fork, Reject::Full] {
            assert_eq!(weight(passed_on), 0, "{passed_on}: may be passed on in good faith");
        }
    }

    #[test]
    fn the_table_stays_within_its_bound() {
        let mut faults = Faults::default();
        for i in 0..3 * OFFENDERS_MAX as u64 {
            faults.count(PeerId::random(), if i % 2 == 0 { 1 } else { FAULT_POINTS_MAX }, i);
        }
        assert!(
            faults.points.len() <= OFFENDERS_MAX && faults.blocked_until.len() <= OFFENDERS_MAX
        );
    }

    #[test]
    fn who_is_forgotten_as_an_offender_is_let_in_again() {
        let (mut faults, mut refused) = (Faults::default(), BTreeMap::new());
        for now in 0..2 * OFFENDERS_MAX as u64 {
            let peer = PeerId::random();
            assert!(faults.count(peer, FAULT_POINTS_MAX, now));
            refused.insert(peer, now);
            for free in faults.released(now) {
                assert_eq!(refused.remove(&free), Some(now - OFFENDERS_MAX as u64), "oldest first");
            }
            assert!(refused.len() <= OFFENDERS_MAX);
        }
        let rest = faults.released(10 * BLOCK_MS);
        assert_eq!(rest.len(), OFFENDERS_MAX);
    }
}
