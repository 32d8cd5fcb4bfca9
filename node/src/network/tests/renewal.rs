//! Peers whose connections lie: a process that stands still keeps its sockets open and answers
//! nothing, and one that comes back under the same name leaves such a connection behind.

use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use libp2p::identity::Keypair;

use super::super::settings::{PROBE_EVERY, PROBE_LOST, PROBE_SHORT, TICK};
use super::super::{NetCommand, NetEvent};
use super::{Node, TOPIC, config, publish};

/// How much later than its time something may be noticed on a busy machine.
const SLACK: Duration = Duration::from_secs(4);

/// A node that can be made to stand still, as by SIGSTOP: its network has one thread.
struct Stoppable {
    node: Node,
}

impl Stoppable {
    fn start(key: Keypair) -> Self {
        let node = Node::start_as(config(), 1_000, key);
        node.send(NetCommand::Subscribe(TOPIC));
        Self { node }
    }

    /// Stands still until the answer is dropped.
    fn stop(&self) -> Sender<()> {
        let (go_on, wait) = channel::<()>();
        let (stands, still) = channel();
        self.node.send(NetCommand::StandStill { stands, wait });
        still.recv().unwrap();
        go_on
    }
}

/// Two nodes in a room; the second can be stopped.
fn pair(quic: bool) -> (Node, Stoppable, Keypair) {
    let key = Keypair::generate_ed25519();
    let (alice, bob) = (Node::new(), Stoppable::start(key.clone()));
    let address = alice.address(quic);
    alice.send(NetCommand::Subscribe(TOPIC));
    bob.node.send(NetCommand::Dial(address));
    alice.follows(&bob.node);
    bob.node.follows(&alice);
    (alice, bob, key)
}

#[test]
fn a_peer_that_stands_still_is_overdue_and_then_gone_also_over_quic() {
    for quic in [false, true] {
        let (alice, bob, _) = pair(quic);
        let begun = Instant::now();
        let _still = bob.stop();
        alice.status_until(|s| s.peers.iter().any(|p| p.overdue.is_some()));
        alice.until_is(&NetEvent::LinkDown { peer: bob.node.peer() });
        let took = begun.elapsed();
        assert!(took < PROBE_EVERY + PROBE_LOST + 2 * TICK + SLACK, "{took:?}, quic {quic}");
    }
}

#[test]
fn who_comes_back_displaces_the_connection_it_left_behind() {
    for quic in [false, true] {
        let (alice, old, key) = pair(quic);
        let address = alice.net.status().unwrap().listening;
        let address = address.into_iter().find(|a| a.to_string().contains("quic") == quic).unwrap();
        let _still = old.stop();
        let new = Stoppable::start(key);
        let begun = Instant::now();
        new.node.send(NetCommand::Dial(address));
        new.node.follows(&alice);
        // Not one message is lost on the connection that leads nowhere. Alice knows that her answer
        // is wanted on the new one once a message came over it: what is followed is said first.
        new.node.send(publish(vec![1]));
        assert_eq!(alice.gossip().2, [1]);
        alice.send(publish(vec![2]));
        assert_eq!(new.node.gossip().2, [2]);
        alice.until_is(&NetEvent::LinkRenewed { peer: new.node.peer() });
        assert!(begun.elapsed() < PROBE_SHORT + 2 * TICK + SLACK, "{:?}", begun.elapsed());
        // Requests go where somebody is.
        for id in 0..4 {
            alice.send(NetCommand::Request { peer: new.node.peer(), id, bytes: vec![3] });
            let (_, token, bytes) = new.node.request();
            new.node.send(NetCommand::Respond { token, bytes });
            assert_eq!(alice.answer(), (id, Some(vec![3])));
        }
        alice.status_until(|s| s.peers.len() == 1 && s.peers[0].connections == 1);
        alice.send(publish(vec![4]));
        assert_eq!(new.node.gossip().2, [4], "the older connection took nothing with it");
    }
}

#[test]
fn two_that_dial_each_other_at_once_settle_on_one_connection_and_lose_nothing() {
    let (alice, bob) = (Node::new(), Node::new());
    let (to_alice, to_bob) = (alice.address(false), bob.address(true));
    for (node, to) in [(&alice, to_bob), (&bob, to_alice)] {
        node.send(NetCommand::Subscribe(TOPIC));
        node.send(NetCommand::Dial(to));
    }
    alice.follows(&bob);
    bob.follows(&alice);
    let mut said = 0_u8;
    let mut settled = |node: &Node, other: &Node| {
        loop {
            said += 1;
            node.send(publish(vec![said]));
            assert_eq!(other.gossip().2, [said]);
            if node.net.status().unwrap().peers.iter().all(|p| p.connections == 1) {
                return;
            }
        }
    };
    settled(&alice, &bob);
    settled(&bob, &alice);
    assert_eq!(
        (alice.net.counters().silent_closed, bob.net.counters().silent_closed),
        (0, 0),
        "nothing was taken for dead"
    );
}
