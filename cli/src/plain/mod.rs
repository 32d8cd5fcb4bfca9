//! Plain mode: a chat of lines that are only ever added, for pipes, screen readers, slow terminals
//! and tests.
//!
//! One loop takes typed lines, answers and events of the node, and a short timer that gathers
//! delivery states. At the end of input everything typed is on disk, or the exit code says that it
//! is not.

mod actions;
mod events;
mod input;
mod moving;
mod secret;
mod sending;

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::time::Duration;

use klatch_core::event::{Delivery, Event, Message};
use klatch_core::ids::{DeviceId, EntryId, RoomId};
use klatch_core::query::{Contact, Member};
use klatch_node::api::{kind, topic};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::sending::{Said, Sending, Stored};
use crate::act::Here;
use crate::client::{Client, Events, Session, Told};
use crate::error::{Report, exit};
use crate::lines::{Lines, state};
use crate::output::{Output, snippet};
use crate::slash::{self, Action, Input};

/// Delivery states that change within this time become one line.
const GATHER: Duration = Duration::from_millis(400);
/// The own last line is waited for before a command and at the end of input; it is on disk long
/// before.
const LAST_LINE_MAX: Duration = Duration::from_secs(3);

/// What is followed.
const TOPICS: [&str; 3] = ["room/", "dm/", "contact/"];

/// What the next line may answer.
#[derive(Debug)]
enum Pending {
    /// An empty line sends this word after all.
    Bare(&'static str),
    /// A yes carries this out.
    Confirm(Action),
    /// It is the passphrase of this room.
    Passphrase(String, secret::Hidden),
}

/// A chat in plain mode.
pub struct Plain<'a> {
    out: &'a Output,
    session: Session,
    events: Events,
    sending: Sending,
    lines: Lines,
    here: Option<Here>,
    /// Rooms whose lines are shown.
    shown: BTreeMap<RoomId, Here>,
    /// The newest own message and the state of it that was printed last.
    newest: Option<(RoomId, EntryId, String, Option<Delivery>)>,
    /// When to look at its state.
    look: Option<Instant>,
    /// Journal number of the last own message sent from here.
    sent: u64,
    /// People one talks with, as last read.
    people: Vec<Contact>,
    /// Members connected now, per shown room.
    online: BTreeMap<RoomId, BTreeSet<DeviceId>>,
    /// A question that the next line may answer.
    pending: Option<Pending>,
    /// Every question is answered with yes.
    yes: bool,
    /// Somebody types, and can correct what was refused. A script reads the exit code instead.
    typist: bool,
    /// Lines that were neither sent nor carried out.
    refused: u64,
    /// The place was to be changed and was not.
    unmoved: Option<moving::Unmoved>,
    /// The user asked to stop the node as well.
    pub lock: bool,
    /// Anything was written: worth handing over before an embedded node ends.
    pub wrote: bool,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Quit,
}

impl<'a> Plain<'a> {
    /// Opens the chat in a room that is joined: shows its last lines, then follows.
    pub async fn open(
        out: &'a Output,
        mut session: Session,
        here: Here,
        history: u32,
        yes: bool,
    ) -> Result<Self, Report> {
        // Events first, then history up to the same point: nothing is missed or shown twice.
        let events = session.events(&TOPICS.map(str::to_owned), json!("now")).await?;
        let mut lines = Lines::default();
        let old: Vec<Message> = match history {
            0 => Vec::new(),
            n => session.ask("message.list", json!({"room": here.room, "limit": n})).await?,
        };
        let upto = events.cursor;
        for message in old.into_iter().filter(|m| m.journal <= upto) {
            show(out, &mut lines, &here.name, false, message)?;
        }
        let sending =
            Sending::new(Client::connect(&session.socket).await.map_err(|_| Report::gone())?);
        let shown = BTreeMap::from([(here.room, here.clone())]);
        let mut chat = Self {
            out,
            session,
            events,
            sending,
            lines,
            here: Some(here.clone()),
            shown,
            newest: None,
            look: None,
            sent: 0,
            people: Vec::new(),
            online: BTreeMap::new(),
            pending: None,
            yes,
            typist: std::io::stdin().is_terminal(),
            refused: 0,
            unmoved: None,
            lock: false,
            wrote: false,
        };
        chat.mark_read(here.room, upto).await;
        chat.read_people().await?;
        if !here.direct {
            let members: Vec<Member> =
                chat.session.ask("room.members", json!({"room": here.room})).await?;
            let online = members.into_iter().filter(|m| m.online && !m.own).map(|m| m.device);
            chat.online.insert(here.room, online.collect());
        }
        Ok(chat)
    }

    /// Runs until `/quit` or the end of input.
    pub async fn run(&mut self) -> Result<(), Report> {
        let mut typed = input::lines();
        loop {
            let look = self.look;
            tokio::select! {
                done = self.sending.next(), if !self.sending.is_idle() => self.answered(done?)?,
                line = typed.recv(), if self.sending.has_room() => match line {
                    Some(Ok(line)) => if self.typed(&line).await? == Next::Quit { break },
                    Some(Err(line)) => if self.unreadable(&line) == Next::Quit { break },
                    None => break,
                },
                told = self.events.next() => self.told(told?).await?,
                () = until(look) => self.look_at_state().await?,
            }
        }
        self.finish().await
    }

    /// Prints what was said until the own last line.
    async fn catch_up(&mut self) -> Result<(), Report> {
        while !self.sending.is_idle() {
            let done = self.sending.next().await?;
            self.answered(done)?;
        }
        let deadline = Instant::now() + LAST_LINE_MAX;
        while self.events.cursor < self.sent {
            match timeout(deadline.saturating_duration_since(Instant::now()), self.events.next())
                .await
            {
                Ok(told) => self.told(told?).await?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Prints what was said until the own last line, and where that one is.
    async fn finish(&mut self) -> Result<(), Report> {
        self.catch_up().await?;
        if self.look.is_some() {
            sleep(GATHER).await;
        }
        self.look_at_state().await?;
        if self.typist || self.refused == 0 {
            return Ok(());
        }
        let cause = match self.refused {
            _ if self.unmoved.is_some() => {
                "the room was not changed, so nothing after that line was sent".to_owned()
            }
            1 => "a line of the input was not sent or carried out".to_owned(),
            n => format!("{n} lines of the input were not sent or carried out"),
        };
        Err(Report::new("KLATCH-NOT-SENT", cause, "the errors above say why", exit::PARTLY))
    }

    async fn typed(&mut self, line: &str) -> Result<Next, Report> {
        if self.is_typed_ahead() {
            return Ok(Next::GoOn);
        }
        if let Some(Pending::Passphrase(room, hidden)) =
            self.pending.take_if(|p| matches!(p, Pending::Passphrase(..)))
        {
            drop(hidden);
            return self.join_private(&room, line).await;
        }
        match (self.pending.take(), line.trim().to_lowercase().as_str()) {
            (Some(Pending::Bare(word)), "") => return self.say(word, None).await,
            (Some(Pending::Confirm(action)), "y" | "yes") => return self.carry_out(action).await,
            (Some(Pending::Confirm(_)), answer) => {
                self.out.note("* not done");
                if matches!(answer, "" | "n" | "no") {
                    return Ok(Next::GoOn);
                }
            }
            _ => {}
        }
        match slash::parse(line) {
            Ok(Input::Empty) => Ok(Next::GoOn),
            Ok(Input::Bare(_)) if !self.typist => self.say(line.trim(), None).await,
            Ok(Input::Bare(word)) => {
                self.pending = Some(Pending::Bare(word));
                let command = if word == "help" { "/help" } else { "/quit" };
                self.out.note(&format!(
                    "* `{word}` was not sent: did you mean {command}? An empty line sends it"
                ));
                Ok(Next::GoOn)
            }
            Ok(Input::Text(text)) => self.say(&text, None).await,
            Ok(Input::Do(Action::JoinPrivate(room))) if self.typist => {
                let asked = self.ask_passphrase(room);
                self.forgive_move(asked)
            }
            Ok(Input::Do(action)) => self.carry_out(action).await,
            Err(why) => {
                self.refuse(&why.cause, &why.hint);
                Ok(if slash::may_move(line) { self.not_moved() } else { Next::GoOn })
            }
        }
    }

    /// Says that a line was not sent: an error, unless somebody sits at the keyboard.
    fn refuse(&mut self, why: &str, hint: &str) {
        self.refused += 1;
        if self.typist {
            return self.out.note(&format!("* {why}; {hint}"));
        }
        self.out.error(&Report::new(
            "KLATCH-NOT-SENT",
            format!("not sent: {why}"),
            hint,
            exit::USAGE,
        ));
    }

    fn unreadable(&mut self, line: &input::Unreadable) -> Next {
        self.refuse(line.why, line.hint);
        if line.command { self.not_moved() } else { Next::GoOn }
    }

    async fn carry_out(&mut self, action: Action) -> Result<Next, Report> {
        // `^` and `/history` mean what has been typed so far.
        self.catch_up().await?;
        let moves = action.moves();
        let done = self.act(action).await;
        if moves { self.forgive_move(done) } else { self.forgive(done) }
    }

    /// An error of one line is shown and does not end the chat, unless the node is gone.
    fn forgive(&mut self, done: Result<Next, Report>) -> Result<Next, Report> {
        match done {
            Err(report) if report.exit != exit::NO_NODE && !report.is_silent() => {
                self.refused += 1;
                self.out.error(&report);
                Ok(Next::GoOn)
            }
            other => other,
        }
    }

    /// Hands a text to the node.
    async fn say(&mut self, text: &str, reply_to: Option<EntryId>) -> Result<Next, Report> {
        let Some(here) = &self.here else {
            self.refuse("you are in no room", "/join #ROOM, or /dm @WHO");
            return Ok(Next::GoOn);
        };
        let said = Said { room: here.room, text: text.to_owned(), reply_to };
        self.sending.start(said).await?;
        Ok(Next::GoOn)
    }

    /// Remembers a stored message as the newest, or says why it was not sent.
    fn answered(&mut self, (said, outcome): (Said, Result<Stored, Report>)) -> Result<(), Report> {
        match outcome {
            Ok(Stored { message, journal }) => {
                self.wrote = true;
                if journal > self.sent {
                    self.sent = journal;
                    self.newest = Some((said.room, message, snippet(&said.text), None));
                }
                self.look_soon();
                Ok(())
            }
            Err(report) => {
                let what = format!("not sent: \"{}\"", snippet(&said.text));
                self.forgive(Err(report.doing(what))).map(|_| ())
            }
        }
    }

    /// The name of a place that is shown.
    fn place_name(&self, room: RoomId) -> String {
        self.shown.get(&room).map_or_else(String::new, |h| h.name.clone())
    }

    fn look_soon(&mut self) {
        self.look.get_or_insert_with(|| Instant::now() + GATHER);
    }

    /// Prints where the newest own message is, if that changed.
    async fn look_at_state(&mut self) -> Result<(), Report> {
        self.look = None;
        let Some((room, id, text, printed)) = self.newest.take() else { return Ok(()) };
        let found: Result<Message, Report> =
            self.session.ask("message.get", json!({"room": room, "message_id": id})).await;
        let now = found.ok().and_then(|m| m.state);
        if now != printed
            && !self.out.json
            && let Some(now) = now
        {
            self.out.line(&format!("* {}: \"{text}\"", state(now)))?;
        }
        self.newest = Some((room, id, text, now.or(printed)));
        Ok(())
    }

    async fn mark_read(&mut self, room: RoomId, upto: u64) {
        // Only a number for the list of rooms: if it fails, it is set by the next message.
        let _ = self.session.call("room.mark_read", json!({"room": room, "upto": upto})).await;
    }
}

/// Prints one message, as text or as the event it was.
fn show(
    out: &Output,
    lines: &mut Lines,
    room: &str,
    with_id: bool,
    message: Message,
) -> Result<(), Report> {
    let line = lines.line(&message, room);
    if !out.json {
        return if with_id { line.with_id(message.id).print(out) } else { line.print(out) };
    }
    let (cursor, at_ms) = (Some(message.journal), message.arrived_ms);
    let event = Event::MessageAdded { message: Box::new(message) };
    out.json(&Told { cursor, at_ms, topic: topic(&event), kind: kind(&event).to_owned(), event })
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
