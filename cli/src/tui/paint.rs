//! Between the picture and the terminal: rows whose signs terminals measure differently are painted
//! whole, and the terminal is told where links lead.
//!
//! A flag or a family is several characters that one terminal shows in two columns and another in
//! four or more. A picture that only writes what changed then leaves half a sign behind.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crossterm::cursor::MoveTo;
use crossterm::queue;
use crossterm::style::{Attribute, SetAttribute};
use crossterm::terminal::{Clear, ClearType as Erase};
use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};

use super::links::Piece;
use super::text::width;

/// Links on the screen, as the picture to come has them.
pub type Links = Arc<Mutex<Vec<Piece>>>;

/// A terminal that remembers what it shows.
#[derive(Debug)]
pub struct Paint<W: Write> {
    inner: CrosstermBackend<W>,
    shown: Vec<Vec<Cell>>,
    links: Links,
}

impl<W: Write> Paint<W> {
    /// On this writer.
    pub fn new(writer: W, links: Links) -> Self {
        Self { inner: CrosstermBackend::new(writer), shown: Vec::new(), links }
    }

    /// Takes over what changed; gives back the rows that have to be painted whole, and the cells of
    /// the others.
    fn take<'a>(
        &mut self,
        content: impl Iterator<Item = (u16, u16, &'a Cell)>,
        links: &[Piece],
    ) -> (Vec<u16>, Vec<(u16, u16, &'a Cell)>) {
        let mut changed: Vec<(u16, u16, &Cell)> = content.collect();
        let mut whole: Vec<u16> = changed
            .iter()
            .map(|(_, y, _)| *y)
            .filter(|y| self.is_doubtful(*y) || links.iter().any(|l| l.y == *y))
            .collect();
        for (x, y, cell) in &changed {
            let (x, at) = (usize::from(*x), usize::from(*y));
            if self.shown.len() <= at {
                self.shown.resize(at + 1, Vec::new());
            }
            let row = &mut self.shown[at];
            // Behind a wide sign nothing is reported, and nothing is left of what stood there.
            let end = x + width(cell.symbol()).max(1);
            if row.len() < end {
                row.resize(end, Cell::EMPTY);
            }
            row[x..end].fill(Cell::EMPTY);
            row[x] = (*cell).clone();
            if is_doubtful(cell.symbol()) {
                whole.push(*y);
            }
        }
        whole.sort_unstable();
        whole.dedup();
        changed.retain(|(_, y, _)| whole.binary_search(y).is_err());
        (whole, changed)
    }

    fn is_doubtful(&self, y: u16) -> bool {
        let row = self.shown.get(usize::from(y));
        row.is_some_and(|row| row.iter().any(|cell| is_doubtful(cell.symbol())))
    }

    /// Clears a row and paints all of it.
    fn whole(&mut self, y: u16, links: &[Piece]) -> io::Result<()> {
        queue!(
            self.inner,
            SetAttribute(Attribute::Reset),
            MoveTo(0, y),
            Clear(Erase::CurrentLine)
        )?;
        let row = self.shown.get(usize::from(y)).cloned().unwrap_or_default();
        let mut cells: Vec<(u16, &Cell)> = Vec::with_capacity(row.len());
        let mut next = 0;
        for (x, cell) in row.iter().enumerate() {
            // The second half of a wide sign is not a sign.
            if x >= next {
                cells.push((u16::try_from(x).unwrap_or(u16::MAX), cell));
                next = x + width(cell.symbol()).max(1);
            }
        }
        let link_at = |x: u16| links.iter().find(|l| l.y == y && x >= l.x && x - l.x < l.columns);
        let mut from = 0;
        while let Some((x, first)) = cells.get(from) {
            let link = link_at(*x);
            // Each doubtful sign alone: what follows it is placed anew, whatever it measured.
            let alone = is_doubtful(first.symbol());
            let mut end = from + 1;
            while !alone
                && cells
                    .get(end)
                    .is_some_and(|(x, cell)| link_at(*x) == link && !is_doubtful(cell.symbol()))
            {
                end += 1;
            }
            if let Some(link) = link {
                // The same id joins the pieces of one link where it was broken.
                write!(self.inner, "\u{1b}]8;id={};{}\u{1b}\\", id(&link.to), link.to)?;
            }
            let part = cells.get(from..end).unwrap_or_default();
            self.inner.draw(part.iter().map(|(x, cell)| (*x, y, *cell)))?;
            if alone {
                // Where it took more columns than it should, nothing of it is left there.
                let next = x.saturating_add(u16::try_from(width(first.symbol())).unwrap_or(1));
                queue!(self.inner, MoveTo(next, y), Clear(Erase::UntilNewLine))?;
            }
            if link.is_some() {
                write!(self.inner, "\u{1b}]8;;\u{1b}\\")?;
            }
            from = end;
        }
        Ok(())
    }
}

/// A short name for an address, the same for the same address.
fn id(link: &str) -> String {
    let sum = link.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, b| {
        (sum ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{sum:x}")
}

/// Signs of several characters, of which terminals disagree how wide they are: flags, families,
/// skin tones, signs made emoji by a selector.
fn is_doubtful(symbol: &str) -> bool {
    !symbol.is_ascii()
        && symbol.chars().any(|c| {
            matches!(c, '\u{200d}' | '\u{fe0f}' | '\u{20e3}' | '\u{1f1e6}'..='\u{1f1ff}'
                | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0020}'..='\u{e007f}')
        })
}

impl<W: Write> Backend for Paint<W> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (whole, changed) = self.take(content, &links);
        self.inner.draw(changed.into_iter())?;
        whole.into_iter().try_for_each(|y| self.whole(y, &links))
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.inner.hide_cursor()
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.inner.show_cursor()
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        self.inner.get_cursor_position()
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.inner.set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.shown.clear();
        self.inner.clear()
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        // What is left is painted again by whoever cleared.
        self.shown.clear();
        self.inner.clear_region(region)
    }

    fn append_lines(&mut self, n: u16) -> io::Result<()> {
        self.inner.append_lines(n)
    }

    fn size(&self) -> io::Result<Size> {
        self.inner.size()
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        self.inner.window_size()
    }

    fn flush(&mut self) -> io::Result<()> {
        Backend::flush(&mut self.inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ratatui::buffer::Buffer;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    /// A writer that can be looked at.
    #[derive(Debug, Clone, Default)]
    struct Bytes(Arc<Mutex<Vec<u8>>>);

    impl Write for Bytes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Bytes {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    fn rows(lines: &[&str]) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 30, 3));
        for (y, line) in lines.iter().enumerate() {
            buffer.set_string(0, u16::try_from(y).unwrap(), line, Style::new());
        }
        buffer
    }

    fn paint(paint: &mut Paint<Bytes>, before: &Buffer, after: &Buffer) {
        paint.draw(before.diff(after).into_iter()).unwrap();
    }

    #[test]
    fn a_row_with_a_flag_is_cleared_and_painted_whole_when_anything_in_it_changes() {
        let bytes = Bytes::default();
        let mut screen = Paint::new(bytes.clone(), Links::default());
        let flag = rows(&["plain", "to 🇫🇷 from 👨‍👩‍👧 now"]);
        paint(&mut screen, &rows(&[]), &flag);
        bytes.take();
        // One letter behind them: the whole row, from its beginning.
        let other = rows(&["plane", "to 🇫🇷 from 👨‍👩‍👧 new"]);
        paint(&mut screen, &flag, &other);
        let told = bytes.take();
        assert!(told.contains("\u{1b}[2;1H\u{1b}[2K"), "{told:?}");
        assert!(told.contains("🇫🇷") && told.contains("👨‍👩‍👧") && told.contains(" new"), "{told:?}");
        assert!(!told.contains("\u{1b}[1;1H\u{1b}[2K"), "other rows are not: {told:?}");
        // What follows a flag is placed, not appended.
        assert!(told.contains("🇫🇷") && told.contains("\u{1b}[2;6H"), "{told:?}");
        // When the flag goes, its row is cleared once more.
        paint(&mut screen, &other, &rows(&["plane", "words"]));
        assert!(bytes.take().contains("\u{1b}[2;1H\u{1b}[2K"));
        paint(&mut screen, &rows(&["plane", "words"]), &rows(&["plane", "wards"]));
        assert!(!bytes.take().contains("\u{1b}[2K"), "and then no more");
    }

    /// What a terminal shows that is given these bytes.
    fn shown(bytes: &[u8]) -> String {
        let cells = |n: u16| std::num::NonZero::new(n).unwrap();
        let mut terminal = vt100::Parser::new(cells(3), cells(30), 0);
        terminal.process(bytes);
        // Written blanks and untouched cells look alike.
        let rows = terminal.screen().rows(0, 30);
        let rows: Vec<String> = rows.map(|row| row.trim_end().to_owned()).collect();
        rows.join("\n")
    }

    #[test]
    fn nothing_of_what_stood_behind_a_wide_sign_comes_back_when_the_sign_goes() {
        let bytes = Bytes::default();
        let mut screen = Paint::new(bytes.clone(), Links::default());
        let mut told = String::new();
        let pictures = [rows(&["abcdefghijkl"]), rows(&["🇩🇪漢字"]), rows(&["🇩🇪"]), rows(&[""])];
        paint(&mut screen, &rows(&[]), &pictures[0]);
        for pair in pictures.windows(2) {
            paint(&mut screen, &pair[0], &pair[1]);
        }
        told.push_str(&bytes.take());
        assert_eq!(shown(told.as_bytes()).trim(), "", "{told:?}");
    }

    /// Signs of one and two columns, and those of which terminals disagree.
    const SIGNS: &[&str] = &[
        "a",
        "b",
        " ",
        "  ",
        "é",
        "e\u{301}",
        "漢",
        "字",
        "ｆ",
        "😀",
        "🇩🇪",
        "🇫🇷",
        "👩‍👩‍👧‍👦",
        "👍🏽",
        "❤️",
        "1️⃣",
        "ש",
        "🏴󠁧󠁢󠁳󠁣󠁴󠁿",
    ];

    fn line() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(SIGNS), 0..14).prop_map(|signs| signs.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 256, failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn pictures_painted_one_after_the_other_leave_what_the_last_one_alone_shows(
            pictures in prop::collection::vec(prop::collection::vec(line(), 3), 1..6)
        ) {
            let (bytes, fresh) = (Bytes::default(), Bytes::default());
            let mut screen = Paint::new(bytes.clone(), Links::default());
            let mut before = rows(&[]);
            for picture in &pictures {
                let lines: Vec<&str> = picture.iter().map(String::as_str).collect();
                let after = rows(&lines);
                paint(&mut screen, &before, &after);
                before = after;
            }
            // All of it, blanks as well, as on a terminal that is not known to be empty.
            let mut whole = Paint::new(fresh.clone(), Links::default());
            let unlike = Cell::new("x");
            let mut other = rows(&[]);
            other.content.fill(unlike);
            paint(&mut whole, &other, &before);
            prop_assert_eq!(shown(bytes.take().as_bytes()), shown(fresh.take().as_bytes()));
        }
    }

    #[test]
    fn links_are_told_around_their_own_signs_only() {
        let bytes = Bytes::default();
        let links = Links::default();
        let mut screen = Paint::new(bytes.clone(), links.clone());
        links.lock().unwrap().push(Piece {
            y: 0,
            x: 3,
            columns: 16,
            to: "https://a.example".to_owned(),
        });
        paint(&mut screen, &rows(&[]), &rows(&["at https://a.exampl now", "more"]));
        let told = bytes.take();
        let (_, from) = told.split_once("\u{1b}]8;id=").unwrap();
        let (link, _) = from.split_once("\u{1b}]8;;\u{1b}\\").unwrap();
        assert!(link.contains(";https://a.example\u{1b}\\"), "{link:?}");
        assert!(link.contains("https://a.exampl") && !link.contains("now"), "{link:?}");
        assert_eq!(told.matches("\u{1b}]8;").count(), 2);
    }
}
