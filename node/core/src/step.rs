//! What goes into the core ([`Input`]) and what comes out of it ([`Step`]).
//!
//! A [`Step`] is one owned value, so its effects cannot be drained by half. The driver applies a batch of them in this
//! order and no other: commit every write in one transaction; then topics, publishes, sends, directs, serves and verdicts; then
//! replies and events (docs/ARCHITECTURE.md, "One direction").

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::command::{Command, Reply};
use crate::crypto::group::{RoomKeys, RoomRoot};
use crate::delivery::VerifiedAck;
use crate::direct::frame::{VerifiedAnswer, VerifiedFrame};
use crate::error::{CommandError, Reject};
use crate::event::{Delivery, Event, Told};
use crate::ids::{DeviceId, Digest, EntryHash, EntryId, IdentityId, Peer, RoomId, TopicId};
use crate::log::entry::{SealedEntry, VerifiedRun};
use crate::presence::VerifiedPresence;
use crate::query::Standing;
use crate::sync::SyncRequest;
use crate::wire::Frontier;

/// Correlates a command with its reply. Chosen by the shell, unique while in flight.
pub type CommandId = u64;
/// Correlates an outgoing request with its response. Chosen by the core.
pub type RequestId = u64;
/// Names an incoming request that wants one response. Chosen by the shell.
pub type Token = u64;

/// Everything that can happen to a node. Values that come from the network have been decoded and verified before
/// (`Verified...` types cannot be made otherwise).
#[derive(Debug)]
pub enum Input {
    /// The user wants something.
    Command {
        /// Repeated in the reply.
        id: CommandId,
        /// What.
        command: Command,
    },
    /// The user joins a room whose root has been stretched (Argon2id takes too long for the loop).
    Join {
        /// Repeated in the reply.
        id: CommandId,
        /// Normalised name with `#`.
        name: String,
        /// From [`crate::crypto::group::stretch`].
        root: Arc<RoomRoot>,
        /// Whether a passphrase went into the root.
        passphrase: bool,
    },
    /// A transport link to a peer exists (several connections to one peer count as one).
    LinkUp {
        /// Who.
        peer: Peer,
    },
    /// The last connection to a peer is gone.
    LinkDown {
        /// Who.
        peer: Peer,
    },
    /// A linked peer follows one of our topics.
    PeerSubscribed {
        /// Who.
        peer: Peer,
        /// Which topic.
        topic: TopicId,
    },
    /// A linked peer no longer follows it.
    PeerUnsubscribed {
        /// Who.
        peer: Peer,
        /// Which topic.
        topic: TopicId,
    },
    /// The queue to a peer overflowed: something was not delivered to it.
    PeerSlow {
        /// Who.
        peer: Peer,
    },
    /// A verified run came by gossip.
    Gossip {
        /// Who handed it to us (not its author).
        peer: Peer,
        /// For the verdict.
        message: GossipId,
        /// The room.
        room: RoomId,
        /// What.
        run: VerifiedRun,
    },
    /// A verified beacon came by gossip.
    Beacon {
        /// Who handed it to us.
        peer: Peer,
        /// For the verdict.
        message: GossipId,
        /// What.
        ack: VerifiedAck,
    },
    /// A verified acknowledgement came point to point.
    Ack {
        /// Who sent it.
        peer: Peer,
        /// What.
        ack: VerifiedAck,
    },
    /// Verified presence came, by gossip (`message` set) or point to point.
    Presence {
        /// Who handed it to us.
        peer: Peer,
        /// For the verdict, if it came by gossip.
        message: Option<GossipId>,
        /// What.
        presence: VerifiedPresence,
    },
    /// A peer proved membership and asks for what it lacks.
    SyncAsked {
        /// Who.
        peer: Peer,
        /// For the answer.
        token: Token,
        /// What it has.
        request: SyncRequest,
    },
    /// One page answers our request.
    SyncPage {
        /// Who.
        peer: Peer,
        /// Our request.
        request: RequestId,
        /// The room.
        room: RoomId,
        /// Verified runs in the order sent; runs that failed verification are left out.
        runs: Vec<VerifiedRun>,
        /// What the peer has.
        frontier: Frontier,
        /// The peer has more for us.
        more: bool,
        /// Something in the page was refused.
        fault: Option<Reject>,
    },
    /// A direct frame came from a linked peer and wants one answer.
    DirectAsked {
        /// Who.
        peer: Peer,
        /// For the answer.
        token: Token,
        /// What, decoded; signatures in it are checked, nothing is decrypted.
        frame: VerifiedFrame,
    },
    /// The answer to a direct frame of ours.
    DirectAnswered {
        /// Who.
        peer: Peer,
        /// Our request.
        request: RequestId,
        /// What, decoded; signatures in it are checked.
        answer: VerifiedAnswer,
    },
    /// A request of ours failed: no answer, refused, or the link ended. Direct frames end here as well.
    RequestFailed {
        /// Who.
        peer: Peer,
        /// Our request.
        request: RequestId,
    },
    /// Time passed ([`Step::wake`]).
    Tick,
    /// The batch ends: own entries made in it become one run and are signed.
    BatchEnd,
}

/// A gossip message as the gossip layer names it, for the verdict.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GossipId(pub Vec<u8>);

/// What the gossip layer does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Valid: forward it.
    Accept,
    /// Not forwarded, no blame.
    Ignore,
    /// Invalid: not forwarded, the sender is blamed.
    Reject,
}

/// Everything that follows from an input. Persist, then send, then tell.
#[derive(Debug, Default)]
#[must_use = "a step that is dropped loses data: commit, then send, then tell"]
pub struct Step {
    /// One transaction.
    pub writes: Vec<Write>,
    /// Topics to follow or to leave, before the publishes.
    pub topics: Vec<TopicChange>,
    /// Sealed envelopes for the gossip layer.
    pub publishes: Vec<Publish>,
    /// Requests to peers.
    pub sends: Vec<Send>,
    /// Direct frames to peers.
    pub directs: Vec<DirectSend>,
    /// Ranges to read from the store and send as an answer.
    pub serves: Vec<Serve>,
    /// Short answers that need no store.
    pub responds: Vec<(Token, Vec<u8>)>,
    /// What to do with gossip messages.
    pub verdicts: Vec<(Peer, GossipId, Verdict)>,
    /// Peers that broke a rule, and which.
    pub penalties: Vec<(Peer, Reject)>,
    /// New views of rooms for the workers that open and verify, and for status queries.
    pub views: Vec<RoomView>,
    /// What queries may know of people and conversations, if it changed.
    pub people: Option<PeopleView>,
    /// Answers to commands.
    pub replies: Vec<(CommandId, Result<Reply, CommandError>)>,
    /// What to tell the user.
    pub events: Vec<Told>,
    /// When the core wants a [`Input::Tick`] at the latest, Unix milliseconds.
    pub wake: Option<u64>,
}

impl Step {
    /// Appends the effects of a later step; the earlier wake-up is kept.
    pub fn absorb(&mut self, mut later: Self) {
        self.writes.append(&mut later.writes);
        self.topics.append(&mut later.topics);
        self.publishes.append(&mut later.publishes);
        self.sends.append(&mut later.sends);
        self.directs.append(&mut later.directs);
        self.serves.append(&mut later.serves);
        self.responds.append(&mut later.responds);
        self.verdicts.append(&mut later.verdicts);
        self.penalties.append(&mut later.penalties);
        self.views.append(&mut later.views);
        self.people = later.people.or(self.people.take());
        self.replies.append(&mut later.replies);
        self.events.append(&mut later.events);
        self.wake = match (self.wake, later.wake) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

/// One change of the store.
#[derive(Debug, Clone)]
pub enum Write {
    /// Insert or replace a room.
    Room(RoomRow),
    /// Append an entry; `(room, device, seq)` and the journal number are new.
    Append(EntryRow),
    /// Drop the body of an entry (delete, retention); the header stays.
    DropBody {
        /// The room.
        room: RoomId,
        /// Which entry.
        entry: EntryId,
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
    /// Insert or replace what is known of a person, `read_upto` included: conversations have no [`Write::ReadUpto`].
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
    /// What direct messages tell the other side.
    Privacy {
        /// That they were read.
        receipts: bool,
        /// That one is writing.
        typing: bool,
    },
}

/// A direct message, or a change of one, at rest. Its content is plain here: the file is encrypted, and the session keys
/// that it came under are gone.
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
    /// Everything else the core remembers of them (devices, certificates, keys, peer hints), in its own encoding.
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
    /// In the core's own encoding: what is to be said, to seal it anew should the session be lost, and the sealed frame.
    /// Exactly that frame is sent again. Secret.
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
}

/// One direct frame to a peer.
#[derive(Debug, Clone)]
pub struct DirectSend {
    /// To whom.
    pub peer: Peer,
    /// Correlates the answer; [`Input::DirectAnswered`] or [`Input::RequestFailed`] names it.
    pub request: RequestId,
    /// Encoded frame (PROTOCOL.md, direct messages).
    pub bytes: Vec<u8>,
}

/// What queries may know of people. Read-only, replaced as a whole.
#[derive(Debug, Clone, Default)]
pub struct PeopleView {
    /// People with a linked device.
    pub online: BTreeSet<IdentityId>,
    /// Contacts that were verified, but use other keys since.
    pub changed: BTreeSet<IdentityId>,
    /// Devices known by person.
    pub devices: BTreeMap<IdentityId, Vec<DeviceId>>,
    /// What the verification codes are made of, by person: both sides' keys in a fixed order (PROTOCOL.md).
    pub codes: BTreeMap<IdentityId, Digest>,
    /// Own direct messages that are on the way to a linked device now (`sent`).
    pub sent: BTreeSet<EntryId>,
    /// Frames without an acknowledgement.
    pub queued: u64,
    /// Tell that messages were read.
    pub receipts: bool,
    /// Tell that one is writing.
    pub typing: bool,
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
    /// The message changed by an edit, delete or reaction.
    pub target: Option<EntryId>,
    /// Header, signature and sealed body as received; the body is `None` where it is not stored.
    pub entry: SealedEntry,
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

/// Follow or leave a gossip topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicChange {
    /// Follow.
    Subscribe(TopicId),
    /// Leave.
    Unsubscribe(TopicId),
}

/// One envelope for a topic.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The room, for counters.
    pub room: RoomId,
    /// Where.
    pub topic: TopicId,
    /// The sealed envelope.
    pub bytes: Vec<u8>,
}

/// One request to a peer.
#[derive(Debug, Clone)]
pub struct Send {
    /// To whom.
    pub peer: Peer,
    /// Correlates the response; [`Input::SyncPage`] or [`Input::RequestFailed`] names it.
    pub request: RequestId,
    /// The room, so that the shell can open the answer.
    pub room: RoomId,
    /// Encoded [`crate::wire::Request`].
    pub bytes: Vec<u8>,
    /// The answer is a page for us (sync); otherwise it only says yes or no.
    pub wants_page: bool,
}

/// Read a page from the store and answer with it.
#[derive(Debug, Clone)]
pub struct Serve {
    /// To whom.
    pub peer: Peer,
    /// The request to answer.
    pub token: Token,
    /// The room.
    pub room: RoomId,
    /// What the peer has: everything else is wanted, in arrival order.
    pub after: Frontier,
    /// What we have, for the answer.
    pub frontier: Frontier,
    /// Proof for the answer.
    pub proof: crate::ids::Digest,
    /// At most so many bytes (one run more than fits is allowed if nothing else was taken).
    pub bytes_max: usize,
}

/// What workers and status queries may know of a room. Read-only, replaced as a whole.
#[derive(Debug, Clone)]
pub struct RoomView {
    /// The room.
    pub room: RoomId,
    /// Its keys.
    pub keys: Arc<RoomKeys>,
    /// Followed (`false` after leaving: workers drop its traffic).
    pub joined: bool,
    /// This node forwards for others, so the topic signature is checked as well.
    pub forwarding: bool,
    /// Devices connected now.
    pub online: Vec<DeviceId>,
    /// Peers that said hello, and as which device.
    pub linked: Vec<(Peer, DeviceId)>,
    /// Own entries with a position below this are on a link to at least one member.
    pub sent_below: u64,
    /// Own entries so far.
    pub own_next: u64,
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
    /// Wire number of the content kind.
    pub kind: u8,
    /// Ends a run.
    pub signed: bool,
}
