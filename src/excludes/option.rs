//! The values of `--exclude`: one pattern each, or a list of them (D3).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::FileType;

use crate::error::{Result, shown};
use crate::excludes::{ANYWHERE, Pattern};
use crate::sys::confined::Root;

/// The patterns that a value of `--exclude` stands for.
///
/// It is split at line breaks; each line is one pattern if it matches something in the chroot as it is,
/// so that every pattern with a blank or comma that worked before goes on working, and otherwise a list
/// separated by blanks and commas. `/` and `./` at the start of a pattern are dropped.
///
/// # Errors
/// When the chroot cannot be read, or a pattern begins with `../`.
pub fn split(value: &OsStr, root: &Root) -> Result<Vec<Pattern>> {
    let mut patterns = Vec::new();
    for line in value.as_bytes().split(|&byte| byte == b'\n') {
        if let Some(whole) = relative(line) {
            patterns.extend(split_line(line, whole, root)?);
        }
    }
    Ok(patterns)
}

fn split_line(line: &[u8], whole: &[u8], root: &Root) -> Result<Vec<Pattern>> {
    let pattern = Pattern::parse(OsStr::from_bytes(whole))?;
    let is_separator = |byte: &u8| matches!(byte, b' ' | b'\t' | b',');
    if !line.iter().any(is_separator) || line.starts_with(ANYWHERE) || found(root, &pattern)? {
        return Ok(vec![pattern]);
    }
    let words = line.split(is_separator).filter_map(relative);
    let patterns = words.map(|word| Pattern::parse(OsStr::from_bytes(word))).collect::<Result<Vec<_>>>()?;
    let told: Vec<String> = patterns.iter().map(|pattern| format!("`{}`", shown(pattern.text()))).collect();
    log::warn!(
        "nothing is called `{}`; read as a list of what to exclude: {}",
        shown(OsStr::from_bytes(line)),
        told.join(", ")
    );
    Ok(patterns)
}

/// A pattern without `/` and `./` at its start; none if nothing is left of it.
fn relative(text: &[u8]) -> Option<&[u8]> {
    let mut text = text;
    while let Some(rest) = text.strip_prefix(b"/").or_else(|| text.strip_prefix(b"./")) {
        text = rest;
    }
    (!text.is_empty()).then_some(text)
}

/// Whether a pattern matches something below the root. Links are not followed, as mksquashfs does not.
fn found(root: &Root, pattern: &Pattern) -> Result<bool> {
    found_below(root, pattern.components())
}

fn found_below(dir: &Root, components: &[std::ffi::OsString]) -> Result<bool> {
    let Some((component, rest)) = components.split_first() else { return Ok(true) };
    for entry in dir.entries("")?.unwrap_or_default() {
        if !crate::sys::fnmatch::matches(component, &entry.name) {
            continue;
        }
        if rest.is_empty() {
            return Ok(true);
        }
        if entry.kind == FileType::Directory {
            if let Some(below) = dir.dir(&entry.name)? {
                if found_below(&below, rest)? {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    // D3
    #[test]
    fn a_value_is_one_pattern_if_it_matches_as_a_whole_and_else_a_list() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["home/user", "tmp", "with space/x, y", "a,b"] {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        for (value, expected) in [
            ("home", &["home"][..]),
            ("no/such/thing", &["no/such/thing"]),
            ("home tmp", &["home", "tmp"]),
            ("home,tmp", &["home", "tmp"]),
            ("/home, ./tmp/", &["home", "tmp/"]),
            ("with space", &["with space"]),
            ("with space/x, y", &["with space/x, y"]),
            ("with */x,*", &["with */x,*"]),
            ("a,b", &["a,b"]),
            ("a,c", &["a", "c"]),
            ("home\ntmp\n", &["home", "tmp"]),
            ("... a b", &["... a b"]),
            ("/home", &["home"]),
            ("/", &[]),
            ("", &[]),
        ] {
            let patterns = split(value.as_ref(), &root).unwrap();
            let texts: Vec<_> = patterns.iter().map(|pattern| pattern.text().to_str().unwrap()).collect();
            assert_eq!(texts, expected, "{value:?}");
        }
        assert!(split("../home".as_ref(), &root).is_err());
    }
}
