//! Arbitrary and mutated bytes into every decoder: nothing panics, nothing is accepted in another spelling, nothing that is
//! signed is accepted with one bit changed, and bytes that promise much end soon.

#[path = "vectors/judge.rs"]
mod judge;
#[path = "vectors/make.rs"]
mod make;
#[path = "vectors/raw.rs"]
mod raw;

use judge::Fixture;
use klatch_core::content::Content;
use klatch_core::error::Reject;
use klatch_core::log::entry::{SealedEntry, verify_run};

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
    let mut run = make::bent(&f, &alice, 3, &Content::Leave, |h| (h.body_hash, h.body_len) = (None, 0));
    run[0].body = None;
    let bytes = make::run_bytes(&run);
    assert_eq!(
        judge::judge(&mut f, "run", None, true, &bytes).unwrap_err(),
        Reject::Decode(klatch_core::cbor::DecodeError::Bounds)
    );
}

#[test]
fn gossip_without_its_bodies_is_refused() {
    // Anybody with the room's keys can strip a body off; taking the header alone would make the real thing a duplicate.
    let mut f = Fixture::new();
    let alice = make::alice();
    let (heads, _) = make::split(&make::run(&f, &alice, 3, vec![make::text("hello")]));
    let bytes = make::envelope(&f, 1, &make::head(1, &heads), false, &[None]);
    assert_eq!(judge::judge(&mut f, "envelope", None, true, &bytes).unwrap_err(), Reject::Body);
}
