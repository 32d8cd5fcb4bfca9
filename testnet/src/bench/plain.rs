//! The measure: a plain rust-libp2p gossipsub peer as its documentation shows it. TCP, noise,
//! yamux, default settings with signed messages; it stores nothing, encrypts nothing end to end,
//! acknowledges nothing.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use futures::StreamExt;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, Swarm, SwarmBuilder, gossipsub, identify, noise, tcp, yamux};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::protocol::Bench;

/// The largest text of the scenarios is 50 kB; the default of 64 KiB would just do, this leaves
/// room.
const TRANSMIT_BYTES_MAX: usize = 131_072;
/// Between two tries of a publish that gossipsub refused.
const RETRY: Duration = Duration::from_millis(1);

#[derive(NetworkBehaviour)]
struct Behaviour {
    gossip: gossipsub::Behaviour,
    identify: identify::Behaviour,
}

type Outgoing = (Vec<u8>, oneshot::Sender<()>);

/// Runs one participant.
pub async fn run(config: &str) -> Result<()> {
    let bench = Bench::new(config)?;
    let mut swarm = swarm()?;
    let topic = gossipsub::IdentTopic::new("room");
    swarm.behaviour_mut().gossip.subscribe(&topic)?;
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    let peers = bench.peers(&address.to_string()).await?;
    for peer in peers.iter().skip(bench.config.id + 1) {
        swarm.dial(peer.parse::<Multiaddr>()?)?;
    }
    let (sender, outgoing) = mpsc::channel(1);
    let (ready, all_here) = oneshot::channel();
    tokio::spawn(
        Peer { bench: Arc::clone(&bench), swarm, topic, ready: Some(ready) }.run(outgoing),
    );
    all_here.await.context("the peer ended")?;
    bench
        .drive(|text| {
            let sender = sender.clone();
            async move {
                let (published, done) = oneshot::channel();
                sender
                    .send((text.into_bytes(), published))
                    .await
                    .map_err(|_| anyhow!("the peer ended"))?;
                done.await.context("the peer ended")
            }
        })
        .await
}

fn swarm() -> Result<Swarm<Behaviour>> {
    Ok(SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key| {
            let config = gossipsub::ConfigBuilder::default()
                .max_transmit_size(TRANSMIT_BYTES_MAX)
                .validation_mode(gossipsub::ValidationMode::Strict)
                .build()?;
            let signed = gossipsub::MessageAuthenticity::Signed(key.clone());
            let identify =
                identify::Behaviour::new(identify::Config::new("/bench/1".into(), key.public()));
            Ok(Behaviour { gossip: gossipsub::Behaviour::new(signed, config)?, identify })
        })?
        .with_swarm_config(|c| c.with_idle_connection_timeout(Duration::from_secs(600)))
        .build())
}

struct Peer {
    bench: Arc<Bench>,
    swarm: Swarm<Behaviour>,
    topic: gossipsub::IdentTopic,
    ready: Option<oneshot::Sender<()>>,
}

impl Peer {
    async fn run(mut self, mut outgoing: mpsc::Receiver<Outgoing>) {
        let mut pending: Option<Outgoing> = None;
        let mut tick = tokio::time::interval(RETRY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pending = pending.and_then(|message| self.publish(message));
            self.see_whether_all_are_here();
            tokio::select! {
                event = self.swarm.select_next_some() => {
                    if let SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message { message, .. })) = event {
                        self.bench.received(&message.data);
                    }
                }
                message = outgoing.recv(), if pending.is_none() => match message {
                    Some(message) => pending = Some(message),
                    None => return,
                },
                _ = tick.tick(), if pending.is_some() || self.ready.is_some() => {}
            }
        }
    }

    /// Gives the message back when gossipsub has no room for it now.
    fn publish(&mut self, (text, published): Outgoing) -> Option<Outgoing> {
        if self.swarm.behaviour_mut().gossip.publish(self.topic.clone(), text.clone()).is_err() {
            self.bench.retried();
            return Some((text, published));
        }
        // The other side waits for it, or has ended.
        let _ = published.send(());
        None
    }

    fn see_whether_all_are_here(&mut self) {
        let others = self.swarm.behaviour().gossip.mesh_peers(&self.topic.hash()).count();
        if others + 1 >= self.bench.config.n
            && let Some(ready) = self.ready.take()
        {
            let _ = ready.send(());
        }
    }
}
