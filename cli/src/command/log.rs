//! `klatch log` and `klatch tail`: what was said, and what is said from now on.

use klatch_core::event::{Event, Message};
use klatch_core::ids::EntryId;
use serde_json::{Value, json};

use super::place;
use crate::args::{Log, Network};
use crate::client::Session;
use crate::context::{Context, Need};
use crate::error::Report;
use crate::lines::Lines;
use crate::output::{Output, visible};

/// Lines asked for at once; with the longest texts that is 16 MB.
const PAGE: u32 = 250;

/// Prints the lines asked for; with `--follow`, then each new one until Ctrl+C.
pub async fn run(ctx: &Context, args: &Log) -> Result<(), Report> {
    let need = if args.follow { Need::Network(Network::usual()) } else { Need::History };
    let mut session = ctx.session(need).await.map_err(|report| match args.follow {
        true => report.unwritable("cannot follow what is said", Some(&args.room)),
        false => report,
    })?;
    let room = place::find(&mut session, &args.room).await?;
    place::warn(ctx, &mut session, &room).await?;
    let events = match args.follow {
        true => Some(session.events(&[room.topic()], json!("now")).await?),
        false => None,
    };
    let upto = events.as_ref().map_or(u64::MAX, |e| e.cursor);
    tell_limits(ctx, &mut session, args).await?;
    let mut lines = Lines::default();
    let found = history(&mut session, args, &json!(room.room)).await?;
    if events.is_none() {
        // Whoever reads the output may take long, and the profile is needed by others.
        drop(session);
        ctx.finish(false).await;
    }
    for message in found {
        if message.journal <= upto {
            print(&ctx.out, &mut lines, &room.name, &message)?;
        }
    }
    let Some(mut events) = events else { return Ok(()) };
    loop {
        match events.next().await?.event {
            Event::MessageAdded { message } if matches(&message, args.search.as_deref()) => {
                print(&ctx.out, &mut lines, &room.name, &message)?;
            }
            Event::RoomLeft { .. } => {
                ctx.out.note(&format!("{} was left", visible(&room.name)));
                return Ok(());
            }
            Event::Forgotten { .. } => {
                ctx.out.note(&format!("{} was forgotten", visible(&room.name)));
                return Ok(());
            }
            _ => {}
        }
    }
}

/// Why there may be less than what is looked for.
async fn tell_limits(ctx: &Context, session: &mut Session, args: &Log) -> Result<(), Report> {
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    if args.since.is_some_and(|since| since > now) {
        ctx.out.note("the time behind --since is still to come: nothing can have been said since");
    }
    if args.search.is_some() && session.status().await?.read_only {
        ctx.out.note(
            "the disk refuses writes, so only those texts are searched that were indexed before",
        );
    }
    Ok(())
}

/// The newest lines that fit the options, oldest first, read in pages.
async fn history(session: &mut Session, args: &Log, room: &Value) -> Result<Vec<Message>, Report> {
    let mut found: Vec<Message> = Vec::new();
    let mut before: Option<EntryId> = None;
    let mut left = args.lines;
    while left > 0 {
        let limit = left.min(PAGE);
        let params = json!({"room": room, "limit": limit, "since_ms": args.since, "search": args.search, "before": before});
        let mut page: Vec<Message> = session.ask("message.list", params).await?;
        let full = page.len() >= limit as usize;
        before = page.first().map(|m| m.id);
        left = left.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
        page.append(&mut found);
        found = page;
        if !full {
            break;
        }
    }
    Ok(found)
}

/// By the same rule as the index, for lines that are not in it yet.
fn matches(message: &Message, search: Option<&str>) -> bool {
    search.is_none_or(|search| klatch_core::words::matches(&message.text, search))
}

fn print(out: &Output, lines: &mut Lines, room: &str, message: &Message) -> Result<(), Report> {
    if out.json { out.json(message) } else { lines.line(message, room).print(out) }
}
