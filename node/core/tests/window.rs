//! What waits for the window, and what is under way: neither more than its bounds, nor what was taken
//! back meanwhile (PROTOCOL.md 9.2).

#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use klatch_core::command::{Command, Reply};
use klatch_core::event::Event;
use klatch_core::limits::{ENTRY_BYTES_MAX, WINDOW_BYTES, WINDOW_ENTRIES};
use klatch_core::sim::story::Story;

#[test]
fn what_was_deleted_before_it_was_published_never_leaves() {
    let story = Story::of(["alice", "bob"]);
    let [alice, bob] = story.people();
    alice.joins("#garden");
    bob.joins("#garden");
    alice.says("hello");
    story.settles();
    // More than the window lets through at once, all in one instant; the last ones are deleted
    // while they wait.
    let world = story.world();
    let room = alice.place("#garden");
    let say = |text: String| Command::SendMessage { room, text, reply_to: None };
    let kept = WINDOW_ENTRIES + 18;
    let orders: Vec<u64> = (0..kept + 10)
        .map(|i| {
            let text = if i < kept { format!("line {i}") } else { format!("regret {i}") };
            world.borrow_mut().order(alice.node, say(text))
        })
        .collect();
    let mut gone = Vec::new();
    for _ in 0..400 {
        story.passes(1);
        let (last, deleted) = orders.split_last().unwrap();
        let last = world.borrow_mut().nodes[alice.node].replies.remove(last);
        if let Some(reply) = last {
            gone.extend(
                deleted[deleted.len() - 9..]
                    .iter()
                    .filter_map(|o| world.borrow_mut().nodes[alice.node].replies.remove(o)),
            );
            gone.push(reply);
            break;
        }
    }
    assert_eq!(gone.len(), 10);
    for reply in gone {
        let Ok(Reply::Stored { message, .. }) = reply else { panic!("{reply:?}") };
        let delete = Command::DeleteMessage { room, message };
        world.borrow_mut().order(alice.node, delete);
    }
    story.settles();
    assert!(
        !bob.was_told().iter().any(
            |e| matches!(e, Event::MessageAdded { message } if message.text.contains("regret"))
        )
    );
    // The first one, what was kept, what was deleted.
    let before = 1 + usize::try_from(kept).unwrap();
    assert_eq!(bob.reads("#garden").len(), before + 10);
    assert_eq!(alice.reads("#garden"), bob.reads("#garden"));
    assert!(bob.reads("#garden")[before..].iter().all(|l| l == "alice: (withdrawn)"));
}

#[test]
fn large_messages_are_under_way_in_bytes_that_are_bounded_and_none_is_lost() {
    const MESSAGES: usize = 40;
    let story = Story::of(["alice", "bob"]);
    let [alice, bob] = story.people();
    alice.joins("#garden");
    bob.joins("#garden");
    alice.says("hello");
    story.settles();
    let world = story.world();
    let room = alice.place("#garden");
    for n in 0..MESSAGES {
        let text = format!("{n} {}", "x".repeat(60_000));
        world.borrow_mut().order(alice.node, Command::SendMessage { room, text, reply_to: None });
    }
    let mut most = 0;
    for _ in 0..2_000 {
        story.passes(1);
        let world = world.borrow();
        let rooms = world.nodes[alice.node].machine.as_ref().unwrap().rooms();
        most = rooms.map(|r| r.bytes_under_way()).max().unwrap().max(most);
    }
    assert!(most <= WINDOW_BYTES + ENTRY_BYTES_MAX, "{most} bytes at once");
    assert!(most >= WINDOW_BYTES, "the window was never full: {most} bytes");
    story.settles();
    assert_eq!(bob.reads("#garden").len(), 1 + MESSAGES);
    assert_eq!(alice.reads("#garden"), bob.reads("#garden"));
}
