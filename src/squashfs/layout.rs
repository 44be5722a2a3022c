//! Where the data of every file lies in the image.

use super::fragment::{StoredBlock, Tail};

/// Where one file's data lies, as decided when it was read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Placement {
    /// Size in bytes: what was read, should the file have shrunk.
    pub(super) size: u64,
    /// The place of its first block in [`Layout::sizes`].
    pub(super) first_block: u64,
    pub(super) block_count: u32,
    pub(super) tail: Option<Tail>,
    /// Bytes in blocks that are not stored, as they hold only zeros.
    pub(super) sparse: u64,
    pub(super) data: Data,
}

/// Whose data a file has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Data {
    #[default]
    Own,
    /// That of the earlier file with this place, which has the same content.
    SameAs(u32),
    /// None: the file was gone when it was to be read.
    Vanished,
}

/// Where the data of all files lies.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// One for each of the tree's files.
    pub(super) placements: Vec<Placement>,
    /// Where the first stored block of each file starts, in bytes from the start of the image; 0 if
    /// it has none.
    pub(super) starts: Vec<u64>,
    /// The stored sizes of all blocks of all files, as in [`StoredBlock::size`].
    pub(super) sizes: Vec<u32>,
    pub(super) fragments: Vec<StoredBlock>,
    /// Number of files that share the blocks of an earlier one.
    pub(super) duplicates: u64,
}
