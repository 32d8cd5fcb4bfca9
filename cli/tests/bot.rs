//! `klatch bot exec` with two real nodes: what a program is told, what becomes of what it prints,
//! and a bot that is killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Home, PATIENCE, acts};
use serde_json::{Value, json};

/// Messages that a bot is killed amid.
const MANY: usize = 1_000;

/// A node's API, asked one thing after the other.
struct Api {
    lines: BufReader<UnixStream>,
    write: UnixStream,
}

impl Api {
    fn connect(home: &Home, profile: &str) -> Self {
        let status: Value =
            serde_json::from_str(&home.ok(&["--profile", profile, "status", "--json"])).unwrap();
        let write = UnixStream::connect(status["socket"].as_str().unwrap()).unwrap();
        write.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { lines: BufReader::new(write.try_clone().unwrap()), write }
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        writeln!(self.write, "{request}").unwrap();
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        let mut answer: Value = serde_json::from_str(&line).unwrap();
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].take()
    }

    /// Everything in the room in the order in which it arrived here.
    fn journal(&mut self) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let after = all.last().map_or(0, |m| m["cursor"].as_u64().unwrap());
            let page = self
                .call("message.journal", json!({"room": "#garden", "after": after, "limit": 1000}));
            match page.as_array() {
                Some(page) if !page.is_empty() => all.extend(page.iter().cloned()),
                _ => return all,
            }
        }
    }

    /// Waits until a message of somebody else fits.
    fn hears(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(found) = self.journal().into_iter().find(|m| m["own"] == false && fits(m)) {
                return found;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("never heard it among {:#?}", self.journal());
    }

    fn say(&mut self, text: &str) -> String {
        let sent = self.call("message.send", json!({"room": "#garden", "text": text}));
        sent["message_id"].as_str().unwrap().to_owned()
    }
}

/// A bot in the foreground of nobody.
struct Bot {
    child: Child,
    printed: Arc<Mutex<String>>,
    complained: Arc<Mutex<String>>,
}

impl Bot {
    fn start(home: &Home, args: &[&str]) -> Self {
        let mut all = vec!["--profile", "alice", "bot", "exec", "--room", "#garden"];
        all.extend(args);
        let mut command = home.command(&all);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let (printed, complained) = (gather(child.stdout.take()), gather(child.stderr.take()));
        let bot = Self { child, printed, complained };
        if args.contains(&"--json") {
            // Without remarks: it notes its place once it listens.
            bot.notes_its_place(&home.path().join("alice/bots"));
        } else {
            bot.complains("listens; Ctrl+C ends it");
        }
        bot
    }

    fn notes_its_place(&self, folder: &std::path::Path) {
        let begun = Instant::now();
        let noted = || {
            std::fs::read_dir(folder).is_ok_and(|files| {
                files.flatten().any(|f| f.path().extension().is_some_and(|e| e == "json"))
            })
        };
        while !noted() {
            let said = self.complained.lock().unwrap().clone();
            assert!(begun.elapsed() < PATIENCE, "no place: {said}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn complains(&self, text: &str) {
        self.wait_for(&self.complained, text);
    }

    fn prints(&self, text: &str) {
        self.wait_for(&self.printed, text);
    }

    fn wait_for(&self, place: &Mutex<String>, text: &str) {
        let begun = Instant::now();
        while !place.lock().unwrap().contains(text) {
            let said =
                || format!("{}\n{}", self.printed.lock().unwrap(), self.complained.lock().unwrap());
            assert!(begun.elapsed() < PATIENCE, "no {text:?} in:\n{}", said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    fn end(mut self, signal: rustix::process::Signal) -> Option<i32> {
        self.signal(signal);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gather<R: Read + Send + 'static>(pipe: Option<R>) -> Arc<Mutex<String>> {
    let gathered = Arc::new(Mutex::new(String::new()));
    let (mut pipe, into) = (BufReader::new(pipe.unwrap()), gathered.clone());
    std::thread::spawn(move || {
        let mut line = String::new();
        while pipe.read_line(&mut line).is_ok_and(|n| n > 0) {
            into.lock().unwrap().push_str(&line);
            line.clear();
        }
    });
    gathered
}

/// Alice, whose bot it is, and bob in one room.
fn garden() -> (Home, Api, Api) {
    let home = Home::new();
    for who in ["alice", "bob"] {
        home.ok(&["--profile", who, "init", "--name", who, "--no-passphrase"]);
        home.ok(&["--profile", who, "up"]);
        home.ok(&["--profile", who, "join", "#garden"]);
    }
    home.ok(&["--profile", "bob", "wait", "room:#garden"]);
    let (alice, bob) = (Api::connect(&home, "alice"), Api::connect(&home, "bob"));
    (home, alice, bob)
}

fn script(home: &Home, name: &str, text: &str) -> String {
    let path = home.path().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn a_program_is_told_everything_and_its_output_is_the_reply() {
    let (home, mut alice, mut bob) = garden();
    let facts = script(
        &home,
        "facts",
        "env | grep ^KLATCH_ | sort; echo \"args: $*\"; echo \"text: $(cat)\"",
    );
    let bot =
        Bot::start(&home, &["--prefix", "!facts", "--json", "--", &facts, "one", "two words"]);

    alice.say("!facts of my own are not answered");
    bob.say("nor what is not asked");
    bob.say("!factsheet is another word");
    let first = bob.say("hello");
    let text = "!facts $(touch pwned) `id` '\" \u{1b}]0;x\u{7}";
    let asked =
        bob.call("message.send", json!({"room": "#garden", "text": text, "reply_to": first}));
    let reply = bob.hears(|m| m["reply_to"] == asked["message_id"]);
    let told = reply["text"].as_str().unwrap();
    let me = bob.call("node.status", json!({}));
    for line in [
        "KLATCH_ROOM=#garden".to_owned(),
        format!("KLATCH_ROOM_ID={}", reply["room_id"].as_str().unwrap()),
        format!("KLATCH_MESSAGE_ID={}", asked["message_id"].as_str().unwrap()),
        format!("KLATCH_REPLY_TO={first}"),
        "KLATCH_FROM=bob".to_owned(),
        format!("KLATCH_FROM_ID={}", me["identity"].as_str().unwrap()),
        format!("KLATCH_DEVICE={}", me["device"].as_str().unwrap()),
        "KLATCH_BOT=facts".to_owned(),
        "KLATCH_PROFILE=alice".to_owned(),
        "args: one two words".to_owned(),
        format!("text: {text}"),
    ] {
        assert!(told.lines().any(|l| l == line), "no {line:?} in:\n{told}");
    }
    for key in ["KLATCH_TIME=20", "KLATCH_CURSOR=", "KLATCH_FINGERPRINT="] {
        assert!(
            told.lines().any(|l| l.starts_with(key) && l.len() > key.len()),
            "no {key} in:\n{told}"
        );
    }
    assert!(!home.path().join("pwned").exists() && !std::path::Path::new("pwned").exists());
    bot.prints("\"did\":\"answered\"");
    let lines = bot.printed.lock().unwrap().clone();
    let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&line["message_id"], &line["from"]), (&asked["message_id"], &json!("bob")));
    assert_eq!((lines.lines().count(), acts(&lines)), (1, false), "{lines}");

    let second =
        home.run(&["--profile", "alice", "bot", "exec", "--room", "#garden", "--", &facts], "");
    assert!(String::from_utf8_lossy(&second.stderr).contains("KLATCH-BOT-RUNNING"));
    assert_eq!(bot.end(rustix::process::Signal::INT), Some(0));
    assert_eq!(
        alice.journal().iter().filter(|m| m["own"] == true && m["kind"] == "text").count(),
        2
    );
}

#[test]
fn silence_failure_and_delay_are_told_apart_and_stop_nothing() {
    let (home, mut alice, mut bob) = garden();
    let moody = "read what\ncase $what in\nfail) printf 'bad \\033[2J\\n' >&2; exit 3;;\nslow) sleep 30;;\n\
                 quiet) ;;\nlong) head -c 70000 /dev/zero | tr '\\0' x;;\n*) echo \"you said $what\";;\nesac";
    let moody = script(&home, "moody", moody);
    let args = ["--timeout", "1s", "--no-reply", "--as", "moods", "--", &moody];
    let bot = Bot::start(&home, &args);
    for text in ["fail", "slow", "quiet", "long"] {
        bob.say(text);
    }
    for (text, part) in [
        ("fail", "failed with exit code 3"),
        ("slow", "took too long and was ended"),
        ("quiet", "nothing to answer"),
        ("long", "answered, cut to 64,000 bytes"),
    ] {
        bot.prints(&format!("#garden bob: {part}"));
        println!("{text}: {part}");
    }
    bot.complains("moody: bad ␛[2J");
    assert!(!acts(&bot.complained.lock().unwrap()));
    let long = bob.hears(|m| m["text"].as_str().is_some_and(|t| t.starts_with("xxx")));
    assert!(
        long["text"].as_str().unwrap().ends_with("printed 70000 bytes)")
            && long["reply_to"].is_null()
    );

    // Ended in the middle of a slow one, it asks again at the next start; what was said meanwhile
    // is answered too.
    bob.say("slow");
    let begun = Instant::now();
    while alice.journal().iter().filter(|m| m["text"] == "slow").count() < 2 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(bot.end(rustix::process::Signal::TERM), Some(0));
    bob.say("you there?");
    let bot = Bot::start(&home, &args);
    bot.prints("took too long");
    bob.hears(|m| m["text"] == "you said you there?");
    bot.prints("answered");
    assert_eq!(bot.printed.lock().unwrap().lines().count(), 2, "what was done is not done again");

    // The node is stopped and started under it.
    home.ok(&["--profile", "alice", "down"]);
    bot.complains("the node is gone");
    home.ok(&["--profile", "alice", "up"]);
    bob.say("still here?");
    bob.hears(|m| m["text"] == "you said still here?");

    // Nothing is left to listen to.
    let mut bot = bot;
    home.ok(&["--profile", "alice", "leave", "#garden"]);
    let begun = Instant::now();
    let code = loop {
        if let Some(status) = bot.child.try_wait().unwrap() {
            break status.code();
        }
        assert!(begun.elapsed() < PATIENCE, "listens to a room that was left");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(code, Some(0));
    bot.complains("#garden was left");
}

#[test]
fn direct_messages_are_answered_to_contacts_only() {
    let (home, mut alice, mut bob) = garden();
    let told = script(&home, "told", "read what; echo \"$what, $KLATCH_ROOM ($KLATCH_DIRECT)\"");
    // A place beyond the journal, as after a profile was restored from a backup, is said and does
    // not make it deaf.
    std::fs::create_dir(home.path().join("alice/bots")).unwrap();
    std::fs::write(home.path().join("alice/bots/told.json"), "{\"journal\":1000000}").unwrap();
    let bot = Bot::start(&home, &["--dm", "--", &told]);
    bot.complains("to 1000000 in the journal is not there any more");
    bob.call("message.send", json!({"room": "@alice", "text": "let me in"}));
    bot.prints("@bob bob: not answered: no contact");
    alice.call("contact.accept", json!({"who": "@bob"}));
    let asked = bob.call("message.send", json!({"room": "@alice", "text": "thanks"}));
    bot.prints("@bob bob: answered");
    let begun = Instant::now();
    let answer = loop {
        let page = bob.call("message.list", json!({"room": "@alice"}));
        let found =
            page.as_array().unwrap().iter().find(|m| m["reply_to"] == asked["message_id"]).cloned();
        if let Some(found) = found {
            break found;
        }
        assert!(begun.elapsed() < PATIENCE, "no answer in {page}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!((&answer["text"], &answer["direct"]), (&json!("thanks, @bob (1)"), &json!(true)));
    // The room goes on beside it.
    bob.say("hello all");
    bob.hears(|m| m["text"] == "hello all, #garden ()");
    assert_eq!(bot.end(rustix::process::Signal::INT), Some(0));
}

#[test]
fn a_bot_that_is_killed_answers_every_message_once() {
    let (home, mut alice, mut bob) = garden();
    let echo = script(&home, "echo", "cat");
    let args = ["--rate", "0", "--jobs", "4", "--", &echo];
    let mut bot = Bot::start(&home, &args);
    for n in 0..MANY {
        bob.say(&format!("message {n}"));
        if [MANY / 4, MANY / 2, MANY * 3 / 4].contains(&n) {
            bot.prints("answered");
            assert_eq!(bot.end(rustix::process::Signal::KILL), None);
            bot = Bot::start(&home, &args);
        }
    }
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    let begun = Instant::now();
    while answers.len() < MANY {
        assert!(begun.elapsed() < PATIENCE * 3, "{} of {MANY} answered", answers.len());
        std::thread::sleep(Duration::from_millis(100));
        answers.clear();
        for message in alice.journal().iter().filter(|m| m["own"] == true && m["kind"] == "text") {
            *answers.entry(message["text"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    assert!((0..MANY).all(|n| answers.contains_key(&format!("message {n}"))));
    assert_eq!(bot.end(rustix::process::Signal::INT), Some(0));
    let twice: Vec<_> = answers.iter().filter(|(_, n)| **n > 1).collect();
    assert!(twice.is_empty(), "answered twice: {twice:?}");
    println!("{MANY} messages, 3 kills, each answered once");
}

#[test]
fn the_asker_is_told_of_a_failure_if_the_owner_wants_that() {
    let (home, _alice, mut bob) = garden();
    let moody = script(&home, "moody", "echo a secret >&2\nexit 3");
    let bot = Bot::start(&home, &["--on-error", "reply", "--", &moody]);
    bob.say("what now?");
    let told = bob.hears(|m| m["own"] != true && m["kind"] == "text");
    assert_eq!(told["text"], "moody: the program failed (exit code 3)");
    bot.prints("failed with exit code 3");
}
