//! What the user does in conversations, and with people.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::command::{Command, Reply};
use crate::content::{Content, Kind};
use crate::ctx::Ctx;
use crate::direct::Direct;
use crate::direct::contact::{Contact, Meta};
use crate::direct::outbox::Queue;
use crate::direct::payload::Said;
use crate::direct::timeline::{self, Line, Names};
use crate::error::CommandError;
use crate::event::{ContactNews, Delivery, Event};
use crate::ids::{DeviceId, EntryId, IdentityId, RoomId};
use crate::limits::{
    DIRECT_CLOCK_MAX, DIRECT_PERSON_BYTES_MAX, DIRECT_QUEUE_BYTES_MAX, DIRECT_QUEUE_MAX,
    REQUEST_MESSAGES_MAX, REQUESTS_MAX,
};
use crate::names::check_name;
use crate::place::Place;
use crate::query::Standing;
use crate::room::orders::check_text;
use crate::step::{DirectRow, Write};
use crate::times;

/// The person of a conversation, who is somebody else and known.
pub(super) fn known(ctx: &Ctx<'_>, place: Place) -> Result<IdentityId, CommandError> {
    match place {
        Place::With(who) if who == ctx.keys.identity_id() => Err(CommandError::Yourself),
        Place::With(who) if ctx.directory.knows(&who) => Ok(who),
        Place::With(who) => {
            Err(CommandError::UnknownPerson { who: who.to_string(), nearest: None })
        }
        Place::Room(_) => Err(CommandError::WrongPlace { room: place.to_string() }),
    }
}

impl Direct {
    /// A conversation as the user calls it.
    fn words(ctx: &Ctx<'_>, place: Place) -> String {
        let Place::With(who) = place else { return place.to_string() };
        let name = ctx.directory.name_of(&who);
        name.map_or_else(|| place.to_string(), |name| format!("@{name}"))
    }

    /// Whether a command is about a person.
    pub fn is_meant(command: &Command) -> bool {
        let with = || matches!(command.place(), Some(Place::With(_)));
        matches!(command, Command::SetPrivacy { .. }) || with()
    }

    /// Does what the user wants.
    pub fn command(&mut self, ctx: &mut Ctx<'_>, command: Command) -> Result<Reply, CommandError> {
        self.touched = true;
        match command {
            Command::SetPrivacy { receipts, typing } => {
                self.receipts = receipts.unwrap_or(self.receipts);
                self.typing = typing.unwrap_or(self.typing);
                if !self.receipts {
                    self.people.values_mut().for_each(|c| c.receipt = None);
                }
                self.view_dirty = true;
                ctx.step
                    .writes
                    .push(Write::Privacy { receipts: self.receipts, typing: self.typing });
                Ok(Reply::Done)
            }
            Command::SendNotice { room, .. }
            | Command::LeaveRoom { room }
            | Command::ForgetRoom { room }
            | Command::MuteDevice { room, .. } => {
                Err(CommandError::WrongPlace { room: Self::words(ctx, room) })
            }
            Command::SendMessage { room, text, reply_to } => {
                check_text(&text)?;
                let who = known(ctx, room)?;
                if let Some(id) = reply_to {
                    self.line(who, id, false)?;
                }
                self.say(ctx, who, Content::Text { text, reply_to })
            }
            Command::EditMessage { room, message, text } => {
                check_text(&text)?;
                let who = known(ctx, room)?;
                self.line(who, message, true)?;
                if self.people.get(&who).is_some_and(|c| c.is_deleted(&message)) {
                    // New words for what is gone would be kept and sent for nothing.
                    return Err(CommandError::UnknownMessage { message: message.to_string() });
                }
                self.say(ctx, who, Content::Edit { target: message, text })
            }
            Command::DeleteMessage { room, message } => {
                let who = known(ctx, room)?;
                self.line(who, message, true)?;
                self.say(ctx, who, Content::Delete { target: message })
            }
            Command::React { room, message, emoji, on } => {
                let who = known(ctx, room)?;
                self.line(who, message, false)?;
                let emoji = crate::emoji::emoji(&emoji).ok_or(CommandError::BadEmoji)?.to_owned();
                self.say(ctx, who, Content::Reaction { target: message, emoji, on })
            }
            Command::MarkRead { room, upto } => {
                let who = known(ctx, room)?;
                self.mark_read(who, upto);
                Ok(Reply::Done)
            }
            Command::Typing { room, typing } => {
                let who = known(ctx, room)?;
                self.set_typing(who, typing);
                Ok(Reply::Done)
            }
            Command::AcceptContact { who, petname } => self.accept(ctx, who, petname),
            Command::BlockContact { who, blocked } => self.block(ctx, who, blocked),
            Command::ForgetContact { who } => self.forget(ctx, who),
            Command::RenameContact { who, petname } => self.rename(ctx, who, petname),
            Command::VerifyContact { who, verified } => self.verify(ctx, who, verified),
            Command::JoinRoom { room, .. } => Err(CommandError::BadRoomName { room }),
            Command::SetName { .. } => {
                Err(CommandError::WrongPlace { room: "a conversation".to_owned() })
            }
        }
    }

    /// Checks that a text is here and, if `own` is asked for, written by the user.
    fn line(&self, who: IdentityId, message: EntryId, own: bool) -> Result<(), CommandError> {
        let meta = self.people.get(&who).and_then(|c| c.index.get(&message));
        let meta = meta.filter(|m| m.kind == Kind::Text.code());
        let meta =
            meta.ok_or_else(|| CommandError::UnknownMessage { message: message.to_string() })?;
        if own && !meta.own { Err(CommandError::NotYours) } else { Ok(()) }
    }

    /// The contact, made of what rooms know if there is none yet.
    fn keep(&mut self, ctx: &Ctx<'_>, who: IdentityId) -> Result<&mut Contact, CommandError> {
        if let Entry::Vacant(place) = self.people.entry(who) {
            let claimed = ctx.directory.name_in_rooms(&who).map(str::to_owned);
            let claimed = claimed.ok_or(CommandError::UnknownMember)?;
            place.insert(Contact::new(who, claimed, Standing::Requested, ctx.wall));
        }
        self.adopt_devices(ctx, who);
        self.view_dirty = true;
        self.people.get_mut(&who).ok_or(CommandError::UnknownMember)
    }

    /// Writes an own message: stored and queued for every device of the person.
    fn say(
        &mut self,
        ctx: &mut Ctx<'_>,
        who: IdentityId,
        content: Content,
    ) -> Result<Reply, CommandError> {
        self.may_say(ctx, who)?;
        self.keep(ctx, who)?;
        let untold = match content {
            Content::Delete { target } => self.withdraw(ctx, who, target),
            _ => BTreeSet::new(),
        };
        let contact = self.people.get_mut(&who).ok_or(CommandError::UnknownMember)?;
        let devices = contact.devices.iter().map(|d| d.device);
        let devices: Vec<DeviceId> = devices.filter(|d| !untold.contains(d)).collect();
        if contact.standing != Standing::Accepted {
            contact.standing = Standing::Accepted;
            contact.dirty = true;
            Self::news(ctx, contact, ContactNews::Accepted);
        }
        let mut id = EntryId([0; 16]);
        ctx.rng.fill(&mut id.0);
        let (lamport, eff) = contact.clocks(ctx.wall);
        let at_ms = ctx.wall.min(DIRECT_CLOCK_MAX - 1);
        let (seq, journal) = (contact.own_next, *ctx.journal);
        *ctx.journal += 1;
        let said = Said {
            id,
            kind: content.kind().code(),
            lamport,
            eff,
            at_ms,
            content: content.encode(),
        };
        let row = DirectRow {
            journal,
            room: contact.room(),
            identity: who,
            id,
            device: ctx.keys.device_id(),
            own: true,
            seq,
            kind: said.kind,
            eff,
            lamport,
            at_ms,
            arrived_ms: ctx.wall,
            shown_ms: times::shown_ms(at_ms, ctx.wall, Some(eff), true),
            target: content.target(),
            content: Some(said.content.clone()),
            state: Some(if devices.is_empty() && !untold.is_empty() {
                // Nobody needs to hear it.
                Delivery::Delivered { n: 0, m: 0 }
            } else {
                Delivery::Queued
            }),
        };
        let (kind, state, deleted) = (row.kind, row.state, false);
        contact.note(id, Meta { own: true, seq, kind, journal, state, deleted }, lamport, eff);
        if let Content::Delete { target } = content {
            contact.deleted(&target);
        }
        let names = Names { own: ctx.name, other: contact.name() };
        let message = timeline::message(&Line { row: &row, content: Some(&content) }, &names);
        ctx.tell(Event::MessageAdded { message: Box::new(message) });
        let room = row.room;
        ctx.step.writes.push(Write::Direct(row));
        if let Content::Delete { target } = content {
            ctx.step.writes.push(Write::DropDirect { room, id: target });
        }
        let said: std::sync::Arc<[u8]> = said.encode().into();
        for device in devices {
            let queue = self.queues.entry(device).or_insert_with(|| Queue::new(who));
            queue.push(id, seq, said.clone(), (ctx.wall, self.ran.total_ms()));
        }
        self.view_dirty = true;
        Ok(Reply::Stored { message: id, room, seq, journal })
    }

    /// An own message is deleted: its words leave the queues. Returns the devices that never got
    /// any of it and need not hear that it is gone.
    fn withdraw(
        &mut self,
        ctx: &mut Ctx<'_>,
        who: IdentityId,
        target: EntryId,
    ) -> BTreeSet<DeviceId> {
        let (mut untold, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for (device, queue) in self.queues.iter_mut().filter(|(_, q)| q.identity == who) {
            let withdrawn = queue.withdraw(target);
            if !withdrawn.to_tell {
                untold.insert(*device);
            }
            for (row, id) in withdrawn.gone {
                ctx.step.writes.push(Write::OutboxDone { device: *device, seq: row });
                gone.insert(id);
            }
        }
        for id in gone {
            let waiting = self.queues.values().any(|q| q.items.iter().any(|i| i.id == id));
            self.set_state(ctx, who, id, |state| match state {
                Some(Delivery::Queued | Delivery::Sent) if !waiting => Some(Delivery::Failed),
                _ => None,
            });
        }
        untold
    }

    fn may_say(&self, ctx: &Ctx<'_>, who: IdentityId) -> Result<(), CommandError> {
        let contact = self.people.get(&who);
        if let Some(contact) = contact.filter(|c| c.standing == Standing::Blocked) {
            return Err(CommandError::BlockedPerson { who: contact.name().to_owned() });
        }
        // By person: the fullest of their queues in messages, all of them in bytes.
        let mut waiting: BTreeMap<IdentityId, (usize, usize)> = BTreeMap::new();
        for queue in self.queues.values() {
            let (count, bytes) = waiting.entry(queue.identity).or_default();
            *count = queue.items.len().max(*count);
            *bytes += queue.items.iter().map(super::outbox::Item::len).sum::<usize>();
        }
        let (queued, bytes) = waiting.get(&who).copied().unwrap_or_default();
        if queued >= DIRECT_QUEUE_MAX || bytes >= DIRECT_PERSON_BYTES_MAX {
            let who = Self::words(ctx, Place::With(who));
            return Err(CommandError::QueueFull { who, queued: queued as u64 });
        }
        let most = waiting.iter().max_by_key(|(_, (_, bytes))| *bytes);
        let all: usize = waiting.values().map(|(_, bytes)| bytes).sum();
        match most.filter(|_| all >= DIRECT_QUEUE_BYTES_MAX) {
            Some((most, _)) => {
                Err(CommandError::QueuesFull { who: Self::words(ctx, Place::With(*most)) })
            }
            None => Ok(()),
        }
    }

    fn mark_read(&mut self, who: IdentityId, upto: u64) {
        let Some(contact) = self.people.get_mut(&who).filter(|c| c.read_upto < upto) else {
            return;
        };
        let before = std::mem::replace(&mut contact.read_upto, upto);
        contact.dirty = true;
        let newest = contact.read_at(upto);
        let news = newest.filter(|id| contact.index.get(id).is_some_and(|m| m.journal > before));
        if self.receipts && contact.standing == Standing::Accepted && news.is_some() {
            contact.receipt = news;
            if let Some(side) = contact.current() {
                self.queues.entry(side.device).or_insert_with(|| Queue::new(who)).again();
            }
        }
    }

    fn set_typing(&mut self, who: IdentityId, typing: bool) {
        let Some(contact) = self.people.get(&who).filter(|c| c.standing == Standing::Accepted)
        else {
            return;
        };
        if let Some(side) =
            contact.current().filter(|s| self.typing && self.reach(&s.device).is_some())
        {
            self.queues.entry(side.device).or_insert_with(|| Queue::new(who)).typing = Some(typing);
        }
    }

    // ---- people ---------------------------------------------------------------------------------

    fn accept(
        &mut self,
        ctx: &mut Ctx<'_>,
        who: IdentityId,
        petname: Option<String>,
    ) -> Result<Reply, CommandError> {
        let who = known(ctx, Place::With(who))?;
        petname.as_deref().map_or(Ok(()), check_name)?;
        let contact = self.keep(ctx, who)?;
        if contact.standing != Standing::Accepted {
            contact.standing = Standing::Accepted;
            contact.dirty = true;
            Self::news(ctx, contact, ContactNews::Accepted);
        }
        if petname.is_some() && contact.petname != petname {
            contact.petname = petname;
            contact.dirty = true;
            Self::news(ctx, contact, ContactNews::Renamed);
        }
        Ok(Reply::Contact { identity: who, room: contact.room() })
    }

    fn block(
        &mut self,
        ctx: &mut Ctx<'_>,
        who: IdentityId,
        blocked: bool,
    ) -> Result<Reply, CommandError> {
        let who = known(ctx, Place::With(who))?;
        if blocked {
            let contact = self.keep(ctx, who)?;
            if contact.standing != Standing::Blocked {
                contact.standing = Standing::Blocked;
                contact.receipt = None;
                contact.dirty = true;
                Self::news(ctx, contact, ContactNews::Blocked);
            }
        } else {
            self.unblock(ctx, who)?;
        }
        Ok(Reply::Contact { identity: who, room: RoomId::of_conversation(&who) })
    }

    /// Who is blocked no more is somebody whom the user answered, named or verified; a stranger who
    /// wrote; or nobody who is kept. Being blocked makes no friends.
    fn unblock(&mut self, ctx: &mut Ctx<'_>, who: IdentityId) -> Result<(), CommandError> {
        let waiting = self.undecided();
        let is_blocked = |c: &&mut Contact| c.standing == Standing::Blocked;
        let Some(contact) = self.people.get_mut(&who).filter(is_blocked) else { return Ok(()) };
        let chosen = contact.petname.is_some() || contact.verified.is_some();
        // Only who was let in may have said that much.
        let said_much = contact.their_next > REQUEST_MESSAGES_MAX;
        let stranger = !chosen && contact.own_next == 0 && !said_much;
        let wrote = !contact.index.is_empty();
        if stranger && wrote && waiting >= REQUESTS_MAX {
            return Err(CommandError::TooManyRequests { waiting: waiting as u64 });
        }
        contact.standing = if stranger { Standing::Requested } else { Standing::Accepted };
        contact.dirty = true;
        Self::news(ctx, contact, ContactNews::Unblocked);
        if stranger && !wrote {
            self.let_go(ctx, who);
        }
        self.view_dirty = true;
        Ok(())
    }

    fn rename(
        &mut self,
        ctx: &mut Ctx<'_>,
        who: IdentityId,
        petname: Option<String>,
    ) -> Result<Reply, CommandError> {
        let who = known(ctx, Place::With(who))?;
        petname.as_deref().map_or(Ok(()), check_name)?;
        let new = !self.people.contains_key(&who);
        let contact = self.keep(ctx, who)?;
        if new {
            // Who is given a name is kept: a request is what a stranger makes.
            contact.standing = Standing::Accepted;
        }
        if contact.petname != petname {
            contact.petname = petname;
            contact.dirty = true;
            Self::news(ctx, contact, ContactNews::Renamed);
        }
        Ok(Reply::Contact { identity: who, room: contact.room() })
    }

    fn verify(
        &mut self,
        ctx: &mut Ctx<'_>,
        who: IdentityId,
        verified: bool,
    ) -> Result<Reply, CommandError> {
        let identity = known(ctx, Place::With(who))?;
        let own = self.own_side(ctx);
        let code = self.people.get(&identity).and_then(|c| c.code(&own));
        if verified && code.is_none() {
            return Err(CommandError::NoKeysYet { who: Self::words(ctx, Place::With(who)) });
        }
        let contact = self.keep(ctx, identity)?;
        contact.verified = code.filter(|_| verified);
        contact.changed = false;
        contact.dirty = true;
        Self::news(
            ctx,
            contact,
            if verified { ContactNews::Verified } else { ContactNews::Unverified },
        );
        Ok(Reply::Contact { identity, room: contact.room() })
    }
}
