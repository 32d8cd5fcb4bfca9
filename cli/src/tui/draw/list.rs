//! The list at the left: rooms, conversations, requests, with numbers, unread and mention counts.

use klatch_core::ids::RoomId;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::super::state::{Chat, ChatKind, State};
use super::super::text::{clean, fit, fit_marked, width};
use super::super::theme::Theme;
use super::put;
use klatch_core::query::Verification;

/// A row: a heading, or a place in the list of chats.
enum Row {
    Heading(String),
    Chat(usize),
}

fn rows(state: &State) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut last = None;
    let requests = state.chats.iter().filter(|c| matches!(c.kind, ChatKind::Request(_))).count();
    for (at, chat) in state.chats.iter().enumerate() {
        let heading = match chat.kind {
            ChatKind::Room(_) => "ROOMS".to_owned(),
            ChatKind::Direct(..) => "DIRECT".to_owned(),
            ChatKind::Request(_) => format!("REQUESTS {requests}"),
            ChatKind::Blocked(_) => "BLOCKED".to_owned(),
        };
        if last.as_ref() != Some(&heading) {
            rows.push(Row::Heading(heading.clone()));
            last = Some(heading);
        }
        rows.push(Row::Chat(at));
    }
    if rows.is_empty() {
        rows.push(Row::Heading("ROOMS".to_owned()));
    }
    rows
}

/// Lists of fewer rows do not give one away to say that there is more.
const MARKED_ROWS_MIN: usize = 4;

/// The first row shown: the room one is in is on the screen, unless the wheel chose something else.
fn first(state: &State, rows: &[Row], height: usize) -> usize {
    let last = rows.len().saturating_sub(height);
    if let Some(top) = state.list_top {
        return top.min(last);
    }
    let here = rows
        .iter()
        .position(|r| matches!(r, Row::Chat(at) if Some(state.chats[*at].room) == state.here));
    // The lowest row may say what is below it.
    let below = usize::from(height >= MARKED_ROWS_MIN);
    here.map_or(0, |at| (at + 1 + below).saturating_sub(height)).min(last)
}

/// The first row after the wheel moved the list.
pub fn scrolled(state: &State, height: usize, by: isize) -> usize {
    let rows = rows(state);
    first(state, &rows, height).saturating_add_signed(by).min(rows.len().saturating_sub(height))
}

/// The rows that do not fit, above and below, for which the first and the last row stand.
fn hidden(rows: &[Row], first: usize, height: usize) -> (&[Row], &[Row]) {
    if height < MARKED_ROWS_MIN {
        return (&[], &[]);
    }
    let above = if first > 0 { rows.get(..=first) } else { None };
    let below = if first + height < rows.len() { rows.get(first + height - 1..) } else { None };
    (above.unwrap_or_default(), below.unwrap_or_default())
}

/// The chat in a row of the list, for the mouse.
pub fn chat_at(state: &State, row: usize, height: usize) -> Option<RoomId> {
    let rows = rows(state);
    let first = first(state, &rows, height);
    let (above, below) = hidden(&rows, first, height);
    if (row == 0 && !above.is_empty()) || (row + 1 == height && !below.is_empty()) {
        return None;
    }
    match rows.get(first + row)? {
        Row::Chat(at) => state.chats.get(*at).map(|c| c.room),
        Row::Heading(_) => None,
    }
}

/// What is in rows that do not fit: what is unread there, or how many they are.
fn more(state: &State, theme: Theme, sign: &str, rows: &[Row], columns: usize) -> Line<'static> {
    let chats = rows.iter().filter_map(|row| match row {
        Row::Chat(at) => state.chats.get(*at),
        Row::Heading(_) => None,
    });
    let (mut all, mut unread, mut called) = (0_usize, 0, false);
    for chat in chats {
        all += 1;
        unread += chat.unread;
        called |= chat.mentions > 0 || (chat.is_direct() && chat.unread > 0);
    }
    let (text, style) = match (unread, called) {
        (0, _) => (format!("{sign} {all} more"), theme.dim()),
        (n, true) => (format!("{sign} {} unread !", n.min(9_999)), theme.mention()),
        (n, false) => (format!("{sign} {} unread", n.min(9_999)), theme.bold()),
    };
    Line::from(Span::styled(fit(&text, columns), style))
}

pub(super) fn draw(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    if area.width < 4 {
        return;
    }
    let columns = usize::from(area.width) - 1;
    let rows = rows(state);
    let height = usize::from(area.height);
    let first = first(state, &rows, height);
    let (above, below) = hidden(&rows, first, height);
    for y in 0..height {
        let mut line = match rows.get(first + y) {
            _ if y == 0 && !above.is_empty() => more(state, theme, "↑", above, columns),
            _ if y + 1 == height && !below.is_empty() => more(state, theme, "↓", below, columns),
            Some(Row::Heading(heading)) => {
                Line::from(Span::styled(fit(heading, columns), theme.bold()))
            }
            Some(Row::Chat(at)) => chat(state, theme, *at, columns),
            None => Line::from(" ".repeat(columns)),
        };
        line.spans.push(Span::styled("│", theme.frame()));
        put(buffer, area, y, &line);
    }
}

fn chat(state: &State, theme: Theme, at: usize, columns: usize) -> Line<'static> {
    let Some(chat) = state.chats.get(at) else { return Line::default() };
    let number = if at < 9 { format!("{} ", at + 1) } else { "  ".to_owned() };
    let mark = marks(chat);
    let room = columns.saturating_sub(width(&number) + width(&mark) + 1);
    let name = fit_marked(&clean(&chat.name), chat.mark.as_deref(), room);
    let style = match (state.here == Some(chat.room), chat.mentions > 0, chat.unread > 0) {
        (true, ..) => theme.chosen(),
        (_, true, _) => theme.mention(),
        (_, _, true) => theme.bold(),
        _ => Style::new(),
    };
    Line::from(vec![
        Span::styled(number, theme.dim()),
        Span::styled(format!("{name} {mark}"), style),
    ])
}

/// `!1 5`: called by name once, five unread. `…` something own is queued, `!!` keys have changed.
fn marks(chat: &Chat) -> String {
    let mut marks = Vec::new();
    match chat.kind {
        ChatKind::Direct(_, Verification::Changed) => marks.push("KEYS!".to_owned()),
        ChatKind::Direct(_, Verification::Verified) => marks.push("✓".to_owned()),
        _ => {}
    }
    if chat.queued > 0 {
        marks.push("…".to_owned());
    }
    if chat.mentions > 0 {
        marks.push(format!("!{}", chat.mentions.min(999)));
    }
    if chat.unread > 0 {
        marks.push(chat.unread.min(9_999).to_string());
    }
    marks.join(" ")
}
