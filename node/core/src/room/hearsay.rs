//! What a member says to all about itself, and whether that is passed on: beacons and presence
//! (PROTOCOL.md 9). A member can sign as much of it as it likes, and anybody can seal the same once
//! more under another nonce, so each node passes on only what is news, at a rate that an honest
//! program never reaches. Taking notice of it costs nothing of the kind and has no limit here.

use std::collections::BTreeMap;

use crate::bucket::Bucket;
use crate::ids::{DeviceId, Digest};
use crate::limits::{
    BEACON_AGAIN_MS, BEACONS_BURST, BEACONS_PER_MINUTE, PRESENCES_BURST, PRESENCES_PER_MINUTE,
};

/// What was passed on lately, by the device that said it. Only devices with a chain are in it.
#[derive(Debug, Default)]
pub(crate) struct Hearsay {
    by_device: BTreeMap<DeviceId, Passed>,
}

#[derive(Debug)]
struct Passed {
    /// The last beacon, and when.
    beacon: Option<(Digest, u64)>,
    beacons: Bucket,
    presences: Bucket,
}

impl Hearsay {
    fn of(&mut self, device: DeviceId, now: u64) -> &mut Passed {
        self.by_device.entry(device).or_insert_with(|| Passed {
            beacon: None,
            beacons: Bucket::full(BEACONS_BURST, now),
            presences: Bucket::full(PRESENCES_BURST, now),
        })
    }

    /// Whether a beacon is passed on: it says something else than the last one, or that one is so
    /// old that somebody may have missed it.
    pub fn passes_beacon(&mut self, device: DeviceId, says: Digest, now: u64) -> bool {
        if planted!(EveryBeaconPassed) {
            return true;
        }
        let passed = self.of(device, now);
        if passed.beacon.is_some_and(|(last, at)| last == says && now < at + BEACON_AGAIN_MS) {
            return false;
        }
        let good = passed.beacons.take(1, BEACONS_PER_MINUTE, 60_000, BEACONS_BURST, now);
        if good {
            passed.beacon = Some((says, now));
        }
        good
    }

    /// Whether presence that is news here is passed on.
    pub fn passes_presence(&mut self, device: DeviceId, now: u64) -> bool {
        let bucket = &mut self.of(device, now).presences;
        bucket.take(1, PRESENCES_PER_MINUTE, 60_000, PRESENCES_BURST, now)
    }

    /// Devices remembered, for the bound check.
    pub fn len(&self) -> usize {
        self.by_device.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId([1; 32]);

    #[test]
    fn the_same_beacon_is_passed_on_once_a_minute() {
        let mut hearsay = Hearsay::default();
        let passed = (0..BEACON_AGAIN_MS * 2)
            .filter(|now| hearsay.passes_beacon(DEVICE, Digest([7; 32]), *now));
        assert_eq!(passed.collect::<Vec<_>>(), [0, BEACON_AGAIN_MS]);
    }

    #[test]
    fn new_beacons_without_end_are_passed_on_at_a_rate() {
        let mut hearsay = Hearsay::default();
        let says = |n: u64| Digest(std::array::from_fn(|i| (n >> (i % 8 * 8)) as u8));
        let passed =
            (0..60_000).filter(|now| hearsay.passes_beacon(DEVICE, says(*now), *now)).count();
        assert_eq!(passed as u64, BEACONS_BURST + BEACONS_PER_MINUTE - 1);
        let passed = (0..60_000).filter(|now| hearsay.passes_presence(DEVICE, *now)).count();
        assert_eq!(passed as u64, PRESENCES_BURST + PRESENCES_PER_MINUTE - 1);
    }
}
