//! Locks against other runs and against the package manager; both end with the process.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, fcntl_lock, flock};
use rustix::io::Errno;

use crate::error::{During, Error, Result};
use crate::sys::command;

/// The right to write in a folder of images, for one run at a time (D36).
///
/// It is a lock on the folder itself: no lock file that could stay behind.
#[derive(Debug)]
pub struct FolderLock {
    _folder: File,
}

impl FolderLock {
    /// # Errors
    /// When another run holds it, at once; or when the folder's file system cannot lock.
    pub fn acquire(folder: &Path) -> Result<Self> {
        let file = File::open(folder).during("open", folder)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _folder: file }),
            Err(Errno::WOULDBLOCK) => {
                Err(Error::new("write images in", folder, "another run is at work there")
                    .hint("wait until it has ended, then try again"))
            }
            Err(source) => Err(Error::io("lock", folder, source)),
        }
    }
}

/// dpkg's and apt's own locks, so that no package changes while `/` is read (U60, D21).
#[derive(Debug)]
pub struct PackageLock {
    _files: Vec<File>,
}

impl PackageLock {
    /// Waits, with a message, until the package manager has ended, and keeps it from starting.
    ///
    /// They are record locks, as dpkg's are: flock would not exclude it. The outer one first, in
    /// dpkg's order, so that a frontend between two calls of dpkg keeps its turn.
    ///
    /// # Errors
    /// When a signal ends the wait, or a lock file cannot be opened or locked.
    pub fn acquire(admin_dir: &Path) -> Result<Self> {
        if !admin_dir.is_dir() {
            log::warn!("there is no {}: nothing keeps packages from changing meanwhile", admin_dir.display());
            return Ok(Self { _files: Vec::new() });
        }
        let mut files = Vec::new();
        for name in ["lock-frontend", "lock"] {
            let path = admin_dir.join(name);
            if !path.is_file() {
                continue; // older than lock-frontend, or dpkg has never run
            }
            let file = match File::options().read(true).write(true).open(&path) {
                // What cannot be written to does not change either (I6).
                Err(error) if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem => continue,
                file => file.during("open", &path)?,
            };
            wait_for(&file, &path)?;
            files.push(file);
        }
        Ok(Self { _files: files })
    }
}

fn wait_for(file: &File, path: &Path) -> Result<()> {
    let mut told = false;
    loop {
        match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::ACCESS | Errno::AGAIN) => {}
            Err(source) => return Err(Error::io("lock", path, source)),
        }
        if !told {
            log::warn!("waiting until the package manager, which holds {}, has ended", path.display());
            told = true;
        }
        command::sleep(Duration::from_millis(250))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // D36
    #[test]
    fn a_second_run_in_the_same_folder_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::acquire(folder.path()).unwrap();
        let refused = FolderLock::acquire(folder.path()).unwrap_err();
        assert!(refused.to_string().contains("another run"), "{refused}");
        drop(first);
        FolderLock::acquire(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
