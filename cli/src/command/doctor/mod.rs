//! `klatch doctor`: what is wrong, and the command that fixes it. Facts are collected once
//! (`facts`), pure functions turn them into outcomes (`local`, `online`), and `bundle` packs what a
//! bug report needs without saying who talks to whom.
//!
//! What cannot be known is `unknown`, never "no".

mod bundle;
mod facts;
mod local;
mod online;
mod redact;
#[cfg(test)]
mod tests;

use klatch_core::query::Status;
use serde::Serialize;
use serde_json::{Value, json};

use self::Judge::{Always, Heard};
pub use self::facts::Asked;
use self::facts::Facts;
use crate::args::Doctor;
use crate::context::Context;
use crate::error::Report;
use crate::output::visible;
use crate::paths::Paths;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// Works, but something is missing.
    Warn,
    /// Does not work.
    Fail,
    /// Nobody can tell from here.
    Unknown,
    /// Does not apply here, or was switched off.
    Skipped,
}

impl Outcome {
    /// The word on the screen and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it is.
    pub outcome: Outcome,
    /// One sentence.
    pub text: String,
    /// The command that helps, unless all is well or it was skipped.
    pub fix: Option<String>,
}

/// What a check found, before it has its name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding(Outcome, String, Option<String>);

impl Finding {
    fn ok(text: impl Into<String>) -> Self {
        Self(Outcome::Ok, text.into(), None)
    }

    fn warn(text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self(Outcome::Warn, text.into(), Some(fix.into()))
    }

    fn fail(text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self(Outcome::Fail, text.into(), Some(fix.into()))
    }

    fn skipped(text: impl Into<String>) -> Self {
        Self(Outcome::Skipped, text.into(), None)
    }

    fn unknown(text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self(Outcome::Unknown, text.into(), Some(fix.into()))
    }

    fn named(self, name: &str) -> Check {
        Check { name: name.to_owned(), outcome: self.0, text: self.1, fix: self.2 }
    }
}

/// One row of the table.
struct Row {
    name: &'static str,
    /// Needs nothing but this machine and a moment: `--quick`.
    quick: bool,
    judge: Judge,
}

/// From facts to a finding.
enum Judge {
    /// Whether or not a node runs.
    Always(fn(&Facts) -> Finding),
    /// From what the node says; without one nobody can tell this.
    Heard(&'static str, fn(&Facts, &Status) -> Finding),
}

impl Row {
    fn finding(&self, facts: &Facts) -> Finding {
        match (&self.judge, facts.status()) {
            (Judge::Always(judge), _) => judge(facts),
            (Judge::Heard(_, judge), Some(status)) => judge(facts, status),
            (Judge::Heard(what, _), None) => online::unheard(facts, what),
        }
    }
}

const fn row(name: &'static str, quick: bool, judge: Judge) -> Row {
    Row { name, quick, judge }
}

/// All checks but those of single rooms, in the order shown: from what everything rests on to what
/// rests on it.
const TABLE: &[Row] = &[
    row("identity", true, Always(local::identity)),
    row("permissions", true, Always(local::permissions)),
    row("disk", true, Always(local::disk)),
    row("store", false, Always(local::store)),
    row("open files", true, Always(local::open_files)),
    row("node", true, Always(online::node)),
    row("listening", false, Heard("where others could connect", online::listening)),
    row("outside", false, Heard("whether other networks reach you", online::outside)),
    row("multicast", false, Heard("whether neighbours are heard", online::multicast)),
    row("peers", false, Heard("who is connected", online::peers)),
    row("clock", false, Always(online::clock)),
    row("refused", false, Heard("what was refused", online::refused)),
    row("terminal", false, Always(local::terminal)),
];

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkup {
    /// In the order shown.
    pub checks: Vec<Check>,
}

impl Checkup {
    fn of(facts: &Facts, quick: bool) -> Self {
        let mut checks: Vec<Check> = TABLE
            .iter()
            .filter(|r| r.quick || !quick)
            .map(|r| r.finding(facts).named(r.name))
            .collect();
        if !quick {
            checks.extend(online::rooms(facts));
        }
        Self { checks }
    }

    /// How many came out so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.checks.iter().filter(|c| c.outcome == outcome).count()
    }

    /// For people: a table in words, with the command under each line that has one, and the sum.
    pub fn lines(&self) -> Vec<String> {
        let wide =
            self.checks.iter().map(|c| visible(&c.name).chars().count()).max().unwrap_or_default();
        let mut lines = Vec::new();
        for check in &self.checks {
            let name = visible(&check.name);
            lines.push(format!(
                "{name:wide$}  {:7}  {}",
                check.outcome.word(),
                visible(&check.text)
            ));
            lines.extend(
                check
                    .fix
                    .as_ref()
                    .map(|fix| format!("{:wide$}  {:7}  try: {}", "", "", visible(fix))),
            );
        }
        let each = [Outcome::Ok, Outcome::Warn, Outcome::Fail, Outcome::Unknown, Outcome::Skipped];
        let sums: Vec<String> = each
            .iter()
            .filter(|o| **o != Outcome::Skipped || self.count(**o) > 0)
            .map(|o| format!("{} {}", self.count(*o), o.word()))
            .collect();
        lines.push(format!("{} checks: {}", self.checks.len(), sums.join(", ")));
        lines
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({"schema": 1, "checks": self.checks})
    }
}

/// Looks at everything that belongs to a profile; starts nothing and changes nothing.
pub async fn examine(paths: &Paths, asked: Asked) -> Checkup {
    let quick = asked.quick;
    Checkup::of(&facts::collect(paths, asked).await, quick)
}

/// `klatch doctor`.
pub async fn run(ctx: &Context, args: &Doctor) -> Result<(), Report> {
    let mut asked = Asked::new(&ctx.args.profile, args.quick);
    if let Some(file) = ctx.args.unlock_file.as_ref().filter(|_| !args.quick) {
        asked.passphrase = Some(crate::context::read_secret(file)?);
    }
    let found = match &args.bundle {
        None => examine(&ctx.paths, asked).await,
        Some(file) => {
            let facts = facts::collect(&ctx.paths, asked).await;
            let found = Checkup::of(&facts, args.quick);
            bundle::write(file, &ctx.paths, &facts, args.quick).await?;
            let name = visible(&file.display().to_string());
            ctx.out.note(&format!(
                "{name} is written, with stand-ins for names, rooms, addresses and ids; look into it before you send it"
            ));
            found
        }
    };
    if ctx.out.json {
        ctx.out.json(&found.json())?;
    } else {
        ctx.out.say(&found.lines().join("\n"))?;
    }
    if found.count(Outcome::Fail) > 0 { Err(Report::unhealthy()) } else { Ok(()) }
}
