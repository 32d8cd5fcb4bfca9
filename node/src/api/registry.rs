//! The one table of methods: name, scope, documentation, parameters, and what answers. Parser,
//! `rpc.discover`, the error texts and later the generated documentation read it; a method that is
//! not here does not exist.
//!
//! Most methods are a core [`Command`] or [`Query`] by another name: their parameters are the
//! fields of that type.

use klatch_core::command::Command;
use klatch_core::query::Query;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::nearest::nearest;
use super::rpc::RpcError;

/// Who may call a method. On the socket the owner may do everything; elsewhere a token says what it
/// is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look.
    Read,
    /// Speak.
    Send,
    /// Change rooms and the own profile.
    Manage,
    /// Change the node.
    Admin,
}

impl Scope {
    /// The word in documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Send => "send",
            Self::Manage => "manage",
            Self::Admin => "admin",
        }
    }
}

/// What answers a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// The core command with this serde name.
    Command(&'static str),
    /// The core query with this serde name.
    Query(&'static str),
    /// A function of its own.
    Own(Own),
}

/// Methods that are more than one command or query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// `message.send`, which can wait for a delivery state.
    Send,
    /// `node.wait`.
    Wait,
    /// `node.stop`.
    Stop,
    /// `rpc.ping`.
    Ping,
    /// `rpc.discover`.
    Discover,
    /// `events.subscribe`.
    Subscribe,
    /// `events.unsubscribe`.
    Unsubscribe,
    /// `events.read`.
    Read,
    /// `events.topics`.
    Topics,
    /// `message.broadcast`.
    Broadcast,
    /// `node.version`.
    Version,
    /// `node.health`.
    Health,
    /// `peer.list`.
    Peers,
    /// `room.get`.
    Room,
    /// `rpc.cancel`.
    Cancel,
    /// `rpc.authenticate`.
    Authenticate,
    /// `token.create`.
    TokenCreate,
    /// `token.list`.
    TokenList,
    /// `token.revoke`.
    TokenRevoke,
    /// `http.open`.
    HttpOpen,
    /// `http.close`.
    HttpClose,
}

/// One parameter.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// Its key.
    pub name: &'static str,
    /// JSON type.
    pub kind: &'static str,
    /// Must be given.
    pub required: bool,
    /// Used when absent, as JSON.
    pub default: Option<&'static str>,
    /// One line.
    pub doc: &'static str,
}

/// One method.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    /// Dotted name.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// Who may.
    pub scope: Scope,
    /// One line.
    pub doc: &'static str,
    /// Its parameters.
    pub params: &'static [Param],
    /// What answers.
    pub answers: Answers,
}

const fn need(name: &'static str, kind: &'static str, doc: &'static str) -> Param {
    Param { name, kind, required: true, default: None, doc }
}

const fn may(name: &'static str, kind: &'static str, doc: &'static str) -> Param {
    Param { name, kind, required: false, default: None, doc }
}

const fn or(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    doc: &'static str,
) -> Param {
    Param { name, kind, required: false, default: Some(default), doc }
}

const ROOM: Param = need("room", "string", "name (`#garden`), person (`@bob`) or id");
const MESSAGE: Param = need("message", "string", "id of the message");
const TEXT: Param = need("text", "string", "1 to 64,000 bytes of UTF-8");
const WHO: Param = need("who", "string", "`@name`, fingerprint, identity or conversation id");
const TIMEOUT: Param = or("timeout_ms", "integer", "30000", "give up after this time");
const TOPICS: Param = or(
    "topics",
    "array",
    "[]",
    "byte prefixes such as `room/` or `room/ID/message`; all without it",
);
const TYPES: Param =
    or("types", "array", "[]", "types such as `message.added` or `message.*`; all without it");
const KEY: Param = may(
    "idempotency_key",
    "string",
    "the same key within 24 hours answers the same and does nothing twice",
);
const JOIN: &[Param] =
    &[ROOM, may("passphrase", "string", "the room that name and passphrase make together")];

const fn row(
    name: &'static str,
    aliases: &'static [&'static str],
    scope: Scope,
    answers: Answers,
    params: &'static [Param],
    doc: &'static str,
) -> Method {
    Method { name, aliases, scope, doc, params, answers }
}

use Answers::{Command as C, Own as O, Query as Q};
use Scope::{Admin, Manage, Read, Send};

/// All methods.
pub const METHODS: &[Method] = &[
    row("node.status", &[], Read, Q("status"), &[], "what this node is doing"),
    row(
        "node.wait",
        &[],
        Read,
        O(Own::Wait),
        &[
            or(
                "target",
                "string",
                "\"node\"",
                "`node`, `peer`, `peer:NAME`, `room:ROOM` or `delivered:MESSAGE`",
            ),
            TIMEOUT,
        ],
        "answer once the target is ready: somebody is connected, or a message is at every member",
    ),
    row("node.version", &[], Read, O(Own::Version), &[], "version of the program and of this API"),
    row("node.health", &[], Read, O(Own::Health), &[], "whether the node works, and why not"),
    row("node.stop", &[], Admin, O(Own::Stop), &[], "stop the node cleanly"),
    row("room.join", &["join_room"], Manage, C("join_room"), JOIN, "open a room"),
    row(
        "room.create",
        &["create_room"],
        Manage,
        C("join_room"),
        JOIN,
        "open a room nobody may be in yet",
    ),
    row(
        "room.leave",
        &[],
        Manage,
        C("leave_room"),
        &[ROOM],
        "say goodbye and stop following; history is kept",
    ),
    row("room.list", &["list_rooms"], Read, Q("rooms"), &[], "the rooms of this profile"),
    row("room.get", &[], Read, O(Own::Room), &[ROOM], "one room of this profile"),
    row("room.members", &[], Read, Q("members"), &[ROOM], "the devices seen in a room"),
    row(
        "room.mute",
        &[],
        Manage,
        C("mute_device"),
        &[
            ROOM,
            need("device", "string", "whom: a device id"),
            or("muted", "boolean", "true", "hide, or show again"),
        ],
        "hide what a device writes; here only",
    ),
    row(
        "room.mark_read",
        &[],
        Send,
        C("mark_read"),
        &[ROOM, need("upto", "integer", "journal number of the last message read")],
        "remember what was read",
    ),
    row(
        "message.send",
        &[],
        Send,
        O(Own::Send),
        &[
            ROOM,
            TEXT,
            may("reply_to", "string", "id of the message answered"),
            or("wait", "string", "\"stored\"", "`stored`, `sent`, `relayed` or `delivered`"),
            TIMEOUT,
            KEY,
        ],
        "say something; answers when it is on disk, or has reached the state waited for",
    ),
    row(
        "message.list",
        &[],
        Read,
        Q("history"),
        &[
            ROOM,
            or("limit", "integer", "50", "at most this many, the newest; up to 1,000"),
            may("since_ms", "integer", "shown at or after this time, Unix milliseconds"),
            may("before", "string", "only what is displayed before this message"),
            may(
                "after",
                "string",
                "only what is displayed after this message, the oldest first; alone",
            ),
            may("search", "string", "only messages with these words"),
        ],
        "messages in display order, oldest first",
    ),
    row(
        "message.journal",
        &[],
        Read,
        Q("journal"),
        &[
            may("room", "string", "name or id; all rooms without it"),
            or("after", "integer", "0", "journal number of the last message seen"),
            or("limit", "integer", "100", "at most this many; up to 1,000"),
        ],
        "messages and changes in arrival order: a cursor that misses nothing",
    ),
    row("message.get", &[], Read, Q("message"), &[ROOM, MESSAGE], "one message"),
    row(
        "message.edit",
        &[],
        Send,
        C("edit_message"),
        &[ROOM, MESSAGE, TEXT],
        "replace the text of an own message",
    ),
    row(
        "message.delete",
        &[],
        Send,
        C("delete_message"),
        &[ROOM, MESSAGE],
        "withdraw an own message",
    ),
    row(
        "message.react",
        &[],
        Send,
        C("react"),
        &[
            ROOM,
            MESSAGE,
            need("emoji", "string", "at most 32 bytes"),
            or("on", "boolean", "true", "put on, or take off"),
        ],
        "put an emoji on a message",
    ),
    row(
        "message.announce",
        &[],
        Send,
        C("send_notice"),
        &[ROOM, TEXT, KEY],
        "say something apart from conversation",
    ),
    row(
        "message.broadcast",
        &[],
        Send,
        O(Own::Broadcast),
        &[
            TEXT,
            or(
                "confirm",
                "boolean",
                "false",
                "without it the answer is an error that names the rooms",
            ),
            or("dry_run", "boolean", "false", "only name the rooms"),
            KEY,
        ],
        "say something in every joined room; at most once a minute",
    ),
    row(
        "message.typing",
        &[],
        Send,
        C("typing"),
        &[
            need("room", "string", "a conversation: `@name` or its id"),
            or("typing", "boolean", "true", "writing or not"),
        ],
        "tell the other side that one is writing, if `privacy.set` allows it",
    ),
    row("contact.list", &[], Read, Q("contacts"), &[], "the people kept or met in conversations"),
    row(
        "contact.get",
        &[],
        Read,
        Q("person"),
        &[WHO],
        "everything about one person, verification codes included",
    ),
    row(
        "contact.accept",
        &["contact.add"],
        Manage,
        C("accept_contact"),
        &[WHO, may("petname", "string", "your own name for them")],
        "keep a person as a contact; takes in their requests",
    ),
    row(
        "contact.block",
        &[],
        Manage,
        C("block_contact"),
        &[WHO, or("blocked", "boolean", "true", "block, or unblock")],
        "take nothing from a person any more; declines a request",
    ),
    row(
        "contact.rename",
        &[],
        Manage,
        C("rename_contact"),
        &[
            WHO,
            may(
                "petname",
                "string",
                "your own name for them; without it the one they give themselves",
            ),
        ],
        "your own name for a person",
    ),
    row(
        "contact.verify",
        &[],
        Manage,
        C("verify_contact"),
        &[
            WHO,
            or(
                "verified",
                "boolean",
                "true",
                "the codes were compared and are equal, or this is taken back",
            ),
        ],
        "remember that the verification codes were compared",
    ),
    row(
        "privacy.set",
        &[],
        Manage,
        C("set_privacy"),
        &[
            may("receipts", "boolean", "tell others when their direct messages were read"),
            may("typing", "boolean", "tell others when one is writing to them"),
        ],
        "what direct messages tell the other side; both are off at first",
    ),
    row(
        "profile.set",
        &[],
        Manage,
        C("set_name"),
        &[need("name", "string", "1 to 64 bytes without control or direction characters")],
        "change the own display name",
    ),
    row(
        "events.subscribe",
        &[],
        Read,
        O(Own::Subscribe),
        &[
            TOPICS,
            TYPES,
            or(
                "after",
                "any",
                "\"now\"",
                "journal number of the last event seen, `start` or `now`",
            ),
            or(
                "summary",
                "boolean",
                "false",
                "one event for a long catch-up instead of each message",
            ),
        ],
        "replay events after a cursor, then follow; each comes as a notification `event`",
    ),
    row(
        "events.unsubscribe",
        &[],
        Read,
        O(Own::Unsubscribe),
        &[need("sub", "string", "as `events.subscribe` named it")],
        "end a subscription",
    ),
    row(
        "events.read",
        &[],
        Read,
        O(Own::Read),
        &[
            TOPICS,
            TYPES,
            or(
                "after",
                "any",
                "\"start\"",
                "journal number of the last event seen, `start` or `now`",
            ),
            or("limit", "integer", "100", "at most this many; up to 1,000"),
        ],
        "events after a cursor, without following; go on from the answer's `cursor` while `more` is true",
    ),
    row(
        "events.topics",
        &[],
        Read,
        O(Own::Topics),
        &[],
        "the forms of topics, with the types of events in them",
    ),
    row("peer.list", &[], Read, O(Own::Peers), &[], "the peers that are connected now"),
    row(
        "token.create",
        &[],
        Admin,
        O(Own::TokenCreate),
        &[
            need("name", "string", "1 to 32 lower-case letters, digits, `-` or `_`"),
            need("scopes", "array", "some of `read`, `send`, `manage`, `admin`"),
            may("room", "string", "name or id: the token is good for nothing else"),
            may("expire_s", "integer", "worth nothing after so many seconds"),
        ],
        "make a token for HTTP clients and bots; the answer names the file that it is in",
    ),
    row("token.list", &[], Admin, O(Own::TokenList), &[], "the tokens, without their secrets"),
    row(
        "token.revoke",
        &[],
        Admin,
        O(Own::TokenRevoke),
        &[need("name", "string", "as given when it was made")],
        "make a token worth nothing, at once",
    ),
    row(
        "http.open",
        &[],
        Admin,
        O(Own::HttpOpen),
        &[or(
            "address",
            "string",
            "\"127.0.0.1:0\"",
            "an address of this machine's own loopback, and a port; 0: any",
        )],
        "serve this API over HTTP, on loopback only; the answer names the address and the file of a token",
    ),
    row("http.close", &[], Admin, O(Own::HttpClose), &[], "end it"),
    row("rpc.ping", &[], Read, O(Own::Ping), &[], "answers `pong`"),
    row("rpc.discover", &[], Read, O(Own::Discover), &[], "this API as an OpenRPC document"),
    row(
        "rpc.cancel",
        &[],
        Read,
        O(Own::Cancel),
        &[need("id", "any", "of a request on this connection that was not answered yet")],
        "stop waiting for a request; what it did already stays done",
    ),
    row(
        "rpc.authenticate",
        &[],
        Read,
        O(Own::Authenticate),
        &[need("token", "string", "as in the file of the token")],
        "from now on this connection has the rights of that token and no others",
    ),
];

/// The method of that name or alias.
///
/// # Errors
/// Unknown: with the nearest name.
pub fn find(name: &str) -> Result<&'static Method, RpcError> {
    METHODS
        .iter()
        .find(|m| m.name == name || m.aliases.contains(&name))
        .ok_or_else(|| RpcError::method(name, nearest(name, METHODS.iter().map(|m| m.name))))
}

impl Method {
    /// Refuses unknown and missing parameters, and puts in the defaults.
    ///
    /// # Errors
    /// Says which parameter, and which there are.
    pub fn check(&self, mut params: Map<String, Value>) -> Result<Map<String, Value>, RpcError> {
        for key in params.keys() {
            if !self.params.iter().any(|p| p.name == key) {
                let near = nearest(key, self.params.iter().map(|p| p.name));
                let hint = near.map_or_else(
                    || self.usage(),
                    |near| format!("did you mean `{near}`? {}", self.usage()),
                );
                let key: String = key.chars().take(64).collect();
                return Err(RpcError::params(
                    format!("{} has no parameter `{key}`", self.name),
                    hint,
                ));
            }
        }
        for param in self.params {
            match (params.contains_key(param.name), param.default) {
                (false, Some(default)) => {
                    let value = serde_json::from_str(default).unwrap_or_default();
                    params.insert(param.name.to_owned(), value);
                }
                (false, None) if param.required => {
                    let text = format!("{} needs `{}` ({})", self.name, param.name, param.doc);
                    return Err(RpcError::params(text, self.usage()));
                }
                _ => {}
            }
        }
        Ok(params)
    }

    /// The parameters as a core command.
    ///
    /// # Errors
    /// A value of the wrong type.
    pub fn command(&self, tag: &str, mut params: Map<String, Value>) -> Result<Command, RpcError> {
        params.insert("command".to_owned(), tag.into());
        serde_json::from_value(Value::Object(params)).map_err(|e| self.mismatch(&e))
    }

    /// The parameters as a core query.
    ///
    /// # Errors
    /// A value of the wrong type.
    pub fn query(&self, tag: &str, mut params: Map<String, Value>) -> Result<Query, RpcError> {
        params.insert("query".to_owned(), tag.into());
        serde_json::from_value(Value::Object(params)).map_err(|e| self.mismatch(&e))
    }

    /// The error for parameters whose types do not fit.
    #[must_use]
    pub fn mismatch(&self, cause: &serde_json::Error) -> RpcError {
        RpcError::params(format!("{}: {cause}", self.name), self.usage())
    }

    fn usage(&self) -> String {
        if self.params.is_empty() {
            return format!("{} takes no parameters", self.name);
        }
        let list: Vec<String> = self
            .params
            .iter()
            .map(|p| format!("{}{}: {}", p.name, if p.required { "" } else { "?" }, p.kind))
            .collect();
        format!("parameters: {}", list.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_unique_and_each_row_builds_what_it_names() {
        let mut names: Vec<&str> =
            METHODS.iter().flat_map(|m| m.aliases.iter().copied().chain([m.name])).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        let id = "a".repeat(26);
        for method in METHODS {
            let mut params = Map::new();
            for p in method.params.iter().filter(|p| p.required) {
                let value = match (p.name, p.kind) {
                    ("message", _) => json!(id),
                    ("device", _) => json!("a".repeat(52)),
                    (_, "integer") => json!(1),
                    _ => json!("x"),
                };
                params.insert(p.name.to_owned(), value);
            }
            let params = method.check(params).unwrap();
            match method.answers {
                Answers::Command(tag) => drop(method.command(tag, params).unwrap()),
                Answers::Query(tag) => drop(method.query(tag, params).unwrap()),
                Answers::Own(_) => {}
            }
        }
    }

    #[test]
    fn unknown_methods_and_parameters_get_the_nearest_name() {
        assert!(find("room.jion").unwrap_err().data.hint.contains("room.join"));
        assert!(find("frobnicate").unwrap_err().data.hint.contains("rpc.discover"));
        assert!(find(&"x".repeat(1_000_000)).unwrap_err().message.len() < 200);
        let params = serde_json::from_value(json!({"rom": "#a"})).unwrap();
        assert!(
            find("room.join")
                .unwrap()
                .check(params)
                .unwrap_err()
                .data
                .hint
                .contains("did you mean `room`")
        );
        let error = find("room.join").unwrap().check(Map::new()).unwrap_err();
        assert!(error.message.contains("needs `room`"), "{error:?}");
    }

    #[test]
    fn aliases_of_older_chats_are_the_same_methods() {
        for (alias, name) in [
            ("create_room", "room.create"),
            ("join_room", "room.join"),
            ("list_rooms", "room.list"),
        ] {
            assert_eq!(find(alias).unwrap().name, name);
        }
    }
}
