//! The nbd-server processes that run on this machine.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, geteuid};

use crate::error::{During, Error, Result};
use crate::nbd::configuration::below;

/// What the kernel calls such a process.
const NAME: &str = "nbd-server";

/// The main file that Debian's nbd-server reads unless told otherwise.
pub const MAIN: &str = "/etc/nbd-server/config";

/// The number of SIGHUP.
const HANGUP: u32 = 1;

/// One running nbd-server.
#[derive(Debug)]
pub struct Process {
    /// Its process id.
    pub pid: Pid,
    /// Its folder in /proc.
    pub proc: PathBuf,
    /// It has a handler for SIGHUP. Only the process that accepts connections has one: those that serve a
    /// client have given it up (`spawn_child` in nbd-server.c), so that the signal would end them, and
    /// with them the client's connection.
    pub catches_hangup: bool,
    /// Its main file, as it names it.
    pub main: PathBuf,
    /// It was given an address or a file as operand, which its files do not tell of.
    pub has_operands: bool,
    user: u32,
    groups: Vec<u32>,
}

impl Process {
    /// Every nbd-server in our own process id namespace: one in a container on this machine is not ours.
    ///
    /// # Errors
    /// When `proc`, a mounted procfs, cannot be read.
    pub fn all(proc: &Path) -> Result<Vec<Self>> {
        let ours = namespace(&proc.join("self"), "pid");
        let mut all = Vec::new();
        for entry in fs::read_dir(proc).during("read", proc)? {
            let entry = entry.during("read", proc)?;
            let id = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            let Some(pid) = id else { continue };
            let path = entry.path();
            let theirs = namespace(&path, "pid");
            if theirs.is_some() && theirs != ours {
                continue;
            }
            // A process that has ended meanwhile has no files any more.
            all.extend(Self::read(pid, path));
        }
        Ok(all)
    }

    fn read(pid: Pid, proc: PathBuf) -> Option<Self> {
        if fs::read(proc.join("comm")).ok()?.trim_ascii_end() != NAME.as_bytes() {
            return None;
        }
        let status = String::from_utf8_lossy(&fs::read(proc.join("status")).ok()?).into_owned();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if field("State:")?.starts_with(['Z', 'X']) {
            return None;
        }
        let caught = u64::from_str_radix(field("SigCgt:")?, 16).ok()?;
        // The second of four is the effective one.
        let effective = |name: &str| field(name)?.split_whitespace().nth(1)?.parse().ok();
        let mut groups: Vec<u32> =
            field("Groups:")?.split_whitespace().filter_map(|group| group.parse().ok()).collect();
        groups.push(effective("Gid:")?);
        let (main, has_operands) = command_line(&fs::read(proc.join("cmdline")).ok()?);
        Some(Self {
            pid,
            catches_hangup: caught & (1 << (HANGUP - 1)) != 0,
            main,
            has_operands,
            user: effective("Uid:")?,
            groups,
            proc,
        })
    }

    /// Its root directory, through which its files are to be read.
    pub fn root(&self) -> PathBuf {
        self.proc.join("root")
    }

    /// Whether it shares our network, so that what listens at an address here is it.
    pub fn shares_our_network(&self) -> bool {
        namespace(&self.proc, "net") == namespace(Path::new("/proc/self"), "net")
    }

    /// The program that it runs, opened, if it is the administrator's nbd-server.
    ///
    /// Any user can run a program of that name, or nbd-server with files of their own, in a mount namespace of
    /// their own: nothing of such a process is read or run.
    ///
    /// # Errors
    /// When the program or its main file is not root's, or it lives in another user namespace.
    pub fn trusted_program(&self) -> Result<File> {
        let action = format!("trust process {}", self.pid.as_raw_nonzero());
        let refused = |reason: &str| Err(Error::action(action.clone(), reason));
        if namespace(&self.proc, "user") != namespace(Path::new("/proc/self"), "user") {
            return refused("it is in a user namespace of its own");
        }
        let path = self.proc.join("exe");
        let program = File::open(&path).during("open", &path)?;
        if !is_roots(&program.metadata().during("look at", &path)?) {
            return refused("others than root can change its program");
        }
        if !is_roots(&fs::metadata(below(&self.root(), &self.main)).during("look at", &self.main)?) {
            return refused("others than root can change its configuration");
        }
        Ok(program)
    }

    /// Whether it may read these files and folders, as it names them, going by their modes: it has given up being root
    /// (`user` in its main file) after it has read them for the first time.
    ///
    /// # Errors
    /// The first that it may not read.
    pub fn may_read<'a>(&self, paths: impl IntoIterator<Item = &'a Path>) -> Result<()> {
        for path in paths {
            let metadata = fs::metadata(below(&self.root(), path)).during("look at", path)?;
            let needed = if metadata.is_dir() { 0o5 } else { 0o4 };
            if !self.has(&metadata, needed) {
                let who = format!("it runs as user {}, who may not read that file", self.user);
                return Err(
                    Error::new("make nbd-server read", path, who).hint("make it readable for everybody")
                );
            }
        }
        Ok(())
    }

    fn has(&self, file: &Metadata, needed: u32) -> bool {
        let mode = file.mode();
        let granted = if self.user == 0 {
            0o7
        } else if self.user == file.uid() {
            mode >> 6
        } else if self.groups.contains(&file.gid()) {
            mode >> 3
        } else {
            mode
        };
        granted & needed == needed
    }
}

/// The main file that a command line names, and whether it has operands. Options as in
/// nbd-server.c's `cmdline`: those with a value are C, l, o, p and M.
fn command_line(text: &[u8]) -> (PathBuf, bool) {
    let mut words = text.split(|byte| *byte == 0).map(OsStr::from_bytes).skip(1);
    let mut main = PathBuf::from(MAIN);
    let mut has_operands = false;
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        if let Some(long) = bytes.strip_prefix(b"--") {
            let (name, value) = match long.iter().position(|byte| *byte == b'=') {
                Some(at) => (&long[..at], Some(OsString::from_vec(long[at + 1..].to_vec()))),
                None => (long, None),
            };
            let takes_value =
                [&b"config-file"[..], b"authorize-file", b"pid-file", b"output-config", b"max-connection"]
                    .into_iter()
                    .find(|option| !name.is_empty() && option.starts_with(name));
            let Some(option) = takes_value else { continue };
            let value = value.or_else(|| words.next().map(OsStr::to_owned));
            // Shorter ones could mean --copy-on-write.
            if option == b"config-file" && name.len() > 2 {
                main = value.unwrap_or_default().into();
            }
        } else if let Some(short @ [_, ..]) = bytes.strip_prefix(b"-") {
            let Some(at) = short.iter().position(|letter| b"ClopM".contains(letter)) else { continue };
            let rest = OsStr::from_bytes(&short[at + 1..]);
            let value = if rest.is_empty() { words.next().unwrap_or_default() } else { rest };
            if short[at] == b'C' {
                main = value.into();
            }
        } else {
            has_operands |= !word.is_empty();
        }
    }
    (main, has_operands)
}

/// The identity of a namespace of the process in this folder; `None` if we may not see it.
/// Root's, or in tests our own.
fn is_roots(file: &Metadata) -> bool {
    (file.uid() == 0 || file.uid() == geteuid().as_raw()) && file.mode() & 0o022 == 0
}

fn namespace(process: &Path, kind: &str) -> Option<PathBuf> {
    fs::read_link(process.join("ns").join(kind)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tnbd-server\nState:\tS (sleeping)\nUid:\t0\t102\t0\t0\n\
                          Gid:\t0\t105\t0\t0\nGroups:\t7 8 \nSigCgt:\t0000000000014003\n";

    fn process(comm: &str, status: &str, command_line: &str) -> Option<Process> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("comm", comm), ("status", status), ("cmdline", command_line)] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Process::read(Pid::INIT, dir.path().to_owned())
    }

    // N11
    #[test]
    fn only_a_living_process_of_exactly_that_name_counts() {
        assert!(process("nbd-server\n", STATUS, "nbd-server\0").is_some());
        for comm in ["xnbd-server\n", "nbd-server-x\n", "nbd-client\n"] {
            assert!(process(comm, STATUS, "nbd-server\0").is_none(), "{comm}");
        }
        let dead = STATUS.replace("S (sleeping)", "Z (zombie)");
        assert!(process("nbd-server\n", &dead, "").is_none());
    }

    #[test]
    fn the_process_that_accepts_connections_is_known_by_its_handler() {
        assert!(process("nbd-server\n", STATUS, "nbd-server\0").unwrap().catches_hangup);
        let serving = STATUS.replace("14003", "14002");
        assert!(!process("nbd-server\n", &serving, "nbd-server\0").unwrap().catches_hangup);
    }

    #[test]
    fn its_command_line_tells_the_main_file() {
        let cases = [
            ("nbd-server", MAIN, false),
            ("nbd-server -d", MAIN, false),
            ("nbd-server -C /a", "/a", false),
            ("nbd-server -dC/a", "/a", false),
            ("nbd-server -p /pid -C /a", "/a", false),
            ("nbd-server -p -C", MAIN, false),
            ("nbd-server --config-file /a", "/a", false),
            ("nbd-server --conf=/a", "/a", false),
            ("nbd-server --pid-file /p", MAIN, false),
            ("nbd-server 0 /f -C /dev/null", "/dev/null", true),
            ("nbd-server 10810", MAIN, true),
        ];
        for (line, main, has_operands) in cases {
            let line = format!("{}\0", line.replace(' ', "\0"));
            assert_eq!(command_line(line.as_bytes()), (PathBuf::from(main), has_operands), "{line}");
        }
    }

    #[test]
    fn what_it_may_read_depends_on_its_user_and_groups() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.conf");
        fs::write(&path, "").unwrap();
        let owner = fs::metadata(&path).unwrap();
        let (user, group) = (owner.uid(), owner.gid());
        let cases = [
            (user + 1, Vec::new(), 0o600, false),
            (user + 1, Vec::new(), 0o644, true),
            (user + 1, vec![group], 0o640, true),
            (user + 1, vec![group], 0o604, false),
            (0, Vec::new(), 0o000, true),
        ];
        for (user, groups, mode, may) in cases {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let mut process = process("nbd-server\n", STATUS, "nbd-server\0").unwrap();
            (process.user, process.groups, process.proc) = (user, groups, "/proc/self".into());
            assert_eq!(process.may_read([&*path]).is_ok(), may, "{user} {mode:o}");
        }
    }
}
