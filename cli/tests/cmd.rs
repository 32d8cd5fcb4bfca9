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

#[test]
fn every_case_prints_and_ends_as_it_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cmd");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    files.retain(|f| f.extension().is_some_and(|e| e == "toml"));
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let cases: Vec<_> = files.iter().map(|file| scope.spawn(|| run_file(file))).collect();
        cases.into_iter().flat_map(|case| case.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}

fn run_file(file: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let case: Case = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    run(&case).into_iter().map(|w| format!("{name}, {w}")).collect()
}

fn run(case: &Case) -> Vec<String> {
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
        command.envs(step.env.iter().map(|(k, v)| (k, place(v))));
        let output = common::finish(command, &step.stdin);
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        for why in judge(step, output.status.code(), &stdout, &stderr) {
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
fn patterns_fit_what_they_should() {
    assert!(fits("a*c", "abc") && fits("*b*", "abc") && fits("abc", "abc") && fits("*", ""));
    assert!(!fits("a*d", "abc") && !fits("ab", "abc") && !fits("a*b*b", "ab"));
}
