//! Reading conversations while the writer writes: people, and messages in display order, in arrival
//! order, by id, by target, by word.

use klatch_core::ids::{EntryId, IdentityId, RoomId};
use klatch_core::step::{ContactRow, DirectRow};
use rusqlite::{OptionalExtension, params};

use super::{
    COLUMNS, CONTACT, DirectKey, SINCE, TABLES, index, read_contact, read_row, talk_number,
};
use crate::store::error::StoreError;
use crate::store::read::{MATCHES_MAX, ROWS_MAX, Reader, kinds_that_are_no_lines};
use crate::store::row::{bytes, int, ordered, unordered, whole};
use crate::store::search::Terms;

/// A person for lists, with what is stored of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactAtRest {
    /// The person.
    pub row: ContactRow,
    /// Texts and notices stored.
    pub messages: u64,
    /// Texts and notices of theirs that arrived after the last one read.
    pub unread: u64,
    /// When the newest message was shown, Unix milliseconds; 0 if there is none.
    pub last_ms: u64,
}

/// Which messages of a conversation are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct DirectFound {
    /// Only messages displayed before this one.
    pub before: Option<DirectKey>,
    /// Only messages written, or arrived, at or after this time, Unix milliseconds.
    pub since_ms: Option<u64>,
    /// At most this many, the newest ones.
    pub limit: usize,
}

impl Reader {
    /// The people kept or met in conversations, in the order of the first meeting.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn contacts(&self) -> Result<Vec<ContactAtRest>, StoreError> {
        let mut select = self.main.prepare_cached(&format!(
            "SELECT {CONTACT},
             (SELECT count(*) FROM direct x WHERE x.talk = t.id AND x.kind IN (1, 5)
              AND x.content IS NOT NULL),
             (SELECT count(*) FROM direct x WHERE x.talk = t.id AND x.journal > t.read_upto AND x.kind IN (1, 5)
              AND NOT x.own AND x.content IS NOT NULL),
             coalesce((SELECT x.shown_ms FROM direct x WHERE x.talk = t.id
              ORDER BY x.eff DESC, x.lamport DESC, x.id DESC LIMIT 1), 0)
             FROM contact c JOIN talk t ON t.id = c.talk ORDER BY t.id"
        ))?;
        let mut rows = select.query([])?;
        let mut found = Vec::new();
        while let Some(r) = rows.next()? {
            found.push(ContactAtRest {
                row: read_contact(r)?,
                messages: whole(r.get(9)?),
                unread: whole(r.get(10)?),
                last_ms: whole(r.get(11)?),
            });
        }
        Ok(found)
    }

    /// One person, if there is a conversation with them.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn contact(&self, identity: &IdentityId) -> Result<Option<ContactRow>, StoreError> {
        let sql = format!(
            "SELECT {CONTACT} FROM contact c JOIN talk t ON t.id = c.talk WHERE t.identity = ?1"
        );
        let mut select = self.main.prepare_cached(&sql)?;
        let mut rows = select.query([identity.0])?;
        rows.next()?.map(read_contact).transpose()
    }

    /// With whom a conversation is; `None` if nothing is stored of it.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn person_of(&self, room: RoomId) -> Result<Option<IdentityId>, StoreError> {
        let mut select = self.main.prepare_cached("SELECT identity FROM talk WHERE room = ?1")?;
        let mut rows = select.query([room.0])?;
        rows.next()?.map(|r| Ok(IdentityId(bytes(r, 0)?))).transpose()
    }

    /// Messages of a conversation in display order, oldest first: the newest ones that `wanted`
    /// admits.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn direct_lines(
        &self,
        room: RoomId,
        wanted: DirectFound,
    ) -> Result<Vec<DirectRow>, StoreError> {
        let Some(talk) = talk_number(&self.main, room)? else { return Ok(Vec::new()) };
        // The time is looked at before the content is read, which may be large.
        let mut select = self.main.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM {TABLES} WHERE x.talk = ?1 AND x.kind NOT IN ({})
             AND {SINCE} AND (x.eff, x.lamport, x.id) < (?3, ?4, ?5)
             ORDER BY x.eff DESC, x.lamport DESC, x.id DESC",
            kinds_that_are_no_lines()
        ))?;
        let since = int(wanted.since_ms.unwrap_or(0));
        let rows = match wanted.before {
            Some(key) => select.query(params![
                talk,
                since,
                ordered(key.eff),
                ordered(key.lamport),
                key.id.0
            ])?,
            // One byte longer than any id: after everything.
            None => select.query(params![talk, since, i64::MAX, i64::MAX, [0xff_u8; 17]])?,
        };
        let mut found = take(rows, wanted.limit, |_| true)?;
        found.reverse();
        Ok(found)
    }

    /// Messages of a conversation displayed after one, oldest first; from the beginning without it.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn direct_lines_after(
        &self,
        room: RoomId,
        after: Option<DirectKey>,
        limit: usize,
    ) -> Result<Vec<DirectRow>, StoreError> {
        let Some(talk) = talk_number(&self.main, room)? else { return Ok(Vec::new()) };
        let mut select = self.main.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM {TABLES} WHERE x.talk = ?1 AND x.kind NOT IN ({})
             AND (x.eff, x.lamport, x.id) > (?2, ?3, ?4) ORDER BY x.eff, x.lamport, x.id",
            kinds_that_are_no_lines()
        ))?;
        let rows = match after {
            Some(key) => {
                select.query(params![talk, ordered(key.eff), ordered(key.lamport), key.id.0])?
            }
            // Shorter than any id: before everything.
            None => select.query(params![talk, i64::MIN, i64::MIN, [0_u8; 0]])?,
        };
        take(rows, limit, |_| true)
    }

    /// Messages of a conversation, oldest first, that contain these words (the last one may be a
    /// prefix) in their present text: the newest ones that `wanted` admits. Bounds as with
    /// [`Reader::search`].
    ///
    /// # Errors
    /// When the files cannot be read. Any text is a valid query.
    pub fn direct_search(
        &self,
        room: RoomId,
        words: &str,
        wanted: DirectFound,
    ) -> Result<Vec<DirectRow>, StoreError> {
        let Some(talk) = talk_number(&self.main, room)? else { return Ok(Vec::new()) };
        let Some(terms) = Terms::parse(words) else { return Ok(Vec::new()) };
        let mut newest =
            self.direct_keys(&index::matches(&self.main, talk, &terms, MATCHES_MAX)?)?;
        newest.retain(|(key, _)| wanted.before.is_none_or(|before| *key < before));
        newest.sort_unstable_by(|a, b| b.cmp(a));
        let mut select = self.main.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM {TABLES} WHERE x.journal = ?1 AND {SINCE}"
        ))?;
        let since = int(wanted.since_ms.unwrap_or(0));
        let mut found = Vec::new();
        for (_, journal) in newest {
            if found.len() >= wanted.limit.min(ROWS_MAX) {
                break;
            }
            found.append(&mut take(select.query(params![journal, since])?, 1, |_| true)?);
        }
        found.reverse();
        Ok(found)
    }

    /// Messages and changes of any kind in arrival order after a journal number; of all
    /// conversations without one.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn direct_journal(
        &self,
        room: Option<RoomId>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<DirectRow>, StoreError> {
        let Some(room) = room else {
            let sql =
                format!("SELECT {COLUMNS} FROM {TABLES} WHERE x.journal > ?1 ORDER BY x.journal");
            return take(self.main.prepare_cached(&sql)?.query([int(after)])?, limit, |_| true);
        };
        let Some(talk) = talk_number(&self.main, room)? else { return Ok(Vec::new()) };
        let sql = format!(
            "SELECT {COLUMNS} FROM {TABLES} WHERE x.talk = ?1 AND x.journal > ?2 ORDER BY x.journal"
        );
        take(self.main.prepare_cached(&sql)?.query([talk, int(after)])?, limit, |_| true)
    }

    /// One message by its id; the first to arrive, should the other side have used an id twice.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn direct_by_id(&self, room: RoomId, id: EntryId) -> Result<Option<DirectRow>, StoreError> {
        let Some(talk) = talk_number(&self.main, room)? else { return Ok(None) };
        let sql = format!(
            "SELECT {COLUMNS} FROM {TABLES} WHERE x.talk = ?1 AND x.id = ?2 ORDER BY x.journal"
        );
        Ok(take(self.main.prepare_cached(&sql)?.query(params![talk, id.0])?, 1, |_| true)?.pop())
    }

    /// Edits, deletes and reactions of these messages, in no particular order.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn direct_annotations(
        &self,
        room: RoomId,
        targets: &[EntryId],
    ) -> Result<Vec<DirectRow>, StoreError> {
        let Some(talk) = talk_number(&self.main, room)? else { return Ok(Vec::new()) };
        let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE x.talk = ?1 AND x.target = ?2");
        let mut select = self.main.prepare_cached(&sql)?;
        let mut found = Vec::new();
        for target in targets {
            let left = ROWS_MAX - found.len();
            found.append(&mut take(select.query(params![talk, target.0])?, left, |_| true)?);
        }
        Ok(found)
    }

    fn direct_keys(&self, journals: &[i64]) -> Result<Vec<(DirectKey, i64)>, StoreError> {
        let mut select =
            self.main.prepare_cached("SELECT eff, lamport, id FROM direct WHERE journal = ?1")?;
        let mut keys = Vec::with_capacity(journals.len());
        for journal in journals {
            let key = select
                .query_row([journal], |r| {
                    Ok((r.get::<_, i64>(0)?, r.get::<_, i64>(1)?, r.get::<_, [u8; 16]>(2)?))
                })
                .optional()?;
            if let Some((eff, lamport, id)) = key {
                let key =
                    DirectKey { eff: unordered(eff), lamport: unordered(lamport), id: EntryId(id) };
                keys.push((key, *journal));
            }
        }
        Ok(keys)
    }
}

fn take(
    mut rows: rusqlite::Rows<'_>,
    limit: usize,
    wanted: impl Fn(&DirectRow) -> bool,
) -> Result<Vec<DirectRow>, StoreError> {
    let mut found = Vec::new();
    while found.len() < limit.min(ROWS_MAX) {
        let Some(r) = rows.next()? else { break };
        let row = read_row(r)?;
        if wanted(&row) {
            found.push(row);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use klatch_core::content::Kind;

    #[test]
    fn the_numbers_in_the_queries_mean_what_they_say() {
        assert_eq!((Kind::Text.code(), Kind::Notice.code()), (1, 5));
        assert_eq!(klatch_core::limits::CLOCK_AHEAD_MS_MAX, 60_000);
    }
}
