//! The keys of a room: root, epoch, and what is derived from it (PROTOCOL.md 4).
//!
//! An open or passphrase room has one epoch for ever. Private rooms (later) will have many;
//! everything that depends on an epoch already goes through [`RoomKeys`].

use std::fmt;

use ed25519_dalek::SigningKey;
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::content::Content;
use crate::crypto::{Context, derive, hash, seal};
use crate::error::{CommandError, Reject};
use crate::ids::{Digest, EpochId, Peer, RoomId, TopicId};
use crate::log::entry::{Header, SealedEntry};
use crate::names::normalise;

/// The stretched secret of a room. Does not print, is wiped on drop.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct RoomRoot([u8; 32]);

impl fmt::Debug for RoomRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomRoot(..)")
    }
}

impl RoomRoot {
    /// From bytes kept in the encrypted store.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// For the encrypted store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Memory of the stretch, KiB. With [`STRETCH_PASSES`] and one lane this is the second choice of
/// RFC 9106.
pub const STRETCH_KIB: u32 = 65_536;
/// Passes of the stretch.
pub const STRETCH_PASSES: u32 = 3;

/// Argon2id(passphrase or "", H(room-salt, name)[..16]), 64 MiB, 3 passes: one guess at a name or
/// passphrase costs as much (about 0.15 s). Called once per join, outside the loop.
///
/// # Errors
/// As [`normalise`]; and [`CommandError::BadRoomName`] should Argon2id itself fail, which its fixed
/// parameters exclude.
pub fn stretch(name: &str, passphrase: &str) -> Result<(String, RoomRoot), CommandError> {
    let name = normalise(name)?;
    let bad = || CommandError::BadRoomName { room: name.clone() };
    let salt = hash(Context::ROOM_SALT, &[name.trim_start_matches('#').as_bytes()]);
    let params =
        argon2::Params::new(STRETCH_KIB, STRETCH_PASSES, 1, Some(32)).map_err(|_| bad())?;
    let argon = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut root = Zeroizing::new([0; 32]);
    // One passphrase has one spelling, whatever keyboard it was typed on.
    let passphrase = Zeroizing::new(passphrase.nfc().collect::<String>());
    argon
        .hash_password_into(passphrase.as_bytes(), &salt.0[..16], root.as_mut())
        .map_err(|_| bad())?;
    Ok((name, RoomRoot(*root)))
}

/// The numbers, 0 to 2,047, of three words that people compare to see that they are in the same
/// room: a slip in a passphrase leads to another room, where nobody is. The room follows from its
/// root, so do they; 33 bits are no proof against somebody who searches for a room with the same.
#[must_use]
pub fn word_numbers(room: &RoomId) -> [u16; 3] {
    let digest = hash(Context::ROOM_WORDS, &[&room.0]).0;
    // 11 bits each, from the front.
    let bits = digest.iter().take(5).fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
    [29, 18, 7].map(|shift| u16::try_from((bits >> shift) & 0x7ff).unwrap_or_default())
}

/// The keys of one room in one epoch. Does not print; wiped on drop.
pub struct RoomKeys {
    /// The room.
    pub room: RoomId,
    /// The epoch.
    pub epoch: EpochId,
    /// The gossipsub topic.
    pub topic: TopicId,
    topic_key: SigningKey,
    secret: Zeroizing<[u8; 32]>,
    envelope: Zeroizing<[u8; 32]>,
    sync: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for RoomKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomKeys({}, ..)", self.room.short())
    }
}

impl RoomKeys {
    /// The keys of an open or passphrase room.
    #[must_use]
    pub fn of_root(root: &RoomRoot) -> Self {
        let id = derive(&root.0, Context::ROOM_ID, &[]);
        let mut room = RoomId([0; 16]);
        room.0.copy_from_slice(&id[..16]);
        Self::of_epoch(room, derive(&root.0, Context::STATIC_EPOCH, &[]))
    }

    /// The keys that follow from an epoch secret.
    #[must_use]
    pub fn of_epoch(room: RoomId, secret: Zeroizing<[u8; 32]>) -> Self {
        let id = derive(&secret, Context::EPOCH_ID, &[&room.0]);
        let mut epoch = EpochId([0; 16]);
        epoch.0.copy_from_slice(&id[..16]);
        let topic_key = SigningKey::from_bytes(&derive(&secret, Context::TOPIC_KEY, &[]));
        let topic = TopicId(hash(Context::TOPIC, &[topic_key.verifying_key().as_bytes()]).0);
        let envelope = derive(&secret, Context::ENVELOPE_KEY, &[]);
        let sync = derive(&secret, Context::SYNC_KEY, &[]);
        Self { room, epoch, topic, topic_key, secret, envelope, sync }
    }

    /// Signs envelopes.
    #[must_use]
    pub fn topic_key(&self) -> &SigningKey {
        &self.topic_key
    }

    /// Seals envelope heads.
    #[must_use]
    pub fn envelope_key(&self) -> &[u8; 32] {
        &self.envelope
    }

    /// Proof of membership for a request or response between two transport peers. It binds both
    /// peer ids, which the transport has authenticated, so it is worth nothing to anybody else
    /// (PROTOCOL.md 8.2).
    #[must_use]
    pub fn proof(&self, context: Context, from: &Peer, to: &Peer) -> Digest {
        Digest(*derive(&self.sync, context, &[&self.epoch.0, &from.0, &to.0]))
    }

    fn message_key(&self, core: &Digest) -> Zeroizing<[u8; 32]> {
        derive(&self.secret, Context::MESSAGE_KEY, &[&core.0])
    }

    /// Pads and seals a body. The key is bound to the header core and used once, so the nonce is
    /// zero.
    #[must_use]
    pub fn seal_body(&self, core: &Digest, mut plain: Vec<u8>) -> Vec<u8> {
        seal::pad(&mut plain);
        seal::seal(&self.message_key(core), &[0; 24], &core.0, &plain)
    }

    /// Opens the body of an entry of this epoch.
    ///
    /// # Errors
    /// [`Reject`] when there is no body, it cannot be opened, or it is no content of the header's
    /// kind.
    pub fn open(&self, entry: &SealedEntry) -> Result<Content, Reject> {
        let header = Header::decode(&entry.header)?;
        let body = entry.body.as_deref().ok_or(Reject::Body)?;
        self.open_body(&header, &entry.header, body)
    }

    /// As [`RoomKeys::open`] for a header that is decoded already.
    ///
    /// # Errors
    /// As [`RoomKeys::open`].
    pub fn open_body(
        &self,
        header: &Header,
        header_bytes: &[u8],
        body: &[u8],
    ) -> Result<Content, Reject> {
        let core = header.core(header_bytes);
        let plain = Zeroizing::new(seal::open(&self.message_key(&core), &[0; 24], &core.0, body)?);
        Ok(Content::decode(header.kind, seal::unpad(&plain)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let root = RoomRoot::from_bytes([0xab; 32]);
        let keys = RoomKeys::of_root(&root);
        let text = format!("{root:?} {keys:?}");
        assert!(!text.contains("ab, ab") && !text.contains("171") && text.contains(".."), "{text}");
    }

    #[test]
    fn name_and_passphrase_together_make_the_room() {
        let id = |n: &str, p: &str| RoomKeys::of_root(&stretch(n, p).unwrap().1).room;
        assert_eq!(id("#a", ""), id("A", ""));
        assert_ne!(id("#a", ""), id("#b", ""));
        assert_ne!(id("#a", ""), id("#a", "x"));
    }
}
