//! What the node tells while a plain chat is open, in lines.

use klatch_core::event::{ContactNews, Event, Message};
use klatch_core::ids::{DeviceId, IdentityId, RoomId};
use klatch_core::query::{Contact, Standing};

use super::Plain;
use crate::act::{Here, people};
use crate::client::Told;
use crate::error::Report;
use crate::lines::marked;
use crate::output::visible;

/// In a room with more people than this only the first to come and the last to go are told: the
/// rest would be noise.
const TOLD_MAX: usize = 8;

impl Plain<'_> {
    /// Shows an event.
    pub(super) async fn told(&mut self, told: Told) -> Result<(), Report> {
        if let Some(cursor) = told.cursor {
            self.events.cursor = self.events.cursor.max(cursor);
        }
        if let Event::MessageAdded { message } = &told.event
            && message.direct
            && !self.welcome(message).await?
        {
            return Ok(());
        }
        let room = room_of(&told.event);
        if room.is_some_and(|r| !self.shown.contains_key(&r)) {
            return Ok(());
        }
        let name = room.map(|r| self.place_name(r)).unwrap_or_default();
        if self.out.json && !matches!(told.event, Event::Typing { .. }) {
            self.out.json(&told)?;
        }
        match told.event {
            Event::MessageAdded { message } => self.message(&message, &name).await,
            Event::DeliveryChanged { .. } | Event::Lagged { .. } => {
                self.look_soon();
                Ok(())
            }
            Event::RoomLeft { room } | Event::Forgotten { room, .. } => {
                self.shown.remove(&room);
                Ok(())
            }
            Event::ContactChanged { identity, news, .. } => self.contact(identity, news).await,
            Event::PresenceChanged { room, device, name: who, name_mark, online }
                if !self.out.json =>
            {
                let who = marked(who, name_mark.as_deref());
                self.presence(room, device, &who, online, &name)
            }
            other if !self.out.json => {
                remark(&other, &visible(&name)).map_or(Ok(()), |text| self.out.line(&text))
            }
            _ => Ok(()),
        }
    }

    async fn message(&mut self, message: &Message, name: &str) -> Result<(), Report> {
        if !self.out.json {
            self.lines.line(message, name).print(self.out)?;
        }
        if message.own {
            self.look_soon();
        } else {
            self.mark_read(message.room, message.journal).await;
        }
        Ok(())
    }

    /// Whether a direct message is shown: not as long as its sender is a stranger whom the user has
    /// not let in.
    async fn welcome(&mut self, message: &Message) -> Result<bool, Report> {
        let in_already = |c: &Contact| c.room == message.room && c.standing == Standing::Accepted;
        if !self.people.iter().any(in_already) {
            self.read_people().await?;
        }
        let Some(contact) = self.people.iter().find(|c| in_already(c)) else { return Ok(false) };
        self.shown.insert(contact.room, Here::with(contact));
        Ok(true)
    }

    /// Reads anew who is known, and under which names.
    pub(super) async fn read_people(&mut self) -> Result<(), Report> {
        self.people = people::contacts(&mut self.session).await?;
        for here in self.shown.values_mut().chain(&mut self.here).filter(|h| h.direct) {
            if let Some(contact) = self.people.iter().find(|c| c.room == here.room) {
                *here = Here::with(contact);
            }
        }
        Ok(())
    }

    /// Tells what became of a person. What the user did is told by the command that did it.
    async fn contact(&mut self, identity: IdentityId, news: ContactNews) -> Result<(), Report> {
        self.read_people().await?;
        let Some(contact) = self.people.iter().find(|c| c.identity == identity) else {
            return Ok(());
        };
        let (name, who) = (people::shown(contact), people::typed(contact));
        match news {
            ContactNews::Requested if !self.out.json => {
                self.out.say(&format!("* {}", people::request(contact)))
            }
            ContactNews::KeysChanged => {
                self.out.warning(
                    &people::warning(contact)
                        .unwrap_or_else(|| format!("the keys of {name} changed")),
                );
                Ok(())
            }
            ContactNews::Impersonated => {
                self.out.warning(&format!(
                    "somebody else now calls themselves {name}, with other keys: look at /whois {who}"
                ));
                Ok(())
            }
            ContactNews::SessionReset if !self.out.json => self.out.line(&format!(
                "* the encryption with {name} was set up again; what was on its way is sent once more"
            )),
            _ => Ok(()),
        }
    }

    /// Tells who comes and goes.
    fn presence(
        &mut self,
        room: RoomId,
        device: DeviceId,
        who: &str,
        on: bool,
        name: &str,
    ) -> Result<(), Report> {
        let here = self.online.entry(room).or_default();
        let changed = if on { here.insert(device) } else { here.remove(&device) };
        let (who, name) = (visible(who), visible(name));
        match here.len() {
            _ if !changed => Ok(()),
            0 => self.out.line(&format!("* {who} is away: nobody else is here now ({name})")),
            1.. if here.len() > TOLD_MAX => Ok(()),
            _ => {
                self.out.line(&format!("* {who} is {} ({name})", if on { "here" } else { "away" }))
            }
        }
    }
}

/// What is worth a line and nothing else.
fn remark(event: &Event, name: &str) -> Option<String> {
    match event {
        Event::HistoryAdded { count, .. } => {
            Some(format!("* {count} older messages came for {name}: /history shows them"))
        }
        Event::ForkFound { device, .. } => {
            Some(format!("* warning: the device {} in {name} wrote two histories", device.short()))
        }
        Event::DiskBudgetReached { .. } => {
            Some(format!("* {name} is full on this disk: later texts are not stored here"))
        }
        _ => None,
    }
}

fn room_of(event: &Event) -> Option<RoomId> {
    match event {
        Event::MessageAdded { message } => Some(message.room),
        Event::RoomJoined { room, .. }
        | Event::RoomLeft { room }
        | Event::Forgotten { room, .. }
        | Event::HistoryAdded { room, .. }
        | Event::DeliveryChanged { room, .. }
        | Event::PresenceChanged { room, .. }
        | Event::Synced { room }
        | Event::ForkFound { room, .. }
        | Event::Typing { room, .. }
        | Event::DiskBudgetReached { room } => Some(*room),
        _ => None,
    }
}
