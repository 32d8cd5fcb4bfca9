//! `klatch wait`: returns once something is ready.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::client::Session;
use crate::context::Context;
use crate::error::Report;

/// How long to wait unless told.
const WAIT: Duration = Duration::from_secs(30);
/// Pause between looks for a node that does not run yet.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits for a node to run, then lets it wait for the target.
pub async fn run(ctx: &Context, target: &str) -> Result<(), Report> {
    let deadline = Instant::now() + ctx.timeout(WAIT);
    let mut session = node(ctx, deadline).await?;
    let left = deadline.saturating_duration_since(Instant::now()).as_millis();
    let params = json!({"target": target, "timeout_ms": u64::try_from(left).unwrap_or(u64::MAX)});
    let found = session.call("node.wait", params).await?;
    ctx.out.either(&found, || "ready".to_owned())
}

async fn node(ctx: &Context, deadline: Instant) -> Result<Session, Report> {
    loop {
        match ctx.attach_within(Duration::ZERO).await {
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => sleep(PAUSE).await,
            session => return session,
        }
    }
}
