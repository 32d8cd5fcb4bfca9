//! Keys while something lies over the screen.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

use super::fold::{ask, go, keep_draft};
use super::overlay::{Overlay, SEARCH_PAUSE_MS, Target, choices, field_key, list_key};
use super::state::{State, Tag, Wish};
use crate::slash::Action;

/// Rows that PgUp and PgDn move.
const LEAP: usize = 10;

/// A key for what lies on top.
pub fn key(state: &mut State, wishes: &mut Vec<Wish>, key: KeyEvent) {
    if key.code == KeyCode::Esc {
        state.overlay = None;
        return;
    }
    match state.overlay.take() {
        Some(Overlay::Help(_) | Overlay::Panel { .. }) if closes(state, key) => {}
        // Whoever types on sees that in the text, from the first letter.
        Some(Overlay::Help(_) | Overlay::Panel { .. }) if writes(state, key) => {
            super::keys::key(state, wishes, key);
        }
        Some(Overlay::Help(top)) => {
            // The drawing knows how long it is; beyond its end it shows the end.
            state.overlay = Some(Overlay::Help(scrolled(top, super::draw::help_rows(), key)));
        }
        Some(Overlay::Panel { title, lines, top }) => {
            let top = scrolled(top, lines.len(), key);
            state.overlay = Some(Overlay::Panel { title, lines, top });
        }
        Some(Overlay::Switcher { field, at }) => switcher(state, wishes, key, field, at),
        Some(Overlay::Secret { room, field, offered, taken }) => {
            secret(state, wishes, key, (room, field, offered, taken));
        }
        Some(Overlay::Search { field, number, found, at }) => {
            search(state, key, (field, number, found, at))
        }
        None => {}
    }
}

type Secret = (String, String, Option<String>, bool);

fn secret(
    state: &mut State,
    wishes: &mut Vec<Wish>,
    key: KeyEvent,
    (room, mut field, offered, mut taken): Secret,
) {
    // What was said of the attempt before is no longer true of this one.
    state.note = None;
    match key.code {
        KeyCode::Enter if !field.is_empty() => {
            state.say(&format!("opening {room}, which takes a moment"));
            let params = json!({"room": room, "passphrase": field});
            ask(state, wishes, Tag::JoinPrivate, "room.join", params);
            return;
        }
        KeyCode::Enter => state.say("type a passphrase, or Tab takes the one that is offered"),
        KeyCode::Tab => {
            if let Some(offered) = &offered {
                field.clone_from(offered);
                taken = true;
            }
        }
        _ => taken = !field_key(&mut field, key) && taken,
    }
    state.overlay = Some(Overlay::Secret { room, field, offered, taken });
}

/// Keys that close what is only read, and do nothing else.
fn closes(state: &State, key: KeyEvent) -> bool {
    matches!(key.code, KeyCode::Esc | KeyCode::Enter)
        || (key.code == KeyCode::Char('q') && !writes(state, key))
}

/// Whether a key is a letter of a text: all are, unless letters are commands.
pub fn writes(state: &State, key: KeyEvent) -> bool {
    let letter = matches!(key.code, KeyCode::Char(_))
        && !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    letter && state.composer.vi.is_none_or(|vi| !vi.normal)
}

/// The first row after a key.
fn scrolled(top: usize, rows: usize, key: KeyEvent) -> usize {
    let last = rows.saturating_sub(1);
    match key.code {
        KeyCode::Up | KeyCode::Char('k') => top.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => (top + 1).min(last),
        KeyCode::PageUp => top.saturating_sub(LEAP),
        KeyCode::PageDown | KeyCode::Char(' ') => (top + LEAP).min(last),
        KeyCode::Home => 0,
        KeyCode::End => last,
        _ => top,
    }
}

fn switcher(
    state: &mut State,
    wishes: &mut Vec<Wish>,
    key: KeyEvent,
    mut field: String,
    mut at: usize,
) {
    let found = choices(state, &field);
    if key.code == KeyCode::Enter {
        let Some(choice) = found.into_iter().nth(at) else { return };
        return follow(state, wishes, choice.target);
    }
    if !list_key(&mut at, found.len(), key) && field_key(&mut field, key) {
        at = 0;
    }
    state.overlay = Some(Overlay::Switcher { field, at });
}

fn follow(state: &mut State, wishes: &mut Vec<Wish>, target: Target) {
    match target {
        Target::Chat(room) => go(state, wishes, room),
        Target::Person(who) => {
            let here = state.chat().map(super::state::Chat::place);
            wishes.push(Wish::Act {
                // Not by the name: meanwhile it may mean somebody else.
                action: Action::Dm { who: format!("@{who}"), text: None },
                here,
                recent: Vec::new(),
                typed: String::new(),
            });
        }
        Target::Command(name) => {
            state.composer.begin_command(&format!("/{name} "));
            keep_draft(state);
        }
        Target::Open(room) => {
            ask(state, wishes, Tag::Join, "room.join", json!({"room": room}));
        }
    }
}

type Search = (String, u64, Option<Vec<klatch_core::event::Message>>, usize);

fn search(state: &mut State, key: KeyEvent, (mut field, number, found, mut at): Search) {
    if key.code == KeyCode::Enter {
        if let Some(message) = found.as_ref().and_then(|f| f.get(at)).cloned() {
            return jump(state, message);
        }
        state.due.search = Some(state.now_ms);
    } else if !list_key(&mut at, found.as_ref().map_or(0, Vec::len), key)
        && field_key(&mut field, key)
    {
        state.due.search = Some(state.now_ms + SEARCH_PAUSE_MS);
    }
    state.overlay = Some(Overlay::Search { field, number, found, at });
}

/// Shows a message among those around it, in the room that was searched.
fn jump(state: &mut State, message: klatch_core::event::Message) {
    if state.here != Some(message.room) {
        return;
    }
    if let Some(timeline) = state.timeline_mut() {
        // What surrounds it is asked for because both edges of the window are near.
        timeline.jump(message);
    }
    state.say("End goes back to the newest line");
}
