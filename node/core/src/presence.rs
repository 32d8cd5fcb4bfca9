//! Presence: which device is where, and whom it is connected to (PROTOCOL.md 9.3). Short-lived,
//! never stored.
//!
//! Only a signed presence binds a device to a transport peer; nothing is believed of a peer before.

use serde_bytes::ByteBuf;

use crate::cbor::{self, DecodeError};
use crate::crypto::group::RoomKeys;
use crate::crypto::{Context, Verifier, hash, sign};
use crate::error::Reject;
use crate::identity::Keys;
use crate::ids::{DeviceId, Digest, Peer, RoomId, Signature};

/// Longest libp2p peer id taken.
const PEER_BYTES_MAX: usize = 64;
/// Longest encoding.
const BYTES_MAX: usize = 320;

/// 16 random bytes that one run of a node draws at its start, and tells, sealed, to the peers that
/// share a room with it. Who hears others than before knows that everything it said to the former
/// process is lost (PROTOCOL.md 9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process(pub [u8; 16]);

type Fields = (u8, RoomId, DeviceId, ByteBuf, Digest, u64, Signature);

/// `Presence[room, device, PeerId, digest of direct peers, expiry, sig]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPresence {
    /// The room.
    pub room: RoomId,
    /// Who.
    pub device: DeviceId,
    /// Where.
    pub peer: Peer,
    /// [`direct_set`] of the device.
    pub direct: Digest,
    /// Author's clock, Unix milliseconds. Orders the records of a device; how long one is believed
    /// is counted from its arrival, so that a wrong clock does not make a member invisible.
    pub expires_ms: u64,
}

impl VerifiedPresence {
    const VERSION: u8 = 1;

    fn digest(
        room: &RoomId,
        device: &DeviceId,
        peer: &Peer,
        direct: &Digest,
        expires_ms: u64,
    ) -> Digest {
        let fields =
            (Self::VERSION, room, device, ByteBuf::from(peer.0.clone()), direct, expires_ms);
        hash(Context::PRESENCE, &[&cbor::encode(&fields)])
    }

    /// Signs where this device is.
    #[must_use]
    pub fn issue(
        keys: &Keys,
        room: RoomId,
        peer: &Peer,
        direct: Digest,
        expires_ms: u64,
    ) -> Vec<u8> {
        let device = keys.device_id();
        let digest = Self::digest(&room, &device, peer, &direct, expires_ms);
        let signature = sign(keys.device_key(), Context::PRESENCE, &digest);
        cbor::encode(&(
            Self::VERSION,
            room,
            device,
            ByteBuf::from(peer.0.clone()),
            direct,
            expires_ms,
            signature,
        ))
    }

    /// Checks form, room and signature.
    ///
    /// # Errors
    /// [`Reject`].
    pub fn verify(keys: &RoomKeys, bytes: &[u8], verifier: &mut Verifier) -> Result<Self, Reject> {
        let (v, room, device, peer, direct, expires_ms, signature): Fields =
            cbor::decode(bytes, BYTES_MAX)?;
        if v != Self::VERSION {
            return Err(DecodeError::Unknown.into());
        }
        if room != keys.room {
            return Err(Reject::UnknownRoom);
        }
        if peer.len() > PEER_BYTES_MAX {
            return Err(DecodeError::Bounds.into());
        }
        let peer = Peer(peer.into_vec());
        let digest = Self::digest(&room, &device, &peer, &direct, expires_ms);
        if !verifier.check(&device.0, Context::PRESENCE, &digest, &signature) {
            return Err(Reject::Signature);
        }
        Ok(Self { room, device, peer, direct, expires_ms })
    }
}

/// Digest of a device and all devices it is directly connected to. In a full mesh all members have
/// the same one.
#[must_use]
pub fn direct_set<'a>(devices: impl Iterator<Item = &'a DeviceId>) -> Digest {
    let mut sorted: Vec<_> = devices.collect();
    sorted.sort_unstable();
    sorted.dedup();
    let bytes: Vec<&[u8]> = sorted.iter().map(|d| &d.0[..]).collect();
    hash(Context::DIRECT_SET, &bytes)
}
