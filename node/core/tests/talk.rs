//! Worlds of direct messages in every test run: the first seeds, those that failed once, and some
//! planted mistakes.

#![cfg(feature = "sim")]

use klatch_core::sim::{self, talk};

fn must_pass(seeds: impl IntoIterator<Item = u64>) -> u64 {
    let outcomes: Vec<_> = seeds.into_iter().map(|seed| talk::run(seed, false)).collect();
    let failed: Vec<String> = outcomes
        .iter()
        .filter_map(|o| Some(format!("seed {}: {}", o.seed, o.failure.as_ref()?)))
        .collect();
    assert!(
        failed.is_empty(),
        "{}\nreplay: cargo run --release -p klatch-core --features faults --example sim -- direct-replay SEED -v",
        failed.join("\n")
    );
    outcomes.iter().map(|o| o.quality.entries).sum()
}

#[test]
fn every_message_is_delivered_once_whatever_goes_wrong() {
    assert!(must_pass(0..150) > 1_500, "worlds in which nobody writes prove nothing");
}

#[test]
fn seeds_that_failed_once_pass() {
    must_pass(sim::seeds_in(include_str!("talk.seeds.txt")));
}

#[test]
fn a_seed_is_the_same_world_every_time_also_with_real_keys() {
    for seed in [1, 2, 3, 7, 57] {
        assert_eq!(talk::run(seed, false), talk::run(seed, false), "seed {seed}");
    }
}

#[cfg(feature = "faults")]
mod planted {
    use klatch_core::sim::faults::Fault;
    use klatch_core::sim::talk::hunt;

    #[test]
    fn every_mistake_in_direct_messages_is_noticed() {
        let missed: Vec<_> =
            Fault::ALL.iter().filter(|f| f.is_direct() && hunt(**f, 300).is_none()).collect();
        assert!(missed.is_empty(), "{missed:?} not noticed");
    }
}
