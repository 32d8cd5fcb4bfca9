//! Links on the screen: where each of them lies once its text is wrapped, so that a link that is
//! broken over two rows is still one. What a link is, and whether a terminal knows links, is in
//! `crate::links`.

use ratatui::layout::Rect;

use super::text::{clean, width, wrap};
use crate::links::urls;

/// Longer ones are not told to the terminal; many cut them, and then they lead elsewhere.
const LINK_BYTES_MAX: usize = 2_000;
/// Links on one screen that are told.
const LINKS_MAX: usize = 200;

/// A piece of a link in one row of the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Row.
    pub y: u16,
    /// First column.
    pub x: u16,
    /// Columns.
    pub columns: u16,
    /// Where it leads. Printable ASCII only.
    pub to: String,
}

/// The links of a text, each once, in its order.
pub fn of(text: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for line in text.lines() {
        for range in urls(line) {
            let link = line[range].to_owned();
            if !all.contains(&link) {
                all.push(link);
            }
        }
    }
    all
}

/// The address as a terminal may be told it: bytes that are not printable ASCII are escaped as in
/// any address, so nothing in it can end the sequence.
fn told(link: &str) -> Option<String> {
    let mut out = String::with_capacity(link.len());
    for byte in link.bytes() {
        match byte {
            b'!'..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    (out.len() <= LINK_BYTES_MAX).then_some(out)
}

/// Where the links of a text lie once it is wrapped at so many columns: row, first column, columns,
/// address. A link that was broken has a piece in each of its rows.
pub fn in_text(text: &str, columns: usize) -> Vec<(usize, usize, usize, String)> {
    let mut pieces = Vec::new();
    let mut first = 0;
    for line in text.trim_end_matches(['\r', '\n']).split('\n') {
        let rows = wrap(line, columns);
        let line = clean(line.strip_suffix('\r').unwrap_or(line));
        let links: Vec<_> = urls(&line)
            .into_iter()
            .filter_map(|range| told(&line[range.clone()]).map(|to| (range, to)))
            .collect();
        let mut at = 0;
        for (n, row) in rows.iter().enumerate().filter(|_| !links.is_empty()) {
            // Blanks at the edge of a row were left out.
            let Some(skipped) = line.get(at..).and_then(|rest| rest.find(row.as_str())) else {
                break;
            };
            at += skipped;
            for (range, to) in &links {
                let (start, end) = (range.start.max(at), range.end.min(at + row.len()));
                if start < end {
                    let (before, shown) = (width(&line[at..start]), width(&line[start..end]));
                    pieces.push((first + n, before, shown, to.clone()));
                }
            }
            at += row.len();
        }
        first += rows.len();
    }
    pieces
}

/// The pieces that lie within an area, at most so many as a screen should have.
pub fn within(area: Rect, pieces: Vec<Piece>) -> Vec<Piece> {
    let mut pieces = pieces;
    pieces.retain(|p| p.y >= area.top() && p.y < area.bottom() && p.columns > 0);
    pieces.truncate(LINKS_MAX);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_broken_over_rows_is_one_link() {
        let text = "none\nlook: https://example.org/long/path?q=1 and more";
        let whole = "https://example.org/long/path?q=1".to_owned();
        assert_eq!(wrap(text, 20)[1..4], ["look:", "https://example.org/", "long/path?q=1 and"]);
        assert_eq!(in_text(text, 20), [(2, 0, 20, whole.clone()), (3, 0, 13, whole)]);
        // Two links in two rows that are full are two.
        let two = in_text("https://a.example/12 https://b.example/34", 20);
        assert_eq!(
            two.iter().map(|p| p.3.as_str()).collect::<Vec<_>>(),
            ["https://a.example/12", "https://b.example/34"]
        );
        assert_eq!(in_text("no links", 20), []);
    }

    #[test]
    fn no_address_can_end_its_sequence() {
        let told = told("https://x.example/\u{1b}]8;;\u{7}ö \u{9c}").unwrap();
        assert!(told.bytes().all(|b| (b'!'..=b'~').contains(&b)), "{told}");
        assert_eq!(super::told(&format!("https://x.example/{}", "a".repeat(3_000))), None);
    }
}
