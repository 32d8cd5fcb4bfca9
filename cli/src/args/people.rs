//! The command line about people: contacts, verification, privacy.

use clap::{Args, Subcommand};

/// A person.
#[derive(Debug, Args)]
pub struct OnePerson {
    /// Name, fingerprint or identity
    #[arg(value_name = "@WHO")]
    pub who: String,
}

/// `klatch contact`.
#[derive(Debug, Subcommand)]
pub enum Contact {
    /// List the people kept or met in conversations
    List,
    /// List strangers who wrote and wait for an answer
    Requests,
    /// Everything about a person, with the codes to compare
    Show(OnePerson),
    /// Keep a person as a contact; takes in what they sent
    #[command(visible_alias = "add")]
    Accept {
        /// Whom.
        #[command(flatten)]
        person: OnePerson,
        /// Your own name for them
        #[arg(long = "as", value_name = "NAME")]
        petname: Option<String>,
    },
    /// Give a person your own name; without one, theirs is shown again
    Rename {
        /// Whom.
        #[command(flatten)]
        person: OnePerson,
        /// Your own name for them
        #[arg(id = "petname", value_name = "NAME")]
        name: Option<String>,
    },
    /// Take nothing from a person any more; declines a request
    #[command(visible_alias = "decline")]
    Block(OnePerson),
    /// Take it again
    Unblock(OnePerson),
    /// Delete the conversation with a person, its keys and what waits for them, from this disk
    Forget {
        /// Whom.
        #[command(flatten)]
        person: OnePerson,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// As `klatch verify`
    Verify(Verify),
}

/// `klatch verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// Whom.
    #[command(flatten)]
    pub person: OnePerson,
    /// The codes were compared and are equal
    #[arg(short, long)]
    pub yes: bool,
    /// They differ, or should be compared anew
    #[arg(long, conflicts_with = "yes")]
    pub no: bool,
}

/// `klatch privacy`.
#[derive(Debug, Args)]
pub struct Privacy {
    /// Tell others when you have read their direct messages
    #[arg(long, value_name = "WHEN")]
    pub receipts: Option<Switch>,
    /// Tell others when you are writing to them
    #[arg(long, value_name = "WHEN")]
    pub typing: Option<Switch>,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// Yes
    On,
    /// No
    Off,
}

impl Switch {
    /// As a flag.
    pub fn is_on(self) -> bool {
        self == Self::On
    }
}
