//! Images as the library backhand reads them, which shares nothing with our writer and reader.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use backhand::{DataSize, FilesystemReader, InnerNode, SquashfsFileReader};
use rustix::fs::makedev;

use crate::record::{Content, Digest, Records, Status, digest};

/// Where the data of a file lies: its first block, its fragment, its place in there, and its blocks.
type Place = (u64, usize, u32, Vec<DataSize>);

/// Compares everything that backhand reads of the image at `path` with what its source, a simple tree, holds:
/// names, modes, owners, times and contents. Extended attributes and hard links it does not know.
///
/// With `duplicates_once`, files of the same content must have their data in the same place.
pub fn compare(path: &Path, source: &Records, duplicates_once: bool) {
    let image = FilesystemReader::from_reader(BufReader::new(File::open(path).unwrap())).unwrap();
    let mut found: BTreeMap<PathBuf, (Status, Content)> = BTreeMap::new();
    let mut places: HashMap<Digest, Place> = HashMap::new();
    for node in image.files() {
        let (kind, content) = match &node.inner {
            InnerNode::Dir(_) => (libc::S_IFDIR, Content::Directory),
            InnerNode::Symlink(link) => (libc::S_IFLNK, Content::Symlink(link.link.clone())),
            InnerNode::NamedPipe => (libc::S_IFIFO, Content::Ipc),
            InnerNode::Socket => (libc::S_IFSOCK, Content::Ipc),
            InnerNode::CharacterDevice(device) => (libc::S_IFCHR, numbered(device.device_number)),
            InnerNode::BlockDevice(device) => (libc::S_IFBLK, numbered(device.device_number)),
            InnerNode::File(file) => {
                let size = file.file_len() as u64;
                let digest = digest(&mut image.file(file).reader());
                if duplicates_once && size > 0 {
                    let place = place(file);
                    let first = places.entry(digest).or_insert_with(|| place.clone());
                    assert_eq!(*first, place, "{:?} is a duplicate", node.fullpath);
                }
                (libc::S_IFREG, Content::Regular { size, digest })
            }
        };
        let header = &node.header;
        let mode = kind | u32::from(header.permissions);
        let status = Status { mode, uid: header.uid, gid: header.gid, mtime: header.mtime.into() };
        let name = node.fullpath.strip_prefix("/").unwrap();
        assert!(found.insert(name.to_owned(), (status, content)).is_none(), "{name:?} is there twice");
    }
    for (path, record) in source {
        assert_eq!(found.get(path), Some(&(record.status.clone(), record.content.clone())), "{path:?}");
    }
    assert_eq!(found.len(), source.len());
}

/// From the kernel's 32-bit form (new_encode_dev), which images hold.
fn numbered(device: u32) -> Content {
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
    Content::Device(makedev(major, minor))
}

fn place(file: &SquashfsFileReader) -> Place {
    (file.blocks_start(), file.frag_index(), file.block_offset(), file.block_sizes().to_vec())
}
