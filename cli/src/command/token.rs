//! `klatch token`: who may use the API besides the owner.

use std::collections::BTreeMap;

use klatch_core::query::RoomSummary;
use serde_json::{Value, json};

use super::rooms;
use crate::act::people;
use crate::args::Token;
use crate::client::Session;
use crate::context::{Context, Need};
use crate::error::Report;
use crate::output::visible;

/// Makes, lists or revokes tokens.
pub async fn run(ctx: &Context, args: Token) -> Result<(), Report> {
    let mut session = ctx.session(Need::History).await?;
    match args {
        Token::Create { name, scope, room, expire } => {
            let params = json!({
                "name": name, "scopes": scope, "room": room, "expire_s": expire.map(|e| e.as_secs()),
            });
            let made = session.call("token.create", params).await?;
            ctx.out.note("this file is the token; whoever can read it can use it");
            ctx.out.either(&made, || visible(made["file"].as_str().unwrap_or_default()))
        }
        Token::List => {
            let tokens: Vec<Value> = session.ask("token.list", json!({})).await?;
            if tokens.is_empty() {
                ctx.out.note("no token yet: klatch token create NAME --scope read makes one");
            }
            let places = places(&mut session).await?;
            tokens.iter().try_for_each(|token| ctx.out.either(token, || line(token, &places)))
        }
        Token::Revoke { name } => {
            let done = session.call("token.revoke", json!({"name": name})).await?;
            ctx.out.either(&done, || format!("{} is worth nothing any more", visible(&name)))
        }
    }
}

/// The names of rooms and conversations by their ids.
async fn places(session: &mut Session) -> Result<BTreeMap<String, String>, Report> {
    let rooms: Vec<RoomSummary> = session.ask("room.list", json!({})).await?;
    let rooms = rooms.iter().map(|r| (r.room.to_string(), rooms::shown(r)));
    let people = people::contacts(session).await?;
    let people = people.iter().map(|c| (c.room.to_string(), format!("@{}", people::shown(c))));
    Ok(rooms.chain(people).collect())
}

fn line(token: &Value, places: &BTreeMap<String, String>) -> String {
    let text = |key: &str| visible(token[key].as_str().unwrap_or("-"));
    let scopes: Vec<&str> =
        token["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    // A place that was forgotten has no name: the token is confined to it all the same.
    let place = token["room_id"].as_str().map_or_else(
        || "everywhere".to_owned(),
        |id| places.get(id).cloned().unwrap_or_else(|| visible(id)),
    );
    let until = token["expires_ms"].as_u64().map_or_else(
        || "never expires".to_owned(),
        |at| format!("expires {}", crate::lines::Lines::default().time(at)),
    );
    format!("{}\t{}\t{place}\t{until}\t{}", text("name"), visible(&scopes.join(",")), text("file"))
}
