//! Makes a protocol see every connection as a peer of its own.
//!
//! libp2p's protocols keep their state per peer. With two connections to one peer, one of them
//! dead, that state lies: gossipsub announces subscriptions on the first connection only, keeps one
//! queue for both and falls silent when the older one closes; request-response spreads requests
//! over both. Behind [`Each`] a connection has a name of its own (an *alias*), so it begins with
//! its own announcements and its own queue and ends with them, and requests go where they are sent.
//! Which connection is used is decided elsewhere (`settle.rs`).

use std::collections::{HashMap, VecDeque};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{AddressChange, ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

/// Closed connections whose name is still understood: what they brought last may come out of the
/// protocol after they have ended.
const CLOSED_MAX: usize = 256;

/// A protocol that knows aliases only.
pub(super) struct Each<B> {
    inner: B,
    alias: HashMap<ConnectionId, PeerId>,
    real: HashMap<PeerId, (PeerId, ConnectionId)>,
    closed: VecDeque<PeerId>,
}

impl<B> Each<B> {
    pub(super) fn new(inner: B) -> Self {
        Self { inner, alias: HashMap::new(), real: HashMap::new(), closed: VecDeque::new() }
    }

    /// The name of a connection, while it is there.
    pub(super) fn alias(&self, connection: ConnectionId) -> Option<PeerId> {
        self.alias.get(&connection).copied()
    }

    /// Who is behind a name.
    pub(super) fn real(&self, alias: &PeerId) -> Option<(PeerId, ConnectionId)> {
        self.real.get(alias).copied()
    }

    /// The protocol itself. What it takes and gives as a peer is an alias.
    pub(super) fn inner(&mut self) -> &mut B {
        &mut self.inner
    }

    fn named(&mut self, connection: ConnectionId, peer: PeerId) -> PeerId {
        *self.alias.entry(connection).or_insert_with(|| {
            let alias = PeerId::random();
            self.real.insert(alias, (peer, connection));
            alias
        })
    }

    fn ended(&mut self, connection: ConnectionId) {
        let Some(alias) = self.alias.remove(&connection) else { return };
        self.closed.push_back(alias);
        if self.closed.len() > CLOSED_MAX
            && let Some(oldest) = self.closed.pop_front()
        {
            self.real.remove(&oldest);
        }
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Each<B> {
    type ConnectionHandler = B::ConnectionHandler;
    type ToSwarm = B::ToSwarm;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let alias = self.named(connection, peer);
        self.inner.handle_established_inbound_connection(connection, alias, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let alias = self.named(connection, peer);
        self.inner
            .handle_established_outbound_connection(connection, alias, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(e) => {
                let peer_id = self.named(e.connection_id, e.peer_id);
                self.inner.on_swarm_event(FromSwarm::ConnectionEstablished(
                    ConnectionEstablished { peer_id, other_established: 0, ..e },
                ));
            }
            FromSwarm::ConnectionClosed(e) => {
                let peer_id = self.named(e.connection_id, e.peer_id);
                self.inner.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                    peer_id,
                    remaining_established: 0,
                    ..e
                }));
                self.ended(e.connection_id);
            }
            FromSwarm::AddressChange(e) => {
                let peer_id = self.named(e.connection_id, e.peer_id);
                self.inner.on_swarm_event(FromSwarm::AddressChange(AddressChange { peer_id, ..e }));
            }
            // These protocols dial nobody, and addresses of peers are no business of theirs.
            FromSwarm::DialFailure(_) | FromSwarm::NewExternalAddrOfPeer(_) => {}
            other => self.inner.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        let alias = self.named(connection, peer);
        self.inner.on_connection_handler_event(alias, connection, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            let Poll::Ready(order) = self.inner.poll(cx) else { return Poll::Pending };
            match order {
                ToSwarm::NotifyHandler { peer_id: alias, event, .. } => {
                    let Some((peer_id, connection)) = self.real(&alias) else { continue };
                    let handler = NotifyHandler::One(connection);
                    return Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler, event });
                }
                ToSwarm::CloseConnection { peer_id: alias, .. } => {
                    let Some((peer_id, connection)) = self.real(&alias) else { continue };
                    let connection = CloseConnection::One(connection);
                    return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection });
                }
                // Whom to dial is decided in `dialer.rs`; nobody answers to an alias.
                ToSwarm::Dial { .. } => {}
                other => return Poll::Ready(other),
            }
        }
    }
}
