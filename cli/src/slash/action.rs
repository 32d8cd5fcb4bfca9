//! What a slash command asks for, as values. Rooms, people and messages are named as typed: whoever
//! carries an action out finds them.

/// One wish of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The table, or one row of it.
    Help(Option<String>),
    /// Open a room and talk there.
    Join(String),
    /// Open a room with a passphrase, which is asked for out of sight.
    JoinPrivate(String),
    /// Leave the current or the named room.
    Leave(Option<String>),
    /// Leave the current or the named room, or close the conversation, and keep nothing of it.
    Forget {
        /// `#room` or `@WHO`; where the user is without it.
        place: Option<String>,
        /// What is lost was told and the user said yes.
        confirmed: bool,
    },
    /// List rooms.
    Rooms,
    /// List the members of the current room.
    Users,
    /// List connected peers.
    Online,
    /// Something about the person named at the front of a line: only the node knows where the name
    /// ends.
    To {
        /// `@WHO ...`.
        line: String,
        /// What is done then.
        then: Then,
    },
    /// Talk with one person: go there, or only say something to them.
    Dm {
        /// Whom.
        who: String,
        /// What, if it is said from here.
        text: Option<String>,
    },
    /// Say something in every room.
    Broadcast {
        /// What.
        text: String,
        /// The rooms were named and the user said yes.
        confirmed: bool,
    },
    /// Show old lines, with their ids.
    History(u32),
    /// Show lines with these words.
    Search(String),
    /// Answer a message.
    Reply {
        /// Which.
        message: String,
        /// What.
        text: String,
    },
    /// Say what one does, in the third person.
    Me(String),
    /// `[MESSAGE] TEXT`: only the memory of recent messages can tell whether the first word names
    /// one.
    Edit(String),
    /// Delete a message.
    Delete(String),
    /// Put an emoji on a message, or take it off.
    React {
        /// Which.
        message: String,
        /// The emoji.
        emoji: String,
        /// On or off.
        on: bool,
    },
    /// Say something apart from conversation.
    Announce(String),
    /// Change the own name.
    Nick(String),
    /// Hide or show a member.
    Mute {
        /// Name or device.
        who: String,
        /// Hide or show.
        muted: bool,
    },
    /// The people one talks with.
    Contacts,
    /// Strangers who wrote and wait for an answer.
    Requests,
    /// Keep a person as a contact.
    Accept {
        /// Whom.
        who: String,
        /// The own name for them.
        name: Option<String>,
    },
    /// Take nothing from a person any more, or take it again.
    Block {
        /// Whom.
        who: String,
        /// Block or unblock.
        blocked: bool,
    },
    /// The own name for a person; `None` goes back to theirs.
    Rename {
        /// Whom.
        who: String,
        /// How.
        name: Option<String>,
    },
    /// Show the codes to compare, or remember the outcome.
    Verify {
        /// Whom.
        who: String,
        /// Equal, different, or not compared yet.
        equal: Option<bool>,
    },
    /// Everything about a person.
    Whois(String),
    /// The way to a person, and how long it takes.
    Trace(String),
    /// Whether others are told when their direct messages were read; `None` asks.
    Receipts(Option<bool>),
    /// Whether others are told when one is writing to them; `None` asks.
    Typing(Option<bool>),
    /// The own name and keys.
    Whoami,
    /// What the node is doing.
    Status,
    /// Addresses and connections.
    Net,
    /// Look for a node at this address.
    Connect(String),
    /// What is wrong, and what helps.
    Doctor,
    /// Empty the screen; nothing is forgotten.
    Clear,
    /// Stop the node, so that no key stays in memory, and end the program.
    Lock,
    /// End the program.
    Quit,
}

impl Action {
    /// Whether what is typed next is meant for another place once this is done. `/dm` with a text
    /// stays where it is, but only the node knows where the name ends and the text begins.
    pub fn moves(&self) -> bool {
        matches!(
            self,
            Self::Join(_)
                | Self::JoinPrivate(_)
                | Self::Leave(_)
                | Self::Forget { .. }
                | Self::Dm { text: None, .. }
                | Self::To { then: Then::Dm, .. }
        )
    }
}

/// What a command does with the person that it names, and with the rest of its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// [`Action::Dm`].
    Dm,
    /// [`Action::Accept`].
    Accept,
    /// [`Action::Rename`].
    Rename,
    /// [`Action::Verify`].
    Verify,
}
