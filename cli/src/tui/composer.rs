//! What is being written: a text of several lines, what it answers or replaces, its history and its
//! completion.

use std::collections::VecDeque;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use klatch_core::ids::EntryId;
use klatch_core::limits::TEXT_BYTES_MAX;
use ratatui_textarea::{CursorMove, TextArea};

use super::complete::Completing;
use super::settings::Keymap;

/// Texts that Up brings back.
const HISTORY_MAX: usize = 100;
/// Longer texts are not brought back: nobody types them twice.
const HISTORY_BYTES_MAX: usize = 4_096;
/// Steps that can be undone.
const UNDO_MAX: usize = 50;

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
    /// What was written when `:` opened the command line; it comes back when that is done.
    pub aside: Option<String>,
    history: VecDeque<String>,
    /// How far back in it, counted from 1.
    back: usize,
    /// Bytes in the area: counted here because that is asked for at each key.
    bytes: usize,
}

/// Where the vi keymap stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vi {
    /// Keys are commands, not text.
    pub normal: bool,
    /// The first key of a command of two, such as `d`.
    pub pending: Option<char>,
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
            aside: None,
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

    /// Opens the command line; what was written waits.
    pub fn command_line(&mut self) {
        let text = self.text();
        if self.aside.is_none() && !text.is_empty() {
            self.aside = Some(text);
        }
        self.set("/");
    }

    /// Whether what is written is the command line of vi.
    pub fn in_command_line(&self) -> bool {
        self.vi.is_some_and(|vi| vi.line)
    }

    /// Back from the command line to what was written before. `false` if nothing was.
    pub fn command_line_done(&mut self) -> bool {
        if let Some(vi) = self.vi.as_mut().filter(|vi| vi.line) {
            (vi.line, vi.normal) = (false, true);
        }
        let Some(text) = self.aside.take() else { return false };
        self.set(&text);
        true
    }

    /// What is being written, the command line aside.
    pub fn draft(&self) -> String {
        match &self.aside {
            Some(text) => text.clone(),
            None if self.in_command_line() => String::new(),
            None => self.text(),
        }
    }

    /// Remembers a text for Up.
    pub fn remember(&mut self, text: &str) {
        self.back = 0;
        if text.len() > HISTORY_BYTES_MAX || self.history.back().is_some_and(|last| last == text) {
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
            return Err(format!(
                "a text has at most {TEXT_BYTES_MAX} bytes; here are {} and {} more do not fit: nothing was put in",
                self.bytes,
                text.len()
            ));
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
                let _ = area.delete_char();
            }
            (KeyCode::Delete, false, false) | (KeyCode::Char('d'), true, _) => {
                let _ = area.delete_next_char();
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
                area.move_cursor(CursorMove::Back)
            }
            (KeyCode::Right, _, false) => area.move_cursor(CursorMove::Forward),
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
