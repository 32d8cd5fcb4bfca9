//! From the state to a picture. Nothing here changes anything: the same state gives the same
//! picture.

mod bottom;
mod list;
mod network;
mod offer;
mod people;
mod popup;
mod timeline;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

pub use self::list::{chat_at, scrolled};
pub use self::popup::{help_lines, help_rows};
use super::layout::{self, Areas};
use super::links::Piece;
use super::state::{State, View};
use super::text::{clean, cut, width};
use super::theme::{Theme, path};

/// Smaller terminals get one line that says so.
const ROWS_MIN: u16 = 2;

/// Draws everything and places the cursor; gives back where links are.
pub fn draw(state: &State, frame: &mut Frame<'_>) -> Vec<Piece> {
    let whole = frame.area();
    if whole.height < ROWS_MIN || whole.width < 2 {
        put(frame.buffer_mut(), whole, 0, &Line::raw("klatch"));
        return Vec::new();
    }
    let mut links = Vec::new();
    let theme = Theme::new(&state.settings);
    let areas = layout::areas_in(state, (whole.width, whole.height));
    head(state, theme, areas.head, frame.buffer_mut());
    match state.view {
        View::Chat => {
            list::draw(state, theme, areas.list, frame.buffer_mut());
            timeline::title(state, theme, areas.title, frame.buffer_mut());
            links = timeline::draw(state, theme, areas.timeline, frame.buffer_mut());
            people::draw(state, theme, areas.people, frame.buffer_mut());
        }
        View::Network => network::draw(state, theme, between(&areas, whole), frame.buffer_mut()),
    }
    bottom::info(state, theme, areas.info, frame.buffer_mut());
    let cursor = bottom::composer(state, theme, areas.composer, frame.buffer_mut());
    bottom::foot(state, theme, areas.foot, frame.buffer_mut());
    if state.view == View::Chat {
        offer::draw(state, theme, areas.timeline, frame.buffer_mut());
    }
    let over = popup::draw(state, theme, whole, frame.buffer_mut());
    if state.overlay.is_some() {
        // What lies over the text leads nowhere.
        links.clear();
    }
    if let Some(cursor) =
        over.or(cursor.filter(|_| state.overlay.is_none() && state.view == View::Chat))
    {
        frame.set_cursor_position(cursor);
    }
    links
}

/// The middle of the screen.
fn between(areas: &Areas, whole: Rect) -> Rect {
    let top = areas.head.height;
    Rect::new(0, top, whole.width, areas.info.y.saturating_sub(top))
}

/// Writes a line into a row of an area, cut at its edge.
fn put(buffer: &mut Buffer, area: Rect, row: usize, line: &Line<'_>) {
    let Ok(row) = u16::try_from(row) else { return };
    if row < area.height && area.width > 0 {
        buffer.set_line(area.x, area.y + row, line, area.width);
    }
}

/// What is written at this place must not cut a wide character in two: its first half goes.
fn cover(buffer: &mut Buffer, x: u16, y: u16) {
    if let Some(cell) = x.checked_sub(1).and_then(|x| buffer.cell_mut((x, y)))
        && width(cell.symbol()) > 1
    {
        cell.set_symbol(" ");
    }
}

/// A vertical line at the left edge; gives back what is right of it.
fn left_edge(buffer: &mut Buffer, area: Rect, style: Style) -> Rect {
    if area.width == 0 {
        return area;
    }
    for y in area.top()..area.bottom() {
        buffer.set_string(area.x, y, "│", style);
    }
    Rect { x: area.x + 1, width: area.width - 1, ..area }
}

/// Who one is and who is connected, in one line.
fn head(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let columns = usize::from(area.width);
    let left = format!("─ klatch · {} ", clean(&state.me.name));
    let (right, style) = connection(state, theme);
    let right = cut(&format!(" {right} ─"), columns.saturating_sub(width(&left) + 1));
    let free = columns.saturating_sub(width(&left) + width(&right));
    let spans = vec![
        Span::styled(cut(&left, columns), theme.bold()),
        Span::styled("─".repeat(free), theme.frame()),
        Span::styled(right, style),
    ];
    put(buffer, area, 0, &Line::from(spans));
}

fn connection(state: &State, theme: Theme) -> (String, Style) {
    if let Some(why) = &state.down {
        let waiting = match state.sending.len() {
            0 => String::new(),
            1 => " · a message waits for it".to_owned(),
            n => format!(" · {n} messages wait for it"),
        };
        return (format!("NO NODE: {why}{waiting}"), theme.warning());
    }
    let Some(status) = &state.status else { return ("starting".to_owned(), theme.dim()) };
    let mut ways: Vec<(klatch_core::event::Path, usize)> = Vec::new();
    for peer in &status.peers {
        match ways.iter_mut().find(|(p, _)| *p == peer.path) {
            Some((_, n)) => *n += 1,
            None => ways.push((peer.path, 1)),
        }
    }
    ways.sort_by_key(|(p, _)| *p);
    let ways: Vec<String> = ways.iter().map(|(p, n)| format!("{} {n}", path(*p))).collect();
    let mut text = match status.peers.len() {
        0 => "no peers yet".to_owned(),
        1 => format!("1 peer · {}", ways.join(" ")),
        n => format!("{n} peers · {}", ways.join(" ")),
    };
    if status.queued > 0 {
        text.push_str(&format!(" · {} queued", status.queued));
    }
    (text, theme.dim())
}
