//! One table of slash commands: name, aliases, arguments, help line and parser. It feeds the parser, `/help`, the
//! suggestions, and what comes later (completion, documents, the full screen).

use klatch_node::api::nearest;

/// What a line typed into a room means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Nothing.
    Empty,
    /// Something to say.
    Text(String),
    /// Something to do.
    Do(Action),
    /// A word that people type when they mean a command: it is not sent unless confirmed by an empty line.
    Bare(&'static str),
}

/// What a slash command asks for. Messages are named as typed; whoever carries the action out finds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The table, or one row of it.
    Help(Option<String>),
    /// Open a room and talk there.
    Join(String),
    /// Leave the current or the named room.
    Leave(Option<String>),
    /// List rooms.
    Rooms,
    /// List the members of the current room.
    Users,
    /// List connected peers.
    Online,
    /// Show old lines, with their ids.
    History(u32),
    /// Show lines with these words.
    Search(String),
    /// Answer a message.
    Reply {
        /// Which.
        message: String,
        /// What.
        text: String,
    },
    /// `[MESSAGE] TEXT`: only the memory of recent messages can tell whether the first word names one.
    Edit(String),
    /// Withdraw a message.
    Delete(String),
    /// Put an emoji on a message, or take it off.
    React {
        /// Which.
        message: String,
        /// The emoji.
        emoji: String,
        /// On or off.
        on: bool,
    },
    /// Say something apart from conversation.
    Announce(String),
    /// Change the own name.
    Nick(String),
    /// Hide or show a member.
    Mute {
        /// Name or device.
        who: String,
        /// Hide or show.
        muted: bool,
    },
    /// The own name and keys.
    Whoami,
    /// What the node is doing.
    Status,
    /// End the program.
    Quit,
}

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    /// Without the slash.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// Arguments, as help shows them.
    pub args: &'static str,
    /// One line.
    pub help: &'static str,
    /// The API method behind it, for documents.
    pub method: Option<&'static str>,
    build: fn(&str) -> Option<Action>,
}

const fn row(
    name: &'static str,
    aliases: &'static [&'static str],
    args: &'static str,
    help: &'static str,
    method: Option<&'static str>,
    build: fn(&str) -> Option<Action>,
) -> Row {
    Row { name, aliases, args, help, method, build }
}

/// The table.
pub const TABLE: &[Row] = &[
    row("help", &["h", "?"], "[COMMAND]", "this list, or one line of it", None, |a| {
        Some(Action::Help(word(a).map(|w| w.trim_start_matches('/').to_owned())))
    }),
    row(
        "join",
        &["j", "create", "createChatroom", "joinChatroom"],
        "#ROOM",
        "open a room and talk there",
        Some("room.join"),
        |a| single(a).map(Action::Join),
    ),
    row("leave", &["part", "exitChatroom"], "[#ROOM]", "leave a room; history is kept", Some("room.leave"), |a| {
        if a.is_empty() { Some(Action::Leave(None)) } else { single(a).map(|r| Action::Leave(Some(r))) }
    }),
    row("rooms", &["list", "getAllChatrooms"], "", "your rooms", Some("room.list"), |a| none(a, Action::Rooms)),
    row(
        "users",
        &["names", "who", "members", "getChatroomMembers"],
        "",
        "who has been seen in this room",
        Some("room.members"),
        |a| none(a, Action::Users),
    ),
    row("online", &["peers", "getActiveUsers"], "", "who is connected", Some("node.status"), |a| {
        none(a, Action::Online)
    }),
    row(
        "history",
        &["fetchMessages", "lastlog"],
        "[N]",
        "the last N lines, with message ids",
        Some("message.list"),
        |a| {
            /// What `message.list` gives at most.
            const LINES_MAX: u32 = 1_000;
            if a.is_empty() {
                Some(Action::History(20))
            } else {
                a.parse().ok().map(|n: u32| Action::History(n.clamp(1, LINES_MAX)))
            }
        },
    ),
    row("search", &["find", "grep"], "WORDS", "lines of this room with these words", Some("message.list"), |a| {
        some(a).map(Action::Search)
    }),
    row(
        "reply",
        &["re"],
        "MESSAGE TEXT",
        "answer a message: ^ is the newest of others, ^2 the one before, or an id",
        Some("message.send"),
        |a| two(a).map(|(message, text)| Action::Reply { message, text }),
    ),
    row(
        "edit",
        &["e"],
        "[MESSAGE] TEXT",
        "new text for your newest message, or for the named one",
        Some("message.edit"),
        |a| some(a).map(Action::Edit),
    ),
    row(
        "delete",
        &["del", "redact"],
        "[MESSAGE]",
        "withdraw your newest message, or the named one",
        Some("message.delete"),
        |a| {
            if a.is_empty() { Some(Action::Delete("^".to_owned())) } else { single(a).map(Action::Delete) }
        },
    ),
    row("react", &["r"], "MESSAGE EMOJI", "put an emoji on a message", Some("message.react"), |a| react(a, true)),
    row("unreact", &[], "MESSAGE EMOJI", "take it off", Some("message.react"), |a| react(a, false)),
    row("announce", &["notice"], "TEXT", "say something apart from conversation", Some("message.announce"), |a| {
        some(a).map(Action::Announce)
    }),
    row("nick", &["alias", "name"], "NAME", "change your name, in every room", Some("profile.set"), |a| {
        some(a).map(Action::Nick)
    }),
    row("mute", &["ignore"], "WHO", "hide what somebody writes, here only", Some("room.mute"), |a| {
        some(a).map(|who| Action::Mute { who, muted: true })
    }),
    row("unmute", &["unignore"], "WHO", "show it again", Some("room.mute"), |a| {
        some(a).map(|who| Action::Mute { who, muted: false })
    }),
    row("whoami", &["id", "myid"], "", "your name and keys", Some("node.status"), |a| none(a, Action::Whoami)),
    row("status", &["net"], "", "what the node is doing", Some("node.status"), |a| none(a, Action::Status)),
    row("quit", &["exit", "bye", "q"], "", "end this program; a background node stays", None, |a| {
        none(a, Action::Quit)
    }),
];

fn word(args: &str) -> Option<&str> {
    args.split_whitespace().next()
}

fn some(args: &str) -> Option<String> {
    Some(args.to_owned()).filter(|a| !a.is_empty())
}

fn none(args: &str, action: Action) -> Option<Action> {
    args.is_empty().then_some(action)
}

fn single(args: &str) -> Option<String> {
    (args.split_whitespace().count() == 1).then(|| args.to_owned())
}

fn two(args: &str) -> Option<(String, String)> {
    let (first, rest) = args.split_once(char::is_whitespace)?;
    Some((first.to_owned(), some(rest.trim())?))
}

fn react(args: &str, on: bool) -> Option<Action> {
    two(args).map(|(message, emoji)| Action::React { message, emoji, on })
}

impl Row {
    /// How it is typed.
    pub fn usage(&self) -> String {
        format!("/{} {}", self.name, self.args).trim_end().to_owned()
    }

    fn answers_to(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.aliases.iter().any(|a| a.eq_ignore_ascii_case(name))
    }
}

/// The row of that name or alias.
pub fn find(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|r| r.answers_to(name))
}

/// Reads one line.
///
/// # Errors
/// What to tell the user: nothing was sent.
pub fn parse(line: &str) -> Result<Input, String> {
    let line = line.trim_end_matches(['\r', '\n']);
    let trimmed = line.trim();
    if trimmed.is_empty() {
        return Ok(Input::Empty);
    }
    if let Some(bare) = ["exit", "quit", "help", ":q"].into_iter().find(|w| trimmed.eq_ignore_ascii_case(w)) {
        return Ok(Input::Bare(bare));
    }
    let Some(command) = line.strip_prefix('/') else { return Ok(Input::Text(line.to_owned())) };
    if command.starts_with('/') {
        return Ok(Input::Text(command.to_owned()));
    }
    let (name, args) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let Some(row) = find(name) else {
        let names = TABLE.iter().flat_map(|r| r.aliases.iter().copied().chain([r.name]));
        let near = nearest(name, names).map_or_else(|| "/help lists all".to_owned(), |n| format!("did you mean /{n}?"));
        let shown: String = name.chars().take(32).collect();
        return Err(format!("there is no /{shown}; {near} (//{shown} sends it as text)"));
    };
    (row.build)(args.trim()).map(Input::Do).ok_or_else(|| format!("usage: {}  ({})", row.usage(), row.help))
}

/// The text of `/help`, or of `/help COMMAND`.
pub fn help(command: Option<&str>) -> String {
    match command {
        Some(name) => match find(name) {
            Some(row) => {
                let aliases: Vec<String> = row.aliases.iter().map(|a| format!("/{a}")).collect();
                let also = if aliases.is_empty() { String::new() } else { format!("; also {}", aliases.join(" ")) };
                let api = row.method.map_or_else(String::new, |m| format!("; API: {m}"));
                format!("{}  {}{also}{api}", row.usage(), row.help)
            }
            None => format!("there is no /{name}; /help lists all"),
        },
        None => {
            let mut text = String::new();
            for row in TABLE {
                text.push_str(&format!("  {:<24} {}\n", row.usage(), row.help));
            }
            text.push_str("  //text                   send a text that begins with a slash");
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_are_unique_and_methods_exist() {
        let mut names: Vec<String> =
            TABLE.iter().flat_map(|r| r.aliases.iter().chain([&r.name]).map(|n| n.to_lowercase())).collect();
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        for method in TABLE.iter().filter_map(|r| r.method) {
            assert!(klatch_node::api::registry::find(method).is_ok(), "{method}");
        }
    }

    #[test]
    fn lines_parse_to_what_they_say() {
        let act = |line| match parse(line) {
            Ok(Input::Do(action)) => action,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(parse("hello /join"), Ok(Input::Text("hello /join".into())));
        assert_eq!(parse("//etc/hosts"), Ok(Input::Text("/etc/hosts".into())));
        assert_eq!(parse("  \r\n"), Ok(Input::Empty));
        assert_eq!(parse("exit"), Ok(Input::Bare("exit")));
        assert_eq!(act("/JOIN #garden"), Action::Join("#garden".into()));
        assert_eq!(act("/createChatroom garden"), Action::Join("garden".into()));
        assert_eq!(act("/leave"), Action::Leave(None));
        assert_eq!(act("/history 5"), Action::History(5));
        assert_eq!(act("/reply ^2  see you"), Action::Reply { message: "^2".into(), text: "see you".into() });
        assert_eq!(act("/help /join"), Action::Help(Some("join".into())));
        assert_eq!(act("/q"), Action::Quit);
    }

    #[test]
    fn slips_get_the_nearest_name_and_usage() {
        assert!(parse("/jion #x").unwrap_err().contains("/join"));
        assert!(parse("/frobnicate").unwrap_err().contains("/help"));
        assert!(parse("/join").unwrap_err().contains("usage: /join #ROOM"));
        assert!(parse("/history many").unwrap_err().contains("usage"));
        assert!(parse(&format!("/{}", "x".repeat(100_000))).unwrap_err().len() < 200);
    }

    #[test]
    fn help_names_every_row() {
        let text = help(None);
        assert!(TABLE.iter().all(|r| text.contains(&r.usage())));
        assert!(help(Some("users")).contains("/names"));
    }
}
