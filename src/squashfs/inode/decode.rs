//! Reading inodes. What an image says is not trusted: no length in it is believed before the bytes are
//! there.

use super::super::fragment::{NO_FRAGMENT, Tail};
use super::super::le::{Corrupt, Fields, narrow};
use super::super::metadata::Reference;
use super::{Body, DOT_ENTRIES, EXTENDED, FileType, IndexEntry, Inode, NO_XATTRS, block_count};

/// The longest symbolic link that Linux has (PATH_MAX).
const MAX_TARGET: u32 = 4096;

impl Inode {
    /// Reads an inode; `more(n)` gives the next n bytes of the inode table.
    pub(in super::super) fn decode(
        block_size: u32,
        mut more: impl FnMut(usize) -> Result<Vec<u8>, Corrupt>,
    ) -> Result<Self, Corrupt> {
        let head = more(16)?;
        let mut fields = Fields::new(&head);
        let number = fields.u16()?;
        let extended = number > EXTENDED;
        let kind = FileType::numbered(if extended { number - EXTENDED } else { number })
            .ok_or_else(|| Corrupt::new(format!("there is no inode type {number}")))?;
        let mut inode = Self {
            mode: fields.u16()?,
            uid: fields.u16()?,
            gid: fields.u16()?,
            mtime: fields.u32()?,
            number: fields.u32()?,
            links: 1,
            xattrs: NO_XATTRS,
            body: Body::Ipc(kind),
        };
        match (kind, extended) {
            (FileType::Directory, false) => {
                let rest = more(16)?;
                let mut fields = Fields::new(&rest);
                let block = fields.u32()?;
                inode.links = fields.u32()?;
                let size = u32::from(fields.u16()?);
                let listing = Reference { block, offset: fields.u16()? };
                let size = size.saturating_sub(DOT_ENTRIES);
                inode.body = Body::Directory { listing, size, parent: fields.u32()?, index: Vec::new() };
            }
            (FileType::Directory, true) => {
                let rest = more(24)?;
                let mut fields = Fields::new(&rest);
                inode.links = fields.u32()?;
                let size = fields.u32()?.saturating_sub(DOT_ENTRIES);
                let block = fields.u32()?;
                let parent = fields.u32()?;
                let count = fields.u16()?;
                let listing = Reference { block, offset: fields.u16()? };
                inode.xattrs = fields.u32()?;
                let mut index = Vec::new();
                for _ in 0..count {
                    let rest = more(12)?;
                    let mut fields = Fields::new(&rest);
                    let (offset, block, length) = (fields.u32()?, fields.u32()?, fields.u32()?);
                    if length >= super::super::directory::MAX_NAME {
                        return Err(Corrupt::new("a name in a directory index is too long"));
                    }
                    index.push(IndexEntry { offset, block, name: more(narrow(length) + 1)? });
                }
                inode.body = Body::Directory { listing, size, parent, index };
            }
            (FileType::Regular, _) => {
                let rest = more(if extended { 40 } else { 16 })?;
                let mut fields = Fields::new(&rest);
                let (start, size, sparse, fragment, offset);
                if extended {
                    start = fields.u64()?;
                    size = fields.u64()?;
                    sparse = fields.u64()?;
                    inode.links = fields.u32()?;
                    fragment = fields.u32()?;
                    offset = fields.u32()?;
                    inode.xattrs = fields.u32()?;
                } else {
                    start = u64::from(fields.u32()?);
                    fragment = fields.u32()?;
                    offset = fields.u32()?;
                    size = u64::from(fields.u32()?);
                    sparse = 0;
                }
                let tail = (fragment != NO_FRAGMENT).then_some(Tail { fragment, offset });
                let count = block_count(size, block_size, tail.is_some());
                let mut blocks = Vec::new();
                // Piece by piece: the count comes from the image and may be a lie.
                let mut left = count;
                while left > 0 {
                    let now = left.min(2048);
                    let piece = more(narrow(now) * 4)?;
                    let mut fields = Fields::new(&piece);
                    while !fields.is_empty() {
                        blocks.push(fields.u32()?);
                    }
                    left -= now;
                }
                inode.body = Body::Regular { size, start, blocks, tail, sparse };
            }
            (FileType::Symlink, _) => {
                let rest = more(8)?;
                let mut fields = Fields::new(&rest);
                inode.links = fields.u32()?;
                let length = fields.u32()?;
                if length > MAX_TARGET {
                    return Err(Corrupt::new("a symbolic link is too long"));
                }
                inode.body = Body::Symlink(more(narrow(length))?);
                if extended {
                    inode.xattrs = Fields::new(&more(4)?).u32()?;
                }
            }
            (FileType::BlockDevice | FileType::CharDevice, _) => {
                let rest = more(if extended { 12 } else { 8 })?;
                let mut fields = Fields::new(&rest);
                inode.links = fields.u32()?;
                inode.body = Body::Device(kind, fields.u32()?);
                if extended {
                    inode.xattrs = fields.u32()?;
                }
            }
            (FileType::Fifo | FileType::Socket, _) => {
                let rest = more(if extended { 8 } else { 4 })?;
                let mut fields = Fields::new(&rest);
                inode.links = fields.u32()?;
                if extended {
                    inode.xattrs = fields.u32()?;
                }
            }
        }
        Ok(inode)
    }
}
