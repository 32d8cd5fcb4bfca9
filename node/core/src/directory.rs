//! Who is known: people met in rooms and people kept as contacts, under which names, with which
//! devices, and when they were last there.
//!
//! Rooms and conversations tell it; who wants to know what a name means, whose a device is, or
//! whether a name is shared asks it. It decides nothing and is not at rest: its rows are those of
//! rooms and contacts. It goes out as a whole in [`crate::step::PeopleView`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::identity::fingerprint;
use crate::ids::{DeviceId, IdentityId, RoomId};
use crate::names::{imitates, skeleton};
use crate::place::Candidate;
use crate::query::Standing;
use crate::rows::DeviceRow;

/// A device as a room knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Whose it is.
    pub identity: IdentityId,
    /// The name they go by in that room.
    pub name: Arc<str>,
    /// When it was last there, Unix milliseconds; 0 if never.
    pub last_seen_ms: u64,
    skeleton: Arc<str>,
    /// The name looks like what only this program writes.
    imitates: bool,
}

/// A person who is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The name they give themselves.
    pub claimed: String,
    /// The own name for them.
    pub petname: Option<String>,
    /// How they are kept.
    pub standing: Standing,
    /// Their keys were compared.
    pub verified: bool,
    /// They use other keys since.
    pub changed: bool,
}

impl Kept {
    fn name(&self) -> &str {
        self.petname.as_deref().unwrap_or(&self.claimed)
    }
}

/// Where somebody goes by a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Where {
    /// The user.
    Own,
    /// Among those who are kept, in the own words.
    Petname,
    /// Among those who are kept, in theirs.
    Claimed,
    /// In a room, with one of their devices.
    Room(RoomId, DeviceId),
}

/// How sure the user can be of whom a name means, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sure {
    /// Blocked: never meant before others.
    Blocked,
    /// Met in rooms, or asks to be let in: the name is a claim.
    Met,
    /// A contact, by the name that they give themselves.
    Contact,
    /// A contact whose keys were compared, by the name that they give themselves.
    Verified,
    /// A contact, by the user's own name for them.
    Named,
    /// The user.
    Own,
}

/// Everybody who is known.
#[derive(Debug, Clone)]
pub struct Directory {
    own: IdentityId,
    own_name: String,
    seen: BTreeMap<(RoomId, DeviceId), Seen>,
    kept: BTreeMap<IdentityId, Kept>,
    /// Where each device was seen.
    devices: BTreeMap<DeviceId, BTreeSet<RoomId>>,
    /// The devices that rooms know of each person.
    people: BTreeMap<IdentityId, BTreeSet<DeviceId>>,
    /// By the id of the conversation.
    conversations: BTreeMap<RoomId, IdentityId>,
    /// Who goes by names that look so, and where.
    bearers: BTreeMap<Arc<str>, BTreeSet<(IdentityId, Where)>>,
}

impl Default for Directory {
    /// Of nobody, until a node has started.
    fn default() -> Self {
        Self::new(IdentityId([0; 32]), "")
    }
}

impl Directory {
    /// The directory of a user who knows nobody yet.
    #[must_use]
    pub fn new(own: IdentityId, name: &str) -> Self {
        let mut directory = Self {
            own,
            own_name: String::new(),
            seen: BTreeMap::new(),
            kept: BTreeMap::new(),
            devices: BTreeMap::new(),
            people: BTreeMap::new(),
            conversations: BTreeMap::new(),
            bearers: BTreeMap::new(),
        };
        directory.call_self(name);
        directory
    }

    // ---- what it is told
    // ------------------------------------------------------------------------------------------

    /// The user goes by this name.
    pub fn call_self(&mut self, name: &str) {
        self.unbear(&skeleton(&self.own_name), self.own, Where::Own);
        name.clone_into(&mut self.own_name);
        self.bear(&skeleton(name).into(), self.own, Where::Own);
    }

    /// Whether a room knows something of a device that is not known here.
    #[must_use]
    pub fn is_news(&self, row: &DeviceRow) -> bool {
        row.identity.is_some_and(|identity| {
            self.seen.get(&(row.room, row.device)).is_none_or(|known| {
                known.identity != identity
                    || *known.name != *row.name
                    || known.last_seen_ms != row.last_seen_ms
            })
        })
    }

    /// A room knows this of a device.
    pub fn met(&mut self, row: &DeviceRow) {
        let Some(identity) = row.identity else { return };
        let key = (row.room, row.device);
        let place = Where::Room(row.room, row.device);
        match self.seen.get_mut(&key) {
            Some(known) if known.identity == identity && *known.name == *row.name => {
                known.last_seen_ms = row.last_seen_ms;
                return;
            }
            Some(known) => {
                let (skeleton, before) = (known.skeleton.clone(), known.identity);
                self.unbear(&skeleton, before, place);
                if before != identity
                    && let Some(devices) = self.people.get_mut(&before)
                {
                    devices.remove(&row.device);
                }
            }
            None => {}
        }
        let skeleton: Arc<str> = skeleton(&row.name).into();
        self.bear(&skeleton, identity, place);
        self.devices.entry(row.device).or_default().insert(row.room);
        self.people.entry(identity).or_default().insert(row.device);
        self.conversations.entry(RoomId::of_conversation(&identity)).or_insert(identity);
        let (name, imitates) = (row.name.as_str().into(), imitates(&row.name));
        let last_seen_ms = row.last_seen_ms;
        self.seen.insert(key, Seen { identity, name, last_seen_ms, skeleton, imitates });
    }

    /// Whether a person is kept like this.
    #[must_use]
    pub fn keeps(&self, identity: &IdentityId, kept: &Kept) -> bool {
        self.kept.get(identity) == Some(kept)
    }

    /// A person is kept like this.
    pub fn keep(&mut self, identity: IdentityId, kept: Kept) {
        let before = self.kept.get(&identity).cloned();
        let names = |kept: &Kept| {
            let petname = kept.petname.as_deref().map(|p| (skeleton(p), Where::Petname));
            petname.into_iter().chain([(skeleton(&kept.claimed), Where::Claimed)])
        };
        for (skeleton, place) in before.iter().flat_map(names) {
            self.unbear(&skeleton, identity, place);
        }
        for (skeleton, place) in names(&kept) {
            self.bear(&skeleton.into(), identity, place);
        }
        self.conversations.entry(RoomId::of_conversation(&identity)).or_insert(identity);
        self.kept.insert(identity, kept);
    }

    /// A person is not kept any more; rooms may know them all the same.
    pub fn drop_kept(&mut self, identity: &IdentityId) {
        let Some(kept) = self.kept.remove(identity) else { return };
        if let Some(petname) = &kept.petname {
            self.unbear(&skeleton(petname), *identity, Where::Petname);
        }
        self.unbear(&skeleton(&kept.claimed), *identity, Where::Claimed);
        self.drop_conversation(identity);
    }

    /// Nothing is known of a room any more, nor of those who were met there only.
    pub fn drop_room(&mut self, room: &RoomId) {
        let gone: Vec<DeviceId> =
            self.seen.keys().filter(|(r, _)| r == room).map(|(_, device)| *device).collect();
        for device in gone {
            let Some(seen) = self.seen.remove(&(*room, device)) else { continue };
            self.unbear(&seen.skeleton, seen.identity, Where::Room(*room, device));
            let rooms = self.devices.entry(device).or_default();
            rooms.remove(room);
            if !rooms.is_empty() {
                continue;
            }
            self.devices.remove(&device);
            let devices = self.people.entry(seen.identity).or_default();
            devices.remove(&device);
            if devices.is_empty() {
                self.people.remove(&seen.identity);
                self.drop_conversation(&seen.identity);
            }
        }
    }

    /// The id of a conversation means nobody, once nobody knows the person.
    fn drop_conversation(&mut self, identity: &IdentityId) {
        if !self.kept.contains_key(identity) && !self.people.contains_key(identity) {
            self.conversations.remove(&RoomId::of_conversation(identity));
        }
    }

    fn bear(&mut self, skeleton: &Arc<str>, identity: IdentityId, place: Where) {
        self.bearers.entry(skeleton.clone()).or_default().insert((identity, place));
    }

    fn unbear(&mut self, skeleton: &str, identity: IdentityId, place: Where) {
        if let Some(bearers) = self.bearers.get_mut(skeleton) {
            bearers.remove(&(identity, place));
            if bearers.is_empty() {
                self.bearers.remove(skeleton);
            }
        }
    }

    // ---- what it is asked
    // -----------------------------------------------------------------------------------------

    /// Whose device this is, as rooms know it.
    #[must_use]
    pub fn owner(&self, device: &DeviceId) -> Option<IdentityId> {
        let room = self.devices.get(device)?.first()?;
        self.seen.get(&(*room, *device)).map(|s| s.identity)
    }

    /// The person of a conversation.
    #[must_use]
    pub fn person_of(&self, conversation: &RoomId) -> Option<IdentityId> {
        self.conversations.get(conversation).copied()
    }

    /// Whether a person is known, the user not counted.
    #[must_use]
    pub fn knows(&self, identity: &IdentityId) -> bool {
        *identity != self.own
            && (self.kept.contains_key(identity) || self.people.contains_key(identity))
    }

    /// The devices that rooms know of a person, each with the time when it was last there.
    pub fn devices_of(&self, identity: &IdentityId) -> BTreeMap<DeviceId, u64> {
        let mut found = BTreeMap::new();
        for (_, device, seen) in self.seen_of(identity) {
            let last: &mut u64 = found.entry(device).or_default();
            *last = seen.last_seen_ms.max(*last);
        }
        found
    }

    /// The rooms in which a person was met.
    #[must_use]
    pub fn rooms_of(&self, identity: &IdentityId) -> BTreeSet<RoomId> {
        self.seen_of(identity).map(|(room, ..)| room).collect()
    }

    /// When a person was last there, Unix milliseconds; 0 if never.
    #[must_use]
    pub fn last_seen_ms(&self, identity: &IdentityId) -> u64 {
        self.seen_of(identity).map(|(.., seen)| seen.last_seen_ms).max().unwrap_or(0)
    }

    /// The name that a person went by in the room where they were last seen.
    #[must_use]
    pub fn name_in_rooms(&self, identity: &IdentityId) -> Option<&str> {
        let newest = self.seen_of(identity).max_by_key(|(room, _, s)| (s.last_seen_ms, *room));
        newest.map(|(.., seen)| &*seen.name)
    }

    /// The name to show: the own one for them, else the one they give themselves.
    #[must_use]
    pub fn name_of(&self, identity: &IdentityId) -> Option<&str> {
        self.kept.get(identity).map(Kept::name).or_else(|| self.name_in_rooms(identity))
    }

    fn seen_of(&self, identity: &IdentityId) -> impl Iterator<Item = (RoomId, DeviceId, &Seen)> {
        let devices = self.people.get(identity).into_iter().flatten();
        devices.flat_map(|device| {
            let rooms = self.devices.get(device).into_iter().flatten();
            rooms.filter_map(|room| Some((*room, *device, self.seen.get(&(*room, *device))?)))
        })
    }

    /// Everybody that a name can mean: those who are kept, those who were met, the user.
    #[must_use]
    pub fn candidates(&self) -> Vec<Candidate> {
        let elsewhere = |identity: &IdentityId, claimed: &str| {
            let names = self.seen_of(identity).map(|(.., seen)| &*seen.name);
            let others: BTreeSet<&str> = names.filter(|name| *name != claimed).collect();
            others.into_iter().map(str::to_owned).collect()
        };
        let kept = self.kept.iter().map(|(identity, kept)| Candidate {
            identity: *identity,
            claimed: kept.claimed.clone(),
            elsewhere: elsewhere(identity, &kept.claimed),
            petname: kept.petname.clone(),
            blocked: kept.standing == Standing::Blocked,
            own: false,
        });
        let met = |(identity, claimed): (&IdentityId, &str)| Candidate {
            identity: *identity,
            claimed: claimed.to_owned(),
            elsewhere: elsewhere(identity, claimed),
            petname: None,
            blocked: false,
            own: *identity == self.own,
        };
        let strangers = self.people.keys().filter(|i| {
            **i != self.own && !self.kept.contains_key(i) && self.name_in_rooms(i).is_some()
        });
        let strangers = strangers.map(|i| (i, self.name_in_rooms(i).unwrap_or_default()));
        kept.chain(strangers.chain([(&self.own, self.own_name.as_str())]).map(met)).collect()
    }

    // ---- names that are shared
    // ------------------------------------------------------------------------------------

    /// What is to be shown beside the name of a device's owner in a room, if the name alone does
    /// not tell who that is: the first characters of the fingerprint.
    #[must_use]
    pub fn mark_in(&self, room: &RoomId, device: &DeviceId) -> Option<String> {
        let seen = self.seen.get(&(*room, *device))?;
        self.mark(&seen.skeleton, seen.imitates, &seen.identity, Some(room))
    }

    /// What is to be typed behind that name where anybody may be named, not only who is in the room.
    #[must_use]
    pub fn mark_beyond(&self, room: &RoomId, device: &DeviceId) -> Option<String> {
        let seen = self.seen.get(&(*room, *device))?;
        self.mark(&seen.skeleton, seen.imitates, &seen.identity, None)
    }

    /// The same as in a room for a person in lists of people and in conversations.
    #[must_use]
    pub fn mark_of(&self, identity: &IdentityId) -> Option<String> {
        let name = self.name_of(identity)?;
        self.mark(&skeleton(name), imitates(name), identity, None)
    }

    /// Everybody who goes by a name that looks so, and how sure the user can be that this is whom it
    /// means. What a name alone means ([`crate::place`]) and what is shown without a mark is decided
    /// by this alone. `room`: only who is in it counts, beside those the user knows.
    #[must_use]
    pub fn alike(&self, skeleton: &str, room: Option<&RoomId>) -> BTreeMap<IdentityId, Sure> {
        let mut all = BTreeMap::new();
        for (identity, place) in self.bearers.get(skeleton).into_iter().flatten() {
            let sure = match place {
                Where::Petname if self.standing(identity) == Some(Standing::Accepted) => {
                    Sure::Named
                }
                _ => self.sure_of(identity),
            };
            let counts = match place {
                Where::Room(r, _) => room.is_none_or(|room| r == room),
                Where::Own | Where::Petname | Where::Claimed => {
                    room.is_none() || sure >= Sure::Contact
                }
            };
            if counts {
                let known = all.entry(*identity).or_insert(sure);
                *known = sure.max(*known);
            }
        }
        all
    }

    /// Of all who go by a name that looks so, the one the user can be sure of stays unmarked. A name
    /// that is made like the words and marks of this program is marked, whoever bears it.
    fn mark(
        &self,
        skeleton: &str,
        imitates: bool,
        who: &IdentityId,
        room: Option<&RoomId>,
    ) -> Option<String> {
        let mut others = self.alike(skeleton, room);
        let sure = others.remove(who).unwrap_or_else(|| self.sure_of(who));
        let imitates = imitates && *who != self.own;
        if !imitates && others.values().all(|other| *other < sure) {
            return None;
        }
        /// Characters of a group, and of the dash behind it.
        const GROUP: usize = 5;
        let own = fingerprint(who);
        let prints: Vec<String> = others.keys().map(fingerprint).collect();
        let short = |chars: usize| own.get(..chars).unwrap_or(&own);
        let shared = |chars: usize| prints.iter().any(|p| p.starts_with(short(chars)));
        let chars = (1..=4).map(|n| n * GROUP - 1).find(|chars| !shared(*chars));
        Some(chars.map_or(own.as_str(), short).to_owned())
    }

    fn standing(&self, identity: &IdentityId) -> Option<Standing> {
        self.kept.get(identity).map(|kept| kept.standing)
    }

    fn sure_of(&self, identity: &IdentityId) -> Sure {
        match self.kept.get(identity) {
            _ if *identity == self.own => Sure::Own,
            Some(k) if k.standing == Standing::Blocked => Sure::Blocked,
            Some(k) if k.standing == Standing::Accepted => match k.verified && !k.changed {
                true => Sure::Verified,
                false => Sure::Contact,
            },
            _ => Sure::Met,
        }
    }

    /// Whether somebody else, who is verified, goes by a name that looks so.
    #[must_use]
    pub fn is_taken(&self, name: &str, by: &IdentityId) -> bool {
        let kept = |(identity, place): &(IdentityId, Where)| {
            identity != by
                && matches!(place, Where::Petname | Where::Claimed)
                && self.kept.get(identity).is_some_and(|k| k.verified)
        };
        self.bearers.get(skeleton(name).as_str()).is_some_and(|b| b.iter().any(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: RoomId = RoomId([1; 16]);
    const OTHER: RoomId = RoomId([2; 16]);

    fn id(n: u8) -> IdentityId {
        IdentityId([n; 32])
    }

    fn row(room: RoomId, n: u8, name: &str, last_seen_ms: u64) -> DeviceRow {
        DeviceRow {
            room,
            device: DeviceId([n; 32]),
            identity: Some(id(n)),
            name: name.to_owned(),
            last_seen_ms,
            acked: 0,
            muted: false,
            forked: None,
        }
    }

    fn kept(claimed: &str, standing: Standing, verified: bool) -> Kept {
        let claimed = claimed.to_owned();
        Kept { claimed, petname: None, standing, verified, changed: false }
    }

    fn marks(directory: &Directory, devices: &[u8]) -> Vec<bool> {
        devices.iter().map(|n| directory.mark_in(&ROOM, &DeviceId([*n; 32])).is_some()).collect()
    }

    #[test]
    fn all_who_share_a_name_are_marked_whatever_it_is_made_of() {
        let mut directory = Directory::new(id(9), "me");
        for (n, name) in [(1, "bob"), (2, "BOB\u{3164}"), (3, "b\u{43e}b"), (4, "ann")] {
            directory.met(&row(ROOM, n, name, 0));
        }
        assert_eq!(marks(&directory, &[1, 2, 3, 4]), [true, true, true, false]);
        // One that is in another room only is nobody's double here.
        directory.met(&row(OTHER, 5, "ann", 0));
        assert_eq!(marks(&directory, &[4]), [false]);
        assert!(directory.mark_of(&id(4)).is_some() && directory.mark_of(&id(5)).is_some());
        assert!(directory.mark_beyond(&ROOM, &DeviceId([4; 32])).is_some());
        // A new name frees the old one.
        directory.met(&row(ROOM, 2, "carol", 0));
        directory.met(&row(ROOM, 3, "dave", 0));
        assert_eq!(marks(&directory, &[1, 2, 3]), [false, false, false]);
    }

    #[test]
    fn whoever_the_user_can_be_sure_of_stays_unmarked() {
        let mut directory = Directory::new(id(9), "me");
        directory.met(&row(ROOM, 1, "bob", 0));
        directory.met(&row(ROOM, 2, "bob", 0));
        directory.keep(id(1), kept("bob", Standing::Requested, false));
        assert_eq!(marks(&directory, &[1, 2]), [true, true], "a request proves nothing");
        directory.keep(id(1), kept("bob", Standing::Accepted, false));
        assert_eq!(marks(&directory, &[1, 2]), [false, true]);
        directory.keep(id(2), kept("bob", Standing::Accepted, false));
        assert_eq!(marks(&directory, &[1, 2]), [true, true]);
        directory.keep(id(2), kept("bob", Standing::Accepted, true));
        assert_eq!(marks(&directory, &[1, 2]), [true, false]);
        // A contact who is not in the room has a double there.
        directory.met(&row(ROOM, 3, "zoe", 0));
        directory.keep(id(4), kept("ZOE", Standing::Accepted, false));
        // So has the user.
        directory.met(&row(ROOM, 5, "ME", 0));
        directory.met(&row(ROOM, 9, "me", 0));
        assert_eq!(marks(&directory, &[3, 5, 9]), [true, true, false]);
    }

    #[test]
    fn the_users_own_name_for_somebody_is_not_taken_by_a_contact_who_claims_it() {
        let mut directory = Directory::new(id(9), "me");
        let petname = Some("bob".to_owned());
        directory.keep(id(1), Kept { petname, ..kept("robert", Standing::Accepted, false) });
        directory.keep(id(2), kept("Bob", Standing::Accepted, true));
        assert_eq!(directory.mark_of(&id(1)), None);
        assert!(directory.mark_of(&id(2)).is_some());
    }

    #[test]
    fn who_is_blocked_marks_nobody_else() {
        let mut directory = Directory::new(id(9), "me");
        directory.met(&row(ROOM, 1, "bob", 0));
        directory.met(&row(ROOM, 2, "bob", 0));
        directory.keep(id(2), kept("bob", Standing::Blocked, false));
        assert_eq!(marks(&directory, &[1, 2]), [false, true]);
    }

    #[test]
    fn a_name_in_the_programs_own_voice_is_marked_but_for_oneself() {
        let mut directory = Directory::new(id(9), "klatch");
        for (n, name) in [(1, "you"), (2, "* alice"), (3, "alice:"), (4, "carol")] {
            directory.met(&row(ROOM, n, name, 0));
        }
        directory.met(&row(ROOM, 9, "klatch", 0));
        assert_eq!(marks(&directory, &[1, 2, 3, 4, 9]), [true, true, true, false, false]);
        assert!(directory.mark_of(&id(1)).is_some());
    }

    #[test]
    fn a_name_made_like_a_marked_one_is_marked_itself() {
        let mut directory = Directory::new(id(9), "me");
        directory.met(&row(ROOM, 1, "alice~U2IX", 1));
        directory.met(&row(ROOM, 2, "carol", 1));
        assert_eq!(marks(&directory, &[1, 2]), [true, false]);
        directory.keep(id(1), kept("alice~U2IX", Standing::Accepted, true));
        assert_eq!(marks(&directory, &[1]), [true], "even of a contact");
    }

    #[test]
    fn a_mark_is_long_enough_to_tell_its_group_apart() {
        let prefix = |n: u32, chars: usize| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            fingerprint(&IdentityId(bytes))[..chars].to_owned()
        };
        // Two identities whose fingerprints begin alike: found within some hundred tries for two
        // characters, which is what this test needs of four.
        let mut seen = BTreeMap::new();
        let (a, b) = (0..).find_map(|n| seen.insert(prefix(n, 4), n).map(|m| (m, n))).unwrap();
        let mut directory = Directory::new(id(9), "me");
        for (device, n) in [(1, a), (2, b)] {
            let mut row = row(ROOM, device, "bob", 0);
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            row.identity = Some(IdentityId(bytes));
            directory.met(&row);
        }
        let mark = |n: u8| directory.mark_in(&ROOM, &DeviceId([n; 32])).unwrap();
        assert_ne!(mark(1), mark(2));
        assert_eq!(mark(1)[..4], mark(2)[..4]);
    }

    #[test]
    fn it_knows_names_devices_and_conversations() {
        let mut directory = Directory::new(id(9), "me");
        directory.met(&row(ROOM, 1, "old", 5));
        let mut second = row(OTHER, 2, "new", 7);
        second.identity = Some(id(1));
        assert!(directory.is_news(&second));
        directory.met(&second);
        assert!(!directory.is_news(&second));
        assert_eq!(directory.name_in_rooms(&id(1)), Some("new"));
        assert_eq!(directory.last_seen_ms(&id(1)), 7);
        assert_eq!(directory.owner(&DeviceId([2; 32])), Some(id(1)));
        assert_eq!(directory.rooms_of(&id(1)), BTreeSet::from([ROOM, OTHER]));
        assert_eq!(directory.devices_of(&id(1)).len(), 2);
        let conversation = RoomId::of_conversation(&id(1));
        assert_eq!(directory.person_of(&conversation), Some(id(1)));
        assert!(directory.knows(&id(1)) && !directory.knows(&id(2)) && !directory.knows(&id(9)));
    }

    #[test]
    fn the_name_of_a_verified_person_is_taken_in_every_spelling() {
        let mut directory = Directory::new(id(9), "me");
        directory.keep(id(1), kept("bob", Standing::Accepted, true));
        for name in ["bob", "BOB", "bob\u{2800}", "b\u{43e}b", "\u{200e}bob"] {
            assert!(directory.is_taken(name, &id(2)), "{name:?}");
        }
        assert!(!directory.is_taken("bob", &id(1)) && !directory.is_taken("ann", &id(2)));
    }
}
