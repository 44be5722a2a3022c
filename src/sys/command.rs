//! Child programs: found through `PATH` (P3, D45), stopped with us, their failures told in full.
#![allow(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use rustix::thread::LinkNameSpaceType;

use crate::error::{Error, Result, reason, shown};
use crate::sys::namespace::Outside;
use crate::sys::signals;

/// Where programs are looked for if `PATH` is not set; as a shell has it, and not only for ordinary users.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a child may take to end by itself after SIGTERM before it is killed.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// How much of a child's output is kept, in bytes from the end.
const KEPT: usize = 64 * 1024;

/// A program to be run. Its standard input is empty, unless it is given ours.
///
/// It runs in a process group of its own, so that whatever it starts ends with it when a signal stops
/// us; and it gets SIGTERM if we die without being able to say so. To be started from the main thread
/// (the kernel ties that signal to the starting thread's life).
#[derive(Debug)]
pub struct Command {
    inner: std::process::Command,
    /// What it is called, if that is not the file's name.
    name: Option<OsString>,
}

/// What is different in a child's environment from ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Variables to set.
    pub set: Vec<(OsString, OsString)>,
    /// Variables to take away.
    pub removed: Vec<OsString>,
}

/// How a program ended.
#[derive(Debug)]
pub struct Finished {
    /// Its command line, for messages.
    pub line: String,
    /// Its status.
    pub status: ExitStatus,
    /// What it wrote to standard output, at most the last 64 KiB; empty if that was not captured.
    pub stdout: Vec<u8>,
    /// The same of standard error.
    pub stderr: Vec<u8>,
}

impl Command {
    /// A program by its name, looked for in `PATH`, or by its path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Self::in_our_group(program);
        command.inner.stdin(Stdio::null()).process_group(0);
        command
    }

    /// A program that somebody types into: it has our standard input, and what comes from a terminal for us
    /// comes for it, too.
    pub fn interactive(program: impl AsRef<OsStr>) -> Self {
        let mut command = Self::in_our_group(program);
        command.inner.stdin(Stdio::inherit());
        command
    }

    fn in_our_group(program: impl AsRef<OsStr>) -> Self {
        let mut inner = std::process::Command::new(program);
        if std::env::var_os("PATH").is_none() {
            inner.env("PATH", USUAL_PATH);
        }
        // SAFETY: between fork and exec only prctl and getppid are called, which allocate nothing and
        // take no lock.
        unsafe {
            inner.pre_exec(|| {
                rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
                Ok(())
            });
        }
        Self { inner, name: None }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.inner.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.inner.args(args);
        self
    }

    /// Gives it our standard input.
    #[must_use]
    pub fn inherit_stdin(mut self) -> Self {
        self.inner.stdin(Stdio::inherit());
        self
    }

    /// The directory that it starts in.
    #[must_use]
    pub fn current_dir(mut self, directory: &std::path::Path) -> Self {
        self.inner.current_dir(directory);
        self
    }

    /// Sets a variable in its environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(name, value);
        self
    }

    /// Changes its environment.
    #[must_use]
    pub fn changes(mut self, changes: &Changes) -> Self {
        self.inner.envs(changes.set.iter().map(|(name, value)| (name, value)));
        for name in &changes.removed {
            self.inner.env_remove(name);
        }
        self
    }

    /// Gives it another name than that of its file: what it sees as its `argv[0]`.
    #[must_use]
    pub fn called(mut self, name: impl AsRef<OsStr>) -> Self {
        self.inner.arg0(&name);
        self.name = Some(name.as_ref().to_owned());
        self
    }

    /// Empties its environment.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.inner.env_clear();
        self
    }

    /// Enters `root` first: the program is then one of that root, and `/` is its working directory.
    #[must_use]
    pub fn chroot(mut self, root: &std::path::Path) -> Self {
        use std::os::unix::ffi::OsStrExt;
        let root = std::ffi::CString::new(root.as_os_str().as_bytes());
        // SAFETY: between fork and exec only chroot and chdir are called, on a string made beforehand.
        unsafe {
            self.inner.pre_exec(move || {
                let Ok(root) = &root else { return Err(Errno::INVAL.into()) };
                rustix::process::chroot(root.as_c_str())?;
                rustix::process::chdir(c"/")?;
                Ok(())
            });
        }
        self
    }

    /// Runs it in the mount namespace that we came from, with `/` as its working directory.
    #[must_use]
    pub fn outside(mut self, outside: &Outside) -> Self {
        let outside = outside.clone();
        // SAFETY: between fork and exec only setns, fchdir and chroot are called, on descriptors opened
        // beforehand.
        unsafe {
            self.inner.pre_exec(move || {
                let mount = Some(LinkNameSpaceType::Mount);
                rustix::thread::move_into_link_name_space(outside.namespace.as_fd(), mount)?;
                rustix::process::fchdir(outside.root.as_fd())?;
                rustix::process::chroot(c".")?;
                Ok(())
            });
        }
        self
    }

    /// Lets it have an open file of ours, under the same number.
    #[must_use]
    pub fn inherit(mut self, file: std::os::fd::OwnedFd) -> Self {
        // SAFETY: between fork and exec only fcntl is called. The closure owns the file, which is thus
        // open for as long as the program can be started.
        unsafe {
            self.inner.pre_exec(move || Ok(rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty())?));
        }
        self
    }

    /// For [`crate::sys::daemon`] and [`crate::sys::coprocess`], which wait for it in their own way.
    pub(super) fn into_inner(self) -> std::process::Command {
        self.inner
    }

    /// The command line as one would type it, for messages.
    pub fn line(&self) -> String {
        let program = self.name.as_deref().unwrap_or(self.inner.get_program());
        let words = std::iter::once(program).chain(self.inner.get_args());
        words.map(quoted).collect::<Vec<_>>().join(" ")
    }

    /// Runs it with our standard output and error.
    ///
    /// # Errors
    /// When it cannot be started, or a signal came, which then has ended it.
    pub fn status(self) -> Result<Finished> {
        self.finish(Stdio::inherit(), Stdio::inherit())
    }

    /// Runs it and keeps what it writes.
    ///
    /// # Errors
    /// As for [`Command::status`].
    pub fn output(self) -> Result<Finished> {
        self.finish(Stdio::piped(), Stdio::piped())
    }

    /// Runs it with our standard error; what it writes to standard output is dropped.
    ///
    /// # Errors
    /// As for [`Command::status`].
    pub fn quiet(self) -> Result<Finished> {
        self.finish(Stdio::null(), Stdio::inherit())
    }

    /// Runs it with our standard error, to which its standard output goes, too.
    ///
    /// # Errors
    /// As for [`Command::status`].
    pub fn to_errors(self) -> Result<Finished> {
        let errors = std::io::stderr().as_fd().try_clone_to_owned();
        let errors = errors.map_err(|source| Error::action("use standard error", reason(&source)))?;
        self.finish(Stdio::from(errors), Stdio::inherit())
    }

    /// Runs it with our standard output, and keeps what it writes to standard error.
    ///
    /// # Errors
    /// As for [`Command::status`].
    pub fn errors(self) -> Result<Finished> {
        self.finish(Stdio::inherit(), Stdio::piped())
    }

    fn finish(mut self, stdout: Stdio, stderr: Stdio) -> Result<Finished> {
        signals::check()?;
        let line = self.line();
        let spawned = self.inner.stdout(stdout).stderr(stderr).spawn();
        let mut child = spawned.map_err(|source| {
            let program = shown(self.inner.get_program());
            if source.kind() == std::io::ErrorKind::NotFound {
                let reason = if program.contains('/') {
                    "there is no such program, or the interpreter or loader that it names is missing"
                } else {
                    "there is no such program in PATH"
                };
                Error::action(format!("run {program}"), reason)
            } else {
                Error::action(format!("run {program}"), reason(&source))
            }
        })?;
        let mut out = Tail::new(child.stdout.take().map(OwnedFd::from));
        let mut err = Tail::new(child.stderr.take().map(OwnedFd::from));
        let status = wait(&mut child, [&mut out, &mut err])?;
        Ok(Finished { line, status, stdout: out.end(), stderr: err.end() })
    }
}

impl Finished {
    /// The program's success, or its failure with its command line and the end of what it said.
    ///
    /// # Errors
    /// When the status is not 0; the error has the program's own exit status.
    pub fn check(self) -> Result<Self> {
        if self.status.success() {
            return Ok(self);
        }
        let said = String::from_utf8_lossy(&self.stderr);
        let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let said = said[said.len().saturating_sub(5)..].join("; ");
        let ended = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("it ended with status {code}"),
            (None, Some(signal)) => format!("signal {signal} ended it"),
            (None, None) => "it ended abnormally".to_owned(),
        };
        let why = if said.is_empty() { ended } else { format!("{ended}: {}", shown(&*said)) };
        Err(Error::said(format!("`{}` failed: {why}", self.line)).with_status(self.exit_code()))
    }

    /// The status as a shell would give it: 128 + n after signal n.
    pub fn exit_code(&self) -> u8 {
        let code = self.status.code().or_else(|| self.status.signal().map(|signal| 128 + signal));
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
    }
}

/// Waits for a time, or until a signal comes.
///
/// # Errors
/// [`Error::interrupted`] if one came.
pub fn sleep(time: Duration) -> Result<()> {
    let until = Instant::now() + time;
    loop {
        signals::check()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        match signals::wake() {
            Some(wake) => {
                // An error is an interruption by a signal: the loop looks which.
                let _ = poll(&mut [PollFd::from_borrowed_fd(wake, PollFlags::IN)], Some(&timespec(left)));
            }
            None => std::thread::sleep(left),
        }
    }
}

/// Waits for the child, and reads what it writes meanwhile; a signal stops it with everything in its
/// process group.
fn wait(child: &mut Child, mut tails: [&mut Tail; 2]) -> Result<ExitStatus> {
    let failed = |source: std::io::Error| Error::action("wait for a program", reason(&source));
    let pid = Pid::from_child(child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|source| failed(source.into()))?;
    loop {
        let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
        fds.extend(signals::wake().map(|wake| PollFd::from_borrowed_fd(wake, PollFlags::IN)));
        let first = fds.len();
        fds.extend(tails.iter().filter_map(|tail| Some(PollFd::new(tail.stream.as_ref()?, PollFlags::IN))));
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => fds.iter_mut().for_each(PollFd::clear_revents),
            Err(source) => return Err(failed(source.into())),
        }
        let ended = fds[0].revents().contains(PollFlags::IN);
        let readable: Vec<bool> = fds[first..].iter().map(|fd| !fd.revents().is_empty()).collect();
        let open = tails.iter_mut().filter(|tail| tail.stream.is_some());
        open.zip(readable).filter(|(_, readable)| *readable).for_each(|(tail, _)| tail.read());
        // A signal goes first: from a terminal it reaches the child too, whose end is then no failure
        // of its own.
        if let Err(interrupted) = signals::check() {
            let _ = kill_process_group(pid, Signal::TERM); // the group may be gone already
            if !ended {
                let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timespec(GRACE)));
            }
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = child.kill(); // one in our own group
            child.wait().map_err(failed)?;
            return Err(interrupted);
        }
        if ended {
            return child.wait().map_err(failed);
        }
    }
}

pub(super) fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}

/// The last [`KEPT`] bytes of a stream.
struct Tail {
    /// None when there is nothing more to come.
    stream: Option<File>,
    kept: Vec<u8>,
}

impl Tail {
    fn new(pipe: Option<OwnedFd>) -> Self {
        Self { stream: pipe.map(File::from), kept: Vec::new() }
    }

    /// Reads once; it does not wait if there is something to read.
    fn read(&mut self) {
        let mut chunk = [0; 8192];
        match self.stream.as_mut().map(|stream| stream.read(&mut chunk)) {
            Some(Ok(size @ 1..)) => self.kept.extend_from_slice(&chunk[..size]),
            Some(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => {}
            _ => self.stream = None,
        }
        if self.kept.len() > 2 * KEPT {
            self.kept.drain(..self.kept.len() - KEPT);
        }
    }

    /// What the program has written that has just ended. Something that it has left running may hold
    /// the stream open, and write for ever: so only what lies there now is read.
    fn end(mut self) -> Vec<u8> {
        let lies_there = self.stream.as_ref().map_or(Ok(0), rustix::io::ioctl_fionread);
        if let (Some(stream), Ok(size)) = (&mut self.stream, lies_there) {
            // As far as it can be read: the rest is the end of a message at most.
            let _ = stream.take(size).read_to_end(&mut self.kept);
        }
        let surplus = self.kept.len().saturating_sub(KEPT);
        self.kept.drain(..surplus);
        self.kept
    }
}

/// A word as it may be pasted into a shell.
pub fn quoted(word: &OsStr) -> String {
    let text = shown(word);
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Whether a program of that name is in `PATH`.
pub fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from(USUAL_PATH));
    std::env::split_paths(&path)
        .any(|dir| rustix::fs::access(dir.join(program), rustix::fs::Access::EXEC_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_the_command_line_the_status_and_the_end_of_its_errors() {
        let failed = Command::new("sh").args(["-c", "echo no room >&2; exit 3"]).output().unwrap();
        let error = failed.check().unwrap_err();
        assert_eq!(error.status(), 3);
        assert_eq!(
            error.to_string(),
            "`sh -c 'echo no room >&2; exit 3'` failed: it ended with status 3: no room"
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Command::new("no-such-program").status().unwrap_err();
        assert_eq!(error.to_string(), "cannot run no-such-program: there is no such program in PATH");
        assert!(!exists("no-such-program"));
        assert!(exists("sh"));
    }

    #[test]
    fn only_the_end_of_a_long_output_is_kept() {
        let finished = Command::new("sh").args(["-c", "seq 1 100000"]).output().unwrap();
        assert_eq!(finished.stdout.len(), KEPT);
        assert!(finished.stdout.ends_with(b"\n100000\n"));
    }

    #[test]
    fn nobody_waits_for_what_a_program_leaves_running() {
        // The signal of a closed pipe ends it when we have gone on.
        let finished = Command::new("sh").args(["-c", "setsid yes & sleep 0.1"]).output().unwrap();
        assert!(finished.stdout.starts_with(b"y\n"));
    }
}
