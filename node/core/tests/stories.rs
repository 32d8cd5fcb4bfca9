//! What Klatch promises, told as stories with alice, bob and carol (and mallory, who has the keys
//! of every room and breaks rules). Real signatures and real sealing; only the network and the time
//! are simulated.

#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use klatch_core::command::Command;
use klatch_core::crypto::Verifier;
use klatch_core::error::CommandError;
use klatch_core::event::{Delivery, Event};
use klatch_core::sim::story::{Person, Story};

fn all_join<const N: usize>(people: [&Person; N]) {
    for person in people {
        person.joins("#garden");
    }
}

#[test]
fn an_absent_member_catches_up_from_anybody() {
    let story = Story::of(["alice", "bob", "carol"]);
    let [alice, bob, carol] = story.people();
    all_join([&alice, &bob, &carol]);
    alice.says("tomatoes are ripe");
    story.settles();
    carol.goes_away();
    let question = bob.says("who waters them?");
    story.passes(500);
    alice.replies(question, "I do");
    story.settles();

    // Only bob is there when carol comes back.
    alice.goes_away();
    carol.comes_back();
    carol.sees(&["alice: tomatoes are ripe", "bob: who waters them?", "alice: I do"]);
    assert_eq!(carol.timeline().last().unwrap().reply_to, Some(question));
}

#[test]
fn edits_deletes_and_reactions_reach_everybody_and_leave_no_text_behind() {
    let story = Story::of(["alice", "bob", "carol"]);
    let [alice, bob, carol] = story.people();
    all_join([&alice, &bob, &carol]);
    let typo = alice.says("tomatos");
    let secret = alice.says("the key is under the mat");
    story.settles();
    carol.goes_away();
    alice.edits(typo, "tomatoes");
    alice.deletes(secret);
    bob.reacts(typo, "🍅");
    bob.reacts(typo, "👎");
    bob.unreacts(typo, "👎");
    story.settles();
    carol.comes_back();
    for who in [&alice, &bob, &carol] {
        who.sees(&["alice: tomatoes (edited) 🍅1", "alice: (withdrawn)"]);
        let world = story.world();
        let world = world.borrow();
        let room = world.nodes[who.node].disk.rooms.values().next().unwrap();
        assert!(
            room.entry(&secret).unwrap().entry.body.is_none(),
            "the sealed text is gone as well"
        );
    }
    let refused = bob.tries(Command::EditMessage {
        room: bob.place("#garden"),
        message: typo,
        text: "mine".into(),
    });
    assert_eq!(refused, Err(CommandError::NotYours));
}

#[test]
fn two_rooms_do_not_mix() {
    let story = Story::of(["alice", "bob", "carol"]);
    let [alice, bob, carol] = story.people();
    alice.joins("#garden");
    alice.joins("#kitchen");
    bob.joins("#garden");
    carol.joins("#kitchen");
    alice.says_in("#garden", "about flowers");
    alice.says_in("#kitchen", "about soup");
    story.settles();
    bob.sees_in("#garden", &["alice: about flowers"]);
    bob.sees_in("#kitchen", &[]);
    carol.sees_in("#kitchen", &["alice: about soup"]);
    carol.sees_in("#garden", &[]);
    assert_eq!(bob.times_told("about soup"), 0);
}

#[test]
fn a_passphrase_room_cannot_be_read_by_who_only_knows_its_name() {
    let story = Story::of(["alice", "bob", "eve"]);
    let [alice, bob, eve] = story.people();
    let room = alice.joins_with("#garden", "only for us");
    bob.joins_with("#garden", "only for us");
    let other = eve.joins("#garden");
    assert_ne!(room, other, "another room of the same name");
    alice.says("the party is on friday");
    story.settles();
    bob.sees(&["alice: the party is on friday"]);
    eve.sees(&[]);

    // Even what eve could record on the way does not open under the keys that the name alone gives.
    let world = story.world();
    let world = world.borrow();
    let (theirs, hers) = (&world.places[0].keys, &world.places[1].keys);
    let entry = world.nodes[alice.node].disk.rooms[&room].entries.last().unwrap().entry.clone();
    assert!(theirs.open(&entry).is_ok());
    assert!(hers.open(&entry).is_err());
    let envelope = klatch_core::wire::envelope_of_run(theirs, 0, [0; 24], &[entry]);
    assert!(
        klatch_core::wire::open_envelope(hers, &envelope, true, &mut Verifier::default()).is_err()
    );
}

#[test]
fn a_message_is_queued_then_sent_then_delivered_to_each() {
    let story = Story::of(["alice", "bob", "carol"]);
    let [alice, bob, carol] = story.people();
    all_join([&alice, &bob, &carol]);
    alice.says("hello");
    story.settles();

    let message = alice.says("are you there?");
    assert_eq!(
        alice.state_of(message),
        Delivery::Sent,
        "on a link, nobody has said that it is on a disk"
    );
    story.passes(400);
    assert_eq!(alice.state_of(message), Delivery::Delivered { n: 2, m: 2 });

    bob.goes_away();
    carol.goes_away();
    story.passes(5_000);
    let later = alice.says("nobody here?");
    assert_eq!(alice.state_of(later), Delivery::Queued);
    bob.comes_back();
    story.passes(5_000);
    assert_eq!(alice.state_of(later), Delivery::Delivered { n: 1, m: 2 });
    carol.comes_back();
    story.passes(5_000);
    assert_eq!(alice.state_of(later), Delivery::Delivered { n: 2, m: 2 });
}

#[test]
fn a_link_that_ends_before_the_acknowledgement_puts_the_message_back_into_the_queue() {
    let story = Story::of(["alice", "bob"]);
    let [alice, bob] = story.people();
    all_join([&alice, &bob]);
    alice.says("hello");
    story.settles();
    let message = alice.says("did you get that?");
    assert_eq!(alice.state_of(message), Delivery::Sent);
    alice.loses(&bob);
    assert_eq!(alice.state_of(message), Delivery::Queued, "bytes on a dead link prove nothing");
    alice.finds_everybody();
    story.settles();
    assert_eq!(alice.state_of(message), Delivery::Delivered { n: 1, m: 1 });
    assert_eq!(bob.times_told("did you get that?"), 1);
}

#[test]
fn a_fork_is_found_proved_and_shown_and_parts_nobody() {
    let story = Story::with_mallory(["alice", "bob"]);
    let [alice, bob] = story.people();
    all_join([&alice, &bob]);
    story.mallory(|world| world.write_as_attacker(0, 0, true));
    story.settles();

    // Alice gets one version, bob the other, before they can compare.
    alice.loses(&bob);
    story.mallory(|world| world.fork(0));
    story.passes(1_000);
    alice.says("after one branch");
    bob.says("after the other");
    story.passes(1_000);
    alice.finds_everybody();
    story.settles();
    story.settles();

    let mallory = story.mallorys_device();
    for who in [&alice, &bob] {
        let told = who.was_told();
        assert!(
            told.iter().any(|e| matches!(e, Event::ForkFound { device, .. } if *device == mallory)),
            "shown"
        );
        let world = story.world();
        let world = world.borrow();
        let room = world.nodes[who.node].disk.rooms.values().next().unwrap();
        assert!(room.forks.contains_key(&mallory), "proved");
        assert_eq!(room.devices[&mallory].forked, Some(1), "where");
    }
    let honest = |lines: Vec<String>| {
        lines.into_iter().filter(|l| !l.starts_with("mallory")).collect::<Vec<_>>()
    };
    for who in [&alice, &bob] {
        let mut lines = honest(who.reads("#garden"));
        lines.sort();
        assert_eq!(lines, ["alice: after one branch", "bob: after the other"]);
    }
}

#[test]
fn a_restored_backup_reads_on_but_refuses_to_write() {
    let story = Story::of(["alice", "bob"]);
    let [alice, bob] = story.people();
    all_join([&alice, &bob]);
    bob.says("one");
    story.settles();
    let backup = bob.backs_up();
    bob.says("two");
    alice.says("three");
    bob.says("four");
    story.settles();

    bob.restores(&backup);
    story.settles();
    bob.sees(&["bob: one", "bob: two", "alice: three", "bob: four"]);
    let text =
        || Command::SendMessage { room: bob.place("#garden"), text: "five".into(), reply_to: None };
    assert_eq!(bob.tries(text()), Err(CommandError::DeviceBehind), "it would fork its own chain");
    bob.goes_away();
    bob.comes_back();
    assert_eq!(bob.tries(text()), Err(CommandError::DeviceBehind), "also after a restart");
    alice.says("still here");
    story.settles();
    assert_eq!(bob.reads("#garden").last().unwrap(), "alice: still here");
}

#[test]
fn what_a_restored_profile_wrote_alone_is_with_nobody() {
    let story = Story::of(["alice", "bob"]);
    let [alice, bob] = story.people();
    all_join([&alice, &bob]);
    bob.says("one");
    story.settles();
    let backup = bob.backs_up();
    for text in ["two", "three", "four"] {
        bob.says(text);
    }
    story.settles();
    bob.loses(&alice);
    bob.restores(&backup);
    let alone = bob.says("transfer approved");
    story.passes(1_000);
    bob.finds_everybody();
    story.settles();
    assert!(
        !matches!(bob.state_of(alone), Delivery::Delivered { .. }),
        "alice has another message in that place: {:?}",
        bob.state_of(alone)
    );
    let text =
        || Command::SendMessage { room: bob.place("#garden"), text: "five".into(), reply_to: None };
    assert_eq!(bob.tries(text()), Err(CommandError::DeviceBehind), "and he learns of it");
}

#[test]
fn a_stranger_cannot_make_a_device_seem_restored() {
    let story = Story::with_mallory(["alice", "bob"]);
    let [alice, bob] = story.people();
    all_join([&alice, &bob]);
    bob.says("one");
    story.settles();
    story.mallory(|w| w.attack_with_beacon(0));
    story.settles();
    bob.says("two");
    story.settles();
    alice.sees(&["bob: one", "bob: two"]);
}

#[test]
fn who_passes_on_what_breaks_a_rule_is_not_blamed() {
    let story = Story::with_mallory(["alice", "bob"]);
    let [alice, bob] = story.people();
    all_join([&alice, &bob]);
    for _ in 0..8 {
        story.mallory(|w| w.break_a_rule_between(0, 1, 0));
        story.passes(500);
    }
    alice.says("still friends");
    story.passes(1_000);
    bob.sees(&["alice: still friends"]);
}

#[test]
fn who_passes_on_more_than_fits_is_not_blamed() {
    let story = Story::with_mallory(["alice", "bob"]);
    let [alice, bob] = story.people();
    all_join([&alice, &bob]);
    bob.loses(&alice);
    story.mallory(|w| w.keep_waiting(0, 1, 10, 256));
    story.passes(500);
    bob.finds_everybody();
    story.mallory(|w| w.keep_waiting(0, 0, 1_000, 120));
    story.passes(1_000);
    alice.says("still friends");
    story.passes(1_000);
    bob.sees(&["alice: still friends"]);
}

#[test]
fn what_was_said_over_a_former_connection_is_said_again() {
    let story = Story::of(["alice", "bob"]);
    let [alice, bob] = story.people();
    all_join([&alice, &bob]);
    story.settles();
    // The connection dies; alice notices at once and dials again, bob holds the dead one until he
    // has looked.
    alice.holds_a_dead_connection_to(&bob);
    let message = alice.says("into the void");
    story.passes(4_000);
    assert_eq!(alice.state_of(message), Delivery::Delivered { n: 1, m: 1 });
    bob.sees(&["alice: into the void"]);
}

#[test]
fn what_is_replayed_or_spelled_differently_is_shown_once() {
    let story = Story::with_mallory(["alice", "bob"]);
    let [alice, bob] = story.people();
    all_join([&alice, &bob]);
    alice.says("only once");
    story.passes(1_000);
    for pause in [1_000, 61_000, 200_000] {
        story.mallory(|world| world.replay_everything(0));
        story.passes(pause);
    }
    bob.goes_away();
    bob.comes_back();
    story.mallory(|world| world.replay_everything(0));
    story.settles();
    bob.sees(&["alice: only once"]);
    assert_eq!(bob.times_told("only once"), 1);
}

#[test]
fn a_flooder_is_slowed_down_and_nobody_else_is() {
    let story = Story::with_mallory(["alice", "bob"]);
    let [alice, bob] = story.people();
    let room = alice.joins("#garden");
    bob.joins("#garden");
    story.settles();
    story.mallory(|world| world.flood_with_texts(0, 320));
    let message = alice.says("can you hear me?");
    story.passes(1_000);
    assert_eq!(alice.state_of(message), Delivery::Delivered { n: 1, m: 1 });
    let mallory = story.mallorys_device();
    let world = story.world();
    let world = world.borrow();
    let stored = world.nodes[bob.node].disk.rooms[&room].chain_len(&mallory);
    assert!(stored <= 20_064, "the burst, and not more: {stored}");
    assert!(world.nodes[bob.node].machine.as_ref().unwrap().rooms().all(|r| r.within_bounds()));
}

#[test]
fn a_full_disk_budget_keeps_the_headers_and_says_so() {
    let story = Story::of(["alice", "bob"]);
    let [alice, bob] = story.people();
    all_join([&alice, &bob]);
    bob.has_disk_of(3_000);
    alice.says("small");
    for _ in 0..4 {
        alice.says(&"x".repeat(600));
    }
    story.settles();
    let lines = bob.reads("#garden");
    assert_eq!(lines.len(), 5, "nothing is lost, only texts are not stored");
    assert_eq!(lines[0], "alice: small");
    assert_eq!(lines[4], "alice: (not stored)");
    assert!(bob.was_told().iter().any(|e| matches!(e, Event::DiskBudgetReached { .. })));
    assert_eq!(
        alice.state_of(alice.timeline().last().unwrap().id),
        Delivery::Delivered { n: 1, m: 1 }
    );
}

#[test]
fn a_muted_device_is_hidden_here_and_only_here() {
    let story = Story::of(["alice", "bob", "carol"]);
    let [alice, bob, carol] = story.people();
    all_join([&alice, &bob, &carol]);
    story.settles();
    bob.mutes(carol.device());
    carol.says("buy my book");
    alice.says("hello");
    story.settles();
    bob.sees(&["alice: hello"]);
    assert_eq!(bob.times_told("buy my book"), 0);
    alice.sees(&["carol: buy my book", "alice: hello"]);
    bob.goes_away();
    bob.comes_back();
    bob.sees(&["alice: hello"]);
}

#[test]
fn two_rooms_of_one_name_are_never_guessed_at() {
    for open_first in [true, false] {
        let story = Story::of(["alice", "bob"]);
        let [alice, bob] = story.people();
        let (first, second) = if open_first { ("", "secret") } else { ("secret", "") };
        let ids = [alice.joins_with("#mix", first), alice.joins_with("#mix", second)];
        bob.joins("#mix");
        let refused = alice.finds("#mix");
        let Err(CommandError::AmbiguousRoom { candidates, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert!(ids.iter().all(|id| candidates.iter().any(|c| c.contains(&id.to_string()))));
        for id in ids {
            alice.says_in(&id.to_string(), "to this one only");
            story.settles();
        }
        assert_eq!(bob.reads("#mix"), ["alice: to this one only"]);
    }
}

#[test]
fn a_room_named_like_the_id_of_another_does_not_take_its_place() {
    let story = Story::of(["alice", "bob"]);
    let [alice, bob] = story.people();
    let secret = alice.joins_with("#plans", "secret");
    // As from before such names were refused; the story's rooms are not normalised.
    let thief = alice.joins(&format!("#{secret}"));
    bob.joins(&format!("#{secret}"));
    story.settles();
    alice.says_in(&secret.to_string(), "for us only");
    story.settles();
    assert_eq!(bob.reads(&format!("#{secret}")), Vec::<String>::new());
    assert_ne!(secret, thief);
}

/// Milliseconds until a newcomer has 200 messages in pages of ten from the only member, beside
/// strangers who follow the room and never answer.
fn catching_up_beside(strangers: usize) -> u64 {
    let story = Story::with_strangers(["alice", "bob"], strangers);
    let [alice, bob] = story.people();
    story.world().borrow_mut().plan.page_entries = 10;
    alice.joins("#garden");
    for i in 0..200 {
        alice.says(&format!("line {i}"));
    }
    story.settles();
    let begun = story.world().borrow().now;
    bob.joins("#garden");
    while bob.reads("#garden").len() < 200 {
        story.passes(50);
        assert!(story.world().borrow().now - begun < 600_000, "beside {strangers} strangers");
    }
    let now = story.world().borrow().now;
    now - begun
}

#[test]
fn strangers_who_never_answer_do_not_slow_a_newcomer_down() {
    let alone = catching_up_beside(0);
    let beside = catching_up_beside(47);
    assert!(beside <= 2 * alone, "{beside} ms instead of {alone}");
}

/// Whether 300 messages have left after 6 s, beside a member who acknowledges one every 1.9 s.
fn all_leave_beside_a_slow_member() -> bool {
    let story = Story::with_mallory(["alice", "bob"]);
    let [alice, bob] = story.people();
    all_join([&alice, &bob]);
    story.mallory(|w| w.write_as_attacker(0, 0, true));
    story.mallory(|w| w.say_hello_as_attacker(0, alice.node));
    story.settles();
    let room = alice.place("#garden");
    for i in 0..300 {
        let text = format!("line {i}");
        let say = Command::SendMessage { room, text, reply_to: None };
        story.world().borrow_mut().order(alice.node, say);
    }
    story.passes(500);
    // Always one entry further, before patience would end: the first is the profile.
    for seq in 1..4 {
        story.mallory(|w| w.acknowledge_as_attacker(0, alice.node, seq));
        story.passes(1_900);
    }
    let world = story.world();
    let world = world.borrow();
    let machine = world.nodes[alice.node].machine.as_ref().unwrap();
    machine.rooms().all(klatch_core::room::Room::is_idle)
}

#[test]
fn a_member_who_acknowledges_slowly_holds_up_nobody() {
    assert!(all_leave_beside_a_slow_member());
    #[cfg(feature = "faults")]
    {
        use klatch_core::sim::faults::{Fault, plant};
        plant(Some(Fault::PatienceRenewed));
        assert!(!all_leave_beside_a_slow_member(), "the story would notice");
        plant(None);
    }
}

/// Envelopes on links while one beacon of mallory, who is nobody's neighbour but alice's, is sealed
/// anew 500 times.
fn envelopes_of_one_beacon() -> u64 {
    let story = Story::with_mallory(["alice", "bob", "carol"]);
    let [alice, bob, carol] = story.people();
    all_join([&alice, &bob, &carol]);
    story.mallory(|w| w.write_as_attacker(0, 0, true));
    // Not everybody is connected with everybody: who hears something passes it on.
    story.mallory(|w| w.say_hello_as_attacker(0, alice.node));
    story.settles();
    let before = story.world().borrow().quality.envelopes;
    for _ in 0..500 {
        story.mallory(|w| w.attack_with_beacon(0));
        story.passes(2);
    }
    let now = story.world().borrow().quality.envelopes;
    // Its own way to the three does not count.
    now - before - 3 * 500
}

#[test]
fn a_beacon_sealed_again_and_again_is_not_passed_on() {
    let few = envelopes_of_one_beacon();
    assert!(few < 50, "{few} envelopes");
    #[cfg(feature = "faults")]
    {
        use klatch_core::sim::faults::{Fault, plant};
        plant(Some(Fault::EveryBeaconPassed));
        assert!(envelopes_of_one_beacon() > 400, "the story would notice");
        plant(None);
    }
}
