//! Slash commands: one table (`table.rs`) feeds the parser, `/help`, the suggestions, the
//! completion and the pages. What a command does is in `act/`.

mod action;
mod table;
mod words;

use std::fmt;

use klatch_node::api::nearest;

pub use self::action::{Action, Then};
pub use self::table::{ABSENT, Group, TABLE, Takes, find};
pub use self::words::{choice, unquoted};

/// What a line typed into a room means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Nothing.
    Empty,
    /// Something to say.
    Text(String),
    /// Something to do.
    Do(Action),
    /// A word that people type when they mean a command: it is not sent unless confirmed by an
    /// empty line.
    Bare(&'static str),
}

/// Why a line is neither a text nor a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong with it.
    pub cause: String,
    /// What to type instead.
    pub hint: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.cause, self.hint)
    }
}

/// Reads one line, or several that are one text.
///
/// # Errors
/// What to tell the user: nothing was sent.
pub fn parse(line: &str) -> Result<Input, Refused> {
    let line = line.trim_end_matches(['\r', '\n']);
    let trimmed = line.trim();
    if trimmed.is_empty() {
        return Ok(Input::Empty);
    }
    if let Some(bare) =
        ["exit", "quit", "help", ":q"].into_iter().find(|w| trimmed.eq_ignore_ascii_case(w))
    {
        return Ok(Input::Bare(bare));
    }
    let Some(command) = line.strip_prefix('/') else { return Ok(Input::Text(line.to_owned())) };
    if command.starts_with('/') {
        return Ok(Input::Text(command.to_owned()));
    }
    let (name, args) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let Some(row) = find(name) else { return Err(unknown(name)) };
    (row.build)(args.trim()).map(Input::Do).ok_or_else(|| Refused {
        cause: format!("that is not how /{} is written", row.name),
        hint: format!("{}  ({})", row.usage(), row.help),
    })
}

/// Whether a line that was refused may have been meant to change the place: what follows it is then
/// not for the place where one still is. A word that nobody knows may have been anything.
pub fn may_move(line: &str) -> bool {
    /// Rows of the table.
    const MOVE: [&str; 4] = ["join", "private", "leave", "dm"];
    let Some(command) = line.strip_prefix('/').filter(|c| !c.starts_with('/')) else {
        return false;
    };
    let name = command.split_whitespace().next().unwrap_or_default();
    match find(name) {
        Some(row) => MOVE.contains(&row.name),
        // A path such as /usr/bin is no command that somebody misspelled.
        None => absent(name).is_none() && name.chars().all(char::is_alphabetic),
    }
}

/// Why there is no such command, and which one may be meant.
fn unknown(name: &str) -> Refused {
    let shown: String = name.chars().take(32).collect();
    let cause = format!("there is no /{shown}");
    if let Some((why, instead)) = absent(name) {
        let cause = if why.is_empty() { cause } else { format!("{cause}: {why}") };
        return Refused { cause, hint: instead.to_owned() };
    }
    let names = TABLE.iter().flat_map(|r| r.aliases.iter().copied().chain([r.name]));
    let near = nearest(name, names)
        .map_or_else(|| "/help lists all".to_owned(), |n| format!("did you mean /{n}?"));
    Refused { cause, hint: format!("{near} (//{shown} sends it as text)") }
}

/// Why there is none, and what does nearly the same.
fn absent(name: &str) -> Option<(&'static str, &'static str)> {
    let row = ABSENT.iter().find(|(names, ..)| names.iter().any(|n| n.eq_ignore_ascii_case(name)));
    row.map(|(_, why, instead)| (*why, *instead))
}

/// The word at the end of what was typed so far, for completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished<'a> {
    /// What it should name. [`Takes::Text`] has nothing to offer but names of people and emoji.
    pub takes: Takes,
    /// What is there of it. A command's name comes without its slash.
    pub word: &'a str,
    /// Where it begins, in bytes.
    pub at: usize,
}

/// What the end of an unfinished line should become, if the line is a slash command.
pub fn unfinished(typed: &str) -> Option<Unfinished<'_>> {
    let command = typed.strip_prefix('/').filter(|c| !c.starts_with('/'))?;
    let Some((name, args)) = command.split_once(char::is_whitespace) else {
        return Some(Unfinished { takes: Takes::Command, word: command, at: 1 });
    };
    let row = find(name)?;
    let word = args.rsplit(char::is_whitespace).next().unwrap_or_default();
    let at = typed.len() - word.len();
    let before = args[..args.len() - word.len()].split_whitespace().count();
    // Beyond the last argument a text goes on; nothing follows anything else.
    let arg =
        row.args.get(before).or_else(|| row.args.last().filter(|a| a.takes == Takes::Text))?;
    Some(Unfinished { takes: arg.takes, word, at })
}

/// The text of `/help`, or of `/help COMMAND`.
pub fn help(command: Option<&str>) -> String {
    let Some(name) = command else { return help_all() };
    let Some(row) = find(name) else { return unknown(name).to_string() };
    let aliases: Vec<String> = row.aliases.iter().map(|a| format!("/{a}")).collect();
    let also =
        if aliases.is_empty() { String::new() } else { format!("; also {}", aliases.join(" ")) };
    let api = row.method.map_or_else(String::new, |m| format!("; API: {m}"));
    format!("{}  {}{also}{api}", row.usage(), row.help)
}

fn help_all() -> String {
    let mut text = String::new();
    for group in Group::ALL {
        text.push_str(group.title());
        text.push('\n');
        for row in TABLE.iter().filter(|r| r.group == *group) {
            text.push_str(&format!("  {:<24} {}\n", row.usage(), row.help));
        }
    }
    text.push_str("  //text                   send a text that begins with a slash");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(line: &str) -> Action {
        match parse(line) {
            Ok(Input::Do(action)) => action,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn names_and_aliases_are_unique_and_methods_exist() {
        let absent = ABSENT.iter().flat_map(|(names, ..)| names.iter());
        let mut names: Vec<String> = TABLE
            .iter()
            .flat_map(|r| r.aliases.iter().chain([&r.name]))
            .chain(absent)
            .map(|n| n.to_lowercase())
            .collect();
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
        assert_eq!(parse("hello /join"), Ok(Input::Text("hello /join".into())));
        assert_eq!(parse("//etc/hosts"), Ok(Input::Text("/etc/hosts".into())));
        assert_eq!(parse("  \r\n"), Ok(Input::Empty));
        assert_eq!(parse("exit"), Ok(Input::Bare("exit")));
        assert_eq!(act("/JOIN #garden"), Action::Join("#garden".into()));
        let private = Action::JoinPrivate("#study".into());
        assert_eq!(act("/join #study --passphrase"), private);
        assert_eq!(act("/join --passphrase #study"), private);
        assert_eq!(act("/private #study"), private);
        assert!(parse("/join #study secret").is_err(), "never as a part of a line");
        assert_eq!(act("/createChatroom garden"), Action::Join("garden".into()));
        assert_eq!(act("/leave"), Action::Leave(None));
        assert_eq!(act("/history 5"), Action::History(5));
        assert_eq!(
            act("/reply ^2  see you"),
            Action::Reply { message: "^2".into(), text: "see you".into() }
        );
        assert_eq!(act("/help /join"), Action::Help(Some("join".into())));
        assert_eq!(act("/q"), Action::Quit);
    }

    #[test]
    fn commands_about_people_take_names_texts_and_answers() {
        // Where the name ends is not known here.
        let to = |line: &str, then| Action::To { line: line.into(), then };
        assert_eq!(act("/dm @Mary Ann see you"), to("@Mary Ann see you", Then::Dm));
        assert_eq!(act("/w @bob"), to("@bob", Then::Dm));
        assert_eq!(act("/verify bob b YES"), to("bob b YES", Then::Verify));
        assert_eq!(act("/rename @bob Bob from work"), to("@bob Bob from work", Then::Rename));
        assert_eq!(
            act("/bm \"hi all\""),
            Action::Broadcast { text: "hi all".into(), confirmed: false }
        );
        assert_eq!(act("/decline @eve"), Action::Block { who: "@eve".into(), blocked: true });
        assert_eq!(act("/receipts off"), Action::Receipts(Some(false)));
        assert!(
            parse("/receipts maybe").is_err() && parse("/dm").is_err() && parse("/bm").is_err()
        );
    }

    #[test]
    fn slips_get_the_nearest_name_and_usage() {
        assert!(parse("/jion #x").unwrap_err().hint.contains("/join"));
        assert!(parse("/frobnicate").unwrap_err().hint.contains("/help"));
        let join = parse("/j").unwrap_err();
        assert_eq!(join.cause, "that is not how /join is written");
        assert!(join.hint.starts_with("/join #ROOM"), "{join}");
        assert!(parse("/history many").unwrap_err().hint.starts_with("/history"));
        let long = parse(&format!("/{}", "x".repeat(100_000))).unwrap_err();
        assert!(long.to_string().len() < 200);
        // Whatever is refused, there is something to type.
        for line in ABSENT.iter().flat_map(|(names, ..)| names.iter()).chain(&["jion", "x/y"]) {
            let refused = parse(&format!("/{line}")).unwrap_err();
            assert!(!refused.hint.is_empty() && !refused.cause.contains("; "), "{refused:?}");
        }
    }

    #[test]
    fn what_may_change_the_place_is_known_also_if_it_is_refused() {
        for line in ["/join #x", "/private #x", "/w @bob", "/leave", "/leave --forget"] {
            assert!(act(line).moves() && may_move(line), "{line}");
        }
        for line in ["/join", "/j #a b", "/private", "/dm", "/jion #x", "/room #x", "/goto x", "/"]
        {
            assert!(parse(line).is_err() && may_move(line), "{line}");
        }
        for line in ["/usr/bin/env", "/kick @eve", "/history many", "//join #x", "join #x"] {
            assert!(!may_move(line), "{line}");
        }
        for line in ["/verify @bob", "/whois @bob", "/rename @bob b", "/me waves", "/users"] {
            assert!(!act(line).moves() && !may_move(line), "{line}");
        }
    }

    #[test]
    fn what_is_not_there_is_said_and_not_pretended() {
        assert!(parse("/kick @eve").unwrap_err().hint.contains("/mute"));
        assert!(parse("/topic tomatoes").unwrap_err().cause.contains("no topic"));
        assert!(help(Some("ban")).contains("/mute"));
    }

    #[test]
    fn the_end_of_an_unfinished_line_says_what_it_should_name() {
        let takes = |typed| unfinished(typed).map(|u| (u.takes, u.word.to_owned(), u.at));
        assert_eq!(takes("/jo"), Some((Takes::Command, "jo".into(), 1)));
        assert_eq!(takes("/join "), Some((Takes::Room, String::new(), 6)));
        assert_eq!(takes("/dm @b"), Some((Takes::Person, "@b".into(), 4)));
        assert_eq!(takes("/react ^ :th"), Some((Takes::Emoji, ":th".into(), 9)));
        assert_eq!(takes("/dm @bob hello wo"), Some((Takes::Text, "wo".into(), 15)));
        assert_eq!(takes("/receipts o"), Some((Takes::Words(&["on", "off"]), "o".into(), 10)));
        for nothing in ["hello", "//etc", "/nothing x", "/rooms "] {
            assert_eq!(takes(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn help_names_every_row() {
        let text = help(None);
        assert!(TABLE.iter().all(|r| text.contains(&r.usage())));
        assert!(help(Some("users")).contains("/names"));
    }
}
