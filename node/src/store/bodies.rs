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

use klatch_core::ids::{EntryId, RoomId};

use super::error::StoreError;
use super::segments;

/// Segments that a reader keeps open: those of the last 512 MiB. More are opened again when they
/// are asked for.
const FILES_MAX: usize = 8;

/// Doubts remembered between two looks at them. More are met again when they are read again.
const DOUBTS_MAX: usize = 1_024;
/// What a disk says of a sector that it cannot read.
const EIO: i32 = rustix::io::Errno::IO.raw_os_error();

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
    /// Entries whose body was not the one that their header names.
    doubts: RefCell<BTreeSet<(RoomId, EntryId)>>,
}

impl Bodies {
    pub(super) fn new(folder: &Path, live: Live) -> Self {
        Self {
            folder: folder.to_owned(),
            live,
            open: RefCell::default(),
            doubts: RefCell::default(),
        }
    }

    /// A body was not the one that the header of its entry names, or was none: perhaps it was
    /// removed just now, which the writer knows.
    pub(super) fn doubt(&self, room: RoomId, entry: EntryId) {
        let mut doubts = self.doubts.borrow_mut();
        if doubts.len() < DOUBTS_MAX {
            doubts.insert((room, entry));
        }
    }

    /// What was doubted since the last time.
    pub(super) fn take_doubts(&self) -> Vec<(RoomId, EntryId)> {
        std::mem::take(&mut *self.doubts.borrow_mut()).into_iter().collect()
    }

    /// The bytes that lie there; `None` if there are none: removed since the caller looked where,
    /// or lost with the file or the end of it.
    pub(super) fn get(&self, span: &Span) -> Result<Option<Arc<[u8]>>, StoreError> {
        let live = self.live.hold();
        if !live.contains(&span.segment) {
            return Ok(None);
        }
        let Some(file) = self.take(span.segment, &live)? else { return Ok(None) };
        let mut body: Arc<[u8]> =
            std::iter::repeat_n(0, usize::try_from(span.size).unwrap_or(usize::MAX)).collect();
        let mut read = Ok(());
        if let Some(bytes) = Arc::get_mut(&mut body) {
            read = file.read_exact_at(bytes, span.start);
        }
        self.open.borrow_mut().push((span.segment, file));
        drop(live);
        match read {
            Ok(()) => Ok(Some(body)),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof || e.raw_os_error() == Some(EIO) => {
                Ok(None)
            }
            Err(e) => {
                Err(StoreError::Io { file: segments::name(span.segment), cause: e.to_string() })
            }
        }
    }

    /// Takes a file out of the cache, or opens it; the caller puts it back.
    fn take(&self, number: u32, live: &BTreeSet<u32>) -> Result<Option<File>, StoreError> {
        let mut open = self.open.borrow_mut();
        if let Some(at) = open.iter().position(|(n, _)| *n == number) {
            return Ok(Some(open.remove(at).1));
        }
        // A removed file takes space for as long as somebody has it open.
        open.retain(|(n, _)| live.contains(n));
        if open.len() >= FILES_MAX {
            open.remove(0);
        }
        let name = segments::name(number);
        match File::open(self.folder.join(&name)) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StoreError::from_io(&name, &e)),
        }
    }
}
