//! JSON-RPC 2.0 as this API speaks it: requests, responses and errors. Knows no method and no
//! socket.
//!
//! Every error carries [`ErrorData`]: a stable code, what to try, whether to try again, and the
//! exit code a command-line program should end with. The command line prints these very fields.

use klatch_core::error::CommandError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The line is not JSON.
pub const PARSE_ERROR: i32 = -32700;
/// The JSON is not a request.
pub const INVALID_REQUEST: i32 = -32600;
/// There is no such method.
pub const METHOD_NOT_FOUND: i32 = -32601;
/// The parameters do not fit the method.
pub const INVALID_PARAMS: i32 = -32602;
/// The method was understood and could not be done; `data.code` says why.
pub const FAILED: i32 = -32000;

/// Requests of one batch.
const BATCH_MAX: usize = 100;

/// What an error says beyond its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorData {
    /// Stable, for programs: `KLATCH-...`.
    pub code: String,
    /// What to try.
    pub hint: String,
    /// The same request may succeed later without any change.
    pub retryable: bool,
    /// Exit code for command-line programs (`klatch help exit-codes`).
    pub exit: u8,
    /// What was done all the same, for example the id of a message that is stored but not yet
    /// delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<Box<Value>>,
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcError {
    /// One of the constants of this module.
    pub code: i32,
    /// What failed, for people.
    pub message: String,
    /// See [`ErrorData`].
    pub data: ErrorData,
}

impl RpcError {
    fn new(
        code: i32,
        message: impl Into<String>,
        name: &str,
        hint: impl Into<String>,
        exit: u8,
    ) -> Self {
        let data = ErrorData {
            code: name.to_owned(),
            hint: hint.into(),
            retryable: false,
            exit,
            partial: None,
        };
        Self { code, message: message.into(), data }
    }

    /// A method that could not be done.
    pub fn failed(
        message: impl Into<String>,
        name: &str,
        hint: impl Into<String>,
        exit: u8,
    ) -> Self {
        Self::new(FAILED, message, name, hint, exit)
    }

    /// The line is not JSON.
    pub fn parse(cause: &serde_json::Error) -> Self {
        Self::new(
            PARSE_ERROR,
            format!("not JSON: {cause}"),
            "KLATCH-API-PARSE",
            "send one JSON object per line",
            2,
        )
    }

    /// JSON, but not a request.
    pub fn invalid(message: impl Into<String>) -> Self {
        let hint = r#"for example {"jsonrpc":"2.0","id":1,"method":"rpc.discover"}"#;
        Self::new(INVALID_REQUEST, message, "KLATCH-API-REQUEST", hint, 2)
    }

    /// Unknown method.
    pub fn method(name: &str, nearest: Option<&str>) -> Self {
        let hint = nearest.map_or_else(
            || "`rpc.discover` lists all methods".to_owned(),
            |near| format!("did you mean {near}? `rpc.discover` lists all methods"),
        );
        let name = shortened(name);
        Self::new(
            METHOD_NOT_FOUND,
            format!("there is no method `{name}`"),
            "KLATCH-API-METHOD",
            hint,
            2,
        )
    }

    /// Wrong parameters.
    pub fn params(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(INVALID_PARAMS, message, "KLATCH-API-PARAMS", hint, 2)
    }

    /// A token that is missing or worth nothing.
    pub fn unauthorised(message: impl Into<String>) -> Self {
        Self::failed(
            message,
            "KLATCH-TOKEN",
            "`klatch token create` makes one, `klatch token list` shows them",
            4,
        )
    }

    /// Taken back by `rpc.cancel`.
    pub fn cancelled() -> Self {
        let hint = "what was on disk by then stays: `message.list` shows it";
        Self::failed("the request was cancelled", "KLATCH-CANCELLED", hint, 130)
    }

    /// Not done in time.
    pub fn timeout(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let mut error = Self::failed(message, "KLATCH-TIMEOUT", hint, 6);
        error.data.retryable = true;
        error
    }

    /// Says what was done all the same.
    #[must_use]
    pub fn with_partial(mut self, partial: Value) -> Self {
        self.data.partial = Some(Box::new(partial));
        self
    }
}

impl From<CommandError> for RpcError {
    fn from(error: CommandError) -> Self {
        let mut rpc = Self::failed(error.to_string(), error.code(), error.hint(), error.exit());
        rpc.data.retryable = error.retryable();
        rpc
    }
}

/// At most 64 characters of something a client sent, for an error text.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

/// A well-formed request.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Repeated in the response; `None` for a notification, which gets no response.
    pub id: Option<Value>,
    /// Dotted method name.
    pub method: String,
    /// By name only.
    pub params: Map<String, Value>,
}

impl Request {
    /// Reads one request.
    ///
    /// # Errors
    /// The id (null if unreadable) and the error to answer with.
    pub fn parse(line: &[u8]) -> Result<Self, Box<(Value, RpcError)>> {
        let value = serde_json::from_slice(line)
            .map_err(|e| Box::new((Value::Null, RpcError::parse(&e))))?;
        Self::take(value)
    }

    /// Makes a request of parsed JSON.
    ///
    /// # Errors
    /// As [`Request::parse`].
    pub fn take(value: Value) -> Result<Self, Box<(Value, RpcError)>> {
        let Value::Object(mut object) = value else {
            return Err(Box::new((Value::Null, RpcError::invalid("a request is one JSON object"))));
        };
        let id = object.remove("id");
        if let Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) = id {
            return Err(Box::new((Value::Null, RpcError::invalid("`id` is a string or a number"))));
        }
        let fail =
            |text: &str| Err(Box::new((id.clone().unwrap_or_default(), RpcError::invalid(text))));
        if object.get("jsonrpc").is_some_and(|v| v != "2.0") {
            return fail("`jsonrpc` is \"2.0\"");
        }
        let Some(Value::String(method)) = object.remove("method") else {
            return fail("`method` is missing");
        };
        let params = match object.remove("params") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(params)) => params,
            Some(Value::Array(list)) if list.is_empty() => Map::new(),
            Some(_) => {
                let hint = "parameters go by name: {\"room\":\"#garden\"}";
                return Err(Box::new((
                    id.unwrap_or_default(),
                    RpcError::params("`params` is not an object", hint),
                )));
            }
        };
        Ok(Self { id, method, params })
    }
}

/// One message of a client: a request, or several at once.
#[derive(Debug)]
pub enum Incoming {
    /// One.
    One(Result<Request, Box<(Value, RpcError)>>),
    /// A batch: answered by one array.
    Batch(Vec<Result<Request, Box<(Value, RpcError)>>>),
}

impl Incoming {
    /// Reads one message. A batch that is empty or too long is answered as one bad request.
    #[must_use]
    pub fn parse(line: &[u8]) -> Self {
        let bad = |error| Self::One(Err(Box::new((Value::Null, error))));
        match serde_json::from_slice(line) {
            Err(error) => bad(RpcError::parse(&error)),
            Ok(Value::Array(list)) if list.is_empty() => bad(RpcError::invalid("an empty batch")),
            Ok(Value::Array(list)) if list.len() > BATCH_MAX => {
                bad(RpcError::invalid(format!("a batch has at most {BATCH_MAX} requests")))
            }
            Ok(Value::Array(list)) => Self::Batch(list.into_iter().map(Request::take).collect()),
            Ok(value) => Self::One(Request::take(value)),
        }
    }
}

/// The line that answers a request, without its line break.
#[must_use]
pub fn response(id: &Value, outcome: Result<Value, RpcError>) -> String {
    match outcome {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(error) => json!({"jsonrpc": "2.0", "id": id, "error": error}),
    }
    .to_string()
}

/// The line of a notification, without its line break.
#[must_use]
pub fn notification(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(line: &str) -> i32 {
        Request::parse(line.as_bytes()).unwrap_err().1.code
    }

    #[test]
    fn a_request_may_lack_id_and_params() {
        let request = Request::parse(br#"{"method":"rpc.ping"}"#).unwrap();
        assert_eq!(request.id, None);
        assert!(request.params.is_empty());
    }

    #[test]
    fn what_is_no_request_is_answered_with_the_right_code() {
        assert_eq!(code("{"), PARSE_ERROR);
        assert_eq!(code("\u{1b}]52;c;x\u{7}"), PARSE_ERROR);
        assert_eq!(code("[]"), INVALID_REQUEST);
        assert_eq!(code("7"), INVALID_REQUEST);
        assert_eq!(code(r#"{"id":1}"#), INVALID_REQUEST);
        assert_eq!(code(r#"{"id":{},"method":"x"}"#), INVALID_REQUEST);
        assert_eq!(code(r#"{"jsonrpc":"1.0","id":1,"method":"x"}"#), INVALID_REQUEST);
        assert_eq!(code(r#"{"id":1,"method":"x","params":[1]}"#), INVALID_PARAMS);
        assert_eq!(code(&"[".repeat(100_000)), PARSE_ERROR);
    }

    #[test]
    fn the_id_of_a_bad_request_is_repeated() {
        let (id, _) = *Request::parse(br#"{"id":"a","jsonrpc":"2.0"}"#).unwrap_err();
        assert_eq!(id, "a");
    }
}
