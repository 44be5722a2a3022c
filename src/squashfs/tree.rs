//! The source tree as the walk found it, in the order in which the image holds it.
//!
//! Kept small, as a source can have millions of files: names lie in one string of bytes, and inodes
//! refer to each other by number.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::id::IdTable;
use super::inode::FileType;
use super::le::narrow;
use super::xattr::XattrTable;
use crate::error::{Error, Result};

/// The inode of the root directory.
pub(super) const ROOT: u32 = 0;

/// Where a name, or the target of a symbolic link, lies in [`Tree::text`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Text {
    start: u32,
    length: u16,
}

/// A name in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) name: Text,
    pub(super) inode: u32,
}

/// What the walk keeps of a file, by kind.
#[derive(Debug, Clone, Copy)]
pub(super) enum Node {
    /// The number of its place in [`Tree::directories`].
    Directory(u32),
    /// The number of its place in [`Tree::files`].
    Regular(u32),
    Symlink(Text),
    /// With the device number.
    Device(FileType, u32),
    Ipc(FileType),
}

/// A file of any kind, whatever the number of its names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) node: Node,
    pub(super) mode: u16,
    pub(super) uid: u16,
    pub(super) gid: u16,
    pub(super) mtime: u32,
    /// Number of names in the tree; for a directory, 2 and its subdirectories.
    pub(super) links: u32,
    pub(super) xattrs: u32,
    /// The inode of the directory in which it was first found, and its name there.
    pub(super) parent: u32,
    pub(super) name: Text,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Directory {
    pub(super) inode: u32,
    /// Its entries are `entries[first..first + count]`, sorted by name.
    pub(super) first: u32,
    pub(super) count: u32,
}

/// What tells whether a file changed. Together with its [`Identity`] it stands for the file's content: a later
/// run that finds both as they were could take the blocks over from the image made of them.
///
/// The times are nanoseconds since 1970, the nearest ones that fit (years 1677 to 2262). Only the kernel sets
/// `ctime`, so it tells of changes that hide behind an old `mtime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) ctime: i64,
}

/// The identity of a file on the system that the source lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) dev: u64,
    pub(super) ino: u64,
}

/// A regular file that is not empty.
#[derive(Debug, Clone, Copy)]
pub(super) struct RegularFile {
    pub(super) inode: u32,
    pub(super) identity: Identity,
    pub(super) version: Version,
    /// Whether it takes less space than its size says, so that it pays to look for holes.
    pub(super) has_holes: bool,
    /// Whether another file has the same size, so that it may be a duplicate.
    pub(super) has_twin: bool,
}

/// The whole source tree.
#[derive(Debug, Default)]
pub(super) struct Tree {
    text: Vec<u8>,
    pub(super) items: Vec<Item>,
    /// Each directory before those in it.
    pub(super) directories: Vec<Directory>,
    pub(super) entries: Vec<Entry>,
    /// In the order of their data in the image.
    pub(super) files: Vec<RegularFile>,
    pub(super) ids: IdTable,
    pub(super) xattrs: XattrTable,
}

impl Tree {
    pub(super) fn add_text(&mut self, text: &[u8]) -> Result<Text> {
        let start = number(self.text.len())?;
        let length = u16::try_from(text.len()).map_err(|_| too_large())?;
        self.text.extend_from_slice(text);
        Ok(Text { start, length })
    }

    pub(super) fn bytes(&self, text: Text) -> &[u8] {
        let start = narrow(text.start);
        &self.text[start..start + narrow(text.length)]
    }

    pub(super) fn name(&self, text: Text) -> &OsStr {
        OsStr::from_bytes(self.bytes(text))
    }

    pub(super) fn item(&self, inode: u32) -> &Item {
        &self.items[narrow(inode)]
    }

    pub(super) fn entries_of(&self, directory: &Directory) -> &[Entry] {
        let first = narrow(directory.first);
        &self.entries[first..first + narrow(directory.count)]
    }

    /// The path of an inode from the root of the tree; empty for the root itself.
    pub(super) fn path(&self, inode: u32) -> PathBuf {
        let mut names = Vec::new();
        let mut at = inode;
        while at != ROOT {
            names.push(self.bytes(self.item(at).name));
            at = self.item(at).parent;
        }
        names.reverse();
        PathBuf::from(OsString::from_vec(names.join(&b'/')))
    }
}

/// An index into one of the tree's lists.
///
/// # Errors
/// There are more than 2^32.
pub(super) fn number(index: usize) -> Result<u32> {
    u32::try_from(index).map_err(|_| too_large())
}

fn too_large() -> Error {
    Error::said("the source has too many files for one squashfs image")
}
