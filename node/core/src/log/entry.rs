//! The signed entry and the run: how one is made and how one is verified (PROTOCOL.md 5).
//!
//! Bytes are kept as received: hashes and signatures cover those, never a re-encoding. A
//! [`VerifiedRun`] can only be made by [`verify_run`] or by signing one's own, so nothing
//! unverified can enter the state machine.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

use crate::cbor::{self, DecodeError};
use crate::content::{Content, Kind};
use crate::crypto::group::RoomKeys;
use crate::crypto::seal::{TAG_BYTES, padded_len};
use crate::crypto::{Context, Verifier, hash, sign};
use crate::error::Reject;
use crate::ids::{DeviceId, Digest, EntryHash, EntryId, EpochId, RoomId, Signature};
use crate::limits::{
    BODY_BYTES_MAX, BODY_BYTES_MIN, ENTRY_BYTES_MAX, HEADER_BYTES_MAX, PARENTS_MAX, RUN_BYTES_MAX,
    RUN_ENTRIES_MAX,
};

/// Everything about an entry but its text (PROTOCOL.md 5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The room it belongs to.
    pub room: RoomId,
    /// The writing device.
    pub device: DeviceId,
    /// Position in the device's chain in this room, from 0.
    pub seq: u64,
    /// The entry before it in the chain; `None` at 0.
    pub prev: Option<EntryHash>,
    /// Newest entries of other chains that the author had and that nothing else followed; sorted,
    /// no duplicates.
    pub parents: Vec<EntryId>,
    /// One more than the largest among `prev` and `parents`; 0 without any.
    pub lamport: u64,
    /// Hybrid logical clock: Unix milliseconds << 16 | counter.
    pub hlc: u64,
    /// What the body is.
    pub kind: Kind,
    /// The credential acted under; `None` in open rooms.
    pub auth: Option<EntryId>,
    /// The keys used.
    pub epoch: EpochId,
    /// Index in the sender's ratchet; 0 in open rooms, which have none.
    pub index: u64,
    /// Seconds until the body is dropped everywhere.
    pub ttl: Option<u32>,
    /// Hash of the sealed body. Never `None` in version 1, whose kinds all have a body.
    pub body_hash: Option<Digest>,
    /// Length of the sealed body.
    pub body_len: u32,
}

type HeaderFields = (
    u8,
    RoomId,
    DeviceId,
    u64,
    Option<EntryHash>,
    Vec<EntryId>,
    u64,
    u64,
    u8,
    Option<EntryId>,
    EpochId,
    u64,
    Option<u32>,
    Option<Digest>,
    u32,
);

impl Header {
    const VERSION: u8 = 1;

    /// The bytes that are hashed and sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let h = self.clone();
        cbor::encode::<HeaderFields>(&(
            Self::VERSION,
            h.room,
            h.device,
            h.seq,
            h.prev,
            h.parents,
            h.lamport,
            h.hlc,
            h.kind.code(),
            h.auth,
            h.epoch,
            h.index,
            h.ttl,
            h.body_hash,
            h.body_len,
        ))
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`DecodeError`], also when parents are too many or unsorted, position and `prev` disagree,
    /// or no body is named.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let f: HeaderFields = cbor::decode(bytes, HEADER_BYTES_MAX)?;
        if f.0 != Self::VERSION {
            return Err(DecodeError::Unknown);
        }
        let kind = Kind::from_code(f.8).ok_or(DecodeError::Unknown)?;
        let sorted = f.5.windows(2).all(|w| w[0] < w[1]);
        // Every kind has a body, so a header always names one: a missing body is one that was
        // dropped.
        let body = f.13.is_some() && (BODY_BYTES_MIN..=BODY_BYTES_MAX).contains(&(f.14 as usize));
        if f.5.len() > PARENTS_MAX || !sorted || (f.3 == 0) != f.4.is_none() || !body {
            return Err(DecodeError::Bounds);
        }
        Ok(Self {
            room: f.1,
            device: f.2,
            seq: f.3,
            prev: f.4,
            parents: f.5,
            lamport: f.6,
            hlc: f.7,
            kind,
            auth: f.9,
            epoch: f.10,
            index: f.11,
            ttl: f.12,
            body_hash: f.13,
            body_len: f.14,
        })
    }

    /// Hash of the header up to, and without, the body fields: the message key is bound to it. The
    /// fields are a prefix of the encoding because the encoding is canonical.
    #[must_use]
    pub fn core(&self, encoded: &[u8]) -> Digest {
        let tail = cbor::encode(&self.body_hash).len() + cbor::encode(&self.body_len).len();
        hash(Context::ENTRY_CORE, &[&encoded[..encoded.len().saturating_sub(tail)]])
    }
}

/// The hash that names an entry.
#[must_use]
pub fn entry_hash(header: &[u8]) -> EntryHash {
    EntryHash(hash(Context::ENTRY, &[header]).0)
}

/// Hash of a sealed body.
#[must_use]
pub fn body_hash(sealed: &[u8]) -> Digest {
    hash(Context::BODY, &[sealed])
}

/// An entry as it travels and as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedEntry {
    /// Encoded [`Header`].
    pub header: Arc<[u8]>,
    /// The device's signature on the entry hash; `None` inside a run.
    pub signature: Option<Signature>,
    /// The sealed body; `None` where it was deleted or is not stored.
    pub body: Option<Arc<[u8]>>,
}

/// The wire form of a [`SealedEntry`]: `[header, sig|null, body|null]`.
pub type EntryFields = (serde_bytes::ByteBuf, Option<Signature>, Option<serde_bytes::ByteBuf>);

impl SealedEntry {
    /// Bytes it takes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.header.len() + 64 + self.body.as_ref().map_or(0, |b| b.len()) + 16
    }

    /// Never: an entry has a header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.header.is_empty()
    }

    /// To the wire form.
    #[must_use]
    pub fn to_fields(&self) -> EntryFields {
        let bytes = |b: &Arc<[u8]>| serde_bytes::ByteBuf::from(b.to_vec());
        (bytes(&self.header), self.signature, self.body.as_ref().map(bytes))
    }

    /// From the wire form.
    #[must_use]
    pub fn from_fields((header, signature, body): EntryFields) -> Self {
        Self {
            header: header.into_vec().into(),
            signature,
            body: body.map(|b| b.into_vec().into()),
        }
    }
}

/// An entry whose bytes were checked, with its body opened where there is one.
#[derive(Debug, Clone)]
pub struct VerifiedEntry {
    /// Decoded header.
    pub header: Header,
    /// Its hash.
    pub hash: EntryHash,
    /// The bytes.
    pub sealed: SealedEntry,
    /// The opened body, passed through to events and never kept by the core.
    pub content: Option<Content>,
}

/// 1 to 64 consecutive entries of one device, the last one signed: accepted, stored and served
/// whole.
#[derive(Debug, Clone)]
pub struct VerifiedRun {
    entries: Vec<VerifiedEntry>,
}

impl VerifiedRun {
    /// The entries, in order; at least one.
    #[must_use]
    pub fn entries(&self) -> &[VerifiedEntry] {
        &self.entries
    }

    /// The first entry.
    #[must_use]
    pub fn first(&self) -> &VerifiedEntry {
        &self.entries[0]
    }

    /// The last, signed entry.
    #[must_use]
    pub fn last(&self) -> &VerifiedEntry {
        &self.entries[self.entries.len() - 1]
    }

    /// Takes the entries out.
    #[must_use]
    pub fn into_entries(self) -> Vec<VerifiedEntry> {
        self.entries
    }

    /// Bytes it takes.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.entries.iter().map(|e| e.sealed.len()).sum()
    }

    /// Signs one's own pending entries as a run; `None` if there are none.
    #[must_use]
    pub(crate) fn sign(key: &SigningKey, mut entries: Vec<VerifiedEntry>) -> Option<Self> {
        let last = entries.last_mut()?;
        last.sealed.signature = Some(sign(key, Context::ENTRY, &Digest(last.hash.0)));
        Some(Self { entries })
    }
}

/// Fields of an own entry that the log decides.
#[derive(Debug, Clone)]
pub struct Place {
    /// Position.
    pub seq: u64,
    /// Entry before it.
    pub prev: Option<EntryHash>,
    /// Tips of other chains.
    pub parents: Vec<EntryId>,
    /// Lamport clock.
    pub lamport: u64,
    /// Hybrid logical clock.
    pub hlc: u64,
}

/// Makes an own entry, not signed yet (PROTOCOL.md 5.2).
#[must_use]
pub fn compose(keys: &RoomKeys, device: DeviceId, place: Place, content: Content) -> VerifiedEntry {
    let plain = content.encode();
    let body_len = padded_len(plain.len()) + TAG_BYTES;
    let mut header = Header {
        room: keys.room,
        device,
        seq: place.seq,
        prev: place.prev,
        parents: place.parents,
        lamport: place.lamport,
        hlc: place.hlc,
        kind: content.kind(),
        auth: None,
        epoch: keys.epoch,
        index: 0,
        ttl: None,
        body_hash: Some(Digest([0; 32])),
        body_len: u32::try_from(body_len).unwrap_or(u32::MAX),
    };
    // The core ends before the body fields, so a placeholder of the same shape gives the final
    // core.
    let core = header.core(&header.encode());
    let body = keys.seal_body(&core, plain);
    header.body_hash = Some(body_hash(&body));
    let bytes = header.encode();
    let hash = entry_hash(&bytes);
    let sealed = SealedEntry { header: bytes.into(), signature: None, body: Some(body.into()) };
    VerifiedEntry { header, hash, sealed, content: Some(content) }
}

/// Checks everything about a run that does not depend on what is known already: sizes, canonical
/// encoding, room and epoch, the hash chain inside, body hashes, the one signature, and that every
/// present body opens to bounded content of its kind.
///
/// # Errors
/// [`Reject`]; the sender of such a run broke a rule that an honest node never breaks.
pub fn verify_run(
    keys: &RoomKeys,
    sealed: Vec<SealedEntry>,
    verifier: &mut Verifier,
) -> Result<VerifiedRun, Reject> {
    verify(keys, sealed, verifier, Rotten::Refused)
}

/// As [`verify_run`], for a run that a member read from its disk: a body that does not match its
/// header rotted there, and counts as one that was not given. Header, chain and signature are good.
///
/// # Errors
/// [`Reject`]; `Body` if it is a profile whose body is of no use, which says nothing against the
/// sender.
pub fn verify_served_run(
    keys: &RoomKeys,
    sealed: Vec<SealedEntry>,
    verifier: &mut Verifier,
) -> Result<VerifiedRun, Reject> {
    verify(keys, sealed, verifier, Rotten::Dropped)
}

/// What becomes of a body that does not match its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rotten {
    Refused,
    Dropped,
}

fn verify(
    keys: &RoomKeys,
    sealed: Vec<SealedEntry>,
    verifier: &mut Verifier,
    rotten: Rotten,
) -> Result<VerifiedRun, Reject> {
    let bytes: usize = sealed.iter().map(SealedEntry::len).sum();
    if sealed.is_empty()
        || sealed.len() > RUN_ENTRIES_MAX
        || (sealed.len() > 1 && bytes > RUN_BYTES_MAX)
    {
        return Err(Reject::Run);
    }
    let end = sealed.len() - 1;
    let mut entries: Vec<VerifiedEntry> = Vec::with_capacity(sealed.len());
    for (i, mut sealed) in sealed.into_iter().enumerate() {
        if sealed.len() > ENTRY_BYTES_MAX {
            return Err(Reject::Decode(DecodeError::TooLong));
        }
        let header = Header::decode(&sealed.header)?;
        if header.room != keys.room || header.epoch != keys.epoch {
            return Err(Reject::UnknownRoom);
        }
        let follows = entries.last().is_none_or(|p| {
            p.header.device == header.device
                && p.header.seq.checked_add(1) == Some(header.seq)
                && header.prev == Some(p.hash)
        });
        let signed_right =
            sealed.signature.is_some() == (i == end) && (!header.kind.ends_run() || i == end);
        if !follows || !signed_right {
            return Err(Reject::Run);
        }
        let content = match open_body(keys, &header, &sealed, verifier) {
            Err(Reject::Body) if rotten == Rotten::Dropped && header.kind != Kind::Profile => {
                sealed.body = None;
                None
            }
            opened => opened?,
        };
        let hash = entry_hash(&sealed.header);
        entries.push(VerifiedEntry { header, hash, sealed, content });
    }
    let last = &entries[end];
    let signature = last.sealed.signature.ok_or(Reject::Run)?;
    if !verifier.check(&last.header.device.0, Context::ENTRY, &Digest(last.hash.0), &signature)
        && !planted!(SkipSignature)
    {
        return Err(Reject::Signature);
    }
    Ok(VerifiedRun { entries })
}

/// A body must match its header and open; the first entry of a chain must be a profile whose
/// certificate names the device.
fn open_body(
    keys: &RoomKeys,
    header: &Header,
    sealed: &SealedEntry,
    verifier: &mut Verifier,
) -> Result<Option<Content>, Reject> {
    if header.seq == 0 && header.kind != Kind::Profile {
        return Err(Reject::Rule);
    }
    let Some(body) = &sealed.body else {
        return if header.kind == Kind::Profile { Err(Reject::Body) } else { Ok(None) };
    };
    if body.len() != header.body_len as usize || header.body_hash != Some(body_hash(body)) {
        return Err(Reject::Body);
    }
    let content = keys.open_body(header, &sealed.header, body)?;
    if let Content::Profile { cert, .. } = &content
        && (cert.device != header.device || !cert.verify(verifier))
    {
        return Err(Reject::Signature);
    }
    Ok(Some(content))
}

/// Whether a body is the one that a header names: it may have rotted on a disk. A header that
/// cannot be read names none.
#[must_use]
pub fn is_body_of(header: &[u8], body: &[u8]) -> bool {
    Header::decode(header).is_ok_and(|h| h.body_hash == Some(body_hash(body)))
}

/// A body that was checked against the header that came with it, and opened.
#[derive(Debug, Clone)]
pub struct VerifiedBody {
    header: Header,
    hash: EntryHash,
    body: Arc<[u8]>,
    content: Content,
}

impl VerifiedBody {
    /// Checks everything about a body that does not depend on what is known already. That the
    /// header is that of an entry in the log is for the caller to find by its hash.
    ///
    /// # Errors
    /// [`Reject`].
    pub fn verify(
        keys: &RoomKeys,
        header: &[u8],
        body: Vec<u8>,
        verifier: &mut Verifier,
    ) -> Result<Self, Reject> {
        let decoded = Header::decode(header)?;
        if decoded.room != keys.room || decoded.epoch != keys.epoch {
            return Err(Reject::UnknownRoom);
        }
        let body: Arc<[u8]> = body.into();
        let sealed =
            SealedEntry { header: header.into(), signature: None, body: Some(body.clone()) };
        let content = open_body(keys, &decoded, &sealed, verifier)?.ok_or(Reject::Body)?;
        Ok(Self { hash: entry_hash(header), header: decoded, body, content })
    }

    /// Of which entry.
    #[must_use]
    pub fn id(&self) -> EntryId {
        self.hash.id()
    }

    /// Its header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Sealed, as received.
    #[must_use]
    pub fn body(&self) -> &Arc<[u8]> {
        &self.body
    }

    /// Opened.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }
}

/// Milliseconds of a hybrid logical clock value.
#[must_use]
pub fn hlc_ms(hlc: u64) -> u64 {
    hlc >> 16
}

/// One half of the proof that a device wrote two entries in one place (PROTOCOL.md 5.5): the
/// headers of the refused branch up to their signature. The other half is the branch in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkBranch(pub Vec<(serde_bytes::ByteBuf, Option<Signature>)>);

impl ForkBranch {
    /// The headers and signatures of a run.
    #[must_use]
    pub fn of(run: &VerifiedRun) -> Self {
        let entries = run.entries.iter();
        Self(
            entries
                .map(|e| (serde_bytes::ByteBuf::from(e.sealed.header.to_vec()), e.sealed.signature))
                .collect(),
        )
    }

    /// The bytes kept as proof.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }
}
