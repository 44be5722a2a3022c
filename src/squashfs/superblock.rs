//! The superblock: what lies where in the image.
//!
//! Kernel, Documentation/filesystems/squashfs.rst, "Squashfs filesystem design"; squashfs-tools-ng,
//! doc/format.adoc, "The Superblock".

use super::le::{Corrupt, Fields, put_u16, put_u32, put_u64};

/// Size of the superblock in bytes; compressor options or data follow it.
pub const SUPERBLOCK_SIZE: usize = 96;
/// Smallest legal block size in bytes.
pub const MIN_BLOCK_SIZE: u32 = 4096;
/// Largest legal block size in bytes.
pub const MAX_BLOCK_SIZE: u32 = 1 << 20;
/// The position of a table that the image does not have.
pub const NO_TABLE: u64 = u64::MAX;

/// "hsqs" on disk.
const MAGIC: u32 = 0x7371_7368;
const VERSION_MAJOR: u16 = 4;
const VERSION_MINOR: u16 = 0;

/// The bits of [`Superblock::flags`].
pub mod flag {
    /// Inode and directory tables are stored uncompressed.
    pub const UNCOMPRESSED_INODES: u16 = 0x0001;
    /// Data blocks are stored uncompressed.
    pub const UNCOMPRESSED_DATA: u16 = 0x0002;
    /// Fragment blocks are stored uncompressed.
    pub const UNCOMPRESSED_FRAGMENTS: u16 = 0x0008;
    /// There are no fragments.
    pub const NO_FRAGMENTS: u16 = 0x0010;
    /// The tail of every file lies in a fragment, not only of those smaller than a block.
    pub const ALWAYS_FRAGMENTS: u16 = 0x0020;
    /// Equal files share their blocks.
    pub const DUPLICATES_REMOVED: u16 = 0x0040;
    /// There is an export table.
    pub const EXPORTABLE: u16 = 0x0080;
    /// Extended attributes are stored uncompressed.
    pub const UNCOMPRESSED_XATTRS: u16 = 0x0100;
    /// Extended attributes were left out.
    pub const NO_XATTRS: u16 = 0x0200;
    /// Compressor options follow the superblock.
    pub const COMPRESSOR_OPTIONS: u16 = 0x0400;
    /// The id table is stored uncompressed.
    pub const UNCOMPRESSED_IDS: u16 = 0x0800;
}

/// The fields of the superblock. Positions are in bytes from the start of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Number of inodes; inode numbers run from 1 to this.
    pub inode_count: u32,
    /// When the image was made, seconds since 1970.
    pub created: u32,
    /// Size of a data block in bytes, a power of two.
    pub block_size: u32,
    /// Number of entries of the fragment table.
    pub fragment_count: u32,
    /// Number of the compressor (see `compress`).
    pub compressor: u16,
    /// See [`flag`].
    pub flags: u16,
    /// Number of entries of the id table.
    pub id_count: u16,
    /// Reference to the inode of the root directory.
    pub root_inode: u64,
    /// Length of the image in bytes, without padding.
    pub bytes_used: u64,
    /// Where the list of the id table's blocks starts.
    pub id_table: u64,
    /// Where the head of the xattr table starts, or [`NO_TABLE`].
    pub xattr_table: u64,
    /// Where the first block of the inode table starts.
    pub inode_table: u64,
    /// Where the first block of the directory table starts.
    pub directory_table: u64,
    /// Where the list of the fragment table's blocks starts, or [`NO_TABLE`].
    pub fragment_table: u64,
    /// Where the list of the export table's blocks starts, or [`NO_TABLE`].
    pub export_table: u64,
}

/// Whether squashfs can have blocks of `size` bytes.
pub fn is_block_size(size: u32) -> bool {
    size.is_power_of_two() && (MIN_BLOCK_SIZE..=MAX_BLOCK_SIZE).contains(&size)
}

impl Superblock {
    /// The superblock as it lies on disk, [`SUPERBLOCK_SIZE`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SUPERBLOCK_SIZE);
        put_u32(&mut out, MAGIC);
        put_u32(&mut out, self.inode_count);
        put_u32(&mut out, self.created);
        put_u32(&mut out, self.block_size);
        put_u32(&mut out, self.fragment_count);
        put_u16(&mut out, self.compressor);
        put_u16(&mut out, block_log(self.block_size));
        put_u16(&mut out, self.flags);
        put_u16(&mut out, self.id_count);
        put_u16(&mut out, VERSION_MAJOR);
        put_u16(&mut out, VERSION_MINOR);
        put_u64(&mut out, self.root_inode);
        put_u64(&mut out, self.bytes_used);
        put_u64(&mut out, self.id_table);
        put_u64(&mut out, self.xattr_table);
        put_u64(&mut out, self.inode_table);
        put_u64(&mut out, self.directory_table);
        put_u64(&mut out, self.fragment_table);
        put_u64(&mut out, self.export_table);
        out
    }

    /// Reads a superblock.
    ///
    /// # Errors
    /// The bytes are not the superblock of a squashfs 4.0 image.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut fields = Fields::new(bytes);
        if fields.u32()? != MAGIC {
            return Err(Corrupt::new("this is not a squashfs image"));
        }
        let inode_count = fields.u32()?;
        let created = fields.u32()?;
        let block_size = fields.u32()?;
        let fragment_count = fields.u32()?;
        let compressor = fields.u16()?;
        let log = fields.u16()?;
        let flags = fields.u16()?;
        let id_count = fields.u16()?;
        if (fields.u16()?, fields.u16()?) != (VERSION_MAJOR, VERSION_MINOR) {
            return Err(Corrupt::new("this is a squashfs image, but not of version 4.0"));
        }
        if !is_block_size(block_size) || block_log(block_size) != log {
            return Err(Corrupt::new(format!("the block size {block_size} is not legal")));
        }
        Ok(Self {
            inode_count,
            created,
            block_size,
            fragment_count,
            compressor,
            flags,
            id_count,
            root_inode: fields.u64()?,
            bytes_used: fields.u64()?,
            id_table: fields.u64()?,
            xattr_table: fields.u64()?,
            inode_table: fields.u64()?,
            directory_table: fields.u64()?,
            fragment_table: fields.u64()?,
            export_table: fields.u64()?,
        })
    }
}

/// The base-2 logarithm of a legal block size.
fn block_log(block_size: u32) -> u16 {
    u16::try_from(block_size.trailing_zeros()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Superblock {
        Superblock {
            inode_count: 1,
            created: 2,
            block_size: 131_072,
            fragment_count: 3,
            compressor: 1,
            flags: flag::EXPORTABLE,
            id_count: 4,
            root_inode: 5,
            bytes_used: 6,
            id_table: 7,
            xattr_table: NO_TABLE,
            inode_table: 9,
            directory_table: 10,
            fragment_table: 11,
            export_table: 12,
        }
    }

    #[test]
    fn a_superblock_reads_back_as_it_was_written() {
        let bytes = example().encode();
        assert_eq!(bytes.len(), SUPERBLOCK_SIZE);
        assert_eq!(&bytes[..4], b"hsqs");
        assert_eq!(Superblock::decode(&bytes), Ok(example()));
    }

    #[test]
    fn other_files_are_refused() {
        for (offset, value) in [(0, b'x'), (12, 1), (22, 16), (28, 3)] {
            let mut bytes = example().encode();
            bytes[offset] = value;
            assert!(Superblock::decode(&bytes).is_err(), "byte {offset}");
        }
        assert!(Superblock::decode(&example().encode()[..95]).is_err());
    }

    #[test]
    fn block_sizes_are_powers_of_two_from_4_kib_to_1_mib() {
        for (size, legal) in
            [(4096, true), (1 << 20, true), (2048, false), (1 << 21, false), (5000, false), (0, false)]
        {
            assert_eq!(is_block_size(size), legal, "{size}");
        }
    }
}
