//! One image, from the walk through the source to the superblock.

use std::fs::File;
use std::path::Path;

use super::options::WriteOptions;
use super::output::Output;
use super::pipeline::write_data;
use super::scan::scan;
use super::source::Source;
use super::status::identity_of;
use super::superblock::SUPERBLOCK_SIZE;
use super::tables::write_tables;
use super::{Progress, Summary};
use crate::error::{During, Result};
use crate::excludes::Excludes;

/// Writes an image of the directory `source` into `image`, an empty or outdated file that
/// `image_path` names in messages. The image is complete when this returns, but not yet forced to disk.
///
/// - What `excluded` matches stays out, with everything below it.
/// - `report` hears of progress, about once for each megabyte read; it can end the run with an error.
///
/// The image depends on the source, the options and (unless [`WriteOptions::created`] is given) the
/// time alone. The image itself is left out should it lie in the source.
///
/// A file that vanishes before it is read is left out of the image; one that changes is stored as it
/// was found, at most as long as it was at first. Both are reported by path as warnings, and the image
/// is a valid file system.
///
/// # Errors
/// Something in the source cannot be read, as the image would lack it silently; the source holds
/// more than the format can; the image cannot be written; or `report` said to stop. The image is not
/// usable then.
pub fn write(
    source: &Path,
    image: &File,
    image_path: &Path,
    options: &WriteOptions,
    excluded: &Excludes,
    report: &mut dyn FnMut(Progress) -> Result<()>,
) -> Result<Summary> {
    options.check()?;
    let source = Source::open(source)?;
    let itself = identity_of(image).during("look at", image_path)?;
    let mut output = Output::new(image, image_path)?;
    let scan = scan(&source, options, Some(itself), excluded)?;
    scan.warn();

    // In the place of the superblock, which is written last: what is cut short has none.
    output.append(&[0; SUPERBLOCK_SIZE])?;
    if let Some(block) = options.compression.options() {
        output.append(&block)?;
    }
    let layout = write_data(&source, &scan, options, &mut output, report)?;
    let superblock = write_tables(&scan.tree, &layout, options, &mut output)?;
    let image_bytes = output.finish(&superblock.encode(), options.pad)?;
    Ok(Summary {
        image_bytes,
        source_bytes: scan.bytes,
        inodes: superblock.inode_count,
        fragments: superblock.fragment_count,
        duplicates: layout.duplicates,
    })
}
