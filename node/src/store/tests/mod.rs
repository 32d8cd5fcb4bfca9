//! Claims about the store, each on real files in a temporary folder. `World` makes entries without
//! the core: their "sealed" bodies are only masked, which is enough to see whether a text reaches
//! the disk.

mod damage;
mod direct;
mod figures;
mod forgetting;
mod history;
mod locking;
mod moving;
mod pages;
mod real;
mod secrecy;
mod segments;
mod words;
mod writing;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use klatch_core::content::Kind;
use klatch_core::crypto::group::RoomRoot;
use klatch_core::ids::{DeviceId, Digest, EntryHash, EntryId, EpochId, RoomId, Signature};
use klatch_core::limits::BODY_BYTES_MIN;
use klatch_core::log::entry::{Header, SealedEntry, body_hash, entry_hash};
use klatch_core::step::{DeviceRow, EntryRow, RoomRow, Write};
use tempfile::TempDir;

use super::keystore::{MasterKey, Secret};
use super::read::Found;
use super::{Reader, Store};

/// The first room of a world.
const ROOM: RoomId = RoomId([1; 16]);
/// Another one.
const OTHER: RoomId = RoomId([2; 16]);
/// The newest lines, without conditions.
const ALL: Found = Found { before: None, since_ms: None, limit: 1_000 };

fn master(seed: u8) -> MasterKey {
    MasterKey::new(Secret::from_bytes([seed; 32]))
}

fn device(number: u8) -> DeviceId {
    DeviceId([number; 32])
}

fn room_row(room: RoomId, name: &str) -> RoomRow {
    RoomRow {
        room,
        name: name.to_owned(),
        root: Arc::new(RoomRoot::from_bytes([room.0[0]; 32])),
        passphrase: false,
        joined_ms: 5,
        left: false,
        over_budget: false,
    }
}

fn device_row(room: RoomId, number: u8) -> DeviceRow {
    DeviceRow {
        room,
        device: device(number),
        identity: None,
        name: format!("device {number}"),
        last_seen_ms: 0,
        acked: 0,
        muted: false,
        forked: None,
    }
}

/// Stands for sealing: the text does not appear as it is.
fn mask(text: &str) -> Vec<u8> {
    text.bytes().map(|b| b ^ 0x5a).collect()
}

/// Stands for opening.
fn unmask(_: RoomId, entry: &SealedEntry) -> Option<String> {
    String::from_utf8(entry.body.as_ref()?.iter().map(|b| b ^ 0x5a).collect()).ok()
}

fn text_of(row: &EntryRow) -> String {
    unmask(row.room, &row.entry).unwrap_or_default()
}

fn texts(rows: &[EntryRow]) -> Vec<String> {
    rows.iter().map(text_of).collect()
}

/// A store with two rooms, and the places of the entries made so far.
struct World {
    folder: TempDir,
    store: Store,
    journal: u64,
    next: BTreeMap<(RoomId, DeviceId), u64>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path(), &master(1)).unwrap();
        store
            .commit(&[
                Write::Room(room_row(ROOM, "#garden")),
                Write::Room(room_row(OTHER, "#shed")),
            ])
            .unwrap();
        Self { folder, store, journal: 0, next: BTreeMap::new() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn reader(&self) -> Reader {
        self.store.reader().unwrap()
    }

    /// Closes the store and opens it again.
    fn reopen(self) -> Self {
        let Self { folder, store, journal, next } = self;
        drop(store);
        let store = Store::open(folder.path(), &master(1)).unwrap();
        Self { folder, store, journal, next }
    }

    /// The next entry of a device, signed; its display keys follow the journal.
    fn entry(&mut self, room: RoomId, by: u8, kind: Kind, text: &str) -> EntryRow {
        let seq = self.next.entry((room, device(by))).or_default();
        let body = mask(text);
        self.journal += 1;
        let header = Header {
            room,
            device: device(by),
            seq: *seq,
            prev: (*seq > 0).then_some(EntryHash([7; 32])),
            parents: Vec::new(),
            lamport: self.journal,
            hlc: self.journal << 16,
            kind,
            auth: None,
            epoch: EpochId([0; 16]),
            index: 0,
            ttl: None,
            body_hash: Some(body_hash(&body)),
            body_len: u32::try_from(body.len().max(BODY_BYTES_MIN)).unwrap(),
        }
        .encode();
        let row = EntryRow {
            journal: self.journal,
            room,
            hash: entry_hash(&header),
            device: device(by),
            seq: *seq,
            kind: kind.code(),
            hlc: self.journal << 16,
            eff: self.journal << 16,
            lamport: self.journal,
            arrived_ms: self.journal,
            shown_ms: self.journal,
            target: None,
            entry: SealedEntry {
                header: header.into(),
                signature: Some(Signature([9; 64])),
                body: Some(body.into()),
            },
            lack: None,
        };
        *seq += 1;
        row
    }

    /// Writes a text.
    fn say(&mut self, by: u8, text: &str) -> EntryRow {
        let row = self.entry(ROOM, by, Kind::Text, text);
        self.store.commit(&[Write::Append(row.clone())]).unwrap();
        row
    }

    /// Writes a change of a message.
    fn change(&mut self, by: u8, kind: Kind, target: EntryId, text: &str) -> EntryRow {
        let mut row = self.entry(ROOM, by, kind, text);
        row.target = Some(target);
        self.store.commit(&[Write::Append(row.clone())]).unwrap();
        row
    }

    /// Indexes everything there is.
    fn index(&mut self) {
        while self.store.index_some(&unmask, 100).unwrap() == 100 {}
    }

    fn found(&self, words: &str) -> Vec<String> {
        texts(&self.reader().search(ROOM, words, ALL).unwrap())
    }
}
