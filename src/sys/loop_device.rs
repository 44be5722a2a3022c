//! A file as a block device.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use crate::error::{During, Error, Result};

/// `LOOP_CTL_GET_FREE` and `LOOP_CONFIGURE` of linux/loop.h; the latter is in every kernel since 5.8.
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// `struct loop_info64` of linux/loop.h.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    sizelimit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config` of linux/loop.h.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo64,
    reserved: [u64; 8],
}

/// A loop device. The kernel frees it by itself when its last user (this value, or a mount of
/// it) is gone, however that comes.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    _device: File,
}

impl LoopDevice {
    /// Makes `size` bytes of `file` from `offset` on a read-only block device; `size` 0 means up to the end.
    /// Both are in bytes. `name` is for messages.
    ///
    /// # Errors
    /// When there is no loop driver or no free device, or the file cannot be used.
    pub fn attach(file: &File, name: &Path, offset: u64, size: u64) -> Result<Self> {
        Self::with_flags(file, name, offset, size, LO_FLAGS_READ_ONLY)
    }

    /// The same for a device that writes to the file.
    ///
    /// # Errors
    /// As for [`LoopDevice::attach`].
    pub fn attach_writable(file: &File, name: &Path, offset: u64, size: u64) -> Result<Self> {
        Self::with_flags(file, name, offset, size, 0)
    }

    fn with_flags(file: &File, name: &Path, offset: u64, size: u64, flags: u32) -> Result<Self> {
        let control = "/dev/loop-control";
        let control = File::options().read(true).write(true).open(control).map_err(|source| {
            Error::io("open", control, source)
                .hint("loop devices are needed to look into an image: `modprobe loop`")
        })?;
        // Between the answer and our use somebody else may take the device: then the next one.
        for _ in 0..64 {
            // SAFETY: this ioctl takes no argument and returns a number.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
            if number < 0 {
                return Err(std::io::Error::last_os_error()).during("find a free loop device for", name);
            }
            let path = PathBuf::from(format!("/dev/loop{number}"));
            // The kernel makes a device read-only that is not open for writing.
            let writable = flags & LO_FLAGS_READ_ONLY == 0;
            let device = File::options().read(true).write(writable).open(&path).during("open", &path)?;
            match configure(&device, file.as_raw_fd(), offset, size, flags) {
                Ok(()) => return Ok(Self { path, _device: device }),
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) => return Err(Error::io("make a loop device of", name, error)),
            }
        }
        Err(Error::new("make a loop device of", name, "other programs took every free one"))
    }

    /// The device's name: `/dev/loopN`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn configure(device: &File, file: RawFd, offset: u64, size: u64, flags: u32) -> std::io::Result<()> {
    let config = LoopConfig {
        fd: u32::try_from(file).map_err(std::io::Error::other)?,
        block_size: 0,
        info: LoopInfo64 {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset,
            sizelimit: size,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: flags | LO_FLAGS_AUTOCLEAR,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: `config` has the layout that the kernel reads for this request, and outlives the call.
    match unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &config) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
