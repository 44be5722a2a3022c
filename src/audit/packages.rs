//! Which files of an image came with packages, by what dpkg knows: everybody has these, they are no secrets.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Found, md5};
use crate::error::Result;
use crate::squashfs::inode::{Body, FileType, Inode};
use crate::squashfs::reader::Image;

/// Where dpkg keeps the lists of the files in packages, and their digests.
const LISTS: &str = "var/lib/dpkg/info";
/// Where it keeps the digests of configuration files as they came.
const STATUS: &str = "var/lib/dpkg/status";
/// Where packages have files that nobody changes. Elsewhere they may be settings.
const PLACES: [&str; 8] = ["bin", "lib", "lib32", "lib64", "libx32", "opt", "sbin", "usr"];
/// How long these files, and those in question, may be, in bytes; longer ones are not looked into. Ten times
/// what a large installation has.
const LONGEST: usize = 64 << 20;

/// Removes what was found in files that are as their package brought them. dpkg's files are only read if
/// there is one in question.
pub(super) fn without_their_files(image: &mut Image, found: &mut Vec<Found>) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let mut known = Known::default();
    known.read_status(image, found)?;
    known.read_lists(image, found)?;
    let mut left = Vec::new();
    for one in found.drain(..) {
        if !known.is_as_it_came(image, &one)? {
            left.push(one);
        }
    }
    *found = left;
    Ok(())
}

/// What dpkg knows about the files in question.
#[derive(Default)]
struct Known {
    /// Where nobody changes files, those that are in packages.
    listed: HashSet<PathBuf>,
    digests: HashMap<PathBuf, HashSet<Vec<u8>>>,
}

impl Known {
    fn add(&mut self, path: &Path, digest: &[u8]) {
        self.digests.entry(path.to_owned()).or_default().insert(digest.to_vec());
    }

    /// Digests of configuration files: lines of a blank, a path, the digest and perhaps a remark.
    fn read_status(&mut self, image: &mut Image, found: &[Found]) -> Result<()> {
        let Some(status) = lookup(image, Path::new(STATUS))? else { return Ok(()) };
        let wanted: HashSet<&[u8]> = found.iter().map(|one| one.path.as_os_str().as_bytes()).collect();
        for line in text(image, &status)?.split(|&byte| byte == b'\n') {
            let Some(line) = line.strip_prefix(b" /") else { continue };
            let line = line.strip_suffix(b" obsolete").unwrap_or(line);
            let Some(blank) = line.iter().rposition(|&byte| byte == b' ') else { continue };
            let (path, digest) = (&line[..blank], &line[blank + 1..]);
            if wanted.contains(path) {
                self.add(Path::new(OsStr::from_bytes(path)), digest);
            }
        }
        Ok(())
    }

    /// The lists of files, and the digests of files that are no configuration.
    fn read_lists(&mut self, image: &mut Image, found: &[Found]) -> Result<()> {
        let mut wanted: HashMap<&[u8], &Path> = HashMap::new();
        for path in found.iter().map(|one| one.path.as_path()).filter(|path| is_in_places(path)) {
            wanted.insert(path.as_os_str().as_bytes(), path);
            // A list may say `/lib/x` for what is `/usr/lib/x` where `/lib` is a link.
            if let Ok(path_by_link) = path.strip_prefix("usr") {
                wanted.insert(path_by_link.as_os_str().as_bytes(), path);
            }
        }
        let lists = if wanted.is_empty() { None } else { lookup(image, Path::new(LISTS))? };
        let Some(lists) = lists.filter(|inode| matches!(inode.body, Body::Directory { .. })) else {
            return Ok(());
        };
        for child in image.children(&lists)? {
            let has_digests = child.name.ends_with(b".md5sums");
            if child.file_type != FileType::Regular || !(has_digests || child.name.ends_with(b".list")) {
                continue;
            }
            let inode = image.inode(child.inode)?;
            for line in text(image, &inode)?.split(|&byte| byte == b'\n') {
                // The digest, two blanks and `usr/x`; or `/usr/x`.
                if has_digests {
                    let Some((digest, path)) = line.split_at_checked(34) else { continue };
                    if let Some(path) = wanted.get(path) {
                        self.add(path, &digest[..32]);
                    }
                } else if let Some(path) = line.strip_prefix(b"/").and_then(|path| wanted.get(path)) {
                    self.listed.insert((*path).to_owned());
                }
            }
        }
        Ok(())
    }

    /// Where nobody changes files, one of which there is no digest is taken for the package's.
    fn is_as_it_came(&self, image: &mut Image, one: &Found) -> Result<bool> {
        let Some(digests) = self.digests.get(&one.path) else { return Ok(self.listed.contains(&one.path)) };
        let content = text(image, &one.inode)?;
        Ok(digests.contains(md5::digest(&content).as_bytes()))
    }
}

fn is_in_places(path: &Path) -> bool {
    PLACES.iter().any(|place| path.starts_with(place)) && !path.starts_with("usr/local")
}

fn text(image: &mut Image, inode: &Inode) -> Result<Vec<u8>> {
    if matches!(inode.body, Body::Regular { .. }) { image.head(inode, LONGEST) } else { Ok(Vec::new()) }
}

/// What lies at a path; links are not followed.
pub(super) fn lookup(image: &mut Image, path: &Path) -> Result<Option<Inode>> {
    let root = image.root()?;
    let mut inode = image.inode(root)?;
    for component in path {
        if !matches!(inode.body, Body::Directory { .. }) {
            return Ok(None);
        }
        let name = component.as_bytes();
        let child = image.children(&inode)?.into_iter().find(|child| child.name == name);
        let Some(child) = child else { return Ok(None) };
        inode = image.inode(child.inode)?;
    }
    Ok(Some(inode))
}
