//! A process that goes on after ours has ended.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::setsid;

use crate::error::{During, Error, Result, reason};
use crate::sys::signals;

/// Runs `work` in a process of its own that nobody waits for: without a terminal, with the default effect
/// of signals, and with no open descriptor but those in `keep`. Any other that it held would, for
/// example, keep a client's connection open.
///
/// To be called while the process has one thread. `work` must not log: the log's descriptors are closed,
/// too.
///
/// # Errors
/// When no process can be started.
pub fn detached(keep: &[BorrowedFd<'_>], work: impl FnOnce()) -> Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null").during("open", "/dev/null")?;
    let mut kept: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).collect();
    kept.extend([0, 1, 2]);
    kept.sort_unstable();
    // SAFETY: the process has one thread (see above), so that the child inherits no lock that another
    // thread holds.
    match unsafe { libc::fork() } {
        0 => {
            let done = catch_unwind(AssertUnwindSafe(|| {
                // It is no group's leader, being new.
                let _ = setsid();
                for signal in signals::FATAL {
                    // SAFETY: the default action has no handler that could be unsound.
                    unsafe { libc::signal(signal, libc::SIG_DFL) };
                }
                for standard in 0..3 {
                    // SAFETY: nothing in this process relies on what 0, 1 and 2 are.
                    unsafe { libc::dup2(null.as_raw_fd(), standard) };
                }
                close_others(&kept);
                work();
            }));
            // SAFETY: it ends the process at once. Nothing of the parent's may be undone here: its guards
            // are the parent's to drop.
            unsafe { libc::_exit(i32::from(done.is_err())) }
        }
        -1 => Err(Error::action("start a process", reason(&std::io::Error::last_os_error()))),
        _ => Ok(()),
    }
}

/// Closes all descriptors but these, which are sorted.
fn close_others(kept: &[u32]) {
    let mut first = 0;
    for fd in kept.iter().copied().chain([u32::MAX]) {
        if fd > first {
            // SAFETY: the owners of these descriptors are never dropped in this process, which ends with
            // _exit; so none is closed twice, and what `work` uses is kept.
            unsafe { libc::close_range(first, fd - 1, 0) };
        }
        first = fd.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_process_has_only_the_descriptors_that_it_is_given() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut other_end, other) = UnixStream::pair().unwrap();
        let other_fd = other.as_raw_fd();
        detached(&[theirs.as_fd()], || {
            // SAFETY: only asks whether the number is in use.
            let open = unsafe { libc::fcntl(other_fd, libc::F_GETFD) } != -1;
            // Whoever reads it sees what is wrong.
            let _ = (&theirs).write_all(if open { b"open" } else { b"closed" });
        })
        .unwrap();
        drop((theirs, other));
        let mut said = String::new();
        (&ours).read_to_string(&mut said).unwrap();
        assert_eq!(said, "closed");
        // No process keeps the other connection open.
        assert_eq!(other_end.read(&mut [0]).unwrap(), 0);
    }
}
