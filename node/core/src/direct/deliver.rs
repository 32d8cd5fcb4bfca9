//! What leaves, and what is answered: questions for keys, sealing within the window, sending again,
//! acknowledgements.

use crate::ctx::Ctx;
use crate::direct::frame::{self, Bundle, Sealed, Stored, VerifiedAnswer, frame_hash, stored_code};
use crate::direct::outbox::{Place, Queue};
use crate::direct::payload::{self, Hello, RECEIPT, Said, TYPING};
use crate::direct::session::Session;
use crate::direct::{Direct, Flight};
use crate::event::{Delivery, Event};
use crate::ids::{DeviceId, EntryId, IdentityId, Nonce, Peer, SessionTag};
use crate::limits::{DIRECT_EXPIRY_MS, DIRECT_RESET_MS, DIRECT_WINDOW};
use crate::query::Standing;
use crate::step::{DirectSend, RequestId, Write};

/// Frames between messages (receipts, typing) allowed beyond the window, still within the keys that
/// Olm remembers.
const SIGNALS_BETWEEN: u64 = 4;

impl Direct {
    // ---- what leaves ----------------------------------------------------------------------------

    /// Does what is due for one device.
    pub(super) fn pump(&mut self, ctx: &mut Ctx<'_>, device: DeviceId) {
        self.expire(ctx, device);
        let Some(queue) = self.queues.get_mut(&device) else { return };
        let identity = queue.identity;
        let blocked = self.people.get(&identity).is_none_or(|c| c.standing == Standing::Blocked);
        let Some(peer) = self.reach(&device).filter(|_| !blocked) else { return };
        let Some(queue) = self.queues.get_mut(&device) else { return };
        if queue.retry_ms > ctx.now {
            self.due_ms = self.due_ms.min(queue.retry_ms);
            return;
        }
        if self.sessions.get(&device).is_some_and(super::Sessions::has_live) {
            self.seal(ctx, device);
            self.send(ctx, &peer, device);
            self.send_signals(ctx, &peer, device);
        } else if !queue.items.is_empty() && queue.asking.is_none() {
            self.ask(ctx, &peer, device);
        }
    }

    /// Gives up what was not delivered for too long.
    fn expire(&mut self, ctx: &mut Ctx<'_>, device: DeviceId) {
        let Some(queue) = self.queues.get_mut(&device) else { return };
        let identity = queue.identity;
        let ran_ms = self.ran.total_ms();
        let late = |queue: &Queue| {
            let item = queue.items.front()?;
            (ran_ms.saturating_sub(item.queued_ran_ms) >= DIRECT_EXPIRY_MS).then_some(())
        };
        let mut given_up = Vec::new();
        while late(queue).is_some() {
            if let Some(item) = queue.items.pop_front() {
                ctx.step.writes.push(Write::OutboxDone { device, seq: item.row });
                given_up.push(item.id);
            }
        }
        for id in given_up {
            let waiting = self.queues.values().any(|q| q.items.iter().any(|i| i.id == id));
            self.set_state(ctx, identity, id, |state| match state {
                Some(Delivery::Queued | Delivery::Sent) if !waiting => Some(Delivery::Failed),
                _ => None,
            });
            self.view_dirty = true;
        }
    }

    fn ask(&mut self, ctx: &mut Ctx<'_>, peer: &Peer, device: DeviceId) {
        let Some(queue) = self.queues.get_mut(&device) else { return };
        if let Some(sessions) = self.sessions.get(&device).filter(|s| s.lost) {
            // A lost session is replaced once per link, and then once in a while.
            let next = sessions.reset_ms + DIRECT_RESET_MS;
            if !queue.may_reset && ctx.wall < next {
                self.due_ms = self.due_ms.min(ctx.now + (next - ctx.wall));
                return;
            }
        }
        let mut nonce = Nonce([0; 16]);
        ctx.rng.fill(&mut nonce.0);
        let request = ctx.next_request();
        queue.asking = Some(request);
        self.flights.insert(request, Flight::Ask { device, nonce });
        let bytes = frame::ask(ctx.keys, ctx.me, peer, nonce);
        ctx.step.directs.push(DirectSend { peer: peer.clone(), request, bytes });
    }

    /// Seals what waits, as far as the window of the session allows. What is sealed in a session
    /// that is gone is sealed anew.
    fn seal(&mut self, ctx: &mut Ctx<'_>, device: DeviceId) {
        let hello = self.hello(ctx, device);
        let (Some(queue), Some(sessions)) =
            (self.queues.get_mut(&device), self.sessions.get_mut(&device))
        else {
            return;
        };
        for item in &mut queue.items {
            let kept = item
                .place
                .as_ref()
                .is_some_and(|p| sessions.get(p.session).is_some_and(|s| !s.dead));
            if !kept && item.place.take().is_some() {
                item.touch();
            }
        }
        let Some(session) = sessions.live() else { return };
        let mut oldest = queue.oldest_in(session.tag).unwrap_or(session.sent);
        let mut moved = false;
        for item in &mut queue.items {
            let number = match &item.place {
                Some(place) if place.frame.is_some() => continue,
                // What it said was deleted meanwhile: first the answer to the frame that left.
                Some(_) if item.flight.is_some() => continue,
                // It waits in another session that still lives: there it is sealed anew once that
                // is the one to send in.
                Some(place) if place.session == session.tag => place.number,
                Some(_) | None if session.sent - oldest < DIRECT_WINDOW || planted!(NoWindow) => {
                    session.number
                }
                _ => break,
            };
            let number = if planted!(NumberTwice) && number % 7 == 6 { number - 1 } else { number };
            let plain = payload::encode(
                Some(number),
                &item.said,
                hello.clone().filter(|_| !session.greeted).map(|mut h| {
                    h.ack_key = session.own_key;
                    h
                }),
            );
            let Some((frame, hash)) = sealed(ctx, session, Some(number), &plain) else { break };
            session.number = session.number.max(number + 1);
            let at = session.sent - 1;
            oldest = oldest.min(at);
            item.place =
                Some(Place { session: session.tag, number, at, frame: Some(frame.into()), hash });
            item.left = true;
            item.touch();
            moved = true;
        }
        if moved {
            session.moved();
            sessions.dirty = true;
        }
    }

    /// Who we are, for the first messages of a session; the key is filled in by session.
    fn hello(&mut self, ctx: &mut Ctx<'_>, to: DeviceId) -> Option<Hello> {
        if self.sessions.get_mut(&to)?.live().is_none_or(|s| s.greeted) {
            return None;
        }
        let key = self.account(ctx).identity_key();
        Some(Hello {
            name: ctx.name.to_owned(),
            cert: ctx.keys.cert().clone(),
            key_signature: frame::sign_key(ctx.keys, &key),
            to,
            ack_key: crate::ids::Digest([0; 32]),
        })
    }

    /// Puts every sealed frame that is not on its way on the link.
    fn send(&mut self, ctx: &mut Ctx<'_>, peer: &Peer, device: DeviceId) {
        let Some(queue) = self.queues.get_mut(&device) else { return };
        let identity = queue.identity;
        let mut highest = None;
        for item in queue.items.iter_mut().filter(|i| i.flight.is_none()) {
            let Some(frame) = item.place.as_ref().and_then(|p| p.frame.as_ref()) else { continue };
            let request = ctx.next_request();
            item.flight = Some(request);
            highest = highest.max(Some(item.seq));
            self.flights.insert(request, Flight::Message { device, row: item.row });
            ctx.step.directs.push(DirectSend {
                peer: peer.clone(),
                request,
                bytes: frame.to_vec(),
            });
        }
        self.moved(ctx, identity, highest, Delivery::Sent);
    }

    fn send_signals(&mut self, ctx: &mut Ctx<'_>, peer: &Peer, device: DeviceId) {
        let hello = self.hello(ctx, device);
        let (Some(queue), Some(sessions)) =
            (self.queues.get_mut(&device), self.sessions.get_mut(&device))
        else {
            return;
        };
        let contact = self.people.get(&queue.identity).filter(|c| c.standing == Standing::Accepted);
        let current = contact.and_then(|c| c.current()).is_some_and(|s| s.device == device);
        let receipt = contact.and_then(|c| c.receipt).filter(|_| self.receipts && current);
        let Some(session) = sessions.live().filter(|_| queue.signalling.is_none()) else { return };
        let oldest = queue.oldest_in(session.tag).unwrap_or(session.sent);
        if session.sent - oldest >= DIRECT_WINDOW + SIGNALS_BETWEEN {
            return;
        }
        let (kind, content) = match receipt {
            Some(id) => (RECEIPT, crate::cbor::encode(&(id,))),
            None => match queue.typing.take().filter(|_| self.typing) {
                Some(on) => (TYPING, crate::cbor::encode(&(on,))),
                None => return,
            },
        };
        let said =
            Said { id: EntryId([0; 16]), kind, lamport: 0, eff: 0, at_ms: 0, content }.encode();
        let hello =
            hello.filter(|_| !session.greeted).map(|h| Hello { ack_key: session.own_key, ..h });
        let plain = payload::encode(None, &said, hello);
        let Some((bytes, hash)) = sealed(ctx, session, None, &plain) else { return };
        session.moved();
        sessions.dirty = true;
        let request = ctx.next_request();
        queue.signalling = Some(request);
        self.flights.insert(request, Flight::Signal { device, receipt, hash });
        ctx.step.directs.push(DirectSend { peer: peer.clone(), request, bytes });
    }

    // ---- what is answered -----------------------------------------------------------------------

    /// A peer answered a frame of ours.
    pub fn answered(
        &mut self,
        ctx: &mut Ctx<'_>,
        peer: &Peer,
        request: RequestId,
        answer: VerifiedAnswer,
    ) {
        let Some(flight) = self.flights.remove(&request) else { return };
        self.touched = true;
        let device = self.landed(&flight);
        let good = match (answer, flight) {
            (VerifiedAnswer::Bundle(bundle), Flight::Ask { device, nonce })
                if bundle.nonce == nonce =>
            {
                self.begin(ctx, peer, device, &bundle)
            }
            (VerifiedAnswer::Stored(stored), Flight::Message { device, row }) => {
                self.stored_row(ctx, device, row, &stored)
            }
            (VerifiedAnswer::Stored(stored), Flight::Signal { device, receipt, hash }) => {
                let good = self.stored(device, hash, &stored);
                self.receipt_told(device, receipt.filter(|_| good));
                good
            }
            (
                VerifiedAnswer::NoSession(tag),
                Flight::Message { device, .. } | Flight::Signal { device, .. },
            ) => self.no_session(device, tag),
            (VerifiedAnswer::Unreadable(tag, number), Flight::Message { device, .. }) => {
                self.unreadable(device, tag, number)
            }
            _ => false,
        };
        if let Some(queue) = device.and_then(|d| self.queues.get_mut(&d)) {
            if good { queue.again() } else { Self::backoff(queue, ctx.now) }
        }
        self.view_dirty = true;
    }

    /// A request of ours was not answered.
    pub fn request_failed(&mut self, ctx: &mut Ctx<'_>, request: RequestId) {
        let Some(flight) = self.flights.remove(&request) else { return };
        self.touched = true;
        let device = self.landed(&flight);
        if let Some(queue) = device.and_then(|d| self.queues.get_mut(&d)) {
            Self::backoff(queue, ctx.now);
        }
        if let (Some(device), Flight::Message { row, .. }) = (device, flight) {
            let item = self
                .queues
                .get(&device)
                .and_then(|q| Some((q.identity, q.items.iter().find(|i| i.row == row)?.seq)));
            if let Some((identity, seq)) = item {
                self.moved(ctx, identity, Some(seq), Delivery::Queued);
            }
        }
    }

    /// Many frames that fail at once are one failure.
    fn backoff(queue: &mut Queue, now: u64) {
        if queue.retry_ms <= now {
            queue.failed(now);
        }
    }

    /// What was on its way is not any more. Returns the device if it is still waited for.
    fn landed(&mut self, flight: &Flight) -> Option<DeviceId> {
        let (Flight::Ask { device, .. }
        | Flight::Message { device, .. }
        | Flight::Signal { device, .. }) = flight;
        let queue = self.queues.get_mut(device)?;
        match flight {
            Flight::Ask { .. } => queue.asking = None,
            Flight::Signal { .. } => queue.signalling = None,
            Flight::Message { row, .. } => {
                if let Some(item) = queue.items.iter_mut().find(|i| i.row == *row) {
                    item.flight = None;
                }
            }
        }
        Some(*device)
    }

    /// The last way to a device is gone.
    pub(super) fn unlinked(&mut self, ctx: &mut Ctx<'_>, device: DeviceId) {
        self.flights.retain(|_, f| {
            let (Flight::Ask { device: d, .. }
            | Flight::Message { device: d, .. }
            | Flight::Signal { device: d, .. }) = f;
            *d != device
        });
        let Some(queue) = self.queues.get_mut(&device) else { return };
        let (identity, highest) = (queue.identity, queue.unlink());
        self.moved(ctx, identity, highest, Delivery::Queued);
    }

    /// Keys came: begins a session. `false` if they are of no use.
    fn begin(&mut self, ctx: &mut Ctx<'_>, peer: &Peer, device: DeviceId, bundle: &Bundle) -> bool {
        let (identity, shown) = (bundle.cert.identity, bundle.cert.device);
        if self.owner(ctx, &shown).is_some_and(|o| o != identity) || shown == ctx.keys.device_id() {
            return false;
        }
        if self.people.contains_key(&identity) {
            self.note_key(ctx, identity, shown, Some((&bundle.cert, bundle.identity_key)));
        }
        self.bind(peer, shown);
        if shown != device {
            // Somebody else is at that peer now.
            return false;
        }
        if self.sessions.get(&device).is_some_and(super::Sessions::has_live) {
            // The other side was faster.
            return true;
        }
        self.account(ctx);
        let begun = self
            .account
            .as_ref()
            .and_then(|a| a.begin(ctx.rng, &bundle.identity_key, &bundle.one_time_key));
        let Some(ratchet) = begun else { return false };
        let session = Session::new(ratchet, true, ctx.rng);
        let sessions = self.sessions.entry(device).or_default();
        let lost = sessions.lost;
        sessions.add(session, false);
        if lost {
            if let Some(queue) = self.queues.get_mut(&device) {
                queue.may_reset = false;
            }
            self.tell_reset(ctx, identity, device);
        }
        true
    }

    /// Whether the other side has a frame. Only who opened it in the session can say so.
    fn stored(&mut self, device: DeviceId, frame: Nonce, stored: &Stored) -> bool {
        let Some(sessions) = self.sessions.get_mut(&device) else { return false };
        let Some(session) = sessions.get(stored.session) else { return false };
        let code = stored_code(&session.own_key, stored.session, frame, stored.next, stored.bits);
        if code != stored.code {
            return false;
        }
        if stored.next > session.number {
            // It has more than was ever said here: this is an old copy, whose numbers must not be
            // used again.
            sessions.bury(stored.session);
            return false;
        }
        if !session.greeted {
            session.greeted = true;
            sessions.dirty = true;
        }
        true
    }

    /// The other side says that it has an own message.
    fn stored_row(
        &mut self,
        ctx: &mut Ctx<'_>,
        device: DeviceId,
        row: u64,
        stored: &Stored,
    ) -> bool {
        let Some(queue) = self.queues.get(&device) else { return true };
        let identity = queue.identity;
        let item = queue.items.iter().find(|i| i.row == row);
        let Some(place) = item.and_then(|i| i.place.as_ref()) else { return true };
        let (hash, session) = (place.hash, place.session);
        if stored.session != session || !self.stored(device, hash, stored) {
            return false;
        }
        let Some(queue) = self.queues.get_mut(&device) else { return true };
        let mut done = Vec::new();
        queue.items.retain(|item| {
            let also =
                planted!(AckAnything) && item.place.as_ref().is_some_and(|p| p.session == session);
            if item.row == row || also {
                done.push((item.row, item.id));
            }
            item.row != row && !also
        });
        for (row, id) in done {
            ctx.step.writes.push(Write::OutboxDone { device, seq: row });
            let left = self.queues.values().flat_map(|q| &q.items).filter(|i| i.id == id).count();
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            self.set_state(ctx, identity, id, |state| match state {
                Some(Delivery::Read) => None,
                Some(Delivery::Delivered { n, m }) => {
                    Some(Delivery::Delivered { n: n + 1, m: m.max(n + 1) })
                }
                _ => Some(Delivery::Delivered { n: 1, m: 1 + left }),
            });
        }
        true
    }

    fn receipt_told(&mut self, device: DeviceId, receipt: Option<EntryId>) {
        let contact = self.owners.get(&device).and_then(|i| self.people.get_mut(i));
        if let Some(contact) = contact.filter(|c| receipt.is_some() && c.receipt == receipt) {
            contact.receipt = None;
            contact.dirty = true;
        }
    }

    /// The other side lost a session. What waits in it is sealed anew in another one.
    fn no_session(&mut self, device: DeviceId, tag: SessionTag) -> bool {
        if planted!(LossIgnored) {
            return false;
        }
        self.sessions.get_mut(&device).is_some_and(|s| s.bury(tag))
    }

    /// The other side has the session, but cannot open a frame any more: it is sealed anew under
    /// its number, and if that does not help, the session is given up.
    fn unreadable(&mut self, device: DeviceId, tag: SessionTag, number: Option<u64>) -> bool {
        let Some(queue) = self.queues.get_mut(&device) else { return false };
        let at = |p: &Place| p.session == tag && Some(p.number) == number;
        let Some(item) = queue.items.iter_mut().find(|i| i.place.as_ref().is_some_and(at)) else {
            return true;
        };
        item.unreadable = item.unreadable.saturating_add(1);
        let again = item.unreadable % 2 == 1;
        let session =
            self.sessions.get_mut(&device).and_then(|s| s.live()).filter(|s| s.tag == tag);
        // It may not know who we are either.
        let live = session.map(|s| s.greeted = false).is_some();
        if again && live {
            if let Some(place) = &mut item.place {
                place.frame = None;
            }
            item.touch();
            return true;
        }
        self.no_session(device, tag)
    }

    // ---- states ---------------------------------------------------------------------------------

    pub(super) fn set_state(
        &mut self,
        ctx: &mut Ctx<'_>,
        identity: IdentityId,
        id: EntryId,
        next: impl Fn(Option<Delivery>) -> Option<Delivery>,
    ) {
        let Some(contact) = self.people.get_mut(&identity) else { return };
        let room = contact.room();
        let Some(meta) = contact.index.get_mut(&id) else { return };
        let Some(state) = next(meta.state) else { return };
        meta.state = Some(state);
        ctx.step.writes.push(Write::DirectState { room, id, state });
        ctx.tell(Event::DeliveryChanged { room, direct: true, upto_seq: meta.seq, state });
    }

    /// Messages were put on a link, or came off it: not kept, but told.
    fn moved(
        &mut self,
        ctx: &mut Ctx<'_>,
        identity: IdentityId,
        upto_seq: Option<u64>,
        state: Delivery,
    ) {
        let (Some(upto_seq), Some(contact)) = (upto_seq, self.people.get(&identity)) else {
            return;
        };
        self.view_dirty = true;
        ctx.tell(Event::DeliveryChanged { room: contact.room(), direct: true, upto_seq, state });
    }
}

/// One more frame of a session, with its hash.
fn sealed(
    ctx: &mut Ctx<'_>,
    session: &mut Session,
    number: Option<u64>,
    plain: &[u8],
) -> Option<(Vec<u8>, Nonce)> {
    let (begins, bytes) = session.ratchet.seal(ctx.rng, plain)?;
    session.sent += 1;
    let (device, hash) = (ctx.keys.device_id(), frame_hash(&bytes));
    Some((frame::message(&Sealed { device, session: session.tag, number, begins, bytes }), hash))
}
