//! Seeded worlds in every test run: the first seeds, those that failed once, and some planted
//! mistakes. The program `examples/sim.rs` runs any number of them.

#![cfg(feature = "sim")]

use klatch_core::sim::{self, Outcome};

fn must_pass(seeds: impl IntoIterator<Item = u64>) -> Vec<Outcome> {
    let outcomes: Vec<Outcome> = seeds.into_iter().map(|seed| sim::run(seed, false)).collect();
    let failed: Vec<String> = outcomes
        .iter()
        .filter_map(|o| Some(format!("seed {}: {}", o.seed, o.failure.as_ref()?)))
        .collect();
    assert!(
        failed.is_empty(),
        "{}\nreplay: cargo run --release -p klatch-core --features faults --example sim -- replay SEED -v",
        failed.join("\n")
    );
    outcomes
}

#[test]
fn groups_converge_whatever_goes_wrong() {
    let outcomes = must_pass(1_000..1_060);
    assert!(
        outcomes.iter().all(|o| o.quality.entries > 0),
        "a world in which nobody said anything proves nothing"
    );
}

#[test]
fn seeds_that_failed_once_pass() {
    let seeds = sim::seeds_in(include_str!("seeds.txt"));
    assert!(seeds.len() > 10);
    must_pass(seeds);
}

#[test]
fn a_seed_is_the_same_world_every_time() {
    for seed in [3, 7, 11, 25] {
        assert_eq!(sim::run(seed, false), sim::run(seed, false), "seed {seed}");
    }
}

#[cfg(feature = "faults")]
mod planted {
    use klatch_core::sim::faults::Fault;
    use klatch_core::sim::hunt;

    #[test]
    fn an_entry_taken_in_over_a_gap_is_noticed() {
        assert!(hunt(Fault::AcceptGap, 50).is_some());
    }

    #[test]
    fn an_own_position_used_twice_is_noticed() {
        assert!(hunt(Fault::ReuseOwnSeq, 50).is_some());
    }

    #[test]
    fn a_message_that_leaves_before_it_is_stored_is_noticed() {
        assert!(hunt(Fault::SendBeforeCommit, 100).is_some());
    }
}
