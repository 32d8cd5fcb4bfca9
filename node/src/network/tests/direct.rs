//! The second request-response protocol: its own frames, its own bounds, and nothing taken from the
//! first.

use klatch_core::ids::Peer;
use klatch_core::limits::ENVELOPE_BYTES_MAX;

use super::super::settings::{DIRECT_ANSWER_BYTES_MAX, DIRECT_LANE, ROOM_LANE, STREAMS_MAX};
use super::super::{NetCommand, NetEvent};
use super::{Node, pair};

impl Node {
    fn hand(&self, to: &Node, id: u64, bytes: Vec<u8>) {
        self.send(NetCommand::AskDirect { peer: to.peer(), id, bytes });
    }

    fn frame(&self) -> (Peer, u64, Vec<u8>) {
        self.until(|event| match event {
            NetEvent::DirectAsked { peer, token, bytes } => Some((peer, token, bytes)),
            NetEvent::Request { .. } => panic!("a frame arrived as a request of a room"),
            _ => None,
        })
    }

    fn told(&self) -> (u64, Option<Vec<u8>>) {
        self.until(|event| match event {
            NetEvent::DirectAnswered { id, bytes, .. } => Some((id, Some(bytes))),
            NetEvent::RequestFailed { id, .. } => Some((id, None)),
            NetEvent::Response { .. } => {
                panic!("an answer to a frame arrived as one to a room's request")
            }
            _ => None,
        })
    }
}

#[test]
fn a_frame_is_answered_declined_or_fails_and_the_limits_hold_at_both_ends() {
    let (alice, bob) = pair(false);
    bob.hand(&alice, 1, vec![1; ENVELOPE_BYTES_MAX]);
    let (peer, token, bytes) = alice.frame();
    assert_eq!((peer, bytes.len()), (bob.peer(), ENVELOPE_BYTES_MAX));
    alice.send(NetCommand::Respond { token, bytes: vec![2; DIRECT_ANSWER_BYTES_MAX] });
    assert_eq!(bob.told(), (1, Some(vec![2; DIRECT_ANSWER_BYTES_MAX])));
    bob.hand(&alice, 2, vec![1; ENVELOPE_BYTES_MAX + 1]);
    assert_eq!(bob.told(), (2, None));
    bob.hand(&alice, 3, Vec::new());
    let token = alice.frame().1;
    alice.send(NetCommand::Respond { token, bytes: vec![2; DIRECT_ANSWER_BYTES_MAX + 1] });
    assert_eq!(bob.told(), (3, None));
    bob.hand(&alice, 4, Vec::new());
    let token = alice.frame().1;
    alice.send(NetCommand::Decline { token });
    assert_eq!(bob.told(), (4, None));
    bob.send(NetCommand::AskDirect { peer: Peer(vec![1, 2, 3]), id: 5, bytes: Vec::new() });
    assert_eq!(bob.told(), (5, None));
    assert_eq!((alice.net.counters().faults, alice.net.counters().serve_refused), (0, 1));
}

#[test]
fn answers_go_to_the_protocol_that_asked() {
    let (alice, bob) = pair(false);
    // The same names on both, answered in the order that mixes them up the most.
    for id in 0..8 {
        bob.hand(&alice, 100 + id, vec![100 + id as u8]);
        bob.send(NetCommand::Request { peer: alice.peer(), id, bytes: vec![id as u8] });
    }
    let mut asked: Vec<(u64, bool, u8)> = Vec::new();
    while asked.len() < 16 {
        match alice.next() {
            NetEvent::Request { token, bytes, .. } => asked.push((token, false, bytes[0])),
            NetEvent::DirectAsked { token, bytes, .. } => asked.push((token, true, bytes[0])),
            _ => {}
        }
    }
    assert!(asked.iter().all(|(_, direct, first)| *direct == (*first >= 100)));
    asked.sort_unstable();
    asked.dedup_by_key(|(token, ..)| *token);
    assert_eq!(asked.len(), 16, "no token is given twice");
    for (token, _, first) in asked {
        alice.send(NetCommand::Respond { token, bytes: vec![first] });
    }
    let mut answered = Vec::new();
    while answered.len() < 16 {
        match bob.next() {
            NetEvent::Response { id, bytes, .. } if id < 8 => answered.push((id, bytes[0])),
            NetEvent::DirectAnswered { id, bytes, .. } if id >= 100 => {
                answered.push((id, bytes[0]))
            }
            NetEvent::Response { .. } | NetEvent::DirectAnswered { .. } => {
                panic!("the wrong protocol")
            }
            _ => {}
        }
    }
    assert!(answered.iter().all(|(id, first)| *id == u64::from(*first)));
}

#[test]
fn many_frames_at_once_wait_in_line_and_all_end() {
    let (alice, bob) = pair(false);
    let many = DIRECT_LANE.queued_max as u64;
    for id in 0..many {
        bob.hand(&alice, id, vec![1; 100]);
    }
    for _ in 0..many / 2 {
        let (_, token, bytes) = alice.frame();
        alice.send(NetCommand::Respond { token, bytes });
    }
    // The other half meets a closed link.
    alice.send(NetCommand::Disconnect(bob.peer()));
    let mut ids: Vec<u64> = (0..many).map(|_| bob.told().0).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..many).collect::<Vec<_>>());
    assert_eq!(alice.net.counters().serve_refused, 0);
}

#[test]
fn a_flood_of_frames_is_held_to_its_bound_and_takes_nothing_from_rooms() {
    let (alice, bob) = pair(false);
    // Nobody answers: what is in flight stays there, the line fills, the rest fails at once.
    let large = ENVELOPE_BYTES_MAX;
    let sent = 200;
    for id in 0..sent {
        bob.hand(&alice, id, vec![1; large]);
    }
    let failed: Vec<u64> = bob.until({
        let in_line = (DIRECT_LANE.queued_bytes_max / large) as u64;
        let mut failed = Vec::new();
        move |event| {
            if let NetEvent::RequestFailed { id, .. } = event {
                failed.push(id);
            }
            let kept = sent - failed.len() as u64;
            (kept <= DIRECT_LANE.in_flight_max as u64 + in_line)
                .then(|| std::mem::take(&mut failed))
        }
    });
    assert!(
        failed.iter().all(|id| *id >= DIRECT_LANE.in_flight_max as u64),
        "the first ones are on their way"
    );
    for _ in 0..DIRECT_LANE.in_flight_max {
        alice.frame();
    }
    bob.send(NetCommand::Request { peer: alice.peer(), id: 1_000, bytes: vec![7] });
    let token = alice.until(|event| match event {
        NetEvent::Request { token, .. } => Some(token),
        NetEvent::DirectAsked { .. } => panic!("more in flight than allowed"),
        _ => None,
    });
    alice.send(NetCommand::Respond { token, bytes: vec![8] });
    let answer = bob.until(|event| match event {
        NetEvent::Response { id: 1_000, bytes, .. } => Some(bytes),
        _ => None,
    });
    assert_eq!(answer, [8]);
    assert_eq!(alice.net.counters().serve_refused, 0);
}

#[test]
fn a_peer_that_asks_more_than_it_may_is_refused_and_disconnected_in_the_end() {
    use futures::StreamExt;
    use libp2p::request_response::{self, ProtocolSupport};
    use libp2p::swarm::SwarmEvent;
    use libp2p::{StreamProtocol, noise, tcp, yamux};

    use super::super::codec::Raw;
    use super::super::settings::{DIRECT_PROTOCOL, LaneBounds};

    /// What a peer without manners allows itself.
    static RUDE: LaneBounds = LaneBounds {
        request_bytes_max: 1 << 20,
        streams_max: 1_000,
        response_bytes_max: 1 << 20,
        ..DIRECT_LANE
    };
    let alice = Node::new();
    let address = alice.address(false);
    let inside = super::runtime().enter();
    let mut rude = libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| {
            let protocols = [(StreamProtocol::new(DIRECT_PROTOCOL), ProtocolSupport::Full)];
            let config =
                request_response::Config::default().with_max_concurrent_streams(RUDE.streams_max);
            request_response::Behaviour::with_codec(Raw { bounds: &RUDE }, protocols, config)
        })
        .unwrap()
        .build();
    rude.dial(address).unwrap();
    drop(inside);
    // Alice's driver answers nothing. Every frame beyond the bound is refused and counts against
    // its sender, and one that announces more bytes than a frame may have counts more.
    let gone = async {
        loop {
            match rude.select_next_some().await {
                SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                    for _ in 0..DIRECT_LANE.serving_max + 8 {
                        rude.behaviour_mut().send_request(&peer_id, Some(vec![1; 10]));
                    }
                    for _ in 0..8 {
                        rude.behaviour_mut()
                            .send_request(&peer_id, Some(vec![1; ENVELOPE_BYTES_MAX + 1]));
                    }
                }
                SwarmEvent::ConnectionClosed { .. } => break,
                _ => {}
            }
        }
    };
    super::runtime().block_on(async { tokio::time::timeout(super::DEADLINE, gone).await }).unwrap();
    let counters = alice.net.counters();
    assert_eq!(counters.blocked, 1);
    assert!(counters.served <= DIRECT_LANE.serving_max as u64, "{counters:?}");
    assert!(counters.serve_refused > 0, "{counters:?}");
}

#[test]
fn both_protocols_fit_into_the_streams_of_a_connection() {
    const { assert!(ROOM_LANE.streams_max + DIRECT_LANE.streams_max + 16 <= STREAMS_MAX) };
    const { assert!(DIRECT_LANE.in_flight_max + DIRECT_LANE.serving_max <= DIRECT_LANE.streams_max) };
    const { assert!(DIRECT_LANE.in_flight_max * ENVELOPE_BYTES_MAX <= DIRECT_LANE.serving_bytes_max) };
}
