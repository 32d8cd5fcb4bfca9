//! Real nodes in one process, over loopback: talk, come back, catch up.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use klatch_core::command::{Command, Reply};
use klatch_core::event::{Delivery, Message};
use klatch_core::query::{Answer, Query};
use klatch_node::Node;

use common::{config, join, start, until};

async fn say(node: &Node, room: &str, text: &str) -> Reply {
    let room = node.place(room).unwrap();
    let command = Command::SendMessage { room, text: text.to_owned(), reply_to: None };
    node.command(command).await.unwrap()
}

async fn lines(node: &Node, room: &str) -> Vec<Message> {
    let query = Query::History {
        room: node.place(room).unwrap(),
        limit: 1_000,
        since_ms: None,
        before: None,
        after: None,
        search: None,
    };
    match node.query(query).await.unwrap() {
        Answer::Messages(all) => all.into_iter().filter(|m| !m.text.is_empty()).collect(),
        other => panic!("{other:?}"),
    }
}

async fn sees(node: &Node, room: &str, text: &str) -> bool {
    lines(node, room).await.iter().any(|m| m.text == text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_talk_and_nothing_is_lost_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = (start(folder.path(), "alice").await, start(folder.path(), "bob").await);
    join(&alice, "#lobby", None).await;
    join(&bob, "lobby", None).await;
    say(&alice, "#lobby", "hello bob").await;
    until("bob sees alice's text", async || sees(&bob, "#lobby", "hello bob").await).await;
    say(&bob, "#lobby", "hello alice").await;
    until("alice sees bob's text", async || sees(&alice, "#lobby", "hello alice").await).await;
    until("alice hears that bob has it", async || {
        let mine = lines(&alice, "#lobby").await.into_iter().find(|m| m.text == "hello bob");
        mine.and_then(|m| m.state) == Some(Delivery::Delivered { n: 1, m: 1 })
    })
    .await;

    bob.shutdown().await;
    for i in 0..50 {
        say(&alice, "#lobby", &format!("while bob is away {i}")).await;
    }
    let waiting = lines(&alice, "#lobby").await.pop().unwrap();
    assert_eq!(
        (waiting.text.as_str(), waiting.state),
        ("while bob is away 49", Some(Delivery::Queued))
    );
    let bob = start(folder.path(), "bob").await;
    until("bob catches up", async || sees(&bob, "#lobby", "while bob is away 49").await).await;
    let texts = |all: Vec<Message>| all.into_iter().map(|m| (m.id, m.text)).collect::<Vec<_>>();
    let (of_alice, of_bob) =
        (texts(lines(&alice, "#lobby").await), texts(lines(&bob, "#lobby").await));
    assert_eq!(of_alice, of_bob, "one timeline");
    until("everything is delivered", async || {
        lines(&alice, "#lobby")
            .await
            .iter()
            .filter(|m| m.own)
            .all(|m| matches!(m.state, Some(Delivery::Delivered { .. })))
    })
    .await;
    alice.shutdown().await;
    bob.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_knows_only_the_name_finds_another_room_than_who_knows_the_passphrase() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob, eve) = (
        start(folder.path(), "alice").await,
        start(folder.path(), "bob").await,
        start(folder.path(), "eve").await,
    );
    join(&alice, "#garden", Some("radish")).await;
    join(&bob, "#garden", Some("radish")).await;
    join(&eve, "#garden", None).await;
    say(&alice, "#garden", "the key is under the pot").await;
    until("bob reads it", async || sees(&bob, "#garden", "the key is under the pot").await).await;
    assert!(!sees(&eve, "#garden", "the key is under the pot").await);
    for node in [alice, bob, eve] {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_is_opened_by_one_node_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(folder.path(), "alice").await;
    let error = Node::spawn(config(folder.path(), "alice")).await.unwrap_err();
    assert_eq!(error.code(), "KLATCH-ALREADY-RUNNING");
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    first.shutdown().await;
    let again = start(folder.path(), "alice").await;
    again.shutdown().await;
}
