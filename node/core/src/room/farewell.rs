//! Leaving is said, and heard, before it is done: for a moment after it was left a room is still
//! followed, until the members who are connected have acknowledged the goodbye (PROTOCOL.md 5.6).
//! For the user it is left at once. Nothing new is taken in meanwhile, and nothing else is said.

use crate::ctx::Ctx;
use crate::limits::{FAREWELL_MS, FAREWELL_PAUSE_MS};
use crate::room::Room;
use crate::step::{TopicChange, Write};

impl Room {
    /// Whether its topic is followed: it was not left, or the goodbye is still being said.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        !self.row.left || self.farewell_until_ms.is_some()
    }

    /// The room is left. The goodbye goes out whatever the window says: nothing follows it.
    pub(crate) fn leave(&mut self, ctx: &mut Ctx<'_>) {
        self.row.left = true;
        ctx.step.writes.push(Write::Room(self.row.clone()));
        self.pump(ctx, true);
        self.farewell_until_ms = Some(ctx.now + FAREWELL_MS);
        self.timers.beacon_ms = ctx.now + FAREWELL_PAUSE_MS;
        self.touched = true;
        self.view_dirty = true;
    }

    /// Until when the goodbye is said at most, if it is.
    pub(crate) fn farewell_until(&self) -> Option<u64> {
        self.farewell_until_ms
    }

    /// The core began anew during a farewell. That the room was left is on disk, or it was not left.
    pub(crate) fn restore_farewell(&mut self, until: u64, now: u64) {
        if self.row.left {
            self.farewell_until_ms = Some(until);
            self.timers.beacon_ms = now + FAREWELL_PAUSE_MS;
            self.touched = true;
        }
    }

    /// The room is joined, for the first time or again.
    pub(crate) fn come_in(&mut self, ctx: &mut Ctx<'_>) {
        self.row.left = false;
        if self.farewell_until_ms.take().is_some() {
            // What was said meanwhile was not taken in, but nobody has noticed: the links stand.
            for peer in self.links.peers() {
                self.link_renewed(ctx, &peer);
            }
        }
    }

    /// The room is followed no longer.
    pub(crate) fn stop_following(&mut self, ctx: &mut Ctx<'_>) {
        self.farewell_until_ms = None;
        self.unlink_all(ctx);
        ctx.step.topics.push(TopicChange::Unsubscribe(self.keys.topic));
        self.view_dirty = true;
    }

    /// Ends the farewell when it was heard or took long enough; until then says again and again how
    /// far the own chain goes, so that whoever missed the goodbye asks for it.
    pub(super) fn say_goodbye(&mut self, ctx: &mut Ctx<'_>) {
        let Some(until) = self.farewell_until_ms else { return };
        let written = self.log.next_seq(&ctx.keys.device_id());
        let has_all = |d| self.members.get(d).is_some_and(|m| m.acked >= written);
        let members = self.links.by_peer.values().filter_map(|l| l.device.as_ref());
        let mut members = members.filter(|d| self.log.knows(d));
        if ctx.now >= until || planted!(GoodbyeOnce) || members.all(has_all) {
            return self.stop_following(ctx);
        }
        if self.timers.beacon_ms <= ctx.now {
            self.send_beacon(ctx);
            self.timers.beacon_ms = ctx.now + FAREWELL_PAUSE_MS;
        }
    }

    /// When there is something to do for it.
    pub(super) fn farewell_due(&self) -> u64 {
        self.farewell_until_ms.map_or(u64::MAX, |until| until.min(self.timers.beacon_ms))
    }

    /// Members other than this device who have everything that it wrote here.
    pub(super) fn up_to_date(&self, own: &crate::ids::DeviceId) -> usize {
        let written = self.log.next_seq(own);
        self.members.values().filter(|m| m.device != *own && m.acked >= written).count()
    }
}
