//! What can go wrong with the files of a profile, told apart so that the user hears what to do.
//! Nothing is overwritten when one of these comes from opening.

use rusqlite::{ErrorCode, ffi};

use super::MAIN_FILE;

/// Why the store could not do something. The text says what failed; [`StoreError::hint`] what to
/// try.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Written by a newer program.
    #[error("{file} has format {found}, this program knows formats up to {known}")]
    Newer {
        /// Which file.
        file: String,
        /// Its format.
        found: i64,
        /// The newest known here.
        known: i64,
    },
    /// Written by an older program, where nothing can be written.
    #[error("{file} cannot be used here: {cause}")]
    Outdated {
        /// Which file.
        file: String,
        /// What is in the way.
        cause: String,
    },
    /// The keystore beside it belongs to another profile.
    #[error("{MAIN_FILE} was written under another master key")]
    WrongKey,
    /// The content makes no sense.
    #[error("{file} is damaged: {cause}")]
    Corrupt {
        /// Which file.
        file: String,
        /// What was noticed.
        cause: String,
    },
    /// Shorter than it was.
    #[error("{file} is cut short: {bytes} bytes are left")]
    Truncated {
        /// Which file.
        file: String,
        /// Its size.
        bytes: u64,
    },
    /// One of the files is gone while others are there.
    #[error("{file} is missing, although the profile has been used")]
    Missing {
        /// Which file.
        file: String,
    },
    /// Something else stands where a file was.
    #[error("{file} is a folder, and should be a file")]
    Folder {
        /// Which file.
        file: String,
    },
    /// The system does not let us open it for reading and writing.
    #[error("{file} cannot be opened: {cause}")]
    Unreadable {
        /// Which file.
        file: String,
        /// What the system said.
        cause: String,
    },
    /// No space, or another refusal to write. Nothing of the batch was kept; a later try may
    /// succeed.
    #[error("the disk refuses writes: {cause}")]
    Full {
        /// What the system said.
        cause: String,
    },
    /// The disk refuses reads.
    #[error("{file} cannot be read: {cause}")]
    Io {
        /// Which file.
        file: String,
        /// What the system said.
        cause: String,
    },
    /// Another process works on the file and does not let go.
    #[error("{file} is in use by another process")]
    Busy {
        /// Which file.
        file: String,
    },
    /// A write contradicts what is stored (a second entry in one place, a room that was never
    /// written): our own fault.
    #[error("a write contradicts the store: {cause}")]
    Conflict {
        /// What was noticed.
        cause: String,
    },
    /// Anything else the database engine reports.
    #[error("database: {cause}")]
    Engine {
        /// What it said.
        cause: String,
    },
}

impl StoreError {
    /// In a sentence that says by itself that writes are refused: why.
    #[must_use]
    pub fn cause(&self) -> String {
        match self {
            Self::Full { cause } => cause.clone(),
            other => other.to_string(),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Newer { .. } => "install the version of klatch that wrote it, or a newer one",
            Self::Outdated { .. } => {
                "copy the profile to a disk that can be written; there it is brought up to date"
            }
            Self::WrongKey => {
                "put the keystore and the database of the same profile together; neither was changed"
            }
            Self::Corrupt { .. } | Self::Truncated { .. } => {
                "it was left untouched: restore a backup, or move the profile aside and start a fresh one; members still have the history"
            }
            Self::Missing { .. } => {
                "put the file back; without it, move the profile aside and start a fresh one"
            }
            Self::Folder { .. } => {
                "move it out of the profile's folder, or put the file back; texts that were in it \
                 are asked for from other members"
            }
            Self::Unreadable { .. } => {
                "check that the file belongs to you and that the disk is mounted read-write"
            }
            Self::Full { .. } => {
                "free some space, or make the disk writable; history can still be read and nothing \
                 is lost"
            }
            Self::Io { .. } => {
                "check the disk (for example with `dmesg`) and copy the profile to a healthy one"
            }
            Self::Busy { .. } => "stop the other program that uses this profile",
            Self::Conflict { .. } | Self::Engine { .. } => {
                "restart the node; if it comes back, please report it"
            }
        }
    }

    /// Whether the same call may succeed later without any change to the profile.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Busy { .. })
    }

    /// Whether the files may be readable all the same, by somebody who writes nothing.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Unreadable { .. } | Self::Io { .. })
    }

    /// Names the file in which the engine met the error.
    pub(super) fn in_file(file: &str, error: &rusqlite::Error) -> Self {
        let file = file.to_owned();
        let cause = error.to_string();
        let rusqlite::Error::SqliteFailure(code, _) = error else {
            return Self::Engine { cause };
        };
        match code.code {
            ErrorCode::DiskFull => Self::Full { cause },
            ErrorCode::SystemIoFailure if is_write(code.extended_code) => Self::Full { cause },
            ErrorCode::SystemIoFailure => Self::Io { file, cause },
            ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt => Self::Corrupt { file, cause },
            ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly => {
                Self::Unreadable { file, cause }
            }
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy { file },
            ErrorCode::ConstraintViolation => Self::Conflict { cause },
            _ => Self::Engine { cause },
        }
    }

    /// A file-system error outside of the engine.
    pub(super) fn from_io(file: &str, error: &std::io::Error) -> Self {
        let cause = error.to_string();
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::Full { cause }
            }
            _ => Self::Unreadable { file: file.to_owned(), cause },
        }
    }

    /// A refused write outside of the engine: no space, a quota, a file size limit, a device that
    /// fails. The remedy is the same, and nothing of the batch is kept.
    pub(super) fn refused(error: &std::io::Error) -> Self {
        Self::Full { cause: error.to_string() }
    }

    /// A stored value that cannot be what was written.
    pub(super) fn value(what: &str) -> Self {
        Self::Corrupt { file: MAIN_FILE.to_owned(), cause: format!("impossible {what}") }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::in_file(MAIN_FILE, &error)
    }
}

/// A failed write reports as an I/O error rather than as "full" when the system says no for another
/// reason (quota, a file size limit, a full device behind a network): the remedy is the same.
fn is_write(extended: i32) -> bool {
    matches!(
        extended,
        ffi::SQLITE_IOERR_WRITE
            | ffi::SQLITE_IOERR_FSYNC
            | ffi::SQLITE_IOERR_DIR_FSYNC
            | ffi::SQLITE_IOERR_TRUNCATE
            | ffi::SQLITE_IOERR_SHMSIZE
            | ffi::SQLITE_IOERR_SHMMAP
    )
}
