//! Writes numbered messages through a node's API and remembers which of them the node accepted.
//!
//! A message without an answer (the node was killed) is never sent again: it may exist or not, but
//! not twice.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use crate::rpc::{Client, Refused};

/// The numbers in front of the filler.
pub const TEXT_BYTES_MIN: usize = 24;
/// Pause after "too fast", and before the next try to reach a node that is down.
const RETRY: Duration = Duration::from_millis(20);

/// What a writer is to do.
#[derive(Debug, Clone)]
pub struct Job {
    /// The author, 1, 2, ...
    pub node: usize,
    /// Where its API will be; it may be away at times.
    pub socket: PathBuf,
    /// The room.
    pub room: String,
    /// How many; without it until told to stop.
    pub count: Option<u64>,
    /// Smallest and largest text.
    pub bytes: [usize; 2],
    /// Messages per second.
    pub rate: Option<f64>,
    /// Requests without an answer at once.
    pub in_flight: usize,
}

/// What one author's node accepted, over all of its writers.
#[derive(Debug, Default)]
pub struct Accepted {
    next: AtomicU64,
    numbers: Mutex<Vec<u64>>,
    refused: AtomicU64,
}

impl Accepted {
    /// The numbers of the accepted messages.
    pub fn numbers(&self) -> Vec<u64> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many messages were handed to the node.
    pub fn tried(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// How often the node said "too fast".
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn accept(&self, number: u64) {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).push(number);
    }
}

/// A thread that writes.
pub struct Writer {
    endless: bool,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Writer {
    /// Starts writing.
    pub fn start(job: Job, accepted: Arc<Accepted>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        Self {
            endless: job.count.is_none(),
            stop,
            thread: std::thread::spawn(move || Writing::new(job, &accepted, &seen).run()),
        }
    }

    /// A writer without a count ends after what it has begun; one with a count ends by itself.
    pub fn stop(&self) {
        self.stop.store(self.endless, Ordering::Relaxed);
    }

    /// Whether it is done.
    pub fn finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end.
    pub fn join(self) -> Result<()> {
        self.thread.join().unwrap_or_else(|_| anyhow::bail!("a writer panicked"))
    }
}

struct Writing<'a> {
    job: Job,
    accepted: &'a Accepted,
    stop: &'a AtomicBool,
    client: Option<Client>,
    /// Requests without an answer: id and message number.
    open: VecDeque<(u64, u64)>,
    /// To be sent again: the node said "too fast", so they were certainly not accepted.
    again: VecDeque<u64>,
    filler: Vec<u8>,
}

impl<'a> Writing<'a> {
    fn new(job: Job, accepted: &'a Accepted, stop: &'a AtomicBool) -> Self {
        let filler = filler(job.node as u64, job.bytes[1]);
        Self {
            job,
            accepted,
            stop,
            client: None,
            open: VecDeque::new(),
            again: VecDeque::new(),
            filler,
        }
    }

    fn run(mut self) -> Result<()> {
        let begun = Instant::now();
        let mut fresh = 0u64;
        loop {
            let all_sent =
                self.stop.load(Ordering::Relaxed) || self.job.count.is_some_and(|c| fresh >= c);
            if all_sent
                && self.open.is_empty()
                && (self.again.is_empty() || self.stop.load(Ordering::Relaxed))
            {
                return Ok(());
            }
            if self.open.len() >= self.job.in_flight.max(1) || (all_sent && self.again.is_empty()) {
                self.take_answer()?;
                continue;
            }
            let number = match self.again.pop_front() {
                Some(number) => number,
                None => {
                    if let Some(rate) = self.job.rate {
                        let due = begun + Duration::from_secs_f64(fresh as f64 / rate);
                        if let Some(wait) = due.checked_duration_since(Instant::now()) {
                            std::thread::sleep(wait);
                        }
                    }
                    fresh += 1;
                    self.accepted.next.fetch_add(1, Ordering::Relaxed)
                }
            };
            self.send(number);
        }
    }

    /// Hands one message to the node. When the node is away the message waits for it.
    fn send(&mut self, number: u64) {
        if self.client.is_none() {
            self.client = Client::connect(&self.job.socket).ok();
        }
        let text = text(self.job.node, number, self.job.bytes, &self.filler);
        let params = json!({"room": self.job.room, "text": text});
        match self.client.as_mut().map(|c| c.ask("message.send", &params)) {
            Some(Ok(id)) => self.open.push_back((id, number)),
            // The request may have reached the node in part only: then it is not a line, and
            // nothing was accepted. It may also have reached it whole, so it must not be repeated.
            Some(Err(_)) => self.lost_connection(),
            None => {
                self.again.push_back(number);
                std::thread::sleep(RETRY);
            }
        }
    }

    fn take_answer(&mut self) -> Result<()> {
        let Some((id, number)) = self.open.pop_front() else { return Ok(()) };
        let Some(client) = self.client.as_mut() else { return Ok(()) };
        match client.answer(id) {
            Ok(_) => self.accepted.accept(number),
            Err(e) => match e.downcast_ref::<Refused>() {
                Some(refused) if refused.code == "KLATCH-TOO-FAST" => {
                    self.accepted.refused.fetch_add(1, Ordering::Relaxed);
                    self.again.push_back(number);
                    std::thread::sleep(RETRY);
                }
                // A node that is about to stop says so; it comes back.
                Some(refused) if refused.retryable => self.again.push_back(number),
                Some(_) => return Err(e),
                None => self.lost_connection(),
            },
        }
        Ok(())
    }

    fn lost_connection(&mut self) {
        self.client = None;
        self.open.clear();
        std::thread::sleep(RETRY);
    }
}

/// Printable bytes that do not compress, the same for the same author.
fn filler(seed: u64, length: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ALPHABET[(state >> 58) as usize]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// `MS|node|number|filler`, of a size between the bounds that only the number decides.
fn text(node: usize, number: u64, bytes: [usize; 2], filler: &[u8]) -> String {
    let spread = (bytes[1] - bytes[0] + 1) as u64;
    let size =
        bytes[0] + (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as usize % spread as usize;
    let mut text = format!("MS|{node:02}|{number:09}|");
    let rest = size.saturating_sub(text.len());
    text.push_str(&String::from_utf8_lossy(&filler[..rest.min(filler.len())]));
    text
}

/// Author and number of a message text; `None` for texts of somebody else.
pub fn parse(text: &str) -> Option<(usize, u64)> {
    let mut parts = text.strip_prefix("MS|")?.splitn(3, '|');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_author_and_number_and_keep_their_bounds() {
        let bytes = [30, 90];
        let filler = filler(3, 90);
        for number in 0..500 {
            let text = text(3, number, bytes, &filler);
            assert_eq!(parse(&text), Some((3, number)));
            assert!((30..=90).contains(&text.len()), "{}", text.len());
        }
        assert_eq!(parse("hello"), None);
        assert_eq!(parse("MS|x|1|"), None);
    }
}
