//! The published test vectors, docs/vectors/*.json: one file per structure of PROTOCOL.md, with
//! cases to accept and one case per way to be wrong. The files must be what this program makes from
//! its fixed seeds, byte for byte; `KLATCH_BLESS=1 cargo test -p klatch-core --test vectors` writes
//! them anew.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod content;
mod direct;
mod entries;
mod frames;
mod judge;
mod make;
mod primitives;
mod raw;
mod rooms;
mod statements;

use std::fs;
use std::path::PathBuf;

use judge::{Fixture, ROOT, hex};
use serde::Serialize;
use serde_json::Value;

/// One file.
#[derive(Serialize)]
struct Document {
    structure: &'static str,
    /// The section of PROTOCOL.md.
    section: &'static str,
    /// What the hexadecimal digits are, and what else a decoder needs.
    about: &'static str,
    /// What the receiver knows beforehand.
    #[serde(skip_serializing_if = "Value::is_null")]
    given: Value,
    cases: Vec<Case>,
}

/// One case.
#[derive(Serialize)]
struct Case {
    name: String,
    /// The bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
    /// The bytes, as pieces that are repeated: `[[hex, times], ...]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pieces: Option<Vec<(String, usize)>>,
    valid: bool,
    /// Why it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// What this case needs besides the bytes.
    #[serde(skip_serializing_if = "Value::is_null")]
    input: Value,
    /// What the bytes mean, or what follows from the input.
    #[serde(skip_serializing_if = "Value::is_null")]
    fields: Value,
}

/// Collects the cases of one structure; asks the library what it says, and insists that it is what
/// the case is for.
struct Cases {
    fixture: Fixture,
    structure: &'static str,
    kind: Option<u8>,
    out: Vec<Case>,
}

impl Cases {
    fn of(structure: &'static str) -> Self {
        Self { fixture: Fixture::new(), structure, kind: None, out: Vec::new() }
    }

    fn accept(&mut self, name: &str, bytes: &[u8]) -> &mut Self {
        self.add(name, bytes, true)
    }

    fn refuse(&mut self, name: &str, bytes: &[u8]) -> &mut Self {
        self.add(name, bytes, false)
    }

    /// Every misspelling of an acceptable array.
    fn misspell(&mut self, valid: &[u8]) -> &mut Self {
        for (name, bytes) in raw::misspellings(valid) {
            self.refuse(name, &bytes);
        }
        self
    }

    fn add(&mut self, name: &str, bytes: &[u8], valid: bool) -> &mut Self {
        let judged = judge::judge(&mut self.fixture, self.structure, self.kind, true, bytes);
        assert_eq!(judged.is_ok(), valid, "{}: {name}: {judged:?}", self.structure);
        assert!(
            self.out.iter().all(|c| c.name != name || c.input != self.input()),
            "{}: {name} twice",
            self.structure
        );
        let (hex, pieces) = if bytes.len() > 4_000 {
            (None, Some(pieces(bytes)))
        } else {
            (Some(hex(bytes)), None)
        };
        let reason = judged.as_ref().err().map(|r| judge::reason(*r));
        let fields = judged.unwrap_or(Value::Null);
        self.out.push(Case {
            name: name.to_owned(),
            hex,
            pieces,
            valid,
            reason,
            input: self.input(),
            fields,
        });
        self
    }

    fn input(&self) -> Value {
        self.kind.map_or(Value::Null, |kind| serde_json::json!({ "kind": kind }))
    }
}

/// Long runs of one byte become one piece.
fn pieces(bytes: &[u8]) -> Vec<(String, usize)> {
    let mut out: Vec<(Vec<u8>, usize)> = Vec::new();
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let same = rest.iter().take_while(|b| *b == first).count();
        match out.last_mut() {
            _ if same > 64 => out.push((vec![*first], same)),
            Some((piece, 1)) => piece.extend_from_slice(&rest[..same]),
            _ => out.push((rest[..same].to_vec(), 1)),
        }
        rest = &rest[same..];
    }
    out.into_iter().map(|(piece, times)| (hex(&piece), times)).collect()
}

/// What every receiver of the keyed structures knows.
fn room() -> Value {
    let f = Fixture::new();
    serde_json::json!({
        "root": hex(&ROOT),
        "room": hex(&f.keys.room.0),
        "epoch": hex(&f.keys.epoch.0),
        "me": hex(&f.me.0),
        "peer": hex(&f.peer.0),
    })
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/vectors")
}

fn check(document: &Document) {
    let path = folder().join(format!("{}.json", document.structure));
    let text = serde_json::to_string_pretty(document).unwrap() + "\n";
    if std::env::var("KLATCH_BLESS").is_ok() {
        fs::create_dir_all(folder()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let published = fs::read_to_string(&path).unwrap_or_default();
    if let Some((line, (made, found))) = text
        .lines()
        .zip(published.lines().chain(std::iter::repeat("")))
        .enumerate()
        .find(|(_, (a, b))| a != b)
    {
        panic!(
            "{}:{}: the encoding changed\n made: {made}\nfound: {found}\nA published vector never changes; a new case or a \
             new version of the protocol does: KLATCH_BLESS=1 cargo test -p klatch-core --test vectors",
            path.display(),
            line + 1
        );
    }
    assert_eq!(text.len(), published.len(), "{} is longer than what is made", path.display());
}

#[test]
fn every_file_is_one_that_is_made_here() {
    let made = [judge::STRUCTURES, &["base32", "fingerprint", "hash", "room", "verify"]].concat();
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let structure = name.strip_suffix(".json").unwrap_or(&name);
        assert!(made.contains(&structure), "nothing makes docs/vectors/{name}");
    }
}

#[test]
fn what_is_accepted_is_strict_by_a_second_reading() {
    for document in [
        entries::header(),
        entries::run(),
        content::content(),
        statements::device_cert(),
        statements::ack(),
    ] {
        // Kinds that nobody reads yet may hold anything.
        for case in document.cases.iter().filter(|c| c.valid && c.fields.get("newer").is_none()) {
            if let Some(hex) = &case.hex {
                assert!(
                    raw::is_strict(&judge::unhex(hex)),
                    "{}: {}",
                    document.structure,
                    case.name
                );
            }
        }
    }
}
