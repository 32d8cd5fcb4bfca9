//! Own messages on their way to the node: started in the order typed, several at a time, so that a
//! pipe gets group commit.

use std::collections::BTreeMap;

use klatch_core::command::Reply;
use klatch_core::ids::{EntryId, RoomId};
use serde_json::json;

use crate::client::Client;
use crate::error::Report;

/// Messages in work. The node commits about a hundred at once; more would only hide errors for
/// longer.
const IN_WORK_MAX: usize = 64;

/// A message that was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Where.
    pub room: RoomId,
    /// What.
    pub text: String,
    /// The message answered.
    pub reply_to: Option<EntryId>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its id.
    pub message: EntryId,
    /// Its journal number.
    pub journal: u64,
}

/// The connection for messages.
#[derive(Debug)]
pub struct Sending {
    client: Client,
    waiting: BTreeMap<u64, Said>,
}

impl Sending {
    /// Over a connection of its own: its answers come as they come.
    pub fn new(client: Client) -> Self {
        Self { client, waiting: BTreeMap::new() }
    }

    /// Whether another message may be started.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < IN_WORK_MAX
    }

    /// Whether everything is answered.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Hands a message to the node.
    pub async fn start(&mut self, said: Said) -> Result<(), Report> {
        let params = json!({"room": said.room, "text": said.text, "reply_to": said.reply_to});
        let id = self.client.begin("message.send", params).await?;
        self.waiting.insert(id, said);
        Ok(())
    }

    /// The next message that is on disk or was refused. Only when something is in work; may be
    /// dropped and called again.
    pub async fn next(&mut self) -> Result<(Said, Result<Stored, Report>), Report> {
        loop {
            let (id, outcome) = self.client.answer().await?;
            let Some(said) = id.and_then(|id| self.waiting.remove(&id)) else {
                outcome?;
                continue;
            };
            let stored = outcome.and_then(|value| match serde_json::from_value(value) {
                Ok(Reply::Stored { message, journal, .. }) => Ok(Stored { message, journal }),
                _ => Err(Report::gone()),
            });
            return Ok((said, stored));
        }
    }
}
