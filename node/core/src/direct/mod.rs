//! Conversations with one person (PROTOCOL.md 11): people, sessions, frames, and what waits to be
//! delivered.
//!
//! `Direct` is to conversations what a room is to rooms. What the user does is in `say.rs`, what
//! others send in `inbox.rs`, what leaves and what is answered in `deliver.rs`; the parts that they
//! use ([`frame`], `payload`, `ratchet`, `session`, `contact`, `outbox`) know nothing of one
//! another's state. Everything that changes in a batch is written once, at its end.

pub(crate) mod contact;
mod deliver;
mod forget;
pub mod frame;
mod inbox;
pub(crate) mod outbox;
pub(crate) mod payload;
pub(crate) mod ratchet;
mod say;
pub(crate) mod session;
pub mod timeline;
#[cfg(feature = "sim")]
pub(crate) mod toy;
pub mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::bucket::Bucket;
use crate::crypto::Verifier;
use crate::ctx::Ctx;
use crate::direct::verify::Side;
use crate::directory::Directory;
use crate::event::{ContactNews, Event};
use crate::ids::{DeviceId, Digest, IdentityId, Nonce, Peer, RoomId};
use crate::limits::{
    DIRECT_RAN_STEP_MS, FALLBACK_MS, LAST_SEEN_WRITE_MS, ONE_TIME_KEYS_BURST, RECIPIENT_MS,
    REQUESTS_MAX,
};
use crate::query::Standing;
use crate::step::{DirectSnapshot, PeopleView, RequestId, Write};
use contact::Contact;
use outbox::{Queue, Ran};
use ratchet::Account;
use session::Sessions;

/// A request of ours that is on its way.
#[derive(Debug)]
enum Flight {
    /// A question for a bundle.
    Ask { device: DeviceId, nonce: Nonce },
    /// The row of an own message.
    Message { device: DeviceId, row: u64 },
    /// A receipt, or that one is writing.
    Signal { device: DeviceId, receipt: Option<crate::ids::EntryId>, hash: Nonce },
}

/// All conversations of this node.
#[derive(Debug)]
pub(crate) struct Direct {
    account: Option<Account>,
    account_dirty: bool,
    people: BTreeMap<IdentityId, Contact>,
    owners: BTreeMap<DeviceId, IdentityId>,
    sessions: BTreeMap<DeviceId, Sessions>,
    queues: BTreeMap<DeviceId, Queue>,
    /// Which device is behind a linked peer, by a hello or a direct exchange.
    bound: BTreeMap<Peer, DeviceId>,
    links: BTreeSet<Peer>,
    flights: BTreeMap<RequestId, Flight>,
    verifier: Verifier,
    receipts: bool,
    typing: bool,
    one_time: Bucket,
    ran: Ran,
    /// When something is to be done next, on the steady clock.
    pub due_ms: u64,
    /// Something is to be done now.
    pub touched: bool,
    view_dirty: bool,
}

impl Direct {
    /// Continues from what is on disk.
    pub fn open(snapshot: DirectSnapshot, now: u64) -> Self {
        let mut people: BTreeMap<IdentityId, Contact> = snapshot
            .contacts
            .into_iter()
            .map(|row| (row.identity, Contact::restore(row)))
            .collect();
        let by_room: BTreeMap<RoomId, IdentityId> =
            people.values().map(|c| (c.room(), c.identity)).collect();
        for row in &snapshot.index {
            if let Some(contact) = by_room.get(&row.room).and_then(|i| people.get_mut(i)) {
                contact.index(row);
            }
        }
        let owners = people
            .values()
            .flat_map(|c| c.devices.iter().map(|d| (d.device, c.identity)))
            .collect();
        let mut queues: BTreeMap<DeviceId, Queue> = BTreeMap::new();
        for row in &snapshot.outbox {
            queues.entry(row.device).or_insert_with(|| Queue::new(row.identity)).restore(row);
        }
        for contact in people.values() {
            if let (Some(_), Some(side)) = (contact.receipt, contact.current()) {
                queues.entry(side.device).or_insert_with(|| Queue::new(contact.identity));
            }
        }
        Self {
            account: snapshot.account.and_then(|bytes| Account::load(&bytes)),
            account_dirty: false,
            people,
            owners,
            sessions: snapshot
                .ratchets
                .iter()
                .map(|(d, bytes)| (*d, Sessions::load(bytes)))
                .collect(),
            queues,
            bound: BTreeMap::new(),
            links: BTreeSet::new(),
            flights: BTreeMap::new(),
            verifier: Verifier::default(),
            receipts: snapshot.receipts,
            typing: snapshot.typing,
            one_time: Bucket::full(ONE_TIME_KEYS_BURST, now),
            ran: Ran::new(snapshot.ran_ms, now),
            due_ms: now,
            touched: true,
            view_dirty: true,
        }
    }

    /// After a commit failed: who is behind which link, from before.
    pub fn restore_links(&mut self, before: Self) {
        self.links = before.links;
        self.bound = before.bound;
    }

    // ---- who is there ---------------------------------------------------------------------------

    pub fn link_up(&mut self, peer: &Peer) {
        if self.links.insert(peer.clone()) {
            let hinted = self
                .people
                .values()
                .flat_map(|c| &c.devices)
                .filter(|d| d.hint.as_ref() == Some(peer));
            for device in hinted.map(|d| d.device).collect::<Vec<_>>() {
                self.met(device);
            }
        }
    }

    /// What is on its way to a peer may be lost: it waits again, and leaves at once. Who is behind
    /// the link stays known.
    pub fn link_renewed(&mut self, ctx: &mut Ctx<'_>, peer: &Peer) {
        self.link_up(peer);
        for device in self.behind(peer) {
            if self.reach(&device).as_ref() == Some(peer) {
                self.unlinked(ctx, device);
                self.met(device);
            }
        }
    }

    /// Devices that are, or were last met, at a peer.
    fn behind(&self, peer: &Peer) -> BTreeSet<DeviceId> {
        let hinted =
            self.people.values().flat_map(|c| &c.devices).filter(|d| d.hint.as_ref() == Some(peer));
        self.bound.get(peer).copied().into_iter().chain(hinted.map(|d| d.device)).collect()
    }

    pub fn link_down(&mut self, ctx: &mut Ctx<'_>, peer: &Peer) {
        let behind = self.behind(peer);
        self.links.remove(peer);
        self.bound.remove(peer);
        for device in behind {
            if self.reach(&device).is_none() {
                self.unlinked(ctx, device);
            }
        }
        self.touched = true;
        self.view_dirty = true;
    }

    /// A device proved that it is behind a linked peer.
    pub fn bind(&mut self, peer: &Peer, device: DeviceId) {
        if !self.links.contains(peer) || self.bound.get(peer) == Some(&device) {
            return;
        }
        self.bound.insert(peer.clone(), device);
        if let Some(contact) = self.owners.get(&device).and_then(|i| self.people.get_mut(i)) {
            let known = contact.device_mut(device);
            if known.hint.as_ref() != Some(peer) {
                known.hint = Some(peer.clone());
                contact.dirty = true;
            }
        }
        self.met(device);
    }

    /// There may be a new way to a device: what waits is tried at once.
    fn met(&mut self, device: DeviceId) {
        if let Some(queue) = self.queues.get_mut(&device) {
            queue.again();
            queue.may_reset = true;
        }
        self.touched = true;
        self.view_dirty = true;
    }

    /// The linked peer behind a device. Strangers are never asked: only who proved to be the device
    /// in this run, or is the very peer that it was met at before.
    fn reach(&self, device: &DeviceId) -> Option<Peer> {
        let bound = self.bound.iter().find(|(_, d)| *d == device).map(|(p, _)| p);
        bound.or_else(|| self.hint(device)).cloned()
    }

    fn hint(&self, device: &DeviceId) -> Option<&Peer> {
        let hint = self.people.get(self.owners.get(device)?)?.device(device)?.hint.as_ref()?;
        (self.links.contains(hint) && !self.bound.contains_key(hint)).then_some(hint)
    }

    // ---- people ---------------------------------------------------------------------------------

    /// Lets the directory know everybody who is kept.
    pub fn introduce(&self, directory: &mut Directory) {
        for contact in self.people.values() {
            directory.keep(contact.identity, contact.kept());
        }
    }

    /// The same for one of them, if something is new.
    fn introduce_to(ctx: &mut Ctx<'_>, contact: &Contact) {
        let kept = contact.kept();
        if !ctx.directory.keeps(&contact.identity, &kept) {
            Arc::make_mut(ctx.directory).keep(contact.identity, kept);
        }
    }

    /// Whose device this is, from conversations or rooms.
    fn owner(&self, ctx: &Ctx<'_>, device: &DeviceId) -> Option<IdentityId> {
        self.owners.get(device).copied().or_else(|| ctx.directory.owner(device))
    }

    /// Devices of a person that rooms know of, and were there within a week of the newest.
    fn adopt_devices(&mut self, ctx: &Ctx<'_>, identity: IdentityId) {
        let known = ctx.directory.devices_of(&identity);
        let newest = known.values().copied().max().unwrap_or(0);
        for (device, seen_ms) in known {
            if seen_ms + RECIPIENT_MS >= newest {
                self.learn_device(identity, device);
            }
        }
    }

    /// A device belongs to a person: what still waits for others of theirs is for it as well.
    fn learn_device(&mut self, identity: IdentityId, device: DeviceId) {
        let Some(contact) = self.people.get_mut(&identity) else { return };
        if contact.device(&device).is_some() {
            return;
        }
        let others: Vec<DeviceId> = contact.devices.iter().map(|d| d.device).collect();
        contact.device_mut(device);
        if let Some((peer, _)) = self.bound.iter().find(|(_, d)| **d == device) {
            contact.device_mut(device).hint = Some(peer.clone());
        }
        let kept: BTreeSet<DeviceId> = contact.devices.iter().map(|d| d.device).collect();
        self.owners.retain(|d, i| *i != identity || kept.contains(d));
        self.owners.insert(device, identity);
        let mut waiting = BTreeMap::new();
        for item in others.iter().filter_map(|d| self.queues.get(d)).flat_map(|q| &q.items) {
            waiting.insert(
                item.seq,
                (item.id, item.said.clone(), (item.queued_ms, item.queued_ran_ms)),
            );
        }
        if !waiting.is_empty() {
            let queue = self.queues.entry(device).or_insert_with(|| Queue::new(identity));
            for (seq, (id, said, queued)) in waiting {
                queue.push(id, seq, said, queued);
            }
        }
        self.view_dirty = true;
    }

    /// Strangers whose messages are kept until the user has decided.
    pub(super) fn undecided(&self) -> usize {
        self.people.values().filter(|c| c.standing == Standing::Requested).count()
    }

    fn may_meet(&self) -> bool {
        let open = planted!(GateOpen) || self.undecided() < REQUESTS_MAX;
        open && self.people.len() < crate::limits::CONTACTS_MAX
    }

    /// Tells something about a person, durably.
    fn news(ctx: &mut Ctx<'_>, contact: &Contact, news: ContactNews) {
        let (identity, room, name) = (contact.identity, contact.room(), contact.name().to_owned());
        Self::introduce_to(ctx, contact);
        let name_mark = ctx.directory.mark_of(&identity);
        ctx.record(Event::ContactChanged { identity, room, name, name_mark, news });
    }

    /// The own account, made when it is first needed.
    fn account(&mut self, ctx: &mut Ctx<'_>) -> &mut Account {
        let missing = self.account.is_none();
        let account = self.account.get_or_insert_with(|| Account::new(ctx.rng, ctx.wall));
        if missing {
            (self.account_dirty, self.view_dirty) = (true, true);
            // Keys of our own are among what was compared.
            let key = account.identity_key();
            let own = Side { identity: ctx.keys.identity_id(), device: ctx.keys.device_id(), key };
            for contact in self.people.values_mut() {
                Self::check_keys(ctx, contact, &own);
            }
        }
        account
    }

    fn own_side(&mut self, ctx: &mut Ctx<'_>) -> Side {
        let key = self.account(ctx).identity_key();
        Side { identity: ctx.keys.identity_id(), device: ctx.keys.device_id(), key }
    }

    /// Tells once if the keys in use are not those that were compared.
    fn check_keys(ctx: &mut Ctx<'_>, contact: &mut Contact, own: &Side) {
        let Some(compared) = contact.verified else { return };
        let changed = contact.code(own) != Some(compared);
        if changed != contact.changed {
            contact.changed = changed;
            contact.dirty = true;
            if changed {
                Self::news(ctx, contact, ContactNews::KeysChanged);
            }
        }
    }

    /// Tells once if somebody else uses the name of a verified person, or one that looks like it.
    fn check_name(&mut self, ctx: &mut Ctx<'_>, identity: IdentityId) {
        let Some(contact) = self.people.get(&identity) else { return };
        if contact.impersonates || contact.verified.is_some() {
            return;
        }
        if !ctx.directory.is_taken(&contact.claimed, &identity) {
            return;
        }
        if let Some(contact) = self.people.get_mut(&identity) {
            contact.impersonates = true;
            contact.dirty = true;
            Self::news(ctx, contact, ContactNews::Impersonated);
        }
    }

    /// A device showed its key, and perhaps that it is there.
    fn note_key(
        &mut self,
        ctx: &mut Ctx<'_>,
        identity: IdentityId,
        device: DeviceId,
        shown: Option<(&crate::identity::DeviceCert, crate::ids::SessionKey)>,
    ) {
        self.learn_device(identity, device);
        let own = self.own_side(ctx);
        let Some(contact) = self.people.get_mut(&identity) else { return };
        let current = contact.current().is_some_and(|s| s.device == device);
        let known = contact.device_mut(device);
        let mut dirty = false;
        if let Some((cert, key)) = shown
            && (known.cert.as_ref() != Some(cert) || known.key != Some(key))
        {
            (known.cert, known.key) = (Some(cert.clone()), Some(key));
            dirty = true;
        }
        if !current || ctx.wall.abs_diff(known.heard_ms) >= LAST_SEEN_WRITE_MS {
            known.heard_ms = ctx.wall;
            dirty = true;
        }
        if dirty {
            contact.dirty = true;
            self.view_dirty = true;
            Self::check_keys(ctx, contact, &own);
        }
    }

    /// The own name changed: everybody is told with the next message.
    pub fn renamed(&mut self) {
        for sessions in self.sessions.values_mut() {
            sessions.iter_mut().for_each(|s| s.greeted = false);
            sessions.dirty = true;
        }
        self.touched = true;
    }

    // ---- the end of a batch ---------------------------------------------------------------------

    /// Sends what is due, and writes what changed.
    pub fn poll(&mut self, ctx: &mut Ctx<'_>) {
        self.due_ms = u64::MAX;
        if let Some(account) = &mut self.account {
            if ctx.wall.saturating_sub(account.fallback_ms) >= FALLBACK_MS {
                account.rotate(ctx.rng, ctx.wall);
                self.account_dirty = true;
            }
            self.due_ms =
                ctx.now + (account.fallback_ms + FALLBACK_MS).saturating_sub(ctx.wall).max(1);
        }
        if self.ran.pass(ctx.now) {
            ctx.step.writes.push(Write::Ran(self.ran.total_ms()));
        }
        let devices: Vec<DeviceId> = self.queues.keys().copied().collect();
        for device in devices {
            self.pump(ctx, device);
        }
        if self.queues.values().any(|q| !q.items.is_empty()) {
            self.due_ms = self.due_ms.min(ctx.now + DIRECT_RAN_STEP_MS);
        }
        self.write(ctx);
        self.touched = false;
        if std::mem::take(&mut self.view_dirty) {
            ctx.step.people = Some(self.view(ctx));
        }
    }

    fn write(&mut self, ctx: &mut Ctx<'_>) {
        if let Some(account) =
            self.account.as_ref().filter(|_| std::mem::take(&mut self.account_dirty))
        {
            ctx.step.writes.push(Write::Account(account.save()));
        }
        for contact in self.people.values_mut().filter(|c| c.dirty) {
            contact.dirty = false;
            ctx.step.writes.push(Write::Contact(contact.row()));
            Self::introduce_to(ctx, contact);
        }
        for (device, sessions) in self.sessions.iter_mut().filter(|(_, s)| s.dirty) {
            sessions.dirty = false;
            let skipped =
                planted!(RatchetUnsaved) && sessions.live().is_some_and(|s| s.number % 3 == 2);
            if !skipped {
                ctx.step.writes.push(Write::Ratchet { device: *device, state: sessions.save() });
            }
        }
        for (device, queue) in &mut self.queues {
            ctx.step.writes.extend(queue.writes(*device));
        }
        let receipts: BTreeSet<IdentityId> =
            self.people.values().filter(|c| c.receipt.is_some()).map(|c| c.identity).collect();
        let links = &self.links;
        self.queues.retain(|_, q| {
            !q.is_idle() || receipts.contains(&q.identity) || (!links.is_empty() && !q.may_reset)
        });
    }

    /// Everything at most every batch.
    pub fn view(&self, ctx: &Ctx<'_>) -> PeopleView {
        let own = self.account.as_ref().map(|a| Side {
            identity: ctx.keys.identity_id(),
            device: ctx.keys.device_id(),
            key: a.identity_key(),
        });
        let mut view = PeopleView {
            directory: ctx.directory.clone(),
            receipts: self.receipts,
            typing: self.typing,
            ..PeopleView::default()
        };
        for contact in self.people.values() {
            let devices: Vec<DeviceId> = contact.devices.iter().map(|d| d.device).collect();
            if devices.iter().any(|d| self.bound.values().any(|b| b == d)) {
                view.online.insert(contact.identity);
            }
            if contact.changed {
                view.changed.insert(contact.identity);
            }
            let code: Option<Digest> = own.as_ref().and_then(|own| contact.code(own));
            view.codes.extend(code.map(|c| (contact.identity, c)));
            view.devices.insert(contact.identity, devices);
        }
        for item in self.queues.values().flat_map(|q| &q.items) {
            view.queued += 1;
            if item.flight.is_some() {
                view.sent.insert(item.id);
            }
        }
        view
    }

    /// Every bound that holds at all times, for the simulator.
    #[cfg(feature = "sim")]
    pub fn within_bounds(&self) -> Result<(), String> {
        use crate::limits::{
            CONTACTS_MAX, DIRECT_QUEUE_MAX, DIRECT_SESSIONS_MAX, DIRECT_WINDOW,
            REQUEST_MESSAGES_MAX,
        };
        if self.people.len() > CONTACTS_MAX || self.undecided() > REQUESTS_MAX {
            return Err("more people than may be".to_owned());
        }
        if self
            .people
            .values()
            .any(|c| c.standing == Standing::Requested && c.their_next > REQUEST_MESSAGES_MAX)
        {
            return Err("more messages of a stranger than may be".to_owned());
        }
        if self.sessions.values().any(|s| s.len() > DIRECT_SESSIONS_MAX) {
            return Err("more sessions than may be".to_owned());
        }
        for queue in self.queues.values() {
            let mut in_session: BTreeMap<_, u64> = BTreeMap::new();
            for place in queue.items.iter().filter_map(|i| i.place.as_ref()) {
                *in_session.entry(place.session).or_default() += 1;
            }
            if queue.items.len() > DIRECT_QUEUE_MAX
                || in_session.values().any(|n| *n > DIRECT_WINDOW)
            {
                return Err("more sealed messages in one session than the window allows".to_owned());
            }
        }
        if self.flights.len() > 4_096 || self.bound.len() > self.links.len() {
            return Err("more requests than may be".to_owned());
        }
        Ok(())
    }

    /// Whether nothing waits.
    #[cfg(feature = "sim")]
    pub fn is_idle(&self) -> bool {
        self.queues.values().all(|q| q.items.is_empty())
    }
}
