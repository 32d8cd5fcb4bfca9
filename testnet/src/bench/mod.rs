//! Figures: side by side with a plain gossipsub peer, catching up, idling, starting.

mod compare;
mod plain;
mod protocol;

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

/// What can be measured.
#[derive(Subcommand)]
pub enum Bench {
    /// Our node against a plain gossipsub peer that stores nothing: medians and ratios.
    Compare {
        /// s1: 5 x 200 of 10-20 kB; s2: 5 x 300 of 30-50 kB; s3: 5 x 2,000 of 200 B; paced: 20/s each for 10 s.
        #[arg(long, value_delimiter = ',', default_value = "s1,s2,s3,paced")]
        scenarios: Vec<String>,
        /// Runs of each, interleaved.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=50))]
        reps: u8,
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
}

/// Measures.
pub fn run(bench: Bench, _klatch: Option<PathBuf>) -> Result<()> {
    match bench {
        Bench::Compare { scenarios, reps, json } => compare::run(&scenarios, usize::from(reps), json),
    }
}

/// One participant of `compare`, or of another harness with the same line protocol.
pub fn plain(config: &str) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(plain::run(config))
}
