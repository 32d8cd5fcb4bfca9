//! Measures, on demand, what the network part alone delivers:
//! `KLATCH_FIGURES=1 cargo test --release -p klatch-node deliveries -- --nocapture`

use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::thread;
use std::time::Instant;

use klatch_core::step::Verdict;
use libp2p::Multiaddr;
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

/// One node and its driver thread.
struct Driver {
    load: Load,
    number: u8,
    net: NetworkHandle,
    events: Receiver<NetEvent>,
}

impl Driver {
    /// Waits until everybody else is there.
    fn link(&self) {
        for _ in 1..self.load.nodes {
            while !matches!(self.next(), NetEvent::Subscribed { .. }) {}
        }
    }

    fn next(&self) -> NetEvent {
        self.events
            .recv_timeout(DEADLINE)
            .unwrap_or_else(|_| panic!("stuck: {:?}", self.net.counters()))
    }

    /// Publishes within the window, judges what arrives.
    fn run(&self) {
        let Load { nodes, each, size, verdict, .. } = self.load;
        let mut got = vec![0; nodes];
        got[usize::from(self.number)] = u64::MAX;
        let mut sent = 0;
        loop {
            let slowest = got.iter().copied().min().unwrap_or(0);
            while sent < each && sent < slowest.saturating_add(WINDOW) {
                let mut bytes = vec![self.number; size];
                bytes[..8].copy_from_slice(&sent.to_be_bytes());
                self.net.send(NetCommand::Publish { topic: TOPIC, bytes }).unwrap();
                sent += 1;
            }
            if sent == each && slowest >= each {
                return;
            }
            if let NetEvent::Gossip { peer, message, bytes, .. } = self.next() {
                got[usize::from(bytes[8])] += 1;
                self.net.send(NetCommand::Verdict { peer, message, verdict }).unwrap();
            }
        }
    }
}

fn start(load: Load, number: u8, known: &mut Vec<Multiaddr>) -> Driver {
    let (tx, events) = sync_channel(1_024);
    let (net, _started) =
        spawn(config(), Keypair::generate_ed25519(), move |event| match tx.try_send(event) {
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
    for address in &*known {
        net.send(NetCommand::Dial(address.clone())).unwrap();
    }
    known.push(own);
    Driver { load, number, net, events }
}

/// CPU seconds of this process and its resident bytes now.
fn usage() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks: u64 = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|n| n.parse::<u64>().unwrap())
        .sum();
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let resident: f64 = pages.split_whitespace().nth(1).unwrap().parse().unwrap();
    (ticks as f64 / 100.0, resident * 4_096.0 / 1e6)
}

fn measure(name: &str, load: Load) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let inside = runtime.enter();
    let mut known = Vec::new();
    let drivers: Vec<Driver> = (0..load.nodes).map(|i| start(load, i as u8, &mut known)).collect();
    drop(inside);
    drivers.iter().for_each(Driver::link);
    let handles: Vec<NetworkHandle> = drivers.iter().map(|d| d.net.clone()).collect();
    let (begun, cpu) = (Instant::now(), usage().0);
    let threads: Vec<_> = drivers
        .into_iter()
        .map(|driver| {
            thread::spawn(move || {
                driver.run();
                driver
            })
        })
        .collect();
    // The drivers, and with them the receivers of events, live until all are done.
    let done: Vec<Driver> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    let (seconds, (cpu_end, resident)) = (begun.elapsed().as_secs_f64(), usage());
    drop(done);
    let deliveries = load.each as f64 * (load.nodes * (load.nodes - 1)) as f64;
    let lost: u64 =
        handles.iter().map(|h| h.counters().queue_dropped + h.counters().gossip_dropped).sum();
    println!(
        "{name}: {deliveries:.0} deliveries, {seconds:.2} s, {:.0}/s, {:.1} MB/s, {:.0} us CPU each, RSS of all {resident:.0} MB, dropped inside {lost}",
        deliveries / seconds,
        deliveries * load.size as f64 / seconds / 1e6,
        (cpu_end - cpu) / deliveries * 1e6,
    );
}

/// The figures of the network alone. In every test run a hundredth of the load, which still has to
/// arrive; in full with `KLATCH_FIGURES=1 cargo test --release -p klatch-node deliveries --
/// --nocapture`.
#[test]
fn deliveries() {
    let full = std::env::var_os("KLATCH_FIGURES").is_some();
    let measure = |name: &str, load: Load| {
        measure(name, if full { load } else { Load { each: load.each.div_ceil(100), ..load } });
    };
    let base = Load { nodes: 5, each: 4_000, size: 200, verdict: Verdict::Ignore, quic: false };
    measure("2 nodes, 200 B, ignore", Load { nodes: 2, each: 20_000, ..base });
    measure("5 nodes, 200 B, ignore", base);
    measure("5 nodes, 200 B, accept (forwarding)", Load { verdict: Verdict::Accept, ..base });
    measure("5 nodes, 200 B, ignore, QUIC", Load { quic: true, ..base });
    measure("5 nodes, 15 kB, ignore", Load { each: 400, size: 15_000, ..base });
    measure("5 nodes, 40 kB, ignore", Load { each: 300, size: 40_000, ..base });
    measure("5 nodes, 40 kB, ignore, long", Load { each: 3_000, size: 40_000, ..base });
}
