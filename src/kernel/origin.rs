//! Which root the kernels of a name are taken from (K10 to K12, D5, D6).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::config::settings::KernelSettings;
use crate::error::{During, Result};
use crate::source::listing;

/// A name to publish kernels under, and where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The last part of the target (K4).
    pub name: OsString,
    /// The root.
    pub place: Place,
}

/// Where a root lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this directory.
    Directory(PathBuf),
    /// In this image or block device, which has to be mounted.
    Image(PathBuf),
}

/// Finds the root that the admin means by `operand`; none if there is none.
///
/// # Errors
/// When there is no current directory to which a relative path could belong.
pub fn find(settings: &KernelSettings, operand: &OsStr) -> Result<Option<Origin>> {
    if let Some(root) = &settings.root_override {
        let name = Path::new(operand).file_name().map(OsStr::to_owned);
        return Ok(name.map(|name| Origin { name, place: Place::Directory(root.clone()) }));
    }
    let base = std::path::absolute(&settings.base).during("look up", &settings.base)?;
    if let Some(name) = name_in(&base, Path::new(operand)) {
        if let Some(place) = place(&base, &name, settings.prefer_image) {
            return Ok(Some(Origin { name, place }));
        }
    }
    // A path to a chroot elsewhere (D6, H31); a word without a slash is never one.
    if !operand.as_bytes().contains(&b'/') {
        return Ok(None);
    }
    let path = std::path::absolute(operand).during("look up", operand)?;
    let Some(name) = path.file_name().map(OsStr::to_owned) else { return Ok(None) };
    let place = if settings.prefer_image {
        place(&base, &name, true)
    } else {
        listing::is_chroot(&path).then_some(Place::Directory(path))
    };
    Ok(place.map(|place| Origin { name, place }))
}

/// The name that a relative operand is, or that a path into the base directory stands for (D6).
fn name_in(base: &Path, operand: &Path) -> Option<OsString> {
    if operand.is_relative() {
        let mut name = PathBuf::new();
        for part in operand.components() {
            match part {
                Component::Normal(part) => name.push(part),
                Component::CurDir => {}
                _ => return None,
            }
        }
        return Some(name.into_os_string()).filter(|name| !name.is_empty());
    }
    let folder = operand.parent()?;
    let file = operand.file_name()?;
    if folder == base {
        return Some(file.to_owned());
    }
    let stem = file.as_bytes().strip_suffix(b".img").filter(|stem| !stem.is_empty())?;
    (folder == base.join("images")).then(|| OsStr::from_bytes(stem).to_owned())
}

/// The chroot of that name, or else its image (K10).
fn place(base: &Path, name: &OsStr, prefer_image: bool) -> Option<Place> {
    let chroot = base.join(name);
    if !prefer_image && listing::is_chroot(&chroot) {
        return Some(Place::Directory(chroot));
    }
    let mut file = name.to_owned();
    file.push(".img");
    let image = base.join("images").join(file);
    image.exists().then_some(Place::Image(image))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn chroot(dir: &Path) {
        fs::create_dir_all(dir.join("bin")).unwrap();
        fs::write(dir.join("bin/true"), "").unwrap();
        fs::set_permissions(dir.join("bin/true"), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn settings(base: &Path) -> KernelSettings {
        KernelSettings {
            base: base.to_owned(),
            names: Vec::new(),
            tftp_dirs: Vec::new(),
            tftp_boot_dir: "ltsp".into(),
            prefer_image: false,
            root_override: None,
        }
    }

    /// A base directory with a chroot `both` and `chroot`, images `both` and `image`, and beside it a
    /// chroot `elsewhere`.
    fn base() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base");
        for name in ["base/both", "base/chroot", "base/sub/dir", "elsewhere"] {
            chroot(&dir.path().join(name));
        }
        fs::create_dir_all(base.join("images")).unwrap();
        fs::create_dir_all(base.join("empty")).unwrap();
        for name in ["both.img", "image.img", "elsewhere.img"] {
            fs::write(base.join("images").join(name), "").unwrap();
        }
        (dir, base)
    }

    fn found(settings: &KernelSettings, operand: &str) -> Option<(String, PathBuf)> {
        let origin = find(settings, operand.as_ref()).unwrap()?;
        let (Place::Directory(path) | Place::Image(path)) = origin.place;
        Some((origin.name.into_string().unwrap(), path))
    }

    // K10, D5, D6
    #[test]
    fn a_name_stands_for_its_chroot_or_else_for_its_image() {
        let (dir, base) = base();
        let full = |path: &str| dir.path().join(path).to_str().unwrap().to_owned();
        for (operand, prefer_image, expected) in [
            ("both", false, Some(("both", "base/both"))),
            ("both", true, Some(("both", "base/images/both.img"))),
            ("both/", false, Some(("both", "base/both"))),
            ("chroot", false, Some(("chroot", "base/chroot"))),
            ("chroot", true, None), // K10: no fallback
            ("image", false, Some(("image", "base/images/image.img"))),
            ("sub/dir", false, Some(("sub/dir", "base/sub/dir"))),
            ("empty", false, None),
            ("nope", false, None),
            ("mock", false, None),
            ("", false, None),
            (".", false, None),
            ("..", false, None),
            ("../elsewhere", false, None), // relative to where we are, not to the base
            ("/", false, None),
            (&full("base/chroot///"), false, Some(("chroot", "base/chroot"))),
            (&full("base/both"), true, Some(("both", "base/images/both.img"))),
            (&full("base/images/image.img"), false, Some(("image", "base/images/image.img"))),
            (&full("base/images/both.img"), false, Some(("both", "base/both"))),
            (&full("base/images/.img"), false, None),
            (&full("base/sub/dir"), false, Some(("dir", "base/sub/dir"))),
            (&full("elsewhere"), false, Some(("elsewhere", "elsewhere"))),
            (&full("elsewhere"), true, Some(("elsewhere", "base/images/elsewhere.img"))),
            (&full("nowhere"), false, None),
        ] {
            let settings = KernelSettings { prefer_image, ..settings(&base) };
            let expected = expected.map(|(name, path)| (name.to_owned(), dir.path().join(path)));
            assert_eq!(found(&settings, operand), expected, "{operand} {prefer_image}");
        }
    }

    // D7 (c)
    #[test]
    fn a_root_that_was_imaged_goes_before_everything_of_its_name() {
        let (dir, base) = base();
        let root = dir.path().join("elsewhere");
        for prefer_image in [false, true] {
            let settings =
                KernelSettings { root_override: Some(root.clone()), prefer_image, ..settings(&base) };
            assert_eq!(found(&settings, "both"), Some(("both".into(), root.clone())));
        }
    }
}
