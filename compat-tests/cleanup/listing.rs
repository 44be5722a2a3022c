//! What a tree looks like, as a maker of images sees it.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One entry. Directories have no size, and no number of links: what these say depends on the file
/// system.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    mode: u32,
    owner: (u32, u32),
    pub mtime: (i64, i64),
    device: u64,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub content: Vec<u8>,
    /// The first path of the same file.
    link_of: Option<PathBuf>,
    links: u64,
}

/// The tree by its relative paths.
pub fn of(root: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut paths = vec![root.to_owned()];
    let mut next = 0;
    while let Some(path) = paths.get(next) {
        if fs::symlink_metadata(path).unwrap().is_dir() {
            let below: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
            paths.extend(below);
        }
        next += 1;
    }
    paths.sort();
    let mut first = BTreeMap::new();
    let entries = paths.into_iter().map(|path| {
        let relative = path.strip_prefix(root).unwrap().to_owned();
        let meta = fs::symlink_metadata(&path).unwrap();
        let same = first.entry((meta.dev(), meta.ino())).or_insert_with(|| relative.clone());
        let entry = Entry {
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            device: meta.rdev(),
            xattrs: xattrs(&path),
            content: match meta.file_type() {
                kind if kind.is_file() => fs::read(&path).unwrap(),
                kind if kind.is_symlink() => fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec(),
                _ => Vec::new(),
            },
            link_of: (*same != relative).then(|| same.clone()),
            links: if meta.is_dir() { 1 } else { meta.nlink() },
        };
        (relative, entry)
    });
    entries.collect()
}

fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let names = names[..length].split_inclusive(|&byte| byte == 0);
    let mut found: Vec<_> = names
        .map(|name| {
            let name = CStr::from_bytes_with_nul(name).unwrap();
            let mut value = vec![0; 4096];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            value.truncate(length);
            (name.to_bytes().to_vec(), value)
        })
        .collect();
    found.sort();
    found
}
