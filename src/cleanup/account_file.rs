//! One of the account databases: lines of fields between colons (passwd(5), shadow(5), group(5)...).

use std::collections::HashSet;

use crate::error::Result;
use crate::sys::confined::Root;

/// Such a file, read into memory. Lines that nobody changes stay as they are, byte for byte, whatever
/// their shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AccountFile {
    path: &'static str,
    lines: Vec<Vec<u8>>,
    changed: bool,
}

/// Names are bytes: old installations have accounts in other encodings than UTF-8.
pub(super) type Name = Vec<u8>;

impl AccountFile {
    /// None if there is no such file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(root: &Root, path: &'static str) -> Result<Option<Self>> {
        Ok(root.read(path)?.map(|content| Self::parse(path, &content)))
    }

    fn parse(path: &'static str, content: &[u8]) -> Self {
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        let lines = match content {
            b"" => Vec::new(),
            content => content.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect(),
        };
        Self { path, lines, changed: false }
    }

    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, root: &Root) -> Result<()> {
        if !self.changed {
            return Ok(());
        }
        let mut content = Vec::new();
        for line in &self.lines {
            content.extend_from_slice(line);
            content.push(b'\n');
        }
        root.write(self.path, &content)
    }

    pub(super) fn lines(&self) -> &[Vec<u8>] {
        &self.lines
    }

    /// The names in the first fields.
    pub(super) fn names(&self) -> HashSet<Name> {
        self.lines.iter().filter_map(|line| field(line, 0)).map(<[u8]>::to_vec).collect()
    }

    /// Keeps the lines for which `keep` holds.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Vec<u8>) -> bool) {
        let before = self.lines.len();
        self.lines.retain(keep);
        self.changed |= self.lines.len() != before;
    }

    /// Takes names out of the list, separated by commas, in a field of every line.
    pub(super) fn remove_members(&mut self, number: usize, gone: impl Fn(&[u8]) -> bool) {
        for line in &mut self.lines {
            let Some(list) = field(line, number) else { continue };
            if !members(list).any(&gone) {
                continue;
            }
            let list: Vec<&[u8]> = members(list).filter(|member| !gone(member)).collect();
            let list = list.join(&b',');
            let mut fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
            fields[number] = &list;
            *line = fields.join(&b':');
            self.changed = true;
        }
    }
}

/// A field of a line, counted from 0.
pub(super) fn field(line: &[u8], number: usize) -> Option<&[u8]> {
    line.split(|&byte| byte == b':').nth(number)
}

/// The members in a list; empty names are none.
pub(super) fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').filter(|member| !member.is_empty())
}

/// A field that is a user or group id, as strtoll(3) reads it for the shadow tools.
pub(super) fn id(line: &[u8], number: usize) -> Option<u64> {
    let text = field(line, number)?.trim_ascii_start();
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_nobody_changes_stay_as_they_are() {
        let text = b"root:x:0:\n\n# comment\n+::::\nodd\nall:x:5:a,,b,\nwheel:x:10:a,b";
        let mut file = AccountFile::parse("etc/group", text);
        file.remove_members(3, |name| name == b"c");
        assert!(!file.changed);
        file.remove_members(3, |name| name == b"a");
        file.retain(|line| line != b"odd");
        let lines: Vec<_> = file.lines.iter().map(|line| std::str::from_utf8(line).unwrap()).collect();
        assert_eq!(lines, ["root:x:0:", "", "# comment", "+::::", "all:x:5:b", "wheel:x:10:b"]);
        assert!(file.changed);
    }

    #[test]
    fn ids_are_plain_decimal_numbers() {
        for (text, number) in
            [("1000", Some(1000)), ("0500", Some(500)), (" 7", Some(7)), ("+7", Some(7)), ("", None)]
        {
            assert_eq!(id(format!("a:x:{text}:").as_bytes(), 2), number, "{text:?}");
        }
        for text in ["-1", "1e3", "0x10", "99999999999999999999"] {
            assert_eq!(id(format!("a:x:{text}:").as_bytes(), 2), None, "{text:?}");
        }
        assert_eq!(id(b"a:x", 2), None);
    }
}
