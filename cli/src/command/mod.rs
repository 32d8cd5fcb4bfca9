//! One file per subcommand; this one only chooses. Nouns (`room`, `message`) lead to the same
//! functions as the daily verbs.

mod api;
pub mod bot;
mod chat;
mod complete;
mod contact;
pub mod doctor;
mod down;
mod events;
mod help;
mod init;
pub mod join;
mod leave;
mod log;
pub mod members;
mod message;
mod node_run;
mod passphrase;
mod peer;
pub mod place;
pub mod rooms;
mod send;
pub mod status;
mod token;
mod up;
mod wait;

use crate::args::{Api, Command, Log, Message, Node, Room};
use crate::context::Context;
use crate::error::Report;

/// Does what was asked for.
pub async fn run(ctx: &Context, command: Command) -> Result<(), Report> {
    match command {
        Command::Init(args) => init::run(ctx, &args).await,
        Command::Unlock(network) => up::unlock(ctx, network).await,
        Command::Lock(args) => down::lock(ctx, &args).await,
        Command::Passphrase(args) => passphrase::run(ctx, &args),
        Command::Join(args) | Command::Room(Room::Join(args)) => {
            join::run(ctx, &args, "room.join").await
        }
        Command::Room(Room::Create(args)) => join::run(ctx, &args, "room.create").await,
        Command::Leave(args) | Command::Room(Room::Leave(args)) => leave::run(ctx, &args).await,
        Command::Rooms | Command::Room(Room::List) => rooms::run(ctx).await,
        Command::Members(args) | Command::Room(Room::Members(args)) => {
            members::run(ctx, &args.room).await
        }
        Command::Room(Room::Mute { room, who, off }) => members::mute(ctx, &room, &who, !off).await,
        Command::Send(args) | Command::Message(Message::Send(args)) => send::run(ctx, &args).await,
        Command::Log(args) | Command::Message(Message::List(args)) => log::run(ctx, &args).await,
        Command::Tail(args) => {
            let args =
                Log { room: args.room, lines: args.lines, since: None, search: None, follow: true };
            log::run(ctx, &args).await
        }
        Command::Contact(args) => contact::run(ctx, args).await,
        Command::Verify(args) => contact::verify(ctx, args).await,
        Command::Whois(args) => contact::whois(ctx, args).await,
        Command::Privacy(args) => contact::privacy(ctx, args).await,
        Command::Message(Message::Broadcast { text, yes }) => {
            contact::broadcast(ctx, text.join(" "), yes).await
        }
        Command::Message(args) => message::run(ctx, args).await,
        Command::Chat(args) => chat::run(ctx, args).await,
        Command::Up(network) => up::run(ctx, network).await,
        Command::Down(args) => down::run(ctx, &args).await,
        Command::Status => status::run(ctx).await,
        Command::Peer(args) => peer::run(ctx, args).await,
        Command::Doctor(args) => doctor::run(ctx, &args).await,
        Command::Wait(args) => wait::run(ctx, &args.target).await,
        Command::Node(Node::Run(args)) => node_run::run(ctx, args).await,
        Command::Node(Node::Unit(network)) => node_run::unit(ctx, &network),
        Command::Events(args) => events::run(ctx, args).await,
        Command::Bot(args) => bot::run(ctx, args).await,
        Command::Token(args) => token::run(ctx, args).await,
        Command::Api(args) => api::run(ctx, args).await,
        Command::TuiBench(args) => crate::tui::bench::run(ctx, &args).await,
        Command::Complete(args) => complete::run(ctx, &args).await,
        Command::Completions { shell } => help::completions(ctx, shell),
        Command::Man { folder } => help::man(ctx, &folder),
        Command::Help { topic } => help::run(ctx, &topic),
    }
}

/// Whether somebody types, and reads what is printed.
pub fn has_typist() -> bool {
    use std::io::IsTerminal;
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Whether there is a terminal for the full screen.
pub fn has_terminal() -> bool {
    has_typist() && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// Whether a command ends by itself on Ctrl+C and SIGTERM, so that it can end well.
pub fn handles_signals(command: &Command) -> bool {
    matches!(
        command,
        Command::Node(Node::Run(_))
            | Command::Bot(_)
            | Command::Api(Api::Serve { http: Some(_), .. })
    )
}

/// Whether it goes on until it is interrupted, so that an interruption is no failure to report.
pub fn goes_on(command: &Command) -> bool {
    matches!(command, Command::Chat(_) | Command::Tail(_) | Command::Events(_))
        || matches!(command, Command::Log(log) if log.follow)
}

/// Whether what its node logs is shown: it runs for long, and somebody may look at it.
pub fn shows_log(command: &Command) -> bool {
    matches!(
        command,
        Command::Node(Node::Run(_)) | Command::Bot(_) | Command::Api(Api::Serve { .. })
    ) || matches!(command, Command::Chat(chat) if !chat.plain && has_terminal())
}

/// Whether its stderr is the log file of a background node.
pub fn is_detached(command: &Command) -> bool {
    matches!(command, Command::Node(Node::Run(args)) if args.detached)
}
