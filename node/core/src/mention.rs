//! Who is called in a text: the one rule for marks, counts and notices.
//!
//! A name calls if it stands as a whole word, with or without `@`, in any case; the longest name
//! that fits wins, and nothing calls inside a link or a mail address. Compared by grapheme, so `ań`
//! does not call `an`.

use std::collections::BTreeMap;
use std::ops::Range;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

/// The names of a room, ready to be looked for.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// By the first grapheme, the longest first: graphemes of the name, and its number.
    by_first: BTreeMap<String, Vec<(Vec<String>, usize)>>,
}

/// Somebody is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// Where, in bytes of the text; a leading `@` is part of it.
    pub at: Range<usize>,
    /// Which of the names. Of equal ones the first.
    pub name: usize,
}

/// A grapheme of a text.
struct Piece {
    at: usize,
    end: usize,
    folded: String,
    /// Part of a word.
    word: bool,
}

impl Names {
    /// Of these, in this order.
    #[must_use]
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut by_first: BTreeMap<String, Vec<(Vec<String>, usize)>> = BTreeMap::new();
        for (number, name) in names.into_iter().enumerate() {
            // Folded as a whole: `ß` is two graphemes then, as `SS` is.
            let folded = folded(name.trim());
            let graphemes: Vec<String> = folded.graphemes(true).map(str::to_owned).collect();
            if let Some(first) = graphemes.first() {
                by_first.entry(first.clone()).or_default().push((graphemes, number));
            }
        }
        for names in by_first.values_mut() {
            // Stable: of equal names the first stays first.
            names.sort_by_key(|(graphemes, _)| std::cmp::Reverse(graphemes.len()));
        }
        Self { by_first }
    }

    /// Everybody who is called in a text, in order.
    #[must_use]
    pub fn mentions(&self, text: &str) -> Vec<Mention> {
        if self.by_first.is_empty() {
            return Vec::new();
        }
        let pieces = pieces(text);
        let mut links = links(text).into_iter().peekable();
        let (mut found, mut i) = (Vec::new(), 0);
        while let Some(piece) = pieces.get(i) {
            while links.peek().is_some_and(|l| l.end <= piece.at) {
                links.next();
            }
            if let Some(link) = links.peek().filter(|l| l.start <= piece.at) {
                let end = link.end;
                i += pieces[i..].iter().take_while(|p| p.at < end).count();
                continue;
            }
            let stop = links.peek().map_or(text.len(), |l| l.start);
            match self.name_at(&pieces, i).filter(|(end, _)| pieces[end - 1].end <= stop) {
                Some((end, name)) => {
                    let sign = i.checked_sub(1).and_then(|b| pieces.get(b));
                    let start = sign.filter(|p| p.folded == "@").map_or(piece.at, |p| p.at);
                    found.push(Mention { at: start..pieces[end - 1].end, name });
                    i = end;
                }
                None => i += 1,
            }
        }
        found
    }

    /// The longest name that begins with this piece and is a whole word.
    fn name_at(&self, pieces: &[Piece], i: usize) -> Option<(usize, usize)> {
        if glued(pieces, i) {
            return None;
        }
        let names = self.by_first.get(&pieces[i].folded)?;
        names.iter().find_map(|(graphemes, number)| {
            let end = i + graphemes.len();
            let here = pieces.get(i..end)?;
            let same = here.iter().zip(graphemes).all(|(p, g)| p.folded == *g);
            (same && !glued(pieces, end)).then_some((end, *number))
        })
    }
}

/// Whether a text calls `own`, and not somebody whose longer name has it in front.
#[must_use]
pub fn calls<'a>(text: &str, own: &'a str, others: impl IntoIterator<Item = &'a str>) -> bool {
    let names = Names::of(std::iter::once(own).chain(others));
    names.mentions(text).iter().any(|m| m.name == 0)
}

/// Whether a word goes on across the border before piece `i`.
fn glued(pieces: &[Piece], i: usize) -> bool {
    let at = |i: Option<usize>| i.and_then(|i| pieces.get(i));
    let (before, after) = (at(i.checked_sub(1)), at(Some(i)));
    let word = |p: Option<&Piece>| p.is_some_and(|p| p.word);
    let hyphen = |p: Option<&Piece>| p.is_some_and(|p| p.folded == "-" || p.folded == "\u{2010}");
    (word(before) && word(after))
        // `ann-marie` is one word, `ann - marie` is two; `-ann` is a list.
        || (word(before) && hyphen(after) && word(at(Some(i + 1))))
        || (hyphen(before) && word(after) && word(at(i.checked_sub(2))))
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(text.len());
    for (at, grapheme) in text.grapheme_indices(true) {
        let first = grapheme.chars().next().unwrap_or(' ');
        let word = first.is_alphanumeric() || first == '_' || is_combining_mark(first);
        let end = at + grapheme.len();
        for folded in folded(grapheme).graphemes(true) {
            pieces.push(Piece { at, end, folded: folded.to_owned(), word });
        }
    }
    pieces
}

fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    caseless::default_case_fold_str(&text.nfkc().collect::<String>()).nfkc().collect()
}

/// Where links and mail addresses are.
fn links(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    for token in text.split(char::is_whitespace) {
        let start = at;
        at += token.len();
        // What follows is one white-space character, of any length.
        at += text[at..].chars().next().map_or(0, char::len_utf8);
        if is_link(token) {
            found.push(start..start + token.len());
        }
    }
    found
}

fn is_link(token: &str) -> bool {
    let inner = token.trim_start_matches(|c: char| !c.is_alphanumeric());
    if token.contains("://") || inner.starts_with("www.") || inner.starts_with("mailto:") {
        return true;
    }
    // `ann@example.org`, but not `@ann` or `(@ann)`.
    token.match_indices('@').any(|(i, _)| {
        let before = token[..i].chars().next_back().is_some_and(char::is_alphanumeric);
        let after = token[i + 1..].chars().next().is_some_and(char::is_alphanumeric);
        before && after
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(text: &str, names: &[&str]) -> Vec<(String, usize)> {
        let found = Names::of(names.iter().copied()).mentions(text);
        found.into_iter().map(|m| (text[m.at].to_owned(), m.name)).collect()
    }

    #[test]
    fn a_name_calls_as_a_whole_word_in_any_case_with_or_without_sign() {
        for text in ["Ann, can you?", "hi @ann", "ANN", "(ann)", "ask Ann.", "Ann's", "for @ann:"] {
            assert!(calls(text, "Ann", []), "{text}");
        }
        for text in ["annual", "joann", "ann_b", "a n n", "", "an", "aan\u{301}n"] {
            assert!(!calls(text, "Ann", []), "{text}");
        }
        assert!(calls("hé zoë!", "Zoë", []) && calls("hé ZOE\u{308}", "zoë", []));
        assert!(calls("weiter, STRASSE", "Straße", []));
        assert!(!calls("x", "", []) && !calls("", "x", []));
    }

    #[test]
    fn the_longest_name_of_the_room_is_the_one_that_is_called() {
        let names = ["Ann", "Ann Marie", "ann-marie"];
        assert_eq!(called("hi @ann-marie", &names), [("@ann-marie".into(), 2)]);
        assert_eq!(
            called("hi Ann Marie, Ann", &names),
            [("Ann Marie".into(), 1), ("Ann".into(), 0)]
        );
        assert_eq!(called("Ann Maries", &names), [("Ann".into(), 0)]);
        // Nobody here is called so, but it is a word of its own all the same.
        assert!(!calls("hi @ann-marie", "ann", []));
        assert!(calls("- ann - marie", "ann", []) && calls("-ann", "ann", []));
    }

    #[test]
    fn nobody_is_called_inside_a_link_or_a_mail_address() {
        for text in [
            "https://example.org/ann/x",
            "see (https://example.org/?q=ann)",
            "www.ann.example",
            "ann@example.org",
            "mail <ann@example.org>",
        ] {
            assert!(!calls(text, "ann", []), "{text}");
        }
        assert!(calls("https://example.org ann", "ann", []));
        assert!(calls("ann https://example.org/ann", "ann", []));
        assert_eq!(called("a\u{2003}ann b@c.d ann", &["ann"]).len(), 2);
    }

    #[test]
    fn a_grapheme_is_never_cut() {
        assert!(!calls("an\u{301}n", "ann", []) && !calls("ann\u{301}", "ann", []));
        assert!(calls("👩‍🌾 ann", "ann", []) && calls("hi 👩‍🌾!", "👩‍🌾", []));
        assert!(!calls("👩‍🌾", "👩", []));
    }

    #[test]
    fn a_large_text_with_many_names_takes_a_moment_only() {
        let names: Vec<String> = (0..2_000).map(|n| format!("a{n}")).collect();
        let text = "a1 a22 b a999 ".repeat(4_000);
        let found = Names::of(names.iter().map(String::as_str)).mentions(&text);
        assert_eq!(found.len(), 12_000);
    }
}
