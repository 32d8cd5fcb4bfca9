//! `klatch peer`: addresses at which the running node looks for others. A node inside a command
//! would be gone before anybody answers, so none is started.

use serde_json::{Value, json};

use super::status;
use crate::args::Peer;
use crate::context::Context;
use crate::error::Report;
use crate::lines::count;
use crate::output::visible;

/// Does what was asked for.
pub async fn run(ctx: &Context, args: Peer) -> Result<(), Report> {
    let mut session = ctx.attach().await?;
    let (method, address) = match args {
        Peer::List => {
            let status = session.status().await?;
            let both = json!({"connected": status.peers, "wanted": status.wanted});
            return ctx.out.either(&both, || {
                let mut text = status::peers(&status);
                for line in status.wanted.iter().map(status::wanted) {
                    text.push_str(&format!("\nwanted    {line}"));
                }
                text
            });
        }
        Peer::Add { address } => ("peer.add", address),
        Peer::Forget { address } => ("peer.forget", address),
    };
    let status = session.status().await?;
    // One that is on this machine is reached all the same.
    let here = |a: &str| a.starts_with("/ip4/127.") || a.starts_with("/ip6/::1/");
    let offline = |a: &str| status.families.is_empty() && !status.loopback_only && !here(a);
    let done: Value = session.call(method, json!({"address": address})).await?;
    ctx.out.either(&done, || {
        let address = visible(done["address"].as_str().unwrap_or_default());
        match method {
            "peer.add" => format!(
                "looking for {address}; `klatch peer list` shows how it goes. {}",
                if offline(&address) {
                    "This machine is in no network now: it waits for one"
                } else {
                    "Once it has answered it is remembered"
                }
            ),
            _ => match done["forgotten"].as_u64().unwrap_or_default() {
                0 => format!("{address} is no longer looked for"),
                n => format!(
                    "{address} is no longer looked for; {} of whoever is there forgotten",
                    count(n as usize, "address")
                ),
            },
        }
    })
}
