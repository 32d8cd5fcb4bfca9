//! Everything that is printed goes through here: text or JSON, and never a byte that a terminal
//! would obey.
//!
//! Names and texts come from other people. Control characters, escape sequences and direction
//! overrides in them are made visible; in JSON they are escaped. Only this file may write a colour.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use klatch_core::identity::is_unsafe;
use serde::Serialize;

use crate::error::Report;
use crate::hints;

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How to print.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// One JSON object per line.
    pub json: bool,
    /// No messages on stderr but errors.
    pub quiet: bool,
    color: bool,
    /// Web addresses can be clicked.
    links: bool,
    /// Whoever reads it types into a chat, and not into a shell.
    chat: bool,
}

impl Output {
    /// Looks at the terminal once.
    pub fn new(json: bool, quiet: bool, color: Color) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto if set("NO_COLOR") => false,
            Color::Auto => {
                io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
            }
        };
        // Only where a colour may go as well, and never into a file.
        let links = color
            && !json
            && io::stdout().is_terminal()
            && crate::links::can_link(|name| std::env::var(name).ok());
        Self { json, quiet, color: color && !json, links, chat: false }
    }

    /// The same without any colour, unless the user insists.
    #[must_use]
    pub fn plain(self, asked: Color) -> Self {
        Self { color: self.color && asked == Color::Always, links: false, ..self }
    }

    /// The same for a chat: what hints name is typed there.
    #[must_use]
    pub fn in_chat(self) -> Self {
        Self { chat: true, ..self }
    }

    /// The commands that a text names, as they are typed here.
    fn hint<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.chat { Cow::Owned(hints::in_chat(text)) } else { hints::in_shell(text) }
    }

    /// Whether colours are wanted.
    pub fn is_colored(&self) -> bool {
        self.color
    }

    /// One line of text on stdout. The text must have been made harmless where it is foreign; this
    /// is the last line of defence, so line breaks stay and everything else unsafe does not.
    pub fn line(&self, text: &str) -> Result<(), Report> {
        put(&visible_lines(text))
    }

    /// As [`Output::line`], of a text that may say what to type.
    pub fn say(&self, text: &str) -> Result<(), Report> {
        self.line(&self.hint(text))
    }

    /// One line, `marked` of it (a name) in bold where colours are wanted.
    pub fn marked(&self, before: &str, marked: &str, after: &str) -> Result<(), Report> {
        let (before, marked, after) =
            (visible_lines(before), visible_lines(marked), visible_lines(after));
        let after = if self.links { clickable(&after) } else { after };
        if self.color {
            put(&format!("{before}\u{1b}[1m{marked}\u{1b}[0m{after}"))
        } else {
            put(&format!("{before}{marked}{after}"))
        }
    }

    /// One object on one line.
    pub fn json<T: Serialize>(&self, value: &T) -> Result<(), Report> {
        put(&json_line(value))
    }

    /// Text for people, or JSON for programs.
    pub fn either<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), Report> {
        if self.json { self.json(value) } else { self.say(&text()) }
    }

    /// A remark on stderr: never part of the data, and of no use to a program.
    pub fn note(&self, text: &str) {
        if !self.quiet && !self.json {
            self.stderr(&self.hint(text));
        }
    }

    /// A remark on stderr that even `--quiet` does not silence.
    pub fn warning(&self, text: &str) {
        let _ = writeln!(io::stderr(), "WARNING: {}", visible_lines(&self.hint(text)));
    }

    /// A line on stderr even when quiet: what a program run by us complains about.
    pub fn stderr(&self, text: &str) {
        // Without a stderr there is nobody to tell.
        let _ = writeln!(io::stderr(), "{}", visible_lines(text));
    }

    /// An error on stderr.
    pub fn error(&self, report: &Report) {
        if report.is_silent() {
            return;
        }
        let said = |text: &String| self.hint(text).into_owned();
        let report =
            Report { cause: said(&report.cause), hint: said(&report.hint), ..report.clone() };
        let text =
            if self.json { json_line(&report.json()) } else { visible_lines(&report.text()) };
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// Wraps each web address of a harmless text into a link to itself (OSC 8).
fn clickable(text: &str) -> String {
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for found in crate::links::urls(text) {
        let url = &text[found.clone()];
        out.push_str(&text[at..found.start]);
        out.push_str(&format!("\u{1b}]8;;{url}\u{1b}\\{url}\u{1b}]8;;\u{1b}\\"));
        at = found.end;
    }
    out.push_str(&text[at..]);
    out
}

fn put(line: &str) -> Result<(), Report> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|e| match e.kind() {
        io::ErrorKind::BrokenPipe => Report::closed_output(),
        _ => Report::new("KLATCH-OUTPUT", format!("cannot write: {e}"), "is the disk full?", 1),
    })
}

/// Text on one line, every character that could act on a terminal or reorder text made visible.
pub fn visible(text: &str) -> String {
    shown(text, false)
}

/// As [`visible`], with line breaks kept.
pub fn visible_lines(text: &str) -> String {
    shown(text, true)
}

/// As [`visible`], with every further line set in, so that no text can look like a line of somebody
/// else.
pub fn visible_indented(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.trim_end_matches('\n').split('\n').map(visible).collect::<Vec<_>>().join("\n      ")
}

/// Signs without width that change nothing by themselves: hints for breaking and shaping, marks of
/// a direction that the letters beside them have anyway. Web pages and keyboards leave them in
/// texts. Overrides and isolates, which reorder what stands around them, are not among them.
fn does_nothing(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2060}'
            ..='\u{2064}' | '\u{feff}'
    )
}

/// The flags that are spelled with tags: of England, Scotland and Wales. Any other text could hide
/// in such signs.
const TAGGED_FLAGS: [&str; 3] = ["gbeng", "gbsct", "gbwls"];

/// The bytes of such a flag, if the text begins with one.
fn tagged_flag(text: &str) -> Option<usize> {
    const TAGS: u32 = 0xe0000;
    const END: char = '\u{e007f}';
    let tags = text.strip_prefix('\u{1f3f4}')?;
    let (letters, _) = tags.split_once(END)?;
    let letters: Option<String> =
        letters.chars().take(6).map(|c| char::from_u32(u32::from(c).checked_sub(TAGS)?)).collect();
    let letters = letters.filter(|l| TAGGED_FLAGS.contains(&l.as_str()))?;
    Some(text.len() - tags.len() + letters.len() * '\u{e0061}'.len_utf8() + END.len_utf8())
}

fn shown(text: &str, breaks: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut flag_end = 0;
    for (at, c) in text.char_indices() {
        if c == '\u{1f3f4}'
            && let Some(bytes) = tagged_flag(&text[at..])
        {
            flag_end = at + bytes;
        }
        match c {
            c if at < flag_end => out.push(c),
            c if does_nothing(c) => {}
            '\n' | '\t' if breaks => out.push(c),
            '\t' => out.push(' '),
            // The control pictures of Unicode: ␛ for ESC, ␇ for BEL.
            '\0'..='\u{1f}' => out.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('?')),
            '\u{7f}' => out.push('\u{2421}'),
            c if is_unsafe(c) => out.push_str(&format!("<U+{:04X}>", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// One line of JSON in which no character acts on a terminal: serde escapes C0 only, the rest is
/// escaped here. These characters can only stand inside strings, where an escape means the same.
pub fn json_line<T: Serialize>(value: &T) -> String {
    let plain = serde_json::to_string(value)
        .unwrap_or_else(|e| format!("{{\"error\":{{\"message\":\"{e}\"}}}}"));
    if !plain.chars().any(is_unsafe) {
        return plain;
    }
    let mut out = String::with_capacity(plain.len() + 16);
    for c in plain.chars() {
        if is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// The first characters of a text, on one line, for quoting.
pub fn snippet(text: &str) -> String {
    /// Enough to recognise a message by.
    const CHARS: usize = 40;
    let first = text.lines().next().unwrap_or_default();
    let mut short: String = visible(first).chars().take(CHARS).collect();
    if first.chars().count() > CHARS || text.lines().nth(1).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str = "a\u{1b}]52;c;aGk=\u{7}b\u{9b}2Jc\u{202e}d\u{7f}\u{200b}\u{e0041}\r";

    #[test]
    fn nothing_printed_can_act_on_a_terminal() {
        for text in [
            visible(NASTY),
            visible_lines(NASTY),
            visible_indented(NASTY),
            snippet(NASTY),
            json_line(&NASTY),
        ] {
            assert!(!text.chars().any(is_unsafe), "{text:?}");
            assert!(text.contains('a') && text.contains('b') && text.contains('c'), "{text:?}");
        }
        assert!(visible(NASTY).contains("␛]52") && visible(NASTY).contains("<U+202E>"));
    }

    #[test]
    fn flags_made_of_tags_are_flags_and_hidden_text_is_spelled() {
        let flag = |name: &str| {
            let tags = name.chars().map(|c| char::from_u32(0xe0000 + u32::from(c)).unwrap());
            format!("\u{1f3f4}{}\u{e007f}", tags.collect::<String>())
        };
        for name in ["gbeng", "gbsct", "gbwls"] {
            let text = format!("go {}!", flag(name));
            assert_eq!(visible(&text), text);
        }
        for hidden in [flag("secret"), flag("gbengx"), flag(""), "\u{1f3f4}\u{e0067}".to_owned()] {
            let shown = visible(&hidden);
            assert!(!shown.chars().any(is_unsafe), "{shown:?}");
        }
        assert!(visible(&flag("secret")).contains("<U+E0073>"));
    }

    #[test]
    fn signs_that_do_nothing_are_left_out_and_those_that_reorder_are_spelled() {
        assert_eq!(visible("co\u{ad}op\u{200b}er\u{2060}ate\u{feff}"), "cooperate");
        assert_eq!(visible("\u{200f}שלום\u{200e}"), "שלום");
        let loud = visible("a\u{202e}b\u{2066}c\u{2069}\u{206a}");
        assert_eq!(loud, "a<U+202E>b<U+2066>c<U+2069><U+206A>");
    }

    #[test]
    fn json_means_the_same_after_escaping() {
        let back: String = serde_json::from_str(&json_line(&NASTY)).unwrap();
        assert_eq!(back, NASTY);
    }

    #[test]
    fn addresses_become_links_and_nothing_else_changes() {
        assert_eq!(
            clickable("see https://a.b/c, now"),
            "see \u{1b}]8;;https://a.b/c\u{1b}\\https://a.b/c\u{1b}]8;;\u{1b}\\, now"
        );
        assert_eq!(clickable("nothing here"), "nothing here");
        let hostile = clickable(&visible_lines("https://a.b/\u{1b}]8;;x\u{7}"));
        assert_eq!(hostile.matches('\u{1b}').count() % 4, 0, "{hostile:?}");
    }

    #[test]
    fn a_text_cannot_look_like_another_line() {
        let text = visible_indented("hi\n18:05 #garden bob: I owe you");
        assert!(text.lines().skip(1).all(|l| l.starts_with("      ")), "{text}");
    }

    #[test]
    fn emoji_and_languages_stay_as_they_are() {
        for text in ["👩‍🌾 ❤️", "שלום", "naïve", "日本語"] {
            assert_eq!(visible(text), text);
        }
    }
}
