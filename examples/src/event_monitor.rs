//! Prints what happens in a node, one line per event, filtered by the beginnings of topics:
//! `room/`, `dm/`, `peer/`.
//!
//! `cargo run -p klatch-examples --bin event_monitor -- --after start room/ peer/`
//!
//! Texts are not shown unless `--texts` is given. The number at the front is a cursor: give it to
//! `--after` to go on there.

use anyhow::{Context, Result};
use klatch_examples::Client;
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<()> {
    let (mut after, mut texts, mut topics) = (json!("now"), false, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--after" => {
                after = json!(args.next().context("--after takes a cursor, `start` or `now`")?)
            }
            "--texts" => texts = true,
            _ => topics.push(arg),
        }
    }
    let mut client = Client::connect().await?;
    eprintln!("after {}", client.subscribe(&topics, after).await?);
    loop {
        let told = client.event().await?;
        // What is not kept has no cursor: presence, links, delivery.
        let cursor = told["cursor"].as_u64().map_or_else(|| "-".to_owned(), |c| c.to_string());
        let (topic, kind) =
            (told["topic"].as_str().unwrap_or("?"), told["type"].as_str().unwrap_or("?"));
        // As JSON a text cannot act on the terminal.
        match &told["event"]["message"]["text"] {
            Value::String(text) if texts && !text.is_empty() => {
                println!("{cursor} {topic} {kind} {}", json!(text))
            }
            _ => println!("{cursor} {topic} {kind}"),
        }
    }
}
