//! What a shell hands back: records that end in a NUL byte.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::expand::belongs_to_the_shell;
use crate::config::variables::{Origin, Variables, is_name};

/// What the child knew at its end.
pub(super) struct Answer {
    exported: BTreeSet<String>,
    values: BTreeMap<String, OsString>,
    /// Exported without a value.
    waiting: BTreeSet<String>,
}

impl Answer {
    /// Nothing if it is not complete.
    pub(super) fn parse(records: &[u8]) -> Option<Self> {
        let mut records = records.split(|&byte| byte == 0);
        let exported = part(&mut records)?;
        let values = part(&mut records)?;
        let waiting = part(&mut records)?;
        // After the last empty record nothing follows but the end.
        if records.next() != Some(b"") || records.next().is_some() {
            return None;
        }
        let names = |part: Vec<(String, Option<OsString>)>| part.into_iter().map(|(name, _)| name).collect();
        let values = values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Some(Self { exported: names(exported), values, waiting: names(waiting) })
    }

    /// The variables that were there before, as the code from `origin` has left them. `own` are variables
    /// that mean something here, whatever the shell uses them for.
    pub(super) fn merged_into(self, before: &Variables, own: &[&str], origin: &Origin) -> Variables {
        let belongs_to_the_shell = |name: &str| belongs_to_the_shell(name, own);
        let mut after = before.clone();
        let known = |name: &str| self.values.contains_key(name) || self.waiting.contains(name);
        let names = before.iter().map(|(name, ..)| name).chain(before.exported_without_value());
        for gone in names.filter(|name| !known(name) && !belongs_to_the_shell(name)) {
            after.unset(gone);
        }
        let ours = self.values.into_iter().filter(|(name, _)| !belongs_to_the_shell(name));
        for (name, value) in ours {
            let exported = self.exported.contains(&name);
            if before.is_exported(&name) && !exported {
                after.unset(&name);
            }
            if after.get(&name) != Some(&value) {
                after.assign(&name, value, origin.clone());
            }
            if exported {
                after.export(&name, origin.clone());
            }
        }
        for name in self.waiting.into_iter().filter(|name| !belongs_to_the_shell(name)) {
            after.export(&name, origin.clone());
        }
        after
    }
}

/// The records up to the next empty one, those with an acceptable name; nothing without an empty one.
fn part<'a>(records: &mut impl Iterator<Item = &'a [u8]>) -> Option<Vec<(String, Option<OsString>)>> {
    let mut part = Vec::new();
    loop {
        let record = records.next()?;
        if record.is_empty() {
            return Some(part);
        }
        let equals = record.iter().position(|&byte| byte == b'=');
        let (name, value) = match equals {
            Some(at) => (&record[..at], Some(OsString::from_vec(record[at + 1..].to_vec()))),
            None => (record, None),
        };
        let name = std::str::from_utf8(name).ok().filter(|name| is_name(name));
        part.extend(name.map(|name| (name.to_owned(), value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_breaks_off_is_none() {
        let whole = b"A=1\0\0A=1\0B=2\n\0\0C\0\0";
        let answer = Answer::parse(whole).unwrap();
        assert!(answer.exported.contains("A") && !answer.exported.contains("B"));
        assert_eq!(answer.values["B"], "2\n");
        assert!(answer.waiting.contains("C"));
        for end in 0..whole.len() {
            assert!(Answer::parse(&whole[..end]).is_none(), "{end}");
        }
        assert!(Answer::parse(b"\0\0\0").is_some());
        assert!(Answer::parse(b"\0\0\0more\0").is_none());
    }
}
