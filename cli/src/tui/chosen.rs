//! What keys do with a message: the selected one, or else the newest that can be meant.

use super::fold::keep_draft;
use super::links;
use super::overlay::Overlay;
use super::rows::is_speech;
use super::state::{State, Wish};
use crate::output::snippet;

/// The selected message, or the newest one of others or of the user.
fn meant(state: &State, own: bool) -> Option<klatch_core::event::Message> {
    let timeline = state.timeline()?;
    if let Some(selected) = timeline.selected.and_then(|id| timeline.find(id)) {
        return Some(selected.clone());
    }
    timeline.lines.iter().rev().find(|m| m.own == own && is_speech(m.kind) && !m.deleted).cloned()
}

/// Copies it through the terminal.
pub fn copy(state: &mut State, wishes: &mut Vec<Wish>) {
    let Some(message) = meant(state, false).or_else(|| meant(state, true)) else { return };
    state.say(&format!("copied: \"{}\" (if the terminal allows it)", snippet(&message.text)));
    wishes.push(Wish::Copy(message.text));
}

/// The links of the selected message, or of the newest that has any.
pub fn show_links(state: &mut State, wishes: &mut Vec<Wish>) {
    let Some(timeline) = state.timeline() else { return };
    let selected = timeline.selected.and_then(|id| timeline.find(id));
    let found = match selected {
        Some(message) => links::of(&message.text),
        None => {
            let texts = timeline.lines.iter().rev().filter(|m| is_speech(m.kind) && !m.deleted);
            texts.map(|m| links::of(&m.text)).find(|l| !l.is_empty()).unwrap_or_default()
        }
    };
    match found.as_slice() {
        [] => state.say("there is no link in it"),
        [one] => {
            state.say(&format!("copied (if the terminal allows it): {one}"));
            wishes.push(Wish::Copy(one.clone()));
        }
        _ => {
            let lines = found.iter().map(|l| super::text::clean(l)).collect();
            state.overlay = Some(Overlay::Panel { title: "Links".to_owned(), lines, top: 0 });
        }
    }
}

/// Begins an answer to it.
pub fn reply(state: &mut State) {
    match meant(state, false) {
        Some(message) if message.deleted => state.say("that message was deleted"),
        Some(_) if state.composer.edit.is_some() => {
            state.say("you are changing a message: Enter takes the new words, Esc the old ones");
        }
        Some(message) => {
            let to = format!(
                "{}: \"{}\"",
                super::rows::author(&message, &state.me.name),
                super::text::clean(&snippet(&message.text))
            );
            state.composer.reply = Some((message.id, to));
        }
        None => state.say("there is no message to answer"),
    }
}

/// Begins a change of it.
pub fn edit(state: &mut State) {
    match meant(state, true) {
        Some(message) if state.composer.edit == Some(message.id) => {
            state.say("you are changing it: Enter takes the new words, Esc the old ones");
        }
        Some(message) if message.own && !message.deleted => {
            if state.composer.edit.is_some() {
                let text = state.composer.take();
                state.composer.remember(&text);
                state.composer.done();
            }
            state.composer.put_aside(&message.text);
            state.composer.edit = Some(message.id);
            keep_draft(state);
        }
        Some(message) if message.deleted => state.say("that message was deleted"),
        Some(_) => state.say("only your own messages can be changed"),
        None => state.say("you have said nothing here yet"),
    }
}

/// Begins to put an emoji on it.
pub fn react(state: &mut State) {
    match meant(state, false) {
        Some(message) if message.deleted => state.say("that message was deleted"),
        Some(message) => {
            state.composer.put_aside(&format!("/react {} :", message.id.short()));
            keep_draft(state);
            state.say("type the name of an emoji, then Tab");
        }
        None => state.say("there is no message yet"),
    }
}
