//! Sending once: a request with an idempotency key is done the first time and answered the same way
//! ever after, for a day.
//!
//! The key is noted in the very transaction that stores the message, so this holds across a crash
//! as well: either both are on disk or neither is.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use klatch_core::command::{Command, Reply};
use klatch_core::error::CommandError;
use klatch_core::ids::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{OnceCell, watch};

use super::hub::Context;
use super::rights::Rights;
use super::rpc::RpcError;
use crate::Node;
use crate::clock::now_ms;
use crate::keep::Keep;
use crate::store::Note;

/// For so long a key is remembered.
const KEY_TIME: Duration = Duration::from_secs(24 * 3_600);
/// Keys remembered; beyond it the oldest is forgotten. A bot that sends one message per ten seconds
/// has a day's worth.
const KEYS_MAX: usize = 8_192;
/// Characters of a key.
const KEY_CHARS_MAX: usize = 128;
/// What notes of keys begin with.
const KIND: &str = "sent/";

/// What was done under a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Done {
    /// Of the request, to tell a repetition from a mistake.
    print: Digest,
    at_ms: u64,
    reply: Reply,
}

#[derive(Debug, Clone)]
enum State {
    /// Being done; whoever asks again waits.
    Pending(watch::Receiver<()>),
    Done(Done),
}

/// The keys of a node.
#[derive(Debug, Default)]
pub(super) struct Sends {
    known: OnceCell<Mutex<BTreeMap<Digest, State>>>,
}

impl Sends {
    async fn load(&self, node: &Node) -> Result<MutexGuard<'_, BTreeMap<Digest, State>>, RpcError> {
        let known = self.known.get_or_try_init(async || {
            let mut known = BTreeMap::new();
            let mut stale = Vec::new();
            for (key, value) in node.notes(KIND).await? {
                let name = key.strip_prefix(KIND).and_then(Digest::parse);
                match (name, serde_json::from_str::<Done>(&value)) {
                    (Some(name), Ok(done)) if !is_over(&done) => {
                        drop(known.insert(name, State::Done(done)))
                    }
                    _ => stale.push(Note { key, value: None }),
                }
            }
            if !stale.is_empty() {
                // They are looked at again at the next start.
                let _ = node.note(stale).await;
            }
            Ok::<_, RpcError>(Mutex::new(known))
        });
        Ok(known.await?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn is_over(done: &Done) -> bool {
    now_ms().saturating_sub(done.at_ms) > u64::try_from(KEY_TIME.as_millis()).unwrap_or(u64::MAX)
}

fn note(name: &Digest) -> String {
    format!("{KIND}{name}")
}

fn digest(parts: &[&str]) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("klatch v1 api idempotency");
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    Digest(*hasher.finalize().as_bytes())
}

/// Takes an idempotency key out of parameters.
pub(super) fn key(params: &mut serde_json::Map<String, Value>) -> Result<Option<String>, RpcError> {
    match params.remove("idempotency_key") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(key)) if !key.is_empty() && key.chars().count() <= KEY_CHARS_MAX => {
            Ok(Some(key))
        }
        Some(_) => {
            let text = format!("`idempotency_key` is a text of 1 to {KEY_CHARS_MAX} characters");
            Err(RpcError::params(text, "for example a random number, a new one for each message"))
        }
    }
}

/// Does a command, or answers as when it was done before under that key.
pub(super) async fn once(
    hub: &Context,
    rights: &Rights,
    key: Option<&str>,
    command: Command,
) -> Result<Reply, RpcError> {
    let Some(key) = key else { return Ok(hub.node.command(command).await?) };
    let name = digest(&[rights.name(), key]);
    // With the key, which is not kept: without it nobody can try texts on what is kept.
    let print = digest(&[rights.name(), key, &serde_json::to_string(&command).unwrap_or_default()]);
    let (begun, forgotten) = loop {
        let mut pending = {
            let mut known = hub.sends.load(&hub.node).await?;
            match known.get(&name) {
                Some(State::Done(done)) if is_over(done) => drop(known.remove(&name)),
                Some(State::Done(done)) if done.print == print => return Ok(done.reply.clone()),
                Some(State::Done(_)) => return Err(used()),
                Some(State::Pending(pending)) if pending.has_changed().is_err() => {
                    drop(known.remove(&name))
                }
                _ => {}
            }
            match known.get(&name) {
                Some(State::Pending(pending)) => pending.clone(),
                _ => {
                    let forgotten = make_room(&mut known);
                    let (begun, pending) = watch::channel(());
                    known.insert(name, State::Pending(pending));
                    break (begun, forgotten);
                }
            }
        };
        // Ends with an error, when whoever does it has ended.
        let _ = pending.changed().await;
    };
    let hub = hub.clone();
    // Apart, so that a client that goes away meanwhile does not leave the key without its message.
    let task = tokio::spawn(async move {
        let at_ms = now_ms();
        let keep = Keep::new(move |reply| {
            let done = Done { print, at_ms, reply: reply.clone() };
            let mut notes =
                vec![Note { key: note(&name), value: serde_json::to_string(&done).ok() }];
            notes.extend(forgotten.map(|old| Note { key: note(&old), value: None }));
            notes
        });
        let result = hub.node.command_kept(command, Some(keep)).await;
        let mut known = hub.sends.load(&hub.node).await?;
        match &result {
            Ok(reply) => {
                drop(known.insert(name, State::Done(Done { print, at_ms, reply: reply.clone() })))
            }
            Err(_) => drop(known.remove(&name)),
        }
        drop(begun);
        Ok::<_, RpcError>(result?)
    });
    task.await.map_err(|_| RpcError::from(CommandError::Stopping))?
}

/// Forgets the oldest key if there are too many.
fn make_room(known: &mut BTreeMap<Digest, State>) -> Option<Digest> {
    if known.len() < KEYS_MAX {
        return None;
    }
    let age = |state: &State| if let State::Done(done) = state { done.at_ms } else { u64::MAX };
    let oldest = known.iter().min_by_key(|(_, state)| age(state)).map(|(name, _)| *name)?;
    known.remove(&oldest);
    Some(oldest)
}

fn used() -> RpcError {
    let hint = "a key stands for one message: make a new one for each, and repeat it only with the same message";
    RpcError::failed(
        "this idempotency key was used for something else",
        "KLATCH-IDEMPOTENCY",
        hint,
        2,
    )
}
