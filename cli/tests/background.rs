//! Nodes in the background, and one-shot commands that talk through them: waits, delivery, exit
//! codes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

mod common;

use common::Home;

/// Starts a background node that is in the room.
fn up(home: &Home, who: &str) {
    home.ok(&["--profile", who, "--name", who, "up"]);
    home.ok(&["--profile", who, "join", "#garden"]);
}

#[test]
fn a_message_is_waited_for_until_it_is_everywhere_or_somewhere() {
    let home = Home::new();
    for who in ["alice", "bob", "carol"] {
        up(&home, who);
    }
    for who in ["alice", "bob", "carol"] {
        home.ok(&["--profile", who, "wait", "room:#garden"]);
    }
    // Three devices have met once both others are counted.
    let begun = std::time::Instant::now();
    loop {
        let output = home.run(
            &["--profile", "alice", "send", "#garden", "hello", "--wait", "delivered", "--json"],
            "",
        );
        let sent: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if sent["delivered_of"] == 2 {
            assert_eq!(sent["delivered_to"], 2);
            break;
        }
        assert!(begun.elapsed() < common::PATIENCE, "{output:?}");
    }
    let log = home.ok(&["--profile", "carol", "log", "#garden", "--json"]);
    let id = log
        .lines()
        .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok())
        .find(|m| m["text"] == "hello");
    let id = id.unwrap()["message_id"].as_str().unwrap().to_owned();
    home.ok(&["--profile", "alice", "wait", &format!("delivered:{id}")]);
    assert!(
        home.ok(&["--profile", "alice", "message", "show", "#garden", &id[..8]])
            .contains("delivered 2 of 2")
    );

    // What others wrote cannot be changed.
    let refused = home.run(&["--profile", "carol", "message", "edit", "#garden", &id, "no"], "");
    assert_eq!(refused.status.code(), Some(7), "{refused:?}");

    // One is away: the message is at some, and the command says so.
    home.ok(&["--profile", "carol", "down"]);
    let args = [
        "--profile",
        "alice",
        "--timeout",
        "3s",
        "send",
        "#garden",
        "partly",
        "--wait",
        "delivered",
    ];
    let partly = home.run(&args, "");
    assert_eq!(partly.status.code(), Some(8), "{partly:?}");
    assert!(String::from_utf8_lossy(&partly.stderr).contains("delivered to 1 of 2 so far"));
}

#[test]
fn a_one_shot_without_a_node_hands_its_message_over_before_it_ends() {
    let home = Home::new();
    up(&home, "bob");
    home.ok(&["--profile", "alice", "--name", "alice", "join", "#garden"]);
    let printed = home.ok(&["--profile", "alice", "send", "#garden", "in passing"]);
    assert!(printed.contains("delivered 1 of 1") || printed.contains("sent"), "{printed}");
    let begun = std::time::Instant::now();
    while !home.ok(&["--profile", "bob", "log", "#garden"]).contains("alice: in passing") {
        assert!(begun.elapsed() < common::PATIENCE);
    }
}

#[test]
fn mute_hides_somebody_here_only() {
    let home = Home::new();
    up(&home, "bob");
    home.ok(&["--profile", "alice", "--name", "alice", "join", "#garden"]);
    home.ok(&["--profile", "alice", "send", "#garden", "noise", "--wait", "delivered"]);
    assert!(home.ok(&["--profile", "bob", "log", "#garden"]).contains("alice: noise"));
    home.ok(&["--profile", "bob", "room", "mute", "#garden", "@alice"]);
    assert!(home.ok(&["--profile", "bob", "members", "#garden"]).contains("muted"));
    assert!(!home.ok(&["--profile", "bob", "log", "#garden"]).contains("noise"));
    home.ok(&["--profile", "bob", "room", "mute", "#garden", "@alice", "--off"]);
    assert!(home.ok(&["--profile", "bob", "log", "#garden"]).contains("noise"));
}
