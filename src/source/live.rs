//! Live systems: the image of a root inside a CD, as clients look for it too (O6, S7).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::error::{Error, Result, shown};
use crate::sys::confined::Root;

/// Where live systems have the image of their root: Ubuntu and Mint, Debian, Fedora and openSUSE (in two
/// steps), Arch.
const IMAGES: [&str; 6] = [
    "casper/filesystem.squashfs",
    "live/filesystem.squashfs",
    "LiveOS/squashfs.img",
    "LiveOS/rootfs.img",
    "LiveOS/ext3fs.img",
    "arch/x86_64/airootfs.sfs",
];

/// The image of the live system on a medium; none if it is not such a medium, or is a root itself.
///
/// # Errors
/// When it cannot be read, or has its root in several images, of which the user has to choose.
pub fn image_in(root: &Root) -> Result<Option<PathBuf>> {
    if root.is_dir("proc")? {
        return Ok(None);
    }
    for image in IMAGES {
        if root.is_file(image)? {
            return root.real_path(image);
        }
    }
    let layers: Vec<String> = squashfs_files(root)?.iter().map(shown).collect();
    if layers.is_empty() {
        return Ok(None);
    }
    let first = layers.first().cloned().unwrap_or_default();
    let reason = format!("its root is in several images: {}", layers.join(", "));
    Err(Error::new("use the live system on", root.name(), reason)
        .hint(format!("add ,,{first} for one of them alone; they cannot be put together here")))
}

/// As newer live systems of Ubuntu have them: a small system, and what makes it a larger one.
fn squashfs_files(root: &Root) -> Result<Vec<PathBuf>> {
    let entries = root.entries("casper")?.unwrap_or_default();
    let files = entries.into_iter().map(|entry| entry.name);
    let files = files.filter(|name| name.as_bytes().ends_with(b".squashfs"));
    Ok(files.map(|name| PathBuf::from(OsStr::new("casper")).join(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[&str]) -> Result<Option<PathBuf>> {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            match file.ends_with('/') {
                true => std::fs::create_dir_all(path).unwrap(),
                false => std::fs::write(path, "").unwrap(),
            }
        }
        image_in(&Root::open(dir.path()).unwrap())
    }

    // O6
    #[test]
    fn a_medium_without_proc_is_searched_for_the_image_of_its_root() {
        for image in IMAGES {
            assert_eq!(found(&[image]).unwrap(), Some(image.into()));
            assert_eq!(found(&[image, "proc/"]).unwrap(), None);
        }
        assert_eq!(found(&["casper/vmlinuz", "etc/passwd"]).unwrap(), None);
    }

    #[test]
    fn a_medium_with_several_images_leaves_the_choice_to_the_user() {
        let error =
            found(&["casper/minimal.squashfs", "casper/minimal.live.squashfs"]).unwrap_err().to_string();
        assert!(error.contains("casper/minimal.live.squashfs, casper/minimal.squashfs"), "{error}");
    }
}
