//! Arbitrary keys, texts, events, answers and sizes: the screen never panics, stays bounded, and
//! draws nothing that acts.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use klatch_core::content::Kind;
use klatch_core::event::{ContactNews, Delivery, Event, Message};
use klatch_core::ids::{DeviceId, EntryId, IdentityId, RoomId};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::pictures::picture;
use super::scenes::{ALICE, GARDEN, GENERAL, NOW, id, lively, said, told};
use crate::error::Report;
use crate::tui::fold::fold;
use crate::tui::settings::{Keymap, Settings};
use crate::tui::state::{Input, LOG_MAX, QUOTES_MAX, State, TIMELINES_MAX, Wish};
use crate::tui::timeline::LINES_MAX;

/// Something that may happen, in a form that can be shown when it goes wrong.
#[derive(Debug, Clone)]
enum Happens {
    Key(KeyCode, u8),
    Paste(String),
    Size(u16, u16),
    Says(u64, u8, String, Option<u64>),
    Changes(u64),
    Delivered(u64, u32),
    Presence(u8, bool),
    Left,
    Contact(u8),
    Lost,
    Found,
    Time(u64),
    Wheel(bool),
    Click(u16, u16),
    /// Answers to what was asked: lines, or an error.
    Answers(bool, u8),
}

fn key() -> impl Strategy<Value = KeyCode> {
    use KeyCode::{
        BackTab, Backspace, Delete, Down, End, Enter, Esc, F, Home, Left, PageDown, PageUp, Right,
        Tab, Up,
    };
    prop_oneof![
        4 => any::<char>().prop_map(KeyCode::Char),
        6 => prop::sample::select("abcdefgklmnpruxyz/#@:123 !qGg$0".chars().collect::<Vec<_>>()).prop_map(KeyCode::Char),
        6 => prop::sample::select(vec![
            Enter, Tab, BackTab, Esc, Up, Down, Left, Right, PageUp, PageDown, Home, End, Backspace, Delete, F(1), F(2), F(4),
            F(5), F(7), F(8),
        ]),
    ]
}

fn happens() -> impl Strategy<Value = Happens> {
    let text = prop_oneof![
        "\\PC{0,40}",
        "[a-z\u{1b}\u{202e}\u{301}日👩\u{200d}\n\t ]{0,200}",
        Just("/me waves".to_owned())
    ];
    prop_oneof![
        12 => (key(), 0..8_u8).prop_map(|(code, mods)| Happens::Key(code, mods)),
        1 => text.clone().prop_map(Happens::Paste),
        2 => (0..220_u16, 0..70_u16).prop_map(|(c, r)| Happens::Size(c, r)),
        4 => (0..60_u64, 0..4_u8, text, prop::option::of(0..60_u64)).prop_map(|(n, w, t, r)| Happens::Says(n, w, t, r)),
        1 => (0..60_u64).prop_map(Happens::Changes),
        1 => (0..60_u64, 0..4_u32).prop_map(|(n, m)| Happens::Delivered(n, m)),
        1 => (0..9_u8, any::<bool>()).prop_map(|(n, on)| Happens::Presence(n, on)),
        1 => Just(Happens::Left),
        1 => (0..10_u8).prop_map(Happens::Contact),
        1 => Just(Happens::Lost),
        1 => Just(Happens::Found),
        2 => (0..10_000_u64).prop_map(Happens::Time),
        1 => any::<bool>().prop_map(Happens::Wheel),
        1 => (0..220_u16, 0..70_u16).prop_map(|(x, y)| Happens::Click(x, y)),
        6 => (any::<bool>(), 0..120_u8).prop_map(|(fine, n)| Happens::Answers(fine, n)),
    ]
}

fn input(of: &Happens, state: &State) -> Option<Input> {
    let room = state.here.unwrap_or(GENERAL);
    Some(match of {
        Happens::Key(code, mods) => {
            Input::Key(KeyEvent::new(*code, KeyModifiers::from_bits_truncate(*mods)))
        }
        Happens::Paste(text) => Input::Paste(text.clone()),
        Happens::Size(columns, rows) => Input::Resize(*columns, *rows),
        Happens::Says(n, who, text, reply) => {
            let message = Message {
                room,
                reply_to: reply.map(|n| EntryId(id(n))),
                ..said(1_000 + n, 6 + who, "x", 0, text)
            };
            told(Event::MessageAdded { message: Box::new(message) })
        }
        Happens::Changes(n) => {
            let message = Message {
                room,
                kind: Kind::Edit,
                target: Some(EntryId(id(*n))),
                ..said(5_000 + n, 2, "bob", 0, "new")
            };
            told(Event::MessageAdded { message: Box::new(message) })
        }
        Happens::Delivered(n, m) => {
            let state = Delivery::Delivered { n: 1, m: *m };
            told(Event::DeliveryChanged { room, direct: false, upto_seq: *n, state })
        }
        Happens::Presence(n, online) => told(Event::PresenceChanged {
            room,
            device: DeviceId([*n; 32]),
            name: "y".to_owned(),
            name_mark: None,
            online: *online,
        }),
        Happens::Left => told(Event::RoomLeft { room: GARDEN }),
        Happens::Contact(n) => {
            let news = [
                ContactNews::Requested,
                ContactNews::KeysChanged,
                ContactNews::Impersonated,
                ContactNews::Blocked,
            ];
            let (identity, news) = (IdentityId([*n; 32]), news[usize::from(*n) % news.len()]);
            told(Event::ContactChanged {
                identity,
                room: RoomId([*n; 16]),
                name: "z\u{1b}".to_owned(),
                name_mark: None,
                news,
            })
        }
        Happens::Lost => Input::Lost("gone \u{1b}[2J".to_owned(), Vec::new()),
        Happens::Found => Input::Found,
        Happens::Time(_) => Input::Tick,
        Happens::Wheel(up) => {
            let kind = if *up { MouseEventKind::ScrollUp } else { MouseEventKind::ScrollDown };
            Input::Mouse(MouseEvent { kind, column: 1, row: 1, modifiers: KeyModifiers::NONE })
        }
        Happens::Click(column, row) => {
            let kind = MouseEventKind::Down(MouseButton::Left);
            Input::Mouse(MouseEvent {
                kind,
                column: *column,
                row: *row,
                modifiers: KeyModifiers::NONE,
            })
        }
        Happens::Answers(..) => return None,
    })
}

fn storm(happenings: &[Happens], keymap: Keymap) -> TestCaseResult {
    let mut state = lively(100, 30);
    state.settings = Settings { keymap, ..Settings::default() };
    state.composer = crate::tui::composer::Composer::new(keymap);
    let (mut now, mut open) = (NOW, Vec::new());
    for of in happenings {
        if let Happens::Time(ms) = of {
            now += ms;
        }
        let wishes = match (input(of, &state), of) {
            (Some(input), _) => fold(&mut state, now, input),
            (None, Happens::Answers(fine, n)) => match open.pop() {
                Some(tag) => {
                    let lines = u64::from(*n);
                    let page: Vec<Message> = (0..lines)
                        .map(|k| said(k * 7 % 900, 2, "bob", k % 90, "older\nline"))
                        .collect();
                    let outcome =
                        if *fine { Ok(super::scenes::value(&page)) } else { Err(Report::gone()) };
                    fold(&mut state, now, Input::Answer(tag, outcome))
                }
                None => Vec::new(),
            },
            (None, _) => Vec::new(),
        };
        open.extend(wishes.into_iter().filter_map(|w| match w {
            Wish::Call { tag, .. } => Some(tag),
            _ => None,
        }));
        let shown = picture(&state);
        prop_assert!(
            !shown.chars().any(|c| c != '\n' && klatch_core::identity::is_unsafe(c)),
            "{shown:?}"
        );
        prop_assert!(
            state.timelines.len() <= TIMELINES_MAX
                && state.log.len() <= LOG_MAX
                && state.quotes.len() <= QUOTES_MAX
        );
        prop_assert!(state.timelines.values().all(|t| t.lines.len() <= LINES_MAX));
        prop_assert_eq!(state.me.device, Some(ALICE));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_screen_stands(happenings in prop::collection::vec(happens(), 1..60), vi in any::<bool>()) {
        storm(&happenings, if vi { Keymap::Vi } else { Keymap::Readline })?;
    }
}
