//! From stored direct messages to what a person sees: lines in display order, with edits, deletes
//! and reactions folded in, as in rooms. Pure: both sides show the same order, whatever the order
//! of arrival.

use std::collections::BTreeMap;

use crate::content::{Content, Kind};
use crate::emoji::counted_as;
use crate::event::{Delivery, Message, Reactions};
use crate::ids::{DeviceId, EntryId};
use crate::step::DirectRow;

/// A stored direct message with its content.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The row.
    pub row: &'a DirectRow,
    /// What it says; `None` once withdrawn, or if a newer version wrote it.
    pub content: Option<&'a Content>,
}

/// How the two are called.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The user.
    pub own: &'a str,
    /// The other: the own name for them, else the one they give themselves.
    pub other: &'a str,
}

/// The key of display order.
#[must_use]
pub fn display_key(row: &DirectRow) -> (u64, u64, EntryId) {
    (row.eff, row.lamport, row.id)
}

/// One row as a line; changes that were made to it are not applied yet. The state is the stored
/// one: that a queued message is on the way is known from [`crate::step::PeopleView::sent`].
#[must_use]
pub fn message(line: &Line<'_>, names: &Names<'_>) -> Message {
    let row = line.row;
    let kind = Kind::from_code(row.kind).unwrap_or(Kind::Newer(row.kind));
    let (text, reply_to) = match line.content {
        Some(Content::Text { text, reply_to }) => (text.clone(), *reply_to),
        Some(Content::Edit { text, .. } | Content::Notice { text }) => (text.clone(), None),
        Some(Content::Reaction { emoji, on, .. }) => {
            (if *on { emoji.clone() } else { format!("-{emoji}") }, None)
        }
        _ => (String::new(), None),
    };
    Message {
        id: row.id,
        room: row.room,
        direct: true,
        journal: row.journal,
        device: row.device,
        identity: (!row.own).then_some(row.identity),
        name: if row.own { names.own } else { names.other }.to_owned(),
        name_mark: None,
        former_name: None,
        seq: row.seq,
        kind,
        text,
        reply_to,
        target: row.target,
        at_ms: row.shown_ms,
        arrived_ms: row.arrived_ms,
        own: row.own,
        state: row.own.then(|| row.state.unwrap_or(Delivery::Queued)),
        edited: false,
        // Only its author's withdrawal drops content, so a text without any was withdrawn.
        deleted: kind == Kind::Text && row.content.is_none(),
        missing: false,
        lack: None,
        reactions: Vec::new(),
    }
}

/// Lines in display order with their changes applied, the latest last; as in rooms, only the
/// author's own edits and deletes count. `changes` are those whose targets are among the lines, in
/// any order.
#[must_use]
pub fn fold(lines: &[Line<'_>], changes: &[Line<'_>], names: &Names<'_>) -> Vec<Message> {
    let mut lines: Vec<&Line<'_>> = lines.iter().collect();
    lines.sort_by_key(|l| display_key(l.row));
    let mut by_target: BTreeMap<EntryId, Vec<&Line<'_>>> = BTreeMap::new();
    for change in changes {
        if let Some(target) = change.row.target {
            by_target.entry(target).or_default().push(change);
        }
    }
    lines
        .into_iter()
        .map(|line| {
            let mut message = message(line, names);
            let mut changes = by_target.remove(&message.id).unwrap_or_default();
            changes.sort_by_key(|c| display_key(c.row));
            apply(&mut message, &changes);
            message
        })
        .collect()
}

fn apply(message: &mut Message, changes: &[&Line<'_>]) {
    // By side, not by device: a reaction of a person's second device is theirs.
    let mut reactions: BTreeMap<(String, bool), (DeviceId, bool)> = BTreeMap::new();
    for change in changes {
        let by_author = change.row.own == message.own;
        match (change.content, Kind::from_code(change.row.kind)) {
            (Some(Content::Edit { text, .. }), _) if by_author && !message.deleted => {
                message.text.clone_from(text);
                message.edited = true;
            }
            (Some(Content::Reaction { emoji, on, .. }), _) => {
                let key = (counted_as(emoji).to_owned(), change.row.own);
                reactions.insert(key, (change.row.device, *on));
            }
            (_, Some(Kind::Delete)) if by_author => {
                message.text.clear();
                message.deleted = true;
            }
            _ => {}
        }
    }
    if message.deleted {
        message.edited = false;
        message.reply_to = None;
        // Nothing is left to react to, and a reaction may have gone from the queue with its text.
        reactions.clear();
    }
    for ((emoji, _), (device, _)) in reactions.into_iter().filter(|(_, (_, on))| *on) {
        match message.reactions.iter_mut().find(|r| r.emoji == emoji) {
            Some(r) => r.devices.push(device),
            None => message.reactions.push(Reactions { emoji, devices: vec![device] }),
        }
    }
}
