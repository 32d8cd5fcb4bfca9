//! `/klatch/probe/1`: asks one connection whether it is alive, and tells the other side which of
//! several connections stays.
//!
//! ping and request-response choose a connection themselves, so they cannot say which of two is
//! dead. A probe names its connection: nine bytes go out on a stream of that connection and come
//! back on it, answered by the other side's handler inside the connection's own task, however busy
//! its node is. What was heard and when is kept in a [`Pulse`] per connection, which the network
//! task reads by the clock; judging it is left to `settle.rs`.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::channel::mpsc;
use futures::future::BoxFuture;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, NotifyHandler, Stream, StreamUpgradeError, SubstreamProtocol, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};

use super::settings::{PROBE_BURST, PROBE_PER_S, PROBE_PROTOCOL, PROBE_QUEUE_MAX};

/// "Are you there?"
const ASK: u8 = 0;
/// "Of our connections this one stays." Answered like a probe.
const KEEP: u8 = 1;
/// Kind and number. The answer is the same nine bytes.
const FRAME: usize = 9;

/// What is known of the life of one connection. Shared by its handler, which hears, and the network
/// task, which judges.
#[derive(Debug, Clone, Default)]
pub(super) struct Pulse(Arc<Mutex<Heard>>);

/// The same at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heard {
    /// The last answer came at this moment...
    pub(super) answered: Option<Instant>,
    /// ...to a probe that was asked at this one. An answer proves the connection from then on.
    pub(super) proved: Option<Instant>,
    /// The last sign of life: an answer, or a probe of the other side.
    pub(super) heard: Option<Instant>,
    /// The oldest probe without an answer.
    pub(super) waiting: Option<Instant>,
    /// Round trip of the last answer.
    pub(super) rtt: Option<Duration>,
    /// The other side says that this connection stays.
    pub(super) keep: bool,
    /// The other side confirmed that this connection stays.
    pub(super) agreed: bool,
    first_waiting: u64,
    last_asked: Option<(u64, Instant)>,
}

impl Pulse {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known now.
    pub(super) fn now(&self) -> Heard {
        *self.lock()
    }

    /// We did not listen ourselves: what waits for an answer begins to wait now.
    pub(super) fn excuse(&self) {
        let mut heard = self.lock();
        if heard.waiting.is_some() {
            heard.waiting = Some(Instant::now());
        }
    }

    fn asked(&self, number: u64) {
        let (mut heard, now) = (self.lock(), Instant::now());
        heard.last_asked = Some((number, now));
        if heard.waiting.is_none() {
            heard.waiting = Some(now);
            heard.first_waiting = number;
        }
    }

    fn answered(&self, kind: u8, number: u64) {
        let (mut heard, now) = (self.lock(), Instant::now());
        heard.answered = Some(now);
        heard.heard = Some(now);
        if let Some((last, at)) = heard.last_asked
            && last == number
        {
            heard.proved = Some(at);
            heard.rtt = Some(now - at);
        } else if number >= heard.first_waiting {
            heard.proved = heard.proved.max(heard.waiting);
        }
        if number >= heard.first_waiting {
            // A younger one may still wait: it is asked again soon enough.
            heard.waiting = heard.last_asked.filter(|(last, _)| *last > number).map(|(_, at)| at);
            heard.first_waiting = number + 1;
        }
        heard.agreed |= kind == KEEP;
    }

    fn was_asked(&self, kind: u8) {
        let mut heard = self.lock();
        heard.heard = Some(Instant::now());
        heard.keep |= kind == KEEP;
    }
}

/// What the network task is told at once.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) peer: PeerId,
}

/// One pulse per connection.
#[derive(Default)]
pub(super) struct Behaviour {
    pulses: HashMap<ConnectionId, Pulse>,
    orders: VecDeque<(PeerId, ConnectionId, Order)>,
    events: VecDeque<Event>,
    number: u64,
    waker: Option<Waker>,
}

impl Behaviour {
    /// The pulse of a connection.
    pub(super) fn pulse(&self, connection: ConnectionId) -> Pulse {
        self.pulses.get(&connection).cloned().unwrap_or_default()
    }

    /// Asks a connection whether it is alive.
    pub(super) fn ask(&mut self, peer: PeerId, connection: ConnectionId) {
        self.send(peer, connection, ASK);
    }

    /// Tells the other side that this connection stays.
    pub(super) fn keep(&mut self, peer: PeerId, connection: ConnectionId) {
        self.send(peer, connection, KEEP);
    }

    fn send(&mut self, peer: PeerId, connection: ConnectionId, kind: u8) {
        let Some(pulse) = self.pulses.get(&connection) else { return };
        self.number += 1;
        pulse.asked(self.number);
        self.orders.push_back((peer, connection, Order { kind, number: self.number }));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn handler(&mut self, connection: ConnectionId) -> Handler {
        let pulse = self.pulses.entry(connection).or_default().clone();
        Handler::new(pulse)
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(connection))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(connection))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionClosed(closed) = event {
            self.pulses.remove(&closed.connection_id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        _: ConnectionId,
        (): THandlerOutEvent<Self>,
    ) {
        self.events.push_back(Event { peer });
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(event));
        }
        if let Some((peer_id, connection, event)) = self.orders.pop_front() {
            let handler = NotifyHandler::One(connection);
            return Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler, event });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// What the behaviour wants sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    kind: u8,
    number: u64,
}

type Talk = BoxFuture<'static, ()>;

/// Asks and answers on one connection.
pub(super) struct Handler {
    pulse: Pulse,
    /// Orders for the stream on which we ask, open or about to be.
    orders: mpsc::Sender<Order>,
    waiting: Option<mpsc::Receiver<Order>>,
    opening: bool,
    wanted: bool,
    asking: Option<Talk>,
    answering: Option<Talk>,
    news: mpsc::Receiver<()>,
    tell: mpsc::Sender<()>,
    waker: Option<Waker>,
}

impl Handler {
    fn new(pulse: Pulse) -> Self {
        let (orders, waiting) = mpsc::channel(PROBE_QUEUE_MAX);
        // One word is enough: the pulse says the rest.
        let (tell, news) = mpsc::channel(0);
        Self {
            pulse,
            orders,
            waiting: Some(waiting),
            opening: false,
            wanted: false,
            asking: None,
            answering: None,
            news,
            tell,
            waker: None,
        }
    }

    /// The stream on which we asked is gone, and what was in it: the next order opens another.
    fn renew(&mut self) {
        let (orders, waiting) = mpsc::channel(PROBE_QUEUE_MAX);
        (self.orders, self.waiting) = (orders, Some(waiting));
        (self.opening, self.wanted, self.asking) = (false, false, None);
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Order;
    type ToBehaviour = ();
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROBE_PROTOCOL), ())
    }

    fn on_behaviour_event(&mut self, order: Order) {
        // A full queue means a stream that takes nothing: what is in it goes unanswered, which is
        // what the probe wants to know.
        let _ = self.orders.try_send(order);
        self.wanted = true;
        self.wake();
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        if let Some(answering) = &mut self.answering
            && answering.poll_unpin(cx).is_ready()
        {
            self.answering = None;
        }
        if let Some(asking) = &mut self.asking
            && asking.poll_unpin(cx).is_ready()
        {
            self.renew();
        }
        if let Poll::Ready(Some(())) = self.news.poll_next_unpin(cx) {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(()));
        }
        if self.wanted && !self.opening && self.asking.is_none() {
            self.opening = true;
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(PROBE_PROTOCOL), ());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: mut stream,
                ..
            }) => {
                stream.ignore_for_keep_alive();
                self.answering =
                    Some(answer(stream, self.pulse.clone(), self.tell.clone()).boxed());
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: mut stream,
                ..
            }) => {
                stream.ignore_for_keep_alive();
                self.opening = false;
                if let Some(orders) = self.waiting.take() {
                    let (pulse, tell) = (self.pulse.clone(), self.tell.clone());
                    self.asking = Some(ask(stream, orders, pulse, tell).boxed());
                }
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => {
                if let StreamUpgradeError::NegotiationFailed = error {
                    // To say that it does not know the protocol it had to be there.
                    let last = self.pulse.now().last_asked;
                    self.pulse.answered(ASK, last.map_or(0, |(number, _)| number));
                    let _ = self.tell.try_send(());
                }
                self.renew();
            }
            _ => {}
        }
        self.wake();
    }
}

fn frame(order: Order) -> [u8; FRAME] {
    let mut bytes = [order.kind; FRAME];
    bytes[1..].copy_from_slice(&order.number.to_be_bytes());
    bytes
}

fn read(bytes: [u8; FRAME]) -> Order {
    let [kind, number @ ..] = bytes;
    Order { kind, number: u64::from_be_bytes(number) }
}

/// Writes what is ordered and hears the answers, until the stream ends.
async fn ask(
    stream: Stream,
    mut orders: mpsc::Receiver<Order>,
    pulse: Pulse,
    mut tell: mpsc::Sender<()>,
) {
    let (mut reader, mut writer) = stream.split();
    let write = async {
        while let Some(order) = orders.next().await {
            writer.write_all(&frame(order)).await?;
            writer.flush().await?;
        }
        std::io::Result::Ok(())
    };
    let hear = async {
        loop {
            let mut bytes = [0; FRAME];
            reader.read_exact(&mut bytes).await?;
            let order = read(bytes);
            pulse.answered(order.kind, order.number);
            // Full: it will look soon.
            let _ = tell.try_send(());
        }
        #[allow(unreachable_code, reason = "names the type of the endless loop")]
        std::io::Result::Ok(())
    };
    // How it ended says nothing that silence does not say.
    let _ = futures::future::try_join(write, hear).await;
}

/// Gives back what comes in, until the stream ends or the other side asks without measure.
async fn answer(mut stream: Stream, pulse: Pulse, mut tell: mpsc::Sender<()>) {
    let (mut left, mut since) = (PROBE_BURST, Instant::now());
    loop {
        let mut bytes = [0; FRAME];
        if stream.read_exact(&mut bytes).await.is_err() {
            return;
        }
        let passed = since.elapsed().as_secs();
        if passed > 0 {
            since = Instant::now();
            left = PROBE_BURST.min(left.saturating_add(passed.saturating_mul(PROBE_PER_S)));
        }
        if left == 0 {
            return;
        }
        left -= 1;
        let order = read(bytes);
        pulse.was_asked(order.kind);
        if order.kind == KEEP {
            let _ = tell.try_send(());
        }
        if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_proves_a_connection_from_the_moment_it_was_asked() {
        let pulse = Pulse::default();
        pulse.asked(1);
        let asked = pulse.now().waiting.unwrap();
        pulse.asked(2);
        assert_eq!(pulse.now().waiting, Some(asked), "the oldest one");
        pulse.answered(ASK, 1);
        let heard = pulse.now();
        assert_eq!(heard.proved, Some(asked));
        assert!(heard.waiting.is_some_and(|at| at >= asked), "the second still waits");
        pulse.answered(KEEP, 2);
        let heard = pulse.now();
        assert!(heard.waiting.is_none() && heard.agreed && !heard.keep && heard.rtt.is_some());
        // An answer said twice proves nothing new.
        let proved = heard.proved;
        pulse.asked(3);
        pulse.answered(ASK, 1);
        assert!(pulse.now().proved == proved && pulse.now().waiting.is_some());
    }

    #[test]
    fn frames_are_nine_bytes_that_come_back_as_they_were() {
        let order = Order { kind: KEEP, number: 0x0102_0304_0506_0708 };
        assert_eq!(frame(order), [1, 1, 2, 3, 4, 5, 6, 7, 8]);
        let back = read(frame(order));
        assert_eq!((back.kind, back.number), (KEEP, order.number));
    }
}
