//! # klatch-core: the protocol as a pure state machine
//!
//! ```text
//! command or network event -> Input -> Machine::handle(now, rng, Input) -> Step -> commit -> send -> tell
//! ```
//!
//! No async, no clock, no sockets, no files, no randomness of its own, no hash-ordered maps: time,
//! randomness and everything that happened are inputs; everything to be done is one owned
//! [`step::Step`]. So a whole group of nodes runs in one thread from one seed (feature `sim`), and
//! what a test saw once can be seen again.
//!
//! Two principles carry the rest. *Gossip is a hint, the log is the truth*: losing any gossip
//! message is never an error, sync repairs it. *Events are a hint, the store is the truth*: a front
//! end that misses one re-reads.
//!
//! Reading order: [`command`], [`query`], [`event`] (what users see), [`wire`] (what other nodes
//! see), [`step`] (the seam), [`rows`] (what is at rest), [`machine`], [`room`], [`log`], [`sync`],
//! [`delivery`]. The wire format is specified in `docs/PROTOCOL.md`.

/// Whether a deliberate mistake is planted here (`sim/faults.rs`). Always `false`, at compile time,
/// without feature `faults`.
#[allow(unused_macros, reason = "only hooks use it")]
macro_rules! planted {
    ($fault:ident) => {{
        #[cfg(feature = "faults")]
        let active = crate::sim::faults::active(crate::sim::faults::Fault::$fault);
        #[cfg(not(feature = "faults"))]
        let active = false;
        active
    }};
}

pub mod bucket;
pub mod cbor;
pub mod command;
pub mod content;
pub mod crypto;
pub mod ctx;
pub mod delivery;
pub mod direct;
pub mod directory;
pub mod emoji;
pub mod error;
pub mod event;
pub mod identity;
pub mod ids;
pub mod limits;
mod linked;
pub mod log;
pub mod machine;
pub mod mention;
pub mod names;
pub mod place;
pub mod presence;
pub mod query;
pub mod room;
pub mod rows;
#[cfg(feature = "sim")]
pub mod sim;
pub mod step;
pub mod sync;
pub mod times;
pub mod wire;
pub mod words;
