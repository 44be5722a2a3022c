//! From the temporary name to the final one: an image is complete whenever it can be seen, and there
//! is no moment without one (D16).

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, Permissions};
use std::num::NonZeroU32;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};

use crate::error::{During, Error, Result, shown};
use crate::sys::lock::FolderLock;
use crate::sys::signals;

mod generations;
mod names;
mod revert;

use generations::Kept;
pub use generations::Succession;

/// The folder of images, held by this run alone.
#[derive(Debug)]
pub struct ImageFolder {
    path: PathBuf,
    _lock: FolderLock,
}

/// The names that belong to one image.
#[derive(Debug, Clone)]
pub struct Image {
    folder: PathBuf,
    /// `NAME.img`: what clients boot from.
    pub current: PathBuf,
    /// `NAME.img.old`: the backup.
    pub backup: PathBuf,
    /// `NAME.img.tmp`: never complete, never used.
    pub temporary: PathBuf,
}

impl ImageFolder {
    /// Takes the folder `base/images` for this run, and makes it if it is missing (U34).
    ///
    /// # Errors
    /// When it cannot be made, or another run is at work in it (D36).
    pub fn open(base: &Path) -> Result<Self> {
        let (folder, made) = Self::open_with_mode(base, 0o777)?;
        if made {
            let mode = fs::metadata(&folder.path).during("look up", &folder.path)?.permissions().mode();
            if mode & 0o001 == 0 {
                let path = shown(&folder.path);
                log::info!("Only some users can enter {path}: `chmod 755` it for nbd-server");
            }
        }
        Ok(folder)
    }

    /// The same for the modern LTSP, which serves images over NFS: a new folder is for root alone (I31).
    ///
    /// # Errors
    /// As for [`ImageFolder::open`].
    pub fn open_private(base: &Path) -> Result<Self> {
        Self::open_with_mode(base, 0o700).map(|(folder, _)| folder)
    }

    /// Whether the folder of images in `base` could be had, which need not be there yet. Nothing is changed.
    ///
    /// # Errors
    /// When it could not.
    pub fn check(base: &Path) -> Result<()> {
        let path = base.join("images");
        let there = path.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
        if !there.is_dir() {
            return Err(Error::new(
                "use the folder of images",
                &path,
                format!("{} is no directory", shown(there)),
            ));
        }
        access(there, Access::WRITE_OK).during("write images in", there)
    }

    /// The folder, and whether it is new.
    fn open_with_mode(base: &Path, mode: u32) -> Result<(Self, bool)> {
        let path = base.join("images");
        let failed = |source| {
            Error::io("make the folder of images", &path, source)
                .hint("images are kept in the directory images of the base directory")
        };
        fs::create_dir_all(base).map_err(failed)?;
        let made = match DirBuilder::new().mode(mode).create(&path) {
            Ok(()) => true,
            Err(_) if path.is_dir() => false,
            Err(_) if path.is_symlink() => {
                let reason = "it is a link that leads nowhere";
                return Err(Error::new("use the folder of images", &path, reason));
            }
            Err(source) => return Err(failed(source)),
        };
        access(&path, Access::WRITE_OK).during("write images in", &path)?;
        let lock = FolderLock::acquire(&path)?;
        Ok((Self { path, _lock: lock }, made))
    }

    /// The image of this name.
    pub fn image(&self, name: &OsStr) -> Image {
        Image::new(&self.path, name)
    }

    /// Bytes that can be written here.
    ///
    /// # Errors
    /// When the file system cannot be asked.
    pub fn free(&self) -> Result<u64> {
        let status = statvfs(&self.path).during("look up the free space of", &self.path)?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Image {
    /// The names for `name` in `folder`.
    pub fn new(folder: &Path, name: &OsStr) -> Self {
        let named = |suffix: &str| {
            let mut file = OsString::from(name);
            file.push(suffix);
            folder.join(file)
        };
        Self {
            folder: folder.to_owned(),
            current: named(".img"),
            backup: named(".img.old"),
            temporary: named(".img.tmp"),
        }
    }

    /// A new image to be written to [`Image::temporary`]; until it is published, dropping it removes
    /// that file. A leftover of an earlier run is removed (U47).
    ///
    /// The present image and those before it are to stay as the last `keep` generations of backups (see
    /// [`Image::generation`]); with 0 the present one is replaced, and older ones stay as they are (U71).
    ///
    /// # Errors
    /// When the leftover cannot be removed, or a directory has a name that is needed.
    pub fn begin(&self, keep: u32) -> Result<Unpublished<'_>> {
        self.check(keep)?;
        names::remove(&self.temporary)?;
        Ok(Unpublished { image: self, keep, published: false })
    }

    /// Whether [`Image::begin`] has all the names that it needs.
    ///
    /// # Errors
    /// When a directory has one of them.
    pub fn check(&self, keep: u32) -> Result<()> {
        let kept = if names::is_file(&self.current) { keep } else { 0 };
        let backups = (1..=kept).filter_map(NonZeroU32::new).map(|number| self.generation(number));
        let mut needed = [self.temporary.clone(), self.current.clone()].into_iter().chain(backups);
        let is_directory = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
        match needed.find(is_directory) {
            Some(path) => {
                let reason = "there is a directory of that name";
                Err(Error::new("write the image", path, reason).hint("move it away"))
            }
            None => Ok(()),
        }
    }

    /// Whether there is an image or a backup of it.
    pub fn exists(&self) -> bool {
        names::is_file(&self.current) || self.generations().is_ok_and(|generations| !generations.is_empty())
    }
}

/// An image being written. On drop its temporary file is removed.
#[derive(Debug)]
pub struct Unpublished<'a> {
    image: &'a Image,
    /// How many generations of backups are to stay.
    keep: u32,
    published: bool,
}

impl Unpublished<'_> {
    /// Gives the finished image its name; its size in bytes.
    ///
    /// A present image that is no regular file (a block device, a link to one) is replaced without a
    /// backup (U71). Generations beyond those that are to stay are removed; but not if only one is to stay,
    /// which nobody need have asked for.
    ///
    /// # Errors
    /// When a signal came, or flushing or renaming fails; the present image and its backups are then as
    /// they were, or some of them have the next generation's name as well.
    pub fn publish(mut self) -> Result<u64> {
        let image = self.image;
        let file = File::open(&image.temporary).during("open", &image.temporary)?;
        // nbd-server does not run as root: the umask must not keep it from reading (D15).
        file.set_permissions(Permissions::from_mode(0o644)).during("make readable", &image.temporary)?;
        file.sync_all().during("flush", &image.temporary)?;
        let size = file.metadata().during("look up", &image.temporary)?.len();
        signals::check()?;
        let kept = match NonZeroU32::new(self.keep).filter(|_| names::is_file(&image.current)) {
            Some(keep) => image.keep_backups(keep)?,
            None => Kept::Linked,
        };
        if let Kept::Linked = kept {
            names::rename(&image.temporary, &image.current)?;
        }
        self.published = true;
        if self.keep > 1 {
            if let Err(error) = image.remove_generations_above(self.keep) {
                log::warn!("{error}"); // the new image is there all the same
            }
        }
        Ok(size)
    }
}

impl Drop for Unpublished<'_> {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        if let Err(error) = names::remove(&self.image.temporary) {
            log::warn!("{error}");
        }
    }
}

/// The path with more at its end.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

#[cfg(test)]
mod tests;
