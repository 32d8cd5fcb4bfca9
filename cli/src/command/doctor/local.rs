//! Checks of this machine: files, disk, limits, terminal. Pure: facts in, a finding out.

use std::path::Path;

use klatch_node::store::keystore::KEYSTORE_FILE;

use super::Finding;
use super::facts::{Facts, FileFact, Key, NodeFact, StoreFact};
use crate::command::rooms::size;
use crate::lines::count;

/// Below this a busy room fills the disk within days.
const SPACE_BYTES_LOW: u64 = 500_000_000;
/// Below this the next checkpoint of the store may not fit.
const SPACE_BYTES_NONE: u64 = 50_000_000;
/// Links, local clients and the store's files of a busy node, twice.
const OPEN_FILES_LOW: u64 = 512;
/// Not even the store and a few links.
const OPEN_FILES_NONE: u64 = 64;
/// Bits of a mode that let others in.
const OTHERS: u32 = 0o077;

/// The keystore is there and can be read.
pub(super) fn identity(facts: &Facts) -> Finding {
    let here = format!(", in {}", facts.data.display());
    match &facts.keystore {
        Key::Open => Finding::ok(format!("present, without a passphrase{here}")),
        Key::Protected => Finding::ok(format!("present, protected by a passphrase{here}")),
        Key::Missing => {
            Finding::fail("there is no identity in this profile yet", facts.klatch("init"))
        }
        Key::Broken { cause, fix } => Finding::fail(cause, fix),
    }
}

/// Nobody else can read keys and history, or stand in for the node.
pub(super) fn permissions(facts: &Facts) -> Finding {
    let foreign: Vec<&FileFact> = facts.files.iter().filter(|f| !f.ours).collect();
    if let Some(first) = foreign.first() {
        let fix = format!("sudo chown \"$(id -u)\" {}", paths(&foreign));
        return Finding::fail(format!("{} belongs to somebody else", first.path.display()), fix);
    }
    let fixed: Vec<&FileFact> = facts.files.iter().filter(|f| !f.writable).collect();
    if let Some(first) = fixed.first() {
        let text = format!(
            "{} cannot be written: history can be read, and nothing else works",
            first.path.display()
        );
        let fix = format!("chmod u+w {}, or mount the disk read-write", paths(&fixed));
        return Finding::warn(text, fix);
    }
    let open: Vec<&FileFact> = facts.files.iter().filter(|f| f.mode & OTHERS != 0).collect();
    if facts.files.is_empty() {
        return Finding::ok("there are no files yet");
    }
    let Some(first) = open.first() else {
        return Finding::ok(format!(
            "{} files and folders are closed to others",
            facts.files.len()
        ));
    };
    let (folders, files): (Vec<&FileFact>, Vec<&FileFact>) = open.iter().partition(|f| f.folder);
    let change = |mode, list: &[&FileFact]| {
        (!list.is_empty()).then(|| format!("chmod {mode} {}", paths(list)))
    };
    let fix: Vec<String> =
        [change(700, &folders), change(600, &files)].into_iter().flatten().collect();
    let text = format!("{} has mode {:o}: others can reach it", first.path.display(), first.mode);
    // A node refuses such a keystore; the rest is inside a folder that it closes when it starts.
    let keystore = files.iter().any(|f| f.path.file_name().is_some_and(|n| n == KEYSTORE_FILE));
    if keystore {
        Finding::fail(text, fix.join(" && "))
    } else {
        Finding::warn(text, fix.join(" && "))
    }
}

fn paths(files: &[&FileFact]) -> String {
    files.iter().map(|f| quoted(&f.path)).collect::<Vec<_>>().join(" ")
}

/// For a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

/// Space for what will be said.
pub(super) fn disk(facts: &Facts) -> Finding {
    let look = format!("df -h {}", quoted(&facts.data));
    match facts.space {
        None => Finding::unknown("the system does not say how much space is free", look),
        Some(free) if free < SPACE_BYTES_NONE => {
            Finding::fail(format!("only {} are free: nothing can be stored soon", size(free)), look)
        }
        Some(free) if free < SPACE_BYTES_LOW => {
            Finding::warn(format!("only {} are free", size(free)), look)
        }
        Some(free) => Finding::ok(format!("{} free", size(free))),
    }
}

/// History can be read and written.
pub(super) fn store(facts: &Facts) -> Finding {
    if let Some(status) = facts.status() {
        let look = format!("df -h {}", quoted(&facts.data));
        return match status.read_only {
            true => Finding::fail(
                "the disk refuses writes: history can be read, nothing new is stored",
                look,
            ),
            false => Finding::ok("open in the running node"),
        };
    }
    match (&facts.store, &facts.node, &facts.keystore) {
        (StoreFact::Readable(seen), ..) => {
            Finding::ok(format!("readable, {}", count(seen.rooms, "room")))
        }
        (StoreFact::Broken { cause, hint }, ..) => Finding::fail(cause, hint),
        (StoreFact::Locked, ..) => Finding::unknown(
            "encrypted, and the passphrase was not given",
            facts.klatch("doctor --unlock-file FILE"),
        ),
        (StoreFact::Unseen, _, Key::Missing) => {
            Finding::unknown("there is no identity, so nothing to look into", facts.klatch("init"))
        }
        (StoreFact::Unseen, NodeFact::Hidden { cause, fix }, _) => {
            Finding::unknown(format!("it cannot be looked into: {cause}"), fix)
        }
        (StoreFact::Unseen, NodeFact::Absent, _) => {
            Finding::unknown("it was not looked into", facts.klatch("doctor"))
        }
        (StoreFact::Unseen, ..) => {
            Finding::unknown("another process has it, and does not tell", facts.klatch("status"))
        }
    }
}

/// Connections and files at a time.
pub(super) fn open_files(facts: &Facts) -> Finding {
    let fix = format!("ulimit -n 4096 && {}", facts.restart(""));
    match facts.open_files {
        None => Finding::ok("no limit on open files"),
        Some(n) if n < OPEN_FILES_NONE => {
            Finding::fail(format!("only {n} open files are allowed"), fix)
        }
        Some(n) if n < OPEN_FILES_LOW => Finding::warn(
            format!("only {n} open files are allowed: a busy node needs {OPEN_FILES_LOW}"),
            fix,
        ),
        Some(n) => Finding::ok(format!("{n} open files are allowed")),
    }
}

/// Names and emoji can be shown.
pub(super) fn terminal(facts: &Facts) -> Finding {
    let terminal = &facts.terminal;
    if !terminal.there {
        return Finding::skipped("the output is not a terminal");
    }
    let utf8 = |l: &str| l.to_lowercase().replace('-', "").contains("utf8");
    let locale = terminal.locale.as_deref().unwrap_or("C");
    if !utf8(locale) {
        let text = format!("the locale is {locale}, not UTF-8: names and emoji may look wrong");
        return Finding::warn(text, "export LC_ALL=C.UTF-8");
    }
    match terminal.term.as_deref() {
        None | Some("dumb") => Finding::warn(
            "TERM names no capable terminal: only plain lines can be shown",
            facts.klatch("chat '#lobby' --plain"),
        ),
        Some(term) => Finding::ok(format!("{term}, {locale}")),
    }
}
