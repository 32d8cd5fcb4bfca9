//! The keystore: the few secrets a profile cannot do without, in one small file.
//!
//! The file is CBOR `[1, kdf, nonce24, ciphertext]`. With a passphrase, `kdf` is `["argon2id",
//! memory KiB, passes, lanes, salt16]` and the key comes from Argon2id; without one, `kdf` is null
//! and the key from the nonce alone: then only the file's mode (0600) protects it, encryption
//! merely detects damage, and nobody should believe more. One file, not a key file beside it:
//! setting a passphrase later is one atomic replacement, and no state in between has a key without
//! its lock. `[1, kdf]` is authenticated. Changing the passphrase wraps the same secrets anew.

mod file;
mod secret;
mod wrap;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use klatch_core::command::Passphrase;

pub use secret::{MasterKey, Secret, Secrets};
use wrap::{Cost, Wrapped};

/// Name of the keystore in the profile folder.
pub const KEYSTORE_FILE: &str = "keystore";

/// Why a keystore cannot be used. The text says what failed; [`KeystoreError::hint`] what to try.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// The passphrase does not open it (or the protected part was changed).
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// It is protected and none was given.
    #[error("this profile is protected by a passphrase")]
    NeedsPassphrase,
    /// There is none.
    #[error("there is no keystore at {path}")]
    Missing {
        /// Where.
        path: PathBuf,
    },
    /// It ends too early.
    #[error("the keystore {path} is cut short")]
    Truncated {
        /// Where.
        path: PathBuf,
    },
    /// It is no keystore, or damaged.
    #[error("the keystore {path} is damaged: {cause}")]
    Malformed {
        /// Where.
        path: PathBuf,
        /// What was noticed.
        cause: &'static str,
    },
    /// Others can read it.
    #[error("the keystore {path} has mode {mode:o}: others can read it")]
    Permissions {
        /// Where.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Written by a newer program.
    #[error("the keystore has format {found}, this program knows formats up to {known}")]
    Newer {
        /// Its format.
        found: u64,
        /// The newest known here.
        known: u64,
    },
    /// There is one already; it is never overwritten.
    #[error("there is a keystore at {path} already")]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("the keystore {path} cannot be read or written: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The system gives no randomness, or the memory for the passphrase is not there.
    #[error("cannot protect the keystore: {cause}")]
    Resources {
        /// What is lacking.
        cause: &'static str,
    },
}

impl KeystoreError {
    /// A stable code for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NeedsPassphrase => "KLATCH-LOCKED",
            Self::WrongPassphrase => "KLATCH-WRONG-PASSPHRASE",
            Self::Missing { .. } => "KLATCH-NO-IDENTITY",
            Self::Exists { .. } => "KLATCH-IDENTITY-EXISTS",
            _ => "KLATCH-KEYSTORE",
        }
    }

    /// The process exit code for it.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::NeedsPassphrase | Self::WrongPassphrase => 4,
            Self::Missing { .. } | Self::Exists { .. } => 2,
            _ => 1,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::WrongPassphrase => {
                "try again; case and keyboard layout matter, and there is no way around it".to_owned()
            }
            Self::NeedsPassphrase => "enter it when asked, or name a file that holds it".to_owned(),
            Self::Missing { .. } => "`klatch init` makes a profile".to_owned(),
            Self::Truncated { .. } | Self::Malformed { .. } => {
                "it was left untouched: restore it from a backup, or move the profile aside and start a fresh one"
                    .to_owned()
            }
            Self::Permissions { path, .. } => format!("chmod 600 '{}'", path.display()),
            Self::Newer { .. } => "install the version of klatch that wrote it, or a newer one".to_owned(),
            Self::Exists { .. } => "this profile is ready to use; `--profile NEW` makes another one".to_owned(),
            Self::Io { .. } => "check that the file belongs to you and that the disk has space".to_owned(),
            Self::Resources { .. } => "close other programs and try again".to_owned(),
        }
    }
}

/// The keystore file of a profile. Holds no secret itself.
#[derive(Debug, Clone)]
pub struct Keystore {
    path: PathBuf,
    cost: Cost,
}

impl Keystore {
    /// The keystore of the profile in `folder`; nothing is read yet.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self { path: folder.join(KEYSTORE_FILE), cost: Cost::of_this_machine() }
    }

    /// Whether the file is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    /// Whether opening it takes a passphrase.
    ///
    /// # Errors
    /// As [`Keystore::unlock`], without the passphrase ones.
    pub fn needs_passphrase(&self) -> Result<bool, KeystoreError> {
        Ok(self.read()?.has_passphrase())
    }

    /// Writes a new keystore.
    ///
    /// # Errors
    /// [`KeystoreError::Exists`] if there is one; it is left as it is.
    pub fn create(
        &self,
        secrets: &Secrets,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), KeystoreError> {
        if self.exists() {
            return Err(KeystoreError::Exists { path: self.path.clone() });
        }
        file::create(&self.path, &Wrapped::seal(secrets, passphrase, self.cost)?.encode())
    }

    /// Opens it. With a passphrase this takes most of a second, on purpose: not for the node's
    /// loop. A passphrase given for a keystore without one is ignored.
    ///
    /// # Errors
    /// A [`KeystoreError`] that tells the reasons apart; the file is never changed.
    pub fn unlock(&self, passphrase: Option<&Passphrase>) -> Result<Secrets, KeystoreError> {
        self.read()?.open(passphrase, &self.path)
    }

    /// Sets, changes or takes off (`new` is `None`) the passphrase. The secrets stay, so the
    /// database needs no change. A crash leaves either the old file or the new one.
    ///
    /// # Errors
    /// As [`Keystore::unlock`] for `old`.
    pub fn change_passphrase(
        &self,
        old: Option<&Passphrase>,
        new: Option<&Passphrase>,
    ) -> Result<(), KeystoreError> {
        let secrets = self.unlock(old)?;
        file::replace(&self.path, &Wrapped::seal(&secrets, new, self.cost)?.encode())
    }

    fn read(&self) -> Result<Wrapped, KeystoreError> {
        Wrapped::decode(&file::read(&self.path)?, &self.path)
    }
}
