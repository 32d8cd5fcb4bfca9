//! The middle: what kind of room this is, and its lines, from the lowest one upwards. Only what is
//! visible is laid out.

use klatch_core::query::{Access, Verification};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::super::links;
use super::super::rows::Look;
use super::super::state::{Chat, ChatKind, State};
use super::super::text::{clean, cut, cut_marked, width, wrap};
use super::super::theme::Theme;
use super::{cover, put};

pub(super) fn title(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let columns = usize::from(area.width);
    let Some(chat) = state.chat() else { return };
    let name = cut_marked(&clean(&chat.name), chat.mark.as_deref(), columns.saturating_sub(1));
    let name = format!(" {name}  ");
    let (kind, right) = about(state, chat);
    // Where there is no space for both, the count is enough.
    let fits = width(&name) + width(&right) + 2 <= columns;
    let right = if fits {
        format!(" {right} ")
    } else {
        right.split(' ').next().unwrap_or_default().to_owned()
    };
    let room = columns.saturating_sub(width(&name) + width(&right));
    let kind = cut(&kind, room);
    let free = " ".repeat(room.saturating_sub(width(&kind)));
    let loud =
        matches!(chat.kind, ChatKind::Direct(_, Verification::Changed)) || chat.full || chat.behind;
    let spans = vec![
        Span::styled(cut(&name, columns), theme.bold()),
        Span::styled(kind, if loud { theme.warning() } else { theme.dim() }),
        Span::raw(free),
        Span::styled(right, theme.dim()),
    ];
    put(buffer, area, 0, &Line::from(spans));
}

/// Honestly what kind of place this is, and who is there.
fn about(state: &State, chat: &Chat) -> (String, String) {
    match chat.kind {
        _ if chat.behind => {
            ("READ ONLY: restored from an old copy (/doctor)".to_owned(), here(state, chat))
        }
        _ if chat.full => ("full: later texts are not stored here".to_owned(), here(state, chat)),
        ChatKind::Room(Access::Open) => {
            ("open: anybody who knows its name can read it".to_owned(), here(state, chat))
        }
        ChatKind::Room(Access::Passphrase) => {
            let words = crate::words::of_room(&chat.room);
            (format!("passphrase · its words: {words}"), here(state, chat))
        }
        ChatKind::Direct(_, verification) => {
            let kind = match verification {
                Verification::Verified => "end to end, verified",
                Verification::Changed => "KEYS HAVE CHANGED: /verify before you trust this",
                Verification::Unverified => "end to end, not verified (/verify)",
            };
            let is_there = chat.online > 0 || state.is_in_a_room(chat.room);
            let there = match (state.down.is_some(), is_there) {
                (true, _) => "",
                (_, true) => "online",
                (_, false) => "offline",
            };
            (kind.to_owned(), there.to_owned())
        }
        ChatKind::Blocked(_) => {
            ("blocked: nothing comes in from them (/unblock)".to_owned(), String::new())
        }
        ChatKind::Request(_) => {
            ("wants to write to you: F2 accepts, F4 blocks".to_owned(), String::new())
        }
    }
}

fn here(state: &State, chat: &Chat) -> String {
    if state.down.is_some() {
        return String::new();
    }
    let (online, all) = match state.members.get(&chat.room) {
        Some(members) => (members.iter().filter(|m| m.online || m.own).count(), members.len()),
        None => (chat.online as usize + 1, chat.members.max(chat.online + 1) as usize),
    };
    format!("{online}/{all} online")
}

pub(super) fn draw(
    state: &State,
    theme: Theme,
    area: Rect,
    buffer: &mut Buffer,
) -> Vec<links::Piece> {
    let height = usize::from(area.height);
    let mut found = Vec::new();
    let Some(timeline) = state.timeline() else {
        nowhere(state, theme, area, buffer);
        return found;
    };
    if timeline.lines.is_empty() && !alone(state) {
        let text = if timeline.loaded { "Nothing was said here yet." } else { "…" };
        put(buffer, area, 0, &Line::styled(format!(" {text}"), theme.dim()));
        return found;
    }
    let look = Look::new(state, timeline, area.width);
    let mut at = timeline.bottom_index();
    let mut hidden = timeline.bottom.map_or(0, |(_, hidden)| hidden);
    let mut left = height;
    while left > 0 && !timeline.lines.is_empty() {
        let mut rows = look.rows(at);
        rows.truncate(rows.len().saturating_sub(hidden).max(usize::from(hidden == 0)));
        let first = (i64::try_from(left).unwrap_or(0)) - i64::try_from(rows.len()).unwrap_or(0);
        for (row, column, columns, to) in look.links(at) {
            let y = i64::from(area.y) + first + i64::try_from(row).unwrap_or(0);
            let x = usize::from(area.x) + column;
            let place = (u16::try_from(x), u16::try_from(y), u16::try_from(columns));
            if let (true, (Ok(x), Ok(y), Ok(columns))) = (row < rows.len(), place) {
                found.push(links::Piece { x, y, columns, to });
            }
        }
        hidden = 0;
        for row in rows.into_iter().rev() {
            if left == 0 {
                break;
            }
            left -= 1;
            put(buffer, area, left, &row);
        }
        match at.checked_sub(1) {
            Some(above) => at = above,
            None => break,
        }
    }
    if alone(state) {
        let rows = hints(state, left, usize::from(area.width));
        for (n, row) in rows.into_iter().enumerate() {
            let style = if n == 0 { theme.bold() } else { ratatui::style::Style::new() };
            put(buffer, area, n, &Line::styled(format!(" {row}"), style));
        }
    }
    below(state, theme, area, buffer);
    links::within(area, found)
}

/// A room in which nobody else was ever seen, and nothing of it is above the window.
fn alone(state: &State) -> bool {
    let room = state.chat().is_some_and(|c| !c.is_direct());
    let members = state.here.and_then(|room| state.members.get(&room));
    room && members.is_some_and(|m| m.iter().all(|m| m.own))
        && state.timeline().is_some_and(|t| t.loaded && t.at_start)
}

/// What to do in an empty room, as far as it fits above what is there.
fn hints(state: &State, space: usize, columns: usize) -> Vec<String> {
    let Some(chat) = state.chat() else { return Vec::new() };
    let name = clean(&chat.name);
    let mut hints = vec![format!("Nobody else is in {name} yet.")];
    if let ChatKind::Room(Access::Passphrase) = chat.kind {
        hints.push(format!(
            "If others are, compare the room's words: {}. Other words mean that a letter of the name or the passphrase \
             is another one.",
            crate::words::of_room(&chat.room)
        ));
        hints.push(format!(
            "On this network: they open klatch and type {}; your programs find each other.",
            whole(&format!("/join {name} --passphrase"))
        ));
    } else {
        hints.push(format!(
            "On this network: others open klatch and type {}; your programs find each other.",
            whole(&format!("/join {name}"))
        ));
    }
    hints.push(format!(
        "From elsewhere: one of you needs an address that the other can reach; `{}` says which are yours, `{}` goes there.",
        whole("/doctor"),
        whole("/connect ADDRESS")
    ));
    hints.push("What you write now waits for them. F1 help".to_owned());
    let mut rows = Vec::new();
    for hint in hints {
        let more = wrap(&hint, columns.saturating_sub(2).min(100));
        if rows.len() + more.len() + 1 > space {
            break;
        }
        rows.extend(more.iter().map(|row| row.replace(TIE, " ")));
    }
    rows
}

/// Stands for a blank at which no row ends.
const TIE: char = '\u{a0}';

/// A command that stays in one row where it fits: half a command is not typed.
fn whole(command: &str) -> String {
    command.replace(' ', TIE.encode_utf8(&mut [0; 2]))
}

/// Says that there is more below.
fn below(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let Some(timeline) = state.timeline().filter(|t| !t.follows()) else { return };
    let text = match timeline.missed {
        0 => " ▼ more below (End) ".to_owned(),
        n => format!(" ▼ {n} new below (End) "),
    };
    let text = cut(&text, usize::from(area.width));
    let columns = u16::try_from(width(&text)).unwrap_or(area.width);
    if area.height > 0 {
        cover(buffer, area.right().saturating_sub(columns), area.bottom() - 1);
        buffer.set_string(
            area.right().saturating_sub(columns),
            area.bottom() - 1,
            text,
            theme.chosen(),
        );
    }
}

/// Before any room is open.
fn nowhere(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let name = clean(&state.me.name);
    let text = if state.sealed && state.down.is_some() && state.here.is_some() {
        let unlock = crate::hints::in_shell("`klatch unlock`");
        format!(
            "Locked.\n\nThe node is gone, and with it the keys: nothing that was said is shown \
             until it is there again. {unlock} in a shell brings it back."
        )
    } else if state.status.is_none() {
        "Starting…".to_owned()
    } else if area.height < 6 {
        format!("You are {name}. /join #lobby opens a room.")
    } else {
        format!(
            "You are {name}, and in no room yet.\n\nType /join #lobby and press Enter: the room is there for everybody who \
             opens the same name. /join takes any name.\n\nF1 explains the keys, /help the commands, /quit ends."
        )
    };
    let rows = wrap(&text, usize::from(area.width).saturating_sub(2));
    for (n, row) in rows.into_iter().enumerate() {
        put(
            buffer,
            area,
            n,
            &Line::styled(
                format!(" {row}"),
                if n == 0 { theme.bold() } else { ratatui::style::Style::new() },
            ),
        );
    }
}
