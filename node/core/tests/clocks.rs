//! Clocks that are wrong, told as stories: they drag nobody with them, and spoil no time afterwards.

#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use klatch_core::sim::story::{Person, Story};

fn all_join<const N: usize>(people: [&Person; N]) {
    for person in people {
        person.joins("#garden");
    }
}

#[test]
fn a_clock_a_day_ahead_drags_nobody_and_does_not_stay_on_top() {
    const DAY: i64 = 86_400_000;
    let story = Story::of(["alice", "bob", "carol"]);
    let [alice, bob, carol] = story.people();
    all_join([&alice, &bob, &carol]);
    story.settles();
    carol.has_clock_off_by(DAY);
    carol.says("greetings from tomorrow");
    story.settles();
    alice.says("what day is it?");
    story.settles();
    bob.says("today");
    story.settles();
    for who in [&alice, &bob, &carol] {
        who.sees(&["carol: greetings from tomorrow", "alice: what day is it?", "bob: today"]);
    }
    let world = story.world();
    let world = world.borrow();
    let alices = world.nodes[alice.node].device;
    let room = world.nodes[alice.node].disk.rooms.values().next().unwrap();
    let hers = room.entries.iter().rfind(|e| e.device == alices).unwrap();
    let ahead = klatch_core::log::entry::hlc_ms(hers.hlc).saturating_sub(hers.arrived_ms);
    assert!(
        ahead <= klatch_core::limits::CLOCK_AHEAD_MS_MAX,
        "her own clock stays hers: {ahead} ms ahead"
    );
}

#[test]
fn a_clock_that_was_ten_years_ahead_once_spoils_no_time_afterwards() {
    const YEARS: u64 = 10 * 365 * 86_400_000;
    let story = Story::of(["alice", "bob", "carol"]);
    let [alice, bob, carol] = story.people();
    all_join([&alice, &bob]);
    story.settles();
    bob.says("before");
    story.settles();
    alice.has_clock_off_by(YEARS.cast_signed());
    alice.says("greetings from the future");
    story.settles();
    alice.has_clock_off_by(-YEARS.cast_signed());
    story.passes(600_000);
    alice.says("my clock is right again");
    story.settles();
    bob.says("good");
    story.settles();
    story.passes(600_000);
    carol.joins("#garden");
    story.settles();
    for who in [&alice, &bob, &carol] {
        let at = times_of(&story, who);
        let [before, future, right, good] = at[..] else { panic!("{} lines", at.len()) };
        let minutes = |from: u64, to: u64| (to - from) / 60_000;
        assert!((10..20).contains(&minutes(before, right)), "{at:?}");
        assert!((10..20).contains(&minutes(before, good)), "{at:?}");
        if who.node != alice.node {
            assert!(before <= future && future <= right, "{at:?}");
        }
    }
}

#[test]
fn a_clock_that_was_never_set_shows_when_its_messages_came() {
    let story = Story::of(["alice", "bob"]);
    let [alice, bob] = story.people();
    all_join([&alice, &bob]);
    story.settles();
    bob.says("question");
    story.settles();
    alice.has_clock_off_by(-(56 * 365 * 86_400_000));
    story.passes(60_000);
    alice.says("answer from 1970");
    story.settles();
    let at = times_of(&story, &bob);
    assert!((60_000..300_000).contains(&(at[1] - at[0])), "{at:?}");
    let seen = times_of(&story, &alice);
    assert!(seen[1] >= seen[0], "an answer is never before its question");
}

/// The times that the texts of the room show, in order, on this person's disk.
fn times_of(story: &Story, who: &Person) -> Vec<u64> {
    let world = story.world();
    let world = world.borrow();
    let room = world.nodes[who.node].disk.rooms.values().next().unwrap();
    let text = klatch_core::content::Kind::Text.code();
    let mut rows: Vec<_> = room.entries.iter().filter(|e| e.kind == text).collect();
    rows.sort_by_key(|row| klatch_core::room::timeline::display_key(row));
    rows.iter().map(|row| row.shown_ms).collect()
}
