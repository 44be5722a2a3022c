//! A private place for mount points.

use std::path::PathBuf;

use crate::error::{During, Result};
use crate::sys::mount::Mount;
use crate::sys::temp_dir::TempDir;

/// A temporary directory with a file system of its own in memory: what is made in it needs no tidying up.
/// To be used in a private mount namespace ([`crate::sys::namespace::private_mounts`]).
///
/// It is made when it is first needed: an image of `/` would have it in its own `/tmp`. On drop it is
/// unmounted and removed; what is mounted in it has to go before.
#[derive(Debug, Default)]
pub struct Workspace {
    made: Option<Made>,
    count: u32,
}

#[derive(Debug)]
struct Made {
    // The order of these fields is the order of the teardown.
    _memory: Mount,
    _dir: TempDir,
    path: PathBuf,
}

impl Workspace {
    /// A new, empty directory in it.
    ///
    /// # Errors
    /// When it cannot be made, or the kernel has no tmpfs.
    pub fn directory(&mut self) -> Result<PathBuf> {
        let made = match self.made.take() {
            Some(made) => made,
            None => Made::new()?,
        };
        let path = made.path.join(self.count.to_string());
        self.made = Some(made);
        self.count += 1;
        std::fs::create_dir(&path).during("make the directory", &path)?;
        Ok(path)
    }
}

impl Made {
    fn new() -> Result<Self> {
        let dir = TempDir::new("ltsp-source.")?;
        // TMPDIR may lead through a link, and mount points are compared.
        let path = dir.path().canonicalize().during("look up", dir.path())?;
        let memory = Mount::tmpfs(&path)?;
        Ok(Self { _memory: memory, _dir: dir, path })
    }
}
