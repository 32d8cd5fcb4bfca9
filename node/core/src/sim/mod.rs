//! Seeded worlds of many nodes (feature `sim`, never in a release): the proof that the core does
//! what it promises.
//!
//! A seed decides everything: how many nodes there are, what their users do, what the network
//! loses, delays, doubles and reorders, who crashes at which effect, whose clock is wrong, and what
//! a member who breaks rules sends. Time is virtual. Everything that nodes say to each other goes
//! through its real bytes. Invariants are checked at every commit and every event ([`ledger`]);
//! when the faults end, the world must converge, agree with a naive model of a chat ([`model`]),
//! and fall silent. A failing seed is kept for ever in `tests/seeds.txt`.
//!
//! Reading order: [`plan`] (what a seed means), [`world`] (time and events), [`turn`] (what a node
//! does with a batch, and where it may crash), [`links`], [`network`], [`people`], [`attacker`],
//! [`settle`] (healing and the final comparison), [`story`].

#![allow(
    clippy::missing_errors_doc,
    reason = "a failure of a world is its result, named where it is made"
)]

pub mod attacker;
pub mod desk;
pub mod disk;
#[cfg(feature = "faults")]
pub mod faults;
pub mod ledger;
pub mod letters;
pub mod links;
pub mod model;
pub mod network;
pub mod node;
pub mod people;
pub mod plan;
pub mod rng;
pub mod settle;
pub mod story;
pub mod talk;
pub mod turn;
pub mod world;

use plan::Plan;
use world::World;

/// Why a world failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Virtual milliseconds since the start.
    pub at_ms: u64,
    /// At which node, if at one.
    pub node: Option<usize>,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (minutes, rest) = (self.at_ms / 60_000, self.at_ms % 60_000);
        write!(f, "{minutes}:{:02}.{:03}", rest / 1_000, rest % 1_000)?;
        if let Some(node) = self.node {
            write!(f, " node {node}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Figures of a world that converged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quality {
    /// From the end of all faults until everybody had everything and knew it, milliseconds.
    pub converged_ms: u64,
    /// From the end of all faults until everybody had everything, milliseconds.
    pub same_ms: u64,
    /// Entries in all rooms.
    pub entries: u64,
    /// Gossip envelopes put on links.
    pub envelopes: u64,
    /// Their bytes.
    pub envelope_bytes: u64,
    /// Bytes of sync requests and pages.
    pub sync_bytes: u64,
}

/// What became of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Everything that happened, in 64 bits: equal for equal runs.
    pub fingerprint: u64,
    /// Inputs handled by all machines.
    pub inputs: u64,
    /// Figures.
    pub quality: Quality,
    /// What is wrong, if anything.
    pub failure: Option<Failure>,
}

/// Runs the world of a seed. Prints what happens if `trace` is set. The suite of the thread is set
/// and left as the seed wants it.
#[must_use]
pub fn run(seed: u64, trace: bool) -> Outcome {
    let plan = Plan::of(seed);
    crate::crypto::suite::set_fast(plan.fast);
    let mut world = World::new(plan);
    world.trace = trace;
    world.live();
    world.outcome()
}

/// The seeds in a file: the first word of each line, `#` begins a comment.
#[must_use]
pub fn seeds_in(text: &str) -> Vec<u64> {
    text.lines()
        .filter_map(|l| l.split('#').next()?.split_whitespace().next()?.parse().ok())
        .collect()
}

/// Plants a mistake and runs seeds until one of them fails: how many it took, and what was noticed.
#[cfg(feature = "faults")]
#[must_use]
pub fn hunt(fault: faults::Fault, seeds_max: u64) -> Option<(u64, Failure)> {
    (0..seeds_max).find_map(|seed| {
        faults::plant(Some(fault));
        let failure = run(seed, false).failure;
        faults::plant(None);
        // What also fails without the mistake was not caught by it.
        failure.filter(|_| run(seed, false).failure.is_none()).map(|f| (seed + 1, f))
    })
}
