//! Where events belong and what they are called: topics, by whose bytes subscribers filter, and
//! types. Both are derived here and nowhere else.

use klatch_core::content::Kind;
use klatch_core::event::Event;
use klatch_core::ids::RoomId;
use serde_json::{Value, json};

/// One form of topic, for `events.topics` and the documentation.
pub(super) struct Form {
    pub(super) topic: &'static str,
    pub(super) types: &'static [&'static str],
    pub(super) durable: bool,
    pub(super) doc: &'static str,
}

const fn form(
    topic: &'static str,
    types: &'static [&'static str],
    durable: bool,
    doc: &'static str,
) -> Form {
    Form { topic, types, durable, doc }
}

/// All forms. ROOM is a room's id, DM that of a conversation, PERSON an identity, PEER a transport
/// peer id: each of a fixed length, so that no prefix matches a neighbour by accident.
pub(super) const FORMS: &[Form] = &[
    form("room/ROOM/message", &["message.added"], true, "a message, or a notice"),
    form(
        "room/ROOM/message",
        &["history.added"],
        true,
        "many messages by catch-up, if `summary` was asked for",
    ),
    form("room/ROOM/message", &["history.filled"], false, "texts came that were lacking"),
    form("room/ROOM/edit", &["message.edited"], true, "an author replaced a text"),
    form("room/ROOM/delete", &["message.deleted"], true, "an author deleted a message"),
    form(
        "room/ROOM/reaction",
        &["message.reacted"],
        true,
        "an emoji was put on a message, or taken off",
    ),
    form(
        "room/ROOM/member",
        &["member.changed", "member.left"],
        true,
        "somebody introduced themselves, or said goodbye",
    ),
    form(
        "room/ROOM/meta",
        &["room.joined", "room.left", "room.forgotten"],
        true,
        "this profile opened, left or forgot the room",
    ),
    form("room/ROOM/meta", &["room.full"], true, "the room reached its disk budget"),
    form("room/ROOM/fork", &["room.forked"], true, "a device wrote two histories"),
    form("room/ROOM/receipt", &["delivery.changed"], false, "own messages are somewhere else now"),
    form("room/ROOM/presence", &["presence.changed"], false, "somebody came or went"),
    form("room/ROOM/sync", &["room.synced"], false, "nothing is missing that a peer has"),
    form(
        "dm/DM/message",
        &["message.added", "history.added"],
        true,
        "as in rooms; so are `edit`, `delete`, `reaction` and `receipt`",
    ),
    form("dm/DM/meta", &["room.forgotten"], true, "this profile forgot the conversation"),
    form("dm/DM/typing", &["typing.changed"], false, "somebody is writing, or has stopped"),
    form("contact/PERSON/state", &["contact.changed"], true, "something about a person changed"),
    form("peer/PEER/connected", &["peer.connected"], false, "a link to a peer is there"),
    form(
        "peer/PEER/disconnected",
        &["peer.disconnected"],
        false,
        "the last link to a peer is gone",
    ),
    form("node/newer", &["event.newer"], true, "something that a newer program noted here"),
    form(
        "node/dropped",
        &["event.dropped"],
        false,
        "told whatever was asked for: the subscriber was too slow",
    ),
    form(
        "node/gap",
        &["event.gap"],
        false,
        "told whatever was asked for: the cursor leads to nowhere",
    ),
];

/// What `events.topics` answers.
pub(super) fn list() -> Value {
    let forms = FORMS
        .iter()
        .map(|f| json!({"topic": f.topic, "types": f.types, "durable": f.durable, "doc": f.doc}));
    Value::Array(forms.collect())
}

/// The leaf and the type of a message event.
fn of_kind(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Text | Kind::Notice | Kind::Newer(_) => ("message", "message.added"),
        Kind::Edit => ("edit", "message.edited"),
        Kind::Delete => ("delete", "message.deleted"),
        Kind::Reaction => ("reaction", "message.reacted"),
        Kind::Profile => ("member", "member.changed"),
        Kind::Leave => ("member", "member.left"),
    }
}

/// What an event is called.
#[must_use]
pub fn kind(event: &Event) -> &'static str {
    match event {
        Event::MessageAdded { message } => of_kind(message.kind).1,
        Event::HistoryAdded { .. } => "history.added",
        Event::BodiesAdded { .. } => "history.filled",
        Event::DeliveryChanged { .. } => "delivery.changed",
        Event::PresenceChanged { .. } => "presence.changed",
        Event::Synced { .. } => "room.synced",
        Event::ForkFound { .. } => "room.forked",
        Event::RoomJoined { .. } => "room.joined",
        Event::RoomLeft { .. } => "room.left",
        Event::Forgotten { .. } => "room.forgotten",
        Event::DiskBudgetReached { .. } => "room.full",
        Event::ContactChanged { .. } => "contact.changed",
        Event::Typing { .. } => "typing.changed",
        Event::PeerConnected { .. } => "peer.connected",
        Event::PeerDisconnected { .. } => "peer.disconnected",
        Event::Lagged { .. } => "event.dropped",
        Event::Gap { .. } => "event.gap",
        Event::Newer { .. } => "event.newer",
        _ => "node.other",
    }
}

/// An event without its name: subscribers get its type beside it.
#[must_use]
pub fn body(event: &Event) -> Value {
    let mut body = serde_json::to_value(event).unwrap_or_default();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("event");
    }
    body
}

/// The event of that type and body; `None` for what a newer version tells.
#[must_use]
pub fn event(kind: &str, mut body: Value) -> Option<Event> {
    let added = ["message.", "member."].iter().any(|start| kind.starts_with(start));
    let name = if added { "message.added" } else { kind };
    body.as_object_mut()?.insert("event".to_owned(), name.into());
    serde_json::from_value(body).ok()
}

/// Where an event belongs.
#[must_use]
pub fn topic(event: &Event) -> String {
    let place = |direct: bool, room: &RoomId, leaf: &str| {
        format!("{}/{room}/{leaf}", if direct { "dm" } else { "room" })
    };
    match event {
        Event::MessageAdded { message } => {
            place(message.direct, &message.room, of_kind(message.kind).0)
        }
        Event::HistoryAdded { room, .. } | Event::BodiesAdded { room, .. } => {
            place(false, room, "message")
        }
        Event::DeliveryChanged { room, direct, .. } => place(*direct, room, "receipt"),
        Event::PresenceChanged { room, .. } => place(false, room, "presence"),
        Event::Synced { room } => place(false, room, "sync"),
        Event::ForkFound { room, .. } => place(false, room, "fork"),
        Event::RoomJoined { room, .. }
        | Event::RoomLeft { room }
        | Event::DiskBudgetReached { room } => place(false, room, "meta"),
        Event::Forgotten { room, direct } => place(*direct, room, "meta"),
        Event::ContactChanged { identity, .. } => format!("contact/{identity}/state"),
        Event::Typing { room, .. } => place(true, room, "typing"),
        Event::PeerConnected { peer_id, .. } => format!("peer/{peer_id}/connected"),
        Event::PeerDisconnected { peer_id } => format!("peer/{peer_id}/disconnected"),
        Event::Lagged { .. } => "node/dropped".to_owned(),
        Event::Gap { .. } => "node/gap".to_owned(),
        Event::Newer { .. } => "node/newer".to_owned(),
        _ => "node/other".to_owned(),
    }
}

/// Which events a subscriber wants.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    /// Byte prefixes of topics; all if there is none.
    pub(super) topics: Vec<String>,
    /// Types, or beginnings of types that end with `*`; all if there is none.
    pub(super) types: Vec<String>,
    /// Nothing else may be seen.
    pub(super) within: Option<RoomId>,
}

impl Filter {
    pub(super) fn wants(&self, topic: &str, event: &Event) -> bool {
        if matches!(event, Event::Lagged { .. } | Event::Gap { .. }) {
            return true;
        }
        let is = kind(event);
        self.within.is_none_or(|room| crate::journal::room_of(event) == Some(room))
            && (self.topics.is_empty()
                || self.topics.iter().any(|t| topic.as_bytes().starts_with(t.as_bytes())))
            && (self.types.is_empty()
                || self
                    .types
                    .iter()
                    .any(|t| t.strip_suffix('*').map_or(is == t, |start| is.starts_with(start))))
    }

    /// The one room that everything wanted is about, if there is one: its journal is shorter than
    /// that of the profile.
    pub(super) fn only_room(&self) -> Option<RoomId> {
        if self.within.is_some() {
            return self.within;
        }
        let mut rooms = self.topics.iter().map(|topic| {
            let id = topic
                .strip_prefix("room/")
                .or_else(|| topic.strip_prefix("dm/"))?
                .split('/')
                .next()?;
            RoomId::parse(id)
        });
        let first = rooms.next()??;
        rooms.all(|r| r == Some(first)).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: RoomId = RoomId([1; 16]);
    const B: RoomId = RoomId([2; 16]);

    fn filter(topics: &[&str], types: &[&str]) -> Filter {
        let own = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect();
        Filter { topics: own(topics), types: own(types), within: None }
    }

    fn wants(filter: &Filter, event: &Event) -> bool {
        filter.wants(&topic(event), event)
    }

    #[test]
    fn topics_are_prefixes_of_bytes_and_types_are_whole_or_end_with_a_star() {
        let left = Event::RoomLeft { room: A };
        assert!(wants(&filter(&[], &[]), &left));
        assert!(wants(&filter(&["room/"], &["room.*"]), &left));
        assert!(wants(&filter(&["dm/", &format!("room/{A}/me")], &["room.left"]), &left));
        assert!(!wants(&filter(&[&format!("room/{B}/")], &[]), &left));
        assert!(!wants(&filter(&[], &["room.lef", "message.*"]), &left));
        let gap = Event::Lagged { missed: 1 };
        assert!(
            wants(&filter(&["peer/"], &["room.left"]), &gap),
            "what concerns the subscription itself is always told"
        );
    }

    #[test]
    fn nothing_outside_the_one_room_is_seen() {
        let within = Filter { within: Some(A), ..Filter::default() };
        assert!(wants(&within, &Event::RoomLeft { room: A }));
        assert!(!wants(&within, &Event::RoomLeft { room: B }));
        assert!(!wants(&within, &Event::PeerDisconnected { peer_id: "x".into() }));
    }

    #[test]
    fn one_room_is_recognised() {
        assert_eq!(
            filter(&[&format!("room/{A}/message"), &format!("room/{A}/")], &[]).only_room(),
            Some(A)
        );
        assert_eq!(filter(&[&format!("room/{A}/"), "dm/"], &[]).only_room(), None);
        assert_eq!(filter(&[], &[]).only_room(), None);
        assert_eq!(filter(&["room/abc"], &[]).only_room(), None);
    }

    #[test]
    fn every_form_of_topic_is_listed() {
        let peer_id = || "12D3".to_owned();
        let (name, path) = (String::new(), klatch_core::event::Path::Lan);
        for event in [
            Event::RoomJoined { room: A, name: name.clone() },
            Event::RoomLeft { room: A },
            Event::Forgotten { room: A, direct: false },
            Event::Forgotten { room: A, direct: true },
            Event::Synced { room: A },
            Event::DiskBudgetReached { room: A },
            Event::HistoryAdded { room: A, count: 1, upto: 1 },
            Event::BodiesAdded { room: A, count: 1 },
            Event::Newer { what: name.clone() },
            Event::Typing { room: A, name, name_mark: None, typing: true },
            Event::PeerConnected { peer_id: peer_id(), address: String::new(), path },
            Event::PeerDisconnected { peer_id: peer_id() },
            Event::Lagged { missed: 1 },
        ] {
            let plain = topic(&event).replace(
                &A.to_string(),
                if topic(&event).starts_with("dm") { "DM" } else { "ROOM" },
            );
            let plain = plain.replace("12D3", "PEER");
            let found = FORMS.iter().any(|f| f.topic == plain && f.types.contains(&kind(&event)));
            assert!(found, "{plain} {}", kind(&event));
        }
    }
}
