//! How a database file is opened: pragmas, the key, migrations, and which way of being unusable a
//! file has.

use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use zeroize::Zeroizing;

use super::error::StoreError;

/// Page size of the encrypted file. A commit of one small message touches seven pages, and each is
/// encrypted and hashed as a whole: 4 kB takes two thirds of the time of 8 kB, and reads are as
/// fast (measured).
pub(super) const PAGE_BYTES: u64 = 4_096;
/// Ending of the write-ahead log.
pub(super) const WAL: &str = "-wal";
/// How long a connection waits for another one's lock. Readers never hold one that blocks the
/// writer; this covers a checkpoint or a backup program.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The write-ahead log is cut back to this size after a checkpoint: a burst shall not cost disk for
/// ever.
const WAL_BYTES_MAX: u64 = 32 << 20;
/// Prepared statements kept per connection: more than there are in this module.
const STATEMENTS_MAX: usize = 128;

/// Whether the engine looks up what each row refers to: three searches for every entry, in order to
/// find a mistake of ours. Tests pay for that.
const REFERENCES_CHECKED: bool = cfg!(debug_assertions);

/// What a connection is for: decides its page cache and whether it may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The one writer.
    Writer,
    /// One of several readers.
    Reader,
    /// A reader where nothing can be written, while nobody else writes.
    Frozen,
}

impl Role {
    /// Page cache in KiB. Index pages that fall out of it are decrypted again.
    fn cache_kib(self) -> u32 {
        match self {
            Self::Writer => 8_192,
            Self::Reader | Self::Frozen => 2_048,
        }
    }
}

/// The engine gets ready with the first connection, but other threads do not wait for its cipher
/// then: their keys are refused. Nodes that start at the same time in one process would meet that.
static READY: Once = Once::new();

/// Opens `path`, with a raw key if it is encrypted, and reads its first page to see whether that
/// works.
pub(super) fn open(
    path: &Path,
    key: Option<&[u8; 32]>,
    role: Role,
) -> Result<Connection, StoreError> {
    // What is wrong, if anything, comes back with the real one.
    READY.call_once(|| drop(Connection::open_in_memory()));
    let file = file_name(path);
    let sql = |e: rusqlite::Error| StoreError::in_file(&file, &e);
    if role == Role::Writer {
        // The engine would open it all the same, and refuse the first commit.
        rustix::fs::access(path, rustix::fs::Access::WRITE_OK)
            .map_err(|e| StoreError::from_io(&file, &e.into()))?;
    }
    let conn = match role {
        Role::Writer | Role::Reader => {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            Connection::open_with_flags(path, flags).map_err(sql)?
        }
        Role::Frozen => frozen(path)?,
    };
    conn.busy_timeout(BUSY_TIMEOUT).map_err(sql)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    if let Some(key) = key {
        conn.execute_batch(&key_pragma(key)).map_err(sql)?;
    }
    if role == Role::Frozen {
        // Keeps the index of the write-ahead log in memory: beside the file it cannot be.
        conn.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(sql)?;
    }
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get::<_, i64>(0))
        .map_err(sql)?;
    conn.execute_batch(&format!(
        "PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = {}; PRAGMA secure_delete = ON;
         PRAGMA cache_size = -{}; PRAGMA journal_size_limit = {WAL_BYTES_MAX};",
        if REFERENCES_CHECKED { "ON" } else { "OFF" },
        role.cache_kib()
    ))
    .map_err(sql)?;
    match role {
        // On macOS a plain flush leaves the data in the drive's cache; elsewhere the two say nothing.
        Role::Writer => conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON;
             PRAGMA checkpoint_fullfsync = ON;",
        ),
        Role::Reader | Role::Frozen => conn.execute_batch("PRAGMA query_only = ON;"),
    }
    .map_err(sql)?;
    Ok(conn)
}

/// Opens a file on a disk that cannot be written. The engine would make a file for the index of the
/// write-ahead log beside it, or for locks; neither is needed, because the profile's lock keeps
/// writers away. With an empty log the file alone is all there is; else the log is read with locks
/// switched off.
fn frozen(path: &Path) -> Result<Connection, StoreError> {
    let file = file_name(path);
    let sql = |e: rusqlite::Error| StoreError::in_file(&file, &e);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if size(&beside(path, WAL))?.unwrap_or(0) > 0 {
        return Connection::open_with_flags_and_vfs(path, flags, c"unix-none").map_err(sql);
    }
    let absolute = std::path::absolute(path).map_err(|e| StoreError::from_io(&file, &e))?;
    let mut uri = String::from("file:");
    for byte in absolute.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            b if b.is_ascii_alphanumeric() => uri.push(char::from(*b)),
            b => uri.push_str(&format!("%{b:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI).map_err(sql)
}

/// The statements that unlock an encrypted file; wiped after use. The engine's own log goes to
/// standard error, which is the user's screen: it is switched off, the error comes back anyway.
fn key_pragma(key: &[u8; 32]) -> Zeroizing<String> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = Zeroizing::new(String::with_capacity(256));
    text.push_str("PRAGMA cipher_log_level = NONE; PRAGMA key = \"x'");
    for byte in key {
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    // Processors have instructions for SHA-256: a fifth less time per commit than with the default,
    // SHA-512 (measured).
    text.push_str("'\"; PRAGMA cipher_hmac_algorithm = HMAC_SHA256; PRAGMA cipher_page_size = ");
    text.push_str(&PAGE_BYTES.to_string());
    text.push(';');
    text
}

/// Makes an empty file that only its owner can read; the engine gives its side files the same mode.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|e| StoreError::from_io(&file_name(path), &e))
}

/// Applies the migrations a file lacks, one transaction each; refuses a file that has more than are
/// known.
pub(super) fn migrate(
    conn: &mut Connection,
    file: &str,
    migrations: &[&str],
) -> Result<(), StoreError> {
    let sql = |e: rusqlite::Error| StoreError::in_file(file, &e);
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    let found = version(conn, file)?;
    if found > known || found < 0 {
        return Err(StoreError::Newer { file: file.to_owned(), found, known });
    }
    let done = usize::try_from(found).unwrap_or(0);
    for (statements, version) in migrations.iter().skip(done).zip(found + 1..) {
        let tx = conn
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(sql)?;
        tx.execute_batch(statements).map_err(sql)?;
        tx.execute_batch(&format!("PRAGMA user_version = {version};")).map_err(sql)?;
        tx.commit().map_err(sql)?;
    }
    Ok(())
}

/// The format of a file; 0 for an empty one.
pub(super) fn version(conn: &Connection, file: &str) -> Result<i64, StoreError> {
    conn.query_row("PRAGMA user_version", [], |r| r.get(0))
        .map_err(|e| StoreError::in_file(file, &e))
}

/// Moves the write-ahead log into the file and empties it, so that what was deleted is nowhere.
/// `false` if a reader is in the way: try again later.
pub(super) fn scrub(conn: &Connection, file: &str) -> Result<bool, StoreError> {
    let sql = |e: rusqlite::Error| StoreError::in_file(file, &e);
    conn.busy_timeout(Duration::ZERO).map_err(sql)?;
    let busy = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get::<_, i64>(0));
    conn.busy_timeout(BUSY_TIMEOUT).map_err(sql)?;
    match busy {
        Ok(busy) => Ok(busy == 0),
        Err(e) => match StoreError::in_file(file, &e) {
            StoreError::Busy { .. } => Ok(false),
            other => Err(other),
        },
    }
}

/// Size of a file; `None` if there is none.
pub(super) fn size(path: &Path) -> Result<Option<u64>, StoreError> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Err(StoreError::Folder { file: file_name(path) }),
        Ok(meta) => Ok(Some(meta.len())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StoreError::from_io(&file_name(path), &e)),
    }
}

/// A file that the engine keeps beside a database file.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Last part of a path, for messages.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned())
}
