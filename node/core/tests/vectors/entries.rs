//! Headers and runs.

use klatch_core::cbor;
use klatch_core::content::{Content, Kind};
use klatch_core::crypto::seal::pad;
use klatch_core::crypto::{Context, hash, seal, sign};
use klatch_core::identity::{DeviceCert, Keys};
use klatch_core::ids::{Digest, EntryHash, EntryId, RoomId, Signature};
use klatch_core::log::entry::{Header, SealedEntry, body_hash, compose, entry_hash};

use crate::make::{
    alice, bent, bob, place, profile, run as chain, run_bytes, sealed, sign_last, text,
};
use crate::statements::flipped;
use crate::{Cases, Document, check, raw, room};

/// A header like any other, with fields in reach.
fn model(c: &Cases) -> Header {
    compose(&c.fixture.keys, alice().device_id(), place(5, &[0x22, 0x11]), text("Hello")).header
}

pub fn header() -> Document {
    let mut c = Cases::of("header");
    let good = model(&c);
    let of = |bend: &dyn Fn(&mut Header)| {
        let mut header = good.clone();
        bend(&mut header);
        header.encode()
    };
    let bytes = good.encode();
    let items = raw::items(&bytes);
    let with = |i: usize, item: Vec<u8>| {
        let mut changed = items.clone();
        changed[i] = item;
        raw::array(&changed)
    };
    let ids = |n: u8| (1..=n).map(|b| EntryId([b; 16])).collect::<Vec<_>>();
    c.accept("a text with two parents", &bytes);
    c.accept(
        "the first of a chain",
        &of(&|h| (h.seq, h.prev, h.parents, h.lamport) = (0, None, Vec::new(), 0)),
    );
    c.accept("16 parents", &of(&|h| h.parents = ids(16)));
    c.accept(
        "every optional field",
        &of(&|h| (h.auth, h.ttl, h.index) = (Some(EntryId([8; 16])), Some(86_400), 7)),
    );
    c.accept(
        "largest numbers",
        &of(&|h| {
            (h.seq, h.lamport, h.hlc, h.index) = (u64::MAX, u64::MAX, u64::MAX, u64::MAX);
            (h.ttl, h.body_len) = (Some(u32::MAX), 72_000);
        }),
    );
    for kind in [Kind::Profile, Kind::Edit, Kind::Delete, Kind::Reaction, Kind::Notice, Kind::Leave]
    {
        c.accept(&format!("kind {}", kind.code()), &of(&|h| h.kind = kind));
    }
    for kind in [7, 15, 32, 255] {
        c.accept(&format!("kind {kind}, which is not in use"), &with(8, raw::uint(kind)));
    }
    c.misspell(&bytes);
    c.refuse("unknown version", &with(0, raw::uint(2)));
    c.refuse("room of 15 bytes", &with(1, raw::blob(&[1; 15])));
    c.refuse("device of 31 bytes", &with(2, raw::blob(&[1; 31])));
    c.refuse("position above 64 bits", &with(3, [&[0xc2, 0x49, 1][..], &[0; 8]].concat()));
    c.refuse("position 0 with a predecessor", &with(3, raw::uint(0)));
    c.refuse("position 5 without a predecessor", &with(4, raw::null()));
    c.refuse("predecessor of 16 bytes", &with(4, raw::blob(&[0x77; 16])));
    c.refuse("parents not sorted", &of(&|h| h.parents.reverse()));
    c.refuse("a parent twice", &of(&|h| h.parents = vec![EntryId([1; 16]); 2]));
    c.refuse("17 parents", &of(&|h| h.parents = ids(17)));
    c.refuse("a parent of 15 bytes", &with(5, raw::array(&[raw::blob(&[1; 15])])));
    c.refuse("a parent that is a number", &with(5, raw::array(&[raw::uint(1)])));
    c.refuse("parents of indefinite length", &with(5, vec![0x9f, 0xff]));
    c.refuse("no list of parents", &with(5, raw::null()));
    c.refuse("the first control kind, kept for private rooms", &with(8, raw::uint(16)));
    c.refuse("the last control kind", &with(8, raw::uint(31)));
    c.refuse("a kind above 255", &with(8, raw::uint(256)));
    c.refuse("credential of a full hash", &with(9, raw::blob(&[8; 32])));
    c.refuse("no epoch", &with(10, raw::null()));
    c.refuse("life span above 32 bits", &with(12, raw::uint(1 << 32)));
    c.refuse("no body hash", &with(13, raw::null()));
    c.refuse("body hash of 31 bytes", &with(13, raw::blob(&[1; 31])));
    c.refuse("a body shorter than padding makes it", &with(14, raw::uint(271)));
    c.refuse("a body longer than allowed", &with(14, raw::uint(72_001)));
    c.refuse("too long", &with(5, raw::array(&vec![raw::blob(&[1; 16]); 64])));
    let about = "fields.hash = the entry hash, fields.core = the hash that the message key is bound to. Room and epoch are any.";
    Document { structure: "header", section: "5.1", about, given: room(), cases: c.out }
}

pub fn run() -> Document {
    let mut c = Cases::of("run");
    let alice = alice();
    let hello = text("Hello");
    let opening = chain(&c.fixture, &alice, 0, vec![profile(&alice, "Alice")]);
    let three = chain(&c.fixture, &alice, 4, vec![text("one"), text("two"), text("three")]);
    let one = chain(&c.fixture, &alice, 4, vec![hello.clone()]);
    c.accept("one entry", &run_bytes(&one));
    c.accept("the first of a chain", &run_bytes(&opening));
    c.accept("three entries", &run_bytes(&three));
    c.accept(
        "64 entries",
        &run_bytes(&bare(chain(&c.fixture, &alice, 4, vec![hello.clone(); 64]))),
    );
    c.accept(
        "a leave at the end",
        &run_bytes(&chain(&c.fixture, &alice, 4, vec![hello.clone(), Content::Leave])),
    );
    c.accept("a body that was dropped", &run_bytes(&changed(&three, |r| r[1].body = None)));
    c.accept(
        "credential, ratchet index and life span are carried",
        &run_bytes(&bent(&c.fixture, &alice, 4, &hello, |h| {
            (h.auth, h.index, h.ttl) = (Some(EntryId([8; 16])), 3, Some(60));
        })),
    );
    c.misspell(&run_bytes(&one));
    newer(&mut c, &alice, &hello);
    shapes(&mut c, &alice, &three);
    places(&mut c, &alice, &hello, &three);
    bodies(&mut c, &alice, &hello, &one);
    certificates(&mut c, &alice);
    let about = "Entries as in a page: [[header, sig|null, body|null], ...], one run. Device seeds d1 x 32 and d2 x 32. \
                 fields: per entry its hash, its device (base32) and the plaintext of its body.";
    Document { structure: "run", section: "5.3", about, given: room(), cases: c.out }
}

/// Kinds that this version does not know: all is checked but what they say.
fn newer(c: &mut Cases, alice: &Keys, hello: &Content) {
    let of = |c: &Cases, kind: u8, plain: &[u8]| {
        let like = Content::Newer(kind);
        sealed(&c.fixture, alice, 4, &like, plain.to_vec(), |_| {})
    };
    let plain = raw::array(&[raw::text("a poll"), raw::uint(2)]);
    c.accept("a newer kind", &run_bytes(&of(c, 7, &plain)));
    c.accept("the last newer kind", &run_bytes(&of(c, 255, &plain)));
    c.accept("a newer kind that says nothing", &run_bytes(&of(c, 32, &[])));
    c.accept("a newer kind whose content is no CBOR", &run_bytes(&of(c, 32, &[0xff, 0x1c])));
    c.accept(
        "a newer kind in the middle of a run",
        &run_bytes(&chain(
            &c.fixture,
            alice,
            4,
            vec![hello.clone(), Content::Newer(7), hello.clone()],
        )),
    );
    c.accept("a newer kind whose body was dropped", &run_bytes(&bare(of(c, 7, &plain))));
    c.refuse("a control kind", &run_bytes(&of(c, 16, &plain)));
    c.refuse(
        "a newer kind at the start of a chain",
        &run_bytes(&bent(&c.fixture, alice, 0, &Content::Newer(7), |_| {})),
    );
    c.refuse(
        "a newer kind, not signed",
        &run_bytes(&changed(&of(c, 7, &plain), |r| r[0].signature = None)),
    );
    c.refuse("a newer kind whose body has one bit changed", &{
        run_bytes(&changed(&of(c, 7, &plain), |r| {
            r[0].body = Some(flipped(r[0].body.as_ref().unwrap(), 40).into())
        }))
    });
    c.refuse("a newer kind whose body does not open", &{
        run_bytes(&resealed(of(c, 7, &plain), alice, |body| body[3] ^= 1))
    });
    c.refuse(
        "a newer kind with padding of another length",
        &run_bytes(&padded_to(c, alice, &Content::Newer(7), 272)),
    );
}

fn changed(run: &[SealedEntry], change: impl Fn(&mut Vec<SealedEntry>)) -> Vec<SealedEntry> {
    let mut run = run.to_vec();
    change(&mut run);
    run
}

/// Without bodies: shorter to print.
fn bare(mut run: Vec<SealedEntry>) -> Vec<SealedEntry> {
    run.iter_mut().for_each(|e| e.body = None);
    run
}

/// Number of entries, who signs, what follows what.
fn shapes(c: &mut Cases, alice: &Keys, three: &[SealedEntry]) {
    c.refuse("no entry", &raw::array(&[]));
    c.refuse("65 entries", &run_bytes(&bare(chain(&c.fixture, alice, 4, vec![text("Hello"); 65]))));
    c.refuse("not signed", &run_bytes(&changed(three, |r| r[2].signature = None)));
    c.refuse(
        "signed in the middle as well",
        &run_bytes(&changed(three, |r| sign_last(alice, &mut r[..2]))),
    );
    c.refuse("signed by another device", &run_bytes(&changed(three, |r| sign_last(&bob(), r))));
    c.refuse(
        "signature with one bit changed",
        &run_bytes(&changed(three, |r| {
            r[2].signature.as_mut().unwrap().0[0] ^= 1;
        })),
    );
    c.refuse(
        "signed in another context",
        &run_bytes(&changed(three, |r| {
            let digest = Digest(entry_hash(&r[2].header).0);
            r[2].signature = Some(sign(alice.device_key(), Context::ACK, &digest));
        })),
    );
    c.refuse("signature of 63 bytes", &{
        let entry = raw::items(&raw::items(&run_bytes(&three[2..]))[0]);
        raw::array(&[raw::array(&[entry[0].clone(), raw::blob(&[1; 63]), entry[2].clone()])])
    });
    c.refuse("an entry of four items", &{
        let entry = raw::items(&raw::items(&run_bytes(&three[2..]))[0]);
        raw::array(&[raw::array(&[&entry[..], &[raw::null()]].concat())])
    });
    c.refuse("a gap", &run_bytes(&changed(three, |r| drop(r.remove(1)))));
    c.refuse("another order", &run_bytes(&changed(three, |r| r.swap(0, 1))));
    c.refuse("an entry twice", &run_bytes(&changed(three, |r| r.insert(1, r[0].clone()))));
    c.refuse(
        "a leave before the end",
        &run_bytes(&chain(&c.fixture, alice, 4, vec![Content::Leave, text("more")])),
    );
}

/// Room, epoch, position.
fn places(c: &mut Cases, alice: &Keys, hello: &Content, three: &[SealedEntry]) {
    c.refuse(
        "another room",
        &run_bytes(&bent(&c.fixture, alice, 4, hello, |h| h.room = RoomId([9; 16]))),
    );
    c.refuse(
        "another epoch",
        &run_bytes(&bent(&c.fixture, alice, 4, hello, |h| h.epoch.0[0] ^= 1)),
    );
    c.refuse(
        "a chain that starts with a text",
        &run_bytes(&bent(&c.fixture, alice, 0, hello, |_| {})),
    );
    c.refuse(
        "another predecessor inside",
        &run_bytes(&changed(three, |r| {
            let other =
                bent(&c.fixture, alice, 5, &text("two"), |h| h.prev = Some(EntryHash([0x78; 32])));
            r[1] = SealedEntry { signature: None, ..other[0].clone() };
        })),
    );
    c.refuse(
        "two devices",
        &run_bytes(&changed(three, |r| {
            let before = entry_hash(&r[1].header);
            let other = bent(&c.fixture, &bob(), 6, &text("three"), |h| h.prev = Some(before));
            r[2] = other[0].clone();
        })),
    );
    c.refuse("position after the last possible one", &{
        let last = bent(&c.fixture, alice, 4, hello, |h| h.seq = u64::MAX).remove(0);
        let first = chain(&c.fixture, alice, 0, vec![profile(alice, "Alice")]).remove(0);
        run_bytes(&[SealedEntry { signature: None, ..last }, first])
    });
}

/// The sealed body against its header, its key and its kind.
fn bodies(c: &mut Cases, alice: &Keys, hello: &Content, one: &[SealedEntry]) {
    c.refuse(
        "body with one bit changed",
        &run_bytes(&changed(one, |r| {
            r[0].body = Some(flipped(r[0].body.as_ref().unwrap(), 40).into());
        })),
    );
    c.refuse(
        "body of another entry",
        &run_bytes(&changed(one, |r| {
            r[0].body = chain(&c.fixture, alice, 9, vec![text("other")])[0].body.clone();
        })),
    );
    c.refuse(
        "body length differs from the header's",
        &run_bytes(&bent(&c.fixture, alice, 4, hello, |h| h.body_len += 16)),
    );
    c.refuse(
        "body that does not open",
        &run_bytes(&resealed(one.to_vec(), alice, |body| body[3] ^= 1)),
    );
    c.refuse(
        "body of another kind",
        &run_bytes(&bent(&c.fixture, alice, 4, hello, |h| h.kind = Kind::Delete)),
    );
    c.refuse(
        "text of no length",
        &run_bytes(&sealed(&c.fixture, alice, 4, hello, text("").encode(), |_| {})),
    );
    c.refuse("body with a byte after the content", &{
        let plain = [hello.encode(), vec![0xf6]].concat();
        run_bytes(&sealed(&c.fixture, alice, 4, hello, plain, |_| {}))
    });
    c.refuse("padding of another length", &run_bytes(&padded_to(c, alice, hello, 272)));
    c.refuse("a body sealed to another header", &{
        let f = &c.fixture;
        let mut run = bent(f, alice, 4, hello, |_| {});
        let mut header = Header::decode(&run[0].header).unwrap();
        header.lamport += 1;
        run[0].header = header.encode().into();
        sign_last(alice, &mut run);
        run_bytes(&run)
    });
}

/// A run whose body was changed after sealing, with a header that names the changed body.
fn resealed(
    mut run: Vec<SealedEntry>,
    alice: &Keys,
    change: impl Fn(&mut Vec<u8>),
) -> Vec<SealedEntry> {
    let mut body = run[0].body.as_ref().unwrap().to_vec();
    change(&mut body);
    let mut header = Header::decode(&run[0].header).unwrap();
    header.body_hash = Some(body_hash(&body));
    run[0] =
        SealedEntry { header: header.encode().into(), signature: None, body: Some(body.into()) };
    sign_last(alice, &mut run);
    run
}

/// A run whose padded plaintext has `len` bytes, whatever the right length is.
fn padded_to(c: &Cases, alice: &Keys, content: &Content, len: usize) -> Vec<SealedEntry> {
    let mut header =
        compose(&c.fixture.keys, alice.device_id(), place(4, &[]), content.clone()).header;
    header.body_len = len as u32 + 16;
    let core = header.core(&header.encode());
    let mut plain = content.encode();
    pad(&mut plain);
    plain.resize(len, 0);
    // Spelled out, because the library only seals what it has padded itself.
    let secret = klatch_core::crypto::derive(&crate::judge::ROOT, Context::STATIC_EPOCH, &[]);
    let key = klatch_core::crypto::derive(&secret, Context::MESSAGE_KEY, &[&core.0]);
    let body = seal::seal(&key, &[0; 24], &core.0, &plain);
    header.body_hash = Some(body_hash(&body));
    let mut run = vec![SealedEntry {
        header: header.encode().into(),
        signature: None,
        body: Some(body.into()),
    }];
    sign_last(alice, &mut run);
    run
}

/// The certificate in a profile.
fn certificates(c: &mut Cases, alice: &Keys) {
    let run = |c: &Cases, cert: &DeviceCert| {
        let content = Content::Profile { name: "Alice".into(), cert: cert.clone() };
        run_bytes(&chain(&c.fixture, alice, 0, vec![content]))
    };
    let cert = alice.cert().clone();
    let mut bent_signature = cert.clone();
    bent_signature.signature.0[0] ^= 1;
    c.refuse("a profile whose certificate is signed wrongly", &run(c, &bent_signature));
    c.refuse("a profile with the certificate of another device", &run(c, bob().cert()));
    c.refuse("a profile without its body", &{
        let mut opening = chain(&c.fixture, alice, 0, vec![profile(alice, "Alice")]);
        opening[0].body = None;
        run_bytes(&opening)
    });
    c.refuse("a certificate signed by the device itself", &{
        let mut own = cert.clone();
        let fields = (1u8, own.identity, own.device, own.not_before, own.not_after, own.n);
        own.signature = sign(
            alice.device_key(),
            Context::CERT,
            &hash(Context::CERT, &[&cbor::encode(&fields)]),
        );
        run(c, &own)
    });
    let zeros = DeviceCert { signature: Signature([0; 64]), ..cert };
    c.refuse("a profile whose certificate is not signed", &run(c, &zeros));
}

#[test]
fn headers() {
    check(&header());
}

#[test]
fn runs() {
    check(&run());
}
