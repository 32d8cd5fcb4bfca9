//! What a correct implementation says about bytes of each structure: refused, and why, or accepted,
//! and what they mean. Used to write and check the vectors, and as the target of arbitrary and
//! mutated bytes.

use klatch_core::cbor::{self, DecodeError};
use klatch_core::content::{Content, Kind};
use klatch_core::crypto::group::{RoomKeys, RoomRoot};
use klatch_core::crypto::seal;
use klatch_core::crypto::{Context, Verifier, derive};
use klatch_core::delivery::VerifiedAck;
use klatch_core::direct::frame::{self, VerifiedAnswer, VerifiedFrame};
use klatch_core::error::Reject;
use klatch_core::identity::DeviceCert;
use klatch_core::ids::{Digest, Nonce, Peer, base32};
use klatch_core::limits::RESPONSE_BYTES_MAX;
use klatch_core::log::entry::VerifiedBody;
use klatch_core::log::entry::{
    EntryFields, Header, SealedEntry, VerifiedRun, entry_hash, verify_run,
};
use klatch_core::presence::VerifiedPresence;
use klatch_core::wire::{self, Frontier, Gossip, Request};
use serde_json::{Value, json};

/// The stretched secret of the room that all vectors with keys are in.
pub const ROOT: [u8; 32] = *b"a stretched secret for vectors..";

/// The acknowledgement key, and the hash of the frame, of acknowledgements of direct messages in
/// the vectors.
pub const ACK_KEY: Digest = Digest([0xac; 32]);
/// See [`ACK_KEY`].
pub const FRAME: Nonce = Nonce([0xfa; 16]);

/// Structures that are decoded from bytes, in the order of the specification.
pub const STRUCTURES: &[&str] = &[
    "padding",
    "device_cert",
    "header",
    "run",
    "content",
    "envelope",
    "request",
    "response",
    "bodies",
    "ack",
    "presence",
    "direct_request",
    "direct_answer",
];

/// The keys and peers that structures are checked with.
pub struct Fixture {
    /// Of the room with root [`ROOT`].
    pub keys: RoomKeys,
    /// The receiving peer.
    pub me: Peer,
    /// The sending peer.
    pub peer: Peer,
    /// Checks signatures.
    pub verifier: Verifier,
}

impl Fixture {
    /// The one fixture.
    pub fn new() -> Self {
        let keys = RoomKeys::of_root(&RoomRoot::from_bytes(ROOT));
        Self { keys, me: peer(0x3e), peer: peer(0x9e), verifier: Verifier::default() }
    }
}

/// A transport peer id with the shape of an Ed25519 one.
fn peer(byte: u8) -> Peer {
    Peer([&[0, 0x24, 8, 1, 0x12, 0x20][..], &[byte; 32]].concat())
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Inverse of [`hex`].
pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// The word for a refusal in vector files.
pub fn reason(reject: Reject) -> &'static str {
    match reject {
        Reject::Decode(DecodeError::TooLong) => "too_long",
        Reject::Decode(DecodeError::Malformed) => "malformed",
        Reject::Decode(DecodeError::Trailing) => "trailing",
        Reject::Decode(DecodeError::NotCanonical) => "not_canonical",
        Reject::Decode(DecodeError::Unknown) => "unknown",
        Reject::Decode(DecodeError::Bounds) => "bounds",
        other => other.name(),
    }
}

/// Decodes and verifies `bytes`; says what they mean. `kind` is the header's kind for `content`;
/// `forwarding` says whether the topic signature of an `envelope` is looked at.
pub fn judge(
    fixture: &mut Fixture,
    structure: &str,
    kind: Option<u8>,
    forwarding: bool,
    bytes: &[u8],
) -> Result<Value, Reject> {
    let Fixture { keys, me, peer, verifier } = fixture;
    match structure {
        "padding" => Ok(json!({ "plain": brief(seal::unpad(bytes)?) })),
        "device_cert" => {
            let cert = DeviceCert::decode(bytes)?;
            assert_eq!(cert.encode(), bytes, "another encoding was accepted");
            if cert.verify(verifier) { Ok(cert_fields(&cert)) } else { Err(Reject::Signature) }
        }
        "header" => {
            let header = Header::decode(bytes)?;
            assert_eq!(header.encode(), bytes, "another encoding was accepted");
            Ok(header_fields(&header, bytes))
        }
        "content" => {
            let kind = kind.and_then(Kind::from_code).ok_or(DecodeError::Unknown)?;
            let content = Content::decode(kind, bytes)?;
            // Of a newer kind the bytes are carried, not read.
            assert!(is_newer(kind) || content.encode() == bytes, "another encoding was accepted");
            assert_eq!(content.kind(), kind);
            Ok(content_fields(&content))
        }
        "run" => {
            let entries: Vec<EntryFields> = cbor::decode(bytes, RESPONSE_BYTES_MAX)?;
            let entries = entries.into_iter().map(SealedEntry::from_fields).collect();
            Ok(run_fields(&verify_run(keys, entries, verifier)?))
        }
        "ack" => Ok(ack_fields(&VerifiedAck::verify(keys, bytes, verifier)?)),
        "presence" => Ok(presence_fields(&VerifiedPresence::verify(keys, bytes, verifier)?)),
        "envelope" => Ok(match wire::open_envelope(keys, bytes, forwarding, verifier)? {
            Gossip::Run(run) => json!({ "run": run_fields(&run) }),
            Gossip::Beacon(ack) => json!({ "beacon": ack_fields(&ack) }),
            Gossip::Presence(presence) => json!({ "presence": presence_fields(&presence) }),
        }),
        "request" => {
            let epoch = wire::request_epoch(bytes)?;
            let request = wire::open_request(keys, me, peer, bytes, verifier)?;
            assert_eq!(epoch, keys.epoch);
            Ok(match request {
                Request::Sync(sync) => {
                    json!({ "sync": { "bytes_max": sync.bytes_max, "frontier": frontier_fields(&sync.frontier) } })
                }
                Request::Ack(ack) => json!({ "ack": ack_fields(&ack) }),
                Request::Hello(presence, process) => {
                    let mut fields = presence_fields(&presence);
                    fields["process"] = hex(&process.0).into();
                    json!({ "hello": fields })
                }
                Request::Bodies { entries, .. } => {
                    json!({ "bodies": entries.iter().map(|id| hex(&id.0)).collect::<Vec<_>>() })
                }
            })
        }
        "response" => {
            let page = wire::open_page(keys, me, peer, bytes, verifier)?;
            match page.fault {
                Some(fault) => Err(fault),
                None => Ok(json!({
                    "runs": page.runs.iter().map(run_fields).collect::<Vec<_>>(),
                    "frontier": frontier_fields(&page.frontier),
                    "more": page.more,
                })),
            }
        }
        "bodies" => {
            let plain = |body: &VerifiedBody| brief(&body.content().encode());
            let bodies = wire::open_bodies(keys, me, peer, bytes, verifier)?;
            Ok(bodies
                .iter()
                .map(|(id, body)| json!({ "id": hex(&id.0), "plain": body.as_ref().map(plain) }))
                .collect())
        }
        "direct_request" => Ok(match frame::open_request(me, peer, bytes, verifier)? {
            VerifiedFrame::Ask { nonce, cert } => {
                json!({ "ask": { "nonce": hex(&nonce.0), "cert": cert_fields(&cert) } })
            }
            VerifiedFrame::Message(m) => json!({ "message": {
                "device": hex(&m.device.0),
                "session": hex(&m.session.0),
                "number": m.number,
                "begins": m.begins,
                "olm": brief(&m.bytes),
                "hash": hex(&frame::frame_hash(&m.bytes).0),
            } }),
            _ => unreachable!("no other frame"),
        }),
        "direct_answer" => Ok(match frame::open_answer(me, peer, bytes, verifier)? {
            VerifiedAnswer::Bundle(b) => json!({ "bundle": {
                "nonce": hex(&b.nonce.0),
                "cert": cert_fields(&b.cert),
                "identity_key": hex(&b.identity_key.0),
                "one_time_key": hex(&b.one_time_key.0),
                "fallback": b.fallback,
            } }),
            VerifiedAnswer::Stored(s) => {
                let right =
                    frame::stored_code(&ACK_KEY, s.session, FRAME, s.next, s.bits) == s.code;
                json!({ "stored": {
                    "session": hex(&s.session.0), "next": s.next, "bits": s.bits, "code_is_right": right,
                } })
            }
            VerifiedAnswer::NoSession(s) => json!({ "no_session": hex(&s.0) }),
            VerifiedAnswer::Unreadable(s, n) => json!({ "unreadable": [hex(&s.0), n] }),
            VerifiedAnswer::Refused => json!("refused"),
            _ => unreachable!("no other answer"),
        }),
        other => unreachable!("no structure {other}"),
    }
}

/// Hexadecimal, or only the length of what is long.
fn brief(bytes: &[u8]) -> Value {
    if bytes.len() <= 1_024 { json!(hex(bytes)) } else { json!(bytes.len()) }
}

fn cert_fields(cert: &DeviceCert) -> Value {
    json!({
        "identity": hex(&cert.identity.0),
        "device": hex(&cert.device.0),
        "not_before": cert.not_before,
        "not_after": cert.not_after,
        "n": cert.n,
    })
}

fn header_fields(header: &Header, bytes: &[u8]) -> Value {
    let hash = entry_hash(bytes);
    json!({
        "hash": hex(&hash.0),
        "id": hash.id().to_string(),
        "core": hex(&header.core(bytes).0),
        "seq": header.seq,
        "parents": header.parents.iter().map(|p| hex(&p.0)).collect::<Vec<_>>(),
        "lamport": header.lamport,
        "hlc": header.hlc,
        "kind": header.kind.code(),
        "ttl": header.ttl,
        "body_len": header.body_len,
    })
}

fn content_fields(content: &Content) -> Value {
    match content {
        Content::Profile { name, cert } => json!({ "name": name, "cert": cert_fields(cert) }),
        Content::Text { text, reply_to } => {
            json!({ "text_bytes": text.len(), "reply_to": reply_to.map(|r| hex(&r.0)) })
        }
        Content::Edit { target, text } => json!({ "text": text, "target": hex(&target.0) }),
        Content::Delete { target } => json!({ "target": hex(&target.0) }),
        Content::Reaction { target, emoji, on } => {
            json!({ "target": hex(&target.0), "emoji": emoji, "on": on })
        }
        Content::Notice { text } => json!({ "text": text }),
        Content::Leave => json!({}),
        Content::Newer(code) => json!({ "newer": code }),
    }
}

/// Whether this is a kind whose content nobody reads yet.
pub fn is_newer(kind: Kind) -> bool {
    matches!(kind, Kind::Newer(_))
}

/// The plaintext of an entry of the fixture's room, opened without the library's reading of
/// contents.
fn plaintext(header: &Header, sealed: &SealedEntry) -> Option<Vec<u8>> {
    let core = header.core(&sealed.header);
    let key = derive(&derive(&ROOT, Context::STATIC_EPOCH, &[]), Context::MESSAGE_KEY, &[&core.0]);
    let padded = seal::open(&key, &[0; 24], &core.0, sealed.body.as_deref()?).unwrap();
    Some(seal::unpad(&padded).unwrap().to_vec())
}

fn run_fields(run: &VerifiedRun) -> Value {
    let entry = |e: &klatch_core::log::entry::VerifiedEntry| {
        let plain = plaintext(&e.header, &e.sealed);
        let read = e.content.as_ref().filter(|c| !is_newer(c.kind())).map(Content::encode);
        assert!(read.is_none() || read == plain, "another plaintext was read");
        json!({
            "hash": hex(&e.hash.0),
            "device": base32(&e.header.device.0),
            "plain": plain.as_deref().map(brief),
        })
    };
    Value::Array(run.entries().iter().map(entry).collect())
}

fn frontier_fields(frontier: &Frontier) -> Value {
    Value::Array(frontier.iter().map(|(d, seq, h)| json!([hex(&d.0), seq, hex(&h.0)])).collect())
}

fn ack_fields(ack: &VerifiedAck) -> Value {
    json!({ "device": hex(&ack.device.0), "frontier": frontier_fields(&ack.frontier) })
}

fn presence_fields(presence: &VerifiedPresence) -> Value {
    json!({
        "device": hex(&presence.device.0),
        "peer": hex(&presence.peer.0),
        "direct": hex(&presence.direct.0),
        "expires_ms": presence.expires_ms,
    })
}
