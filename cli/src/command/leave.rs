//! `klatch leave`: says goodbye, to whoever can be reached within a moment, and says honestly who
//! heard it.

use std::time::Duration;

use klatch_core::query::{RoomSummary, Status};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::rooms;
use crate::act::forget;
use crate::args::{Leave, Network};
use crate::client::{POLL, Session};
use crate::context::{Context, Need, confirm};
use crate::error::{Report, exit};
use crate::lines::count;

/// A node that was just started, or that still hands messages over, is given this long.
const MOMENT: Duration = Duration::from_secs(3);
/// If no address is known and nobody has connected by then, nobody is there.
const ALONE: Duration = Duration::from_millis(1_500);

/// Leaves a room. Others are told, so this needs the network.
pub async fn run(ctx: &Context, args: &Leave) -> Result<(), Report> {
    let mut session = ctx.session(Need::Network(Network::usual())).await?;
    let found = rooms::find(&mut session, &args.room).await?;
    let name = rooms::shown(&found);
    let room = if found.left { found } else { company(ctx, &mut session, found).await? };
    if args.forget {
        agree_to_forget(ctx, args, &room)?;
        let (done, told) = forget::room(&mut session, &room).await?;
        crate::tui::forget_draft(&ctx.paths.data, room.room);
        drop(session);
        ctx.finish(true).await;
        return ctx.out.either(&forget::as_json(&room, told), || done);
    }
    let mut told = 0;
    if !room.left {
        let stays = ctx.embedded.lock().await.is_none();
        agree(ctx, args, &room, stays)?;
        told = rooms::leave(&mut session, room.room).await?;
    }
    drop(session);
    ctx.finish(true).await;
    if told == 0 && room.members > 1 && !room.left {
        ctx.out.note("nobody was told, because nobody is connected: they will see you as away");
    }
    let left = json!({
        "room_id": room.room, "name": room.name, "left": true, "already": room.left,
        "forgotten": false, "told": told, "undelivered": room.queued, "messages": room.messages,
    });
    ctx.out.either(&left, || match room.left {
        true => format!("{name} was left already; its history is kept"),
        false => format!("left {name}; its history is kept{}{}", extent(&room), unheard(&room)),
    })
}

/// Whoever left should know that nobody will get these.
fn unheard(room: &RoomSummary) -> String {
    match room.queued {
        0 => String::new(),
        1 => "; a message of yours that nobody else has stays here, and reaches nobody".to_owned(),
        n => {
            format!("; {n} messages of yours that nobody else has stay here, and reach nobody")
        }
    }
}

/// What is forgotten does not come back: it is asked for, unless the answer was given.
fn agree_to_forget(ctx: &Context, args: &Leave, room: &RoomSummary) -> Result<(), Report> {
    if args.yes {
        return Ok(());
    }
    let question = forget::lost(room);
    if ctx.can_ask() && confirm(&format!("{question} [y/N] "))? {
        return Ok(());
    }
    let name = rooms::shown(room);
    Err(Report::new(
        "KLATCH-CONFIRM",
        format!("not confirmed, so not done: {question}"),
        format!("klatch leave '{name}' --forget --yes"),
        exit::USAGE,
    ))
}

/// Waits a moment for members to connect, if any are known, and to take what they lack. Gives back
/// the room as it is then.
async fn company(
    ctx: &Context,
    session: &mut Session,
    room: RoomSummary,
) -> Result<RoomSummary, Report> {
    let just_started = ctx.embedded.lock().await.is_some();
    let (begun, limit) = (Instant::now(), ctx.timeout(MOMENT));
    loop {
        let status = session.status().await?;
        let now = status.rooms.iter().find(|r| r.room == room.room).unwrap_or(&room);
        let hopeless = now.members <= 1
            || (now.online == 0
                && (!just_started || (begun.elapsed() >= ALONE && nobody_known(&status))));
        if (now.online > 0 && now.queued == 0) || hopeless || begun.elapsed() >= limit {
            return Ok(now.clone());
        }
        sleep(POLL).await;
    }
}

fn nobody_known(status: &Status) -> bool {
    status.peers.is_empty() && status.discovery.as_ref().is_none_or(|d| d.missing == 0)
}

/// How much it is that is kept.
fn extent(room: &RoomSummary) -> String {
    match usize::try_from(room.messages).unwrap_or(usize::MAX) {
        0 => String::new(),
        n => format!(" ({}, {})", count(n, "message"), rooms::size(room.bytes)),
    }
}

/// What nobody else has stays here: whoever leaves should know.
fn agree(ctx: &Context, args: &Leave, room: &RoomSummary, node_stays: bool) -> Result<(), Report> {
    if room.queued == 0 || args.yes {
        return Ok(());
    }
    let name = rooms::shown(room);
    let lost = match room.queued {
        1 => format!(
            "a message of yours in {name} has reached nobody, and stays here once you have left"
        ),
        n => format!(
            "{n} messages of yours in {name} have reached nobody, and stay here once you have left"
        ),
    };
    if ctx.can_ask() && confirm(&format!("{lost}. Leave all the same? [y/N] "))? {
        return Ok(());
    }
    let they = if room.queued == 1 { "it goes" } else { "they go" };
    let wait = match node_stays {
        true => format!("wait: {they} out once somebody is there"),
        false => format!("`klatch up`, then {they} out once somebody is there"),
    };
    let hint = format!("{wait}; `klatch leave '{name}' --yes` leaves now");
    Err(Report::new(
        "KLATCH-UNDELIVERED",
        format!("{name} was not left: {lost}"),
        hint,
        exit::USAGE,
    ))
}
