//! Whether an image will fit: what is in the tree against what is free.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::DirEntry;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use crate::error::{During, Error, Result, shown};
use crate::excludes::{Excludes, Level};
use crate::report::size;
use crate::sys::signals;

/// gzip leaves a third of a system's data, xz a quarter.
const USUAL_RATIO: u64 = 3;
/// No compressor leaves less than this of a system's data; what has even less room cannot fit.
const BEST_RATIO: u64 = 20;

/// How much room an image is likely to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Bytes of data in the tree, less the excludes.
    pub data: u64,
    /// Bytes that the image will usually have.
    pub usual: u64,
    /// Bytes that it will have at the least.
    pub least: u64,
}

impl Estimate {
    /// Adds up the regular files below `source`, each hard-linked one once, holes not at all.
    ///
    /// What root may not look at (another user's FUSE mount) mksquashfs leaves out as well, with a warning.
    ///
    /// # Errors
    /// When a directory cannot be read for another reason: the image would lack it, too.
    pub fn of(source: &Path, excludes: &Excludes, compressed: bool) -> Result<Self> {
        let mut seen = HashSet::new();
        let data = data_below(source, &excludes.root(), &mut seen)?;
        let (usual, least) = if compressed { (USUAL_RATIO, BEST_RATIO) } else { (1, 2) };
        Ok(Self { data, usual: data / usual, least: data / least })
    }

    /// Refuses to start what cannot fit into the folder, and warns of what is likely not to (D36).
    ///
    /// # Errors
    /// When the image cannot fit.
    pub fn check(&self, image: &Path) -> Result<()> {
        let Some(free) = room_for(image)? else { return Ok(()) };
        if free < self.least {
            let needed = format!("about {} are needed", size(self.usual));
            return Err(no_room(image, &needed, Some(free)));
        }
        if free < self.usual {
            log::warn!(
                "{} may not fit: it will take about {}, and {} are free",
                shown(published(image)),
                size(self.usual),
                size(free)
            );
        }
        Ok(())
    }

    /// The error for an image that has filled the disk: for more than was free the estimate may have been
    /// wrong, but not for more than all the data.
    pub fn ran_out(&self, image: &Path) -> Error {
        let free = free(image).ok().flatten();
        let needed = match free {
            Some(free) if self.usual <= free => {
                format!("more than that is needed, up to {}", size(self.data))
            }
            _ => format!("about {} are needed", size(self.usual)),
        };
        no_room(image, &needed, free)
    }
}

fn no_room(image: &Path, needed: &str, free: Option<u64>) -> Error {
    let free = free.map_or_else(|| "too little is".to_owned(), |free| format!("{} are", size(free)));
    Error::new("write the image", published(image), format!("not enough space: {free} free, {needed}")).hint(
        "remove what is not needed in its folder (images of chroots that are gone, backups), \
         or leave out more with --exclude",
    )
}

/// The name that an unfinished image will have.
fn published(image: &Path) -> PathBuf {
    if image.extension() == Some(OsStr::new("tmp")) { image.with_extension("") } else { image.to_owned() }
}

/// Bytes that are free for `image`, whose folder need not be there yet. None if the file system does not
/// say.
///
/// # Errors
/// When the file system cannot be asked.
pub fn room_for(image: &Path) -> Result<Option<u64>> {
    let folder = image.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    free(&folder.join(image.file_name().unwrap_or_default()))
}

/// Bytes that root can still write beside `image`; what the image's unfinished file has taken so far
/// counts as free, as it will be removed. None if the file system does not say.
fn free(image: &Path) -> Result<Option<u64>> {
    let folder = image.parent().unwrap_or(image);
    let status = statvfs(folder).during("look up the free space of", folder)?;
    let taken = std::fs::metadata(image).map_or(0, |metadata| metadata.blocks() * 512);
    let free = status.f_bfree.saturating_mul(status.f_frsize).saturating_add(taken);
    Ok((status.f_blocks > 0).then_some(free))
}

fn data_below(dir: &Path, level: &Level<'_>, seen: &mut HashSet<(u64, u64)>) -> Result<u64> {
    signals::check()?;
    let mut total: u64 = 0;
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if is_passed_over(&error) => return Ok(0),
        Err(error) => return Err(Error::io("read", dir, error)),
    };
    for entry in entries {
        let entry = entry.during("read", dir)?;
        if let Some(level) = level.enter(&entry.file_name()) {
            total = total.saturating_add(data_of(&entry, &level, seen)?);
        }
    }
    Ok(total)
}

fn data_of(entry: &DirEntry, level: &Level<'_>, seen: &mut HashSet<(u64, u64)>) -> Result<u64> {
    let path = entry.path();
    let metadata = match entry.metadata() {
        Ok(metadata) => metadata,
        Err(error) if is_passed_over(&error) => return Ok(0),
        Err(error) => return Err(Error::io("look up", path, error)),
    };
    if metadata.is_dir() {
        return data_below(&path, level, seen);
    }
    if !metadata.is_file() || (metadata.nlink() > 1 && !seen.insert((metadata.dev(), metadata.ino()))) {
        return Ok(0);
    }
    Ok(metadata.len().min(metadata.blocks() * 512))
}

/// Gone since its directory was read, which on a running system is normal; or not for root.
fn is_passed_over(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::excludes::Pattern;

    #[test]
    fn holes_hard_links_and_excluded_files_take_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("kept"), vec![1; 100_000]).unwrap();
        std::fs::hard_link(path("kept"), path("same")).unwrap();
        std::fs::File::create(path("hole")).unwrap().set_len(1 << 30).unwrap();
        std::fs::create_dir(path("home")).unwrap();
        std::fs::write(path("home/big"), vec![1; 500_000]).unwrap();
        std::fs::File::open(path("home/big")).unwrap().sync_all().unwrap();
        std::fs::File::open(path("kept")).unwrap().sync_all().unwrap();
        let excludes = Excludes::new(vec![Pattern::parse("home/*".as_ref()).unwrap()]);
        let estimate = Estimate::of(dir.path(), &excludes, true).unwrap();
        assert_eq!(estimate, Estimate { data: 100_000, usual: 33_333, least: 5_000 });
    }

    #[test]
    fn what_cannot_fit_is_refused_with_both_figures() {
        let dir = tempfile::tempdir().unwrap();
        let estimate =
            Estimate { data: u64::MAX, usual: 3_000_000_000_000_000, least: 1_000_000_000_000_000 };
        let error = estimate.check(&dir.path().join("x.img.tmp")).unwrap_err().to_string();
        assert!(error.contains("x.img: ") && error.contains("about 3.0 PB are needed"), "{error}");
        assert!(error.contains(" free, "), "{error}");
    }

    #[test]
    fn what_has_filled_the_disk_needed_more_than_was_free() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("x.img.tmp");
        let small = Estimate { data: 5_000, usual: 1_000, least: 100 };
        let error = small.ran_out(&image).to_string();
        assert!(error.contains(" free, more than that is needed, up to 5.0 kB"), "{error}");
    }
}
