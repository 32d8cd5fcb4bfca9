//! The only place where the screen's state changes: state and input in, wishes out. No clock, no
//! terminal, no socket: time comes with each input, and whatever has to be done outside is a wish.

use klatch_core::ids::{EntryId, RoomId};
use serde_json::{Value, json};

use super::overlay::Overlay;
use super::rows::{Look, is_speech};
use super::state::{ChatKind, Input, State, TIMELINES_MAX, Tag, View, Wish};
use super::timeline::{PAGE, Timeline};
use super::{answers, events, keys, layout, mouse, paste, sending};

/// What the node does is asked this often while nothing happens, milliseconds.
const STATUS_MS: u64 = 5_000;
/// And this often while it is looked at.
const STATUS_LOOKED_AT_MS: u64 = 2_000;
/// News that come in crowds are gathered for this time, milliseconds.
pub const GATHER_MS: u64 = 120;
/// The other side hears that one goes on writing this often, milliseconds.
const TYPING_AGAIN_MS: u64 = 4_000;
/// Drafts kept: one per room in which something was begun.
pub const DRAFTS_MAX: usize = 50;
/// Rooms visited, for going back.
const VISITS_MAX: usize = 32;

/// The first wishes.
pub fn start(state: &mut State) -> Vec<Wish> {
    let mut wishes = Vec::new();
    state.due.status = state.now_ms + STATUS_MS;
    ask(state, &mut wishes, Tag::Status, "node.status", json!({}));
    ask(state, &mut wishes, Tag::Contacts, "contact.list", json!({}));
    wishes
}

/// Takes in what happened at `now_ms` (Unix milliseconds).
pub fn fold(state: &mut State, now_ms: u64, input: Input) -> Vec<Wish> {
    state.now_ms = state.now_ms.max(now_ms);
    let mut wishes = Vec::new();
    match input {
        Input::Key(key) => keys::key(state, &mut wishes, key),
        Input::Keys(crowd) => {
            if !paste::crowd(state, &crowd) {
                for key in crowd {
                    keys::key(state, &mut wishes, key);
                    if state.quit.is_some() {
                        break;
                    }
                }
            }
        }
        Input::Paste(text) => paste::marked(state, &text),
        Input::Mouse(event) => mouse::mouse(state, &mut wishes, event),
        Input::Resize(columns, rows) => state.size = (columns, rows),
        Input::Focus(focused) => state.focused = focused,
        Input::Told(told) => events::told(state, &mut wishes, *told),
        Input::Answer(tag, outcome) => answers::answer(state, &mut wishes, tag, outcome),
        Input::Acted(outcome) => answers::acted(state, &mut wishes, outcome.map(|o| *o)),
        Input::Refused(place, typed, report) => {
            state.fail(&report);
            // A slip can be mended, unless something else is written meanwhile.
            if state.here == place && state.composer.is_empty() && state.composer.is_draft() {
                state.composer.set(&typed);
            }
        }
        Input::Passphrase(new) => {
            if let Some(Overlay::Secret { offered, .. }) = &mut state.overlay {
                *offered = Some(new);
            }
        }
        Input::Log(line) => state.record(&line),
        Input::Lost(why, unanswered) => lost(state, &mut wishes, &why, unanswered),
        Input::Failed(what) => state.warn(&what),
        Input::Unkept(what) => {
            state.record(&what);
            // What became of a message matters more than what becomes of a draft.
            if state.note.as_ref().is_none_or(|note| !note.warning) {
                state.warn(&what);
            }
        }
        Input::Found => found(state, &mut wishes),
        Input::Tick => {}
    }
    tick(state, &mut wishes);
    page(state, &mut wishes);
    read(state, &mut wishes);
    wishes
}

/// Asks something, unless the same is being asked already. Whether it was asked now.
pub fn ask(
    state: &mut State,
    wishes: &mut Vec<Wish>,
    tag: Tag,
    method: &'static str,
    params: Value,
) -> bool {
    let repeats = matches!(
        tag,
        Tag::Sent(_) | Tag::Change(_) | Tag::Quiet | Tag::Join | Tag::JoinPrivate | Tag::Search(_)
    );
    if !repeats && !state.asked.insert(tag.clone()) {
        return false;
    }
    wishes.push(Wish::Call { tag, method, params });
    true
}

/// The node is gone: whoever waited for an answer is told, but for texts, which wait on.
fn lost(state: &mut State, wishes: &mut Vec<Wish>, why: &str, unanswered: Vec<Tag>) {
    state.down = Some(super::text::clean(why));
    for tag in unanswered {
        answers::answer(state, wishes, tag, Err(crate::error::Report::gone()));
    }
    state.asked.clear();
    if state.sealed {
        seal(state);
    }
}

/// The keys went with the node: nothing of what they opened stays, but the own words half written,
/// which are nowhere else.
fn seal(state: &mut State) {
    state.timelines.clear();
    state.members.clear();
    state.quotes.clear();
    state.rtts.clear();
    state.status = None;
    state.log.clear();
    state.typing.clear();
    state.held = super::notify::Held::default();
    (state.overlay, state.note) = (None, None);
}

/// The node is there again: everything is read anew, because events may have been missed.
fn found(state: &mut State, wishes: &mut Vec<Wish>) {
    state.down = None;
    state.asked.clear();
    state.say("the node is there again");
    let here = state.here;
    state.timelines.retain(|room, _| Some(*room) == here);
    if let Some(room) = here {
        state.timelines.entry(room).or_insert_with(|| Timeline::new(room));
    }
    sending::again(state, wishes);
    wishes.extend(start(state));
    state.due.refresh = Some(state.now_ms);
    state.due.members = Some(state.now_ms);
}

/// What is due by time.
fn tick(state: &mut State, wishes: &mut Vec<Wish>) {
    let now = state.now_ms;
    if state.note.as_ref().is_some_and(|n| n.until_ms <= now) {
        state.note = None;
    }
    state.typing.retain(|_, (_, until)| *until > now);
    if state.down.is_some() {
        state.due.status = now + STATUS_MS;
        (state.due.refresh, state.due.members, state.due.lists) = (None, None, None);
    }
    if state.due.status <= now {
        let every = if state.view == View::Network { STATUS_LOOKED_AT_MS } else { STATUS_MS };
        state.due.status = now + every;
        ask(state, wishes, Tag::Status, "node.status", json!({}));
    }
    if take(&mut state.due.lists, now) {
        ask(state, wishes, Tag::Status, "node.status", json!({}));
        ask(state, wishes, Tag::Contacts, "contact.list", json!({}));
    }
    if take(&mut state.due.refresh, now) {
        refresh(state, wishes);
    }
    if take(&mut state.due.members, now)
        && let Some(room) = state.here
        && state.chat().is_some_and(|c| !c.is_direct())
    {
        ask(state, wishes, Tag::Members(room), "room.members", json!({"room": room}));
    }
    if take(&mut state.due.notices, now) {
        super::notify::tell_held(state, wishes);
    }
    if take(&mut state.due.search, now) {
        search(state, wishes);
    }
    if take(&mut state.due.keep, now) && state.unkept {
        state.unkept = false;
        wishes.push(Wish::Keep);
    }
}

fn take(due: &mut Option<u64>, now: u64) -> bool {
    let is = due.is_some_and(|at| at <= now);
    if is {
        *due = None;
    }
    is
}

fn search(state: &mut State, wishes: &mut Vec<Wish>) {
    let Some(room) = state.here else { return };
    let Some(Overlay::Search { field, number, found, .. }) = &mut state.overlay else { return };
    if field.trim().is_empty() {
        *found = None;
        return;
    }
    *number += 1;
    let params = json!({"room": room, "search": field.trim(), "limit": super::overlay::FOUND_MAX});
    let tag = Tag::Search(*number);
    ask(state, wishes, tag, "message.list", params);
}

/// Reads the end of the room again: delivery states, order, and what came in crowds.
fn refresh(state: &mut State, wishes: &mut Vec<Wish>) {
    let Some(room) = state.here else { return };
    let asked =
        ask(state, wishes, Tag::Newest(room), "message.list", json!({"room": room, "limit": PAGE}));
    if !asked {
        // The answer on its way may be too old.
        state.due.refresh = Some(state.now_ms + GATHER_MS);
    }
    // Own lines that are older than that page, and on the screen.
    let Some(timeline) = state.timelines.get(&room) else { return };
    let older = timeline.lines.len().saturating_sub(if timeline.at_end { PAGE } else { 0 });
    let near = timeline.bottom_index().saturating_sub(usize::from(state.size.1))
        ..older.min(timeline.bottom_index() + 1);
    let near = if near.start < near.end { near } else { 0..0 };
    let open = |m: &&klatch_core::event::Message| {
        m.own
            && is_speech(m.kind)
            && !matches!(m.state, Some(klatch_core::event::Delivery::Delivered { n, m }) if n >= m)
    };
    let ids: Vec<EntryId> = timeline.lines.range(near).filter(open).map(|m| m.id).collect();
    for id in ids {
        changed(state, wishes, room, id);
    }
}

/// Reads one line again.
pub fn changed(state: &mut State, wishes: &mut Vec<Wish>, room: RoomId, id: EntryId) {
    if !ask(
        state,
        wishes,
        Tag::Changed(room, id),
        "message.get",
        json!({"room": room, "message_id": id}),
    ) {
        state.due.refresh.get_or_insert(state.now_ms + GATHER_MS);
    }
}

/// Asks for lines beyond the window where the screen comes near its edge.
fn page(state: &mut State, wishes: &mut Vec<Wish>) {
    if state.down.is_some() {
        return;
    }
    let Some(timeline) = state.timeline() else { return };
    let (room, older, newer) = (timeline.room, timeline.wants_older(), timeline.wants_newer());
    if let Some(before) = older {
        let params = json!({"room": room, "before": before, "limit": PAGE});
        ask(state, wishes, Tag::Older(room, before), "message.list", params);
    }
    if let Some(after) = newer {
        let params = json!({"room": room, "after": after, "limit": PAGE});
        ask(state, wishes, Tag::Newer(room, after), "message.list", params);
    }
}

/// Whether the newest lines of a room are before the user's eyes.
pub fn reads(state: &State, room: RoomId) -> bool {
    state.here == Some(room)
        && state.focused
        && state.view == View::Chat
        && state.timelines.get(&room).is_some_and(Timeline::follows)
}

/// Tells the node what was read.
fn read(state: &mut State, wishes: &mut Vec<Wish>) {
    let Some(room) = state.here else { return };
    if !reads(state, room) || state.down.is_some() {
        return;
    }
    if let Some(chat) = state.chat_mut(room) {
        (chat.unread, chat.mentions) = (0, 0);
    }
    super::notify::seen(state, room);
    let Some(timeline) = state.timelines.get_mut(&room) else { return };
    let upto = timeline.newest();
    if upto > timeline.marked {
        timeline.marked = upto;
        ask(state, wishes, Tag::Quiet, "room.mark_read", json!({"room": room, "upto": upto}));
    }
}

/// Goes to a room or conversation of the list.
pub fn go(state: &mut State, wishes: &mut Vec<Wish>, room: RoomId) {
    (state.overlay, state.view) = (None, View::Chat);
    if state.here == Some(room) {
        return;
    }
    leave_place(state);
    state.note.take_if(|note| note.place.is_some());
    state.list_top = None;
    state.here = Some(room);
    state.visits.retain(|r| *r != room);
    state.visits.push(room);
    if state.visits.len() > VISITS_MAX {
        state.visits.remove(0);
    }
    let kept: Vec<RoomId> = state.visits.iter().rev().take(TIMELINES_MAX).copied().collect();
    state.timelines.retain(|r, _| kept.contains(r));
    state.members.retain(|r, _| kept.contains(r));
    match state.halves.remove(&room) {
        Some(halves) => state.composer.come_back(halves),
        None => state.composer.set(&state.drafts.get(&room).cloned().unwrap_or_default()),
    }
    let unread = state.chat().map_or(0, |c| c.unread);
    let timeline = state.timelines.entry(room).or_insert_with(|| Timeline::new(room));
    if timeline.loaded && unread > 0 {
        timeline.unread_from = answers::first_unread(timeline, unread);
    }
    ask(state, wishes, Tag::Newest(room), "message.list", json!({"room": room, "limit": PAGE}));
    state.due.members = Some(state.now_ms);
    tick(state, wishes);
}

/// Keeps what was begun, and forgets what belonged to the old place.
fn leave_place(state: &mut State) {
    let Some(old) = state.here else { return };
    keep_draft(state);
    state.chats.retain(|c| c.room != old || !matches!(c.kind, ChatKind::Blocked(_)));
    if let Some(timeline) = state.timelines.get_mut(&old) {
        (timeline.unread_from, timeline.selected, timeline.centre) = (None, None, false);
    }
    let is_draft = state.composer.is_draft();
    let halves = state.composer.leave();
    if !is_draft {
        if state.halves.len() >= DRAFTS_MAX {
            state.halves.pop_first();
        }
        state.halves.insert(old, halves);
    }
    state.told_typing = None;
}

/// Remembers what is written here for the next visit.
pub fn keep_draft(state: &mut State) {
    let Some(room) = state.here else { return };
    let text = state.composer.draft();
    let changed = match (text.trim().is_empty(), state.drafts.get(&room)) {
        (true, _) => state.drafts.remove(&room).is_some(),
        (false, Some(old)) if *old == text => false,
        (false, _) => {
            if state.drafts.len() >= DRAFTS_MAX && !state.drafts.contains_key(&room) {
                state.drafts.pop_first();
            }
            state.drafts.insert(room, text);
            true
        }
    };
    if changed {
        state.keep_soon();
    }
}

/// Tells the other side that one is writing, if that is wanted.
pub fn tell_typing(state: &mut State, wishes: &mut Vec<Wish>) {
    let Some(chat) = state.chat() else { return };
    let (room, direct) = (chat.room, chat.is_direct());
    let text = state.composer.is_empty();
    let command = state.composer.area.lines().first().is_some_and(|l| l.starts_with('/'));
    if !direct || !state.me.typing || text || command {
        return;
    }
    if state
        .told_typing
        .is_none_or(|(told, at)| told != room || at + TYPING_AGAIN_MS <= state.now_ms)
    {
        state.told_typing = Some((room, state.now_ms));
        ask(state, wishes, Tag::Quiet, "message.typing", json!({"room": room, "typing": true}));
    }
}

/// Scrolls the timeline by rows; negative is up.
pub fn scroll(state: &mut State, rows: isize) {
    let area = layout::areas(state).timeline;
    let Some(room) = state.here else { return };
    let Some(timeline) = state.timelines.get(&room) else { return };
    let look = Look::new(state, timeline, area.width);
    let height = usize::from(area.height);
    let place = match usize::try_from(rows) {
        Ok(down) => timeline.below(down, |at| look.height(at)),
        Err(_) => timeline.above(rows.unsigned_abs(), height, |at| look.height(at)),
    };
    if let Some(timeline) = state.timelines.get_mut(&room) {
        timeline.stand(place);
    }
}

/// Moves the screen so that the selected line is on it.
pub fn show_selected(state: &mut State) {
    let area = layout::areas(state).timeline;
    let height = usize::from(area.height);
    let Some(timeline) = state.timeline() else { return };
    let Some(at) = timeline.selected.and_then(|id| timeline.index(id)) else { return };
    let bottom = timeline.bottom_index();
    let look = Look::new(state, timeline, area.width);
    let by = if at > bottom {
        isize::try_from((bottom + 1..=at).map(|i| look.height(i)).sum::<usize>()).unwrap_or(0)
            + isize::try_from(timeline.bottom.map_or(0, |(_, hidden)| hidden)).unwrap_or(0)
    } else {
        let below = timeline.bottom.map_or(0, |(_, hidden)| hidden);
        let tall: usize =
            (at..=bottom).map(|i| look.height(i)).sum::<usize>().saturating_sub(below);
        -isize::try_from(tall.saturating_sub(height)).unwrap_or(0)
    };
    if by != 0 {
        scroll(state, by);
    }
}

/// Puts the line jumped to into the middle, as far as lines on both sides are there.
pub fn centre(state: &mut State) {
    let height = usize::from(layout::areas(state).timeline.height);
    let Some(timeline) = state.timeline_mut() else { return };
    let Some(id) = timeline.selected.filter(|_| timeline.centre) else { return };
    timeline.bottom = Some((id, 0));
    scroll(state, isize::try_from(height / 2).unwrap_or(0));
}
