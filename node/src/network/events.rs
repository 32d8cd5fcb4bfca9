//! What the swarm reports, turned into events for the driver. Every handler is short and does not
//! wait.

use std::time::Instant;

use klatch_core::cbor::DecodeError;
use klatch_core::error::Reject;
use klatch_core::ids::TopicId;
use klatch_core::step::{GossipId, Verdict};
use libp2p::core::transport::ListenerId;
use libp2p::gossipsub::TopicHash;
use libp2p::request_response::{Message, OutboundFailure};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, gossipsub, identify, mdns, request_response};

use super::behaviour::BehaviourEvent;
use super::codec::is_oversize;
use super::counters::{add, count};
use super::dialer::Source;
use super::message::NetEvent;
use super::requests::Which;
use super::settings::{FAULT_POINTS_MAX, PROTOCOL_FAMILY, START_MS};
use super::task::{Task, root_cause};
use super::{address, peer_of};

type RequestEvent = request_response::Event<Option<Vec<u8>>, Vec<u8>>;

impl Task {
    pub(super) fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.on_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Room(event)) => {
                self.on_request(Which::Room, event)
            }
            SwarmEvent::Behaviour(BehaviourEvent::Direct(event)) => {
                self.on_request(Which::Direct, event)
            }
            SwarmEvent::Behaviour(BehaviourEvent::Probe(event)) => self.judge(event.peer),
            SwarmEvent::Behaviour(BehaviourEvent::Mdns(event)) => self.on_mdns(event, Source::Mdns),
            SwarmEvent::Behaviour(BehaviourEvent::MdnsSix(event)) => {
                self.on_mdns(event, Source::MdnsSix)
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.on_identify(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_established(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                self.on_closed(peer_id, connection_id, num_established);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.on_dial_failed(connection_id, &error);
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                count(&self.counters.incoming_failed);
                tracing::debug!(%error, "incoming connection failed");
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.on_listening(listener_id, address)
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.moved.note(&address, true);
                self.announce();
            }
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                self.opened(listener_id);
                let cause = reason.err().map_or_else(|| "closed".to_owned(), |e| e.to_string());
                for address in addresses {
                    self.out.push(NetEvent::ListenFailed { address, cause: cause.clone() });
                }
                self.announce();
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener"),
            _ => {}
        }
    }

    /// gossipsub knows connections, not peers (`each.rs`).
    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                self.on_message(propagation_source, message_id, message);
            }
            gossipsub::Event::Subscribed { peer_id, topic } => self.on_follows(&peer_id, &topic),
            gossipsub::Event::Unsubscribed { peer_id, topic } => {
                self.on_unfollows(&peer_id, &topic)
            }
            gossipsub::Event::SlowPeer { peer_id, failed_messages } => {
                add(&self.counters.queue_dropped, failed_messages.non_priority);
                let real = self.swarm.behaviour().gossip.real(&peer_id);
                if let Some(link) = real.and_then(|(peer, _)| self.links.get_mut(&peer)) {
                    link.dropped(failed_messages.non_priority);
                    link.slow_owed = true;
                }
            }
            gossipsub::Event::GossipsubNotSupported { .. } => {}
        }
    }

    fn on_follows(&mut self, alias: &PeerId, topic: &TopicHash) {
        let Some((peer, connection)) = self.swarm.behaviour().gossip.real(alias) else { return };
        let (Some(id), Some(link)) = (TopicId::parse(topic.as_str()), self.links.get_mut(&peer))
        else {
            return;
        };
        if let Some(connection) = link.connection(connection) {
            connection.topics.insert(id);
        }
        let (fresh, own) = (link.topics.insert(id), self.topics.find(topic).is_some());
        let met = own && !link.shared;
        link.shared |= own;
        if let Some(from) = link.origin().filter(|_| met) {
            self.out.push(NetEvent::CameFrom { peer: peer_of(&peer), address: from });
        }
        if fresh && own {
            self.out.push(NetEvent::Subscribed { peer: peer_of(&peer), topic: id });
        }
    }

    fn on_unfollows(&mut self, alias: &PeerId, topic: &TopicHash) {
        let Some((peer, connection)) = self.swarm.behaviour().gossip.real(alias) else { return };
        let (Some(id), Some(link)) = (TopicId::parse(topic.as_str()), self.links.get_mut(&peer))
        else {
            return;
        };
        if let Some(connection) = link.connection(connection) {
            connection.topics.remove(&id);
        }
        // What it said over a connection before is no longer true either.
        if link.topics.remove(&id) && self.topics.find(topic).is_some() {
            self.out.push(NetEvent::Unsubscribed { peer: peer_of(&peer), topic: id });
        }
    }

    fn on_message(&mut self, alias: PeerId, id: gossipsub::MessageId, message: gossipsub::Message) {
        let Some((source, _)) = self.swarm.behaviour().gossip.real(&alias) else { return };
        let Some(topic) = self.topics.find(&message.topic) else {
            return self.report(&source, &id, Verdict::Ignore);
        };
        count(&self.counters.gossip);
        add(&self.counters.gossip_bytes, message.data.len());
        let event = NetEvent::Gossip {
            peer: peer_of(&source),
            message: GossipId(id.0.clone()),
            topic,
            bytes: message.data,
        };
        if !self.out.push_gossip(event) {
            count(&self.counters.gossip_dropped);
            self.report(&source, &id, Verdict::Ignore);
            if let Some(link) = self.links.get_mut(&source) {
                link.slow_owed = true;
            }
        }
    }

    fn on_request(&mut self, which: Which, event: RequestEvent) {
        match event {
            RequestEvent::Message {
                peer: alias,
                message: Message::Request { request_id, request, channel },
                ..
            } => {
                let Some((peer, over)) = self.lane(which).1.real(&alias) else { return };
                let Some(request) = request else {
                    count(&self.counters.serve_refused);
                    return self.penalise(peer, Reject::Decode(DecodeError::TooLong));
                };
                match self.lane(which).0.serving.arrived(peer, request_id, request.len(), channel) {
                    Some(token) => {
                        count(&self.counters.served);
                        let link = self.links.get(&peer);
                        let connection = link.map_or(0, |l| l.number(over));
                        let (peer, bytes) = (peer_of(&peer), request);
                        self.out.push(match which {
                            Which::Room => NetEvent::Request { peer, token, connection, bytes },
                            Which::Direct => NetEvent::DirectAsked { peer, token, bytes },
                        });
                    }
                    None => {
                        count(&self.counters.serve_refused);
                        self.penalise(peer, Reject::Rate);
                    }
                }
            }
            RequestEvent::Message {
                message: Message::Response { request_id, response }, ..
            } => {
                let (lane, net) = self.lane(which);
                if let Some((peer, id)) = lane.asking.done(net, request_id) {
                    let (peer, bytes) = (peer_of(&peer), response);
                    self.out.push(match which {
                        Which::Room => NetEvent::Response { peer, id, bytes },
                        Which::Direct => NetEvent::DirectAnswered { peer, id, bytes },
                    });
                }
            }
            RequestEvent::OutboundFailure { request_id, error, .. } => {
                let (lane, net) = self.lane(which);
                if let Some((peer, id)) = lane.asking.done(net, request_id) {
                    tracing::debug!(%error, "request failed");
                    count(&self.counters.requests_failed);
                    if matches!(&error, OutboundFailure::Io(e) if is_oversize(e)) {
                        self.penalise(peer, Reject::Decode(DecodeError::TooLong));
                    }
                    self.out.push(NetEvent::RequestFailed { peer: peer_of(&peer), id });
                }
            }
            RequestEvent::InboundFailure { request_id, .. }
            | RequestEvent::ResponseSent { request_id, .. } => {
                self.lane(which).0.serving.ended(request_id);
            }
        }
    }

    fn on_mdns(&mut self, event: mdns::Event, source: Source) {
        match event {
            mdns::Event::Discovered(list) => {
                self.mdns_heard = Some(Instant::now());
                let now_ms = self.now_ms();
                for (peer, found) in list {
                    let bare = address::split_peer(found).1;
                    if address::check(&bare).is_ok() {
                        self.dialer.add(Some(peer), bare, source);
                        self.dialer.shown(&peer, now_ms);
                    }
                }
                self.dial_due();
            }
            mdns::Event::Expired(list) => {
                for (peer, found) in list {
                    self.dialer.remove(peer, &address::split_peer(found).1, source);
                }
            }
        }
    }

    /// mDNS finds every libp2p program on the LAN. Who is none of ours (node or relay) only takes a
    /// place.
    fn on_identify(&mut self, event: identify::Event) {
        if let identify::Event::Received { peer_id, info, .. } = event
            && !info.protocol_version.starts_with(PROTOCOL_FAMILY)
        {
            count(&self.counters.strangers);
            self.refuse(peer_id, FAULT_POINTS_MAX);
        }
    }

    fn on_dial_failed(&mut self, connection: ConnectionId, error: &DialError) {
        let own = matches!(error, DialError::LocalPeerId { .. });
        self.wanted.failed(&self.dialer.tried(connection), error, self.now_ms());
        if self.dialer.failed(connection, own, self.now_ms()) {
            count(&self.counters.dials_failed);
            tracing::debug!(%error, "dial failed");
        }
    }

    fn on_listening(&mut self, listener: ListenerId, address: Multiaddr) {
        if let Some(tcp) = self.twins.remove(&listener)
            && let Some(port) = address::tcp_port(&address)
            && let Some(twin) = address::quic_twin(&tcp, port)
        {
            match self.swarm.listen_on(twin.clone()) {
                Ok(id) => drop(self.opening.insert(id)),
                Err(error) => {
                    let cause = root_cause(&error);
                    self.out.push(NetEvent::ListenFailed { address: twin, cause });
                }
            }
        }
        if self.sixes.remove(&listener)
            && let Some(port) = address::tcp_port(&address)
        {
            self.listen_six(port);
        }
        if self.now_ms() > START_MS {
            self.moved.note(&address, false);
        }
        self.out.push(NetEvent::Listening { address });
        self.opened(listener);
        self.announce();
        self.dial_due();
    }

    /// Where others can dial this node.
    pub(super) fn listening(&self) -> Vec<Multiaddr> {
        self.swarm.listeners().filter(|a| address::check(a).is_ok()).cloned().collect()
    }

    /// Tells other nodes on this machine where this one is.
    fn announce(&self) {
        if let Some(watcher) = &self.watcher {
            watcher.announce(&self.listening());
        }
    }
}
