//! A virtual disk as a file, made by `qemu-storage-daemon` through FUSE: nothing of it is seen by others, and
//! nothing stays behind.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{During, Result};
use crate::source::vm_disk::export::{Export, PATIENCE};
use crate::source::vm_disk::node;
use crate::sys::command::{self, Command};
use crate::sys::daemon::Daemon;
use crate::sys::mount::Mount;

const PROGRAM: &str = "qemu-storage-daemon";

/// Why it cannot be done, and what helps.
pub(super) struct Obstacle {
    pub(super) reason: &'static str,
    pub(super) remedy: &'static str,
}

/// Why there is no such export here; none if there can be.
pub(super) fn obstacle() -> Option<Obstacle> {
    if !command::exists(PROGRAM) {
        return Some(Obstacle {
            reason: "there is no program qemu-storage-daemon in PATH",
            remedy: "install it: the package is qemu-system-common on Debian 12, qemu-utils on Debian 13",
        });
    }
    if !Path::new("/dev/fuse").exists() {
        return Some(Obstacle {
            reason: "there is no /dev/fuse",
            remedy: "try `modprobe fuse`; in a container ask its host",
        });
    }
    // Before version 6.0, and where the distribution has left it out, it cannot.
    let help = Command::new(PROGRAM).arg("--help").output().map(|done| done.stdout).unwrap_or_default();
    let can = help.windows(11).any(|words| words == b"[type=]fuse");
    (!can).then_some(Obstacle {
        reason: "this qemu-storage-daemon has no FUSE exports",
        remedy: "they need QEMU 6.0 or newer",
    })
}

/// Exports the disk of this node, for which the program inherits `files`, as a file in the directory
/// `place`.
pub(super) fn start(node: &str, files: Vec<OwnedFd>, place: &Path) -> Result<Export> {
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
    Ok(Export::new(Some(Mount::adopted(&path)), daemon, path))
}
