//! Inodes, in the basic form where it suffices and in the extended one otherwise.
//!
//! squashfs-tools-ng, doc/format.adoc, "Inode Table".

use super::fragment::{NO_FRAGMENT, Tail};
use super::le::{put_u16, put_u32, put_u64};
use super::metadata::Reference;

mod decode;

/// The xattr index of an inode without extended attributes.
pub(super) const NO_XATTRS: u32 = u32::MAX;
/// The kernel shows "." and ".." at the first three positions of a listing, so the size of a
/// directory in its inode is larger than the listing by this (format.adoc, "Directory Inodes").
const DOT_ENTRIES: u32 = 3;
/// Added to a basic type to get its extended form.
const EXTENDED: u16 = 7;

/// What kind of file an inode is, as the directory table and basic inodes number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileType {
    /// A directory.
    Directory,
    /// A regular file.
    Regular,
    /// A symbolic link.
    Symlink,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl FileType {
    const ALL: [Self; 7] = [
        Self::Directory,
        Self::Regular,
        Self::Symlink,
        Self::BlockDevice,
        Self::CharDevice,
        Self::Fifo,
        Self::Socket,
    ];

    /// The number of the basic inode type.
    pub(super) fn number(self) -> u16 {
        match self {
            Self::Directory => 1,
            Self::Regular => 2,
            Self::Symlink => 3,
            Self::BlockDevice => 4,
            Self::CharDevice => 5,
            Self::Fifo => 6,
            Self::Socket => 7,
        }
    }

    pub(super) fn numbered(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// One step of a directory index: where a header of the listing starts, and the first name after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// Offset of the header in the uncompressed listing, in bytes.
    pub offset: u32,
    /// Where the metadata block with the header starts, from the start of the directory table.
    pub block: u32,
    /// The first name after the header.
    pub name: Vec<u8>,
}

/// What differs from one kind of inode to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A directory.
    Directory {
        /// Where its listing starts in the directory table.
        listing: Reference,
        /// Size of the listing in bytes, uncompressed.
        size: u32,
        /// Inode number of the directory that it lies in.
        parent: u32,
        /// The directory index; empty for short listings.
        index: Vec<IndexEntry>,
    },
    /// A regular file.
    Regular {
        /// Size in bytes.
        size: u64,
        /// Where its first stored block starts, in bytes from the start of the image.
        start: u64,
        /// Stored size of each block, as in `fragment::StoredBlock::size`.
        blocks: Vec<u32>,
        /// Its tail, if that lies in a fragment.
        tail: Option<Tail>,
        /// Bytes in blocks of zeros that are not stored.
        sparse: u64,
    },
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A block or character device and its number in the kernel's 32-bit form.
    Device(FileType, u32),
    /// A fifo or socket.
    Ipc(FileType),
}

/// An inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode {
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u16,
    /// Place of the owner in the id table.
    pub uid: u16,
    /// Place of the group in the id table.
    pub gid: u16,
    /// Modification time in seconds since 1970.
    pub mtime: u32,
    /// Inode number, from 1.
    pub number: u32,
    /// Number of names.
    pub links: u32,
    /// Place of its extended attributes in the xattr table, or `NO_XATTRS`.
    pub xattrs: u32,
    /// The rest.
    pub body: Body,
}

/// The device number `major:minor` in the form of the kernel's new_encode_dev(), 12 bits of major
/// and 20 of minor.
pub(super) fn device_number(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12
}

impl Inode {
    /// The kind of file.
    pub fn file_type(&self) -> FileType {
        match &self.body {
            Body::Directory { .. } => FileType::Directory,
            Body::Regular { .. } => FileType::Regular,
            Body::Symlink(_) => FileType::Symlink,
            Body::Device(kind, _) | Body::Ipc(kind) => *kind,
        }
    }

    /// Whether the basic form lacks a field that this inode needs.
    fn is_extended(&self) -> bool {
        self.xattrs != NO_XATTRS
            || match &self.body {
                Body::Directory { size, index, .. } => {
                    size.saturating_add(DOT_ENTRIES) > u32::from(u16::MAX) || !index.is_empty()
                }
                Body::Regular { size, start, sparse, .. } => {
                    self.links > 1
                        || *sparse > 0
                        || u32::try_from(*size).is_err()
                        || u32::try_from(*start).is_err()
                }
                Body::Symlink(_) | Body::Device(..) | Body::Ipc(_) => false,
            }
    }

    /// Appends the inode as it lies in the inode table.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let extended = self.is_extended();
        put_u16(out, self.file_type().number() + if extended { EXTENDED } else { 0 });
        put_u16(out, self.mode);
        put_u16(out, self.uid);
        put_u16(out, self.gid);
        put_u32(out, self.mtime);
        put_u32(out, self.number);
        match &self.body {
            Body::Directory { listing, size, parent, index } => {
                let size = size.saturating_add(DOT_ENTRIES);
                if extended {
                    put_u32(out, self.links);
                    put_u32(out, size);
                    put_u32(out, listing.block);
                    put_u32(out, *parent);
                    // `directory` makes no more of them.
                    put_u16(out, u16::try_from(index.len()).unwrap_or(u16::MAX));
                    put_u16(out, listing.offset);
                    put_u32(out, self.xattrs);
                    for entry in index {
                        put_u32(out, entry.offset);
                        put_u32(out, entry.block);
                        put_u32(out, u32::try_from(entry.name.len().saturating_sub(1)).unwrap_or(0));
                        out.extend_from_slice(&entry.name);
                    }
                } else {
                    put_u32(out, listing.block);
                    put_u32(out, self.links);
                    put_u16(out, u16::try_from(size).unwrap_or(u16::MAX));
                    put_u16(out, listing.offset);
                    put_u32(out, *parent);
                }
            }
            Body::Regular { size, start, blocks, tail, sparse } => {
                let (fragment, offset) = tail.map_or((NO_FRAGMENT, 0), |tail| (tail.fragment, tail.offset));
                if extended {
                    put_u64(out, *start);
                    put_u64(out, *size);
                    put_u64(out, *sparse);
                    put_u32(out, self.links);
                    put_u32(out, fragment);
                    put_u32(out, offset);
                    put_u32(out, self.xattrs);
                } else {
                    put_u32(out, u32::try_from(*start).unwrap_or(u32::MAX));
                    put_u32(out, fragment);
                    put_u32(out, offset);
                    put_u32(out, u32::try_from(*size).unwrap_or(u32::MAX));
                }
                for &block in blocks {
                    put_u32(out, block);
                }
            }
            Body::Symlink(target) => {
                put_u32(out, self.links);
                put_u32(out, u32::try_from(target.len()).unwrap_or(u32::MAX));
                out.extend_from_slice(target);
                if extended {
                    put_u32(out, self.xattrs);
                }
            }
            Body::Device(_, number) => {
                put_u32(out, self.links);
                put_u32(out, *number);
                if extended {
                    put_u32(out, self.xattrs);
                }
            }
            Body::Ipc(_) => {
                put_u32(out, self.links);
                if extended {
                    put_u32(out, self.xattrs);
                }
            }
        }
    }
}

/// How many blocks a file of `size` bytes has besides its fragment.
pub(super) fn block_count(size: u64, block_size: u32, has_tail: bool) -> u64 {
    let block_size = u64::from(block_size.max(1));
    if has_tail { size / block_size } else { size.div_ceil(block_size) }
}

/// Whether the kernel can count the blocks of a file of `size` bytes: it has 31 bits for that.
pub(super) fn is_storable(size: u64, block_size: u32) -> bool {
    block_count(size, block_size, false) < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::super::le::{Corrupt, narrow};
    use super::*;

    fn inode(body: Body) -> Inode {
        Inode { mode: 0o4755, uid: 1, gid: 2, mtime: 3, number: 4, links: 1, xattrs: NO_XATTRS, body }
    }

    fn round_trip(inode: &Inode) -> (usize, u16) {
        let mut bytes = Vec::new();
        inode.encode(&mut bytes);
        let mut rest = &bytes[..];
        let read = Inode::decode(4096, |count| {
            let (taken, left) = rest.split_at_checked(count).ok_or(Corrupt::new("end"))?;
            rest = left;
            Ok(taken.to_vec())
        })
        .unwrap();
        assert_eq!(&read, inode);
        assert!(rest.is_empty());
        (bytes.len(), u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn file(size: u64, start: u64, sparse: u64) -> Body {
        let blocks = vec![7; narrow(size / 4096)];
        Body::Regular { size, start, blocks, tail: Some(Tail { fragment: 1, offset: 5 }), sparse }
    }

    #[test]
    fn every_kind_reads_back_as_it_was_written_in_the_form_it_needs() {
        let listing = Reference { block: 9, offset: 8 };
        let directory = |size, index| Body::Directory { listing, size, parent: 6, index };
        let step = IndexEntry { offset: 8200, block: 70, name: b"name".to_vec() };
        let cases = [
            ("directory", directory(65_532, vec![]), 1, 32),
            ("long directory", directory(65_533, vec![]), 8, 40),
            ("indexed directory", directory(9000, vec![step]), 8, 56),
            ("file", file(8193, 96, 0), 2, 40),
            ("sparse file", file(8193, 96, 4096), 9, 64),
            ("file beyond 4 GiB of image", file(3, 1 << 32, 0), 9, 56),
            ("symbolic link", Body::Symlink(b"target".to_vec()), 3, 30),
            ("block device", Body::Device(FileType::BlockDevice, 77), 4, 24),
            ("character device", Body::Device(FileType::CharDevice, 77), 5, 24),
            ("fifo", Body::Ipc(FileType::Fifo), 6, 20),
            ("socket", Body::Ipc(FileType::Socket), 7, 20),
        ];
        for (name, body, number, length) in cases {
            let mut inode = inode(body);
            assert_eq!(round_trip(&inode), (length, number), "{name}");
            inode.xattrs = 12;
            let (_, number_with_xattrs) = round_trip(&inode);
            assert!(number_with_xattrs > EXTENDED, "{name}");
        }
    }

    #[test]
    fn a_hard_link_makes_a_file_extended() {
        let mut linked = inode(file(5, 0, 0));
        linked.links = 2;
        assert_eq!(round_trip(&linked).1, 9);
    }

    #[test]
    fn a_file_beyond_4_gib_is_extended() {
        let size = (1 << 32) + 1;
        let blocks = vec![0; 1 << 20];
        let tail = Some(Tail { fragment: 0, offset: 0 });
        let large = inode(Body::Regular { size, start: 0, blocks, tail, sparse: 1 << 32 });
        assert_eq!(round_trip(&large).1, 9);
    }

    #[test]
    fn device_numbers_have_the_form_of_the_kernel() {
        assert_eq!(device_number(1, 3), 0x103);
        assert_eq!(device_number(0xfff, 0xf_ffff), 0xffff_ffff);
        assert_eq!(device_number(8, 0x123), 0x0010_0823);
    }

    #[test]
    fn nonsense_is_refused() {
        for number in [0_u16, 15, 999] {
            let mut bytes = number.to_le_bytes().to_vec();
            bytes.resize(200, 0);
            assert!(Inode::decode(4096, |count| Ok(bytes[..count].to_vec())).is_err());
        }
    }
}
