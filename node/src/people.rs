//! Answers to queries about people and about conversations with one of them. Rooms are in
//! `history.rs`. Like there, this runs on the caller's blocking thread with a reader of its own;
//! the core and the driver are not involved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use klatch_core::content::{Content, Kind};
use klatch_core::direct::timeline::{Line, Names, fold};
use klatch_core::direct::verify;
use klatch_core::error::CommandError;
use klatch_core::event::{Delivery, Message};
use klatch_core::identity::fingerprint;
use klatch_core::ids::{EntryId, IdentityId, RoomId};
use klatch_core::query::{Contact, Person, Standing, Verification};
use klatch_core::step::{DirectRow, PeopleView};
use klatch_core::times;

use crate::clock::now_ms;
use crate::history::{History, LINES_MAX, Page, failed};
use crate::store::{ContactAtRest, DirectFound, DirectKey, Reader, StoreError};
use crate::views::Shared;

/// A reader with what is needed to make sense of rows about people.
pub struct People<'a> {
    reader: &'a Reader,
    shared: &'a Shared,
    view: Arc<PeopleView>,
    own: IdentityId,
}

impl<'a> People<'a> {
    /// Reads as the person `own`.
    #[must_use]
    pub fn new(reader: &'a Reader, shared: &'a Shared, own: IdentityId) -> Self {
        Self { reader, shared, view: shared.people(), own }
    }

    /// People of conversations: those who wait for an answer, those who were accepted, those who
    /// are blocked, each by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn contacts(&self) -> Result<Vec<Contact>, StoreError> {
        let mut all: Vec<Contact> =
            self.reader.contacts()?.iter().map(|c| self.contact(c)).collect();
        let order = |standing| match standing {
            Standing::Requested => 0,
            Standing::Accepted => 1,
            Standing::Met => 2,
            Standing::Blocked => 3,
        };
        all.sort_by(|a, b| {
            (order(a.standing), &a.name, a.identity).cmp(&(order(b.standing), &b.name, b.identity))
        });
        Ok(all)
    }

    /// Everything about one person. Takes about 0.15 s: the codes are stretched.
    ///
    /// # Errors
    /// [`CommandError`]: somebody unknown, or the store's failure.
    pub fn person(&self, identity: IdentityId) -> Result<Person, CommandError> {
        let directory = &self.view.directory;
        let kept = self.reader.contacts().map_err(failed)?;
        let contact = match kept.iter().find(|c| c.row.identity == identity) {
            Some(known) => self.contact(known),
            None if directory.knows(&identity) => self.stranger(identity),
            None if identity == self.own => return Err(CommandError::Yourself),
            None => {
                let who = identity.to_string();
                return Err(CommandError::UnknownPerson { who, nearest: None });
            }
        };
        let met = directory.rooms_of(&identity);
        let rooms = self.reader.rooms(None).map_err(failed)?.into_iter();
        let rooms: BTreeSet<String> =
            rooms.filter(|r| !r.left && met.contains(&r.room)).map(|r| r.name).collect();
        let devices = match self.view.devices.get(&identity) {
            Some(devices) => devices.clone(),
            None => directory.devices_of(&identity).into_keys().collect(),
        };
        let (digits, emoji) =
            self.view.codes.get(&identity).and_then(verify::code).unwrap_or_default();
        Ok(Person { contact, rooms: rooms.into_iter().collect(), devices, digits, emoji })
    }

    fn contact(&self, known: &ContactAtRest) -> Contact {
        let row = &known.row;
        Contact {
            identity: row.identity,
            room: row.room,
            name: row.petname.as_ref().unwrap_or(&row.claimed).clone(),
            claimed: row.claimed.clone(),
            petname: row.petname.clone(),
            fingerprint: fingerprint(&row.identity),
            name_mark: self.view.directory.mark_of(&row.identity),
            standing: row.standing,
            verification: match row.verified {
                None => Verification::Unverified,
                Some(_) if self.view.changed.contains(&row.identity) => Verification::Changed,
                Some(_) => Verification::Verified,
            },
            online: self.is_online(&row.identity),
            messages: known.messages,
            unread: known.unread,
            last_ms: known.last_ms.max(self.last_seen_ms(&row.identity)),
        }
    }

    /// Linked, or seen in a room now.
    fn is_online(&self, identity: &IdentityId) -> bool {
        let devices = self.view.directory.devices_of(identity);
        self.view.online.contains(identity) || devices.keys().any(|d| self.shared.is_present(d))
    }

    /// Now, while somebody is there.
    fn last_seen_ms(&self, identity: &IdentityId) -> u64 {
        match self.is_online(identity) {
            true => now_ms(),
            false => self.view.directory.last_seen_ms(identity),
        }
    }

    /// Somebody who was met in rooms only.
    fn stranger(&self, identity: IdentityId) -> Contact {
        let name = self.view.directory.name_in_rooms(&identity).unwrap_or_default().to_owned();
        Contact {
            identity,
            room: RoomId::of_conversation(&identity),
            name: name.clone(),
            claimed: name,
            petname: None,
            fingerprint: fingerprint(&identity),
            name_mark: self.view.directory.mark_of(&identity),
            standing: Standing::Met,
            verification: Verification::Unverified,
            online: self.is_online(&identity),
            messages: 0,
            unread: 0,
            last_ms: self.last_seen_ms(&identity),
        }
    }

    // ---- what was said --------------------------------------------------------------------------

    /// Lines of a conversation in display order, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn lines(&self, with: IdentityId, page: &Page<'_>) -> Result<Vec<Message>, StoreError> {
        let room = RoomId::of_conversation(&with);
        let before = match page.before {
            Some(id) => self.reader.direct_by_id(room, id)?.map(|row| DirectKey::of(&row)),
            None => None,
        };
        let wanted = DirectFound {
            before,
            since_ms: page.since_ms,
            limit: page.limit.min(LINES_MAX) as usize,
        };
        let rows = match page.search {
            Some(words) => self.reader.direct_search(room, words, wanted)?,
            None => self.reader.direct_lines(room, wanted)?,
        };
        self.fold(room, rows)
    }

    /// Lines displayed after one, oldest first: the ones that follow it at once. All from the
    /// beginning if that one is unknown.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn lines_after(
        &self,
        with: IdentityId,
        after: EntryId,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let room = RoomId::of_conversation(&with);
        let after = self.reader.direct_by_id(room, after)?.map(|row| DirectKey::of(&row));
        self.fold(room, self.reader.direct_lines_after(room, after, limit.min(LINES_MAX) as usize)?)
    }

    /// One message as it is now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn message(&self, with: IdentityId, id: EntryId) -> Result<Option<Message>, StoreError> {
        let room = RoomId::of_conversation(&with);
        Ok(self.fold(room, self.reader.direct_by_id(room, id)?.into_iter().collect())?.pop())
    }

    /// Messages and their changes in arrival order after a journal number, of one conversation or
    /// of all; lines carry their present text. A short answer means that nothing more is stored.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn journal(
        &self,
        room: Option<RoomId>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let rows = self.reader.direct_journal(room, after, limit.min(LINES_MAX) as usize)?;
        let mut by_room: BTreeMap<RoomId, Vec<DirectRow>> = BTreeMap::new();
        for row in rows {
            by_room.entry(row.room).or_default().push(row);
        }
        let mut messages = Vec::new();
        for (room, rows) in by_room {
            messages.append(&mut self.fold(room, rows)?);
        }
        messages.sort_by_key(|m| m.journal);
        Ok(messages)
    }

    /// As [`People::journal`] for all conversations, with the messages of all rooms between them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn journal_of_all(
        &self,
        rooms: &History<'_>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let mut messages = rooms.journal(None, after, limit)?;
        messages.append(&mut self.journal(None, after, limit)?);
        messages.sort_by_key(|m| m.journal);
        // Each of the two is complete up to its last number if it is full, so the first so many of
        // both are, too.
        messages.truncate(limit.min(LINES_MAX) as usize);
        Ok(messages)
    }

    fn fold(&self, room: RoomId, rows: Vec<DirectRow>) -> Result<Vec<Message>, StoreError> {
        let Some(identity) = rows.first().map(|r| r.identity) else { return Ok(Vec::new()) };
        let is_line = |kind| Kind::from_code(kind).is_some_and(Kind::is_line);
        let targets: Vec<EntryId> = rows.iter().filter(|r| is_line(r.kind)).map(|r| r.id).collect();
        let changes = self.reader.direct_annotations(room, &targets)?;
        let (said, changed) = (open(&rows), open(&changes));
        let lines: Vec<Line<'_>> =
            rows.iter().zip(&said).map(|(row, c)| Line { row, content: c.as_ref() }).collect();
        let marks: Vec<Line<'_>> = changes
            .iter()
            .zip(&changed)
            .map(|(row, c)| Line { row, content: c.as_ref() })
            .collect();
        let (own, other) = (self.shared.name(), self.name_of(identity)?);
        let mut messages = fold(&lines, &marks, &Names { own: &own, other: &other });
        times::not_in_the_future(&mut messages, now_ms());
        let mark = self.view.directory.mark_of(&identity);
        for message in messages.iter_mut().filter(|m| !m.own) {
            message.name_mark.clone_from(&mark);
        }
        for message in messages.iter_mut().filter(|m| m.state == Some(Delivery::Queued)) {
            if self.view.sent.contains(&message.id) {
                message.state = Some(Delivery::Sent);
            }
        }
        Ok(messages)
    }

    /// The name to show: the own one for them, else the one they give themselves.
    fn name_of(&self, identity: IdentityId) -> Result<String, StoreError> {
        let known = self.reader.contact(&identity)?;
        Ok(known.map_or_else(|| fingerprint(&identity), |c| c.petname.unwrap_or(c.claimed)))
    }
}

fn open(rows: &[DirectRow]) -> Vec<Option<Content>> {
    rows.iter()
        .map(|r| Content::decode(Kind::from_code(r.kind)?, r.content.as_ref()?).ok())
        .collect()
}

#[cfg(test)]
mod tests;
