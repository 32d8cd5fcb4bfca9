//! Measures, on demand, what the network part alone delivers:
//! `cargo test --release -p klatch-node -- --ignored --nocapture deliveries`

use std::sync::mpsc::{TrySendError, sync_channel};
use std::thread;
use std::time::Instant;

use klatch_core::step::Verdict;
use libp2p::identity::Keypair;
use tokio::runtime::Builder;

use super::super::{Delivered, NetCommand, NetEvent, NetworkHandle, spawn};
use super::{DEADLINE, TOPIC, config};

/// Envelopes each node may be ahead of the slowest other: the window of the protocol.
const WINDOW: u64 = 32;

#[derive(Clone, Copy)]
struct Load {
    nodes: usize,
    each: u64,
    size: usize,
    verdict: Verdict,
    quic: bool,
}

/// One node with its driver thread: publishes within the window, judges what arrives, counts.
fn drive(load: Load, net: &NetworkHandle, events: &std::sync::mpsc::Receiver<NetEvent>, ready: &std::sync::Barrier) {
    let others = load.nodes - 1;
    let mut known = 0;
    while known < others {
        if let NetEvent::Subscribed { .. } = events.recv_timeout(DEADLINE).expect("linked in time") {
            known += 1;
        }
    }
    ready.wait();
    let (mut sent, mut got) = (0, vec![0_u64; load.nodes]);
    let own = net.peer().0.last().copied().unwrap_or_default();
    let mut received = 0;
    let total = load.each * others as u64;
    while received < total || sent < load.each {
        let slowest = received / others as u64;
        while sent < load.each && sent < slowest + WINDOW {
            let mut bytes = vec![own; load.size];
            bytes[..8].copy_from_slice(&sent.to_be_bytes());
            net.send(NetCommand::Publish { topic: TOPIC, bytes }).unwrap();
            sent += 1;
        }
        match events.recv_timeout(DEADLINE) {
            Ok(NetEvent::Gossip { peer, message, .. }) => {
                received += 1;
                got[0] += 1;
                net.send(NetCommand::Verdict { peer, message, verdict: load.verdict }).unwrap();
            }
            Ok(_) => {}
            Err(_) => panic!("{received} of {total} after {sent} sent: {:?}", net.counters()),
        }
    }
    ready.wait();
}

fn measure(name: &str, load: Load) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let ready = std::sync::Arc::new(std::sync::Barrier::new(load.nodes + 1));
    let mut addresses = Vec::new();
    let mut drivers = Vec::new();
    let mut handles: Vec<NetworkHandle> = Vec::new();
    for _ in 0..load.nodes {
        let (tx, events) = sync_channel(1_024);
        let _inside = runtime.enter();
        let (net, _started) = spawn(config(), Keypair::generate_ed25519(), move |event| match tx.try_send(event) {
            Ok(()) => Delivered::Taken,
            Err(TrySendError::Full(event)) => Delivered::Full(event),
            Err(TrySendError::Disconnected(_)) => Delivered::Closed,
        })
        .unwrap();
        let own = loop {
            if let NetEvent::Listening { address } = events.recv_timeout(DEADLINE).unwrap()
                && address.to_string().contains("quic") == load.quic
            {
                break address;
            }
        };
        net.send(NetCommand::Subscribe(TOPIC)).unwrap();
        for address in &addresses {
            net.send(NetCommand::Dial(libp2p::Multiaddr::clone(address))).unwrap();
        }
        addresses.push(own);
        handles.push(net.clone());
        let ready = ready.clone();
        drivers.push(thread::spawn(move || drive(load, &net, &events, &ready)));
    }
    ready.wait();
    let begun = Instant::now();
    ready.wait();
    let seconds = begun.elapsed().as_secs_f64();
    for driver in drivers {
        driver.join().unwrap();
    }
    let deliveries = load.each as f64 * (load.nodes * (load.nodes - 1)) as f64;
    let lost: u64 = handles.iter().map(|h| h.counters().queue_dropped + h.counters().gossip_dropped).sum();
    println!(
        "{name}: {deliveries:.0} deliveries in {seconds:.2} s = {:.0}/s, {:.1} MB/s, dropped inside {lost}",
        deliveries / seconds,
        deliveries * load.size as f64 / seconds / 1e6
    );
}

#[test]
#[ignore = "a measurement, not a test"]
fn deliveries() {
    let base = Load { nodes: 5, each: 4_000, size: 200, verdict: Verdict::Ignore, quic: false };
    measure("2 nodes, 200 B, ignore", Load { nodes: 2, each: 20_000, ..base });
    measure("5 nodes, 200 B, ignore", base);
    measure("5 nodes, 200 B, accept (forwarding)", Load { verdict: Verdict::Accept, ..base });
    measure("5 nodes, 200 B, ignore, QUIC", Load { quic: true, ..base });
    measure("5 nodes, 15 kB, ignore", Load { each: 400, size: 15_000, ..base });
    measure("5 nodes, 40 kB, ignore", Load { each: 300, size: 40_000, ..base });
}
