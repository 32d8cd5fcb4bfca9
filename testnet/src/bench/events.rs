//! From an event to its subscribers, through the socket of a real node: one that reads at once,
//! beside some that hardly read, while messages are sent at a fixed rate. Counts what each of them
//! saw: nothing may be missing or come twice.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::direct::percentile;
use crate::process::{Node, Site};

/// A subscriber that hears nothing for this long has lost something.
const PATIENCE: Duration = Duration::from_secs(30);
/// A slow subscriber reads one line, then pauses.
const SLOWNESS: Duration = Duration::from_millis(100);
/// Sent before anything is measured.
const WARM_UP: u64 = 200;
const ROOM: &str = "#bench";

/// What is asked for.
pub struct Load {
    /// Messages per second.
    pub rate: u32,
    /// For so long.
    pub seconds: u32,
    /// Bytes of each text, at least.
    pub bytes: usize,
    /// Subscribers that hardly read.
    pub slow: usize,
}

/// What the fast subscriber saw, in milliseconds.
#[derive(Default)]
struct Seen {
    /// From the request that sends to the event: commit included.
    sent: Vec<f64>,
    /// From the moment the node told it (whole milliseconds, so up to one too many) to its arrival.
    told: Vec<f64>,
    twice: usize,
}

/// Measures.
pub fn run(site: &Site, load: &Load, as_json: bool) -> Result<()> {
    let mut node = Node::init(site, 1)?;
    node.start()?;
    node.client()?.call("room.join", &json!({"room": ROOM}))?;
    let socket = node.socket().context("there is no api.sock")?;
    let messages = u64::from(load.rate) * u64::from(load.seconds);
    let done = Arc::new(AtomicBool::new(false));
    let ready = Arc::new(Barrier::new(load.slow + 2));
    let slow: Vec<JoinHandle<Result<u64>>> = (0..load.slow)
        .map(|_| {
            let (socket, ready, done) = (socket.clone(), ready.clone(), done.clone());
            spawn(move || slow_reader(&socket, &ready, &done, messages + WARM_UP))
        })
        .collect();
    let fast = {
        let (socket, ready) = (socket.clone(), ready.clone());
        spawn(move || fast_reader(&socket, &ready, messages))
    };
    ready.wait();
    let begun = Instant::now();
    send(&socket, load, messages)?;
    let took = begun.elapsed();
    let seen = fast.join().map_err(|_| anyhow::anyhow!("the reader failed"))??;
    done.store(true, Ordering::Relaxed);
    let mut late = Vec::new();
    for reader in slow {
        late.push(reader.join().map_err(|_| anyhow::anyhow!("a slow reader failed"))??);
    }
    node.stop()?;
    report(load, messages, took, &seen, &late, as_json);
    Ok(())
}

fn report(load: &Load, messages: u64, took: Duration, seen: &Seen, late: &[u64], as_json: bool) {
    let rate = (messages + WARM_UP) as f64 / took.as_secs_f64();
    let (told50, told99) = (percentile(&seen.told, 50), percentile(&seen.told, 99));
    let (sent50, sent99) = (percentile(&seen.sent, 50), percentile(&seen.sent, 99));
    let lost = messages - seen.sent.len() as u64;
    let slow_lost: u64 = late.iter().map(|n| (messages + WARM_UP).saturating_sub(*n)).sum();
    if as_json {
        println!(
            "{}",
            json!({
                "messages": messages, "rate": rate, "bytes": load.bytes, "slow": load.slow,
                "told_p50_ms": told50, "told_p99_ms": told99, "sent_p50_ms": sent50, "sent_p99_ms": sent99,
                "lost": lost, "twice": seen.twice, "slow_lost": slow_lost,
            })
        );
    } else {
        println!(
            "events, {messages} of {} B at {rate:.0}/s beside {} slow readers: told to read {told50:.1} ms median, \
             {told99:.1} ms p99; sent to read {sent50:.1} ms median, {sent99:.1} ms p99; lost {lost}, twice {}, \
             lost by the slow ones {slow_lost}",
            load.bytes, load.slow, seen.twice
        );
    }
}

/// Sends at the rate asked for, without waiting for answers: another thread reads those.
fn send(socket: &Path, load: &Load, messages: u64) -> Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    let answers = stream.try_clone()?;
    answers.set_read_timeout(Some(PATIENCE))?;
    let total = messages + WARM_UP;
    let reader = spawn(move || -> Result<()> {
        for line in
            BufReader::new(answers).lines().take(usize::try_from(total).unwrap_or(usize::MAX))
        {
            let line = line?;
            if !line.contains("\"stored\"") {
                bail!("refused: {line}");
            }
        }
        Ok(())
    });
    let begun = Instant::now();
    let padding = "x".repeat(load.bytes);
    for n in 0..total {
        let due = begun + Duration::from_secs_f64(n as f64 / f64::from(load.rate));
        sleep(due.saturating_duration_since(Instant::now()));
        // The warm-up carries no number that counts.
        let number = n.checked_sub(WARM_UP).map_or_else(|| "-".to_owned(), |n| n.to_string());
        let text = format!("{number} {} {padding}", now_us());
        let params = json!({"room": ROOM, "text": text});
        let mut line =
            json!({"jsonrpc": "2.0", "id": n, "method": "message.send", "params": params})
                .to_string();
        line.push('\n');
        stream.write_all(line.as_bytes())?;
    }
    reader.join().map_err(|_| anyhow::anyhow!("the writer failed"))?
}

fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// A connection that is subscribed to messages from now on.
fn subscribe(socket: &Path, read_timeout: Duration) -> Result<BufReader<UnixStream>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(read_timeout))?;
    let params = json!({"topics": ["room/"], "types": ["message.added"], "after": "now"});
    writeln!(
        stream,
        "{}",
        json!({"jsonrpc": "2.0", "id": 1, "method": "events.subscribe", "params": params})
    )?;
    let mut lines = BufReader::new(stream);
    let mut answer = String::new();
    lines.read_line(&mut answer)?;
    if !answer.contains("\"sub\"") {
        bail!("no subscription: {answer}");
    }
    Ok(lines)
}

fn fast_reader(socket: &Path, ready: &Barrier, messages: u64) -> Result<Seen> {
    let subscribed = subscribe(socket, PATIENCE);
    ready.wait();
    let mut lines = subscribed?;
    let (mut seen, mut line) = (Seen::default(), String::new());
    let mut numbers = std::collections::HashSet::new();
    while (numbers.len() as u64) < messages {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            bail!("the node closed the connection");
        }
        let arrived = now_us();
        let event: Value = serde_json::from_str(&line)?;
        let event = &event["params"];
        let Some(text) = event["event"]["message"]["text"].as_str() else { continue };
        let mut words = text.split(' ');
        let number = words.next().and_then(|w| w.parse::<u64>().ok());
        let (Some(number), Some(sent)) = (number, words.next().and_then(|w| w.parse::<u64>().ok()))
        else {
            continue;
        };
        if !numbers.insert(number) {
            seen.twice += 1;
            continue;
        }
        let ms = |from: u64| arrived.saturating_sub(from) as f64 / 1_000.0;
        seen.sent.push(ms(sent));
        seen.told.push(ms(event["at_ms"].as_u64().unwrap_or_default() * 1_000));
    }
    Ok(seen)
}

/// Reads a line now and then until the others are done, then the rest; how many messages it saw.
fn slow_reader(socket: &Path, ready: &Barrier, done: &AtomicBool, messages: u64) -> Result<u64> {
    let subscribed = subscribe(socket, PATIENCE);
    ready.wait();
    let mut lines = subscribed?;
    let (mut seen, mut line) = (0, Vec::new());
    while seen < messages {
        if !done.load(Ordering::Relaxed) {
            sleep(SLOWNESS);
        }
        line.clear();
        // A line of a sane length: whoever sends more is no node.
        let read = lines.by_ref().take(1 << 22).read_until(b'\n', &mut line);
        if read.unwrap_or(0) == 0 {
            break;
        }
        seen += u64::from(line.windows(15).any(|w| w == b"\"message_added\""));
    }
    Ok(seen)
}
