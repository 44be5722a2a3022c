//! Compressing blocks, on all processors.

use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use super::compress::Compressor;
use super::fragment::UNCOMPRESSED_BLOCK;
use super::options::WriteOptions;
use crate::error::Result;

/// What a block belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// A file, and the block's place in `Layout::sizes`.
    Block { file: usize, number: usize },
    /// The next fragment.
    Fragment,
}

/// A block to compress.
pub(super) struct Block {
    /// What it was read into, and where it lies in there.
    pub(super) buffer: Arc<Vec<u8>>,
    pub(super) range: Range<usize>,
    pub(super) place: Place,
}

/// Some blocks that follow each other in the image.
pub(super) struct Job {
    /// Jobs are written in the order of this.
    pub(super) number: u64,
    pub(super) blocks: Vec<Block>,
    /// Takes the compressed blocks, one behind the other.
    pub(super) output: Vec<u8>,
}

/// A job that is done.
pub(super) struct Squeezed {
    pub(super) job: Job,
    /// Length of each block when compressed; `None` stores it as it is.
    lengths: Vec<Option<usize>>,
}

impl Squeezed {
    /// What is to be written of each block, and its size as the format says it.
    pub(super) fn stored(&self) -> impl Iterator<Item = (Place, &[u8], u32)> {
        let mut output = &self.job.output[..];
        self.job.blocks.iter().zip(&self.lengths).map(move |(block, &length)| {
            let (bytes, mark) = match length {
                Some(length) => {
                    let (bytes, rest) = output.split_at(length);
                    output = rest;
                    (bytes, 0)
                }
                None => (&block.buffer[block.range.clone()], UNCOMPRESSED_BLOCK),
            };
            // A block has at most 1 MiB.
            (block.place, bytes, mark | u32::try_from(bytes.len()).unwrap_or(0))
        })
    }
}

/// One thread's work: compresses until there are no more jobs.
pub(super) fn squeeze(options: &WriteOptions, jobs: &Mutex<Receiver<Job>>, done: &Sender<Result<Squeezed>>) {
    let mut compressor = match Compressor::new(options.compression, options.block_size) {
        Ok(compressor) => compressor,
        Err(error) => {
            // If nobody listens any more, another error is on its way already.
            let _ = done.send(Err(error));
            return;
        }
    };
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(mut job) = next else { return };
        let lengths = squeeze_all(options, &mut compressor, &mut job);
        if done.send(lengths.map(|lengths| Squeezed { job, lengths })).is_err() {
            return;
        }
    }
}

fn squeeze_all(
    options: &WriteOptions,
    compressor: &mut Compressor,
    job: &mut Job,
) -> Result<Vec<Option<usize>>> {
    let mut end = 0;
    let mut lengths = Vec::with_capacity(job.blocks.len());
    for block in &job.blocks {
        let is_wanted = match block.place {
            Place::Block { .. } => options.compress_data,
            Place::Fragment => options.compress_fragments,
        };
        let mut length = None;
        if is_wanted {
            let room = end + block.range.len();
            job.output.resize(job.output.len().max(room), 0);
            length = compressor.compress(&block.buffer[block.range.clone()], &mut job.output[end..room])?;
            end += length.unwrap_or(0);
        }
        lengths.push(length);
    }
    Ok(lengths)
}
