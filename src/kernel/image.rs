//! An image, mounted read-only to take its kernels (K13).

use std::fs::File;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::error::{During, Error, Result, shown};
use crate::source::mount_options::MountOptions;
use crate::source::probe::{Content, probe};
use crate::source::region::Region;
use crate::sys::loop_device::LoopDevice;
use crate::sys::mount::Mount;
use crate::sys::temp_dir::TempDir;

/// A mounted image. On drop it is unmounted, then its loop device and mount point go, in the order of
/// the fields.
#[derive(Debug)]
pub struct MountedImage {
    _mount: Mount,
    _device: Option<LoopDevice>,
    point: TempDir,
}

impl MountedImage {
    /// Mounts a file or block device; to be called in a private mount namespace
    /// ([`crate::sys::namespace::private_mounts`]).
    ///
    /// # Errors
    /// When it is something else, or holds no file system that this kernel can mount.
    pub fn mount(image: &Path) -> Result<Self> {
        // The type is looked at first: a pipe would have us wait at its opening.
        let kind = std::fs::metadata(image).during("open the image", image)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(Error::new("open the image", image, "it is neither a file nor a block device"));
        }
        let file = File::open(image).during("open the image", image)?;
        let Content::FileSystem(found) = probe(Region::whole(&file, image)?)? else {
            return Err(Error::new("mount the image", image, "it holds no file system that is known here")
                .hint("if it is damaged, make it again with ltsp-update-image"));
        };
        let point = TempDir::new("ltsp-image.")?;
        let device = if kind.is_file() { Some(LoopDevice::attach(&file, image, 0, 0)?) } else { None };
        let source = device.as_ref().map_or(image, LoopDevice::path);
        let options = MountOptions::for_reading(&found);
        let mount = options.mount(
            source,
            found.driver().as_ref(),
            point.path(),
            &format!("the image {}", shown(image)),
        )?;
        Ok(Self { _mount: mount, _device: device, point })
    }

    /// Where its root is.
    pub fn path(&self) -> &Path {
        self.point.path()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sys::namespace;
    use std::fs;
    use std::path::PathBuf;
    use std::process::Command;
    use std::time::Duration;

    /// Loop devices that are bound to `file`.
    pub fn loops(file: &Path) -> Vec<PathBuf> {
        let devices = fs::read_dir("/sys/block").unwrap().map(|entry| entry.unwrap().path());
        let backing = |device: &PathBuf| fs::read_to_string(device.join("loop/backing_file"));
        devices
            .filter(|device| backing(device).is_ok_and(|name| name.trim_end() == file.to_str().unwrap()))
            .collect()
    }

    /// Whether the loop devices of a file are gone, at last: a program that another test is starting at
    /// this moment holds a copy of every descriptor until it begins, and the kernel waits for the last one.
    fn no_loops(file: &Path) -> bool {
        let gone = || loops(file).is_empty();
        (0..3000).any(|_| gone() || (std::thread::sleep(Duration::from_millis(10)), false).1)
    }

    /// Runs a test in a thread whose mounts nobody else sees.
    pub fn privately(test: impl FnOnce() + Send) {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    namespace::private_mounts().unwrap();
                    test();
                })
                .join()
                .unwrap();
        });
    }

    pub fn run(program: &str, arguments: &[&Path]) {
        let output = Command::new(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    // K13
    #[test]
    fn images_of_several_file_systems_are_mounted_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        fs::write(dir.path().join("root/file"), "content").unwrap();
        let (squashfs, ext4) = (dir.path().join("squashfs.img"), dir.path().join("ext4.img"));
        let root = dir.path().join("root");
        run("mksquashfs", &[&root, &squashfs, Path::new("-no-progress")]);
        fs::File::create(&ext4).unwrap().set_len(4 << 20).unwrap();
        run("mkfs.ext4", &[Path::new("-q"), Path::new("-d"), &root, &ext4]);
        privately(|| {
            for image in [&squashfs, &ext4] {
                let mounted = MountedImage::mount(image).unwrap();
                let point = mounted.path().to_owned();
                assert_eq!(fs::read(point.join("file")).unwrap(), b"content");
                assert_eq!(loops(image).len(), 1);
                assert!(fs::write(point.join("new"), "").is_err());
                // A block device: the same, through the loop device that is there already.
                let device = Path::new("/dev").join(loops(image)[0].file_name().unwrap());
                let again = MountedImage::mount(&device).unwrap();
                assert_eq!(fs::read(again.path().join("file")).unwrap(), b"content");
                drop(again);
                drop(mounted);
                assert!(!point.exists());
                assert!(no_loops(image));
            }
        });
    }

    // D22
    #[test]
    fn what_is_no_image_is_refused_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("directory.img")).unwrap();
        fs::write(path("empty.img"), "").unwrap();
        fs::write(path("text.img"), "hsqs and nothing else\n").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe.img"), rustix::fs::Mode::from(0o600)).unwrap();
        privately(|| {
            for name in ["directory.img", "empty.img", "text.img", "pipe.img", "missing.img"] {
                let error = MountedImage::mount(&path(name)).unwrap_err();
                assert!(error.to_string().contains(name), "{error}");
                assert!(no_loops(&path(name)));
            }
        });
    }
}
