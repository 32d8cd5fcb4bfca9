//! Direct messages, told as stories with alice, bob and carol. Real Olm; only the network and the
//! time are simulated.

#![cfg(feature = "sim")]

use klatch_core::command::{Command, Reply};
use klatch_core::content::Kind;
use klatch_core::error::CommandError;
use klatch_core::event::{ContactNews, Delivery, Event};
use klatch_core::identity::Keys;
use klatch_core::ids::{EntryId, IdentityId, Peer, RoomId};
use klatch_core::limits::REQUESTS_MAX;
use klatch_core::machine::Machine;
use klatch_core::place::Place;
use klatch_core::presence::Process;
use klatch_core::query::Standing;
use klatch_core::sim::rng::Seeded;
use klatch_core::sim::story::{Person, Story};
use klatch_core::step::{ContactRow, DirectIndexRow, Input, Snapshot};

const NOW: u64 = 1_800_000_000_000;

const DELIVERED: Delivery = Delivery::Delivered { n: 1, m: 1 };

fn two() -> (Story, [Person; 2]) {
    let story = Story::of(["alice", "bob"]);
    let people = story.people();
    people.iter().for_each(|p| {
        p.joins("#garden");
    });
    story.settles();
    (story, people)
}

#[test]
fn a_first_message_is_a_request_and_an_answer_accepts_it() {
    let (story, [alice, bob]) = two();
    let hello = alice.writes("@bob", "hello bob");
    story.passes(500);
    assert_eq!(alice.letter_state(&bob, hello), DELIVERED);
    bob.sees_of(&alice, &["alice: hello bob"]);
    assert_eq!(bob.standing(&alice), Some(Standing::Requested));
    assert_eq!(alice.standing(&bob), Some(Standing::Accepted));
    assert_eq!(bob.news_of(&alice), [ContactNews::Requested]);

    let answer = bob.writes("@alice", "hello alice").to_string();
    story.passes(500);
    assert_eq!(bob.standing(&alice), Some(Standing::Accepted));
    let lines = ["alice: hello bob", "bob: hello alice"];
    alice.sees_of(&bob, &lines);
    bob.sees_of(&alice, &lines);
    assert_eq!(alice.news_of(&bob), [ContactNews::Accepted]);
    assert!(alice.letters(&bob).iter().any(|m| m.id.to_string() == answer));
    assert_eq!(bob.times_told("hello bob"), 1);
}

#[test]
fn once_a_session_exists_a_message_is_one_frame() {
    let (story, [alice, bob]) = two();
    alice.writes("@bob", "first");
    story.passes(500);
    let before = (alice.frames_sent(), bob.frames_sent());
    assert_eq!(before.0, 2, "a question for keys and the message");
    let second = alice.writes("@bob", "second");
    story.passes(200);
    assert_eq!(alice.letter_state(&bob, second), DELIVERED);
    assert_eq!((alice.frames_sent(), bob.frames_sent()), (before.0 + 1, before.1));
}

#[test]
fn who_is_away_gets_everything_once_and_in_order() {
    let (story, [alice, bob]) = two();
    alice.writes("@bob", "first");
    story.passes(500);
    bob.accepts("@alice");
    bob.goes_away();
    story.passes(10_000);
    let texts: Vec<String> = (0..100).map(|i| format!("line {i}")).collect();
    let sent: Vec<_> = texts.iter().map(|t| alice.writes("@bob", t)).collect();
    assert!(sent.iter().all(|id| alice.letter_state(&bob, *id) == Delivery::Queued));
    alice.goes_away();
    alice.comes_back();
    bob.comes_back();
    story.passes(10_000);
    assert!(sent.iter().all(|id| alice.letter_state(&bob, *id) == DELIVERED));
    let shown: Vec<String> = bob.letters(&alice).into_iter().skip(1).map(|m| m.text).collect();
    assert_eq!(shown, texts);
}

#[test]
fn edits_reactions_and_withdrawals_work_as_in_rooms() {
    let (story, [alice, bob]) = two();
    let typo = alice.writes("@bob", "helo");
    let secret = alice.writes("@bob", "the key is under the mat");
    story.passes(500);
    alice.must(Command::EditMessage {
        room: alice.place("@bob"),
        message: typo,
        text: "hello".into(),
    });
    alice.must(Command::DeleteMessage { room: alice.place("@bob"), message: secret });
    let room = Place::With(alice.identity());
    bob.must(Command::React { room, message: typo, emoji: "👍".into(), on: true });
    story.passes(1_000);
    for (who, other) in [(&alice, &bob), (&bob, &alice)] {
        who.sees_of(other, &["alice: hello (edited) 👍1", "alice: (withdrawn)"]);
        let (world, room) = (story.world(), who.conversation(other));
        let desk = &world.borrow().nodes[who.node].disk.desk;
        assert!(desk.get(&room, &secret).unwrap().content.is_none(), "the text is gone as well");
    }
    let refused = bob.tries(Command::EditMessage { room, message: typo, text: "mine".into() });
    assert_eq!(refused, Err(CommandError::NotYours));
}

#[test]
fn what_was_deleted_before_it_left_never_leaves_and_is_nowhere() {
    let (story, [alice, bob]) = two();
    alice.writes("@bob", "hello");
    story.passes(500);
    bob.goes_away();
    story.passes(10_000);
    let mut gone = Vec::new();
    for i in 0..10 {
        let text = format!("words of regret {i}");
        let id = alice.writes("@bob", &text);
        if i % 2 == 0 {
            let text = format!("other words of regret {i}");
            alice.must(Command::EditMessage { room: alice.place("@bob"), message: id, text });
        }
        alice.must(Command::DeleteMessage { room: alice.place("@bob"), message: id });
        gone.push(id);
    }
    let late = Command::EditMessage {
        room: alice.place("@bob"),
        message: gone[0],
        text: "words of regret".into(),
    };
    assert!(matches!(alice.tries(late), Err(CommandError::UnknownMessage { .. })));
    let waiting = |who: &Person| {
        let (world, holds) =
            (story.world(), |bytes: &[u8]| bytes.windows(6).any(|w| w == b"regret"));
        let desk = &world.borrow().nodes[who.node].disk.desk;
        let rows = desk.rows.iter().filter(|r| r.own && r.content.as_deref().is_some_and(holds));
        (desk.outbox.len(), desk.outbox.values().filter(|r| holds(&r.frame)).count() + rows.count())
    };
    assert_eq!(waiting(&alice), (0, 0), "nobody has to hear of them");
    assert!(gone.iter().all(|id| alice.letter_state(&bob, *id) == Delivery::Failed));
    bob.comes_back();
    alice.writes("@bob", "welcome back");
    story.passes(20_000);
    bob.sees_of(&alice, &["alice: hello", "alice: welcome back"]);
    assert_eq!(bob.letters(&alice).len(), 2, "not even an empty line");
    assert!(
        !bob.was_told().iter().any(
            |e| matches!(e, Event::MessageAdded { message } if message.text.contains("regret"))
        )
    );
}

#[test]
fn what_may_have_left_is_replaced_under_its_number() {
    let (story, [alice, bob]) = two();
    alice.writes("@bob", "hello");
    story.passes(500);
    bob.accepts("@alice");
    // The frame goes onto the link, and the link ends.
    let room = alice.place("@bob");
    let lost = {
        let world = story.world();
        let mut w = world.borrow_mut();
        let text = "words of regret".to_owned();
        let id = w.order(alice.node, Command::SendMessage { room, text, reply_to: None });
        drop(w);
        alice.loses(&bob);
        story.passes(100);
        let reply = world.borrow_mut().nodes[alice.node].replies.remove(&id);
        match reply {
            Some(Ok(Reply::Stored { message, .. })) => message,
            other => panic!("{other:?}"),
        }
    };
    alice.writes("@bob", "and more");
    alice.must(Command::DeleteMessage { room: alice.place("@bob"), message: lost });
    alice.goes_away();
    alice.comes_back();
    alice.finds_everybody();
    story.passes(60_000);
    let world = story.world();
    let world = world.borrow();
    for (who, other) in [(&alice, &bob), (&bob, &alice)] {
        let desk = &world.nodes[who.node].disk.desk;
        assert!(desk.outbox.is_empty());
        let room = klatch_core::ids::RoomId::of_conversation(&world.nodes[other.node].identity);
        assert!(desk.get(&room, &lost).is_none_or(|r| r.content.is_none()));
    }
    drop(world);
    assert!(bob.letters(&alice).iter().any(|m| m.text == "and more"));
}

#[test]
fn who_is_blocked_learns_nothing_and_nothing_is_stored() {
    let (story, [alice, bob]) = two();
    alice.writes("@bob", "buy this");
    story.passes(500);
    bob.must(Command::BlockContact { who: bob.whom("@alice"), blocked: true });
    let second = alice.writes("@bob", "buy that");
    story.passes(60_000);
    assert_eq!(alice.letter_state(&bob, second), Delivery::Queued);
    bob.sees_of(&alice, &["alice: buy this"]);
    let refused = bob.tries(Command::SendMessage {
        room: bob.place("@alice"),
        text: "no".into(),
        reply_to: None,
    });
    assert!(matches!(refused, Err(CommandError::BlockedPerson { .. })));
    bob.must(Command::BlockContact { who: bob.whom("@alice"), blocked: false });
    story.passes(3_600_000);
    assert_eq!(alice.letter_state(&bob, second), DELIVERED);
}

#[test]
fn who_is_unblocked_is_no_more_than_they_were() {
    let (story, [alice, bob]) = two();
    let standing = |of: &Person, whom: &Person| {
        let world = story.world();
        let identity = world.borrow().nodes[whom.node].identity;
        let contacts = &world.borrow().nodes[of.node].disk.desk.contacts;
        contacts.values().find(|c| c.identity == identity).map(|c| c.standing)
    };
    let block = |blocked| Command::BlockContact { who: bob.whom("@alice"), blocked };
    // Nobody who is kept.
    bob.must(block(false));
    assert_eq!(standing(&bob, &alice), None, "who was not blocked is not taken in either");
    bob.must(block(true));
    assert_eq!(standing(&bob, &alice), Some(Standing::Blocked));
    bob.must(block(false));
    assert_eq!(standing(&bob, &alice), None);
    // A stranger who wrote.
    alice.writes("@bob", "buy this");
    story.passes(500);
    bob.must(block(true));
    bob.must(block(false));
    assert_eq!(standing(&bob, &alice), Some(Standing::Requested));
    bob.sees_of(&alice, &["alice: buy this"]);
    // Somebody who was answered.
    bob.writes("@alice", "what is it?");
    bob.must(block(true));
    bob.must(block(false));
    assert_eq!(standing(&bob, &alice), Some(Standing::Accepted));
}

#[test]
fn a_stranger_is_not_unblocked_beyond_the_requests_that_may_wait() {
    let mut snapshot = Snapshot { name: "alice".to_owned(), ..Snapshot::default() };
    let who = |n: usize| {
        let mut bytes = [7; 32];
        bytes[..2].copy_from_slice(&u16::try_from(n).unwrap().to_be_bytes());
        IdentityId(bytes)
    };
    // As many as may wait, and one who is blocked; all have written once.
    for n in 0..=REQUESTS_MAX {
        let (identity, room) = (who(n), RoomId::of_conversation(&who(n)));
        snapshot.direct.contacts.push(ContactRow {
            identity,
            room,
            claimed: format!("stranger {n}"),
            petname: None,
            standing: if n == 0 { Standing::Blocked } else { Standing::Requested },
            verified: None,
            keys: Vec::new(),
            read_upto: 0,
            since_ms: NOW,
        });
        snapshot.direct.index.push(DirectIndexRow {
            room,
            id: EntryId([3; 16]),
            journal: n as u64 + 1,
            own: false,
            seq: 0,
            kind: Kind::Text.code(),
            eff: 1,
            lamport: 1,
            state: None,
            deleted: false,
        });
    }
    let keys = Keys::from_seeds(&[2; 32], &[3; 32], NOW);
    let (me, mut rng) = (Peer(vec![1; 38]), Seeded::new(1, 1));
    let mut machine = Machine::open(keys, me, Process([9; 16]), snapshot, NOW);
    let mut asks = |command| {
        let mut step = machine.handle(NOW, &mut rng, Input::Command { id: 1, command });
        step.absorb(machine.handle(NOW, &mut rng, Input::BatchEnd));
        step.replies.pop().unwrap().1
    };
    let unblock = Command::BlockContact { who: who(0), blocked: false };
    let refused = asks(unblock.clone()).unwrap_err();
    assert_eq!(refused, CommandError::TooManyRequests { waiting: REQUESTS_MAX as u64 });
    asks(Command::BlockContact { who: who(1), blocked: true }).unwrap();
    asks(unblock).unwrap();
}

#[test]
fn a_stranger_is_heard_thirty_two_times() {
    let (story, [alice, bob]) = two();
    let sent: Vec<_> = (0..40).map(|i| alice.writes("@bob", &format!("hey {i}"))).collect();
    story.passes(600_000);
    assert_eq!(bob.letters(&alice).len(), 32);
    assert_eq!(sent.iter().filter(|id| alice.letter_state(&bob, **id) == DELIVERED).count(), 32);
    bob.accepts("@alice");
    story.passes(3_600_000);
    assert_eq!(bob.letters(&alice).len(), 40);
}

#[test]
fn a_stranger_is_not_heard_at_any_length() {
    let (story, [alice, bob]) = two();
    let fits = alice.writes("@bob", &"a".repeat(8_000));
    let long = alice.writes("@bob", &"b".repeat(60_000));
    story.passes(60_000);
    assert_eq!(alice.letter_state(&bob, fits), DELIVERED);
    assert_eq!(alice.letter_state(&bob, long), Delivery::Queued);
    assert_eq!(bob.letters(&alice).len(), 1);
    bob.accepts("@alice");
    story.passes(3_600_000);
    assert_eq!(alice.letter_state(&bob, long), DELIVERED, "a friend may be as long as anybody");
}

#[test]
fn codes_are_equal_on_both_sides_and_other_keys_are_noticed() {
    let (story, [alice, bob]) = two();
    let none = alice.tries(Command::VerifyContact { who: alice.whom("@bob"), verified: true });
    assert!(matches!(none, Err(CommandError::NoKeysYet { .. })), "{none:?}");
    alice.writes("@bob", "hello");
    story.passes(500);
    bob.writes("@alice", "hello");
    story.passes(500);
    assert!(alice.code(&bob).is_some());
    assert_eq!(alice.code(&bob), bob.code(&alice));
    alice.must(Command::VerifyContact { who: alice.whom("@bob"), verified: true });
    assert!(alice.contact(&bob).unwrap().verified.is_some());

    bob.loses_keys();
    alice.writes("@bob", "still you?");
    story.passes(20_000);
    bob.sees_of(&alice, &["alice: hello", "bob: hello", "alice: still you?"]);
    assert!(alice.news_of(&bob).contains(&ContactNews::KeysChanged));
    assert!(alice.news_of(&bob).contains(&ContactNews::SessionReset));
    let identity = bob.identity();
    assert!(story.world().borrow().nodes[alice.node].people.changed.contains(&identity));
    assert_eq!(alice.code(&bob), bob.code(&alice), "the new keys can be compared again");
}

#[test]
fn both_may_begin_at_once() {
    let (story, [alice, bob]) = two();
    let (to_bob, to_alice) = (alice.place("@bob"), bob.place("@alice"));
    let (a, b) = {
        let world = story.world();
        let mut w = world.borrow_mut();
        let say = |to: Place, text: &str| Command::SendMessage {
            room: to,
            text: text.into(),
            reply_to: None,
        };
        (
            w.order(alice.node, say(to_bob, "from alice")),
            w.order(bob.node, say(to_alice, "from bob")),
        )
    };
    story.passes(1_000);
    for (person, command) in [(&alice, a), (&bob, b)] {
        let reply = person.world().borrow_mut().nodes[person.node].replies.remove(&command);
        assert!(matches!(reply, Some(Ok(Reply::Stored { .. }))));
    }
    for _ in 0..3 {
        alice.writes("@bob", "more from alice");
        bob.writes("@alice", "more from bob");
        story.passes(300);
    }
    assert_eq!(alice.letters(&bob).len(), 8);
    assert_eq!(bob.letters(&alice).len(), 8);
    assert!(alice.letters(&bob).iter().filter(|m| m.own).all(|m| m.state == Some(DELIVERED)));
    assert!(!alice.news_of(&bob).contains(&ContactNews::SessionReset));
    assert_eq!(alice.standing(&bob), Some(Standing::Accepted));
}

#[test]
fn receipts_and_typing_are_told_only_if_allowed() {
    let (story, [alice, bob]) = two();
    let hello = alice.writes("@bob", "hello");
    story.passes(500);
    bob.writes("@alice", "hello");
    story.passes(500);
    let read = |who: &Person| {
        let upto = story.world().borrow().nodes[who.node].disk.journal;
        let room = who.place(if who.node == bob.node { "@alice" } else { "@bob" });
        who.must(Command::MarkRead { room, upto });
        who.must(Command::Typing { room, typing: true });
        story.passes(500);
    };
    read(&bob);
    assert_eq!(alice.letter_state(&bob, hello), DELIVERED);
    bob.must(Command::SetPrivacy { receipts: Some(true), typing: Some(true) });
    let more = alice.writes("@bob", "more");
    story.passes(500);
    read(&bob);
    assert_eq!(alice.letter_state(&bob, hello), Delivery::Read);
    assert_eq!(alice.letter_state(&bob, more), Delivery::Read);
    let typing = |e: &Event| matches!(e, Event::Typing { typing: true, name, .. } if name == "bob");
    story.passes(1_000);
    assert!(alice.was_told().iter().any(typing));
    read(&alice);
    assert!(!bob.was_told().iter().any(|e| matches!(e, Event::Typing { .. })));
    assert_eq!(alice.letters(&bob).iter().filter(|m| m.kind == Kind::Text).count(), 3);
}

#[test]
fn somebody_else_under_a_verified_name_is_noticed() {
    let story = Story::of(["alice", "bob", "bob"]);
    let [alice, bob, other] = story.people();
    [&alice, &bob, &other].into_iter().for_each(|p| {
        p.joins("#garden");
    });
    story.settles();
    let ambiguous = alice.finds("@bob");
    assert!(matches!(ambiguous, Err(CommandError::AmbiguousPerson { .. })));
    let known = alice.conversation(&bob).to_string();
    alice.writes(&known, "is it you?");
    story.passes(500);
    alice.must(Command::VerifyContact { who: bob.identity(), verified: true });
    other.writes("@alice", "it is me, bob");
    story.passes(500);
    assert_eq!(alice.news_of(&other), [ContactNews::Requested, ContactNews::Impersonated]);
    other.writes("@alice", "really");
    story.passes(500);
    assert_eq!(alice.news_of(&other).len(), 2);
}

#[test]
fn what_is_never_delivered_is_given_up_after_a_month() {
    let (story, [alice, bob]) = two();
    alice.writes("@bob", "first");
    story.passes(500);
    bob.goes_away();
    let lost = alice.writes("@bob", "are you there?");
    story.passes(29 * 86_400_000);
    assert_eq!(alice.letter_state(&bob, lost), Delivery::Queued);
    story.passes(2 * 86_400_000);
    assert_eq!(alice.letter_state(&bob, lost), Delivery::Failed);
    assert!(story.world().borrow().nodes[alice.node].disk.desk.outbox.is_empty());
}

#[test]
fn a_clock_that_jumps_by_a_month_gives_no_message_up() {
    const MONTH: i64 = 40 * 86_400_000;
    let (story, [alice, bob]) = two();
    alice.writes("@bob", "first");
    story.passes(500);
    bob.goes_away();
    let waiting = alice.writes("@bob", "are you there?");
    alice.has_clock_off_by(MONTH);
    story.passes(86_400_000);
    assert_eq!(alice.letter_state(&bob, waiting), Delivery::Queued);
    alice.goes_away();
    alice.comes_back();
    alice.has_clock_off_by(-MONTH);
    alice.has_clock_off_by(MONTH);
    story.passes(86_400_000);
    assert_eq!(alice.letter_state(&bob, waiting), Delivery::Queued);
    bob.comes_back();
    story.passes(1_000_000);
    assert_eq!(alice.letter_state(&bob, waiting), DELIVERED);
}

#[test]
fn a_wrong_clock_leaves_the_order_of_a_conversation_to_what_is_said() {
    const YEARS: i64 = 10 * 365 * 86_400_000;
    let (story, [alice, bob]) = two();
    bob.writes("@alice", "one");
    story.passes(500);
    alice.has_clock_off_by(YEARS);
    alice.writes("@bob", "two");
    story.passes(500);
    alice.has_clock_off_by(-YEARS);
    for n in ["three", "five"] {
        bob.writes("@alice", n);
        story.passes(500);
        alice.writes("@bob", if n == "three" { "four" } else { "six" });
        story.passes(500);
    }
    let lines = ["bob: one", "alice: two", "bob: three", "alice: four", "bob: five", "alice: six"];
    alice.sees_of(&bob, &lines);
    bob.sees_of(&alice, &lines);
    let now = bob.letters(&alice).last().map(|m| m.arrived_ms).unwrap_or_default();
    assert!(bob.letters(&alice).iter().all(|m| m.at_ms.abs_diff(now) < 60_000));
}

#[test]
fn names_that_are_not_clear_or_oneself_are_refused() {
    let (_, [alice, _]) = two();
    assert_eq!(alice.finds("@alice"), Err(CommandError::Yourself));
    assert_eq!(
        alice.finds("@bbo"),
        Err(CommandError::UnknownPerson { who: "bbo".into(), nearest: Some("bob".into()) })
    );
    let say = |room| Command::SendMessage { room, text: "hi".into(), reply_to: None };
    let own = alice.tries(say(Place::With(alice.identity())));
    assert_eq!(own, Err(CommandError::Yourself));
    let nobody = alice.tries(say(Place::With(IdentityId([7; 32]))));
    assert!(matches!(nobody, Err(CommandError::UnknownPerson { .. })));
    let notice = alice.tries(Command::SendNotice { room: alice.place("@bob"), text: "x".into() });
    assert_eq!(notice, Err(CommandError::WrongPlace { room: "@bob".into() }));
}

#[test]
fn a_contact_comes_before_somebody_of_the_same_name_who_was_only_met() {
    let story = Story::of(["alice", "bob", "Bob"]);
    let [alice, bob, other] = story.people();
    alice.joins("#garden");
    bob.joins("#garden");
    story.settles();
    alice.accepts("@bob");
    other.joins("#garden");
    story.settles();
    for name in ["@bob", "@Bob", "@BOB"] {
        assert_eq!(alice.whom(name), bob.identity(), "{name}");
    }
    // Nobody is guessed at by whoever has accepted neither.
    assert!(matches!(other.finds("@BOB"), Err(CommandError::AmbiguousPerson { .. })));
}

#[test]
fn a_name_that_looks_like_that_of_a_verified_person_is_noticed() {
    for double in ["Bob", "bob\u{3164}", "b\u{43e}b", "bob\u{2800}"] {
        let story = Story::of(["alice", "bob", double]);
        let [alice, bob, other] = story.people();
        [&alice, &bob, &other].into_iter().for_each(|p| {
            p.joins("#garden");
        });
        story.settles();
        alice.writes(&alice.conversation(&bob).to_string(), "is it you?");
        story.passes(500);
        alice.must(Command::VerifyContact { who: bob.identity(), verified: true });
        other.writes("@alice", "it is me, bob");
        story.passes(500);
        let news = alice.news_of(&other);
        assert_eq!(news, [ContactNews::Requested, ContactNews::Impersonated], "{double:?}");
    }
}

#[test]
fn who_is_away_for_long_takes_nobody_elses_space() {
    let story = Story::of(["alice", "bob", "carol"]);
    let [alice, bob, carol] = story.people();
    [&alice, &bob, &carol].into_iter().for_each(|p| {
        p.joins("#garden");
    });
    story.settles();
    // Strangers are not heard at any length.
    carol.accepts("@alice");
    bob.goes_away();
    carol.goes_away();
    let long = "x".repeat(60_000);
    let say = |who: &str| Command::SendMessage {
        room: alice.place(who),
        text: long.clone(),
        reply_to: None,
    };
    let refused = (0..1_000).find_map(|_| alice.tries(say("@bob")).err()).expect("it has an end");
    let CommandError::QueueFull { who, queued } = &refused else { panic!("{refused}") };
    assert!(who == "@bob" && *queued > 50, "{refused}");
    assert!(refused.hint().contains("klatch contact forget @bob"), "{}", refused.hint());
    alice.tries(say("@carol")).expect("carol has her own space");
    // What is given up takes none.
    alice.must(Command::ForgetContact { who: bob.identity() });
    alice.tries(say("@bob")).expect("bob has space again");
    carol.comes_back();
    story.passes(60_000);
    assert_eq!(carol.letters(&alice).len(), 1);
}
