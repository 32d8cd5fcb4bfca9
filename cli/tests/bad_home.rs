//! Damaged, foreign and busy profiles: a clear error with what to do, and nothing is overwritten.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use common::Home;

fn with_history() -> (Home, PathBuf) {
    let home = Home::new();
    home.ok(&["--name", "alice", "init", "--no-passphrase"]);
    home.ok(&["join", "#garden"]);
    home.ok(&["api", "call", "message.send", r##"{"room":"#garden","text":"precious"}"##]);
    let data = home.path().join("default");
    (home, data)
}

/// Runs a command that must fail, checks the form of the error, and gives back its code.
fn refused(home: &Home, args: &[&str], exit: i32) -> String {
    let output = home.run(&[&["--json"], args].concat(), "");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(exit), "{args:?}: {text}");
    let line = text
        .lines()
        .find(|l| l.starts_with('{'))
        .unwrap_or_else(|| panic!("no JSON error in {text}"));
    let error: serde_json::Value = serde_json::from_str(line).unwrap();
    let (code, hint) =
        (error["error"]["code"].as_str().unwrap(), error["error"]["hint"].as_str().unwrap());
    assert!(code.starts_with("KLATCH-") && !hint.is_empty(), "{text}");
    code.to_owned()
}

#[test]
fn a_damaged_keystore_is_named_and_left_alone() {
    let (home, data) = with_history();
    let keystore = data.join("keystore");
    let whole = std::fs::read(&keystore).unwrap();
    for bytes in [&whole[..whole.len() / 2], &b""[..], &b"garbage"[..], &vec![0xff; 4_000][..]] {
        std::fs::write(&keystore, bytes).unwrap();
        assert_eq!(refused(&home, &["rooms"], 1), "KLATCH-KEYSTORE");
        refused(&home, &["up"], 1);
        refused(&home, &["init", "--no-passphrase"], 2);
        assert_eq!(std::fs::read(&keystore).unwrap(), bytes, "not touched");
    }
    std::fs::write(&keystore, whole).unwrap();
    assert!(home.ok(&["log", "#garden"]).contains("precious"));
}

#[test]
fn a_keystore_that_others_can_read_is_refused_with_the_command_that_helps() {
    let (home, data) = with_history();
    let keystore = data.join("keystore");
    std::fs::set_permissions(&keystore, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = home.run(&["rooms"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("chmod 600"));
}

#[test]
fn a_damaged_database_is_named_and_left_alone() {
    let (home, data) = with_history();
    let database = data.join("klatch.db");
    let whole = std::fs::read(&database).unwrap();
    for bytes in [&whole[..whole.len() / 3], &b"garbage"[..]] {
        std::fs::write(&database, bytes).unwrap();
        assert_eq!(refused(&home, &["log", "#garden"], 1), "KLATCH-STORE");
        assert_eq!(std::fs::read(&database).unwrap(), bytes, "not touched");
    }
    std::fs::write(&database, whole).unwrap();
    assert!(home.ok(&["log", "#garden"]).contains("precious"));
}

#[test]
fn two_nodes_cannot_run_on_one_home() {
    let (home, _) = with_history();
    home.ok(&["up"]);
    assert_eq!(refused(&home, &["node", "run"], 1), "KLATCH-ALREADY-RUNNING");
    // Everything else talks to the one that runs.
    assert!(home.ok(&["log", "#garden"]).contains("precious"));
    home.ok(&["down"]);
}

#[test]
fn a_socket_left_by_a_killed_node_is_replaced() {
    let (home, data) = with_history();
    let pid =
        serde_json::from_str::<serde_json::Value>(&home.ok(&["up", "--json"])).unwrap()["pid"]
            .to_string();
    assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    let begun = std::time::Instant::now();
    while std::os::unix::net::UnixStream::connect(data.join("run/api.sock")).is_ok() {
        assert!(begun.elapsed() < common::PATIENCE);
    }
    assert!(data.join("run/api.sock").exists());
    assert!(home.ok(&["log", "#garden"]).contains("precious"));
}

#[test]
fn a_home_deeper_than_a_socket_path_works() {
    let home = Home::new();
    let deep = home.path().join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(&deep).unwrap();
    let run = |args: &[&str]| {
        let mut command = home.command(args);
        command.env("KLATCH_HOME", &deep);
        common::finish(command, "")
    };
    assert!(run(&["--name", "alice", "join", "#garden"]).status.success());
    let up = run(&["up"]);
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    assert!(run(&["status"]).status.success());
    assert!(run(&["down"]).status.success());
}
