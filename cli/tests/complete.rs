//! Completion at Tab: bash really sources the script, and the node really is asked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;

use common::{Home, finish};

/// What bash offers for a line with the cursor at its end.
fn tab(home: &Home, line: &str) -> Vec<String> {
    let word = line.rsplit([' ', '@', ':', '=', '\'']).next().unwrap();
    let script = format!(
        "source <(klatch completions bash)\n\
         COMP_LINE={line}; COMP_POINT=${{#COMP_LINE}}\n\
         _klatch klatch {word} previous\n\
         ((${{#COMPREPLY[@]}})) && printf '%s\\n' \"${{COMPREPLY[@]}}\"\ntrue\n",
        line = quoted(line),
        word = quoted(word),
    );
    let klatch = home.command(&[]);
    let mut bash = std::process::Command::new("bash");
    bash.args(["--norc", "-c", &script]).env_clear();
    bash.envs(klatch.get_envs().filter_map(|(k, v)| Some((k, v?))));
    let bin = Path::new(env!("CARGO_BIN_EXE_klatch")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    bash.env("PATH", format!("{}:{path}", bin.display()));
    let output = finish(bash, "");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[test]
fn tab_offers_commands_rooms_and_messages() {
    let home = Home::new();
    assert_eq!(tab(&home, "klatch ro"), ["room", "rooms"]);
    assert!(tab(&home, "klatch send ga").is_empty(), "no node is started for a Tab");
    assert!(std::fs::read_dir(home.path()).unwrap().next().is_none(), "nor is anything made");
    home.ok(&["init", "--name", "alice", "--no-passphrase"]);
    home.ok(&["up"]);
    home.ok(&["join", "garden"]);
    home.ok(&["join", "lobby"]);
    assert_eq!(tab(&home, "klatch send ga"), ["garden"]);
    assert_eq!(tab(&home, "klatch leave "), ["garden", "lobby"]);
    assert_eq!(tab(&home, "klatch send '#ga"), ["\\#garden"]);
    let sent = home.ok(&["send", "garden", "hello", "--json"]);
    let sent: serde_json::Value = serde_json::from_str(&sent).unwrap();
    let id = sent["message_id"].as_str().unwrap();
    assert_eq!(tab(&home, &format!("klatch message react garden {}", &id[..4])), [id]);
    assert!(tab(&home, "klatch send garden hel").is_empty(), "a text is nobody's to complete");
    assert!(tab(&home, "klatch --profile other send ").is_empty());
}

#[test]
fn tab_offers_people_behind_their_sign() {
    let home = Home::new();
    for name in ["alice", "bob"] {
        home.ok(&["--profile", name, "init", "--name", name, "--no-passphrase"]);
        home.ok(&["--profile", name, "up"]);
        home.ok(&["--profile", name, "join", "garden"]);
    }
    home.ok(&["--profile", "alice", "wait", "room:#garden", "--timeout", "60s"]);
    let begun = std::time::Instant::now();
    // bash takes `@` for the end of a word, and replaces only what is behind it.
    while tab(&home, "klatch --profile alice whois @b") != ["bob"] {
        assert!(begun.elapsed() < common::PATIENCE);
    }
}

#[test]
fn tab_offers_names_that_mean_one_person() {
    let home = Home::new();
    for (profile, name) in [("alice", "alice"), ("one", "Bob"), ("two", "bob")] {
        home.ok(&["--profile", profile, "init", "--name", name, "--no-passphrase"]);
        home.ok(&["--profile", profile, "up"]);
        home.ok(&["--profile", profile, "join", "garden"]);
    }
    let begun = std::time::Instant::now();
    let offered = loop {
        let offered = [
            tab(&home, "klatch --profile alice whois @b"),
            tab(&home, "klatch --profile alice whois @B"),
        ];
        if offered.iter().all(|o| o.len() == 1 && o[0].contains('~')) {
            break offered;
        }
        assert!(begun.elapsed() < common::PATIENCE, "{offered:?}");
    };
    for (offer, name) in offered.iter().zip(["bob", "Bob"]) {
        // As bash takes it into the line.
        let offer = offer[0].replace('\\', "");
        assert!(offer.starts_with(name), "{offer}");
        home.ok(&["--profile", "alice", "whois", &format!("@{offer}")]);
    }
}

#[test]
fn tab_offers_what_a_command_can_do_something_with() {
    let home = Home::new();
    home.ok(&["init", "--name", "alice", "--no-passphrase"]);
    home.ok(&["up"]);
    home.ok(&["join", "garden"]);
    let send = |text: &str| {
        let sent = home.ok(&["send", "garden", text, "--json"]);
        let sent: serde_json::Value = serde_json::from_str(&sent).unwrap();
        sent["message_id"].as_str().unwrap().to_owned()
    };
    let (kept, deleted) = (send("kept"), send("deleted"));
    home.ok(&["message", "delete", "garden", &deleted]);
    for command in ["edit", "delete", "react"] {
        assert_eq!(tab(&home, &format!("klatch message {command} garden ")), [&*kept], "{command}");
    }
    assert!(tab(&home, "klatch message show garden ").contains(&deleted));
    home.ok(&["--profile", "bob", "init", "--name", "bob", "--no-passphrase"]);
    home.ok(&["--profile", "bob", "up"]);
    home.ok(&["--profile", "bob", "join", "garden"]);
    home.ok(&["--profile", "bob", "send", "garden", "not alice's", "--wait", "delivered"]);
    assert_eq!(tab(&home, "klatch message edit garden "), [&*kept]);
    assert_eq!(tab(&home, "klatch message react garden ").len(), 2);
    let address = "/ip4/127.0.0.1/tcp/9";
    home.ok(&["peer", "add", address]);
    assert_eq!(tab(&home, "klatch peer forget /ip4"), [address]);
}

/// A home with a running node in #garden, and a search path that finds this klatch; `None` if the
/// shell is not installed.
fn served(shell: &str) -> Option<(Home, std::process::Command)> {
    let installed = std::process::Command::new(shell).arg("--version").output();
    if !installed.is_ok_and(|o| o.status.success()) {
        eprintln!("skipped: {shell} is not installed");
        return None;
    }
    let home = Home::new();
    home.ok(&["init", "--name", "alice", "--no-passphrase"]);
    home.ok(&["up"]);
    home.ok(&["join", "garden"]);
    let klatch = home.command(&[]);
    let mut command = std::process::Command::new(shell);
    command.env_clear().envs(klatch.get_envs().filter_map(|(k, v)| Some((k, v?))));
    let bin = Path::new(env!("CARGO_BIN_EXE_klatch")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", bin.display())).env("TERM", "dumb");
    command.current_dir(home.path());
    Some((home, command))
}

#[test]
fn fish_offers_commands_and_rooms() {
    let Some((_home, mut fish)) = served("fish") else { return };
    let offers = "source (klatch completions fish | psub); complete -C 'klatch jo'; complete -C 'klatch send ga'";
    fish.args(["--no-config", "-c", offers]);
    let output = finish(fish, "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words: Vec<&str> = text.lines().filter_map(|l| l.split('\t').next()).collect();
    assert_eq!(words, ["join", "garden"], "{output:?}");
}

#[test]
fn zsh_completes_rooms_in_its_line_editor() {
    let Some((_home, mut zsh)) = served("zsh") else { return };
    // A shell in a terminal of its own: what Tab does is seen on its screen.
    let script = r#"
        zmodload zsh/zpty
        zpty -b z zsh -f -i
        zpty -w z "autoload -Uz compinit; compinit -u -D; source <(klatch completions zsh); print LOADED"
        seen=
        await() {
            for n in {1..600}; do
                while zpty -r -t z part; do seen+=$part; done
                [[ $seen == *$1* ]] && return 0
                sleep 0.05
            done
            print -r -- "never $1 in: $seen"; exit 1
        }
        await $'LOADED\r'
        seen=
        zpty -w -n z $'klatch send ga\t'
        await garden
        seen=
        zpty -w -n z $'\C-uklatch jo\t'
        await join
        zpty -d z"#;
    zsh.args(["-f", "-c", script]);
    let output = finish(zsh, "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
