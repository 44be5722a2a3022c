//! The thorough check: every name, attribute and byte of an image, against the source.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::super::inode::{Body, FileType, Inode};
use super::super::le::{narrow, wide};
use super::super::metadata::Reference;
use super::super::options::WriteOptions;
use super::super::reader::Image;
use super::super::scan::{EMPTY, scan};
use super::super::source::{Source, open_file};
use super::super::status::identity_of;
use super::super::tree::{Item, Node, ROOT, Tree};
use super::super::xattr::Xattr;
use crate::error::{During, Error, Result, shown};
use crate::excludes::Excludes;

/// How many differences are named before the check stops.
const MOST_NAMED: usize = 10;

/// Compares the whole image with the source that it was made from, every name, attribute and byte;
/// `options` and `excluded` are those that it was made with.
///
/// # Errors
/// Something differs, is missing or is too much (up to ten differences are named), or one of the two
/// cannot be read.
pub fn compare(
    file: &File,
    path: &Path,
    source: &Path,
    options: &WriteOptions,
    excluded: &Excludes,
) -> Result<()> {
    let source = Source::open(source)?;
    let itself = identity_of(file).during("look at", path)?;
    let scan = scan(&source, options, Some(itself), excluded)?;
    let image = Image::open(file, path)?;
    let root = image.root()?;
    let mut comparison = Comparison {
        image,
        source: &source,
        tree: &scan.tree,
        ids: scan.tree.ids.ids(),
        numbers: HashMap::new(),
        differences: Vec::new(),
    };
    comparison.inode(ROOT, root)?;
    let mut pending = vec![(ROOT, root)];
    while let Some((inode, place)) = pending.pop() {
        comparison.directory(inode, place, &mut pending)?;
        if comparison.differences.len() >= MOST_NAMED {
            break;
        }
    }
    if comparison.differences.is_empty() {
        Ok(())
    } else {
        let list = comparison.differences.join("; ");
        Err(Error::new("find the image equal to its source", path, list)
            .hint("files that were written to while the image was made differ; otherwise make it anew"))
    }
}

struct Comparison<'a> {
    image: Image<'a>,
    source: &'a Source,
    tree: &'a Tree,
    ids: &'a [u32],
    /// The image's inode number of each inode of the source, for hard links.
    numbers: HashMap<u32, u32>,
    differences: Vec<String>,
}

impl Comparison<'_> {
    fn directory(&mut self, inode: u32, place: Reference, pending: &mut Vec<(u32, Reference)>) -> Result<()> {
        let Node::Directory(number) = self.tree.item(inode).node else { return Ok(()) };
        let tree = self.tree;
        let directory = self.image.inode(place)?;
        let mut children = self.image.children(&directory)?.into_iter().peekable();
        for entry in tree.entries_of(&tree.directories[narrow(number)]) {
            let name = tree.bytes(entry.name);
            while let Some(more) = children.next_if(|child| &child.name[..] < name) {
                self.extra(inode, &more.name);
            }
            match children.next_if(|child| child.name == name) {
                None => self.differs(&tree.path(inode).join(tree.name(entry.name)), "is missing"),
                Some(child) => {
                    let known = self.numbers.get(&entry.inode).copied();
                    match known {
                        Some(number) if number == child.number => continue,
                        Some(_) => {
                            self.differs(&tree.path(entry.inode), "is not one file with its hard links")
                        }
                        None => {}
                    }
                    self.numbers.insert(entry.inode, child.number);
                    if self.inode(entry.inode, child.inode)? == FileType::Directory {
                        pending.push((entry.inode, child.inode));
                    }
                }
            }
        }
        for more in children {
            self.extra(inode, &more.name);
        }
        Ok(())
    }

    fn inode(&mut self, inode: u32, place: Reference) -> Result<FileType> {
        let item = self.tree.item(inode);
        let stored = self.image.inode(place)?;
        let mut wrong = Vec::new();
        if (item.mode, item.mtime, item.links) != (stored.mode, stored.mtime, stored.links) {
            wrong.push("mode, time or link count");
        }
        let owners = (self.ids[usize::from(item.uid)], self.ids[usize::from(item.gid)]);
        if owners != (self.image.id(stored.uid)?, self.image.id(stored.gid)?) {
            wrong.push("owner");
        }
        if self.image.xattrs(&stored)? != self.xattrs(item) {
            wrong.push("extended attributes");
        }
        let same_body = match (&item.node, &stored.body) {
            (Node::Directory(_), Body::Directory { .. }) => true,
            (Node::Symlink(target), Body::Symlink(stored)) => self.tree.bytes(*target) == stored,
            (Node::Device(kind, device), Body::Device(stored_kind, stored)) => {
                (kind, device) == (stored_kind, stored)
            }
            (Node::Ipc(kind), Body::Ipc(stored)) => kind == stored,
            (Node::Regular(EMPTY), Body::Regular { size, .. }) => *size == 0,
            (Node::Regular(_), Body::Regular { .. }) => self.same_content(inode, &stored)?,
            _ => false,
        };
        if !same_body {
            wrong.push("content");
        }
        if !wrong.is_empty() {
            self.differs(&self.tree.path(inode), &format!("differs in {}", wrong.join(", ")));
        }
        Ok(stored.file_type())
    }

    fn same_content(&mut self, inode: u32, stored: &Inode) -> Result<bool> {
        let item = self.tree.item(inode);
        let path = self.tree.path(inode);
        let shown = self.source.shown(&path);
        let directory = self.source.directory(&self.tree.path(item.parent)).during("open", &shown)?;
        let file = File::from(open_file(&directory, self.tree.name(item.name)).during("open", &shown)?);
        let metadata = file.metadata().during("look at", &shown)?;
        if let Body::Regular { size, .. } = stored.body {
            if !metadata.is_file() || metadata.len() != size {
                return Ok(false);
            }
        }
        let mut buffer = vec![0; narrow(self.image.superblock().block_size)];
        let mut offset = 0;
        let mut same = true;
        self.image.content(stored, &mut |bytes| {
            let piece = &mut buffer[..bytes.len()];
            file.read_exact_at(piece, offset).during("read", &shown)?;
            offset += wide(bytes.len());
            same &= piece == bytes;
            Ok(())
        })?;
        Ok(same)
    }

    fn xattrs(&self, item: &Item) -> Vec<Xattr> {
        self.tree.xattrs.set(item.xattrs).to_vec()
    }

    fn extra(&mut self, directory: u32, name: &[u8]) {
        let path = self.tree.path(directory).join(OsStr::from_bytes(name));
        self.differs(&path, "is in the image alone");
    }

    fn differs(&mut self, path: &Path, how: &str) {
        self.differences.push(format!("{} {how}", shown(PathBuf::from("/").join(path))));
    }
}
