//! Notices that this process stood still: it was stopped, or the machine slept. What was said to it
//! meanwhile may be lost, and what it believes of its connections is from before. And what it means
//! that this machine's addresses changed.

use std::fs;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;

use super::address;
use super::settings::PAUSE;

/// What happened to the addresses of this machine since somebody looked.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moved {
    /// One came: others may be in reach by it, and connections may lead elsewhere than before.
    pub(super) came: bool,
    /// One went: connections from it are dead, if there were any.
    pub(super) went: bool,
    /// The same of one that holds on one link only. Machines with containers see these come and go
    /// all day long, and nearly no connection runs over them.
    pub(super) near: bool,
}

impl Moved {
    /// An address came, or `went`.
    pub(super) fn note(&mut self, address: &Multiaddr, went: bool) {
        match address::link_local(address) {
            Some(_) => self.near = true,
            None if went => self.went = true,
            None => self.came = true,
        }
    }
}

/// Compares the clocks from one look to the next.
#[derive(Debug)]
pub(super) struct Pauses {
    looked: Instant,
    booted: Option<Duration>,
}

impl Pauses {
    pub(super) fn new() -> Self {
        Self { looked: Instant::now(), booted: since_boot() }
    }

    /// Look at it about every `every`. For how long the process stood still since the last look, if
    /// it did.
    pub(super) fn look(&mut self, every: Duration) -> Option<Duration> {
        let (looked, booted) = (Instant::now(), since_boot());
        let ran = looked.saturating_duration_since(self.looked);
        // The monotonic clock goes on while a process is stopped, but not while the machine sleeps.
        let passed = match (booted, self.booted) {
            (Some(now), Some(before)) => now.saturating_sub(before),
            _ => ran,
        };
        (self.looked, self.booted) = (looked, booted);
        judge(ran, passed, every)
    }
}

fn judge(ran: Duration, passed: Duration, every: Duration) -> Option<Duration> {
    let late = ran.max(passed).saturating_sub(every);
    (late >= PAUSE).then_some(late)
}

/// The time since boot, sleep included.
fn since_boot() -> Option<Duration> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_and_a_sleep_are_noticed_and_a_busy_machine_is_not_taken_for_one() {
        let (every, s) = (Duration::from_millis(250), Duration::from_secs);
        assert_eq!(judge(every, every, every), None);
        assert_eq!(judge(Duration::from_millis(900), Duration::from_millis(910), every), None);
        assert!(judge(s(15), s(15), every).is_some_and(|late| late > s(14)), "stopped");
        assert!(judge(every, s(3_600), every).is_some_and(|late| late > s(3_599)), "asleep");
    }

    #[test]
    fn what_comes_and_goes_with_containers_is_no_move() {
        let mut moved = Moved::default();
        for there in ["/ip6/fe80::1/tcp/1", "/ip6/fe80::1/udp/1/quic-v1"] {
            moved.note(&there.parse().unwrap(), there.contains("udp"));
        }
        assert_eq!(moved, Moved { near: true, ..Moved::default() });
        moved.note(&"/ip4/192.0.2.1/tcp/1".parse().unwrap(), true);
        assert!(moved.went && !moved.came);
        moved.note(&"/ip6/fd00::1/tcp/1".parse().unwrap(), false);
        assert!(moved.came);
    }

    #[test]
    fn the_system_says_how_long_it_is_up() {
        let mut pauses = Pauses::new();
        assert!(pauses.booted.is_some_and(|up| !up.is_zero()));
        assert_eq!(pauses.look(Duration::from_secs(60)), None);
        pauses.looked -= Duration::from_secs(10);
        assert!(pauses.look(Duration::from_secs(1)).is_some());
    }
}
