//! What slash commands do, the same in plain mode and on the full screen. Nothing is printed here:
//! whoever calls shows the lines and follows the effect.
//!
//! Every line of an [`Outcome`] is safe for a terminal: names and texts of others have passed
//! through `output::visible`.

mod find;
pub mod forget;
mod node;
pub mod people;
mod rooms;
mod say;

use klatch_core::command::Reply;
use klatch_core::event::Message;
use klatch_core::ids::{EntryId, RoomId};
use klatch_core::query::{Contact, Host, RoomSummary};
use serde::Serialize;
use serde_json::Value;

pub use self::find::named;
use crate::client::Session;
use crate::error::Report;
use crate::lines::marked;
use crate::output::visible;
use crate::slash::{self, Action};

/// Where the user is: a room, or a conversation with one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// Its id.
    pub room: RoomId,
    /// Its name, with `#` or `@`. Not yet safe for a terminal.
    pub name: String,
    /// A conversation with one person.
    pub direct: bool,
}

impl Here {
    /// The topic under which its events are told.
    pub fn topic(&self) -> String {
        format!("{}/{}/", if self.direct { "dm" } else { "room" }, self.room)
    }

    /// The conversation with a person.
    pub fn with(contact: &Contact) -> Self {
        let name = marked(contact.name.clone(), contact.name_mark.as_deref());
        Self { room: contact.room, name: format!("@{name}"), direct: true }
    }

    /// A room.
    pub fn of(room: &RoomSummary) -> Self {
        let name = marked(room.name.clone(), room.name_mark.as_deref());
        Self { room: room.room, name, direct: false }
    }
}

/// What a line is, so that it can be shown apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// What was asked for.
    Data,
    /// A remark on what was done.
    Note,
    /// Something that must not be overlooked.
    Warning,
}

/// Something to show.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// Text of one or more lines.
    Text {
        /// What it is.
        tone: Tone,
        /// Safe for a terminal.
        text: String,
        /// The same for programs, where it is data.
        json: Option<Value>,
    },
    /// A message found, with its id.
    Found(Box<Message>),
}

/// What follows for whoever shows the chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Stay,
    /// The user is there now. Its lines are to be shown.
    Go(Here),
    /// This place is no longer open; if the user is in it, they are somewhere else now.
    Left(RoomId),
    /// The screen is to be emptied.
    Clear,
    /// To be asked; on yes, this action is carried out.
    Confirm {
        /// Safe for a terminal; ends with a question mark.
        question: String,
        /// On yes.
        action: Box<Action>,
    },
    /// The program ends.
    Quit {
        /// The node is to be stopped as well, even if it runs in the background.
        lock: bool,
    },
}

/// A message that was handed over, as the node answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Where.
    pub room: RoomId,
    /// Its id.
    pub message: EntryId,
    /// Its journal number.
    pub journal: u64,
    /// What.
    pub text: String,
}

/// What an action came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// To be shown, in this order.
    pub shown: Vec<Shown>,
    /// To be followed.
    pub effect: Effect,
    /// The message that was said, whose delivery is of interest.
    pub sent: Option<Sent>,
    /// Something was written that others should get before a node ends.
    pub wrote: bool,
    /// Journal number of what was written; 0 if unknown. Its event will come.
    pub upto: u64,
}

impl Default for Outcome {
    fn default() -> Self {
        Self { shown: Vec::new(), effect: Effect::Stay, sent: None, wrote: false, upto: 0 }
    }
}

impl Outcome {
    fn note(text: impl Into<String>) -> Self {
        Self::default().and(Tone::Note, text)
    }

    /// A remark on what was done, with the same for programs.
    fn done(text: impl Into<String>, json: &impl Serialize) -> Self {
        let json = serde_json::to_value(json).ok();
        Self {
            shown: vec![Shown::Text { tone: Tone::Note, text: text.into(), json }],
            ..Self::default()
        }
    }

    fn effect(effect: Effect) -> Self {
        Self { effect, ..Self::default() }
    }

    fn data(text: impl Into<String>, json: &impl Serialize) -> Self {
        let json = serde_json::to_value(json).ok();
        Self {
            shown: vec![Shown::Text { tone: Tone::Data, text: text.into(), json }],
            ..Self::default()
        }
    }

    /// A line each, or one remark if there is none.
    fn list<T: Serialize>(list: &[T], nothing: &str, mut line: impl FnMut(&T) -> String) -> Self {
        if list.is_empty() {
            return Self::note(nothing);
        }
        let shown = list.iter().map(|one| Shown::Text {
            tone: Tone::Data,
            text: line(one),
            json: serde_json::to_value(one).ok(),
        });
        Self { shown: shown.collect(), ..Self::default() }
    }

    #[must_use]
    fn and(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.shown.push(Shown::Text { tone, text: text.into(), json: None });
        self
    }

    #[must_use]
    fn wrote(mut self) -> Self {
        self.wrote = true;
        self
    }
}

/// Carries out one slash command. `recent` are the messages among which `^` and short ids are
/// looked for, oldest first.
///
/// # Errors
/// What the node or the user got wrong; the chat goes on.
pub async fn act(
    session: &mut Session,
    here: Option<&Here>,
    recent: &[Message],
    action: Action,
) -> Result<Outcome, Report> {
    let action = people::addressed(session, action).await?;
    match action {
        // Has become another one.
        Action::To { .. } => Ok(Outcome::default()),
        Action::Help(command) => {
            let text = visible_help(command.as_deref());
            let json = serde_json::json!({"help": text});
            Ok(Outcome::data(text, &json))
        }
        Action::Clear => Ok(Outcome::effect(Effect::Clear)),
        Action::Quit => {
            let effect = Effect::Quit { lock: false };
            let stays = session.status().await.is_ok_and(|s| s.host == Some(Host::Background));
            let note = "your node runs on in the background, where others still see you; `klatch down` ends it";
            Ok(if stays {
                Outcome { effect, ..Outcome::note(note) }
            } else {
                Outcome::effect(effect)
            })
        }
        Action::Lock => Ok(Outcome::effect(Effect::Quit { lock: true })),
        Action::JoinPrivate(room) => Err(Report::usage(
            "a passphrase is not typed into a line that others may see",
            format!("klatch chat '{}' --passphrase, or the full screen", visible(&room)),
        )),
        Action::Join(_)
        | Action::Leave(_)
        | Action::Rooms
        | Action::Users
        | Action::Mute { .. } => rooms::act(session, here, action).await,
        Action::Forget { place, confirmed } => forget::act(session, here, place, confirmed).await,
        Action::Online
        | Action::Whoami
        | Action::Status
        | Action::Net
        | Action::Connect(_)
        | Action::Doctor
        | Action::Nick(_)
        | Action::Receipts(_)
        | Action::Typing(_)
        | Action::Trace(_) => node::act(session, action).await,
        Action::Contacts
        | Action::Requests
        | Action::Accept { .. }
        | Action::Block { .. }
        | Action::Rename { .. }
        | Action::Verify { .. }
        | Action::Whois(_) => people::act(session, action).await,
        Action::Dm { .. }
        | Action::Broadcast { .. }
        | Action::History(_)
        | Action::Search(_)
        | Action::Reply { .. }
        | Action::Me(_)
        | Action::Edit(_)
        | Action::Delete(_)
        | Action::React { .. }
        | Action::Announce(_) => say::act(session, here, recent, action).await,
    }
}

fn visible_help(command: Option<&str>) -> String {
    crate::output::visible_lines(&slash::help(command))
}

/// The place, or what to do to be in one.
fn in_place(here: Option<&Here>) -> Result<&Here, Report> {
    here.ok_or_else(|| Report::usage("you are in no room", "/join #ROOM, or /dm @WHO"))
}

/// What the node stored.
fn sent(reply: Reply, text: &str) -> Result<Sent, Report> {
    match reply {
        Reply::Stored { message, room, journal, .. } => {
            Ok(Sent { room, message, journal, text: text.to_owned() })
        }
        _ => Err(Report::gone()),
    }
}

/// A name between other words.
fn shown_name(here: &Here) -> String {
    visible(&here.name)
}
