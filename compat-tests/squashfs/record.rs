//! Everything there is to know about the files of a tree, to compare two of them.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What a tree holds, by path.
pub type Records = BTreeMap<PathBuf, String>;

/// Takes down a whole tree, contents as digests.
pub fn records(root: &Path) -> Records {
    let mut found = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(path) = pending.pop() {
        let full = root.join(&path);
        let metadata = full.symlink_metadata().unwrap();
        if metadata.is_dir() {
            let entries = fs::read_dir(&full).unwrap();
            pending.extend(entries.map(|entry| path.join(entry.unwrap().file_name())));
        }
        found.insert(path, (metadata.ino(), describe(&full, &metadata)));
    }
    // A hard link is described by its first name.
    let mut first: HashMap<u64, PathBuf> = HashMap::new();
    found
        .into_iter()
        .map(|(path, (inode, text))| {
            let name = first.entry(inode).or_insert_with(|| path.clone());
            (path, format!("{text}, one file with {name:?}"))
        })
        .collect()
}

fn describe(path: &Path, metadata: &fs::Metadata) -> String {
    let kind = metadata.file_type();
    let mut record = format!(
        "mode {:o}, owner {}:{}, time {}, links {}",
        metadata.mode(),
        metadata.uid(),
        metadata.gid(),
        metadata.mtime(),
        metadata.nlink()
    );
    if kind.is_file() {
        record += &format!(", {} bytes, digest {:?}", metadata.len(), content(path));
    } else if kind.is_symlink() {
        record += &format!(", to {:?}", fs::read_link(path).unwrap());
    } else if kind.is_block_device() || kind.is_char_device() {
        record += &format!(", device {:x}", metadata.rdev());
    }
    for (name, value) in xattrs(path) {
        record += &format!(", {name} = {value:?}");
    }
    record
}

fn content(path: &Path) -> String {
    use sha2::Digest;
    let mut file = File::open(path).unwrap();
    let mut digest = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return format!("{:02x?}", digest.finalize()),
            length => digest.update(&buffer[..length]),
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut names = vec![0; 70_000];
    let length = match rustix::fs::llistxattr(&path, &mut names[..]) {
        // An image of a tree without any: squashfs says so in this way.
        Err(rustix::io::Errno::NOTSUP) => 0,
        result => result.unwrap(),
    };
    let mut value = vec![0; 70_000];
    names[..length]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let length = rustix::fs::lgetxattr(&path, name, &mut value[..]).unwrap();
            (String::from_utf8_lossy(name).into_owned(), value[..length].to_vec())
        })
        .collect()
}
