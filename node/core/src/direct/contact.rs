//! What is remembered of one person: names, standing, devices and keys, and an index of the
//! conversation (no texts).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::cbor;
use crate::content::Kind;
use crate::crypto::Verifier;
use crate::direct::verify::{self, Side};
use crate::directory::Kept;
use crate::event::Delivery;
use crate::identity::DeviceCert;
use crate::ids::{DeviceId, Digest, EntryId, IdentityId, Peer, RoomId, SessionKey};
use crate::limits::{
    DIRECT_AHEAD_MS_MAX, DIRECT_CLOCK_MAX, DIRECT_DEVICES_MAX, DIRECT_LAMPORT_AHEAD_MAX,
    DIRECT_ORPHANS_MAX,
};
use crate::query::Standing;
use crate::step::{ContactRow, DirectIndexRow};

/// Longest encoding of what the store keeps as one value.
const KEYS_BYTES_MAX: usize = 1 << 16;

/// A device of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub device: DeviceId,
    /// Its certificate, once shown to us directly.
    pub cert: Option<DeviceCert>,
    /// Its identity key of the session layer, once shown.
    pub key: Option<SessionKey>,
    /// The transport peer it was last met at.
    pub hint: Option<Peer>,
    /// When it last proved to be there, Unix milliseconds.
    pub heard_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct SavedDevice(DeviceId, Option<ByteBuf>, Option<SessionKey>, Option<ByteBuf>, u64);

#[derive(Serialize, Deserialize)]
struct SavedKeys(Vec<SavedDevice>, bool, bool, Vec<EntryId>, Option<EntryId>);

/// What is kept of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta {
    pub own: bool,
    pub seq: u64,
    pub kind: u8,
    pub journal: u64,
    pub state: Option<Delivery>,
    /// Its words are gone.
    pub deleted: bool,
}

/// A person.
#[derive(Debug)]
pub(crate) struct Contact {
    pub identity: IdentityId,
    pub claimed: String,
    pub petname: Option<String>,
    pub standing: Standing,
    pub verified: Option<Digest>,
    pub read_upto: u64,
    pub since_ms: u64,
    pub devices: Vec<Device>,
    /// The user was told that the keys are not those compared.
    pub changed: bool,
    /// The user was told that the name is that of a verified person.
    pub impersonates: bool,
    /// Withdrawn before they arrived.
    pub orphans: Vec<EntryId>,
    /// The newest message of theirs that was read and not yet told.
    pub receipt: Option<EntryId>,
    pub index: BTreeMap<EntryId, Meta>,
    pub own_next: u64,
    pub their_next: u64,
    pub lamport: u64,
    pub eff: u64,
    pub dirty: bool,
}

impl Contact {
    pub fn new(identity: IdentityId, claimed: String, standing: Standing, now: u64) -> Self {
        Self {
            identity,
            claimed,
            petname: None,
            standing,
            verified: None,
            read_upto: 0,
            since_ms: now,
            devices: Vec::new(),
            changed: false,
            impersonates: false,
            orphans: Vec::new(),
            receipt: None,
            index: BTreeMap::new(),
            own_next: 0,
            their_next: 0,
            lamport: 0,
            eff: 0,
            dirty: true,
        }
    }

    pub fn room(&self) -> RoomId {
        RoomId::of_conversation(&self.identity)
    }

    /// The name to show.
    pub fn name(&self) -> &str {
        self.petname.as_deref().unwrap_or(&self.claimed)
    }

    /// As the directory knows them.
    pub fn kept(&self) -> Kept {
        Kept {
            claimed: self.claimed.clone(),
            petname: self.petname.clone(),
            standing: self.standing,
            verified: self.verified.is_some(),
            changed: self.changed,
        }
    }

    pub fn restore(row: ContactRow) -> Self {
        let mut contact = Self::new(row.identity, row.claimed, row.standing, row.since_ms);
        contact.petname = row.petname;
        contact.verified = row.verified;
        contact.read_upto = row.read_upto;
        contact.dirty = false;
        if let Ok(SavedKeys(devices, changed, impersonates, orphans, receipt)) =
            cbor::decode(&row.keys, KEYS_BYTES_MAX)
        {
            let devices =
                devices.into_iter().map(|SavedDevice(device, cert, key, hint, heard_ms)| Device {
                    device,
                    cert: cert.and_then(|c| DeviceCert::decode(&c).ok()),
                    key,
                    hint: hint.map(|h| Peer(h.into_vec())),
                    heard_ms,
                });
            contact.devices = devices.collect();
            (contact.changed, contact.impersonates) = (changed, impersonates);
            (contact.orphans, contact.receipt) = (orphans, receipt);
        }
        contact
    }

    pub fn row(&self) -> ContactRow {
        let devices = self.devices.iter().map(|d| {
            let cert = d.cert.as_ref().map(|c| ByteBuf::from(c.encode()));
            let hint = d.hint.as_ref().map(|h| ByteBuf::from(h.0.clone()));
            SavedDevice(d.device, cert, d.key, hint, d.heard_ms)
        });
        let devices = devices.collect();
        let keys =
            SavedKeys(devices, self.changed, self.impersonates, self.orphans.clone(), self.receipt);
        ContactRow {
            identity: self.identity,
            room: self.room(),
            claimed: self.claimed.clone(),
            petname: self.petname.clone(),
            standing: self.standing,
            verified: self.verified,
            keys: cbor::encode(&keys),
            read_upto: self.read_upto,
            since_ms: self.since_ms,
        }
    }

    /// A row that is in the store.
    pub fn index(&mut self, row: &DirectIndexRow) {
        let DirectIndexRow { id, journal, own, seq, kind, eff, lamport, state, deleted, .. } = *row;
        self.note(id, Meta { own, seq, kind, journal, state, deleted }, lamport, eff);
    }

    /// A message is part of the conversation now.
    pub fn note(&mut self, id: EntryId, meta: Meta, lamport: u64, eff: u64) {
        let next = if meta.own { &mut self.own_next } else { &mut self.their_next };
        *next = (*next).max(meta.seq + 1);
        self.lamport = self.lamport.max(lamport);
        self.eff = self.eff.max(eff);
        self.index.insert(id, meta);
    }

    /// A message was deleted: its words are gone.
    pub fn deleted(&mut self, id: &EntryId) {
        if let Some(meta) = self.index.get_mut(id) {
            meta.deleted = true;
        }
    }

    /// Whether the words of a message are gone.
    pub fn is_deleted(&self, id: &EntryId) -> bool {
        self.index.get(id).is_some_and(|m| m.deleted)
    }

    /// Clocks of a message from the other side, as far as they count here: a wrong clock, or a lie,
    /// must not use up the order of everything that is said afterwards.
    pub fn within_reach(&self, lamport: u64, eff: u64, now_ms: u64) -> (u64, u64) {
        let ahead = now_ms.saturating_add(DIRECT_AHEAD_MS_MAX);
        // What was said here under a clock far ahead is not followed by the other side's first key,
        // which does the same as this: its lamport clock tells that it comes later.
        let follows = lamport > self.lamport && self.eff > ahead;
        let eff = if follows { eff.max(self.eff) } else { eff.min(ahead.max(self.eff)) };
        (lamport.min(self.lamport.saturating_add(DIRECT_LAMPORT_AHEAD_MAX)), eff)
    }

    /// Clocks of the next own message: after everything here.
    pub fn clocks(&self, wall: u64) -> (u64, u64) {
        let cap = DIRECT_CLOCK_MAX - 1;
        ((self.lamport + 1).min(cap), wall.max(self.eff).min(cap))
    }

    pub fn device(&self, device: &DeviceId) -> Option<&Device> {
        self.devices.iter().find(|d| d.device == *device)
    }

    /// The device, new if it was not known. The one that was silent longest gives way.
    pub fn device_mut(&mut self, device: DeviceId) -> &mut Device {
        let at = self.devices.iter().position(|d| d.device == device).unwrap_or_else(|| {
            if self.devices.len() >= DIRECT_DEVICES_MAX {
                let oldest =
                    (0..self.devices.len()).min_by_key(|i| self.devices[*i].heard_ms).unwrap_or(0);
                self.devices.remove(oldest);
            }
            self.devices.push(Device { device, cert: None, key: None, hint: None, heard_ms: 0 });
            self.dirty = true;
            self.devices.len() - 1
        });
        &mut self.devices[at]
    }

    /// The device that takes part in the conversation: the one heard last whose keys are known.
    pub fn current(&self) -> Option<Side> {
        let known = self.devices.iter().filter_map(|d| Some((d.heard_ms, d.device, d.key?)));
        known.max().map(|(_, device, key)| Side { identity: self.identity, device, key })
    }

    /// What both compare.
    pub fn code(&self, own: &Side) -> Option<Digest> {
        self.current().map(|theirs| verify::digest(own, &theirs))
    }

    /// A withdrawal of something that is not here yet.
    pub fn orphan(&mut self, target: EntryId) {
        self.orphans.push(target);
        if self.orphans.len() > DIRECT_ORPHANS_MAX {
            self.orphans.remove(0);
        }
        self.dirty = true;
    }

    /// The newest text of theirs up to a journal number.
    pub fn read_at(&self, upto: u64) -> Option<EntryId> {
        let theirs = self
            .index
            .iter()
            .filter(|(_, m)| !m.own && m.kind == Kind::Text.code() && m.journal <= upto);
        theirs.max_by_key(|(_, m)| m.seq).map(|(id, _)| *id)
    }
}

/// Whether a certificate is what this device showed before, so that its signature need not be
/// checked again.
pub(crate) fn check_cert(
    known: Option<&DeviceCert>,
    shown: &DeviceCert,
    verifier: &mut Verifier,
) -> bool {
    known == Some(shown) || shown.verify(verifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn contact() -> Contact {
        Contact::new(IdentityId([1; 32]), String::new(), Standing::Accepted, NOW)
    }

    #[test]
    fn the_largest_clocks_leave_room_for_everything_said_later() {
        let mut contact = contact();
        let most = DIRECT_CLOCK_MAX - 1;
        for n in 0..1_000 {
            let (lamport, eff) = contact.within_reach(most, most, NOW + n);
            let meta =
                Meta { own: false, seq: n, kind: 1, journal: n, state: None, deleted: false };
            let id = EntryId([u8::try_from(n % 256).unwrap(); 16]);
            contact.note(id, meta, lamport, eff);
        }
        let (lamport, eff) = contact.clocks(NOW);
        assert!(lamport < most / 1_000 && eff <= NOW + 1_000 + DIRECT_AHEAD_MS_MAX);
    }
}
