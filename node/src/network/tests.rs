//! Real swarms on 127.0.0.1. Every wait has a deadline; nothing sleeps to give something time.

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use klatch_core::ids::{Peer, TopicId};
use klatch_core::limits::{ENVELOPE_BYTES_MAX, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};
use klatch_core::query::Mdns;
use klatch_core::step::{GossipId, Verdict};
use libp2p::Multiaddr;
use libp2p::identity::Keypair;
use tokio::runtime::{Builder, Runtime};

use super::{
    Delivered, NetCommand, NetEvent, NetworkConfig, NetworkError, NetworkHandle, Started, Status,
    spawn,
};

mod bounds;
mod direct;
mod families;
mod load;
mod renewal;

/// No wait in these tests is longer, on however slow a machine.
const DEADLINE: Duration = Duration::from_secs(20);
const TOPIC: TopicId = TopicId([7; 32]);

pub(super) struct Node {
    pub(super) net: NetworkHandle,
    started: Started,
    events: Receiver<NetEvent>,
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

pub(super) fn config() -> NetworkConfig {
    NetworkConfig { loopback_only: true, mdns: false, ..NetworkConfig::default() }
}

impl Node {
    pub(super) fn start(config: NetworkConfig, queue: usize) -> Self {
        Self::start_as(config, queue, Keypair::generate_ed25519())
    }

    fn start_as(config: NetworkConfig, queue: usize, key: Keypair) -> Self {
        let (tx, events) = sync_channel(queue);
        let (net, started) = spawn(config, key, move |event| match tx.try_send(event) {
            Ok(()) => Delivered::Taken,
            Err(TrySendError::Full(event)) => Delivered::Full(event),
            Err(TrySendError::Disconnected(_)) => Delivered::Closed,
        })
        .unwrap();
        Self { net, started, events }
    }

    fn new() -> Self {
        Self::start(config(), 1_000)
    }

    fn peer(&self) -> Peer {
        self.started.peer.clone()
    }

    fn send(&self, command: NetCommand) {
        self.net.send(command).unwrap();
    }

    pub(super) fn next(&self) -> NetEvent {
        self.events.recv_timeout(DEADLINE).expect("an event before the deadline")
    }

    /// Skips events until one is what is asked for.
    pub(super) fn until<T>(&self, mut pick: impl FnMut(NetEvent) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        loop {
            assert!(Instant::now() < end, "the event did not come");
            if let Some(found) = pick(self.next()) {
                return found;
            }
        }
    }

    fn until_is(&self, wanted: &NetEvent) {
        self.until(|event| (event == *wanted).then_some(()));
    }

    pub(super) fn address(&self, quic: bool) -> Multiaddr {
        self.until(|event| match event {
            NetEvent::Listening { address } if address.to_string().contains("quic") == quic => {
                Some(address)
            }
            _ => None,
        })
    }

    fn linked(&self) -> Peer {
        self.until(|event| match event {
            NetEvent::LinkUp { peer, .. } => Some(peer),
            _ => None,
        })
    }

    fn gossip(&self) -> (Peer, GossipId, Vec<u8>) {
        self.until(|event| match event {
            NetEvent::Gossip { peer, message, topic, bytes } => {
                assert_eq!(topic, TOPIC);
                Some((peer, message, bytes))
            }
            _ => None,
        })
    }

    fn request(&self) -> (Peer, u64, Vec<u8>) {
        self.until(|event| match event {
            NetEvent::Request { peer, token, bytes, .. } => Some((peer, token, bytes)),
            _ => None,
        })
    }

    fn answer(&self) -> (u64, Option<Vec<u8>>) {
        self.until(|event| match event {
            NetEvent::Response { id, bytes, .. } => Some((id, Some(bytes))),
            NetEvent::RequestFailed { id, .. } => Some((id, None)),
            _ => None,
        })
    }

    fn follows(&self, peer: &Node) {
        self.until_is(&NetEvent::Subscribed { peer: peer.peer(), topic: TOPIC });
    }

    /// Asks again and again until the status is as wanted.
    fn status_until(&self, wanted: impl Fn(&Status) -> bool) -> Status {
        let end = Instant::now() + DEADLINE;
        loop {
            let status = self.net.status().unwrap();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < end, "not reached: {status:?}");
        }
    }

    fn stop(self) {
        let begun = Instant::now();
        self.send(NetCommand::Shutdown);
        assert!(self.started.stopped.wait(DEADLINE));
        assert!(begun.elapsed() < Duration::from_secs(1), "took {:?}", begun.elapsed());
    }
}

/// Two linked nodes; the second has dialled.
fn pair(quic: bool) -> (Node, Node) {
    let (alice, bob) = (Node::new(), Node::new());
    bob.send(NetCommand::Dial(alice.address(quic)));
    assert_eq!((bob.linked(), alice.linked()), (alice.peer(), bob.peer()));
    (alice, bob)
}

/// Two linked nodes that know of each other that they follow [`TOPIC`].
fn room() -> (Node, Node) {
    let (alice, bob) = pair(false);
    for node in [&alice, &bob] {
        node.send(NetCommand::Subscribe(TOPIC));
    }
    alice.follows(&bob);
    bob.follows(&alice);
    (alice, bob)
}

fn publish(bytes: Vec<u8>) -> NetCommand {
    NetCommand::Publish { topic: TOPIC, bytes }
}

#[test]
fn an_envelope_arrives_once_and_the_largest_one_too() {
    let (alice, bob) = room();
    for size in [0, 1, 200, ENVELOPE_BYTES_MAX] {
        bob.send(publish(vec![size as u8; size]));
        let (peer, message, bytes) = alice.gossip();
        assert_eq!((peer.clone(), bytes.len()), (bob.peer(), size));
        alice.send(NetCommand::Verdict { peer, message, verdict: Verdict::Accept });
    }
    // The same bytes again are a duplicate, also from the other side; only the next new envelope
    // arrives.
    bob.send(publish(vec![200; 200]));
    alice.send(publish(vec![200; 200]));
    bob.send(publish(vec![9; 9]));
    assert_eq!(alice.gossip().2, vec![9; 9]);
    assert_eq!(alice.net.counters().gossip, 5);
    assert_eq!(bob.net.counters().gossip, 0);
    assert_eq!(bob.net.counters().publish_failed, 1);
}

#[test]
fn quic_carries_the_same() {
    let (alice, bob) = pair(true);
    bob.send(NetCommand::Request { peer: alice.peer(), id: 3, bytes: vec![1; 5_000] });
    let (_, token, bytes) = alice.request();
    alice.send(NetCommand::Respond { token, bytes });
    assert_eq!(bob.answer(), (3, Some(vec![1; 5_000])));
    let status = bob.net.status().unwrap();
    assert!(status.peers[0].address.to_string().ends_with("/quic-v1") && status.peers[0].dialled);
    assert!(status.counters.bytes_out > 5_000 && status.counters.bytes_in > 5_000);
}

#[test]
fn a_room_joined_later_learns_who_follows_it_already() {
    let (alice, bob) = pair(false);
    alice.send(NetCommand::Subscribe(TOPIC));
    // Alice's announcement reaches bob while he does not follow the topic. A request after it
    // proves that it did.
    alice.send(NetCommand::Request { peer: bob.peer(), id: 1, bytes: vec![] });
    bob.request();
    bob.send(NetCommand::Subscribe(TOPIC));
    bob.follows(&alice);
    alice.follows(&bob);
    bob.send(publish(vec![1]));
    assert_eq!(alice.gossip().2, vec![1]);
    bob.send(NetCommand::Unsubscribe(TOPIC));
    alice.until_is(&NetEvent::Unsubscribed { peer: bob.peer(), topic: TOPIC });
}

#[test]
fn three_in_a_line_forward_what_was_accepted_and_not_what_was_ignored() {
    let (alice, bob) = room();
    let carol = Node::new();
    carol.send(NetCommand::Subscribe(TOPIC));
    alice.send(NetCommand::Dial(carol.address(false)));
    carol.follows(&alice);
    alice.follows(&carol);
    for (byte, verdict) in [(1, Verdict::Ignore), (2, Verdict::Reject), (3, Verdict::Accept)] {
        bob.send(publish(vec![byte]));
        let (peer, message, _) = alice.gossip();
        alice.send(NetCommand::Verdict { peer, message, verdict });
    }
    let (peer, _, bytes) = carol.gossip();
    assert_eq!((peer, bytes), (alice.peer(), vec![3]));
}

#[test]
fn requests_are_answered_declined_or_fail_and_the_limits_hold_at_both_ends() {
    let (alice, bob) = pair(false);
    let ask =
        |id, size| bob.send(NetCommand::Request { peer: alice.peer(), id, bytes: vec![1; size] });
    ask(1, REQUEST_BYTES_MAX);
    let (peer, token, bytes) = alice.request();
    assert_eq!((peer, bytes.len()), (bob.peer(), REQUEST_BYTES_MAX));
    alice.send(NetCommand::Respond { token, bytes: vec![2; RESPONSE_BYTES_MAX] });
    assert_eq!(bob.answer(), (1, Some(vec![2; RESPONSE_BYTES_MAX])));
    ask(2, REQUEST_BYTES_MAX + 1);
    assert_eq!(bob.answer(), (2, None));
    ask(3, 0);
    let token = alice.request().1;
    alice.send(NetCommand::Respond { token, bytes: vec![2; RESPONSE_BYTES_MAX + 1] });
    assert_eq!(bob.answer(), (3, None));
    ask(4, 0);
    let token = alice.request().1;
    alice.send(NetCommand::Decline { token });
    assert_eq!(bob.answer(), (4, None));
    ask(5, 0);
    let token = alice.request().1;
    alice.send(NetCommand::Respond { token, bytes: Vec::new() });
    assert_eq!(bob.answer(), (5, Some(Vec::new())));
    bob.send(NetCommand::Request { peer: Peer(vec![1, 2, 3]), id: 6, bytes: vec![] });
    assert_eq!(bob.answer(), (6, None));
    assert_eq!(alice.net.counters().faults, 0);
}

#[test]
fn many_requests_at_once_wait_in_line_and_all_end() {
    let (alice, bob) = pair(false);
    for id in 0..200 {
        bob.send(NetCommand::Request { peer: alice.peer(), id, bytes: vec![1; 100] });
    }
    for _ in 0..100 {
        let (_, token, bytes) = alice.request();
        alice.send(NetCommand::Respond { token, bytes });
    }
    // The other half meets a closed link.
    alice.send(NetCommand::Disconnect(bob.peer()));
    let mut ids: Vec<u64> = (0..200).map(|_| bob.answer().0).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..200).collect::<Vec<_>>());
}

#[test]
fn nodes_of_one_machine_find_each_other_and_notice_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let nodes: Vec<Node> = (0..3)
        .map(|_| Node::start(NetworkConfig { runtime_dir: Some(run.clone()), ..config() }, 1_000))
        .collect();
    for node in &nodes {
        let mut peers = vec![node.linked(), node.linked()];
        peers.sort();
        let mut others: Vec<Peer> =
            nodes.iter().map(Node::peer).filter(|p| *p != node.peer()).collect();
        others.sort();
        assert_eq!(peers, others);
    }
    let mut nodes = nodes.into_iter();
    let (alice, bob, carol) = (nodes.next().unwrap(), nodes.next().unwrap(), nodes.next().unwrap());
    let gone = alice.peer();
    alice.stop();
    for node in [&bob, &carol] {
        node.until_is(&NetEvent::LinkDown { peer: gone.clone() });
        let status = node.status_until(|s| s.dialling <= 1);
        assert!(
            status.mdns.state == Mdns::Off && status.mdns.found == 0 && status.mdns.heard.is_none()
        );
    }
    bob.stop();
    carol.stop();
    assert_eq!(std::fs::read_dir(&run).unwrap().count(), 0, "address files are removed");
}

#[test]
fn a_lost_peer_is_redialled_by_itself() {
    let (alice, bob) = pair(false);
    alice.send(NetCommand::Disconnect(bob.peer()));
    bob.until_is(&NetEvent::LinkDown { peer: alice.peer() });
    assert_eq!(bob.linked(), alice.peer());
}

#[test]
fn a_node_that_has_started_knows_where_it_listens() {
    // Whoever asks right after the start is given to others as an address to dial.
    for _ in 0..20 {
        let node = Node::new();
        let status = node.net.status().unwrap();
        let said: Vec<_> = status.listening.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|a| a.contains("/tcp/")), "{said:?}");
        assert!(said.iter().any(|a| a.contains("/quic-v1")), "{said:?}");
        node.stop();
    }
}

#[test]
fn what_cannot_work_is_said_at_the_start() {
    let keypair = Keypair::generate_ed25519;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = super::address::loopback_tcp(taken.local_addr().unwrap().port());
    let busy = NetworkConfig { listen: vec![address], mdns: false, ..NetworkConfig::default() };
    let error = spawn(busy, keypair(), |_| Delivered::Taken).map(drop).unwrap_err().to_string();
    assert!(error.contains("in use") && error.contains("--listen"), "{error}");
    let strange = NetworkConfig { peers: vec![(None, "/unix/x".parse().unwrap())], ..config() };
    assert!(matches!(
        spawn(strange, keypair(), |_| Delivered::Taken).map(drop),
        Err(NetworkError::Address(_))
    ));
}

#[test]
fn dropping_the_last_handle_or_the_sink_ends_the_task() {
    let node = Node::new();
    let Node { net, started, events } = node;
    drop(net);
    assert!(started.stopped.wait(DEADLINE));
    drop(events);
    let Node { net, started, events } = Node::new();
    drop(events);
    net.send(NetCommand::Dial("/ip4/127.0.0.1/tcp/9/ws".parse().unwrap())).unwrap();
    // It notices with the next event. This makes one, if there was none yet.
    let _ = net.send(NetCommand::Request { peer: Peer(vec![1]), id: 1, bytes: Vec::new() });
    assert!(started.stopped.wait(DEADLINE));
    assert!(net.send(NetCommand::Subscribe(TOPIC)).is_err());
    assert!(net.status().is_err());
}
