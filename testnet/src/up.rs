//! `up` and `down`: a few real nodes on this machine that stay up, in one room, with a line to
//! attach to each.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::process::{Node, POLL, Site, socket};
use crate::rpc::Client;

/// The nodes find each other within a second; a loaded machine may need longer.
const MEET_WITHIN: Duration = Duration::from_secs(30);
/// How long `down` waits for each node.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// The process ids, one line for each node: `n1 1234`.
fn list(site: &Site) -> PathBuf {
    site.home.join("running")
}

/// Starts nodes and prints how to attach to each.
pub fn up(site: &Site, nodes: usize, room: &str) -> Result<()> {
    if list(site).exists() {
        bail!("a testnet runs in {} already: `testnet/up.sh down` stops it", site.home.display());
    }
    let mut started = Vec::new();
    for number in 1..=nodes {
        let mut node = Node::init(site, number)?;
        node.start()?;
        node.client()?.call("room.join", &json!({"room": room}))?;
        eprintln!("{} runs, process {}", node.profile, node.pid().unwrap_or_default());
        started.push(node);
    }
    meet(&started, room)?;
    let mut lines = String::new();
    for node in started {
        let profile = node.profile.clone();
        if let Some(pid) = node.detach() {
            lines += &format!("{profile} {pid}\n");
        }
        println!("{}", attach_line(site, &profile, room));
    }
    fs::write(list(site), lines)?;
    eprintln!(
        "\nPaste a line above into a terminal each. `testnet/up.sh down` ends all nodes; their history stays."
    );
    Ok(())
}

fn attach_line(site: &Site, profile: &str, room: &str) -> String {
    format!(
        "KLATCH_HOME={} {} --profile {profile} chat '{room}'",
        quoted(&site.home),
        quoted(&site.klatch)
    )
}

/// As the shell wants it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn meet(nodes: &[Node], room: &str) -> Result<()> {
    let until = Instant::now() + MEET_WITHIN;
    for node in nodes {
        let mut client = node.client()?;
        loop {
            let members = client.call("room.members", &json!({"room": room}))?;
            let online = members
                .as_array()
                .into_iter()
                .flatten()
                .filter(|m| m["online"] == true && m["own"] != true);
            if online.count() + 1 >= nodes.len() {
                break;
            }
            if Instant::now() > until {
                bail!(
                    "{} does not see all others after {} s; see {}",
                    node.profile,
                    MEET_WITHIN.as_secs(),
                    node.log().display()
                );
            }
            std::thread::sleep(POLL);
        }
    }
    Ok(())
}

/// Stops what `up` started.
pub fn down(site: &Site) -> Result<()> {
    let running = fs::read_to_string(list(site)).unwrap_or_default();
    if running.is_empty() {
        eprintln!("no testnet runs in {}", site.home.display());
        return Ok(());
    }
    for line in running.lines() {
        let (profile, pid) =
            line.split_once(' ').context("the list of running nodes is damaged")?;
        stop(site, profile, pid.parse()?)?;
    }
    fs::remove_file(list(site))?;
    Ok(())
}

/// Asks the node to stop; if it does not listen, ends that process, provided that it still is ours.
fn stop(site: &Site, profile: &str, pid: u32) -> Result<()> {
    let asked = socket(&site.home, profile)
        .and_then(|path| Client::connect(&path).ok())
        .is_some_and(|mut client| client.call("node.stop", &json!({})).is_ok());
    let ours = || {
        fs::read_link(format!("/proc/{pid}/exe"))
            .is_ok_and(|exe| exe.file_name() == site.klatch.file_name())
    };
    let until = Instant::now() + STOP_WITHIN;
    let mut signals = if asked { vec![Signal::KILL] } else { vec![Signal::KILL, Signal::TERM] };
    while ours() {
        if !asked || Instant::now() > until {
            let target = Pid::from_raw(pid.cast_signed()).context("not a process id")?;
            match signals.pop() {
                Some(signal) => kill_process(target, signal).context("cannot end the node")?,
                None => bail!("{profile}, process {pid}, does not end"),
            }
            let patience = Instant::now() + STOP_WITHIN;
            while ours() && Instant::now() < patience {
                std::thread::sleep(POLL);
            }
        }
        std::thread::sleep(POLL);
    }
    eprintln!("{profile} is down");
    Ok(())
}
