//! Forgetting a room or a conversation: what is lost is said first, in words that slash commands and
//! the command line share.

use klatch_core::query::{Contact, RoomSummary, Standing};
use serde_json::{Value, json};

use super::{Effect, Here, Outcome, in_place, people};
use crate::client::Session;
use crate::command::rooms;
use crate::error::Report;
use crate::slash::Action;

pub(super) async fn act(
    session: &mut Session,
    here: Option<&Here>,
    place: Option<String>,
    confirmed: bool,
) -> Result<Outcome, Report> {
    let place = match place {
        Some(place) => place,
        None => in_place(here)?.room.to_string(),
    };
    let direct = here.is_some_and(|h| h.direct && h.room.to_string() == place);
    if direct || place.starts_with('@') {
        let contact = people::get(session, &place).await?.contact;
        // Not by its name: meanwhile it may mean somebody else.
        let place = format!("@{}", contact.identity);
        if !confirmed {
            return Ok(ask(lost_with(&contact), place));
        }
        let note = person(session, &contact).await?;
        return Ok(Outcome { effect: Effect::Left(contact.room), ..Outcome::note(note) });
    }
    let found = rooms::find(session, &place).await?;
    if !confirmed {
        return Ok(ask(lost(&found), found.room.to_string()));
    }
    let (note, _) = room(session, &found).await?;
    Ok(Outcome { effect: Effect::Left(found.room), ..Outcome::note(note) }.wrote())
}

fn ask(question: String, place: String) -> Outcome {
    let action = Box::new(Action::Forget { place: Some(place), confirmed: true });
    Outcome::effect(Effect::Confirm { question, action })
}

/// Forgets a room, after the goodbye if it was not left before; what was done, in words, and how many
/// were told.
pub async fn room(session: &mut Session, room: &RoomSummary) -> Result<(String, u32), Report> {
    let told = if room.left { 0 } else { rooms::leave(session, room.room).await? };
    session.call("room.forget", json!({"room": room.room})).await?;
    let name = rooms::shown(room);
    let done = if room.left { "forgot" } else { "left and forgot" };
    let done = format!("{done} {name}: nothing of it is on this disk any more{}", unheard(room));
    Ok((done, told))
}

/// Forgets a conversation; what was done, in words.
pub async fn person(session: &mut Session, contact: &Contact) -> Result<String, Report> {
    session.call("contact.forget", json!({"who": contact.identity.to_string()})).await?;
    let name = people::shown(contact);
    Ok(match contact.standing {
        Standing::Blocked => {
            format!("forgot what was said with @{name}, who stays blocked")
        }
        _ => format!("forgot @{name}: if they write to you again, it is a request"),
    })
}

/// What goes with a room, as a question.
pub fn lost(room: &RoomSummary) -> String {
    let name = rooms::shown(room);
    let messages = rooms::messages(room.messages);
    format!(
        "{messages} ({}) of {name} and its key leave this disk for good; others keep what they \
         have{}. Forget {name}?",
        rooms::size(room.bytes),
        unheard(room),
    )
}

/// What goes with a conversation, as a question.
pub fn lost_with(contact: &Contact) -> String {
    let name = people::shown(contact);
    let messages = rooms::messages(contact.messages);
    format!(
        "{messages} with @{name} and the keys of the conversation leave this disk for good, and \
         what has not reached them is never sent. Forget @{name}?"
    )
}

/// The messages that nobody else has.
fn unheard(room: &RoomSummary) -> String {
    match room.queued {
        0 => String::new(),
        1 => "; a message of yours that nobody else has is lost".to_owned(),
        n => format!("; {n} messages of yours that nobody else has are lost"),
    }
}

/// The same for programs.
pub fn as_json(room: &RoomSummary, told: u32) -> Value {
    json!({
        "room_id": room.room, "name": room.name, "left": true, "already": room.left,
        "forgotten": true, "told": told, "lost": room.queued, "messages": room.messages,
    })
}
