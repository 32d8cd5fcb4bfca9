//! Two nodes on loopback that talk with each other directly: how long a message takes, one at a
//! time, and how many get through in a burst. Everything is on: sealed, committed to disk on both
//! sides, acknowledged.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use klatch_core::command::{Command, Reply};
use klatch_core::error::CommandError;
use klatch_core::event::{Delivery, Event};
use klatch_node::Node;
use klatch_node::feed::{FeedError, Listener};
use serde_json::json;

use super::ours::{join, meet, start};

/// Sent before anything is measured: the session is made, caches are warm.
const WARM_UP: usize = 20;
/// A message that is not there by then is lost.
const PATIENCE: Duration = Duration::from_secs(20);
/// After "too fast".
const RETRY: Duration = Duration::from_millis(2);

/// What it came to, in milliseconds.
struct Figures {
    /// From the command to its reply: on the sender's disk.
    stored: Vec<f64>,
    /// From the command to the other side's event: on the receiver's disk.
    told: Vec<f64>,
    /// From the command to the news of its delivery.
    delivered: Vec<f64>,
    /// Of the burst, from the first command to the last delivery.
    burst_s: f64,
}

/// Measures `messages` one after the other, then as many at once.
pub fn run(folder: &Path, messages: usize, bytes: usize, as_json: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let figures = runtime.block_on(measure(folder, messages, bytes))?;
    let (stored, told) = (percentile(&figures.stored, 50), percentile(&figures.told, 50));
    let (p50, p99) = (percentile(&figures.delivered, 50), percentile(&figures.delivered, 99));
    let per_s = messages as f64 / figures.burst_s;
    if as_json {
        println!(
            "{}",
            json!({
                "messages": messages, "bytes": bytes, "stored_p50_ms": stored, "told_p50_ms": told,
                "delivered_p50_ms": p50, "delivered_p99_ms": p99, "burst_per_s": per_s,
            })
        );
    } else {
        println!(
            "direct, {messages} of {bytes} B: delivered {p50:.2} ms median, {p99:.2} ms p99 (stored {stored:.2}, \
             told {told:.2}); {per_s:.0}/s in a burst"
        );
    }
    Ok(())
}

async fn measure(folder: &Path, messages: usize, bytes: usize) -> Result<Figures> {
    let (alice, bob) = (start(folder, "alice").await?, start(folder, "bob").await?);
    for node in [&alice, &bob] {
        join(node).await?;
    }
    meet(&alice, 1).await?;
    meet(&bob, 1).await?;
    let until = Instant::now() + PATIENCE;
    while alice.person("@bob").is_err() {
        if Instant::now() > until {
            bail!("bob did not introduce himself within {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(RETRY).await;
    }
    let mut pair = Pair { hers: alice.subscribe(), his: bob.subscribe(), alice, bob };
    let mut figures =
        Figures { stored: Vec::new(), told: Vec::new(), delivered: Vec::new(), burst_s: 0.0 };
    for i in 0..WARM_UP + messages {
        let (stored, told, delivered) = pair.one(text(i, bytes)).await?;
        if i == 0 {
            // Bob decides, so that more than a handful of messages are taken.
            let who = pair.bob.person("@alice")?;
            pair.bob.command(Command::AcceptContact { who, petname: None }).await?;
        }
        if i >= WARM_UP {
            figures.stored.push(stored);
            figures.told.push(told);
            figures.delivered.push(delivered);
        }
    }
    figures.burst_s = pair.burst(messages, bytes).await?;
    pair.alice.shutdown().await;
    pair.bob.shutdown().await;
    Ok(figures)
}

struct Pair {
    alice: Node,
    bob: Node,
    hers: Listener,
    his: Listener,
}

impl Pair {
    /// Sends one message and waits until both sides know that it is there: milliseconds until each
    /// of them.
    async fn one(&mut self, text: String) -> Result<(f64, f64, f64)> {
        let begun = Instant::now();
        let since = || begun.elapsed().as_secs_f64() * 1_000.0;
        let told = async {
            hear(&mut self.his, |event| match event {
                Event::MessageAdded { message } => message.direct && message.text == text,
                _ => false,
            })
            .await?;
            Ok::<_, anyhow::Error>(since())
        };
        let sent = async {
            let seq = send(&self.alice, text.clone()).await?;
            let stored = since();
            delivered(&mut self.hers, seq).await?;
            Ok::<_, anyhow::Error>((stored, since()))
        };
        let ((stored, delivered), told) = tokio::try_join!(sent, told)?;
        Ok((stored, told, delivered))
    }

    /// Sends as fast as the node takes them; seconds until the last one is delivered.
    async fn burst(&mut self, messages: usize, bytes: usize) -> Result<f64> {
        let begun = Instant::now();
        let alice = self.alice.clone();
        let all = (0..messages).map(|i| send(&alice, text(i, bytes)));
        let last = futures::future::try_join_all(all)
            .await?
            .into_iter()
            .max()
            .context("nothing was sent")?;
        delivered(&mut self.hers, last).await?;
        Ok(begun.elapsed().as_secs_f64())
    }
}

/// Says something to bob, again and again while the node says that it is too fast; the message's
/// position.
async fn send(node: &Node, text: String) -> Result<u64> {
    let command = Command::SendMessage { room: node.place("@bob")?, text, reply_to: None };
    loop {
        match node.command(command.clone()).await {
            Ok(Reply::Stored { seq, .. }) => return Ok(seq),
            Ok(other) => bail!("unexpected reply: {other:?}"),
            Err(CommandError::TooFast { .. }) => tokio::time::sleep(RETRY).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits for the news that the message at a position is on the other disk.
async fn delivered(events: &mut Listener, seq: u64) -> Result<()> {
    hear(events, |event| match event {
        Event::DeliveryChanged {
            direct: true,
            upto_seq,
            state: Delivery::Delivered { .. } | Delivery::Read,
            ..
        } => *upto_seq >= seq,
        _ => false,
    })
    .await
}

async fn hear(events: &mut Listener, wanted: impl Fn(&Event) -> bool) -> Result<()> {
    let heard = async {
        loop {
            match events.recv().await {
                Ok(live) if wanted(&live.event) => return Ok(()),
                // What is waited for comes last, so it is not among what was missed.
                Ok(_) | Err(FeedError::Missed { .. }) => {}
                Err(FeedError::Closed) => bail!("the node ended"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.context("a message did not arrive")?
}

fn text(i: usize, bytes: usize) -> String {
    let mut text = format!("{i} ");
    text.extend(std::iter::repeat_n('x', bytes.saturating_sub(text.len())));
    text
}

/// The value that so many per cent stay below; 0 of nothing.
pub fn percentile(values: &[f64], p: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() * p / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}
