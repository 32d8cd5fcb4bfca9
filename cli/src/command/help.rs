//! `klatch help`: commands and topics; and completion scripts.

use std::path::Path;

use clap_complete::Shell;
use klatch_node::api::nearest;
use serde_json::json;

use crate::args::{options, tree};
use crate::context::Context;
use crate::error::Report;

const TOPICS: &[(&str, &str)] = &[
    ("exit-codes", EXIT_CODES),
    ("environment", ENVIRONMENT),
    ("privacy", PRIVACY),
    (
        "topics",
        "Topics: options, exit-codes, environment, privacy, keys, slash, older-chats. Commands: klatch --help",
    ),
];

/// What the page of `older.rs` may be asked for as.
const OLDER: [&str; 2] = ["older-chats", "seeds"];

/// What every command takes.
const OPTIONS: &str = "options";

const EXIT_CODES: &str = "\
0    done
1    failed
2    wrong usage or configuration
3    not found: room, member or message
4    locked: a passphrase is needed, or it is wrong
5    the node is not running or cannot be reached
6    timed out, or nobody could be reached
7    refused: by a rule of the room, or because it is not yours
8    partly done, for example delivered to some
130  interrupted by Ctrl+C or SIGTERM";

const ENVIRONMENT: &str = "\
KLATCH_HOME             folder of all profiles instead of the user's own folders; for tests and for several nodes
KLATCH_PROFILE          as --profile: one of several identities (default: default)
KLATCH_NAME             as --name: your name when the identity is made
KLATCH_PASSPHRASE_FILE  as --unlock-file: file with the passphrase of the keystore
KLATCH_KEYMAP           as --keymap of the full screen: readline or vi
KLATCH_LOOPBACK_ONLY    as --loopback-only: stay on this machine
KLATCH_LOG              what is logged, for example info or klatch_node=debug; message texts never are
NO_COLOR                no colours
XDG_DATA_HOME           the profile is in klatch/PROFILE below it (default: ~/.local/share)
XDG_RUNTIME_DIR         the socket is in klatch/PROFILE-HASH below it (without it: in PROFILE-HASH below /tmp/klatch-UID);
                        `klatch doctor` shows the path in use
A passphrase itself is never taken from the environment or the command line, where others could read it.";

const PRIVACY: &str = "\
There is no account and no server. This program contacts nobody but the nodes of the people you chat with, and looks for
them in the local network (--no-mdns, --loopback-only). It reports nothing to anybody and does not look for updates.
An open room can be read and written by anybody who knows its name. A room with a passphrase: by anybody who knows both.
A direct message can be read by the two of you. Whether nobody is in between, `klatch verify @WHO` tells: compare once.
A stranger who writes to you waits until you accept or block them.
Whether you have read a message, and that you are writing, is told to nobody unless you say so: klatch privacy --receipts on
What you write is stored by every member; deleting asks them to forget it, and honest programs do.
Your key, your history and the list of your rooms are on this disk; with a passphrase they are encrypted there.
Others in a room see your address, as in any direct connection. Logs hold no texts.";

/// Explains a topic or a command.
pub fn run(ctx: &Context, words: &[String]) -> Result<(), Report> {
    let Some(first) = words.first() else {
        return ctx.out.line(tree().render_long_help().to_string().trim_end());
    };
    if first == OPTIONS {
        return ctx.out.line(&options());
    }
    if first == "slash" {
        return ctx.out.line(&crate::slash::help(None));
    }
    if OLDER.contains(&first.as_str()) {
        if ctx.out.json {
            return crate::older::TABLE.iter().try_for_each(|row| ctx.out.json(row));
        }
        return ctx.out.line(&crate::older::text());
    }
    if first == "keys" {
        return ctx.out.line(&crate::tui::help_lines().join("\n"));
    }
    if let Some((_, text)) = TOPICS.iter().find(|(name, _)| name == first) {
        return ctx.out.say(text);
    }
    let mut command = tree();
    command.build();
    for (at, word) in words.iter().enumerate() {
        let Some(found) = command.find_subcommand(word).cloned() else {
            let names = command.get_subcommands().map(|c| c.get_name().to_owned());
            let topics = topics().filter(|_| at == 0).map(str::to_owned);
            let names: Vec<String> = names.chain(topics).collect();
            let near = nearest(word, names.iter().map(String::as_str)).map(|near| {
                let path = words[..at].iter().map(String::as_str).chain([near]);
                format!("`klatch help {}`", path.collect::<Vec<_>>().join(" "))
            });
            return Err(Report::usage(
                format!("there is no command or topic `{word}`"),
                near.unwrap_or_else(|| "`klatch --help` lists all".to_owned()),
            ));
        };
        command = found;
    }
    ctx.out.line(command.render_long_help().to_string().trim_end())
}

/// The topics that `klatch help` takes beside commands.
pub fn topics() -> impl Iterator<Item = &'static str> {
    TOPICS.iter().map(|(name, _)| *name).chain(OLDER).chain(["slash", "keys", OPTIONS])
}

/// Prints a completion script. Those of the common shells ask `klatch complete`; for the others
/// clap makes one of commands and options alone.
pub fn completions(ctx: &Context, shell: Shell) -> Result<(), Report> {
    let ours = match shell {
        Shell::Bash => Some(include_str!("shells/klatch.bash")),
        Shell::Zsh => Some(include_str!("shells/klatch.zsh")),
        Shell::Fish => Some(include_str!("shells/klatch.fish")),
        _ => None,
    };
    if let Some(script) = ours {
        return ctx.out.line(script.trim_end());
    }
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut tree(), "klatch", &mut script);
    ctx.out.line(String::from_utf8_lossy(&script).trim_end())
}

/// Writes manual pages.
pub fn man(ctx: &Context, folder: &Path) -> Result<(), Report> {
    std::fs::create_dir_all(folder).map_err(|e| Report::io("make", folder, &e))?;
    clap_mangen::generate_to(tree(), folder)
        .map_err(|e| Report::io("write manual pages into", folder, &e))?;
    let first = folder.join("klatch.1");
    ctx.out.either(&json!({"folder": folder.display().to_string()}), || {
        format!("written; read them with: man {}", first.display())
    })
}
