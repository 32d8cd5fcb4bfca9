//! Finding the message that a word names.

use klatch_core::event::Message;
use klatch_core::ids::RoomId;

use super::Here;
use crate::error::{Report, exit};
use crate::output::visible;

/// The recent message that a word names: `^`, `^2`, ... counts back over the own ones or those of
/// others that were not deleted; otherwise the first characters of an id. `recent` is oldest first and may hold messages
/// of other places.
pub fn named<'a>(
    recent: &'a [Message],
    word: &str,
    room: RoomId,
    own: bool,
) -> Option<&'a Message> {
    let mut here = recent.iter().rev().filter(|m| m.room == room);
    if let Some(back) = word.strip_prefix('^') {
        let back: usize = if back.is_empty() { 1 } else { back.parse().ok()? };
        return here.filter(|m| m.own == own && !m.deleted).nth(back.checked_sub(1)?);
    }
    /// Shorter prefixes would often be words.
    const PREFIX_CHARS_MIN: usize = 6;
    let word = word.to_lowercase();
    if word.len() < PREFIX_CHARS_MIN {
        return None;
    }
    let first = here.find(|m| m.id.to_string().starts_with(&word))?;
    here.all(|m| m.id == first.id || !m.id.to_string().starts_with(&word)).then_some(first)
}

/// The same, or an error that says how messages are named.
pub(super) fn message<'a>(
    recent: &'a [Message],
    word: &str,
    here: &Here,
    own: bool,
) -> Result<&'a Message, Report> {
    let found = named(recent, word, here.room, own).ok_or_else(|| unknown(word))?;
    if found.deleted { Err(deleted()) } else { Ok(found) }
}

/// Nothing can be done to what is no more.
pub(super) fn deleted() -> Report {
    let hint = "say something new, or name another message";
    Report::new("KLATCH-MESSAGE-DELETED", "that message was deleted", hint, exit::USAGE)
}

/// That word names nothing.
pub(super) fn unknown(word: &str) -> Report {
    Report::new(
        "KLATCH-MESSAGE-NOT-FOUND",
        format!("`{}` names no message shown here", visible(word)),
        "^ is the newest, ^2 the one before; /history shows ids",
        exit::NOT_FOUND,
    )
}

#[cfg(test)]
mod tests {
    use klatch_core::content::Kind;
    use klatch_core::ids::{DeviceId, EntryId};

    use super::*;

    fn message(n: u8, own: bool) -> Message {
        Message {
            id: EntryId([n; 16]),
            room: RoomId([0; 16]),
            direct: false,
            journal: u64::from(n),
            device: DeviceId([7; 32]),
            identity: None,
            name: "bob".to_owned(),
            name_mark: None,
            former_name: None,
            seq: 3,
            kind: Kind::Text,
            text: "x".to_owned(),
            reply_to: None,
            target: None,
            at_ms: 0,
            arrived_ms: 0,
            own,
            state: None,
            edited: false,
            deleted: false,
            missing: false,
            lack: None,
            reactions: Vec::new(),
        }
    }

    #[test]
    fn references_count_back_or_name_an_id() {
        let mut recent: Vec<Message> = (1..=3).map(|n| message(n, false)).collect();
        recent.push(message(4, true));
        let room = RoomId([0; 16]);
        recent.push(Message { deleted: true, ..message(5, true) });
        recent.push(Message { deleted: true, ..message(6, false) });
        assert_eq!(named(&recent, "^", room, false).unwrap().id, EntryId([3; 16]));
        assert_eq!(named(&recent, "^3", room, false).unwrap().id, EntryId([1; 16]));
        assert_eq!(named(&recent, "^", room, true).unwrap().id, EntryId([4; 16]));
        assert!(
            named(&recent, "^9", room, false).is_none()
                && named(&recent, "^0", room, false).is_none()
        );
        let id = EntryId([2; 16]).to_string();
        assert_eq!(named(&recent, &id[..6], room, false).unwrap().id, EntryId([2; 16]));
        assert!(named(&recent, "hello", room, false).is_none());
    }
}
