//! What conversations leave on the disk of a simulated node, and what a store of them must never
//! contain.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::content::{Content, Kind};
use crate::direct::outbox::words_of;
use crate::direct::timeline::{self, Line, Names};
use crate::event::{Delivery, Message};
use crate::ids::{DeviceId, EntryId, IdentityId, RoomId};
use crate::step::{ContactRow, DirectIndexRow, DirectRow, DirectSnapshot, OutboxRow, Write};

/// Conversations at rest.
#[derive(Debug, Default, Clone)]
pub struct Desk {
    /// The own account.
    pub account: Option<Vec<u8>>,
    /// Sessions by device.
    pub ratchets: BTreeMap<DeviceId, Vec<u8>>,
    /// People.
    pub contacts: BTreeMap<IdentityId, ContactRow>,
    /// What waits.
    pub outbox: BTreeMap<(DeviceId, u64), OutboxRow>,
    /// Messages in journal order.
    pub rows: Vec<DirectRow>,
    /// Where a message is in `rows`.
    pub by_id: BTreeMap<(RoomId, EntryId), usize>,
    /// Told that messages were read, and that one is writing.
    pub privacy: (bool, bool),
    /// How long the node ran while messages waited.
    pub ran_ms: u64,
}

impl Desk {
    /// Applies a write that is about conversations; `false` if it is about something else.
    ///
    /// # Errors
    /// What a store of conversations must never contain, in words.
    pub fn apply(&mut self, write: &Write) -> Result<bool, String> {
        match write {
            Write::Direct(row) => self.append(row)?,
            Write::DirectState { room, id, state } => {
                let row = self.row(*room, *id)?;
                if !row.own || *state == Delivery::Queued {
                    return Err("a delivery state that is none".to_owned());
                }
                row.state = Some(*state);
            }
            Write::DropDirect { room, id } => {
                // Its edits may be here before it.
                if let Ok(row) = self.row(*room, *id) {
                    row.content = None;
                }
                // What an edit says is the text that was deleted.
                let edit = |r: &&mut DirectRow| {
                    r.room == *room && r.target == Some(*id) && r.kind == Kind::Edit.code()
                };
                self.rows.iter_mut().filter(edit).for_each(|r| r.content = None);
            }
            Write::Contact(row) => {
                self.contacts.insert(row.identity, row.clone());
            }
            Write::Ratchet { device, state } => {
                self.ratchets.insert(*device, state.to_vec());
            }
            Write::Account(state) => self.account = Some(state.to_vec()),
            Write::Outbox(row) => {
                self.outbox.insert((row.device, row.seq), row.clone());
            }
            Write::OutboxDone { device, seq } => {
                // Queued and given up in one step is possible; a row that never was, is not written
                // either.
                self.outbox.remove(&(*device, *seq));
            }
            Write::ForgetDirect { room, identity, devices } => {
                self.contacts.remove(identity);
                self.ratchets.retain(|d, _| !devices.contains(d));
                self.outbox.retain(|(d, _), _| !devices.contains(d));
                self.rows.retain(|r| r.room != *room);
                let places = self.rows.iter().enumerate().map(|(at, r)| ((r.room, r.id), at));
                self.by_id = places.collect();
            }
            Write::Privacy { receipts, typing } => self.privacy = (*receipts, *typing),
            Write::Ran(ms) => self.ran_ms = *ms,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What was deleted is not kept to be sent.
    ///
    /// # Errors
    /// Which message is.
    pub fn check_deleted(&self) -> Result<(), String> {
        let deleted =
            |id: &EntryId| self.rows.iter().any(|r| r.own && r.id == *id && r.content.is_none());
        match self.outbox.values().filter_map(words_of).find(deleted) {
            None => Ok(()),
            Some(id) => Err(format!("the words of deleted message {} still wait", id.short())),
        }
    }

    fn append(&mut self, row: &DirectRow) -> Result<(), String> {
        let name = || format!("direct message {}", row.id.short());
        if self.by_id.contains_key(&(row.room, row.id)) {
            return Err(format!("{}: stored twice", name()));
        }
        let side = self.rows.iter().filter(|r| r.room == row.room && r.own == row.own);
        let next = side.map(|r| r.seq + 1).max().unwrap_or(0);
        if row.seq != next {
            return Err(format!("{}: at position {}, next is {next}", name(), row.seq));
        }
        if self.rows.last().is_some_and(|r| r.journal >= row.journal) {
            return Err(format!("{}: its journal number {} does not grow", name(), row.journal));
        }
        self.by_id.insert((row.room, row.id), self.rows.len());
        self.rows.push(row.clone());
        Ok(())
    }

    fn row(&mut self, room: RoomId, id: EntryId) -> Result<&mut DirectRow, String> {
        let at =
            *self.by_id.get(&(room, id)).ok_or("a change of a direct message that is not here")?;
        Ok(&mut self.rows[at])
    }

    /// A message by its id.
    #[must_use]
    pub fn get(&self, room: &RoomId, id: &EntryId) -> Option<&DirectRow> {
        self.rows.get(*self.by_id.get(&(*room, *id))?)
    }

    /// What a machine that starts now continues from.
    #[must_use]
    pub fn snapshot(&self) -> DirectSnapshot {
        let index = self.rows.iter().map(|r| DirectIndexRow {
            room: r.room,
            id: r.id,
            journal: r.journal,
            own: r.own,
            seq: r.seq,
            kind: r.kind,
            eff: r.eff,
            lamport: r.lamport,
            state: r.state,
            deleted: r.content.is_none(),
        });
        DirectSnapshot {
            account: self.account.clone().map(Zeroizing::new),
            ratchets: self.ratchets.iter().map(|(d, s)| (*d, Zeroizing::new(s.clone()))).collect(),
            contacts: self.contacts.values().cloned().collect(),
            outbox: self.outbox.values().cloned().collect(),
            index: index.collect(),
            ran_ms: self.ran_ms,
            receipts: self.privacy.0,
            typing: self.privacy.1,
        }
    }

    /// What a screen shows of a conversation.
    #[must_use]
    pub fn timeline(&self, room: RoomId, names: &Names<'_>) -> Vec<Message> {
        let rows: Vec<(&DirectRow, Option<Content>)> =
            self.rows.iter().filter(|r| r.room == room).map(|r| (r, content_of(r))).collect();
        let is_line = |r: &DirectRow| Kind::from_code(r.kind).is_some_and(Kind::is_line);
        let all = rows.iter().map(|(row, content)| Line { row, content: content.as_ref() });
        let (lines, changes): (Vec<Line<'_>>, Vec<Line<'_>>) = all.partition(|l| is_line(l.row));
        timeline::fold(&lines, &changes, names)
    }
}

fn content_of(row: &DirectRow) -> Option<Content> {
    Content::decode(Kind::from_code(row.kind)?, row.content.as_ref()?).ok()
}
