//! A node that has nothing to do, and one that has just been started.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::compare::middle;
use crate::process::{Node, Site, usage};

/// After the start: connections, presence and the first beacons are over.
const SETTLE: Duration = Duration::from_secs(5);
/// A start that takes longer is broken.
const PROMPT_WITHIN: Duration = Duration::from_secs(30);

/// Memory and CPU of a node that is connected with one other in one room, while nobody speaks.
pub fn idle(site: &Site, seconds: u64, as_json: bool) -> Result<()> {
    let mut nodes = vec![Node::init(site, 1)?, Node::init(site, 2)?];
    for node in &mut nodes {
        node.start()?;
        node.client()?.call("room.join", &json!({"room": "#lobby"}))?;
    }
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
        println!("{}", json!({"seconds": seconds, "rss_mb": rss_mb, "cpu_percent": cpu_percent}));
    } else {
        println!("idle, one peer: {rss_mb:.1} MB RSS, {cpu_percent:.2} % of a core over {seconds} s");
    }
    Ok(())
}

/// From starting the program to the moment when a typed line can be taken: a room that exists, no node that runs.
pub fn cold(site: &Site, reps: usize, as_json: bool) -> Result<()> {
    Node::init(site, 1)?;
    // The first one makes the room (its key takes a deliberate while) and warms the disk cache.
    chat(site)?;
    let times = (0..reps).map(|_| chat(site)).collect::<Result<Vec<f64>>>()?;
    let worst = times.iter().copied().fold(0.0, f64::max);
    if as_json {
        println!("{}", json!({"reps": reps, "median_ms": middle(times.clone()), "worst_ms": worst, "all_ms": times}));
    } else {
        println!("cold start to prompt: {:.0} ms median, {worst:.0} ms worst of {reps}", middle(times));
    }
    Ok(())
}

/// Milliseconds until the chat shows its first output, which it does when it takes input.
fn chat(site: &Site) -> Result<f64> {
    let begun = Instant::now();
    let mut command = site.klatch("n1");
    command
        .args(["chat", "#lobby", "--plain", "--no-mdns"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    let mut stdout = child.stdout.take().context("no stdout")?;
    writeln!(stdin, "hello")?;
    let mut said = Vec::new();
    let mut byte = [0];
    while stdout.read(&mut byte)? == 1 {
        said.push(byte[0]);
        if String::from_utf8_lossy(&said).contains("hello") || begun.elapsed() > PROMPT_WITHIN {
            break;
        }
    }
    let ms = begun.elapsed().as_secs_f64() * 1_000.0;
    drop(stdin);
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest)?;
    if !child.wait()?.success() {
        let mut why = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            stderr.read_to_string(&mut why)?;
        }
        bail!("klatch chat failed: {}", why.trim());
    }
    Ok(ms)
}
