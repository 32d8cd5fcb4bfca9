//! The outcome of a scenario: a table for people, JSON for programs.

use serde::Serialize;

use super::Step;
use super::audit::Line;

/// What a scenario came to.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Its name.
    pub scenario: String,
    /// From the first step to the audit.
    pub seconds: f64,
    /// Messages that a node said it stored.
    pub sent: u64,
    /// Messages handed to a node.
    pub tried: u64,
    /// How often a node said "too fast".
    pub too_fast: u64,
    /// kill -9 at random moments.
    pub kills: u64,
    /// Every node shows the same messages in the same order.
    pub same_timeline: bool,
    /// What had not arrived in time for the audit.
    pub late: Option<String>,
    /// Each node.
    pub nodes: Vec<Line>,
    /// How long each step took.
    pub steps: Vec<StepTime>,
}

/// One step done.
#[derive(Debug, Clone, Serialize)]
pub struct StepTime {
    /// Its verb.
    pub step: &'static str,
    /// How long it took.
    pub seconds: f64,
}

impl Step {
    /// Its verb, as in the file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::Join { .. } => "join",
            Self::Send { .. } => "send",
            Self::Settle { .. } => "settle",
            Self::Kill { .. } => "kill",
            Self::Stop { .. } => "stop",
            Self::Restart { .. } => "restart",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::Wait { .. } => "wait",
            Self::Churn { .. } => "churn",
            Self::Sleep { .. } => "sleep",
        }
    }
}

impl Report {
    fn sum(&self, field: impl Fn(&Line) -> u64) -> u64 {
        self.nodes.iter().map(field).sum()
    }

    /// Nothing lost, doubled, out of order or forked, and one timeline everywhere.
    pub fn is_clean(&self) -> bool {
        let faults = self.sum(|l| l.lost + l.duplicated + l.out_of_order + l.forks);
        faults == 0 && self.same_timeline && self.late.is_none()
    }

    /// JSON with the sums that scripts look for.
    pub fn json(&self) -> serde_json::Value {
        let mut value = serde_json::json!(self);
        value["delivered"] = self.sum(|l| l.delivered).into();
        value["duplicated"] = self.sum(|l| l.duplicated).into();
        value["out_of_order"] = self.sum(|l| l.out_of_order).into();
        value["lost"] = self.sum(|l| l.lost).into();
        value["forks"] = self.sum(|l| l.forks).into();
        value["clean"] = self.is_clean().into();
        value
    }

    /// The table.
    pub fn table(&self) -> String {
        let mut out = format!(
            "{}: {} messages accepted in {:.1} s, {} kills\n\n node  accepted  delivered    lost  duplicated  out of order  forks  peak MB   CPU s\n",
            self.scenario, self.sent, self.seconds, self.kills
        );
        for l in &self.nodes {
            out += &format!(
                "{:>5} {:>9} {:>10} {:>7} {:>11} {:>13} {:>6} {:>8.1} {:>7.2}\n",
                l.node,
                l.accepted,
                l.delivered,
                l.lost,
                l.duplicated,
                l.out_of_order,
                l.forks,
                l.peak_mb,
                l.cpu_s
            );
        }
        let order =
            if self.same_timeline { "the same on all nodes" } else { "DIFFERENT between nodes" };
        out += &format!(
            "\nTimeline {order}. {}\n",
            if self.is_clean() { "Clean." } else { "NOT CLEAN." }
        );
        if let Some(late) = &self.late {
            out += &format!("Not in time: {late}\n");
        }
        out
    }
}
