//! `message.broadcast`: one text in every joined room, said only after the rooms were named, and
//! not often.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use klatch_core::command::{Command, Reply};
use klatch_core::query::RoomSummary;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::hub::Context;
use super::methods::rooms;
use super::registry::Method;
use super::rights::Rights;
use super::rpc::RpcError;
use super::sends;

/// Everybody in every room reads it: not more often than this.
const PAUSE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Params {
    text: String,
    confirm: bool,
    dry_run: bool,
}

/// Names the rooms, or says it in each of them.
pub(super) async fn run(
    hub: &Context,
    rights: &Rights,
    method: &Method,
    mut params: Map<String, Value>,
) -> Result<Value, RpcError> {
    let key = sends::key(&mut params)?;
    let p: Params =
        serde_json::from_value(Value::Object(params)).map_err(|e| method.mismatch(&e))?;
    let rooms: Vec<_> = rooms(&hub.node).await?.into_iter().filter(|r| !r.left).collect();
    let named: Vec<Value> = rooms.iter().map(line).collect();
    if p.dry_run {
        return Ok(json!({"rooms": named, "sent": 0}));
    }
    if rooms.is_empty() {
        return Err(RpcError::failed(
            "no room is joined",
            "KLATCH-NO-ROOM",
            "`room.join` opens one",
            3,
        ));
    }
    if !p.confirm {
        let mark =
            |r: &RoomSummary| r.name_mark.as_ref().map_or_else(String::new, |m| format!("~{m}"));
        let names: Vec<String> = rooms.iter().map(|r| format!("{}{}", r.name, mark(r))).collect();
        let text = format!("this would be said in {} rooms: {}", rooms.len(), names.join(", "));
        let error =
            RpcError::failed(text, "KLATCH-CONFIRM", "call it again with `confirm: true`", 2);
        return Err(error.with_partial(json!({"rooms": named})));
    }
    let before = begin(hub, key.as_deref())?;
    let (mut done, mut failed) = (Vec::new(), None);
    for room in rooms {
        let key = key.as_ref().map(|key| format!("{key}/{}", room.room));
        let command =
            Command::SendMessage { room: room.room.into(), text: p.text.clone(), reply_to: None };
        let mut line = line(&room);
        match sends::once(hub, rights, key.as_deref(), command).await {
            Ok(Reply::Stored { message, journal, .. }) => {
                line["message_id"] = json!(message);
                line["cursor"] = json!(journal);
            }
            Ok(_) => {}
            Err(error) => {
                line["error"] = json!({"code": error.data.code, "message": error.message});
                failed.get_or_insert(error);
            }
        }
        done.push(line);
    }
    let sent = done.iter().filter(|line| line.get("message_id").is_some()).count();
    match failed {
        // Nothing was said, so nothing counts.
        Some(error) if sent == 0 => {
            *hub.broadcast.lock().unwrap_or_else(PoisonError::into_inner) = before;
            Err(error)
        }
        _ => Ok(json!({"rooms": done, "sent": sent})),
    }
}

fn line(room: &RoomSummary) -> Value {
    let mut line = json!({"room_id": room.room, "name": room.name});
    if let Some(mark) = &room.name_mark {
        line["name_mark"] = json!(mark);
    }
    line
}

/// Refuses what comes too soon, unless it is the last one again.
fn begin(hub: &Context, key: Option<&str>) -> Result<Option<(Instant, Option<String>)>, RpcError> {
    let mut last = hub.broadcast.lock().unwrap_or_else(PoisonError::into_inner);
    let before = last.clone();
    if let Some((at, its_key)) = &before
        && at.elapsed() < PAUSE
        && (key.is_none() || its_key.as_deref() != key)
    {
        let left = (PAUSE - at.elapsed()).as_secs() + 1;
        let text = "something was said in all rooms less than a minute ago";
        let mut error = RpcError::failed(
            text,
            "KLATCH-TOO-SOON",
            format!("wait {left} s, or send to one room"),
            6,
        );
        error.data.retryable = true;
        return Err(error);
    }
    *last = Some((Instant::now(), key.map(str::to_owned)));
    Ok(before)
}
