//! The source of an image, mounted and put together in one writable view.

use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

use crate::config::settings::{ImageSettings, Step};
use crate::error::{During, Error, Result};
use crate::overlay::View;
use crate::run::kernels::{backing, whole_view};
use crate::source::lookup::Found;
use crate::source::mounted::Mounted;
use crate::sys::lock::{DPKG_LOCK, PackageLock};

/// Whether package managers are kept out of a directory source meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packages {
    /// Yes, after waiting for those that run.
    Locked,
    /// No: nothing is made of it.
    Free,
}

/// The view goes first, the lock last (I39).
#[derive(Debug)]
pub(super) struct Opened {
    pub view: View,
    pub mounted: Mounted,
    /// The lock that is to be held, if one is (I5).
    pub lock: Option<PathBuf>,
    _packages: Option<PackageLock>,
}

impl Opened {
    /// Mounts a source as the settings say. Of its own it changes nothing.
    ///
    /// # Errors
    /// When it cannot be mounted, or is to be cleaned and cannot be written to.
    pub fn new(source: &Found, settings: &ImageSettings, packages: Packages) -> Result<Self> {
        let backing = backing(settings.trust_backing_files);
        let mounted = if settings.overlay {
            Mounted::new(source, backing)?
        } else {
            Mounted::writable(source, backing)?
        };
        // What is added to a root is no system that packages are installed in.
        let directory = mounted.layers().first().filter(|layer| layer.is_directory);
        let directory = directory.filter(|_| !settings.omitted.contains(&Step::Lock));
        let held = match directory {
            Some(layer) if packages == Packages::Locked => Some(PackageLock::acquire(&layer.open()?)?),
            _ => None,
        };
        let lock = directory.map(|layer| layer.lower.join(DPKG_LOCK));
        let view = whole_view(&mounted, settings.overlay)?;
        let opened = Self { view, mounted, lock, _packages: held };
        if settings.cleanup {
            opened.check_writable(&source.path)?;
        }
        Ok(opened)
    }

    /// Without an overlay, the source itself has to be writable (S27).
    fn check_writable(&self, source: &Path) -> Result<()> {
        let root = self.view.root();
        let status = statvfs(root).during("look up the file system of", source)?;
        if !status.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Ok(());
        }
        let reason = "with OVERLAY=0 the source itself is cleaned, and it is mounted read-only";
        Err(Error::new("clean up", source, reason).hint(
            "leave out OVERLAY=0, or switch cleaning off (--cleanup=0); of a disk that nobody needs any more, \
             give the mount option rw",
        ))
    }
}
