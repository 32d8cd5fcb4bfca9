//! The vi keymap of the composer: the commands that fingers know. Everything with Ctrl, Alt and F
//! keys stays as it is.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui_textarea::{CursorMove, TextArea};

use super::composer::{Vi, sign};
use super::fold::scroll;
use super::keys::to_end;
use super::layout;
use super::overlay::Overlay;
use super::state::{State, Wish};

/// What fingers type behind `:` to leave, beside the slash commands that mean it.
pub const QUITS: [&str; 7] = ["q!", "qa", "qa!", "wq", "wq!", "x", "x!"];

/// Takes a key in command mode, or Esc in insert mode. `false` if the key means what it always
/// means.
pub fn key(state: &mut State, wishes: &mut Vec<Wish>, key: KeyEvent) -> bool {
    let Some(mut vi) = state.composer.vi else { return false };
    if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
        return false;
    }
    if !vi.normal {
        let emptied = vi.line && key.code == KeyCode::Backspace && state.composer.text() == "/";
        if key.code != KeyCode::Esc && !emptied {
            return false;
        }
        if vi.line {
            if !state.composer.done() {
                state.composer.set("");
            }
            return true;
        }
        vi.normal = true;
        state.composer.vi = Some(vi);
        step_back(&mut state.composer.area);
        state.composer.changed();
        return true;
    }
    if key.code == KeyCode::Enter && !state.composer.is_empty() {
        // What is unfinished is not sent by a key meant for something else.
        state.say("nothing was sent: Enter sends from insert mode (i, a or A goes there)");
        return true;
    }
    let KeyCode::Char(c) = key.code else { return false };
    let pending = vi.pending.take();
    let before = state.composer.area.yank_text();
    vi.normal = !command(state, wishes, c, pending, &mut vi);
    let area = &mut state.composer.area;
    match (pending, c) {
        (Some('d'), 'd') => vi.lines = true,
        _ if area.yank_text() != before => vi.lines = false,
        _ => {}
    }
    if vi.normal && vi.pending.is_none() && at_end(area) {
        // In command mode the cursor is on a sign, not behind the last one.
        step_back(area);
    }
    vi.line = pending.is_none() && c == ':';
    state.composer.vi = Some(vi);
    state.composer.changed();
    true
}

/// One command. Whether text is inserted from now on.
fn command(
    state: &mut State,
    wishes: &mut Vec<Wish>,
    c: char,
    pending: Option<char>,
    vi: &mut Vi,
) -> bool {
    use CursorMove::{Back, Down, End, Forward, Head, Up, WordBack, WordEnd, WordForward};
    if let Some(first) = pending {
        return of_two(state, first, c);
    }
    let empty = state.composer.is_empty();
    let area = &mut state.composer.area;
    match c {
        'd' | 'c' | 'g' => vi.pending = Some(c),
        'h' => step_back(area),
        'l' if !at_end(area) => {
            for _ in 0..sign(area, false) {
                area.move_cursor(Forward);
            }
        }
        'j' | 'k' if empty => {
            let quarter = layout::areas(state).timeline.height / 4;
            let rows = isize::try_from(quarter).unwrap_or(1).max(1);
            scroll(state, if c == 'j' { rows } else { -rows });
        }
        'j' => area.move_cursor(Down),
        'k' => area.move_cursor(Up),
        'w' => area.move_cursor(WordForward),
        'b' => area.move_cursor(WordBack),
        'e' => area.move_cursor(WordEnd),
        '0' | '^' => area.move_cursor(Head),
        '$' => area.move_cursor(End),
        'x' if !at_end(area) => cut_sign(area, Forward),
        'X' if area.cursor().1 > 0 => cut_sign(area, Back),
        'D' => to_line_end(area),
        'u' => drop(area.undo()),
        'p' => {
            let mut text = area.yank_text();
            if vi.lines {
                area.move_cursor(End);
                text.insert(0, '\n');
            } else if !at_end(area) {
                for _ in 0..sign(area, false) {
                    area.move_cursor(Forward);
                }
            }
            state.composer.insert(&text).unwrap_or_else(|why| state.warn(&why));
            if vi.lines {
                state.composer.area.move_cursor(Head);
            }
        }
        'G' => to_end(state, wishes),
        '/' if state.here.is_some() => {
            let field = String::new();
            state.overlay = Some(Overlay::Search { field, number: 0, found: None, at: 0 });
        }
        ':' => {
            state.composer.begin_command("/");
            return true;
        }
        'i' => return true,
        'I' => {
            area.move_cursor(Head);
            return true;
        }
        'a' => {
            area.move_cursor(Forward);
            return true;
        }
        'A' => {
            area.move_cursor(End);
            return true;
        }
        'o' => {
            area.move_cursor(End);
            return state.composer.insert("\n").is_ok();
        }
        'O' => {
            area.move_cursor(Head);
            let made = state.composer.insert("\n").is_ok();
            state.composer.area.move_cursor(Up);
            return made;
        }
        'C' => {
            to_line_end(area);
            return true;
        }
        'S' => {
            whole_line(area);
            return true;
        }
        _ => {}
    }
    false
}

/// A command of two keys. Whether text is inserted from now on.
fn of_two(state: &mut State, first: char, c: char) -> bool {
    let area = &mut state.composer.area;
    match (first, c) {
        ('d', 'd') => {
            whole_line(area);
            // The line goes, too, unless it is the only one; the next one takes its place.
            match area.cursor().0 + 1 < area.lines().len() {
                true => area.delete_next_char(),
                false => area.delete_newline(),
            };
            area.move_cursor(CursorMove::Head);
        }
        ('c', 'c') => {
            whole_line(area);
            return true;
        }
        ('c', 'w') => {
            area.delete_next_word();
            return true;
        }
        ('d', 'w') => up_to_next_word(area),
        (verb @ ('d' | 'c'), '$') => {
            to_line_end(area);
            return verb == 'c';
        }
        (verb @ ('d' | 'c'), '0') => {
            area.delete_line_by_head();
            return verb == 'c';
        }
        ('g', 'g') => {
            let all = state.timeline().map_or(0, |t| t.lines.len());
            scroll(state, -isize::try_from(all).unwrap_or(0).max(1));
        }
        _ => {}
    }
    false
}

fn whole_line(area: &mut TextArea<'_>) {
    area.move_cursor(CursorMove::Head);
    to_line_end(area);
}

/// Deletes what is behind the cursor in its line, never the line break.
fn to_line_end(area: &mut TextArea<'_>) {
    if !at_end(area) {
        area.delete_line_by_end();
    }
}

/// Deletes the word and the blanks behind it, never the line break.
fn up_to_next_word(area: &mut TextArea<'_>) {
    let from = area.cursor();
    area.start_selection();
    area.move_cursor(CursorMove::WordForward);
    if area.cursor().0 == from.0 && area.cursor() != from {
        area.cut();
        return;
    }
    area.cancel_selection();
    let place = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    area.move_cursor(CursorMove::Jump(place(from.0), place(from.1)));
    to_line_end(area);
}

/// Takes out the sign before or behind the cursor.
fn cut_sign(area: &mut TextArea<'_>, to: CursorMove) {
    area.start_selection();
    for _ in 0..sign(area, matches!(to, CursorMove::Back)) {
        area.move_cursor(to);
    }
    area.cut();
}

/// One sign back, within the line.
fn step_back(area: &mut TextArea<'_>) {
    if area.cursor().1 > 0 {
        for _ in 0..sign(area, true) {
            area.move_cursor(CursorMove::Back);
        }
    }
}

/// Whether the cursor is behind the last sign of its line.
fn at_end(area: &TextArea<'_>) -> bool {
    let cursor = area.cursor();
    area.lines().get(cursor.0).is_none_or(|line| cursor.1 >= line.chars().count())
}
