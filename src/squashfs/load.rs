//! Reading file contents, in portions, by several threads.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, SeekFrom, seek};
use rustix::io::{Errno, pread};

use super::digest::{self, PieceDigest};
use super::le::{narrow, wide};
use super::plan::{PORTION, Work};
use super::source::{Source, is_gone, open_file};
use super::status::Status;
use super::tree::{RegularFile, Tree};
use crate::error::{Error, Result};

/// A portion as it was read.
pub(super) struct Loaded {
    pub(super) work: Work,
    pub(super) buffer: Vec<u8>,
    /// One for each file of a batch, else one.
    pub(super) parts: Vec<Part>,
}

/// What was read of one file.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Where the bytes lie in the buffer. Fewer than were asked for: the file has shrunk.
    pub(super) range: Range<usize>,
    /// Instead of bytes: as many zeros, which the file does not have on disk.
    pub(super) hole: usize,
    /// Of the part, or of the whole file if that was asked for; only where there is a twin.
    pub(super) digests: Vec<PieceDigest>,
    /// The file is not what the walk saw.
    pub(super) change: Option<Change>,
}

/// How a file changed since the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is gone, or something else has its name.
    Vanished,
    /// Its size or one of its times changed.
    Modified,
}

/// One thread's means of reading.
pub(super) struct Loader<'a> {
    source: &'a Source,
    tree: &'a Tree,
    /// The directory that was opened last, by inode; files come directory by directory.
    directory: Option<(u32, OwnedFd)>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(source: &'a Source, tree: &'a Tree) -> Self {
        Self { source, tree, directory: None }
    }

    /// Reads one portion into `buffer`.
    ///
    /// # Errors
    /// A file cannot be read. One that has vanished or changed is not an error.
    pub(super) fn load(&mut self, work: Work, mut buffer: Vec<u8>) -> Result<Loaded> {
        buffer.clear();
        buffer.reserve_exact(PORTION);
        let parts = match work.clone() {
            Work::Batch(files) => {
                let mut parts = Vec::with_capacity(files.len());
                for file in files {
                    let length = narrow(self.tree.files[file].version.size);
                    parts.push(self.part(file, 0, length, &mut buffer)?);
                }
                parts
            }
            Work::Piece { file, offset, length } => vec![self.part(file, offset, length, &mut buffer)?],
            Work::Digest(file) => vec![self.digest(file, &mut buffer)?],
        };
        Ok(Loaded { work, buffer, parts })
    }

    fn part(&mut self, file: usize, offset: u64, length: usize, buffer: &mut Vec<u8>) -> Result<Part> {
        self.attempt(file, |open, file| {
            if file.has_holes && is_hole(open, offset, length)? {
                let digests = if file.has_twin { vec![digest::zeros(length)] } else { Vec::new() };
                return Ok(Part { hole: length, digests, ..Part::default() });
            }
            let range = read(open, offset, length, buffer)?;
            let digests =
                if file.has_twin { vec![digest::piece(&buffer[range.clone()])] } else { Vec::new() };
            Ok(Part { range, digests, ..Part::default() })
        })
    }

    /// Reads a whole file for its digests alone.
    fn digest(&mut self, file: usize, buffer: &mut Vec<u8>) -> Result<Part> {
        self.attempt(file, |open, file| {
            let mut part = Part::default();
            let mut offset = 0;
            while offset < file.version.size {
                let length = narrow(file.version.size - offset).min(PORTION);
                if file.has_holes && is_hole(open, offset, length)? {
                    part.digests.push(digest::zeros(length));
                } else {
                    buffer.clear();
                    let range = read(open, offset, length, buffer)?;
                    let is_short = range.len() < length;
                    part.digests.push(digest::piece(&buffer[range]));
                    if is_short {
                        break;
                    }
                }
                offset += wide(length);
            }
            Ok(part)
        })
    }

    /// Opens a file, has it read, and looks whether it is still what the walk saw.
    fn attempt(
        &mut self,
        file: usize,
        read: impl FnOnce(&OwnedFd, &RegularFile) -> io::Result<Part>,
    ) -> Result<Part> {
        let vanished = Part { change: Some(Change::Vanished), ..Part::default() };
        let file = &self.tree.files[file];
        let outcome = self.open(file).and_then(|open| {
            // What has another inode, or is no regular file any more, was put in the place of what the
            // walk saw; it is not even touched.
            let status = Status::of_open(&open)?;
            if status.kind != FileType::RegularFile || status.identity != file.identity {
                return Ok(None);
            }
            let mut part = read(&open, file)?;
            // Afterwards, so that a change while reading shows too.
            if Status::of_open(&open)?.version != file.version {
                part.change = Some(Change::Modified);
            }
            Ok(Some(part))
        });
        match outcome {
            Ok(Some(part)) => Ok(part),
            Ok(None) => Ok(vanished),
            Err(error) if is_gone(&error) => Ok(vanished),
            Err(error) => Err(Error::io("read", self.source.shown(&self.tree.path(file.inode)), error)
                .hint("an image without it would be incomplete: make it readable, or exclude it")),
        }
    }

    fn open(&mut self, file: &RegularFile) -> io::Result<OwnedFd> {
        let item = self.tree.item(file.inode);
        let directory = match self.directory.take() {
            Some((inode, directory)) if inode == item.parent => directory,
            _ => self.source.directory(&self.tree.path(item.parent))?,
        };
        let opened = open_file(&directory, self.tree.name(item.name));
        self.directory = Some((item.parent, directory));
        opened
    }
}

/// Appends `length` bytes of a file to `buffer`, which has room for them; fewer at the file's end.
fn read(file: &OwnedFd, offset: u64, length: usize, buffer: &mut Vec<u8>) -> io::Result<Range<usize>> {
    let start = buffer.len();
    let end = start + length;
    while buffer.len() < end {
        let at = offset + wide(buffer.len() - start);
        match pread(file, spare_capacity(buffer), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The room may be larger than what was asked for, and the file may have grown.
    buffer.truncate(end);
    Ok(start..buffer.len())
}

/// Whether the file has nothing on disk for a range that lies within it.
fn is_hole(file: &OwnedFd, offset: u64, length: usize) -> io::Result<bool> {
    match seek(file, SeekFrom::Data(offset)) {
        Ok(data) => Ok(data >= offset + wide(length)),
        // No data up to the end, which is that of the range or beyond, unless the file has shrunk.
        Err(Errno::NXIO) => Ok(seek(file, SeekFrom::End(0))? >= offset + wide(length)),
        // The file system cannot tell.
        Err(Errno::INVAL | Errno::NOTSUP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Seek, Write};

    #[test]
    fn reading_stops_at_the_end_of_the_file_and_of_the_request() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let file = OwnedFd::from(file);
        for (offset, length, expected) in
            [(0, 4, &b"0123"[..]), (8, 2, b"89"), (8, 4, b"89"), (10, 4, b""), (20, 4, b"")]
        {
            let mut buffer = Vec::with_capacity(100);
            buffer.push(b'x');
            let range = read(&file, offset, length, &mut buffer).unwrap();
            assert_eq!(&buffer[range], expected, "{offset} {length}");
            assert_eq!(buffer.len(), 1 + expected.len());
        }
    }

    #[test]
    fn holes_are_found_without_reading() {
        let mut file: File = tempfile::tempfile().unwrap();
        file.set_len(8 << 20).unwrap();
        file.seek(io::SeekFrom::Start(4 << 20)).unwrap();
        file.write_all(b"data").unwrap();
        let file = OwnedFd::from(file);
        for (offset, expected) in
            [(0, true), (3 << 20, true), (4 << 20, false), (5 << 20, true), (8 << 20, false)]
        {
            assert_eq!(is_hole(&file, offset, 1 << 20).unwrap(), expected, "{offset}");
        }
    }
}
