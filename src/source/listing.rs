//! Which chroots and images a base directory holds.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::error::{During, Result};
use crate::sys::confined::Root;

/// The chroots directly in `base`: directories and links to directories, other than `images`, in which
/// `bin/true` can be executed (A4). Names in the order of their bytes; none if `base` is no directory.
///
/// # Errors
/// When `base` cannot be read.
pub fn chroots(base: &Path) -> Result<Vec<OsString>> {
    let mut names = names_in(base)?;
    names.retain(|name| name != "images" && is_chroot(&base.join(name)));
    Ok(names)
}

/// The images in `base`/images: regular files and block devices, links followed, whose names end in
/// `.img`; the names without that ending (A5). In the order of their bytes; none if there is no such
/// directory.
///
/// # Errors
/// When the directory cannot be read.
pub fn images(base: &Path) -> Result<Vec<OsString>> {
    let dir = base.join("images");
    let files = names_in(&dir)?;
    let stems = files.into_iter().filter_map(|file| {
        let stem = file.as_bytes().strip_suffix(b".img").filter(|stem| !stem.is_empty())?;
        is_image(&dir.join(&file)).then(|| OsStr::from_bytes(stem).to_owned())
    });
    let mut stems: Vec<OsString> = stems.collect();
    stems.sort(); // "a-b.img" comes before "a.img", but "a" before "a-b"
    Ok(stems)
}

/// Whether `dir` is a directory, or a link to one, in which `bin/true` can be executed. Links in it are
/// followed as a program inside it would follow them.
pub fn is_chroot(dir: &Path) -> bool {
    let executable = || Root::open(dir)?.is_executable("bin/true");
    dir.is_dir()
        && executable().unwrap_or_else(|error| {
            // One broken entry must not hide the others.
            log::warn!("{error}");
            false
        })
}

/// Whether `path` is a regular file or a block device, links followed.
pub fn is_image(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() || metadata.file_type().is_block_device())
}

/// The names in a directory, sorted; none if it is not there.
fn names_in(dir: &Path) -> Result<Vec<OsString>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error).during("read", dir),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.during("read", dir)?.file_name());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn chroot(dir: &Path, mode: u32) {
        std::fs::create_dir_all(dir.join("bin")).unwrap();
        std::fs::write(dir.join("bin/true"), "").unwrap();
        std::fs::set_permissions(dir.join("bin/true"), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    // A4, A6
    #[test]
    fn chroots_are_directories_with_an_executable_true() {
        let base = tempfile::tempdir().unwrap();
        for (name, mode) in
            [("i386", 0o755), ("amd64", 0o755), (".hidden", 0o755), ("data", 0o644), ("images", 0o755)]
        {
            chroot(&base.path().join(name), mode);
        }
        symlink("amd64", base.path().join("with blank")).unwrap();
        symlink("gone", base.path().join("dangling")).unwrap();
        std::fs::write(base.path().join("file"), "").unwrap();
        assert_eq!(chroots(base.path()).unwrap(), [".hidden", "amd64", "i386", "with blank"]);
        assert!(chroots(&base.path().join("nothing")).unwrap().is_empty());
        assert!(chroots(&base.path().join("file")).unwrap().is_empty());
    }

    // A4: the links of a chroot are those of a system that runs in it.
    #[test]
    fn an_absolute_link_is_followed_inside_the_chroot() {
        let base = tempfile::tempdir().unwrap();
        let merged = base.path().join("merged");
        chroot(&merged.join("usr"), 0o755);
        symlink("/usr/bin", merged.join("bin")).unwrap();
        let escaping = base.path().join("escaping");
        std::fs::create_dir_all(escaping.join("bin")).unwrap();
        symlink(merged.join("usr/bin/true"), escaping.join("bin/true")).unwrap();
        assert_eq!(chroots(base.path()).unwrap(), ["merged"]);
    }

    // A5, N9
    #[test]
    fn images_are_files_with_the_ending_img() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("images");
        std::fs::create_dir_all(dir.join("directory.img")).unwrap();
        for name in ["a.img", "a-b.img", "a.b.img", ".img", "a.img.old", "b.img.tmp", "my image.img"] {
            std::fs::write(dir.join(name), "").unwrap();
        }
        symlink("a.img", dir.join("link.img")).unwrap();
        symlink("gone", dir.join("dangling.img")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.join("fifo.img"), rustix::fs::Mode::from(0o600)).unwrap();
        assert_eq!(images(base.path()).unwrap(), ["a", "a-b", "a.b", "link", "my image"]);
        assert!(images(&base.path().join("nothing")).unwrap().is_empty());
    }
}
