//! The workers: everything that needs keys but no state happens here, before the core, on threads
//! of their own.
//!
//! A worker decodes, opens and verifies what the network hands over and turns it into an [`Input`];
//! what fails ends here with a verdict and a counter, so a flood of bad bytes never occupies the
//! core. Events of one peer stay in order.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use klatch_core::crypto::Verifier;
use klatch_core::direct::frame;
use klatch_core::error::Reject;
use klatch_core::ids::Peer;
use klatch_core::step::{Input, Verdict};
use klatch_core::wire::{self, Gossip, Request};

use crate::clock::now_ms;
use crate::driver::Work;
use crate::network::{Delivered, NetCommand, NetEvent, NetworkHandle};
use crate::views::{Awaited, Shared};

/// Events waiting per worker: enough to keep it busy while the driver commits; more waits in the
/// network task.
const QUEUE_MAX: usize = 256;
/// More workers than this do not help a small group.
const WORKERS_MAX: usize = 4;

/// Makes the channels of the workers and the sink that feeds them.
pub fn channels() -> (impl FnMut(NetEvent) -> Delivered + Send + 'static, Vec<Receiver<NetEvent>>) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (senders, receivers): (Vec<SyncSender<NetEvent>>, Vec<_>) =
        (0..cores.clamp(1, WORKERS_MAX)).map(|_| sync_channel(QUEUE_MAX)).unzip();
    let sink = move |event: NetEvent| {
        let at = peer_of(&event)
            .map_or(0, |p| p.0.iter().map(|b| usize::from(*b)).sum::<usize>() % senders.len());
        match senders[at].try_send(event) {
            Ok(()) => Delivered::Taken,
            Err(TrySendError::Full(event)) => Delivered::Full(event),
            Err(TrySendError::Disconnected(_)) => Delivered::Closed,
        }
    };
    (sink, receivers)
}

fn peer_of(event: &NetEvent) -> Option<&Peer> {
    match event {
        NetEvent::LinkUp { peer, .. }
        | NetEvent::CameFrom { peer, .. }
        | NetEvent::LinkRenewed { peer }
        | NetEvent::LinkDown { peer }
        | NetEvent::Subscribed { peer, .. }
        | NetEvent::Unsubscribed { peer, .. }
        | NetEvent::Gossip { peer, .. }
        | NetEvent::Request { peer, .. }
        | NetEvent::Response { peer, .. }
        | NetEvent::DirectAsked { peer, .. }
        | NetEvent::DirectAnswered { peer, .. }
        | NetEvent::RequestFailed { peer, .. }
        | NetEvent::Slow { peer } => Some(peer),
        NetEvent::Listening { .. } | NetEvent::ListenFailed { .. } => None,
    }
}

/// Starts one thread per receiver. They end when the network (the senders) or the driver (the
/// receiver of `work`) is gone.
///
/// # Errors
/// When the system has no thread left.
pub fn spawn(
    receivers: Vec<Receiver<NetEvent>>,
    shared: &Arc<Shared>,
    network: &NetworkHandle,
    work: &SyncSender<Work>,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    receivers
        .into_iter()
        .map(|events| {
            let mut worker = Worker {
                shared: shared.clone(),
                network: network.clone(),
                work: work.clone(),
                me: network.peer().clone(),
                verifier: Verifier::default(),
            };
            std::thread::Builder::new().name("klatch-verify".into()).spawn(move || {
                while let Ok(event) = events.recv() {
                    if !worker.take(event) {
                        break;
                    }
                }
            })
        })
        .collect()
}

struct Worker {
    shared: Arc<Shared>,
    network: NetworkHandle,
    work: SyncSender<Work>,
    me: Peer,
    verifier: Verifier,
}

impl Worker {
    /// Handles one event; `false` when the driver is gone.
    fn take(&mut self, event: NetEvent) -> bool {
        let input = match event {
            NetEvent::LinkUp { peer, address, dialled } => {
                let known = Work::Linked { peer: peer.clone(), address, dialled };
                return self.work.send(known).is_ok() && self.pass(Some(Input::LinkUp { peer }));
            }
            NetEvent::CameFrom { peer, address } => {
                return self.work.send(Work::CameFrom { peer, address }).is_ok();
            }
            NetEvent::LinkRenewed { peer } => Some(Input::LinkRenewed { peer }),
            NetEvent::LinkDown { peer } => Some(Input::LinkDown { peer }),
            NetEvent::Subscribed { peer, topic } => Some(Input::PeerSubscribed { peer, topic }),
            NetEvent::Unsubscribed { peer, topic } => Some(Input::PeerUnsubscribed { peer, topic }),
            NetEvent::Slow { peer } => Some(Input::PeerSlow { peer }),
            NetEvent::RequestFailed { peer, id } => {
                drop(self.shared.page_arrived(id));
                Some(Input::RequestFailed { peer, request: id })
            }
            NetEvent::Gossip { peer, message, topic, bytes } => {
                let opened = self.shared.by_topic(&topic).ok_or(Reject::UnknownRoom).and_then(
                    |(keys, forwarding)| {
                        let room = keys.room;
                        Ok((
                            room,
                            wire::open_envelope(&keys, &bytes, forwarding, &mut self.verifier)?,
                        ))
                    },
                );
                match opened {
                    Ok((room, Gossip::Run(run))) => {
                        Some(Input::Gossip { peer, message, room, run })
                    }
                    Ok((_, Gossip::Beacon(ack))) => Some(Input::Beacon { peer, message, ack }),
                    Ok((_, Gossip::Presence(presence))) => {
                        self.shared.clocks(|c| c.heard(&presence, now_ms(), false));
                        Some(Input::Presence { peer, message, presence })
                    }
                    Err(reject) => {
                        self.refuse(&peer, reject);
                        let verdict =
                            if reject.is_fault() { Verdict::Reject } else { Verdict::Ignore };
                        self.tell(NetCommand::Verdict { peer, message, verdict });
                        None
                    }
                }
            }
            NetEvent::Request { peer, token, connection, bytes } => {
                self.request(peer, token, connection, &bytes)
            }
            NetEvent::Response { peer, id, bytes } => self.response(peer, id, &bytes),
            NetEvent::DirectAsked { peer, token, bytes } => self.direct_asked(peer, token, &bytes),
            NetEvent::DirectAnswered { peer, id, bytes } => {
                Some(self.direct_answered(peer, id, &bytes))
            }
            NetEvent::Listening { address } => {
                tracing::debug!(%address, "listening");
                None
            }
            NetEvent::ListenFailed { address, cause } => {
                tracing::warn!(%address, %cause, "cannot listen");
                None
            }
        };
        self.pass(input)
    }

    fn pass(&self, input: Option<Input>) -> bool {
        input.is_none_or(|input| self.work.send(Work::Input(input)).is_ok())
    }

    fn request(&mut self, peer: Peer, token: u64, connection: u64, bytes: &[u8]) -> Option<Input> {
        let opened = wire::request_epoch(bytes).and_then(|epoch| {
            let keys = self.shared.by_epoch(&epoch).ok_or(Reject::Proof)?;
            wire::open_request(&keys, &self.me, &peer, bytes, &mut self.verifier)
        });
        match opened {
            Ok(Request::Sync(request)) => Some(Input::SyncAsked { peer, token, request }),
            Ok(Request::Bodies { room, entries }) => {
                Some(Input::BodiesAsked { peer, token, room, entries })
            }
            Ok(Request::Ack(ack)) => {
                self.tell(NetCommand::Respond { token, bytes: wire::response_ok() });
                Some(Input::Ack { peer, ack })
            }
            Ok(Request::Hello(presence, process)) => {
                self.shared.clocks(|c| c.heard(&presence, now_ms(), true));
                self.tell(NetCommand::Respond { token, bytes: wire::response_ok() });
                Some(Input::Hello { peer, connection, presence, process })
            }
            Err(reject) => {
                self.refuse(&peer, reject);
                self.tell(NetCommand::Respond { token, bytes: wire::response_refused() });
                None
            }
        }
    }

    fn response(&mut self, peer: Peer, id: u64, bytes: &[u8]) -> Option<Input> {
        let Some((keys, awaited)) = self.shared.page_arrived(id) else {
            return (!wire::response_is_ok(bytes))
                .then_some(Input::RequestFailed { peer, request: id });
        };
        if awaited == Awaited::Bodies {
            return match wire::open_bodies(&keys, &self.me, &peer, bytes, &mut self.verifier) {
                Ok(bodies) => {
                    Some(Input::BodiesCame { peer, request: id, room: keys.room, bodies })
                }
                Err(reject) => {
                    self.refuse(&peer, reject);
                    Some(Input::RequestFailed { peer, request: id })
                }
            };
        }
        match wire::open_page(&keys, &self.me, &peer, bytes, &mut self.verifier) {
            Ok(page) => Some(Input::SyncPage {
                peer,
                request: id,
                room: keys.room,
                runs: page.runs,
                frontier: page.frontier,
                more: page.more,
                fault: page.fault,
            }),
            Err(reject) => {
                self.refuse(&peer, reject);
                Some(Input::RequestFailed { peer, request: id })
            }
        }
    }

    fn direct_asked(&mut self, peer: Peer, token: u64, bytes: &[u8]) -> Option<Input> {
        match frame::open_request(&self.me, &peer, bytes, &mut self.verifier) {
            Ok(frame) => Some(Input::DirectAsked { peer, token, frame }),
            Err(reject) => {
                self.refuse(&peer, reject);
                self.tell(NetCommand::Respond { token, bytes: frame::refused() });
                None
            }
        }
    }

    fn direct_answered(&mut self, peer: Peer, id: u64, bytes: &[u8]) -> Input {
        match frame::open_answer(&self.me, &peer, bytes, &mut self.verifier) {
            Ok(answer) => Input::DirectAnswered { peer, request: id, answer },
            Err(reject) => {
                self.refuse(&peer, reject);
                Input::RequestFailed { peer, request: id }
            }
        }
    }

    fn refuse(&self, peer: &Peer, reject: Reject) {
        self.shared.refuse(reject);
        tracing::debug!(?peer, reject = reject.name(), "refused");
        self.tell(NetCommand::Penalise { peer: peer.clone(), reason: reject });
    }

    fn tell(&self, command: NetCommand) {
        // An error means that the network has stopped, and this worker with it.
        let _ = self.network.send(command);
    }
}
