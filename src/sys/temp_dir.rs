//! A temporary directory for mount points.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// An empty directory with an unpredictable name, of mode 0700, in `TMPDIR` or `/tmp` (S11).
///
/// On drop it is removed by a plain rmdir: it is meant to have things mounted on it, and a removal of
/// its contents would, after an unmount that failed, delete what is mounted there.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(prefix: &str) -> Result<Self> {
        let made = tempfile::Builder::new().prefix(prefix).tempdir();
        let made = made.map_err(|source| {
            let dir = std::env::temp_dir();
            Error::io("make a temporary directory in", dir, of_system(source))
                .hint("TMPDIR can name another directory")
        })?;
        Ok(Self { path: made.keep() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The system's error inside of the crate's, which names the file that could not be made.
fn of_system(error: std::io::Error) -> std::io::Error {
    let inner = error.get_ref().and_then(|inner| inner.source()?.downcast_ref::<std::io::Error>());
    match inner.and_then(std::io::Error::raw_os_error) {
        Some(number) => std::io::Error::from_raw_os_error(number),
        None => error,
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir(&self.path) {
            log::warn!("{}", Error::io("remove the temporary directory", &self.path, error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_gone_when_dropped_but_its_contents_are_never_deleted() {
        let dir = TempDir::new("ltsp-test.").unwrap();
        let path = dir.path().to_owned();
        std::fs::write(path.join("kept"), "x").unwrap();
        drop(dir);
        assert!(path.join("kept").exists());
        std::fs::remove_file(path.join("kept")).unwrap();
        drop(TempDir { path: path.clone() });
        assert!(!path.exists());
    }
}
