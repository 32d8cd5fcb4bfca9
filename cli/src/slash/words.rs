//! Taking the arguments of a slash command apart.

/// What `message.list` gives at most.
pub(super) const LINES_MAX: u32 = 1_000;

/// Quotation marks that people put around a text or a name, each with its counterpart.
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

/// A person and what follows. A name with spaces in it stands in quotation marks.
pub(super) fn named(args: &str) -> Option<(String, String)> {
    let bare = args.strip_prefix('@').unwrap_or(args);
    if let Some((_, close)) = QUOTES.iter().find(|(open, _)| bare.starts_with(*open))
        && let Some((name, rest)) =
            bare.chars().next().and_then(|open| bare[open.len_utf8()..].split_once(*close))
        && (rest.is_empty() || rest.starts_with(char::is_whitespace))
    {
        return some(name).map(|name| (name, rest.trim().to_owned()));
    }
    let (who, rest) = args.split_once(char::is_whitespace).unwrap_or((args, ""));
    some(who).map(|who| (who, rest.trim().to_owned()))
}

/// A text without the one pair of double quotation marks around the whole of it.
pub(super) fn unquoted(text: &str) -> Option<String> {
    // Single ones are apostrophes as often.
    let pairs = QUOTES.iter().filter(|(open, _)| !matches!(open, '\'' | '\u{2018}'));
    let mut inner = pairs.filter_map(|(open, close)| {
        let inner = text.strip_prefix(*open)?.strip_suffix(*close)?;
        (!inner.contains([*open, *close]) && !inner.trim().is_empty()).then_some(inner)
    });
    some(inner.next().unwrap_or(text))
}

/// One of two words.
pub(super) fn choice(word: &str, yes: &str, no: &str) -> Option<bool> {
    if word.eq_ignore_ascii_case(yes) {
        return Some(true);
    }
    word.eq_ignore_ascii_case(no).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_name_with_spaces_stands_in_quotes() {
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(named("@bob hi  there"), pair("@bob", "hi  there"));
        assert_eq!(named("@\"bob b.\" hi"), pair("bob b.", "hi"));
        assert_eq!(named("\u{201c}bob b.\u{201d}"), pair("bob b.", ""));
        assert_eq!(named("@bob"), pair("@bob", ""));
        assert_eq!(named("\"bob\"x hi"), pair("\"bob\"x", "hi"));
        assert_eq!(named(""), None);
    }
}
