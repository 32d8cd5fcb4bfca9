//! `klatch send`: one message from the command line or from stdin.

use std::io::Read;
use std::time::Duration;

use klatch_core::event::{Delivery, Message};
use klatch_core::limits::TEXT_BYTES_MAX;
use serde_json::{Value, json};

use super::message::resolve;
use crate::args::{Network, Send, WaitFor};
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
        let params = json!({"room": sent["room"], "message": sent["message"]});
        let stored: Message = session.ask("message.get", params).await?;
        sent["state"] = serde_json::to_value(stored.state).unwrap_or(Value::Null);
    }
    drop(session);
    ctx.finish(false).await;
    let now: Option<Delivery> = serde_json::from_value(sent["state"].clone()).unwrap_or_default();
    if now == Some(Delivery::Queued) {
        ctx.out.note("nobody has it yet: it goes out by itself while a node runs (klatch up)");
    }
    ctx.out.either(&sent, || {
        let id = sent["message"].as_str().unwrap_or_default();
        format!("{}\t{}", visible(id), now.map_or_else(|| "stored".to_owned(), state))
    })
}

/// The words of the command line, or stdin.
fn text(words: &[String]) -> Result<String, Report> {
    if !words.is_empty() && words != ["-"] {
        return Ok(words.join(" "));
    }
    let mut text = String::new();
    // One byte more than allowed is enough to be refused with the right error.
    tokio::task::block_in_place(|| std::io::stdin().lock().take(TEXT_BYTES_MAX as u64 + 2).read_to_string(&mut text))
        .map_err(|e| Report::usage(format!("cannot read the text: {e}"), "the text is UTF-8"))?;
    Ok(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text))
}
