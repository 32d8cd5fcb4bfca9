//! What the tests of the screen share.

use klatch_core::content::Kind;
use klatch_core::event::Message;
use klatch_core::ids::{DeviceId, EntryId, RoomId};

/// The n-th line of a room, one per minute, by bob.
pub fn message(n: u64) -> Message {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&n.to_be_bytes());
    Message {
        id: EntryId(id),
        room: RoomId([1; 16]),
        direct: false,
        journal: n,
        device: DeviceId([2; 32]),
        identity: None,
        name: "bob".to_owned(),
        name_mark: None,
        former_name: None,
        seq: n,
        kind: Kind::Text,
        text: format!("line {n}"),
        reply_to: None,
        target: None,
        at_ms: 1_795_226_400_000 + n * 60_000,
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

mod daily;
mod folding;
mod halves;
mod naming;
mod pictures;
mod places;
mod portrait;
mod scenes;
mod storm;

/// Types, key by key.
pub fn type_text(state: &mut super::state::State, text: &str) {
    for c in text.chars() {
        let key = crossterm::event::KeyEvent::from(crossterm::event::KeyCode::Char(c));
        super::fold::fold(state, scenes::NOW, super::state::Input::Key(key));
    }
}
mod vi;
