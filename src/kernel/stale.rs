//! Published kernels that the root has no modules for any more (K40 to K42, D37).

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::FileType;

use crate::error::{Result, shown};
use crate::kernel::replace;
use crate::source::os_release::OsRelease;
use crate::sys::confined::Root;

/// What belongs to the kernel of a version, as text before and after the version (K40).
const FILES: [(&str, &str); 14] = [
    // Every distribution.
    ("config-", ""),
    ("System.map-", ""),
    ("dtbs-", ""),
    // Fedora.
    (".vmlinuz-", ".hmac"),
    ("initrd-", ".img"),
    ("initramfs-", ".img"),
    ("elf-", ".img"),
    ("wraplinux-nbi-", ".img"),
    ("aout-", ".img"),
    ("symvers-", ".gz"),
    // Debian.
    ("initrd.img-", ""),
    ("nbi.img-", ""),
    // Ubuntu.
    ("abi-", ""),
    ("vmcoreinfo-", ""),
];

/// The same for Gentoo, where the version comes after the architecture (K42).
const GENTOO_FILES: [(&str, &str); 3] =
    [("initramfs-genkernel-", ""), ("initramfs-dracut-", ""), ("System.map-genkernel-", "")];

/// The only ones that may be directories.
const TREE: &[u8] = b"dtbs-";

/// The entries directly in `target` that belong to kernels without a directory of modules in `root`.
///
/// # Errors
/// When `target` or `root` cannot be read.
pub fn find(root: &Root, target: &Root) -> Result<BTreeSet<OsString>> {
    let gentoo = is_gentoo(root)?;
    let entries = target.entries("")?.unwrap_or_default();
    let mut stale = BTreeSet::new();
    for entry in &entries {
        let is_kernel = entry.kind == FileType::RegularFile;
        let Some((suffix, version)) =
            (if gentoo { gentoo_version(&entry.name) } else { version(&entry.name) }).filter(|_| is_kernel)
        else {
            continue;
        };
        if root.is_dir(Path::new("lib/modules").join(version))? {
            continue;
        }
        log::info!("Removing {}: there are no modules for it any more", shown(target.shown(&entry.name)));
        stale.insert(entry.name.clone());
        let files: &[(&str, &str)] = if gentoo { &GENTOO_FILES } else { &FILES };
        let names = files.iter().map(|(before, after)| {
            OsString::from_vec([before.as_bytes(), suffix.as_bytes(), after.as_bytes()].concat())
        });
        stale.extend(names);
    }
    let removable =
        entries.into_iter().filter(|entry| !entry.kind.is_dir() || entry.name.as_bytes().starts_with(TREE));
    Ok(removable.map(|entry| entry.name).filter(|name| stale.contains(name)).collect())
}

/// Removes these entries of `target`.
///
/// # Errors
/// When one cannot be removed.
pub fn remove(target: &Root, names: impl IntoIterator<Item = OsString>) -> Result<()> {
    for name in names {
        let stat = target.lstat(&name)?;
        if stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir()) {
            replace::remove_tree(target, &name)?;
        } else {
            target.remove(&name)?;
        }
    }
    Ok(())
}

/// The version of a kernel: once as in the names of its other files, once as in `lib/modules`.
fn version(name: &OsStr) -> Option<(&OsStr, &OsStr)> {
    let bytes = name.as_bytes();
    let version = bytes.strip_prefix(b"vmlinuz-").or(bytes.strip_prefix(b"vmlinux-"))?;
    Some((OsStr::from_bytes(version), OsStr::from_bytes(version)))
}

fn gentoo_version(name: &OsStr) -> Option<(&OsStr, &OsStr)> {
    let suffix = name.as_bytes().strip_prefix(b"kernel-genkernel-")?;
    let version = suffix.iter().position(|&byte| byte == b'-').map_or(suffix, |dash| &suffix[dash + 1..]);
    Some((OsStr::from_bytes(suffix), OsStr::from_bytes(version)))
}

/// Whether the root's kernels are named as on Gentoo: by what the root says about itself (os-release(5)),
/// or the server if it says nothing. In the original the server's package decided (A3).
fn is_gentoo(root: &Root) -> Result<bool> {
    let release = match OsRelease::of(root)? {
        Some(release) => Some(release),
        None => OsRelease::of(&Root::open(Path::new("/"))?)?,
    };
    Ok(release.is_some_and(|release| release.is("gentoo")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A root with the modules of some versions, and a target with some files.
    fn roots(os_release: &str, modules: &[&str], files: &[&str]) -> (tempfile::TempDir, Root, Root) {
        let dir = tempfile::tempdir().unwrap();
        let (root, target) = (dir.path().join("root"), dir.path().join("target"));
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/os-release"), os_release).unwrap();
        for version in modules {
            fs::create_dir_all(root.join("usr/lib/modules").join(version)).unwrap();
        }
        symlink("/usr/lib", root.join("lib")).unwrap();
        fs::create_dir(&target).unwrap();
        for file in files {
            let path = target.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        (dir, Root::open(&root).unwrap(), Root::open(&target).unwrap())
    }

    fn left(root: &Root, target: &Root) -> Vec<String> {
        remove(target, find(root, target).unwrap()).unwrap();
        let entries = target.entries("").unwrap().unwrap().into_iter();
        entries.map(|entry| entry.name.into_string().unwrap()).collect()
    }

    // K40
    #[test]
    fn everything_of_a_version_without_modules_goes() {
        let mut files = vec!["vmlinuz-1".to_owned(), "vmlinuz-2".to_owned(), "vmlinux-3".to_owned()];
        for version in ["1", "2", "3"] {
            files.extend(FILES.iter().map(|(before, after)| format!("{before}{version}{after}")));
        }
        for file in &mut files {
            if file.starts_with("dtbs-") {
                file.push_str("/vendor/board.dtb");
            }
        }
        files.extend(["other-1", "lts.conf", "initrd.img-0"].map(str::to_owned));
        let (_dir, root, target) =
            roots("ID=debian\n", &["2"], &files.iter().map(String::as_str).collect::<Vec<_>>());
        let mut expected: Vec<String> =
            FILES.iter().map(|(before, after)| format!("{before}2{after}")).collect();
        expected.extend(["vmlinuz-2", "other-1", "lts.conf", "initrd.img-0"].map(str::to_owned));
        expected.sort();
        assert_eq!(left(&root, &target), expected);
    }

    // K41, D37
    #[test]
    fn links_and_sub_directories_are_not_looked_at() {
        let (_dir, root, target) =
            roots("ID=debian\n", &[], &["sub/vmlinuz-1", "config-1", "config-9/kept", "vmlinuz-9"]);
        symlink("elsewhere", target.shown("vmlinux-generic")).unwrap();
        assert_eq!(left(&root, &target), ["config-1", "config-9", "sub", "vmlinux-generic"]);
        assert!(target.shown("sub/vmlinuz-1").exists());
    }

    #[test]
    fn a_tree_goes_without_what_its_links_lead_to() {
        let (dir, root, target) = roots("ID=debian\n", &[], &["vmlinuz-1", "dtbs-1/a/b"]);
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/file"), "").unwrap();
        symlink(dir.path().join("outside"), target.shown("dtbs-1/link")).unwrap();
        assert!(left(&root, &target).is_empty());
        assert!(dir.path().join("outside/file").exists());
    }

    // K42
    #[test]
    fn gentoos_names_have_the_architecture_before_the_version() {
        let files = [
            "kernel-genkernel-x86_64-4.9-gentoo",
            "initramfs-genkernel-x86_64-4.9-gentoo",
            "initramfs-dracut-x86_64-4.9-gentoo",
            "System.map-genkernel-x86_64-4.9-gentoo",
            "kernel-genkernel-x86_64-5.0-gentoo",
            "vmlinuz-1",
        ];
        let (_dir, root, target) = roots("ID='gentoo'\n", &["5.0-gentoo"], &files);
        assert_eq!(left(&root, &target), ["kernel-genkernel-x86_64-5.0-gentoo", "vmlinuz-1"]);
        let (_dir, root, target) = roots("ID=debian\n", &["5.0-gentoo"], &files);
        assert_eq!(left(&root, &target).len(), 5);
    }
}
