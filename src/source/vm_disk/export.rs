//! A virtual disk as a plain file, made by `qemu-storage-daemon` through FUSE.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{During, Error, Result};
use crate::source::vm_disk::node;
use crate::sys::command::{self, Command};
use crate::sys::daemon::Daemon;
use crate::sys::mount::Mount;

const PROGRAM: &str = "qemu-storage-daemon";

/// How long opening a disk may take; on a slow network file system it takes seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// The export. On drop it is unmounted and the program ended; the kernel ends it if we die.
#[derive(Debug)]
pub(super) struct Export {
    // The order of these fields is the order of the teardown.
    _mount: Mount,
    _daemon: Daemon,
    path: PathBuf,
}

impl Export {
    /// Exports the disk of this node, for which the program inherits `files`, as a file in the directory
    /// `place`.
    pub(super) fn start(node: &str, files: Vec<OwnedFd>, place: &Path) -> Result<Self> {
        if !command::exists(PROGRAM) {
            return Err(Error::action("run qemu-storage-daemon", "there is no such program in PATH").hint(
                "install it: it is in the package qemu-system-common of Debian 12, qemu-utils of Debian 13",
            ));
        }
        if !Path::new("/dev/fuse").exists() {
            return Err(Error::new("use", "/dev/fuse", "there is no such device")
                .hint("`modprobe fuse`; in a container ask its host"));
        }
        let path = place.join("disk");
        std::fs::write(&path, "").during("make", &path)?;
        let before = std::fs::metadata(&path).during("look up", &path)?.dev();
        let mountpoint = node::json(&path)?;
        // The node needs a name to be exported by; what it holds has none.
        let named = node.replacen('{', r#"{"node-name":"disk","#, 1);
        let export = format!(
            r#"{{"type":"fuse","id":"disk","node-name":"disk","mountpoint":{mountpoint},"writable":false}}"#
        );
        let program = Command::new(PROGRAM).args(["--blockdev", &named, "--export", &export]);
        let mut daemon = Daemon::start(files.into_iter().fold(program, Command::inherit))?;
        daemon.wait_until(PATIENCE, || std::fs::metadata(&path).is_ok_and(|now| now.dev() != before))?;
        Ok(Self { _mount: Mount::adopted(&path), _daemon: daemon, path })
    }

    /// The disk's content.
    pub(super) fn open(&self) -> Result<File> {
        File::open(&self.path).during("open", &self.path)
    }
}
