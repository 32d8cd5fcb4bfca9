//! States to look at: an empty first run, and a lively room with everything in it.

use jiff::tz::TimeZone;
use klatch_core::content::Kind;
use klatch_core::event::{Delivery, Event, Message, Path, Reactions};
use klatch_core::ids::{DeviceId, EntryId, IdentityId, RoomId};
use klatch_core::query::{
    Access, Contact, Member, PeerSummary, RoomSummary, Standing, Status, Verification,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::message;
use crate::client::Told;
use crate::tui::fold::{fold, start};
use crate::tui::settings::Settings;
use crate::tui::state::{Input, State, Tag, Wish};

/// 21 November 2026, 18:10 UTC.
pub const NOW: u64 = 1_795_284_600_000;
pub const GARDEN: RoomId = RoomId([1; 16]);
pub const GENERAL: RoomId = RoomId([2; 16]);
pub const RELAY: RoomId = RoomId([3; 16]);
pub const BOB: RoomId = RoomId([11; 16]);
pub const ALICE: DeviceId = DeviceId([9; 32]);

pub fn value<T: Serialize>(of: &T) -> Value {
    serde_json::to_value(of).unwrap()
}

/// Before anything is known, with the first calls made.
pub fn fresh(columns: u16, rows: u16) -> State {
    let mut state = State::new(
        Settings { color: false, ..Settings::default() },
        (columns, rows),
        NOW,
        TimeZone::UTC,
    );
    state.nonce = "here".to_owned();
    start(&mut state);
    state
}

pub fn told(event: Event) -> Input {
    let cursor = match &event {
        Event::MessageAdded { message } => Some(message.journal),
        _ => None,
    };
    Input::Told(Box::new(Told {
        cursor,
        at_ms: NOW,
        topic: String::new(),
        kind: String::new(),
        event,
    }))
}

/// Answers a call of the state; gives back what it wishes next.
pub fn answer<T: Serialize>(state: &mut State, tag: Tag, of: &T) -> Vec<Wish> {
    fold(state, NOW, Input::Answer(tag, Ok(value(of))))
}

pub fn room(room: RoomId, name: &str, unread: u64) -> RoomSummary {
    serde_json::from_value(json!({
        "room_id": room, "name": name, "access": Access::Open, "members": 4, "others_online": 2, "messages": 100, "unread": unread,
        "queued": 0, "bytes": 1000, "over_budget": false, "left": false,
    }))
    .unwrap()
}

pub fn status(rooms: Vec<RoomSummary>) -> Status {
    let peer = |name: &str, id: &str, path, rtt| PeerSummary {
        peer_id: format!("12D3KooW{id}"),
        // Nothing is known of the one behind bob's link but the name, which two have.
        identity: (name == "carol").then_some(IdentityId([3; 32])),
        name: Some(name.to_owned()),
        name_mark: mark(2, name),
        address: "/ip4/192.0.2.7/tcp/4001".to_owned(),
        path,
        rtt_ms: Some(rtt),
        overdue_ms: None,
    };
    let peers =
        vec![peer("bob", "BobBobBo", Path::Lan, 2), peer("carol", "CarolCar", Path::Direct, 38)];
    let mut status: Value = json!({
        "version": "0", "name": "alice", "identity": IdentityId([9; 32]), "device": ALICE, "peer_id": "12D3KooWAliceAli",
        "pid": 7, "uptime_s": 61, "listening": ["/ip4/127.0.0.1/tcp/4001"], "queued": 0, "read_only": false, "refused": {},
        "typing": true,
    });
    status["peers"] = value(&peers);
    status["rooms"] = value(&rooms);
    serde_json::from_value(status).unwrap()
}

/// There are two who are called bob.
fn mark(n: u8, name: &str) -> Option<String> {
    (name == "bob").then(|| DeviceId([n; 32]).short()[..4].to_owned())
}

pub fn member(n: u8, name: &str, online: bool) -> Member {
    Member {
        device: if n == 9 { ALICE } else { DeviceId([n; 32]) },
        identity: Some(IdentityId([n; 32])),
        name: name.to_owned(),
        fingerprint: format!("AAAA-{n}"),
        name_mark: mark(n, name),
        typed_mark: mark(n, name),
        online,
        own: n == 9,
        last_seen_ms: NOW - 3 * 3_600_000,
        muted: false,
        forked: false,
    }
}

/// What somebody said so many minutes ago.
pub fn said(n: u64, who: u8, name: &str, minutes_ago: u64, text: &str) -> Message {
    let own = who == 9;
    Message {
        room: GARDEN,
        device: if own { ALICE } else { DeviceId([who; 32]) },
        name: name.to_owned(),
        name_mark: mark(who, name),
        text: text.to_owned(),
        at_ms: NOW - minutes_ago * 60_000,
        own,
        state: own.then_some(Delivery::Delivered { n: 3, m: 3 }),
        ..message(n)
    }
}

/// The lines of the garden.
pub fn lines() -> Vec<Message> {
    let day = 24 * 60;
    vec![
        Message { kind: Kind::Profile, seq: 0, ..said(1, 5, "dan", 2 * day, "") },
        said(2, 2, "bob", day, "did the seeds arrive?"),
        said(3, 9, "alice", 58, "yes, both bags"),
        Message {
            kind: Kind::Notice,
            ..said(4, 3, "carol", 50, "the gate is locked from Monday on")
        },
        Message {
            reactions: vec![Reactions {
                emoji: "👍".to_owned(),
                devices: vec![ALICE, DeviceId([2; 32])],
            }],
            ..said(
                5,
                2,
                "bob",
                40,
                "I can bring 日本 radishes, and the long ladder if somebody helps me to carry it over the fence",
            )
        },
        Message { deleted: true, text: String::new(), ..said(6, 5, "dan", 30, "") },
        Message { edited: true, ..said(7, 9, "alice", 20, "10:00 works") },
        Message {
            state: Some(Delivery::Delivered { n: 2, m: 3 }),
            ..said(8, 9, "alice", 15, "or 11:00")
        },
        Message {
            reply_to: Some(EntryId(id(8))),
            ..said(9, 3, "carol", 10, "10:00 is better for me, @alice")
        },
        Message {
            state: Some(Delivery::Queued),
            ..said(10, 9, "alice", 5, "/me packs the cake\nand two forks")
        },
        Message { text: "a\u{1b}[2J\u{202e}b".to_owned(), ..said(11, 66, "bob", 2, "") },
    ]
}

pub fn id(n: u64) -> [u8; 16] {
    message(n).id.0
}

/// Somebody with whom there is a conversation.
pub fn contact(n: u8, name: &str, standing: Standing, verification: Verification) -> Contact {
    Contact {
        identity: IdentityId([n; 32]),
        room: RoomId([n; 16]),
        name: name.to_owned(),
        claimed: name.to_owned(),
        petname: None,
        fingerprint: String::new(),
        name_mark: None,
        standing,
        verification,
        online: n == 11,
        messages: 1,
        unread: u64::from(n == 13),
        last_ms: 0,
    }
}

/// Rooms, people, a conversation, a request; alice is in the garden.
pub fn lively(columns: u16, rows: u16) -> State {
    let mut state = fresh(columns, rows);
    let rooms = vec![
        room(GARDEN, "#garden", 0),
        room(GENERAL, "#general", 0),
        room(RELAY, "#relay-ops", 3),
    ];
    answer(&mut state, Tag::Status, &status(rooms));
    let contacts = [
        contact(11, "bob", Standing::Accepted, Verification::Verified),
        contact(12, "dan", Standing::Accepted, Verification::Changed),
        contact(13, "eve", Standing::Requested, Verification::Unverified),
    ];
    answer(&mut state, Tag::Contacts, &contacts);
    answer(&mut state, Tag::Newest(GARDEN), &lines());
    let members = [
        member(9, "alice", true),
        member(2, "bob", true),
        member(66, "bob", true),
        member(3, "carol", true),
        member(5, "dan", false),
    ];
    answer(&mut state, Tag::Members(GARDEN), &members);
    answer(
        &mut state,
        Tag::Mentions(RELAY),
        &[Message { room: RELAY, ..said(20, 2, "bob", 1, "alice, look") }],
    );
    state
}
