//! What the node answered, taken into the state.

use std::collections::BTreeMap;

use klatch_core::command::Reply;
use klatch_core::event::Message;
use klatch_core::ids::{IdentityId, RoomId};
use klatch_core::query::{Access, Contact, Member, RoomSummary, Standing, Status, Verification};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::events::quote;
use super::fold::{ask, centre, go};
use super::overlay::Overlay;
use super::rows::{author, calls, is_speech};
use super::sending;
use super::state::{Chat, ChatKind, RTT_PEERS_MAX, RTTS_MAX, State, Tag, Wish};
use super::text::clean;
use super::timeline::{PAGE, Timeline};
use crate::act::{Effect, Here, Outcome, Shown, Tone};
use crate::command::join;
use crate::error::{Report, exit};
use crate::hints;
use crate::lines::Lines;
use crate::output::snippet;

/// Unread lines looked through for the own name: as many as the node gives at once.
pub(super) const MENTIONS_LOOKED_AT_MAX: u64 = 1_000;

/// Takes in the answer to a call.
pub fn answer(state: &mut State, wishes: &mut Vec<Wish>, tag: Tag, outcome: Result<Value, Report>) {
    state.asked.remove(&tag);
    match outcome {
        Ok(value) => answered(state, wishes, tag, value),
        Err(report) => failed(state, tag, &report),
    }
}

fn failed(state: &mut State, tag: Tag, report: &Report) {
    match tag {
        Tag::Sent(n) => sending::failed(state, n, report),
        Tag::Change(what) => state.fail(&report.clone().doing(what)),
        Tag::Join | Tag::JoinPrivate => state.fail(report),
        Tag::Search(_) | Tag::First(_) => state.fail(report),
        // These are asked again; the connection's own state is shown.
        _ if report.exit == exit::NO_NODE => {}
        // A node of an older kind knows no conversations.
        Tag::Contacts | Tag::Quiet | Tag::Quote(..) | Tag::Changed(..) | Tag::Mentions(_) => {}
        Tag::Newest(room) => {
            if let Some(timeline) = state.timelines.get_mut(&room).filter(|t| !t.loaded) {
                (timeline.loaded, timeline.at_start, timeline.at_end) = (true, true, true);
            }
            state.fail(report);
        }
        Tag::Older(room, _) | Tag::Newer(room, _) => {
            // Not again at each key: going to the end reads anew.
            if let Some(timeline) = state.timelines.get_mut(&room) {
                (timeline.at_start, timeline.at_end) = (true, true);
            }
            state.fail(report);
        }
        Tag::Status | Tag::Members(_) => state.fail(report),
    }
}

fn parse<T: DeserializeOwned>(state: &mut State, value: Value) -> Option<T> {
    match serde_json::from_value(value) {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            state.warn(&format!(
                "the node's answer is not understood ({error}): it may be of another version"
            ));
            None
        }
    }
}

fn answered(state: &mut State, wishes: &mut Vec<Wish>, tag: Tag, value: Value) {
    match tag {
        Tag::Status => {
            if let Some(status) = parse::<Status>(state, value) {
                status_came(state, wishes, status);
            }
        }
        Tag::Contacts => {
            if let Some(contacts) = parse::<Vec<Contact>>(state, value) {
                contacts_came(state, wishes, contacts);
            }
        }
        Tag::Members(room) => {
            if let Some(members) = parse::<Vec<Member>>(state, value) {
                marks_came(state, room, &members);
                state.members.insert(room, members);
            }
        }
        Tag::Newest(room) => {
            with_page(state, wishes, room, value, |timeline, page| timeline.newest_page(page, PAGE))
        }
        Tag::Older(room, before) => {
            with_page(state, wishes, room, value, |timeline, page| {
                timeline.older_page(before, page, PAGE)
            });
            centre(state);
        }
        Tag::Newer(room, after) => {
            with_page(state, wishes, room, value, |timeline, page| {
                timeline.newer_page(after, page, PAGE)
            });
            centre(state);
        }
        Tag::First(room) => {
            let Some(page) = parse::<Vec<Message>>(state, value) else { return };
            let first = page.into_iter().find(|m| m.target.is_none() && m.kind.is_line());
            if let (Some(first), true) = (first, state.here == Some(room)) {
                if let Some(timeline) = state.timeline_mut() {
                    timeline.jump(first);
                }
                state.say("End goes back to the newest line");
            }
        }
        Tag::Changed(room, _) => {
            if let (Some(message), Some(timeline)) =
                (parse::<Message>(state, value), state.timelines.get_mut(&room))
            {
                timeline.replace(&message);
            }
        }
        Tag::Quote(_, id) => {
            if let Some(message) = parse::<Message>(state, value) {
                // No words: it was deleted.
                let words = if message.deleted { String::new() } else { snippet(&message.text) };
                state.quotes.insert(id, (author(&message, &state.me.name), words));
            }
        }
        Tag::Mentions(room) => {
            if let Some(page) = parse::<Vec<Message>>(state, value) {
                count_mentions(state, wishes, room, &page);
            }
        }
        Tag::Search(n) => {
            let Some(page) = parse::<Vec<Message>>(state, value) else { return };
            if let Some(Overlay::Search { number, found, at, .. }) = &mut state.overlay
                && *number == n
            {
                *at = page.len().saturating_sub(1);
                *found = Some(page);
            }
        }
        Tag::Join => {
            if let Some(Reply::Joined { room, name, already, .. }) = parse(state, value) {
                state.opened = Some(room).filter(|_| !already);
                arrive(state, wishes, room, &name, ChatKind::Room(Access::Open));
            }
        }
        Tag::JoinPrivate => {
            if let Some(Reply::Joined { room, name, already, .. }) = parse(state, value) {
                state.opened = Some(room).filter(|_| !already);
                arrive(state, wishes, room, &name, ChatKind::Room(Access::Passphrase));
                let words = crate::words::of_room(&room);
                state.say(&format!(
                    "you are in {name} (passphrase); its words, the same for all in it: {words}"
                ));
                state.wrote = true;
            }
        }
        Tag::Sent(n) => sending::stored(state, n),
        Tag::Change(_) => state.wrote = true,
        Tag::Quiet => {}
    }
}

fn with_page(
    state: &mut State,
    wishes: &mut Vec<Wish>,
    room: RoomId,
    value: Value,
    take: impl FnOnce(&mut Timeline, Vec<Message>),
) {
    let Some(page) = parse::<Vec<Message>>(state, value) else { return };
    let unread = state.chat_of(room).map_or(0, |c| c.unread);
    let replies: Vec<_> = page.iter().filter_map(|m| m.reply_to).collect();
    let Some(timeline) = state.timelines.get_mut(&room) else { return };
    let first = !timeline.loaded;
    take(timeline, page);
    if first && unread > 0 {
        timeline.unread_from = first_unread(timeline, unread);
    }
    for reply in replies {
        quote(state, wishes, room, reply);
    }
}

/// The journal number from which on lines are new, if so many are unread: the n-th newest line of
/// others by arrival.
pub fn first_unread(timeline: &Timeline, unread: u64) -> Option<u64> {
    let others = timeline.lines.iter().filter(|m| !m.own && is_speech(m.kind));
    let mut journals: Vec<u64> = others.map(|m| m.journal).collect();
    journals.sort_unstable_by(|a, b| b.cmp(a));
    journals.truncate(usize::try_from(unread).unwrap_or(usize::MAX));
    journals.last().copied()
}

fn status_came(state: &mut State, wishes: &mut Vec<Wish>, status: Status) {
    state.me.name.clone_from(&status.name);
    state.me.device = Some(status.device);
    state.me.typing = status.typing;
    if status.read_only && !state.status.as_ref().is_some_and(|s| s.read_only) {
        state.warn(
            "the disk is full or fails: nothing new is stored until there is space again; \
             what you write stays here",
        );
    }
    for peer in &status.peers {
        if !state.rtts.contains_key(&peer.peer_id) && state.rtts.len() >= RTT_PEERS_MAX {
            let gone = state
                .rtts
                .keys()
                .find(|id| !status.peers.iter().any(|p| p.peer_id == **id))
                .cloned();
            match gone {
                Some(gone) => drop(state.rtts.remove(&gone)),
                None => continue,
            }
        }
        if let Some(rtt) = peer.rtt_ms {
            let known = state.rtts.entry(peer.peer_id.clone()).or_default();
            if known.len() >= RTTS_MAX {
                known.pop_front();
            }
            known.push_back(rtt);
        }
    }
    rooms_came(state, wishes, &status.rooms);
    if let Some(this) = status.rooms.iter().find(|r| state.opened == Some(r.room)) {
        state.opened = None;
        if let Some(doubt) = join::doubt(&status.rooms, this) {
            state.warn(&doubt);
        }
    }
    state.status = Some(status);
}

fn rooms_came(state: &mut State, wishes: &mut Vec<Wish>, rooms: &[RoomSummary]) {
    let mut chats: Vec<Chat> = Vec::new();
    for room in rooms.iter().filter(|r| !r.left) {
        chats.push(Chat {
            room: room.room,
            name: room.name.clone(),
            mark: room.name_mark.clone(),
            kind: ChatKind::Room(room.access),
            online: room.online,
            members: room.members,
            unread: room.unread,
            mentions: 0,
            queued: room.queued,
            full: room.over_budget,
            behind: room.behind,
        });
    }
    take_over(state, wishes, chats, false);
}

/// Whoever got a namesake, or lost one, is shown so in the lines that are there already.
fn marks_came(state: &mut State, room: RoomId, members: &[Member]) {
    let marks: BTreeMap<_, _> = members.iter().map(|m| (m.device, &m.name_mark)).collect();
    let Some(timeline) = state.timelines.get_mut(&room) else { return };
    let mut changed = false;
    for line in timeline.lines.iter_mut().filter(|line| !line.own) {
        if let Some(mark) = marks.get(&line.device).filter(|mark| line.name_mark != ***mark) {
            line.name_mark.clone_from(mark);
            changed = true;
        }
    }
    if changed {
        // What is quoted from beyond the window is asked for again with it.
        state.quotes.clear();
        state.due.refresh.get_or_insert(state.now_ms + super::fold::GATHER_MS);
    }
}

fn contacts_came(state: &mut State, wishes: &mut Vec<Wish>, contacts: Vec<Contact>) {
    let mut chats: Vec<Chat> = Vec::new();
    let here = state.here;
    let shown = |c: &Contact| c.standing != Standing::Blocked || here == Some(c.room);
    for contact in contacts.into_iter().filter(shown) {
        let kind = match contact.standing {
            Standing::Requested => ChatKind::Request(contact.identity),
            Standing::Blocked => ChatKind::Blocked(contact.identity),
            _ => ChatKind::Direct(contact.identity, contact.verification),
        };
        chats.push(Chat {
            room: contact.room,
            name: format!("@{}", contact.name),
            mark: contact.name_mark,
            kind,
            online: u32::from(contact.online),
            members: 2,
            unread: contact.unread,
            mentions: 0,
            queued: 0,
            full: false,
            behind: false,
        });
    }
    chats.sort_by_key(|c| match c.kind {
        ChatKind::Request(_) => 1,
        ChatKind::Blocked(_) => 2,
        ChatKind::Room(_) | ChatKind::Direct(..) => 0,
    });
    take_over(state, wishes, chats, true);
}

/// Puts one half of the list in the place of its older self: rooms, or conversations.
fn take_over(state: &mut State, wishes: &mut Vec<Wish>, mut chats: Vec<Chat>, direct: bool) {
    let here = state.here;
    let reading = here.is_some_and(|room| super::fold::reads(state, room));
    for chat in &mut chats {
        if reading && here == Some(chat.room) {
            (chat.unread, chat.mentions) = (0, 0);
            continue;
        }
        let caught_up = state.caught_up.contains_key(&chat.room) && !direct && chat.unread > 0;
        match state.chats.iter().find(|c| c.room == chat.room) {
            Some(old) if !caught_up => chat.mentions = old.mentions.min(chat.unread),
            old if chat.unread > 0 && !direct => {
                chat.mentions = old.map_or(0, |old| old.mentions.min(chat.unread));
                let limit = chat.unread.min(MENTIONS_LOOKED_AT_MAX);
                let params = json!({"room": chat.room, "limit": limit});
                ask(state, wishes, Tag::Mentions(chat.room), "message.list", params);
            }
            _ => {}
        }
    }
    let told: Vec<(RoomId, u64)> = match direct {
        true => chats.iter().map(|c| (c.room, c.unread)).collect(),
        // Nothing is unread where others read on this profile meanwhile.
        false => chats.iter().filter(|c| c.unread == 0).map(|c| (c.room, 0)).collect(),
    };
    // A place just entered may be younger than this answer; that it was left is told by itself.
    let begun = state.chats.iter().filter(|c| c.is_direct() == direct && here == Some(c.room));
    let begun: Vec<Chat> =
        begun.filter(|c| !chats.iter().any(|n| n.room == c.room)).cloned().collect();
    chats.extend(begun);
    let other = std::mem::take(&mut state.chats).into_iter().filter(|c| c.is_direct() != direct);
    state.chats = if direct {
        other.chain(chats).collect()
    } else {
        chats.into_iter().chain(other).collect()
    };
    for (room, unread) in told {
        super::notify::caught_up(state, wishes, room, unread, 0);
    }
    if let Some(here) = here
        && state.chat_of(here).is_none()
    {
        somewhere_else(state, wishes, here);
    }
    if state.here.is_none()
        && let Some(first) = state.chats.first().map(|c| c.room)
    {
        go(state, wishes, first);
    }
}

fn count_mentions(state: &mut State, wishes: &mut Vec<Wish>, room: RoomId, page: &[Message]) {
    let called = page.iter().filter(|m| calls(state, m)).count() as u64;
    let Some(chat) = state.chat_mut(room) else { return };
    let before = chat.mentions;
    chat.mentions = called.min(chat.unread);
    let (unread, new) = (chat.unread, chat.mentions.saturating_sub(before));
    super::notify::caught_up(state, wishes, room, unread, new);
}

/// What a place is, before the lists say more.
pub fn kind_of(here: &Here) -> ChatKind {
    match here.direct {
        true => ChatKind::Direct(IdentityId([0; 32]), Verification::Unverified),
        false => ChatKind::Room(Access::Open),
    }
}

/// Goes to a place that may not be in the list yet.
pub fn arrive(state: &mut State, wishes: &mut Vec<Wish>, room: RoomId, name: &str, kind: ChatKind) {
    if state.chat_of(room).is_none() {
        let chat = Chat {
            room,
            name: name.to_owned(),
            mark: None,
            kind,
            online: 0,
            members: 1,
            unread: 0,
            mentions: 0,
            queued: 0,
            full: false,
            behind: false,
        };
        let at = if chat.is_direct() {
            state.chats.len()
        } else {
            state.chats.iter().filter(|c| !c.is_direct()).count()
        };
        state.chats.insert(at, chat);
    }
    state.due.lists.get_or_insert(state.now_ms);
    go(state, wishes, room);
}

/// The place where the user was is no more: back to the one before it.
pub fn somewhere_else(state: &mut State, wishes: &mut Vec<Wish>, room: RoomId) {
    state.visits.retain(|r| *r != room);
    state.chats.retain(|c| c.room != room);
    let before = state.visits.iter().rev().find(|r| state.chat_of(**r).is_some()).copied();
    match before.or_else(|| state.chats.first().map(|c| c.room)) {
        Some(next) => go(state, wishes, next),
        None => {
            super::fold::keep_draft(state);
            state.here = None;
        }
    }
}

/// Takes in what a slash command came to.
pub fn acted(state: &mut State, wishes: &mut Vec<Wish>, outcome: Result<Outcome, Report>) {
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(report) => return state.fail(&report),
    };
    state.wrote |= outcome.wrote;
    match outcome.effect {
        Effect::Stay => {}
        Effect::Go(here) => {
            let kind = kind_of(&here);
            state.opened = Some(here.room).filter(|_| outcome.wrote && !here.direct);
            arrive(state, wishes, here.room, &here.name, kind);
        }
        Effect::Left(room) => {
            state.chats.retain(|c| c.room != room);
            if state.here == Some(room) {
                somewhere_else(state, wishes, room);
            }
        }
        Effect::Clear => {
            if let Some(timeline) = state.timeline_mut() {
                timeline.lines.clear();
                timeline.follow_end();
            }
        }
        Effect::Confirm { question, action } => state.question = Some((question, *action)),
        Effect::Quit { lock } => state.quit = Some(lock),
    }
    // What was said before belongs to the place before.
    show(state, outcome.shown);
    state.due.lists.get_or_insert(state.now_ms);
}

/// One line goes below the timeline, more of them over it.
fn show(state: &mut State, shown: Vec<Shown>) {
    let mut lines: Vec<String> = Vec::new();
    let mut loud = false;
    // The lines that plain mode and `klatch log` print.
    let mut as_lines = Lines::in_zone(state.zone.clone());
    let place = state.chat().map_or_else(String::new, |c| c.place().name);
    for one in shown {
        match one {
            Shown::Text { tone, text, .. } => {
                loud |= tone == Tone::Warning;
                let text = hints::in_chat(&text);
                lines.extend(text.lines().map(|l| clean(&l.replace('\t', "  "))));
            }
            Shown::Found(message) => {
                let line = as_lines.line(&message, &place).with_id(message.id).text();
                lines.extend(line.lines().map(clean));
            }
        }
    }
    match (lines.len(), loud) {
        (0, _) => {}
        (1, true) => state.warn(&lines[0]),
        (1, false) => state.say(&lines[0]),
        _ => state.overlay = Some(Overlay::Panel { title: "Answer".to_owned(), lines, top: 0 }),
    }
}
