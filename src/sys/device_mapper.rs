//! Several stretches of a block device as one, put together by the kernel's device mapper.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{During, Error, Result};
use crate::sys::command::{self, Command};

/// The unit of the device mapper's tables, in bytes.
const SECTOR: u64 = 512;

/// The device, read-only. The kernel removes it by itself when its last user (this value, or a mount of it)
/// is gone, however that comes.
#[derive(Debug)]
pub struct MappedDevice {
    device: File,
}

impl MappedDevice {
    /// Puts pieces of `device` together in their order: each with its start and its length in bytes, which
    /// are multiples of 512. `name` is for messages.
    ///
    /// # Errors
    /// When the kernel has no device mapper, or the program `dmsetup` is missing.
    pub fn linear(device: &Path, pieces: &[(u64, u64)], name: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let failed = |reason: &str| {
            Error::action(format!("put {name} together"), format!("it lies in several pieces, and {reason}"))
        };
        if !is_there() {
            return Err(failed("this kernel has no device mapper").hint(
                "try `modprobe dm-mod`; in a container ask its host; or mount it elsewhere and copy the files",
            ));
        }
        if !command::exists("dmsetup") {
            return Err(failed("there is no program dmsetup in PATH").hint("install the package dmsetup"));
        }
        let own = format!("ltsp-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let table = table(device, pieces);
        let dmsetup = |words: &[&str]| {
            // Udev need not run, and does not have to see this device: without it the program makes the node.
            Command::new("dmsetup").env("DM_DISABLE_UDEV", "1").args(words).output()?.check()
        };
        dmsetup(&["create", &own, "--readonly", "--table", &table])?;
        let path = Path::new("/dev/mapper").join(&own);
        let device = File::open(&path).during("open", &path);
        // It goes when it is closed; if it could not be opened, at once.
        dmsetup(&["remove", "--deferred", &own])?;
        Ok(Self { device: device? })
    }

    /// A name under which this process can mount it: its own node is gone already.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.device.as_raw_fd()))
    }
}

/// Whether the kernel has a device mapper: opening its device loads the module where udev has made one.
fn is_there() -> bool {
    let drivers = std::fs::read_to_string("/proc/misc").unwrap_or_default();
    drivers.lines().any(|line| line.trim().ends_with(" device-mapper"))
        || File::open("/dev/mapper/control").is_ok()
}

/// A table of the target "linear" (Documentation/admin-guide/device-mapper/linear.rst).
fn table(device: &Path, pieces: &[(u64, u64)]) -> String {
    let mut at = 0;
    let mut lines = String::new();
    for (start, size) in pieces {
        let (start, size) = (start / SECTOR, size / SECTOR);
        lines.push_str(&format!("{at} {size} linear {} {start}\n", device.display()));
        at += size;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_follow_each_other_in_the_table() {
        let pieces = [(1 << 20, 2 << 20), (8 << 20, 1 << 20)];
        assert_eq!(
            table(Path::new("/dev/loop0"), &pieces),
            "0 4096 linear /dev/loop0 2048\n4096 2048 linear /dev/loop0 16384\n"
        );
    }
}
