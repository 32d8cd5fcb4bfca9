//! Answers every message in a room with its own text, and goes on where it was when it is started
//! again.
//!
//! `cargo run -p klatch-examples --bin echo_bot -- '#lobby' echo.cursor`

use std::path::PathBuf;

use anyhow::{Context, Result};
use klatch_examples::{Client, save};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let room = args.next().context("the first argument is a room, such as '#lobby'")?;
    let file: PathBuf =
        args.next().context("the second argument is a file that keeps the cursor")?.into();
    let after = match std::fs::read_to_string(&file) {
        Ok(cursor) => serde_json::from_str(&cursor)?,
        Err(_) => json!("now"),
    };

    let mut client = Client::connect().await?;
    let room = client.room(&room).await?;
    // Kept at once: what is said between the first start and the first message counts too.
    save(&file, &client.subscribe(&[format!("room/{room}/message")], after).await?)?;
    println!("listening");
    loop {
        let told = client.event().await?;
        let message = &told["event"]["message"];
        // Never one's own, and no notices: other programs write those.
        if message["kind"] == "text" && message["own"] == false && message["deleted"] == false {
            let answer = json!({
                "room": room, "text": message["text"], "reply_to": message["message_id"],
                // A repeated send under this key stores nothing: a kill right here does no harm.
                "idempotency_key": format!("echo/{}", message["message_id"]),
            });
            client.call("message.send", answer).await?;
        }
        if !told["cursor"].is_null() {
            save(&file, &told["cursor"])?;
        }
    }
}
