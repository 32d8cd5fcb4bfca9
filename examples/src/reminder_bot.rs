//! `!remind 10m tea`: says `tea` in ten minutes, as a reply. Reminders survive restarts, and the
//! bot keeps no file: the room is its memory. A `!remind` without a reply of ours is still to be
//! done; one that came due while the bot was away comes late.
//!
//! `cargo run -p klatch-examples --bin reminder_bot -- '#lobby'`

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use klatch_examples::Client;
use serde_json::{Value, json};

/// Nobody fills our memory.
const OPEN_MAX: usize = 1_000;

/// When (Unix milliseconds) and for which message; what to say.
type Open = BTreeMap<(u64, String), String>;

/// `!remind 10m tea` as milliseconds and what to say.
fn parse(text: &str) -> Option<(u64, &str)> {
    let (time, what) = text.strip_prefix("!remind ")?.trim().split_once(' ')?;
    let (number, unit) = time.split_at(time.find(|c: char| !c.is_ascii_digit())?);
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds * 1_000).map(|ms| (ms, what.trim()))
}

fn take(open: &mut Open, told: &Value) {
    let message = &told["event"]["message"];
    let id = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if message["own"] == true {
        let done = id(&message["reply_to"]);
        open.retain(|(_, asked), _| *asked != done);
    } else if let (Some(at), Some((ms, what))) =
        (message["at_ms"].as_u64(), parse(message["text"].as_str().unwrap_or_default()))
        && open.len() < OPEN_MAX
    {
        open.insert((at.saturating_add(ms), id(&message["message_id"])), what.to_owned());
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let room = std::env::args().nth(1).context("the argument is a room, such as '#lobby'")?;
    let mut client = Client::connect().await?;
    let room = client.room(&room).await?;
    let topics = [format!("room/{room}/message")];
    let (mut open, mut after) = (Open::new(), json!("start"));
    // The past first, to its end: only then is it known what is still to be done.
    loop {
        let page = client
            .call("events.read", json!({"topics": topics, "after": after, "limit": 1_000}))
            .await?;
        page["events"].as_array().into_iter().flatten().for_each(|told| take(&mut open, told));
        after = page["cursor"].clone();
        if page["more"] != true {
            break;
        }
    }
    client.subscribe(&topics, after).await?;
    println!("listening, {} to be done", open.len());
    loop {
        let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        // At most an hour, so that a clock that is set is noticed.
        let wait =
            open.keys().next().map_or(3_600_000, |(at, _)| at.saturating_sub(now).min(3_600_000));
        tokio::select! {
            told = client.event() => take(&mut open, &told?),
            () = tokio::time::sleep(Duration::from_millis(wait)) => {
                if let Some(first) = open.first_entry().filter(|e| e.key().0 <= now + wait) {
                    let ((_, asked), what) = first.remove_entry();
                    client.call("message.send", json!({"room": room, "text": what, "reply_to": asked})).await?;
                }
            }
        }
    }
}
