//! What is said: to one person, to everybody, changed afterwards, and looked up again.

use klatch_core::event::Message;
use klatch_core::ids::{EntryId, RoomId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::find::{deleted, message, unknown};
use super::{Effect, Here, Outcome, Shown, Tone, in_place, named, people, sent};
use crate::client::Session;
use crate::error::Report;
use crate::lines::marked;
use crate::output::{snippet, visible};
use crate::slash::Action;

/// Lines that a search shows.
const FOUND_MAX: u32 = 50;

pub(super) async fn act(
    session: &mut Session,
    here: Option<&Here>,
    recent: &[Message],
    action: Action,
) -> Result<Outcome, Report> {
    if let Action::Dm { who, text } = action {
        return match text {
            Some(text) => dm(session, &who, &text).await,
            None => people::open(session, &who).await,
        };
    }
    if let Action::Broadcast { text, confirmed } = action {
        return broadcast(session, text, confirmed).await;
    }
    let here = in_place(here)?;
    match action {
        Action::History(n) => list(session, here, json!({"limit": n})).await,
        Action::Search(words) => {
            list(session, here, json!({"limit": FOUND_MAX, "search": words})).await
        }
        Action::Reply { message: word, text } => {
            let answered = message(recent, &word, here, false)?.id;
            send(session, json!({"room": here.room, "text": text, "reply_to": answered}), &text)
                .await
        }
        Action::Me(text) => {
            let text = format!("/me {text}");
            send(session, json!({"room": here.room, "text": text}), &text).await
        }
        Action::Edit(rest) => edit(session, here, recent, &rest).await,
        Action::Delete(word) => {
            let found = message(recent, &word, here, true)?;
            change(session, "message.delete", json!({"room": found.room, "message_id": found.id}))
                .await
        }
        Action::React { message: word, emoji, on } => {
            let found = message(recent, &word, here, false)?;
            let params =
                json!({"room": found.room, "message_id": found.id, "emoji": emoji, "on": on});
            change(session, "message.react", params).await
        }
        Action::Announce(text) => {
            let params = json!({"room": here.room, "text": text});
            let reply: Value = session.once("message.announce", params).await?;
            Ok(changed(&reply))
        }
        _ => Ok(Outcome::default()),
    }
}

/// Says something to one person; where the user is does not change.
async fn dm(session: &mut Session, who: &str, text: &str) -> Result<Outcome, Report> {
    let room = people::address(who);
    let outcome = send(session, json!({"room": room, "text": text}), text).await?;
    people::warn_before_trust(session, outcome).await
}

async fn send(session: &mut Session, params: Value, text: &str) -> Result<Outcome, Report> {
    let sent = sent(session.once("message.send", params).await?, text)?;
    Ok(Outcome { upto: sent.journal, sent: Some(sent), ..Outcome::default() }.wrote())
}

/// Names the rooms first; says it in each of them once the user has said yes. The node refuses what
/// comes too soon.
async fn broadcast(
    session: &mut Session,
    text: String,
    confirmed: bool,
) -> Result<Outcome, Report> {
    let params = json!({"text": text, "dry_run": !confirmed, "confirm": confirmed});
    let answer: Broadcast = session.ask("message.broadcast", params).await?;
    let names = |said: bool| {
        let rooms = answer.rooms.iter().filter(|r| r.error.is_none() == said);
        let shown = |r: &InRoom| marked(visible(&r.name), r.name_mark.as_deref());
        rooms.map(shown).collect::<Vec<_>>().join(", ")
    };
    if answer.rooms.is_empty() {
        return Err(Report::usage("you are in no room", "/join #ROOM"));
    }
    if !confirmed {
        let question =
            format!("say \"{}\" in {} (everybody there reads it)?", snippet(&text), names(true));
        return Ok(Outcome::effect(Effect::Confirm {
            question,
            action: Box::new(Action::Broadcast { text, confirmed: true }),
        }));
    }
    let upto = answer.rooms.iter().map(|r| r.journal).max().unwrap_or_default();
    let said =
        Outcome { upto, ..Outcome::done(format!("said in {}", names(true)), &answer) }.wrote();
    Ok(match names(false) {
        missed if missed.is_empty() => said,
        missed => said.and(Tone::Warning, format!("not said in {missed}")),
    })
}

/// What `message.broadcast` answers.
#[derive(Debug, Serialize, Deserialize)]
struct Broadcast {
    rooms: Vec<InRoom>,
    sent: u64,
}

/// One room of it.
#[derive(Debug, Serialize, Deserialize)]
struct InRoom {
    #[serde(rename = "room_id")]
    room: RoomId,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name_mark: Option<String>,
    #[serde(default, rename = "message_id", skip_serializing_if = "Option::is_none")]
    message: Option<EntryId>,
    #[serde(default, rename = "cursor")]
    journal: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

async fn list(session: &mut Session, here: &Here, mut params: Value) -> Result<Outcome, Report> {
    params["room"] = json!(here.room);
    let found: Vec<Message> = session.ask("message.list", params).await?;
    if found.is_empty() {
        return Ok(Outcome::note("nothing found"));
    }
    Ok(Outcome {
        shown: found.into_iter().map(|m| Shown::Found(Box::new(m))).collect(),
        ..Outcome::default()
    })
}

/// The first word may name a message; otherwise the newest own one is meant.
async fn edit(
    session: &mut Session,
    here: &Here,
    recent: &[Message],
    rest: &str,
) -> Result<Outcome, Report> {
    let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let (found, text) = match named(recent, word, here.room, true) {
        Some(found) if found.deleted && !after.trim().is_empty() => return Err(deleted()),
        Some(found) if !after.trim().is_empty() => (found, after.trim()),
        _ if word.starts_with('^') => return Err(unknown(word)),
        _ => (message(recent, "^", here, true)?, rest),
    };
    change(
        session,
        "message.edit",
        json!({"room": found.room, "message_id": found.id, "text": text}),
    )
    .await
}

async fn change(session: &mut Session, method: &str, params: Value) -> Result<Outcome, Report> {
    Ok(changed(&session.call(method, params).await?))
}

fn changed(reply: &Value) -> Outcome {
    Outcome { upto: reply["cursor"].as_u64().unwrap_or_default(), ..Outcome::default() }.wrote()
}
