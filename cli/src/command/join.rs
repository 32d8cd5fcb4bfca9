//! `klatch join` and `klatch room create`.

use klatch_core::command::Reply;
use klatch_core::names::spelled;
use klatch_core::query::{Access, RoomSummary};
use serde_json::{Value, json};

use super::{init, rooms};
use crate::args::{Join, Network, RoomSecret};
use crate::client::Session;
use crate::context::{Context, Need, ask_secret, confirm, read_secret};
use crate::error::{Report, exit};
use crate::output::visible;
use crate::words;

/// Opens a room; on a new machine it makes the identity first.
pub async fn run(ctx: &Context, args: &Join, method: &str) -> Result<(), Report> {
    let passphrase = secret(ctx, &args.secret)?;
    init::ensure(ctx)?;
    let mut session = ctx.session(Need::Network(Network::usual())).await?;
    if passphrase.is_none() && !args.open {
        keep_private(&mut session, "join", &args.room, ctx.can_ask()).await?;
    }
    let reply = open(&mut session, method, &args.room, passphrase).await?;
    let all: Vec<RoomSummary> = session.ask("room.list", json!({})).await?;
    if let Reply::Joined { name, .. } = &reply
        && let Some(double) = rooms::double(&all, name)
    {
        let (name, double) = (visible(name), visible(double));
        ctx.out.warning(&format!("{name} is not {double}, which you have: the names look alike"));
    }
    drop(session);
    // The others hear of it when they are met: nothing to wait for.
    ctx.finish(false).await;
    let Reply::Joined { room, already, .. } = &reply else { return ctx.out.json(&reply) };
    let Some(this) = all.iter().find(|r| r.room == *room) else { return ctx.out.json(&reply) };
    let twin = twin(&all, this);
    if let Some(twin) = twin
        && !already
    {
        ctx.out.warning(&another(this, twin));
    }
    ctx.out.either(&reply, || told(this, twin.is_some(), *already))
}

/// Another room of the same name that one is in.
fn twin<'a>(all: &'a [RoomSummary], this: &RoomSummary) -> Option<&'a RoomSummary> {
    all.iter().find(|r| r.room != this.room && r.name == this.name && !r.left)
}

/// What may be a slip about a room that was just opened: another one has its name, or nearly.
pub fn doubt(all: &[RoomSummary], this: &RoomSummary) -> Option<String> {
    if let Some(twin) = twin(all, this) {
        return Some(another(this, twin));
    }
    let double = rooms::double(all, &this.name)?;
    let (name, double) = (visible(&this.name), visible(double));
    Some(format!("{name} is not {double}, which you have: the names look alike"))
}

/// What came of it, with the command that goes on from here.
fn told(room: &RoomSummary, has_twin: bool, already: bool) -> String {
    // Alone the name of one of two says nothing.
    let name = if has_twin { rooms::shown(room) } else { visible(&room.name) };
    match (already, room.access) {
        (true, _) => format!("{name} was open already"),
        (false, Access::Open) => format!("{name} is open: klatch chat '{name}'"),
        (false, Access::Passphrase) => format!(
            "you are in {name}, which has a passphrase: klatch chat '{name}'\n\
             its words are: {}; who sees others typed another name or passphrase",
            words::of_room(&room.room)
        ),
    }
}

/// Two rooms of one name: nearly always a slip in the passphrase.
fn another(this: &RoomSummary, twin: &RoomSummary) -> String {
    let name = visible(&this.name);
    match twin.access {
        Access::Open => format!("there is an open room {name} here, too: that is another one"),
        Access::Passphrase => format!(
            "this is another room {name} than the one you had, whose words are {}: the passphrase \
             differs. Was that a slip? klatch leave '{}' --forget",
            words::of_room(&twin.room),
            rooms::shown(this)
        ),
    }
}

/// Whoever has a room with a passphrase, or left one, and names it without one hardly means the
/// public room of that name.
pub async fn keep_private(
    session: &mut Session,
    command: &str,
    room: &str,
    ask: bool,
) -> Result<(), Report> {
    let Some(private) = rooms::only_private(session, room).await? else { return Ok(()) };
    let name = format!("#{}", visible(room.trim_start_matches('#')));
    let have = match private {
        rooms::Private::Joined => "you are in",
        rooms::Private::Left => "you left",
    };
    let cause = format!(
        "{have} a room {name} that has a passphrase; the open one of that name is another room"
    );
    if ask && confirm(&format!("{cause}, which anybody can read. Open it? [y/N] "))? {
        return Ok(());
    }
    let hint = format!(
        "klatch {command} '{name}' --passphrase-file FILE opens yours; --open opens the one that \
         anybody can read"
    );
    Err(Report::new("KLATCH-ROOM-PRIVATE", cause, hint, exit::USAGE))
}

/// The room's passphrase, if one was promised.
pub fn secret(ctx: &Context, args: &RoomSecret) -> Result<Option<String>, Report> {
    match &args.passphrase_file {
        Some(file) => read_secret(file).map(Some),
        None if !args.passphrase => Ok(None),
        None if ctx.can_ask() => ask_secret("Passphrase of the room: ").map(Some),
        None => Err(Report::usage(
            "there is no terminal to ask for the passphrase on",
            "give --passphrase-file FILE",
        )),
    }
}

/// Asks the node to open a room.
pub async fn open(
    session: &mut Session,
    method: &str,
    room: &str,
    secret: Option<String>,
) -> Result<Reply, Report> {
    let mut params = json!({"room": room});
    if let Some(secret) = secret {
        params["passphrase"] = Value::String(secret);
    }
    session.ask(method, params).await.map_err(|e| e.doing(format!("cannot open {}", spelled(room))))
}
