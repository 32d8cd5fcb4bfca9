//! Rows in display order, in arrival order, by id and by target.

use super::*;
use crate::store::row::LineKey;

#[test]
fn lines_come_in_display_order_whatever_the_order_of_arrival() {
    let mut world = World::new();
    let mut expected = Vec::new();
    for n in 0..60_u64 {
        let mut row = world.entry(ROOM, u8::try_from(n % 5).unwrap(), Kind::Text, &format!("{n}"));
        // Few values: many ties, decided by hash.
        (row.eff, row.lamport) = ((n * 7) % 5, (n * 3) % 2);
        expected.push((LineKey::of(&row), format!("{n}")));
        world.store.commit(&[Write::Append(row)]).unwrap();
    }
    world.change(1, Kind::Reaction, EntryId([0; 16]), "not a line");
    expected.sort();
    let expected: Vec<String> = expected.into_iter().map(|(_, text)| text).collect();
    let reader = world.reader();
    assert_eq!(texts(&reader.lines(ROOM, ALL).unwrap()), expected);

    // Paging back gives the same lines, each once.
    let (mut before, mut paged) = (None, Vec::new());
    loop {
        let page = reader.lines(ROOM, Found { before, since_ms: None, limit: 7 }).unwrap();
        let Some(first) = page.first() else { break };
        before = Some(LineKey::of(first));
        paged.splice(0..0, texts(&page));
    }
    assert_eq!(paged, expected);

    // And forward.
    let (mut after, mut paged) = (None, Vec::new());
    loop {
        let page = reader.lines_after(ROOM, after, 7).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(LineKey::of(last));
        paged.append(&mut texts(&page));
    }
    assert_eq!(paged, expected);
}

#[test]
fn since_goes_by_the_time_shown_or_arrived_and_by_the_first_alone_before_the_join() {
    let mut world = World::new();
    world
        .store
        .commit(&[Write::Room(RoomRow { joined_ms: 4_000_000, ..room_row(ROOM, "#garden") })])
        .unwrap();
    for (text, shown, arrived) in [
        ("before the join", 1_000_000, 5_000_000),
        ("late", 4_500_000, 9_000_000),
        ("ahead", 9_500_000, 6_000_000),
        ("now", 6_000_000, 6_000_000),
    ] {
        let mut row = world.entry(ROOM, 1, Kind::Text, text);
        (row.shown_ms, row.arrived_ms) = (shown, arrived);
        world.store.commit(&[Write::Append(row)]).unwrap();
    }
    let since =
        |ms| texts(&world.reader().lines(ROOM, Found { since_ms: Some(ms), ..ALL }).unwrap());
    assert_eq!(since(0), ["before the join", "late", "ahead", "now"]);
    assert_eq!(since(1_000_001), ["late", "ahead", "now"], "history is no news");
    assert_eq!(since(6_000_001), ["late", "ahead"], "what came a minute ago is news");
    assert_eq!(since(9_000_001), ["ahead"]);
    assert_eq!(since(9_500_001), Vec::<String>::new());
}

#[test]
fn journal_is_arrival_order_with_changes_of_one_or_all_rooms() {
    let mut world = World::new();
    let one = world.say(1, "one");
    let two = world.entry(OTHER, 1, Kind::Text, "two");
    world.store.commit(&[Write::Append(two)]).unwrap();
    world.change(1, Kind::Edit, one.hash.id(), "three");
    let reader = world.reader();
    assert_eq!(texts(&reader.journal(None, 0, 10).unwrap()), ["one", "two", "three"]);
    assert_eq!(texts(&reader.journal(None, 1, 1).unwrap()), ["two"]);
    assert_eq!(texts(&reader.journal(Some(ROOM), 1, 10).unwrap()), ["three"]);
    assert_eq!(reader.journal(Some(RoomId([9; 16])), 0, 10).unwrap().len(), 0);
}

#[test]
fn entries_are_found_by_id_and_target_within_their_room() {
    let mut world = World::new();
    let line = world.say(1, "line");
    let id = line.hash.id();
    world.change(1, Kind::Edit, id, "edit");
    world.change(2, Kind::Reaction, id, "+1");
    let other = world.say(1, "other");
    world.change(2, Kind::Reaction, other.hash.id(), "-1");
    let reader = world.reader();
    assert_eq!(text_of(&reader.by_id(ROOM, id).unwrap().unwrap()), "line");
    assert!(reader.by_id(OTHER, id).unwrap().is_none());
    let mut near = id;
    near.0[15] ^= 1;
    assert!(reader.by_id(ROOM, near).unwrap().is_none());
    let mut marks = texts(&reader.annotations(ROOM, &[id, other.hash.id()]).unwrap());
    marks.sort();
    assert_eq!(marks, ["+1", "-1", "edit"]);
    assert_eq!(reader.annotations(OTHER, &[id]).unwrap().len(), 0);
}

#[test]
fn ids_are_found_while_their_index_lags_behind_and_after() {
    let mut world = World::new();
    let rows: Vec<_> =
        (0..10_000).map(|n| world.entry(ROOM, 1, Kind::Text, &n.to_string())).collect();
    let reader = world.reader();
    for batch in rows.chunks(1_500) {
        world.store.commit(&batch.iter().cloned().map(Write::Append).collect::<Vec<_>>()).unwrap();
        for row in [&rows[0], &batch[0], &batch[batch.len() - 1]] {
            let found = reader.by_id(ROOM, row.hash.id()).unwrap().unwrap();
            assert_eq!(found.journal, row.journal);
        }
    }
    world.index();
    let placed: i64 =
        world.store.main.query_row("SELECT count(*) FROM place", [], |r| r.get(0)).unwrap();
    assert_eq!(placed, 10_000);
    assert!(rows.iter().step_by(99).all(|r| reader.by_id(ROOM, r.hash.id()).unwrap().is_some()));
}
