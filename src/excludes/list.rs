//! The file of exclude patterns, as `mksquashfs -ef` reads it (X1).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{During, Error, Result, shown};
use crate::excludes::Pattern;

/// The patterns of a file, one a line.
///
/// # Errors
/// When the file cannot be read, or a line holds a pattern that cannot be one; its number is told.
pub fn read_file(path: &Path) -> Result<Vec<Pattern>> {
    let text = std::fs::read(path).during("read the exclude patterns in", path)?;
    patterns(&text, &shown(path), |_| true)
}

/// The patterns of a text, one a line, of the lines that are `wanted`; `name` is what messages call it.
///
/// # Errors
/// When a wanted line holds a pattern that cannot be one.
pub(super) fn patterns(text: &[u8], name: &str, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<Pattern>> {
    let mut patterns = Vec::new();
    for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        let Some(text) = pattern_of(line).filter(|_| wanted(line)) else { continue };
        let pattern = Pattern::parse(OsStr::from_bytes(text))
            .map_err(|error| Error::said(format!("{name}, line {number}: {error}")))?;
        patterns.push(pattern);
    }
    Ok(patterns)
}

/// What is odd about a file of patterns, if something is: line ends that are part of the patterns, which
/// then match nothing.
///
/// # Errors
/// When the file cannot be read.
pub fn doubt(path: &Path) -> Result<Option<String>> {
    let text = std::fs::read(path).during("read the exclude patterns in", path)?;
    let line = text.split(|&byte| byte == b'\n').position(|line| line.ends_with(b"\r"));
    Ok(line.map(|index| {
        format!(
            "{}, line {}: it ends in a carriage return (DOS line end), which is part of the pattern; \
             sed -i 's/\\r$//' removes them",
            shown(path),
            index + 1
        )
    }))
}

/// The pattern in a line: blanks before it are skipped, blanks after it are part of it, and a backslash
/// at its start protects a blank or `#` that it really begins with.
fn pattern_of(line: &[u8]) -> Option<&[u8]> {
    let start = line.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != 0x0b)?;
    match &line[start..] {
        [b'#', ..] | [b'\\'] => None,
        [b'\\', rest @ ..] => Some(rest),
        pattern => Some(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // X1
    #[test]
    fn lines_are_read_as_mksquashfs_reads_them() {
        for (line, pattern) in [
            ("home/*", Some("home/*")),
            ("  \thome/*", Some("home/*")),
            ("tail  ", Some("tail  ")),
            ("# comment", None),
            ("  # comment", None),
            ("", None),
            ("   ", None),
            ("\\#x", Some("#x")),
            ("\\ x", Some(" x")),
            ("  \\", None),
            ("a\\*", Some("a\\*")),
        ] {
            assert_eq!(pattern_of(line.as_bytes()), pattern.map(str::as_bytes), "{line:?}");
        }
    }

    #[test]
    fn a_bad_line_is_told_with_file_and_number() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "home/*\n\n/etc\n").unwrap();
        let error = read_file(file.path()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}, line 3: ", file.path().display())), "{error}");
        std::fs::write(&file, "home/*\n#\ntmp/.*").unwrap();
        assert_eq!(read_file(file.path()).unwrap().len(), 2);
    }
}
