//! What counts as one emoji, and which spellings are the same one.
//!
//! What the user puts on a message must be an emoji of the Unicode tables. What others send is only
//! bounded ([`crate::content`]): a newer version may know more of them.

use crate::limits::EMOJI_BYTES_MAX;

/// The one spelling of an emoji, or of a short name such as `:heart:`; `None` if the text is
/// something else, or more than one.
#[must_use]
pub fn emoji(text: &str) -> Option<&'static str> {
    let short = text.strip_prefix(':').and_then(|t| t.strip_suffix(':'));
    let found = emojis::get(text).or_else(|| emojis::get_by_shortcode(short?));
    found.map(emojis::Emoji::as_str).filter(|e| e.len() <= EMOJI_BYTES_MAX)
}

/// Under what a reaction is counted: ❤ with and without its variation selector is one emoji.
#[must_use]
pub fn counted_as(text: &str) -> &str {
    emojis::get(text).map_or(text, emojis::Emoji::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_emoji_and_nothing_else_is_an_emoji() {
        for one in ["👍", "👍🏽", "❤️", "👩‍🌾", "🇩🇪", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "1️⃣"]
        {
            assert_eq!(emoji(one), Some(one));
        }
        for other in [
            "",
            "ok",
            "+1",
            "1",
            "#",
            ":nonsense:",
            ":",
            "::",
            "👍👍",
            "a👍",
            "👍 ",
            "\u{fe0f}",
            "🇩",
        ] {
            assert_eq!(emoji(other), None, "{other}");
        }
    }

    #[test]
    fn spellings_of_one_emoji_are_one() {
        assert_eq!(emoji(":+1:"), Some("👍"));
        assert_eq!(emoji(":heart:"), emoji("\u{2764}"));
        assert_eq!(emoji("\u{2764}"), Some("\u{2764}\u{fe0f}"));
        assert_eq!(counted_as("\u{2764}"), counted_as("\u{2764}\u{fe0f}"));
        assert_eq!(counted_as("from a newer version"), "from a newer version");
    }
}
