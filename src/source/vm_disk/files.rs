//! The files that a virtual disk consists of, opened only where they may lie.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{During, Error, Result, shown};
use crate::sys::range_lock;

/// Where the files may lie that a disk image refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackingFiles {
    /// In the folder of the image or below it: whoever made the image cannot make us read other files.
    #[default]
    InFolder,
    /// Anywhere on this machine: the admin trusts the image.
    Anywhere,
}

/// Opens the files that images refer to.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    allowed: BackingFiles,
}

impl Files {
    /// For the image at `path`. If that is a link, the folder is that of the file itself.
    pub(super) fn around(path: &Path, allowed: BackingFiles) -> Result<Self> {
        let real = path.canonicalize().during("look up", path)?;
        let folder = real.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Self { folder, allowed })
    }

    /// Opens the file that `image` calls `name`; `role` says for messages what it is. With its path.
    pub(super) fn open(&self, image: &Path, name: &[u8], role: &str) -> Result<(File, PathBuf)> {
        let shown_name = shown(OsStr::from_bytes(name));
        let failed = |reason: String| Error::new(format!("use the {role} of"), image, reason);
        let name = name.strip_prefix(b"file:").unwrap_or(name);
        // QEMU takes what stands before a colon for a protocol, unless a slash comes first.
        let protocol = name.iter().position(|&byte| byte == b':');
        let slash = name.iter().position(|&byte| byte == b'/');
        if name.is_empty() || protocol.is_some_and(|colon| slash.is_none_or(|slash| colon < slash)) {
            return Err(failed(format!("it is {shown_name}, which is no file")).hint(super::convert(image)));
        }
        let real = image.canonicalize().during("look up", image)?;
        let path = real.parent().unwrap_or(Path::new("/")).join(OsStr::from_bytes(name));
        let path = path.canonicalize().map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => failed(format!("{} is missing", shown(&path)))
                .hint("put it back there, or change where the image looks for it with `qemu-img rebase -u`"),
            _ => failed(format!("{}: {source}", shown(&path))),
        })?;
        if self.allowed == BackingFiles::InFolder && !path.starts_with(&self.folder) {
            return Err(failed(format!("{} lies outside of {}", shown(&path), shown(&self.folder))).hint(
                "an image could make the server read any of its files so; if you trust it, give \
                 --trust-backing-files (TRUST_BACKING_FILES=1), or make it independent with \
                 `qemu-img convert -O qcow2`",
            ));
        }
        let file = open_disk(&path)?;
        refuse_running(&file, &path)?;
        Ok((file, path))
    }
}

/// Opens a regular file or block device, and nothing else: a pipe would have us wait.
///
/// # Errors
/// When it is something else, or a block device that is in use.
pub fn open_disk(path: &Path) -> Result<File> {
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = File::options().read(true).custom_flags(nonblocking).open(path).during("open", path)?;
    let kind = file.metadata().during("look up", path)?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    if kind.is_block_device() {
        let exclusive = i32::try_from(rustix::fs::OFlags::EXCL.bits()).unwrap_or(0);
        // Mounted elsewhere, it changes while we read.
        return match File::options().read(true).custom_flags(nonblocking | exclusive).open(path) {
            Ok(_) => Ok(file),
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                Err(Error::new("read the disk", path, "it is in use on this server")
                    .hint("if it is mounted, give its mount point as the source, or unmount it"))
            }
            Err(error) => Err(Error::io("open", path, error)),
        };
    }
    Err(Error::new("read", path, "it is neither a file nor a block device"))
}

/// The byte on which QEMU holds a lock for as long as it may write to an image (block/file-posix.c:
/// RAW_LOCK_PERM_BASE and BLK_PERM_WRITE).
const WRITERS_LOCK: i64 = 101;

/// Refuses an image that a virtual machine is writing to: what is read would be half old and half new.
pub(super) fn refuse_running(file: &File, path: &Path) -> Result<()> {
    match range_lock::is_locked(file, WRITERS_LOCK).during("look for locks on", path)? {
        true => Err(running(path)),
        false => Ok(()),
    }
}

/// The error for such an image.
pub(super) fn running(path: &Path) -> Error {
    Error::new("read the disk", path, "a virtual machine is using it")
        .hint("shut the virtual machine down first")
}

/// Warns of a disk that VMware has marked as in use. The mark may be left from a crash.
pub(super) fn warn_of_vmware(path: &Path) {
    let mut mark = path.as_os_str().to_owned();
    mark.push(".lck");
    if Path::new(&mark).is_dir() {
        log::warn!("{} may be in use by a virtual machine of VMware: there is {}", shown(path), shown(&mark));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A folder with an image and a backing file, beside it a secret.
    fn world() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap().join("vm");
        std::fs::create_dir_all(folder.join("base")).unwrap();
        for file in ["disk.qcow2", "base/old.qcow2", "../secret"] {
            std::fs::write(folder.join(file), file).unwrap();
        }
        symlink("../secret", folder.join("link")).unwrap();
        (dir, folder)
    }

    fn open(folder: &Path, allowed: BackingFiles, name: &str) -> Result<PathBuf> {
        let image = folder.join("disk.qcow2");
        let files = Files::around(&image, allowed)?;
        Ok(files.open(&image, name.as_bytes(), "backing file")?.1)
    }

    #[test]
    fn files_below_the_folder_are_opened_by_relative_and_absolute_names() {
        let (_dir, folder) = world();
        let base = folder.join("base/old.qcow2");
        for name in ["base/old.qcow2", "file:base/old.qcow2", "../vm/base/old.qcow2", base.to_str().unwrap()]
        {
            assert_eq!(open(&folder, BackingFiles::InFolder, name).unwrap(), base);
        }
    }

    #[test]
    fn files_outside_are_opened_only_if_that_is_allowed() {
        let (_dir, folder) = world();
        for name in ["../secret", "link", "/etc/passwd", "/dev/null", "base/../../secret"] {
            let error = open(&folder, BackingFiles::InFolder, name).unwrap_err().to_string();
            assert!(error.contains("lies outside of"), "{error}");
        }
        assert!(open(&folder, BackingFiles::Anywhere, "../secret").is_ok());
        assert!(open(&folder, BackingFiles::Anywhere, "/dev/null").is_err());
    }

    #[test]
    fn what_is_missing_or_no_file_is_named() {
        let (_dir, folder) = world();
        for (name, reason) in [
            ("gone.qcow2", "gone.qcow2 is missing"),
            ("nbd://host/x", "no file"),
            ("json:{\"driver\":\"file\"}", "no file"),
            ("", "no file"),
        ] {
            for allowed in [BackingFiles::InFolder, BackingFiles::Anywhere] {
                let error = open(&folder, allowed, name).unwrap_err().to_string();
                assert!(error.contains(reason) && error.contains("disk.qcow2"), "{error}");
            }
        }
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.join("pipe"), rustix::fs::Mode::from(0o600)).unwrap();
        assert!(open(&folder, BackingFiles::InFolder, "pipe").is_err());
        assert!(open(&folder, BackingFiles::InFolder, "base").is_err());
    }
}
