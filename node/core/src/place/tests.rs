//! What names mean, as stories of a few people and rooms.

use std::collections::BTreeSet;

use super::*;
use crate::directory::Kept;
use crate::identity::fingerprint;
use crate::ids::DeviceId;
use crate::query::Standing;
use crate::rows::DeviceRow;

/// Somebody; number 0 is the user.
#[derive(Debug, Clone)]
struct Someone {
    identity: IdentityId,
    kept: Kept,
}

fn person(n: u8, claimed: &str, petname: Option<&str>) -> Someone {
    let kept = Kept {
        claimed: claimed.into(),
        petname: petname.map(str::to_owned),
        standing: if petname.is_some() { Standing::Accepted } else { Standing::Met },
        verified: false,
        changed: false,
    };
    Someone { identity: IdentityId([n; 32]), kept }
}

impl Someone {
    fn who(mut self, standing: Standing) -> Self {
        self.kept.standing = standing;
        self
    }

    fn met_in(&self, room: u8, directory: &mut Directory) {
        directory.met(&DeviceRow {
            room: RoomId([room; 16]),
            device: DeviceId(self.identity.0),
            identity: Some(self.identity),
            name: self.kept.claimed.clone(),
            last_seen_ms: u64::from(room),
            acked: 0,
            muted: false,
            forked: None,
        });
    }
}

fn known(all: &[Someone]) -> Directory {
    let own = all.iter().find(|s| s.identity.0[0] == 0);
    let own = own.map_or("somebody else", |own| &own.kept.claimed);
    let mut directory = Directory::new(IdentityId([0; 32]), own);
    for one in all.iter().filter(|s| s.identity.0[0] != 0) {
        match one.kept.standing {
            Standing::Met => one.met_in(1, &mut directory),
            _ => directory.keep(one.identity, one.kept.clone()),
        }
    }
    directory
}

fn find_person(all: &[Someone], wanted: &str) -> Result<IdentityId, CommandError> {
    super::find_person(&known(all), wanted)
}

fn at_front<'a>(all: &[Someone], line: &'a str) -> Result<(IdentityId, &'a str), CommandError> {
    super::at_front(&known(all), line)
}

fn room(n: u8, name: &str, passphrase: bool, left: bool) -> RoomName<'_> {
    RoomName { room: RoomId([n; 16]), name, left, passphrase }
}

fn place(rooms: &[RoomName<'_>], wanted: &str) -> Result<Place, CommandError> {
    find(wanted, rooms.iter().copied(), &Directory::default())
}

#[test]
fn two_rooms_of_one_name_are_refused_in_either_order() {
    let (open, secret) = (room(1, "#mix", false, false), room(2, "#mix", true, false));
    for rooms in [[open, secret], [secret, open]] {
        for wanted in ["#mix", "mix", "MIX", "#ｍｉｘ"] {
            let refused = place(&rooms, wanted).unwrap_err();
            assert_eq!(refused.code(), "KLATCH-AMBIGUOUS");
            let text = format!("{refused} {}", refused.hint());
            assert!(text.contains(&open.room.to_string()), "{text}");
            assert!(text.contains(&secret.room.to_string()), "{text}");
        }
        assert_eq!(place(&rooms, &open.room.to_string()), Ok(Place::Room(open.room)));
        assert_eq!(place(&rooms, &secret.room.to_string()), Ok(Place::Room(secret.room)));
    }
    let two = [room(1, "#mix", true, false), room(2, "#mix", true, false)];
    assert!(place(&two, "#mix").is_err());
}

#[test]
fn what_is_meant_for_somebody_with_a_mark_does_not_go_to_a_namesake_of_the_mark() {
    let alice = person(1, "alice", None);
    let shown = format!("alice~{}", &fingerprint(&alice.identity)[..4]);
    let thief = person(2, &shown, None);
    let all = [alice.clone(), thief.clone()];
    assert_eq!(find_person(&all[..1], &shown), Ok(alice.identity));
    for wanted in [shown.clone(), shown.to_lowercase(), format!("@{shown}")] {
        let refused = find_person(&all, &wanted).unwrap_err();
        assert_eq!(refused.code(), "KLATCH-PERSON-AMBIGUOUS", "{wanted}");
    }
    let marked = format!("{shown}~{}", &fingerprint(&thief.identity)[..4]);
    assert_eq!(find_person(&all, &marked), Ok(thief.identity));
}

#[test]
fn a_joined_room_comes_before_one_that_was_left() {
    let rooms = [room(1, "#mix", false, true), room(2, "#mix", true, false)];
    assert_eq!(place(&rooms, "#mix"), Ok(Place::Room(RoomId([2; 16]))));
    let left = [room(1, "#mix", false, true), room(2, "#mix", true, true)];
    assert!(matches!(place(&left, "#mix"), Err(CommandError::AmbiguousRoom { .. })));
    assert_eq!(place(&left[..1], "#mix"), Ok(Place::Room(RoomId([1; 16]))));
}

#[test]
fn a_room_named_like_the_id_of_another_does_not_take_its_place() {
    let secret = room(2, "#secret", true, false);
    let name = format!("#{}", secret.room);
    let thief = RoomName { name: &name, ..room(1, "", false, false) };
    for rooms in [[secret, thief], [thief, secret]] {
        assert_eq!(place(&rooms, &secret.room.to_string()), Ok(Place::Room(secret.room)));
        // It was joined before such names were refused: it keeps its name.
        assert_eq!(place(&rooms, &name), Ok(Place::Room(thief.room)));
    }
    assert!(place(&[thief], &secret.room.to_string()).is_err());
}

#[test]
fn a_room_joined_under_an_older_spelling_keeps_its_name() {
    let old = [room(1, "#ﬁsh", false, false)];
    for wanted in ["#ﬁsh", "fish", "#FISH"] {
        assert_eq!(place(&old, wanted), Ok(Place::Room(RoomId([1; 16]))), "{wanted}");
    }
    let both = [room(1, "#ﬁsh", false, false), room(2, "#fish", false, false)];
    assert!(matches!(place(&both, "fish"), Err(CommandError::AmbiguousRoom { .. })));
}

#[test]
fn own_names_win_and_what_is_not_clear_is_refused() {
    let all = [
        person(0, "me", None),
        person(1, "bob", Some("robert")),
        person(2, "robert", None),
        person(3, "Bob", None),
    ];
    let find = |who: &str| find_person(&all, who);
    assert_eq!(find("@robert"), Ok(IdentityId([1; 32])));
    for who in ["bob", "Bob", "BOB"] {
        assert_eq!(find(who), Ok(IdentityId([1; 32])), "a contact, in whatever spelling");
    }
    assert_eq!(find("@me"), Err(CommandError::Yourself));
    let nearest = Some(format!("Bob~{}", &fingerprint(&all[3].identity)[..4]));
    assert_eq!(find("bib"), Err(CommandError::UnknownPerson { who: "bib".into(), nearest }));
    assert!(matches!(find("@"), Err(CommandError::UnknownPerson { nearest: None, .. })));
    // What is proposed can be typed.
    let two = [person(1, "rob", None), person(2, "Rob", None)];
    let Err(CommandError::UnknownPerson { nearest: Some(near), .. }) = find_person(&two, "rbo")
    else {
        panic!("nothing is proposed")
    };
    assert!(find_person(&two, &near).is_ok(), "{near}");
}

#[test]
fn a_room_is_opened_by_name_or_by_the_mark_that_it_is_shown_with() {
    let rooms = [room(1, "#mix", false, false), room(2, "#mix", true, false)];
    let rooms = [rooms[0], rooms[1], room(3, "#old", false, true), room(4, "#own", true, true)];
    let open = |wanted: &str, secret| to_open(rooms.iter().copied(), wanted, secret);
    let name = |name: &str| Ok(Opening::Name(name.to_owned()));
    let here = |room: RoomName<'_>| Ok(Opening::Here { room: room.room, name: "#mix".to_owned() });
    for mix in &rooms[..2] {
        let wanted = format!("#mix~{}", mix.mark());
        assert_eq!(open(&wanted, false), here(*mix), "{wanted}");
    }
    assert_eq!(open("Mix", false), here(rooms[0]));
    assert_eq!(open("Mix", true), name("#mix"));
    assert_eq!(open(&format!("old~{}", rooms[2].mark()), false), name("#old"));
    let own = format!("own~{}", rooms[3].mark());
    assert_eq!(open(&own, true), name("#own"));
    let refused = open(&own, false).unwrap_err();
    assert!(refused.hint().contains("'#own' --passphrase"), "{}", refused.hint());
    assert_eq!(open("#mix~aaaaaaaa", false).unwrap_err().code(), "KLATCH-ROOM-NOT-FOUND");
    assert_eq!(open("#new", false), name("#new"));
}

#[test]
fn an_id_with_a_slip_opens_no_public_room() {
    let mix = RoomName { room: RoomId([0x5a; 16]), ..room(1, "#mix", true, false) };
    let id = mix.room.to_string();
    let open = |wanted: &str| to_open([mix].into_iter(), wanted, false);
    for slip in [
        format!("{id}x"),
        id[1..].to_owned(),
        id[..24].to_owned() + "x",
        id.replacen('2', "0", 1),
        format!("#{id}2"),
    ] {
        let refused = open(&slip).unwrap_err();
        assert_eq!(refused.hint(), format!("did you mean {id}?"), "{slip}");
    }
    // Nor does the mark alone, or half of the id.
    for part in [&id[..8], &id[..13], &id[..25]] {
        let marked = format!("#mix~{}", &id[..8]);
        assert_eq!(open(part).unwrap_err().hint(), format!("did you mean '{marked}'?"), "{part}");
        let unknown = place(&[mix], part).unwrap_err();
        assert!(unknown.hint().contains(&format!("did you mean {marked}?")), "{}", unknown.hint());
    }
    assert!(open(&id[..7]).is_ok());
    let other = open("ncpg5yfqmoztejthzdxig353aqx").unwrap_err();
    assert!(other.hint().contains("by its name"), "{}", other.hint());
    for fine in
        ["planningconference20271129", "the-2nd-room-of-floor-3-and-4", "internationalisation"]
    {
        assert!(open(fine).is_ok(), "{fine}");
    }
    // Whoever is in such a room already goes on.
    let odd = RoomName { name: "#ncpg5yfqmoztejthzdxig353aqx", ..mix };
    assert!(to_open([odd].into_iter(), "ncpg5yfqmoztejthzdxig353aqx", false).is_ok());
}

#[test]
fn somebody_who_is_named_without_the_sign_of_a_person_is_proposed_with_it() {
    let all = [person(1, "bob", None), person(2, "Bob", None), person(3, "ann", None)];
    let marked = format!("bob~{}", &fingerprint(&all[0].identity)[..4]);
    for wanted in ["ann", &marked] {
        let refused = find(wanted, [].into_iter(), &known(&all)).unwrap_err();
        assert_eq!(refused.hint(), format!("did you mean @{wanted}?"));
    }
    let refused = find("#ann", [].into_iter(), &known(&all)).unwrap_err();
    assert_eq!(refused.hint(), "`klatch join '#ann'` opens it");
}

#[test]
fn the_mark_says_who_it_is_whatever_of_the_name_cannot_be_copied_from_a_screen() {
    let bob = person(1, "bob", None).who(Standing::Accepted);
    for other in ["bob\u{3164}", "b\u{43e}b", "\u{2800}Bob"] {
        let all = [bob.clone(), person(2, other, None)];
        for one in &all {
            let marked = format!("@bob~{}", &fingerprint(&one.identity)[..4]);
            assert_eq!(find_person(&all, &marked), Ok(one.identity), "{other:?}");
        }
        let rob = format!("@rob~{}", &fingerprint(&all[1].identity)[..4]);
        assert!(find_person(&all, &rob).is_err(), "the name counts as well");
    }
}

#[test]
fn what_is_proposed_for_an_ambiguous_name_can_be_typed() {
    let all = [
        person(1, "bob", None),
        person(2, "Bob", None),
        person(3, "b\u{43e}b", None).who(Standing::Blocked),
        person(4, "Mary Ann", None),
        person(5, "mary ann", None),
        person(6, "it's me", None),
        person(7, "It's me", None),
    ];
    for wanted in ["bob", "Mary Ann", "it's me"] {
        let hint = find_person(&all, wanted).unwrap_err().hint();
        let said = hint.strip_prefix("say which: ").unwrap().split(" or ");
        let meant: BTreeSet<_> =
            said.map(|w| find_person(&all, w.trim_matches('\'')).expect(&hint)).collect();
        assert_eq!(meant.len(), 2, "{hint}");
    }
    let own = [person(0, "bob", None), person(1, "Bob", None)];
    let hint = find_person(&own, "bob").unwrap_err().hint();
    assert!(hint.starts_with("say which: @Bob") && !hint.contains(" or "), "{hint}");
}

/// Whoever a name may mean, if it is refused as ambiguous.
fn refused(all: &[Someone], wanted: &str) -> Vec<String> {
    match find_person(all, wanted) {
        Err(CommandError::AmbiguousPerson { candidates, .. }) => candidates,
        other => panic!("{wanted}: {other:?}"),
    }
}

#[test]
fn an_exact_spelling_does_not_choose_among_people_whose_names_look_alike() {
    for (one, other) in
        [("bob", "Bob"), ("bob", "b\u{43e}b"), ("Ian", "lan"), ("bob", "bob"), ("bob", "bob,")]
    {
        let all = [person(1, one, None), person(2, other, None), person(3, "ann", None)];
        for wanted in [one, other] {
            let named = refused(&all, wanted);
            assert_eq!(named.len(), 2, "{wanted}: {named:?}");
            for who in &all[..2] {
                let print = fingerprint(&who.identity);
                assert!(named.iter().any(|n| n.contains(&print)), "{named:?}");
                let marked = format!("@{}~{}", who.kept.claimed, &print[..4]);
                assert_eq!(find_person(&all, &marked), Ok(who.identity), "{marked}");
                assert_eq!(find_person(&all, &print), Ok(who.identity));
            }
        }
        assert_eq!(find_person(&all, "ann"), Ok(all[2].identity));
    }
}

#[test]
fn a_name_means_whoever_is_shown_without_a_mark_and_nobody_else() {
    let bob = person(1, "bob", None).who(Standing::Accepted);
    let all = [bob, person(2, "Bob", None), person(3, "b\u{43e}b", None)];
    for wanted in ["bob", "Bob", "BOB"] {
        assert_eq!(find_person(&all, wanted), Ok(all[0].identity), "{wanted}");
    }
    // What is spelled as another one only is neither theirs nor the contact's.
    assert_eq!(refused(&all, "b\u{43e}b").len(), 3);
    let second = person(2, "Bob", None).who(Standing::Accepted);
    for wanted in ["bob", "Bob", "BOB"] {
        assert_eq!(refused(&[all[0].clone(), second.clone()], wanted).len(), 2);
    }
    // Nobody gets what is for the contact by having the comma behind the name in theirs.
    let comma = [all[0].clone(), person(4, "bob,", None)];
    assert!(at_front(&comma, "@bob, hello").is_err());
    assert_eq!(at_front(&comma, "@bob hello"), Ok((all[0].identity, "hello")));
    // What the faces mark and what is refused are the same.
    let people = known(&all);
    let marked = |n: usize| people.mark_of(&all[n].identity).is_some();
    assert_eq!([marked(0), marked(1), marked(2)], [false, true, true]);
}

#[test]
fn somebody_is_found_and_confused_under_the_name_of_each_room() {
    let mut people = known(&[]);
    person(1, "bob", None).met_in(1, &mut people);
    person(1, "robert", None).met_in(2, &mut people);
    assert_eq!(super::find_person(&people, "bob"), Ok(IdentityId([1; 32])));
    assert_eq!(super::find_person(&people, "robert"), Ok(IdentityId([1; 32])));
    person(2, "Bob", None).met_in(3, &mut people);
    let refused = super::find_person(&people, "bob").unwrap_err();
    assert_eq!(refused.code(), "KLATCH-PERSON-AMBIGUOUS");
}

#[test]
fn whoever_has_the_users_own_name_may_be_meant_but_is_not_guessed() {
    let all = [person(0, "bob", None), person(1, "Bob", None).who(Standing::Accepted)];
    assert!(refused(&all, "bob").iter().any(|n| n.ends_with(", you)")));
    assert_eq!(find_person(&all[..1], "bob"), Err(CommandError::Yourself));
}

#[test]
fn rooms_that_look_alike_are_marked_and_typed_as_they_are_shown() {
    let rooms = [room(1, "#mix", false, false), room(2, "#mix", true, false)];
    let rooms = [rooms[0], rooms[1], room(3, "#garden", false, false)];
    let marks = room_marks(&rooms);
    assert!(marks[0].is_some() && marks[0] != marks[1] && marks[2].is_none());
    for (room, mark) in rooms.iter().zip(marks) {
        let Some(mark) = mark else { continue };
        for wanted in [format!("#mix~{mark}"), format!("MIX~{}", mark.to_uppercase())] {
            assert_eq!(place(&rooms, &wanted), Ok(Place::Room(room.room)), "{wanted}");
        }
    }
    // Of a joined room and one that was left the name means the joined one.
    let left = RoomName { left: true, ..rooms[1] };
    let marked = room_marks(&[rooms[0], left]).iter().map(Option::is_some).collect::<Vec<_>>();
    assert_eq!(marked, [false, true]);
    assert_eq!(place(&[rooms[0], left], "#mix"), Ok(Place::Room(rooms[0].room)));
    let other = format!("#garden~{}", rooms[0].mark());
    assert!(matches!(place(&rooms, &other), Err(CommandError::UnknownRoom { .. })));
}

#[test]
fn a_blocked_person_is_meant_only_if_nobody_else_is() {
    let mut all = [person(1, "bob", None), person(2, "bob", None)];
    assert!(find_person(&all, "bob").is_err());
    all[1].kept.standing = Standing::Blocked;
    assert_eq!(find_person(&all, "bob"), Ok(IdentityId([1; 32])));
    assert_eq!(find_person(&all[1..], "bob"), Ok(IdentityId([2; 32])));
}

#[test]
fn a_name_with_its_mark_is_typed_as_it_is_shown() {
    let all = [person(1, "bob", None), person(2, "Bob", None), person(3, "Mary Ann", None)];
    let shown = |s: &Someone| format!("@{}~{}", s.kept.claimed, &fingerprint(&s.identity)[..4]);
    for one in &all {
        assert_eq!(find_person(&all, &shown(one)), Ok(one.identity));
    }
    let line = format!("{} hello", shown(&all[2]));
    assert_eq!(at_front(&all, &line), Ok((IdentityId([3; 32]), "hello")));
    assert!(find_person(&all, "bob~").is_err() && find_person(&all, "bob~2").is_err());
    let print = &fingerprint(&all[0].identity)[..4];
    assert!(find_person(&all, &format!("Mary Ann~{print}")).is_err());
}

#[test]
fn fingerprints_and_ids_name_people_and_cannot_be_taken() {
    let print = fingerprint(&IdentityId([1; 32]));
    let id = IdentityId([1; 32]).to_string();
    let all = [person(1, "bob", None), person(2, &print, None), person(3, "x", Some(&id))];
    let find = |who: &str| find_person(&all, who);
    for who in [print.clone(), print.to_lowercase(), print.replace('-', ""), id.clone()] {
        assert_eq!(find(&who), Ok(IdentityId([1; 32])), "{who}");
    }
    assert_eq!(
        find(&RoomId::of_conversation(&IdentityId([2; 32])).to_string()),
        Ok(IdentityId([2; 32]))
    );
    // An id that nobody has means nobody, whatever somebody is called.
    assert!(find_person(&all[2..], &id).is_err());
    assert_eq!(find_person(&all[..1], &print[..4]), Ok(IdentityId([1; 32])));
    assert!(find_person(&all[..1], &print[..3]).is_err());
}

#[test]
fn the_longest_name_at_the_front_of_a_line_counts_and_two_are_refused() {
    let all = [person(1, "Mary Ann", None), person(2, "bob", None), person(3, "Mary", None)];
    let front = |people: &[Someone], line: &str| {
        at_front(people, line).map(|(who, rest)| (who.0[0], rest.to_owned()))
    };
    let ok = |n: u8, rest: &str| Ok((n, rest.to_owned()));
    assert_eq!(front(&all[..2], "@Mary Ann hello  you"), ok(1, "hello  you"));
    assert_eq!(front(&all[..2], "mary ann"), ok(1, ""));
    assert_eq!(front(&all, "@bob Mary Ann"), ok(2, "Mary Ann"));
    let refused = front(&all, "@Mary Ann hello").unwrap_err();
    assert_eq!(refused.to_string(), "that could be for @\"Mary Ann\" or @Mary");
    assert_eq!(front(&all, "@\"Mary Ann\" hello"), ok(1, "hello"));
    assert_eq!(front(&all, "@\u{201c}Mary\u{201d} Ann hello"), ok(3, "Ann hello"));
    assert_eq!(front(&all, "@Mary, hello").unwrap_err().code(), "KLATCH-PERSON-NOT-FOUND");
    assert_eq!(front(&all[..1], "@Mary hello").unwrap_err().code(), "KLATCH-PERSON-NOT-FOUND");
    let print = fingerprint(&IdentityId([1; 32]));
    let by_print = format!("@{print} hi");
    assert_eq!(front(&all, &by_print), ok(1, "hi"));
    // A text that happens to go on with a name of the same person.
    let same = [person(1, "Mary", Some("Mary Ann"))];
    assert_eq!(front(&same, "Mary Ann hi"), ok(1, "hi"));
    assert!(front(&all, "").is_err() && front(&all, &"x ".repeat(10_000)).is_err());
}

#[test]
fn a_longer_name_may_end_at_a_punctuation_mark_and_is_asked_about() {
    let all = [person(1, "Mary Ann", None), person(2, "Mary", None), person(3, "Mary Anné", None)];
    for line in [
        "@Mary Ann: one",
        " @Mary Ann, three; two",
        "Mary Ann:one",
        "@mary ann's coming",
        "@Mary Anné\u{2026} yes",
        "@Mary Ann~ABCD: hi",
    ] {
        let refused = at_front(&all, line).unwrap_err();
        assert_eq!(refused.code(), "KLATCH-PERSON-AMBIGUOUS", "{line}");
        assert!(refused.to_string().to_lowercase().contains(" or @mary"), "{line}: {refused}");
    }
    let mary = all[1].identity;
    for (line, rest) in [
        ("@Mary hello you", "hello you"),
        ("@Mary Anna: hi", "Anna: hi"),
        ("@Mary hello, Mary Ann: no", "hello, Mary Ann: no"),
        ("@\"Mary\" Ann: hi", "Ann: hi"),
        ("@Mary", ""),
    ] {
        assert_eq!(at_front(&all, line), Ok((mary, rest)), "{line}");
    }
    // Two names of one person are no question.
    let one = [person(1, "Mary", Some("Mary Ann"))];
    assert_eq!(at_front(&one, "Mary Ann: hi"), Ok((one[0].identity, "Ann: hi")));
    let far = format!("@Mary {}", "a. ".repeat(10_000));
    assert!(at_front(&all, &far).is_ok());
}

#[test]
fn a_place_is_read_back_from_what_it_is_written_as() {
    for place in [Place::Room(RoomId([3; 16])), Place::With(IdentityId([4; 32]))] {
        let json = serde_json::to_string(&place).unwrap();
        assert_eq!(serde_json::from_str::<Place>(&json).unwrap(), place);
    }
    assert!(serde_json::from_str::<Place>("\"#garden\"").is_err());
}
