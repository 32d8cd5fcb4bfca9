//! Words for stories about direct messages.

#![allow(clippy::panic, clippy::expect_used, reason = "a story that goes wrong ends the test")]

use crate::command::{Command, Reply};
use crate::content::Kind;
use crate::direct::timeline::Names;
use crate::event::{ContactNews, Delivery, Event, Message};
use crate::ids::{Digest, EntryId, IdentityId, RoomId};
use crate::place::Place;
use crate::query::Standing;
use crate::sim::story::Person;
use crate::step::ContactRow;

impl Person {
    /// The world of the story.
    #[must_use]
    pub fn world(&self) -> std::rc::Rc<std::cell::RefCell<crate::sim::world::World>> {
        self.rc()
    }

    /// The person behind.
    #[must_use]
    pub fn identity(&self) -> IdentityId {
        self.with(|w| w.nodes[self.node].identity)
    }

    /// The conversation with somebody.
    #[must_use]
    pub fn conversation(&self, with: &Self) -> RoomId {
        RoomId::of_conversation(&with.identity())
    }

    /// The person that a name means to this one.
    #[must_use]
    #[track_caller]
    pub fn whom(&self, name: &str) -> IdentityId {
        match self.place(name) {
            Place::With(identity) => identity,
            Place::Room(_) => panic!("{name} is a room"),
        }
    }

    /// Writes to somebody, by a name.
    pub fn writes(&self, to: &str, text: &str) -> EntryId {
        let command =
            Command::SendMessage { room: self.place(to), text: text.to_owned(), reply_to: None };
        match self.tries(command) {
            Ok(Reply::Stored { message, .. }) => message,
            other => panic!("not stored: {other:?}"),
        }
    }

    /// Does something that must work.
    #[track_caller]
    pub fn must(&self, command: Command) -> Reply {
        match self.tries(command) {
            Ok(reply) => reply,
            Err(error) => panic!("{error}"),
        }
    }

    /// Keeps somebody as a contact.
    pub fn accepts(&self, who: &str) {
        self.must(Command::AcceptContact { who: self.whom(who), petname: None });
    }

    /// What the screen shows of the conversation.
    #[must_use]
    pub fn letters(&self, with: &Self) -> Vec<Message> {
        let room = self.conversation(with);
        self.with(|w| {
            let n = &w.nodes[self.node];
            let other = n.disk.desk.contacts.values().find(|c| c.room == room);
            let other = other.map_or("", |c| c.petname.as_deref().unwrap_or(&c.claimed));
            n.disk.desk.timeline(room, &Names { own: &n.disk.name, other })
        })
    }

    /// Asserts what is shown of the conversation.
    #[track_caller]
    pub fn sees_of(&self, with: &Self, lines: &[&str]) {
        let shown = self.letters(with).into_iter().filter(|m| m.kind == Kind::Text);
        let shown: Vec<String> = shown.map(|m| crate::sim::story::aloud(&m)).collect();
        assert_eq!(shown, lines);
    }

    /// Where an own direct message is.
    #[must_use]
    pub fn letter_state(&self, with: &Self, message: EntryId) -> Delivery {
        let letter = self.letters(with).into_iter().find(|m| m.id == message);
        let state = letter.and_then(|m| m.state).expect("an own message");
        let sent = self.with(|w| w.nodes[self.node].people.sent.contains(&message));
        if state == Delivery::Queued && sent { Delivery::Sent } else { state }
    }

    /// What is kept of somebody.
    #[must_use]
    pub fn contact(&self, who: &Self) -> Option<ContactRow> {
        let who = who.identity();
        self.with(|w| w.nodes[self.node].disk.desk.contacts.get(&who).cloned())
    }

    /// How somebody is kept.
    #[must_use]
    pub fn standing(&self, who: &Self) -> Option<Standing> {
        self.contact(who).map(|c| c.standing)
    }

    /// What there is to compare with somebody.
    #[must_use]
    pub fn code(&self, with: &Self) -> Option<Digest> {
        let identity = with.identity();
        self.with(|w| w.nodes[self.node].people.codes.get(&identity).copied())
    }

    /// What was told about somebody, in order.
    #[must_use]
    pub fn news_of(&self, who: &Self) -> Vec<ContactNews> {
        let (events, of) = (self.was_told(), who.identity());
        let news = events.into_iter().filter_map(|e| match e {
            Event::ContactChanged { identity, news, .. } if identity == of => Some(news),
            _ => None,
        });
        news.collect()
    }

    /// The keys of all sessions are lost.
    pub fn loses_keys(&self) {
        self.goes_away();
        self.with(|w| {
            let desk = &mut w.nodes[self.node].disk.desk;
            desk.account = None;
            desk.ratchets.clear();
        });
        self.comes_back();
    }

    /// Direct frames sent so far.
    #[must_use]
    pub fn frames_sent(&self) -> u64 {
        self.with(|w| w.nodes[self.node].directs)
    }
}
