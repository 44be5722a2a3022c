//! The files below a directory.

use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::error::Result;
use crate::sys::confined::Root;

/// The regular files at any depth below `dir`, in the order of their names; links are not followed,
/// except that `dir` may be one. Empty if there is no such directory.
///
/// # Errors
/// When a directory cannot be read.
pub(super) fn files(root: &Root, dir: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut dirs = vec![PathBuf::from(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in root.entries(&dir)?.unwrap_or_default() {
            match entry.kind {
                FileType::RegularFile => files.push(dir.join(entry.name)),
                FileType::Directory => dirs.push(dir.join(entry.name)),
                _ => {}
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Whether the last component of a path ends so.
pub(super) fn has_ending(path: &Path, ending: &str) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(ending.as_bytes()))
}
