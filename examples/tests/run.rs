//! Every example runs as a process beside real nodes on loopback, is given something to do, and is
//! judged by what it did.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use klatch_node::api::{SOCKET, Server, serve};
use klatch_node::core::command::{Command as Do, Reply};
use klatch_node::core::event::Message;
use klatch_node::core::ids::EntryId;
use klatch_node::core::query::{Answer, Query};
use klatch_node::store::keystore::{Keystore, Secrets};
use klatch_node::{Config, Node, clock};
use tempfile::TempDir;
use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(60);
const ROOM: &str = "#demo";

/// Alice, to whose socket the examples speak, and bob, who talks with them. Both are in the room
/// and see each other.
struct World {
    folder: TempDir,
    alice: Node,
    bob: Node,
    server: Server,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let alice = node(folder.path(), "alice").await;
        let bob = node(folder.path(), "bob").await;
        let server = serve(alice.clone(), &folder.path().join("alice/run")).unwrap();
        Self { folder, alice, bob, server }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn run(&self, program: &str, args: &[&str]) -> Run {
        let mut command = Command::new(program);
        command.args(args).env("KLATCH_LOOPBACK_ONLY", "1").env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("KLATCH_SOCKET", self.folder.path().join("alice/run").join(SOCKET));
        Run::new(command)
    }

    fn python(&self, script: &str, args: &[&str]) -> Run {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
        let mut all = vec![script.to_str().unwrap()];
        all.extend(args);
        self.run("python3", &all)
    }

    async fn end(self) {
        self.server.close().await;
        self.alice.shutdown().await;
        self.bob.shutdown().await;
    }
}

async fn node(folder: &Path, name: &str) -> Node {
    let home = folder.join(name);
    Keystore::at(&home).create(&Secrets::generate(name, clock::now_ms()).unwrap(), None).unwrap();
    let mut config = Config::new(&home, home.join("run"), folder.join("peers"));
    config.loopback_only = true;
    let node = Node::spawn(config).await.unwrap();
    node.command(Do::JoinRoom { room: ROOM.to_owned(), passphrase: None }).await.unwrap();
    node
}

async fn say(node: &Node, text: &str) -> EntryId {
    let room = node.place(ROOM).unwrap();
    let command = Do::SendMessage { room, text: text.to_owned(), reply_to: None };
    match node.command(command).await.unwrap() {
        Reply::Stored { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

async fn journal(node: &Node) -> Vec<Message> {
    let query = Query::Journal { room: node.place(ROOM).ok(), after: 0, limit: 1_000 };
    match node.query(query).await.unwrap() {
        Answer::Messages(messages) => messages,
        other => panic!("{other:?}"),
    }
}

/// The answers to a message, once there is one.
async fn answers(node: &Node, asked: EntryId) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let all = journal(node).await;
        let found: Vec<String> =
            all.iter().filter(|m| m.reply_to == Some(asked)).map(|m| m.text.clone()).collect();
        if !found.is_empty() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "no answer among {all:#?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A running example and what it printed.
struct Run {
    child: Child,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Run {
    fn new(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (stdout, lines) = (child.stdout.take().unwrap(), printed.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        Self { child, printed }
    }

    fn lines(&self) -> Vec<String> {
        self.printed.lock().unwrap().clone()
    }

    async fn prints(&mut self, part: &str) {
        self.until(|lines| lines.iter().any(|l| l.contains(part))).await;
    }

    async fn until(&mut self, fits: impl Fn(&[String]) -> bool) {
        let begun = Instant::now();
        while !fits(&self.lines()) {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() || fits(&self.lines()),
                "ended {ended:?} after {:#?}",
                self.lines()
            );
            assert!(begun.elapsed() < PATIENCE, "still only {:#?}", self.lines());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// kill -9, in the middle of whatever it does.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines()
    }

    async fn ends(mut self) -> (ExitStatus, Vec<String>) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // The reading thread ends with the pipe.
                sleep(Duration::from_millis(50)).await;
                return (status, self.lines());
            }
            assert!(begun.elapsed() < PATIENCE, "does not end: {:#?}", self.lines());
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn python_is_here() -> bool {
    let here = Command::new("python3").arg("--version").output().is_ok_and(|o| o.status.success());
    if !here {
        println!("skipped: there is no python3");
    }
    here
}

/// Waits until a file holds at least this cursor.
async fn kept(file: &str, journal: u64) {
    let begun = Instant::now();
    let cursor = || std::fs::read_to_string(file).ok().and_then(|c| c.trim().parse::<u64>().ok());
    while cursor().is_none_or(|c| c < journal) {
        assert!(begun.elapsed() < PATIENCE, "{file} holds {:?}, not {journal}", cursor());
        sleep(Duration::from_millis(10)).await;
    }
}

/// The journal number at alice of a message that bob wrote.
async fn arrived(world: &World, message: EntryId) -> u64 {
    let begun = Instant::now();
    loop {
        if let Some(found) = journal(&world.alice).await.into_iter().find(|m| m.id == message) {
            return found.journal;
        }
        assert!(begun.elapsed() < PATIENCE, "alice never got it");
        sleep(Duration::from_millis(10)).await;
    }
}

/// An echo bot answers, is killed, and answers what was said meanwhile.
async fn echoes(world: &World, start: impl Fn() -> Run, file: &str) {
    let mut bot = start();
    bot.prints("listening").await;
    let first = say(&world.bob, "one").await;
    assert_eq!(answers(&world.bob, first).await, ["one"]);
    let own = say(&world.alice, "not for a bot").await;
    let upto = journal(&world.alice).await.iter().find(|m| m.id == own).unwrap().journal;
    kept(file, upto).await;
    bot.kill();
    let second = say(&world.bob, "two").await;
    let mut bot = start();
    bot.prints("listening").await;
    assert_eq!(answers(&world.bob, second).await, ["two"]);
    let third = say(&world.bob, "three").await;
    answers(&world.bob, third).await;
    assert_eq!(
        answers(&world.bob, first).await.len(),
        1,
        "what was answered is not answered again"
    );
    assert!(journal(&world.alice).await.iter().all(|m| m.reply_to != Some(own)));
}

#[tokio::test(flavor = "multi_thread")]
async fn echo_bot_answers_also_what_was_said_while_it_was_dead() {
    let world = World::new().await;
    let file = world.path("echo.cursor");
    echoes(&world, || world.run(env!("CARGO_BIN_EXE_echo_bot"), &[ROOM, &file]), &file).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn echo_in_python_does_the_same() {
    if !python_is_here() {
        return;
    }
    let world = World::new().await;
    let file = world.path("echo.cursor");
    echoes(&world, || world.python("echo.py", &[ROOM, &file]), &file).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn follow_in_python_resumes_by_cursor_and_misses_nothing() {
    if !python_is_here() {
        return;
    }
    let world = World::new().await;
    let file = world.path("follow.cursor");
    let before = say(&world.bob, "before anybody listened").await;
    let upto = arrived(&world, before).await;
    let mut follower = world.python("follow.py", &[ROOM, &file]);
    follower.prints("\"bob\" \"before anybody listened\"").await;
    kept(&file, upto).await;
    follower.kill();
    let texts: Vec<String> = (0..50).map(|n| format!("while it was dead, {n}")).collect();
    let mut last = before;
    for text in &texts {
        last = say(&world.bob, text).await;
    }
    arrived(&world, last).await;
    let mut follower = world.python("follow.py", &[ROOM, &file]);
    follower.until(|lines| lines.len() >= 50).await;
    let nasty = say(&world.bob, "a\u{1b}[2Jb").await;
    kept(&file, arrived(&world, nasty).await).await;
    let lines = follower.kill();
    let expected: Vec<String> = texts.iter().map(|t| format!("\"bob\" \"{t}\"")).collect();
    let heard: Vec<&str> =
        lines.iter().filter_map(|l| l.split_once(' ')).map(|(_, rest)| rest).collect();
    assert_eq!(heard[..50], expected, "exactly these, each once, in order");
    assert_eq!(heard[50..], ["\"bob\" \"a\\u001b[2Jb\""]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reminder_bot_keeps_its_word_across_a_restart_and_once() {
    let world = World::new().await;
    let start = || world.run(env!("CARGO_BIN_EXE_reminder_bot"), &[ROOM]);
    let mut bot = start();
    bot.prints("listening, 0 to be done").await;
    say(&world.bob, "!remind soon tea").await;
    let soon = say(&world.bob, "!remind 1s water").await;
    assert_eq!(answers(&world.bob, soon).await, ["water"]);
    let later = say(&world.bob, "!remind 2s tea is ready").await;
    arrived(&world, later).await;
    bot.kill();
    let mut bot = start();
    bot.prints("listening, 1 to be done").await;
    let begun = Instant::now();
    assert_eq!(answers(&world.bob, later).await, ["tea is ready"]);
    assert!(begun.elapsed() < Duration::from_secs(20));
    bot.kill();
    let mut bot = start();
    bot.prints("listening, 0 to be done").await;
    let last = say(&world.bob, "!remind 0s done").await;
    answers(&world.bob, last).await;
    assert_eq!(
        (answers(&world.bob, later).await.len(), answers(&world.bob, soon).await.len()),
        (1, 1)
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn event_monitor_prints_what_begins_with_its_prefixes() {
    let world = World::new().await;
    let first = say(&world.bob, "a secret").await;
    let journal = arrived(&world, first).await;
    let monitor = env!("CARGO_BIN_EXE_event_monitor");
    let mut rooms = world.run(monitor, &["room/", "--after", "start"]);
    let mut peers = world.run(monitor, &["peer/", "dm/"]);
    let mut texts = world.run(monitor, &["--texts", "--after", &(journal - 1).to_string()]);
    let line = |l: &String| {
        l.starts_with(&format!("{journal} room/")) && l.ends_with("/message message.added")
    };
    rooms.until(|lines| lines.iter().any(line)).await;
    texts.prints("message.added \"a secret\"").await;
    let second = say(&world.bob, "another").await;
    let number = arrived(&world, second).await.to_string();
    rooms.until(|lines| lines.iter().any(|l| l.starts_with(&number))).await;
    world.bob.shutdown().await;
    peers.prints("/disconnected peer.disconnected").await;
    assert!(rooms.lines().iter().all(|l| l.contains(" room/") && !l.contains("secret")));
    assert!(peers.lines().iter().all(|l| l.starts_with("- peer/")));
    assert!(texts.lines()[0].starts_with(&format!("{journal} ")), "{:?}", texts.lines());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embed_speaks_and_hears_through_a_node_of_its_own() {
    let world = World::new().await;
    let folder: PathBuf = world.folder.path().to_owned();
    let text = "hello from a program";
    let mut run =
        world.run(env!("CARGO_BIN_EXE_embed"), &[folder.to_str().unwrap(), "carol", ROOM, text]);
    run.prints("carol is in #demo").await;
    let begun = Instant::now();
    while !journal(&world.bob).await.iter().any(|m| m.name == "carol" && m.text == text) {
        assert!(begun.elapsed() < PATIENCE, "bob never heard carol");
        sleep(Duration::from_millis(20)).await;
    }
    say(&world.bob, "welcome").await;
    let (status, lines) = run.ends().await;
    assert!(
        status.success() && lines.contains(&"\"bob\" said \"welcome\"".to_owned()),
        "{status} {lines:?}"
    );
    // The profile is there for the next time.
    let again = world
        .run(env!("CARGO_BIN_EXE_embed"), &[folder.to_str().unwrap(), "carol", ROOM, "me again"]);
    let begun = Instant::now();
    while !journal(&world.bob).await.iter().any(|m| m.name == "carol" && m.text == "me again") {
        assert!(begun.elapsed() < PATIENCE, "bob never heard carol again");
        sleep(Duration::from_millis(20)).await;
    }
    drop(again);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_talk_and_know_that_it_was_delivered() {
    let (status, lines) = Run::new(Command::new(env!("CARGO_BIN_EXE_two_nodes"))).ends().await;
    assert!(status.success(), "{status} {lines:?}");
    assert!(lines.contains(&"bob reads: alice: hello from a program".to_owned()), "{lines:?}");
    assert!(lines.iter().any(|l| l.starts_with("alice knows: delivered 1 of")), "{lines:?}");
}

#[test]
fn every_example_is_short_enough_to_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src", "python"] {
        for file in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                let lines = std::fs::read_to_string(&path).unwrap().lines().count();
                assert!(lines < 100, "{} has {lines} lines", path.display());
            }
        }
    }
}
