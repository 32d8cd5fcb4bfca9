//! A small client of a node's local API, to copy into programs of your own: one Unix socket, one
//! JSON object per line. Events that arrive while an answer is awaited wait for [`Client::event`].

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

const START: &str = "is the node running? klatch up";

/// A connection to a running node.
pub struct Client {
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
    next: u64,
    early: VecDeque<Value>,
}

impl Client {
    /// Connects to the socket named by `KLATCH_SOCKET`, or to the one that `klatch status` tells.
    pub async fn connect() -> Result<Self> {
        let socket = match std::env::var_os("KLATCH_SOCKET") {
            Some(path) => PathBuf::from(path),
            None => {
                let mut ask = tokio::process::Command::new("klatch");
                let told = ask.args(["status", "--json"]).output().await;
                let told = told.context("KLATCH_SOCKET is not set, and there is no `klatch`")?;
                let status: Value = serde_json::from_slice(&told.stdout).context(START)?;
                status["socket"].as_str().context("that node offers no socket")?.into()
            }
        };
        let stream = UnixStream::connect(&socket).await.context(START)?;
        let (read, write) = stream.into_split();
        Ok(Self { lines: BufReader::new(read).lines(), write, next: 0, early: VecDeque::new() })
    }

    /// Calls a method of `klatch api spec`. An error says what went wrong and what to try.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.next += 1;
        let id = self.next;
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.write.write_all(format!("{request}\n").as_bytes()).await?;
        loop {
            let mut line = self.line().await?;
            if line["id"] == self.next || line["error"].is_object() && line["id"].is_null() {
                if let Some(error) = line.get("error") {
                    bail!("{method}: {}; {}", error["message"], error["data"]["hint"]);
                }
                return Ok(line["result"].take());
            }
            self.early.push_back(line);
        }
    }

    /// The id of a room, for topics: `room/ID/message`. The node refuses what could be several.
    pub async fn room(&mut self, name: &str) -> Result<String> {
        let room = self.call("room.get", json!({"room": name})).await?;
        room["room_id"].as_str().map(str::to_owned).context("a room without an id")
    }

    /// Follows topics that begin so, after a cursor, `"start"` or `"now"`; answers with the cursor.
    pub async fn subscribe(&mut self, topics: &[String], after: Value) -> Result<Value> {
        let params = json!({"topics": topics, "after": after});
        Ok(self.call("events.subscribe", params).await?["cursor"].take())
    }

    /// The next event: `cursor`, `time`, `topic`, `type`, `event`. May be dropped and called again.
    pub async fn event(&mut self) -> Result<Value> {
        loop {
            let mut line = match self.early.pop_front() {
                Some(line) => line,
                None => self.line().await?,
            };
            if line["method"] == "event" {
                return Ok(line["params"].take());
            }
        }
    }

    async fn line(&mut self) -> Result<Value> {
        let line = self.lines.next_line().await?.context("the node has ended")?;
        Ok(serde_json::from_str(&line)?)
    }
}

/// Keeps a cursor in a file that is replaced in one step: a kill leaves never half of one.
pub fn save(file: &Path, cursor: &Value) -> Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, cursor.to_string())?;
    std::fs::File::open(&new)?.sync_all()?;
    Ok(std::fs::rename(&new, file)?)
}
