//! `klatch node run`: the node in the foreground, until a signal or `klatch down`; `klatch node
//! unit`: how a service manager starts it.

use std::io::Write;

use klatch_core::query::Host;
use klatch_node::store::lock::{Hold, LockError, ProfileLock};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::api::http_line;
use super::{init, status};
use crate::args::{Network, NodeRun};
use crate::client::Embedded;
use crate::context::{Context, Need};
use crate::error::Report;
use crate::service::{self, Manager};
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
    init::asked_for(ctx)?;
    let host = if args.detached { Host::Background } else { Host::Foreground };
    let node = match ctx.hold(&Need::Network(args.network.clone()), host).await? {
        Holder::Us(node, _) => node,
        Holder::Them(_) => {
            let pid = match ProfileLock::look(&ctx.paths.data) {
                Ok(Hold::Held { pid }) => pid,
                _ => None,
            };
            return Err(LockError::Held { pid }.into());
        }
    };
    let manager = Manager::here().filter(|_| !args.detached);
    let mut done = announce(ctx, args).await;
    if let Ok(name) = &done
        && let Some(manager) = &manager
    {
        manager.ready(name);
    }
    if done.is_ok() {
        let ended = tokio::select! {
            stopped = node.stopped() => stopped,
            () = interrupted() => Ok(()),
            () = report_life(&node, manager.as_ref()) => Ok(()),
        };
        done = ended.map(|()| String::new());
    }
    if let Some(manager) = &manager {
        manager.stopping();
    }
    if !args.detached {
        ctx.out.note("stopping");
    }
    node.end().await;
    done.map(|_| ())
}

/// Says that the node lives for as long as each of its parts answers. Never ends by itself: whether
/// a node that does not answer is ended is the manager's to decide.
async fn report_life(node: &Embedded, manager: Option<&Manager>) {
    if let Some((manager, period)) = manager.and_then(|m| Some((m, m.watchdog()?))) {
        loop {
            if timeout(period, node.lives()).await.unwrap_or(false) {
                manager.alive();
            }
            sleep(period).await;
        }
    }
    std::future::pending::<()>().await;
}

/// `klatch node unit`.
pub fn unit(ctx: &Context, network: &Network) -> Result<(), Report> {
    let program = std::env::current_exe()
        .map_err(|e| Report::io("find", std::path::Path::new("klatch"), &e))?;
    let set = ["KLATCH_HOME", "XDG_DATA_HOME"]
        .into_iter()
        .filter_map(|key| Some((key, std::env::var_os(key).filter(|v| !v.is_empty())?)));
    let environment: Vec<_> = set.collect();
    let unit = service::unit(&program, &ctx.args.profile, &environment, network);
    ctx.out.line(unit.trim_end())
}

/// Tells that the node runs, and gives back in whose name.
async fn announce(ctx: &Context, args: &NodeRun) -> Result<String, Report> {
    let mut session = ctx.attach().await?;
    let now = session.status().await?;
    let http = match &args.http {
        Some(address) => Some(session.call("http.open", json!({"address": address})).await?),
        None => None,
    };
    if args.detached {
        let line = json!({"ready": true, "pid": now.pid, "name": now.name});
        let _ = writeln!(std::io::stdout(), "{line}");
        return Ok(now.name);
    }
    ctx.out.either(&now, || status::text(&now))?;
    if let Some(opened) = http {
        ctx.out.either(&opened, || http_line(&opened))?;
    }
    ctx.out.note("ready; Ctrl+C stops it");
    Ok(now.name)
}
