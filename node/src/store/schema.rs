//! The tables of the encrypted file, as migrations. A migration is never changed once released; a
//! new one is appended.
//!
//! Rooms and devices are small integers here. An entry is split: what is queried or loaded at start
//! stands in `entry` (about 100 bytes, so that 100,000 of them load at once), the bytes as received
//! in `sealed`. `eff` and `lamport` come from strangers and may use all 64 bits: they are stored
//! with the top bit flipped, so that signed order is their order.

/// One statement list per format; `user_version` counts those that were applied.
pub(super) const MIGRATIONS: &[&str] =
    &[V1, CONVERSATIONS, SEGMENTS, TIMES, LACKING, WORDS, FORGETTING, WORDS];

/// Where the body of an entry is (`entry.body_at`): deleted by its author.
pub(super) const BODY_DELETED: i64 = 0;
/// In `sealed.body`.
pub(super) const BODY_HERE: i64 = 1;
/// In the body store, at the place that `sealed` names.
pub(super) const BODY_APART: i64 = 2;
/// Not kept, for want of space.
pub(super) const BODY_NOT_KEPT: i64 = 3;
/// Whoever served the entry did not have it.
pub(super) const BODY_NOT_GIVEN: i64 = 4;
/// It rotted on this disk.
pub(super) const BODY_DAMAGED: i64 = 5;

const V1: &str = "
CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE room (
  id INTEGER PRIMARY KEY,
  room BLOB NOT NULL UNIQUE,
  name TEXT NOT NULL,
  root BLOB NOT NULL,
  passphrase INTEGER NOT NULL,
  joined_ms INTEGER NOT NULL,
  gone INTEGER NOT NULL,
  over_budget INTEGER NOT NULL,
  read_upto INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0,
  messages INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE device (id INTEGER PRIMARY KEY, device BLOB NOT NULL UNIQUE) STRICT;

CREATE TABLE member (
  room INTEGER NOT NULL REFERENCES room,
  device INTEGER NOT NULL REFERENCES device,
  identity BLOB,
  name TEXT NOT NULL,
  last_seen_ms INTEGER NOT NULL,
  acked INTEGER NOT NULL,
  muted INTEGER NOT NULL,
  forked INTEGER,
  PRIMARY KEY (room, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE entry (
  journal INTEGER PRIMARY KEY,
  room INTEGER NOT NULL REFERENCES room,
  device INTEGER NOT NULL REFERENCES device,
  seq INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  signed INTEGER NOT NULL,
  body_at INTEGER NOT NULL,
  hlc INTEGER NOT NULL,
  eff INTEGER NOT NULL,
  lamport INTEGER NOT NULL,
  arrived_ms INTEGER NOT NULL,
  hash BLOB NOT NULL,
  target BLOB
) STRICT;
CREATE UNIQUE INDEX entry_chain ON entry (room, device, seq);
CREATE INDEX entry_shown ON entry (room, eff, lamport, kind);
CREATE INDEX entry_arrived ON entry (room, journal, kind, device);
CREATE INDEX entry_target ON entry (room, target) WHERE target IS NOT NULL;

-- Where an id leads to; lags behind `entry`, see `places`.
CREATE TABLE place (id BLOB NOT NULL, journal INTEGER NOT NULL, PRIMARY KEY (id, journal)) STRICT, WITHOUT ROWID;

CREATE TABLE sealed (
  journal INTEGER PRIMARY KEY REFERENCES entry,
  header BLOB NOT NULL,
  signature BLOB,
  body BLOB
) STRICT;

-- Bodies to be removed from the body store: written with the deletion, cleared once it is done there as well.
CREATE TABLE doomed (journal INTEGER PRIMARY KEY) STRICT;

CREATE TABLE event (journal INTEGER PRIMARY KEY, event TEXT NOT NULL) STRICT;

CREATE TABLE fork (
  room INTEGER NOT NULL REFERENCES room,
  device INTEGER NOT NULL REFERENCES device,
  seq INTEGER NOT NULL,
  proof BLOB NOT NULL,
  PRIMARY KEY (room, device, seq)
) STRICT;

CREATE TABLE address (
  peer BLOB NOT NULL,
  addr TEXT NOT NULL,
  device BLOB,
  seen_ms INTEGER NOT NULL,
  PRIMARY KEY (peer, addr)
) STRICT, WITHOUT ROWID;
CREATE INDEX address_seen ON address (seen_ms);

-- Words of the texts, without the texts: rowid is the journal number.
CREATE VIRTUAL TABLE words USING fts5(
  text, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);
";

/// Conversations with one person, see `direct`. Ids of messages are chosen by their authors, so
/// nothing about them is taken to be unique.
const CONVERSATIONS: &str = "
CREATE TABLE talk (
  id INTEGER PRIMARY KEY,
  room BLOB NOT NULL UNIQUE,
  identity BLOB NOT NULL UNIQUE,
  read_upto INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE contact (
  talk INTEGER PRIMARY KEY REFERENCES talk,
  claimed TEXT NOT NULL,
  petname TEXT,
  standing INTEGER NOT NULL,
  verified BLOB,
  keys BLOB NOT NULL,
  since_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE direct (
  journal INTEGER PRIMARY KEY,
  talk INTEGER NOT NULL REFERENCES talk,
  id BLOB NOT NULL,
  device INTEGER NOT NULL REFERENCES device,
  own INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  eff INTEGER NOT NULL,
  lamport INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  arrived_ms INTEGER NOT NULL,
  target BLOB,
  state INTEGER,
  content BLOB
) STRICT;
CREATE INDEX direct_shown ON direct (talk, eff, lamport, id);
CREATE INDEX direct_arrived ON direct (talk, journal, kind, own);
CREATE INDEX direct_named ON direct (talk, id);
CREATE INDEX direct_target ON direct (talk, target) WHERE target IS NOT NULL;

CREATE TABLE ratchet (device INTEGER PRIMARY KEY REFERENCES device, state BLOB NOT NULL) STRICT;
CREATE TABLE account (id INTEGER PRIMARY KEY CHECK (id = 1), state BLOB NOT NULL) STRICT;

CREATE TABLE outbox (
  id_here INTEGER PRIMARY KEY,
  device INTEGER NOT NULL REFERENCES device,
  seq INTEGER NOT NULL,
  identity BLOB NOT NULL,
  id BLOB NOT NULL,
  queued_ms INTEGER NOT NULL,
  frame BLOB NOT NULL,
  sealed INTEGER NOT NULL,
  UNIQUE (device, seq)
) STRICT;
";

/// Where large bodies are, see `segments`.
const SEGMENTS: &str = "
-- The segments of the body store: up to which byte they count, and how many bodies in them are not overwritten yet.
CREATE TABLE segment (number INTEGER PRIMARY KEY, upto INTEGER NOT NULL, bodies INTEGER NOT NULL) STRICT;

-- Where a body apart is. Still there after its removal, for `doomed`; `entry.body_at` says whether it means anything.
ALTER TABLE sealed ADD COLUMN segment INTEGER;
ALTER TABLE sealed ADD COLUMN start INTEGER;
ALTER TABLE sealed ADD COLUMN size INTEGER;

-- Before, bodies apart were in a file of another kind; see `moving`.
INSERT INTO meta SELECT 'bodies_to_move', 1 WHERE EXISTS (SELECT 1 FROM entry WHERE body_at = 2);
";

/// The time that a line shows is decided once, when it arrives, since it depends on what the line
/// follows. Before, it was computed from the claim and the arrival alone.
const TIMES: &str = "
ALTER TABLE entry ADD COLUMN shown_ms INTEGER NOT NULL DEFAULT 0;
UPDATE entry SET shown_ms =
  CASE WHEN hlc < 0 THEN arrived_ms + 60000 ELSE min(hlc >> 16, arrived_ms + 60000) END;
ALTER TABLE direct ADD COLUMN shown_ms INTEGER NOT NULL DEFAULT 0;
UPDATE direct SET shown_ms = min(at_ms, arrived_ms + 60000);
";

/// Why a body is not here, see `lack`. Before, 0 meant all of that: what its author deleted stays
/// so (an edit goes with its message), the rest was not kept in a room without space, or was never
/// given. What is deleted is no message any more, either.
const LACKING: &str = "
CREATE INDEX entry_lacking ON entry (room, body_at) WHERE body_at > 2;

UPDATE entry SET body_at = CASE (SELECT over_budget FROM room WHERE room.id = entry.room) WHEN 0 THEN 4 ELSE 3 END
WHERE body_at = 0 AND NOT EXISTS (SELECT 1 FROM entry d WHERE d.room = entry.room AND d.kind = 3
  AND d.device = entry.device
  AND d.target IN (substr(entry.hash, 1, 16), CASE WHEN entry.kind = 2 THEN entry.target END));

UPDATE room SET messages = (SELECT count(*) FROM entry e WHERE e.room = room.id AND e.kind IN (1, 5) AND e.body_at <> 0);

-- Bodies that came after their entry, still to be indexed for search.
CREATE TABLE unindexed (journal INTEGER PRIMARY KEY) STRICT;
";

/// Words are spelled as the core says since (the second time: found as wholes where they stand in
/// parts): the index is made anew, in slices, when the node is idle.
const WORDS: &str = "
INSERT INTO words (words) VALUES ('delete-all');
DELETE FROM meta WHERE key IN ('indexed_upto', 'direct_indexed_upto');
DELETE FROM unindexed;
";

/// Rooms can be forgotten as a whole: what is to be wiped then has no entry any more, so it says
/// itself where it is.
const FORGETTING: &str = "
CREATE TABLE wiped (journal INTEGER PRIMARY KEY, segment INTEGER, start INTEGER, size INTEGER) STRICT;
INSERT INTO wiped SELECT d.journal, s.segment, s.start, s.size FROM doomed d JOIN sealed s USING (journal);
DROP TABLE doomed;
ALTER TABLE wiped RENAME TO doomed;

-- Rooms that were forgotten, and how far this device had written there, see `Former`.
CREATE TABLE IF NOT EXISTS former (
  room BLOB NOT NULL PRIMARY KEY, used INTEGER NOT NULL, held INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// The newest journal number in use; 0 before anything happened.
pub(super) const NEWEST: &str = "SELECT max(coalesce((SELECT max(journal) FROM entry), 0),
    coalesce((SELECT max(journal) FROM event), 0), coalesce((SELECT max(journal) FROM direct), 0))";
