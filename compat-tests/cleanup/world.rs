//! A private corner of the machine for one test.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use ltsp_core::sys::mount_table::{self, MountPoint};
use ltsp_core::sys::namespace;
use rustix::mount::{UnmountFlags, unmount};

/// A folder on a fresh ext4, in a mount namespace of this thread. On drop everything mounted in it is
/// unmounted, and it is removed.
pub struct World {
    dir: tempfile::TempDir,
    /// The folder.
    pub path: PathBuf,
}

impl World {
    pub fn new() -> Self {
        static LOGGER: Once = Once::new();
        LOGGER.call_once(|| {
            log::set_logger(&Messages).unwrap();
            log::set_max_level(log::LevelFilter::Debug);
        });
        namespace::private_mounts().expect("these tests are to be run as root");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("disk");
        fs::create_dir(&path).unwrap();
        let world = Self { dir, path: path.clone() };
        world.disk("ext4", &path);
        world
    }

    /// Mounts a new file system; its mount point is made.
    pub fn disk(&self, fstype: &str, at: &Path) {
        fs::create_dir_all(at).unwrap();
        let number = fs::read_dir(self.dir.path()).unwrap().count();
        let image = self.dir.path().join(format!("{number}.image"));
        // The least that mkfs.xfs and mkfs.btrfs want; the file has holes.
        fs::File::create(&image).unwrap().set_len(320 << 20).unwrap();
        let quiet = if fstype == "ext4" { "-qF" } else { "-q" };
        run(Command::new(format!("mkfs.{fstype}")).arg(quiet).arg(&image));
        run(Command::new("mount").args(["-o", "loop", "-t", fstype]).arg(&image).arg(at));
    }

    pub fn tmpfs(&self, at: &Path) {
        fs::create_dir_all(at).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(at));
    }

    /// A file in the folder, with the directories above it.
    pub fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub fn program(&self, path: &str, text: &str) {
        fs::set_permissions(self.file(path, text), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A shell and what scripts need, as a chroot.
    pub fn busybox(&self, chroot: &str) {
        self.program(&format!("{chroot}/bin/busybox"), "");
        let bin = self.path.join(chroot).join("bin");
        fs::copy("/usr/bin/busybox", bin.join("busybox")).expect("these tests need busybox-static");
        for tool in ["sh", "cat", "ls", "rm", "pwd", "id", "touch", "env"] {
            symlink("busybox", bin.join(tool)).unwrap();
        }
    }

    /// Everything that is mounted.
    pub fn mounts(&self) -> Vec<MountPoint> {
        mount_table::read().unwrap()
    }

    /// What was logged on this thread since the last call: `WARN text`.
    pub fn messages(&self) -> Vec<String> {
        LOGGED.take()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for mount in mount_table::read().unwrap().into_iter().rev() {
            if mount.path.starts_with(&self.path) {
                unmount(&mount.path, UnmountFlags::DETACH).unwrap();
            }
        }
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

thread_local! {
    static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Messages;

impl log::Log for Messages {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        LOGGED.with_borrow_mut(|logged| logged.push(format!("{} {}", record.level(), record.args())));
    }

    fn flush(&self) {}
}
