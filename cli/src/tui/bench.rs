//! How long a key takes until it is drawn, and how much memory scrolling takes: `klatch tui-bench
//! --json`. First through a terminal, as a person would press it (`pty.rs`); then state and picture
//! alone, made into escape sequences which nobody reads: the program's own share of it.

mod pty;

use std::time::Instant;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::tz::TimeZone;
use klatch_core::content::Kind;
use klatch_core::event::{Delivery, Message};
use klatch_core::ids::{DeviceId, EntryId, RoomId};
use klatch_core::query::Access;
use ratatui::backend::CrosstermBackend;
use ratatui::{Terminal, TerminalOptions, Viewport};
use serde_json::{Value, json};

use super::answers::arrive;
use super::draw;
use super::fold::fold;
use super::settings::Settings;
use super::state::{ChatKind, Input, State, Tag, Wish};
use super::timeline::PAGE;
use crate::args::TuiBench;
use crate::context::Context;
use crate::error::Report;

const ROOM: RoomId = RoomId([7; 16]);
const COLUMNS: u16 = 160;
const ROWS: u16 = 50;

/// A terminal whose bytes nobody reads.
type Picture = Terminal<CrosstermBackend<std::io::Sink>>;

/// Measures and prints.
pub async fn run(ctx: &Context, args: &TuiBench) -> Result<(), Report> {
    let pressed = pty::measure(args).await?;
    let failed = |e: std::io::Error| Report::bug(&e);
    let options = TerminalOptions {
        viewport: Viewport::Fixed(ratatui::layout::Rect::new(0, 0, COLUMNS, ROWS)),
    };
    let mut picture =
        Terminal::with_options(CrosstermBackend::new(std::io::sink()), options).map_err(failed)?;
    let mut state =
        State::new(Settings::default(), (COLUMNS, ROWS), 1_795_226_400_000, TimeZone::UTC);
    let mut wishes = Vec::new();
    arrive(&mut state, &mut wishes, ROOM, "#garden", ChatKind::Room(Access::Open));
    serve(&mut state, args.messages, wishes);
    let typing = typed(&mut state, &mut picture, args).map_err(failed)?;
    let before = resident_kb();
    let (scrolling, lines_max) = scrolled(&mut state, &mut picture, args).map_err(failed)?;
    let figures = json!({
        "messages": args.messages, "columns": COLUMNS, "rows": ROWS,
        "key_to_screen_us": pressed,
        "key_to_picture_us": typing, "scroll_to_picture_us": scrolling,
        "lines_in_memory_max": lines_max, "resident_kb_before": before, "resident_kb_after": resident_kb(),
    });
    ctx.out.either(&figures, || words(&figures))
}

/// The figures for people, milliseconds.
fn words(figures: &Value) -> String {
    let ms = |of: &Value, share: &str| of[share].as_f64().unwrap_or(f64::NAN) / 1_000.0;
    let line = |what: &str, of: &Value| {
        let [p50, p90, p99, max] = ["p50", "p90", "p99", "max"].map(|share| ms(of, share));
        format!("{what:<46} {p50:8.2} {p90:8.2} {p99:8.2} {max:8.2}")
    };
    let pressed = &figures["key_to_screen_us"];
    let messages = &figures["messages"];
    [
        format!("{:<46} {:>8} {:>8} {:>8} {:>8}", "ms", "median", "p90", "p99", "max"),
        line("key to screen, through a terminal, idle room", &pressed["idle"]),
        line(&format!("the same with {messages} messages in it"), &pressed["full"]),
        line("state and picture alone: a key", &figures["key_to_picture_us"]),
        line("state and picture alone: a page of scrolling", &figures["scroll_to_picture_us"]),
        format!(
            "at most {} lines in memory, {} kB before and {} kB after scrolling to the beginning",
            figures["lines_in_memory_max"],
            figures["resident_kb_before"],
            figures["resident_kb_after"],
        ),
    ]
    .join("\n")
}

fn typed(state: &mut State, picture: &mut Picture, args: &TuiBench) -> std::io::Result<Value> {
    let mut taken = Vec::with_capacity(args.keys);
    for n in 0..args.keys {
        let key = match n % 60 {
            59 => KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL),
            k => KeyEvent::from(KeyCode::Char(if k % 7 == 6 { ' ' } else { 'a' })),
        };
        taken.push(one(state, picture, args.messages, key)?);
    }
    fold(state, state.now_ms, Input::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    Ok(figures(taken))
}

/// By pages up to the first line of the room.
fn scrolled(
    state: &mut State,
    picture: &mut Picture,
    args: &TuiBench,
) -> std::io::Result<(Value, usize)> {
    let (mut taken, mut lines_max) = (Vec::new(), 0);
    loop {
        taken.push(one(state, picture, args.messages, KeyEvent::from(KeyCode::PageUp))?);
        let Some(timeline) = state.timeline() else { break };
        lines_max = lines_max.max(timeline.lines.len());
        let first = timeline.lines.front().map_or(0, |m| m.journal);
        if (timeline.at_start && first == 1) && timeline.bottom_index() < usize::from(ROWS) {
            break;
        }
    }
    Ok((figures(taken), lines_max))
}

/// One key: fold, answers, picture. Microseconds.
fn one(
    state: &mut State,
    picture: &mut Picture,
    messages: u64,
    key: KeyEvent,
) -> std::io::Result<u64> {
    let begun = Instant::now();
    let wishes = fold(state, state.now_ms + 1, Input::Key(key));
    picture.draw(|frame| drop(draw::draw(state, frame)))?;
    let taken = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    // The node answers meanwhile.
    serve(state, messages, wishes);
    Ok(taken)
}

fn figures(mut taken: Vec<u64>) -> Value {
    taken.sort_unstable();
    let at = |share: usize| {
        taken.get((taken.len() * share / 1_000).min(taken.len().saturating_sub(1))).copied()
    };
    json!({"p50": at(500), "p90": at(900), "p99": at(990), "max": taken.last(), "n": taken.len()})
}

/// Plays a node with so many messages.
fn serve(state: &mut State, messages: u64, wishes: Vec<Wish>) {
    for wish in wishes {
        let Wish::Call { tag, params, .. } = wish else { continue };
        let place = |key: &str| params[key].as_str().and_then(EntryId::parse).map(journal);
        let page = match &tag {
            Tag::Newest(_) => page(messages.saturating_sub(PAGE as u64) + 1, messages),
            Tag::Older(..) => place("before")
                .map_or_else(Vec::new, |b| page(b.saturating_sub(PAGE as u64).max(1), b - 1)),
            Tag::Newer(..) => place("after")
                .map_or_else(Vec::new, |a| page(a + 1, (a + PAGE as u64).min(messages))),
            _ => continue,
        };
        let answer = serde_json::to_value(page).map_err(|e| Report::bug(&e));
        let more = fold(state, state.now_ms, Input::Answer(tag, answer));
        serve(state, messages, more);
    }
}

fn page(first: u64, last: u64) -> Vec<Message> {
    (first..=last).map(message).collect()
}

fn journal(id: EntryId) -> u64 {
    id.0[..8].iter().fold(0, |n, b| (n << 8) | u64::from(*b))
}

/// Texts of all lengths: most are short, some are paragraphs, a few are pages.
fn text(n: u64) -> String {
    let words = match n {
        _ if n.is_multiple_of(97) => 400,
        _ if n.is_multiple_of(13) => 60,
        _ => 3 + usize::try_from(n % 9).unwrap_or_default(),
    };
    format!("{n} {}", "seeds are here 種 🌱 ".repeat(words / 4 + 1))
}

fn message(n: u64) -> Message {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    let own = n.is_multiple_of(4);
    let at_ms = 1_795_000_000_000 + n * 2_000;
    Message {
        id: EntryId(id),
        room: ROOM,
        direct: false,
        journal: n,
        device: DeviceId([u8::try_from(n % 5).unwrap_or_default(); 32]),
        identity: None,
        name: ["alice", "bob", "carol", "日本太郎", "zoë"]
            [usize::try_from(n % 5).unwrap_or_default()]
        .to_owned(),
        name_mark: None,
        former_name: None,
        seq: n,
        kind: Kind::Text,
        text: text(n),
        reply_to: None,
        target: None,
        at_ms,
        arrived_ms: at_ms,
        own,
        state: own.then_some(Delivery::Delivered { n: 3, m: 4 }),
        edited: false,
        deleted: false,
        missing: false,
        lack: None,
        reactions: Vec::new(),
    }
}

/// Memory of this process, where the system says so.
fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}
