//! Following the outcome of a slash command in plain mode. What the commands do is in `act/`.

use super::{Next, Pending, Plain, show};
use crate::act::{Effect, Here, Outcome, Shown, Tone, act};
use crate::error::Report;
use crate::output::{snippet, visible};
use crate::slash::Action;

impl Plain<'_> {
    /// Carries out one slash command and shows what came of it.
    pub(super) async fn act(&mut self, action: Action) -> Result<Next, Report> {
        let outcome =
            act(&mut self.session, self.here.as_ref(), self.lines.recent(), action).await?;
        self.follow(outcome).await
    }

    async fn follow(&mut self, outcome: Outcome) -> Result<Next, Report> {
        self.wrote |= outcome.wrote;
        self.sent = self.sent.max(outcome.upto);
        for shown in outcome.shown {
            self.show(shown).await?;
        }
        if let Some(sent) = outcome.sent {
            self.newest = Some((sent.room, sent.message, snippet(&sent.text), None));
            self.look_soon();
        }
        match outcome.effect {
            // Lines that are out stay out.
            Effect::Stay | Effect::Clear => {}
            Effect::Go(here) => self.go(here),
            Effect::Left(room) => {
                if self.here.as_ref().is_some_and(|h| h.room == room) {
                    // The room's own events still come: it is no longer shown once it says that it
                    // was left.
                    let others = self.shown.values().find(|h| h.room != room).cloned();
                    let now = others.as_ref().map_or("in no room: /join #ROOM".to_owned(), |h| {
                        format!("in {} now", h.name)
                    });
                    self.here = others;
                    self.out.note(&format!("* you are {}", visible(&now)));
                }
            }
            Effect::Confirm { question, action } if self.yes => {
                self.out.note(&format!("* {question} yes"));
                return Box::pin(self.act(*action)).await;
            }
            Effect::Confirm { question, action } => {
                self.out.note(&format!("* {question} [y/N]"));
                self.pending = Some(Pending::Confirm(*action));
            }
            Effect::Quit { lock } => {
                self.lock = lock;
                return Ok(Next::Quit);
            }
        }
        Ok(Next::GoOn)
    }

    pub(super) fn go(&mut self, here: Here) {
        self.shown.insert(here.room, here.clone());
        self.here = Some(here);
    }

    async fn show(&mut self, shown: Shown) -> Result<(), Report> {
        match shown {
            Shown::Found(message) => {
                if message.direct {
                    self.read_people().await?;
                    if let Some(contact) = self.people.iter().find(|c| c.room == message.room) {
                        self.shown.insert(contact.room, Here::with(contact));
                    }
                }
                let name = self.place_name(message.room);
                show(self.out, &mut self.lines, &name, true, *message)
            }
            Shown::Text { json: Some(json), .. } if self.out.json => self.out.json(&json),
            Shown::Text { tone: Tone::Data, text, .. } => self.out.say(&text),
            Shown::Text { tone: Tone::Note, text, .. } => {
                self.out.note(&format!("* {text}"));
                Ok(())
            }
            Shown::Text { tone: Tone::Warning, text, .. } => {
                self.out.warning(&text);
                Ok(())
            }
        }
    }
}
