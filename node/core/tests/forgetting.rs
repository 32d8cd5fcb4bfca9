//! Stories of rooms that are forgotten and opened again: nothing is left of them, and nobody's
//! history forks.

#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use klatch_core::command::Command;
use klatch_core::error::CommandError;
use klatch_core::event::Event;
use klatch_core::sim::story::{Person, Story};

const ROOM: &str = "#garden";

fn all_join<const N: usize>(people: [&Person; N]) {
    for person in people {
        person.joins(ROOM);
    }
}

fn forgets(person: &Person) {
    person.tries(Command::ForgetRoom { room: person.place(ROOM) }).expect("it is forgotten");
    assert!(person.finds(ROOM).is_err(), "not even its name is known");
    assert!(person.backs_up().rooms.is_empty());
}

fn text(person: &Person, text: &str) -> Command {
    Command::SendMessage { room: person.place(ROOM), text: text.into(), reply_to: None }
}

/// What nobody has was never said: its places in the chain are used again, which the world is to
/// know.
fn may_use_places_again(story: &Story, person: &Person) {
    let device = person.device();
    story.world().borrow_mut().ledger.restored.insert(device);
}

fn saw_a_fork(person: &Person) -> bool {
    person.was_told().iter().any(|e| matches!(e, Event::ForkFound { .. }))
}

#[test]
fn who_forgets_a_room_and_comes_back_goes_on_where_they_had_stopped() {
    let story = Story::of(["alice", "bob"]);
    let [alice, bob] = story.people();
    all_join([&alice, &bob]);
    bob.says("one");
    alice.says("two");
    story.settles();
    forgets(&bob);
    story.passes(1_000);
    alice.goes_away();
    // Without anybody there, bob does not know how far he had come.
    bob.joins(ROOM);
    let early = bob.tries(text(&bob, "too early"));
    assert_eq!(early, Err(CommandError::NotBackYet { room: ROOM.into() }));
    bob.goes_away();
    bob.comes_back();
    let early = bob.tries(text(&bob, "still too early"));
    assert_eq!(early, Err(CommandError::NotBackYet { room: ROOM.into() }), "after a restart, too");
    alice.comes_back();
    story.settles();
    bob.says("three");
    story.settles();
    let lines = ["bob: one", "alice: two", "bob: three"];
    alice.sees(&lines);
    bob.sees(&lines);
    assert!(!saw_a_fork(&alice) && !saw_a_fork(&bob));
    assert!(bob.backs_up().former.is_empty(), "nothing is waited for any more");
}

#[test]
fn what_nobody_has_is_lost_with_the_room_and_does_not_hold_up_who_comes_back() {
    let story = Story::of(["alice", "bob"]);
    let [alice, bob] = story.people();
    all_join([&alice, &bob]);
    bob.says("heard");
    story.settles();
    alice.goes_away();
    story.passes(1_000);
    bob.says("heard by nobody");
    may_use_places_again(&story, &bob);
    forgets(&bob);
    bob.joins(ROOM);
    alice.comes_back();
    story.settles();
    bob.says("again");
    story.settles();
    alice.sees(&["bob: heard", "bob: again"]);
    bob.sees(&["bob: heard", "bob: again"]);
    assert!(!saw_a_fork(&alice) && !saw_a_fork(&bob));
}

#[test]
fn a_room_of_ones_own_is_begun_anew_at_once() {
    let story = Story::of(["alice"]);
    let [alice] = story.people();
    alice.joins(ROOM);
    alice.says("to nobody");
    may_use_places_again(&story, &alice);
    story.passes(1_000);
    forgets(&alice);
    alice.joins(ROOM);
    alice.says("anew");
    alice.sees(&["alice: anew"]);
}

#[test]
fn a_restored_profile_does_not_get_to_write_by_forgetting() {
    let story = Story::of(["alice", "bob"]);
    let [alice, bob] = story.people();
    all_join([&alice, &bob]);
    bob.says("one");
    story.settles();
    let backup = bob.backs_up();
    bob.says("two");
    story.settles();
    bob.restores(&backup);
    story.settles();
    assert_eq!(bob.tries(text(&bob, "three")), Err(CommandError::DeviceBehind));
    forgets(&bob);
    bob.joins(ROOM);
    story.settles();
    // Alice may not have all that bob wrote elsewhere.
    assert_eq!(bob.tries(text(&bob, "three")), Err(CommandError::DeviceBehind));
    bob.goes_away();
    bob.comes_back();
    story.settles();
    assert_eq!(bob.tries(text(&bob, "three")), Err(CommandError::DeviceBehind));
    bob.sees(&["bob: one", "bob: two"]);
}
