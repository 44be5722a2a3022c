//! Access to the source tree, which is hostile: nothing in it can lead out of it or block.
//!
//! Every directory is opened from the root's descriptor with openat2(2), which refuses symbolic links
//! and steps upwards, and everything else by its name in such a directory without following links.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use super::le::narrow;
use super::xattr::{MAX_VALUE, Xattr};
use crate::error::{Error, Result};

/// Kept below PATH_MAX (4096), which counts the final zero byte.
const LONGEST_PATH: usize = 4000;
/// openat2 fails with EAGAIN when something is renamed while it looks; the manual says to try again.
const ATTEMPTS: usize = 100;

/// The root of the source tree.
pub(super) struct Source {
    root: OwnedFd,
    path: PathBuf,
}

impl Source {
    /// Opens the directory at `path`; a symbolic link there is followed, as the caller named it.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| Error::io("open", path, e))?;
        Ok(Self { root, path: path.to_owned() })
    }

    /// The name to show for something in the tree.
    pub(super) fn shown(&self, relative: &Path) -> PathBuf {
        self.path.join(relative)
    }

    /// Opens a directory of the tree. The path may be longer than the kernel takes at once.
    pub(super) fn directory(&self, relative: &Path) -> io::Result<OwnedFd> {
        let mut piece = PathBuf::new();
        let mut reached: Option<OwnedFd> = None;
        for component in relative.components() {
            let Component::Normal(name) = component else { continue };
            if piece.as_os_str().len() + name.len() >= LONGEST_PATH {
                reached = Some(open_beneath(reached.as_ref().unwrap_or(&self.root), &piece)?);
                piece.clear();
            }
            piece.push(name);
        }
        if piece.as_os_str().is_empty() {
            piece.push(".");
        }
        open_beneath(reached.as_ref().unwrap_or(&self.root), &piece)
    }
}

fn open_beneath(directory: &OwnedFd, relative: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..ATTEMPTS {
        match openat2(directory, relative, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            result => return Ok(result?),
        }
    }
    Err(Errno::AGAIN.into())
}

/// Opens a regular file for reading, leaving its access time alone where that is allowed. It may have
/// been replaced meanwhile, so the caller has to look at what it got; not even a fifo blocks here.
pub(super) fn open_file(directory: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match openat(directory, name, flags | OFlags::NOATIME, Mode::empty()) {
        // Only the owner and root may leave the access time alone.
        Err(Errno::PERM) => Ok(openat(directory, name, flags, Mode::empty())?),
        result => Ok(result?),
    }
}

/// The extended attributes of the file `name`, and whether it has some that squashfs cannot store.
///
/// Linux lists them by path or by a descriptor that was opened for reading, and only a path works for
/// links, devices and fifos: so it goes through the directory's entry in /proc/self/fd.
pub(super) fn xattrs(
    directory: &OwnedFd,
    name: &OsStr,
    buffer: &mut Vec<u8>,
) -> io::Result<(Vec<Xattr>, bool)> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_encoded_bytes());
    let names = loop {
        buffer.resize(narrow(MAX_VALUE), 0);
        match rustix::fs::llistxattr(&path[..], &mut buffer[..]) {
            Ok(0) | Err(Errno::NOTSUP) => return Ok((Vec::new(), false)),
            Ok(length) => break buffer[..length].to_vec(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    let mut set = Vec::new();
    let mut lost = false;
    for full_name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        if Xattr::new(full_name, Vec::new()).is_none() {
            lost = true;
            continue;
        }
        match rustix::fs::lgetxattr(&path[..], full_name, &mut buffer[..]) {
            Ok(length) => set.extend(Xattr::new(full_name, buffer[..length].to_vec())),
            // Removed meanwhile.
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((set, lost))
}

/// Whether an error says that a file is no longer where, or what, it was.
pub(super) fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::NXIO, Errno::STALE];
    error.raw_os_error().is_some_and(|code| gone.iter().any(|errno| errno.raw_os_error() == code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_symbolic_link_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink("/etc", folder.path().join("a/out")).unwrap();
        std::os::unix::fs::symlink("b", folder.path().join("a/in")).unwrap();
        let source = Source::open(folder.path()).unwrap();
        assert!(source.directory(Path::new("")).is_ok());
        let directory = source.directory(Path::new("a")).unwrap();
        assert!(source.directory(Path::new("a/b")).is_ok());
        for link in ["a/out", "a/in", "a/missing"] {
            assert!(is_gone(&source.directory(Path::new(link)).unwrap_err()), "{link}");
        }
        assert!(is_gone(&open_file(&directory, OsStr::new("out")).unwrap_err()));
    }

    #[test]
    fn a_fifo_does_not_block() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Source::open(folder.path()).unwrap().directory(Path::new("")).unwrap();
        rustix::fs::mknodat(&directory, "fifo", rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(open_file(&directory, OsStr::new("fifo")).is_ok());
    }

    #[test]
    fn a_path_may_be_longer_than_the_kernel_takes_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::open(folder.path()).unwrap();
        let mut path = PathBuf::new();
        let mut directory = source.directory(&path).unwrap();
        for _ in 0..40 {
            let name = "d".repeat(200);
            rustix::fs::mkdirat(&directory, &name, Mode::RWXU).unwrap();
            directory = openat(&directory, &name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
            path.push(name);
        }
        rustix::fs::mkdirat(&directory, "end", Mode::RWXU).unwrap();
        assert!(source.directory(&path.join("end")).is_ok());
        assert!(is_gone(&source.directory(&path.join("other")).unwrap_err()));
    }
}
