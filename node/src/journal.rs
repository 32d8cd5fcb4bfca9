//! The journal: everything durable that happened in this profile, in the order in which it happened
//! here, under one sequence of numbers. Merges what several tables keep; a number that was read
//! once never gets another meaning.

use klatch_core::event::{Event, Message};
use klatch_core::ids::RoomId;
use klatch_core::query::Numbered;

use crate::history::{History, LINES_MAX};
use crate::people::People;
use crate::store::StoreError;

/// Which part of the journal.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// After this number; 0 for all.
    pub after: u64,
    /// At most so many events; capped at [`LINES_MAX`].
    pub limit: u32,
    /// Only what happened in this room or conversation.
    pub room: Option<RoomId>,
}

/// A part of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// In order.
    pub events: Vec<Numbered>,
    /// Nothing wanted up to this number is missing: where to go on.
    pub upto: u64,
    /// The newest number when this was read; what is newer is left to the next look.
    pub head: u64,
}

/// Where the journal begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest number that is kept; one more than `head` if there is none.
    pub oldest: u64,
    /// The newest; 0 if there is none.
    pub head: u64,
}

/// What one table has after a number.
struct Source {
    events: Vec<Numbered>,
    /// Nothing of this table up to here is missing.
    upto: u64,
}

impl Source {
    /// `full`: the table may have more, so it is only known up to the last number read.
    fn new(events: Vec<Numbered>, full: bool, head: u64) -> Self {
        let upto = events.last().filter(|_| full).map_or(head, |last| last.journal);
        Self { events, upto }
    }
}

/// Reads on from a number.
///
/// # Errors
/// [`StoreError`].
pub fn read(
    history: &History<'_>,
    people: &People<'_>,
    wanted: Wanted,
) -> Result<Stretch, StoreError> {
    // Commits go in the order of the numbers, so everything up to the head is there for all reads
    // that follow; what is committed between two of them has a higher number and is left out.
    let head = history.head()?;
    let limit = wanted.limit.clamp(1, LINES_MAX);
    let sources = [
        lines(history, wanted, limit, head)?,
        direct(people, wanted, limit, head)?,
        rest(history, wanted, limit, head)?,
    ];
    let upto = sources.iter().map(|s| s.upto).fold(head, u64::min);
    let mut events: Vec<Numbered> = sources
        .into_iter()
        .flat_map(|s| s.events)
        .filter(|e| e.journal <= upto)
        .filter(|e| concerns(e, wanted))
        .collect();
    events.sort_by_key(|e| e.journal);
    let more = events.len() > limit as usize;
    events.truncate(limit as usize);
    let upto = events.last().filter(|_| more).map_or(upto, |last| last.journal);
    Ok(Stretch { events, upto: upto.max(wanted.after.min(head)), head })
}

/// Where the journal begins and ends.
///
/// # Errors
/// [`StoreError`].
pub fn bounds(history: &History<'_>) -> Result<Bounds, StoreError> {
    let head = history.head()?;
    Ok(Bounds { oldest: history.reader().oldest()?.unwrap_or(head + 1), head })
}

/// Messages of rooms, and changes of them.
fn lines(
    history: &History<'_>,
    wanted: Wanted,
    limit: u32,
    head: u64,
) -> Result<Source, StoreError> {
    Ok(messages(history.journal(wanted.room, wanted.after, limit)?, limit, head))
}

/// Messages of conversations, and changes of them.
fn direct(
    people: &People<'_>,
    wanted: Wanted,
    limit: u32,
    head: u64,
) -> Result<Source, StoreError> {
    Ok(messages(people.journal(wanted.room, wanted.after, limit)?, limit, head))
}

fn messages(messages: Vec<Message>, limit: u32, head: u64) -> Source {
    let full = messages.len() >= limit as usize;
    let numbered = |message: Message| Numbered {
        journal: message.journal,
        at_ms: message.arrived_ms,
        event: Event::MessageAdded { message: Box::new(message) },
    };
    Source::new(messages.into_iter().map(numbered).collect(), full, head)
}

/// Everything else that has a number.
fn rest(
    history: &History<'_>,
    wanted: Wanted,
    limit: u32,
    head: u64,
) -> Result<Source, StoreError> {
    let events = history.reader().events(wanted.after, limit as usize)?;
    let full = events.len() >= limit as usize;
    Ok(Source::new(events, full, head))
}

fn concerns(numbered: &Numbered, wanted: Wanted) -> bool {
    wanted.room.is_none_or(|room| room_of(&numbered.event) == Some(room))
}

/// The room or conversation that an event is about.
#[must_use]
pub fn room_of(event: &Event) -> Option<RoomId> {
    match event {
        Event::MessageAdded { message } => Some(message.room),
        Event::RoomJoined { room, .. }
        | Event::RoomLeft { room }
        | Event::Forgotten { room, .. }
        | Event::HistoryAdded { room, .. }
        | Event::BodiesAdded { room, .. }
        | Event::DeliveryChanged { room, .. }
        | Event::PresenceChanged { room, .. }
        | Event::Synced { room }
        | Event::ForkFound { room, .. }
        | Event::DiskBudgetReached { room }
        | Event::ContactChanged { room, .. }
        | Event::Typing { room, .. } => Some(*room),
        _ => None,
    }
}
