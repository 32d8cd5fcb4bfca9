//! Direct messages: frames, answers, and what people compare. What is sealed inside is Olm's, and
//! has vectors there.

use klatch_core::direct::frame::{self, Sealed};
use klatch_core::direct::verify::{self, Side};
use klatch_core::ids::{DeviceId, IdentityId, Nonce, SessionKey, SessionTag};
use serde_json::{Value, json};

use crate::judge::{ACK_KEY, FRAME, Fixture, hex};
use crate::make::{alice, bob};
use crate::statements::flipped;
use crate::{Case, Cases, Document, check, raw, room};

const NONCE: Nonce = Nonce([0x4e; 16]);
const SESSION: SessionTag = SessionTag([0x5e; 8]);

/// The bytes of an encoded byte string.
fn unblob(encoded: &[u8]) -> Vec<u8> {
    klatch_core::cbor::decode::<serde_bytes::ByteBuf>(encoded, 1 << 20).unwrap().into_vec()
}

/// A frame whose body has one item changed.
fn bent(frame: &[u8], at: usize, item: Vec<u8>) -> Vec<u8> {
    let mut outer = raw::items(frame);
    let body = unblob(&outer[2]);
    let mut items = raw::items(&body);
    items[at] = item;
    outer[2] = raw::blob(&raw::array(&items));
    raw::array(&outer)
}

/// A frame with another version or type.
fn typed(frame: &[u8], at: usize, value: u64) -> Vec<u8> {
    let mut outer = raw::items(frame);
    outer[at] = raw::uint(value);
    raw::array(&outer)
}

fn request() -> Document {
    let mut c = Cases::of("direct_request");
    let Fixture { me, peer, .. } = Fixture::new();
    let ask = frame::ask(&alice(), &peer, &me, NONCE);
    let device = alice().device_id();
    let of = |number, begins, bytes: &[u8]| {
        frame::message(&Sealed { device, session: SESSION, number, begins, bytes: bytes.to_vec() })
    };
    let message = of(Some(3), false, &[3; 300]);
    c.accept("an ask", &ask);
    c.accept("a message", &message);
    c.accept("a message that begins a session", &of(Some(0), true, &[3; 400]));
    c.accept("a signal", &of(None, false, &[3; 300]));
    c.accept("the last number", &of(Some(u64::MAX - 1), false, &[3; 300]));
    c.accept("the largest message", &of(Some(1), true, &vec![3; 73_600]));
    c.misspell(&ask);
    c.refuse("too large", &of(Some(1), true, &vec![3; 73_728]));
    c.refuse("a number above the last", &of(Some(u64::MAX), false, &[3; 300]));
    c.refuse("unknown version", &typed(&ask, 0, 2));
    c.refuse("unknown type", &typed(&ask, 1, 3));
    c.refuse("an ask as a message", &typed(&ask, 1, 2));
    c.refuse("an ask of somebody else's peer", &frame::ask(&alice(), &me, &me, NONCE));
    c.refuse("an ask for somebody else", &frame::ask(&alice(), &peer, &peer, NONCE));
    c.refuse("another nonce", &bent(&ask, 0, raw::blob(&[0x4f; 16])));
    c.refuse("a nonce of 15 bytes", &bent(&ask, 0, raw::blob(&[0x4e; 15])));
    c.refuse("another certificate", &bent(&ask, 1, raw::blob(&bob().cert().encode())));
    let signature = unblob(&raw::items(&unblob(&raw::items(&ask)[2]))[2]);
    c.refuse(
        "a signature with one bit changed",
        &bent(&ask, 2, raw::blob(&flipped(&signature, 0))),
    );
    c.refuse("a device of 31 bytes", &bent(&message, 0, raw::blob(&[1; 31])));
    c.refuse("a session of 9 bytes", &bent(&message, 1, raw::blob(&[1; 9])));
    c.refuse("begins as a number", &bent(&message, 3, raw::uint(1)));
    c.refuse("olm bytes as text", &bent(&message, 4, raw::text("olm")));
    let about = "Alice (identity seed a1 x 32, device seed d1 x 32) at `peer` sends to `me`. [1, type, body]; `hash` is the frame hash.";
    Document { structure: "direct_request", section: "11.1", about, given: room(), cases: c.out }
}

fn answer() -> Document {
    let mut c = Cases::of("direct_answer");
    let Fixture { me, peer, .. } = Fixture::new();
    let keys = |fallback| (SessionKey([0x1d; 32]), SessionKey([0x07; 32]), fallback);
    let bundle = frame::bundle(&alice(), &peer, &me, NONCE, keys(false));
    let stored = frame::stored(&ACK_KEY, SESSION, FRAME, 5, 0b1010);
    c.accept("a bundle", &bundle);
    c.accept(
        "a bundle with the fallback key",
        &frame::bundle(&alice(), &peer, &me, NONCE, keys(true)),
    );
    c.accept("stored", &stored);
    c.accept(
        "stored, with a code of another frame",
        &frame::stored(&ACK_KEY, SESSION, Nonce([0xfb; 16]), 5, 0b1010),
    );
    c.accept(
        "stored, largest numbers",
        &frame::stored(&ACK_KEY, SESSION, FRAME, u64::MAX, u64::MAX),
    );
    c.accept("no session", &frame::no_session(SESSION));
    c.accept("unreadable", &frame::unreadable(SESSION, Some(7)));
    c.accept("unreadable signal", &frame::unreadable(SESSION, None));
    c.accept("refused", &frame::refused());
    c.misspell(&bundle);
    c.refuse("unknown version", &typed(&bundle, 0, 2));
    c.refuse("unknown type", &typed(&bundle, 1, 6));
    c.refuse(
        "too large",
        &typed(&raw::array(&[raw::uint(1), raw::uint(5), raw::blob(&[0x80; 1_100])]), 1, 5),
    );
    c.refuse(
        "a bundle of somebody else's peer",
        &frame::bundle(&alice(), &me, &me, NONCE, keys(false)),
    );
    c.refuse(
        "a bundle for somebody else",
        &frame::bundle(&alice(), &peer, &peer, NONCE, keys(false)),
    );
    c.refuse("another nonce", &bent(&bundle, 0, raw::blob(&[0x4f; 16])));
    c.refuse("another certificate", &bent(&bundle, 1, raw::blob(&bob().cert().encode())));
    c.refuse("another identity key", &bent(&bundle, 2, raw::blob(&[0x1e; 32])));
    c.refuse(
        "a key signature of another device",
        &bent(&bundle, 3, raw::blob(&frame::sign_key(&bob(), &keys(true).0).0)),
    );
    c.refuse("another one-time key", &bent(&bundle, 4, raw::blob(&[0x08; 32])));
    c.refuse("one-time passed off as fallback", &bent(&bundle, 5, vec![0xf5]));
    c.refuse("a code of 15 bytes", &bent(&stored, 3, raw::blob(&[1; 15])));
    let about = "Alice at `peer` answers `me`. [1, type, body]. `code_is_right`: acknowledgement key ac x 32, frame hash fa x 16.";
    Document { structure: "direct_answer", section: "11.1", about, given: room(), cases: c.out }
}

fn codes() -> Document {
    let side = |n: u8| Side {
        identity: IdentityId([n; 32]),
        device: DeviceId([n + 1; 32]),
        key: SessionKey([n + 2; 32]),
    };
    let case = |name: &str, a: Side, b: Side| {
        let digest = verify::digest(&a, &b);
        let out = verify::stretch(&digest).unwrap();
        let (digits, emoji) = verify::shown(&out);
        let side = |s: Side| json!([hex(&s.identity.0), hex(&s.device.0), hex(&s.key.0)]);
        Case {
            name: name.to_owned(),
            hex: Some(hex(&out)),
            pieces: None,
            valid: true,
            reason: None,
            input: json!({ "own": side(a), "theirs": side(b) }),
            fields: json!({
                "digest": hex(&digest.0),
                "digits": digits,
                "emoji": emoji.iter().map(|e| e.name.clone()).collect::<Vec<_>>(),
            }),
        }
    };
    let cases = vec![
        case("alice sees", side(1), side(9)),
        case("bob sees", side(9), side(1)),
        case("others", side(1), side(8)),
    ];
    let about = "The output of Argon2id for both sides' [identity, device, Olm identity key]; `digest` is the password.";
    Document { structure: "verify", section: "11.8", about, given: Value::Null, cases }
}

#[test]
fn direct_requests() {
    check(&request());
}

#[test]
fn direct_answers() {
    check(&answer());
}

#[test]
fn verification() {
    check(&codes());
}
