//! Cutting file data into blocks, tails and holes, and handing the blocks on.

use std::ops::Range;
use std::sync::Arc;

use super::super::fragment::FragmentBlock;
use super::super::le::{narrow, wide};
use super::super::load::Part;
use super::super::options::Fragments;
use super::super::squeeze::{Block, Job, Place};
use super::{Arranger, JOB, stopped};
use crate::error::Result;

impl Arranger<'_> {
    /// Cuts a part into blocks; `end` is where the part ends in its file. What does not fill a block
    /// is the end of the file: a fragment or a short block.
    pub(super) fn bytes(&mut self, file: usize, part: &Part, end: u64, buffer: &Arc<Vec<u8>>) -> Result<()> {
        self.placements[file].size = end;
        for _ in 0..part.hole / self.block_size {
            self.zeros(file, self.block_size);
        }
        match part.hole % self.block_size {
            0 => {}
            rest if self.goes_into_fragment(end) => self.tail(file, &vec![0; rest])?,
            rest if self.options.sparse => self.zeros(file, rest),
            rest => self.block(file, &Arc::new(vec![0; rest]), 0..rest)?,
        }
        let mut start = part.range.start;
        while start < part.range.end {
            let range = start..part.range.end.min(start + self.block_size);
            start = range.end;
            if range.len() < self.block_size && self.goes_into_fragment(end) {
                self.tail(file, &buffer[range])?;
            } else {
                self.block(file, buffer, range)?;
            }
        }
        Ok(())
    }

    fn goes_into_fragment(&self, size: u64) -> bool {
        match self.options.fragments {
            Fragments::None => false,
            Fragments::Small => size < wide(self.block_size),
            Fragments::Always => true,
        }
    }

    fn tail(&mut self, file: usize, bytes: &[u8]) -> Result<()> {
        let (tail, full) = self.packer.add(bytes)?;
        self.placements[file].tail = Some(tail);
        full.map_or(Ok(()), |full| self.fragment(full))
    }

    /// Sends a fragment block on its way.
    pub(super) fn fragment(&mut self, full: FragmentBlock) -> Result<()> {
        let range = 0..full.bytes.len();
        self.add(Block { buffer: Arc::new(full.bytes), range, place: Place::Fragment(narrow(full.number)) })
    }

    fn block(&mut self, file: usize, buffer: &Arc<Vec<u8>>, range: Range<usize>) -> Result<()> {
        if self.options.sparse && is_zero(&buffer[range.clone()]) {
            self.zeros(file, range.len());
            return Ok(());
        }
        let place = Place::Block { file, number: narrow(self.block_count) };
        self.count_block(file);
        self.add(Block { buffer: buffer.clone(), range, place })
    }

    fn zeros(&mut self, file: usize, length: usize) {
        self.placements[file].sparse += wide(length);
        self.count_block(file);
    }

    fn count_block(&mut self, file: usize) {
        self.placements[file].block_count += 1;
        self.block_count += 1;
    }

    fn add(&mut self, block: Block) -> Result<()> {
        self.blocks.push(block);
        if self.blocks.len() * self.block_size >= JOB { self.send() } else { Ok(()) }
    }

    pub(super) fn send(&mut self) -> Result<()> {
        if self.blocks.is_empty() {
            return Ok(());
        }
        let output = self.outputs.recv().map_err(|_| stopped())?;
        let job = Job { number: self.sequence, blocks: std::mem::take(&mut self.blocks), output };
        self.sequence += 1;
        self.jobs.send(job).map_err(|_| stopped())
    }
}

/// Whether a block holds only zeros: its first bytes are, and each byte equals one before it. Most
/// blocks are settled by the first bytes; the rest is a comparison that the C library does fastest.
fn is_zero(block: &[u8]) -> bool {
    let (first, rest) = block.split_at(block.len().min(64));
    first.iter().all(|&byte| byte == 0) && block[..rest.len()] == *rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_zeros_is_recognised_at_any_length() {
        for length in [0, 1, 63, 64, 65, 4096] {
            let mut block = vec![0; length];
            assert!(is_zero(&block));
            if length > 0 {
                block[length - 1] = 1;
                assert!(!is_zero(&block), "{length}");
            }
        }
    }
}
