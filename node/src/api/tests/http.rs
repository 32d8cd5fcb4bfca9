//! The API over HTTP: what is answered to whom. The table is the promise of docs/THREAT_MODEL.md
//! for local surfaces.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::*;

/// A node that serves HTTP, and what a client must know.
struct Site {
    world: World,
    address: String,
    token: String,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

impl Site {
    async fn new() -> Self {
        let world = World::new().await;
        let opened = world.client().await.call("http.open", json!({})).await["result"].clone();
        let file = opened["token_file"].as_str().unwrap();
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(file).unwrap());
        assert_eq!(mode & 0o777, 0o600);
        let token = std::fs::read_to_string(file).unwrap().trim().to_owned();
        Self { world, address: opened["address"].as_str().unwrap().to_owned(), token }
    }

    /// The lines of a request that is right in every way.
    fn head(&self, what: &str) -> Vec<String> {
        vec![
            format!("{what} HTTP/1.1"),
            format!("Host: {}", self.address),
            format!("Authorization: Bearer {}", self.token),
            "Content-Type: application/json".to_owned(),
        ]
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    /// Sends a request with these lines instead of the ones of the same name (an empty value leaves
    /// one out).
    async fn ask(&self, what: &str, changes: &[(&str, &str)], body: &str) -> Answer {
        let mut head = self.head(what);
        for (name, value) in changes {
            head.retain(|line| {
                !line.to_lowercase().starts_with(&format!("{}:", name.to_lowercase()))
            });
            if !value.is_empty() {
                head.push(format!("{name}: {value}"));
            }
        }
        head.push(format!("Content-Length: {}", body.len()));
        head.push("Connection: close".to_owned());
        let mut stream = self.connect().await;
        let text = format!("{}\r\n\r\n{body}", head.join("\r\n"));
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(text.as_bytes()).await;
        let mut answer = Vec::new();
        let _ =
            timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer in time");
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    async fn call(&self, method: &str, params: Value) -> Value {
        let body =
            json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let answer = self.ask("POST /rpc", &[], &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }
}

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"rpc.ping"}"#;
const WS: &[(&str, &str)] = &[
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// A request, what is different about it, and the status that answers it.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], u16);

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_expected_answers() {
    let site = Site::new().await;
    let port = site.address.rsplit_once(':').unwrap().1.to_owned();
    let (local, evil) = (format!("localhost:{port}"), format!("evil.example:{port}"));
    let own = format!("http://{}", site.address);
    let mut off_by_one = site.token.clone();
    let last = off_by_one.pop().unwrap();
    off_by_one.push(if last == 'a' { 'b' } else { 'a' });
    let off_by_one = format!("Bearer {off_by_one}");
    let foreign = format!("http://{evil}");
    let rpc = "POST /rpc";
    let table: &[Row<'_>] = &[
        (rpc, &[], 200),
        (rpc, &[("Host", &local)], 200),
        (rpc, &[("Origin", &own)], 200),
        (rpc, &[("Content-Type", "application/json; charset=utf-8")], 200),
        // Hosts: wrong, foreign with the right token, foreign with an equal origin.
        (rpc, &[("Host", "127.0.0.1")], 403),
        (rpc, &[("Host", "evil.example")], 403),
        (rpc, &[("Host", &evil)], 403),
        (rpc, &[("Host", &evil), ("Origin", &foreign)], 403),
        ("GET /events", &[("Host", &evil), ("Origin", &foreign)], 403),
        ("GET /ws", &[("Host", &evil), ("Origin", &foreign)], 403),
        ("GET /healthz", &[("Host", &evil)], 403),
        (rpc, &[("Host", "127.0.0.1.evil.example")], 403),
        (rpc, &[("Host", "")], 403),
        // Origins.
        (rpc, &[("Origin", "https://evil.example")], 403),
        (rpc, &[("Origin", "null")], 403),
        ("GET /events", &[("Origin", "https://evil.example")], 403),
        ("GET /ws", &[("Origin", "https://evil.example")], 403),
        (
            "OPTIONS /rpc",
            &[("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST")],
            403,
        ),
        (rpc, &[("Sec-Fetch-Site", "cross-site")], 403),
        // Tokens.
        (rpc, &[("Authorization", "")], 401),
        (rpc, &[("Authorization", &off_by_one)], 401),
        (rpc, &[("Authorization", "Bearer ")], 401),
        (rpc, &[("Authorization", &format!("Basic {}", site.token))], 401),
        ("GET /events", &[("Authorization", "")], 401),
        ("GET /ws", &[("Authorization", "")], 401),
        (&format!("POST /rpc?token={}", site.token), &[("Authorization", "")], 401),
        // Forms and other simple requests.
        (rpc, &[("Content-Type", "application/x-www-form-urlencoded")], 415),
        (rpc, &[("Content-Type", "text/plain")], 415),
        (rpc, &[("Content-Type", "")], 415),
        // A state is changed by POST alone.
        ("GET /rpc", &[], 405),
        ("PUT /rpc", &[], 405),
        ("OPTIONS /rpc", &[], 405),
        ("POST /events", &[], 405),
        ("GET /nowhere", &[], 404),
        ("GET /events?after=yesterday", &[], 400),
        // Probes need no token.
        ("GET /healthz", &[("Authorization", "")], 200),
        ("GET /readyz", &[("Authorization", "")], 200),
    ];
    for (what, changes, expected) in table {
        let answer = site.ask(what, changes, PING).await;
        assert_eq!(answer.status, *expected, "{what} {changes:?}: {}", answer.body);
        assert!(!answer.head.contains("access-control-"), "{what} {changes:?}: {}", answer.head);
        assert!(answer.head.contains("x-content-type-options: nosniff"), "{what}: {}", answer.head);
        assert!(answer.head.contains("frame-ancestors 'none'"), "{what}: {}", answer.head);
        if *expected == 200 && what.starts_with("POST") {
            assert_eq!(answer.json()["result"], "pong");
        }
        if matches!(expected, 401 | 403 | 415) {
            assert!(
                answer.json()["error"]["data"]["code"].as_str().unwrap().starts_with("KLATCH-")
            );
        }
    }
    let upgrade: Vec<_> = WS.iter().copied().chain([("Origin", "https://evil.example")]).collect();
    assert_eq!(site.ask("GET /ws", &upgrade, "").await.status, 403);
    site.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_never_ends_is_refused_and_holds_nobody_up() {
    let site = Site::new().await;
    let large = "x".repeat(10 << 20);
    let answer = site.ask("POST /rpc", &[("X-Large", &large)], PING).await;
    assert!(matches!(answer.status, 0 | 431), "a header of 10 MiB: {}", answer.status);
    let answer =
        site.ask("POST /rpc", &[], &format!(r#"{{"method":"{}"}}"#, "x".repeat(2 << 20))).await;
    assert!(matches!(answer.status, 0 | 413), "a body of 2 MiB: {}", answer.status);
    let many: Vec<String> = (0..200).map(|n| format!("X-{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|n| (n.as_str(), "1")).collect();
    assert_eq!(site.ask("POST /rpc", &many, PING).await.status, 431);
    let mut half = Vec::new();
    for n in 0..100 {
        let mut stream = site.connect().await;
        let text = if n % 2 == 0 {
            format!("POST /rpc HTTP/1.1\r\nHost: {}\r\n", site.address)
        } else {
            format!(
                "{}\r\nContent-Length: 1000\r\n\r\n{{\"half\"",
                site.head("POST /rpc").join("\r\n")
            )
        };
        stream.write_all(text.as_bytes()).await.unwrap();
        half.push(stream);
    }
    assert_eq!(site.call("rpc.ping", json!({})).await["result"], "pong");
    for stream in &half {
        // None of them was given up for it.
        assert_eq!(
            stream.try_read(&mut [0; 1]).unwrap_err().kind(),
            std::io::ErrorKind::WouldBlock
        );
    }
    drop(half);
    site.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_a_batch_and_errors_have_their_form() {
    let site = Site::new().await;
    assert_eq!(site.call("room.join", json!({"room": "web"})).await["result"]["name"], "#web");
    let error = site.call("room.jion", json!({})).await["error"].clone();
    assert!(error["data"]["hint"].as_str().unwrap().contains("room.join"));
    assert_eq!(
        site.call("events.subscribe", json!({})).await["error"]["data"]["code"],
        "KLATCH-API-CONNECTION"
    );
    let batch = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "rpc.ping"},
        {"jsonrpc": "2.0", "method": "rpc.ping"},
        7,
        {"jsonrpc": "2.0", "id": "b", "method": "room.list"},
    ]);
    let answers = site.ask("POST /rpc", &[], &batch.to_string()).await.json();
    assert_eq!(answers.as_array().unwrap().len(), 3, "{answers}");
    assert_eq!(
        (&answers[0]["result"], &answers[1]["error"]["code"]),
        (&json!("pong"), &json!(-32600))
    );
    assert_eq!(
        (&answers[2]["id"], &answers[2]["result"][0]["name"]),
        (&json!("b"), &json!("#web"))
    );
    let silent = site.ask("POST /rpc", &[], r#"{"jsonrpc":"2.0","method":"rpc.ping"}"#).await;
    assert_eq!((silent.status, silent.body.as_str()), (204, ""));
    assert_eq!(site.ask("POST /rpc", &[], "{").await.json()["error"]["code"], -32700);
    assert_eq!(site.ask("POST /rpc", &[], "[]").await.json()["error"]["code"], -32600);
    let again = site.call("http.open", json!({})).await;
    assert_eq!(again["result"]["address"], json!(site.address), "open already: the same");
    let other = site.call("http.open", json!({"address": "0.0.0.0:0"})).await;
    assert_eq!(other["error"]["data"]["code"], "KLATCH-HTTP-ADDRESS");
    let file = again["result"]["token_file"].as_str().unwrap().to_owned();
    let mut owner = site.world.client().await;
    assert_eq!(owner.call("http.close", json!({})).await["result"]["closed"], true);
    assert!(
        TcpStream::connect(&site.address).await.is_err() && !std::path::Path::new(&file).exists()
    );
    site.world.end().await;
}

/// A WebSocket as clients speak it: text frames, masked on the way there.
struct Ws(TcpStream);

impl Ws {
    async fn open(site: &Site) -> Self {
        let mut head = site.head("GET /ws");
        head.extend(WS.iter().map(|(name, value)| format!("{name}: {value}")));
        let mut stream = site.connect().await;
        stream.write_all(format!("{}\r\n\r\n", head.join("\r\n")).as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        assert!(
            answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            "the answer to the sample key: {answer}"
        );
        Self(stream)
    }

    async fn say(&mut self, text: &str) {
        let mask = [1_u8, 2, 3, 4];
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        frame.extend(mask);
        frame.extend(text.bytes().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        self.0.write_all(&frame).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        let mut head = [0; 2];
        timeout(PATIENCE, self.0.read_exact(&mut head)).await.expect("a frame in time").unwrap();
        let len = match head[1] {
            126 => u64::from(self.0.read_u16().await.unwrap()),
            127 => self.0.read_u64().await.unwrap(),
            n => u64::from(n),
        };
        let mut text = vec![0; usize::try_from(len).unwrap()];
        self.0.read_exact(&mut text).await.unwrap();
        assert_eq!(head[0], 0x81, "a whole text frame");
        serde_json::from_slice(&text).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_takes_the_messages_of_the_socket() {
    let site = Site::new().await;
    let room = site.call("room.join", json!({"room": "ws"})).await["result"]["room_id"].clone();
    let mut ws = Ws::open(&site).await;
    ws.say(r#"{"id":1,"method":"events.subscribe","params":{"types":["message.added"],"after":"start"}}"#).await;
    assert_eq!(ws.hear().await["result"]["sub"], "s1");
    ws.say(
        &json!({"id": 2, "method": "message.send", "params": {"room": room, "text": "through a frame"}}).to_string(),
    )
    .await;
    let (mut stored, mut heard) = (false, false);
    while !(stored && heard) {
        let message = ws.hear().await;
        stored |= message["id"] == 2 && message["result"]["cursor"].is_u64();
        heard |= message["params"]["event"]["message"]["text"] == "through a frame";
    }
    // The API closes with the connection open.
    site.world.end().await;
}

/// Reads events of a stream until there are `n` with an id; gives back the ids and texts.
async fn stream(site: &Site, query: &str, last: Option<u64>, n: usize) -> Vec<(u64, String)> {
    let mut head = site.head(&format!("GET /events?{query}"));
    head.extend(last.map(|id| format!("Last-Event-ID: {id}")));
    let mut connection = site.connect().await;
    connection.write_all(format!("{}\r\n\r\n", head.join("\r\n")).as_bytes()).await.unwrap();
    let mut lines = BufReader::new(connection).lines();
    let (mut found, mut id) = (Vec::new(), None);
    while found.len() < n {
        let line =
            timeout(PATIENCE, lines.next_line()).await.expect("a line in time").unwrap().unwrap();
        if let Some(number) = line.strip_prefix("id: ") {
            id = Some(number.parse().unwrap());
        }
        if let Some(data) = line.strip_prefix("data: ") {
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(data["cursor"].as_u64(), id, "{data}");
            let text = data["event"]["message"]["text"].as_str().unwrap_or_default().to_owned();
            found.extend(id.take().map(|id| (id, text)));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_events_resumes_where_it_broke_off() {
    let site = Site::new().await;
    let room = site.call("room.join", json!({"room": "sse"})).await["result"]["room_id"].clone();
    for n in 0..10 {
        site.call(
            "message.send",
            json!({"room": room, "text": format!("{n}\nid: 999\n\ndata: x")}),
        )
        .await;
    }
    let query = format!("topic=room/{}/&type=message.*&after=start", room.as_str().unwrap());
    let first = stream(&site, &query, None, 4).await;
    for n in 10..13 {
        site.call("message.send", json!({"room": room, "text": format!("{n}\n")})).await;
    }
    let rest = stream(&site, &query, Some(first[3].0), 9).await;
    let numbers: Vec<String> = first
        .iter()
        .chain(&rest)
        .map(|(_, text)| text.split('\n').next().unwrap().to_owned())
        .collect();
    assert_eq!(numbers, (0..13).map(|n| n.to_string()).collect::<Vec<_>>());
    site.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_open_http_as_far_as_they_go() {
    let site = Site::new().await;
    site.call("room.join", json!({"room": "one"})).await;
    site.call("room.join", json!({"room": "two"})).await;
    let params = json!({"name": "reader", "scopes": ["read"], "room": "#one"});
    let made = site.call("token.create", params).await["result"].clone();
    let token = std::fs::read_to_string(made["file"].as_str().unwrap()).unwrap();
    let site = Site { token: token.trim().to_owned(), ..site };
    assert!(site.call("message.list", json!({"room": "#one"})).await["result"].is_array());
    for (method, params, code) in [
        ("message.list", json!({"room": "#two"}), "KLATCH-TOKEN-ROOM"),
        ("room.list", json!({}), "KLATCH-TOKEN-ROOM"),
        ("message.send", json!({"room": "#one", "text": "x"}), "KLATCH-TOKEN-SCOPE"),
        ("node.stop", json!({}), "KLATCH-TOKEN-SCOPE"),
        ("token.create", json!({"name": "x", "scopes": ["admin"]}), "KLATCH-TOKEN-SCOPE"),
    ] {
        assert_eq!(site.call(method, params).await["error"]["data"]["code"], code, "{method}");
    }
    let mut owner = site.world.client().await;
    owner.call("message.send", json!({"room": "#two", "text": "secret"})).await;
    owner.call("message.send", json!({"room": "#one", "text": "open"})).await;
    let texts = stream(&site, "type=message.*&after=start", None, 1).await;
    assert_eq!(texts[0].1, "open");
    assert_eq!(
        owner.call("token.revoke", json!({"name": "reader"})).await["result"]["revoked"],
        "reader"
    );
    assert_eq!(site.ask("POST /rpc", &[], PING).await.status, 401);
    site.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_on_which_nobody_shows_a_token_give_way_to_the_owner() {
    let site = Site::new().await;
    let mut silent = Vec::new();
    for n in 0..300 {
        let mut stream = site.connect().await;
        if n % 2 == 0 {
            stream.write_all(b"GET /healthz HT").await.unwrap();
        }
        silent.push(stream);
    }
    for _ in 0..3 {
        let answer = site.ask("POST /rpc", &[], PING).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    // Who has shown one is not pushed out.
    let streaming = format!("{}\r\n\r\n", site.head("GET /events?after=now").join("\r\n"));
    let mut events = site.connect().await;
    events.write_all(streaming.as_bytes()).await.unwrap();
    let mut begun = [0; 12];
    timeout(PATIENCE, events.read_exact(&mut begun)).await.unwrap().unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    for _ in 0..300 {
        silent.push(site.connect().await);
    }
    assert_eq!(site.ask("POST /rpc", &[], PING).await.status, 200);
    site.call("room.join", json!({"room": "garden"})).await;
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("garden") {
        let mut bytes = [0; 1_000];
        let n = timeout(PATIENCE, events.read(&mut bytes)).await.unwrap().unwrap();
        assert!(n > 0, "the stream has ended");
        heard.extend_from_slice(&bytes[..n]);
    }
    site.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_takes_all_it_may_keeps_nobody_out() {
    let site = Site::new().await;
    let open = format!("{}\r\n\r\n", site.head("GET /events?after=now").join("\r\n"));
    let mut streams = Vec::new();
    let mut refused = 0;
    for _ in 0..40 {
        let mut stream = site.connect().await;
        stream.write_all(open.as_bytes()).await.unwrap();
        let mut begun = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut begun)).await.unwrap().unwrap();
        refused += usize::from(&begun == b"HTTP/1.1 503");
        streams.push(stream);
    }
    assert_eq!(refused, 8);
    for _ in 0..3 {
        let mut owner = site.world.client().await;
        assert_eq!(owner.call("node.status", json!({})).await["result"]["name"], "alice");
        owner.call("events.subscribe", json!({"after": "now"})).await["result"]["sub"]
            .as_str()
            .expect("the owner is not counted with them");
    }
    site.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_take_turns_and_too_many_are_refused_at_once() {
    let site = Site::new().await;
    let mut client = site.world.client().await;
    for n in 0..24 {
        let request = json!({"id": n, "method": "room.join", "params": {"room": format!("r{n}")}});
        client.say(&request.to_string()).await;
    }
    let mut refused = 0;
    let mut joined = 0;
    while refused + joined < 24 {
        let answer = client.hear().await.unwrap();
        if answer["error"].is_null() {
            joined += 1;
        } else {
            assert_eq!(answer["error"]["data"]["code"], "KLATCH-API-BUSY", "{answer}");
            assert_eq!(answer["error"]["data"]["retryable"], true);
            refused += 1;
        }
    }
    assert!(joined >= 16 && refused > 0, "{joined} joined, {refused} refused");
    site.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_the_token_comes_back_when_its_folder_was_emptied() {
    let site = Site::new().await;
    let opened = site.world.client().await.call("http.open", json!({})).await["result"].clone();
    let file = std::path::PathBuf::from(opened["token_file"].as_str().unwrap());
    // The node may make something again there while it is being emptied.
    while std::fs::remove_dir_all(file.parent().unwrap()).is_err() && file.exists() {}
    let again = async {
        loop {
            match std::fs::read_to_string(&file) {
                Ok(token) if !token.is_empty() => break token,
                _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    };
    let token = timeout(PATIENCE, again).await.expect("it is written again");
    assert_eq!(token.trim(), site.token, "the same token: who has it goes on");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    // Something else in its place is somebody's, and stays.
    std::fs::write(&file, "mine").unwrap();
    tokio::time::sleep(super::super::door::LOOK + std::time::Duration::from_millis(200)).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    site.world.end().await;
}
