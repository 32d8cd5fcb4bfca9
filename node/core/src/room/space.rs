//! What a room takes on the disk: its space, the bodies that did not fit, and those that are
//! lacking for other reasons (PROTOCOL.md 8.4).

use std::collections::BTreeSet;

use crate::content::{Content, Kind};
use crate::crypto::Context;
use crate::ctx::Ctx;
use crate::event::Event;
use crate::ids::{DeviceId, EntryId, Peer};
use crate::limits::{SERVE_PER_S, SPACE_FREE_PERCENT};
use crate::log::entry::{VerifiedBody, VerifiedEntry};
use crate::room::Room;
use crate::step::{EntryRow, Lack, Lend, RequestId, Send, Token, Write};
use crate::wire;

impl Room {
    /// The space for bodies changed.
    pub(crate) fn set_disk_budget(&mut self, bytes: u64) {
        self.disk_budget = bytes;
        self.touched = true;
    }

    /// Whether a body of this kind and size fits. Without the small bodies of some kinds nobody
    /// knows who somebody is, or what was deleted.
    fn fits(&self, kind: u8, bytes: u64) -> bool {
        let needed = [Kind::Profile, Kind::Delete, Kind::Leave].iter().any(|k| k.code() == kind);
        needed || self.bytes.saturating_add(bytes) <= self.disk_budget
    }

    pub(super) fn apply_budget(&mut self, ctx: &mut Ctx<'_>, row: &mut EntryRow) {
        if row.entry.body.is_some() && !self.fits(row.kind, row.entry.len() as u64) {
            (row.entry.body, row.lack) = (None, Some(Lack::NotKept));
            self.is_full(ctx);
        }
        self.bytes += row.entry.len() as u64;
    }

    fn is_full(&mut self, ctx: &mut Ctx<'_>) {
        self.bodies.full = true;
        if !self.row.over_budget {
            self.row.over_budget = true;
            ctx.step.writes.push(Write::Room(self.row.clone()));
            ctx.record(Event::DiskBudgetReached { room: self.id() });
        }
    }

    /// Deleted bodies take no space any more.
    pub(crate) fn space_freed(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.touched = true;
    }

    /// Texts are kept again once there is space, and those that were not are asked for.
    fn mind_the_space(&mut self, ctx: &mut Ctx<'_>) {
        let enough = self.disk_budget / 100 * (100 - SPACE_FREE_PERCENT);
        if !self.row.over_budget {
            return;
        }
        if self.bytes > enough {
            self.bodies.full = true;
            return;
        }
        self.row.over_budget = false;
        ctx.step.writes.push(Write::Room(self.row.clone()));
        self.bodies.space(ctx.now);
    }

    /// A body on the own disk is not what its header names: it is asked for.
    pub(crate) fn body_rotted(&mut self, ctx: &mut Ctx<'_>, entry: EntryId) {
        if self.log.meta(&entry).is_none() || self.bodies.lack(&entry).is_some() {
            return;
        }
        let lack = Lack::Damaged;
        ctx.step.writes.push(Write::Lack { room: self.id(), entry, lack });
        self.bodies.want(entry, lack, ctx.now);
        self.touched = true;
    }

    /// Asks a proved peer for bodies, if it is time.
    pub(super) fn ask_for_bodies(&mut self, ctx: &mut Ctx<'_>) {
        self.mind_the_space(ctx);
        if self.bodies.len() == 0 {
            return;
        }
        let linked = self.links.by_peer.iter().filter(|(_, l)| l.device.is_some());
        let proved: BTreeSet<Peer> = linked.map(|(p, _)| p.clone()).collect();
        self.bodies.peers(&proved, ctx.now);
        let Some((peer, entries)) = self.bodies.take_due(ctx.now) else { return };
        let request = ctx.next_request();
        self.bodies.sent(request);
        let bytes = wire::bodies_request(&self.keys, ctx.me, &peer, &entries);
        ctx.step.sends.push(Send {
            peer,
            request,
            room: self.id(),
            bytes,
            wants_page: false,
            wants_bodies: true,
        });
    }

    /// A proved member asks for bodies.
    pub(crate) fn lend(
        &mut self,
        ctx: &mut Ctx<'_>,
        peer: &Peer,
        token: Token,
        entries: Vec<EntryId>,
    ) {
        self.proved(ctx, peer);
        let link = self.links.by_peer.get_mut(peer);
        let allowed =
            link.is_some_and(|l| l.serves.take(1, SERVE_PER_S, 1_000, SERVE_PER_S * 10, ctx.now));
        if !allowed {
            ctx.step.responds.push((token, wire::response_refused()));
            return;
        }
        ctx.step.lends.push(Lend {
            peer: peer.clone(),
            token,
            room: self.id(),
            entries,
            proof: self.keys.proof(Context::PROOF_RESPONSE, ctx.me, peer),
        });
    }

    /// Bodies came that were asked for: takes in those that are still lacking.
    pub(crate) fn bodies_came(
        &mut self,
        ctx: &mut Ctx<'_>,
        request: RequestId,
        bodies: wire::Bodies,
    ) {
        let (mut new, answered) = (0, bodies.len());
        for (id, body) in bodies {
            let lack = self.bodies.lack(&id).filter(|_| self.bodies.asked(request, &id));
            if let (Some(lack), Some(body)) = (lack, body)
                && self.take_in_body(ctx, &body, lack)
            {
                new += 1;
            }
        }
        self.bodies.landed(request, answered, new > 0, ctx.now);
        if new > 0 {
            ctx.tell(Event::BodiesAdded { room: self.id(), count: new });
        }
        self.touched = true;
    }

    /// Whether the body is kept now.
    fn take_in_body(&mut self, ctx: &mut Ctx<'_>, body: &VerifiedBody, lack: Lack) -> bool {
        let (room, entry, kind) = (self.id(), body.id(), body.header().kind);
        let bytes = body.body().len() as u64;
        if !self.fits(kind.code(), bytes) {
            if lack != Lack::NotKept {
                let lack = Lack::NotKept;
                ctx.step.writes.push(Write::Lack { room, entry, lack });
                self.bodies.want(entry, lack, ctx.now);
            }
            self.is_full(ctx);
            return false;
        }
        self.bytes += bytes;
        self.bodies.done(&entry);
        let target = body.content().target();
        ctx.step.writes.push(Write::Body { room, entry, target, body: body.body().clone() });
        if let Some(gone) = self.deleted_by(body.header().device, Some(body.content())) {
            self.bodies.done(&gone);
            ctx.step.writes.push(Write::DropBody { room, entry: gone });
        }
        true
    }

    /// A delete by the author of its target drops the target's body here.
    pub(super) fn body_to_drop(&self, entry: &VerifiedEntry) -> Option<EntryId> {
        self.deleted_by(entry.header.device, entry.content.as_ref())
    }

    fn deleted_by(&self, device: DeviceId, content: Option<&Content>) -> Option<EntryId> {
        let Some(Content::Delete { target }) = content else { return None };
        let (target, meta) = (*target, self.log.meta(target)?);
        if planted!(KeepDeleted) {
            return None;
        }
        (meta.author == device.prefix() || planted!(AnyoneDeletes)).then_some(target)
    }
}

/// The message whose words are in an entry: its own, or the one that it edits.
pub(super) fn words_of(entry: &VerifiedEntry) -> Option<EntryId> {
    match &entry.content {
        Some(Content::Text { .. } | Content::Notice { .. }) => Some(entry.hash.id()),
        Some(Content::Edit { target, .. }) => Some(*target),
        _ => None,
    }
}
