//! Direct messages as people use them: real nodes on 127.0.0.1, from the command line and in plain
//! chats.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

mod common;

use std::time::{Duration, Instant};

use common::{Chat, Home, PATIENCE, acts};
use serde_json::Value;

/// Alice and bob, both in #garden, who have seen each other.
fn two(home: &Home) -> (Chat, Chat) {
    let alice = home.chat("alice", "#garden", &[]);
    let bob = home.chat("bob", "#garden", &[]);
    alice.hear_with("alice joined #garden");
    bob.hear_with("bob joined #garden");
    until("alice knows bob", || {
        home.ok(&["--profile", "alice", "members", "#garden"]).contains("bob\t")
    });
    until("bob knows alice", || {
        home.ok(&["--profile", "bob", "members", "#garden"]).contains("alice\t")
    });
    (alice, bob)
}

fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text.lines().next().unwrap_or_default()).unwrap()
}

fn contact(home: &Home, profile: &str, who: &str) -> Value {
    let list = home.ok(&["--profile", profile, "contact", "list", "--json"]);
    let all: Vec<Value> = list.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    all.into_iter()
        .find(|c| c["name"] == who)
        .unwrap_or_else(|| panic!("{profile} has no {who}: {list}"))
}

#[test]
fn a_stranger_waits_until_let_in_and_then_both_talk() {
    let home = Home::new();
    let (mut alice, mut bob) = two(&home);
    alice.say("/dm @bob \"can you keep a secret?\"");
    let asked = bob.hear_with("wants to talk to you");
    assert!(
        asked.starts_with("* alice (") && asked.contains("/accept @alice or /block @alice"),
        "{asked}"
    );
    assert!(home.ok(&["--profile", "bob", "contact", "requests"]).contains("alice ("));
    assert!(!bob.lines().iter().any(|l| l.contains("secret")), "a stranger is not heard yet");
    bob.say("/accept @alice");
    bob.hear("@alice: can you keep a secret?");
    bob.say("/dm @alice yes");
    alice.hear("@bob: yes");
    bob.hear("* delivered 1 of 1: \"yes\"");
    // Into the conversation, where lines go to the one person.
    bob.say("/dm @alice");
    bob.say("what is it?");
    bob.say("/me listens");
    alice.hear("* @bob listens");
    alice.say("/dm @bob the key is under the pot");
    bob.hear("@alice: the key is under the pot");
    bob.say("/react ^ 👍");
    alice.hear("@bob reacted 👍: \"the key is under the pot\"");
    bob.say("/leave");
    bob.say("back among all");
    alice.hear("#garden bob: back among all");
    let log = home.ok(&["--profile", "bob", "log", "@alice", "-n", "3"]);
    assert!(
        log.contains("you to @alice: what is it?")
            && log.contains("@alice: the key is under the pot"),
        "{log}"
    );
    // What is said between the two is in no room.
    for profile in ["alice", "bob"] {
        assert!(!home.ok(&["--profile", profile, "log", "#garden"]).contains("pot"));
    }
    assert!(alice.end().0 == Some(0) && bob.end().0 == Some(0));
}

#[test]
fn what_cannot_be_delivered_waits_and_says_so() {
    let home = Home::new();
    let (alice, bob) = two(&home);
    assert_eq!(bob.end().0, Some(0));
    let send = |more: &[&str]| {
        home.run(&[&["--profile", "alice", "send", "@bob", "are you there?"], more].concat(), "")
    };
    let sent = send(&[]);
    assert_eq!(sent.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&sent.stdout).contains("queued: nobody has it yet"));
    // The node of the chat stays, so nothing has to be done for it to go out.
    assert!(!String::from_utf8_lossy(&sent.stderr).contains("klatch up"), "{sent:?}");
    let waited = send(&["--wait", "delivered", "--timeout", "300ms"]);
    assert_eq!(waited.status.code(), Some(6), "{}", String::from_utf8_lossy(&waited.stderr));
    let bob = home.chat("bob", "#garden", &[]);
    until("both came", || {
        home.ok(&["--profile", "bob", "contact", "requests", "--json"]).contains("\"messages\":2")
    });
    home.ok(&["--profile", "bob", "contact", "accept", "@alice", "--as", "Alice Jones"]);
    let log = home.ok(&["--profile", "bob", "log", "@Alice Jones"]);
    assert_eq!(log.matches("@Alice Jones: are you there?").count(), 2, "{log}");
    until("alice knows", || {
        home.ok(&["--profile", "alice", "log", "@bob", "--json"]).matches("\"delivered\"").count()
            == 2
    });
    assert!(alice.end().0 == Some(0) && bob.end().0 == Some(0));
}

#[test]
fn codes_are_equal_on_both_sides_and_a_change_of_keys_is_loud() {
    let home = Home::new();
    let (alice, bob) = two(&home);
    assert!(home.ok(&["--profile", "alice", "verify", "@bob"]).contains("no codes yet"));
    assert!(!home.run(&["--profile", "alice", "verify", "@bob", "--yes"], "").status.success());
    home.ok(&["--profile", "alice", "send", "@bob", "hello", "--wait", "delivered"]);
    home.ok(&["--profile", "bob", "contact", "accept", "@alice"]);
    let codes =
        |profile: &str, who: &str| json(&home.ok(&["--profile", profile, "verify", who, "--json"]));
    let (a, b) = (codes("alice", "@bob"), codes("bob", "@alice"));
    assert_eq!((&a["digits"], &a["emoji"]), (&b["digits"], &b["emoji"]));
    assert_eq!(a["digits"].as_str().unwrap().chars().filter(char::is_ascii_digit).count(), 60);
    assert_eq!(a["emoji"].as_array().unwrap().len(), 7);
    assert_eq!(
        contact(&home, "alice", "bob")["verification"],
        "unverified",
        "showing is not comparing"
    );
    // The same page says in a shell what is typed there, and in a chat what is typed there.
    let told = home.ok(&["--profile", "alice", "whois", "@bob"]);
    assert!(told.contains("not compared yet: `klatch --profile alice verify @bob`"), "{told}");
    assert!(!told.contains("/verify"), "{told}");
    let chat = home.run(&["--profile", "alice", "chat", "#garden", "--plain"], "/whois @bob\n");
    let told = String::from_utf8_lossy(&chat.stdout).into_owned();
    assert!(told.contains("not compared yet: /verify @bob"), "{told}");
    home.ok(&["--profile", "alice", "verify", "@bob", "--yes"]);
    assert_eq!(contact(&home, "alice", "bob")["verification"], "verified");
    // Bob's disk is lost but for his key: the person is the same, the keys of the conversation are
    // not.
    assert_eq!(bob.end().0, Some(0));
    for file in std::fs::read_dir(home.path().join("bob")).unwrap().flatten() {
        if !file.file_name().to_string_lossy().contains("keystore") && file.path().is_file() {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    let bob = home.chat("bob", "#garden", &[]);
    bob.hear_with("bob joined #garden");
    until("bob knows alice", || {
        home.ok(&["--profile", "bob", "members", "#garden"]).contains("alice\t")
    });
    home.ok(&["--profile", "bob", "send", "@alice", "it is me, honestly"]);
    until("the change is noticed", || contact(&home, "alice", "bob")["verification"] == "changed");
    for args in [&["send", "@bob", "who are you?"][..], &["log", "@bob"]] {
        let output = home.run(&[&["--profile", "alice"], args].concat(), "");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            told.contains("WARNING: the keys of bob are not the ones that you compared"),
            "{args:?}: {told}"
        );
    }
    assert!(alice.end().0 == Some(0) && bob.end().0 == Some(0));
}

#[test]
fn two_of_the_same_name_are_told_apart_and_a_blocked_one_is_not_heard() {
    let home = Home::new();
    let alice = home.chat("alice", "#garden", &[]);
    alice.hear_with("alice joined #garden");
    let mut others = Vec::new();
    for profile in ["one", "two"] {
        home.ok(&["--profile", profile, "--name", "bob", "init", "--no-passphrase"]);
        let chat = home.chat(profile, "#garden", &[]);
        chat.hear_with("joined #garden");
        others.push(chat);
    }
    until("all are there", || {
        // Names that are alike are marked: `bob~ABCD`.
        home.ok(&["--profile", "alice", "members", "#garden"]).matches("bob~").count() == 2
    });
    let refused = home.run(&["--profile", "alice", "send", "@bob", "hi"], "");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{why}");
    let print = |profile: &str| {
        let who = json(&home.ok(&["--profile", profile, "status", "--json"]))["identity"]
            .as_str()
            .unwrap()
            .to_owned();
        let known = home.ok(&["--profile", "alice", "whois", &who, "--json"]);
        json(&known)["fingerprint"].as_str().unwrap().to_owned()
    };
    let (one, two) = (print("one"), print("two"));
    assert!(why.contains(&one) && why.contains(&two), "{why}");
    home.ok(&["--profile", "alice", "send", &format!("@{one}"), "hi", "--wait", "delivered"]);
    assert!(home.ok(&["--profile", "two", "contact", "requests"]).is_empty());
    home.ok(&["--profile", "one", "contact", "block", "@alice"]);
    home.ok(&["--profile", "alice", "send", &format!("@{one}"), "anybody?"]);
    // What comes later from somebody else shows that the blocked one would have come.
    home.ok(&[
        "--profile",
        "two",
        "send",
        &format!("@{one}"),
        "it is the other bob",
        "--wait",
        "delivered",
    ]);
    let requests = home.ok(&["--profile", "one", "contact", "requests"]);
    assert!(requests.contains("bob") && !requests.contains("alice"), "{requests}");
    drop((alice, others));
}

#[test]
fn nothing_that_strangers_send_acts_on_the_terminal() {
    let home = Home::new();
    let (alice, bob) = two(&home);
    let nasty = "x\u{1b}[2J\u{1b}]52;c;aGk=\u{7}\u{202e}evil\u{200b}y";
    home.ok(&["--profile", "alice", "send", "@bob", nasty, "--wait", "delivered"]);
    home.ok(&["--profile", "bob", "contact", "accept", "@alice"]);
    assert!(
        !home
            .run(&["--profile", "bob", "contact", "rename", "@alice", "a\u{1b}[2J"], "")
            .status
            .success()
    );
    for args in [
        &["log", "@alice"][..],
        &["log", "@alice", "--json"],
        &["contact", "list"],
        &["whois", "@alice"],
    ] {
        let printed = home.ok(&[&["--profile", "bob"], args].concat());
        assert!(!acts(&printed), "{args:?}: {printed:?}");
    }
    for line in alice.lines().iter().chain(&bob.lines()) {
        assert!(!acts(line), "{line:?}");
    }
    let log = home.ok(&["--profile", "bob", "log", "@alice", "--json"]);
    assert!(log.lines().any(|l| json(l)["text"] == nasty));
    assert!(alice.end().0 == Some(0) && bob.end().0 == Some(0));
}

#[test]
fn a_forgotten_conversation_is_gone_and_begins_again_as_a_request() {
    let home = Home::new();
    let (mut alice, mut bob) = two(&home);
    alice.say("/dm @bob under the pot");
    bob.hear_with("wants to talk to you");
    bob.say("/accept @alice");
    bob.hear("@alice: under the pot");
    let forget = |more: &[&str]| {
        home.run(&[&["--profile", "bob", "contact", "forget", "@alice"], more].concat(), "")
    };
    let asked = forget(&[]);
    assert_eq!(asked.status.code(), Some(2));
    let error = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(error.contains("1 message with @alice and the keys") && error.contains("--yes"));
    assert!(home.ok(&["--profile", "bob", "log", "@alice"]).contains("pot"), "nothing was done");
    let done = forget(&["--yes", "--json"]);
    let done = json(&String::from_utf8_lossy(&done.stdout));
    assert_eq!((done["forgotten"].as_bool(), done["messages"].as_u64()), (Some(true), Some(1)));
    assert!(!home.ok(&["--profile", "bob", "log", "@alice"]).contains("pot"));
    assert!(!home.ok(&["--profile", "bob", "contact", "list"]).contains("alice"));
    let requests = || home.ok(&["--profile", "bob", "contact", "requests"]);
    alice.say("/dm @bob are you there");
    until("it is a request", || requests().contains("alice ("));
    bob.say("/forget @alice");
    bob.say("y");
    until("that is forgotten, too", || requests().is_empty());
    assert_eq!(home.ok(&["--profile", "bob", "contact", "list"]), "");
    assert!(!bob.lines().iter().any(|line| line.ends_with(": y")), "it was an answer");
    assert!(alice.end().0 == Some(0) && bob.end().0 == Some(0));
}
