//! Peers and drivers that misbehave, and the sizes at which things would break.

use std::collections::BTreeSet;
use std::time::Instant;

use klatch_core::cbor::DecodeError;
use klatch_core::error::Reject;
use klatch_core::ids::TopicId;
use klatch_core::limits::{ENVELOPE_BYTES_MAX, ROOMS_MAX};

use super::super::settings::{self, CONTROL_BYTES_MAX, HELLO_BYTES_PER_TOPIC, TOPICS_PER_PEER_MAX};
use super::super::{NetCommand, NetEvent};
use super::{DEADLINE, Node, TOPIC, config, pair, publish, runtime};

#[test]
fn repeated_faults_end_the_link_and_refuse_the_peer() {
    let (alice, bob) = pair(false);
    for _ in 0..4 {
        alice.send(NetCommand::Penalise { peer: bob.peer(), reason: Reject::Signature });
    }
    alice.send(NetCommand::Penalise { peer: bob.peer(), reason: Reject::Duplicate });
    assert_eq!(alice.net.status().unwrap().peers.len(), 1);
    alice.send(NetCommand::Penalise {
        peer: bob.peer(),
        reason: Reject::Decode(DecodeError::Malformed),
    });
    alice.until_is(&NetEvent::LinkDown { peer: bob.peer() });
    bob.until_is(&NetEvent::LinkDown { peer: alice.peer() });
    // Bob dials again by himself; alice refuses.
    let status = alice.status_until(|s| s.counters.incoming_failed > 0);
    assert!(status.peers.is_empty() && status.counters.blocked == 1);
}

#[test]
fn a_driver_that_does_not_read_loses_gossip_but_no_answer_and_no_command_blocks() {
    let alice = Node::start(config(), 1);
    let bob = Node::new();
    let address = alice.address(false);
    alice.send(NetCommand::Subscribe(TOPIC));
    bob.send(NetCommand::Subscribe(TOPIC));
    bob.send(NetCommand::Dial(address));
    bob.follows(&alice);
    let size = 60_000;
    let sent = 2 * settings::GOSSIP_PENDING_BYTES_MAX / size;
    for i in 0..sent {
        let mut bytes = vec![0; size];
        bytes[..8].copy_from_slice(&(i as u64).to_be_bytes());
        bob.send(publish(bytes));
        // No faster than alice's swarm takes them: her driver is the slow part here.
        alice.status_until(|s| s.counters.gossip as usize > i || s.events_pending > 900);
    }
    for id in 0..50 {
        bob.send(NetCommand::Request { peer: alice.peer(), id, bytes: vec![id as u8] });
    }
    // Alice's own commands are carried out although nobody takes her events.
    let status = alice.status_until(|s| s.counters.gossip_dropped > 0 && s.counters.served >= 16);
    assert!(status.events_pending > 0);
    let (mut asked, mut gossip, mut slow) = (0, 0, false);
    while asked < 50 || !slow {
        match alice.next() {
            NetEvent::Request { token, bytes, .. } => {
                asked += 1;
                alice.send(NetCommand::Respond { token, bytes });
            }
            NetEvent::Gossip { .. } => gossip += 1,
            NetEvent::Slow { peer } => slow = slow || peer == bob.peer(),
            _ => {}
        }
    }
    assert!(gossip < sent);
    let answered = (0..50).filter(|_| bob.answer().1.is_some()).count();
    assert_eq!(answered, 50);
}

#[test]
fn a_peer_that_stops_reading_costs_a_bounded_queue_and_then_its_link() {
    let (alice, bob) = (Node::new(), Node::start(config(), 1));
    let address = bob.address(false);
    // Bob's driver takes nothing more; events that may not be dropped fill his queue until his
    // swarm rests.
    let topics = settings::EVENTS_PENDING_MAX as u64 + 100;
    for i in 0..topics {
        let mut topic = TOPIC;
        topic.0[..8].copy_from_slice(&i.to_be_bytes());
        alice.send(NetCommand::Subscribe(topic));
        bob.send(NetCommand::Subscribe(topic));
    }
    bob.send(NetCommand::Subscribe(TOPIC));
    alice.send(NetCommand::Subscribe(TOPIC));
    alice.send(NetCommand::Dial(address));
    alice.follows(&bob);
    bob.status_until(|s| s.events_pending >= settings::EVENTS_PENDING_MAX);
    let (mut sent, mut most) = (0_u64, 0);
    let begun = Instant::now();
    while alice.net.counters().stalled_closed == 0 {
        // On a busy machine a link may seem dead before it is seen to be stalled, and begin anew.
        assert!(begun.elapsed() < 3 * DEADLINE, "the link is still there, {most} bytes wait");
        let mut bytes = vec![0; ENVELOPE_BYTES_MAX];
        bytes[..8].copy_from_slice(&sent.to_be_bytes());
        alice.send(publish(bytes));
        sent += 1;
        most = most.max(alice.net.status().unwrap().peers.first().map_or(0, |p| p.unsent_bytes));
    }
    alice.until_is(&NetEvent::LinkDown { peer: bob.peer() });
    assert!(most <= settings::QUEUE_MESSAGES_MAX * ENVELOPE_BYTES_MAX, "{most} bytes waited");
}

#[test]
fn a_program_with_another_protocol_is_sent_away() {
    use futures::StreamExt;
    use libp2p::swarm::SwarmEvent;
    use libp2p::{identify, noise, tcp, yamux};

    let alice = Node::new();
    let address = alice.address(false);
    let inside = runtime().enter();
    let mut stranger = libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| {
            identify::Behaviour::new(identify::Config::new("/other/1".to_owned(), key.public()))
        })
        .unwrap()
        .build();
    stranger.dial(address).unwrap();
    drop(inside);
    let gone = async {
        while !matches!(stranger.select_next_some().await, SwarmEvent::ConnectionClosed { .. }) {}
    };
    runtime().block_on(async { tokio::time::timeout(DEADLINE, gone).await }).unwrap();
    assert_eq!(alice.net.counters().strangers, 1);
}

#[test]
fn the_hello_names_every_topic_of_a_node_in_as_many_rooms_as_possible() {
    const { assert!(3 * ROOMS_MAX <= TOPICS_PER_PEER_MAX) };
    const { assert!(TOPICS_PER_PEER_MAX * HELLO_BYTES_PER_TOPIC < CONTROL_BYTES_MAX) };
    let topics: Vec<TopicId> = (0..TOPICS_PER_PEER_MAX)
        .map(|i| {
            let mut id = [0xff; 32];
            id[..8].copy_from_slice(&(i as u64).to_be_bytes());
            TopicId(id)
        })
        .collect();
    assert_eq!(topics[0].to_string().len() + 10, HELLO_BYTES_PER_TOPIC);
    let (alice, bob) = (Node::new(), Node::new());
    for node in [&alice, &bob] {
        for topic in &topics {
            node.send(NetCommand::Subscribe(*topic));
        }
    }
    bob.send(NetCommand::Dial(alice.address(false)));
    for (node, peer) in [(&alice, bob.peer()), (&bob, alice.peer())] {
        let mut left: BTreeSet<TopicId> = topics.iter().copied().collect();
        node.until(|event| {
            if let NetEvent::Subscribed { peer: p, topic } = event {
                assert_eq!(p, peer);
                left.remove(&topic);
            }
            left.is_empty().then_some(())
        });
    }
    assert_eq!(alice.net.status().unwrap().peers[0].topics, TOPICS_PER_PEER_MAX);
}
