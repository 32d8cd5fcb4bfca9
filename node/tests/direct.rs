//! Two real nodes on loopback, and what two people say to each other apart from the room.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use klatch_core::command::Command;
use klatch_core::content::Kind;
use klatch_core::direct::frame;
use klatch_core::error::CommandError;
use klatch_core::event::{ContactNews, Delivery, Event, Message};
use klatch_core::query::{Answer, Contact, Person, Query, Standing, Status, Verification};
use klatch_node::Node;
use klatch_node::network::{self, Delivered, NetCommand, NetEvent, NetworkConfig, NetworkHandle};
use libp2p::identity::Keypair;

use common::{join, start, until};

/// Alice and bob in one room, where they have met.
async fn pair(folder: &Path) -> (Node, Node) {
    let (alice, bob) = (start(folder, "alice").await, start(folder, "bob").await);
    for node in [&alice, &bob] {
        join(node, "#lobby", None).await;
    }
    until("alice has met bob", async || {
        person(&alice, "@bob").await.is_ok_and(|p| p.contact.online)
    })
    .await;
    until("bob has met alice", async || person(&bob, "@alice").await.is_ok()).await;
    (alice, bob)
}

async fn person(node: &Node, who: &str) -> Result<Person, CommandError> {
    match node.query(Query::Person { who: node.person(who)? }).await? {
        Answer::Person(person) => Ok(*person),
        other => panic!("{other:?}"),
    }
}

async fn contacts(node: &Node) -> Vec<Contact> {
    match node.query(Query::Contacts).await.unwrap() {
        Answer::Contacts(all) => all,
        other => panic!("{other:?}"),
    }
}

async fn status(node: &Node) -> Status {
    match node.query(Query::Status).await.unwrap() {
        Answer::Status(status) => *status,
        other => panic!("{other:?}"),
    }
}

async fn history(node: &Node, who: &str, search: Option<&str>) -> Vec<Message> {
    let search = search.map(str::to_owned);
    let query = Query::History {
        room: node.place(who).unwrap(),
        limit: 1_000,
        since_ms: None,
        before: None,
        after: None,
        search,
    };
    match node.query(query).await.unwrap() {
        Answer::Messages(all) => all,
        other => panic!("{other:?}"),
    }
}

async fn say(node: &Node, who: &str, text: &str) -> Result<(), CommandError> {
    let room = node.place(who)?;
    let command = Command::SendMessage { room, text: text.to_owned(), reply_to: None };
    node.command(command).await.map(drop)
}

async fn act(node: &Node, command: Command) {
    node.command(command).await.unwrap();
}

async fn accept(node: &Node, who: &str) {
    act(node, Command::AcceptContact { who: node.person(who).unwrap(), petname: None }).await;
}

async fn sees(node: &Node, who: &str, text: &str) -> bool {
    contacts(node).await.iter().any(|c| c.messages > 0)
        && history(node, who, None).await.iter().any(|m| m.text == text)
}

fn is_delivered(message: &Message) -> bool {
    matches!(message.state, Some(Delivery::Delivered { n: 1, m: 1 }))
}

/// Everything that this side said there is on the other disk.
async fn all_delivered(node: &Node, who: &str) -> bool {
    history(node, who, None).await.iter().filter(|m| m.own).all(is_delivered)
}

/// What both sides must agree about: ids, texts, order.
fn told(messages: Vec<Message>) -> Vec<(klatch_core::ids::EntryId, String)> {
    messages.into_iter().map(|m| (m.id, m.text)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_survives_restarts_and_waits_for_who_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path()).await;
    assert_eq!(person(&alice, "@bob").await.unwrap().contact.standing, Standing::Met);
    say(&alice, "@bob", "apart from the others").await.unwrap();
    until("bob has it", async || sees(&bob, "@alice", "apart from the others").await).await;
    until("alice hears so", async || all_delivered(&alice, "@bob").await).await;

    // Bob has not decided about alice yet; he answers, and that decides.
    let asked = contacts(&bob).await.remove(0);
    assert_eq!(
        (asked.standing, asked.name.as_str(), asked.unread),
        (Standing::Requested, "alice", 1)
    );
    assert_eq!(contacts(&alice).await[0].standing, Standing::Accepted);
    say(&bob, "@alice", "what is it").await.unwrap();
    assert_eq!(contacts(&bob).await[0].standing, Standing::Accepted);
    until("alice has the answer", async || sees(&alice, "@bob", "what is it").await).await;
    assert!(sees(&alice, "@bob", "apart from the others").await);
    let room = match alice.query(Query::Rooms).await.unwrap() {
        Answer::Rooms(rooms) => rooms,
        other => panic!("{other:?}"),
    };
    assert_eq!(room.len(), 1, "a conversation is no room");

    bob.shutdown().await;
    for i in 0..40 {
        say(&alice, "@bob", &format!("while you were away {i}")).await.unwrap();
    }
    let waiting = history(&alice, "@bob", None).await.pop().unwrap();
    assert_eq!(
        (waiting.text.as_str(), waiting.state),
        ("while you were away 39", Some(Delivery::Queued))
    );
    assert_eq!(status(&alice).await.queued, 40);
    // What waits is there after a restart, too.
    alice.shutdown().await;
    let alice = start(folder.path(), "alice").await;
    assert_eq!(history(&alice, "@bob", None).await.len(), 42);
    let bob = start(folder.path(), "bob").await;
    assert!(sees(&bob, "@alice", "apart from the others").await, "history is readable at once");
    until("bob gets what waited", async || sees(&bob, "@alice", "while you were away 39").await)
        .await;
    until("everything is delivered", async || all_delivered(&alice, "@bob").await).await;
    assert_eq!(status(&alice).await.queued, 0);
    let (ours, theirs) =
        (told(history(&alice, "@bob", None).await), told(history(&bob, "@alice", None).await));
    assert_eq!(ours, theirs, "one order, nothing twice");

    let found = history(&bob, "@alice", Some("away 17")).await;
    assert_eq!(told(found)[0].1, "while you were away 17");
    say(&bob, "@alice", "I am back").await.unwrap();
    until("alice reads it", async || sees(&alice, "@bob", "I am back").await).await;
    alice.shutdown().await;
    bob.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_and_receipts_follow_the_message() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path()).await;
    for node in [&alice, &bob] {
        act(node, Command::SetPrivacy { receipts: Some(true), typing: Some(true) }).await;
    }
    assert!(status(&bob).await.receipts);
    say(&alice, "@bob", "meet me at noon").await.unwrap();
    say(&alice, "@bob", "forget this").await.unwrap();
    until("bob has both", async || sees(&bob, "@alice", "forget this").await).await;
    accept(&bob, "@alice").await;
    let ids: Vec<_> = history(&alice, "@bob", None).await.iter().map(|m| m.id).collect();
    let (room, text) = (alice.place("@bob").unwrap(), "meet me at one".to_owned());
    act(&alice, Command::EditMessage { room, message: ids[0], text }).await;
    act(&alice, Command::DeleteMessage { room, message: ids[1] }).await;
    let (room, emoji) = (bob.place("@alice").unwrap(), "👍".to_owned());
    act(&bob, Command::React { room, message: ids[0], emoji, on: true }).await;
    let settled = |all: &[Message]| {
        let [first, second] = all else { return false };
        (first.text.as_str(), first.edited, first.reactions.len()) == ("meet me at one", true, 1)
            && (second.text.as_str(), second.deleted) == ("", true)
    };
    for (node, who) in [(&alice, "@bob"), (&bob, "@alice")] {
        until("the changes are on both sides", async || settled(&history(node, who, None).await))
            .await;
    }
    let found = |node: &Node, who: &'static str, word: &'static str| {
        let node = node.clone();
        async move { history(&node, who, Some(word)).await.len() }
    };
    assert_eq!((found(&bob, "@alice", "noon").await, found(&bob, "@alice", "one").await), (0, 1));
    assert_eq!(found(&bob, "@alice", "forget").await, 0);
    // Nobody is told that he has read it before he says so.
    assert!(history(&alice, "@bob", None).await.iter().all(|m| m.state != Some(Delivery::Read)));
    let upto = status(&bob).await.journal;
    act(&bob, Command::MarkRead { room, upto }).await;
    assert_eq!(contacts(&bob).await[0].unread, 0);
    until("alice hears that it was read", async || {
        history(&alice, "@bob", None).await.first().is_some_and(|m| m.state == Some(Delivery::Read))
    })
    .await;
    alice.shutdown().await;
    bob.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_blocked_is_not_heard_and_codes_are_equal_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path()).await;
    let mut events = bob.subscribe();
    say(&alice, "@bob", "hello").await.unwrap();
    until("bob has it", async || sees(&bob, "@alice", "hello").await).await;
    until("alice hears so", async || all_delivered(&alice, "@bob").await).await;
    let (mut requested, mut shown) = (false, false);
    while !(requested && shown) {
        match &events.recv().await.unwrap().event {
            Event::ContactChanged { news: ContactNews::Requested, name, .. } => {
                requested = name == "alice"
            }
            Event::MessageAdded { message } if message.direct => {
                shown = (message.kind, message.text.as_str(), message.own)
                    == (Kind::Text, "hello", false);
            }
            _ => {}
        }
    }
    let (hers, his) =
        (person(&alice, "@bob").await.unwrap(), person(&bob, "@alice").await.unwrap());
    assert_eq!((hers.digits.len(), hers.emoji.len()), (71, 7));
    assert_eq!((hers.digits, hers.emoji), (his.digits, his.emoji));
    assert_eq!(hers.rooms, ["#lobby"]);
    act(&bob, Command::VerifyContact { who: bob.person("@alice").unwrap(), verified: true }).await;
    assert_eq!(contacts(&bob).await[0].verification, Verification::Verified);

    act(&bob, Command::BlockContact { who: bob.person("@alice").unwrap(), blocked: true }).await;
    say(&alice, "@bob", "can you hear me").await.unwrap();
    assert!(matches!(say(&bob, "@alice", "no").await, Err(CommandError::BlockedPerson { .. })));
    // The room goes on, and by the time something came through there, the message would have been
    // here.
    say(&alice, "#lobby", "to everybody").await.unwrap();
    until("bob reads the room", async || {
        history(&bob, "#lobby", None).await.iter().any(|m| m.text == "to everybody")
    })
    .await;
    assert!(!sees(&bob, "@alice", "can you hear me").await);
    act(&bob, Command::BlockContact { who: bob.person("@alice").unwrap(), blocked: false }).await;
    until("it arrives once she is heard again", async || {
        sees(&bob, "@alice", "can you hear me").await
    })
    .await;
    assert_eq!(say(&alice, "@alice", "me").await, Err(CommandError::Yourself));
    assert!(matches!(say(&alice, "@nobody", "you").await, Err(CommandError::UnknownPerson { .. })));
    alice.shutdown().await;
    bob.shutdown().await;
}

/// Somebody who speaks the protocol and has no manners.
struct Stranger {
    net: NetworkHandle,
    events: Receiver<NetEvent>,
}

impl Stranger {
    /// Connects to a node.
    async fn of(node: &Node) -> Self {
        let address =
            status(node).await.listening.into_iter().find(|a| a.contains("/tcp/")).unwrap();
        let config = NetworkConfig { loopback_only: true, mdns: false, ..NetworkConfig::default() };
        let (sink, events) = sync_channel(1_000);
        let (net, _) = network::spawn(config, Keypair::generate_ed25519(), move |event| match sink
            .try_send(event)
        {
            Ok(()) => Delivered::Taken,
            Err(_) => Delivered::Closed,
        })
        .unwrap();
        net.send(NetCommand::Dial(address.parse().unwrap())).unwrap();
        Self { net, events }
    }

    fn until<T>(&self, mut pick: impl FnMut(NetEvent) -> Option<T>) -> T {
        loop {
            let event = self
                .events
                .recv_timeout(Duration::from_secs(20))
                .expect("an event before the deadline");
            if let Some(found) = pick(event) {
                return found;
            }
        }
    }

    /// What a node says to these bytes; `None` if it has hung up.
    fn ask(&self, node: &klatch_core::ids::Peer, bytes: Vec<u8>) -> Option<Vec<u8>> {
        self.net.send(NetCommand::AskDirect { peer: node.clone(), id: 1, bytes }).unwrap();
        self.until(|event| match event {
            NetEvent::DirectAnswered { bytes, .. } => Some(Some(bytes)),
            NetEvent::RequestFailed { .. } => Some(None),
            _ => None,
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_make_no_sense_are_refused_counted_and_end_the_link() {
    let folder = tempfile::tempdir().unwrap();
    let bob = start(folder.path(), "bob").await;
    let stranger = Stranger::of(&bob).await;
    let peer = stranger.until(|event| match event {
        NetEvent::LinkUp { peer, .. } => Some(peer),
        _ => None,
    });
    // Well-formed, but of no session: an answer that tells nothing, and no blame.
    let sealed = frame::Sealed {
        device: klatch_core::ids::DeviceId([7; 32]),
        session: klatch_core::ids::SessionTag([7; 8]),
        number: Some(0),
        begins: false,
        bytes: vec![1; 200],
    };
    assert!(stranger.ask(&peer, frame::message(&sealed)).is_some());
    for _ in 0..3 {
        assert_eq!(stranger.ask(&peer, b"no frame at all".to_vec()), Some(frame::refused()));
    }
    assert_eq!(status(&bob).await.refused.get("decode"), Some(&3));
    let more =
        (0..20).take_while(|_| stranger.ask(&peer, b"still no frame".to_vec()).is_some()).count();
    assert!(more < 20, "nobody hung up");
    assert!(contacts(&bob).await.is_empty());
    bob.shutdown().await;
}
