//! The socket file: where it stands, that it stays ours, and the note that tells clients where it
//! is. A runtime folder may be emptied or removed while a node runs (at the last logout, by a cleaner
//! of temporary files), and other programs may take a path; so the node looks every few seconds
//! whether its socket is still its own and makes it again, elsewhere if it must.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixListener;

use super::{ApiError, SOCKET};
use crate::Node;
use crate::place::{FileMark, Place};

/// How often the socket is looked at. A command waits longer than this for a node that has the
/// profile and does not respond.
pub(super) const LOOK: Duration = Duration::from_secs(2);
/// The kernel's limit for the path of a Unix socket, with its final zero byte.
const SOCKET_PATH_MAX: usize = 108;
/// Bit of a folder in which everybody may make files but remove only their own.
const STICKY: u32 = 0o1000;
/// Others may write.
const OTHERS_WRITE: u32 = 0o022;

/// An open socket and what is known of it.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) listener: UnixListener,
    node: Node,
    runtime: PathBuf,
    place: Place,
    /// The last look went wrong and was told.
    told: bool,
}

impl Door {
    /// Opens the socket in the runtime folder, or elsewhere if it cannot be there, and tells the
    /// node and the note where.
    pub(super) fn open(node: &Node, runtime: &Path) -> Result<Self, ApiError> {
        let (listener, place) = open(node.home(), runtime)?;
        let (node, runtime) = (node.clone(), runtime.to_owned());
        let mut door = Self { listener, node, runtime, place, told: false };
        door.tell();
        Ok(door)
    }

    /// Makes the socket and the note again if somebody removed or replaced them.
    pub(super) fn look(&mut self) {
        let ours = FileMark::of(&self.place.socket).is_ok_and(|mark| mark == self.place.file);
        if ours {
            if Place::read(self.node.home()).as_ref() != Some(&self.place) {
                self.tell();
            }
            return;
        }
        match open(self.node.home(), &self.runtime) {
            Ok((listener, place)) => {
                let path = place.socket.display();
                tracing::warn!(%path, "the API socket was removed or replaced: it is made again");
                (self.listener, self.place, self.told) = (listener, place, false);
                self.tell();
            }
            Err(error) if !self.told => {
                self.told = true;
                tracing::warn!(%error, "the API socket was removed, and cannot be made again yet");
            }
            Err(_) => {}
        }
    }

    fn tell(&mut self) {
        self.node.set_socket(Some(self.place.socket.clone()));
        if let Err(error) = self.place.write(self.node.home())
            && !std::mem::replace(&mut self.told, true)
        {
            // Commands with the same environment find the socket all the same.
            tracing::warn!(%error, "no note says where the API socket is");
        }
    }

    /// Takes note and socket away, unless they are somebody else's by now.
    pub(super) fn close(self) {
        self.node.set_socket(None);
        self.place.remove(self.node.home());
        if FileMark::of(&self.place.socket).is_ok_and(|mark| mark == self.place.file) {
            let _ = std::fs::remove_file(&self.place.socket);
        }
    }
}

/// Opens the first socket that can be opened: in the runtime folder, in the profile's, in a folder
/// of the user's under /tmp; under its name, or another one where that is taken. The error is that
/// of the first.
fn open(home: &Path, runtime: &Path) -> Result<(UnixListener, Place), ApiError> {
    let mut first = None;
    let spare = format!("api-{}.sock", std::process::id());
    for folder in [runtime.to_owned(), home.join("run"), last_resort(home)] {
        for name in [SOCKET, &spare] {
            let path = folder.join(name);
            if path.as_os_str().len() >= SOCKET_PATH_MAX {
                let long = io::Error::from(io::ErrorKind::InvalidFilename);
                first.get_or_insert(ApiError::Io(path, long));
                continue;
            }
            let opened = below_ours(&folder).and_then(|()| bind(&folder, &path));
            let placed = opened.and_then(|listener| match Place::ours(path.clone()) {
                Ok(place) => Ok((listener, place)),
                Err(e) => Err(ApiError::Io(path, e)),
            });
            match placed {
                Ok(opened) => return Ok(opened),
                Err(error) => {
                    if first.is_none() {
                        tracing::warn!(%error, "the usual API socket cannot be used");
                    }
                    first.get_or_insert(error);
                }
            }
        }
    }
    let nowhere = || ApiError::Io(runtime.join(SOCKET), io::ErrorKind::NotFound.into());
    Err(first.unwrap_or_else(nowhere))
}

/// A folder for sockets whose path is short whatever the profile's is. Its name depends on that
/// alone, so every process of this user comes to the same one.
fn last_resort(home: &Path) -> PathBuf {
    user_folder(rustix::process::geteuid().as_raw()).join(folder_name(home))
}

/// Where runtime folders are for want of one of the system's. Not TMPDIR: two shells of one user
/// must come to the same.
#[must_use]
pub fn user_folder(uid: u32) -> PathBuf {
    Path::new("/tmp").join(format!("klatch-{uid}"))
}

/// A short name for a profile's folder: the same for the same folder, however it is written, and in
/// every version of this program.
#[must_use]
pub fn folder_name(home: &Path) -> String {
    let home = home.ancestors().find_map(|there| {
        let rest = home.strip_prefix(there).ok()?;
        // Part by part: joining nothing would leave a slash at the end of what is there already.
        Some(std::fs::canonicalize(there).ok()?.iter().chain(rest.iter()).collect::<PathBuf>())
    });
    let bytes = home.as_deref().map_or(&b""[..], |h| h.as_os_str().as_bytes());
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| {
        (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// Whoever owns the folder above could swap what is in it.
fn below_ours(folder: &Path) -> Result<(), ApiError> {
    let above = folder.parent().unwrap_or(folder);
    // What is not there yet will be made by us.
    let Ok(meta) = std::fs::metadata(above) else { return Ok(()) };
    let own = rustix::process::geteuid().as_raw();
    let closed = meta.mode() & OTHERS_WRITE == 0 || meta.mode() & STICKY != 0;
    if closed && (meta.uid() == own || meta.uid() == 0) {
        return Ok(());
    }
    Err(ApiError::Untrusted(above.to_owned(), "others can write to it"))
}

/// Makes the folder and opens the socket in it, both for their owner only.
fn bind(folder: &Path, path: &Path) -> Result<UnixListener, ApiError> {
    private_folder(folder)?;
    let io = |e| ApiError::Io(path.to_owned(), e);
    match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(io(e)),
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(ApiError::Untrusted(path.to_owned(), "it is no socket"));
        }
        // Somebody may answer: ask first, and remove only what nobody listens on.
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(ApiError::InUse(path.to_owned())),
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(io)?
            }
            Err(e) => return Err(io(e)),
        },
    }
    // Until its mode is set the socket is protected by its folder, whatever the umask is.
    let listener = UnixListener::bind(path).map_err(io)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(io)?;
    Ok(listener)
}

/// Makes sure that a folder is real, ours, and closed to others.
///
/// # Errors
/// [`ApiError`]: it cannot be made, or belongs to somebody else.
pub fn private_folder(folder: &Path) -> Result<(), ApiError> {
    let io = |e| ApiError::Io(folder.to_owned(), e);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    let meta = std::fs::symlink_metadata(folder).map_err(io)?;
    if !meta.is_dir() {
        return Err(ApiError::Untrusted(folder.to_owned(), "it is no folder"));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(ApiError::Untrusted(folder.to_owned(), "it belongs to somebody else"));
    }
    // A folder that is closed, even to its owner's writing, is left as it is.
    if meta.mode() & 0o077 != 0 {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map_err(io)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_nobody_answers_on_is_replaced_and_others_are_not() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("run");
        let path = folder.join("api.sock");
        let first = bind(&folder, &path).unwrap();
        assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(bind(&folder, &path), Err(ApiError::InUse(_))));
        drop(first);
        let second = bind(&folder, &path).unwrap();
        drop(second);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&folder, &path), Err(ApiError::Untrusted(..))));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_link_in_place_of_the_folder_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let real = temp.path().join("real");
        std::fs::create_dir(&real).unwrap();
        let link = temp.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(matches!(bind(&link, &link.join("api.sock")), Err(ApiError::Untrusted(..))));
    }
}
