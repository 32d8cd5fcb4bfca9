//! The picture of the README, `docs/screen.svg`: the real screen, drawn by the test backend and
//! written as SVG. `KLATCH_PICTURES=write cargo test -p klatch portrait` makes it anew; a screen
//! that no longer looks like its picture fails here.

use std::fmt::Write as _;
use std::path::Path;

use klatch_core::event::{Delivery, Message, Reactions};
use klatch_core::ids::{DeviceId, EntryId, IdentityId, RoomId};
use klatch_core::query::{Contact, Member, Standing, Verification};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::scenes::{ALICE, GARDEN, GENERAL, answer, fresh, id, member, room, said, status};
use super::type_text;
use crate::tui::draw::draw;
use crate::tui::state::{State, Tag};
use crate::tui::text::width;

const COLUMNS: u16 = 112;
const ROWS: u16 = 18;
/// Pixels of a cell.
const CELL: (u32, u32) = (8, 17);
const BACKGROUND: &str = "#16181d";
const FOREGROUND: &str = "#d8dce4";

/// An ordinary evening: three people, a reply, a reaction, one of them away.
fn evening() -> State {
    let mut state = fresh(COLUMNS, ROWS);
    state.settings.color = true;
    let rooms = vec![room(GARDEN, "#garden", 0), room(GENERAL, "#general", 2)];
    let mut status = status(rooms);
    // Signed presence said who is behind the link.
    status.peers[0].identity = Some(IdentityId([2; 32]));
    answer(&mut state, Tag::Status, &status);
    let bob = Contact {
        identity: IdentityId([11; 32]),
        room: RoomId([11; 16]),
        name: "bob".to_owned(),
        claimed: "bob".to_owned(),
        petname: None,
        fingerprint: String::new(),
        name_mark: None,
        standing: Standing::Accepted,
        verification: Verification::Verified,
        online: true,
        messages: 1,
        unread: 0,
        last_ms: 0,
    };
    answer(&mut state, Tag::Contacts, &[bob]);
    let lines = [
        said(1, 2, "bob", 64, "did the seeds arrive?"),
        said(2, 9, "alice", 58, "yes, both bags. Planting on Saturday?"),
        Message {
            reactions: vec![Reactions {
                emoji: "👍".to_owned(),
                devices: vec![ALICE, DeviceId([3; 32])],
            }],
            ..said(3, 2, "bob", 51, "Saturday at ten. I can bring the long ladder")
        },
        said(4, 3, "carol", 47, "on the train, no network until six: count me in"),
        Message {
            reply_to: Some(EntryId(id(2))),
            ..said(5, 5, "dan", 30, "could we make it eleven?")
        },
        Message {
            state: Some(Delivery::Delivered { n: 2, m: 3 }),
            ..said(6, 9, "alice", 12, "eleven it is")
        },
        said(7, 3, "carol", 3, "back online: got everything you wrote"),
    ];
    // There is one bob only: no name needs a mark.
    let lines = lines.map(|line| Message { name_mark: None, ..line });
    answer(&mut state, Tag::Newest(GARDEN), &lines);
    let members = [(9, "alice", true), (2, "bob", true), (3, "carol", true), (5, "dan", false)]
        .map(|(n, name, online)| Member { name_mark: None, ..member(n, name, online) });
    answer(&mut state, Tag::Members(GARDEN), &members);
    type_text(&mut state, "see you there");
    state
}

/// The colours of a terminal's palette, as this picture shows them.
fn paint(color: Color, otherwise: &str) -> String {
    match color {
        Color::Reset => otherwise.to_owned(),
        Color::Black => "#2a2d35".to_owned(),
        Color::Red | Color::LightRed => "#ff7b72".to_owned(),
        Color::Green | Color::LightGreen => "#7ee787".to_owned(),
        Color::Yellow | Color::LightYellow => "#e3b341".to_owned(),
        Color::Blue | Color::LightBlue => "#79c0ff".to_owned(),
        Color::Magenta | Color::LightMagenta => "#d2a8ff".to_owned(),
        Color::Cyan | Color::LightCyan => "#76e3ea".to_owned(),
        Color::Gray | Color::White => FOREGROUND.to_owned(),
        Color::DarkGray => "#8b949e".to_owned(),
        Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
        Color::Indexed(n) => indexed(n),
    }
}

/// The 6x6x6 cube and the greys of 256-colour terminals.
fn indexed(n: u8) -> String {
    if n >= 232 {
        let grey = 8 + (n - 232) * 10;
        return format!("#{grey:02x}{grey:02x}{grey:02x}");
    }
    let level = |v: u8| if v == 0 { 0 } else { 55 + v * 40 };
    let cube = n.saturating_sub(16);
    format!("#{:02x}{:02x}{:02x}", level(cube / 36), level(cube / 6 % 6), level(cube % 6))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Cells of one look that stand side by side.
fn look(cell: &Cell) -> (String, String, bool, bool) {
    let (mut fore, mut back) = (paint(cell.fg, FOREGROUND), paint(cell.bg, BACKGROUND));
    if cell.modifier.contains(Modifier::REVERSED) {
        std::mem::swap(&mut fore, &mut back);
    }
    let (bold, dim) =
        (cell.modifier.contains(Modifier::BOLD), cell.modifier.contains(Modifier::DIM));
    (fore, back, bold, dim)
}

fn svg(buffer: &Buffer) -> String {
    let (wide, high) = (u32::from(COLUMNS) * CELL.0 + 24, u32::from(ROWS) * CELL.1 + 24);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{high}\" \
         viewBox=\"0 0 {wide} {high}\" role=\"img\" aria-label=\"Klatch in a terminal: rooms on \
         the left, the conversation with delivery states in the middle, people on the right\">\n\
         <rect width=\"{wide}\" height=\"{high}\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n\
         <g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" \
         font-size=\"13.29\" xml:space=\"preserve\">\n"
    );
    for y in 0..ROWS {
        let mut x = 0;
        while x < COLUMNS {
            let (from, style) = (x, look(&buffer[(x, y)]));
            let mut symbols = Vec::new();
            while x < COLUMNS && look(&buffer[(x, y)]) == style {
                let symbol = buffer[(x, y)].symbol();
                symbols.push((x, symbol));
                x += u16::try_from(width(symbol).max(1)).unwrap();
            }
            if style.1 != BACKGROUND {
                boxed(&mut out, (from, y), x - from, &style.1);
            }
            // Word by word: whatever font is there, columns stay straight.
            let kind = |symbol: &str| match symbol {
                " " => 0,
                "─" => 1,
                "│" => 2,
                s if s.is_ascii() => 3,
                _ => 4,
            };
            for word in symbols.chunk_by(|a, b| kind(a.1) == kind(b.1)) {
                let (at, last) = (word[0], word[word.len() - 1]);
                let cells = last.0 - at.0 + u16::try_from(width(last.1).max(1)).unwrap();
                match kind(at.1) {
                    0 => {}
                    1 | 2 => line(&mut out, (at.0, y), cells, at.1 == "│", &style),
                    _ => {
                        let text: String = word.iter().map(|w| w.1).collect();
                        run(&mut out, (at.0, y), cells, &text, &style);
                    }
                }
            }
        }
    }
    out.push_str("</g>\n</svg>\n");
    out
}

/// Left and top edge of a cell.
fn corner((x, y): (u16, u16)) -> (u32, u32) {
    (12 + u32::from(x) * CELL.0, 12 + u32::from(y) * CELL.1)
}

fn boxed(out: &mut String, at: (u16, u16), cells: u16, back: &str) {
    let ((left, top), wide, high) = (corner(at), u32::from(cells) * CELL.0, CELL.1);
    writeln!(
        out,
        "<rect x=\"{left}\" y=\"{top}\" width=\"{wide}\" height=\"{high}\" fill=\"{back}\"/>"
    )
    .unwrap();
}

/// Lines of the frame, without gaps.
fn line(
    out: &mut String,
    at: (u16, u16),
    cells: u16,
    upright: bool,
    (fore, _, _, dim): &(String, String, bool, bool),
) {
    let (left, top) = corner(at);
    let faint = if *dim { " opacity=\"0.6\"" } else { "" };
    let (x, y, wide, high) = match upright {
        true => (left + CELL.0 / 2, top, 1, CELL.1),
        false => (left, top + CELL.1 / 2, u32::from(cells) * CELL.0, 1),
    };
    writeln!(
        out,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{high}\" fill=\"{fore}\"{faint}/>"
    )
    .unwrap();
}

fn run(
    out: &mut String,
    at: (u16, u16),
    cells: u16,
    text: &str,
    (fore, _, bold, dim): &(String, String, bool, bool),
) {
    let ((left, top), wide) = (corner(at), u32::from(cells) * CELL.0);
    let weight = if *bold { " font-weight=\"bold\"" } else { "" };
    let faint = if *dim { " opacity=\"0.6\"" } else { "" };
    writeln!(
        out,
        "<text x=\"{left}\" y=\"{}\" textLength=\"{wide}\" fill=\"{fore}\"{weight}{faint}>\
         {}</text>",
        top + 13,
        escaped(text)
    )
    .unwrap();
}

#[test]
fn the_portrait_of_the_readme_is_what_the_screen_shows() {
    let state = evening();
    let mut terminal = Terminal::new(TestBackend::new(COLUMNS, ROWS)).unwrap();
    terminal.draw(|frame| drop(draw(&state, frame))).unwrap();
    let drawn = svg(terminal.backend().buffer());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/screen.svg");
    if std::env::var_os("KLATCH_PICTURES").is_some_and(|v| v == "write") {
        std::fs::write(&path, &drawn).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        drawn == kept,
        "docs/screen.svg shows another screen: KLATCH_PICTURES=write cargo test -p klatch portrait"
    );
}
