//! Changes of names in the folder of images. Each is one step that a crash leaves done or not done, and
//! that lasts through a power failure once it is reported.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, RenameFlags, linkat, renameat_with};
use rustix::io::Errno;

use crate::error::{During, Error, Result};

/// Gives a file a second name; of a symbolic link, the link itself (U71).
pub(super) fn link(from: &Path, to: &Path) -> Result<()> {
    let linked = one_step(Step::Link).and_then(|()| Ok(linkat(CWD, from, CWD, to, AtFlags::empty())?));
    linked.during("keep the backup", to)
}

/// Moves a file to another name, in the place of what has that name.
pub(super) fn rename(from: &Path, to: &Path) -> Result<()> {
    one_step(Step::Other).and_then(|()| fs::rename(from, to)).during("rename the image to", to)?;
    flush(to)?;
    // Of two names of the same file a rename removes neither (rename(2)).
    if is_same_file(from, to) { remove(from) } else { Ok(()) }
}

/// Exchanges two names; whether the file system can do that.
pub(super) fn exchange(one: &Path, other: &Path) -> Result<bool> {
    let exchanged = one_step(Step::Exchange)
        .and_then(|()| Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?));
    match exchanged {
        Ok(()) => flush(other).map(|()| true),
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::INVAL | Errno::NOSYS)) => Ok(false),
        Err(source) => Err(Error::io("exchange the image with", one, source)),
    }
}

/// Removes a name if it is there.
pub(super) fn remove(path: &Path) -> Result<()> {
    match one_step(Step::Other).and_then(|()| fs::remove_file(path)) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("remove the unfinished image", path, error)),
    }
}

/// A regular file, links followed: what counts as an image that is present (U73).
pub(super) fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// Whether there is anything of that name.
pub(super) fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Whether two names are of one file; links are not followed.
pub(super) fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::symlink_metadata(path).ok().map(|status| (status.dev(), status.ino()));
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

fn flush(changed: &Path) -> Result<()> {
    let folder = changed.parent().unwrap_or(Path::new("."));
    let open = File::open(folder).during("open", folder)?;
    match rustix::fs::fsync(&open) {
        // Some network file systems have nothing to flush for a directory.
        Ok(()) | Err(Errno::INVAL | Errno::BADF | Errno::NOTSUP) => Ok(()),
        Err(source) => Err(Error::io("flush", folder, source)),
    }
}

/// Before every step. In tests the power may fail here.
#[cfg(not(test))]
fn one_step(_: Step) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
use faults::one_step;

/// What a step asks of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Link,
    Exchange,
    Other,
}

/// Failures for tests: power that lasts for a number of steps, file systems that cannot do everything.
#[cfg(test)]
pub(super) mod faults {
    use std::cell::{Cell, RefCell};
    use std::io;

    use super::Step;

    thread_local! {
        static STEPS_LEFT: Cell<Option<u32>> = const { Cell::new(None) };
        static UNSUPPORTED: RefCell<Vec<Step>> = const { RefCell::new(Vec::new()) };
    }

    /// Runs `work` with power for `steps`; whether they sufficed. After the failure nothing changes any
    /// more, so that not even what runs when values are dropped can.
    pub(in super::super) fn with_power_for(steps: u32, work: impl FnOnce()) -> bool {
        STEPS_LEFT.set(Some(steps));
        work();
        STEPS_LEFT.replace(None).is_some_and(|left| left > 0)
    }

    /// Runs `work` on a file system that cannot do these steps.
    pub(in super::super) fn without(unsupported: &[Step], work: impl FnOnce()) {
        UNSUPPORTED.replace(unsupported.to_vec());
        work();
        UNSUPPORTED.take();
    }

    pub(super) fn one_step(step: Step) -> io::Result<()> {
        match STEPS_LEFT.get() {
            None => {}
            Some(0) => return Err(io::Error::other("the power failed")),
            Some(left) => STEPS_LEFT.set(Some(left - 1)),
        }
        if UNSUPPORTED.with_borrow(|unsupported| unsupported.contains(&step)) {
            // What Linux says for RENAME_EXCHANGE; for links it is EPERM, which is treated alike.
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        Ok(())
    }
}
