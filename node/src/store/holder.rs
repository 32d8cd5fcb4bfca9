//! The process that holds a profile, by the system's own account, and its polite end. A number in a
//! file alone proves nothing: processes end and numbers are given out again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Pid, Signal};

use super::lock::{Hold, LOCK_FILE, LockError, ProfileLock};
use crate::place::Place;

/// Why the holder was not told to end.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// Nobody has the profile.
    #[error("nobody has this profile any more")]
    Free,
    /// The lock cannot be looked at.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It cannot be told which process has the profile: it may run in a container, or on another
    /// machine that shares this disk.
    #[error("which process has this profile cannot be told from here")]
    Unknown,
    /// The system refused.
    #[error("process {pid} cannot be reached: {source}")]
    Refused {
        /// Which process.
        pid: u32,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Sends SIGTERM to the process that holds the profile in `folder`: a node then says goodbye, closes
/// its files and ends. Gives back which process that is.
///
/// # Errors
/// [`EndError`]: nobody was told anything.
pub fn end(folder: &Path) -> Result<u32, EndError> {
    let Hold::Held { pid } = ProfileLock::look(folder)? else { return Err(EndError::Free) };
    let pid = by_the_system(folder).or_else(|| by_the_note(folder, pid?));
    let pid = pid.ok_or(EndError::Unknown)?;
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(EndError::Unknown)?;
    signal(raw, || by_the_system(folder).is_none_or(|now| now == pid))
        .map_err(|source| EndError::Refused { pid, source })?;
    Ok(pid)
}

/// The process that the kernel lists as the holder.
fn by_the_system(folder: &Path) -> Option<u32> {
    let named = match ProfileLock::look(folder) {
        Ok(Hold::Held { pid }) => pid,
        _ => None,
    };
    let list = fs::read_to_string("/proc/locks").ok()?;
    let holder = |path: &Path| listed(&list, fs::metadata(path).ok()?.ino(), named);
    // Somebody may have removed the file, or made another one.
    holder(&folder.join(LOCK_FILE)).or_else(|| holder(folder))
}

/// Who holds a file by the kernel's list. Files of two disks may have one number, so the process
/// that the file names is preferred; without a name there must be no doubt.
fn listed(list: &str, inode: u64, named: Option<u32>) -> Option<u32> {
    // `3: FLOCK  ADVISORY  WRITE 1804 fe:00:5309037 0 EOF`; who only waits has `->` before FLOCK.
    let mut holders = list.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let kind = (words.next()?, words.next()?, words.next()?);
        let pid: u32 = words.next()?.parse().ok()?;
        let number = words.next()?.rsplit(':').next()?.parse().ok();
        (kind.0 == "FLOCK" && kind.2 == "WRITE" && number == Some(inode)).then_some(pid)
    });
    let first = holders.next()?;
    let rest: Vec<u32> = holders.collect();
    match named {
        Some(pid) => (first == pid || rest.contains(&pid)).then_some(pid),
        None => rest.is_empty().then_some(first),
    }
}

/// The process that the note beside the lock names, if it was started when the note says.
fn by_the_note(folder: &Path, pid: u32) -> Option<u32> {
    let place = Place::read(folder).filter(|p| p.pid == pid)?;
    (place.started.is_some() && place.started == crate::place::started(pid)).then_some(pid)
}

/// Through a handle on the process, so that the number cannot come to mean another one meanwhile.
#[cfg(target_os = "linux")]
fn signal(pid: Pid, still: impl Fn() -> bool) -> std::io::Result<()> {
    use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    if !still() {
        return Err(std::io::ErrorKind::NotFound.into());
    }
    Ok(pidfd_send_signal(&process, Signal::TERM)?)
}

#[cfg(not(target_os = "linux"))]
fn signal(pid: Pid, still: impl Fn() -> bool) -> std::io::Result<()> {
    if !still() {
        return Err(std::io::ErrorKind::NotFound.into());
    }
    Ok(rustix::process::kill_process(pid, Signal::TERM)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "1: POSIX  ADVISORY  WRITE 7 fe:00:500 0 EOF\n\
        2: FLOCK  ADVISORY  READ 8 fe:00:500 0 EOF\n\
        3: FLOCK  ADVISORY  WRITE 9 fe:00:500 0 EOF\n\
        3: -> FLOCK  ADVISORY  WRITE 10 fe:00:500 0 EOF\n\
        4: FLOCK  ADVISORY  WRITE 11 00:2b:501 0 EOF\n\
        5: FLOCK  ADVISORY  WRITE 12 00:2c:501 0 EOF\n";

    #[test]
    fn only_the_holder_of_this_very_lock_counts() {
        assert_eq!(listed(LIST, 500, Some(9)), Some(9));
        assert_eq!(listed(LIST, 500, None), Some(9));
        assert_eq!(listed(LIST, 500, Some(10)), None, "it only waits");
        assert_eq!(listed(LIST, 500, Some(8)), None, "it only looks");
        assert_eq!(listed(LIST, 501, Some(12)), Some(12));
        assert_eq!(listed(LIST, 501, None), None, "in doubt nobody");
        assert_eq!(listed(LIST, 502, Some(9)), None);
        assert_eq!(listed("", 500, Some(9)), None);
    }

    #[test]
    fn nobody_is_told_to_end_when_nobody_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        drop(ProfileLock::acquire(folder.path()).unwrap());
        assert!(matches!(end(folder.path()), Err(EndError::Free)));
        // A number that a process left behind, under a lock of somebody else's: not the one told.
        std::fs::remove_file(folder.path().join(LOCK_FILE)).unwrap();
        std::fs::create_dir(folder.path().join(LOCK_FILE)).unwrap();
        assert!(matches!(end(folder.path()), Err(EndError::Lock(_))));
    }
}
