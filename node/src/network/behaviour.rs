//! The protocols of a node as one libp2p behaviour; what can be switched off is a toggle.

use std::iter;
use std::sync::Arc;

use libp2p::allow_block_list::{self, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{self, MessageAuthenticity};
use libp2p::identity::Keypair;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, identify, mdns, memory_connection_limits, ping};

use super::codec::Raw;
use super::counters::Counters;
use super::each::Each;
use super::probe;
use super::settings::{
    self, CONNECTIONS_OUT_SHARE, CONNECTIONS_PER_PEER_MAX, DIALS_PENDING_MAX, DIRECT_LANE,
    DIRECT_PROTOCOL, HANDSHAKE_TIMEOUT, IDENTIFY_AGENT, IDENTIFY_PROTOCOL, LaneBounds, MDNS_QUERY,
    PENDING_MAX, PING, ROOM_LANE, ROOM_PROTOCOL,
};
use super::topics::{self, Filter, OwnTopicsOnly, Topics};
use super::{NetworkConfig, NetworkError};

/// Everything a connection does. Limits come first: they are asked first.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) limits: connection_limits::Behaviour,
    pub(super) memory: memory_connection_limits::Behaviour,
    pub(super) blocked: allow_block_list::Behaviour<BlockedPeers>,
    pub(super) gossip: Each<gossipsub::Behaviour<OwnTopicsOnly, Filter>>,
    pub(super) room: Each<request_response::Behaviour<Raw>>,
    pub(super) direct: Each<request_response::Behaviour<Raw>>,
    pub(super) probe: probe::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) identify: Toggle<identify::Behaviour>,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(super) mdns_six: Toggle<mdns::tokio::Behaviour>,
}

impl Behaviour {
    pub(super) fn new(
        config: &NetworkConfig,
        keypair: &Keypair,
        topics: Topics,
        counters: Arc<Counters>,
    ) -> Result<Self, NetworkError> {
        let gossip = gossipsub::Behaviour::new_with_subscription_filter_and_transform(
            MessageAuthenticity::Anonymous,
            settings::gossip()?,
            topics::filter(),
            OwnTopicsOnly { topics, counters },
        )
        .map_err(|cause| NetworkError::Setup { part: "gossipsub", cause: cause.to_owned() })?;
        let identify = config.identify.then(|| {
            identify::Behaviour::new(
                identify::Config::new(IDENTIFY_PROTOCOL.to_owned(), keypair.public())
                    .with_agent_version(IDENTIFY_AGENT.to_owned())
                    .with_hide_listen_addrs(true)
                    .with_cache_size(0),
            )
        });
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits(config.connections_max)),
            memory: memory_connection_limits::Behaviour::with_max_bytes(config.memory_bytes_max),
            blocked: allow_block_list::Behaviour::default(),
            gossip: Each::new(gossip),
            room: Each::new(lane(ROOM_PROTOCOL, &ROOM_LANE)),
            direct: Each::new(lane(DIRECT_PROTOCOL, &DIRECT_LANE)),
            probe: probe::Behaviour::default(),
            ping: ping::Behaviour::new(
                ping::Config::new().with_interval(PING).with_timeout(HANDSHAKE_TIMEOUT),
            ),
            identify: identify.into(),
            mdns: mdns(config, keypair, false).into(),
            mdns_six: config.six().then(|| mdns(config, keypair, true)).flatten().into(),
        })
    }
}

fn lane(protocol: &'static str, bounds: &'static LaneBounds) -> request_response::Behaviour<Raw> {
    request_response::Behaviour::with_codec(
        Raw { bounds },
        iter::once((StreamProtocol::new(protocol), ProtocolSupport::Full)),
        request_response::Config::default()
            .with_request_timeout(std::time::Duration::from_millis(
                klatch_core::limits::SYNC_TIMEOUT_MS,
            ))
            .with_max_concurrent_streams(bounds.streams_max),
    )
}

fn limits(established: u32) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(PENDING_MAX))
        .with_max_pending_outgoing(Some(DIALS_PENDING_MAX))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX))
        .with_max_established_incoming(Some(established - established / CONNECTIONS_OUT_SHARE))
        .with_max_established(Some(established))
}

/// A machine without a usable network interface still runs a node: mDNS is then left out.
fn mdns(
    config: &NetworkConfig,
    keypair: &Keypair,
    enable_ipv6: bool,
) -> Option<mdns::tokio::Behaviour> {
    if !config.mdns || config.loopback_only {
        return None;
    }
    let settings =
        mdns::Config { query_interval: MDNS_QUERY, enable_ipv6, ..mdns::Config::default() };
    mdns::tokio::Behaviour::new(settings, keypair.public().to_peer_id())
        .inspect_err(|error| tracing::warn!(%error, "nodes on the LAN are not looked for"))
        .ok()
}
