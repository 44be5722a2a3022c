//! Root runs nothing that somebody else could have written.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::variables::Variables;
use crate::error::{During, Error, Result, shown};

/// The settings of our own programs (S9), which cannot harm others.
const SETTINGS: [&str; 16] = [
    "BASE",
    "CLEANUP",
    "COMPRESSION",
    "CONFIG_NBD",
    "ENGINE",
    "EXCLUDE",
    "EXCLUDED_MOUNTS",
    "EXCLUDE_FILE",
    "NO_BACKUP",
    "NO_COMPRESS",
    "OVERWRITE",
    "PREFER_NBD_IMAGE",
    "QUIET",
    "REVERT",
    "TFTP_BOOT_DIR",
    "TFTP_DIRS",
];

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

/// Refuses what a configuration file that others than `owner` can have written would hand to other programs:
/// with `PATH` or `LD_PRELOAD` in it they run anything.
///
/// # Errors
/// When there is such a variable and the file is not to be trusted, or cannot be looked at.
pub fn check_exports(path: &Path, before: &Variables, after: &Variables, owner: u32) -> Result<()> {
    let changed = after.iter().find(|(name, value, exported)| {
        *exported
            && !SETTINGS.contains(name)
            && (before.get(name) != Some(value) || !before.is_exported(name))
    });
    let Some((name, ..)) = changed else { return Ok(()) };
    let Some(reason) = distrust(path, owner)? else { return Ok(()) };
    let place = after.origin(name).map_or_else(|| shown(path), ToString::to_string);
    Err(Error::said(format!(
        "{place}: {name} would be for other programs that root runs, too, and must not come from this file: {reason}"
    ))
    .hint("make the file and its folder root's own (chown root, chmod go-w), or leave the line out"))
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
