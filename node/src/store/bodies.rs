//! Reading the body store: sealed bodies too large for the encrypted file, as received, in segment
//! files. Where each one lies stands in the encrypted file. What is written there, and when, is in
//! `segments`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::error::StoreError;
use super::segments;

/// Segments that a reader keeps open: those of the last 512 MiB. More are opened again when they
/// are asked for.
const FILES_MAX: usize = 8;

/// Where a body lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Number of the segment.
    pub(super) segment: u32,
    /// First byte.
    pub(super) start: u64,
    /// How many bytes.
    pub(super) size: u32,
}

impl Span {
    /// The byte behind it.
    pub(super) fn end(&self) -> u64 {
        self.start + u64::from(self.size)
    }
}

/// The segments that exist, shared by the writer and its readers. Reading a body holds it,
/// overwriting one takes it alone: nobody sees half a body.
#[derive(Clone, Default)]
pub(super) struct Live(Arc<RwLock<BTreeSet<u32>>>);

impl Live {
    pub(super) fn hold(&self) -> RwLockReadGuard<'_, BTreeSet<u32>> {
        // The set is whole whatever happened to its last holder.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn alone(&self) -> RwLockWriteGuard<'_, BTreeSet<u32>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader's view of the segments.
pub(super) struct Bodies {
    folder: PathBuf,
    live: Live,
    /// The one used last is at the end.
    open: RefCell<Vec<(u32, File)>>,
}

impl Bodies {
    pub(super) fn new(folder: &Path, live: Live) -> Self {
        Self { folder: folder.to_owned(), live, open: RefCell::default() }
    }

    /// The body that lies there; `None` if it was removed since the caller looked where.
    pub(super) fn get(&self, span: &Span) -> Result<Option<Arc<[u8]>>, StoreError> {
        let live = self.live.hold();
        if !live.contains(&span.segment) {
            return Ok(None);
        }
        let file = self.take(span.segment, &live)?;
        let mut body: Arc<[u8]> =
            std::iter::repeat_n(0, usize::try_from(span.size).unwrap_or(usize::MAX)).collect();
        if let Some(bytes) = Arc::get_mut(&mut body) {
            file.read_exact_at(bytes, span.start).map_err(|e| unread(span.segment, &file, &e))?;
        }
        self.open.borrow_mut().push((span.segment, file));
        drop(live);
        // What was removed was overwritten; nothing sealed looks like that.
        Ok(body.iter().any(|byte| *byte != 0).then_some(body))
    }

    /// Takes a file out of the cache, or opens it; the caller puts it back.
    fn take(&self, number: u32, live: &BTreeSet<u32>) -> Result<File, StoreError> {
        let mut open = self.open.borrow_mut();
        if let Some(at) = open.iter().position(|(n, _)| *n == number) {
            return Ok(open.remove(at).1);
        }
        // A removed file takes space for as long as somebody has it open.
        open.retain(|(n, _)| live.contains(n));
        if open.len() >= FILES_MAX {
            open.remove(0);
        }
        let name = segments::name(number);
        File::open(self.folder.join(&name)).map_err(|e| match e.kind() {
            ErrorKind::NotFound => StoreError::Missing { file: name },
            _ => StoreError::from_io(&name, &e),
        })
    }
}

fn unread(number: u32, file: &File, error: &std::io::Error) -> StoreError {
    let name = segments::name(number);
    match error.kind() {
        ErrorKind::UnexpectedEof => StoreError::Truncated {
            file: name,
            bytes: file.metadata().map_or(0, |meta| meta.len()),
        },
        _ => StoreError::Io { file: name, cause: error.to_string() },
    }
}
