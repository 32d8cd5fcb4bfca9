//! Real nodes: what was deleted or forgotten while others were away, or there, is in no table and no
//! file, while the node runs on and after it has ended.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use klatch_core::command::{Command, Reply};
use klatch_core::ids::EntryId;
use klatch_core::query::{Answer, Query};
use rusqlite::Connection;

use super::forgetting::tables_with;
use super::secrecy::on_disk;
use super::*;
use crate::store::MAIN_FILE;
use crate::store::connect::{self, Role};
use crate::store::keystore::{Keystore, Secrets};
use crate::{Config, Node};

/// Far from anything that the program itself writes.
const WORD: &str = "xylophonist";

async fn start(folder: &Path, name: &str) -> Node {
    let home = folder.join(name);
    if !home.exists() {
        fs::create_dir_all(&home).unwrap();
        Keystore::at(&home).create(&Secrets::generate(name, 1).unwrap(), None).unwrap();
    }
    let mut config = Config::new(&home, home.join("run"), folder.join("peers"));
    config.loopback_only = true;
    Node::spawn(config).await.unwrap()
}

/// The database of a profile, read beside the node that has it open.
fn look(folder: &Path, name: &str) -> Connection {
    let home = folder.join(name);
    let key = Keystore::at(&home).unlock(None).unwrap().master.database_key();
    connect::open(&home.join(MAIN_FILE), Some(&key), Role::Reader).unwrap()
}

async fn until<F: AsyncFnMut() -> bool>(what: &str, seconds: u64, mut look: F) {
    let give_up = Instant::now() + Duration::from_secs(seconds);
    while !look().await {
        assert!(Instant::now() < give_up, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn act(node: &Node, command: Command) -> Reply {
    node.command(command).await.unwrap()
}

async fn say(node: &Node, place: &str, text: &str) -> EntryId {
    let (room, text) = (node.place(place).unwrap(), text.to_owned());
    match act(node, Command::SendMessage { room, text, reply_to: None }).await {
        Reply::Stored { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

async fn read(node: &Node, place: &str, search: Option<&str>) -> Vec<String> {
    let Ok(room) = node.place(place) else { return Vec::new() };
    let search = search.map(str::to_owned);
    let query =
        Query::History { room, limit: 100, since_ms: None, before: None, after: None, search };
    match node.query(query).await {
        Ok(Answer::Messages(all)) => all.into_iter().map(|m| m.text).collect(),
        _ => Vec::new(),
    }
}

/// Alice and bob, who have met.
async fn pair(folder: &Path) -> (Node, Node) {
    let (alice, bob) = (start(folder, "alice").await, start(folder, "bob").await);
    for node in [&alice, &bob] {
        act(node, Command::JoinRoom { room: "#lobby".into(), passphrase: None }).await;
    }
    until("they have met", 20, async || {
        alice.person("@bob").is_ok() && bob.person("@alice").is_ok()
    })
    .await;
    (alice, bob)
}

/// The words are in no table but those that the index keeps for itself, and soon in none.
async fn is_wiped(folder: &Path, name: &str) {
    let beside = look(folder, name);
    let left = tables_with(&beside, WORD.as_bytes());
    assert!(left.iter().all(|table| table.starts_with("words_")), "{left:?}");
    until("the index is clean", 5, async || tables_with(&beside, WORD.as_bytes()).is_empty()).await;
}

/// The node has ended: nothing is left, in the log of the engine neither.
fn is_gone(folder: &Path, name: &str) {
    assert_eq!(tables_with(&look(folder, name), WORD.as_bytes()), BTreeSet::new());
    assert!(!on_disk(&folder.join(name), WORD.as_bytes()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_to_somebody_away_that_is_deleted_at_once_is_nowhere_and_never_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path()).await;
    say(&alice, "@bob", "hello").await;
    until("bob has it", 20, async || read(&bob, "@alice", None).await == ["hello"]).await;
    bob.shutdown().await;
    for n in 0..5 {
        let message = say(&alice, "@bob", &format!("the {WORD} was number {n}")).await;
        let room = alice.place("@bob").unwrap();
        let text = format!("the {WORD} was edited");
        act(&alice, Command::EditMessage { room, message, text }).await;
        if n % 2 == 0 {
            assert_eq!(read(&alice, "@bob", Some(WORD)).await.len(), 1, "it is in the index");
        }
        let before = tables_with(&look(folder.path(), "alice"), WORD.as_bytes());
        assert!(before.contains("direct") && before.contains("outbox"), "{before:?}");
        act(&alice, Command::DeleteMessage { room, message }).await;
        is_wiped(folder.path(), "alice").await;
    }
    say(&alice, "@bob", "good bye").await;
    let bob = start(folder.path(), "bob").await;
    until("bob has the rest", 20, async || {
        read(&bob, "@alice", None).await.iter().any(|text| text == "good bye")
    })
    .await;
    assert_eq!(read(&bob, "@alice", None).await, ["hello", "good bye"]);
    alice.shutdown().await;
    bob.shutdown().await;
    is_gone(folder.path(), "alice");
    is_gone(folder.path(), "bob");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_of_a_room_that_is_deleted_before_anybody_came_is_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let alice = start(folder.path(), "alice").await;
    act(&alice, Command::JoinRoom { room: "#lobby".into(), passphrase: None }).await;
    for text in [format!("the {WORD}"), format!("the {WORD} ").repeat(2_000)] {
        let message = say(&alice, "#lobby", &text).await;
        assert_eq!(read(&alice, "#lobby", Some(WORD)).await.len(), 1, "it is in the index");
        let room = alice.place("#lobby").unwrap();
        act(&alice, Command::DeleteMessage { room, message }).await;
        is_wiped(folder.path(), "alice").await;
    }
    // Bodies are sealed: what a segment holds is told by whether it is zeros.
    let segment = fs::read(folder.path().join("alice/bodies-00000001.seg")).unwrap();
    assert!(segment.len() > 2_000 * WORD.len(), "the large one was there");
    assert!(segment[64..].iter().all(|byte| *byte == 0), "and is overwritten");
    alice.shutdown().await;
    is_gone(folder.path(), "alice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_conversation_is_nowhere_and_begins_again_as_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path()).await;
    say(&alice, "@bob", &format!("said the {WORD}")).await;
    until("bob has it", 20, async || read(&bob, "@alice", None).await.len() == 1).await;
    say(&bob, "@alice", &format!("who is the {WORD}")).await;
    until("alice has it", 20, async || read(&alice, "@bob", None).await.len() == 2).await;
    assert_eq!(read(&bob, "@alice", Some(WORD)).await.len(), 2, "it is in the index");
    let who = bob.person("@alice").unwrap();
    act(&bob, Command::ForgetContact { who }).await;
    is_wiped(folder.path(), "bob").await;
    assert_eq!(read(&bob, "@alice", None).await, Vec::<String>::new());
    let contacts = async |node: &Node| match node.query(Query::Contacts).await.unwrap() {
        Answer::Contacts(all) => all,
        other => panic!("{other:?}"),
    };
    assert_eq!(contacts(&bob).await, []);

    say(&alice, "@bob", "are you there").await;
    until("it comes as a request", 20, async || {
        contacts(&bob)
            .await
            .iter()
            .any(|c| c.standing == klatch_core::query::Standing::Requested && c.messages == 1)
    })
    .await;
    assert_eq!(read(&bob, "@alice", None).await, ["are you there"]);
    say(&bob, "@alice", "anew").await;
    until("and can be answered", 20, async || {
        read(&alice, "@bob", None).await.last().is_some_and(|text| text == "anew")
    })
    .await;
    let who = alice.person("@bob").unwrap();
    act(&alice, Command::BlockContact { who, blocked: true }).await;
    act(&alice, Command::ForgetContact { who }).await;
    let kept = contacts(&alice).await;
    assert_eq!((kept.len(), kept[0].messages), (1, 0));
    assert_eq!(kept[0].standing, klatch_core::query::Standing::Blocked, "that stays");
    alice.shutdown().await;
    bob.shutdown().await;
    is_gone(folder.path(), "alice");
    is_gone(folder.path(), "bob");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_room_is_nowhere_and_can_be_opened_again_without_a_fork() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path()).await;
    say(&bob, "#lobby", &format!("the {WORD} of bob")).await;
    say(&alice, "#lobby", &format!("the {WORD} of alice")).await;
    for node in [&alice, &bob] {
        until("both have both", 20, async || read(node, "#lobby", Some(WORD)).await.len() == 2)
            .await;
    }
    let delivered = async || match bob.query(Query::Rooms).await.unwrap() {
        Answer::Rooms(rooms) => rooms[0].queued == 0,
        other => panic!("{other:?}"),
    };
    until("alice acknowledged", 20, delivered).await;
    let room = bob.place("#lobby").unwrap();
    act(&bob, Command::ForgetRoom { room }).await;
    assert!(bob.place("#lobby").is_err());
    is_wiped(folder.path(), "bob").await;
    assert_eq!(tables_with(&look(folder.path(), "bob"), b"#lobby"), BTreeSet::new());
    let left = async || {
        let room = alice.place("#lobby").unwrap();
        let (since_ms, before, after, search) = (None, None, None, None);
        let query = Query::History { room, limit: 100, since_ms, before, after, search };
        let Ok(Answer::Messages(all)) = alice.query(query).await else { panic!() };
        all.iter().any(|m| m.name == "bob" && m.kind == Kind::Leave)
    };
    until("alice hears the goodbye", 20, left).await;

    // Nobody is there: what bob had written is not known, so nothing is written yet.
    alice.shutdown().await;
    act(&bob, Command::JoinRoom { room: "#lobby".into(), passphrase: None }).await;
    let room = bob.place("#lobby").unwrap();
    let early = Command::SendMessage { room, text: "too early".into(), reply_to: None };
    let refused = bob.command(early).await.unwrap_err();
    assert_eq!(refused.code(), "KLATCH-NOT-BACK-YET", "{refused}");
    bob.shutdown().await;
    let (alice, bob) = (start(folder.path(), "alice").await, start(folder.path(), "bob").await);
    until("bob is back", 30, async || {
        let text = "here again".to_owned();
        bob.command(Command::SendMessage { room, text, reply_to: None }).await.is_ok()
    })
    .await;
    assert_eq!(read(&bob, "#lobby", Some(WORD)).await.len(), 2, "alice had kept it all");
    until("alice hears him", 20, async || {
        read(&alice, "#lobby", None).await.iter().any(|text| text == "here again")
    })
    .await;
    for node in [&alice, &bob] {
        let Answer::Rooms(rooms) = node.query(Query::Rooms).await.unwrap() else { panic!() };
        assert!(!rooms[0].behind, "nobody wrote two histories");
        let room = node.place("#lobby").unwrap();
        let Answer::Members(all) = node.query(Query::Members { room }).await.unwrap() else {
            panic!()
        };
        assert!(all.iter().all(|m| !m.forked), "{all:?}");
    }
    alice.shutdown().await;
    bob.shutdown().await;
    let kept = look(folder.path(), "bob")
        .query_row("SELECT count(*) FROM former", [], |r| r.get::<_, i64>(0));
    assert_eq!(kept.unwrap(), 0, "there is nothing to wait for any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_panics_costs_nobody_else_a_reader() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path(), "alice").await;
    for _ in 0..20 {
        let failed = node.read::<()>(|_, _| panic!("a fault, on purpose")).await.unwrap_err();
        assert_eq!(failed.code(), "KLATCH-READ-FAILED", "{failed}");
    }
    assert!(matches!(node.query(Query::Rooms).await, Ok(Answer::Rooms(_))));
    node.shutdown().await;
}
