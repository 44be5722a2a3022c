//! What stays out of an image: exclude patterns and how they match, as `mksquashfs -wildcards` has it
//! (X1 to X4).

mod list;
mod option;
mod refine;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::error::{Error, Result};
use crate::sys::fnmatch;

pub use list::{doubt, read_file};
pub use option::split;
pub use refine::{ImageList, Lines, image_list};

/// What makes a pattern match at any depth (X2).
const ANYWHERE: &[u8] = b"... ";

/// One exclude pattern: components that are matched one by one against a path's, from the root of the
/// source or from any directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The pattern as mksquashfs takes it.
    text: OsString,
    components: Vec<OsString>,
    anywhere: bool,
}

impl Pattern {
    /// Reads a pattern. A slash at its end is ignored (X2).
    ///
    /// # Errors
    /// When it begins with `/`, `./` or `../`: patterns are relative to the root of the source.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let bytes = text.as_bytes();
        let (path, anywhere) = match bytes.strip_prefix(ANYWHERE) {
            Some(path) => (path, true),
            None => (bytes, false),
        };
        // mksquashfs looks at the start of the whole text only.
        if [&b"/"[..], b"./", b"../"].iter().any(|start| bytes.starts_with(start)) {
            return Err(Error::said(format!(
                "the exclude pattern `{}` begins with /, ./ or ../",
                crate::error::shown(text)
            ))
            .hint("patterns are relative to the root of the chroot: write `home/*`, not `/home/*`"));
        }
        let components = path.split(|&byte| byte == b'/').filter(|component| !component.is_empty());
        let mut components: Vec<_> = components.map(|c| OsStr::from_bytes(c).to_owned()).collect();
        // At any depth only the first component counts (I29; seen of mksquashfs 4.5.1).
        components.truncate(if anywhere { 1 } else { usize::MAX });
        if components.is_empty() {
            return Err(Error::said("an exclude pattern is empty"));
        }
        Ok(Self { text: text.to_owned(), components, anywhere })
    }

    /// A pattern for names below this path alone, whatever characters are in it.
    ///
    /// # Errors
    /// As for [`Pattern::parse`].
    pub fn literal_then(path: &Path, name: &str) -> Result<Self> {
        let mut text = Vec::new();
        for &byte in path.as_os_str().as_bytes() {
            if b"*?[]\\!@+()|".contains(&byte) {
                text.push(b'\\');
            }
            text.push(byte);
        }
        text.push(b'/');
        text.extend_from_slice(name.as_bytes());
        Self::parse(&OsString::from_vec(text))
    }

    /// The pattern as `mksquashfs -wildcards -e` takes it.
    pub fn text(&self) -> &OsStr {
        &self.text
    }

    /// Its components, for those who look for what it matches.
    fn components(&self) -> &[OsString] {
        &self.components
    }
}

/// A set of patterns. What one of them matches is left out, with everything below it (X3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Excludes {
    patterns: Vec<Pattern>,
}

impl Excludes {
    /// The set of these patterns.
    pub fn new(patterns: Vec<Pattern>) -> Self {
        Self { patterns }
    }

    /// The patterns.
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// The patterns that bear on the entries of the source's root directory.
    pub fn root(&self) -> Level<'_> {
        Level { begun: self.patterns.iter().map(|pattern| (pattern, 0)).collect() }
    }

    /// The patterns that bear on the entries of a directory, by its path relative to the root of the
    /// source; it is not left out itself.
    pub fn level(&self, directory: &Path) -> Level<'_> {
        let mut level = self.root();
        for component in directory.iter() {
            level = level.enter(component).unwrap_or_default();
        }
        level
    }

    /// Whether a path relative to the root of the source is left out, by itself or because a directory
    /// above it is.
    pub fn matches(&self, path: &Path) -> bool {
        let mut level = self.root();
        for component in path.iter() {
            match level.enter(component) {
                Some(below) => level = below,
                None => return true,
            }
        }
        false
    }
}

/// The patterns that bear on the entries of one directory: each with the number of its components that
/// the path so far has matched. Going down a tree with it costs each name one match a live pattern,
/// however long the paths are.
#[derive(Debug, Clone, Default)]
pub struct Level<'a> {
    begun: Vec<(&'a Pattern, usize)>,
}

impl<'a> Level<'a> {
    /// The level of the entry `name` of this directory; none if that entry is left out.
    pub fn enter(&self, name: &OsStr) -> Option<Level<'a>> {
        let mut below = Vec::new();
        for &(pattern, matched) in &self.begun {
            if fnmatch::matches(&pattern.components[matched], name) {
                if matched + 1 == pattern.components.len() {
                    return None;
                }
                below.push((pattern, matched + 1));
            }
            if pattern.anywhere && matched == 0 {
                below.push((pattern, 0));
            }
        }
        Some(Level { begun: below })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excludes(patterns: &[&str]) -> Excludes {
        Excludes::new(patterns.iter().map(|text| Pattern::parse(text.as_ref()).unwrap()).collect())
    }

    // X2, X3
    #[test]
    fn patterns_match_component_by_component_from_the_root() {
        for (pattern, path, expected) in [
            ("home/*", "home/user", true),
            ("home/*", "home/user/notes", true),
            ("home/*", "home", false),
            ("home/*", "home/.x", false),
            ("home/.*", "home/.x", true),
            ("home", "srv/home", false),
            ("etc/.git/", "etc/.git/config", true),
            ("*", "a/b", true),
            ("var//log/*.gz", "var/log/a.gz", true),
            ("var/log/*.gz", "var/log/sub/a.gz", false),
            ("... *.o", "a.o", true),
            ("... *.o", "deep/er/a.o", true),
            ("... b/c", "a/b/c/d", true),
            ("... b/c", "b/b/c", true),
            ("... b/c", "b/x/c", true),
            ("... b/c", "a/c", false),
            ("... /b//c/", "x/b/d", true),
            ("!(boot|lib)", "home", true),
            ("!(boot|lib)", "lib/modules", false),
            ("boot/@(grub|efi)", "boot/efi/x", true),
            ("with space/*", "with space/a", true),
            ("trailing ", "trailing", false),
        ] {
            assert_eq!(excludes(&[pattern]).matches(path.as_ref()), expected, "{pattern} against {path}");
        }
    }

    // X2
    #[test]
    fn a_pattern_that_does_not_start_at_the_root_is_refused() {
        for text in ["/home", "./home", "../home", "... ", "", "/"] {
            assert!(Pattern::parse(text.as_ref()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_literal_path_is_no_pattern() {
        for path in ["a*b", "x[1]", "back\\slash", "!(a)", "+(x)|y"] {
            let excludes = Excludes::new(vec![Pattern::literal_then(path.as_ref(), "*").unwrap()]);
            assert!(excludes.matches(&Path::new(path).join("c")), "{path}");
            assert!(!excludes.matches("aab/c".as_ref()) && !excludes.matches("x1/c".as_ref()));
        }
    }
}
