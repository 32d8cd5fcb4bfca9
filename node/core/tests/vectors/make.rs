//! Makes the bytes of the vectors from fixed seeds: right ones with the library's encoders, wrong
//! ones by taking right ones apart and signing them again, so that each has one fault only.

use klatch_core::cbor;
use klatch_core::content::Content;
use klatch_core::crypto::seal::{TAG_BYTES, padded_len};
use klatch_core::crypto::{Context, hash, seal, sign};
use klatch_core::identity::Keys;
use klatch_core::ids::{DeviceId, Digest, EntryHash, EntryId, Signature};
use klatch_core::log::entry::{Header, Place, SealedEntry, body_hash, compose, entry_hash};
use serde_bytes::ByteBuf;

use super::judge::Fixture;
use super::raw;

/// Milliseconds of the vectors' clock.
pub const NOW_MS: u64 = 1_760_000_000_000;

/// A person with a device: identity seed 0xa1.., device seed 0xd1...
pub fn alice() -> Keys {
    Keys::from_seeds(&[0xa1; 32], &[0xd1; 32], 1_750_000_000_000)
}

/// Another: identity seed 0xb1.., device seed 0xd2...
pub fn bob() -> Keys {
    Keys::from_seeds(&[0xb1; 32], &[0xd2; 32], 1_750_000_000_001)
}

/// A place at `seq` with made-up neighbours.
pub fn place(seq: u64, parents: &[u8]) -> Place {
    let mut parents: Vec<EntryId> = parents.iter().map(|b| EntryId([*b; 16])).collect();
    parents.sort_unstable();
    let prev = (seq > 0).then_some(EntryHash([0x77; 32]));
    Place { seq, prev, parents, lamport: seq + 3, hlc: (NOW_MS + seq) << 16 }
}

/// A text.
pub fn text(text: &str) -> Content {
    Content::Text { text: text.to_owned(), reply_to: None }
}

/// The opening profile of a chain.
pub fn profile(who: &Keys, name: &str) -> Content {
    Content::Profile { name: name.to_owned(), cert: who.cert().clone() }
}

/// A chain of entries of one device, starting at `seq`, the last one signed.
pub fn run(f: &Fixture, who: &Keys, seq: u64, contents: Vec<Content>) -> Vec<SealedEntry> {
    let mut at = place(seq, if seq == 0 { &[] } else { &[0x11, 0x22] });
    let mut out = Vec::new();
    for content in contents {
        let entry = compose(&f.keys, who.device_id(), at.clone(), content);
        at.prev = Some(entry.hash);
        at.parents.clear();
        (at.seq, at.lamport, at.hlc) = (at.seq + 1, at.lamport + 1, at.hlc + 1);
        out.push(entry.sealed);
    }
    sign_last(who, &mut out);
    out
}

/// Signs the last entry, and only that.
pub fn sign_last(who: &Keys, run: &mut [SealedEntry]) {
    let last = run.last_mut().unwrap();
    let digest = Digest(entry_hash(&last.header).0);
    last.signature = Some(sign(who.device_key(), Context::ENTRY, &digest));
}

/// A run of one entry whose header was changed before its body was sealed to it.
pub fn bent(
    f: &Fixture,
    who: &Keys,
    seq: u64,
    content: &Content,
    bend: impl Fn(&mut Header),
) -> Vec<SealedEntry> {
    sealed(f, who, seq, content, content.encode(), bend)
}

/// As [`bent`], with a plaintext of one's own.
pub fn sealed(
    f: &Fixture,
    who: &Keys,
    seq: u64,
    content: &Content,
    plain: Vec<u8>,
    bend: impl Fn(&mut Header),
) -> Vec<SealedEntry> {
    let model = compose(&f.keys, who.device_id(), place(seq, &[]), content.clone());
    let mut header = model.header;
    header.body_len = (padded_len(plain.len()) + TAG_BYTES) as u32;
    bend(&mut header);
    let body = f.keys.seal_body(&header.core(&header.encode()), plain);
    if header.body_hash.is_some() {
        header.body_hash = Some(body_hash(&body));
    }
    let mut run = vec![SealedEntry {
        header: header.encode().into(),
        signature: None,
        body: Some(body.into()),
    }];
    sign_last(who, &mut run);
    run
}

/// The bytes of a run as in a page: `[[header, sig|null, body|null], ...]`.
pub fn run_bytes(run: &[SealedEntry]) -> Vec<u8> {
    cbor::encode(&run.iter().map(SealedEntry::to_fields).collect::<Vec<_>>())
}

/// Signs a structure given by its fields (version first, signature absent) and appends the
/// signature.
pub fn signed(who: &Keys, context: Context, fields: &[Vec<u8>]) -> Vec<u8> {
    let digest = hash(context, &[&raw::array(fields)]);
    let signature = sign(who.device_key(), context, &digest);
    raw::array(&[fields.to_vec(), vec![raw::blob(&signature.0)]].concat())
}

/// One item of a frontier.
pub fn height(device: &[u8], seq: u64, hash: &[u8]) -> Vec<u8> {
    raw::array(&[raw::blob(device), raw::uint(seq), raw::blob(hash)])
}

/// Fields of an acknowledgement in this fixture's room.
pub fn ack_fields(f: &Fixture, device: &DeviceId, frontier: &[Vec<u8>]) -> Vec<Vec<u8>> {
    vec![raw::uint(1), raw::blob(&f.keys.room.0), raw::blob(&device.0), raw::array(frontier)]
}

/// Fields of a presence record in this fixture's room.
pub fn presence_fields(f: &Fixture, device: &DeviceId, peer: &[u8]) -> Vec<Vec<u8>> {
    vec![
        raw::uint(1),
        raw::blob(&f.keys.room.0),
        raw::blob(&device.0),
        raw::blob(peer),
        raw::blob(&[0x44; 32]),
        raw::uint(NOW_MS + 180_000),
    ]
}

/// An envelope whose sealed head holds exactly `head` (padded unless `as_is`), signed with the
/// topic key.
pub fn envelope(
    f: &Fixture,
    version: u8,
    head: &[u8],
    as_is: bool,
    bodies: &[Option<Vec<u8>>],
) -> Vec<u8> {
    let topic_pk = f.keys.topic_key().verifying_key().to_bytes();
    let (slot, nonce) = ((NOW_MS / 600_000) as u32, [0x5a; 24]);
    let aad = [&[version][..], &topic_pk, &slot.to_le_bytes()].concat();
    let mut head = head.to_vec();
    if !as_is {
        seal::pad(&mut head);
    }
    let head = seal::seal(f.keys.envelope_key(), &nonce, &aad, &head);
    signed_envelope(f, version, &head, bodies)
}

/// An envelope around a head that is sealed already, signed with the topic key.
pub fn signed_envelope(
    f: &Fixture,
    version: u8,
    head: &[u8],
    bodies: &[Option<Vec<u8>>],
) -> Vec<u8> {
    let topic_pk = f.keys.topic_key().verifying_key().to_bytes();
    let (slot, nonce) = ((NOW_MS / 600_000) as u32, [0x5a; 24]);
    let aad = [&[version][..], &topic_pk, &slot.to_le_bytes()].concat();
    let hashes: Vec<u8> =
        bodies.iter().flat_map(|b| b.as_ref().map_or([0; 32], |b| body_hash(b).0)).collect();
    let digest = hash(Context::ENVELOPE, &[&aad, &nonce, head, &hashes]);
    let signature: Signature = sign(f.keys.topic_key(), Context::ENVELOPE, &digest);
    let bodies: Vec<Vec<u8>> =
        bodies.iter().map(|b| b.as_ref().map_or(raw::null(), |b| raw::blob(b))).collect();
    raw::array(&[
        raw::uint(u64::from(version)),
        raw::blob(&topic_pk),
        raw::uint(u64::from(slot)),
        raw::blob(&nonce),
        raw::blob(head),
        raw::array(&bodies),
        raw::blob(&signature.0),
    ])
}

/// The head of an envelope: `[type, payload]`.
pub fn head(kind: u64, payload: &[u8]) -> Vec<u8> {
    raw::array(&[raw::uint(kind), raw::blob(payload)])
}

/// The payload of a run's envelope and the bodies beside it.
pub fn split(run: &[SealedEntry]) -> (Vec<u8>, Vec<Option<Vec<u8>>>) {
    let heads: Vec<_> =
        run.iter().map(|e| (ByteBuf::from(e.header.to_vec()), e.signature)).collect();
    (cbor::encode(&heads), run.iter().map(|e| e.body.as_ref().map(|b| b.to_vec())).collect())
}

/// A request frame from the fixture's peer to this node.
pub fn request(f: &Fixture, kind: u64, body: &[u8]) -> Vec<u8> {
    let proof = f.keys.proof(Context::PROOF_REQUEST, &f.peer, &f.me);
    raw::array(&[
        raw::uint(1),
        raw::uint(kind),
        raw::blob(&f.keys.epoch.0),
        raw::blob(&proof.0),
        raw::blob(body),
    ])
}
