//! What a name or an id means: one rule, for every command and query alike.
//!
//! An exact id wins alone. `@...` is a person; everything else is a room, a joined one before one
//! that was left. What could be several is refused, with their ids: nothing is ever guessed, least
//! of all the more public room. Pure, over plain rows; names are resolved once, where they come in,
//! and from there on a [`Place`] or an id is carried.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use unicode_normalization::UnicodeNormalization;

use crate::directory::{Directory, Sure};
use crate::error::CommandError;
use crate::identity::fingerprint;
use crate::ids::{IdentityId, RoomId};
use crate::limits::NAME_BYTES_MAX;
use crate::names::{is_id, nearest, normalise, skeleton, spelled};

/// Characters of a fingerprint that are enough, if only one person has them.
const PREFIX_MIN: usize = 4;
/// Candidates named when a name is ambiguous.
const NAMED_MAX: usize = 5;

/// Where something is said or read. In JSON the id of the room, or `@` and the identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A room.
    Room(RoomId),
    /// The conversation with a person.
    With(IdentityId),
}

impl Place {
    /// The id of the room or of the conversation.
    #[must_use]
    pub fn id(&self) -> RoomId {
        match self {
            Self::Room(room) => *room,
            Self::With(identity) => RoomId::of_conversation(identity),
        }
    }

    /// Reads the form with ids; names are resolved by [`find`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('@') {
            Some(person) => IdentityId::parse(person).map(Self::With),
            None => RoomId::parse(text).map(Self::Room),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room(room) => write!(f, "{room}"),
            Self::With(identity) => write!(f, "@{identity}"),
        }
    }
}

impl From<RoomId> for Place {
    fn from(room: RoomId) -> Self {
        Self::Room(room)
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::custom("the id of a room, or `@` and a person's"))
    }
}

/// A room, as far as its name is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomName<'a> {
    /// Its id.
    pub room: RoomId,
    /// Its name with `#`.
    pub name: &'a str,
    /// No longer followed.
    pub left: bool,
    /// A passphrase went into it.
    pub passphrase: bool,
}

impl RoomName<'_> {
    fn is_called(&self, bare: &str, wanted: Option<&str>) -> bool {
        // A room keeps the spelling under which it was joined; the rules may have changed since.
        wanted == Some(self.name)
            || self.name.strip_prefix('#') == Some(bare)
            || (!self.name.is_ascii() && normalise(self.name).ok().as_deref() == wanted)
            || bare.rsplit_once('~').is_some_and(|(name, mark)| {
                self.mark().eq_ignore_ascii_case(mark)
                    && self.is_called(name, normalise(name).ok().as_deref())
            })
    }

    /// What tells it from rooms that look alike: the beginning of its id.
    fn mark(&self) -> String {
        self.room.short()
    }

    fn words(&self) -> String {
        let access = if self.passphrase { "passphrase" } else { "open" };
        let left = if self.left { ", left" } else { "" };
        format!("{} ({access}{left})", self.room)
    }
}

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

    /// Every name of theirs that is spelled so.
    fn names<'a>(&'a self, case: &'a str) -> impl Iterator<Item = &'a str> {
        let names = self.petname.iter().chain([&self.claimed]).chain(&self.elsewhere);
        names.map(String::as_str).filter(move |name| folded(name) == case)
    }
}

/// What a name or id means.
///
/// # Errors
/// [`CommandError`]: no such room or person, or several of that name.
pub fn find<'a>(
    wanted: &str,
    rooms: impl Iterator<Item = RoomName<'a>> + Clone,
    people: &Directory,
) -> Result<Place, CommandError> {
    if wanted.starts_with('@') {
        return find_person(people, wanted).map(Place::With);
    }
    if let Some(id) = RoomId::parse(wanted) {
        let person = || people.person_of(&id).filter(|i| people.knows(i)).map(Place::With);
        let room = rooms.clone().any(|r| r.room == id).then_some(Place::Room(id));
        let unknown = || CommandError::UnknownRoom { room: spelled(wanted), nearest: None };
        return room.or_else(person).ok_or_else(unknown);
    }
    if let Some(id) = IdentityId::parse(wanted).filter(|id| people.knows(id)) {
        return Ok(Place::With(id));
    }
    find_room(rooms, wanted).map(Place::Room)
}

/// The room that a name or an id means.
///
/// # Errors
/// [`CommandError::UnknownRoom`] with the nearest name, [`CommandError::AmbiguousRoom`] with the
/// ids.
pub fn find_room<'a>(
    rooms: impl Iterator<Item = RoomName<'a>> + Clone,
    wanted: &str,
) -> Result<RoomId, CommandError> {
    let unknown = |nearest: Option<&str>| {
        let sign = if wanted.starts_with('#') || is_id(wanted) { "" } else { "#" };
        let nearest = nearest.map(str::to_owned);
        CommandError::UnknownRoom { room: format!("{sign}{}", spelled(wanted)), nearest }
    };
    if let Some(id) = RoomId::parse(wanted) {
        let room = rooms.clone().any(|r| r.room == id).then_some(id);
        return room.ok_or_else(|| unknown(None));
    }
    let bare = wanted.strip_prefix('#').unwrap_or(wanted);
    let normal = normalise(wanted).ok();
    let mut found: Vec<RoomName<'_>> =
        rooms.clone().filter(|r| r.is_called(bare, normal.as_deref())).collect();
    if found.iter().any(|r| !r.left) {
        found.retain(|r| !r.left);
    }
    match found.as_slice() {
        [one] => Ok(one.room),
        [] => {
            let joined = rooms.filter(|r| !r.left).map(|r| r.name);
            Err(unknown(normal.as_deref().and_then(|normal| nearest(normal, joined))))
        }
        several => {
            let candidates = listed(several.iter().map(RoomName::words).collect());
            Err(CommandError::AmbiguousRoom { room: spelled(wanted), candidates })
        }
    }
}

/// What is to be shown beside the names of rooms that look alike, as with people who have like
/// names: all of a group are marked, equal names as well, but the one that is joined if the others
/// were left, since its name means it. `#garden~abcdefgh` is taken as a name.
#[must_use]
pub fn room_marks(rooms: &[RoomName<'_>]) -> Vec<Option<String>> {
    let skeletons: Vec<String> = rooms.iter().map(|r| skeleton(r.name)).collect();
    // How many look so, and how many of them are joined.
    let mut bearers: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (room, seen) in rooms.iter().zip(&skeletons) {
        let (all, joined) = bearers.entry(seen).or_default();
        *all += 1;
        *joined += usize::from(!room.left);
    }
    let mark = |(room, seen): (&RoomName<'_>, &String)| {
        let (all, joined) = bearers.get(seen.as_str()).copied().unwrap_or_default();
        let shared = if room.left { all > 1 } else { joined > 1 };
        shared.then(|| room.mark())
    };
    rooms.iter().zip(&skeletons).map(mark).collect()
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

fn find_among(
    people: &Directory,
    candidates: &[Candidate],
    wanted: &str,
) -> Result<IdentityId, CommandError> {
    let bare = wanted.strip_prefix('@').unwrap_or(wanted).trim();
    if let Some(found) = named(people, candidates, bare, true) {
        return found;
    }
    let known = || candidates.iter().filter(|c| !c.own && !c.blocked);
    let near = nearest(&folded(bare), known().map(Candidate::name)).and_then(|near| {
        let one = known().find(|c| c.name() == near)?;
        let mark = people.mark_of(&one.identity).map_or_else(String::new, |m| format!("~{m}"));
        Some(format!("{near}{mark}"))
    });
    Err(CommandError::UnknownPerson { who: spelled(bare), nearest: near })
}

/// Whom a word means, if it means anybody; `prefixes`: the beginning of a fingerprint counts.
fn named(
    people: &Directory,
    candidates: &[Candidate],
    bare: &str,
    prefixes: bool,
) -> Option<Result<IdentityId, CommandError>> {
    let pick = |rule: &dyn Fn(&Candidate) -> bool| {
        let found: Vec<&Candidate> = candidates.iter().filter(|c| rule(c)).collect();
        one_of(found, bare)
    };
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
        // As names that are shared are shown: `bob~ABCD`.
        let shown = bare.rsplit_once('~').map(|(name, print)| (folded(name), letters(print)));
        let marked = |c: &Candidate| {
            shown.as_ref().is_some_and(|(name, begins)| {
                let has_name = c.names(name).next().is_some();
                has_name && begins.len() >= PREFIX_MIN && print(c).starts_with(begins)
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
fn the_sure_one(
    people: &Directory,
    candidates: &[Candidate],
    called: &[&Candidate],
    bare: &str,
) -> Result<IdentityId, CommandError> {
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
        return if one.own { Err(CommandError::Yourself) } else { Ok(who) };
    }
    let all: Vec<&Candidate> =
        candidates.iter().filter(|c| alike.contains_key(&c.identity)).collect();
    Err(ambiguous(&all, bare))
}

/// The one of these, blocked ones only where there is nobody else.
fn one_of(mut found: Vec<&Candidate>, bare: &str) -> Option<Result<IdentityId, CommandError>> {
    if found.iter().any(|c| !c.blocked) {
        found.retain(|c| !c.blocked);
    }
    found.sort_by_key(|c| c.identity);
    found.dedup_by_key(|c| c.identity);
    match found.as_slice() {
        [] => None,
        [one] if one.own => Some(Err(CommandError::Yourself)),
        [one] => Some(Ok(one.identity)),
        several => Some(Err(ambiguous(several, bare))),
    }
}

fn ambiguous(several: &[&Candidate], who: &str) -> CommandError {
    let name = |c: &&Candidate| {
        let own = if c.own { ", you" } else { "" };
        format!("{} ({}{own})", c.name(), fingerprint(&c.identity))
    };
    let candidates = listed(several.iter().map(name).collect());
    CommandError::AmbiguousPerson { who: spelled(who), candidates }
}

/// The first few, and how many more.
fn listed(mut all: Vec<String>) -> Vec<String> {
    if all.len() > NAMED_MAX {
        let more = all.len() - NAMED_MAX;
        all.truncate(NAMED_MAX);
        all.push(format!("{more} more"));
    }
    all
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Kept;
    use crate::ids::DeviceId;
    use crate::query::Standing;
    use crate::rows::DeviceRow;

    /// Somebody; number 0 is the user.
    #[derive(Debug, Clone)]
    struct Someone {
        identity: IdentityId,
        kept: Kept,
    }

    fn person(n: u8, claimed: &str, petname: Option<&str>) -> Someone {
        let kept = Kept {
            claimed: claimed.into(),
            petname: petname.map(str::to_owned),
            standing: if petname.is_some() { Standing::Accepted } else { Standing::Met },
            verified: false,
            changed: false,
        };
        Someone { identity: IdentityId([n; 32]), kept }
    }

    impl Someone {
        fn who(mut self, standing: Standing) -> Self {
            self.kept.standing = standing;
            self
        }

        fn met_in(&self, room: u8, directory: &mut Directory) {
            directory.met(&DeviceRow {
                room: RoomId([room; 16]),
                device: DeviceId(self.identity.0),
                identity: Some(self.identity),
                name: self.kept.claimed.clone(),
                last_seen_ms: u64::from(room),
                acked: 0,
                muted: false,
                forked: None,
            });
        }
    }

    fn known(all: &[Someone]) -> Directory {
        let own = all.iter().find(|s| s.identity.0[0] == 0);
        let own = own.map_or("somebody else", |own| &own.kept.claimed);
        let mut directory = Directory::new(IdentityId([0; 32]), own);
        for one in all.iter().filter(|s| s.identity.0[0] != 0) {
            match one.kept.standing {
                Standing::Met => one.met_in(1, &mut directory),
                _ => directory.keep(one.identity, one.kept.clone()),
            }
        }
        directory
    }

    fn find_person(all: &[Someone], wanted: &str) -> Result<IdentityId, CommandError> {
        super::find_person(&known(all), wanted)
    }

    fn at_front<'a>(all: &[Someone], line: &'a str) -> Result<(IdentityId, &'a str), CommandError> {
        super::at_front(&known(all), line)
    }

    fn room(n: u8, name: &str, passphrase: bool, left: bool) -> RoomName<'_> {
        RoomName { room: RoomId([n; 16]), name, left, passphrase }
    }

    fn place(rooms: &[RoomName<'_>], wanted: &str) -> Result<Place, CommandError> {
        find(wanted, rooms.iter().copied(), &Directory::default())
    }

    #[test]
    fn two_rooms_of_one_name_are_refused_in_either_order() {
        let (open, secret) = (room(1, "#mix", false, false), room(2, "#mix", true, false));
        for rooms in [[open, secret], [secret, open]] {
            for wanted in ["#mix", "mix", "MIX", "#ｍｉｘ"] {
                let refused = place(&rooms, wanted).unwrap_err();
                assert_eq!(refused.code(), "KLATCH-AMBIGUOUS");
                let text = format!("{refused} {}", refused.hint());
                assert!(text.contains(&open.room.to_string()), "{text}");
                assert!(text.contains(&secret.room.to_string()), "{text}");
            }
            assert_eq!(place(&rooms, &open.room.to_string()), Ok(Place::Room(open.room)));
            assert_eq!(place(&rooms, &secret.room.to_string()), Ok(Place::Room(secret.room)));
        }
        let two = [room(1, "#mix", true, false), room(2, "#mix", true, false)];
        assert!(place(&two, "#mix").is_err());
    }

    #[test]
    fn what_is_meant_for_somebody_with_a_mark_does_not_go_to_a_namesake_of_the_mark() {
        let alice = person(1, "alice", None);
        let shown = format!("alice~{}", &fingerprint(&alice.identity)[..4]);
        let thief = person(2, &shown, None);
        let all = [alice.clone(), thief.clone()];
        assert_eq!(find_person(&all[..1], &shown), Ok(alice.identity));
        for wanted in [shown.clone(), shown.to_lowercase(), format!("@{shown}")] {
            let refused = find_person(&all, &wanted).unwrap_err();
            assert_eq!(refused.code(), "KLATCH-PERSON-AMBIGUOUS", "{wanted}");
        }
        let marked = format!("{shown}~{}", &fingerprint(&thief.identity)[..4]);
        assert_eq!(find_person(&all, &marked), Ok(thief.identity));
    }

    #[test]
    fn a_joined_room_comes_before_one_that_was_left() {
        let rooms = [room(1, "#mix", false, true), room(2, "#mix", true, false)];
        assert_eq!(place(&rooms, "#mix"), Ok(Place::Room(RoomId([2; 16]))));
        let left = [room(1, "#mix", false, true), room(2, "#mix", true, true)];
        assert!(matches!(place(&left, "#mix"), Err(CommandError::AmbiguousRoom { .. })));
        assert_eq!(place(&left[..1], "#mix"), Ok(Place::Room(RoomId([1; 16]))));
    }

    #[test]
    fn a_room_named_like_the_id_of_another_does_not_take_its_place() {
        let secret = room(2, "#secret", true, false);
        let name = format!("#{}", secret.room);
        let thief = RoomName { name: &name, ..room(1, "", false, false) };
        for rooms in [[secret, thief], [thief, secret]] {
            assert_eq!(place(&rooms, &secret.room.to_string()), Ok(Place::Room(secret.room)));
            // It was joined before such names were refused: it keeps its name.
            assert_eq!(place(&rooms, &name), Ok(Place::Room(thief.room)));
        }
        assert!(place(&[thief], &secret.room.to_string()).is_err());
    }

    #[test]
    fn a_room_joined_under_an_older_spelling_keeps_its_name() {
        let old = [room(1, "#ﬁsh", false, false)];
        for wanted in ["#ﬁsh", "fish", "#FISH"] {
            assert_eq!(place(&old, wanted), Ok(Place::Room(RoomId([1; 16]))), "{wanted}");
        }
        let both = [room(1, "#ﬁsh", false, false), room(2, "#fish", false, false)];
        assert!(matches!(place(&both, "fish"), Err(CommandError::AmbiguousRoom { .. })));
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
        for who in ["bob", "Bob", "BOB"] {
            assert_eq!(find(who), Ok(IdentityId([1; 32])), "a contact, in whatever spelling");
        }
        assert_eq!(find("@me"), Err(CommandError::Yourself));
        let nearest = Some(format!("Bob~{}", &fingerprint(&all[3].identity)[..4]));
        assert_eq!(find("bib"), Err(CommandError::UnknownPerson { who: "bib".into(), nearest }));
        assert!(matches!(find("@"), Err(CommandError::UnknownPerson { nearest: None, .. })));
        // What is proposed can be typed.
        let two = [person(1, "rob", None), person(2, "Rob", None)];
        let Err(CommandError::UnknownPerson { nearest: Some(near), .. }) = find_person(&two, "rbo")
        else {
            panic!("nothing is proposed")
        };
        assert!(find_person(&two, &near).is_ok(), "{near}");
    }

    /// Whoever a name may mean, if it is refused as ambiguous.
    fn refused(all: &[Someone], wanted: &str) -> Vec<String> {
        match find_person(all, wanted) {
            Err(CommandError::AmbiguousPerson { candidates, .. }) => candidates,
            other => panic!("{wanted}: {other:?}"),
        }
    }

    #[test]
    fn an_exact_spelling_does_not_choose_among_people_whose_names_look_alike() {
        for (one, other) in
            [("bob", "Bob"), ("bob", "b\u{43e}b"), ("Ian", "lan"), ("bob", "bob"), ("bob", "bob,")]
        {
            let all = [person(1, one, None), person(2, other, None), person(3, "ann", None)];
            for wanted in [one, other] {
                let named = refused(&all, wanted);
                assert_eq!(named.len(), 2, "{wanted}: {named:?}");
                for who in &all[..2] {
                    let print = fingerprint(&who.identity);
                    assert!(named.iter().any(|n| n.contains(&print)), "{named:?}");
                    let marked = format!("@{}~{}", who.kept.claimed, &print[..4]);
                    assert_eq!(find_person(&all, &marked), Ok(who.identity), "{marked}");
                    assert_eq!(find_person(&all, &print), Ok(who.identity));
                }
            }
            assert_eq!(find_person(&all, "ann"), Ok(all[2].identity));
        }
    }

    #[test]
    fn a_name_means_whoever_is_shown_without_a_mark_and_nobody_else() {
        let bob = person(1, "bob", None).who(Standing::Accepted);
        let all = [bob, person(2, "Bob", None), person(3, "b\u{43e}b", None)];
        for wanted in ["bob", "Bob", "BOB"] {
            assert_eq!(find_person(&all, wanted), Ok(all[0].identity), "{wanted}");
        }
        // What is spelled as another one only is neither theirs nor the contact's.
        assert_eq!(refused(&all, "b\u{43e}b").len(), 3);
        let second = person(2, "Bob", None).who(Standing::Accepted);
        for wanted in ["bob", "Bob", "BOB"] {
            assert_eq!(refused(&[all[0].clone(), second.clone()], wanted).len(), 2);
        }
        // Nobody gets what is for the contact by having the comma behind the name in theirs.
        let comma = [all[0].clone(), person(4, "bob,", None)];
        assert!(at_front(&comma, "@bob, hello").is_err());
        assert_eq!(at_front(&comma, "@bob hello"), Ok((all[0].identity, "hello")));
        // What the faces mark and what is refused are the same.
        let people = known(&all);
        let marked = |n: usize| people.mark_of(&all[n].identity).is_some();
        assert_eq!([marked(0), marked(1), marked(2)], [false, true, true]);
    }

    #[test]
    fn somebody_is_found_and_confused_under_the_name_of_each_room() {
        let mut people = known(&[]);
        person(1, "bob", None).met_in(1, &mut people);
        person(1, "robert", None).met_in(2, &mut people);
        assert_eq!(super::find_person(&people, "bob"), Ok(IdentityId([1; 32])));
        assert_eq!(super::find_person(&people, "robert"), Ok(IdentityId([1; 32])));
        person(2, "Bob", None).met_in(3, &mut people);
        let refused = super::find_person(&people, "bob").unwrap_err();
        assert_eq!(refused.code(), "KLATCH-PERSON-AMBIGUOUS");
    }

    #[test]
    fn whoever_has_the_users_own_name_may_be_meant_but_is_not_guessed() {
        let all = [person(0, "bob", None), person(1, "Bob", None).who(Standing::Accepted)];
        assert!(refused(&all, "bob").iter().any(|n| n.ends_with(", you)")));
        assert_eq!(find_person(&all[..1], "bob"), Err(CommandError::Yourself));
    }

    #[test]
    fn rooms_that_look_alike_are_marked_and_typed_as_they_are_shown() {
        let rooms = [room(1, "#mix", false, false), room(2, "#mix", true, false)];
        let rooms = [rooms[0], rooms[1], room(3, "#garden", false, false)];
        let marks = room_marks(&rooms);
        assert!(marks[0].is_some() && marks[0] != marks[1] && marks[2].is_none());
        for (room, mark) in rooms.iter().zip(marks) {
            let Some(mark) = mark else { continue };
            for wanted in [format!("#mix~{mark}"), format!("MIX~{}", mark.to_uppercase())] {
                assert_eq!(place(&rooms, &wanted), Ok(Place::Room(room.room)), "{wanted}");
            }
        }
        // Of a joined room and one that was left the name means the joined one.
        let left = RoomName { left: true, ..rooms[1] };
        let marked = room_marks(&[rooms[0], left]).iter().map(Option::is_some).collect::<Vec<_>>();
        assert_eq!(marked, [false, true]);
        assert_eq!(place(&[rooms[0], left], "#mix"), Ok(Place::Room(rooms[0].room)));
        let other = format!("#garden~{}", rooms[0].mark());
        assert!(matches!(place(&rooms, &other), Err(CommandError::UnknownRoom { .. })));
    }

    #[test]
    fn a_blocked_person_is_meant_only_if_nobody_else_is() {
        let mut all = [person(1, "bob", None), person(2, "bob", None)];
        assert!(find_person(&all, "bob").is_err());
        all[1].kept.standing = Standing::Blocked;
        assert_eq!(find_person(&all, "bob"), Ok(IdentityId([1; 32])));
        assert_eq!(find_person(&all[1..], "bob"), Ok(IdentityId([2; 32])));
    }

    #[test]
    fn a_name_with_its_mark_is_typed_as_it_is_shown() {
        let all = [person(1, "bob", None), person(2, "Bob", None), person(3, "Mary Ann", None)];
        let shown = |s: &Someone| format!("@{}~{}", s.kept.claimed, &fingerprint(&s.identity)[..4]);
        for one in &all {
            assert_eq!(find_person(&all, &shown(one)), Ok(one.identity));
        }
        let line = format!("{} hello", shown(&all[2]));
        assert_eq!(at_front(&all, &line), Ok((IdentityId([3; 32]), "hello")));
        assert!(find_person(&all, "bob~").is_err() && find_person(&all, "bob~2").is_err());
        let print = &fingerprint(&all[0].identity)[..4];
        assert!(find_person(&all, &format!("Mary Ann~{print}")).is_err());
    }

    #[test]
    fn fingerprints_and_ids_name_people_and_cannot_be_taken() {
        let print = fingerprint(&IdentityId([1; 32]));
        let id = IdentityId([1; 32]).to_string();
        let all = [person(1, "bob", None), person(2, &print, None), person(3, "x", Some(&id))];
        let find = |who: &str| find_person(&all, who);
        for who in [print.clone(), print.to_lowercase(), print.replace('-', ""), id.clone()] {
            assert_eq!(find(&who), Ok(IdentityId([1; 32])), "{who}");
        }
        assert_eq!(
            find(&RoomId::of_conversation(&IdentityId([2; 32])).to_string()),
            Ok(IdentityId([2; 32]))
        );
        // An id that nobody has means nobody, whatever somebody is called.
        assert!(find_person(&all[2..], &id).is_err());
        assert_eq!(find_person(&all[..1], &print[..4]), Ok(IdentityId([1; 32])));
        assert!(find_person(&all[..1], &print[..3]).is_err());
    }

    #[test]
    fn the_longest_name_at_the_front_of_a_line_counts_and_two_are_refused() {
        let all = [person(1, "Mary Ann", None), person(2, "bob", None), person(3, "Mary", None)];
        let front = |people: &[Someone], line: &str| {
            at_front(people, line).map(|(who, rest)| (who.0[0], rest.to_owned()))
        };
        let ok = |n: u8, rest: &str| Ok((n, rest.to_owned()));
        assert_eq!(front(&all[..2], "@Mary Ann hello  you"), ok(1, "hello  you"));
        assert_eq!(front(&all[..2], "mary ann"), ok(1, ""));
        assert_eq!(front(&all, "@bob Mary Ann"), ok(2, "Mary Ann"));
        let refused = front(&all, "@Mary Ann hello").unwrap_err();
        assert_eq!(refused.to_string(), "that could be for @\"Mary Ann\" or @Mary");
        assert_eq!(front(&all, "@\"Mary Ann\" hello"), ok(1, "hello"));
        assert_eq!(front(&all, "@\u{201c}Mary\u{201d} Ann hello"), ok(3, "Ann hello"));
        assert_eq!(front(&all, "@Mary, hello").unwrap_err().code(), "KLATCH-PERSON-NOT-FOUND");
        assert_eq!(front(&all[..1], "@Mary hello").unwrap_err().code(), "KLATCH-PERSON-NOT-FOUND");
        let print = fingerprint(&IdentityId([1; 32]));
        let by_print = format!("@{print} hi");
        assert_eq!(front(&all, &by_print), ok(1, "hi"));
        // A text that happens to go on with a name of the same person.
        let same = [person(1, "Mary", Some("Mary Ann"))];
        assert_eq!(front(&same, "Mary Ann hi"), ok(1, "hi"));
        assert!(front(&all, "").is_err() && front(&all, &"x ".repeat(10_000)).is_err());
    }

    #[test]
    fn a_place_is_read_back_from_what_it_is_written_as() {
        for place in [Place::Room(RoomId([3; 16])), Place::With(IdentityId([4; 32]))] {
            let json = serde_json::to_string(&place).unwrap();
            assert_eq!(serde_json::from_str::<Place>(&json).unwrap(), place);
        }
        assert!(serde_json::from_str::<Place>("\"#garden\"").is_err());
    }
}
