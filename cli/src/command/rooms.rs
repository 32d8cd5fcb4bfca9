//! `klatch rooms`, and finding a room by what the user typed.

use klatch_core::ids::RoomId;
use klatch_core::query::{Access, RoomSummary};
use klatch_node::api::nearest;
use serde_json::json;

use crate::client::Session;
use crate::context::{Context, Need};
use crate::error::{Report, exit};
use crate::output::{Output, visible};
use crate::words;

/// Lists the rooms.
pub async fn run(ctx: &Context) -> Result<(), Report> {
    let mut session = ctx.session(Need::History).await?;
    let rooms: Vec<RoomSummary> = session.ask("room.list", json!({})).await?;
    drop(session);
    ctx.finish(false).await;
    if rooms.is_empty() {
        ctx.out.note("no room yet: klatch join '#lobby' opens one");
    }
    print(&ctx.out, &rooms)
}

/// One line, or one object, per room.
pub fn print(out: &Output, rooms: &[RoomSummary]) -> Result<(), Report> {
    for room in rooms {
        out.either(room, || line(room))?;
    }
    Ok(())
}

/// One line.
pub fn line(room: &RoomSummary) -> String {
    let access = match room.access {
        Access::Open => "open",
        Access::Passphrase => "passphrase",
    };
    let mut text = format!(
        "{}\t{access}\t{} online of {}\t{} messages, {} unread\t{}",
        visible(&room.name),
        room.online + 1,
        room.members.max(room.online + 1),
        room.messages,
        room.unread,
        size(room.bytes),
    );
    if room.left {
        text = format!(
            "{}\tleft\t{} messages\t{}",
            visible(&room.name),
            room.messages,
            size(room.bytes)
        );
    }
    if room.access == Access::Passphrase && !room.left {
        text.push_str(&format!("\twords: {}", words::of_room(&room.room)));
    }
    if room.over_budget {
        text.push_str("\tfull: later texts are not stored here");
    }
    text
}

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..1_000_000_000 => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes / 100_000_000 % 10),
    }
}

/// The joined room of that name or id, if there is one.
pub async fn joined(session: &mut Session, wanted: &str) -> Result<Option<RoomSummary>, Report> {
    let rooms: Vec<RoomSummary> = session.ask("room.list", json!({})).await?;
    pick(rooms.into_iter().filter(|r| !r.left).collect(), wanted)
}

/// Own messages of a room that nobody else has.
pub async fn queued(session: &mut Session, room: RoomId) -> Result<u64, Report> {
    let rooms: Vec<RoomSummary> = session.ask("room.list", json!({})).await?;
    Ok(rooms.iter().find(|r| r.room == room).map_or(0, |r| r.queued))
}

/// Whether rooms of that name were left, all of them with a passphrase, and none is joined.
pub async fn only_private_left(session: &mut Session, wanted: &str) -> Result<bool, Report> {
    let rooms: Vec<RoomSummary> = session.ask("room.list", json!({})).await?;
    let same: Vec<&RoomSummary> = rooms.iter().filter(|r| is(r, wanted)).collect();
    Ok(!same.is_empty() && same.iter().all(|r| r.left && r.access == Access::Passphrase))
}

/// The room of that name or id, left ones too, or an error with the nearest name.
pub async fn find(session: &mut Session, wanted: &str) -> Result<RoomSummary, Report> {
    let rooms: Vec<RoomSummary> = session.ask("room.list", json!({})).await?;
    let names: Vec<String> = rooms.iter().map(|r| r.name.clone()).collect();
    pick(rooms, wanted)?.ok_or_else(|| {
        let hash = format!("#{}", wanted.trim_start_matches('#'));
        let hint = match nearest(&hash, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near}? `klatch rooms` lists all"),
            None => format!("`klatch join '{hash}'` opens it"),
        };
        Report::new(
            "KLATCH-ROOM-NOT-FOUND",
            format!("there is no room {hash} here"),
            hint,
            exit::NOT_FOUND,
        )
    })
}

/// Whether a room has that id or, give or take its sign and capitals, that name.
fn is(room: &RoomSummary, wanted: &str) -> bool {
    let plain = |name: &str| name.trim_start_matches('#').to_lowercase();
    room.room.to_string() == wanted || plain(&room.name) == plain(wanted)
}

fn pick(rooms: Vec<RoomSummary>, wanted: &str) -> Result<Option<RoomSummary>, Report> {
    let mut found: Vec<RoomSummary> = rooms.into_iter().filter(|r| is(r, wanted)).collect();
    if found.iter().any(|r| !r.left) {
        // A room that was left gives way to the one that is in use.
        found.retain(|r| !r.left);
    }
    if found.len() > 1 {
        // An open room and one with a passphrase may share a name; so may two passphrases.
        let ids: Vec<String> = found
            .iter()
            .map(|r| format!("{} ({:?}, {} messages)", r.room, r.access, r.messages))
            .collect();
        let cause = format!("{} rooms are called {wanted}", found.len());
        return Err(Report::new(
            "KLATCH-AMBIGUOUS",
            cause,
            format!("use an id: {}", ids.join(", ")),
            exit::USAGE,
        ));
    }
    Ok(found.pop())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(n: u8, name: &str) -> RoomSummary {
        RoomSummary {
            room: RoomId([n; 16]),
            name: name.to_owned(),
            access: Access::Open,
            members: 1,
            online: 0,
            messages: 3,
            unread: 1,
            queued: 0,
            bytes: 1_234,
            over_budget: false,
            left: false,
        }
    }

    #[test]
    fn a_room_is_found_by_name_or_id_and_never_guessed() {
        let rooms = || vec![room(1, "#garden"), room(2, "#lobby"), room(3, "#lobby")];
        assert_eq!(pick(rooms(), "Garden").unwrap().unwrap().room, RoomId([1; 16]));
        assert_eq!(
            pick(rooms(), &RoomId([3; 16]).to_string()).unwrap().unwrap().room,
            RoomId([3; 16])
        );
        assert!(pick(rooms(), "#gar").unwrap().is_none());
        assert_eq!(pick(rooms(), "#lobby").unwrap_err().code, "KLATCH-AMBIGUOUS");
        let mut used = rooms();
        used[2].left = true;
        assert_eq!(
            pick(used.clone(), "#lobby").unwrap().unwrap().room,
            RoomId([2; 16]),
            "the joined one is meant"
        );
        assert_eq!(
            pick(used.clone(), &RoomId([3; 16]).to_string()).unwrap().unwrap().room,
            RoomId([3; 16])
        );
        used[1].left = true;
        assert_eq!(pick(used, "#lobby").unwrap_err().code, "KLATCH-AMBIGUOUS", "neither is in use");
    }

    #[test]
    fn a_room_is_one_line() {
        let nasty = RoomSummary { name: "#a\u{1b}[2J\nb".to_owned(), ..room(1, "") };
        assert_eq!(line(&nasty).lines().count(), 1);
        assert_eq!(
            line(&room(1, "#garden")),
            "#garden\topen\t1 online of 1\t3 messages, 1 unread\t1 kB"
        );
    }
}
