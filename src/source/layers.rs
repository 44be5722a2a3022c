//! File systems and directories that make up one root, each at its place in it.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::sys::confined::Root;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Where it can be read, without what goes over it.
    pub lower: PathBuf,
    /// Its place in the root: relative, without links; empty: it is the root.
    pub target: PathBuf,
    /// It is a directory of this server: file systems that are mounted in it belong to it (U3).
    pub is_directory: bool,
    /// It is there because the root's own fstab asks for it (U3).
    pub by_fstab: bool,
    /// What it is, for messages: a path, or a part of a disk.
    pub what: String,
}

impl Layer {
    /// Its root, which messages call what it is.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(&self) -> Result<Root> {
        Ok(Root::open(&self.lower)?.known_as(self.what.as_ref()))
    }
}

/// All of them, lower ones first. None of them shows what the others put into it.
#[derive(Debug, Default)]
pub struct Layers(Vec<Layer>);

impl Layers {
    /// Puts a layer on top. What lay at its place or below is hidden by it, and goes (S4).
    pub fn push(&mut self, layer: Layer) {
        self.0.retain(|hidden| !hidden.target.starts_with(&layer.target));
        self.0.push(layer);
    }

    /// The layers; the first is the root.
    pub fn all(&self) -> &[Layer] {
        &self.0
    }

    /// The path of a file in what the layers make up together, after all links: in which layer, and there
    /// where. None if there is no such file, or no layer yet.
    ///
    /// A link that leads from one layer into another is not followed; it never leads out of its own.
    ///
    /// # Errors
    /// When it cannot be looked up.
    pub fn find(&self, path: &Path) -> Result<Option<(&Layer, PathBuf)>> {
        let path = path.strip_prefix("/").unwrap_or(path);
        // A longer target goes before a shorter one: it lies over it.
        let covering = self.0.iter().filter(|layer| path.starts_with(&layer.target));
        let Some(layer) = covering.max_by_key(|layer| layer.target.components().count()) else {
            return Ok(None);
        };
        let rest = path.strip_prefix(&layer.target).unwrap_or(path);
        let real = layer.open()?.real_path(rest)?;
        Ok(real.map(|real| (layer, real)))
    }

    /// The place of a directory in what the layers make up together: relative, without links. None if there
    /// is no such directory.
    ///
    /// # Errors
    /// When it cannot be looked up.
    pub fn directory(&self, path: &Path) -> Result<Option<PathBuf>> {
        let Some((layer, real)) = self.find(path)? else { return Ok(None) };
        let is_dir = layer.open()?.is_dir(&real)?;
        Ok(is_dir.then(|| layer.target.join(&real)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn layers() -> (tempfile::TempDir, Layers) {
        let dir = tempfile::tempdir().unwrap();
        for directory in ["root/boot/efi", "root/var/lib", "boot/grub", "other"] {
            std::fs::create_dir_all(dir.path().join(directory)).unwrap();
        }
        std::fs::write(dir.path().join("boot/vmlinuz"), "").unwrap();
        symlink("/etc", dir.path().join("root/out")).unwrap();
        symlink("var/lib", dir.path().join("root/lib")).unwrap();
        symlink("../../etc", dir.path().join("boot/out")).unwrap();
        let mut layers = Layers::default();
        for (lower, target) in [("root", ""), ("boot", "boot")] {
            layers.push(layer(dir.path(), lower, target));
        }
        (dir, layers)
    }

    fn layer(dir: &Path, lower: &str, target: &str) -> Layer {
        let (lower, what) = (dir.join(lower), lower.to_owned());
        Layer { lower, target: target.into(), is_directory: false, by_fstab: false, what }
    }

    // S4, S5
    #[test]
    fn directories_are_looked_up_in_the_uppermost_layer_and_never_outside() {
        let (dir, mut layers) = layers();
        for (path, place) in [
            ("", Some("")),
            ("/var/lib/", Some("var/lib")),
            ("lib", Some("var/lib")),
            ("boot/grub", Some("boot/grub")),
            ("boot/efi", None),
            ("boot/vmlinuz", None),
            ("out", None),
            ("boot/out", None),
            ("../../../etc", None),
            ("none", None),
        ] {
            let found = layers.directory(Path::new(path)).unwrap();
            assert_eq!(found, place.map(PathBuf::from), "{path}");
        }
        let (found, real) = layers.find(Path::new("boot/vmlinuz")).unwrap().unwrap();
        assert_eq!((&*found.what, real), ("boot", "vmlinuz".into()));
        layers.push(layer(dir.path(), "other", "boot"));
        assert_eq!(layers.directory(Path::new("boot/grub")).unwrap(), None);
        assert_eq!(layers.all().len(), 2);
        layers.push(layer(dir.path(), "boot", ""));
        assert_eq!(layers.all().len(), 1);
        assert_eq!(layers.directory(Path::new("grub")).unwrap(), Some("grub".into()));
    }
}
