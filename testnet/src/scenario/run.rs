//! Does the steps of a scenario with real processes, one after the other, and ends with the audit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::audit::{self, Ledger};
use super::report::{Report, StepTime};
use super::writer::{Accepted, Job, Writer};
use super::{Nodes, Scenario, Step, Until};
use crate::process::{Node, Site};

/// Between two looks at a condition that needs several requests to check.
const LOOK: Duration = Duration::from_millis(50);
/// The last chance for messages to arrive before the audit counts.
const AUDIT_WITHIN: Duration = Duration::from_secs(60);

/// Runs a scenario. An `Err` is a step that failed; a loss is a finding in the report.
pub fn run(site: &Site, scenario: &Scenario) -> Result<Report> {
    let mut world = World::new(site, scenario)?;
    let begun = Instant::now();
    let mut steps = Vec::new();
    for (step, number) in scenario.steps.iter().zip(1..) {
        let at = Instant::now();
        eprintln!("[{:7.2} s] step {number}: {step:?}", begun.elapsed().as_secs_f64());
        world.step(step).with_context(|| format!("step {number}: {step:?}"))?;
        steps.push(StepTime { step: step.name(), seconds: at.elapsed().as_secs_f64() });
    }
    world.settle(AUDIT_WITHIN)?;
    eprintln!("[{:7.2} s] audit", begun.elapsed().as_secs_f64());
    let report = world.audit(begun, steps)?;
    world.end()?;
    Ok(report)
}

struct World<'a> {
    scenario: &'a Scenario,
    nodes: Vec<Node>,
    accepted: Vec<Arc<Accepted>>,
    ledgers: Vec<Ledger>,
    writers: Vec<Writer>,
    kills: u64,
}

impl<'a> World<'a> {
    fn new(site: &Site, scenario: &'a Scenario) -> Result<Self> {
        let nodes =
            (1..=scenario.nodes).map(|n| Node::init(site, n)).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            scenario,
            accepted: nodes.iter().map(|_| Arc::default()).collect(),
            ledgers: nodes.iter().map(|_| Ledger::default()).collect(),
            nodes,
            writers: Vec::new(),
            kills: 0,
        })
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Start { nodes } => self.each(nodes, Node::start),
            Step::Kill { nodes } => self.each(nodes, Node::kill),
            Step::Stop { nodes } => self.each(nodes, Node::stop),
            Step::Pause { nodes } => self.each(nodes, |n| n.pause()),
            Step::Resume { nodes } => self.each(nodes, |n| n.resume()),
            Step::Restart { nodes } => {
                self.each(nodes, Node::kill)?;
                self.each(nodes, Node::start)
            }
            Step::Join { nodes } => {
                let params = json!({"room": self.scenario.room});
                self.each(nodes, |n| n.client()?.call("room.join", &params).map(drop))?;
                self.each(nodes, |n| {
                    n.forget_peak();
                    Ok(())
                })
            }
            Step::Send { nodes, count, bytes, rate, in_flight, background } => {
                let mine: Vec<Writer> = self
                    .numbers(nodes)
                    .into_iter()
                    .map(|n| {
                        let socket =
                            self.nodes[n - 1].socket().context("the node was never started")?;
                        let room = self.scenario.room.clone();
                        let (count, bytes, rate, in_flight) = (*count, *bytes, *rate, *in_flight);
                        let job = Job { node: n, socket, room, count, bytes, rate, in_flight };
                        Ok(Writer::start(job, Arc::clone(&self.accepted[n - 1])))
                    })
                    .collect::<Result<_>>()?;
                if *background {
                    self.writers.extend(mine);
                    return Ok(());
                }
                mine.into_iter().try_for_each(Writer::join)
            }
            Step::Settle { within_s } => self.settle(Duration::from_secs_f64(*within_s)),
            Step::Wait { until, nodes, within_s } => {
                self.wait(*until, nodes, Duration::from_secs_f64(*within_s))
            }
            Step::Churn { kills, seed, up_ms, down_ms } => {
                self.churn(*kills, *seed, *up_ms, *down_ms)
            }
            Step::Sleep { ms } => {
                std::thread::sleep(Duration::from_millis(*ms));
                Ok(())
            }
        }
    }

    fn numbers(&self, nodes: &Nodes) -> Nodes {
        if nodes.is_empty() { (1..=self.nodes.len()).collect() } else { nodes.clone() }
    }

    fn each(&mut self, nodes: &Nodes, mut act: impl FnMut(&mut Node) -> Result<()>) -> Result<()> {
        for n in self.numbers(nodes) {
            let node = &mut self.nodes[n - 1];
            act(node).with_context(|| format!("node {n}"))?;
        }
        Ok(())
    }

    /// Lets writers with a count finish and ends the others.
    fn settle(&mut self, within: Duration) -> Result<()> {
        let until = Instant::now() + within;
        for writer in &self.writers {
            writer.stop();
        }
        while self.writers.iter().any(|w| !w.finished()) {
            if Instant::now() > until {
                bail!(
                    "messages are still on their way to the nodes after {} s",
                    within.as_secs_f64()
                );
            }
            std::thread::sleep(LOOK);
        }
        std::mem::take(&mut self.writers).into_iter().try_for_each(Writer::join)
    }

    /// All accepted messages so far.
    fn expected(&self) -> BTreeSet<(usize, u64)> {
        let all = self.accepted.iter().zip(1..);
        all.flat_map(|(accepted, node)| accepted.numbers().into_iter().map(move |n| (node, n)))
            .collect()
    }

    fn wait(&mut self, until: Until, nodes: &Nodes, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        let expected = self.expected();
        for n in self.numbers(nodes) {
            if !self.nodes[n - 1].running() {
                continue;
            }
            loop {
                let missing = self.missing(until, n, &expected)?;
                let Some(missing) = missing else { break };
                if Instant::now() > deadline {
                    bail!("node {n} after {} s: {missing}", within.as_secs_f64());
                }
                std::thread::sleep(LOOK);
            }
        }
        Ok(())
    }

    /// What node `n` still lacks; `None` when the condition holds.
    fn missing(
        &mut self,
        until: Until,
        n: usize,
        expected: &BTreeSet<(usize, u64)>,
    ) -> Result<Option<String>> {
        let running = self.nodes.iter().filter(|node| node.running()).count();
        let mut client = self.nodes[n - 1].client()?;
        let room = &self.scenario.room;
        let lacking = |what: &str, has: u64, wants: u64| {
            (has < wants).then(|| format!("{has} of {wants} {what}"))
        };
        match until {
            Until::Delivered => {
                let ledger = &mut self.ledgers[n - 1];
                ledger.read(&mut client, room)?;
                if ledger.has_all(expected) {
                    return Ok(None);
                }
                Ok(Some(format!(
                    "{} of {} messages are not here",
                    ledger.lacks(expected),
                    expected.len()
                )))
            }
            Until::Online => {
                let online = members(&mut client, room)?
                    .iter()
                    .filter(|m| m["online"] == true && m["own"] != true)
                    .count();
                Ok(lacking("members online", online as u64, running as u64 - 1))
            }
            Until::Members => {
                let known = members(&mut client, room)?.len();
                Ok(lacking("members known", known as u64, self.nodes.len() as u64))
            }
            Until::Acknowledged => {
                let others = self.nodes.len() as u64 - 1;
                let last = last_own(&mut client, room)?;
                let by = last.as_ref().map_or(others, |m| m["delivered_to"].as_u64().unwrap_or(0));
                Ok(lacking("acknowledgements of the newest own message", by, others))
            }
        }
    }

    fn churn(&mut self, kills: u64, seed: u64, up_ms: [u64; 2], down_ms: [u64; 2]) -> Result<()> {
        let mut random = Random(seed);
        for kill in 1..=kills {
            std::thread::sleep(Duration::from_millis(random.within(up_ms)));
            let n = random.within([0, self.nodes.len() as u64 - 1]) as usize;
            self.nodes[n].kill()?;
            std::thread::sleep(Duration::from_millis(random.within(down_ms)));
            self.nodes[n].start().with_context(|| format!("after kill {kill} of {kills}"))?;
            self.kills += 1;
            if kill % 10 == 0 {
                let accepted: usize = self.accepted.iter().map(|a| a.numbers().len()).sum();
                eprintln!("            {kill} of {kills} kills, {accepted} messages accepted");
            }
        }
        Ok(())
    }

    /// Starts whoever is down, gives the last messages time to arrive, then reads every journal
    /// from its beginning.
    fn audit(&mut self, begun: Instant, steps: Vec<StepTime>) -> Result<Report> {
        self.each(&Vec::new(), Node::start)?;
        let late = self.wait(Until::Delivered, &Vec::new(), AUDIT_WITHIN).err();
        let expected = self.expected();
        let room = self.scenario.room.clone();
        let (mut lines, mut timelines) = (Vec::new(), BTreeSet::new());
        for (node, n) in self.nodes.iter().zip(1..) {
            let mut client = node.client()?;
            let mut ledger = Ledger::default();
            ledger.read(&mut client, &room)?;
            let mut line = ledger.judge(n, &expected);
            line.forks =
                members(&mut client, &room)?.iter().filter(|m| m["forked"] == true).count() as u64;
            let usage = node.usage();
            line.peak_mb = usage.peak_kb as f64 / 1024.0;
            line.cpu_s = usage.cpu_s;
            timelines.insert(audit::timeline(&mut client, &room)?);
            lines.push(line);
        }
        Ok(Report {
            scenario: self.scenario.name.clone(),
            seconds: begun.elapsed().as_secs_f64(),
            sent: expected.len() as u64,
            tried: self.accepted.iter().map(|a| a.tried()).sum(),
            too_fast: self.accepted.iter().map(|a| a.refused()).sum(),
            kills: self.kills,
            same_timeline: timelines.len() == 1,
            late: late.map(|e| format!("{e:#}")),
            nodes: lines,
            steps,
        })
    }

    fn end(&mut self) -> Result<()> {
        self.each(&Vec::new(), Node::stop)
    }
}

fn members(client: &mut crate::rpc::Client, room: &str) -> Result<Vec<Value>> {
    let answer = client.call("room.members", &json!({"room": room}))?;
    let list = answer.as_array().or_else(|| answer["members"].as_array());
    list.cloned().context("the node answered no list of members")
}

/// The newest own message in the last page of the room.
fn last_own(client: &mut crate::rpc::Client, room: &str) -> Result<Option<Value>> {
    let answer = client.call("message.list", &json!({"room": room, "limit": 200}))?;
    let own = audit::messages(&answer)?.iter().filter(|m| m["own"] == true && m["kind"] == "text");
    Ok(own.max_by_key(|m| m["seq"].as_u64()).cloned())
}

/// SplitMix64: the same seed, the same kills.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn within(&mut self, bounds: [u64; 2]) -> u64 {
        bounds[0] + self.next() % (bounds[1] - bounds[0] + 1)
    }
}
