//! What a method is, and how its parameters are checked and become a core [`Command`] or [`Query`].
//! Which methods there are stands in the table beside this file.

mod table;

use klatch_core::command::Command;
use klatch_core::names::nearest;
use klatch_core::query::Query;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::table::METHODS;
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
    /// `peer.add`.
    PeerAdd,
    /// `peer.forget`.
    PeerForget,
    /// `room.get`.
    Room,
    /// `contact.find`.
    FindPerson,
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

    use super::super::rights::Reach;
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
                    ("message_id", _) => json!(id),
                    ("device" | "who", _) => json!("a".repeat(52)),
                    // What names a room comes with its id by then.
                    ("room", _) if method.reach() == Reach::OneRoom => json!(id),
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
