//! The two settings that a root's `etc/ltsp/update-kernels.conf` has for the server, read without
//! running any of it (D27).

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;

use crate::error::{During, Result};
use crate::sys::confined::Root;

/// The file, in the root.
const FILE: &str = "etc/ltsp/update-kernels.conf";

/// More than this is not read: a real one has some 4 kB.
const LIMIT: u64 = 1 << 20; // bytes

/// The values; none where the file does not set one, or sets it to nothing (K50).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Assignments {
    /// `KERNEL_NAMES`: a sed program that finds kernels among file names.
    pub kernel_names: Option<OsString>,
    /// `INITRD_NAME`: a sed program that makes a kernel's name its ramdisk's.
    pub initrd_name: Option<OsString>,
}

/// Reads the file, links followed inside the root; without one nothing is set.
///
/// # Errors
/// When it cannot be read.
pub fn read(root: &Root) -> Result<Assignments> {
    let Some(file) = root.open_file(FILE)? else { return Ok(Assignments::default()) };
    let mut text = Vec::new();
    file.take(LIMIT).read_to_end(&mut text).during("read", root.shown(FILE))?;
    let mut values = Assignments::default();
    for (name, value) in assignments(&text) {
        let place = match name {
            b"KERNEL_NAMES" => &mut values.kernel_names,
            b"INITRD_NAME" => &mut values.initrd_name,
            _ => continue,
        };
        match value {
            Some(value) => *place = Some(OsString::from_vec(value)).filter(|value| !value.is_empty()),
            None => log::warn!(
                "{}: the value of {} is not literal text: ignored, as nothing from a chroot is run here",
                root.shown(FILE).display(),
                String::from_utf8_lossy(name)
            ),
        }
    }
    Ok(values)
}

/// Every command of the text that does nothing but assign, in order: name and value. A value is none if
/// a shell would have to expand it.
fn assignments(text: &[u8]) -> Vec<(&[u8], Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let words = command(&mut rest);
        let words = match words.first() {
            Some(word) if word.raw == b"export" => &words[1..],
            _ => &words[..],
        };
        let assigned: Vec<_> = words.iter().map_while(assignment).collect();
        // `NAME=value program` sets nothing for later; but in `NAME=$(program)` that is not what it is.
        if assigned.len() == words.len() || assigned.iter().any(|(_, value)| value.is_none()) {
            found.extend(assigned);
        }
    }
    found
}

/// One word: how it is written, and what it means, unless it is to be expanded.
struct Word<'a> {
    raw: &'a [u8],
    value: Option<Vec<u8>>,
}

fn assignment<'a>(word: &Word<'a>) -> Option<(&'a [u8], Option<Vec<u8>>)> {
    let name_end = word.raw.iter().position(|&byte| byte == b'=')?;
    let name = &word.raw[..name_end];
    let is_name = !name.is_empty() && name.iter().all(|&byte| byte == b'_' || byte.is_ascii_alphanumeric());
    is_name.then(|| (name, word.value.as_ref().map(|value| value[name_end + 1..].to_vec())))
}

/// Takes the words up to the end of a line or `;` off the text.
fn command<'a>(text: &mut &'a [u8]) -> Vec<Word<'a>> {
    let mut words = Vec::new();
    loop {
        match text {
            [] => return words,
            [b'\n' | b';' | b'&' | b'|', rest @ ..] => {
                *text = rest;
                return words;
            }
            [b' ' | b'\t', rest @ ..] | [b'\\', b'\n', rest @ ..] => *text = rest,
            [b'#', ..] => {
                let end = text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len());
                *text = &text[end..];
            }
            _ => words.push(word(text)),
        }
    }
}

/// Takes one word off the text: plain characters, quoted pieces and escapes, one after the other.
fn word<'a>(text: &mut &'a [u8]) -> Word<'a> {
    let start = *text;
    let mut value = Vec::new();
    let mut literal = true;
    loop {
        match *text {
            [] | [b' ' | b'\t' | b'\n' | b';' | b'&' | b'|', ..] => break,
            [b'\\', b'\n', rest @ ..] => *text = rest,
            [b'\\', escaped, rest @ ..] => {
                value.push(*escaped);
                *text = rest;
            }
            [b'\'', rest @ ..] => {
                let end = rest.iter().position(|&byte| byte == b'\'');
                literal &= end.is_some();
                let end = end.unwrap_or(rest.len());
                value.extend_from_slice(&rest[..end]);
                *text = rest.get(end + 1..).unwrap_or_default();
            }
            [b'"', rest @ ..] => {
                *text = rest;
                literal &= double_quoted(text, &mut value);
            }
            [byte, rest @ ..] => {
                literal &= !b"$`*?[(){}<>~".contains(byte);
                value.push(*byte);
                *text = rest;
            }
        }
    }
    Word { raw: &start[..start.len() - text.len()], value: literal.then_some(value) }
}

/// Takes the text up to and with the closing quote; whether it is literal.
fn double_quoted(text: &mut &[u8], value: &mut Vec<u8>) -> bool {
    let mut literal = true;
    loop {
        match *text {
            [] => return false, // never closed
            [b'"', rest @ ..] => {
                *text = rest;
                return literal;
            }
            [b'\\', b'\n', rest @ ..] => *text = rest,
            [b'\\', escaped @ (b'$' | b'`' | b'"' | b'\\'), rest @ ..] => {
                value.push(*escaped);
                *text = rest;
            }
            [byte, rest @ ..] => {
                literal &= !b"$`".contains(byte);
                value.push(*byte);
                *text = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<Option<String>> {
        let found = assignments(text.as_bytes());
        let last = found.into_iter().rev().find(|(name, _)| *name == b"KERNEL_NAMES")?;
        Some(last.1.map(|value| String::from_utf8(value).unwrap()))
    }

    // D27
    #[test]
    fn values_are_read_as_a_shell_would_read_literal_ones() {
        for (text, expected) in [
            (r"KERNEL_NAMES='s/\(a\)$/& \1/p'", r"s/\(a\)$/& \1/p"),
            (r#"KERNEL_NAMES="s/a\$/\\1 \"x\" \d/p" # comment"#, r#"s/a$/\1 "x" \d/p"#),
            ("KERNEL_NAMES=s,a,b,p", "s,a,b,p"),
            (r"KERNEL_NAMES=a\ b'c d'\''e'", "a bc d'e"),
            ("  export KERNEL_NAMES='a'; OTHER=1", "a"),
            ("KERNEL_NAMES=a\nKERNEL_NAMES='b'\n", "b"),
            ("KERNEL_NAMES=''", ""),
            ("KERNEL_NAMES='two\nlines'", "two\nlines"),
            ("KERNEL_NAMES=a\\\nb", "ab"),
            ("KERNEL_NAMES=a\nOTHER='\nKERNEL_NAMES=b\n'\n", "a"),
            ("KERNEL_NAMES=a\nOTHER=\"$(\nKERNEL_NAMES=b\n)\"\n", "a"),
            ("KERNEL_NAMES=a\n# KERNEL_NAMES=b\n", "a"),
            ("KERNEL_NAMES=a\nKERNEL_NAMES=b program\n", "a"),
            ("if true; then\n  KERNEL_NAMES=a\nfi\n", "a"),
            ("KERNEL_NAMES=x#y", "x#y"),
        ] {
            assert_eq!(value(text), Some(Some(expected.to_owned())), "{text}");
        }
    }

    // D27
    #[test]
    fn what_would_have_to_be_run_or_expanded_is_no_value() {
        for text in [
            "KERNEL_NAMES=$(touch /tmp/x)",
            "KERNEL_NAMES=`touch /tmp/x`",
            "KERNEL_NAMES=\"$OTHER\"",
            "KERNEL_NAMES=s/*/",
            "KERNEL_NAMES='never closed",
            "KERNEL_NAMES=\"never closed",
        ] {
            assert_eq!(value(text), Some(None), "{text}");
        }
        for text in ["", "MY_KERNEL_NAMES=a", "echo KERNEL_NAMES=a", "KERNEL_NAMES", "'KERNEL_NAMES=a'"] {
            assert_eq!(value(text), None, "{text}");
        }
    }

    // D27
    #[test]
    fn the_file_is_not_looked_for_outside_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path().join("root/etc/ltsp");
        std::fs::create_dir_all(&etc).unwrap();
        let root = Root::open(&dir.path().join("root")).unwrap();
        assert_eq!(read(&root).unwrap(), Assignments::default());
        std::fs::write(dir.path().join("outside"), "INITRD_NAME=stolen\n").unwrap();
        std::os::unix::fs::symlink(dir.path().join("outside"), etc.join("update-kernels.conf")).unwrap();
        assert_eq!(read(&root).unwrap(), Assignments::default());
        std::fs::remove_file(etc.join("update-kernels.conf")).unwrap();
        std::fs::write(etc.join("update-kernels.conf"), "INITRD_NAME='a'\nKERNEL_NAMES=\n").unwrap();
        let expected = Assignments { kernel_names: None, initrd_name: Some("a".into()) };
        assert_eq!(read(&root).unwrap(), expected);
    }
}
