//! Whose fault is it: the user's ([`CommandError`], says what to do) or the peer's ([`Reject`], a
//! verdict and a counter). Our own faults are neither: they stop the node before damage spreads.

use serde::{Deserialize, Serialize};

use crate::cbor::DecodeError;
use crate::limits::NAME_BYTES_MAX;

/// A command that cannot be done. The text says what failed; [`CommandError::hint`] what to try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CommandError {
    /// The room is not joined.
    #[error("there is no room {room} here")]
    UnknownRoom {
        /// As asked for.
        room: String,
        /// A similar name that is joined.
        nearest: Option<String>,
    },
    /// Several rooms have that name.
    #[error("{room} could be {}", candidates.join(" or "))]
    AmbiguousRoom {
        /// As asked for.
        room: String,
        /// Their names with marks, with ids and what else tells them apart.
        candidates: Vec<String>,
        /// How each is typed.
        typed: Vec<String>,
    },
    /// Not a room name.
    #[error("`{room}` is not a room name")]
    BadRoomName {
        /// As asked for.
        room: String,
    },
    /// It has the form of an id: a room of that name could be taken for another one.
    #[error("`{room}` has the form of an id, so no room can be called like that")]
    RoomNameIsId {
        /// As asked for.
        room: String,
    },
    /// Nearly the form of an id: somebody meant a room that is there, and would open another one, in
    /// public.
    #[error(
        "`{room}` looks like a part of an id, or one with a slip in it, so no room is opened under \
         that name"
    )]
    RoomNameLikeId {
        /// As asked for.
        room: String,
        /// The id that is meant, if it is near enough to one that is here.
        nearest: Option<String>,
    },
    /// Named by its mark, and left: the passphrase is not kept.
    #[error("{room} has a passphrase, and you left it")]
    RoomHasPassphrase {
        /// Its name.
        room: String,
    },
    /// Not a display name.
    #[error("`{name}` cannot be a name: {fault}")]
    BadName {
        /// As asked for, with what cannot be seen in it made visible.
        name: String,
        /// Which rule it breaks.
        fault: NameFault,
    },
    /// Nothing to say.
    #[error("the text is empty")]
    EmptyText,
    /// Nothing to look for.
    #[error("there is no word to look for")]
    NoWords,
    /// Too much to say at once.
    #[error("the text has {bytes} bytes, at most {max} are possible")]
    TextTooLong {
        /// Its size.
        bytes: u64,
        /// The cap.
        max: u64,
    },
    /// Not an emoji, or too long.
    #[error("that is not an emoji")]
    BadEmoji,
    /// No such message.
    #[error("there is no message {message} in that room")]
    UnknownMessage {
        /// As asked for.
        message: String,
    },
    /// Its author deleted it: there is nothing left to change or to put an emoji on.
    #[error("message {message} was deleted")]
    DeletedMessage {
        /// As asked for.
        message: String,
    },
    /// Only the author may do that.
    #[error("only its author can change that message")]
    NotYours,
    /// No such device.
    #[error("there is no such member in that room")]
    UnknownMember,
    /// Nobody of that name is known.
    #[error("nobody here is known as {who}")]
    UnknownPerson {
        /// As asked for.
        who: String,
        /// A similar name that is known.
        nearest: Option<String>,
    },
    /// Several people answer to that name.
    #[error("{who} could be {}", candidates.join(" or "))]
    AmbiguousPerson {
        /// As asked for.
        who: String,
        /// Names with fingerprints.
        candidates: Vec<String>,
        /// How each is typed.
        typed: Vec<String>,
    },
    /// A line begins with the names of several people.
    #[error("that could be for {}", candidates.join(" or "))]
    SeveralNames {
        /// The names as they are to be typed.
        candidates: Vec<String>,
    },
    /// A conversation with oneself.
    #[error("that is you")]
    Yourself,
    /// The person is blocked.
    #[error("{who} is blocked")]
    BlockedPerson {
        /// As asked for.
        who: String,
    },
    /// Nothing to compare: neither side has shown the other its keys yet.
    #[error("the keys of {who} are not known yet")]
    NoKeysYet {
        /// As asked for.
        who: String,
    },
    /// Not possible in a conversation with one person, or only there.
    #[error("that cannot be done in {room}")]
    WrongPlace {
        /// As asked for.
        room: String,
    },
    /// More is queued than may be.
    #[error("{queued} messages wait to be sent")]
    TooFast {
        /// How many.
        queued: u64,
    },
    /// As much waits for somebody who is away as may.
    #[error("{queued} messages wait for {who} already: that is as much as is kept for one person")]
    QueueFull {
        /// As the user calls them.
        who: String,
        /// How many.
        queued: u64,
    },
    /// As much waits for people who are away as may in all.
    #[error("what waits for people who are away takes all its space, most of it for {who}")]
    QueuesFull {
        /// For whom most of it is.
        who: String,
    },
    /// As many strangers wait for the user's decision as may.
    #[error("{waiting} people wait for your answer already")]
    TooManyRequests {
        /// How many.
        waiting: u64,
    },
    /// Too many rooms.
    #[error("this profile is in {max} rooms already")]
    TooManyRooms {
        /// The cap.
        max: u64,
    },
    /// The device's own chain is known elsewhere to be longer than here (a restored backup or a
    /// cloned machine).
    #[error(
        "this device wrote messages that are not on this disk; writing on would fork its history"
    )]
    DeviceBehind,
    /// The room was forgotten and opened again: how far this device had written there must be known
    /// first, or its history would fork.
    #[error("what you wrote in {room} before you forgot it has not come back from a member yet")]
    NotBackYet {
        /// Its name.
        room: String,
    },
    /// The store cannot write.
    #[error("the disk refuses writes: {cause}")]
    ReadOnly {
        /// What the system said.
        cause: String,
    },
    /// The store cannot be read.
    #[error("history cannot be read: {cause}")]
    ReadFailed {
        /// What the store said.
        cause: String,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// Which rule a display name breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum NameFault {
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// More bytes than are sent.
    #[error("it has {bytes} bytes, and {NAME_BYTES_MAX} are the most")]
    TooLong {
        /// How many.
        bytes: u64,
    },
    /// White space around it.
    #[error("it begins or ends with a space")]
    Untrimmed,
    /// A control, direction or invisible character.
    #[error("there is a character in it that cannot be seen (U+{:04X})", u32::from(*sign))]
    Unsafe {
        /// Which.
        sign: char,
    },
    /// Made of characters without ink.
    #[error("nothing of it can be seen")]
    Unseen,
    /// Room or person could be taken for another.
    #[error("it has the form of an id")]
    Id,
    /// `bob~ABCD`.
    #[error("it looks like a name with the mark of a person behind it")]
    Mark,
    /// `ABCD-EFGH-IJKL-MNOP`.
    #[error("it looks like a fingerprint")]
    Fingerprint,
    /// `you`, `all`, `klatch`.
    #[error("that word means somebody else already, or everybody, or this program")]
    Word,
    /// At the front it belongs to the lines of the program, or of lists.
    #[error("it begins with `{sign}`")]
    First {
        /// Which.
        sign: char,
    },
    /// A sign by which the program tells names from what is not a name.
    #[error("there is a `{sign}` in it")]
    Sign {
        /// Which.
        sign: char,
    },
}

impl NameFault {
    fn hint(self) -> String {
        match self {
            Self::Empty => "write a name, such as alice".to_owned(),
            Self::TooLong { .. } => {
                "choose a shorter one; letters with accents count as 2 bytes, emoji as 4 or more"
                    .to_owned()
            }
            Self::Untrimmed => "leave out the spaces around it".to_owned(),
            Self::Unsafe { .. } => "type it by hand, instead of pasting it".to_owned(),
            Self::Unseen => "put a letter, a digit or an emoji in it".to_owned(),
            Self::Id => "choose a name that is no id".to_owned(),
            Self::Mark => "leave out the `~` and what follows it".to_owned(),
            Self::Fingerprint => "make it longer or shorter than 16 letters and digits".to_owned(),
            Self::Word => "choose a name that is yours alone".to_owned(),
            Self::First { sign } => format!("leave out the `{sign}` at the front"),
            Self::Sign { sign } => format!("leave out the `{sign}`"),
        }
    }
}

impl CommandError {
    /// A stable code for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownRoom { .. } => "KLATCH-ROOM-NOT-FOUND",
            Self::AmbiguousRoom { .. } => "KLATCH-AMBIGUOUS",
            Self::BadRoomName { .. } | Self::RoomNameIsId { .. } | Self::RoomNameLikeId { .. } => {
                "KLATCH-ROOM-NAME"
            }
            Self::RoomHasPassphrase { .. } => "KLATCH-ROOM-PRIVATE",
            Self::BadName { .. } => "KLATCH-NAME",
            Self::EmptyText => "KLATCH-TEXT-EMPTY",
            Self::NoWords => "KLATCH-SEARCH-EMPTY",
            Self::TextTooLong { .. } => "KLATCH-TEXT-TOO-LONG",
            Self::BadEmoji => "KLATCH-EMOJI",
            Self::UnknownMessage { .. } => "KLATCH-MESSAGE-NOT-FOUND",
            Self::DeletedMessage { .. } => "KLATCH-MESSAGE-DELETED",
            Self::NotYours => "KLATCH-NOT-YOURS",
            Self::UnknownMember => "KLATCH-MEMBER-NOT-FOUND",
            Self::UnknownPerson { .. } => "KLATCH-PERSON-NOT-FOUND",
            Self::AmbiguousPerson { .. } | Self::SeveralNames { .. } => "KLATCH-PERSON-AMBIGUOUS",
            Self::Yourself => "KLATCH-YOURSELF",
            Self::BlockedPerson { .. } => "KLATCH-PERSON-BLOCKED",
            Self::NoKeysYet { .. } => "KLATCH-NO-KEYS",
            Self::WrongPlace { .. } => "KLATCH-WRONG-PLACE",
            Self::TooFast { .. } => "KLATCH-TOO-FAST",
            Self::QueueFull { .. } | Self::QueuesFull { .. } => "KLATCH-QUEUE-FULL",
            Self::TooManyRequests { .. } => "KLATCH-TOO-MANY-REQUESTS",
            Self::TooManyRooms { .. } => "KLATCH-TOO-MANY-ROOMS",
            Self::DeviceBehind => "KLATCH-DEVICE-BEHIND",
            Self::NotBackYet { .. } => "KLATCH-NOT-BACK-YET",
            Self::ReadOnly { .. } => "KLATCH-READ-ONLY",
            Self::ReadFailed { .. } => "KLATCH-READ-FAILED",
            Self::Stopping => "KLATCH-STOPPING",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::UnknownRoom { nearest: Some(near), .. } if near.starts_with('@') => {
                format!("did you mean {near}?")
            }
            Self::UnknownRoom { nearest: Some(near), .. } => format!("did you mean {near}? `klatch rooms` lists all"),
            Self::UnknownRoom { room, nearest: None } if crate::names::is_id(room) => {
                "`klatch rooms --json` lists the ids of your rooms".to_owned()
            }
            Self::UnknownRoom { room, nearest: None } => match crate::names::normalise(room) {
                Ok(room) => format!("`klatch join '{room}'` opens it"),
                Err(_) => "`klatch rooms` lists yours".to_owned(),
            },
            Self::BadRoomName { .. } => {
                "1 to 64 bytes: letters, digits, `-`, `_`, `.`; for example '#garden'".to_owned()
            }
            Self::RoomNameIsId { .. } => {
                "choose another name; `klatch rooms --json` shows the ids of your rooms".to_owned()
            }
            Self::RoomNameLikeId { nearest: Some(id), .. } => format!("did you mean {id}?"),
            Self::RoomNameLikeId { nearest: None, .. } => {
                "open it by its name; `klatch rooms --json` shows the ids of your rooms".to_owned()
            }
            Self::RoomHasPassphrase { room } => {
                format!("`klatch join '{room}' --passphrase` asks for it")
            }
            Self::BadName { fault, .. } => fault.hint(),
            Self::EmptyText => "write something".to_owned(),
            Self::NoWords => "name a word, a number or an emoji".to_owned(),
            Self::TextTooLong { .. } => "split it into several messages".to_owned(),
            Self::BadEmoji => "one emoji, such as 👍, or its short name, such as :thumbsup:".to_owned(),
            Self::UnknownMessage { .. } => "`klatch log ROOM --json` shows message ids".to_owned(),
            Self::DeletedMessage { .. } => "`klatch log ROOM` shows the messages that are left".to_owned(),
            Self::NotYours => "you can reply to it or react to it".to_owned(),
            Self::UnknownMember => "`klatch members ROOM` lists them".to_owned(),
            Self::UnknownPerson { nearest: Some(near), .. } => {
                format!("did you mean @{near}? `klatch contact list` and `klatch members ROOM` list people")
            }
            Self::UnknownPerson { nearest: None, .. } => {
                "people are known from the rooms you share: `klatch members ROOM` lists them".to_owned()
            }
            Self::AmbiguousRoom { typed, .. } | Self::AmbiguousPerson { typed, .. } => {
                format!("say which: {}", typed.join(" or "))
            }
            Self::SeveralNames { .. } => {
                "nothing was done; put the name that you mean in quotes".to_owned()
            }
            Self::Yourself => "name somebody else".to_owned(),
            Self::BlockedPerson { who } => {
                format!("`klatch contact unblock @{}` first", who.trim_start_matches('@'))
            }
            Self::NoKeysYet { who } => {
                format!("keys come with the first message: `klatch send @{} hello`", who.trim_start_matches('@'))
            }
            Self::WrongPlace { .. } => "`klatch help` tells what a command is for".to_owned(),
            Self::TooFast { .. } => "wait a moment and send again".to_owned(),
            Self::QueueFull { who, .. } | Self::QueuesFull { who } => format!(
                "it leaves once {who} is connected; deleting some of it makes room, and \
                 `klatch contact forget {who}` gives all of it up"
            ),
            Self::TooManyRequests { .. } => {
                "answer or block some of them first: `klatch contact requests` lists them".to_owned()
            }
            Self::TooManyRooms { .. } => "leave a room first: `klatch leave ROOM`".to_owned(),
            Self::DeviceBehind => {
                "this home was restored from an old copy: start a fresh one with `klatch --profile NEW init`".to_owned()
            }
            Self::NotBackYet { .. } => {
                "send again once a member is connected: `klatch wait peer`".to_owned()
            }
            Self::ReadOnly { .. } => {
                "free some space, or make the disk writable; history can still be read and nothing \
                 is lost"
                    .to_owned()
            },
            Self::ReadFailed { .. } => "check the disk, then restart the node: `klatch down`, `klatch up`".to_owned(),
            Self::Stopping => "start it again with `klatch up`".to_owned(),
        }
    }

    /// Whether the same command may succeed later without any change.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            Self::TooFast { .. }
                | Self::QueueFull { .. }
                | Self::QueuesFull { .. }
                | Self::NotBackYet { .. }
                | Self::ReadOnly { .. }
                | Self::Stopping
        )
    }

    /// The process exit code for this error (the table of `klatch help exit-codes`).
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::UnknownRoom { .. }
            | Self::UnknownMessage { .. }
            | Self::DeletedMessage { .. }
            | Self::UnknownMember
            | Self::UnknownPerson { .. } => 3,
            Self::AmbiguousRoom { .. }
            | Self::SeveralNames { .. }
            | Self::BadRoomName { .. }
            | Self::RoomNameIsId { .. }
            | Self::RoomNameLikeId { .. }
            | Self::RoomHasPassphrase { .. }
            | Self::BadName { .. }
            | Self::EmptyText
            | Self::NoWords
            | Self::TextTooLong { .. }
            | Self::BadEmoji
            | Self::AmbiguousPerson { .. }
            | Self::Yourself
            | Self::WrongPlace { .. }
            | Self::TooManyRequests { .. }
            | Self::TooManyRooms { .. } => 2,
            Self::NotYours | Self::BlockedPerson { .. } | Self::NoKeysYet { .. } => 7,
            Self::TooFast { .. }
            | Self::QueueFull { .. }
            | Self::QueuesFull { .. }
            | Self::NotBackYet { .. } => 6,
            Self::DeviceBehind | Self::ReadOnly { .. } | Self::ReadFailed { .. } => 1,
            Self::Stopping => 5,
        }
    }
}

/// Why something a peer sent was refused. Never a panic, never lost data: a counter, and for most a
/// worse opinion of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    /// Bytes that are no valid structure.
    #[error("decode: {0}")]
    Decode(#[from] DecodeError),
    /// A topic or epoch this node is not in.
    #[error("unknown room")]
    UnknownRoom,
    /// An authentication tag or padding is wrong.
    #[error("cannot be opened")]
    Open,
    /// A signature is wrong.
    #[error("bad signature")]
    Signature,
    /// A body does not match its header.
    #[error("body does not match")]
    Body,
    /// Entries of a run do not follow one another.
    #[error("broken run")]
    Run,
    /// Lamport clock, first entry, or another rule of the log is violated.
    #[error("breaks a rule of the log")]
    Rule,
    /// A second entry in one place of a chain.
    #[error("fork")]
    Fork,
    /// More than this device or peer may send.
    #[error("too much")]
    Rate,
    /// No place for another device chain.
    #[error("room is full")]
    Full,
    /// Membership was not proved.
    #[error("no proof of membership")]
    Proof,
    /// Known already: no fault.
    #[error("known already")]
    Duplicate,
    /// Too old or from the future beyond reason.
    #[error("stale")]
    Stale,
}

impl Reject {
    /// Name of the counter.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode(_) => "decode",
            Self::UnknownRoom => "unknown_room",
            Self::Open => "open",
            Self::Signature => "signature",
            Self::Body => "body",
            Self::Run => "run",
            Self::Rule => "rule",
            Self::Fork => "fork",
            Self::Rate => "rate",
            Self::Full => "full",
            Self::Proof => "proof",
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
        }
    }

    /// Whether an honest peer can never cause this, whatever it knows: the sender is penalised. What
    /// depends on the state of the one who looks is the author's doing, not the forwarder's.
    #[must_use]
    pub fn is_fault(self) -> bool {
        // An unknown version or type comes from a newer program: ignored, not blamed.
        let malformed = matches!(self, Self::Decode(e) if e != DecodeError::Unknown);
        malformed || matches!(self, Self::Open | Self::Signature | Self::Body | Self::Run)
    }
}
