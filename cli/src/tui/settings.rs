//! What the user chose about the screen: options, the environment, and a small file, in this order.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::theme::Palette;
use crate::args::Screen;
use crate::error::Report;

/// The file in the profile's folder.
const FILE: &str = "tui.toml";
/// A file of settings is short.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The keys of the file in words.
pub const SETTINGS: &[(&str, &str)] = &[
    ("keymap = \"vi\"", "or \"readline\": the keys that edit"),
    ("mouse = false", "leaves the mouse to the terminal; with it, Shift does so for once"),
    ("notify = \"osc777\"", "or \"auto\", \"osc9\", \"bell\", \"none\": how the terminal is told"),
    (
        "notify_command = \"PROGRAM\"",
        "run for each notice, with KLATCH_FROM, _ROOM, _TEXT, _KIND and _COUNT",
    ),
    ("suggest = false", "lists of commands, rooms, names and emoji open with Tab only"),
    ("links = true", "or false: whether the terminal is told where links lead (\"auto\" guesses)"),
    ("rooms, people = true", "always show, or (false) never show, that list"),
];

/// Which keys edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keymap {
    /// As in a shell.
    #[default]
    Readline,
    /// As in vi: Esc for commands, i to insert.
    Vi,
}

/// How the terminal is told about something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notify {
    /// Which of the two the terminal understands, as far as it says what it is.
    #[default]
    Auto,
    /// Escape sequence 9.
    Osc9,
    /// Escape sequence 777.
    Osc777,
    /// Only the bell.
    Bell,
    /// Nothing.
    None,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which keys edit.
    pub keymap: Keymap,
    /// The wheel scrolls, a click opens a room.
    pub mouse: bool,
    /// How the terminal is told.
    pub notify: Notify,
    /// A program that is run for each notice.
    pub notify_command: Option<String>,
    /// Colours beside words and signs.
    pub color: bool,
    /// What the terminal has.
    pub palette: Palette,
    /// Completions are offered while one types.
    pub suggest: bool,
    /// The terminal is told where links lead.
    pub links: bool,
    /// The list of rooms; `None` shows it where there is space.
    pub list: Option<bool>,
    /// The list of people; `None` shows it where there is space.
    pub people: Option<bool>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keymap: Keymap::Readline,
            mouse: true,
            notify: Notify::Auto,
            notify_command: None,
            color: true,
            palette: Palette::Many,
            suggest: true,
            links: false,
            list: None,
            people: None,
        }
    }
}

/// Whether the terminal is told where links lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Links {
    Sure(bool),
    Auto(Auto),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Auto {
    Auto,
}

impl Default for Links {
    fn default() -> Self {
        Self::Auto(Auto::Auto)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    keymap: Option<Keymap>,
    mouse: Option<bool>,
    notify: Option<Notify>,
    notify_command: Option<String>,
    suggest: Option<bool>,
    links: Option<Links>,
    rooms: Option<bool>,
    people: Option<bool>,
}

impl Settings {
    /// From the options and the file of the profile, which need not exist.
    ///
    /// # Errors
    /// The file says something that is not understood.
    pub fn read(screen: &Screen, profile: &Path, color: bool) -> Result<Self, Report> {
        let path = profile.join(FILE);
        let file = read(&path)?;
        Ok(Self {
            keymap: screen.keymap.or(file.keymap).unwrap_or_default(),
            mouse: !screen.no_mouse && file.mouse.unwrap_or(true),
            notify: screen.notify.or(file.notify).unwrap_or_default(),
            notify_command: screen
                .notify_command
                .clone()
                .or(file.notify_command)
                .filter(|c| !c.trim().is_empty()),
            color,
            palette: Palette::of(&std::env::var("TERM").unwrap_or_default()),
            suggest: !screen.no_suggest && file.suggest.unwrap_or(true),
            links: match file.links.unwrap_or_default() {
                Links::Sure(told) => told,
                Links::Auto(_) => crate::links::can_link(|name| std::env::var(name).ok()),
            },
            list: file.rooms,
            people: file.people,
        })
    }
}

fn read(path: &PathBuf) -> Result<File, Report> {
    let bytes = match std::fs::metadata(path) {
        Ok(meta) => meta.len(),
        Err(_) => return Ok(File::default()),
    };
    if bytes > FILE_BYTES_MAX {
        let cause = format!("{} is too long for settings", path.display());
        return Err(Report::usage(cause, format!("at most {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| Report::io("read", path, &e))?;
    toml::from_str(&text).map_err(|e| {
        let hint = "it knows keymap, mouse, notify, notify_command, suggest, links, rooms and people; `klatch help keys` explains them";
        Report::usage(format!("{}: {}", path.display(), e.message()), hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_win_over_the_file_and_slips_in_it_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let none = Screen::default();
        let read = Settings::read(&none, folder.path(), true).unwrap();
        let Settings { palette, links, .. } = read;
        assert_eq!(read, Settings { palette, links, ..Settings::default() });
        std::fs::write(
            folder.path().join(FILE),
            "keymap = \"vi\"\nmouse = false\npeople = false\n",
        )
        .unwrap();
        let read = Settings::read(&none, folder.path(), true).unwrap();
        assert!(read.keymap == Keymap::Vi && !read.mouse && read.people == Some(false));
        let asked = Screen { keymap: Some(Keymap::Readline), ..Screen::default() };
        assert_eq!(Settings::read(&asked, folder.path(), true).unwrap().keymap, Keymap::Readline);
        std::fs::write(folder.path().join(FILE), "keymapp = \"vi\"").unwrap();
        let error = Settings::read(&none, folder.path(), true).unwrap_err();
        assert!(error.exit == 2 && error.cause.contains("keymapp"), "{error:?}");
    }
}
