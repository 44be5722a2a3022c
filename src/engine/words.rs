//! The command line of mksquashfs, which the built-in writer takes too (U42).

use std::ffi::OsString;

use super::Job;
use crate::config::settings::Compression;
use crate::excludes::Pattern;

/// The words after source and image, in D2's order: everything after `-e` is a pattern.
pub(super) fn of_job(job: &Job<'_>) -> Vec<OsString> {
    let mut words: Vec<OsString> = ["-no-recovery", "-noappend", "-wildcards"].map(Into::into).into();
    if let Some(file) = job.exclude_file {
        words.extend(["-ef".into(), file.into()]);
    }
    words.extend(job.words.iter().cloned());
    if !job.excludes.is_empty() {
        words.push("-e".into());
        words.extend(job.excludes.iter().map(|pattern| Pattern::text(pattern).to_owned()));
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
