//! Taking the arguments of a slash command apart.

use klatch_core::limits::NAME_BYTES_MAX;

/// What `message.list` gives at most.
pub(super) const LINES_MAX: u32 = 1_000;

/// Quotation marks that people put around a text, each with its counterpart.
const QUOTES: [(char, char); 5] = [
    ('"', '"'),
    ('\'', '\''),
    ('\u{201c}', '\u{201d}'),
    ('\u{201e}', '\u{201c}'),
    ('\u{2018}', '\u{2019}'),
];

/// The first word.
pub(super) fn word(args: &str) -> Option<&str> {
    args.split_whitespace().next()
}

/// Anything but nothing.
pub(super) fn some(args: &str) -> Option<String> {
    Some(args.to_owned()).filter(|a| !a.is_empty())
}

/// Nothing at all.
pub(super) fn none<T>(args: &str, action: T) -> Option<T> {
    args.is_empty().then_some(action)
}

/// Exactly one word.
pub(super) fn single(args: &str) -> Option<String> {
    (args.split_whitespace().count() == 1).then(|| args.to_owned())
}

/// A word, and anything behind it.
pub(super) fn two(args: &str) -> Option<(String, String)> {
    let (first, rest) = args.split_once(char::is_whitespace)?;
    Some((first.to_owned(), some(rest.trim())?))
}

/// A text without the one pair of double quotation marks around the whole of it.
pub fn unquoted(text: &str) -> Option<String> {
    // Single ones are apostrophes as often.
    let pairs = QUOTES.iter().filter(|(open, _)| !matches!(open, '\'' | '\u{2018}'));
    let mut inner = pairs.filter_map(|(open, close)| {
        let inner = text.strip_prefix(*open)?.strip_suffix(*close)?;
        (!inner.contains([*open, *close]) && !inner.trim().is_empty()).then_some(inner)
    });
    some(inner.next().unwrap_or(text))
}

/// The name at the front of a line, without its `@`, if this is what follows it.
pub fn bare_name<'a>(line: &'a str, rest: &str) -> &'a str {
    let line = line.trim();
    let name = line.strip_suffix(rest).unwrap_or(line).trim_end();
    name.strip_prefix('@').unwrap_or(name)
}

/// Where the name at the front of a line might end behind the one that was found, which `rest`
/// follows: before each mark that is no letter. Names in quotes end where those do.
pub fn longer_names<'a>(line: &'a str, rest: &str) -> Vec<&'a str> {
    /// As far as a name may go.
    const ENDS_MAX: usize = 8;
    let line = line.trim();
    let name = bare_name(line, rest);
    if QUOTES.iter().any(|(open, _)| name.starts_with(*open)) || !line.ends_with(rest) {
        return Vec::new();
    }
    let begin = line.len() - rest.len();
    let mark = |c: char| !c.is_alphanumeric() && !c.is_whitespace();
    let mut before = ' ';
    let mut ends = Vec::new();
    for (at, c) in rest.char_indices().take_while(|(at, _)| *at <= NAME_BYTES_MAX) {
        if mark(c) && before.is_alphanumeric() {
            ends.push(&line[..begin + at]);
        }
        before = c;
    }
    ends.truncate(ENDS_MAX);
    ends
}

/// One of two words.
pub fn choice(word: &str, yes: &str, no: &str) -> Option<bool> {
    if word.eq_ignore_ascii_case(yes) {
        return Some(true);
    }
    word.eq_ignore_ascii_case(no).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_name_may_end_before_any_mark_behind_the_shorter_one() {
        for (line, longer) in [
            ("@Mary Ann: one", &["@Mary Ann"][..]),
            (" @Mary Ann, three; two", &["@Mary Ann", "@Mary Ann, three"]),
            ("Mary Ann:one", &["Mary Ann"]),
            ("@Mary Ann's coming", &["@Mary Ann"]),
            ("@Mary Anné\u{2026} yes", &["@Mary Anné"]),
            ("@Mary hello you", &[]),
            ("@Mary: hello", &[]),
            ("@Mary", &[]),
        ] {
            let rest = line.trim().split_once(' ').map_or("", |(_, rest)| rest);
            assert_eq!(longer_names(line, rest), longer, "{line}");
        }
        assert!(longer_names("@\"Mary\" Ann: hi", "Ann: hi").is_empty());
        let far = format!("@Mary {}", "a. ".repeat(10_000));
        assert!(longer_names(&far, far.split_once(' ').unwrap().1.trim()).len() <= 8);
        assert_eq!(bare_name("@Mary Ann: one", "Ann: one"), "Mary");
    }

    #[test]
    fn one_pair_of_quotes_around_the_whole_text_is_dropped() {
        for text in
            ["\"hello there\"", "\u{201c}hello there\u{201d}", "\u{201e}hello there\u{201c}"]
        {
            assert_eq!(unquoted(text).unwrap(), "hello there");
        }
        for text in
            ["say \"hi\"", "\"a\" or \"b\"", "\"a", "it's", "'tis'", "\"\"", "\"", "\"\"a\"\""]
        {
            assert_eq!(unquoted(text).unwrap(), text);
        }
        assert_eq!(unquoted(""), None);
    }
}
