//! Reads Cargo.lock: every crate with a known fault is at least at the version that is right, and
//! abandoned crates stay out.
//!
//! The advisory databases that tools read do not hold the faults of gossipsub and yamux, so this
//! table is kept by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;

/// Crate, first version without the fault, the fault. Several generations of a crate may be in the
/// tree; each is checked.
const MINIMUM: &[(&str, &str, &str)] = &[
    ("libp2p", "0.45.1", "no resource management (RUSTSEC-2022-0084)"),
    (
        "libp2p-gossipsub",
        "0.50.1",
        "PRUNE back-off overflow, heartbeat overflow, unbounded topics by GRAFT, PRUNE for unknown topics",
    ),
    (
        "yamux",
        "0.13.10",
        "remote panic by a large SYN frame and by a window update (CVE-2026-32314, CVE-2026-31814)",
    ),
    ("libp2p-rendezvous", "0.17.1", "no limit on registrations and cookies (GHSA-cqfx, GHSA-v5hw)"),
    ("libp2p-quic", "0.13.1", "panic on a bad certificate (GHSA-5hq8)"),
    (
        "quinn-proto",
        "0.11.15",
        "remote panic, memory exhaustion by fragments (RUSTSEC-2026-0037, 2026-0185)",
    ),
    ("hickory-proto", "0.26.1", "endless loop in a record (RUSTSEC-2026-0118, 2026-0119)"),
    ("rustls-webpki", "0.103.13", "certificate checks (RUSTSEC-2026-0104, 0098, 0099, 0049)"),
    ("snow", "0.9.5", "nonce raised without authentication (RUSTSEC-2024-0011)"),
    ("ed25519-dalek", "2.0.0", "double public key oracle (RUSTSEC-2022-0093)"),
    ("curve25519-dalek", "4.1.3", "timing (RUSTSEC-2024-0344)"),
    ("vodozemac", "0.10.0", "non-contributory keys accepted, zeroize lost through a feature"),
    ("tracing-subscriber", "0.3.20", "terminal escapes of remote text in logs (RUSTSEC-2025-0055)"),
    ("lru", "0.18.2", "unsound iterators (RUSTSEC-2026-0002, 2026-0253)"),
];

/// Not even through a dependency.
const BANNED: &[&str] = &[
    "bincode",
    "serde_cbor",
    "serde_yaml",
    "yaml-rust",
    "atty",
    "ansi_term",
    "instant",
    "async-std",
    "derivative",
    "proc-macro-error",
    "fxhash",
    "rust-crypto",
    "sodiumoxide",
    "rsa",
    "native-tls",
];

/// Not by us; some of our dependencies still use them.
const BANNED_DIRECTLY: &[&str] =
    &["paste", "rand", "chrono", "lazy_static", "once_cell", "openssl", "async-trait"];

/// A table row about a crate that is not in the tree protects nothing unless its name is right:
/// these must be there.
const PRESENT: &[&str] = &[
    "libp2p",
    "libp2p-gossipsub",
    "yamux",
    "libp2p-quic",
    "quinn-proto",
    "hickory-proto",
    "rustls-webpki",
    "snow",
    "ed25519-dalek",
    "curve25519-dalek",
    "tracing-subscriber",
];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn table(path: &str) -> toml::Table {
    let path = root().join(path);
    std::fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        .parse()
        .unwrap()
}

/// Crate name -> versions in the lock file.
fn locked() -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in table("Cargo.lock")["package"].as_array().unwrap() {
        let field = |name: &str| package[name].as_str().unwrap().to_owned();
        all.entry(field("name")).or_default().push(field("version"));
    }
    all
}

/// Order of versions: numbers first, and a pre-release comes before its release.
fn key(version: &str) -> (Vec<u64>, bool) {
    let plain = version.split('+').next().unwrap();
    let (numbers, pre) = plain.split_once('-').map_or((plain, false), |(n, _)| (n, true));
    (numbers.split('.').map(|n| n.parse().unwrap()).collect(), !pre)
}

#[test]
fn crates_with_known_faults_are_new_enough() {
    let locked = locked();
    let mut old = Vec::new();
    for (name, minimum, fault) in MINIMUM {
        for version in locked.get(*name).into_iter().flatten() {
            if key(version) < key(minimum) {
                old.push(format!("{name} {version}: {fault}; right from {minimum}"));
            }
        }
    }
    assert!(old.is_empty(), "`cargo update -p CRATE` these:\n{}", old.join("\n"));
}

#[test]
fn the_table_names_crates_that_exist() {
    let locked = locked();
    let absent: Vec<_> = PRESENT.iter().filter(|name| !locked.contains_key(**name)).collect();
    assert!(absent.is_empty(), "in the table, but not in Cargo.lock (renamed?): {absent:?}");
}

#[test]
fn abandoned_crates_are_not_in_the_tree() {
    let locked = locked();
    let found: Vec<_> = BANNED.iter().filter(|name| locked.contains_key(**name)).collect();
    assert!(found.is_empty(), "`cargo tree -i CRATE` shows who wants {found:?}");
}

#[test]
fn workspace_does_not_name_superseded_crates() {
    let workspace = table("Cargo.toml");
    let dependencies = workspace["workspace"]["dependencies"].as_table().unwrap();
    let found: Vec<_> = BANNED
        .iter()
        .chain(BANNED_DIRECTLY)
        .filter(|name| dependencies.contains_key(**name))
        .collect();
    assert!(
        found.is_empty(),
        "the standard library or a crate in use does what {found:?} would do"
    );
}

#[test]
fn everything_comes_from_the_registry() {
    for package in table("Cargo.lock")["package"].as_array().unwrap() {
        let Some(source) = package.get("source") else { continue };
        let source = source.as_str().unwrap();
        assert!(source.starts_with("registry+"), "{}: {source}", package["name"]);
        assert!(package.get("checksum").is_some(), "{} has no checksum", package["name"]);
    }
}

#[test]
fn versions_are_compared_as_numbers() {
    assert!(key("0.9.5") < key("0.10.0"));
    assert!(key("3.0.0-rc.1") < key("3.0.0"));
    assert!(key("4.1.3") <= key("4.1.3"));
    assert!(key("1.2.3+build") == key("1.2.3"));
}
