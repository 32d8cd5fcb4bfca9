//! Forgetting a person: the conversation goes, with its keys and whatever waits in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::command::Reply;
use crate::ctx::Ctx;
use crate::direct::contact::Contact;
use crate::direct::say::known;
use crate::direct::{Direct, Flight};
use crate::error::CommandError;
use crate::event::Event;
use crate::ids::{DeviceId, IdentityId};
use crate::place::Place;
use crate::query::Standing;
use crate::step::Write;

impl Flight {
    fn device(&self) -> &DeviceId {
        match self {
            Self::Ask { device, .. }
            | Self::Message { device, .. }
            | Self::Signal { device, .. } => device,
        }
    }
}

impl Direct {
    /// Keeps nothing of a person, but that they are blocked if they are. Nothing happens if nothing
    /// is kept.
    pub(super) fn forget(
        &mut self,
        ctx: &mut Ctx<'_>,
        who: IdentityId,
    ) -> Result<Reply, CommandError> {
        let who = known(ctx, Place::With(who))?;
        let Some(contact) = self.let_go(ctx, who) else { return Ok(Reply::Done) };
        let room = contact.room();
        if contact.standing == Standing::Blocked {
            let blocked = Contact::new(who, contact.claimed, Standing::Blocked, ctx.wall);
            Self::introduce_to(ctx, &blocked);
            self.people.insert(who, blocked);
        }
        ctx.record(Event::Forgotten { room, direct: true });
        Ok(Reply::Done)
    }

    /// Takes away all that is kept of a person, and says what it was.
    pub(super) fn let_go(&mut self, ctx: &mut Ctx<'_>, who: IdentityId) -> Option<Contact> {
        let contact = self.people.remove(&who)?;
        let mut devices: BTreeSet<DeviceId> = contact.devices.iter().map(|d| d.device).collect();
        devices.extend(self.owners.iter().filter(|(_, i)| **i == who).map(|(d, _)| *d));
        devices.extend(self.queues.iter().filter(|(_, q)| q.identity == who).map(|(d, _)| *d));
        self.owners.retain(|_, identity| *identity != who);
        self.queues.retain(|_, queue| queue.identity != who);
        self.sessions.retain(|device, _| !devices.contains(device));
        // What still comes as an answer is for nobody.
        self.flights.retain(|_, flight| !devices.contains(flight.device()));
        Arc::make_mut(ctx.directory).drop_kept(&who);
        self.view_dirty = true;
        let (room, devices) = (contact.room(), devices.into_iter().collect());
        ctx.step.writes.push(Write::ForgetDirect { room, identity: who, devices });
        Some(contact)
    }
}
