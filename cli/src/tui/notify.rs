//! What is worth a person's attention, and how a terminal is told: by an escape sequence, which
//! works over SSH, and the bell.

use std::collections::BTreeMap;

use klatch_core::event::Message;
use klatch_core::ids::RoomId;

use super::rows::author;
use super::settings::Notify;
use super::state::{Chat, Level, Notice, State, Wish};
use super::text::{clean, cut};

/// Terminals show a line or two.
const BODY_COLUMNS_MAX: usize = 160;

/// After a notice the next ones are gathered for this time, milliseconds.
const HELD_MS: u64 = 2_000;

/// Notices that wait.
#[derive(Debug, Default)]
pub struct Held {
    /// One per room.
    waiting: BTreeMap<RoomId, Notice>,
    /// Until when they wait, Unix milliseconds.
    until_ms: u64,
}

/// Tells the user now, or in a moment together with what else comes from that room.
pub fn tell(state: &mut State, wishes: &mut Vec<Wish>, room: RoomId, notice: Notice) {
    if state.now_ms >= state.held.until_ms && state.held.waiting.is_empty() {
        state.held.until_ms = state.now_ms + HELD_MS;
        wishes.push(Wish::Notify(notice));
        return;
    }
    let merged = match state.held.waiting.remove(&room) {
        Some(before) => both(before, notice),
        None => notice,
    };
    state.held.waiting.insert(room, merged);
    state.due.notices = Some(state.held.until_ms);
}

/// Tells what waited: one notice per room.
pub fn tell_held(state: &mut State, wishes: &mut Vec<Wish>) {
    state.held.until_ms = state.now_ms + HELD_MS;
    let waiting = std::mem::take(&mut state.held.waiting);
    wishes.extend(waiting.into_values().map(Wish::Notify));
}

/// Forgets what waited for a room that is being read.
pub fn seen(state: &mut State, room: RoomId) {
    state.held.waiting.remove(&room);
    state.caught_up.remove(&room);
}

fn both(before: Notice, after: Notice) -> Notice {
    let kind = if before.kind == "message" { after.kind } else { before.kind };
    summary(&after.room, kind, before.count + after.count, before.called + after.called)
}

/// Makes a notice that waits for the user's program tell of another one as well.
pub fn merge(waiting: &mut Notice, other: &Notice) {
    let rooms =
        if waiting.room == other.room { other.room.clone() } else { "several rooms".into() };
    let kind = if waiting.kind == "message" { other.kind } else { waiting.kind };
    *waiting = summary(&rooms, kind, waiting.count + other.count, waiting.called + other.called);
}

/// Of several messages of one room.
fn summary(room: &str, kind: &'static str, count: u64, called: u64) -> Notice {
    let calls = match called {
        0 => String::new(),
        1 => ", 1 mentions you".to_owned(),
        n => format!(", {n} mention you"),
    };
    let text = format!("{count} new{calls}");
    Notice {
        title: clean(room),
        body: text.clone(),
        room: room.to_owned(),
        from: String::new(),
        text,
        kind,
        count,
        called,
    }
}

/// What to tell about messages that came while nobody looked: of which nothing was told one by one.
pub fn caught_up(
    state: &mut State,
    wishes: &mut Vec<Wish>,
    room: RoomId,
    unread: u64,
    called: u64,
) {
    let Some(came) = state.caught_up.remove(&room) else { return };
    let Some(chat) = state.chat_of(room) else { return };
    let (name, direct) = (chat.typed(), chat.is_direct());
    let level = state.levels.get(&room).copied().unwrap_or_default();
    let count = came.min(unread);
    let called = called.min(count);
    let loud = match level {
        Level::All => count > 0,
        Level::Mentions => called > 0 || (direct && count > 0),
        Level::None => false,
    };
    if loud {
        let kind = match (direct, called) {
            (true, _) => "direct",
            (_, 0) => "message",
            _ => "mention",
        };
        tell(state, wishes, room, summary(&name, kind, count, called));
    }
}

/// What to tell about a message that is not before the user's eyes, if its room is loud enough.
pub fn notice(state: &State, message: &Message, called: bool) -> Option<Notice> {
    let level = state.levels.get(&message.room).copied().unwrap_or_default();
    let kind = match (message.direct, called) {
        (true, _) => "direct",
        (_, true) => "mention",
        _ => "message",
    };
    let loud = match level {
        Level::All => true,
        Level::Mentions => kind != "message",
        Level::None => false,
    };
    if !loud {
        return None;
    }
    let room = state.chat_of(message.room).map_or_else(|| message.room.short(), Chat::typed);
    let from = author(message, &state.me.name);
    let title = if message.direct { from.clone() } else { format!("{from} in {}", clean(&room)) };
    let first = message.text.lines().next().unwrap_or_default();
    let body = cut(&clean(first), BODY_COLUMNS_MAX);
    Some(Notice {
        title,
        body,
        room,
        from,
        text: message.text.clone(),
        kind,
        count: 1,
        called: u64::from(called),
    })
}

/// What is written to the terminal for a notice. `terminal` is its TERM, `vte` whether it says that
/// it is of that family.
pub fn sequence(notice: &Notice, how: Notify, terminal: &str, vte: bool) -> String {
    let how = match how {
        Notify::Auto if vte || terminal.starts_with("rxvt") || terminal.starts_with("foot") => {
            Notify::Osc777
        }
        Notify::Auto => Notify::Osc9,
        chosen => chosen,
    };
    // Cleaned when it was made; the separator of the second form is the only further sign with a
    // meaning.
    match how {
        Notify::Osc9 | Notify::Auto => {
            format!("\u{1b}]9;klatch: {}: {}\u{7}\u{7}", notice.title, notice.body)
        }
        Notify::Osc777 => {
            format!(
                "\u{1b}]777;notify;{};{}\u{7}\u{7}",
                notice.title.replace(';', ","),
                notice.body.replace(';', ",")
            )
        }
        Notify::Bell => "\u{7}".to_owned(),
        Notify::None => String::new(),
    }
}

/// What is written to the terminal to fill the clipboard. Terminals refuse more than some 100 kB; a
/// text has at most 64.
pub fn clipboard(text: &str) -> String {
    format!("\u{1b}]52;c;{}\u{7}", base64(text.as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |w, b| (w << 8) | u32::from(*b)) << (8 * (3 - chunk.len()));
        for n in 0..4 {
            let six = usize::try_from((word >> (18 - 6 * n)) & 63).unwrap_or_default();
            out.push(if n <= chunk.len() { char::from(ALPHABET[six]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_everybody_writes_it() {
        for (text, code) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes()), code);
        }
    }

    #[test]
    fn a_notice_cannot_leave_its_sequence() {
        let nasty = clean("a\u{7}\u{1b}]52;c;aGk=\u{1b}\\b\u{9c}");
        let notice = Notice {
            title: format!("x;{nasty}"),
            body: nasty.clone(),
            room: String::new(),
            from: String::new(),
            text: String::new(),
            kind: "direct",
            count: 1,
            called: 0,
        };
        for (how, terminal, vte) in [
            (Notify::Auto, "xterm", false),
            (Notify::Auto, "rxvt-unicode", false),
            (Notify::Auto, "xterm", true),
        ] {
            let out = sequence(&notice, how, terminal, vte);
            assert_eq!(out.matches('\u{1b}').count(), 1, "{out:?}");
            assert_eq!(out.matches('\u{7}').count(), 2, "its end and the bell: {out:?}");
            assert!(!out.contains('\u{9c}'));
        }
        assert_eq!(sequence(&notice, Notify::None, "xterm", false), "");
    }
}
