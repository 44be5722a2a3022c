//! A writable view of a chroot and of the file systems mounted in it (3.5 of the specification).

mod attributes;
mod submounts;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::{During, Result, shown};
use crate::sys::confined::Root;
use crate::sys::mount::Mount;
use crate::sys::temp_dir::TempDir;

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
    writes: Writes,
    taken: Vec<Submount>,
    left_out: Vec<Submount>,
    own_place: Option<PathBuf>,
}

/// Where goes what is written in a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writes {
    ToMemory,
    ToTheSource,
}

/// A file system that is mounted in the chroot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submount {
    /// Where the server has it mounted.
    pub path: PathBuf,
    /// Its place in the view: relative.
    pub place: PathBuf,
    /// Its type.
    pub fstype: OsString,
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
        Self::of(chroot, excluded_mounts, Writes::ToMemory)
    }

    /// The chroot itself, without a layer over it: what is written in this view changes the chroot, and the
    /// file systems mounted in it, for good (S27). Of what is mounted there it shows what [`View::new`] does.
    ///
    /// # Errors
    /// As for [`View::new`].
    pub fn direct(chroot: &Path) -> Result<Self> {
        Self::of(chroot, &[], Writes::ToTheSource)
    }

    fn of(chroot: &Path, excluded_mounts: &[PathBuf], writes: Writes) -> Result<Self> {
        let chroot = chroot.canonicalize().during("look up", chroot)?;
        // Before there are mounts of our own.
        let submounts = submounts::of(&chroot, excluded_mounts)?;
        let left_out = submounts::left_out(&chroot)?;
        let dir = TempDir::new("ltsp-view.")?;
        // Mount points are compared below, and TMPDIR may lead through a link.
        let place = dir.path().canonicalize().during("look up", dir.path())?;
        let memory = Mount::tmpfs(&place)?;
        let root = place.join("root");
        make_dir(&root)?;
        let mut view = Self {
            submounts: VecDeque::new(),
            _chroot: over(&chroot, &place, 0, &root, writes)?,
            _memory: memory,
            _dir: dir,
            root,
            writes,
            taken: Vec::new(),
            left_out: Vec::new(),
            own_place: None,
        };
        view.left_out = placed(left_out, &chroot, Path::new(""));
        view.take_in(&chroot, Path::new(""), submounts)?;
        view.hide(&chroot, &place)?;
        Ok(view)
    }

    /// The file systems mounted in the chroot that the view shows.
    pub fn submounts(&self) -> &[Submount] {
        &self.taken
    }

    /// Those with files of somebody that it does not show: of a network, say.
    pub fn left_out(&self) -> &[Submount] {
        &self.left_out
    }

    /// Our own temporary directory, if the view cannot but show it: relative.
    pub fn own_place(&self) -> Option<&Path> {
        self.own_place.as_deref()
    }

    /// Puts a view of another directory, or of the root of a mounted file system, over the directory
    /// `target` of this one: relative, without links. With `own_submounts` the file systems that are
    /// mounted in it are taken in, as those of the chroot are.
    ///
    /// # Errors
    /// As for [`View::new`], and when there is no such directory.
    pub fn add(&mut self, lower: &Path, target: &Path, own_submounts: bool) -> Result<()> {
        let lower = lower.canonicalize().during("look up", lower)?;
        let mut submounts = Vec::new();
        if own_submounts {
            submounts = submounts::of(&lower, &[])?;
            self.left_out.extend(placed(submounts::left_out(&lower)?, &lower, target));
        }
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
            self.taken.extend(placed(vec![(path, fstype)], lower, place));
        }
        Ok(())
    }

    fn put(&mut self, lower: &Path, target: &Path) -> Result<()> {
        let place = self.root.parent().unwrap_or(Path::new("/"));
        let overlay = over(lower, place, self.submounts.len() + 1, target, self.writes)?;
        self.submounts.push_front(overlay);
        Ok(())
    }

    /// Where the view's root directory is on the host: a temporary place.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// If our own temporary directory lies in the chroot (which `/tmp` does if that is `/`), its mount
    /// point is one of the chroot's directories; the view need not show it.
    fn hide(&mut self, chroot: &Path, place: &Path) -> Result<()> {
        let Ok(relative) = place.strip_prefix(chroot) else { return Ok(()) };
        match self.writes {
            Writes::ToMemory => Root::open(&self.root)?.remove_dir(relative).map(drop),
            Writes::ToTheSource => {
                self.own_place = Some(relative.to_owned());
                Ok(())
            }
        }
    }
}

/// File systems by their places in the view, in which `lower` is at `target`.
fn placed(mounts: Vec<(PathBuf, OsString)>, lower: &Path, target: &Path) -> Vec<Submount> {
    let placed = |(path, fstype): (PathBuf, OsString)| {
        let place = target.join(path.strip_prefix(lower).ok()?);
        Some(Submount { path, place, fstype })
    };
    mounts.into_iter().filter_map(placed).collect()
}

/// One overlay over `lower`, its layers in `place`; or `lower` itself.
fn over(lower: &Path, place: &Path, number: usize, target: &Path, writes: Writes) -> Result<Mount> {
    if writes == Writes::ToTheSource {
        return Mount::bind(lower, target);
    }
    let layer = place.join(number.to_string());
    let (upper, work) = (layer.join("upper"), layer.join("work"));
    for dir in [&layer, &upper, &work] {
        make_dir(dir)?;
    }
    // An overlay's root directory looks like its upper layer, whatever the lower one looks like. Its time is
    // new, as in the original.
    attributes::copy(lower, &upper)?;
    Mount::overlay(lower, &upper, &work, target)
}

fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir(path).during("make the directory", path)
}
