//! Metadata blocks: everything but file data is cut into pieces of 8 KiB, each compressed by itself.
//!
//! squashfs-tools-ng, doc/format.adoc, "Packing Metadata" and "Storing Lookup Tables".

use super::compress::Compressor;
use super::le::{narrow, put_u64, wide};
use crate::error::{Error, Result};

/// What a metadata block holds when it is not the last one, in bytes before compression.
pub const METADATA_SIZE: usize = 8192;
/// Set in a block's 16-bit head: it is stored as it is.
pub(super) const UNCOMPRESSED_METADATA: u16 = 1 << 15;
/// The size of that head in bytes.
pub(super) const HEAD_SIZE: usize = 2;

/// A place in a table: the block's position from the start of the table, and the offset in the
/// uncompressed block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reference {
    /// Where the block starts, in bytes from the start of the table. The format keeps 32 bits of it.
    pub block: u32,
    /// Offset in the uncompressed block, below [`METADATA_SIZE`].
    pub offset: u16,
}

impl Reference {
    /// The form that inode references have on disk: 48 bits of block, 16 of offset.
    pub fn packed(self) -> u64 {
        u64::from(self.block) << 16 | u64::from(self.offset)
    }

    /// The reverse of [`Self::packed`]; `None` if the block lies beyond 32 bits.
    pub fn unpacked(packed: u64) -> Option<Self> {
        let block = u32::try_from(packed >> 16).ok()?;
        Some(Self { block, offset: u16::try_from(packed & 0xffff).ok()? })
    }
}

/// Collects one table, block after block.
pub(super) struct MetadataWriter {
    /// `None` stores every block as it is.
    compressor: Option<Compressor>,
    table: Vec<u8>,
    block: Vec<u8>,
    packed: Vec<u8>,
}

impl MetadataWriter {
    pub(super) fn new(compressor: Option<Compressor>) -> Self {
        Self {
            compressor,
            table: Vec::new(),
            block: Vec::with_capacity(METADATA_SIZE),
            packed: vec![0; METADATA_SIZE],
        }
    }

    /// Where the next byte will lie.
    ///
    /// # Errors
    /// The table has outgrown the 32 bits that references have for it.
    pub(super) fn position(&self) -> Result<Reference> {
        let block = u32::try_from(self.table.len())
            .map_err(|_| Error::said("the source has too many files for one squashfs image"))?;
        Ok(Reference { block, offset: u16::try_from(self.block.len()).unwrap_or(u16::MAX) })
    }

    /// Appends a record, which may cross into the next blocks.
    pub(super) fn write(&mut self, mut record: &[u8]) -> Result<()> {
        while !record.is_empty() {
            let (now, later) = record.split_at(record.len().min(METADATA_SIZE - self.block.len()));
            self.block.extend_from_slice(now);
            record = later;
            // At once, so that a position never points behind the end of a full block.
            if self.block.len() == METADATA_SIZE {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let shrunk = match &mut self.compressor {
            Some(compressor) => compressor.compress(&self.block, &mut self.packed)?,
            None => None,
        };
        let (mark, stored) = match shrunk {
            Some(length) => (0, &self.packed[..length]),
            None => (UNCOMPRESSED_METADATA, &self.block[..]),
        };
        // A block has at most 8192 bytes.
        let length = u16::try_from(stored.len()).unwrap_or(0);
        self.table.extend_from_slice(&(mark | length).to_le_bytes());
        self.table.extend_from_slice(stored);
        self.block.clear();
        Ok(())
    }

    /// The finished table.
    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        if !self.block.is_empty() {
            self.flush()?;
        }
        Ok(self.table)
    }
}

/// A lookup table as it will lie at `position`: its metadata blocks, then the list of their
/// positions. Returns the bytes and where the list starts.
pub(super) fn lookup_table(
    entries: &[u8],
    position: u64,
    compressor: Option<Compressor>,
) -> Result<(Vec<u8>, u64)> {
    let mut writer = MetadataWriter::new(compressor);
    let mut list = Vec::new();
    for block in entries.chunks(METADATA_SIZE) {
        put_u64(&mut list, position + wide(writer.table.len()));
        writer.write(block)?;
    }
    let mut table = writer.finish()?;
    let list_position = position + wide(table.len());
    table.extend_from_slice(&list);
    Ok((table, list_position))
}

/// How many metadata blocks `count` entries of `size` bytes fill.
pub(super) fn blocks_of(count: impl TryInto<usize>, size: usize) -> usize {
    narrow(count).saturating_mul(size).div_ceil(METADATA_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_may_cross_blocks_and_positions_follow() {
        let mut writer = MetadataWriter::new(None);
        writer.write(&[7; 8190]).unwrap();
        assert_eq!(writer.position().unwrap(), Reference { block: 0, offset: 8190 });
        writer.write(&[8; 3]).unwrap();
        assert_eq!(writer.position().unwrap(), Reference { block: 8194, offset: 1 });
        writer.write(&[9; 8191]).unwrap();
        assert_eq!(writer.position().unwrap(), Reference { block: 2 * 8194, offset: 0 });
        let table = writer.finish().unwrap();
        assert_eq!(table.len(), 2 * 8194);
        assert_eq!(table[..2], [0x00, 0xa0]);
        assert_eq!(table[8192..8197], [8, 8, 0x00, 0xa0, 8]);
    }

    #[test]
    fn references_keep_48_bits_of_block_and_16_of_offset() {
        let reference = Reference { block: 0x0102_0304, offset: 0x0506 };
        assert_eq!(reference.packed(), 0x0000_0102_0304_0506);
        assert_eq!(Reference::unpacked(reference.packed()), Some(reference));
        assert_eq!(Reference::unpacked(1 << 48), None);
    }

    #[test]
    fn a_lookup_table_ends_in_the_positions_of_its_blocks() {
        let (table, list) = lookup_table(&[5; 8200], 1000, None).unwrap();
        assert_eq!(list, 1000 + 8194 + 10);
        assert_eq!(table.len(), 8194 + 10 + 16);
        assert_eq!(table[8204..8212], 1000_u64.to_le_bytes());
        assert_eq!(table[8212..], 9194_u64.to_le_bytes());
        assert_eq!(blocks_of(8200_u32, 1), 2);
    }
}
