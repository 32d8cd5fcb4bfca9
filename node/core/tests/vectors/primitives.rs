//! Hashing, base32, padding, fingerprints.

use klatch_core::crypto::{Context, hash, seal};
use klatch_core::identity::fingerprint;
use klatch_core::ids::{IdentityId, base32, unbase32};
use serde_json::{Value, json};

use crate::judge::hex;
use crate::{Case, Cases, Document, check};

fn case(name: &str, hex: String, valid: bool, input: Value, fields: Value) -> Case {
    let reason = (!valid).then_some("malformed");
    Case { name: name.to_owned(), hex: Some(hex), pieces: None, valid, reason, input, fields }
}

#[test]
fn hashes() {
    let parts: [(&str, &[&[u8]]); 6] = [
        ("no part", &[]),
        ("an empty part", &[b""]),
        ("one part", &[b"klatch"]),
        ("two parts", &[b"kla", b"tch"]),
        ("the same bytes cut elsewhere", &[b"klat", b"ch"]),
        ("more than one chunk of 1024 bytes", &[&[7; 5_000]]),
    ];
    let mut cases = Vec::new();
    for (name, parts) in parts {
        let input = json!({ "context": Context::ENTRY.as_str(), "parts": parts.iter().map(|p| hex(p)).collect::<Vec<_>>() });
        cases.push(case(name, hex(&hash(Context::ENTRY, parts).0), true, input, Value::Null));
    }
    for context in Context::ALL {
        let input = json!({ "context": context.as_str(), "parts": [] });
        cases.push(case(context.as_str(), hex(&hash(*context, &[]).0), true, input, Value::Null));
    }
    let about =
        "hex = H(input.context, input.parts). The last cases list every context that is in use.";
    check(&Document { structure: "hash", section: "2.2", about, given: Value::Null, cases });
}

#[test]
fn base32_text() {
    let mut cases = Vec::new();
    for bytes in [
        &b""[..],
        b"\0",
        b"f",
        b"fo",
        b"foo",
        b"foob",
        b"fooba",
        b"foobar",
        &[0xff; 16],
        &[0x5a; 32],
    ] {
        let text = base32(bytes);
        let name = format!("{} bytes: {text}", bytes.len());
        cases.push(case(&name, hex(bytes), true, json!({ "text": text }), Value::Null));
    }
    assert_eq!(unbase32("MZXW6"), Some(b"foo".to_vec()));
    cases.push(case(
        "capital letters are read too",
        hex(b"foo"),
        true,
        json!({ "text": "MZXW6", "read_only": true }),
        Value::Null,
    ));
    for (name, text) in [
        ("a digit that is no base32 digit", "mzxw1"),
        ("padding", "mzxw6==="),
        ("a space", "mzxw 6"),
        ("a letter beyond ASCII", "mzxw\u{f6}"),
        ("an impossible length", "mzxw6a"),
        ("one character", "m"),
        ("spare bits that are not zero", "mz"),
    ] {
        assert_eq!(unbase32(text), None, "{text}");
        cases.push(case(name, String::new(), false, json!({ "text": text }), Value::Null));
    }
    let about = "hex = the bytes that input.text stands for. read_only: accepted, never written.";
    check(&Document { structure: "base32", section: "2.5", about, given: Value::Null, cases });
}

#[test]
fn fingerprints() {
    let of = |name: &str, id: [u8; 32]| {
        case(
            name,
            hex(&id),
            true,
            Value::Null,
            json!({ "fingerprint": fingerprint(&IdentityId(id)) }),
        )
    };
    let cases = vec![
        of("zeros", [0; 32]),
        of("ones", [0xff; 32]),
        of("Alice", crate::make::alice().identity_id().0),
    ];
    let about = "hex = the identity's public key.";
    check(&Document { structure: "fingerprint", section: "3.3", about, given: Value::Null, cases });
}

#[test]
fn padding() {
    let padded = |len: usize| {
        let mut bytes = vec![0x61; len];
        seal::pad(&mut bytes);
        bytes
    };
    let mut cases = Cases::of("padding");
    for len in [0, 1, 254, 255, 256, 271, 272, 500, 1_000, 20_000, 64_000] {
        cases.accept(&format!("{len} bytes"), &padded(len));
    }
    cases.accept("a text that ends like padding", &{
        let mut bytes = vec![0x61, 0x80, 0, 0];
        seal::pad(&mut bytes);
        bytes
    });
    let good = padded(3);
    cases
        .refuse("nothing", &[])
        .refuse("only zeros", &[0; 256])
        .refuse("one byte short", &good[..255]);
    cases.refuse("one byte more", &[&good[..], &[0]].concat());
    cases.refuse("the next step up", &[&good[..], &[0; 16]].concat());
    cases.refuse("another marker", &[b"abc\x81", &[0; 252][..]].concat());
    cases.refuse("a byte after the marker", &[&good[..255], &[1]].concat());
    cases.refuse("no marker", &[0x61; 256]);
    let about = "hex = the padded bytes, fields.plain = the bytes without padding.";
    check(&Document {
        structure: "padding",
        section: "2.4",
        about,
        given: Value::Null,
        cases: cases.out,
    });
}
