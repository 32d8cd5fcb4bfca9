//! Subscriptions of a real node: what is told, in which order, and what happens to those who are
//! slow, away or mistaken.

use std::collections::BTreeSet;

use klatch_core::event::Event;
use klatch_core::ids::RoomId;

use super::*;

/// Texts among the notifications of a subscription, until there are `n`; each must come once,
/// numbers must rise.
async fn texts(client: &mut Client, n: usize, cursor: &mut u64) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < n {
        let event = client.event().await;
        let Some(number) = event["cursor"].as_u64() else { continue };
        assert!(number > *cursor, "{event} after {cursor}");
        *cursor = number;
        if event["event"]["message"]["kind"] == "text" {
            texts.push(event["event"]["message"]["text"].as_str().unwrap().to_owned());
        }
    }
    texts
}

/// Sends `n` numbered messages, many at a time.
async fn flood(
    world: &World,
    room: &'static str,
    n: usize,
    text: &'static str,
) -> tokio::task::JoinHandle<()> {
    let Client { mut lines, mut write } = world.client().await;
    tokio::spawn(async move {
        let writer = tokio::spawn(async move {
            for i in 0..n {
                let params = json!({"room": room, "text": format!("{i} {text}")});
                let line = json!({"id": i, "method": "message.send", "params": params});
                write.write_all(format!("{line}\n").as_bytes()).await.unwrap();
            }
            write
        });
        for _ in 0..n {
            let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
            let answer: Value = serde_json::from_str(&line).unwrap();
            assert!(answer["result"]["message_id"].is_string(), "{line}");
        }
        drop(writer.await.unwrap());
    })
}

fn numbers(texts: &[String]) -> Vec<usize> {
    texts.iter().map(|t| t.split(' ').next().unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_and_live_are_one_sequence_of_everything_durable() {
    let world = World::new().await;
    let mut client = world.client().await;
    let room =
        client.call("room.join", json!({"room": "first"})).await["result"]["room_id"].clone();
    client.call("message.send", json!({"room": room, "text": "before"})).await;
    let mut live = world.client().await;
    let answer = live.call("events.subscribe", json!({"after": "start"})).await["result"].clone();
    assert_eq!(
        (&answer["cursor"], &answer["oldest"], &answer["gap"]),
        (&json!(0), &json!(1), &Value::Null)
    );
    client.call("message.send", json!({"room": room, "text": "after"})).await;
    client.call("room.leave", json!({"room": room})).await;
    let mut told = Vec::new();
    loop {
        let event = live.event().await;
        assert_eq!(event["seq"], told.len() + 1, "no hole in what was sent");
        assert!(event["at_ms"].as_u64().unwrap() > 1_700_000_000_000, "{event}");
        assert_eq!(event["cursor"].is_null(), event["ephemeral"] == true, "{event}");
        told.push(event.clone());
        if event["type"] == "room.left" {
            break;
        }
    }
    let durable: Vec<(u64, &str)> = told
        .iter()
        .filter_map(|e| Some((e["cursor"].as_u64()?, e["type"].as_str().unwrap())))
        .collect();
    let cursors: Vec<u64> = durable.iter().map(|(n, _)| *n).collect();
    assert_eq!(cursors, (1..=durable.len() as u64).collect::<Vec<_>>());
    for wanted in ["room.joined", "member.changed", "message.added", "room.left"] {
        assert!(durable.iter().any(|(_, t)| *t == wanted), "{wanted} is not among {durable:?}");
    }
    // What was told live is what is kept.
    let answer =
        client.call("events.read", json!({"after": "start", "limit": 1000})).await["result"]
            .clone();
    let kept: Vec<(u64, &str)> = answer["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["cursor"].as_u64().unwrap(), e["type"].as_str().unwrap()))
        .collect();
    assert_eq!(kept, durable);
    assert_eq!(
        client.call("events.topics", json!({})).await["result"][0]["topic"],
        "room/ROOM/message"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_killed_under_load_resumes_by_cursor_and_has_missed_and_doubled_nothing() {
    const MESSAGES: usize = 1_000;
    let world = World::new().await;
    world.client().await.call("room.join", json!({"room": "load"})).await;
    let sending = flood(&world, "#load", MESSAGES, "").await;
    let (mut cursor, mut seen) = (0, Vec::new());
    // Killed twice, in the middle of the flood; the third one stays.
    for share in [200, 300, MESSAGES - 500] {
        let mut client = world.client().await;
        let params = json!({"topics": ["room/"], "types": ["message.*"], "after": cursor});
        assert_eq!(client.call("events.subscribe", params).await["result"]["gap"], Value::Null);
        seen.append(&mut texts(&mut client, share, &mut cursor).await);
    }
    sending.await.unwrap();
    assert_eq!(numbers(&seen), (0..MESSAGES).collect::<Vec<_>>());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_subscribers_hold_up_neither_the_writer_nor_a_fast_one() {
    const MESSAGES: usize = 5_000;
    let world = World::new().await;
    world.client().await.call("room.join", json!({"room": "crowd"})).await;
    let mut slow = Vec::new();
    for _ in 0..10 {
        let mut client = world.client().await;
        client.call("events.subscribe", json!({"types": ["message.added"], "after": "now"})).await;
        slow.push(client);
    }
    let mut fast = world.client().await;
    fast.call("events.subscribe", json!({"types": ["message.added"], "after": "now"})).await;
    // More than the slow ones' buffers and the live feed hold together.
    let text: &'static str = Box::leak("x".repeat(1_000).into_boxed_str());
    let sending = flood(&world, "#crowd", MESSAGES, text).await;
    let mut cursor = 0;
    assert_eq!(
        numbers(&texts(&mut fast, MESSAGES, &mut cursor).await),
        (0..MESSAGES).collect::<Vec<_>>()
    );
    sending.await.unwrap();
    // Now they read, and have missed nothing either.
    for mut client in slow {
        let mut cursor = 0;
        assert_eq!(
            numbers(&texts(&mut client, MESSAGES, &mut cursor).await),
            (0..MESSAGES).collect::<Vec<_>>()
        );
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_leads_to_nowhere_is_announced_and_the_subscription_goes_on() {
    let world = World::new().await;
    let mut client = world.client().await;
    let room = client.call("room.join", json!({"room": "gap"})).await["result"]["room_id"].clone();
    let mut late = world.client().await;
    let answer = late.call("events.subscribe", json!({"topics": ["room/"], "after": 4_711})).await
        ["result"]
        .clone();
    let head = answer["head"].as_u64().unwrap();
    let gap = json!({"from": head + 1, "to": 4_711, "reason": "ahead"});
    assert_eq!((&answer["cursor"], &answer["gap"]), (&json!(head), &gap));
    let event = late.event().await;
    assert_eq!((&event["type"], &event["event"]["reason"]), (&json!("event.gap"), &json!("ahead")));
    client.call("message.send", json!({"room": room, "text": "on"})).await;
    assert_eq!(texts(&mut late, 1, &mut head.clone()).await, ["on"]);
    let answer = client.call("events.read", json!({"after": "j:4711"})).await["result"].clone();
    assert_eq!(answer["gap"]["reason"], "ahead");
    assert_eq!(client.call("events.read", json!({"after": "soon"})).await["error"]["code"], -32602);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ephemeral_events_that_a_slow_reader_missed_are_counted() {
    const NEWS: u64 = 60_000;
    let world = World::new().await;
    let mut slow = world.client().await;
    slow.call("events.subscribe", json!({"topics": ["room/"], "after": "now"})).await;
    let room = RoomId([7; 16]);
    for n in 0..NEWS {
        world.node.inner.events.tell(Event::Synced { room }.into());
        if n % 1_000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let (mut heard, mut dropped) = (0, 0);
    while heard + dropped < NEWS {
        let event = slow.event().await;
        match event["type"].as_str().unwrap() {
            "room.synced" => heard += 1,
            "event.dropped" => dropped += event["event"]["missed"].as_u64().unwrap(),
            other => panic!("{other}"),
        }
    }
    assert_eq!(heard + dropped, NEWS);
    assert!(dropped > 0 && heard > 0, "{heard} heard, {dropped} dropped");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_in_steps_finds_the_same_as_reading_at_once() {
    let world = World::new().await;
    let mut client = world.client().await;
    let mut ids = Vec::new();
    for name in ["#one", "#two"] {
        ids.push(
            client.call("room.join", json!({"room": name})).await["result"]["room_id"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    for n in 0..150 {
        let name = if n % 3 == 0 { "#one" } else { "#two" };
        client.call("message.send", json!({"room": name, "text": format!("{n}")})).await;
    }
    let topic = format!("room/{}/", ids[0]);
    for topics in [json!([]), json!([topic]), json!([topic, "dm/"])] {
        let all =
            client.call("events.read", json!({"topics": topics, "limit": 1000})).await["result"]
                .clone();
        assert_eq!(all["more"], false);
        let (mut steps, mut cursor, mut seen) = (Vec::new(), json!(0), BTreeSet::new());
        loop {
            let params = json!({"topics": topics, "after": cursor, "limit": 7});
            let answer = client.call("events.read", params).await["result"].clone();
            for event in answer["events"].as_array().unwrap() {
                assert!(seen.insert(event["cursor"].as_u64().unwrap()), "twice: {event}");
                steps.push(event.clone());
            }
            cursor = answer["cursor"].clone();
            if answer["more"] == false {
                break;
            }
        }
        assert_eq!(json!(steps), all["events"]);
        assert!(
            steps.len() >= 50 && (topics != json!([]) || steps.len() >= 150),
            "{}",
            steps.len()
        );
    }
    world.end().await;
}
