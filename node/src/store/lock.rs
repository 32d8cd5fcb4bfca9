//! One process per profile: two that write the same chain would fork it. An advisory lock on the
//! profile folder and on the file `lock` in it, which the system releases when the process ends,
//! however it ends. The folder, because a file can be removed while it is locked, and the next one
//! to come would lock another; the file, because it names the process for the error text. Who holds
//! it by the system's own account is in `holder`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Name of the lock file in the profile folder.
pub const LOCK_FILE: &str = "lock";
/// A process id with its line end needs no more.
const PID_BYTES_MAX: u64 = 16;
/// Tries before a held lock is believed: [`ProfileLock::look`] takes it for a moment, too, and a
/// process that was killed keeps it until the system has cleaned up.
const TRIES: u32 = 5;
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// Why a profile cannot be locked. Only [`LockError::Held`] means that somebody uses it.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("this profile is in use{}", .pid.map(|p| format!(" by process {p}")).unwrap_or_default())]
    Held {
        /// Which process, if it said so.
        pid: Option<u32>,
    },
    /// Something else stands where the lock file should be.
    #[error("{} is {}, and must be a file", .path.display(), instead(.path))]
    NotAFile {
        /// Where.
        path: PathBuf,
    },
    /// The file or its folder belongs to another user.
    #[error("{} belongs to {}, not to you", .path.display(), owner(*.uid))]
    Foreign {
        /// What belongs to them.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// The folder can be read only, or takes no new file.
    #[error("{} cannot be written: {source}", .path.display())]
    ReadOnly {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Anything else that the system refuses.
    #[error("{} cannot be opened: {source}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What is there and no file.
fn instead(path: &Path) -> &'static str {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => "a folder",
        _ => "a pipe or device",
    }
}

fn owner(uid: u32) -> String {
    if uid == 0 { "root".to_owned() } else { format!("another user (uid {uid})") }
}

impl LockError {
    /// A stable code for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Held { .. } => "KLATCH-ALREADY-RUNNING",
            Self::ReadOnly { .. } => "KLATCH-READ-ONLY",
            Self::NotAFile { .. } | Self::Foreign { .. } | Self::Io { .. } => "KLATCH-LOCK-FILE",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Held { .. } => {
                "`klatch status` talks to it, `klatch down` stops it; or use another --profile"
                    .to_owned()
            }
            Self::NotAFile { path } => {
                let quoted = |p: String| format!("'{}'", p.replace('\'', "'\\''"));
                let path = path.display().to_string();
                format!(
                    "mv {} {} puts aside what another program made; then the same again",
                    quoted(path.clone()),
                    quoted(format!("{path}.old"))
                )
            }
            Self::Foreign { path, .. } => {
                // Not the whole disk, if it is the folder itself that is theirs.
                let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
                format!(
                    "a command run with sudo leaves that behind: sudo chown -R \"$(id -u)\" '{}'",
                    folder.display()
                )
            }
            Self::ReadOnly { .. } => {
                "history can be read (`klatch rooms`, `klatch log`); a node needs a disk that can \
                 be written and has space"
                    .to_owned()
            }
            Self::Io { .. } => {
                "check that the profile folder belongs to you and that the disk is there".to_owned()
            }
        }
    }

    /// What it means that the system refused `path`.
    #[must_use]
    pub fn refused(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        let own = rustix::process::geteuid().as_raw();
        let theirs = || {
            // The file, or the nearest folder above it that is there.
            let (there, meta) =
                path.ancestors().find_map(|p| Some((p.to_owned(), fs::metadata(p).ok()?)))?;
            (meta.uid() != own).then_some((there, meta.uid()))
        };
        match source.kind() {
            ErrorKind::IsADirectory => Self::NotAFile { path },
            ErrorKind::PermissionDenied => match theirs() {
                Some((path, uid)) => Self::Foreign { path, uid },
                None => Self::ReadOnly { path, source },
            },
            ErrorKind::ReadOnlyFilesystem | ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                Self::ReadOnly { path, source }
            }
            _ => Self::Io { path, source },
        }
    }
}

/// What a look at a lock showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Nobody has the profile.
    Free,
    /// Somebody has it.
    Held {
        /// Which process, if it said so: on a full disk it cannot.
        pid: Option<u32>,
    },
}

/// Holds a profile until dropped.
#[derive(Debug)]
pub struct ProfileLock {
    _folder: File,
    /// None where no lock file can be made, so that nobody else can have one either.
    _file: Option<File>,
}

impl ProfileLock {
    /// Takes the profile in `folder`, making the folder (only for its owner) if there is none.
    ///
    /// # Errors
    /// [`LockError::Held`] at once when another process, or another handle of this one, has it.
    pub fn acquire(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join(LOCK_FILE);
        if !folder.is_dir() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|e| LockError::refused(folder, e))?;
        }
        check(&path)?;
        let locked = take_folder(folder)?;
        // Not truncated before it is ours: the text belongs to the holder.
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let mut file = opened.map_err(|e| LockError::refused(&path, e))?;
        take(&mut file, &path)?;
        // Only for the error text of others: a full disk must not keep anybody from reading
        // history.
        let named = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = named {
            tracing::debug!(%error, "the lock file does not name this process");
        }
        Ok(Self { _folder: locked, _file: Some(file) })
    }

    /// As [`ProfileLock::acquire`], also where nothing can be written: for reading alone.
    ///
    /// # Errors
    /// [`LockError`]: somebody has it, or it is not ours to read.
    pub fn acquire_to_read(folder: &Path) -> Result<Self, LockError> {
        match Self::acquire(folder) {
            Err(LockError::ReadOnly { .. }) => {}
            done => return done,
        }
        let path = folder.join(LOCK_FILE);
        let locked = take_folder(folder)?;
        match File::open(&path) {
            Ok(mut file) => {
                take(&mut file, &path)?;
                Ok(Self { _folder: locked, _file: Some(file) })
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Self { _folder: locked, _file: None }),
            Err(e) => Err(LockError::refused(&path, e)),
        }
    }

    /// Who has the profile in `folder`, for a first look, without waiting or locking for long.
    ///
    /// # Errors
    /// [`LockError`]: the lock file cannot be looked at, so nobody can tell.
    pub fn look(folder: &Path) -> Result<Hold, LockError> {
        let path = folder.join(LOCK_FILE);
        check(&path)?;
        let mut file = match File::open(&path) {
            Ok(file) => Some(file),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(LockError::refused(&path, e)),
        };
        let whole = match File::open(folder) {
            Ok(whole) => Some(whole),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(LockError::refused(folder, e)),
        };
        let shared = |file: &File| flock(file, FlockOperation::NonBlockingLockShared);
        let held = match file.as_ref().map(shared) {
            Some(Err(Errno::WOULDBLOCK)) => true,
            Some(Err(e)) => return Err(LockError::Io { path, source: e.into() }),
            _ => whole.as_ref().map(shared) == Some(Err(Errno::WOULDBLOCK)),
        };
        Ok(if held { Hold::Held { pid: file.as_mut().and_then(pid_in) } } else { Hold::Free })
    }
}

/// Refuses what is there and no file: opening a pipe would wait for its other end.
fn check(path: &Path) -> Result<(), LockError> {
    match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => Err(LockError::NotAFile { path: path.to_owned() }),
        Err(e) if e.kind() != ErrorKind::NotFound => Err(LockError::refused(path, e)),
        _ => Ok(()),
    }
}

/// Locks the folder itself. A file system on which that cannot be done leaves it to the file.
fn take_folder(folder: &Path) -> Result<File, LockError> {
    let whole = File::open(folder).map_err(|e| LockError::refused(folder, e))?;
    match patiently(&whole) {
        Err(Errno::WOULDBLOCK) => {
            let named = File::open(folder.join(LOCK_FILE));
            Err(LockError::Held { pid: named.ok().as_mut().and_then(pid_in) })
        }
        Err(error) => {
            tracing::debug!(%error, "the profile folder cannot be locked, only the file in it");
            Ok(whole)
        }
        Ok(()) => Ok(whole),
    }
}

fn take(file: &mut File, path: &Path) -> Result<(), LockError> {
    match patiently(file) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(LockError::Held { pid: pid_in(file) }),
        Err(e) => Err(LockError::Io { path: path.to_owned(), source: e.into() }),
    }
}

fn patiently(file: &File) -> Result<(), Errno> {
    for _ in 1..TRIES {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
    flock(file, FlockOperation::NonBlockingLockExclusive)
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(PID_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
