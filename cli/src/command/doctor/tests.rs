//! Each check in each of its outcomes, the form of the report, and what the stand-ins leave of a
//! text.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Parser;
use klatch_core::event::Path;
use klatch_core::ids::{DeviceId, IdentityId, RoomId};
use klatch_core::query::{
    Access, Clock, Discovery, Host, Mdns, PeerSummary, RoomSummary, Status, WantedPeer,
};
use klatch_node::look::Look;

use super::Outcome::{Fail, Ok, Skipped, Unknown, Warn};
use super::facts::{Facts, FileFact, Key, NodeFact, StoreFact, Terminal};
use super::redact::Redactor;
use super::{Check, Checkup, Outcome};
use crate::args::Cli;
use crate::reach::Silent;

/// Everything is well.
fn well() -> Facts {
    let file = |path: &str, folder, mode| FileFact {
        path: path.into(),
        folder,
        mode,
        ours: true,
        writable: true,
    };
    Facts {
        profile: "default".to_owned(),
        version: "1.2.3".to_owned(),
        now_ms: 1_800_000_000_000,
        data: "/data/it's".into(),
        keystore: Key::Open,
        files: vec![file("/data/it's", true, 0o700), file("/data/it's/keystore", false, 0o600)],
        space: Some(10_000_000_000),
        store: StoreFact::Unseen,
        open_files: Some(1_024),
        node: NodeFact::Answers { status: Box::new(status()), took: Duration::from_millis(2) },
        terminal: Terminal {
            there: true,
            term: Some("xterm".to_owned()),
            locale: Some("de_DE.utf8".to_owned()),
        },
    }
}

fn status() -> Status {
    Status {
        version: "1.2.3".to_owned(),
        name: "alice".to_owned(),
        identity: IdentityId([1; 32]),
        device: DeviceId([2; 32]),
        peer_id: "12D3KooWOwn".to_owned(),
        pid: 4_711,
        host: Some(Host::Background),
        uptime_s: 600,
        socket: Some("/data/it's/run/api.sock".to_owned()),
        listening: vec!["/ip4/127.0.0.1/tcp/4001".to_owned(), "/ip4/192.0.2.7/tcp/4001".to_owned()],
        peers: vec![peer("bob", Some(12)), peer("carol", Some(38))],
        discovery: Some(Discovery { mdns: Mdns::On, found: 2, heard_ms_ago: Some(5_000), missing: 1 }),
        clock: Some(Clock { devices: 2, ahead_ms: -20 }),
        rooms: vec![room("#garden")],
        queued: 0,
        read_only: false,
        refused: BTreeMap::from([("duplicate".to_owned(), 100_000), ("open".to_owned(), 3)]),
        ..serde_json::from_value(serde_json::json!({
            "version": "", "name": "", "identity": IdentityId([0; 32]), "device": DeviceId([0; 32]), "peer_id": "",
            "pid": 0, "uptime_s": 0, "listening": [], "peers": [], "rooms": [], "queued": 0, "cursor": 0,
            "receipts": false, "typing": false, "read_only": false, "refused": {},
        }))
        .unwrap()
    }
}

fn peer(name: &str, rtt_ms: Option<u32>) -> PeerSummary {
    let (peer_id, address) =
        (format!("12D3KooW{name}"), "/ip4/192.0.2.9/udp/4444/quic-v1".to_owned());
    PeerSummary {
        peer_id,
        identity: None,
        name: Some(name.to_owned()),
        name_mark: None,
        address,
        path: Path::Lan,
        rtt_ms,
        overdue_ms: None,
    }
}

fn room(name: &str) -> RoomSummary {
    RoomSummary {
        room: RoomId([3; 16]),
        name: name.to_owned(),
        name_mark: None,
        access: Access::Passphrase,
        members: 4,
        online: 2,
        messages: 12,
        unread: 0,
        queued: 0,
        bytes: 1_000,
        over_budget: false,
        damaged: 0,
        behind: false,
        left: false,
        leaving: false,
        up_to_date: 0,
    }
}

/// The check of that name after a change of the facts.
fn check(name: &str, change: impl FnOnce(&mut Facts)) -> Check {
    let mut facts = well();
    change(&mut facts);
    let found = Checkup::of(&facts, false);
    for check in &found.checks {
        assert_eq!(
            matches!(check.outcome, Ok | Skipped),
            check.fix.is_none(),
            "all but the good ones have a remedy: {check:?}"
        );
        assert!(!check.text.is_empty() && check.text.lines().count() == 1, "{check:?}");
        check.fix.iter().for_each(|fix| parses(fix));
    }
    found.checks.into_iter().find(|c| c.name == name).unwrap_or_else(|| panic!("no check {name}"))
}

/// Every command of ours in a remedy is one that this program knows.
fn parses(fix: &str) {
    for command in fix.split(" && ").filter_map(|c| c.find("klatch ").map(|at| &c[at..])) {
        let words = command.replace("ADDRESS", "127.0.0.1:1").replace('\'', "");
        assert!(Cli::try_parse_from(words.split_whitespace()).is_ok(), "{command}");
    }
}

fn outcome(name: &str, change: impl FnOnce(&mut Facts)) -> Outcome {
    check(name, change).outcome
}

fn of_status(name: &str, change: impl FnOnce(&mut Status)) -> Check {
    check(name, |facts| {
        let NodeFact::Answers { status, .. } = &mut facts.node else { panic!("a node answers") };
        change(status);
    })
}

fn discovery(change: impl FnOnce(&mut Discovery)) -> impl FnOnce(&mut Status) {
    |status| change(status.discovery.as_mut().unwrap())
}

#[test]
fn when_all_is_well_nothing_else_is_said() {
    let found = Checkup::of(&well(), false);
    // Nobody can tell from here whether other networks reach this one.
    let fine = |c: &Check| c.outcome == Ok || (c.name == "outside" && c.outcome == Unknown);
    assert!(found.checks.iter().all(fine), "{:#?}", found.checks);
    let names: Vec<&str> = found.checks.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names[..6], ["identity", "permissions", "disk", "store", "open files", "node"]);
    assert_eq!(names[names.len() - 2..], ["rooms", "room:#garden"]);
    let quick = Checkup::of(&well(), true);
    assert!(
        quick.checks.len() < found.checks.len()
            && quick.checks.iter().all(|c| found.checks.contains(c))
    );
}

#[test]
fn identity() {
    assert_eq!(outcome("identity", |f| f.keystore = Key::Protected), Ok);
    let missing = check("identity", |f| (f.keystore, f.profile) = (Key::Missing, "b".to_owned()));
    assert_eq!((missing.outcome, missing.fix.as_deref()), (Fail, Some("klatch --profile b init")));
    let broken = Key::Broken { cause: "cut short".to_owned(), fix: "restore it".to_owned() };
    assert_eq!(outcome("identity", |f| f.keystore = broken), Fail);
}

#[test]
fn permissions() {
    let open = check("permissions", |f| f.files[0].mode = 0o755);
    assert_eq!(open.fix.as_deref(), Some(r"chmod 700 '/data/it'\''s'"));
    assert_eq!(open.outcome, Warn);
    let keystore = check("permissions", |f| (f.files[0].mode, f.files[1].mode) = (0o701, 0o640));
    assert!(keystore.outcome == Fail && keystore.fix.unwrap().contains(" && chmod 600 "));
    assert_eq!(outcome("permissions", |f| f.files[1].ours = false), Fail);
    let fixed = check("permissions", |f| f.files[1].writable = false);
    assert!(fixed.outcome == Warn && fixed.text.contains("keystore cannot be written"));
}

#[test]
fn outside() {
    let at = |list: &'static [&str]| {
        of_status("outside", |s| s.listening = list.iter().map(ToString::to_string).collect())
    };
    assert_eq!(at(&["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1"]).outcome, Skipped);
    let private = at(&["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.5/tcp/1", "/ip6/fe80::1/tcp/1"]);
    assert!(private.outcome == Unknown && private.text.contains("private"), "{private:?}");
    for carrier in [&["/ip4/100.64.0.1/tcp/1"][..], &["/ip4/169.254.0.1/udp/1/quic-v1"]] {
        assert!(
            of_status("outside", |s| {
                s.listening = carrier.iter().map(ToString::to_string).collect();
            })
            .text
            .contains("private")
        );
    }
    let public = at(&["/ip4/192.168.1.5/tcp/1", "/ip6/2001:db8::1/tcp/1"]);
    assert_eq!(public.outcome, Unknown);
    assert!(public.text.contains("2001:db8::1 is a public address"), "{public:?}");
}

#[test]
fn disk_and_open_files() {
    for (space, expected) in [(None, Unknown), (Some(1_000_000), Fail), (Some(100_000_000), Warn)] {
        assert_eq!(outcome("disk", |f| f.space = space), expected);
    }
    for (limit, expected) in [(None, Ok), (Some(20), Fail), (Some(256), Warn), (Some(512), Ok)] {
        assert_eq!(outcome("open files", |f| f.open_files = limit), expected);
    }
}

#[test]
fn store() {
    assert_eq!(of_status("store", |s| s.read_only = true).outcome, Fail);
    let without_node = |store: StoreFact, keystore: Key| {
        check("store", |f| (f.node, f.store, f.keystore) = (NodeFact::Absent, store, keystore))
    };
    let seen = without_node(StoreFact::Readable(Look { rooms: 2, ..Look::default() }), Key::Open);
    assert_eq!((seen.outcome, seen.text.as_str()), (Ok, "readable, 2 rooms"));
    let locked = without_node(StoreFact::Locked, Key::Protected);
    assert!(locked.outcome == Unknown && locked.fix.unwrap().contains("--unlock-file"));
    let broken = StoreFact::Broken {
        cause: "klatch.db is damaged".to_owned(),
        hint: "restore it".to_owned(),
    };
    assert_eq!(without_node(broken, Key::Open).outcome, Fail);
    assert_eq!(without_node(StoreFact::Unseen, Key::Missing).outcome, Unknown);
    assert_eq!(outcome("store", |f| f.node = mute(None)), Unknown);
}

fn mute(pid: Option<u32>) -> NodeFact {
    NodeFact::Silent(Silent { pid, socket: "/data/run/api.sock".into(), taken: None })
}

#[test]
fn node() {
    let absent = check("node", |f| f.node = NodeFact::Absent);
    assert_eq!((absent.outcome, absent.fix.as_deref()), (Warn, Some("klatch up")));
    let silent = check("node", |f| f.node = mute(Some(7)));
    assert_eq!((silent.outcome, silent.fix.as_deref()), (Fail, Some("klatch down")));
    assert_eq!(outcome("node", |f| f.node = mute(None)), Fail);
    assert_eq!(outcome("node", |f| f.node = NodeFact::Strange { cause: "?".to_owned() }), Warn);
    let other = of_status("node", |s| s.version = "1.2.2".to_owned());
    assert_eq!((other.outcome, other.fix.as_deref()), (Warn, Some("klatch down && klatch up")));
    let slow = |f: &mut Facts| {
        f.node = NodeFact::Answers { status: Box::new(status()), took: Duration::from_secs(3) };
    };
    assert_eq!(outcome("node", slow), Warn);
    assert!(
        of_status("node", |s| s.host = Some(Host::Command)).text.contains("inside another command")
    );
}

#[test]
fn listening() {
    assert_eq!(of_status("listening", |_| ()).text, "on 1 address (tcp 4001)");
    assert_eq!(of_status("listening", |s| s.listening.clear()).outcome, Fail);
    let here = |asked: bool| {
        of_status("listening", move |s| {
            s.listening.truncate(1);
            s.loopback_only = asked;
        })
    };
    assert_eq!((here(true).outcome, here(false).outcome), (Warn, Warn));
    assert!(here(true).fix.is_some_and(|fix| fix.contains("KLATCH_LOOPBACK_ONLY")));
    let offline = here(false);
    assert!(offline.text.contains("no address in any network"), "{}", offline.text);
    assert!(!offline.fix.is_some_and(|fix| fix.contains("KLATCH_LOOPBACK_ONLY")));
}

#[test]
fn silence_is_unknown_and_never_a_no() {
    let heard = |change: fn(&mut Discovery)| of_status("multicast", discovery(change));
    assert_eq!(heard(|d| d.mdns = Mdns::Off).outcome, Skipped);
    assert_eq!(heard(|d| d.mdns = Mdns::Failed).outcome, Warn);
    let silent = heard(|d| (d.found, d.heard_ms_ago) = (0, None));
    assert_eq!(silent.outcome, Unknown);
    assert!(
        silent.text.contains("in 10 min") && silent.text.contains("udp/5353"),
        "{}",
        silent.text
    );
    assert!(heard(|d| (d.found, d.heard_ms_ago) = (0, Some(400_000))).text.contains("for 6 min"));
    let early = of_status("multicast", |s| {
        s.uptime_s = 5;
        discovery(|d| (d.found, d.heard_ms_ago) = (0, None))(s);
    });
    assert!(early.outcome == Unknown && early.text.contains("nothing heard yet"));
    assert_eq!(of_status("multicast", |s| s.discovery = None).outcome, Unknown);
}

#[test]
fn peers() {
    assert_eq!(
        of_status("peers", |_| ()).text,
        "2 connected, the slowest answers in 38 ms; 1 more are known and away"
    );
    assert_eq!(of_status("peers", |s| s.peers.clear()).outcome, Warn);
    let alone = of_status("peers", |s| {
        s.peers.clear();
        discovery(|d| d.missing = 0)(s);
    });
    assert_eq!(alone.outcome, Unknown);
}

#[test]
fn clock() {
    assert_eq!(of_status("clock", |_| ()).text, "within 20 ms of 2 other devices");
    let wrong = of_status("clock", |s| s.clock = Some(Clock { devices: 1, ahead_ms: -7_200_000 }));
    assert_eq!(wrong.outcome, Warn);
    assert!(
        wrong.text.starts_with("120 min behind the clocks of 1 other device"),
        "{}",
        wrong.text
    );
    assert_eq!(
        of_status("clock", |s| s.clock = Some(Clock { devices: 1, ahead_ms: i64::MIN })).outcome,
        Warn
    );
    assert_eq!(of_status("clock", |s| s.clock = None).outcome, Unknown);
    assert_eq!(outcome("clock", |f| f.now_ms = 1_700_000_000_000), Fail);
    assert_eq!(outcome("clock", |f| f.now_ms = 4_294_967_296_000), Fail);
    assert_eq!(outcome("clock", |f| (f.now_ms, f.node) = (0, NodeFact::Absent)), Fail);
    assert_eq!(outcome("clock", |f| f.node = NodeFact::Absent), Unknown);
}

#[test]
fn refused() {
    let signatures = |n| of_status("refused", |s| s.refused.extend([("signature".to_owned(), n)]));
    let many = signatures(97);
    assert!(
        many.outcome == Warn
            && many.text.contains("100 inputs")
            && many.text.contains("(97) as `signature`")
    );
    assert_eq!(signatures(96).outcome, Ok);
}

#[test]
fn rooms() {
    let of = |change: fn(&mut RoomSummary)| of_status("room:#garden", |s| change(&mut s.rooms[0]));
    assert_eq!(of(|_| ()).text, "3 of 4 online");
    assert!(of(|r| r.queued = 2).text.contains("2 messages of yours reached nobody yet"));
    let one = of(|r| r.damaged = 1);
    assert!(one.text.starts_with("a text was damaged on this disk; it comes back"), "{}", one.text);
    let some = of(|r| (r.damaged, r.queued) = (3, 1));
    assert!(some.text.starts_with("3 texts were damaged on this disk; they come back"));
    assert!(some.text.ends_with("; 1 message of yours reached nobody yet"), "{}", some.text);
    assert_eq!(of(|r| r.over_budget = true).outcome, Warn);
    let behind = of(|r| r.behind = true);
    assert_eq!(behind.outcome, Fail);
    assert!(behind.text.contains("restored from an old copy"), "{}", behind.text);
    let away = of(|r| r.online = 0);
    assert_eq!((away.outcome, away.fix.as_deref()), (Unknown, Some("klatch wait 'room:#garden'")));
    let alone = of(|r| (r.online, r.members) = (0, 1));
    assert_eq!((alone.outcome, alone.fix), (Ok, None));
    assert!(alone.text.contains("nobody else was ever seen"), "{}", alone.text);
    // Of two rooms of one name each is called, and waited for, as it is shown.
    let twin = of_status("room:#garden~abcdefgh", |s| {
        (s.rooms[0].online, s.rooms[0].name_mark) = (0, Some("abcdefgh".to_owned()));
    });
    assert_eq!(twin.fix.as_deref(), Some("klatch wait 'room:#garden~abcdefgh'"));
    assert_eq!(of_status("rooms", |s| s.rooms[0].left = true).text, "none yet");
    let many = |s: &mut Status| s.rooms = (0..200).map(|n| room(&format!("#r{n}"))).collect();
    let mut facts = well();
    if let NodeFact::Answers { status, .. } = &mut facts.node {
        many(status);
    }
    assert!(Checkup::of(&facts, false).checks.len() < 50);
}

#[test]
fn terminal() {
    assert_eq!(outcome("terminal", |f| f.terminal = Terminal::default()), Skipped);
    assert_eq!(outcome("terminal", |f| f.terminal.locale = Some("C".to_owned())), Warn);
    assert_eq!(outcome("terminal", |f| f.terminal.term = Some("dumb".to_owned())), Warn);
}

#[test]
fn without_a_node_what_only_it_knows_is_unknown() {
    for node in [NodeFact::Absent, mute(None), NodeFact::Strange { cause: String::new() }] {
        for name in ["listening", "outside", "multicast", "peers", "clock", "refused", "rooms"] {
            assert_eq!(outcome(name, |f| f.node = node.clone()), Unknown, "{name}");
        }
    }
}

#[test]
fn the_report_stands_in_columns_of_words() {
    let mut facts = well();
    facts.node = NodeFact::Absent;
    facts.terminal.locale = Some("\u{1b}[31mC".to_owned());
    let lines = Checkup::of(&facts, false).lines();
    assert_eq!(lines[0], "identity     ok       present, without a passphrase, in /data/it's");
    assert!(
        lines
            .contains(&"node         warn     no node is running: nobody can reach you".to_owned()),
        "{lines:#?}"
    );
    assert!(lines.contains(&"                      try: klatch up".to_owned()));
    assert_eq!(lines.last().unwrap(), "14 checks: 4 ok, 2 warn, 0 fail, 8 unknown");
    assert!(lines.iter().all(|l| !l.chars().any(klatch_core::identity::is_unsafe)));
}

fn redactor() -> Redactor {
    let mut redactor = Redactor::default();
    for name in ["alice", "alice smith", "Zoë", "ok", "person"] {
        redactor.learn("person", name);
    }
    redactor.learn_room("#garden");
    redactor.learn_as("/data/it's", "DATA");
    redactor
}

#[test]
fn what_is_known_gets_the_same_stand_in_everywhere_and_words_around_it_stay() {
    let text = redactor()
        .text("alice smith, alice and Zoë (not alicette) are in #garden; garden: ok, a person");
    assert_eq!(
        text,
        "person-1, person-3 and person-4 (not alicette) are in room-1; room-1: person-5, a person-2"
    );
    assert_eq!(redactor().text("chmod 600 '/data/it's/keystore'"), "chmod 600 'DATA/keystore'");
}

#[test]
fn what_has_the_form_of_an_address_an_id_or_a_path_is_replaced_too() {
    let cases = [
        ("/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWAQ2L3LAh", "/ip4/ip-1/tcp/port-1/p2p/peer-1"),
        ("/ip4/127.0.0.1/udp/41641/quic-v1", "/ip4/127.0.0.1/udp/port-1/quic-v1"),
        ("/dns4/home.example.org/tcp/1", "/dns4/host-1/tcp/port-1"),
        (
            "at 192.0.2.7:4001, [2001:db8::1]:9 and 192.0.2.7.",
            "at ip-1:port-1, ip-2:port-2 and ip-1.",
        ),
        ("from fe80::1%2 (2001:db8::7)", "from ip-1%... (ip-2)"),
        ("in [192.0.2.7, 192.0.2.8] and [o524frkl]", "in [ip-1, ip-2] and [id-1]"),
        ("key o524frklivxmlidili2y6iejoi, short o524frkl", "key id-1, short id-2"),
        ("A2CD-EF34-XYZW-2345 is a fingerprint", "id-1 is a fingerprint"),
        ("cannot open /home/zoe/my.file: no", "cannot open path-1: no"),
        ("/dev/full and /proc/7/limits stay", "/dev/full and /proc/7/limits stay"),
        ("in #secret-plans now", "in room-1 now"),
        ("version 0.1.0, 18:05:00, 40 kB, KLATCH-ALREADY-RUNNING, x86_64", ""),
    ];
    for (text, expected) in cases {
        let expected = if expected.is_empty() { text } else { expected };
        assert_eq!(Redactor::default().text(text), expected);
    }
}

#[test]
fn log_lines_keep_their_form_and_lose_what_is_quoted_or_named() {
    let mut redactor = redactor();
    let mut line = |text: &str| redactor.log_line(text);
    assert_eq!(
        line(
            "2026-11-21T18:05:00.123456Z  WARN klatch_node::x: cannot send \"my secret\" to alice peer=Peer(abcdefgh)"
        )
        .unwrap(),
        "2026-11-21T18:05:00.123456Z WARN klatch_node::x: cannot send \"...\" to person-1 peer=id-1(id-2)"
    );
    assert_eq!(
        line("2026-11-21T18:05:00.123456Z DEBUG k: nobody follows topic=\"qqqqqqqq\" reject=open size=12").unwrap(),
        "2026-11-21T18:05:00.123456Z DEBUG k: nobody follows topic=\"...\" reject=open size=12"
    );
    assert!(line("2026-11-21T18:05:00Z INFO k: a `b` c \"d").unwrap().ends_with("a `...` c \"..."));
    for other in ["my secret plan", "thread 'x' panicked at my secret:", "2026 INFO secret", ""] {
        assert_eq!(line(other), None);
    }
}

#[test]
fn redacted_facts_name_nobody_and_come_out_the_same() {
    let (mut facts, mut redactor) = (well(), Redactor::default());
    redactor.learn_as("/data/it's", "DATA");
    let NodeFact::Answers { status, .. } = &mut facts.node else { panic!("a node answers") };
    status.wanted = ["/ip4/198.51.100.7/tcp/4002", "zoe.example:4003"]
        .map(|address| WantedPeer {
            address: address.to_owned(),
            connected: false,
            failures: 2,
            error: Some("198.51.100.7:4002 refuses".to_owned()),
            failed_ms_ago: Some(5_000),
            next_in_ms: Some(9_000),
        })
        .into();
    status.peers.iter_mut().for_each(|p| p.name_mark = Some("MARK".to_owned()));
    status.rooms.iter_mut().for_each(|r| r.name_mark = Some("MARK".to_owned()));
    let hidden = redactor.facts(&facts);
    let shown = format!("{hidden:?}");
    let asked_for = ["198.51", "zoe", "4002", "4003"];
    for name in [
        "MARK", "alice", "bob", "carol", "garden", "12D3", "192.0.2", "4001", "4444", "it's",
        "[1, 1",
    ]
    .into_iter()
    .chain(asked_for)
    {
        assert!(!shown.contains(name), "{name} in {shown}");
    }
    let outcomes = |facts: &Facts| {
        Checkup::of(facts, false).checks.iter().map(|c| c.outcome).collect::<Vec<_>>()
    };
    assert_eq!(outcomes(&hidden), outcomes(&facts));
    let room = Checkup::of(&hidden, false).checks.pop().unwrap();
    assert_eq!(room.name, "room:room-1");
}
