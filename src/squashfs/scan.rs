//! The walk through the source: every name and inode, in the order in which the image holds them.
//!
//! Directories are taken depth first and the names in each sorted by their bytes, so that the image
//! depends on the tree alone. All metadata is taken here; file contents are read later.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::FileType as Kind;

use super::ahead::{Ahead, Pending};
use super::directory::MAX_NAME;
use super::inode::{FileType, NO_XATTRS, is_storable};
use super::le::narrow;
use super::lister::{Facts, Lister, Listing};
use super::options::WriteOptions;
use super::source::{Source, is_gone};
use super::status::Status;
use super::tree::{Directory, Entry, Identity, Item, Node, ROOT, RegularFile, Text, Tree, number};
use super::xattr::Xattr;
use crate::error::{Error, Result, shown};
use crate::excludes::Excludes;

/// The most threads that list directories. More would keep even a fast disk busy with nothing else.
const MOST_LISTERS: usize = 8;

/// What the walk found besides the tree.
pub(super) struct Scan {
    pub(super) tree: Tree,
    /// Bytes in regular files.
    pub(super) bytes: u64,
    /// How many files have attributes that squashfs cannot store, and the first of them.
    lost: u64,
    first_lost: Option<PathBuf>,
}

/// Walks the whole source. `image` is left out, should it lie in there.
///
/// # Errors
/// Something cannot be read, or is more than squashfs can hold. What vanishes during the walk is
/// reported and left out.
pub(super) fn scan(
    source: &Source,
    options: &WriteOptions,
    image: Option<Identity>,
    excluded: &Excludes,
) -> Result<Scan> {
    let lister = || Lister::new(source, excluded, options.xattrs);
    let ahead = Ahead::default();
    thread::scope(|scope| {
        for _ in 1..options.thread_count().clamp(2, MOST_LISTERS) {
            scope.spawn(|| ahead.work(&mut lister()));
        }
        let mut walk = Walk {
            source,
            options,
            image,
            tree: Tree::default(),
            bytes: 0,
            links: HashMap::new(),
            sizes: HashMap::new(),
            first_lost: None,
            lost: 0,
            root: None,
        };
        let walked = walk.all(&mut lister(), &ahead);
        ahead.close();
        walked?;
        walk.mark_twins();
        Ok(Scan { tree: walk.tree, bytes: walk.bytes, first_lost: walk.first_lost, lost: walk.lost })
    })
}

impl Scan {
    /// Tells what the image will lack. Not part of the walk, as an image is also compared with its source by
    /// walking that once more.
    pub(super) fn warn(&self) {
        let Some(path) = &self.first_lost else { return };
        log::warn!(
            "{} files have extended attributes that squashfs cannot store (access control lists, for example); \
             the first is {}",
            self.lost,
            shown(path)
        );
    }
}

struct Walk<'a> {
    source: &'a Source,
    options: &'a WriteOptions,
    image: Option<Identity>,
    tree: Tree,
    bytes: u64,
    /// Inodes with several names, by identity.
    links: HashMap<Identity, u32>,
    /// How many files have each size.
    sizes: HashMap<u64, u32>,
    first_lost: Option<PathBuf>,
    lost: u64,
    /// Of the root directory, for `one_file_system`.
    root: Option<Status>,
}

impl Walk<'_> {
    fn all(&mut self, lister: &mut Lister<'_>, ahead: &Ahead) -> Result<()> {
        let here = Path::new("");
        let root = lister.root().map_err(|e| Error::io("open", self.source.shown(here), e))?;
        self.root = Some(root.status);
        self.add(here, Text::default(), ROOT, root)?;
        ahead.push(vec![Pending::new(ROOT, Some(here.to_owned()))]);
        while let Some(mut next) = ahead.pop() {
            let listed = next.listed();
            match next.path {
                Some(path) => ahead.push(self.directory(next.inode, &path, lister, listed)?),
                None => self.place(next.inode, number(self.tree.entries.len())?, 0)?,
            }
        }
        Ok(())
    }

    /// Takes down one directory, which may be listed already; returns its subdirectories.
    fn directory(
        &mut self,
        inode: u32,
        path: &Path,
        lister: &mut Lister<'_>,
        listed: Option<io::Result<Listing>>,
    ) -> Result<Vec<Pending>> {
        let first = number(self.tree.entries.len())?;
        let first_file = self.tree.files.len();
        let mut below = Vec::new();
        match listed.unwrap_or_else(|| lister.list(path)) {
            Ok(listing) => lister.each(listing, |name, facts| {
                below.extend(self.entry(inode, &path.join(name), name, facts)?);
                Ok(())
            })?,
            Err(error) if is_gone(&error) && inode != ROOT => {
                // Its inode is in its parent's listing already, so it stays, empty.
                log::warn!(
                    "{} vanished while the image was made; it is empty there",
                    shown(self.source.shown(path))
                );
            }
            Err(error) => return Err(Error::io("list", self.source.shown(path), error)),
        }
        self.arrange(first_file)?;
        self.place(inode, first, number(self.tree.entries.len())? - first)?;
        Ok(below)
    }

    /// Takes down one name in a directory; returns what it stands for if that is to be visited, too.
    fn entry(
        &mut self,
        directory: u32,
        path: &Path,
        name: &OsStr,
        facts: io::Result<Facts>,
    ) -> Result<Option<Pending>> {
        let facts = match facts {
            Ok(facts) => facts,
            Err(error) if is_gone(&error) => {
                log::warn!(
                    "{} vanished while the image was made; it is not in there",
                    shown(self.source.shown(path))
                );
                return Ok(None);
            }
            Err(error) => return Err(Error::io("look at", self.source.shown(path), error)),
        };
        let is_directory = facts.status.kind == Kind::Directory;
        let crosses = self.options.one_file_system && self.crosses(&facts.status);
        if self.image == Some(facts.status.identity) || (crosses && !is_directory) {
            return Ok(None);
        }
        if name.len() > narrow(MAX_NAME) {
            return Err(Error::new("store", self.source.shown(path), "its name is too long for squashfs"));
        }
        let text = self.tree.add_text(name.as_bytes())?;
        let child = self.add(path, text, directory, facts)?;
        self.tree.entries.push(Entry { name: text, inode: child });
        if !is_directory {
            return Ok(None);
        }
        self.tree.items[narrow(directory)].links += 1;
        Ok(Some(Pending::new(child, (!crosses).then(|| path.to_owned()))))
    }

    /// Brings the data of a directory's files into the order of the image: those that fill blocks of
    /// their own by name, then small ones with like beside like, which makes the blocks they share smaller.
    /// That goes on within one block's worth of names: who reads a directory in order, as most do, needs few
    /// blocks at a time, and the kernel keeps no more than three (SQUASHFS_FRAGMENT_CACHE_SIZE).
    fn arrange(&mut self, first: usize) -> Result<()> {
        let tree = &mut self.tree;
        let block_size = u64::from(self.options.block_size);
        let mut files = tree.files.split_off(first);
        let mut filled = 0;
        files.sort_by_cached_key(|file| {
            let name = Path::new(tree.name(tree.item(file.inode).name));
            let size = file.version.size;
            (size < block_size).then(|| {
                filled += size;
                (filled / block_size, name.extension().map(OsStr::to_owned), size)
            })
        });
        for file in files {
            tree.items[narrow(file.inode)].node = Node::Regular(number(tree.files.len())?);
            tree.files.push(file);
        }
        Ok(())
    }

    fn place(&mut self, inode: u32, first: u32, count: u32) -> Result<()> {
        let place = number(self.tree.directories.len())?;
        self.tree.directories.push(Directory { inode, first, count });
        self.tree.items[narrow(inode)].node = Node::Directory(place);
        Ok(())
    }

    /// Whether something lies on another file system than the root. The device alone does not say so:
    /// overlayfs shows different ones for files and directories of one mount, and btrfs for subvolumes.
    fn crosses(&self, status: &Status) -> bool {
        let Some(root) = self.root else { return false };
        let same_mount = match (status.mount, root.mount) {
            (Some(mine), Some(roots)) => mine == roots,
            _ => status.kind != Kind::Directory,
        };
        status.identity.dev != root.identity.dev && !same_mount
    }

    /// Makes the inode for a name, or finds it if this is another name of it.
    fn add(&mut self, path: &Path, name: Text, parent: u32, facts: Facts) -> Result<u32> {
        let status = facts.status;
        let is_directory = status.kind == Kind::Directory;
        let inode = number(self.tree.items.len())?;
        if !is_directory && status.links > 1 {
            if let Some(&known) = self.links.get(&status.identity) {
                self.tree.items[narrow(known)].links += 1;
                return Ok(known);
            }
            self.links.insert(status.identity, inode);
        }
        let item = Item {
            node: self.node(path, inode, &status, facts.target)?,
            mode: status.mode,
            uid: self.tree.ids.index_of(self.options.owner.unwrap_or(status.uid))?,
            gid: self.tree.ids.index_of(self.options.group.unwrap_or(status.gid))?,
            mtime: self.mtime(status.mtime),
            links: if is_directory { 2 } else { 1 },
            xattrs: self.xattrs(path, facts.xattrs)?,
            parent,
            name,
        };
        self.tree.items.push(item);
        Ok(inode)
    }

    fn node(
        &mut self,
        path: &Path,
        inode: u32,
        status: &Status,
        target: io::Result<Vec<u8>>,
    ) -> Result<Node> {
        Ok(match status.kind {
            // Filled in when the directory is listed.
            Kind::Directory => Node::Directory(u32::MAX),
            Kind::RegularFile => self.regular(path, inode, status)?,
            Kind::Symlink => {
                let target = target.map_err(|e| Error::io("read the link", self.source.shown(path), e))?;
                Node::Symlink(self.tree.add_text(&target)?)
            }
            Kind::BlockDevice => Node::Device(FileType::BlockDevice, status.device),
            Kind::CharacterDevice => Node::Device(FileType::CharDevice, status.device),
            Kind::Fifo => Node::Ipc(FileType::Fifo),
            Kind::Socket => Node::Ipc(FileType::Socket),
            Kind::Unknown => {
                return Err(Error::new("store", self.source.shown(path), "it is of an unknown kind"));
            }
        })
    }

    fn regular(&mut self, path: &Path, inode: u32, status: &Status) -> Result<Node> {
        let size = status.version.size;
        if size == 0 {
            return Ok(Node::Regular(EMPTY));
        }
        if !is_storable(size, self.options.block_size) {
            let reason = format!("it has {size} bytes, too many for squashfs");
            return Err(Error::new("store", self.source.shown(path), reason));
        }
        let place = number(self.tree.files.len())?;
        self.tree.files.push(RegularFile {
            inode,
            identity: status.identity,
            version: status.version,
            has_holes: status.has_holes,
            has_twin: false,
        });
        self.bytes = self.bytes.saturating_add(size);
        *self.sizes.entry(size).or_default() += 1;
        Ok(Node::Regular(place))
    }

    fn mark_twins(&mut self) {
        if self.options.remove_duplicates {
            for file in &mut self.tree.files {
                file.has_twin = self.sizes.get(&file.version.size).is_some_and(|&count| count > 1);
            }
        }
    }

    fn xattrs(&mut self, path: &Path, found: io::Result<(Vec<Xattr>, bool)>) -> Result<u32> {
        match found {
            Ok((set, lost)) => {
                if lost {
                    self.lost += 1;
                    self.first_lost.get_or_insert_with(|| Path::new("/").join(path));
                }
                if set.is_empty() {
                    return Ok(NO_XATTRS);
                }
                self.tree.xattrs.index_of(set)
            }
            Err(error) if is_gone(&error) && Path::new("/proc/self/fd").exists() => Ok(NO_XATTRS),
            Err(error) => Err(Error::io("read the extended attributes of", self.source.shown(path), error)
                .hint("they are read through /proc, which has to be mounted")),
        }
    }

    /// Squashfs has unsigned 32-bit seconds; times before 1970 and after 2106 become the nearest.
    fn mtime(&self, seconds: i64) -> u32 {
        let seconds = u32::try_from(seconds.max(0)).unwrap_or(u32::MAX);
        self.options.latest_mtime.map_or(seconds, |latest| seconds.min(latest))
    }
}

/// The place of a regular file that has no data.
pub(super) const EMPTY: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn like_files_of_a_directory_lie_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, size| fs::write(folder.path().join(name), vec![1; size]).unwrap();
        let sizes = [
            ("a.c", 30),
            ("b.h", 20),
            ("big", 200_000),
            ("c.c", 10),
            ("d", 5),
            ("sub/e.c", 1),
            ("f.h", 7),
            ("g", 150_000),
        ];
        fs::create_dir(folder.path().join("sub")).unwrap();
        sizes.into_iter().for_each(|(name, size)| write(name, size));
        let source = Source::open(folder.path()).unwrap();
        let tree = scan(&source, &WriteOptions::default(), None, &Excludes::default()).unwrap().tree;
        let order: Vec<PathBuf> = tree.files.iter().map(|file| tree.path(file.inode)).collect();
        let expected = ["big", "g", "d", "c.c", "a.c", "f.h", "b.h", "sub/e.c"];
        assert_eq!(order, expected.map(PathBuf::from));
        for (place, file) in (0..).zip(&tree.files) {
            assert!(matches!(tree.item(file.inode).node, Node::Regular(number) if number == place));
        }
        // The names keep their order, and so do the inodes.
        let names: Vec<&OsStr> = tree.entries.iter().map(|entry| tree.name(entry.name)).collect();
        assert_eq!(names, ["a.c", "b.h", "big", "c.c", "d", "f.h", "g", "sub", "e.c"]);
    }
}
