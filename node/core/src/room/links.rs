//! The connected peers of a room and the devices that are present: how links come and go, and what
//! signed presence says. What is asked over them is in `exchange.rs`; what is sent, and when, in
//! `poll.rs`.

use std::collections::{BTreeMap, BTreeSet};

use crate::bucket::Bucket;
use crate::ctx::Ctx;
use crate::ids::{DeviceId, DeviceShort, Digest, HashShort, Peer};
use crate::limits::{
    GAP_DELAY_MS, LAG_ENTRIES, LINKS_MAX, PRESENCE_DEBOUNCE_MS, PRESENCE_MAX, SERVE_PER_S,
    SYNC_BACKOFF_MS_MIN, WINDOW_PATIENCE_MS,
};
use crate::presence::VerifiedPresence;
use crate::room::Room;
use crate::step::{DeviceRow, RequestId};

/// The connected peers of a room and the devices that are present.
#[derive(Debug, Default)]
pub struct Links {
    pub(super) by_peer: BTreeMap<Peer, Link>,
    pub(super) present: BTreeMap<DeviceId, Present>,
    /// Devices present now, this one excluded.
    pub online: BTreeSet<DeviceId>,
    /// Every present device is directly connected to every other: nobody needs to forward.
    pub full_mesh: bool,
    pub(super) dirty: bool,
}

/// A connected peer that follows the topic. Anybody can: until it has shown that it holds the
/// room's key, by a hello or a request, it gets hellos and nothing is asked of it or waits for it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) device: Option<DeviceId>,
    /// It has shown that it is a member.
    pub(super) proved: bool,
    pub(super) hello: Option<RequestId>,
    pub(super) hello_due_ms: Option<u64>,
    /// Hellos that were refused or lost, one after the other.
    pub(super) hellos_failed: u32,
    /// Own entries below this position were put on this link.
    pub(super) sent_below: u64,
    /// Since when something is unacknowledged without progress.
    pub(super) waiting_since_ms: u64,
    /// Since when it has acknowledged [`LAG_ENTRIES`] less than the fastest.
    pub(super) lagging_since_ms: Option<u64>,
    pub(super) serves: Bucket,
    pub(super) synced: bool,
    /// When it last sent the end of what it can give us.
    pub(super) complete_ms: u64,
    /// Chains to be read again from their beginning (`false`: that was asked already).
    pub(super) rechecks: BTreeMap<DeviceShort, bool>,
    /// How far it has the chains that forked.
    pub(super) branches: BTreeMap<DeviceShort, (u64, HashShort)>,
}

#[derive(Debug)]
pub(super) struct Present {
    pub(super) expires_ms: u64,
    pub(super) heard_ms: u64,
    pub(super) direct: Digest,
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
        self.by_peer
            .values()
            .filter(|l| l.device.is_some())
            .map(|l| l.sent_below)
            .max()
            .unwrap_or(0)
    }

    pub(super) fn peer_of(&self, device: &DeviceId) -> Option<&Peer> {
        self.by_peer.iter().find(|(_, l)| l.device.as_ref() == Some(device)).map(|(p, _)| p)
    }

    /// The link that holds the window back: unacknowledged entries, and progress within the
    /// patience. Returns the smallest acknowledged position among those links, and when the first
    /// of them loses its say.
    #[must_use]
    pub fn holding_from(
        &self,
        now: u64,
        members: &BTreeMap<DeviceId, DeviceRow>,
    ) -> Option<(u64, u64)> {
        let holding = self.by_peer.values().filter_map(|l| {
            let acked = members.get(&l.device?).map_or(0, |m| m.acked);
            let since = l.waiting_since_ms.min(l.lagging_since_ms.unwrap_or(u64::MAX));
            let until = since + WINDOW_PATIENCE_MS;
            if planted!(WindowStuck) {
                return Some((0, u64::MAX));
            }
            (l.sent_below > acked && now < until).then_some((acked, until))
        });
        holding.reduce(|a, b| (a.0.min(b.0), a.1.min(b.1)))
    }

    /// A device acknowledged more. Who lags behind the fastest is timed from then on: that it goes on,
    /// a little at a time, renews the patience with it no more.
    pub fn progressed(
        &mut self,
        device: DeviceId,
        now: u64,
        members: &BTreeMap<DeviceId, DeviceRow>,
    ) {
        for link in self.by_peer.values_mut().filter(|l| l.device == Some(device)) {
            link.waiting_since_ms = now;
        }
        if planted!(PatienceRenewed) {
            return;
        }
        let acked = |link: &Link| link.device.map(|d| members.get(&d).map_or(0, |m| m.acked));
        let fastest = self.by_peer.values().filter_map(acked).max().unwrap_or(0);
        for link in self.by_peer.values_mut() {
            let lags = acked(link).is_some_and(|a| fastest - a >= LAG_ENTRIES);
            let since = link.lagging_since_ms.unwrap_or(now);
            link.lagging_since_ms = lags.then_some(since);
        }
    }
}

impl Room {
    /// A peer is linked and follows the room's topic, or proved membership in a request.
    pub(crate) fn link_up(&mut self, ctx: &mut Ctx<'_>, peer: &Peer) {
        if self.row.left
            || self.links.by_peer.contains_key(peer)
            || self.links.by_peer.len() >= LINKS_MAX
        {
            return;
        }
        let link = Link {
            device: None,
            proved: false,
            hello: None,
            hello_due_ms: Some(ctx.now),
            hellos_failed: 0,
            sent_below: 0,
            waiting_since_ms: ctx.now,
            lagging_since_ms: None,
            serves: Bucket::full(SERVE_PER_S * 10, ctx.now),
            synced: false,
            complete_ms: 0,
            rechecks: BTreeMap::new(),
            branches: BTreeMap::new(),
        };
        self.links.by_peer.insert(peer.clone(), link);
        if planted!(AskAnybody) {
            self.planner.want(peer, ctx.now);
        }
        self.links.dirty = true;
        self.touched = true;
        self.view_dirty = true;
    }

    /// A peer showed that it holds the room's key: from now on it is asked, too. Where there are
    /// too many links, it takes the place of one that has shown nothing.
    pub(crate) fn proved(&mut self, ctx: &mut Ctx<'_>, peer: &Peer) {
        let by_peer = &self.links.by_peer;
        if by_peer.len() >= LINKS_MAX && !by_peer.contains_key(peer) {
            let stranger = by_peer.iter().find(|(_, l)| !l.proved).map(|(p, _)| p.clone());
            if let Some(stranger) = stranger {
                self.link_down(ctx, &stranger);
            }
        }
        self.link_up(ctx, peer);
        let Some(link) = self.links.by_peer.get_mut(peer) else { return };
        if !std::mem::replace(&mut link.proved, true) {
            self.planner.want(peer, ctx.now);
            self.links.dirty = true;
            self.touched = true;
            self.view_dirty = true;
        }
    }

    /// The link is there, but what was said over it may be lost: say hello again, ask again, count
    /// nothing as sent that was not acknowledged. The device stays known, or it would seem to go
    /// and come back at every change of address.
    pub(crate) fn link_renewed(&mut self, ctx: &mut Ctx<'_>, peer: &Peer) {
        let Some(link) = self.links.by_peer.get_mut(peer) else { return };
        let acked = link.device.and_then(|d| self.members.get(&d)).map_or(0, |m| m.acked);
        (link.hello, link.hello_due_ms, link.hellos_failed) = (None, Some(ctx.now), 0);
        link.sent_below = link.sent_below.min(acked);
        link.waiting_since_ms = ctx.now;
        link.complete_ms = 0;
        link.rechecks.clear();
        // An acknowledgement may be among what was lost.
        if let Some(device) = link.device.filter(|d| self.log.knows(d)) {
            self.owed.add(device, 0, ctx.now);
        }
        if link.proved {
            self.planner.renewed(peer, ctx.now);
        }
        self.timers.presence_ms = self.timers.presence_ms.min(ctx.now + PRESENCE_DEBOUNCE_MS);
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
                (link.device, link.proved) = (Some(device), true);
                self.planner.want(&peer, 0);
                self.links.dirty = true;
            }
        }
    }

    /// All links end: the room was left.
    pub(crate) fn unlink_all(&mut self, ctx: &mut Ctx<'_>) {
        for peer in self.links.peers() {
            self.link_down(ctx, &peer);
        }
        for device in std::mem::take(&mut self.links.online) {
            self.gone(ctx, device, ctx.wall);
        }
        self.links.present.clear();
        self.links.full_mesh = false;
        self.links.dirty = true;
    }

    /// Something was not delivered to a peer: it will miss entries that we count as sent, so
    /// exchange frontiers.
    pub(crate) fn peer_slow(&mut self, ctx: &mut Ctx<'_>, peer: &Peer) {
        if let Some(link) = self.links.by_peer.get_mut(peer) {
            // What was put on this link may not have left: it counts as sent again when the peer
            // says what it has.
            let acked = link.device.and_then(|d| self.members.get(&d)).map_or(0, |m| m.acked);
            link.sent_below = link.sent_below.min(acked);
            self.view_dirty = true;
            self.ask(peer, ctx.now + GAP_DELAY_MS);
            // The peer learns from a beacon soon that it lacks something.
            self.timers.beacon_ms = self.timers.beacon_ms.min(ctx.now + SYNC_BACKOFF_MS_MIN);
            self.touched = true;
        }
    }

    /// Signed presence: tells that a device is there and whom it is connected to. Only a hello,
    /// said by the peer itself over an authenticated link, binds the device to the peer: by gossip
    /// a member could claim somebody else's peer id. Returns whether it is news.
    pub(crate) fn present(
        &mut self,
        ctx: &mut Ctx<'_>,
        presence: &VerifiedPresence,
        hello: bool,
    ) -> bool {
        let device = presence.device;
        if device == ctx.keys.device_id() {
            return false;
        }
        if hello
            && let Some(link) = self.links.by_peer.get_mut(&presence.peer)
            && std::mem::take(&mut link.hellos_failed) > 0
            && link.hello_due_ms.is_some()
        {
            // It is here, and does not know that we are.
            link.hello_due_ms = Some(ctx.now);
            self.touched = true;
        }
        if hello
            && let Some(link) = self.links.by_peer.get_mut(&presence.peer)
            && link.device != Some(device)
        {
            link.device = Some(device);
            link.waiting_since_ms = ctx.now;
            // What it wrote and we have, it may not know of: acknowledgements went only to whom we
            // were connected with.
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
        let fresh =
            Present { expires_ms: presence.expires_ms, heard_ms: ctx.now, direct: presence.direct };
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
}
