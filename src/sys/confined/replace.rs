//! A new file in the place of another one, inside a root.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, fchmod, fchown, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::Root;
use crate::error::{During, Error, Result};

/// Whose a new file is, and who may do what with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: u32,
    /// User id of the owner.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Attributes {
    /// A file of root's with these permission bits.
    pub fn of_root(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0 }
    }
}

impl Root {
    /// Puts a new file in the place of `relative` by one rename: what was there, were it a link, is no
    /// longer there and was not written to. Links in the path of its folder are followed.
    ///
    /// # Errors
    /// When its folder does not exist, a directory is in its place, or it cannot be written; then nothing
    /// has changed.
    pub fn replace(&self, relative: impl AsRef<Path>, content: &[u8], attributes: Attributes) -> Result<()> {
        let relative = relative.as_ref();
        let path = self.shown(relative);
        let (folder, name) = self.parent(relative)?;
        let Some(folder) = folder else {
            return Err(Error::new("write", path, "its folder does not exist"));
        };
        let mut temporary = OsString::from(".");
        temporary.push(&name);
        temporary.push(format!(".new-{}", std::process::id()));
        match unlinkat(&folder, &temporary, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(source) => return Err(Error::io("write", path, source)),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&folder, &temporary, flags, Mode::from(0o600)).during("write", &path)?;
        let written = fill(&file.into(), content, attributes)
            .and_then(|()| renameat(&folder, &temporary, &folder, &name).map_err(std::io::Error::from));
        written.map_err(|source| {
            // What is reported is why it could not be written.
            let _ = unlinkat(&folder, &temporary, AtFlags::empty());
            Error::io("write", path, source)
        })
    }
}

/// The mode last: a change of the owner takes bits of it away.
fn fill(mut file: &File, content: &[u8], attributes: Attributes) -> std::io::Result<()> {
    file.write_all(content)?;
    fchown(file, Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)))?;
    fchmod(file, Mode::from(attributes.mode))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn a_link_is_replaced_and_its_target_stays() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("root/etc")).unwrap();
        fs::write(dir.path().join("secret"), "host").unwrap();
        let root = Root::open(&dir.path().join("root")).unwrap();
        symlink(dir.path().join("secret"), root.shown("etc/shadow")).unwrap();
        symlink("/etc", root.shown("link")).unwrap();
        let us = fs::metadata(dir.path()).unwrap();
        let attributes = Attributes { mode: 0o640, uid: us.uid(), gid: us.gid() };
        root.replace("link/shadow", b"new", attributes).unwrap();
        let status = fs::symlink_metadata(root.shown("etc/shadow")).unwrap();
        assert!(status.is_file());
        assert_eq!(status.mode() & 0o7777, 0o640);
        assert_eq!(fs::read(root.shown("etc/shadow")).unwrap(), b"new");
        assert_eq!(fs::read(dir.path().join("secret")).unwrap(), b"host");
    }

    #[test]
    fn a_failure_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("etc/passwd")).unwrap();
        let us = fs::metadata(dir.path()).unwrap();
        let attributes = Attributes { mode: 0o644, uid: us.uid(), gid: us.gid() };
        let root = Root::open(dir.path()).unwrap();
        let error = root.replace("etc/passwd", b"new", attributes).unwrap_err().to_string();
        assert!(error.contains("etc/passwd: Is a directory"), "{error}");
        let names: Vec<_> = root.entries("etc").unwrap().unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(names, ["passwd"]);
        let error = root.replace("nothing/passwd", b"new", attributes).unwrap_err().to_string();
        assert!(error.ends_with("its folder does not exist"), "{error}");
    }
}
