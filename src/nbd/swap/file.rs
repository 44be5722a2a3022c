//! One swap file, which nobody else can have prepared, replaced or read.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fchmod, fstat, ftruncate, openat, statat, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::error::{During, Error, Result};
use crate::sys::detach::detached;

/// How long nbd-server may take to open the file. It does so at once; if it has not by then, the
/// connection was never made.
const UNTIL_OPENED: Duration = Duration::from_secs(60);

/// How long an opened file stays: for a server that looks at it again.
const ONCE_OPENED: Duration = Duration::from_secs(10);

/// A file of zeros without blocks on the disk, of mode 0600.
///
/// On drop it is removed, if its name still is that of the same file.
#[derive(Debug)]
pub struct SwapFile {
    dir: OwnedFd,
    name: CString,
    path: PathBuf,
    file: File,
    stays: bool,
}

impl SwapFile {
    /// Makes it in a directory that is ours alone (D35): made with mode 0700 if it is missing; refused if
    /// it belongs to somebody else, or others may write in it. So nobody can have put links there. An old
    /// file of the name is removed; `size` is in MiB.
    ///
    /// # Errors
    /// When the directory is refused, or something cannot be made.
    pub fn create_in_own_dir(path: &Path, size: u64) -> Result<Self> {
        let dir = path.parent().unwrap_or(Path::new("/"));
        if let Some(above) = dir.parent() {
            fs::create_dir_all(above).during("make", above)?;
        }
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(source) if source.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::io("make", dir, source));
            }
            _ => {}
        }
        let opened = open_dir(dir, OFlags::NOFOLLOW)?;
        let found = fstat(&opened).during("look at", dir)?;
        let us = geteuid().as_raw();
        if found.st_uid != us || found.st_mode & 0o022 != 0 {
            let reason = format!(
                "it belongs to user {} and has mode {:04o}; it must belong to user {us}, who runs this, and \
                 nobody else may write in it",
                found.st_uid,
                found.st_mode & 0o7777
            );
            return Err(Error::new("make swap files in", dir, reason).hint("remove it; it is made again"));
        }
        Self::create_at(opened, path, size)
    }

    /// Makes it in any directory, which may be one for everybody, such as `/tmp`: what is there under
    /// the name is removed, and the file is made only if nothing has come in between.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path, size: u64) -> Result<Self> {
        let dir = path.parent().unwrap_or(Path::new("/"));
        Self::create_at(open_dir(dir, OFlags::empty())?, path, size)
    }

    /// Makes it under a name that nobody can guess.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create_unnamed_in(dir: &Path, size: u64) -> Result<Self> {
        let made = tempfile::Builder::new().prefix("ltsp-swap.").tempfile_in(dir);
        let made = made.during("make a swap file in", dir)?.into_temp_path();
        let path = made.keep().map_err(|source| Error::io("make a swap file in", dir, source.error))?;
        Self::create(&path, size)
    }

    fn create_at(dir: OwnedFd, path: &Path, size: u64) -> Result<Self> {
        let name = path.file_name().and_then(|name| CString::new(name.as_bytes()).ok());
        let name = name.ok_or_else(|| Error::new("make", path, "that is not the name of a file"))?;
        match unlinkat(&dir, &*name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(source) => return Err(Error::io("remove the old", path, source)),
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let private = Mode::RUSR | Mode::WUSR;
        let file = openat(&dir, &*name, flags, private).during("make", path)?;
        let swap = Self { dir, name, path: path.to_owned(), file: file.into(), stays: false };
        fchmod(&swap.file, private).during("set the mode of", path)?; // whatever the umask
        let bytes = size.checked_mul(1 << 20).ok_or_else(|| Error::new("make", path, "SIZE is too large"))?;
        ftruncate(&swap.file, bytes).during("set the size of", path)?;
        Ok(swap)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the file to nbd-server, and removes its name in the background soon after it was opened. The
    /// server goes on using it; when the server ends, in whatever way, its space is free. (The section's
    /// `postrun` does not run when the process is killed.)
    ///
    /// # Errors
    /// When the background process cannot be started; the file is removed then.
    pub fn remove_once_opened(self) -> Result<()> {
        self.remove_later(UNTIL_OPENED, ONCE_OPENED)
    }

    fn remove_later(mut self, until_opened: Duration, once_opened: Duration) -> Result<()> {
        // Watched from now on, before our caller can go on to open it.
        let watch = inotify::init(CreateFlags::CLOEXEC).during("watch", &self.path)?;
        inotify::add_watch(&watch, &self.path, WatchFlags::OPEN).during("watch", &self.path)?;
        let keep = [watch.as_fd(), self.dir.as_fd(), self.file.as_fd()];
        detached(&keep, || {
            if wait_for(&watch, until_opened) {
                std::thread::sleep(once_opened);
            }
            self.remove();
        })?;
        self.stays = true;
        Ok(())
    }

    /// Removes the name, unless a later connection of the same client has put another file there.
    fn remove(&self) {
        let ours = fstat(&self.file);
        let there = statat(&self.dir, &*self.name, AtFlags::SYMLINK_NOFOLLOW);
        if let (Ok(ours), Ok(there)) = (ours, there) {
            if (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino) {
                // Nobody waits for it; it is only a name.
                let _ = unlinkat(&self.dir, &*self.name, AtFlags::empty());
            }
        }
    }
}

impl Drop for SwapFile {
    fn drop(&mut self) {
        if !self.stays {
            self.remove();
        }
    }
}

fn open_dir(dir: &Path, more: OFlags) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | more;
    openat(CWD, dir, flags, Mode::empty()).during("open the directory", dir)
}

/// Whether the watched file was opened within this time.
fn wait_for(watch: &OwnedFd, time: Duration) -> bool {
    let time = Timespec { tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), tv_nsec: 0 };
    if !matches!(poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&time)), Ok(1..)) {
        return false;
    }
    let mut buffer = [MaybeUninit::uninit(); 512];
    let mut reader = inotify::Reader::new(watch, &mut buffer);
    matches!(reader.next(), Ok(event) if event.events().contains(inotify::ReadFlags::OPEN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn gone(path: &Path) -> bool {
        // Only so that a failure ends.
        (0..600).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            !path.exists()
        })
    }

    // D35
    #[test]
    fn a_directory_that_others_may_write_in_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let swap = dir.path().join("nbd-swap");
        for (mode, accepted) in [(0o700, true), (0o755, true), (0o770, false), (0o1777, false)] {
            fs::create_dir(&swap).unwrap();
            fs::set_permissions(&swap, fs::Permissions::from_mode(mode)).unwrap();
            let made = SwapFile::create_in_own_dir(&swap.join("x"), 1);
            assert_eq!(made.is_ok(), accepted, "{mode:o}");
            drop(made);
            fs::remove_dir(&swap).unwrap();
        }
    }

    // D35; needs root, to give a directory away
    #[test]
    fn a_foreign_directory_and_a_link_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let foreign = dir.path().join("foreign");
        fs::create_dir(&foreign).unwrap();
        std::os::unix::fs::chown(&foreign, Some(65534), None).unwrap();
        let error = SwapFile::create_in_own_dir(&foreign.join("x"), 1).unwrap_err();
        assert!(error.to_string().contains("belongs to user 65534"), "{error}");

        let link = dir.path().join("link");
        fs::create_dir(dir.path().join("real")).unwrap();
        symlink("real", &link).unwrap();
        assert!(SwapFile::create_in_own_dir(&link.join("x"), 1).is_err());
        assert_eq!(fs::read_dir(dir.path().join("real")).unwrap().count(), 0);
    }

    // D35: exclusively
    #[test]
    fn a_link_with_the_name_is_replaced_and_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "kept").unwrap();
        let path = dir.path().join("swap");
        symlink(&victim, &path).unwrap();
        let swap = SwapFile::create(&path, 1).unwrap();
        assert!(path.symlink_metadata().unwrap().is_file());
        assert_eq!(fs::read(&victim).unwrap(), b"kept");
        drop(swap);
        assert!(!path.exists());
    }

    // N32, D35
    #[test]
    fn the_name_goes_once_the_file_was_opened_and_the_file_stays_usable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("swap");
        let swap = SwapFile::create(&path, 1).unwrap();
        // Far longer than the test may take: only the opening can end the wait.
        swap.remove_later(Duration::from_secs(3600), Duration::ZERO).unwrap();
        assert!(path.exists());
        let server = File::options().read(true).write(true).open(&path).unwrap();
        assert!(gone(&path));
        assert_eq!(server.metadata().unwrap().len(), 1 << 20);
    }

    // D35
    #[test]
    fn a_file_that_was_never_opened_goes_in_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("swap");
        let swap = SwapFile::create(&path, 1).unwrap();
        swap.remove_later(Duration::ZERO, Duration::from_secs(3600)).unwrap();
        assert!(gone(&path));
    }

    #[test]
    fn the_file_of_a_later_connection_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("swap");
        let first = SwapFile::create(&path, 1).unwrap();
        let second = SwapFile::create(&path, 1).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }
}
