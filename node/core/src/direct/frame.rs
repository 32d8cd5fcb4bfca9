//! What nodes say to each other about direct messages (PROTOCOL.md 11): frames and answers, their
//! caps, and the signatures in them. Nothing here needs state, so workers do all of it; what is
//! sealed inside is opened by the core.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::cbor::{self, DecodeError};
use crate::crypto::{Context, Verifier, derive, hash, sign};
use crate::error::Reject;
use crate::identity::{DeviceCert, Keys};
use crate::ids::{DeviceId, Digest, Nonce, Peer, SessionKey, SessionTag, Signature};
use crate::limits::ENVELOPE_BYTES_MAX;

const VERSION: u8 = 1;
/// Longest answer: a bundle with its certificate is below 500 B.
pub const ANSWER_BYTES_MAX: usize = 1_024;

const TYPE_ASK: u8 = 1;
const TYPE_MESSAGE: u8 = 2;

const ANSWER_BUNDLE: u8 = 1;
const ANSWER_STORED: u8 = 2;
const ANSWER_NO_SESSION: u8 = 3;
const ANSWER_UNREADABLE: u8 = 4;
const ANSWER_REFUSED: u8 = 5;

/// `[1, type, body bytes]`, for frames and for answers.
#[derive(Serialize, Deserialize)]
struct Frame(u8, u8, ByteBuf);

/// A frame that came from a peer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum VerifiedFrame {
    /// The peer wants to begin a session. It is the device of `cert`: the signature covers both
    /// peer ids.
    Ask {
        /// Repeated in the bundle.
        nonce: Nonce,
        /// Who asks.
        cert: DeviceCert,
    },
    /// Something sealed. That it comes from `device` is believed once it opens.
    Message(Sealed),
}

/// A sealed direct message on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The sending device.
    pub device: DeviceId,
    /// The session.
    pub session: SessionTag,
    /// Position among what this side says in the session, from 0; `None` for what is not kept
    /// (receipts, typing).
    pub number: Option<u64>,
    /// The Olm message is of the kind that begins a session.
    pub begins: bool,
    /// The Olm message.
    pub bytes: Vec<u8>,
}

/// The answer to a frame of ours.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum VerifiedAnswer {
    /// Keys to begin a session with.
    Bundle(Box<Bundle>),
    /// It is on the disk of whoever could open it.
    Stored(Stored),
    /// That session is not known: begin a new one.
    NoSession(SessionTag),
    /// The session is known, but this frame cannot be opened any more: seal it anew.
    Unreadable(SessionTag, Option<u64>),
    /// Not taken, for whatever reason: try again later.
    Refused,
}

/// Keys of a device to begin a session with. The signature covers both peer ids and the nonce of
/// the question.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// From the question.
    pub nonce: Nonce,
    /// Whose keys.
    pub cert: DeviceCert,
    /// Its identity key of the session layer.
    pub identity_key: SessionKey,
    /// Binds that key to the device: [`sign_key`].
    pub key_signature: Signature,
    /// A key for one session.
    pub one_time_key: SessionKey,
    /// It is the fallback key: others may have been given the same.
    pub fallback: bool,
}

/// The message that this answers is on the other disk. `next` and `bits` say what else is there of
/// the session: every number below `next`, and `next + 1 + i` for each bit `i`. They do not
/// acknowledge: a sender that continues from an old copy of its disk gives the same numbers to
/// other messages. It learns from them that it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The session.
    pub session: SessionTag,
    /// All numbers below are stored.
    pub next: u64,
    /// Numbers above `next` that are stored.
    pub bits: u64,
    /// [`stored_code`]: only who opened a message of this session knows the key, and it names the
    /// very frame.
    pub code: Nonce,
}

impl Stored {
    /// Whether it says that a number is stored.
    #[must_use]
    pub fn covers(&self, number: u64) -> bool {
        let bit = number.checked_sub(self.next.saturating_add(1)).filter(|b| *b < 64);
        number < self.next || bit.is_some_and(|b| self.bits >> b & 1 == 1)
    }
}

/// The hash by which a sealed frame is known again.
#[must_use]
pub fn frame_hash(olm_bytes: &[u8]) -> Nonce {
    let digest = hash(Context::DIRECT_FRAME, &[olm_bytes]);
    let mut short = [0; 16];
    short.copy_from_slice(&digest.0[..16]);
    Nonce(short)
}

/// The code that makes an acknowledgement end to end. The key was sent inside the session.
#[must_use]
pub fn stored_code(key: &Digest, session: SessionTag, frame: Nonce, next: u64, bits: u64) -> Nonce {
    let parts: [&[u8]; 4] = [&session.0, &frame.0, &next.to_le_bytes(), &bits.to_le_bytes()];
    let code = derive(&key.0, Context::DIRECT_STORED, &parts);
    let mut out = [0; 16];
    out.copy_from_slice(&code[..16]);
    Nonce(out)
}

fn key_digest(device: &DeviceId, key: &SessionKey) -> Digest {
    hash(Context::DIRECT_KEY, &[&device.0, &key.0])
}

/// The device says that a session-layer identity key is its own. The same for everybody: it proves
/// no conversation.
#[must_use]
pub fn sign_key(keys: &Keys, key: &SessionKey) -> Signature {
    sign(keys.device_key(), Context::DIRECT_KEY, &key_digest(&keys.device_id(), key))
}

/// Whether a device said so.
pub fn check_key(
    device: &DeviceId,
    key: &SessionKey,
    signature: &Signature,
    verifier: &mut Verifier,
) -> bool {
    verifier.check(&device.0, Context::DIRECT_KEY, &key_digest(device, key), signature)
}

fn ask_digest(nonce: &Nonce, from: &Peer, to: &Peer) -> Digest {
    hash(Context::DIRECT_ASK, &[&nonce.0, &from.0, &to.0])
}

fn bundle_digest(
    nonce: &Nonce,
    from: &Peer,
    to: &Peer,
    keys: (&SessionKey, &SessionKey, bool),
) -> Digest {
    let parts: [&[u8]; 6] = [&nonce.0, &from.0, &to.0, &keys.0.0, &keys.1.0, &[u8::from(keys.2)]];
    hash(Context::DIRECT_BUNDLE, &parts)
}

fn frame(kind: u8, body: Vec<u8>) -> Vec<u8> {
    let bytes = body.len() + 16;
    cbor::encode_large(&Frame(VERSION, kind, ByteBuf::from(body)), bytes)
}

/// Asks `peer` for a bundle.
#[must_use]
pub fn ask(keys: &Keys, me: &Peer, peer: &Peer, nonce: Nonce) -> Vec<u8> {
    let signature = sign(keys.device_key(), Context::DIRECT_ASK, &ask_digest(&nonce, me, peer));
    frame(TYPE_ASK, cbor::encode(&(nonce, ByteBuf::from(keys.cert().encode()), signature)))
}

type MessageFields = (DeviceId, SessionTag, Option<u64>, bool, ByteBuf);

/// A sealed message.
#[must_use]
pub fn message(sealed: &Sealed) -> Vec<u8> {
    let Sealed { device, session, number, begins, bytes } = sealed;
    let body = (device, session, number, begins, serde_bytes::Bytes::new(bytes));
    frame(TYPE_MESSAGE, cbor::encode_large(&body, bytes.len() + 64))
}

/// Decodes a frame that `peer` sent to `me` and checks the signatures in it.
///
/// # Errors
/// [`Reject`].
pub fn open_request(
    me: &Peer,
    peer: &Peer,
    bytes: &[u8],
    verifier: &mut Verifier,
) -> Result<VerifiedFrame, Reject> {
    let Frame(version, kind, body) = cbor::decode(bytes, ENVELOPE_BYTES_MAX)?;
    match (version, kind) {
        (VERSION, TYPE_ASK) => {
            let (nonce, cert, signature): (Nonce, ByteBuf, Signature) =
                cbor::decode(&body, ANSWER_BYTES_MAX)?;
            let cert = DeviceCert::decode(&cert)?;
            let digest = ask_digest(&nonce, peer, me);
            if !cert.verify(verifier)
                || !verifier.check(&cert.device.0, Context::DIRECT_ASK, &digest, &signature)
            {
                return Err(Reject::Signature);
            }
            Ok(VerifiedFrame::Ask { nonce, cert })
        }
        (VERSION, TYPE_MESSAGE) => {
            let (device, session, number, begins, bytes): MessageFields =
                cbor::decode(&body, ENVELOPE_BYTES_MAX)?;
            if number == Some(u64::MAX) {
                return Err(DecodeError::Bounds.into());
            }
            let bytes = bytes.into_vec();
            Ok(VerifiedFrame::Message(Sealed { device, session, number, begins, bytes }))
        }
        _ => Err(DecodeError::Unknown.into()),
    }
}

type BundleFields = (Nonce, ByteBuf, SessionKey, Signature, SessionKey, bool, Signature);

/// The answer to a question from `peer`: keys for a session.
#[must_use]
pub fn bundle(
    keys: &Keys,
    me: &Peer,
    peer: &Peer,
    nonce: Nonce,
    (identity_key, one_time_key, fallback): (SessionKey, SessionKey, bool),
) -> Vec<u8> {
    let digest = bundle_digest(&nonce, me, peer, (&identity_key, &one_time_key, fallback));
    let signature = sign(keys.device_key(), Context::DIRECT_BUNDLE, &digest);
    let (cert, bound) = (ByteBuf::from(keys.cert().encode()), sign_key(keys, &identity_key));
    let fields: BundleFields =
        (nonce, cert, identity_key, bound, one_time_key, fallback, signature);
    frame(ANSWER_BUNDLE, cbor::encode(&fields))
}

/// The answer to a message that is on disk now, or was already.
#[must_use]
pub fn stored(key: &Digest, session: SessionTag, of: Nonce, next: u64, bits: u64) -> Vec<u8> {
    frame(
        ANSWER_STORED,
        cbor::encode(&(session, next, bits, stored_code(key, session, of, next, bits))),
    )
}

/// The answer to a message of an unknown session.
#[must_use]
pub fn no_session(session: SessionTag) -> Vec<u8> {
    frame(ANSWER_NO_SESSION, cbor::encode(&(session,)))
}

/// The answer to a message that its session cannot open.
#[must_use]
pub fn unreadable(session: SessionTag, number: Option<u64>) -> Vec<u8> {
    frame(ANSWER_UNREADABLE, cbor::encode(&(session, number)))
}

/// The answer to everything else that is not taken, whatever the reason: who is blocked learns
/// nothing from it.
#[must_use]
pub fn refused() -> Vec<u8> {
    frame(ANSWER_REFUSED, cbor::encode::<[u8; 0]>(&[]))
}

/// Decodes the answer of `peer` to a frame of `me` and checks the signatures in it. That the nonce
/// is that of the question, and the code of an acknowledgement, is checked by the core.
///
/// # Errors
/// [`Reject`].
pub fn open_answer(
    me: &Peer,
    peer: &Peer,
    bytes: &[u8],
    verifier: &mut Verifier,
) -> Result<VerifiedAnswer, Reject> {
    let Frame(version, kind, body) = cbor::decode(bytes, ANSWER_BYTES_MAX)?;
    if version != VERSION {
        return Err(DecodeError::Unknown.into());
    }
    match kind {
        ANSWER_BUNDLE => {
            open_bundle(me, peer, &body, verifier).map(|b| VerifiedAnswer::Bundle(Box::new(b)))
        }
        ANSWER_STORED => {
            let (session, next, bits, code) = cbor::decode(&body, ANSWER_BYTES_MAX)?;
            Ok(VerifiedAnswer::Stored(Stored { session, next, bits, code }))
        }
        ANSWER_NO_SESSION => {
            let (session,) = cbor::decode(&body, ANSWER_BYTES_MAX)?;
            Ok(VerifiedAnswer::NoSession(session))
        }
        ANSWER_UNREADABLE => {
            let (session, number) = cbor::decode(&body, ANSWER_BYTES_MAX)?;
            Ok(VerifiedAnswer::Unreadable(session, number))
        }
        ANSWER_REFUSED => {
            cbor::decode::<[u8; 0]>(&body, 1)?;
            Ok(VerifiedAnswer::Refused)
        }
        _ => Err(DecodeError::Unknown.into()),
    }
}

fn open_bundle(
    me: &Peer,
    peer: &Peer,
    body: &[u8],
    verifier: &mut Verifier,
) -> Result<Bundle, Reject> {
    let (nonce, cert, identity_key, key_signature, one_time_key, fallback, signature): BundleFields =
        cbor::decode(body, ANSWER_BYTES_MAX)?;
    let cert = DeviceCert::decode(&cert)?;
    let digest = bundle_digest(&nonce, peer, me, (&identity_key, &one_time_key, fallback));
    let good = cert.verify(verifier)
        && verifier.check(&cert.device.0, Context::DIRECT_BUNDLE, &digest, &signature)
        && check_key(&cert.device, &identity_key, &key_signature, verifier);
    if !good {
        return Err(Reject::Signature);
    }
    Ok(Bundle { nonce, cert, identity_key, key_signature, one_time_key, fallback })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers() -> (Peer, Peer) {
        (Peer(vec![1; 38]), Peer(vec![2; 38]))
    }

    #[test]
    fn a_question_and_its_bundle_are_bound_to_both_peers() {
        let (alice, bob) =
            (Keys::from_seeds(&[1; 32], &[2; 32], 5), Keys::from_seeds(&[3; 32], &[4; 32], 5));
        let ((a, b), v) = (peers(), &mut Verifier::default());
        let asked = ask(&alice, &a, &b, Nonce([7; 16]));
        assert!(matches!(
            open_request(&b, &a, &asked, v),
            Ok(VerifiedFrame::Ask { nonce: Nonce([7, ..]), .. })
        ));
        assert!(matches!(open_request(&b, &Peer(vec![3]), &asked, v), Err(Reject::Signature)));
        assert!(matches!(open_request(&Peer(vec![3]), &a, &asked, v), Err(Reject::Signature)));
        let given =
            bundle(&bob, &b, &a, Nonce([7; 16]), (SessionKey([5; 32]), SessionKey([6; 32]), true));
        let Ok(VerifiedAnswer::Bundle(opened)) = open_answer(&a, &b, &given, v) else {
            panic!("a bundle")
        };
        assert_eq!((opened.cert.device, opened.fallback), (bob.device_id(), true));
        assert!(matches!(open_answer(&Peer(vec![3]), &b, &given, v), Err(Reject::Signature)));
        assert!(given.len() < ANSWER_BYTES_MAX, "{}", given.len());
    }

    #[test]
    fn an_acknowledgement_names_numbers_and_knows_the_session() {
        let stored =
            Stored { session: SessionTag([1; 8]), next: 5, bits: 0b101, code: Nonce([0; 16]) };
        let covered: Vec<u64> = (0..12).filter(|n| stored.covers(*n)).collect();
        assert_eq!(covered, [0, 1, 2, 3, 4, 6, 8]);
        assert!(Stored { next: u64::MAX, ..stored }.covers(9));
        let code = |key, next| {
            stored_code(&Digest([key; 32]), SessionTag([1; 8]), Nonce([4; 16]), next, 0)
        };
        assert_eq!(code(1, 2), code(1, 2));
        assert!(code(1, 2) != code(2, 2) && code(1, 2) != code(1, 3));
    }

    #[test]
    fn a_message_keeps_its_fields() {
        let ((a, b), v) = (peers(), &mut Verifier::default());
        for number in [None, Some(0), Some(9)] {
            let sealed = Sealed {
                device: DeviceId([8; 32]),
                session: SessionTag([9; 8]),
                number,
                begins: true,
                bytes: vec![3; 400],
            };
            let bytes = message(&sealed);
            let Ok(VerifiedFrame::Message(opened)) = open_request(&b, &a, &bytes, v) else {
                panic!("a message")
            };
            assert_eq!(opened, sealed);
        }
        for answer in
            [refused(), no_session(SessionTag([1; 8])), unreadable(SessionTag([1; 8]), Some(3))]
        {
            assert!(open_answer(&a, &b, &answer, v).is_ok());
            assert!(open_answer(&a, &b, &answer[..answer.len() - 1], v).is_err());
        }
    }
}
