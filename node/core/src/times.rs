//! What time a message shows. Owns the rule that turns what an author claims into what readers
//! see (PROTOCOL.md 5.3); order is left to the log, and saying "3 h ago" to the faces.
//!
//! A claimed time is a claim: clocks are wrong by a minute, by a time zone, or by decades. What is
//! shown never lies behind what the message follows, never lies in the future, and one message
//! with a wrong clock does not spoil the times of those that come after it.

use crate::event::Message;
use crate::limits::{CLOCK_AHEAD_MS_MAX, CLOCK_BEYOND_MS, CLOCK_UNSET_BEFORE_MS};

/// Whether the clock of this machine can be seen to be wrong, without anybody to compare it with.
#[must_use]
pub fn is_absurd(now_ms: u64) -> bool {
    !(CLOCK_UNSET_BEFORE_MS..CLOCK_BEYOND_MS).contains(&now_ms)
}

/// Whether a claimed time may be true for something that arrived at `arrived_ms` (both Unix
/// milliseconds). A reader whose own clock was never set cannot tell, and believes it.
#[must_use]
pub fn is_plausible(claimed_ms: u64, arrived_ms: u64) -> bool {
    claimed_ms >= CLOCK_UNSET_BEFORE_MS
        && (arrived_ms < CLOCK_UNSET_BEFORE_MS
            || claimed_ms <= arrived_ms.saturating_add(CLOCK_AHEAD_MS_MAX))
}

/// The time that a message shows, Unix milliseconds.
///
/// `claimed_ms` is the author's clock, `arrived_ms` the reader's clock at arrival, `follows_ms` the
/// latest time shown by what the message follows, and `live` says that it came straight from its
/// author's hand rather than out of somebody's history, so that its arrival tells when it was
/// written.
#[must_use]
pub fn shown_ms(claimed_ms: u64, arrived_ms: u64, follows_ms: Option<u64>, live: bool) -> u64 {
    // A time shown before may itself come from a clock of this node that was wrong then.
    let follows = follows_ms.filter(|f| is_plausible(*f, arrived_ms));
    let own = if is_plausible(claimed_ms, arrived_ms) {
        Some(claimed_ms)
    } else {
        live.then_some(arrived_ms)
    };
    own.max(follows).unwrap_or(arrived_ms)
}

/// Corrects lines, in display order, that were dated by a clock of this node which ran ahead then:
/// each shows the time of the line after it, or the present if there is none. Only for the eye:
/// while it is the present clock that is wrong, what is stored stays right.
pub fn not_in_the_future(lines: &mut [Message], now_ms: u64) {
    if now_ms < CLOCK_UNSET_BEFORE_MS {
        return;
    }
    let mut next = now_ms;
    for line in lines.iter_mut().rev() {
        if line.at_ms > now_ms.saturating_add(CLOCK_AHEAD_MS_MAX) {
            line.at_ms = next;
        }
        next = line.at_ms.min(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = CLOCK_UNSET_BEFORE_MS + 40 * 86_400_000;
    const HOUR: u64 = 3_600_000;
    const YEARS: u64 = 10 * 365 * 24 * HOUR;

    #[test]
    fn a_clock_within_a_minute_is_believed() {
        assert_eq!(shown_ms(NOON - HOUR, NOON, None, false), NOON - HOUR);
        assert_eq!(shown_ms(NOON + 60_000, NOON, None, true), NOON + 60_000);
    }

    #[test]
    fn a_clock_years_ahead_shows_the_arrival_when_live_and_what_it_follows_otherwise() {
        assert_eq!(shown_ms(NOON + YEARS, NOON, Some(NOON - HOUR), true), NOON);
        assert_eq!(shown_ms(NOON + YEARS, NOON, Some(NOON - HOUR), false), NOON - HOUR);
        assert_eq!(shown_ms(NOON + YEARS, NOON, None, false), NOON);
    }

    #[test]
    fn a_clock_that_was_never_set_shows_the_arrival_when_live_and_what_it_follows_otherwise() {
        for claimed in [0, 86_400_000] {
            assert_eq!(shown_ms(claimed, NOON, Some(NOON - HOUR), true), NOON);
            assert_eq!(shown_ms(claimed, NOON, Some(NOON - HOUR), false), NOON - HOUR);
        }
    }

    #[test]
    fn an_answer_never_shows_a_time_before_its_question() {
        assert_eq!(shown_ms(NOON - HOUR, NOON, Some(NOON - 5), false), NOON - 5);
    }

    #[test]
    fn a_time_shown_under_a_wrong_clock_of_this_node_does_not_spoil_what_follows() {
        assert_eq!(shown_ms(NOON, NOON, Some(NOON + YEARS), true), NOON);
    }

    #[test]
    fn a_reader_whose_clock_was_never_set_believes_the_author() {
        assert_eq!(shown_ms(NOON, 1_000, None, true), NOON);
        assert_eq!(shown_ms(NOON, 1_000, Some(NOON - HOUR), false), NOON);
    }

    #[test]
    fn a_clock_that_was_never_set_or_counted_over_is_seen_to_be_wrong() {
        assert!([0, 86_400_000, 4_294_967_296_000, u64::MAX].into_iter().all(is_absurd));
        assert!(![NOON, NOON + YEARS].into_iter().any(is_absurd));
    }

    #[test]
    fn no_clock_makes_it_overflow() {
        for claimed in [0, 1, NOON, u64::MAX >> 16, u64::MAX] {
            for arrived in [0, NOON, 4_294_967_296_000, u64::MAX] {
                for follows in [None, Some(0), Some(u64::MAX)] {
                    let _ = shown_ms(claimed, arrived, follows, claimed % 2 == 0);
                }
            }
        }
    }
}
