//! Random trees with every kind of entry that a root file system holds.

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chownat, lsetxattr, makedev,
    mknodat, utimensat,
};

use crate::random::Random;

/// Where the block sizes that the tests use begin and end; sizes of files are chosen around them.
const EDGES: [u64; 5] = [4096, 8192, 65_536, 131_072, 1 << 20];
/// Owners and groups of a simple tree: backhand reads one block of the id table, 2,048 of them.
const OWNERS: usize = 1000;

pub struct Forest {
    random: Random,
    simple: bool,
    /// Contents of earlier files, to be used again.
    contents: Vec<Vec<u8>>,
    /// Values of earlier attributes, likewise.
    values: Vec<Vec<u8>>,
    /// Users and groups.
    owners: Vec<u32>,
    /// Files that can have another name.
    linkable: Vec<PathBuf>,
    /// Everything, for the times and modes that are set at the end.
    all: Vec<(PathBuf, bool)>,
}

/// Whether the tree with this number holds only what backhand can read: no link target of more than 255
/// bytes, extended attributes on files and directories alone, and not too many owners.
pub fn is_simple(seed: u64) -> bool {
    seed % 4 != 3
}

/// Grows the tree with this number in `root`, an empty directory.
pub fn grow(seed: u64, root: &Path) {
    let random = Random::new(seed);
    let mut forest = Forest {
        random,
        simple: is_simple(seed),
        contents: Vec::new(),
        values: Vec::new(),
        owners: Vec::new(),
        linkable: Vec::new(),
        all: Vec::new(),
    };
    forest.all.push((root.to_owned(), false));
    forest.directory(root, 0);
    if forest.random.once_in(40) {
        forest.huge(&root.join("beyond 4 GiB"));
    }
    // From the leaves, as making an entry changes the times of its directory.
    for (path, is_link) in std::mem::take(&mut forest.all).into_iter().rev() {
        forest.attributes(&path, is_link);
    }
}

impl Forest {
    fn directory(&mut self, path: &Path, depth: usize) {
        let many = self.random.once_in(40);
        let count = if many { self.random.number(300..1000) } else { self.random.number(0..14) };
        for _ in 0..count {
            let name = self.name();
            let below = path.join(OsStr::from_bytes(&name));
            if below.symlink_metadata().is_ok() {
                continue;
            }
            match self.random.number(0..if many { 100 } else { 16 }) {
                0 | 1 if depth < 6 => {
                    fs::create_dir(&below).unwrap();
                    self.all.push((below.clone(), false));
                    self.directory(&below, depth + 1);
                    continue;
                }
                2 => self.link(&below),
                3 => {
                    let lengths = [1, 20, 59, 60, 61, 255, 1000, 4095];
                    let length = *self.random.one_of(if self.simple { &lengths[..6] } else { &lengths });
                    let target: Vec<u8> =
                        self.random.noise(length).iter().map(|byte| byte % 26 + b'a').collect();
                    symlink(OsStr::from_bytes(&target), &below).unwrap();
                    self.all.push((below.clone(), true));
                }
                4 => self.special(&below),
                _ => {
                    self.file(&below);
                    self.all.push((below.clone(), false));
                }
            }
            if self.random.once_in(3) {
                self.linkable.push(below);
            }
        }
    }

    fn name(&mut self) -> Vec<u8> {
        let length = *self.random.one_of(&[1, 2, 5, 8, 8, 8, 12, 30, 254, 255]);
        let plain = !self.random.once_in(4);
        let mut name = self.random.noise(length);
        for byte in &mut name {
            *byte = match *byte {
                any if plain => any % 26 + b'a',
                0 | b'/' => b'%',
                other => other,
            };
        }
        match &name[..] {
            b"." | b".." => b"dots".to_vec(),
            _ => name,
        }
    }

    fn link(&mut self, path: &Path) {
        match self.linkable.len() {
            0 => self.file(path),
            count => {
                let target = self.linkable[self.random.number(0..count)].clone();
                fs::hard_link(target, path).unwrap();
                return;
            }
        }
        self.all.push((path.to_owned(), false));
    }

    fn special(&mut self, path: &Path) {
        let (kind, device) = match self.random.number(0..4) {
            0 => (FileType::Fifo, 0),
            1 => (FileType::Socket, 0),
            n => {
                let major = u32::try_from(self.random.within(0..4096)).unwrap();
                let minor = u32::try_from(self.random.within(0..1 << 20)).unwrap();
                let kind = if n == 2 { FileType::CharacterDevice } else { FileType::BlockDevice };
                (kind, makedev(major, minor))
            }
        };
        mknodat(CWD, path, kind, Mode::RUSR, device).unwrap();
        self.all.push((path.to_owned(), false));
    }

    fn file(&mut self, path: &Path) {
        if self.random.once_in(12) {
            return self.sparse(path);
        }
        let content = if !self.contents.is_empty() && self.random.once_in(4) {
            self.random.one_of(&self.contents).clone()
        } else {
            self.content()
        };
        fs::write(path, &content).unwrap();
        self.contents.push(content);
    }

    fn content(&mut self) -> Vec<u8> {
        let edge = *self.random.one_of(&EDGES[..3]);
        let length = match self.random.number(0..20) {
            0 => 0,
            1..=8 => self.random.within(1..200),
            9..=13 => self.random.within(1..20_000),
            14 => edge - 1,
            15 => edge,
            16 => edge + 1,
            17 => self.random.within(1..5) * edge,
            18 => self.random.within(1..300_000),
            _ if self.random.once_in(4) => *self.random.one_of(&EDGES) + self.random.within(0..1_200_000),
            _ => self.random.within(1..2 * edge),
        };
        let length = usize::try_from(length).unwrap();
        match self.random.number(0..5) {
            0 => self.random.noise(length),
            1 => vec![0; length],
            // Differs in the last byte alone: the same size and beginning.
            2 if length > 0 => {
                let mut content = vec![b'='; length];
                content[length - 1] = self.random.noise(1)[0];
                content
            }
            _ => self.random.text(length),
        }
    }

    /// A file with holes, and with zeros that are no holes.
    fn sparse(&mut self, path: &Path) {
        let file = File::create(path).unwrap();
        file.set_len(self.random.within(1..1_500_000)).unwrap();
        for _ in 0..self.random.number(0..5) {
            let at = self.random.within(0..1_200_000);
            let length = self.random.number(1..100_000);
            let bytes = if self.random.once_in(3) { vec![0; length] } else { self.random.text(length) };
            file.write_all_at(&bytes, at).unwrap();
        }
    }

    /// A sparse file whose size has more than 32 bits.
    fn huge(&mut self, path: &Path) {
        let file = File::create(path).unwrap();
        let size = (1 << 32) + self.random.within(1..100_000_000);
        file.set_len(size).unwrap();
        for at in [0, self.random.within(0..1 << 32), (1 << 32) - 5000, size - 10] {
            if self.random.once_in(2) {
                let bytes = self.random.text(10_000);
                file.write_all_at(&bytes[..bytes.len().min(usize::try_from(size - at).unwrap())], at)
                    .unwrap();
            }
        }
        self.all.push((path.to_owned(), false));
    }

    fn attributes(&mut self, path: &Path, is_link: bool) {
        let (uid, gid) = (self.owner(), self.owner());
        chownat(CWD, path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)
            .unwrap();
        if !is_link {
            let mode = u32::try_from(self.random.within(0..0o10000)).unwrap();
            rustix::fs::chmod(path, Mode::from_raw_mode(mode)).unwrap();
        }
        let kind = path.symlink_metadata().unwrap().file_type();
        if self.random.once_in(4) && (kind.is_file() || kind.is_dir() || !self.simple) {
            for _ in 0..self.random.number(1..4) {
                self.xattr(path);
            }
        }
        let mtime = match self.random.number(0..8) {
            0 => 0,
            1 => i64::from(u32::MAX),
            _ => i64::try_from(self.random.within(1_000_000_000..2_000_000_000)).unwrap(),
        };
        let time = Timespec { tv_sec: mtime, tv_nsec: 5 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }

    fn owner(&mut self) -> u32 {
        let id = match self.random.number(0..4) {
            0 | 1 => return 0,
            _ if self.simple && self.owners.len() >= OWNERS => return *self.random.one_of(&self.owners),
            2 => self.random.within(0..70_000),
            _ => self.random.within(0..u64::from(u32::MAX)),
        };
        let id = u32::try_from(id).unwrap();
        self.owners.push(id);
        id
    }

    fn xattr(&mut self, path: &Path) {
        let kind = path.symlink_metadata().unwrap().file_type();
        // The kernel has user attributes on files and directories only.
        let spaces: &[&str] = match kind.is_file() || kind.is_dir() {
            true => &["user", "trusted", "security"],
            false => &["trusted", "security"],
        };
        let name =
            format!("{}.{}", self.random.one_of(spaces), self.random.one_of(&["a", "bb", "long.er.name"]));
        let value = if !self.values.is_empty() && self.random.once_in(2) {
            self.random.one_of(&self.values).clone()
        } else {
            let length = *self.random.one_of(&[0, 1, 7, 8, 9, 40, 500, 800]);
            self.random.noise(length)
        };
        let path = CString::new(path.as_os_str().as_bytes()).unwrap();
        lsetxattr(&path, &name, &value, XattrFlags::empty()).unwrap();
        self.values.push(value);
    }
}
