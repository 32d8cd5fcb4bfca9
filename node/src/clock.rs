//! Wall time and randomness of the system: the only place of the node that reads either for the
//! core; and what other devices' signed presence says about the time, for diagnosis only.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use klatch_core::ctx::Entropy;
use klatch_core::ids::DeviceId;
use klatch_core::limits::PRESENCE_TTL_MS;
use klatch_core::presence::VerifiedPresence;
use klatch_core::query::Clock;

/// Devices whose clocks are remembered: a median needs no more.
const CLOCKS_MAX: usize = 256;

/// Unix milliseconds now. A clock before 1970 counts as 0.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The system's random generator.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        // Without the system's generator nothing may be sealed: stopping is the only safe answer.
        if let Err(error) = getrandom::fill(out) {
            tracing::error!(%error, "no randomness from the system");
            std::process::abort();
        }
    }
}

/// What time other devices think it is. Nothing is decided by it.
#[derive(Debug, Default)]
pub struct Clocks {
    told: BTreeMap<DeviceId, Told>,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    /// Of the presence that told it.
    expires_ms: u64,
    /// How far the clock here was ahead of the device's.
    ahead_ms: i64,
    at_ms: u64,
}

impl Clocks {
    /// A device said that it is there, which tells its time. A hello comes from the device itself,
    /// just now; by gossip an old record may be said again by anybody, so only a newer one counts.
    pub fn heard(&mut self, presence: &VerifiedPresence, now_ms: u64, hello: bool) {
        let known = self.told.get(&presence.device);
        let old = known.is_some_and(|k| k.expires_ms >= presence.expires_ms);
        if !hello && old {
            return;
        }
        if known.is_none() && self.told.len() >= CLOCKS_MAX {
            self.told.retain(|_, t| fresh(t, now_ms));
            if self.told.len() >= CLOCKS_MAX {
                return;
            }
        }
        let theirs = presence.expires_ms.saturating_sub(PRESENCE_TTL_MS);
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let ahead_ms = signed(now_ms).saturating_sub(signed(theirs));
        self.told.insert(
            presence.device,
            Told { expires_ms: presence.expires_ms, ahead_ms, at_ms: now_ms },
        );
    }

    /// The median of those that spoke lately.
    #[must_use]
    pub fn compare(&self, now_ms: u64) -> Option<Clock> {
        let mut ahead: Vec<i64> =
            self.told.values().filter(|t| fresh(t, now_ms)).map(|t| t.ahead_ms).collect();
        ahead.sort_unstable();
        let devices = u32::try_from(ahead.len()).unwrap_or(u32::MAX);
        ahead.get(ahead.len() / 2).map(|ahead_ms| Clock { devices, ahead_ms: *ahead_ms })
    }
}

/// Said within the time in which presence is believed, by the clock as it is now: after it was set,
/// old figures are worth nothing.
fn fresh(told: &Told, now_ms: u64) -> bool {
    told.at_ms.abs_diff(now_ms) <= PRESENCE_TTL_MS
}

#[cfg(test)]
mod tests {
    use klatch_core::ids::{Digest, Peer, RoomId};

    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn presence(device: u8, their_ms: u64) -> VerifiedPresence {
        VerifiedPresence {
            room: RoomId([0; 16]),
            device: DeviceId([device; 32]),
            peer: Peer(vec![]),
            direct: Digest([0; 32]),
            expires_ms: their_ms + PRESENCE_TTL_MS,
        }
    }

    #[test]
    fn one_wrong_clock_among_others_is_not_ours() {
        let mut clocks = Clocks::default();
        assert_eq!(clocks.compare(NOW), None);
        clocks.heard(&presence(1, NOW - 86_400_000), NOW, true);
        clocks.heard(&presence(2, NOW - 5), NOW, true);
        clocks.heard(&presence(3, NOW + 20), NOW, true);
        assert_eq!(clocks.compare(NOW), Some(Clock { devices: 3, ahead_ms: 5 }));
    }

    #[test]
    fn a_record_said_again_changes_nothing_and_a_hello_does() {
        let mut clocks = Clocks::default();
        clocks.heard(&presence(1, NOW), NOW, true);
        clocks.heard(&presence(1, NOW), NOW + 60_000, false);
        assert_eq!(clocks.compare(NOW + 60_000).unwrap().ahead_ms, 0);
        // The device's clock was set back by a minute.
        clocks.heard(&presence(1, NOW - 60_000), NOW + 60_000, true);
        assert_eq!(clocks.compare(NOW + 60_000).unwrap().ahead_ms, 120_000);
        assert_eq!(clocks.compare(NOW + 60_000 + PRESENCE_TTL_MS + 1), None, "too long ago");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_makes_room() {
        let mut clocks = Clocks::default();
        let all = |clocks: &mut Clocks, now| {
            for n in 0..=u8::MAX {
                for m in 0..2 {
                    let mut said = presence(n, now);
                    said.device.0[31] = m;
                    clocks.heard(&said, now, true);
                }
            }
        };
        all(&mut clocks, NOW);
        assert_eq!(clocks.told.len(), CLOCKS_MAX);
        let later = NOW + PRESENCE_TTL_MS + 1;
        let mut newcomer = presence(9, later);
        newcomer.device.0[0] = 77;
        clocks.heard(&newcomer, later, true);
        assert_eq!(clocks.compare(later).unwrap().devices, 1);
    }

    #[test]
    fn absurd_clocks_overflow_nothing() {
        let mut clocks = Clocks::default();
        let mut said = presence(1, 0);
        for (now, expires) in [(0, u64::MAX), (u64::MAX, 0), (u64::MAX, u64::MAX), (0, 0)] {
            said.expires_ms = expires;
            clocks.heard(&said, now, true);
            assert!(clocks.compare(now).is_some());
        }
    }
}
