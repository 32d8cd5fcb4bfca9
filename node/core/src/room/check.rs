//! What tests and the simulator ask of a room: who is linked, whether its bounds hold, and whether
//! anything is left to do.

use std::collections::BTreeSet;

use crate::ids::Peer;
use crate::room::Room;

impl Room {
    /// Every bound that holds at all times, for the simulator.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn within_bounds(&self) -> bool {
        use crate::limits::{
            BODIES_WANTED_MAX, CHAINS_MAX, ENTRY_BYTES_MAX, LINKS_MAX, OUTBOX_BYTES_MAX,
            QUARANTINE_MAX, RUN_BYTES_MAX, RUN_ENTRIES_MAX, WINDOW_BYTES,
        };
        self.log.parked_within_bounds()
            && self.planner.len() <= LINKS_MAX
            && self.links.len() <= LINKS_MAX
            && self.outbox.bytes() <= OUTBOX_BYTES_MAX + RUN_BYTES_MAX * 2
            // A goodbye is said whatever the window says.
            && (self.row.left || self.bytes_under_way() <= WINDOW_BYTES + ENTRY_BYTES_MAX)
            && self.pending.len() <= RUN_ENTRIES_MAX
            && self.log.chains() <= CHAINS_MAX
            && self.members.len() <= CHAINS_MAX + 1
            && self.rates.len() <= CHAINS_MAX
            && self.hearsay.len() <= CHAINS_MAX
            && self.bodies.len() <= BODIES_WANTED_MAX
            && self.quarantine.len() <= QUARANTINE_MAX
    }

    /// Own bytes that were published and not acknowledged.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn bytes_under_way(&self) -> usize {
        self.window.bytes()
    }

    /// Whether nothing waits: no entry to sign or publish, no acknowledgement owed.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.outbox.is_empty() && self.owed.next_due().is_none()
    }

    /// Whether something is missing or to be asked for.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.log.has_gap() || self.planner.next_due().is_some()
    }

    /// Peers linked in this room, for tests and the simulator.
    #[must_use]
    pub fn linked(&self) -> BTreeSet<Peer> {
        self.links.peers()
    }
}
