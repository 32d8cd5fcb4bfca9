//! What goes into the core ([`Input`]) and what comes out of it ([`Step`]).
//!
//! A [`Step`] is one owned value, so its effects cannot be drained by half. The driver applies a
//! batch of them in this order and no other: commit every write in one transaction; then topics,
//! publishes, sends, directs, serves and verdicts; then replies and events (docs/ARCHITECTURE.md,
//! "One direction").

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::command::{Command, Reply};
use crate::crypto::group::{RoomKeys, RoomRoot};
use crate::delivery::VerifiedAck;
use crate::direct::frame::{VerifiedAnswer, VerifiedFrame};
use crate::directory::Directory;
use crate::error::{CommandError, Reject};
use crate::event::Told;
use crate::ids::{DeviceId, Digest, EntryId, IdentityId, Peer, RoomId, TopicId};
use crate::log::entry::VerifiedRun;
use crate::presence::{Process, VerifiedPresence};
pub use crate::rows::{
    ContactRow, DeviceRow, DirectIndexRow, DirectRow, DirectSnapshot, EntryRow, Former, IndexRow,
    Lack, OutboxRow, RoomRow, RoomSnapshot, Snapshot, Write,
};
use crate::sync::SyncRequest;
use crate::wire::{self, Frontier};

/// Correlates a command with its reply. Chosen by the shell, unique while in flight.
pub type CommandId = u64;
/// Correlates an outgoing request with its response. Chosen by the core.
pub type RequestId = u64;
/// Names an incoming request that wants one response. Chosen by the shell.
pub type Token = u64;

/// Everything that can happen to a node. Values that come from the network have been decoded and
/// verified before (`Verified...` types cannot be made otherwise).
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
    /// The connections to a linked peer are not what they were, or its process is another one: what
    /// was said over a former connection may be lost, whichever side noticed. The link stays up,
    /// and everything is said again.
    LinkRenewed {
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
    /// Verified presence came by gossip.
    Presence {
        /// Who handed it to us.
        peer: Peer,
        /// For the verdict.
        message: GossipId,
        /// What.
        presence: VerifiedPresence,
    },
    /// A peer says who it is, and in which run of its program.
    Hello {
        /// Who.
        peer: Peer,
        /// Over which connection: numbers grow with each new one, so that a word that comes late
        /// over a former one is known as such.
        connection: u64,
        /// What.
        presence: VerifiedPresence,
        /// Its run.
        process: Process,
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
    /// A peer proved membership and asks for bodies.
    BodiesAsked {
        /// Who.
        peer: Peer,
        /// For the answer.
        token: Token,
        /// The room.
        room: RoomId,
        /// Of which entries.
        entries: Vec<EntryId>,
    },
    /// Bodies answer our request.
    BodiesCame {
        /// Who.
        peer: Peer,
        /// Our request.
        request: RequestId,
        /// The room.
        room: RoomId,
        /// In the order asked; `None` where the peer has none.
        bodies: wire::Bodies,
    },
    /// The body of an entry was read from the disk, and is not what its header names.
    BodyRotted {
        /// The room.
        room: RoomId,
        /// Which entry.
        entry: EntryId,
    },
    /// What was deleted takes no space on the disk any more.
    SpaceFreed {
        /// The room.
        room: RoomId,
        /// How much less there is.
        bytes: u64,
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
    /// A request of ours failed: no answer, refused, or the link ended. Direct frames end here as
    /// well.
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
    /// Bodies to read from the store and send as an answer.
    pub lends: Vec<Lend>,
    /// Short answers that need no store.
    pub responds: Vec<(Token, Vec<u8>)>,
    /// What to do with gossip messages.
    pub verdicts: Vec<(Peer, GossipId, Verdict)>,
    /// Peers that broke a rule, and which: only what no honest peer can have sent.
    pub penalties: Vec<(Peer, Reject)>,
    /// What was refused and says nothing about the peer that handed it over: to be counted.
    pub refused: Vec<Reject>,
    /// New views of rooms for the workers that open and verify, and for status queries.
    pub views: Vec<RoomView>,
    /// Rooms of which nothing is to be known any more; later than the views.
    pub forgotten: Vec<RoomId>,
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
        self.lends.append(&mut later.lends);
        self.responds.append(&mut later.responds);
        self.verdicts.append(&mut later.verdicts);
        self.penalties.append(&mut later.penalties);
        self.refused.append(&mut later.refused);
        self.views.append(&mut later.views);
        self.forgotten.append(&mut later.forgotten);
        self.people = later.people.or(self.people.take());
        self.replies.append(&mut later.replies);
        self.events.append(&mut later.events);
        self.wake = match (self.wake, later.wake) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
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
    /// Who is known, and by which names.
    pub directory: Arc<Directory>,
    /// People with a linked device.
    pub online: BTreeSet<IdentityId>,
    /// Contacts that were verified, but use other keys since.
    pub changed: BTreeSet<IdentityId>,
    /// Devices known by person.
    pub devices: BTreeMap<IdentityId, Vec<DeviceId>>,
    /// What the verification codes are made of, by person: both sides' keys in a fixed order
    /// (PROTOCOL.md).
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
    /// The answer is a page for us (sync).
    pub wants_page: bool,
    /// The answer brings bodies. If neither is wanted, it only says yes or no.
    pub wants_bodies: bool,
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

/// Read bodies from the store and answer with them.
#[derive(Debug, Clone)]
pub struct Lend {
    /// To whom.
    pub peer: Peer,
    /// The request to answer.
    pub token: Token,
    /// The room.
    pub room: RoomId,
    /// Of which entries.
    pub entries: Vec<EntryId>,
    /// Proof for the answer.
    pub proof: Digest,
}

/// What workers and status queries may know of a room. Read-only, replaced as a whole.
#[derive(Debug, Clone)]
pub struct RoomView {
    /// The room.
    pub room: RoomId,
    /// Its name with `#`.
    pub name: Arc<str>,
    /// A passphrase went into it.
    pub passphrase: bool,
    /// Its keys.
    pub keys: Arc<RoomKeys>,
    /// Joined and not left.
    pub joined: bool,
    /// Its topic is followed (workers drop the traffic of others): joined, or left a moment ago.
    pub followed: bool,
    /// Other members who have everything that this device wrote here.
    pub up_to_date: u32,
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
    /// The own chain is longer, or another one, elsewhere: nothing is written here any more.
    pub behind: bool,
}
