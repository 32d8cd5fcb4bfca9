//! Everything that the screen shows, as plain data. `fold.rs` changes it, `draw/` reads it; neither
//! does anything else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::tz::TimeZone;
use klatch_core::event::Message;
use klatch_core::ids::{DeviceId, EntryId, IdentityId, RoomId};
use klatch_core::query::{Access, Member, Status, Verification};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::composer::{Composer, Half};
use super::notify::Held;
use super::overlay::Overlay;
use super::sending::Sending;
use super::settings::Settings;
use super::text::clean;
use super::timeline::Timeline;
use crate::act::{Here, Outcome};
use crate::client::Told;
use crate::error::Report;
use crate::hints;
use crate::lines;
use crate::slash::Action;

/// Rooms whose lines are kept in memory; others are read again when they are visited.
pub const TIMELINES_MAX: usize = 6;
/// Lines of the event log in the network view.
pub const LOG_MAX: usize = 300;
/// Round trips remembered per peer, for the small curve.
pub const RTTS_MAX: usize = 32;
/// Peers whose round trips are remembered.
pub const RTT_PEERS_MAX: usize = 128;
/// Quoted messages that are in no window, remembered by id.
pub const QUOTES_MAX: usize = 512;
/// A remark disappears after this time, milliseconds.
pub const NOTE_MS: u64 = 10_000;
/// "is typing" disappears after this time without news, milliseconds.
pub const TYPING_MS: u64 = 8_000;

/// All that is shown.
#[derive(Debug)]
pub struct State {
    /// What the user chose.
    pub settings: Settings,
    /// Now, Unix milliseconds: an input.
    pub now_ms: u64,
    /// For times on the wall.
    pub zone: TimeZone,
    /// Columns and rows.
    pub size: (u16, u16),
    /// The terminal has the keyboard, as far as it tells.
    pub focused: bool,
    /// Own name and device.
    pub me: Me,
    /// Rooms, conversations and requests, in the order of the list.
    pub chats: Vec<Chat>,
    /// Where the user is.
    pub here: Option<RoomId>,
    /// Where the user was, newest last: decides whose lines stay in memory.
    pub visits: Vec<RoomId>,
    /// Lines, for the rooms visited last.
    pub timelines: BTreeMap<RoomId, Timeline>,
    /// Who is in the rooms visited last.
    pub members: BTreeMap<RoomId, Vec<Member>>,
    /// Messages quoted by replies that stand in no window: author and first words. Empty while
    /// asked for.
    pub quotes: BTreeMap<EntryId, (String, String)>,
    /// What is being written.
    pub composer: Composer,
    /// What was being written elsewhere.
    pub drafts: BTreeMap<RoomId, String>,
    /// What else was half written elsewhere: answers, changes, and what waits behind them.
    pub halves: BTreeMap<RoomId, Vec<Half>>,
    /// How loud each room is.
    pub levels: BTreeMap<RoomId, Level>,
    /// Something of drafts or levels changed since it was kept.
    pub unkept: bool,
    /// The main part of the screen.
    pub view: View,
    /// What lies over it.
    pub overlay: Option<Overlay>,
    /// A remark.
    pub note: Option<Note>,
    /// A long text that was pasted, while it is asked what to do with it; until when keys that come
    /// in a crowd belong to it, Unix milliseconds (0: it came marked as a paste).
    pub pasted: Option<(String, u64)>,
    /// A question that waits for yes or no.
    pub question: Option<(String, Action)>,
    /// A room that was just opened: whether it was meant is seen with the next list.
    pub opened: Option<RoomId>,
    /// What the node is doing.
    pub status: Option<Status>,
    /// Round trips per peer, milliseconds, oldest first.
    pub rtts: BTreeMap<String, VecDeque<u32>>,
    /// What happened, newest last.
    pub log: VecDeque<Logged>,
    /// First row of the list that is shown, if the wheel chose one.
    pub list_top: Option<usize>,
    /// First line of the log that is shown, counted from the newest.
    pub log_back: usize,
    /// Who is writing, and until when to say so.
    pub typing: BTreeMap<RoomId, (String, u64)>,
    /// When we last told that we are writing, and to whom.
    pub told_typing: Option<(RoomId, u64)>,
    /// The profile has a passphrase: what was said is not shown without the node, which has the
    /// keys.
    pub sealed: bool,
    /// Why the node cannot be reached, while it cannot.
    pub down: Option<String>,
    /// Calls whose answer is awaited, so that the same is not asked twice.
    pub asked: BTreeSet<Tag>,
    /// Notices that are held back for a moment, so that a crowd of messages is told once.
    pub held: Held,
    /// Messages that came in a catch-up, per room, until the user is told of them.
    pub caught_up: BTreeMap<RoomId, u64>,
    /// What is to be done at a time.
    pub due: Due,
    /// Texts handed over that are not answered yet, by their number.
    pub sending: BTreeMap<u64, Sending>,
    /// How many were handed over.
    pub sent: u64,
    /// Unlike that of any other run: keys of the texts handed over begin with it.
    pub nonce: String,
    /// Something was said or changed: worth handing over before an embedded node ends.
    pub wrote: bool,
    /// The program is to end; with the node, if `true`.
    pub quit: Option<bool>,
}

/// Times at which something is to be done, Unix milliseconds.
#[derive(Debug, Default, Clone, Copy)]
pub struct Due {
    /// Ask what the node is doing.
    pub status: u64,
    /// Read the own newest messages again, for their delivery.
    pub refresh: Option<u64>,
    /// Read members of the current room again.
    pub members: Option<u64>,
    /// Read the lists again.
    pub lists: Option<u64>,
    /// Keep drafts.
    pub keep: Option<u64>,
    /// Ask for what the search field says.
    pub search: Option<u64>,
    /// Tell of what was held back.
    pub notices: Option<u64>,
}

/// Oneself.
#[derive(Debug, Default, Clone)]
pub struct Me {
    /// Display name.
    pub name: String,
    /// Own device, once known.
    pub device: Option<DeviceId>,
    /// Others are told when one is writing to them.
    pub typing: bool,
}

/// A row of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// The room, or the conversation.
    pub room: RoomId,
    /// With `#` or `@`; not yet safe for a terminal.
    pub name: String,
    /// What tells it from others whose names look the same.
    pub mark: Option<String>,
    /// What it is.
    pub kind: ChatKind,
    /// Others who are connected now.
    pub online: u32,
    /// Everybody seen in it.
    pub members: u32,
    /// Messages not read.
    pub unread: u64,
    /// Of these, the ones that call the user by name.
    pub mentions: u64,
    /// Own messages that nobody else has.
    pub queued: u64,
    /// Texts are no longer stored.
    pub full: bool,
    /// Nothing can be said: the profile was restored from an old copy.
    pub behind: bool,
}

/// What a row of the list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatKind {
    /// A room.
    Room(Access),
    /// A conversation with a contact.
    Direct(IdentityId, Verification),
    /// A stranger who wrote.
    Request(IdentityId),
    /// Somebody who is refused: in the list only as long as one is there.
    Blocked(IdentityId),
}

impl Chat {
    /// For the shared executor of commands.
    pub fn place(&self) -> Here {
        Here { room: self.room, name: self.typed(), direct: self.is_direct() }
    }

    /// The name with its mark, safe for a terminal.
    pub fn shown(&self) -> String {
        lines::marked(clean(&self.name), self.mark.as_deref())
    }

    /// The name with its mark, as it is taken by every command.
    pub fn typed(&self) -> String {
        lines::marked(self.name.clone(), self.mark.as_deref())
    }

    /// A conversation with one person.
    pub fn is_direct(&self) -> bool {
        !matches!(self.kind, ChatKind::Room(_))
    }
}

/// How loud a room is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Each message.
    All,
    /// Messages that call the user by name, and everything in direct conversations.
    #[default]
    Mentions,
    /// Nothing.
    None,
}

impl Level {
    /// The next one, round and round.
    pub fn next(self) -> Self {
        match self {
            Self::All => Self::Mentions,
            Self::Mentions => Self::None,
            Self::None => Self::All,
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::All => "each message",
            Self::Mentions => "only messages that call you by name",
            Self::None => "nothing",
        }
    }
}

/// The main part of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// Lists, timeline, composer.
    #[default]
    Chat,
    /// Peers, rooms, events.
    Network,
}

/// A remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Safe for a terminal, one line.
    pub text: String,
    /// Must not be overlooked.
    pub warning: bool,
    /// Unix milliseconds.
    pub until_ms: u64,
    /// It is about this place, and goes with it.
    pub place: Option<RoomId>,
}

/// A line of the event log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Unix milliseconds.
    pub at_ms: u64,
    /// Safe for a terminal.
    pub text: String,
}

/// What happens to the screen.
#[derive(Debug)]
pub enum Input {
    /// A key.
    Key(crossterm::event::KeyEvent),
    /// Keys that came at once.
    Keys(Vec<crossterm::event::KeyEvent>),
    /// A text was pasted.
    Paste(String),
    /// The mouse.
    Mouse(crossterm::event::MouseEvent),
    /// The terminal has another size.
    Resize(u16, u16),
    /// The terminal got or lost the keyboard.
    Focus(bool),
    /// The node tells something.
    Told(Box<Told>),
    /// The node answers a call.
    Answer(Tag, Result<Value, Report>),
    /// A slash command is done.
    Acted(Result<Box<Outcome>, Report>),
    /// A slash command was refused: where it was typed, what, and why.
    Refused(Option<RoomId>, String, Report),
    /// A new passphrase.
    Passphrase(String),
    /// A line for the log of the program.
    Log(String),
    /// The node cannot be reached any more: why, and the calls that it did not answer.
    Lost(String, Vec<Tag>),
    /// Something that the screen wished for could not be done.
    Failed(String),
    /// Drafts could not be kept.
    Unkept(String),
    /// It can be again.
    Found,
    /// Time has passed.
    Tick,
}

/// What the screen wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Wish {
    /// A call to the node; the answer comes back with the tag.
    Call {
        /// Names the answer.
        tag: Tag,
        /// As in the API.
        method: &'static str,
        /// Its parameters.
        params: Value,
    },
    /// A slash command.
    Act {
        /// Which.
        action: Action,
        /// Where.
        here: Option<Here>,
        /// What `^` counts.
        recent: Vec<Message>,
        /// As it was typed: given back if the node refuses it.
        typed: String,
    },
    /// To the clipboard, by the terminal.
    Copy(String),
    /// Draw the user's attention.
    Notify(Notice),
    /// A new passphrase, drawn by chance.
    Passphrase,
    /// Write drafts and levels to disk.
    Keep,
    /// Paint everything anew.
    Redraw,
    /// Stop until the shell continues us.
    Suspend,
}

/// What a call was for. Its order has no meaning.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tag {
    /// `node.status`.
    Status,
    /// `contact.list`.
    Contacts,
    /// `room.members`.
    Members(RoomId),
    /// The newest lines.
    Newest(RoomId),
    /// Lines before one.
    Older(RoomId, EntryId),
    /// Lines after one.
    Newer(RoomId, EntryId),
    /// The first line of a room, or the first new one.
    First(RoomId),
    /// A line that changed.
    Changed(RoomId, EntryId),
    /// A line that is quoted.
    Quote(RoomId, EntryId),
    /// Unread lines of a room that is not shown, to count who calls the user.
    Mentions(RoomId),
    /// What a search found; the number of the search.
    Search(u64),
    /// `room.join` at the start, or from the switcher.
    Join,
    /// The same with a passphrase.
    JoinPrivate,
    /// A text that was handed over: its number among those of this run.
    Sent(u64),
    /// A change whose success shows by itself; what was tried, for the error.
    Change(&'static str),
    /// Nobody waits for it.
    Quiet,
}

/// Something worth a person's attention. Both are safe for a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Who, and where.
    pub title: String,
    /// The beginning of the text.
    pub body: String,
    /// For the hook command.
    pub room: String,
    /// For the hook command.
    pub from: String,
    /// For the hook command: the whole text, as it was written.
    pub text: String,
    /// `direct` or `mention` or `message`.
    pub kind: &'static str,
    /// Messages of which it tells.
    pub count: u64,
    /// Of these, the ones that call the user by name.
    pub called: u64,
}

impl State {
    /// Before anything is known.
    pub fn new(settings: Settings, size: (u16, u16), now_ms: u64, zone: TimeZone) -> Self {
        Self {
            composer: Composer::new(settings.keymap),
            settings,
            now_ms,
            zone,
            size,
            focused: true,
            me: Me::default(),
            chats: Vec::new(),
            here: None,
            visits: Vec::new(),
            timelines: BTreeMap::new(),
            members: BTreeMap::new(),
            quotes: BTreeMap::new(),
            drafts: BTreeMap::new(),
            halves: BTreeMap::new(),
            levels: BTreeMap::new(),
            unkept: false,
            view: View::Chat,
            overlay: None,
            note: None,
            pasted: None,
            question: None,
            opened: None,
            status: None,
            rtts: BTreeMap::new(),
            log: VecDeque::new(),
            list_top: None,
            log_back: 0,
            typing: BTreeMap::new(),
            told_typing: None,
            sealed: false,
            down: None,
            asked: BTreeSet::new(),
            sending: BTreeMap::new(),
            sent: 0,
            nonce: String::new(),
            held: Held::default(),
            caught_up: BTreeMap::new(),
            due: Due::default(),
            wrote: false,
            quit: None,
        }
    }

    /// The row of the list in which the user is.
    pub fn chat(&self) -> Option<&Chat> {
        self.here.and_then(|room| self.chat_of(room))
    }

    /// Whether the other side of a conversation is in one of the rooms visited last, now. Of somebody
    /// to whom nothing was said yet the list of contacts knows nothing.
    pub fn is_in_a_room(&self, conversation: RoomId) -> bool {
        let is_them = |i: IdentityId| RoomId::of_conversation(&i) == conversation;
        self.members.values().flatten().any(|m| m.online && m.identity.is_some_and(is_them))
    }

    /// The row of a room.
    pub fn chat_of(&self, room: RoomId) -> Option<&Chat> {
        self.chats.iter().find(|c| c.room == room)
    }

    /// The same, to change.
    pub fn chat_mut(&mut self, room: RoomId) -> Option<&mut Chat> {
        self.chats.iter_mut().find(|c| c.room == room)
    }

    /// The lines before the user.
    pub fn timeline(&self) -> Option<&Timeline> {
        self.here.and_then(|room| self.timelines.get(&room))
    }

    /// The same, to change.
    pub fn timeline_mut(&mut self) -> Option<&mut Timeline> {
        self.here.and_then(|room| self.timelines.get_mut(&room))
    }

    /// Says something below the timeline.
    pub fn say(&mut self, text: &str) {
        let text = hints::in_chat(&super::text::clean(text.trim_start_matches("* ")));
        let until_ms = self.now_ms + NOTE_MS;
        self.note = Some(Note { text, warning: false, until_ms, place: self.here });
    }

    /// The same, louder.
    pub fn warn(&mut self, text: &str) {
        let text = hints::in_chat(&super::text::clean(text));
        let until_ms = self.now_ms + 2 * NOTE_MS;
        self.note = Some(Note { text, warning: true, until_ms, place: None });
    }

    /// An error of a call or a command.
    pub fn fail(&mut self, report: &Report) {
        let hint = if report.hint.is_empty() {
            String::new()
        } else {
            format!(" · try: {}", report.hint)
        };
        self.warn(&format!("{}{hint}", report.cause));
        if let Some(note) = &mut self.note {
            note.place = self.here;
        }
    }

    /// Adds a line to the event log.
    pub fn record(&mut self, text: &str) {
        if self.log.len() >= LOG_MAX {
            self.log.pop_front();
        }
        self.log.push_back(Logged { at_ms: self.now_ms, text: super::text::clean(text) });
    }

    /// Keeps drafts and levels soon.
    pub fn keep_soon(&mut self) {
        /// Not at each key: the disk has other things to do.
        const KEEP_MS: u64 = 1_000;
        self.unkept = true;
        self.due.keep.get_or_insert(self.now_ms + KEEP_MS);
    }

    /// When the next thing is due without anything happening, Unix milliseconds.
    pub fn wake_ms(&self) -> u64 {
        let due = [
            self.due.refresh,
            self.due.members,
            self.due.lists,
            self.due.keep,
            self.due.search,
            self.due.notices,
        ];
        let note = self.note.as_ref().map(|n| n.until_ms);
        let typing = self.typing.values().map(|(_, until)| *until).min();
        due.into_iter().flatten().chain(note).chain(typing).fold(self.due.status, u64::min)
    }
}
