//! Taking the arguments of a slash command apart.

use klatch_core::names::QUOTES;

/// What `message.list` gives at most.
pub(super) const LINES_MAX: u32 = 1_000;

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
