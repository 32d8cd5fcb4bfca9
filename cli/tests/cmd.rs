//! Runs `tests/cmd/*.toml`: each file is a story of command lines on a fresh home, with what they
//! print and how they end.
//!
//! ```toml
//! [files]                      # written before, in the home
//! pass = "secret\n"
//! [[step]]
//! args = ["send", "#garden", "hi"]      # {home} stands for the folder
//! stdin = ""
//! env = { KLATCH_NAME = "bob" }
//! exit = 0
//! stdout = ["*\tqueued*"]     # for each pattern there is a line that it fits; `*` stands for anything
//! stderr = []                  # the same
//! stdout_lines = 1             # exactly so many
//! silent = ["stderr"]          # nothing at all there
//! json = true                  # every line of stdout is JSON
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

mod common;

use std::collections::BTreeMap;

use common::{Home, acts};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    files: BTreeMap<String, String>,
    step: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Step {
    args: Vec<String>,
    stdin: String,
    env: BTreeMap<String, String>,
    exit: i32,
    stdout: Vec<String>,
    stderr: Vec<String>,
    stdout_lines: Option<usize>,
    silent: Vec<String>,
    json: bool,
}

/// How a case is judged.
#[derive(Clone, Copy)]
enum Judge {
    /// By what it says itself.
    Said,
    /// Under another profile: whatever is to be typed must name it.
    Pasteable,
}

#[test]
fn every_case_prints_and_ends_as_it_says() {
    every_case(Judge::Said);
}

#[test]
fn every_command_that_is_named_in_any_case_can_be_pasted_under_another_profile() {
    every_case(Judge::Pasteable);
}

fn every_case(by: Judge) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cmd");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    files.retain(|f| f.extension().is_some_and(|e| e == "toml"));
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let cases: Vec<_> =
            files.iter().map(|file| scope.spawn(move || run_file(file, by))).collect();
        cases.into_iter().flat_map(|case| case.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}

fn run_file(file: &std::path::Path, by: Judge) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let case: Case = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    run(&case, by).into_iter().map(|w| format!("{name}, {w}")).collect()
}

fn run(case: &Case, by: Judge) -> Vec<String> {
    let home = Home::new();
    let place = |text: &str| text.replace("{home}", &home.path().to_string_lossy());
    for (name, text) in &case.files {
        std::fs::write(home.path().join(name), text).unwrap();
    }
    let mut wrong = Vec::new();
    for (n, step) in case.step.iter().enumerate() {
        let args: Vec<String> = step.args.iter().map(|a| place(a)).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = home.command(&args);
        if let Judge::Pasteable = by {
            command.env("KLATCH_PROFILE", PROFILE);
        }
        command.envs(step.env.iter().map(|(k, v)| (k, place(v))));
        let output = common::finish(command, &step.stdin);
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        let found = match by {
            Judge::Said => judge(step, output.status.code(), &stdout, &stderr),
            Judge::Pasteable if explains(&args) => Vec::new(),
            Judge::Pasteable => {
                let lines = || stdout.lines().chain(stderr.lines());
                let slashed = lines().filter(|_| !args.contains(&"chat")).filter_map(slashed);
                lines().filter_map(unpasteable).chain(slashed).collect()
            }
        };
        for why in found {
            wrong.push(format!(
                "step {}: klatch {}\n{why}\nstdout:\n{stdout}stderr:\n{stderr}",
                n + 1,
                args.join(" ")
            ));
        }
    }
    wrong
}

fn judge(step: &Step, code: Option<i32>, stdout: &str, stderr: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if code != Some(step.exit) {
        wrong.push(format!("ended with {code:?}, not {}", step.exit));
    }
    if stderr.contains("For more information, try") {
        wrong.push("an error as the parser words it".to_owned());
    }
    for (what, text, patterns) in
        [("stdout", stdout, &step.stdout), ("stderr", stderr, &step.stderr)]
    {
        for pattern in patterns {
            if !text.lines().any(|l| fits(pattern, l)) {
                wrong.push(format!("no line of {what} fits {pattern:?}"));
            }
        }
        if step.silent.iter().any(|s| s == what) && !text.is_empty() {
            wrong.push(format!("{what} is not silent"));
        }
        if acts(text) {
            wrong.push(format!("{what} would act on a terminal"));
        }
    }
    if step.stdout_lines.is_some_and(|n| n != stdout.lines().count()) {
        wrong.push(format!("{} lines on stdout", stdout.lines().count()));
    }
    if step.json
        && !stdout
            .lines()
            .all(|l| serde_json::from_str::<serde_json::Value>(l).is_ok_and(|v| v.is_object()))
    {
        wrong.push("stdout is not one JSON object per line".to_owned());
    }
    wrong
}

const PROFILE: &str = "other";

/// Pages and scripts are the same for everybody.
fn explains(args: &[&str]) -> bool {
    let pages = ["help", "completions", "man", "spec"];
    let noun_alone = args.last().is_some_and(|a| ["peer", "contact", "-v"].contains(a));
    args.is_empty()
        || noun_alone
        || args.contains(&"--help")
        || args.iter().take(2).any(|a| pages.contains(a))
}

/// A line that names a command which would be one of another profile.
fn unpasteable(line: &str) -> Option<String> {
    let commands = COMMANDS.get_or_init(commands);
    // How a command is built, with what stands for its words.
    if line.contains("Usage: ") {
        return None;
    }
    line.match_indices("klatch ").find_map(|(at, word)| {
        let alone = !line[..at].ends_with(|c: char| c.is_alphanumeric() || "@#/._-".contains(c));
        let next = line[at + word.len()..].split([' ', '`', '.', ',', ';']).next()?;
        (alone && commands.iter().any(|c| c == next))
            .then(|| format!("`klatch {next}` is of another profile in: {line}"))
    })
}

/// A line of a shell that says what to type in a chat, and does not say that it is for there.
fn slashed(line: &str) -> Option<String> {
    let slash = SLASH.get_or_init(slash_commands);
    let found = line.split([' ', '`', '(']).find(|word| {
        let name = word.strip_prefix('/').map(|w| w.trim_end_matches([',', '.', ';', ':', ')']));
        name.is_some_and(|name| slash.iter().any(|s| s == name))
    })?;
    let fits = line.contains("in a chat");
    (!fits).then(|| format!("{found} cannot be typed into a shell: {line}"))
}

static SLASH: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();

/// All slash commands, from the help: what is set in by two.
fn slash_commands() -> Vec<String> {
    let help = Home::new().ok(&["help", "slash"]);
    let rows = help.lines().filter_map(|l| l.strip_prefix("  /"));
    let found: Vec<String> =
        rows.filter_map(|l| l.split_whitespace().next()).map(str::to_owned).collect();
    assert!(found.iter().any(|c| c == "verify") && found.len() > 20, "{found:?}");
    found
}

static COMMANDS: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();

/// All commands, from the help: what is set in by two.
fn commands() -> Vec<String> {
    let help = Home::new().ok(&["--help"]);
    let rows = help.lines().filter_map(|l| l.strip_prefix("  ").filter(|l| !l.starts_with(' ')));
    let names = rows.filter_map(|l| l.split_whitespace().next()).map(str::to_owned);
    // These are the same for everybody.
    let found: Vec<String> =
        names.filter(|n| !["help", "completions", "man"].contains(&n.as_str())).collect();
    assert!(found.iter().any(|c| c == "contact") && found.len() > 20, "{found:?}");
    found
}

/// `*` stands for any text, everything else for itself.
fn fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn a_command_of_another_profile_is_noticed() {
    assert!(unpasteable("  try: `klatch up` starts one").is_some());
    assert!(unpasteable("klatch down && klatch --profile other up").is_some());
    assert!(unpasteable("`klatch --profile other up` starts one").is_none());
    assert!(unpasteable("they open klatch and type").is_none());
    assert!(slashed("not compared yet: /verify @bob").is_some());
    assert!(slashed("you are bob; /nick NAME in a chat changes it").is_none());
    assert!(slashed("/ip4/127.0.0.1/tcp/9 is no longer looked for").is_none());
}

#[test]
fn patterns_fit_what_they_should() {
    assert!(fits("a*c", "abc") && fits("*b*", "abc") && fits("abc", "abc") && fits("*", ""));
    assert!(!fits("a*d", "abc") && !fits("ab", "abc") && !fits("a*b*b", "ab"));
}
