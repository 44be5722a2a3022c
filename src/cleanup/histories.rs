//! What people have typed into shells and similar programs: now and then a password.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Timespec, Timestamps, UTIME_OMIT, utimensat};

use crate::error::{During, Result};
use crate::sys::confined::Root;

/// Files with other names than `.…_history`, in a home directory.
const OTHERS: [&str; 5] =
    [".histfile", ".lesshst", ".viminfo", ".local/share/fish/fish_history", ".config/fish/fish_history"];

/// Removes the histories in root's home directory and in those below `/home`, as far as they are in the
/// image at all.
///
/// # Errors
/// When one cannot be removed.
pub fn remove(root: &Root) -> Result<()> {
    let mut homes = vec![PathBuf::from("root")];
    for entry in root.entries("home")?.unwrap_or_default() {
        if entry.kind == FileType::Directory {
            homes.push(Path::new("home").join(entry.name));
        }
    }
    for home in homes {
        for entry in root.entries(&home)?.unwrap_or_default() {
            if entry.kind != FileType::Directory && is_history(entry.name.as_encoded_bytes()) {
                forget(root, &home.join(entry.name))?;
            }
        }
        for name in OTHERS {
            let path = home.join(name);
            if root.is_file(&path)? {
                forget(root, &path)?;
            }
        }
    }
    Ok(())
}

/// Removes a file. Its folder keeps its time: by default home directories are excluded but for themselves,
/// so that nothing else of this would be seen in the image.
fn forget(root: &Root, path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new(""));
    let (Some(folder), Some(before)) = (root.dir(parent)?, root.stat(parent)?) else { return Ok(()) };
    root.remove(path)?;
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: before.st_mtime,
            tv_nsec: i64::try_from(before.st_mtime_nsec).unwrap_or(0),
        },
    };
    utimensat(&folder, ".", &times, AtFlags::empty()).during("set the time of", root.shown(parent))
}

fn is_history(name: &[u8]) -> bool {
    name.starts_with(b".") && (name.ends_with(b"_history") || name.ends_with(b"-history"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    // I35
    #[test]
    fn a_home_directory_keeps_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("root");
        fs::create_dir(&home).unwrap();
        fs::write(home.join(".bash_history"), "").unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_500_000_000, 7);
        fs::File::open(&home).unwrap().set_modified(time).unwrap();
        remove(&Root::open(dir.path()).unwrap()).unwrap();
        assert!(!home.join(".bash_history").exists());
        assert_eq!(fs::metadata(&home).unwrap().modified().unwrap(), time);
    }

    #[test]
    fn histories_go_from_all_homes_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let gone = [
            "root/.bash_history",
            "root/.viminfo",
            "home/a/.python_history",
            "home/b c/.zsh_history",
            "home/a/.local/share/fish/fish_history",
        ];
        let left = ["root/.bashrc", "home/a/my_history", "home/.bash_history", "srv/.bash_history"];
        for path in gone.iter().chain(&left) {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "mysql -psecret\n").unwrap();
        }
        remove(&Root::open(dir.path()).unwrap()).unwrap();
        for (paths, stay) in [(&gone[..], false), (&left, true)] {
            for path in paths {
                assert_eq!(dir.path().join(path).exists(), stay, "{path}");
            }
        }
    }
}
