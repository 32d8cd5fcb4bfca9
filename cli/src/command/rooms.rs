//! `klatch rooms`, and finding a room by what the user typed.

use std::time::Duration;

use klatch_core::error::CommandError;
use klatch_core::ids::RoomId;
use klatch_core::limits::FAREWELL_MS;
use klatch_core::names::{normalise, skeleton};
use klatch_core::place::{RoomName, find_room};
use klatch_core::query::{Access, RoomSummary};
use klatch_node::api::rpc::RpcError;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::client::{POLL, Session};
use crate::context::{Context, Need};
use crate::error::Report;
use crate::lines::{count, marked};
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

/// The name of a room, with what tells it from others that look alike.
pub fn shown(room: &RoomSummary) -> String {
    marked(visible(&room.name), room.name_mark.as_deref())
}

/// One line.
pub fn line(room: &RoomSummary) -> String {
    let access = match room.access {
        Access::Open => "open",
        Access::Passphrase => "passphrase",
    };
    let mut text = format!(
        "{}\t{access}\t{} online of {}\t{}, {} unread\t{}",
        shown(room),
        room.online + 1,
        room.members.max(room.online + 1),
        messages(room.messages),
        room.unread,
        size(room.bytes),
    );
    if room.left {
        text = format!("{}\tleft\t{}\t{}", shown(room), messages(room.messages), size(room.bytes));
    }
    if room.access == Access::Passphrase && !room.left {
        text.push_str(&format!("\twords: {}", words::of_room(&room.room)));
    }
    if room.behind {
        text.push_str("\tread only: restored from an old copy, others have more of you");
    }
    if room.over_budget {
        text.push_str("\tfull: later texts are not stored here");
    }
    text
}

/// So many messages, in words.
pub fn messages(n: u64) -> String {
    count(usize::try_from(n).unwrap_or(usize::MAX), "message")
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

/// Leaves a room and waits until who is connected has heard the goodbye. How many have.
pub async fn leave(session: &mut Session, room: RoomId) -> Result<u32, Report> {
    session.call("room.leave", json!({"room": room})).await?;
    // The node's own patience, and as much for a machine that is slow.
    let limit = Instant::now() + Duration::from_millis(2 * FAREWELL_MS);
    loop {
        let rooms: Vec<RoomSummary> = session.ask("room.list", json!({})).await?;
        let left = rooms.iter().find(|r| r.room == room);
        match left {
            Some(room) if room.leaving && Instant::now() < limit => sleep(POLL).await,
            left => return Ok(left.map_or(0, |r| r.up_to_date)),
        }
    }
}

/// The joined room of that name or id, if there is one.
pub async fn joined(session: &mut Session, wanted: &str) -> Result<Option<RoomSummary>, Report> {
    let rooms: Vec<RoomSummary> = session.ask("room.list", json!({})).await?;
    let joined = rooms.iter().filter(|r| !r.left).map(|r| RoomName {
        room: r.room,
        name: &r.name,
        left: r.left,
        passphrase: r.access == Access::Passphrase,
    });
    match find_room(joined, wanted) {
        Ok(id) => Ok(rooms.into_iter().find(|r| r.room == id)),
        Err(CommandError::UnknownRoom { .. }) => Ok(None),
        Err(error) => Err(RpcError::from(error).into()),
    }
}

/// The room of that name or id, left ones too, or an error with the nearest name. The node decides
/// what a name means.
pub async fn find(session: &mut Session, wanted: &str) -> Result<RoomSummary, Report> {
    session.ask("room.get", json!({"room": wanted})).await
}

/// Own messages of a room that nobody else has.
pub async fn queued(session: &mut Session, room: RoomId) -> Result<u64, Report> {
    let rooms: Vec<RoomSummary> = session.ask("room.list", json!({})).await?;
    Ok(rooms.iter().find(|r| r.room == room).map_or(0, |r| r.queued))
}

/// The name of another room here that looks like this one.
pub fn double<'a>(rooms: &'a [RoomSummary], name: &str) -> Option<&'a str> {
    let seen = skeleton(name);
    rooms.iter().find(|r| r.name != name && skeleton(&r.name) == seen).map(|r| r.name.as_str())
}

/// What is known of a name if all rooms here that have it have a passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Private {
    /// One of them is joined.
    Joined,
    /// They were left.
    Left,
}

/// Whether the open room of that name is not here, but one with a passphrase is: whoever names it
/// hardly means the one that anybody can read.
pub async fn only_private(session: &mut Session, wanted: &str) -> Result<Option<Private>, Report> {
    let rooms: Vec<RoomSummary> = session.ask("room.list", json!({})).await?;
    Ok(private(&rooms, wanted))
}

fn private(rooms: &[RoomSummary], wanted: &str) -> Option<Private> {
    let name = normalise(wanted).ok()?;
    let same: Vec<&RoomSummary> = rooms.iter().filter(|r| r.name == name).collect();
    if same.is_empty() || same.iter().any(|r| r.access == Access::Open) {
        return None;
    }
    let joined = same.iter().any(|r| !r.left);
    Some(if joined { Private::Joined } else { Private::Left })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(n: u8, name: &str) -> RoomSummary {
        RoomSummary {
            room: RoomId([n; 16]),
            name: name.to_owned(),
            name_mark: None,
            access: Access::Open,
            members: 1,
            online: 0,
            messages: 3,
            unread: 1,
            queued: 0,
            bytes: 1_234,
            over_budget: false,
            damaged: 0,
            behind: false,
            left: false,
            leaving: false,
            up_to_date: 0,
        }
    }

    #[test]
    fn an_open_room_is_not_meant_while_only_a_private_one_is_known() {
        let mut rooms = vec![room(1, "#mix"), room(2, "#lobby")];
        assert_eq!(private(&rooms, "#mix"), None);
        assert_eq!(private(&rooms, "#other"), None);
        rooms[0].access = Access::Passphrase;
        assert_eq!(private(&rooms, "MIX"), Some(Private::Joined));
        rooms[0].left = true;
        assert_eq!(private(&rooms, "mix"), Some(Private::Left));
        rooms.push(room(3, "#mix"));
        assert_eq!(private(&rooms, "mix"), None, "the open one was opened before");
    }

    #[test]
    fn a_room_that_looks_like_another_shows_its_mark() {
        for left in [false, true] {
            let room =
                RoomSummary { name_mark: Some("abcdefgh".to_owned()), left, ..room(1, "#garden") };
            assert!(line(&room).starts_with("#garden~abcdefgh\t"), "{}", line(&room));
        }
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
