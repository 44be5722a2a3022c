//! The tables behind the data, and the superblock that says where they lie.
//!
//! Directories are written from the last to the first, so that those inside one come before it: a
//! listing needs to know where the inodes of its entries lie, and the inode of a directory where its
//! listing lies. The inodes of a directory's entries lie together, which keeps its listing short.
//! The order of the tables is the one that the kernel insists on (squashfs-tools-ng, doc/format.adoc,
//! "Overview"; Documentation/filesystems/squashfs.rst, "Squashfs filesystem design").

use std::collections::HashMap;

use super::compress::Compressor;
use super::directory::{DirectoryEntry, Listing, write_listing};
use super::inode::{Body, FileType, Inode};
use super::layout::{Data, Layout};
use super::le::{narrow, wide};
use super::metadata::{MetadataWriter, Reference, lookup_table};
use super::options::WriteOptions;
use super::output::Output;
use super::scan::EMPTY;
use super::superblock::{NO_TABLE, Superblock};
use super::tree::{Directory, Item, Node, ROOT, Tree, number};
use super::{export, fragment};
use crate::error::{Error, Result};

/// Writes all tables and returns the superblock.
///
/// # Errors
/// The image cannot be written, or a table is larger than the format allows.
pub(super) fn write_tables(
    tree: &Tree,
    layout: &Layout,
    options: &WriteOptions,
    output: &mut Output<'_>,
) -> Result<Superblock> {
    let compressor = |wanted: bool| -> Result<Option<Compressor>> {
        wanted.then(|| Compressor::new(options.compression, options.block_size)).transpose()
    };
    let mut tables = Tables {
        tree,
        layout,
        numbers: inode_numbers(tree, layout)?,
        places: vec![None; tree.items.len()],
        listings: HashMap::new(),
        inodes: MetadataWriter::new(compressor(options.compress_inodes)?),
        directories: MetadataWriter::new(compressor(options.compress_inodes)?),
        record: Vec::new(),
    };
    let root = tables.write()?;
    let exported = tables.exported();
    let inode_count = number(exported.len())?;

    let inode_table = output.position();
    output.append(&tables.inodes.finish()?)?;
    let directory_table = output.position();
    output.append(&tables.directories.finish()?)?;

    let mut lookup = |entries: &[u8], is_compressed: bool| -> Result<u64> {
        let (table, list) = lookup_table(entries, output.position(), compressor(is_compressed)?)?;
        output.append(&table)?;
        Ok(list)
    };
    let fragment_table = match layout.fragments.len() {
        0 => NO_TABLE,
        _ => lookup(&fragment::encode(&layout.fragments), options.compress_inodes)?,
    };
    let export_table = match options.exportable {
        false => NO_TABLE,
        true => lookup(&export::encode(&exported), options.compress_inodes)?,
    };
    let id_table = lookup(&tree.ids.encode(), options.compress_ids)?;
    let xattr_table = if tree.xattrs.is_empty() {
        NO_TABLE
    } else {
        let (table, head) = tree.xattrs.encode(output.position(), || compressor(options.compress_xattrs))?;
        output.append(&table)?;
        head
    };
    let options_flag = match options.compression.options() {
        Some(_) => super::superblock::flag::COMPRESSOR_OPTIONS,
        None => 0,
    };
    Ok(Superblock {
        inode_count,
        created: options.creation_time(),
        block_size: options.block_size,
        fragment_count: number(layout.fragments.len())?,
        compressor: options.compression.number(),
        flags: options.flags() | options_flag,
        id_count: tree.ids.count(),
        root_inode: root.packed(),
        bytes_used: output.position(),
        id_table,
        xattr_table,
        inode_table,
        directory_table,
        fragment_table,
        export_table,
    })
}

/// The number of each inode, from 1; 0 for files that vanished before they were read, which are not
/// in the image. The entries of a directory have consecutive numbers, as runs of a listing need.
fn inode_numbers(tree: &Tree, layout: &Layout) -> Result<Vec<u32>> {
    let mut next = 0;
    tree.items
        .iter()
        .map(|item| match item.node {
            Node::Regular(place)
                if place != EMPTY && layout.placements[narrow(place)].data == Data::Vanished =>
            {
                Ok(0)
            }
            _ => {
                next = number(narrow(next) + 1)?;
                Ok(next)
            }
        })
        .collect()
}

struct Tables<'a> {
    tree: &'a Tree,
    layout: &'a Layout,
    numbers: Vec<u32>,
    /// Where each inode lies, once it does.
    places: Vec<Option<Reference>>,
    /// Listings of directories whose inodes are still to be written, by inode.
    listings: HashMap<u32, Listing>,
    inodes: MetadataWriter,
    directories: MetadataWriter,
    record: Vec<u8>,
}

impl Tables<'_> {
    /// Writes inodes and listings; returns where the root's inode lies.
    fn write(&mut self) -> Result<Reference> {
        for directory in self.tree.directories.iter().rev() {
            self.directory(directory)?;
        }
        self.inode(ROOT)
    }

    fn directory(&mut self, directory: &Directory) -> Result<()> {
        let tree = self.tree;
        let mut entries = Vec::with_capacity(narrow(directory.count));
        for entry in tree.entries_of(directory) {
            let number = self.numbers[narrow(entry.inode)];
            if number == 0 {
                continue;
            }
            let inode = self.inode(entry.inode)?;
            let file_type = match tree.item(entry.inode).node {
                Node::Directory(_) => FileType::Directory,
                Node::Regular(_) => FileType::Regular,
                Node::Symlink(_) => FileType::Symlink,
                Node::Device(kind, _) | Node::Ipc(kind) => kind,
            };
            entries.push(DirectoryEntry { name: tree.bytes(entry.name), inode, number, file_type });
        }
        let listing =
            write_listing(&mut self.directories, &entries).map_err(|error| self.named(directory, error))?;
        self.listings.insert(directory.inode, listing);
        Ok(())
    }

    fn named(&self, directory: &Directory, error: Error) -> Error {
        Error::new("store the directory", self.tree.path(directory.inode), error.to_string())
    }

    /// Writes an inode, unless another name of it came first.
    fn inode(&mut self, inode: u32) -> Result<Reference> {
        if let Some(place) = self.places[narrow(inode)] {
            return Ok(place);
        }
        let item = self.tree.item(inode);
        let place = self.inodes.position()?;
        let record = Inode {
            mode: item.mode,
            uid: item.uid,
            gid: item.gid,
            mtime: item.mtime,
            number: self.numbers[narrow(inode)],
            links: item.links,
            xattrs: item.xattrs,
            body: self.body(inode, item)?,
        };
        self.record.clear();
        record.encode(&mut self.record);
        self.inodes.write(&self.record)?;
        self.places[narrow(inode)] = Some(place);
        Ok(place)
    }

    fn body(&mut self, inode: u32, item: &Item) -> Result<Body> {
        Ok(match item.node {
            Node::Directory(_) => {
                let listing = self.listings.remove(&inode).ok_or_else(|| {
                    Error::new("store the directory", self.tree.path(inode), "it was not listed")
                })?;
                let parent = match inode {
                    // As mksquashfs does: the number of no inode, as the root has no parent.
                    ROOT => self.numbers.iter().copied().max().unwrap_or(0).saturating_add(1),
                    _ => self.numbers[narrow(item.parent)],
                };
                Body::Directory { listing: listing.start, size: listing.size, parent, index: listing.index }
            }
            Node::Regular(EMPTY) => {
                Body::Regular { size: 0, start: 0, blocks: Vec::new(), tail: None, sparse: 0 }
            }
            Node::Regular(place) => self.regular(narrow(place)),
            Node::Symlink(target) => Body::Symlink(self.tree.bytes(target).to_vec()),
            Node::Device(kind, device) => Body::Device(kind, device),
            Node::Ipc(kind) => Body::Ipc(kind),
        })
    }

    fn regular(&self, place: usize) -> Body {
        let place = match self.layout.placements[place].data {
            Data::SameAs(first) => narrow(first),
            Data::Own | Data::Vanished => place,
        };
        let placement = &self.layout.placements[place];
        let first = narrow(placement.first_block);
        Body::Regular {
            size: placement.size,
            start: self.layout.starts[place],
            blocks: self.layout.sizes[first..first + narrow(placement.block_count)].to_vec(),
            tail: placement.tail,
            sparse: placement.sparse,
        }
    }

    /// Where the inodes lie, in the order of their numbers.
    fn exported(&self) -> Vec<Reference> {
        debug_assert!(wide(self.places.len()) >= u64::from(self.numbers.iter().copied().max().unwrap_or(0)));
        let stored = self.numbers.iter().zip(&self.places).filter(|(number, _)| **number != 0);
        stored.map(|(_, place)| place.unwrap_or_default()).collect()
    }
}
