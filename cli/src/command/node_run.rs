//! `klatch node run`: the node in the foreground, until a signal or `klatch down`.

use std::io::Write;

use klatch_core::query::Host;
use klatch_node::store::lock::{LockError, ProfileLock};
use serde_json::json;

use super::api::http_line;
use super::{init, status};
use crate::args::NodeRun;
use crate::context::{Context, Need};
use crate::error::Report;
use crate::session::Holder;
use crate::signals::interrupted;

/// Runs the node. Prints its status once it is ready.
pub async fn run(ctx: &Context, args: NodeRun) -> Result<(), Report> {
    if args.detached {
        // A session of its own: the terminal that started it may close. It fails only if it is done
        // already.
        let _ = rustix::process::setsid();
    }
    match serve(ctx, &args).await {
        Err(report) if args.detached => {
            // `klatch up` reads one line from here and shows it.
            let _ = writeln!(std::io::stdout(), "{}", report.json());
            Err(report)
        }
        done => done,
    }
}

async fn serve(ctx: &Context, args: &NodeRun) -> Result<(), Report> {
    init::ensure(ctx)?;
    let host = if args.detached { Host::Background } else { Host::Foreground };
    let node = match ctx.hold(&Need::Network(args.network.clone()), host).await? {
        Holder::Us(node, _) => node,
        Holder::Them(_) => {
            return Err(LockError::Held { pid: ProfileLock::holder(&ctx.paths.data) }.into());
        }
    };
    let mut done = announce(ctx, args).await;
    if done.is_ok() {
        done = tokio::select! {
            stopped = node.stopped() => stopped,
            () = interrupted() => Ok(()),
        };
    }
    if !args.detached {
        ctx.out.note("stopping");
    }
    node.end().await;
    done
}

async fn announce(ctx: &Context, args: &NodeRun) -> Result<(), Report> {
    let mut session = ctx.attach().await?;
    let now = session.status().await?;
    let http = match &args.http {
        Some(address) => Some(session.call("http.open", json!({"address": address})).await?),
        None => None,
    };
    if args.detached {
        let line = json!({"ready": true, "pid": now.pid, "name": now.name});
        let _ = writeln!(std::io::stdout(), "{line}");
        return Ok(());
    }
    ctx.out.either(&now, || status::text(&now))?;
    if let Some(opened) = http {
        ctx.out.either(&opened, || http_line(&opened))?;
    }
    ctx.out.note("ready; Ctrl+C stops it");
    Ok(())
}
