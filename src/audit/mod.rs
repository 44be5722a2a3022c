//! What must not be in a finished image: keys, passwords and tokens of the machine that it was made from.
//! Everybody who can boot a client from the image, or reach the server's exports, can read all of it.
//!
//! The image file itself is searched, not what it was made from: what excludes and cleanup have kept out
//! is not found, and what they have missed is. No mount is needed; the image is not trusted.
//!
//! Which files are secrets is declared in `rules`, one line each: where such a file lies (`pattern`) and
//! what shows that there is a secret in it (`evidence`); some files are named as keys by others
//! (`references`). Of files that packages bring only those are looked into whose names speak for
//! themselves, and what is found in them counts only if it was changed (`packages`).

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::squashfs::Compression;
use crate::squashfs::inode::{Body, FileType, Inode};
use crate::squashfs::reader::{self, Image};

mod evidence;
mod kind;
mod md5;
mod packages;
mod pattern;
mod references;
mod rules;

pub use kind::Kind;

use rules::{Rule, Rules};

/// How much of a file is looked at, in bytes. Secrets are short; of longer files only the beginning is
/// looked at, and only if a rule names them.
const LOOKED_AT: usize = 128 * 1024;

/// A secret in an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, as a path in the image that begins with a slash.
    pub path: PathBuf,
    /// What it is, or what is in it.
    pub kind: Kind,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", crate::error::shown(&self.path), self.kind)
    }
}

/// Whether [`search`] can read an image: one that mksquashfs has compressed with lzo or lzma it cannot.
/// `path` is its name for errors.
///
/// # Errors
/// The file cannot be read, or is no squashfs image.
pub fn can_search(image: &File, path: &Path) -> Result<bool> {
    let superblock = reader::superblock(image, path)?;
    Ok(Compression::numbered(superblock.compressor).is_some())
}

/// Searches an image; `path` is its name for errors, `renewed` are files of it (relative to its root)
/// whose keys were made for it alone, such as [`crate::cleanup::modern::Cleaned::renewed`].
///
/// Returns one finding for each file, in the order of their paths.
///
/// # Errors
/// The image cannot be read (see [`can_search`]), or is damaged.
pub fn search(image: &File, path: &Path, renewed: &[PathBuf]) -> Result<Vec<Finding>> {
    let mut image = Image::open(image, path)?;
    let rules = Rules::new(references::read(&mut image)?);
    let mut suspects = suspects(&mut image, &rules)?;
    suspects.retain(|suspect| !renewed.iter().any(|known| known == &suspect.path));
    // Neighbours share blocks: in the order of the disk each is decompressed once.
    suspects.sort_by_key(|suspect| place(&suspect.inode));
    let mut found = Vec::new();
    for Suspect { path, inode, rules, anywhere } in suspects {
        let content = image.head(&inode, LOOKED_AT)?;
        if let Some(kind) = rules::judge(&rules, anywhere, &content) {
            found.push(Found { path, inode, kind });
        }
    }
    packages::without_their_files(&mut image, &mut found)?;
    let of = |one: Found| Finding { path: Path::new("/").join(one.path), kind: one.kind };
    let mut findings: Vec<Finding> = found.into_iter().map(of).collect();
    findings.sort();
    Ok(findings)
}

/// What is a secret unless a package brought it; the path is relative to the root.
struct Found {
    path: PathBuf,
    inode: Inode,
    kind: Kind,
}

/// A file that is worth a look.
struct Suspect {
    path: PathBuf,
    inode: Inode,
    /// The rules for files of that name.
    rules: Vec<&'static Rule>,
    /// Whether the rules for files of any name apply as well.
    anywhere: bool,
}

/// Walks through the image. Inodes of files that nothing speaks against are not even read.
fn suspects(image: &mut Image, rules: &Rules) -> Result<Vec<Suspect>> {
    let mut suspects = Vec::new();
    let mut pending = vec![(PathBuf::new(), image.root()?)];
    // A hostile image may have a directory in itself; and a file with several names is one file.
    let mut seen = HashSet::new();
    while let Some((directory, place)) = pending.pop() {
        let inode = image.inode(place)?;
        if !seen.insert(inode.number) {
            continue;
        }
        let anywhere = !pattern::is_of_packages(&directory);
        for child in image.children(&inode)? {
            match child.file_type {
                FileType::Directory => pending.push((directory.join(name(&child.name)), child.inode)),
                FileType::Regular => {
                    let rules = rules.of(&directory, &child.name);
                    if (!anywhere && rules.is_empty()) || !seen.insert(child.number) {
                        continue;
                    }
                    let inode = image.inode(child.inode)?;
                    let size = match &inode.body {
                        Body::Regular { size, .. } => *size,
                        _ => 0,
                    };
                    let anywhere = anywhere && usize::try_from(size).is_ok_and(|size| size <= LOOKED_AT);
                    if size > 0 && (anywhere || !rules.is_empty()) {
                        let path = directory.join(name(&child.name));
                        suspects.push(Suspect { path, inode, rules, anywhere });
                    }
                }
                _ => {}
            }
        }
    }
    Ok(suspects)
}

fn name(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

/// Where a file's content lies: its fragment if it has nothing else, and its first block.
fn place(inode: &Inode) -> (u32, u64) {
    match &inode.body {
        Body::Regular { blocks, tail: Some(tail), .. } if blocks.is_empty() => (tail.fragment, 0),
        Body::Regular { start, .. } => (u32::MAX, *start),
        _ => (u32::MAX, u64::MAX),
    }
}
