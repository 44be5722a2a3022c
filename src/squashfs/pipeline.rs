//! File data on its way into the image: read by some threads, arranged by one, compressed by all
//! processors, written by one.
//!
//! ```text
//! plan ─▶ readers ─▶ window ─▶ arranger ─▶ compressors ─▶ writer ─▶ image
//! ```
//!
//! Memory does not depend on the source: the window holds a limited number of portions, and each
//! job between arranger and writer needs one of a limited number of buffers. What grows with the
//! source is the tree and the layout, 160 bytes and a name for each file, some 50 more for each that has
//! the size of another one, and 4 for each block. When the tables are made, the data is through, and
//! places and encoded inodes come to some 60 bytes for each file.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::Progress;
use super::arrange::{Arranger, JOB, stopped};
use super::fragment::StoredBlock;
use super::layout::Layout;
use super::le::narrow;
use super::load::Loader;
use super::options::WriteOptions;
use super::output::Output;
use super::plan::{PORTION, Plan};
use super::scan::Scan;
use super::source::Source;
use super::squeeze::{Place, Squeezed, squeeze};
use super::window::{CloseOnPanic, Window};
use crate::error::Result;

/// Threads that read. Compressing keeps the processors busy; these wait for disks most of the time,
/// and several of them keep a disk's queue filled where the page cache is cold.
const READERS: usize = 4;
/// Jobs under way for each compressor: one in work, and some to even out that a job in front takes
/// longer.
const JOBS_EACH: usize = 3;

/// Writes the data of all files; the layout says where it lies.
///
/// # Errors
/// A file cannot be read, the image cannot be written, or `report` says to stop.
pub(super) fn write_data(
    source: &Source,
    scan: &Scan,
    options: &WriteOptions,
    output: &mut Output<'_>,
    report: &mut dyn FnMut(Progress) -> Result<()>,
) -> Result<Layout> {
    let tree = &scan.tree;
    let compressors = options.thread_count();
    let window = Window::new(Plan::new(&tree.files), (options.memory / 2 / PORTION).max(READERS));
    let jobs = (compressors * JOBS_EACH).min(options.memory / 4 / JOB.max(narrow(options.block_size)));
    let (job_sender, job_receiver) = channel();
    let (done_sender, done_receiver) = channel();
    let (output_sender, output_receiver) = channel();
    for _ in 0..jobs.max(compressors + 1) {
        // The receiver is right here.
        let _ = output_sender.send(Vec::new());
    }
    let job_receiver = Mutex::new(job_receiver);
    let progress = Progress { bytes: 0, total_bytes: scan.bytes, files: tree.items.len() };

    thread::scope(|scope| {
        let (job_receiver, window) = (job_receiver, &window);
        let job_receiver = std::sync::Arc::new(job_receiver);
        for _ in 0..compressors {
            let (job_receiver, done_sender) = (job_receiver.clone(), done_sender.clone());
            scope.spawn(move || squeeze(options, &job_receiver, &done_sender));
        }
        // The compressors hold the only other ends, so that each side notices when the other is gone.
        drop((job_receiver, done_sender));
        let writer = scope
            .spawn(move || write_blocks(output, tree.files.len(), window, &done_receiver, &output_sender));
        // One at least: a reader finds out that there is no more to read.
        for _ in 0..tree.files.len().clamp(1, READERS) {
            scope.spawn(move || {
                let _close = CloseOnPanic(window);
                let mut loader = Loader::new(source, tree);
                while let Some((number, work, buffer)) = window.give() {
                    window.put(number, loader.load(work, buffer));
                }
            });
        }
        let arranger = Arranger::new((source, tree), options, window, job_sender, output_receiver);
        let arranged = {
            let _close = CloseOnPanic(window);
            arranger.run(progress, report)
        };
        window.close();
        let written = match writer.join() {
            Ok(written) => written,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        match (arranged, written) {
            // The arranger's error may be no more than a consequence of the writer's.
            (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
            (Ok(mut layout), Ok(positions)) => {
                layout.sizes[..positions.sizes.len()].copy_from_slice(&positions.sizes);
                layout.starts = positions.starts;
                layout.fragments = positions.fragments;
                Ok(layout)
            }
        }
    })
}

/// Where the blocks went.
struct Positions {
    starts: Vec<u64>,
    /// By the numbers of the blocks, up to the last one that is stored.
    sizes: Vec<u32>,
    fragments: Vec<StoredBlock>,
}

/// Writes the blocks in the order of their numbers.
fn write_blocks(
    output: &mut Output<'_>,
    files: usize,
    window: &Window<'_>,
    done: &Receiver<Result<Squeezed>>,
    outputs: &Sender<Vec<u8>>,
) -> Result<Positions> {
    let mut positions = Positions { starts: vec![0; files], sizes: Vec::new(), fragments: Vec::new() };
    let mut early: HashMap<u64, Squeezed> = HashMap::new();
    let mut next = 0;
    while let Ok(squeezed) = done.recv() {
        let squeezed = squeezed?;
        early.insert(squeezed.job.number, squeezed);
        while let Some(squeezed) = early.remove(&next) {
            next += 1;
            for (place, bytes, size) in squeezed.stored() {
                let start = output.position();
                match place {
                    Place::Block { file, number } => {
                        if positions.starts[file] == 0 {
                            positions.starts[file] = start;
                        }
                        // Those in between hold only zeros.
                        positions.sizes.resize(number, 0);
                        positions.sizes.push(size);
                    }
                    Place::Fragment => positions.fragments.push(StoredBlock { start, size }),
                }
                output.append(bytes)?;
            }
            for block in squeezed.job.blocks {
                if let Some(buffer) = std::sync::Arc::into_inner(block.buffer) {
                    window.reuse(buffer);
                }
            }
            // The arranger is gone when there are no more blocks to come.
            let _ = outputs.send(squeezed.job.output);
        }
    }
    if early.is_empty() { Ok(positions) } else { Err(stopped()) }
}

#[cfg(test)]
mod tests {
    use super::super::layout::Placement;
    use super::super::tree::{Entry, Item, RegularFile};

    // The module says so, and the memory of a run over a million files depends on it.
    #[test]
    fn a_file_takes_160_bytes_in_tree_and_layout() {
        let tree = size_of::<Item>() + size_of::<Entry>() + size_of::<RegularFile>();
        let layout = size_of::<Placement>() + size_of::<u64>();
        assert_eq!((tree, layout), (104, 56));
    }
}
