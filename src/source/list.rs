//! The source list `img1,option…,,img2,option…` as a value (S1, S2).

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::error::{Error, Result, shown};

/// What one image is made of: sources that are mounted one after another, each over what was mounted
/// before it (S4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceList {
    /// The first one, which gives the image its name (S3).
    pub first: Element,
    /// The others.
    pub more: Vec<Element>,
}

/// One source of the list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Element {
    /// The name or path as typed; never empty.
    pub image: OsString,
    /// Which part of a disk to take, instead of the one that holds a root file system.
    pub part: Option<Part>,
    /// The type of the file system, instead of the one that its content tells (S29).
    pub fstype: Option<FsType>,
    /// Where in what is mounted so far it goes, without slashes at the ends; empty: over all of it (S5).
    pub subdir: PathBuf,
    /// Options for mount(2) in the place of the default ones, separated by commas (S30).
    pub options: Option<OsString>,
}

/// The value of `partition=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A partition, by the kernel's number (S33).
    Number(u32),
    /// A logical volume, given as `GROUP/VOLUME`.
    Logical {
        /// Its volume group.
        group: String,
        /// Its name in the group.
        volume: String,
    },
}

/// The value of `fstype=` (S29).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FsType {
    /// `gpt`: there is a partition table, GPT or DOS.
    PartitionTable,
    /// A file system by the kernel's name.
    Named(OsString),
}

/// What was understood, for messages.
impl fmt::Display for Element {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&shown(&self.image))?;
        match &self.part {
            Some(Part::Number(number)) => write!(out, ", partition {number}")?,
            Some(Part::Logical { group, volume }) => write!(out, ", logical volume {group}/{volume}")?,
            None => {}
        }
        match &self.fstype {
            Some(FsType::Named(name)) => write!(out, ", as {}", shown(name))?,
            Some(FsType::PartitionTable) => out.write_str(", as a disk with partitions")?,
            None => {}
        }
        if !self.subdir.as_os_str().is_empty() {
            write!(out, ", at /{}", shown(&self.subdir))?;
        }
        match &self.options {
            Some(options) => write!(out, ", mounted with {}", shown(options)),
            None => Ok(()),
        }
    }
}

impl SourceList {
    /// Reads a source list as typed.
    ///
    /// # Errors
    /// When an element is empty (S8), or one of our own options has a wrong value or a wrong place.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let mut bytes = text.as_bytes();
        // "A trailing , or ,, is harmless" (S1).
        while let Some(rest) = bytes.strip_suffix(b",") {
            bytes = rest;
        }
        let mut elements = Vec::new();
        for element in split_at_double_commas(bytes) {
            elements.push(parse_element(text, element)?);
        }
        let first = elements.remove(0);
        Ok(Self { first, more: elements })
    }

    /// All elements, in order.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        std::iter::once(&self.first).chain(&self.more)
    }
}

/// The pieces between two commas in a row; at least one.
fn split_at_double_commas(text: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.windows(2).position(|pair| pair == b",,") {
        pieces.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    pieces.push(rest);
    pieces
}

fn parse_element(list: &OsStr, text: &[u8]) -> Result<Element> {
    let mut words = text.split(|&byte| byte == b',').map(OsStr::from_bytes);
    let image = words.next().unwrap_or_default();
    if image.is_empty() {
        let error = match list.is_empty() {
            true => Error::said("an argument is empty: it names no source"),
            false => Error::said(format!("the source list {} has an empty element", shown(list))),
        };
        return Err(error.hint(HINT));
    }
    let mut element = Element { image: image.to_owned(), ..Element::default() };
    let mut mount_options: Vec<&OsStr> = Vec::new();
    for word in words {
        let (name, value) = match word.as_bytes().iter().position(|&byte| byte == b'=') {
            Some(end) => (&word.as_bytes()[..end], OsStr::from_bytes(&word.as_bytes()[end + 1..])),
            None => (word.as_bytes(), OsStr::new("")),
        };
        let own = matches!(name, b"partition" | b"fstype" | b"subdir") && word.len() > name.len();
        match mount_options.first() {
            // The original passes it to mount, which fails (S2).
            Some(earlier) if own => {
                return Err(Error::said(format!(
                    "in the source list {}, {} stands behind the mount option {}",
                    shown(list),
                    shown(word),
                    shown(earlier)
                ))
                .hint("partition=, fstype= and subdir= come first"));
            }
            None if own => set(&mut element, list, name, value)?,
            _ => mount_options.push(word),
        }
    }
    if !mount_options.is_empty() {
        element.options = Some(mount_options.join(OsStr::new(",")));
    }
    Ok(element)
}

const HINT: &str = "a source list is written IMAGE[,OPTION…][,,IMAGE[,OPTION…]]…";

fn set(element: &mut Element, list: &OsStr, name: &[u8], value: &OsStr) -> Result<()> {
    let wrong = |what: &str| {
        let name = String::from_utf8_lossy(name);
        Error::said(format!("in the source list {}, {name}={} {what}", shown(list), shown(value)))
    };
    match name {
        // Without a value an option is as good as not there.
        b"partition" if value.is_empty() => element.part = None,
        b"partition" => {
            let part = value.to_str().and_then(part);
            element.part = Some(part.ok_or_else(|| {
                wrong("is no partition")
                    .hint("give the number that partition tools show, or GROUP/VOLUME for a logical volume")
            })?);
        }
        // mount(8) tells the type by the content for this one, and so do we.
        b"fstype" if value.is_empty() || value == "auto" => element.fstype = None,
        b"fstype" if value == "gpt" => element.fstype = Some(FsType::PartitionTable),
        b"fstype" => element.fstype = Some(FsType::Named(value.to_owned())),
        _ => {
            // Slashes at the ends do not matter (S5).
            let parts = std::path::Path::new(value).components();
            element.subdir = parts.filter(|part| *part != std::path::Component::RootDir).collect();
        }
    }
    Ok(())
}

fn part(value: &str) -> Option<Part> {
    if let Some((group, volume)) = value.split_once('/') {
        let named = !group.is_empty() && !volume.is_empty() && !volume.contains('/');
        return named.then(|| Part::Logical { group: group.to_owned(), volume: volume.to_owned() });
    }
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|&number| digits && number > 0).map(Part::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Element>> {
        Ok(SourceList::parse(text.as_ref())?.elements().cloned().collect())
    }

    fn element(image: &str) -> Element {
        Element { image: image.into(), ..Element::default() }
    }

    // S1
    #[test]
    fn elements_are_separated_by_two_commas_and_commas_at_the_end_are_harmless() {
        for (text, images) in [
            ("a", &["a"][..]),
            ("/w/a,", &["/w/a"]),
            ("/w/a,,", &["/w/a"]),
            ("a,,b", &["a", "b"]),
            ("a b,,/c d,,e,", &["a b", "/c d", "e"]),
        ] {
            assert_eq!(parse(text).unwrap(), images.iter().map(|i| element(i)).collect::<Vec<_>>(), "{text}");
        }
    }

    // S2, S5, S29, S30
    #[test]
    fn our_own_options_stand_in_front_in_any_order() {
        let found =
            parse("disk,subdir=/boot/x/,partition=12,fstype=xfs,noatime,ro,,b,subdir=opt//y").unwrap();
        let first = Element {
            part: Some(Part::Number(12)),
            fstype: Some(FsType::Named("xfs".into())),
            subdir: "boot/x".into(),
            options: Some("noatime,ro".into()),
            ..element("disk")
        };
        assert_eq!(found, [first, Element { subdir: "opt/y".into(), ..element("b") }]);
        assert_eq!(found[0].to_string(), "disk, partition 12, as xfs, at /boot/x, mounted with noatime,ro");
        let found = parse("d,partition=vg/root,fstype=gpt,subvol=@,user=x=y").unwrap();
        assert_eq!(
            found[0].to_string(),
            "d, logical volume vg/root, as a disk with partitions, mounted with subvol=@,user=x=y"
        );
        let logical = Part::Logical { group: "vg".into(), volume: "root".into() };
        let first = Element {
            part: Some(logical),
            fstype: Some(FsType::PartitionTable),
            options: Some("subvol=@,user=x=y".into()),
            ..element("d")
        };
        assert_eq!(found, [first]);
        for text in ["d,partition=,fstype=,subdir=", "d,fstype=xfs,fstype=auto,subdir=/"] {
            assert_eq!(parse(text).unwrap(), [element("d")], "{text}");
        }
        assert_eq!(parse("d,partition").unwrap()[0].options, Some("partition".into()));
    }

    // S2, S8
    #[test]
    fn what_cannot_be_meant_is_refused_with_the_list_and_the_reason() {
        for (text, reason) in [
            ("", "an argument is empty"),
            (",", "empty element"),
            (",,a", "empty element"),
            ("a,,,b", "empty element"),
            ("a,,,,b", "empty element"),
            ("a,partition=0", "partition=0 is no partition"),
            ("a,partition=-1", "is no partition"),
            ("a,partition=+1", "is no partition"),
            ("a,partition=sda1", "is no partition"),
            ("a,partition=99999999999", "is no partition"),
            ("a,partition=vg/", "is no partition"),
            ("a,partition=/dev/sda1", "is no partition"),
            ("disk,noatime,partition=3", "partition=3 stands behind the mount option noatime"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(text), "{text}: {error}");
        }
    }
}
