//! What the programs of the machine have written down about it (C20, I25).

use std::path::Path;

use rustix::fs::FileType;

use crate::error::Result;
use crate::sys::confined::Root;

use super::walk::{files, has_ending};

/// Deletes old logs (`*.old`, `*.1`, `*.gz`) at any depth of `/var/log` (D29), and empties the others in
/// place, so that their programs find them with the right owner and mode. The journal's files are not
/// emptied: it takes them for damaged.
///
/// # Errors
/// When one cannot be deleted or emptied.
pub fn clear(root: &Root) -> Result<()> {
    for path in files(root, "var/log")? {
        if [".old", ".1", ".gz"].iter().any(|ending| has_ending(&path, ending)) {
            root.remove(&path)?;
        } else if !path.starts_with("var/log/journal") {
            empty(root, &path)?;
        }
    }
    Ok(())
}

/// Empties the logs that lie directly in `/var/log`, in place (I25). Those in its folders are left out of
/// the image by default (I27).
///
/// # Errors
/// When one cannot be emptied.
pub fn empty_topmost(root: &Root) -> Result<()> {
    for entry in root.entries("var/log")?.unwrap_or_default() {
        if entry.kind == FileType::RegularFile {
            empty(root, Path::new("var/log").join(entry.name))?;
        }
    }
    Ok(())
}

/// Empties a regular file in place, if there is one that is not empty.
///
/// # Errors
/// When it cannot be emptied.
pub(super) fn empty(root: &Root, path: impl AsRef<Path>) -> Result<()> {
    if root.is_file(&path)? && root.stat(&path)?.is_some_and(|stat| stat.st_size > 0) {
        root.write(path, b"")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    // C20, D29
    #[test]
    fn old_logs_go_and_the_others_are_emptied_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("var/log");
        fs::create_dir_all(log.join("apt")).unwrap();
        fs::create_dir_all(log.join("journal/id")).unwrap();
        fs::create_dir_all(log.join("dir.1")).unwrap();
        for name in
            ["syslog", "syslog.1", "apt/history.log", "apt/history.log.2.gz", "x.old", "old", "journal/id/a"]
        {
            fs::write(log.join(name), "text").unwrap();
        }
        fs::set_permissions(log.join("syslog"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::write(dir.path().join("secret"), "kept").unwrap();
        symlink("/secret", log.join("link.gz")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, log.join("fifo"), rustix::fs::Mode::from(0o600)).unwrap();

        let root = Root::open(dir.path()).unwrap();
        clear(&root).unwrap();
        let left: Vec<_> = files(&root, "var/log").unwrap();
        let left: Vec<_> = left.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(
            left,
            ["var/log/apt/history.log", "var/log/journal/id/a", "var/log/old", "var/log/syslog"]
        );
        assert_eq!(root.read("var/log/syslog").unwrap().unwrap(), b"");
        assert_eq!(root.read("var/log/apt/history.log").unwrap().unwrap(), b"");
        assert_eq!(root.read("var/log/journal/id/a").unwrap().unwrap(), b"text");
        assert_eq!(root.read("var/log/link.gz").unwrap().unwrap(), b"kept");
        assert_eq!(root.stat("var/log/syslog").unwrap().unwrap().st_mode & 0o777, 0o640);
        assert!(root.is_dir("var/log/dir.1").unwrap());
    }

    // I25
    #[test]
    fn of_the_modern_cleanup_only_the_topmost_logs_are_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("var/log");
        fs::create_dir_all(log.join("deep")).unwrap();
        for name in ["app.log", ".hidden", "syslog.1", "deep/app.log"] {
            fs::write(log.join(name), "text").unwrap();
        }
        fs::write(dir.path().join("elsewhere"), "text").unwrap();
        symlink("/elsewhere", log.join("link")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        empty_topmost(&root).unwrap();
        for (path, text) in [
            ("var/log/app.log", ""),
            ("var/log/.hidden", ""),
            ("var/log/syslog.1", ""),
            ("var/log/deep/app.log", "text"),
            ("elsewhere", "text"),
        ] {
            assert_eq!(root.read(path).unwrap().unwrap(), text.as_bytes(), "{path}");
        }
    }

    #[test]
    fn logs_of_the_host_are_never_reached() {
        let host = tempfile::tempdir().unwrap();
        fs::create_dir_all(host.path().join("log")).unwrap();
        fs::create_dir_all(host.path().join("chroot/var")).unwrap();
        fs::write(host.path().join("log/syslog"), "text").unwrap();
        symlink(host.path().join("log"), host.path().join("chroot/var/log")).unwrap();
        clear(&Root::open(&host.path().join("chroot")).unwrap()).unwrap();
        assert_eq!(fs::read(host.path().join("log/syslog")).unwrap(), b"text");
    }
}
