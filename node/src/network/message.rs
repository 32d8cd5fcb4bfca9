//! What goes into the network task and what comes out of it.

use std::time::Duration;

use klatch_core::error::Reject;
use klatch_core::ids::{Peer, TopicId};
use klatch_core::query::Mdns;
use klatch_core::step::{GossipId, Verdict};
use libp2p::Multiaddr;
use tokio::sync::oneshot;

use super::counters::CountersSnapshot;

/// What the driver wants of the network. Commands are carried out in the order they were sent.
#[derive(Debug)]
pub enum NetCommand {
    /// Stand still, as by SIGSTOP, until the other end of `wait` is dropped.
    #[cfg(test)]
    StandStill {
        /// Hears that the task stands.
        stands: std::sync::mpsc::Sender<()>,
        /// Blocks the task.
        wait: std::sync::mpsc::Receiver<()>,
    },
    /// Follow a topic. Answered by one [`NetEvent::Subscribed`] for each linked peer that follows
    /// it already.
    Subscribe(TopicId),
    /// Leave a topic.
    Unsubscribe(TopicId),
    /// Hand an envelope to every linked peer that follows the topic. Best effort: what is lost,
    /// sync repairs.
    Publish {
        /// Where.
        topic: TopicId,
        /// The sealed envelope.
        bytes: Vec<u8>,
    },
    /// Ask a linked peer. Ends in exactly one [`NetEvent::Response`] or
    /// [`NetEvent::RequestFailed`].
    Request {
        /// Whom.
        peer: Peer,
        /// Repeated in the answer.
        id: u64,
        /// The encoded request.
        bytes: Vec<u8>,
    },
    /// Hand a direct frame to a linked peer. Ends in exactly one [`NetEvent::DirectAnswered`] or
    /// [`NetEvent::RequestFailed`].
    AskDirect {
        /// Whom.
        peer: Peer,
        /// Repeated in the answer; unique over both protocols.
        id: u64,
        /// The encoded frame.
        bytes: Vec<u8>,
    },
    /// Answer a request, of either protocol: the token says which.
    Respond {
        /// From [`NetEvent::Request`] or [`NetEvent::DirectAsked`].
        token: u64,
        /// The encoded response.
        bytes: Vec<u8>,
    },
    /// Leave a request unanswered: the peer is told at once instead of waiting for its timeout.
    Decline {
        /// From [`NetEvent::Request`] or [`NetEvent::DirectAsked`].
        token: u64,
    },
    /// What becomes of a gossip message. Every [`NetEvent::Gossip`] wants one within a few seconds.
    Verdict {
        /// From the event.
        peer: Peer,
        /// From the event.
        message: GossipId,
        /// Forward, keep to ourselves, or blame.
        verdict: Verdict,
    },
    /// A peer broke a rule. After a few faults it is disconnected and refused for some minutes.
    Penalise {
        /// Who.
        peer: Peer,
        /// Which rule.
        reason: Reject,
    },
    /// Keep a link to this address from now on. Check it first with [`super::address::parse`]: a
    /// form that is not supported is only logged.
    Dial(Multiaddr),
    /// The user does not want links there any more; one that is there stays. The answer: whom that
    /// concerns, as far as it is known who is there, and whether anybody was looked for at all.
    Unwant(Unwanted, oneshot::Sender<(Vec<Peer>, bool)>),
    /// Close the links to a peer. Nothing keeps it from coming back.
    Disconnect(Peer),
    /// Report what is connected.
    Status(oneshot::Sender<Status>),
    /// Send what is queued, close everything, end.
    Shutdown,
}

/// Where not to look any longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwanted {
    /// At this address, and wherever else whoever answers there is known to have been.
    Address(Multiaddr),
    /// Wherever this peer is known to have been.
    Peer(Peer),
}

impl NetCommand {
    /// Bytes of payload, for the bound on queued commands.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Publish { bytes, .. }
            | Self::Request { bytes, .. }
            | Self::AskDirect { bytes, .. }
            | Self::Respond { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }
}

/// What happened on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetEvent {
    /// The first connection to a peer is there.
    LinkUp {
        /// Who.
        peer: Peer,
        /// The other end.
        address: Multiaddr,
        /// This node dialled: the address can be dialled again and belongs into the address book.
        dialled: bool,
    },
    /// A peer that had dialled us follows a topic of ours, so it is worth finding again after the
    /// next start. It listens there as well if its transport can: both dial from that port.
    CameFrom {
        /// Who.
        peer: Peer,
        /// The other end.
        address: Multiaddr,
    },
    /// The connections to a linked peer changed and have settled: what was sent over a former one
    /// may be lost, and the other side may be another process by now. Comes once per change, after
    /// the connection that stays has proved itself, and never without a [`Self::LinkUp`] before.
    LinkRenewed {
        /// Who.
        peer: Peer,
    },
    /// The last connection to a peer is gone; its subscriptions with it.
    LinkDown {
        /// Who.
        peer: Peer,
    },
    /// A linked peer follows one of our topics.
    Subscribed {
        /// Who.
        peer: Peer,
        /// Which.
        topic: TopicId,
    },
    /// A linked peer no longer follows one of our topics.
    Unsubscribed {
        /// Who.
        peer: Peer,
        /// Which.
        topic: TopicId,
    },
    /// An envelope of a followed topic, once per content. Nothing about it is verified.
    Gossip {
        /// Who handed it to us.
        peer: Peer,
        /// For the verdict.
        message: GossipId,
        /// Where.
        topic: TopicId,
        /// The sealed envelope.
        bytes: Vec<u8>,
    },
    /// A peer asks. Wants one [`NetCommand::Respond`] or [`NetCommand::Decline`] within ten
    /// seconds.
    Request {
        /// Who.
        peer: Peer,
        /// For the answer.
        token: u64,
        /// Which connection with that peer it came over: larger for one that was made later. 0 if
        /// that has ended meanwhile.
        connection: u64,
        /// The encoded request.
        bytes: Vec<u8>,
    },
    /// The answer to a request.
    Response {
        /// Who.
        peer: Peer,
        /// Of the request.
        id: u64,
        /// The encoded response.
        bytes: Vec<u8>,
    },
    /// A peer hands us a direct frame. Wants one [`NetCommand::Respond`] or [`NetCommand::Decline`]
    /// within ten seconds.
    DirectAsked {
        /// Who.
        peer: Peer,
        /// For the answer; never that of a [`NetEvent::Request`].
        token: u64,
        /// The encoded frame.
        bytes: Vec<u8>,
    },
    /// The answer to a direct frame.
    DirectAnswered {
        /// Who.
        peer: Peer,
        /// Of the frame.
        id: u64,
        /// The encoded answer.
        bytes: Vec<u8>,
    },
    /// No answer to a request or a direct frame: refused, timed out, not connected, or too many
    /// requests at once.
    RequestFailed {
        /// Who.
        peer: Peer,
        /// Of the request.
        id: u64,
    },
    /// Something between this peer and us was dropped on the way, in one direction or the other:
    /// sync with it.
    Slow {
        /// Who.
        peer: Peer,
    },
    /// A new address to be reached at.
    Listening {
        /// Which.
        address: Multiaddr,
    },
    /// An address could not be listened on, or no longer.
    ListenFailed {
        /// Which.
        address: Multiaddr,
        /// What the system said.
        cause: String,
    },
}

/// The sink's answer to an event.
#[derive(Debug)]
pub enum Delivered {
    /// It has it.
    Taken,
    /// No room now: the event comes back and will be offered again.
    Full(NetEvent),
    /// Nobody listens any more: the network shuts down.
    Closed,
}

/// The network at one moment.
#[derive(Debug, Clone)]
pub struct Status {
    /// The own transport name.
    pub peer: Peer,
    /// Addresses listened on, as far as they can be dialled.
    pub listening: Vec<Multiaddr>,
    /// Nobody but this machine was to reach it.
    pub stays_here: bool,
    /// Linked peers.
    pub peers: Vec<PeerStatus>,
    /// Addresses that the user asked for.
    pub wanted: Vec<super::WantedStatus>,
    /// Peers that are known and not connected now.
    pub dialling: usize,
    /// What multicast has brought.
    pub mdns: MdnsStatus,
    /// Topics followed.
    pub topics: usize,
    /// Events waiting for the driver.
    pub events_pending: usize,
    /// Totals since the start.
    pub counters: CountersSnapshot,
}

/// Multicast DNS at one moment.
#[derive(Debug, Clone, Copy)]
pub struct MdnsStatus {
    /// Off, on, or wanted in vain.
    pub state: Mdns,
    /// Peers found and not expired.
    pub found: usize,
    /// How long ago it last brought a peer or an address that was new. (The library does not tell
    /// of repetitions.)
    pub heard: Option<Duration>,
}

/// A linked peer.
#[derive(Debug, Clone)]
pub struct PeerStatus {
    /// Who.
    pub peer: Peer,
    /// The other end of the connection in use.
    pub address: Multiaddr,
    /// This node dialled.
    pub dialled: bool,
    /// How long the link has been up.
    pub up: Duration,
    /// Connections: several while the pair settles on one.
    pub connections: usize,
    /// Last round trip measured.
    pub rtt: Option<Duration>,
    /// For how long it has not answered, if that is longer than usual.
    pub overdue: Option<Duration>,
    /// Own topics it follows as well.
    pub topics: usize,
    /// Bytes handed to the library for it and not yet written (an estimate).
    pub unsent_bytes: usize,
}
