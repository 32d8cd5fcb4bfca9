//! How the help is laid out: commands in groups by what they are for, and examples under those that
//! people use every day. What a command and its options are stands with the command.

use clap::{Command, CommandFactory};

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
    ("log", ["klatch log lobby --since -2h", "klatch log @bob --search tomatoes --json"]),
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
  klatch log lobby --since -2h         what was said in the last two hours

`klatch COMMAND --help` tells more. `klatch help TOPIC` explains: exit-codes, environment, privacy,
keys, slash, older-chats, topics";

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
    tree
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

    #[test]
    fn short_help_leaves_out_what_every_command_takes() {
        let mut tree = tree();
        tree.build();
        let send = tree.find_subcommand_mut("send").unwrap();
        let (short, long) = (send.render_help().to_string(), send.render_long_help().to_string());
        assert!(!short.contains("--unlock-file") && long.contains("--unlock-file"));
        assert!(short.contains("klatch send lobby"), "{short}");
    }
}
