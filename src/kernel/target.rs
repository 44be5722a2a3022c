//! The directory that a name's kernels are published in (K4).

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, mkdirat};
use rustix::io::Errno;

use crate::error::{During, Error, Result, shown};
use crate::sys::confined::Root;

/// The path of the target below a TFTP directory: TFTP_BOOT_DIR/NAME.
///
/// # Errors
/// When TFTP_BOOT_DIR leads out of the TFTP directory.
pub fn path(boot_dir: &OsStr, name: &OsStr) -> Result<PathBuf> {
    let boot_dir = Path::new(boot_dir);
    if boot_dir.components().any(|part| part == Component::ParentDir) {
        return Err(Error::new("use TFTP_BOOT_DIR", boot_dir, "it leads out of the TFTP directory")
            .hint("set it to the name of a directory below TFTP_DIRS, such as ltsp"));
    }
    let parts = boot_dir.components().chain(Path::new(name).components());
    Ok(parts.filter(|part| matches!(part, Component::Normal(_))).collect())
}

/// Opens the target; what is missing of it is made.
///
/// A link on the way is followed only where nobody but root can have made it: a TFTP directory often
/// belongs to the user of the TFTP server, and we are about to give files away in root's name.
///
/// # Errors
/// When a part of it cannot be made, is no directory, or is a link that is not trusted.
pub fn open(tftp: &Path, path: &Path) -> Result<Root> {
    let mut folder = Root::open(tftp)?;
    let mut names = path.iter().peekable();
    while let Some(name) = names.next() {
        let (next, made) = step(&folder, name)?;
        folder = next;
        // The last one is opened to all when it is filled (K24); those above it are as the umask asks.
        let closed = folder.stat("")?.is_some_and(|stat| stat.st_mode & 0o005 != 0o005);
        if made && closed && names.peek().is_some() {
            log::info!(
                "Only some users can enter {}: `chmod 755` it for the TFTP server",
                shown(folder.path())
            );
        }
    }
    Ok(folder)
}

/// Opens the directory `name`; whether it had to be made.
fn step(folder: &Root, name: &OsStr) -> Result<(Root, bool)> {
    let path = folder.shown(name);
    let made = match mkdirat(folder, name, Mode::from(0o777)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(error) => return Err(Error::io("make the directory", path, error)),
    };
    let kind = |stat: &rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode);
    let stat = rustix::fs::statat(folder, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
    let stat = stat.during("look up", &path)?;
    if kind(&stat) == FileType::Symlink {
        let by_root_only = stat.st_uid == 0
            && folder.stat("")?.is_some_and(|dir| dir.st_uid == 0 && dir.st_mode & 0o022 == 0);
        if !by_root_only {
            return Err(Error::new(
                "publish kernels in",
                path,
                "it is a link that others than root can change",
            )
            .hint("replace it by a directory, or give it and its directory to root"));
        }
        return Ok((Root::open(&path)?, false));
    }
    match folder.dir(name)? {
        Some(inside) => Ok((inside, made)),
        None => Err(Error::new("publish kernels in", path, "it is not a directory")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};

    // K4, S3
    #[test]
    fn the_target_is_tftp_boot_dir_and_name() {
        for (boot_dir, name, expected) in [
            ("ltsp", "amd64", "ltsp/amd64"),
            ("net/", "amd64", "net/amd64"),
            ("/a//b/.", "with space", "a/b/with space"),
            ("", "amd64", "amd64"),
            ("ltsp", "sub/dir", "ltsp/sub/dir"),
        ] {
            assert_eq!(path(boot_dir.as_ref(), name.as_ref()).unwrap(), Path::new(expected));
        }
        assert!(path("../x".as_ref(), "amd64".as_ref()).is_err());
    }

    #[test]
    fn a_link_on_the_way_is_followed_only_if_it_is_surely_roots() {
        let dir = tempfile::tempdir().unwrap();
        let (tftp, elsewhere) = (dir.path().join("tftp"), dir.path().join("elsewhere"));
        fs::create_dir(&tftp).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, tftp.join("ltsp")).unwrap();
        open(&tftp, Path::new("ltsp/amd64")).unwrap();
        assert!(elsewhere.join("amd64").is_dir());
        lchown(tftp.join("ltsp"), Some(65534), None).unwrap();
        assert!(open(&tftp, Path::new("ltsp/i386")).is_err());
        lchown(tftp.join("ltsp"), Some(0), None).unwrap();
        fs::set_permissions(&tftp, fs::Permissions::from_mode(0o775)).unwrap();
        assert!(open(&tftp, Path::new("ltsp/i386")).is_err());
        assert!(!elsewhere.join("i386").exists());
    }

    #[test]
    fn a_file_on_the_way_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ltsp"), "").unwrap();
        let error = open(dir.path(), Path::new("ltsp/amd64")).unwrap_err();
        assert!(error.to_string().contains("not a directory"), "{error}");
    }
}
