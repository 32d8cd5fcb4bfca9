//! How a node starts: lock, keystore, store, core, network, threads, in this order; and what can go
//! wrong on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use klatch_core::ctx::Entropy;
use klatch_core::identity::Keys;
use klatch_core::ids::Peer;
use klatch_core::machine::Machine;
use klatch_core::presence::Process;
use klatch_core::step::TopicChange;
use klatch_core::times::is_absurd;
use libp2p::Multiaddr;
use libp2p::identity::Keypair;
use tokio::sync::Semaphore;

use crate::clock::{SystemEntropy, now_ms};
use crate::config::Config;
use crate::driver::{Driver, WORK_MAX};
use crate::feed::Feed;
use crate::network::{self, NetCommand, NetworkConfig, NetworkError};
use crate::store::keystore::{Keystore, KeystoreError, Secrets};
use crate::store::lock::{LockError, ProfileLock};
use crate::store::{Store, StoreError};
use crate::views::Shared;
use crate::{Inner, Node, READERS, Running, STRETCHED_AT_ONCE, serve, verify};

/// Why a node could not start. The text says what failed; [`StartError::hint`] what to try.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The keystore.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The profile is in use.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// An address in the configuration.
    #[error("`{address}` is not an address: {cause}")]
    Address {
        /// As given.
        address: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The system has no thread left.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The start was interrupted.
    #[error("the start was interrupted")]
    Interrupted,
}

impl StartError {
    /// A stable code for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Keystore(KeystoreError::NeedsPassphrase) => "KLATCH-LOCKED",
            Self::Keystore(KeystoreError::WrongPassphrase) => "KLATCH-WRONG-PASSPHRASE",
            Self::Keystore(KeystoreError::Missing { .. }) => "KLATCH-NO-IDENTITY",
            Self::Keystore(_) => "KLATCH-KEYSTORE",
            Self::Lock(e) => e.code(),
            Self::Store(e) if e.is_refusal() => "KLATCH-READ-ONLY",
            Self::Store(_) => "KLATCH-STORE",
            Self::Network(_) => "KLATCH-NETWORK",
            Self::Address { .. } => "KLATCH-ADDRESS",
            Self::Thread(_) => "KLATCH-THREAD",
            Self::Interrupted => "KLATCH-INTERRUPTED",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Keystore(e) => e.hint(),
            Self::Lock(e) => e.hint(),
            Self::Store(e) => e.hint().to_owned(),
            Self::Network(_) => {
                "choose another --listen address, or check the folder named above".to_owned()
            }
            Self::Address { .. } => {
                "for example /ip4/192.168.1.5/tcp/4001 or /ip4/192.168.1.5/udp/4001/quic-v1"
                    .to_owned()
            }
            Self::Thread(_) => {
                "the system limits processes or memory; raise the limit (ulimit -u)".to_owned()
            }
            Self::Interrupted => "start it again".to_owned(),
        }
    }

    /// The process exit code.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::Keystore(KeystoreError::NeedsPassphrase | KeystoreError::WrongPassphrase) => 4,
            Self::Keystore(KeystoreError::Missing { .. }) | Self::Address { .. } => 2,
            _ => 1,
        }
    }
}

/// What opening the profile brings.
struct Opened {
    lock: ProfileLock,
    secrets: Secrets,
    store: Store,
}

pub(crate) async fn spawn(config: Config) -> Result<Node, StartError> {
    if is_absurd(now_ms()) {
        tracing::warn!(
            "the clock of this machine is wrong, and times of messages with it: set it, for example \
             by `sudo timedatectl set-ntp true`; nothing is lost meanwhile"
        );
    }
    let (home, passphrase) = (config.home.clone(), config.passphrase.clone());
    let to_read = config.to_read;
    // Argon2id and the first read of the store take a while: not on the runtime's threads.
    let opened = tokio::task::spawn_blocking(move || -> Result<Opened, StartError> {
        let secrets = Keystore::at(&home).unlock(passphrase.as_ref())?;
        let (lock, store) = if to_read {
            let lock = ProfileLock::acquire_to_read(&home)?;
            (lock, Store::open_to_read(&home, &secrets.master)?)
        } else {
            let lock = ProfileLock::acquire(&home)?;
            (lock, Store::open(&home, &secrets.master)?)
        };
        Ok(Opened { lock, secrets, store })
    });
    let Opened { lock, secrets, store } = opened.await.map_err(|_| StartError::Interrupted)??;
    // Waits until the system says where it listens.
    tokio::task::spawn_blocking(move || {
        let (handle, started, receivers) = open_network(&config, &store, &secrets)?;
        let node =
            assemble(&config, &secrets, store, lock, handle.clone(), started.stopped, receivers);
        if node.is_err() {
            let _ = handle.send(NetCommand::Shutdown);
        }
        node
    })
    .await
    .map_err(|_| StartError::Interrupted)?
}

/// Starts the network, without `--listen` on the port that this profile used before: others
/// remember it. If somebody else has that port by now, any will do.
fn open_network(
    config: &Config,
    store: &Store,
    secrets: &Secrets,
) -> Result<
    (network::NetworkHandle, network::Started, Vec<std::sync::mpsc::Receiver<network::NetEvent>>),
    StartError,
> {
    let plan = network_config(config, store)?;
    if config.listen.is_empty() {
        let (sink, receivers) = verify::channels();
        let usual = NetworkConfig {
            listen: vec![network::address::any_tcp(usual_port(secrets))],
            ..plan.clone()
        };
        match network::spawn(usual, transport_key(config, secrets)?, sink) {
            Ok((handle, started)) => return Ok((handle, started, receivers)),
            Err(NetworkError::Listen { address, cause }) => {
                tracing::info!(%address, %cause, "the usual port is taken")
            }
            Err(error) => return Err(error.into()),
        }
    }
    let (sink, receivers) = verify::channels();
    let (handle, started) = network::spawn(plan, transport_key(config, secrets)?, sink)?;
    Ok((handle, started, receivers))
}

/// A port of the profile's own between 20,000 and 59,999: derived, so that nothing has to be
/// remembered, and secret enough, so that ports do not tell profiles apart.
fn usual_port(secrets: &Secrets) -> u16 {
    let hash = blake3::derive_key("klatch v1 usual port", secrets.transport.as_bytes());
    20_000 + u16::from_le_bytes([hash[0], hash[1]]) % 40_000
}

fn assemble(
    config: &Config,
    secrets: &Secrets,
    store: Store,
    lock: ProfileLock,
    network: network::NetworkHandle,
    stopped: network::Stopped,
    receivers: Vec<std::sync::mpsc::Receiver<network::NetEvent>>,
) -> Result<Node, StartError> {
    let keys = Keys::from_seeds(
        secrets.identity.as_bytes(),
        secrets.device.as_bytes(),
        secrets.created_ms,
    );
    let (identity, device) = (keys.identity_id(), keys.device_id());
    let mut snapshot = store.snapshot()?;
    if snapshot.name.is_empty() {
        snapshot.name.clone_from(&secrets.name);
    }
    let shared = Arc::new(Shared::default());
    shared.set_name(snapshot.name.clone());
    let mut process = Process([0; 16]);
    SystemEntropy.fill(&mut process.0);
    let mut machine = Machine::open(keys, network.peer().clone(), process, snapshot, now_ms())
        .with_disk_budget(config.room_disk_bytes);
    let views = machine.views();
    let topics: Vec<TopicChange> =
        views.iter().filter(|v| v.followed).map(|v| TopicChange::Subscribe(v.keys.topic)).collect();
    shared.update(views);
    shared.set_people(Some(machine.people(now_ms(), &mut SystemEntropy)));
    let readers = (0..READERS).map(|_| store.reader()).collect::<Result<Vec<_>, _>>()?;
    let (work, inbox) = sync_channel(WORK_MAX);
    let (librarian, serving) = serve::spawn(store.reader()?, network.clone(), work.clone())?;
    let events = Feed::default();
    verify::spawn(receivers, &shared, &network, &work)?;
    for topic in topics {
        if let TopicChange::Subscribe(topic) = topic {
            let _ = network.send(NetCommand::Subscribe(topic));
        }
    }
    let frozen = store.why_frozen().map(StoreError::cause);
    shared.set_read_only(frozen.clone());
    let driver = Driver {
        machine: Some(machine),
        store,
        network: network.clone(),
        shared: shared.clone(),
        librarian,
        events: events.clone(),
        replies: BTreeMap::new(),
        next_command: 0,
        wake_ms: Some(now_ms()),
        read_only_since: frozen.map(|_| Instant::now()),
        indexed: false,
        held: std::collections::VecDeque::new(),
        keeper: Default::default(),
        searchers: Vec::new(),
        own: Vec::new(),
        crowded: false,
        busy: Instant::now(),
        clean_at: None,
    };
    let driver = std::thread::Builder::new().name("klatch-driver".into()).spawn(move || {
        driver.run(&inbox);
        // Its reader must be closed before the process runs the exit handlers of the cipher.
        let _ = serving.join();
    })?;
    Ok(Node {
        inner: Arc::new(Inner {
            work,
            shared,
            readers: Mutex::new(readers),
            free_readers: Arc::new(Semaphore::new(READERS)),
            turn: tokio::sync::Mutex::new(()),
            stretching: Arc::new(Semaphore::new(STRETCHED_AT_ONCE)),
            events,
            network,
            identity,
            device,
            started: Instant::now(),
            home: config.home.clone(),
            runtime: config.runtime.clone(),
            host: config.host,
            socket: Mutex::new(None),
            running: Mutex::new(Some(Running { driver, network: stopped, lock })),
        }),
    })
}

fn transport_key(config: &Config, secrets: &Secrets) -> Result<Keypair, StartError> {
    if config.fresh_peer_id {
        return Ok(Keypair::generate_ed25519());
    }
    let mut seed = *secrets.transport.as_bytes();
    Keypair::ed25519_from_bytes(&mut seed).map_err(|_| StartError::Interrupted)
}

fn network_config(config: &Config, store: &Store) -> Result<NetworkConfig, StartError> {
    let parse = |text: &String| {
        text.parse::<Multiaddr>()
            .map_err(|e| StartError::Address { address: text.clone(), cause: e.to_string() })
    };
    let listen = config.listen.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let mut peers: Vec<(Option<Peer>, Multiaddr)> = Vec::new();
    for text in &config.peers {
        peers.push((None, parse(text)?));
    }
    // Last seen first: people who are often there are found first.
    let known = store.addresses()?.into_iter();
    peers.extend(known.filter_map(|k| Some((Some(Peer(k.peer)), k.addr.parse().ok()?))));
    let defaults = NetworkConfig::default();
    Ok(NetworkConfig {
        listen: if listen.is_empty() { defaults.listen.clone() } else { listen },
        loopback_only: config.loopback_only,
        quic: config.quic,
        // Who names addresses gets those.
        ipv6: config.listen.is_empty(),
        mdns: config.mdns && !config.loopback_only,
        peers,
        runtime_dir: (!config.to_read).then(|| config.peers_dir.clone()),
        ..defaults
    })
}
