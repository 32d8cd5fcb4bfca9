//! `klatch up` and `klatch unlock`: the node in the background. Its end is in `down`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use klatch_core::query::{Host, Status};
use klatch_node::store::lock::LockError;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::init;
use crate::args::Network;
use crate::context::Context;
use crate::error::{Report, exit};
use crate::lines::count;
use crate::logging;
use crate::output::visible;

/// Opening a store of a million messages takes seconds; everything else is far faster.
const START: Duration = Duration::from_secs(30);

/// Starts the background node and returns once it answers.
pub async fn run(ctx: &Context, network: Network) -> Result<(), Report> {
    match ctx.attach().await {
        Ok(mut session) => {
            let status = session.status().await?;
            ctx.out.note(&already(&status));
            ctx.tell_ignored(&mut session, &network).await?;
            return print(ctx, &status);
        }
        Err(report) if report.code == Report::no_node().code => {}
        Err(report) => return Err(report),
    }
    init::asked_for(ctx)?;
    ctx.tell_left_out(&network);
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
    let log = logging::open(&ctx.paths.log)
        .map_err(|e| Report::from(LockError::refused(&ctx.paths.log, e)))?;
    let program =
        std::env::current_exe().map_err(|e| Report::io("find", Path::new("klatch"), &e))?;
    let mut command = Command::new(program);
    command.args(["--profile", &ctx.args.profile, "--no-input"]);
    // The name goes with an identity that exists by now.
    command.env_remove("KLATCH_NAME").env_remove("KLATCH_PASSPHRASE_FILE");
    // A service manager that started this command waits for this command.
    command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC");
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

/// As `up`, for those who look for the word: the passphrase is asked for once and stays in the
/// background node's memory.
pub async fn unlock(ctx: &Context, network: Network) -> Result<(), Report> {
    if ctx.keystore().exists() && !ctx.protected()? {
        ctx.out.note("this profile has no passphrase: it is never locked");
    }
    run(ctx, network).await
}
