//! Figures: side by side with a plain gossipsub peer, catching up, idling, starting. Each prints a
//! table, or JSON.

mod compare;
mod direct;
mod events;
mod large;
mod ours;
mod plain;
mod protocol;
mod still;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Subcommand;

use crate::process::Site;

/// This program, also when a build has replaced its file in the meantime.
const SELF: &str = "/proc/self/exe";

/// What can be measured.
#[derive(Subcommand)]
pub enum Bench {
    /// Our node beside a plain gossipsub peer that stores nothing, or beside another build of
    /// itself: medians and ratios.
    Compare {
        /// s1: 5 x 200 of 10-20 kB; s2: 5 x 300 of 30-50 kB; s3: 5 x 2,000 of 200 B; paced: 20/s
        /// each for 10 s.
        #[arg(long, value_delimiter = ',', default_value = "s1,s2,s3,paced")]
        scenarios: Vec<String>,
        /// Runs of each, interleaved.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=50))]
        reps: u8,
        /// Another klatch-testnet instead of the plain peer (testnet/build-at.sh builds one).
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// From an event to its subscribers through the socket, at a fixed rate, beside some that
    /// hardly read.
    Events {
        /// Messages per second.
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rate: u32,
        /// For so long.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
        seconds: u32,
        /// Bytes of each text.
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=60_000))]
        bytes: u32,
        /// Subscribers that hardly read.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=28))]
        slow: u8,
        /// Print JSON instead of a line.
        #[arg(long)]
        json: bool,
    },
    /// Two nodes that write to each other directly: one message at a time from command to
    /// delivered, then a burst.
    Direct {
        /// Messages of each part.
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=4_000))]
        messages: u32,
        /// Bytes of each text.
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(8..=64_000))]
        bytes: u32,
        /// Print JSON instead of a line.
        #[arg(long)]
        json: bool,
    },
    /// A large room: a new member catches up, the room is opened and searched.
    CatchUp {
        /// Messages in the room.
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
        messages: u32,
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Memory and CPU of a node while nobody speaks.
    Idle {
        /// For so long.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3_600))]
        seconds: u64,
        /// Others in the room.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=20))]
        peers: u8,
        /// Print JSON instead of a line.
        #[arg(long)]
        json: bool,
    },
    /// From starting `klatch` to a prompt that takes a line.
    Cold {
        /// How often.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=100))]
        reps: u8,
        /// Print JSON instead of a line.
        #[arg(long)]
        json: bool,
    },
}

/// Measures.
pub fn run(bench: Bench, klatch: Option<PathBuf>) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("klatch-bench-").tempdir()?;
    let site = || Site::new(klatch, folder.path().to_owned());
    match bench {
        Bench::Compare { scenarios, reps, against, json } => {
            compare::run(&scenarios, usize::from(reps), against.as_deref(), json)
        }
        Bench::Events { rate, seconds, bytes, slow, json } => {
            let load =
                events::Load { rate, seconds, bytes: bytes as usize, slow: usize::from(slow) };
            events::run(&site()?, &load, json)
        }
        Bench::Direct { messages, bytes, json } => {
            direct::run(folder.path(), messages as usize, bytes as usize, json)
        }
        Bench::CatchUp { messages, json } => large::run(messages as usize, json),
        Bench::Idle { seconds, peers, json } => {
            still::idle(&site()?, usize::from(peers), seconds, json)
        }
        Bench::Cold { reps, json } => still::cold(&site()?, usize::from(reps), json),
    }
}

/// A participant of `compare`, or of another harness with the same line protocol: our node.
pub fn ours(config: &str) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(ours::run(config))
}

/// The same: a plain gossipsub peer.
pub fn plain(config: &str) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(plain::run(config))
}

/// A process of `catch-up`.
pub fn large_part(part: &str, messages: usize, folder: &Path) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(large::part(part, messages, folder))
}
