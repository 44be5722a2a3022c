//! A program that serves us in the background, for as long as a value lives.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::error::{Error, Result, shown};
use crate::sys::command::{self, Command};

/// How long it may take to end after SIGTERM before it is killed.
const GRACE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// How much it may say before it is ready, in bytes.
const HEARD: u64 = 16 * 1024;

/// The program. On drop it is told to end and waited for; the kernel tells it to if we die.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    name: String,
    line: String,
    said: Option<JoinHandle<Vec<u8>>>,
}

impl Daemon {
    /// Starts it. Nothing of what it writes to standard output is seen; of its errors the beginning is
    /// kept, to be told if it fails.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: Command) -> Result<Self> {
        let line = program.line();
        let mut inner = program.into_inner();
        let name = shown(inner.get_program());
        inner.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child =
            inner.spawn().map_err(|source| Error::action(format!("run {name}"), source.to_string()))?;
        let said = child.stderr.take().map(|mut pipe| {
            std::thread::spawn(move || {
                let mut heard = Vec::new();
                // What cannot be read is not told. The rest is read too, so that it never has to wait.
                let _ = pipe.by_ref().take(HEARD).read_to_end(&mut heard);
                let _ = std::io::copy(&mut pipe, &mut std::io::sink());
                heard
            })
        });
        Ok(Self { child, name, line, said })
    }

    /// Its process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it is `ready`.
    ///
    /// # Errors
    /// When it ends instead, with what it said; when a signal stops us; when `patience` is over.
    pub fn wait_until(&mut self, patience: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let until = Instant::now() + patience;
        while !ready() {
            match self.child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => {
                    let said = self.said.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
                    let said = String::from_utf8_lossy(&said);
                    let ended = match status.signal() {
                        Some(signal) => format!("signal {signal} ended it"),
                        None => format!("it ended with status {}", status.code().unwrap_or(-1)),
                    };
                    let name = &*self.name;
                    let lines = said.lines().map(|line| shown(line.trim()));
                    let lines = lines.map(|line| line.trim_start_matches(&format!("{name}: ")).to_owned());
                    let said = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
                    let reason = if said.is_empty() { ended } else { said };
                    return Err(Error::action(format!("run {name}"), reason));
                }
                Err(source) => return Err(Error::action("wait for a program", source.to_string())),
            }
            if Instant::now() > until {
                let reason = format!("it was not ready after {} seconds", patience.as_secs());
                return Err(Error::action(format!("use `{}`", self.line), reason));
            }
            command::sleep(Duration::from_millis(5))?;
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.child);
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process_group(pid, Signal::TERM); // it may have ended just now
            if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) {
                // Interrupted or not: what has not ended by then is killed.
                let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&GRACE));
            }
            let _ = kill_process_group(pid, Signal::KILL);
        }
        if let Err(error) = self.child.wait() {
            log::warn!("cannot wait for the end of {}: {error}", self.name);
        }
        // It ends with the program; a process that forks must not have threads.
        if let Some(thread) = self.said.take() {
            let _ = thread.join(); // what it heard is of no interest any more
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn it_serves_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let flag = dir.path().join("ready");
        let script = format!("touch {}; exec sleep 1000", flag.display());
        let mut daemon = Daemon::start(Command::new("sh").args(["-c", &script])).unwrap();
        daemon.wait_until(LONG, || flag.exists()).unwrap();
        let pid = Pid::from_child(&daemon.child);
        drop(daemon);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }

    #[test]
    fn an_early_end_is_told_with_what_it_said() {
        let mut daemon =
            Daemon::start(Command::new("sh").args(["-c", "echo sh: no room >&2; exit 3"])).unwrap();
        let error = daemon.wait_until(LONG, || false).unwrap_err();
        assert_eq!(error.to_string(), "cannot run sh: no room");
        assert!(Daemon::start(Command::new("no-such-program")).is_err());
    }

    #[test]
    fn a_program_gets_the_open_file_that_it_was_given() {
        use std::os::fd::AsRawFd;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("given"), "content").unwrap();
        let file = std::fs::File::open(dir.path().join("given")).unwrap();
        let number = file.as_raw_fd();
        let cat = Command::new("cat").arg(format!("/proc/self/fd/{number}")).inherit(file.into());
        assert_eq!(cat.output().unwrap().stdout, b"content");
    }
}
