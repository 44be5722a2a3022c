//! The contents of files: data blocks and fragments.

use std::sync::Arc;

use super::super::fragment::{StoredBlock, Tail};
use super::super::inode::{Body, Inode};
use super::super::le::{Corrupt, narrow, wide};
use super::{Checked, Image};
use crate::error::Result;

impl Image<'_> {
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
}
