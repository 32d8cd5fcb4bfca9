//! Where a node looks for others: what the user asks for, what it remembers, and what it forgets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

mod common;

use std::path::Path;
use std::time::Duration;

use klatch_core::event::Event;
use klatch_core::query::{Answer, Query, Status};
use klatch_node::feed::Listener;
use klatch_node::network::Unwanted;
use klatch_node::network::settings::{CONFIGURED_MAX, DISCOVERED_MAX};
use klatch_node::{Config, Node};
use libp2p::Multiaddr;

use crate::common::until;

/// With a folder for address files of its own: only what it was told leads it to others.
fn config(folder: &Path, name: &str) -> Config {
    let mut config = common::config(folder, name);
    config.peers_dir = folder.join(format!("peers-{name}"));
    config
}

async fn start(folder: &Path, name: &str) -> Node {
    Node::spawn(config(folder, name)).await.unwrap()
}

async fn status(node: &Node) -> Status {
    match node.query(Query::Status).await.unwrap() {
        Answer::Status(status) => *status,
        other => panic!("{other:?}"),
    }
}

/// Until the node has taken a link into its books.
async fn noted(feed: &mut Listener) {
    let told =
        async { while !matches!(feed.recv().await.unwrap().event, Event::PeerConnected { .. }) {} };
    tokio::time::timeout(Duration::from_secs(20), told).await.unwrap();
}

async fn connected(node: &Node) -> bool {
    !status(node).await.peers.is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_forgotten_is_not_looked_for_after_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = (start(folder.path(), "alice").await, start(folder.path(), "bob").await);
    let there: Multiaddr = status(&bob).await.listening[0].parse().unwrap();
    let mut feed = alice.subscribe();
    alice.want(there.clone()).await.unwrap();
    noted(&mut feed).await;
    alice.shutdown().await;
    let alice = start(folder.path(), "alice").await;
    until("the address book leads her to him", async || connected(&alice).await).await;
    assert_eq!(alice.unwant(Unwanted::Address(there.clone())).await.unwrap(), Some(1));
    assert_eq!(alice.unwant(Unwanted::Address(there)).await.unwrap(), None, "nobody is left there");
    assert!(connected(&alice).await, "a link that is there stays");
    alice.shutdown().await;
    let alice = start(folder.path(), "alice").await;
    let after = status(&alice).await;
    let missing = after.discovery.map(|d| d.missing);
    assert_eq!((after.peers.len(), missing, after.wanted.len()), (0, Some(0), 0));
    alice.shutdown().await;
    bob.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_dialled_finds_the_other_again_from_a_new_port() {
    let folder = tempfile::tempdir().unwrap();
    // Where bob listened before is of no use to alice: he has to come to her.
    let anywhere = async || {
        let mut config = config(folder.path(), "bob");
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
        Node::spawn(config).await.unwrap()
    };
    let (alice, bob) = (start(folder.path(), "alice").await, anywhere().await);
    common::join(&alice, "#garden", None).await;
    common::join(&bob, "#garden", None).await;
    let there = status(&bob).await.listening[0].clone();
    alice.want(there.parse().unwrap()).await.unwrap();
    let together = async |node: &Node| status(node).await.rooms[0].online == 1;
    until("they meet", async || together(&bob).await).await;
    bob.shutdown().await;
    let bob = anywhere().await;
    assert_ne!(status(&bob).await.listening[0], there);
    until("he remembers who had come to him", async || together(&bob).await).await;
    alice.shutdown().await;
    bob.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_addresses_to_look_for_are_a_thousand() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), "alice");
    config.peers = (1..=10_000).map(|port| format!("/ip4/127.0.0.1/tcp/{port}")).collect();
    let alice = Node::spawn(config).await.unwrap();
    let status = status(&alice).await;
    assert_eq!(status.wanted.len(), CONFIGURED_MAX);
    let missing = status.discovery.unwrap().missing as usize;
    assert!((CONFIGURED_MAX..=CONFIGURED_MAX + DISCOVERED_MAX).contains(&missing), "{missing}");
    alice.shutdown().await;
}
