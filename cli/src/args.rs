//! The command line: what can be typed, and its help. Decides nothing.

pub mod bot;
pub mod people;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::output::Color;
use crate::tui::{Keymap, Notify};
use crate::when::{duration, since};

const EXAMPLES: &str = "\
Examples:
  klatch                                  the full screen, where you were
  klatch chat '#lobby'                    open a room and talk; the first time it asks for your name
  klatch up && klatch send '#lobby' hi    a background node, and a message through it
  klatch log '#lobby' --since -2h         what was said in the last two hours

`klatch help TOPIC` explains: exit-codes, environment, privacy, keys, slash, older-chats, topics";

/// Group chat without a server: your node, your history, rooms by name.
#[derive(Debug, Parser)]
#[command(name = "klatch", version, after_help = EXAMPLES, disable_help_subcommand = true, max_term_width = 110)]
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
        env = "KLATCH_PROFILE",
        default_value = "default",
        value_name = "NAME"
    )]
    pub profile: String,
    /// JSON: one object, or one per line
    #[arg(long, global = true)]
    pub json: bool,
    /// Your name for others, when the identity is made
    #[arg(long, global = true, env = "KLATCH_NAME")]
    pub name: Option<String>,
    /// Never ask; take the default or fail
    #[arg(long, global = true)]
    pub no_input: bool,
    /// Only data and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// More log lines on stderr; twice for most
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Colours
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
    /// Give up waiting after this time (500ms, 10s, 5m)
    #[arg(long, global = true, value_parser = duration, value_name = "TIME")]
    pub timeout: Option<Duration>,
    /// File with the passphrase of this profile's keystore (`-`: stdin)
    #[arg(long, global = true, env = "KLATCH_PASSPHRASE_FILE", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub unlock_file: Option<PathBuf>,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The full screen, also without any command; or lines in, lines out (--plain) or with a
    /// person: lines in, lines out, `/help` for more
    Chat(Chat),
    /// Open a room: anybody who knows its name (and passphrase, if it has one) can read it
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
    /// Stop the background node
    Down,
    /// Show what the node is doing
    Status,
    /// Wait until something is ready
    Wait(Wait),
    /// Say what is wrong, and the command that fixes it
    Doctor(Doctor),
    /// Make an identity on this machine
    Init(Init),
    /// Start the background node of a profile that has a passphrase
    Unlock(Network),
    /// Stop the background node, so that no key stays in memory
    Lock,
    /// Set, change or take off the passphrase of this profile
    Passphrase(Passphrase),
    /// Run the node in the foreground
    #[command(subcommand)]
    Node(Node),
    /// Rooms: list, create, join, leave, members, mute
    #[command(subcommand)]
    Room(Room),
    /// Messages: list, show, send, edit, delete, react, announce, broadcast
    #[command(subcommand)]
    Message(Message),
    /// Follow what happens, from any point in the past: messages, joins, presence, links
    Events(Events),
    /// People: list, requests, show, accept, rename, block, unblock, verify
    #[command(subcommand)]
    Contact(people::Contact),
    /// Compare keys with a person: 60 digits or 7 emoji, equal on both screens
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
        /// A command, or exit-codes, environment, privacy, keys, slash, older-chats, topics
        topic: Vec<String>,
    },
}

/// `klatch init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Keep the key readable to whoever can read this disk
    #[arg(long, conflicts_with = "passphrase_file")]
    pub no_passphrase: bool,
    /// File with the passphrase that protects key and history (`-`: stdin)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub passphrase_file: Option<PathBuf>,
}

/// `klatch passphrase`.
#[derive(Debug, Args)]
pub struct Passphrase {
    /// File with the new passphrase (`-`: stdin)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub new_file: Option<PathBuf>,
    /// Take it off: whoever can read this disk can read everything
    #[arg(long, conflicts_with = "new_file")]
    pub remove: bool,
}

/// Where the node is reached.
#[derive(Debug, Clone, Default, Args)]
pub struct Network {
    /// Listen here (127.0.0.1:4001 or /ip4/0.0.0.0/tcp/4001); several times for several
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<String>,
    /// Connect to this node and stay connected (as `klatch status` there prints it)
    #[arg(long, value_name = "ADDR")]
    pub peer: Vec<String>,
    /// Do not look for nodes in the local network
    #[arg(long)]
    pub no_mdns: bool,
    /// TCP only
    #[arg(long)]
    pub no_quic: bool,
    /// Stay on this machine: listen on 127.0.0.1 and send no multicast
    #[arg(long, env = "KLATCH_LOOPBACK_ONLY", value_parser = clap::builder::FalseyValueParser::new())]
    pub loopback_only: bool,
}

impl Network {
    /// What the environment says, for commands without these options: staying on this machine is a
    /// promise.
    pub fn usual() -> Self {
        #[derive(Parser)]
        struct Alone {
            #[command(flatten)]
            network: Network,
        }
        Alone::try_parse_from(["klatch"]).map(|a| a.network).unwrap_or_default()
    }

    /// The options given, as they were typed; `--loopback-only` may come from the environment and
    /// is left out.
    pub fn given(&self) -> Vec<String> {
        let quoted = |name: &str, list: &[String]| {
            list.iter().map(|a| format!("{name} {a}")).collect::<Vec<_>>()
        };
        let mut given = [quoted("--listen", &self.listen), quoted("--peer", &self.peer)].concat();
        given.extend(self.no_mdns.then(|| "--no-mdns".to_owned()));
        given.extend(self.no_quic.then(|| "--no-quic".to_owned()));
        given
    }
}

/// `klatch node`.
#[derive(Debug, Subcommand)]
pub enum Node {
    /// Run until Ctrl+C, SIGTERM or `klatch down`
    Run(NodeRun),
}

/// `klatch node run`.
#[derive(Debug, Args)]
pub struct NodeRun {
    /// Where it is reached.
    #[command(flatten)]
    pub network: Network,
    /// Serve the API over HTTP too, on this machine only; any free port without an address
    #[arg(long, value_name = "ADDR:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:0")]
    pub http: Option<String>,
    /// Started by `klatch up`: own session, log to a file, one line on stdout when ready
    #[arg(long, hide = true)]
    pub detached: bool,
}

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
    /// Leave even if messages of yours have reached nobody yet
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
    /// Since a time: -2h, 2026-11-21T18:00:00Z
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
    /// How the terminal is told about mentions and direct messages
    #[arg(long, value_enum, value_name = "HOW")]
    pub notify: Option<Notify>,
    /// Run this program for each of them; it finds KLATCH_FROM, KLATCH_ROOM, KLATCH_TEXT and
    /// KLATCH_KIND in its environment
    #[arg(long, value_name = "PROGRAM", value_hint = ValueHint::CommandString)]
    pub notify_command: Option<String>,
}

/// `klatch tui-bench`.
#[derive(Debug, Args)]
pub struct TuiBench {
    /// Messages in the room
    #[arg(long, default_value_t = 100_000)]
    pub messages: u64,
    /// Keys folded and drawn without a terminal
    #[arg(long, default_value_t = 2_000)]
    pub keys: usize,
    /// Keys pressed in a terminal, 150 ms apart, in each of two rooms
    #[arg(long, default_value_t = 200)]
    pub pty_keys: usize,
}

/// `klatch wait`.
#[derive(Debug, Args)]
pub struct Wait {
    /// node, peer, peer:NAME, room:#ROOM or delivered:MESSAGE
    #[arg(default_value = "node")]
    pub target: String,
}

/// `klatch doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Only what takes a moment: identity, permissions, disk, limits, and whether the node answers
    #[arg(long)]
    pub quick: bool,
    /// Also write an archive (.tar) for a bug report, with stand-ins for names, rooms, addresses
    /// and ids
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub bundle: Option<PathBuf>,
}

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
    /// Hide what somebody writes, here only
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
    /// Withdraw an own message
    Delete(OneMessage),
    /// Put an emoji on a message
    React {
        /// Which.
        #[command(flatten)]
        message: OneMessage,
        /// One emoji
        emoji: String,
        /// Take it off
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_tree_is_consistent() {
        Cli::command().debug_assert();
    }
}
