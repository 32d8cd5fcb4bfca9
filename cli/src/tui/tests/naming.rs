//! Names that look alike: wherever the screen shows or offers one, it shows what tells its bearer
//! from the others.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use klatch_core::content::Kind;
use klatch_core::event::{ContactNews, Event, Message};
use klatch_core::ids::{DeviceId, EntryId, IdentityId, RoomId};
use klatch_core::query::{Contact, Member, RoomSummary, Standing, Verification};

use super::pictures::picture;
use super::scenes::{ALICE, GARDEN, NOW, answer, fresh, id, member, room, said, status, told};
use super::type_text;
use crate::slash::Action;
use crate::tui::fold::fold;
use crate::tui::notify;
use crate::tui::state::{Input, State, Tag, Wish};

/// The conversation with one of the two who are called zed.
const ZED: RoomId = RoomId([2; 16]);

fn mark(n: u8) -> Option<String> {
    Some(format!("MK{n}X"))
}

fn zed(n: u8) -> Member {
    Member { name_mark: mark(n), typed_mark: mark(n), ..member(n, "zed", true) }
}

fn by_zed(n: u64, who: u8, text: &str) -> Message {
    Message { name_mark: mark(who), ..said(n, who, "zed", 5, text) }
}

/// Alice in the garden with two people who are called zed, and one of them among the contacts; there
/// are two gardens.
fn double(columns: u16, rows: u16) -> State {
    let mut state = fresh(columns, rows);
    let garden = |id: RoomId, mark: &str| RoomSummary {
        name_mark: Some(mark.to_owned()),
        ..room(id, "#garden", 0)
    };
    let mut now = status(vec![garden(GARDEN, "aaaaaaaa"), garden(RoomId([3; 16]), "bbbbbbbb")]);
    now.peers.truncate(1);
    now.peers[0].name = Some("zed".to_owned());
    now.peers[0].identity = Some(IdentityId([2; 32]));
    now.peers[0].name_mark = mark(2);
    answer(&mut state, Tag::Status, &now);
    let contact = Contact {
        identity: IdentityId([2; 32]),
        room: ZED,
        name: "zed".to_owned(),
        claimed: "zed".to_owned(),
        petname: None,
        fingerprint: String::new(),
        name_mark: mark(2),
        standing: Standing::Accepted,
        verification: Verification::Unverified,
        online: true,
        messages: 1,
        unread: 0,
        last_ms: 0,
    };
    answer(&mut state, Tag::Contacts, &[contact]);
    let lines = [by_zed(1, 2, "hello"), by_zed(2, 4, "hello, too")];
    answer(&mut state, Tag::Newest(GARDEN), &lines);
    answer(&mut state, Tag::Members(GARDEN), &[member(9, "alice", true), zed(2), zed(4)]);
    state
}

fn press(state: &mut State, code: KeyCode, modifiers: KeyModifiers) -> Vec<Wish> {
    fold(state, NOW, Input::Key(KeyEvent::new(code, modifiers)))
}

/// Each name on the screen has its mark.
fn all_marked(state: &State, what: &str) -> String {
    let shown = picture(state);
    for name in ["zed", "#garden"] {
        for (at, _) in shown.match_indices(name) {
            let after = &shown[at + name.len()..];
            let known = after.starts_with("~MK") || after.starts_with("~aaaa");
            assert!(known || after.starts_with("~bbbb"), "{what}, {name}:\n{shown}");
        }
    }
    shown
}

#[test]
fn every_view_shows_the_marks() {
    for (columns, rows) in [(120, 40), (100, 24), (80, 24), (60, 20)] {
        let mut state = double(columns, rows);
        all_marked(&state, "a room");
        press(&mut state, KeyCode::F(5), KeyModifiers::NONE);
        let shown = all_marked(&state, "the network");
        assert!(shown.contains("zed~MK2X, zed~MK4X"), "who is in the room:\n{shown}");
        press(&mut state, KeyCode::Esc, KeyModifiers::NONE);
        press(&mut state, KeyCode::Char('3'), KeyModifiers::ALT);
        answer(&mut state, Tag::Newest(ZED), &Vec::<Message>::new());
        all_marked(&state, "a conversation");
    }
}

#[test]
fn what_the_events_tell_is_marked() {
    let mut state = double(120, 40);
    press(&mut state, KeyCode::Char('3'), KeyModifiers::ALT);
    let (name, name_mark) = ("zed".to_owned(), mark(2));
    let typing =
        Event::Typing { room: ZED, name: name.clone(), name_mark: name_mark.clone(), typing: true };
    let (room, device) = (GARDEN, DeviceId([2; 32]));
    let presence = Event::PresenceChanged {
        room,
        device,
        name: name.clone(),
        name_mark: name_mark.clone(),
        online: true,
    };
    let contact = |news| Event::ContactChanged {
        identity: IdentityId([2; 32]),
        room: ZED,
        name: name.clone(),
        name_mark: name_mark.clone(),
        news,
    };
    let message = Box::new(by_zed(7, 4, "news"));
    for event in [typing, presence, Event::MessageAdded { message }] {
        fold(&mut state, NOW, told(event));
    }
    assert!(all_marked(&state, "typing").contains("zed~MK2X is typing"));
    for news in [
        ContactNews::Requested,
        ContactNews::KeysChanged,
        ContactNews::Impersonated,
        ContactNews::SessionReset,
    ] {
        fold(&mut state, NOW, told(contact(news)));
        all_marked(&state, "news");
    }
    press(&mut state, KeyCode::F(5), KeyModifiers::NONE);
    all_marked(&state, "the log of events");
    let notice = notify::notice(&state, &by_zed(8, 4, "alice?"), true).unwrap();
    assert_eq!((notice.from.as_str(), notice.room.as_str()), ("zed~MK4X", "#garden~aaaaaaaa"));
    assert_eq!(notice.title, "zed~MK4X in #garden~aaaaaaaa");
}

#[test]
fn quotes_and_answers_are_marked() {
    let mut state = double(100, 24);
    let reply_to = Some(EntryId(id(90)));
    let message = Box::new(Message { reply_to, ..by_zed(7, 2, "yes") });
    fold(&mut state, NOW, told(Event::MessageAdded { message }));
    answer(&mut state, Tag::Quote(GARDEN, EntryId(id(90))), &by_zed(90, 4, "shall we?"));
    assert!(all_marked(&state, "a quote").contains("zed~MK4X: shall we?"));
    press(&mut state, KeyCode::Char('r'), KeyModifiers::ALT);
    assert!(all_marked(&state, "an answer").contains("zed~MK2X: \"yes\""));
}

#[test]
fn what_tab_offers_means_one_person_and_one_room() {
    for (typed, put) in [
        ("@ze", ["@zed~MK4X ", "@zed~MK2X "]),
        ("ze", ["zed~MK4X: ", "zed~MK2X: "]),
        // A contact first, whoever else took the name and spoke last.
        ("/whois @ze", ["/whois @zed~MK2X ", "/whois @zed~MK4X "]),
        ("/dm @ze", ["/dm @zed~MK2X ", "/dm @zed~MK4X "]),
        ("/leave #ga", ["/leave #garden~aaaaaaaa ", "/leave #garden~bbbbbbbb "]),
    ] {
        let mut state = double(100, 24);
        type_text(&mut state, typed);
        for expected in put {
            press(&mut state, KeyCode::Tab, KeyModifiers::NONE);
            assert_eq!(state.composer.text(), expected, "{typed}");
            let shown = picture(&state);
            assert!(shown.contains(expected.trim().rsplit(' ').next().unwrap()), "{shown}");
        }
    }
}

#[test]
fn whom_the_name_means_in_the_room_only_is_offered_with_a_mark_to_commands() {
    let mut state = double(100, 24);
    let only = Member { name_mark: None, ..zed(4) };
    answer(&mut state, Tag::Members(GARDEN), &[member(9, "alice", true), only]);
    answer(&mut state, Tag::Contacts, &Vec::<Contact>::new());
    type_text(&mut state, "hello @ze");
    press(&mut state, KeyCode::Tab, KeyModifiers::NONE);
    assert_eq!(state.composer.text(), "hello @zed ", "those who read it are in the room");
    press(&mut state, KeyCode::Char('c'), KeyModifiers::CONTROL);
    type_text(&mut state, "/verify @ze");
    press(&mut state, KeyCode::Tab, KeyModifiers::NONE);
    assert_eq!(state.composer.text(), "/verify @zed~MK4X ");
}

#[test]
fn the_switcher_shows_whom_it_leads_to_and_goes_there_by_id() {
    let mut state = double(100, 24);
    press(&mut state, KeyCode::Char('k'), KeyModifiers::CONTROL);
    type_text(&mut state, "@zed");
    let shown = all_marked_but_the_field(&state);
    assert!(shown.contains("@zed~MK2X") && shown.contains("@zed~MK4X"), "{shown}");
    press(&mut state, KeyCode::Down, KeyModifiers::NONE);
    let wishes = press(&mut state, KeyCode::Enter, KeyModifiers::NONE);
    let Some(Wish::Act { action: Action::Dm { who, .. }, .. }) = wishes.first() else {
        panic!("{wishes:?}")
    };
    assert_eq!(*who, format!("@{}", IdentityId([4; 32])));
    assert_eq!(state.me.device, Some(ALICE));
}

/// What is typed into a field stays as it was typed.
fn all_marked_but_the_field(state: &State) -> String {
    let shown = picture(state);
    let rows: Vec<&str> = shown.lines().filter(|row| !row.contains("> @zed")).collect();
    for row in &rows {
        assert_eq!(row.matches("zed").count(), row.matches("zed~MK").count(), "{shown}");
    }
    shown
}

#[test]
fn lines_on_the_screen_get_the_mark_of_a_namesake_who_comes_later() {
    let mut state = double(100, 24);
    let alone = |n| Member { name_mark: None, typed_mark: None, ..zed(n) };
    let lines = [Message { name_mark: None, ..by_zed(1, 2, "hello") }];
    answer(&mut state, Tag::Newest(GARDEN), &lines);
    answer(&mut state, Tag::Members(GARDEN), &[member(9, "alice", true), alone(2)]);
    let reply_to = Some(EntryId(id(1)));
    let joined = Message { kind: Kind::Profile, seq: 0, ..by_zed(7, 4, "zed") };
    let answered = Message { reply_to, ..by_zed(8, 4, "it is me") };
    for message in [joined, answered] {
        fold(&mut state, NOW, told(Event::MessageAdded { message: Box::new(message) }));
    }
    let wishes = fold(&mut state, NOW + 1_000, Input::Tick);
    let asked = |w: &Wish| matches!(w, Wish::Call { method: "room.members", .. });
    assert!(wishes.iter().any(asked), "{wishes:?}");
    answer(&mut state, Tag::Members(GARDEN), &[member(9, "alice", true), zed(2), zed(4)]);
    let shown = all_marked(&state, "a namesake");
    assert!(shown.contains("zed~MK2X  hello") && shown.contains("↪ zed~MK2X: hello"), "{shown}");
    // And loses it when the other has another name.
    answer(&mut state, Tag::Members(GARDEN), &[member(9, "alice", true), alone(2)]);
    assert!(picture(&state).contains(" zed       hello"), "{}", picture(&state));
}
