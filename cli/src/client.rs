//! Every command reaches the node here: over the socket of the one that runs, or of one started
//! inside this process.
//!
//! An embedded node that reaches others offers the same socket, so that more commands can attach to
//! it; it lives until the last of them ends. One that only reads history offers none: it hears no
//! network, so nobody may come to depend on it. Calls and events take a connection each: a caller
//! that does not read its events cannot block its own answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use klatch_core::event::Event;
use klatch_core::query::Status;
use klatch_node::api::rpc::RpcError;
use klatch_node::api::{self, ApiError, Server, serve, serve_alone};
use klatch_node::{Config, Node};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, sleep, timeout};

use crate::error::{Report, exit};
use crate::output::Output;

/// A node inside a one-shot command stays at most this long to hand its messages to somebody.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(3);
/// If nobody has connected by then, nobody is there.
const FLUSH_ALONE_MAX: Duration = Duration::from_millis(1_500);
/// How often a node is looked at that might have ended by itself, which a damaged disk can cause.
const WATCH: Duration = Duration::from_secs(1);
/// Pause between looks at something that has no event.
pub const POLL: Duration = Duration::from_millis(50);

/// A node that went away while something was said is waited for so long.
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// A name that nothing else has: under it a node does something once.
pub fn fresh_key() -> Result<String, Report> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| Report::bug(&e))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// One connection that asks and is answered.
#[derive(Debug)]
pub struct Client {
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
    next: u64,
}

impl Client {
    /// Connects to a node's socket.
    pub async fn connect(socket: &Path) -> std::io::Result<Self> {
        Ok(Self::over(UnixStream::connect(socket).await?))
    }

    /// Talks over a connection that is there.
    pub fn over(stream: UnixStream) -> Self {
        let (read, write) = stream.into_split();
        Self { lines: BufReader::new(read).lines(), write, next: 0 }
    }

    /// Asks without waiting for the answer; gives back the number that the answer will have.
    pub async fn begin(&mut self, method: &str, params: Value) -> Result<u64, Report> {
        self.next += 1;
        let mut line =
            json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params})
                .to_string();
        line.push('\n');
        // The node may have refused us and closed: what it said is still to be read.
        let _ = self.write.write_all(line.as_bytes()).await;
        Ok(self.next)
    }

    /// The next answer, whichever it is. May be dropped and called again.
    pub async fn answer(&mut self) -> Result<(Option<u64>, Result<Value, Report>), Report> {
        let Ok(Some(line)) = self.lines.next_line().await else { return Err(Report::gone()) };
        let answer: Response = serde_json::from_str(&line).map_err(|_| Report::gone())?;
        Ok((answer.id.as_u64(), answer.error.map_or(Ok(answer.result), |e| Err(e.into()))))
    }

    /// Calls a method.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value, Report> {
        let id = self.begin(method, params).await?;
        loop {
            match self.answer().await? {
                (Some(answered), outcome) if answered == id => return outcome,
                // An error without a number is about the connection.
                (None, Err(report)) => return Err(report),
                _ => {}
            }
        }
    }

    /// Calls a method whose answer has a type.
    pub async fn ask<T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: Value,
    ) -> Result<T, Report> {
        let value = self.call(method, params).await?;
        serde_json::from_value(value).map_err(|e| {
            let hint = "the running node may be of another version: `klatch down`, then try again";
            Report::new(
                "KLATCH-API-ANSWER",
                format!("the node's answer is not understood: {e}"),
                hint,
                exit::FAILED,
            )
        })
    }
}

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    result: Value,
    error: Option<RpcError>,
}

/// A connection that only listens.
#[derive(Debug)]
pub struct Events {
    client: Client,
    /// Everything up to this journal number has been told, or is before the subscription.
    pub cursor: u64,
}

/// One event as the API sends it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Sent", into = "Sent")]
pub struct Told {
    /// Journal number, for durable events.
    pub cursor: Option<u64>,
    /// When it happened, Unix milliseconds.
    pub at_ms: u64,
    /// Where it belongs.
    pub topic: String,
    /// What it is called.
    pub kind: String,
    /// What happened.
    pub event: Event,
}

/// The same on its way: the event does not repeat its type.
#[derive(Serialize, Deserialize)]
struct Sent {
    cursor: Option<u64>,
    #[serde(default)]
    at_ms: u64,
    topic: String,
    #[serde(rename = "type")]
    kind: String,
    event: Value,
}

impl TryFrom<Sent> for Told {
    type Error = String;

    fn try_from(sent: Sent) -> Result<Self, String> {
        let Sent { cursor, at_ms, topic, kind, event } = sent;
        let event = api::event(&kind, event).ok_or_else(|| format!("no event is a {kind}"))?;
        Ok(Self { cursor, at_ms, topic, kind, event })
    }
}

impl From<Told> for Sent {
    fn from(told: Told) -> Self {
        let Told { cursor, at_ms, topic, kind, event } = told;
        Self { cursor, at_ms, topic, kind, event: api::body(&event) }
    }
}

impl Events {
    /// Subscribes. `after` is a journal number, `"start"` or `"now"`.
    pub async fn open(socket: &Path, topics: &[String], after: Value) -> Result<Self, Report> {
        Self::subscribe(socket, json!({"topics": topics, "after": after})).await
    }

    /// Subscribes with any parameters of `events.subscribe`.
    pub async fn subscribe(socket: &Path, params: Value) -> Result<Self, Report> {
        let mut client = Client::connect(socket).await.map_err(|_| Report::gone())?;
        let answer = client.call("events.subscribe", params).await?;
        let cursor = answer["cursor"].as_u64().unwrap_or_default();
        Ok(Self { client, cursor })
    }

    /// The next event as the node sent it. May be dropped and called again.
    pub async fn next_json(&mut self) -> Result<Value, Report> {
        loop {
            let Ok(Some(line)) = self.client.lines.next_line().await else {
                return Err(Report::gone());
            };
            if let Ok(mut line) = serde_json::from_str::<Value>(&line)
                && line["method"] == "event"
            {
                return Ok(line["params"].take());
            }
        }
    }

    /// The next event. May be dropped and called again.
    pub async fn next(&mut self) -> Result<Told, Report> {
        #[derive(Deserialize)]
        struct Notification {
            params: Told,
        }
        loop {
            let Ok(Some(line)) = self.client.lines.next_line().await else {
                return Err(Report::gone());
            };
            // An event of a newer version is not an error for an older front end.
            if let Ok(n) = serde_json::from_str::<Notification>(&line) {
                return Ok(n.params);
            }
        }
    }
}

/// A node inside this process.
#[derive(Debug)]
pub struct Embedded {
    node: Node,
    server: Server,
}

impl Embedded {
    /// Starts a node and offers its socket.
    pub async fn start(config: Config) -> Result<Self, Report> {
        let runtime = config.runtime.clone();
        let node = Node::spawn(config).await?;
        let server = Self::or_end(&node, serve(node.clone(), &runtime)).await?;
        Ok(Self { node, server })
    }

    /// Starts a node for this process alone, with a connection to it.
    pub async fn start_alone(config: Config) -> Result<(Self, Client), Report> {
        let node = Node::spawn(config).await?;
        let (server, stream) = Self::or_end(&node, serve_alone(node.clone())).await?;
        Ok((Self { node, server }, Client::over(stream)))
    }

    /// Without its API a node is of no use.
    async fn or_end<T>(node: &Node, offered: Result<T, ApiError>) -> Result<T, Report> {
        if offered.is_err() {
            node.shutdown().await;
        }
        Ok(offered?)
    }

    /// Waits until a client asks the node to stop; an error if the node has ended by itself.
    pub async fn stopped(&self) -> Result<(), Report> {
        loop {
            if timeout(WATCH, self.server.stopped()).await.is_ok() {
                return Ok(());
            }
            if self.node.is_stopped() {
                let hint = "start it again; if that fails, its log says why";
                return Err(Report::new(
                    "KLATCH-NODE-ENDED",
                    "the node had to stop",
                    hint,
                    exit::FAILED,
                ));
            }
        }
    }

    /// Whether a client asked the node to stop.
    pub fn asked_to_stop(&self) -> bool {
        self.server.stop_asked()
    }

    /// Waits until nobody is attached, telling the user why the program does not end.
    pub async fn until_alone(&self, out: &Output) {
        // Our own connection may just be closing.
        if timeout(POLL * 4, self.server.idle()).await.is_ok() {
            return;
        }
        let n = self.server.clients();
        out.note(&format!(
            "{n} other client(s) use this node; it stays until they end (Ctrl+C ends it now)"
        ));
        tokio::select! {
            () = self.server.idle() => {}
            () = self.server.stopped() => {}
        }
    }

    /// Gives messages that were just written the chance to leave before the node ends.
    pub async fn flush(&self) {
        use klatch_core::query::{Answer, Query};
        let begun = Instant::now();
        while begun.elapsed() < FLUSH_TIME_MAX {
            let Ok(Answer::Status(status)) = self.node.query(Query::Status).await else { return };
            let said = status.queued == 0 && status.rooms.iter().all(|r| !r.leaving);
            if said || (status.peers.is_empty() && begun.elapsed() > FLUSH_ALONE_MAX) {
                return;
            }
            sleep(POLL).await;
        }
    }

    /// Whether each part of the node has answered just now: its driver, its store, its network.
    pub async fn lives(&self) -> bool {
        self.node.lives().await
    }

    /// Ends the API, then the node.
    pub async fn end(self) {
        self.server.close().await;
        self.node.shutdown().await;
    }
}

/// What a command works with: a connection, and where to make another.
#[derive(Debug)]
pub struct Session {
    /// For calls.
    pub client: Client,
    /// Where further connections are made; nobody answers there when only history is read.
    pub socket: PathBuf,
    /// Whose it is.
    pub profile: String,
}

impl Session {
    /// Calls a method.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value, Report> {
        self.client.call(method, params).await
    }

    /// Calls a method whose answer has a type.
    pub async fn ask<T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: Value,
    ) -> Result<T, Report> {
        self.client.ask(method, params).await
    }

    /// Says something once: if the node goes away before it answers, it is asked again under the
    /// same key, over another connection.
    pub async fn once<T: DeserializeOwned>(
        &mut self,
        method: &str,
        mut params: Value,
    ) -> Result<T, Report> {
        params["idempotency_key"] = json!(fresh_key()?);
        let begun = Instant::now();
        loop {
            match self.ask(method, params.clone()).await {
                Err(gone) if gone.exit == exit::NO_NODE && begun.elapsed() < AGAIN_MAX => {
                    sleep(POLL * 4).await;
                    if let Ok(client) = Client::connect(&self.socket).await {
                        self.client = client;
                    }
                }
                done => return done,
            }
        }
    }

    /// Subscribes on a connection of its own.
    pub async fn events(&self, topics: &[String], after: Value) -> Result<Events, Report> {
        Events::open(&self.socket, topics, after).await
    }

    /// What the node is doing.
    pub async fn status(&mut self) -> Result<Status, Report> {
        self.ask("node.status", json!({})).await
    }
}
