//! What is half written is never lost: it waits while something else is typed, stays with its
//! place, and what was refused is there to be mended.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use klatch_core::ids::EntryId;
use serde_json::json;

use super::pictures::picture;
use super::scenes::{GARDEN, GENERAL, NOW, id, lively};
use super::type_text;
use crate::error::{Report, exit};
use crate::slash::Action;
use crate::tui::composer::Composer;
use crate::tui::fold::fold;
use crate::tui::settings::Keymap;
use crate::tui::state::{Input, State, Tag, Wish};

fn press(state: &mut State, code: KeyCode, modifiers: KeyModifiers) -> Vec<Wish> {
    fold(state, NOW, Input::Key(KeyEvent::new(code, modifiers)))
}

fn plain(state: &mut State, code: KeyCode) -> Vec<Wish> {
    press(state, code, KeyModifiers::NONE)
}

fn alt(state: &mut State, c: char) {
    press(state, KeyCode::Char(c), KeyModifiers::ALT);
}

fn ctrl(state: &mut State, c: char) -> Vec<Wish> {
    press(state, KeyCode::Char(c), KeyModifiers::CONTROL)
}

/// `/nick`, chosen in the switcher.
fn choose_nick(state: &mut State) {
    ctrl(state, 'k');
    type_text(state, "/nick");
    plain(state, KeyCode::Enter);
    assert_eq!(state.composer.text(), "/nick ");
}

fn drafted() -> State {
    let mut state = lively(100, 30);
    type_text(&mut state, "precious draft");
    state
}

#[test]
fn a_draft_waits_while_a_change_a_reaction_or_a_command_is_typed_and_esc_gives_it_back() {
    let begins: [fn(&mut State); 3] = [|s| alt(s, 'e'), |s| alt(s, 'x'), choose_nick];
    for (n, begin) in begins.into_iter().enumerate() {
        let mut state = drafted();
        begin(&mut state);
        assert_ne!(state.composer.text(), "precious draft", "{n}");
        assert_eq!(state.drafts[&GARDEN], "precious draft", "{n}: kept on disk meanwhile");
        // The first may only close what is offered.
        plain(&mut state, KeyCode::Esc);
        plain(&mut state, KeyCode::Esc);
        assert_eq!(state.composer.text(), "precious draft", "{n}");
        assert!(state.composer.edit.is_none(), "{n}");
        begin(&mut state);
        ctrl(&mut state, 'c');
        assert_eq!(state.composer.text(), "precious draft", "{n}: Ctrl+C");
        assert!(state.quit.is_none());
        // One in the other, and out of both.
        begin(&mut state);
        choose_nick(&mut state);
        for _ in 0..4 {
            plain(&mut state, KeyCode::Esc);
        }
        assert_eq!(state.composer.text(), "precious draft", "{n}: in another");
    }
}

#[test]
fn a_draft_is_back_when_what_took_its_place_is_done() {
    let mut state = drafted();
    alt(&mut state, 'e');
    type_text(&mut state, "!");
    plain(&mut state, KeyCode::Enter);
    assert_eq!(state.sending.len(), 1);
    assert_eq!(state.composer.text(), "precious draft");
    choose_nick(&mut state);
    type_text(&mut state, "alicia");
    let wishes = plain(&mut state, KeyCode::Enter);
    assert!(matches!(wishes.first(), Some(Wish::Act { action: Action::Nick(_), .. })));
    assert_eq!(state.composer.text(), "precious draft");
    // An answer under way is one still.
    alt(&mut state, 'r');
    alt(&mut state, 'x');
    type_text(&mut state, "thumbsup");
    plain(&mut state, KeyCode::Tab);
    plain(&mut state, KeyCode::Enter);
    assert_eq!(state.composer.text(), "precious draft");
    assert_eq!(state.composer.reply.as_ref().map(|(id, _)| *id), Some(EntryId(id(11))));
}

#[test]
fn a_change_or_an_answer_under_way_waits_in_its_room() {
    let mut state = drafted();
    alt(&mut state, 'e');
    type_text(&mut state, " and more");
    let text = state.composer.text();
    ctrl(&mut state, 'n');
    assert!(state.here == Some(GENERAL) && state.composer.is_empty());
    assert!(state.composer.edit.is_none());
    ctrl(&mut state, 'p');
    assert_eq!((state.composer.text(), state.composer.edit), (text, Some(EntryId(id(10)))));
    plain(&mut state, KeyCode::Esc);
    assert_eq!(state.composer.text(), "precious draft");
    alt(&mut state, 'r');
    ctrl(&mut state, 'n');
    assert!(state.composer.reply.is_none());
    ctrl(&mut state, 'p');
    assert!(state.composer.reply.is_some() && state.composer.text() == "precious draft");
    // What was sent is not half written any more.
    plain(&mut state, KeyCode::Enter);
    ctrl(&mut state, 'n');
    ctrl(&mut state, 'p');
    assert!(state.composer.is_empty() && state.composer.is_draft());
}

#[test]
fn the_command_line_of_vi_gives_back_the_change_behind_it() {
    let mut state = lively(100, 24);
    state.composer = Composer::new(Keymap::Vi);
    alt(&mut state, 'e');
    type_text(&mut state, "!");
    let text = state.composer.text();
    plain(&mut state, KeyCode::Esc);
    type_text(&mut state, ":whoami");
    plain(&mut state, KeyCode::Enter);
    assert_eq!((state.composer.text(), state.composer.edit.is_some()), (text, true));
}

#[test]
fn a_change_to_nothing_says_how_a_message_is_deleted() {
    let mut state = lively(100, 24);
    alt(&mut state, 'e');
    for _ in 0..60 {
        plain(&mut state, KeyCode::Backspace);
    }
    assert!(state.composer.is_empty());
    assert!(plain(&mut state, KeyCode::Enter).is_empty());
    assert!(picture(&state).contains("/delete deletes it"), "{}", picture(&state));
    assert!(state.composer.edit.is_some());
}

#[test]
fn a_refused_command_can_be_mended_and_a_refused_change_stays_one() {
    let refused = || Report::new("KLATCH-X", "foo is not an address", "", exit::FAILED);
    let mut state = lively(100, 24);
    type_text(&mut state, "/connect foo");
    let wishes = plain(&mut state, KeyCode::Enter);
    let Some(Wish::Act { here, typed, .. }) = wishes.into_iter().next() else { panic!() };
    let place = here.map(|h| h.room);
    assert_eq!((place, typed.as_str()), (Some(GARDEN), "/connect foo"));
    fold(&mut state, NOW, Input::Refused(place, typed.clone(), refused()));
    assert_eq!(state.composer.text(), "/connect foo");
    assert!(picture(&state).contains("is not an address"));
    // Nothing that was begun meanwhile gives way to it.
    ctrl(&mut state, 'u');
    type_text(&mut state, "other words");
    fold(&mut state, NOW, Input::Refused(place, typed, refused()));
    assert_eq!(state.composer.text(), "other words");
    ctrl(&mut state, 'c');
    alt(&mut state, 'e');
    let change = state.composer.text();
    plain(&mut state, KeyCode::Enter);
    assert!(state.composer.is_empty());
    fold(&mut state, NOW, Input::Answer(Tag::Sent(1), Err(refused())));
    assert_eq!((state.composer.text(), state.composer.edit), (change, Some(EntryId(id(10)))));
    let wishes = plain(&mut state, KeyCode::Enter);
    let edits = wishes.iter().any(|w| {
        matches!(w, Wish::Call { method: "message.edit", params, .. }
            if params["message_id"] == json!(EntryId(id(10))))
    });
    assert!(edits, "not a second message: {wishes:?}");
}
