//! A parent process that sees to it that work is undone even if it is killed itself.
#![allow(unsafe_code)]

use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, getppid, kill_process, pidfd_open,
    set_parent_process_death_signal, waitpid,
};

use crate::error::reason;
use crate::sys::signals;

/// Runs `work` in a child process and gives its exit status on.
///
/// SIGKILL cannot be caught, and a run owns things that must not stay behind. So whoever kills the
/// process that they started kills this parent, which owns nothing; the kernel then sends SIGTERM to
/// the child, which stops and undoes its work as after any other signal. Signals that the parent gets
/// are handed on.
///
/// To be called while the process has one thread. Both processes return from here, each with the same
/// status in the end; the caller does nothing but return it from `main`.
pub fn supervised(work: impl FnOnce() -> u8) -> ExitCode {
    let parent = getpid();
    // SAFETY: the process has one thread (see above), so that the child inherits no lock that another
    // thread holds.
    match unsafe { libc::fork() } {
        0 => ExitCode::from(child(parent, work)),
        pid => match Pid::from_raw(pid) {
            Some(child) if pid > 0 => ExitCode::from(wait(child)),
            // No memory or no more processes allowed: the work itself will need to start programs and
            // would fail later, with more done.
            _ => {
                log::error!("cannot start a process: {}", reason(&std::io::Error::last_os_error()));
                ExitCode::FAILURE
            }
        },
    }
}

fn child(parent: Pid, work: impl FnOnce() -> u8) -> u8 {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        let reason = reason(&error.into());
        log::warn!("cannot ask for a signal at the end of the parent process: {reason}");
    }
    if getppid() != Some(parent) {
        return 128 + 9; // it was killed before we could ask
    }
    work()
}

/// Waits for the child and hands it the first signal that comes meanwhile.
fn wait(child: Pid) -> u8 {
    if let Err(error) = signals::catch() {
        log::warn!("{error}");
    }
    match (pidfd_open(child, PidfdFlags::empty()), signals::wake()) {
        (Ok(pidfd), Some(wake)) => loop {
            let mut fds = [PollFd::new(&pidfd, PollFlags::IN), PollFd::from_borrowed_fd(wake, PollFlags::IN)];
            // An error is an interruption by a signal, which the next round sees.
            let _ = poll(&mut fds, None);
            if let Some(signal) = signals::caught().and_then(Signal::from_named_raw) {
                let _ = kill_process(child, signal); // it may have ended by itself
                break;
            }
            if fds[0].revents().contains(PollFlags::IN) {
                break;
            }
        },
        (pidfd, _) => log::warn!("cannot hand on signals to the child process: {pidfd:?}"),
    }
    loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => {
                let code = status.exit_status().or_else(|| status.terminating_signal().map(|n| 128 + n));
                return code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return 1,
        }
    }
}
