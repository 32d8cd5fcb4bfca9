//! What tests with real nodes share: profiles in one folder, rooms, patience.

#![allow(dead_code, reason = "each file of tests uses a part of it")]

use std::path::Path;
use std::time::{Duration, Instant};

use klatch_core::command::{Command, Passphrase};
use klatch_node::store::keystore::{Keystore, Secrets};
use klatch_node::{Config, Node};

pub fn config(folder: &Path, name: &str) -> Config {
    let home = folder.join(name);
    if !home.exists() {
        std::fs::create_dir_all(&home).unwrap();
        Keystore::at(&home).create(&Secrets::generate(name, 1).unwrap(), None).unwrap();
    }
    let mut config = Config::new(&home, home.join("run"), folder.join("peers"));
    config.loopback_only = true;
    config
}

pub async fn start(folder: &Path, name: &str) -> Node {
    Node::spawn(config(folder, name)).await.unwrap()
}

pub async fn join(node: &Node, room: &str, passphrase: Option<&str>) {
    let passphrase = passphrase.map(|p| Passphrase(p.to_owned()));
    node.command(Command::JoinRoom { room: room.to_owned(), passphrase }).await.unwrap();
}

/// Waits until `look` says yes, at most 20 s.
pub async fn until<F: AsyncFnMut() -> bool>(what: &str, mut look: F) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !look().await {
        assert!(Instant::now() < give_up, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
