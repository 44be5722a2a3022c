//! Several sources, one over the other, without a writable layer (S27).

use std::collections::VecDeque;
use std::path::Path;

use crate::error::Result;
use crate::sys::mount::Mount;
use crate::sys::temp_dir::TempDir;

/// The sources themselves at one place: what is written there is written to them. To be made in a private
/// mount namespace ([`crate::sys::namespace::private_mounts`]).
///
/// On drop everything is unmounted, the last mount first, and the temporary directory is removed.
#[derive(Debug)]
pub struct InPlace {
    // The order of these fields is the order of the teardown; the deque's first was made last.
    mounts: VecDeque<Mount>,
    dir: TempDir,
}

impl InPlace {
    /// # Errors
    /// When the temporary directory cannot be made, or the directory cannot be mounted in it.
    pub fn new(root: &Path) -> Result<Self> {
        let mut place = Self { mounts: VecDeque::new(), dir: TempDir::new("ltsp-view.")? };
        place.add(root, Path::new(""))?;
        Ok(place)
    }

    /// Puts a directory over the directory `target` of the sources so far: relative, without links.
    ///
    /// # Errors
    /// When it cannot be mounted there.
    pub fn add(&mut self, directory: &Path, target: &Path) -> Result<()> {
        let mount = Mount::bind(directory, &self.root().join(target))?;
        self.mounts.push_front(mount);
        Ok(())
    }

    /// Where they are.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }
}
