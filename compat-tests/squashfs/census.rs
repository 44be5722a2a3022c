//! A count of what random trees hold, so that nothing that matters goes missing from them unnoticed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{self, Display, Formatter};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::record::{Content, Records};

/// Every kind of thing that a set of trees has to hold.
const KINDS: [&str; 28] = [
    "trees",
    "directories",
    "empty directories",
    "directories with an index",
    "directories of more than 256 entries",
    "regular files",
    "empty files",
    "files of more than 1 MiB",
    "files of more than 4 GiB",
    "sparse files",
    "duplicates",
    "symbolic links",
    "character devices",
    "block devices",
    "fifos",
    "sockets",
    "hard links of regular files",
    "other hard links",
    "user attributes",
    "trusted attributes",
    "security attributes",
    "attributes of neither file nor directory",
    "attribute values stored elsewhere",
    "link targets of more than 255 bytes",
    "owners beyond 16 bits",
    "setuid, setgid or sticky",
    "names of 255 bytes",
    "names that are not UTF-8",
];

#[derive(Default)]
pub struct Census(BTreeMap<&'static str, u64>);

impl Census {
    /// Counts the tree in `root`, which `records` describes.
    pub fn add(&mut self, root: &Path, records: &Records) {
        self.one("trees", true);
        let mut listings: HashMap<&Path, (u64, usize)> = HashMap::new();
        let mut contents = HashSet::new();
        let mut values = HashSet::new();
        for (path, record) in records {
            if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
                let listing = listings.entry(parent).or_default();
                *listing = (listing.0 + 1, listing.1 + 8 + name.len());
                self.one("names of 255 bytes", name.len() == 255);
                self.one("names that are not UTF-8", std::str::from_utf8(name.as_bytes()).is_err());
            }
            if &record.first != path {
                let is_file = matches!(record.content, Content::Regular { .. });
                self.one(if is_file { "hard links of regular files" } else { "other hard links" }, true);
                continue;
            }
            self.kind(root, path, record.status.mode, &record.content);
            if let Content::Regular { size, digest } = record.content {
                self.one("duplicates", size > 0 && !contents.insert(digest));
            }
            self.one("owners beyond 16 bits", record.status.uid.max(record.status.gid) > u32::from(u16::MAX));
            self.one("setuid, setgid or sticky", record.status.mode & 0o7000 != 0);
            let is_plain = matches!(record.content, Content::Regular { .. } | Content::Directory);
            self.one("attributes of neither file nor directory", !is_plain && !record.xattrs.is_empty());
            for (name, value) in &record.xattrs {
                self.one("user attributes", name.starts_with("user."));
                self.one("trusted attributes", name.starts_with("trusted."));
                self.one("security attributes", name.starts_with("security."));
                self.one("attribute values stored elsewhere", value.len() > 8 && !values.insert(value));
            }
        }
        for (count, bytes) in listings.values() {
            self.one("directories with an index", *bytes > 8192);
            self.one("directories of more than 256 entries", *count > 256);
        }
        let directories = records.values().filter(|record| record.content == Content::Directory).count();
        for _ in listings.len()..directories {
            self.one("empty directories", true);
        }
    }

    fn kind(&mut self, root: &Path, path: &Path, mode: u32, content: &Content) {
        let name = match mode & libc::S_IFMT {
            libc::S_IFDIR => "directories",
            libc::S_IFREG => "regular files",
            libc::S_IFLNK => "symbolic links",
            libc::S_IFCHR => "character devices",
            libc::S_IFBLK => "block devices",
            libc::S_IFIFO => "fifos",
            _ => "sockets",
        };
        self.one(name, true);
        if let Content::Symlink(target) = content {
            self.one("link targets of more than 255 bytes", target.as_os_str().len() > 255);
        }
        if let Content::Regular { size, .. } = *content {
            self.one("empty files", size == 0);
            self.one("files of more than 1 MiB", size > 1 << 20);
            self.one("files of more than 4 GiB", size > 1 << 32);
            let blocks = root.join(path).symlink_metadata().unwrap().blocks();
            self.one("sparse files", blocks * 512 < size);
        }
    }

    fn one(&mut self, kind: &'static str, applies: bool) {
        assert!(KINDS.contains(&kind), "{kind}");
        *self.0.entry(kind).or_default() += u64::from(applies);
    }

    /// The kinds that are missing.
    pub fn missing(&self) -> Vec<&'static str> {
        KINDS.into_iter().filter(|kind| self.0.get(kind).is_none_or(|&count| count == 0)).collect()
    }
}

impl Display for Census {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        KINDS.iter().try_for_each(|kind| writeln!(out, "{:10} {kind}", self.0.get(kind).unwrap_or(&0)))
    }
}
