//! The cryptographic seam: hashing, key derivation, signing and sealing with standard primitives
//! (PROTOCOL.md 2).
//!
//! BLAKE3 `derive_key` separates every purpose, Ed25519 (`verify_strict`) signs 32-byte digests,
//! XChaCha20-Poly1305 seals. The rest of the core sees only these functions. With feature `sim` a
//! test-only suite can stand in (see `suite`).

pub mod group;
pub mod seal;
#[cfg(feature = "sim")]
pub mod suite;

use std::collections::BTreeMap;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::ids::{Digest, Signature};

/// Every purpose that bytes are hashed, derived or signed for. Unique, listed once, never reused
/// with another meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context(&'static str);

macro_rules! contexts {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl Context {
            $($(#[$doc])* pub const $name: Self = Self($text);)*
            /// All contexts, for the uniqueness test and the specification.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

contexts! {
    /// Salt of a room name.
    ROOM_SALT = "klatch v1 room-salt";
    /// Room id from the root.
    ROOM_ID = "klatch v1 room-id";
    /// Words by which members see that they are in the same room.
    ROOM_WORDS = "klatch v1 room-words";
    /// Epoch secret of an open or passphrase room from the root.
    STATIC_EPOCH = "klatch v1 static-epoch";
    /// Epoch id from room and epoch secret.
    EPOCH_ID = "klatch v1 epoch-id";
    /// Seed of the topic key.
    TOPIC_KEY = "klatch v1 topic-key";
    /// Topic from the topic public key.
    TOPIC = "klatch v1 topic";
    /// Envelope key.
    ENVELOPE_KEY = "klatch v1 envelope";
    /// Key of sync proofs.
    SYNC_KEY = "klatch v1 sync-proof";
    /// Message key from epoch secret and header core.
    MESSAGE_KEY = "klatch v1 msg";
    /// Hash of an entry's header.
    ENTRY = "klatch v1 entry";
    /// Hash of a header up to the body fields.
    ENTRY_CORE = "klatch v1 entry-core";
    /// Hash of a sealed body.
    BODY = "klatch v1 body";
    /// Digest that the topic key signs.
    ENVELOPE = "klatch v1 envelope-digest";
    /// Digest of a device certificate.
    CERT = "klatch v1 device-cert";
    /// Digest of an acknowledgement.
    ACK = "klatch v1 ack";
    /// Digest of a presence record.
    PRESENCE = "klatch v1 presence";
    /// What the sealed part of a hello is bound to.
    HELLO = "klatch v1 hello";
    /// Digest of a set of directly connected devices.
    DIRECT_SET = "klatch v1 direct-set";
    /// Proof in a request.
    PROOF_REQUEST = "klatch v1 proof-request";
    /// Proof in a response.
    PROOF_RESPONSE = "klatch v1 proof-response";
    /// Short fingerprint of a person.
    FINGERPRINT = "klatch v1 fingerprint";
    /// Local id of the conversation with a person.
    CONVERSATION = "klatch v1 conversation";
    /// Digest of a question for a bundle.
    DIRECT_ASK = "klatch v1 dm-ask";
    /// Digest of a bundle.
    DIRECT_BUNDLE = "klatch v1 dm-bundle";
    /// Digest that binds a session-layer identity key to a device.
    DIRECT_KEY = "klatch v1 dm-key";
    /// Code of an acknowledgement of direct messages.
    DIRECT_STORED = "klatch v1 dm-stored";
    /// Hash by which a sealed direct message is known again.
    DIRECT_FRAME = "klatch v1 dm-frame";
    /// Digest of both sides' keys that people compare.
    VERIFY = "klatch v1 verify";
    /// Salt of the stretch from that digest to what is shown.
    VERIFY_SALT = "klatch v1 verify-salt";
}

impl Context {
    /// The text that goes into the derivation.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// `H(context, parts)`: BLAKE3 in `derive_key` mode; each part is preceded by its length (8 bytes,
/// little-endian), so two different lists of parts are never the same input.
#[must_use]
pub fn hash(context: Context, parts: &[&[u8]]) -> Digest {
    let mut h = blake3::Hasher::new_derive_key(context.0);
    for part in parts {
        h.update(&(part.len() as u64).to_le_bytes());
        h.update(part);
    }
    Digest(*h.finalize().as_bytes())
}

/// `KDF(secret, context, parts)`: the same function with the secret as first part. Wiped on drop.
#[must_use]
pub fn derive(secret: &[u8; 32], context: Context, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut h = blake3::Hasher::new_derive_key(context.0);
    h.update(&32u64.to_le_bytes());
    h.update(secret);
    for part in parts {
        h.update(&(part.len() as u64).to_le_bytes());
        h.update(part);
    }
    Zeroizing::new(*h.finalize().as_bytes())
}

fn signed_bytes(context: Context, digest: &Digest) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(context.0.len() + 33);
    bytes.extend_from_slice(context.0.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(&digest.0);
    bytes
}

/// Signs `context ‖ 0x00 ‖ digest`.
#[must_use]
pub fn sign(key: &SigningKey, context: Context, digest: &Digest) -> Signature {
    #[cfg(feature = "sim")]
    if suite::is_fast() {
        return suite::sign(key.verifying_key().as_bytes(), context, digest);
    }
    Signature(key.sign(&signed_bytes(context, digest)).to_bytes())
}

/// Checks signatures of few keys many times: decoding a key costs a fifth of a check, so decoded
/// keys are kept.
#[derive(Debug, Default)]
pub struct Verifier {
    keys: BTreeMap<[u8; 32], VerifyingKey>,
}

impl Verifier {
    /// Decoded keys kept; beyond it the cache is emptied. A room has few devices, an attacker may
    /// have many.
    const KEYS_MAX: usize = 4_096;

    /// Whether `signature` is `key`'s on `digest` in this context, by `verify_strict` (no
    /// small-order keys, no malleability).
    pub fn check(
        &mut self,
        key: &[u8; 32],
        context: Context,
        digest: &Digest,
        signature: &Signature,
    ) -> bool {
        #[cfg(feature = "sim")]
        if suite::is_fast() {
            return suite::sign(key, context, digest) == *signature;
        }
        let decoded = match self.keys.get(key) {
            Some(k) => *k,
            None => {
                let Ok(k) = VerifyingKey::from_bytes(key) else { return false };
                if self.keys.len() >= Self::KEYS_MAX {
                    self.keys.clear();
                }
                self.keys.insert(*key, k);
                k
            }
        };
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        decoded.verify_strict(&signed_bytes(context, digest), &signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_unique_and_never_prefixes_of_one_another_with_the_separator() {
        for (i, a) in Context::ALL.iter().enumerate() {
            assert!(a.0.starts_with("klatch v1 "));
            assert!(Context::ALL[i + 1..].iter().all(|b| a != b), "{a:?} twice");
        }
    }

    #[test]
    fn a_signature_is_bound_to_key_context_and_digest() {
        let (a, b) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let digest = hash(Context::ENTRY, &[b"x"]);
        let s = sign(&a, Context::ENTRY, &digest);
        let mut v = Verifier::default();
        assert!(v.check(a.verifying_key().as_bytes(), Context::ENTRY, &digest, &s));
        assert!(!v.check(b.verifying_key().as_bytes(), Context::ENTRY, &digest, &s));
        assert!(!v.check(a.verifying_key().as_bytes(), Context::ACK, &digest, &s));
        assert!(!v.check(
            a.verifying_key().as_bytes(),
            Context::ENTRY,
            &hash(Context::ENTRY, &[b"y"]),
            &s
        ));
        let mut bent = s;
        bent.0[3] ^= 1;
        assert!(!v.check(a.verifying_key().as_bytes(), Context::ENTRY, &digest, &bent));
    }

    #[test]
    fn parts_cannot_be_shifted_into_one_another() {
        assert_ne!(hash(Context::BODY, &[b"ab", b"c"]), hash(Context::BODY, &[b"a", b"bc"]));
    }
}
