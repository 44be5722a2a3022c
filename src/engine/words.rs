//! The command line of mksquashfs, which the built-in writer takes too (U42).

use std::ffi::OsString;

use super::{Job, Program};
use crate::config::settings::Compression;
use crate::excludes::Pattern;

/// The words after source and image, in D2's order: everything after `-e` is a pattern.
///
/// The built-in writer is told every pattern; mksquashfs reads the file itself, as its wrappers may expect.
pub(super) fn of_job(job: &Job<'_>, program: Program) -> Vec<OsString> {
    let mut words: Vec<OsString> = ["-no-recovery", "-noappend", "-wildcards"].map(Into::into).into();
    let mut patterns: Vec<&Pattern> = job.excludes.iter().collect();
    match (program, job.exclude_file) {
        (Program::Mksquashfs, Some(file)) => words.extend(["-ef".into(), file.into()]),
        _ => patterns.extend(job.listed),
    }
    words.extend(job.words.iter().cloned());
    if !patterns.is_empty() {
        words.push("-e".into());
        words.extend(patterns.into_iter().map(|pattern| pattern.text().to_owned()));
    }
    words
}

/// The words that say how to compress (U42, rows 9 and 10).
pub fn of_compression(compression: &Compression) -> Vec<OsString> {
    let mut words = Vec::new();
    if compression.none {
        words.extend(["-noF", "-noD", "-noI", "-no-exports"].map(OsString::from));
    }
    if !compression.compressor.is_empty() {
        words.push("-comp".into());
        words.extend(compression.compressor.iter().cloned());
    }
    words
}
