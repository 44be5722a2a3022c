//! Reading an image, as far as checking one needs it. An image is not trusted: whatever it says, this
//! ends with an error and not with a panic or boundless memory.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compress::{Compression, Decompressor};
use super::directory::read_listing;
use super::fragment::{self, FRAGMENT_SIZE, StoredBlock, Tail};
use super::inode::{Body, FileType, Inode, NO_XATTRS};
use super::le::{Corrupt, Fields, narrow, wide};
use super::metadata::{HEAD_SIZE, METADATA_SIZE, Reference, UNCOMPRESSED_METADATA, blocks_of};
use super::superblock::{NO_TABLE, SUPERBLOCK_SIZE, Superblock};
use super::xattr::{XATTR_HEAD_SIZE, XATTR_ID_SIZE, Xattr, read_set};
use super::{export, id};
use crate::error::{During, Error, Result};

/// How many uncompressed metadata blocks are kept; 2 MiB.
const CACHED_BLOCKS: usize = 256;

type Checked<T> = std::result::Result<T, Corrupt>;

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

/// A place in a table, moving on as it is read.
#[derive(Clone, Copy)]
struct Cursor {
    /// Where the metadata block starts in the image.
    block: u64,
    offset: usize,
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

    /// The names in a directory, in their order.
    ///
    /// # Errors
    /// The inode is no directory or its listing is damaged.
    pub fn children(&mut self, directory: &Inode) -> Result<Vec<Child>> {
        let Body::Directory { listing, size, .. } = &directory.body else {
            return Err(self.error(Corrupt::new(format!("inode {} is no directory", directory.number))));
        };
        let mut cursor = cursor(self.superblock.directory_table, *listing);
        let mut children = Vec::new();
        self.read(&mut cursor, narrow(*size))
            .and_then(|bytes| {
                read_listing(&bytes, |entry| {
                    children.push(Child {
                        name: entry.name.to_vec(),
                        inode: entry.inode,
                        number: entry.number,
                        file_type: entry.file_type,
                    });
                    Ok(())
                })
            })
            .map_err(|reason| self.error(reason))?;
        Ok(children)
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
        Ok(Reference::unpacked(entry))
    }

    /// The extended attributes of an inode.
    ///
    /// # Errors
    /// They are damaged.
    pub fn xattrs(&mut self, inode: &Inode) -> Result<Vec<Xattr>> {
        if inode.xattrs == NO_XATTRS {
            return Ok(Vec::new());
        }
        self.read_xattrs(narrow(inode.xattrs)).map_err(|reason| self.error(reason))
    }

    fn read_xattrs(&mut self, index: usize) -> Checked<Vec<Xattr>> {
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
        let count = fields.u32()?;
        let mut cursor = cursor(pairs, start);
        let cell = std::cell::RefCell::new(self);
        read_set(
            count,
            |count| cell.borrow_mut().read(&mut cursor, count),
            |place| {
                let mut cursor = self::cursor(pairs, place);
                let mut image = cell.borrow_mut();
                let length = Fields::new(&image.read(&mut cursor, 4)?).u32()?;
                image.read(&mut cursor, narrow(length).min(narrow(super::xattr::MAX_VALUE)))
            },
        )
    }

    /// Reads a regular file and hands it to `each`, block after block.
    ///
    /// # Errors
    /// The inode is no regular file, its data is damaged, or `each` fails.
    pub fn content(&mut self, file: &Inode, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.blocks_before(file, u64::MAX, each)
    }

    /// The first bytes of a regular file, at most `most`; only the blocks that hold them are read.
    ///
    /// # Errors
    /// The inode is no regular file, or its data is damaged.
    pub fn head(&mut self, file: &Inode, most: usize) -> Result<Vec<u8>> {
        let mut head = Vec::new();
        self.blocks_before(file, wide(most), &mut |bytes| {
            head.extend_from_slice(&bytes[..bytes.len().min(most - head.len())]);
            Ok(())
        })?;
        Ok(head)
    }

    /// Reads the blocks that begin before `end`, an offset in the file.
    fn blocks_before(
        &mut self,
        file: &Inode,
        end: u64,
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let Body::Regular { size: file_size, start, blocks, tail, .. } = &file.body else {
            return Err(self.error(Corrupt::new(format!("inode {} is no regular file", file.number))));
        };
        let block_size = u64::from(self.superblock.block_size);
        let mut left = *file_size;
        let mut position = *start;
        let zeros = vec![0; narrow(block_size.min(left))];
        for &size in blocks {
            if file_size - left >= end {
                return Ok(());
            }
            let length = narrow(left.min(block_size));
            let block = StoredBlock { start: position, size };
            if block.length() == 0 {
                each(&zeros[..length])?;
            } else {
                let bytes = self.block(block, length)?;
                if bytes.len() != length {
                    return Err(self.error(Corrupt::new(format!("a block at {position} is too short"))));
                }
                each(&bytes)?;
            }
            position = position.saturating_add(u64::from(block.length()));
            left -= wide(length);
        }
        if let Some(tail) = tail.filter(|_| file_size - left < end) {
            let bytes = self.tail(tail)?;
            let start = narrow(tail.offset);
            let piece = start.checked_add(narrow(left)).and_then(|end| bytes.get(start..end));
            each(piece.ok_or_else(|| self.error(Corrupt::new("a file ends outside its fragment")))?)?;
        }
        Ok(())
    }

    fn tail(&mut self, tail: Tail) -> Result<Arc<[u8]>> {
        match &self.fragment {
            Some((number, bytes)) if *number == tail.fragment => Ok(bytes.clone()),
            _ => {
                let block = self.fragments.get(narrow(tail.fragment)).copied().ok_or_else(|| {
                    self.error(Corrupt::new(format!("there is no fragment {}", tail.fragment)))
                })?;
                let bytes: Arc<[u8]> = self.block(block, narrow(self.superblock.block_size))?.into();
                self.fragment = Some((tail.fragment, bytes.clone()));
                Ok(bytes)
            }
        }
    }

    /// Reads a data or fragment block of at most `most` bytes.
    ///
    /// # Errors
    /// The block is damaged.
    pub fn block(&mut self, block: StoredBlock, most: usize) -> Result<Vec<u8>> {
        self.unpacked(block, most).map_err(|reason| self.error(reason))
    }

    fn unpacked(&mut self, block: StoredBlock, most: usize) -> Checked<Vec<u8>> {
        if block.length() > self.superblock.block_size {
            return Err(Corrupt::new(format!("the block at {} is too long", block.start)));
        }
        let stored = self.bytes(block.start, narrow(block.length()))?;
        if !block.is_compressed() {
            return Ok(stored);
        }
        self.decompressed(&stored, most, block.start)
    }

    fn decompressed(&mut self, stored: &[u8], most: usize, position: u64) -> Checked<Vec<u8>> {
        let mut bytes = vec![0; most];
        let length = self.decompressor.decompress(stored, &mut bytes);
        let length = length.ok_or_else(|| Corrupt::new(format!("the block at {position} is damaged")))?;
        bytes.truncate(length);
        Ok(bytes)
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

    /// A whole lookup table.
    fn table(&mut self, list: u64, count: usize, size: usize) -> Checked<Vec<u8>> {
        // The list lies in the image, so its length cannot be a lie.
        let list = self.bytes(list, blocks_of(count, size).saturating_mul(8))?;
        let mut fields = Fields::new(&list);
        let mut entries = Vec::new();
        while !fields.is_empty() {
            entries.extend_from_slice(&self.metadata(fields.u64()?)?.0);
        }
        if entries.len() == count * size {
            Ok(entries)
        } else {
            Err(Corrupt::new("a table has the wrong length"))
        }
    }

    /// One entry of a lookup table.
    fn lookup(&mut self, list: u64, index: usize, size: usize) -> Checked<Vec<u8>> {
        let at = index.checked_mul(size).ok_or_else(|| Corrupt::new("an entry lies nowhere"))?;
        let position = self.bytes(list + wide(at / METADATA_SIZE * 8), 8)?;
        let block = Fields::new(&position).u64()?;
        self.read(&mut Cursor { block, offset: at % METADATA_SIZE }, size)
    }

    /// Reads `count` bytes of metadata and moves on.
    fn read(&mut self, cursor: &mut Cursor, count: usize) -> Checked<Vec<u8>> {
        let mut out = Vec::new();
        while out.len() < count {
            let (block, next) = self.metadata(cursor.block)?;
            let rest = block.get(cursor.offset..).unwrap_or_default();
            if rest.is_empty() {
                return Err(Corrupt::new(format!("the metadata block at {} ends too early", cursor.block)));
            }
            let taken = rest.len().min(count - out.len());
            out.extend_from_slice(&rest[..taken]);
            cursor.offset += taken;
            if cursor.offset == METADATA_SIZE {
                *cursor = Cursor { block: next, offset: 0 };
            }
        }
        Ok(out)
    }

    /// The metadata block at a position, and where the next one starts.
    fn metadata(&mut self, position: u64) -> Checked<(Arc<[u8]>, u64)> {
        if let Some(known) = self.cache.get(&position) {
            return Ok(known.clone());
        }
        let head = Fields::new(&self.bytes(position, HEAD_SIZE)?).u16()?;
        let length = usize::from(head & !UNCOMPRESSED_METADATA);
        if length > METADATA_SIZE {
            return Err(Corrupt::new(format!("the metadata block at {position} is too long")));
        }
        let start = position + wide(HEAD_SIZE);
        let stored = self.bytes(start, length)?;
        let bytes = match head & UNCOMPRESSED_METADATA {
            0 => self.decompressed(&stored, METADATA_SIZE, position)?,
            _ => stored,
        };
        if self.cache.len() >= CACHED_BLOCKS {
            self.cache.clear();
        }
        let block = (Arc::from(bytes), start + wide(length));
        self.cache.insert(position, block.clone());
        Ok(block)
    }

    /// Bytes of the image as they are.
    fn bytes(&self, position: u64, count: usize) -> Checked<Vec<u8>> {
        if position.checked_add(wide(count)).is_none_or(|end| end > self.superblock.bytes_used) {
            return Err(Corrupt::new(format!("something should lie at {position}, behind its end")));
        }
        let mut bytes = vec![0; count];
        match self.file.read_exact_at(&mut bytes, position) {
            Ok(()) => Ok(bytes),
            Err(error) => Err(Corrupt::new(format!("{error}, at {position}"))),
        }
    }

    fn error(&self, reason: Corrupt) -> Error {
        Error::new("read the image", &self.path, reason.0)
    }
}

fn cursor(table: u64, place: Reference) -> Cursor {
    Cursor { block: table.saturating_add(u64::from(place.block)), offset: narrow(place.offset) }
}
