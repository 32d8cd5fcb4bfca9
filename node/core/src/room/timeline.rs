//! From stored entries to what a person sees: lines in display order, with edits, deletes and
//! reactions folded in (PROTOCOL.md 6). Pure: the shell reads rows and opens bodies, this decides
//! what they mean.

use std::collections::BTreeMap;

use crate::content::{Content, Kind};
use crate::emoji::counted_as;
use crate::event::{Message, Reactions};
use crate::ids::{DeviceId, EntryId};
use crate::step::{DeviceRow, EntryRow};

/// A stored entry with its opened body.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The row.
    pub row: &'a EntryRow,
    /// Its body, where it is stored and can be opened.
    pub content: Option<&'a Content>,
}

/// The key of display order: a total order that respects causality and depends on the set of
/// entries alone.
#[must_use]
pub fn display_key(row: &EntryRow) -> (u64, u64, EntryId) {
    (row.eff, row.lamport, row.hash.id())
}

/// One entry as a line; changes that others made to it are not applied yet.
#[must_use]
pub fn message(line: &Line<'_>, author: Option<&DeviceRow>) -> Message {
    let row = line.row;
    let kind = Kind::from_code(row.kind).unwrap_or(Kind::Text);
    let (text, reply_to) = match line.content {
        Some(Content::Text { text, reply_to }) => (text.clone(), *reply_to),
        Some(Content::Notice { text } | Content::Edit { text, .. }) => (text.clone(), None),
        Some(Content::Reaction { emoji, on, .. }) => {
            (if *on { emoji.clone() } else { format!("-{emoji}") }, None)
        }
        Some(Content::Profile { name, .. }) => (name.clone(), None),
        Some(Content::Delete { .. } | Content::Leave | Content::Newer(_)) | None => {
            (String::new(), None)
        }
    };
    Message {
        id: row.hash.id(),
        room: row.room,
        direct: false,
        journal: row.journal,
        device: row.device,
        identity: author.and_then(|a| a.identity),
        name: author.map(|a| a.name.clone()).unwrap_or_default(),
        name_mark: None,
        former_name: None,
        seq: row.seq,
        kind,
        text,
        reply_to,
        target: row.target,
        at_ms: row.shown_ms,
        arrived_ms: row.arrived_ms,
        own: false,
        state: None,
        edited: false,
        deleted: false,
        missing: row.entry.body.is_none(),
        lack: row.lack.filter(|_| row.entry.body.is_none()),
        reactions: Vec::new(),
    }
}

/// Lines in display order with their changes applied. `changes` are the edits, deletes and
/// reactions whose targets are among the lines, in any order; the latest by display key wins. Only
/// the author's own edits and deletes count.
#[must_use]
pub fn fold(
    lines: &[Line<'_>],
    changes: &[Line<'_>],
    devices: &BTreeMap<DeviceId, DeviceRow>,
) -> Vec<Message> {
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
            let mut message = message(line, devices.get(&line.row.device));
            let mut changes = by_target.remove(&message.id).unwrap_or_default();
            changes.sort_by_key(|c| display_key(c.row));
            apply(&mut message, &changes, devices);
            message
        })
        .collect()
}

fn apply(message: &mut Message, changes: &[&Line<'_>], devices: &BTreeMap<DeviceId, DeviceRow>) {
    let identity = |d: &DeviceId| devices.get(d).and_then(|r| r.identity);
    let mut reactions: BTreeMap<(String, DeviceId), bool> = BTreeMap::new();
    for change in changes {
        let device = change.row.device;
        let same_person =
            identity(&device).is_some() && identity(&device) == identity(&message.device);
        let by_author = device == message.device || same_person || planted!(AnyoneEdits);
        match (change.content, Kind::from_code(change.row.kind)) {
            (Some(Content::Edit { text, .. }), _) if by_author && !message.deleted => {
                message.text.clone_from(text);
                message.edited = true;
            }
            (Some(Content::Reaction { emoji, on, .. }), _) => {
                reactions.insert((counted_as(emoji).to_owned(), device), *on);
            }
            (_, Some(Kind::Delete)) if by_author => {
                message.text.clear();
                message.deleted = true;
                (message.missing, message.lack) = (false, None);
            }
            _ => {}
        }
    }
    if message.deleted {
        // Nothing is left to react to.
        reactions.clear();
    }
    for ((emoji, device), _) in reactions.into_iter().filter(|(_, on)| *on) {
        match message.reactions.iter_mut().find(|r| r.emoji == emoji) {
            Some(r) => r.devices.push(device),
            None => message.reactions.push(Reactions { emoji, devices: vec![device] }),
        }
    }
}
