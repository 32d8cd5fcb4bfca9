//! Strict CBOR: the only way into and out of bytes that other nodes see (PROTOCOL.md 2).
//!
//! Structures are arrays. One value has one encoding: what does not re-encode to the same bytes is
//! refused.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::CBOR_DEPTH_MAX;

/// Why bytes were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum DecodeError {
    /// Longer than the cap of this structure.
    #[error("longer than allowed")]
    TooLong,
    /// Not CBOR, nested too deeply, or not this structure.
    #[error("malformed")]
    Malformed,
    /// Bytes follow the value, or the outermost array has more items than it should, or an end
    /// mark.
    #[error("trailing bytes")]
    Trailing,
    /// Another spelling of the same value: non-shortest integer, indefinite length inside, a tag.
    #[error("not the canonical encoding")]
    NotCanonical,
    /// A version or type this program does not know.
    #[error("unknown version or type")]
    Unknown,
    /// A field is outside its bounds.
    #[error("field out of bounds")]
    Bounds,
}

/// Encodes `value`. Only tuples, arrays, integers, strings and byte strings are used, so this
/// cannot fail in memory.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    encode_large(value, 256)
}

/// As [`encode`], for a value that takes about `bytes`: large ones are written without growing the
/// buffer again and again.
#[must_use]
pub fn encode_large<T: Serialize>(value: &T, bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes);
    // Writing to a Vec cannot fail and none of our types has a failing Serialize.
    let written = ciborium::into_writer(value, &mut out);
    debug_assert!(written.is_ok(), "plain structures encode");
    out
}

/// Decodes exactly one value of at most `max` bytes.
///
/// # Errors
/// [`DecodeError`] when the bytes are longer than `max`, malformed, nested deeper than
/// [`CBOR_DEPTH_MAX`], followed by more bytes, or not in the canonical encoding.
pub fn decode<T: DeserializeOwned + Serialize>(bytes: &[u8], max: usize) -> Result<T, DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLong);
    }
    let mut rest = bytes;
    let value: T = ciborium::de::from_reader_with_recursion_limit(&mut rest, CBOR_DEPTH_MAX)
        .map_err(|_| DecodeError::Malformed)?;
    if !rest.is_empty() {
        return Err(DecodeError::Trailing);
    }
    // Encoded again straight into a comparison: nothing is allocated or copied, however large the
    // value.
    let mut same = Compare(bytes);
    if ciborium::into_writer(&value, &mut same).is_err() || !same.0.is_empty() {
        return Err(DecodeError::NotCanonical);
    }
    Ok(value)
}

/// A writer that takes exactly the bytes it expects.
struct Compare<'a>(&'a [u8]);

impl std::io::Write for Compare<'_> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.strip_prefix(data).ok_or(std::io::ErrorKind::InvalidData)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_spellings_of_a_value_are_refused() {
        assert_eq!(decode::<(u64, u64)>(&[0x82, 1, 2], 10), Ok((1, 2)));
        assert_eq!(decode::<(u64, u64)>(&[0x82, 0x18, 1, 2], 10), Err(DecodeError::NotCanonical));
        assert_eq!(decode::<(u64, u64)>(&[0x9f, 1, 2, 0xff], 10), Err(DecodeError::Trailing));
        assert_eq!(
            decode::<(Vec<u64>, u64)>(&[0x82, 0x9f, 1, 0xff, 2], 10),
            Err(DecodeError::NotCanonical)
        );
        assert_eq!(decode::<(u64, u64)>(&[0x82, 1, 2, 0], 10), Err(DecodeError::Trailing));
        assert!(decode::<(u64, u64)>(&[0x83, 1, 2, 3], 10).is_err());
        assert_eq!(decode::<(u64, u64)>(&[0x81, 1], 10), Err(DecodeError::Malformed));
        assert_eq!(decode::<(u64, u64)>(&[0x82, 1, 2], 2), Err(DecodeError::TooLong));
    }

    #[test]
    fn bombs_end_in_an_error() {
        let deep = vec![0x81; 100_000];
        assert!(decode::<Vec<Vec<u64>>>(&deep, 1 << 20).is_err());
        assert!(decode::<Vec<u64>>(&[0x9a, 0xff, 0xff, 0xff, 0xff], 1 << 20).is_err());
        assert!(
            decode::<serde_bytes::ByteBuf>(
                &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                1 << 20
            )
            .is_err()
        );
    }
}
