//! A virtual disk as a plain file or block device, made by QEMU's tools.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{During, Error, Result};
use crate::source::vm_disk::{fuse, nbd};
use crate::sys::daemon::Daemon;
use crate::sys::mount::Mount;

/// How long opening a disk may take; on a slow network file system it takes seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// The export. On drop it is unmounted and the program ended; the kernel ends it if we die.
#[derive(Debug)]
pub(super) struct Export {
    // The order of these fields is the order of the teardown.
    _mount: Option<Mount>,
    _daemon: Daemon,
    path: PathBuf,
}

impl Export {
    /// Exports the disk of this node, for which the program inherits `files`; it may use the empty
    /// directory `place`.
    ///
    /// # Errors
    /// When the tools or the drivers for both ways are missing, or the disk cannot be opened.
    pub(super) fn start(node: &str, files: Vec<OwnedFd>, place: &Path) -> Result<Self> {
        let Some(obstacle) = fuse::obstacle() else { return fuse::start(node, files, place) };
        if nbd::is_there() {
            log::info!("the disk is read through qemu-nbd, because {}", obstacle.reason);
            return nbd::start(node, files, place);
        }
        Err(Error::said(format!("{}, and nbd is no way either", obstacle.reason)).hint(obstacle.remedy))
    }

    /// What a program of ours has made at `path`: as a mount, if there is one.
    pub(super) fn new(mount: Option<Mount>, daemon: Daemon, path: PathBuf) -> Self {
        Self { _mount: mount, _daemon: daemon, path }
    }

    /// The disk's content.
    pub(super) fn open(&self) -> Result<File> {
        File::open(&self.path).during("open", &self.path)
    }
}
