//! The program that turns a tree into a squashfs image: mksquashfs.

use std::ffi::OsString;
use std::path::Path;

use rustix::fs::Access;
use rustix::io::Errno;

use crate::config::settings::Compression;
use crate::error::{Error, Result, shown};
use crate::excludes::Pattern;
use crate::report;
use crate::space::Estimate;
use crate::sys::command::{self, Changes, Command, Finished};

/// The compressors that squashfs has numbers for (squashfs.rst, "compression options"), by the names
/// that mksquashfs gives them.
const COMPRESSORS: [&str; 6] = ["gzip", "lzma", "lzo", "lz4", "xz", "zstd"];

/// One image to be written.
#[derive(Debug)]
pub struct Job<'a> {
    /// The directory whose content becomes the image's.
    pub source: &'a Path,
    /// The file to write; it does not exist yet.
    pub destination: &'a Path,
    /// A file of exclude patterns.
    pub exclude_file: Option<&'a Path>,
    /// More exclude patterns.
    pub excludes: &'a [Pattern],
    /// How to compress.
    pub compression: &'a Compression,
    /// How much room the image is likely to take.
    pub estimate: &'a Estimate,
    /// What configuration files changed in the environment (S8).
    pub environment: &'a Changes,
}

/// Whether an image can be made at all with these settings.
///
/// # Errors
/// When mksquashfs is missing, or the compressor has no meaning.
pub fn check(compression: &Compression) -> Result<()> {
    if !command::exists("mksquashfs") {
        return Err(Error::action("make an image", "the program mksquashfs is missing")
            .hint("install it: `apt-get install squashfs-tools`"));
    }
    match compression.compressor.first() {
        Some(name) if !COMPRESSORS.iter().any(|known| *known == name) => {
            Err(Error::said(format!("`{}` is not a compressor of squashfs", shown(name)))
                .hint(format!("use one of {}", COMPRESSORS.join(", "))))
        }
        _ => Ok(()),
    }
}

/// Writes the image.
///
/// On a terminal mksquashfs shows its own progress; elsewhere what it prints is kept for the case that
/// it fails.
///
/// # Errors
/// When mksquashfs fails, whatever its status, with what it said, or a signal stopped it.
pub fn write(job: &Job<'_>) -> Result<()> {
    let command = mksquashfs(job)?;
    let finished = if report::on_terminal() { command.errors()? } else { command.output()? };
    if !finished.status.success() {
        return Err(failure(job, finished));
    }
    for line in String::from_utf8_lossy(&finished.stderr).lines().filter(|line| !line.trim().is_empty()) {
        log::warn!("mksquashfs: {line}");
    }
    Ok(())
}

/// The command line of U42, with D2's order: mksquashfs takes everything after `-e` for a pattern.
fn mksquashfs(job: &Job<'_>) -> Result<Command> {
    let mut words = priority()?;
    words.push("mksquashfs".into());
    let program = words.remove(0);
    let mut command = Command::new(program).args(words).arg(job.source).arg(job.destination);
    command = command.args(["-no-recovery", "-noappend", "-wildcards"]);
    if let Some(file) = job.exclude_file {
        command = command.arg("-ef").arg(file);
    }
    if job.compression.none {
        command = command.args(["-noF", "-noD", "-noI", "-no-exports"]);
    }
    if !job.compression.compressor.is_empty() {
        command = command.arg("-comp").args(&job.compression.compressor);
    }
    if !job.excludes.is_empty() {
        command = command.arg("-e").args(job.excludes.iter().map(Pattern::text));
    }
    Ok(command.changes(job.environment))
}

/// What goes before mksquashfs so that a busy server stays usable: `nice`, and `ionice` in the idle
/// class where that is possible (U42, D11).
fn priority() -> Result<Vec<OsString>> {
    let mut words: Vec<OsString> = Vec::new();
    if executable("/usr/bin/nice") {
        words.push("nice".into());
    }
    if executable("/usr/bin/ionice") {
        // In a container or under some schedulers the class cannot be set.
        let trial = Command::new("ionice").args(["-c3", "true"]).output()?;
        if trial.status.success() {
            words.extend(["ionice".into(), "-c3".into()]);
        }
    }
    Ok(words)
}

fn executable(path: &str) -> bool {
    rustix::fs::access(path, Access::EXEC_OK).is_ok()
}

fn failure(job: &Job<'_>, finished: Finished) -> Error {
    let said = String::from_utf8_lossy(&finished.stderr).into_owned();
    let full = std::io::Error::from(Errno::NOSPC).to_string();
    if said.contains(full.split(" (os").next().unwrap_or(&full)) {
        return job.estimate.no_room(job.destination);
    }
    match finished.check() {
        // Whatever mksquashfs ended with, the program ends with 1 (U48).
        Err(error) => error.with_status(1),
        Ok(_) => Error::action("run mksquashfs", "it failed"),
    }
}
