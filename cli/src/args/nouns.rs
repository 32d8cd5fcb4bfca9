//! Options of the commands that begin with a noun, for scripts.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Join, Leave, Log, OneRoom, Send};
use crate::when::duration;

/// `klatch room`.
#[derive(Debug, Subcommand)]
pub enum Room {
    /// As `klatch rooms`
    List,
    /// Open a room nobody may be in yet
    Create(Join),
    /// As `klatch join`
    Join(Join),
    /// As `klatch leave`
    Leave(Leave),
    /// As `klatch members`
    Members(OneRoom),
    /// Hide what somebody writes, only on your side
    Mute {
        /// Where
        #[arg(value_name = "#ROOM")]
        room: String,
        /// Name, fingerprint or device id
        #[arg(value_name = "@WHO")]
        who: String,
        /// Show again
        #[arg(long)]
        off: bool,
    },
}

/// `klatch message`.
#[derive(Debug, Subcommand)]
pub enum Message {
    /// As `klatch log`
    List(Log),
    /// As `klatch send`
    Send(Send),
    /// Everything about one message
    Show(OneMessage),
    /// Replace the text of an own message
    Edit {
        /// Which.
        #[command(flatten)]
        message: OneMessage,
        /// Its new text
        #[arg(required = true)]
        text: Vec<String>,
    },
    /// Delete an own message
    Delete(OneMessage),
    /// Put an emoji on a message
    React {
        /// Which.
        #[command(flatten)]
        message: OneMessage,
        /// One emoji, or its short name such as :heart:
        emoji: String,
        /// Remove it
        #[arg(long)]
        off: bool,
    },
    /// Say something apart from conversation
    Announce {
        /// Where
        #[arg(value_name = "#ROOM")]
        room: String,
        /// What
        #[arg(required = true)]
        text: Vec<String>,
    },
    /// Say something in every room, after naming them
    Broadcast {
        /// What
        #[arg(required = true)]
        text: Vec<String>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// A message in a room or conversation.
#[derive(Debug, Args)]
pub struct OneMessage {
    /// Where
    #[arg(value_name = "#ROOM|@WHO")]
    pub room: String,
    /// Message id, or at least its first 6 characters
    #[arg(value_name = "ID")]
    pub message: String,
}

/// `klatch complete`.
#[derive(Debug, Args)]
pub struct Complete {
    /// What was typed, up to the cursor
    #[arg(long, allow_hyphen_values = true)]
    pub line: String,
    /// What the shell replaces of it
    #[arg(long, allow_hyphen_values = true)]
    pub word: Option<String>,
}

/// `klatch events`.
#[derive(Debug, Args)]
pub struct Events {
    /// Beginnings of topics, such as room/ or room/#garden/message or dm/@bob; everything without
    /// it
    #[arg(value_name = "PREFIX")]
    pub topics: Vec<String>,
    /// Begin after this event (a number from before), at the start, or now
    #[arg(long, value_name = "CURSOR|start|now", default_value = "now")]
    pub after: String,
    /// Only these types, such as message.added or message.*; several times for several
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    /// End after so many events
    #[arg(short = 'n', long, value_name = "N")]
    pub count: Option<u64>,
}

/// `klatch token`.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token; prints the file that it is in
    Create {
        /// What to call it
        #[arg(id = "token_name", value_name = "TOKEN")]
        name: String,
        /// What it is good for
        #[arg(long, value_delimiter = ',', required = true, value_name = "read,send,manage,admin")]
        scope: Vec<String>,
        /// It is good for this room only
        #[arg(long, value_name = "#ROOM")]
        room: Option<String>,
        /// It is worth nothing after this time (10m, 24h, 7d)
        #[arg(long, value_parser = duration, value_name = "TIME")]
        expire: Option<Duration>,
    },
    /// List the tokens, without their secrets
    List,
    /// Make a token worth nothing, at once
    Revoke {
        /// Which
        #[arg(id = "token_name", value_name = "TOKEN")]
        name: String,
    },
}

/// `klatch api`.
#[derive(Debug, Subcommand)]
pub enum Api {
    /// Call a method of the running node
    Call {
        /// For example room.list
        method: String,
        /// Its parameters, a JSON object
        #[arg(default_value = "{}")]
        params: String,
    },
    /// Print the API as an OpenRPC document
    Spec {
        /// As a page for people
        #[arg(long)]
        markdown: bool,
    },
    /// Serve the API in another way until Ctrl+C
    #[command(group = clap::ArgGroup::new("way").required(true))]
    Serve {
        /// One JSON object per line on stdin and stdout
        #[arg(long, group = "way")]
        stdio: bool,
        /// HTTP on this machine only, with a token: POST /rpc, GET /ws, GET /events; any free port
        /// without an address
        #[arg(long, group = "way", value_name = "ADDR:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:0")]
        http: Option<String>,
    },
}
