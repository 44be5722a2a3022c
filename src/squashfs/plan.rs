//! What is read, in which order and in which portions.

use std::collections::HashSet;
use std::ops::Range;

use super::le::{narrow, wide};
use super::tree::RegularFile;

/// The most bytes that are read at once; a multiple of every block size.
pub(super) const PORTION: usize = 1 << 20;
/// The most files that are read at once: handing one over costs a thread switch, so small ones go
/// together.
const MAX_BATCH: usize = 256;

/// A portion of reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Work {
    /// Whole files, together at most [`PORTION`] bytes.
    Batch(Range<usize>),
    /// A part of a large file.
    Piece { file: usize, offset: u64, length: usize },
    /// A large file that has the size of an earlier one: only its digest, as it is probably the same.
    Digest(usize),
}

/// The portions, in the order of the data in the image.
pub(super) struct Plan<'a> {
    files: &'a [RegularFile],
    file: usize,
    offset: u64,
    /// Sizes of the large files so far that have twins.
    large: HashSet<u64>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(files: &'a [RegularFile]) -> Self {
        Self { files, file: 0, offset: 0, large: HashSet::new() }
    }
}

impl Iterator for Plan<'_> {
    type Item = Work;

    fn next(&mut self) -> Option<Work> {
        let first = self.file;
        let file = self.files.get(first)?;
        let size = file.version.size;
        if size > wide(PORTION) {
            if self.offset == 0 && file.has_twin && !self.large.insert(size) {
                self.file += 1;
                return Some(Work::Digest(first));
            }
            let offset = self.offset;
            let length = narrow(size - offset).min(PORTION);
            self.offset += wide(length);
            if self.offset == size {
                self.file += 1;
                self.offset = 0;
            }
            return Some(Work::Piece { file: first, offset, length });
        }
        let mut room = wide(PORTION);
        for file in self.files[first..].iter().take(MAX_BATCH) {
            match room.checked_sub(file.version.size) {
                Some(left) => room = left,
                None => break,
            }
            self.file += 1;
        }
        Some(Work::Batch(first..self.file))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Identity, Version};
    use super::*;

    fn file(size: u64, has_twin: bool) -> RegularFile {
        RegularFile {
            inode: 0,
            identity: Identity { dev: 0, ino: 0 },
            version: Version { size, mtime: 0, ctime: 0 },
            has_holes: false,
            has_twin,
        }
    }

    const MIB: u64 = 1 << 20;

    #[test]
    fn small_files_go_together_and_large_ones_in_pieces() {
        let files =
            [file(MIB, false), file(10, false), file(20, true), file(2 * MIB + 5, false), file(7, false)];
        let piece = |offset, length| Work::Piece { file: 3, offset, length };
        assert_eq!(
            Plan::new(&files).collect::<Vec<_>>(),
            [
                Work::Batch(0..1),
                Work::Batch(1..3),
                piece(0, PORTION),
                piece(MIB, PORTION),
                piece(2 * MIB, 5),
                Work::Batch(4..5)
            ]
        );
    }

    #[test]
    fn a_batch_has_a_limited_number_of_files() {
        let files = vec![file(1, false); MAX_BATCH + 1];
        assert_eq!(Plan::new(&files).collect::<Vec<_>>(), [Work::Batch(0..256), Work::Batch(256..257)]);
    }

    #[test]
    fn a_large_twin_is_compared_before_it_is_read_in_pieces() {
        let files = [file(MIB + 1, true), file(MIB + 1, true), file(MIB + 1, true)];
        assert_eq!(
            Plan::new(&files).collect::<Vec<_>>(),
            [
                Work::Piece { file: 0, offset: 0, length: PORTION },
                Work::Piece { file: 0, offset: MIB, length: 1 },
                Work::Digest(1),
                Work::Digest(2)
            ]
        );
    }
}
