//! What a system says about itself (os-release(5)).

use std::io::Read;

use crate::error::{During, Result};
use crate::sys::confined::Root;

/// More than any distribution writes, in bytes.
const LARGEST: u64 = 64 * 1024;

/// The text of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsRelease(String);

impl OsRelease {
    /// That of the system in `root`; none if it says nothing.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(root: &Root) -> Result<Option<Self>> {
        for path in ["etc/os-release", "usr/lib/os-release"] {
            if let Some(file) = root.open_file(path)? {
                let mut text = Vec::new();
                file.take(LARGEST).read_to_end(&mut text).during("read", root.shown(path))?;
                return Ok(Some(Self(String::from_utf8_lossy(&text).into_owned())));
            }
        }
        Ok(None)
    }

    /// Whether the system is of this family of distributions, or the distribution itself: `debian`, `suse`.
    pub fn is(&self, family: &str) -> bool {
        let lines = self.0.lines();
        let mut values = lines.filter_map(|line| line.strip_prefix("ID=").or(line.strip_prefix("ID_LIKE=")));
        values.any(|value| value.trim_matches(['"', '\'']).split_whitespace().any(|word| word == family))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::path::Path;

    pub fn os_release(text: &str) -> OsRelease {
        OsRelease(text.to_owned())
    }

    #[test]
    fn a_system_belongs_to_what_it_is_and_to_what_it_is_like() {
        let release = os_release("NAME=\"Rocky fedora\"\nID=\"rocky\"\nID_LIKE='rhel centos fedora'\n");
        for family in ["rocky", "rhel", "fedora"] {
            assert!(release.is(family), "{family}");
        }
        for family in ["Rocky", "rhe", "debian", ""] {
            assert!(!release.is(family), "{family}");
        }
    }

    #[test]
    fn the_file_is_read_from_both_its_places_and_never_from_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let of = |path: &Path| OsRelease::of(&Root::open(path).unwrap()).unwrap();
        std::fs::create_dir_all(dir.path().join("etc")).unwrap();
        assert_eq!(of(dir.path()), None);
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("etc/os-release")).unwrap();
        assert_eq!(of(dir.path()), None);
        std::fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
        std::fs::write(dir.path().join("usr/lib/os-release"), "ID=gentoo\n").unwrap();
        assert!(of(dir.path()).unwrap().is("gentoo"));
    }
}
