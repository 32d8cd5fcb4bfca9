//! From a name and a passphrase to the keys of a room.

use klatch_core::crypto::group::{RoomKeys, RoomRoot, stretch, word_numbers};
use klatch_core::crypto::{Context, derive, hash};
use klatch_core::ids::{Peer, RoomId};
use klatch_core::names::normalise;
use serde_json::{Value, json};
use unicode_normalization::UnicodeNormalization;

use crate::judge::{ROOT, hex};
use crate::{Case, Document, check};

#[test]
fn room_keys() {
    let mut cases = vec![
        stretched("an open room", "#garden", ""),
        stretched("other spellings of the name are the same room", "GARDEN", ""),
        stretched("a passphrase room", "garden", "correct horse battery staple"),
        stretched("a name beyond ASCII, decomposed", "Cafe\u{301}", ""),
        stretched("a name in wide letters is the same room", "#ＧＡＲＤＥＮ", ""),
        stretched("a name with a ligature", "#ﬁsh", ""),
        stretched("sharp s stays what it is", "#straße", ""),
        stretched("a passphrase beyond ASCII, composed", "garden", "Caf\u{e9} \u{c5}ngstr\u{f6}m"),
        stretched(
            "the same passphrase, decomposed",
            "garden",
            "Cafe\u{301} A\u{30a}ngstro\u{308}m",
        ),
        stretched(
            "a passphrase with a compatibility character is another one",
            "garden",
            "\u{fb01}sh",
        ),
        stretched("without that character", "garden", "fish"),
        derived("keys from a root", &ROOT, json!({})),
    ];
    for (name, bad) in [
        ("no name", ""),
        ("only the sign", "#"),
        ("a space", "a b"),
        ("a second sign", "a#b"),
        ("a slash", "a/b"),
        ("a direction character", "x\u{202e}y"),
        ("an escape", "\u{1b}[0m"),
        ("a line break", "a\nb"),
        ("a combining mark at the start", "\u{301}a"),
        ("65 bytes", &"x".repeat(65)),
        ("a filler", "\u{3164}"),
        ("a selector", "garden\u{fe0f}"),
        ("the form of a room's id", &RoomId([7; 16]).to_string()),
    ] {
        assert!(normalise(bad).is_err());
        let input = json!({ "name": bad, "passphrase": "" });
        let reason = Some("bounds");
        cases.push(Case {
            name: name.to_owned(),
            hex: None,
            pieces: None,
            valid: false,
            reason,
            input,
            fields: Value::Null,
        });
    }
    let root_of = |name: &str| cases.iter().find(|c| c.name == name).map(|c| &c.hex).unwrap();
    assert_eq!(root_of("an open room"), root_of("a name in wide letters is the same room"));
    assert_eq!(
        root_of("a passphrase beyond ASCII, composed"),
        root_of("the same passphrase, decomposed")
    );
    assert_ne!(
        root_of("without that character"),
        root_of("a passphrase with a compatibility character is another one")
    );
    let about = "hex = the room's root: Argon2id(fields.password, fields.salt) where there is a name, fields.password being \
                 input.passphrase in NFC; fields = what follows from it.";
    check(&Document { structure: "room", section: "4", about, given: Value::Null, cases });
}

fn stretched(name: &str, room: &str, passphrase: &str) -> Case {
    let (normal, root) = stretch(room, passphrase).unwrap();
    let salt = hash(Context::ROOM_SALT, &[normal.trim_start_matches('#').as_bytes()]);
    let password = hex(passphrase.nfc().collect::<String>().as_bytes());
    let more = json!({ "name": normal, "salt": hex(&salt.0[..16]), "password": password });
    let mut case = derived(name, root.as_bytes(), more);
    case.input = json!({ "name": room, "passphrase": passphrase });
    case
}

fn derived(name: &str, root: &[u8; 32], more: Value) -> Case {
    let keys = RoomKeys::of_root(&RoomRoot::from_bytes(*root));
    let secret = derive(root, Context::STATIC_EPOCH, &[]);
    let (a, b) = (Peer(vec![1, 2, 3]), Peer(vec![4, 5]));
    let mut fields = json!({
        "room": hex(&keys.room.0),
        "words": word_numbers(&keys.room),
        "epoch_secret": hex(&*secret),
        "epoch": hex(&keys.epoch.0),
        "topic_key": hex(keys.topic_key().verifying_key().as_bytes()),
        "topic": hex(&keys.topic.0),
        "gossipsub_topic": keys.topic.to_string(),
        "envelope_key": hex(keys.envelope_key()),
        "sync_key": hex(&*derive(&secret, Context::SYNC_KEY, &[])),
        "proof_request_010203_to_0405": hex(&keys.proof(Context::PROOF_REQUEST, &a, &b).0),
        "proof_response_0405_to_010203": hex(&keys.proof(Context::PROOF_RESPONSE, &b, &a).0),
    });
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (hex, input) = (Some(hex(root)), Value::Null);
    Case { name: name.to_owned(), hex, pieces: None, valid: true, reason: None, input, fields }
}
