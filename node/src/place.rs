//! Where a running node is reached, as it says itself: a note beside the profile's lock. Commands
//! read it there instead of working it out from their own environment, which may differ from the
//! node's: another login, cron, sudo. Only a note of the process that holds the lock counts.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Name of the note in the profile folder.
pub const NOTE_FILE: &str = "running";
/// A path has at most 4,096 bytes; the rest is short.
const NOTE_BYTES_MAX: u64 = 8_192;

/// Where a node is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The node's process.
    pub pid: u32,
    /// When that process began, in the system's ticks, where the system tells it.
    pub started: Option<u64>,
    /// Which file the socket is.
    pub file: FileMark,
    /// The socket's path.
    pub socket: PathBuf,
}

/// Tells a file from another one that was put in its place: numbers of files are given out again,
/// so the time counts as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMark {
    disk: u64,
    number: u64,
    changed_s: i64,
    changed_ns: i64,
}

impl FileMark {
    /// Of what is there now; links are not followed.
    ///
    /// # Errors
    /// Nothing is there, or it cannot be looked at.
    pub fn of(path: &Path) -> io::Result<Self> {
        let meta = fs::symlink_metadata(path)?;
        Ok(Self {
            disk: meta.dev(),
            number: meta.ino(),
            changed_s: meta.ctime(),
            changed_ns: meta.ctime_nsec(),
        })
    }
}

impl Place {
    /// The place of a socket of this process.
    pub(crate) fn ours(socket: PathBuf) -> io::Result<Self> {
        let pid = std::process::id();
        Ok(Self { pid, started: started(pid), file: FileMark::of(&socket)?, socket })
    }

    /// What the note in `folder` says. Nothing if there is none or it makes no sense.
    #[must_use]
    pub fn read(folder: &Path) -> Option<Self> {
        let path = folder.join(NOTE_FILE);
        if !fs::symlink_metadata(&path).ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(NOTE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Self::parse(&bytes)
    }

    /// Complete or not at all: others may read it at any moment.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let part = folder.join(format!(".{NOTE_FILE}.{}", self.pid));
        let _ = fs::remove_file(&part);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        let done =
            file.write_all(&self.text()).and_then(|()| fs::rename(&part, folder.join(NOTE_FILE)));
        if done.is_err() {
            let _ = fs::remove_file(&part);
        }
        done
    }

    /// Takes the note away, unless it is another process's by now.
    pub(crate) fn remove(&self, folder: &Path) {
        if Self::read(folder).is_some_and(|now| now.pid == self.pid) {
            let _ = fs::remove_file(folder.join(NOTE_FILE));
        }
    }

    fn text(&self) -> Vec<u8> {
        let FileMark { disk, number, changed_s, changed_ns } = self.file;
        let started = self.started.unwrap_or_default();
        let mut text = format!(
            "klatch 1\npid {}\nstarted {started}\nfile {disk} {number} {changed_s} {changed_ns}\n",
            self.pid
        )
        .into_bytes();
        // Last, because a path may hold anything, line breaks too.
        text.extend_from_slice(b"socket ");
        text.extend_from_slice(self.socket.as_os_str().as_bytes());
        text.push(b'\n');
        text
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut parts = bytes.splitn(5, |b| *b == b'\n');
        let mut line = |key: &str| -> Option<&[u8]> {
            parts.next()?.strip_prefix(key.as_bytes())?.strip_prefix(b" ")
        };
        let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<u64>().ok();
        (line("klatch")? == b"1").then_some(())?;
        let pid = u32::try_from(number(line("pid")?)?).ok()?;
        let started = number(line("started")?).filter(|t| *t > 0);
        let mut file = std::str::from_utf8(line("file")?).ok()?.split(' ');
        let mut next = || file.next();
        let mark = FileMark {
            disk: next()?.parse().ok()?,
            number: next()?.parse().ok()?,
            changed_s: next()?.parse().ok()?,
            changed_ns: next()?.parse().ok()?,
        };
        let socket = line("socket")?.strip_suffix(b"\n")?;
        let socket = PathBuf::from(OsStr::from_bytes(socket));
        socket.is_absolute().then_some(Self { pid, started, file: mark, socket })
    }
}

/// When a process began, in the system's ticks since it was started; nothing where that is not told.
pub(crate) fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name, which may hold anything; the 22nd is the time.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(socket: &[u8]) -> Place {
        let file = FileMark { disk: 1, number: 2, changed_s: -3, changed_ns: 4 };
        let socket = PathBuf::from(OsStr::from_bytes(socket));
        Place { pid: 77, started: Some(5), file, socket }
    }

    #[test]
    fn a_note_comes_back_as_written_whatever_the_path_holds() {
        for path in [&b"/run/x/api.sock"[..], b"/caf\xe9/a b", b"/a\nb\n/c\n", b"/a\nsocket /b"] {
            let place = place(path);
            assert_eq!(Place::parse(&place.text()), Some(place));
        }
        let bare = Place { started: None, ..place(b"/x") };
        assert_eq!(Place::parse(&bare.text()), Some(bare));
    }

    #[test]
    fn what_makes_no_sense_is_no_note() {
        let whole = place(b"/x").text();
        for cut in 0..whole.len() {
            assert_eq!(Place::parse(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(Place::parse(&place(b"x/y").text()), None, "a path of somebody's own folder");
        for bad in ["", "klatch 2\n", "123\n", "klatch 1\npid -1\nstarted 0\nfile 1 2 3 4\n"] {
            assert_eq!(Place::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn only_the_own_note_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NOTE_FILE);
        let ours = place(b"/x");
        ours.write(folder.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        Place { pid: 78, ..ours.clone() }.remove(folder.path());
        assert_eq!(Place::read(folder.path()), Some(ours.clone()));
        ours.remove(folder.path());
        assert!(!path.exists() && fs::read_dir(folder.path()).unwrap().count() == 0);
        fs::create_dir(&path).unwrap();
        assert_eq!(Place::read(folder.path()), None);
        assert!(ours.write(folder.path()).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no half note is left");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_tells_when_a_process_began() {
        assert!(started(std::process::id()).is_some());
        assert_eq!(started(u32::MAX), None);
    }
}
