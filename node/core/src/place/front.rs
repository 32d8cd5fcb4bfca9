//! The person named at the front of a line, where nothing but the names that are known says where
//! the name ends.

use super::listed;
use super::people::{find_among, named};
use crate::directory::Directory;
use crate::error::CommandError;
use crate::ids::IdentityId;
use crate::limits::NAME_BYTES_MAX;

/// Quotation marks that people put around a name, each with its counterpart.
const QUOTES: [(char, char); 5] = [
    ('"', '"'),
    ('\'', '\''),
    ('\u{201c}', '\u{201d}'),
    ('\u{201e}', '\u{201c}'),
    ('\u{2018}', '\u{2019}'),
];

/// The person named at the front of a line, and what follows the name. Names may have spaces in
/// them, so the longest one that is known counts; where a shorter one means somebody else, nobody
/// can tell how the line was meant. In quotes a name ends where they end.
///
/// # Errors
/// As [`find_person`], and [`CommandError::SeveralNames`].
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
    let mut fitting: Vec<(&str, &str, Result<IdentityId, CommandError>)> = Vec::new();
    for end in ends(bare) {
        let (name, rest) = (&bare[..end], bare[end..].trim_start());
        // The beginning of a fingerprint is one word, and no word that is part of a name.
        let found = named(people, candidates, name, !name.contains(char::is_whitespace));
        fitting.extend(found.map(|found| (name, rest, found)));
    }
    match fitting.as_slice() {
        [] => {
            let first = bare.split_whitespace().next().unwrap_or_default();
            find_among(people, candidates, first).map(|who| (who, bare[first.len()..].trim_start()))
        }
        [.., (_, rest, Ok(who))] if fitting.iter().all(|(.., f)| *f == Ok(*who)) => {
            Ok((*who, rest))
        }
        [(.., Err(error))] => Err(error.clone()),
        several => {
            let names = several.iter().rev().map(|(name, ..)| match name {
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

/// Where a name at the front may end: before white space, and at the end.
fn ends(line: &str) -> impl Iterator<Item = usize> {
    /// A name, and the mark behind it, which is a fingerprint at most.
    const BYTES_MAX: usize = NAME_BYTES_MAX + 20;
    let blanks = line.char_indices().filter(|(_, c)| c.is_whitespace()).map(|(at, _)| at);
    let ends = blanks.chain([line.len()]).take_while(|at| *at <= BYTES_MAX);
    ends.filter(|at| *at > 0 && !line[..*at].ends_with(char::is_whitespace))
}
