//! Words of texts, for whoever looks for them: what counts as a word, which spellings are one, and
//! whether a text contains what is looked for. One rule for what is stored and for what arrives.
//!
//! Spellings are one after compatibility composition (wide and half-width letters), full case
//! folding (`ß` is `ss`) and without accents (`ё` is `е`, but `й` is no `и`). Scripts that put no
//! spaces between words are looked through by character, Hangul by syllable. A symbol is a word of
//! its own; `+` and `#` are where they end one (`c++`). A word in parts is found by each of them and
//! by the whole (`don't`: `don` and `dont`; `e-mail`: `mail` and `email`).

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Words of a query that count; more find nothing new.
const QUERY_WORDS_MAX: usize = 16;
/// Characters of a query that count.
const QUERY_CHARS_MAX: usize = 1_000;

/// The longest word in parts that is found as a whole.
const WHOLE_CHARS_MAX: usize = 64;

/// The words of a text, in order; behind them those that stand in it in parts, as wholes.
#[must_use]
pub fn tokens(text: &str) -> Vec<String> {
    let folded = folded(text);
    let mut found = parts(&folded);
    wholes(&folded, &mut found);
    found
}

/// Words that apostrophes or hyphens divide. They are put behind all others: between their parts and
/// what follows they would be in the way of a phrase.
fn wholes(folded: &str, found: &mut Vec<String>) {
    let (mut whole, mut joints, mut at_joint) = (String::new(), 0, false);
    for c in folded.chars().chain([' ']) {
        if is_letter(c) && !is_unspaced(c) {
            joints += usize::from(at_joint);
            at_joint = false;
            whole.push(c);
        } else if is_joint(c) && !whole.is_empty() && !at_joint {
            at_joint = true;
        } else {
            let word = std::mem::take(&mut whole);
            if joints > 0 && word.chars().count() <= WHOLE_CHARS_MAX {
                found.push(word);
            }
            (joints, at_joint) = (0, false);
        }
    }
}

fn is_letter(c: char) -> bool {
    c.is_alphanumeric() || is_combining_mark(c)
}

/// Apostrophes, hyphens, and the hyphen that is only seen at the end of a line.
fn is_joint(c: char) -> bool {
    matches!(c, '\'' | '\u{2019}' | '-' | '\u{2010}' | '\u{2011}' | '\u{ad}')
}

fn parts(folded: &str) -> Vec<String> {
    let (mut found, mut word) = (Vec::new(), String::new());
    let mut end = |word: &mut String| {
        if !word.is_empty() {
            found.push(std::mem::take(word));
        }
    };
    let mut before = ' ';
    for c in folded.chars() {
        if is_unspaced(c) {
            end(&mut word);
            word.push(c);
            end(&mut word);
        } else if is_letter(c) {
            word.push(c);
        } else {
            end(&mut word);
            let closing = matches!(c, '+' | '#');
            let follows = before.is_alphanumeric() || before == '+';
            if is_symbol(c) || (closing && follows) {
                word = format!("x{:x}", u32::from(c));
                end(&mut word);
            }
        }
        // A sign counts where it ends a word, or follows one that does.
        let idle = matches!(c, '+' | '#') && !before.is_alphanumeric() && before != '+';
        before = if idle { ' ' } else { c };
    }
    end(&mut word);
    found
}

/// What is looked for: each word of a query as the words that must follow one another in a text,
/// the last one of all perhaps only begun. Nothing if there is no word in it.
#[must_use]
pub fn phrases(query: &str) -> Vec<Vec<String>> {
    let query: String = query.chars().take(QUERY_CHARS_MAX).collect();
    let words = query.split(|c: char| c.is_whitespace() || c.is_control());
    words.map(|word| parts(&folded(word))).filter(|t| !t.is_empty()).take(QUERY_WORDS_MAX).collect()
}

/// Whether a text contains what is looked for.
#[must_use]
pub fn matches(text: &str, query: &str) -> bool {
    let (words, phrases) = (tokens(text), phrases(query));
    let last = phrases.len().saturating_sub(1);
    let found = |(i, phrase): (usize, &Vec<String>)| {
        words.windows(phrase.len()).any(|at| {
            let same = |(n, (word, wanted)): (usize, (&String, &String))| {
                let begun = i == last && n + 1 == phrase.len();
                if begun { word.starts_with(wanted.as_str()) } else { word == wanted }
            };
            at.iter().zip(phrase).enumerate().all(same)
        })
    };
    !phrases.is_empty() && phrases.iter().enumerate().all(found)
}

fn folded(text: &str) -> String {
    let bare = unaccented(text);
    unaccented(&caseless::default_case_fold_str(&bare)).nfc().collect()
}

fn unaccented(text: &str) -> String {
    let mut before = ' ';
    let keep = |c: &char| {
        // The breve of й and ў makes another letter.
        let letter = *c == '\u{306}' && matches!(before, 'и' | 'И' | 'у' | 'У');
        before = *c;
        letter || !is_accent(*c)
    };
    text.nfkd().filter(keep).collect()
}

/// Marks of Latin, Greek and Cyrillic, and those around symbols. Vowel signs of other scripts are
/// letters.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}')
}

/// Thai, Lao, Myanmar, Khmer, kana, Han and Hangul.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{e01}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Arrows, signs, emoji.
fn is_symbol(c: char) -> bool {
    let sign = matches!(c, '\u{2190}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}');
    sign && !c.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_word_are_one() {
        for (text, query) in [
            ("Straße", "strasse"),
            ("STRASSE", "straße"),
            ("Ёлка", "елка"),
            ("ＦＵＬＬ", "full"),
            ("ﾊﾝｶｸ", "ハンカク"),
            ("ﾊﾞﾅﾅ", "バナナ"),
            ("Lucía vuelve", "lucia"),
            ("naïve", "NAIVE"),
            ("İstanbul", "istanbul"),
            ("축구경기장", "경기"),
            ("今天天气很好", "天气"),
            ("well done 👍🏽!", "👍"),
            ("we write C++ here", "c++"),
            ("and C# there", "c#"),
            ("don't", "don't"),
            ("I don't know", "dont"),
            ("it\u{2019}s here", "its"),
            ("my e-mail is", "email"),
            ("my e-mail's header", "emails"),
            ("co\u{ad}operate", "cooperate"),
            ("call 555-1234", "5551234"),
            ("l'eau", "eau"),
            ("e-mail", "mail"),
            ("e mail", "e-mail"),
            ("https://my-site.example.com/a", "my-site.example.com"),
            ("testing", "test"),
            ("roses are red", "red ros"),
        ] {
            assert!(matches(text, query), "{query} in {text}: {:?}", tokens(text));
        }
    }

    #[test]
    fn what_only_looks_alike_is_not_found() {
        for (text, query) in [
            ("天上有热气球", "天气"),
            ("a cat", "c++"),
            ("a cat", "c#"),
            ("мои", "мой"),
            ("the rosemary grows", "rose grows"),
            ("축구장기", "경기"),
            ("e mail", "email"),
            ("a - b", "ab"),
            ("rock 'n' roll", "rockn"),
            ("anything", ""),
            ("anything", "!?"),
            ("👎", "👍"),
        ] {
            assert!(!matches(text, query), "{query} in {text}: {:?}", tokens(text));
        }
        assert!(phrases(" ++ … \" ").is_empty());
        assert_eq!(tokens("#garden"), ["garden"]);
        assert_eq!(tokens("c++ and c#"), ["c", "x2b", "x2b", "and", "c", "x23"]);
        assert_eq!(phrases(&"a ".repeat(5_000)).len(), QUERY_WORDS_MAX);
    }
}
