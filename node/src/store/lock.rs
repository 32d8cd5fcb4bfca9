//! One process per profile: two that write the same chain would fork it. An advisory lock on the
//! file `lock`, which the system releases when the process ends, however it ends; the file names
//! the process for the error text.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

/// Name of the lock file in the profile folder.
pub const LOCK_FILE: &str = "lock";
/// A process id with its line end needs no more.
const PID_BYTES_MAX: u64 = 16;
/// Tries before a held lock is believed: [`ProfileLock::holder`] takes it for a moment, too, and a
/// process that was killed keeps it until the system has cleaned up.
const TRIES: u32 = 5;
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// Why a profile cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("this profile is in use{}", .pid.map(|p| format!(" by process {p}")).unwrap_or_default())]
    Held {
        /// Which process, if it said so.
        pid: Option<u32>,
    },
    /// The folder or the file cannot be made or opened.
    #[error("{path} cannot be opened: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl LockError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Held { .. } => {
                "`klatch status` talks to it, `klatch down` stops it; or use another --profile"
                    .to_owned()
            }
            Self::Io { .. } => {
                "check that the profile folder belongs to you and that the disk has space"
                    .to_owned()
            }
        }
    }
}

/// Holds a profile until dropped.
#[derive(Debug)]
pub struct ProfileLock {
    _file: File,
}

impl ProfileLock {
    /// Takes the profile in `folder`, making the folder (only for its owner) if there is none.
    ///
    /// # Errors
    /// [`LockError::Held`] at once when another process, or another handle of this one, has it.
    pub fn acquire(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join(LOCK_FILE);
        let io = |source| LockError::Io { path: path.clone(), source };
        if !folder.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
        }
        // Not truncated before it is ours: the text belongs to the holder.
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let mut file = opened.map_err(io)?;
        for tried in 1.. {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if tried < TRIES => std::thread::sleep(PAUSE),
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(LockError::Held { pid: pid_in(&mut file) });
                }
                Err(e) => return Err(io(e.into())),
            }
        }
        // Only for the error text of others: a full disk must not keep anybody from reading
        // history.
        let named = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = named {
            tracing::debug!(%error, "the lock file does not name this process");
        }
        Ok(Self { _file: file })
    }

    /// The process that holds the profile in `folder`, if any does: for a first look, without
    /// waiting or locking for long.
    #[must_use]
    pub fn holder(folder: &Path) -> Option<u32> {
        let mut file = fs::File::open(folder.join(LOCK_FILE)).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => pid_in(&mut file),
            _ => None,
        }
    }
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(PID_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
