//! What others have of what this device wrote in a room: which acknowledgements count, and what
//! they mean for delivery (PROTOCOL.md 9.1). Saying what this device has is `poll.rs`.

use crate::ctx::Ctx;
use crate::event::{Delivery, Event};
use crate::ids::DeviceId;
use crate::limits::RECIPIENT_MS;
use crate::room::Room;
use crate::step::Write;
use crate::wire::Frontier;

impl Room {
    /// A member said, signed, what is on its disk.
    pub(crate) fn acknowledged(
        &mut self,
        ctx: &mut Ctx<'_>,
        device: DeviceId,
        frontier: &Frontier,
    ) {
        let own = ctx.keys.device_id();
        if device == own {
            return;
        }
        if !self.log.knows(&device) {
            return;
        }
        self.heard(ctx, device);
        let Some((_, seq, hash)) =
            frontier.iter().find(|f| f.0 == own.prefix() || planted!(CountAnyAck))
        else {
            return;
        };
        // It counts for the very entry that is named. Another one in that place, or a place that is
        // not written yet, is the history of this device from which it was restored: the entries
        // themselves, which only this device can have signed, will tell (`fall_behind`). A claim
        // alone must not silence anybody.
        if !self.log.holds_at(own.prefix(), *seq, hash) && !planted!(CountAnyAck) {
            return;
        }
        let have = seq.saturating_add(1).min(self.log.next_seq(&own));
        let row = self.member_row(device);
        if have <= row.acked {
            return;
        }
        row.acked = have;
        let room = self.id();
        self.links.progressed(device, ctx.now, &self.members);
        ctx.step.writes.push(Write::Acked { room, device, seq: have - 1 });
        let state = self.delivery(own, have - 1, ctx.wall);
        ctx.tell(Event::DeliveryChanged { room, direct: false, upto_seq: have - 1, state });
        self.touched = true;
    }

    fn delivery(&self, own: DeviceId, seq: u64, now: u64) -> Delivery {
        let others = || self.members.values().filter(|m| m.device != own);
        let n = others().filter(|m| m.acked > seq).count();
        let m = others()
            .filter(|m| m.acked > seq || now.saturating_sub(m.last_seen_ms) < RECIPIENT_MS)
            .count();
        Delivery::Delivered {
            n: u32::try_from(n).unwrap_or(u32::MAX),
            m: u32::try_from(m).unwrap_or(u32::MAX),
        }
    }
}
