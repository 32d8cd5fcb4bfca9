//! The exact exchange, seen from a room: serving who asks, taking in pages, closing gaps
//! (PROTOCOL.md 8).

use crate::crypto::Context;
use crate::ctx::Ctx;
use crate::event::Event;
use crate::ids::{DeviceId, Peer};
use crate::limits::{
    GAP_DELAY_MS, GAP_PAUSE_MS_MAX, GAP_PAUSE_MS_MIN, GAP_PAUSE_MS_SURE, HELLO_RETRY_MS,
    HELLO_RETRY_MS_MAX, PAGE_BYTES_MAX, RECHECKS_PER_LINK_MAX, SERVE_PER_S, SUMMARY_ABOVE,
};
use crate::log::entry::VerifiedRun;
use crate::room::{Room, Source, Taken};
use crate::step::{RequestId, Serve, Token};
use crate::sync::SyncRequest;
use crate::wire::{self, Frontier};

/// One page of a sync answer.
#[derive(Debug)]
pub(crate) struct PageIn {
    pub request: RequestId,
    pub runs: Vec<VerifiedRun>,
    pub frontier: Frontier,
    pub more: bool,
    pub fault: bool,
}

impl Room {
    /// A proved member asks for what it lacks.
    pub(crate) fn serve(
        &mut self,
        ctx: &mut Ctx<'_>,
        peer: &Peer,
        token: Token,
        request: SyncRequest,
    ) {
        self.proved(ctx, peer);
        let own = ctx.keys.device_id().prefix();
        let has_own =
            request.frontier.iter().find(|f| f.0 == own).map_or(0, |f| f.1.saturating_add(1));
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
                // Pages come in an order in which everything fits: what is missing here will not
                // come later.
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
            link.branches = self
                .log
                .forked_in(&page.frontier)
                .map(|(d, seq, hash)| (*d, (*seq, *hash)))
                .collect();
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
                ctx.tell(Event::Synced { room: self.row.room });
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
    pub(super) fn sum_up(&self, ctx: &mut Ctx<'_>, from: usize, count: usize) {
        let told = ctx.step.events.split_off(from);
        ctx.step
            .events
            .extend(told.into_iter().filter(|t| !matches!(t.event, Event::MessageAdded { .. })));
        let upto = ctx.journal.saturating_sub(1);
        ctx.tell(Event::HistoryAdded { room: self.row.room, count: count as u64, upto });
    }

    /// Runs still wait for something that the last peer asked did not have. Others may: all are
    /// asked, with a pause that doubles. What nobody has after some rounds lies in a refused
    /// branch, or was invented (`Log::give_up_waiting`).
    pub(super) fn mind_the_gap(&mut self, ctx: &mut Ctx<'_>) {
        if self.timers.gap_ms.is_none_or(|at| at > ctx.now) {
            return;
        }
        self.timers.gap_ms = None;
        if !self.log.has_gap() {
            self.timers.gap_pause_ms = GAP_PAUSE_MS_MIN;
            return;
        }
        // Until some member has not answered, somebody may have what is missing.
        let mut members = self.links.by_peer.values().filter(|l| l.proved);
        let all_answered = members.all(|l| l.complete_ms > self.timers.gap_since_ms);
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

    /// A peer names another entry than ours in a place of a chain: the chain forked, or the peer
    /// lies. Its copy of the chain is asked for from the beginning, once, which brings the proof.
    pub(super) fn recheck(&mut self, peer: &Peer, frontier: &Frontier) -> bool {
        let Some(device) = self.log.contradicted(frontier) else { return false };
        let Some(link) = self.links.by_peer.get_mut(peer) else { return false };
        if link.rechecks.len() >= RECHECKS_PER_LINK_MAX || link.rechecks.contains_key(&device) {
            return false;
        }
        link.rechecks.insert(device, true);
        true
    }

    /// What this node has, as it tells a peer that it asks.
    pub(super) fn frontier_for(&mut self, peer: &Peer) -> Frontier {
        let mut frontier = self.log.frontier();
        if let Some(link) = self.links.by_peer.get_mut(peer) {
            frontier.retain(|(device, _, _)| {
                !link.rechecks.get_mut(device).is_some_and(std::mem::take)
            });
            for (device, seq, hash) in &mut frontier {
                // Its branch is refused here: as if we had it, so that it does not fill the page.
                if let Some(branch) = link.branches.get(device) {
                    (*seq, *hash) = *branch;
                }
            }
        }
        frontier
    }

    /// A run came by gossip but something before it is missing: whoever handed it over should have
    /// it.
    pub(crate) fn gap(&mut self, ctx: &mut Ctx<'_>, peer: &Peer) {
        self.ask(peer, ctx.now + GAP_DELAY_MS);
        self.touched = true;
    }

    pub(super) fn ask_everybody(&mut self, at: u64) {
        for (peer, _) in self.links.by_peer.iter().filter(|(_, l)| l.proved) {
            self.planner.want(peer, at);
        }
    }

    /// A peer seems to have more than we do. If it has not shown that it is a member, the members
    /// are asked: whoever passes something on need not be one.
    pub(super) fn ask(&mut self, peer: &Peer, at: u64) {
        if self.links.by_peer.get(peer).is_some_and(|l| l.proved) {
            self.planner.want(peer, at);
        } else {
            self.ask_everybody(at);
        }
    }

    /// A member said what it has; if that is more than we have, ask it, or else the peer that
    /// handed the beacon over.
    pub(crate) fn compare(
        &mut self,
        ctx: &mut Ctx<'_>,
        via: &Peer,
        device: &DeviceId,
        frontier: &Frontier,
    ) {
        let peer = self.links.peer_of(device).unwrap_or(via).clone();
        if self.log.lacks(frontier) | self.recheck(&peer, frontier) && !planted!(BeaconIgnored) {
            self.ask(&peer, ctx.now + GAP_DELAY_MS);
            self.touched = true;
        }
    }

    /// A member told everybody what it has: if that is what we have, nobody needs to hear it from
    /// us as well.
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
        self.touched |= self.bodies.failed(request, ctx.now);
        if let Some(link) = self.links.by_peer.get_mut(peer)
            && link.hello == Some(request)
        {
            link.hello = None;
            let pause = HELLO_RETRY_MS << link.hellos_failed.saturating_sub(2).min(8);
            link.hello_due_ms = Some(ctx.now + pause.min(HELLO_RETRY_MS_MAX));
            link.hellos_failed = link.hellos_failed.saturating_add(1);
            self.touched = true;
        }
    }
}
