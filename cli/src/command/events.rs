//! `klatch events`: what happens, one line each, from any point in the past.

use klatch_core::content::Kind;
use klatch_core::event::{Event, Message};
use klatch_core::ids::RoomId;
use serde_json::{Value, json};

use super::rooms;
use crate::args::{Events as Args, Network};
use crate::client::{Events, Session, Told};
use crate::context::{Context, Need};
use crate::error::Report;
use crate::lines::{Lines, came, marked};
use crate::output::{snippet, visible};

/// Prints events until Ctrl+C, or as many as asked for.
pub async fn run(ctx: &Context, args: Args) -> Result<(), Report> {
    let mut session = ctx.session(Need::Network(Network::usual())).await?;
    let mut topics = Vec::new();
    for prefix in &args.topics {
        topics.push(resolve(&mut session, prefix).await?);
    }
    let params = json!({"topics": topics, "types": args.types, "after": args.after});
    let mut events = Events::subscribe(&session.socket, params).await?;
    let lines = Lines::default();
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let event = events.next_json().await?;
        if event["type"] == "event.gap" {
            ctx.out.note(&gap(&event["event"]));
        }
        if ctx.out.json {
            ctx.out.json(&event)?;
        } else {
            ctx.out.line(&line(&lines, &event))?;
        }
        left -= 1;
    }
    drop(events);
    Ok(())
}

/// A topic with the ids that the user's names stand for: `room/#garden/edit`, `dm/@bob`, or just
/// `#garden` and `@bob`.
async fn resolve(session: &mut Session, prefix: &str) -> Result<String, Report> {
    let (place, rest) = match prefix.as_bytes().first() {
        Some(b'#') => ("room", prefix),
        Some(b'@') => ("dm", prefix),
        _ => prefix.split_once('/').unwrap_or((prefix, "")),
    };
    let (name, leaf) = rest.split_once('/').unwrap_or((rest, ""));
    match (place, name.as_bytes().first()) {
        ("room", Some(b'#')) => {
            Ok(format!("room/{}/{leaf}", rooms::find(session, name).await?.room))
        }
        ("dm", Some(b'@')) => {
            let who = session.call("contact.get", json!({"who": name})).await?;
            Ok(format!("dm/{}/{leaf}", who["room_id"].as_str().unwrap_or_default()))
        }
        // A name without its sign, unless it is the beginning of an id.
        ("room", Some(_)) if RoomId::parse(name).is_none() && !name.is_empty() => {
            match rooms::joined(session, name).await? {
                Some(room) => Ok(format!("room/{}/{leaf}", room.room)),
                None => Ok(prefix.to_owned()),
            }
        }
        _ => Ok(prefix.to_owned()),
    }
}

fn gap(event: &Value) -> String {
    let why = if event["reason"] == "ahead" {
        "are newer than anything here: the cursor is of another profile, or this one was restored from a backup"
    } else {
        "are no longer kept"
    };
    format!("events {} to {} {why}", event["from"], event["to"])
}

/// Number, time, type, topic and what is worth knowing, with tabs in between.
fn line(lines: &Lines, event: &Value) -> String {
    let text = |key: &str| visible(event[key].as_str().unwrap_or_default());
    let number = event["cursor"].as_u64().map_or_else(|| "-".to_owned(), |n| n.to_string());
    let time = lines.time(event["at_ms"].as_u64().unwrap_or_default());
    let told: Option<Told> = serde_json::from_value(event.clone()).ok();
    let detail = told.map(|t| detail(&t.event)).unwrap_or_default();
    format!("{number}\t{time}\t{}\t{}\t{detail}", text("type"), text("topic"))
}

fn detail(event: &Event) -> String {
    let who = |name: &str, mark: &Option<String>| marked(visible(name), mark.as_deref());
    let said = |m: &Message| match m.kind {
        Kind::Profile => {
            let name = who(m.former_name.as_ref().unwrap_or(&m.name), &m.name_mark);
            format!("{name} {}", came(m, "the room"))
        }
        Kind::Leave => format!("{} left the room", who(&m.name, &m.name_mark)),
        _ => format!("{}: {}", who(&m.name, &m.name_mark), snippet(&m.text)),
    };
    match event {
        Event::MessageAdded { message } => said(message),
        Event::RoomJoined { name, .. } => visible(name),
        Event::Typing { name, name_mark, .. } | Event::ContactChanged { name, name_mark, .. } => {
            who(name, name_mark)
        }
        Event::PresenceChanged { name, name_mark, online, .. } => {
            format!("{} {}", who(name, name_mark), if *online { "is here" } else { "is away" })
        }
        Event::DeliveryChanged { state, .. } => crate::lines::state(*state),
        Event::PeerConnected { address, .. } => visible(address),
        Event::Lagged { missed } => format!("{missed} events that are not kept were missed"),
        Event::Gap { from, to, .. } => format!("{from} to {to}"),
        _ => String::new(),
    }
}
