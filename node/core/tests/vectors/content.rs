//! What entries say: one set of cases per kind.

use klatch_core::content::Content;
use klatch_core::ids::EntryId;

use crate::make::{alice, profile, text};
use crate::statements::flipped;
use crate::{Cases, Document, check, raw};

const TARGET: EntryId = EntryId([0x33; 16]);

pub fn content() -> Document {
    let mut c = Cases::of("content");
    profiles(&mut c);
    texts(&mut c);
    changes(&mut c);
    reactions(&mut c);
    c.kind = Some(5);
    let notice = Content::Notice { text: "The door is open".into() }.encode();
    c.accept("notice", &notice)
        .refuse("notice without text", &raw::array(&[raw::text("")]))
        .misspell(&notice);
    c.kind = Some(6);
    let leave = Content::Leave.encode();
    c.accept("leave", &leave)
        .refuse("leave with a reason", &raw::array(&[raw::text("bye")]))
        .misspell(&leave);
    newer(&mut c);
    let about = "The plaintext body of an entry whose header has the kind input.kind. The signature inside a certificate is not \
                 checked here. fields.newer = a kind that this version does not read.";
    Document {
        structure: "content",
        section: "6",
        about,
        given: serde_json::Value::Null,
        cases: c.out,
    }
}

fn profiles(c: &mut Cases) {
    c.kind = Some(0);
    let alice = alice();
    let cert = alice.cert().encode();
    let named = |name: &str| raw::array(&[raw::text(name), raw::blob(&cert)]);
    assert_eq!(named("Alice"), profile(&alice, "Alice").encode());
    c.accept("Alice", &named("Alice"));
    c.accept("a name of 64 bytes", &named(&"x".repeat(64)));
    c.accept("a name with a joined emoji", &named("Zo\u{eb} \u{1f468}\u{200d}\u{1f33e}"));
    c.accept(
        "a certificate that is signed wrongly decodes",
        &raw::array(&[raw::text("Alice"), raw::blob(&flipped(&cert, 0))]),
    );
    c.misspell(&named("Alice"));
    c.refuse("no name", &named(""));
    c.refuse("a name of 65 bytes", &named(&"x".repeat(65)));
    c.refuse("a name with a leading space", &named(" Alice"));
    c.refuse("a name with a trailing no-break space", &named("Alice\u{a0}"));
    c.refuse("a name with a line break", &named("A\nB"));
    c.refuse("a name with an escape sequence", &named("A\u{1b}[2J"));
    c.refuse("a name with a control character above ASCII", &named("A\u{9b}2J"));
    c.refuse("a name that turns the direction of text", &named("A\u{202e}B"));
    c.refuse("a name with an invisible space", &named("A\u{200b}B"));
    c.refuse("a name with tag characters", &named("A\u{e0041}"));
    c.refuse("a name that is not UTF-8", &raw::array(&[vec![0x62, 0xc3, 0x28], raw::blob(&cert)]));
    c.refuse("a name as bytes", &raw::array(&[raw::blob(b"Alice"), raw::blob(&cert)]));
    c.refuse(
        "a certificate that is no byte string",
        &raw::array(&[raw::text("Alice"), cert.clone()]),
    );
    c.refuse(
        "a byte after the certificate",
        &raw::array(&[raw::text("Alice"), raw::blob(&[&cert[..], &[0]].concat())]),
    );
    c.refuse("no certificate", &raw::array(&[raw::text("Alice"), raw::null()]));
}

fn texts(c: &mut Cases) {
    c.kind = Some(1);
    let good = text("Hello, world").encode();
    c.accept("hello", &good);
    c.accept("a reply", &Content::Text { text: "Yes".into(), reply_to: Some(TARGET) }.encode());
    c.accept(
        "line breaks, tabs and other characters are for the screen to judge",
        &text("a\n\tb\u{1b}[2J\u{202e}").encode(),
    );
    c.accept("64,000 bytes", &text(&"x".repeat(64_000)).encode());
    c.misspell(&good);
    c.refuse("no text", &text("").encode());
    c.refuse("64,001 bytes", &text(&"x".repeat(64_001)).encode());
    c.refuse("longer than any body", &text(&"x".repeat(72_000)).encode());
    c.refuse(
        "text in pieces",
        &raw::array(&[
            [&[0x7f], &raw::text("a")[..], &raw::text("b"), &[0xff]].concat(),
            raw::null(),
        ]),
    );
    c.refuse("text that is not UTF-8", &raw::array(&[vec![0x62, 0xc3, 0x28], raw::null()]));
    c.refuse("a surrogate half", &raw::array(&[vec![0x63, 0xed, 0xa0, 0x80], raw::null()]));
    c.refuse("text as a byte string", &raw::array(&[raw::blob(b"Hello"), raw::null()]));
    c.refuse("reply to 15 bytes", &raw::array(&[raw::text("Yes"), raw::blob(&[0x33; 15])]));
    c.refuse("reply to a full hash", &raw::array(&[raw::text("Yes"), raw::blob(&[0x33; 32])]));
    c.refuse("the reply left out", &raw::array(&[raw::text("Yes")]));
}

fn changes(c: &mut Cases) {
    c.kind = Some(2);
    let edit = Content::Edit { target: TARGET, text: "Better".into() }.encode();
    c.accept("edit", &edit).misspell(&edit);
    c.refuse("edit to nothing", &raw::array(&[raw::blob(&TARGET.0), raw::text("")]));
    c.refuse("edit of nothing", &raw::array(&[raw::null(), raw::text("Better")]));
    c.kind = Some(3);
    let delete = Content::Delete { target: TARGET }.encode();
    c.accept("delete", &delete).misspell(&delete);
    c.refuse("delete of nothing", &raw::array(&[raw::null()]));
    c.refuse("the bare target", &raw::blob(&TARGET.0));
}

fn reactions(c: &mut Cases) {
    c.kind = Some(4);
    let of = |emoji: &str, on: Vec<u8>| raw::array(&[raw::blob(&TARGET.0), raw::text(emoji), on]);
    let good = Content::Reaction { target: TARGET, emoji: "\u{1f44d}".into(), on: true }.encode();
    assert_eq!(good, of("\u{1f44d}", raw::yes()));
    c.accept("thumbs up", &good);
    c.accept("taken off", &of("\u{1f44d}", vec![0xf4]));
    c.accept(
        "a flag made of tag characters",
        &of("\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}", raw::yes()),
    );
    c.accept("32 bytes", &of(&"x".repeat(32), raw::yes()));
    c.misspell(&good);
    c.refuse("no emoji", &of("", raw::yes()));
    c.refuse("33 bytes", &of(&"x".repeat(33), raw::yes()));
    c.refuse("an escape", &of("\u{1b}", raw::yes()));
    c.refuse("a direction character", &of("\u{202e}", raw::yes()));
    c.refuse("an integer in place of the boolean", &of("\u{1f44d}", raw::uint(1)));
    c.refuse("an unassigned simple value in place of the boolean", &of("\u{1f44d}", vec![0xe0]));
    c.refuse("a boolean in two bytes", &of("\u{1f44d}", vec![0xf8, 21]));
}

/// Kinds that later releases may bring are carried whatever they say; control kinds are not.
fn newer(c: &mut Cases) {
    let likely = raw::array(&[raw::blob(&TARGET.0), raw::uint(3)]);
    for kind in [7, 15, 32, 255] {
        c.kind = Some(kind);
        c.accept("a kind that is not in use", &likely);
    }
    c.accept("nothing at all", &[]);
    c.accept("an item that version 1 does not have", &[0xa0]);
    c.accept("no CBOR", &[0xff, 0x00, 0x1c]);
    for kind in [16, 31] {
        c.kind = Some(kind);
        c.refuse("a control kind, kept for private rooms", &likely);
    }
}

#[test]
fn contents() {
    check(&content());
}
