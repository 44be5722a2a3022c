//! The kernel of one image, copied to where clients of `ltsp image` load it: `TFTP_DIR/ltsp/NAME/vmlinuz` and
//! `initrd.img` beside it (K3 to K6).

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{Stat, fstat};

use crate::config::settings::{ModernKernelSettings, Step};
use crate::error::{During, Error, Result, shown};
use crate::kernel::replace::New;
use crate::kernel::search::{self, Pair};
use crate::kernel::{replace, target};
use crate::sys::confined::Root;

/// The names that clients ask for (O4).
const KERNEL: &str = "vmlinuz";
/// See [`KERNEL`].
const INITRD: &str = "initrd.img";

/// What is said when a client has an image for the first time (K6).
pub const MENU: &str = "To update the iPXE menu, run: ltsp ipxe";

/// What became of the kernel of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// It was copied; whether there was none for this image before.
    Copied {
        /// Where it was found.
        pair: Pair,
        /// No earlier image of this name had one.
        first: bool,
    },
    /// There is none, which was told.
    Missing,
}

/// Copies the kernel of `root`, which the admin knows as `source`, for the image `name`. The directory for it
/// is made in any case.
///
/// # Errors
/// When the root cannot be read, or the files cannot be written: those of an earlier image are still there
/// then.
pub fn publish(
    root: &Root,
    source: &OsStr,
    name: &OsStr,
    settings: &ModernKernelSettings,
) -> Result<Published> {
    let tftp = &settings.tftp_dir;
    std::fs::create_dir_all(tftp).during("make the directory", tftp)?;
    let folder = target::open(tftp, &Path::new("ltsp").join(name))?;
    let Some(pair) = find(root, settings)? else {
        log::warn!("{}", missing(root, source, &folder)?);
        return Ok(Published::Missing);
    };
    let first = !folder.is_file(KERNEL)?;
    let (mut kernel, kernel_stat) = open(root, &pair.kernel)?;
    let (mut initrd, initrd_stat) = open(root, &pair.initrd)?;
    let new = |name, content, like: &Stat| New { name: OsStr::new(name), content, like: published(like) };
    let files = vec![new(KERNEL, &mut kernel, &kernel_stat), new(INITRD, &mut initrd, &initrd_stat)];
    replace::files(&folder, files)?;
    for (from, to) in [(&pair.kernel, KERNEL), (&pair.initrd, INITRD)] {
        log::info!("Copied {} of {} to {}", inside(from), shown(source), shown(folder.shown(to)));
    }
    Ok(Published::Copied { pair, first })
}

/// The pair that will be copied, which can be looked for before an image is made (U6).
///
/// # Errors
/// When the root cannot be read.
pub fn find(root: &Root, settings: &ModernKernelSettings) -> Result<Option<Pair>> {
    if settings.omitted.contains(&Step::KernelSearch) {
        log::info!("Omitting search_kernel");
        return Ok(None);
    }
    search::find(root, &settings.kernel_initrd)
}

/// The directory that the kernel of this image is copied to.
pub fn folder(name: &OsStr, settings: &ModernKernelSettings) -> PathBuf {
    settings.tftp_dir.join("ltsp").join(name)
}

/// What to say about a root that no pair was found in, before or after making an image of it.
///
/// # Errors
/// When the root cannot be read.
pub fn no_kernel(root: &Root, source: &OsStr) -> Result<String> {
    Ok(format!(
        "{} has no kernel with an initial ramdisk that clients could boot: {}",
        shown(source),
        search::seen(root)?
    ))
}

fn missing(root: &Root, source: &OsStr, folder: &Root) -> Result<String> {
    let stale = if folder.is_file(KERNEL)? {
        format!("; clients go on with {} of an earlier image", shown(folder.shown(KERNEL)))
    } else {
        String::new()
    };
    Ok(format!(
        "{}{stale}\nhint: install a kernel in it, or tell with --kernel-initrd what kernel and ramdisk are called",
        no_kernel(root, source)?
    ))
}

fn open(root: &Root, path: &Path) -> Result<(File, Stat)> {
    let file = root.open_file(path)?;
    let file = file.ok_or_else(|| Error::new("read", root.shown(path), "it has just gone"))?;
    let stat = fstat(&file).during("look up", root.shown(path))?;
    Ok((file, stat))
}

/// Root's, and readable for the TFTP server's user; times are kept (K4).
fn published(like: &Stat) -> Stat {
    let mut stat = *like;
    (stat.st_uid, stat.st_gid, stat.st_mode) = (0, 0, 0o100_644);
    stat
}

/// A path as it is inside a root.
fn inside(path: &Path) -> String {
    let path: PathBuf = path.strip_prefix("/").unwrap_or(path).into();
    shown(path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::sys::command::Changes;

    /// A root with a kernel, and settings for a TFTP directory beside it that is not there yet.
    fn world(kernel: &str) -> (tempfile::TempDir, Root, ModernKernelSettings) {
        let dir = tempfile::tempdir().unwrap();
        let boot = dir.path().join("root/boot");
        fs::create_dir_all(&boot).unwrap();
        for (name, seconds) in
            [(format!("vmlinuz-{kernel}"), 1_500_000_000), (format!("initrd.img-{kernel}"), 1_600_000_000)]
        {
            fs::write(boot.join(&name), &name).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            fs::File::open(boot.join(&name)).unwrap().set_modified(time).unwrap();
            fs::set_permissions(boot.join(&name), fs::Permissions::from_mode(0o600)).unwrap();
            std::os::unix::fs::lchown(boot.join(&name), Some(12), Some(34)).unwrap();
        }
        let root = Root::open(&dir.path().join("root")).unwrap();
        let settings = ModernKernelSettings {
            base_dir: dir.path().into(),
            tftp_dir: dir.path().join("srv/tftp"),
            sources: Vec::new(),
            all_images: false,
            trust_backing_files: false,
            kernel_initrd: Vec::new(),
            rpi_image: None,
            omitted: BTreeSet::new(),
            child_environment: Changes::default(),
        };
        (dir, root, settings)
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    // K3, K4, K6
    #[test]
    fn kernel_and_ramdisk_are_copied_under_their_fixed_names() {
        let (_dir, root, settings) = world("6.1");
        let folder = settings.tftp_dir.join("ltsp/foo");
        for first in [true, false] {
            let Published::Copied { first: found, .. } =
                publish(&root, "foo".as_ref(), "foo".as_ref(), &settings).unwrap()
            else {
                panic!("not found")
            };
            assert_eq!(found, first);
        }
        assert_eq!(names(&folder), ["initrd.img", "vmlinuz"]);
        for (name, content, time) in
            [("vmlinuz", "vmlinuz-6.1", 1_500_000_000), ("initrd.img", "initrd.img-6.1", 1_600_000_000)]
        {
            assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), content);
            let metadata = fs::metadata(folder.join(name)).unwrap();
            assert_eq!(
                (metadata.mode(), metadata.uid(), metadata.gid(), metadata.mtime()),
                (0o100_644, 0, 0, time)
            );
        }
    }

    // K4: what else has the names is replaced, never written through.
    #[test]
    fn links_in_the_tftp_directory_are_replaced() {
        let (dir, root, settings) = world("6.1");
        let folder = settings.tftp_dir.join("ltsp/foo");
        fs::create_dir_all(&folder).unwrap();
        fs::write(dir.path().join("outside"), "mine").unwrap();
        fs::write(folder.join("other"), "").unwrap();
        symlink(dir.path().join("outside"), folder.join("vmlinuz")).unwrap();
        publish(&root, "foo".as_ref(), "foo".as_ref(), &settings).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("outside")).unwrap(), "mine");
        assert_eq!(names(&folder), ["initrd.img", "other", "vmlinuz"]);
    }

    // K5
    #[test]
    fn without_a_kernel_the_directory_is_made_and_what_is_in_it_stays() {
        let (dir, root, mut settings) = world("6.1");
        fs::remove_file(dir.path().join("root/boot/initrd.img-6.1")).unwrap();
        let folder = settings.tftp_dir.join("ltsp/foo");
        let published = publish(&root, "foo".as_ref(), "foo".as_ref(), &settings).unwrap();
        assert_eq!(published, Published::Missing);
        assert!(folder.is_dir());
        fs::write(folder.join("vmlinuz"), "old").unwrap();
        let said = missing(&root, "foo,,x".as_ref(), &Root::open(&folder).unwrap()).unwrap();
        for part in ["foo,,x has no kernel", "boot holds vmlinuz-6.1", "ltsp/foo/vmlinuz of an earlier image"]
        {
            assert!(said.contains(part), "{said}");
        }
        settings.omitted.insert(Step::KernelSearch);
        fs::write(dir.path().join("root/boot/initrd.img-6.1"), "").unwrap();
        assert_eq!(publish(&root, "foo".as_ref(), "foo".as_ref(), &settings).unwrap(), Published::Missing);
        assert_eq!(fs::read_to_string(folder.join("vmlinuz")).unwrap(), "old");
    }

    // U8
    #[test]
    fn if_one_of_them_cannot_be_replaced_nothing_unfinished_stays() {
        let (_dir, root, settings) = world("6.1");
        let folder = settings.tftp_dir.join("ltsp/foo");
        fs::create_dir_all(folder.join("initrd.img/full")).unwrap();
        let error = publish(&root, "foo".as_ref(), "foo".as_ref(), &settings).unwrap_err().to_string();
        assert!(error.contains("ltsp/foo/initrd.img"), "{error}");
        assert_eq!(names(&folder), ["initrd.img", "vmlinuz"]);
    }
}
