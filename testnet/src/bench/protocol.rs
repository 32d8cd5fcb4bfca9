//! One participant's side of the bench: numbered messages, a window, latencies, and a line protocol
//! on stdin and stdout.
//!
//! The harness starts N of these, passes everybody's address around, says `go`, and collects one
//! `done` line from each. A sender may be at most `window` messages ahead of the slowest other
//! sender it hears, so that systems without back-pressure are not made to drop; 0 means no window.

use std::collections::HashSet;
use std::io::BufRead;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Notify, mpsc};

/// Bytes before the filler: `MS|id|seq|time|`.
const HEAD_BYTES: usize = 34;
/// A sender that hears nothing for this long goes on and counts a stall.
const STALL: Duration = Duration::from_secs(2);
/// After the end of sending, messages may arrive for this much longer.
const GRACE: Duration = Duration::from_secs(15);
/// Lines from the harness that were not taken yet; it sends three in all.
const LINES_MAX: usize = 8;

/// One run as the harness describes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// This participant, from 0.
    pub id: usize,
    /// Participants.
    pub n: usize,
    /// Messages of each sender.
    pub count: usize,
    /// Smallest text.
    pub min: usize,
    /// Largest text.
    pub max: usize,
    /// See the module.
    pub window: usize,
    /// Pause between two messages of one sender; 0: none.
    pub interval_ms: u64,
    /// Who sends.
    pub senders: Vec<usize>,
    /// Nothing came for so long: give up.
    pub idle_s: f64,
    /// Sending ends after this.
    pub limit_s: f64,
}

/// The `done` line. Times are nanoseconds of one clock of this machine; latencies microseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Done {
    /// `done`.
    pub ev: String,
    /// Messages handed over.
    pub sent: usize,
    /// Messages received, each once.
    pub recv: usize,
    /// Bytes received.
    pub bytes: usize,
    /// Messages received again.
    pub dups: usize,
    /// Waits in vain.
    pub stalls: usize,
    /// Refused by the library and tried again.
    pub retries: usize,
    /// First message handed over.
    pub t_first: u64,
    /// Last message received.
    pub t_last: u64,
    /// One for each message received.
    pub lat: Vec<u64>,
}

/// What was received so far.
struct Received {
    done: Done,
    /// Numbers, for each sender.
    seen: Vec<HashSet<u32>>,
    /// The newest number of each sender; -1: none.
    last: Vec<i64>,
}

/// One participant.
pub struct Bench {
    /// As told by the harness.
    pub config: Config,
    filler: Vec<u8>,
    received: Mutex<Received>,
    heard: Notify,
    lines: tokio::sync::Mutex<mpsc::Receiver<String>>,
}

/// All participants run on one machine within seconds, so the system's clock serves for all.
fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Bench {
    /// Reads the run from the command line's JSON.
    pub fn new(config: &str) -> Result<Arc<Self>> {
        let config: Config =
            serde_json::from_str(config).context("the run is not described by that JSON")?;
        let (sender, lines) = mpsc::channel(LINES_MAX);
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let Ok(line) = line else { break };
                if sender.blocking_send(line).is_err() {
                    break;
                }
            }
            // The harness is gone, whatever it was waiting for.
            std::process::exit(0);
        });
        let done = Done { ev: "done".to_owned(), ..Done::default() };
        let received = Mutex::new(Received {
            done,
            seen: vec![HashSet::new(); config.n],
            last: vec![-1; config.n],
        });
        let filler = filler(config.id, config.max + FILLER_SHIFT);
        let lines = tokio::sync::Mutex::new(lines);
        Ok(Arc::new(Self { config, filler, received, heard: Notify::new(), lines }))
    }

    fn state(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn line(&self) -> String {
        self.lines.lock().await.recv().await.unwrap_or_default()
    }

    /// Tells the harness this participant's address and gets all of them, in order of id.
    pub async fn peers(&self, address: &str) -> Result<Vec<String>> {
        println!("{}", json!({"ev": "addr", "addr": address}));
        serde_json::from_str(&self.line().await).context("no list of addresses")
    }

    fn text(&self, seq: usize) -> String {
        let spread = self.config.max - self.config.min + 1;
        let mixed = (seq as u64 + 1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(self.config.id as u64 * 7919);
        let size = self.config.min + (mixed >> 33) as usize % spread;
        let shift = seq * 977 % FILLER_SHIFT;
        let now = now_ns();
        {
            let done = &mut self.state().done;
            if done.t_first == 0 {
                done.t_first = now;
            }
        }
        let mut text = format!("MS|{:02}|{seq:07}|{now:019}|", self.config.id);
        let rest = size.saturating_sub(HEAD_BYTES);
        text.push_str(&String::from_utf8_lossy(&self.filler[shift..shift + rest]));
        text
    }

    /// A text arrived, from whomever.
    pub fn received(&self, text: &[u8]) {
        let now = now_ns();
        let Some((id, seq, sent_ns)) = parse(text) else { return };
        if id == self.config.id || id >= self.config.n {
            return;
        }
        {
            let mut state = self.state();
            let new = state.seen[id].insert(seq);
            state.last[id] = state.last[id].max(i64::from(seq));
            let done = &mut state.done;
            if !new {
                done.dups += 1;
                return;
            }
            done.recv += 1;
            done.bytes += text.len();
            done.lat.push(now.saturating_sub(sent_ns) / 1_000);
            done.t_last = now;
        }
        self.heard.notify_one();
    }

    /// The library refused a message for now.
    pub fn retried(&self) {
        self.state().done.retries += 1;
    }

    fn may_send(&self, seq: usize) -> bool {
        let state = self.state();
        let others = self.config.senders.iter().filter(|s| **s != self.config.id);
        let behind = |s: &usize| state.last[*s] >= seq as i64 - self.config.window as i64;
        self.config.window == 0 || others.into_iter().all(behind)
    }

    async fn wait_for_window(&self, seq: usize) {
        while !self.may_send(seq) {
            let before = self.state().done.recv;
            if tokio::time::timeout(STALL, self.heard.notified()).await.is_err() {
                let done = &mut self.state().done;
                if done.recv == before {
                    done.stalls += 1;
                    return;
                }
            }
        }
    }

    /// Says ready, waits for `go`, sends, waits for the others' messages, reports, waits for
    /// `quit`.
    pub async fn drive<F>(&self, mut send: impl FnMut(String) -> F) -> Result<()>
    where
        F: Future<Output = Result<()>>,
    {
        println!("{}", json!({"ev": "ready"}));
        while self.line().await != "go" {}
        let begun = Instant::now();
        let limit = Duration::from_secs_f64(self.config.limit_s);
        let mut next = tokio::time::Instant::now();
        let count =
            if self.config.senders.contains(&self.config.id) { self.config.count } else { 0 };
        for seq in 0..count {
            if begun.elapsed() > limit {
                break;
            }
            if self.config.interval_ms > 0 {
                next += Duration::from_millis(self.config.interval_ms);
                tokio::time::sleep_until(next).await;
            } else {
                self.wait_for_window(seq).await;
            }
            send(self.text(seq)).await?;
            self.state().done.sent += 1;
        }
        self.wait_for_the_rest(begun, limit + GRACE).await;
        println!("{}", serde_json::to_string(&self.state().done)?);
        while self.line().await != "quit" {}
        Ok(())
    }

    async fn wait_for_the_rest(&self, begun: Instant, limit: Duration) {
        let others = self.config.senders.iter().filter(|s| **s != self.config.id).count();
        let (mut before, mut at) = (usize::MAX, Instant::now());
        loop {
            let received = self.state().done.recv;
            if received >= self.config.count * others || begun.elapsed() > limit {
                return;
            }
            if received != before {
                (before, at) = (received, Instant::now());
            }
            if at.elapsed().as_secs_f64() > self.config.idle_s {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Texts begin at different places of the filler.
const FILLER_SHIFT: usize = 65_536;

/// Printable bytes that do not compress.
pub fn filler(seed: usize, length: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = 99 + seed as u64;
    let next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ALPHABET[(state >> 58) as usize]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Sender, number and time of sending.
fn parse(text: &[u8]) -> Option<(usize, u32, u64)> {
    let head = std::str::from_utf8(text.get(..HEAD_BYTES)?).ok()?;
    let mut parts = head.strip_prefix("MS|")?.split('|');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_of_a_text_is_read_back() {
        assert_eq!(parse(b"MS|03|0000042|0000000000000000017|abc"), Some((3, 42, 17)));
        assert_eq!(parse(b"MS|03|0000042|"), None);
        assert_eq!(parse(b"hello, this is no message of the bench at all"), None);
    }
}
