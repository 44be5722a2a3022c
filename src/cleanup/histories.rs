//! What people have typed into shells and similar programs: now and then a password.

use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::error::Result;
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
                root.remove(home.join(entry.name))?;
            }
        }
        for name in OTHERS {
            let path = home.join(name);
            if root.is_file(&path)? {
                root.remove(path)?;
            }
        }
    }
    Ok(())
}

fn is_history(name: &[u8]) -> bool {
    name.starts_with(b".") && (name.ends_with(b"_history") || name.ends_with(b"-history"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
