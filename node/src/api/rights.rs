//! What a client may do: scopes, perhaps one room only, until a time, until revoked. The owner, on
//! the socket, may do all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use klatch_core::ids::RoomId;
use klatch_core::place::Place;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::registry::{Method, Scope};
use super::rpc::RpcError;
use crate::Node;
use crate::clock::now_ms;

/// What a token grants. Kept with the token's hash; the token itself is in a file of the owner's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Terms {
    pub(super) name: String,
    pub(super) scopes: BTreeSet<Scope>,
    /// Nothing but this room or conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(rename = "room_id", alias = "room")]
    pub(super) room: Option<RoomId>,
    pub(super) created_ms: u64,
    /// Worth nothing from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_ms: Option<u64>,
}

/// A token in use.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) terms: Terms,
    pub(super) revoked: AtomicBool,
}

/// The rights of one client.
#[derive(Debug, Clone, Default)]
pub(super) struct Rights {
    /// Without one: the owner.
    grant: Option<Arc<Grant>>,
}

/// Which rooms a method can touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// None, or it is limited in another way.
    Nothing,
    /// The one that its parameter `room` names; a conversation with a person is one, too.
    OneRoom,
    /// Any.
    Everything,
}

impl Method {
    /// Which rooms it can touch: a token for one room is good for what touches nothing else.
    pub(super) fn reach(&self) -> Reach {
        match self.name {
            name if is_free(name) || name.starts_with("events.") => Reach::Nothing,
            // What they open depends on a passphrase as well.
            "room.join" | "room.create" => Reach::Everything,
            _ if self.params.iter().any(|p| p.name == "room") => Reach::OneRoom,
            _ => Reach::Everything,
        }
    }
}

impl Rights {
    pub(super) fn of(grant: Arc<Grant>) -> Self {
        Self { grant: Some(grant) }
    }

    /// The one room that may be touched, if there is only one.
    pub(super) fn room(&self) -> Option<RoomId> {
        self.grant.as_ref()?.terms.room
    }

    /// Whose requests these are; empty for the owner.
    pub(super) fn name(&self) -> &str {
        self.grant.as_ref().map_or("", |g| &g.terms.name)
    }

    /// Not revoked and not expired.
    pub(super) fn valid(&self) -> bool {
        let fresh = |g: &Grant| {
            g.terms.expires_ms.is_none_or(|at| now_ms() < at) && !g.revoked.load(Ordering::Relaxed)
        };
        self.grant.as_ref().is_none_or(|g| fresh(g))
    }

    /// Whether a method may be called at all.
    pub(super) fn may(&self, method: &Method) -> Result<(), RpcError> {
        if !self.valid() {
            return Err(RpcError::unauthorised("this token was revoked, or has expired"));
        }
        let Some(grant) = &self.grant else { return Ok(()) };
        if !grant.terms.scopes.contains(&method.scope) && !is_free(method.name) {
            let hint =
                format!("make one with the scope `{}`: `klatch token create`", method.scope.name());
            let text =
                format!("{} needs a token with the scope `{}`", method.name, method.scope.name());
            return Err(RpcError::failed(text, "KLATCH-TOKEN-SCOPE", hint, 4));
        }
        if grant.terms.room.is_some() && method.reach() == Reach::Everything {
            return Err(elsewhere(method));
        }
        Ok(())
    }

    /// Puts ids in the place of names, once and for every method alike, and checks that a token may
    /// touch what is meant. Waits for nothing: requests that follow one another keep their order.
    pub(super) fn bind(
        &self,
        node: &Node,
        method: &Method,
        mut params: Map<String, Value>,
    ) -> Result<Map<String, Value>, RpcError> {
        if method.reach() == Reach::OneRoom {
            let only = self.room();
            let place = match params.get("room") {
                Some(Value::String(wanted)) => Some(node.place(wanted)),
                None | Some(Value::Null) => only.map(|room| node.place(&room.to_string())),
                // The type is wrong, which is said where all types are checked.
                Some(_) if only.is_none() => return Ok(params),
                Some(_) => return Err(elsewhere(method)),
            };
            // A token for one room does not tell whether there are others.
            let meant = |p: &Result<Place, _>| p.as_ref().ok().map(Place::id);
            if only.is_some() && place.as_ref().and_then(meant) != only {
                return Err(elsewhere(method));
            }
            if let Some(place) = place {
                params.insert("room".to_owned(), place?.to_string().into());
            }
        }
        if let Some(Value::String(who)) = params.get("who") {
            let who = node.person(who)?;
            params.insert("who".to_owned(), who.to_string().into());
        }
        Ok(params)
    }
}

/// What any token is good for: it tells nothing about anybody.
fn is_free(method: &str) -> bool {
    method.starts_with("rpc.") || matches!(method, "node.version" | "node.health")
}

fn elsewhere(method: &Method) -> RpcError {
    let text = format!("this token is for one room, and {} would touch others", method.name);
    RpcError::failed(text, "KLATCH-TOKEN-ROOM", "name that room, or use a token without `room`", 4)
}
