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
pub(super) struct Job {
    /// Blocks are written in the order of this.
    pub(super) number: u64,
    /// What it was read into, and where it lies in there.
    pub(super) buffer: Arc<Vec<u8>>,
    pub(super) range: Range<usize>,
    /// Takes the compressed block.
    pub(super) output: Vec<u8>,
    pub(super) place: Place,
}

/// A block that has been compressed, if that pays.
pub(super) struct Squeezed {
    pub(super) job: Job,
    /// Length of the compressed block; `None` stores it as it is.
    length: Option<usize>,
}

impl Squeezed {
    /// What is to be written, and its size as the format says it.
    pub(super) fn stored(&self) -> (&[u8], u32) {
        let (bytes, mark) = match self.length {
            Some(length) => (&self.job.output[..length], 0),
            None => (&self.job.buffer[self.job.range.clone()], UNCOMPRESSED_BLOCK),
        };
        // A block has at most 1 MiB.
        (bytes, mark | u32::try_from(bytes.len()).unwrap_or(0))
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
        let is_wanted = match job.place {
            Place::Block { .. } => options.compress_data,
            Place::Fragment => options.compress_fragments,
        };
        let length = if is_wanted {
            job.output.resize(job.output.len().max(job.range.len()), 0);
            compressor.compress(&job.buffer[job.range.clone()], &mut job.output)
        } else {
            Ok(None)
        };
        if done.send(length.map(|length| Squeezed { job, length })).is_err() {
            return;
        }
    }
}
