//! What a client may do: scopes, and perhaps one room only.

use klatch_core::ids::RoomId;

/// The rights of one client.
#[derive(Debug, Clone, Default)]
pub(super) struct Rights {
    /// Only this room or conversation may be touched.
    pub(super) room: Option<RoomId>,
}
