//! Locks against other runs and against the package manager; both end with the process.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, StatVfsMountFlags, fcntl_lock, flock, fstatvfs};
use rustix::io::Errno;

use crate::error::{During, Error, Result, shown};
use crate::sys::command;
use crate::sys::confined::Root;

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

/// In dpkg's order: the outer one first, so that a frontend between two calls of dpkg keeps its turn.
/// The original takes the inner one alone (I5), and gets in between these calls, when packages are half
/// installed.
const LOCKS: [&str; 2] = ["var/lib/dpkg/lock-frontend", "var/lib/dpkg/lock"];

/// dpkg's and apt's own locks, so that no package changes while a root is read (U60, D21, I5).
#[derive(Debug)]
pub struct PackageLock {
    _files: Vec<File>,
}

impl PackageLock {
    /// Waits, with a message, until the package manager of a root has ended, and keeps it from starting.
    /// Where there is nothing to lock, or the file system is read-only, there is a warning instead (I6).
    ///
    /// They are record locks, as dpkg's are: flock would not exclude it. Such a lock ends when the process
    /// closes *any* descriptor of the file (fcntl(2)), so nothing else of this process may open it.
    ///
    /// # Errors
    /// When a signal ends the wait, or a lock file cannot be opened or locked.
    pub fn acquire(root: &Root) -> Result<Self> {
        let mut files = Vec::new();
        for name in LOCKS {
            let path = root.shown(name);
            if is_read_only(root, name)? {
                log::warn!("cannot lock {}, its file system is read-only: {UNLOCKED}", shown(&path));
                return Ok(Self { _files: files });
            }
            let Some(file) = root.open_for_locking(name)? else { continue }; // older than lock-frontend
            wait_for(&file, &path)?;
            files.push(file);
        }
        if files.is_empty() {
            log::warn!("there is no {}: {UNLOCKED}", shown(root.shown(LOCKS[1])));
        }
        Ok(Self { _files: files })
    }
}

/// Whether the file cannot be opened for writing, which a lock that excludes all others needs.
fn is_read_only(root: &Root, name: &str) -> Result<bool> {
    let Some(file) = root.open_file(name)? else { return Ok(false) };
    let status = fstatvfs(&file).during("look at the file system of", root.shown(name))?;
    Ok(status.f_flag.contains(StatVfsMountFlags::RDONLY))
}

const UNLOCKED: &str = "nothing keeps packages from changing meanwhile";

fn wait_for(file: &File, path: &Path) -> Result<()> {
    let mut told = false;
    loop {
        match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::ACCESS | Errno::AGAIN) => {}
            Err(source) => return Err(Error::io("lock", path, source)),
        }
        if !told {
            log::warn!("waiting until the package manager, which holds {}, has ended", shown(path));
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

    // I5, I6
    #[test]
    fn dpkgs_locks_are_held_in_the_root_and_never_outside_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let (chroot, outside) = (dir.path().join("chroot"), dir.path().join("outside"));
        std::fs::create_dir_all(chroot.join("data/dpkg")).unwrap();
        std::fs::create_dir_all(chroot.join("var/lib")).unwrap();
        std::os::unix::fs::symlink("/data/dpkg", chroot.join("var/lib/dpkg")).unwrap();
        let root = Root::open(&chroot).unwrap();
        assert!(PackageLock::acquire(&root).unwrap()._files.is_empty());

        std::fs::write(&outside, "").unwrap();
        std::os::unix::fs::symlink(&outside, chroot.join("data/dpkg/lock-frontend")).unwrap();
        std::fs::write(chroot.join("data/dpkg/lock"), "kept").unwrap();
        let lock = PackageLock::acquire(&root).unwrap();
        assert_eq!(lock._files.len(), 1);
        // proc_locks(5)
        let is_locked = |path: &Path| {
            let number = std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap());
            let table = std::fs::read_to_string("/proc/locks").unwrap();
            table.lines().any(|line| line.contains(" POSIX ") && line.contains(&format!(":{number} 0 EOF")))
        };
        assert!(is_locked(&chroot.join("data/dpkg/lock")));
        assert!(!is_locked(&outside));
        drop(lock);
        assert!(!is_locked(&chroot.join("data/dpkg/lock")));
        assert_eq!(std::fs::read(chroot.join("data/dpkg/lock")).unwrap(), b"kept");
    }
}
