//! Bodies that are not here but could be: whom to ask for them, when, and how often (PROTOCOL.md
//! 8.4). Owns the list of a room and the pauses; what an answer changes is done by the room.
//!
//! The list is in the order in which the lack was found, and each peer is asked along it: what is
//! new is asked for at once, what nobody had is asked for again after a pause that doubles.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{EntryId, Peer};
use crate::limits::{
    BODIES_ASK_MAX, BODIES_DELAY_MS, BODIES_PAUSE_MS_MAX, BODIES_PAUSE_MS_MIN, BODIES_WANTED_MAX,
    SYNC_TIMEOUT_MS,
};
use crate::rows::Lack;
use crate::step::RequestId;

/// What one peer was asked for.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// Everything below this place of the list was put to it in this round.
    from: u64,
    /// When to go on with the round; `u64::MAX` at its end.
    on_ms: u64,
    /// When the next round begins; `u64::MAX` before the end of this one.
    again_ms: u64,
    /// The pause before that.
    pause_ms: u64,
}

impl Turn {
    fn due(&self) -> u64 {
        self.on_ms.min(self.again_ms)
    }

    /// The round is over: the next one comes later, and later still.
    fn over(&mut self, now: u64) {
        self.on_ms = u64::MAX;
        if self.again_ms == u64::MAX {
            self.again_ms = now + self.pause_ms;
            self.pause_ms = (self.pause_ms * 2).min(BODIES_PAUSE_MS_MAX);
        }
    }
}

#[derive(Debug)]
struct Flight {
    peer: Peer,
    request: RequestId,
    deadline_ms: u64,
    asked: Vec<(u64, EntryId)>,
}

/// The bodies that a room lacks.
#[derive(Debug, Default)]
pub(crate) struct Bodies {
    lacking: BTreeMap<u64, (EntryId, Lack)>,
    places: BTreeMap<EntryId, u64>,
    next: u64,
    /// Those of `lacking` that were not kept.
    not_kept: usize,
    turns: BTreeMap<Peer, Turn>,
    flight: Option<Flight>,
    /// There is no space for those that were not kept.
    pub full: bool,
}

impl Bodies {
    /// The body of an entry is lacking. Beyond [`BODIES_WANTED_MAX`] it is asked for after the next
    /// start.
    pub fn want(&mut self, id: EntryId, lack: Lack, now: u64) {
        self.done(&id);
        if lack == Lack::Deleted || self.places.len() >= BODIES_WANTED_MAX {
            return;
        }
        self.places.insert(id, self.next);
        self.lacking.insert(self.next, (id, lack));
        self.next += 1;
        if lack == Lack::NotKept {
            self.not_kept += 1;
        } else {
            self.turns.values_mut().for_each(|t| t.on_ms = t.on_ms.min(now + BODIES_DELAY_MS));
        }
    }

    /// The body is here, or nobody is to have it.
    pub fn done(&mut self, id: &EntryId) {
        let known = self.places.remove(id).and_then(|at| self.lacking.remove(&at));
        if known.is_some_and(|(_, lack)| lack == Lack::NotKept) {
            self.not_kept -= 1;
        }
    }

    /// Why the body of an entry is not here; `None` if it is, or is not waited for.
    pub fn lack(&self, id: &EntryId) -> Option<Lack> {
        self.lacking.get(self.places.get(id)?).map(|l| l.1)
    }

    /// There is space again: what was not kept is asked for from the beginning.
    pub fn space(&mut self, now: u64) {
        self.full = false;
        let soon = now + BODIES_DELAY_MS;
        self.turns.values_mut().for_each(|t| t.again_ms = t.again_ms.min(soon));
    }

    fn is_asked_for(&self, lack: Lack) -> bool {
        lack != Lack::NotKept || !self.full
    }

    fn has_work(&self) -> bool {
        self.places.len() > self.not_kept || (self.not_kept > 0 && !self.full)
    }

    /// The peers that may be asked: who is new is asked soon, who is gone is forgotten.
    pub fn peers(&mut self, proved: &BTreeSet<Peer>, now: u64) {
        self.turns.retain(|peer, _| proved.contains(peer));
        self.flight.take_if(|f| !proved.contains(&f.peer));
        for peer in proved {
            self.turns.entry(peer.clone()).or_insert(Turn {
                from: 0,
                on_ms: now + BODIES_DELAY_MS,
                again_ms: u64::MAX,
                pause_ms: BODIES_PAUSE_MS_MIN,
            });
        }
    }

    /// Whom to ask for what now, if a request is due and none is on its way. [`Bodies::sent`]
    /// follows.
    pub fn take_due(&mut self, now: u64) -> Option<(Peer, Vec<EntryId>)> {
        if let Some(late) = self.flight.take_if(|f| f.deadline_ms <= now) {
            self.turns.entry(late.peer).and_modify(|t| t.over(now));
        }
        if self.flight.is_some() || !self.has_work() || planted!(BodiesNeverAsked) {
            return None;
        }
        loop {
            let due = self.turns.iter_mut().filter(|(_, t)| t.due() <= now);
            let (peer, turn) = due.min_by_key(|(_, t)| t.due())?;
            if turn.again_ms <= now {
                (turn.from, turn.again_ms) = (0, u64::MAX);
            }
            let (peer, from) = (peer.clone(), turn.from);
            let wanted = self.lacking.range(from..).filter(|(_, l)| self.is_asked_for(l.1));
            let asked: Vec<(u64, EntryId)> =
                wanted.take(BODIES_ASK_MAX).map(|(at, (id, _))| (*at, *id)).collect();
            if asked.is_empty() {
                self.turns.entry(peer).and_modify(|t| t.over(now));
                continue;
            }
            let ids = asked.iter().map(|(_, id)| *id).collect();
            let deadline_ms = now + SYNC_TIMEOUT_MS;
            self.flight = Some(Flight { peer: peer.clone(), request: 0, deadline_ms, asked });
            return Some((peer, ids));
        }
    }

    /// The request that [`Bodies::take_due`] asked for is on its way.
    pub fn sent(&mut self, request: RequestId) {
        if let Some(flight) = &mut self.flight {
            flight.request = request;
        }
    }

    /// Whether a body was asked for in this request.
    pub fn asked(&self, request: RequestId, id: &EntryId) -> bool {
        let flight = self.flight.as_ref().filter(|f| f.request == request);
        flight.is_some_and(|f| f.asked.iter().any(|(_, asked)| asked == id))
    }

    /// A peer answered the first `answered` ids of a request; `useful`: one was new. Whether the
    /// request is ours.
    pub fn landed(&mut self, request: RequestId, answered: usize, useful: bool, now: u64) -> bool {
        let Some(flight) = self.flight.take_if(|f| f.request == request) else { return false };
        let Some(turn) = self.turns.get_mut(&flight.peer) else { return true };
        match answered.checked_sub(1).and_then(|i| flight.asked.get(i)) {
            None => turn.over(now),
            Some((at, _)) => {
                (turn.from, turn.on_ms) = (at + 1, now);
                if useful {
                    turn.pause_ms = BODIES_PAUSE_MS_MIN;
                }
            }
        }
        true
    }

    /// A request was not answered. Whether it is ours.
    pub fn failed(&mut self, request: RequestId, now: u64) -> bool {
        self.landed(request, 0, false, now)
    }

    /// When something is to be done next.
    pub fn next_due(&self) -> Option<u64> {
        match &self.flight {
            Some(flight) => Some(flight.deadline_ms),
            None if self.has_work() => {
                self.turns.values().map(Turn::due).min().filter(|at| *at < u64::MAX)
            }
            None => None,
        }
    }

    /// Entries waited for.
    pub fn len(&self) -> usize {
        self.places.len()
    }
}
