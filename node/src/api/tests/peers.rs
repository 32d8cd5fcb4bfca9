//! Addresses that others are looked for at.

use serde_json::json;

use super::World;
use crate::network::settings::CONFIGURED_MAX;

#[tokio::test(flavor = "multi_thread")]
async fn so_many_addresses_are_looked_for_and_the_next_one_is_refused_in_words() {
    let world = World::new().await;
    let mut client = world.client().await;
    let address = |n: usize| format!("/ip4/127.0.0.1/tcp/{}", n + 1);
    // All but one without asking each time how many there are.
    for n in 1..CONFIGURED_MAX {
        world.node.want(address(n).parse().unwrap()).await.unwrap();
    }
    let answer = client.call("peer.add", json!({"address": address(0)})).await;
    assert_eq!(answer["result"]["address"], address(0));
    let beyond = json!({"address": address(CONFIGURED_MAX)});
    let answer = client.call("peer.add", beyond.clone()).await;
    let error = &answer["error"];
    assert_eq!(error["data"]["code"], "KLATCH-TOO-MANY-PEERS");
    assert!(error["message"].as_str().unwrap().starts_with(&CONFIGURED_MAX.to_string()), "{error}");
    let again = client.call("peer.add", json!({"address": address(7)})).await;
    assert_eq!(again["result"]["address"], address(7), "it is looked for already");
    let answer = client.call("peer.forget", json!({"address": address(7)})).await;
    assert_eq!(answer["result"], json!({"address": address(7), "forgotten": 0}));
    let again = client.call("peer.forget", json!({"address": address(7)})).await;
    assert_eq!(again["error"]["data"]["code"], "KLATCH-PEER-NOT-FOUND");
    assert!(client.call("peer.add", beyond).await["error"].is_null(), "there is room for one");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_can_be_forgotten_by_its_id_and_who_is_not_looked_for_is_not() {
    let world = World::new().await;
    let mut client = world.client().await;
    let own = client.call("node.status", json!({})).await["result"]["peer_id"].clone();
    let there = format!("/ip4/127.0.0.1/tcp/1/p2p/{}", own.as_str().unwrap());
    let other = "12D3KooWBHDA3zhNphBa8r5Px442BGE4GDQKDdxhDdySVZ46j8YS";
    world.node.want(there.replace(own.as_str().unwrap(), other).parse().unwrap()).await.unwrap();
    let answer = client.call("peer.forget", json!({"address": other})).await;
    assert_eq!(answer["result"], json!({"address": other, "forgotten": 0}));
    let answer = client.call("peer.forget", json!({"address": own})).await;
    assert_eq!(answer["error"]["data"]["code"], "KLATCH-PEER-NOT-FOUND", "nobody looks for them");
    let answer = client.call("peer.add", json!({"address": "192.0.2.7:4001"})).await;
    assert_eq!(answer["error"]["data"]["code"], "KLATCH-LOOPBACK-ONLY");
    let answer = client.call("peer.forget", json!({"address": "nobody"})).await;
    assert_eq!(answer["error"]["code"], -32602);
    world.end().await;
}
