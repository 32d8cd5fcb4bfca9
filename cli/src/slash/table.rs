//! The table of slash commands: one row each, with everything that the parser, the help, the
//! completion and the pages need.

use super::words::{LINES_MAX, choice, none, single, some, two, unquoted, word};
use super::{Action, Then};

/// What an argument names: what a front end may offer to complete it with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// A room of this profile, `#name`.
    Room,
    /// A person, `@name` or fingerprint.
    Person,
    /// A message: `^`, `^2` or the beginning of an id.
    Message,
    /// An emoji.
    Emoji,
    /// A slash command.
    Command,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A number.
    Number,
    /// Anything, to the end of the line.
    Text,
}

/// One argument.
#[derive(Debug, Clone, Copy)]
pub struct Arg {
    /// What it names.
    pub takes: Takes,
    /// How help shows it.
    pub name: &'static str,
    /// Must be given.
    pub needed: bool,
}

/// Under which heading help lists a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Rooms and who is there.
    Rooms,
    /// What is said.
    Messages,
    /// Other people.
    People,
    /// Oneself, the node and this program.
    Program,
}

impl Group {
    /// All, in the order of the help.
    pub const ALL: &'static [Self] = &[Self::Rooms, Self::Messages, Self::People, Self::Program];

    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Rooms => "Rooms",
            Self::Messages => "Messages",
            Self::People => "People",
            Self::Program => "You and this program",
        }
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    /// Without the slash.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// What follows the name.
    pub args: &'static [Arg],
    /// One line.
    pub help: &'static str,
    /// The API method behind it.
    pub method: Option<&'static str>,
    /// Where help lists it.
    pub group: Group,
    /// Makes an action of what was typed behind the name; `None` if that makes no sense.
    pub(super) build: fn(&str) -> Option<Action>,
}

const fn need(takes: Takes, name: &'static str) -> Arg {
    Arg { takes, name, needed: true }
}

const fn may(takes: Takes, name: &'static str) -> Arg {
    Arg { takes, name, needed: false }
}

fn to(args: &str, then: Then) -> Option<Action> {
    some(args).map(|line| Action::To { line, then })
}

fn forget(place: &str) -> Option<Action> {
    single(place).map(|place| Action::Forget { place: Some(place), confirmed: false })
}

const WHO: Arg = need(Takes::Person, "@WHO");
const TEXT: Arg = need(Takes::Text, "TEXT");
const MESSAGE: Arg = need(Takes::Message, "MESSAGE");
const EMOJI: Arg = need(Takes::Emoji, "EMOJI");
const ON_OFF: Arg = may(Takes::Words(&["on", "off"]), "on|off");

const fn row(
    group: Group,
    name: &'static str,
    aliases: &'static [&'static str],
    args: &'static [Arg],
    (help, method): (&'static str, &'static str),
    build: fn(&str) -> Option<Action>,
) -> Row {
    let method = if method.is_empty() { None } else { Some(method) };
    Row { name, aliases, args, help, method, group, build }
}

use Group::{Messages, People, Program, Rooms};

/// All commands.
pub const TABLE: &[Row] = &[
    row(
        Rooms,
        "join",
        &["j", "create", "createChatroom", "joinChatroom"],
        &[need(Takes::Room, "#ROOM"), may(Takes::Words(&["--passphrase"]), "--passphrase")],
        ("open a room and talk there; with a passphrase it is for those who know it", "room.join"),
        |a| match two(a) {
            Some((room, option)) if option == "--passphrase" => Some(Action::JoinPrivate(room)),
            Some((option, room)) if option == "--passphrase" => {
                single(&room).map(Action::JoinPrivate)
            }
            _ => single(a).map(Action::Join),
        },
    ),
    row(
        Rooms,
        "private",
        &[],
        &[need(Takes::Room, "#ROOM")],
        ("the same as /join #ROOM --passphrase", "room.join"),
        |a| single(a).map(Action::JoinPrivate),
    ),
    row(
        Rooms,
        "leave",
        &["part", "exitChatroom"],
        &[may(Takes::Room, "#ROOM"), may(Takes::Words(&["--forget"]), "--forget")],
        ("leave a room; history is kept, with --forget nothing is", "room.leave"),
        |a| match (a, two(a)) {
            ("", _) => Some(Action::Leave(None)),
            ("--forget", _) => Some(Action::Forget { place: None, confirmed: false }),
            (_, Some((place, option))) if option == "--forget" => forget(&place),
            (_, Some((option, place))) if option == "--forget" => forget(&place),
            _ => single(a).map(|r| Action::Leave(Some(r))),
        },
    ),
    row(Rooms, "rooms", &["list", "getAllChatrooms"], &[], ("your rooms", "room.list"), |a| {
        none(a, Action::Rooms)
    }),
    row(
        Rooms,
        "users",
        &["names", "who", "members", "getChatroomMembers"],
        &[],
        ("who has been seen in this room", "room.members"),
        |a| none(a, Action::Users),
    ),
    row(
        Rooms,
        "online",
        &["peers", "getActiveUsers"],
        &[],
        ("who is connected", "node.status"),
        |a| none(a, Action::Online),
    ),
    row(
        Rooms,
        "mute",
        &["ignore"],
        &[WHO],
        ("hide what somebody writes here; only on your side", "room.mute"),
        |a| some(a).map(|who| Action::Mute { who, muted: true }),
    ),
    row(Rooms, "unmute", &["unignore"], &[WHO], ("show somebody again", "room.mute"), |a| {
        some(a).map(|who| Action::Mute { who, muted: false })
    }),
    row(
        Messages,
        "history",
        &["fetchMessages", "lastlog"],
        &[may(Takes::Number, "N")],
        ("the last N lines, with message ids", "message.list"),
        |a| match a {
            "" => Some(Action::History(20)),
            n => n.parse().ok().map(|n: u32| Action::History(n.clamp(1, LINES_MAX))),
        },
    ),
    row(
        Messages,
        "search",
        &["find", "grep"],
        &[need(Takes::Text, "WORDS")],
        ("lines of this room with these words", "message.list"),
        |a| some(a).map(Action::Search),
    ),
    row(
        Messages,
        "reply",
        &["re"],
        &[MESSAGE, TEXT],
        (
            "answer a message: ^ is the newest of others, ^2 the one before, or an id",
            "message.send",
        ),
        |a| two(a).map(|(message, text)| Action::Reply { message, text }),
    ),
    row(
        Messages,
        "me",
        &["action"],
        &[TEXT],
        ("say what you do: * alice waves", "message.send"),
        |a| some(a).map(Action::Me),
    ),
    row(
        Messages,
        "edit",
        &["e"],
        &[may(Takes::Message, "MESSAGE"), TEXT],
        ("new text for your newest message, or for the named one", "message.edit"),
        |a| some(a).map(Action::Edit),
    ),
    row(
        Messages,
        "delete",
        &["del", "redact"],
        &[may(Takes::Message, "MESSAGE")],
        ("delete your newest message, or the named one", "message.delete"),
        |a| {
            if a.is_empty() {
                Some(Action::Delete("^".to_owned()))
            } else {
                single(a).map(Action::Delete)
            }
        },
    ),
    row(
        Messages,
        "react",
        &["r"],
        &[MESSAGE, EMOJI],
        ("put an emoji on a message", "message.react"),
        |a| two(a).map(|(message, emoji)| Action::React { message, emoji, on: true }),
    ),
    row(
        Messages,
        "unreact",
        &[],
        &[MESSAGE, EMOJI],
        ("remove an emoji of yours", "message.react"),
        |a| two(a).map(|(message, emoji)| Action::React { message, emoji, on: false }),
    ),
    row(
        Messages,
        "announce",
        &["notice"],
        &[TEXT],
        ("say something apart from conversation", "message.announce"),
        |a| some(a).map(Action::Announce),
    ),
    row(
        Messages,
        "bm",
        &["broadcast"],
        &[TEXT],
        (
            "say something in every room you are in, after naming them; at most once a minute",
            "message.broadcast",
        ),
        |a| unquoted(a).map(|text| Action::Broadcast { text, confirmed: false }),
    ),
    row(
        People,
        "dm",
        &["msg", "m", "query", "w"],
        &[WHO, may(Takes::Text, "TEXT")],
        ("say something to one person, or open the conversation", "message.send"),
        |a| to(a, Then::Dm),
    ),
    row(
        People,
        "contacts",
        &["people", "friends"],
        &[],
        ("the people you talk with", "contact.list"),
        |a| none(a, Action::Contacts),
    ),
    row(
        People,
        "requests",
        &[],
        &[],
        ("strangers who wrote and wait for an answer", "contact.list"),
        |a| none(a, Action::Requests),
    ),
    row(
        People,
        "accept",
        &["add"],
        &[WHO, may(Takes::Text, "NAME")],
        ("keep a person as a contact, under a name of yours if you like", "contact.accept"),
        |a| to(a, Then::Accept),
    ),
    row(
        People,
        "forget",
        &[],
        &[WHO],
        ("delete a conversation and its keys from this disk", "contact.forget"),
        |a| {
            let place = some(a)?;
            let place = if place.starts_with(['@', '#']) { place } else { format!("@{place}") };
            Some(Action::Forget { place: Some(place), confirmed: false })
        },
    ),
    row(
        People,
        "block",
        &["decline"],
        &[WHO],
        ("refuse everything from a person", "contact.block"),
        |a| some(a).map(|who| Action::Block { who, blocked: true }),
    ),
    row(
        People,
        "unblock",
        &[],
        &[WHO],
        ("accept messages from a blocked person again", "contact.block"),
        |a| some(a).map(|who| Action::Block { who, blocked: false }),
    ),
    row(
        People,
        "rename",
        &["petname"],
        &[WHO, may(Takes::Text, "NAME")],
        ("your own name for a person; without it, theirs", "contact.rename"),
        |a| to(a, Then::Rename),
    ),
    row(
        People,
        "verify",
        &["compare"],
        &[WHO, may(Takes::Words(&["yes", "no"]), "yes|no")],
        (
            "show the codes to compare with a person, then say whether they are equal",
            "contact.verify",
        ),
        |a| to(a, Then::Verify),
    ),
    row(
        People,
        "whois",
        &["info"],
        &[WHO],
        ("everything known about a person", "contact.get"),
        |a| some(a).map(Action::Whois),
    ),
    row(
        People,
        "trace",
        &["ping"],
        &[WHO],
        ("the route to a person, and how long it takes", "node.status"),
        |a| some(a).map(Action::Trace),
    ),
    row(
        Program,
        "help",
        &["h", "?"],
        &[may(Takes::Command, "COMMAND")],
        ("this list, or one line of it", ""),
        |a| Some(Action::Help(word(a).map(|w| w.trim_start_matches('/').to_owned()))),
    ),
    row(
        Program,
        "nick",
        &["alias", "name"],
        &[need(Takes::Text, "NAME")],
        ("change your name, in every room", "profile.set"),
        |a| some(a).map(Action::Nick),
    ),
    row(
        Program,
        "receipts",
        &[],
        &[ON_OFF],
        ("tell others when you have read their direct messages", "privacy.set"),
        |a| {
            if a.is_empty() {
                Some(Action::Receipts(None))
            } else {
                choice(a, "on", "off").map(|on| Action::Receipts(Some(on)))
            }
        },
    ),
    row(
        Program,
        "typing",
        &[],
        &[ON_OFF],
        ("tell others when you are writing to them", "privacy.set"),
        |a| {
            if a.is_empty() {
                Some(Action::Typing(None))
            } else {
                choice(a, "on", "off").map(|on| Action::Typing(Some(on)))
            }
        },
    ),
    row(Program, "whoami", &["id", "myid"], &[], ("your name and keys", "node.status"), |a| {
        none(a, Action::Whoami)
    }),
    row(Program, "status", &[], &[], ("what the node is doing", "node.status"), |a| {
        none(a, Action::Status)
    }),
    row(Program, "net", &["network"], &[], ("addresses and connections", "node.status"), |a| {
        none(a, Action::Net)
    }),
    row(
        Program,
        "connect",
        &["dial"],
        &[need(Takes::Text, "ADDR")],
        ("look for a node at this address: 192.0.2.7:4001", "peer.add"),
        |a| single(a).map(Action::Connect),
    ),
    row(
        Program,
        "doctor",
        &["health"],
        &[],
        ("what is wrong, and the command that helps", "node.status"),
        |a| none(a, Action::Doctor),
    ),
    row(Program, "clear", &["cls"], &[], ("empty the screen; nothing is forgotten", ""), |a| {
        none(a, Action::Clear)
    }),
    row(
        Program,
        "lock",
        &["logout"],
        &[],
        ("stop the node, so that no key stays in memory, and end", "node.stop"),
        |a| none(a, Action::Lock),
    ),
    row(
        Program,
        "quit",
        &["exit", "bye", "q"],
        &[],
        ("end this program; a background node stays", ""),
        |a| none(a, Action::Quit),
    ),
];

/// Words that people type and that mean nothing here (yet): the honest answer to each.
pub const ABSENT: &[(&[&str], &str, &str)] = &[
    (
        &["kick", "ban"],
        "nobody can be removed from an open room",
        "/mute hides somebody from you, /block refuses everything from them",
    ),
    (
        &["role", "op", "deop", "mode"],
        "an open room has no roles: everybody in it may do the same",
        LOOK,
    ),
    (
        &["invite"],
        "there are no invitations: whoever knows a room's name, and its passphrase if it has one, \
         can /join it",
        "tell them these",
    ),
    (
        &["file", "upload", "sendfile"],
        "files cannot be sent",
        "a text may have 64,000 bytes, and `klatch send` takes it from a pipe",
    ),
    (&["close"], "", "/leave closes a conversation or leaves a room; /quit ends this program"),
    (
        &["destroy", "wipe", "purge"],
        "",
        "/leave --forget deletes a room from this disk; others keep what they have",
    ),
    (
        &["topic", "pin"],
        "rooms have no topic and no pinned messages",
        "/announce says something apart from conversation",
    ),
    (
        &["away", "back"],
        "there is no away state: others see when your node is connected, and nothing more",
        LOOK,
    ),
    (
        &["register", "login"],
        "there are no accounts",
        "`klatch init` makes an identity, `klatch unlock` opens it",
    ),
];

/// Where nothing does nearly the same.
const LOOK: &str = "/help lists what there is";

impl Row {
    /// What follows the name, as help shows it.
    pub fn arguments(&self) -> String {
        let words = self
            .args
            .iter()
            .map(|a| if a.needed { a.name.to_owned() } else { format!("[{}]", a.name) });
        words.collect::<Vec<_>>().join(" ")
    }

    /// How it is typed.
    pub fn usage(&self) -> String {
        format!("/{} {}", self.name, self.arguments()).trim_end().to_owned()
    }

    /// Whether it is called so.
    pub fn answers_to(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
            || self.aliases.iter().any(|a| a.eq_ignore_ascii_case(name))
    }
}

/// The row of that name or alias.
pub fn find(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|r| r.answers_to(name))
}
