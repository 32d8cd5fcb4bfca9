//! Arbitrary and mutated bytes into every decoder: nothing panics, nothing is accepted in another
//! spelling, nothing that is signed is accepted with one bit changed, and bytes that promise much
//! end soon.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, clippy::disallowed_types)]

// Shared with the vectors, which use more of them.
#[allow(dead_code)]
#[path = "vectors/judge.rs"]
mod judge;
#[allow(dead_code)]
#[path = "vectors/make.rs"]
mod make;
#[allow(dead_code)]
#[path = "vectors/raw.rs"]
mod raw;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use judge::{Fixture, STRUCTURES, judge, unhex};
use klatch_core::cbor::DecodeError;
use klatch_core::content::{Content, Kind};
use klatch_core::error::Reject;
use klatch_core::limits::{ENVELOPE_BYTES_MAX, FRONTIER_MAX, RUN_BYTES_MAX};
use klatch_core::log::entry::{SealedEntry, verify_run};
use proptest::prelude::*;
use serde_json::Value;

/// A kind that no release has brought yet, whose content nobody reads, and a control kind.
const UNREAD: [u8; 2] = [7, 16];

/// Bytes of a structure; content has a kind.
type Sample = (&'static str, Option<u8>, Vec<u8>);

/// Every accepted vector up to this size is a seed of mutations: longer ones are the same
/// structures with more in them.
const SEED_BYTES_MAX: usize = 4_000;

fn vectors() -> Vec<Sample> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/vectors");
    let mut out = Vec::new();
    for structure in STRUCTURES {
        let text = fs::read_to_string(folder.join(format!("{structure}.json"))).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        for case in document["cases"].as_array().unwrap() {
            let kind = case["input"]["kind"].as_u64().map(|k| u8::try_from(k).unwrap());
            if let (Some(hex), Some(true)) = (case["hex"].as_str(), case["valid"].as_bool()) {
                out.push((*structure, kind, unhex(hex)));
            }
        }
    }
    assert!(out.len() > 60, "only {} accepted vectors", out.len());
    out.retain(|(_, _, bytes)| bytes.len() <= SEED_BYTES_MAX);
    out
}

/// Into the decoder; what is accepted must be the one spelling of what it says. Returns whether it
/// was.
fn feed(f: &mut Fixture, structure: &str, kind: Option<u8>, bytes: &[u8]) -> bool {
    let accepted = judge(f, structure, kind, true, bytes).is_ok();
    if accepted && structure != "padding" && !is_unread(kind) {
        assert!(
            raw::is_strict(bytes),
            "{structure} accepted in another spelling: {}",
            judge::hex(bytes)
        );
    }
    accepted
}

/// Whether content of this kind is carried as it is.
fn is_unread(kind: Option<u8>) -> bool {
    kind.and_then(Kind::from_code).is_some_and(judge::is_newer)
}

/// Into all decoders.
fn feed_all(f: &mut Fixture, bytes: &[u8]) {
    for structure in STRUCTURES {
        let kinds: Vec<Option<u8>> = if *structure == "content" {
            (0..=6).chain(UNREAD).map(Some).collect()
        } else {
            vec![None]
        };
        for kind in kinds {
            feed(f, structure, kind, bytes);
        }
    }
    let _ = judge(f, "envelope", None, false, bytes);
}

/// Whether a changed bit may still be a valid structure: unsigned fields, and frontiers under a
/// proof that covers only who speaks to whom (PROTOCOL.md 8.2).
fn may_differ(structure: &str) -> bool {
    // A sealed direct message is signed by nobody, and of its answers only the bundle is.
    matches!(
        structure,
        "header"
            | "content"
            | "padding"
            | "request"
            | "response"
            | "bodies"
            | "direct_request"
            | "direct_answer"
    )
}

#[test]
fn every_truncation_is_refused() {
    let mut f = Fixture::new();
    for (structure, kind, bytes) in vectors().into_iter().filter(|v| !is_unread(v.1)) {
        for len in 0..bytes.len() {
            assert!(!feed(&mut f, structure, kind, &bytes[..len]), "{structure} of {len} bytes");
        }
    }
}

#[test]
fn every_changed_bit_of_what_is_signed_is_refused() {
    let mut f = Fixture::new();
    for (structure, kind, bytes) in vectors() {
        // Inside a long structure every eleventh bit: all bits of the short ones, a new residue
        // class in each byte.
        let step = if bytes.len() > 600 { 11 } else { 1 };
        for bit in (0..bytes.len() * 8).step_by(step) {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            let accepted = feed(&mut f, structure, kind, &bent);
            assert!(
                !accepted || may_differ(structure),
                "{structure}, bit {bit}: {}",
                judge::hex(&bent)
            );
        }
    }
}

#[test]
fn members_that_do_not_forward_are_fooled_by_the_topic_signature_only() {
    // They skip that signature: its bits may change. Everything else is held by the AEAD, the
    // hashes and the author.
    let mut f = Fixture::new();
    for (structure, kind, bytes) in vectors().into_iter().filter(|v| v.0 == "envelope") {
        let said = judge(&mut f, structure, kind, false, &bytes).unwrap();
        for bit in (0..bytes.len() * 8).step_by(11) {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            match judge(&mut f, structure, kind, false, &bent) {
                Ok(meaning) => {
                    assert!(bit / 8 >= bytes.len() - 64, "bit {bit} of {}", bytes.len());
                    assert_eq!(meaning, said);
                }
                Err(_) => assert!(bit / 8 < bytes.len() - 64),
            }
        }
    }
}

#[test]
fn kept_inputs_are_replayed() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut f = Fixture::new();
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "hex") {
            let text: String = fs::read_to_string(&path).unwrap().split_whitespace().collect();
            feed_all(&mut f, &unhex(&text));
            count += 1;
        }
    }
    assert!(count >= 10, "{count} kept inputs");
}

#[test]
fn bytes_that_promise_much_end_soon() {
    let mut f = Fixture::new();
    let promise = |head: &[u8], len: usize| [head, &vec![0x80; len]].concat();
    let bombs = [
        vec![0x81; 1 << 20],
        vec![0x9f; 1 << 20],
        vec![0x5f; 1 << 20],
        vec![0xc1; 1 << 20],
        vec![0xa1; 1 << 20],
        promise(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 100),
        promise(&[0x9a, 0xff, 0xff, 0xff, 0xff], 700_000),
        promise(&[0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 100),
        promise(&[0x7b, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff], 100),
        promise(&[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 100),
        // A response whose list of entries promises 2^32, each of which promises a body of 2^32
        // bytes.
        [
            &[0x86, 1, 0, 0x58, 0x20][..],
            &[0; 32],
            &[0x9a, 0xff, 0xff, 0xff, 0xff, 0x83, 0x5a, 0xff, 0xff, 0xff, 0xff],
        ]
        .concat(),
        // The longest list of the smallest entries that fits a response.
        [
            &[0x86, 1, 0, 0x58, 0x20][..],
            &[0; 32],
            &[0x9a, 0, 3, 0, 0],
            &[0x83, 0x40, 0xf6, 0xf6].repeat(0x2_ff00),
            &[0x80, 0xf4],
        ]
        .concat(),
    ];
    let began = Instant::now();
    for bomb in &bombs {
        feed_all(&mut f, bomb);
    }
    // A hundred and more decodings; each alone takes well under a millisecond in a checked build.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_full_frontier_is_read_and_a_longer_one_refused() {
    let mut f = Fixture::new();
    let alice = make::alice();
    let of = |f: &Fixture, n: usize| {
        // Chains have no holes: a position of more than 32 bits is not reached by writing.
        let seq = u64::from(u32::MAX);
        let rows: Vec<_> =
            (0..n as u128).map(|i| make::height(&i.to_be_bytes(), seq, &[0xff; 8])).collect();
        make::signed(
            &alice,
            klatch_core::crypto::Context::ACK,
            &make::ack_fields(f, &alice.device_id(), &rows),
        )
    };
    let full = of(&f, FRONTIER_MAX);
    assert!(judge(&mut f, "ack", None, true, &full).is_ok());
    let bytes = make::request(&f, 2, &full);
    assert!(judge(&mut f, "request", None, true, &bytes).is_ok(), "fits a request");
    let bytes = make::envelope(&f, 1, &make::head(2, &full), false, &[]);
    assert!(
        bytes.len() <= ENVELOPE_BYTES_MAX && judge(&mut f, "envelope", None, true, &bytes).is_ok(),
        "fits an envelope"
    );
    let long = of(&f, FRONTIER_MAX + 1);
    assert_eq!(
        judge(&mut f, "ack", None, true, &long).unwrap_err(),
        Reject::Decode(DecodeError::Bounds)
    );
}

#[test]
fn the_longest_text_fits_and_a_run_of_more_than_its_bytes_is_refused() {
    let mut f = Fixture::new();
    let alice = make::alice();
    let longest = make::run(&f, &alice, 4, vec![make::text(&"x".repeat(64_000))]);
    assert!(judge(&mut f, "run", None, true, &make::run_bytes(&longest)).is_ok());
    let (heads, bodies) = make::split(&longest);
    let bytes = make::envelope(&f, 1, &make::head(1, &heads), false, &bodies);
    assert!(
        bytes.len() <= ENVELOPE_BYTES_MAX && judge(&mut f, "envelope", None, true, &bytes).is_ok()
    );
    let long = make::text(&"x".repeat(30_000));
    let run = make::run(&f, &alice, 4, vec![long.clone(), long.clone(), long]);
    assert!(run.iter().map(SealedEntry::len).sum::<usize>() > RUN_BYTES_MAX);
    assert_eq!(judge(&mut f, "run", None, true, &make::run_bytes(&run)).unwrap_err(), Reject::Run);
}

#[test]
fn a_request_for_nothing_known_is_refused_like_a_wrong_proof() {
    let mut f = Fixture::new();
    let good = make::request(&f, 1, &raw::array(&[raw::array(&[]), raw::null(), raw::uint(9)]));
    let mut items = raw::items(&good);
    assert!(judge(&mut f, "request", None, true, &good).is_ok());
    for (at, item) in [(2, raw::blob(&[7; 16])), (3, raw::blob(&[7; 32]))] {
        let right = std::mem::replace(&mut items[at], item);
        let (keys, bytes) = (&f.keys, raw::array(&items));
        let refused =
            klatch_core::wire::open_request(keys, &f.me, &f.peer, &bytes, &mut f.verifier)
                .unwrap_err();
        assert_eq!(refused, Reject::Proof);
        items[at] = right;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        feed_all(&mut Fixture::new(), &bytes);
    }

    #[test]
    fn arbitrary_values(value in value()) {
        feed_all(&mut Fixture::new(), &value);
    }

    #[test]
    fn spliced_vectors(
        a in any::<prop::sample::Index>(),
        b in any::<prop::sample::Index>(),
        cuts in any::<[prop::sample::Index; 4]>(),
        noise in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let all = VECTORS.get_or_init(vectors);
        let ((structure, kind, left), (_, _, right)) = (a.get(all), b.get(all));
        let mut at = [cuts[0].index(left.len() + 1), cuts[1].index(left.len() + 1)];
        at.sort_unstable();
        let mut from = [cuts[2].index(right.len() + 1), cuts[3].index(right.len() + 1)];
        from.sort_unstable();
        let bytes = [&left[..at[0]], &right[from[0]..from[1]], &noise, &left[at[1]..]].concat();
        let accepted = feed(&mut Fixture::new(), structure, *kind, &bytes);
        let own: Vec<_> = all.iter().filter(|v| v.0 == *structure).collect();
        prop_assert!(!accepted || may_differ(structure) || own.iter().any(|v| v.2 == bytes));
    }

    #[test]
    fn items_of_vectors_exchanged(
        a in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        value in value(),
    ) {
        let all = VECTORS.get_or_init(vectors);
        let (structure, kind, bytes) = a.get(all);
        if bytes.first().is_some_and(|b| b >> 5 == 4) {
            let mut items = raw::items(bytes);
            if !items.is_empty() {
                let at = at.index(items.len());
                items[at] = value;
                feed(&mut Fixture::new(), structure, *kind, &raw::array(&items));
            }
        }
    }
}

static VECTORS: std::sync::OnceLock<Vec<Sample>> = std::sync::OnceLock::new();

/// Well-formed CBOR of the kinds we use and some we do not.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        any::<u64>().prop_map(raw::uint),
        (0u64..30).prop_map(raw::uint),
        prop::collection::vec(any::<u8>(), 0..70).prop_map(|b| raw::blob(&b)),
        (prop::sample::select(vec![8, 16, 24, 32, 64]), any::<u8>())
            .prop_map(|(n, b)| raw::blob(&vec![b; n])),
        ".{0,20}".prop_map(|t| raw::text(&t)),
        prop::sample::select(vec![0xf4, 0xf5, 0xf6, 0xf7, 0x20, 0xa0, 0xe0])
            .prop_map(|b: u8| vec![b]),
    ];
    leaf.prop_recursive(4, 40, 16, |inner| {
        prop::collection::vec(inner, 0..16).prop_map(|items| raw::array(&items))
    })
}

#[test]
fn the_last_possible_position_ends_in_an_error() {
    let mut f = Fixture::new();
    let alice = make::alice();
    let last = make::bent(&f, &alice, 1, &make::text("end"), |h| h.seq = u64::MAX).remove(0);
    let after = make::run(&f, &alice, 0, vec![make::profile(&alice, "Alice")]).remove(0);
    let run = vec![SealedEntry { signature: None, ..last }, after];
    assert_eq!(verify_run(&f.keys, run, &mut f.verifier).unwrap_err(), Reject::Run);
}

#[test]
fn a_header_without_a_body_hash_is_refused() {
    let mut f = Fixture::new();
    let alice = make::alice();
    let mut run =
        make::bent(&f, &alice, 3, &Content::Leave, |h| (h.body_hash, h.body_len) = (None, 0));
    run[0].body = None;
    let bytes = make::run_bytes(&run);
    assert_eq!(
        judge(&mut f, "run", None, true, &bytes).unwrap_err(),
        Reject::Decode(DecodeError::Bounds)
    );
}

#[test]
fn gossip_without_its_bodies_is_refused() {
    // Anybody with the room's keys can strip a body off; taking the header alone would make the
    // real thing a duplicate.
    let mut f = Fixture::new();
    let alice = make::alice();
    let (heads, _) = make::split(&make::run(&f, &alice, 3, vec![make::text("hello")]));
    let bytes = make::envelope(&f, 1, &make::head(1, &heads), false, &[None]);
    assert_eq!(judge(&mut f, "envelope", None, true, &bytes).unwrap_err(), Reject::Body);
}
