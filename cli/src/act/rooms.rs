//! Rooms: opening, leaving, listing, and who is there.

use klatch_core::command::Reply;
use klatch_core::query::{Member, RoomSummary};
use serde_json::json;

use super::{Effect, Here, Outcome, in_place, people, shown_name};
use crate::client::Session;
use crate::command::{members, rooms};
use crate::error::Report;
use crate::slash::Action;

pub(super) async fn act(
    session: &mut Session,
    here: Option<&Here>,
    action: Action,
) -> Result<Outcome, Report> {
    match action {
        Action::Join(room) => join(session, &room).await,
        Action::Leave(room) => leave(session, here, room).await,
        Action::Rooms => {
            let list: Vec<RoomSummary> = session.ask("room.list", json!({})).await?;
            Ok(Outcome::list(&list, "no room yet: /join #lobby opens one", rooms::line))
        }
        Action::Users => {
            let here = in_place(here)?;
            if here.direct {
                return people::whois(session, &here.room.to_string()).await;
            }
            let list: Vec<Member> = session.ask("room.members", json!({"room": here.room})).await?;
            Ok(Outcome::list(&list, "nobody", members::line))
        }
        Action::Mute { who, muted } => mute(session, in_place(here)?, &who, muted).await,
        _ => Ok(Outcome::default()),
    }
}

async fn join(session: &mut Session, room: &str) -> Result<Outcome, Report> {
    if let Some(who) = room.strip_prefix('@') {
        return people::open(session, who).await;
    }
    let public = rooms::only_private(session, room).await? == Some(rooms::Private::Left);
    let (here, already) = match rooms::joined(session, room).await? {
        Some(found) => (Here::of(&found), true),
        None => match session.ask("room.join", json!({"room": room})).await? {
            Reply::Joined { room, already, .. } => {
                (Here::of(&rooms::find(session, &room.to_string()).await?), already)
            }
            _ => return Err(Report::gone()),
        },
    };
    let which =
        if public { ": the open one, not the one with a passphrase that you left" } else { "" };
    let note = Outcome::note(format!("you are in {} now{which}", shown_name(&here)));
    Ok(Outcome { effect: Effect::Go(here), wrote: !already, ..note })
}

async fn leave(
    session: &mut Session,
    here: Option<&Here>,
    room: Option<String>,
) -> Result<Outcome, Report> {
    let left = match room {
        None => in_place(here)?.clone(),
        Some(who) if who.starts_with('@') => Here::with(&people::get(session, &who).await?.contact),
        Some(room) => Here::of(&rooms::find(session, &room).await?),
    };
    if left.direct {
        let note = Outcome::note(format!(
            "the conversation with {} is closed; its history is kept",
            shown_name(&left)
        ));
        return Ok(Outcome { effect: Effect::Left(left.room), ..note });
    }
    let behind = rooms::queued(session, left.room).await?;
    session.call("room.leave", json!({"room": left.room})).await?;
    let behind = match behind {
        0 => String::new(),
        1 => "; a message of yours that nobody else has stays here".to_owned(),
        n => format!("; {n} messages of yours that nobody else has stay here"),
    };
    let note =
        Outcome::note(format!("you left {}; its history is kept{behind}", shown_name(&left)));
    Ok(Outcome { effect: Effect::Left(left.room), ..note }.wrote())
}

async fn mute(
    session: &mut Session,
    here: &Here,
    who: &str,
    muted: bool,
) -> Result<Outcome, Report> {
    if here.direct {
        return Err(Report::usage(
            "nobody is hidden in a conversation of two",
            "/block refuses everything from them",
        ));
    }
    let member = members::find(session, &here.room.to_string(), who).await?;
    let params = json!({"room": here.room, "device": member.device, "muted": muted});
    session.call("room.mute", params).await?;
    let word = if muted { "hidden" } else { "no longer hidden" };
    Ok(Outcome::note(format!(
        "{} is {word} in {}, on your side only",
        members::shown(&member),
        shown_name(here)
    )))
}
