//! Writing the body store: append-only files `bodies-00000001.seg`, ... of bounded size, only the
//! newest of which grows. Bodies are ciphertext already, so the files are plain. A segment is a
//! header (magic, format, its number, a one-way tag of the database key; numbers little-endian) and
//! then bodies, end to end; which bytes are whose, and up to where they count, stands in the
//! encrypted file alone. So what a crash leaves behind the last known body is cut off, and a
//! segment shorter than that is damage. A place in a segment is never used for a second body once
//! the first one's entry was committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::bodies::{Live, Span};
use super::error::StoreError;

/// A segment takes no further body beyond this size. Its file goes when all of its bodies are gone:
/// small enough that this happens, large enough that a full room (1 GiB) is a handful of files.
const SEGMENT_BYTES: u64 = 64 << 20;
/// How a segment opens.
const MAGIC: [u8; 8] = *b"KLATCHSG";
/// The one format there is.
const FORMAT: u32 = 1;
/// Magic, format, number, tag.
const HEADER_BYTES: u64 = 48;
/// A segment until its header is on the disk: whatever has a segment's name is whole.
const UNFINISHED: &str = "bodies.seg.new";
/// Slices the system takes in one call (`IOV_MAX`).
const SLICES_MAX: usize = 1_024;
/// What removed bodies are overwritten with.
static ZEROS: [u8; 65_536] = [0; 65_536];

/// The writer's end of the segments.
pub(super) struct Segments {
    folder: PathBuf,
    tag: [u8; 32],
    live: Live,
    number: u32,
    /// The newest segment.
    pub(super) file: File,
    /// Where the next body goes: behind the last one whose entry is committed.
    pub(super) end: u64,
    /// [`SEGMENT_BYTES`]; less in tests.
    pub(super) bytes_max: u64,
}

impl Segments {
    /// Opens the segments in `folder`, or makes the first one. `known` maps each segment that has
    /// been written to the byte behind its last body. Everything is looked at before anything is
    /// changed: then tails of batches that were never committed are cut off, and files that nobody
    /// needs are removed. Returns the segments that lost something as well: nothing more is written
    /// to them.
    pub(super) fn open(
        folder: &Path,
        tag: &[u8; 32],
        known: &BTreeMap<u32, u64>,
    ) -> Result<(Self, Vec<u32>), StoreError> {
        let mut found = list(folder)?;
        let mut damaged = BTreeSet::new();
        for (number, upto) in known {
            if found.get(number).is_none_or(|bytes| bytes < upto) {
                damaged.insert(*number);
            }
        }
        for (number, bytes) in &found {
            match check(folder, *number, tag) {
                Ok(()) => {}
                // Bodies are checked one by one; where nothing is known to be, nothing is lost.
                Err(StoreError::Corrupt { .. } | StoreError::Truncated { .. })
                    if known.contains_key(number) || is_blank(folder, *number, *bytes)? =>
                {
                    damaged.insert(*number);
                }
                Err(error) => return Err(error),
            }
        }
        let last = found.keys().chain(known.keys()).max().copied();
        let newest = found.keys().next_back().copied().filter(|n| !damaged.contains(n));
        for number in damaged.iter().filter(|n| !known.contains_key(n)) {
            remove(&folder.join(name(*number)))?;
            found.remove(number);
        }
        remove(&folder.join(UNFINISHED))?;
        let live = Live::default();
        for (number, bytes) in &found {
            if damaged.contains(number) {
                live.alone().insert(*number);
                continue;
            }
            let path = folder.join(name(*number));
            match known.get(number) {
                // A crash came between the last removal in it and its own.
                None if Some(*number) != newest => {
                    remove(&path)?;
                    continue;
                }
                upto => {
                    let upto = *upto.unwrap_or(&HEADER_BYTES);
                    if *bytes > upto {
                        to_write(folder, *number)?
                            .set_len(upto)
                            .map_err(|e| StoreError::refused(&e))?;
                    }
                }
            }
            live.alone().insert(*number);
        }
        let number = newest.or(last.map(|n| n.saturating_add(1))).unwrap_or(1);
        let file = match newest {
            Some(_) => to_write(folder, number)?,
            None => {
                create(folder, number, tag).map_err(|e| StoreError::from_io(&name(number), &e))?
            }
        };
        live.alone().insert(number);
        let end = known.get(&number).copied().unwrap_or(HEADER_BYTES);
        let segments = Self {
            folder: folder.to_owned(),
            tag: *tag,
            live,
            number,
            file,
            end,
            bytes_max: SEGMENT_BYTES,
        };
        Ok((segments, damaged.into_iter().collect()))
    }

    /// The segments in `folder` where nothing can be written: nothing is cut off or removed, and
    /// nothing can be appended.
    pub(super) fn frozen(
        folder: &Path,
        tag: &[u8; 32],
        known: &BTreeMap<u32, u64>,
    ) -> Result<Self, StoreError> {
        let live = Live::default();
        live.alone().extend(known.keys());
        let (number, end) =
            known.iter().next_back().map_or((1, HEADER_BYTES), |(number, end)| (*number, *end));
        let io = |e| StoreError::from_io(&super::connect::file_name(folder), &e);
        // Without a segment the folder will do: it is as little written to.
        let file = File::open(folder.join(name(number))).or_else(|_| File::open(folder));
        Ok(Self {
            folder: folder.to_owned(),
            tag: *tag,
            live,
            number,
            file: file.map_err(io)?,
            end,
            bytes_max: SEGMENT_BYTES,
        })
    }

    /// For readers.
    pub(super) fn live(&self) -> Live {
        self.live.clone()
    }

    /// Number of the newest segment.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Writes bodies durably. They count once [`Segments::committed`] was called; otherwise the
    /// next ones take their place.
    pub(super) fn append(&mut self, bodies: &[&[u8]]) -> Result<Vec<Span>, StoreError> {
        let (mut spans, mut rest, mut at) = (Vec::with_capacity(bodies.len()), bodies, self.end);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(fitting(rest, at, self.bytes_max));
            if now.is_empty() {
                self.roll().map_err(|e| StoreError::refused(&e))?;
                at = self.end;
                continue;
            }
            if let Err(error) = write_at(&self.file, now, at).and_then(|()| self.file.sync_data()) {
                // No entry knows of it. If this fails, too, the next batch overwrites it.
                let _ = self.file.set_len(self.end);
                return Err(StoreError::refused(&error));
            }
            for body in now {
                let size =
                    u32::try_from(body.len()).map_err(|_| StoreError::value("size of a body"))?;
                spans.push(Span { segment: self.number, start: at, size });
                at += u64::from(size);
            }
            rest = later;
        }
        Ok(spans)
    }

    /// The entries of these bodies are committed.
    pub(super) fn committed(&mut self, spans: &[Span]) {
        if let Some(last) = spans.last().filter(|last| last.segment == self.number) {
            self.end = last.end();
        }
    }

    /// Overwrites bodies and gives their space back where the file system can. `spans` are sorted
    /// by segment.
    pub(super) fn wipe(&self, spans: &[Span]) -> Result<(), StoreError> {
        for spans in spans.chunk_by(|a, b| a.segment == b.segment) {
            let Some(first) = spans.first() else { continue };
            let file = match to_write(&self.folder, first.segment) {
                // Gone with everything in it.
                Err(StoreError::Missing { .. }) => continue,
                file => file?,
            };
            self.overwrite(&file, spans).map_err(|e| StoreError::refused(&e))?;
            for span in spans {
                punch(&file, span);
            }
        }
        Ok(())
    }

    /// Puts zeros in the place of bodies, durably.
    pub(super) fn overwrite(&self, file: &File, spans: &[Span]) -> io::Result<()> {
        // A file that was cut off does not grow again by it.
        let bytes = file.metadata()?.len();
        for span in spans {
            let _nobody_reads = self.live.alone();
            zero(file, span.start, span.end().min(bytes))?;
        }
        file.sync_data()
    }

    /// Removes segments without any body left.
    pub(super) fn remove(&self, numbers: &[u32]) -> Result<(), StoreError> {
        for number in numbers {
            self.live.alone().remove(number);
            remove(&self.folder.join(name(*number)))?;
        }
        Ok(())
    }

    /// Goes on in a new segment.
    fn roll(&mut self) -> io::Result<()> {
        let number = self.number.checked_add(1).ok_or(ErrorKind::FileTooLarge)?;
        self.file = create(&self.folder, number, &self.tag)?;
        (self.number, self.end) = (number, HEADER_BYTES);
        self.live.alone().insert(number);
        Ok(())
    }
}

/// Name of a segment.
pub(super) fn name(number: u32) -> String {
    format!("bodies-{number:08}.seg")
}

/// The segments in a folder and their sizes.
pub(super) fn list(folder: &Path) -> Result<BTreeMap<u32, u64>, StoreError> {
    let io = |e: io::Error| StoreError::from_io(&super::connect::file_name(folder), &e);
    let mut found = BTreeMap::new();
    for file in fs::read_dir(folder).map_err(io)? {
        let file = file.map_err(io)?;
        let file_name = file.file_name();
        let number = file_name
            .to_str()
            .and_then(|n| n.strip_prefix("bodies-")?.strip_suffix(".seg")?.parse().ok());
        if let Some(number) = number.filter(|n| *name(*n) == *file_name) {
            let meta = file.metadata().map_err(io)?;
            if meta.is_dir() {
                return Err(StoreError::Folder { file: name(number) });
            }
            found.insert(number, meta.len());
        }
    }
    Ok(found)
}

/// Whether one of these segments was made under the key with this tag: tells a wrong key from a
/// damaged first page of the encrypted file.
pub(super) fn made_under(folder: &Path, tag: &[u8; 32], found: &BTreeMap<u32, u64>) -> bool {
    found.keys().any(|number| check(folder, *number, tag).is_ok())
}

fn header(number: u32, tag: &[u8; 32]) -> Vec<u8> {
    [&MAGIC[..], &FORMAT.to_le_bytes(), &number.to_le_bytes(), tag].concat()
}

/// Whether a file is the segment that its name says, made under the key with this tag.
fn check(folder: &Path, number: u32, tag: &[u8; 32]) -> Result<(), StoreError> {
    let file = name(number);
    let opened = File::open(folder.join(&file)).map_err(|e| StoreError::from_io(&file, &e))?;
    let mut found = header(number, tag);
    match opened.read_exact_at(&mut found, 0) {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
            return Err(StoreError::Truncated {
                file,
                bytes: opened.metadata().map_or(0, |meta| meta.len()),
            });
        }
        Err(e) => return Err(StoreError::Io { file, cause: e.to_string() }),
    }
    let format = found.get(8..12).and_then(|f| f.try_into().ok()).map_or(0, u32::from_le_bytes);
    let cause = if found.get(..8) != Some(&MAGIC[..]) || format == 0 {
        "it does not begin as a segment does"
    } else if format > FORMAT {
        return Err(StoreError::Newer { file, found: format.into(), known: FORMAT.into() });
    } else if found.get(16..) != Some(&tag[..]) {
        "it belongs to another profile"
    } else if found != header(number, tag) {
        "it is another segment under this name"
    } else {
        return Ok(());
    };
    Err(StoreError::Corrupt { file, cause: cause.to_owned() })
}

/// Whether a file has nothing of a segment in it: zeros, or too little.
fn is_blank(folder: &Path, number: u32, bytes: u64) -> Result<bool, StoreError> {
    let file = name(number);
    let io = |e: io::Error| StoreError::Io { file: file.clone(), cause: e.to_string() };
    let opened = File::open(folder.join(&file)).map_err(|e| StoreError::from_io(&file, &e))?;
    let mut start = vec![0; usize::try_from(bytes.min(HEADER_BYTES)).unwrap_or(0)];
    opened.read_exact_at(&mut start, 0).map_err(io)?;
    Ok(bytes < HEADER_BYTES || start.iter().all(|b| *b == 0))
}

/// Makes a segment that only its owner can read.
fn create(folder: &Path, number: u32, tag: &[u8; 32]) -> io::Result<File> {
    let unfinished = folder.join(UNFINISHED);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(&header(number, tag))?;
    file.sync_all()?;
    fs::rename(&unfinished, folder.join(name(number)))?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

fn to_write(folder: &Path, number: u32) -> Result<File, StoreError> {
    let name = name(number);
    OpenOptions::new().write(true).open(folder.join(&name)).map_err(|e| match e.kind() {
        ErrorKind::NotFound => StoreError::Missing { file: name },
        _ => StoreError::from_io(&name, &e),
    })
}

/// How many of these bodies go into a segment that ends at `at`. One that is larger than a segment
/// has one of its own.
fn fitting(bodies: &[&[u8]], at: u64, bytes_max: u64) -> usize {
    let mut end = at;
    let count = bodies.iter().take_while(|body| {
        end = end.saturating_add(body.len() as u64);
        end <= bytes_max
    });
    count.count().max(usize::from(at == HEADER_BYTES))
}

/// Writes bodies end to end, in one call to the system if it takes them.
fn write_at(file: &File, bodies: &[&[u8]], mut at: u64) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = bodies.iter().map(|body| IoSlice::new(body)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        let batch = rest.len().min(SLICES_MAX);
        match rustix::io::pwritev(file, rest.get(..batch).unwrap_or_default(), at) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Overwrites a part of a file with zeros.
pub(super) fn zero(file: &File, start: u64, end: u64) -> io::Result<()> {
    let mut at = start;
    while at < end {
        let bytes = usize::try_from(end - at).unwrap_or(usize::MAX).min(ZEROS.len());
        file.write_all_at(ZEROS.get(..bytes).unwrap_or_default(), at)?;
        at += bytes as u64;
    }
    Ok(())
}

/// Gives the space of overwritten bytes back. Only a saving: file systems without holes keep the
/// zeros.
#[cfg(target_os = "linux")]
fn punch(file: &File, span: &Span) {
    use rustix::fs::{FallocateFlags, fallocate};
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    if let Err(error) = fallocate(file, hole, span.start, u64::from(span.size)) {
        tracing::debug!(%error, "no hole for a removed body");
    }
}

/// Other systems keep the zeros until the segment goes.
#[cfg(not(target_os = "linux"))]
fn punch(_: &File, _: &Span) {}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(StoreError::from_io(&super::connect::file_name(path), &e))
        }
        _ => Ok(()),
    }
}
