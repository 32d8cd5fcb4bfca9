//! TCP with noise and yamux, and QUIC, as one metered transport.

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, OptionalTransport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport, noise, quic, tcp, yamux};

use super::NetworkError;
use super::meter::{Metered, Meters};
use super::settings::{HANDSHAKE_TIMEOUT, QUIC_IDLE_MS, QUIC_KEEP_ALIVE, STREAMS_MAX};
use super::six::Tcp;

/// The transport of a node. Needs a tokio runtime around it once it listens or dials.
pub(super) fn build(
    keypair: &Keypair,
    with_quic: bool,
    meters: &Meters,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetworkError> {
    let noise = noise::Config::new(keypair)
        .map_err(|e| NetworkError::Setup { part: "noise", cause: e.to_string() })?;
    let mut muxer = yamux::Config::default();
    muxer.set_max_num_streams(STREAMS_MAX);
    let (tcp_meters, quic_meters) = (meters.clone(), meters.clone());

    let tcp = Tcp(tcp::tokio::Transport::new(tcp::Config::new().nodelay(true)))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(muxer)
        .timeout(HANDSHAKE_TIMEOUT)
        .map(move |(peer, muxer), _| {
            (peer, StreamMuxerBox::new(Metered::new(muxer, tcp_meters.of(peer))))
        });

    let quic = if with_quic {
        let mut config = quic::Config::new(keypair);
        config.max_concurrent_stream_limit = u32::try_from(STREAMS_MAX).unwrap_or(u32::MAX);
        config.handshake_timeout = HANDSHAKE_TIMEOUT;
        config.max_idle_timeout = QUIC_IDLE_MS;
        config.keep_alive_interval = QUIC_KEEP_ALIVE;
        OptionalTransport::some(quic::tokio::Transport::new(config))
    } else {
        OptionalTransport::none()
    }
    .map(move |(peer, muxer), _| {
        (peer, StreamMuxerBox::new(Metered::new(muxer, quic_meters.of(peer))))
    });

    Ok(tcp.or_transport(quic).map(|either, _| either.into_inner()).boxed())
}
