//! Making images, mounting them, and having other programs read them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use ltsp_core::excludes::Excludes;
use ltsp_core::squashfs::{self, WriteOptions};
use ltsp_core::sys::loop_device::LoopDevice;
use ltsp_core::sys::mount::Mount;
use ltsp_core::sys::namespace::private_mounts;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use tempfile::TempDir;

/// A place to work in, seen by the calling thread alone.
pub struct Workshop {
    pub folder: TempDir,
}

impl Workshop {
    pub fn new() -> Self {
        // The test's thread is in a namespace of its own from here on, and with it those it starts.
        private_mounts().expect("these tests need root");
        let folder = tempfile::Builder::new().prefix("squashfs-test.").tempdir_in("/var/tmp").unwrap();
        std::fs::create_dir(folder.path().join("source")).unwrap();
        std::fs::create_dir(folder.path().join("mounted")).unwrap();
        Self { folder }
    }

    pub fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    pub fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Writes an image of the source, checks it by our own means, and returns its bytes.
    pub fn write(&self, options: &WriteOptions) -> Vec<u8> {
        let path = self.image();
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        let summary =
            squashfs::write(&self.source(), &file, &path, options, &Excludes::default(), &mut |_| Ok(()))
                .unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(summary.image_bytes, u64::try_from(bytes.len()).unwrap());
        assert_eq!(bytes.len() % 4096, 0);
        squashfs::verify::self_check(&file, &path, usize::MAX).unwrap();
        squashfs::verify::compare(&file, &path, &self.source(), options, &Excludes::default()).unwrap();
        bytes
    }

    /// Mounts the image; it stays so until the value is dropped.
    pub fn mount(&self) -> (PathBuf, Mount) {
        let target = self.folder.path().join("mounted");
        let device = LoopDevice::attach(&File::open(self.image()).unwrap(), &self.image(), 0, 0).unwrap();
        let mount = Mount::device(device.path(), "squashfs", &target, "").unwrap();
        (target, mount)
    }

    /// Other readers list the image without complaint.
    pub fn read_by_others(&self) {
        for (program, option) in [("unsquashfs", "-lls"), ("rdsquashfs", "-d")] {
            accepted(program, option, &self.image());
        }
    }
}

fn accepted(program: &str, option: &str, image: &Path) {
    let output = Command::new(program).arg(option).arg(image).output().unwrap_or_else(|error| {
        panic!("{program} is needed (Debian packages squashfs-tools and squashfs-tools-ng): {error}")
    });
    assert!(output.status.success(), "{program}: {}", output.status);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{program}");
}

/// Does something as root without the right to read everything; the threads that it starts have as little.
pub fn without_access_to_all<T>(action: impl FnOnce() -> T) -> T {
    let mine = capabilities(None).unwrap();
    let without = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    let less = CapabilitySets { effective: mine.effective - without, ..mine };
    set_capabilities(None, less).unwrap();
    let result = action();
    set_capabilities(None, mine).unwrap();
    result
}
