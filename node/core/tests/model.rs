//! A naive chat beside the real one: it sees the same commands and must show the same messages
//! (`sim/model.rs`). Here the comparison itself is put to the test; every seeded world makes it at
//! every node.

#![cfg(feature = "sim")]

use klatch_core::command::Command;
use klatch_core::content::Kind;
use klatch_core::event::Message;
use klatch_core::ids::{DeviceId, EntryId, RoomId};
use klatch_core::sim::model::Chat;

const ROOM: RoomId = RoomId([1; 16]);
const ALICE: DeviceId = DeviceId([2; 32]);
const BOB: DeviceId = DeviceId([3; 32]);

fn id(n: u8) -> EntryId {
    EntryId([n; 16])
}

fn says(chat: &mut Chat, n: u8, text: &str) {
    let command = Command::SendMessage { room: ROOM.into(), text: text.into(), reply_to: None };
    chat.apply(ROOM, ALICE, id(n), &command);
}

fn shown(n: u8, text: &str) -> Message {
    Message {
        id: id(n),
        room: ROOM,
        direct: false,
        journal: 0,
        device: ALICE,
        identity: None,
        name: String::new(),
        name_mark: None,
        former_name: None,
        seq: 0,
        kind: Kind::Text,
        text: text.into(),
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

fn agrees(chat: &Chat, lines: &[Message]) -> bool {
    chat.compare(ROOM, lines, |_| true).is_ok()
}

#[test]
fn the_model_notices_what_is_missing_invented_or_changed() {
    let mut chat = Chat::default();
    says(&mut chat, 1, "one");
    says(&mut chat, 2, "two");
    assert!(agrees(&chat, &[shown(1, "one"), shown(2, "two")]));
    assert!(
        agrees(&chat, &[shown(2, "two"), shown(1, "one")]),
        "order is compared between nodes, not with the model"
    );
    assert!(!agrees(&chat, &[shown(1, "one")]), "missing");
    assert!(!agrees(&chat, &[shown(1, "one"), shown(2, "two"), shown(3, "three")]), "invented");
    assert!(!agrees(&chat, &[shown(1, "one"), shown(2, "twi")]), "changed");
    assert!(
        !agrees(&chat, &[shown(1, "one"), Message { missing: true, ..shown(2, "two") }]),
        "without its body"
    );
}

#[test]
fn edits_deletes_and_reactions_have_their_effect_once_and_in_order() {
    let mut chat = Chat::default();
    says(&mut chat, 1, "one");
    chat.apply(
        ROOM,
        ALICE,
        id(2),
        &Command::EditMessage { room: ROOM.into(), message: id(1), text: "uno".into() },
    );
    assert!(agrees(&chat, &[Message { edited: true, ..shown(1, "uno") }]));
    let react = |on| Command::React { room: ROOM.into(), message: id(1), emoji: "👍".into(), on };
    chat.apply(ROOM, BOB, id(3), &react(true));
    assert!(!agrees(&chat, &[Message { edited: true, ..shown(1, "uno") }]));
    chat.apply(ROOM, BOB, id(4), &react(false));
    chat.apply(ROOM, ALICE, id(5), &Command::DeleteMessage { room: ROOM.into(), message: id(1) });
    chat.apply(
        ROOM,
        ALICE,
        id(6),
        &Command::EditMessage { room: ROOM.into(), message: id(1), text: "late".into() },
    );
    assert!(agrees(&chat, &[Message { edited: true, deleted: true, ..shown(1, "") }]));
}

#[test]
fn every_node_shows_what_the_model_shows() {
    for seed in 2_000..2_030 {
        let outcome = klatch_core::sim::run(seed, false);
        assert_eq!(outcome.failure, None, "seed {seed}");
    }
}
