//! Drop-in scripts: which there are, and at which point of a run each has its turn (F38, F39).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{During, Result};

/// The scripts of `ltsp image` that are built in here. A drop-in script takes its turn among them by its
/// name, and the place of the one that has the same name.
pub const MOUNT: &str = "35-image.sh";
/// See [`MOUNT`].
pub const CLEANUP: &str = "55-cleanup.sh";
/// See [`MOUNT`].
pub const WRITE: &str = "65-mksquashfs.sh";
/// The same of `ltsp kernel`.
pub const KERNEL: &str = "55-kernel.sh";

/// A drop-in script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropIn {
    /// Where it lies.
    pub path: PathBuf,
    /// The name by which LTSP_SKIP_SCRIPTS knows it (F37); with `_main` behind it, that of the function
    /// that is called.
    pub name: String,
}

/// A point of a run at which drop-in scripts have their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing is mounted yet. Of `ltsp kernel`: before everything.
    Start,
    /// The source is mounted, and not cleaned.
    Mounted,
    /// It is cleaned, and will be compressed next.
    Cleaned,
    /// The image is published, its kernel copied. Of `ltsp kernel`: after everything.
    End,
}

impl DropIn {
    /// When its function is called in a run of this applet.
    pub fn stage(&self, applet: &str) -> Stage {
        let before = |script: &str| self.file_name() < script;
        match applet {
            "image" if before(MOUNT) => Stage::Start,
            "image" if before(CLEANUP) => Stage::Mounted,
            "image" if before(WRITE) => Stage::Cleaned,
            "kernel" if before(KERNEL) => Stage::Start,
            _ => Stage::End,
        }
    }

    /// The name of its file.
    pub fn file_name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }
}

/// The drop-in scripts in these folders, in the order of their names: regular files, not links, whose names
/// begin with a digit. Of two of the same name, the one in the later folder counts.
///
/// # Errors
/// When a folder cannot be read.
pub fn list(folders: &[PathBuf]) -> Result<Vec<DropIn>> {
    let mut found: Vec<DropIn> = Vec::new();
    for folder in folders {
        if !folder.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(folder).during("read", folder)? {
            let entry = entry.during("read", folder)?;
            let name = entry.file_name();
            let is_file = entry.file_type().during("look up", entry.path())?.is_file();
            if is_file && name.as_bytes().first().is_some_and(u8::is_ascii_digit) {
                found.retain(|other| other.file_name() != name);
                found.push(DropIn { path: entry.path(), name: name_of(&name) });
            }
        }
    }
    found.sort_by(|a, b| a.file_name().cmp(b.file_name()));
    Ok(found)
}

/// From `60-my-step.sh` to `my_step`.
fn name_of(file: &OsStr) -> String {
    let bytes = file.as_bytes();
    let start = bytes.iter().position(u8::is_ascii_alphabetic).unwrap_or(bytes.len());
    let letters = bytes[start..].iter().take_while(|&&byte| byte != b'.');
    letters.map(|&byte| if byte.is_ascii_alphanumeric() { char::from(byte) } else { '_' }).collect()
}

/// The folders of an applet's drop-in scripts; those in `/etc` go before those in `/run`.
pub fn folders(run: &Path, etc: &Path, kind: &str, applet: &str) -> [PathBuf; 2] {
    [run, etc].map(|root| root.join("ltsp").join(kind).join(applet))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    // F38
    #[test]
    fn scripts_are_regular_files_that_begin_with_a_digit_the_later_folder_wins() {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(&dir.path().join("run"), &dir.path().join("etc"), "server", "image");
        for folder in &folders {
            fs::create_dir_all(folder.join("70-folder")).unwrap();
        }
        for (folder, name) in [(0, "60-site.sh"), (0, "40-run"), (1, "60-site.sh"), (1, "site.sh"), (1, "5x")]
        {
            fs::write(folders[folder].join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("60-site.sh", folders[1].join("61-link.sh")).unwrap();
        let found = list(&folders).unwrap();
        let expected = [folders[0].join("40-run"), folders[1].join("5x"), folders[1].join("60-site.sh")];
        assert_eq!(found.iter().map(|script| script.path.clone()).collect::<Vec<_>>(), expected);
        assert!(list(&[dir.path().join("missing")]).unwrap().is_empty());
    }

    // F37, F39
    #[test]
    fn a_script_has_its_turn_by_its_file_and_its_function_by_its_name() {
        for (file, name, image, kernel) in [
            ("11-image-distro.sh", "image_distro", Stage::Start, Stage::Start),
            ("35-image.sh", "image", Stage::Mounted, Stage::Start),
            ("40-a.b.c", "a", Stage::Mounted, Stage::Start),
            ("55-cleanup.sh", "cleanup", Stage::Cleaned, Stage::Start),
            ("60-my-step.sh", "my_step", Stage::Cleaned, Stage::End),
            ("6", "", Stage::Cleaned, Stage::End),
            ("60.sh", "sh", Stage::Cleaned, Stage::End),
            ("70-after", "after", Stage::End, Stage::End),
        ] {
            let script = DropIn { path: Path::new("/x").join(file), name: name_of(file.as_ref()) };
            assert_eq!(script.name, name);
            assert_eq!((script.stage("image"), script.stage("kernel")), (image, kernel), "{file}");
        }
    }
}
