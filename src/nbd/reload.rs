//! Making a running nbd-server take up new exports without disturbing its clients.
//!
//! nbd-server since 3.3 reads its files again when it gets SIGHUP, and adds the sections whose names it
//! does not know yet. It never changes or drops one that it has (`append_new_servers` in nbd-server.c).
//! Each client is served by a process of its own, which goes on undisturbed. If a file cannot be read or
//! has a mistake, nothing at all is added, and only the log says so; hence the checks before. By then
//! nbd-server runs as the `user` of its main file, and may not be able to read what it has read at
//! its start.
//!
//! Releases 3.20 to 3.24 (Debian 11 and 12, Ubuntu 20.04 and 22.04) have a defect there. They
//! hand a wrong pointer to the function that clears the array of the sections they have read
//! (commit 199a5bc, corrected in 3.25 by bb9c47f). For each of the n sections the 32-bit number at 96
//! bytes behind its place in the array is decremented; with a few sections that lies in other objects.
//! Tried with Debian's 3.24: with 4 to 6 exports the first SIGHUP makes it refuse every
//! client, with 1 to 3 the second; mostly it dies at the next. The array's room is always a
//! power of two, so with 2^k + 1 sections, at least 33, nearly half of it is unused, and all the stray
//! decrements stay inside it: valgrind then finds no error. Therefore these releases get, during
//! the reload, a file with as many sections more as it takes, which export nothing.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs::{self, File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::error::{During, Error, Result, reason};
use crate::nbd::configuration::{self, Configuration, below};
use crate::nbd::process::Process;
use crate::nbd::release::Release;
use crate::nbd::{conf_d, probe};
use crate::sys::command;

/// How long to wait for the new exports. Reading a hundred files takes a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long to wait where we cannot ask the server what it has.
const BLIND: Duration = Duration::from_secs(2);

/// The least number of sections that keeps the defect harmless; `2^5 + 1`. The array then has room for 64
/// pointers: enough for the 96 bytes of a 64-bit build and for other layouts.
const HARMLESS: usize = 33;

/// The name of the padding. It is no `ltsp_*.conf`: that would say that this server uses NBD (U13).
const PADDING: &str = "ltsp-reload.conf";

/// What has come of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// It has all the exports.
    Serves,
    /// It was told, and runs; it cannot be asked what it has.
    Told,
    /// It was told, and runs, but it has not got the exports.
    Failed,
    /// It has ended.
    Ended,
}

/// Makes one nbd-server add the exports of these names, which lie in `conf_d`.
///
/// # Errors
/// When it would not read them; it has then not been told.
pub fn reload(process: &Process, conf_d: &Path, names: &[&OsStr]) -> Result<Reload> {
    let program = process.trusted_program()?;
    let root = process.root();
    let mut all = Configuration::read(&root, &process.main)?;
    let Some(include) = all.include.as_deref().filter(|include| is_same(&below(&root, include), conf_d))
    else {
        let reason = format!("it does not include {}", conf_d.display());
        return Err(Error::new("reload nbd-server from", &process.main, reason));
    };
    process.may_read(all.files.iter().map(PathBuf::as_path).chain([include]))?;

    let listening = &mut all.listening;
    listening.socket = listening.socket.as_deref().map(|socket| below(&root, socket));
    if process.has_operands || !process.shares_our_network() {
        listening.addresses.clear();
    }
    let before = probe::has(listening, names);
    if before == Some(true) {
        return Ok(Reload::Serves);
    }

    let padding = is_defective(process, &program)?.then(|| Padding::new(conf_d, all.sections)).transpose()?;
    let failed = |source| Error::action(format!("signal nbd-server (process {:?})", process.pid), source);
    let pidfd =
        pidfd_open(process.pid, PidfdFlags::empty()).map_err(|source| failed(reason(&source.into())))?;
    // The descriptor pins the process; that it still is the one we have looked at, we see now.
    if !Process::all(Path::new("/proc"))?.iter().any(|now| now.pid == process.pid && now.catches_hangup) {
        return Err(failed("it has ended".to_owned()));
    }
    pidfd_send_signal(&pidfd, Signal::HUP).map_err(|source| failed(reason(&source.into())))?;

    let started = Instant::now();
    let mut pause = Duration::from_millis(20);
    let outcome = loop {
        command::sleep(pause)?;
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        if matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..)) {
            break Reload::Ended;
        }
        match before {
            None if started.elapsed() > BLIND => break Reload::Told,
            None => {}
            Some(_) if probe::has(listening, names) == Some(true) => break Reload::Serves,
            Some(_) if started.elapsed() > PATIENCE => break Reload::Failed,
            Some(_) => {}
        }
        pause = (pause * 2).min(Duration::from_millis(500));
    };
    drop(padding);
    Ok(outcome)
}

/// Whether two paths lead to one folder; they may go through different roots.
fn is_same(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// Whether SIGHUP would damage the program that runs, even if its file has been replaced since. An
/// unknown release may have the defect, and the padding harms none.
fn is_defective(process: &Process, program: &File) -> Result<bool> {
    // Nothing else is run: a process can call itself what it likes.
    let name = fs::read_link(process.proc.join("exe")).unwrap_or_default();
    let release = match name.file_name() {
        // By the descriptor: the process may by now run another program.
        Some(name) if name.as_encoded_bytes().starts_with(b"nbd-server") => {
            Release::of(format!("/proc/self/fd/{}", program.as_raw_fd()))?
        }
        _ => None,
    };
    Ok(release.is_none_or(Release::reload_is_defective))
}

/// How many sections to add to so many; at least one.
fn missing(sections: usize) -> usize {
    let mut total = HARMLESS;
    while total <= sections {
        total = 2 * total - 1;
    }
    total - sections
}

/// Sections that export nothing. On drop their file is removed.
struct Padding {
    path: PathBuf,
}

impl Padding {
    fn new(conf_d: &Path, sections: usize) -> Result<Self> {
        let path = conf_d.join(PADDING);
        // One left behind by a killed run is among the sections counted, and is replaced.
        let left = configuration::groups(Path::new("/"), &path).map_or(0, |groups| groups.len());
        let mut text = String::from("# Here only while nbd-server reloads.\n");
        for index in 1..=missing(sections - left.min(sections)) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "[ltsp-reload-{index}]\nexportname = /nonexistent\nreadonly = true");
        }
        conf_d::write(&path, text.as_bytes(), None)?;
        let padding = Self { path };
        // Whatever the umask, nbd-server has to read it.
        let mode = Permissions::from_mode(0o644);
        fs::set_permissions(&padding.path, mode).during("set the mode of", &padding.path)?;
        Ok(padding)
    }
}

impl Drop for Padding {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!("{}", Error::io("remove", &self.path, error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nbd::real_server::{Client, RealServer, image};
    use std::os::unix::fs::symlink;

    fn export(conf_d: &Path, name: &str) {
        let path = conf_d.with_file_name(format!("{name}.img"));
        image(&path);
        let text = format!("[/x/{name}]\nexportname = {}\nreadonly = true\n", path.display());
        conf_d::write(&conf_d.join(format!("{name}.conf")), text.as_bytes(), None).unwrap();
    }

    // D34: without dropping clients. Releases with the defect fail here without the padding.
    #[test]
    fn a_client_goes_on_reading_while_one_export_after_the_other_is_added() {
        let server = RealServer::start(|conf_d| export(conf_d, "first"));
        let mut client = Client::connect(server.port, "/x/first");
        let mut names = vec!["/x/first".to_owned()];
        for number in 0..8 {
            assert_eq!(client.read(512), vec![1; 512]);
            export(&server.conf_d(), &number.to_string());
            let name = format!("/x/{number}");
            let process = server.process();
            assert!(process.catches_hangup);
            assert_eq!(reload(&process, &server.conf_d(), &[OsStr::new(&name)]).unwrap(), Reload::Serves);
            assert!(!server.conf_d().join(PADDING).exists());
            names.push(name);
            // Old and new ones are really served, not only known.
            for name in &names {
                assert_eq!(Client::connect(server.port, name).read(1024), vec![2; 512], "{name}");
            }
            assert_eq!(client.read(3 * 512), vec![3; 512]);
        }
        let serving: Vec<_> = Process::all(Path::new("/proc")).unwrap();
        assert!(
            serving.iter().any(|process| process.main == server.process().main && !process.catches_hangup)
        );
    }

    #[test]
    fn a_server_that_would_not_read_the_files_is_not_told() {
        let server = RealServer::start(|conf_d| export(conf_d, "first"));
        let refused = || {
            let names = [OsStr::new("/x/second")];
            let error = reload(&server.process(), &server.conf_d(), &names).unwrap_err().to_string();
            assert!(!server.conf_d().join(PADDING).exists());
            error
        };
        export(&server.conf_d(), "second");
        let broken = server.conf_d().join("broken.conf");
        fs::write(&broken, "[mine]\n").unwrap();
        assert!(refused().contains("[mine] has no valid exportname"));
        fs::write(&broken, "junk").unwrap();
        assert!(refused().contains("broken.conf: line 1"));
        fs::remove_file(&broken).unwrap();

        let elsewhere = tempfile::tempdir().unwrap();
        let error = reload(&server.process(), elsewhere.path(), &[]).unwrap_err().to_string();
        assert!(error.contains("does not include"), "{error}");
        // The way to the folder does not matter.
        let link = elsewhere.path().join("link");
        symlink(server.conf_d(), &link).unwrap();
        let names = [OsStr::new("/x/second")];
        assert_eq!(reload(&server.process(), &link, &names).unwrap(), Reload::Serves);
    }

    #[test]
    fn an_export_that_nobody_has_written_is_missed() {
        let server = RealServer::start(|conf_d| export(conf_d, "first"));
        let names = [OsStr::new("/x/none")];
        assert_eq!(reload(&server.process(), &server.conf_d(), &names).unwrap(), Reload::Failed);
        let names = [OsStr::new("/x/first")];
        assert_eq!(reload(&server.process(), &server.conf_d(), &names).unwrap(), Reload::Serves);
    }

    /// A process that is called nbd-server and does this when it gets SIGHUP. It is gone when dropped.
    struct Pretender(std::process::Child);

    impl Pretender {
        fn start(main: &Path, on_hangup: &str) -> Self {
            let script = format!(
                "printf nbd-server > /proc/self/comm; trap '{on_hangup}' HUP; while :; do sleep 0.05; done"
            );
            let child = std::process::Command::new("sh").args(["-c", &script, "sh", "-C"]).arg(main).spawn();
            Self(child.unwrap())
        }

        fn process(&self) -> Process {
            let pid = rustix::process::Pid::from_child(&self.0);
            // Only so that a failure ends.
            for _ in 0..1500 {
                let all = Process::all(Path::new("/proc")).unwrap();
                if let Some(ready) = all.into_iter().find(|one| one.pid == pid && one.catches_hangup) {
                    return ready;
                }
                command::sleep(Duration::from_millis(20)).unwrap();
            }
            panic!("waited in vain");
        }
    }

    impl Drop for Pretender {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    // D34
    #[test]
    fn an_end_is_noticed_and_silence_is_not_taken_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let conf_d = dir.path().join("conf.d");
        fs::create_dir(&conf_d).unwrap();
        let main = dir.path().join("config");
        fs::write(&main, format!("[generic]\nincludedir = {}\n", conf_d.display())).unwrap();
        for (on_hangup, outcome) in [("exit 1", Reload::Ended), (":", Reload::Told)] {
            let server = Pretender::start(&main, on_hangup);
            assert_eq!(reload(&server.process(), &conf_d, &[OsStr::new("/x")]).unwrap(), outcome);
            assert!(!conf_d.join(PADDING).exists());
        }
    }

    #[test]
    fn the_padding_makes_one_section_more_than_a_power_of_two() {
        for (sections, total) in [(0, 33), (1, 33), (32, 33), (33, 65), (64, 65), (65, 129), (1000, 1025)] {
            assert_eq!(sections + missing(sections), total);
        }
    }

    #[test]
    fn a_padding_that_was_left_behind_is_replaced_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PADDING);
        fs::write(&path, "[x]\nexportname = /x\n[y]\nexportname = /y\n").unwrap();
        let padding = Padding::new(dir.path(), 5).unwrap();
        assert_eq!(configuration::groups(Path::new("/"), &path).unwrap().len(), 30);
        drop(padding);
        assert!(!path.exists());
    }
}
