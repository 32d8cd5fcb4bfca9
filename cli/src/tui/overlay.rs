//! What lies over the screen: the quick switcher, the search, help, and longer answers. Their keys
//! and what they want done.

use std::collections::BTreeSet;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use klatch_core::event::Message;
use klatch_core::ids::{IdentityId, RoomId};

use super::state::{ChatKind, State};
use crate::lines::marked;
use crate::slash::TABLE;

/// A search is asked for when no key was pressed for this time, milliseconds.
pub const SEARCH_PAUSE_MS: u64 = 120;
/// Lines that a search shows.
pub const FOUND_MAX: u32 = 100;
/// What is typed into a field.
const FIELD_CHARS_MAX: usize = 200;

/// What lies over the screen.
#[derive(Debug, Clone)]
pub enum Overlay {
    /// Keys and commands, from a first row on.
    Help(usize),
    /// A text of several lines, from a first row on.
    Panel {
        /// Safe for a terminal.
        title: String,
        /// Safe for a terminal.
        lines: Vec<String>,
        /// First row shown.
        top: usize,
    },
    /// Go to a room or a person, or begin a command.
    Switcher {
        /// What is looked for.
        field: String,
        /// Which of those found.
        at: usize,
    },
    /// The passphrase of a room that is to be opened.
    Secret {
        /// Which room.
        room: String,
        /// What is typed. Never drawn.
        field: String,
        /// A new passphrase that is offered, once it is there.
        offered: Option<String>,
        /// What is offered stands in the field, so it may be seen.
        taken: bool,
    },
    /// Look for words in the room.
    Search {
        /// What is looked for.
        field: String,
        /// Number of the newest question; older answers come too late.
        number: u64,
        /// What was found, newest last; `None` before the first answer.
        found: Option<Vec<Message>>,
        /// Which of them.
        at: usize,
    },
}

/// Where the switcher may lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A room or a conversation.
    Chat(RoomId),
    /// A person met in a room.
    Person(IdentityId),
    /// A command to be typed.
    Command(&'static str),
    /// A room to be opened.
    Open(String),
}

/// A row of the switcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Where it leads.
    pub target: Target,
    /// Safe for a terminal.
    pub label: String,
    /// Said behind it; safe for a terminal.
    pub hint: String,
}

/// What the switcher offers for what was typed, best first.
pub fn choices(state: &State, field: &str) -> Vec<Choice> {
    let mut scored: Vec<(usize, usize, Choice)> = Vec::new();
    let mut add = |name: &str, hint: String, target: Target| {
        if let Some(score) = fuzzy(field, name) {
            // To open something new is meant only if nothing else is.
            let score = if matches!(target, Target::Open(_)) { usize::MAX } else { score };
            let label = super::text::clean(name);
            scored.push((score, scored.len(), Choice { target, label, hint }));
        }
    };
    for chat in &state.chats {
        let unread =
            if chat.unread > 0 { format!("{} unread", chat.unread) } else { String::new() };
        add(&chat.typed(), unread, Target::Chat(chat.room));
    }
    let people = state.members.values().flatten().filter(|m| !m.own && !m.name.is_empty());
    let mut seen: BTreeSet<IdentityId> = state
        .chats
        .iter()
        .filter_map(|c| match c.kind {
            ChatKind::Direct(who, _) | ChatKind::Request(who) | ChatKind::Blocked(who) => Some(who),
            ChatKind::Room(_) => None,
        })
        .collect();
    for member in people {
        let Some(who) = member.identity.filter(|who| seen.insert(*who)) else { continue };
        let name = format!("@{}", marked(member.name.clone(), member.typed_mark.as_deref()));
        add(&name, "write to them".to_owned(), Target::Person(who));
    }
    if !field.is_empty() {
        for row in TABLE {
            add(&format!("/{}", row.name), row.help.to_owned(), Target::Command(row.name));
        }
        let room = format!("#{}", field.trim_start_matches('#'));
        if !field.starts_with(['/', '@']) && !state.chats.iter().any(|c| c.name == room) {
            add(&room, "open this room".to_owned(), Target::Open(room.clone()));
        }
    }
    scored.sort_by_key(|(score, order, _)| (*score, *order));
    scored.into_iter().map(|(.., choice)| choice).collect()
}

/// How well a name fits: smaller is better, `None` if the letters are not all there in this order.
fn fuzzy(wanted: &str, name: &str) -> Option<usize> {
    let (wanted, name) = (wanted.to_lowercase(), name.to_lowercase());
    let bare = name.trim_start_matches(['#', '@', '/']);
    if name.starts_with(&wanted) || bare.starts_with(&wanted) {
        return Some(bare.len().min(50));
    }
    if let Some(at) = name.find(&wanted) {
        return Some(100 + at);
    }
    let mut letters = name.char_indices();
    let mut last = 0;
    for c in wanted.chars() {
        last = letters.find(|(_, l)| *l == c)?.0;
    }
    Some(1_000 + last)
}

/// A key typed into a field of one line. `false` if it means nothing there.
pub fn field_key(field: &mut String, key: KeyEvent) -> bool {
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('u') if ctrl => field.clear(),
        KeyCode::Char('w') if ctrl => {
            let kept = field.trim_end().rfind(char::is_whitespace).map_or(0, |at| at + 1);
            field.truncate(kept);
        }
        KeyCode::Char('h') if ctrl => drop(field.pop()),
        KeyCode::Char(c) if !ctrl && !key.modifiers.contains(KeyModifiers::ALT) => {
            return field_text(field, c.encode_utf8(&mut [0; 4]));
        }
        KeyCode::Backspace => drop(field.pop()),
        _ => return false,
    }
    true
}

/// Text pasted into a field: its first line, as far as it fits.
pub fn field_text(field: &mut String, text: &str) -> bool {
    let room = FIELD_CHARS_MAX.saturating_sub(field.chars().count());
    field.extend(text.chars().take_while(|c| *c != '\n' && *c != '\r').take(room));
    true
}

/// Moves within a list. `false` if the key is none of those that move.
pub fn list_key(at: &mut usize, len: usize, key: KeyEvent) -> bool {
    /// Rows of one page.
    const LEAP: usize = 10;
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    let last = len.saturating_sub(1);
    *at = match key.code {
        KeyCode::Up | KeyCode::BackTab => at.saturating_sub(1),
        KeyCode::Char('p') if ctrl => at.saturating_sub(1),
        KeyCode::Down | KeyCode::Tab => (*at + 1).min(last),
        KeyCode::Char('n') if ctrl => (*at + 1).min(last),
        KeyCode::PageUp => at.saturating_sub(LEAP),
        KeyCode::PageDown => (*at + LEAP).min(last),
        _ => return false,
    };
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_in_order_find_a_name_and_beginnings_come_first() {
        assert!(fuzzy("gar", "#garden") < fuzzy("den", "#garden"));
        assert!(fuzzy("den", "#garden") < fuzzy("gdn", "#garden"));
        assert_eq!(fuzzy("xyz", "#garden"), None);
        assert!(fuzzy("", "#garden").is_some() && fuzzy("#g", "#garden").is_some());
    }

    #[test]
    fn a_field_has_one_bounded_line() {
        let mut field = String::new();
        field_text(&mut field, &"word ".repeat(1_000));
        assert_eq!(field.chars().count(), FIELD_CHARS_MAX);
        field_key(&mut field, KeyEvent::new(KeyCode::Char('w'), KeyModifiers::CONTROL));
        assert!(field.chars().count() < FIELD_CHARS_MAX);
        field_key(&mut field, KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        field_text(&mut field, "one\ntwo");
        assert_eq!(field, "one");
    }
}
