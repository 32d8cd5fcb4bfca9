//! klatch-testnet: real nodes on one machine, for people (`up`, `down`), for proof (`run`) and for
//! figures (`bench`).

mod bench;
mod process;
mod rpc;
mod scenario;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use process::Site;
use scenario::{Report, Scenario};

/// Real Klatch nodes on this machine: a playground, scenarios with a delivery audit, benchmarks.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Args {
    /// The klatch binary; the one beside this program without it.
    #[arg(long, global = true, value_name = "FILE")]
    klatch: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start nodes in one room and print a line to attach to each.
    Up {
        /// How many.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=50))]
        nodes: u8,
        /// The room.
        #[arg(long, default_value = "#lobby")]
        room: String,
        /// Folder for their homes.
        #[arg(long, value_name = "DIR", default_value = "target/testnet")]
        home: PathBuf,
    },
    /// Stop them; their history stays.
    Down {
        /// As given to `up`.
        #[arg(long, value_name = "DIR", default_value = "target/testnet")]
        home: PathBuf,
    },
    /// Run a scenario with real processes and audit what was delivered. Exit code 1 when something
    /// is lost, doubled, out of order or late; 2 when a step failed.
    Run {
        /// A file of testnet/scenarios.
        scenario: PathBuf,
        /// Replace a number or text of the scenario, for example `--set kills=10`.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        changes: Vec<String>,
        /// Print JSON instead of the table.
        #[arg(long)]
        json: bool,
        /// Keep homes and logs in this folder; a temporary one without it.
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
    },
    /// Measure.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// One participant of `bench compare`: our node.
    #[command(hide = true)]
    BenchClient {
        /// The run.
        config: String,
    },
    /// One participant of `bench compare`: a plain gossipsub peer.
    #[command(hide = true)]
    BenchPlain {
        /// The run.
        config: String,
    },
    /// One process of `bench catch-up`.
    #[command(hide = true)]
    BenchLargePart {
        /// fill, catch or open.
        part: String,
        /// Messages in the room.
        messages: usize,
        /// Where the homes are.
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    match act(Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Does what was asked for; `false` when a scenario ran and its audit found faults.
fn act(args: Args) -> Result<bool> {
    match args.verb {
        Verb::Up { nodes, room, home } => {
            up::up(&Site::new(args.klatch, home)?, usize::from(nodes), &room)
        }
        Verb::Down { home } => up::down(&Site::new(args.klatch, home)?),
        Verb::Run { scenario, changes, json, keep } => {
            let scenario = Scenario::read(&scenario, &changes)?;
            return run(args.klatch, &scenario, json, keep);
        }
        Verb::Bench(bench) => bench::run(bench, args.klatch),
        Verb::BenchClient { config } => bench::ours(&config),
        Verb::BenchPlain { config } => bench::plain(&config),
        Verb::BenchLargePart { part, messages, folder } => {
            bench::large_part(&part, messages, &folder)
        }
    }?;
    Ok(true)
}

fn run(
    klatch: Option<PathBuf>,
    scenario: &Scenario,
    json: bool,
    keep: Option<PathBuf>,
) -> Result<bool> {
    let folder = tempfile::Builder::new().prefix("klatch-").tempdir()?;
    let kept = keep.is_some();
    let site = Site::new(klatch, keep.unwrap_or_else(|| folder.path().to_owned()))?;
    let report = scenario::run(&site, scenario);
    // The logs explain a failure better than any message here.
    if !kept && !report.as_ref().is_ok_and(Report::is_clean) {
        eprintln!("homes and logs are kept in {}", folder.keep().display());
    }
    let report = report?;
    if json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    Ok(report.is_clean())
}
