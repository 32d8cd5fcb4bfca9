//! A naive chat with one central list, as anybody would write it in an hour: it sees the same
//! commands as the real nodes and must show the same messages. It knows nothing of logs, clocks,
//! sync or keys.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::Command;
use crate::content::Kind;
use crate::event::Message;
use crate::ids::{DeviceId, EntryId, RoomId};

/// A message as the model keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Who wrote it.
    pub author: DeviceId,
    /// Text or notice.
    pub kind: Kind,
    /// Its present text; empty once deleted.
    pub text: String,
    /// The message answered.
    pub reply_to: Option<EntryId>,
    /// Changed by its author.
    pub edited: bool,
    /// Withdrawn by its author.
    pub deleted: bool,
    /// Emoji and who put them.
    pub reactions: BTreeSet<(String, DeviceId)>,
}

/// All rooms.
#[derive(Debug, Default)]
pub struct Chat {
    rooms: BTreeMap<RoomId, BTreeMap<EntryId, Line>>,
    names: BTreeMap<DeviceId, String>,
}

impl Chat {
    /// `author` did this in `room`; `id` is the name that a new message was given.
    pub fn apply(&mut self, room: RoomId, author: DeviceId, id: EntryId, command: &Command) {
        let lines = self.rooms.entry(room).or_default();
        let line = |kind, text: &String, reply_to| Line {
            author,
            kind,
            text: text.clone(),
            reply_to,
            edited: false,
            deleted: false,
            reactions: BTreeSet::new(),
        };
        match command {
            Command::SendMessage { text, reply_to, .. } => {
                lines.insert(id, line(Kind::Text, text, *reply_to));
            }
            Command::SendNotice { text, .. } => {
                lines.insert(id, line(Kind::Notice, text, None));
            }
            Command::EditMessage { message, text, .. } => {
                if let Some(line) = lines.get_mut(message).filter(|l| !l.deleted) {
                    line.text.clone_from(text);
                    line.edited = true;
                }
            }
            Command::DeleteMessage { message, .. } => {
                if let Some(line) = lines.get_mut(message) {
                    line.text.clear();
                    line.reply_to = None;
                    line.deleted = true;
                    // An edit that was deleted before it left never comes.
                    line.edited = false;
                    line.reactions.clear();
                }
            }
            Command::React { message, emoji, on, .. } => {
                if let Some(line) = lines.get_mut(message).filter(|l| !l.deleted) {
                    let mark = (emoji.clone(), author);
                    if *on {
                        line.reactions.insert(mark)
                    } else {
                        line.reactions.remove(&mark)
                    };
                }
            }
            _ => {}
        }
    }

    /// Somebody has a new name.
    pub fn named(&mut self, device: DeviceId, name: &str) {
        self.names.insert(device, name.to_owned());
    }

    /// The name of a device.
    #[must_use]
    pub fn name(&self, device: &DeviceId) -> Option<&str> {
        self.names.get(device).map(String::as_str)
    }

    /// Messages of a room.
    #[must_use]
    pub fn len(&self, room: RoomId) -> usize {
        self.rooms.get(&room).map_or(0, BTreeMap::len)
    }

    /// Compares what a node shows with this chat; `honest` tells whose messages the chat has seen.
    ///
    /// # Errors
    /// The first difference, in words.
    pub fn compare(
        &self,
        room: RoomId,
        shown: &[Message],
        honest: impl Fn(&DeviceId) -> bool,
    ) -> Result<(), String> {
        let empty = BTreeMap::new();
        let lines = self.rooms.get(&room).unwrap_or(&empty);
        let mut found = 0;
        for message in shown
            .iter()
            .filter(|m| matches!(m.kind, Kind::Text | Kind::Notice) && honest(&m.device))
        {
            let line = lines
                .get(&message.id)
                .ok_or_else(|| format!("shows {:?}, which nobody wrote", message.text))?;
            let seen = Line {
                author: message.device,
                kind: message.kind,
                text: message.text.clone(),
                reply_to: message.reply_to,
                edited: message.edited && !message.deleted,
                deleted: message.deleted,
                reactions: reactions(message).filter(|(_, device)| honest(device)).collect(),
            };
            if seen != *line || message.missing {
                return Err(format!(
                    "shows {seen:?} (missing: {}), the model has {line:?}",
                    message.missing
                ));
            }
            found += 1;
        }
        if found == lines.len() {
            Ok(())
        } else {
            Err(format!("shows {found} of {} messages", lines.len()))
        }
    }
}

fn reactions(message: &Message) -> impl Iterator<Item = (String, DeviceId)> + '_ {
    message.reactions.iter().flat_map(|r| r.devices.iter().map(|d| (r.emoji.clone(), *d)))
}
