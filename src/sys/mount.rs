//! A mounted file system, owned by a value.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};

use crate::error::{Error, Result};

/// Something that we mounted. On drop it is unmounted; if it is still in use it is detached, and goes
/// when its last user ends.
#[derive(Debug)]
pub struct Mount {
    target: PathBuf,
}

impl Mount {
    /// An empty file system in memory, of mode 0700, with the kernel's default size: half of the
    /// memory (U53, U62).
    ///
    /// # Errors
    /// The kernel's.
    pub fn tmpfs(target: &Path) -> Result<Self> {
        let options = CString::new("mode=0700").unwrap_or_default();
        Self::new("tmpfs", "tmpfs".as_ref(), target, MountFlags::NOSUID | MountFlags::NODEV, &options)
            .map_err(|source| refused("tmpfs", target, source))
    }

    /// A file system on a block device, read-only, without honouring its set-uid bits and devices.
    ///
    /// # Errors
    /// The kernel's, when the device does not hold a file system of that type.
    pub fn device(device: &Path, fstype: &str, target: &Path, options: &str) -> Result<Self> {
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        let options = CString::new(options).unwrap_or_default();
        Self::new(fstype, device, target, flags, &options).map_err(|source| refused(fstype, target, source))
    }

    /// A file system on a block device with these flags and options, and read-only whatever they say. Its
    /// set-uid bits and devices are not honoured.
    ///
    /// # Errors
    /// The kernel's own, for the caller to explain.
    pub fn with_options(
        device: &Path,
        fstype: &OsStr,
        target: &Path,
        flags: MountFlags,
        options: &CStr,
    ) -> std::result::Result<Self, Errno> {
        let flags = flags | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        mount(device, target, fstype, flags, options)?;
        Ok(Self { target: target.to_owned() })
    }

    /// What a program of ours has mounted at `target`.
    pub fn adopted(target: &Path) -> Self {
        Self { target: target.to_owned() }
    }

    /// A writable view of `lower`: what is written goes to `upper`; `work` is the kernel's own
    /// (Documentation/filesystems/overlayfs.rst). Both lie on one file system and are empty.
    ///
    /// # Errors
    /// The kernel's.
    pub fn overlay(lower: &Path, upper: &Path, work: &Path, target: &Path) -> Result<Self> {
        let mut options = Vec::new();
        // index and redirect_dir would write into the layers what only later mounts could use; xino
        // is left to the kernel.
        for (name, path) in [("lowerdir", lower), ("upperdir", upper), ("workdir", work)] {
            if !options.is_empty() {
                options.push(b',');
            }
            options.extend_from_slice(name.as_bytes());
            options.push(b'=');
            options.extend_from_slice(&escaped(path));
        }
        let options =
            CString::new(options).map_err(|_| Error::new("mount", lower, "its name holds a NUL byte"))?;
        Self::new("overlay", "overlay".as_ref(), target, MountFlags::empty(), &options).map_err(|source| {
            let failed = Error::io("make a writable view of", lower, source);
            match source {
                Errno::NODEV => refused("overlay", target, source),
                Errno::INVAL if is_overlay(lower) => failed.hint(
                    "it lies on an overlay itself, and the kernel stacks only two: move it to a disk, or \
                     run this outside the container",
                ),
                Errno::INVAL => failed.hint(
                    "the kernel cannot put an overlay on every file system (on vfat it cannot); \
                     `dmesg` tells its reason",
                ),
                _ => failed,
            }
        })
    }

    /// A read-only view of directories that lie one over the other, the uppermost first; at least two.
    ///
    /// # Errors
    /// The kernel's.
    pub fn stack(directories: &[&Path], target: &Path) -> Result<Self> {
        let lower: Vec<Vec<u8>> = directories.iter().map(|directory| escaped(directory)).collect();
        let options = CString::new([b"lowerdir=".to_vec(), lower.join(&b':')].concat())
            .map_err(|_| Error::new("mount", target, "a name holds a NUL byte"))?;
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        Self::new("overlay", "overlay".as_ref(), target, flags, &options)
            .map_err(|source| refused("overlay", target, source))
    }

    /// The directory `source`, seen at `target` too, without what is mounted below it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn bind(source: &Path, target: &Path) -> Result<Self> {
        mount_bind(source, target).map_err(|error| Error::io("mount", source, error))?;
        Ok(Self { target: target.to_owned() })
    }

    /// The same, read-only (D38).
    ///
    /// # Errors
    /// The kernel's.
    pub fn bind_read_only(source: &Path, target: &Path) -> Result<Self> {
        let bound = Self::bind(source, target)?;
        mount_remount(target, MountFlags::BIND | MountFlags::RDONLY, c"")
            .map_err(|error| Error::io("make a read-only view of", source, error))?;
        Ok(bound)
    }

    fn new(
        fstype: &str,
        source: &Path,
        target: &Path,
        flags: MountFlags,
        options: &CString,
    ) -> std::result::Result<Self, Errno> {
        mount(source, target, fstype, flags, options.as_c_str())?;
        Ok(Self { target: target.to_owned() })
    }

    /// Where it is mounted.
    pub fn target(&self) -> &Path {
        &self.target
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if unmount(&self.target, UnmountFlags::NOFOLLOW).is_ok() {
            return;
        }
        if let Err(error) = unmount(&self.target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            log::warn!("{}", Error::io("unmount", &self.target, error));
        }
    }
}

/// Why the kernel did not mount it. It loads the module of a file system by itself if there is one, so
/// that a missing file system stays missing (U52).
fn refused(fstype: &str, target: &Path, source: Errno) -> Error {
    match source {
        Errno::NODEV => Error::new("mount", target, format!("this kernel has no {fstype} file system"))
            .hint(format!("try `modprobe {fstype}`; in a container ask its host")),
        _ => Error::io(format!("mount {fstype} on"), target, source),
    }
}

fn is_overlay(path: &Path) -> bool {
    // OVERLAYFS_SUPER_MAGIC of linux/magic.h; the field's type depends on the machine.
    rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type == 0x794c_7630)
}

/// A path in overlay's options: `\`, `,` and `:` have a meaning of their own there.
fn escaped(path: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'\\' | b',' | b':') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    OsString::from_vec(out).into_vec()
}
