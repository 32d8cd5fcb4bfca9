//! Hints name commands, and a command that is named can be pasted: with the profile in use in a
//! shell, as a slash command where slash commands are typed. Texts say `klatch verb ...` once, in
//! the shell's words; whatever shows them to people passes them through here.

use std::borrow::Cow;
use std::sync::OnceLock;

use crate::args::tree;

/// What a profile is called if nobody says.
pub const DEFAULT_PROFILE: &str = "default";

const PROGRAM: &str = "klatch ";
/// How a command begins and ends in a sentence that a chat shows too.
const QUOTE: char = '`';

/// The profile in use, unless it is the one that needs no name.
static PROFILE: OnceLock<String> = OnceLock::new();

/// Shell commands that a chat has as well; longer ones before their beginnings. The words in
/// capitals stand for where one is, which a chat knows.
const IN_CHAT: &[(&str, &str)] = &[
    ("contact list", "/contacts"),
    ("contact requests", "/requests"),
    ("contact accept", "/accept"),
    ("contact block", "/block"),
    ("contact unblock", "/unblock"),
    ("contact rename", "/rename"),
    ("verify", "/verify"),
    ("whois", "/whois"),
    ("send @", "/dm @"),
    ("members ROOM", "/users"),
    ("log ROOM --json", "/history"),
    ("log ROOM", "/history"),
    ("leave ROOM", "/leave"),
    ("join", "/join"),
    ("rooms", "/rooms"),
    ("peer add", "/connect"),
    ("peer list", "/net"),
    ("doctor", "/doctor"),
    ("help", "/help"),
];

/// Hints are for this profile from now on; only the first call counts.
pub fn are_for(profile: &str) {
    if profile != DEFAULT_PROFILE {
        // Set once per process.
        let _ = PROFILE.set(profile.to_owned());
    }
}

/// The text as somebody reads it who types into a shell.
pub fn in_shell(text: &str) -> Cow<'_, str> {
    match PROFILE.get() {
        Some(profile) if text.contains(PROGRAM) => Cow::Owned(with_profile(text, profile)),
        _ => Cow::Borrowed(text),
    }
}

/// The text as somebody reads it who types into a chat.
pub fn in_chat(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(QUOTE) {
        let (before, quoted) = rest.split_at(at);
        out.push_str(before);
        let inside = &quoted[QUOTE.len_utf8()..];
        let command = inside.find(QUOTE).map(|end| inside.split_at(end));
        match command.and_then(|(command, after)| Some((slash(command)?, after))) {
            Some((slash, after)) => {
                out.push_str(&slash);
                rest = &after[QUOTE.len_utf8()..];
            }
            None => {
                out.push(QUOTE);
                rest = inside;
            }
        }
    }
    out.push_str(rest);
    in_shell(&without_quotes(&out)).into_owned()
}

/// Names as a chat takes them: quotes around `'#garden'` and `'@Mary Ann'` are for a shell.
fn without_quotes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("'#").into_iter().chain(rest.find("'@")).min() {
        let (before, quoted) = rest.split_at(at);
        let inside = &quoted[1..];
        let Some((name, after)) = inside.split_once('\'') else { break };
        out.push_str(before);
        out.push_str(name);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A word as it is typed into a shell: in quotes if it has signs that mean something there.
pub fn shell_word(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "@%+=:,./_-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

/// The slash command that does the same, if there is one.
fn slash(command: &str) -> Option<String> {
    let command = command.strip_prefix(PROGRAM)?;
    let fits = |shell: &str, rest: &str| {
        (rest.is_empty() || rest.starts_with(' ') || shell.ends_with('@')) && !rest.contains(" --")
    };
    IN_CHAT.iter().find_map(|(shell, slash)| {
        let rest = command.strip_prefix(shell).filter(|rest| fits(shell, rest))?;
        // Quotes are for a shell.
        Some(format!("{slash}{}", rest.replace('\'', "")))
    })
}

/// Every `klatch verb` of a text gets its `--profile`.
fn with_profile(text: &str, profile: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find(PROGRAM) {
        let (before, found) = rest.split_at(at);
        let after = &found[PROGRAM.len()..];
        out.push_str(before);
        out.push_str(PROGRAM);
        let stands_alone = !before.ends_with(|c: char| c.is_alphanumeric() || "@#/._-".contains(c));
        let word = after.split(|c: char| !(c.is_ascii_lowercase() || c == '-')).next();
        if stands_alone && word.is_some_and(is_command) {
            out.push_str("--profile ");
            out.push_str(profile);
            out.push(' ');
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The same under every profile.
const EXPLAIN: [&str; 3] = ["help", "completions", "man"];

fn is_command(word: &str) -> bool {
    static COMMANDS: OnceLock<Vec<String>> = OnceLock::new();
    let names = || {
        let tree = tree();
        let names = tree.get_subcommands().map(|c| c.get_name().to_owned());
        names.filter(|name| !EXPLAIN.contains(&name.as_str())).collect()
    };
    COMMANDS.get_or_init(names).iter().any(|name| name == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_get_the_profile_and_other_words_do_not() {
        let shown = |text| with_profile(text, "work");
        assert_eq!(
            shown("`klatch down && klatch up --listen x`, then klatch members '#g'"),
            "`klatch --profile work down && klatch --profile work up --listen x`, then klatch \
             --profile work members '#g'"
        );
        for text in [
            "they open klatch and type",
            "klatch --profile NEW init",
            "klatch-testnet run x",
            "@klatch up",
            "my-klatch down",
            "klatch upwards",
            "`klatch help keys` explains them",
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn a_chat_hears_slash_commands_where_it_has_them() {
        for (shell, chat) in [
            ("not compared yet: `klatch verify @bob`", "not compared yet: /verify @bob"),
            ("`klatch contact accept @b` or `klatch contact block @b`", "/accept @b or /block @b"),
            ("`klatch log ROOM --json` shows message ids", "/history shows message ids"),
            ("begin: `klatch send @bob hello`", "begin: /dm @bob hello"),
            ("`klatch rooms --json` lists the ids", "`klatch rooms --json` lists the ids"),
            ("`klatch up` starts it", "`klatch up` starts it"),
            ("`klatch join '#zz'` opens it", "/join #zz opens it"),
            ("an odd ` sign, `klatch rooms`", "an odd ` sign, /rooms"),
            ("`klatch members '#g'`", "`klatch members #g`"),
            ("say which: '#m~abcd' or '@M A~EF'", "say which: #m~abcd or @M A~EF"),
            ("it's '#open", "it's '#open"),
        ] {
            assert_eq!(in_chat(shell), chat);
        }
    }

    #[test]
    fn every_shell_command_for_a_chat_and_its_slash_command_are_there() {
        for (shell, typed) in IN_CHAT {
            let mut command = tree();
            for word in shell.split(' ').take_while(|w| w.starts_with(char::is_lowercase)) {
                command = command.find_subcommand(word).expect(shell).clone();
            }
            let word = typed.trim_start_matches('/').trim_end_matches(" @");
            assert!(crate::slash::help(Some(word)).starts_with(&format!("/{word}")), "{typed}");
        }
    }
}
