//! Several commands and one profile: who holds it, who waits, who attaches, and what is said about
//! it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::Home;
use klatch_node::store::lock::ProfileLock;
use serde_json::Value;

/// As long as a command that only reads may take.
const READING: Duration = Duration::from_millis(500);

fn with_history() -> Home {
    let home = Home::new();
    home.ok(&["--name", "alice", "join", "#garden"]);
    home.ok(&["send", "#garden", "hi"]);
    home
}

fn error_of(output: &std::process::Output) -> Value {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text
        .lines()
        .find(|l| l.starts_with('{'))
        .unwrap_or_else(|| panic!("no JSON error in {text}"));
    serde_json::from_str::<Value>(line).unwrap()["error"].take()
}

#[test]
fn commands_that_only_read_offer_nobody_a_node() {
    let home = with_history();
    let (socket, seen, done) =
        (home.path().join("default/run/api.sock"), AtomicBool::new(false), AtomicBool::new(false));
    let while_reading = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                seen.fetch_or(socket.exists(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let run = |args: &[&str]| drop(home.run(args, ""));
        for args in [&["rooms"][..], &["log", "#garden"], &["members", "#garden"]] {
            run(args);
        }
        let while_reading = seen.load(Ordering::Relaxed);
        // A command that reaches others does offer one: the watch works.
        run(&["send", "#garden", "hi"]);
        done.store(true, Ordering::Relaxed);
        while_reading
    });
    assert!(!while_reading, "a socket was offered");
    assert!(seen.load(Ordering::Relaxed));
}

#[test]
fn a_profile_that_is_read_is_waited_for_and_one_that_hangs_is_named() {
    let home = with_history();
    let data = home.path().join("default");
    let hold = || ProfileLock::acquire(&data).unwrap();
    for args in [&["rooms"][..], &["send", "#garden", "hi"], &["up"], &["passphrase", "--remove"]] {
        let held = hold();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| home.run(args, ""));
            std::thread::sleep(READING);
            assert!(!waiting.is_finished(), "{args:?} does not wait");
            drop(held);
            let output = waiting.join().unwrap();
            assert!(output.status.success(), "{args:?}: {output:?}");
        });
        home.ok(&["down"]);
    }
    let _held = hold();
    let begun = Instant::now();
    let output = home.run(&["--json", "rooms"], "");
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    let error = error_of(&output);
    assert!(error["code"] == "KLATCH-BUSY" && error["retryable"] == true);
    assert!(
        error["message"].as_str().unwrap().contains(&std::process::id().to_string()),
        "{error}"
    );
}

#[test]
fn up_beside_a_chat_says_what_that_means_and_which_options_come_too_late() {
    let home = Home::new();
    let chat = home.chat("alice", "#garden", &[]);
    chat.hear("alice joined #garden");
    let output = home
        .run(&["--profile", "alice", "up", "--peer", "127.0.0.1:9", "--listen", "127.0.0.1:0"], "");
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("klatch is up")
    );
    let pid = format!("inside another command (pid {})", chat.pid());
    assert!(notes.contains(&pid) && notes.contains("klatch --profile alice up"), "{notes}");
    let apply = "To apply: klatch --profile alice down && klatch --profile alice up --listen \
                 127.0.0.1:0 --peer 127.0.0.1:9";
    assert!(notes.contains("had no effect") && notes.contains(apply), "{notes}");
    let status: Value =
        serde_json::from_str(&home.ok(&["--profile", "alice", "status", "--json"])).unwrap();
    assert_eq!(status["host"], "command");

    // A second chat attaches, and its options come too late as well.
    let guest = home.run(&["--profile", "alice", "chat", "#garden", "--no-mdns"], "");
    assert!(
        String::from_utf8_lossy(&guest.stderr).contains("--no-mdns had no effect"),
        "{guest:?}"
    );
    assert_eq!(chat.end().0, Some(0));

    // Beside a background node nothing is said that is not so.
    home.ok(&["--profile", "alice", "up"]);
    let output = home.run(&["--profile", "alice", "up"], "");
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(notes.contains("a node is running already") && !notes.contains("inside"), "{notes}");
    assert!(!notes.contains("no effect"), "{notes}");
    let output = home.run(&["--profile", "alice", "up", "--json"], "");
    assert!(output.stderr.is_empty(), "remarks are for people: {output:?}");
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["host"], "background");
}

#[test]
fn one_shot_commands_keep_the_promise_to_stay_on_this_machine() {
    let home = with_history();
    let status: Value = serde_json::from_str(&home.ok(&["api", "call", "node.status"])).unwrap();
    let listening = status["listening"].as_array().unwrap();
    assert!(!listening.is_empty());
    assert!(
        listening.iter().all(|a| a.as_str().unwrap().starts_with("/ip4/127.")),
        "{listening:?}"
    );
    assert_eq!(status["discovery"]["mdns"], "off");
}
