//! Access inside a root that never leaves it, whatever links the root holds.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, unlinkat,
};
use rustix::io::Errno;

use crate::error::{During, Error, Result};

mod replace;

pub use replace::Attributes;

/// A directory as the root of its own small world: the target of an absolute link starts at it, and
/// `..` does not lead above it (openat2(2), RESOLVE_IN_ROOT).
///
/// Paths given to its methods are relative to the root; a leading `/` means the root itself. Files of
/// other types than the expected one (a fifo that would block, a device whose opening has effects) are
/// never opened.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    path: PathBuf,
    /// What messages call it.
    name: PathBuf,
}

/// The directory's descriptor (O_PATH), for what has no method here.
impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name: one path component.
    pub name: OsString,
    /// Its own type: of a link, that it is one.
    pub kind: FileType,
}

impl Root {
    /// The directory `path` of the host; a link there is followed.
    ///
    /// # Errors
    /// When it is not a directory that can be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let dir = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        Ok(Self { dir: dir.during("open", path)?, path: path.to_owned(), name: path.to_owned() })
    }

    /// The same root under the name that the admin knows: messages about a temporary view speak of the
    /// chroot that it shows.
    #[must_use]
    pub fn known_as(self, name: &Path) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// The root's own path on the host.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What messages call the root.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// What messages call `relative`.
    pub fn shown(&self, relative: impl AsRef<Path>) -> PathBuf {
        let relative = relative.as_ref();
        self.name.join(relative.strip_prefix("/").unwrap_or(relative))
    }

    /// A directory in it as a root of its own; none if there is no such directory.
    ///
    /// # Errors
    /// When it cannot be looked up.
    pub fn dir(&self, relative: impl AsRef<Path>) -> Result<Option<Self>> {
        let relative = relative.as_ref();
        let dir = self.lookup(relative, OFlags::PATH | OFlags::DIRECTORY)?;
        let path = self.path.join(relative.strip_prefix("/").unwrap_or(relative));
        Ok(dir.map(|dir| Self { dir, path, name: self.shown(relative) }))
    }

    /// The path of a file after all links, relative to the root; none if there is no such file.
    ///
    /// # Errors
    /// When it cannot be looked up.
    pub fn real_path(&self, relative: impl AsRef<Path>) -> Result<Option<PathBuf>> {
        let relative = relative.as_ref();
        let Some(fd) = self.lookup(relative, OFlags::PATH)? else { return Ok(None) };
        let path = |fd: BorrowedFd<'_>| {
            std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
                .during("look up", self.shown(relative))
        };
        let (root, path) = (path(self.as_fd())?, path(fd.as_fd())?);
        Ok(path.strip_prefix(&root).ok().map(Path::to_owned))
    }

    /// The status of a file, links followed; none if there is none.
    ///
    /// # Errors
    /// When it cannot be looked up.
    pub fn stat(&self, relative: impl AsRef<Path>) -> Result<Option<Stat>> {
        self.status(relative.as_ref(), OFlags::PATH)
    }

    /// The status of the entry itself: of a link, not of its target.
    ///
    /// # Errors
    /// When it cannot be looked up.
    pub fn lstat(&self, relative: impl AsRef<Path>) -> Result<Option<Stat>> {
        self.status(relative.as_ref(), OFlags::PATH | OFlags::NOFOLLOW)
    }

    /// Whether it is a regular file, links followed.
    ///
    /// # Errors
    /// When it cannot be looked up.
    pub fn is_file(&self, relative: impl AsRef<Path>) -> Result<bool> {
        Ok(self.stat(relative)?.is_some_and(|stat| is(&stat, FileType::RegularFile)))
    }

    /// Whether it is a directory, links followed.
    ///
    /// # Errors
    /// When it cannot be looked up.
    pub fn is_dir(&self, relative: impl AsRef<Path>) -> Result<bool> {
        Ok(self.stat(relative)?.is_some_and(|stat| is(&stat, FileType::Directory)))
    }

    /// Whether it is a regular file that somebody may execute, links followed.
    ///
    /// # Errors
    /// When it cannot be looked up.
    pub fn is_executable(&self, relative: impl AsRef<Path>) -> Result<bool> {
        Ok(self
            .stat(relative)?
            .is_some_and(|stat| is(&stat, FileType::RegularFile) && stat.st_mode & 0o111 != 0))
    }

    /// Opens a regular file for reading, links followed; none if there is no regular file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_file(&self, relative: impl AsRef<Path>) -> Result<Option<File>> {
        self.reopen(relative.as_ref(), OFlags::RDONLY)
    }

    /// Opens a regular file for reading and writing, links followed, and leaves its content; none if there
    /// is no regular file. A record lock needs such a descriptor.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_for_locking(&self, relative: impl AsRef<Path>) -> Result<Option<File>> {
        self.reopen(relative.as_ref(), OFlags::RDWR)
    }

    /// The content of a regular file, links followed; none if there is no regular file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, relative: impl AsRef<Path>) -> Result<Option<Vec<u8>>> {
        let relative = relative.as_ref();
        let Some(mut file) = self.open_file(relative)? else { return Ok(None) };
        let mut content = Vec::new();
        file.read_to_end(&mut content).during("read", self.shown(relative))?;
        Ok(Some(content))
    }

    /// The entries of a directory, links to it followed, in the order of their bytes; none if there is
    /// no directory.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn entries(&self, relative: impl AsRef<Path>) -> Result<Option<Vec<Entry>>> {
        let relative = relative.as_ref();
        let Some(fd) = self.lookup(relative, OFlags::RDONLY | OFlags::DIRECTORY)? else { return Ok(None) };
        let path = self.shown(relative);
        let mut entries = Vec::new();
        for entry in Dir::read_from(&fd).during("read", &path)? {
            let entry = entry.during("read", &path)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    match rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                        Err(Errno::NOENT) => continue, // gone since
                        Err(error) => return Err(Error::io("look up", path.join(name), error)),
                    }
                }
                kind => kind,
            };
            entries.push(Entry { name: name.to_owned(), kind });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Some(entries))
    }

    /// Gives a file new content in place, links followed: owner, mode and links stay. If there is none
    /// it is made, with mode 0644.
    ///
    /// # Errors
    /// When it cannot be written, or is something else than a regular file.
    pub fn write(&self, relative: impl AsRef<Path>, content: &[u8]) -> Result<()> {
        let relative = relative.as_ref();
        let path = self.shown(relative);
        let flags = OFlags::WRONLY | OFlags::TRUNC;
        let file = match self.reopen(relative, flags)? {
            Some(file) => Some(file),
            None if self.lstat(relative)?.is_some() => {
                let reason = "it is a link that leads nowhere, or no regular file";
                return Err(Error::new("write", path, reason));
            }
            None => self
                .lookup_with(relative, flags | OFlags::CREATE | OFlags::EXCL, Mode::from(0o644))?
                .map(File::from),
        };
        let Some(mut file) = file else {
            return Err(Error::new("write", path, "its folder does not exist"));
        };
        file.write_all(content).during("write", path)
    }

    /// Makes `relative` a link with this target, in the place of a file or link of that name.
    ///
    /// # Errors
    /// When its folder does not exist, or a directory is in its place.
    pub fn symlink(&self, target: impl AsRef<Path>, relative: impl AsRef<Path>) -> Result<()> {
        let relative = relative.as_ref();
        self.remove(relative)?;
        let (folder, name) = self.parent(relative)?;
        let Some(folder) = folder else {
            return Err(Error::new("make the link", self.shown(relative), "its folder does not exist"));
        };
        rustix::fs::symlinkat(target.as_ref(), &folder, &name).during("make the link", self.shown(relative))
    }

    /// Removes a file or link (the link itself); whether there was one.
    ///
    /// # Errors
    /// When it cannot be removed; a directory cannot.
    pub fn remove(&self, relative: impl AsRef<Path>) -> Result<bool> {
        self.unlink(relative.as_ref(), AtFlags::empty())
    }

    /// Removes an empty directory; whether there was one.
    ///
    /// # Errors
    /// When it cannot be removed, or is something else.
    pub fn remove_dir(&self, relative: impl AsRef<Path>) -> Result<bool> {
        self.unlink(relative.as_ref(), AtFlags::REMOVEDIR)
    }

    fn unlink(&self, relative: &Path, flags: AtFlags) -> Result<bool> {
        let (Some(folder), name) = self.parent(relative)? else { return Ok(false) };
        match unlinkat(&folder, &name, flags) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(Error::io("remove", self.shown(relative), error)),
        }
    }

    /// The folder of `relative`, and its last component.
    fn parent(&self, relative: &Path) -> Result<(Option<OwnedFd>, OsString)> {
        let Some(name) = relative.file_name() else {
            return Err(Error::new("change", self.shown(relative), "it is not a name inside the root"));
        };
        let folder = relative.parent().unwrap_or(Path::new(""));
        Ok((self.lookup(folder, OFlags::PATH | OFlags::DIRECTORY)?, name.to_owned()))
    }

    fn status(&self, relative: &Path, flags: OFlags) -> Result<Option<Stat>> {
        match self.lookup(relative, flags)? {
            Some(fd) => Ok(Some(fstat(&fd).during("look up", self.shown(relative))?)),
            None => Ok(None),
        }
    }

    /// Opens what turns out to be a regular file. The type is looked at through a descriptor that opens
    /// nothing (O_PATH), and that very file is then opened: no other can take its place in between.
    fn reopen(&self, relative: &Path, flags: OFlags) -> Result<Option<File>> {
        let Some(fd) = self.lookup(relative, OFlags::PATH)? else { return Ok(None) };
        let path = self.shown(relative);
        if !is(&fstat(&fd).during("look up", &path)?, FileType::RegularFile) {
            return Ok(None);
        }
        let file =
            openat(CWD, format!("/proc/self/fd/{}", fd.as_raw_fd()), flags | OFlags::CLOEXEC, Mode::empty());
        Ok(Some(File::from(file.during("open", path)?)))
    }

    fn lookup(&self, relative: &Path, flags: OFlags) -> Result<Option<OwnedFd>> {
        self.lookup_with(relative, flags, Mode::empty())
    }

    fn lookup_with(&self, relative: &Path, flags: OFlags, mode: Mode) -> Result<Option<OwnedFd>> {
        let path = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match openat2(&self.dir, path, flags | OFlags::CLOEXEC, mode, resolve) {
                Ok(fd) => return Ok(Some(fd)),
                // ELOOP: a circle of links leads nowhere, as a dangling one does.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                // A rename elsewhere while ".." was resolved: the kernel asks to try again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(Error::io("open", self.shown(relative), error)),
            }
        }
    }
}

fn is(stat: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A root with links that lead out of it, and beside it a file that must never be reached.
    fn hostile() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::write(dir.path().join("secret"), "host").unwrap();
        symlink(dir.path().join("secret"), root.join("etc/absolute")).unwrap();
        symlink("../../secret", root.join("etc/climbing")).unwrap();
        symlink("/etc/real", root.join("etc/inside")).unwrap();
        symlink("etc", root.join("dir")).unwrap();
        symlink("loop", root.join("etc/loop")).unwrap();
        std::fs::write(root.join("etc/real"), "root").unwrap();
        let root = Root::open(&root).unwrap();
        (dir, root)
    }

    #[test]
    fn links_never_lead_out_of_the_root() {
        let (dir, root) = hostile();
        for name in ["etc/absolute", "etc/climbing", "../secret", "etc/loop", "etc/real/x"] {
            assert_eq!(root.read(name).unwrap(), None, "{name}");
        }
        for name in ["etc/inside", "/etc/real", "dir/real", "../etc/real"] {
            assert_eq!(root.read(name).unwrap().as_deref(), Some(&b"root"[..]), "{name}");
        }
        assert_eq!(std::fs::read(dir.path().join("secret")).unwrap(), b"host");
    }

    #[test]
    fn the_real_path_is_one_without_links() {
        let (_dir, root) = hostile();
        for (path, real) in [
            ("dir/inside", Some("etc/real")),
            ("/", Some("")),
            ("../dir/..", Some("")),
            ("etc/absolute", None),
        ] {
            assert_eq!(root.real_path(path).unwrap(), real.map(PathBuf::from), "{path}");
        }
    }

    #[test]
    fn writing_through_a_link_stays_in_the_root_and_keeps_the_link() {
        let (dir, root) = hostile();
        root.write("etc/inside", b"new").unwrap();
        assert_eq!(root.read("etc/real").unwrap().unwrap(), b"new");
        assert!(root.write("etc/absolute", b"new").is_err());
        root.symlink("/elsewhere", "dir/absolute").unwrap();
        assert!(root.remove("etc/climbing").unwrap());
        assert!(!root.remove("etc/climbing").unwrap());
        assert_eq!(std::fs::read(dir.path().join("secret")).unwrap(), b"host");
    }

    #[test]
    fn a_fifo_is_never_opened() {
        let (_dir, root) = hostile();
        rustix::fs::mkfifoat(&root, "etc/fifo", Mode::from(0o600)).unwrap();
        assert_eq!(root.read("etc/fifo").unwrap(), None);
        assert!(root.write("etc/fifo", b"x").is_err());
    }

    #[test]
    fn entries_come_in_byte_order_with_their_own_types() {
        let (_dir, root) = hostile();
        let entries = root.entries("dir").unwrap().unwrap();
        let names: Vec<_> = entries.iter().map(|entry| entry.name.to_str().unwrap()).collect();
        assert_eq!(names, ["absolute", "climbing", "inside", "loop", "real"]);
        assert_eq!(entries[0].kind, FileType::Symlink);
        assert_eq!(entries[4].kind, FileType::RegularFile);
        assert_eq!(root.entries("nothing").unwrap(), None);
    }
}
