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
mod tests;
