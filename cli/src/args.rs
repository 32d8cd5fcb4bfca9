//! The command line: what can be typed, and its help. Decides nothing. Here are the commands and
//! what all of them take; their own options are in the files beside.

pub mod bot;
mod node;
mod nouns;
mod pages;
pub mod people;
mod talk;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, FromArgMatches, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

pub use self::node::{
    Doctor, Down, Init, Network, Node, NodeRun, Passphrase, Peer, TuiBench, Wait,
};
pub use self::nouns::{Api, Complete, Events, Message, OneMessage, Room, Token};
pub use self::pages::{examples, is_for_every_command, named, options, tree};
pub use self::talk::{Chat, Join, Leave, Log, OneRoom, RoomSecret, Screen, Send, Tail, WaitFor};
use crate::output::Color;
use crate::when::duration;

/// Reads a command line.
///
/// # Errors
/// What clap says, help and version among it.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&tree().try_get_matches_from(words)?)
}

/// Group chat without a server: your node, your history, rooms by name.
#[derive(Debug, Parser)]
#[command(name = "klatch", version, disable_help_subcommand = true, max_term_width = 110)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options for every command")]
pub struct Global {
    /// One of several identities on this machine
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "KLATCH_PROFILE",
        default_value = crate::hints::DEFAULT_PROFILE,
        value_name = "NAME"
    )]
    pub profile: String,
    /// JSON: one object, or one per line
    #[arg(long, global = true, hide_short_help = true)]
    pub json: bool,
    /// Your name for others, when the identity is made
    #[arg(long, global = true, hide_short_help = true, env = "KLATCH_NAME")]
    pub name: Option<String>,
    /// Never ask; take the default or fail
    #[arg(long, global = true, hide_short_help = true)]
    pub no_input: bool,
    /// Only data and errors
    #[arg(short, long, global = true, hide_short_help = true)]
    pub quiet: bool,
    /// More log lines on stderr; twice for most
    #[arg(short, long, global = true, hide_short_help = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Colours
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_enum,
        default_value_t,
        value_name = "WHEN"
    )]
    pub color: Color,
    /// Give up waiting after this time (500ms, 10s, 5m)
    #[arg(long, global = true, hide_short_help = true, value_parser = duration, value_name = "TIME")]
    pub timeout: Option<Duration>,
    /// File with the passphrase of this profile's keystore (`-`: stdin)
    #[arg(long, global = true, hide_short_help = true, env = "KLATCH_PASSPHRASE_FILE", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub unlock_file: Option<PathBuf>,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Talk in a room or with somebody: full screen, or plain lines
    Chat(Chat),
    /// Open a room: whoever knows its name (and passphrase) can read it
    Join(Join),
    /// Leave a room; its history stays on this disk
    Leave(Leave),
    /// List the rooms of this profile
    Rooms,
    /// List who has been seen in a room
    Members(OneRoom),
    /// Say something in a room, or to a person
    Send(Send),
    /// Show what was said in a room, or with a person
    Log(Log),
    /// Show the end of a room or conversation and follow it
    Tail(Tail),
    /// Start the node in the background
    Up(Network),
    /// Stop the node, and say so only once it has ended
    Down(Down),
    /// Show what the node is doing
    Status,
    /// Wait until something is ready
    Wait(Wait),
    /// Addresses to look for other nodes at: add, list, forget
    #[command(subcommand)]
    Peer(Peer),
    /// Diagnose problems, with the command that fixes each
    Doctor(Doctor),
    /// Make an identity on this machine
    Init(Init),
    /// Start the background node of a profile with a passphrase
    Unlock(Network),
    /// Stop the node, so that no key stays in memory
    Lock(Down),
    /// Set, change or remove the passphrase of this profile
    Passphrase(Passphrase),
    /// Run the node in the foreground
    #[command(subcommand)]
    Node(Node),
    /// Rooms: list, create, join, leave, members, mute
    #[command(subcommand)]
    Room(Room),
    /// Messages: list, send, edit, delete, react, announce, broadcast
    #[command(subcommand)]
    Message(Message),
    /// Follow what happens, from any point in the past
    Events(Events),
    /// People: list, requests, show, accept, rename, block, verify
    #[command(subcommand)]
    Contact(people::Contact),
    /// Compare keys with a person: 60 digits or 7 emoji
    Verify(people::Verify),
    /// Show what is known about a person
    Whois(people::OnePerson),
    /// What others can learn, and what direct messages tell them
    Privacy(people::Privacy),
    /// Run a program for each message
    #[command(subcommand)]
    Bot(bot::Bot),
    /// Call the node's API, or serve it in another way
    #[command(subcommand)]
    Api(Api),
    /// Tokens for HTTP clients and bots: create, list, revoke
    #[command(subcommand)]
    Token(Token),
    /// Measure the full screen: how long a key takes until it is drawn
    #[command(hide = true)]
    TuiBench(TuiBench),
    /// What a shell offers at Tab
    #[command(hide = true)]
    Complete(Complete),
    /// Print a completion script
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Write a manual page for each command
    Man {
        /// Into this folder, for example ~/.local/share/man/man1
        #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
        folder: PathBuf,
    },
    /// Explain a command or a topic
    Help {
        /// A command, or options, exit-codes, environment, privacy, keys, slash, older-chats, topics
        topic: Vec<String>,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_tree_is_consistent() {
        Cli::command().debug_assert();
    }
}
