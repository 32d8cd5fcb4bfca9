//! What answers each method. Most are one core command or query; `message.send` and `node.wait` can
//! wait.

use std::time::Duration;

use klatch_core::command::{Command, Reply};
use klatch_core::error::CommandError;
use klatch_core::event::{Delivery, Message};
use klatch_core::ids::{EntryId, RoomId};
use klatch_core::place::Place;
use klatch_core::query::{Answer, PeerSummary, Query, RoomSummary};
use libp2p::{Multiaddr, PeerId};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout_at};

use super::hub::Context;
use super::registry::{Answers, Method, Own};
use super::rights::Rights;
use super::rpc::RpcError;
use super::{sends, spec};
use crate::Node;
use crate::feed::Listener;
use crate::network;

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

/// Answers every method but those that need a connection of their own: subscriptions, cancelling,
/// authenticating.
pub(super) async fn answer(
    hub: &Context,
    rights: &Rights,
    method: &'static Method,
    params: Map<String, Value>,
) -> Result<Value, RpcError> {
    let node = &hub.node;
    let mut params = rights.bind(node, method, params)?;
    match method.answers {
        Answers::Command(tag) => {
            let key = sends::key(&mut params)?;
            let _place = (tag == "join_room").then(|| hub.join()).transpose()?;
            to_value(&sends::once(hub, rights, key.as_deref(), method.command(tag, params)?).await?)
        }
        Answers::Query(tag) => to_value(&node.query(method.query(tag, params)?).await?),
        Answers::Own(own) => answer_own(hub, rights, method, own, params).await,
    }
}

async fn answer_own(
    hub: &Context,
    rights: &Rights,
    method: &'static Method,
    own: Own,
    params: Map<String, Value>,
) -> Result<Value, RpcError> {
    let node = &hub.node;
    match own {
        Own::Send => send(hub, rights, method, params).await,
        Own::Broadcast => super::broadcast::run(hub, rights, method, params).await,
        Own::Wait => wait(node, method, params).await,
        Own::Stop => {
            hub.stop.send_replace(true);
            Ok(json!({"stopping": true}))
        }
        Own::Ping => Ok("pong".into()),
        Own::Discover => Ok(spec::document()),
        Own::Version => Ok(
            json!({"name": "klatch", "version": env!("CARGO_PKG_VERSION"), "api": spec::API_VERSION}),
        ),
        Own::Health => Ok(health(node)),
        Own::Peers => match node.query(Query::Status).await? {
            Answer::Status(status) => to_value(&status.peers),
            _ => Ok(json!([])),
        },
        Own::PeerAdd => want(node, &params).await,
        Own::PeerForget => unwant(node, &params).await,
        Own::Room => room(node, &params).await,
        Own::FindPerson => find_person(node, &params),
        Own::Read => super::events::read(node, rights, method, params).await,
        Own::Topics => Ok(super::topics::list()),
        Own::TokenCreate => hub.tokens.create(node, method, params).await,
        Own::TokenList => hub.tokens.list(node).await,
        Own::TokenRevoke => {
            hub.tokens.revoke(node, params["name"].as_str().unwrap_or_default()).await
        }
        Own::HttpOpen => super::http::open(hub, method, params).await,
        Own::HttpClose => Ok(json!({"closed": super::http::close(hub).await})),
        Own::Subscribe | Own::Unsubscribe | Own::Cancel | Own::Authenticate => {
            let hint = "use the socket, `klatch api serve --stdio`, or a WebSocket; for events also GET /events";
            let text = format!(
                "{} needs a connection that stays, and is not part of a batch",
                method.name
            );
            Err(RpcError::failed(text, "KLATCH-API-CONNECTION", hint, 2))
        }
    }
}

/// Whether the node works, and why not.
pub(super) fn health(node: &Node) -> Value {
    let mut why = Vec::new();
    if node.is_stopped() {
        why.push("the node has stopped".to_owned());
    }
    if let Some(cause) = node.inner.shared.read_only() {
        why.push(format!("the disk refuses writes: {cause}"));
    }
    json!({"live": !node.is_stopped(), "ready": why.is_empty(), "why": why})
}

/// Whom the front of a line names: what people type has names with spaces in it.
fn find_person(node: &Node, params: &Map<String, Value>) -> Result<Value, RpcError> {
    let text = params.get("text").and_then(Value::as_str).unwrap_or_default();
    let (identity, rest) = node.inner.shared.at_front(text)?;
    let people = node.inner.shared.people();
    to_value(&json!({
        "identity": identity,
        "room_id": RoomId::of_conversation(&identity),
        "name": people.directory.name_of(&identity),
        "name_mark": people.directory.mark_of(&identity),
        "rest": rest,
    }))
}

async fn room(node: &Node, params: &Map<String, Value>) -> Result<Value, RpcError> {
    let wanted = params.get("room").and_then(Value::as_str).unwrap_or_default().to_owned();
    let id = node.place(&wanted)?.id();
    let unknown = || CommandError::UnknownRoom { room: wanted, nearest: None };
    to_value(&rooms(node).await?.into_iter().find(|r| r.room == id).ok_or_else(unknown)?)
}

pub(super) fn to_value<T: serde::Serialize>(value: &T) -> Result<Value, RpcError> {
    serde_json::to_value(value).map_err(|e| {
        RpcError::failed(
            format!("the answer is not JSON: {e}"),
            "KLATCH-INTERNAL",
            "please report this",
            1,
        )
    })
}

fn deadline(timeout_ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(timeout_ms.min(TIMEOUT_MS_MAX))
}

#[derive(Deserialize)]
struct SendParams {
    room: Place,
    text: String,
    reply_to: Option<EntryId>,
    wait: Wait,
    timeout_ms: u64,
}

async fn send(
    hub: &Context,
    rights: &Rights,
    method: &Method,
    mut params: Map<String, Value>,
) -> Result<Value, RpcError> {
    let key = sends::key(&mut params)?;
    let node = &hub.node;
    let p: SendParams =
        serde_json::from_value(Value::Object(params)).map_err(|e| method.mismatch(&e))?;
    let mut events = node.subscribe();
    let place = p.room;
    let command = Command::SendMessage { room: place, text: p.text, reply_to: p.reply_to };
    let reply = sends::once(hub, rights, key.as_deref(), command).await?;
    let mut value = to_value(&reply)?;
    let Reply::Stored { message, .. } = reply else { return Ok(value) };
    if p.wait == Wait::Stored {
        return Ok(value);
    }
    let deadline = deadline(p.timeout_ms);
    loop {
        let state = find_message(node, place, message).await?.and_then(|m| m.state);
        put_state(&mut value, state)?;
        if p.wait.met(state) {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            return Err(not_there_yet(state).with_partial(value));
        }
        next_change(&mut events, deadline).await;
    }
}

fn address(text: &str) -> Result<Multiaddr, RpcError> {
    network::address::parse(text).map_err(|e| {
        RpcError::params(e.to_string(), "`klatch status` on the other machine prints its address")
    })
}

/// `peer.add`.
async fn want(node: &Node, params: &Map<String, Value>) -> Result<Value, RpcError> {
    let address = address(params.get("address").and_then(Value::as_str).unwrap_or_default())?;
    if let Answer::Status(status) = node.query(Query::Status).await? {
        let bare = network::address::split_peer(address.clone()).1;
        if status.loopback_only && !network::address::is_here(&bare) {
            let text = format!("{bare} cannot be reached: this node stays on this machine");
            let hint = "start it without --loopback-only and KLATCH_LOOPBACK_ONLY: `klatch down`, \
                        then `klatch up`";
            return Err(RpcError::failed(text, "KLATCH-LOOPBACK-ONLY", hint, 2));
        }
        let wanted = status.wanted.len();
        let bare = bare.to_string();
        if wanted >= network::settings::CONFIGURED_MAX
            && !status.wanted.iter().any(|w| w.address == bare)
        {
            let text = format!("{wanted} addresses are looked for already");
            return Err(RpcError::failed(text, "KLATCH-TOO-MANY-PEERS", "`peer.forget` some", 2));
        }
    }
    node.want(address.clone()).await?;
    Ok(json!({"address": address.to_string()}))
}

/// `peer.forget`.
async fn unwant(node: &Node, params: &Map<String, Value>) -> Result<Value, RpcError> {
    let text = params.get("address").and_then(Value::as_str).unwrap_or_default();
    let (whom, shown) = match text.parse::<PeerId>() {
        Ok(peer) => (network::Unwanted::Peer(network::peer_of(&peer)), peer.to_string()),
        Err(_) => {
            let address = address(text)?;
            (network::Unwanted::Address(address.clone()), address.to_string())
        }
    };
    let forgotten = node.unwant(whom).await?.ok_or_else(|| {
        let text = format!("nothing was forgotten: nobody is looked for at {shown}");
        RpcError::failed(text, "KLATCH-PEER-NOT-FOUND", "`klatch peer list` shows all", 3)
    })?;
    Ok(json!({"address": shown, "forgotten": forgotten}))
}

/// Puts a delivery state beside the other fields, as messages have it.
fn put_state(value: &mut Value, state: Option<Delivery>) -> Result<(), RpcError> {
    let Value::Object(state) = to_value(&state)? else { return Ok(()) };
    if let Some(fields) = value.as_object_mut() {
        fields.extend(state);
    }
    Ok(())
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

/// Sleeps until something happened, at most [`RECHECK`] and not beyond the deadline. What happened
/// does not matter: the caller reads the store again.
async fn next_change(events: &mut Listener, deadline: Instant) {
    let until = deadline.min(Instant::now() + RECHECK);
    // Either way it is time to look again.
    let _ = timeout_at(until, events.changed()).await;
}

async fn find_message(
    node: &Node,
    room: Place,
    message: EntryId,
) -> Result<Option<Message>, RpcError> {
    match node.query(Query::Message { room, message }).await {
        Ok(Answer::Message(found)) => Ok(Some(*found)),
        Ok(_) | Err(CommandError::UnknownMessage { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[derive(Deserialize)]
struct WaitParams {
    target: String,
    timeout_ms: u64,
}

async fn wait(node: &Node, method: &Method, params: Map<String, Value>) -> Result<Value, RpcError> {
    let p: WaitParams =
        serde_json::from_value(Value::Object(params)).map_err(|e| method.mismatch(&e))?;
    let target = Target::parse(&p.target).ok_or_else(|| {
        RpcError::params(
            "that cannot be waited for",
            "node, peer, peer:NAME, room:ROOM or delivered:MESSAGE",
        )
    })?;
    let mut events = node.subscribe();
    let deadline = deadline(p.timeout_ms);
    loop {
        if let Some(found) = target.look(node).await? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(RpcError::timeout(
                format!("{} was not ready in time", target.words()),
                target.hint(),
            ));
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
            Self::Delivered(_) => {
                "it goes out by itself while this node and the members' nodes run"
            }
        }
    }

    /// What is there, once it is ready.
    async fn look(&self, node: &Node) -> Result<Option<Value>, RpcError> {
        match self {
            Self::Node => Ok(Some(json!({"ready": true}))),
            Self::Peer(who) => {
                let Answer::Status(status) = node.query(Query::Status).await? else {
                    return Ok(None);
                };
                // Somebody who is not known yet may come; a name that several have is refused.
                let person = match who.as_deref().map(|who| node.person(who)) {
                    Some(Err(error @ CommandError::AmbiguousPerson { .. })) => {
                        return Err(error.into());
                    }
                    found => found.and_then(Result::ok),
                };
                let wanted = |p: &&PeerSummary| {
                    let is_person = person.is_some() && p.identity == person;
                    who.as_ref().is_none_or(|w| p.peer_id == *w || is_person)
                };
                status.peers.iter().find(wanted).map(to_value).transpose()
            }
            Self::Room(room) => {
                let id = node.place(room)?.id();
                let rooms = rooms(node).await?;
                let wanted = rooms.iter().find(|r| r.room == id);
                wanted.filter(|r| r.online > 0).map(to_value).transpose()
            }
            Self::Delivered(id) => {
                for room in rooms(node).await? {
                    if let Some(message) = find_message(node, room.room.into(), *id).await? {
                        return Wait::Delivered
                            .met(message.state)
                            .then(|| to_value(&message))
                            .transpose();
                    }
                }
                Err(CommandError::UnknownMessage { message: id.to_string() }.into())
            }
        }
    }
}

pub(super) async fn rooms(node: &Node) -> Result<Vec<RoomSummary>, RpcError> {
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
