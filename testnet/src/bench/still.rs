//! A node that has nothing to do, and one that has just been started.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::compare::middle;
use crate::process::{Node, Site, usage};

/// After the start: connections, presence and the first beacons are over.
const SETTLE: Duration = Duration::from_secs(5);
/// All links must be there by then.
const MEET_WITHIN: Duration = Duration::from_secs(30);
/// Pause between two looks at the links.
const LOOK: Duration = Duration::from_millis(100);

/// Memory and CPU of a node that is connected with others in one room, while nobody speaks.
pub fn idle(site: &Site, peers: usize, seconds: u64, as_json: bool) -> Result<()> {
    let mut nodes = (1..=peers + 1).map(|n| Node::init(site, n)).collect::<Result<Vec<_>>>()?;
    for node in &mut nodes {
        node.start()?;
        node.client()?.call("room.join", &json!({"room": "#lobby"}))?;
    }
    meet(&mut nodes[0], peers)?;
    std::thread::sleep(SETTLE);
    let pid = nodes[0].pid().context("it ended")?;
    let (before, begun) = (usage(pid), Instant::now());
    std::thread::sleep(Duration::from_secs(seconds));
    let after = usage(pid);
    let cpu_percent = (after.cpu_s - before.cpu_s) * 100.0 / begun.elapsed().as_secs_f64();
    let rss_mb = after.rss_kb as f64 / 1024.0;
    for node in &mut nodes {
        node.stop()?;
    }
    if as_json {
        println!(
            "{}",
            json!({"seconds": seconds, "peers": peers, "rss_mb": rss_mb, "cpu_percent": cpu_percent})
        );
    } else {
        println!(
            "idle, {peers} linked: {rss_mb:.1} MB RSS, {cpu_percent:.2} % of a core over {seconds} s"
        );
    }
    Ok(())
}

/// Waits until a node is linked with all others: an idle node without links would be measured.
fn meet(node: &mut Node, peers: usize) -> Result<()> {
    let until = Instant::now() + MEET_WITHIN;
    loop {
        let status = node.client()?.call("node.status", &json!({}))?;
        let linked = status["peers"].as_array().map_or(0, Vec::len);
        if linked >= peers {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("only {linked} of {peers} links came within {} s", MEET_WITHIN.as_secs());
        }
        std::thread::sleep(LOOK);
    }
}

/// From starting the program to the line that greets and takes input, and to the first own message
/// on disk and on screen: a room that exists, no node that runs.
pub fn cold(site: &Site, reps: usize, as_json: bool) -> Result<()> {
    Node::init(site, 1)?;
    // The first one makes the room (its key takes a deliberate while) and warms the disk cache.
    chat(site, 0)?;
    let starts = (1..=reps).map(|rep| chat(site, rep)).collect::<Result<Vec<Start>>>()?;
    let prompts: Vec<f64> = starts.iter().map(|s| s.prompt_ms).collect();
    let worst_ms = prompts.iter().copied().fold(0.0, f64::max);
    let prompt_ms = middle(prompts);
    let said_ms = middle(starts.iter().map(|s| s.said_ms).collect());
    if as_json {
        println!(
            "{}",
            json!({"reps": reps, "prompt_ms": prompt_ms, "prompt_worst_ms": worst_ms, "first_message_ms": said_ms})
        );
    } else {
        println!(
            "cold start: prompt {prompt_ms:.0} ms median, {worst_ms:.0} ms worst of {reps}; first message stored {said_ms:.0} ms"
        );
    }
    Ok(())
}

/// One cold start.
struct Start {
    prompt_ms: f64,
    said_ms: f64,
}

fn chat(site: &Site, rep: usize) -> Result<Start> {
    let begun = Instant::now();
    let since = move || begun.elapsed().as_secs_f64() * 1_000.0;
    let mut command = site.klatch("n1");
    command.args(["chat", "#lobby", "--plain", "--no-mdns"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
    let stderr = BufReader::new(child.stderr.take().context("no stderr")?);
    let notes = std::thread::spawn(move || {
        let (mut all, mut prompt_ms) = (String::new(), None);
        for line in stderr.lines().map_while(Result::ok) {
            if prompt_ms.is_none() && line.contains("you are") {
                prompt_ms = Some(since());
            }
            all += &line;
            all.push('\n');
        }
        (all, prompt_ms)
    });
    let words = format!("cold start number {rep}");
    writeln!(stdin, "{words}")?;
    // The end of its input ends the chat, once everything is stored and shown.
    drop(stdin);
    let mut said_ms = None;
    for line in stdout.lines().map_while(Result::ok) {
        if line.contains(&words) && said_ms.is_none() {
            said_ms = Some(since());
        }
    }
    let ended = child.wait()?;
    let (all, prompt_ms) = notes.join().unwrap_or_default();
    if !ended.success() {
        bail!("klatch chat failed: {}", all.trim());
    }
    let what =
        || format!("klatch chat showed neither a prompt nor the message; it said: {}", all.trim());
    Ok(Start { prompt_ms: prompt_ms.with_context(what)?, said_ms: said_ms.with_context(what)? })
}
