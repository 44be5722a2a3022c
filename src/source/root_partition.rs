//! Which part of a disk is the root of a system, told by what it holds (U2).

use std::ffi::OsString;

use crate::error::{Error, Result, shown};
use crate::source::disk::Disk;
use crate::source::mount_options::MountOptions;
use crate::source::volume::Volume;
use crate::source::workspace::Workspace;
use crate::sys::confined::Root;
use crate::sys::mount::Mount;

/// Where installers put the root in a btrfs whose top level is something else: Ubuntu and openSUSE,
/// Debian, Fedora.
const SUBVOLUMES: [&str; 3] = ["@", "@rootfs", "root"];

/// The number that the directory at the top of every subvolume has (BTRFS_FIRST_FREE_OBJECTID).
const SUBVOLUMES_INODE: u64 = 256;

/// File systems that Linux is installed on. Others are not mounted in the search: a kernel's driver for a
/// foreign file system is less well tested against disks that were made to harm.
const FOR_ROOTS: [&str; 13] = [
    "bcachefs", "btrfs", "cramfs", "erofs", "ext2", "ext3", "ext4", "f2fs", "jfs", "nilfs2", "reiserfs",
    "squashfs", "xfs",
];

/// A mounted file system of a disk, and which volume it is.
#[derive(Debug)]
pub struct Found {
    /// The volume.
    pub volume: Volume,
    /// Its mount.
    pub mount: Mount,
}

/// Whether a directory is the root of a system, as far as it tells without the file systems that may
/// have to be mounted in it.
///
/// # Errors
/// When it cannot be read.
pub fn is_root(root: &Root) -> Result<bool> {
    // Links count as they are: bin leads to /usr, which may be elsewhere.
    let has = |path: &str| Ok(root.lstat(path)?.is_some());
    let any = |paths: &[&str]| {
        for path in paths {
            if has(path)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    Ok(root.is_dir("etc")?
        && any(&["etc/passwd", "etc/os-release", "usr/lib/os-release"])?
        && any(&["bin", "sbin", "usr"])?)
}

/// Mounts the one volume of the disk that is the root of a system. `options` replace those that a file
/// system's content asks for.
///
/// # Errors
/// When there is none or more than one; with a list of the volumes.
pub fn find(disk: &mut Disk, options: Option<&MountOptions>, space: &mut Workspace) -> Result<Found> {
    let mut roots: Vec<Found> = Vec::new();
    let mut failures = Vec::new();
    for volume in disk.volumes().to_vec() {
        if volume.file_system().is_none_or(|found| !FOR_ROOTS.contains(&found.name)) {
            continue;
        }
        // One file system that the kernel cannot mount must not hide the root on another one.
        match mount(disk, &volume, options, space) {
            Ok((mount, true)) => roots.push(Found { volume, mount }),
            Ok((_, false)) => {}
            Err(error) => failures.push(error.to_string().replace('\n', " ")),
        }
    }
    if roots.len() == 1 {
        return Ok(roots.remove(0));
    }
    let reason = match &*roots {
        [] => {
            let mut reason =
                "nothing on it is the root of a system (with etc/passwd or os-release, and bin or usr)"
                    .to_owned();
            let hidden = disk.volumes().iter().filter_map(|volume| {
                let why = match disk.is_unclean(volume) {
                    true => "it was not unmounted, and what its journal holds is not read".to_owned(),
                    false => volume.hidden()?,
                };
                Some(format!("{} may hold it, but {why}", volume.id))
            });
            for more in failures.into_iter().chain(hidden) {
                reason.push_str("; ");
                reason.push_str(&more);
            }
            reason
        }
        several => {
            let several: Vec<String> = several.iter().map(|found| found.volume.id.to_string()).collect();
            format!("{} are roots of systems", several.join(" and "))
        }
    };
    Err(disk.lists("choose the root file system of", &reason))
}

/// Mounts a volume, and tells whether it is the root of a system. In a btrfs that is not, the root is looked
/// for among its subvolumes.
///
/// # Errors
/// When it cannot be mounted.
pub fn mount(
    disk: &mut Disk,
    volume: &Volume,
    options: Option<&MountOptions>,
    space: &mut Workspace,
) -> Result<(Mount, bool)> {
    let mut attempt = |options: Option<&MountOptions>| -> Result<(Mount, Root)> {
        let mount = disk.mount(volume, None, options, &space.directory()?)?;
        let root = Root::open(mount.target())?.known_as(disk.shown(volume).as_ref());
        Ok((mount, root))
    };
    let (mount, root) = attempt(options)?;
    if is_root(&root)? {
        return Ok((mount, true));
    }
    let Some(found) = volume.file_system().filter(|found| found.name == "btrfs") else {
        return Ok((mount, false));
    };
    if options.is_some_and(MountOptions::choose_subvolume) {
        return Ok((mount, false));
    }
    let options = options.cloned().unwrap_or_else(|| MountOptions::for_reading(found));
    // The one that is mounted by default need not be the top one.
    let (top, top_root) = attempt(Some(&options.clone().with(b"subvolid=5")))?;
    let roots = subvolumes_with_roots(&top_root)?;
    drop((top_root, top));
    let usual = SUBVOLUMES.iter().find_map(|usual| roots.iter().find(|name| *name == usual));
    let name = match (usual, &*roots) {
        (Some(name), _) | (None, [name]) => name,
        (None, []) => return Ok((mount, false)),
        (None, several) => {
            let several: Vec<String> = several.iter().map(shown).collect();
            let reason = format!("its subvolumes {} are roots of systems", several.join(" and "));
            return Err(Error::action(format!("choose the root in {}", disk.shown(volume)), reason)
                .hint(format!("choose one with the option subvol={}", several[0])));
        }
    };
    log::info!("the root is the subvolume {} of {}", shown(name), disk.shown(volume));
    let option = [b"subvol=/", name.as_encoded_bytes()].concat();
    let mount = disk.mount(volume, None, Some(&options.with(&option)), &space.directory()?)?;
    Ok((mount, true))
}

/// The subvolumes at the top of a btrfs that are roots of systems. Not those with names that cannot be told
/// the kernel.
fn subvolumes_with_roots(top: &Root) -> Result<Vec<OsString>> {
    let mut found = Vec::new();
    for entry in top.entries("")?.unwrap_or_default() {
        let is_subvolume = top.lstat(&entry.name)?.is_some_and(|stat| stat.st_ino == SUBVOLUMES_INODE);
        if !is_subvolume || !entry.kind.is_dir() || entry.name.as_encoded_bytes().contains(&b',') {
            continue;
        }
        if top.dir(&entry.name)?.map(|inner| is_root(&inner)).transpose()? == Some(true) {
            found.push(entry.name);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn is(entries: &[&str]) -> bool {
        let dir = tempfile::tempdir().unwrap();
        for entry in entries {
            let path = dir.path().join(entry.trim_end_matches('@'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match entry.strip_suffix('/') {
                Some(_) => fs::create_dir_all(path).unwrap(),
                None if entry.ends_with('@') => symlink("usr/nothing", path).unwrap(),
                None => fs::write(path, "").unwrap(),
            }
        }
        is_root(&Root::open(dir.path()).unwrap()).unwrap()
    }

    // U2, U3
    #[test]
    fn a_root_is_known_by_its_content_even_if_usr_is_elsewhere() {
        assert!(is(&["etc/passwd", "usr/sbin/init"]));
        assert!(is(&["etc/passwd", "etc/os-release@", "bin@", "sbin@", "usr/"]));
        assert!(is(&["etc/fstab", "usr/lib/os-release"]));
    }

    #[test]
    fn other_file_systems_are_none() {
        for other in [
            &["vmlinuz-6.1", "grub/grub.cfg", "efi/"][..], // /boot
            &["bin/sh", "lib/os-release", "sbin/init"],    // /usr
            &["lib/dpkg/status", "log/", "cache/"],        // /var
            &["user/.bashrc", "lost+found/"],              // /home
            &["EFI/BOOT/BOOTX64.EFI"],
            &["casper/filesystem.squashfs", "boot/grub/"],
            &["etc/who"],
            &[],
        ] {
            assert!(!is(other), "{other:?}");
        }
    }
}
