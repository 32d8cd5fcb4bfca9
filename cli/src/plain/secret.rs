//! `/join #ROOM --passphrase` in plain mode: the next line is a passphrase, and is not shown.

use klatch_core::command::Reply;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::{Next, Pending, Plain};
use crate::act::Here;
use crate::command::join;
use crate::error::Report;
use crate::output::visible;
use crate::words;

/// What is typed is not shown until this is dropped.
#[derive(Debug)]
pub(super) struct Hidden(Termios);

impl Hidden {
    fn begin() -> rustix::io::Result<Self> {
        // Another thread reads there, which is no hindrance.
        let input = std::io::stdin();
        let before = tcgetattr(&input)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        // The line break is: otherwise the answer would stand behind the question.
        hidden.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(&input, OptionalActions::Now, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

impl Plain<'_> {
    /// Asks for the passphrase of a room.
    pub(super) fn ask_passphrase(&mut self, room: String) -> Result<Next, Report> {
        let hidden = Hidden::begin().map_err(|e| {
            let hint = format!("klatch chat '{}' --passphrase", visible(&room));
            Report::usage(format!("cannot ask for a passphrase: {e}"), hint)
        })?;
        self.out.note(&format!("* passphrase of {}, which is not shown:", visible(&room)));
        self.pending = Some(Pending::Passphrase(room, hidden));
        Ok(Next::GoOn)
    }

    /// The passphrase was typed.
    pub(super) async fn join_private(&mut self, room: &str, line: &str) -> Result<Next, Report> {
        let secret = line.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            self.out.note("* not joined");
            self.say_where();
            return Ok(Next::GoOn);
        }
        let reply = join::open(&mut self.session, "room.join", room, Some(secret.to_owned()));
        let done = match reply.await {
            Ok(Reply::Joined { room, name, already }) => {
                self.wrote |= !already;
                self.out.note(&format!(
                    "* you are in {} now; whoever has the same passphrase sees the words: {}",
                    visible(&name),
                    words::of_room(&room)
                ));
                self.go(Here { room, name, direct: false });
                Ok(Next::GoOn)
            }
            Ok(_) => Err(Report::gone()),
            Err(report) => Err(report),
        };
        self.forgive_move(done)
    }
}
