//! The file on disk: mode 0600, never half written, never overwritten by a new one.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::KeystoreError;

/// A keystore has a few hundred bytes; anything much larger is something else.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Bits of the mode that let others in.
const OTHERS: u32 = 0o077;

/// Reads the file after a look at who else can.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, KeystoreError> {
    let io = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => KeystoreError::Missing { path: path.to_owned() },
        _ => KeystoreError::Io { path: path.to_owned(), source },
    };
    let file = File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return Err(KeystoreError::Malformed { path: path.to_owned(), cause: "it is no keystore" });
    }
    let mode = meta.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(KeystoreError::Permissions { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(io)?;
    if bytes.is_empty() {
        return Err(KeystoreError::Truncated { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Writes a file that must not exist yet: complete under another name first, then linked, which
/// fails if the name is taken.
pub(super) fn create(path: &Path, bytes: &[u8]) -> Result<(), KeystoreError> {
    if let Some(folder) = path.parent() {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| KeystoreError::Io { path: path.to_owned(), source })?;
    }
    let draft = write_draft(path, bytes)?;
    let linked = fs::hard_link(&draft, path).or_else(|error| match error.kind() {
        // Some file systems know no links; the caller has looked for a file, and the profile's lock
        // keeps others away.
        ErrorKind::Unsupported | ErrorKind::PermissionDenied if !path.exists() => {
            fs::rename(&draft, path)
        }
        _ => Err(error),
    });
    let _ = fs::remove_file(&draft);
    match linked {
        Ok(()) => sync_folder(path),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            Err(KeystoreError::Exists { path: path.to_owned() })
        }
        Err(source) => Err(KeystoreError::Io { path: path.to_owned(), source }),
    }
}

/// Replaces the file as a whole: at every moment the name leads to the old content or to the new
/// one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), KeystoreError> {
    let draft = write_draft(path, bytes)?;
    fs::rename(&draft, path)
        .map_err(|source| KeystoreError::Io { path: path.to_owned(), source })?;
    sync_folder(path)
}

/// Where the next content is written.
fn draft_of(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// Writes the next content to disk under its own name. What an interrupted attempt left there is
/// discarded: the profile's lock makes sure that nobody else is at it.
fn write_draft(path: &Path, bytes: &[u8]) -> Result<PathBuf, KeystoreError> {
    let draft = draft_of(path);
    let io = |source| KeystoreError::Io { path: draft.clone(), source };
    match fs::remove_file(&draft) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(io(e)),
        _ => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(io)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = fs::remove_file(&draft);
        return Err(io(error));
    }
    Ok(draft)
}

/// Makes the name itself durable.
fn sync_folder(path: &Path) -> Result<(), KeystoreError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|f| f.sync_all())
        .map_err(|source| KeystoreError::Io { path: folder.to_owned(), source })
}
