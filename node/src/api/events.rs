//! Subscriptions: replay the journal after a cursor, then follow live events, without a gap or a
//! double in between.
//!
//! A subscriber is always in one of two states. In step, it takes live events as they come; each
//! durable one must be the next number. Behind (at first, after a catch-up, when it read too
//! slowly, or when a number is missing), it reads the journal from its cursor until it is in step.
//! So a slow subscriber costs nobody anything and misses nothing that is kept; what is not kept is
//! counted and announced.

use std::collections::VecDeque;

use klatch_core::event::{Event, GapReason};
use klatch_core::query::Numbered;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::out::{Gone, Out};
use super::registry::Method;
use super::rights::Rights;
use super::rpc::{RpcError, notification};
use super::topics::{Filter, body, kind, topic};
use crate::Node;
use crate::clock::now_ms;
use crate::feed::{FeedError, Listener};
use crate::journal::{Bounds, Wanted};

/// Events read from the journal at once: with the longest texts 4 MB, in practice far less.
const PAGE: u32 = 64;
/// Prefixes of one subscription, and types. A front end needs one, or one per open room.
const TOPICS_MAX: usize = 512;
/// Events that `events.read` looks at in one call, whatever it finds: the caller goes on from the
/// cursor.
const SCAN_MAX: u64 = 4_096;
/// Bytes after which `events.read` answers with what it has.
const READ_BYTES_MAX: usize = 1 << 20;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Start,
    Now,
    Cursor(u64),
}

impl After {
    /// A journal number, `start` or `now`; numbers also as text, with or without `j:`.
    pub(super) fn parse(value: &Value) -> Result<Self, RpcError> {
        let number =
            |text: &str| text.strip_prefix("j:").unwrap_or(text).parse().map(Self::Cursor).ok();
        let found = match value {
            Value::String(s) if s == "start" => Some(Self::Start),
            Value::String(s) if s == "now" => Some(Self::Now),
            Value::String(s) => number(s),
            Value::Number(n) => n.as_u64().map(Self::Cursor),
            _ => None,
        };
        found.ok_or_else(|| {
            RpcError::params("`after` is not a cursor", "a journal number, \"start\" or \"now\"")
        })
    }

    /// The cursor to begin with, and what cannot be told.
    fn resolve(self, bounds: Bounds) -> (u64, Option<Event>) {
        let gap = |from, to, reason| Some(Event::Gap { from, to, reason });
        let before = bounds.oldest.saturating_sub(1);
        match self {
            Self::Start => (before.min(bounds.head), None),
            Self::Now => (bounds.head, None),
            Self::Cursor(n) if n > bounds.head => {
                (bounds.head, gap(bounds.head + 1, n, GapReason::Ahead))
            }
            Self::Cursor(n) if n < before => (before, gap(n + 1, before, GapReason::Retention)),
            Self::Cursor(n) => (n, None),
        }
    }
}

#[derive(Deserialize)]
struct Params {
    #[serde(default)]
    topics: Vec<String>,
    #[serde(default)]
    types: Vec<String>,
    after: Value,
    #[serde(default)]
    summary: bool,
    #[serde(default)]
    limit: u32,
}

impl Params {
    fn parse(method: &Method, params: Map<String, Value>) -> Result<Self, RpcError> {
        let p: Self =
            serde_json::from_value(Value::Object(params)).map_err(|e| method.mismatch(&e))?;
        if p.topics.len() > TOPICS_MAX || p.types.len() > TOPICS_MAX {
            let text = format!("at most {TOPICS_MAX} topics and types");
            return Err(RpcError::params(text, "a prefix such as `room/` covers many"));
        }
        Ok(p)
    }
}

/// One event on its way to a subscriber.
#[derive(Debug)]
pub(super) struct Item {
    /// Its journal number, if it is kept.
    pub(super) cursor: Option<u64>,
    /// Unix milliseconds.
    pub(super) at_ms: u64,
    pub(super) topic: String,
    pub(super) event: Event,
}

impl Item {
    fn new(cursor: Option<u64>, at_ms: u64, event: Event) -> Self {
        Self { cursor, at_ms, topic: topic(&event), event }
    }

    /// As subscribers get it.
    pub(super) fn json(&self) -> Value {
        let mut value = json!({
            "cursor": self.cursor, "at_ms": self.at_ms, "topic": self.topic,
            "type": kind(&self.event), "event": body(&self.event),
        });
        if self.cursor.is_none() {
            value["ephemeral"] = true.into();
        }
        value
    }
}

/// The node is gone.
pub(super) struct Ended;

/// One who follows the journal.
pub(super) struct Follower {
    node: Node,
    live: Listener,
    filter: Filter,
    summary: bool,
    /// Everything up to this journal number was told, or is before the subscription.
    pub(super) cursor: u64,
    pub(super) bounds: Bounds,
    pub(super) gap: Option<Event>,
    /// Read from the journal and not yet told.
    page: VecDeque<Numbered>,
    /// Where the cursor is when the page is told.
    upto: u64,
    behind: bool,
    owed: VecDeque<Event>,
}

impl Follower {
    /// Finds the cursor. The live feed is taken first, so that nothing falls in between.
    pub(super) async fn open(
        node: &Node,
        after: After,
        filter: Filter,
        summary: bool,
    ) -> Result<Self, RpcError> {
        let live = node.subscribe();
        let bounds = node.journal_bounds().await?;
        let (cursor, gap) = after.resolve(bounds);
        let owed = gap.clone().into_iter().collect();
        let (page, behind) = (VecDeque::new(), cursor < bounds.head);
        Ok(Self {
            node: node.clone(),
            live,
            filter,
            summary,
            cursor,
            bounds,
            gap,
            page,
            upto: cursor,
            behind,
            owed,
        })
    }

    /// The next event that is wanted.
    pub(super) async fn next(&mut self) -> Result<Item, Ended> {
        loop {
            let found = match self.page.pop_front() {
                Some(read) => {
                    self.cursor = self.cursor.max(read.journal);
                    Some(Item::new(Some(read.journal), read.at_ms, read.event))
                }
                None => {
                    self.cursor = self.cursor.max(self.upto);
                    match self.owed.pop_front() {
                        Some(event) => Some(Item::new(None, now_ms(), event)),
                        None if self.behind => self.catch_up().await?,
                        None => self.follow().await?,
                    }
                }
            };
            if let Some(item) = found.filter(|item| self.filter.wants(&item.topic, &item.event)) {
                return Ok(item);
            }
        }
    }

    /// Reads a page.
    async fn catch_up(&mut self) -> Result<Option<Item>, Ended> {
        let wanted = Wanted { after: self.cursor, limit: PAGE, room: self.filter.only_room() };
        let stretch = self.node.journal(wanted).await.map_err(|_| Ended)?;
        self.behind = stretch.upto < stretch.head;
        self.upto = stretch.upto;
        self.page = stretch.events.into();
        Ok(None)
    }

    /// Waits for a live event.
    async fn follow(&mut self) -> Result<Option<Item>, Ended> {
        let live = match self.live.recv().await {
            Ok(live) => live,
            Err(FeedError::Closed) => return Err(Ended),
            Err(FeedError::Missed { events, ephemeral }) => {
                self.behind = events > ephemeral;
                self.owed.extend((ephemeral > 0).then_some(Event::Lagged { missed: ephemeral }));
                return Ok(None);
            }
        };
        let item = || Some(Item::new(live.journal, live.at_ms, live.event.clone()));
        let Some(journal) = live.journal else { return Ok(item()) };
        if journal <= self.cursor {
            return Ok(None);
        }
        let summary = matches!(live.event, Event::HistoryAdded { .. });
        if (summary && self.summary) || (!summary && journal == self.cursor + 1) {
            self.cursor = journal;
            return Ok(item());
        }
        self.behind = true;
        Ok(None)
    }
}

/// A subscription that is ready to run.
pub(super) struct Subscription {
    follower: Follower,
    rights: Rights,
    sub: String,
}

impl Subscription {
    /// Reads the parameters and finds the cursor.
    pub(super) async fn open(
        node: &Node,
        rights: &Rights,
        method: &Method,
        params: Map<String, Value>,
        sub: String,
    ) -> Result<Self, RpcError> {
        let p = Params::parse(method, params)?;
        let filter = Filter { topics: p.topics, types: p.types, within: rights.room() };
        let follower = Follower::open(node, After::parse(&p.after)?, filter, p.summary).await?;
        Ok(Self { follower, rights: rights.clone(), sub })
    }

    /// What answers the call. It goes out before the first event.
    pub(super) fn answer(&self) -> Value {
        let Follower { cursor, bounds, gap, .. } = &self.follower;
        json!({"sub": self.sub, "cursor": cursor, "oldest": bounds.oldest, "head": bounds.head, "gap": gap_json(gap)})
    }

    /// Runs until the connection or the node ends, or the token is worth nothing any more.
    pub(super) async fn run(mut self, out: Out) {
        let mut seq = 0_u64;
        while let Ok(item) = self.follower.next().await {
            if !self.rights.valid() {
                return;
            }
            seq += 1;
            let mut params = item.json();
            params["sub"] = self.sub.as_str().into();
            params["seq"] = seq.into();
            if let Err(Gone) = out.say(notification("event", &params)).await {
                return;
            }
        }
    }
}

fn gap_json(gap: &Option<Event>) -> Value {
    match gap {
        Some(Event::Gap { from, to, reason }) => json!({"from": from, "to": to, "reason": reason}),
        _ => Value::Null,
    }
}

/// `events.read`: some of the journal after a cursor, without staying.
pub(super) async fn read(
    node: &Node,
    rights: &Rights,
    method: &Method,
    params: Map<String, Value>,
) -> Result<Value, RpcError> {
    let p = Params::parse(method, params)?;
    let filter = Filter { topics: p.topics, types: p.types, within: rights.room() };
    let bounds = node.journal_bounds().await?;
    let (mut cursor, gap) = After::parse(&p.after)?.resolve(bounds);
    let (limit, room) = (p.limit.clamp(1, crate::history::LINES_MAX) as usize, filter.only_room());
    let (mut events, mut bytes, mut looked, mut head) = (Vec::new(), 0, 0, bounds.head);
    'pages: while cursor < head && looked < SCAN_MAX {
        let stretch = node.journal(Wanted { after: cursor, limit: PAGE, room }).await?;
        head = stretch.head;
        for read in stretch.events {
            looked += 1;
            cursor = read.journal;
            let item = Item::new(Some(read.journal), read.at_ms, read.event);
            if !filter.wants(&item.topic, &item.event) {
                continue;
            }
            bytes += if let Event::MessageAdded { message } = &item.event {
                message.text.len()
            } else {
                0
            };
            events.push(item.json());
            if events.len() >= limit || bytes >= READ_BYTES_MAX {
                break 'pages;
            }
        }
        cursor = cursor.max(stretch.upto);
    }
    let more = cursor < head;
    Ok(json!({
        "events": events, "cursor": cursor, "oldest": bounds.oldest, "head": head, "gap": gap_json(&gap), "more": more,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_numbers_or_words() {
        for (text, after) in [
            (json!(7), After::Cursor(7)),
            (json!("7"), After::Cursor(7)),
            (json!("j:7"), After::Cursor(7)),
            (json!("start"), After::Start),
            (json!("now"), After::Now),
        ] {
            assert_eq!(After::parse(&text).unwrap(), after);
        }
        for bad in [
            json!(-1),
            json!("yesterday"),
            json!(1.5),
            json!(null),
            json!("j:"),
            json!("99999999999999999999"),
        ] {
            assert!(After::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cursor_that_leads_to_nowhere_is_announced() {
        let bounds = Bounds { oldest: 11, head: 20 };
        assert_eq!(After::Start.resolve(bounds), (10, None));
        assert_eq!(After::Now.resolve(bounds), (20, None));
        assert_eq!(After::Cursor(10).resolve(bounds), (10, None));
        assert_eq!(After::Cursor(20).resolve(bounds), (20, None));
        let evicted = Event::Gap { from: 4, to: 10, reason: GapReason::Retention };
        assert_eq!(After::Cursor(3).resolve(bounds), (10, Some(evicted)));
        let ahead = Event::Gap { from: 21, to: 25, reason: GapReason::Ahead };
        assert_eq!(After::Cursor(25).resolve(bounds), (20, Some(ahead)));
        let empty = Bounds { oldest: 1, head: 0 };
        assert_eq!(After::Start.resolve(empty), (0, None));
        assert_eq!(After::Cursor(0).resolve(empty), (0, None));
    }
}
