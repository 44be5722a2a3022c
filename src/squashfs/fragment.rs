//! Fragments: small files share a block.
//!
//! squashfs-tools-ng, doc/format.adoc, "Packing File Data" and "Fragment Table".

use super::le::{Corrupt, Fields, put_u32, put_u64};
use super::noise::is_dense;
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

/// Puts tails one after another until a block is full. There are two blocks at a time: data that is
/// compressed already would only stand between what can refer back to each other.
pub(super) struct Packer {
    block_size: usize,
    /// The number of the next block.
    number: u32,
    plain: FragmentBlock,
    dense: FragmentBlock,
}

/// A block of tails.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FragmentBlock {
    pub(super) number: u32,
    pub(super) bytes: Vec<u8>,
}

impl Packer {
    pub(super) fn new(block_size: usize) -> Self {
        Self { block_size, number: 0, plain: FragmentBlock::default(), dense: FragmentBlock::default() }
    }

    /// Adds a tail of at most one block; returns where it lies, and the block that had no room for it.
    ///
    /// # Errors
    /// There are more fragments than the format can number.
    pub(super) fn add(&mut self, tail: &[u8]) -> Result<(Tail, Option<FragmentBlock>)> {
        let block = if is_dense(tail) { &mut self.dense } else { &mut self.plain };
        let mut full = None;
        if block.bytes.len() + tail.len() > self.block_size {
            full = Some(std::mem::take(block));
        }
        if block.bytes.is_empty() {
            if self.number == NO_FRAGMENT {
                return Err(Error::said("the source has too many small files for one squashfs image"));
            }
            *block = FragmentBlock { number: self.number, bytes: Vec::with_capacity(self.block_size) };
            self.number += 1;
        }
        let offset = u32::try_from(block.bytes.len()).unwrap_or(u32::MAX);
        block.bytes.extend_from_slice(tail);
        Ok((Tail { fragment: block.number, offset }, full))
    }

    /// The blocks that are not full, when nothing more comes.
    pub(super) fn rest(self) -> impl Iterator<Item = FragmentBlock> {
        [self.plain, self.dense].into_iter().filter(|block| !block.bytes.is_empty())
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
        let mut add = |tail: &[u8]| packer.add(tail).unwrap();
        assert_eq!(add(b"abcd"), (Tail { fragment: 0, offset: 0 }, None));
        assert_eq!(add(b"efg"), (Tail { fragment: 0, offset: 4 }, None));
        assert_eq!(add(b"hij"), (Tail { fragment: 0, offset: 7 }, None));
        let full = FragmentBlock { number: 0, bytes: b"abcdefghij".to_vec() };
        assert_eq!(add(b"k"), (Tail { fragment: 1, offset: 0 }, Some(full)));
        let rest: Vec<_> = packer.rest().collect();
        assert_eq!(rest, [FragmentBlock { number: 1, bytes: b"k".to_vec() }]);
    }

    #[test]
    fn data_that_is_compressed_already_has_a_block_of_its_own() {
        let mut packer = Packer::new(3000);
        let dense: Vec<u8> =
            (0..1500_u32).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 13).to_le_bytes()[0]).collect();
        for (tail, fragment, offset) in [
            (&b"text"[..], 0, 0),
            (&dense, 1, 0),
            (b"more", 0, 4),
            (&dense, 1, 1500),
            (&dense, 2, 0),
            (b"", 0, 8),
        ] {
            assert_eq!(packer.add(tail).unwrap().0, Tail { fragment, offset });
        }
        assert_eq!(packer.rest().map(|block| block.number).collect::<Vec<_>>(), [0, 2]);
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
