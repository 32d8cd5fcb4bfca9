//! The network: one task that owns the libp2p swarm, and a handle to it for a plain thread.
//!
//! The task moves bytes and knows nothing of rooms, members or messages: topics are 32-byte names,
//! envelopes, requests and responses are opaque. It never awaits anything but its `select!`, never
//! touches the disk and never waits for the driver, so the two cannot block each other for good:
//!
//! * driver to network: [`NetworkHandle::send`] over a bounded channel. The driver may wait a
//!   moment when it is full; the task always drains it, whatever the driver does.
//! * network to driver: the event sink answers at once ([`Delivered`]). What it has no room for
//!   waits in a bounded queue inside the task. Gossip beyond a byte limit is dropped and reported
//!   as [`NetEvent::Slow`] (sync repairs it); everything else is kept, and the task stops polling
//!   the swarm until there is room: peers feel that as TCP back-pressure.
//!
//! Settings are in [`settings`], each with its reason; what may be sent to a peer that does not
//! read is bounded in bytes (`link.rs`); who is dialled when is in `dialer.rs`; nodes of one
//! machine find each other by files (`discovery.rs`).

pub mod address;
mod behaviour;
mod codec;
mod connections;
mod counters;
mod dialer;
mod discovery;
mod each;
mod events;
mod faults;
mod handle;
mod link;
mod message;
mod meter;
mod outlet;
mod pause;
mod probe;
mod requests;
pub mod settings;
mod settle;
mod six;
mod task;
#[cfg(test)]
mod tests;
mod topics;
mod transport;
mod upkeep;
mod wanted;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use klatch_core::ids::Peer;
use klatch_core::query::Family;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};

pub use counters::{Counters, CountersSnapshot};
pub use handle::{NetClosed, NetworkHandle, Started, Stopped};
pub use message::{Delivered, MdnsStatus, NetCommand, NetEvent, PeerStatus, Status, Unwanted};
pub use wanted::WantedStatus;

/// What the network may do. Everything a user can switch has its toggle here.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// Where to listen. A TCP address gets a QUIC twin on the same port when [`Self::quic`] is on.
    pub listen: Vec<Multiaddr>,
    /// Listen on 127.0.0.1 only, whatever [`Self::listen`] says, and leave mDNS off.
    pub loopback_only: bool,
    /// QUIC next to TCP.
    pub quic: bool,
    /// Listen on IPv6 as well wherever [`Self::listen`] names all IPv4 interfaces, on the same port
    /// if it is free. A system without IPv6 does without.
    pub ipv6: bool,
    /// Find peers on the LAN by multicast. Announces the transport key to the LAN, nothing else.
    pub mdns: bool,
    /// Tell peers the protocol names and the address we see them at.
    pub identify: bool,
    /// Addresses to keep a link to: `--peer` and the address book, last seen first.
    pub peers: Vec<(Option<Peer>, Multiaddr)>,
    /// Folder (0700) where nodes of one user on one machine leave their addresses; none switches
    /// that off.
    pub runtime_dir: Option<PathBuf>,
    /// Established connections in all.
    pub connections_max: u32,
    /// No new connections while the process uses more memory than this.
    pub memory_bytes_max: usize,
}

impl NetworkConfig {
    /// Whether this node is to be reached over IPv6 by other machines.
    fn six(&self) -> bool {
        self.ipv6 || self.listen.iter().any(|a| address::ip(a).is_some_and(|ip| ip.is_ipv6()))
    }

    /// Whether nobody but this machine is to reach it.
    fn stays_here(&self) -> bool {
        let here = |a| address::ip(a).is_some_and(|ip| ip.is_loopback());
        self.loopback_only || self.listen.iter().all(here)
    }
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            listen: vec![address::any_tcp(0)],
            loopback_only: false,
            quic: true,
            ipv6: true,
            mdns: true,
            identify: true,
            peers: Vec::new(),
            runtime_dir: None,
            connections_max: settings::CONNECTIONS_MAX,
            memory_bytes_max: settings::MEMORY_BYTES_MAX,
        }
    }
}

/// The network could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A listen address cannot be used.
    #[error("cannot listen on {address}: {cause}; choose another port or address with --listen")]
    Listen {
        /// Which.
        address: Multiaddr,
        /// What the system said.
        cause: String,
    },
    /// An address has a form that is not supported.
    #[error(transparent)]
    Address(#[from] address::AddressError),
    /// The folder for address files cannot be used.
    #[error("cannot use {} for address files: {cause}", path.display())]
    RuntimeDir {
        /// Which folder.
        path: PathBuf,
        /// What is wrong and what to do.
        cause: String,
    },
    /// A protocol could not be set up.
    #[error("cannot set up {part}: {cause}")]
    Setup {
        /// Which part.
        part: &'static str,
        /// Why.
        cause: String,
    },
}

/// Starts the network on a thread of its own and returns once it listens: for milliseconds this
/// blocks, at most for [`settings::LISTEN_WITHIN`].
///
/// `events` is called from the network task for every event, in order; it must not block. The task
/// ends on [`NetCommand::Shutdown`], when the last handle is dropped, or when the sink answers
/// [`Delivered::Closed`].
///
/// # Errors
/// When there is no thread left, an address is malformed or taken, or the runtime folder is not
/// private.
pub fn spawn<E>(
    config: NetworkConfig,
    keypair: Keypair,
    events: E,
) -> Result<(NetworkHandle, Started), NetworkError>
where
    E: FnMut(NetEvent) -> Delivered + Send + 'static,
{
    task::spawn(config, keypair, Box::new(events))
}

/// The transport name of a libp2p peer, as the core knows it.
#[must_use]
pub fn peer_of(id: &PeerId) -> Peer {
    Peer(id.to_bytes())
}

/// What kind of way an address is.
#[must_use]
pub fn path(address: &libp2p::Multiaddr) -> klatch_core::event::Path {
    address::path(address)
}

/// Over what other machines can connect to a node that listens there.
#[must_use]
pub fn families(listening: &[Multiaddr]) -> Vec<Family> {
    let family = |ip: IpAddr| if ip.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
    let ips = listening.iter().filter_map(address::ip).filter(|ip| !ip.is_loopback());
    ips.map(family).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The libp2p id of a peer; `None` if the bytes are none.
#[must_use]
pub fn id_of(peer: &Peer) -> Option<PeerId> {
    PeerId::from_bytes(&peer.0).ok()
}
