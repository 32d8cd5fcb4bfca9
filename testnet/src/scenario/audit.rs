//! Reads what every node stored and compares it with what every node accepted.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Value, json};

use super::writer::parse;
use crate::rpc::Client;

/// Messages in one answer: of the largest texts this is 6 MB of JSON.
const PAGE: u64 = 100;

/// What one node holds, as read from its journal so far.
#[derive(Debug, Default)]
pub struct Ledger {
    cursor: u64,
    /// (author, number) -> how often.
    seen: BTreeMap<(usize, u64), u32>,
    /// Device -> position of its newest message.
    newest: BTreeMap<String, u64>,
    out_of_order: u64,
}

impl Ledger {
    /// Reads on from where it stopped.
    pub fn read(&mut self, client: &mut Client, room: &str) -> Result<()> {
        loop {
            let params = json!({"room": room, "after": self.cursor, "limit": PAGE});
            let answer = client.call("message.journal", &params)?;
            let page = messages(&answer)?;
            if page.is_empty() {
                return Ok(());
            }
            for message in page {
                self.take(message)?;
            }
        }
    }

    fn take(&mut self, message: &Value) -> Result<()> {
        let journal = message["cursor"].as_u64().context("a message without a journal number")?;
        if journal <= self.cursor {
            bail!("the journal goes backwards: {journal} after {}", self.cursor);
        }
        self.cursor = journal;
        let device = message["device"].as_str().context("a message without a device")?;
        let seq = message["seq"].as_u64().context("a message without a position")?;
        let newest = self.newest.insert(device.to_owned(), seq);
        if newest.is_some_and(|n| n >= seq) {
            self.out_of_order += 1;
        }
        if let Some(name) = message["text"].as_str().and_then(parse) {
            *self.seen.entry(name).or_default() += 1;
        }
        Ok(())
    }

    /// Whether it holds all of these.
    pub fn has_all(&self, accepted: &BTreeSet<(usize, u64)>) -> bool {
        accepted.iter().all(|name| self.seen.contains_key(name))
    }

    /// How many of these it lacks.
    pub fn lacks(&self, accepted: &BTreeSet<(usize, u64)>) -> usize {
        accepted.iter().filter(|name| !self.seen.contains_key(name)).count()
    }

    /// The line of the report.
    pub fn judge(&self, node: usize, accepted: &BTreeSet<(usize, u64)>) -> Line {
        let of_others = accepted.iter().filter(|(author, _)| *author != node);
        let held = |name: &&(usize, u64)| self.seen.contains_key(*name);
        Line {
            node,
            accepted: accepted.iter().filter(|(author, _)| *author == node).count() as u64,
            delivered: of_others.filter(held).count() as u64,
            lost: self.lacks(accepted) as u64,
            duplicated: self.seen.values().map(|n| u64::from(*n) - 1).sum(),
            out_of_order: self.out_of_order,
            unanswered: self.seen.keys().filter(|name| !accepted.contains(name)).count() as u64,
            ..Line::default()
        }
    }
}

/// One node in the report. Losses count own messages, too.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Line {
    /// Which.
    pub node: usize,
    /// Own messages that this node said it stored.
    pub accepted: u64,
    /// Messages of others that it has.
    pub delivered: u64,
    /// Accepted messages, by whichever node, that it does not have.
    pub lost: u64,
    /// Messages that it has more than once.
    pub duplicated: u64,
    /// Messages that stand before an earlier one of the same author.
    pub out_of_order: u64,
    /// Messages that exist although their author's node died before it answered: allowed, at most
    /// once.
    pub unanswered: u64,
    /// Chains with two entries in one place.
    pub forks: u64,
    /// Peak memory since the room was joined, over all lives, MB.
    pub peak_mb: f64,
    /// CPU over all lives, seconds.
    pub cpu_s: f64,
}

/// The list in an answer, whether it stands alone or under a name.
pub fn messages(answer: &Value) -> Result<&Vec<Value>> {
    answer
        .as_array()
        .or_else(|| answer["messages"].as_array())
        .context("the node answered no list of messages")
}

/// The ids of the whole room in display order: the same on every node that has the same messages.
pub fn timeline(client: &mut Client, room: &str) -> Result<Vec<String>> {
    let mut pages: Vec<Vec<String>> = Vec::new();
    let mut before: Option<String> = None;
    loop {
        let params = json!({"room": room, "limit": PAGE, "before": before});
        let answer = client.call("message.list", &params)?;
        let page: Vec<String> = messages(&answer)?
            .iter()
            .filter_map(|m| m["message_id"].as_str().map(str::to_owned))
            .collect();
        let Some(first) = page.first().cloned() else { break };
        if before.as_ref() == Some(&first) {
            bail!("paging through the room does not advance");
        }
        before = Some(first);
        pages.push(page);
    }
    Ok(pages.into_iter().rev().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(journal: u64, device: &str, seq: u64, text: &str) -> Value {
        json!({"cursor": journal, "device": device, "seq": seq, "text": text})
    }

    #[test]
    fn audit_finds_what_is_lost_doubled_and_disordered() {
        let mut ledger = Ledger::default();
        ledger.take(&message(1, "a", 1, "MS|01|000000000|")).unwrap();
        ledger.take(&message(2, "b", 5, "MS|02|000000000|")).unwrap();
        ledger.take(&message(3, "b", 4, "MS|02|000000001|")).unwrap();
        ledger.take(&message(4, "b", 6, "MS|02|000000001|")).unwrap();
        let accepted = BTreeSet::from([(1, 0), (1, 1), (2, 0)]);
        let line = ledger.judge(1, &accepted);
        assert_eq!((line.accepted, line.delivered, line.lost), (2, 1, 1));
        assert_eq!((line.duplicated, line.out_of_order, line.unanswered), (1, 1, 1));
        assert!(ledger.take(&message(4, "b", 7, "again")).is_err());
    }
}
