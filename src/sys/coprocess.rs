//! A child program that stays while we talk to it.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::error::{Error, Result};
use crate::sys::command::{Command, GRACE, timespec};
use crate::sys::signals;

/// Where the standard output of a child goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// To ours.
    Ours,
    /// To our standard error: ours is for results alone.
    Errors,
}

/// A running program, with a socket as its standard input that it can also write to.
///
/// On drop its input ends, which is to end it, too; if it does not end in time, it is killed with
/// everything in its process group. After a signal it is killed at once.
#[derive(Debug)]
pub struct Coprocess {
    child: Child,
    group: Pid,
    /// Readable when the program has ended.
    ended: OwnedFd,
    socket: UnixStream,
}

/// What came of waiting for an answer.
#[derive(Debug)]
pub enum Received {
    /// All of it.
    Answer(Vec<u8>),
    /// The program has ended before the answer was complete.
    Ended(ExitStatus),
}

impl Coprocess {
    /// Starts a program; its standard error is ours.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: Command, output: Output) -> Result<Self> {
        signals::check()?;
        let failed =
            |line: &str, source: std::io::Error| Error::action(format!("start `{line}`"), source.to_string());
        let line = command.line();
        let (ours, theirs) = UnixStream::pair().map_err(|source| failed(&line, source))?;
        let mut command = command.into_inner();
        command.stdin(Stdio::from(OwnedFd::from(theirs)));
        if output == Output::Errors {
            let errors = std::io::stderr().as_fd().try_clone_to_owned();
            command.stdout(errors.map_err(|source| failed(&line, source))?);
        }
        let mut child = command.spawn().map_err(|source| failed(&line, source))?;
        let group = Pid::from_child(&child);
        match pidfd_open(group, PidfdFlags::empty()) {
            Ok(ended) => Ok(Self { child, group, ended, socket: ours }),
            Err(source) => {
                // Without its end to wait for, it is of no use; nobody else knows of it yet.
                let _ = child.kill();
                let _ = child.wait();
                Err(failed(&line, source.into()))
            }
        }
    }

    /// Sends `request` and waits until what comes back is `complete`, or the program ends.
    ///
    /// # Errors
    /// When a signal comes; the program is stopped then.
    pub fn ask(&mut self, request: &[u8], complete: impl Fn(&[u8]) -> bool) -> Result<Received> {
        match self.socket.write_all(request) {
            Ok(()) => {}
            // It has ended: its status says why.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
            Err(error) => return Err(failed_talk(error)),
        }
        let mut answer = Vec::new();
        let mut closed = false;
        loop {
            let ended = self.wait(closed)?;
            // What it wrote before its end is still there; a program of its own may hold the socket open.
            closed = self.read(&mut answer)?;
            if complete(&answer) {
                return Ok(Received::Answer(answer));
            }
            if ended {
                return Ok(Received::Ended(self.child.wait().map_err(failed_talk)?));
            }
        }
    }

    /// Waits for something to read, unless the other end is closed, or for the program's end; whether it
    /// was the end.
    fn wait(&mut self, closed: bool) -> Result<bool> {
        loop {
            let mut fds = vec![PollFd::new(&self.ended, PollFlags::IN)];
            if let Some(wake) = signals::wake() {
                fds.push(PollFd::from_borrowed_fd(wake, PollFlags::IN));
            }
            if !closed {
                fds.push(PollFd::new(&self.socket, PollFlags::IN));
            }
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(source) => return Err(failed_talk(source.into())),
            }
            let ended = fds[0].revents().contains(PollFlags::IN);
            let readable = !closed && fds.last().is_some_and(|socket| !socket.revents().is_empty());
            if let Err(interrupted) = signals::check() {
                self.stop();
                return Err(interrupted);
            }
            if ended || readable {
                return Ok(ended);
            }
        }
    }

    /// Reads what is there without waiting for more; whether nothing more will come.
    fn read(&mut self, answer: &mut Vec<u8>) -> Result<bool> {
        self.socket.set_nonblocking(true).map_err(failed_talk)?;
        let mut chunk = [0; 8192];
        let done = loop {
            match self.socket.read(&mut chunk) {
                Ok(0) => break Ok(true),
                Ok(size) => answer.extend_from_slice(&chunk[..size]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // It closed its end with something of ours unread.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break Ok(true),
                Err(error) => break Err(failed_talk(error)),
            }
        };
        self.socket.set_nonblocking(false).map_err(failed_talk)?;
        done
    }

    /// Ends the program and all in its process group.
    fn stop(&mut self) {
        let _ = kill_process_group(self.group, Signal::TERM); // the group may be gone already
        let _ = poll(&mut [PollFd::new(&self.ended, PollFlags::IN)], Some(&timespec(GRACE)));
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for Coprocess {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        let _ = self.socket.shutdown(Shutdown::Both); // it may have closed it
        let ended = poll(&mut [PollFd::new(&self.ended, PollFlags::IN)], Some(&timespec(GRACE)));
        if ended == Ok(1) && signals::caught().is_none() {
            let _ = self.child.wait();
        } else {
            self.stop();
        }
    }
}

fn failed_talk(source: std::io::Error) -> Error {
    Error::action("talk to a child program", source.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Coprocess {
        Coprocess::start(Command::new("sh").args(["-c", script]), Output::Ours).unwrap()
    }

    fn line(answer: &[u8]) -> bool {
        answer.ends_with(b"\n")
    }

    #[test]
    fn a_program_answers_as_often_as_it_is_asked() {
        let mut cat = shell("exec cat >&0");
        for request in ["one\n", "two\n"] {
            let Received::Answer(answer) = cat.ask(request.as_bytes(), line).unwrap() else { panic!() };
            assert_eq!(answer, request.as_bytes());
        }
        let pid = cat.child.id();
        drop(cat);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn the_end_of_a_program_is_noticed_though_a_program_of_its_own_goes_on() {
        let mut ended = shell("exec 7>&0; echo half >&7; sleep 60 & echo $! >&7; exit 3");
        let mut seen = Vec::new();
        let two_lines = |answer: &[u8]| answer.iter().filter(|&&byte| byte == b'\n').count() == 2;
        if let Received::Answer(answer) = ended.ask(b"", two_lines).unwrap() {
            seen = answer;
        }
        let Received::Ended(status) = ended.ask(b"more\n", |_| false).unwrap() else { panic!() };
        assert_eq!(status.code(), Some(3));
        let sleeper = String::from_utf8(seen).unwrap().lines().nth(1).unwrap().parse().unwrap();
        let sleeper = Pid::from_raw(sleeper).unwrap();
        rustix::process::kill_process(sleeper, Signal::KILL).unwrap();
    }

    #[test]
    fn what_does_not_end_with_its_input_is_killed() {
        let deaf = shell("exec sleep 1000");
        let pid = deaf.child.id();
        drop(deaf);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}
