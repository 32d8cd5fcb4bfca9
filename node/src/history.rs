//! Answers to queries: rows from the store, opened with the room's keys and folded into what a
//! person sees. Runs on the caller's blocking thread with a reader of its own; the core and the
//! driver are not involved.

use std::collections::BTreeMap;

use klatch_core::content::{Content, Kind};
use klatch_core::error::CommandError;
use klatch_core::event::{Delivery, Message};
use klatch_core::identity::fingerprint;
use klatch_core::ids::{DeviceId, EntryId, IdentityId, Peer, RoomId};
use klatch_core::limits::RECIPIENT_MS;
use klatch_core::place::{RoomName, room_marks};
use klatch_core::query::{Access, Member, RoomSummary};
use klatch_core::room::timeline::{Line, fold};
use klatch_core::step::{DeviceRow, EntryRow};
use klatch_core::times;

use crate::clock::now_ms;
use crate::store::{Found, LineKey, Reader, StoreError};
use crate::views::Shared;

/// Most lines one query returns.
pub const LINES_MAX: u32 = 1_000;

/// Own entries that are looked at one by one, to tell messages from new names and goodbyes: a
/// millisecond.
const COUNTED_MAX: u64 = 1_000;

/// A reader with what is needed to make sense of rows.
pub struct History<'a> {
    reader: &'a Reader,
    shared: &'a Shared,
    own: DeviceId,
}

/// Which lines of a room.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// At most so many, the newest that match.
    pub limit: u32,
    /// Shown at or after.
    pub since_ms: Option<u64>,
    /// Displayed before this one.
    pub before: Option<EntryId>,
    /// Containing these words.
    pub search: Option<&'a str>,
}

impl<'a> History<'a> {
    /// Reads as the owner of device `own`.
    #[must_use]
    pub fn new(reader: &'a Reader, shared: &'a Shared, own: DeviceId) -> Self {
        Self { reader, shared, own }
    }

    /// What it reads from.
    #[must_use]
    pub(crate) fn reader(&self) -> &'a Reader {
        self.reader
    }

    /// The rooms, joined ones first, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn rooms(&self) -> Result<Vec<RoomSummary>, StoreError> {
        let rows = self.reader.rooms(Some(self.own))?;
        let mut rooms = Vec::with_capacity(rows.len());
        for r in rows {
            let view = self.shared.view(&r.room);
            rooms.push(RoomSummary {
                room: r.room,
                name: r.name,
                name_mark: None,
                access: if r.passphrase { Access::Passphrase } else { Access::Open },
                members: r.members,
                online: view
                    .as_ref()
                    .map_or(0, |v| u32::try_from(v.online.len()).unwrap_or(u32::MAX)),
                messages: r.messages,
                unread: r.unread,
                queued: self.queued(r.room)?,
                bytes: r.bytes,
                over_budget: r.over_budget,
                damaged: r.damaged,
                behind: view.as_ref().is_some_and(|v| v.behind),
                left: r.left,
                leaving: view.as_ref().is_some_and(|v| v.followed && !v.joined),
                up_to_date: view.as_ref().map_or(0, |v| v.up_to_date),
            });
        }
        rooms.sort_by(|a, b| (a.left, &a.name).cmp(&(b.left, &b.name)));
        let named = rooms.iter().map(|r| RoomName {
            room: r.room,
            name: &r.name,
            left: r.left,
            passphrase: r.access == Access::Passphrase,
        });
        let marks = room_marks(&named.collect::<Vec<_>>());
        for (room, mark) in rooms.iter_mut().zip(marks) {
            room.name_mark = mark;
        }
        Ok(rooms)
    }

    /// The devices of a room, the own first, then by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn members(&self, room: RoomId) -> Result<Vec<Member>, StoreError> {
        let online = self.shared.view(&room).map(|v| v.online).unwrap_or_default();
        let (people, now) = (self.shared.people(), now_ms());
        let is_online = |d: &DeviceId| *d == self.own || online.contains(d);
        let mut members: Vec<Member> = self
            .reader
            .devices(room)?
            .into_iter()
            .map(|d| Member {
                device: d.device,
                identity: d.identity,
                fingerprint: d.identity.as_ref().map(fingerprint).unwrap_or_default(),
                name_mark: people.directory.mark_in(&room, &d.device),
                typed_mark: people.directory.mark_beyond(&room, &d.device),
                online: is_online(&d.device),
                own: d.device == self.own,
                last_seen_ms: if is_online(&d.device) { now } else { d.last_seen_ms },
                muted: d.muted,
                forked: d.forked.is_some(),
                name: d.name,
            })
            .collect();
        members.sort_by(|a, b| (!a.own, !a.online, &a.name).cmp(&(!b.own, !b.online, &b.name)));
        Ok(members)
    }

    /// Lines in display order, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn lines(&self, room: RoomId, page: &Page<'_>) -> Result<Vec<Message>, StoreError> {
        let limit = page.limit.min(LINES_MAX) as usize;
        let before = match page.before {
            Some(id) => self.reader.by_id(room, id)?.map(|row| LineKey::of(&row)),
            None => None,
        };
        let mut wanted = Found { before, since_ms: page.since_ms, limit };
        let mut lines = Vec::new();
        // Lines of muted devices are passed over, so one look may not be enough.
        while lines.len() < limit {
            wanted.limit = limit - lines.len();
            let rows = match page.search {
                Some(words) => self.reader.search(room, words, wanted)?,
                None => self.reader.lines(room, wanted)?,
            };
            let (full, first) = (rows.len() >= wanted.limit, rows.first().map(LineKey::of));
            let mut earlier = self.fold(room, rows)?;
            earlier.append(&mut lines);
            lines = earlier;
            match first {
                Some(key) if full => wanted.before = Some(key),
                _ => break,
            }
        }
        Ok(lines)
    }

    /// Lines displayed after one, oldest first: the ones that follow it at once. All from the
    /// beginning if that one is unknown.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn lines_after(
        &self,
        room: RoomId,
        after: EntryId,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let limit = limit.min(LINES_MAX) as usize;
        let mut after = self.reader.by_id(room, after)?.map(|row| LineKey::of(&row));
        let mut lines = Vec::new();
        while lines.len() < limit {
            let wanted = limit - lines.len();
            let rows = self.reader.lines_after(room, after, wanted)?;
            let (full, last) = (rows.len() >= wanted, rows.last().map(LineKey::of));
            lines.append(&mut self.fold(room, rows)?);
            match last {
                Some(key) if full => after = Some(key),
                _ => break,
            }
        }
        Ok(lines)
    }

    /// One message as it is now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn message(&self, room: RoomId, id: EntryId) -> Result<Option<Message>, StoreError> {
        let row = self.reader.by_id(room, id)?;
        Ok(self.fold(room, row.into_iter().collect())?.pop())
    }

    /// Entries in arrival order after a journal number, changes included, each as it arrived; lines
    /// carry their present text. What muted devices wrote is passed over, so a short answer always
    /// means that nothing more is stored.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn journal(
        &self,
        room: Option<RoomId>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let limit = limit.min(LINES_MAX) as usize;
        let (mut messages, mut after) = (Vec::new(), after);
        while messages.len() < limit {
            let wanted = limit - messages.len();
            let rows = self.reader.journal(room, after, wanted)?;
            let (full, last) = (rows.len() >= wanted, rows.last().map(|r| r.journal));
            let mut by_room: BTreeMap<RoomId, Vec<EntryRow>> = BTreeMap::new();
            for row in rows {
                by_room.entry(row.room).or_default().push(row);
            }
            for (room, rows) in by_room {
                messages.append(&mut self.fold(room, rows)?);
            }
            match last {
                Some(journal) if full => after = journal,
                _ => break,
            }
        }
        messages.sort_by_key(|m| m.journal);
        Ok(messages)
    }

    fn fold(&self, room: RoomId, rows: Vec<EntryRow>) -> Result<Vec<Message>, StoreError> {
        let devices: BTreeMap<DeviceId, DeviceRow> =
            self.reader.devices(room)?.into_iter().map(|d| (d.device, d)).collect();
        let rows: Vec<EntryRow> = rows
            .into_iter()
            .filter(|r| r.device == self.own || !devices.get(&r.device).is_some_and(|d| d.muted))
            .collect();
        let targets: Vec<EntryId> =
            rows.iter().filter(|r| is_line(r.kind)).map(|r| r.hash.id()).collect();
        let changes: Vec<EntryRow> = self.reader.annotations(room, &targets)?;
        let (opened, changed) = (self.open(room, &rows), self.open(room, &changes));
        let lines: Vec<Line<'_>> =
            rows.iter().zip(&opened).map(|(row, c)| Line { row, content: c.as_ref() }).collect();
        let marks: Vec<Line<'_>> = changes
            .iter()
            .zip(&changed)
            .map(|(row, c)| Line { row, content: c.as_ref() })
            .collect();
        let mut messages = fold(&lines, &marks, &devices);
        times::not_in_the_future(&mut messages, now_ms());
        self.name(room, &mut messages)?;
        self.states(room, &devices, &mut messages);
        Ok(messages)
    }

    /// Says which names are shared, and what somebody was called before.
    fn name(&self, room: RoomId, messages: &mut [Message]) -> Result<(), StoreError> {
        let people = self.shared.people();
        let mut marks: BTreeMap<DeviceId, Option<String>> = BTreeMap::new();
        for message in messages.iter_mut() {
            let mark = || people.directory.mark_in(&room, &message.device);
            message.name_mark = marks.entry(message.device).or_insert_with(mark).clone();
            if message.kind == Kind::Profile && message.seq > 0 {
                let before = self.reader.profile_before(room, message.device, message.journal)?;
                let before = self.open(room, before.as_slice()).into_iter().flatten().next();
                message.former_name = match before {
                    Some(Content::Profile { name, .. }) => Some(name),
                    _ => None,
                };
            }
        }
        Ok(())
    }

    fn open(&self, room: RoomId, rows: &[EntryRow]) -> Vec<Option<Content>> {
        let Some(keys) = self.shared.keys(&room) else {
            return rows.iter().map(|_| None).collect();
        };
        rows.iter().map(|r| r.entry.body.as_ref().and_then(|_| keys.open(&r.entry).ok())).collect()
    }

    /// Marks own messages and says where they are.
    fn states(
        &self,
        room: RoomId,
        devices: &BTreeMap<DeviceId, DeviceRow>,
        messages: &mut [Message],
    ) {
        let sent_below = self.shared.view(&room).map_or(0, |v| v.sent_below);
        let now = now_ms();
        let others: Vec<&DeviceRow> = devices.values().filter(|d| d.device != self.own).collect();
        for message in messages.iter_mut().filter(|m| m.device == self.own) {
            message.own = true;
            let n = others.iter().filter(|d| d.acked > message.seq).count();
            let recent = |d: &DeviceRow| now.saturating_sub(d.last_seen_ms) < RECIPIENT_MS;
            let m = others.iter().filter(|d| d.acked > message.seq || recent(d)).count();
            message.state = Some(if n > 0 {
                let count = |x: usize| u32::try_from(x).unwrap_or(u32::MAX);
                Delivery::Delivered { n: count(n), m: count(m) }
            } else if message.seq < sent_below {
                Delivery::Sent
            } else {
                Delivery::Queued
            });
        }
    }

    /// The newest journal number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn head(&self) -> Result<u64, StoreError> {
        self.reader.head()
    }

    /// Who is at the other end of each link, as far as signed presence in the rooms told.
    #[must_use]
    pub fn people_of_peers(
        &self,
        rooms: impl Iterator<Item = RoomId>,
    ) -> BTreeMap<Peer, IdentityId> {
        let people = self.shared.people();
        let linked = rooms.filter_map(|room| self.shared.view(&room)).flat_map(|v| v.linked);
        linked.filter_map(|(peer, d)| Some((peer, people.directory.owner(&d)?))).collect()
    }

    /// Own messages of a room that nobody else has acknowledged.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn queued(&self, room: RoomId) -> Result<u64, StoreError> {
        let Some(view) = self.shared.view(&room) else { return Ok(0) };
        let acked = self
            .reader
            .devices(room)?
            .iter()
            .filter(|d| d.device != self.own)
            .map(|d| d.acked)
            .max();
        // The first own entry is the profile, not a message.
        let from = acked.unwrap_or(0).max(1);
        match view.own_next.saturating_sub(from) {
            0 => Ok(0),
            // Among so many a few that are none do not matter.
            many if many > COUNTED_MAX => Ok(many),
            _ => self.reader.said_since(room, self.own, from),
        }
    }
}

fn is_line(kind: u8) -> bool {
    Kind::from_code(kind).is_some_and(Kind::is_line)
}

/// A query that the store could not answer.
#[must_use]
pub fn failed(error: StoreError) -> CommandError {
    CommandError::ReadFailed { cause: error.to_string() }
}
