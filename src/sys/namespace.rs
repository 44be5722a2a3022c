//! A mount namespace of this process and its children alone.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::error::{During, Error, Result, reason};

/// The mount namespace that the process came from.
///
/// A service that is started from a private namespace would stay in it, and never see what is mounted
/// later: what starts services has to do so from outside.
#[derive(Debug, Clone)]
pub struct Outside {
    pub(super) namespace: Arc<File>,
    /// Our root directory. Who enters a mount namespace gets that namespace's (setns(2)): if we run in a
    /// chroot, the machine's instead of ours.
    pub(super) root: Arc<File>,
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
    let open = |path| File::open(path).during("open", path).map(Arc::new);
    let outside = Outside { namespace: open(path)?, root: open("/")? };
    let failed = |source: rustix::io::Errno| {
        Error::action("make a private mount namespace", reason(&source.into()))
            .hint("run this as root; in a container it needs the capability CAP_SYS_ADMIN")
    };
    // SAFETY: a new mount namespace changes what paths mean, not which descriptors are open; the process
    // has one thread (see above).
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.map_err(failed)?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).map_err(failed)?;
    Ok(outside)
}

/// Ends every other process in our private namespace.
///
/// Programs of a chroot may leave some running, in sessions of their own: a service that was started, say.
/// Such a process would keep what is mounted here, and the memory behind it, for as long as it lives.
///
/// To be called while no program that is ours runs.
pub fn end_others(outside: &Outside) {
    let ours = number(Path::new("/proc/self/ns/mnt"));
    let is_private = outside.namespace.metadata().is_ok_and(|outside| Some(outside.ino()) != ours);
    if !is_private {
        return;
    }
    // One that starts others while it is being ended leaves them to the next round.
    for _ in 0..100 {
        let others = others(ours);
        if others.is_empty() {
            return;
        }
        for process in &others {
            let _ = pidfd_send_signal(process, Signal::KILL); // it may have ended
        }
        for process in others {
            let second = Timespec { tv_sec: 1, tv_nsec: 0 };
            let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&second));
        }
    }
    log::warn!("processes that the chroot's programs have left running cannot be ended");
}

fn others(namespace: Option<u64>) -> Vec<OwnedFd> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    let found = pids.filter(|pid| *pid != getpid()).filter_map(|pid| {
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // Looked at after the descriptor pins the process: the number may have come to mean another.
        let theirs = number(&Path::new("/proc").join(pid.to_string()).join("ns/mnt"));
        (theirs.is_some() && theirs == namespace).then_some(process)
    });
    found.collect()
}

fn number(namespace: &Path) -> Option<u64> {
    fs::metadata(namespace).ok().map(|namespace| namespace.ino())
}
