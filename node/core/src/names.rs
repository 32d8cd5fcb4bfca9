//! What a name is, and when two names are one: the spelling of room names, the skeleton by which
//! names that look alike are found, and the nearest name for "did you mean".
//!
//! Pure functions over text. Who bears a name is in [`crate::directory`], what it means in
//! [`crate::place`].

use std::sync::LazyLock;

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup};
use icu_properties::{CodePointMapData, CodePointSetData};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::confusable_detection::skeleton as prototypes;

use crate::error::CommandError;
use crate::identity;
use crate::ids::{IdentityId, RoomId};
use crate::limits::ROOM_NAME_BYTES_MAX;

/// Normalises a room name (PROTOCOL.md 4.1): no leading `#`, NFKC, lower case; letters, digits,
/// marks, `-`, `_` and `.` only, nothing invisible, and not the form of an id. Returned with `#`.
///
/// Lower case, not full case folding: `#straße` and `#strasse` are two words, they do not look
/// alike, and making them one would tear apart a room that people are in.
///
/// # Errors
/// [`CommandError::BadRoomName`], or [`CommandError::RoomNameIsId`].
pub fn normalise(name: &str) -> Result<String, CommandError> {
    let bare = name.strip_prefix('#').unwrap_or(name);
    let lower: String = bare.nfkc().collect::<String>().to_lowercase().nfkc().collect();
    let fine = |c: char| {
        let letter = c.is_alphanumeric() || matches!(c, '-' | '_' | '.') || is_combining_mark(c);
        letter && !is_unseen(c)
    };
    let ok = !lower.is_empty()
        && lower.len() <= ROOM_NAME_BYTES_MAX
        // It would sit on the `#`.
        && !lower.starts_with(is_combining_mark)
        && lower.chars().all(fine);
    match ok {
        true if is_id(&lower) => Err(CommandError::RoomNameIsId { room: name.to_owned() }),
        true => Ok(format!("#{lower}")),
        false => Err(CommandError::BadRoomName { room: name.to_owned() }),
    }
}

/// Whether a word has the form of an id of a room, a message or a person: nothing may be called so,
/// or a name could take the place of an id.
#[must_use]
pub fn is_id(word: &str) -> bool {
    RoomId::parse(word).is_some() || IdentityId::parse(word).is_some()
}

/// Whether somebody may call themselves, or somebody else, so: within the bounds of the wire
/// (PROTOCOL.md 3.3), to be seen, not the form of an id, and nothing that [`imitates`]. What others
/// call themselves is judged by the wire alone: a log cannot do without one of its entries.
#[must_use]
pub fn is_name(name: &str) -> bool {
    identity::valid_name(name) && is_visible(name) && !is_id(name) && !imitates(name)
}

/// Whether a name looks like what only this program writes: like a name with a mark behind it
/// (`bob~ABCD`), a fingerprint, a word that stands for somebody (`you`), or a name with a sign of
/// its own (`* bob`, `bob:`, `(bob)`, `bob ✓`). Whoever is called so could be taken for somebody
/// else, or for the program.
#[must_use]
pub fn imitates(name: &str) -> bool {
    let seen = skeleton(name);
    is_like_a_mark(&seen) || is_word_of_the_program(&seen) || has_sign_of_the_program(name)
}

/// Words that the program, or people, put where a name stands and that mean nobody, or everybody.
const WORDS: [&str; 13] = [
    "you",
    "me",
    "myself",
    "yourself",
    "all",
    "everybody",
    "everyone",
    "somebody",
    "someone",
    "nobody",
    "here",
    "system",
    "klatch",
];

fn is_word_of_the_program(seen: &str) -> bool {
    /// As the eye sees them. Always the same, so they are made once.
    static SEEN: LazyLock<Vec<String>> =
        LazyLock::new(|| WORDS.iter().map(|word| skeleton(word)).collect());
    SEEN.iter().any(|word| word == seen)
}

/// Whether there is a sign in a name by which the program tells what is a name and what is not: one
/// that begins a line or a name, or one that ends a name, encloses a remark, draws a list, or says
/// that keys were compared.
fn has_sign_of_the_program(name: &str) -> bool {
    const BEFORE_NAMES: [char; 2] = ['@', '#'];
    const FIRST: [char; 11] = ['*', '!', '?', '+', '-', '/', '=', '|', '&', '·', '•'];
    const ANYWHERE: [char; 24] = [
        ':', '(', ')', '[', ']', '{', '}', '<', '>', '✓', '✔', '☑', '✅', '✗', '●', '○', '◌', '▸',
        '↪', '│', '─', '→', '←', '«',
    ];
    // Letters stay what they are: some end or begin words of their language and look like signs.
    let drawn = |c: char| match c.is_alphanumeric() || is_combining_mark(c) {
        true => c,
        false => only(prototypes(c.encode_utf8(&mut [0; 4]))).unwrap_or(c),
    };
    let (mut first, mut begins_word) = (true, true);
    for c in name.nfkc() {
        if is_unseen(c) {
            begins_word |= c.is_whitespace();
            continue;
        }
        let is_one_of = |signs: &[char]| signs.contains(&c) || signs.contains(&drawn(c));
        if is_one_of(&ANYWHERE)
            || (first && is_one_of(&FIRST))
            || (begins_word && is_one_of(&BEFORE_NAMES))
        {
            return true;
        }
        (first, begins_word) = (false, false);
    }
    false
}

fn is_like_a_mark(seen: &str) -> bool {
    /// Characters of the shortest mark, and of a fingerprint.
    const MARK: usize = 4;
    const FINGERPRINT: usize = 16;
    let print = |text: &str| {
        let letters = text.chars().filter(|c| *c != '-');
        letters.clone().all(|c| c.is_ascii_alphanumeric()).then(|| letters.count())
    };
    let marked = seen.rsplit_once('~').and_then(|(_, mark)| print(mark));
    // A long word of letters alone is a name: hardly a fingerprint has no digit and no dash.
    let plain = seen.chars().all(char::is_alphabetic);
    marked.is_some_and(|chars| chars >= MARK) || (!plain && print(seen) == Some(FINGERPRINT))
}

/// Whether there is anything to see: more than blanks, and more than marks with nothing below them.
#[must_use]
pub fn is_visible(name: &str) -> bool {
    skeleton(name).chars().any(|c| !is_combining_mark(c))
}

/// What of a name the eye keeps: two names with one skeleton look alike to somebody who reads
/// quickly. It is compared, never shown.
///
/// NFKC; what cannot be seen is dropped; case is folded in full; letters that look alike are one
/// (UTS 39, and what only its capital or its small letter has in common: Cyrillic `в` is `b` since
/// `В` looks like `B`). `i` and `l` are one, because `I` and `l` are. A Greek name in capitals is
/// compared as Latin where it looks so (`ΝΑΝΑ` and `NANA`), for which a Greek name that begins with
/// `Ν` or `Υ` is not found in small letters. Punctuation before and behind a name is left out, unless
/// there is nothing else: whoever writes `@bob, hello` does not mean somebody called `bob,`.
#[must_use]
pub fn skeleton(name: &str) -> String {
    let seen: String = name.nfkc().filter(|c| !is_unseen(*c)).map(as_capital).collect();
    let folded: String = caseless::default_case_fold_str(&seen).nfkc().collect();
    let alike: String = folded.chars().map(as_small).collect();
    // Some prototypes are capitals, or have marks of their own.
    let drawn: String = prototypes(&alike).collect();
    let drawn = caseless::default_case_fold_str(&drawn);
    let seen: String =
        drawn.chars().filter(|c| !is_unseen(*c)).map(|c| if c == 'i' { 'l' } else { c }).collect();
    match seen.trim_matches(is_punctuation) {
        "" => seen,
        bare => bare.to_owned(),
    }
}

fn is_punctuation(c: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    c.is_ascii_punctuation() || GeneralCategoryGroup::Punctuation.contains(category)
}

/// Nobody sees it: blanks, controls, and what Unicode calls default-ignorable (joiners, selectors,
/// fillers, directions, tags).
#[must_use]
pub fn is_unseen(c: char) -> bool {
    /// Without ink, though Unicode counts them as letters or symbols.
    const BLANK: [char; 3] = ['\u{2800}', '\u{16fe4}', '\u{1d159}'];
    c.is_whitespace()
        || identity::is_unsafe(c)
        || BLANK.contains(&c)
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// A capital of another script as the Latin one that it is drawn like.
fn as_capital(c: char) -> char {
    if c.is_ascii() || !c.is_uppercase() {
        return c;
    }
    match only(prototypes(c.encode_utf8(&mut [0; 4]))) {
        // The tables take every upright stroke for a small `l`.
        Some('l') => 'I',
        Some(latin) if latin.is_ascii_alphabetic() => latin,
        _ => c,
    }
}

/// A small letter of another script that is not drawn like a Latin one, as the Latin one that its
/// capital is drawn like.
fn as_small(c: char) -> char {
    if c.is_ascii() || !c.is_lowercase() {
        return c;
    }
    if only(prototypes(c.encode_utf8(&mut [0; 4]))).is_some_and(|p| p.is_ascii()) {
        return c;
    }
    match only(c.to_uppercase()).map(as_capital) {
        Some(latin) if latin.is_ascii_alphabetic() => latin.to_ascii_lowercase(),
        _ => c,
    }
}

fn only(mut chars: impl Iterator<Item = char>) -> Option<char> {
    let first = chars.next()?;
    chars.next().is_none().then_some(first)
}

/// The candidate nearest to a word, if it is close enough to be a slip of the fingers: for "did you
/// mean", wherever that is asked.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Longer words are not compared: the distance is quadratic in time.
    const WORD_CHARS_MAX: usize = 64;
    let length = word.chars().take(WORD_CHARS_MAX + 1).count();
    if length > WORD_CHARS_MAX {
        return None;
    }
    // One slip in three letters, at most three; a swap of neighbours is one.
    let allowed = (length / 3).clamp(1, 3);
    let word = word.to_lowercase();
    candidates
        .filter(|c| c.chars().take(WORD_CHARS_MAX + 1).count() <= WORD_CHARS_MAX)
        .map(|c| (strsim::osa_distance(&word, &c.to_lowercase()), c))
        .filter(|(distance, c)| *distance <= allowed && *distance < c.chars().count())
        .min()
        .map(|(_, c)| c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_names_have_one_spelling() {
        assert_eq!(normalise("#Garden").unwrap(), "#garden");
        assert_eq!(normalise("garden").unwrap(), "#garden");
        assert_eq!(normalise("Cafe\u{301}").unwrap(), normalise("CAFÉ").unwrap());
        assert_eq!(normalise("#ＧＡＲＤＥＮ").unwrap(), "#garden");
        assert_eq!(normalise("#ﬁsh").unwrap(), "#fish");
        assert_ne!(normalise("#straße").unwrap(), normalise("#strasse").unwrap());
        let long = "x".repeat(65);
        for bad in [
            "",
            "#",
            "a b",
            "a#b",
            "a/b",
            "x\u{202e}y",
            "\u{1b}[0m",
            "a\nb",
            "\u{301}a",
            &long,
            "\u{3164}",
            "\u{115f}",
            "\u{ffa0}",
            "\u{2800}",
            "garden\u{fe0f}",
            "gar\u{34f}den",
        ] {
            let refused = normalise(bad);
            assert!(matches!(refused, Err(CommandError::BadRoomName { .. })), "{bad:?}");
        }
    }

    #[test]
    fn no_room_and_nobody_is_called_like_an_id() {
        let room = RoomId([7; 16]).to_string();
        for name in [room.clone(), format!("#{room}"), room.to_uppercase()] {
            let refused = normalise(&name);
            assert_eq!(refused, Err(CommandError::RoomNameIsId { room: name }));
        }
        assert!(normalise(&room[1..]).is_ok());
        assert!(!is_name(&room) && !is_name(&IdentityId([7; 32]).to_string()));
    }

    #[test]
    fn names_that_look_alike_have_one_skeleton() {
        for (one, other) in [
            ("bob", "BOB"),
            ("bob", "bob\u{3164}"),
            ("bob", "b\u{200c}ob"),
            ("bob", "bob\u{34f}"),
            ("bob", "bob\u{fe0f}"),
            ("bob", "bob\u{17b4}"),
            ("bob", "bob\u{2800}"),
            ("bob", "\u{200e}bob\u{200f}"),
            ("bob", "\u{202d}bob\u{202c}"),
            ("bob", "b\u{43e}b"),
            ("bob", "ВОВ"),
            ("Ваня", "ВАНЯ"),
            ("ｂｏｂ", "bob"),
            ("Zoë", "Zoe\u{308}"),
            ("straße", "STRASSE"),
            ("Mary Ann", "MaryAnn"),
            ("alice", "aIice"),
            ("Ian", "Ιan"),
            ("NANA", "ΝΑΝΑ"),
            ("paypal", "раураl"),
            ("carmen", "carrnen"),
            ("ελλη", "ΕΛΛΗ"),
            ("bob", "bob,"),
            ("bob", "Bob."),
            ("bob", "_bob_"),
            ("bob", "\u{201e}bob\u{201c}"),
            ("bob", "bob\u{2026}"),
        ] {
            assert_eq!(skeleton(one), skeleton(other), "{one:?} and {other:?}");
        }
        for (one, other) in [
            ("bob", "bab"),
            ("Zoë", "Zoe"),
            ("mary", "maria"),
            ("田中", "中田"),
            ("🌱", "🌲"),
            ("_", "-"),
            ("a.b", "ab"),
        ] {
            assert_ne!(skeleton(one), skeleton(other), "{one:?} and {other:?}");
        }
    }

    #[test]
    fn a_skeleton_is_its_own_skeleton_and_stays_small() {
        for name in ["ВОВ", "Ι", "straße", "ﷺ", "ΝΙΚΗ", "m", "0", "ａＢ", "ǅ", "\u{3164}x"]
        {
            let once = skeleton(name);
            assert_eq!(skeleton(&once), once, "{name}");
            assert!(once.chars().count() <= 54 * name.chars().count(), "{name}: {once}");
        }
    }

    #[test]
    fn names_that_cannot_be_seen_are_refused() {
        let marks = "\u{301}".repeat(32);
        for blank in
            ["\u{3164}", "\u{115f}", "\u{ffa0}", "\u{2800}", "\u{fe0f}", "\u{17b4}", &marks]
        {
            assert!(!is_name(blank), "{blank:?}");
        }
        for fine in ["Zoë 🌱", "e\u{301}", "田中", "안", "علي", "👩‍💻", "_"] {
            assert!(is_name(fine), "{fine:?}");
        }
    }

    #[test]
    fn nobody_is_called_like_a_mark_or_a_fingerprint() {
        for forged in [
            "alice~U2IX",
            "alice~u2ix-i5td",
            "alice\u{223c}U2IX",
            "alice～Ｕ2IX",
            "U2IX-I5TD-Q4YP-UEXD",
            "u2ixi5tdq4ypuexd",
        ] {
            assert!(imitates(forged) && !is_name(forged), "{forged:?}");
        }
        for fine in ["~", "alice~", "~bob~", "al~ice", "Maximiliansdottr", "R2-D2", "a-b-c-d"] {
            assert!(!imitates(fine) && is_name(fine), "{fine:?}");
        }
        assert!(!is_name("@bob") && !is_name("#garden") && is_name("bob#1"));
    }

    #[test]
    fn nobody_is_called_like_the_program_itself_speaks() {
        for voice in [
            "you",
            "YOU",
            "y\u{43e}u",
            "Me",
            "m e",
            "klatch",
            "System",
            "everybody",
            "all",
            "somebody",
            "* alice",
            "\u{2217} alice",
            "\u{200e}* alice",
            "alice:",
            "alice\u{a789} hi",
            "alice\u{ff1a}",
            "(alice)",
            "alice (to \"yes\")",
            "[alice]",
            "\u{3014}alice\u{3015}",
            "<alice>",
            "alice\u{203a}",
            "alice ✓",
            "alice ✅",
            "● alice",
            "@alice",
            "\u{ff20}alice",
            "#garden",
            "you to @bob",
            "alice left #garden",
            "! alice",
            "- alice",
            "\u{2013} alice",
            "?",
        ] {
            assert!(imitates(voice) && !is_name(voice), "{voice:?}");
        }
        for fine in [
            "Youssef",
            "Alla",
            "Ally",
            "Mé",
            "O'Neill",
            "Jean-Luc",
            "Martin Jr.",
            "Smith, John",
            "bob & ann",
            "_bob_",
            "bob!",
            "why?",
            "रामः",
            "ǃXóõ",
            "🌱 Zoë",
            "3",
        ] {
            assert!(!imitates(fine) && is_name(fine), "{fine:?}");
        }
    }

    #[test]
    fn the_nearest_name_is_a_slip_away() {
        let near = |word| nearest(word, ["#garden", "#lobby", "join", "ab"].into_iter());
        assert_eq!(near("#gardne"), Some("#garden"));
        assert_eq!(near("JION"), Some("join"));
        assert_eq!(near("jin"), Some("join"));
        assert_eq!(near("frob"), None);
        assert_eq!(near(""), None);
        assert_eq!(near(&"x".repeat(100_000)), None);
    }
}
