//! Five older chats, and what each of their commands is called here: one table for `klatch help
//! older-chats`, for `docs/OLDER_CHATS.md`, and for the test that runs every line of it
//! (`tests/older_chats.rs`).

use serde::Serialize;

/// One thing that people did in an older chat.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Row {
    /// Which chat.
    pub chat: &'static str,
    /// How it was done there.
    pub old: &'static str,
    /// Typed into a room here, if it can be.
    pub chatting: Option<&'static str>,
    /// From a shell, if it can be.
    pub shell: Option<&'static str>,
    /// What is different.
    pub note: &'static str,
}

const POLLED: &str = "Accounts and rooms on a pair of servers";
const ALIASES: &str = "Aliases and slash commands";
const BUS: &str = "A server with a console and a message bus";
const TOPICS: &str = "Rooms by remote calls, events by topic";
const BROKER: &str = "A broker with load scenarios";

const fn row(
    chat: &'static str,
    old: &'static str,
    chatting: &'static str,
    shell: &'static str,
    note: &'static str,
) -> Row {
    const fn some(text: &'static str) -> Option<&'static str> {
        if text.is_empty() { None } else { Some(text) }
    }
    Row { chat, old, chatting: some(chatting), shell: some(shell), note }
}

/// The table, in an order in which it can be carried out from top to bottom.
pub const TABLE: &[Row] = &[
    row(
        POLLED,
        "/register USER PASSWORD",
        "",
        "klatch init --name alice --passphrase-file secret.txt",
        "makes keys on this machine; there is no account, and nobody else learns the passphrase",
    ),
    row(
        POLLED,
        "/login USER PASSWORD",
        "",
        "klatch unlock",
        "asks for the passphrase and starts your node",
    ),
    row(
        POLLED,
        "/createChatroom NAME",
        "/createChatroom #kitchen",
        "klatch room create '#garden'",
        "also /create",
    ),
    row(
        POLLED,
        "/joinChatroom NAME",
        "/joinChatroom #garden",
        "klatch join '#shed'",
        "an open room is made and joined alike: whoever knows its name is in",
    ),
    row(
        POLLED,
        "/getAllChatrooms",
        "/getAllChatrooms",
        "klatch rooms",
        "your own: nobody has a list of all; also /rooms",
    ),
    row(
        POLLED,
        "/getActiveUsers",
        "/getActiveUsers",
        "klatch status",
        "who is connected with you; also /online",
    ),
    row(
        POLLED,
        "/getChatroomMembers NAME",
        "/getChatroomMembers",
        "klatch members '#garden'",
        "who was ever seen there, and who is there now; also /users",
    ),
    row(
        POLLED,
        "/sendMessage ROOM DATE TIME TEXT",
        "the soil is ready",
        "klatch send '#garden' 'seeds are here'",
        "time and author are signed with it",
    ),
    row(
        POLLED,
        "/fetchMessages ROOM, every 50 ms",
        "/fetchMessages 20",
        "klatch log '#garden' --since 2h",
        "nothing is polled: new lines come by themselves, missed ones are caught up; also /history",
    ),
    row(
        POLLED,
        "/exitChatroom NAME",
        "/exitChatroom #kitchen",
        "klatch leave '#shed'",
        "the others see it; your history is kept; also /leave",
    ),
    row(POLLED, "/logout", "/logout", "klatch lock", "no key stays in memory; also /lock"),
    row(
        ALIASES,
        "the alias asked for at the start",
        "/alias alicia",
        "",
        "every room sees the change; also /nick",
    ),
    row(ALIASES, "/users", "/users", "klatch members '#garden'", ""),
    row(
        ALIASES,
        "/dm USER \"TEXT\"",
        "/dm @bob \"see you at ten\"",
        "klatch send @bob 'see you at ten'",
        "encrypted for the two of you; waits on your disk if they are away",
    ),
    row(
        ALIASES,
        "/bm \"TEXT\"",
        "/bm \"hello everybody\"",
        "klatch message broadcast 'hello everybody' --yes",
        "in every room that you are in, after naming them; at most once a minute",
    ),
    row(ALIASES, "/help", "/help", "klatch help slash", "/help COMMAND explains one"),
    row(
        ALIASES,
        "/quit",
        "/quit",
        "",
        "the others see that you are away, unless a node of yours runs on in the background",
    ),
    row(BUS, "connecting to the server", "", "klatch up", "your own node, in the background"),
    row(
        BUS,
        "a line to all clients (event:message)",
        "hello all",
        "klatch send '#garden' 'hello all'",
        "",
    ),
    row(
        BUS,
        "a line typed at the server's console",
        "/announce the kitchen is open",
        "klatch message announce '#garden' 'the kitchen is open'",
        "shown apart from conversation, and signed by who said it: there is no server to speak for",
    ),
    row(
        BUS,
        "messages kept in a database",
        "/search kitchen",
        "klatch log '#garden' --search kitchen",
        "on every member's disk",
    ),
    row(
        BUS,
        "exit",
        "exit",
        "",
        "typed at a terminal it is not sent: /quit is what you mean; from a script it is a word like others",
    ),
    row(
        BUS,
        "Ctrl+C at the server",
        "",
        "klatch down",
        "only your own node stops; the others talk on",
    ),
    row(
        TOPICS,
        "the echo that confirms a line",
        "heard?",
        "klatch send '#garden' 'heard?' --wait delivered",
        "says how many members have it on their disk",
    ),
    row(
        TOPICS,
        "create_room(name)",
        "",
        "klatch api call create_room '{\"room\":\"#den\"}'",
        "the same names in the API",
    ),
    row(TOPICS, "join_room(name)", "", "klatch api call join_room '{\"room\":\"#den\"}'", ""),
    row(TOPICS, "list_rooms()", "", "klatch api call list_rooms", ""),
    row(
        TOPICS,
        "subscriber.py room/",
        "",
        "klatch events room/ --after start -n 5 --json",
        "any prefix; without -n it goes on; resumes after the cursor of the last event seen",
    ),
    row(
        TOPICS,
        "the event \"Chatroom Created\"",
        "",
        "klatch events room/ --type room.joined --after start -n 1 --json",
        "told to you only: nothing about you is published",
    ),
    row(
        TOPICS,
        "the event \"User Login\"",
        "",
        "klatch events room/ --type member.changed --after start -n 1 --json",
        "who introduced themselves in a room; peer/ tells connections, room/ROOM/presence who comes and goes",
    ),
    row(TOPICS, "health messages", "", "klatch status --json", ""),
    row(
        BROKER,
        "registering a user name at the broker",
        "",
        "klatch --profile carol init --name carol --no-passphrase",
        "names are not unique: people of the same name are told apart by their fingerprints",
    ),
    row(
        BROKER,
        "5 clients, 200 messages of 10-20 kB each",
        "",
        "klatch-testnet run testnet/scenarios/load-small.toml",
        "real nodes on this machine, and an audit: nothing lost, nothing twice, each author's order kept",
    ),
    row(
        BROKER,
        "5 clients, 300 messages of 30-50 kB each",
        "",
        "klatch-testnet run testnet/scenarios/load-large.toml",
        "",
    ),
];

const INTRO: &str = "What the commands of five older chats are called here.";

/// The chats, in the order of the table.
fn chats() -> Vec<&'static str> {
    let mut names: Vec<&str> = TABLE.iter().map(|r| r.chat).collect();
    names.dedup();
    names
}

/// For a terminal.
pub fn text() -> String {
    let mut text = INTRO.to_owned();
    for chat in chats() {
        text.push_str(&format!("\n\n{chat}"));
        for row in TABLE.iter().filter(|r| r.chat == chat) {
            text.push_str(&format!("\n  {}", row.old));
            let typed = row.chatting.map(|line| format!("in a chat:  {line}"));
            let shell = row.shell.map(|line| format!("in a shell: {line}"));
            for line in typed.into_iter().chain(shell) {
                text.push_str(&format!("\n      {line}"));
            }
            if !row.note.is_empty() {
                text.push_str(&format!("\n      ({})", row.note));
            }
        }
    }
    text
}

/// For `docs/OLDER_CHATS.md`.
#[cfg(test)]
fn markdown() -> String {
    let cell = |line: Option<&str>| line.map_or_else(String::new, |l| format!("`{l}`"));
    let mut text = format!(
        "# Coming from an older chat\n\n{INTRO} `klatch help older-chats` prints the same; a test runs every line \
         (`cli/tests/older_chats.rs`). This page is written from `cli/src/older.rs`.\n"
    );
    for chat in chats() {
        text.push_str(&format!(
            "\n## {chat}\n\n| there | in a chat | in a shell | |\n|---|---|---|---|\n"
        ));
        for row in TABLE.iter().filter(|r| r.chat == chat) {
            let (chatting, shell) = (cell(row.chatting), cell(row.shell));
            text.push_str(&format!("| {} | {chatting} | {shell} | {} |\n", row.old, row.note));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OLDER_CHATS.md");
        if std::env::var("KLATCH_BLESS").is_ok() {
            std::fs::write(path, markdown()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(page == markdown(), "write it again: KLATCH_BLESS=1 cargo test -p klatch older");
    }

    #[test]
    fn every_row_can_be_done_somehow() {
        for row in TABLE {
            assert!(row.chatting.is_some() || row.shell.is_some(), "{}", row.old);
            let slash = row
                .chatting
                .and_then(|l| l.strip_prefix('/'))
                .and_then(|l| l.split_whitespace().next());
            assert!(slash.is_none_or(|name| crate::slash::find(name).is_some()), "{}", row.old);
        }
    }
}
