//! What is at rest: the changes of the store that a step asks for, its rows, and what is read back
//! at start.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::group::RoomRoot;
use crate::event::{Delivery, Event};
use crate::ids::{DeviceId, Digest, EntryHash, EntryId, IdentityId, RoomId};
use crate::log::entry::SealedEntry;
use crate::query::Standing;

/// One change of the store.
#[derive(Debug, Clone)]
pub enum Write {
    /// Insert or replace a room.
    Room(RoomRow),
    /// Append an entry; `(room, device, seq)` and the journal number are new.
    Append(EntryRow),
    /// Drop the body of an entry that was deleted, and those of its edits; the headers stay.
    DropBody {
        /// The room.
        room: RoomId,
        /// Which entry.
        entry: EntryId,
    },
    /// Keep the body of an entry that was here without one.
    Body {
        /// The room.
        room: RoomId,
        /// Which entry.
        entry: EntryId,
        /// The message that it changes.
        target: Option<EntryId>,
        /// Sealed, as received.
        body: Arc<[u8]>,
    },
    /// The body of an entry is not here, or of no use, for this reason.
    Lack {
        /// The room.
        room: RoomId,
        /// Which entry.
        entry: EntryId,
        /// Why.
        lack: Lack,
    },
    /// Insert or replace what is known of a device in a room.
    Device(DeviceRow),
    /// A device acknowledged this device's own chain up to `seq` (kept as the maximum).
    Acked {
        /// The room.
        room: RoomId,
        /// Who acknowledged.
        device: DeviceId,
        /// Last position it has.
        seq: u64,
    },
    /// Everything up to this journal number was read.
    ReadUpto {
        /// The room.
        room: RoomId,
        /// Journal number.
        journal: u64,
    },
    /// Proof that a device forked: the refused branch, as evidence beside the one in the log.
    Fork {
        /// The room.
        room: RoomId,
        /// Whose chain.
        device: DeviceId,
        /// Where.
        seq: u64,
        /// CBOR of the refused run's headers and signature, as received (PROTOCOL.md 5.5).
        proof: Vec<u8>,
    },
    /// A durable event other than a message; takes the journal number.
    Journal {
        /// The number.
        journal: u64,
        /// When it happened, Unix milliseconds.
        at_ms: u64,
        /// The event, without any text.
        event: Event,
    },
    /// The own display name.
    Name(String),
    /// Remove everything of a room: entries, bodies, words, members, events, its key.
    ForgetRoom {
        /// The room.
        room: RoomId,
        /// What must not be used again, if anybody else may have it.
        former: Option<Former>,
    },
    /// The own former entries of a room are here again.
    CameBack {
        /// The room.
        room: RoomId,
    },
    /// Remove everything of a conversation: messages, words, the person, events about them, the
    /// sessions with their devices and what waits for these.
    ForgetDirect {
        /// The conversation.
        room: RoomId,
        /// With whom.
        identity: IdentityId,
        /// Their devices.
        devices: Vec<DeviceId>,
    },
    /// Append a message, or a change of one, to a conversation; its journal number is new.
    Direct(DirectRow),
    /// Where an own direct message is now.
    DirectState {
        /// The conversation.
        room: RoomId,
        /// Which message.
        id: EntryId,
        /// Its state; `Queued` is not written again.
        state: Delivery,
    },
    /// Drop the content of a direct message (withdrawn by its author); the row stays.
    DropDirect {
        /// The conversation.
        room: RoomId,
        /// Which message.
        id: EntryId,
    },
    /// Insert or replace what is known of a person, `read_upto` included: conversations have no
    /// [`Write::ReadUpto`].
    Contact(ContactRow),
    /// Insert or replace the encrypted sessions with one device, as one opaque value.
    Ratchet {
        /// Whose device.
        device: DeviceId,
        /// From the core's own encoding. Secret.
        state: Zeroizing<Vec<u8>>,
    },
    /// Replace the own account of the session layer (identity and one-time keys). Secret.
    Account(Zeroizing<Vec<u8>>),
    /// Keep a sealed direct frame until it is acknowledged.
    Outbox(OutboxRow),
    /// It was acknowledged, or given up.
    OutboxDone {
        /// To which device.
        device: DeviceId,
        /// Its number there.
        seq: u64,
    },
    /// How long the node has run while direct messages waited, in milliseconds in all.
    Ran(u64),
    /// What direct messages tell the other side.
    Privacy {
        /// That they were read.
        receipts: bool,
        /// That one is writing.
        typing: bool,
    },
}

/// A direct message, or a change of one, at rest. Its content is plain here: the file is encrypted,
/// and the session keys that it came under are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectRow {
    /// Journal number: arrival order over everything in the profile.
    pub journal: u64,
    /// The conversation.
    pub room: RoomId,
    /// With whom.
    pub identity: IdentityId,
    /// 16 random bytes chosen by the author.
    pub id: EntryId,
    /// The writing device.
    pub device: DeviceId,
    /// Written here.
    pub own: bool,
    /// Position among what this side wrote in the conversation, from 0.
    pub seq: u64,
    /// Wire number of the content kind.
    pub kind: u8,
    /// Display order, first key: the author's clock, never below what it follows.
    pub eff: u64,
    /// Display order, second key.
    pub lamport: u64,
    /// The author's clock, Unix milliseconds.
    pub at_ms: u64,
    /// When it arrived here, Unix milliseconds.
    pub arrived_ms: u64,
    /// The time it shows here, Unix milliseconds ([`crate::times`]).
    pub shown_ms: u64,
    /// The message changed by an edit, delete or reaction.
    pub target: Option<EntryId>,
    /// Encoded [`crate::content::Content`]; `None` once withdrawn.
    pub content: Option<Vec<u8>>,
    /// Where an own message is.
    pub state: Option<Delivery>,
}

/// A person at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactRow {
    /// Who.
    pub identity: IdentityId,
    /// The conversation.
    pub room: RoomId,
    /// The name they give themselves.
    pub claimed: String,
    /// The own name for them.
    pub petname: Option<String>,
    /// How they are kept.
    pub standing: Standing,
    /// Digest of the keys that were compared, if they were.
    pub verified: Option<Digest>,
    /// Everything else the core remembers of them (devices, certificates, keys, peer hints), in its
    /// own encoding.
    pub keys: Vec<u8>,
    /// Everything up to this journal number was read.
    pub read_upto: u64,
    /// First met, Unix milliseconds.
    pub since_ms: u64,
}

/// A direct message waiting for its acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// To which device.
    pub device: DeviceId,
    /// Of which person.
    pub identity: IdentityId,
    /// Number among the frames to this device.
    pub seq: u64,
    /// The message it carries, if it is one (receipts are not kept).
    pub id: EntryId,
    /// When it was queued, Unix milliseconds.
    pub queued_ms: u64,
    /// In the core's own encoding: what is to be said, to seal it anew should the session be lost,
    /// and the sealed frame. Exactly that frame is sent again. Secret.
    pub frame: Vec<u8>,
    /// Whether there is a sealed frame: without a session, or beyond the window, there is none yet.
    pub sealed: bool,
}

/// What the core remembers of conversations across restarts.
#[derive(Debug, Default)]
pub struct DirectSnapshot {
    /// The own account, if there is one yet.
    pub account: Option<Zeroizing<Vec<u8>>>,
    /// Sessions by device.
    pub ratchets: Vec<(DeviceId, Zeroizing<Vec<u8>>)>,
    /// People.
    pub contacts: Vec<ContactRow>,
    /// Frames without an acknowledgement, by device and number.
    pub outbox: Vec<OutboxRow>,
    /// How long the node has run while direct messages waited, in milliseconds in all.
    pub ran_ms: u64,
    /// Of every conversation: index of what was said (no content), in journal order.
    pub index: Vec<DirectIndexRow>,
    /// Tell that messages were read.
    pub receipts: bool,
    /// Tell that one is writing.
    pub typing: bool,
}

/// What the core keeps of each direct message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectIndexRow {
    /// The conversation.
    pub room: RoomId,
    /// Which.
    pub id: EntryId,
    /// Journal number.
    pub journal: u64,
    /// Written here.
    pub own: bool,
    /// Position among what its side wrote.
    pub seq: u64,
    /// Wire number of the content kind.
    pub kind: u8,
    /// Display order, first key.
    pub eff: u64,
    /// Display order, second key.
    pub lamport: u64,
    /// Where an own message is.
    pub state: Option<Delivery>,
    /// Its words are gone: deleted by its author.
    pub deleted: bool,
}

/// A room at rest.
#[derive(Debug, Clone)]
pub struct RoomRow {
    /// Its id.
    pub room: RoomId,
    /// Normalised name with `#`.
    pub name: String,
    /// The stretched root: whoever has it can read the room.
    pub root: Arc<RoomRoot>,
    /// Whether a passphrase went into the root.
    pub passphrase: bool,
    /// When it was first joined, Unix milliseconds.
    pub joined_ms: u64,
    /// No longer followed; history is kept.
    pub left: bool,
    /// Bodies are no longer stored.
    pub over_budget: bool,
}

/// What is left of a room that was forgotten: how far this device had written there. Others may
/// hold that, and a place in a chain is used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Former {
    /// Entries that this device wrote.
    pub used: u64,
    /// As many of them were acknowledged by somebody.
    pub held: u64,
}

impl Former {
    /// This device had been restored from an old copy, or copied: others have more of it.
    pub const UNKNOWN: Self = Self { used: u64::MAX >> 1, held: u64::MAX >> 1 };
}

/// Why the body of an entry is not at rest here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// Its author deleted it: nobody is to have it.
    Deleted,
    /// The room has used up its space on this disk.
    NotKept,
    /// Whoever served the entry did not have it. It is asked for.
    NotGiven,
    /// It was here, and rotted. It is asked for.
    Damaged,
}

/// An entry at rest. Its bytes are kept as received.
#[derive(Debug, Clone)]
pub struct EntryRow {
    /// Journal number: arrival order over all rooms of the profile.
    pub journal: u64,
    /// The room.
    pub room: RoomId,
    /// Hash of the header.
    pub hash: EntryHash,
    /// The writing device.
    pub device: DeviceId,
    /// Position in its chain, from 0.
    pub seq: u64,
    /// Wire number of the content kind.
    pub kind: u8,
    /// Hybrid logical clock of the author.
    pub hlc: u64,
    /// Display order, first key: never below that of the entries it follows.
    pub eff: u64,
    /// Display order, second key.
    pub lamport: u64,
    /// When it arrived here, Unix milliseconds.
    pub arrived_ms: u64,
    /// The time it shows here, Unix milliseconds ([`crate::times`]).
    pub shown_ms: u64,
    /// The message changed by an edit, delete or reaction.
    pub target: Option<EntryId>,
    /// Header, signature and sealed body as received; the body is `None` where it is not stored.
    pub entry: SealedEntry,
    /// Why it is not.
    pub lack: Option<Lack>,
}

/// A device in a room at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRow {
    /// The room.
    pub room: RoomId,
    /// The device.
    pub device: DeviceId,
    /// The person who certified it.
    pub identity: Option<IdentityId>,
    /// Display name, a claim.
    pub name: String,
    /// When it was last heard, Unix milliseconds; 0 if never.
    pub last_seen_ms: u64,
    /// Own entries it acknowledged: number of them, 0 for none (so `seq + 1`).
    pub acked: u64,
    /// Hidden here.
    pub muted: bool,
    /// Where it forked.
    pub forked: Option<u64>,
}

/// Everything the core remembers across restarts.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The next journal number.
    pub journal_next: u64,
    /// The own display name.
    pub name: String,
    /// Rooms with their devices and an index of their entries.
    pub rooms: Vec<RoomSnapshot>,
    /// Rooms that were forgotten, until what this device wrote there has come back.
    pub former: Vec<(RoomId, Former)>,
    /// People and conversations.
    pub direct: DirectSnapshot,
}

/// One room across restarts.
#[derive(Debug)]
pub struct RoomSnapshot {
    /// The room.
    pub row: RoomRow,
    /// Devices seen in it.
    pub devices: Vec<DeviceRow>,
    /// Every entry, in journal order.
    pub entries: Vec<IndexRow>,
    /// Bytes stored.
    pub bytes: u64,
    /// Entries whose bodies are not here but could be, in journal order, with the reason; at most
    /// [`crate::limits::BODIES_WANTED_MAX`].
    pub lacking: Vec<(EntryId, Lack)>,
}

/// What the core keeps of each entry.
#[derive(Debug, Clone, Copy)]
pub struct IndexRow {
    /// Hash of the header.
    pub hash: EntryHash,
    /// The writing device.
    pub device: DeviceId,
    /// Position in its chain.
    pub seq: u64,
    /// Hybrid logical clock of the author.
    pub hlc: u64,
    /// Display order, first key.
    pub eff: u64,
    /// Display order, second key.
    pub lamport: u64,
    /// The time it shows here, Unix milliseconds.
    pub shown_ms: u64,
    /// Wire number of the content kind.
    pub kind: u8,
    /// Ends a run.
    pub signed: bool,
}
