//! What a node may be told at start. Parsed by the front end (file < environment < flags), used
//! once.

use std::fmt;
use std::path::PathBuf;

use klatch_core::command::Passphrase;
use klatch_core::query::Host;

/// One node.
pub struct Config {
    /// The profile's folder: keystore, database, lock.
    pub home: PathBuf,
    /// The profile's runtime folder (0700): the API socket.
    pub runtime: PathBuf,
    /// Runtime folder shared by all profiles of this user (0700): address files, by which nodes of
    /// one machine find each other without any network.
    pub peers_dir: PathBuf,
    /// Listen addresses; default: all interfaces, any free port.
    pub listen: Vec<String>,
    /// Addresses to stay connected to.
    pub peers: Vec<String>,
    /// Find neighbours by multicast DNS. Default on.
    pub mdns: bool,
    /// QUIC beside TCP. Default on.
    pub quic: bool,
    /// Listen on 127.0.0.1 only and send no multicast. Default off.
    pub loopback_only: bool,
    /// Use a new transport key at this start instead of the profile's. Default off.
    pub fresh_peer_id: bool,
    /// Opens the keystore, if it has a passphrase. Wiped on drop.
    pub passphrase: Option<Passphrase>,
    /// Bytes stored per room; default 1 GiB.
    pub room_disk_bytes: u64,
    /// History is read and nothing else: nothing is announced to others on this machine, and the
    /// disk may refuse writes. Default off.
    pub to_read: bool,
    /// What the node will live in, for its status only.
    pub host: Option<Host>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("home", &self.home)
            .field("listen", &self.listen)
            .field("peers", &self.peers.len())
            .field("mdns", &self.mdns)
            .field("quic", &self.quic)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Defaults for a profile.
    #[must_use]
    pub fn new(
        home: impl Into<PathBuf>,
        runtime: impl Into<PathBuf>,
        peers_dir: impl Into<PathBuf>,
    ) -> Self {
        Self {
            home: home.into(),
            runtime: runtime.into(),
            peers_dir: peers_dir.into(),
            listen: Vec::new(),
            peers: Vec::new(),
            mdns: true,
            quic: true,
            loopback_only: false,
            fresh_peer_id: false,
            passphrase: None,
            room_disk_bytes: klatch_core::limits::ROOM_DISK_BYTES_DEFAULT,
            to_read: false,
            host: None,
        }
    }
}
