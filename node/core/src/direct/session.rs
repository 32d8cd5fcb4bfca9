//! The sessions with one device: which one to send in, what was numbered and what is acknowledged
//! in each, and how they rest in the store. At most [`DIRECT_SESSIONS_MAX`], the preferred one
//! first.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

use crate::cbor;
use crate::ctx::Entropy;
use crate::direct::ratchet::Ratchet;
use crate::ids::{Digest, Nonce, SessionTag};
use crate::limits::DIRECT_SESSIONS_MAX;

/// Frames known again by their hash. A frame that the other side may still send again is at most a
/// window old.
const RECENT_MAX: usize = 40;
/// Longest saved sessions with one device.
const SAVED_BYTES_MAX: usize = 1 << 20;

/// One session and its numbers.
#[derive(Debug)]
pub(crate) struct Session {
    pub tag: SessionTag,
    pub ratchet: Ratchet,
    saved: Zeroizing<Vec<u8>>,
    /// This side began it.
    pub begun: bool,
    /// Something of the other side was opened in it.
    pub heard: bool,
    /// The other side does not have it.
    pub dead: bool,
    /// The other side has acknowledged something in it, so it knows who we are.
    pub greeted: bool,
    /// Frames sealed.
    pub sent: u64,
    /// Next number for an own message.
    pub number: u64,
    /// Key of the acknowledgements for us.
    pub own_key: Digest,
    /// Key of the acknowledgements that we give, once known.
    pub their_key: Option<Digest>,
    /// All numbers of the other side below are stored.
    pub next: u64,
    /// Numbers above `next` that are stored.
    pub bits: u64,
    recent: VecDeque<(u64, Nonce)>,
}

#[derive(Serialize, Deserialize)]
struct Saved(
    SessionTag,
    (bool, bool, bool, bool),
    (u64, u64, u64, u64),
    Digest,
    Option<Digest>,
    Vec<(u64, Nonce)>,
    ByteBuf,
);

impl Session {
    pub fn new(ratchet: Ratchet, begun: bool, rng: &mut dyn Entropy) -> Self {
        let mut own_key = Digest([0; 32]);
        rng.fill(&mut own_key.0);
        Self {
            tag: ratchet.tag(),
            saved: ratchet.save(),
            ratchet,
            begun,
            heard: !begun,
            dead: false,
            greeted: false,
            sent: 0,
            number: 0,
            own_key,
            their_key: None,
            next: 0,
            bits: 0,
            recent: VecDeque::new(),
        }
    }

    /// The ratchet moved: what is saved follows.
    pub fn moved(&mut self) {
        self.saved = self.ratchet.save();
    }

    /// Whether this very frame was taken in.
    pub fn knows(&self, number: u64, frame: Nonce) -> bool {
        self.recent.iter().any(|r| *r == (number, frame))
    }

    /// Whether a number fits into what an acknowledgement can say.
    pub fn fits(&self, number: u64) -> bool {
        number.saturating_sub(self.next) <= 64
    }

    /// A number is on disk with this step.
    pub fn store(&mut self, number: u64, frame: Nonce) {
        self.recent.push_back((number, frame));
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
        match number.checked_sub(self.next) {
            None => {}
            Some(0) => {
                self.next += 1;
                while self.bits & 1 == 1 {
                    self.bits >>= 1;
                    self.next += 1;
                }
                self.bits >>= 1;
            }
            Some(above) if above <= 64 => self.bits |= 1 << (above - 1),
            Some(_) => {}
        }
    }
}

/// All sessions with one device.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    all: Vec<Session>,
    /// When a lost session was last replaced, Unix milliseconds.
    pub reset_ms: u64,
    /// A session was lost, and none took its place yet.
    pub lost: bool,
    pub dirty: bool,
}

impl Sessions {
    /// The session to send in.
    pub fn live(&mut self) -> Option<&mut Session> {
        self.all.iter_mut().find(|s| !s.dead)
    }

    pub fn has_live(&self) -> bool {
        self.all.iter().any(|s| !s.dead)
    }

    pub fn get(&mut self, tag: SessionTag) -> Option<&mut Session> {
        self.all.iter_mut().find(|s| s.tag == tag)
    }

    pub fn has(&self, tag: SessionTag) -> bool {
        self.all.iter().any(|s| s.tag == tag)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.all.iter_mut()
    }

    #[cfg(feature = "sim")]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Takes in a new session. Where both sides began at once, both go on in the one that the
    /// smaller device began (`smaller`: that is this one); otherwise the newest is preferred.
    pub fn add(&mut self, session: Session, smaller: bool) {
        let ours_stays =
            !session.begun && smaller && self.live().is_some_and(|s| s.begun && !s.heard);
        let at = usize::from(ours_stays).min(self.all.len());
        self.all.insert(at, session);
        // A dead one goes first; the preferred one never does.
        while self.all.len() > DIRECT_SESSIONS_MAX {
            let at =
                self.all.iter().skip(1).rposition(|s| s.dead).map_or(self.all.len() - 1, |i| i + 1);
            self.all.remove(at);
        }
        self.lost = false;
        self.dirty = true;
    }

    /// The other side does not have a session any more. Whether that was news.
    pub fn bury(&mut self, tag: SessionTag) -> bool {
        let Some(session) = self.get(tag).filter(|s| !s.dead) else { return false };
        session.dead = true;
        self.lost = !self.has_live();
        self.dirty = true;
        true
    }

    pub fn save(&self) -> Zeroizing<Vec<u8>> {
        let all: Vec<Saved> = self
            .all
            .iter()
            .map(|s| {
                let flags = (s.begun, s.heard, s.dead, s.greeted);
                let recent = s.recent.iter().copied().collect();
                let state = ByteBuf::from(s.saved.to_vec());
                Saved(
                    s.tag,
                    flags,
                    (s.sent, s.number, s.next, s.bits),
                    s.own_key,
                    s.their_key,
                    recent,
                    state,
                )
            })
            .collect();
        let bytes = all.iter().map(|s| s.6.len() + 900).sum();
        Zeroizing::new(cbor::encode_large(&(self.reset_ms, self.lost, all), bytes))
    }

    /// What cannot be read is as if it had never been: the other side is told that there is no
    /// session.
    pub fn load(bytes: &[u8]) -> Self {
        let read: Result<(u64, bool, Vec<Saved>), _> = cbor::decode(bytes, SAVED_BYTES_MAX);
        let Ok((reset_ms, lost, all)) = read else { return Self::default() };
        let all = all.into_iter().filter_map(
            |Saved(tag, flags, counts, own_key, their_key, recent, state)| {
                Some(Session {
                    tag,
                    ratchet: Ratchet::load(&state)?,
                    saved: Zeroizing::new(state.into_vec()),
                    begun: flags.0,
                    heard: flags.1,
                    dead: flags.2,
                    greeted: flags.3,
                    sent: counts.0,
                    number: counts.1,
                    own_key,
                    their_key,
                    next: counts.2,
                    bits: counts.3,
                    recent: recent.into(),
                })
            },
        );
        Self { all: all.collect(), reset_ms, lost, dirty: false }
    }
}
