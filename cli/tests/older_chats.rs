//! Carries out the page `klatch help older-chats` line by line, with real nodes: alice does what
//! the page says, bob sees it. Each row of the page has one check here, and each check a row.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

mod common;

use std::time::{Duration, Instant};

use common::{Chat, Home, PATIENCE, finish};
use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
struct Row {
    old: String,
    chatting: Option<String>,
    shell: Option<String>,
}

/// Alice has the default profile and a passphrase; bob sits in #garden and #shed.
struct World {
    home: Home,
    bob: Option<Chat>,
}

/// What ended, and how.
struct Ran {
    ok: bool,
    out: String,
    err: String,
}

impl World {
    fn run(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.home.command(args);
        command
            .current_dir(self.home.path())
            .env("KLATCH_PASSPHRASE_FILE", self.home.path().join("secret.txt"));
        let output = finish(command, input);
        Ran {
            ok: output.status.success(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The row's command line, as a shell would read it.
    fn shell(&self, row: &Row) -> String {
        let words = split(row.shell.as_deref().unwrap());
        let args: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(args[0], "klatch");
        self.alice(&args[1..])
    }

    /// The row's line, typed into a chat in #garden that then ends.
    fn typed(&self, row: &Row) -> Ran {
        self.typed_and(row, "")
    }

    fn typed_and(&self, row: &Row, more: &str) -> Ran {
        let ran = self.run(
            &["chat", "#garden", "--plain", "-n", "0"],
            &format!("{}\n{more}", row.chatting.as_deref().unwrap()),
        );
        assert!(ran.ok, "{}: {}{}", row.old, ran.out, ran.err);
        ran
    }

    fn bob(&self) -> &Chat {
        self.bob.as_ref().unwrap()
    }

    fn alice(&self, args: &[&str]) -> String {
        let ran = self.run(args, "");
        assert!(ran.ok, "{args:?}: {}", ran.err);
        ran.out
    }

    fn node_runs(&self) -> bool {
        self.home.path().join("default/run/api.sock").exists()
    }

    /// Starts the node again after a row that ended it, and waits until bob is there.
    fn back(&self) {
        self.alice(&["up"]);
        self.alice(&["wait", "room:#garden"]);
    }

    /// Runs a command of bob's until it prints this.
    fn bob_sees(&self, args: &[&str], wanted: &str) {
        let begun = Instant::now();
        let args = [&["--profile", "bob"], args].concat();
        let mut printed = String::new();
        while begun.elapsed() < PATIENCE {
            printed = self.home.ok(&args);
            if printed.contains(wanted) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{args:?} never printed {wanted:?}: {printed}");
    }
}

/// Splits at spaces outside of single quotes.
fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words
}

type Check = (&'static str, fn(&mut World, &Row));

const CHECKS: &[Check] = &[
    ("/register USER PASSWORD", |w, row| {
        assert!(w.shell(row).contains("you are alice"));
        assert!(
            !w.run(&["--unlock-file", "/dev/null", "unlock"], "").ok,
            "a passphrase protects it"
        );
    }),
    ("/login USER PASSWORD", |w, row| assert!(w.shell(row).contains("klatch is up: alice"))),
    ("/createChatroom NAME", |w, row| {
        w.shell(row);
        w.typed(row);
        let rooms = w.alice(&["rooms"]);
        assert!(rooms.contains("#garden\t") && rooms.contains("#kitchen\t"), "{rooms}");
        w.home.ok(&["--profile", "bob", "--name", "bob", "join", "#shed"]);
        let mut bob = w.home.chat("bob", "#garden", &[]);
        bob.say("/join #shed");
        w.bob = Some(bob);
        w.alice(&["wait", "room:#garden"]);
    }),
    ("/joinChatroom NAME", |w, row| {
        w.shell(row);
        assert!(w.typed(row).err.contains("* you are in #garden now"));
        w.bob().hear("alice joined #shed");
    }),
    ("/getAllChatrooms", |w, row| {
        for printed in [w.shell(row), w.typed(row).out] {
            assert!(
                ["#garden", "#kitchen", "#shed"].iter().all(|r| printed.contains(r)),
                "{printed}"
            );
        }
    }),
    ("/getActiveUsers", |w, row| {
        for printed in [w.shell(row), w.typed(row).out] {
            assert!(printed.contains("peer      bob"), "{printed}");
        }
    }),
    ("/getChatroomMembers NAME", members),
    ("/sendMessage ROOM DATE TIME TEXT", |w, row| {
        w.shell(row);
        w.typed(row);
        let line = w.bob().hear("#garden alice: the soil is ready");
        let time = line.split(' ').next().unwrap();
        assert!(time.len() == 5 && time.as_bytes()[2] == b':', "{line}");
        w.bob().hear("#garden alice: seeds are here");
    }),
    ("/fetchMessages ROOM, every 50 ms", |w, row| {
        for printed in [w.shell(row), w.typed(row).out] {
            assert!(
                printed.contains("seeds are here") && printed.contains("the soil is ready"),
                "{printed}"
            );
        }
    }),
    ("/exitChatroom NAME", |w, row| {
        w.shell(row);
        w.typed(row);
        w.bob().hear("* alice left #shed");
        let rooms = w.alice(&["rooms"]);
        assert!(rooms.contains("#shed\tleft") && rooms.contains("#kitchen\tleft"), "{rooms}");
    }),
    ("/logout", |w, row| {
        w.typed(row);
        assert!(!w.node_runs());
        w.alice(&["up"]);
        w.shell(row);
        assert!(!w.node_runs());
        w.back();
    }),
    ("the alias asked for at the start", |w, row| {
        w.typed(row);
        w.bob().hear("* alice is now alicia");
    }),
    ("/users", members),
    ("/dm USER \"TEXT\"", |w, row| {
        w.shell(row);
        w.typed(row);
        w.bob_sees(&["contact", "requests"], "alicia");
        w.home.ok(&["--profile", "bob", "contact", "accept", "@alicia"]);
        w.bob_sees(&["log", "@alicia"], "@alicia: see you at ten\n");
        assert_eq!(
            w.home
                .ok(&["--profile", "bob", "log", "@alicia"])
                .matches("@alicia: see you at ten\n")
                .count(),
            2
        );
    }),
    ("/bm \"TEXT\"", |w, row| {
        w.alice(&["join", "#shed"]);
        let asked = w.typed_and(row, "yes\n").err;
        assert!(
            asked.contains("#garden") && asked.contains("#shed") && asked.contains("[y/N]"),
            "{asked}"
        );
        w.bob().hear("#garden alicia: hello everybody");
        w.bob().hear("#shed alicia: hello everybody");
        let words = split(row.shell.as_deref().unwrap());
        let again = w.run(&words[1..].iter().map(String::as_str).collect::<Vec<_>>(), "");
        assert!(
            !again.ok && again.err.contains("KLATCH-TOO-SOON"),
            "at most once a minute: {}",
            again.err
        );
    }),
    ("/help", |w, row| {
        for printed in [w.shell(row), w.typed(row).out] {
            assert!(
                printed.contains("  /dm @WHO [TEXT]") && printed.contains("  /quit"),
                "{printed}"
            );
        }
    }),
    ("/quit", |w, row| {
        w.alice(&["down"]);
        w.bob().hear("* alicia is away: nobody else is here now (#garden)");
        let came = told(w.bob(), "is here");
        let mut chat = w.run_chat();
        until(|| told(w.bob(), "is here") > came, "somebody came");
        let gone = told(w.bob(), "is away");
        chat.say(row.chatting.as_deref().unwrap());
        assert_eq!(chat.end().0, Some(0));
        until(|| told(w.bob(), "is away") > gone, "the others see that somebody quit");
    }),
    ("connecting to the server", |w, row| {
        assert!(w.shell(row).contains("klatch is up: alicia"));
        w.back();
        let quit = w.run(&["chat", "#garden", "--plain"], "/quit\n").err;
        assert!(quit.contains("runs on in the background"), "{quit}");
    }),
    ("a line to all clients (event:message)", |w, row| {
        w.shell(row);
        w.typed(row);
        let heard =
            || w.bob().lines().iter().filter(|l| l.ends_with("#garden alicia: hello all")).count();
        until(|| heard() == 2, "bob heard both");
    }),
    ("a line typed at the server's console", |w, row| {
        w.shell(row);
        w.bob().hear("#garden alicia announces: the kitchen is open");
        w.typed(row);
    }),
    ("messages kept in a database", |w, row| {
        for printed in [w.shell(row), w.typed(row).out] {
            assert_eq!(printed.matches("the kitchen is open").count(), 2, "{printed}");
        }
    }),
    ("exit", |w, row| {
        let ran = w.typed(row);
        assert!(ran.out.contains("#garden you: exit"), "{}", ran.out);
    }),
    ("Ctrl+C at the server", |w, row| {
        w.shell(row);
        assert!(!w.node_runs());
        w.back();
    }),
    ("the echo that confirms a line", |w, row| {
        assert!(w.shell(row).contains("\tdelivered 1 of 1"));
        let chat = w.typed(row);
        assert!(chat.out.contains("#garden you: heard?"), "{}", chat.out);
    }),
    ("create_room(name)", |w, row| {
        let answer = w.shell(row);
        assert!(
            answer.contains("\"already\":false") && answer.contains("\"name\":\"#den\""),
            "{answer}"
        );
        assert!(w.alice(&["rooms"]).contains("#den\topen"));
    }),
    ("join_room(name)", |w, row| assert!(w.shell(row).contains("\"already\":true"))),
    ("list_rooms()", |w, row| assert!(w.shell(row).contains("\"#den\""))),
    ("subscriber.py room/", |w, row| {
        let printed = w.shell(row);
        assert_eq!(printed.lines().count(), 5);
        assert!(
            events(&printed).iter().all(|e| e["topic"].as_str().unwrap().starts_with("room/")),
            "{printed}"
        );
    }),
    ("the event \"Chatroom Created\"", |w, row| {
        assert_eq!(events(&w.shell(row))[0]["event"]["name"], "#garden");
    }),
    ("the event \"User Login\"", |w, row| {
        assert_eq!(events(&w.shell(row))[0]["event"]["message"]["kind"], "profile");
    }),
    ("health messages", |w, row| assert_eq!(events(&w.shell(row))[0]["read_only"], false)),
    ("registering a user name at the broker", |w, row| {
        assert!(w.shell(row).contains("you are carol") && w.home.path().join("carol").is_dir());
    }),
    ("5 clients, 200 messages of 10-20 kB each", |_, row| scenario(row, 200, 10_000, 20_000)),
    ("5 clients, 300 messages of 30-50 kB each", |_, row| scenario(row, 300, 30_000, 50_000)),
];

impl World {
    /// A chat of alice's with a node inside.
    fn run_chat(&self) -> Chat {
        let secret = self.home.path().join("secret.txt");
        self.home.chat("default", "#garden", &["--unlock-file", secret.to_str().unwrap()])
    }
}

fn members(w: &mut World, row: &Row) {
    for printed in [w.shell(row), w.typed(row).out] {
        assert!(printed.contains("bob\t") && printed.contains("online, you"), "{printed}");
    }
}

/// Lines about #garden with these words.
fn told(bob: &Chat, words: &str) -> usize {
    bob.lines()
        .iter()
        .filter(|l| l.starts_with("* ") && l.contains(words) && l.ends_with("(#garden)"))
        .count()
}

fn until(done: impl Fn() -> bool, what: &str) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn events(lines: &str) -> Vec<serde_json::Value> {
    lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// The scenario itself takes minutes in a debug build; `.ci/run` runs it. Here: that it is the one
/// that the page promises.
fn scenario(row: &Row, count: i64, least: i64, most: i64) {
    let words = split(row.shell.as_deref().unwrap());
    assert_eq!(words[..2], ["klatch-testnet", "run"]);
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let text = std::fs::read_to_string(format!("{root}/{}", words[2])).unwrap();
    let scenario: toml::Table = text.parse().unwrap();
    assert_eq!(scenario["nodes"].as_integer(), Some(5));
    let steps = scenario["step"].as_array().unwrap();
    let send = steps.iter().find(|s| s["do"].as_str() == Some("send")).unwrap();
    assert_eq!(send["count"].as_integer(), Some(count));
    assert_eq!(send["bytes"].as_array().unwrap()[..], [least.into(), most.into()]);
    let until: Vec<_> =
        steps.iter().filter_map(|s| s.get("until")).filter_map(toml::Value::as_str).collect();
    assert!(until.contains(&"delivered") && until.contains(&"acknowledged"));
    let name = scenario["name"].as_str().unwrap();
    let ci = std::fs::read_to_string(format!("{root}/.ci/run")).unwrap();
    assert!(ci.contains(&format!("scenario {name}")), ".ci/run runs {name}");
}

#[test]
fn every_line_of_the_page_does_what_it_says() {
    let home = Home::new();
    std::fs::write(home.path().join("secret.txt"), "four words are better\n").unwrap();
    let page = home.ok(&["help", "older-chats", "--json"]);
    let rows: Vec<Row> = page.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let names: Vec<&str> = rows.iter().map(|r| r.old.as_str()).collect();
    assert_eq!(
        names,
        CHECKS.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        "a check for each row"
    );
    let mut world = World { home, bob: None };
    for (row, (_, check)) in rows.iter().zip(CHECKS) {
        eprintln!("== {}", row.old);
        check(&mut world, row);
    }
    world.bob.take().unwrap().end();
}
