//! The keys of vi: what they do to a text, and what is a command.

use crossterm::event::{KeyCode, KeyModifiers};

use super::folding::{call, enter, press};
use super::pictures::picture;
use super::scenes::{GARDEN, NOW, lively};
use super::type_text;
use crate::slash::Action;
use crate::tui::composer::Composer;
use crate::tui::fold::fold;
use crate::tui::overlay::Overlay;
use crate::tui::settings::Keymap;
use crate::tui::state::{Input, State, Wish};

#[test]
fn vi_keys_edit_in_command_mode_and_type_in_insert_mode() {
    let mut state = lively(100, 24);
    state.composer = Composer::new(Keymap::Vi);
    type_text(&mut state, "one two three");
    let escape = |state: &mut State| press(state, KeyCode::Esc, KeyModifiers::NONE);
    escape(&mut state);
    assert!(picture(&state).contains("[command] #garden>"));
    type_text(&mut state, "0dw");
    assert_eq!(state.composer.text().trim_start(), "two three");
    type_text(&mut state, "A!");
    assert!(state.composer.text().ends_with("two three!"));
    escape(&mut state);
    type_text(&mut state, "ccgone");
    assert_eq!(state.composer.text(), "gone");
    escape(&mut state);
    // What is unfinished is not sent by Enter in command mode, nor lost by a command.
    assert_eq!(call(&enter(&mut state), "message.send"), None);
    assert_eq!(state.composer.text(), "gone");
    type_text(&mut state, ":whoami");
    assert!(picture(&state).contains("[:] #garden> /whoami"), "{}", picture(&state));
    assert_eq!(state.composer.text(), "/whoami");
    assert_eq!(state.drafts.get(&GARDEN).map(String::as_str), Some("gone"));
    let wishes = enter(&mut state);
    assert!(matches!(wishes.first(), Some(Wish::Act { action: Action::Whoami, .. })), "{wishes:?}");
    assert_eq!(state.composer.text(), "gone");
    assert!(picture(&state).contains("[command] #garden>"), "and keys are commands again");
    type_text(&mut state, ":q");
    escape(&mut state);
    assert_eq!(state.composer.text(), "gone", "Esc goes back to it as well");
    assert!(picture(&state).contains("[command] #garden>"));
    type_text(&mut state, "A!");
    assert_eq!(call(&enter(&mut state), "message.send").unwrap()["text"], "gone!");
    escape(&mut state);
    type_text(&mut state, "/seeds");
    assert!(matches!(&state.overlay, Some(Overlay::Search { field, .. }) if field == "seeds"));
}

#[test]
fn vi_keys_do_what_fingers_expect_at_the_edges() {
    let after = |typed: &str, keys: &str| {
        let mut state = lively(100, 24);
        state.composer = Composer::new(Keymap::Vi);
        fold(&mut state, NOW, Input::Paste(typed.to_owned()));
        press(&mut state, KeyCode::Esc, KeyModifiers::NONE);
        type_text(&mut state, keys);
        state.composer.text()
    };
    let (three, two) = ("one\ntwo\nthree", "one two  three");
    for (typed, keys, text) in [
        (two, "0$x", "one two  thre"),
        (two, "$xxx", "one two  th"),
        (two, "0dw", "two  three"),
        (two, "0wdw", "one three"),
        (two, "$bdw", "one two  "),
        (two, "0cwx", "x two  three"),
        (two, "0xp", "noe two  three"),
        (two, "0lllllllllllllllllllllx", "one two  thre"),
        (three, "kdd", "one\nthree"),
        (three, "dd", "one\ntwo"),
        (three, "kkddp", "two\none\nthree"),
        (three, "kddp", "one\nthree\ntwo"),
        (two, "0$hhX", "one two  tree"),
        (three, "ddkp", "one\nthree\ntwo"),
        (three, "kk$dw", "on\ntwo\nthree"),
        (three, "kk0Dx", "\ntwo\nthree"),
        ("word", "dd", ""),
        ("word", "ddpp", "\nword\nword"),
        ("a🇩🇪", "x", "a"),
    ] {
        assert_eq!(after(typed, keys), text, "{typed:?} {keys}");
    }
}

#[test]
fn the_command_line_of_vi_says_that_it_is_one_and_only_takes_commands() {
    let mut state = lively(100, 24);
    state.composer = Composer::new(Keymap::Vi);
    let shows = |state: &State, mode: &str| picture(state).contains(&format!("{mode} #garden>"));
    press(&mut state, KeyCode::Esc, KeyModifiers::NONE);
    type_text(&mut state, ":seeds");
    assert!(shows(&state, "[:]") && !shows(&state, "[insert]"));
    assert_eq!(state.drafts.get(&GARDEN), None, "a command is no draft");
    // Esc and a last Backspace close it; nothing of it stays.
    press(&mut state, KeyCode::Esc, KeyModifiers::NONE);
    assert!(shows(&state, "[command]") && state.composer.is_empty());
    type_text(&mut state, ":");
    press(&mut state, KeyCode::Backspace, KeyModifiers::NONE);
    assert!(shows(&state, "[command]") && state.composer.is_empty());
    // What is no command is not sent.
    type_text(&mut state, ":");
    press(&mut state, KeyCode::Delete, KeyModifiers::NONE);
    state.composer.set("hello");
    assert_eq!(call(&enter(&mut state), "message.send"), None);
    assert!(picture(&state).contains("nothing was sent"), "{}", picture(&state));
    // What is unknown can be mended, and fingers leave as they always did.
    for word in ["q", "q!", "wq", "qa", "x"] {
        press(&mut state, KeyCode::Esc, KeyModifiers::NONE);
        type_text(&mut state, &format!(":{word}"));
        let wishes = enter(&mut state);
        assert!(matches!(wishes.first(), Some(Wish::Act { action: Action::Quit, .. })), "{word}");
        assert!(shows(&state, "[command]"), "{word}");
    }
}
