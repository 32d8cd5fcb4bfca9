//! The person named at the front of a line, where nothing but the names that are known says where
//! the name ends.

use super::listed;
use super::people::{find_among, named};
use crate::directory::Directory;
use crate::error::CommandError;
use crate::ids::IdentityId;
use crate::limits::NAME_BYTES_MAX;
use crate::names::QUOTES;

/// The person named at the front of a line, and what follows the name. Names may have spaces in
/// them, so the longest one that is known counts; where a shorter one means somebody else, nobody
/// can tell how the line was meant. Nor can anybody where a longer name ends at a punctuation mark:
/// `@Mary Ann: hello` is for Mary Ann, or for Mary. In quotes a name ends where they end.
///
/// # Errors
/// As [`find_person`](super::find_person), and [`CommandError::SeveralNames`].
pub fn at_front<'a>(
    people: &Directory,
    line: &'a str,
) -> Result<(IdentityId, &'a str), CommandError> {
    let candidates = &people.candidates();
    let line = line.trim();
    let bare = line.strip_prefix('@').unwrap_or(line);
    if let Some((name, rest)) = quoted(bare) {
        return find_among(people, candidates, name).map(|who| (who, rest));
    }
    let meant = |end: usize, prefixes: bool| {
        let name = &bare[..end];
        let meant = named(people, candidates, name, prefixes)?;
        Some((name, meant.one(people, candidates, name)))
    };
    // The beginning of a fingerprint is one word, and no word that is part of a name.
    let one_word = |end: usize| !bare[..end].contains(char::is_whitespace);
    let mut fitting: Vec<_> = ends(bare).filter_map(|end| meant(end, one_word(end))).collect();
    let Some((longest, found)) = fitting.last().cloned() else {
        let first = bare.split_whitespace().next().unwrap_or_default();
        return find_among(people, candidates, first)
            .map(|who| (who, bare[first.len()..].trim_start()));
    };
    fitting.extend(marks(bare, longest.len()).filter_map(|end| meant(end, false)));
    match (found, fitting.as_slice()) {
        (Ok(who), all) if all.iter().all(|(_, found)| *found == Ok(who)) => {
            Ok((who, bare[longest.len()..].trim_start()))
        }
        (Err(error), [_]) => Err(error),
        (_, several) => {
            let names = several.iter().rev().map(|(name, _)| match name {
                name if name.contains(char::is_whitespace) => format!("@\"{name}\""),
                name => format!("@{name}"),
            });
            Err(CommandError::SeveralNames { candidates: listed(names.collect()) })
        }
    }
}

/// A name in quotes, and what follows.
fn quoted(bare: &str) -> Option<(&str, &str)> {
    let first = bare.chars().next()?;
    QUOTES.iter().filter(|(open, _)| *open == first).find_map(|(_, close)| {
        let (name, rest) = bare[first.len_utf8()..].split_once(*close)?;
        let ends = rest.is_empty() || rest.starts_with(char::is_whitespace);
        (ends && !name.is_empty()).then(|| (name, rest.trim_start()))
    })
}

/// A name, and the mark behind it, which is a fingerprint at most.
const FRONT_BYTES_MAX: usize = NAME_BYTES_MAX + 20;

/// Where a name at the front may end: before white space, and at the end.
fn ends(line: &str) -> impl Iterator<Item = usize> {
    let blanks = line.char_indices().filter(|(_, c)| c.is_whitespace()).map(|(at, _)| at);
    let ends = blanks.chain([line.len()]).take_while(|at| *at <= FRONT_BYTES_MAX);
    ends.filter(|at| *at > 0 && !line[..*at].ends_with(char::is_whitespace))
}

/// Where a longer name may end behind one that was found: before each mark that is no letter.
fn marks(line: &str, from: usize) -> impl Iterator<Item = usize> {
    /// A name of more parts is none.
    const MARKS_MAX: usize = 8;
    let mark = |c: char| !c.is_alphanumeric() && !c.is_whitespace();
    let behind = line[from..].char_indices().map(move |(at, c)| (from + at, c));
    let behind = behind.take_while(|(at, _)| *at <= FRONT_BYTES_MAX);
    let ends = behind.filter(move |(at, c)| {
        mark(*c) && *at > from && line[..*at].ends_with(char::is_alphanumeric)
    });
    ends.map(|(at, _)| at).take(MARKS_MAX)
}
