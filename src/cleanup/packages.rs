//! What the package manager keeps: answers to its questions, downloads, caches (C12, C15).

use rustix::fs::FileType;

use crate::error::Result;
use crate::sys::confined::Root;

use super::logs::empty;

/// Empties debconf's database of passwords (C12).
///
/// # Errors
/// When it cannot be emptied.
pub fn debconf_passwords(root: &Root) -> Result<()> {
    empty(root, "var/cache/debconf/passwords.dat")
}

/// Removes what `apt-get clean` removes, from the places that apt uses by default: downloaded packages,
/// partial downloads, and the caches that it makes anew when it needs them (C15).
///
/// # Errors
/// When one cannot be removed.
pub fn apt_cache(root: &Root) -> Result<()> {
    for dir in ["var/cache/apt/archives", "var/cache/apt/archives/partial", "var/lib/apt/lists/partial"] {
        for entry in root.entries(dir)?.unwrap_or_default() {
            if entry.name != "lock" && entry.kind != FileType::Directory {
                root.remove(std::path::Path::new(dir).join(entry.name))?;
            }
        }
    }
    for entry in root.entries("var/cache/apt")?.unwrap_or_default() {
        let name = entry.name.as_encoded_bytes();
        // apt writes them under names with a further ending first, which may have stayed behind.
        let is_cache = ["pkgcache.bin", "srcpkgcache.bin"].iter().any(|cache| {
            name.strip_prefix(cache.as_bytes()).is_some_and(|end| matches!(end, [] | [b'.', ..]))
        });
        if is_cache && entry.kind == FileType::RegularFile {
            root.remove(std::path::Path::new("var/cache/apt").join(&entry.name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    // C12, C15
    #[test]
    fn passwords_downloads_and_caches_go_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("var/cache");
        for name in ["debconf", "apt/archives/partial"] {
            fs::create_dir_all(cache.join(name)).unwrap();
        }
        fs::create_dir_all(dir.path().join("var/lib/apt/lists/partial")).unwrap();
        fs::write(dir.path().join("var/lib/apt/lists/Release"), "x").unwrap();
        for name in [
            "debconf/passwords.dat",
            "debconf/config.dat",
            "apt/archives/lock",
            "apt/archives/a_1_all.deb",
            "apt/archives/partial/b.deb",
            "apt/pkgcache.bin",
            "apt/srcpkgcache.bin.Xy12",
            "apt/pkgcache.binary",
        ] {
            fs::write(cache.join(name), "x").unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        debconf_passwords(&root).unwrap();
        apt_cache(&root).unwrap();
        assert_eq!(root.read("var/cache/debconf/passwords.dat").unwrap().unwrap(), b"");
        let left = super::super::walk::files(&root, "var").unwrap();
        let left: Vec<_> = left.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(
            left,
            [
                "var/cache/apt/archives/lock",
                "var/cache/apt/pkgcache.binary",
                "var/cache/debconf/config.dat",
                "var/cache/debconf/passwords.dat",
                "var/lib/apt/lists/Release",
            ]
        );
    }
}
