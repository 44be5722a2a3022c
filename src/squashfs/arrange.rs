//! The one thread that sees all data in order: it finds duplicates, packs fragments and cuts blocks,
//! so that the image does not depend on how many threads read and compress.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use super::Progress;
use super::digest::{self, Digest, PieceDigest};
use super::fragment::Packer;
use super::layout::{Data, Layout, Placement};
use super::le::{narrow, wide};
use super::load::{Change, Loaded, Loader, Part};
use super::options::WriteOptions;
use super::plan::{PORTION, Work};
use super::source::Source;
use super::squeeze::{Block, Job};
use super::tree::Tree;
use super::window::Window;
use crate::error::{Error, Result, shown};

mod cut;

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
        let packer = std::mem::replace(&mut self.packer, Packer::new(self.block_size));
        packer.rest().try_for_each(|rest| self.fragment(rest))?;
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
