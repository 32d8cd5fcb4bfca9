//! Side by side on one machine, interleaved, under the same load: five processes of our node, and
//! five of a plain gossipsub peer or of another build of our node.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Value, json};

use super::SELF;
use super::protocol::{Config, Done};
use crate::process::{forget_peak, usage};

/// Processes of a run.
const NODES: usize = 5;
/// Sending ends after this.
const LIMIT_S: f64 = 30.0;
/// Nothing came for so long: the rest is lost.
const IDLE_S: f64 = 5.0;
/// All processes must have met by then.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Runs of another build that may fail before the comparison does: what made builds of the past fail
/// to start now and then is theirs, and not what is measured.
const FAILURES_MAX: usize = 2;
/// Lines of one process that nobody read yet; it says three in all.
const LINES_MAX: usize = 8;

/// One load.
pub struct Load {
    /// Its name.
    pub name: &'static str,
    /// In words.
    what: &'static str,
    count: usize,
    bytes: [usize; 2],
    window: usize,
    interval_ms: u64,
}

/// All loads.
pub const LOADS: &[Load] = &[
    Load {
        name: "s1",
        what: "5 x 200 of 10-20 kB",
        count: 200,
        bytes: [10_000, 20_000],
        window: 32,
        interval_ms: 0,
    },
    Load {
        name: "s2",
        what: "5 x 300 of 30-50 kB",
        count: 300,
        bytes: [30_000, 50_000],
        window: 32,
        interval_ms: 0,
    },
    Load {
        name: "s3",
        what: "5 x 2,000 of 200 B",
        count: 2_000,
        bytes: [200, 200],
        window: 64,
        interval_ms: 0,
    },
    Load {
        name: "paced",
        what: "5 x 20/s of 200 B, 10 s",
        count: 200,
        bytes: [200, 200],
        window: 0,
        interval_ms: 50,
    },
];

/// What a run, or the median of several, came to.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Of all messages at all others.
    pub lost: f64,
    /// Received again.
    pub dups: f64,
    /// From the first message handed over to the last received.
    pub wall_s: f64,
    /// Per second.
    pub deliveries_per_s: f64,
    /// Payload delivered per second.
    pub mb_per_s: f64,
    /// From handing over to the other side's event.
    pub p50_ms: f64,
    /// The same, of the slowest hundredth.
    pub p99_ms: f64,
    /// CPU of all processes per 1,000 deliveries.
    pub cpu_s_per_1000: f64,
    /// The largest process, from `go` on.
    pub peak_mb: f64,
    /// Waits of 2 s in vain.
    pub stalls: f64,
}

/// One of the two that are compared: a program and how it is started.
struct Side {
    /// In tables and as a key of the JSON.
    name: &'static str,
    program: PathBuf,
    verb: &'static str,
    /// Failed starts that are left to it.
    failures: usize,
}

impl Side {
    fn ours() -> Self {
        Self { name: "klatch", program: SELF.into(), verb: "bench-client", failures: 0 }
    }

    fn plain() -> Self {
        Self { name: "plain", program: SELF.into(), verb: "bench-plain", failures: 0 }
    }

    /// Our node as another klatch-testnet has it.
    fn build(program: &Path) -> Result<Self> {
        let program = program
            .canonicalize()
            .with_context(|| format!("there is no program {}", program.display()))?;
        Ok(Self { name: "against", program, verb: "bench-client", failures: FAILURES_MAX })
    }

    /// One run, repeated if it fails and may.
    fn run(&mut self, load: &Load) -> Result<Outcome> {
        loop {
            match measure(self, load) {
                Err(error) if self.failures > 0 => {
                    self.failures -= 1;
                    eprintln!("{}, load {}: {error:#}; again", self.name, load.name);
                }
                done => {
                    return done.with_context(|| format!("{}, load {}", self.name, load.name));
                }
            }
        }
    }
}

/// Both sides of one load.
#[derive(Debug, Clone)]
pub struct Pair {
    load: &'static str,
    what: &'static str,
    klatch: Outcome,
    /// What the other side is called.
    name: &'static str,
    other: Outcome,
    runs: Value,
}

impl Pair {
    /// Ours over the other's.
    fn ratio(&self, of: fn(&Outcome) -> f64) -> f64 {
        of(&self.klatch) / of(&self.other)
    }

    fn json(&self) -> Value {
        json!({
            "load": self.load,
            "what": self.what,
            "klatch": self.klatch,
            self.name: self.other,
            "speed": self.ratio(|o| o.deliveries_per_s),
            "cpu": self.ratio(|o| o.cpu_s_per_1000),
            "p99": self.ratio(|o| o.p99_ms),
            "runs": self.runs,
        })
    }
}

/// Runs the named loads `reps` times and prints medians and ratios: beside a plain gossipsub peer,
/// or beside our node as `against`, another klatch-testnet, has it.
pub fn run(names: &[String], reps: usize, against: Option<&Path>, as_json: bool) -> Result<()> {
    let loads: Vec<&Load> = names
        .iter()
        .map(|name| {
            LOADS
                .iter()
                .find(|l| l.name == name.as_str())
                .with_context(|| format!("there is no load {name}"))
        })
        .collect::<Result<_>>()?;
    let mut sides = [Side::ours(), against.map_or_else(|| Ok(Side::plain()), Side::build)?];
    let other = sides[1].name;
    let mut runs: Vec<(usize, &str, Outcome)> = Vec::new();
    for rep in 1..=reps {
        for (index, load) in loads.iter().enumerate() {
            // Who comes first alternates, so that neither always finds the warmer machine.
            let first = (rep + index) % 2;
            for which in [first, 1 - first] {
                let side = &mut sides[which];
                let outcome = side.run(load)?;
                eprintln!(
                    "{rep}/{reps} {:5} {:7} {:7.2} s {:8.0} deliveries/s  p50 {:7.2} p99 {:7.2} ms  \
                     CPU {:.3}  lost {} dups {}",
                    load.name,
                    side.name,
                    outcome.wall_s,
                    outcome.deliveries_per_s,
                    outcome.p50_ms,
                    outcome.p99_ms,
                    outcome.cpu_s_per_1000,
                    outcome.lost,
                    outcome.dups
                );
                runs.push((index, side.name, outcome));
            }
        }
    }
    let pairs: Vec<Pair> =
        loads.iter().enumerate().map(|(index, load)| pair(load, index, other, &runs)).collect();
    if as_json {
        let loads: Vec<Value> = pairs.iter().map(Pair::json).collect();
        println!("{}", json!({"nodes": NODES, "reps": reps, "loads": loads}));
    } else {
        print!("{}", table(&pairs));
    }
    Ok(())
}

fn pair(load: &Load, index: usize, name: &'static str, runs: &[(usize, &str, Outcome)]) -> Pair {
    let of = |side: &str| -> Vec<&Outcome> {
        runs.iter()
            .filter(|(i, s, _)| *i == index && *s == side)
            .map(|(_, _, outcome)| outcome)
            .collect()
    };
    let (klatch, other) = (of("klatch"), of(name));
    let runs = json!({"klatch": klatch, name: other});
    let (klatch, other) = (median(&klatch), median(&other));
    Pair { load: load.name, what: load.what, klatch, name, other, runs }
}

fn median(outcomes: &[&Outcome]) -> Outcome {
    let of = |field: fn(&Outcome) -> f64| middle(outcomes.iter().map(|o| field(o)).collect());
    let worst = |field: fn(&Outcome) -> f64| outcomes.iter().map(|o| field(o)).fold(0.0, f64::max);
    Outcome {
        lost: worst(|o| o.lost),
        dups: worst(|o| o.dups),
        wall_s: of(|o| o.wall_s),
        deliveries_per_s: of(|o| o.deliveries_per_s),
        mb_per_s: of(|o| o.mb_per_s),
        p50_ms: of(|o| o.p50_ms),
        p99_ms: of(|o| o.p99_ms),
        cpu_s_per_1000: of(|o| o.cpu_s_per_1000),
        peak_mb: of(|o| o.peak_mb),
        stalls: worst(|o| o.stalls),
    }
}

/// The median; 0 of nothing.
pub fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn table(pairs: &[Pair]) -> String {
    let mut out = String::from(
        "load   side     wall s  deliv/s    MB/s   p50 ms   p99 ms  CPU s/1000  peak MB  lost  dups\n",
    );
    for p in pairs {
        for (side, o) in [("klatch", &p.klatch), (p.name, &p.other)] {
            out += &format!(
                "{:6} {side:7} {:7.2} {:8.0} {:7.1} {:8.2} {:8.2} {:11.3} {:8.1} {:5} {:5}\n",
                p.load,
                o.wall_s,
                o.deliveries_per_s,
                o.mb_per_s,
                o.p50_ms,
                o.p99_ms,
                o.cpu_s_per_1000,
                o.peak_mb,
                o.lost,
                o.dups
            );
        }
        out += &format!(
            "       ratio   wall x{:.2}, deliveries/s x{:.2}, p99 x{:.2}, CPU x{:.2}   ({})\n",
            p.ratio(|o| o.wall_s),
            p.ratio(|o| o.deliveries_per_s),
            p.ratio(|o| o.p99_ms),
            p.ratio(|o| o.cpu_s_per_1000),
            p.what
        );
    }
    out
}

/// One process of a run.
struct Participant {
    child: Child,
    stdin: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Participant {
    fn start(side: &Side, config: &Config, folder: &Path) -> Result<Self> {
        let mut child = Command::new(&side.program)
            .args([side.verb, &serde_json::to_string(config)?])
            .env("KLATCH_BENCH_DIR", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().context("no stdin")?;
        let stdout = child.stdout.take().context("no stdout")?;
        let (sender, lines) = mpsc::sync_channel(LINES_MAX);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, stdin, lines })
    }

    fn hear(&self, event: &str, until: Instant) -> Result<Value> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self
                .lines
                .recv_timeout(left)
                .with_context(|| format!("a process did not say `{event}`"))?;
            let value: Value = serde_json::from_str(&line)
                .with_context(|| format!("a process said {line:.200}"))?;
            if value["ev"] == event {
                return Ok(value);
            }
        }
    }

    fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.stdin, "{line}").context("a process ended early")
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        // It ends by itself on `quit`; this is for runs that failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn measure(side: &Side, load: &Load) -> Result<Outcome> {
    let folder = tempfile::Builder::new().prefix("klatch-bench-").tempdir()?;
    let mut config = Config {
        id: 0,
        n: NODES,
        count: load.count,
        min: load.bytes[0],
        max: load.bytes[1],
        window: load.window,
        interval_ms: load.interval_ms,
        senders: (0..NODES).collect(),
        idle_s: IDLE_S,
        limit_s: LIMIT_S,
    };
    let mut all = Vec::new();
    for id in 0..NODES {
        config.id = id;
        all.push(Participant::start(side, &config, folder.path())?);
    }
    let until = Instant::now() + READY_WITHIN;
    let mut addresses = Vec::new();
    for one in &all {
        addresses.push(one.hear("addr", until)?["addr"].clone());
    }
    let addresses = Value::Array(addresses).to_string();
    for one in &mut all {
        one.say(&addresses)?;
    }
    for one in &all {
        one.hear("ready", until)?;
    }
    let cpu = |all: &[Participant]| all.iter().map(|p| usage(p.child.id()).cpu_s).sum::<f64>();
    all.iter().for_each(|p| forget_peak(p.child.id()));
    let before_s = cpu(&all);
    for one in &mut all {
        one.say("go")?;
    }
    let until = Instant::now() + Duration::from_secs_f64(LIMIT_S + 60.0);
    let mut done = Vec::new();
    for one in &all {
        done.push(serde_json::from_value::<Done>(one.hear("done", until)?)?);
    }
    let spent_s = cpu(&all) - before_s;
    let peak_kb = all.iter().map(|p| usage(p.child.id()).peak_kb).max().unwrap_or(0);
    for one in &mut all {
        one.say("quit")?;
    }
    for one in &mut all {
        let until = Instant::now() + READY_WITHIN;
        while one.child.try_wait()?.is_none() {
            if Instant::now() > until {
                bail!("a process did not end");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(outcome(&done, spent_s, peak_kb))
}

fn outcome(done: &[Done], spent_s: f64, peak_kb: u64) -> Outcome {
    let sum = |field: fn(&Done) -> usize| done.iter().map(field).sum::<usize>() as f64;
    let first = done.iter().map(|d| d.t_first).filter(|t| *t > 0).min().unwrap_or(0);
    let last = done.iter().map(|d| d.t_last).max().unwrap_or(0);
    let wall_s = last.saturating_sub(first) as f64 / 1e9;
    let received = sum(|d| d.recv);
    let mut latencies: Vec<u64> = done.iter().flat_map(|d| d.lat.iter().copied()).collect();
    latencies.sort_unstable();
    let percentile = |p: usize| {
        let at = (latencies.len() * p / 100).min(latencies.len().saturating_sub(1));
        latencies.get(at).map_or(0.0, |us| *us as f64 / 1_000.0)
    };
    Outcome {
        lost: sum(|d| d.sent) * (done.len() as f64 - 1.0) - received,
        dups: sum(|d| d.dups),
        wall_s,
        deliveries_per_s: received / wall_s,
        mb_per_s: sum(|d| d.bytes) / wall_s / 1e6,
        p50_ms: percentile(50),
        p99_ms: percentile(99),
        cpu_s_per_1000: spent_s * 1_000.0 / received,
        peak_mb: peak_kb as f64 / 1024.0,
        stalls: sum(|d| d.stalls),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every figure is `value`.
    fn all(value: f64) -> Outcome {
        Outcome {
            lost: 0.0,
            dups: 0.0,
            wall_s: value,
            deliveries_per_s: value,
            mb_per_s: value,
            p50_ms: value,
            p99_ms: value,
            cpu_s_per_1000: value,
            peak_mb: value,
            stalls: 0.0,
        }
    }

    #[test]
    fn medians_and_ratios_are_those_of_each_side() {
        let runs = [
            (0, "klatch", all(3.0)),
            (0, "against", all(2.0)),
            (0, "klatch", all(9.0)),
            (0, "against", all(4.0)),
            (0, "klatch", all(6.0)),
            (0, "against", all(1.0)),
            (1, "klatch", all(100.0)),
        ];
        let pair = pair(&LOADS[0], 0, "against", &runs);
        assert_eq!((pair.klatch.wall_s, pair.other.wall_s), (6.0, 2.0));
        let json = pair.json();
        assert_eq!(
            (json["speed"].as_f64(), json["against"]["p99_ms"].as_f64()),
            (Some(3.0), Some(2.0))
        );
        assert_eq!(json["runs"]["klatch"].as_array().map(Vec::len), Some(3));
        assert!(table(&[pair]).contains("deliveries/s x3.00"));
    }

    #[test]
    fn another_build_must_be_there() {
        let error = Side::build(Path::new("/nowhere/klatch-testnet")).map(|s| s.name).unwrap_err();
        assert!(error.to_string().contains("/nowhere/klatch-testnet"), "{error}");
    }

    #[test]
    fn figures_come_from_all_participants() {
        let one = Done {
            sent: 2,
            recv: 2,
            bytes: 400,
            t_first: 1_000_000_000,
            t_last: 2_000_000_000,
            lat: vec![1_000, 3_000],
            ..Done::default()
        };
        let two = Done {
            sent: 2,
            recv: 1,
            t_first: 1_500_000_000,
            t_last: 3_000_000_000,
            lat: vec![9_000],
            ..Done::default()
        };
        let outcome = outcome(&[one, two], 3.0, 2_048);
        assert_eq!(
            (outcome.lost, outcome.wall_s, outcome.p50_ms, outcome.p99_ms),
            (1.0, 2.0, 3.0, 9.0)
        );
        assert_eq!(
            (outcome.deliveries_per_s, outcome.cpu_s_per_1000, outcome.peak_mb),
            (1.5, 1_000.0, 2.0)
        );
        assert_eq!(middle(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
