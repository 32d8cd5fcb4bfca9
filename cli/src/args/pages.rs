//! How the help is laid out: commands in groups by what they are for, and examples under those that
//! people use every day. What a command and its options are stands with the command.

use std::ffi::OsString;

use clap::{Arg, Command, CommandFactory};

use super::Cli;

/// A heading, and the commands below it in the order shown.
type Group = (&'static str, &'static [&'static str]);

/// Every command that is not hidden is in one of them.
const GROUPS: &[Group] = &[
    ("Talk", &["chat", "send", "log", "tail", "rooms", "join", "leave", "members"]),
    ("People", &["contact", "verify", "whois", "privacy"]),
    ("Your node", &["up", "down", "status", "wait", "doctor", "peer", "node"]),
    ("Your identity", &["init", "passphrase", "unlock", "lock"]),
    ("Scripts and bots", &["room", "message", "events", "bot", "api", "token"]),
    ("This program", &["help", "completions", "man"]),
];

/// Under which commands examples stand, two lines each.
const EXAMPLES: &[(&str, [&str; 2])] = &[
    ("chat", ["klatch chat lobby", "klatch chat @bob"]),
    (
        "send",
        ["klatch send lobby 'see you at eight'", "uptime | klatch send @bob --wait delivered"],
    ),
    ("log", ["klatch log lobby --since 2h", "klatch log @bob --search tomatoes --json"]),
    ("tail", ["klatch tail lobby", "klatch tail lobby -n 0 --json"]),
    ("rooms", ["klatch rooms", "klatch rooms --json"]),
    ("join", ["klatch join garden", "klatch join study --passphrase"]),
    ("leave", ["klatch leave garden", "klatch leave garden --yes"]),
    ("members", ["klatch members lobby", "klatch members lobby --json"]),
    ("contact", ["klatch contact requests", "klatch contact accept @bob --as Robert"]),
    ("verify", ["klatch verify @bob", "klatch verify @bob --yes"]),
    ("whois", ["klatch whois @bob", "klatch whois @bob --json"]),
    ("privacy", ["klatch privacy", "klatch privacy --receipts on"]),
    ("up", ["klatch up", "klatch up --listen 0.0.0.0:4001 --peer 192.0.2.7:4001"]),
    ("down", ["klatch down", "klatch --profile work down"]),
    ("status", ["klatch status", "klatch status --json"]),
    ("peer", ["klatch peer add 192.0.2.7:4001", "klatch peer list"]),
    ("wait", ["klatch wait peer --timeout 1m", "klatch wait room:#lobby"]),
    ("doctor", ["klatch doctor", "klatch doctor --bundle report.tar"]),
    (
        "events",
        ["klatch events room/ --after start", "klatch events dm/ --type message.added --json"],
    ),
    (
        "bot",
        [
            "klatch bot exec --room lobby --prefix !up -- uptime",
            "klatch bot exec --dm --on-error reply -- ./answer",
        ],
    ),
];

const TOPICS: &str = "\
Examples:
  klatch                               the full screen, where you were
  klatch chat lobby                    open a room and talk; the first time it asks for your name
  klatch up && klatch send lobby hi    a background node, and a message through it
  klatch log lobby --since 2h          what was said in the last two hours

`klatch COMMAND --help` tells more. `klatch help TOPIC` explains: options, exit-codes, environment,
privacy, keys, slash, older-chats, topics";

/// Under the help of each command: its own options are to be seen, not those of every other.
const ASIDE: &str = "Options for every command (--profile NAME, --json, ...): klatch help options";

/// The whole command tree, for parsing, help and completions.
pub fn tree() -> Command {
    let mut tree = Cli::command();
    let template = format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n{}\nOptions:\n{{options}}\n\n{{after-help}}",
        groups(&tree)
    );
    tree = tree.help_template(template).after_help(TOPICS);
    for (name, examples) in EXAMPLES {
        let text = format!("Examples:\n  {}\n  {}", examples[0], examples[1]);
        tree = tree.mut_subcommand(name, |command| command.after_help(text));
    }
    let everywhere: Vec<Arg> = for_every_command(&tree).cloned().collect();
    tree.mut_subcommands(|command| put_aside(command, &everywhere))
}

/// The options that every command takes.
fn for_every_command(tree: &Command) -> impl Iterator<Item = &Arg> {
    tree.get_arguments().filter(|a| a.is_global_set())
}

/// Whether an option, `--json` or `-q`, is one that every command takes.
pub fn is_for_every_command(option: &str) -> bool {
    let tree = Cli::command();
    for_every_command(&tree).any(|arg| {
        let long = option.strip_prefix("--").is_some_and(|name| arg.get_long() == Some(name));
        let short = option.strip_prefix('-').and_then(|name| name.chars().next());
        long || (short.is_some() && arg.get_short() == short)
    })
}

/// The example lines of a command, such as `contact accept`.
pub fn examples(command: &str) -> Vec<&'static str> {
    let of = |line: &&str| {
        let line = line.rsplit(" | ").next().unwrap_or(line);
        let rest = line.strip_prefix("klatch ").and_then(|line| line.strip_prefix(command));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    EXAMPLES.iter().flat_map(|(_, lines)| lines.iter().copied()).filter(of).collect()
}

/// They are taken by the command, and not shown in its help.
fn put_aside(command: Command, everywhere: &[Arg]) -> Command {
    let before = command.get_after_help().map(|text| format!("{text}\n\n")).unwrap_or_default();
    command
        .args(everywhere.iter().map(|a| a.clone().hide_long_help(true)))
        .after_help(format!("{before}{ASIDE}"))
        .mut_subcommands(|below| put_aside(below, everywhere))
}

/// The command that a line names, as far as it can be followed; the whole tree if it names none.
pub fn named(words: impl IntoIterator<Item = OsString>) -> Command {
    let mut command = tree();
    command.build();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let word = word.to_string_lossy();
        if let Some(option) = word.strip_prefix("--") {
            let taken = command.get_arguments().find(|a| a.get_long() == Some(option));
            if taken.is_some_and(|a| a.get_action().takes_values()) {
                // What follows is its value.
                let _ = words.next();
            }
        } else if let Some(below) = command.find_subcommand(word.as_ref()).cloned() {
            command = below;
        }
    }
    command
}

/// `klatch help options`.
pub fn options() -> String {
    let tree = Cli::command();
    let shown =
        for_every_command(&tree).map(|a| a.clone().help_heading(None).hide_short_help(false));
    let alone = Command::new("klatch").disable_help_flag(true).args(shown.collect::<Vec<_>>());
    let text = alone.help_template("{options}").render_help().to_string();
    format!("Before or behind any command:\n\n{}", text.trim_end())
}

/// The commands under their headings.
fn groups(tree: &Command) -> String {
    let mut text = String::new();
    for (title, names) in GROUPS {
        text.push_str(&format!("\n{title}:\n"));
        for name in *names {
            let about = tree.find_subcommand(name).and_then(Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            text.push_str(&format!("  {name:<12} {about}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Words as a shell would cut these simple lines; of a pipe the last part.
    fn words(line: &str) -> Vec<String> {
        let line = line.rsplit(" | ").next().unwrap();
        let quoted = line.split('\'').enumerate();
        quoted
            .flat_map(|(n, part)| match n % 2 {
                1 => vec![part.to_owned()],
                _ => part.split_whitespace().map(str::to_owned).collect(),
            })
            .collect()
    }

    #[test]
    fn every_command_is_in_one_group_and_fits_a_line() {
        let tree = tree();
        let shown: Vec<&str> =
            tree.get_subcommands().filter(|c| !c.is_hide_set()).map(Command::get_name).collect();
        let grouped: Vec<&str> =
            GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        assert_eq!(BTreeSet::from_iter(&shown), BTreeSet::from_iter(&grouped));
        assert_eq!(shown.len(), grouped.len(), "a command in two groups");
        for line in groups(&tree).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn every_example_is_a_command_line_that_parses() {
        for (name, examples) in EXAMPLES {
            for example in examples {
                let parsed = tree().try_get_matches_from(words(example));
                let parsed = parsed.unwrap_or_else(|e| panic!("{example}: {e}"));
                assert_eq!(parsed.subcommand_name(), Some(*name), "{example}");
            }
        }
    }

    /// A command and all below it.
    fn each(command: &Command, look: &mut impl FnMut(&Command)) {
        look(command);
        command.get_subcommands().for_each(|below| each(below, look));
    }

    #[test]
    fn what_every_command_takes_is_told_once_and_taken_everywhere() {
        let mut tree = tree();
        tree.build();
        let all: Vec<String> =
            for_every_command(&tree).map(|a| format!("--{}", a.get_long().unwrap())).collect();
        assert!(all.contains(&"--unlock-file".to_owned()));
        let (whole, apart) = (tree.render_long_help().to_string(), options());
        for option in &all {
            assert!(whole.contains(option.as_str()) && apart.contains(option.as_str()), "{option}");
        }
        for top in tree.get_subcommands().filter(|c| !c.is_hide_set()) {
            each(top, &mut |command| {
                let (mut command, name) = (command.clone(), command.get_name().to_owned());
                for help in [command.render_help(), command.render_long_help()] {
                    let help = help.to_string();
                    assert!(help.trim_end().ends_with(ASIDE), "{name}: {help}");
                    let explains = |line: &str| {
                        let line = line.trim_start();
                        let told = |o: &String| {
                            line.starts_with(o.as_str()) || line.contains(&format!(", {o}"))
                        };
                        line.starts_with('-') && all.iter().any(told)
                    };
                    assert!(!help.lines().any(explains), "{name}: {help}");
                }
                for option in &all {
                    let long = option.trim_start_matches("--");
                    let taken = command.get_arguments().any(|a| a.get_long() == Some(long));
                    assert!(taken, "{name} {option}");
                }
            });
        }
        let send = tree.find_subcommand_mut("send").unwrap().render_help().to_string();
        assert!(send.contains("klatch send lobby"), "{send}");
        let parsed = super::tree().try_get_matches_from(["klatch", "peer", "list", "--json"]);
        assert!(parsed.unwrap().get_flag("json"), "wherever it is typed");
    }
}
