//! A mount namespace of this process and its children alone.
#![allow(unsafe_code)]

use std::fs::File;
use std::sync::Arc;

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::error::{During, Error, Result};

/// The mount namespace that the process came from.
///
/// A service that is started from a private namespace would stay in it, and never see what is mounted
/// later: what starts services has to do so from outside.
#[derive(Debug, Clone)]
pub struct Outside {
    pub(super) namespace: Arc<File>,
}

/// Moves the process into a mount namespace of its own: whatever it mounts from now on is seen by
/// nobody else, and the kernel unmounts it when the last of our processes ends, however it ends.
/// Unmounts on the host still reach us (slave propagation), so that we never pin a disk. The way back is
/// for child programs only.
///
/// To be called while the process has one thread.
///
/// # Errors
/// When the process may not do so: it is not root, or a container forbids mounting.
pub fn private_mounts() -> Result<Outside> {
    let path = "/proc/self/ns/mnt";
    let outside = Outside { namespace: Arc::new(File::open(path).during("open", path)?) };
    let failed = |source: rustix::io::Errno| {
        Error::action("make a private mount namespace", format!("{}", std::io::Error::from(source)))
            .hint("run this as root; in a container it needs the capability CAP_SYS_ADMIN")
    };
    // SAFETY: a new mount namespace changes what paths mean, not which descriptors are open; the process
    // has one thread (see above).
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.map_err(failed)?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).map_err(failed)?;
    Ok(outside)
}
