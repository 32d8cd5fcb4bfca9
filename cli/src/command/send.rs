//! `klatch send`: one message from the command line or from stdin.

use std::io::Read;
use std::time::Duration;

use klatch_core::event::{Delivery, Message};
use klatch_core::limits::TEXT_BYTES_MAX;
use klatch_core::names::spelled;
use serde_json::{Value, json};

use super::message::resolve;
use crate::act::people;
use crate::args::{Network, Send, WaitFor};
use crate::client::Session;
use crate::context::{Context, Need};
use crate::error::{Report, exit};
use crate::lines::state;
use crate::output::visible;

/// How long `--wait` waits unless told.
const WAIT: Duration = Duration::from_secs(30);
/// What is read from stdin at most: enough to say how far beyond the limit a text is.
const STDIN_BYTES_MAX: u64 = 1 << 20;

/// Sends, and waits as long as asked for; at least until the message is on disk.
pub async fn run(ctx: &Context, args: &Send) -> Result<(), Report> {
    let text = text(&args.text)?;
    let mut session = ctx.session(Need::Network(Network::usual())).await?;
    people::whole_name(&mut session, &args.room, &args.text, "send").await?;
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
            return Err(error.doing(format!("cannot send to {}", spelled(&args.room))));
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
    // A node in the background delivers later; one inside this command is about to end.
    let ends = ctx.embedded.lock().await.is_some();
    let warning =
        if args.room.starts_with('@') { warning(&mut session, &sent).await } else { None };
    drop(session);
    ctx.finish(false).await;
    if let Some(text) = warning {
        ctx.out.warning(&text);
    }
    let now: Option<Delivery> = serde_json::from_value(sent.clone()).unwrap_or_default();
    if now == Some(Delivery::Queued) && ends {
        ctx.out.note("it goes out by itself while a node runs: `klatch up` keeps one running");
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
    let mut bytes = Vec::new();
    tokio::task::block_in_place(|| {
        std::io::stdin().lock().take(STDIN_BYTES_MAX).read_to_end(&mut bytes)
    })
    .map_err(|e| Report::usage(format!("cannot read the text: {e}"), "is stdin open?"))?;
    whole(bytes)
}

/// What was read, without the line break at its end. The size is judged first: the end of a text
/// that is too long may be half a character.
fn whole(mut bytes: Vec<u8>) -> Result<String, Report> {
    let all = bytes.len() as u64 >= STDIN_BYTES_MAX;
    if bytes.pop_if(|b| *b == b'\n').is_some() {
        bytes.pop_if(|b| *b == b'\r');
    }
    if bytes.len() > TEXT_BYTES_MAX {
        let more = if all { "more than " } else { "" };
        let cause = format!(
            "the text has {more}{} bytes, at most {TEXT_BYTES_MAX} are possible",
            bytes.len()
        );
        let hint = "split it into several messages";
        return Err(Report::new("KLATCH-TEXT-TOO-LONG", cause, hint, exit::USAGE));
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to() + 1;
        let cause = format!("the text is not UTF-8: byte {at} is not part of a character");
        Report::usage(cause, "convert it first, for example with iconv -f latin1 -t utf8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_at_the_end_does_not_count() {
        for (read, text) in
            [("hi\r\n", "hi"), ("hi\n", "hi"), ("hi", "hi"), ("a\n\n", "a\n"), ("a\r", "a\r")]
        {
            assert_eq!(whole(read.as_bytes().to_vec()).unwrap(), text);
        }
        let longest = [vec![b'x'; TEXT_BYTES_MAX], b"\r\n".to_vec()].concat();
        assert_eq!(whole(longest).unwrap().len(), TEXT_BYTES_MAX);
    }

    #[test]
    fn too_long_is_said_before_anything_else_and_with_the_size() {
        let mut bytes = "🌱".repeat(20_000).into_bytes();
        bytes.truncate(79_999);
        let error = whole(bytes).unwrap_err();
        assert_eq!(error.code, "KLATCH-TEXT-TOO-LONG");
        assert!(error.cause.contains("79999") && error.cause.contains("64000"), "{error:?}");
        let error = whole(vec![0xff; STDIN_BYTES_MAX as usize]).unwrap_err();
        assert!(error.cause.contains("more than"), "{error:?}");
        assert!(whole(b"caf\xe9".to_vec()).unwrap_err().cause.contains("byte 4"));
    }
}
