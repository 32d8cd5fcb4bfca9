//! Every bound and interval of the transport layer, each with its reason, and the gossipsub
//! configuration made of them. Bounds that are part of the protocol (sizes of envelopes, requests,
//! pages) are in [`klatch_core::limits`].

use std::time::Duration;

use klatch_core::limits;
use libp2p::StreamProtocol;
use libp2p::gossipsub::{self, MessageId, ValidationMode};

use super::NetworkError;

/// The request-response protocol that carries sync, acknowledgements and presence.
pub const ROOM_PROTOCOL: &str = "/klatch/room/1";
/// The request-response protocol that carries direct messages.
pub const DIRECT_PROTOCOL: &str = "/klatch/dm/1";
/// What the protocol version of every node and relay of this network begins with, whatever its
/// number.
pub const PROTOCOL_FAMILY: &str = "/klatch/";
/// identify's protocol version: names the network, not the release.
pub const IDENTIFY_PROTOCOL: &str = "/klatch/1";
/// identify's agent: the same for every release and platform, so that it tells peers nothing.
pub const IDENTIFY_AGENT: &str = "klatch";

/// Commands waiting for the task. A batch of the driver is about 100 inputs with a few effects
/// each.
pub const COMMANDS_MAX: usize = 512;
/// Bytes in those commands: responses are large, so a count alone would allow hundreds of
/// megabytes.
pub const COMMAND_BYTES_MAX: usize = 16 << 20;
/// How long a sender sleeps before it looks again whether the task took something: a fraction of a
/// commit to disk.
pub const COMMAND_RETRY: Duration = Duration::from_micros(250);

/// Events kept for a driver that is busy; beyond it the swarm is not polled until there is room.
pub const EVENTS_PENDING_MAX: usize = 1_024;
/// Bytes of gossip kept for a busy driver; beyond it gossip is dropped and sync fetches it later. A
/// window of 64 envelopes from ten authors of 13 kB each fits.
pub const GOSSIP_PENDING_BYTES_MAX: usize = 8 << 20;
/// How soon a full sink is tried again.
pub const EVENT_RETRY: Duration = Duration::from_millis(1);
/// Swarm events or commands handled in one turn, so that neither starves the other.
pub const TURN_MAX: usize = 64;
/// How long a start waits for the system to say on which addresses it listens. It does so within
/// milliseconds; without any interface, not even the loopback, never.
pub const LISTEN_WITHIN: Duration = Duration::from_secs(2);
/// Timer of liveness, back-off and bookkeeping.
pub const TICK: Duration = Duration::from_millis(250);

/// Messages queued per peer inside gossipsub. In a forwarding room a peer is sent every author's
/// window of 64: sixteen authors at full speed fit. [`UNSENT_BYTES_MAX`] bounds what they hold.
pub const QUEUE_MESSAGES_MAX: usize = 1_024;
/// A peer with more than this unsent that takes nothing for [`STALLED_TICKS`] is disconnected: it
/// comes back by sync.
pub const STALLED_BYTES: usize = 4 << 20;
/// Fewer bytes than this, in five seconds, are nothing: probes of nine bytes get through to a peer
/// that takes none of what waits for it.
pub const STALLED_MOVE: u64 = 512;
/// Five seconds without anything taken: longer than any retransmission pause on a usable link.
pub const STALLED_TICKS: u32 = 20;
/// Unsent bytes of all peers together. Beyond it the peer with the most is disconnected, so readers
/// that stop cost the node no more than this (each peer's copy is its own allocation in gossipsub).
pub const UNSENT_BYTES_MAX: usize = 128 << 20;

/// The driver hears at most this often that a peer lost something: each time it begins a sync.
pub const SLOW_PAUSE: Duration = Duration::from_secs(1);

/// What one peer may make us hold in one request-response protocol.
#[derive(Debug)]
pub struct LaneBounds {
    /// Largest request, in bytes.
    pub request_bytes_max: usize,
    /// Largest response, in bytes.
    pub response_bytes_max: usize,
    /// Own requests in flight per peer; more wait in line. Below the stream limit of both ends.
    pub in_flight_max: usize,
    /// Requests in line per peer. More fail at once, the core backs off.
    pub queued_max: usize,
    /// Bytes of requests in line per peer.
    pub queued_bytes_max: usize,
    /// Requests of one peer not yet answered by the driver; a peer that asks more than it can be
    /// served is refused.
    pub serving_max: usize,
    /// Bytes of those requests.
    pub serving_bytes_max: usize,
    /// Bytes of responses handed over and not yet written out, per peer. More is declined, and
    /// asked again by the peer when it has read what it has.
    pub responding_bytes_max: usize,
    /// Streams per connection, both directions together.
    pub streams_max: usize,
}

/// Rooms: a few requests in line for each of 100 common rooms; five full pages on the way out.
pub const ROOM_LANE: LaneBounds = LaneBounds {
    request_bytes_max: limits::REQUEST_BYTES_MAX,
    response_bytes_max: limits::RESPONSE_BYTES_MAX,
    in_flight_max: 16,
    queued_max: 512,
    queued_bytes_max: 4 << 20,
    serving_max: 64,
    serving_bytes_max: 2 << 20,
    responding_bytes_max: 4 << 20,
    streams_max: 64,
};

/// Direct messages: what is in line is in the sender's outbox as well, so a short line loses
/// nothing. An honest peer has 16 frames in flight, 1.2 MB if each is as large as can be; twice as
/// many are held, should its answers be on the way. An answer is a word, or a bundle of keys.
pub const DIRECT_LANE: LaneBounds = LaneBounds {
    request_bytes_max: limits::ENVELOPE_BYTES_MAX,
    response_bytes_max: DIRECT_ANSWER_BYTES_MAX,
    in_flight_max: 16,
    queued_max: 256,
    queued_bytes_max: 2 << 20,
    serving_max: 32,
    serving_bytes_max: 32 * limits::ENVELOPE_BYTES_MAX,
    responding_bytes_max: 32 * DIRECT_ANSWER_BYTES_MAX,
    streams_max: 48,
};
/// Largest answer to a direct frame.
pub const DIRECT_ANSWER_BYTES_MAX: usize = klatch_core::direct::frame::ANSWER_BYTES_MAX;
/// Streams per connection in the muxer: both lanes and a few for gossip, ping, identify and
/// negotiation.
pub const STREAMS_MAX: usize = 128;

/// Connections being set up by others: half-open handshakes are cheap for the other side and
/// not for us.
pub const PENDING_MAX: u32 = 32;
/// A dead connection, the one that takes its place, and both ends dialling at once: more have no
/// use, and the pair settles on one of them at once.
pub const CONNECTIONS_PER_PEER_MAX: u32 = 4;
/// Established connections in all, by default: every member of a group of 30, twice.
pub const CONNECTIONS_MAX: u32 = 64;
/// Of those, kept free for peers this node dials (known members), when strangers take all they can:
/// a quarter.
pub const CONNECTIONS_OUT_SHARE: u32 = 4;
/// Process memory above which no connection is accepted. An idle node needs 20 MB.
pub const MEMORY_BYTES_MAX: usize = 1 << 30;
/// Transport, security and muxer negotiation together: four round trips of a second each. Longer,
/// and dials into a network that swallows packets would pile up.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A link without streams is kept this long; the default of 10 s would end quiet rooms.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// Our own ping is the probe: libp2p's is there to answer others, and asks once a day.
pub const PING: Duration = Duration::from_secs(86_400);
/// The protocol by which connections prove that they live.
pub const PROBE_PROTOCOL: StreamProtocol = StreamProtocol::new("/klatch/probe/1");
/// A connection on which nothing was heard for this long is probed. A mapping of a router that was
/// rebooted is made anew by whoever is inside it, so this is also how long such a pair is apart.
pub const PROBE_EVERY: Duration = Duration::from_secs(2);
/// A probe without an answer for this long ends a connection over which nothing else came either:
/// TCP repeats what was lost after 0.2, 0.6, 1.4 and 3 s.
pub const PROBE_LOST: Duration = Duration::from_secs(4);
/// The same while there is reason for doubt: a second connection, an own pause, a new address.
/// Three times the first repetition of QUIC and five of TCP.
pub const PROBE_SHORT: Duration = Duration::from_millis(1_200);
/// In doubt, another connection that has answered is used once the one in use has not for this
/// long: one repetition of TCP fits. Two that live answer within moments of each other.
pub const PROBE_AHEAD: Duration = Duration::from_millis(300);
/// How long the side that does not choose waits for the other one to do so.
pub const SETTLE_PATIENCE: Duration = Duration::from_secs(10);
/// A hole punch holds two connections for a moment; a relayed one goes when the direct one is this
/// old.
pub const RELAYED_GRACE: Duration = Duration::from_secs(2);
/// Probes that wait for a stream: a few are sent by the clock and a few in doubt.
pub const PROBE_QUEUE_MAX: usize = 16;
/// Probes of the other side answered at once...
pub const PROBE_BURST: u64 = 32;
/// ...and per second. Nobody honest asks more than a few times.
pub const PROBE_PER_S: u64 = 8;
/// A link that answers nothing is reported as overdue from then on: people see it greyed out.
pub const OVERDUE: Duration = Duration::from_secs(5);
/// A connection that is to be closed has this long to say so. One that is dead and has much to
/// write would wait for the system's own time, a quarter of an hour.
pub const CLOSING: Duration = Duration::from_millis(500);
/// A QUIC connection without a packet ends after this long...
pub const QUIC_IDLE_MS: u32 = 6_000;
/// ...and sends one this often. Probes are answered sooner; this is for what they do not see.
pub const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(2);
/// A tick that comes this much late means that the process stood still: stopped, or the machine
/// slept.
pub const PAUSE: Duration = Duration::from_secs(1);

/// mDNS asks again this often; the default of 5 min leaves a lost query unnoticed for too long.
pub const MDNS_QUERY: Duration = Duration::from_secs(30);

/// Own and foreign topics per peer: 500 rooms with three epochs each, rounded up.
pub const TOPICS_PER_PEER_MAX: usize = 2_000;

/// gossipsub's heartbeat: repair by IHAVE starts within a second.
pub const HEARTBEAT: Duration = Duration::from_millis(700);
/// Heartbeats a message stays in memory for forwarding and repair: 3.5 s, the time a verdict may
/// take. Own messages stay that long as well: five nodes that exchanged 40 kB messages at full
/// speed held 540 MB with a history of ten.
pub const HISTORY: usize = 5;
/// Both back-offs after leaving a mesh. The long defaults (60 s, 10 s) keep a quick rejoin out of
/// the mesh for a minute.
pub const BACKOFF: Duration = Duration::from_secs(3);
/// Ids in one IHAVE. A receiver closes the gossip stream for good on more control bytes than it
/// allows: 500 ids of 20 B are 11 kB, below [`CONTROL_BYTES_MAX`] and below the 16 KiB of other
/// implementations.
pub const IHAVE_IDS_MAX: usize = 500;
/// Control part of one gossipsub RPC that is accepted: all of it. The hello names every topic at
/// once, 62 B each, and a hello beyond this limit ends the gossip stream for good: 500 rooms with
/// three epochs need 93 kB, [`TOPICS_PER_PEER_MAX`] need 124 kB.
pub const CONTROL_BYTES_MAX: usize = limits::TRANSMIT_BYTES_MAX;
/// Bytes of one topic in that hello: flag, name of 52 characters, two more flags, and the tags and
/// lengths of all.
pub const HELLO_BYTES_PER_TOPIC: usize = 62;
/// gossipsub remembers ids this long. Its mesh delivers late copies within seconds; replays are
/// refused by the log, and each remembered id costs about 100 B.
pub const DUPLICATES: Duration = Duration::from_secs(20);
/// Bytes of a message id. Short ids keep IHAVE small; 160 bits leave no room for collisions on
/// purpose.
pub const MESSAGE_ID_BYTES: usize = 20;

/// Points at which a peer is disconnected and refused: five faults that no honest peer can cause.
pub const FAULT_POINTS_MAX: u32 = 50;
/// Points of one such fault.
pub const FAULT_POINTS: u32 = 10;
/// Points of asking for too much or without proof: many honest reasons, so fifty of them in a
/// minute.
pub const NUISANCE_POINTS: u32 = 1;
/// Points halve this often.
pub const FAULT_HALF_MS: u64 = 60_000;
/// A disconnected offender is refused this long.
pub const BLOCK_MS: u64 = 300_000;
/// Offenders remembered. Keys are free, so more memory would not help either.
pub const OFFENDERS_MAX: usize = 1_024;

/// First pause between dials of one address; doubles up to [`REDIAL_MS_MAX`]. A false address costs
/// its target six dials in the first minute and one a minute afterwards.
pub const REDIAL_MS_MIN: u64 = 1_000;
/// Longest pause between dials of one address.
pub const REDIAL_MS_MAX: u64 = 60_000;
/// A link that lived this long proves its address; one that ended sooner counts as a failed dial: a
/// peer that refuses us hangs up at once.
pub const PROVEN_MS: u64 = 2_000;
/// A peer whose link was good and is lost is looked for with urgency for this long...
pub const LOST_URGENT_MS: u64 = 120_000;
/// ...at least this often: what a person does not notice yet...
pub const LOST_PAUSE_MS: u64 = 2_000;
/// ...also while earlier dials to that peer hang: each may take [`HANDSHAKE_TIMEOUT`].
pub const PEER_DIALS_MAX: usize = 3;
/// Dials in progress, below [`DIALS_PENDING_MAX`]: the rest of that limit is for requests of the
/// user. Twenty lost peers at once, three dials each.
pub const DIALS_MAX: usize = 64;
/// Own dials in progress that the transport allows.
pub const DIALS_PENDING_MAX: u32 = 80;
/// Dials wait this long for the QUIC listeners. They are there within a few milliseconds.
pub const TWINS_MS: u64 = 1_000;
/// Addresses that come within this time are those of the start.
pub const START_MS: u64 = 3_000;
/// Peers that discovery (not the user) may add to the list of those to be dialled.
pub const DISCOVERED_MAX: usize = 128;
/// Peers named by configuration and address book.
pub const CONFIGURED_MAX: usize = 1_024;
/// Interfaces on which one link-local address is looked for at once. A machine of many containers
/// has a hundred, few of them with neighbours.
pub const LINKS_MAX: usize = 16;
/// Addresses per peer.
pub const ADDRESSES_PER_PEER_MAX: usize = 8;

/// The folder is read this often at first, when several nodes start together...
pub const SCAN_FAST: Duration = Duration::from_millis(500);
/// ...for this long...
pub const SCAN_FAST_FOR: Duration = Duration::from_secs(5);
/// ...and then this often.
pub const SCAN: Duration = Duration::from_secs(2);
/// Largest address file that is read.
pub const ADDRESS_FILE_BYTES_MAX: u64 = 4_096;
/// Files looked at in one scan.
pub const ADDRESS_FILES_MAX: usize = 512;

/// At shutdown queued bytes may leave for this long...
pub const DRAIN: Duration = Duration::from_millis(300);
/// ...looked at this often...
pub const DRAIN_STEP: Duration = Duration::from_millis(10);
/// ...and connections may close for this long.
pub const CLOSE: Duration = Duration::from_millis(400);

/// gossipsub's id of a message: content only, as there is no author in the frame.
#[must_use]
pub fn message_id(topic: &str, data: &[u8]) -> MessageId {
    let mut hash = blake3::Hasher::new();
    hash.update(topic.as_bytes());
    hash.update(data);
    MessageId::new(&hash.finalize().as_bytes()[..MESSAGE_ID_BYTES])
}

/// gossipsub as measured: anonymous, validated by us before anything is forwarded.
pub(super) fn gossip() -> Result<gossipsub::Config, NetworkError> {
    gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|m| message_id(m.topic.as_str(), &m.data))
        .mesh_n_low(4)
        .mesh_n(6)
        .mesh_n_high(12)
        .mesh_outbound_min(2)
        // Own messages reach every connected member in one hop.
        .flood_publish(true)
        // Off: in a full mesh nobody forwards, so there is no copy to save, and the notices (one to
        // every mesh peer for each message received) cost more than the few copies they save
        // elsewhere.
        .idontwant_message_size_threshold(limits::TRANSMIT_BYTES_MAX)
        .idontwant_on_publish(false)
        .heartbeat_initial_delay(Duration::from_millis(500))
        .heartbeat_interval(HEARTBEAT)
        .history_length(HISTORY)
        .history_gossip(3)
        .duplicate_cache_time(DUPLICATES)
        .prune_backoff(BACKOFF)
        .unsubscribe_backoff(BACKOFF)
        .graft_flood_threshold(Duration::from_secs(2))
        .connection_handler_queue_len(QUEUE_MESSAGES_MAX)
        // The defaults (5 s, 1 s) lose silently on slow uplinks.
        .publish_queue_duration(Duration::from_secs(30))
        .forward_queue_duration(Duration::from_secs(10))
        .max_control_messages_sent(IHAVE_IDS_MAX)
        .max_control_message_size(CONTROL_BYTES_MAX)
        .max_transmit_size(limits::TRANSMIT_BYTES_MAX)
        .max_publish_messages(64)
        .build()
        .map_err(|e| NetworkError::Setup { part: "gossipsub", cause: e.to_string() })
}
