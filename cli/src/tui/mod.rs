//! The full screen: rooms, lines, people and a place to write.
//!
//! Four parts, in one direction: `state` is everything that is shown, `fold` changes it by inputs
//! and gives back wishes, `draw` makes a picture of it, `run` waits for inputs and carries wishes
//! out. Only the last one knows a clock, a terminal or a socket; everything else is tested without
//! them.

mod answers;
pub mod bench;
mod chosen;
mod complete;
mod composer;
mod draw;
mod events;
mod fold;
mod info;
mod kept;
mod keys;
mod layout;
mod links;
mod mouse;
mod notify;
mod overlay;
mod overlay_keys;
mod paint;
mod paste;
mod rows;
mod run;
mod sending;
mod settings;
mod state;
pub mod terminal;
#[cfg(test)]
mod tests;
mod text;
mod theme;
mod timeline;
mod typed;
mod vi;

use jiff::tz::TimeZone;

pub use self::draw::help_lines;
use self::kept::Keeper;
pub use self::kept::{forget, forget_draft};
pub use self::run::End;
use self::run::Run;
use self::settings::Settings;
pub use self::settings::{Keymap, Notify};
use self::state::State;
use crate::act::Here;
use crate::args::Screen;
use crate::client::Session;
use crate::context::Context;
use crate::error::Report;

/// What was chosen, before anything is opened: a slip in the file of settings should not cost a
/// room.
pub fn settings(ctx: &Context, screen: &Screen) -> Result<Settings, Report> {
    Settings::read(screen, &ctx.paths.data, ctx.out.is_colored())
}

/// Opens the screen, in that place if one is given, and runs it until the user ends it.
pub async fn open(
    ctx: &Context,
    session: Session,
    here: Option<Here>,
    settings: Settings,
) -> Result<End, Report> {
    let now_ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    let keeper = Keeper::new(&ctx.paths.data, ctx.protected()?);
    let mut state = State::new(settings, (80, 24), now_ms, TimeZone::system());
    state.nonce = crate::client::fresh_key()?;
    state.sealed = ctx.protected()?;
    let kept = keeper.read();
    (state.drafts, state.levels) = (kept.drafts, kept.levels);
    if let Some(here) = here {
        let kind = answers::kind_of(&here);
        // The calls that this wishes for are made again once there is a connection.
        answers::arrive(&mut state, &mut Vec::new(), here.room, &here.name, kind);
        state.asked.clear();
        state.due.refresh = Some(now_ms);
        state.due.members = Some(now_ms);
    }
    Run::open(state, session, keeper).await?.run().await
}
