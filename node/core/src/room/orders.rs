//! What the user of this device does in rooms, from commands: each checks, then writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::command::{Command, Reply};
use crate::content::Content;
use crate::ctx::Ctx;
use crate::error::CommandError;
use crate::event::Event;
use crate::ids::{Peer, RoomId, TopicId};
use crate::limits::{ROOMS_MAX, TEXT_BYTES_MAX};
use crate::linked::Linked;
use crate::names;
use crate::place::Place;
use crate::room::Room;
use crate::step::{Former, TopicChange, Write};

fn find(rooms: &mut BTreeMap<RoomId, Room>, place: Place) -> Result<&mut Room, CommandError> {
    let unknown = || CommandError::UnknownRoom { room: place.to_string(), nearest: None };
    match place {
        Place::Room(id) => rooms.get_mut(&id).ok_or_else(unknown),
        Place::With(_) => Err(CommandError::WrongPlace { room: place.to_string() }),
    }
}

pub(crate) fn check_text(text: &str) -> Result<(), CommandError> {
    if text.trim().is_empty() {
        return Err(CommandError::EmptyText);
    }
    let (bytes, max) = (text.len() as u64, TEXT_BYTES_MAX as u64);
    if bytes > max { Err(CommandError::TextTooLong { bytes, max }) } else { Ok(()) }
}

pub(crate) fn command_in(
    ctx: &mut Ctx<'_>,
    rooms: &mut BTreeMap<RoomId, Room>,
    command: Command,
) -> Result<Reply, CommandError> {
    let (place, content) = match command {
        Command::JoinRoom { room, .. } => return Err(CommandError::BadRoomName { room }),
        Command::SetName { .. } => {
            return Err(CommandError::WrongPlace { room: "a room".to_owned() });
        }
        Command::LeaveRoom { room } => return leave(ctx, find(rooms, room)?),
        // Before this: it takes the room away.
        Command::ForgetRoom { room } => {
            return Err(CommandError::WrongPlace { room: room.to_string() });
        }
        Command::MuteDevice { room, device, muted } => {
            return find(rooms, room)?.mute(ctx, device, muted).map(|()| Reply::Done);
        }
        Command::MarkRead { room, upto } => {
            let room = find(rooms, room)?.id();
            ctx.step.writes.push(Write::ReadUpto { room, journal: upto });
            return Ok(Reply::Done);
        }
        Command::SendMessage { room, text, reply_to } => {
            check_text(&text)?;
            if let Some(id) = reply_to {
                find(rooms, room)?.find(ctx, id, false)?;
            }
            (room, Content::Text { text, reply_to })
        }
        Command::SendNotice { room, text } => {
            check_text(&text)?;
            (room, Content::Notice { text })
        }
        Command::EditMessage { room, message, text } => {
            check_text(&text)?;
            find(rooms, room)?.find(ctx, message, true)?;
            (room, Content::Edit { target: message, text })
        }
        Command::DeleteMessage { room, message } => {
            find(rooms, room)?.find(ctx, message, true)?;
            (room, Content::Delete { target: message })
        }
        Command::React { room, message, emoji, on } => {
            find(rooms, room)?.find(ctx, message, false)?;
            let emoji = crate::emoji::emoji(&emoji).ok_or(CommandError::BadEmoji)?.to_owned();
            (room, Content::Reaction { target: message, emoji, on })
        }
        Command::AcceptContact { who, .. }
        | Command::BlockContact { who, .. }
        | Command::ForgetContact { who }
        | Command::RenameContact { who, .. }
        | Command::VerifyContact { who, .. } => {
            return Err(CommandError::UnknownPerson { who: who.to_string(), nearest: None });
        }
        Command::Typing { room, .. } => {
            return Err(CommandError::WrongPlace { room: room.to_string() });
        }
        Command::SetPrivacy { .. } => return Err(CommandError::WrongPlace { room: String::new() }),
    };
    let room = find(rooms, place)?;
    if room.row.left {
        return Err(CommandError::UnknownRoom { room: room.name().to_owned(), nearest: None });
    }
    let (message, seq, journal) = room.write(ctx, content)?;
    Ok(Reply::Stored { message, room: room.id(), seq, journal })
}

pub(crate) fn set_name(
    ctx: &mut Ctx<'_>,
    rooms: &mut BTreeMap<RoomId, Room>,
    new: &str,
) -> Result<Reply, CommandError> {
    names::check_name(new)?;
    if new == ctx.name {
        // Nobody is told a new name that is none.
        return Ok(Reply::Done);
    }
    let mut ctx = Ctx {
        now: ctx.now,
        wall: ctx.wall,
        rng: ctx.rng,
        keys: ctx.keys,
        me: ctx.me,
        process: ctx.process,
        name: new,
        directory: ctx.directory,
        journal: ctx.journal,
        request: ctx.request,
        step: ctx.step,
    };
    // All or nothing, but for rooms in which this device may not write any more.
    let open = |r: &&mut Room| !r.row.left && !r.behind && r.returning.is_none();
    for room in rooms.values_mut().filter(open) {
        room.may_write(ctx.now)?;
    }
    ctx.step.writes.push(Write::Name(new.to_owned()));
    for room in rooms.values_mut().filter(open) {
        room.write_profile(&mut ctx)?;
    }
    Ok(Reply::Done)
}

pub(crate) fn join(
    ctx: &mut Ctx<'_>,
    rooms: &mut BTreeMap<RoomId, Room>,
    topics: &mut BTreeMap<TopicId, RoomId>,
    links: &BTreeMap<Peer, Linked>,
    new: Room,
) -> Result<Reply, CommandError> {
    let (id, name) = (new.id(), new.name().to_owned());
    if rooms.get(&id).is_some_and(|r| !r.row.left) {
        return Ok(Reply::Joined { room: id, name, already: true });
    }
    if rooms.values().filter(|r| !r.row.left).count() >= ROOMS_MAX {
        return Err(CommandError::TooManyRooms { max: ROOMS_MAX as u64 });
    }
    let room = rooms.entry(id).or_insert(new);
    room.come_in(ctx);
    ctx.step.writes.push(Write::Room(room.row.clone()));
    ctx.step.topics.push(TopicChange::Subscribe(room.keys.topic));
    topics.insert(room.keys.topic, id);
    if !room.behind && room.returning.is_none() {
        room.write_profile(ctx)?;
    }
    ctx.record(Event::RoomJoined { room: id, name: name.clone() });
    let topic = room.keys.topic;
    for (peer, _) in links.iter().filter(|(_, l)| l.topics.contains(&topic)) {
        room.link_up(ctx, peer);
    }
    Ok(Reply::Joined { room: id, name, already: false })
}

fn leave(ctx: &mut Ctx<'_>, room: &mut Room) -> Result<Reply, CommandError> {
    if room.row.left {
        return Ok(Reply::Done);
    }
    if !room.behind && room.returning.is_none() {
        room.write(ctx, Content::Leave)?;
    }
    room.leave(ctx);
    ctx.record(Event::RoomLeft { room: room.id() });
    Ok(Reply::Done)
}

/// Leaves a room, if it was not left before, and keeps nothing of it but how far this device had
/// written, if anybody else may have that.
pub(crate) fn forget(
    ctx: &mut Ctx<'_>,
    rooms: &mut BTreeMap<RoomId, Room>,
    topics: &mut BTreeMap<TopicId, RoomId>,
    former: &mut BTreeMap<RoomId, Former>,
    place: Place,
) -> Result<Reply, CommandError> {
    let room = find(rooms, place)?;
    let id = room.id();
    if !room.row.left {
        // Where nothing can be written others see that this device is away.
        if room.may_write(ctx.now).is_ok() {
            room.write(ctx, Content::Leave)?;
        }
        room.leave(ctx);
    }
    if room.is_followed() {
        room.stop_following(ctx);
    }
    let left = room.former(&ctx.keys.device_id());
    topics.remove(&room.keys.topic);
    rooms.remove(&id);
    former.extend(left.map(|left| (id, left)));
    ctx.step.writes.push(Write::ForgetRoom { room: id, former: left });
    // Nobody is told of a goodbye that is not kept.
    let told = |e: &Event| matches!(e, Event::MessageAdded { message } if message.room == id);
    ctx.step.events.retain(|t| !told(&t.event));
    ctx.step.forgotten.push(id);
    Arc::make_mut(ctx.directory).drop_room(&id);
    ctx.record(Event::Forgotten { room: id, direct: false });
    Ok(Reply::Done)
}
