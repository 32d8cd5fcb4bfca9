//! What two people compare to know that nobody is between them (PROTOCOL.md 11.8): one digest over
//! both sides' keys, and what is shown of it.

use argon2::{Algorithm, Argon2, Params, Version};

use crate::crypto::group::{STRETCH_KIB, STRETCH_PASSES};
use crate::crypto::{Context, hash};
use crate::ids::{DeviceId, Digest, IdentityId, SessionKey};
use crate::query::EmojiName;

/// Groups of five digits.
const GROUPS: usize = 12;
/// Bytes that make one group: 40 bits, so that no digit is noticeably more likely than another.
const GROUP_BYTES: usize = 5;
/// Emoji shown: 42 bits.
const EMOJI: usize = 7;
/// Bytes that make them.
const EMOJI_BYTES: usize = 6;

/// The keys of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Side {
    /// The person.
    pub identity: IdentityId,
    /// The device that takes part in the conversation.
    pub device: DeviceId,
    /// Its identity key of the session layer.
    pub key: SessionKey,
}

/// What both sides' keys come to; the same whoever of the two asks.
#[must_use]
pub fn digest(a: &Side, b: &Side) -> Digest {
    let (first, second) = (a.min(b), a.max(b));
    let parts: [&[u8]; 6] = [
        &first.identity.0,
        &first.device.0,
        &first.key.0,
        &second.identity.0,
        &second.device.0,
        &second.key.0,
    ];
    hash(Context::VERIFY, &parts)
}

/// Bytes of the stretch.
pub const STRETCHED_BYTES: usize = GROUPS * GROUP_BYTES + EMOJI_BYTES;

/// 60 digits in groups of five, and 7 emoji with their names. Takes about 0.15 s ([`stretch`]).
/// `None` only if Argon2id itself fails, which its fixed parameters exclude.
#[must_use]
pub fn code(digest: &Digest) -> Option<(String, Vec<EmojiName>)> {
    stretch(digest).map(|out| shown(&out))
}

/// Argon2id (64 MiB, 3 passes): the emoji alone have 42 bits, and each attempt to find keys that
/// give the same ones must cost something.
#[must_use]
pub fn stretch(digest: &Digest) -> Option<[u8; STRETCHED_BYTES]> {
    let params = Params::new(STRETCH_KIB, STRETCH_PASSES, 1, Some(STRETCHED_BYTES)).ok()?;
    let salt = hash(Context::VERIFY_SALT, &[]);
    let mut out = [0; STRETCHED_BYTES];
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into(&digest.0, &salt.0[..16], &mut out).ok()?;
    Some(out)
}

/// What is shown of the stretch.
#[must_use]
pub fn shown(out: &[u8; STRETCHED_BYTES]) -> (String, Vec<EmojiName>) {
    let (digits, emoji) = out.split_at(GROUPS * GROUP_BYTES);
    (digits_of(digits), emoji_of(emoji))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b))
}

fn digits_of(bytes: &[u8]) -> String {
    let groups: Vec<String> =
        bytes.chunks(GROUP_BYTES).map(|c| format!("{:05}", number(c) % 100_000)).collect();
    groups.join(" ")
}

fn emoji_of(bytes: &[u8]) -> Vec<EmojiName> {
    let bits = number(bytes);
    // The first 42 bits, six at a time.
    let at = |i: usize| usize::try_from(bits >> (EMOJI_BYTES * 8 - 6 * (i + 1)) & 63).unwrap_or(0);
    (0..EMOJI)
        .map(|i| {
            let (emoji, name) = TABLE[at(i)];
            EmojiName { emoji: emoji.to_owned(), name: name.to_owned() }
        })
        .collect()
}

/// The 64 emoji of Matrix' short authentication strings, chosen there to be told apart by
/// everybody, with their names.
pub const TABLE: [(&str, &str); 64] = [
    ("🐶", "Dog"),
    ("🐱", "Cat"),
    ("🦁", "Lion"),
    ("🐎", "Horse"),
    ("🦄", "Unicorn"),
    ("🐷", "Pig"),
    ("🐘", "Elephant"),
    ("🐰", "Rabbit"),
    ("🐼", "Panda"),
    ("🐓", "Rooster"),
    ("🐧", "Penguin"),
    ("🐢", "Turtle"),
    ("🐟", "Fish"),
    ("🐙", "Octopus"),
    ("🦋", "Butterfly"),
    ("🌷", "Flower"),
    ("🌳", "Tree"),
    ("🌵", "Cactus"),
    ("🍄", "Mushroom"),
    ("🌏", "Globe"),
    ("🌙", "Moon"),
    ("☁️", "Cloud"),
    ("🔥", "Fire"),
    ("🍌", "Banana"),
    ("🍎", "Apple"),
    ("🍓", "Strawberry"),
    ("🌽", "Corn"),
    ("🍕", "Pizza"),
    ("🎂", "Cake"),
    ("❤️", "Heart"),
    ("😀", "Smiley"),
    ("🤖", "Robot"),
    ("🎩", "Hat"),
    ("👓", "Glasses"),
    ("🔧", "Spanner"),
    ("🎅", "Santa"),
    ("👍", "Thumbs up"),
    ("☂️", "Umbrella"),
    ("⌛", "Hourglass"),
    ("⏰", "Clock"),
    ("🎁", "Gift"),
    ("💡", "Light bulb"),
    ("📕", "Book"),
    ("✏️", "Pencil"),
    ("📎", "Paperclip"),
    ("✂️", "Scissors"),
    ("🔒", "Lock"),
    ("🔑", "Key"),
    ("🔨", "Hammer"),
    ("☎️", "Telephone"),
    ("🏁", "Flag"),
    ("🚂", "Train"),
    ("🚲", "Bicycle"),
    ("✈️", "Aeroplane"),
    ("🚀", "Rocket"),
    ("🏆", "Trophy"),
    ("⚽", "Ball"),
    ("🎸", "Guitar"),
    ("🎺", "Trumpet"),
    ("🔔", "Bell"),
    ("⚓", "Anchor"),
    ("🎧", "Headphones"),
    ("📁", "Folder"),
    ("📌", "Pin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn side(n: u8) -> Side {
        Side {
            identity: IdentityId([n; 32]),
            device: DeviceId([n + 1; 32]),
            key: SessionKey([n + 2; 32]),
        }
    }

    #[test]
    fn both_sides_see_the_same_and_any_other_key_shows() {
        let (a, b) = (side(1), side(9));
        assert_eq!(digest(&a, &b), digest(&b, &a));
        for other in [
            Side { identity: IdentityId([0; 32]), ..b },
            Side { device: DeviceId([0; 32]), ..b },
            Side { key: SessionKey([0; 32]), ..b },
        ] {
            assert_ne!(digest(&a, &b), digest(&a, &other));
        }
    }

    #[test]
    fn a_code_has_sixty_digits_and_seven_emoji() {
        let (digits, emoji) = code(&digest(&side(1), &side(9))).unwrap();
        assert_eq!(digits.split(' ').map(str::len).collect::<Vec<_>>(), [5; 12]);
        assert_eq!(emoji.len(), 7);
        assert_ne!(code(&digest(&side(1), &side(8))).unwrap().0, digits);
    }

    #[test]
    fn emoji_are_taken_six_bits_at_a_time_and_all_differ() {
        let names = |bytes: &[u8]| emoji_of(bytes).into_iter().map(|e| e.name).collect::<Vec<_>>();
        assert_eq!(names(&[0; 6]), ["Dog"; 7]);
        assert_eq!(names(&[0xff; 6]), ["Pin"; 7]);
        assert_eq!(
            names(&[0b0000_0100, 0b0010_0000, 0b1100_0000, 0, 0, 0])[..3],
            ["Cat", "Lion", "Horse"]
        );
        let all: std::collections::BTreeSet<_> = TABLE.iter().map(|(e, _)| e).collect();
        assert_eq!(all.len(), 64);
    }
}
