//! Squashfs 4.0 images, written on all processors at once; and read, to check what was written.
//!
//! The format is described in the kernel's Documentation/filesystems/squashfs.rst and, in more detail,
//! in doc/format.adoc of squashfs-tools-ng (<https://github.com/AgentD/squashfs-tools-ng>). In the order
//! in which things lie in an image:
//!
//! - [`superblock`]: where the tables are;
//! - [`compress`]: the compressors, and their options behind the superblock;
//! - data and [`fragment`] blocks;
//! - [`inode`] and [`directory`] tables, in blocks as `metadata` makes them;
//! - fragment, `export`, `id` and [`xattr`] tables.
//!
//! [`write()`] makes one: `scan` walks the source (`ahead`, `lister`, `status`) and takes down its
//! metadata in a `tree`;
//! `pipeline` brings the contents into the image (`plan`, `load`, `window`, `arrange`, `squeeze`,
//! `output`), which gives a `layout`; `tables` writes the rest. [`verify`] checks an image by
//! means of the [`reader`], and [`listing`] says what is in one.

pub mod command_line;
pub mod compress;
pub mod directory;
pub mod fragment;
pub mod inode;
pub mod listing;
pub mod metadata;
pub mod reader;
pub mod superblock;
pub mod verify;
pub mod xattr;

mod ahead;
mod arrange;
mod digest;
mod export;
mod id;
mod layout;
mod le;
mod lister;
mod load;
mod options;
mod output;
mod pipeline;
mod plan;
mod scan;
mod source;
mod squeeze;
mod status;
mod tables;
mod tree;
mod window;
mod writer;

pub use compress::Compression;
pub use le::Corrupt;
pub use options::{Fragments, WriteOptions};
pub use writer::write;

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of files that have been read, holes included.
    pub bytes: u64,
    /// Bytes of files in all.
    pub total_bytes: u64,
    /// Number of files of every kind.
    pub files: usize,
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Length of the image file in bytes.
    pub image_bytes: u64,
    /// Bytes in the source's regular files, each counted once however many names it has.
    pub source_bytes: u64,
    /// Number of files of every kind in the image.
    pub inodes: u32,
    /// Number of fragment blocks.
    pub fragments: u32,
    /// Number of files that share the blocks of another one with the same content.
    pub duplicates: u64,
}
