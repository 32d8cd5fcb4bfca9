//! Texts of many lines that are put in at once: asked about before they go anywhere. A terminal
//! that does not mark pastes sends them as a crowd of keys, among which Enter is a line break.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use klatch_core::limits::TEXT_BYTES_MAX;

use super::fold::keep_draft;
use super::keys;
use super::state::{State, Wish};

/// Pastes of more lines are asked about.
const LINES_MAX: usize = 5;
/// A crowd of keys without mark goes on for as long as the next ones follow so soon, milliseconds.
const CROWD_MS: u64 = 200;

/// Whether there is a question about a paste.
pub fn question(state: &State) -> Option<String> {
    let (text, _) = state.pasted.as_ref().filter(|(text, _)| !text.is_empty())?;
    let lines = text.lines().count();
    Some(format!("{lines} lines pasted: send as one message? y = yes, n = no, e = edit first"))
}

/// A paste that the terminal marked.
pub fn marked(state: &mut State, text: &str) {
    // Terminals end lines as the Enter key does.
    let text = &text.replace("\r\n", "\n").replace('\r', "\n");
    let over = state.overlay.is_some() || state.question.is_some();
    if over || text.trim_end().lines().count() <= LINES_MAX {
        return keys::paste(state, text);
    }
    ask(state, text.to_owned(), 0);
}

/// Keys that came at once. Whether they are a paste that was not marked.
pub fn crowd(state: &mut State, keys: &[KeyEvent]) -> bool {
    if let Some((text, until)) = &mut state.pasted
        && *until > state.now_ms
    {
        // The rest of what was refused goes nowhere.
        if !text.is_empty() {
            text.extend(keys.iter().filter_map(typed));
        }
        *until = state.now_ms + CROWD_MS;
        too_long(state);
        return true;
    }
    over(state);
    let over = state.overlay.is_some() || state.question.is_some() || state.pasted.is_some();
    let breaks = keys.iter().filter(|k| typed(k) == Some('\n')).count();
    if over || breaks <= LINES_MAX || keys.iter().any(|k| typed(k).is_none()) {
        return false;
    }
    let text = keys.iter().filter_map(typed).collect();
    let until = state.now_ms + CROWD_MS;
    ask(state, text, until);
    true
}

/// What a key means within a text.
fn typed(key: &KeyEvent) -> Option<char> {
    let plain = !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    match key.code {
        _ if key.kind == KeyEventKind::Release => None,
        KeyCode::Char(c) if plain => Some(c),
        KeyCode::Enter if plain => Some('\n'),
        // A line feed, as some terminals paste line breaks.
        KeyCode::Char('j') if key.modifiers == KeyModifiers::CONTROL => Some('\n'),
        KeyCode::Tab => Some('\t'),
        _ => None,
    }
}

fn ask(state: &mut State, text: String, until: u64) {
    state.pasted = Some((text, until));
    too_long(state);
}

/// What cannot be a message is refused at once, and nothing of it is sent.
fn too_long(state: &mut State) {
    let there = state.composer.text().len();
    let bytes = state.pasted.as_ref().map_or(0, |(text, _)| text.len());
    if there + bytes > TEXT_BYTES_MAX {
        let until = state.pasted.take().map_or(0, |(_, until)| until);
        state.warn(&format!(
            "a text has at most {TEXT_BYTES_MAX} bytes; {bytes} were pasted: nothing was put in"
        ));
        if until > 0 {
            state.pasted = Some((String::new(), until));
        }
    }
}

/// Forgets a crowd that was refused, once it has ended.
fn over(state: &mut State) {
    if state.pasted.as_ref().is_some_and(|(text, until)| text.is_empty() && *until <= state.now_ms)
    {
        state.pasted = None;
    }
}

/// Whether a key belongs to the question about a paste, or to a paste that was refused.
pub fn takes_keys(state: &mut State) -> bool {
    over(state);
    state.pasted.is_some()
}

/// The answer to the question.
pub fn answer(state: &mut State, wishes: &mut Vec<Wish>, key: KeyEvent) {
    if state.pasted.as_ref().is_some_and(|(text, _)| text.is_empty()) {
        return;
    }
    let ends = key.code == KeyCode::Esc
        || (key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL));
    let answers = matches!(key.code, KeyCode::Char('y' | 'Y' | 'e' | 'E' | 'n' | 'N'))
        && !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    if !ends && !answers {
        // A slip loses nothing.
        return;
    }
    let Some((text, _)) = state.pasted.take() else { return };
    match key.code {
        KeyCode::Char('y' | 'Y') => {
            keys::paste(state, text.trim_end_matches(['\r', '\n']));
            keys::send_all(state, wishes);
        }
        KeyCode::Char('e' | 'E') => keys::paste(state, text.trim_end_matches(['\r', '\n'])),
        _ => {
            state.composer.remember(text.trim_end_matches(['\r', '\n']));
            state.say("nothing was put in");
        }
    }
    keep_draft(state);
}
