//! Where secrets lie: patterns for paths in an image.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Folders whose files come from packages, or are caches of the package manager.
const OF_PACKAGES: [&str; 14] = [
    "bin",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "sbin",
    "usr",
    "boot/grub",
    "snap",
    "var/cache",
    "var/lib/apt",
    "var/lib/dpkg",
    "var/lib/flatpak",
    "var/lib/snapd",
];
/// Folders in them that are the admin's all the same.
const NOT_OF_PACKAGES: [&str; 2] = ["usr/local", "var/cache/debconf"];

/// Whether the files of a folder come from packages.
pub(super) fn is_of_packages(folder: &Path) -> bool {
    let below = |names: &[&str]| names.iter().any(|name| folder.starts_with(name));
    below(&OF_PACKAGES) && !below(&NOT_OF_PACKAGES)
}

/// Components separated by slashes, in which `*` stands for any bytes but a slash. With a slash in front
/// it is a path from the image's root; without one, the last components of a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pattern {
    text: &'static str,
}

impl Pattern {
    pub(super) fn new(text: &'static str) -> Self {
        Self { text }
    }

    /// The last component.
    pub(super) fn name(self) -> &'static str {
        self.text.rsplit('/').next().unwrap_or_default()
    }

    /// Whether the pattern is that of `path`, which is relative to the image's root.
    pub(super) fn matches(self, path: &Path) -> bool {
        let (anchored, text) = match self.text.strip_prefix('/') {
            Some(text) => (true, text),
            None => (false, self.text),
        };
        let mut components = path.components().rev();
        for pattern in text.rsplit('/') {
            let Some(component) = components.next() else { return false };
            if !matches(pattern.as_bytes(), component.as_os_str().as_bytes()) {
                return false;
            }
        }
        !anchored || components.next().is_none()
    }
}

/// Whether a component is as its pattern says.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let mut pieces = pattern.split(|&byte| byte == b'*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        let Some(at) = find(rest, piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    true
}

/// The first place of `wanted` in `text`.
pub(super) fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let Some(&first) = wanted.first() else { return Some(0) };
    let mut from = 0;
    while let Some(at) = text.get(from..)?.iter().position(|&byte| byte == first) {
        if text[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_whole_path_or_the_end_of_one() {
        for (pattern, path, expected) in [
            ("/etc/shadow", "etc/shadow", true),
            ("/etc/shadow", "srv/etc/shadow", false),
            ("/etc/shadow*", "etc/shadow", true),
            ("/etc/shadow*", "etc/shadow-", true),
            ("/etc/*/x", "etc/a/b/x", false),
            ("/etc/*/x", "etc/a/x", true),
            (".aws/credentials", "root/.aws/credentials", true),
            (".aws/credentials", "home/a/b/.aws/credentials", true),
            (".aws/credentials", ".aws/credentials", true),
            (".aws/credentials", "credentials", false),
            ("ssh_host_*_key", "a/ssh_host_rsa_key", true),
            ("ssh_host_*_key", "a/ssh_host_rsa_key.pub", false),
            ("*.pem", "a/.pem", true),
            ("a*b*c", "axbxbc", true),
            ("a*b*c", "axbxbcx", false),
            ("*key*", "my.key.old", true),
            ("*key*", "my.kez", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(Path::new(path)), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn folders_of_packages_are_told_from_those_of_the_admin() {
        for (folder, expected) in [
            ("usr/share/x", true),
            ("usr/local/etc", false),
            ("var/lib/dpkg/info", true),
            ("var/lib", false),
            ("etc", false),
            ("", false),
            ("library", false),
        ] {
            assert_eq!(is_of_packages(Path::new(folder)), expected, "{folder}");
        }
    }
}
