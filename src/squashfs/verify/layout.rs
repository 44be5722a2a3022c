//! Whether the tables of an image follow each other without gaps, in the order of the format.

use super::super::compress::Compression;
use super::super::fragment::{self, FRAGMENT_SIZE};
use super::super::le::{Corrupt, Fields, narrow, wide};
use super::super::metadata::{HEAD_SIZE, UNCOMPRESSED_METADATA, blocks_of};
use super::super::reader::{Checked, Image};
use super::super::superblock::{NO_TABLE, SUPERBLOCK_SIZE, flag};
use super::super::xattr::{XATTR_HEAD_SIZE, XATTR_ID_SIZE};
use super::super::{export, id};

/// # Errors
/// There is a gap, or something lies where something else should.
pub(super) fn check(image: &mut Image<'_>) -> Checked<()> {
    let superblock = image.superblock().clone();
    compressor_options(image)?;
    chain(image, superblock.inode_table, superblock.directory_table)?;
    let mut at = superblock.directory_table;
    let fragments = usize::from(superblock.fragment_count > 0);
    if fragments != usize::from(superblock.fragment_table != NO_TABLE) {
        return Err(Corrupt::new("the fragment table is there without need, or missing"));
    }
    if fragments > 0 {
        let count = narrow(superblock.fragment_count);
        let table = image.table(superblock.fragment_table, count, FRAGMENT_SIZE)?;
        if table != fragment::encode(image.fragments()) {
            return Err(Corrupt::new("the fragment table is not as this program writes it"));
        }
    }
    let tables = [
        (superblock.fragment_table, superblock.fragment_count, FRAGMENT_SIZE),
        (superblock.export_table, superblock.inode_count, export::EXPORT_SIZE),
        (superblock.id_table, superblock.id_count.into(), id::ID_SIZE),
    ];
    for (list, count, size) in tables.into_iter().filter(|(list, ..)| *list != NO_TABLE) {
        at = lookup_table(image, at, list, list, narrow(count), size)?;
    }
    if superblock.xattr_table != NO_TABLE {
        let table = superblock.xattr_table;
        let head = image.bytes(table, XATTR_HEAD_SIZE)?;
        let mut fields = Fields::new(&head);
        let (pairs, count, unused) = (fields.u64()?, fields.u32()?, fields.u32()?);
        if pairs != at || unused != 0 {
            return Err(Corrupt::new("the xattr table does not begin where it should"));
        }
        at = lookup_table(image, at, table, table + wide(XATTR_HEAD_SIZE), narrow(count), XATTR_ID_SIZE)?;
    }
    if at != superblock.bytes_used {
        return Err(Corrupt::new(format!("its tables end at {at}, not at {}", superblock.bytes_used)));
    }
    Ok(())
}

/// What the kernel reads of them: that they are there, and the version of lz4.
fn compressor_options(image: &Image<'_>) -> Checked<()> {
    let superblock = image.superblock();
    let has_options = superblock.flags & flag::COMPRESSOR_OPTIONS != 0;
    let lz4 = Compression::Lz4 { high: false };
    if !has_options {
        return match superblock.compressor == lz4.number() {
            true => Err(Corrupt::new("lz4 needs compressor options")),
            false => Ok(()),
        };
    }
    let head = Fields::new(&image.bytes(wide(SUPERBLOCK_SIZE), HEAD_SIZE)?).u16()?;
    let length = usize::from(head & !UNCOMPRESSED_METADATA);
    let expected = Compression::numbered(superblock.compressor).map_or(0, Compression::options_size);
    if head & UNCOMPRESSED_METADATA == 0 || length != expected {
        return Err(Corrupt::new("the compressor options are damaged"));
    }
    let options = image.bytes(wide(SUPERBLOCK_SIZE + HEAD_SIZE), length)?;
    if superblock.compressor == lz4.number()
        && Some(options) != lz4.options().map(|block| block[HEAD_SIZE..].to_vec())
    {
        return Err(Corrupt::new("the options of lz4 are damaged"));
    }
    Ok(())
}

/// A table of `count` entries, the list of whose blocks lies at `list`: what comes before its first block goes
/// on from `at`, its blocks end at `end`, and then comes the list. Returns where that ends.
fn lookup_table(
    image: &mut Image<'_>,
    at: u64,
    end: u64,
    list: u64,
    count: usize,
    size: usize,
) -> Checked<u64> {
    let list_size = blocks_of(count, size).saturating_mul(8);
    let blocks = image.bytes(list, list_size)?;
    let mut fields = Fields::new(&blocks);
    let mut next = at;
    let mut is_first = true;
    let mut length = 0;
    while !fields.is_empty() {
        let block = fields.u64()?;
        if is_first {
            chain(image, at, block)?;
        } else if block != next {
            return Err(Corrupt::new(format!("a block of a table lies at {block}, not at {next}")));
        }
        is_first = false;
        let (entries, end) = image.metadata(block)?;
        length += entries.len();
        next = end;
    }
    if length != count.saturating_mul(size) {
        return Err(Corrupt::new(format!("a table has not {count} entries")));
    }
    if next != end {
        return Err(Corrupt::new(format!("a table ends at {next}, not at {end}")));
    }
    Ok(list.saturating_add(wide(list_size)))
}

/// Metadata blocks from one place to another.
fn chain(image: &mut Image<'_>, from: u64, to: u64) -> Checked<()> {
    let mut at = from;
    while at < to {
        at = image.metadata(at)?.1;
    }
    if at == to { Ok(()) } else { Err(Corrupt::new(format!("a table does not end at {to}"))) }
}
