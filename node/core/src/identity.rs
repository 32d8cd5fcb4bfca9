//! Who somebody is: the identity (a person), the device keys it certifies, names and fingerprints
//! (PROTOCOL.md 3).

use std::fmt;

use ed25519_dalek::SigningKey;

use crate::cbor::{self, DecodeError};
use crate::crypto::{Context, Verifier, hash, sign};
use crate::ids::{DeviceId, Digest, IdentityId, Signature, base32};
use crate::limits::NAME_BYTES_MAX;

/// The secret keys of this node: the person's and the device's. Does not print; the keys wipe
/// themselves.
pub struct Keys {
    identity: SigningKey,
    device: SigningKey,
    cert: DeviceCert,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({}, ..)", self.device_id().short())
    }
}

impl Keys {
    /// From the seeds in the keystore; the certificate is made anew (Ed25519 is deterministic, so
    /// it is the same).
    #[must_use]
    pub fn from_seeds(identity: &[u8; 32], device: &[u8; 32], created_ms: u64) -> Self {
        let (identity, device) = (SigningKey::from_bytes(identity), SigningKey::from_bytes(device));
        let id = DeviceId(device.verifying_key().to_bytes());
        let cert = DeviceCert::issue(&identity, id, created_ms, None, 0);
        Self { identity, device, cert }
    }

    /// The person.
    #[must_use]
    pub fn identity_id(&self) -> IdentityId {
        IdentityId(self.identity.verifying_key().to_bytes())
    }

    /// The device.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        self.cert.device
    }

    /// The key that writes logs.
    #[must_use]
    pub fn device_key(&self) -> &SigningKey {
        &self.device
    }

    /// The certificate of the device.
    #[must_use]
    pub fn cert(&self) -> &DeviceCert {
        &self.cert
    }
}

/// `[v, identity, device, not_before, not_after|null, n, sig]`: a person says that a device is
/// theirs (PROTOCOL.md 3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCert {
    /// The person.
    pub identity: IdentityId,
    /// The device.
    pub device: DeviceId,
    /// Unix milliseconds.
    pub not_before: u64,
    /// Unix milliseconds; `None` for no end.
    pub not_after: Option<u64>,
    /// Number of this device list entry; grows with each change.
    pub n: u64,
    /// The identity's signature.
    pub signature: Signature,
}

type CertFields = (u8, IdentityId, DeviceId, u64, Option<u64>, u64, Signature);

impl DeviceCert {
    /// Longest encoding.
    pub const BYTES_MAX: usize = 180;
    const VERSION: u8 = 1;

    fn issue(
        identity: &SigningKey,
        device: DeviceId,
        not_before: u64,
        not_after: Option<u64>,
        n: u64,
    ) -> Self {
        let id = IdentityId(identity.verifying_key().to_bytes());
        let mut cert =
            Self { identity: id, device, not_before, not_after, n, signature: Signature([0; 64]) };
        cert.signature = sign(identity, Context::CERT, &cert.digest());
        cert
    }

    fn digest(&self) -> Digest {
        let signed =
            (Self::VERSION, self.identity, self.device, self.not_before, self.not_after, self.n);
        hash(Context::CERT, &[&cbor::encode(&signed)])
    }

    /// The bytes as they travel.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Self { identity, device, not_before, not_after, n, signature } = self;
        cbor::encode(&(Self::VERSION, identity, device, not_before, not_after, n, signature))
    }

    /// Reads a certificate; the signature is not checked yet.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (v, identity, device, not_before, not_after, n, signature): CertFields =
            cbor::decode(bytes, Self::BYTES_MAX)?;
        if v != Self::VERSION {
            return Err(DecodeError::Unknown);
        }
        Ok(Self { identity, device, not_before, not_after, n, signature })
    }

    /// Whether the identity really signed it.
    pub fn verify(&self, verifier: &mut Verifier) -> bool {
        verifier.check(&self.identity.0, Context::CERT, &self.digest(), &self.signature)
    }
}

/// 16 base32 characters in groups of four: enough to tell equal names apart, not a verification.
#[must_use]
pub fn fingerprint(identity: &IdentityId) -> String {
    let text = base32(&hash(Context::FINGERPRINT, &[&identity.0]).0[..10]).to_uppercase();
    text.as_bytes()
        .chunks(4)
        .map(|c| String::from_utf8_lossy(c).into_owned())
        .collect::<Vec<_>>()
        .join("-")
}

/// Whether a display name is within bounds: 1 to 64 bytes, trimmed, no control, direction or
/// invisible characters.
#[must_use]
pub fn valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.trim() == name
        && !name.chars().any(is_unsafe)
}

/// Characters that change how text around them is shown, or that cannot be seen.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// As [`is_unsafe`], but with the joiner and the selectors that emoji are made of.
#[must_use]
pub fn is_unsafe_emoji(c: char) -> bool {
    is_unsafe(c) && !matches!(c, '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_bound_to_every_field() {
        let keys = Keys::from_seeds(&[1; 32], &[2; 32], 5);
        let mut v = Verifier::default();
        let good = keys.cert().clone();
        assert!(good.verify(&mut v));
        assert_eq!(DeviceCert::decode(&good.encode()).unwrap(), good);
        assert!(!DeviceCert { device: DeviceId([9; 32]), ..good.clone() }.verify(&mut v));
        assert!(!DeviceCert { not_before: 6, ..good.clone() }.verify(&mut v));
        assert!(!DeviceCert { not_after: Some(6), ..good.clone() }.verify(&mut v));
        assert!(!DeviceCert { n: 1, ..good }.verify(&mut v));
    }

    #[test]
    fn names_with_control_or_direction_characters_are_refused() {
        assert!(valid_name("Zoë 🌱"));
        for bad in ["", " a", "a\u{1b}[2J", "a\u{202e}b", "a\u{200b}b", "a\nb", &"x".repeat(65)] {
            assert!(!valid_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn keys_do_not_print() {
        let text = format!("{:?}", Keys::from_seeds(&[0x11; 32], &[0x22; 32], 0));
        assert!(text.starts_with("Keys(") && text.len() < 30, "{text}");
    }
}
