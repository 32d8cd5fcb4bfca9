//! Messages to one person between real processes, which are killed without warning.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

mod common;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{Home, PATIENCE};

/// A node that ends with its test, or when it is killed.
struct Running(Child);

impl Running {
    /// Starts the node of a profile and waits until it answers.
    fn new(home: &Home, profile: &str) -> Self {
        let mut command = home.command(&["--profile", profile, "node", "run", "--no-mdns"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let running = Self(child);
        until("the node answers", || home.run(&["--profile", profile, "status"], "").status.success());
        running
    }

    /// As a power cut would, without a chance to tidy up.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, mut look: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !look() {
        assert!(begun.elapsed() < PATIENCE, "gave up waiting: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What a profile has of a conversation: texts of one side, and whether all are delivered.
fn said(home: &Home, profile: &str, with: &str, own: bool) -> (Vec<String>, bool) {
    let output = home.run(&["--profile", profile, "log", with, "-n", "500", "--json"], "");
    let lines = String::from_utf8(output.stdout).unwrap();
    let all = lines.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    let ours: Vec<serde_json::Value> = all.filter(|m| m["own"] == own && m["direct"] == true).collect();
    let delivered = ours.iter().all(|m| m["state"]["state"] == "delivered");
    (ours.iter().map(|m| m["text"].as_str().unwrap().to_owned()).collect(), delivered)
}

#[test]
fn nothing_is_lost_or_doubled_when_either_side_is_killed() {
    let home = Home::new();
    for name in ["alice", "bob"] {
        home.ok(&["--profile", name, "--name", name, "join", "#garden"]);
    }
    let mut nodes = [Some(Running::new(&home, "alice")), Some(Running::new(&home, "bob"))];
    until("they have met", || home.run(&["--profile", "alice", "send", "@bob", "number 0"], "").status.success());
    until("bob knows her", || !said(&home, "bob", "@alice", false).0.is_empty());
    home.ok(&["--profile", "bob", "contact", "accept", "@alice"]);
    let count = 40;
    for n in 1..count {
        home.ok(&["--profile", "alice", "send", "@bob", &format!("number {n}")]);
        // Bob is killed while he takes them in, alice between two of hers.
        for (who, name) in ["alice", "bob"].iter().enumerate().filter(|(who, _)| n % 12 == 5 + 5 * who) {
            nodes[who].take().unwrap().kill();
            nodes[who] = Some(Running::new(&home, name));
        }
    }
    until("everything is delivered", || said(&home, "alice", "@bob", true).1);
    let wanted: Vec<String> = (0..count).map(|n| format!("number {n}")).collect();
    assert_eq!(said(&home, "alice", "@bob", true).0, wanted);
    assert_eq!(said(&home, "bob", "@alice", false).0, wanted);
}
