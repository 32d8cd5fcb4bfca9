//! Everything a user can be told. Events are a hint, the store is the truth: who misses one
//! re-reads.

use serde::{Deserialize, Serialize};

use crate::content::Kind;
use crate::ids::{DeviceId, EntryId, IdentityId, RoomId};
use crate::rows::Lack;

/// An event on its way to subscribers, with its number in the profile's journal if it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Number in the profile's journal: a cursor. `None` for what is not kept.
    pub journal: Option<u64>,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

impl From<Event> for Told {
    /// Messages bring their number, a catch-up that of its newest; everything else is ephemeral.
    fn from(event: Event) -> Self {
        let journal = match &event {
            Event::MessageAdded { message } => Some(message.journal),
            Event::HistoryAdded { upto, .. } => Some(*upto),
            _ => None,
        };
        Self { journal, event }
    }
}

/// Something that happened, told after it is on disk.
///
/// At rest `event` names the variant. The API leaves it out and tells the type beside the event
/// instead, where a message that changes another has one of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event")]
#[non_exhaustive]
pub enum Event {
    /// A room was opened.
    #[serde(rename = "room.joined", alias = "room_joined")]
    RoomJoined {
        /// The room.
        #[serde(rename = "room_id", alias = "room")]
        room: RoomId,
        /// Its name with `#`.
        name: String,
    },
    /// A room was left.
    #[serde(rename = "room.left", alias = "room_left")]
    RoomLeft {
        /// The room.
        #[serde(rename = "room_id", alias = "room")]
        room: RoomId,
    },
    /// A line was added to a room, or an existing one changed (edit, delete, reaction).
    #[serde(rename = "message.added", alias = "message_added")]
    MessageAdded {
        /// The line as it is shown; for a change, the content of the change with `target` set.
        message: Box<Message>,
    },
    /// Many messages arrived by catch-up; re-read the room.
    #[serde(rename = "history.added", alias = "history_added")]
    HistoryAdded {
        /// The room.
        #[serde(rename = "room_id", alias = "room")]
        room: RoomId,
        /// How many.
        count: u64,
        /// Journal number of the newest: a cursor.
        #[serde(rename = "cursor", alias = "upto")]
        upto: u64,
    },
    /// Own messages up to `upto_seq` may have a new delivery state; re-read them.
    #[serde(rename = "delivery.changed", alias = "delivery_changed")]
    DeliveryChanged {
        /// The room, or the conversation.
        #[serde(rename = "room_id", alias = "room")]
        room: RoomId,
        /// `room` is a conversation with one person.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        direct: bool,
        /// Position in the own chain.
        upto_seq: u64,
        /// State of the message at `upto_seq`.
        #[serde(flatten)]
        state: Delivery,
    },
    /// Somebody came or went (ephemeral).
    #[serde(rename = "presence.changed", alias = "presence_changed")]
    PresenceChanged {
        /// The room.
        #[serde(rename = "room_id", alias = "room")]
        room: RoomId,
        /// Who.
        device: DeviceId,
        /// Display name.
        name: String,
        /// As in messages.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name_mark: Option<String>,
        /// Came or went.
        online: bool,
    },
    /// A room caught up with a peer: nothing is missing that this peer has (ephemeral).
    #[serde(rename = "room.synced", alias = "synced")]
    Synced {
        /// The room.
        #[serde(rename = "room_id", alias = "room")]
        room: RoomId,
    },
    /// A device wrote two different entries in one place; both are kept as proof.
    #[serde(rename = "room.forked", alias = "fork_found")]
    ForkFound {
        /// The room.
        #[serde(rename = "room_id", alias = "room")]
        room: RoomId,
        /// Whose chain.
        device: DeviceId,
        /// Where.
        seq: u64,
    },
    /// The room reached its disk budget: later texts are not stored here.
    #[serde(rename = "room.full", alias = "disk_budget_reached")]
    DiskBudgetReached {
        /// The room.
        #[serde(rename = "room_id", alias = "room")]
        room: RoomId,
    },
    /// A room, or a conversation, was forgotten: nothing of it is here any more, not even its name.
    #[serde(rename = "room.forgotten")]
    Forgotten {
        /// The room, or the conversation.
        #[serde(rename = "room_id")]
        room: RoomId,
        /// `room` was a conversation with one person.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        direct: bool,
    },
    /// Something that a newer version of the program wrote into the journal, and this one does not
    /// know.
    #[serde(rename = "event.newer")]
    Newer {
        /// What it is called there.
        what: String,
    },
    /// Bodies came that were lacking: lines that had no text have one now.
    #[serde(rename = "history.filled")]
    BodiesAdded {
        /// The room.
        #[serde(rename = "room_id")]
        room: RoomId,
        /// How many.
        count: u64,
    },
    /// Something about a person changed: a request, an answer to one, a name, a verification.
    #[serde(rename = "contact.changed", alias = "contact_changed")]
    ContactChanged {
        /// Who.
        identity: IdentityId,
        /// The conversation with them.
        #[serde(rename = "room_id", alias = "room")]
        room: RoomId,
        /// The name they are shown under.
        name: String,
        /// As in messages.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name_mark: Option<String>,
        /// What.
        news: ContactNews,
    },
    /// Somebody is writing to us, or has stopped (ephemeral).
    #[serde(rename = "typing.changed", alias = "typing")]
    Typing {
        /// The conversation.
        #[serde(rename = "room_id", alias = "room")]
        room: RoomId,
        /// The name they are shown under.
        name: String,
        /// As in messages.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name_mark: Option<String>,
        /// Writing or not.
        typing: bool,
    },
    /// A link to a peer is there (ephemeral).
    #[serde(rename = "peer.connected", alias = "peer_connected")]
    PeerConnected {
        /// Its transport peer id.
        peer_id: String,
        /// Its address.
        address: String,
        /// What kind of way that is.
        path: Path,
    },
    /// The last link to a peer is gone (ephemeral).
    #[serde(rename = "peer.disconnected", alias = "peer_disconnected")]
    PeerDisconnected {
        /// Its transport peer id.
        peer_id: String,
    },
    /// A subscriber was too slow; `missed` events that are not kept were not delivered to it:
    /// re-read what they are about.
    #[serde(rename = "event.dropped", alias = "lagged")]
    Lagged {
        /// How many.
        missed: u64,
    },
    /// Durable events cannot be told to a subscriber, because its cursor leads to nowhere. Told to
    /// that subscriber only.
    #[serde(rename = "event.gap", alias = "gap")]
    Gap {
        /// The first number that is missing.
        from: u64,
        /// The last one.
        to: u64,
        /// Why.
        reason: GapReason,
    },
}

/// Why durable events cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GapReason {
    /// They are no longer kept.
    Retention,
    /// The cursor is newer than everything here: it belongs to another profile, or this one was
    /// restored from a backup.
    Ahead,
}

/// What changed about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ContactNews {
    /// A stranger wrote for the first time: accept, or block.
    Requested,
    /// Kept as a contact from now on.
    Accepted,
    /// Nothing of them is taken any more.
    Blocked,
    /// Taken again.
    Unblocked,
    /// Shown under another name.
    Renamed,
    /// The verification codes were compared.
    Verified,
    /// No longer counted as verified, by the user's wish.
    Unverified,
    /// A verified person writes with keys that were not compared: compare again before trusting.
    KeysChanged,
    /// Somebody else, with other keys, uses the name of a verified person.
    Impersonated,
    /// The encrypted session was lost and made anew; messages in between may be missing and are
    /// sent again.
    SessionReset,
}

/// What kind of way leads to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Path {
    /// On this machine.
    Loopback,
    /// In the same network.
    Lan,
    /// Across the internet, directly.
    Direct,
    /// Through a relay (told by no version yet).
    Relay,
}

/// A line of a room, or of a conversation with one person, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Message {
    /// Names the message in its room.
    #[serde(rename = "message_id")]
    pub id: EntryId,
    /// The room, or the conversation ([`crate::ids::RoomId::of_conversation`]).
    #[serde(rename = "room_id")]
    pub room: RoomId,
    /// A direct message: `room` is a conversation with one person.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub direct: bool,
    /// Number in this profile's journal: arrival order, a cursor.
    #[serde(rename = "cursor")]
    pub journal: u64,
    /// The writing device.
    pub device: DeviceId,
    /// The person who certified that device, once known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityId>,
    /// Display name of the author at present.
    pub name: String,
    /// Set if somebody else goes by a name that looks the same and the user cannot be sure who this
    /// is: as much of the fingerprint as tells them apart, to be shown beside the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_mark: Option<String>,
    /// In a profile (`text` is the name in it): the name before. The same name again is somebody
    /// who has come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_name: Option<String>,
    /// Position in the author's chain.
    pub seq: u64,
    /// What it is.
    pub kind: Kind,
    /// The text; empty for kinds without one, for deleted messages and for bodies that are not
    /// stored here.
    pub text: String,
    /// The message answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<EntryId>,
    /// The message changed, for edits, deletes and reactions in events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<EntryId>,
    /// Shown time, Unix milliseconds: the author's clock, clamped to 60 s after arrival.
    pub at_ms: u64,
    /// When it arrived here, Unix milliseconds.
    pub arrived_ms: u64,
    /// Written by this device.
    pub own: bool,
    /// Where an own message is.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub state: Option<Delivery>,
    /// Its text was replaced by its author.
    #[serde(default)]
    pub edited: bool,
    /// Its author withdrew it.
    #[serde(default)]
    pub deleted: bool,
    /// The body is not stored here.
    #[serde(default)]
    pub missing: bool,
    /// Why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lack: Option<Lack>,
    /// Emoji and who put them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<Reactions>,
}

/// One emoji on a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reactions {
    /// The emoji.
    pub emoji: String,
    /// Who put it.
    pub devices: Vec<DeviceId>,
}

/// Where an own message is (PROTOCOL.md 9). Never optimistic: each state is something that was
/// observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Delivery {
    /// On this disk only.
    Queued,
    /// On a link to at least one member; back to `queued` if that link ends before it is
    /// acknowledged.
    Sent,
    /// A relay keeps it for members who are away (told by no version yet).
    Relayed,
    /// `n` of `m` devices said, signed, that it is on their disk.
    Delivered {
        /// Devices that acknowledged.
        #[serde(rename = "delivered_to")]
        n: u32,
        /// Devices expected: in an open room, those present within 7 days.
        #[serde(rename = "delivered_of")]
        m: u32,
    },
    /// The other person said that they read it (direct messages, if both sides allow it).
    Read,
    /// Not delivered within 30 days, or refused for good; it can be sent again.
    Failed,
}
