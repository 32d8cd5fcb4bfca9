//! The lines of one room that are in memory: a window that moves over a history of any length, and
//! where in it the screen stands. The window is bounded, so memory stays flat however far one
//! scrolls.

use std::collections::{BTreeSet, VecDeque};

use klatch_core::event::Message;
use klatch_core::ids::{EntryId, RoomId};

/// Lines asked for at once.
pub const PAGE: usize = 100;
/// Lines in memory per room. A screen shows some dozens; the rest makes scrolling smooth.
pub const LINES_MAX: usize = 500;
/// Bytes of text in memory per room; reached before [`LINES_MAX`] only where people write very long
/// texts.
pub const BYTES_MAX: usize = 8 << 20;
/// The next page is asked for when so few lines are left in that direction.
const AHEAD: usize = 40;

/// The lowest line on the screen and how many of its last rows are below the edge; `None` follows
/// the end.
pub type Place = Option<(EntryId, usize)>;

/// A window of lines.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// Of which room.
    pub room: RoomId,
    /// In display order.
    pub lines: VecDeque<Message>,
    /// A first page has come.
    pub loaded: bool,
    /// Nothing is before the window.
    pub at_start: bool,
    /// Nothing is after the window.
    pub at_end: bool,
    /// Where the screen stands.
    pub bottom: Place,
    /// A line that a key acts on.
    pub selected: Option<EntryId>,
    /// The selected line is to stand in the middle once its surroundings have come.
    pub centre: bool,
    /// Lines that arrived with or after this journal number are new.
    pub unread_from: Option<u64>,
    /// Lines that came while the end was not shown.
    pub missed: u64,
    /// Long texts that are shown whole.
    pub unfolded: BTreeSet<EntryId>,
    /// The node knows that everything up to this journal number was read.
    pub marked: u64,
}

impl Timeline {
    /// Empty, before the first page.
    pub fn new(room: RoomId) -> Self {
        Self {
            room,
            lines: VecDeque::new(),
            loaded: false,
            at_start: false,
            at_end: false,
            bottom: None,
            selected: None,
            centre: false,
            unread_from: None,
            missed: 0,
            unfolded: BTreeSet::new(),
            marked: 0,
        }
    }

    /// Where a line stands in the window.
    pub fn index(&self, id: EntryId) -> Option<usize> {
        self.lines.iter().rposition(|m| m.id == id)
    }

    /// A line of the window.
    pub fn find(&self, id: EntryId) -> Option<&Message> {
        self.index(id).and_then(|i| self.lines.get(i))
    }

    /// The newest journal number in the window.
    pub fn newest(&self) -> u64 {
        self.lines.iter().map(|m| m.journal).max().unwrap_or(0)
    }

    /// Whether the newest line is on the screen.
    pub fn follows(&self) -> bool {
        self.bottom.is_none() && self.at_end
    }

    /// Back to the end. Whether the newest lines have to be asked for.
    pub fn follow_end(&mut self) -> bool {
        (self.bottom, self.missed, self.selected, self.centre) = (None, 0, None, false);
        !self.at_end
    }

    /// Only this line, in the middle of what is still to be asked for on both sides.
    pub fn jump(&mut self, message: Message) {
        let id = message.id;
        self.lines = VecDeque::from([message]);
        (self.loaded, self.at_start, self.at_end) = (true, false, false);
        (self.bottom, self.selected, self.centre) = (Some((id, 0)), Some(id), true);
    }

    /// A line that just came. `false` if its place is uncertain and the end should be read again.
    pub fn append(&mut self, message: Message) -> bool {
        if self.replace(&message) {
            return true;
        }
        if !self.follows() {
            self.missed += 1;
        }
        if !self.at_end {
            return true;
        }
        let in_order = self.lines.back().is_none_or(|last| last.at_ms <= message.at_ms);
        self.lines.push_back(message);
        self.trim_front();
        in_order
    }

    /// Puts a line in the place of its older self; `false` if it is not in the window.
    pub fn replace(&mut self, message: &Message) -> bool {
        let Some(at) = self.index(message.id) else { return false };
        if let Some(line) = self.lines.get_mut(at) {
            line.clone_from(message);
        }
        true
    }

    /// The newest lines of the room, as the store has them.
    pub fn newest_page(&mut self, page: Vec<Message>, limit: usize) {
        if self.loaded && !self.at_end && self.bottom.is_some() {
            // The user reads elsewhere: only what is there is renewed.
            for message in &page {
                self.replace(message);
            }
            return;
        }
        let ids: BTreeSet<EntryId> = page.iter().map(|m| m.id).collect();
        let newest = page.iter().map(|m| m.journal).max().unwrap_or(0);
        // What came after the page was read has to stay.
        let later: Vec<Message> = match self.at_end {
            true => self
                .lines
                .iter()
                .filter(|m| m.journal > newest && !ids.contains(&m.id))
                .cloned()
                .collect(),
            false => Vec::new(),
        };
        match self.lines.iter().position(|m| ids.contains(&m.id)) {
            Some(0) => {
                self.at_start = page.len() < limit;
                self.lines.clear();
            }
            Some(at) => self.lines.truncate(at),
            None => {
                self.at_start = page.len() < limit;
                self.lines.clear();
            }
        }
        self.lines.extend(page);
        self.lines.extend(later);
        (self.loaded, self.at_end) = (true, true);
        if self.bottom.is_some_and(|(id, _)| self.index(id).is_none()) {
            self.bottom = None;
        }
        self.trim_front();
    }

    /// Lines before `before`.
    pub fn older_page(&mut self, before: EntryId, page: Vec<Message>, limit: usize) {
        if self.lines.front().map(|m| m.id) != Some(before) {
            return;
        }
        self.at_start = page.len() < limit;
        for message in page.into_iter().rev() {
            self.lines.push_front(message);
        }
        let keep = self.bottom_index();
        while self.is_over() && self.lines.len() > keep + 2 {
            self.lines.pop_back();
            self.at_end = false;
        }
    }

    /// Lines after `after`.
    pub fn newer_page(&mut self, after: EntryId, page: Vec<Message>, limit: usize) {
        if self.lines.back().map(|m| m.id) != Some(after) {
            return;
        }
        self.at_end = page.len() < limit;
        self.lines.extend(page);
        self.trim_front();
    }

    /// The line before which more is to be asked for, if the screen is near the beginning of the
    /// window.
    pub fn wants_older(&self) -> Option<EntryId> {
        let near = self.bottom_index() < AHEAD + AHEAD;
        if self.loaded && !self.at_start && near { self.lines.front().map(|m| m.id) } else { None }
    }

    /// The line after which more is to be asked for, if the screen is near the end of the window.
    pub fn wants_newer(&self) -> Option<EntryId> {
        let near = self.bottom_index() + AHEAD >= self.lines.len();
        if self.loaded && !self.at_end && near { self.lines.back().map(|m| m.id) } else { None }
    }

    /// The index of the lowest line on the screen.
    pub fn bottom_index(&self) -> usize {
        let last = self.lines.len().saturating_sub(1);
        self.bottom.and_then(|(id, _)| self.index(id)).unwrap_or(last)
    }

    /// Where the screen stands after moving up by so many rows: never above the first line of the
    /// window. `rows` measures a line; `height` is what the screen shows.
    pub fn above(&self, by: usize, height: usize, rows: impl Fn(usize) -> usize) -> Place {
        if self.lines.is_empty() {
            return self.bottom;
        }
        let mut at = self.bottom_index();
        let mut hidden = self.bottom.map_or(0, |(_, hidden)| hidden) + by;
        loop {
            let tall = rows(at);
            if hidden < tall {
                break;
            }
            if at == 0 {
                hidden = tall.saturating_sub(1);
                break;
            }
            hidden -= tall;
            at -= 1;
        }
        let (mut shown, mut first) = (rows(at) - hidden, at);
        while shown < height && first > 0 {
            first -= 1;
            shown += rows(first);
        }
        match height.checked_sub(shown) {
            Some(missing) if missing > 0 => self.lower(at, hidden, missing, rows),
            _ => self.place(at, hidden),
        }
    }

    /// Where it stands after moving down; at the end of the room it follows.
    pub fn below(&self, by: usize, rows: impl Fn(usize) -> usize) -> Place {
        match (self.bottom, self.lines.is_empty()) {
            (Some((_, hidden)), false) => self.lower(self.bottom_index(), hidden, by, rows),
            _ => self.bottom,
        }
    }

    /// Takes that stand.
    pub fn stand(&mut self, place: Place) {
        self.bottom = place;
        if self.follows() {
            self.missed = 0;
        }
    }

    fn lower(
        &self,
        mut at: usize,
        mut hidden: usize,
        by: usize,
        rows: impl Fn(usize) -> usize,
    ) -> Place {
        let mut left = by;
        while left > hidden && at + 1 < self.lines.len() {
            left -= hidden;
            at += 1;
            hidden = rows(at);
        }
        hidden = hidden.saturating_sub(left);
        if at + 1 >= self.lines.len() && hidden == 0 && self.at_end {
            None
        } else {
            self.place(at, hidden)
        }
    }

    fn place(&self, at: usize, hidden: usize) -> Place {
        self.lines.get(at).map(|m| (m.id, hidden))
    }

    /// Selects the next line in a direction that is more than a remark; behind the last one, none.
    pub fn select(&mut self, up: bool) {
        if self.lines.is_empty() {
            return;
        }
        let start = self.selected.and_then(|id| self.index(id));
        let speech = |m: &&Message| {
            !matches!(
                m.kind,
                klatch_core::content::Kind::Profile | klatch_core::content::Kind::Leave
            )
        };
        let found = match (up, start) {
            (true, Some(at)) => self.lines.range(..at).rev().find(speech),
            (true, None) => self.lines.range(..=self.bottom_index()).rev().find(speech),
            (false, Some(at)) => self.lines.range(at + 1..).find(speech),
            (false, None) => None,
        };
        match found {
            Some(message) => self.selected = Some(message.id),
            None if up => {}
            None => self.selected = None,
        }
        self.centre = false;
    }

    fn is_over(&self) -> bool {
        self.lines.len() > LINES_MAX
            || (self.lines.len() > 2
                && self.lines.iter().map(|m| m.text.len()).sum::<usize>() > BYTES_MAX)
    }

    fn trim_front(&mut self) {
        while self.is_over() && (self.bottom.is_none() || self.bottom_index() > AHEAD) {
            self.lines.pop_front();
            self.at_start = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::tests::message;

    fn window(range: std::ops::Range<u64>) -> Timeline {
        let mut timeline = Timeline::new(RoomId([1; 16]));
        timeline.newest_page(range.map(message).collect(), PAGE);
        timeline
    }

    fn journals(timeline: &Timeline) -> Vec<u64> {
        timeline.lines.iter().map(|m| m.journal).collect()
    }

    #[test]
    fn the_window_is_bounded_whichever_way_it_moves() {
        // A room of 100,000 lines: to the beginning and back, by pages, as the screen asks for
        // them.
        let all = 100_000_u64;
        let mut timeline = window(all - 100..all);
        let mut pages = 0;
        while !timeline.at_start {
            let place = timeline.above(30, 40, |_| 1);
            timeline.stand(place);
            let Some(before) = timeline.wants_older() else { continue };
            let first = timeline.lines[0].journal;
            timeline.older_page(
                before,
                (first.saturating_sub(100)..first).map(message).collect(),
                PAGE,
            );
            assert!(timeline.lines.len() <= LINES_MAX);
            pages += 1;
        }
        // A page that is full says nothing about what is before it; the one after it is empty.
        assert!(pages >= 999 && timeline.at_start && timeline.lines[0].journal == 0, "{pages}");
        while !timeline.follows() {
            timeline.stand(timeline.below(30, |_| 1));
            if let Some(after) = timeline.wants_newer() {
                let last = timeline.lines.back().unwrap().journal + 1;
                timeline.newer_page(
                    after,
                    (last..(last + 100).min(all)).map(message).collect(),
                    PAGE,
                );
                assert!(timeline.lines.len() <= LINES_MAX);
            }
        }
        assert_eq!(timeline.newest(), all - 1);
        let journals = journals(&timeline);
        assert!(journals.windows(2).all(|w| w[0] + 1 == w[1]), "nothing is missing or double");
    }

    #[test]
    fn a_page_of_the_newest_corrects_the_order_and_keeps_what_came_since() {
        let mut timeline = window(0..10);
        assert!(timeline.append(message(11)));
        assert!(!timeline.append(Message { at_ms: 1, ..message(10) }), "the store knows its place");
        timeline.append(message(12));
        // The page was read before 12 came.
        timeline.newest_page((5..12).map(message).collect(), PAGE);
        assert_eq!(journals(&timeline), (0..13).collect::<Vec<_>>());
        timeline.newest_page((500..600).map(message).collect(), PAGE);
        assert_eq!(
            (timeline.lines.len(), timeline.at_start),
            (100, false),
            "a gap is never shown as if it were none"
        );
    }

    #[test]
    fn scrolling_stops_at_both_ends_and_the_end_is_followed_again() {
        let mut timeline = window(0..10);
        timeline.stand(timeline.above(1_000, 4, |_| 2));
        assert_eq!(
            timeline.bottom,
            Some((message(1).id, 0)),
            "two lines of two rows fill the screen"
        );
        timeline.append(message(10));
        assert_eq!(timeline.missed, 1);
        timeline.stand(timeline.below(3, |_| 2));
        assert_eq!(timeline.bottom, Some((message(3).id, 1)));
        timeline.stand(timeline.below(1_000, |_| 2));
        assert!(timeline.follows() && timeline.missed == 0);
        // A screen that is larger than the room does not move.
        timeline.stand(timeline.above(5, 100, |_| 2));
        assert!(timeline.follows());
    }

    #[test]
    fn long_texts_are_bounded_by_their_bytes() {
        let mut timeline = window(0..1);
        for n in 1..400 {
            timeline.append(Message { text: "x".repeat(64_000), ..message(n) });
        }
        assert!(timeline.lines.iter().map(|m| m.text.len()).sum::<usize>() <= BYTES_MAX);
    }
}
