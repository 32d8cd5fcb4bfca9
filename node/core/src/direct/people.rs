//! Whom a name means. Pure: the core and the queries of the shell use the same rule.

use unicode_normalization::UnicodeNormalization;

use crate::error::CommandError;
use crate::identity::fingerprint;
use crate::ids::{IdentityId, RoomId};
use crate::names;

/// Characters of a fingerprint that are enough, if only one person has them.
const PREFIX_MIN: usize = 4;
/// Candidates named when a name is ambiguous.
const NAMED_MAX: usize = 5;

/// Somebody a name may mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub identity: IdentityId,
    /// The name they give themselves.
    pub claimed: String,
    /// The own name for them.
    pub petname: Option<String>,
    /// Nothing of them is taken: meant only if nobody else is.
    pub blocked: bool,
    /// This is the user.
    pub own: bool,
}

impl Candidate {
    /// The name to show.
    #[must_use]
    pub fn name(&self) -> &str {
        self.petname.as_deref().unwrap_or(&self.claimed)
    }
}

/// Whether a `room` in a command means a person.
#[must_use]
pub fn is_person(name: &str) -> bool {
    name.starts_with('@')
}

/// Two names that look alike to somebody who reads quickly.
#[must_use]
pub fn folded(name: &str) -> String {
    name.nfkc().collect::<String>().to_lowercase().nfkc().collect()
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| *c != '-').collect::<String>().to_uppercase()
}

/// Finds the person that `wanted` means: with or without `@`, an own name for somebody, the name
/// they give themselves, a fingerprint (any case, with or without dashes, at least its first four
/// characters), an identity, or the id of the conversation. Own names win over a whole fingerprint,
/// that over given names, and these over the beginning of a fingerprint: nobody can take a name or
/// a fingerprint that the user relies on by claiming it. Exact spelling wins over another case.
///
/// # Errors
/// [`CommandError::UnknownPerson`] with the nearest name, [`CommandError::AmbiguousPerson`] with
/// the candidates, [`CommandError::Yourself`].
pub fn find_person(candidates: &[Candidate], wanted: &str) -> Result<IdentityId, CommandError> {
    let bare = wanted.strip_prefix('@').unwrap_or(wanted).trim();
    let (identity, room) = (IdentityId::parse(bare), RoomId::parse(bare));
    let (case, mark) = (folded(bare), letters(bare));
    let print = |c: &Candidate| letters(&fingerprint(&c.identity));
    let rules: [&dyn Fn(&Candidate) -> bool; 7] = [
        &|c| {
            Some(c.identity) == identity
                || room.is_some_and(|r| r == RoomId::of_conversation(&c.identity))
        },
        &|c| c.petname.as_deref() == Some(bare),
        &|c| c.petname.as_deref().is_some_and(|p| folded(p) == case),
        &|c| print(c) == mark,
        &|c| c.claimed == bare,
        &|c| folded(&c.claimed) == case,
        &|c| mark.len() >= PREFIX_MIN && print(c).starts_with(&mark),
    ];
    for rule in rules {
        let mut matches: Vec<&Candidate> =
            candidates.iter().filter(|c| !bare.is_empty() && rule(c)).collect();
        if matches.iter().any(|c| !c.blocked) {
            matches.retain(|c| !c.blocked);
        }
        matches.sort_by_key(|c| c.identity);
        matches.dedup_by_key(|c| c.identity);
        match matches.as_slice() {
            [] => {}
            [one] if one.own => return Err(CommandError::Yourself),
            [one] => return Ok(one.identity),
            several => return Err(ambiguous(several, bare)),
        }
    }
    let nearest = nearest(candidates, &case);
    Err(CommandError::UnknownPerson { who: bare.to_owned(), nearest })
}

fn ambiguous(several: &[&Candidate], who: &str) -> CommandError {
    let name = |c: &&Candidate| {
        let own = if c.own { ", you" } else { "" };
        format!("{} ({}{own})", c.name(), fingerprint(&c.identity))
    };
    let mut candidates: Vec<String> = several.iter().take(NAMED_MAX).map(name).collect();
    if several.len() > NAMED_MAX {
        candidates.push(format!("{} more", several.len() - NAMED_MAX));
    }
    CommandError::AmbiguousPerson { who: who.to_owned(), candidates }
}

fn nearest(candidates: &[Candidate], wanted: &str) -> Option<String> {
    let known = candidates.iter().filter(|c| !c.own && !c.blocked).map(Candidate::name);
    names::nearest(wanted, known).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(n: u8, claimed: &str, petname: Option<&str>) -> Candidate {
        let petname = petname.map(str::to_owned);
        Candidate {
            identity: IdentityId([n; 32]),
            claimed: claimed.into(),
            petname,
            blocked: false,
            own: n == 0,
        }
    }

    #[test]
    fn own_names_win_and_what_is_not_clear_is_refused() {
        let all = [
            person(0, "me", None),
            person(1, "bob", Some("robert")),
            person(2, "robert", None),
            person(3, "Bob", None),
        ];
        let find = |who: &str| find_person(&all, who);
        assert_eq!(find("@robert"), Ok(IdentityId([1; 32])));
        assert_eq!(find("bob"), Ok(IdentityId([1; 32])));
        assert_eq!(find("Bob"), Ok(IdentityId([3; 32])));
        assert!(
            matches!(find("BOB"), Err(CommandError::AmbiguousPerson { candidates, .. }) if candidates.len() == 2)
        );
        assert_eq!(find("@me"), Err(CommandError::Yourself));
        assert_eq!(
            find("bib"),
            Err(CommandError::UnknownPerson { who: "bib".into(), nearest: Some("Bob".into()) })
        );
        assert!(matches!(find("@"), Err(CommandError::UnknownPerson { nearest: None, .. })));
    }

    #[test]
    fn a_blocked_person_is_meant_only_if_nobody_else_is() {
        let mut all = [person(1, "bob", None), person(2, "bob", None)];
        assert!(find_person(&all, "bob").is_err());
        all[1].blocked = true;
        assert_eq!(find_person(&all, "bob"), Ok(IdentityId([1; 32])));
        assert_eq!(find_person(&all[1..], "bob"), Ok(IdentityId([2; 32])));
    }

    #[test]
    fn fingerprints_and_ids_name_people_and_cannot_be_taken() {
        let print = fingerprint(&IdentityId([1; 32]));
        let all = [person(1, "bob", None), person(2, &print, None)];
        let find = |who: &str| find_person(&all, who);
        for who in [
            print.clone(),
            print.to_lowercase(),
            print.replace('-', ""),
            IdentityId([1; 32]).to_string(),
        ] {
            assert_eq!(find(&who), Ok(IdentityId([1; 32])), "{who}");
        }
        assert_eq!(
            find(&RoomId::of_conversation(&IdentityId([2; 32])).to_string()),
            Ok(IdentityId([2; 32]))
        );
        assert_eq!(find_person(&all[..1], &print[..4]), Ok(IdentityId([1; 32])));
        assert!(find_person(&all[..1], &print[..3]).is_err());
    }
}
