//! Root runs nothing that somebody else could have written.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{During, Error, Result, shown};

/// Refuses to have a shell evaluate a configuration file that others than `owner`, which outside tests is
/// root, can have written. `line` and `what` say which part of it needs a shell.
///
/// # Errors
/// When it is not to be trusted, or cannot be looked at.
pub fn check(path: &Path, line: usize, what: &str, owner: u32) -> Result<()> {
    let Some(reason) = distrust(path, owner)? else { return Ok(()) };
    let said = format!(
        "{}:{line}: {what} needs a shell, but root must not run this file as a script: {reason}",
        shown(path)
    );
    Err(Error::said(said).hint(
        "make the file and its folder root's own (chown root, chmod go-w), or use plain NAME=\"VALUE\" lines",
    ))
}

/// Why the file must not be run, if others than `owner` can have written it: the file itself, its folder,
/// or if it is a link those behind it.
///
/// # Errors
/// When it cannot be looked at.
pub fn distrust(path: &Path, owner: u32) -> Result<Option<String>> {
    let real = path.canonicalize().during("resolve the configuration file", path)?;
    let folder = |path: &Path| path.parent().map(Path::to_owned);
    let places: [Option<PathBuf>; 3] = [folder(path), folder(&real), Some(real)];
    for place in places.into_iter().flatten() {
        let place = if place.as_os_str().is_empty() { PathBuf::from(".") } else { place };
        let metadata = place.metadata().during("examine", &place)?;
        if let Some(reason) = foreign(&metadata, owner) {
            return Ok(Some(format!("{} {reason}", shown(&place))));
        }
    }
    Ok(None)
}

fn foreign(metadata: &Metadata, owner: u32) -> Option<String> {
    if metadata.uid() != owner {
        Some(format!("belongs to user {}", metadata.uid()))
    } else if metadata.mode() & 0o022 != 0 {
        Some(format!("may be written by others (mode {:04o})", metadata.mode() & 0o7777))
    } else {
        None
    }
}
