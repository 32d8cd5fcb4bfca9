//! Everything nodes say to each other: the gossip envelope, and requests and responses between two
//! nodes (PROTOCOL.md 7 and 8). Encoding, caps, and the checks that need keys but no state.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::cbor::{self, DecodeError};
use crate::crypto::group::RoomKeys;
use crate::crypto::{Context, Verifier, hash, seal, sign};
use crate::delivery::VerifiedAck;
use crate::error::Reject;
use crate::ids::{DeviceShort, Digest, EntryId, EpochId, HashShort, Peer, RoomId, Signature};
use crate::limits::{
    BODIES_ASK_MAX, ENVELOPE_BYTES_MAX, FRONTIER_MAX, PAGE_BYTES_MAX, PAGE_ENTRIES_MAX,
    REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, RUN_ENTRIES_MAX,
};
use crate::log::entry::{
    EntryFields, SealedEntry, VerifiedBody, VerifiedRun, body_hash, verify_run, verify_served_run,
};
use crate::presence::{Process, VerifiedPresence};
use crate::sync::SyncRequest;

/// The last signed entry of each chain: `[[device 16 B, seq, hash 8 B], ...]`, sorted by device.
/// Says all that a node has.
pub type Frontier = Vec<(DeviceShort, u64, HashShort)>;

/// Whether a frontier is sorted, without duplicates and within [`FRONTIER_MAX`].
#[must_use]
pub fn frontier_ok(frontier: &Frontier) -> bool {
    frontier.len() <= FRONTIER_MAX && frontier.windows(2).all(|w| w[0].0 < w[1].0)
}

const VERSION: u8 = 1;
/// Coarse time of an envelope: ten-minute slots since the Unix epoch.
const SLOT_MS: u64 = 600_000;

/// `[1, topic_pk, slot, nonce, head, bodies, sig]`.
#[derive(Serialize, Deserialize)]
struct Envelope(u8, Digest, u32, ByteNonce, ByteBuf, Vec<Option<ByteBuf>>, Signature);

/// 24 bytes.
#[derive(Clone, Copy)]
struct ByteNonce([u8; 24]);

impl Serialize for ByteNonce {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for ByteNonce {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let bytes = ByteBuf::deserialize(d)?;
        let bytes: [u8; 24] =
            bytes.as_slice().try_into().map_err(|_| serde::de::Error::custom("24 bytes"))?;
        Ok(Self(bytes))
    }
}

/// What an envelope carries.
#[derive(Debug, Clone)]
pub enum Gossip {
    /// One run of entries (a single entry is a run of one).
    Run(VerifiedRun),
    /// What a member has.
    Beacon(VerifiedAck),
    /// Where a member is.
    Presence(VerifiedPresence),
}

const TYPE_RUN: u8 = 1;
const TYPE_BEACON: u8 = 2;
const TYPE_PRESENCE: u8 = 3;

/// Envelope with a run of entries.
#[must_use]
pub fn envelope_of_run(
    keys: &RoomKeys,
    now_ms: u64,
    nonce: [u8; 24],
    entries: &[SealedEntry],
) -> Vec<u8> {
    let heads: Vec<_> =
        entries.iter().map(|e| (ByteBuf::from(e.header.to_vec()), e.signature)).collect();
    let bodies =
        entries.iter().map(|e| e.body.as_ref().map(|b| ByteBuf::from(b.to_vec()))).collect();
    envelope(keys, now_ms, nonce, TYPE_RUN, cbor::encode(&heads), bodies)
}

/// Envelope with a beacon (an encoded acknowledgement).
#[must_use]
pub fn envelope_of_beacon(keys: &RoomKeys, now_ms: u64, nonce: [u8; 24], ack: Vec<u8>) -> Vec<u8> {
    envelope(keys, now_ms, nonce, TYPE_BEACON, ack, Vec::new())
}

/// Envelope with presence.
#[must_use]
pub fn envelope_of_presence(
    keys: &RoomKeys,
    now_ms: u64,
    nonce: [u8; 24],
    presence: Vec<u8>,
) -> Vec<u8> {
    envelope(keys, now_ms, nonce, TYPE_PRESENCE, presence, Vec::new())
}

fn envelope(
    keys: &RoomKeys,
    now_ms: u64,
    nonce: [u8; 24],
    kind: u8,
    payload: Vec<u8>,
    bodies: Vec<Option<ByteBuf>>,
) -> Vec<u8> {
    let topic_pk = Digest(keys.topic_key().verifying_key().to_bytes());
    let slot = u32::try_from(now_ms / SLOT_MS).unwrap_or(u32::MAX);
    let mut head = cbor::encode(&(kind, ByteBuf::from(payload)));
    seal::pad(&mut head);
    let head = seal::seal(keys.envelope_key(), &nonce, &associated(&topic_pk, slot), &head);
    let digest = envelope_digest(&topic_pk, slot, &nonce, &head, &bodies);
    let signature = sign(keys.topic_key(), Context::ENVELOPE, &digest);
    let bytes = head.len() + bodies.iter().flatten().map(|b| b.len() + 8).sum::<usize>() + 256;
    cbor::encode_large(
        &Envelope(
            VERSION,
            topic_pk,
            slot,
            ByteNonce(nonce),
            ByteBuf::from(head),
            bodies,
            signature,
        ),
        bytes,
    )
}

fn associated(topic_pk: &Digest, slot: u32) -> Vec<u8> {
    let mut aad = Vec::with_capacity(37);
    aad.push(VERSION);
    aad.extend_from_slice(&topic_pk.0);
    aad.extend_from_slice(&slot.to_le_bytes());
    aad
}

/// The digest covers the hashes of the bodies, so a body is hashed once for header and topic
/// signature.
fn envelope_digest(
    topic_pk: &Digest,
    slot: u32,
    nonce: &[u8; 24],
    head: &[u8],
    bodies: &[Option<ByteBuf>],
) -> Digest {
    let hashes: Vec<u8> =
        bodies.iter().flat_map(|b| b.as_ref().map_or([0; 32], |b| body_hash(b).0)).collect();
    hash(Context::ENVELOPE, &[&associated(topic_pk, slot), nonce, head, &hashes])
}

/// Opens and verifies an envelope. The topic signature is checked only by nodes that forward it: a
/// member that does not knows from the AEAD that the sender holds the room's keys (PROTOCOL.md
/// 7.2).
///
/// # Errors
/// [`Reject`].
pub fn open_envelope(
    keys: &RoomKeys,
    bytes: &[u8],
    forwarding: bool,
    verifier: &mut Verifier,
) -> Result<Gossip, Reject> {
    let Envelope(version, topic_pk, slot, nonce, head, bodies, signature) =
        cbor::decode(bytes, ENVELOPE_BYTES_MAX)?;
    if version != VERSION {
        return Err(DecodeError::Unknown.into());
    }
    if topic_pk.0 != keys.topic_key().verifying_key().to_bytes() {
        return Err(Reject::UnknownRoom);
    }
    if forwarding {
        let digest = envelope_digest(&topic_pk, slot, &nonce.0, &head, &bodies);
        if !verifier.check(&topic_pk.0, Context::ENVELOPE, &digest, &signature) {
            return Err(Reject::Signature);
        }
    }
    let head = seal::open(keys.envelope_key(), &nonce.0, &associated(&topic_pk, slot), &head)?;
    let (kind, payload): (u8, ByteBuf) = cbor::decode(seal::unpad(&head)?, ENVELOPE_BYTES_MAX)?;
    if kind != TYPE_RUN && !bodies.is_empty() {
        return Err(DecodeError::Bounds.into());
    }
    match kind {
        TYPE_RUN => {
            let heads: Vec<(ByteBuf, Option<Signature>)> =
                cbor::decode(&payload, ENVELOPE_BYTES_MAX)?;
            if heads.len() != bodies.len() || heads.len() > RUN_ENTRIES_MAX {
                return Err(Reject::Run);
            }
            // An author publishes with bodies. Who strips them would make the real run a duplicate:
            // only sync may omit some.
            if bodies.iter().any(Option::is_none) {
                return Err(Reject::Body);
            }
            let entries = heads
                .into_iter()
                .zip(bodies)
                .map(|((h, s), b)| SealedEntry::from_fields((h, s, b)));
            Ok(Gossip::Run(verify_run(keys, entries.collect(), verifier)?))
        }
        TYPE_BEACON => Ok(Gossip::Beacon(VerifiedAck::verify(keys, &payload, verifier)?)),
        TYPE_PRESENCE => Ok(Gossip::Presence(VerifiedPresence::verify(keys, &payload, verifier)?)),
        _ => Err(DecodeError::Unknown.into()),
    }
}

/// `[1, type, epoch, proof, body]`: a request between two nodes. Nothing is answered before
/// membership is proved.
#[derive(Serialize, Deserialize)]
struct RequestFrame(u8, u8, EpochId, Digest, ByteBuf);

const REQUEST_SYNC: u8 = 1;
const REQUEST_ACK: u8 = 2;
const REQUEST_HELLO: u8 = 3;
const REQUEST_BODIES: u8 = 4;

/// A request whose sender proved membership of the room.
#[derive(Debug)]
pub enum Request {
    /// What do you have that I lack?
    Sync(SyncRequest),
    /// Your entries up to here are on my disk.
    Ack(VerifiedAck),
    /// This is me, here, in this run.
    Hello(VerifiedPresence, Process),
    /// Do you have the bodies of these entries?
    Bodies {
        /// The room.
        room: RoomId,
        /// Which; no duplicates, sorted or not.
        entries: Vec<EntryId>,
    },
}

/// The epoch that a request names, to find the keys; nothing is verified yet.
///
/// # Errors
/// [`Reject::Decode`].
pub fn request_epoch(bytes: &[u8]) -> Result<EpochId, Reject> {
    let frame: RequestFrame = cbor::decode(bytes, REQUEST_BYTES_MAX)?;
    if frame.0 == VERSION { Ok(frame.2) } else { Err(DecodeError::Unknown.into()) }
}

/// Encodes a sync request from `me` to `peer`.
#[must_use]
pub fn sync_request(
    keys: &RoomKeys,
    me: &Peer,
    peer: &Peer,
    frontier: &Frontier,
    bytes_max: u32,
) -> Vec<u8> {
    // The second field is where private rooms will name and prove the asking device.
    let body = cbor::encode(&(frontier, None::<ByteBuf>, bytes_max));
    request(keys, me, peer, REQUEST_SYNC, body)
}

/// Encodes an acknowledgement from `me` to `peer`.
#[must_use]
pub fn ack_request(keys: &RoomKeys, me: &Peer, peer: &Peer, ack: Vec<u8>) -> Vec<u8> {
    request(keys, me, peer, REQUEST_ACK, ack)
}

/// Encodes presence and process from `me` to `peer`. The process is sealed: a stranger that follows
/// the topic gets a hello as well, and must not be able to count restarts.
#[must_use]
pub fn hello_request(
    keys: &RoomKeys,
    me: &Peer,
    peer: &Peer,
    presence: Vec<u8>,
    process: &Process,
    nonce: [u8; 24],
) -> Vec<u8> {
    let mut plain = process.0.to_vec();
    seal::pad(&mut plain);
    let sealed = seal::seal(keys.envelope_key(), &nonce, &hello_bound_to(keys, me, peer).0, &plain);
    let body = cbor::encode(&(ByteBuf::from(presence), ByteNonce(nonce), ByteBuf::from(sealed)));
    request(keys, me, peer, REQUEST_HELLO, body)
}

fn hello_bound_to(keys: &RoomKeys, from: &Peer, to: &Peer) -> Digest {
    hash(Context::HELLO, &[&keys.epoch.0, &from.0, &to.0])
}

/// Encodes a request for bodies from `me` to `peer`; at most [`BODIES_ASK_MAX`].
#[must_use]
pub fn bodies_request(keys: &RoomKeys, me: &Peer, peer: &Peer, entries: &[EntryId]) -> Vec<u8> {
    request(keys, me, peer, REQUEST_BODIES, cbor::encode(&entries))
}

fn request(keys: &RoomKeys, me: &Peer, peer: &Peer, kind: u8, body: Vec<u8>) -> Vec<u8> {
    let proof = keys.proof(Context::PROOF_REQUEST, me, peer);
    cbor::encode(&RequestFrame(VERSION, kind, keys.epoch, proof, ByteBuf::from(body)))
}

/// Verifies a request that `peer` sent to `me`.
///
/// # Errors
/// [`Reject`]; a wrong proof and an unknown epoch are answered alike.
pub fn open_request(
    keys: &RoomKeys,
    me: &Peer,
    peer: &Peer,
    bytes: &[u8],
    verifier: &mut Verifier,
) -> Result<Request, Reject> {
    let RequestFrame(version, kind, epoch, proof, body) = cbor::decode(bytes, REQUEST_BYTES_MAX)?;
    if version != VERSION {
        return Err(DecodeError::Unknown.into());
    }
    if epoch != keys.epoch || !proof.same(&keys.proof(Context::PROOF_REQUEST, peer, me)) {
        return Err(Reject::Proof);
    }
    match kind {
        REQUEST_SYNC => {
            let (frontier, who, bytes_max): (Frontier, Option<ByteBuf>, u32) =
                cbor::decode(&body, REQUEST_BYTES_MAX)?;
            if !frontier_ok(&frontier) || who.is_some() {
                return Err(DecodeError::Bounds.into());
            }
            Ok(Request::Sync(SyncRequest {
                room: keys.room,
                frontier,
                bytes_max: bytes_max as usize,
            }))
        }
        REQUEST_ACK => Ok(Request::Ack(VerifiedAck::verify(keys, &body, verifier)?)),
        REQUEST_HELLO => {
            let (presence, nonce, sealed): (ByteBuf, ByteNonce, ByteBuf) =
                cbor::decode(&body, REQUEST_BYTES_MAX)?;
            let presence = VerifiedPresence::verify(keys, &presence, verifier)?;
            if presence.peer != *peer {
                return Err(Reject::Proof);
            }
            let bound = hello_bound_to(keys, peer, me);
            let plain = seal::open(keys.envelope_key(), &nonce.0, &bound.0, &sealed)?;
            let process = seal::unpad(&plain)?.try_into().map_err(|_| DecodeError::Bounds)?;
            Ok(Request::Hello(presence, Process(process)))
        }
        REQUEST_BODIES => {
            let entries: Vec<EntryId> = cbor::decode(&body, REQUEST_BYTES_MAX)?;
            let distinct: BTreeSet<&EntryId> = entries.iter().collect();
            if entries.is_empty()
                || entries.len() > BODIES_ASK_MAX
                || distinct.len() < entries.len()
            {
                return Err(DecodeError::Bounds.into());
            }
            Ok(Request::Bodies { room: keys.room, entries })
        }
        _ => Err(DecodeError::Unknown.into()),
    }
}

/// `[1, status, proof, entries, frontier, more]`.
#[derive(Serialize, Deserialize)]
struct ResponseFrame(u8, u8, Digest, Vec<EntryFields>, Frontier, bool);

const STATUS_OK: u8 = 0;
const STATUS_REFUSED: u8 = 1;

/// The answer to a hello or an acknowledgement.
#[must_use]
pub fn response_ok() -> Vec<u8> {
    cbor::encode(&ResponseFrame(VERSION, STATUS_OK, Digest([0; 32]), Vec::new(), Vec::new(), false))
}

/// The answer to everything that is not served, whatever the reason: an outsider learns nothing
/// from it.
#[must_use]
pub fn response_refused() -> Vec<u8> {
    cbor::encode(&ResponseFrame(
        VERSION,
        STATUS_REFUSED,
        Digest([0; 32]),
        Vec::new(),
        Vec::new(),
        false,
    ))
}

/// Whether a response says yes.
#[must_use]
pub fn response_is_ok(bytes: &[u8]) -> bool {
    cbor::decode::<ResponseFrame>(bytes, RESPONSE_BYTES_MAX)
        .is_ok_and(|r| r.0 == VERSION && r.1 == STATUS_OK)
}

/// One page of entries.
#[must_use]
pub fn response_page(
    proof: Digest,
    entries: &[SealedEntry],
    frontier: &Frontier,
    more: bool,
) -> Vec<u8> {
    let mut entries: Vec<EntryFields> = entries.iter().map(SealedEntry::to_fields).collect();
    if planted!(LoseBody) {
        // A profile without a body is refused outright: that would be no test.
        let is_text = |e: &&mut EntryFields| e.2.as_ref().is_some_and(|b| b.len() < 300);
        entries.iter_mut().skip(1).filter(is_text).for_each(|e| e.2 = None);
    }
    cbor::encode(&ResponseFrame(VERSION, STATUS_OK, proof, entries, frontier.clone(), more))
}

/// A page whose sender proved membership; bad runs are left out and named.
#[derive(Debug)]
pub struct Page {
    /// Verified runs in the order sent.
    pub runs: Vec<VerifiedRun>,
    /// What the peer has.
    pub frontier: Frontier,
    /// It has more.
    pub more: bool,
    /// The first run that was refused, if any; what follows it is not looked at.
    pub fault: Option<Reject>,
}

/// Verifies a page that `peer` sent to `me`.
///
/// # Errors
/// [`Reject`] when the frame is malformed, refused, or its proof wrong.
pub fn open_page(
    keys: &RoomKeys,
    me: &Peer,
    peer: &Peer,
    bytes: &[u8],
    verifier: &mut Verifier,
) -> Result<Page, Reject> {
    let ResponseFrame(version, status, proof, fields, frontier, more) =
        cbor::decode(bytes, RESPONSE_BYTES_MAX)?;
    if version != VERSION {
        return Err(DecodeError::Unknown.into());
    }
    if status != STATUS_OK || !proof.same(&keys.proof(Context::PROOF_RESPONSE, peer, me)) {
        return Err(Reject::Proof);
    }
    if !frontier_ok(&frontier) || fields.len() > PAGE_ENTRIES_MAX + RUN_ENTRIES_MAX {
        return Err(DecodeError::Bounds.into());
    }
    let mut page = Page { runs: Vec::new(), frontier, more, fault: None };
    let mut run = Vec::new();
    for entry in fields.into_iter().map(SealedEntry::from_fields) {
        let ends = entry.signature.is_some();
        run.push(entry);
        if !ends {
            continue;
        }
        match verify_served_run(keys, std::mem::take(&mut run), verifier) {
            Ok(run) => page.runs.push(run),
            // A profile that rotted, or is lacking: its chain is for others to give, and the rest
            // of the page is as good as any.
            Err(Reject::Body) => {}
            Err(fault) => {
                page.fault = Some(fault);
                return Ok(page);
            }
        }
    }
    if !run.is_empty() {
        page.fault = Some(Reject::Run);
    }
    Ok(page)
}

/// `[1, status, proof, [[id, [header, body] | null], ...]]`: the answer to a request for bodies.
#[derive(Serialize, Deserialize)]
struct BodiesFrame(u8, u8, Digest, Vec<BodyFields>);

type BodyFields = (EntryId, Option<(ByteBuf, ByteBuf)>);

/// What a member has of the bodies asked for, in the order asked; those beyond [`PAGE_BYTES_MAX`]
/// are left to the next request.
#[must_use]
pub fn response_bodies(proof: Digest, bodies: &[(EntryId, Option<SealedEntry>)]) -> Vec<u8> {
    let mut size = 0;
    let fields = bodies.iter().map(|(id, found)| {
        let found = found.as_ref().filter(|_| !planted!(LoseBody)).and_then(|e| {
            let body = e.body.as_ref()?;
            Some((ByteBuf::from(e.header.to_vec()), ByteBuf::from(body.to_vec())))
        });
        (*id, found)
    });
    let fitting = fields.take_while(|(_, found)| {
        let first = size == 0;
        size += 32 + found.as_ref().map_or(0, |(header, body)| header.len() + body.len());
        first || size <= PAGE_BYTES_MAX
    });
    let fields: Vec<BodyFields> = fitting.collect();
    cbor::encode_large(&BodiesFrame(VERSION, STATUS_OK, proof, fields), size + 256)
}

/// The bodies that a member answered with, in the order asked; `None` where it has none, or none
/// that matches.
pub type Bodies = Vec<(EntryId, Option<VerifiedBody>)>;

/// Verifies the answer to a request for bodies that `peer` sent to `me`. One that does not match
/// counts as one that it does not have: nobody is to blame for a disk that rots.
///
/// # Errors
/// [`Reject`] when the frame is malformed, refused, or its proof wrong.
pub fn open_bodies(
    keys: &RoomKeys,
    me: &Peer,
    peer: &Peer,
    bytes: &[u8],
    verifier: &mut Verifier,
) -> Result<Bodies, Reject> {
    if response_is_refused(bytes) {
        return Err(Reject::Proof);
    }
    let BodiesFrame(version, status, proof, fields) = cbor::decode(bytes, RESPONSE_BYTES_MAX)?;
    if version != VERSION {
        return Err(DecodeError::Unknown.into());
    }
    if status != STATUS_OK || !proof.same(&keys.proof(Context::PROOF_RESPONSE, peer, me)) {
        return Err(Reject::Proof);
    }
    if fields.len() > BODIES_ASK_MAX {
        return Err(DecodeError::Bounds.into());
    }
    let open = |(id, found): BodyFields| {
        let verified = found.and_then(|(header, body)| {
            VerifiedBody::verify(keys, &header, body.into_vec(), verifier).ok()
        });
        (id, verified.filter(|v| v.id() == id))
    };
    Ok(fields.into_iter().map(open).collect())
}

/// Whether a response is the one that says no, to whatever request.
fn response_is_refused(bytes: &[u8]) -> bool {
    cbor::decode::<ResponseFrame>(bytes, RESPONSE_BYTES_MAX).is_ok_and(|r| r.1 != STATUS_OK)
}
