//! Metadata blocks, and the tables that lie in them.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::super::le::{Corrupt, Fields, narrow, wide};
use super::super::metadata::{HEAD_SIZE, METADATA_SIZE, Reference, UNCOMPRESSED_METADATA, blocks_of};
use super::{Checked, Image};

/// How many uncompressed metadata blocks are kept; 2 MiB.
const CACHED_BLOCKS: usize = 256;

/// A place in a table, moving on as it is read.
#[derive(Clone, Copy)]
pub(in super::super) struct Cursor {
    /// Where the metadata block starts in the image.
    pub(in super::super) block: u64,
    pub(in super::super) offset: usize,
}

pub(super) fn cursor(table: u64, place: Reference) -> Cursor {
    Cursor { block: table.saturating_add(u64::from(place.block)), offset: narrow(place.offset) }
}

impl Image<'_> {
    /// A whole lookup table.
    pub(in super::super) fn table(&mut self, list: u64, count: usize, size: usize) -> Checked<Vec<u8>> {
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
    pub(in super::super) fn lookup(&mut self, list: u64, index: usize, size: usize) -> Checked<Vec<u8>> {
        let at = index.checked_mul(size).ok_or_else(|| Corrupt::new("an entry lies nowhere"))?;
        let position = self.bytes(list + wide(at / METADATA_SIZE * 8), 8)?;
        let block = Fields::new(&position).u64()?;
        self.read(&mut Cursor { block, offset: at % METADATA_SIZE }, size)
    }

    /// Reads `count` bytes of metadata and moves on.
    pub(in super::super) fn read(&mut self, cursor: &mut Cursor, count: usize) -> Checked<Vec<u8>> {
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
    pub(in super::super) fn metadata(&mut self, position: u64) -> Checked<(Arc<[u8]>, u64)> {
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
    pub(in super::super) fn bytes(&self, position: u64, count: usize) -> Checked<Vec<u8>> {
        if position.checked_add(wide(count)).is_none_or(|end| end > self.superblock.bytes_used) {
            return Err(Corrupt::new(format!("something should lie at {position}, behind its end")));
        }
        let mut bytes = vec![0; count];
        match self.file.read_exact_at(&mut bytes, position) {
            Ok(()) => Ok(bytes),
            Err(error) => Err(Corrupt::new(format!("{error}, at {position}"))),
        }
    }

    pub(super) fn decompressed(&mut self, stored: &[u8], most: usize, position: u64) -> Checked<Vec<u8>> {
        let mut bytes = vec![0; most];
        let length = self.decompressor.decompress(stored, &mut bytes);
        let length = length.ok_or_else(|| Corrupt::new(format!("the block at {position} is damaged")))?;
        bytes.truncate(length);
        Ok(bytes)
    }
}
