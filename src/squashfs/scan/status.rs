//! What the kernel says of a file: which one it is, and in which state.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{AtFlags, FileType as Kind, Statx, StatxFlags};

use super::super::tree::{Identity, Version};

pub(super) fn status(directory: &OwnedFd, name: &OsStr, flags: AtFlags) -> rustix::io::Result<Statx> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    rustix::fs::statx(directory, name, flags | AtFlags::NO_AUTOMOUNT, wanted)
}

pub(super) fn device(status: &Statx) -> u64 {
    rustix::fs::makedev(status.stx_dev_major, status.stx_dev_minor)
}

pub(super) fn mount(status: &Statx) -> Option<u64> {
    let given = StatxFlags::from_bits_retain(status.stx_mask);
    given.contains(StatxFlags::MNT_ID).then_some(status.stx_mnt_id)
}

pub(super) fn identity(status: &Statx) -> Identity {
    Identity { dev: device(status), ino: status.stx_ino }
}

pub(super) fn version(status: &Statx) -> Version {
    let nanoseconds =
        |seconds: i64, rest: u32| seconds.saturating_mul(1_000_000_000).saturating_add(rest.into());
    Version {
        size: status.stx_size,
        mtime: nanoseconds(status.stx_mtime.tv_sec, status.stx_mtime.tv_nsec),
        ctime: nanoseconds(status.stx_ctime.tv_sec, status.stx_ctime.tv_nsec),
    }
}

/// Identity and version of an open regular file; `None` if it is something else.
pub(in super::super) fn look(file: &OwnedFd) -> std::io::Result<Option<(Identity, Version)>> {
    let status = status(file, OsStr::new(""), AtFlags::EMPTY_PATH)?;
    let is_regular = Kind::from_raw_mode(status.stx_mode.into()) == Kind::RegularFile;
    Ok(is_regular.then(|| (identity(&status), version(&status))))
}

/// The identity of the image that is being written.
pub(in super::super) fn identity_of(image: &File) -> std::io::Result<Identity> {
    let metadata = image.metadata()?;
    Ok(Identity { dev: metadata.dev(), ino: metadata.ino() })
}
