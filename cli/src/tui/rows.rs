//! A line of the timeline as rows of the screen: what stands before it (a new day, "new"), whom it
//! quotes, its words, its reactions and where it is. Drawing and scrolling use the same function,
//! so they always agree about heights.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use klatch_core::content::Kind;
use klatch_core::event::Message;
use klatch_core::mention;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::links;
use super::state::State;
use super::text::{clean, cut, fit_marked, width, wrap};
use super::theme::{Theme, delivery};
use super::timeline::Timeline;
use crate::output::snippet;

/// Narrower timelines show no times, and names only before the words.
const GUTTER_COLUMNS_MIN: usize = 44;
/// Names get so many columns at most.
const NAME_COLUMNS_MAX: usize = 14;
/// Wider timelines leave the rest blank: long rows are hard to read. Texts get about 100 columns.
const COLUMNS_MAX: usize = 122;
/// Narrower timelines show only the sign of a delivery state.
const STATE_COLUMNS_MIN: usize = 44;
/// Longer texts are folded...
const FOLDED_ROWS_MIN: usize = 20;
/// ...to so many rows.
const FOLDED_ROWS: usize = 8;
/// Columns kept free for `… queued`.
const STATE_COLUMNS: usize = 10;

/// What rows depend on beside the line itself.
#[derive(Debug)]
pub struct Look<'a> {
    state: &'a State,
    timeline: &'a Timeline,
    theme: Theme,
    columns: usize,
}

impl<'a> Look<'a> {
    /// For a timeline of so many columns.
    pub fn new(state: &'a State, timeline: &'a Timeline, columns: u16) -> Self {
        Self {
            state,
            timeline,
            theme: Theme::new(&state.settings),
            columns: usize::from(columns).clamp(4, COLUMNS_MAX),
        }
    }

    /// How many rows a line of the window has.
    pub fn height(&self, at: usize) -> usize {
        self.rows(at).len()
    }

    /// The rows of a line of the window, at least one.
    pub fn rows(&self, at: usize) -> Vec<Line<'static>> {
        let Some(message) = self.timeline.lines.get(at) else { return vec![Line::default()] };
        let before = at.checked_sub(1).and_then(|at| self.timeline.lines.get(at));
        let mut rows = Vec::new();
        let day = date(message.at_ms, &self.state.zone);
        if before.is_none_or(|b| date(b.at_ms, &self.state.zone) != day) {
            rows.push(
                self.ruler(&day.map_or_else(|| "?".to_owned(), |d| self.day(d)), self.theme.dim()),
            );
        }
        if self.begins_new(at) {
            rows.push(self.ruler(&format!("{} new", self.new_from(at)), self.theme.mention()));
        }
        match message.kind {
            Kind::Profile | Kind::Leave => rows.push(self.remark(message)),
            _ => self.speech(message, &mut rows),
        }
        rows
    }

    /// Where the links of a line of the window are: row, first column, columns, address.
    pub fn links(&self, at: usize) -> Vec<(usize, usize, usize, String)> {
        let Some(message) = self.timeline.lines.get(at) else { return Vec::new() };
        if !message.text.contains("://") || message.deleted || !is_speech(message.kind) {
            return Vec::new();
        }
        let (head, body, _) = self.words(message);
        let gutter = self.gutter(message, &head).0;
        let rows = self.rows(at).len();
        let (columns, _) = self.text_columns(message, gutter);
        // Below the text there may be what folds it, and reactions.
        let below = usize::from(!message.reactions.is_empty());
        let (shown, folded) = self.shown_rows(message, wrap(&body, columns).len());
        let above = rows.saturating_sub(shown + below + usize::from(folded > 0));
        let pieces = links::in_text(&body, columns).into_iter().filter(|(row, ..)| *row < shown);
        pieces.map(|(row, x, columns, to)| (above + row, gutter + x, columns, to)).collect()
    }

    /// Columns of the text, and those kept free for the delivery state.
    fn text_columns(&self, message: &Message, gutter: usize) -> (usize, usize) {
        let state = message.state.filter(|_| message.own && !message.deleted);
        let kept = match (state, self.columns >= STATE_COLUMNS_MIN) {
            (Some(_), true) => STATE_COLUMNS + 1,
            (Some(_), false) => 3,
            _ => 0,
        };
        (self.columns.saturating_sub(gutter + kept).max(4), kept)
    }

    /// How many rows of a text are shown, and how many are folded away.
    fn shown_rows(&self, message: &Message, rows: usize) -> (usize, usize) {
        if rows <= FOLDED_ROWS_MIN || self.timeline.unfolded.contains(&message.id) {
            return (rows, 0);
        }
        (FOLDED_ROWS, rows - FOLDED_ROWS)
    }

    /// Whether a line of the window is longer than what is shown of it when it is folded.
    pub fn is_long(&self, at: usize) -> bool {
        let Some(message) = self.timeline.lines.get(at) else { return false };
        // Fewer bytes never make so many rows.
        if message.text.len() <= FOLDED_ROWS_MIN || message.deleted || !is_speech(message.kind) {
            return false;
        }
        let (head, body, _) = self.words(message);
        let (columns, _) = self.text_columns(message, self.gutter(message, &head).0);
        wrap(&body, columns).len() > FOLDED_ROWS_MIN
    }

    /// Whether the first new line is this one.
    fn begins_new(&self, at: usize) -> bool {
        let Some(from) = self.timeline.unread_from else { return false };
        let new = |m: &Message| m.journal >= from && !m.own;
        let lines = &self.timeline.lines;
        lines.get(at).is_some_and(new) && !lines.range(..at).any(new)
    }

    fn new_from(&self, at: usize) -> usize {
        self.timeline.lines.range(at..).filter(|m| !m.own && is_speech(m.kind)).count()
    }

    fn ruler(&self, text: &str, style: Style) -> Line<'static> {
        let text = format!(" {} ", cut(text, self.columns.saturating_sub(4)));
        let free = self.columns.saturating_sub(width(&text));
        let (left, right) = ("─".repeat(free / 2), "─".repeat(free - free / 2));
        Line::styled(format!("{left}{text}{right}"), style)
    }

    fn day(&self, day: Date) -> String {
        let today = date(self.state.now_ms, &self.state.zone);
        let format = if today.is_some_and(|t| t.year() == day.year()) {
            "%a %-d %b"
        } else {
            "%a %-d %b %Y"
        };
        day.strftime(format).to_string()
    }

    fn remark(&self, message: &Message) -> Line<'static> {
        let what = match message.kind {
            Kind::Leave => "left",
            _ => &came(message),
        };
        let who = match &message.former_name {
            Some(former) => crate::lines::marked(clean(former), message.name_mark.as_deref()),
            None => self.author(message),
        };
        let text = format!(" {}* {who} {what}", self.time_column(message));
        Line::styled(cut(&text, self.columns), self.theme.dim())
    }

    fn speech(&self, message: &Message, rows: &mut Vec<Line<'static>>) {
        let theme = self.theme;
        let chosen = self.timeline.selected == Some(message.id);
        let (head, body, style) = self.words(message);
        let (gutter, first) = self.gutter(message, &head);
        let called = calls(self.state, message);
        let mark = match (chosen, called) {
            (true, _) => Span::styled("▸", theme.bold()),
            (_, true) => Span::styled("!", theme.mention()),
            _ => Span::raw(" "),
        };
        let state = message.state.filter(|_| message.own && !message.deleted);
        let wide = self.columns >= STATE_COLUMNS_MIN;
        let (columns, kept) = self.text_columns(message, gutter);
        if let Some(quote) = self.quote(message) {
            let quote = cut(&quote, self.columns.saturating_sub(gutter));
            rows.push(Line::from(vec![
                Span::raw(" ".repeat(gutter)),
                Span::styled(quote, theme.dim()),
            ]));
        }
        let mut wrapped = wrap(&body, columns);
        let (shown, folded) = self.shown_rows(message, wrapped.len());
        wrapped.truncate(shown);
        let last = wrapped.len().saturating_sub(1);
        for (n, text) in wrapped.into_iter().enumerate() {
            let mut spans = vec![if n == 0 { mark.clone() } else { Span::raw(" ") }];
            match n {
                0 => spans.extend(first.iter().cloned()),
                _ => spans.push(Span::raw(" ".repeat(gutter - 1))),
            }
            let free = columns.saturating_sub(width(&text));
            spans
                .push(Span::styled(text, if chosen { style.patch(theme.chosen()) } else { style }));
            if let (true, Some(state)) = (n == last, state) {
                let shown = delivery(state, wide);
                let pad = free + kept.saturating_sub(width(&shown));
                spans.push(Span::raw(" ".repeat(pad)));
                spans.push(Span::styled(shown, theme.delivery(state)));
            }
            rows.push(Line::from(spans));
        }
        if folded > 0 {
            let text = format!("{}… +{folded} lines (Enter shows them)", " ".repeat(gutter));
            rows.push(Line::styled(cut(&text, self.columns), theme.dim()));
        }
        if !message.reactions.is_empty() && !message.deleted {
            rows.push(self.reactions(message, gutter));
        }
    }

    /// What stands before the name, the words, and how they look.
    fn words(&self, message: &Message) -> (String, String, Style) {
        let plain = Style::new();
        let author = self.author(message);
        if message.deleted {
            return (author, "(deleted)".to_owned(), self.theme.dim());
        }
        if message.missing {
            return (author, crate::lines::missing(message).to_owned(), self.theme.dim());
        }
        let edited = if message.edited { " (edited)" } else { "" };
        let text = message.text.trim_end_matches(['\r', '\n']);
        match message.kind {
            Kind::Notice => (author, format!("announces: {text}{edited}"), self.theme.bold()),
            Kind::Newer(_) => {
                (author, "(needs a newer version of klatch)".to_owned(), self.theme.dim())
            }
            _ => match text.strip_prefix("/me ") {
                Some(does) => ("*".to_owned(), format!("{author} {does}{edited}"), plain),
                None => (author, format!("{text}{edited}"), plain),
            },
        }
    }

    /// The columns before the words, and what stands there in the first row, behind the mark.
    fn gutter(&self, message: &Message, head: &str) -> (usize, Vec<Span<'static>>) {
        let name = self.theme.name(message.identity, message.device, message.own);
        if self.columns < GUTTER_COLUMNS_MIN {
            let head = cut(head, self.columns / 3);
            let gutter = 1 + width(&head) + 2;
            return (gutter, vec![Span::styled(head, name), Span::raw(": ")]);
        }
        let columns = (self.columns / 6).clamp(8, NAME_COLUMNS_MAX);
        let time = self.time_column(message);
        let gutter = 1 + width(&time) + columns + 1;
        let mark = message.name_mark.as_deref();
        let bare = mark.and_then(|m| head.strip_suffix(m)?.strip_suffix('~'));
        let head = fit_marked(bare.unwrap_or(head), mark.filter(|_| bare.is_some()), columns);
        let spans =
            vec![Span::styled(time, self.theme.dim()), Span::styled(head, name), Span::raw(" ")];
        (gutter, spans)
    }

    fn time_column(&self, message: &Message) -> String {
        if self.columns < GUTTER_COLUMNS_MIN {
            String::new()
        } else {
            format!("{} ", clock(message.at_ms, &self.state.zone))
        }
    }

    fn quote(&self, message: &Message) -> Option<String> {
        let id = message.reply_to?;
        let (author, words) = match self.timeline.find(id) {
            Some(found) if found.deleted => return Some("↪ to a deleted message".to_owned()),
            Some(found) => (self.author(found), snippet(&found.text)),
            None => match self.state.quotes.get(&id) {
                Some((author, words)) if !author.is_empty() && words.is_empty() => {
                    return Some("↪ to a deleted message".to_owned());
                }
                Some((author, words)) if !author.is_empty() => (author.clone(), words.clone()),
                _ => return Some(format!("↪ to {}", id.short())),
            },
        };
        Some(format!("↪ {author}: {}", clean(&words)))
    }

    fn reactions(&self, message: &Message, gutter: usize) -> Line<'static> {
        let own = self.state.me.device;
        let one = |r: &klatch_core::event::Reactions| {
            let you =
                if own.is_some_and(|own| r.devices.contains(&own)) { " (you too)" } else { "" };
            format!("{} {}{you}", clean(&r.emoji), r.devices.len())
        };
        let all: Vec<String> = message.reactions.iter().map(one).collect();
        let text = cut(&all.join("  "), self.columns.saturating_sub(gutter));
        Line::from(vec![Span::raw(" ".repeat(gutter)), Span::styled(text, self.theme.dim())])
    }

    /// A name that cannot be taken for that of somebody else.
    fn author(&self, message: &Message) -> String {
        author(message, &self.state.me.name)
    }
}

/// The name of an author, with what tells them from others who are called alike.
pub fn author(message: &Message, me: &str) -> String {
    let name = if message.name.is_empty() { "somebody".to_owned() } else { clean(&message.name) };
    let unclear = !message.own && (message.name == me || name == "you");
    match &message.name_mark {
        Some(mark) => format!("{name}~{mark}"),
        None if unclear => format!("{name}~{}", &message.device.short()[..4]),
        None => name,
    }
}

/// What a profile says of its author.
fn came(message: &Message) -> String {
    match &message.former_name {
        Some(former) if *former != message.text && !message.text.is_empty() => {
            format!("is now {}", clean(&message.text))
        }
        None if message.seq == 0 => "joined".to_owned(),
        _ => "is back".to_owned(),
    }
}

/// Whether a message of others calls the user by name, and not somebody with a longer one.
pub fn calls(state: &State, message: &Message) -> bool {
    let (text, me) = (&message.text, state.me.name.as_str());
    if message.own || message.deleted || !is_speech(message.kind) {
        return false;
    }
    // Asked for each row that is drawn: most texts do not hold the name at all.
    let plain = text.is_ascii() && me.is_ascii();
    if plain && !text.to_ascii_lowercase().contains(&me.to_ascii_lowercase()) {
        return false;
    }
    if !mention::calls(text, me, []) {
        return false;
    }
    let members = state.members.get(&message.room).into_iter().flatten().filter(|m| !m.own);
    mention::calls(text, me, members.map(|m| m.name.as_str()))
}

/// Something somebody said.
pub fn is_speech(kind: Kind) -> bool {
    matches!(kind, Kind::Text | Kind::Notice | Kind::Newer(_))
}

/// `18:05`.
pub fn clock(at_ms: u64, zone: &TimeZone) -> String {
    match Timestamp::from_millisecond(i64::try_from(at_ms).unwrap_or(i64::MAX)) {
        Ok(at) => at.to_zoned(zone.clone()).strftime("%H:%M").to_string(),
        Err(_) => "??:??".to_owned(),
    }
}

fn date(at_ms: u64, zone: &TimeZone) -> Option<Date> {
    Some(
        Timestamp::from_millisecond(i64::try_from(at_ms).ok()?).ok()?.to_zoned(zone.clone()).date(),
    )
}
