//! The walk through the source: every name and inode, in the order in which the image holds them.
//!
//! Directories are taken depth first and the names in each sorted by their bytes, so that the image
//! depends on the tree alone. All metadata is taken here; file contents are read later.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType as Kind, Statx};
use rustix::io::Errno;

use super::directory::MAX_NAME;
use super::inode::{FileType, NO_XATTRS, device_number, is_storable};
use super::le::narrow;
use super::options::WriteOptions;
use super::source::{Source, is_gone, xattrs};
use super::tree::{Directory, Entry, Identity, Item, Node, ROOT, RegularFile, Text, Tree, number};
use crate::error::{Error, Result, shown};
use crate::excludes::Excludes;
use names::Names;
use status::{device, identity, mount, status, version};

mod names;
mod status;

pub(super) use status::{identity_of, look};

/// Size of the unit in which the kernel counts the space that a file takes.
const SECTOR: u64 = 512;

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
    let mut walk = Walk {
        source,
        options,
        image,
        excluded,
        tree: Tree::default(),
        bytes: 0,
        links: HashMap::new(),
        sizes: HashMap::new(),
        buffer: Vec::new(),
        first_lost: None,
        lost: 0,
        root_mount: None,
    };
    walk.root()?;
    walk.mark_twins();
    Ok(Scan { tree: walk.tree, bytes: walk.bytes, first_lost: walk.first_lost, lost: walk.lost })
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
    excluded: &'a Excludes,
    tree: Tree,
    bytes: u64,
    /// Inodes with several names, by identity.
    links: HashMap<Identity, u32>,
    /// How many files have each size.
    sizes: HashMap<u64, u32>,
    buffer: Vec<u8>,
    first_lost: Option<PathBuf>,
    lost: u64,
    /// Device and mount of the root, for `one_file_system`.
    root_mount: Option<(u64, Option<u64>)>,
}

impl Walk<'_> {
    fn root(&mut self) -> Result<()> {
        let here = Path::new("");
        let directory =
            self.source.directory(here).map_err(|e| Error::io("open", self.source.shown(here), e))?;
        let status = status(&directory, OsStr::new(""), AtFlags::EMPTY_PATH)
            .map_err(|e| Error::io("look at", self.source.shown(here), e))?;
        self.root_mount = Some((device(&status), mount(&status)));
        self.add(&directory, Path::new(""), OsStr::new("."), Text::default(), ROOT, &status)?;
        let mut pending = vec![(ROOT, Some(PathBuf::new()))];
        while let Some((inode, path)) = pending.pop() {
            let first = pending.len();
            match path {
                Some(path) => self.directory(inode, &path, &mut pending)?,
                None => self.place(inode, number(self.tree.entries.len())?, 0)?,
            }
            // The next one to pop is the first by name.
            pending[first..].reverse();
        }
        Ok(())
    }

    /// Lists one directory; its subdirectories are added to `pending`, without a path if they are to
    /// stay empty.
    fn directory(
        &mut self,
        inode: u32,
        path: &Path,
        pending: &mut Vec<(u32, Option<PathBuf>)>,
    ) -> Result<()> {
        let source = self.source;
        let first = number(self.tree.entries.len())?;
        let listed = source.directory(path).and_then(|directory| Ok((Names::read(&directory)?, directory)));
        let (names, directory) = match listed {
            Ok(listed) => listed,
            Err(error) if is_gone(&error) && inode != ROOT => {
                // Its inode is in its parent's listing already, so it stays, empty.
                log::warn!(
                    "{} vanished while the image was made; it is empty there",
                    shown(source.shown(path))
                );
                return self.place(inode, first, 0);
            }
            Err(error) => return Err(Error::io("list", source.shown(path), error)),
        };
        let excluded = self.excluded.level(path);
        for name in names.iter() {
            if excluded.enter(name).is_none() {
                continue;
            }
            let below = path.join(name);
            let status = match status(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(status) => status,
                Err(Errno::NOENT) => {
                    log::warn!(
                        "{} vanished while the image was made; it is not in there",
                        shown(source.shown(&below))
                    );
                    continue;
                }
                Err(error) => return Err(Error::io("look at", source.shown(&below), error)),
            };
            let is_directory = Kind::from_raw_mode(status.stx_mode.into()) == Kind::Directory;
            let crosses = self.options.one_file_system && self.crosses(&status);
            if self.image == Some(identity(&status)) || (crosses && !is_directory) {
                continue;
            }
            if name.len() > narrow(MAX_NAME) {
                return Err(Error::new("store", source.shown(&below), "its name is too long for squashfs"));
            }
            let text = self.tree.add_text(name.as_bytes())?;
            let child = self.add(&directory, &below, name, text, inode, &status)?;
            self.tree.entries.push(Entry { name: text, inode: child });
            if is_directory {
                self.tree.items[narrow(inode)].links += 1;
                pending.push((child, (!crosses).then_some(below)));
            }
        }
        self.place(inode, first, number(self.tree.entries.len())? - first)
    }

    fn place(&mut self, inode: u32, first: u32, count: u32) -> Result<()> {
        let place = number(self.tree.directories.len())?;
        self.tree.directories.push(Directory { inode, first, count });
        self.tree.items[narrow(inode)].node = Node::Directory(place);
        Ok(())
    }

    /// Whether something lies on another file system than the root. The device alone does not say so:
    /// overlayfs shows different ones for files and directories of one mount, and btrfs for subvolumes.
    fn crosses(&self, status: &Statx) -> bool {
        let Some((root_device, root_mount)) = self.root_mount else { return false };
        let same_mount = match (mount(status), root_mount) {
            (Some(mine), Some(roots)) => mine == roots,
            _ => Kind::from_raw_mode(status.stx_mode.into()) != Kind::Directory,
        };
        device(status) != root_device && !same_mount
    }

    /// Makes the inode for a name, or finds it if this is another name of it.
    fn add(
        &mut self,
        directory: &OwnedFd,
        path: &Path,
        name: &OsStr,
        text: Text,
        parent: u32,
        status: &Statx,
    ) -> Result<u32> {
        let kind = Kind::from_raw_mode(status.stx_mode.into());
        let inode = number(self.tree.items.len())?;
        if kind != Kind::Directory && status.stx_nlink > 1 {
            if let Some(&known) = self.links.get(&identity(status)) {
                self.tree.items[narrow(known)].links += 1;
                return Ok(known);
            }
            self.links.insert(identity(status), inode);
        }
        let node = self.node(directory, path, name, inode, kind, status)?;
        let (uid, gid) =
            (self.options.owner.unwrap_or(status.stx_uid), self.options.group.unwrap_or(status.stx_gid));
        let item = Item {
            node,
            mode: status.stx_mode & 0o7777,
            uid: self.tree.ids.index_of(uid)?,
            gid: self.tree.ids.index_of(gid)?,
            mtime: self.mtime(status.stx_mtime.tv_sec),
            links: if kind == Kind::Directory { 2 } else { 1 },
            xattrs: self.xattrs(directory, path, name)?,
            parent,
            name: text,
        };
        self.tree.items.push(item);
        Ok(inode)
    }

    fn node(
        &mut self,
        directory: &OwnedFd,
        path: &Path,
        name: &OsStr,
        inode: u32,
        kind: Kind,
        status: &Statx,
    ) -> Result<Node> {
        let device = device_number(status.stx_rdev_major, status.stx_rdev_minor);
        Ok(match kind {
            // Filled in when the directory is listed.
            Kind::Directory => Node::Directory(u32::MAX),
            Kind::RegularFile => self.regular(path, inode, status)?,
            Kind::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new())
                    .map_err(|e| Error::io("read the link", self.source.shown(path), e))?;
                Node::Symlink(self.tree.add_text(target.as_bytes())?)
            }
            Kind::BlockDevice => Node::Device(FileType::BlockDevice, device),
            Kind::CharacterDevice => Node::Device(FileType::CharDevice, device),
            Kind::Fifo => Node::Ipc(FileType::Fifo),
            Kind::Socket => Node::Ipc(FileType::Socket),
            Kind::Unknown => {
                return Err(Error::new("store", self.source.shown(path), "it is of an unknown kind"));
            }
        })
    }

    fn regular(&mut self, path: &Path, inode: u32, status: &Statx) -> Result<Node> {
        let size = status.stx_size;
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
            identity: identity(status),
            version: version(status),
            has_holes: status.stx_blocks.saturating_mul(SECTOR) < size,
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

    fn xattrs(&mut self, directory: &OwnedFd, path: &Path, name: &OsStr) -> Result<u32> {
        if !self.options.xattrs {
            return Ok(NO_XATTRS);
        }
        match xattrs(directory, name, &mut self.buffer) {
            Ok((set, lost)) => {
                if lost {
                    self.lost += 1;
                    self.first_lost.get_or_insert_with(|| self.source.shown(path));
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
