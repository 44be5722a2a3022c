//! Reading an image, as far as checking one needs it. An image is not trusted: whatever it says, this
//! ends with an error and not with a panic or boundless memory.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compress::{Compression, Decompressor};
use super::directory::read_listing;
use super::fragment::{self, FRAGMENT_SIZE, StoredBlock};
use super::inode::{Body, FileType, Inode, NO_XATTRS};
use super::le::{Corrupt, Fields, narrow, wide};
use super::metadata::{METADATA_SIZE, Reference};
use super::superblock::{NO_TABLE, SUPERBLOCK_SIZE, Superblock};
use super::xattr::{XATTR_HEAD_SIZE, XATTR_ID_SIZE, Xattr, read_set};
use super::{export, id};
use crate::error::{During, Error, Result};
use metadata::cursor;

mod content;
mod metadata;

pub(super) type Checked<T> = std::result::Result<T, Corrupt>;

/// An image, open for reading.
pub struct Image<'a> {
    file: &'a File,
    path: PathBuf,
    superblock: Superblock,
    decompressor: Decompressor,
    ids: Vec<u32>,
    fragments: Vec<StoredBlock>,
    /// Uncompressed metadata blocks and where the next one starts, by position.
    cache: HashMap<u64, (Arc<[u8]>, u64)>,
    /// The fragment block that was used last; its neighbours' files usually lie in it too.
    fragment: Option<(u32, Arc<[u8]>)>,
}

/// A name in a directory of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// The name's bytes.
    pub name: Vec<u8>,
    /// Where its inode lies.
    pub inode: Reference,
    /// The number of its inode.
    pub number: u32,
    /// What it is.
    pub file_type: FileType,
}

/// The superblock of an image; `path` is its name for errors.
///
/// # Errors
/// The file cannot be read, or is no squashfs 4.0 image.
pub fn superblock(file: &File, path: &Path) -> Result<Superblock> {
    let mut head = [0; SUPERBLOCK_SIZE];
    file.read_exact_at(&mut head, 0).during("read", path)?;
    Superblock::decode(&head).map_err(|reason| Error::new("read the image", path, reason.0))
}

impl<'a> Image<'a> {
    /// Opens an image; `path` is its name for errors.
    ///
    /// # Errors
    /// The file cannot be read, or is no squashfs 4.0 image with a compressor of this program.
    pub fn open(file: &'a File, path: &Path) -> Result<Self> {
        let superblock = superblock(file, path)?;
        let corrupt = |reason: Corrupt| Error::new("read the image", path, reason.0);
        let compression = Compression::numbered(superblock.compressor).ok_or_else(|| {
            corrupt(Corrupt::new(format!("compressor {} is unknown", superblock.compressor)))
        })?;
        let length = file.metadata().during("look at", path)?.len();
        if length < superblock.bytes_used {
            return Err(corrupt(Corrupt::new(format!(
                "it has {length} bytes, but should have {}",
                superblock.bytes_used
            ))));
        }
        let mut image = Self {
            file,
            path: path.to_owned(),
            superblock,
            decompressor: Decompressor::new(compression),
            ids: Vec::new(),
            fragments: Vec::new(),
            cache: HashMap::new(),
            fragment: None,
        };
        image.load_tables().map_err(|reason| image.error(reason))?;
        Ok(image)
    }

    /// The image's superblock.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Where the fragment blocks lie.
    pub fn fragments(&self) -> &[StoredBlock] {
        &self.fragments
    }

    /// Where the inode of the root directory lies.
    ///
    /// # Errors
    /// The superblock points outside the format's limits.
    pub fn root(&self) -> Result<Reference> {
        Reference::unpacked(self.superblock.root_inode)
            .ok_or_else(|| self.error(Corrupt::new("the root inode lies nowhere")))
    }

    /// Reads an inode.
    ///
    /// # Errors
    /// There is no valid inode.
    pub fn inode(&mut self, place: Reference) -> Result<Inode> {
        let mut cursor = cursor(self.superblock.inode_table, place);
        let block_size = self.superblock.block_size;
        Inode::decode(block_size, |count| self.read(&mut cursor, count)).map_err(|reason| self.error(reason))
    }

    /// The bytes of an inode as they lie in the inode table.
    pub(super) fn inode_bytes(&mut self, place: Reference, count: usize) -> Result<Vec<u8>> {
        let mut cursor = cursor(self.superblock.inode_table, place);
        self.read(&mut cursor, count).map_err(|reason| self.error(reason))
    }

    /// The names in a directory, in their order.
    ///
    /// # Errors
    /// The inode is no directory or its listing is damaged.
    pub fn children(&mut self, directory: &Inode) -> Result<Vec<Child>> {
        let bytes = self.listing(directory)?;
        let mut children = Vec::new();
        read_listing(&bytes, |entry| {
            children.push(Child {
                name: entry.name.to_vec(),
                inode: entry.inode,
                number: entry.number,
                file_type: entry.file_type,
            });
            Ok(())
        })
        .map_err(|reason| self.error(reason))?;
        Ok(children)
    }

    /// The listing of a directory as it lies in the directory table.
    pub(super) fn listing(&mut self, directory: &Inode) -> Result<Vec<u8>> {
        let (place, size) = self.place_of_listing(directory)?;
        let mut cursor = cursor(self.superblock.directory_table, place);
        self.read(&mut cursor, size).map_err(|reason| self.error(reason))
    }

    /// Where the metadata blocks of a directory's listing start, from the start of the directory table.
    pub(super) fn listing_blocks(&mut self, directory: &Inode) -> Result<Vec<u64>> {
        let (place, size) = self.place_of_listing(directory)?;
        let table = self.superblock.directory_table;
        let mut at = cursor(table, place).block;
        let mut starts = Vec::new();
        for _ in 0..(narrow(place.offset) + size).div_ceil(METADATA_SIZE) {
            starts.push(at - table);
            at = self.metadata(at).map_err(|reason| self.error(reason))?.1;
        }
        Ok(starts)
    }

    fn place_of_listing(&self, directory: &Inode) -> Result<(Reference, usize)> {
        match &directory.body {
            Body::Directory { listing, size, .. } => Ok((*listing, narrow(*size))),
            _ => Err(self.error(Corrupt::new(format!("inode {} is no directory", directory.number)))),
        }
    }

    /// The user or group with this place in the id table.
    ///
    /// # Errors
    /// The table is not that long.
    pub fn id(&self, place: u16) -> Result<u32> {
        let found = self.ids.get(usize::from(place)).copied();
        found.ok_or_else(|| self.error(Corrupt::new(format!("there is no owner {place}"))))
    }

    /// Where the inode with this number lies, by the export table. `None`: the image has none.
    ///
    /// # Errors
    /// The table is damaged.
    pub fn exported(&mut self, number: u32) -> Result<Option<Reference>> {
        if self.superblock.export_table == NO_TABLE {
            return Ok(None);
        }
        let index = number.checked_sub(1).map(narrow);
        let entry = index
            .ok_or_else(|| Corrupt::new("inode number 0"))
            .and_then(|index| self.lookup(self.superblock.export_table, index, export::EXPORT_SIZE))
            .and_then(|bytes| Fields::new(&bytes).u64());
        let entry = entry.map_err(|reason| self.error(reason))?;
        let place = Reference::unpacked(entry)
            .ok_or_else(|| self.error(Corrupt::new(format!("inode {number} is exported from nowhere"))))?;
        Ok(Some(place))
    }

    /// The extended attributes of an inode.
    ///
    /// # Errors
    /// They are damaged.
    pub fn xattrs(&mut self, inode: &Inode) -> Result<Vec<Xattr>> {
        Ok(self.sized_xattrs(inode)?.0)
    }

    /// The extended attributes of an inode, and whether they take as many bytes as their table says.
    pub(super) fn sized_xattrs(&mut self, inode: &Inode) -> Result<(Vec<Xattr>, bool)> {
        if inode.xattrs == NO_XATTRS {
            return Ok((Vec::new(), true));
        }
        self.read_xattrs(narrow(inode.xattrs)).map_err(|reason| self.error(reason))
    }

    fn read_xattrs(&mut self, index: usize) -> Checked<(Vec<Xattr>, bool)> {
        let table = self.superblock.xattr_table;
        if table == NO_TABLE {
            return Err(Corrupt::new("there are no extended attributes"));
        }
        let head = self.bytes(table, XATTR_HEAD_SIZE)?;
        let mut fields = Fields::new(&head);
        let (pairs, sets) = (fields.u64()?, fields.u32()?);
        if index >= narrow(sets) {
            return Err(Corrupt::new(format!("there is no set {index} of extended attributes")));
        }
        let entry = self.lookup(table + wide(XATTR_HEAD_SIZE), index, XATTR_ID_SIZE)?;
        let mut fields = Fields::new(&entry);
        let start = Reference::unpacked(fields.u64()?).ok_or_else(|| Corrupt::new("a set lies nowhere"))?;
        let (count, size) = (fields.u32()?, fields.u32()?);
        let mut cursor = cursor(pairs, start);
        let mut length = 0;
        let cell = std::cell::RefCell::new(self);
        let set = read_set(
            count,
            |count| {
                length += count;
                cell.borrow_mut().read(&mut cursor, count)
            },
            |place| {
                let mut cursor = self::cursor(pairs, place);
                let mut image = cell.borrow_mut();
                let length = Fields::new(&image.read(&mut cursor, 4)?).u32()?;
                image.read(&mut cursor, narrow(length).min(narrow(super::xattr::MAX_VALUE)))
            },
        )?;
        Ok((set, length == narrow(size)))
    }

    fn load_tables(&mut self) -> Checked<()> {
        let count = usize::from(self.superblock.id_count);
        let ids = self.table(self.superblock.id_table, count, id::ID_SIZE)?;
        let mut fields = Fields::new(&ids);
        while !fields.is_empty() {
            self.ids.push(fields.u32()?);
        }
        let count = narrow(self.superblock.fragment_count);
        if count > 0 {
            let entries = self.table(self.superblock.fragment_table, count, FRAGMENT_SIZE)?;
            self.fragments = fragment::decode(&entries)?;
        }
        Ok(())
    }

    pub(super) fn error(&self, reason: Corrupt) -> Error {
        Error::new("read the image", &self.path, reason.0)
    }
}
