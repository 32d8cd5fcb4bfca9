//! Requests in both directions, for one protocol: which are in flight, who waits in line, how many
//! bytes each peer may make us hold. A node has two of these [`Lane`]s, so a flood in one takes
//! nothing from the other.

use std::collections::{BTreeMap, HashMap, VecDeque};

use libp2p::PeerId;
use libp2p::request_response::{Behaviour, InboundRequestId, OutboundRequestId, ResponseChannel};
use libp2p::swarm::ConnectionId;

use super::codec::Raw;
use super::each::Each;
use super::settings::LaneBounds;

/// Which request-response protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Sync, acknowledgements and presence of rooms.
    Room,
    /// Direct messages.
    Direct,
}

impl Which {
    /// The protocol that a token belongs to: its lowest bit.
    pub(super) fn of_token(token: u64) -> Self {
        if token & 1 == 0 { Self::Room } else { Self::Direct }
    }

    fn bit(self) -> u64 {
        match self {
            Self::Room => 0,
            Self::Direct => 1,
        }
    }
}

/// Both directions of one protocol.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) asking: Asking,
    pub(super) serving: Serving,
}

impl Lane {
    pub(super) fn new(which: Which, bounds: &'static LaneBounds) -> Self {
        Self { asking: Asking::new(bounds), serving: Serving::new(which, bounds) }
    }
}

/// Our requests.
#[derive(Debug)]
pub(super) struct Asking {
    bounds: &'static LaneBounds,
    in_flight: HashMap<OutboundRequestId, (PeerId, u64)>,
    lines: BTreeMap<PeerId, Line>,
}

#[derive(Debug, Default)]
struct Line {
    /// Over which requests go out.
    connection: Option<ConnectionId>,
    in_flight: usize,
    queue: VecDeque<(u64, Vec<u8>)>,
    queued_bytes: usize,
}

impl Asking {
    fn new(bounds: &'static LaneBounds) -> Self {
        Self { bounds, in_flight: HashMap::new(), lines: BTreeMap::new() }
    }

    /// Sends a request to a linked peer over that connection, or puts it in line; `false` when it
    /// is too large or the line too long.
    #[must_use]
    pub(super) fn ask(
        &mut self,
        net: &mut Each<Behaviour<Raw>>,
        (peer, connection): (PeerId, Option<ConnectionId>),
        id: u64,
        bytes: Vec<u8>,
    ) -> bool {
        let line = self.lines.entry(peer).or_default();
        if bytes.len() > self.bounds.request_bytes_max
            || line.queue.len() >= self.bounds.queued_max
            || line.queued_bytes + bytes.len() > self.bounds.queued_bytes_max
        {
            return false;
        }
        line.connection = connection.or(line.connection);
        line.queued_bytes += bytes.len();
        line.queue.push_back((id, bytes));
        self.pump(net, peer);
        true
    }

    /// A request has ended, well or not: our name for it.
    pub(super) fn done(
        &mut self,
        net: &mut Each<Behaviour<Raw>>,
        request: OutboundRequestId,
    ) -> Option<(PeerId, u64)> {
        let (peer, id) = self.in_flight.remove(&request)?;
        if let Some(line) = self.lines.get_mut(&peer) {
            line.in_flight -= 1;
        }
        self.pump(net, peer);
        Some((peer, id))
    }

    /// The pair uses another connection: what is in line goes there.
    pub(super) fn moved(
        &mut self,
        net: &mut Each<Behaviour<Raw>>,
        peer: PeerId,
        connection: ConnectionId,
    ) {
        if let Some(line) = self.lines.get_mut(&peer) {
            line.connection = Some(connection);
            self.pump(net, peer);
        }
    }

    /// The link is gone: requests that were still in line. Those in flight end by themselves.
    pub(super) fn unlinked(&mut self, peer: &PeerId) -> Vec<u64> {
        let Some(line) = self.lines.get_mut(peer) else { return Vec::new() };
        line.queued_bytes = 0;
        let ids = line.queue.drain(..).map(|(id, _)| id).collect();
        if line.in_flight == 0 {
            self.lines.remove(peer);
        }
        ids
    }

    /// While the connection is closing, requests stay in line for the one that takes its place.
    fn pump(&mut self, net: &mut Each<Behaviour<Raw>>, peer: PeerId) {
        let Some(line) = self.lines.get_mut(&peer) else { return };
        while line.in_flight < self.bounds.in_flight_max
            && let Some(alias) = line.connection.and_then(|c| net.alias(c))
            && let Some((id, bytes)) = line.queue.pop_front()
        {
            line.queued_bytes -= bytes.len();
            line.in_flight += 1;
            let request = net.inner().send_request(&alias, Some(bytes));
            self.in_flight.insert(request, (peer, id));
        }
        if line.in_flight == 0 && line.queue.is_empty() {
            self.lines.remove(&peer);
        }
    }
}

/// Requests of others.
#[derive(Debug)]
pub(super) struct Serving {
    bounds: &'static LaneBounds,
    /// Counts in twos: the lowest bit says which protocol.
    next_token: u64,
    waiting: BTreeMap<u64, (InboundRequestId, ResponseChannel<Vec<u8>>)>,
    open: HashMap<InboundRequestId, Open>,
    loads: BTreeMap<PeerId, Load>,
}

/// A request whose stream is open: the driver has it, or its answer is on the way out.
#[derive(Debug)]
struct Open {
    peer: PeerId,
    token: u64,
    asked_bytes: usize,
    answer_bytes: usize,
}

#[derive(Debug, Default)]
struct Load {
    asked: usize,
    asked_bytes: usize,
    answer_bytes: usize,
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    /// On its way.
    Sent,
    /// The request had ended already.
    Late,
    /// Too large, or the peer does not read what it asked for.
    Refused,
}

impl Serving {
    fn new(which: Which, bounds: &'static LaneBounds) -> Self {
        Self {
            bounds,
            next_token: which.bit(),
            waiting: BTreeMap::new(),
            open: HashMap::new(),
            loads: BTreeMap::new(),
        }
    }

    /// A request arrived. The token under which it is answered, or none if the peer has too many
    /// open: dropping the channel tells it so.
    pub(super) fn arrived(
        &mut self,
        peer: PeerId,
        request: InboundRequestId,
        bytes: usize,
        channel: ResponseChannel<Vec<u8>>,
    ) -> Option<u64> {
        let load = self.loads.entry(peer).or_default();
        if load.asked >= self.bounds.serving_max
            || load.asked_bytes + bytes > self.bounds.serving_bytes_max
        {
            return None;
        }
        load.asked += 1;
        load.asked_bytes += bytes;
        self.next_token += 2;
        let token = self.next_token;
        self.open.insert(request, Open { peer, token, asked_bytes: bytes, answer_bytes: 0 });
        self.waiting.insert(token, (request, channel));
        Some(token)
    }

    /// Answers a request.
    pub(super) fn respond(
        &mut self,
        net: &mut Each<Behaviour<Raw>>,
        token: u64,
        bytes: Vec<u8>,
    ) -> Answered {
        let Some((request, channel)) = self.waiting.remove(&token) else { return Answered::Late };
        let Some(open) = self.open.get_mut(&request) else { return Answered::Late };
        let load = self.loads.entry(open.peer).or_default();
        let size = bytes.len();
        if size > self.bounds.response_bytes_max
            || load.answer_bytes + size > self.bounds.responding_bytes_max
        {
            return Answered::Refused;
        }
        if net.inner().send_response(channel, bytes).is_err() {
            return Answered::Late;
        }
        open.answer_bytes = size;
        load.answer_bytes += size;
        Answered::Sent
    }

    /// Leaves a request without an answer; the library then reports its end.
    pub(super) fn decline(&mut self, token: u64) {
        self.waiting.remove(&token);
    }

    /// The stream of a request is closed: answered, failed, or given up.
    pub(super) fn ended(&mut self, request: InboundRequestId) {
        let Some(open) = self.open.remove(&request) else { return };
        self.waiting.remove(&open.token);
        if let Some(load) = self.loads.get_mut(&open.peer) {
            load.asked -= 1;
            load.asked_bytes -= open.asked_bytes;
            load.answer_bytes -= open.answer_bytes;
            if load.asked == 0 {
                self.loads.remove(&open.peer);
            }
        }
    }

    /// The link is gone, and every stream with it.
    pub(super) fn unlinked(&mut self, peer: &PeerId) {
        let gone: Vec<InboundRequestId> = self
            .open
            .iter()
            .filter(|(_, open)| open.peer == *peer)
            .map(|(request, _)| *request)
            .collect();
        for request in gone {
            self.ended(request);
        }
    }
}
