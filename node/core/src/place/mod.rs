//! What a name or an id means: one rule, for every command and query alike.
//!
//! An exact id wins alone. `@...` is a person; everything else is a room, a joined one before one
//! that was left. What could be several is refused, with their ids: nothing is ever guessed, least
//! of all the more public room. Pure, over plain rows; names are resolved once, where they come in,
//! and from there on a [`Place`] or an id is carried. Rooms are found in `rooms`, people in
//! `people`, and the person at the front of a line in `front`.

mod front;
mod people;
mod rooms;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

pub use self::front::at_front;
pub use self::people::{Candidate, find_person};
pub use self::rooms::{Opening, RoomName, find_room, room_marks, to_open};
use crate::directory::Directory;
use crate::error::CommandError;
use crate::ids::{IdentityId, RoomId};
use crate::names::spelled;

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
    find_room(rooms, wanted).map(Place::Room).map_err(|error| match error {
        // Somebody who forgot the `@`.
        CommandError::UnknownRoom { room, .. }
            if !wanted.starts_with('#') && find_person(people, wanted).is_ok() =>
        {
            CommandError::UnknownRoom { room, nearest: Some(format!("@{wanted}")) }
        }
        other => other,
    })
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
