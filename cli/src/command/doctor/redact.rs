//! Stand-ins for what says who somebody is: names, rooms, addresses, ids, paths. The same thing
//! gets the same stand-in everywhere in a report (`room-1`, `peer-2`), so it can still be followed.
//!
//! Two nets: what is known (all names and ids of the profile) is replaced wherever it stands;
//! beyond that, whatever has the form of an address, an id, a path or a quotation is replaced as
//! well.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use klatch_core::ids::{DeviceId, IdentityId, RoomId};
use serde_json::Value;

use super::facts::{Facts, Key, NodeFact, StoreFact};

/// Letters and digits mixed, at least so long: a short form of an id.
const ID_CHARS_MIN: usize = 8;
/// Letters alone, at least so long: no word of a language.
const WORD_CHARS_MAX: usize = 24;
/// Folders that every machine has.
const SYSTEM: [&str; 9] = ["/dev", "/proc", "/sys", "/usr", "/etc", "/lib", "/bin", "/tcp", "/udp"];
/// Keys of log lines whose value names somebody, even if it looks like any word.
const NAMING: [&str; 10] =
    ["peer", "topic", "room", "device", "id", "name", "address", "addr", "message", "instance"];

/// What there are stand-ins for.
const KINDS: [&str; 10] =
    ["person", "peer", "room", "id", "ip", "port", "host", "path", "file", "profile"];

/// Gives out stand-ins.
#[derive(Debug, Default)]
pub struct Redactor {
    /// What is known, longest first when it is used, with its kind.
    known: BTreeMap<String, &'static str>,
    given: BTreeMap<String, String>,
    counts: BTreeMap<&'static str, usize>,
}

impl Redactor {
    /// From now on this is replaced wherever it stands as a word of its own.
    pub fn learn(&mut self, kind: &'static str, what: &str) {
        if !what.is_empty() {
            self.known.entry(what.to_owned()).or_insert(kind);
        }
    }

    /// As [`Self::learn`], with a stand-in of its own.
    pub fn learn_as(&mut self, what: &str, name: &str) {
        self.learn("path", what);
        self.given.insert(key("path", what), name.to_owned());
    }

    /// A room is known with and without its `#`.
    pub fn learn_room(&mut self, name: &str) {
        self.learn("room", name);
        self.learn("room", name.trim_start_matches('#'));
    }

    /// Takes names and ids out of an answer of the node, whatever its form: by their keys.
    pub fn learn_from(&mut self, answer: &Value) {
        match answer {
            Value::Array(list) => list.iter().for_each(|v| self.learn_from(v)),
            Value::Object(fields) => {
                let room = fields.contains_key("access") || fields.contains_key("members");
                for (key, value) in fields {
                    match (key.as_str(), value) {
                        ("name", Value::String(name)) if room => self.learn_room(name),
                        ("name" | "claimed" | "petname", Value::String(name)) => {
                            self.learn("person", name)
                        }
                        (
                            "room_id" | "message_id" | "device" | "identity" | "fingerprint",
                            Value::String(id),
                        ) => self.learn("id", id),
                        ("peer_id", Value::String(id)) => self.learn("peer", id),
                        _ => self.learn_from(value),
                    }
                }
            }
            _ => {}
        }
    }

    /// The stand-in of something, always the same.
    pub fn stand_in(&mut self, kind: &'static str, what: &str) -> String {
        let key = key(kind, what);
        if let Some(known) = self.given.get(&key) {
            return known.clone();
        }
        let n = self.counts.entry(kind).or_default();
        *n += 1;
        let name = format!("{kind}-{n}");
        self.given.insert(key, name.clone());
        name
    }

    /// A text of ours, with everything in it replaced that names somebody.
    pub fn text(&mut self, text: &str) -> String {
        let text = self.without_known(text);
        let mut out = String::with_capacity(text.len());
        for piece in text.split_inclusive(char::is_whitespace) {
            let word = piece.trim_end();
            out.push_str(&self.word(word));
            out.push_str(&piece[word.len()..]);
        }
        out
    }

    /// As [`Self::text`] for a line of the log: quotations are replaced too, and lines of another
    /// form left out.
    pub fn log_line(&mut self, line: &str) -> Option<String> {
        let (time, rest) = line.split_once(' ')?;
        let rest = rest.trim_start();
        let level = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"]
            .into_iter()
            .find(|l| rest.starts_with(l))?;
        if !is_time(time) {
            return None;
        }
        let rest = unquoted(&rest[level.len()..]);
        Some(format!("{time} {level}{}", self.text(&rest)))
    }

    /// Replaces what is known, the longest first, so that no part of it is left.
    fn without_known(&mut self, text: &str) -> String {
        let mut known: Vec<(String, &'static str)> =
            self.known.iter().map(|(k, v)| (k.clone(), *v)).collect();
        known.sort_by_key(|(what, _)| std::cmp::Reverse(what.len()));
        // What was put in is not looked at again: somebody may be called `room`.
        let mut parts: Vec<Part> = vec![Part::Raw(text.to_owned())];
        for (what, kind) in known {
            if !parts.iter().any(|p| matches!(p, Part::Raw(text) if text.contains(&what))) {
                continue;
            }
            let name = self.stand_in(kind, &what);
            parts = parts.into_iter().flat_map(|part| part.without(&what, &name)).collect();
        }
        parts
            .into_iter()
            .map(|p| match p {
                Part::Raw(text) | Part::Done(text) => text,
            })
            .collect()
    }

    /// One word between blanks: its pieces between brackets, quotes and signs.
    fn word(&mut self, word: &str) -> String {
        let breaks = |c: char| "\"'`(){}<>,;=|".contains(c);
        let (mut out, mut naming) = (String::new(), false);
        for piece in word.split_inclusive(breaks) {
            let (bare, sign) = match piece.chars().last().filter(|c| breaks(*c)) {
                Some(sign) => (&piece[..piece.len() - sign.len_utf8()], Some(sign)),
                None => (piece, None),
            };
            let clean = bare.trim_end_matches([':', '.', '!', '?']);
            let hidden = self.piece(clean);
            let bare_name = naming && hidden == clean && !clean.is_empty() && !is_stand_in(clean);
            out.push_str(&if bare_name { self.stand_in("id", clean) } else { hidden });
            out.push_str(&bare[clean.len()..]);
            out.extend(sign);
            naming = match sign {
                Some('=') => NAMING.contains(&bare),
                Some('(') => bare == "Peer" || bare == "PeerId" || naming,
                _ => false,
            };
        }
        out
    }

    fn piece(&mut self, piece: &str) -> String {
        if piece.len() > 1 && piece.starts_with('#') {
            return self.stand_in("room", piece);
        }
        if ["/ip4/", "/ip6/", "/dns"].iter().any(|p| piece.starts_with(p)) {
            return self.multiaddr(piece);
        }
        if piece.starts_with('/') && piece.len() > 1 {
            let system = SYSTEM
                .iter()
                .any(|s| piece.strip_prefix(s).is_some_and(|r| r.is_empty() || r.starts_with('/')));
            return if system { piece.to_owned() } else { self.stand_in("path", piece) };
        }
        if let Ok(address) = piece.parse::<SocketAddr>() {
            return format!(
                "{}:{}",
                self.ip(address.ip()),
                self.stand_in("port", &address.port().to_string())
            );
        }
        let (bare, scope) = piece.split_once('%').map_or((piece, ""), |(bare, _)| (bare, "%..."));
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return self.ip(ip) + scope;
        }
        if let Some(inner) = piece.strip_prefix('[') {
            return format!("[{}", self.piece(inner));
        }
        if let Some(inner) = piece.strip_suffix(']') {
            return format!("{}]", self.piece(inner));
        }
        if is_fingerprint(piece) {
            return self.stand_in("id", piece);
        }
        self.pieces(piece)
    }

    /// Ids among the letters and digits.
    fn pieces(&mut self, piece: &str) -> String {
        let mut out = String::new();
        let plain = |c: char| !c.is_alphanumeric();
        for part in piece.split_inclusive(plain) {
            let bare = part.trim_end_matches(plain);
            out.push_str(&if is_id(bare) { self.stand_in("id", bare) } else { bare.to_owned() });
            out.push_str(&part[bare.len()..]);
        }
        out
    }

    fn ip(&mut self, ip: IpAddr) -> String {
        if ip.is_loopback() || ip.is_unspecified() {
            ip.to_string()
        } else {
            self.stand_in("ip", &ip.to_string())
        }
    }

    /// `/ip4/ip-1/tcp/port-1/p2p/peer-1`.
    pub fn multiaddr(&mut self, address: &str) -> String {
        let (mut out, mut parts) = (Vec::new(), address.split('/'));
        while let Some(protocol) = parts.next() {
            let kind = match protocol {
                "ip4" | "ip6" => "ip",
                "dns" | "dns4" | "dns6" | "dnsaddr" => "host",
                // A profile's usual port tells it apart.
                "tcp" | "udp" => "port",
                "p2p" => "peer",
                other => {
                    out.push(self.pieces(other));
                    continue;
                }
            };
            out.push(protocol.to_owned());
            out.extend(parts.next().map(|value| match value.parse() {
                _ if is_stand_in(value) => value.to_owned(),
                Ok(ip) if kind == "ip" => self.ip(ip),
                _ => self.stand_in(kind, value),
            }));
        }
        out.join("/")
    }

    /// The same facts about people and places that nobody knows.
    pub fn facts(&mut self, facts: &Facts) -> Facts {
        let mut facts = facts.clone();
        if facts.profile != "default" {
            facts.profile = self.stand_in("profile", &facts.profile);
        }
        facts.data = self.text(&facts.data.display().to_string()).into();
        for file in &mut facts.files {
            file.path = self.text(&file.path.display().to_string()).into();
        }
        if let Key::Broken { cause, fix } = &mut facts.keystore {
            (*cause, *fix) = (self.text(cause), self.text(fix));
        }
        if let StoreFact::Broken { cause, hint } = &mut facts.store {
            (*cause, *hint) = (self.text(cause), self.text(hint));
        }
        match &mut facts.node {
            NodeFact::Strange { cause } => *cause = self.text(cause),
            NodeFact::Answers { status, .. } => {
                status.name = self.stand_in("person", &status.name);
                (status.identity, status.device) = (IdentityId([0; 32]), DeviceId([0; 32]));
                status.peer_id = self.stand_in("peer", &status.peer_id);
                status.socket = None;
                status.listening.iter_mut().for_each(|a| *a = self.multiaddr(a));
                for peer in &mut status.peers {
                    peer.identity = None;
                    peer.name = peer.name.as_ref().map(|n| self.stand_in("person", n));
                    peer.name_mark = None;
                    peer.peer_id = self.stand_in("peer", &peer.peer_id);
                    peer.address = self.multiaddr(&peer.address);
                }
                for wanted in &mut status.wanted {
                    wanted.address = match wanted.address.starts_with('/') {
                        true => self.multiaddr(&wanted.address),
                        false => self.stand_in("host", &wanted.address),
                    };
                    wanted.error = wanted.error.as_ref().map(|e| self.text(e));
                }
                for room in &mut status.rooms {
                    room.name = self.stand_in("room", &room.name);
                    room.name_mark = None;
                    room.room = RoomId([0; 16]);
                }
            }
            NodeFact::Hidden { cause, fix } => {
                (*cause, *fix) = (self.text(cause), self.text(fix));
            }
            NodeFact::Silent(silent) => {
                silent.socket = self.text(&silent.socket.display().to_string()).into();
            }
            NodeFact::Absent => {}
        }
        facts
    }
}

/// A room is one thing, with its sign or without.
fn key(kind: &str, what: &str) -> String {
    format!("{kind}\n{}", if kind == "room" { what.trim_start_matches('#') } else { what })
}

/// A text in which some parts are done.
enum Part {
    Raw(String),
    Done(String),
}

impl Part {
    /// Replaces what stands as a word of its own.
    fn without(self, what: &str, name: &str) -> Vec<Part> {
        let Part::Raw(text) = self else { return vec![self] };
        let (mut parts, mut from, mut raw) = (Vec::new(), 0, 0);
        while let Some(at) = text[from..].find(what).map(|at| from + at) {
            let end = at + what.len();
            let joined = |outer: Option<char>, inner: Option<char>| {
                outer.is_some_and(char::is_alphanumeric) && inner.is_some_and(char::is_alphanumeric)
            };
            let inside = joined(text[..at].chars().next_back(), what.chars().next())
                || joined(text[end..].chars().next(), what.chars().next_back());
            if inside {
                from = at + what.chars().next().map_or(1, char::len_utf8);
                continue;
            }
            parts.push(Part::Raw(text[raw..at].to_owned()));
            parts.push(Part::Done(name.to_owned()));
            (from, raw) = (end, end);
        }
        parts.push(Part::Raw(text[raw..].to_owned()));
        parts
    }
}

/// `2026-11-21T18:05:00.123456Z`.
fn is_time(word: &str) -> bool {
    word.len() >= 20
        && word.ends_with('Z')
        && word.chars().all(|c| c.is_ascii_digit() || "-:.TZ".contains(c))
        && word.as_bytes().get(10) == Some(&b'T')
}

/// Quotations may hold anything; one that does not end goes to the end of the line.
fn unquoted(text: &str) -> String {
    let without = |text: &str, quote: char| {
        let parts = text.split(quote).enumerate();
        let parts: Vec<&str> =
            parts.map(|(i, part)| if i % 2 == 1 { "..." } else { part }).collect();
        parts.join(&quote.to_string())
    };
    without(&without(text, '"'), '`')
}

/// Made by us.
fn is_stand_in(word: &str) -> bool {
    word.split_once('-')
        .is_some_and(|(kind, n)| KINDS.contains(&kind) && n.parse::<usize>().is_ok())
}

/// Groups of four capitals and digits.
fn is_fingerprint(word: &str) -> bool {
    let group =
        |g: &str| g.len() == 4 && g.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    word.contains('-') && word.split('-').all(group)
}

fn is_id(word: &str) -> bool {
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let letters = word.chars().filter(|c| c.is_alphabetic()).count();
    let mixed = word.len() >= ID_CHARS_MIN && digits > 0 && letters > 0;
    mixed || word.len() > WORD_CHARS_MAX
}
