//! Pictures of the screen, compared with those in `pictures/`. `KLATCH_PICTURES=write cargo test -p
//! klatch pictures` writes them anew; look at the difference before committing it.

use std::path::Path;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::scenes::{GARDEN, GENERAL, NOW, answer, fresh, lines, lively, said, status, told};
use super::type_text;
use crate::tui::draw::draw;
use crate::tui::fold::fold;
use crate::tui::state::{Input, State, Tag};
use crate::tui::text::width;
use klatch_core::event::{Event, Message};

/// The screen as text, without what follows the last sign of a row.
pub fn picture(state: &State) -> String {
    let mut terminal = Terminal::new(TestBackend::new(state.size.0, state.size.1)).unwrap();
    terminal.draw(|frame| drop(draw(state, frame))).unwrap();
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for y in 0..state.size.1 {
        let (mut row, mut x) = (String::new(), 0);
        while x < state.size.0 {
            let symbol = buffer[(x, y)].symbol();
            row.push_str(symbol);
            x += u16::try_from(width(symbol).max(1)).unwrap();
        }
        assert!(width(&row) <= usize::from(state.size.0) + 1, "{row:?}");
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

fn same(name: &str, state: &State) {
    let shown = picture(state);
    assert!(!shown.chars().any(|c| c != '\n' && klatch_core::identity::is_unsafe(c)), "{shown:?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/tui/tests/pictures")
        .join(format!("{name}.txt"));
    if std::env::var_os("KLATCH_PICTURES").is_some_and(|v| v == "write") {
        std::fs::write(&path, &shown).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        shown, expected,
        "the picture {name} is another one:\n{shown}\ninstead of\n{expected}"
    );
}

fn press(state: &mut State, code: KeyCode, modifiers: KeyModifiers) {
    fold(state, NOW, Input::Key(KeyEvent::new(code, modifiers)));
}

#[test]
fn a_lively_room_at_all_sizes() {
    for (columns, rows) in [(120, 40), (100, 30), (80, 24), (60, 20), (20, 5)] {
        same(&format!("lively_{columns}x{rows}"), &lively(columns, rows));
    }
}

#[test]
fn the_first_run_says_what_to_do() {
    for (columns, rows) in [(80, 24), (20, 5)] {
        let mut state = fresh(columns, rows);
        answer(&mut state, Tag::Status, &status(Vec::new()));
        answer(&mut state, Tag::Contacts, &Vec::<u8>::new());
        same(&format!("first_run_{columns}x{rows}"), &state);
    }
}

#[test]
fn what_is_new_is_marked_and_counted_below() {
    let mut state = lively(80, 16);
    press(&mut state, KeyCode::PageUp, KeyModifiers::NONE);
    for n in 0..3 {
        let message = Box::new(said(30 + n, 3, "carol", 0, "something new"));
        fold(&mut state, NOW, told(Event::MessageAdded { message }));
    }
    same("new_below", &state);
    press(&mut state, KeyCode::End, KeyModifiers::NONE);
    same("new_separator", &state);
}

#[test]
fn writing_shows_what_is_answered_and_what_can_follow() {
    let mut state = lively(100, 20);
    press(&mut state, KeyCode::Char('r'), KeyModifiers::ALT);
    type_text(&mut state, "first line");
    press(&mut state, KeyCode::Enter, KeyModifiers::ALT);
    type_text(&mut state, "second 日本 :seed");
    same("composer", &state);
    press(&mut state, KeyCode::Tab, KeyModifiers::NONE);
    same("completion", &state);
}

#[test]
fn switcher_search_help_and_answers_lie_over_it() {
    let mut state = lively(110, 24);
    press(&mut state, KeyCode::Char('k'), KeyModifiers::CONTROL);
    type_text(&mut state, "ga");
    same("switcher", &state);
    press(&mut state, KeyCode::Esc, KeyModifiers::NONE);
    press(&mut state, KeyCode::Char('f'), KeyModifiers::CONTROL);
    type_text(&mut state, "10:00");
    fold(&mut state, NOW + 1_000, Input::Tick);
    let found: Vec<Message> = lines().into_iter().filter(|m| m.text.contains("10:00")).collect();
    answer(&mut state, Tag::Search(1), &found);
    same("search", &state);
    press(&mut state, KeyCode::Esc, KeyModifiers::NONE);
    press(&mut state, KeyCode::F(1), KeyModifiers::NONE);
    same("help", &state);
}

#[test]
fn the_network_view_shows_peers_rooms_and_events() {
    let mut state = lively(100, 24);
    for rtt in [10, 20, 40] {
        let mut status = status(vec![
            super::scenes::room(GARDEN, "#garden", 0),
            super::scenes::room(GENERAL, "#general", 0),
        ]);
        status.peers[0].rtt_ms = Some(rtt);
        answer(&mut state, Tag::Status, &status);
    }
    fold(&mut state, NOW, told(Event::PeerDisconnected { peer_id: "12D3KooWDanDanDa".to_owned() }));
    fold(&mut state, NOW, told(Event::Synced { room: GARDEN }));
    press(&mut state, KeyCode::F(5), KeyModifiers::NONE);
    same("network", &state);
}

#[test]
fn a_request_says_who_waits_and_what_to_press() {
    let mut state = lively(100, 16);
    press(&mut state, KeyCode::Char('6'), KeyModifiers::ALT);
    answer(&mut state, Tag::Newest(klatch_core::ids::RoomId([13; 16])), &Vec::<Message>::new());
    same("request", &state);
}

#[test]
fn without_colours_nothing_is_lost() {
    // Colours are styles; the text of the picture is the same with them.
    let mut state = lively(120, 40);
    let plain = picture(&state);
    state.settings.color = true;
    assert_eq!(picture(&state), plain);
}

#[test]
fn what_a_key_means_goes_on_below_its_own_column() {
    let mut state = fresh(100, 100);
    press(&mut state, KeyCode::F(1), KeyModifiers::NONE);
    let shown = picture(&state);
    let lines: Vec<&str> = shown.lines().collect();
    let at = lines.iter().position(|l| l.contains("Esc, then")).unwrap();
    let column = lines[at].find("h j k l").unwrap();
    let next = lines[at + 1].trim_start();
    assert_eq!(lines[at + 1].len() - next.len(), column, "{shown}");
}
