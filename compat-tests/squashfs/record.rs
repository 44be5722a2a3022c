//! Everything there is to know about the files of a tree, to compare two of them.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What a tree holds, by path.
pub type Records = BTreeMap<PathBuf, Record>;

/// One name and the file behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What `stat` says that every reader of images shows.
    pub status: Status,
    pub content: Content,
    /// Number of names.
    pub links: u64,
    /// The first name of the file; itself, unless it is a further hard link.
    pub first: PathBuf,
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// What every inode says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// With the kind of file.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
}

/// What a file holds, by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Directory,
    Regular {
        size: u64,
        digest: Digest,
    },
    Symlink(PathBuf),
    /// With the number that `stat` shows.
    Device(u64),
    Ipc,
}

pub type Digest = [u8; 32];

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
        let record = Record {
            status: Status {
                mode: metadata.mode(),
                uid: metadata.uid(),
                gid: metadata.gid(),
                mtime: metadata.mtime(),
            },
            content: content(&full, &metadata),
            links: metadata.nlink(),
            first: path.clone(),
            xattrs: xattrs(&full),
        };
        found.insert(path, (metadata.ino(), record));
    }
    let mut first: HashMap<u64, PathBuf> = HashMap::new();
    found
        .into_iter()
        .map(|(path, (inode, record))| {
            let first = first.entry(inode).or_insert_with(|| path.clone()).clone();
            (path, Record { first, ..record })
        })
        .collect()
}

fn content(path: &Path, metadata: &fs::Metadata) -> Content {
    let kind = metadata.file_type();
    if kind.is_dir() {
        Content::Directory
    } else if kind.is_file() {
        Content::Regular { size: metadata.len(), digest: digest(&mut File::open(path).unwrap()) }
    } else if kind.is_symlink() {
        Content::Symlink(fs::read_link(path).unwrap())
    } else if kind.is_block_device() || kind.is_char_device() {
        Content::Device(metadata.rdev())
    } else {
        Content::Ipc
    }
}

/// The digest of everything that `reader` has; zeros, of which a sparse file has gigabytes, are counted
/// and not digested.
pub fn digest(reader: &mut dyn Read) -> Digest {
    use sha2::Digest as _;
    const PIECE: usize = 1 << 16;
    static ZEROS: [u8; PIECE] = [0; PIECE];
    let mut digest = sha2::Sha256::new();
    let mut buffer = vec![0; PIECE];
    let (mut at, mut zeros_from) = (0_u64, 0_u64);
    loop {
        let mut filled = 0;
        while filled < PIECE {
            match reader.read(&mut buffer[filled..]).unwrap() {
                0 => break,
                length => filled += length,
            }
        }
        let end = at + filled as u64;
        if buffer[..filled] != ZEROS[..filled] || filled == 0 {
            digest.update([zeros_from.to_le_bytes(), at.to_le_bytes()].concat());
            digest.update(&buffer[..filled]);
            zeros_from = end;
        }
        at = end;
        if filled == 0 {
            return digest.finalize().into();
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
