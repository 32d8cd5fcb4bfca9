//! Two nodes in one program: make two profiles, start a node on each, open a room, talk, see it
//! delivered.
//!
//! `cargo run -p klatch-examples --bin two_nodes`

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use klatch_node::core::command::{Command, Reply};
use klatch_node::core::event::{Delivery, Event};
use klatch_node::store::keystore::{Keystore, Secrets};
use klatch_node::{Config, Node, clock};

/// A profile is a folder with a keystore; a node opens it. Both nodes share the folder by which
/// they find each other.
async fn start(folder: &Path, name: &str) -> Result<Node> {
    let home = folder.join(name);
    Keystore::at(&home).create(&Secrets::generate(name, clock::now_ms())?, None)?;
    let mut config = Config::new(&home, home.join("run"), folder.join("peers"));
    config.loopback_only = true;
    let node = Node::spawn(config).await?;
    node.command(Command::JoinRoom { room: "#demo".to_owned(), passphrase: None }).await?;
    Ok(node)
}

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (alice, bob) = (start(folder.path(), "alice").await?, start(folder.path(), "bob").await?);
    let (mut alice_hears, mut bob_hears) = (alice.subscribe(), bob.subscribe());

    let text = "hello from a program".to_owned();
    let room = alice.place("#demo")?;
    let sent = alice.command(Command::SendMessage { room, text, reply_to: None }).await?;
    let Reply::Stored { seq, .. } = sent else { bail!("not stored: {sent:?}") };

    let talk = async {
        loop {
            if let Event::MessageAdded { message } = &bob_hears.recv().await?.event
                && !message.own
                && !message.text.is_empty()
                && message.seq == seq
            {
                println!("bob reads: {}: {}", message.name, message.text);
                break;
            }
        }
        loop {
            if let Event::DeliveryChanged { upto_seq, state: Delivery::Delivered { n, m }, .. } =
                alice_hears.recv().await?.event
                && upto_seq >= seq
            {
                println!("alice knows: delivered {n} of {m}");
                return Ok::<_, anyhow::Error>(());
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), talk).await??;
    alice.shutdown().await;
    bob.shutdown().await;
    Ok(())
}
