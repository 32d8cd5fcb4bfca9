//! `klatch message`: one message, by id.

use klatch_core::event::Message as Shown;
use klatch_core::ids::EntryId;
use serde_json::{Value, json};

use crate::args::{Message, Network, OneMessage};
use crate::client::Session;
use crate::context::{Context, Need};
use crate::error::{Report, exit};
use crate::lines::{Lines, state};
use crate::output::visible;

/// Shorter prefixes of an id are refused: they match too much.
const PREFIX_CHARS_MIN: usize = 6;
/// Messages among which a prefix is looked for, the newest of the room.
const LOOKED_AT: u32 = 1_000;

/// Does what was asked for.
pub async fn run(ctx: &Context, args: Message) -> Result<(), Report> {
    let (method, room, message, mut params) = match args {
        Message::Show(one) => return show(ctx, &one).await,
        Message::Edit { message, text } => {
            ("message.edit", message.room, Some(message.message), json!({"text": text.join(" ")}))
        }
        Message::Delete(one) => ("message.delete", one.room, Some(one.message), json!({})),
        Message::React { message, emoji, off } => (
            "message.react",
            message.room,
            Some(message.message),
            json!({"emoji": emoji, "on": !off}),
        ),
        Message::Announce { room, text } => {
            ("message.announce", room, None, json!({"text": text.join(" ")}))
        }
        // These lead elsewhere before they come here.
        Message::List(_) | Message::Send(_) | Message::Broadcast { .. } => return Ok(()),
    };
    let mut session = ctx.session(Need::Network(Network::usual())).await?;
    if let Some(word) = message {
        params["message_id"] = json!(resolve(&mut session, &room, &word).await?);
    }
    params["room"] = Value::String(room);
    let reply = session.call(method, params).await?;
    drop(session);
    ctx.finish(true).await;
    ctx.out.either(&reply, || "done".to_owned())
}

async fn show(ctx: &Context, one: &OneMessage) -> Result<(), Report> {
    let mut session = ctx.session(Need::History).await?;
    let id = resolve(&mut session, &one.room, &one.message).await?;
    let message: Shown =
        session.ask("message.get", json!({"room": one.room, "message_id": id})).await?;
    drop(session);
    ctx.finish(false).await;
    if ctx.out.json {
        return ctx.out.json(&message);
    }
    let mut lines = Lines::default();
    let room = format!("#{}", one.room.trim_start_matches('#'));
    lines.line(&message, &room).print(&ctx.out)?;
    let now = message.state.map_or_else(|| "from somebody else".to_owned(), state);
    ctx.out
        .line(&format!("id        {}\nstate     {now}\ndevice    {}", message.id, message.device))
}

/// The message of that id, or of the one id that begins so.
pub async fn resolve(session: &mut Session, room: &str, word: &str) -> Result<EntryId, Report> {
    if let Some(id) = EntryId::parse(word) {
        return Ok(id);
    }
    let word = word.to_lowercase();
    let not_found = |why: &str| {
        let cause = format!("`{}` {why}", visible(&word));
        Report::new(
            "KLATCH-MESSAGE-NOT-FOUND",
            cause,
            "`klatch log ROOM --json` shows message ids",
            exit::NOT_FOUND,
        )
    };
    if word.len() < PREFIX_CHARS_MIN {
        return Err(not_found("is too short for a message id: at least 6 characters"));
    }
    let recent: Vec<Shown> =
        session.ask("message.list", json!({"room": room, "limit": LOOKED_AT})).await?;
    let mut found = recent.iter().filter(|m| m.id.to_string().starts_with(&word));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.id),
        (Some(_), Some(_)) => Err(not_found("names several messages: give more characters")),
        _ => Err(not_found("names no recent message of that room")),
    }
}
