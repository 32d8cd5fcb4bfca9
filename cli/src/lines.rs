//! How a message looks as a line of text. Used by `log`, `chat` and the noun forms, so that they
//! agree.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use klatch_core::content::Kind;
use klatch_core::event::{Delivery, Message};
use klatch_core::ids::EntryId;
use klatch_core::rows::Lack;

use crate::error::Report;
use crate::output::{Output, snippet, visible, visible_indented};

/// Messages remembered for replies and references; older ones are found by id.
const RECENT_MAX: usize = 512;

/// A line in three parts, the middle one a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    before: String,
    name: String,
    after: String,
}

impl Line {
    /// Prints it.
    pub fn print(&self, out: &Output) -> Result<(), Report> {
        out.marked(&self.before, &self.name, &self.after)
    }

    /// With the first characters of the message's id, by which it can be named.
    #[must_use]
    pub fn with_id(mut self, id: EntryId) -> Self {
        self.before = format!("[{}] {}", id.short(), self.before);
        self
    }

    /// Without colour.
    pub fn text(&self) -> String {
        format!("{}{}{}", self.before, self.name, self.after)
    }
}

/// Turns messages into lines, remembering names and recent messages.
#[derive(Debug)]
pub struct Lines {
    zone: TimeZone,
    recent: Vec<Message>,
}

impl Default for Lines {
    fn default() -> Self {
        Self { zone: TimeZone::system(), recent: Vec::new() }
    }
}

impl Lines {
    /// Lines with times of this zone.
    pub fn in_zone(zone: TimeZone) -> Self {
        Self { zone, ..Self::default() }
    }

    /// `18:05`, or with the date if it is not today.
    pub fn time(&self, at_ms: u64) -> String {
        let Ok(at) = Timestamp::from_millisecond(i64::try_from(at_ms).unwrap_or(i64::MAX)) else {
            return "??:??".to_owned();
        };
        let (at, now) =
            (at.to_zoned(self.zone.clone()), Timestamp::now().to_zoned(self.zone.clone()));
        let format = if at.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
        at.strftime(format).to_string()
    }

    /// The line of a message.
    pub fn line(&mut self, message: &Message, room: &str) -> Line {
        let name = author(message);
        let at = match message.direct {
            true => format!("{} ", self.time(message.at_ms)),
            false => format!("{} {} ", self.time(message.at_ms), visible(room)),
        };
        // `room` is the other person, `@bob`.
        let to = if message.direct && message.own {
            format!(" to {}", visible(room))
        } else {
            String::new()
        };
        let name = match message.direct && !message.own {
            true => person(room, message.name_mark.as_deref()),
            false => name,
        };
        let (before, after) = match message.kind {
            Kind::Profile => ("* ".to_owned(), format!(" {}", came(message, &visible(room)))),
            Kind::Leave => ("* ".to_owned(), format!(" left {}", visible(room))),
            Kind::Text if doing(message).is_some() => (
                format!("{at}* "),
                format!(
                    " {}{}",
                    body(message),
                    if to.is_empty() { to } else { format!(" ({})", to.trim()) }
                ),
            ),
            Kind::Text => (at, format!("{to}{}: {}", self.answered(message), body(message))),
            Kind::Newer(_) => {
                (at, " wrote something that needs a newer version of klatch".to_owned())
            }
            Kind::Notice => (at, format!("{to} announces: {}", body(message))),
            Kind::Edit => (at, format!(" changed a message to: {}", body(message))),
            Kind::Delete => (at, format!(" deleted a message{}", self.quoted(message))),
            Kind::Reaction => {
                let said = match reaction(message) {
                    (emoji, true) => format!(" reacted {emoji}"),
                    (emoji, false) => format!(" removed {emoji}"),
                };
                (at, format!("{said}{}", self.quoted(message)))
            }
        };
        self.change(message);
        self.remember(message);
        Line { before, name, after }
    }

    fn answered(&self, message: &Message) -> String {
        message.reply_to.map_or_else(String::new, |id| {
            match self.recent.iter().find(|m| m.id == id) {
                Some(m) if m.deleted => " (to a deleted message)".to_owned(),
                Some(m) => format!(" (to \"{}\")", snippet(&m.text)),
                None => format!(" (to {})", id.short()),
            }
        })
    }

    fn quoted(&self, message: &Message) -> String {
        let target = message.target.and_then(|id| self.recent.iter().find(|m| m.id == id));
        target
            .filter(|m| !m.text.is_empty())
            .map_or_else(String::new, |m| format!(": \"{}\"", snippet(&m.text)))
    }

    /// Remembers what became of a message: who answers it, or counts back to it, means it as it is
    /// now.
    fn change(&mut self, change: &Message) {
        let Some(target) = change.target else { return };
        let Some(found) = self.recent.iter_mut().find(|m| m.id == target) else { return };
        let by_author = found.device == change.device
            || (found.identity.is_some() && found.identity == change.identity);
        match change.kind {
            Kind::Edit if by_author && !found.deleted => {
                found.text.clone_from(&change.text);
                found.edited = true;
            }
            Kind::Delete if by_author => {
                found.text.clear();
                found.deleted = true;
            }
            _ => {}
        }
    }

    fn remember(&mut self, message: &Message) {
        if matches!(message.kind, Kind::Text | Kind::Notice) {
            if self.recent.len() >= RECENT_MAX {
                self.recent.drain(..RECENT_MAX / 2);
            }
            self.recent.push(message.clone());
        }
    }

    /// The messages that were shown lately, oldest first: what `^` and short ids refer to.
    pub fn recent(&self) -> &[Message] {
        &self.recent
    }
}

/// The author, in a form that cannot be taken for somebody else. A profile tells of the name before
/// it.
fn author(message: &Message) -> String {
    let profile = matches!(message.kind, Kind::Profile);
    if message.own && !profile {
        return "you".to_owned();
    }
    let name = match &message.former_name {
        Some(former) if profile => former,
        _ => &message.name,
    };
    let name = if name.is_empty() { "somebody".to_owned() } else { visible(name) };
    let own = message.device.short();
    let you = (name == "you").then_some(&own[..4]);
    marked(name, message.name_mark.as_deref().or(you))
}

/// The other person of a conversation, who may have got a mark, or may have been given one already.
fn person(place: &str, mark: Option<&str>) -> String {
    let shown = visible(place);
    let mark = mark.filter(|mark| !shown.ends_with(&format!("~{}", visible(mark))));
    marked(shown, mark)
}

/// What a profile says of its author.
pub fn came(message: &Message, room: &str) -> String {
    match &message.former_name {
        Some(former) if *former != message.text && !message.text.is_empty() => {
            format!("is now {}", visible(&message.text))
        }
        None if message.seq == 0 => format!("joined {room}"),
        _ => format!("is back in {room}"),
    }
}

/// A name, with what tells its bearer from others who are called alike. Safe for a terminal if the
/// name is.
pub fn marked(name: String, mark: Option<&str>) -> String {
    match mark {
        Some(mark) => format!("{name}~{}", visible(mark)),
        None => name,
    }
}

/// Why a line has no text.
pub fn missing(message: &Message) -> &'static str {
    match message.lack {
        Some(Lack::Damaged) => "(not stored: damaged on this disk)",
        Some(Lack::NotKept) => "(not stored: no space left for this room)",
        _ => "(the text is not stored here)",
    }
}

fn body(message: &Message) -> String {
    if message.deleted {
        return "(deleted)".to_owned();
    }
    if message.missing {
        return missing(message).to_owned();
    }
    let mut text = visible_indented(doing(message).unwrap_or(&message.text));
    if message.edited {
        text.push_str(" (edited)");
    }
    for r in &message.reactions {
        text.push_str(&format!(" [{} {}]", visible(&r.emoji), r.devices.len()));
    }
    text
}

/// What the author does, if the text is of the form that `/me` writes and not gone.
fn doing(message: &Message) -> Option<&str> {
    let text = message.text.strip_prefix("/me ").filter(|t| !t.trim().is_empty());
    text.filter(|_| message.kind == Kind::Text && !message.deleted && !message.missing)
}

/// The emoji of a reaction, and whether it was put on.
fn reaction(message: &Message) -> (String, bool) {
    // The text of one that was taken off begins with a minus.
    match message.text.strip_prefix('-') {
        Some(emoji) => (visible(emoji), false),
        None => (visible(&message.text), true),
    }
}

/// A delivery state in words.
pub fn state(state: Delivery) -> String {
    match state {
        Delivery::Queued => "queued: nobody has it yet".to_owned(),
        Delivery::Sent => "sent".to_owned(),
        Delivery::Relayed => "held by a relay".to_owned(),
        Delivery::Delivered { n, m } => format!("delivered {n} of {m}"),
        Delivery::Read => "read".to_owned(),
        Delivery::Failed => "failed: not delivered in time; send it again".to_owned(),
    }
}

/// `1 room`, `2 rooms`.
pub fn count(n: usize, what: &str) -> String {
    match (n, what.strip_suffix('s')) {
        (1, _) => format!("1 {what}"),
        (_, Some(_)) => format!("{n} {what}es"),
        (_, None) => format!("{n} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use klatch_core::ids::RoomId;

    use super::*;

    fn message(n: u8, name: &str, text: &str) -> Message {
        Message {
            id: EntryId([n; 16]),
            room: RoomId([0; 16]),
            direct: false,
            journal: u64::from(n),
            device: klatch_core::ids::DeviceId([name.len() as u8; 32]),
            identity: None,
            name: name.to_owned(),
            name_mark: None,
            former_name: None,
            seq: 3,
            kind: Kind::Text,
            text: text.to_owned(),
            reply_to: None,
            target: None,
            at_ms: 65_100_000,
            arrived_ms: 0,
            own: false,
            state: None,
            edited: false,
            deleted: false,
            missing: false,
            lack: None,
            reactions: Vec::new(),
        }
    }

    #[test]
    fn a_message_is_one_line_with_time_room_and_name() {
        let mut lines = Lines::in_zone(TimeZone::UTC);
        let line = lines.line(&message(1, "bob", "can we meet?"), "#garden").text();
        assert_eq!(line, "1970-01-01 18:05 #garden bob: can we meet?");
        let reply =
            Message { reply_to: Some(EntryId([1; 16])), own: true, ..message(2, "alice", "yes") };
        assert!(
            lines
                .line(&reply, "#garden")
                .text()
                .ends_with("#garden you (to \"can we meet?\"): yes")
        );
    }

    #[test]
    fn what_somebody_does_is_told_in_the_third_person_and_with_its_place() {
        let mut lines = Lines::in_zone(TimeZone::UTC);
        let line = lines.line(&message(1, "bob", "/me waves"), "#garden").text();
        assert_eq!(line, "1970-01-01 18:05 #garden * bob waves");
        assert!(lines.line(&message(2, "bob", "/me "), "#garden").text().ends_with("bob: /me "));
    }

    #[test]
    fn a_direct_message_says_from_whom_or_to_whom() {
        let mut lines = Lines::in_zone(TimeZone::UTC);
        let from = Message { direct: true, ..message(1, "bob", "hi") };
        assert_eq!(lines.line(&from, "@robert").text(), "1970-01-01 18:05 @robert: hi");
        let to = Message {
            direct: true,
            own: true,
            reply_to: Some(EntryId([1; 16])),
            ..message(2, "alice", "yes")
        };
        assert_eq!(
            lines.line(&to, "@robert").text(),
            "1970-01-01 18:05 you to @robert (to \"hi\"): yes"
        );
    }

    #[test]
    fn nobody_can_pretend_to_be_you_or_another_line() {
        let mut lines = Lines::in_zone(TimeZone::UTC);
        assert!(lines.line(&message(1, "you", "hi"), "#g").text().contains("you~"));
        let text =
            lines.line(&message(2, "eve\u{1b}[2J", "a\n18:05 #g bob: b\u{202e}"), "#g").text();
        assert!(
            text.contains("eve␛[2J")
                && text.contains("\n      18:05")
                && !text.contains('\u{202e}'),
            "{text}"
        );
    }

    #[test]
    fn what_was_deleted_or_edited_is_quoted_as_it_is_now() {
        let mut lines = Lines::in_zone(TimeZone::UTC);
        lines.line(&message(1, "bob", "draft"), "#g");
        let change = |kind, text: &str| Message {
            kind,
            target: Some(EntryId([1; 16])),
            ..message(2, "bob", text)
        };
        lines.line(&change(Kind::Edit, "final"), "#g");
        let reply = Message { reply_to: Some(EntryId([1; 16])), ..message(3, "alice", "yes") };
        assert!(lines.line(&reply, "#g").text().ends_with("alice (to \"final\"): yes"));
        let deleted = lines.line(&change(Kind::Delete, ""), "#g").text();
        assert!(deleted.ends_with("bob deleted a message: \"final\""), "{deleted}");
        assert!(lines.line(&reply, "#g").text().ends_with("alice (to a deleted message): yes"));
    }

    #[test]
    fn an_emoji_taken_off_is_removed() {
        let mut lines = Lines::in_zone(TimeZone::UTC);
        let off = Message { kind: Kind::Reaction, ..message(2, "bob", "-👍") };
        assert!(lines.line(&off, "#g").text().ends_with("bob removed 👍"));
    }

    #[test]
    fn a_name_that_is_shared_is_marked_in_the_first_line_already() {
        let mut lines = Lines::in_zone(TimeZone::UTC);
        let mark = Some("ABCD".to_owned());
        let shared = Message { name_mark: mark.clone(), ..message(1, "bob", "I am bob") };
        assert!(lines.line(&shared, "#g").text().contains(" bob~ABCD: I am bob"));
        let direct = Message { direct: true, name_mark: mark, ..message(2, "bob", "it is me") };
        for place in ["@bob", "@bob~ABCD"] {
            assert!(lines.line(&direct, place).text().contains(" @bob~ABCD: it is me"));
        }
        assert!(lines.line(&message(3, "bob", "hi"), "#g").text().contains(" bob: hi"));
    }

    #[test]
    fn a_new_name_is_told_with_the_old_one_and_the_same_name_is_none() {
        let mut lines = Lines::in_zone(TimeZone::UTC);
        let profile = |seq, name: &str, former: Option<&str>| Message {
            kind: Kind::Profile,
            seq,
            former_name: former.map(str::to_owned),
            // Shown with today's name, which may be another one again.
            ..message(1, "robert", name)
        };
        let mut line = |m: Message| lines.line(&m, "#g").text();
        assert_eq!(line(profile(0, "robert", None)), "* robert joined #g");
        assert_eq!(line(profile(4, "bobby", Some("bob"))), "* bob is now bobby");
        assert_eq!(line(profile(9, "robert", Some("robert"))), "* robert is back in #g");
    }

    #[test]
    fn memory_is_bounded() {
        let mut lines = Lines::in_zone(TimeZone::UTC);
        for _ in 0..5_000 {
            lines.line(&message(1, "bob", "x"), "#g");
        }
        assert!(lines.recent.len() <= RECENT_MAX);
    }
}
