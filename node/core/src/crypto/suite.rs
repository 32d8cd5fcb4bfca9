//! Test-only stand-ins for signature and AEAD, so that thousands of simulated worlds fit into
//! minutes. Feature `sim` only; chosen per thread, off unless a world asks for it. Anyone can forge
//! these: they exist to be fast, not to protect.

use std::cell::Cell;

use crate::crypto::Context;
use crate::ids::{Digest, Signature};

thread_local! {
    static FAST: Cell<bool> = const { Cell::new(false) };
}

/// Uses the stand-ins on this thread, or the real primitives.
pub fn set_fast(on: bool) {
    FAST.with(|f| f.set(on));
}

/// Whether this thread uses the stand-ins.
#[must_use]
pub fn is_fast() -> bool {
    FAST.with(Cell::get)
}

/// A keyed checksum in the place of a signature.
#[must_use]
pub fn sign(public: &[u8; 32], context: Context, digest: &Digest) -> Signature {
    let mut out = [0; 64];
    let tag = mix(context.as_str().as_bytes(), mix(&digest.0, mix(public, 0x51)));
    for (i, chunk) in out.chunks_mut(8).enumerate() {
        chunk.copy_from_slice(&(tag.rotate_left(u32::try_from(i).unwrap_or(0))).to_le_bytes());
    }
    Signature(out)
}

/// A 16-byte checksum in the place of an AEAD tag.
#[must_use]
pub fn tag(key: &[u8; 32], aad: &[u8], bytes: &[u8]) -> [u8; 16] {
    let t = mix(bytes, mix(aad, mix(key, 0x7a)));
    let mut out = [0; 16];
    out[..8].copy_from_slice(&t.to_le_bytes());
    out[8..].copy_from_slice(&t.rotate_left(29).to_le_bytes());
    out
}

fn mix(bytes: &[u8], start: u64) -> u64 {
    let mut h = start ^ 0x9e37_79b9_7f4a_7c15;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        h = (h ^ u64::from_le_bytes(word)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        h ^= h >> 29;
    }
    h ^ (bytes.len() as u64)
}
