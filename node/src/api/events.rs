//! Subscriptions: replay messages from the journal after a cursor, then follow live events, without a gap between.
//!
//! A subscriber that is too slow for the live queue costs nobody anything: it is told that it lagged and reads the journal
//! from its cursor. Only ephemeral events (presence, delivery) are lost then; who needs them re-reads.

use klatch_core::content::Kind;
use klatch_core::event::Event;
use klatch_core::ids::RoomId;
use klatch_core::query::{Answer, Query};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;

use super::registry::Method;
use super::rpc::{RpcError, notification};
use crate::{Node, NodeEvent};

/// Messages read from the journal at once: with the longest texts 4 MB, in practice far less.
const PAGE: u32 = 64;
/// Prefixes of one subscription. A front end needs one, or one per open room.
const TOPICS_MAX: usize = 512;

#[derive(Deserialize)]
struct Params {
    topics: Vec<String>,
    after: Value,
    summary: bool,
}

/// A subscription that is ready to run.
pub(super) struct Subscription {
    node: Node,
    live: broadcast::Receiver<NodeEvent>,
    topics: Vec<String>,
    summary: bool,
    /// Everything up to this journal number was told.
    pub(super) cursor: u64,
    sub: String,
}

impl Subscription {
    /// Reads the parameters and finds the cursor. The live queue is taken first, so that nothing falls in between.
    pub(super) async fn open(
        node: &Node,
        method: &Method,
        params: Map<String, Value>,
        sub: String,
    ) -> Result<Self, RpcError> {
        let live = node.subscribe();
        let p: Params = serde_json::from_value(Value::Object(params)).map_err(|e| method.mismatch(&e))?;
        if p.topics.len() > TOPICS_MAX {
            return Err(RpcError::params(
                format!("at most {TOPICS_MAX} topics"),
                "a prefix such as `room/` covers many",
            ));
        }
        let cursor = match &p.after {
            Value::String(s) if s == "start" => 0,
            Value::String(s) if s == "now" => head(node).await?,
            Value::Number(n) if n.is_u64() => n.as_u64().unwrap_or_default(),
            _ => return Err(RpcError::params("`after` is not a cursor", "a journal number, \"start\" or \"now\"")),
        };
        Ok(Self { node: node.clone(), live, topics: p.topics, summary: p.summary, cursor, sub })
    }

    /// Runs until the connection or the node ends.
    pub(super) async fn run(mut self, out: mpsc::Sender<String>) {
        if self.replay(&out).await.is_err() {
            return;
        }
        while self.step(&out).await.is_ok() {}
    }

    async fn step(&mut self, out: &mpsc::Sender<String>) -> Result<(), Ended> {
        let event = match self.live.recv().await {
            Ok(event) => event,
            Err(RecvError::Closed) => return Err(Ended),
            Err(RecvError::Lagged(missed)) => {
                self.replay(out).await?;
                return self.tell(None, &Event::Lagged { missed }, out).await;
            }
        };
        match &event.event {
            Event::MessageAdded { message } => {
                if message.journal <= self.cursor {
                    return Ok(());
                }
                self.cursor = message.journal;
                self.tell(Some(message.journal), &event.event, out).await
            }
            Event::HistoryAdded { upto, .. } if *upto <= self.cursor => Ok(()),
            Event::HistoryAdded { upto, .. } if self.summary => {
                self.cursor = *upto;
                self.tell(Some(*upto), &event.event, out).await
            }
            Event::HistoryAdded { .. } => self.replay(out).await,
            other => self.tell(event.journal, other, out).await,
        }
    }

    /// Tells every message after the cursor that is in the store now.
    async fn replay(&mut self, out: &mpsc::Sender<String>) -> Result<(), Ended> {
        let room = self.only_room();
        loop {
            let page = journal(&self.node, room.clone(), self.cursor, PAGE).await.map_err(|_| Ended)?;
            let full = page.len() >= PAGE as usize;
            for message in page {
                self.cursor = self.cursor.max(message.journal);
                self.tell(Some(message.journal), &Event::MessageAdded { message: Box::new(message) }, out).await?;
            }
            if !full {
                return Ok(());
            }
        }
    }

    /// The room all topics are about, if there is one: its journal is shorter than that of the profile.
    fn only_room(&self) -> Option<String> {
        let mut rooms = self.topics.iter().map(|t| {
            let id = t.strip_prefix("room/")?.split('/').next()?;
            RoomId::parse(id).map(|_| id)
        });
        let first = rooms.next()??;
        rooms.all(|r| r == Some(first)).then(|| first.to_owned())
    }

    async fn tell(&self, journal: Option<u64>, event: &Event, out: &mpsc::Sender<String>) -> Result<(), Ended> {
        let topic = topic(event);
        let always = matches!(event, Event::Lagged { .. });
        if !always && !self.topics.is_empty() && !self.topics.iter().any(|t| topic.starts_with(t.as_str())) {
            return Ok(());
        }
        let params = json!({"sub": self.sub, "cursor": journal, "topic": topic, "event": event});
        out.send(notification("event", &params)).await.map_err(|_| Ended)
    }
}

/// The connection or the node is gone.
struct Ended;

async fn journal(
    node: &Node,
    room: Option<String>,
    after: u64,
    limit: u32,
) -> Result<Vec<klatch_core::event::Message>, RpcError> {
    match node.query(Query::Journal { room, after, limit }).await? {
        Answer::Messages(messages) => Ok(messages),
        _ => Ok(Vec::new()),
    }
}

/// The journal number of the newest message, found with about two look-ups per binary digit.
async fn head(node: &Node) -> Result<u64, RpcError> {
    let mut known = 0_u64;
    let mut step = 1_u64;
    // Invariant: a message with number `known` exists, or `known` is 0.
    loop {
        match journal(node, None, known.saturating_add(step - 1), 1).await?.first() {
            Some(next) => {
                known = next.journal;
                step = step.saturating_mul(2);
            }
            None if step == 1 => return Ok(known),
            None => step /= 2,
        }
    }
}

/// Where an event belongs: subscribers filter by prefix. Ids have a fixed length, so no prefix matches a neighbour.
pub(super) fn topic(event: &Event) -> String {
    match event {
        Event::MessageAdded { message } => {
            let leaf = match message.kind {
                Kind::Text | Kind::Notice | Kind::Newer(_) => "message",
                Kind::Edit => "edit",
                Kind::Delete => "delete",
                Kind::Reaction => "reaction",
                Kind::Profile | Kind::Leave => "member",
            };
            format!("{}/{}/{leaf}", if message.direct { "dm" } else { "room" }, message.room)
        }
        Event::HistoryAdded { room, .. } => format!("room/{room}/message"),
        Event::DeliveryChanged { room, direct, .. } => {
            format!("{}/{room}/receipt", if *direct { "dm" } else { "room" })
        }
        Event::PresenceChanged { room, .. } => format!("room/{room}/presence"),
        Event::Synced { room } => format!("room/{room}/sync"),
        Event::ForkFound { room, .. } => format!("room/{room}/fork"),
        Event::RoomJoined { room, .. } | Event::RoomLeft { room } | Event::DiskBudgetReached { room } => {
            format!("room/{room}/meta")
        }
        Event::ContactChanged { identity, .. } => format!("contact/{identity}/state"),
        Event::Typing { room, .. } => format!("dm/{room}/typing"),
        Event::PeerConnected { peer_id, .. } => format!("peer/{peer_id}/connected"),
        Event::PeerDisconnected { peer_id } => format!("peer/{peer_id}/disconnected"),
        Event::Lagged { .. } => "node/lagged".to_owned(),
        _ => "node/other".to_owned(),
    }
}
