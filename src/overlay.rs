//! A writable view of a chroot and of the file systems mounted in it (3.5 of the specification).

mod attributes;
mod in_place;
mod submounts;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::{During, Result, shown};
use crate::sys::confined::Root;
use crate::sys::mount::Mount;
use crate::sys::temp_dir::TempDir;

pub use in_place::InPlace;

/// The view. What is written there stays in memory and goes with it; the chroot is only read (U62).
///
/// It is made of overlays, one for the chroot and one for each of its submounts (D1, U54), whose
/// writable layers lie on a tmpfs: an overlay misbehaves when its layers share a file system with what
/// it shows, and a tmpfs needs no tidying up (U53). It has to be made in a private mount namespace
/// ([`crate::sys::namespace::private_mounts`]).
///
/// On drop everything is unmounted, the last mount first, and the temporary directory is removed (U65).
#[derive(Debug)]
pub struct View {
    // The order of these fields is the order of the teardown.
    submounts: VecDeque<Mount>,
    _chroot: Mount,
    _memory: Mount,
    _dir: TempDir,
    root: PathBuf,
}

impl View {
    /// A view of `chroot` without the submounts named in `excluded_mounts` (U57, D12): their mount
    /// points as the mount table has them, compared literally.
    ///
    /// It shows the others that are file systems on a disk: btrfs and ext*, as the original (U56), and
    /// bcachefs, f2fs, jfs, nilfs2, reiser4, reiserfs, xfs and zfs. Of any other one the directory shows that
    /// lies under it.
    ///
    /// # Errors
    /// When the chroot cannot be looked up, the kernel has no overlay or tmpfs (U52), or cannot put an
    /// overlay on one of the file systems.
    pub fn new(chroot: &Path, excluded_mounts: &[PathBuf]) -> Result<Self> {
        let chroot = chroot.canonicalize().during("look up", chroot)?;
        // Before there are mounts of our own.
        let submounts = submounts::of(&chroot, excluded_mounts)?;
        let dir = TempDir::new("ltsp-view.")?;
        // Mount points are compared below, and TMPDIR may lead through a link.
        let place = dir.path().canonicalize().during("look up", dir.path())?;
        let memory = Mount::tmpfs(&place)?;
        let root = place.join("root");
        make_dir(&root)?;
        let overlay = over(&chroot, &place, 0, &root)?;
        let mut view =
            Self { submounts: VecDeque::new(), _chroot: overlay, _memory: memory, _dir: dir, root };
        view.take_in(&chroot, Path::new(""), submounts)?;
        view.hide(&chroot, &place)?;
        Ok(view)
    }

    /// Puts a view of another directory, or of the root of a mounted file system, over the directory
    /// `target` of this one: relative, without links. With `own_submounts` the file systems that are
    /// mounted in it are taken in, as those of the chroot are.
    ///
    /// # Errors
    /// As for [`View::new`], and when there is no such directory.
    pub fn add(&mut self, lower: &Path, target: &Path, own_submounts: bool) -> Result<()> {
        let lower = lower.canonicalize().during("look up", lower)?;
        let submounts = if own_submounts { submounts::of(&lower, &[])? } else { Vec::new() };
        self.put(&lower, &self.root.join(target))?;
        self.take_in(&lower, target, submounts)
    }

    /// Takes in file systems that are mounted in `lower`, which is seen at `place` in the view.
    fn take_in(&mut self, lower: &Path, place: &Path, submounts: Vec<(PathBuf, OsString)>) -> Result<()> {
        for (path, fstype) in submounts {
            let Ok(relative) = path.strip_prefix(lower) else { continue };
            let target = self.root.join(place).join(relative);
            // Its parent may be a mount that the view does not have, or has another one of.
            if !target.is_dir() || !target.canonicalize().is_ok_and(|real| real == target) {
                log::warn!(
                    "{} stays out of the image: the directory on which it is mounted does",
                    shown(&path)
                );
                continue;
            }
            log::debug!("taking in {} ({})", shown(&path), shown(&fstype));
            self.put(&path, &target)?;
        }
        Ok(())
    }

    fn put(&mut self, lower: &Path, target: &Path) -> Result<()> {
        let place = self.root.parent().unwrap_or(Path::new("/"));
        let overlay = over(lower, place, self.submounts.len() + 1, target)?;
        self.submounts.push_front(overlay);
        Ok(())
    }

    /// Where the view's root directory is on the host: a temporary place.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// If our own temporary directory lies in the chroot (which `/tmp` does if that is `/`), its mount
    /// point is one of the chroot's directories; the view need not show it.
    fn hide(&self, chroot: &Path, place: &Path) -> Result<()> {
        match place.strip_prefix(chroot) {
            Ok(relative) => Root::open(&self.root)?.remove_dir(relative).map(drop),
            Err(_) => Ok(()),
        }
    }
}

/// One overlay over `lower`, its layers in `place`.
fn over(lower: &Path, place: &Path, number: usize, target: &Path) -> Result<Mount> {
    let layer = place.join(number.to_string());
    let (upper, work) = (layer.join("upper"), layer.join("work"));
    for dir in [&layer, &upper, &work] {
        make_dir(dir)?;
    }
    // An overlay's root directory looks like its upper layer, whatever the lower one looks like. Its
    // time is that of the view, as in the original: the view is a new thing.
    attributes::copy(lower, &upper)?;
    Mount::overlay(lower, &upper, &work, target)
}

fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir(path).during("make the directory", path)
}
