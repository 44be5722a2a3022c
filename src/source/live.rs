//! Live systems: the image of a root inside a CD, as clients look for it too (O6, S7).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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
/// When it cannot be read, or has its root in several images, of which the user has to choose one.
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
    let Some(first) = layers.first() else { return Ok(None) };
    let reason = format!("its root is in several images: {}", layers.join(", "));
    Err(Error::new("use the live system on", root.name(), reason)
        .hint(format!("choose one: add ,,{first} or another; those that it adds to are put under it")))
}

/// The images under an image of Ubuntu's newer live systems, the uppermost first; none under any other file. As the
/// boot scripts of casper have it, each of its names without the part behind the last dot is that of one:
/// `minimal.standard.live.squashfs` is an addition to `minimal.standard.squashfs`, and that to
/// `minimal.squashfs`.
///
/// # Errors
/// When they cannot be looked up.
pub fn layers_under(image: &Path) -> Result<Vec<PathBuf>> {
    let stem = image.file_name().and_then(|name| name.as_bytes().strip_suffix(ENDING));
    let folder = image.parent().filter(|folder| folder.file_name() == Some(OsStr::new(CASPER)));
    let (Some(mut stem), Some(folder)) = (stem, folder) else { return Ok(Vec::new()) };
    let root = Root::open(folder)?;
    let mut found = Vec::new();
    while let Some(dot) = stem.iter().rposition(|&byte| byte == b'.') {
        stem = &stem[..dot];
        let name = [stem, ENDING].concat();
        if let Some(real) = root.real_path(OsStr::from_bytes(&name))? {
            found.push(folder.join(real));
        }
    }
    Ok(found)
}

const CASPER: &str = "casper";
const ENDING: &[u8] = b".squashfs";

/// As newer live systems of Ubuntu have them: a small system, and what makes it a larger one.
fn squashfs_files(root: &Root) -> Result<Vec<PathBuf>> {
    let entries = root.entries(CASPER)?.unwrap_or_default();
    let files = entries.into_iter().map(|entry| entry.name);
    let files = files.filter(|name| name.as_bytes().ends_with(ENDING));
    Ok(files.map(|name| Path::new(CASPER).join(name)).collect())
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

    #[test]
    fn the_name_of_an_image_tells_which_ones_lie_under_it() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["casper", "other"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
            for name in ["a", "a.b.c", "a.x", "d"] {
                std::fs::write(dir.path().join(folder).join(format!("{name}.squashfs")), "").unwrap();
            }
            std::os::unix::fs::symlink("/etc/passwd", dir.path().join(folder).join("d.e.squashfs")).unwrap();
        }
        let under = |image: &str| {
            let found = layers_under(&dir.path().join(image)).unwrap();
            let names = found.iter().map(|path| path.strip_prefix(dir.path()).unwrap().display().to_string());
            names.collect::<Vec<_>>()
        };
        assert_eq!(under("casper/a.b.c.d.squashfs"), ["casper/a.b.c.squashfs", "casper/a.squashfs"]);
        assert_eq!(under("casper/a.x.squashfs"), ["casper/a.squashfs"]);
        assert_eq!(under("casper/d.e.f.squashfs"), ["casper/d.squashfs"]);
        for image in ["casper/a.squashfs", "other/a.b.c.squashfs", "casper/a.b.c.img"] {
            assert!(under(image).is_empty(), "{image}");
        }
    }
}
