//! What an image is to be like.

use std::time::{SystemTime, UNIX_EPOCH};

use super::compress::Compression;
use super::superblock::{flag, is_block_size};
use crate::error::{Error, Result};

/// The block size of mksquashfs, in bytes.
const DEFAULT_BLOCK_SIZE: u32 = 128 << 10;
/// See [`WriteOptions::memory`].
const DEFAULT_MEMORY: usize = 48 << 20;

/// Which files share blocks with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fragments {
    /// None (`-no-fragments`).
    None,
    /// Those that are smaller than a block, as mksquashfs does.
    Small,
    /// Those, and the tail of every larger one (`-always-use-fragments`).
    Always,
}

/// What an image is to be like. The defaults are those of mksquashfs, but for the compressor's level.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// The compressor (`-comp`, `-Xcompression-level`, `-Xhc`).
    pub compression: Compression,
    /// Size of a data block in bytes, a power of two from 4 KiB to 1 MiB (`-b`).
    pub block_size: u32,
    /// Number of threads that compress; 0 is one for each processor (`-processors`). The image does
    /// not depend on it.
    pub threads: usize,
    /// Roughly how many bytes of file data may be in memory at once (`-mem`). A megabyte for each
    /// thread is used even if this says less.
    pub memory: usize,
    /// Which files share blocks.
    pub fragments: Fragments,
    /// Whether files of the same content share their blocks (not `-no-duplicates`).
    pub remove_duplicates: bool,
    /// Whether blocks of zeros take no space (not `-no-sparse`).
    pub sparse: bool,
    /// Whether there is an export table, for NFS (not `-no-exports`).
    pub exportable: bool,
    /// Whether extended attributes are stored (not `-no-xattrs`).
    pub xattrs: bool,
    /// Whether the inode and directory tables are compressed (not `-noI`).
    pub compress_inodes: bool,
    /// Whether the id table is compressed (neither `-noId` nor `-noI`).
    pub compress_ids: bool,
    /// Whether data blocks are compressed (not `-noD`).
    pub compress_data: bool,
    /// Whether fragments are compressed (not `-noF`).
    pub compress_fragments: bool,
    /// Whether extended attributes are compressed (not `-noX`).
    pub compress_xattrs: bool,
    /// Every file gets this owner (`-all-root`, `-force-uid`).
    pub owner: Option<u32>,
    /// Every file gets this group (`-all-root`, `-force-gid`).
    pub group: Option<u32>,
    /// Directories where another file system is mounted stay empty, and files that are mounted from
    /// another one stay out (`-one-file-system`).
    pub one_file_system: bool,
    /// When the image was made, seconds since 1970 (`-mkfs-time`); now, if not given.
    pub created: Option<u32>,
    /// Later modification times become this one (SOURCE_DATE_EPOCH), seconds since 1970.
    pub latest_mtime: Option<u32>,
    /// Whether the image is filled up to a multiple of 4 KiB (not `-nopad`); a block device needs it.
    pub pad: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            block_size: DEFAULT_BLOCK_SIZE,
            threads: 0,
            memory: DEFAULT_MEMORY,
            fragments: Fragments::Small,
            remove_duplicates: true,
            sparse: true,
            exportable: true,
            xattrs: true,
            compress_inodes: true,
            compress_ids: true,
            compress_data: true,
            compress_fragments: true,
            compress_xattrs: true,
            owner: None,
            group: None,
            one_file_system: false,
            created: None,
            latest_mtime: None,
            pad: true,
        }
    }
}

impl WriteOptions {
    /// Takes the value of SOURCE_DATE_EPOCH: the image says that it was made then, and no file in it
    /// is younger (<https://reproducible-builds.org/specs/source-date-epoch/>).
    ///
    /// # Errors
    /// The value is not a number of seconds that squashfs can store.
    pub fn source_date_epoch(&mut self, value: &str) -> Result<()> {
        let seconds = value.parse().map_err(|_| {
            Error::said(format!(
                "SOURCE_DATE_EPOCH={value:?} is not a number of seconds from 0 to {}",
                u32::MAX
            ))
        })?;
        self.created = Some(seconds);
        self.latest_mtime = Some(seconds);
        Ok(())
    }

    /// Nothing is compressed at all (`-noI -noD -noF -noX`).
    pub fn store_everything(&mut self) {
        self.compress_inodes = false;
        self.compress_ids = false;
        self.compress_data = false;
        self.compress_fragments = false;
        self.compress_xattrs = false;
    }

    pub(super) fn check(&self) -> Result<()> {
        if !is_block_size(self.block_size) {
            return Err(Error::said(format!("{} is no block size of squashfs", self.block_size))
                .hint("use a power of two from 4096 to 1048576"));
        }
        Ok(())
    }

    pub(super) fn thread_count(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        }
    }

    pub(super) fn creation_time(&self) -> u32 {
        self.created.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
            u32::try_from(now).unwrap_or(u32::MAX)
        })
    }

    /// The flags of the superblock that follow from the options alone.
    pub(super) fn flags(&self) -> u16 {
        [
            (!self.compress_inodes, flag::UNCOMPRESSED_INODES),
            (!self.compress_ids, flag::UNCOMPRESSED_IDS),
            (!self.compress_data, flag::UNCOMPRESSED_DATA),
            (!self.compress_fragments, flag::UNCOMPRESSED_FRAGMENTS),
            (!self.compress_xattrs, flag::UNCOMPRESSED_XATTRS),
            (self.fragments == Fragments::None, flag::NO_FRAGMENTS),
            (self.fragments == Fragments::Always, flag::ALWAYS_FRAGMENTS),
            (self.remove_duplicates, flag::DUPLICATES_REMOVED),
            (self.exportable, flag::EXPORTABLE),
            (!self.xattrs, flag::NO_XATTRS),
        ]
        .into_iter()
        .filter(|(applies, _)| *applies)
        .fold(0, |flags, (_, bit)| flags | bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_the_flags_of_mksquashfs() {
        assert_eq!(WriteOptions::default().flags(), 0x00c0);
        let mut options = WriteOptions { xattrs: false, exportable: false, ..WriteOptions::default() };
        options.store_everything();
        assert_eq!(options.flags(), 0x0b4b);
    }

    #[test]
    fn source_date_epoch_is_a_number_of_seconds() {
        let mut options = WriteOptions::default();
        options.source_date_epoch("1700000000").unwrap();
        assert_eq!((options.created, options.latest_mtime), (Some(1_700_000_000), Some(1_700_000_000)));
        assert!(options.source_date_epoch("yesterday").is_err());
        assert!(options.source_date_epoch("-1").is_err());
    }

    #[test]
    fn an_illegal_block_size_is_refused() {
        assert!(WriteOptions::default().check().is_ok());
        assert!(WriteOptions { block_size: 100_000, ..WriteOptions::default() }.check().is_err());
    }
}
