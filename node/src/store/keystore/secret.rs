//! The secrets themselves: wiped when dropped, never printed, never cloned by accident.

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::KeystoreError;

/// 32 secret bytes.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Takes bytes that are secret from now on.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Fresh ones from the system.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn random() -> Result<Self, KeystoreError> {
        let mut secret = Self([0; 32]);
        getrandom::fill(&mut secret.0)
            .map_err(|_| KeystoreError::Resources { cause: "no randomness" })?;
        Ok(secret)
    }

    /// The bytes, to make a key of.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What everything at rest is encrypted under.
#[derive(Debug)]
pub struct MasterKey(Secret);

impl MasterKey {
    /// From the keystore, or for a test.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The key of the encrypted database file.
    #[must_use]
    pub fn database_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key("klatch v1 database key", self.as_bytes()))
    }

    /// Names the database key without giving it away, so that a wrong one can be told from a
    /// damaged file.
    #[must_use]
    pub fn database_tag(&self) -> [u8; 32] {
        blake3::derive_key("klatch v1 database key tag", self.as_bytes())
    }
}

/// What the keystore keeps.
#[derive(Debug)]
pub struct Secrets {
    /// For data at rest.
    pub master: MasterKey,
    /// Seed of the Ed25519 key of the person.
    pub identity: Secret,
    /// Seed of the Ed25519 key of this device, which writes the logs.
    pub device: Secret,
    /// Seed of the transport key: names the libp2p peer, signs no content.
    pub transport: Secret,
    /// When the profile was made, Unix milliseconds.
    pub created_ms: u64,
    /// The display name given then; the store has the present one.
    pub name: String,
}

impl Secrets {
    /// A new person on a new device.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate(name: &str, now_ms: u64) -> Result<Self, KeystoreError> {
        Ok(Self {
            master: MasterKey(Secret::random()?),
            identity: Secret::random()?,
            device: Secret::random()?,
            transport: Secret::random()?,
            created_ms: now_ms,
            name: name.to_owned(),
        })
    }
}
