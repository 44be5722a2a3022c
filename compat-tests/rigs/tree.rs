//! The comparison of two file trees in everything that a root file system holds: paths, types, modes, owners,
//! times, link targets, hard links, device numbers, extended attributes and bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::{Display, Formatter};
use std::fs::{File, Metadata};
use std::io::{BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};
use rustix::io::Errno;

/// The attributes that squashfs can store; others (access control lists) it cannot.
const STORED_XATTRS: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];

/// The script that makes a directory with every kind of entry.
pub const ODD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/compat-tests/rigs/odd.sh");

/// What a comparison came to.
#[derive(Debug, Default)]
pub struct Comparison {
    /// One line for each difference.
    pub differences: Vec<String>,
    /// How many entries the two trees have in common, the root included.
    pub entries: usize,
    /// How many of them are regular files.
    pub files: usize,
    /// The bytes that were read from each tree and found equal.
    pub bytes: u64,
    /// How many names are further hard links to an entry.
    pub hard_links: usize,
    /// How many of the entries are devices.
    pub devices: usize,
    /// How many extended attributes they have together.
    pub xattrs: usize,
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { entries, files, bytes, hard_links, devices, xattrs, .. } = self;
        write!(
            f,
            "{entries} entries, {files} files of {bytes} bytes, {hard_links} further hard links, \
             {devices} devices, {xattrs} extended attributes, {} differences",
            self.differences.len()
        )
    }
}

/// Compares `found` with `wanted` less the paths in `left_out` (relative to the root) and all below them.
pub fn compare(wanted: &Path, found: &Path, left_out: &BTreeSet<PathBuf>) -> Comparison {
    let wanted_entries = listing(wanted, left_out);
    let found_entries = listing(found, &BTreeSet::new());
    let mut comparison = Comparison::default();
    for path in found_entries.keys().filter(|path| !wanted_entries.contains_key(*path)) {
        comparison.differences.push(format!("{}: should not be there", path.display()));
    }
    for (path, entry) in &wanted_entries {
        let Some(other) = found_entries.get(path) else {
            comparison.differences.push(format!("{}: is missing", path.display()));
            continue;
        };
        comparison.entries += 1;
        comparison.xattrs += entry.xattrs.len();
        comparison.hard_links += usize::from(entry.same_as != *path);
        comparison.devices += usize::from(matches!(entry.kind, Kind::Character(_) | Kind::Block(_)));
        comparison.files += usize::from(matches!(entry.kind, Kind::File(_)));
        if entry != other {
            comparison.differences.push(format!("{}: {other:?} instead of {entry:?}", path.display()));
        } else if let Kind::File(size) = entry.kind {
            match first_difference(&wanted.join(path), &found.join(path)) {
                None => comparison.bytes += size,
                Some(offset) => comparison
                    .differences
                    .push(format!("{}: other contents from byte {offset} on", path.display())),
            }
        }
    }
    comparison
}

/// Everything about an entry but its contents.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    kind: Kind,
    mode: u32,
    uid: u32,
    gid: u32,
    /// In seconds since 1970; squashfs has nothing finer.
    mtime: i64,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first name in the tree of what this is a hard link to; its own name if there is no other.
    same_as: PathBuf,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// With its size in bytes.
    File(u64),
    Directory,
    Symlink(PathBuf),
    Character(u64),
    Block(u64),
    Fifo,
    Socket,
}

/// The tree below `root`, each entry by its path relative to it; that of `root` is empty.
fn listing(root: &Path, left_out: &BTreeSet<PathBuf>) -> BTreeMap<PathBuf, Entry> {
    let mut paths = vec![PathBuf::new()];
    let mut all = BTreeMap::new();
    while let Some(path) = paths.pop() {
        let place = root.join(&path);
        let metadata =
            place.symlink_metadata().unwrap_or_else(|error| panic!("{}: {error}", place.display()));
        if metadata.is_dir() {
            for entry in place.read_dir().unwrap_or_else(|error| panic!("{}: {error}", place.display())) {
                let below = path.join(entry.expect("an entry of a readable directory").file_name());
                if !left_out.contains(&below) {
                    paths.push(below);
                }
            }
        }
        all.insert(path, metadata);
    }
    let mut first_names = HashMap::new();
    all.into_iter()
        .map(|(path, metadata)| {
            let inode = (metadata.dev(), metadata.ino());
            let same_as = if metadata.is_dir() || metadata.nlink() == 1 {
                path.clone()
            } else {
                first_names.entry(inode).or_insert_with(|| path.clone()).clone()
            };
            let entry = entry(&root.join(&path), &metadata, same_as);
            (path, entry)
        })
        .collect()
}

fn entry(place: &Path, metadata: &Metadata, same_as: PathBuf) -> Entry {
    let kind = metadata.file_type();
    let kind = if kind.is_dir() {
        Kind::Directory
    } else if kind.is_symlink() {
        Kind::Symlink(place.read_link().unwrap_or_else(|error| panic!("{}: {error}", place.display())))
    } else if kind.is_char_device() {
        Kind::Character(metadata.rdev())
    } else if kind.is_block_device() {
        Kind::Block(metadata.rdev())
    } else if kind.is_fifo() {
        Kind::Fifo
    } else if kind.is_socket() {
        Kind::Socket
    } else {
        Kind::File(metadata.len())
    };
    Entry {
        kind,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: metadata.mtime(),
        xattrs: xattrs(place),
        same_as,
    }
}

/// The extended attributes of an entry that squashfs can store.
fn xattrs(place: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    // The kernel's limit for the list of names, and for a value.
    let mut names = vec![0; 65536];
    let length = match llistxattr(place, &mut names[..]) {
        Ok(length) => length,
        // A squashfs without any attribute has no table of them, and says this.
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => panic!("{}: {error}", place.display()),
    };
    names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| STORED_XATTRS.iter().any(|prefix| name.starts_with(prefix)))
        .map(|name| {
            let mut value = vec![0; 65536];
            let length = lgetxattr(place, std::ffi::OsStr::from_bytes(name), &mut value[..])
                .unwrap_or_else(|error| panic!("{}: {error}", place.display()));
            value.truncate(length);
            (name.to_vec(), value)
        })
        .collect()
}

/// The offset of the first byte in which two files differ, or at which only one ends.
pub fn first_difference(one: &Path, other: &Path) -> Option<u64> {
    let open = |path: &Path| {
        BufReader::with_capacity(
            1 << 20,
            File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        )
    };
    let (mut one, mut other) = (open(one), open(other));
    let mut offset = 0;
    let (mut one_block, mut other_block) = (vec![0; 65536], vec![0; 65536]);
    loop {
        let (read, other_read) = (fill(&mut one, &mut one_block), fill(&mut other, &mut other_block));
        if one_block[..read] != other_block[..other_read] {
            let equal =
                one_block[..read].iter().zip(&other_block[..other_read]).take_while(|(a, b)| a == b).count();
            return Some(offset + equal as u64);
        }
        if read == 0 {
            return None;
        }
        offset += read as u64;
    }
}

/// Reads until the block is full or the file ends, and returns how much was read.
fn fill(file: &mut impl Read, block: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < block.len() {
        match file.read(&mut block[filled..]).expect("reading an open file") {
            0 => break,
            read => filled += read,
        }
    }
    filled
}
