//! Options of the daily commands: rooms, messages, the chat.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::Network;
use crate::tui::{Keymap, Notify};
use crate::when::since;

/// A room.
#[derive(Debug, Args)]
pub struct OneRoom {
    /// Name or id
    #[arg(value_name = "#ROOM")]
    pub room: String,
}

/// `klatch leave`.
#[derive(Debug, Args)]
pub struct Leave {
    /// Name or id
    #[arg(value_name = "#ROOM")]
    pub room: String,
    /// Keep nothing of it: history, keys and search leave this disk; also for a room left before
    #[arg(long)]
    pub forget: bool,
    /// Do not ask: leave even if messages of yours have reached nobody yet
    #[arg(short, long)]
    pub yes: bool,
}

/// `klatch join`.
#[derive(Debug, Args)]
pub struct Join {
    /// Its name
    #[arg(value_name = "#ROOM")]
    pub room: String,
    /// The secret of the room.
    #[command(flatten)]
    pub secret: RoomSecret,
    /// Open the public room of that name, although you know one with a passphrase
    #[arg(long, conflicts_with_all = ["passphrase", "passphrase_file"])]
    pub open: bool,
}

/// The passphrase of a room; never on the command line itself, where other users could read it.
#[derive(Debug, Clone, Default, Args)]
pub struct RoomSecret {
    /// Ask for the room's passphrase
    #[arg(long, conflicts_with = "passphrase_file")]
    pub passphrase: bool,
    /// File with the room's passphrase (`-`: stdin)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub passphrase_file: Option<PathBuf>,
}

/// `klatch send`.
#[derive(Debug, Args)]
pub struct Send {
    /// Where, or to whom
    #[arg(value_name = "#ROOM|@WHO")]
    pub room: String,
    /// What; several words are joined, `-` or nothing reads stdin
    pub text: Vec<String>,
    /// Answer this message
    #[arg(long, value_name = "ID")]
    pub reply: Option<String>,
    /// Return once it is stored here, sent to somebody, or delivered to everybody
    #[arg(long, value_enum, default_value_t, value_name = "STATE")]
    pub wait: WaitFor,
}

/// `--wait`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum WaitFor {
    /// On this disk
    #[default]
    Stored,
    /// On the way to at least one member
    Sent,
    /// At a relay or a member
    #[value(hide = true)]
    Relayed,
    /// At every member
    Delivered,
}

impl WaitFor {
    /// The word in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Sent => "sent",
            Self::Relayed => "relayed",
            Self::Delivered => "delivered",
        }
    }
}

/// `klatch log`.
#[derive(Debug, Args)]
pub struct Log {
    /// Of which room, or with whom
    #[arg(value_name = "#ROOM|@WHO")]
    pub room: String,
    /// The newest N lines
    #[arg(short = 'n', value_name = "N", default_value_t = 50)]
    pub lines: u32,
    /// Written, or arrived, since: 2h ago (`2h` or `-2h`), today, 18:00, 2026-11-21,
    /// 2026-11-21T18:00:00Z
    #[arg(long, value_parser = since, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<u64>,
    /// Only lines with these words
    #[arg(long, value_name = "WORDS")]
    pub search: Option<String>,
    /// Go on with what is said from now on
    #[arg(short, long)]
    pub follow: bool,
}

/// `klatch tail`.
#[derive(Debug, Args)]
pub struct Tail {
    /// Of which room, or with whom
    #[arg(value_name = "#ROOM|@WHO")]
    pub room: String,
    /// The newest N lines first
    #[arg(short = 'n', value_name = "N", default_value_t = 10)]
    pub lines: u32,
}

/// `klatch chat`.
#[derive(Debug, Args)]
pub struct Chat {
    /// Which room, it is opened if it is not yet; or with whom. Without it, where you were
    #[arg(value_name = "#ROOM|@WHO")]
    pub room: Option<String>,
    /// Lines that are only ever added: for pipes, screen readers and tests
    #[arg(long)]
    pub plain: bool,
    /// Answer every question with yes
    #[arg(short, long)]
    pub yes: bool,
    /// Lines of history shown first
    #[arg(short = 'n', value_name = "N", default_value_t = 20)]
    pub lines: u32,
    /// Open the public room of that name, although you left one with a passphrase (`--yes` does not
    /// say so)
    #[arg(long, conflicts_with_all = ["passphrase", "passphrase_file"])]
    pub open: bool,
    /// The secret of the room.
    #[command(flatten)]
    pub secret: RoomSecret,
    /// How the full screen behaves.
    #[command(flatten)]
    pub screen: Screen,
    /// Where the node is reached, if it has to be started.
    #[command(flatten)]
    pub network: Network,
}

/// How the full screen behaves; `tui.toml` in the profile's folder takes the same words.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Full screen")]
pub struct Screen {
    /// Keys that edit
    #[arg(long, value_enum, env = "KLATCH_KEYMAP", value_name = "KEYMAP")]
    pub keymap: Option<Keymap>,
    /// Leave the mouse to the terminal
    #[arg(long)]
    pub no_mouse: bool,
    /// Offer completions with Tab only, not while typing
    #[arg(long)]
    pub no_suggest: bool,
    /// How the terminal is told about mentions and direct messages
    #[arg(long, value_enum, value_name = "HOW")]
    pub notify: Option<Notify>,
    /// Run this program for each of them; it finds KLATCH_FROM, KLATCH_ROOM, KLATCH_TEXT and
    /// KLATCH_KIND in its environment
    #[arg(long, value_name = "PROGRAM", value_hint = ValueHint::CommandString)]
    pub notify_command: Option<String>,
}
