//! Which connections of a pair live, and which one of several stays. Pure: what was heard and the
//! time are arguments, the caller carries out what comes back.
//!
//! * A connection on which nothing was heard for a while is probed; one that does not answer ends.
//! * A second connection casts doubt on those before it: all are probed at once, and only who
//!   answers *after* that is a candidate. A process that was killed and came back leaves a
//!   connection behind that looks alive for as long as the transport is patient. What has answered
//!   is used soon, whatever becomes of the others.
//! * The pair settles on one: the side with the lower peer id chooses, tells the other side over
//!   the chosen connection, and closes the rest once that was confirmed. So nothing is closed
//!   before the survivor has answered.
//! * An own pause (sleep, a stopped process) or a changed address casts doubt on everything. Who
//!   then does not answer ends, also if nothing else is left: it is dialled again at once. Doubt upon
//!   doubt gives nobody more time: addresses of a machine change several at a time.

use std::time::{Duration, Instant};

use libp2p::swarm::ConnectionId;

use super::probe::Heard;
use super::settings::{
    PROBE_AHEAD, PROBE_EVERY, PROBE_LOST, PROBE_SHORT, RELAYED_GRACE, SETTLE_PATIENCE,
};

/// One connection of a peer, as far as judging needs it. Oldest first; those being closed are left
/// out.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) id: ConnectionId,
    /// Not through a relay.
    pub(super) direct: bool,
    pub(super) since: Instant,
    pub(super) heard: Heard,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Probe this connection.
    Ask(ConnectionId),
    /// Tell the other side that this one stays.
    Keep(ConnectionId),
    /// It is dead.
    Silent(ConnectionId),
    /// It lives, and another one stays.
    Surplus(ConnectionId),
}

/// The state of one pair.
#[derive(Debug, Default)]
pub(super) struct Settle {
    /// The connection in use.
    chosen: Option<ConnectionId>,
    doubt: Option<Doubt>,
    kept: Option<ConnectionId>,
}

/// Connections have to prove themselves anew.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    since: Instant,
    /// When the first of several doubts was cast that nothing has dispelled yet.
    first: Instant,
    /// Who does not answer is dead, also if nothing else is left.
    grave: bool,
}

impl Doubt {
    /// Whether a connection has answered since.
    fn proved(&self, view: &View) -> bool {
        view.heard.proved.is_some_and(|at| at >= self.since)
    }

    /// How long it has not.
    fn waits(&self, view: &View, now: Instant) -> Duration {
        let asked = view.heard.waiting.unwrap_or(self.since).max(self.first);
        now.saturating_duration_since(asked)
    }
}

/// What the pair's surroundings say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    pub(super) now: Instant,
    /// Our peer id is the lower one: we choose.
    pub(super) lower: bool,
    /// No byte came from the peer for this long, on any connection.
    pub(super) quiet: Duration,
    /// We do not listen ourselves at the moment, so silence says nothing.
    pub(super) deaf: bool,
}

impl Settle {
    /// The connection in use.
    pub(super) fn chosen(&self) -> Option<ConnectionId> {
        self.chosen
    }

    /// Whether connections have to prove themselves at the moment.
    pub(super) fn in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// Everything has to prove itself from now on. `grave`: also if nothing else is left.
    pub(super) fn cast_doubt(&mut self, views: &[View], grave: bool, now: Instant) -> Vec<Act> {
        let first = self.doubt.map_or(now, |d| d.first);
        let grave = grave || self.doubt.is_some_and(|d| d.grave);
        self.doubt = Some(Doubt { since: now, first, grave });
        views.iter().map(|v| Act::Ask(v.id)).collect()
    }

    /// Looks at the connections; call it whenever one came, went or was heard, and by the clock.
    pub(super) fn judge(&mut self, views: &[View], around: Around) -> Vec<Act> {
        let Around { now, deaf, .. } = around;
        if deaf {
            if let Some(doubt) = &mut self.doubt {
                doubt.first = now;
            }
            self.choose(views, None);
            return Vec::new();
        }
        let mut acts = Vec::new();
        let mut alive = Vec::new();
        for view in views {
            let silence = now.saturating_duration_since(view.heard.heard.unwrap_or(view.since));
            let waits = view.heard.waiting.map(|at| now.saturating_duration_since(at));
            // A slow link may hold an answer back behind what is on the way; as long as the peer is
            // heard at all, and only over this connection, it lives.
            let quiet = views.len() > 1 || around.quiet >= PROBE_LOST;
            if waits.is_some_and(|w| w >= PROBE_LOST) && silence >= PROBE_LOST && quiet {
                acts.push(Act::Silent(view.id));
                continue;
            }
            if waits.is_none() && silence >= PROBE_EVERY {
                acts.push(Act::Ask(view.id));
            }
            alive.push(*view);
        }
        self.contest(&mut alive, around, &mut acts);
        acts
    }

    /// Settles what a doubt began.
    fn contest(&mut self, alive: &mut Vec<View>, around: Around, acts: &mut Vec<Act>) {
        let Some(doubt) = self.doubt else { return self.choose(alive, None) };
        let now = around.now;
        let proved = |v: &View| doubt.proved(v);
        let some = alive.iter().any(proved);
        let late = |v: &View| !proved(v) && doubt.waits(v, now) >= PROBE_SHORT;
        if some || doubt.grave {
            acts.extend(alive.iter().filter(|v| late(v)).map(|v| Act::Silent(v.id)));
            alive.retain(|v| !late(v));
        }
        if alive.iter().any(|v| !proved(v) && !late(v)) {
            let used = alive.iter().find(|v| Some(v.id) == self.chosen);
            let slow = used.is_some_and(|v| !proved(v) && doubt.waits(v, now) >= PROBE_AHEAD);
            let ahead = alive.iter().find(|v| slow && proved(v)).map(|v| v.id);
            return self.choose(alive, ahead);
        }
        if alive.len() < 2 || !some {
            if alive.is_empty() || some {
                self.doubt = None;
            }
            self.kept = None;
            return self.choose(alive, None);
        }
        let told = alive.iter().find(|v| v.heard.keep).map(|v| v.id);
        if !around.lower && now < doubt.since + SETTLE_PATIENCE {
            return self.choose(alive, told);
        }
        let kept = self.kept.filter(|id| alive.iter().any(|v| v.id == *id));
        let Some(best) = kept.or_else(|| best(alive)) else { return };
        let Some(view) = alive.iter().find(|v| v.id == best) else { return };
        // A hole punch makes the direct connection before both sides use it.
        let young = now.saturating_duration_since(view.since) < RELAYED_GRACE;
        if view.direct && young && alive.iter().any(|v| !v.direct) {
            return self.choose(alive, None);
        }
        if kept.is_none() {
            acts.push(Act::Keep(best));
        } else if view.heard.agreed {
            acts.extend(alive.iter().filter(|v| v.id != best).map(|v| Act::Surplus(v.id)));
            alive.retain(|v| v.id == best);
            (self.doubt, self.kept) = (None, None);
            return self.choose(alive, Some(best));
        }
        self.kept = Some(best);
        self.choose(alive, None);
    }

    /// Keeps to the connection in use while it is there, unless another is named.
    fn choose(&mut self, alive: &[View], named: Option<ConnectionId>) {
        let there = |id: &ConnectionId| alive.iter().any(|v| v.id == *id);
        self.chosen = named.or_else(|| self.chosen.filter(there)).or_else(|| best(alive));
    }
}

/// Direct before relayed, then the oldest: what is under way over it goes on.
fn best(alive: &[View]) -> Option<ConnectionId> {
    alive.iter().find(|v| v.direct).or(alive.first()).map(|v| v.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: usize = 1;
    const NEW: usize = 2;

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    fn view(n: usize, since: Instant) -> View {
        View { id: id(n), direct: true, since, heard: Heard::default() }
    }

    fn at(now: Instant, lower: bool) -> Around {
        Around { now, lower, quiet: Duration::from_secs(60), deaf: false }
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// An answer at `now` to a probe asked at `asked`.
    fn answer(view: &mut View, asked: Instant, now: Instant) {
        view.heard.proved = Some(asked);
        view.heard.heard = Some(now);
        view.heard.waiting = None;
    }

    #[test]
    fn a_quiet_connection_is_probed_and_ends_when_it_does_not_answer() {
        let (start, mut settle) = (Instant::now(), Settle::default());
        let mut one = view(OLD, start);
        assert!(settle.judge(&[one], at(start + PROBE_EVERY - ms(1), true)).is_empty());
        let asked = start + PROBE_EVERY;
        assert_eq!(settle.judge(&[one], at(asked, true)), [Act::Ask(id(OLD))]);
        one.heard.waiting = Some(asked);
        assert!(settle.judge(&[one], at(asked + PROBE_LOST - ms(1), true)).is_empty());
        let late = asked + PROBE_LOST;
        let busy = Around { quiet: ms(100), ..at(late, true) };
        assert!(settle.judge(&[one], busy).is_empty(), "its answer is behind much else");
        let deaf = Around { deaf: true, ..at(late, true) };
        assert!(settle.judge(&[one], deaf).is_empty(), "we do not listen");
        assert_eq!(settle.judge(&[one], at(late, true)), [Act::Silent(id(OLD))]);
        // A probe of the other side is as good as an answer.
        (one.heard.heard, one.heard.waiting) = (Some(late), Some(asked));
        assert!(settle.judge(&[one], at(late, true)).is_empty());
    }

    #[test]
    fn a_second_connection_displaces_a_dead_one_within_the_short_time() {
        for lower in [true, false] {
            let (start, mut settle) = (Instant::now(), Settle::default());
            let mut old = view(OLD, start);
            answer(&mut old, start, start);
            assert!(settle.judge(&[old], at(start, lower)).is_empty());
            assert_eq!(settle.chosen(), Some(id(OLD)));
            let came = start + ms(500);
            let mut new = view(NEW, came);
            let asked = settle.cast_doubt(&[old, new], false, came);
            assert_eq!(asked, [Act::Ask(id(OLD)), Act::Ask(id(NEW))]);
            old.heard.waiting = Some(came);
            answer(&mut new, came, came + ms(2));
            let soon = at(came + PROBE_AHEAD - ms(1), lower);
            assert!(settle.judge(&[old, new], soon).is_empty());
            assert_eq!(settle.chosen(), Some(id(OLD)));
            let soon = at(came + PROBE_SHORT - ms(1), lower);
            assert!(settle.judge(&[old, new], soon).is_empty());
            assert_eq!(settle.chosen(), Some(id(NEW)), "an answer from before proves nothing now");
            let end = at(came + PROBE_SHORT, lower);
            assert_eq!(settle.judge(&[old, new], end), [Act::Silent(id(OLD))]);
            assert_eq!(settle.chosen(), Some(id(NEW)));
        }
    }

    #[test]
    fn what_has_answered_is_used_before_the_other_is_given_up() {
        let (start, mut settle) = (Instant::now(), Settle::default());
        let mut old = view(OLD, start);
        settle.judge(&[old], at(start, true));
        let came = start + ms(500);
        let mut new = view(NEW, came);
        settle.cast_doubt(&[old, new], false, came);
        old.heard.waiting = Some(came);
        answer(&mut new, came, came + ms(2));
        let soon = at(came + PROBE_AHEAD - ms(1), true);
        assert!(settle.judge(&[old, new], soon).is_empty());
        assert_eq!(settle.chosen(), Some(id(OLD)), "both may be about to answer");
        let ahead = at(came + PROBE_AHEAD, true);
        assert!(settle.judge(&[old, new], ahead).is_empty(), "nothing is closed yet");
        assert_eq!(settle.chosen(), Some(id(NEW)));
    }

    #[test]
    fn doubt_upon_doubt_gives_a_dead_connection_no_more_time_and_a_new_one_its_own() {
        let (start, mut settle) = (Instant::now(), Settle::default());
        let mut old = view(OLD, start);
        settle.judge(&[old], at(start, true));
        // A probe from before waited already: it was asked of another network.
        old.heard.waiting = Some(start);
        let gone = start + ms(1_000);
        settle.cast_doubt(&[old], true, gone);
        settle.cast_doubt(&[old], true, gone + ms(400));
        let came = gone + ms(1_000);
        let mut new = view(NEW, came);
        settle.cast_doubt(&[old, new], false, came);
        new.heard.waiting = Some(came);
        let end = at(gone + PROBE_SHORT - ms(1), true);
        assert!(settle.judge(&[old, new], end).is_empty());
        let end = at(gone + PROBE_SHORT, true);
        assert_eq!(settle.judge(&[old, new], end), [Act::Silent(id(OLD))]);
        answer(&mut new, came, came + ms(900));
        assert!(settle.judge(&[new], at(came + ms(900), true)).is_empty());
        assert_eq!((settle.chosen(), settle.in_doubt()), (Some(id(NEW)), false));
    }

    #[test]
    fn nothing_is_closed_before_a_survivor_has_answered() {
        let (start, mut settle) = (Instant::now(), Settle::default());
        let (old, new) = (view(OLD, start), view(NEW, start));
        settle.cast_doubt(&[old, new], false, start);
        let late = start + PROBE_LOST - ms(1);
        assert!(settle.judge(&[old, new], at(late, true)).iter().all(|a| matches!(a, Act::Ask(_))));
        // After an own pause it is: it can only be dialled again.
        settle.cast_doubt(&[old], true, start);
        let end = at(start + PROBE_SHORT, true);
        assert_eq!(settle.judge(&[old], end), [Act::Silent(id(OLD))]);
        assert_eq!(settle.chosen(), None);
    }

    #[test]
    fn the_lower_side_chooses_tells_and_closes_once_it_was_confirmed() {
        let (start, mut settle) = (Instant::now(), Settle::default());
        let (mut old, mut new) = (view(OLD, start), view(NEW, start));
        settle.cast_doubt(&[old, new], false, start);
        answer(&mut new, start, start);
        assert!(settle.judge(&[old, new], at(start, true)).is_empty(), "the other has time");
        answer(&mut old, start, start);
        assert_eq!(settle.judge(&[old, new], at(start, true)), [Act::Keep(id(OLD))]);
        assert!(settle.judge(&[old, new], at(start, true)).is_empty(), "not confirmed yet");
        old.heard.agreed = true;
        assert_eq!(settle.judge(&[old, new], at(start, true)), [Act::Surplus(id(NEW))]);
        assert_eq!(settle.chosen(), Some(id(OLD)));
    }

    #[test]
    fn the_higher_side_follows_and_decides_itself_only_when_nobody_does() {
        let (start, mut settle) = (Instant::now(), Settle::default());
        let (mut old, mut new) = (view(OLD, start), view(NEW, start));
        settle.judge(&[old], at(start, false));
        settle.cast_doubt(&[old, new], false, start);
        answer(&mut old, start, start);
        answer(&mut new, start, start);
        assert!(settle.judge(&[old, new], at(start, false)).is_empty());
        assert_eq!(settle.chosen(), Some(id(OLD)));
        new.heard.keep = true;
        assert!(settle.judge(&[old, new], at(start, false)).is_empty());
        assert_eq!(settle.chosen(), Some(id(NEW)));
        let late = start + SETTLE_PATIENCE;
        (old.heard.heard, new.heard.heard) = (Some(late), Some(late));
        assert!(matches!(settle.judge(&[old, new], at(late, false))[..], [Act::Keep(_)]));
    }

    #[test]
    fn a_direct_connection_beats_a_relayed_one_and_not_before_both_could_use_it() {
        let (start, mut settle) = (Instant::now(), Settle::default());
        let (mut relayed, mut direct) = (view(OLD, start), view(NEW, start + ms(900)));
        relayed.direct = false;
        settle.judge(&[relayed], at(start, true));
        settle.cast_doubt(&[relayed, direct], false, direct.since);
        let came = direct.since;
        answer(&mut relayed, came, came);
        answer(&mut direct, came, came);
        let soon = at(direct.since + RELAYED_GRACE - ms(1), true);
        assert!(settle.judge(&[relayed, direct], soon).is_empty());
        assert_eq!(settle.chosen(), Some(id(OLD)));
        let end = at(direct.since + RELAYED_GRACE, true);
        assert_eq!(
            settle.judge(&[relayed, direct], end)[..],
            [Act::Ask(id(OLD)), Act::Ask(id(NEW)), Act::Keep(id(NEW))]
        );
    }
}
