//! Two people, two processes, one machine: what one types the other reads, without any network
//! beyond 127.0.0.1.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

mod common;

use common::{Home, acts};

/// Escape sequences that clear a screen, write the clipboard, set a title; C1 controls; a direction
/// override.
const NASTY: &str =
    "x\u{1b}[2J\u{1b}]52;c;aGk=\u{7}\u{1b}]0;pwn\u{7}\u{9b}31m\u{202e}evil\u{200b}\u{7f}y";

#[test]
fn two_people_talk_and_see_that_it_arrived() {
    let home = Home::new();
    let mut alice = home.chat("alice", "#garden", &[]);
    let mut bob = home.chat("bob", "#garden", &[]);
    alice.say("can we meet?");
    bob.hear("#garden alice: can we meet?");
    bob.say("10:00 works");
    alice.hear("#garden bob: 10:00 works");
    bob.hear("* delivered 1 of 1: \"10:00 works\"");
    bob.say("/reply ^ at my place");
    alice.hear("bob (to \"can we meet?\"): at my place");
    bob.say("/edit at your place");
    alice.hear("bob changed a message to: at your place");
    alice.say("/react ^ 👍");
    // Quoted as it reads now.
    bob.hear("alice reacted 👍: \"at your place\"");
    bob.say("/announce party");
    alice.hear("bob announces: party");
    bob.say("/nick robert");
    alice.hear("* bob is now robert");
    let (code, lines) = bob.end();
    assert_eq!(code, Some(0), "{lines:#?}");
    // At the next start history is there, as it was at the end.
    let log = home.ok(&["--profile", "bob", "log", "#garden"]);
    assert!(log.contains("you (to \"can we meet?\"): at your place (edited) [👍 1]"), "{log}");
    assert_eq!(alice.end().0, Some(0));
}

#[test]
fn who_was_away_has_missed_nothing() {
    let home = Home::new();
    home.ok(&["--profile", "bob", "--name", "bob", "join", "#garden"]);
    let mut alice = home.chat("alice", "#garden", &[]);
    for n in 0..50 {
        alice.say(&format!("number {n}"));
    }
    alice.hear("#garden you: number 49");
    let bob = home.chat("bob", "#garden", &[]);
    bob.hear("#garden alice: number 49");
    let numbers: Vec<String> = bob
        .lines()
        .iter()
        .filter_map(|l| l.split_once("number ").map(|(_, n)| n.to_owned()))
        .collect();
    assert_eq!(numbers, (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(alice.end().0 == Some(0) && bob.end().0 == Some(0));
}

#[test]
fn nothing_that_others_write_acts_on_the_terminal() {
    let home = Home::new();
    let mut alice = home.chat("alice", "#garden", &[]);
    let bob = home.chat("bob", "#garden", &[]);
    alice.say(NASTY);
    alice.say("/announce a\u{1b}c");
    alice.say("the end");
    bob.hear("alice: the end");
    for line in bob.lines().iter().chain(&alice.lines()) {
        assert!(!acts(line), "{line:?}");
    }
    assert!(
        bob.lines().iter().any(|l| l.contains("␛]52;c;aGk=")),
        "shown, not swallowed: {:#?}",
        bob.lines()
    );
    for args in [
        &["--profile", "bob", "log", "#garden"][..],
        &["--profile", "bob", "log", "#garden", "--json"],
        &["--profile", "bob", "members", "#garden"],
        &["--profile", "bob", "api", "call", "message.list", r##"{"room":"#garden"}"##],
    ] {
        let printed = home.ok(args);
        assert!(!acts(&printed), "{args:?}: {printed:?}");
    }
    // In JSON the text is the very same after parsing.
    let log = home.ok(&["--profile", "bob", "log", "#garden", "--json"]);
    let texts: Vec<serde_json::Value> =
        log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(texts.iter().any(|m| m["text"] == NASTY));
}

#[test]
fn names_and_arguments_with_escapes_are_refused_harmlessly() {
    let home = Home::new();
    for args in [
        &["--name", NASTY, "init", "--no-passphrase"][..],
        &["--name", "alice\u{202e}", "init", "--no-passphrase", "--json"],
        &["--profile", NASTY, "status"],
        &["send", NASTY, "hi"],
        &[NASTY],
        &["help", NASTY],
        &["api", "call", NASTY, NASTY],
    ] {
        let output = home.run(args, "");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && !acts(&text), "{args:?}: {text:?}");
    }
}

#[test]
fn a_node_inside_a_command_lives_until_its_last_client_ends() {
    let home = Home::new();
    let host = home.chat("alice", "#garden", &[]);
    host.hear("alice joined #garden");
    let mut guest = home.chat("alice", "#garden", &[]);
    guest.say("from the guest");
    host.hear("#garden you: from the guest");
    // The host's input ends, its node does not: the guest still talks.
    let waiting = std::thread::spawn(move || host.end());
    std::thread::sleep(std::time::Duration::from_millis(500));
    guest.say("the host has ended its input");
    guest.hear("you: the host has ended its input");
    assert!(!waiting.is_finished());
    assert_eq!(guest.end().0, Some(0));
    assert_eq!(waiting.join().unwrap().0, Some(0));
    assert!(!home.path().join("alice/run/api.sock").exists());
}

#[test]
fn a_chat_that_is_interrupted_ends_its_node_cleanly() {
    let home = Home::new();
    let mut alice = home.chat("alice", "#garden", &[]);
    alice.say("before the signal");
    alice.hear("you: before the signal");
    let pid = alice.pid().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let begun = std::time::Instant::now();
    while home.path().join("alice/run/api.sock").exists() {
        assert!(begun.elapsed() < common::PATIENCE);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let (code, _) = alice.end();
    assert_eq!(code, Some(130));
    assert!(home.ok(&["--profile", "alice", "log", "#garden"]).contains("before the signal"));
}
