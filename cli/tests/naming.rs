//! People whose names look alike, or who call themselves like the program speaks: real nodes on
//! 127.0.0.1, and every command that shows or takes a name.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

mod common;

use std::os::unix::fs::DirBuilderExt;
use std::time::Instant;

use common::{Home, PATIENCE};
use klatch_node::store::keystore::{Keystore, Secrets};
use serde_json::Value;

/// Somebody in #garden under a name that this program might refuse: others need not.
fn join(home: &Home, profile: &str, name: &str) {
    let folder = home.path().join(profile);
    std::fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
    let secrets = Secrets::generate(name, 1_795_284_600_000).unwrap();
    Keystore::at(&folder).create(&secrets, None).unwrap();
    home.ok(&["--profile", profile, "up"]);
    home.ok(&["--profile", profile, "join", "#garden"]);
}

fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn lines(home: &Home, args: &[&str]) -> Vec<Value> {
    let text = home.ok(&[&["--profile", "alice", "--json"], args].concat());
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// The members of #garden beside alice, once alice has heard of so many.
fn others(home: &Home, count: usize) -> Vec<Value> {
    until("all are there", || {
        let mut all = lines(home, &["members", "#garden"]);
        all.retain(|m| m["own"] == false && m["online"] == true && m["name"] != "");
        (all.len() == count).then_some(all)
    })
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of[key].as_str().unwrap_or_else(|| panic!("no {key} in {of}"))
}

#[test]
fn whoever_is_called_alike_is_refused_by_every_command_with_both_fingerprints() {
    let home = Home::new();
    for (profile, name) in [("alice", "alice"), ("one", "Bob"), ("two", "bob")] {
        join(&home, profile, name);
    }
    let both = others(&home, 2);
    let prints: Vec<&str> = both.iter().map(|m| text(m, "fingerprint")).collect();
    for who in ["@Bob", "@bob", "@BOB"] {
        let topic = format!("dm/{who}");
        let peer = format!("peer:{who}");
        for args in [
            &["send", who, "for one of you"][..],
            &["log", who],
            &["tail", who],
            &["chat", who, "--plain"],
            &["whois", who],
            &["verify", who, "--yes"],
            &["contact", "show", who],
            &["contact", "accept", who],
            &["contact", "block", who],
            &["contact", "rename", who, "robert"],
            &["contact", "forget", who, "--yes"],
            &["leave", who, "--forget", "--yes"],
            &["room", "mute", "#garden", who],
            &["events", &topic, "-n", "1"],
            &["wait", &peer, "--timeout", "1s"],
            &["message", "show", who, "aaaaaa"],
        ] {
            let refused = home.run(&[&["--profile", "alice"], args].concat(), "hello\n");
            let said = String::from_utf8_lossy(&refused.stderr);
            assert!(said.contains("KLATCH-PERSON-AMBIGUOUS"), "{args:?}: {said}");
            assert_eq!(refused.status.code(), Some(2), "{args:?}: {said}");
            assert!(prints.iter().all(|p| said.contains(p)), "{args:?}: {said}");
        }
    }
    let mut chat = home.chat("alice", "#garden", &["--json"]);
    for (n, command) in
        ["/whois @bob", "/mute @bob", "/verify @Bob", "/rename @bob b"].iter().enumerate()
    {
        chat.say(command);
        chat.say(&format!("next {n}"));
        chat.hear_with(&format!("next {n}"));
    }
    // Last, since nothing that follows it is sent.
    chat.say("/dm @Bob hello");
    assert_eq!(chat.end().0, Some(8), "what was not sent is an error");
    assert!(lines(&home, &["contact", "list"]).is_empty(), "nobody was written to");
    for member in &both {
        let marked = format!("@{}~{}", text(member, "name"), text(member, "name_mark"));
        let found = lines(&home, &["whois", &marked]);
        assert_eq!(text(&found[0], "identity"), text(member, "identity"), "{marked}");
        home.ok(&["--profile", "alice", "room", "mute", "#garden", &marked]);
    }
    assert!(others(&home, 2).iter().all(|m| m["muted"] == true));
}

/// Each of these names is followed by a mark wherever it stands.
fn all_marked(shown: &str, names: &[&str], what: &str) {
    for name in names {
        let mut found = 0;
        for (at, _) in shown.match_indices(name) {
            // Not the end of another name.
            if shown[..at].ends_with(|c: char| c.is_alphanumeric()) {
                continue;
            }
            found += 1;
            let mark = shown[at + name.len()..].strip_prefix('~').unwrap_or_default();
            let mark: String = mark.chars().take(4).collect();
            assert!(mark.len() == 4, "{what}: {name} without a mark:\n{shown}");
        }
        assert!(found > 0, "{what}: no {name} in\n{shown}");
    }
}

#[test]
fn every_command_that_shows_a_name_shows_what_tells_it_from_others() {
    let home = Home::new();
    for (profile, name) in [("alice", "alice"), ("one", "Bob"), ("two", "bob")] {
        join(&home, profile, name);
    }
    others(&home, 2);
    for profile in ["one", "two"] {
        home.ok(&["--profile", profile, "send", "#garden", "hello all", "--wait", "sent"]);
    }
    let names = ["Bob", "bob"];
    let alice = |args: &[&str]| home.ok(&[&["--profile", "alice"], args].concat());
    until("both are heard", || {
        (alice(&["log", "#garden"]).matches("hello all").count() == 2).then_some(())
    });
    for args in [
        &["status"][..],
        &["peer", "list"],
        &["members", "#garden"],
        &["log", "#garden"],
        &["log", "#garden", "--search", "hello"],
        &["events", "room/", "--after", "start", "-n", "5"],
    ] {
        all_marked(&alice(args), &names, &args.join(" "));
    }
    let status = &lines(&home, &["status"])[0];
    let peers = status["peers"].as_array().unwrap();
    assert!(peers.len() == 2 && peers.iter().all(|p| p["name_mark"].is_string()), "{status}");
    let said = lines(&home, &["log", "#garden", "--search", "hello"]);
    for message in &said {
        let known = peers.iter().find(|p| p["identity"] == message["identity"]).unwrap();
        assert_eq!(known["name_mark"], message["name_mark"]);
    }
    // Questions, answers and lists about one of them.
    let whole = |m: &Value| format!("@{}~{}", text(m, "name"), text(m, "name_mark"));
    let (one, two) = (whole(&said[0]), whole(&said[1]));
    for who in [&one, &two] {
        alice(&["-q", "send", who, "only for you"]);
    }
    for args in [&["contact", "list"][..], &["log", &one], &["whois", &one]] {
        let shown = alice(args);
        all_marked(&shown, &[&one[1..4]], &args.join(" "));
    }
    let asked = home.run(&["--profile", "alice", "contact", "forget", &two], "");
    all_marked(&String::from_utf8_lossy(&asked.stderr), &[&two[1..4]], "the question");
    all_marked(&alice(&["contact", "block", &two]), &[&two[1..4]], "what was done");
}

#[test]
fn whoever_is_called_like_the_program_speaks_is_always_shown_with_a_mark() {
    let home = Home::new();
    let names = ["you", "* alice", "alice: hi", "(alice)", "klatch"];
    join(&home, "alice", "alice");
    for (n, name) in names.iter().enumerate() {
        let profile = format!("p{n}");
        join(&home, &profile, name);
        home.ok(&["--profile", &profile, "send", "#garden", "trust me", "--wait", "sent"]);
    }
    let alice = |args: &[&str]| home.ok(&[&["--profile", "alice"], args].concat());
    until("all are heard", || {
        (alice(&["log", "#garden"]).matches("trust me").count() == names.len()).then_some(())
    });
    for args in [&["log", "#garden", "--search", "trust"][..], &["members", "#garden"], &["status"]]
    {
        let shown = alice(args);
        for name in names {
            assert!(shown.contains(&format!("{name}~")), "{args:?}: {name}:\n{shown}");
        }
    }
    let message = &lines(&home, &["log", "#garden", "--search", "trust"])[0];
    assert!(message["name_mark"].is_string(), "{message}");
}

#[test]
fn rooms_of_one_name_are_told_apart_by_every_command_and_named_as_they_are_shown() {
    let home = Home::new();
    let secret = home.path().join("secret");
    std::fs::write(&secret, "open sesame").unwrap();
    let alice = |args: &[&str]| home.ok(&[&["--profile", "alice"], args].concat());
    let both = ["join", "#mix", "--passphrase-file", secret.to_str().unwrap()];
    home.ok(&[&["--profile", "alice", "--name", "alice"], &both[..2]].concat());
    alice(&["up"]);
    alice(&both);
    let rooms = lines(&home, &["rooms"]);
    let marks: Vec<&str> = rooms.iter().map(|r| text(r, "name_mark")).collect();
    assert_ne!(marks[0], marks[1]);
    for (room, mark) in rooms.iter().zip(&marks) {
        let shown = format!("#mix~{mark}");
        alice(&["-q", "send", &shown, "in one of two"]);
        let log = alice(&["log", &shown]);
        assert!(log.contains(&format!("{shown} you: in one of two")), "{log}");
        assert_eq!(log.matches("in one of two").count(), 1, "{log}");
        assert_eq!(lines(&home, &["log", &shown, "-n", "1"])[0]["room_id"], room["room_id"]);
        let shown_by = |args: &[&str]| {
            let printed = alice(args);
            assert!(printed.contains(&shown), "{args:?}:\n{printed}");
        };
        for args in [&["rooms"][..], &["status"], &["message", "broadcast", "both", "--yes"]] {
            if args[0] != "message" || mark == &marks[0] {
                shown_by(args);
            }
        }
    }
    let mut chat = home.chat("alice", &format!("#mix~{}", marks[0]), &[]);
    chat.say("here?");
    chat.hear(&format!("#mix~{} you: here?", marks[0]));
    chat.say(&format!("/join #mix~{}", marks[1]));
    chat.say("there?");
    chat.hear(&format!("#mix~{} you: there?", marks[1]));
    assert_eq!(chat.end().0, Some(0));
    let left = alice(&["leave", &format!("#mix~{}", marks[0]), "--yes"]);
    assert!(left.contains(&format!("left #mix~{}", marks[0])), "{left}");
}

#[test]
fn what_is_for_the_longer_of_two_names_never_goes_to_the_shorter() {
    let home = Home::new();
    for (profile, name) in [("alice", "alice"), ("one", "Mary"), ("two", "Mary Ann")] {
        join(&home, profile, name);
    }
    others(&home, 2);
    let alice = |args: &[&str]| home.run(&[&["--profile", "alice"], args].concat(), "hello\n");
    for args in [
        &["send", "@Mary", "Ann", "hello"][..],
        &["send", "@mary", "ann"],
        &["send", "@Mary", "Ann:", "hello"],
        &["contact", "rename", "@Mary", "Ann"],
    ] {
        let refused = alice(args);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("KLATCH-PERSON-AMBIGUOUS"), "{args:?}: {said}");
        assert!(said.to_lowercase().contains("'@mary ann'"), "{args:?}: {said}");
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {said}");
    }
    for line in [
        "/dm @Mary Ann: one",
        "/dm @Mary Ann, two",
        "/dm @mary ann:three",
        "/dm @Mary Ann's here",
        "/dm @Mary Ann\u{2026}",
        "/rename @Mary Ann: Q",
        "/rename @Mary Ann, Quinn",
        "/accept @Mary Ann: Quinn",
        "/verify @Mary Ann: yes",
    ] {
        let refused = home.run(
            &["--profile", "alice", "chat", "#garden", "--plain", "-n", "0"],
            &format!("{line}\n"),
        );
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("KLATCH-PERSON-AMBIGUOUS"), "{line}: {said}");
        assert!(said.contains("ann\"") || said.contains("Ann\""), "{line}: {said}");
    }
    assert!(lines(&home, &["contact", "list"]).is_empty(), "nobody was written to");
    // In quotes, or as one text, it is clear.
    for (args, to) in [
        (&["send", "@Mary Ann", "long: name"][..], "Mary Ann"),
        (&["send", "@Mary", "Ann hello"], "Mary"),
        (&["send", "@Mary", "hello", "Ann:", "you"], "Mary"),
    ] {
        let sent = alice(args);
        assert!(sent.status.success(), "{args:?}: {}", String::from_utf8_lossy(&sent.stderr));
        let log = String::from_utf8(alice(&["log", &format!("@{to}")]).stdout).unwrap();
        assert!(log.contains(&args[2..].join(" ")), "{args:?}: {log}");
    }
    let mut chat = home.chat("alice", "#garden", &["-n", "0"]);
    chat.say("/dm @\"Mary\" Ann: is she there?");
    chat.hear_with("Ann: is she there?");
    chat.say("/dm @\"Mary Ann\" : are you there?");
    chat.hear_with(": are you there?");
    assert_eq!(chat.end().0, Some(0));
}
