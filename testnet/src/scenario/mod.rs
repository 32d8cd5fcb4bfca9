//! What a scenario file says: nodes, a room, and steps in order. `run.rs` does it, `audit.rs`
//! counts what arrived.

mod audit;
mod report;
mod run;
mod writer;

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

pub use report::Report;
pub use run::run;

/// More nodes than this want more than one machine.
const NODES_MAX: usize = 50;

/// One scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Shown in the report.
    pub name: String,
    /// How many nodes; they are called 1, 2, ...
    pub nodes: usize,
    /// The room everybody is in.
    #[serde(default = "lobby")]
    pub room: String,
    /// In order.
    #[serde(rename = "step")]
    pub steps: Vec<Step>,
}

fn lobby() -> String {
    "#lobby".to_owned()
}

/// Which nodes a step is about; all when left out.
pub type Nodes = Vec<usize>;

/// One step. Fields that name nodes may be left out and then mean all nodes.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Start nodes that do not run.
    Start {
        /// Which.
        #[serde(default)]
        nodes: Nodes,
    },
    /// Join the room.
    Join {
        /// Which.
        #[serde(default)]
        nodes: Nodes,
    },
    /// Write messages: `count` each, or without end until a `settle`.
    Send {
        /// Which.
        #[serde(default)]
        nodes: Nodes,
        /// Messages of each node; without it, until `settle`.
        count: Option<u64>,
        /// Smallest and largest text.
        #[serde(default = "short")]
        bytes: [usize; 2],
        /// Messages per second of each node; without it, as fast as the node takes them.
        rate: Option<f64>,
        /// Requests on their way to the node at once.
        #[serde(default = "one")]
        in_flight: usize,
        /// Go on with the next step at once.
        #[serde(default)]
        background: bool,
    },
    /// End what runs in the background.
    Settle {
        /// Fail if that takes longer.
        #[serde(default = "minute")]
        within_s: f64,
    },
    /// kill -9.
    Kill {
        /// Which.
        nodes: Nodes,
    },
    /// Stop in good order.
    Stop {
        /// Which.
        nodes: Nodes,
    },
    /// kill -9, then start.
    Restart {
        /// Which.
        #[serde(default)]
        nodes: Nodes,
    },
    /// SIGSTOP: links stay open, nothing moves.
    Pause {
        /// Which.
        nodes: Nodes,
    },
    /// SIGCONT.
    Resume {
        /// Which.
        nodes: Nodes,
    },
    /// Wait until something holds on every named node that runs.
    Wait {
        /// What.
        until: Until,
        /// Which.
        #[serde(default)]
        nodes: Nodes,
        /// Fail if it does not hold by then.
        within_s: f64,
    },
    /// Kill -9 and restart random nodes at random moments.
    Churn {
        /// How many kills.
        kills: u64,
        /// The same seed kills the same nodes after the same pauses.
        seed: u64,
        /// Between a restart and the next kill, shortest and longest.
        up_ms: [u64; 2],
        /// Between a kill and the restart, shortest and longest.
        down_ms: [u64; 2],
    },
    /// Do nothing.
    Sleep {
        /// For how long.
        ms: u64,
    },
}

fn short() -> [usize; 2] {
    [40, 200]
}
fn one() -> usize {
    1
}
fn minute() -> f64 {
    60.0
}

/// What a `wait` step waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// Every running node is connected with every other running one in the room.
    Online,
    /// Every running node has every message that any node accepted.
    Delivered,
    /// Every own message is acknowledged by all other nodes of the scenario.
    Acknowledged,
    /// Every node knows all nodes of the scenario as members.
    Members,
}

impl Scenario {
    /// Reads a file; `changes` are `key=value` and replace that key in the scenario and in every
    /// step that has it.
    pub fn read(path: &Path, changes: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text, changes).with_context(|| path.display().to_string())
    }

    fn parse(text: &str, changes: &[String]) -> Result<Self> {
        let mut document: toml::Table = text.parse()?;
        for change in changes {
            apply(&mut document, change)?;
        }
        let scenario: Self = document.try_into()?;
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> Result<()> {
        if !(1..=NODES_MAX).contains(&self.nodes) {
            bail!("1 to {NODES_MAX} nodes are possible, not {}", self.nodes);
        }
        for (step, number) in self.steps.iter().zip(1..) {
            if let Some(node) = step.nodes().iter().find(|n| !(1..=self.nodes).contains(n)) {
                bail!("step {number} names node {node}; there are 1 to {}", self.nodes);
            }
            match step {
                Step::Send { bytes, .. }
                    if bytes[0] > bytes[1] || bytes[0] < writer::TEXT_BYTES_MIN =>
                {
                    bail!(
                        "step {number}: bytes are [smallest, largest], at least {}",
                        writer::TEXT_BYTES_MIN
                    )
                }
                Step::Send { count: None, background: false, .. } => {
                    bail!(
                        "step {number} would never end: give a count, or background = true and a later settle"
                    )
                }
                Step::Churn { up_ms: ms, .. } | Step::Churn { down_ms: ms, .. }
                    if ms[0] > ms[1] =>
                {
                    bail!("step {number}: times are [shortest, longest]")
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn apply(document: &mut toml::Table, change: &str) -> Result<()> {
    let (key, value) =
        change.split_once('=').with_context(|| format!("`{change}` is not key=value"))?;
    let line = format!("v = {value}");
    let value = line.parse::<toml::Table>().ok().and_then(|mut t| t.remove("v"));
    let value = value
        .with_context(|| format!("`{change}`: the value is not a number, \"text\" or [list]"))?;
    let mut found = false;
    if let Some(slot) = document.get_mut(key) {
        *slot = value.clone();
        found = true;
    }
    for step in document.get_mut("step").and_then(toml::Value::as_array_mut).into_iter().flatten() {
        if let Some(slot) = step.get_mut(key) {
            *slot = value.clone();
            found = true;
        }
    }
    if !found {
        bail!("nothing in the scenario is called {key}");
    }
    Ok(())
}

impl Step {
    fn nodes(&self) -> &[usize] {
        match self {
            Self::Start { nodes }
            | Self::Join { nodes }
            | Self::Send { nodes, .. }
            | Self::Kill { nodes }
            | Self::Stop { nodes }
            | Self::Restart { nodes }
            | Self::Pause { nodes }
            | Self::Resume { nodes }
            | Self::Wait { nodes, .. } => nodes,
            Self::Settle { .. } | Self::Churn { .. } | Self::Sleep { .. } => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "name = 'x'\nnodes = 2\n[[step]]\ndo = 'start'\n[[step]]\ndo = 'send'\nnodes = [1]\ncount = 3\n";

    #[test]
    fn every_scenario_in_the_repository_is_sound() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            Scenario::read(&entry.unwrap().path(), &[]).unwrap();
            seen += 1;
        }
        assert!(seen >= 6);
    }

    #[test]
    fn changes_replace_what_is_there_and_refuse_what_is_not() {
        let scenario = Scenario::parse(SMALL, &["count=7".to_owned(), "nodes=1".to_owned()]);
        assert!(scenario.is_err(), "nodes is a list in the send step");
        let scenario = Scenario::parse(SMALL, &["count=7".to_owned()]).unwrap();
        assert!(matches!(scenario.steps[1], Step::Send { count: Some(7), .. }));
        assert!(Scenario::parse(SMALL, &["kills=7".to_owned()]).is_err());
        assert!(Scenario::parse(SMALL, &["count=x y".to_owned()]).is_err());
    }

    #[test]
    fn mistakes_in_a_file_are_named() {
        let node = SMALL.replace("[1]", "[3]");
        assert!(format!("{:#}", Scenario::parse(&node, &[]).unwrap_err()).contains("names node 3"));
        let endless = SMALL.replace("count = 3\n", "");
        assert!(format!("{:#}", Scenario::parse(&endless, &[]).unwrap_err()).contains("never end"));
        let unknown = SMALL.replace("count", "cuont");
        assert!(Scenario::parse(&unknown, &[]).is_err());
    }
}
