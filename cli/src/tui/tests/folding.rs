//! Keys, events and answers: what they change, and what they make the screen wish for.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use klatch_core::content::Kind;
use klatch_core::event::{ContactNews, Delivery, Event, Message};
use klatch_core::ids::{EntryId, IdentityId, RoomId};
use serde_json::{Value, json};

use super::pictures::picture;
use super::scenes::{
    ALICE, BOB, GARDEN, GENERAL, NOW, answer, fresh, id, lines, lively, room, said, status, told,
};
use super::{message, type_text};
use crate::act::{Effect, Here, Outcome};
use crate::error::{Report, exit};
use crate::slash::Action;
use crate::tui::composer::Composer;
use crate::tui::fold::fold;
use crate::tui::overlay::Overlay;
use crate::tui::settings::Keymap;
use crate::tui::state::{Input, Level, State, Tag, View, Wish};

pub(super) fn press(state: &mut State, code: KeyCode, modifiers: KeyModifiers) -> Vec<Wish> {
    fold(state, NOW, Input::Key(KeyEvent::new(code, modifiers)))
}

pub(super) fn enter(state: &mut State) -> Vec<Wish> {
    press(state, KeyCode::Enter, KeyModifiers::NONE)
}

/// The parameters of the call to a method.
pub(super) fn call(wishes: &[Wish], wanted: &str) -> Option<Value> {
    wishes.iter().find_map(|w| match w {
        Wish::Call { method, params, .. } if *method == wanted => Some(params.clone()),
        _ => None,
    })
}

/// Somebody says something, some time after the last thing that happened.
fn heard(state: &mut State, message: Message) -> Vec<Wish> {
    fold(state, state.now_ms + 3_000, told(Event::MessageAdded { message: Box::new(message) }))
}

#[test]
fn enter_sends_and_the_text_is_gone_from_the_composer() {
    let mut state = lively(80, 24);
    type_text(&mut state, "hello");
    let params = call(&enter(&mut state), "message.send").unwrap();
    assert_eq!(
        params,
        json!({"room": GARDEN, "text": "hello", "reply_to": null, "idempotency_key": "tui-here-1"})
    );
    assert!(state.composer.is_empty());
    assert_eq!(call(&enter(&mut state), "message.send"), None, "nothing to send");
    press(&mut state, KeyCode::Up, KeyModifiers::NONE);
    assert_eq!(state.composer.text(), "hello");
}

#[test]
fn a_text_that_was_refused_is_back_where_it_was_typed() {
    let mut state = lively(80, 24);
    type_text(&mut state, "hello");
    enter(&mut state);
    let refused = || Err(Report::new("KLATCH-X", "too fast", "wait", exit::FAILED));
    fold(&mut state, NOW, Input::Answer(Tag::Sent(1), refused()));
    assert_eq!(state.composer.text(), "hello");
    assert!(picture(&state).contains("! not sent: \"hello\""));
    // If something else stands there, Up brings it back.
    press(&mut state, KeyCode::Char('u'), KeyModifiers::CONTROL);
    type_text(&mut state, "lost");
    enter(&mut state);
    type_text(&mut state, "hello");
    fold(&mut state, NOW, Input::Answer(Tag::Sent(2), refused()));
    assert_eq!(state.composer.text(), "hello");
    press(&mut state, KeyCode::Char('c'), KeyModifiers::CONTROL);
    press(&mut state, KeyCode::Up, KeyModifiers::NONE);
    press(&mut state, KeyCode::Up, KeyModifiers::NONE);
    assert_eq!(state.composer.text(), "lost");
}

#[test]
fn texts_under_way_when_the_link_broke_are_asked_for_again_under_their_keys() {
    let mut state = lively(100, 24);
    type_text(&mut state, "first");
    let first = call(&enter(&mut state), "message.send").unwrap();
    type_text(&mut state, "second");
    let second = call(&enter(&mut state), "message.send").unwrap();
    assert_ne!(first["idempotency_key"], second["idempotency_key"]);
    fold(&mut state, NOW, Input::Answer(Tag::Sent(1), Ok(json!({}))));
    let unanswered = vec![Tag::Sent(2), Tag::Change("cannot answer the request")];
    fold(&mut state, NOW, Input::Lost("the node ended".to_owned(), unanswered));
    let shown = picture(&state);
    assert!(shown.contains("a message waits for it"), "{shown}");
    assert!(shown.contains("cannot answer the request"), "no wish is lost silently: {shown}");
    // Nothing is handed over into the void.
    type_text(&mut state, "third");
    assert_eq!(call(&enter(&mut state), "message.send"), None);
    assert_eq!(state.composer.text(), "third");
    let wishes = fold(&mut state, NOW, Input::Found);
    let sends: Vec<&Value> = wishes
        .iter()
        .filter_map(|w| match w {
            Wish::Call { method: "message.send", params, .. } => Some(params),
            _ => None,
        })
        .collect();
    assert_eq!(sends, [&second], "the very same request, and not the one that was answered");
    // It breaks once more, and the user gives up: the text is kept as a draft.
    fold(&mut state, NOW, Input::Lost("gone".to_owned(), vec![Tag::Sent(2)]));
    let drafts = crate::tui::sending::drafts(&state);
    assert_eq!(drafts.get(&GARDEN).map(String::as_str), Some("third\nsecond"));
    fold(&mut state, NOW, Input::Found);
    fold(&mut state, NOW, Input::Answer(Tag::Sent(2), Ok(json!({}))));
    assert!(state.sending.is_empty() && state.wrote);
}

#[test]
fn bare_words_are_sent_only_on_the_second_enter() {
    for word in ["exit", "quit", "help", ":q"] {
        let mut state = lively(80, 24);
        type_text(&mut state, word);
        assert_eq!(call(&enter(&mut state), "message.send"), None, "{word}");
        assert!(picture(&state).contains("was not sent"), "{word}");
        assert_eq!(call(&enter(&mut state), "message.send").unwrap()["text"], word);
    }
    // Typing on forgets the warning.
    let mut state = lively(80, 24);
    type_text(&mut state, "exit");
    enter(&mut state);
    type_text(&mut state, "x");
    press(&mut state, KeyCode::Backspace, KeyModifiers::NONE);
    assert_eq!(call(&enter(&mut state), "message.send"), None);
}

#[test]
fn commands_go_to_the_shared_executor_with_place_and_recent_messages() {
    let mut state = lively(80, 24);
    type_text(&mut state, "/reply ^ yes");
    let wishes = enter(&mut state);
    let Some(Wish::Act { action, here, recent, .. }) = wishes.first() else { panic!("{wishes:?}") };
    assert_eq!(*action, Action::Reply { message: "^".into(), text: "yes".into() });
    assert_eq!(here.as_ref().unwrap().room, GARDEN);
    assert!(
        recent.iter().all(|m| m.kind != Kind::Profile)
            && recent.last().unwrap().id == EntryId(id(11))
    );
    type_text(&mut state, "/nosuch");
    assert!(enter(&mut state).is_empty());
    assert!(picture(&state).contains("there is no /nosuch"));
    assert_eq!(state.composer.text(), "/nosuch", "a slip can be mended");
}

#[test]
fn effects_of_commands_are_followed() {
    let mut state = lively(80, 24);
    let acted = |effect| Input::Acted(Ok(Box::new(Outcome { effect, ..Outcome::default() })));
    let there = Here { room: RoomId([40; 16]), name: "#new".to_owned(), direct: false };
    let wishes = fold(&mut state, NOW, acted(Effect::Go(there)));
    assert_eq!(state.chat().unwrap().name, "#new");
    assert!(call(&wishes, "message.list").is_some());
    fold(&mut state, NOW, acted(Effect::Left(RoomId([40; 16]))));
    assert_eq!(state.here, Some(GARDEN), "back to where one was");
    fold(
        &mut state,
        NOW,
        acted(Effect::Confirm {
            question: "Send it to 3 rooms?".into(),
            action: Box::new(Action::Rooms),
        }),
    );
    assert!(picture(&state).contains("Send it to 3 rooms? y = yes"));
    assert!(press(&mut state, KeyCode::Char('n'), KeyModifiers::NONE).is_empty());
    fold(
        &mut state,
        NOW,
        acted(Effect::Confirm { question: "?".into(), action: Box::new(Action::Rooms) }),
    );
    let wishes = press(&mut state, KeyCode::Char('y'), KeyModifiers::NONE);
    assert!(matches!(wishes.first(), Some(Wish::Act { action: Action::Rooms, .. })));
    fold(&mut state, NOW, acted(Effect::Quit { lock: true }));
    assert_eq!(state.quit, Some(true));
}

#[test]
fn unread_and_mentions_are_counted_where_one_is_not() {
    let mut state = lively(80, 24);
    let there =
        |n, text: &str| Message { room: GENERAL, name_mark: None, ..said(n, 2, "bob", 0, text) };
    assert!(!heard(&mut state, there(50, "hello")).iter().any(|w| matches!(w, Wish::Notify(_))));
    let wishes = heard(&mut state, there(51, "Alice, are you there?"));
    let Some(Wish::Notify(notice)) = wishes.iter().find(|w| matches!(w, Wish::Notify(_))) else {
        panic!("{wishes:?}")
    };
    assert_eq!((notice.title.as_str(), notice.kind), ("bob in #general", "mention"));
    heard(&mut state, Message { own: true, ..there(52, "alice") });
    let chat = state.chat_of(GENERAL).unwrap();
    assert_eq!((chat.unread, chat.mentions), (2, 1));
    // Alt+A goes there first, because somebody calls.
    press(&mut state, KeyCode::Char('a'), KeyModifiers::ALT);
    assert_eq!(state.here, Some(GENERAL));
    let page = [there(50, "hello"), there(51, "Alice, are you there?")];
    let wishes = answer(&mut state, Tag::Newest(GENERAL), &page);
    assert_eq!(call(&wishes, "room.mark_read").unwrap(), json!({"room": GENERAL, "upto": 51}));
    assert_eq!(state.chat().unwrap().unread, 0);
    assert!(picture(&state).contains(" 2 new "));
    // Nothing is read behind the user's back.
    fold(&mut state, NOW, Input::Focus(false));
    let wishes = heard(&mut state, there(53, "alice?"));
    assert!(
        call(&wishes, "room.mark_read").is_none()
            && wishes.iter().any(|w| matches!(w, Wish::Notify(_)))
    );
    assert_eq!(state.chat().unwrap().unread, 1);
    assert!(call(&fold(&mut state, NOW, Input::Focus(true)), "room.mark_read").is_some());
}

#[test]
fn a_room_is_as_loud_as_the_user_wants() {
    let mut state = lively(80, 24);
    let there =
        |n, text: &str| Message { room: GENERAL, name_mark: None, ..said(n, 2, "bob", 0, text) };
    let notifies =
        |state: &mut State, m| heard(state, m).iter().any(|w| matches!(w, Wish::Notify(_)));
    state.levels.insert(GENERAL, Level::None);
    assert!(!notifies(&mut state, there(50, "alice!")));
    state.levels.insert(GENERAL, Level::All);
    assert!(notifies(&mut state, there(51, "hello")));
    let direct = Message { room: BOB, direct: true, ..said(52, 2, "bob", 0, "psst") };
    assert!(notifies(&mut state, direct));
    // Alt+N goes round and is kept.
    press(&mut state, KeyCode::Char('n'), KeyModifiers::ALT);
    assert_eq!(state.levels.get(&GARDEN), Some(&Level::None));
    let later = state.now_ms + 2_000;
    assert!(fold(&mut state, later, Input::Tick).contains(&Wish::Keep));
    assert!(!fold(&mut state, later + 2_000, Input::Tick).contains(&Wish::Keep), "once");
}

#[test]
fn delivery_edits_and_reactions_are_read_again() {
    let mut state = lively(80, 24);
    let changed = Event::DeliveryChanged {
        room: GARDEN,
        direct: false,
        upto_seq: 10,
        state: Delivery::Delivered { n: 3, m: 3 },
    };
    fold(&mut state, NOW, told(changed));
    let wishes = fold(&mut state, NOW + 1_000, Input::Tick);
    assert!(call(&wishes, "message.list").is_some(), "once for a crowd of them");
    assert!(call(&fold(&mut state, NOW + 1_001, Input::Tick), "message.list").is_none());
    let edit = Message {
        kind: Kind::Edit,
        target: Some(EntryId(id(2))),
        ..said(60, 2, "bob", 0, "new words")
    };
    let wishes = heard(&mut state, edit);
    assert_eq!(call(&wishes, "message.get").unwrap()["message_id"], json!(EntryId(id(2))));
    answer(
        &mut state,
        Tag::Changed(GARDEN, EntryId(id(2))),
        &Message { edited: true, ..said(2, 2, "bob", 1_440, "new words") },
    );
    assert!(state.timeline().unwrap().find(EntryId(id(2))).unwrap().edited);
    // A change of a line that is not in memory needs nothing.
    let far =
        Message { kind: Kind::Edit, target: Some(EntryId([99; 16])), ..said(61, 2, "bob", 0, "x") };
    assert!(call(&heard(&mut state, far), "message.get").is_none());
}

#[test]
fn history_is_asked_for_by_pages_near_the_edge_only() {
    let mut state = fresh(80, 24);
    answer(&mut state, Tag::Status, &status(vec![room(GARDEN, "#garden", 0)]));
    let page: Vec<Message> = (400..500).map(message).collect();
    let wishes = answer(&mut state, Tag::Newest(GARDEN), &page);
    assert!(call(&wishes, "message.list").is_none(), "the end was asked for, the beginning is far");
    let wishes: Vec<Wish> =
        (0..6).flat_map(|_| press(&mut state, KeyCode::PageUp, KeyModifiers::NONE)).collect();
    let asked: Vec<&Wish> =
        wishes.iter().filter(|w| matches!(w, Wish::Call { method: "message.list", .. })).collect();
    assert_eq!(asked.len(), 1, "asked once: {asked:?}");
    assert_eq!(call(&wishes, "message.list").unwrap()["before"], json!(message(400).id));
    let older: Vec<Message> = (300..400).map(message).collect();
    answer(&mut state, Tag::Older(GARDEN, message(400).id), &older);
    assert_eq!(state.timeline().unwrap().lines.front().unwrap().journal, 300);
}

#[test]
fn a_search_jumps_to_the_place_with_what_surrounds_it() {
    let mut state = lively(80, 24);
    press(&mut state, KeyCode::Char('f'), KeyModifiers::CONTROL);
    type_text(&mut state, "seeds");
    let wishes = fold(&mut state, NOW + 500, Input::Tick);
    let params = call(&wishes, "message.list").unwrap();
    assert_eq!((&params["search"], &params["room"]), (&json!("seeds"), &json!(GARDEN)));
    // An answer to an older question is not shown.
    type_text(&mut state, "!");
    fold(&mut state, NOW + 1_000, Input::Tick);
    answer(&mut state, Tag::Search(1), &lines());
    assert!(matches!(&state.overlay, Some(Overlay::Search { found: None, .. })));
    answer(&mut state, Tag::Search(2), &[Message { room: GARDEN, ..message(7_000) }]);
    let wishes = enter(&mut state);
    let ids: Vec<Value> = wishes
        .iter()
        .filter_map(|w| match w {
            Wish::Call { params, .. } => Some(json!([params["before"], params["after"]])),
            _ => None,
        })
        .collect();
    let at = json!(message(7_000).id);
    assert_eq!(ids, [json!([at, null]), json!([null, at])]);
    answer(
        &mut state,
        Tag::Older(GARDEN, message(7_000).id),
        &(6_900..7_000).map(message).collect::<Vec<_>>(),
    );
    answer(
        &mut state,
        Tag::Newer(GARDEN, message(7_000).id),
        &(7_001..7_101).map(message).collect::<Vec<_>>(),
    );
    let shown = picture(&state);
    assert!(
        shown.contains("▸")
            && shown.contains("line 7000")
            && shown.contains("line 6996")
            && shown.contains("line 7004")
    );
    let wishes = press(&mut state, KeyCode::End, KeyModifiers::NONE);
    assert!(call(&wishes, "message.list").is_some(), "the end is read anew");
}

#[test]
fn drafts_stay_with_their_rooms_and_are_kept() {
    let mut state = lively(80, 24);
    type_text(&mut state, "for the garden");
    press(&mut state, KeyCode::Char('n'), KeyModifiers::CONTROL);
    assert!(state.here == Some(GENERAL) && state.composer.is_empty());
    press(&mut state, KeyCode::Char('p'), KeyModifiers::CONTROL);
    assert_eq!(state.composer.text(), "for the garden");
    assert!(fold(&mut state, NOW + 5_000, Input::Tick).contains(&Wish::Keep));
    enter(&mut state);
    assert!(state.drafts.is_empty());
}

#[test]
fn ctrl_c_clears_before_it_ends() {
    let mut state = lively(80, 24);
    type_text(&mut state, "half");
    press(&mut state, KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert!(state.quit.is_none() && state.composer.is_empty());
    press(&mut state, KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(state.quit, Some(false));
}

#[test]
fn selected_messages_are_answered_copied_and_changed() {
    let mut state = lively(80, 24);
    press(&mut state, KeyCode::Char('r'), KeyModifiers::ALT);
    type_text(&mut state, "sure");
    assert_eq!(
        call(&enter(&mut state), "message.send").unwrap()["reply_to"],
        json!(EntryId(id(11)))
    );
    for _ in 0..3 {
        press(&mut state, KeyCode::Up, KeyModifiers::ALT);
    }
    let wishes = press(&mut state, KeyCode::Char('g'), KeyModifiers::CONTROL);
    assert!(
        wishes.contains(&Wish::Copy("10:00 is better for me, @alice".to_owned())),
        "{wishes:?}"
    );
    press(&mut state, KeyCode::Char('e'), KeyModifiers::ALT);
    assert!(state.composer.edit.is_none(), "it is carol's");
    press(&mut state, KeyCode::Up, KeyModifiers::ALT);
    press(&mut state, KeyCode::Char('e'), KeyModifiers::ALT);
    assert_eq!(state.composer.text(), "or 11:00");
    type_text(&mut state, " then");
    let params = call(&enter(&mut state), "message.edit").unwrap();
    assert_eq!(
        (&params["message_id"], &params["text"]),
        (&json!(EntryId(id(8))), &json!("or 11:00 then"))
    );
}

#[test]
fn tab_completes_commands_rooms_names_and_emoji() {
    let complete = |text: &str, tabs: usize| {
        let mut state = lively(100, 24);
        type_text(&mut state, text);
        for _ in 0..tabs {
            press(&mut state, KeyCode::Tab, KeyModifiers::NONE);
        }
        state.composer.text()
    };
    assert_eq!(complete("/whoa", 1), "/whoami ");
    assert_eq!(complete("/join #gen", 1), "/join #general ");
    assert_eq!(complete("see #rel", 1), "see #relay-ops ");
    assert_eq!(complete("car", 1), "carol: ");
    assert_eq!(complete("ask @da", 1), "ask @dan ");
    assert_eq!(complete("nice :seedl", 1), "nice 🌱 ");
    assert_eq!(complete("see you :)", 1), "see you :)");
    assert_eq!(complete("/react ^ :thumbsup", 1), "/react ^ 👍 ");
    assert_ne!(complete("/un", 1), complete("/un", 2), "round and round");
}

#[test]
fn requests_are_answered_by_one_key() {
    let mut state = lively(100, 24);
    press(&mut state, KeyCode::Char('6'), KeyModifiers::ALT);
    let wishes = press(&mut state, KeyCode::F(2), KeyModifiers::NONE);
    assert_eq!(call(&wishes, "contact.accept").unwrap(), json!({"who": IdentityId([13; 32])}));
    let wishes = press(&mut state, KeyCode::F(4), KeyModifiers::NONE);
    assert!(call(&wishes, "contact.block").is_some());
    press(&mut state, KeyCode::Char('1'), KeyModifiers::ALT);
    assert!(
        press(&mut state, KeyCode::F(4), KeyModifiers::NONE).is_empty(),
        "nobody is blocked by accident"
    );
}

#[test]
fn changed_keys_of_a_verified_person_are_loud() {
    let mut state = lively(100, 24);
    let event = Event::ContactChanged {
        identity: IdentityId([11; 32]),
        room: BOB,
        name: "bob".to_owned(),
        name_mark: None,
        news: ContactNews::KeysChanged,
    };
    fold(&mut state, NOW, told(event));
    let shown = picture(&state);
    assert!(
        shown.contains("! the keys of bob, whom you verified, have CHANGED: /verify @bob"),
        "{shown}"
    );
    assert!(shown.contains("KEYS!") && shown.contains("before you trust what"), "{shown}");
}

#[test]
fn typing_is_told_in_conversations_only_and_not_at_each_key() {
    let mut state = lively(100, 24);
    type_text(&mut state, "x");
    press(&mut state, KeyCode::Char('c'), KeyModifiers::CONTROL);
    press(&mut state, KeyCode::Char('4'), KeyModifiers::ALT);
    let typing = |state: &mut State, c| {
        call(&press(state, KeyCode::Char(c), KeyModifiers::NONE), "message.typing")
    };
    assert!(typing(&mut state, 'a').is_some() && typing(&mut state, 'b').is_none());
    fold(&mut state, NOW + 20_000, Input::Tick);
    let typing = Event::Typing { room: BOB, name: "bob".into(), name_mark: None, typing: true };
    fold(&mut state, NOW, told(typing));
    assert!(picture(&state).contains("bob is typing…"));
    fold(&mut state, NOW + 60_000, Input::Tick);
    assert!(!picture(&state).contains("is typing"));
}

#[test]
fn a_node_that_went_and_came_back_is_read_anew() {
    let mut state = lively(100, 24);
    fold(&mut state, NOW, Input::Lost("the node ended".to_owned(), Vec::new()));
    assert!(picture(&state).contains("NO NODE: the node ended"));
    let wishes = fold(&mut state, NOW + 5_000, Input::Found);
    assert!(call(&wishes, "node.status").is_some() && call(&wishes, "message.list").is_some());
    assert!(!picture(&state).contains("NO NODE"));
    assert_eq!(state.me.device, Some(ALICE));
}

#[test]
fn nobody_can_look_like_somebody_else() {
    let shown = picture(&lively(120, 40));
    // Two devices call themselves bob: both carry the beginning of their key.
    assert!(shown.lines().filter(|l| l.contains("bob~")).count() >= 3, "{shown}");
}

#[test]
fn what_is_read_is_closed_by_its_own_keys_and_by_typing_on_which_loses_no_letter() {
    let plain = KeyModifiers::NONE;
    let panel = |state: &mut State| {
        let (title, lines) = ("Answer".to_owned(), vec!["one".to_owned(), "two".to_owned()]);
        state.overlay = Some(Overlay::Panel { title, lines, top: 0 });
    };
    let help = |state: &mut State| drop(press(state, KeyCode::F(1), plain));
    let opens: [&dyn Fn(&mut State); 2] = [&panel, &help];
    for open in opens {
        for close in [KeyCode::Esc, KeyCode::Enter] {
            let mut state = lively(100, 24);
            open(&mut state);
            assert!(picture(&state).contains("closes)"));
            press(&mut state, KeyCode::Tab, plain);
            press(&mut state, KeyCode::PageDown, plain);
            assert!(state.overlay.is_some(), "it stays");
            press(&mut state, close, plain);
            assert!(state.overlay.is_none() && state.composer.is_empty(), "{close:?}");
        }
        for said in ["hello there", "quick question", "just a word", "/whoami"] {
            let mut state = lively(100, 24);
            open(&mut state);
            type_text(&mut state, said);
            assert!(state.overlay.is_none());
            assert_eq!(state.composer.text(), said);
        }
        let mut state = lively(100, 24);
        open(&mut state);
        fold(&mut state, NOW, Input::Paste("pasted".to_owned()));
        assert!(state.overlay.is_none() && state.composer.text() == "pasted");
        // Where letters are commands they scroll.
        let mut state = lively(100, 24);
        state.composer = Composer::new(Keymap::Vi);
        press(&mut state, KeyCode::Esc, plain);
        open(&mut state);
        type_text(&mut state, "jjk");
        assert!(state.overlay.is_some());
        type_text(&mut state, "q");
        assert!(state.overlay.is_none() && state.composer.is_empty());
    }
    // The network view shows the prompt, too.
    let mut state = lively(100, 24);
    press(&mut state, KeyCode::F(5), plain);
    type_text(&mut state, "quiet here");
    assert_eq!((state.composer.text().as_str(), state.view), ("quiet here", View::Chat));
}

#[test]
fn a_new_attempt_at_a_passphrase_is_not_shown_with_the_error_of_the_last() {
    let mut state = lively(100, 24);
    let plain = KeyModifiers::NONE;
    state.warn("the last attempt failed");
    type_text(&mut state, "/join #study --passphrase");
    press(&mut state, KeyCode::Enter, plain);
    assert!(!picture(&state).contains("the last attempt failed"));
    press(&mut state, KeyCode::Enter, plain);
    assert!(picture(&state).contains("type a passphrase"));
    type_text(&mut state, "s");
    assert!(!picture(&state).contains("type a passphrase"), "{}", picture(&state));
}
