//! What each key does. The same list, in words, is in `KEYS`, which F1 and `klatch help keys` show.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde_json::json;

use super::fold::{ask, go, keep_draft, scroll, show_selected, tell_typing};
use super::overlay::Overlay;
use super::rows::is_speech;
use super::state::{Chat, ChatKind, State, Tag, View, Wish};
use super::{chosen, complete, layout, overlay_keys, paste, sending, vi};
use crate::slash::{self, Input};

/// Entries looked through for the first line: the first of a room say who came, or change
/// something.
const FIRST_MAX: u32 = 100;
/// Messages handed to the executor of commands, for `^`.
const RECENT_MAX: usize = 300;

/// Keys in words: heading, then key and meaning.
pub const KEYS: &[(&str, &[(&str, &str)])] = &[
    (
        "Write",
        &[
            ("Enter", "send; in the command mode of vi it sends nothing"),
            ("Alt+Enter, Ctrl+J", "begin a new line"),
            ("Tab, Shift+Tab", "take what is offered for a name, #room, /command or :emoji:"),
            ("Up, Down", "earlier texts while nothing is written, else move"),
            ("Ctrl+A E B W U Y", "as in a shell"),
            ("Alt+B F D, Alt+K", "as in a shell; Alt+K cuts to the end of the line"),
            ("Alt+R", "answer the selected message, or the newest"),
            ("Alt+E", "change your selected message, or your newest"),
            ("Alt+X", "put an emoji on the selected message, or the newest"),
            ("Esc", "cancel: answer, change, selection, completion"),
            ("Ctrl+C", "clear what is written; with nothing written: end"),
        ],
    ),
    (
        "Look",
        &[
            ("PgUp, PgDn", "scroll; Ctrl+U, Ctrl+D half a page while nothing is written"),
            ("Home", "to the first new line, or the oldest one, while nothing is written"),
            ("Ctrl+Home; End, Ctrl+End", "to the oldest line; to the newest"),
            ("Alt+Up, Alt+Down", "select a message; Ctrl+G copies it through the terminal"),
            ("Alt+L", "the links of the selected message, or the newest ones"),
            ("Enter", "with nothing written: show a folded message whole, or fold it again"),
            ("Ctrl+F", "search in this room; Enter shows the place"),
            ("F7", "show or hide the list of rooms"),
            ("F8, Alt+M", "show or hide the list of people"),
            ("F5", "network: peers, ways, round trips, events"),
            ("Ctrl+L", "redraw"),
        ],
    ),
    (
        "Go",
        &[
            ("Ctrl+K", "go to a room or person, or begin a command"),
            ("Alt+1 to Alt+9", "that row of the list"),
            ("Ctrl+N P, Alt+Right Left", "next and previous row"),
            ("Alt+A", "next unread one, first where somebody calls you"),
            ("F2, F4", "accept or block who wrote for the first time"),
            ("Alt+N", "notifications for this room: each message, mentions, none"),
            ("Ctrl+Z", "suspend; `fg` in the shell comes back"),
        ],
    ),
    (
        "--keymap vi",
        &[(
            "Esc, then",
            "h j k l w b e 0 $ x D dd cc dw cw u p i I a A o O, G gg, / searches, : begins a command",
        )],
    ),
];

/// A key.
pub fn key(state: &mut State, wishes: &mut Vec<Wish>, key: KeyEvent) {
    if key.kind == KeyEventKind::Release {
        return;
    }
    if paste::takes_keys(state) {
        return paste::answer(state, wishes, key);
    }
    if state.question.is_some() {
        return question(state, wishes, key);
    }
    if everywhere(state, wishes, key) {
        return;
    }
    if state.overlay.is_some() {
        return overlay_keys::key(state, wishes, key);
    }
    if state.view == View::Network {
        if overlay_keys::writes(state, key) {
            state.view = View::Chat;
            return writing(state, wishes, key);
        }
        return network(state, key);
    }
    if going(state, wishes, key) || looking(state, wishes, key) {
        return;
    }
    writing(state, wishes, key);
}

/// A paste, which goes to where keys go.
pub fn paste(state: &mut State, text: &str) {
    match &mut state.overlay {
        Some(Overlay::Switcher { field, at }) => {
            *at = 0;
            super::overlay::field_text(field, text);
        }
        Some(Overlay::Secret { field, taken, .. }) => {
            *taken = false;
            super::overlay::field_text(field, text);
        }
        Some(Overlay::Search { field, .. }) => {
            super::overlay::field_text(field, text);
            state.due.search = Some(state.now_ms + super::overlay::SEARCH_PAUSE_MS);
        }
        _ => {
            (state.overlay, state.view) = (None, View::Chat);
            if let Err(why) = state.composer.insert(text) {
                state.warn(&why);
            }
            keep_draft(state);
        }
    }
}

fn question(state: &mut State, wishes: &mut Vec<Wish>, key: KeyEvent) {
    let Some((_, action)) = state.question.take() else { return };
    if matches!(key.code, KeyCode::Char('y' | 'Y')) {
        act(state, wishes, action, "");
    } else {
        state.say("nothing was done");
    }
}

fn act(state: &State, wishes: &mut Vec<Wish>, action: slash::Action, typed: &str) {
    let here = state.chat().map(super::state::Chat::place);
    let lines = state.timeline().map(|t| &t.lines);
    let skip = lines.map_or(0, |l| l.len().saturating_sub(RECENT_MAX));
    let recent =
        lines.into_iter().flatten().skip(skip).filter(|m| is_speech(m.kind)).cloned().collect();
    wishes.push(Wish::Act { action, here, recent, typed: typed.to_owned() });
}

/// Keys that mean the same wherever one is.
fn everywhere(state: &mut State, wishes: &mut Vec<Wish>, key: KeyEvent) -> bool {
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::F(1) => {
            let open = matches!(state.overlay, Some(Overlay::Help(_)));
            state.overlay = if open { None } else { Some(Overlay::Help(0)) };
        }
        KeyCode::F(5) => {
            state.overlay = None;
            state.view = if state.view == View::Network { View::Chat } else { View::Network };
            state.due.status = state.now_ms;
        }
        KeyCode::F(7) => {
            let shown = layout::areas(state).list.width > 0;
            state.settings.list = Some(!shown);
        }
        KeyCode::F(8) => toggle_people(state),
        KeyCode::Char('l') if ctrl => wishes.push(Wish::Redraw),
        KeyCode::Char('z') if ctrl => wishes.push(Wish::Suspend),
        KeyCode::Char('c') if ctrl => interrupt(state),
        KeyCode::Char('k') if ctrl => {
            state.view = View::Chat;
            state.overlay = Some(Overlay::Switcher { field: String::new(), at: 0 });
        }
        KeyCode::Char('f') if ctrl && state.here.is_some() => {
            state.view = View::Chat;
            state.overlay =
                Some(Overlay::Search { field: String::new(), number: 0, found: None, at: 0 });
        }
        _ => return false,
    }
    true
}

fn toggle_people(state: &mut State) {
    if state.chat().is_some_and(super::state::Chat::is_direct) {
        return state.say("there are only the two of you here; /whois says more about a person");
    }
    let shown = layout::areas(state).people.width > 0;
    state.settings.people = Some(!shown);
    if !shown && layout::areas(state).people.width == 0 {
        state.say("the terminal is too narrow for the list of people; /users shows them");
    }
}

fn interrupt(state: &mut State) {
    if state.overlay.take().is_some() {
        return;
    }
    if !state.composer.is_empty() || !state.composer.is_draft() {
        let text = state.composer.take();
        state.composer.remember(&text);
        state.composer.done();
        keep_draft(state);
        state.say(match state.composer.is_empty() {
            true => "cleared; Up brings it back, Ctrl+C again ends",
            false => "cleared; this is what you were writing before",
        });
        return;
    }
    state.quit = Some(false);
}

fn network(state: &mut State, key: KeyEvent) {
    let page = usize::from(state.size.1 / 2).max(1);
    match key.code {
        KeyCode::Esc | KeyCode::Char('q') => state.view = View::Chat,
        KeyCode::Up => state.log_back += 1,
        KeyCode::PageUp => state.log_back += page,
        KeyCode::Down => state.log_back = state.log_back.saturating_sub(1),
        KeyCode::PageDown => state.log_back = state.log_back.saturating_sub(page),
        KeyCode::End => state.log_back = 0,
        _ => {}
    }
    state.log_back = state.log_back.min(state.log.len());
}

/// Keys that lead to another place.
fn going(state: &mut State, wishes: &mut Vec<Wish>, key: KeyEvent) -> bool {
    let (ctrl, alt) =
        (key.modifiers.contains(KeyModifiers::CONTROL), key.modifiers.contains(KeyModifiers::ALT));
    let here = state.here.and_then(|room| state.chats.iter().position(|c| c.room == room));
    let n = state.chats.len();
    let row = match key.code {
        KeyCode::Char(c @ '1'..='9') if alt => Some(c as usize - '1' as usize),
        KeyCode::Char('n') if ctrl => here.map(|at| (at + 1) % n.max(1)),
        KeyCode::Right if alt => here.map(|at| (at + 1) % n.max(1)),
        KeyCode::Char('p') if ctrl => here.map(|at| (at + n - 1) % n.max(1)),
        KeyCode::Left if alt => here.map(|at| (at + n - 1) % n.max(1)),
        KeyCode::Char('a') if alt => {
            let from = here.map_or(0, |at| at + 1);
            let order = (0..n).map(|k| (from + k) % n);
            let unread: Vec<usize> = order.filter(|at| state.chats[*at].unread > 0).collect();
            // Who calls by name comes first.
            let called =
                unread.iter().find(|at| state.chats[**at].mentions > 0).or(unread.first()).copied();
            if called.is_none() {
                state.say("nothing is unread");
            }
            called
        }
        _ => return false,
    };
    match row.map(|at| (at, state.chats.get(at).map(|c| c.room))) {
        Some((_, Some(room))) => go(state, wishes, room),
        Some((at, None)) => state.say(&format!("the list has no row {}", at + 1)),
        None => {}
    }
    true
}

/// Keys that move over the timeline or act on a message.
fn looking(state: &mut State, wishes: &mut Vec<Wish>, key: KeyEvent) -> bool {
    let (ctrl, alt) =
        (key.modifiers.contains(KeyModifiers::CONTROL), key.modifiers.contains(KeyModifiers::ALT));
    let empty = state.composer.is_empty();
    let height = isize::try_from(layout::areas(state).timeline.height).unwrap_or(1).max(1);
    match key.code {
        KeyCode::PageUp => scroll(state, -(height - 1).max(1)),
        KeyCode::PageDown => scroll(state, (height - 1).max(1)),
        KeyCode::Char('u') if ctrl && empty => scroll(state, -(height / 2).max(1)),
        KeyCode::Char('d') if ctrl && empty => scroll(state, (height / 2).max(1)),
        KeyCode::End if empty || ctrl => to_end(state, wishes),
        KeyCode::Home if empty && !ctrl => to_new(state, wishes),
        KeyCode::Home if ctrl => to_first(state, wishes, 0),
        KeyCode::Up if alt => {
            state.timeline_mut().into_iter().for_each(|t| t.select(true));
            show_selected(state);
        }
        KeyCode::Down if alt => {
            state.timeline_mut().into_iter().for_each(|t| t.select(false));
            show_selected(state);
        }
        KeyCode::Char('g') if ctrl => chosen::copy(state, wishes),
        KeyCode::Char('l') if alt => chosen::show_links(state, wishes),
        KeyCode::Char('r') if alt => chosen::reply(state),
        KeyCode::Char('e') if alt => chosen::edit(state),
        KeyCode::Char('x') if alt => chosen::react(state),
        KeyCode::Char('m') if alt => toggle_people(state),
        KeyCode::Char('n') if alt => loudness(state),
        KeyCode::F(2) => request(state, wishes, true),
        KeyCode::F(4) => request(state, wishes, false),
        KeyCode::Esc if state.composer.vi.is_none_or(|vi| vi.normal) => cancel(state),
        _ => return false,
    }
    true
}

/// To the newest line.
pub fn to_end(state: &mut State, wishes: &mut Vec<Wish>) {
    let Some(timeline) = state.timeline_mut() else { return };
    let room = timeline.room;
    if timeline.follow_end() {
        timeline.lines.clear();
        timeline.loaded = false;
        ask(
            state,
            wishes,
            Tag::Newest(room),
            "message.list",
            json!({"room": room, "limit": super::timeline::PAGE}),
        );
    }
}

/// To the first line that is new; where none is, to the first of all.
fn to_new(state: &mut State, wishes: &mut Vec<Wish>) {
    let new = state.timeline().and_then(|t| t.unread_from);
    to_first(state, wishes, new.unwrap_or(0));
}

/// To the line that came first, with or after a journal number.
fn to_first(state: &mut State, wishes: &mut Vec<Wish>, from: u64) {
    let Some(room) = state.here else { return };
    let params = json!({"room": room, "after": from.saturating_sub(1), "limit": FIRST_MAX});
    ask(state, wishes, Tag::First(room), "message.journal", params);
}

/// Esc: one thing at a time, the newest first.
fn cancel(state: &mut State) {
    if state.composer.completing.take().is_some() {
        return;
    }
    if !complete::offered(state).is_empty() {
        state.composer.closed = true;
        return;
    }
    // Not a text that somebody wrote in the place of a command.
    let begun = state.composer.is_empty() || state.composer.text().starts_with('/');
    if state.composer.edit.is_some() || (begun && state.composer.has_aside()) {
        let text = state.composer.take();
        state.composer.remember(&text);
        state.composer.done();
        return keep_draft(state);
    }
    if state.composer.reply.take().is_some() {
        return;
    }
    state.composer.bare = None;
    state.note = None;
    if let Some(timeline) = state.timeline_mut() {
        timeline.selected = None;
    }
}

fn loudness(state: &mut State) {
    let Some(room) = state.here else { return };
    let level = state.levels.get(&room).copied().unwrap_or_default().next();
    state.levels.insert(room, level);
    state.keep_soon();
    let name = state.chat().map(Chat::typed).unwrap_or_default();
    state.say(&format!("{name} notifies about: {}", level.words()));
}

fn request(state: &mut State, wishes: &mut Vec<Wish>, accept: bool) {
    let Some((who, name)) = state.chat().and_then(|c| match c.kind {
        ChatKind::Request(who) => Some((who, c.typed())),
        _ => None,
    }) else {
        let waits = state.chats.iter().position(|c| matches!(c.kind, ChatKind::Request(_)));
        return state.say(&match waits {
            Some(at @ 0..9) => format!(
                "F2 accepts and F4 blocks who writes for the first time: Alt+{} goes to the first",
                at + 1
            ),
            Some(_) => "F2 accepts and F4 blocks who writes for the first time: go there first, \
                        below REQUESTS"
                .to_owned(),
            None => "F2 accepts and F4 blocks who writes for the first time: nobody waits now"
                .to_owned(),
        });
    };
    let method = if accept { "contact.accept" } else { "contact.block" };
    ask(state, wishes, Tag::Change("cannot answer the request"), method, json!({"who": who}));
    state.say(&if accept {
        format!("{name} is a contact now")
    } else {
        format!("everything from {name} is refused from now on")
    });
    state.due.lists = Some(state.now_ms + super::fold::GATHER_MS);
}

/// Everything else belongs to the composer.
fn writing(state: &mut State, wishes: &mut Vec<Wish>, key: KeyEvent) {
    if vi::key(state, wishes, key) {
        return keep_draft(state);
    }
    let plain = !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    match key.code {
        KeyCode::Enter if plain => return enter(state, wishes),
        KeyCode::Tab | KeyCode::BackTab => {
            complete::tab(
                state,
                key.code == KeyCode::BackTab || key.modifiers.contains(KeyModifiers::SHIFT),
            );
            return keep_draft(state);
        }
        KeyCode::Up if plain && state.composer.recalls() => drop(state.composer.recall(true)),
        KeyCode::Down if plain && state.composer.recalls() => drop(state.composer.recall(false)),
        _ => match state.composer.key(key) {
            Ok(_) => {}
            Err(why) => state.warn(&why),
        },
    }
    keep_draft(state);
    tell_typing(state, wishes);
}

/// Shows the whole of a long text, or folds it again: the selected one, or the lowest on the
/// screen.
fn unfold(state: &mut State) {
    let area = layout::areas(state).timeline;
    let Some(timeline) = state.timeline() else { return };
    let look = super::rows::Look::new(state, timeline, area.width);
    let found = match timeline.selected.and_then(|id| timeline.index(id)) {
        Some(selected) => Some(selected).filter(|at| look.is_long(*at)),
        None => {
            let (bottom, mut left) = (timeline.bottom_index(), usize::from(area.height));
            (0..=bottom)
                .rev()
                .map_while(|at| {
                    let on_screen = left > 0;
                    left = left.saturating_sub(look.height(at));
                    on_screen.then_some(at)
                })
                .find(|at| look.is_long(*at))
        }
    };
    let id = found.and_then(|at| timeline.lines.get(at)).map(|m| m.id);
    if let (Some(id), Some(timeline)) = (id, state.timeline_mut())
        && !timeline.unfolded.remove(&id)
    {
        timeline.unfolded.insert(id);
    }
}

/// Sends, changes, or carries out what is written.
fn enter(state: &mut State, wishes: &mut Vec<Wish>) {
    complete::take_emoji(state);
    let mut text = state.composer.text();
    let bare = state.composer.bare.take();
    if state.composer.in_command_line() {
        if !text.starts_with('/') {
            return state.warn("nothing was sent: `:` begins a command; Esc goes back to the text");
        }
        if vi::QUITS.contains(&text.trim_start_matches('/').trim()) {
            text = "/quit".to_owned();
        }
    }
    match slash::parse(&text) {
        // What was said with a slash in front goes on being said.
        Ok(Input::Do(_)) | Err(_) if changes_slash(state, &text) => send(state, wishes, &text),
        Ok(Input::Empty) if state.composer.edit.is_some() => {
            state.warn("it cannot become empty: /delete deletes it, Esc keeps it");
        }
        Ok(Input::Empty) => unfold(state),
        Ok(Input::Bare(word)) if bare == Some(word) => send(state, wishes, &text),
        Ok(Input::Bare(word)) => {
            state.composer.bare = Some(word);
            let command = if word == "help" { "/help" } else { "/quit" };
            state.warn(&format!(
                "`{word}` was not sent: did you mean {command}? Enter again sends it"
            ));
        }
        Ok(Input::Text(said)) => send(state, wishes, &said),
        Ok(Input::Do(slash::Action::JoinPrivate(room))) => {
            let typed = state.composer.take();
            state.composer.remember(&typed);
            state.composer.done();
            let room = format!("#{}", room.trim_start_matches('#'));
            let field = String::new();
            state.note = None;
            state.overlay = Some(Overlay::Secret { room, field, offered: None, taken: false });
            wishes.push(Wish::Passphrase);
        }
        Ok(Input::Do(action)) => {
            let reply = state.composer.reply.clone();
            let typed = state.composer.take();
            state.composer.remember(&typed);
            if !state.composer.done() {
                // Whoever looks something up goes on answering.
                state.composer.reply = reply;
            }
            act(state, wishes, action, &typed);
        }
        Err(why) => state.warn(&why.to_string()),
    }
    keep_draft(state);
}

/// Whether a message is being changed that began with a slash, as `/me` does, and still does.
fn changes_slash(state: &State, text: &str) -> bool {
    let message = state.composer.edit.and_then(|id| state.timeline()?.find(id));
    let word = |text: &str| text.split_whitespace().next().map(str::to_owned);
    message.is_some_and(|m| m.text.starts_with('/') && word(&m.text) == word(text))
}

/// Sends what is written, whatever it begins with: it was pasted, not typed.
pub fn send_all(state: &mut State, wishes: &mut Vec<Wish>) {
    let text = state.composer.text();
    send(state, wishes, &text);
}

fn send(state: &mut State, wishes: &mut Vec<Wish>, text: &str) {
    let Some(room) = state.here else {
        return state.warn("you are in no room: /join #ROOM, or Ctrl+K");
    };
    // What was said of the text before is not true of the next one.
    state.note.take_if(|note| !note.warning);
    if let Some(name) = state.chat().filter(|c| matches!(c.kind, ChatKind::Request(_))) {
        let text = format!("you answered: {} is a contact now", name.typed());
        state.say(&text);
    }
    let (reply, edit) = (state.composer.reply.take().map(|(id, _)| id), state.composer.edit.take());
    let typed = state.composer.take();
    state.composer.remember(&typed);
    state.composer.done();
    state.told_typing = None;
    match edit {
        Some(id) => {
            let params = json!({"room": room, "message_id": id, "text": text});
            sending::send(state, wishes, room, "message.edit", params, text);
        }
        None => {
            let params = json!({"room": room, "text": text, "reply_to": reply});
            sending::send(state, wishes, room, "message.send", params, text);
        }
    }
    to_end(state, wishes);
}
