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
    /// The components before the last one.
    folders: &'static str,
    /// The last one.
    pub(super) name: &'static str,
}

impl Pattern {
    pub(super) fn new(text: &'static str) -> Self {
        let (folders, name) = text.split_at(text.rfind('/').map_or(0, |slash| slash + 1));
        Self { folders, name }
    }

    /// Whether a file of that name in `folder`, which is relative to the image's root, is meant.
    pub(super) fn matches(self, folder: &Path, name: &[u8]) -> bool {
        if !matches(self.name.as_bytes(), name) {
            return false;
        }
        let (anchored, folders) = match self.folders.strip_prefix('/') {
            Some(folders) => (true, folders),
            None => (false, self.folders),
        };
        let mut components = folder.components().rev();
        for pattern in folders.split_terminator('/').rev() {
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
    while let Some(at) = position(text.get(from..)?, first) {
        if text[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// The first place of a byte. Whole chunks are looked at first, without a branch for each byte, which
/// compilers make vector instructions of: most of the time of an audit is spent here.
fn position(text: &[u8], wanted: u8) -> Option<usize> {
    const CHUNK: usize = 64;
    let chunks = text.chunks_exact(CHUNK);
    let before =
        chunks.take_while(|chunk| !chunk.iter().fold(false, |found, &byte| found | (byte == wanted))).count()
            * CHUNK;
    text[before..].iter().position(|&byte| byte == wanted).map(|at| before + at)
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
            let (folder, name) = (Path::new(path).parent().unwrap(), Path::new(path).file_name().unwrap());
            let found = Pattern::new(pattern).matches(folder, name.as_bytes());
            assert_eq!(found, expected, "{pattern} {path}");
        }
    }

    #[test]
    fn texts_are_found_wherever_they_lie() {
        for before in [0, 1, 62, 63, 64, 65, 200] {
            let text = [&vec![b'B'; before][..], b"BEGIN", &vec![b'x'; before]].concat();
            assert_eq!(find(&text, b"BEGIN"), Some(before));
            assert_eq!(find(&text, b"BEGIN "), None);
            assert_eq!(find(&text, b"N"), Some(before + 4));
        }
        assert_eq!(find(b"", b"x"), None);
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
