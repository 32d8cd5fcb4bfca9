//! The names of things: rooms, devices, identities, entries, epochs, peers.
//!
//! On the wire an id is a CBOR byte string; in JSON and on screen it is lower-case base32 (RFC 4648
//! alphabet, no padding).

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Lower-case base32 without padding.
#[must_use]
pub fn base32(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut acc, mut bits) = (0u32, 0u32);
    for &b in bytes {
        acc = (acc << 8) | u32::from(b);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(char::from(ALPHABET[(acc >> bits) as usize & 31]));
        }
        acc &= (1 << bits) - 1;
    }
    if bits > 0 {
        out.push(char::from(ALPHABET[(acc << (5 - bits)) as usize & 31]));
    }
    out
}

/// Inverse of [`base32`]; `None` for a foreign character, impossible length or non-zero trailing
/// bits.
#[must_use]
pub fn unbase32(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 5 / 8);
    let (mut acc, mut bits) = (0u32, 0u32);
    for c in text.bytes() {
        let v = ALPHABET.iter().position(|a| *a == c.to_ascii_lowercase())?;
        acc = (acc << 5) | u32::try_from(v).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(acc >> bits & 0xff).ok()?);
        }
        acc &= (1 << bits) - 1;
    }
    (bits < 5 && acc == 0).then_some(out)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The first eight characters of the text form, for logs and screens.
            #[must_use]
            pub fn short(&self) -> String {
                base32(&self.0[..5])
            }

            /// Parses the text form.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                unbase32(text)?.try_into().ok().map(Self)
            }

            /// Takes exactly [`Self::LEN`] bytes.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&base32(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let pattern = format!("^[a-z2-7]{{{}}}$", ($len * 8_usize).div_ceil(5));
                schemars::json_schema!({"type": "string", "pattern": pattern})
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() { s.collect_str(self) } else { s.serialize_bytes(&self.0) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct V;
                impl<'de> Visitor<'de> for V {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "{} bytes", $len)
                    }
                    fn visit_bytes<E: de::Error>(self, v: &[u8]) -> Result<$name, E> {
                        $name::from_slice(v).ok_or_else(|| E::invalid_length(v.len(), &self))
                    }
                    fn visit_str<E: de::Error>(self, v: &str) -> Result<$name, E> {
                        $name::parse(v).ok_or_else(|| E::custom("not a valid id"))
                    }
                }
                if d.is_human_readable() { d.deserialize_str(V) } else { d.deserialize_bytes(V) }
            }
        }
    };
}

id!(
    /// A room: derived from the room's root secret (PROTOCOL.md 4).
    RoomId, 16
);
id!(
    /// A device: the Ed25519 key that writes logs (PROTOCOL.md 3).
    DeviceId, 32
);
id!(
    /// A person: the Ed25519 key that certifies devices (PROTOCOL.md 3).
    IdentityId, 32
);
id!(
    /// The full hash of an entry's header (PROTOCOL.md 5).
    EntryHash, 32
);
id!(
    /// The first 16 bytes of an [`EntryHash`]: names an entry among those of a room.
    EntryId, 16
);
id!(
    /// A generation of a room's keys.
    EpochId, 16
);
id!(
    /// The gossipsub topic: hash of the epoch's topic public key.
    TopicId, 32
);
id!(
    /// The first 16 bytes of a [`DeviceId`], in frontiers: two keys with the same 8 could be made
    /// in a day.
    DeviceShort, 16
);
id!(
    /// The first 8 bytes of an [`EntryHash`], in frontiers.
    HashShort, 8
);
id!(
    /// The first 8 bytes of the id of an encrypted session with a device.
    SessionTag, 8
);
id!(
    /// 16 random bytes that bind an answer to its question, or an acknowledgement to its session.
    Nonce, 16
);
id!(
    /// A Curve25519 public key of the session layer.
    SessionKey, 32
);
id!(
    /// A BLAKE3 digest with its own domain.
    Digest, 32
);
id!(
    /// An Ed25519 signature.
    Signature, 64
);

impl RoomId {
    /// The id of the conversation with a person. Only this profile uses it: the other side has
    /// another id for the same conversation, and nothing on the wire names either.
    #[must_use]
    pub fn of_conversation(with: &IdentityId) -> Self {
        let digest = crate::crypto::hash(crate::crypto::Context::CONVERSATION, &[&with.0]);
        let mut id = [0; 16];
        id.copy_from_slice(&digest.0[..16]);
        Self(id)
    }
}

impl Digest {
    /// Equality in time that does not depend on where the two differ: for proofs that a peer could
    /// otherwise grope for.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

impl EntryHash {
    /// The id under which the entry is referred to.
    #[must_use]
    pub fn id(&self) -> EntryId {
        let mut id = [0; 16];
        id.copy_from_slice(&self.0[..16]);
        EntryId(id)
    }

    /// The prefix used in frontiers.
    #[must_use]
    pub fn prefix(&self) -> HashShort {
        let mut id = [0; 8];
        id.copy_from_slice(&self.0[..8]);
        HashShort(id)
    }
}

impl DeviceId {
    /// The prefix used in frontiers.
    #[must_use]
    pub fn prefix(&self) -> DeviceShort {
        let mut id = [0; 16];
        id.copy_from_slice(&self.0[..16]);
        DeviceShort(id)
    }
}

/// A transport peer: the bytes of a libp2p `PeerId`. Means nothing about who the person is until
/// signed presence says so.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Peer(#[serde(with = "serde_bytes")] pub Vec<u8>);

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = self.0.len().saturating_sub(5);
        write!(f, "Peer({})", base32(&self.0[tail..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_round_trips_and_refuses_foreign_characters() {
        for n in 0..70u8 {
            let bytes: Vec<u8> = (0..n).map(|i| i.wrapping_mul(37) ^ n).collect();
            assert_eq!(unbase32(&base32(&bytes)).as_deref(), Some(&bytes[..]));
        }
        assert_eq!(unbase32("a1"), None);
        assert_eq!(unbase32("ab!"), None);
        assert_eq!(unbase32("b"), None);
    }
}
