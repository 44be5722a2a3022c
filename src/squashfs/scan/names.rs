//! The names in a directory, sorted by their bytes. They lie in one string, as there can be millions.

use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::RawDir;

/// Bytes of directory entries that are fetched at once.
const LISTING_BUFFER: usize = 64 << 10;

/// See the module.
#[derive(Default)]
pub(super) struct Names {
    text: Vec<u8>,
    places: Vec<std::ops::Range<usize>>,
}

impl Names {
    pub(super) fn read(directory: &OwnedFd) -> std::io::Result<Self> {
        let mut buffer = vec![MaybeUninit::uninit(); LISTING_BUFFER];
        let mut listing = RawDir::new(directory, &mut buffer);
        let mut names = Self::default();
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let start = names.text.len();
                names.text.extend_from_slice(name);
                names.places.push(start..names.text.len());
            }
        }
        let text = &names.text;
        names.places.sort_unstable_by(|a, b| text[a.clone()].cmp(&text[b.clone()]));
        Ok(names)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &OsStr> {
        self.places.iter().map(|place| OsStr::from_bytes(&self.text[place.clone()]))
    }
}
