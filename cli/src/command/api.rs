//! `klatch api`: any method of the node, for scripts.

use klatch_node::api::{nearest, registry::discover};
use serde_json::Value;

use crate::args::{Api, Network};
use crate::context::{Context, Need};
use crate::error::Report;

/// Calls a method, or lists them all.
pub async fn run(ctx: &Context, args: Api) -> Result<(), Report> {
    match args {
        Api::Spec => ctx.out.json(&discover()),
        Api::Call { method, params } => {
            let params: Value = serde_json::from_str(&params).map_err(|e| {
                Report::usage(format!("the parameters are not JSON: {e}"), r##"for example '{"room":"#lobby"}'"##)
            })?;
            if method.starts_with("events.") {
                let hint = "klatch log '#room' --follow --json, or the socket itself";
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

/// Used by help: the nearest of our own topics.
pub fn near<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> String {
    nearest(word, words).map_or_else(|| "`klatch --help` lists all".to_owned(), |n| format!("did you mean `{n}`?"))
}
