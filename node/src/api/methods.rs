//! The methods that are more than one core command or query: `message.send` with a wait, `node.wait`.

use std::time::Duration;

use klatch_core::command::{Command, Reply};
use klatch_core::event::{Delivery, Message};
use klatch_core::ids::{EntryId, RoomId};
use klatch_core::query::{Answer, PeerSummary, Query, RoomSummary};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout_at};

use super::registry::{Answers, Method, Own, discover};
use super::rights::Rights;
use super::rpc::RpcError;
use crate::Node;
use crate::feed::Listener;

/// States are looked up at least this often while waiting, in case an event was missed.
const RECHECK: Duration = Duration::from_millis(250);
/// Nobody waits longer: a day, so that arithmetic on the deadline cannot overflow.
const TIMEOUT_MS_MAX: u64 = 86_400_000;

/// How far a message shall be before `message.send` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wait {
    /// On this disk.
    Stored,
    /// On a link to a member.
    Sent,
    /// At a relay or a member.
    Relayed,
    /// At every member.
    Delivered,
}

impl Wait {
    fn met(self, state: Option<Delivery>) -> bool {
        match (self, state) {
            (Self::Stored, _) | (Self::Sent, Some(Delivery::Sent | Delivery::Relayed)) => true,
            (Self::Relayed, Some(Delivery::Relayed)) => true,
            (Self::Sent | Self::Relayed, Some(Delivery::Delivered { n, .. })) => n > 0,
            (_, Some(Delivery::Read)) => true,
            (Self::Delivered, Some(Delivery::Delivered { n, m })) => n > 0 && n >= m,
            _ => false,
        }
    }
}

/// Answers every method but the subscriptions, which need the connection, and `node.stop`.
pub(super) async fn answer(
    node: &Node,
    method: &'static Method,
    params: Map<String, Value>,
) -> Result<Value, RpcError> {
    match method.answers {
        Answers::Command(tag) => to_value(&node.command(method.command(tag, params)?).await?),
        Answers::Query(tag) => to_value(&node.query(method.query(tag, params)?).await?),
        Answers::Own(Own::Send) => send(node, method, params).await,
        Answers::Own(Own::Wait) => wait(node, method, params).await,
        Answers::Own(Own::Read) => super::events::read(node, &Rights::default(), method, params).await,
        Answers::Own(Own::Topics) => Ok(super::topics::list()),
        Answers::Own(Own::Ping) => Ok("pong".into()),
        Answers::Own(Own::Discover) => Ok(discover()),
        Answers::Own(Own::Stop | Own::Subscribe | Own::Unsubscribe) => {
            Err(RpcError::failed("this connection cannot do that", "KLATCH-API-METHOD", "use the node's socket", 1))
        }
    }
}

fn to_value<T: serde::Serialize>(value: &T) -> Result<Value, RpcError> {
    serde_json::to_value(value).map_err(|e| {
        RpcError::failed(format!("the answer is not JSON: {e}"), "KLATCH-INTERNAL", "please report this", 1)
    })
}

fn deadline(timeout_ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(timeout_ms.min(TIMEOUT_MS_MAX))
}

#[derive(Deserialize)]
struct SendParams {
    room: String,
    text: String,
    reply_to: Option<EntryId>,
    wait: Wait,
    timeout_ms: u64,
}

async fn send(node: &Node, method: &Method, params: Map<String, Value>) -> Result<Value, RpcError> {
    let p: SendParams = serde_json::from_value(Value::Object(params)).map_err(|e| method.mismatch(&e))?;
    let mut events = node.subscribe();
    let command = Command::SendMessage { room: p.room, text: p.text, reply_to: p.reply_to };
    let reply = node.command(command).await?;
    let mut value = to_value(&reply)?;
    let Reply::Stored { message, room, .. } = reply else { return Ok(value) };
    if p.wait == Wait::Stored {
        return Ok(value);
    }
    let deadline = deadline(p.timeout_ms);
    loop {
        let state = find_message(node, room, message).await?.and_then(|m| m.state);
        value["state"] = to_value(&state)?;
        if p.wait.met(state) {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            return Err(not_there_yet(state).with_partial(value));
        }
        next_change(&mut events, deadline).await;
    }
}

/// The error of a wait that ended early: some have it (8), or none (6).
fn not_there_yet(state: Option<Delivery>) -> RpcError {
    let hint = "it is stored and goes out by itself while a node runs: `klatch up`";
    match state {
        Some(Delivery::Delivered { n, m }) if n > 0 => {
            let mut error = RpcError::timeout(format!("delivered to {n} of {m} so far"), hint);
            error.data.code = "KLATCH-PARTLY-DELIVERED".to_owned();
            error.data.exit = 8;
            error
        }
        Some(Delivery::Sent) => RpcError::timeout("sent, but nobody has confirmed it yet", hint),
        _ => RpcError::timeout("nobody could be reached in time", hint),
    }
}

/// Sleeps until something happened, at most [`RECHECK`] and not beyond the deadline. What happened does not matter: the
/// caller reads the store again.
async fn next_change(events: &mut Listener, deadline: Instant) {
    let until = deadline.min(Instant::now() + RECHECK);
    // Either way it is time to look again.
    let _ = timeout_at(until, events.changed()).await;
}

async fn find_message(node: &Node, room: RoomId, message: EntryId) -> Result<Option<Message>, RpcError> {
    use klatch_core::error::CommandError::UnknownMessage;
    match node.query(Query::Message { room: room.to_string(), message }).await {
        Ok(Answer::Message(found)) => Ok(Some(*found)),
        Ok(_) | Err(UnknownMessage { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[derive(Deserialize)]
struct WaitParams {
    target: String,
    timeout_ms: u64,
}

async fn wait(node: &Node, method: &Method, params: Map<String, Value>) -> Result<Value, RpcError> {
    let p: WaitParams = serde_json::from_value(Value::Object(params)).map_err(|e| method.mismatch(&e))?;
    let target = Target::parse(&p.target).ok_or_else(|| {
        RpcError::params("that cannot be waited for", "node, peer, peer:NAME, room:ROOM or delivered:MESSAGE")
    })?;
    let mut events = node.subscribe();
    let deadline = deadline(p.timeout_ms);
    loop {
        if let Some(found) = target.look(node).await? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(RpcError::timeout(format!("{} was not ready in time", target.words()), target.hint()));
        }
        next_change(&mut events, deadline).await;
    }
}

/// What `node.wait` can wait for.
enum Target {
    Node,
    Peer(Option<String>),
    Room(String),
    Delivered(EntryId),
}

impl Target {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "node" => Some(Self::Node),
            None if text == "peer" => Some(Self::Peer(None)),
            Some(("peer", who)) => Some(Self::Peer(Some(who.trim_start_matches('@').to_owned()))),
            Some(("room", room)) => Some(Self::Room(room.to_owned())),
            Some(("delivered", id)) => EntryId::parse(id).map(Self::Delivered),
            _ => None,
        }
    }

    fn words(&self) -> &'static str {
        match self {
            Self::Node => "the node",
            Self::Peer(_) => "the peer",
            Self::Room(_) => "the room",
            Self::Delivered(_) => "delivery to every member",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Node => "`klatch status`",
            Self::Peer(_) | Self::Room(_) => {
                "`klatch status` shows who is connected; start the other node, or give --peer"
            }
            Self::Delivered(_) => "it goes out by itself while this node and the members' nodes run",
        }
    }

    /// What is there, once it is ready.
    async fn look(&self, node: &Node) -> Result<Option<Value>, RpcError> {
        match self {
            Self::Node => Ok(Some(json!({"ready": true}))),
            Self::Peer(who) => {
                let Answer::Status(status) = node.query(Query::Status).await? else { return Ok(None) };
                let wanted =
                    |p: &&PeerSummary| who.as_ref().is_none_or(|w| p.peer_id == *w || p.name.as_ref() == Some(w));
                status.peers.iter().find(wanted).map(to_value).transpose()
            }
            Self::Room(room) => {
                // Refuses an unknown room, with the nearest name.
                node.query(Query::Members { room: room.clone() }).await?;
                let rooms = rooms(node).await?;
                let plain = room.trim_start_matches('#').to_lowercase();
                let wanted = |r: &&RoomSummary| {
                    r.room.to_string() == *room || r.name.trim_start_matches('#').to_lowercase() == plain
                };
                rooms.iter().find(wanted).filter(|r| r.online > 0).map(to_value).transpose()
            }
            Self::Delivered(id) => {
                for room in rooms(node).await? {
                    if let Some(message) = find_message(node, room.room, *id).await? {
                        return Wait::Delivered.met(message.state).then(|| to_value(&message)).transpose();
                    }
                }
                Err(klatch_core::error::CommandError::UnknownMessage { message: id.to_string() }.into())
            }
        }
    }
}

async fn rooms(node: &Node) -> Result<Vec<RoomSummary>, RpcError> {
    match node.query(Query::Rooms).await? {
        Answer::Rooms(rooms) => Ok(rooms),
        _ => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_met_by_its_state_and_better_ones_only() {
        let delivered = |n, m| Some(Delivery::Delivered { n, m });
        assert!(!Wait::Sent.met(Some(Delivery::Queued)));
        assert!(Wait::Sent.met(Some(Delivery::Sent)) && Wait::Sent.met(delivered(1, 3)));
        assert!(!Wait::Delivered.met(delivered(1, 3)) && !Wait::Delivered.met(delivered(0, 0)));
        assert!(Wait::Delivered.met(delivered(3, 3)));
        assert!(!Wait::Relayed.met(Some(Delivery::Sent)) && Wait::Relayed.met(delivered(1, 9)));
    }

    #[test]
    fn a_wait_that_reached_some_says_so_with_its_own_exit_code() {
        assert_eq!(not_there_yet(Some(Delivery::Delivered { n: 1, m: 2 })).data.exit, 8);
        assert_eq!(not_there_yet(Some(Delivery::Queued)).data.exit, 6);
    }

    #[test]
    fn targets_parse() {
        assert!(matches!(Target::parse("peer:@bob"), Some(Target::Peer(Some(w))) if w == "bob"));
        assert!(matches!(Target::parse("room:#garden"), Some(Target::Room(r)) if r == "#garden"));
        assert!(Target::parse("delivered:xyz").is_none() && Target::parse("rain").is_none());
    }
}
