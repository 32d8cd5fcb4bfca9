//! Whom a name, a fingerprint or an id means.

use std::collections::{BTreeMap, BTreeSet};

use unicode_normalization::UnicodeNormalization;

use super::{NAMED_MAX, listed};
use crate::directory::{Directory, Sure};
use crate::error::CommandError;
use crate::identity::fingerprint;
use crate::ids::{IdentityId, RoomId};
use crate::names::{is_id, nearest, skeleton, spelled};

/// Characters of a fingerprint that are enough, if only one person has them.
const PREFIX_MIN: usize = 4;

/// Somebody a name may mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub identity: IdentityId,
    /// The name they give themselves.
    pub claimed: String,
    /// Other names, by which they go in some rooms.
    pub elsewhere: Vec<String>,
    /// The own name for them.
    pub petname: Option<String>,
    /// Nothing of them is taken.
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

    fn all_names(&self) -> impl Iterator<Item = &str> {
        self.petname.iter().chain([&self.claimed]).chain(&self.elsewhere).map(String::as_str)
    }

    /// Every name of theirs that is spelled so.
    fn names<'a>(&'a self, case: &'a str) -> impl Iterator<Item = &'a str> {
        self.all_names().filter(move |name| folded(name) == case)
    }
}

/// Two spellings of one name, as they are typed: case and width do not count.
fn folded(name: &str) -> String {
    caseless::default_case_fold_str(&name.nfkc().collect::<String>()).nfkc().collect()
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| *c != '-').collect::<String>().to_uppercase()
}

/// Finds the person that `wanted` means: with or without `@`, an own name for somebody, the name
/// they give themselves, a fingerprint (any case, with or without dashes, at least its first four
/// characters), an identity, or the id of the conversation.
///
/// An id wins alone. Own names win over a whole fingerprint, that over the names that people give
/// themselves, and all over the beginning of a fingerprint: nobody can take a name or a fingerprint
/// that the user relies on by claiming it. A name alone means the one who is shown under it without
/// a mark ([`Directory::alike`]): where several are shown with one, it is refused in every spelling,
/// theirs too. A name with its mark, as it is shown (`bob~ABCD`), means the one who has both.
///
/// # Errors
/// [`CommandError::UnknownPerson`] with the nearest name, [`CommandError::AmbiguousPerson`] with
/// the candidates, [`CommandError::Yourself`].
pub fn find_person(people: &Directory, wanted: &str) -> Result<IdentityId, CommandError> {
    find_among(people, &people.candidates(), wanted)
}

pub(super) fn find_among(
    people: &Directory,
    candidates: &[Candidate],
    wanted: &str,
) -> Result<IdentityId, CommandError> {
    let bare = wanted.strip_prefix('@').unwrap_or(wanted).trim();
    if let Some(meant) = named(people, candidates, bare, true) {
        return meant.one(people, candidates, bare);
    }
    let known = || candidates.iter().filter(|c| !c.own && !c.blocked);
    let near = nearest(&folded(bare), known().map(Candidate::name)).and_then(|near| {
        let one = known().find(|c| c.name() == near)?;
        let mark = people.mark_of(&one.identity).map_or_else(String::new, |m| format!("~{m}"));
        Some(format!("{near}{mark}"))
    });
    Err(CommandError::UnknownPerson { who: spelled(bare), nearest: near })
}

/// Whom a word means.
#[derive(Debug)]
pub(super) enum Meant<'c> {
    /// One person.
    One(IdentityId),
    /// The user.
    Yourself,
    /// Nobody can tell which of them.
    Several(Vec<&'c Candidate>),
}

impl Meant<'_> {
    /// The one, or why there is none.
    pub(super) fn one(
        self,
        people: &Directory,
        candidates: &[Candidate],
        who: &str,
    ) -> Result<IdentityId, CommandError> {
        let several = match self {
            Self::One(who) => return Ok(who),
            Self::Yourself => return Err(CommandError::Yourself),
            Self::Several(several) => several,
        };
        let name = |c: &&Candidate| {
            let own = if c.own { ", you" } else { "" };
            format!("{} ({}{own})", c.name(), fingerprint(&c.identity))
        };
        let others = several.iter().filter(|c| !c.own).take(NAMED_MAX);
        Err(CommandError::AmbiguousPerson {
            who: spelled(who),
            candidates: listed(several.iter().map(name).collect()),
            typed: others.map(|c| typed(people, candidates, c)).collect(),
        })
    }
}

/// How somebody is typed so that nobody else can be meant: the name with its mark, in quotes where a
/// shell would take it apart, or the fingerprint if that does not do.
fn typed(people: &Directory, candidates: &[Candidate], one: &Candidate) -> String {
    let mark = people.mark_of(&one.identity).map_or_else(String::new, |mark| format!("~{mark}"));
    let shown = format!("{}{mark}", one.name());
    let letter = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '~');
    let means_them = matches!(
        named(people, candidates, &shown, false), Some(Meant::One(who)) if who == one.identity
    );
    if !means_them || !shown.chars().all(|c| letter(c) || c == ' ') {
        return format!("@{}", fingerprint(&one.identity));
    }
    if shown.chars().all(letter) { format!("@{shown}") } else { format!("'@{shown}'") }
}

/// Whom a word means, if it means anybody; `prefixes`: the beginning of a fingerprint counts.
pub(super) fn named<'c>(
    people: &Directory,
    candidates: &'c [Candidate],
    bare: &str,
    prefixes: bool,
) -> Option<Meant<'c>> {
    let pick =
        |rule: &dyn Fn(&Candidate) -> bool| one_of(candidates.iter().filter(|c| rule(c)).collect());
    // What has the form of an id is one, and nothing else.
    if is_id(bare) {
        let (identity, room) = (IdentityId::parse(bare), RoomId::parse(bare));
        return pick(&|c| {
            Some(c.identity) == identity
                || room.is_some_and(|r| r == RoomId::of_conversation(&c.identity))
        });
    }
    if bare.is_empty() {
        return None;
    }
    let case = folded(bare);
    let mark = letters(bare);
    let print = |c: &Candidate| letters(&fingerprint(&c.identity));
    let called: Vec<&Candidate> =
        candidates.iter().filter(|c| c.names(&case).next().is_some()).collect();
    let petname = |c: &&Candidate| c.petname.as_deref().is_some_and(|p| folded(p) == case);
    if !called.iter().any(petname) {
        if let Some(found) = pick(&|c| print(c) == mark) {
            return Some(found);
        }
        // As names that are shared are shown: `bob~ABCD`. What of such a name cannot be seen, or
        // looks like another letter, cannot be copied from a screen; the mark says who it is.
        let shown = bare.rsplit_once('~').map(|(name, print)| (skeleton(name), letters(print)));
        let marked = |c: &Candidate| {
            shown.as_ref().is_some_and(|(seen, begins)| {
                begins.len() >= PREFIX_MIN
                    && print(c).starts_with(begins)
                    && c.all_names().any(|name| skeleton(name) == *seen)
            })
        };
        if candidates.iter().any(marked) {
            // Whoever calls themselves like somebody with their mark does not get what is meant for
            // them.
            return pick(&|c| marked(c) || c.names(&case).next().is_some());
        }
    }
    if !called.is_empty() {
        return Some(the_sure_one(people, candidates, &called, bare));
    }
    pick(&|c| prefixes && mark.len() >= PREFIX_MIN && print(c).starts_with(&mark))
}

/// Of those who are called so and all who are called alike, the one of whom the user can be sure,
/// who is shown without a mark, if the name is theirs.
fn the_sure_one<'c>(
    people: &Directory,
    candidates: &'c [Candidate],
    called: &[&Candidate],
    bare: &str,
) -> Meant<'c> {
    let case = folded(bare);
    let spellings = called.iter().flat_map(|c| c.names(&case)).chain([bare]);
    let skeletons: BTreeSet<String> = spellings.map(skeleton).collect();
    let mut alike: BTreeMap<IdentityId, Sure> = BTreeMap::new();
    for (identity, sure) in skeletons.iter().flat_map(|s| people.alike(s, None)) {
        let known = alike.entry(identity).or_insert(sure);
        *known = sure.max(*known);
    }
    if alike.values().any(|sure| *sure > Sure::Blocked) {
        alike.retain(|_, sure| *sure > Sure::Blocked);
    }
    let best = alike.values().max().copied();
    let mut sure = alike.iter().filter(|(_, sure)| Some(**sure) == best).map(|(who, _)| *who);
    if let (Some(who), None) = (sure.next(), sure.next())
        && let Some(one) = called.iter().find(|c| c.identity == who)
        // Nobody writes to themselves: who has the user's name as well may be meant.
        && (!one.own || alike.len() == 1)
    {
        return if one.own { Meant::Yourself } else { Meant::One(who) };
    }
    Meant::Several(candidates.iter().filter(|c| alike.contains_key(&c.identity)).collect())
}

/// The one of these, blocked ones only where there is nobody else.
fn one_of(mut found: Vec<&Candidate>) -> Option<Meant<'_>> {
    if found.iter().any(|c| !c.blocked) {
        found.retain(|c| !c.blocked);
    }
    found.sort_by_key(|c| c.identity);
    found.dedup_by_key(|c| c.identity);
    match found.as_slice() {
        [] => None,
        [one] if one.own => Some(Meant::Yourself),
        [one] => Some(Meant::One(one.identity)),
        _ => Some(Meant::Several(found)),
    }
}
