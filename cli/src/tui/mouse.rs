//! The mouse: the wheel scrolls what is under it, a click on the list goes there. Shift gives it
//! back to the terminal.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::fold::{go, scroll};
use super::overlay::Overlay;
use super::state::{State, View, Wish};
use super::{draw, layout};

/// Rows per notch: one is known to be too few.
const WHEEL_ROWS: isize = 3;

/// Something that the mouse did.
pub fn mouse(state: &mut State, wishes: &mut Vec<Wish>, event: MouseEvent) {
    match event.kind {
        MouseEventKind::ScrollUp => wheel(state, -WHEEL_ROWS, event),
        MouseEventKind::ScrollDown => wheel(state, WHEEL_ROWS, event),
        MouseEventKind::Down(MouseButton::Left)
            if state.overlay.is_none() && state.view == View::Chat =>
        {
            let at = Position::new(event.column, event.row);
            let area: Rect = layout::areas(state).list;
            if area.contains(at)
                && let Some(room) =
                    draw::chat_at(state, usize::from(at.y - area.y), usize::from(area.height))
            {
                go(state, wishes, room);
            }
        }
        _ => {}
    }
}

fn wheel(state: &mut State, rows: isize, event: MouseEvent) {
    let list = layout::areas(state).list;
    let over_list = list.contains(Position::new(event.column, event.row));
    if over_list && state.overlay.is_none() && state.view == View::Chat {
        state.list_top = Some(draw::scrolled(state, usize::from(list.height), rows));
        return;
    }
    let move_by = |top: usize| match usize::try_from(rows) {
        Ok(down) => top + down,
        Err(_) => top.saturating_sub(rows.unsigned_abs()),
    };
    match &mut state.overlay {
        Some(Overlay::Help(top)) => *top = move_by(*top).min(draw::help_rows().saturating_sub(1)),
        Some(Overlay::Panel { top, lines, .. }) => {
            *top = move_by(*top).min(lines.len().saturating_sub(1))
        }
        Some(_) => {}
        None if state.view == View::Network => {
            let back = isize::try_from(state.log_back).unwrap_or(0).saturating_sub(rows);
            state.log_back = usize::try_from(back).unwrap_or(0).min(state.log.len());
        }
        None => scroll(state, rows),
    }
}
