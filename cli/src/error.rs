//! The one form of an error that reaches a person or a script: what failed, why, what to try, a
//! code, an exit code.
//!
//! The same fields come from the API (`error.data`), so an error reads alike whether a node, a file
//! or an argument is at fault.

use klatch_node::api::rpc::{ErrorData, RpcError};
use serde_json::{Value, json};

/// Exit codes, as `klatch help exit-codes` lists them.
pub mod exit {
    /// Something failed.
    pub const FAILED: u8 = 1;
    /// Wrong usage or configuration.
    pub const USAGE: u8 = 2;
    /// No such room, peer or message.
    pub const NOT_FOUND: u8 = 3;
    /// Locked, or refused for lack of a passphrase.
    pub const LOCKED: u8 = 4;
    /// The node is not running or cannot be reached.
    pub const NO_NODE: u8 = 5;
    /// Timed out, or nobody could be reached.
    pub const TIMEOUT: u8 = 6;
    /// Refused: it is not allowed, or not now.
    pub const REFUSED: u8 = 7;
    /// Some of it was done.
    pub const PARTLY: u8 = 8;
    /// Ended by Ctrl+C.
    pub const INTERRUPTED: u8 = 130;
}

/// An error on its way to the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What failed and why.
    pub cause: String,
    /// What to try.
    pub hint: String,
    /// Stable, for scripts.
    pub code: String,
    /// The process ends with it.
    pub exit: u8,
    /// The same may work later.
    pub retryable: bool,
    /// What was done all the same.
    pub partial: Option<Box<Value>>,
}

impl Report {
    /// A new report.
    pub fn new(code: &str, cause: impl Into<String>, hint: impl Into<String>, exit: u8) -> Self {
        Self {
            cause: cause.into(),
            hint: hint.into(),
            code: code.to_owned(),
            exit,
            retryable: false,
            partial: None,
        }
    }

    /// Wrong usage.
    pub fn usage(cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new("KLATCH-USAGE", cause, hint, exit::USAGE)
    }

    /// A file or folder that the system refuses.
    pub fn io(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        let hint = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "check who owns it and its mode",
            std::io::ErrorKind::NotFound => "check the path",
            _ => "check that the disk is there and not full",
        };
        Self::new(
            "KLATCH-FILE",
            format!("cannot {what} {}: {error}", path.display()),
            hint,
            exit::FAILED,
        )
    }

    /// The connection to the node ended.
    pub fn gone() -> Self {
        Self::new(
            "KLATCH-NODE-GONE",
            "the node ended while it was asked",
            "`klatch status` shows whether it runs, `klatch up` starts it; what was stored is kept",
            exit::NO_NODE,
        )
    }

    /// No node runs.
    pub fn no_node() -> Self {
        Self::new(
            "KLATCH-NODE-DOWN",
            "no node is running",
            "`klatch up` starts one in the background",
            exit::NO_NODE,
        )
    }

    /// Ctrl+C or SIGTERM while waiting.
    pub fn interrupted() -> Self {
        Self::new(
            "KLATCH-INTERRUPTED",
            "interrupted; what was stored is kept",
            "run it again to go on",
            exit::INTERRUPTED,
        )
    }

    /// A fault of this program.
    pub fn bug(cause: &dyn std::fmt::Display) -> Self {
        Self::new(
            "KLATCH-BUG",
            format!("a fault of this program: {cause}"),
            "please report it; what was stored is kept",
            exit::FAILED,
        )
    }

    /// The reader of our output has gone (`klatch log | head`): nobody is there to be told.
    pub fn closed_output() -> Self {
        Self::new(CLOSED_OUTPUT, "nobody reads the output", "", exit::FAILED)
    }

    /// Somebody stopped the node inside this command.
    pub fn stopped() -> Self {
        Self::new(
            "KLATCH-NODE-STOPPED",
            "the node inside this command was stopped by `klatch down` or `klatch lock`",
            "run it again to go on; what was stored is kept",
            exit::NO_NODE,
        )
    }

    /// `klatch doctor` has said what fails: the exit code repeats it.
    pub fn unhealthy() -> Self {
        Self::new(UNHEALTHY, "some checks failed", "", exit::FAILED)
    }

    /// Ctrl+C is how a chat or a follower ends: the exit code tells, no error is shown.
    pub fn ended() -> Self {
        Self::new(ENDED, "ended by Ctrl+C", "", exit::INTERRUPTED)
    }

    /// Whether it is not worth showing.
    pub fn is_silent(&self) -> bool {
        [CLOSED_OUTPUT, ENDED, UNHEALTHY].contains(&self.code.as_str())
    }

    /// Says what was being done.
    #[must_use]
    pub fn doing(mut self, what: impl Into<String>) -> Self {
        self.cause = format!("{}: {}", what.into(), self.cause);
        self
    }

    /// A disk that refuses writes stops what needs them; what is there can be read all the same.
    #[must_use]
    pub fn unwritable(self, what: &str, room: Option<&str>) -> Self {
        if self.code != "KLATCH-READ-ONLY" {
            return self;
        }
        let room = room.map_or_else(|| "ROOM".to_owned(), |room| format!("'{room}'"));
        let hint = format!(
            "`klatch log {room}` shows what is there; for anything new, free some space or make \
             the disk writable"
        );
        Self { hint, ..self }.doing(what)
    }

    /// For people, several lines.
    pub fn text(&self) -> String {
        let mut text = String::from("error: ");
        text.push_str(&self.cause);
        if !self.hint.is_empty() {
            text.push_str("\n  try: ");
            text.push_str(&self.hint);
        }
        text.push_str("\n  code: ");
        text.push_str(&self.code);
        text
    }

    /// For programs: the object that an API error carries.
    pub fn json(&self) -> Value {
        let mut object = json!({
            "code": self.code, "message": self.cause, "hint": self.hint, "retryable": self.retryable, "exit": self.exit,
        });
        if let Some(partial) = &self.partial {
            object["partial"] = Value::clone(partial);
        }
        json!({ "error": object })
    }
}

const CLOSED_OUTPUT: &str = "KLATCH-OUTPUT-CLOSED";
const UNHEALTHY: &str = "KLATCH-UNHEALTHY";
const ENDED: &str = "KLATCH-ENDED";

impl From<RpcError> for Report {
    fn from(error: RpcError) -> Self {
        let ErrorData { code, hint, retryable, exit, partial } = error.data;
        Self { cause: error.message, hint, code, exit, retryable, partial }
    }
}

impl From<klatch_node::api::ApiError> for Report {
    fn from(error: klatch_node::api::ApiError) -> Self {
        Self::new(error.code(), error.to_string(), error.hint(), exit::FAILED)
    }
}

impl From<klatch_node::store::keystore::KeystoreError> for Report {
    fn from(error: klatch_node::store::keystore::KeystoreError) -> Self {
        Self::new(error.code(), error.to_string(), error.hint(), error.exit())
    }
}

impl From<klatch_node::store::lock::LockError> for Report {
    fn from(error: klatch_node::store::lock::LockError) -> Self {
        Self::from(klatch_node::StartError::from(error))
    }
}

impl From<klatch_node::StartError> for Report {
    fn from(error: klatch_node::StartError) -> Self {
        Self::new(error.code(), error.to_string(), error.hint(), error.exit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_says_what_why_try_and_code() {
        let report = Report::no_node().doing("cannot list the rooms");
        let text = report.text();
        for part in ["cannot list the rooms", "no node is running", "klatch up", "KLATCH-NODE-DOWN"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(report.json()["error"]["exit"], 5);
    }

    #[test]
    fn a_disk_that_refuses_writes_is_that_and_no_missing_node() {
        use klatch_node::StartError;
        use klatch_node::store::StoreError;
        let full = StoreError::Full { cause: "database or disk is full".to_owned() };
        let report = Report::from(StartError::Store(full));
        assert_eq!(report.code, "KLATCH-READ-ONLY");
        let text = report.unwritable("cannot chat", Some("#garden")).text();
        for part in ["cannot chat: the disk refuses", "`klatch log '#garden'` shows", "free some"] {
            assert!(text.contains(part), "{text}");
        }
        let other = Report::no_node().unwritable("cannot chat", None);
        assert_eq!(other, Report::no_node());
    }
}
