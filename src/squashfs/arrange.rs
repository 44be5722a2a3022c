//! The one thread that sees all data in order: it finds duplicates, packs fragments and cuts blocks,
//! so that the image does not depend on how many threads read and compress.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use super::Progress;
use super::digest::{self, Digest, PieceDigest};
use super::fragment::Packer;
use super::layout::{Data, Layout, Placement};
use super::le::{narrow, wide};
use super::load::{Change, Loaded, Loader, Part};
use super::options::{Fragments, WriteOptions};
use super::plan::{PORTION, Work};
use super::source::Source;
use super::squeeze::{Block, Job, Place};
use super::tree::Tree;
use super::window::Window;
use crate::error::{Error, Result, shown};

/// Bytes that are handed to a compressor at once: each time costs some thread switches.
pub(super) const JOB: usize = 512 << 10;

/// See the module.
pub(super) struct Arranger<'a> {
    source: &'a Source,
    tree: &'a Tree,
    options: &'a WriteOptions,
    block_size: usize,
    window: &'a Window<'a>,
    jobs: Sender<Job>,
    /// Buffers for compressed blocks. There is one for each job that may be under way, so this
    /// also keeps the arranger from running ahead.
    outputs: Receiver<Vec<u8>>,
    /// The number of the next job; jobs are written in this order.
    sequence: u64,
    /// The blocks of the next job.
    blocks: Vec<Block>,
    packer: Packer,
    /// Files by size and digest.
    known: HashMap<(u64, Digest), u32>,
    placements: Vec<Placement>,
    block_count: u64,
    duplicates: u64,
    /// The large file that is arriving in pieces.
    current: Current,
}

#[derive(Default)]
struct Current {
    digests: Vec<PieceDigest>,
    /// It has shrunk, vanished or ended, so what follows is not used.
    has_ended: bool,
}

/// The channels between the arranger and the threads behind it are closed: one of them has failed and
/// says why itself.
pub(super) fn stopped() -> Error {
    Error::said("writing the image was stopped")
}

impl<'a> Arranger<'a> {
    pub(super) fn new(
        (source, tree): (&'a Source, &'a Tree),
        options: &'a WriteOptions,
        window: &'a Window<'a>,
        jobs: Sender<Job>,
        outputs: Receiver<Vec<u8>>,
    ) -> Self {
        let block_size = narrow(options.block_size);
        Self {
            source,
            tree,
            options,
            block_size,
            window,
            jobs,
            outputs,
            sequence: 0,
            blocks: Vec::new(),
            packer: Packer::new(block_size),
            known: HashMap::new(),
            placements: vec![Placement::default(); tree.files.len()],
            block_count: 0,
            duplicates: 0,
            current: Current::default(),
        }
    }

    /// Arranges everything; the positions in the layout are filled in by the writer.
    ///
    /// # Errors
    /// A file cannot be read, `progress` says to stop, or a thread further down has stopped.
    pub(super) fn run(
        mut self,
        mut progress: Progress,
        report: &mut dyn FnMut(Progress) -> Result<()>,
    ) -> Result<Layout> {
        while let Some(loaded) = self.window.take() {
            let loaded = loaded?;
            progress.bytes += self.portion(loaded)?;
            report(progress)?;
        }
        if !self.packer.filling.is_empty() {
            self.fragment()?;
        }
        self.send()?;
        let sizes = vec![0; narrow(self.block_count)];
        Ok(Layout { placements: self.placements, sizes, duplicates: self.duplicates, ..Layout::default() })
    }

    /// Places a portion; returns how many bytes of the source that settles.
    fn portion(&mut self, loaded: Loaded) -> Result<u64> {
        let buffer = Arc::new(loaded.buffer);
        let mut settled = 0;
        match loaded.work {
            Work::Batch(files) => {
                for (file, part) in files.zip(loaded.parts) {
                    settled += self.size(file);
                    self.whole(file, &part, &buffer)?;
                }
            }
            Work::Piece { file, offset, length } => {
                settled += wide(length);
                for part in loaded.parts {
                    self.piece(file, offset, length, part, &buffer)?;
                }
            }
            Work::Digest(file) => {
                settled += self.size(file);
                for part in loaded.parts {
                    self.twin(file, part)?;
                }
            }
        }
        if let Some(buffer) = Arc::into_inner(buffer) {
            self.window.reuse(buffer);
        }
        Ok(settled)
    }

    /// The size that the walk saw.
    fn size(&self, file: usize) -> u64 {
        self.tree.files[file].version.size
    }

    /// Places a file that was read in one portion.
    fn whole(&mut self, file: usize, part: &Part, buffer: &Arc<Vec<u8>>) -> Result<()> {
        self.report(file, part);
        if part.change == Some(Change::Vanished) {
            self.placements[file].data = Data::Vanished;
            return Ok(());
        }
        let length = wide(part.range.len() + part.hole);
        if length == self.size(file) && !part.digests.is_empty() && self.is_known(file, &part.digests) {
            return Ok(());
        }
        self.placements[file].first_block = self.block_count;
        self.bytes(file, part, length, buffer)
    }

    /// Places one piece of a large file.
    fn piece(
        &mut self,
        file: usize,
        offset: u64,
        length: usize,
        part: Part,
        buffer: &Arc<Vec<u8>>,
    ) -> Result<()> {
        if offset == 0 {
            self.current = Current::default();
            self.placements[file].first_block = self.block_count;
        }
        if self.current.has_ended {
            return Ok(());
        }
        self.report(file, &part);
        if part.change == Some(Change::Vanished) {
            self.current.has_ended = true;
            if offset == 0 {
                self.placements[file].data = Data::Vanished;
            }
            return Ok(());
        }
        let got = part.range.len() + part.hole;
        let end = offset + wide(got);
        self.bytes(file, &part, end, buffer)?;
        self.current.digests.extend(part.digests);
        self.current.has_ended = got < length || end == self.size(file);
        if end == self.size(file) && !self.current.digests.is_empty() {
            let digest = digest::whole(&self.current.digests);
            self.known.entry((end, digest)).or_insert(super::tree::number(file)?);
        }
        Ok(())
    }

    /// Places a large file that has the size of an earlier one and was only digested. If it differs,
    /// which is rare among large files, it is read a second time, here.
    fn twin(&mut self, file: usize, part: Part) -> Result<()> {
        if part.change == Some(Change::Vanished) {
            self.report(file, &part);
            self.placements[file].data = Data::Vanished;
            return Ok(());
        }
        let size = self.size(file);
        if part.digests.len() == narrow(size.div_ceil(wide(PORTION))) && self.is_known(file, &part.digests) {
            self.report(file, &part);
            return Ok(());
        }
        let mut loader = Loader::new(self.source, self.tree);
        let mut offset = 0;
        while offset < size {
            let length = narrow(size - offset).min(PORTION);
            let loaded = loader.load(Work::Piece { file, offset, length }, Vec::new())?;
            let buffer = Arc::new(loaded.buffer);
            for part in loaded.parts {
                self.piece(file, offset, length, part, &buffer)?;
            }
            offset += wide(length);
        }
        Ok(())
    }

    /// Whether an earlier file has the same content, which then stands for this one too. If not, this
    /// one will for later ones.
    fn is_known(&mut self, file: usize, digests: &[PieceDigest]) -> bool {
        let Ok(number) = u32::try_from(file) else { return false };
        let key = (self.size(file), digest::whole(digests));
        let first = *self.known.entry(key).or_insert(number);
        if first == number {
            return false;
        }
        self.placements[file].data = Data::SameAs(first);
        self.duplicates += 1;
        true
    }

    /// Cuts a part into blocks; `end` is where the part ends in its file. What does not fill a block
    /// is the end of the file: a fragment or a short block.
    fn bytes(&mut self, file: usize, part: &Part, end: u64, buffer: &Arc<Vec<u8>>) -> Result<()> {
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
        if self.packer.is_full_for(bytes.len()) {
            self.fragment()?;
        }
        self.placements[file].tail = Some(self.packer.add(bytes));
        Ok(())
    }

    /// Sends the fragment block that is being filled on its way.
    fn fragment(&mut self) -> Result<()> {
        let full = self.packer.take(Vec::with_capacity(self.block_size))?;
        let range = 0..full.len();
        self.add(Block { buffer: Arc::new(full), range, place: Place::Fragment })
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

    fn send(&mut self) -> Result<()> {
        if self.blocks.is_empty() {
            return Ok(());
        }
        let output = self.outputs.recv().map_err(|_| stopped())?;
        let job = Job { number: self.sequence, blocks: std::mem::take(&mut self.blocks), output };
        self.sequence += 1;
        self.jobs.send(job).map_err(|_| stopped())
    }

    fn report(&self, file: usize, part: &Part) {
        let Some(change) = part.change else { return };
        let path = self.source.shown(&self.tree.path(self.tree.files[file].inode));
        match change {
            Change::Vanished => {
                log::warn!("{} vanished while the image was made; it is not in there", shown(path));
            }
            Change::Modified => {
                log::warn!(
                    "{} changed while the image was made; some of it may be missing there",
                    shown(path)
                );
            }
        }
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
