//! The only part of the screen that waits for anything: keys, the node's events and answers, and
//! time become inputs of the fold; its wishes are carried out.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::fold::{fold, start};
use super::kept::{Keeper, Kept};
use super::notify;
use super::state::{Input, Notice, State, Tag, Wish};
use super::terminal::{self, Screen};
use super::typed::{Typed, inputs};
use crate::act::act;
use crate::client::{Client, Events, Session};
use crate::error::Report;

/// Pictures are at least this far apart while events come in crowds; a key is always drawn at once.
const PICTURE: Duration = Duration::from_millis(16);
/// Pause between tries to reach the node again.
const RETRY: Duration = Duration::from_secs(1);
/// Commands in work.
const ACTS_MAX: usize = 8;
/// Hook commands in work; beyond it notices wait.
const HOOKS_MAX: usize = 4;
/// Notices that wait for a hook command; beyond it they become one that counts them.
const HOOKS_WAITING_MAX: usize = 64;
/// The last texts get so long to be answered when the user ends the program.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// A hook command is ended after this time.
const HOOK_TIME_MAX: Duration = Duration::from_secs(10);

/// So long it may take until a stop that was asked for comes. Longer only where none comes, as in a
/// job that no shell would ever continue; then the screen goes on.
const STOP: Duration = Duration::from_secs(2);

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Something was written that others should get.
    pub wrote: bool,
    /// The node is to be stopped.
    pub lock: bool,
    /// Texts that the node did not answer: nobody knows whether it has them.
    pub unanswered: Vec<String>,
}

/// The connections to the node.
struct Link {
    calls: Client,
    events: Events,
    waiting: BTreeMap<u64, Tag>,
}

/// What runs.
pub struct Run {
    state: State,
    screen: Screen,
    /// Somebody continued us after a stop.
    continued: Signal,
    socket: PathBuf,
    profile: String,
    link: Option<Link>,
    /// Up to where events were told when the link was lost.
    cursor: u64,
    retry: Instant,
    acts: JoinSet<()>,
    acted: (mpsc::Sender<Input>, mpsc::Receiver<Input>),
    hooks: JoinSet<()>,
    hooks_waiting: VecDeque<Notice>,
    keeper: Keeper,
    began: (Instant, u64),
    drawn: Instant,
    dirty: bool,
}

impl Run {
    /// Connects and takes over the terminal.
    pub async fn open(mut state: State, session: Session, keeper: Keeper) -> Result<Self, Report> {
        let link = Link::open(&session.socket, None).await?;
        let refused = |e: std::io::Error| {
            Report::usage(
                format!("the terminal cannot be taken over: {e}"),
                "klatch chat '#ROOM' --plain",
            )
        };
        let number = rustix::process::Signal::CONT.as_raw();
        let continued = signal(SignalKind::from_raw(number)).map_err(refused)?;
        let screen = Screen::enter(state.settings.mouse).map_err(refused)?;
        state.size = screen.size();
        let (now, at) = (Instant::now(), state.now_ms);
        Ok(Self {
            state,
            screen,
            continued,
            socket: session.socket,
            profile: session.profile,
            cursor: link.events.cursor,
            link: Some(link),
            retry: now,
            acts: JoinSet::new(),
            acted: mpsc::channel(ACTS_MAX),
            hooks: JoinSet::new(),
            hooks_waiting: VecDeque::new(),
            keeper,
            began: (now, at),
            drawn: now,
            dirty: true,
        })
    }

    /// Until the user ends it.
    pub async fn run(mut self) -> Result<End, Report> {
        let mut typed = Typed::begin().map_err(|_| Report::closed_output())?;
        let first = start(&mut self.state);
        for input in self.carry_out(first).await {
            self.take(input).await;
        }
        loop {
            for line in terminal::logged() {
                self.take(Input::Log(line)).await;
            }
            if let Some(lock) = self.state.quit {
                self.last_answers().await;
                self.keep();
                let unanswered = self.state.sending.values().map(|s| s.text.clone()).collect();
                return Ok(End { wrote: self.state.wrote, lock, unanswered });
            }
            self.draw_if_due()?;
            let (inputs, by_hand) = self.wait(&mut typed).await?;
            for input in inputs {
                self.take(input).await;
            }
            if by_hand {
                self.draw()?;
            }
        }
    }

    /// Enter and the end in one breath: what was just handed over is answered first.
    async fn last_answers(&mut self) {
        let deadline = Instant::now() + LAST_ANSWERS;
        while self.link.is_some() && !self.state.sending.is_empty() {
            let Ok(next) = timeout_at(deadline, next_of(&mut self.link)).await else { return };
            let input = next.unwrap_or_else(|report| self.lost(&report));
            self.take(input).await;
        }
    }

    /// The next thing that happens, and whether hands did it: then the picture follows at once.
    async fn wait(&mut self, typed: &mut Typed) -> Result<(Vec<Input>, bool), Report> {
        let wake = self.wake();
        let lost = self.link.is_none();
        let input = tokio::select! {
            batch = typed.next() => {
                // The terminal is gone.
                let batch = batch.map_err(|_| Report::closed_output())?;
                return Ok((inputs(batch), true));
            }
            next = next_of(&mut self.link) => match next {
                Ok(input) => input,
                Err(report) => self.lost(&report),
            },
            Some(acted) = self.acted.1.recv() => acted,
            Some(_) = self.acts.join_next() => Input::Tick,
            Some(_) = self.hooks.join_next() => {
                let next = self.hooks_waiting.pop_front();
                next.and_then(|notice| self.hook(notice)).unwrap_or(Input::Tick)
            }
            // By a shell that had the terminal meanwhile.
            Some(()) = self.continued.recv() => {
                told(self.screen.retake()).unwrap_or(Input::Tick)
            }
            () = sleep_until(self.retry), if lost => self.reconnect().await,
            () = sleep_until(wake) => Input::Tick,
        };
        Ok((vec![input], false))
    }

    /// When something is due: a picture, or what the state waits for.
    fn wake(&self) -> Instant {
        let due = Duration::from_millis(self.state.wake_ms().saturating_sub(self.began.1));
        let due = self.began.0 + due.min(Duration::from_secs(86_400 * 365));
        if self.dirty { due.min(self.drawn + PICTURE) } else { due }
    }

    fn now_ms(&self) -> u64 {
        // Monotonic, so that a clock that is set does not stop what is due; rounded up, so that due
        // is due.
        self.began.1 + u64::try_from(self.began.0.elapsed().as_millis()).unwrap_or(u64::MAX) + 1
    }

    async fn take(&mut self, input: Input) {
        self.dirty = true;
        let now = self.now_ms();
        // What cannot be carried out is an input as well. A wish that follows from a failure cannot
        // fail for ever: without a node nothing is asked that nobody waits for.
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let wishes = fold(&mut self.state, now, input);
            inputs.extend(self.carry_out(wishes).await);
        }
    }

    fn draw_if_due(&mut self) -> Result<(), Report> {
        if self.dirty && self.drawn.elapsed() >= PICTURE { self.draw() } else { Ok(()) }
    }

    fn draw(&mut self) -> Result<(), Report> {
        (self.drawn, self.dirty) = (Instant::now(), false);
        self.screen.draw(&self.state).map_err(|_| Report::closed_output())
    }

    fn lost(&mut self, report: &Report) -> Input {
        let mut unanswered = Vec::new();
        if let Some(link) = self.link.take() {
            self.cursor = self.cursor.max(link.events.cursor);
            unanswered.extend(link.waiting.into_values());
        }
        self.retry = Instant::now() + RETRY;
        Input::Lost(format!("{}; trying again", report.cause), unanswered)
    }

    async fn reconnect(&mut self) -> Input {
        self.retry = Instant::now() + RETRY;
        match Link::open(&self.socket, Some(self.cursor)).await {
            Ok(link) => {
                self.link = Some(link);
                Input::Found
            }
            Err(_) => Input::Tick,
        }
    }

    /// Does what is wished for; gives back what could not be done.
    async fn carry_out(&mut self, wishes: Vec<Wish>) -> Vec<Input> {
        let mut failed = Vec::new();
        for wish in wishes {
            failed.extend(match wish {
                Wish::Call { tag, method, params } => self.call(tag, method, params).await,
                Wish::Act { action, here, recent, typed } => self.act(action, here, recent, typed),
                Wish::Copy(text) => self.write(&notify::clipboard(&text)),
                Wish::Notify(notice) => self.notify(notice),
                Wish::Passphrase => Some(match crate::words::passphrase() {
                    Ok(new) => Input::Passphrase(new),
                    Err(report) => Input::Failed(report.cause),
                }),
                Wish::Keep => self.keep(),
                Wish::Redraw => told(self.screen.repaint()),
                Wish::Suspend => self.suspend().await,
            });
        }
        failed
    }

    /// Stops, and goes on when we are continued.
    async fn suspend(&mut self) -> Option<Input> {
        if self.screen.suspend().is_ok() {
            let _ = timeout(STOP, self.continued.recv()).await;
        }
        told(self.screen.retake())
    }

    fn write(&mut self, sequence: &str) -> Option<Input> {
        told(self.screen.write(sequence))
    }

    async fn call(
        &mut self,
        tag: Tag,
        method: &'static str,
        params: serde_json::Value,
    ) -> Option<Input> {
        let Some(link) = &mut self.link else {
            return Some(Input::Answer(tag, Err(Report::gone())));
        };
        match link.calls.begin(method, params).await {
            Ok(id) => {
                link.waiting.insert(id, tag);
                None
            }
            Err(report) => Some(Input::Answer(tag, Err(report))),
        }
    }

    /// Over a connection of its own: opening a room with a passphrase takes a moment, and nothing
    /// else should wait for it.
    fn act(
        &mut self,
        action: crate::slash::Action,
        here: Option<crate::act::Here>,
        recent: Vec<klatch_core::event::Message>,
        typed: String,
    ) -> Option<Input> {
        if self.acts.len() >= ACTS_MAX {
            let what = "too many commands are still being carried out: wait a moment";
            return Some(Input::Failed(what.to_owned()));
        }
        let (socket, profile, done) =
            (self.socket.clone(), self.profile.clone(), self.acted.0.clone());
        self.acts.spawn(async move {
            let outcome = match Client::connect(&socket).await {
                Ok(client) => {
                    let mut session = Session { client, socket, profile };
                    act(&mut session, here.as_ref(), &recent, action).await
                }
                Err(_) => Err(Report::gone()),
            };
            // Nobody waits for it once the screen has ended.
            let _ = done
                .send(match outcome {
                    Ok(outcome) => Input::Acted(Ok(Box::new(outcome))),
                    Err(report) => Input::Refused(here.map(|h| h.room), typed, report),
                })
                .await;
        });
        None
    }

    fn notify(&mut self, notice: Notice) -> Option<Input> {
        let terminal = std::env::var("TERM").unwrap_or_default();
        let vte = std::env::var_os("VTE_VERSION").is_some();
        let sequence = notify::sequence(&notice, self.state.settings.notify, &terminal, vte);
        let _ = self.screen.write(&sequence);
        self.hook(notice)
    }

    /// Runs the user's program for a notice, or lets it wait for those that run.
    fn hook(&mut self, notice: Notice) -> Option<Input> {
        let command = self.state.settings.notify_command.as_ref()?;
        let mut words = command.split_whitespace();
        let program = words.next()?;
        if self.hooks.len() >= HOOKS_MAX {
            if self.hooks_waiting.len() < HOOKS_WAITING_MAX {
                self.hooks_waiting.push_back(notice);
            } else if let Some(last) = self.hooks_waiting.back_mut() {
                notify::merge(last, &notice);
            }
            return None;
        }
        // Texts of others go into the environment, where no shell looks for commands.
        let mut hook = Command::new(program);
        hook.args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let fine = |text: &str| text.replace('\0', "");
        hook.env("KLATCH_ROOM", fine(&notice.room)).env("KLATCH_FROM", fine(&notice.from));
        hook.env("KLATCH_TEXT", fine(&notice.text)).env("KLATCH_KIND", notice.kind);
        hook.env("KLATCH_COUNT", notice.count.to_string());
        let Ok(mut child) = hook.spawn() else {
            return Some(Input::Failed(format!("the notify command cannot be started: {program}")));
        };
        self.hooks.spawn(async move {
            let _ = timeout(HOOK_TIME_MAX, child.wait()).await;
        });
        None
    }

    fn keep(&self) -> Option<Input> {
        let drafts = super::sending::drafts(&self.state);
        let kept = Kept { drafts, levels: self.state.levels.clone() };
        let error = self.keeper.write(&kept).err()?;
        Some(Input::Unkept(format!("drafts cannot be kept: {error}")))
    }
}

impl Drop for Run {
    /// A signal ends the task in the middle: what was being written is kept all the same.
    fn drop(&mut self) {
        self.keep();
    }
}

/// A terminal that is gone shows itself when it is drawn on or read.
fn told(_: std::io::Result<()>) -> Option<Input> {
    None
}

impl Link {
    async fn open(socket: &std::path::Path, after: Option<u64>) -> Result<Self, Report> {
        let calls = Client::connect(socket).await.map_err(|_| Report::gone())?;
        let after = after.map_or_else(|| json!("now"), |n| json!(n));
        let events =
            Events::subscribe(socket, json!({"topics": [], "after": after, "summary": true}))
                .await?;
        Ok(Self { calls, events, waiting: BTreeMap::new() })
    }
}

/// What the node says next, over either connection. May be dropped and called again.
async fn next_of(link: &mut Option<Link>) -> Result<Input, Report> {
    let Some(link) = link else { return std::future::pending().await };
    loop {
        tokio::select! {
            answer = link.calls.answer() => {
                let (id, outcome) = answer?;
                let Some(id) = id else { return Err(outcome.err().unwrap_or_else(Report::gone)) };
                if let Some(tag) = link.waiting.remove(&id) {
                    return Ok(Input::Answer(tag, outcome));
                }
            }
            told = link.events.next() => {
                let told = told?;
                if let Some(cursor) = told.cursor {
                    link.events.cursor = link.events.cursor.max(cursor);
                }
                return Ok(Input::Told(Box::new(told)));
            }
        }
    }
}
