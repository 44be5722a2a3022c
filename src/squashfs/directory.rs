//! The directory table: sorted listings in runs that share an inode block, and the index of long ones.
//!
//! squashfs-tools-ng, doc/format.adoc, "Directory Table" and "Directory Index".

use super::inode::{FileType, IndexEntry};
use super::le::{Corrupt, Fields, narrow, put_i16, put_u16, put_u32, wide};
use super::metadata::{METADATA_SIZE, MetadataWriter, Reference};
use crate::error::{Error, Result};

/// The longest name that squashfs can hold, in bytes.
pub(super) const MAX_NAME: u32 = 256;
/// The kernel refuses more entries after one header.
const MAX_RUN: usize = 256;
/// The inode counts its index entries in 16 bits. The index only speeds up lookups, so a directory
/// with more (of more than 500 MB of names) has its last part unindexed.
const MAX_INDEX: usize = 65_535;
const HEADER_SIZE: usize = 12;
const ENTRY_SIZE: usize = 8;

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry<'a> {
    /// 1 to 256 bytes.
    pub name: &'a [u8],
    /// Where its inode lies in the inode table.
    pub inode: Reference,
    /// The number of its inode.
    pub number: u32,
    /// What it is.
    pub file_type: FileType,
}

/// A listing as it was written.
pub(super) struct Listing {
    pub(super) start: Reference,
    pub(super) size: u32,
    pub(super) index: Vec<IndexEntry>,
}

/// Appends the listing of one directory, whose entries are sorted by the bytes of their names.
///
/// # Errors
/// The listing has more bytes than a directory inode can say.
pub(super) fn write_listing(table: &mut MetadataWriter, entries: &[DirectoryEntry<'_>]) -> Result<Listing> {
    let start = table.position()?;
    let length: usize = entries.iter().map(|entry| ENTRY_SIZE + entry.name.len()).sum();
    let is_indexed = length > METADATA_SIZE;
    let mut index = Vec::new();
    let mut record = Vec::new();
    // Bytes from the start of the metadata block in which the listing starts.
    let mut at = narrow(start.offset);
    let mut indexed_block = 0;
    let mut rest = entries;
    while let Some(first) = rest.first() {
        if is_indexed && at / METADATA_SIZE > indexed_block && index.len() < MAX_INDEX {
            indexed_block = at / METADATA_SIZE;
            let offset = too_long(at - narrow(start.offset))?;
            index.push(IndexEntry { offset, block: table.position()?.block, name: first.name.to_vec() });
        }
        let count =
            run_length(rest, if is_indexed { METADATA_SIZE - at % METADATA_SIZE } else { usize::MAX });
        let (run, later) = rest.split_at(count);
        rest = later;

        record.clear();
        put_u32(&mut record, u32::try_from(count - 1).unwrap_or(0));
        put_u32(&mut record, first.inode.block);
        put_u32(&mut record, first.number);
        for entry in run {
            put_u16(&mut record, entry.inode.offset);
            // `run_length` keeps the difference within 16 bits.
            put_i16(&mut record, difference(first, entry).unwrap_or(0));
            put_u16(&mut record, entry.file_type.number());
            put_u16(&mut record, u16::try_from(entry.name.len().saturating_sub(1)).unwrap_or(0));
            record.extend_from_slice(entry.name);
        }
        table.write(&record)?;
        at += record.len();
    }
    Ok(Listing { start, size: too_long(at - narrow(start.offset))?, index })
}

fn too_long(length: usize) -> Result<u32> {
    // Three bytes are added in the inode.
    match u32::try_from(length) {
        Ok(length) if length < u32::MAX - 3 => Ok(length),
        _ => Err(Error::said("a directory of the source has too many entries for squashfs")),
    }
}

fn difference(first: &DirectoryEntry<'_>, entry: &DirectoryEntry<'_>) -> Option<i16> {
    i16::try_from(i64::from(entry.number) - i64::from(first.number)).ok()
}

/// How many of the entries fit behind one header. The run ends with the entry that crosses `room`,
/// so that the next header starts in the next metadata block.
fn run_length(entries: &[DirectoryEntry<'_>], room: usize) -> usize {
    let mut length = HEADER_SIZE;
    let mut count = 0;
    for entry in entries.iter().take(MAX_RUN) {
        if entry.inode.block != entries[0].inode.block
            || difference(&entries[0], entry).is_none()
            || length >= room
        {
            break;
        }
        length += ENTRY_SIZE + entry.name.len();
        count += 1;
    }
    count.max(1)
}

/// Reads a whole listing and hands each entry to `each`.
pub(super) fn read_listing(
    listing: &[u8],
    mut each: impl FnMut(DirectoryEntry<'_>) -> std::result::Result<(), Corrupt>,
) -> std::result::Result<(), Corrupt> {
    let mut fields = Fields::new(listing);
    while !fields.is_empty() {
        let count = fields.u32()?;
        if wide(narrow(count)) >= wide(MAX_RUN) {
            return Err(Corrupt::new("a directory header has too many entries"));
        }
        let block = fields.u32()?;
        let base = fields.u32()?;
        for _ in 0..=count {
            let offset = fields.u16()?;
            let difference = fields.i16()?;
            let number = base
                .checked_add_signed(i32::from(difference))
                .ok_or_else(|| Corrupt::new("a directory entry has an impossible inode number"))?;
            let kind = fields.u16()?;
            let file_type = FileType::numbered(kind)
                .ok_or_else(|| Corrupt::new(format!("a directory entry has the unknown type {kind}")))?;
            let length = u32::from(fields.u16()?) + 1;
            if length > MAX_NAME {
                return Err(Corrupt::new("a name in a directory is too long"));
            }
            each(DirectoryEntry {
                name: fields.bytes(narrow(length))?,
                inode: Reference { block, offset },
                number,
                file_type,
            })?;
        }
    }
    Ok(())
}

/// The index that belongs to a whole listing, which starts at `offset` in the first of the metadata blocks that
/// start at `blocks`.
pub(super) fn index_of(
    listing: &[u8],
    offset: usize,
    blocks: &[u64],
) -> std::result::Result<Vec<IndexEntry>, Corrupt> {
    let mut headers: Vec<(usize, Vec<u8>)> = Vec::new();
    let (mut at, mut left, mut length) = (0, 0, 0);
    read_listing(listing, |entry| {
        if left == 0 {
            left = 1 + narrow(Fields::new(&listing[at..]).u32()?);
            headers.push((at, entry.name.to_vec()));
            at += HEADER_SIZE;
        }
        left -= 1;
        at += ENTRY_SIZE + entry.name.len();
        length += ENTRY_SIZE + entry.name.len();
        Ok(())
    })?;
    let mut index: Vec<IndexEntry> = Vec::new();
    let mut indexed_block = 0;
    for (header, name) in headers {
        let block = (offset + header) / METADATA_SIZE;
        if length > METADATA_SIZE && block > indexed_block && index.len() < MAX_INDEX {
            indexed_block = block;
            let start = blocks.get(block).and_then(|&start| u32::try_from(start).ok());
            let start = start.ok_or_else(|| Corrupt::new("a directory is too long for its table"))?;
            index.push(IndexEntry { offset: u32::try_from(header).unwrap_or(u32::MAX), block: start, name });
        }
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|n| format!("file{n:07}").into_bytes()).collect()
    }

    fn entry(name: &[u8], block: u32, number: u32) -> DirectoryEntry<'_> {
        DirectoryEntry { name, inode: Reference { block, offset: 3 }, number, file_type: FileType::Regular }
    }

    fn written(entries: &[DirectoryEntry<'_>], before: usize) -> (Vec<u8>, Listing) {
        let mut table = MetadataWriter::new(None);
        table.write(&vec![0; before]).unwrap();
        let listing = write_listing(&mut table, entries).unwrap();
        let stored = table.finish().unwrap();
        // Uncompressed blocks: drop their heads.
        let plain: Vec<u8> =
            stored.chunks(METADATA_SIZE + 2).flat_map(|block| &block[2..]).copied().collect();
        (plain[before..].to_vec(), listing)
    }

    fn headers(bytes: &[u8], entries: &[DirectoryEntry<'_>]) {
        let mut n = 0;
        read_listing(bytes, |read| {
            assert_eq!(read, entries[n]);
            n += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(n, entries.len());
    }

    #[test]
    fn a_listing_reads_back_as_it_was_written() {
        let names = names(3000);
        let entries: Vec<_> = names.iter().zip(1..).map(|(name, n)| entry(name, n / 700, n)).collect();
        let (bytes, listing) = written(&entries, 5000);
        assert_eq!(listing.size, u32::try_from(bytes.len()).unwrap());
        headers(&bytes, &entries);
    }

    #[test]
    fn a_new_header_begins_where_the_run_cannot_go_on() {
        type Places = Vec<(u32, u32)>;
        let cases: [(&str, Places, usize); 5] = [
            ("one run", vec![(0, 5), (0, 6), (0, 4)], 1),
            ("another inode block", vec![(0, 5), (9, 6), (9, 7)], 2),
            ("an inode number too high", vec![(0, 1), (0, 32_768), (0, 32_769)], 2),
            ("an inode number too low", vec![(0, 40_000), (0, 7232), (0, 7231)], 2),
            ("257 entries", vec![(0, 1); 257], 2),
        ];
        for (case, places, runs) in cases {
            let names = names(places.len());
            let entries: Vec<_> = names
                .iter()
                .zip(&places)
                .map(|(name, &(block, number))| entry(name, block, number))
                .collect();
            let (bytes, _) = written(&entries, 0);
            headers(&bytes, &entries);
            let payload: usize = names.iter().map(|name| 8 + name.len()).sum();
            assert_eq!(bytes.len() - payload, runs * HEADER_SIZE, "{case}");
        }
    }

    #[test]
    fn the_index_points_at_a_header_in_each_further_block() {
        let names = names(100_000);
        let entries: Vec<_> = names.iter().zip(1..).map(|(name, n)| entry(name, n / 300, n)).collect();
        let (bytes, listing) = written(&entries, 100);
        headers(&bytes, &entries);
        let blocks = (100 + bytes.len() - 1) / METADATA_SIZE;
        assert_eq!(listing.index.len(), blocks);
        for (step, block) in listing.index.iter().zip(1..) {
            let at = narrow(step.offset);
            assert_eq!((100 + at) / METADATA_SIZE, block);
            assert_eq!(narrow(step.block), block * (METADATA_SIZE + 2));
            // A header, then an entry with the name of the index.
            let length = usize::from(u16::from_le_bytes([bytes[at + 18], bytes[at + 19]])) + 1;
            assert_eq!(&bytes[at + 20..at + 20 + length], step.name);
        }
        let starts: Vec<u64> = (0..=blocks).map(|block| wide(block * (METADATA_SIZE + 2))).collect();
        assert_eq!(index_of(&bytes, 100, &starts).unwrap(), listing.index);
    }

    // No file system of Linux has the longest ones.
    #[test]
    fn a_name_has_at_most_256_bytes() {
        let name = [0xff; 256];
        let (mut bytes, _) = written(&[entry(&name, 0, 1)], 0);
        headers(&bytes, &[entry(&name, 0, 1)]);
        bytes[18..20].copy_from_slice(&256_u16.to_le_bytes());
        bytes.push(0);
        assert!(read_listing(&bytes, |_| Ok(())).is_err());
    }

    #[test]
    fn a_listing_cut_short_is_refused() {
        let names = names(3);
        let entries: Vec<_> = names.iter().zip(1..).map(|(name, n)| entry(name, 0, n)).collect();
        let (bytes, _) = written(&entries, 0);
        assert!(read_listing(&bytes[..bytes.len() - 1], |_| Ok(())).is_err());
    }
}
