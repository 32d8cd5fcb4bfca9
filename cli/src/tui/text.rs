//! Foreign text on a grid of cells: made harmless, measured, cut and wrapped. Nothing else in the
//! screen measures text.
//!
//! Width is counted as the terminal library counts it (`unicode-width`, by grapheme cluster), so
//! that columns stay straight with wide characters and combining marks.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::output::visible;

/// Characters of one cluster that are shown. The longest real emoji have ten; a tower of combining
/// marks has hundreds.
const CLUSTER_CHARS_MAX: usize = 12;

/// One line of text that cannot act on a terminal: controls and direction overrides are shown as
/// text, towers of combining marks are cut.
pub fn clean(text: &str) -> String {
    let text = visible(text);
    if text.is_ascii() {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    for cluster in text.graphemes(true) {
        match cluster.char_indices().nth(CLUSTER_CHARS_MAX) {
            Some((end, _)) => out.push_str(&cluster[..end]),
            None => out.push_str(cluster),
        }
    }
    out
}

/// Columns that a clean text takes.
pub fn width(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.graphemes(true).map(UnicodeWidthStr::width).sum()
    }
}

/// As much of a clean text as fits, with `…` where something is missing.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    if columns == 0 {
        return String::new();
    }
    let (mut out, mut used) = (String::new(), 0);
    for cluster in text.graphemes(true) {
        let wide = cluster.width();
        if used + wide > columns - 1 {
            break;
        }
        used += wide;
        out.push_str(cluster);
    }
    out.push('…');
    out
}

/// A clean text in exactly so many columns.
pub fn fit(text: &str, columns: usize) -> String {
    let mut out = cut(text, columns);
    let used = width(&out);
    out.extend(std::iter::repeat_n(' ', columns.saturating_sub(used)));
    out
}

/// As [`cut`], for a name with the mark that tells it from others: what does not fit is left off the
/// name, for without its mark it would be anybody's.
pub fn cut_marked(name: &str, mark: Option<&str>, columns: usize) -> String {
    /// Columns of a name of which something is left.
    const NAME_MIN: usize = 2;
    let Some(mark) = mark.map(|m| format!("~{m}")) else { return cut(name, columns) };
    let room = columns.saturating_sub(width(&mark));
    let name = if room < NAME_MIN { name.to_owned() } else { cut(name, room) };
    cut(&format!("{name}{mark}"), columns)
}

/// The same in exactly so many columns.
pub fn fit_marked(name: &str, mark: Option<&str>, columns: usize) -> String {
    fit(&cut_marked(name, mark, columns), columns)
}

/// Text of several lines as rows of at most so many columns, broken between words where possible.
/// The text is cleaned here. At least one row; a character that is wider than the row stands alone.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut rows = Vec::new();
    for line in text.trim_end_matches(['\r', '\n']).split('\n') {
        wrap_line(&clean(line.strip_suffix('\r').unwrap_or(line)), columns, &mut rows);
    }
    rows
}

fn wrap_line(line: &str, columns: usize, rows: &mut Vec<String>) {
    if line.len() <= columns {
        // No cluster is wider than its bytes.
        rows.push(line.to_owned());
        return;
    }
    let (mut start, mut used) = (0, 0);
    // Where the row may be broken: behind the last blank, and the columns up to there.
    let mut blank: Option<(usize, usize)> = None;
    for (at, cluster) in line.grapheme_indices(true) {
        let wide = cluster.width();
        if used + wide > columns && at > start {
            if cluster == " " {
                // A blank at the edge is not needed.
                rows.push(line[start..at].to_owned());
                (start, used, blank) = (at + 1, 0, None);
                continue;
            }
            let (end, width) = blank.filter(|(end, _)| *end > start).unwrap_or((at, used));
            rows.push(line[start..end].trim_end_matches(' ').to_owned());
            (start, used, blank) = (end, used - width, None);
        }
        used += wide;
        if cluster == " " {
            blank = Some((at + 1, used));
        }
    }
    if start < line.len() || rows.is_empty() {
        rows.push(line[start..].to_owned());
    }
}

/// The rows of a text that is being typed, and where in them the cursor stands. Nothing is dropped
/// at the edges: each character has its place, so the cursor can be anywhere.
pub fn typed(
    lines: &[String],
    cursor: (usize, usize),
    columns: usize,
) -> (Vec<String>, (usize, usize)) {
    let columns = columns.max(1);
    let (mut rows, mut place) = (Vec::new(), (0, 0));
    for (n, line) in lines.iter().enumerate() {
        let (mut row, mut used, mut chars) = (String::new(), 0, 0);
        for cluster in line.graphemes(true) {
            let shown = clean(cluster);
            let wide = width(&shown);
            if used + wide > columns && used > 0 {
                rows.push(std::mem::take(&mut row));
                used = 0;
            }
            if n == cursor.0 && chars <= cursor.1 {
                place = (rows.len(), used);
            }
            row.push_str(&shown);
            used += wide;
            chars += cluster.chars().count();
        }
        if n == cursor.0 && chars <= cursor.1 {
            if used >= columns {
                rows.push(std::mem::take(&mut row));
                used = 0;
            }
            place = (rows.len(), used);
        }
        rows.push(row);
    }
    (rows, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_break_between_words_and_never_exceed_the_width() {
        assert_eq!(wrap("can we meet on Sunday?", 8), ["can we", "meet on", "Sunday?"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("a\n\nb\n", 9), ["a", "", "b"]);
        assert_eq!(wrap("", 9), [""]);
        assert_eq!(wrap("日本語です", 5), ["日本", "語で", "す"]);
        for text in [
            "wörter und 日本語 👩‍🌾👩‍🌾👩‍🌾 mix",
            "x\u{301}\u{302}\u{303}yz",
            "\u{1b}[2J\u{202e}",
            "    a    b    ",
        ] {
            for columns in 1..20 {
                for row in wrap(text, columns) {
                    let alone = row.graphemes(true).count() <= 1;
                    assert!(width(&row) <= columns || alone, "{row:?} in {columns}");
                }
            }
        }
    }

    #[test]
    fn cutting_keeps_clusters_whole_and_says_that_something_is_missing() {
        assert_eq!(cut("garden", 6), "garden");
        assert_eq!(cut("garden", 5), "gard…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!((cut("ab", 1).as_str(), cut("ab", 0).as_str()), ("…", ""));
        assert_eq!(width(&fit("日本", 7)), 7);
    }

    #[test]
    fn a_name_gives_way_to_its_mark() {
        assert_eq!(fit_marked("alice", Some("U2IX"), 12), "alice~U2IX  ");
        assert_eq!(fit_marked("alice", Some("U2IX"), 9), "ali…~U2IX");
        assert_eq!(fit_marked("alice", Some("U2IX"), 6), "alice…");
        assert_eq!(fit_marked("alice", None, 7), "alice  ");
    }

    #[test]
    fn a_tower_of_marks_is_cut_and_nothing_acts_on_the_terminal() {
        let tower = format!("a{}b", "\u{301}".repeat(500));
        assert!(clean(&tower).len() < 40 && clean(&tower).ends_with('b'));
        let shown = clean("a\u{1b}]52;c;aGk=\u{7}\u{9b}\u{202e}\u{200b}b");
        assert!(!shown.chars().any(klatch_core::identity::is_unsafe), "{shown:?}");
        assert_eq!(clean("👩‍🌾 ❤️ שלום"), "👩‍🌾 ❤️ שלום");
    }

    #[test]
    fn the_cursor_is_where_the_next_character_goes() {
        let lines = |text: &str| text.split('\n').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(typed(&lines("abc"), (0, 3), 5), (vec!["abc".to_owned()], (0, 3)));
        assert_eq!(
            typed(&lines("abcde"), (0, 5), 5),
            (vec!["abcde".to_owned(), String::new()], (1, 0))
        );
        assert_eq!(typed(&lines("ab\ncd"), (1, 1), 5).1, (1, 1));
        assert_eq!(typed(&lines("日本語"), (0, 2), 6).1, (0, 4));
        assert_eq!(typed(&lines("日本語"), (0, 2), 5).1, (1, 0), "where the next wide one stands");
        assert_eq!(typed(&lines(""), (0, 0), 5), (vec![String::new()], (0, 0)));
    }
}
