//! From the temporary name to the final one: an image is complete whenever it can be seen, and there
//! is no moment without one (D16).

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, RenameFlags, access, linkat, renameat_with, statvfs};
use rustix::io::Errno;

use crate::error::{During, Error, Result, shown};
use crate::sys::lock::FolderLock;
use crate::sys::signals;

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
        let path = base.join("images");
        let failed = |source| {
            Error::io("make the folder of images", &path, source)
                .hint("images are kept in the directory images of the base directory")
        };
        fs::create_dir_all(base).map_err(failed)?;
        match fs::create_dir(&path) {
            Ok(()) => {
                let mode = fs::metadata(&path).during("look up", &path)?.permissions().mode();
                if mode & 0o001 == 0 {
                    log::info!("Only some users can enter {}: `chmod 755` it for nbd-server", shown(&path));
                }
            }
            Err(_) if path.is_dir() => {}
            Err(_) if path.is_symlink() => {
                let reason = "it is a link that leads nowhere";
                return Err(Error::new("use the folder of images", &path, reason));
            }
            Err(source) => return Err(failed(source)),
        }
        access(&path, Access::WRITE_OK).during("write images in", &path)?;
        let lock = FolderLock::acquire(&path)?;
        Ok(Self { path, _lock: lock })
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
    /// that file. `backup`: the present image is to be kept then. A leftover of an earlier run is removed (U47).
    ///
    /// # Errors
    /// When the leftover cannot be removed, or a directory has the image's name.
    pub fn begin(&self, backup: bool) -> Result<Unpublished<'_>> {
        let is_directory = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
        let in_the_way = [&self.temporary, &self.current, &self.backup].into_iter().find(|path| {
            let needed = *path != &self.backup || backup && is_file(&self.current);
            needed && is_directory(path)
        });
        if let Some(path) = in_the_way {
            return Err(
                Error::new("write the image", path, "there is a directory of that name").hint("move it away")
            );
        }
        remove_if_there(&self.temporary)?;
        Ok(Unpublished { image: self, published: false })
    }

    /// Exchanges the image with its backup; with a backup alone, makes it the image (U73).
    ///
    /// # Errors
    /// When there is no backup, or the names cannot be exchanged; then nothing has changed.
    pub fn revert(&self) -> Result<()> {
        self.check_revert()?;
        signals::check()?;
        if !is_file(&self.current) {
            return self.rename(&self.backup, &self.current);
        }
        let exchanged = renameat_with(CWD, &self.backup, CWD, &self.current, RenameFlags::EXCHANGE);
        match exchanged {
            Ok(()) => self.flush(),
            // Not every file system can exchange names; three steps then, each of which leaves a
            // complete image under the name.
            Err(Errno::INVAL | Errno::NOSYS) => {
                remove_if_there(&self.temporary)?;
                self.link(&self.temporary)?;
                self.rename(&self.backup, &self.current)?;
                self.rename(&self.temporary, &self.backup)
            }
            Err(source) => Err(Error::io("exchange the image with its backup", &self.backup, source)),
        }
    }

    /// Whether [`Image::revert`] has a backup to work with.
    ///
    /// # Errors
    /// When it has none.
    pub fn check_revert(&self) -> Result<()> {
        if is_file(&self.backup) {
            return Ok(());
        }
        let reason = "there is no backup of that name";
        Err(Error::new("revert to", &self.backup, reason)
            .hint("a backup is kept when a newer image is made without --no-backup"))
    }

    /// Whether there is an image or a backup of it.
    pub fn exists(&self) -> bool {
        is_file(&self.current) || is_file(&self.backup)
    }

    /// Keeps the present image as the backup, in the place of an older one (U70, U71).
    ///
    /// A hard link first, so that the image never lacks a name. Where the file system has none, the
    /// new image and the old one change names.
    fn keep_backup(&self) -> Result<Kept> {
        let mut spare = self.backup.clone().into_os_string();
        spare.push(".tmp");
        let spare = PathBuf::from(spare);
        remove_if_there(&spare)?;
        match self.link(&spare) {
            Ok(()) => match self.rename(&spare, &self.backup) {
                Ok(()) => Ok(Kept::Linked),
                Err(error) => {
                    let _ = fs::remove_file(&spare); // the rename's error is the one to be told
                    Err(error)
                }
            },
            Err(linking) => {
                match renameat_with(CWD, &self.temporary, CWD, &self.current, RenameFlags::EXCHANGE) {
                    Ok(()) => {
                        self.rename(&self.temporary, &self.backup)?;
                        Ok(Kept::Exchanged)
                    }
                    Err(_) => Err(linking.hint(
                        "the file system of the folder can neither link nor exchange names; \
                         without a backup (--no-backup) it suffices",
                    )),
                }
            }
        }
    }

    /// A second name for the present image; of a symbolic link, for the link itself (U71).
    fn link(&self, name: &Path) -> Result<()> {
        linkat(CWD, &self.current, CWD, name, AtFlags::empty()).during("keep the backup", name)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).during("rename the image to", to)?;
        self.flush()
    }

    /// Makes the names last through a power failure.
    fn flush(&self) -> Result<()> {
        let folder = File::open(&self.folder).during("open", &self.folder)?;
        match rustix::fs::fsync(&folder) {
            // Some network file systems have nothing to flush for a directory.
            Ok(()) | Err(Errno::INVAL | Errno::BADF | Errno::NOTSUP) => Ok(()),
            Err(source) => Err(Error::io("flush", &self.folder, source)),
        }
    }
}

/// How the backup came to be.
enum Kept {
    /// The image has both names; the new one is still to be renamed.
    Linked,
    /// The new image already has its name.
    Exchanged,
}

/// An image being written. On drop its temporary file is removed.
#[derive(Debug)]
pub struct Unpublished<'a> {
    image: &'a Image,
    published: bool,
}

impl Unpublished<'_> {
    /// Gives the finished image its name; `backup` keeps the present one.
    ///
    /// A present image that is no regular file (a block device, a link to one) is replaced without a
    /// backup (U71).
    ///
    /// # Errors
    /// When a signal came, or flushing or renaming fails; the present image and its backup are then as
    /// they were, or the backup is a copy of the present image.
    pub fn publish(mut self, backup: bool) -> Result<u64> {
        let image = self.image;
        let file = File::open(&image.temporary).during("open", &image.temporary)?;
        // nbd-server does not run as root: the umask must not keep it from reading (D15).
        file.set_permissions(Permissions::from_mode(0o644)).during("make readable", &image.temporary)?;
        file.sync_all().during("flush", &image.temporary)?;
        let size = file.metadata().during("look up", &image.temporary)?.len();
        signals::check()?;
        if backup && is_file(&image.current) {
            if let Kept::Exchanged = image.keep_backup()? {
                self.published = true;
                return Ok(size);
            }
        }
        image.rename(&image.temporary, &image.current)?;
        self.published = true;
        Ok(size)
    }
}

impl Drop for Unpublished<'_> {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        if let Err(error) = remove_if_there(&self.image.temporary) {
            log::warn!("{error}");
        }
    }
}

/// A regular file, links followed: what counts as an image that is present (U73).
fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("remove the unfinished image", path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn folder() -> (tempfile::TempDir, ImageFolder) {
        let base = tempfile::tempdir().unwrap();
        let folder = ImageFolder::open(base.path()).unwrap();
        (base, folder)
    }

    fn write(path: &Path, content: &str) {
        fs::write(path, content).unwrap();
    }

    fn read(path: &Path) -> Option<String> {
        fs::read_to_string(path).ok()
    }

    fn published(image: &Image, content: &str, backup: bool) {
        let new = image.begin(true).unwrap();
        write(&image.temporary, content);
        new.publish(backup).unwrap();
    }

    fn names(folder: &ImageFolder) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    // U70
    #[test]
    fn the_previous_image_becomes_the_backup_and_replaces_an_older_one() {
        let (_base, folder) = folder();
        let image = folder.image("amd64".as_ref());
        for (content, current, backup) in
            [("one", "one", None), ("two", "two", Some("one")), ("three", "three", Some("two"))]
        {
            published(&image, content, true);
            assert_eq!(read(&image.current).as_deref(), Some(current));
            assert_eq!(read(&image.backup).as_deref(), backup);
        }
        assert_eq!(names(&folder), ["amd64.img", "amd64.img.old"]);
    }

    // U71
    #[test]
    fn without_a_backup_an_existing_one_stays_as_it_is() {
        let (_base, folder) = folder();
        let image = folder.image("amd64".as_ref());
        write(&image.backup, "older");
        published(&image, "one", false);
        published(&image, "two", false);
        assert_eq!(read(&image.current).as_deref(), Some("two"));
        assert_eq!(read(&image.backup).as_deref(), Some("older"));
    }

    // U71
    #[test]
    fn of_a_linked_image_the_link_becomes_the_backup() {
        let (base, folder) = folder();
        let image = folder.image("amd64".as_ref());
        let real = base.path().join("real");
        write(&real, "linked");
        symlink(&real, &image.current).unwrap();
        published(&image, "new", true);
        assert_eq!(fs::read_link(&image.backup).unwrap(), real);
        assert!(!image.current.is_symlink());
        assert_eq!(read(&real).as_deref(), Some("linked"));
    }

    // U48
    #[test]
    fn an_image_that_is_given_up_leaves_nothing_and_changes_nothing() {
        let (_base, folder) = folder();
        let image = folder.image("amd64".as_ref());
        published(&image, "one", true);
        write(&image.temporary, "stale");
        let new = image.begin(true).unwrap();
        assert_eq!(read(&image.temporary), None);
        write(&image.temporary, "half");
        drop(new);
        assert_eq!(names(&folder), ["amd64.img"]);
        assert_eq!(read(&image.current).as_deref(), Some("one"));
    }

    // D15
    #[test]
    fn a_published_image_can_be_read_by_everybody() {
        let (_base, folder) = folder();
        let image = folder.image("amd64".as_ref());
        let new = image.begin(true).unwrap();
        write(&image.temporary, "x");
        fs::set_permissions(&image.temporary, Permissions::from_mode(0o600)).unwrap();
        new.publish(true).unwrap();
        assert_eq!(fs::metadata(&image.current).unwrap().permissions().mode() & 0o7777, 0o644);
    }

    // U73
    #[test]
    fn revert_swaps_and_a_second_revert_swaps_back() {
        let (_base, folder) = folder();
        let image = folder.image("amd64".as_ref());
        assert!(image.revert().unwrap_err().to_string().contains("amd64.img.old"));
        write(&image.current, "new");
        assert!(image.revert().is_err());
        assert_eq!(read(&image.current).as_deref(), Some("new"));
        write(&image.backup, "old");
        image.revert().unwrap();
        assert_eq!(read(&image.current).as_deref(), Some("old"));
        assert_eq!(read(&image.backup).as_deref(), Some("new"));
        image.revert().unwrap();
        assert_eq!(read(&image.current).as_deref(), Some("new"));
        fs::remove_file(&image.current).unwrap();
        image.revert().unwrap();
        assert_eq!(names(&folder), ["amd64.img"]);
        assert_eq!(read(&image.current).as_deref(), Some("old"));
    }

    // D16
    #[test]
    fn the_image_can_be_read_at_every_moment_of_a_publication() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let (_base, folder) = folder();
        let image = folder.image("amd64".as_ref());
        published(&image, "0", true);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut read_last = 0;
                while !stop.load(Ordering::SeqCst) {
                    let number: u32 =
                        read(&image.current).expect("an image").parse().expect("a complete image");
                    assert!(number >= read_last);
                    read_last = number;
                }
            });
            for number in 1..300 {
                published(&image, &number.to_string(), true);
            }
            stop.store(true, Ordering::SeqCst);
            reader.join().unwrap();
        });
    }
}
