//! `klatch down` and `klatch lock`: the node ends, or it is said that it did not. Whoever locks a
//! profile goes by what this says.

use std::time::Duration;

use klatch_node::store::holder::{self, EndError};
use klatch_node::store::lock::{Hold, ProfileLock};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::args::Down;
use crate::context::{Context, confirm};
use crate::error::{Report, exit};
use crate::reach::{self, PATIENCE, Reach, Silent};

/// A node says goodbye to its rooms and closes its store in less.
const STOP: Duration = Duration::from_secs(15);
/// A node that needs longer to hear that it shall stop does not respond.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Pause between looks whether the node is gone.
const PAUSE: Duration = Duration::from_millis(20);

/// Stops the node and returns once it is gone. Nothing to stop is fine.
pub async fn run(ctx: &Context, args: &Down) -> Result<(), Report> {
    let pid = match reach::wait(&ctx.paths, PATIENCE).await? {
        Reach::Nobody => {
            ctx.out.note("no node is running");
            return if ctx.out.json { ctx.out.json(&json!({"stopped": false})) } else { Ok(()) };
        }
        Reach::Node(mut reached) => {
            let pid = holder(ctx);
            match timeout(ANSWER_MAX, reached.client.call("node.stop", json!({}))).await {
                Ok(Ok(_)) => pid,
                // It may be ending already; whether it does is seen below.
                Ok(Err(report)) if report.code == Report::gone().code => pid,
                Ok(Err(report)) => return Err(report),
                Err(_) => {
                    let silent = Silent { pid, socket: reached.socket, taken: None };
                    end_process(ctx, args, &silent)?
                }
            }
        }
        Reach::Silent(silent) => end_process(ctx, args, &silent)?,
    };
    // The lock goes last: keys are out of memory and files are closed by then.
    let deadline = Instant::now() + ctx.timeout(STOP);
    while matches!(ProfileLock::look(&ctx.paths.data)?, Hold::Held { .. }) {
        if Instant::now() >= deadline {
            return Err(still_there(pid));
        }
        sleep(PAUSE).await;
    }
    ctx.out.either(&json!({"stopped": true, "pid": pid}), || "stopped".to_owned())
}

fn holder(ctx: &Context) -> Option<u32> {
    match ProfileLock::look(&ctx.paths.data) {
        Ok(Hold::Held { pid }) => pid,
        _ => None,
    }
}

/// Somebody has the profile and does not respond: SIGTERM, if that is wanted.
fn end_process(ctx: &Context, args: &Down, silent: &Silent) -> Result<Option<u32>, Report> {
    let wanted = args.yes
        || (ctx.can_ask() && confirm(&format!("{}. End it (SIGTERM)? [y/N] ", silent.text()))?);
    if !wanted {
        let mut report = Report::new(
            "KLATCH-NOT-STOPPED",
            format!("nothing was stopped: {}", silent.text()),
            "try again in a moment, or add --yes: its process gets a SIGTERM, on which it stops \
             cleanly",
            exit::NO_NODE,
        );
        report.retryable = true;
        return Err(report);
    }
    match holder::end(&ctx.paths.data) {
        Ok(pid) => Ok(Some(pid)),
        Err(EndError::Free) => Ok(None),
        Err(EndError::Lock(error)) => Err(error.into()),
        Err(error) => Err(Report::new(
            "KLATCH-NOT-STOPPED",
            format!("nothing was stopped: {}; {error}", silent.text()),
            "stop it where it was started: in its container, on its machine, as its user",
            exit::REFUSED,
        )),
    }
}

fn still_there(pid: Option<u32>) -> Report {
    let who = pid.map_or_else(|| "the node".to_owned(), |pid| format!("the node (process {pid})"));
    let mut report = Report::new(
        "KLATCH-TIMEOUT",
        format!("{who} was told to stop and has not ended yet: it still has the profile"),
        "run it again to see whether it has; `klatch doctor` says who has the profile",
        exit::TIMEOUT,
    );
    report.retryable = true;
    report
}

/// Stops the node: no key stays in memory, and with a passphrase nothing readable is on disk.
pub async fn lock(ctx: &Context, args: &Down) -> Result<(), Report> {
    let protected = ctx.keystore().exists() && ctx.protected()?;
    run(ctx, args).await?;
    if !protected {
        ctx.out.note(
            "this profile has no passphrase: whoever can read this disk can read its history",
        );
    }
    Ok(())
}
