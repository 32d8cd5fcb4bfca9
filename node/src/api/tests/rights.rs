//! Rights on the socket, sending once, saying something everywhere, cancelling.

use super::*;

/// A client with the rights of a new token.
async fn limited(world: &World, params: Value) -> Client {
    let mut owner = world.client().await;
    let made = owner.call("token.create", params).await["result"].clone();
    let file = made["file"].as_str().unwrap();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(file).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let token = std::fs::read_to_string(file).unwrap();
    let mut client = world.client().await;
    let answer = client.call("rpc.authenticate", json!({"token": token.trim()})).await;
    assert_eq!(answer["result"]["name"], made["name"], "{answer}");
    client
}

fn code(answer: &Value) -> &str {
    answer["error"]["data"]["code"].as_str().unwrap_or("none")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_one_room_touches_nothing_else() {
    let world = World::new().await;
    let mut owner = world.client().await;
    let one = owner.call("room.join", json!({"room": "one"})).await["result"]["room_id"].clone();
    let two = owner.call("room.join", json!({"room": "two"})).await["result"]["room_id"].clone();
    owner.call("message.send", json!({"room": two, "text": "unsayable"})).await;
    let params =
        json!({"name": "bot", "scopes": ["read", "send", "manage", "admin"], "room": "#one"});
    let mut bot = limited(&world, params).await;
    for method in super::super::registry::METHODS.iter().filter(|m| m.name != "events.subscribe") {
        let mut params = serde_json::Map::new();
        for param in method.params.iter().filter(|p| p.required || p.name == "room") {
            let value = match (param.name, param.kind) {
                ("room", _) => two.clone(),
                ("message", _) => json!("a".repeat(26)),
                ("device", _) => json!("a".repeat(52)),
                (_, "integer") => json!(1),
                (_, "array") => json!(["read"]),
                _ => json!("x"),
            };
            params.insert(param.name.to_owned(), value);
        }
        let answer = bot.call(method.name, Value::Object(params)).await;
        if method.name.starts_with("events.")
            || method.name.starts_with("rpc.")
            || method.name.starts_with("node.")
        {
            assert!(!answer.to_string().contains("unsayable"), "{}: {answer}", method.name);
        }
        let fine = ["node.version", "node.health"];
        if !method.name.starts_with("events.")
            && !method.name.starts_with("rpc.")
            && !fine.contains(&method.name)
        {
            assert_eq!(code(&answer), "KLATCH-TOKEN-ROOM", "{}: {answer}", method.name);
        }
    }
    bot.call("events.subscribe", json!({"after": "start"})).await;
    owner.call("message.send", json!({"room": two, "text": "unsayable"})).await;
    owner.call("message.send", json!({"room": one, "text": "open"})).await;
    loop {
        let event = bot.event().await;
        let place = format!("room/{}/", one.as_str().unwrap());
        assert!(event["topic"].as_str().unwrap().starts_with(&place), "{event}");
        if event["event"]["message"]["text"] == "open" {
            break;
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_survive_a_restart_expire_and_are_revoked() {
    let world = World::new().await;
    let mut bot = limited(&world, json!({"name": "bot", "scopes": ["read"]})).await;
    let mut short =
        limited(&world, json!({"name": "short", "scopes": ["read"], "expire_s": 2})).await;
    let mut owner = world.client().await;
    assert_eq!(
        code(&owner.call("token.create", json!({"name": "bot", "scopes": ["read"]})).await),
        "KLATCH-TOKEN-EXISTS"
    );
    assert_eq!(
        owner.call("token.create", json!({"name": "../x", "scopes": ["read"]})).await["error"]["code"],
        -32602
    );
    assert_eq!(
        owner.call("token.create", json!({"name": "x", "scopes": ["all"]})).await["error"]["code"],
        -32602
    );
    let listed = owner.call("token.list", json!({})).await["result"].clone();
    assert_eq!((listed[0]["name"].as_str(), listed.as_array().unwrap().len()), (Some("bot"), 2));
    let file = listed[0]["file"].as_str().unwrap().to_owned();
    let token = std::fs::read_to_string(&file).unwrap();
    assert!(!listed.to_string().contains(token.trim()));
    let begun = tokio::time::Instant::now();
    while code(&short.call("node.status", json!({})).await) != "KLATCH-TOKEN" {
        assert!(begun.elapsed() < PATIENCE, "it expires");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(bot.call("node.status", json!({})).await["result"].is_object());
    let world = world.restart().await;
    let mut again = world.client().await;
    let authenticated = again.call("rpc.authenticate", json!({"token": token.trim()})).await;
    assert_eq!(authenticated["result"]["name"], "bot", "{authenticated}");
    assert!(again.call("node.status", json!({})).await["result"].is_object());
    assert_eq!(
        code(&again.call("message.send", json!({"room": "#x", "text": "x"})).await),
        "KLATCH-TOKEN-SCOPE"
    );
    let mut owner = world.client().await;
    owner.call("token.revoke", json!({"name": "bot"})).await;
    assert_eq!(code(&again.call("node.status", json!({})).await), "KLATCH-TOKEN");
    assert!(!std::path::Path::new(&file).exists());
    assert_eq!(
        code(&owner.call("token.revoke", json!({"name": "bot"})).await),
        "KLATCH-TOKEN-NOT-FOUND"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_sends_once_also_at_the_same_time_and_after_a_restart() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.call("room.join", json!({"room": "once"})).await;
    let params = json!({"room": "#once", "text": "hello", "idempotency_key": "k1"});
    // Twenty at a time: one message, the same answer for all.
    for id in 0..20 {
        client
            .say(&json!({"id": id, "method": "message.send", "params": params}).to_string())
            .await;
    }
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..20 {
        ids.insert(
            client.hear().await.unwrap()["result"]["message_id"].as_str().unwrap().to_owned(),
        );
    }
    assert_eq!(ids.len(), 1);
    let other = json!({"room": "#once", "text": "other", "idempotency_key": "k1"});
    assert_eq!(code(&client.call("message.send", other).await), "KLATCH-IDEMPOTENCY");
    let notice = json!({"room": "#once", "text": "notice", "idempotency_key": "k2"});
    let first = client.call("message.announce", notice.clone()).await["result"].clone();
    assert_eq!(client.call("message.announce", notice).await["result"], first);
    // What failed may be tried again.
    let failed = json!({"room": "#nowhere", "text": "x", "idempotency_key": "k3"});
    assert_eq!(code(&client.call("message.send", failed).await), "KLATCH-ROOM-NOT-FOUND");
    let now = json!({"room": "#once", "text": "x", "idempotency_key": "k3"});
    assert!(client.call("message.send", now).await["result"]["cursor"].is_u64());
    let world = world.restart().await;
    let mut client = world.client().await;
    let again = client.call("message.send", params).await["result"]["message_id"].clone();
    assert_eq!(again.as_str(), ids.first().map(String::as_str), "after a restart as well");
    let list = client.call("message.list", json!({"room": "#once"})).await["result"].clone();
    let texts: Vec<&str> =
        list.as_array().unwrap().iter().map(|m| m["text"].as_str().unwrap()).collect();
    assert_eq!(texts.iter().filter(|t| **t == "hello").count(), 1, "{texts:?}");
    for bad in [json!(7), json!(""), json!("x".repeat(200))] {
        let params = json!({"room": "#once", "text": "x", "idempotency_key": bad});
        assert_eq!(client.call("message.send", params).await["error"]["code"], -32602);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_names_the_rooms_first_and_is_rare() {
    let world = World::new().await;
    let mut client = world.client().await;
    assert_eq!(
        code(&client.call("message.broadcast", json!({"text": "x", "confirm": true})).await),
        "KLATCH-NO-ROOM"
    );
    for room in ["a", "b", "c"] {
        client.call("room.join", json!({"room": room})).await;
    }
    client.call("room.leave", json!({"room": "#c"})).await;
    let dry =
        client.call("message.broadcast", json!({"text": "hi", "dry_run": true})).await["result"]
            .clone();
    assert_eq!((dry["sent"].as_u64(), dry["rooms"].as_array().unwrap().len()), (Some(0), 2));
    let asked = client.call("message.broadcast", json!({"text": "hi"})).await;
    assert_eq!(
        (code(&asked), asked["error"]["data"]["partial"]["rooms"][1]["name"].as_str()),
        ("KLATCH-CONFIRM", Some("#b"))
    );
    // What cannot be said does not count.
    assert_eq!(
        code(&client.call("message.broadcast", json!({"text": "", "confirm": true})).await),
        "KLATCH-TEXT-EMPTY"
    );
    let params = json!({"text": "hi", "confirm": true, "idempotency_key": "k"});
    let done = client.call("message.broadcast", params.clone()).await["result"].clone();
    assert_eq!(done["sent"], 2, "{done}");
    assert_eq!(
        client.call("message.broadcast", params).await["result"],
        done,
        "the same again says nothing twice"
    );
    let soon = client.call("message.broadcast", json!({"text": "more", "confirm": true})).await;
    assert_eq!(
        (code(&soon), soon["error"]["data"]["retryable"].as_bool()),
        ("KLATCH-TOO-SOON", Some(true))
    );
    for (room, n) in [("#a", 1), ("#b", 1), ("#c", 0)] {
        let list = client.call("message.list", json!({"room": room})).await["result"].to_string();
        assert_eq!(list.matches(r#""text":"hi""#).count(), n, "{room}: {list}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_can_be_cancelled_and_batches_are_answered_as_one() {
    let world = World::new().await;
    let mut client = world.client().await;
    let wait = json!({"id": "w", "method": "node.wait", "params": {"target": "peer", "timeout_ms": 3_600_000}});
    client.say(&wait.to_string()).await;
    assert_eq!(
        client.call("rpc.cancel", json!({"id": "other"})).await["result"]["cancelled"],
        false
    );
    client.say(r#"{"id":2,"method":"rpc.cancel","params":{"id":"w"}}"#).await;
    let (mut cancelled, mut answered) = (false, false);
    while !(cancelled && answered) {
        let answer = client.hear().await.unwrap();
        cancelled |= answer["id"] == "w" && code(&answer) == "KLATCH-CANCELLED";
        answered |= answer["id"] == 2 && answer["result"]["cancelled"] == true;
    }
    client.say(r#"[{"id":1,"method":"rpc.ping"},{"id":2,"method":"events.subscribe"},{"method":"rpc.ping"}]"#).await;
    let batch = client.hear().await.unwrap();
    assert_eq!((&batch[0]["result"], code(&batch[1])), (&json!("pong"), "KLATCH-API-CONNECTION"));
    assert_eq!(batch.as_array().unwrap().len(), 2);
    let many = vec![r#"{"id":1,"method":"rpc.ping"}"#; 101].join(",");
    client.say(&format!("[{many}]")).await;
    assert_eq!(client.hear().await.unwrap()["error"]["code"], -32600);
    client.call("room.join", json!({"room": "g"})).await;
    assert_eq!(client.call("room.get", json!({"room": "g"})).await["result"]["name"], "#g");
    assert_eq!(client.call("peer.list", json!({})).await["result"], json!([]));
    assert_eq!(
        client.call("node.health", json!({})).await["result"],
        json!({"live": true, "ready": true, "why": []})
    );
    assert_eq!(client.call("node.version", json!({})).await["result"]["name"], "klatch");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_two_rooms_have_is_refused_by_every_method_alike() {
    let world = World::new().await;
    let mut client = world.client().await;
    let open = client.call("room.join", json!({"room": "mix"})).await["result"].clone();
    let params = json!({"room": "#mix", "passphrase": "open sesame"});
    let secret = client.call("room.join", params).await["result"].clone();
    let ids = [open["room_id"].as_str().unwrap(), secret["room_id"].as_str().unwrap()];
    assert_ne!(ids[0], ids[1]);
    let named = |m: &&super::super::registry::Method| {
        m.params.iter().any(|p| p.name == "room") && !["room.join", "room.create"].contains(&m.name)
    };
    let mut tried = 0;
    for method in super::super::registry::METHODS.iter().filter(named) {
        for name in ["#mix", "mix", "#MIX", "#ｍｉｘ"] {
            let mut params = serde_json::Map::new();
            for param in method.params.iter().filter(|p| p.required || p.name == "room") {
                let value = match (param.name, param.kind) {
                    ("room", _) => json!(name),
                    ("message_id", _) => json!("a".repeat(26)),
                    ("device", _) => json!("a".repeat(52)),
                    (_, "integer") => json!(1),
                    (_, "array") => json!(["read"]),
                    _ => json!("x"),
                };
                params.insert(param.name.to_owned(), value);
            }
            let answer = client.call(method.name, Value::Object(params)).await;
            assert_eq!(code(&answer), "KLATCH-AMBIGUOUS", "{} {name}: {answer}", method.name);
            let text = answer["error"]["message"].as_str().unwrap();
            assert!(ids.iter().all(|id| text.contains(id)), "{text}");
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried}");
    for id in ids {
        let said = client.call("message.send", json!({"room": id, "text": "by id"})).await;
        assert_eq!(said["result"]["room_id"], id, "{said}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_can_be_for_one_conversation() {
    use klatch_core::directory::{Directory, Kept};
    use klatch_core::ids::IdentityId;
    use klatch_core::query::Standing;
    use klatch_core::step::PeopleView;

    let world = World::new().await;
    let mut owner = world.client().await;
    owner.call("room.join", json!({"room": "one"})).await;
    let bob = IdentityId([7; 32]);
    let mut directory = Directory::new(world.node.inner.identity, "me");
    let (claimed, standing) = ("bob".to_owned(), Standing::Accepted);
    directory.keep(bob, Kept { claimed, petname: None, standing, verified: false, changed: false });
    let view = PeopleView { directory: directory.into(), ..PeopleView::default() };
    world.node.inner.shared.set_people(Some(view));
    let params = json!({"name": "bot", "scopes": ["read", "send"], "room": "@bob"});
    let mut bot = limited(&world, params).await;
    let list = bot.call("message.list", json!({"room": "@bob"})).await;
    assert_eq!(list["result"], json!([]), "{list}");
    for other in ["#one", "@carol", "#nowhere"] {
        let answer = bot.call("message.list", json!({"room": other})).await;
        assert_eq!(code(&answer), "KLATCH-TOKEN-ROOM", "{other}: {answer}");
    }
    let found = owner.call("contact.find", json!({"text": "@bob hello  there"})).await;
    assert_eq!(found["result"]["identity"], bob.to_string());
    assert_eq!(found["result"]["rest"], "hello  there");
    world.end().await;
}
