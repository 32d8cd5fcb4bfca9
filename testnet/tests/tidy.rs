//! Style that a test can check: file openings and lengths, function lengths, words that must not
//! appear, and which crate may depend on what (CONTRIBUTING.md, "Habits").

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

/// Lines of a file without its tests. Beyond that it is two rooms.
const FILE_LINES_MAX: usize = 600;
/// Lines of a function: about two screens.
const FUNCTION_LINES_MAX: usize = 100;

/// Longer files that are better left whole, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];
/// Longer functions, as `file::function`, each with its reason.
const LONG_FUNCTIONS: &[(&str, &str)] = &[];

/// What no Rust file may contain, and why. Written in halves so that this file may be checked as
/// well.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("unbounded", "_channel"), "every queue has a bound"),
    (concat!("mpsc::", "channel()"), "every queue has a bound: sync_channel, or channel(n)"),
    (concat!("mpsc::", "unbounded()"), "every queue has a bound"),
    (concat!("to", "do!("), "finish it, or leave it out and say so"),
    (concat!("unimple", "mented!("), "finish it, or leave it out and say so"),
    (concat!("#[ig", "nore"), "a test that does not run protects nothing"),
    (concat!("db", "g!("), "a debugging aid"),
    (concat!("FIX", "ME"), "fix it, or open an issue"),
    (concat!("TO", "DO"), "do it, or open an issue"),
    (concat!("XX", "X"), "do it, or open an issue"),
];

/// The one reason for a test that only runs when it is asked for: it prints figures and checks
/// nothing.
const MEASUREMENT: &str = concat!("#[ig", "nore = \"a measurement, not a test\"]");

/// What no text file may contain: paths of somebody's machine.
const FOREIGN: &[&str] =
    &[concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/runner")];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "target" | ".git" | "__pycache__") {
                walk(&path, found);
            }
        } else {
            found.push(path);
        }
    }
}

/// Files with one of these endings, as (path from the root, text).
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let root = root();
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort();
    paths
        .into_iter()
        .filter(|p| endings.iter().any(|e| p.to_string_lossy().ends_with(e)))
        .map(|p| {
            let text =
                std::fs::read_to_string(&p).unwrap_or_else(|e| panic!("{}: {e}", p.display()));
            (p.strip_prefix(&root).unwrap().to_string_lossy().into_owned(), text)
        })
        .collect()
}

fn is_test_file(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("tests.rs")
}

/// The lines before the module of unit tests.
fn without_tests(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines
        .windows(2)
        .position(|w| w[0] == "#[cfg(test)]" && w[1].starts_with("mod ") && w[1].ends_with('{'));
    lines[..tests.unwrap_or(lines.len())].to_vec()
}

/// Name and length of each function, by the indentation that rustfmt gives.
fn functions(lines: &[&str]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let Some((before, after)) = code.split_once("fn ") else { continue };
        let words = ["pub", "pub(crate)", "pub(super)", "const", "async"];
        if !before.split_whitespace().all(|w| words.contains(&w))
            || line.ends_with('}')
            || line.ends_with(';')
        {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - code.len()]);
        let name = after.split(['(', '<']).next().unwrap().to_owned();
        let length = lines[start..].iter().position(|l| *l == end).map_or(0, |n| n + 1);
        found.push((name, length));
    }
    found
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} to tidy up:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_file_opens_with_what_it_owns() {
    let faults: Vec<_> = files(&[".rs"])
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| {
            format!(
                "{path}: open with a `//!` paragraph: what the file owns, what it leaves to others"
            )
        })
        .collect();
    assert_none(&faults);
}

#[test]
fn files_and_functions_are_short() {
    let mut faults = Vec::new();
    for (path, text) in files(&[".rs"]) {
        if is_test_file(&path) {
            continue;
        }
        let lines = without_tests(&text);
        if lines.len() > FILE_LINES_MAX && !LONG_FILES.iter().any(|(allowed, _)| *allowed == path) {
            faults.push(format!("{path}: {} lines, at most {FILE_LINES_MAX}", lines.len()));
        }
        for (name, length) in functions(&lines) {
            let full = format!("{path}::{name}");
            if length > FUNCTION_LINES_MAX
                && !LONG_FUNCTIONS.iter().any(|(allowed, _)| *allowed == full)
            {
                faults.push(format!("{full}: {length} lines, at most {FUNCTION_LINES_MAX}"));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn nothing_is_unbounded_unfinished_or_switched_off() {
    let mut faults = Vec::new();
    for (path, text) in files(&[".rs"]) {
        for (number, line) in text.lines().enumerate() {
            for (word, why) in FORBIDDEN {
                if line.contains(word) && !line.contains(MEASUREMENT) {
                    faults.push(format!("{path}:{}: `{word}`: {why}", number + 1));
                }
            }
            if line.contains('\t') {
                faults.push(format!("{path}:{}: a tab", number + 1));
            }
        }
    }
    assert_none(&faults);
}

/// What an unresolved merge leaves at the beginning of a line. Written in halves, see above.
const CONFLICT_MARKERS: &[&str] = &[concat!("<<<<", "<<< "), concat!(">>>>", ">>> ")];

#[test]
fn no_file_holds_the_markers_of_an_unresolved_merge() {
    let mut faults = Vec::new();
    let endings =
        [".rs", ".toml", ".md", ".sh", ".py", ".json", ".lock", ".txt", "/run", "justfile"];
    for (path, text) in files(&endings) {
        for (number, line) in text.lines().enumerate() {
            if CONFLICT_MARKERS.iter().any(|marker| line.starts_with(marker)) {
                faults.push(format!("{path}:{}: a conflict marker", number + 1));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let mut faults = Vec::new();
    for (path, text) in files(&[".rs", ".toml", ".md", ".sh", ".py", ".json", "/run", "justfile"]) {
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = FOREIGN.iter().find(|word| line.contains(**word)) {
                faults.push(format!("{path}:{}: `{word}`", number + 1));
            }
        }
    }
    assert_none(&faults);
}

/// Which crates must not be among the dependencies of a package (its tests may use more).
fn without(package: &str, forbidden: &[&str]) -> Vec<String> {
    let path = root().join(package).join("Cargo.toml");
    let manifest: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
    let used = manifest["dependencies"].as_table().unwrap();
    forbidden
        .iter()
        .filter(|name| used.contains_key(**name))
        .map(|name| format!("{package} uses {name}"))
        .collect()
}

#[test]
fn crates_depend_in_one_direction_only() {
    let mut faults = without(
        "node/core",
        &[
            "async-std",
            "chrono",
            "futures",
            "getrandom",
            "jiff",
            "klatch",
            "klatch-node",
            "libp2p",
            "rand",
            "rusqlite",
            "rustix",
            "smol",
            "tempfile",
            "time",
            "tokio",
            "tracing",
        ],
    );
    faults.extend(without("node", &["klatch", "clap", "anyhow", "jiff", "rpassword", "ratatui"]));
    faults.extend(without(
        "cli",
        &["libp2p", "rusqlite", "ciborium", "ed25519-dalek", "chacha20poly1305"],
    ));
    assert_none(&faults);
}

#[test]
fn the_core_has_no_async_code() {
    let mut faults = Vec::new();
    for (path, text) in
        files(&[".rs"]).into_iter().filter(|(path, _)| path.starts_with("node/core/src/"))
    {
        for (number, line) in text.lines().enumerate() {
            if line.contains(".await") || line.contains("async fn") {
                faults.push(format!("{path}:{}: async code", number + 1));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn function_lengths_are_counted_from_signature_to_brace() {
    let text = "fn one() {\n    1;\n}\n\nimpl X {\n    pub(crate) async fn two(\n    ) {\n        if a {\n        }\n    }\n}\n";
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(functions(&lines), [("one".to_owned(), 3), ("two".to_owned(), 5)]);
}
