//! The API of a real node on its socket: what a client may rely on.

mod events;
mod http;
mod peers;
mod rights;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::{Server, serve};
use crate::store::keystore::{Keystore, Secrets};
use crate::{Config, Node};

/// Nothing on one machine takes longer, even when it is busy.
const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    node: Node,
    server: Server,
    _home: TempDir,
}

impl World {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        super::private_folder(&at("peers")).unwrap();
        let secrets = Secrets::generate("alice", 1).unwrap();
        super::private_folder(&at("data")).unwrap();
        Keystore::at(&at("data")).create(&secrets, None).unwrap();
        Self::start(home).await
    }

    async fn start(home: TempDir) -> Self {
        let at = |name: &str| home.path().join(name);
        let mut config = Config::new(at("data"), at("run"), at("peers"));
        (config.loopback_only, config.mdns, config.quic) = (true, false, false);
        let node = Node::spawn(config).await.unwrap();
        let server = serve(node.clone(), &at("run")).unwrap();
        Self { node, server, _home: home }
    }

    async fn client(&self) -> Client {
        Client::connect(self.server.path().unwrap().to_owned()).await
    }

    /// The same profile, in a node that was started anew.
    async fn restart(self) -> Self {
        let Self { node, server, _home: home } = self;
        server.close().await;
        node.shutdown().await;
        drop(node);
        Self::start(home).await
    }

    async fn end(self) {
        self.server.close().await;
        self.node.shutdown().await;
    }
}

struct Client {
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
}

impl Client {
    async fn connect(path: PathBuf) -> Self {
        let (read, write) = UnixStream::connect(path).await.unwrap().into_split();
        Self { lines: BufReader::new(read).lines(), write }
    }

    async fn say(&mut self, line: &str) {
        self.write.write_all(line.as_bytes()).await.unwrap();
        self.write.write_all(b"\n").await.unwrap();
    }

    async fn hear(&mut self) -> Option<Value> {
        let line =
            timeout(PATIENCE, self.lines.next_line()).await.expect("an answer in time").ok()??;
        Some(serde_json::from_str(&line).unwrap())
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.say(
            &json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string(),
        )
        .await;
        self.hear().await.unwrap()
    }

    async fn event(&mut self) -> Value {
        let event = self.hear().await.unwrap();
        assert_eq!(event["method"], "event", "{event}");
        event["params"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_get_typed_errors_and_the_connection_stays() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.say("this is not json").await;
    assert_eq!(client.hear().await.unwrap()["error"]["code"], -32700);
    let answer = client.call("room.jion", json!({})).await;
    assert_eq!(answer["error"]["code"], -32601);
    assert!(answer["error"]["data"]["hint"].as_str().unwrap().contains("room.join"));
    client.call("room.join", json!({"room": "x"})).await;
    let answer = client.call("message.send", json!({"room": "#x", "text": 7})).await;
    assert_eq!(answer["error"]["code"], -32602);
    let answer = client.call("room.members", json!({"room": "#nowhere"})).await;
    assert_eq!(answer["error"]["data"]["code"], "KLATCH-ROOM-NOT-FOUND");
    assert_eq!(answer["error"]["data"]["exit"], 3);
    assert_eq!(client.call("rpc.ping", json!({})).await["result"], "pong");
    assert!(
        client.call("rpc.discover", json!({})).await["result"]["methods"].as_array().unwrap().len()
            > 15
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_do_not_wait_keep_their_order() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.call("create_room", json!({"room": "order"})).await;
    for n in 0..300 {
        let params = json!({"room": "#order", "text": format!("{n}")});
        client.say(&json!({"id": n, "method": "message.send", "params": params}).to_string()).await;
    }
    for _ in 0..300 {
        assert!(client.hear().await.unwrap()["result"]["cursor"].is_u64());
    }
    let list = client.call("message.list", json!({"room": "#order", "limit": 1000})).await;
    let texts: Vec<&str> = list["result"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|m| m["kind"] == "text")
        .map(|m| m["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, (0..300).map(|n| n.to_string()).collect::<Vec<_>>());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_was_away_misses_nothing() {
    let world = World::new().await;
    let mut sender = world.client().await;
    let room = sender.call("room.join", json!({"room": "news"})).await["result"]["room_id"].clone();
    let topic = format!("room/{}/message", room.as_str().unwrap());
    let mut first = world.client().await;
    let answer = first.call("events.subscribe", json!({"topics": [topic], "after": "start"})).await;
    assert_eq!(answer["result"]["sub"], "s1");
    for n in 0..20 {
        sender.call("message.send", json!({"room": room, "text": format!("{n}")})).await;
    }
    let mut cursor = json!(0);
    for n in 0..20 {
        let event = first.event().await;
        assert_eq!(event["event"]["message"]["text"], format!("{n}"));
        cursor = event["cursor"].clone();
    }
    drop(first);
    for n in 20..40 {
        sender.call("message.send", json!({"room": room, "text": format!("{n}")})).await;
    }
    let mut second = world.client().await;
    second.call("events.subscribe", json!({"topics": [topic], "after": cursor})).await;
    sender.call("message.send", json!({"room": room, "text": "40"})).await;
    for n in 20..=40 {
        assert_eq!(second.event().await["event"]["message"]["text"], format!("{n}"));
    }
    let mut third = world.client().await;
    third.call("events.subscribe", json!({"topics": ["room/"], "after": "now"})).await;
    sender.call("message.announce", json!({"room": room, "text": "live"})).await;
    loop {
        let event = third.event().await;
        if !event["event"]["message"].is_null() {
            assert_eq!(event["event"]["message"]["text"], "live", "only what came after");
            break;
        }
    }
    assert_eq!(
        third.call("events.unsubscribe", json!({"sub": "s1"})).await["result"]["ended"],
        true
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_reads_late_gets_every_message_once() {
    const MESSAGES: u64 = 6_000;
    let world = World::new().await;
    let mut sender = world.client().await;
    sender.call("room.join", json!({"room": "flood"})).await;
    let mut slow = world.client().await;
    slow.call("events.subscribe", json!({"after": "now"})).await;
    let path = world.server.path().unwrap().to_owned();
    // Requests and answers on two tasks: neither side may fill its buffer waiting for the other.
    let Client { mut lines, mut write } = Client::connect(path).await;
    let writer = tokio::spawn(async move {
        for n in 0..MESSAGES {
            let params = json!({"room": "#flood", "text": format!("{n} {}", "x".repeat(500))});
            let mut line = json!({"id": n, "method": "message.send", "params": params}).to_string();
            line.push('\n');
            write.write_all(line.as_bytes()).await.unwrap();
        }
        write
    });
    for _ in 0..MESSAGES {
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert!(answer["result"]["message_id"].is_string(), "{line}");
    }
    drop(writer.await.unwrap());
    let mut seen = std::collections::BTreeSet::new();
    while (seen.len() as u64) < MESSAGES {
        let event = slow.event().await;
        if !event["event"]["message"].is_null() && event["event"]["message"]["kind"] == "text" {
            assert!(seen.insert(event["cursor"].as_u64().unwrap()), "twice: {event}");
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_not_met_says_what_was_done() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.call("room.join", json!({"room": "alone"})).await;
    let params = json!({"room": "#alone", "text": "hi", "wait": "sent", "timeout_ms": 50});
    let data = client.call("message.send", params).await["error"]["data"].clone();
    assert_eq!((&data["code"], &data["exit"]), (&json!("KLATCH-TIMEOUT"), &json!(6)));
    assert_eq!(data["partial"]["state"], "queued");
    let params = json!({"target": "peer", "timeout_ms": 50});
    assert_eq!(client.call("node.wait", params).await["error"]["data"]["exit"], 6);
    assert_eq!(client.call("node.wait", json!({})).await["result"]["ready"], true);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_counted_and_bounded() {
    let world = World::new().await;
    let mut clients = Vec::new();
    for _ in 0..32 {
        let mut client = world.client().await;
        client.call("rpc.ping", json!({})).await;
        clients.push(client);
    }
    assert_eq!(world.server.clients(), 32);
    // Further ones are answered, but not for long and nothing that lasts.
    let mut brief = Vec::new();
    for _ in 0..8 {
        let mut client = world.client().await;
        assert_eq!(client.call("node.status", json!({})).await["result"]["name"], "alice");
        let refused = client.call("events.subscribe", json!({"after": "now"})).await;
        assert_eq!(refused["error"]["data"]["code"], "KLATCH-API-BUSY");
        brief.push(client);
    }
    let mut refused = world.client().await;
    assert_eq!(refused.hear().await.unwrap()["error"]["data"]["code"], "KLATCH-API-BUSY");
    assert!(refused.hear().await.is_none());
    for client in &mut brief {
        let end = client.hear().await.unwrap();
        assert_eq!(end["error"]["data"]["code"], "KLATCH-API-BUSY", "{end}");
        assert!(client.hear().await.is_none());
    }
    // A client that waits for something and then ends does not count any longer.
    let wait = json!({"id": 1, "method": "node.wait", "params": {"target": "peer", "timeout_ms": 3_600_000}});
    clients[0].say(&wait.to_string()).await;
    clients.clear();
    timeout(PATIENCE, world.server.idle()).await.expect("nobody is attached any more");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_requests_hold_nobody_up() {
    let world = World::new().await;
    let mut halves = Vec::new();
    for _ in 0..20 {
        let mut client = world.client().await;
        client.write.write_all(b"{\"id\":1,\"meth").await.unwrap();
        halves.push(client);
    }
    let mut honest = world.client().await;
    assert_eq!(honest.call("rpc.ping", json!({})).await["result"], "pong");
    // A pipe that closes its end after the request still gets its answer, without a line break too.
    let mut pipe = world.client().await;
    pipe.write.write_all(br#"{"id":1,"method":"rpc.ping"}"#).await.unwrap();
    pipe.write.shutdown().await.unwrap();
    assert_eq!(pipe.hear().await.unwrap()["result"], "pong");
    assert!(pipe.hear().await.is_none());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_is_answered_and_then_told_to_the_host() {
    let world = World::new().await;
    let mut client = world.client().await;
    assert_eq!(client.call("node.stop", json!({})).await["result"]["stopping"], true);
    timeout(PATIENCE, world.server.stopped()).await.expect("told");
    let path = world.server.path().unwrap().to_owned();
    world.end().await;
    assert!(!path.exists());
    assert!(client.hear().await.is_none());
}
