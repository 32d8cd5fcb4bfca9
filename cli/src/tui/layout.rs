//! Where things are on the screen: a pure function of its size and of what the user folded away.
//! The fold asks it for the height of the timeline, the drawing for everything.

use ratatui::layout::Rect;

use super::state::State;
use super::{info, text};

/// Narrower screens show no people...
const PEOPLE_COLUMNS_MIN: u16 = 100;
/// ...and narrower ones no rooms; Ctrl+K still leads everywhere.
const LIST_COLUMNS_MIN: u16 = 70;
/// Where a list is asked for all the same, so much has to be left for the timeline.
const TIMELINE_COLUMNS_MIN: u16 = 30;
/// Columns of the list of rooms.
const LIST_COLUMNS: u16 = 20;
/// Columns of the list of people.
const PEOPLE_COLUMNS: u16 = 22;
/// The composer grows with its text up to so many rows.
const COMPOSER_ROWS_MAX: u16 = 8;
/// Screens of fewer rows have neither head nor foot.
const FRAME_ROWS_MIN: u16 = 10;

/// The parts of the screen. Parts that are not shown are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Areas {
    /// Who one is, who is connected.
    pub head: Rect,
    /// Rooms, conversations, requests.
    pub list: Rect,
    /// What room this is.
    pub title: Rect,
    /// Lines.
    pub timeline: Rect,
    /// Who is here.
    pub people: Rect,
    /// Remarks, who is typing, what is answered.
    pub info: Rect,
    /// What is being written.
    pub composer: Rect,
    /// Keys.
    pub foot: Rect,
}

/// Where everything is.
pub fn areas(state: &State) -> Areas {
    areas_in(state, state.size)
}

/// The same on a screen of another size: it may have changed before the state knows.
pub fn areas_in(state: &State, (columns, rows): (u16, u16)) -> Areas {
    let frame = u16::from(rows >= FRAME_ROWS_MIN);
    let inner = columns.saturating_sub(u16::try_from(prompt(state, columns).1).unwrap_or(0)).max(1);
    let cursor = state.composer.area.cursor();
    let typed =
        text::typed(state.composer.area.lines(), (cursor.0, cursor.1), usize::from(inner)).0.len();
    let composer =
        u16::try_from(typed).unwrap_or(u16::MAX).clamp(1, COMPOSER_ROWS_MAX.min((rows / 3).max(1)));
    let said = if frame > 0 { info::rows(state, usize::from(columns)).0.len() } else { 1 };
    let info = if rows >= 3 { u16::try_from(said).unwrap_or(1) } else { 0 };
    let below = composer + info + frame;
    let middle = rows.saturating_sub(below + frame);
    let wish = |wish: Option<bool>, auto: bool, need: u16| {
        wish.unwrap_or(auto) && columns >= need + TIMELINE_COLUMNS_MIN
    };
    let list = wish(state.settings.list, columns >= LIST_COLUMNS_MIN, LIST_COLUMNS);
    let list = if list { LIST_COLUMNS } else { 0 };
    // In a conversation of two there is nobody to list.
    let several = state.chat().is_none_or(|c| !c.is_direct());
    let people = several
        && wish(state.settings.people, columns >= PEOPLE_COLUMNS_MIN, list + PEOPLE_COLUMNS);
    let people = if people { PEOPLE_COLUMNS } else { 0 };
    let title = u16::from(middle >= 3);
    let between = columns - list - people;
    Areas {
        head: Rect::new(0, 0, columns, frame),
        list: Rect::new(0, frame, list, middle),
        title: Rect::new(list, frame, between, title),
        timeline: Rect::new(list, frame + title, between, middle - title),
        people: Rect::new(columns - people, frame, people, middle),
        info: Rect::new(0, frame + middle, columns, info),
        composer: Rect::new(0, frame + middle + info, columns, composer.min(rows)),
        foot: Rect::new(0, rows.saturating_sub(frame), columns, frame),
    }
}

/// What stands before the composer, and its width.
pub fn prompt(state: &State, columns: u16) -> (String, usize) {
    let mode = match state.composer.vi {
        Some(vi) if vi.normal => "[command] ",
        Some(vi) if vi.line => "[:] ",
        Some(_) => "[insert] ",
        None => "",
    };
    let columns = (usize::from(columns) / 3).saturating_sub(2);
    let name = state.chat().map_or_else(
        || text::cut(&format!("{mode}klatch"), columns),
        |c| {
            text::cut_marked(&format!("{mode}{}", text::clean(&c.name)), c.mark.as_deref(), columns)
        },
    );
    let prompt = name + "> ";
    let width = text::width(&prompt);
    (prompt, width)
}
