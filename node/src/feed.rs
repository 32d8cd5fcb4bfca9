//! Live events, from the driver to everybody who listens: one ring for the whole node, bounded in
//! events and in bytes.
//!
//! Nobody holds up the driver or another listener. Who is too slow for the ring is told what it
//! missed: durable events are in the journal, ephemeral ones are counted. Events are a hint, the
//! store is the truth.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use klatch_core::event::{Event, Told};
use tokio::sync::watch;

use crate::clock::now_ms;

/// Events kept for those who are behind: four seconds at the fastest rate that is taken from one
/// device.
const EVENTS_MAX: usize = 4_096;
/// Bytes of text kept for them, however many they are: a stalled listener costs the node no more
/// than this.
const BYTES_MAX: usize = 8 << 20;
/// What an event takes beside its text, about.
const EVENT_BYTES: usize = 512;

/// An event while it is news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// When it was told, Unix milliseconds.
    pub at_ms: u64,
    /// What.
    pub told: Told,
}

impl Deref for Live {
    type Target = Told;

    fn deref(&self) -> &Told {
        &self.told
    }
}

/// Why there is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// The listener was too slow: re-read the journal. The next call goes on with what is still
    /// there.
    #[error("{events} events were missed, {ephemeral} of them for good")]
    Missed {
        /// How many.
        events: u64,
        /// How many of them are not in the journal.
        ephemeral: u64,
    },
    /// The node has ended.
    #[error("the node has ended")]
    Closed,
}

#[derive(Debug, Default)]
struct Ring {
    /// Each with the number of ephemeral events before it, and its size.
    slots: VecDeque<(Arc<Live>, u64, usize)>,
    bytes: usize,
    /// Position of the next event, counted from the start of the node.
    next: u64,
    /// Ephemeral events so far.
    ephemeral: u64,
    closed: bool,
}

impl Ring {
    fn first(&self) -> u64 {
        self.next - self.slots.len() as u64
    }

    fn push(&mut self, live: Live) {
        let size = bytes(&live.event);
        self.bytes += size;
        let ephemeral = u64::from(live.journal.is_none());
        self.slots.push_back((Arc::new(live), self.ephemeral, size));
        self.next += 1;
        self.ephemeral += ephemeral;
        // The newest always stays, however large it is.
        while self.slots.len() > EVENTS_MAX || (self.bytes > BYTES_MAX && self.slots.len() > 1) {
            if let Some((_, _, size)) = self.slots.pop_front() {
                self.bytes -= size;
            }
        }
    }
}

fn bytes(event: &Event) -> usize {
    EVENT_BYTES + if let Event::MessageAdded { message } = event { message.text.len() } else { 0 }
}

/// Where the driver puts events. Clones are the same feed.
#[derive(Debug, Clone)]
pub struct Feed {
    ring: Arc<Mutex<Ring>>,
    news: watch::Sender<u64>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { ring: Arc::default(), news: watch::Sender::new(0) }
    }
}

impl Feed {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody who listens.
    pub fn tell(&self, told: Told) {
        let next = {
            let mut ring = self.ring();
            ring.push(Live { at_ms: now_ms(), told });
            ring.next
        };
        self.news.send_replace(next);
    }

    /// The node ends: who listens hears what is left, then that it is over.
    pub fn close(&self) {
        self.ring().closed = true;
        self.news.send_modify(|_| ());
    }

    /// Listens from now on.
    #[must_use]
    pub fn listen(&self) -> Listener {
        let news = self.news.subscribe();
        let ring = self.ring();
        Listener { at: ring.next, ephemeral: ring.ephemeral, feed: self.clone(), news }
    }
}

/// One who listens. Holds no event: the ring does, for all.
#[derive(Debug)]
pub struct Listener {
    feed: Feed,
    news: watch::Receiver<u64>,
    at: u64,
    ephemeral: u64,
}

impl Listener {
    /// The next event. May be dropped and called again without losing anything.
    ///
    /// # Errors
    /// [`FeedError::Missed`] once after falling behind; [`FeedError::Closed`] at the end.
    pub async fn recv(&mut self) -> Result<Arc<Live>, FeedError> {
        loop {
            self.news.mark_unchanged();
            if let Some(found) = self.take() {
                return found;
            }
            if self.news.changed().await.is_err() {
                return Err(FeedError::Closed);
            }
        }
    }

    /// Passes over everything that was told until now, and waits for more.
    pub async fn changed(&mut self) {
        {
            let ring = self.feed.ring();
            (self.at, self.ephemeral) = (ring.next, ring.ephemeral);
        }
        if self.recv().await == Err(FeedError::Closed) {
            std::future::pending::<()>().await;
        }
    }

    fn take(&mut self) -> Option<Result<Arc<Live>, FeedError>> {
        let ring = self.feed.ring();
        let first = ring.first();
        if self.at < first {
            let before = ring.slots.front().map_or(ring.ephemeral, |(_, before, _)| *before);
            let missed =
                FeedError::Missed { events: first - self.at, ephemeral: before - self.ephemeral };
            (self.at, self.ephemeral) = (first, before);
            return Some(Err(missed));
        }
        let slot = usize::try_from(self.at - first).ok().and_then(|i| ring.slots.get(i));
        let Some((live, before, _)) = slot else {
            return ring.closed.then_some(Err(FeedError::Closed));
        };
        (self.at, self.ephemeral) = (self.at + 1, before + u64::from(live.journal.is_none()));
        Some(Ok(live.clone()))
    }
}

#[cfg(test)]
mod tests {
    use klatch_core::ids::RoomId;

    use super::*;

    const ROOM: RoomId = RoomId([1; 16]);

    fn durable(journal: u64) -> Told {
        Told { journal: Some(journal), event: Event::RoomLeft { room: ROOM } }
    }

    fn ephemeral() -> Told {
        Event::Synced { room: ROOM }.into()
    }

    #[tokio::test]
    async fn everybody_hears_everything_in_order() {
        let feed = Feed::default();
        feed.tell(durable(1));
        let (mut a, mut b) = (feed.listen(), feed.listen());
        let writer = feed.clone();
        let told = tokio::spawn(async move {
            for n in 2..100 {
                writer.tell(durable(n));
                tokio::task::yield_now().await;
            }
            writer.close();
        });
        for listener in [&mut a, &mut b] {
            for n in 2..100 {
                assert_eq!(
                    listener.recv().await.unwrap().journal,
                    Some(n),
                    "what came before is not heard"
                );
            }
            assert_eq!(listener.recv().await, Err(FeedError::Closed));
        }
        told.await.unwrap();
    }

    #[tokio::test]
    async fn who_is_too_slow_hears_what_was_missed_and_goes_on() {
        let feed = Feed::default();
        let mut slow = feed.listen();
        for n in 0..EVENTS_MAX as u64 {
            feed.tell(durable(n));
        }
        for _ in 0..10 {
            feed.tell(ephemeral());
        }
        feed.tell(ephemeral());
        assert_eq!(slow.recv().await, Err(FeedError::Missed { events: 11, ephemeral: 0 }));
        assert_eq!(slow.recv().await.unwrap().journal, Some(11));
        for n in 0..EVENTS_MAX as u64 {
            feed.tell(durable(n));
        }
        let missed = slow.recv().await.unwrap_err();
        assert_eq!(missed, FeedError::Missed { events: EVENTS_MAX as u64 - 1, ephemeral: 11 });
        assert_eq!(slow.recv().await.unwrap().journal, Some(0));
    }

    #[test]
    fn bytes_are_bounded_as_well_as_events() {
        let feed = Feed::default();
        let text = "x".repeat(64_000);
        for n in 0..1_000 {
            let message = message(n, &text);
            feed.tell(Event::MessageAdded { message: Box::new(message) }.into());
        }
        let ring = feed.ring();
        assert!(
            ring.bytes <= BYTES_MAX && ring.slots.len() > 100,
            "{} in {}",
            ring.bytes,
            ring.slots.len()
        );
        assert_eq!(ring.bytes, ring.slots.iter().map(|s| s.2).sum::<usize>());
    }

    fn message(journal: u64, text: &str) -> klatch_core::event::Message {
        klatch_core::event::Message {
            id: klatch_core::ids::EntryId([0; 16]),
            room: ROOM,
            direct: false,
            journal,
            device: klatch_core::ids::DeviceId([0; 32]),
            identity: None,
            name: String::new(),
            name_mark: None,
            former_name: None,
            seq: 0,
            kind: klatch_core::content::Kind::Text,
            text: text.to_owned(),
            reply_to: None,
            target: None,
            at_ms: 0,
            arrived_ms: 0,
            own: false,
            state: None,
            edited: false,
            deleted: false,
            missing: false,
            lack: None,
            reactions: Vec::new(),
        }
    }
}
