//! What travels: the gossip envelope, requests, responses.

use klatch_core::content::Content;
use klatch_core::crypto::{Context, hash, seal};
use klatch_core::delivery::VerifiedAck;
use klatch_core::ids::{DeviceShort, EntryId, HashShort, Peer};
use klatch_core::log::entry::{SealedEntry, entry_hash};
use klatch_core::presence::{VerifiedPresence, direct_set};
use klatch_core::wire::{self, Frontier};

use crate::judge::Fixture;
use crate::make::{self, NOW_MS, alice, bob, head, height, profile, run_bytes, split, text};
use crate::statements::flipped;
use crate::{Cases, Document, check, raw, room};

fn frontier() -> Frontier {
    vec![
        (DeviceShort([1; 16]), 0, HashShort([0xf1; 8])),
        (alice().device_id().prefix(), 900, HashShort([0xf2; 8])),
    ]
}

fn ack(c: &Cases) -> Vec<u8> {
    VerifiedAck::issue(&alice(), c.fixture.keys.room, &frontier())
}

fn presence(c: &Cases) -> Vec<u8> {
    let direct = direct_set([alice().device_id()].iter());
    VerifiedPresence::issue(
        &alice(),
        c.fixture.keys.room,
        &c.fixture.peer,
        direct,
        NOW_MS + 180_000,
    )
}

fn envelope() -> Document {
    let mut c = Cases::of("envelope");
    let alice = alice();
    let one = make::run(&c.fixture, &alice, 4, vec![text("Hello")]);
    let three = make::run(&c.fixture, &alice, 4, vec![text("one"), text("two"), Content::Leave]);
    let good = wire::envelope_of_run(&c.fixture.keys, NOW_MS, [0x5a; 24], &one);
    let (heads, bodies) = split(&one);
    assert_eq!(make::envelope(&c.fixture, 1, &head(1, &heads), false, &bodies), good);
    c.accept("a run of one entry", &good);
    c.accept(
        "a run of three entries",
        &wire::envelope_of_run(&c.fixture.keys, NOW_MS, [0x5b; 24], &three),
    );
    let beacon = wire::envelope_of_beacon(&c.fixture.keys, NOW_MS, [0x5c; 24], ack(&c));
    c.accept("a beacon", &beacon);
    c.accept(
        "presence",
        &wire::envelope_of_presence(&c.fixture.keys, NOW_MS, [0x5d; 24], presence(&c)),
    );
    c.accept(
        "a time long ago: members do not look at it",
        &wire::envelope_of_run(&c.fixture.keys, 0, [0x5e; 24], &one),
    );
    c.misspell(&good);
    outside(&mut c, &good, &one);
    inside(&mut c, &one, &three);
    let about = "As seen by a node that forwards, which checks the topic signature. [1, topic key, slot, nonce, head, bodies, sig].";
    Document { structure: "envelope", section: "7", about, given: room(), cases: c.out }
}

/// What a relay can see.
fn outside(c: &mut Cases, good: &[u8], one: &[SealedEntry]) {
    let items = raw::items(good);
    let with = |i: usize, item: Vec<u8>| {
        let mut changed = items.clone();
        changed[i] = item;
        raw::array(&changed)
    };
    let (heads, bodies) = split(one);
    c.refuse("unknown version", &make::envelope(&c.fixture, 2, &head(1, &heads), false, &bodies));
    c.refuse("another topic key", &with(1, raw::blob(&[9; 32])));
    c.refuse("slot above 32 bits", &with(2, raw::uint(1 << 32)));
    c.refuse("slot changed", &with(2, raw::uint(7)));
    c.refuse("nonce of 12 bytes", &with(3, raw::blob(&[9; 12])));
    c.refuse("nonce changed", &with(3, raw::blob(&[9; 24])));
    c.refuse("head with one bit changed", &with(4, flipped(&items[4], 30)));
    c.refuse("head shorter than a tag", &with(4, raw::blob(&[1; 15])));
    c.refuse("body with one bit changed", &with(5, flipped(&items[5], 30)));
    c.refuse("signature with one bit changed", &flipped(good, 1));
    c.refuse("signature of 63 bytes", &with(6, raw::blob(&[1; 63])));
    c.refuse(
        "too long",
        &make::envelope(
            &c.fixture,
            1,
            &head(1, &heads),
            false,
            &[bodies[0].clone(), Some(vec![0; 73_500])],
        ),
    );
}

/// What only members can see.
fn inside(c: &mut Cases, one: &[SealedEntry], three: &[SealedEntry]) {
    let (heads, bodies) = split(one);
    let of = |c: &Cases, inner: &[u8], bodies: &[Option<Vec<u8>>]| {
        make::envelope(&c.fixture, 1, inner, false, bodies)
    };
    c.refuse("type 0", &of(c, &head(0, &heads), &bodies));
    c.refuse("type 4", &of(c, &head(4, &heads), &bodies));
    c.refuse("a head that is not sealed with the room's key", &{
        let nobody = klatch_core::crypto::seal::seal(&[1; 32], &[0x5a; 24], &[], &[0; 256]);
        make::signed_envelope(&c.fixture, 1, &nobody, &bodies)
    });
    c.refuse(
        "head shorter than a tag, signed",
        &make::signed_envelope(&c.fixture, 1, &[1; 15], &bodies),
    );
    c.refuse("head not padded", &make::envelope(&c.fixture, 1, &head(1, &heads), true, &bodies));
    c.refuse("a byte after the head", &of(c, &[head(1, &heads), vec![0xf6]].concat(), &bodies));
    c.refuse(
        "longer type than needed",
        &of(c, &raw::array(&[vec![0x18, 1], raw::blob(&heads)]), &bodies),
    );
    c.refuse(
        "a byte after the list of headers",
        &of(c, &head(1, &[&heads[..], &[0]].concat()), &bodies),
    );
    c.refuse("no entry", &of(c, &head(1, &raw::array(&[])), &[]));
    c.refuse("a body too many", &of(c, &head(1, &heads), &[bodies[0].clone(), bodies[0].clone()]));
    c.refuse("a body too few", &of(c, &head(1, &heads), &[]));
    c.refuse("a body left out", &of(c, &head(1, &heads), &[None]));
    c.refuse("a body of another entry", &of(c, &head(1, &heads), &split(three).1[..1]));
    c.refuse("a run that is not signed", &{
        let run = [SealedEntry { signature: None, ..one[0].clone() }];
        let (heads, bodies) = split(&run);
        of(c, &head(1, &heads), &bodies)
    });
    c.refuse("a run of another room", &{
        let run = make::bent(&c.fixture, &alice(), 4, &text("x"), |h| h.room.0[0] ^= 1);
        let (heads, bodies) = split(&run);
        of(c, &head(1, &heads), &bodies)
    });
    let bent = flipped(&ack(c), 0);
    c.refuse("a beacon that is signed wrongly", &of(c, &head(2, &bent), &[]));
    let (said, other) = (ack(c), presence(c));
    c.refuse("an acknowledgement as presence", &of(c, &head(3, &said), &[]));
    c.refuse("presence as a beacon", &of(c, &head(2, &other), &[]));
    c.refuse("a beacon with a body", &of(c, &head(2, &said), &bodies));
}

/// The body of a hello from `peer` to `me`.
fn hello(c: &Cases, presence: &[u8]) -> Vec<u8> {
    hello_between(&c.fixture, &c.fixture.peer, &c.fixture.me, presence, &[7; 16])
}

fn hello_between(f: &Fixture, from: &Peer, to: &Peer, presence: &[u8], process: &[u8]) -> Vec<u8> {
    let bound = hash(Context::HELLO, &[&f.keys.epoch.0, &from.0, &to.0]);
    let mut plain = process.to_vec();
    seal::pad(&mut plain);
    let sealed = seal::seal(f.keys.envelope_key(), &[5; 24], &bound.0, &plain);
    raw::array(&[raw::blob(presence), raw::blob(&[5; 24]), raw::blob(&sealed)])
}

fn request() -> Document {
    let mut c = Cases::of("request");
    let rows: Vec<_> = frontier().iter().map(|(d, s, h)| height(&d.0, *s, &h.0)).collect();
    let sync = |frontier: &[Vec<u8>], who: Vec<u8>, bytes_max: u64| {
        raw::array(&[raw::array(frontier), who, raw::uint(bytes_max)])
    };
    let good =
        wire::sync_request(&c.fixture.keys, &c.fixture.peer, &c.fixture.me, &frontier(), 524_288);
    assert_eq!(make::request(&c.fixture, 1, &sync(&rows, raw::null(), 524_288)), good);
    c.accept("sync", &good);
    c.accept("sync by a newcomer", &make::request(&c.fixture, 1, &sync(&[], raw::null(), 0)));
    c.accept("acknowledgement", &make::request(&c.fixture, 2, &ack(&c)));
    c.accept("hello", &make::request(&c.fixture, 3, &hello(&c, &presence(&c))));
    c.refuse("hello without the process", &make::request(&c.fixture, 3, &presence(&c)));
    c.refuse("hello whose process is sealed for the other direction", &{
        let f = &c.fixture;
        let body = hello_between(f, &f.me, &f.peer, &presence(&c), &[7; 16]);
        make::request(f, 3, &body)
    });
    c.refuse("hello with a process of 15 bytes", &{
        let f = &c.fixture;
        make::request(f, 3, &hello_between(f, &f.peer, &f.me, &presence(&c), &[7; 15]))
    });
    c.misspell(&good);
    let items = raw::items(&good);
    let with = |i: usize, item: Vec<u8>| {
        let mut changed = items.clone();
        changed[i] = item;
        raw::array(&changed)
    };
    c.refuse("unknown version", &with(0, raw::uint(2)));
    c.refuse("type 0", &make::request(&c.fixture, 0, &ack(&c)));
    c.refuse("type 5", &make::request(&c.fixture, 5, &ack(&c)));
    c.refuse("epoch of 15 bytes", &with(2, raw::blob(&[9; 15])));
    c.refuse("an epoch that is not known", &with(2, raw::blob(&[9; 16])));
    c.refuse("proof with one bit changed", &with(3, flipped(&items[3], 0)));
    c.refuse("proof of the other direction", &{
        let f = &c.fixture;
        with(3, raw::blob(&f.keys.proof(Context::PROOF_REQUEST, &f.me, &f.peer).0))
    });
    c.refuse("proof of a response", &{
        let f = &c.fixture;
        with(3, raw::blob(&f.keys.proof(Context::PROOF_RESPONSE, &f.peer, &f.me).0))
    });
    c.refuse("proof made for somebody else", &{
        let f = &c.fixture;
        let third = klatch_core::ids::Peer(vec![0x33; 38]);
        with(3, raw::blob(&f.keys.proof(Context::PROOF_REQUEST, &f.peer, &third).0))
    });
    c.refuse("body is no byte string", &with(4, raw::array(&[])));
    c.refuse("too long", &make::request(&c.fixture, 2, &vec![0; 131_072]));
    c.refuse(
        "sync with a frontier that is not sorted",
        &make::request(&c.fixture, 1, &sync(&[rows[1].clone(), rows[0].clone()], raw::null(), 9)),
    );
    c.refuse(
        "sync with the field kept for private rooms",
        &make::request(&c.fixture, 1, &sync(&rows, raw::blob(b"me"), 9)),
    );
    c.refuse(
        "sync that asks for more than 32 bits",
        &make::request(&c.fixture, 1, &sync(&rows, raw::null(), 1 << 32)),
    );
    c.refuse(
        "sync with a byte after it",
        &make::request(&c.fixture, 1, &[sync(&rows, raw::null(), 9), vec![0]].concat()),
    );
    c.refuse(
        "acknowledgement that is signed wrongly",
        &make::request(&c.fixture, 2, &flipped(&ack(&c), 0)),
    );
    c.refuse(
        "hello that is signed wrongly",
        &make::request(&c.fixture, 3, &hello(&c, &flipped(&presence(&c), 0))),
    );
    c.refuse("hello of another peer", &{
        let f = &c.fixture;
        let elsewhere =
            VerifiedPresence::issue(&alice(), f.keys.room, &f.me, direct_set([].iter()), NOW_MS);
        make::request(f, 3, &hello(&c, &elsewhere))
    });
    bodies_asked(&mut c);
    let about = "From given.peer to given.me. [1, type, epoch, proof, body].";
    Document { structure: "request", section: "8.1", about, given: room(), cases: c.out }
}

/// Requests for bodies.
fn bodies_asked(c: &mut Cases) {
    let ids = |n: u8| (0..n).map(|i| EntryId([i; 16])).collect::<Vec<_>>();
    let list = |n: u16| {
        let id = |i: u16| raw::blob(&[&i.to_be_bytes()[..], &[7; 14]].concat());
        raw::array(&(0..n).map(id).collect::<Vec<_>>())
    };
    let f = &c.fixture;
    let three = wire::bodies_request(&f.keys, &f.peer, &f.me, &ids(3));
    c.accept("bodies of three entries", &three);
    c.accept("bodies of as many as may be", &make::request(&c.fixture, 4, &list(256)));
    c.refuse("bodies of one too many", &make::request(&c.fixture, 4, &list(257)));
    c.refuse("bodies of nothing", &make::request(&c.fixture, 4, &raw::array(&[])));
    c.refuse("bodies of one entry twice", &{
        let id = raw::blob(&[7; 16]);
        make::request(&c.fixture, 4, &raw::array(&[id.clone(), id]))
    });
    c.refuse("bodies by an id of 15 bytes", &{
        make::request(&c.fixture, 4, &raw::array(&[raw::blob(&[7; 15])]))
    });
}

fn bodies() -> Document {
    let mut c = Cases::of("bodies");
    let alice = alice();
    let opening = make::run(&c.fixture, &alice, 0, vec![profile(&alice, "Alice")]);
    let two = make::run(&c.fixture, &alice, 1, vec![text("one"), text("two")]);
    let proof = c.fixture.keys.proof(Context::PROOF_RESPONSE, &c.fixture.peer, &c.fixture.me);
    let of = |e: &SealedEntry| (entry_hash(&e.header).id(), Some(e.clone()));
    let good = wire::response_bodies(proof, &[of(&opening[0]), of(&two[0]), of(&two[1])]);
    c.accept("three bodies", &good);
    let nothing = wire::response_bodies(proof, &[(EntryId([7; 16]), None)]);
    c.accept("one that is not there", &nothing);
    c.accept("no answer to any", &wire::response_bodies(proof, &[]));
    c.accept("a body that rotted counts as none", &{
        let mut rotted = two[0].clone();
        let mut body = rotted.body.as_deref().unwrap_or_default().to_vec();
        body[20] ^= 1;
        rotted.body = Some(body.into());
        wire::response_bodies(proof, &[of(&rotted), of(&two[1])])
    });
    c.accept("a body of another entry counts as none", &{
        wire::response_bodies(proof, &[(EntryId([7; 16]), Some(two[0].clone()))])
    });
    c.misspell(&nothing);
    let items = raw::items(&good);
    let with = |i: usize, item: Vec<u8>| {
        let mut changed = items.clone();
        changed[i] = item;
        raw::array(&changed)
    };
    c.refuse("unknown version", &with(0, raw::uint(2)));
    c.refuse("unknown status", &with(1, raw::uint(2)));
    c.refuse("refused", &wire::response_refused());
    c.refuse("proof with one bit changed", &with(2, flipped(&items[2], 0)));
    c.refuse("one too many", &{
        let none = raw::items(&raw::items(&nothing)[3])[0].clone();
        with(3, raw::array(&vec![none; 257]))
    });
    c.refuse("an id alone", &with(3, raw::array(&[raw::array(&[raw::blob(&[7; 16])])])));
    let about = "Bodies from given.peer to given.me. [1, status, proof, [[id, [header, body] or null], ...]].";
    Document { structure: "bodies", section: "8.5", about, given: room(), cases: c.out }
}

fn response() -> Document {
    let mut c = Cases::of("response");
    let (alice, bob) = (alice(), bob());
    let opening = make::run(&c.fixture, &alice, 0, vec![profile(&alice, "Alice")]);
    let two = make::run(&c.fixture, &alice, 1, vec![text("one"), text("two")]);
    let other = make::run(&c.fixture, &bob, 0, vec![profile(&bob, "Bob")]);
    let proof = c.fixture.keys.proof(Context::PROOF_RESPONSE, &c.fixture.peer, &c.fixture.me);
    let good =
        wire::response_page(proof, &[&opening[..], &two, &other].concat(), &frontier(), true);
    let nothing = wire::response_page(proof, &[], &frontier(), false);
    c.accept("three runs", &good);
    c.accept("nothing to send", &nothing);
    c.accept("a body that was dropped", &{
        let dropped = [two[0].clone(), SealedEntry { body: None, ..two[1].clone() }];
        wire::response_page(proof, &dropped, &frontier(), false)
    });
    c.misspell(&nothing);
    let items = raw::items(&good);
    let with = |i: usize, item: Vec<u8>| {
        let mut changed = items.clone();
        changed[i] = item;
        raw::array(&changed)
    };
    c.refuse("unknown version", &with(0, raw::uint(2)));
    c.refuse("refused", &wire::response_refused());
    c.refuse("yes to an acknowledgement is no page", &wire::response_ok());
    c.refuse("unknown status", &with(1, raw::uint(2)));
    c.refuse("proof with one bit changed", &with(2, flipped(&items[2], 0)));
    c.refuse("proof of a request", &{
        let f = &c.fixture;
        with(2, raw::blob(&f.keys.proof(Context::PROOF_REQUEST, &f.peer, &f.me).0))
    });
    c.refuse(
        "frontier not sorted",
        &with(4, {
            let rows = raw::items(&items[4]);
            raw::array(&[rows[1].clone(), rows[0].clone()])
        }),
    );
    c.refuse("more as a number", &with(5, raw::uint(1)));
    c.refuse("ends inside a run", &wire::response_page(proof, &two[..1], &frontier(), true));
    c.refuse(
        "starts inside a run that does not follow",
        &wire::response_page(proof, &[&two[..1], &other].concat(), &frontier(), true),
    );
    c.refuse("a run that is signed wrongly", &{
        let mut bent = two.clone();
        bent[1].signature = opening[0].signature;
        wire::response_page(proof, &bent, &frontier(), false)
    });
    c.refuse("an entry of two items", &{
        let entry = raw::items(&raw::items(&run_bytes(&other))[0]);
        with(3, raw::array(&[raw::array(&entry[..2])]))
    });
    let about = "A page from given.peer to given.me. [1, status, proof, entries, frontier, more].";
    Document { structure: "response", section: "8.3", about, given: room(), cases: c.out }
}

#[test]
fn envelopes() {
    check(&envelope());
}

#[test]
fn requests() {
    check(&request());
}

#[test]
fn bodies_lent() {
    check(&bodies());
}

#[test]
fn responses() {
    check(&response());
}
