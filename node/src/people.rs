//! Answers to queries about people and about conversations with one of them. Rooms are in
//! `history.rs`. Like there, this runs on the caller's blocking thread with a reader of its own;
//! the core and the driver are not involved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use klatch_core::content::{Content, Kind};
use klatch_core::direct::people::{Candidate, find_person, is_person};
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
use crate::store::{ContactAtRest, DirectFound, DirectKey, Met, Reader, StoreError};
use crate::views::Shared;

/// What a `room` in a query means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A room.
    Room(RoomId),
    /// The conversation with a person.
    With(IdentityId),
}

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

    /// What a name or id means: `@...` a person, the id of a conversation its person, everything
    /// else a room.
    ///
    /// # Errors
    /// [`CommandError`]: nobody, several people, no such room, or the store's failure.
    pub fn place(&self, wanted: &str, rooms: &History<'_>) -> Result<Place, CommandError> {
        if is_person(wanted) {
            return self.find(wanted).map(Place::With);
        }
        if let Some(room) = RoomId::parse(wanted)
            && let Some(identity) = self.reader.person_of(room).map_err(failed)?
        {
            return Ok(Place::With(identity));
        }
        match rooms.find(wanted) {
            // The conversation with somebody who was only met so far.
            Err(unknown) if RoomId::parse(wanted).is_some() => {
                self.find(wanted).map(Place::With).map_err(|_| unknown)
            }
            found => found.map(Place::Room),
        }
    }

    /// The person that a name, fingerprint, identity or conversation means.
    ///
    /// # Errors
    /// [`CommandError`]: nobody, several people, the user, or the store's failure.
    pub fn find(&self, who: &str) -> Result<IdentityId, CommandError> {
        let (contacts, met) = (self.reader.contacts(), self.reader.everybody());
        find_person(&self.candidates(&contacts.map_err(failed)?, &met.map_err(failed)?), who)
    }

    /// Everybody a name may mean, each once: people in conversations, members of rooms, the user.
    /// As the core does it for commands.
    fn candidates(&self, contacts: &[ContactAtRest], met: &[Met]) -> Vec<Candidate> {
        let mut found: Vec<Candidate> = contacts
            .iter()
            .map(|c| Candidate {
                identity: c.row.identity,
                claimed: c.row.claimed.clone(),
                petname: c.row.petname.clone(),
                blocked: c.row.standing == Standing::Blocked,
                own: false,
            })
            .collect();
        let known: BTreeSet<IdentityId> =
            found.iter().map(|c| c.identity).chain([self.own]).collect();
        found.extend(newest(met).into_values().filter(|m| !known.contains(&m.identity)).map(|m| {
            Candidate {
                identity: m.identity,
                claimed: m.name.clone(),
                petname: None,
                blocked: false,
                own: false,
            }
        }));
        found.push(Candidate {
            identity: self.own,
            claimed: self.shared.name(),
            petname: None,
            blocked: false,
            own: true,
        });
        found
    }

    /// People of conversations: those who wait for an answer, those who were accepted, those who
    /// are blocked, each by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn contacts(&self) -> Result<Vec<Contact>, StoreError> {
        let met = self.reader.everybody()?;
        let mut all: Vec<Contact> =
            self.reader.contacts()?.iter().map(|c| self.contact(c, &met)).collect();
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
    /// [`CommandError`] as with [`People::find`].
    pub fn person(&self, who: &str) -> Result<Person, CommandError> {
        let (contacts, met) =
            (self.reader.contacts().map_err(failed)?, self.reader.everybody().map_err(failed)?);
        let identity = find_person(&self.candidates(&contacts, &met), who)?;
        let contact = match contacts.iter().find(|c| c.row.identity == identity) {
            Some(known) => self.contact(known, &met),
            None => self.stranger(identity, &met),
        };
        let theirs = || met.iter().filter(|m| m.identity == identity);
        let rooms: BTreeSet<String> =
            theirs().filter(|m| !m.left).map(|m| m.room.clone()).collect();
        let devices = match self.view.devices.get(&identity) {
            Some(devices) => devices.clone(),
            None => theirs().map(|m| m.device).collect::<BTreeSet<_>>().into_iter().collect(),
        };
        let (digits, emoji) =
            self.view.codes.get(&identity).and_then(verify::code).unwrap_or_default();
        Ok(Person { contact, rooms: rooms.into_iter().collect(), devices, digits, emoji })
    }

    fn contact(&self, known: &ContactAtRest, met: &[Met]) -> Contact {
        let row = &known.row;
        Contact {
            identity: row.identity,
            room: row.room,
            name: row.petname.as_ref().unwrap_or(&row.claimed).clone(),
            claimed: row.claimed.clone(),
            petname: row.petname.clone(),
            fingerprint: fingerprint(&row.identity),
            standing: row.standing,
            verification: match row.verified {
                None => Verification::Unverified,
                Some(_) if self.view.changed.contains(&row.identity) => Verification::Changed,
                Some(_) => Verification::Verified,
            },
            online: self.is_online(met, row.identity),
            messages: known.messages,
            unread: known.unread,
            last_ms: known.last_ms.max(last_heard(met, row.identity)),
        }
    }

    /// Linked, or seen in a room now.
    fn is_online(&self, met: &[Met], identity: IdentityId) -> bool {
        let mut devices = met.iter().filter(|m| m.identity == identity).map(|m| &m.device);
        self.view.online.contains(&identity) || devices.any(|d| self.shared.is_present(d))
    }

    /// Somebody who was met in rooms only.
    fn stranger(&self, identity: IdentityId, met: &[Met]) -> Contact {
        let name = newest(met).get(&identity).map(|m| m.name.clone()).unwrap_or_default();
        Contact {
            identity,
            room: RoomId::of_conversation(&identity),
            name: name.clone(),
            claimed: name,
            petname: None,
            fingerprint: fingerprint(&identity),
            standing: Standing::Met,
            verification: Verification::Unverified,
            online: self.is_online(met, identity),
            messages: 0,
            unread: 0,
            last_ms: last_heard(met, identity),
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

/// Of each person in a room, where they were heard last: the name there is the latest.
fn newest(met: &[Met]) -> BTreeMap<IdentityId, &Met> {
    let mut found: BTreeMap<IdentityId, &Met> = BTreeMap::new();
    for m in met {
        let best = found.entry(m.identity).or_insert(m);
        if (m.last_seen_ms, &m.room) > (best.last_seen_ms, &best.room) {
            *best = m;
        }
    }
    found
}

fn last_heard(met: &[Met], identity: IdentityId) -> u64 {
    met.iter().filter(|m| m.identity == identity).map(|m| m.last_seen_ms).max().unwrap_or(0)
}

#[cfg(test)]
mod tests;
