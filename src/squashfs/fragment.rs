//! Fragments: small files share a block.
//!
//! squashfs-tools-ng, doc/format.adoc, "Packing File Data" and "Fragment Table".

use super::le::{Corrupt, Fields, put_u32, put_u64};
use crate::error::{Error, Result};

/// Size of an entry of the fragment table in bytes.
pub(super) const FRAGMENT_SIZE: usize = 16;
/// Set in the stored size of a data or fragment block: it is stored as it is.
pub(super) const UNCOMPRESSED_BLOCK: u32 = 1 << 24;
/// The fragment number of a file that has no fragment.
pub(super) const NO_FRAGMENT: u32 = u32::MAX;

/// A block of data on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoredBlock {
    /// Where it starts, in bytes from the start of the image.
    pub start: u64,
    /// Its size on disk as the format writes it: bytes, and a bit that says "not compressed".
    /// 0 is a block of zeros that is not stored.
    pub size: u32,
}

impl StoredBlock {
    /// The size on disk in bytes.
    pub fn length(self) -> u32 {
        self.size & !UNCOMPRESSED_BLOCK
    }

    /// Whether the block has to be decompressed.
    pub fn is_compressed(self) -> bool {
        self.size & UNCOMPRESSED_BLOCK == 0
    }
}

/// Where the tail of a file lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// The number of the fragment block.
    pub fragment: u32,
    /// Offset in the uncompressed fragment block, in bytes.
    pub offset: u32,
}

/// Puts tails one after another until a block is full.
pub(super) struct Packer {
    block_size: usize,
    number: u32,
    pub(super) filling: Vec<u8>,
}

impl Packer {
    pub(super) fn new(block_size: usize) -> Self {
        Self { block_size, number: 0, filling: Vec::new() }
    }

    /// Whether a tail of `length` bytes has to wait for the next block.
    pub(super) fn is_full_for(&self, length: usize) -> bool {
        self.filling.len() + length > self.block_size
    }

    /// Adds a tail, which must fit.
    pub(super) fn add(&mut self, tail: &[u8]) -> Tail {
        let offset = u32::try_from(self.filling.len()).unwrap_or(u32::MAX);
        self.filling.extend_from_slice(tail);
        Tail { fragment: self.number, offset }
    }

    /// Takes the block out and goes on with `next`, an empty buffer.
    ///
    /// # Errors
    /// There are more fragments than the format can number.
    pub(super) fn take(&mut self, next: Vec<u8>) -> Result<Vec<u8>> {
        match self.number.checked_add(1) {
            Some(number) if number != NO_FRAGMENT => self.number = number,
            _ => return Err(Error::said("the source has too many small files for one squashfs image")),
        }
        Ok(std::mem::replace(&mut self.filling, next))
    }
}

/// The entries of the fragment table as they lie in the metadata blocks.
pub(super) fn encode(fragments: &[StoredBlock]) -> Vec<u8> {
    let mut out = Vec::with_capacity(fragments.len() * FRAGMENT_SIZE);
    for fragment in fragments {
        put_u64(&mut out, fragment.start);
        put_u32(&mut out, fragment.size);
        put_u32(&mut out, 0);
    }
    out
}

/// Reads the entries of the fragment table.
pub(super) fn decode(entries: &[u8]) -> std::result::Result<Vec<StoredBlock>, Corrupt> {
    let mut fields = Fields::new(entries);
    let mut fragments = Vec::with_capacity(entries.len() / FRAGMENT_SIZE);
    while !fields.is_empty() {
        fragments.push(StoredBlock { start: fields.u64()?, size: fields.u32()? });
        fields.u32()?;
    }
    Ok(fragments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_share_a_block_until_it_is_full() {
        let mut packer = Packer::new(10);
        assert_eq!(packer.add(b"abcd"), Tail { fragment: 0, offset: 0 });
        assert_eq!(packer.add(b"efg"), Tail { fragment: 0, offset: 4 });
        assert!(!packer.is_full_for(3));
        assert!(packer.is_full_for(4));
        assert_eq!(packer.take(Vec::new()).unwrap(), b"abcdefg");
        assert_eq!(packer.add(b"hijk"), Tail { fragment: 1, offset: 0 });
    }

    #[test]
    fn entries_read_back_as_they_were_written() {
        let fragments =
            [StoredBlock { start: 96, size: 100 }, StoredBlock { start: 196, size: 5 | UNCOMPRESSED_BLOCK }];
        let bytes = encode(&fragments);
        assert_eq!(bytes.len(), 2 * FRAGMENT_SIZE);
        assert_eq!(decode(&bytes).unwrap(), fragments);
        assert_eq!((fragments[1].length(), fragments[1].is_compressed()), (5, false));
        assert!(decode(&bytes[..20]).is_err());
    }
}
