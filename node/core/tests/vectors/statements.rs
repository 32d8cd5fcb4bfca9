//! What a key says by itself: device certificates, acknowledgements, presence.

use ed25519_dalek::SigningKey;
use klatch_core::cbor;
use klatch_core::crypto::{Context, hash, sign};
use klatch_core::delivery::VerifiedAck;
use klatch_core::ids::{DeviceShort, HashShort};
use klatch_core::presence::{VerifiedPresence, direct_set};

use crate::make::{NOW_MS, ack_fields, alice, bob, height, presence_fields, signed};
use crate::{Cases, Document, check, raw, room};

/// A certificate of Alice's identity with these items between version and signature.
fn certificate(fields: &[Vec<u8>]) -> Vec<u8> {
    let identity = SigningKey::from_bytes(&[0xa1; 32]);
    let signature = sign(&identity, Context::CERT, &hash(Context::CERT, &[&raw::array(fields)]));
    raw::array(&[fields.to_vec(), vec![raw::blob(&signature.0)]].concat())
}

/// `bytes` with one bit of the byte at `at`, counted from the end, turned.
pub fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bent = bytes.to_vec();
    let at = bent.len() - 1 - at;
    bent[at] ^= 1;
    bent
}

pub fn device_cert() -> Document {
    let mut c = Cases::of("device_cert");
    let good = alice().cert().encode();
    let fields = raw::items(&good)[..6].to_vec();
    let with = |i: usize, item: Vec<u8>| {
        let mut changed = fields.clone();
        changed[i] = item;
        certificate(&changed)
    };
    assert_eq!(certificate(&fields), good);
    c.accept("Alice's device", &good);
    c.accept("with an end", &with(4, raw::uint(1_900_000_000_000)));
    c.accept("largest numbers", &{
        let most = raw::uint(u64::MAX);
        certificate(&[&fields[..3], &[most.clone(), most.clone(), most]].concat())
    });
    c.misspell(&good);
    c.refuse("unknown version", &with(0, raw::uint(2)));
    c.refuse("version 0", &with(0, raw::uint(0)));
    c.refuse("version above 255", &with(0, raw::uint(256)));
    c.refuse("identity of 31 bytes", &with(1, raw::blob(&[1; 31])));
    c.refuse("device of 33 bytes", &with(2, raw::blob(&[1; 33])));
    c.refuse("device as text", &with(2, raw::text("device")));
    c.refuse("no beginning", &with(3, raw::null()));
    c.refuse("too long", &[&good[..], &[0; 180]].concat());
    c.refuse("signature with one bit changed", &flipped(&good, 0));
    c.refuse("another device", &[&good[..38], &[good[38] ^ 1], &good[39..]].concat());
    c.refuse("signed by another identity", &{
        let mut items = raw::items(&good);
        items[1] = raw::blob(&bob().identity_id().0);
        raw::array(&items)
    });
    c.refuse("signed in another context", &{
        let key = SigningKey::from_bytes(&[0xa1; 32]);
        let signature = sign(&key, Context::ACK, &hash(Context::CERT, &[&raw::array(&fields)]));
        raw::array(&[fields.clone(), vec![raw::blob(&signature.0)]].concat())
    });
    c.refuse("an identity of small order", &{
        let mut items = raw::items(&good);
        items[1] = raw::blob(&[&[1u8][..], &[0; 31]].concat());
        items[6] = raw::blob(&[&[1u8][..], &[0; 63]].concat());
        raw::array(&items)
    });
    c.refuse("a signature with s above the group order", &above_the_order(&good));
    let about = "Identity seed a1 x 32, device seed d1 x 32. [1, identity, device, not_before, not_after|null, n, sig].";
    Document {
        structure: "device_cert",
        section: "3.2",
        about,
        given: serde_json::Value::Null,
        cases: c.out,
    }
}

/// The same signature with the group order added to `s`: equal in arithmetic, refused in form.
fn above_the_order(signed: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut out = signed.to_vec();
    let at = out.len() - 32;
    let mut carry = 0;
    for (byte, order) in out[at..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    out
}

pub fn ack() -> Document {
    let mut c = Cases::of("ack");
    let (alice, bob) = (alice(), bob());
    let device = alice.device_id();
    let frontier = vec![
        (DeviceShort([1; 16]), 0, HashShort([0xf1; 8])),
        (DeviceShort([2; 16]), 77, HashShort([0xf2; 8])),
        (bob.device_id().prefix(), u64::MAX, HashShort([0xf3; 8])),
    ];
    let good = VerifiedAck::issue(&alice, c.fixture.keys.room, &frontier);
    let items = raw::items(&good);
    let rows = raw::items(&items[3]);
    let of = |c: &Cases, rows: &[Vec<u8>]| {
        signed(&alice, Context::ACK, &ack_fields(&c.fixture, &device, rows))
    };
    assert_eq!(of(&c, &rows), good);
    c.accept("three chains", &good);
    c.accept("one chain", &of(&c, &rows[..1]));
    c.accept("two devices that differ in the last byte of the prefix only", &{
        let (mut near, mut far) = ([7; 16], [7; 16]);
        (near[15], far[15]) = (1, 2);
        of(&c, &[height(&near, 3, &[0xf1; 8]), height(&far, 4, &[0xf2; 8])])
    });
    c.accept("nothing yet", &of(&c, &[]));
    c.misspell(&good);
    c.refuse("unknown version", &{
        let mut fields = ack_fields(&c.fixture, &device, &rows);
        fields[0] = raw::uint(2);
        signed(&alice, Context::ACK, &fields)
    });
    c.refuse("another room", &{
        let mut fields = ack_fields(&c.fixture, &device, &rows);
        fields[1] = raw::blob(&[9; 16]);
        signed(&alice, Context::ACK, &fields)
    });
    c.refuse("room of 15 bytes", &{
        let mut fields = ack_fields(&c.fixture, &device, &rows);
        fields[1] = raw::blob(&[9; 15]);
        signed(&alice, Context::ACK, &fields)
    });
    c.refuse("frontier not sorted", &of(&c, &[rows[1].clone(), rows[0].clone()]));
    c.refuse("a chain twice", &of(&c, &[rows[0].clone(), rows[0].clone()]));
    c.refuse("device prefix of 8 bytes", &of(&c, &[height(&[1; 8], 0, &[2; 8])]));
    c.refuse("a whole device id", &of(&c, &[height(&[1; 32], 0, &[2; 8])]));
    c.refuse("hash prefix of 9 bytes", &of(&c, &[height(&[1; 16], 0, &[2; 9])]));
    c.refuse(
        "extra item in a chain",
        &of(&c, &[raw::array(&[raw::items(&rows[0]), vec![raw::uint(0)]].concat())]),
    );
    c.refuse("item missing in a chain", &of(&c, &[raw::array(&raw::items(&rows[0])[..2])]));
    c.refuse(
        "longer integer than needed in a chain",
        &of(
            &c,
            &[{
                let mut parts = raw::items(&rows[0]);
                parts[1] = vec![0x18, 0];
                raw::array(&parts)
            }],
        ),
    );
    c.refuse("frontier of indefinite length", &{
        let mut fields = ack_fields(&c.fixture, &device, &[]);
        fields[3] = vec![0x9f, 0xff];
        signed(&alice, Context::ACK, &fields)
    });
    let device_of = |c: &Cases, rows: &[Vec<u8>]| ack_fields(&c.fixture, &bob.device_id(), rows);
    c.refuse("signed by another device", &signed(&alice, Context::ACK, &device_of(&c, &rows)));
    c.refuse(
        "signed in another context",
        &signed(&alice, Context::PRESENCE, &ack_fields(&c.fixture, &device, &rows)),
    );
    c.refuse("signature with one bit changed", &flipped(&good, 0));
    c.refuse("a position changed", &flipped(&good, 64 + 2 + 9));
    let about =
        "Device seeds d1 x 32 and d2 x 32. [1, room, device, [[device 8, seq, hash 8], ...], sig].";
    Document { structure: "ack", section: "9.1", about, given: room(), cases: c.out }
}

pub fn presence() -> Document {
    let mut c = Cases::of("presence");
    let alice = alice();
    let device = alice.device_id();
    let direct = direct_set([bob().device_id(), device].iter());
    let good = VerifiedPresence::issue(
        &alice,
        c.fixture.keys.room,
        &c.fixture.peer,
        direct,
        NOW_MS + 180_000,
    );
    let peer = c.fixture.peer.0.clone();
    let base = presence_fields(&c.fixture, &device, &peer);
    let of = |i: usize, item: Vec<u8>| {
        let mut fields = base.clone();
        fields[i] = item;
        signed(&alice, Context::PRESENCE, &fields)
    };
    c.accept("Alice, connected to Bob", &good);
    c.accept("longest peer id", &of(3, raw::blob(&[7; 64])));
    c.accept("expired long ago: age is counted from arrival", &of(5, raw::uint(0)));
    c.misspell(&good);
    c.refuse("unknown version", &of(0, raw::uint(0)));
    c.refuse("another room", &of(1, raw::blob(&[9; 16])));
    c.refuse("device of 31 bytes", &of(2, raw::blob(&[9; 31])));
    c.refuse("peer id of 65 bytes", &of(3, raw::blob(&[7; 65])));
    c.refuse("peer id as text", &of(3, raw::text("12D3KooW")));
    c.refuse("digest missing", &of(4, raw::null()));
    c.refuse("too long", &of(3, raw::blob(&[7; 200])));
    c.refuse(
        "another device",
        &signed(&alice, Context::PRESENCE, &presence_fields(&c.fixture, &bob().device_id(), &peer)),
    );
    c.refuse("signed in another context", &signed(&alice, Context::ACK, &base));
    c.refuse("signature with one bit changed", &flipped(&good, 63));
    let about = "Device seed d1 x 32. [1, room, device, peer, direct, expires_ms, sig].";
    Document { structure: "presence", section: "9.3", about, given: room(), cases: c.out }
}

#[test]
fn device_certificates() {
    check(&device_cert());
}

#[test]
fn acknowledgements() {
    check(&ack());
}

#[test]
fn presence_records() {
    check(&presence());
}

#[test]
fn an_empty_frontier_is_one_byte() {
    assert_eq!(cbor::encode(&klatch_core::wire::Frontier::new()), [0x80]);
}
