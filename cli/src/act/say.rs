//! What is said: to one person, to everybody, changed afterwards, and looked up again.

use klatch_core::event::Message;
use klatch_core::query::RoomSummary;
use serde_json::{Value, json};

use super::find::{message, unknown};
use super::{Effect, Here, Outcome, Shown, in_place, named, people, sent};
use crate::client::Session;
use crate::error::Report;
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
        Action::Search(words) => list(session, here, json!({"limit": FOUND_MAX, "search": words})).await,
        Action::Reply { message: word, text } => {
            let answered = message(recent, &word, here, false)?.id;
            send(session, json!({"room": here.room, "text": text, "reply_to": answered}), &text).await
        }
        Action::Me(text) => {
            let text = format!("/me {text}");
            send(session, json!({"room": here.room, "text": text}), &text).await
        }
        Action::Edit(rest) => edit(session, here, recent, &rest).await,
        Action::Delete(word) => {
            let found = message(recent, &word, here, true)?;
            change(session, "message.delete", json!({"room": found.room, "message": found.id})).await
        }
        Action::React { message: word, emoji, on } => {
            let found = message(recent, &word, here, false)?;
            let params = json!({"room": found.room, "message": found.id, "emoji": emoji, "on": on});
            change(session, "message.react", params).await
        }
        Action::Announce(text) => change(session, "message.announce", json!({"room": here.room, "text": text})).await,
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
    let sent = sent(session.ask("message.send", params).await?, text)?;
    Ok(Outcome { upto: sent.journal, sent: Some(sent), ..Outcome::default() }.wrote())
}

/// Names the rooms first; says it in each of them once the user has said yes.
async fn broadcast(session: &mut Session, text: String, confirmed: bool) -> Result<Outcome, Report> {
    let rooms: Vec<RoomSummary> = session.ask("room.list", json!({})).await?;
    let rooms: Vec<RoomSummary> = rooms.into_iter().filter(|r| !r.left).collect();
    if rooms.is_empty() {
        return Err(Report::usage("you are in no room", "/join #ROOM"));
    }
    let names = rooms.iter().map(|r| visible(&r.name)).collect::<Vec<_>>().join(", ");
    if !confirmed {
        let question = format!("say \"{}\" in {} (everybody there reads it)?", snippet(&text), names);
        return Ok(Outcome::effect(Effect::Confirm {
            question,
            action: Box::new(Action::Broadcast { text, confirmed: true }),
        }));
    }
    let mut upto = 0;
    for room in &rooms {
        upto = sent(session.ask("message.send", json!({"room": room.room, "text": text})).await?, &text)?.journal;
    }
    Ok(Outcome { upto, ..Outcome::note(format!("said in {names}")) }.wrote())
}

async fn list(session: &mut Session, here: &Here, mut params: Value) -> Result<Outcome, Report> {
    params["room"] = json!(here.room);
    let found: Vec<Message> = session.ask("message.list", params).await?;
    if found.is_empty() {
        return Ok(Outcome::note("nothing found"));
    }
    Ok(Outcome { shown: found.into_iter().map(|m| Shown::Found(Box::new(m))).collect(), ..Outcome::default() })
}

/// The first word may name a message; otherwise the newest own one is meant.
async fn edit(session: &mut Session, here: &Here, recent: &[Message], rest: &str) -> Result<Outcome, Report> {
    let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let (found, text) = match named(recent, word, here.room, true) {
        Some(found) if !after.trim().is_empty() => (found, after.trim()),
        _ if word.starts_with('^') => return Err(unknown(word)),
        _ => (message(recent, "^", here, true)?, rest),
    };
    change(session, "message.edit", json!({"room": found.room, "message": found.id, "text": text})).await
}

async fn change(session: &mut Session, method: &str, params: Value) -> Result<Outcome, Report> {
    let reply: Value = session.call(method, params).await?;
    Ok(Outcome { upto: reply["journal"].as_u64().unwrap_or_default(), ..Outcome::default() }.wrote())
}
