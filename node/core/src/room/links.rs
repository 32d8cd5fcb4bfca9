//! What depends on who is connected and on time: links, presence, the window, acknowledgements, beacons, sync requests.
//!
//! [`Room::poll`] is the one place where a room sends. It runs at the end of a batch in which the room was touched, and
//! when one of its times has come; it leaves the next time in [`Timers`].

use std::collections::{BTreeMap, BTreeSet};

use crate::bucket::Bucket;
use crate::crypto::Context;
use crate::delivery::VerifiedAck;
use crate::event::Event;
use crate::ids::{DeviceId, DeviceShort, Digest, HashShort, Peer};
use crate::limits::{
    BEACON_INTERVAL_MS, BEACON_SILENCE_MS_MAX, BEACON_SILENCE_MS_MIN, GAP_DELAY_MS, GAP_PAUSE_MS_MAX, GAP_PAUSE_MS_MIN, GAP_PAUSE_MS_SURE, HELLO_RETRY_MS, HINT_MS_MAX, HINT_MS_MIN,
    HINT_PAUSE_MS, LINKS_MAX, PAGE_BYTES_MAX,
    PRESENCE_DEBOUNCE_MS, PRESENCE_INTERVAL_MS, PRESENCE_MAX, PRESENCE_TTL_MS, RECHECKS_PER_LINK_MAX, SERVE_PER_S, SUMMARY_ABOVE, SYNC_BACKOFF_MS_MIN,
    WINDOW_ENTRIES, WINDOW_PATIENCE_MS,
};
use crate::log::entry::VerifiedRun;
use crate::machine::{Ctx, Entropy};
use crate::presence::{VerifiedPresence, direct_set};
use crate::room::{Room, Source, Taken};
use crate::step::{DeviceRow, Publish, RequestId, Send, Serve, Token};
use crate::sync::SyncRequest;
use crate::wire::{self, Frontier};

/// The connected peers of a room and the devices that are present.
#[derive(Debug, Default)]
pub struct Links {
    by_peer: BTreeMap<Peer, Link>,
    present: BTreeMap<DeviceId, Present>,
    /// Devices present now, this one excluded.
    pub online: BTreeSet<DeviceId>,
    /// Every present device is directly connected to every other: nobody needs to forward.
    pub full_mesh: bool,
    dirty: bool,
}

#[derive(Debug)]
struct Link {
    device: Option<DeviceId>,
    hello: Option<RequestId>,
    hello_due_ms: Option<u64>,
    /// Own entries below this position were put on this link.
    sent_below: u64,
    /// Since when something is unacknowledged without progress.
    waiting_since_ms: u64,
    serves: Bucket,
    synced: bool,
    /// When it last sent the end of what it can give us.
    complete_ms: u64,
    /// Chains to be read again from their beginning (`false`: that was asked already).
    rechecks: BTreeMap<DeviceShort, bool>,
    /// How far it has the chains that forked.
    branches: BTreeMap<DeviceShort, (u64, HashShort)>,
}

#[derive(Debug)]
struct Present {
    expires_ms: u64,
    heard_ms: u64,
    direct: Digest,
}

impl Links {
    /// Linked peers.
    #[must_use]
    pub fn peers(&self) -> BTreeSet<Peer> {
        self.by_peer.keys().cloned().collect()
    }

    /// Peers that said hello, and as which device.
    #[must_use]
    pub fn linked_devices(&self) -> Vec<(Peer, DeviceId)> {
        self.by_peer.iter().filter_map(|(p, l)| Some((p.clone(), l.device?))).collect()
    }

    /// Number of linked peers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_peer.len()
    }

    /// Whether nobody is linked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_peer.is_empty()
    }

    /// Own entries below this position are on a link to at least one member.
    #[must_use]
    pub fn sent_below(&self) -> u64 {
        // A stranger may follow a topic; only a link whose device is known leads to a member.
        self.by_peer.values().filter(|l| l.device.is_some()).map(|l| l.sent_below).max().unwrap_or(0)
    }

    fn peer_of(&self, device: &DeviceId) -> Option<&Peer> {
        self.by_peer.iter().find(|(_, l)| l.device.as_ref() == Some(device)).map(|(p, _)| p)
    }

    /// The link that holds the window back: unacknowledged entries, and progress within the patience. Returns the smallest
    /// acknowledged position among those links, and when the first of them loses its say.
    #[must_use]
    pub fn holding_from(&self, now: u64, members: &BTreeMap<DeviceId, DeviceRow>) -> Option<(u64, u64)> {
        let holding = self.by_peer.values().filter_map(|l| {
            let acked = members.get(&l.device?).map_or(0, |m| m.acked);
            let until = l.waiting_since_ms + WINDOW_PATIENCE_MS;
            if planted!(WindowStuck) {
                return Some((0, u64::MAX));
            }
            (l.sent_below > acked && now < until).then_some((acked, until))
        });
        holding.reduce(|a, b| (a.0.min(b.0), a.1.min(b.1)))
    }

    /// A device acknowledged more.
    pub fn progressed(&mut self, device: DeviceId, now: u64) {
        for link in self.by_peer.values_mut().filter(|l| l.device == Some(device)) {
            link.waiting_since_ms = now;
        }
    }
}

/// When a room has to act by itself.
#[derive(Debug)]
pub struct Timers {
    /// Next time anything is due.
    pub due_ms: u64,
    changed_ms: Option<u64>,
    silence_ms: u64,
    beacon_ms: u64,
    presence_ms: u64,
    gap_ms: Option<u64>,
    gap_pause_ms: u64,
    gap_since_ms: u64,
    hint_ms: Option<u64>,
    hinted_ms: u64,
}

impl Timers {
    /// Timers of a room that starts now.
    #[must_use]
    pub fn starting(now: u64) -> Self {
        Self {
            due_ms: now,
            changed_ms: None,
            silence_ms: BEACON_SILENCE_MS_MIN,
            beacon_ms: now + BEACON_INTERVAL_MS,
            presence_ms: now + PRESENCE_INTERVAL_MS,
            gap_ms: None,
            gap_pause_ms: GAP_PAUSE_MS_MIN,
            gap_since_ms: now,
            hint_ms: None,
            hinted_ms: 0,
        }
    }

    /// The frontier changed: a beacon follows after silence of random length.
    pub fn changed(&mut self, now: u64, rng: &mut dyn Entropy) {
        if self.changed_ms.is_none() {
            self.silence_ms = rng.between(BEACON_SILENCE_MS_MIN, BEACON_SILENCE_MS_MAX);
        }
        self.changed_ms = Some(now);
    }

    fn beacon_due(&self) -> u64 {
        let due = self.changed_ms.map_or(self.beacon_ms, |c| (c + self.silence_ms).min(self.beacon_ms.max(c)));
        due.min(self.hint_ms.unwrap_or(u64::MAX))
    }

    /// Something came by sync, which reaches one node only: who is further away is told by a beacon soon.
    fn hint(&mut self, now: u64, rng: &mut dyn Entropy) {
        if self.hint_ms.is_none() {
            let soon = now + rng.between(HINT_MS_MIN, HINT_MS_MAX);
            self.hint_ms = Some(soon.max(self.hinted_ms + HINT_PAUSE_MS));
        }
    }
}

impl Room {
    // ---- links come and go ----------------------------------------------------------------------------------------

    /// A peer is linked and follows the room's topic, or proved membership in a request.
    pub(crate) fn link_up(&mut self, ctx: &mut Ctx<'_>, peer: &Peer) {
        if self.row.left || self.links.by_peer.contains_key(peer) || self.links.by_peer.len() >= LINKS_MAX {
            return;
        }
        let link = Link {
            device: None,
            hello: None,
            hello_due_ms: Some(ctx.now),
            sent_below: 0,
            waiting_since_ms: ctx.now,
            serves: Bucket::full(SERVE_PER_S * 10, ctx.now),
            synced: false,
            complete_ms: 0,
            rechecks: BTreeMap::new(),
            branches: BTreeMap::new(),
        };
        self.links.by_peer.insert(peer.clone(), link);
        self.links.dirty = true;
        self.planner.want(peer, ctx.now);
        self.touched = true;
        self.view_dirty = true;
    }

    /// The link ended, or the peer left the topic.
    pub(crate) fn link_down(&mut self, ctx: &mut Ctx<'_>, peer: &Peer) {
        let Some(link) = self.links.by_peer.remove(peer) else { return };
        if let Some(device) = link.device
            && self.links.peer_of(&device).is_none()
        {
            self.links.present.remove(&device);
        }
        self.planner.forget(peer);
        self.links.dirty = true;
        self.timers.presence_ms = self.timers.presence_ms.min(ctx.now + PRESENCE_DEBOUNCE_MS);
        self.touched = true;
        self.view_dirty = true;
    }

    /// After the room was opened again: who is behind which link, from before.
    pub(crate) fn restore_devices(&mut self, known: Vec<(Peer, DeviceId)>) {
        for (peer, device) in known {
            if let Some(link) = self.links.by_peer.get_mut(&peer) {
                link.device = Some(device);
                self.links.dirty = true;
            }
        }
    }

    /// All links end: the room was left.
    pub(crate) fn unlink_all(&mut self, ctx: &mut Ctx<'_>) {
        for peer in self.links.peers() {
            self.link_down(ctx, &peer);
        }
        self.links.present.clear();
        self.links.online.clear();
        self.links.full_mesh = false;
        self.links.dirty = true;
    }

    /// Something was not delivered to a peer: it will miss entries that we count as sent, so exchange frontiers.
    pub(crate) fn peer_slow(&mut self, ctx: &mut Ctx<'_>, peer: &Peer) {
        if let Some(link) = self.links.by_peer.get_mut(peer) {
            // What was put on this link may not have left: it counts as sent again when the peer says what it has.
            let acked = link.device.and_then(|d| self.members.get(&d)).map_or(0, |m| m.acked);
            link.sent_below = link.sent_below.min(acked);
            self.view_dirty = true;
            self.planner.want(peer, ctx.now + GAP_DELAY_MS);
            // The peer learns from a beacon soon that it lacks something.
            self.timers.beacon_ms = self.timers.beacon_ms.min(ctx.now + SYNC_BACKOFF_MS_MIN);
            self.touched = true;
        }
    }

    /// Signed presence: tells that a device is there and whom it is connected to. Only a hello, said by the peer itself
    /// over an authenticated link, binds the device to the peer: by gossip a member could claim somebody else's peer id.
    /// Returns whether it is news.
    pub(crate) fn present(&mut self, ctx: &mut Ctx<'_>, presence: &VerifiedPresence, hello: bool) -> bool {
        let device = presence.device;
        if device == ctx.keys.device_id() {
            return false;
        }
        if hello
            && let Some(link) = self.links.by_peer.get_mut(&presence.peer)
            && link.device != Some(device)
        {
            link.device = Some(device);
            link.waiting_since_ms = ctx.now;
            // What it wrote and we have, it may not know of: acknowledgements went only to whom we were connected with.
            if self.log.knows(&device) {
                self.owed.add(device, 0, ctx.now);
            }
            self.links.dirty = true;
            self.touched = true;
            self.timers.presence_ms = self.timers.presence_ms.min(ctx.now + PRESENCE_DEBOUNCE_MS);
        }
        let known = self.links.present.get(&device);
        if (!hello && known.is_some_and(|p| p.expires_ms >= presence.expires_ms))
            || (known.is_none() && self.links.present.len() >= PRESENCE_MAX)
        {
            return false;
        }
        let fresh = Present { expires_ms: presence.expires_ms, heard_ms: ctx.now, direct: presence.direct };
        self.links.present.insert(device, fresh);
        self.heard(ctx, device);
        self.links.dirty = true;
        self.touched = true;
        true
    }

    /// Whether a device said lately that it is there.
    pub(crate) fn is_present(&self, device: &DeviceId) -> bool {
        self.links.present.contains_key(device)
    }

    // ---- sync -----------------------------------------------------------------------------------------------------

    /// A proved member asks for what it lacks.
    pub(crate) fn serve(&mut self, ctx: &mut Ctx<'_>, peer: &Peer, token: Token, request: SyncRequest) {
        self.link_up(ctx, peer);
        let own = ctx.keys.device_id().prefix();
        let has_own = request.frontier.iter().find(|f| f.0 == own).map_or(0, |f| f.1.saturating_add(1));
        let next = self.log.next_seq(&ctx.keys.device_id());
        let allowed = self.links.by_peer.get_mut(peer).is_some_and(|link| {
            link.sent_below = link.sent_below.max(has_own.min(next));
            link.serves.take(1, SERVE_PER_S, 1_000, SERVE_PER_S * 10, ctx.now)
        });
        if !allowed {
            ctx.step.responds.push((token, wire::response_refused()));
            return;
        }
        if self.log.lacks(&request.frontier) | self.recheck(peer, &request.frontier) {
            self.planner.want(peer, ctx.now);
            self.touched = true;
        }
        ctx.step.serves.push(Serve {
            peer: peer.clone(),
            token,
            room: self.id(),
            after: request.frontier,
            frontier: self.log.frontier(),
            proof: self.keys.proof(Context::PROOF_RESPONSE, ctx.me, peer),
            bytes_max: request.bytes_max.min(PAGE_BYTES_MAX),
        });
    }

    /// A page arrived: take in what fits, then decide whether to ask on.
    pub(crate) fn page(&mut self, ctx: &mut Ctx<'_>, peer: &Peer, page: PageIn) {
        let ours = self.planner.landed(page.request);
        let (mut new, mut stuck, events) = (0, false, ctx.step.events.len());
        for run in page.runs {
            match self.accept(ctx, run, Source::Sync) {
                Ok(Taken::New(n)) => new += n,
                // Pages come in an order in which everything fits: what is missing here will not come later.
                Ok(Taken::Parked) => stuck = true,
                Err(_) => {}
            }
        }
        if new > SUMMARY_ABOVE {
            self.sum_up(ctx, events, new);
        }
        let end = !page.more || (stuck && new == 0);
        self.touched = true;
        if !ours {
            return;
        }
        if end
            && !page.fault
            && let Some(link) = self.links.by_peer.get_mut(peer)
        {
            link.complete_ms = ctx.now;
        }
        if self.recheck(peer, &page.frontier) {
            self.planner.want(peer, ctx.now);
        }
        if let Some(link) = self.links.by_peer.get_mut(peer) {
            link.branches = self.log.forked_in(&page.frontier).map(|(d, seq, hash)| (*d, (*seq, *hash))).collect();
        }
        let lacks = self.log.lacks(&page.frontier);
        if stuck && new == 0 && !page.fault {
            // The peer gave what it could; `mind_the_gap` decides when to ask again.
            self.planner.succeeded(peer);
        } else if page.fault || (new == 0 && (page.more || lacks)) {
            // A fault, or a promise without anything useful: others are asked first.
            self.planner.want(peer, ctx.now);
            self.planner.failed(peer, ctx.now);
        } else {
            self.planner.succeeded(peer);
            if (page.more || lacks) && !planted!(OnePageOnly) {
                self.planner.want(peer, ctx.now);
            } else if let Some(link) = self.links.by_peer.get_mut(peer)
                && (!link.synced || new > 0)
            {
                link.synced = true;
                ctx.step.events.push(Event::Synced { room: self.row.room });
            }
        }
        if new > 0 {
            self.timers.gap_pause_ms = GAP_PAUSE_MS_MIN;
            if !self.links.full_mesh {
                self.timers.hint(ctx.now, ctx.rng);
            }
        }
        if planted!(AskWithoutPause) && self.log.has_gap() {
            self.ask_everybody(ctx.now + GAP_DELAY_MS);
        }
        if end && self.log.has_gap() && self.timers.gap_ms.is_none() {
            if self.timers.gap_pause_ms == GAP_PAUSE_MS_MIN {
                self.timers.gap_since_ms = ctx.now;
            }
            self.timers.gap_ms = Some(ctx.now + self.timers.gap_pause_ms);
        }
    }

    /// Many messages of a page are announced as one event.
    fn sum_up(&self, ctx: &mut Ctx<'_>, from: usize, count: usize) {
        let told = ctx.step.events.split_off(from);
        ctx.step.events.extend(told.into_iter().filter(|e| !matches!(e, Event::MessageAdded { .. })));
        let upto = ctx.journal.saturating_sub(1);
        ctx.step.events.push(Event::HistoryAdded { room: self.row.room, count: count as u64, upto });
    }

    /// Runs still wait for something that the last peer asked did not have. Others may: all are asked, with a pause that
    /// doubles. What nobody has after some rounds lies in a refused branch, or was invented (`Log::give_up_waiting`).
    fn mind_the_gap(&mut self, ctx: &mut Ctx<'_>) {
        if self.timers.gap_ms.is_none_or(|at| at > ctx.now) {
            return;
        }
        self.timers.gap_ms = None;
        if !self.log.has_gap() {
            self.timers.gap_pause_ms = GAP_PAUSE_MS_MIN;
            return;
        }
        // Until somebody has not answered, somebody may have what is missing.
        let all_answered = self.links.by_peer.values().all(|l| l.complete_ms > self.timers.gap_since_ms);
        let pause = self.timers.gap_pause_ms;
        if pause <= GAP_PAUSE_MS_MAX && !(all_answered && pause >= GAP_PAUSE_MS_SURE) {
            self.timers.gap_pause_ms *= 2;
            self.ask_everybody(ctx.now);
            return;
        }
        self.timers.gap_pause_ms = GAP_PAUSE_MS_MIN;
        if !all_answered {
            return self.log.drop_parked();
        }
        let accepted = self.log.give_up_waiting(ctx.wall);
        if !accepted.is_empty() {
            self.take_in(ctx, accepted);
            self.ask_everybody(ctx.now);
        }
    }

    /// A peer names another entry than ours in a place of a chain: the chain forked, or the peer lies. Its copy of the chain
    /// is asked for from the beginning, once, which brings the proof.
    fn recheck(&mut self, peer: &Peer, frontier: &Frontier) -> bool {
        let Some(device) = self.log.contradicted(frontier) else { return false };
        let Some(link) = self.links.by_peer.get_mut(peer) else { return false };
        if link.rechecks.len() >= RECHECKS_PER_LINK_MAX || link.rechecks.contains_key(&device) {
            return false;
        }
        link.rechecks.insert(device, true);
        true
    }

    /// What this node has, as it tells a peer that it asks.
    fn frontier_for(&mut self, peer: &Peer) -> Frontier {
        let mut frontier = self.log.frontier();
        if let Some(link) = self.links.by_peer.get_mut(peer) {
            frontier.retain(|(device, _, _)| !link.rechecks.get_mut(device).is_some_and(std::mem::take));
            for (device, seq, hash) in &mut frontier {
                // Its branch is refused here: as if we had it, so that it does not fill the page.
                if let Some(branch) = link.branches.get(device) {
                    (*seq, *hash) = *branch;
                }
            }
        }
        frontier
    }

    /// A run came by gossip but something before it is missing: whoever handed it over should have it.
    pub(crate) fn gap(&mut self, ctx: &mut Ctx<'_>, peer: &Peer) {
        self.planner.want(peer, ctx.now + GAP_DELAY_MS);
        self.touched = true;
    }

    fn ask_everybody(&mut self, at: u64) {
        for peer in self.links.peers() {
            self.planner.want(&peer, at);
        }
    }

    /// A member said what it has; if that is more than we have, ask it, or else the peer that handed the beacon over.
    pub(crate) fn compare(&mut self, ctx: &mut Ctx<'_>, via: &Peer, device: &DeviceId, frontier: &Frontier) {
        if self.log.lacks(frontier) && !planted!(BeaconIgnored) {
            let peer = self.links.peer_of(device).unwrap_or(via).clone();
            self.planner.want(&peer, ctx.now + GAP_DELAY_MS);
            self.touched = true;
        }
    }

    /// A member told everybody what it has: if that is what we have, nobody needs to hear it from us as well.
    pub(crate) fn heard_beacon(&mut self, frontier: &Frontier) {
        if self.timers.hint_ms.is_some() && self.log.frontier() == *frontier {
            self.timers.hint_ms = None;
            self.touched = true;
        }
    }

    /// A request of ours failed.
    pub(crate) fn request_failed(&mut self, ctx: &mut Ctx<'_>, peer: &Peer, request: RequestId) {
        if self.planner.landed(request) {
            self.planner.failed(peer, ctx.now);
            self.touched = true;
        }
        if let Some(link) = self.links.by_peer.get_mut(peer)
            && link.hello == Some(request)
        {
            link.hello = None;
            link.hello_due_ms = Some(ctx.now + HELLO_RETRY_MS);
            self.touched = true;
        }
    }

    // ---- the one place where a room sends ---------------------------------------------------------------------------

    /// Does everything that is due and leaves the next time in the timers.
    pub(crate) fn poll(&mut self, ctx: &mut Ctx<'_>) {
        self.sign_pending(ctx);
        if !self.row.left {
            self.refresh_presence(ctx);
            self.send_hellos(ctx);
            self.send_presence(ctx);
            self.pump(ctx, false);
            self.send_acks(ctx);
            self.mind_the_gap(ctx);
            self.send_sync(ctx);
            self.send_beacon(ctx);
        }
        if std::mem::take(&mut self.view_dirty) {
            ctx.step.views.push(self.view(ctx.keys.device_id()));
        }
        self.touched = false;
        self.timers.due_ms = self.next_due(ctx.now);
    }

    fn next_due(&self, now: u64) -> u64 {
        if self.row.left {
            return u64::MAX;
        }
        let hello = self.links.by_peer.values().filter_map(|l| l.hello_due_ms);
        let expiry = self.links.present.values().map(|p| p.heard_ms + PRESENCE_TTL_MS);
        let window = self.outbox.first().and_then(|_| self.links.holding_from(now, &self.members)).map(|h| h.1);
        let connected = !self.links.is_empty();
        let own = connected.then(|| self.timers.presence_ms.min(self.timers.beacon_due()));
        let all = hello.chain(expiry).chain(window).chain(own).chain(self.owed.next_due()).chain(self.planner.next_due());
        let all = all.chain(connected.then_some(self.timers.gap_ms).flatten());
        all.min().unwrap_or(u64::MAX).max(now + 1)
    }

    fn refresh_presence(&mut self, ctx: &mut Ctx<'_>) {
        let before = self.links.present.len();
        self.links.present.retain(|_, p| p.heard_ms + PRESENCE_TTL_MS > ctx.now);
        if before == self.links.present.len() && !std::mem::take(&mut self.links.dirty) {
            return;
        }
        let direct: BTreeSet<DeviceId> = self.links.by_peer.values().filter_map(|l| l.device).collect();
        let online: BTreeSet<DeviceId> = self.links.present.keys().copied().chain(direct.iter().copied()).collect();
        let mine = direct_set(direct.iter().chain([&ctx.keys.device_id()]));
        let all_known = self.links.by_peer.values().all(|l| l.device.is_some());
        self.links.full_mesh = all_known && self.links.present.values().all(|p| p.direct == mine);
        let changes: Vec<DeviceId> = online.symmetric_difference(&self.links.online).copied().collect();
        for device in changes {
            let name = self.members.get(&device).map(|m| m.name.clone()).unwrap_or_default();
            let event = Event::PresenceChanged { room: self.row.room, device, name, online: online.contains(&device) };
            ctx.step.events.push(event);
        }
        self.links.online = online;
        self.view_dirty = true;
    }

    fn own_presence(&self, ctx: &Ctx<'_>) -> Vec<u8> {
        let own = ctx.keys.device_id();
        let direct = direct_set(self.links.by_peer.values().filter_map(|l| l.device.as_ref()).chain([&own]));
        VerifiedPresence::issue(ctx.keys, self.row.room, ctx.me, direct, ctx.wall + PRESENCE_TTL_MS)
    }

    fn send_hellos(&mut self, ctx: &mut Ctx<'_>) {
        let due = |l: &Link| l.hello_due_ms.is_some_and(|d| d <= ctx.now);
        let peers: Vec<Peer> = self.links.by_peer.iter().filter(|(_, l)| due(l)).map(|(p, _)| p.clone()).collect();
        if peers.is_empty() {
            return;
        }
        let presence = self.own_presence(ctx);
        for peer in peers {
            let request = ctx.next_request();
            let bytes = wire::hello_request(&self.keys, ctx.me, &peer, presence.clone());
            if let Some(link) = self.links.by_peer.get_mut(&peer) {
                link.hello = Some(request);
                link.hello_due_ms = None;
            }
            ctx.step.sends.push(Send { peer, request, room: self.row.room, bytes, wants_page: false });
        }
    }

    fn send_presence(&mut self, ctx: &mut Ctx<'_>) {
        if self.links.is_empty() || self.timers.presence_ms > ctx.now {
            return;
        }
        self.timers.presence_ms = ctx.now + PRESENCE_INTERVAL_MS;
        let presence = self.own_presence(ctx);
        let bytes = wire::envelope_of_presence(&self.keys, ctx.wall, ctx.nonce(), presence);
        ctx.step.publishes.push(Publish { room: self.row.room, topic: self.keys.topic, bytes });
    }

    /// Publishes own runs while the window allows. Without links there is nobody to publish to: sync will deliver.
    pub(crate) fn pump(&mut self, ctx: &mut Ctx<'_>, all: bool) {
        if self.links.is_empty() {
            self.outbox.clear();
        }
        while let Some(first) = self.outbox.first() {
            let holding = self.links.holding_from(ctx.now, &self.members);
            if !all && holding.is_some_and(|(acked, _)| first >= acked + WINDOW_ENTRIES) {
                return;
            }
            let Some((seq, run)) = self.outbox.pop() else { return };
            let below = seq + run.len() as u64;
            for link in self.links.by_peer.values_mut() {
                let acked = link.device.and_then(|d| self.members.get(&d)).map_or(0, |m| m.acked);
                if link.sent_below <= acked {
                    link.waiting_since_ms = ctx.now;
                }
                link.sent_below = below;
            }
            let bytes = wire::envelope_of_run(&self.keys, ctx.wall, ctx.nonce(), &run);
            ctx.step.publishes.push(Publish { room: self.row.room, topic: self.keys.topic, bytes });
            self.view_dirty = true;
        }
        if std::mem::take(&mut self.outbox.skipped) {
            self.timers.beacon_ms = self.timers.beacon_ms.min(ctx.now);
        }
    }

    fn send_acks(&mut self, ctx: &mut Ctx<'_>) {
        for author in self.owed.take_due(ctx.now) {
            // An author that is not connected learns from the next beacon.
            let Some(peer) = self.links.peer_of(&author).cloned() else { continue };
            let mut frontier = self.log.frontier_of(&author);
            if planted!(AckAhead) {
                frontier.iter_mut().for_each(|f| f.1 += 1);
            }
            let ack = VerifiedAck::issue(ctx.keys, self.row.room, &frontier);
            let request = ctx.next_request();
            let bytes = wire::ack_request(&self.keys, ctx.me, &peer, ack);
            ctx.step.sends.push(Send { peer, request, room: self.row.room, bytes, wants_page: false });
        }
    }

    fn send_sync(&mut self, ctx: &mut Ctx<'_>) {
        if let Some(peer) = self.planner.expire(ctx.now) {
            self.planner.failed(&peer, ctx.now);
        }
        let Some(peer) = self.planner.take_due(ctx.now) else { return };
        if !self.links.by_peer.contains_key(&peer) {
            self.planner.forget(&peer);
            return;
        }
        let request = ctx.next_request();
        let max = u32::try_from(self.planner.page_bytes(&peer)).unwrap_or(u32::MAX);
        let frontier = self.frontier_for(&peer);
        let bytes = wire::sync_request(&self.keys, ctx.me, &peer, &frontier, max);
        self.planner.sent(peer.clone(), request, ctx.now);
        ctx.step.sends.push(Send { peer, request, room: self.row.room, bytes, wants_page: true });
    }

    fn send_beacon(&mut self, ctx: &mut Ctx<'_>) {
        if self.links.is_empty() || self.timers.beacon_due() > ctx.now || planted!(NoBeacon) {
            return;
        }
        if self.timers.hint_ms.take_if(|at| *at <= ctx.now).is_some() {
            // A hint speaks for entries and comes early; the beacon after silence, which also acknowledges, still follows.
            self.timers.hinted_ms = ctx.now;
        } else {
            self.timers.changed_ms = None;
            self.timers.beacon_ms = ctx.now + BEACON_INTERVAL_MS;
        }
        let ack = VerifiedAck::issue(ctx.keys, self.row.room, &self.log.frontier());
        let bytes = wire::envelope_of_beacon(&self.keys, ctx.wall, ctx.nonce(), ack);
        ctx.step.publishes.push(Publish { room: self.row.room, topic: self.keys.topic, bytes });
    }
}

/// One page of a sync answer.
#[derive(Debug)]
pub(crate) struct PageIn {
    pub request: RequestId,
    pub runs: Vec<VerifiedRun>,
    pub frontier: Frontier,
    pub more: bool,
    pub fault: bool,
}
