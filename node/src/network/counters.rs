//! What the network counted since it started, readable from any thread without asking the task.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Plain atomics, shared by the task, the transport and every handle.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        /// [`Counters`] at one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
        pub struct CountersSnapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// The values now. Not one consistent cut: each is read by itself.
            #[must_use]
            pub fn snapshot(&self) -> CountersSnapshot {
                CountersSnapshot { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Bytes written into streams, protocol overhead included, encryption not.
    bytes_out,
    /// Bytes read from streams.
    bytes_in,
    /// Envelopes handed to gossip with at least one peer to take them.
    published,
    /// Bytes of those, once each.
    published_bytes,
    /// Envelopes nobody connected was subscribed to; sync delivers them.
    published_to_nobody,
    /// Envelopes that fit into no peer's queue, or were refused as too large or as published
    /// before.
    publish_failed,
    /// Envelopes received, each once.
    gossip,
    /// Bytes of those.
    gossip_bytes,
    /// Envelopes dropped because the driver was busy; sync delivers them.
    gossip_dropped,
    /// Messages refused because their topic is none of ours.
    gossip_foreign,
    /// Messages a peer's queue had no room for, or that waited there too long.
    queue_dropped,
    /// Own requests sent.
    requests,
    /// Own requests without an answer.
    requests_failed,
    /// Requests received.
    served,
    /// Requests refused because a peer asked too much at once, or answers it did not read.
    serve_refused,
    /// Dials begun.
    dials,
    /// Dials that failed.
    dials_failed,
    /// Connections refused or failed on the way in.
    incoming_failed,
    /// Connections closed because they did not answer.
    silent_closed,
    /// Times a pair went over to another connection.
    renewed,
    /// Links closed because the peer did not read what it asked for.
    stalled_closed,
    /// Faults reported about peers.
    faults,
    /// Peers that speak another protocol, found by mDNS.
    strangers,
    /// Peers refused for their faults or as strangers.
    blocked,
    /// Times a command had to wait for room.
    command_waits,
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}

/// Adds one to a counter.
pub(super) fn count(counter: &AtomicU64) {
    add(counter, 1);
}
