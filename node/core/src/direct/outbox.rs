//! What waits for one device: own messages in order, sealed as far as the window allows, and when
//! to try again. A sealed frame is stored before it leaves, and exactly that frame is sent again.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::cbor;
use crate::content::{Content, Kind};
use crate::direct::payload::Said;
use crate::ids::{DeviceId, EntryId, IdentityId, Nonce, SessionTag};
use crate::limits::{DIRECT_RAN_STEP_MS, DIRECT_RETRY_MS, DIRECT_RETRY_MS_MAX};
use crate::step::{OutboxRow, RequestId, Write};

/// Longest row: what is said twice, once sealed.
const ROW_BYTES_MAX: usize = 256 << 10;

/// The place of a message in a session. Kept when a frame must be sealed anew in it: no number is
/// given to two messages.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub session: SessionTag,
    pub number: u64,
    /// Frames sealed in the session before.
    pub at: u64,
    /// The frame, as it goes over the wire; `None` if it must be sealed anew.
    pub frame: Option<Arc<[u8]>>,
    /// [`crate::direct::frame::frame_hash`] of what is sealed in it.
    pub hash: Nonce,
}

#[derive(Serialize, Deserialize)]
struct SavedPlace(SessionTag, u64, u64, Option<ByteBuf>, Nonce);

#[derive(Serialize, Deserialize)]
struct SavedItem(ByteBuf, u64, Option<SavedPlace>, bool, u64);

/// As the first versions saved it: whether it was sealed in a session that is gone was not kept.
#[derive(Serialize, Deserialize)]
struct SavedItemV1(ByteBuf, u64, Option<SavedPlace>);

impl SavedItem {
    fn decode(bytes: &[u8]) -> Option<Self> {
        cbor::decode(bytes, ROW_BYTES_MAX).ok().or_else(|| {
            let SavedItemV1(said, seq, place) = cbor::decode(bytes, ROW_BYTES_MAX).ok()?;
            Some(Self(said, seq, place, true, 0))
        })
    }
}

/// How long the node has run, as far as waiting messages are concerned: steps of the steady clock,
/// none of them longer than [`DIRECT_RAN_STEP_MS`].
#[derive(Debug)]
pub(crate) struct Ran {
    total_ms: u64,
    saved_ms: u64,
    at_ms: u64,
}

impl Ran {
    pub fn new(total_ms: u64, now: u64) -> Self {
        Self { total_ms, saved_ms: total_ms, at_ms: now }
    }

    pub fn total_ms(&self) -> u64 {
        self.total_ms
    }

    /// Time passed up to `now` on the steady clock. `true` when the sum is to be stored.
    pub fn pass(&mut self, now: u64) -> bool {
        let step = now.saturating_sub(self.at_ms).min(DIRECT_RAN_STEP_MS);
        self.at_ms = now;
        self.total_ms = self.total_ms.saturating_add(step);
        let due = self.total_ms - self.saved_ms >= DIRECT_RAN_STEP_MS;
        if due {
            self.saved_ms = self.total_ms;
        }
        due
    }
}

/// A message on its way to one device.
#[derive(Debug)]
pub(crate) struct Item {
    /// Number of the row.
    pub row: u64,
    pub id: EntryId,
    /// Position among the own messages of the conversation.
    pub seq: u64,
    pub queued_ms: u64,
    /// [`Ran::total_ms`] at that time.
    pub queued_ran_ms: u64,
    /// What is said, not sealed.
    pub said: Arc<[u8]>,
    pub place: Option<Place>,
    /// It was sealed once: the other side may have it, whatever became of the session.
    pub left: bool,
    /// On its way, and not answered.
    pub flight: Option<RequestId>,
    /// Times that the other side could not open it in its session.
    pub unreadable: u8,
    dirty: bool,
}

impl Item {
    fn encode(&self) -> Vec<u8> {
        let place = self.place.as_ref().map(|p| {
            let frame = p.frame.as_ref().map(|f| ByteBuf::from(f.to_vec()));
            SavedPlace(p.session, p.number, p.at, frame, p.hash)
        });
        let bytes = self.len() + 128;
        let said = ByteBuf::from(self.said.to_vec());
        let ran_ms = self.queued_ran_ms;
        cbor::encode_large(&SavedItem(said, self.seq, place, self.left, ran_ms), bytes)
    }

    fn restore(row: &OutboxRow) -> Option<Self> {
        let SavedItem(said, seq, place, left, queued_ran_ms) = SavedItem::decode(&row.frame)?;
        let place = place.map(|SavedPlace(session, number, at, frame, hash)| Place {
            hash,
            session,
            number,
            at,
            frame: frame.map(|f| f.into_vec().into()),
        });
        Some(Self {
            row: row.seq,
            id: row.id,
            seq,
            queued_ms: row.queued_ms,
            queued_ran_ms,
            said: said.into_vec().into(),
            place,
            left,
            flight: None,
            unreadable: 0,
            dirty: false,
        })
    }

    /// Bytes held in memory.
    pub fn len(&self) -> usize {
        self.said.len() + self.place.as_ref().and_then(|p| p.frame.as_ref()).map_or(0, |f| f.len())
    }

    pub fn touch(&mut self) {
        self.dirty = true;
    }
}

/// The message, session and number of a stored row: what the simulator checks.
#[cfg(feature = "sim")]
pub(crate) fn place_of(row: &OutboxRow) -> Option<(SessionTag, u64, bool)> {
    Item::restore(row)?.place.map(|p| (p.session, p.number, p.frame.is_some()))
}

/// Whether the message of a row may be with the other side; a row that is gone was told: what the
/// simulator checks.
#[cfg(feature = "sim")]
pub(crate) fn has_left(row: Option<&OutboxRow>) -> bool {
    row.and_then(Item::restore).is_none_or(|item| item.left)
}

/// What became of the words of a deleted message in a queue.
#[derive(Debug)]
pub(crate) struct Withdrawn {
    /// Rows that are gone, and their messages.
    pub gone: Vec<(u64, EntryId)>,
    /// The other side may have the message: it is to hear that it was deleted.
    pub to_tell: bool,
}

/// The message whose words a stored row says, its own or an edit's: what the simulator checks.
#[cfg(feature = "sim")]
pub(crate) fn words_of(row: &OutboxRow) -> Option<EntryId> {
    let said = Said::decode(&Item::restore(row)?.said).ok()?;
    match Kind::from_code(said.kind)? {
        Kind::Text => Some(said.id),
        Kind::Edit => Content::decode(Kind::Edit, &said.content).ok()?.target(),
        _ => None,
    }
}

/// Everything that waits for one device.
#[derive(Debug)]
pub(crate) struct Queue {
    pub identity: IdentityId,
    pub items: VecDeque<Item>,
    next_row: u64,
    /// Not before, on the steady clock.
    pub retry_ms: u64,
    failures: usize,
    /// A question for a bundle, or a receipt, is on its way.
    pub asking: Option<RequestId>,
    pub signalling: Option<RequestId>,
    /// A lost session may be replaced at once: there was a new link since the last time.
    pub may_reset: bool,
    /// Tell that one is writing, or no longer.
    pub typing: Option<bool>,
}

impl Queue {
    pub fn new(identity: IdentityId) -> Self {
        Self {
            identity,
            items: VecDeque::new(),
            next_row: 0,
            retry_ms: 0,
            failures: 0,
            asking: None,
            signalling: None,
            may_reset: true,
            typing: None,
        }
    }

    /// A row that is in the store. Rows that cannot be read are given up.
    pub fn restore(&mut self, row: &OutboxRow) -> bool {
        self.next_row = self.next_row.max(row.seq + 1);
        let item = Item::restore(row);
        let good = item.is_some();
        self.items.extend(item);
        good
    }

    /// `queued`: Unix milliseconds, and how long the node had run until then.
    pub fn push(&mut self, id: EntryId, seq: u64, said: Arc<[u8]>, queued: (u64, u64)) {
        let (row, place) = (self.next_row, None);
        self.next_row += 1;
        self.items.push_back(Item {
            row,
            id,
            seq,
            queued_ms: queued.0,
            queued_ran_ms: queued.1,
            said,
            place,
            left: false,
            flight: None,
            unreadable: 0,
            dirty: true,
        });
        // A new message is a reason to try again at once.
        self.again();
    }

    /// An own message was deleted: what says its words and never left goes, what may have left
    /// says under its number no more than that the message is gone.
    pub fn withdraw(&mut self, target: EntryId) -> Withdrawn {
        let mut out = Withdrawn { gone: Vec::new(), to_tell: true };
        if planted!(DeletedStaysQueued) {
            return out;
        }
        self.items.retain_mut(|item| {
            let Ok(said) = Said::decode(&item.said) else { return true };
            let change = Kind::from_code(said.kind)
                .and_then(|kind| Content::decode(kind, &said.content).ok())
                .and_then(|content| content.target());
            let words = said.kind != Kind::Delete.code();
            if !words || (item.id != target && change != Some(target)) {
                return true;
            }
            if item.left && said.kind == Kind::Reaction.code() {
                // It says no words.
                return true;
            }
            if !item.left {
                out.to_tell &= item.id != target;
                out.gone.push((item.row, item.id));
                return false;
            }
            let content = Content::Delete { target };
            let kind = content.kind().code();
            item.said = Said { kind, content: content.encode(), ..said }.encode().into();
            if let Some(place) = &mut item.place {
                place.frame = None;
            }
            item.touch();
            true
        });
        out
    }

    /// Begins again with the shortest pause.
    pub fn again(&mut self) {
        self.failures = 0;
        self.retry_ms = 0;
    }

    /// A try failed.
    pub fn failed(&mut self, now: u64) {
        let pause = DIRECT_RETRY_MS.get(self.failures).copied().unwrap_or(DIRECT_RETRY_MS_MAX);
        self.failures += 1;
        self.retry_ms = if planted!(DirectNoRetry) { u64::MAX } else { now + pause };
    }

    /// The link ended: nothing is on its way any more. Returns the highest position that was.
    pub fn unlink(&mut self) -> Option<u64> {
        (self.asking, self.signalling, self.typing) = (None, None, None);
        self.items.iter_mut().filter_map(|i| i.flight.take().map(|_| i.seq)).max()
    }

    /// Rows that changed.
    pub fn writes(&mut self, device: DeviceId) -> impl Iterator<Item = Write> + '_ {
        let identity = self.identity;
        self.items.iter_mut().filter(|i| i.dirty).map(move |item| {
            item.dirty = false;
            Write::Outbox(OutboxRow {
                device,
                identity,
                seq: item.row,
                id: item.id,
                queued_ms: item.queued_ms,
                frame: item.encode(),
                sealed: item.place.as_ref().is_some_and(|p| p.frame.is_some()),
            })
        })
    }

    /// Frames sealed in a session from the oldest that waits there, if one does.
    pub fn oldest_in(&self, session: SessionTag) -> Option<u64> {
        let places = self.items.iter().filter_map(|i| i.place.as_ref());
        places.filter(|p| p.session == session).map(|p| p.at).min()
    }

    /// Whether anything is to be done for this device.
    pub fn is_idle(&self) -> bool {
        self.items.is_empty()
            && self.typing.is_none()
            && self.signalling.is_none()
            && self.asking.is_none()
    }
}
