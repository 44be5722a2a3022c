//! Which of the file systems mounted in a chroot belong to it.
//!
//! The original takes btrfs and ext2, ext3, ext4 (U56). We take the other file systems that Linux
//! systems are installed on as well: with `/boot`, `/usr` or `/var` on XFS or ZFS, as some installers
//! set them up, the image would otherwise lack its kernels or most of itself. `EXCLUDED_MOUNTS` keeps
//! out what should not be there, and every one that is taken is told.
//!
//! Not taken, so that the directory under the mount shows: virtual file systems, network file systems
//! and FUSE; vfat (the server's EFI system partition, memory sticks), which an overlay cannot lie on
//! anyway; squashfs and ISO 9660 (snaps, CDs). So are single files that something is mounted on, as
//! containers have them in `/etc`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::sys::mount_table::{self, MountPoint};

/// File systems besides btrfs and ext*.
const DISK_TYPES: [&str; 8] = ["bcachefs", "f2fs", "jfs", "nilfs2", "reiser4", "reiserfs", "xfs", "zfs"];

/// Directories of the host (U56); for chroots outside of them.
const NOT_IN: [&str; 5] = ["/dev", "/proc", "/run", "/sys", "/tmp"];

/// File systems with files of somebody that are not taken. Virtual ones have none; snaps and CDs nobody
/// would look for in an image.
const FOREIGN: [&str; 12] =
    ["9p", "afs", "ceph", "cifs", "exfat", "glusterfs", "nfs", "nfs4", "ntfs3", "smb3", "vfat", "virtiofs"];

/// Mount points and types of the file systems that belong to `chroot`, parents before what is mounted
/// in them.
///
/// # Errors
/// When the mount table cannot be read, or a mount point not looked up.
pub(super) fn of(chroot: &Path, excluded: &[PathBuf]) -> Result<Vec<(PathBuf, OsString)>> {
    let mut found = Vec::new();
    for mount in select(mount_table::read()?, chroot, excluded) {
        if is_seen(&mount)? {
            found.push((mount.path, mount.fstype));
        }
    }
    Ok(found)
}

/// Those that an admin may miss in the image; for a message.
///
/// # Errors
/// When the mount table cannot be read.
pub(super) fn left_out(chroot: &Path) -> Result<Vec<(PathBuf, OsString)>> {
    let foreign = |fstype: &OsStr| {
        let fstype = fstype.as_encoded_bytes();
        fstype.starts_with(b"fuse.") || FOREIGN.iter().any(|foreign| foreign.as_bytes() == fstype)
    };
    let belongs = |mount: &MountPoint| {
        foreign(&mount.fstype)
            && mount.path != chroot
            && mount.path.starts_with(chroot)
            && !NOT_IN.iter().any(|dir| mount.path.starts_with(dir) && !chroot.starts_with(dir))
    };
    let found = mount_table::read()?.into_iter().filter(belongs);
    Ok(found.map(|mount| (mount.path, mount.fstype)).collect())
}

/// What the mount table alone tells; sorted, so that parents come first.
fn select(table: Vec<MountPoint>, chroot: &Path, excluded: &[PathBuf]) -> Vec<MountPoint> {
    let belongs = |mount: &MountPoint| {
        is_disk(&mount.fstype)
            && mount.path != chroot
            && mount.path.starts_with(chroot)
            && !excluded.contains(&mount.path)
            && !NOT_IN.iter().any(|dir| mount.path.starts_with(dir) && !chroot.starts_with(dir))
    };
    let mut found: Vec<_> = table.into_iter().filter(belongs).collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn is_disk(fstype: &OsStr) -> bool {
    let fstype = fstype.as_encoded_bytes();
    fstype == b"btrfs"
        || fstype.starts_with(b"ext")
        || DISK_TYPES.iter().any(|disk| disk.as_bytes() == fstype)
}

/// Whether the mount is a directory that can be reached: not a file, and not hidden by another mount on
/// it or above it.
fn is_seen(mount: &MountPoint) -> Result<bool> {
    let failed = |source: Errno| Error::io("look up the mount point", &mount.path, source);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = match openat(CWD, &mount.path, flags, Mode::empty()) {
        Ok(dir) => dir,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
        Err(source) => return Err(failed(source)),
    };
    let stat = statx(&dir, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map_err(failed)?;
    // Kernels before 5.8 do not tell; what is seen at the place is then taken.
    let told = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID);
    Ok(!told || stat.stx_mnt_id == mount.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(table: &[(&str, &str)], chroot: &str, excluded: &[&str]) -> Vec<String> {
        let mounts = (1..).zip(table).map(|(id, &(path, fstype))| MountPoint {
            id,
            path: path.into(),
            fstype: fstype.into(),
            options: "rw".into(),
        });
        let excluded: Vec<PathBuf> = excluded.iter().map(PathBuf::from).collect();
        let found = select(mounts.collect(), Path::new(chroot), &excluded);
        found.into_iter().map(|mount| mount.path.into_os_string().into_string().unwrap()).collect()
    }

    // U56
    #[test]
    fn disk_file_systems_below_the_chroot_are_taken_in_the_order_of_their_names() {
        let table = [
            ("/", "ext4"),
            ("/usr/local", "btrfs"),
            ("/usr", "ext3"),
            ("/boot", "xfs"),
            ("/boot/efi", "vfat"),
            ("/proc", "proc"),
            ("/tmp", "ext4"),
            ("/tmp/disk", "ext4"),
            ("/tmpdisk", "ext4"),
            ("/run/media/stick", "ext4"),
            ("/home", "nfs4"),
            ("/media/cd", "iso9660"),
            ("/snap/core/1", "squashfs"),
            ("/var/lib/docker/overlay2/x/merged", "overlay"),
            ("/mnt/fuse", "fuseblk"),
        ];
        assert_eq!(selected(&table, "/", &[]), ["/boot", "/tmpdisk", "/usr", "/usr/local"]);
    }

    // U56, D1
    #[test]
    fn a_neighbour_with_a_longer_name_is_no_submount() {
        let table =
            [("/opt/ltsp/amd64-old/boot", "ext4"), ("/opt/ltsp/amd64/boot", "ext4"), ("/opt", "ext4")];
        assert_eq!(selected(&table, "/opt/ltsp/amd64", &[]), ["/opt/ltsp/amd64/boot"]);
        assert_eq!(selected(&table, "/opt/ltsp/amd64/boot", &[]), [""; 0]);
    }

    // U57, D12
    #[test]
    fn excluded_mounts_are_compared_literally() {
        let table = [("/home", "ext4"), ("/srv", "ext4"), ("/srv/a", "ext4"), ("/srv/b", "ext4")];
        assert_eq!(selected(&table, "/", &["/home", "/srv/a"]), ["/srv", "/srv/b"]);
        assert_eq!(selected(&table, "/", &["/h*", "srv"]), ["/home", "/srv", "/srv/a", "/srv/b"]);
    }

    // U56: the host's /tmp is meant, not every chroot that happens to lie there.
    #[test]
    fn the_directories_of_the_host_do_not_hide_what_is_in_a_chroot_within_them() {
        let table = [("/tmp/chroot/boot", "ext4"), ("/opt/c/tmp", "ext4"), ("/opt/c/run/x", "ext4")];
        assert_eq!(selected(&table, "/tmp/chroot", &[]), ["/tmp/chroot/boot"]);
        assert_eq!(selected(&table, "/opt/c", &[]), ["/opt/c/run/x", "/opt/c/tmp"]);
        assert_eq!(selected(&table, "/", &[]), ["/opt/c/run/x", "/opt/c/tmp"]);
    }
}
