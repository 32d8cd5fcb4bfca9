//! Everything a user can ask to change. The API, the command line, the screen and the bots use
//! these very types.

use serde::{Deserialize, Serialize};

use crate::ids::{DeviceId, EntryId, IdentityId, RoomId};
use crate::place::Place;

/// A wish of the local user. Names were resolved where they came in ([`crate::place`]): here are
/// ids only. Where a command takes a `room`, messages take a conversation with one person as well.
/// One reply follows each command, once its effects are on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Command {
    /// Open a room by name; with a passphrase, the room that name and passphrase make together.
    JoinRoom {
        /// With or without the leading `#`.
        room: String,
        /// Without it the room is open: anybody who knows the name can read it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        passphrase: Option<Passphrase>,
    },
    /// Say goodbye and stop following a room. History stays on disk.
    LeaveRoom {
        /// Where.
        room: Place,
    },
    /// Forget a room: say goodbye, if it was not left before, and keep nothing of it.
    ForgetRoom {
        /// Where.
        room: Place,
    },
    /// Say something.
    SendMessage {
        /// Where.
        room: Place,
        /// 1 to 64,000 bytes of UTF-8.
        text: String,
        /// The message answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<EntryId>,
    },
    /// Announce something, shown apart from conversation.
    SendNotice {
        /// Where.
        room: Place,
        /// As in `SendMessage`.
        text: String,
    },
    /// Replace the text of an own message.
    EditMessage {
        /// Where.
        room: Place,
        /// The message to change.
        #[serde(rename = "message_id")]
        message: EntryId,
        /// Its new text.
        text: String,
    },
    /// Withdraw an own message: honest nodes drop its text.
    DeleteMessage {
        /// Where.
        room: Place,
        /// The message to withdraw.
        #[serde(rename = "message_id")]
        message: EntryId,
    },
    /// Put an emoji on a message, or take it off.
    React {
        /// Where.
        room: Place,
        /// The message.
        #[serde(rename = "message_id")]
        message: EntryId,
        /// One emoji, or its short name such as `:heart:`.
        emoji: String,
        /// Put on or taken off.
        on: bool,
    },
    /// Change the own display name, in every joined room.
    SetName {
        /// 1 to 64 bytes without control or direction characters.
        name: String,
    },
    /// Hide, or show again, what a device writes in a room; local only.
    MuteDevice {
        /// Where.
        room: Place,
        /// Whom.
        device: DeviceId,
        /// Hide or show.
        muted: bool,
    },
    /// Remember that everything up to here was read.
    MarkRead {
        /// Where.
        room: Place,
        /// Journal number of the last message read.
        upto: u64,
    },
    /// Keep a person as a contact: takes in their requests, and gives them a name of one's own
    /// choice.
    AcceptContact {
        /// The person.
        who: IdentityId,
        /// The own name for them; `None` leaves it as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        petname: Option<String>,
    },
    /// Take nothing from a person any more, or take it again. Declining a request is blocking its
    /// sender. Who is taken again without having been answered, named or verified is a stranger who
    /// waits for an answer, or is not kept at all.
    BlockContact {
        /// As in `AcceptContact`.
        who: IdentityId,
        /// Block or unblock.
        blocked: bool,
    },
    /// Forget a person: the conversation, its keys and what waits for them. Who is blocked stays
    /// blocked; anybody else can write again, as a stranger.
    ForgetContact {
        /// As in `AcceptContact`.
        who: IdentityId,
    },
    /// The own name for a person.
    RenameContact {
        /// As in `AcceptContact`.
        who: IdentityId,
        /// `None` goes back to the name they give themselves.
        petname: Option<String>,
    },
    /// The verification codes were compared and are equal on both screens, or this is taken back.
    VerifyContact {
        /// As in `AcceptContact`.
        who: IdentityId,
        /// Compared and equal.
        verified: bool,
    },
    /// The user is writing, or has stopped. Told to the other side only if [`Command::SetPrivacy`]
    /// allows it.
    Typing {
        /// A conversation with one person.
        room: Place,
        /// Writing or not.
        typing: bool,
    },
    /// What direct messages tell the other side. Both are off at first.
    SetPrivacy {
        /// Tell when messages were read; `None` leaves it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        receipts: Option<bool>,
        /// Tell when one is writing; `None` leaves it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        typing: Option<bool>,
    },
}

impl Command {
    /// The room or person it is about; `None` for commands about all rooms, and for joining.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::LeaveRoom { room }
            | Self::ForgetRoom { room }
            | Self::SendMessage { room, .. }
            | Self::SendNotice { room, .. }
            | Self::EditMessage { room, .. }
            | Self::DeleteMessage { room, .. }
            | Self::React { room, .. }
            | Self::MuteDevice { room, .. }
            | Self::Typing { room, .. }
            | Self::MarkRead { room, .. } => Some(*room),
            Self::AcceptContact { who, .. }
            | Self::BlockContact { who, .. }
            | Self::ForgetContact { who }
            | Self::RenameContact { who, .. }
            | Self::VerifyContact { who, .. } => Some(Place::With(*who)),
            Self::JoinRoom { .. } | Self::SetName { .. } | Self::SetPrivacy { .. } => None,
        }
    }

    /// Bytes of text in it.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        match self {
            Self::SendMessage { text, .. }
            | Self::SendNotice { text, .. }
            | Self::EditMessage { text, .. } => text.len(),
            _ => 0,
        }
    }
}

/// A passphrase on its way to Argon2id: never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Passphrase(pub String);

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

impl Drop for Passphrase {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// What a command came to.
///
/// In JSON each kind is known by its fields, and there is no word for it: a message
/// has a `message_id`, a room a `name`, a person an `identity`, and the rest says `done`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Fields", into = "Fields")]
#[non_exhaustive]
pub enum Reply {
    /// It is done and on disk.
    Done,
    /// The room is open.
    Joined {
        /// Its id.
        room: RoomId,
        /// Its name after normalisation, with `#`.
        name: String,
        /// Whether it was open already.
        already: bool,
    },
    /// The message is on disk and will reach everybody.
    Stored {
        /// Its id.
        message: EntryId,
        /// The room.
        room: RoomId,
        /// Position in the own chain: delivery states refer to it.
        seq: u64,
        /// Journal number of the message.
        journal: u64,
    },
    /// The person is now kept like this.
    Contact {
        /// Who.
        identity: IdentityId,
        /// The conversation with them.
        room: RoomId,
    },
}

/// A [`Reply`] in JSON. The other names are those of the first versions, under which answers to
/// idempotency keys may still be kept.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
enum Fields {
    /// A message is on disk and will reach everybody.
    Stored {
        /// Its id.
        #[serde(alias = "message")]
        message_id: EntryId,
        /// The room, or the conversation.
        #[serde(alias = "room")]
        room_id: RoomId,
        /// Position in the own chain: delivery states refer to it.
        seq: u64,
        /// Number in this profile's journal.
        #[serde(alias = "journal")]
        cursor: u64,
    },
    /// A room is open.
    Joined {
        /// Its id.
        #[serde(alias = "room")]
        room_id: RoomId,
        /// Its name after normalisation, with `#`.
        name: String,
        /// Whether it was open already.
        already: bool,
    },
    /// A person is now kept like this.
    Contact {
        /// Who.
        identity: IdentityId,
        /// The conversation with them.
        #[serde(alias = "room")]
        room_id: RoomId,
    },
    /// It is done and on disk.
    Done {
        /// Always true: what could not be done is an error.
        #[serde(default = "yes")]
        done: bool,
    },
}

fn yes() -> bool {
    true
}

impl From<Reply> for Fields {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Done => Self::Done { done: true },
            Reply::Joined { room, name, already } => Self::Joined { room_id: room, name, already },
            Reply::Stored { message, room, seq, journal } => {
                Self::Stored { message_id: message, room_id: room, seq, cursor: journal }
            }
            Reply::Contact { identity, room } => Self::Contact { identity, room_id: room },
        }
    }
}

impl From<Fields> for Reply {
    fn from(fields: Fields) -> Self {
        match fields {
            Fields::Done { .. } => Self::Done,
            Fields::Joined { room_id, name, already } => {
                Self::Joined { room: room_id, name, already }
            }
            Fields::Stored { message_id, room_id, seq, cursor } => {
                Self::Stored { message: message_id, room: room_id, seq, journal: cursor }
            }
            Fields::Contact { identity, room_id } => Self::Contact { identity, room: room_id },
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Reply {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Reply".into()
    }

    fn json_schema(types: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Fields::json_schema(types)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reply_is_known_by_its_fields() {
        let (room, message) = (RoomId([1; 16]), EntryId([2; 16]));
        let name = "#g".to_owned();
        for reply in [
            Reply::Done,
            Reply::Joined { room, name, already: true },
            Reply::Stored { message, room, seq: 3, journal: 4 },
            Reply::Contact { identity: IdentityId([5; 32]), room },
        ] {
            let value = serde_json::to_value(&reply).unwrap();
            assert!(value.get("reply").is_none(), "{value}");
            assert_eq!(serde_json::from_value::<Reply>(value).unwrap(), reply);
        }
    }

    #[test]
    fn a_reply_kept_by_the_first_versions_is_still_read() {
        let (room, message) = (RoomId([1; 16]), EntryId([2; 16]));
        let kept = json!({"reply": "stored", "message": message, "room": room, "seq": 3,
            "journal": 4});
        let read: Reply = serde_json::from_value(kept).unwrap();
        assert_eq!(read, Reply::Stored { message, room, seq: 3, journal: 4 });
    }
}
