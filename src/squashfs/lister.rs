//! One directory of the source: the names in it, and what stands behind each.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{FileType as Kind, RawDir};

use super::source::{Source, xattrs};
use super::status::Status;
use super::xattr::Xattr;
use crate::excludes::Excludes;

/// Bytes of directory entries that are fetched at once.
const LISTING_BUFFER: usize = 64 << 10;
/// Files that are looked at as soon as their directory is listed. Those behind them wait for their turn,
/// as a directory can have millions.
const LOOKED_AT: usize = 2048;

/// One thread's means of listing.
pub(super) struct Lister<'a> {
    pub(super) source: &'a Source,
    excluded: &'a Excludes,
    wants_xattrs: bool,
    buffer: Vec<u8>,
}

/// A directory's files, without those that are excluded.
pub(super) struct Listing {
    directory: OwnedFd,
    names: Names,
    /// Of the first names.
    facts: Vec<io::Result<Facts>>,
}

/// All that the image holds of a file besides its content.
pub(super) struct Facts {
    pub(super) status: Status,
    /// Empty unless it is a symbolic link.
    pub(super) target: io::Result<Vec<u8>>,
    /// With whether there are some that squashfs cannot store.
    pub(super) xattrs: io::Result<(Vec<Xattr>, bool)>,
}

impl<'a> Lister<'a> {
    pub(super) fn new(source: &'a Source, excluded: &'a Excludes, wants_xattrs: bool) -> Self {
        Self { source, excluded, wants_xattrs, buffer: Vec::new() }
    }

    /// Lists the directory at `path` and looks at what is in there, at the beginning at least.
    pub(super) fn list(&mut self, path: &Path) -> io::Result<Listing> {
        let directory = self.source.directory(path)?;
        let level = self.excluded.level(path);
        let names = Names::read(&directory, |name| level.enter(name).is_some())?;
        let facts = names.iter().take(LOOKED_AT).map(|name| self.look(&directory, name)).collect();
        Ok(Listing { directory, names, facts })
    }

    /// Hands over each file of a listing, in the order of the names.
    ///
    /// # Errors
    /// That of `take`, which ends it.
    pub(super) fn each<E>(
        &mut self,
        listing: Listing,
        mut take: impl FnMut(&OsStr, io::Result<Facts>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut facts = listing.facts.into_iter();
        listing.names.iter().try_for_each(|name| {
            take(name, facts.next().unwrap_or_else(|| self.look(&listing.directory, name)))
        })
    }

    /// Looks at the root, which has no name.
    pub(super) fn root(&mut self) -> io::Result<Facts> {
        let directory = self.source.directory(Path::new(""))?;
        self.look(&directory, OsStr::new("."))
    }

    fn look(&mut self, directory: &OwnedFd, name: &OsStr) -> io::Result<Facts> {
        let status = Status::of(directory, name)?;
        let target = match status.kind {
            Kind::Symlink => rustix::fs::readlinkat(directory, name, Vec::new())
                .map(|target| target.into_bytes())
                .map_err(io::Error::from),
            _ => Ok(Vec::new()),
        };
        let xattrs = match self.wants_xattrs {
            true => xattrs(directory, name, &mut self.buffer),
            false => Ok((Vec::new(), false)),
        };
        Ok(Facts { status, target, xattrs })
    }
}

/// The names in a directory, sorted by their bytes. They lie in one string, as there can be millions.
#[derive(Default)]
struct Names {
    text: Vec<u8>,
    places: Vec<Range<usize>>,
}

impl Names {
    fn read(directory: &OwnedFd, is_wanted: impl Fn(&OsStr) -> bool) -> io::Result<Self> {
        let mut buffer = vec![MaybeUninit::uninit(); LISTING_BUFFER];
        let mut listing = RawDir::new(directory, &mut buffer);
        let mut names = Self::default();
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." && is_wanted(OsStr::from_bytes(name)) {
                let start = names.text.len();
                names.text.extend_from_slice(name);
                names.places.push(start..names.text.len());
            }
        }
        let text = &names.text;
        names.places.sort_unstable_by(|a, b| text[a.clone()].cmp(&text[b.clone()]));
        Ok(names)
    }

    fn iter(&self) -> impl Iterator<Item = &OsStr> {
        self.places.iter().map(|place| OsStr::from_bytes(&self.text[place.clone()]))
    }
}
