//! A room with 100,000 messages: how fast a new member catches up, how fast it opens, how fast it
//! is searched.
//!
//! Each part is a process of its own, so that memory and start are those of a real node.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use klatch_core::query::{Answer, Query};
use klatch_node::Node;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::SELF;
use super::compare::middle;
use super::ours::{ROOM, join, meet, send, start};
use super::protocol::filler;
use crate::process::{forget_peak, usage};

/// Text of each message.
const TEXT_BYTES: usize = 200;
/// Sends without an answer at once.
const IN_FLIGHT: usize = 512;
/// Catching up with 100,000 messages at a tenth of the wanted rate.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(300);
/// After the start, all words must have been indexed by then.
const INDEX_WITHIN: Duration = Duration::from_secs(120);
/// One word stands in every so many messages.
const RARE: usize = 10_000;

/// Fills a room, lets a second member catch up, opens it again and searches it.
pub fn run(messages: usize, as_json: bool) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("klatch-bench-").tempdir()?;
    let (mut filler, filled) = worker("fill", folder.path(), messages)?;
    eprintln!("filled: {filled}");
    let (mut newcomer, caught) = worker("catch", folder.path(), messages)?;
    eprintln!("caught up: {caught}");
    end(&mut newcomer)?;
    end(&mut filler)?;
    let (mut again, opened) = worker("open", folder.path(), messages)?;
    end(&mut again)?;
    let all = json!({"messages": messages, "fill": filled, "catch_up": caught, "open": opened});
    if as_json {
        println!("{all}");
        return Ok(());
    }
    let number = |part: &str, field: &str| all[part][field].as_f64().unwrap_or(f64::NAN);
    println!("{messages} messages of {TEXT_BYTES} B");
    println!("fill      {:8.0} messages/s", number("fill", "per_s"));
    println!(
        "catch up  {:8.0} messages/s in {:.1} s, RSS {:.0} MB, peak {:.0} MB",
        number("catch_up", "per_s"),
        number("catch_up", "seconds"),
        number("catch_up", "rss_mb"),
        number("catch_up", "peak_mb")
    );
    println!(
        "open      {:8.0} ms, RSS {:.0} MB; everything is indexed after {:.0} ms",
        number("open", "open_ms"),
        number("open", "rss_mb"),
        number("open", "indexed_ms")
    );
    println!(
        "search    {:8.1} ms median, {:.1} ms worst",
        number("open", "search_ms"),
        number("open", "search_worst_ms")
    );
    Ok(())
}

/// Starts a part and waits for its one line.
fn worker(part: &str, folder: &Path, messages: usize) -> Result<(Child, Value)> {
    let mut child = Process::new(SELF)
        .args(["bench-large-part", part, &messages.to_string()])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("no stdout")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let value = serde_json::from_str(&line).with_context(|| format!("part {part} failed"))?;
    Ok((child, value))
}

fn end(child: &mut Child) -> Result<()> {
    drop(child.stdin.take());
    if !child.wait()?.success() {
        bail!("a part did not end well");
    }
    Ok(())
}

/// One part; prints one line, then waits for the end of stdin.
pub async fn part(part: &str, messages: usize, folder: &Path) -> Result<()> {
    let (node, line) = match part {
        "fill" => fill(folder, messages).await?,
        "catch" => catch_up(folder, messages).await?,
        "open" => open(folder, messages).await?,
        _ => bail!("there is no part {part}"),
    };
    println!("{line}");
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()))
        .await??;
    node.shutdown().await;
    Ok(())
}

async fn fill(folder: &Path, messages: usize) -> Result<(Node, Value)> {
    let node = start(folder, "a").await?;
    join(&node).await?;
    let filler = filler(7, TEXT_BYTES);
    let slots = std::sync::Arc::new(Semaphore::new(IN_FLIGHT));
    let begun = Instant::now();
    for number in 0..messages {
        let slot = std::sync::Arc::clone(&slots).acquire_owned().await?;
        let node = node.clone();
        let rare = if number % RARE == 0 { "albatross" } else { "sparrow" };
        let mut text = format!("message {number} about the {rare} in the garden ");
        let rest = TEXT_BYTES.saturating_sub(text.len());
        text.push_str(&String::from_utf8_lossy(&filler[..rest]));
        tokio::spawn(async move {
            // The count of stored messages is what is checked; a message that failed is missing
            // there.
            let _ = send(&node, text, || {}).await;
            drop(slot);
        });
    }
    let _all = slots.acquire_many(u32::try_from(IN_FLIGHT)?).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let stored = stored(&node).await?;
    if stored < messages as u64 {
        bail!("only {stored} of {messages} messages were stored");
    }
    Ok((node, json!({"seconds": seconds, "per_s": messages as f64 / seconds})))
}

async fn stored(node: &Node) -> Result<u64> {
    match node.query(Query::Rooms).await? {
        Answer::Rooms(rooms) => Ok(rooms.iter().find(|r| r.name == ROOM).map_or(0, |r| r.messages)),
        _ => bail!("no list of rooms"),
    }
}

async fn catch_up(folder: &Path, messages: usize) -> Result<(Node, Value)> {
    let node = start(folder, "b").await?;
    join(&node).await?;
    forget_peak(std::process::id());
    meet(&node, 1).await?;
    let begun = Instant::now();
    let before = stored(&node).await?;
    // Counting disturbs the store, so it is done rarely; at the wanted rate this is an error of
    // half a per cent.
    while stored(&node).await? < messages as u64 {
        if begun.elapsed() > CATCH_UP_WITHIN {
            bail!(
                "{} of {messages} messages after {} s",
                stored(&node).await?,
                CATCH_UP_WITHIN.as_secs()
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let used = usage(std::process::id());
    let per_s = (messages as u64 - before.min(messages as u64)) as f64 / seconds;
    let mb = |kb: u64| kb as f64 / 1024.0;
    Ok((
        node,
        json!({"seconds": seconds, "per_s": per_s, "rss_mb": mb(used.rss_kb), "peak_mb": mb(used.peak_kb)}),
    ))
}

async fn open(folder: &Path, messages: usize) -> Result<(Node, Value)> {
    let begun = Instant::now();
    let node = start(folder, "b").await?;
    let first = history(&node, None).await?;
    let open_ms = begun.elapsed().as_secs_f64() * 1_000.0;
    if first == 0 {
        bail!("the room is empty");
    }
    // The words of a long catch-up are indexed behind it, and by the next start if need be.
    let last_one = format!("message {}", messages - 1);
    while history(&node, Some(last_one.clone())).await? == 0 {
        if begun.elapsed() > INDEX_WITHIN {
            bail!("`{last_one}` cannot be found {} s after the start", INDEX_WITHIN.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let indexed_ms = begun.elapsed().as_secs_f64() * 1_000.0;
    let mut times = Vec::new();
    let middle_one = format!("message {}", messages / 2);
    for words in
        ["albatross", "sparrow", "sparrow garden", "albat", &middle_one, "nothing like this"]
    {
        for _ in 0..5 {
            let begun = Instant::now();
            let found = history(&node, Some(words.to_owned())).await?;
            times.push(begun.elapsed().as_secs_f64() * 1_000.0);
            if (found == 0) != (words == "nothing like this") {
                bail!("searching for `{words}` found {found} messages");
            }
        }
    }
    let worst = times.iter().copied().fold(0.0, f64::max);
    let used = usage(std::process::id());
    let line = json!({
        "open_ms": open_ms,
        "indexed_ms": indexed_ms,
        "search_ms": middle(times),
        "search_worst_ms": worst,
        "rss_mb": used.rss_kb as f64 / 1024.0,
    });
    Ok((node, line))
}

async fn history(node: &Node, search: Option<String>) -> Result<usize> {
    let query = Query::History {
        room: node.place(ROOM)?,
        limit: 50,
        since_ms: None,
        before: None,
        after: None,
        search,
    };
    match node.query(query).await? {
        Answer::Messages(messages) => Ok(messages.len()),
        _ => bail!("no messages"),
    }
}
