//! Authenticated encryption and padding (PROTOCOL.md 2.3, 2.4).

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};

use crate::error::Reject;
use crate::limits::PAD_BYTES_MIN;

/// Bytes that sealing adds.
pub const TAG_BYTES: usize = 16;

/// Seals `plain` with XChaCha20-Poly1305. A (key, nonce) pair must never be used for two
/// plaintexts.
#[must_use]
pub fn seal(key: &[u8; 32], nonce: &[u8; 24], aad: &[u8], plain: &[u8]) -> Vec<u8> {
    #[cfg(feature = "sim")]
    if super::suite::is_fast() {
        let mut out = plain.to_vec();
        out.extend_from_slice(&super::suite::tag(key, aad, plain));
        return out;
    }
    let aead = XChaCha20Poly1305::new(key.into());
    // The only error is a plaintext of 256 GiB, which no caller can build.
    aead.encrypt(XNonce::from_slice(nonce), Payload { msg: plain, aad }).unwrap_or_default()
}

/// Opens what [`seal`] made.
///
/// # Errors
/// [`Reject::Open`] when key, nonce, associated data or bytes differ.
pub fn open(
    key: &[u8; 32],
    nonce: &[u8; 24],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, Reject> {
    #[cfg(feature = "sim")]
    if super::suite::is_fast() {
        let at = sealed.len().checked_sub(TAG_BYTES).ok_or(Reject::Open)?;
        let (plain, tag) = sealed.split_at(at);
        return (super::suite::tag(key, aad, plain) == tag)
            .then(|| plain.to_vec())
            .ok_or(Reject::Open);
    }
    let aead = XChaCha20Poly1305::new(key.into());
    aead.decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad }).map_err(|_| Reject::Open)
}

/// Length after padding `len` bytes: at least [`PAD_BYTES_MIN`], then Padmé (Nikitin et al., PETS
/// 2019), which leaks O(log log n) bits of the length and adds at most 12 %. One byte is always
/// added: the marker.
#[must_use]
pub fn padded_len(len: usize) -> usize {
    let n = (len + 1).max(PAD_BYTES_MIN);
    let e = n.ilog2();
    let s = e.ilog2() + 1;
    let mask = (1usize << (e - s)) - 1;
    (n + mask) & !mask
}

/// Pads in place: a `0x80` byte, then zeros up to [`padded_len`].
pub fn pad(plain: &mut Vec<u8>) {
    let len = padded_len(plain.len());
    plain.push(0x80);
    plain.resize(len, 0);
}

/// Removes the padding.
///
/// # Errors
/// [`Reject::Open`] when the marker is absent or the length is not the one [`pad`] makes: one text
/// has one padded form.
pub fn unpad(padded: &[u8]) -> Result<&[u8], Reject> {
    let at = padded.iter().rposition(|b| *b != 0).ok_or(Reject::Open)?;
    if padded[at] != 0x80 || padded_len(at) != padded.len() {
        return Err(Reject::Open);
    }
    Ok(&padded[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_round_trips_hides_short_lengths_and_costs_at_most_an_eighth() {
        for len in (0..3_000).chain([15_000, 20_000, 49_999, 64_000, 72_000]) {
            let mut p = vec![0xff; len];
            pad(&mut p);
            assert!(
                p.len() >= PAD_BYTES_MIN && p.len() <= (len + 1).max(PAD_BYTES_MIN) * 9 / 8,
                "{len}"
            );
            assert_eq!(unpad(&p).unwrap().len(), len);
            if len < PAD_BYTES_MIN {
                assert_eq!(p.len(), PAD_BYTES_MIN);
            }
        }
    }

    #[test]
    fn other_padding_is_refused() {
        let mut p = b"hi".to_vec();
        pad(&mut p);
        assert!(unpad(&p[..p.len() - 1]).is_err());
        p.push(0);
        assert!(unpad(&p).is_err());
        assert!(unpad(&[0; 256]).is_err());
        assert!(unpad(&[]).is_err());
    }

    #[test]
    fn sealing_binds_key_nonce_and_associated_data() {
        let s = seal(&[1; 32], &[2; 24], b"a", b"text");
        assert_eq!(open(&[1; 32], &[2; 24], b"a", &s).unwrap(), b"text");
        assert!(open(&[3; 32], &[2; 24], b"a", &s).is_err());
        assert!(open(&[1; 32], &[3; 24], b"a", &s).is_err());
        assert!(open(&[1; 32], &[2; 24], b"b", &s).is_err());
        assert!(open(&[1; 32], &[2; 24], b"a", &s[..s.len() - 1]).is_err());
        assert!(open(&[1; 32], &[2; 24], b"a", b"").is_err());
    }
}
