//! Own texts on their way to the node. Each carries a key under which the node does it once; what
//! was not answered when the link broke is asked for again under the same key, so nothing is lost
//! and nothing is doubled.

use std::collections::BTreeMap;

use klatch_core::ids::RoomId;
use serde_json::{Value, json};

use super::fold::ask;
use super::state::{State, Tag, Wish};
use crate::error::{Report, exit};
use crate::output::snippet;

/// Texts without an answer: as many as one connection has requests in work.
const SENDING_MAX: usize = 200;

/// A text that was handed over and is not answered yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Sending {
    /// Where it was said.
    pub room: RoomId,
    /// What was typed.
    pub text: String,
    method: &'static str,
    params: Value,
}

/// Hands a text to the node.
pub fn send(
    state: &mut State,
    wishes: &mut Vec<Wish>,
    room: RoomId,
    method: &'static str,
    mut params: Value,
    text: &str,
) {
    let full = state.sending.len() >= SENDING_MAX;
    if full || state.down.is_some() {
        let report = if full { too_many() } else { Report::no_node() };
        return back(state, &Sending { room, text: text.to_owned(), method, params }, &report);
    }
    state.sent += 1;
    let n = state.sent;
    // An edit that is made twice is the same edit.
    if method == "message.send" {
        params["idempotency_key"] = json!(format!("tui-{}-{n}", state.nonce));
    }
    let sending = Sending { room, text: text.to_owned(), method, params };
    wish(state, wishes, n, &sending);
    state.sending.insert(n, sending);
}

fn wish(state: &mut State, wishes: &mut Vec<Wish>, n: u64, sending: &Sending) {
    ask(state, wishes, Tag::Sent(n), sending.method, sending.params.clone());
}

fn too_many() -> Report {
    Report::new(
        "KLATCH-BUSY",
        "the node has not answered for many messages",
        "wait a moment",
        exit::FAILED,
    )
}

/// The node has it on its disk.
pub fn stored(state: &mut State, n: u64) {
    state.sending.remove(&n);
    state.wrote = true;
}

/// The node refused it, or went away before it answered.
pub fn failed(state: &mut State, n: u64, report: &Report) {
    // Nobody knows whether it was stored: it waits for the node, under its key.
    if report.exit == exit::NO_NODE {
        return;
    }
    if let Some(sending) = state.sending.remove(&n) {
        back(state, &sending, report);
    }
}

/// The node is there again: what it did not answer is asked for again, in the old order.
pub fn again(state: &mut State, wishes: &mut Vec<Wish>) {
    let unanswered: Vec<(u64, Sending)> =
        state.sending.iter().map(|(n, sending)| (*n, sending.clone())).collect();
    for (n, sending) in unanswered {
        wish(state, wishes, n, &sending);
    }
}

/// What was typed is not lost: it is back where it was written, or above it.
fn back(state: &mut State, sending: &Sending, report: &Report) {
    let Sending { room, ref text, method, ref params } = *sending;
    state.warn(&format!("not sent: \"{}\" · {} · {}", snippet(text), report.cause, report.hint));
    match (state.here == Some(room), state.composer.is_empty()) {
        (true, true) if method == "message.edit" => {
            // Sent as it stands it would be a second message.
            state.composer.put_aside(text);
            state.composer.edit = serde_json::from_value(params["message_id"].clone()).ok();
        }
        (true, true) => state.composer.set(text),
        (true, false) => state.composer.remember(text),
        (false, _) => keep(state, room, text),
    }
}

/// Adds a text to what is being written elsewhere.
fn keep(state: &mut State, room: RoomId, text: &str) {
    join(state.drafts.entry(room).or_default(), text);
    if let Some(half) = state.halves.get_mut(&room).and_then(|halves| halves.first_mut()) {
        join(&mut half.text, text);
    }
    state.keep_soon();
}

/// What is kept on disk as begun: drafts, and texts of which nobody knows whether the node has
/// them. Who opens the screen again sees them, and decides.
pub fn drafts(state: &State) -> BTreeMap<RoomId, String> {
    let mut drafts = state.drafts.clone();
    for sending in state.sending.values() {
        join(drafts.entry(sending.room).or_default(), &sending.text);
    }
    drafts
}

fn join(draft: &mut String, text: &str) {
    if !draft.is_empty() {
        draft.push('\n');
    }
    draft.push_str(text);
}
