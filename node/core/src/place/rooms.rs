//! Which room a name means, and what is shown beside names that look alike.

use std::collections::BTreeMap;

use super::{NAMED_MAX, listed};
use crate::error::CommandError;
use crate::ids::RoomId;
use crate::names::{is_id, is_like_id, nearest, normalise, skeleton, spelled};

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
    pub(super) fn mark(&self) -> String {
        self.room.short()
    }

    /// The name as it is shown and typed where others look alike.
    fn marked(&self) -> String {
        format!("{}~{}", self.name, self.mark())
    }

    fn words(&self) -> String {
        let access = if self.passphrase { "passphrase" } else { "open" };
        let left = if self.left { ", left" } else { "" };
        format!("{} ({access}{left}, id {})", self.marked(), self.room)
    }
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
            if let Some(room) = begun(rooms.clone(), bare) {
                return Err(unknown(Some(&room.marked())));
            }
            let joined = rooms.filter(|r| !r.left).map(|r| r.name);
            Err(unknown(normal.as_deref().and_then(|normal| nearest(normal, joined))))
        }
        several => {
            let candidates = listed(several.iter().map(RoomName::words).collect());
            let typed = several.iter().take(NAMED_MAX).map(|r| format!("'{}'", r.marked()));
            Err(CommandError::AmbiguousRoom {
                room: spelled(wanted),
                candidates,
                typed: typed.collect(),
            })
        }
    }
}

/// What `join` is to do about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// It is open.
    Here {
        /// Its id.
        room: RoomId,
        /// Its name with `#`.
        name: String,
    },
    /// To be opened, or opened again, under this name.
    Name(String),
}

/// What is to be opened: by a name, which needs nobody to know it, or by the mark that one of
/// several rooms is shown with.
///
/// # Errors
/// [`CommandError::BadRoomName`], [`CommandError::RoomNameIsId`], [`CommandError::RoomNameLikeId`],
/// [`CommandError::RoomHasPassphrase`]; a mark that no room has, or several.
pub fn to_open<'a>(
    rooms: impl Iterator<Item = RoomName<'a>> + Clone,
    wanted: &str,
    with_passphrase: bool,
) -> Result<Opening, CommandError> {
    // No name has this sign in it.
    if wanted.contains('~') {
        let id = find_room(rooms.clone(), wanted)?;
        let Some(room) = rooms.clone().find(|r| r.room == id) else {
            return Err(CommandError::UnknownRoom { room: spelled(wanted), nearest: None });
        };
        return match room {
            _ if !room.left => Ok(Opening::Here { room: id, name: room.name.to_owned() }),
            _ if room.passphrase && !with_passphrase => {
                Err(CommandError::RoomHasPassphrase { room: room.name.to_owned() })
            }
            _ => normalise(room.name).map(Opening::Name),
        };
    }
    let name = normalise(wanted)?;
    let here = |r: &RoomName<'_>| r.name == name && !r.left && !r.passphrase;
    if !with_passphrase && let Some(room) = rooms.clone().find(here) {
        return Ok(Opening::Here { room: room.room, name });
    }
    let bare = name.trim_start_matches('#');
    if rooms.clone().any(|r| r.name == name) {
        return Ok(Opening::Name(name));
    }
    if let Some(room) = begun(rooms.clone(), bare) {
        let nearest = Some(format!("'{}'", room.marked()));
        return Err(CommandError::RoomNameLikeId { room: spelled(wanted), nearest });
    }
    if is_like_id(bare) {
        let ids: Vec<String> = rooms.map(|r| r.room.to_string()).collect();
        let nearest = nearest(bare, ids.iter().map(String::as_str)).map(str::to_owned);
        return Err(CommandError::RoomNameLikeId { room: spelled(wanted), nearest });
    }
    Ok(Opening::Name(name))
}

/// The room whose mark, or more of its id, somebody took for its name.
fn begun<'a>(mut rooms: impl Iterator<Item = RoomName<'a>>, bare: &str) -> Option<RoomName<'a>> {
    let bare = bare.to_lowercase();
    rooms.find(|r| bare.starts_with(&r.mark()) && r.room.to_string().starts_with(&bare))
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
