//! The quick check: the superblock, all tables, every inode and name, and some of the data.
//!
//! It is for images that this program wrote, and expects of them more than the format does: that tables leave
//! no gaps, and that what no reader needs is as we write it.

use std::fs::File;
use std::path::Path;

use super::super::directory;
use super::super::fragment::StoredBlock;
use super::super::inode::{Body, FileType, Inode};
use super::super::le::{Corrupt, narrow, wide};
use super::super::metadata::Reference;
use super::super::reader::Image;
use super::super::superblock::SUPERBLOCK_SIZE;
use super::layout;
use crate::error::{Error, Result};

/// Reads back the superblock, all tables, every inode and name, and about `samples` of the data and
/// fragment blocks. `path` is the image's name for errors.
///
/// # Errors
/// The image cannot be read or is damaged.
pub fn self_check(file: &File, path: &Path, samples: usize) -> Result<()> {
    let mut image = Image::open(file, path)?;
    let damaged = |reason: Corrupt| Error::new("check the image", path, reason.0);
    layout::check(&mut image).map_err(damaged)?;
    let superblock = image.superblock().clone();
    let mut check = Check {
        image,
        names: vec![0; narrow(superblock.inode_count) + 1],
        links: vec![0; narrow(superblock.inode_count) + 1],
        blocks: Vec::new(),
        pending: Vec::new(),
    };
    let root = check.image.root()?;
    // The root has no parent; its number is that of no inode, as mksquashfs has it.
    let parent = superblock.inode_count.saturating_add(1);
    check.pending.push(Found { place: root, file_type: FileType::Directory, number: None, parent });
    while let Some(found) = check.pending.pop() {
        check.inode(&found)?.map_err(damaged)?;
    }
    check.counts().map_err(damaged)?;
    check.blocks().map_err(damaged)?;
    check.data(samples)
}

/// What a directory says about one of its entries.
struct Found {
    place: Reference,
    file_type: FileType,
    number: Option<u32>,
    /// The number of the directory.
    parent: u32,
}

struct Check<'a> {
    image: Image<'a>,
    /// How many names, or subdirectories and 2, each inode has by the directories.
    names: Vec<u32>,
    /// How many it says that it has.
    links: Vec<u32>,
    /// All stored blocks of data.
    blocks: Vec<StoredBlock>,
    pending: Vec<Found>,
}

/// What a check found; outside of it is an error of reading.
type Verdict = std::result::Result<(), Corrupt>;

impl Check<'_> {
    fn inode(&mut self, found: &Found) -> Result<Verdict> {
        let inode = self.image.inode(found.place)?;
        let number = narrow(inode.number);
        if inode.file_type() != found.file_type || found.number.is_some_and(|number| number != inode.number) {
            return wrong(format!("inode {number} is not what its directory says"));
        }
        let Some(names) = self.names.get_mut(number).filter(|_| number != 0) else {
            return wrong(format!("there should be no inode {number}"));
        };
        *names += 1;
        // Once is enough: hard links come by several names.
        if *names > 1 {
            return Ok(Ok(()));
        }
        self.links[number] = inode.links;
        if self.image.exported(inode.number)?.is_some_and(|exported| exported != found.place) {
            return wrong(format!("the export table is wrong about inode {number}"));
        }
        let mut bytes = Vec::new();
        inode.encode(&mut bytes);
        if self.image.inode_bytes(found.place, bytes.len())? != bytes {
            return wrong(format!("inode {number} is not as this program writes it"));
        }
        self.image.id(inode.uid)?;
        self.image.id(inode.gid)?;
        if !self.image.sized_xattrs(&inode)?.1 {
            return wrong(format!(
                "the extended attributes of inode {number} have another size than is said"
            ));
        }
        match &inode.body {
            Body::Directory { parent, .. } if *parent != found.parent => {
                wrong(format!("inode {number} names the wrong parent"))
            }
            Body::Directory { .. } => self.directory(&inode),
            Body::Regular { .. } => Ok(self.regular(&inode)),
            _ => Ok(Ok(())),
        }
    }

    fn directory(&mut self, inode: &Inode) -> Result<Verdict> {
        let Body::Directory { listing, size, index, .. } = &inode.body else { return Ok(Ok(())) };
        let children = self.image.children(inode)?;
        if !children.is_sorted_by(|one, next| one.name < next.name) {
            return wrong(format!("the names in directory {} are not in order", inode.number));
        }
        let starts = self.image.listing_blocks(inode)?;
        let bytes = self.image.listing(inode)?;
        match directory::index_of(&bytes, narrow(listing.offset), &starts) {
            Ok(expected) if *index == expected && wide(bytes.len()) == u64::from(*size) => {}
            Ok(_) => return wrong(format!("the index of directory {} is wrong", inode.number)),
            Err(reason) => return Ok(Err(reason)),
        }
        // One from its parent or, for the root, of its own.
        self.names[narrow(inode.number)] = 2;
        for child in children {
            if child.file_type == FileType::Directory {
                self.names[narrow(inode.number)] += 1;
            }
            self.pending.push(Found {
                place: child.inode,
                file_type: child.file_type,
                number: Some(child.number),
                parent: inode.number,
            });
        }
        Ok(Ok(()))
    }

    fn regular(&mut self, inode: &Inode) -> Verdict {
        let Body::Regular { start, blocks, size, sparse, tail } = &inode.body else { return Ok(()) };
        let number = inode.number;
        let (block_size, end) =
            (u64::from(self.image.superblock().block_size), self.image.superblock().inode_table);
        let (mut left, mut holes) = (*size, 0);
        let mut position = *start;
        for &size in blocks {
            let length = left.min(block_size);
            left -= length;
            if size == 0 {
                holes += length;
                continue;
            }
            let block = StoredBlock { start: position, size };
            position = position.saturating_add(u64::from(block.length()));
            self.blocks.push(block);
        }
        if holes != *sparse {
            return Err(Corrupt::new(format!("inode {number} has not as many bytes in holes as it says")));
        }
        if let Some(tail) = tail {
            let room = self.image.fragments().get(narrow(tail.fragment)).map_or(0, |_| block_size);
            if left == 0 || u64::from(tail.offset) + left > room {
                return Err(Corrupt::new(format!("the tail of inode {number} lies where there is none")));
            }
        }
        let is_stored = position > *start;
        if is_stored && (*start < wide(SUPERBLOCK_SIZE) || position > end) || !is_stored && *start != 0 {
            return Err(Corrupt::new(format!("the data of inode {number} lies where there is none")));
        }
        Ok(())
    }

    fn counts(&self) -> Verdict {
        for (number, (names, links)) in self.names.iter().zip(&self.links).enumerate().skip(1) {
            if *names == 0 {
                return Err(Corrupt::new(format!("no directory has inode {number}")));
            }
            if names != links {
                return Err(Corrupt::new(format!("inode {number} has {names} names, not {links}")));
            }
        }
        Ok(())
    }

    /// Whether no block lies in another one. Those of duplicates are the same.
    fn blocks(&mut self) -> Verdict {
        self.blocks.extend_from_slice(self.image.fragments());
        self.blocks.sort_unstable_by_key(|block| (block.start, block.size));
        self.blocks.dedup();
        let ends = self.blocks.iter().map(|block| block.start.saturating_add(u64::from(block.length())));
        let nexts = self.blocks.iter().skip(1).map(|block| block.start);
        let table = self.image.superblock().inode_table;
        match ends.zip(nexts.chain([table])).find(|(end, next)| end > next) {
            Some((_, next)) => Err(Corrupt::new(format!("a block of data does not end before {next}"))),
            None => Ok(()),
        }
    }

    /// Decompresses about `samples` of the data and fragment blocks.
    fn data(mut self, samples: usize) -> Result<()> {
        let step = (self.blocks.len() / samples.max(1)).max(1);
        let most = narrow(self.image.superblock().block_size);
        for block in self.blocks.into_iter().step_by(step) {
            self.image.block(block, most)?;
        }
        Ok(())
    }
}

fn wrong(reason: String) -> Result<Verdict> {
    Ok(Err(Corrupt::new(reason)))
}
