//! A virtual disk as a block device, made by `qemu-nbd`: where there are no FUSE exports.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::source::vm_disk::export::{Export, PATIENCE};
use crate::sys::command::{self, Command};
use crate::sys::daemon::Daemon;

const PROGRAM: &str = "qemu-nbd";

/// As many devices as the driver makes by itself.
const DEVICES: u32 = 16;

/// Whether there are the program and the driver.
pub(super) fn is_there() -> bool {
    command::exists(PROGRAM) && driver(0).exists()
}

/// Exports the disk of this node, for which the program inherits `files`, on a free device. Its
/// socket is in the directory `place`.
pub(super) fn start(node: &str, files: Vec<OwnedFd>, place: &Path) -> Result<Export> {
    let Some(number) = (0..DEVICES).find(|number| is_free(*number)) else {
        return Err(Error::action("use a network block device", "each of them is in use"));
    };
    let path = PathBuf::from(format!("/dev/nbd{number}"));
    let disk = format!("json:{node}");
    // Only if it is to be verbose it stays in the foreground, and thus ends with us. If somebody else takes
    // the device meanwhile, it fails and says so.
    let program = Command::new(PROGRAM).args(["--verbose", "--read-only", "--connect"]).arg(&path);
    let program = program.arg("--socket").arg(place.join("socket")).arg(&disk);
    let mut daemon = Daemon::start(files.into_iter().fold(program, Command::inherit))?;
    let pid = daemon.id();
    daemon.wait_until(PATIENCE, || is_served(number, pid))?;
    Ok(Export::new(None, daemon, path))
}

fn driver(number: u32) -> PathBuf {
    Path::new("/sys/block").join(format!("nbd{number}"))
}

/// Whether nobody serves the device: it has no such file then.
fn is_free(number: u32) -> bool {
    driver(number).exists() && !driver(number).join("pid").exists()
}

/// Whether this very process serves the device, and its size is known.
fn is_served(number: u32, pid: u32) -> bool {
    let read = |file: &str| fs::read_to_string(driver(number).join(file)).unwrap_or_default();
    // The driver tells the thread.
    let thread = Path::new("/proc").join(pid.to_string()).join("task").join(read("pid").trim());
    !read("pid").is_empty() && thread.exists() && read("size").trim() != "0"
}
