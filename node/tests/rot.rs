//! Real nodes on disks that rot: what is lost is told, costs nobody anything else, and comes again
//! from whoever has it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::path::Path;

use klatch_core::command::Command;
use klatch_core::event::Message;
use klatch_core::query::{Answer, Query, Status};
use klatch_core::rows::Lack;
use klatch_node::Node;

use common::{join, start, until};

const ROOM: &str = "#attic";

async fn say(node: &Node, text: &str) {
    let text = text.to_owned();
    let command = Command::SendMessage { room: node.place(ROOM).unwrap(), text, reply_to: None };
    node.command(command).await.unwrap();
}

/// Texts of the room, and lines without one.
async fn lines(node: &Node) -> Vec<Message> {
    let query = Query::History {
        room: node.place(ROOM).unwrap(),
        limit: 1_000,
        since_ms: None,
        before: None,
        after: None,
        search: None,
    };
    match node.query(query).await.unwrap() {
        Answer::Messages(all) => {
            all.into_iter().filter(|m| m.kind == klatch_core::content::Kind::Text).collect()
        }
        other => panic!("{other:?}"),
    }
}

async fn status(node: &Node) -> Status {
    match node.query(Query::Status).await.unwrap() {
        Answer::Status(status) => *status,
        other => panic!("{other:?}"),
    }
}

fn letter(n: usize) -> String {
    format!("letter {n} {}", "kept in the attic, ".repeat(400))
}

fn segment(folder: &Path, name: &str) -> std::path::PathBuf {
    folder.join(name).join("bodies-00000001.seg")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_flipped_bit_costs_one_text_until_somebody_else_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, carol) = (start(folder.path(), "alice").await, start(folder.path(), "carol").await);
    join(&alice, ROOM, None).await;
    join(&carol, ROOM, None).await;
    for n in 0..8 {
        say(&alice, &letter(n)).await;
    }
    until("carol has all", async || lines(&carol).await.len() == 8).await;
    carol.shutdown().await;
    alice.shutdown().await;
    let path = segment(folder.path(), "alice");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();

    let (alice, bob) = (start(folder.path(), "alice").await, start(folder.path(), "bob").await);
    join(&bob, ROOM, None).await;
    until("bob has every line", async || lines(&bob).await.len() == 8).await;
    say(&alice, "still on speaking terms?").await;
    until("live texts arrive", async || {
        lines(&bob).await.iter().any(|m| m.text.starts_with("still"))
    })
    .await;
    let missing =
        |all: &[Message]| all.iter().filter(|m| m.missing).map(|m| m.lack).collect::<Vec<_>>();
    assert_eq!(missing(&lines(&bob).await), [Some(Lack::NotGiven)]);
    until("alice knows what she lost", async || {
        missing(&lines(&alice).await) == [Some(Lack::Damaged)]
    })
    .await;
    for node in [&alice, &bob] {
        assert!(status(node).await.refused.is_empty(), "nobody is to blame");
    }

    let carol = start(folder.path(), "carol").await;
    for node in [&alice, &bob] {
        until("it came again", async || lines(node).await.iter().all(|m| !m.missing)).await;
        let texts: Vec<String> = lines(node).await.into_iter().map(|m| m.text).collect();
        assert_eq!(texts[..8], (0..8).map(letter).collect::<Vec<_>>());
    }
    for node in [alice, bob, carol] {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_or_zeroed_segment_is_no_reason_not_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = (start(folder.path(), "alice").await, start(folder.path(), "bob").await);
    join(&alice, ROOM, None).await;
    join(&bob, ROOM, None).await;
    for n in 0..3 {
        say(&alice, &letter(n)).await;
    }
    until("bob has all", async || lines(&bob).await.len() == 3).await;
    bob.shutdown().await;
    alice.shutdown().await;
    let path = segment(folder.path(), "alice");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, vec![0; whole.len()]).unwrap();
    let theirs = segment(folder.path(), "bob");
    let cut = std::fs::metadata(&theirs).unwrap().len() - 1;
    std::fs::OpenOptions::new().write(true).open(&theirs).unwrap().set_len(cut).unwrap();

    let alice = start(folder.path(), "alice").await;
    assert!(lines(&alice).await.iter().all(|m| m.lack == Some(Lack::Damaged)));
    let bob = start(folder.path(), "bob").await;
    assert_eq!(lines(&bob).await.iter().filter(|m| m.missing).count(), 1);
    until("alice has back what bob has", async || {
        lines(&alice).await.iter().filter(|m| m.missing).count() == 1
    })
    .await;
    say(&alice, &letter(9)).await;
    until("bob hears her", async || lines(&bob).await.len() == 4).await;
    for node in [alice, bob] {
        node.shutdown().await;
    }
}
