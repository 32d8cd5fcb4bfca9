//! What is sealed in a direct message (PROTOCOL.md 11.4): a number, what is said, and, until the
//! session is known to work, who says it. Padded before it is sealed. Nothing in it signs what is
//! said: either side could have written all of it.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::cbor::{self, DecodeError};
use crate::crypto::seal;
use crate::error::Reject;
use crate::identity::{DeviceCert, valid_name};
use crate::ids::{DeviceId, Digest, EntryId, Signature};
use crate::limits::{BODY_BYTES_MAX, DIRECT_CLOCK_MAX};

const VERSION: u8 = 1;
/// Kinds from here on are signals: not kept, not numbered. Below are the kinds of `content.rs`.
pub(crate) const SIGNALS: u8 = 128;
/// `[id b16]`: everything up to this message was read.
pub(crate) const RECEIPT: u8 = 128;
/// `[bool]`: writing, or no longer.
pub(crate) const TYPING: u8 = 129;

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// Random name of the message.
    pub id: EntryId,
    /// Kind of content, or a signal.
    pub kind: u8,
    /// One more than any in the conversation that the author knew.
    pub lamport: u64,
    /// First key of display order: the author's clock, never below any in the conversation that it
    /// knew.
    pub eff: u64,
    /// The author's clock, Unix milliseconds.
    pub at_ms: u64,
    /// CBOR of the content.
    pub content: Vec<u8>,
}

type SaidFields = (EntryId, u8, u64, u64, u64, ByteBuf);

impl Said {
    pub fn encode(&self) -> Vec<u8> {
        let Self { id, kind, lamport, eff, at_ms, content } = self;
        let fields = (id, kind, lamport, eff, at_ms, serde_bytes::Bytes::new(content));
        cbor::encode_large(&fields, content.len() + 64)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (id, kind, lamport, eff, at_ms, content): SaidFields =
            cbor::decode(bytes, BODY_BYTES_MAX)?;
        if [lamport, eff, at_ms].iter().any(|n| *n >= DIRECT_CLOCK_MAX) {
            return Err(DecodeError::Bounds);
        }
        Ok(Self { id, kind, lamport, eff, at_ms, content: content.into_vec() })
    }
}

/// Who says it, and the key with which the other side proves that it has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Display name, a claim.
    pub name: String,
    /// Whose device.
    pub cert: DeviceCert,
    /// The device's word for the session-layer key.
    pub key_signature: Signature,
    /// For which device: what was said to one cannot be passed on to another as if it were meant
    /// for it.
    pub to: DeviceId,
    /// Key of the acknowledgements ([`crate::direct::frame::stored_code`]).
    pub ack_key: Digest,
}

#[derive(Serialize, Deserialize)]
struct HelloFields(String, ByteBuf, Signature, DeviceId, Digest);

/// Everything that is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payload {
    /// As on the frame.
    pub number: Option<u64>,
    /// What is said.
    pub said: Said,
    /// Who says it.
    pub hello: Option<Hello>,
}

type Fields = (u8, Option<u64>, ByteBuf, Option<HelloFields>);

/// Encodes and pads.
pub(crate) fn encode(number: Option<u64>, said: &[u8], hello: Option<Hello>) -> Vec<u8> {
    let hello = hello.map(|h| {
        let cert = ByteBuf::from(h.cert.encode());
        HelloFields(h.name, cert, h.key_signature, h.to, h.ack_key)
    });
    let fields = (VERSION, number, serde_bytes::Bytes::new(said), hello);
    let mut plain = cbor::encode_large(&fields, said.len() + 512);
    seal::pad(&mut plain);
    plain
}

/// Removes the padding and decodes. Signatures are not checked here.
pub(crate) fn decode(padded: &[u8]) -> Result<Payload, Reject> {
    let (version, number, said, hello): Fields =
        cbor::decode(seal::unpad(padded)?, BODY_BYTES_MAX)?;
    if version != VERSION {
        return Err(DecodeError::Unknown.into());
    }
    let said = Said::decode(&said)?;
    if number.is_some() == (said.kind >= SIGNALS) {
        return Err(DecodeError::Bounds.into());
    }
    let hello = match hello {
        None => None,
        Some(HelloFields(name, cert, key_signature, to, ack_key)) => {
            if !valid_name(&name) {
                return Err(DecodeError::Bounds.into());
            }
            Some(Hello { name, cert: DeviceCert::decode(&cert)?, key_signature, to, ack_key })
        }
    };
    Ok(Payload { number, said, hello })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Keys;

    fn said(kind: u8) -> Said {
        Said { id: EntryId([1; 16]), kind, lamport: 5, eff: 7, at_ms: 6, content: vec![0x81, 1] }
    }

    fn hello() -> Hello {
        Hello {
            name: "alice".to_owned(),
            cert: Keys::from_seeds(&[1; 32], &[2; 32], 5).cert().clone(),
            key_signature: Signature([3; 64]),
            to: DeviceId([4; 32]),
            ack_key: Digest([5; 32]),
        }
    }

    #[test]
    fn what_is_sealed_keeps_its_fields_and_has_few_lengths() {
        for (number, kind) in [(Some(9), 1), (None, RECEIPT)] {
            for hello in [None, Some(hello())] {
                let plain = encode(number, &said(kind).encode(), hello.clone());
                assert_eq!(
                    plain.len(),
                    seal::padded_len(plain.iter().rposition(|b| *b != 0).unwrap())
                );
                let read = decode(&plain).unwrap();
                assert_eq!(read, Payload { number, said: said(kind), hello });
            }
        }
        assert!(decode(&encode(None, &said(1).encode(), None)).is_err(), "a message has a number");
        assert!(
            decode(&encode(Some(0), &said(TYPING).encode(), None)).is_err(),
            "a signal has none"
        );
        assert!(
            decode(&encode(Some(0), &Said { eff: DIRECT_CLOCK_MAX, ..said(1) }.encode(), None))
                .is_err()
        );
        let bad = Hello { name: "a\u{202e}b".to_owned(), ..hello() };
        assert!(decode(&encode(Some(0), &said(1).encode(), Some(bad))).is_err());
    }

    #[test]
    fn bent_and_truncated_bytes_end_in_an_error_or_in_something_within_bounds() {
        let plain = encode(Some(9), &said(1).encode(), Some(hello()));
        for at in 0..plain.len() {
            assert!(decode(&plain[..at]).is_err());
            for bit in 0..8 {
                let mut bent = plain.clone();
                bent[at] ^= 1 << bit;
                if let Ok(read) = decode(&bent) {
                    assert!(
                        read.said.eff < DIRECT_CLOCK_MAX
                            && read.hello.is_none_or(|h| valid_name(&h.name))
                    );
                }
            }
        }
    }
}
