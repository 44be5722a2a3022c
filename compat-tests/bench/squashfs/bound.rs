//! How long it takes to compress the blocks of an image once more, with all of them in memory and
//! nothing written: no writer that uses this library can be faster.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ltsp_core::error::{During, Result};
use ltsp_core::squashfs::compress::Compressor;
use ltsp_core::squashfs::fragment::StoredBlock;
use ltsp_core::squashfs::inode::Body;
use ltsp_core::squashfs::reader::Image;
use ltsp_core::squashfs::{Compression, WriteOptions};

/// Compresses every block of the image at `path` with as many threads as `options` say.
///
/// # Errors
/// The image cannot be read.
pub fn bound(path: &Path, options: &WriteOptions) -> Result<Duration> {
    let blocks = blocks(path)?;
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    };
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| compress_all(&blocks, &next, options.compression, options.block_size)))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    Ok(start.elapsed())
}

fn compress_all(
    blocks: &[Vec<u8>],
    next: &AtomicUsize,
    compression: Compression,
    block_size: u32,
) -> Result<()> {
    let mut compressor = Compressor::new(compression, block_size)?;
    let mut output = Vec::new();
    while let Some(block) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
        output.resize(output.len().max(block.len()), 0);
        compressor.compress(block, &mut output)?;
    }
    Ok(())
}

/// The data and fragment blocks of an image, each once.
fn blocks(path: &Path) -> Result<Vec<Vec<u8>>> {
    let file = File::open(path).during("open", path)?;
    let mut image = Image::open(&file, path)?;
    let mut stored: Vec<StoredBlock> = image.fragments().to_vec();
    let mut pending = vec![image.root()?];
    while let Some(place) = pending.pop() {
        let inode = image.inode(place)?;
        match &inode.body {
            Body::Directory { .. } => pending.extend(image.children(&inode)?.iter().map(|child| child.inode)),
            Body::Regular { start, blocks, .. } => {
                let mut start = *start;
                for &size in blocks.iter().filter(|&&size| size != 0) {
                    let block = StoredBlock { start, size };
                    start += u64::from(block.length());
                    stored.push(block);
                }
            }
            _ => {}
        }
    }
    // Duplicates and hard links share blocks.
    stored.sort_by_key(|block| block.start);
    stored.dedup();
    let most = usize::try_from(image.superblock().block_size).unwrap_or(usize::MAX);
    stored.into_iter().map(|block| image.block(block, most)).collect()
}
