//! A client of a node's local API: JSON-RPC 2.0, one object per line, over the Unix socket
//! (docs/API.md).
//!
//! Blocking, on plain threads: the testnet has a handful of nodes and reads better without a
//! runtime.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// A node that answers nothing for this long counts as gone. Longer than a paused or crashed node
/// may take in a scenario.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// The node said no.
#[derive(Debug)]
pub struct Refused {
    /// `KLATCH-...`, or the number of a JSON-RPC error.
    pub code: String,
    /// In words.
    pub message: String,
    /// The same call may succeed later.
    pub retryable: bool,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Refused {}

/// One connection.
pub struct Client {
    lines: BufReader<UnixStream>,
    next: u64,
    /// Answers that came before somebody asked for them.
    early: BTreeMap<u64, Value>,
}

impl Client {
    /// Connects to a running node.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("no node answers at {}", socket.display()))?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.set_write_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { lines: BufReader::new(stream), next: 1, early: BTreeMap::new() })
    }

    /// Sends a request without waiting; [`Client::answer`] takes its answer.
    pub fn ask(&mut self, method: &str, params: &Value) -> Result<u64> {
        let id = self.next;
        self.next += 1;
        let mut line = serde_json::to_vec(
            &json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}),
        )?;
        line.push(b'\n');
        self.lines.get_mut().write_all(&line)?;
        Ok(id)
    }

    /// Waits for the answer to a request. A refusal by the node is a [`Refused`] error.
    pub fn answer(&mut self, id: u64) -> Result<Value> {
        loop {
            if let Some(answer) = self.early.remove(&id) {
                return outcome(answer);
            }
            let mut line = String::new();
            match self.lines.read_line(&mut line) {
                Ok(0) => bail!("the node closed the connection"),
                Ok(_) => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    bail!("the node did not answer within {} s", ANSWER_WITHIN.as_secs())
                }
                Err(e) => return Err(e.into()),
            }
            let value: Value = serde_json::from_str(&line)
                .context("the node answered something that is not JSON")?;
            // Notifications (events) have no id; this client never subscribes, so they are of no
            // interest.
            if let Some(id) = value["id"].as_u64() {
                self.early.insert(id, value);
            }
        }
    }

    /// Sends a request and waits for its answer.
    pub fn call(&mut self, method: &str, params: &Value) -> Result<Value> {
        let id = self.ask(method, params)?;
        self.answer(id)
    }
}

fn outcome(mut answer: Value) -> Result<Value> {
    let error = answer["error"].take();
    if error.is_null() {
        return Ok(answer["result"].take());
    }
    let data = &error["data"];
    Err(Refused {
        code: data["code"].as_str().map_or_else(|| error["code"].to_string(), str::to_owned),
        message: error["message"].as_str().unwrap_or("refused").to_owned(),
        retryable: data["retryable"].as_bool().unwrap_or(false),
    }
    .into())
}
