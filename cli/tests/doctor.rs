//! `klatch doctor` on real profiles: what it finds, how it ends, and that its archive names nobody.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use common::Home;
use serde_json::Value;

/// The checks by name, after a look at the form of the object.
fn checks(stdout: &[u8]) -> BTreeMap<String, Value> {
    let report: Value = serde_json::from_slice(stdout).unwrap();
    assert_eq!(report["schema"], 1);
    let mut found = BTreeMap::new();
    for check in report["checks"].as_array().unwrap() {
        let (outcome, text) = (check["outcome"].as_str().unwrap(), check["text"].as_str().unwrap());
        assert!(
            ["ok", "warn", "fail", "unknown", "skipped"].contains(&outcome) && !text.is_empty(),
            "{check}"
        );
        // What is well or does not apply needs nothing done.
        assert_eq!(["ok", "skipped"].contains(&outcome), check["fix"].is_null(), "{check}");
        found.insert(check["name"].as_str().unwrap().to_owned(), check.clone());
    }
    found
}

fn doctor(home: &Home, profile: &str, exit: i32) -> BTreeMap<String, Value> {
    let output = home.run(&["--profile", profile, "doctor", "--json"], "");
    assert_eq!(output.status.code(), Some(exit), "{output:?}");
    checks(&output.stdout)
}

#[test]
fn a_new_machine_is_told_where_to_begin_and_nothing_is_made() {
    let home = Home::new();
    let found = doctor(&home, "default", 1);
    assert_eq!(found["identity"]["outcome"], "fail");
    assert_eq!(found["identity"]["fix"], "klatch init");
    for name in ["store", "multicast", "peers", "clock", "rooms"] {
        assert_eq!(found[name]["outcome"], "unknown", "{name}");
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_profile_at_rest_is_looked_into_without_a_node() {
    let home = Home::new();
    home.ok(&["--name", "alice", "join", "#garden"]);
    let found = doctor(&home, "default", 0);
    assert_eq!(found["store"]["text"], "readable, 1 room");
    assert_eq!(
        (&found["node"]["outcome"], &found["node"]["fix"]),
        (&"warn".into(), &"klatch up".into())
    );
    assert!(!home.path().join("default/run/api.sock").exists());

    std::fs::set_permissions(
        home.path().join("default/keystore"),
        std::fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let found = doctor(&home, "default", 1);
    assert!(found["permissions"]["fix"].as_str().unwrap().starts_with("chmod 600 "));
    assert_eq!(found["identity"]["outcome"], "fail");
    std::fs::set_permissions(
        home.path().join("default/keystore"),
        std::fs::Permissions::from_mode(0o600),
    )
    .unwrap();

    std::fs::write(home.path().join("default/klatch.db"), "garbage").unwrap();
    assert_eq!(doctor(&home, "default", 1)["store"]["outcome"], "fail");
    assert_eq!(std::fs::read(home.path().join("default/klatch.db")).unwrap(), b"garbage");
}

#[test]
fn a_protected_profile_is_unknown_inside_until_it_is_unlocked() {
    let home = Home::new();
    let pass = home.path().join("pass");
    std::fs::write(&pass, "correct horse").unwrap();
    let pass = pass.to_str().unwrap();
    home.ok(&["--name", "alice", "init", "--passphrase-file", pass]);
    home.ok(&["join", "#garden", "--unlock-file", pass]);
    let found = doctor(&home, "default", 0);
    assert_eq!(
        found["identity"]["text"],
        format!("present, protected by a passphrase, in {}/default", home.path().display())
    );
    assert_eq!(found["store"]["outcome"], "unknown");
    let output = home.run(&["doctor", "--json", "--unlock-file", pass], "");
    assert_eq!(checks(&output.stdout)["store"]["text"], "readable, 1 room");
    std::fs::write(pass, "wrong").unwrap();
    let output = home.run(&["doctor", "--json", "--unlock-file", pass], "");
    assert_eq!(
        (checks(&output.stdout)["store"]["outcome"].as_str(), output.status.code()),
        (Some("fail"), Some(1))
    );
}

#[test]
fn a_process_that_has_the_profile_and_answers_nobody_is_named() {
    let home = Home::new();
    home.ok(&["--name", "alice", "init"]);
    let _held =
        klatch_node::store::lock::ProfileLock::acquire(&home.path().join("default")).unwrap();
    let output = home.run(&["doctor", "--quick", "--json"], "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let node = &checks(&output.stdout)["node"];
    assert!(node["text"].as_str().unwrap().contains(&std::process::id().to_string()), "{node}");
    assert_eq!(node["fix"], "klatch down");
}

#[test]
fn a_running_node_and_its_rooms_are_seen() {
    let home = Home::new();
    for who in ["alice", "bob"] {
        home.ok(&["--profile", who, "--name", who, "up"]);
        home.ok(&["--profile", who, "join", "#garden"]);
    }
    home.ok(&["--profile", "alice", "wait", "room:#garden"]);
    let begun = Instant::now();
    let found = loop {
        let found = doctor(&home, "alice", 0);
        if found["clock"]["outcome"] == "ok" {
            break found;
        }
        assert!(begun.elapsed() < common::PATIENCE, "{found:#?}");
    };
    for name in ["identity", "permissions", "store", "node", "peers", "refused", "room:#garden"] {
        assert_eq!(found[name]["outcome"], "ok", "{}", found[name]);
    }
    assert_eq!(found["room:#garden"]["text"], "2 of 2 online");
    assert_eq!(found["listening"]["outcome"], "warn", "nobody beyond this machine can connect");
    let quick = home.run(&["--profile", "alice", "doctor", "--quick"], "");
    let text = String::from_utf8(quick.stdout).unwrap();
    assert!(quick.status.success() && text.contains("node") && !text.contains("#garden"), "{text}");
}

/// Name and content of each file in a `ustar` archive.
fn unpack(archive: &[u8]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut rest = archive;
    while rest.len() > 1_024 {
        let word = |at: usize, len: usize| {
            let bytes: Vec<u8> =
                rest[at..at + len].iter().copied().take_while(|b| *b != 0).collect();
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!(word(257, 5), "ustar");
        let sum: u32 = rest[..512]
            .iter()
            .enumerate()
            .map(|(i, b)| if (148..156).contains(&i) { 32 } else { u32::from(*b) })
            .sum();
        assert_eq!(u32::from_str_radix(&word(148, 6), 8).unwrap(), sum);
        let size = usize::from_str_radix(&word(124, 11), 8).unwrap();
        files.insert(word(0, 100), String::from_utf8(rest[512..512 + size].to_vec()).unwrap());
        rest = &rest[512 + size.next_multiple_of(512)..];
    }
    assert!(rest.len() == 1_024 && rest.iter().all(|b| *b == 0));
    files
}

/// Every string that stands anywhere under one of these keys.
fn under(value: &Value, keys: &[&str], found: &mut Vec<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|v| under(v, keys, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if keys.contains(&key.as_str()) => found.push(text.clone()),
                    value => under(value, keys, found),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn the_archive_names_nobody_and_can_still_be_read() {
    let home = Home::new();
    let (alice, bob) = ("Zephyrine Quux", "bobolink");
    for (profile, name) in [("hideaway", alice), ("b", bob)] {
        let mut up = home.command(&["--profile", profile, "--name", name, "up"]);
        // Everything that can be logged is.
        up.env("KLATCH_LOG", "debug");
        assert!(common::finish(up, "").status.success());
        home.ok(&["--profile", profile, "join", "#marmalade"]);
    }
    home.ok(&["--profile", "hideaway", "wait", "room:#marmalade"]);
    let sent = home.ok(&[
        "--profile",
        "hideaway",
        "send",
        "#marmalade",
        "the vault opens at nine",
        "--json",
        "--wait",
        "delivered",
    ]);
    let ask = |call: &[&str]| {
        serde_json::from_str(&home.ok(&[&["--profile", "hideaway"], call].concat())).unwrap()
    };
    let members: Value = ask(&["api", "call", "room.members", r##"{"room":"#marmalade"}"##]);
    let status: Value = ask(&["status", "--json"]);
    // What others wrote into the log by mistake would not get out either.
    let log = home.path().join("hideaway/node.log");
    let mut text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("klatch") || text.contains("libp2p"), "the log is not empty: {text}");
    text.push_str(
        "2026-11-21T18:05:00.123456Z  WARN klatch_node: bobolink in #marmalade at /ip4/203.0.113.77/tcp/4711\n",
    );
    text.push_str("the vault opens at nine\n");
    std::fs::write(&log, text).unwrap();

    let file = home.path().join("report.tar");
    let output =
        home.run(&["--profile", "hideaway", "doctor", "--bundle", file.to_str().unwrap()], "");
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("#marmalade"),
        "the screen is for the owner"
    );
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let mut secrets: Vec<String> =
        ["vault", "hideaway", "203.0.113.77", "/tcp/4711"].map(str::to_owned).to_vec();
    secrets.push(home.path().to_str().unwrap().to_owned());
    let ids = ["name", "room_id", "device", "identity", "fingerprint", "peer_id", "message_id"];
    for value in [&members, &status, &serde_json::from_str(&sent).unwrap()] {
        under(value, &ids, &mut secrets);
    }
    let addresses =
        status["listening"].as_array().unwrap().iter().chain([&status["peers"][0]["address"]]);
    // A bare port may be part of a time.
    let ports = addresses.map(|a| a.as_str().unwrap().split('/').nth(4).unwrap().to_owned());
    secrets.extend(ports.flat_map(|p| [format!("/tcp/{p}"), format!("/udp/{p}"), format!(":{p}")]));
    // Short forms stand in logs.
    let short: Vec<String> = secrets
        .iter()
        .filter(|s| s.len() >= 26 && s.is_ascii())
        .map(|s| s[..8].to_owned())
        .collect();
    secrets.extend(short);
    secrets.extend(["Zephyrine", "bobolink", "marmalade"].map(str::to_owned));
    assert!(secrets.len() > 20, "{secrets:?}");

    let files = unpack(&std::fs::read(&file).unwrap());
    for (name, text) in &files {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} in {name}:\n{text}");
        }
    }
    let part = |name: &str| files[&format!("klatch-report/{name}")].as_str();
    assert!(
        part("log.txt").contains("WARN klatch_node: person-")
            && part("log.txt").contains("/ip4/ip-1/tcp/port-")
    );
    assert!(
        part("files.txt").contains("DATA/keystore  600  ")
            && part("files.txt").contains(".addr  600")
    );
    assert!(
        part("system.txt").contains(env!("CARGO_PKG_VERSION"))
            && part("doctor.txt").contains("room:room-1")
    );
    assert_eq!(checks(part("doctor.json").as_bytes())["room:room-1"]["text"], "2 of 2 online");
    let node: Value = serde_json::from_str(part("node.json")).unwrap();
    assert!(
        node["rooms"][0]["name"] == "room-1"
            && node["peers"][0]["name"].as_str().unwrap().starts_with("person-")
    );

    // It is never overwritten.
    let again =
        home.run(&["--profile", "hideaway", "doctor", "--bundle", file.to_str().unwrap()], "");
    assert_eq!(again.status.code(), Some(2), "{again:?}");

    // Without a node the names come from the disk.
    home.ok(&["--profile", "hideaway", "down"]);
    std::fs::remove_file(&file).unwrap();
    home.ok(&["--profile", "hideaway", "doctor", "--bundle", file.to_str().unwrap()]);
    let files = unpack(&std::fs::read(&file).unwrap());
    for (name, text) in &files {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} in {name} without a node:\n{text}");
        }
    }
    assert!(!files.contains_key("klatch-report/node.json"));
}
