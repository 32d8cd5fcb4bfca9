//! Leaving, told as stories: the goodbye is heard, whatever is lost on its way (PROTOCOL.md 5.6).

#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use klatch_core::command::{Command, Reply};
use klatch_core::content::Kind;
use klatch_core::error::CommandError;
use klatch_core::sim::story::{Person, Story};

fn all_join<const N: usize>(people: [&Person; N]) {
    for person in people {
        person.joins("#garden");
    }
}

/// Whether bob has the goodbye of alice, whose first envelopes were lost.
fn a_goodbye_is_heard_in_the_end() -> bool {
    let story = Story::of(["alice", "bob"]);
    let [alice, bob] = story.people();
    all_join([&alice, &bob]);
    alice.says("so long");
    story.settles();
    let lose = |share| {
        let world = story.world();
        let mut world = world.borrow_mut();
        (world.plan.loss, world.faulty) = (share, share > 0);
    };
    lose(1_000);
    let room = alice.place("#garden");
    assert_eq!(alice.tries(Command::LeaveRoom { room }), Ok(Reply::Done));
    story.passes(300);
    lose(0);
    story.passes(1_500);
    {
        let world = story.world();
        let world = world.borrow();
        let machine = world.nodes[alice.node].machine.as_ref().unwrap();
        assert!(machine.rooms().all(|r| !r.is_followed()), "a farewell ends");
    }
    bob.timeline().iter().any(|m| m.kind == Kind::Leave)
}

#[test]
fn a_goodbye_that_was_lost_is_heard_all_the_same() {
    assert!(a_goodbye_is_heard_in_the_end());
    #[cfg(feature = "faults")]
    {
        use klatch_core::sim::faults::{Fault, plant};
        plant(Some(Fault::GoodbyeOnce));
        assert!(!a_goodbye_is_heard_in_the_end(), "the story would notice");
        plant(None);
    }
}

#[test]
fn a_farewell_outlives_a_disk_that_refuses_writes() {
    let story = Story::of(["alice", "bob"]);
    let [alice, bob] = story.people();
    all_join([&alice, &bob]);
    alice.joins("#lobby");
    alice.says("so long");
    story.settles();
    let goes_wrong = |loss, full| {
        let world = story.world();
        let mut world = world.borrow_mut();
        (world.plan.loss, world.plan.full) = (loss, full);
        world.faulty = loss + full > 0;
    };
    // Nobody hears the goodbye, so it goes on while something else is to be written.
    goes_wrong(1_000, 0);
    let room = alice.place("#garden");
    assert_eq!(alice.tries(Command::LeaveRoom { room }), Ok(Reply::Done));
    story.passes(300);
    goes_wrong(1_000, 1_000);
    let text = "here now".to_owned();
    let elsewhere = alice.place("#lobby");
    let refused = alice.tries(Command::SendMessage { room: elsewhere, text, reply_to: None });
    assert!(matches!(refused, Err(CommandError::ReadOnly { .. })), "{refused:?}");
    goes_wrong(0, 0);
    let world = story.world();
    story.passes(60_000);
    let world = world.borrow();
    let followed = &world.nodes[alice.node].subscribed;
    assert_eq!(followed.len(), 1, "nobody tells any more what is said in a room that was left");
}

#[test]
fn who_leaves_and_comes_back_has_missed_nothing() {
    let story = Story::of(["alice", "bob", "carol"]);
    let [alice, bob, carol] = story.people();
    all_join([&alice, &bob, &carol]);
    alice.says("one");
    story.settles();
    carol.leaves();
    bob.says("two");
    story.settles();
    carol.sees_in("#garden", &["alice: one"]);
    let refused = carol.tries(Command::SendMessage {
        room: carol.place("#garden"),
        text: "hm".into(),
        reply_to: None,
    });
    assert!(matches!(refused, Err(CommandError::UnknownRoom { .. })));
    carol.joins("#garden");
    carol.says("three");
    story.settles();
    for who in [&alice, &bob, &carol] {
        who.sees(&["alice: one", "bob: two", "carol: three"]);
    }
}
