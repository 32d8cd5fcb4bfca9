//! Coming back to a room that was forgotten. What this device wrote there is gone here, but others
//! hold it, and a place in a chain is used once: nothing is written until it has come back
//! (PROTOCOL.md 5.5).

use crate::ctx::Ctx;
use crate::ids::DeviceId;
use crate::log::entry::VerifiedRun;
use crate::room::Room;
use crate::step::{Former, Write};

impl Room {
    /// What has to be remembered when the room is forgotten: nothing, if nobody else was ever seen
    /// here.
    pub(crate) fn former(&self, own: &DeviceId) -> Option<Former> {
        let others = || self.members.values().filter(|m| m.device != *own);
        let before = self.returning.unwrap_or(Former { used: 0, held: 0 });
        let used = self.log.next_seq(own).max(before.used);
        let held = others().map(|m| m.acked).max().unwrap_or(0).max(before.held);
        if self.behind {
            // How far it is elsewhere is not known, and forgetting does not tell.
            return Some(Former::UNKNOWN);
        }
        let alone = self.returning.is_none() && others().next().is_none();
        (used > 0 && !alone).then_some(Former { used, held })
    }

    /// The room was forgotten before.
    pub(crate) fn returns(&mut self, former: Option<Former>) {
        self.returning = former;
        self.behind |= former == Some(Former::UNKNOWN);
    }

    /// Whether a run is what this device wrote before it forgot the room.
    pub(super) fn is_former(&self, run: &VerifiedRun) -> bool {
        let last = run.entries().last().map_or(0, |e| e.header.seq);
        self.returning.is_some_and(|former| last < former.used)
    }

    /// Goes on where this device had stopped, once everything is here: all that it wrote, or all
    /// that was acknowledged if no member that is connected has more of it.
    pub(super) fn come_back(&mut self, ctx: &mut Ctx<'_>) {
        let Some(former) = self.returning else { return };
        let next = self.log.next_seq(&ctx.keys.device_id());
        let mut proved = self.links.by_peer.values().filter(|l| l.device.is_some()).peekable();
        let told = proved.peek().is_some() && proved.all(|l| l.complete_ms > 0);
        let all = next >= former.used || (told && next >= former.held && !self.log.has_gap());
        if !all || self.behind {
            return;
        }
        self.returning = None;
        match self.write_profile(ctx) {
            Ok(()) => ctx.step.writes.push(Write::CameBack { room: self.id() }),
            // Not now: it is tried again with the next page or timer.
            Err(_) => self.returning = Some(former),
        }
    }
}
