//! Locks that other programs hold on parts of a file.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;

/// Whether another open file description holds a record lock on this byte, shared or exclusive
/// (fcntl(2), F_OFD_GETLK). Where the file system has no locks, nobody does.
///
/// # Errors
/// The kernel's.
pub fn is_locked(file: &File, byte: i64) -> std::io::Result<bool> {
    let write_lock = i16::try_from(libc::F_WRLCK).map_err(std::io::Error::other)?;
    let from_start = i16::try_from(libc::SEEK_SET).map_err(std::io::Error::other)?;
    let mut lock =
        libc::flock { l_type: write_lock, l_whence: from_start, l_start: byte, l_len: 1, l_pid: 0 };
    // SAFETY: the kernel reads and writes one `flock`, which outlives the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) } == 0 {
        return Ok(i32::from(lock.l_type) != libc::F_UNLCK);
    }
    let error = std::io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOLCK | libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL) => Ok(false),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FlockOperation, fcntl_lock};

    #[test]
    fn a_lock_is_seen_by_others_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        assert!(!is_locked(&file, 101).unwrap());
        // A record lock of this process: to an open file description it is another's.
        fcntl_lock(&file, FlockOperation::LockExclusive).unwrap();
        let seen = File::open(&path).unwrap();
        assert!(is_locked(&seen, 101).unwrap());
    }
}
