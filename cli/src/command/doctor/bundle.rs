//! The archive for a bug report: what the doctor found, the state of the node, the end of its log,
//! the files with sizes and modes. No names, rooms, addresses, ids or contents: see `redact`.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use klatch_core::query::Status;
use serde_json::{Value, json};

use super::Checkup;
use super::facts::{Facts, NodeFact, StoreFact, asked_of_node};
use super::redact::Redactor;
use crate::error::{Report, exit};
use crate::paths::Paths;

/// The end of the log: some thousand lines.
const LOG_BYTES_MAX: u64 = 256 << 10;
/// Files listed of one folder.
const FILES_MAX: usize = 500;
/// Names that every profile has; others are somebody's own.
const FILES: [&str; 13] = [
    "keystore",
    "lock",
    "klatch.db",
    "klatch.db-wal",
    "klatch.db-shm",
    "bodies.db",
    "bodies.db-wal",
    "bodies.db-shm",
    "node.log",
    "node.log.1",
    "run",
    "api.sock",
    "config.toml",
];

const README: &str = "\
Made by `klatch doctor --bundle` for a bug report.

doctor.txt, doctor.json   what was checked, and how it came out
node.json                 what the running node said of itself, if one was running
log.txt                   the end of the background node's log
files.txt                 files of the profile: size, mode, owner; no contents
system.txt                versions and settings of this machine

Names, rooms, addresses, ports and ids have stand-ins (room-1, person-2, ip-3); the same one means the same thing in all
files. No message is in here. Look through it all the same before you send it.
";

/// Writes the archive. An existing file is not touched.
pub async fn write(file: &Path, paths: &Paths, facts: &Facts, quick: bool) -> Result<(), Report> {
    let mut redactor = learned(paths, facts).await;
    let redacted = redactor.facts(facts);
    let found = Checkup::of(&redacted, quick);
    let mut parts = vec![
        ("README.txt", README.to_owned()),
        ("doctor.txt", found.lines().join("\n") + "\n"),
        ("doctor.json", pretty(&found.json())),
        ("system.txt", system(facts)),
        ("files.txt", files(paths, &mut redactor)),
        ("log.txt", log(&paths.log, &mut redactor)),
    ];
    if let NodeFact::Answers { status, .. } = &redacted.node {
        parts.push(("node.json", pretty(&node(status))));
    }
    let mut archive = Vec::new();
    let at_s = facts.now_ms / 1_000;
    for (name, text) in &parts {
        append(&mut archive, &format!("klatch-report/{name}"), text.as_bytes(), at_s);
    }
    // Two empty blocks end an archive.
    archive.resize(archive.len() + 2 * BLOCK, 0);
    store(file, &archive)
}

fn store(file: &Path, archive: &[u8]) -> Result<(), Report> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    made.and_then(|mut f| f.write_all(archive).and_then(|()| f.sync_all())).map_err(|e| {
        match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                let cause = format!("{} exists already; it was not touched", file.display());
                Report::new("KLATCH-FILE", cause, "choose another name", exit::USAGE)
            }
            _ => Report::io("write", file, &e),
        }
    })
}

/// Everything that names somebody in this profile: from the node, or from the disk if none runs.
async fn learned(paths: &Paths, facts: &Facts) -> Redactor {
    let mut redactor = Redactor::default();
    for (path, name) in
        [(&paths.data, "DATA"), (&paths.runtime, "RUNTIME"), (&paths.peers, "PEERS")]
    {
        redactor.learn_as(&path.display().to_string(), name);
    }
    for (variable, name) in [("KLATCH_HOME", "KLATCH_HOME"), ("HOME", "HOME")] {
        if let Ok(path) = std::env::var(variable)
            && path.len() > 1
        {
            redactor.learn_as(path.trim_end_matches('/'), name);
        }
    }
    for variable in ["USER", "LOGNAME", "KLATCH_NAME"] {
        redactor.learn("person", &std::env::var(variable).unwrap_or_default());
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    redactor.learn("host", host.trim());
    match (&facts.node, &facts.store) {
        (NodeFact::Answers { status, .. }, _) => {
            let own =
                [("node.status", json!({})), ("room.list", json!({})), ("contact.list", json!({}))];
            let members = status.rooms.iter().map(|r| ("room.members", json!({"room": r.room})));
            let answers = asked_of_node(paths, own.into_iter().chain(members).collect()).await;
            answers.iter().for_each(|a| redactor.learn_from(a));
        }
        (_, StoreFact::Readable(seen)) => {
            for name in &seen.names {
                if name.starts_with('#') {
                    redactor.learn_room(name)
                } else {
                    redactor.learn("person", name)
                }
            }
            seen.ids.iter().for_each(|id| redactor.learn("id", id));
        }
        _ => {}
    }
    redactor
}

/// What is of use in a report, field by field: a new field of the status does not get in by itself.
fn node(status: &Status) -> Value {
    let rooms: Vec<Value> = status
        .rooms
        .iter()
        .map(|r| {
            json!({
                "name": r.name, "access": r.access, "members": r.members, "others_online": r.online,
                "messages": r.messages,
                "unread": r.unread, "queued": r.queued, "bytes": r.bytes, "over_budget": r.over_budget, "left": r.left,
            })
        })
        .collect();
    json!({
        "version": status.version, "host": status.host, "uptime_s": status.uptime_s, "listening": status.listening,
        "families": status.families, "loopback_only": status.loopback_only,
        "peers": status.peers, "discovery": status.discovery, "clock": status.clock, "rooms": rooms,
        "queued": status.queued, "read_only": status.read_only, "refused": status.refused,
    })
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn system(facts: &Facts) -> String {
    let first = |path: &str, key: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let found =
            text.lines().find_map(|l| l.strip_prefix(key).map(|v| v.trim_matches('"').to_owned()));
        found.unwrap_or_else(|| "?".to_owned())
    };
    let set = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut set: Vec<String> = set
        .filter(|n| n.starts_with("KLATCH_") || n.starts_with("XDG_") || n == "NO_COLOR")
        .collect();
    set.sort();
    format!(
        "klatch {}\nsystem {} {}\nkernel {}\nrelease {}\nterm {}\nlocale {}\nset: {}\n",
        facts.version,
        std::env::consts::OS,
        std::env::consts::ARCH,
        first("/proc/sys/kernel/osrelease", ""),
        first("/etc/os-release", "PRETTY_NAME="),
        facts.terminal.term.as_deref().unwrap_or("none"),
        facts.terminal.locale.as_deref().unwrap_or("none"),
        set.join(" "),
    )
}

fn files(paths: &Paths, redactor: &mut Redactor) -> String {
    let mut text = String::from("path  mode  bytes  owner\n");
    for (folder, name) in
        [(&paths.data, "DATA"), (&paths.runtime, "RUNTIME"), (&paths.peers, "PEERS")]
    {
        list(&mut text, folder, name, redactor);
    }
    text
}

fn list(text: &mut String, folder: &Path, name: &str, redactor: &mut Redactor) {
    let line = |path: &Path, name: &str| match std::fs::symlink_metadata(path) {
        Ok(meta) => {
            let owner =
                if meta.uid() == rustix::process::geteuid().as_raw() { "own" } else { "other" };
            format!("{name}  {:o}  {}  {owner}\n", meta.mode() & 0o7777, meta.len())
        }
        Err(error) => format!("{name}  {}\n", error.kind()),
    };
    text.push_str(&line(folder, name));
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut entries: Vec<_> = entries.flatten().take(FILES_MAX).map(|e| e.file_name()).collect();
    entries.sort();
    for entry in entries {
        let own = entry.to_string_lossy().into_owned();
        let shown = match own.strip_suffix(".addr") {
            _ if FILES.contains(&own.as_str()) || is_segment(&own) => own.clone(),
            Some(peer) => format!("{}.addr", redactor.stand_in("peer", peer)),
            None => redactor.stand_in("file", &own),
        };
        text.push_str(&line(&folder.join(&entry), &format!("{name}/{shown}")));
    }
}

fn is_segment(name: &str) -> bool {
    name.strip_prefix("bodies-")
        .and_then(|n| n.strip_suffix(".seg"))
        .is_some_and(|n| n.parse::<u32>().is_ok())
}

fn log(path: &Path, redactor: &mut Redactor) -> String {
    let text = match tail(path) {
        Ok(text) => text,
        Err(error) => return format!("there is no log: {}\n", error.kind()),
    };
    let (mut out, mut left_out) = (String::new(), 0_usize);
    for line in text.lines() {
        match redactor.log_line(line) {
            Some(line) => {
                out.push_str(&line);
                out.push('\n');
            }
            None => left_out += 1,
        }
    }
    if left_out > 0 {
        out.push_str(&format!("({left_out} lines of another form are left out)\n"));
    }
    out
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(LOG_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // The first line is most likely cut.
    let whole = if size > LOG_BYTES_MAX {
        text.split_once('\n').map_or("", |(_, rest)| rest)
    } else {
        &text
    };
    Ok(whole.to_owned())
}

/// An archive consists of blocks.
const BLOCK: usize = 512;

/// One file in the `ustar` format, which every `tar` reads: a header block, then the content,
/// filled up.
fn append(archive: &mut Vec<u8>, name: &str, content: &[u8], at_s: u64) {
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &name.as_bytes()[..name.len().min(100)]);
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, format!("{:011o}\0", at_s.min(0o77_777_777_777)).as_bytes());
    // The sum is made with blanks in its own place.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend_from_slice(&header);
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(BLOCK), 0);
}
