//! `klatch up` and `down`, `unlock` and `lock`: the node in the background.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use klatch_core::query::{Host, Status};
use klatch_node::store::lock::ProfileLock;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::init;
use crate::args::Network;
use crate::context::Context;
use crate::error::{Report, exit};
use crate::lines::count;
use crate::output::visible;

/// Opening a store of a million messages takes seconds; everything else is far faster.
const START: Duration = Duration::from_secs(30);
/// A node says goodbye to its rooms and closes its store in less.
const STOP: Duration = Duration::from_secs(15);
/// A log that is larger when a node starts is put aside; the one before it goes.
const LOG_BYTES_MAX: u64 = 8 << 20;
/// Pause between looks whether the node is gone.
const PAUSE: Duration = Duration::from_millis(20);

/// Starts the background node and returns once it answers.
pub async fn run(ctx: &Context, network: Network) -> Result<(), Report> {
    if let Ok(mut session) = ctx.attach().await {
        let status = session.status().await?;
        ctx.out.note(&already(&status));
        ctx.tell_ignored(&mut session, &network).await?;
        return print(ctx, &status);
    }
    init::ensure(ctx)?;
    ctx.paths.create()?;
    // Asked here, where the user is, and handed over through a pipe.
    let passphrase = ctx.unlock()?;
    let mut child = command(ctx, &network, passphrase.is_some())?.spawn().map_err(|e| {
        Report::new(
            "KLATCH-START",
            format!("cannot start the node: {e}"),
            "klatch node run",
            exit::FAILED,
        )
    })?;
    if let (Some(secret), Some(stdin)) = (passphrase, child.stdin.take()) {
        write_secret(stdin, secret).await?;
    }
    let Some(stdout) = child.stdout.take() else { return Err(Report::gone()) };
    let mut first = BufReader::new(stdout).lines();
    let line = match timeout(ctx.timeout(START), first.next_line()).await {
        Ok(line) => line.ok().flatten(),
        Err(_) => {
            let hint =
                format!("it may still come: `klatch wait`; its log is {}", ctx.paths.log.display());
            return Err(Report::new(
                "KLATCH-TIMEOUT",
                "the node did not answer in time",
                hint,
                exit::TIMEOUT,
            ));
        }
    };
    let answer: Value = line.and_then(|l| serde_json::from_str(&l).ok()).unwrap_or_default();
    if answer["ready"] != true {
        return Err(failed(ctx, &answer));
    }
    let status = ctx.attach().await?.status().await?;
    print(ctx, &status)
}

/// What it means that a node runs already: one inside another command ends with that.
fn already(status: &Status) -> String {
    match status.host {
        Some(Host::Command) => format!(
            "a node is running already, inside another command (pid {}), and ends with it. \
             For a background node: end that command, then klatch up",
            status.pid
        ),
        Some(Host::Foreground) => {
            format!(
                "a node is running already, in the foreground (`klatch node run`, pid {})",
                status.pid
            )
        }
        _ => "a node is running already".to_owned(),
    }
}

/// The error that the child told, or where to look.
fn failed(ctx: &Context, answer: &Value) -> Report {
    let word = |key: &str| answer["error"][key].as_str().map(str::to_owned);
    let hint = word("hint").unwrap_or_else(|| format!("its log is {}", ctx.paths.log.display()));
    let code =
        answer["error"]["exit"].as_u64().and_then(|n| u8::try_from(n).ok()).unwrap_or(exit::FAILED);
    let cause = word("message").unwrap_or_else(|| "the node ended at once".to_owned());
    Report::new(&word("code").unwrap_or_else(|| "KLATCH-START".to_owned()), cause, hint, code)
}

fn command(ctx: &Context, network: &Network, secret: bool) -> Result<Command, Report> {
    let log =
        open_log(&ctx.paths.log).map_err(|e| Report::io("open the log", &ctx.paths.log, &e))?;
    let program =
        std::env::current_exe().map_err(|e| Report::io("find", Path::new("klatch"), &e))?;
    let mut command = Command::new(program);
    command.args(["--profile", &ctx.args.profile, "--no-input"]);
    // The name goes with an identity that exists by now.
    command.env_remove("KLATCH_NAME").env_remove("KLATCH_PASSPHRASE_FILE");
    if secret {
        command.args(["--unlock-file", "-"]);
    }
    command.args(["node", "run", "--detached"]);
    for address in &network.listen {
        command.args(["--listen", address]);
    }
    for address in &network.peer {
        command.args(["--peer", address]);
    }
    for (flag, on) in [
        ("--no-mdns", network.no_mdns),
        ("--no-quic", network.no_quic),
        ("--loopback-only", network.loopback_only),
    ] {
        if on {
            command.arg(flag);
        }
    }
    command
        .stdin(if secret { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(log);
    Ok(command)
}

fn open_log(path: &Path) -> std::io::Result<File> {
    if path.metadata().is_ok_and(|m| m.len() > LOG_BYTES_MAX) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    File::options().create(true).append(true).mode(0o600).open(path)
}

async fn write_secret(stdin: tokio::process::ChildStdin, secret: String) -> Result<(), Report> {
    let fd = stdin.into_owned_fd().map_err(|_| Report::gone())?;
    // A passphrase is far smaller than a pipe: this does not block.
    File::from(fd).write_all(secret.as_bytes()).map_err(|_| Report::gone())
}

fn print(ctx: &Context, status: &Status) -> Result<(), Report> {
    ctx.out.either(status, || {
        format!(
            "klatch is up: {} · pid {} · {}",
            visible(&status.name),
            status.pid,
            count(status.rooms.iter().filter(|r| !r.left).count(), "room")
        )
    })
}

/// Stops the node and returns once it is gone. Nothing to stop is fine.
pub async fn down(ctx: &Context) -> Result<(), Report> {
    let Ok(mut session) = ctx.attach().await else {
        ctx.out.note("no node is running");
        return if ctx.out.json { ctx.out.json(&json!({"stopped": false})) } else { Ok(()) };
    };
    let pid = session.status().await?.pid;
    session.call("node.stop", json!({})).await?;
    let deadline = Instant::now() + ctx.timeout(STOP);
    // The socket goes first, the lock on the profile last. The process may be listed a little
    // longer.
    while ctx.paths.socket().exists() || ProfileLock::holder(&ctx.paths.data).is_some() {
        if Instant::now() >= deadline {
            let hint = format!("wait a little; in the end: kill {pid}");
            return Err(Report::new(
                "KLATCH-TIMEOUT",
                "the node is still stopping",
                hint,
                exit::TIMEOUT,
            ));
        }
        sleep(PAUSE).await;
    }
    ctx.out.either(&json!({"stopped": true, "pid": pid}), || "stopped".to_owned())
}

/// As `up`, for those who look for the word: the passphrase is asked for once and stays in the
/// background node's memory.
pub async fn unlock(ctx: &Context, network: Network) -> Result<(), Report> {
    if ctx.keystore().exists() && !ctx.protected()? {
        ctx.out.note("this profile has no passphrase: it is never locked");
    }
    run(ctx, network).await
}

/// Stops the node: no key stays in memory, and with a passphrase nothing readable is on disk.
pub async fn lock(ctx: &Context) -> Result<(), Report> {
    let protected = ctx.keystore().exists() && ctx.protected()?;
    down(ctx).await?;
    if !protected {
        ctx.out.note(
            "this profile has no passphrase: whoever can read this disk can read its history",
        );
    }
    Ok(())
}
