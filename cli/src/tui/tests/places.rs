//! Where one is: what the list and the head say of it, what goes with it, and what lies beyond the
//! edge of the list.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use klatch_core::event::{ContactNews, Event};
use klatch_core::ids::{IdentityId, RoomId};
use klatch_core::query::{Access, RoomSummary, Standing, Verification};
use serde_json::json;

use super::pictures::picture;
use super::scenes::{
    GARDEN, NOW, answer, contact, fresh, lines, lively, member, room, said, status, told,
};
use super::type_text;
use crate::act::{Effect, Here, Outcome, Shown, Tone};
use crate::error::{Report, exit};
use crate::tui::answers::arrive;
use crate::tui::fold::fold;
use crate::tui::state::{ChatKind, Input, State, Tag, Wish};

fn press(state: &mut State, code: KeyCode, modifiers: KeyModifiers) {
    fold(state, NOW, Input::Key(KeyEvent::new(code, modifiers)));
}

fn row(state: &mut State, n: char) {
    press(state, KeyCode::Char(n), KeyModifiers::ALT);
}

/// The part of the picture that is the list.
fn list(state: &State) -> String {
    let cut = |line: &str| line.split('│').next().unwrap_or_default().trim_end().to_owned();
    picture(state).lines().map(cut).collect::<Vec<_>>().join("\n")
}

#[test]
fn who_is_in_the_room_is_online_before_the_first_word_to_them() {
    let mut state = lively(100, 24);
    let carol = IdentityId([7; 32]);
    let conversation = RoomId::of_conversation(&carol);
    let kind = ChatKind::Direct(carol, Verification::Unverified);
    arrive(&mut state, &mut Vec::new(), conversation, "carol", kind);
    let head = |state: &State| {
        let shown = picture(state);
        shown.lines().find(|l| l.contains("end to end")).unwrap_or(&shown).to_owned()
    };
    assert!(head(&state).contains("offline"), "{}", head(&state));
    answer(&mut state, Tag::Members(GARDEN), &[member(7, "carol", true), member(9, "alice", true)]);
    assert!(head(&state).contains("online"), "{}", head(&state));
    answer(
        &mut state,
        Tag::Members(GARDEN),
        &[member(7, "carol", false), member(9, "alice", true)],
    );
    assert!(head(&state).contains("offline"), "{}", head(&state));
}

#[test]
fn who_was_blocked_does_not_wait_any_more_in_head_and_list() {
    let mut state = lively(100, 24);
    row(&mut state, '6');
    assert!(picture(&state).contains("wants to write to you"));
    press(&mut state, KeyCode::F(4), KeyModifiers::NONE);
    let event = Event::ContactChanged {
        identity: IdentityId([13; 32]),
        room: RoomId([13; 16]),
        name: "eve".to_owned(),
        name_mark: None,
        news: ContactNews::Blocked,
    };
    fold(&mut state, NOW, told(event));
    let all = [
        contact(11, "bob", Standing::Accepted, Verification::Verified),
        contact(13, "eve", Standing::Blocked, Verification::Unverified),
    ];
    answer(&mut state, Tag::Contacts, &all);
    let shown = picture(&state);
    assert!(!shown.contains("wants to write to you") && !shown.contains("REQUESTS"), "{shown}");
    assert!(shown.contains("blocked: nothing comes in from them"), "{shown}");
    row(&mut state, '1');
    assert!(!picture(&state).contains("eve"), "one is not there any more: {}", picture(&state));
    answer(&mut state, Tag::Contacts, &all);
    assert!(!picture(&state).contains("eve"));
    // Nor is a contact who is blocked while one is there shown as one.
    row(&mut state, '4');
    assert!(picture(&state).contains("end to end, verified"));
    let all = [contact(11, "bob", Standing::Blocked, Verification::Verified)];
    answer(&mut state, Tag::Contacts, &all);
    assert!(picture(&state).contains("blocked:") && !picture(&state).contains("end to end"));
}

#[test]
fn a_remark_goes_with_its_place_and_a_warning_of_something_else_stays() {
    let arrives = |state: &mut State| {
        let here = Here { room: RoomId([11; 16]), name: "@bob".to_owned(), direct: true };
        let text = "you are talking with @bob now".to_owned();
        let shown = vec![Shown::Text { tone: Tone::Note, text, json: None }];
        let outcome = Outcome { shown, effect: Effect::Go(here), ..Outcome::default() };
        fold(state, NOW, Input::Acted(Ok(Box::new(outcome))));
    };
    let mut state = lively(100, 24);
    arrives(&mut state);
    assert!(picture(&state).contains("you are talking with @bob now"));
    row(&mut state, '2');
    assert!(!picture(&state).contains("you are talking"), "{}", picture(&state));
    let slip = Report::new("KLATCH-X", "nobody here is known as fred", "", exit::FAILED);
    fold(&mut state, NOW, Input::Refused(None, String::new(), slip));
    row(&mut state, '1');
    assert!(!picture(&state).contains("fred"));
    state.warn("the keys of dan have CHANGED");
    row(&mut state, '2');
    assert!(picture(&state).contains("the keys of dan have CHANGED"));
}

#[test]
fn a_profile_that_was_restored_says_so_in_the_head_of_its_room() {
    let mut state = lively(100, 24);
    let behind = RoomSummary { behind: true, ..room(GARDEN, "#garden", 0) };
    answer(&mut state, Tag::Status, &status(vec![behind]));
    assert!(picture(&state).contains("READ ONLY: restored from an old co"), "{}", picture(&state));
}

/// Thirty rooms, the last of them with something unread, and a conversation below.
fn crowded() -> State {
    let mut state = fresh(100, 24);
    let rooms = (0..30_u8).map(|n| {
        let unread = if n == 28 { 2 } else { 0 };
        room(RoomId([50 + n; 16]), &format!("#room{n}"), unread)
    });
    answer(&mut state, Tag::Status, &status(rooms.collect()));
    let mut bob = contact(11, "bob", Standing::Accepted, Verification::Verified);
    bob.unread = 1;
    answer(&mut state, Tag::Contacts, &[bob]);
    state
}

fn wheel(state: &mut State, kind: MouseEventKind, row: u16) {
    let event = MouseEvent { kind, column: 3, row, modifiers: KeyModifiers::NONE };
    fold(state, NOW, Input::Mouse(event));
}

#[test]
fn what_is_unread_beyond_the_edge_of_the_list_is_told_at_the_edge() {
    let state = crowded();
    let shown = list(&state);
    assert!(shown.contains("#room0") && !shown.contains("#room28"), "{shown}");
    assert!(shown.contains("↓ 3 unread !"), "two in a room, and one that bob wrote: {shown}");
    assert!(!shown.contains('↑'), "{shown}");
    // Nothing unread is there: how many there are.
    let mut quiet = crowded();
    quiet.chats.iter_mut().for_each(|c| c.unread = 0);
    let shown = list(&quiet);
    let seen = shown.lines().filter(|l| l.contains("#room") && !l.contains('>')).count();
    assert!(shown.contains(&format!("↓ {} more", 31 - seen)), "{seen} are seen: {shown}");
    // All of it fits: nothing is said.
    let shown = list(&lively(100, 24));
    assert!(!shown.contains('↓') && !shown.contains('↑'), "{shown}");
}

#[test]
fn where_one_is_is_never_behind_the_edge() {
    let mut state = crowded();
    for n in 0..31 {
        let room = state.chats[n].room;
        crate::tui::fold::go(&mut state, &mut Vec::new(), room);
        let name = state.chats[n].name.clone();
        let shown = list(&state);
        let there = shown.lines().any(|l| l.split_whitespace().any(|w| w == name));
        assert!(there, "{name}: {shown}");
    }
    assert!(list(&state).contains('↑') && !list(&state).contains('↓'), "{}", list(&state));
}

#[test]
fn the_wheel_over_the_list_moves_the_list_and_a_click_meets_what_is_seen() {
    let mut state = crowded();
    let before = state.timeline().map(|t| t.bottom);
    for _ in 0..40 {
        wheel(&mut state, MouseEventKind::ScrollDown, 5);
    }
    let shown = list(&state);
    assert!(shown.contains("@bob") && shown.contains("#room28") && shown.contains('↑'), "{shown}");
    assert_eq!(state.timeline().map(|t| t.bottom), before, "and not the text");
    let y = shown.lines().position(|l| l.contains("#room28")).unwrap();
    wheel(&mut state, MouseEventKind::Down(MouseButton::Left), u16::try_from(y).unwrap());
    assert_eq!(state.chat().map(|c| c.name.as_str()), Some("#room28"));
    for _ in 0..40 {
        wheel(&mut state, MouseEventKind::ScrollUp, 5);
    }
    assert!(list(&state).contains("#room0"), "{}", list(&state));
    // Going somewhere shows where.
    press(&mut state, KeyCode::Char('n'), KeyModifiers::CONTROL);
    assert!(list(&state).contains("#room29"), "{}", list(&state));
    type_text(&mut state, "x");
}

#[test]
fn a_second_room_of_one_name_is_told_from_the_first_when_it_is_opened() {
    let (first, second, open) = (RoomId([60; 16]), RoomId([61; 16]), RoomId([62; 16]));
    let private = |id, name: &str| RoomSummary {
        access: Access::Passphrase,
        name_mark: Some("ABCD".to_owned()),
        ..room(id, name, 0)
    };
    let mut state = lively(120, 24);
    answer(&mut state, Tag::Status, &status(vec![private(first, "#study")]));
    let joined = |id: RoomId, name: &str, already| json!({"type": "joined", "room_id": id, "name": name, "already": already});
    answer(&mut state, Tag::JoinPrivate, &joined(second, "#study", false));
    assert_eq!(state.here, Some(second), "{:?}", state.note);
    let both = || status(vec![private(first, "#study"), private(second, "#study")]);
    answer(&mut state, Tag::Status, &both());
    let shown = picture(&state);
    assert!(shown.contains("! this is another room #study than the one you had"), "{shown}");
    assert!(shown.contains("the passphrase differs"), "{shown}");
    // It is told once, and not of a room that was there before.
    state.note = None;
    answer(&mut state, Tag::Status, &both());
    answer(&mut state, Tag::JoinPrivate, &joined(second, "#study", true));
    answer(&mut state, Tag::Status, &both());
    assert!(!picture(&state).contains("another room"));
    // By a command as well.
    let here = Here { room: open, name: "#study".to_owned(), direct: false };
    let outcome = Outcome { effect: Effect::Go(here), wrote: true, ..Outcome::default() };
    fold(&mut state, NOW, Input::Acted(Ok(Box::new(outcome))));
    let all = vec![private(first, "#study"), room(open, "#study", 0)];
    answer(&mut state, Tag::Status, &status(all));
    assert!(picture(&state).contains("this is another room #study"), "{}", picture(&state));
}

#[test]
fn nothing_that_was_said_stays_on_the_screen_of_a_locked_profile() {
    let lost = || Input::Lost("the node ended".to_owned(), Vec::new());
    let mut state = lively(120, 30);
    type_text(&mut state, "half a thought");
    state.sealed = true;
    press(&mut state, KeyCode::Char('f'), KeyModifiers::CONTROL);
    answer(&mut state, Tag::Search(0), &lines());
    fold(&mut state, NOW, lost());
    let shown = picture(&state);
    for gone in ["seeds", "radishes", "bob~", "● carol", "announces"] {
        assert!(!shown.contains(gone), "{gone}: {shown}");
    }
    assert!(shown.contains("Locked.") && shown.contains("klatch unlock"), "{shown}");
    assert!(state.timelines.is_empty() && state.members.is_empty() && state.overlay.is_none());
    assert_eq!(state.composer.text(), "half a thought", "it is nowhere else");
    // It is read again when the node is there again.
    let wishes = fold(&mut state, NOW + 1_000, Input::Found);
    let asked = wishes.iter().any(|w| matches!(w, Wish::Call { tag: Tag::Newest(_), .. }));
    assert!(asked, "{wishes:?}");
    answer(&mut state, Tag::Newest(GARDEN), &lines());
    assert!(picture(&state).contains("seeds"));
    // Without a passphrase it can be read on the disk anyway; who is there nobody knows.
    let mut state = lively(120, 30);
    fold(&mut state, NOW, lost());
    let shown = picture(&state);
    assert!(shown.contains("seeds") && !shown.contains("● carol"), "{shown}");
    assert!(!shown.contains("/5 online"), "{shown}");
}

#[test]
fn keys_that_lead_nowhere_say_where_they_would() {
    let mut state = lively(120, 24);
    row(&mut state, '9');
    assert!(picture(&state).contains("the list has no row 9"));
    for key in [2, 4] {
        press(&mut state, KeyCode::F(key), KeyModifiers::NONE);
        assert!(picture(&state).contains("writes for the first time: Alt+6"), "F{key}");
    }
    state.chats.retain(|c| c.room != RoomId([13; 16]));
    press(&mut state, KeyCode::F(2), KeyModifiers::NONE);
    assert!(picture(&state).contains("nobody waits now"));
}

#[test]
fn an_answer_to_a_request_says_what_it_does() {
    let mut state = lively(120, 24);
    row(&mut state, '6');
    type_text(&mut state, "hello");
    press(&mut state, KeyCode::Enter, KeyModifiers::NONE);
    assert!(picture(&state).contains("you answered: @eve is a contact now"));
}

#[test]
fn home_goes_to_the_first_new_line_and_to_the_oldest_one() {
    let asked = |wishes: Vec<Wish>| {
        wishes.into_iter().find_map(|w| match w {
            Wish::Call { method: "message.journal", params, .. } => Some(params["after"].clone()),
            _ => None,
        })
    };
    let home = |state: &mut State, modifiers| {
        asked(fold(state, NOW, Input::Key(KeyEvent::new(KeyCode::Home, modifiers))))
    };
    let mut state = lively(120, 24);
    assert_eq!(home(&mut state, KeyModifiers::NONE), Some(json!(0)));
    answer(&mut state, Tag::First(GARDEN), &[said(1, 2, "bob", 9_000, "the very first")]);
    let shown = picture(&state);
    assert!(shown.contains("the very first") && shown.contains("▸"), "{shown}");
    press(&mut state, KeyCode::End, KeyModifiers::NONE);
    answer(&mut state, Tag::Newest(GARDEN), &lines());
    state.timeline_mut().unwrap().unread_from = Some(8);
    assert_eq!(home(&mut state, KeyModifiers::NONE), Some(json!(7)));
    state.asked.clear();
    assert_eq!(home(&mut state, KeyModifiers::CONTROL), Some(json!(0)));
    // While something is written it moves in the text.
    state.asked.clear();
    type_text(&mut state, "words");
    assert_eq!(home(&mut state, KeyModifiers::NONE), None);
    assert_eq!(state.composer.area.cursor().1, 0);
}
