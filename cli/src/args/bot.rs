//! What can be typed after `klatch bot`.

use std::ffi::OsString;

use clap::{Args, Subcommand, ValueEnum};

use crate::command::bot::After;

/// `klatch bot`.
#[derive(Debug, Subcommand)]
pub enum Bot {
    /// For each message: text on stdin, facts in KLATCH_..., what the program prints is the answer
    /// (docs/BOTS.md)
    Exec(BotExec),
}

/// `klatch bot exec`.
#[derive(Debug, Args)]
pub struct BotExec {
    /// Listen here; several times for several rooms
    #[arg(long, value_name = "#ROOM")]
    pub room: Vec<String>,
    /// Listen in every room of this profile
    #[arg(long, conflicts_with = "room")]
    pub all: bool,
    /// Listen to direct messages of contacts
    #[arg(long)]
    pub dm: bool,
    /// Answer direct messages of anybody, who is a contact from then on
    #[arg(long, requires = "dm")]
    pub strangers: bool,
    /// Only messages that begin with this, a whole word if it ends in a letter or digit
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
    /// Begin after this journal number, at the `start` or `now`, instead of where this bot was
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<After>,
    /// The bot's name, under which its place is kept [default: the program's]
    #[arg(long = "as", value_name = "NAME")]
    pub bot_name: Option<String>,
    /// Answer with plain messages instead of replies
    #[arg(long)]
    pub no_reply: bool,
    /// What the asker is told when the program fails or takes too long
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub on_error: OnError,
    /// Messages in work at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub jobs: u8,
    /// Answers a minute at most; 0 for any number
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub rate: u16,
    /// The program and its arguments; --timeout limits each run [default: 10s]
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub command: Vec<OsString>,
}

/// `--on-error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OnError {
    /// Nothing: only the bot's own log knows
    #[default]
    Silent,
    /// That it failed, without any of its output
    Reply,
}
