//! The content of a root's `boot`, copied into the directory that TFTP serves (K20, K21).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, readlinkat};

use crate::error::{During, Error, Result};
use crate::kernel::replace;
use crate::sys::confined::{Entry, Root};
use crate::sys::signals;

/// What names kernels to boot loaders: it is copied after them, so that an interrupted copy never has
/// clients ask for kernels that are not there yet.
const NAMES_KERNELS: [&str; 2] = ["pxelinux.cfg", "yaboot.conf"];

/// Copies everything in `boot` into `target`, with owners, modes and times; links as links. What has
/// the same name in `target` is replaced, everything else there stays.
///
/// # Errors
/// When an entry cannot be read or written, or a signal came: then files before it are there, each
/// complete, and what `target` held before can still be used.
pub fn copy(boot: &Root, target: &Root) -> Result<()> {
    let mut entries = boot.entries("")?.unwrap_or_default();
    entries.sort_by_key(rank); // a stable sort: by name within each rank
    for entry in entries {
        signals::check()?;
        copy_entry(boot, target, &entry)?;
    }
    match boot.stat("")? {
        Some(stat) => replace::finish_directory(target, &stat),
        None => Ok(()),
    }
}

fn rank(entry: &Entry) -> u8 {
    match entry.kind {
        _ if NAMES_KERNELS.iter().any(|name| entry.name == *name) => 2,
        FileType::Symlink => 1,
        _ => 0,
    }
}

fn copy_entry(boot: &Root, target: &Root, entry: &Entry) -> Result<()> {
    let name = &*entry.name;
    let Some(stat) = boot.lstat(name)? else { return Ok(()) }; // gone since
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => match boot.dir(name)? {
            Some(inside) => copy(&inside, &replace::directory(target, name)?),
            None => Ok(()),
        },
        FileType::RegularFile => match boot.open_file(name)? {
            Some(mut file) => replace::file(target, name, &mut file, &stat),
            None => Ok(()),
        },
        FileType::Symlink => {
            let text = readlinkat(boot, name, Vec::new()).during("read the link", boot.shown(name))?;
            replace::link_like(target, OsStr::from_bytes(text.as_bytes()), name, &stat)
        }
        // A TFTP server has no use for these, and one from a chroot could do harm on the server.
        _ => {
            log::warn!("{}", Error::new("publish", boot.shown(name), "it is a device, a pipe or a socket"));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    fn roots() -> (tempfile::TempDir, Root, Root) {
        let dir = tempfile::tempdir().unwrap();
        for name in ["boot", "target"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let boot = Root::open(&dir.path().join("boot")).unwrap();
        let target = Root::open(&dir.path().join("target")).unwrap();
        (dir, boot, target)
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn dated(path: &Path, seconds: u64) {
        let file = fs::File::open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }

    // K20
    #[test]
    fn owners_modes_times_links_and_hidden_files_are_kept() {
        let (dir, boot, target) = roots();
        let (from, to) = (dir.path().join("boot"), dir.path().join("target"));
        fs::create_dir(from.join("grub")).unwrap();
        for name in ["vmlinuz-1", ".hidden", "grub/grub.cfg"] {
            fs::write(from.join(name), name).unwrap();
        }
        symlink("vmlinuz-1", from.join("vmlinuz")).unwrap();
        symlink("/nowhere", from.join("dangling")).unwrap();
        lchown(from.join("vmlinuz-1"), Some(12), Some(34)).unwrap();
        lchown(from.join("vmlinuz"), Some(56), Some(78)).unwrap();
        fs::set_permissions(from.join("vmlinuz-1"), fs::Permissions::from_mode(0o600)).unwrap();
        for (number, name) in (1_500_000_000..).zip(["vmlinuz-1", "grub", "."]) {
            dated(&from.join(name), number);
        }
        copy(&boot, &target).unwrap();
        assert_eq!(names(&to), [".hidden", "dangling", "grub", "vmlinuz", "vmlinuz-1"]);
        assert_eq!(fs::read(to.join("grub/grub.cfg")).unwrap(), b"grub/grub.cfg");
        assert_eq!(fs::read_link(to.join("vmlinuz")).unwrap(), Path::new("vmlinuz-1"));
        assert_eq!(fs::read_link(to.join("dangling")).unwrap(), Path::new("/nowhere"));
        let kernel = fs::metadata(to.join("vmlinuz-1")).unwrap();
        assert_eq!((kernel.uid(), kernel.gid(), kernel.mode() & 0o7777), (12, 34, 0o644)); // K24
        let link = fs::symlink_metadata(to.join("vmlinuz")).unwrap();
        assert_eq!((link.uid(), link.gid()), (56, 78));
        for (number, name) in (1_500_000_000..).zip(["vmlinuz-1", "grub", "."]) {
            assert_eq!(fs::metadata(to.join(name)).unwrap().mtime(), number, "{name}");
        }
    }

    // K20, K21
    #[test]
    fn files_of_the_same_name_are_replaced_and_others_stay() {
        let (dir, boot, target) = roots();
        let (from, to) = (dir.path().join("boot"), dir.path().join("target"));
        fs::write(from.join("vmlinuz-1"), "new").unwrap();
        fs::create_dir(from.join("dtbs")).unwrap();
        fs::write(to.join("vmlinuz-1"), "old").unwrap();
        fs::hard_link(to.join("vmlinuz-1"), to.join("same-file")).unwrap();
        fs::write(to.join("lts.conf"), "[Default]\n").unwrap();
        fs::write(to.join("dtbs"), "a file where a directory is to be").unwrap();
        copy(&boot, &target).unwrap();
        assert_eq!(fs::read(to.join("vmlinuz-1")).unwrap(), b"new");
        assert_eq!(fs::read(to.join("same-file")).unwrap(), b"old", "replaced, not written over");
        assert_eq!(names(&to), ["dtbs", "lts.conf", "same-file", "vmlinuz-1"]);
        assert!(to.join("dtbs").is_dir());
    }

    #[test]
    fn links_on_either_side_are_never_followed() {
        let (dir, boot, target) = roots();
        let (from, to) = (dir.path().join("boot"), dir.path().join("target"));
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("passwd"), "mine").unwrap();
        // The target's links: a file that would be written through, a directory that would be entered.
        fs::write(from.join("vmlinuz-1"), "kernel").unwrap();
        fs::create_dir(from.join("sub")).unwrap();
        fs::write(from.join("sub/passwd"), "kernel").unwrap();
        symlink(outside.join("passwd"), to.join("vmlinuz-1")).unwrap();
        symlink(&outside, to.join("sub")).unwrap();
        // The chroot's: copied as they are.
        symlink(&outside, from.join("away")).unwrap();
        copy(&boot, &target).unwrap();
        assert_eq!(fs::read(outside.join("passwd")).unwrap(), b"mine");
        assert!(fs::symlink_metadata(to.join("vmlinuz-1")).unwrap().is_file());
        assert!(fs::symlink_metadata(to.join("sub")).unwrap().is_dir());
        assert!(fs::symlink_metadata(to.join("away")).unwrap().is_symlink());
    }

    #[test]
    fn pipes_are_left_out_and_set_user_id_bits_too() {
        let (dir, boot, target) = roots();
        let from = dir.path().join("boot");
        rustix::fs::mkfifoat(&boot, "pipe", rustix::fs::Mode::from(0o600)).unwrap();
        fs::write(from.join("program"), "").unwrap();
        fs::set_permissions(from.join("program"), fs::Permissions::from_mode(0o6755)).unwrap();
        copy(&boot, &target).unwrap();
        assert_eq!(names(target.path()), ["program"]);
        assert_eq!(fs::metadata(target.shown("program")).unwrap().mode() & 0o7777, 0o755);
    }

    #[test]
    fn a_failure_leaves_what_was_published_and_nothing_unfinished() {
        let (dir, boot, target) = roots();
        let (from, to) = (dir.path().join("boot"), dir.path().join("target"));
        for (name, content) in [("a", "new"), ("b", "new"), ("c", "new")] {
            fs::write(from.join(name), content).unwrap();
        }
        fs::create_dir_all(to.join("b/full")).unwrap();
        fs::write(to.join("c"), "old").unwrap();
        let error = copy(&boot, &target).unwrap_err();
        assert!(error.to_string().contains("target/b"), "{error}");
        assert_eq!(names(&to), ["a", "b", "c"]);
        assert_eq!(fs::read(to.join("c")).unwrap(), b"old");
    }

    #[test]
    fn what_names_kernels_comes_after_the_kernels() {
        let (_dir, boot, _target) = roots();
        fs::create_dir(boot.shown("pxelinux.cfg")).unwrap();
        fs::write(boot.shown("vmlinuz-1"), "").unwrap();
        symlink("vmlinuz-1", boot.shown("a-link")).unwrap();
        let mut entries = boot.entries("").unwrap().unwrap();
        entries.sort_by_key(rank);
        let order: Vec<_> = entries.iter().map(|entry| entry.name.to_str().unwrap()).collect();
        assert_eq!(order, ["vmlinuz-1", "a-link", "pxelinux.cfg"]);
    }
}
