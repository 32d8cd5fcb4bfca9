//! Runs simulated worlds from the command line: any number of seeds, one seed in detail, all
//! planted mistakes.
//!
//! ```text
//! cargo run --release -p klatch-core --features faults --example sim -- seeds 2000 [FIRST]
//! cargo run --release -p klatch-core --features faults --example sim -- planted [MOST]
//! cargo run --release -p klatch-core --features faults --example sim -- direct 10000 [FIRST]
//! cargo run --release -p klatch-core --features faults --example sim -- direct-replay SEED [-v]
//! cargo run --release -p klatch-core --features faults --example sim -- twice 100
//! cargo run --release -p klatch-core --features faults --example sim -- replay SEED [-v]
//! cargo run --release -p klatch-core --features faults --example sim -- file node/core/tests/seeds.txt
//! ```

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program outside the core: it has threads, a clock and arguments"
)]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use klatch_core::sim::{self, Outcome};

const COMMAND: &str = "cargo run --release -p klatch-core --features faults --example sim --";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let good = match words.as_slice() {
        ["seeds", n] => number(n).map(|n| seeds(&(0..n).collect::<Vec<_>>())),
        ["seeds", n, first] => {
            number(n).zip(number(first)).map(|(n, f)| seeds(&(f..f + n).collect::<Vec<_>>()))
        }
        ["direct", n] => number(n).map(|n| direct(&(0..n).collect::<Vec<_>>())),
        ["direct", n, first] => {
            number(n).zip(number(first)).map(|(n, f)| direct(&(f..f + n).collect::<Vec<_>>()))
        }
        ["direct-replay", seed] => number(seed).map(|s| direct_replay(s, false)),
        ["direct-replay", seed, "-v"] => number(seed).map(|s| direct_replay(s, true)),
        ["with", fault, n] => number(n).map(|n| with(fault, n)),
        ["planted"] => Some(planted(500)),
        ["planted", most] => number(most).map(planted),
        ["twice", n] => number(n).map(twice),
        ["replay", seed] => number(seed).map(|s| replay(s, false)),
        ["replay", seed, "-v"] => number(seed).map(|s| replay(s, true)),
        ["file", path] => Some(file(path)),
        _ => None,
    };
    match good {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::FAILURE,
        None => {
            eprintln!(
                "usage: seeds N [FIRST] | direct N [FIRST] | direct-replay SEED [-v] | planted [MOST] | with MISTAKE N | twice N | replay SEED [-v] | file PATH"
            );
            ExitCode::from(2)
        }
    }
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// Runs every seed, each world on a fresh thread state, as many at a time as there are cores.
fn all(seeds: &[u64], each: impl Fn(u64) -> Outcome + Sync) -> Vec<Outcome> {
    let next = AtomicU64::new(0);
    let threads =
        std::thread::available_parallelism().map_or(1, usize::from).min(seeds.len().max(1));
    let mut outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            while let Some(seed) = seeds
                .get(usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap_or(usize::MAX))
            {
                done.push(each(*seed));
            }
            done
        };
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        handles.into_iter().flat_map(|h| h.join().unwrap_or_default()).collect()
    });
    outcomes.sort_by_key(|o| o.seed);
    outcomes
}

fn seeds(seeds: &[u64]) -> bool {
    let start = Instant::now();
    let outcomes = all(seeds, |seed| sim::run(seed, false));
    let took = start.elapsed().as_secs_f64();
    let failed: Vec<&Outcome> = outcomes.iter().filter(|o| o.failure.is_some()).collect();
    for outcome in failed.iter().take(20) {
        if let Some(failure) = &outcome.failure {
            println!(
                "seed {} failed at {failure}\n  replay it: {COMMAND} replay {} -v",
                outcome.seed, outcome.seed
            );
        }
    }
    figures(&outcomes);
    let inputs: u64 = outcomes.iter().map(|o| o.inputs).sum();
    println!(
        "{} seeds, {} failed, {took:.1} s ({:.0} seeds/s, {:.2} million inputs)",
        outcomes.len(),
        failed.len(),
        outcomes.len() as f64 / took,
        inputs as f64 / 1e6
    );
    failed.is_empty() && outcomes.len() == seeds.len()
}

fn direct(seeds: &[u64]) -> bool {
    let start = Instant::now();
    let outcomes = all(seeds, |seed| sim::talk::run(seed, false));
    let failed: Vec<&Outcome> = outcomes.iter().filter(|o| o.failure.is_some()).collect();
    for outcome in failed.iter().take(20) {
        if let Some(failure) = &outcome.failure {
            println!(
                "seed {} failed at {failure}\n  replay it: {COMMAND} direct-replay {} -v",
                outcome.seed, outcome.seed
            );
        }
    }
    let rows: u64 = outcomes.iter().map(|o| o.quality.entries).sum();
    let (took, count) = (start.elapsed().as_secs_f64(), outcomes.len());
    println!(
        "{count} worlds of direct messages, {} failed, {took:.1} s, {rows} messages stored",
        failed.len()
    );
    failed.is_empty() && count == seeds.len()
}

fn direct_replay(seed: u64, trace: bool) -> bool {
    println!("{:#?}", sim::talk::plan(seed));
    let outcome = sim::talk::run(seed, trace);
    println!("{outcome:#?}");
    outcome.failure.is_none()
}

fn figures(outcomes: &[Outcome]) {
    let good: Vec<&Outcome> =
        outcomes.iter().filter(|o| o.failure.is_none() && o.quality.entries > 0).collect();
    let spread = |of: &dyn Fn(&Outcome) -> f64| {
        let mut values: Vec<f64> = good.iter().map(|o| of(o)).collect();
        values.sort_by(f64::total_cmp);
        let at = |q: f64| {
            values.get(((values.len() as f64 - 1.0) * q) as usize).copied().unwrap_or(f64::NAN)
        };
        format!("median {:.1}, p90 {:.1}, worst {:.1}", at(0.5), at(0.9), at(1.0))
    };
    println!(
        "after healing, seconds until all have everything:  {}",
        spread(&|o| o.quality.same_ms as f64 / 1e3)
    );
    println!(
        "after healing, seconds until all know that:        {}",
        spread(&|o| o.quality.converged_ms as f64 / 1e3)
    );
    println!(
        "gossip envelopes on links per entry:               {}",
        spread(&|o| o.quality.envelopes as f64 / o.quality.entries as f64)
    );
    println!(
        "sync bytes per entry:                              {}",
        spread(&|o| o.quality.sync_bytes as f64 / o.quality.entries as f64)
    );
}

fn replay(seed: u64, trace: bool) -> bool {
    let plan = sim::plan::Plan::of(seed);
    println!("{plan:#?}");
    let outcome = sim::run(seed, trace);
    println!("{outcome:#?}");
    outcome.failure.is_none()
}

fn twice(n: u64) -> bool {
    let both: Vec<u64> = (0..n).collect();
    let (first, second) = (all(&both, |s| sim::run(s, false)), all(&both, |s| sim::run(s, false)));
    let differ: Vec<u64> =
        first.iter().zip(&second).filter(|(a, b)| a != b).map(|(a, _)| a.seed).collect();
    println!("{n} seeds run twice, {} with different fingerprints {differ:?}", differ.len());
    differ.is_empty()
}

fn file(path: &str) -> bool {
    match std::fs::read_to_string(path) {
        Ok(text) => seeds(&sim::seeds_in(&text)),
        Err(error) => {
            eprintln!("cannot read {path}: {error}");
            false
        }
    }
}

#[cfg(feature = "faults")]
fn planted(most: u64) -> bool {
    use klatch_core::sim::faults::Fault;
    let mut good = true;
    println!("{:<18} {:<62} {:>6}  caught as", "planted", "what is done wrong", "seeds");
    for &fault in Fault::ALL.iter().filter(|f| !f.is_told()) {
        let caught =
            if fault.is_direct() { sim::talk::hunt(fault, most) } else { sim::hunt(fault, most) };
        match caught {
            Some((seeds, failure)) => {
                let what: String = failure.what.chars().take(90).collect();
                println!("{:<18} {:<62} {seeds:>6}  {what}", format!("{fault:?}"), fault.what());
            }
            None => {
                good = false;
                println!(
                    "{:<18} {:<62} {:>6}  NOT CAUGHT in {most} seeds",
                    format!("{fault:?}"),
                    fault.what(),
                    "-"
                );
            }
        }
    }
    good
}

/// How many of the first seeds fail with a mistake.
#[cfg(feature = "faults")]
fn with(name: &str, n: u64) -> bool {
    use klatch_core::sim::faults::{Fault, plant};
    let Some(fault) = Fault::ALL.iter().copied().find(|f| format!("{f:?}") == name) else {
        eprintln!("no such mistake: {name}");
        return false;
    };
    let outcomes = all(&(0..n).collect::<Vec<_>>(), |seed| {
        plant(Some(fault));
        let outcome = sim::run(seed, false);
        plant(None);
        outcome
    });
    let failed: Vec<u64> =
        outcomes.iter().filter(|o| o.failure.is_some()).map(|o| o.seed).collect();
    println!("{name}: {} of {n} seeds fail, first {:?}", failed.len(), failed.iter().take(5));
    true
}

#[cfg(not(feature = "faults"))]
fn with(_: &str, _: u64) -> bool {
    planted(0)
}

#[cfg(not(feature = "faults"))]
fn planted(_: u64) -> bool {
    eprintln!("planted mistakes need `--features faults`");
    false
}
