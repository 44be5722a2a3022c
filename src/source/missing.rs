//! File systems that a root's fstab asks for and that are not there.

use std::path::Path;

use crate::error::{Error, Result, shown};
use crate::source::fstab::Entry;
use crate::source::layers::Layers;

/// What was not found so far. A later element of the source list may bring it yet.
#[derive(Debug, Default)]
pub struct Missing(Vec<(Entry, String)>);

impl Missing {
    /// Notes that an entry's file system could not be had. What the system starts without as well is only
    /// told.
    pub fn add(&mut self, entry: &Entry, reason: String) {
        if entry.optional {
            log::info!("left out: {reason}");
        } else {
            self.0.push((entry.clone(), reason));
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
        for (entry, reason) in self.0.iter().filter(|(entry, _)| !brought(&entry.target)) {
            let target = &entry.target;
            if target == Path::new("usr") {
                return Err(Error::said(format!("the programs of the root are elsewhere: {reason}"))
                    .hint("add it as ,,IMAGE,subdir=usr"));
            }
            // Paths without a slash at their beginning are those of what is mounted so far (S3).
            let own = Path::new(&entry.spec).strip_prefix("/").ok().filter(|_| entry.bind);
            let how = match own {
                Some(directory) => format!("add it as ,,{}", shown(directory)),
                // No writable view can be laid over it.
                None if entry.is_vfat => "add a copy of it as ,,DIRECTORY".to_owned(),
                None => "add it as ,,IMAGE".to_owned(),
            };
            log::warn!("left out: {reason}; if it has to be there, {how},subdir={}", shown(target));
        }
        Ok(())
    }
}
