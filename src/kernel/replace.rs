//! Entries of a published directory, each replaced in one step: a TFTP client sees the old one or the
//! new one, never half of it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chmodat, chownat, fchmod, fchown,
    futimens, linkat, mkdirat, openat, renameat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::error::{During, Error, Result};
use crate::kernel::permissions::readable;
use crate::sys::confined::Root;
use crate::sys::signals;

/// Bytes that are copied at a time.
const PART: u64 = 4 << 20;

/// A file to be published.
#[derive(Debug)]
pub struct New<'a> {
    /// Its name in the folder.
    pub name: &'a OsStr,
    /// What is left of this becomes its content.
    pub content: &'a mut File,
    /// It gets owner and times of this, and the mode as everybody may read it.
    pub like: Stat,
}

/// Publishes the rest of `content` as the file `name` in `folder`, with owner and times of `like`, and
/// its mode as everybody may read it (K20, K24). Whatever else has that name, a link too, is replaced;
/// a directory is not.
///
/// # Errors
/// When it cannot be written; what was there before is still there then.
pub fn file(folder: &Root, name: &OsStr, content: &mut File, like: &Stat) -> Result<()> {
    write(folder, 0, &mut New { name, content, like: *like })?.publish(name)
}

/// Publishes files that belong together: none of them before all are written, and on disk.
///
/// # Errors
/// When one cannot be written; what was there before is still there then. When one cannot be replaced.
pub fn files(folder: &Root, mut files: Vec<New<'_>>) -> Result<()> {
    let mut written = Vec::new();
    for (number, new) in files.iter_mut().enumerate() {
        let temporary = write(folder, number, new)?;
        let file = folder.open_file(&temporary.name)?;
        file.map_or(Ok(()), |file| file.sync_all()).during("write to disk", folder.shown(new.name))?;
        written.push(temporary);
    }
    written.into_iter().zip(&files).try_for_each(|(temporary, new)| temporary.publish(new.name))
}

/// Writes a file under a temporary name.
fn write<'a>(folder: &'a Root, number: usize, new: &mut New<'_>) -> Result<Temporary<'a>> {
    let (path, like) = (folder.shown(new.name), &new.like);
    let temporary = Temporary::numbered(folder, number)?;
    let (mut file, unnamed) = create(&temporary)?;
    // In parts, so that a signal need not wait for the whole of a large ramdisk.
    while std::io::copy(&mut (&mut *new.content).take(PART), &mut file).during("write", &path)? > 0 {
        signals::check()?;
    }
    fchown(&file, Some(owner(like)), Some(group(like))).during("change the owner of", &path)?;
    fchmod(&file, readable(like)).during("change the mode of", &path)?;
    futimens(&file, &times(like)).during("set the time of", &path)?;
    if unnamed {
        let file = format!("/proc/self/fd/{}", file.as_raw_fd());
        linkat(CWD, file, folder, &temporary.name, AtFlags::SYMLINK_FOLLOW).during("write", &path)?;
    }
    Ok(temporary)
}

/// Makes `name` in `folder` a link to `target`, in place of a file or link of that name (K22, K25, K50).
///
/// # Errors
/// When it cannot be made, or a directory has that name.
pub fn link(folder: &Root, target: &OsStr, name: &OsStr) -> Result<()> {
    let temporary = Temporary::new(folder)?;
    symlinkat(target, folder, &temporary.name).during("make the link", folder.shown(name))?;
    temporary.publish(name)
}

/// As [`link`], with owner and times of `like` (K20).
///
/// # Errors
/// As for [`link`].
pub fn link_like(folder: &Root, target: &OsStr, name: &OsStr, like: &Stat) -> Result<()> {
    let path = folder.shown(name);
    let temporary = Temporary::new(folder)?;
    symlinkat(target, folder, &temporary.name).during("make the link", &path)?;
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    chownat(folder, &temporary.name, Some(owner(like)), Some(group(like)), flags)
        .during("change the owner of", &path)?;
    utimensat(folder, &temporary.name, &times(like), flags).during("set the time of", &path)?;
    temporary.publish(name)
}

/// The directory `name` in `folder`, made if it is not there; a file or link in its place goes.
///
/// # Errors
/// When it cannot be made.
pub fn directory(folder: &Root, name: &OsStr) -> Result<Root> {
    let path = folder.shown(name);
    let is_directory = |stat: Stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir();
    if !folder.lstat(name)?.is_some_and(is_directory) {
        folder.remove(name)?;
        mkdirat(folder, name, Mode::from(0o755)).during("make the directory", &path)?;
    }
    folder.dir(name)?.ok_or_else(|| Error::new("open", path, "it has just been replaced"))
}

/// Gives a directory owner and times of `like`, and its mode as everybody may enter it (K20, D30). To
/// be called when nothing more is put into it: that would change its time.
///
/// # Errors
/// When the system refuses.
pub fn finish_directory(folder: &Root, like: &Stat) -> Result<()> {
    let path = folder.path();
    chownat(folder, ".", Some(owner(like)), Some(group(like)), AtFlags::empty())
        .during("change the owner of", path)?;
    chmodat(folder, ".", readable(like), AtFlags::empty()).during("change the mode of", path)?;
    utimensat(folder, ".", &times(like), AtFlags::empty()).during("set the time of", path)
}

/// Removes the directory `name` in `folder` with everything below it. Links in it go themselves, not
/// their targets.
///
/// # Errors
/// When an entry cannot be removed; those before it are gone then.
pub fn remove_tree(folder: &Root, name: &OsStr) -> Result<()> {
    if let Some(inside) = folder.dir(name)? {
        for entry in inside.entries("")?.unwrap_or_default() {
            if entry.kind.is_dir() {
                remove_tree(&inside, &entry.name)?;
            } else {
                inside.remove(&entry.name)?;
            }
        }
    }
    match unlinkat(folder, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(Error::io("remove", folder.shown(name), error)),
    }
}

/// A name for what is not finished yet. On drop whatever has it is removed, unless it was published.
struct Temporary<'a> {
    folder: &'a Root,
    name: OsString,
}

impl<'a> Temporary<'a> {
    fn new(folder: &'a Root) -> Result<Self> {
        Self::numbered(folder, 0)
    }

    fn numbered(folder: &'a Root, number: usize) -> Result<Self> {
        // A process of the same number can have left one behind only if it was killed or the power failed.
        let name = format!(".ltsp-new-{}-{number}", std::process::id()).into();
        let temporary = Self { folder, name };
        folder.remove(&temporary.name)?;
        Ok(temporary)
    }

    fn publish(self, name: &OsStr) -> Result<()> {
        renameat(self.folder, &self.name, self.folder, name).map_err(|error| {
            let error = Error::io("replace", self.folder.shown(name), error);
            error.hint("a directory of that name has to be moved away first, if it is one")
        })
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.folder.remove(&self.name) {
            log::warn!("{error}");
        }
    }
}

/// A new file, without a name where the file system can do that (even SIGKILL then leaves nothing
/// behind); whether it is without.
fn create(temporary: &Temporary<'_>) -> Result<(File, bool)> {
    let mode = Mode::from(0o600);
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    match openat(temporary.folder, ".", flags | OFlags::TMPFILE, mode) {
        Ok(file) => return Ok((file.into(), true)),
        // What file systems and kernels say that do not know it (open(2)).
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {}
        Err(error) => return Err(Error::io("make a file in", temporary.folder.path(), error)),
    }
    let flags = flags | OFlags::CREATE | OFlags::EXCL;
    let file = openat(temporary.folder, &temporary.name, flags, mode);
    Ok((file.during("make a file in", temporary.folder.path())?.into(), false))
}

fn owner(like: &Stat) -> Uid {
    Uid::from_raw(like.st_uid)
}

fn group(like: &Stat) -> Gid {
    Gid::from_raw(like.st_gid)
}

fn times(like: &Stat) -> Timestamps {
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    Timestamps {
        last_access: time(like.st_atime, i64::try_from(like.st_atime_nsec).unwrap_or(0)),
        last_modification: time(like.st_mtime, i64::try_from(like.st_mtime_nsec).unwrap_or(0)),
    }
}
