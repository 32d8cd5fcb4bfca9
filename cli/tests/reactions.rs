//! Reactions and changes from the command line: what is an emoji, and what can still be changed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::Home;
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn one_emoji_is_one_however_it_is_typed_and_nothing_else_is_one() {
    let home = Home::new();
    home.ok(&["init", "--name", "alice", "--no-passphrase"]);
    home.ok(&["up"]);
    home.ok(&["join", "garden"]);
    let sent = json(&home.ok(&["send", "garden", "tomatoes", "--json"]));
    let id = sent["message_id"].as_str().unwrap();
    for emoji in [":heart:", "\u{2764}", "\u{2764}\u{fe0f}"] {
        home.ok(&["message", "react", "garden", id, emoji]);
    }
    let shown = json(&home.ok(&["message", "show", "garden", id, "--json"]));
    let reactions = shown["reactions"].as_array().unwrap();
    assert_eq!(reactions.len(), 1, "{shown}");
    assert_eq!(reactions[0]["emoji"], "\u{2764}\u{fe0f}");
    for text in ["+1", "ok", ":nonsense:", "1"] {
        let output = home.run(&["message", "react", "garden", id, text, "--json"], "");
        assert_eq!(output.status.code(), Some(2), "{text}");
        let error = json(&String::from_utf8_lossy(&output.stderr));
        assert_eq!(error["error"]["code"], "KLATCH-EMOJI", "{text}");
    }
    home.ok(&["message", "react", "garden", id, ":heart:", "--off"]);
    let shown = json(&home.ok(&["message", "show", "garden", id, "--json"]));
    assert!(shown["reactions"].is_null(), "{shown}");
}

#[test]
fn what_was_deleted_cannot_be_edited_or_reacted_to() {
    let home = Home::new();
    home.ok(&["init", "--name", "alice", "--no-passphrase"]);
    home.ok(&["up"]);
    home.ok(&["join", "garden"]);
    let sent = json(&home.ok(&["send", "garden", "never mind", "--json"]));
    let id = sent["message_id"].as_str().unwrap();
    home.ok(&["message", "delete", "garden", id]);
    for change in [
        ["message", "edit", "garden", id, "again", "--json"],
        ["message", "react", "garden", id, "👍", "--json"],
    ] {
        let output = home.run(&change, "");
        assert_eq!(output.status.code(), Some(3), "{change:?}");
        let error = json(&String::from_utf8_lossy(&output.stderr));
        assert_eq!(error["error"]["code"], "KLATCH-MESSAGE-DELETED", "{error}");
    }
}
