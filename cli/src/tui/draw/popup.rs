//! What lies over the screen: help, answers, the switcher, the search.

use klatch_core::event::Message;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::Line;

use super::super::keys::KEYS;
use super::super::overlay::{Overlay, choices};
use super::super::rows::{author, clock};
use super::super::settings::SETTINGS;
use super::super::state::{Chat, State};
use super::super::text::{clean, cut, fit, width, wrap};
use super::super::theme::{DELIVERY_LEGEND, Theme};
use super::{cover, put};

/// Popups are not wider: long lines are hard to read.
const COLUMNS_MAX: u16 = 100;
/// Columns of the first column in the help.
const KEY_COLUMNS: usize = 26;

/// Draws what lies on top; gives back where its cursor is.
pub(super) fn draw(
    state: &State,
    theme: Theme,
    whole: Rect,
    buffer: &mut Buffer,
) -> Option<Position> {
    match state.overlay.as_ref()? {
        Overlay::Help(top) => {
            let title = "Help (Esc or F1 closes)";
            text(theme, whole, buffer, title, &help_lines(), *top, KEY_COLUMNS + 2);
            None
        }
        Overlay::Panel { title, lines, top } => {
            text(theme, whole, buffer, &format!("{title} (Esc closes)"), lines, *top, 0);
            None
        }
        Overlay::Switcher { field, at } => {
            let rows =
                choices(state, field).into_iter().map(|c| (c.label, c.hint)).collect::<Vec<_>>();
            Some(field_and_list(theme, whole, buffer, "Go to", field, &rows, *at))
        }
        Overlay::Secret { room, field, offered, taken } => {
            // How long it is may be seen; what is offered is to be written down or told.
            let shown = if *taken { field.clone() } else { "•".repeat(field.chars().count()) };
            let offer = match offered {
                Some(words) if !taken => format!("a new one (Tab takes it): {words}"),
                Some(_) => "tell it to those who are to come, by a way that you trust".to_owned(),
                None => String::new(),
            };
            let rows = [offer, "Enter opens the room, Esc does not".to_owned()];
            let rows: Vec<_> = rows.into_iter().map(|r| (r, String::new())).collect();
            let title = format!("Passphrase of {}", clean(room));
            Some(field_and_list(theme, whole, buffer, &title, &shown, &rows, usize::MAX))
        }
        Overlay::Search { field, found, at, .. } => {
            let name = state.chat().map(Chat::shown).unwrap_or_default();
            let title = match found {
                None => format!("Search in {name}"),
                Some(found) => {
                    format!("Search in {name}: {} found (Enter shows the place)", found.len())
                }
            };
            let rows: Vec<(String, String)> =
                found.iter().flatten().map(|m| hit(state, m)).collect();
            Some(field_and_list(theme, whole, buffer, &title, field, &rows, *at))
        }
    }
}

fn hit(state: &State, message: &Message) -> (String, String) {
    let who = author(message, &state.me.name);
    let day = jiff::Timestamp::from_millisecond(i64::try_from(message.at_ms).unwrap_or(i64::MAX))
        .map(|t| t.to_zoned(state.zone.clone()).strftime("%Y-%m-%d").to_string())
        .unwrap_or_default();
    let words = clean(message.text.lines().next().unwrap_or_default());
    (format!("{day} {} {who}: {words}", clock(message.at_ms, &state.zone)), String::new())
}

/// A cleared box in the middle, with a title; gives back its inside.
fn frame(theme: Theme, whole: Rect, rows: usize, buffer: &mut Buffer, title: &str) -> Rect {
    let columns = whole.width.min(COLUMNS_MAX);
    let rows = u16::try_from(rows + 1).unwrap_or(u16::MAX).clamp(2.min(whole.height), whole.height);
    let x = whole.x + (whole.width - columns) / 2;
    let y = whole.y + (whole.height - rows) / 3;
    let area = Rect::new(x, y, columns, rows);
    for y in area.top()..area.bottom() {
        cover(buffer, area.x, y);
        buffer.set_string(area.x, y, " ".repeat(usize::from(columns)), Style::reset());
    }
    let title = cut(&format!("─ {title} "), usize::from(columns));
    let line = format!("{title}{}", "─".repeat(usize::from(columns).saturating_sub(width(&title))));
    put(buffer, area, 0, &Line::styled(line, theme.chosen()));
    let edge = u16::from(whole.width > columns);
    for y in area.top() + 1..area.bottom() {
        if edge > 0 {
            buffer.set_string(area.x, y, "│", theme.frame());
            buffer.set_string(area.right() - 1, y, "│", theme.frame());
        }
    }
    let (indent, columns) = (edge + 1, columns.saturating_sub(2 * (edge + 1)));
    Rect { x: area.x + indent, y: area.y + 1, width: columns, height: rows.saturating_sub(1) }
}

/// What does not fit into a row goes on below, so far from the edge.
fn hanging(line: &str, columns: usize, indent: usize) -> Vec<String> {
    let rows = wrap(line, columns);
    // On a narrow screen little would be left beside it.
    let indent = if columns >= 2 * indent { indent } else { 0 };
    let Some(first) = rows.first().filter(|_| rows.len() > 1 && indent > 0).cloned() else {
        return rows;
    };
    let rest = line.get(first.len()..).unwrap_or_default().trim_start();
    let more = wrap(rest, columns - indent);
    let blank = " ".repeat(indent);
    std::iter::once(first).chain(more.iter().map(|row| format!("{blank}{row}"))).collect()
}

fn text(
    theme: Theme,
    whole: Rect,
    buffer: &mut Buffer,
    title: &str,
    lines: &[String],
    top: usize,
    indent: usize,
) {
    let columns = usize::from(whole.width.min(COLUMNS_MAX)).saturating_sub(4).max(1);
    let wrapped: Vec<String> = lines.iter().flat_map(|l| hanging(l, columns, indent)).collect();
    let inner = frame(theme, whole, wrapped.len(), buffer, title);
    let height = usize::from(inner.height);
    let top = top.min(wrapped.len().saturating_sub(height));
    for (n, line) in wrapped.iter().skip(top).take(height).enumerate() {
        put(buffer, inner, n, &Line::raw(line.clone()));
    }
    if top + height < wrapped.len() && height > 0 {
        let more = " more (PgDn) ";
        let columns = u16::try_from(width(more)).unwrap_or(inner.width).min(inner.width);
        buffer.set_stringn(
            inner.right() - columns,
            inner.bottom() - 1,
            more,
            usize::from(columns),
            theme.chosen(),
        );
    }
}

fn field_and_list(
    theme: Theme,
    whole: Rect,
    buffer: &mut Buffer,
    title: &str,
    field: &str,
    rows: &[(String, String)],
    at: usize,
) -> Position {
    /// Rows of the list, where the screen has them.
    const ROWS_MAX: usize = 16;
    let inner = frame(theme, whole, 1 + rows.len().clamp(1, ROWS_MAX), buffer, title);
    let columns = usize::from(inner.width);
    // The end of what is typed is what matters.
    let shown: String = clean(field);
    let skip = width(&shown).saturating_sub(columns.saturating_sub(3));
    let shown: String = shown.chars().skip(skip).collect();
    put(buffer, inner, 0, &Line::raw(format!("> {shown}")));
    let height = usize::from(inner.height).saturating_sub(1);
    let first = at.saturating_add(1).saturating_sub(height).min(rows.len().saturating_sub(height));
    for (n, (label, hint)) in rows.iter().enumerate().skip(first).take(height) {
        let sign = if n == at { "▸ " } else { "  " };
        let hint = cut(hint, columns / 2);
        let room = columns.saturating_sub(width(&hint) + 3);
        let line = format!("{sign}{} {hint}", fit(label, room));
        put(
            buffer,
            inner,
            n - first + 1,
            &Line::styled(line, if n == at { theme.bold() } else { Style::new() }),
        );
    }
    if rows.is_empty() {
        put(buffer, inner, 1, &Line::styled("  nothing yet", theme.dim()));
    }
    let x = u16::try_from(width(&shown) + 2).unwrap_or(0).min(inner.width.saturating_sub(1));
    Position::new(inner.x + x, inner.y.min(whole.bottom().saturating_sub(1)))
}

/// The help, line by line.
pub fn help_lines() -> Vec<String> {
    let mut lines = Vec::new();
    for (heading, keys) in KEYS {
        lines.push((*heading).to_uppercase());
        lines.extend(keys.iter().map(|(key, what)| format!(" {} {what}", fit(key, KEY_COLUMNS))));
        lines.push(String::new());
    }
    lines.push("DELIVERY".to_owned());
    lines.extend(DELIVERY_LEGEND.split(" · ").map(|l| format!(" {l}")));
    lines.push(String::new());
    lines.push("SETTINGS, in tui.toml in the profile's folder; options win over them".to_owned());
    lines.extend(SETTINGS.iter().map(|(key, what)| format!(" {} {what}", fit(key, KEY_COLUMNS))));
    lines.push(String::new());
    lines.push("COMMANDS".to_owned());
    lines.extend(crate::slash::help(None).lines().map(str::to_owned));
    lines
}

/// How many lines the help has.
pub fn help_rows() -> usize {
    help_lines().len()
}
