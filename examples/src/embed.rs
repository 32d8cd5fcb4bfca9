//! A node inside your own program, with no other process: make a profile, start, join, speak,
//! listen, stop.
//!
//! `cargo run -p klatch-examples --bin embed -- FOLDER NAME '#lobby' 'hello from a program'`
//!
//! Ends when somebody answers. Nodes of one machine find each other through `FOLDER/peers`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use klatch_node::core::command::{Command, Reply};
use klatch_node::core::content::Kind;
use klatch_node::core::event::Event;
use klatch_node::feed::FeedError;
use klatch_node::store::keystore::{Keystore, Secrets};
use klatch_node::{Config, Node, clock};

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut next = |what: &'static str| args.next().context(what);
    let (folder, name) = (PathBuf::from(next("a folder")?), next("a name")?);
    let (room, text) = (next("a room, such as '#lobby'")?, next("something to say")?);

    // A profile is a folder with a keystore; give a passphrase instead of `None` to have everything
    // in it encrypted.
    let home = folder.join(&name);
    if !Keystore::at(&home).exists() {
        Keystore::at(&home).create(&Secrets::generate(&name, clock::now_ms())?, None)?;
    }
    let mut config = Config::new(&home, home.join("run"), folder.join("peers"));
    config.loopback_only = std::env::var_os("KLATCH_LOOPBACK_ONLY").is_some();

    let node = Node::spawn(config).await?;
    // Whoever subscribes before asking misses no answer.
    let mut events = node.subscribe();
    let joined = node.command(Command::JoinRoom { room: room.clone(), passphrase: None }).await?;
    let Reply::Joined { room, name: shown, .. } = joined else { bail!("not joined: {joined:?}") };
    println!("{name} is in {shown}");
    node.command(Command::SendMessage { room: room.into(), text, reply_to: None }).await?;

    let heard = async {
        loop {
            match events.recv().await {
                Ok(told) => match &told.event {
                    Event::MessageAdded { message }
                        if !message.own && message.kind == Kind::Text =>
                    {
                        return Ok(message.clone());
                    }
                    _ => {}
                },
                // Events are a hint, the store is the truth: a program that has to see all reads
                // `Node::journal`.
                Err(FeedError::Missed { events, .. }) => {
                    eprintln!("too slow: {events} events missed")
                }
                Err(FeedError::Closed) => bail!("the node has ended"),
            }
        }
    };
    tokio::select! {
        message = heard => {
            let message = message?;
            println!("{:?} said {:?}", message.name, message.text);
        }
        _ = tokio::signal::ctrl_c() => println!("nobody answered"),
    }
    node.shutdown().await;
    Ok(())
}
