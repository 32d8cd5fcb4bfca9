//! `klatch bot exec`: runs a program for each message; what it prints is the answer. docs/BOTS.md
//! tells how to use it.
//!
//! A message is done once its answer is stored, or there is none to give; only then does the bot's
//! place in the journal move (place.rs). So a bot that is killed runs its program again for what
//! was in work, and a key made from the message's id keeps the answer from being stored twice.
//! script.rs runs the program, answer.rs does one message.

mod answer;
mod place;
mod script;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use klatch_core::content::Kind;
use klatch_core::event::{Event, Message};
use klatch_core::ids::{IdentityId, RoomId};
use klatch_core::query::{RoomSummary, Status};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use self::answer::{Hand, Outcome};
use self::place::{Ledger, Place};
use self::script::{Script, raised};
use super::rooms;
use crate::args::Network;
use crate::args::bot::{Bot, BotExec};
use crate::client::{Session, Told};
use crate::context::{Context, Need};
use crate::error::Report;
use crate::lines::marked;
use crate::output::{Output, visible};
use crate::signals::interrupted;

/// How long a program may take for one message, unless told.
const LIMIT: Duration = Duration::from_secs(10);
/// How often a place that moved past foreign messages only is written down.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// Between looks for a node that went away.
const PAUSE: Duration = Duration::from_secs(1);

/// Does what was asked for.
pub async fn run(ctx: &Context, args: Bot) -> Result<(), Report> {
    match args {
        Bot::Exec(args) => exec(ctx, &args).await,
    }
}

async fn exec(ctx: &Context, args: &BotExec) -> Result<(), Report> {
    if args.room.is_empty() && !args.all && !args.dm {
        return Err(Report::usage("the bot listens nowhere", "--room '#garden', --all or --dm"));
    }
    let script = Script::new(&args.command, ctx.timeout(LIMIT), ctx.out)?;
    let name = place::name(args.bot_name.as_deref(), &script.name())?;
    let mut session = ctx.session(Need::Network(Network::usual())).await?;
    let place = Place::open(&ctx.paths.data.join("bots"), &name)?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        interrupted().await;
        stop.send_replace(true);
    });
    let hand = Arc::new(Hand::new(script, name, args, &ctx.args.profile, ctx.out, stopped.clone()));
    let mut listener = Listener { ctx, args, place, hand, stopped };
    let mut after = args.after.map(After::value);
    loop {
        let done = listener.listen(session, after.take()).await;
        // What is done stays done, however this ends.
        listener.place.save()?;
        match done {
            // A node of its own ends with this process; another one may be started again.
            Err(report) if answer::is_gone(&report) && ctx.embedded.lock().await.is_none() => {
                ctx.out.note("the node is gone: the bot goes on as soon as one runs (klatch up)");
                match listener.again().await {
                    Some(new) => session = new,
                    None => return Ok(()),
                }
            }
            done => return done,
        }
    }
}

/// `--after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Everything that is stored.
    Start,
    /// What comes from now on.
    Now,
    /// What comes after a journal number.
    Journal(u64),
}

impl After {
    fn value(self) -> Value {
        match self {
            Self::Start => json!("start"),
            Self::Now => json!("now"),
            Self::Journal(journal) => json!(journal),
        }
    }
}

impl std::str::FromStr for After {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "start" => Ok(Self::Start),
            "now" => Ok(Self::Now),
            number => number
                .parse()
                .map(Self::Journal)
                .map_err(|_| "a journal number, `start` or `now`".to_owned()),
        }
    }
}

/// Hears messages, hands them over, and keeps the place.
struct Listener<'a> {
    ctx: &'a Context,
    args: &'a BotExec,
    place: Place,
    hand: Arc<Hand>,
    stopped: watch::Receiver<bool>,
}

impl Listener<'_> {
    /// Until the bot is ended, or there is nothing left to listen to.
    async fn listen(&mut self, mut session: Session, after: Option<Value>) -> Result<(), Report> {
        let status = session.status().await?;
        let mut ears = Ears::new(self.args, &status, &mut session, self.ctx.out).await?;
        // A place that is not in the journal (any more, or after a backup was restored) is
        // announced as a gap.
        let after = after
            .unwrap_or_else(|| self.place.journal.map_or_else(|| json!("now"), |was| json!(was)));
        let mut events = session.events(&ears.topics(), after).await?;
        self.place.journal = Some(events.cursor);
        self.place.save()?;
        self.hand.attach(session).await;
        self.ctx.out.note(&format!("{} listens; Ctrl+C ends it", ears.words()));

        let (mut jobs, mut ledger) = (JoinSet::new(), Ledger::default());
        let mut save = interval(SAVE_EVERY);
        let ended = self.ctx.asked_to_stop();
        tokio::pin!(ended);
        loop {
            let stopping = *self.stopped.borrow();
            if (stopping || ears.deaf()) && jobs.is_empty() {
                return Ok(());
            }
            tokio::select! {
                told = events.next(), if !stopping && !ears.deaf() && jobs.len() < usize::from(self.args.jobs) => {
                    match ears.hear(told?) {
                        Heard::Message(room, message) => {
                            ledger.begin(message.journal);
                            let hand = self.hand.clone();
                            jobs.spawn(async move { (message.journal, hand.handle(&room, &message).await) });
                        }
                        Heard::Other(Some(journal)) => ledger.pass(journal),
                        Heard::Other(None) => {}
                    }
                }
                Some(done) = jobs.join_next(), if !jobs.is_empty() => {
                    match done.map_err(|e| Report::bug(&e))? {
                        (journal, Ok(Outcome::Done)) => ledger.done(journal),
                        (_, Ok(Outcome::Postponed)) => {}
                        (_, Err(report)) => return Err(report),
                    }
                    self.moved(&mut ledger);
                    self.place.save()?;
                }
                () = &mut ended => return Err(Report::stopped()),
                _ = self.stopped.changed(), if !stopping => {}
                _ = save.tick() => self.place.save()?,
            }
            self.moved(&mut ledger);
        }
    }

    fn moved(&mut self, ledger: &mut Ledger) {
        if let Some(upto) = ledger.upto() {
            self.place.journal = Some(upto);
        }
    }

    /// A connection to a node that was started again; `None` if the bot is ended meanwhile.
    async fn again(&mut self) -> Option<Session> {
        loop {
            if let Ok(session) = self.ctx.attach().await {
                return Some(session);
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = raised(&mut self.stopped) => return None,
            }
        }
    }
}

/// Which messages the bot cares for.
struct Ears {
    rooms: BTreeMap<RoomId, String>,
    all: bool,
    direct: bool,
    prefix: Option<String>,
    me: IdentityId,
    out: Output,
}

enum Heard {
    /// To be answered, said in a room of that name.
    Message(String, Box<Message>),
    /// Nothing to do up to this journal number.
    Other(Option<u64>),
}

impl Ears {
    async fn new(
        args: &BotExec,
        status: &Status,
        session: &mut Session,
        out: Output,
    ) -> Result<Self, Report> {
        let mut rooms: Vec<RoomSummary> = Vec::new();
        if args.all {
            rooms.clone_from(&status.rooms);
        }
        for room in &args.room {
            let room = rooms::find(session, room).await?;
            if room.left {
                let name = rooms::shown(&room);
                return Err(Report::usage(
                    format!("{name} was left"),
                    format!("klatch join '{name}'"),
                ));
            }
            rooms.push(room);
        }
        let rooms = rooms.into_iter().map(|r| (r.room, r.name)).collect();
        Ok(Self {
            rooms,
            all: args.all,
            direct: args.dm,
            prefix: args.prefix.clone(),
            me: status.identity,
            out,
        })
    }

    fn topics(&self) -> Vec<String> {
        let mut topics = Vec::new();
        if self.all {
            topics.push("room/".to_owned());
        } else {
            let leaves =
                |room: &RoomId| [format!("room/{room}/message"), format!("room/{room}/meta")];
            topics.extend(self.rooms.keys().flat_map(leaves));
        }
        if self.direct {
            topics.push("dm/".to_owned());
        }
        topics
    }

    /// Nothing can be heard any more.
    fn deaf(&self) -> bool {
        self.rooms.is_empty() && !self.all && !self.direct
    }

    fn words(&self) -> String {
        let mut places: Vec<String> = self.rooms.values().map(|n| visible(n)).collect();
        if self.all {
            places = vec!["every room".to_owned()];
        }
        if self.direct {
            places.push("direct messages".to_owned());
        }
        format!("the bot for {}", places.join(", "))
    }

    fn hear(&mut self, told: Told) -> Heard {
        match told.event {
            Event::MessageAdded { message } if self.wants(&message) => {
                let room = match self.rooms.get(&message.room) {
                    Some(name) => name.clone(),
                    None if message.direct => {
                        let name = message.name.clone();
                        format!("@{}", marked(name, message.name_mark.as_deref()))
                    }
                    None => message.room.to_string(),
                };
                return Heard::Message(room, message);
            }
            Event::RoomJoined { room, name } if self.all => drop(self.rooms.insert(room, name)),
            Event::RoomLeft { room } | Event::Forgotten { room, .. } => {
                if let Some(name) = self.rooms.remove(&room) {
                    self.out.note(&format!("{} was left", visible(&name)));
                }
            }
            Event::Gap { from, to, .. } => {
                self.out.note(&format!(
                    "what happened from {from} to {to} in the journal is not there any more"
                ));
            }
            _ => {}
        }
        Heard::Other(told.cursor)
    }

    /// Texts of others, not withdrawn. Notices are what programs say unasked: answering them is how
    /// bots begin to talk to each other for ever.
    fn wants(&self, message: &Message) -> bool {
        let mine = message.own || message.identity == Some(self.me);
        let here = if message.direct {
            self.direct
        } else {
            self.all || self.rooms.contains_key(&message.room)
        };
        let said = message.kind == Kind::Text
            && !message.deleted
            && !message.missing
            && !message.text.is_empty();
        here && said && !mine && self.prefix.as_ref().is_none_or(|p| addressed(&message.text, p))
    }
}

/// Whether a text begins with the prefix; one that ends in a letter or digit is a whole word.
fn addressed(text: &str, prefix: &str) -> bool {
    let Some(rest) = text.strip_prefix(prefix) else { return false };
    !prefix.ends_with(char::is_alphanumeric) || !rest.starts_with(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_that_is_a_word_fits_whole_words_only() {
        assert!(addressed("!up", "!up") && addressed("!up now", "!up") && addressed("!up?", "!up"));
        assert!(
            !addressed("!upgrade", "!up") && !addressed("say !up", "!up") && !addressed("", "!up")
        );
        assert!(addressed("!anything", "!") && addressed("bot: hi", "bot: "));
    }

    #[test]
    fn after_is_a_number_or_a_word() {
        assert_eq!("now".parse(), Ok(After::Now));
        assert_eq!("1041".parse(), Ok(After::Journal(1041)));
        assert!("yesterday".parse::<After>().is_err() && "-1".parse::<After>().is_err());
    }
}
