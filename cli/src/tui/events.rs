//! What the node tells, taken into the state. Events are hints: where one is not enough, the store
//! is asked again, and crowds of them are gathered into one question.

use klatch_core::content::Kind;
use klatch_core::event::{ContactNews, Event, Message};
use klatch_core::ids::RoomId;
use serde_json::json;

use super::answers::MENTIONS_LOOKED_AT_MAX;
use super::fold::{GATHER_MS, ask, changed, reads};
use super::notify;
use super::rows::{author, calls, is_speech};
use super::state::{Chat, State, TYPING_MS, Tag, Wish};
use super::theme;
use crate::client::Told;
use crate::lines::{self, marked};
use crate::output::snippet;

/// Takes in one event.
pub fn told(state: &mut State, wishes: &mut Vec<Wish>, told: Told) {
    let line = describe(state, &told);
    state.record(&line);
    match told.event {
        Event::MessageAdded { message } => added(state, wishes, *message),
        Event::HistoryAdded { room, count, .. } => {
            let came = state.caught_up.entry(room).or_default();
            *came = came.saturating_add(count);
            refresh_if_here(state, room);
            lists_soon(state);
        }
        Event::BodiesAdded { room, .. } => {
            refresh_if_here(state, room);
            lists_soon(state);
        }
        Event::DeliveryChanged { room, upto_seq, state: now, .. } => {
            if let Some(timeline) = state.timelines.get_mut(&room) {
                let exact = timeline.lines.iter_mut().filter(|m| m.own && m.seq == upto_seq);
                exact.for_each(|m| m.state = Some(now));
            }
            refresh_if_here(state, room);
        }
        Event::PresenceChanged { room, device, online, .. } => {
            let member = state
                .members
                .get_mut(&room)
                .and_then(|m| m.iter_mut().find(|m| m.device == device));
            if let Some(member) = member {
                member.online = online;
            }
            members_soon(state, room);
            lists_soon(state);
        }
        Event::RoomJoined { .. } => lists_soon(state),
        Event::RoomLeft { room } => left(state, wishes, room),
        Event::Forgotten { room, .. } => {
            left(state, wishes, room);
            state.timelines.remove(&room);
            state.drafts.remove(&room);
            state.halves.remove(&room);
            state.levels.remove(&room);
            state.keep_soon();
        }
        Event::ForkFound { device, .. } => {
            state.warn(&format!("the device {} wrote two histories", device.short()))
        }
        Event::DiskBudgetReached { room } => {
            let name = name_of(state, room);
            state.warn(&format!("{name} is full on this disk: later texts are not stored here"));
        }
        Event::ContactChanged { room, name, name_mark, news, .. } => {
            contact(state, room, &marked(name, name_mark.as_deref()), news);
        }
        Event::Typing { room, name, name_mark, typing } => {
            state.typing.remove(&room);
            if typing {
                let name = marked(name, name_mark.as_deref());
                state.typing.insert(room, (name, state.now_ms + TYPING_MS));
            }
        }
        Event::PeerConnected { .. } | Event::PeerDisconnected { .. } => {
            state.due.status = state.due.status.min(state.now_ms + GATHER_MS);
        }
        Event::Lagged { .. } => everything(state),
        // Gaps, and what newer versions bring: the store knows.
        _ if told.kind.starts_with("event.") => everything(state),
        _ => {}
    }
}

fn everything(state: &mut State) {
    state.due.refresh.get_or_insert(state.now_ms + GATHER_MS);
    state.due.members.get_or_insert(state.now_ms + GATHER_MS);
    lists_soon(state);
}

fn lists_soon(state: &mut State) {
    state.due.lists.get_or_insert(state.now_ms + GATHER_MS);
}

fn members_soon(state: &mut State, room: RoomId) {
    if state.here == Some(room) {
        state.due.members.get_or_insert(state.now_ms + GATHER_MS);
    }
}

fn refresh_if_here(state: &mut State, room: RoomId) {
    if state.here == Some(room) {
        state.due.refresh.get_or_insert(state.now_ms + GATHER_MS);
    }
}

/// A line, or a change of one.
fn added(state: &mut State, wishes: &mut Vec<Wish>, message: Message) {
    let room = message.room;
    if let Some(target) = message.target {
        if state.timelines.get(&room).is_some_and(|t| t.index(target).is_some()) {
            changed(state, wishes, room, target);
        }
        if matches!(message.kind, Kind::Edit | Kind::Delete) {
            recount(state, wishes, room);
        }
        return;
    }
    if !message.kind.is_line() {
        return;
    }
    if !is_speech(message.kind) {
        members_soon(state, room);
        // A new name is also that of all earlier lines.
        if message.kind == Kind::Profile && message.seq > 0 {
            refresh_if_here(state, room);
        }
        if message.own {
            state.due.status = state.due.status.min(state.now_ms + GATHER_MS);
        }
    } else if !message.own {
        state.typing.remove(&room);
        heard(state, wishes, &message);
    }
    if let Some(reply) = message.reply_to {
        quote(state, wishes, room, reply);
    }
    let follows = reads(state, room);
    let Some(timeline) = state.timelines.get_mut(&room) else { return };
    if !follows && timeline.unread_from.is_none() && !message.own && is_speech(message.kind) {
        timeline.unread_from = Some(message.journal);
    }
    if message.own && is_speech(message.kind) && state.here == Some(room) {
        // Who speaks has seen what is new.
        timeline.unread_from = None;
    }
    if !timeline.append(message) {
        refresh_if_here(state, room);
    }
}

/// A message was changed: what is deleted is not unread, and calls nobody any more.
fn recount(state: &mut State, wishes: &mut Vec<Wish>, room: RoomId) {
    let seen = reads(state, room);
    let Some(unread) = state.chat_of(room).filter(|c| c.unread > 0 && !seen).map(|c| c.unread)
    else {
        return;
    };
    lists_soon(state);
    let limit = unread.min(MENTIONS_LOOKED_AT_MAX);
    ask(state, wishes, Tag::Mentions(room), "message.list", json!({"room": room, "limit": limit}));
}

/// Somebody said something: count it, and draw attention if that is wanted.
fn heard(state: &mut State, wishes: &mut Vec<Wish>, message: &Message) {
    let called = calls(state, message);
    let seen = reads(state, message.room);
    if state.chat_of(message.room).is_none() {
        lists_soon(state);
    }
    if let Some(chat) = state.chat_mut(message.room).filter(|_| !seen) {
        chat.unread += 1;
        chat.mentions += u64::from(called);
    }
    if !seen && let Some(notice) = notify::notice(state, message, called) {
        notify::tell(state, wishes, message.room, notice);
    }
}

/// Asks for a quoted message that is not in the window.
pub fn quote(
    state: &mut State,
    wishes: &mut Vec<Wish>,
    room: RoomId,
    id: klatch_core::ids::EntryId,
) {
    if state.quotes.contains_key(&id)
        || state.timelines.get(&room).is_some_and(|t| t.index(id).is_some())
    {
        return;
    }
    if state.quotes.len() >= super::state::QUOTES_MAX {
        state.quotes.clear();
    }
    state.quotes.insert(id, (String::new(), String::new()));
    ask(
        state,
        wishes,
        Tag::Quote(room, id),
        "message.get",
        json!({"room": room, "message_id": id}),
    );
}

fn left(state: &mut State, wishes: &mut Vec<Wish>, room: RoomId) {
    state.chats.retain(|c| c.room != room);
    lists_soon(state);
    if state.here == Some(room) {
        super::answers::somewhere_else(state, wishes, room);
    }
}

fn contact(state: &mut State, room: RoomId, name: &str, news: ContactNews) {
    lists_soon(state);
    refresh_if_here(state, room);
    // Whom the user can be sure of changes who is marked.
    state.due.members.get_or_insert(state.now_ms + GATHER_MS);
    match news {
        ContactNews::Requested => state.say(&format!("{name} wants to write to you: see REQUESTS in the list")),
        ContactNews::KeysChanged => state.warn(&format!(
            "the keys of {name}, whom you verified, have CHANGED: /verify @{name} again before you trust what comes"
        )),
        ContactNews::Impersonated => {
            state.warn(&format!("somebody else uses the name of {name}, whom you verified: /whois @{name}"));
        }
        ContactNews::SessionReset => state.say(&format!("the encrypted session with {name} was set up again")),
        _ => {}
    }
}

fn name_of(state: &State, room: RoomId) -> String {
    state.chat_of(room).map_or_else(|| room.short(), Chat::typed)
}

/// One line for the log of the network view.
fn describe(state: &State, told: &Told) -> String {
    let name = |room: &RoomId| name_of(state, *room);
    match &told.event {
        Event::MessageAdded { message } => {
            let who = author(message, &state.me.name);
            let bytes = message.text.len();
            let kind = format!("{:?}", message.kind).to_lowercase();
            format!("{kind} {} {who}, {bytes} B", name(&message.room))
        }
        Event::HistoryAdded { room, count, .. } => format!("history {} +{count}", name(room)),
        Event::DeliveryChanged { room, upto_seq, state: now, .. } => {
            format!("delivery {} up to {upto_seq}: {}", name(room), lines::state(*now))
        }
        Event::PresenceChanged { room, name: who, name_mark, online, .. } => {
            let who = marked(who.clone(), name_mark.as_deref());
            format!("presence {} {who} {}", name(room), if *online { "came" } else { "went" })
        }
        Event::Synced { room } => format!("synced {}", name(room)),
        Event::PeerConnected { peer_id, address, path } => {
            format!("peer {} connected, {}, {address}", tail(peer_id), theme::path(*path))
        }
        Event::PeerDisconnected { peer_id } => format!("peer {} gone", tail(peer_id)),
        Event::Typing { name, name_mark, typing, .. } => {
            let name = marked(name.clone(), name_mark.as_deref());
            format!("{name} {}", if *typing { "is typing" } else { "stopped typing" })
        }
        Event::ContactChanged { name, name_mark, news, .. } => {
            let name = marked(name.clone(), name_mark.as_deref());
            format!("contact {name}: {}", format!("{news:?}").to_lowercase())
        }
        Event::RoomJoined { name, .. } => format!("joined {name}"),
        Event::RoomLeft { room } => format!("left {}", name(room)),
        other => snippet(&format!("{} {other:?}", told.kind)),
    }
}

/// The end of a peer id: its beginning is the same for all.
pub fn tail(peer_id: &str) -> &str {
    /// Enough to tell peers apart.
    const CHARS: usize = 8;
    peer_id.char_indices().rev().nth(CHARS - 1).map_or(peer_id, |(at, _)| &peer_id[at..])
}
