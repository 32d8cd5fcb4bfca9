//! `klatch leave`.

use serde_json::json;

use super::rooms;
use crate::args::Network;
use crate::context::{Context, Need};
use crate::error::Report;
use crate::output::visible;

/// Leaves a room. Others are told, so this needs the network.
pub async fn run(ctx: &Context, room: &str) -> Result<(), Report> {
    let mut session = ctx.session(Need::Network(Network::usual())).await?;
    let found = rooms::find(&mut session, room).await?;
    session.call("room.leave", json!({"room": found.room})).await?;
    drop(session);
    ctx.finish(true).await;
    ctx.out.either(&json!({"room": found.room, "name": found.name, "left": true}), || {
        format!("left {}; its history is kept", visible(&found.name))
    })
}
