//! What comes up every day: pastes, long texts, links, what is offered while one types, notices
//! after being away, things that were deleted.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use klatch_core::event::{Event, Message};
use klatch_core::ids::{EntryId, IdentityId};
use klatch_core::query::{Contact, Standing, Verification};
use serde_json::{Value, json};

use super::pictures::picture;
use super::scenes::{
    BOB, GARDEN, GENERAL, NOW, RELAY, answer, id, lively, room, said, status, told,
};
use super::type_text;
use crate::error::{Report, exit};
use crate::slash::Action;
use crate::tui::fold::fold;
use crate::tui::state::{Input, Level, Notice, State, Tag, Wish};

fn press(state: &mut State, code: KeyCode, modifiers: KeyModifiers) -> Vec<Wish> {
    fold(state, state.now_ms, Input::Key(KeyEvent::new(code, modifiers)))
}

fn letter(state: &mut State, c: char) -> Vec<Wish> {
    press(state, KeyCode::Char(c), KeyModifiers::NONE)
}

fn sent(wishes: &[Wish]) -> Vec<&Value> {
    let sends = wishes.iter().filter_map(|w| match w {
        Wish::Call { method: "message.send", params, .. } => Some(&params["text"]),
        _ => None,
    });
    sends.collect()
}

fn notices(wishes: Vec<Wish>) -> Vec<Notice> {
    wishes
        .into_iter()
        .filter_map(|w| match w {
            Wish::Notify(notice) => Some(notice),
            _ => None,
        })
        .collect()
}

fn paste(lines: usize) -> String {
    (1..=lines).map(|n| format!("y line {n}\n")).collect()
}

fn crowd(text: &str) -> Input {
    let key = |c| match c {
        '\n' => KeyEvent::from(KeyCode::Enter),
        c => KeyEvent::from(KeyCode::Char(c)),
    };
    Input::Keys(text.chars().map(key).collect())
}

#[test]
fn a_paste_of_many_lines_is_asked_about_whether_the_terminal_marks_it_or_not() {
    for marked in [true, false] {
        let input = |text: &str| if marked { Input::Paste(text.to_owned()) } else { crowd(text) };
        let mut state = lively(100, 24);
        assert_eq!(fold(&mut state, NOW, input(&paste(60))), [], "nothing is sent unasked");
        if !marked {
            // The terminal sends the rest a moment later: it is no answer to the question.
            assert_eq!(fold(&mut state, NOW + 100, crowd("y and more\n")), []);
        }
        let lines = if marked { "60" } else { "61" };
        assert!(picture(&state).contains(&format!("{lines} lines pasted: send as one message?")));
        state.now_ms += 1_000;
        letter(&mut state, 'n');
        assert!(state.composer.is_empty() && state.pasted.is_none());
        fold(&mut state, NOW + 5_000, input(&paste(7)));
        state.now_ms += 1_000;
        letter(&mut state, 'e');
        assert_eq!(state.composer.area.lines().len(), 7, "to be edited first");
        assert!(picture(&state).contains("7 lines"), "not all of them are shown");
        press(&mut state, KeyCode::Char('c'), KeyModifiers::CONTROL);
        fold(&mut state, NOW + 10_000, input(&paste(60)));
        state.now_ms += 1_000;
        let wishes = letter(&mut state, 'y');
        assert_eq!(sent(&wishes), [&json!(paste(60).trim_end())]);
    }
    // A few lines are put in as ever; typed ones are sent as ever.
    let mut state = lively(100, 24);
    fold(&mut state, NOW, Input::Paste(paste(3)));
    assert!(state.pasted.is_none() && state.composer.text().contains("y line 3"));
    let mut state = lively(100, 24);
    assert_eq!(sent(&fold(&mut state, NOW, crowd("one\ntwo\n"))), [&json!("one"), &json!("two")]);
}

#[test]
fn a_slip_at_the_question_about_a_paste_loses_nothing() {
    let mut state = lively(100, 24);
    fold(&mut state, NOW, Input::Paste("one\rtwo\rthree\rfour\rfive\rsix\r".to_owned()));
    assert!(picture(&state).contains("6 lines pasted"), "lines end as Enter ends them");
    for slip in ['x', 'k', ' '] {
        letter(&mut state, slip);
        assert!(picture(&state).contains("6 lines pasted"), "{slip}");
    }
    letter(&mut state, 'n');
    assert!(state.composer.is_empty() && picture(&state).contains("nothing was put in"));
    press(&mut state, KeyCode::Up, KeyModifiers::NONE);
    assert_eq!(state.composer.text(), "one\ntwo\nthree\nfour\nfive\nsix");
    // The line that has not begun is not counted.
    state.composer.set(&paste(7));
    assert!(picture(&state).contains("7 lines"), "{}", picture(&state));
}

#[test]
fn enter_takes_the_emoji_that_is_offered_first() {
    let reacts = |typed: &str| {
        let mut state = lively(100, 30);
        press(&mut state, KeyCode::Char('x'), KeyModifiers::ALT);
        type_text(&mut state, typed);
        let wishes = press(&mut state, KeyCode::Enter, KeyModifiers::NONE);
        wishes.into_iter().find_map(|w| match w {
            Wish::Act { action: Action::React { emoji, .. }, .. } => Some(emoji),
            _ => None,
        })
    };
    assert_eq!(reacts("heart").as_deref(), Some("❤️"));
    assert_eq!(reacts("heart:").as_deref(), Some(":heart:"));
    assert_eq!(reacts("seedl").as_deref(), Some("🌱"));
    // What is usual stands above, before anything is typed.
    let mut state = lively(100, 30);
    press(&mut state, KeyCode::Char('x'), KeyModifiers::ALT);
    let shown = picture(&state);
    assert!(shown.contains("👍 :+1:") && shown.contains("❤️ :heart:"), "{shown}");
    assert!(!shown.contains(":fu:"), "{shown}");
}

#[test]
fn what_was_said_of_a_text_is_gone_with_the_next_one() {
    let mut state = lively(100, 24);
    type_text(&mut state, "one");
    press(&mut state, KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert!(picture(&state).contains("cleared"));
    type_text(&mut state, "two");
    press(&mut state, KeyCode::Enter, KeyModifiers::NONE);
    assert!(!picture(&state).contains("cleared"));
}

#[test]
fn a_draft_that_cannot_be_kept_is_not_told_over_a_message_that_was_not_sent() {
    let mut state = lively(100, 24);
    let full = || Input::Unkept("drafts cannot be kept: No space left".to_owned());
    fold(&mut state, NOW, full());
    assert!(picture(&state).contains("No space left"));
    type_text(&mut state, "hello");
    press(&mut state, KeyCode::Enter, KeyModifiers::NONE);
    let report = Report::new("KLATCH-DISK", "the disk is full", "make space", exit::FAILED);
    fold(&mut state, NOW, Input::Answer(Tag::Sent(1), Err(report)));
    fold(&mut state, NOW, full());
    assert!(picture(&state).contains("not sent: \"hello\""), "{}", picture(&state));
}

#[test]
fn a_paste_that_is_no_message_is_refused_however_it_comes() {
    let mut state = lively(100, 24);
    fold(&mut state, NOW, crowd(&paste(6_000)));
    assert!(picture(&state).contains("nothing was put in"));
    assert_eq!(fold(&mut state, NOW + 50, crowd("y\ny\n")), []);
    assert!(state.composer.is_empty());
    state.now_ms += 1_000;
    type_text(&mut state, "typed");
    assert_eq!(state.composer.text(), "typed", "and then it is as ever");
}

#[test]
fn a_long_text_is_folded_and_enter_shows_it() {
    let mut state = lively(100, 40);
    let text = paste(60);
    let message = Box::new(said(30, 2, "bob", 0, &text));
    fold(&mut state, NOW, told(Event::MessageAdded { message }));
    let shown = picture(&state);
    assert!(shown.contains("line 8") && !shown.contains("line 9"), "{shown}");
    assert!(shown.contains("+52 lines (Enter shows them)"), "{shown}");
    press(&mut state, KeyCode::Enter, KeyModifiers::NONE);
    let shown = picture(&state);
    assert!(shown.contains("line 60") && !shown.contains("Enter shows"), "{shown}");
    press(&mut state, KeyCode::Enter, KeyModifiers::NONE);
    assert!(picture(&state).contains("+52 lines"));
}

#[test]
fn what_can_follow_is_offered_while_one_types_and_an_option_turns_it_off() {
    let mut state = lively(100, 30);
    type_text(&mut state, "/");
    let shown = picture(&state);
    assert!(shown.contains("/join #ROOM") && shown.contains("open a room"), "{shown}");
    assert!(shown.contains("more · Tab takes it, Esc closes"), "{shown}");
    type_text(&mut state, "wh");
    let shown = picture(&state);
    assert!(shown.contains("/whoami") && !shown.contains("/join"), "it narrows: {shown}");
    press(&mut state, KeyCode::Esc, KeyModifiers::NONE);
    assert!(!picture(&state).contains("Tab takes it"));
    assert_eq!(state.composer.text(), "/wh", "only the list is closed");
    for (typed, offered) in [("ask @da", "dan"), ("see #rel", "#relay-ops"), ("nice :seedl", "🌱")]
    {
        let mut state = lively(100, 30);
        type_text(&mut state, typed);
        assert!(picture(&state).contains("Tab takes it"), "{typed}");
        assert!(picture(&state).contains(offered), "{typed}");
    }
    for none in ["hello", "see you :)", "a/b", "//etc"] {
        let mut state = lively(100, 30);
        type_text(&mut state, none);
        assert!(!picture(&state).contains("Tab takes it"), "{none}");
    }
    let mut state = lively(100, 30);
    state.settings.suggest = false;
    type_text(&mut state, "/wh");
    assert!(!picture(&state).contains("Tab takes it"));
    press(&mut state, KeyCode::Tab, KeyModifiers::NONE);
    assert!(picture(&state).contains("Tab takes it"), "Tab opens it all the same");
}

#[test]
fn wide_screens_keep_texts_short_and_conversations_have_no_empty_column() {
    let mut state = lively(300, 40);
    let message = Box::new(said(30, 2, "bob", 0, &"word ".repeat(100)));
    fold(&mut state, NOW, told(Event::MessageAdded { message }));
    let shown = picture(&state);
    let widest = shown.lines().map(|l| l.matches("word").count()).max();
    assert!(widest.is_some_and(|n| (18..=21).contains(&n)), "{widest:?} words of 5 in a row");
    assert!(shown.contains("PEOPLE") && !shown.contains("Alt+M hides"));
    press(&mut state, KeyCode::Char('4'), KeyModifiers::ALT);
    assert_eq!(state.here, Some(BOB));
    assert!(!picture(&state).contains("PEOPLE"));
}

#[test]
fn remarks_fade_by_themselves() {
    let mut state = lively(100, 24);
    state.say("said in #lobby");
    assert!(state.wake_ms() <= NOW + 10_000, "nobody has to press a key");
    fold(&mut state, NOW + 10_001, Input::Tick);
    assert!(!picture(&state).contains("said in #lobby"));
}

#[test]
fn links_are_found_where_they_are_drawn_and_a_key_copies_or_lists_them() {
    let mut state = lively(60, 24);
    let link = "https://example.org/a/long/path/that/does/not/fit/into/one/row?of=this&screen=1";
    let message = Box::new(said(30, 2, "bob", 0, &format!("look: {link} there")));
    fold(&mut state, NOW, told(Event::MessageAdded { message }));
    let backend = ratatui::backend::TestBackend::new(60, 24);
    let mut terminal = ratatui::Terminal::new(backend).unwrap();
    let mut pieces = Vec::new();
    terminal.draw(|frame| pieces = crate::tui::draw::draw(&state, frame)).unwrap();
    assert!(pieces.len() >= 2 && pieces.iter().all(|p| p.to == link), "{pieces:?}");
    let buffer = terminal.backend().buffer();
    let signs = |p: &crate::tui::links::Piece| {
        (p.x..p.x + p.columns).map(|x| buffer[(x, p.y)].symbol()).collect::<String>()
    };
    assert_eq!(pieces.iter().map(signs).collect::<String>(), link, "exactly those cells");
    let wishes = press(&mut state, KeyCode::Char('l'), KeyModifiers::ALT);
    assert_eq!(wishes, [Wish::Copy(link.to_owned())]);
    // Under something else there is no link.
    press(&mut state, KeyCode::F(1), KeyModifiers::NONE);
    terminal.draw(|frame| pieces = crate::tui::draw::draw(&state, frame)).unwrap();
    assert_eq!(pieces, []);
}

#[test]
fn a_burst_is_told_as_one_notice_and_nothing_is_dropped() {
    let mut state = lively(80, 24);
    let mut counted = 0;
    let mut told_of = Vec::new();
    for n in 0..50 {
        let text = if n % 5 == 0 { "alice, look" } else { "hello" };
        let message = Box::new(Message { room: GENERAL, ..said(100 + n, 2, "bob", 0, text) });
        state.levels.insert(GENERAL, Level::All);
        told_of.extend(notices(fold(&mut state, NOW, told(Event::MessageAdded { message }))));
    }
    assert_eq!(told_of.len(), 1, "the first at once");
    counted += told_of[0].count;
    let later = notices(fold(&mut state, NOW + 2_000, Input::Tick));
    assert_eq!(later.len(), 1);
    assert_eq!(
        (later[0].title.as_str(), later[0].body.as_str()),
        ("#general", "49 new, 9 mention you")
    );
    counted += later[0].count;
    assert_eq!(counted, 50);
    assert_eq!(notices(fold(&mut state, NOW + 10_000, Input::Tick)), [], "and then no more");
}

#[test]
fn after_being_away_one_notice_per_room_says_how_much_came() {
    let mut state = lively(80, 24);
    let came = Event::HistoryAdded { room: GENERAL, count: 40, upto: 140 };
    fold(&mut state, NOW, told(came));
    let rooms = || {
        vec![
            room(GARDEN, "#garden", 0),
            room(GENERAL, "#general", 40),
            room(RELAY, "#relay-ops", 3),
        ]
    };
    let wishes = answer(&mut state, Tag::Status, &status(rooms()));
    let asked = wishes.iter().any(|w| {
        matches!(w, Wish::Call { tag: Tag::Mentions(r), params, .. }
        if *r == GENERAL && params["limit"] == 40)
    });
    assert!(asked, "mentions are counted from the store: {wishes:?}");
    let page: Vec<Message> = (0..40)
        .map(|n| Message { room: GENERAL, ..said(100 + n, 2, "bob", 0, "alice!") })
        .collect();
    let told_of = notices(answer(&mut state, Tag::Mentions(GENERAL), &page));
    assert_eq!(told_of.len(), 1);
    assert_eq!(
        (told_of[0].title.as_str(), told_of[0].body.as_str()),
        ("#general", "40 new, 40 mention you")
    );
    assert_eq!((told_of[0].kind, told_of[0].count), ("mention", 40));
    assert_eq!(state.chat_of(GENERAL).unwrap().mentions, 40);
    // The next answer tells nothing again.
    let wishes = answer(&mut state, Tag::Status, &status(rooms()));
    assert!(notices(wishes).is_empty());
}

#[test]
fn only_the_own_name_calls() {
    let mut state = lively(80, 24);
    if let Some(members) = state.members.get_mut(&GARDEN) {
        members[1].name = "Alice-Marie".to_owned();
        members[2].name = "alice b".to_owned();
    }
    let called = |text: &str| crate::tui::rows::calls(&state, &said(40, 2, "bob", 0, text));
    for text in ["alice?", "hi @Alice", "(alice)", "alice and alice b"] {
        assert!(called(text), "{text}");
    }
    for text in [
        "@alice-marie hi",
        "alice b, look",
        "malice",
        "https://example.org/alice",
        "alice@example.org",
    ] {
        assert!(!called(text), "{text}");
    }
}

#[test]
fn what_was_deleted_is_neither_quoted_nor_changed() {
    let mut state = lively(100, 30);
    let reply = Message { reply_to: Some(EntryId(id(6))), ..said(30, 2, "bob", 0, "what?") };
    fold(&mut state, NOW, told(Event::MessageAdded { message: Box::new(reply) }));
    assert!(picture(&state).contains("↪ to a deleted message"));
    assert!(picture(&state).contains("(deleted)"));
    if let Some(timeline) = state.timeline_mut() {
        timeline.selected = Some(EntryId(id(6)));
    }
    for key in ['r', 'e', 'x'] {
        press(&mut state, KeyCode::Char(key), KeyModifiers::ALT);
        assert!(state.composer.is_empty() && state.composer.reply.is_none());
        assert!(picture(&state).contains("was deleted"), "{key}");
    }
}

#[test]
fn a_conversation_that_was_caught_up_with_is_told_by_its_count() {
    let mut state = lively(80, 24);
    let came = Event::HistoryAdded { room: BOB, count: 3, upto: 140 };
    fold(&mut state, NOW, told(came));
    let contact = Contact {
        identity: IdentityId([11; 32]),
        room: BOB,
        name: "bob".to_owned(),
        claimed: "bob".to_owned(),
        petname: None,
        fingerprint: String::new(),
        name_mark: None,
        standing: Standing::Accepted,
        verification: Verification::Verified,
        online: true,
        messages: 9,
        unread: 3,
        last_ms: 0,
    };
    let told_of = notices(answer(&mut state, Tag::Contacts, &[contact]));
    assert_eq!(told_of.len(), 1);
    assert_eq!((told_of[0].body.as_str(), told_of[0].kind), ("3 new", "direct"));
}

#[test]
fn a_passphrase_is_asked_for_behind_dots_and_a_new_one_is_offered() {
    let mut state = lively(100, 24);
    type_text(&mut state, "/join #study --passphrase");
    let wishes = press(&mut state, KeyCode::Enter, KeyModifiers::NONE);
    assert_eq!(wishes, [Wish::Passphrase], "nothing is opened yet");
    fold(&mut state, NOW, Input::Passphrase("one two three four five six".to_owned()));
    assert!(picture(&state).contains("one two three four five six"));
    type_text(&mut state, "secret");
    let shown = picture(&state);
    assert!(shown.contains("> ••••••") && !shown.contains("secret"), "{shown}");
    // What is offered takes its place, and is shown: it has to be told to others.
    press(&mut state, KeyCode::Tab, KeyModifiers::NONE);
    assert!(picture(&state).contains("> one two three four five six"));
    let wishes = press(&mut state, KeyCode::Enter, KeyModifiers::NONE);
    let Some(Wish::Call { tag: Tag::JoinPrivate, params, .. }) = wishes.first() else {
        panic!("{wishes:?}")
    };
    assert_eq!(*params, json!({"room": "#study", "passphrase": "one two three four five six"}));
    assert!(state.overlay.is_none() && !picture(&state).contains("six"));
    // Without the option it stays the open room.
    type_text(&mut state, "/join #study");
    let wishes = press(&mut state, KeyCode::Enter, KeyModifiers::NONE);
    assert!(matches!(wishes.first(), Some(Wish::Act { .. })), "{wishes:?}");
}

#[test]
fn a_person_whose_answer_is_overdue_is_dimmed_before_they_are_gone() {
    let mut state = lively(120, 24);
    let rooms = vec![room(GARDEN, "#garden", 0)];
    let mut now = status(rooms);
    now.peers[1].overdue_ms = Some(5_200);
    answer(&mut state, Tag::Status, &now);
    let shown = picture(&state);
    assert!(shown.lines().any(|l| l.contains("◌ carol") && l.contains("no answer")), "{shown}");
    now.peers[1].overdue_ms = None;
    answer(&mut state, Tag::Status, &now);
    assert!(picture(&state).lines().any(|l| l.contains("● carol") && l.contains("38 ms")));
}

#[test]
fn an_empty_room_says_what_to_do_until_somebody_is_there() {
    let mut state = lively(100, 24);
    let alone = [super::scenes::member(9, "alice", true)];
    answer(&mut state, Tag::Members(GARDEN), &alone);
    if let Some(timeline) = state.timeline_mut() {
        timeline.lines.clear();
    }
    let shown = picture(&state);
    for words in ["Nobody else is in #garden yet", "/join #garden", "From elsewhere", "F1 help"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let two = [super::scenes::member(9, "alice", true), super::scenes::member(2, "bob", true)];
    answer(&mut state, Tag::Members(GARDEN), &two);
    assert!(!picture(&state).contains("Nobody else"));
}
