//! The lines of `passwd` and `group`.
//!
//! A line is odd if it is not what passwd(5) or group(5) say. The original gives up on the first one.
//! Here an odd line is named in a warning and kept, as long as its name and ids can be read; without
//! them nobody could tell whether it is a person's, so it is left out, with a warning, too. Comments
//! and empty lines are left out: an account that is commented out may hold a password. Lines that ask
//! another service for accounts (`+`, `-`, nsswitch.conf(5) "compat") stay.

use std::collections::HashMap;
use std::path::Path;

use crate::error::shown;

/// Names are bytes: old installations have accounts in other encodings than UTF-8.
pub(super) type Name = Vec<u8>;

/// A line that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line<T> {
    Entry(T),
    /// A line for another service, with its first field.
    Compat {
        line: Vec<u8>,
        name: Name,
    },
}

impl<T> Line<T> {
    pub(super) fn entry(&self) -> Option<&T> {
        match self {
            Self::Entry(entry) => Some(entry),
            Self::Compat { .. } => None,
        }
    }
}

/// A user in passwd(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: Name,
    pub(super) uid: i64,
    pub(super) gid: i64,
    /// Its number in the file, from 1.
    pub(super) line: usize,
    password: Vec<u8>,
    /// Real name, home directory and shell, as they stand there.
    rest: Vec<Vec<u8>>,
}

/// A group in group(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: Name,
    pub(super) gid: i64,
    /// Each once, in the order in which they are listed.
    pub(super) members: Vec<Name>,
    password: Vec<u8>,
}

/// What the two kinds of lines have in common.
pub(super) trait Entry: Sized {
    /// How many fields it has.
    const FIELDS: usize;
    /// `fields` are at least [`Self::FIELDS`]. None if an id is no number.
    fn parse(fields: &[&[u8]], line: usize) -> Option<Self>;
    fn name(&self) -> &Name;
    /// The line as it is written, without its end.
    fn line(&self) -> Vec<u8>;
}

impl Entry for User {
    const FIELDS: usize = 7;

    fn parse(fields: &[&[u8]], line: usize) -> Option<Self> {
        Some(Self {
            name: fields[0].to_vec(),
            uid: id(fields[2])?,
            gid: id(fields[3])?,
            line,
            password: fields[1].to_vec(),
            rest: fields[4..].iter().map(|field| field.to_vec()).collect(),
        })
    }

    fn name(&self) -> &Name {
        &self.name
    }

    fn line(&self) -> Vec<u8> {
        let (uid, gid) = (self.uid.to_string(), self.gid.to_string());
        let first = [&self.name[..], &self.password, uid.as_bytes(), gid.as_bytes()];
        first.into_iter().chain(self.rest.iter().map(Vec::as_slice)).collect::<Vec<_>>().join(&b':')
    }
}

impl Entry for Group {
    const FIELDS: usize = 4;

    fn parse(fields: &[&[u8]], _: usize) -> Option<Self> {
        let mut members: Vec<Name> = Vec::new();
        for member in fields[3].split(|&byte| byte == b',').filter(|member| !member.is_empty()) {
            if !members.iter().any(|known| known == member) {
                members.push(member.to_vec());
            }
        }
        Some(Self { name: fields[0].to_vec(), gid: id(fields[2])?, members, password: fields[1].to_vec() })
    }

    fn name(&self) -> &Name {
        &self.name
    }

    fn line(&self) -> Vec<u8> {
        let (gid, members) = (self.gid.to_string(), self.members.join(&b','));
        [&self.name[..], &self.password, gid.as_bytes(), &members].join(&b':')
    }
}

/// The lines of a file; of equal names the last line's content counts, at the place of the first (I13).
pub(super) fn read<T: Entry>(path: &Path, content: &[u8]) -> Vec<Line<T>> {
    let mut lines: Vec<Line<T>> = Vec::new();
    let mut places: HashMap<Name, usize> = HashMap::new();
    for (number, line) in (1..).zip(content.split(|&byte| byte == b'\n')) {
        let line = line.trim_ascii();
        match line.first() {
            None | Some(b'#') => continue,
            Some(b'+' | b'-') => {
                let name = line.split(|&byte| byte == b':').next().unwrap_or_default().to_vec();
                lines.push(Line::Compat { line: line.to_vec(), name });
                continue;
            }
            Some(_) => {}
        }
        let Some(entry) = entry::<T>(path, number, line) else { continue };
        match places.get(entry.name()) {
            Some(&place) => lines[place] = Line::Entry(entry),
            None => {
                places.insert(entry.name().clone(), lines.len());
                lines.push(Line::Entry(entry));
            }
        }
    }
    lines
}

fn entry<T: Entry>(path: &Path, number: usize, line: &[u8]) -> Option<T> {
    let odd = |how: String| log::warn!("{}, line {number}: {how}", shown(path));
    let mut fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
    let count = fields.len();
    fields.resize(count.max(T::FIELDS), b"");
    let entry = if fields[0].is_empty() { None } else { T::parse(&fields, number) };
    if entry.is_none() {
        odd("left out of the image, as it has no name, or an id in it is no number".to_owned());
    } else if count != T::FIELDS {
        odd(format!("it has {count} fields instead of {}", T::FIELDS));
    }
    entry
}

fn id(field: &[u8]) -> Option<i64> {
    std::str::from_utf8(field).ok()?.trim_ascii().parse().ok()
}
