//! What others send: questions for a bundle, and sealed messages. Each gets one answer, which
//! leaves after the commit; what it acknowledges is on disk then.

use std::collections::btree_map::Entry;

use crate::content::{Content, Kind};
use crate::ctx::Ctx;
use crate::direct::Direct;
use crate::direct::contact::{Contact, Meta, check_cert};
use crate::direct::frame::{self, Sealed, VerifiedFrame, frame_hash};
use crate::direct::payload::{self, Hello, Payload, RECEIPT, SIGNALS, Said, TYPING};
use crate::direct::session::Session;
use crate::direct::timeline::{self, Line, Names};
use crate::error::Reject;
use crate::event::{ContactNews, Delivery, Event};
use crate::identity::DeviceCert;
use crate::ids::{DeviceId, EntryId, IdentityId, Nonce, Peer, SessionKey};
use crate::limits::{REQUEST_FRAME_BYTES_MAX, REQUEST_MESSAGES_MAX, TEXT_BYTES_MAX};
use crate::query::Standing;
use crate::step::{DirectRow, Token, Write};
use crate::times;

/// One-time keys given out per minute once the burst is used up.
const ONE_TIME_KEYS_PER_MINUTE: u64 = 1;

/// Who wrote a message that opened, and in which session.
struct Author {
    identity: IdentityId,
    device: DeviceId,
    /// The session, if it is new; else it is among those of the device.
    begun: Option<(Session, SessionKey)>,
}

impl Direct {
    /// A peer sent a frame.
    pub fn asked(&mut self, ctx: &mut Ctx<'_>, peer: &Peer, token: Token, frame: VerifiedFrame) {
        self.touched = true;
        let answer = match frame {
            VerifiedFrame::Ask { nonce, cert } => self.give_bundle(ctx, peer, nonce, &cert),
            VerifiedFrame::Message(sealed) => self.receive(ctx, peer, &sealed),
        };
        let answer = answer.unwrap_or_else(|reject| {
            if reject.is_fault() {
                ctx.step.penalties.push((peer.clone(), reject));
            }
            frame::refused()
        });
        ctx.step.responds.push((token, answer));
    }

    /// Whether anything (`kept`: a message, not a signal) is taken from a device. Who is blocked,
    /// and who must wait for the user, get the same answer.
    fn admits(
        &self,
        ctx: &Ctx<'_>,
        owner: Option<IdentityId>,
        device: &DeviceId,
        kept: bool,
    ) -> Result<(), Reject> {
        if *device == ctx.keys.device_id() || owner == Some(ctx.keys.identity_id()) {
            return Err(Reject::Proof);
        }
        match owner.and_then(|o| self.people.get(&o)).map(|c| (c.standing, c.their_next)) {
            Some((Standing::Blocked, _)) => Err(Reject::Stale),
            // Signals say nothing before the user has decided, and would have no bound.
            Some((Standing::Requested, n))
                if (!kept || n >= REQUEST_MESSAGES_MAX) && !planted!(GateOpen) =>
            {
                Err(Reject::Rate)
            }
            None if !self.may_meet() => Err(Reject::Full),
            _ => Ok(()),
        }
    }

    fn give_bundle(
        &mut self,
        ctx: &mut Ctx<'_>,
        peer: &Peer,
        nonce: Nonce,
        cert: &DeviceCert,
    ) -> Result<Vec<u8>, Reject> {
        let owner = self.owner(ctx, &cert.device);
        if owner.is_some_and(|o| o != cert.identity) {
            return Err(Reject::Proof);
        }
        self.admits(ctx, Some(cert.identity), &cert.device, true)?;
        self.bind(peer, cert.device);
        let spare = self.one_time.take(
            1,
            ONE_TIME_KEYS_PER_MINUTE,
            60_000,
            crate::limits::ONE_TIME_KEYS_BURST,
            ctx.now,
        );
        self.account(ctx);
        let Some(account) = &mut self.account else { return Err(Reject::Full) };
        let one_time = if spare { account.one_time_key(ctx.rng) } else { None };
        self.account_dirty |= one_time.is_some();
        let (key, fallback) = one_time.map_or((account.fallback_key(), true), |k| (k, false));
        Ok(frame::bundle(ctx.keys, ctx.me, peer, nonce, (account.identity_key(), key, fallback)))
    }

    fn receive(
        &mut self,
        ctx: &mut Ctx<'_>,
        peer: &Peer,
        sealed: &Sealed,
    ) -> Result<Vec<u8>, Reject> {
        let owner = self.owner(ctx, &sealed.device);
        self.admits(ctx, owner, &sealed.device, sealed.number.is_some())?;
        let standing = owner.and_then(|o| self.people.get(&o)).map(|c| c.standing);
        if standing != Some(Standing::Accepted)
            && sealed.bytes.len() > REQUEST_FRAME_BYTES_MAX
            && !planted!(GateOpen)
        {
            return Err(Reject::Rate);
        }
        let known = self.sessions.get_mut(&sealed.device).filter(|s| s.has(sealed.session));
        let Some(sessions) = known else { return self.begun(ctx, peer, owner, sealed) };
        let Some(identity) = owner.filter(|o| self.people.contains_key(o)) else {
            return Ok(frame::no_session(sealed.session));
        };
        let Some(session) = sessions.get(sealed.session) else { return Err(Reject::Open) };
        if let Some(number) = sealed.number {
            if session.knows(number, frame_hash(&sealed.bytes)) && !planted!(ForgetSeen) {
                return answer(session, sealed);
            }
            if !session.fits(number) {
                return Ok(frame::unreadable(sealed.session, sealed.number));
            }
        }
        let opened = session.ratchet.open(sealed.begins, &sealed.bytes);
        let Some(plain) = opened else {
            return Ok(frame::unreadable(sealed.session, sealed.number));
        };
        session.moved();
        session.heard = true;
        let mute = session.their_key.is_none();
        sessions.dirty = true;
        let payload = payload::decode(&plain)?;
        if mute && payload.hello.is_none() {
            // An old copy of this session does not know how to acknowledge: sealed anew, it comes
            // with a hello.
            return Ok(frame::unreadable(sealed.session, sealed.number));
        }
        let author = Author { identity, device: sealed.device, begun: None };
        self.heard(ctx, peer, sealed, author, payload)
    }

    /// A message of a session that is not known: perhaps it begins one.
    fn begun(
        &mut self,
        ctx: &mut Ctx<'_>,
        peer: &Peer,
        owner: Option<IdentityId>,
        sealed: &Sealed,
    ) -> Result<Vec<u8>, Reject> {
        if !sealed.begins {
            return Ok(frame::no_session(sealed.session));
        }
        self.account(ctx);
        let begun = self.account.as_mut().and_then(|a| a.accept(&sealed.bytes));
        let Some(begun) = begun else { return Ok(frame::no_session(sealed.session)) };
        self.account_dirty = true;
        let payload = payload::decode(&begun.plain)?;
        let Some(hello) = &payload.hello else { return Err(Reject::Proof) };
        if owner.is_some_and(|o| o != hello.cert.identity) || begun.ratchet.tag() != sealed.session
        {
            return Err(Reject::Proof);
        }
        let key = &begun.identity_key;
        if !frame::check_key(&sealed.device, key, &hello.key_signature, &mut self.verifier) {
            return Err(Reject::Signature);
        }
        let session = Session::new(begun.ratchet, false, ctx.rng);
        let identity = hello.cert.identity;
        let author =
            Author { identity, device: sealed.device, begun: Some((session, begun.identity_key)) };
        self.heard(ctx, peer, sealed, author, payload)
    }

    /// A message opened: who it is from is certain now.
    fn heard(
        &mut self,
        ctx: &mut Ctx<'_>,
        peer: &Peer,
        sealed: &Sealed,
        author: Author,
        payload: Payload,
    ) -> Result<Vec<u8>, Reject> {
        let Author { identity, device, begun } = author;
        if payload.number != sealed.number {
            // Sealed by its author for nobody else: no forwarder can be meant.
            return Err(Reject::Body);
        }
        if let Some(hello) = &payload.hello {
            self.check_hello(ctx, identity, device, hello)?;
        }
        let content = content_of(&payload.said)?;
        self.admits(ctx, Some(identity), &device, sealed.number.is_some())?;
        if let Entry::Vacant(place) = self.people.entry(identity) {
            let name = payload.hello.as_ref().map(|h| h.name.clone()).ok_or(Reject::Proof)?;
            let contact = Contact::new(identity, name, Standing::Requested, ctx.wall);
            Self::news(ctx, &contact, ContactNews::Requested);
            place.insert(contact);
        }
        let shown =
            payload.hello.as_ref().map(|h| &h.cert).zip(begun.as_ref().map(|(_, key)| *key));
        self.note_key(ctx, identity, device, shown);
        self.bind(peer, device);
        if let Some((session, _)) = begun {
            self.begin_with(ctx, identity, device, session);
        }
        if let Some(hello) = payload.hello {
            let session = self.sessions.get_mut(&device).and_then(|s| s.get(sealed.session));
            session.ok_or(Reject::Open)?.their_key = Some(hello.ack_key);
            self.note_name(ctx, identity, hello.name);
        }
        if payload.said.kind >= SIGNALS {
            self.signal(ctx, identity, &payload.said);
        } else {
            self.take_in(ctx, identity, device, payload.said, content);
        }
        let sessions = self.sessions.get_mut(&device).ok_or(Reject::Open)?;
        sessions.dirty = true;
        let session = sessions.get(sealed.session).ok_or(Reject::Open)?;
        if let Some(number) = sealed.number {
            session.store(number, frame_hash(&sealed.bytes));
        }
        answer(session, sealed)
    }

    fn check_hello(
        &mut self,
        ctx: &Ctx<'_>,
        identity: IdentityId,
        device: DeviceId,
        hello: &Hello,
    ) -> Result<(), Reject> {
        if hello.to != ctx.keys.device_id()
            || hello.cert.device != device
            || hello.cert.identity != identity
        {
            return Err(Reject::Proof);
        }
        let known = self.people.get(&identity).and_then(|c| c.device(&device)?.cert.clone());
        if check_cert(known.as_ref(), &hello.cert, &mut self.verifier) {
            Ok(())
        } else {
            Err(Reject::Signature)
        }
    }

    /// The other side began a session. If there was one that worked, it was lost.
    fn begin_with(
        &mut self,
        ctx: &mut Ctx<'_>,
        identity: IdentityId,
        device: DeviceId,
        session: Session,
    ) {
        let sessions = self.sessions.entry(device).or_default();
        let replaced = sessions.lost || sessions.live().is_some_and(|s| s.heard);
        sessions.add(session, ctx.keys.device_id() < device);
        if replaced {
            self.tell_reset(ctx, identity, device);
        }
    }

    /// Tells that a session was lost, at most once in the time in which one may be replaced.
    pub(super) fn tell_reset(&mut self, ctx: &mut Ctx<'_>, identity: IdentityId, device: DeviceId) {
        let Some(sessions) = self.sessions.get_mut(&device) else { return };
        let told = sessions.reset_ms;
        sessions.reset_ms = ctx.wall;
        sessions.dirty = true;
        if let Some(contact) = self.people.get(&identity)
            && (told == 0 || ctx.wall.abs_diff(told) >= crate::limits::DIRECT_RESET_MS)
        {
            Self::news(ctx, contact, ContactNews::SessionReset);
        }
    }

    fn note_name(&mut self, ctx: &mut Ctx<'_>, identity: IdentityId, name: String) {
        let Some(contact) = self.people.get_mut(&identity) else { return };
        // A stranger keeps the name of the request: each new one would be an entry in the journal.
        if contact.claimed != name && contact.standing == Standing::Accepted {
            contact.claimed = name;
            contact.dirty = true;
            // Another name is looked at anew.
            contact.impersonates = false;
            Self::news(ctx, contact, ContactNews::Renamed);
        }
        self.check_name(ctx, identity);
    }

    /// Stores a message unless it is known, and tells of it.
    fn take_in(
        &mut self,
        ctx: &mut Ctx<'_>,
        identity: IdentityId,
        device: DeviceId,
        said: Said,
        content: Content,
    ) {
        let Some(contact) = self.people.get_mut(&identity) else { return };
        if contact.index.contains_key(&said.id) && !planted!(ForgetSeen) {
            return;
        }
        let Said { id, kind, lamport, eff, at_ms, content: bytes } = said;
        // The author's first key is never below what it knew when it wrote.
        let shown_ms = times::shown_ms(at_ms, ctx.wall, Some(eff), true);
        let (lamport, eff) = contact.within_reach(lamport, eff, ctx.wall);
        let (seq, journal) = (contact.their_next, *ctx.journal);
        *ctx.journal += 1;
        let gone = |id: &EntryId| contact.orphans.contains(id) || contact.is_deleted(id);
        // New words for what was deleted are not kept either.
        let edit = matches!(&content, Content::Edit { target, .. } if gone(target));
        let withdrawn = (gone(&id) || edit) && !planted!(OrphanForgotten);
        let content = Some(content).filter(|_| !withdrawn);
        let row = DirectRow {
            journal,
            room: contact.room(),
            identity,
            id,
            device,
            own: false,
            seq,
            kind,
            eff,
            lamport,
            at_ms,
            arrived_ms: ctx.wall,
            shown_ms,
            target: content.as_ref().and_then(Content::target),
            content: content.as_ref().map(|_| bytes),
            state: None,
        };
        let deleted = content.is_none();
        let meta = Meta { own: false, seq, kind, journal, state: None, deleted };
        contact.note(id, meta, lamport, eff);
        let names = Names { own: ctx.name, other: contact.name() };
        let mut message = timeline::message(&Line { row: &row, content: content.as_ref() }, &names);
        message.name_mark = ctx.directory.mark_of(&row.identity);
        ctx.tell(Event::MessageAdded { message: Box::new(message) });
        let room = row.room;
        if !planted!(AckUnstored) || seq % 5 != 4 {
            ctx.step.writes.push(Write::Direct(row));
        }
        if let Some(Content::Delete { target }) = content {
            match contact.index.get(&target) {
                Some(meta) if meta.own => {}
                Some(_) => {
                    contact.deleted(&target);
                    ctx.step.writes.push(Write::DropDirect { room, id: target });
                }
                None => {
                    contact.orphan(target);
                    // Its edits may have come before it.
                    ctx.step.writes.push(Write::DropDirect { room, id: target });
                }
            }
        }
    }

    /// A receipt, or that somebody is writing. Only those whom the user keeps can say so.
    fn signal(&mut self, ctx: &mut Ctx<'_>, identity: IdentityId, said: &Said) {
        let Some(contact) =
            self.people.get_mut(&identity).filter(|c| c.standing == Standing::Accepted)
        else {
            return;
        };
        let room = contact.room();
        match said.kind {
            RECEIPT => {
                let Ok((id,)) = crate::cbor::decode::<(EntryId,)>(&said.content, 32) else {
                    return;
                };
                let Some(upto) = contact.index.get(&id).filter(|m| m.own).map(|m| m.seq) else {
                    return;
                };
                let mut highest = None;
                for (id, meta) in &mut contact.index {
                    if meta.own
                        && meta.seq <= upto
                        && matches!(meta.state, Some(Delivery::Delivered { n: 1.., .. }))
                    {
                        meta.state = Some(Delivery::Read);
                        highest = highest.max(Some(meta.seq));
                        ctx.step.writes.push(Write::DirectState {
                            room,
                            id: *id,
                            state: Delivery::Read,
                        });
                    }
                }
                if let Some(upto_seq) = highest {
                    ctx.tell(Event::DeliveryChanged {
                        room,
                        direct: true,
                        upto_seq,
                        state: Delivery::Read,
                    });
                }
            }
            TYPING => {
                let Ok((typing,)) = crate::cbor::decode::<(bool,)>(&said.content, 8) else {
                    return;
                };
                let (name, name_mark) =
                    (contact.name().to_owned(), ctx.directory.mark_of(&contact.identity));
                ctx.tell(Event::Typing { room, name, name_mark, typing });
            }
            _ => {}
        }
    }
}

/// What is on disk of a session with this step, so that only who is meant can say so.
fn answer(session: &Session, sealed: &Sealed) -> Result<Vec<u8>, Reject> {
    let key = session.their_key.ok_or(Reject::Proof)?;
    let next = session.next + u64::from(planted!(DirectAckAhead));
    Ok(frame::stored(&key, session.tag, frame_hash(&sealed.bytes), next, session.bits))
}

/// The content of a message that is kept. Kinds that only rooms have are refused, newer ones are
/// kept as such.
fn content_of(said: &Said) -> Result<Content, Reject> {
    let bounds = Err(Reject::Decode(crate::cbor::DecodeError::Bounds));
    if said.kind >= SIGNALS {
        return Ok(Content::Newer(said.kind));
    }
    match Kind::from_code(said.kind) {
        Some(kind @ (Kind::Text | Kind::Edit | Kind::Delete | Kind::Reaction)) => {
            Ok(Content::decode(kind, &said.content)?)
        }
        Some(Kind::Newer(code)) if said.content.len() <= TEXT_BYTES_MAX => Ok(Content::Newer(code)),
        _ => bounds,
    }
}
