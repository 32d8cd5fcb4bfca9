//! `klatch send`: one message from the command line or from stdin.

use std::io::Read;
use std::time::Duration;

use klatch_core::event::{Delivery, Message};
use klatch_core::limits::TEXT_BYTES_MAX;
use serde_json::{Value, json};

use super::message::resolve;
use crate::act::people;
use crate::args::{Network, Send, WaitFor};
use crate::client::Session;
use crate::context::{Context, Need};
use crate::error::Report;
use crate::lines::state;
use crate::output::visible;

/// How long `--wait` waits unless told.
const WAIT: Duration = Duration::from_secs(30);

/// Sends, and waits as long as asked for; at least until the message is on disk.
pub async fn run(ctx: &Context, args: &Send) -> Result<(), Report> {
    let text = text(&args.text)?;
    let mut session = ctx.session(Need::Network(Network::usual())).await?;
    let reply_to = match &args.reply {
        Some(word) => Some(resolve(&mut session, &args.room, word).await?),
        None => None,
    };
    let params = json!({
        "room": args.room, "text": text, "reply_to": reply_to,
        "wait": args.wait.name(), "timeout_ms": ctx.timeout_ms(WAIT),
    });
    let mut sent = match session.call("message.send", params).await {
        Ok(sent) => sent,
        Err(error) => {
            // What is stored goes out all the same, if this process ends with a node in it.
            drop(session);
            if error.partial.is_some() {
                ctx.finish(false).await;
            }
            return Err(error.doing(format!("cannot send to {}", visible(&args.room))));
        }
    };
    if args.wait == WaitFor::Stored {
        // An embedded node first gets the chance to hand the message to somebody.
        if let Some(embedded) = ctx.embedded.lock().await.as_ref() {
            embedded.flush().await;
        }
        let params = json!({"room": sent["room_id"], "message_id": sent["message_id"]});
        let stored: Message = session.ask("message.get", params).await?;
        if let (Some(fields), Ok(Value::Object(state))) =
            (sent.as_object_mut(), serde_json::to_value(stored.state))
        {
            fields.extend(state);
        }
    }
    let warning =
        if args.room.starts_with('@') { warning(&mut session, &sent).await } else { None };
    drop(session);
    ctx.finish(false).await;
    if let Some(text) = warning {
        ctx.out.warning(&text);
    }
    let now: Option<Delivery> = serde_json::from_value(sent.clone()).unwrap_or_default();
    if now == Some(Delivery::Queued) {
        let who =
            if args.room.starts_with('@') { visible(&args.room) } else { "nobody".to_owned() };
        let has = if args.room.starts_with('@') { "does not have it yet" } else { "has it yet" };
        ctx.out.note(&format!("{who} {has}: it goes out by itself while a node runs (klatch up)"));
    }
    ctx.out.either(&sent, || {
        let id = sent["message_id"].as_str().unwrap_or_default();
        format!("{}\t{}", visible(id), now.map_or_else(|| "stored".to_owned(), state))
    })
}

/// What must be said before the answer of this person is believed.
async fn warning(session: &mut Session, sent: &Value) -> Option<String> {
    let all = people::contacts(session).await.ok()?;
    all.iter()
        .find(|c| Some(c.room.to_string().as_str()) == sent["room_id"].as_str())
        .and_then(people::warning)
}

/// The words of the command line, or stdin.
fn text(words: &[String]) -> Result<String, Report> {
    if !words.is_empty() && words != ["-"] {
        return Ok(words.join(" "));
    }
    let mut text = String::new();
    // One byte more than allowed is enough to be refused with the right error.
    tokio::task::block_in_place(|| {
        std::io::stdin().lock().take(TEXT_BYTES_MAX as u64 + 2).read_to_string(&mut text)
    })
    .map_err(|e| Report::usage(format!("cannot read the text: {e}"), "the text is UTF-8"))?;
    Ok(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text))
}
