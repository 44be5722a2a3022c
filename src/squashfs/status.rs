//! What statx(2) says of a file, as far as an image holds it or the walk needs it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType as Kind, Statx, StatxFlags};

use super::inode::device_number;
use super::tree::{Identity, Version};

/// Size of the unit in which the kernel counts the space that a file takes.
const SECTOR: u64 = 512;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Status {
    pub(super) kind: Kind,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) links: u32,
    /// Seconds since 1970.
    pub(super) mtime: i64,
    /// What a device file stands for, as the image says it.
    pub(super) device: u32,
    pub(super) identity: Identity,
    pub(super) version: Version,
    /// The mount it was reached through; kernels before 5.8 do not say it.
    pub(super) mount: Option<u64>,
    /// Whether it takes less space than its size says.
    pub(super) has_holes: bool,
}

impl Status {
    /// Of the file `name` in a directory; a symbolic link itself.
    pub(super) fn of(directory: &OwnedFd, name: &OsStr) -> io::Result<Self> {
        Self::ask(directory, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Of an open file.
    pub(super) fn of_open(file: &OwnedFd) -> io::Result<Self> {
        Self::ask(file, OsStr::new(""), AtFlags::EMPTY_PATH)
    }

    fn ask(directory: &OwnedFd, name: &OsStr, flags: AtFlags) -> io::Result<Self> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let status = rustix::fs::statx(directory, name, flags | AtFlags::NO_AUTOMOUNT, wanted)?;
        let given = StatxFlags::from_bits_retain(status.stx_mask);
        Ok(Self {
            kind: Kind::from_raw_mode(status.stx_mode.into()),
            mode: status.stx_mode & 0o7777,
            uid: status.stx_uid,
            gid: status.stx_gid,
            links: status.stx_nlink,
            mtime: status.stx_mtime.tv_sec,
            device: device_number(status.stx_rdev_major, status.stx_rdev_minor),
            identity: Identity {
                dev: rustix::fs::makedev(status.stx_dev_major, status.stx_dev_minor),
                ino: status.stx_ino,
            },
            version: version(&status),
            mount: given.contains(StatxFlags::MNT_ID).then_some(status.stx_mnt_id),
            has_holes: status.stx_blocks.saturating_mul(SECTOR) < status.stx_size,
        })
    }
}

fn version(status: &Statx) -> Version {
    let nanoseconds =
        |seconds: i64, rest: u32| seconds.saturating_mul(1_000_000_000).saturating_add(rest.into());
    Version {
        size: status.stx_size,
        mtime: nanoseconds(status.stx_mtime.tv_sec, status.stx_mtime.tv_nsec),
        ctime: nanoseconds(status.stx_ctime.tv_sec, status.stx_ctime.tv_nsec),
    }
}

/// The identity of the image that is being written.
pub(super) fn identity_of(image: &File) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = image.metadata()?;
    Ok(Identity { dev: metadata.dev(), ino: metadata.ino() })
}
