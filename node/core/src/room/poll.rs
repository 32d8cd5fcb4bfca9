//! The one place where a room sends: acknowledgements, hellos, presence, own messages within the
//! window, sync requests, beacons. Runs at the end of a batch in which the room was touched, and
//! when one of its times has come; leaves the next time in [`Timers`].

use std::collections::{BTreeMap, BTreeSet};

use crate::ctx::{Ctx, Entropy};
use crate::delivery::{VerifiedAck, bytes_of};
use crate::event::Event;
use crate::ids::{DeviceId, Peer};
use crate::limits::{
    BEACON_INTERVAL_MS, BEACON_SILENCE_MS_MAX, BEACON_SILENCE_MS_MIN, GAP_PAUSE_MS_MIN,
    HINT_MS_MAX, HINT_MS_MIN, HINT_PAUSE_MS, PRESENCE_INTERVAL_MS, PRESENCE_TTL_MS,
};
use crate::presence::{VerifiedPresence, direct_set};
use crate::room::Room;
use crate::room::links::Link;
use crate::step::{Publish, Send};
use crate::wire::{self};

/// When a room has to act by itself.
#[derive(Debug)]
pub struct Timers {
    /// Next time anything is due.
    pub due_ms: u64,
    pub(super) changed_ms: Option<u64>,
    pub(super) silence_ms: u64,
    pub(super) beacon_ms: u64,
    pub(super) presence_ms: u64,
    pub(super) gap_ms: Option<u64>,
    pub(super) gap_pause_ms: u64,
    pub(super) gap_since_ms: u64,
    pub(super) hint_ms: Option<u64>,
    pub(super) hinted_ms: u64,
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

    pub(super) fn beacon_due(&self) -> u64 {
        let due = self
            .changed_ms
            .map_or(self.beacon_ms, |c| (c + self.silence_ms).min(self.beacon_ms.max(c)));
        due.min(self.hint_ms.unwrap_or(u64::MAX))
    }

    /// Something came by sync, which reaches one node only: who is further away is told by a beacon
    /// soon.
    pub(super) fn hint(&mut self, now: u64, rng: &mut dyn Entropy) {
        if self.hint_ms.is_none() {
            let soon = now + rng.between(HINT_MS_MIN, HINT_MS_MAX);
            self.hint_ms = Some(soon.max(self.hinted_ms + HINT_PAUSE_MS));
        }
    }
}

impl Room {
    /// Does everything that is due and leaves the next time in the timers.
    pub(crate) fn poll(&mut self, ctx: &mut Ctx<'_>) {
        if !self.row.left {
            self.come_back(ctx);
        }
        self.sign_pending(ctx);
        if !self.row.left {
            self.refresh_presence(ctx);
            self.send_hellos(ctx);
            self.send_presence(ctx);
            self.pump(ctx, false);
            self.send_acks(ctx);
            self.mind_the_gap(ctx);
            self.send_sync(ctx);
            self.ask_for_bodies(ctx);
            self.send_beacon(ctx);
        } else {
            self.say_goodbye(ctx);
        }
        if std::mem::take(&mut self.view_dirty) {
            ctx.step.views.push(self.view(ctx.keys.device_id()));
        }
        self.touched = false;
        self.timers.due_ms = self.next_due(ctx.now);
    }

    pub(super) fn next_due(&self, now: u64) -> u64 {
        if self.row.left {
            return self.farewell_due().max(now + 1);
        }
        let hello = self.links.by_peer.values().filter_map(|l| l.hello_due_ms);
        let expiry = self.links.present.values().map(|p| p.heard_ms + PRESENCE_TTL_MS);
        let window = self
            .outbox
            .first()
            .and_then(|_| self.links.holding_from(now, &self.members))
            .map(|h| h.1);
        let connected = !self.links.is_empty();
        let own = connected.then(|| self.timers.presence_ms.min(self.timers.beacon_due()));
        let all = hello
            .chain(expiry)
            .chain(window)
            .chain(own)
            .chain(self.owed.next_due())
            .chain(self.planner.next_due())
            .chain(self.bodies.next_due());
        let all = all.chain(connected.then_some(self.timers.gap_ms).flatten());
        all.min().unwrap_or(u64::MAX).max(now + 1)
    }

    pub(super) fn refresh_presence(&mut self, ctx: &mut Ctx<'_>) {
        let before = self.links.present.len();
        let (now, wall) = (ctx.now, ctx.wall);
        let silent = self.links.present.iter().filter(|(_, p)| p.heard_ms + PRESENCE_TTL_MS <= now);
        let silent: BTreeMap<DeviceId, u64> =
            silent.map(|(d, p)| (*d, wall.saturating_sub(now - p.heard_ms))).collect();
        self.links.present.retain(|_, p| p.heard_ms + PRESENCE_TTL_MS > ctx.now);
        if before == self.links.present.len() && !std::mem::take(&mut self.links.dirty) {
            return;
        }
        let direct: BTreeSet<DeviceId> =
            self.links.by_peer.values().filter_map(|l| l.device).collect();
        let online: BTreeSet<DeviceId> =
            self.links.present.keys().copied().chain(direct.iter().copied()).collect();
        let mine = direct_set(direct.iter().chain([&ctx.keys.device_id()]));
        // Who follows the topic and is no member changes nothing: nobody forwards for them.
        let mut members = self.links.by_peer.values().filter(|l| l.proved);
        let all_known = members.all(|l| l.device.is_some());
        let was_mesh = self.links.full_mesh;
        self.links.full_mesh = all_known && self.links.present.values().all(|p| p.direct == mine);
        if was_mesh && !self.links.full_mesh {
            // What came lately was not forwarded, and somebody may lack it now.
            self.timers.hint(ctx.now, ctx.rng);
        }
        let changes: Vec<DeviceId> =
            online.symmetric_difference(&self.links.online).copied().collect();
        for device in changes {
            let name = self.members.get(&device).map(|m| m.name.clone()).unwrap_or_default();
            let event = Event::PresenceChanged {
                room: self.row.room,
                device,
                name,
                name_mark: ctx.directory.mark_in(&self.row.room, &device),
                online: online.contains(&device),
            };
            ctx.tell(event);
            if !online.contains(&device) {
                self.gone(ctx, device, silent.get(&device).copied().unwrap_or(wall));
            }
        }
        self.links.online = online;
        self.view_dirty = true;
    }

    pub(super) fn own_presence(&self, ctx: &Ctx<'_>) -> Vec<u8> {
        let own = ctx.keys.device_id();
        let direct =
            direct_set(self.links.by_peer.values().filter_map(|l| l.device.as_ref()).chain([&own]));
        VerifiedPresence::issue(ctx.keys, self.row.room, ctx.me, direct, ctx.wall + PRESENCE_TTL_MS)
    }

    pub(super) fn send_hellos(&mut self, ctx: &mut Ctx<'_>) {
        let due = |l: &Link| l.hello_due_ms.is_some_and(|d| d <= ctx.now);
        let peers: Vec<Peer> =
            self.links.by_peer.iter().filter(|(_, l)| due(l)).map(|(p, _)| p.clone()).collect();
        if peers.is_empty() {
            return;
        }
        let presence = self.own_presence(ctx);
        for peer in peers {
            let request = ctx.next_request();
            let nonce = ctx.nonce();
            let bytes = wire::hello_request(
                &self.keys,
                ctx.me,
                &peer,
                presence.clone(),
                &ctx.process,
                nonce,
            );
            if let Some(link) = self.links.by_peer.get_mut(&peer) {
                link.hello = Some(request);
                link.hello_due_ms = None;
            }
            ctx.step.sends.push(Send {
                peer,
                request,
                room: self.row.room,
                bytes,
                wants_page: false,
                wants_bodies: false,
            });
        }
    }

    pub(super) fn send_presence(&mut self, ctx: &mut Ctx<'_>) {
        if self.links.is_empty() || self.timers.presence_ms > ctx.now {
            return;
        }
        self.timers.presence_ms = ctx.now + PRESENCE_INTERVAL_MS;
        let presence = self.own_presence(ctx);
        let bytes = wire::envelope_of_presence(&self.keys, ctx.wall, ctx.nonce(), presence);
        ctx.step.publishes.push(Publish { room: self.row.room, topic: self.keys.topic, bytes });
    }

    /// Publishes own runs while the window allows. Without links there is nobody to publish to:
    /// sync will deliver.
    pub(crate) fn pump(&mut self, ctx: &mut Ctx<'_>, all: bool) {
        if self.links.is_empty() {
            self.outbox.clear();
        }
        while let Some(first) = self.outbox.first() {
            let acked = self.links.holding_from(ctx.now, &self.members).map(|holding| holding.0);
            if !self.window.admits(first, acked) && !all {
                return;
            }
            let Some((seq, run)) = self.outbox.pop() else { return };
            let below = seq + run.len() as u64;
            self.window.published(below, bytes_of(&run));
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

    pub(super) fn send_acks(&mut self, ctx: &mut Ctx<'_>) {
        for author in self.owed.take_due(ctx.now) {
            // An author that is not connected learns from the next beacon.
            let Some(peer) = self.links.peer_of(&author).cloned() else { continue };
            let ack = VerifiedAck::issue(ctx.keys, self.row.room, &self.log.frontier_of(&author));
            let request = ctx.next_request();
            let bytes = wire::ack_request(&self.keys, ctx.me, &peer, ack);
            ctx.step.sends.push(Send {
                peer,
                request,
                room: self.row.room,
                bytes,
                wants_page: false,
                wants_bodies: false,
            });
        }
    }

    pub(super) fn send_sync(&mut self, ctx: &mut Ctx<'_>) {
        while let Some(peer) = self.planner.expire(ctx.now) {
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
        ctx.step.sends.push(Send {
            peer,
            request,
            room: self.row.room,
            bytes,
            wants_page: true,
            wants_bodies: false,
        });
    }

    pub(super) fn send_beacon(&mut self, ctx: &mut Ctx<'_>) {
        if self.links.is_empty() || self.timers.beacon_due() > ctx.now || planted!(NoBeacon) {
            return;
        }
        if self.timers.hint_ms.take_if(|at| *at <= ctx.now).is_some() {
            // A hint speaks for entries and comes early; the beacon after silence, which also
            // acknowledges, still follows.
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
