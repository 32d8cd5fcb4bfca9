//! Every bound and interval of the protocol in one file, each with its reason (PROTOCOL.md,
//! "Limits").
//!
//! Sizes are bytes, times are milliseconds unless the name says otherwise. The simulator asserts
//! the bounds.

/// Longest text of one message. With framing, padding (at most 12 %) and signature it still fits
/// [`ENTRY_BYTES_MAX`].
pub const TEXT_BYTES_MAX: usize = 64_000;
/// Largest header + signature + sealed body of one entry, as encoded.
pub const ENTRY_BYTES_MAX: usize = 73_000;
/// Largest header alone: 16 parents and every optional field need under 600 B.
pub const HEADER_BYTES_MAX: usize = 1_024;
/// Largest sealed body: Padmé adds at most 12 % to [`TEXT_BYTES_MAX`], plus framing and the AEAD
/// tag.
pub const BODY_BYTES_MAX: usize = 72_000;
/// Smallest sealed body: [`PAD_BYTES_MIN`] and the AEAD tag.
pub const BODY_BYTES_MIN: usize = PAD_BYTES_MIN + 16;
/// Largest gossip envelope, and largest direct-message frame.
pub const ENVELOPE_BYTES_MAX: usize = 73_728;
/// gossipsub's `max_transmit_size`: the largest envelope plus protocol overhead and control
/// messages, a network-wide constant.
pub const TRANSMIT_BYTES_MAX: usize = 131_072;
/// Consecutive entries of one device in one run: bounds what one signature check may cost and what
/// is parked at once.
pub const RUN_ENTRIES_MAX: usize = 64;
/// Encoded entries of one run of two or more; a single large entry travels alone.
pub const RUN_BYTES_MAX: usize = 65_536;
/// Parents named by one entry; more concurrent tips than this are covered by the frontier.
pub const PARENTS_MAX: usize = 16;
/// Nested arrays in any frame; the deepest real frame has 5.
pub const CBOR_DEPTH_MAX: usize = 16;
/// Room name after normalisation.
pub const ROOM_NAME_BYTES_MAX: usize = 64;
/// Display name of a person.
pub const NAME_BYTES_MAX: usize = 64;
/// One reaction: an emoji sequence with modifiers.
pub const EMOJI_BYTES_MAX: usize = 32;
/// Smallest padded plaintext, so that short texts, reactions and receipts look the same.
pub const PAD_BYTES_MIN: usize = 256;

/// Where parents are passed over (a full room, a forked chain) the lamport clock may exceed what is
/// known by this: more entries than the refused branch can have, too few to burn the counter.
pub const LAMPORT_SLACK: u64 = 1 << 20;

/// A remote clock may pull ours forward by no more than this; what claims to be written later than
/// this after its arrival was written under a wrong clock.
pub const CLOCK_AHEAD_MS_MAX: u64 = 60_000;
/// 1 January 2025 in Unix milliseconds. A clock before the first version of the protocol was never
/// set: boards without a battery begin at 1970.
pub const CLOCK_UNSET_BEFORE_MS: u64 = 1_735_689_600_000;
/// 1 January 2100 in Unix milliseconds. A clock beyond it counted over, or was set by a slip: nobody
/// runs this version then.
pub const CLOCK_BEYOND_MS: u64 = 4_102_444_800_000;

/// Rooms of one profile: the gossipsub hello with all topics must stay below
/// [`TRANSMIT_BYTES_MAX`].
pub const ROOMS_MAX: usize = 500;
/// Device chains in one open room. A stranger can make keys for nothing; a group of friends never
/// gets there.
pub const CHAINS_MAX: usize = 2_000;
/// New devices accepted in one open room per minute, after a first burst of [`CHAINS_BURST`].
pub const CHAINS_PER_MINUTE: u64 = 60;
/// First burst of new devices: a group that meets for the first time.
pub const CHAINS_BURST: u64 = 400;
/// Devices whose presence is remembered per room.
pub const PRESENCE_MAX: usize = 2_000;
/// Links (connected peers) per room.
pub const LINKS_MAX: usize = 400;

/// Entries of one device taken from gossip per second, sustained; above it they wait for sync.
pub const DEVICE_ENTRIES_PER_S: u64 = 4_000;
/// Burst of the same bucket: five seconds of the sustained rate.
pub const DEVICE_ENTRIES_BURST: u64 = 20_000;
/// Bytes of one device taken from gossip per second, sustained.
pub const DEVICE_BYTES_PER_S: u64 = 64 << 20;
/// Burst of the same bucket.
pub const DEVICE_BYTES_BURST: u64 = 256 << 20;

/// Devices remembered per room because they broke a rule of the log: more than a group has.
pub const QUARANTINE_MAX: usize = 400;

/// Stored bytes per room; beyond it headers are kept and bodies are not, and the UI says so.
pub const ROOM_DISK_BYTES_DEFAULT: u64 = 1 << 30;

/// Runs held back per chain because something before them is missing. Asking for the range again is
/// cheap.
pub const PARKED_PER_CHAIN_MAX: usize = 256;
/// Bytes held back per room.
pub const PARKED_BYTES_MAX: usize = 4 << 20;

/// Own entries published and not yet acknowledged, per room: latency is queue length. With 32 small
/// messages spend longer waiting for their turn than under way, and batches stay small: five nodes
/// at full speed deliver a tenth less, and later (measured).
pub const WINDOW_ENTRIES: u64 = 64;
/// Bytes of the same: no further run leaves while so many are under way, whatever the number of
/// entries. Sixteen of the largest, or 29 of 40 kB.
pub const WINDOW_BYTES: usize = 16 * ENTRY_BYTES_MAX;
/// A connected peer that has acknowledged so many fewer than the fastest lags behind; it loses its
/// say after [`WINDOW_PATIENCE_MS`]. As many as one acknowledgement covers, and as fit into
/// [`WINDOW_BYTES`] whatever their size.
pub const LAG_ENTRIES: u64 = 16;
/// A connected peer that acknowledged nothing for this long no longer holds the window; it catches
/// up by sync.
pub const WINDOW_PATIENCE_MS: u64 = 2_000;
/// Own entries accepted but not yet published, per room, before `send` answers "too fast".
pub const OUTBOX_ENTRIES_MAX: u64 = 4_096;
/// Bytes of own entries held in memory until they are published; beyond it they are read back from
/// the store.
pub const OUTBOX_BYTES_MAX: usize = 8 << 20;

/// An acknowledgement is sent after this many accepted entries of one author.
pub const ACK_ENTRIES: u64 = 16;
/// Or after this time.
pub const ACK_DELAY_MS: u64 = 180;
/// Devices named in one acknowledgement or beacon: all chains of a full room.
pub const FRONTIER_MAX: usize = 2_000;

/// Topics remembered of one peer; more than anybody's rooms.
pub const PEER_TOPICS_MAX: usize = 2_000;

/// A beacon follows this much silence after a change...
pub const BEACON_SILENCE_MS_MIN: u64 = 20_000;
/// ...and at most this much (drawn at random so that members do not speak at once).
pub const BEACON_SILENCE_MS_MAX: u64 = 40_000;
/// A room that was left is followed so long until who is connected has acknowledged the goodbye: an
/// acknowledgement takes [`ACK_DELAY_MS`], what was lost a beacon, a question and its answer. It is
/// what `klatch leave` waits for at most.
pub const FAREWELL_MS: u64 = 2_000;
/// Pause between beacons meanwhile.
pub const FAREWELL_PAUSE_MS: u64 = 400;
/// What came by sync is not gossiped again: this soon at the earliest a beacon tells those further
/// away...
pub const HINT_MS_MIN: u64 = 200;
/// ...and this late at the latest; drawn at random, and left out if somebody else said the same
/// meanwhile.
pub const HINT_MS_MAX: u64 = 1_000;
/// Such hints of one room are at least this far apart: many small syncs are one piece of news.
pub const HINT_PAUSE_MS: u64 = 5_000;
/// A beacon is due at least this often while anybody is connected.
pub const BEACON_INTERVAL_MS: u64 = 300_000;

/// Beacons of one device that a node passes on per minute, once the burst is used up: a program
/// says at most one in [`HINT_PAUSE_MS`] and one after each silence.
pub const BEACONS_PER_MINUTE: u64 = 15;
/// First burst of the same: somebody comes home, and everything happens at once.
pub const BEACONS_BURST: u64 = 8;
/// A beacon that says what the last one of that device said is passed on again only after this:
/// somebody may have missed it.
pub const BEACON_AGAIN_MS: u64 = 60_000;
/// Presence of one device that a node passes on per minute, once the burst is used up: a program
/// says it once a minute, and [`PRESENCE_DEBOUNCE_MS`] after each change of its links.
pub const PRESENCES_PER_MINUTE: u64 = 60;
/// First burst of the same: a group of a dozen that meets, one by one.
pub const PRESENCES_BURST: u64 = 20;

/// Presence is repeated this often to linked peers...
pub const PRESENCE_INTERVAL_MS: u64 = 60_000;
/// ...and believed for this long.
pub const PRESENCE_TTL_MS: u64 = 180_000;
/// A hello that was not answered is said again after this; until then the peer's device is unknown.
pub const HELLO_RETRY_MS: u64 = 2_000;
/// The first three times; then after twice as long each time, up to this: who left a room is not
/// asked for ever.
pub const HELLO_RETRY_MS_MAX: u64 = 60_000;
/// Changes of the set of direct peers are collected for this long before presence is sent again.
pub const PRESENCE_DEBOUNCE_MS: u64 = 150;
/// A device counts as a recipient (`m` in `delivered n/m`) of an open room if it was present within
/// this time.
pub const RECIPIENT_MS: u64 = 7 * 86_400_000;
/// While a device is there, `last seen` is written to the store at most this often, and once more
/// when it goes: a power cut makes it older by this much at most.
pub const LAST_SEEN_WRITE_MS: u64 = 300_000;

/// Bytes of one sync page. A page is verified and committed before the next is asked: this bounds
/// memory.
pub const PAGE_BYTES_MAX: usize = 512 << 10;
/// Entries of one sync page.
pub const PAGE_ENTRIES_MAX: usize = 1_000;
/// Encoded sync request: a frontier of [`FRONTIER_MAX`] chains plus proofs.
pub const REQUEST_BYTES_MAX: usize = 128 << 10;
/// Encoded sync response: one page plus one run of overshoot plus a frontier.
pub const RESPONSE_BYTES_MAX: usize = (512 + 256) << 10;
/// Sync requests of one room in flight, to different peers.
pub const SYNC_FLIGHTS_MAX: usize = 3;
/// A peer that has not answered for this long is asked no more alone: half a page comes through a
/// slow mobile link in that time.
pub const SYNC_PATIENCE_MS: u64 = 1_000;
/// A sync request without an answer is given up after this.
pub const SYNC_TIMEOUT_MS: u64 = 10_000;
/// A gap seen in gossip waits this long for reordered messages before sync asks for it.
pub const GAP_DELAY_MS: u64 = 60;
/// A gap that the last peer asked could not fill is put to all peers after this...
pub const GAP_PAUSE_MS_MIN: u64 = 250;
/// ...then after twice as long, and so on. From this pause on it is enough that all peers have
/// answered...
pub const GAP_PAUSE_MS_SURE: u64 = 1_000;
/// ...and beyond this nobody else is waited for: nobody has what the waiting runs follow.
pub const GAP_PAUSE_MS_MAX: u64 = 16_000;
/// Chains of one peer that are read again from their beginning because its frontier contradicts
/// ours: the proof of a fork.
pub const RECHECKS_PER_LINK_MAX: usize = 16;
/// First retry after a failed sync with one peer; doubles up to [`SYNC_BACKOFF_MS_MAX`].
pub const SYNC_BACKOFF_MS_MIN: u64 = 500;
/// Longest pause between tries with one peer.
pub const SYNC_BACKOFF_MS_MAX: u64 = 60_000;
/// Requests one peer may have us serve per second, sustained (burst: ten times that).
pub const SERVE_PER_S: u64 = 50;

/// Bodies that a room waits for at once: a list in memory of some 80 B each. More are asked for
/// after the next start.
pub const BODIES_WANTED_MAX: usize = 65_536;
/// Bodies named in one request: 4 kB, and half a page of short messages.
pub const BODIES_ASK_MAX: usize = 256;
/// A lacking body waits this long for others of the same page, and for the word that it was
/// deleted.
pub const BODIES_DELAY_MS: u64 = 1_000;
/// What a peer did not have is asked of it again after this; then after twice as long, and so on...
pub const BODIES_PAUSE_MS_MIN: u64 = 60_000;
/// ...up to this: where not everybody is connected with everybody, a body travels from hop to hop,
/// a pause at each. A request of 4 kB in two minutes for what nobody has is no load.
pub const BODIES_PAUSE_MS_MAX: u64 = 120_000;
/// Texts of a room are kept again once this many hundredths of its space are free: a room at its
/// limit shall not say so with every message.
pub const SPACE_FREE_PERCENT: u64 = 5;

/// Inputs joined into one transaction by the driver (group commit).
pub const BATCH_INPUTS_MAX: usize = 100;
/// Pages from sync with more new messages than this are announced as one event.
pub const SUMMARY_ABOVE: usize = 32;

/// Own direct messages sealed in one session since the oldest that is not acknowledged. Olm keeps
/// the keys of 40 messages that were overtaken; 32 leaves room for receipts between them.
pub const DIRECT_WINDOW: u64 = 32;
/// Own direct messages waiting for one device: half a year of a lively conversation with somebody
/// who is away.
pub const DIRECT_QUEUE_MAX: usize = 2_000;
/// Bytes that wait for one person: some thousand messages of usual length, or 60 of the longest.
/// More is refused, for this person alone.
pub const DIRECT_PERSON_BYTES_MAX: usize = 4 << 20;
/// Bytes of direct messages that wait in all; they are held in memory. As much as eight people who
/// are away may have.
pub const DIRECT_QUEUE_BYTES_MAX: usize = 8 * DIRECT_PERSON_BYTES_MAX;
/// Pauses between tries to deliver; then [`DIRECT_RETRY_MS_MAX`]. A new link begins again with the
/// first.
pub const DIRECT_RETRY_MS: [u64; 4] = [2_000, 8_000, 30_000, 120_000];
/// Longest pause between tries.
pub const DIRECT_RETRY_MS_MAX: u64 = 900_000;
/// A direct message that was not delivered after this much time in which the node ran is given up,
/// and its author told. Time of the calendar would be wrong: a clock that jumps, or a laptop that
/// lay closed for a month, gave the message no chance.
pub const DIRECT_EXPIRY_MS: u64 = 30 * 86_400_000;
/// The time that the node ran is added up, and kept, this often while anything waits; one step
/// counts for no more than this, however far the clock jumped.
pub const DIRECT_RAN_STEP_MS: u64 = 600_000;
/// A session that the other side lost is made anew at most this often, and once per link: a peer
/// that always claims to have lost it must not keep us busy.
pub const DIRECT_RESET_MS: u64 = 3_600_000;
/// Sessions kept per device: both sides may begin at once, and late frames of a replaced one still
/// arrive.
pub const DIRECT_SESSIONS_MAX: usize = 4;
/// Devices kept of one person.
pub const DIRECT_DEVICES_MAX: usize = 5;
/// Messages of a stranger kept before the user has decided.
pub const REQUEST_MESSAGES_MAX: u64 = 32;
/// Longest frame taken from a stranger before the user has decided: 9,000 bytes of text with the
/// padding and the proof of who it is. So all requests together are at most 80 MB on the disk.
pub const REQUEST_FRAME_BYTES_MAX: usize = 12_288;
/// Strangers kept before the user has decided.
pub const REQUESTS_MAX: usize = 200;
/// People kept in all: identities cost nothing.
pub const CONTACTS_MAX: usize = 5_000;
/// The fallback key, for those whom we gave no one-time key, is replaced this often. The one before
/// it still opens.
pub const FALLBACK_MS: u64 = 7 * 86_400_000;
/// One-time keys handed out at once; then one a minute. Whoever gets none begins with the fallback
/// key.
pub const ONE_TIME_KEYS_BURST: u64 = 50;
/// Lamport clocks and times of direct messages stay below: JSON readers have 53 bits, and nothing
/// may overflow.
pub const DIRECT_CLOCK_MAX: u64 = 1 << 53;
/// A direct message may move the order of its conversation ahead by no more than a century beyond
/// its arrival. A clock that is merely wrong stays below, so that both sides see the same order,
/// which the lamport clock then decides; a lie leaves room for everything that is said later.
pub const DIRECT_AHEAD_MS_MAX: u64 = 36_525 * 86_400_000;
/// Nor may it move the conversation's lamport clock ahead by more than this: more messages than two
/// people exchange, too few to burn the counter.
pub const DIRECT_LAMPORT_AHEAD_MAX: u64 = 1 << 20;
/// Withdrawals of messages that have not arrived yet, kept per person.
pub const DIRECT_ORPHANS_MAX: usize = 64;
