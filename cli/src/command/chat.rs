//! `klatch chat`: talk in a room, on the full screen or in plain lines.

use std::sync::atomic::Ordering;

use klatch_core::command::Reply;
use klatch_core::event::Message;
use klatch_core::query::{Access, RoomSummary};
use klatch_node::api::nearest;
use serde_json::json;

use super::{down, init, join, place, rooms};
use crate::act::{Here, people};
use crate::args::{Chat, Down};
use crate::client::Session;
use crate::context::{Context, Need, confirm};
use crate::error::Report;
use crate::output::{Output, snippet, visible};
use crate::plain::Plain;
use crate::tui;

/// Rooms among which the latest is looked for; whoever has more names one.
const LOOKED_AT_MAX: usize = 64;

/// Opens the room if needed and talks until the user, or the end of input, ends it.
pub async fn run(ctx: &Context, args: Chat) -> Result<(), Report> {
    let full = !args.plain && !ctx.args.json && super::has_terminal();
    if !full && args.room.is_none() && !super::has_typist() {
        return Err(which());
    }
    let secret = join::secret(ctx, &args.secret)?;
    let settings = if full { Some(tui::settings(ctx, &args.screen)?) } else { None };
    ctx.hushed.store(full, Ordering::Relaxed);
    init::ensure(ctx)?;
    let session = ctx.session(Need::Network(args.network.clone())).await;
    let mut session = session.map_err(|r| r.unwritable("cannot chat", args.room.as_deref()))?;
    if ctx.embedded.lock().await.is_none() {
        ctx.tell_ignored(&mut session, &args.network).await?;
    }
    let here = match &args.room {
        Some(room) => Some(enter(ctx, &mut session, &args, room, secret).await?),
        None if full => None,
        None => Some(latest(&mut session).await?.ok_or_else(which)?),
    };
    let (wrote, lock, done) = match (settings, here) {
        (Some(settings), here) => {
            let end = tui::open(ctx, session, here, settings).await?;
            for text in &end.unanswered {
                let what = snippet(text);
                ctx.out.warning(&format!(
                    "the node did not answer for \"{what}\": look whether it was sent"
                ));
            }
            (end.wrote, end.lock, Ok(()))
        }
        (None, Some(here)) => plain(ctx, session, here, &args).await?,
        // Refused above.
        (None, None) => return Ok(()),
    };
    if lock {
        lock_up(ctx).await?;
        if ctx.protected()? {
            ctx.out.note("locked: `klatch unlock` opens this profile again");
        }
        return done;
    }
    let inside = ctx.embedded.lock().await.is_some();
    ctx.finish(wrote).await;
    if inside {
        ctx.out.note("You are offline now. `klatch up` keeps you reachable.");
    }
    done
}

fn which() -> Report {
    Report::usage(
        "which room?",
        "klatch chat lobby (a shell takes # for the start of a comment: '#lobby', or without it)",
    )
}

/// The joined room with the newest message: where somebody who names none goes in plain mode.
async fn latest(session: &mut Session) -> Result<Option<Here>, Report> {
    let rooms: Vec<RoomSummary> = session.ask("room.list", json!({})).await?;
    let mut newest: Option<(u64, Here)> = None;
    for room in rooms.into_iter().filter(|r| !r.left).take(LOOKED_AT_MAX) {
        let params = json!({"room": room.room, "limit": 1});
        let last: Vec<Message> = session.ask("message.list", params).await?;
        let cursor = last.first().map_or(0, |m| m.journal);
        if newest.as_ref().is_none_or(|(known, _)| cursor > *known) {
            newest = Some((cursor, Here::of(&room)));
        }
    }
    Ok(newest.map(|(_, here)| here))
}

async fn plain(
    ctx: &Context,
    mut session: Session,
    here: Here,
    args: &Chat,
) -> Result<(bool, bool, Result<(), Report>), Report> {
    // `--plain` promises that not a single escape sequence is printed.
    let out = if args.plain { ctx.out.plain(ctx.args.color) } else { ctx.out }.in_chat();
    welcome(&out, &mut session, &here).await?;
    visitors(&out, &mut session, &here).await?;
    let mut chat = Plain::open(&out, session, here, args.lines, args.yes).await?;
    let done = chat.run().await;
    Ok((chat.wrote, chat.lock, done))
}

/// The place that was named: a person, a room that is open, or one that is opened now.
async fn enter(
    ctx: &Context,
    session: &mut Session,
    args: &Chat,
    room: &str,
    secret: Option<String>,
) -> Result<Here, Report> {
    let with_secret = secret.is_some();
    let existing = match with_secret {
        true => None,
        false if room.starts_with('@') => Some(place::find(session, room).await?),
        false => rooms::joined(session, room).await?.as_ref().map(Here::of),
    };
    if let Some(here) = existing {
        return Ok(here);
    }
    if !with_secret {
        keep_private(ctx, session, args, room).await?;
        warn_of_slip(ctx, session, args, room).await?;
    }
    match join::open(session, "room.join", room, secret).await? {
        Reply::Joined { room, .. } => Ok(Here::of(&rooms::find(session, &room.to_string()).await?)),
        _ => Err(Report::gone()),
    }
}

/// Stops the node, whether it runs inside this program or in the background, without waiting for
/// others who use it.
pub async fn lock_up(ctx: &Context) -> Result<(), Report> {
    if ctx.embedded.lock().await.is_some() {
        ctx.abandon().await;
        return Ok(());
    }
    down::lock(ctx, &Down { yes: false }).await
}

/// Whoever left a room with a passphrase and names it again hardly means the public room of that
/// name.
async fn keep_private(
    ctx: &Context,
    session: &mut Session,
    args: &Chat,
    room: &str,
) -> Result<(), Report> {
    if args.open {
        return Ok(());
    }
    let ask = !args.yes && ctx.can_ask();
    join::keep_private(session, "chat", room, ask).await
}

/// A new room whose name is nearly that of an old one is more often a slip than a wish.
async fn warn_of_slip(
    ctx: &Context,
    session: &mut Session,
    args: &Chat,
    room: &str,
) -> Result<(), Report> {
    if args.yes || !ctx.can_ask() {
        return Ok(());
    }
    let rooms: Vec<RoomSummary> = session.ask("room.list", json!({})).await?;
    let name = format!("#{}", room.trim_start_matches('#'));
    let Some(near) = nearest(&name, rooms.iter().map(|r| r.name.as_str())).filter(|n| *n != name)
    else {
        return Ok(());
    };
    let question = format!(
        "You have a room {}. Open the other one, {}? [y/N] ",
        visible(near),
        visible(&name)
    );
    if confirm(&question)? {
        return Ok(());
    }
    Err(Report::usage(
        format!("{} was not opened", visible(&name)),
        format!("klatch chat '{}'", visible(near)),
    ))
}

/// Says who waits for an answer, and whose keys are not the compared ones.
async fn visitors(out: &Output, session: &mut Session, here: &Here) -> Result<(), Report> {
    let all = people::contacts(session).await?;
    for contact in people::requests(&all) {
        out.note(&format!("* {}", people::request(contact)));
    }
    if let Some(text) = all.iter().find(|c| c.room == here.room).and_then(people::warning) {
        out.warning(&text);
    }
    Ok(())
}

/// Says who you are, where you are, and honestly what kind of room it is.
async fn welcome(out: &Output, session: &mut Session, here: &Here) -> Result<(), Report> {
    let status = session.status().await?;
    if here.direct {
        let (name, other) = (visible(&status.name), visible(&here.name));
        out.note(&format!(
            "* you are {name}, talking with {other} (encrypted for the two of you) · /help · /quit"
        ));
        return Ok(());
    }
    let room = status.rooms.iter().find(|r| r.room == here.room);
    let kind = match room.map(|r| r.access) {
        Some(Access::Passphrase) => "anybody who knows its name and passphrase can read it",
        _ => "open: anybody who knows its name can read it",
    };
    let others = match room.map_or(0, |r| r.online) {
        0 => "nobody else is here now".to_owned(),
        n => format!("{n} here now"),
    };
    out.note(&format!(
        "* you are {} in {} ({kind}); {others} · /help · /quit",
        visible(&status.name),
        visible(&here.name)
    ));
    Ok(())
}
