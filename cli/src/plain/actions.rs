//! What the slash commands do in plain mode. The table itself is in `slash.rs`.

use klatch_core::command::Reply;
use klatch_core::event::Message;
use klatch_core::query::{Member, RoomSummary};
use serde_json::{Value, json};

use super::{Here, Next, Plain, show};
use crate::command::{members, rooms, status};
use crate::error::{Report, exit};
use crate::output::visible;
use crate::slash::{Action, help};

impl Plain<'_> {
    /// Carries out one slash command.
    pub(super) async fn act(&mut self, action: Action) -> Result<Next, Report> {
        match action {
            Action::Quit => return Ok(Next::Quit),
            Action::Help(command) => self.out.line(&help(command.as_deref()))?,
            Action::Join(room) => self.join(&room).await?,
            Action::Leave(room) => self.leave(room).await?,
            Action::Rooms => {
                let list: Vec<RoomSummary> = self.session.ask("room.list", json!({})).await?;
                rooms::print(self.out, &list)?;
            }
            Action::Users => {
                let here = self.here()?;
                let list: Vec<Member> = self.session.ask("room.members", json!({"room": here.room})).await?;
                members::print(self.out, &list)?;
            }
            Action::Online => {
                let status = self.session.status().await?;
                self.out.either(&status.peers, || status::peers(&status))?;
            }
            Action::Whoami => {
                let status = self.session.status().await?;
                self.out.either(&status, || status::who(&status))?;
            }
            Action::Status => {
                let status = self.session.status().await?;
                self.out.either(&status, || status::text(&status))?;
            }
            Action::History(n) => self.list(json!({"limit": n})).await?,
            Action::Search(words) => self.list(json!({"limit": 50, "search": words})).await?,
            Action::Reply { message, text } => {
                let id = self.message(&message, false)?.id;
                return self.say(&text, Some(id)).await;
            }
            Action::Edit(rest) => self.edit(&rest).await?,
            Action::Delete(message) => {
                let message = self.message(&message, true)?.clone();
                self.change("message.delete", json!({"room": message.room, "message": message.id})).await?;
            }
            Action::React { message, emoji, on } => {
                let message = self.message(&message, false)?.clone();
                let params = json!({"room": message.room, "message": message.id, "emoji": emoji, "on": on});
                self.change("message.react", params).await?;
            }
            Action::Announce(text) => {
                let here = self.here()?;
                self.change("message.announce", json!({"room": here.room, "text": text})).await?;
            }
            Action::Nick(name) => {
                self.session.call("profile.set", json!({"name": name})).await?;
                self.wrote = true;
                self.out.note(&format!("* you are {} now", visible(&name)));
            }
            Action::Mute { who, muted } => {
                let here = self.here()?;
                let member = members::find(&mut self.session, &here.room.to_string(), &who).await?;
                let params = json!({"room": here.room, "device": member.device, "muted": muted});
                self.session.call("room.mute", params).await?;
                let word = if muted { "hidden" } else { "shown" };
                self.out.note(&format!("* {} is {word} in {}, here only", visible(&member.name), visible(&here.name)));
            }
        }
        Ok(Next::GoOn)
    }

    fn here(&self) -> Result<Here, Report> {
        self.here.clone().ok_or_else(|| Report::usage("you are in no room", "/join #ROOM"))
    }

    async fn join(&mut self, room: &str) -> Result<(), Report> {
        let (here, already) = match rooms::joined(&mut self.session, room).await? {
            Some(found) => (Here { room: found.room, name: found.name }, true),
            None => match self.session.ask("room.join", json!({"room": room})).await? {
                Reply::Joined { room, name, already } => (Here { room, name }, already),
                _ => return Ok(()),
            },
        };
        self.wrote |= !already;
        self.shown.insert(here.room, here.name.clone());
        self.out.note(&format!("* you are in {} now", visible(&here.name)));
        self.here = Some(here);
        Ok(())
    }

    async fn leave(&mut self, room: Option<String>) -> Result<(), Report> {
        let here = match room {
            None => self.here()?,
            Some(room) => {
                let found = rooms::find(&mut self.session, &room).await?;
                Here { room: found.room, name: found.name }
            }
        };
        self.session.call("room.leave", json!({"room": here.room})).await?;
        self.wrote = true;
        self.out.note(&format!("* you left {}; its history is kept", visible(&here.name)));
        if self.here.as_ref() == Some(&here) {
            // The room's own events still come: it is no longer shown once it says that it was left.
            let mut others = self.shown.iter().filter(|(room, _)| **room != here.room);
            self.here = others.next().map(|(room, name)| Here { room: *room, name: name.clone() });
            let now = self.here.as_ref().map_or("in no room: /join #ROOM".to_owned(), |h| format!("in {} now", h.name));
            self.out.note(&format!("* you are {now}"));
        }
        Ok(())
    }

    async fn list(&mut self, mut params: Value) -> Result<(), Report> {
        let here = self.here()?;
        params["room"] = json!(here.room);
        let found: Vec<Message> = self.session.ask("message.list", params).await?;
        if found.is_empty() {
            self.out.note("* nothing found");
        }
        for message in found {
            show(self.out, &mut self.lines, &here.name, true, message)?;
        }
        Ok(())
    }

    /// The first word may name a message; otherwise the newest own one is meant.
    async fn edit(&mut self, rest: &str) -> Result<(), Report> {
        let here = self.here()?;
        let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let (message, text) = match self.lines.named(word, here.room, true) {
            Some(message) if !after.trim().is_empty() => (message.clone(), after.trim()),
            _ if word.starts_with('^') => return Err(unknown(word)),
            _ => (self.message("^", true)?.clone(), rest),
        };
        self.change("message.edit", json!({"room": message.room, "message": message.id, "text": text})).await
    }

    async fn change(&mut self, method: &str, params: Value) -> Result<(), Report> {
        let reply: Value = self.session.call(method, params).await?;
        self.wrote = true;
        if let Some(journal) = reply["journal"].as_u64() {
            self.sent = self.sent.max(journal);
        }
        Ok(())
    }

    fn message(&self, word: &str, own: bool) -> Result<&Message, Report> {
        let here = self.here.as_ref().ok_or_else(|| Report::usage("you are in no room", "/join #ROOM"))?;
        self.lines.named(word, here.room, own).ok_or_else(|| unknown(word))
    }
}

fn unknown(word: &str) -> Report {
    Report::new(
        "KLATCH-MESSAGE-NOT-FOUND",
        format!("`{}` names no message shown here", visible(word)),
        "^ is the newest, ^2 the one before; /history shows ids",
        exit::NOT_FOUND,
    )
}
