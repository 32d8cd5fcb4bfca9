//! Search.

use super::*;
use crate::store::LineKey;
use crate::store::search::Terms;

#[test]
fn words_are_found_whole_or_by_prefix_in_their_room() {
    let mut world = World::new();
    world.say(1, "Roses are red, violets are blue");
    world.say(2, "the rosemary grows");
    let notice = world.entry(ROOM, 1, Kind::Notice, "Garden closed on Monday");
    let elsewhere = world.entry(OTHER, 1, Kind::Text, "roses elsewhere");
    world.store.commit(&[Write::Append(notice), Write::Append(elsewhere)]).unwrap();
    assert!(world.found("roses").is_empty(), "not indexed yet");
    world.index();
    assert_eq!(world.found("rose"), ["Roses are red, violets are blue", "the rosemary grows"]);
    assert_eq!(world.found("rose grows"), Vec::<String>::new(), "only the last word is a prefix");
    assert_eq!(world.found("BLUE red"), ["Roses are red, violets are blue"]);
    assert_eq!(world.found("monday"), ["Garden closed on Monday"]);
    assert_eq!(world.found("elsewhere"), Vec::<String>::new());
}

#[test]
fn search_obeys_limit_before_and_since() {
    let mut world = World::new();
    let rows: Vec<_> = (0..20).map(|n| world.say(1, &format!("word {n}"))).collect();
    world.index();
    let search = |wanted| texts(&world.reader().search(ROOM, "word", wanted).unwrap());
    assert_eq!(search(Found { limit: 2, ..ALL }), ["word 18", "word 19"]);
    let before = Some(LineKey::of(&rows[5]));
    assert_eq!(search(Found { limit: 2, before, since_ms: None }), ["word 3", "word 4"]);
    assert_eq!(search(Found { since_ms: Some(19), ..ALL }), ["word 18", "word 19"]);
}

#[test]
fn no_query_is_an_error() {
    let mut world = World::new();
    world.say(1, "it's a \"quoted\" AND (NEAR) text: don't* c++ 100% a-b col:umn 🙂 naïve");
    world.index();
    let hostile = [
        "",
        " ",
        "\"",
        "\"\"",
        "*",
        "^",
        "-",
        "AND",
        "OR NOT",
        "NEAR(",
        "NEAR(a b, 2)",
        "text:",
        "col:umn",
        "{a b}: c",
        "a\0b",
        "\0",
        "'; DROP TABLE entry; --",
        "(((",
        "🙂",
        "a\"b",
        "\\",
        "%",
        "_",
        "a* b*",
        "don't",
        "\u{202e}",
        "+",
        "words",
        "rowid:1",
        "text : x",
        "\u{feff}\"",
    ];
    for query in hostile {
        world.reader().search(ROOM, query, ALL).unwrap();
    }
    world.reader().search(ROOM, &"\"* ".repeat(5_000), ALL).unwrap();
    world.reader().search(ROOM, &"é".repeat(5_000), ALL).unwrap();
    world.reader().search(ROOM, &"a ".repeat(5_000), ALL).unwrap();
    for query in ["don't", "col:umn", "a-b", "naive", "\"quoted\"", "and", "c++"] {
        assert_eq!(world.found(query).len(), 1, "{query}");
    }
    assert_eq!(world.found("🙂").len(), 1);
    assert_eq!(Terms::parse("… ++"), None);
}

#[test]
fn scripts_without_spaces_are_searchable_inside_a_sentence() {
    let mut world = World::new();
    world.say(1, "今天我们去公园散步");
    world.say(1, "公园很大");
    world.say(1, "園公");
    world.index();
    assert_eq!(world.found("公园").len(), 2);
    assert_eq!(world.found("去公").len(), 1);
    world.say(1, "天上有热气球");
    world.say(1, "축구경기장");
    world.index();
    assert_eq!(world.found("天气").len(), 0, "characters that do not follow one another");
    assert_eq!(world.found("경기").len(), 1);
}

/// The index of the one message as an older version had spelled it, with everything looked at.
fn as_version_left_it(world: &World, version: u32, words: &str) {
    let main = &world.store.main;
    main.execute_batch("INSERT INTO words (words) VALUES ('delete-all')").unwrap();
    main.execute("INSERT INTO words (rowid, text) VALUES (1, ?1)", [words]).unwrap();
    main.pragma_update(None, "user_version", version).unwrap();
}

#[test]
fn the_index_of_an_old_file_is_made_anew() {
    let mut world = World::new();
    world.say(1, "Ёлка in der Straße");
    world.index();
    // Other spellings.
    as_version_left_it(&world, 5, "Ёлка in der Straße");
    assert_eq!(world.found("strasse").len(), 0);
    let mut world = world.reopen();
    world.index();
    assert_eq!((world.found("strasse").len(), world.found("елка").len()), (1, 1));
}

#[test]
fn words_in_parts_are_found_as_wholes_in_an_old_file_as_well() {
    let mut world = World::new();
    world.say(1, "don't mail me, e-mail me");
    world.index();
    assert_eq!((world.found("dont").len(), world.found("email").len()), (1, 1));
    // Parts alone.
    as_version_left_it(&world, 7, "don t mail me e mail me");
    assert_eq!((world.found("dont").len(), world.found("don't").len()), (0, 1));
    let mut world = world.reopen();
    world.index();
    assert_eq!((world.found("dont").len(), world.found("e-mail").len()), (1, 1));
}

#[test]
fn edits_replace_and_deletes_remove_whatever_comes_first() {
    let mut world = World::new();
    let line = world.say(1, "apple");
    let id = line.hash.id();
    world.index();
    world.change(1, Kind::Edit, id, "banana");
    world.change(2, Kind::Edit, id, "not by its author");
    world.index();
    assert_eq!(world.found("apple").len(), 0);
    assert_eq!(world.found("banana"), ["apple"], "the line is found, by its present text");
    assert_eq!(world.found("author").len(), 0);

    world.change(1, Kind::Edit, id, "cherry");
    world.index();
    assert_eq!((world.found("banana").len(), world.found("cherry").len()), (0, 1));

    // An edit that arrives late but stands earlier changes nothing.
    let mut late = world.entry(ROOM, 1, Kind::Edit, "damson");
    (late.target, late.eff) = (Some(id), 0);
    world.store.commit(&[Write::Append(late)]).unwrap();
    world.index();
    assert_eq!((world.found("damson").len(), world.found("cherry").len()), (0, 1));

    world.change(2, Kind::Delete, id, "");
    world.index();
    assert_eq!(world.found("cherry").len(), 1, "only its author can delete it");
    world.change(1, Kind::Delete, id, "");
    world.change(1, Kind::Edit, id, "elder");
    world.index();
    assert_eq!(world.found("cherry").len() + world.found("elder").len(), 0);
}

#[test]
fn change_that_arrived_before_its_message_counts() {
    let mut world = World::new();
    let line = world.entry(ROOM, 1, Kind::Text, "first version");
    world.change(1, Kind::Edit, line.hash.id(), "second version");
    world.index();
    world.store.commit(&[Write::Append(EntryRow { journal: 50, ..line })]).unwrap();
    world.index();
    assert_eq!(world.found("second").len(), 1);
    assert_eq!(world.found("first").len(), 0);
}

#[test]
fn another_device_of_the_same_person_is_the_author() {
    let mut world = World::new();
    let identity = Some(klatch_core::ids::IdentityId([8; 32]));
    for number in [1, 2] {
        world
            .store
            .commit(&[Write::Device(DeviceRow { identity, ..device_row(ROOM, number) })])
            .unwrap();
    }
    let line = world.say(1, "desktop");
    world.change(2, Kind::Edit, line.hash.id(), "telephone");
    world.index();
    assert_eq!(world.found("telephone").len(), 1);
}

#[test]
fn dropped_bodies_leave_the_index_and_its_storage() {
    let mut world = World::new();
    for n in 0..300 {
        world.say(1, &format!("filler {n}"));
    }
    let line = world.say(1, "xylophonist");
    world.index();
    assert_eq!(world.found("xylophonist").len(), 1);
    world.store.commit(&[Write::DropBody { room: ROOM, entry: line.hash.id() }]).unwrap();
    assert_eq!(world.found("xylophonist").len(), 0);
    while super::super::meta(&world.store.main, "words_unmerged").unwrap() > 0 {
        world.index();
    }
    let stored: i64 = world
        .store
        .main
        .query_row(
            "SELECT count(*) FROM words_data WHERE instr(block, CAST('xylophonist' AS BLOB)) > 0",
            [],
            |r| r.get(0),
        )
        .unwrap();
    assert_eq!(stored, 0);
    assert_eq!(world.found("filler").len(), 300);
}

#[test]
fn indexing_goes_on_after_a_restart_and_takes_long_texts_whole() {
    let mut world = World::new();
    world.say(1, "early");
    world.index();
    world.say(1, &format!("beginning {} ending", "ü".repeat(2_500)));
    let mut world = world.reopen();
    assert_eq!(world.store.index_some(&unmask, 100).unwrap(), 1);
    assert_eq!(world.store.index_some(&unmask, 100).unwrap(), 0);
    assert_eq!(
        (world.found("early").len(), world.found("beginning").len(), world.found("ending").len()),
        (1, 1, 1)
    );
}
