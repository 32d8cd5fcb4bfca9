//! Below the timeline: remarks and what the text answers, the text itself, and the keys.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use super::super::info::{self, Tone};
use super::super::layout::prompt;
use super::super::state::{State, View};
use super::super::text::{cut, typed, width};
use super::super::theme::Theme;
use super::put;

/// Longer texts say how many lines they have: not all of them are shown.
const LINES_COUNTED_MIN: usize = 5;

/// What is said between timeline and text.
pub(super) fn info(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let columns = usize::from(area.width);
    let right = cut(&right(state), columns / 2);
    let (rows, tone) = info::rows(state, columns.saturating_sub(width(&right)));
    let style = match tone {
        Tone::Question => theme.chosen(),
        Tone::Warning => theme.warning(),
        Tone::Remark => theme.bold(),
        Tone::Quiet => theme.dim(),
    };
    for (n, text) in rows.iter().enumerate().take(usize::from(area.height)) {
        let right = if n == 0 { right.as_str() } else { "" };
        let left = if text.is_empty() { String::new() } else { format!(" {text}") };
        let left = cut(&left, columns.saturating_sub(width(right)));
        let free = columns.saturating_sub(width(&left) + width(right));
        let fill = if left.is_empty() && right.is_empty() { "─" } else { " " };
        let spans = vec![
            Span::styled(left, style),
            Span::styled(fill.repeat(free), theme.frame()),
            Span::styled(right.to_owned(), theme.bold()),
        ];
        put(buffer, area, n, &Line::from(spans));
    }
}

/// What the text will do beside being said.
fn right(state: &State) -> String {
    if state.composer.edit.is_some() {
        return "changing your message · Esc cancels ".to_owned();
    }
    // Behind the last line break nothing has begun yet.
    let written = state.composer.area.lines();
    let open = usize::from(written.last().is_some_and(String::is_empty));
    let lines = match written.len() - open {
        n if n > LINES_COUNTED_MIN => format!("{n} lines "),
        _ => String::new(),
    };
    match &state.composer.reply {
        Some((_, to)) => format!("to {to} · Esc cancels {lines}"),
        None => lines,
    }
}

/// The text; gives back where the cursor is.
pub(super) fn composer(
    state: &State,
    theme: Theme,
    area: Rect,
    buffer: &mut Buffer,
) -> Option<Position> {
    let (prompt, indent) = prompt(state, area.width);
    let columns = usize::from(area.width).saturating_sub(indent).max(1);
    let cursor = state.composer.area.cursor();
    let (rows, (row, column)) = typed(state.composer.area.lines(), (cursor.0, cursor.1), columns);
    let height = usize::from(area.height);
    let first = (row + 1).saturating_sub(height).min(rows.len().saturating_sub(height));
    for (n, text) in rows.iter().skip(first).take(height).enumerate() {
        let before = if n == 0 { prompt.clone() } else { " ".repeat(indent) };
        put(
            buffer,
            area,
            n,
            &Line::from(vec![Span::styled(before, theme.bold()), Span::raw(text.clone())]),
        );
    }
    let x = u16::try_from(indent + column).ok()?;
    let y = u16::try_from(row - first).ok()?;
    Some(Position::new((area.x + x).min(area.right().saturating_sub(1)), area.y + y))
}

pub(super) fn foot(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let keys = match state.view {
        View::Network => " Esc back   PgUp PgDn events   F1 help   /quit",
        View::Chat if state.chats.is_empty() => " F1 help   Enter sends   Tab completes   /quit",
        View::Chat => {
            " F1 help  Ctrl+K go to  Alt+1-9 room  Alt+A next unread  Ctrl+F search  F5 network  F8 people  /quit"
        }
    };
    put(buffer, area, 0, &Line::styled(cut(keys, usize::from(area.width)), theme.dim()));
}
