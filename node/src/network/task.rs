//! The task that owns the swarm: set-up, the loop, commands. What the swarm reports is in
//! `events.rs`, what happens by the clock and at the end in `upkeep.rs`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as std_mpsc;
use std::task::Poll;
use std::time::Instant;

use futures::StreamExt;
use klatch_core::error::Reject;
use klatch_core::ids::{Peer, TopicId};
use klatch_core::step::Verdict;
use libp2p::core::transport::ListenerId;
use libp2p::gossipsub::{MessageAcceptance, MessageId, PublishError};
use libp2p::identity::Keypair;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{self, Swarm};
use libp2p::{Multiaddr, PeerId, request_response};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::{self, MissedTickBehavior};

use super::behaviour::Behaviour;
use super::codec::Raw;
use super::counters::{Counters, add, count};
use super::dialer::{Dialer, Source};
use super::discovery::{Found, Watcher};
use super::each::Each;
use super::faults::{self, Faults};
use super::handle::{NetworkHandle, Started, Stopped};
use super::link::Link;
use super::message::{NetCommand, NetEvent};
use super::meter::Meters;
use super::outlet::{Outlet, Sink};
use super::pause::{Moved, Pauses};
use super::requests::{Answered, Lane, Which};
use super::settings::{
    COMMANDS_MAX, CONFIGURED_MAX, DIRECT_LANE, EVENT_RETRY, IDLE_TIMEOUT, LISTEN_WITHIN, ROOM_LANE,
    TICK, TURN_MAX, TWINS_MS,
};
use super::topics::{Topics, ident};
use super::wanted::Wanted;
use super::{NetworkConfig, NetworkError, address, id_of, peer_of, transport};

/// How `spawn` hears that the start is over.
type Told = std_mpsc::SyncSender<Result<(), NetworkError>>;

/// Everything the task owns.
pub(super) struct Task {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) out: Outlet,
    pub(super) links: BTreeMap<PeerId, Link>,
    pub(super) topics: Topics,
    pub(super) room: Lane,
    pub(super) direct: Lane,
    pub(super) faults: Faults,
    pub(super) dialer: Dialer,
    pub(super) wanted: Wanted,
    /// Connections so far, with anybody.
    pub(super) established: u64,
    pub(super) meters: Meters,
    pub(super) counters: Arc<Counters>,
    /// TCP listeners whose QUIC twin waits for the port to be known.
    pub(super) twins: HashMap<ListenerId, Multiaddr>,
    /// Listeners that have not said where they listen.
    pub(super) opening: HashSet<ListenerId>,
    /// Who waits until all of them have.
    told: Option<Told>,
    pub(super) watcher: Option<Watcher>,
    /// Listeners on all IPv4 interfaces, whose IPv6 counterparts wait for the port to be known.
    pub(super) sixes: HashSet<ListenerId>,
    pub(super) quic: bool,
    /// mDNS was asked for, whether or not the system allowed it.
    pub(super) mdns_wanted: bool,
    /// When mDNS last brought something.
    pub(super) mdns_heard: Option<Instant>,
    pub(super) pauses: Pauses,
    /// The addresses listened on changed since the last tick.
    pub(super) moved: Moved,
    /// Nothing but this machine is dialled.
    loopback_only: bool,
    /// Nobody but this machine was to reach this node.
    pub(super) stays_here: bool,
    commands: mpsc::Receiver<NetCommand>,
    queued_bytes: Arc<AtomicUsize>,
    start: Instant,
}

/// Builds everything and runs the task on a thread of its own. Returns once it is known where it
/// listens, or why it cannot.
///
/// One thread, and not the caller's runtime: every connection of libp2p is a task that hands each
/// packet on to the swarm's, and among several workers each such step wakes another thread
/// (measured with five nodes and small messages: a quarter of all CPU).
pub(super) fn spawn(
    config: NetworkConfig,
    keypair: Keypair,
    events: Sink,
) -> Result<(NetworkHandle, Started), NetworkError> {
    config.listen.iter().try_for_each(address::check_listen)?;
    config.peers.iter().try_for_each(|(_, address)| address::check(address))?;
    let own = keypair.public().to_peer_id();
    let (commands_in, commands) = mpsc::channel(COMMANDS_MAX);
    let handle = NetworkHandle {
        commands: commands_in,
        queued_bytes: Arc::default(),
        counters: Arc::default(),
        peer: peer_of(&own),
    };
    let (told, answer) = std_mpsc::sync_channel(1);
    let (ended, stopped) = std_mpsc::sync_channel(1);
    let theirs = handle.clone();
    let work = move || {
        match begin(config, &keypair, events, commands, theirs, told.clone()) {
            Ok((runtime, task)) => {
                runtime.block_on(task.run());
                // What a connection still had to say has been waited for.
                runtime.shutdown_background();
            }
            // Whoever asked has given up waiting otherwise.
            Err(error) => drop(told.send(Err(error))),
        }
        // Dropped at the end of the task, also by a panic: that is the signal.
        drop(ended);
    };
    std::thread::Builder::new().name("klatch-network".into()).spawn(work).map_err(no_thread)?;
    match answer.recv_timeout(LISTEN_WITHIN) {
        Ok(outcome) => outcome?,
        Err(std_mpsc::RecvTimeoutError::Timeout) => {
            tracing::warn!("the system does not say on which addresses this node listens");
        }
        Err(std_mpsc::RecvTimeoutError::Disconnected) => return Err(no_thread("it ended at once")),
    }
    Ok((handle.clone(), Started { peer: handle.peer, stopped: Stopped(stopped) }))
}

/// The part of `spawn` that needs the thread's own runtime.
fn begin(
    config: NetworkConfig,
    keypair: &Keypair,
    events: Sink,
    commands: mpsc::Receiver<NetCommand>,
    handle: NetworkHandle,
    told: Told,
) -> Result<(Runtime, Task), NetworkError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
    let inside = runtime.enter();
    let mut task = Task::new(&config, keypair, events, commands, &handle)?;
    task.told = Some(told);
    task.listen(&config)?;
    if let Some(dir) = &config.runtime_dir {
        task.watcher = Some(Watcher::start(dir, keypair.public().to_peer_id())?);
    }
    let know =
        |(peer, address): (Option<Peer>, _)| task.know(peer.as_ref().and_then(id_of), address);
    let left_out = config.peers.into_iter().map(know).filter(|known| !known).count();
    if left_out > 0 {
        tracing::warn!(left_out, max = CONFIGURED_MAX, "not all addresses given are looked for");
    }
    drop(inside);
    Ok((runtime, task))
}

fn no_thread(cause: impl ToString) -> NetworkError {
    NetworkError::Setup { part: "the network's thread", cause: cause.to_string() }
}

impl Task {
    fn new(
        config: &NetworkConfig,
        keypair: &Keypair,
        events: Sink,
        commands: mpsc::Receiver<NetCommand>,
        handle: &NetworkHandle,
    ) -> Result<Self, NetworkError> {
        let own = keypair.public().to_peer_id();
        let (topics, counters) = (Topics::default(), handle.counters.clone());
        let meters = Meters::new(counters.clone());
        let swarm = Swarm::new(
            transport::build(keypair, config.quic, &meters)?,
            Behaviour::new(config, keypair, topics.clone(), counters.clone())?,
            own,
            swarm::Config::with_tokio_executor()
                .with_idle_connection_timeout(IDLE_TIMEOUT)
                .with_smart_dial(),
        );
        Ok(Self {
            swarm,
            out: Outlet::new(events),
            links: BTreeMap::new(),
            topics,
            room: Lane::new(Which::Room, &ROOM_LANE),
            direct: Lane::new(Which::Direct, &DIRECT_LANE),
            faults: Faults::default(),
            dialer: Dialer::new(own),
            wanted: Wanted::default(),
            established: 0,
            meters,
            counters,
            twins: HashMap::new(),
            opening: HashSet::new(),
            sixes: HashSet::new(),
            quic: config.quic,
            told: None,
            watcher: None,
            mdns_wanted: config.mdns && !config.loopback_only,
            mdns_heard: None,
            pauses: Pauses::new(),
            moved: Moved::default(),
            loopback_only: config.loopback_only,
            stays_here: config.stays_here(),
            commands,
            queued_bytes: handle.queued_bytes.clone(),
            start: Instant::now(),
        })
    }

    fn listen(&mut self, config: &NetworkConfig) -> Result<(), NetworkError> {
        let loopback = [address::loopback_tcp(0)];
        let list = if config.loopback_only { &loopback[..] } else { &config.listen[..] };
        let own_udp: Vec<_> = list
            .iter()
            .filter(|a| address::tcp_port(a).is_none())
            .filter_map(address::ip)
            .collect();
        for address in list {
            let listener = self.swarm.listen_on(address.clone()).map_err(|e| {
                NetworkError::Listen { address: address.clone(), cause: root_cause(&e) }
            })?;
            self.opening.insert(listener);
            if config.ipv6 && address::is_any_ip4(address) {
                self.sixes.insert(listener);
            }
            let twin = config.quic && address::ip(address).is_some_and(|ip| !own_udp.contains(&ip));
            if twin && address::tcp_port(address).is_some() {
                self.twins.insert(listener, address.clone());
            }
        }
        Ok(())
    }

    /// A listener has said its first address, or has failed. The last one ends the start.
    pub(super) fn opened(&mut self, listener: ListenerId) {
        self.opening.remove(&listener);
        if self.opening.is_empty()
            && let Some(told) = self.told.take()
        {
            // Whoever waited may have given up.
            let _ = told.send(Ok(()));
        }
    }

    async fn run(mut self) {
        let mut tick = time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.dial_due();
        loop {
            let waiting = self.out.len() > 0;
            tokio::select! {
                event = self.swarm.select_next_some(), if !self.out.is_full() => {
                    self.on_swarm(event);
                    self.more_events().await;
                }
                command = self.commands.recv() => {
                    if !self.on_commands(command) {
                        break;
                    }
                }
                found = next_found(&mut self.watcher) => self.on_found(&found),
                _ = tick.tick() => self.on_tick(),
                () = time::sleep(EVENT_RETRY), if waiting => {}
            }
            self.out.flush();
            if self.out.is_closed() {
                break;
            }
        }
        self.stop().await;
    }

    /// Takes what else is ready, up to a turn, without going through the runtime again.
    async fn more_events(&mut self) {
        for _ in 1..TURN_MAX {
            if self.out.is_full() {
                return;
            }
            // With this task's own waker, so that nothing which keeps the last waker it saw is left
            // with one that wakes nobody.
            let next = poll_fn(|cx| Poll::Ready(self.swarm.poll_next_unpin(cx))).await;
            let Poll::Ready(Some(event)) = next else { return };
            self.on_swarm(event);
        }
    }

    /// Carries out a turn of commands; `false` at the end.
    fn on_commands(&mut self, first: Option<NetCommand>) -> bool {
        let (mut next, mut left) = (first, TURN_MAX);
        loop {
            let Some(command) = next else { return false };
            self.queued_bytes.fetch_sub(command.weight(), Ordering::Relaxed);
            if matches!(command, NetCommand::Shutdown) {
                return false;
            }
            self.on_command(command);
            left -= 1;
            if left == 0 {
                return true;
            }
            next = match self.commands.try_recv() {
                Ok(command) => Some(command),
                Err(mpsc::error::TryRecvError::Empty) => return true,
                Err(mpsc::error::TryRecvError::Disconnected) => None,
            };
        }
    }

    fn on_command(&mut self, command: NetCommand) {
        match command {
            #[cfg(test)]
            NetCommand::StandStill { stands, wait } => {
                let _ = stands.send(());
                let _ = wait.recv();
            }
            NetCommand::Subscribe(topic) => self.subscribe(topic),
            NetCommand::Unsubscribe(topic) => {
                self.topics.remove(topic);
                self.swarm.behaviour_mut().gossip.inner().unsubscribe(&ident(topic));
            }
            NetCommand::Publish { topic, bytes } => self.publish(topic, bytes),
            NetCommand::Request { peer, id, bytes } => self.request(Which::Room, peer, id, bytes),
            NetCommand::AskDirect { peer, id, bytes } => {
                self.request(Which::Direct, peer, id, bytes)
            }
            NetCommand::Respond { token, bytes } => {
                let (lane, net) = self.lane(Which::of_token(token));
                match lane.serving.respond(net, token, bytes) {
                    Answered::Sent => {}
                    Answered::Late => {
                        tracing::debug!(token, "answer came after the request had ended")
                    }
                    Answered::Refused => count(&self.counters.serve_refused),
                }
            }
            NetCommand::Decline { token } => {
                self.lane(Which::of_token(token)).0.serving.decline(token)
            }
            NetCommand::Verdict { peer, message, verdict } => {
                if let Some(peer) = id_of(&peer) {
                    self.report(&peer, &MessageId::new(&message.0), verdict);
                }
            }
            NetCommand::Penalise { peer, reason } => {
                if let Some(peer) = id_of(&peer) {
                    self.penalise(peer, reason);
                }
            }
            NetCommand::Dial(address) => match address::check(&address) {
                Ok(()) => {
                    self.dialer.hurry(&address::split_peer(address.clone()).1);
                    if !self.know(None, address) {
                        tracing::warn!(max = CONFIGURED_MAX, "too many addresses to look for");
                    }
                    self.dial_due();
                }
                Err(error) => tracing::warn!(%error, "not dialled"),
            },
            NetCommand::Unwant(whom, reply) => {
                let found = self.unwant(whom);
                let _ = reply.send(found);
            }
            NetCommand::Disconnect(peer) => {
                if let Some(peer) = id_of(&peer) {
                    // Not connected is what was wanted.
                    let _ = self.swarm.disconnect_peer_id(peer);
                }
            }
            NetCommand::Status(reply) => {
                let status = self.status();
                // Whoever asked may have gone away.
                let _ = reply.send(status);
            }
            NetCommand::Shutdown => {}
        }
    }

    fn subscribe(&mut self, topic: TopicId) {
        self.topics.insert(topic);
        match self.swarm.behaviour_mut().gossip.inner().subscribe(&ident(topic)) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                return tracing::error!(%error, topic = topic.short(), "cannot follow a topic");
            }
        }
        for (peer, link) in self.links.iter_mut().filter(|(_, l)| l.topics.contains(&topic)) {
            let met = !link.shared;
            link.shared = true;
            if let Some(address) = link.origin().filter(|_| met) {
                self.out.push(NetEvent::CameFrom { peer: peer_of(peer), address });
            }
            self.out.push(NetEvent::Subscribed { peer: peer_of(peer), topic });
        }
    }

    fn publish(&mut self, topic: TopicId, bytes: Vec<u8>) {
        let size = bytes.len();
        match self.swarm.behaviour_mut().gossip.inner().publish(ident(topic).hash(), bytes) {
            Ok(_) => {
                count(&self.counters.published);
                add(&self.counters.published_bytes, size);
                for link in self.links.values_mut().filter(|link| link.topics.contains(&topic)) {
                    link.handed(size);
                }
                self.shed();
            }
            Err(PublishError::NoPeersSubscribedToTopic) => {
                count(&self.counters.published_to_nobody);
                tracing::trace!(topic = topic.short(), "nobody here follows this topic");
            }
            Err(PublishError::AllQueuesFull(_)) => {
                count(&self.counters.publish_failed);
                for link in self.links.values_mut().filter(|link| link.topics.contains(&topic)) {
                    // gossipsub reports it as dropped, so it has to be noted as handed over before.
                    link.handed(size);
                    link.slow_owed = true;
                }
            }
            Err(PublishError::Duplicate) => count(&self.counters.publish_failed),
            Err(error) => {
                count(&self.counters.publish_failed);
                tracing::error!(%error, size, topic = topic.short(), "envelope not published");
            }
        }
    }

    fn request(&mut self, which: Which, peer: Peer, id: u64, bytes: Vec<u8>) {
        let linked = id_of(&peer).and_then(|id| Some((id, self.links.get(&id)?.chosen()?.id)));
        let (lane, net) = self.lane(which);
        let sent =
            linked.is_some_and(|(to, over)| lane.asking.ask(net, (to, Some(over)), id, bytes));
        if sent {
            count(&self.counters.requests);
        } else {
            count(&self.counters.requests_failed);
            self.out.push(NetEvent::RequestFailed { peer, id });
        }
    }

    /// Our side of a protocol, and the library's.
    pub(super) fn lane(
        &mut self,
        which: Which,
    ) -> (&mut Lane, &mut Each<request_response::Behaviour<Raw>>) {
        let net = self.swarm.behaviour_mut();
        match which {
            Which::Room => (&mut self.room, &mut net.room),
            Which::Direct => (&mut self.direct, &mut net.direct),
        }
    }

    /// Tells gossipsub what becomes of a message. Too late is no harm: it was not forwarded then.
    pub(super) fn report(&mut self, peer: &PeerId, message: &MessageId, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => MessageAcceptance::Reject,
        };
        // Forwarded to everybody but this connection. Should the peer have two of them at the moment,
        // it knows the message already.
        let over = self.links.get(peer).and_then(|link| link.chosen()).map(|c| c.id);
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        let source = over.and_then(|c| gossip.alias(c)).unwrap_or(*peer);
        gossip.inner().report_message_validation_result(message, &source, acceptance);
    }

    /// Counts a fault; disconnects and refuses who has too many.
    pub(super) fn penalise(&mut self, peer: PeerId, reason: Reject) {
        count(&self.counters.faults);
        if self.refuse(peer, faults::weight(reason)) {
            tracing::warn!(%reason, "a peer broke the rules too often and is refused for a while");
        }
    }

    /// Counts points; `true` if the peer is refused from now on.
    pub(super) fn refuse(&mut self, peer: PeerId, points: u32) -> bool {
        let refused = self.faults.count(peer, points, self.now_ms());
        if refused {
            count(&self.counters.blocked);
            self.swarm.behaviour_mut().blocked.block_peer(peer);
        }
        refused
    }

    /// Notes an address for good; `false` if there are too many already.
    fn know(&mut self, peer: Option<PeerId>, address: Multiaddr) -> bool {
        let (named, bare) = address::split_peer(address);
        // The user's own wish: what the address book knows names its peer.
        if peer.is_none() && !self.wanted.add(bare.clone()) {
            return false;
        }
        self.dialer.add(named.or(peer), bare, Source::Configured);
        true
    }

    fn on_found(&mut self, found: &Found) {
        self.dialer.replace_files(found);
        let now_ms = self.now_ms();
        for (peer, _) in found {
            self.dialer.shown(peer, now_ms);
        }
        self.dial_due();
    }

    /// Begins every dial that is due.
    pub(super) fn dial_due(&mut self) {
        let now_ms = self.now_ms();
        // QUIC dials from the socket it listens on; before there is one it would open another, on
        // all addresses, for good.
        if !self.twins.is_empty() && now_ms < TWINS_MS {
            return;
        }
        for (target, mut dial) in self.dialer.due(now_ms) {
            if self.loopback_only {
                dial.addresses.retain(|a| address::ip(a).is_some_and(|ip| ip.is_loopback()));
            }
            if dial.addresses.is_empty() {
                self.dialer.refused(&dial, now_ms);
                continue;
            }
            let opts = match (dial.peer, dial.addresses.first()) {
                (Some(peer), _) => DialOpts::peer_id(peer)
                    // The dialer knows who is linked, and whose link is in doubt; a dial that hangs
                    // does not stop the next one.
                    .condition(match self.links.contains_key(&peer) {
                        true => PeerCondition::Always,
                        false => PeerCondition::Disconnected,
                    })
                    .addresses(dial.addresses.clone())
                    .build(),
                (None, Some(address)) => {
                    DialOpts::unknown_peer_id().address(address.clone()).build()
                }
                (None, None) => continue,
            };
            let connection = opts.connection_id();
            count(&self.counters.dials);
            match self.swarm.dial(opts) {
                Ok(()) => self.dialer.begun(target, dial, connection),
                Err(error) => {
                    tracing::debug!(%error, "dial not begun");
                    self.dialer.refused(&dial, now_ms);
                }
            }
        }
    }

    /// Milliseconds since the task was made: the clock of back-off and faults.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The next scan of the folder; never, if there is none.
async fn next_found(watcher: &mut Option<Watcher>) -> Found {
    match watcher {
        Some(watcher) => match watcher.found.recv().await {
            Some(found) => found,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// The innermost cause: "address in use" and not "transport error: other error: ...".
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
