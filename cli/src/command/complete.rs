//! `klatch complete`: what a shell offers at Tab. The scripts of `klatch completions` pass on the
//! line as it is typed; commands and options come from the command tree, rooms, people and message
//! ids from the running node. Without one, or if it does not answer at once, those are left out:
//! nothing is ever started here.

use std::time::Duration;

use clap::{Arg, Command};
use klatch_core::content::Kind;
use klatch_core::event::Message;
use klatch_core::query::{Contact, Member, RoomSummary, WantedPeer};
use serde_json::json;

use crate::args::{Complete, tree};
use crate::client::Session;
use crate::context::Context;
use crate::error::Report;
use crate::lines::marked;
use crate::output::visible;

/// Nobody waits longer for a Tab.
const PATIENCE: Duration = Duration::from_millis(500);
/// Rooms whose members are offered as people.
const ROOMS_MAX: usize = 16;
/// Messages looked through, and the newest of those that fit, which are offered by id.
const MESSAGES_READ: u32 = 200;
const MESSAGES_MAX: usize = 20;
/// Lines printed: more than anybody looks through.
const OFFERS_MAX: usize = 500;

/// What may stand where the cursor is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    /// One of these words, each with its help.
    Words(Vec<(String, String)>),
    Room,
    Person,
    RoomOrPerson,
    /// A message of this place.
    Message(String, Which),
    /// An address that is looked for.
    Address,
    /// A file, or anything at all: the shell knows better.
    Other,
}

/// Which messages a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// All.
    Any,
    /// Those that are still there: to answer, to react to.
    Kept,
    /// Of those the user's own: to change, to delete.
    Own,
}

impl Which {
    fn takes(self, message: &Message) -> bool {
        match self {
            Self::Any => true,
            Self::Kept => !message.deleted,
            Self::Own => message.own && !message.deleted,
        }
    }
}

/// A command line up to the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Typed {
    wanted: Wanted,
    /// The word under the cursor, without quotation marks.
    word: String,
    /// `--profile` on that line.
    profile: Option<String>,
}

/// Prints an offer per line, with a tab and a few words behind it.
pub async fn run(ctx: &Context, args: &Complete) -> Result<(), Report> {
    let typed = read(&args.line);
    let mut offers = match &typed.wanted {
        Wanted::Words(words) => words.clone(),
        Wanted::Other => Vec::new(),
        wanted => {
            let found = tokio::time::timeout(PATIENCE, ask(ctx, &typed, wanted)).await;
            found.ok().and_then(Result::ok).unwrap_or_default()
        }
    };
    offers.retain(|(offer, _)| offer.starts_with(&typed.word));
    // A shell that breaks words at `@` or `:` replaces only what is behind the last of them.
    let kept = args.word.as_ref().and_then(|w| typed.word.strip_suffix(w.as_str())).map(str::len);
    offers.sort();
    offers.dedup();
    for (offer, help) in offers.iter().take(OFFERS_MAX) {
        let offer = offer.get(kept.unwrap_or_default()..).unwrap_or(offer);
        ctx.out.line(&format!("{}\t{}", visible(offer), visible(help)))?;
    }
    Ok(())
}

/// What the node knows that fits.
async fn ask(
    ctx: &Context,
    typed: &Typed,
    wanted: &Wanted,
) -> Result<Vec<(String, String)>, Report> {
    let other;
    let ctx = match &typed.profile {
        Some(profile) => {
            let mut args = ctx.args.clone();
            args.profile.clone_from(profile);
            other = Context::new(args)?;
            &other
        }
        None => ctx,
    };
    let mut session = ctx.attach().await?;
    let mut offers = Vec::new();
    if let Wanted::Message(room, which) = wanted {
        let params = json!({"room": room, "limit": MESSAGES_READ});
        let found: Vec<Message> = session.ask("message.list", params).await?;
        let line = |m: &Message| {
            let name = marked(m.name.clone(), m.name_mark.as_deref());
            format!("{name}: {}", crate::output::snippet(&m.text))
        };
        let speech = |m: &&Message| matches!(m.kind, Kind::Text | Kind::Notice);
        let found = found.iter().rev().filter(speech).filter(|m| which.takes(m));
        offers.extend(found.take(MESSAGES_MAX).map(|m| (m.id.to_string(), line(m))));
        return Ok(offers);
    }
    if *wanted == Wanted::Address {
        let addresses = session.status().await?.wanted.into_iter();
        let how =
            |w: &WantedPeer| super::status::wanted(w).replace(&format!("{}: ", w.address), "");
        offers.extend(addresses.map(|w| (w.address.clone(), how(&w))));
        return Ok(offers);
    }
    let rooms: Vec<RoomSummary> = session.ask("room.list", json!({})).await?;
    if matches!(wanted, Wanted::Room | Wanted::RoomOrPerson) {
        // Without its sign a name needs no quotation marks.
        let sign = typed.word.starts_with('#');
        offers.extend(rooms.iter().map(|r| {
            let name = if sign { &r.name } else { r.name.trim_start_matches('#') };
            let left = if r.left { "left" } else { "room" };
            (marked(name.to_owned(), r.name_mark.as_deref()), left.to_owned())
        }));
    }
    if matches!(wanted, Wanted::Person | Wanted::RoomOrPerson) {
        offers.extend(people(&mut session, &rooms).await?);
    }
    Ok(offers)
}

/// Contacts, and whoever is in the rooms, each by a name that means nobody else.
async fn people(
    session: &mut Session,
    rooms: &[RoomSummary],
) -> Result<Vec<(String, String)>, Report> {
    let contacts: Vec<Contact> = session.ask("contact.list", json!({})).await?;
    let mut all: Vec<(String, String)> = contacts
        .into_iter()
        .map(|c| (marked(c.name, c.name_mark.as_deref()), c.fingerprint))
        .collect();
    for room in rooms.iter().filter(|r| !r.left).take(ROOMS_MAX) {
        let members: Vec<Member> = session.ask("room.members", json!({"room": room.room})).await?;
        let others = members.into_iter().filter(|m| !m.own && !m.name.is_empty());
        all.extend(others.map(|m| (marked(m.name, m.typed_mark.as_deref()), m.fingerprint)));
    }
    Ok(all.into_iter().map(|(name, print)| (format!("@{name}"), print)).collect())
}

/// Finds out what may stand at the end of a line.
fn read(line: &str) -> Typed {
    let mut words = split(line);
    let word = words.pop().unwrap_or_default();
    let mut root = tree();
    root.build();
    let mut command = &root;
    let (mut places, mut options, mut profile) = (Vec::new(), true, None);
    let mut pending: Option<&Arg> = None;
    for word in words.iter().skip(1) {
        if let Some(arg) = pending.take() {
            if arg.get_id() == "profile" {
                profile = Some(word.clone());
            }
        } else if options && word == "--" {
            options = false;
        } else if options && word.starts_with('-') && word.len() > 1 {
            pending = option(command, word).filter(|a| takes_value(a) && !word.contains('='));
            if let Some(value) = word.strip_prefix("--profile=") {
                profile = Some(value.to_owned());
            }
        } else if let Some(sub) = command.find_subcommand(word).filter(|_| places.is_empty()) {
            command = sub;
        } else {
            places.push(word.clone());
        }
    }
    let wanted = if let Some(arg) = pending {
        value(command, arg, &places)
    } else if options && word.starts_with('-') {
        Wanted::Words(flags(command))
    } else {
        positional(command, &places)
    };
    Typed { wanted, word, profile }
}

/// An argument without a dash: a subcommand, or what its place asks for.
fn positional(command: &Command, places: &[String]) -> Wanted {
    if command.get_name() == "help" {
        let topics = super::help::topics().map(|topic| (topic.to_owned(), String::new()));
        return Wanted::Words(subcommands(&tree()).into_iter().chain(topics).collect());
    }
    if command.has_subcommands() && places.is_empty() {
        return Wanted::Words(subcommands(command));
    }
    let arg = command.get_positionals().nth(places.len());
    arg.map_or(Wanted::Other, |arg| value(command, arg, places))
}

fn value(command: &Command, arg: &Arg, places: &[String]) -> Wanted {
    let words = arg.get_possible_values();
    if !words.is_empty() {
        let help = |v: &clap::builder::PossibleValue| {
            v.get_help().map(ToString::to_string).unwrap_or_default()
        };
        let shown = words.iter().filter(|v| !v.is_hide_set());
        return Wanted::Words(shown.map(|v| (v.get_name().to_owned(), help(v))).collect());
    }
    match arg.get_value_names().and_then(<[_]>::first).map(|n| n.as_str()) {
        Some("#ROOM") => Wanted::Room,
        Some("@WHO") => Wanted::Person,
        Some("#ROOM|@WHO") => Wanted::RoomOrPerson,
        Some("ID") => {
            let which = match (command.get_name(), arg.is_positional()) {
                ("edit" | "delete", true) => Which::Own,
                ("react" | "reply", _) | (_, false) => Which::Kept,
                _ => Which::Any,
            };
            places.first().map_or(Wanted::Other, |room| Wanted::Message(room.clone(), which))
        }
        Some("ADDR") if command.get_name() == "forget" => Wanted::Address,
        _ => Wanted::Other,
    }
}

fn subcommands(command: &Command) -> Vec<(String, String)> {
    let about = |c: &Command| c.get_about().map(ToString::to_string).unwrap_or_default();
    let shown = command.get_subcommands().filter(|c| !c.is_hide_set());
    shown.map(|c| (c.get_name().to_owned(), about(c))).collect()
}

fn flags(command: &Command) -> Vec<(String, String)> {
    let help = |a: &Arg| a.get_help().map(ToString::to_string).unwrap_or_default();
    let shown = command.get_arguments().filter(|a| !a.is_hide_set());
    shown.filter_map(|a| Some((format!("--{}", a.get_long()?), help(a)))).collect()
}

fn option<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let name = word.split('=').next().unwrap_or_default();
    match name.strip_prefix("--") {
        Some(long) => command.get_arguments().find(|a| a.get_long() == Some(long)),
        // The last of several short ones may take a value.
        None => command.get_arguments().find(|a| a.get_short() == name.chars().last()),
    }
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

/// The words of a line as shells cut it; the last one is the one under the cursor, perhaps empty.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut begun) = (Vec::new(), String::new(), None, false);
    let mut letters = line.chars();
    while let Some(c) = letters.next() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            (c, Some('\'')) => word.push(c),
            ('\\', _) => word.extend(letters.next()),
            (c, Some(_)) => word.push(c),
            ('\'' | '"', None) => (quote, begun) = (Some(c), true),
            (c, None) if c.is_whitespace() => {
                if begun || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            (c, None) => word.push(c),
        }
    }
    words.push(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(line: &str) -> Vec<String> {
        let typed = read(line);
        let Wanted::Words(words) = typed.wanted else { return Vec::new() };
        words.into_iter().map(|(w, _)| w).filter(|w| w.starts_with(&typed.word)).collect()
    }

    #[test]
    fn lines_are_cut_as_shells_cut_them() {
        assert_eq!(split("klatch send '#gar"), ["klatch", "send", "#gar"]);
        assert_eq!(split("klatch send \\#gar "), ["klatch", "send", "#gar", ""]);
        assert_eq!(split("a \"b 'c\" ''  d"), ["a", "b 'c", "", "d"]);
        assert_eq!(split(""), [""]);
    }

    #[test]
    fn commands_options_and_their_words_are_offered() {
        assert_eq!(offered("klatch ro"), ["room", "rooms"]);
        assert_eq!(offered("klatch message re"), ["react"]);
        assert_eq!(offered("klatch send lobby --wait del"), ["delivered"]);
        assert!(offered("klatch send --wa").contains(&"--wait".to_owned()));
        assert!(offered("klatch help exit").contains(&"exit-codes".to_owned()));
        assert!(offered("klatch tui-").is_empty() && offered("klatch compl") == ["completions"]);
    }

    #[test]
    fn places_are_known_by_what_the_help_calls_them() {
        let wanted = |line| read(line).wanted;
        assert_eq!(wanted("klatch send "), Wanted::RoomOrPerson);
        assert_eq!(wanted("klatch --json -q send --wait sent @b"), Wanted::RoomOrPerson);
        assert_eq!(wanted("klatch leave "), Wanted::Room);
        assert_eq!(wanted("klatch bot exec --room "), Wanted::Room);
        assert_eq!(wanted("klatch whois @"), Wanted::Person);
        assert_eq!(wanted("klatch contact accept "), Wanted::Person);
        assert_eq!(
            wanted("klatch message show lobby "),
            Wanted::Message("lobby".into(), Which::Any)
        );
        for (line, which) in [
            ("klatch send lobby --reply ", Which::Kept),
            ("klatch message react lobby ", Which::Kept),
            ("klatch message edit lobby ", Which::Own),
            ("klatch message delete lobby ", Which::Own),
        ] {
            assert_eq!(wanted(line), Wanted::Message("lobby".into(), which), "{line}");
        }
        assert_eq!(wanted("klatch peer forget "), Wanted::Address);
        assert_eq!(wanted("klatch peer add "), Wanted::Other);
        assert_eq!(wanted("klatch send lobby hel"), Wanted::Other);
        assert_eq!(wanted("klatch init --passphrase-file "), Wanted::Other);
        assert_eq!(read("klatch --profile work send ").profile.as_deref(), Some("work"));
        assert_eq!(read("klatch --profile=work send ").profile.as_deref(), Some("work"));
    }
}
