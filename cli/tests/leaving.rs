//! Leaving rooms, and what their names mean afterwards: who was told, what stays undelivered, which
//! room is meant.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

mod common;

use std::time::{Duration, Instant};

use common::Home;
use serde_json::Value;

/// Runs a command with `--json`; gives back its exit code, what it printed and what it noted.
fn json(home: &Home, args: &[&str]) -> (Option<i32>, Value, String) {
    let output = home.run(&[args, &["--json"]].concat(), "");
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = if output.status.success() {
        String::from_utf8_lossy(&output.stdout).into_owned()
    } else {
        notes.clone()
    };
    let line =
        text.lines().find(|l| l.starts_with('{')).unwrap_or_else(|| panic!("no JSON in {text}"));
    (output.status.code(), serde_json::from_str(line).unwrap(), notes)
}

fn rooms(home: &Home) -> Vec<Value> {
    home.ok(&["rooms", "--json"]).lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn who_leaves_with_undelivered_messages_is_asked_first() {
    let home = Home::new();
    home.ok(&["--name", "alice", "join", "#garden"]);
    home.ok(&["send", "#garden", "nobody has this"]);
    let (code, error, _) = json(&home, &["leave", "#garden"]);
    assert_eq!(
        (code, error["error"]["code"].as_str()),
        (Some(2), Some("KLATCH-UNDELIVERED")),
        "{error}"
    );
    assert!(error["error"]["message"].as_str().unwrap().contains("a message of yours"));
    assert!(error["error"]["hint"].as_str().unwrap().contains("--yes"));
    assert_eq!(rooms(&home)[0]["left"], false);

    let (code, left, notes) = json(&home, &["leave", "#garden", "--yes"]);
    assert_eq!(
        (code, &left["told"], &left["undelivered"]),
        (Some(0), &0.into(), &1.into()),
        "{left}"
    );
    assert!(!notes.contains("nobody was told"), "nobody else was ever there: {notes}");
    assert_eq!(rooms(&home)[0]["left"], true);
    let (_, again, _) = json(&home, &["leave", "#garden"]);
    assert_eq!(again["already"], true);
}

#[test]
fn comings_and_goings_are_no_messages() {
    let home = Home::new();
    for _ in 0..2 {
        home.ok(&["--name", "alice", "join", "#garden"]);
        assert_eq!(json(&home, &["leave", "#garden"]).1["undelivered"], 0);
    }
}

#[test]
fn members_who_can_be_reached_are_told_by_a_one_shot_too() {
    let home = Home::new();
    home.ok(&["--profile", "bob", "--name", "bob", "up"]);
    home.ok(&["--profile", "bob", "join", "#garden"]);
    home.ok(&["--name", "alice", "join", "#garden"]);
    home.ok(&["send", "#garden", "hello", "--wait", "delivered"]);
    let (code, left, _) = json(&home, &["leave", "#garden"]);
    assert_eq!(
        (code, &left["told"], &left["undelivered"]),
        (Some(0), &1.into(), &0.into()),
        "{left}"
    );
    let begun = Instant::now();
    while !home.ok(&["--profile", "bob", "log", "#garden"]).contains("alice left #garden") {
        assert!(begun.elapsed() < common::PATIENCE);
    }
}

#[test]
fn when_nobody_could_be_told_it_is_said_soon() {
    let home = Home::new();
    home.ok(&["--profile", "bob", "--name", "bob", "init"]);
    home.ok(&["--profile", "bob", "up"]);
    for room in ["#garden", "#shed"] {
        home.ok(&["--profile", "bob", "join", room]);
        home.ok(&["--name", "alice", "join", room]);
        home.ok(&["send", room, "hello", "--wait", "delivered"]);
    }
    home.ok(&["--profile", "bob", "down"]);
    let begun = Instant::now();
    let (code, left, notes) = json(&home, &["leave", "#garden"]);
    assert_eq!((code, &left["told"]), (Some(0), &0.into()), "{left}");
    assert!(!notes.contains("nobody was told"), "remarks are for people: {notes}");
    let left = home.run(&["leave", "#shed"], "");
    let notes = String::from_utf8_lossy(&left.stderr);
    assert!(
        left.status.success()
            && notes.contains("nobody was told")
            && notes.contains("they will see you as away"),
        "{left:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(30));
}

fn with_private_den_left() -> (Home, String) {
    let home = Home::new();
    let secret = home.path().join("secret");
    std::fs::write(&secret, "open sesame").unwrap();
    let secret = secret.to_str().unwrap().to_owned();
    home.ok(&["--name", "alice", "join", "#den", "--passphrase-file", &secret]);
    home.run(&["chat", "#den", "--plain"], "among us\n");
    home.ok(&["leave", "#den", "--yes"]);
    (home, secret)
}

#[test]
fn a_script_does_not_end_up_in_the_public_room_of_a_name() {
    let (home, secret) = with_private_den_left();
    for args in [&["chat", "#den", "--plain"][..], &["chat", "den", "--plain", "--yes"]] {
        let output = home.run(&[args, &["--json"]].concat(), "for friends only\n");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(
            text.contains("KLATCH-ROOM-PRIVATE")
                && text.contains("--open")
                && text.contains("--passphrase-file")
        );
    }
    assert_eq!(rooms(&home).len(), 1, "nothing was opened");
    assert!(home.run(&["chat", "#den", "--passphrase-file", &secret], "back\n").status.success());
    home.ok(&["leave", "#den", "--yes"]);

    let output = home.run(&["chat", "#den", "--open"], "to everybody\n");
    assert!(output.status.success(), "{output:?}");
    // Once the open room was joined, its name means it, left or not.
    home.ok(&["leave", "#den", "--yes"]);
    assert!(home.run(&["chat", "#den"], "again\n").status.success());
    let output = home.run(&["chat", "#den", "--open", "--passphrase-file", &secret], "");
    assert_eq!(output.status.code(), Some(2), "one or the other");
}

#[test]
fn a_name_means_the_joined_room_before_one_that_was_left() {
    let (home, _) = with_private_den_left();
    let output = home.run(&["join", "#den"], "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("KLATCH-ROOM-PRIVATE"));
    home.ok(&["join", "#den", "--open"]);
    home.ok(&["send", "#den", "to everybody"]);
    let log = home.ok(&["log", "#den"]);
    assert!(log.contains("to everybody") && !log.contains("among us"), "{log}");
    assert_eq!(home.ok(&["members", "#den"]).lines().count(), 1);
    home.ok(&["log", "#den", "--json"]);
    assert_eq!(json(&home, &["leave", "#den", "--yes"]).1["already"], false);
    // Now both were left, and neither is meant more than the other: by id each can still be read.
    assert_eq!(home.run(&["log", "#den"], "").status.code(), Some(2));
    let private = rooms(&home).into_iter().find(|r| r["access"] == "passphrase").unwrap();
    assert!(home.ok(&["log", private["room_id"].as_str().unwrap()]).contains("among us"));
}

#[test]
fn two_rooms_of_one_name_are_refused_by_every_command_in_either_order() {
    for open_first in [true, false] {
        let home = Home::new();
        let secret = home.path().join("secret");
        std::fs::write(&secret, "open sesame").unwrap();
        let secret = secret.to_str().unwrap().to_owned();
        let private = ["--name", "alice", "join", "#mix", "--passphrase-file", &secret];
        if open_first {
            home.ok(&["--name", "alice", "join", "#mix"]);
            home.ok(&private);
        } else {
            home.ok(&private);
            let refused = home.run(&["join", "#mix"], "");
            assert_eq!(refused.status.code(), Some(2), "{refused:?}");
            home.ok(&["join", "#mix", "--open"]);
        }
        let ids: Vec<String> =
            rooms(&home).iter().map(|r| r["room_id"].as_str().unwrap().to_owned()).collect();
        for args in [
            &["send", "#mix", "for friends only"][..],
            &["log", "mix"],
            &["members", "#MIX"],
            &["leave", "#mix", "--yes"],
            &["chat", "#mix", "--plain"],
            &["tail", "#mix"],
        ] {
            let refused = home.run(args, "for friends only\n");
            let text = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(2), "{args:?}: {text}");
            assert!(text.contains("KLATCH-AMBIGUOUS"), "{args:?}: {text}");
            assert!(ids.iter().all(|id| text.contains(id.as_str())), "{args:?}: {text}");
        }
        for id in &ids {
            assert!(!home.ok(&["log", id]).contains("for friends only"));
            home.ok(&["send", id, "by its id"]);
        }
    }
}

#[test]
fn a_room_whose_name_looks_like_that_of_another_is_told_from_it() {
    let home = Home::new();
    home.ok(&["--name", "alice", "join", "#garden"]);
    let alike = home.run(&["join", "#g\u{430}rden"], "");
    assert!(alike.status.success(), "{alike:?}");
    let text = String::from_utf8_lossy(&alike.stderr);
    assert!(text.contains("is not #garden") && text.contains("look alike"), "{text}");
    let same = home.run(&["join", "#ＧＡＲＤＥＮ"], "");
    assert!(String::from_utf8_lossy(&same.stdout).contains("#garden was open already"));
    let id = "a".repeat(26);
    assert_eq!(home.run(&["join", &id], "").status.code(), Some(2), "nothing is called like an id");
}
