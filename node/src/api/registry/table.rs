//! The one table of methods: name, scope, documentation, parameters, and what answers. Parser,
//! `rpc.discover`, the error texts and docs/API.md read it; a method that is not here does not
//! exist.
//!
//! Most methods are a core command or query by another name: their parameters are the fields of
//! that type.

use super::{Answers, Method, Own, Param, Scope};

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
const MESSAGE: Param = need("message_id", "string", "id of the message");
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
const ADDRESS: Param =
    need("address", "string", "`192.0.2.7:4001`, or as the `listen` line of a status has it");
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
    row(
        "room.forget",
        &[],
        Manage,
        C("forget_room"),
        &[ROOM],
        "say goodbye, unless the room was left before, and keep nothing of it",
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
        "hide what a device writes; only on this side",
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
            or("wait", "string", "\"stored\"", "`stored`, `sent` or `delivered`"),
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
            may(
                "since_ms",
                "integer",
                "shown at or after this time, Unix milliseconds; of more than `limit` the newest, the rest by `before`",
            ),
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
        "delete an own message: honest nodes drop its text",
    ),
    row(
        "message.react",
        &[],
        Send,
        C("react"),
        &[
            ROOM,
            MESSAGE,
            need("emoji", "string", "one emoji, or its short name such as `:heart:`"),
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
        "contact.find",
        &[],
        Read,
        O(Own::FindPerson),
        &[need("text", "string", "a line that begins with somebody's name, such as `@bob hello`")],
        "the person named at the front of a line, and what follows; refused if several could be meant",
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
        "refuse everything from a person; declines a request. Unblocking makes nobody a contact who was not answered, named or verified",
    ),
    row(
        "contact.forget",
        &[],
        Manage,
        C("forget_contact"),
        &[WHO],
        "keep nothing of a conversation; who is blocked stays so, others can write as strangers",
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
                "the codes were compared and are equal, or that is no longer so",
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
        "peer.add",
        &[],
        Manage,
        O(Own::PeerAdd),
        &[ADDRESS],
        "look for a node at an address from now on; `wanted` in `node.status` tells how it goes",
    ),
    row(
        "peer.forget",
        &[],
        Manage,
        O(Own::PeerForget),
        &[need(
            "address",
            "string",
            "an address, as for `peer.add`, or the id of a peer, as `peer.list` has it",
        )],
        "look there no longer, nor anywhere else where whoever is there was reached (`forgotten` addresses), until they are met again; a connection that is there stays",
    ),
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
