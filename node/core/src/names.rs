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

use crate::error::{CommandError, NameFault};
use crate::identity;
use crate::ids::{IdentityId, RoomId};
use crate::limits::{NAME_BYTES_MAX, ROOM_NAME_BYTES_MAX};

/// Quotation marks that people put around a name or a text, each with its counterpart.
pub const QUOTES: [(char, char); 5] = [
    ('"', '"'),
    ('\'', '\''),
    ('\u{201c}', '\u{201d}'),
    ('\u{201e}', '\u{201c}'),
    ('\u{2018}', '\u{2019}'),
];

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
        true if is_id(&lower) => Err(CommandError::RoomNameIsId { room: spelled(name) }),
        true => Ok(format!("#{lower}")),
        false => Err(CommandError::BadRoomName { room: spelled(name) }),
    }
}

/// Whether a word has the form of an id of a room, a message or a person: nothing may be called so,
/// or a name could take the place of an id.
#[must_use]
pub fn is_id(word: &str) -> bool {
    RoomId::parse(word).is_some() || IdentityId::parse(word).is_some()
}

/// Whether a word is hardly anything but an id with a slip in it: a letter too few, too many or
/// wrong. Names of that length with digits here and there are not what people think of.
#[must_use]
pub fn is_like_id(word: &str) -> bool {
    /// Letters lost or doubled.
    const SLIPS: usize = 2;
    let near = |chars: usize| word.len().abs_diff(chars) <= SLIPS;
    let (room, person) = (RoomId([0; 16]).to_string(), IdentityId([0; 32]).to_string());
    let digits = |c: char| c.is_ascii_digit();
    (near(room.len()) || near(person.len()))
        && word.chars().all(|c| c.is_ascii_alphanumeric())
        // A year at the end is one group of digits.
        && word.split(|c| !digits(c)).filter(|group| !group.is_empty()).count() > 1
}

/// Whether somebody may call themselves, or somebody else, so: within the bounds of the wire
/// (PROTOCOL.md 3.3), to be seen, not the form of an id, and nothing that [`imitates`]. What others
/// call themselves is judged by the wire alone: a log cannot do without one of its entries.
///
/// # Errors
/// [`CommandError::BadName`], with the rule that it breaks.
pub fn check_name(name: &str) -> Result<(), CommandError> {
    match fault(name) {
        Some(fault) => Err(CommandError::BadName { name: spelled(name), fault }),
        None => Ok(()),
    }
}

fn fault(name: &str) -> Option<NameFault> {
    let bytes = name.len();
    if name.is_empty() {
        return Some(NameFault::Empty);
    }
    if bytes > NAME_BYTES_MAX {
        return Some(NameFault::TooLong { bytes: bytes as u64 });
    }
    if name.trim() != name {
        return Some(NameFault::Untrimmed);
    }
    if !is_visible(name) {
        return Some(NameFault::Unseen);
    }
    if let Some(sign) = name.chars().find(|c| identity::is_unsafe(*c)) {
        return Some(NameFault::Unsafe { sign });
    }
    if is_id(name) {
        return Some(NameFault::Id);
    }
    imitation(name)
}

/// A name for an error: what of it cannot be seen is spelled out, as is a mark that would sit on
/// what stands before it.
#[must_use]
pub fn spelled(name: &str) -> String {
    /// No error is longer for it.
    const CHARS_MAX: usize = 64;
    let seen = is_visible(name);
    let mut out = String::new();
    for (at, c) in name.chars().enumerate() {
        if at == CHARS_MAX {
            out.push('\u{2026}');
            break;
        }
        let shown = if seen { !identity::is_unsafe(c) } else { c == ' ' };
        if shown {
            out.push(c);
        } else {
            out.push_str(&format!("<U+{:04X}>", u32::from(c)));
        }
    }
    out
}

/// Whether a name looks like what only this program writes: like a name with a mark behind it
/// (`bob~ABCD`), a fingerprint, a word that stands for somebody (`you`), or a name with a sign of
/// its own (`* bob`, `bob:`, `(bob)`, `bob ✓`). Whoever is called so could be taken for somebody
/// else, or for the program.
#[must_use]
pub fn imitates(name: &str) -> bool {
    imitation(name).is_some()
}

fn imitation(name: &str) -> Option<NameFault> {
    let seen = skeleton(name);
    let word = || is_word_of_the_program(&seen).then_some(NameFault::Word);
    like_a_mark(&seen).or_else(word).or_else(|| sign_of_the_program(name))
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

/// A sign in a name by which the program tells what is a name and what is not: one that begins a
/// line or a name, or one that ends a name, encloses a remark, draws a list, or says that keys were
/// compared.
fn sign_of_the_program(name: &str) -> Option<NameFault> {
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
        let sign = c;
        if first && (is_one_of(&FIRST) || is_one_of(&BEFORE_NAMES)) {
            return Some(NameFault::First { sign });
        }
        if is_one_of(&ANYWHERE) || (begins_word && is_one_of(&BEFORE_NAMES)) {
            return Some(NameFault::Sign { sign });
        }
        (first, begins_word) = (false, false);
    }
    None
}

fn like_a_mark(seen: &str) -> Option<NameFault> {
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
    if marked.is_some_and(|chars| chars >= MARK) {
        return Some(NameFault::Mark);
    }
    (!plain && print(seen) == Some(FINGERPRINT)).then_some(NameFault::Fingerprint)
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

    fn is_name(name: &str) -> bool {
        check_name(name).is_ok()
    }

    #[test]
    fn a_name_that_is_refused_is_told_which_rule_it_breaks() {
        for (name, why, hint) in [
            ("", "`` cannot be a name: it is empty", "alice"),
            (&"é".repeat(33), "it has 66 bytes, and 64 are the most", "shorter"),
            (" bob", "it begins or ends with a space", "spaces"),
            ("\u{200b}", "`<U+200B>` cannot be a name: nothing of it can be seen", "letter"),
            ("\u{3164}\u{2800}", "`<U+3164><U+2800>` cannot be", "letter"),
            ("\u{301}", "`<U+0301>` cannot be", "letter"),
            ("bo\u{202e}b", "`bo<U+202E>b` cannot be a name: there is a character", "by hand"),
            ("bo\nb", "that cannot be seen (U+000A)", "by hand"),
            ("alice~U2IX", "the mark of a person", "leave out the `~`"),
            ("U2IX-I5TD-Q4YP-UEXD", "like a fingerprint", "16 letters"),
            ("You", "that word means somebody else", "alone"),
            ("* alice", "it begins with `*`", "leave out the `*` at the front"),
            ("@bob", "it begins with `@`", "leave out the `@` at the front"),
            ("you @bob", "there is a `@` in it", "leave out the `@`"),
            ("alice: hi", "there is a `:` in it", "leave out the `:`"),
            ("alice ✓", "there is a `✓` in it", "leave out the `✓`"),
        ] {
            let error = check_name(name).unwrap_err();
            assert!(error.to_string().contains(why), "{name:?}: {error}");
            assert!(error.hint().contains(hint), "{name:?}: {}", error.hint());
        }
        let id = IdentityId([7; 32]).to_string();
        assert!(check_name(&id).unwrap_err().to_string().ends_with("has the form of an id"));
        let long = check_name(&"\u{3164}".repeat(100_000)).unwrap_err().to_string();
        assert!(long.len() < 1_000, "{}", long.len());
        assert_eq!(spelled("👩‍🌾 ❤️"), "👩‍🌾 ❤️");
        assert!(normalise("#\u{200b}").unwrap_err().to_string().contains("`#<U+200B>`"));
    }

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
