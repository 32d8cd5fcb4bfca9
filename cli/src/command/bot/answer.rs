//! One message of a bot from its text to its stored answer: facts, the program's run, the rate, the
//! send, a line about it.

use std::collections::VecDeque;
use std::time::Duration;

use klatch_core::event::Message;
use klatch_core::identity::fingerprint;
use klatch_core::query::{Contact, Standing};
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep};

use super::script::{End, Script, raised};
use crate::args::bot::{BotExec, OnError};
use crate::client::{Client, Session};
use crate::error::Report;
use crate::lines::marked;
use crate::output::{Output, visible};

/// The time over which answers are counted.
const RATE_WINDOW: Duration = Duration::from_secs(60);
/// Pause before a send that the node cannot do now (a full disk) is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// What handling a message came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its answer is stored, or it has none.
    Done,
    /// The bot is ended before; the next start handles it again.
    Postponed,
}

/// Answers messages. Shared by the jobs.
#[derive(Debug)]
pub struct Hand {
    script: Script,
    name: String,
    profile: String,
    reply: bool,
    strangers: bool,
    on_error: OnError,
    out: Output,
    stopped: watch::Receiver<bool>,
    mouth: Mutex<Mouth>,
}

/// What one job at a time may use.
#[derive(Debug)]
struct Mouth {
    client: Option<Client>,
    rate: Rate,
}

/// What became of an answer.
enum Said {
    Stored(Value),
    /// By an earlier run of the same bot, with another text.
    Before,
    Refused(Report),
    Postponed,
}

/// The connection is over; what is in work is done again.
pub fn is_gone(report: &Report) -> bool {
    matches!(report.code.as_str(), "KLATCH-NODE-GONE" | "KLATCH-STOPPING")
}

impl Hand {
    /// A hand without a node yet.
    pub fn new(
        script: Script,
        name: String,
        args: &BotExec,
        profile: &str,
        out: Output,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let mouth = Mutex::new(Mouth { client: None, rate: Rate::new(args.rate) });
        Self {
            script,
            name,
            profile: profile.to_owned(),
            reply: !args.no_reply,
            strangers: args.strangers,
            on_error: args.on_error,
            out,
            stopped,
            mouth,
        }
    }

    /// Speaks through this connection from now on.
    pub async fn attach(&self, session: Session) {
        self.mouth.lock().await.client = Some(session.client);
    }

    /// Does one message.
    pub async fn handle(&self, room: &str, message: &Message) -> Result<Outcome, Report> {
        let begun = Instant::now();
        let mut line = json!({
            "room": room, "from": message.name, "message_id": message.id, "cursor": message.journal, "ms": 0,
        });
        if let Some(mark) = &message.name_mark {
            line["name_mark"] = json!(mark);
        }
        if message.direct && !self.strangers && !self.knows(message).await? {
            line["did"] = "stranger".into();
            self.out.either(&line, || words(&line))?;
            return Ok(Outcome::Done);
        }
        let end = self
            .script
            .run(&message.text, &self.facts(room, message), self.stopped.clone())
            .await?;
        line["did"] = match end {
            End::Interrupted => return Ok(Outcome::Postponed),
            End::TimedOut => {
                if let Some(answer) = self.confess(message, "took too long and was ended").await? {
                    line["answer_id"] = answer;
                }
                "timed_out".into()
            }
            End::Failed(code) => {
                line["exit"] = json!(code);
                let how = match code {
                    Some(code) => format!("failed (exit code {code})"),
                    None => "was ended by a signal".to_owned(),
                };
                if let Some(answer) = self.confess(message, &how).await? {
                    line["answer_id"] = answer;
                }
                "failed".into()
            }
            End::Answer { text, .. } if text.is_empty() => "nothing".into(),
            End::Answer { text, cut } => match self.say(message, text).await? {
                Said::Postponed => return Ok(Outcome::Postponed),
                Said::Stored(answer) => {
                    line["answer_id"] = answer;
                    line["cut"] = json!(cut);
                    "answered".into()
                }
                Said::Before => "answered_before".into(),
                Said::Refused(report) => {
                    line["error"] = report.json()["error"].take();
                    "refused".into()
                }
            },
        };
        line["ms"] = json!(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
        self.out.either(&line, || words(&line))?;
        Ok(Outcome::Done)
    }

    /// What a program is told about a message besides its text.
    fn facts(&self, room: &str, message: &Message) -> Vec<(&'static str, String)> {
        let at = i64::try_from(message.at_ms)
            .ok()
            .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        let id = |id: Option<String>| id.unwrap_or_default();
        vec![
            ("KLATCH_BOT", self.name.clone()),
            // So that a `klatch` that the program calls is this one's identity.
            ("KLATCH_PROFILE", self.profile.clone()),
            ("KLATCH_ROOM", visible(room)),
            ("KLATCH_ROOM_ID", message.room.to_string()),
            ("KLATCH_DIRECT", if message.direct { "1" } else { "" }.to_owned()),
            ("KLATCH_MESSAGE_ID", message.id.to_string()),
            ("KLATCH_REPLY_TO", id(message.reply_to.map(|m| m.to_string()))),
            ("KLATCH_FROM", visible(&message.name)),
            ("KLATCH_FROM_MARK", message.name_mark.clone().unwrap_or_default()),
            ("KLATCH_FROM_ID", id(message.identity.map(|i| i.to_string()))),
            ("KLATCH_FINGERPRINT", id(message.identity.map(|i| fingerprint(&i)))),
            ("KLATCH_DEVICE", message.device.to_string()),
            ("KLATCH_TIME", at.map(|t| t.to_string()).unwrap_or_default()),
            ("KLATCH_CURSOR", message.journal.to_string()),
        ]
    }

    /// Tells the asker that the program failed, if the bot's owner wants that: not why, which is
    /// nobody else's business. A bot that is just ending leaves it.
    async fn confess(&self, message: &Message, how: &str) -> Result<Option<Value>, Report> {
        if self.on_error == OnError::Silent {
            return Ok(None);
        }
        let said = self.say(message, format!("{}: the program {how}", self.name)).await?;
        Ok(if let Said::Stored(answer) = said { Some(answer) } else { None })
    }

    /// Stores an answer, as fast as the rate allows.
    async fn say(&self, message: &Message, text: String) -> Result<Said, Report> {
        let mut mouth = self.mouth.lock().await;
        // Sent again under the same key after a kill, it is stored once all the same.
        let key = format!("bot/{}/{}", self.name, message.id);
        let mut params = json!({"room": message.room, "text": text, "idempotency_key": key});
        if self.reply {
            params["reply_to"] = json!(message.id);
        }
        loop {
            let wait = mouth.rate.wait(Instant::now());
            if wait.is_zero() {
                break;
            }
            let (n, s) = (mouth.rate.max, wait.as_secs() + 1);
            self.out.note(&format!(
                "{n} answers in a minute are the most it gives (--rate): the next one in {s} s"
            ));
            if self.pause(wait).await {
                return Ok(Said::Postponed);
            }
        }
        let mut said = false;
        loop {
            let client = mouth.client.as_mut().ok_or_else(Report::gone)?;
            match client.call("message.send", params.clone()).await {
                Ok(mut sent) => {
                    mouth.rate.count(Instant::now());
                    return Ok(Said::Stored(sent["message_id"].take()));
                }
                Err(report) if is_gone(&report) => return Err(report),
                Err(report) if report.code == "KLATCH-IDEMPOTENCY" => return Ok(Said::Before),
                Err(report) if report.retryable => {
                    if !std::mem::replace(&mut said, true) {
                        self.out.note(&format!("an answer has to wait: {}", report.cause));
                    }
                    if self.pause(RETRY).await {
                        return Ok(Said::Postponed);
                    }
                }
                Err(report) => return Ok(Said::Refused(report)),
            }
        }
    }

    /// Whether the author is a contact. To answer somebody is to accept them, which a program must
    /// not do by itself.
    async fn knows(&self, message: &Message) -> Result<bool, Report> {
        let mut mouth = self.mouth.lock().await;
        let client = mouth.client.as_mut().ok_or_else(Report::gone)?;
        let people: Vec<Contact> = client.ask("contact.list", json!({})).await?;
        let known =
            |c: &Contact| Some(c.identity) == message.identity && c.standing == Standing::Accepted;
        Ok(people.iter().any(known))
    }

    /// Waits; true if the bot is ended meanwhile.
    async fn pause(&self, time: Duration) -> bool {
        let mut stopped = self.stopped.clone();
        tokio::select! {
            () = sleep(time) => false,
            () = raised(&mut stopped) => true,
        }
    }
}

/// The line about a message for people. It holds no text of anybody.
fn words(line: &Value) -> String {
    let word = |key: &str| visible(line[key].as_str().unwrap_or_default());
    let did = match line["did"].as_str().unwrap_or_default() {
        "answered" if line["cut"] == true => "answered, cut to 64,000 bytes".to_owned(),
        "answered_before" => "answered before".to_owned(),
        "stranger" => "not answered: no contact (klatch contact accept, or --strangers)".to_owned(),
        "nothing" => "nothing to answer".to_owned(),
        "timed_out" => "took too long and was ended (--timeout)".to_owned(),
        "failed" if line["exit"].is_null() => "was ended by a signal".to_owned(),
        "failed" => format!("failed with exit code {}", line["exit"]),
        "refused" => format!(
            "the answer was refused: {}",
            visible(line["error"]["message"].as_str().unwrap_or("?"))
        ),
        other => other.to_owned(),
    };
    let from = marked(word("from"), line["name_mark"].as_str());
    format!("{} {from}: {did}, {} ms", word("room"), line["ms"])
}

/// At most so many answers a minute: two bots that answer each other must not fill every disk.
#[derive(Debug)]
struct Rate {
    /// 0 is no limit.
    max: usize,
    sent: VecDeque<Instant>,
}

impl Rate {
    fn new(max: u16) -> Self {
        Self { max: usize::from(max), sent: VecDeque::new() }
    }

    fn wait(&mut self, now: Instant) -> Duration {
        while self.sent.front().is_some_and(|at| now.duration_since(*at) >= RATE_WINDOW) {
            self.sent.pop_front();
        }
        match self.sent.front() {
            Some(first) if self.max > 0 && self.sent.len() >= self.max => {
                RATE_WINDOW - now.duration_since(*first)
            }
            _ => Duration::ZERO,
        }
    }

    fn count(&mut self, now: Instant) {
        if self.max > 0 {
            self.sent.push_back(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_held_back_to_the_rate() {
        let (start, mut rate) = (Instant::now(), Rate::new(3));
        let at = |s| start + Duration::from_secs(s);
        for s in [0, 10, 20] {
            assert_eq!(rate.wait(at(s)), Duration::ZERO);
            rate.count(at(s));
        }
        assert_eq!(rate.wait(at(25)), Duration::from_secs(35));
        assert_eq!(rate.wait(at(60)), Duration::ZERO);
        let mut none = Rate::new(0);
        for _ in 0..10_000 {
            none.count(start);
            assert_eq!(none.wait(start), Duration::ZERO);
        }
        assert!(none.sent.is_empty());
    }

    #[test]
    fn a_line_about_a_message_is_one_line_and_harmless() {
        let line =
            json!({"room": "#g", "from": "eve\u{1b}[2J\n", "did": "failed", "exit": 3, "ms": 12});
        assert_eq!(words(&line), "#g eve␛[2J␊: failed with exit code 3, 12 ms");
    }
}
