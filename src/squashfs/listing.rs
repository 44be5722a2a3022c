//! What is in an image, a line for each name (`-info`).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::fragment::Tail;
use super::inode::{Body, FileType, Inode};
use super::reader::Image;
use crate::error::{Error, Result, shown};

/// Where the data of a file lies: its first block and its tail. Files with the same content share it.
type Place = (u64, Option<(u32, u32)>);

/// Prints every name in the image below the root to `output`, what it is, and with which other names it shares
/// inode or data. `path` is the image's name for errors.
///
/// # Errors
/// The image cannot be read, or `output` not be written to; a reader that has gone away is none.
pub fn print(file: &File, path: &Path, output: &mut dyn Write) -> Result<()> {
    let mut listing =
        Listing { image: Image::open(file, path)?, names: HashMap::new(), places: HashMap::new() };
    let root = listing.image.root()?;
    let root = listing.image.inode(root)?;
    let mut pending = vec![(PathBuf::from("/"), root)];
    while let Some((directory, inode)) = pending.pop() {
        let first = pending.len();
        for child in listing.image.children(&inode)? {
            let name = directory.join(OsStr::from_bytes(&child.name));
            let inode = listing.image.inode(child.inode)?;
            let line = format!("{}: {}", shown(&name), listing.describe(&name, &inode));
            match writeln!(output, "{line}") {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(Error::io("write to", "standard output", error)),
                Ok(()) => {}
            }
            if inode.file_type() == FileType::Directory {
                pending.push((name, inode));
            }
        }
        pending[first..].reverse();
    }
    Ok(())
}

struct Listing<'a> {
    image: Image<'a>,
    /// The first name of each inode that has several.
    names: HashMap<u32, PathBuf>,
    places: HashMap<Place, PathBuf>,
}

impl Listing<'_> {
    fn describe(&mut self, name: &Path, inode: &Inode) -> String {
        if inode.links > 1 && inode.file_type() != FileType::Directory {
            if let Some(first) = self.names.get(&inode.number) {
                return format!("hard link to {}", shown(first));
            }
            self.names.insert(inode.number, name.to_owned());
        }
        match &inode.body {
            Body::Directory { .. } => "directory".to_owned(),
            Body::Symlink(target) => format!("link to {}", shown(OsStr::from_bytes(target))),
            Body::Device(kind, number) => {
                // The kernel's new_encode_dev().
                let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xf_ff00);
                let kind = if *kind == FileType::BlockDevice { "block" } else { "character" };
                format!("{kind} device {major}:{minor}")
            }
            Body::Ipc(FileType::Fifo) => "fifo".to_owned(),
            Body::Ipc(_) => "socket".to_owned(),
            Body::Regular { size, start, blocks, tail, .. } => {
                let bytes = if *size == 1 { "1 byte".to_owned() } else { format!("{size} bytes") };
                let has_data = tail.is_some() || blocks.iter().any(|&block| block != 0);
                let place = (*start, tail.map(|Tail { fragment, offset }| (fragment, offset)));
                match self.places.get(&place).filter(|_| has_data) {
                    Some(first) => format!("file, {bytes}, the same as {}", shown(first)),
                    None => {
                        self.places.insert(place, name.to_owned());
                        format!("file, {bytes}")
                    }
                }
            }
        }
    }
}
