//! `klatch api`: any method of the node, for scripts.

use std::time::Duration;

use klatch_node::api::spec::{document, markdown};
use serde_json::{Value, json};
use tokio::net::UnixStream;

use crate::args::{Api, Network};
use crate::context::{Context, Need};
use crate::error::Report;
use crate::output::visible;
use crate::signals::interrupted;

/// How often the node is asked whether it is still there.
const LOOK: Duration = Duration::from_secs(1);

/// Calls a method, or lists them all.
pub async fn run(ctx: &Context, args: Api) -> Result<(), Report> {
    match args {
        Api::Spec { markdown: false } => ctx.out.json(&document()),
        Api::Spec { markdown: true } => ctx.out.line(markdown().trim_end()),
        Api::Serve { stdio: true, .. } => stdio(ctx).await,
        Api::Serve { http, .. } => http_until_interrupted(ctx, &http.unwrap_or_default()).await,
        Api::Call { method, params } => {
            let params: Value = serde_json::from_str(&params).map_err(|e| {
                Report::usage(
                    format!("the parameters are not JSON: {e}"),
                    r##"for example '{"room":"#lobby"}'"##,
                )
            })?;
            if method == "events.subscribe" {
                let hint = "klatch events --json, `events.read`, or the socket itself";
                return Err(Report::usage("a subscription lasts longer than one call", hint));
            }
            let mut session = ctx.session(Need::Network(Network::usual())).await?;
            let result = session.call(&method, params).await?;
            drop(session);
            ctx.finish(method.starts_with("message.")).await;
            ctx.out.json(&result)
        }
    }
}

/// Passes lines between stdin, stdout and the node's socket: whoever starts this program needs to
/// know no path.
async fn stdio(ctx: &Context) -> Result<(), Report> {
    let session = ctx.session(Need::Network(Network::usual())).await?;
    let stream = UnixStream::connect(&session.socket).await.map_err(|_| Report::gone())?;
    // The other connection is not needed; the node lives for this one.
    drop(session);
    let (mut read, mut write) = stream.into_split();
    let (mut stdin, mut stdout) = (tokio::io::stdin(), tokio::io::stdout());
    let asking = async {
        let done = tokio::io::copy(&mut stdin, &mut write).await;
        // The end of input ends the requests; answers and events still come.
        drop(write);
        done
    };
    let answering = async {
        let done = tokio::io::copy(&mut read, &mut stdout).await;
        tokio::io::AsyncWriteExt::flush(&mut stdout).await.and(done)
    };
    tokio::pin!(asking);
    tokio::pin!(answering);
    let mut asked = false;
    loop {
        tokio::select! {
            _ = &mut asking, if !asked => asked = true,
            done = &mut answering => return done.map(|_| ()).map_err(|_| Report::closed_output()),
        }
    }
}

/// Has the node serve HTTP and waits; closes it if this command opened it.
async fn http_until_interrupted(ctx: &Context, address: &str) -> Result<(), Report> {
    let mut session = ctx.session(Need::Network(Network::usual())).await?;
    let stop = interrupted();
    tokio::pin!(stop);
    // The signal is listened for before anybody is told that there is something to end.
    let opened = tokio::select! {
        biased;
        () = &mut stop => return Err(Report::interrupted()),
        opened = session.call("http.open", json!({"address": address})) => opened?,
    };
    ctx.out.either(&opened, || http_line(&opened))?;
    ctx.out.note("Ctrl+C ends it");
    let ended = ctx.asked_to_stop();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            () = &mut stop => break,
            // The node lives in this process, which nobody else would end.
            () = &mut ended => return Err(Report::stopped()),
            () = tokio::time::sleep(LOOK) => drop(session.call("rpc.ping", json!({})).await?),
        }
    }
    session.call("http.close", json!({})).await?;
    drop(session);
    ctx.finish(false).await;
    Ok(())
}

/// Where HTTP is served, for people.
pub fn http_line(opened: &Value) -> String {
    let text = |key: &str| visible(opened[key].as_str().unwrap_or_default());
    format!("{}\ttoken in {}", text("url"), text("token_file"))
}
