//! File systems that a root's fstab asks for and that are not there.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result, shown};
use crate::source::fstab::Entry;
use crate::source::layers::Layers;

/// What was not found so far. A later element of the source list may bring it yet.
#[derive(Debug, Default)]
pub struct Missing(Vec<(PathBuf, String)>);

impl Missing {
    /// Notes that an entry's file system could not be had. What the system starts without as well is only
    /// told.
    pub fn add(&mut self, entry: &Entry, reason: String) {
        if entry.optional {
            log::info!("left out: {reason}");
        } else {
            self.0.push((entry.target.clone(), reason));
        }
    }

    /// Forgets all: there is another root.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Tells what is still missing in these layers.
    ///
    /// # Errors
    /// When the system would be nothing without it: for `/usr`.
    pub fn tell(&self, layers: &Layers) -> Result<()> {
        let brought = |target: &Path| layers.all().iter().any(|layer| layer.target == target);
        for (target, reason) in self.0.iter().filter(|(target, _)| !brought(target)) {
            if target == Path::new("usr") {
                return Err(Error::said(format!("the programs of the root are elsewhere: {reason}"))
                    .hint("add it as ,,IMAGE,subdir=usr"));
            }
            log::warn!(
                "left out: {reason}; if it has to be there, add it as ,,IMAGE,subdir={}",
                shown(target)
            );
        }
        Ok(())
    }
}
