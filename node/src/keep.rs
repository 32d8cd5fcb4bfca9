//! What the API wants to be remembered: notes on their way into the driver's next commit, some of
//! them together with a command.

use std::collections::BTreeMap;

use klatch_core::command::Reply;
use klatch_core::error::CommandError;
use klatch_core::step::CommandId;
use tokio::sync::oneshot;

use crate::store::{Note, Store};

type Notes = dyn FnOnce(&Reply) -> Vec<Note> + Send;

/// Makes notes of what a command came to. They are on disk if and only if its effects are.
pub struct Keep(Box<Notes>);

impl Keep {
    /// Asks for the notes once the reply is known.
    pub fn new(notes: impl FnOnce(&Reply) -> Vec<Note> + Send + 'static) -> Self {
        Self(Box::new(notes))
    }
}

impl std::fmt::Debug for Keep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keep")
    }
}

/// Notes by themselves, and who waits for them.
#[derive(Debug)]
pub struct Noting {
    /// What.
    pub notes: Vec<Note>,
    /// Told when they are on disk.
    pub done: oneshot::Sender<Result<(), CommandError>>,
}

/// What waits for the next commit.
#[derive(Debug, Default)]
pub struct Keeper {
    commands: BTreeMap<CommandId, Keep>,
    waiting: Vec<Noting>,
}

impl Keeper {
    /// Notes that belong to a command.
    pub fn with_command(&mut self, id: CommandId, keep: Option<Keep>) {
        self.commands.extend(keep.map(|keep| (id, keep)));
    }

    /// Notes by themselves.
    pub fn alone(&mut self, noting: Noting) {
        self.waiting.push(noting);
    }

    /// Hands the store what belongs to its next commit; whether there is anything.
    pub fn prepare(
        &mut self,
        store: &mut Store,
        replies: &[(CommandId, Result<Reply, CommandError>)],
    ) -> bool {
        let mut any = false;
        for (id, result) in replies {
            if let (Some(Keep(keep)), Ok(reply)) = (self.commands.remove(id), result) {
                any = true;
                keep(reply).into_iter().for_each(|note| store.note(note));
            }
        }
        for noting in &self.waiting {
            any = true;
            noting.notes.iter().for_each(|note| store.note(note.clone()));
        }
        any
    }

    /// The commit is done, or was refused with these words.
    pub fn settle(&mut self, refused: Option<&str>) {
        for noting in self.waiting.drain(..) {
            let result = refused
                .map_or(Ok(()), |cause| Err(CommandError::ReadOnly { cause: cause.to_owned() }));
            // Who asked may have gone.
            let _ = noting.done.send(result);
        }
    }

    /// A command was answered without a commit.
    pub fn forget(&mut self, id: CommandId) {
        self.commands.remove(&id);
    }
}
