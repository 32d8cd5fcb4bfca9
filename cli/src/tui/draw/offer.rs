//! The list of what can follow, over the lowest rows of the timeline.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::super::complete;
use super::super::info::LIST_ROWS_MIN;
use super::super::state::State;
use super::super::text::{fit, width};
use super::super::theme::Theme;
use super::{cover, put};

/// Rows of the list.
const ROWS_MAX: usize = 8;
/// Columns of the list.
const COLUMNS_MAX: usize = 76;

pub(super) fn draw(state: &State, theme: Theme, over: Rect, buffer: &mut Buffer) {
    let (rows, at) = match &state.composer.completing {
        Some(completing) => {
            let rows = completing.candidates.iter().map(|(_, shown)| shown.clone()).collect();
            (rows, Some(completing.at))
        }
        None => (complete::offered(state), None),
    };
    let height = rows.len().min(ROWS_MAX).min(usize::from(over.height).saturating_sub(2));
    if height == 0 || state.size.1 < LIST_ROWS_MIN {
        return;
    }
    let first = at.unwrap_or(0).saturating_sub(height / 2).min(rows.len() - height);
    let shown: Vec<&String> = rows.iter().skip(first).take(height).collect();
    let more = match rows.len() - height {
        0 => String::new(),
        n => format!("and {n} more · "),
    };
    let hint = format!("  {more}Tab takes it, Esc closes ");
    let wide = shown.iter().map(|r| width(r) + 3).fold(width(&hint), usize::max);
    let columns = wide.min(COLUMNS_MAX).min(usize::from(over.width));
    let Ok(lines) = u16::try_from(height) else { return };
    let top = over.bottom().saturating_sub(lines + 1);
    let area = Rect::new(over.x, top, u16::try_from(columns).unwrap_or(over.width), lines + 1);
    for (n, row) in shown.into_iter().enumerate() {
        let chosen = at == Some(first + n);
        let sign = if chosen { "▸ " } else { "  " };
        let style = if chosen { theme.bold() } else { Style::new() };
        blank(buffer, area, n);
        put(buffer, area, n, &Line::styled(fit(&format!("{sign}{row}"), columns), style));
    }
    blank(buffer, area, height);
    put(buffer, area, height, &Line::styled(fit(&hint, columns), theme.dim()));
}

/// Nothing of what is below shows through, nor half of a wide sign at either edge.
fn blank(buffer: &mut Buffer, area: Rect, row: usize) {
    let Ok(row) = u16::try_from(row) else { return };
    let y = area.y + row;
    if y >= area.bottom() {
        return;
    }
    cover(buffer, area.x, y);
    buffer.set_string(area.x, y, " ".repeat(usize::from(area.width)), Style::reset());
}
