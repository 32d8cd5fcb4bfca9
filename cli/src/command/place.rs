//! Finding what `#ROOM|@WHO` names: a room, or the conversation with a person.

use klatch_node::api::nearest;

use super::rooms;
use crate::act::{Here, people};
use crate::client::Session;
use crate::context::Context;
use crate::error::Report;

/// The room or conversation of that name or id; left rooms too. Nothing is opened.
///
/// # Errors
/// Nothing is called so: with the nearest name of a room or a person.
pub async fn find(session: &mut Session, wanted: &str) -> Result<Here, Report> {
    if wanted.starts_with('@') {
        return Ok(Here::with(&people::get(session, wanted).await?.contact));
    }
    let not_found = match rooms::find(session, wanted).await {
        Ok(room) => return Ok(Here::of(&room)),
        Err(report) => report,
    };
    let all = people::contacts(session).await.unwrap_or_default();
    if let Some(contact) = all.iter().find(|c| c.room.to_string() == wanted) {
        return Ok(Here::with(contact));
    }
    // Somebody who forgot the `@`.
    match nearest(wanted, all.iter().map(|c| c.name.as_str())).filter(|_| !wanted.starts_with('#'))
    {
        Some(name) => Err(Report { hint: format!("did you mean @{name}?"), ..not_found }),
        None => Err(not_found),
    }
}

/// Warns before anything is believed of somebody whose keys are not the compared ones.
pub async fn warn(ctx: &Context, session: &mut Session, here: &Here) -> Result<(), Report> {
    if here.direct
        && let Some(text) = people::contacts(session)
            .await?
            .iter()
            .find(|c| c.room == here.room)
            .and_then(people::warning)
    {
        ctx.out.warning(&text);
    }
    Ok(())
}
