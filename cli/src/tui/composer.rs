//! What is being written: a text of several lines, what it answers or replaces, its history and its
//! completion.

use std::collections::VecDeque;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use klatch_core::ids::EntryId;
use klatch_core::limits::TEXT_BYTES_MAX;
use ratatui_textarea::{CursorMove, TextArea};
use unicode_segmentation::UnicodeSegmentation;

use super::complete::Completing;
use super::settings::Keymap;

/// Texts that Up brings back.
const HISTORY_MAX: usize = 100;
/// Longer texts are not brought back: nobody types them twice.
const HISTORY_BYTES_MAX: usize = 4_096;
/// Steps that can be undone.
const UNDO_MAX: usize = 50;
/// Texts that wait behind one another: a draft, a change, a command are three.
const ASIDES_MAX: usize = 4;

/// The place where one writes.
#[derive(Debug)]
pub struct Composer {
    /// The text and the cursor.
    pub area: TextArea<'static>,
    /// The message that is answered: its id, its author, its first words.
    pub reply: Option<(EntryId, String)>,
    /// The own message whose text is replaced.
    pub edit: Option<EntryId>,
    /// A word that is being completed.
    pub completing: Option<Completing>,
    /// What was offered for this word was closed by Esc.
    pub closed: bool,
    /// A bare word that Enter sends after all.
    pub bare: Option<&'static str>,
    /// The vi keymap, if it is wanted.
    pub vi: Option<Vi>,
    /// What was being written when something else took its place; it comes back when that is done.
    asides: Vec<Half>,
    history: VecDeque<String>,
    /// How far back in it, counted from 1.
    back: usize,
    /// Bytes in the area: counted here because that is asked for at each key.
    bytes: usize,
}

/// Something half written: the text, and what it answers or replaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Half {
    /// The words.
    pub text: String,
    reply: Option<(EntryId, String)>,
    edit: Option<EntryId>,
}

/// Where the vi keymap stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vi {
    /// Keys are commands, not text.
    pub normal: bool,
    /// The first key of a command of two, such as `d`.
    pub pending: Option<char>,
    /// What was deleted last was whole lines: it is put in as such.
    pub lines: bool,
    /// `:` was pressed: what is written is a command, after which keys are commands again.
    pub line: bool,
}

impl Composer {
    /// Empty.
    pub fn new(keymap: Keymap) -> Self {
        let vi = (keymap == Keymap::Vi).then(Vi::default);
        Self {
            area: area(""),
            reply: None,
            edit: None,
            completing: None,
            closed: false,
            bare: None,
            vi,
            asides: Vec::new(),
            history: VecDeque::new(),
            back: 0,
            bytes: 0,
        }
    }

    /// The text.
    pub fn text(&self) -> String {
        self.area.lines().join("\n")
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Puts another text in, the cursor at its end.
    pub fn set(&mut self, text: &str) {
        self.area = area(text);
        self.area.move_cursor(CursorMove::Bottom);
        self.area.move_cursor(CursorMove::End);
        (self.completing, self.bare) = (None, None);
        self.count();
    }

    /// Forgets text, answer and change; gives back the text.
    pub fn take(&mut self) -> String {
        let text = self.text();
        self.set("");
        (self.reply, self.edit, self.back) = (None, None, 0);
        text
    }

    /// Puts another text in for a while: what was written waits. A command that was begun so gives
    /// way to the next one.
    pub fn put_aside(&mut self, text: &str) {
        let written = self.half();
        let command = written.edit.is_none() && written.text.starts_with('/');
        if !(command && self.has_aside()) {
            if self.asides.len() >= ASIDES_MAX {
                // Not the first: that is the draft.
                self.asides.remove(1);
            }
            self.asides.push(written);
        }
        (self.reply, self.edit, self.back) = (None, None, 0);
        self.set(text);
    }

    /// Whether something else waits until what is written now is done.
    pub fn has_aside(&self) -> bool {
        !self.asides.is_empty()
    }

    /// What is written is done, or given up: back to what was written before. `false` if nothing
    /// was.
    pub fn done(&mut self) -> bool {
        if let Some(vi) = self.vi.as_mut().filter(|vi| vi.line) {
            (vi.line, vi.normal) = (false, true);
        }
        let Some(half) = self.asides.pop() else { return false };
        self.resume(half);
        true
    }

    /// Whether a plain text is all that is half written.
    pub fn is_draft(&self) -> bool {
        self.asides.is_empty() && self.reply.is_none() && self.edit.is_none()
    }

    fn half(&self) -> Half {
        Half { text: self.text(), reply: self.reply.clone(), edit: self.edit }
    }

    fn resume(&mut self, half: Half) {
        self.set(&half.text);
        (self.reply, self.edit, self.back) = (half.reply, half.edit, 0);
    }

    /// Takes out everything that is half written, the oldest first, the command line of vi but for
    /// what waits behind it.
    pub fn leave(&mut self) -> Vec<Half> {
        let mut halves = std::mem::take(&mut self.asides);
        if !self.in_command_line() {
            halves.push(self.half());
        }
        if let Some(vi) = &mut self.vi {
            vi.line = false;
        }
        self.take();
        halves
    }

    /// The other way round.
    pub fn come_back(&mut self, mut halves: Vec<Half>) {
        self.asides.clear();
        let half = halves.pop().unwrap_or_default();
        self.asides = halves;
        self.resume(half);
    }

    /// Opens the command line of vi, or a command: what was written waits.
    pub fn begin_command(&mut self, text: &str) {
        self.put_aside(text);
        if let Some(vi) = &mut self.vi {
            (vi.line, vi.normal) = (true, false);
        }
    }

    /// Whether what is written is the command line of vi.
    pub fn in_command_line(&self) -> bool {
        self.vi.is_some_and(|vi| vi.line)
    }

    /// The text that is being written, whatever takes its place for a while.
    pub fn draft(&self) -> String {
        match self.asides.first() {
            Some(half) => half.text.clone(),
            None if self.edit.is_some() || self.in_command_line() => String::new(),
            None => self.text(),
        }
    }

    /// Remembers a text for Up.
    pub fn remember(&mut self, text: &str) {
        self.back = 0;
        if text.is_empty()
            || text.len() > HISTORY_BYTES_MAX
            || self.history.back().is_some_and(|last| last == text)
        {
            return;
        }
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(text.to_owned());
    }

    /// Brings back an older or newer text. `false` if there is none.
    pub fn recall(&mut self, older: bool) -> bool {
        let back = if older { self.back + 1 } else { self.back.saturating_sub(1) };
        if back == self.back || back > self.history.len() {
            return false;
        }
        let text =
            self.history.len().checked_sub(back).and_then(|at| self.history.get(at)).cloned();
        self.set(text.as_deref().unwrap_or_default());
        self.back = back;
        true
    }

    /// Whether Up and Down mean the history: nothing is written, or what is there came from it and
    /// was not changed.
    pub fn recalls(&self) -> bool {
        self.is_empty()
            || (self.back > 0
                && self
                    .history
                    .get(self.history.len() - self.back)
                    .is_some_and(|t| *t == self.text()))
    }

    /// Puts a text in at the cursor, or says why not. What is there stays as it is.
    ///
    /// # Errors
    /// It would become longer than a message can be.
    pub fn insert(&mut self, text: &str) -> Result<(), String> {
        if self.bytes + text.len() > TEXT_BYTES_MAX {
            let more = text.len();
            return Err(match self.bytes {
                0 => format!(
                    "a text has at most {TEXT_BYTES_MAX} bytes, and this has {more}: nothing was \
                     put in"
                ),
                there => format!(
                    "a text has at most {TEXT_BYTES_MAX} bytes; there are {there}, and {more} more \
                     do not fit: nothing was put in"
                ),
            });
        }
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        self.area.insert_str(text);
        (self.completing, self.bare) = (None, None);
        self.count();
        Ok(())
    }

    /// Replaces what stands between a place in the cursor's line and the cursor.
    pub fn replace_word(&mut self, from_char: usize, with: &str) {
        let at = self.area.cursor().1;
        for _ in from_char..at {
            self.area.delete_char();
        }
        self.area.insert_str(with);
        self.count();
    }

    /// The cursor's line up to the cursor, whether it is the first line, and the cursor's place in
    /// characters.
    pub fn before_cursor(&self) -> (String, bool, usize) {
        let cursor = self.area.cursor();
        let line = self.area.lines().get(cursor.0).map(String::as_str).unwrap_or_default();
        (line.chars().take(cursor.1).collect(), cursor.0 == 0, cursor.1)
    }

    /// A key of plain editing, readline style. `false` if it means nothing here.
    pub fn key(&mut self, key: KeyEvent) -> Result<bool, String> {
        let (ctrl, alt) = (
            key.modifiers.contains(KeyModifiers::CONTROL),
            key.modifiers.contains(KeyModifiers::ALT),
        );
        // A new word is a new beginning.
        if matches!(key.code, KeyCode::Char(c) if c.is_whitespace()) || self.is_empty() {
            self.closed = false;
        }
        match (key.code, ctrl, alt) {
            (KeyCode::Char(c), false, false) => {
                return self.insert(c.encode_utf8(&mut [0; 4])).map(|()| true);
            }
            (KeyCode::Enter, _, true)
            | (KeyCode::Char('j'), true, _)
            | (KeyCode::Enter, true, _) => {
                return self.insert("\n").map(|()| true);
            }
            (KeyCode::Char('y'), true, _) => {
                let text = self.area.yank_text();
                return self.insert(&text).map(|()| true);
            }
            _ => {}
        }
        let known = self.edit_key(key.code, ctrl, alt);
        (self.completing, self.bare) = (None, None);
        self.count();
        Ok(known)
    }

    fn edit_key(&mut self, code: KeyCode, ctrl: bool, alt: bool) -> bool {
        let area = &mut self.area;
        match (code, ctrl, alt) {
            (KeyCode::Backspace, false, false) | (KeyCode::Char('h'), true, _) => {
                for _ in 0..sign(area, true) {
                    let _ = area.delete_char();
                }
            }
            (KeyCode::Delete, false, false) | (KeyCode::Char('d'), true, _) => {
                for _ in 0..sign(area, false) {
                    let _ = area.delete_next_char();
                }
            }
            (KeyCode::Char('w'), true, _) | (KeyCode::Backspace, ..) => drop(area.delete_word()),
            (KeyCode::Char('d'), _, true) | (KeyCode::Delete, ..) => drop(area.delete_next_word()),
            (KeyCode::Char('u'), true, _) => drop(area.delete_line_by_head()),
            (KeyCode::Char('k'), false, true) => drop(area.delete_line_by_end()),
            (KeyCode::Char('_' | '7' | '/'), true, _) => drop(area.undo()),
            (KeyCode::Char('a'), true, _) | (KeyCode::Home, false, _) => {
                area.move_cursor(CursorMove::Head)
            }
            (KeyCode::Char('e'), true, _) | (KeyCode::End, false, _) => {
                area.move_cursor(CursorMove::End)
            }
            (KeyCode::Home, true, _) => area.move_cursor(CursorMove::Top),
            (KeyCode::Char('b'), false, true) | (KeyCode::Left, true, _) => {
                area.move_cursor(CursorMove::WordBack)
            }
            (KeyCode::Char('f'), false, true) | (KeyCode::Right, true, _) => {
                area.move_cursor(CursorMove::WordForward)
            }
            (KeyCode::Left, _, false) | (KeyCode::Char('b'), true, _) => {
                for _ in 0..sign(area, true) {
                    area.move_cursor(CursorMove::Back);
                }
            }
            (KeyCode::Right, _, false) => {
                for _ in 0..sign(area, false) {
                    area.move_cursor(CursorMove::Forward);
                }
            }
            (KeyCode::Up, _, false) => area.move_cursor(CursorMove::Up),
            (KeyCode::Down, _, false) => area.move_cursor(CursorMove::Down),
            _ => return false,
        }
        true
    }

    fn count(&mut self) {
        let lines = self.area.lines();
        self.bytes = lines.iter().map(String::len).sum::<usize>() + lines.len().saturating_sub(1);
    }

    /// After the area was changed from outside.
    pub fn changed(&mut self) {
        (self.completing, self.bare) = (None, None);
        self.count();
    }
}

/// Characters of the sign before or behind the cursor, as people see signs; at an edge of the line
/// the line break is one.
pub fn sign(area: &TextArea<'_>, before: bool) -> usize {
    let cursor = area.cursor();
    let line = area.lines().get(cursor.0).map(String::as_str).unwrap_or_default();
    let at = line.char_indices().nth(cursor.1).map_or(line.len(), |(at, _)| at);
    let sign = match before {
        true => line[..at].graphemes(true).next_back(),
        false => line[at..].graphemes(true).next(),
    };
    sign.map_or(1, |sign| sign.chars().count())
}

fn area(text: &str) -> TextArea<'static> {
    let mut area = TextArea::from(text.split('\n'));
    area.set_max_histories(UNDO_MAX);
    area
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(composer: &mut Composer, code: KeyCode, modifiers: KeyModifiers) {
        composer.key(KeyEvent::new(code, modifiers)).unwrap();
    }

    #[test]
    fn readline_keys_edit() {
        let mut composer = Composer::new(Keymap::Readline);
        composer.insert("one two three").unwrap();
        press(&mut composer, KeyCode::Char('w'), KeyModifiers::CONTROL);
        assert_eq!(composer.text(), "one two ");
        press(&mut composer, KeyCode::Char('a'), KeyModifiers::CONTROL);
        press(&mut composer, KeyCode::Char('d'), KeyModifiers::ALT);
        assert_eq!(composer.text(), " two ");
        press(&mut composer, KeyCode::Char('e'), KeyModifiers::CONTROL);
        press(&mut composer, KeyCode::Char('u'), KeyModifiers::CONTROL);
        assert!(composer.is_empty());
        press(&mut composer, KeyCode::Char('y'), KeyModifiers::CONTROL);
        assert_eq!(composer.text(), " two ");
        press(&mut composer, KeyCode::Enter, KeyModifiers::ALT);
        press(&mut composer, KeyCode::Char('x'), KeyModifiers::NONE);
        assert_eq!(composer.text(), " two \nx");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_what_was_typed_stays() {
        let mut composer = Composer::new(Keymap::Readline);
        composer.insert("typed").unwrap();
        let why = composer.insert(&"x".repeat(1 << 20)).unwrap_err();
        assert!(why.contains("64000 bytes") && why.contains("nothing was put in"), "{why}");
        assert_eq!(composer.text(), "typed");
        composer.insert(&"x".repeat(TEXT_BYTES_MAX - 5)).unwrap();
        assert!(composer.key(KeyEvent::from(KeyCode::Char('x'))).is_err());
        assert_eq!(composer.text().len(), TEXT_BYTES_MAX);
    }

    #[test]
    fn a_sign_goes_as_a_whole_and_the_cursor_steps_over_it() {
        let mut composer = Composer::new(Keymap::Readline);
        composer.insert("a👩‍👩‍👧‍👦🇩🇪e\u{301}").unwrap();
        let plain = KeyModifiers::NONE;
        press(&mut composer, KeyCode::Backspace, plain);
        assert_eq!(composer.text(), "a👩‍👩‍👧‍👦🇩🇪");
        press(&mut composer, KeyCode::Left, plain);
        press(&mut composer, KeyCode::Backspace, plain);
        assert_eq!(composer.text(), "a🇩🇪");
        press(&mut composer, KeyCode::Right, plain);
        press(&mut composer, KeyCode::Char('b'), plain);
        assert_eq!(composer.text(), "a🇩🇪b");
        press(&mut composer, KeyCode::Home, plain);
        press(&mut composer, KeyCode::Right, plain);
        press(&mut composer, KeyCode::Delete, plain);
        assert_eq!(composer.text(), "ab");
        press(&mut composer, KeyCode::Enter, KeyModifiers::ALT);
        press(&mut composer, KeyCode::Backspace, plain);
        assert_eq!(composer.text(), "ab", "a line break is one sign");
    }

    #[test]
    fn history_goes_back_and_forth() {
        let mut composer = Composer::new(Keymap::Readline);
        composer.remember("first");
        composer.remember("second");
        assert!(
            composer.recalls()
                && composer.recall(true)
                && composer.recall(true)
                && !composer.recall(true)
        );
        assert_eq!(composer.text(), "first");
        assert!(composer.recalls() && composer.recall(false));
        assert_eq!(composer.text(), "second");
        composer.insert("x").unwrap();
        assert!(!composer.recalls());
    }
}
