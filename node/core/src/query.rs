//! Everything a user can ask to read. Queries are answered by the shell from the store; they never
//! pass through the core.

use serde::{Deserialize, Serialize};

use crate::event::{Event, Message, Path};
use crate::ids::{DeviceId, EntryId, IdentityId, RoomId};
use crate::place::Place;

/// A wish to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "query", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Query {
    /// The rooms of this profile.
    Rooms,
    /// The devices seen in a room.
    Members {
        /// Where.
        room: Place,
    },
    /// Lines of a room in display order, oldest first.
    History {
        /// Where.
        room: Place,
        /// At most this many lines, the newest ones that match. Capped at 1,000.
        limit: u32,
        /// Only lines shown at or after this time, Unix milliseconds.
        #[serde(default)]
        since_ms: Option<u64>,
        /// Only lines displayed before this one (paging back).
        #[serde(default)]
        before: Option<EntryId>,
        /// Only lines displayed after this one, the oldest ones first (paging forward). Cannot be
        /// joined with the others.
        #[serde(default)]
        after: Option<EntryId>,
        /// Only lines that contain these words (the last one may be a prefix).
        #[serde(default)]
        search: Option<String>,
    },
    /// Lines of a room in arrival order after a journal number: how a follower misses nothing.
    Journal {
        /// Where; all rooms without it.
        #[serde(default)]
        room: Option<Place>,
        /// Journal number of the last line seen; 0 for all.
        after: u64,
        /// At most this many. Capped at 1,000.
        limit: u32,
    },
    /// One message.
    Message {
        /// Where.
        room: Place,
        /// Which.
        #[serde(rename = "message_id")]
        message: EntryId,
    },
    /// The people kept or met in conversations, with their conversations.
    Contacts,
    /// Everything about one person, verification codes included. Takes a moment: the codes are
    /// stretched.
    Person {
        /// Who.
        who: IdentityId,
    },
    /// What this node is doing.
    Status,
}

/// The answer to a [`Query`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Answer {
    /// To [`Query::Rooms`].
    Rooms(Vec<RoomSummary>),
    /// To [`Query::Members`].
    Members(Vec<Member>),
    /// To [`Query::History`] and [`Query::Journal`].
    Messages(Vec<Message>),
    /// To [`Query::Message`].
    Message(Box<Message>),
    /// To [`Query::Contacts`].
    Contacts(Vec<Contact>),
    /// To [`Query::Person`].
    Person(Box<Person>),
    /// To [`Query::Status`].
    Status(Box<Status>),
}

/// An event with its journal number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Numbered {
    /// Number in this profile's journal: a cursor.
    pub journal: u64,
    /// When it happened here, Unix milliseconds; 0 if that is not known any more.
    #[serde(default)]
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// A person, and the conversation with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Contact {
    /// The person.
    pub identity: IdentityId,
    /// Id of the conversation with them: taken wherever the id of a room is.
    #[serde(rename = "room_id")]
    pub room: RoomId,
    /// The name to show: the own name for them, else the one they give themselves.
    pub name: String,
    /// The name they give themselves, a claim.
    pub claimed: String,
    /// The own name for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub petname: Option<String>,
    /// First characters of the identity, to tell equal names apart.
    pub fingerprint: String,
    /// Set if somebody else goes by a name that looks the same and the user cannot be sure who this
    /// is: as much of the fingerprint as tells them apart, to be shown beside the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_mark: Option<String>,
    /// How they are kept.
    pub standing: Standing,
    /// Whether their keys were compared.
    pub verification: Verification,
    /// Connected now.
    pub online: bool,
    /// Messages stored.
    pub messages: u64,
    /// Messages that arrived after the last one read.
    pub unread: u64,
    /// When the newest message was shown or they were last heard, Unix milliseconds; 0 if never.
    pub last_ms: u64,
}

/// How a person is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Met in rooms only: nothing was written, nothing decided. Never at rest.
    Met,
    /// Wrote to us, and we have not decided yet.
    Requested,
    /// A contact: accepted, or we wrote first.
    Accepted,
    /// Nothing of them is taken.
    Blocked,
}

/// Whether the keys of a person were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verification {
    /// Not compared.
    Unverified,
    /// Compared and equal.
    Verified,
    /// Compared once, but other keys are in use since.
    Changed,
}

/// Everything about one person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Person {
    /// As in the list. Also made up for people met in rooms only.
    #[serde(flatten)]
    pub contact: Contact,
    /// Rooms in which both are, by name.
    pub rooms: Vec<String>,
    /// The devices known of them.
    pub devices: Vec<DeviceId>,
    /// 60 digits in groups of five, equal on both sides if nobody is in between.
    pub digits: String,
    /// 7 emoji with their names, from the same source.
    pub emoji: Vec<EmojiName>,
}

/// One of the 64 emoji of a verification code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EmojiName {
    /// The emoji.
    pub emoji: String,
    /// Its English name, for those who cannot see it.
    pub name: String,
}

/// One room in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RoomSummary {
    /// Its id.
    #[serde(rename = "room_id")]
    pub room: RoomId,
    /// Its name with `#`.
    pub name: String,
    /// Set if the name of another room here looks the same: the beginning of the id, to be shown
    /// beside the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_mark: Option<String>,
    /// `open`: anybody who knows the name can read. `passphrase`: who knows the passphrase, too.
    pub access: Access,
    /// Members (devices) ever seen here.
    pub members: u32,
    /// Members connected now, without this device.
    #[serde(rename = "others_online")]
    pub online: u32,
    /// Messages stored.
    pub messages: u64,
    /// Messages that arrived after the last one read.
    pub unread: u64,
    /// Own messages that nobody else has yet.
    #[serde(default)]
    pub queued: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bodies are no longer stored because the room reached its disk budget.
    pub over_budget: bool,
    /// Entries whose body rotted on this disk and is asked for.
    #[serde(default)]
    pub damaged: u64,
    /// Others have messages of this device that are not on this disk: it was restored from an old
    /// copy, or copied. It goes on receiving here, and cannot write any more.
    #[serde(default)]
    pub behind: bool,
    /// The room was left; its history is kept.
    pub left: bool,
    /// It was left just now: the goodbye is being said to who is connected.
    #[serde(default)]
    pub leaving: bool,
    /// Other members who have everything that this device wrote here; of a room that was left, the
    /// goodbye too.
    #[serde(default)]
    pub up_to_date: u32,
}

/// Who can read a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Anybody who knows the name.
    Open,
    /// Anybody who knows name and passphrase.
    Passphrase,
}

/// One device in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Member {
    /// The device.
    pub device: DeviceId,
    /// The person, once known.
    pub identity: Option<IdentityId>,
    /// Display name, a claim.
    pub name: String,
    /// First characters of the identity, to tell equal names apart.
    pub fingerprint: String,
    /// Set if the name alone does not tell who this is in the room, as for contacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_mark: Option<String>,
    /// Set if the name alone does not mean them where anybody may be named, since somebody in
    /// another room goes by it, too: `name~MARK` does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed_mark: Option<String>,
    /// Connected now.
    pub online: bool,
    /// This device.
    pub own: bool,
    /// When it was last heard, Unix milliseconds; 0 if never.
    pub last_seen_ms: u64,
    /// Hidden here.
    pub muted: bool,
    /// It wrote two entries in one place.
    pub forked: bool,
}

/// What a node is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Status {
    /// Program version.
    pub version: String,
    /// Own display name.
    pub name: String,
    /// Own identity.
    pub identity: IdentityId,
    /// Own device.
    pub device: DeviceId,
    /// Own transport peer id (libp2p text form).
    pub peer_id: String,
    /// Process id.
    pub pid: u32,
    /// What keeps this process alive, if it said so.
    #[serde(default)]
    pub host: Option<Host>,
    /// Seconds since start.
    pub uptime_s: u64,
    /// The local API's socket, if it is offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
    /// Addresses listened on.
    pub listening: Vec<String>,
    /// Over what other machines can connect; empty if the node is reached on this machine only.
    #[serde(default)]
    pub families: Vec<Family>,
    /// The node was asked to be reached on this machine only.
    #[serde(default)]
    pub loopback_only: bool,
    /// Connected peers.
    pub peers: Vec<PeerSummary>,
    /// Addresses that the user asked for, connected or not.
    #[serde(default)]
    pub wanted: Vec<WantedPeer>,
    /// How others are looked for.
    #[serde(default)]
    pub discovery: Option<Discovery>,
    /// How the clock here compares with others; nothing until somebody said hello.
    #[serde(default)]
    pub clock: Option<Clock>,
    /// Rooms.
    pub rooms: Vec<RoomSummary>,
    /// The newest journal number: following from here tells what is new.
    #[serde(default, rename = "cursor")]
    pub journal: u64,
    /// Tell others when their direct messages were read.
    #[serde(default)]
    pub receipts: bool,
    /// Tell others when one is writing to them.
    #[serde(default)]
    pub typing: bool,
    /// Own messages that nobody else has yet.
    pub queued: u64,
    /// The store refuses writes (disk full); history can be read.
    pub read_only: bool,
    /// Inputs refused since start, by reason.
    pub refused: std::collections::BTreeMap<String, u64>,
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// What a node lives in: it ends when that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Host {
    /// A process of its own, until it is told to stop.
    Background,
    /// A process of its own in somebody's terminal.
    Foreground,
    /// Another command, such as a chat.
    Command,
}

/// How others are looked for, and with what success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Discovery {
    /// Multicast DNS in the local network.
    pub mdns: Mdns,
    /// Peers that multicast has brought and that are not out of date.
    pub found: u32,
    /// Milliseconds since multicast last brought something new; nothing if it never did since the
    /// start.
    pub heard_ms_ago: Option<u64>,
    /// Peers known from the address book, the configuration or discovery that are not connected
    /// now.
    pub missing: u32,
}

/// State of multicast DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mdns {
    /// Switched off by an option.
    Off,
    /// Asking and listening.
    On,
    /// Wanted, but the system did not let us.
    Failed,
}

/// The clock here beside those of other members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Clock {
    /// Devices that told their time lately.
    pub devices: u32,
    /// Median of how far the clock here is ahead of theirs, milliseconds; negative if it is behind.
    pub ahead_ms: i64,
}

/// An address that the user asked for (`--peer`, `peer.add`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WantedPeer {
    /// The address.
    pub address: String,
    /// Whoever answers there is connected.
    pub connected: bool,
    /// Tries that failed since it was connected last, or since it was asked for.
    pub failures: u32,
    /// Why the last of them failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long ago that was, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_ms_ago: Option<u64>,
    /// When it is tried again, milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_in_ms: Option<u64>,
}

/// One connected peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PeerSummary {
    /// Its transport peer id.
    pub peer_id: String,
    /// Who it is, if signed presence said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityId>,
    /// Their display name, a claim: two peers may have the same.
    pub name: Option<String>,
    /// Set if the name alone does not tell who this is, as for contacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_mark: Option<String>,
    /// Address in use.
    pub address: String,
    /// What kind of way that is.
    pub path: Path,
    /// Last round trip, milliseconds.
    pub rtt_ms: Option<u32>,
    /// For how long it has not answered, milliseconds, if that is longer than usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdue_ms: Option<u32>,
}
