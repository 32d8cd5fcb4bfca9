//! A change of room that was refused: what was written for the new room must not go to the old one.

use std::time::Duration;

use tokio::time::Instant;

use super::{Next, Plain};
use crate::error::Report;
use crate::output::visible;

/// Nobody reads an error and types a line in this time: what comes sooner was pasted with the
/// command, or typed ahead.
const TYPED_AHEAD: Duration = Duration::from_millis(500);

/// The user wanted to be somewhere else, and is not.
#[derive(Debug)]
pub(super) struct Unmoved {
    /// Lines until then were written before the error could be read.
    until: Instant,
    /// It was said that they are not sent; once is enough for a long paste.
    said: bool,
}

impl Plain<'_> {
    /// As [`Plain::forgive`], for what should have changed the place.
    pub(super) fn forgive_move(&mut self, done: Result<Next, Report>) -> Result<Next, Report> {
        let failed = done.is_err();
        let next = self.forgive(done)?;
        Ok(if failed { self.not_moved() } else { next })
    }

    /// A script ends here: all that follows was written for somewhere else. A person sees where
    /// they still are.
    pub(super) fn not_moved(&mut self) -> Next {
        self.unmoved = Some(Unmoved { until: Instant::now() + TYPED_AHEAD, said: false });
        if !self.typist {
            return Next::Quit;
        }
        self.say_where();
        Next::GoOn
    }

    /// There is no prompt that would name the room.
    pub(super) fn say_where(&self) {
        let now = self.here.as_ref().map_or_else(
            || "you are in no room".to_owned(),
            |h| format!("you are still in {}: what you type goes there", visible(&h.name)),
        );
        self.out.note(&format!("* {now}"));
    }

    /// Whether a line was written before it could be known that the place is still the old one. It
    /// is not sent, which is said.
    pub(super) fn is_typed_ahead(&mut self) -> bool {
        let Some(unmoved) = &mut self.unmoved else { return false };
        let now = Instant::now();
        if now >= unmoved.until {
            self.unmoved = None;
            return false;
        }
        unmoved.until = now + TYPED_AHEAD;
        if !std::mem::replace(&mut unmoved.said, true) {
            self.refuse(
                "what was typed ahead is not sent: it was meant for somewhere else",
                "type it again where it belongs",
            );
        }
        true
    }
}
