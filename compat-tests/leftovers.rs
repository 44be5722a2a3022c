//! What a run may leave behind besides files: mounts, loop devices, temporary entries, processes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use ltsp_core::error::{During, Error, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::snapshot::kind_name;

/// Directories whose new entries count as temporary.
pub const TEMPORARY: [&str; 3] = ["/tmp", "/run", "/var/tmp"];

/// What every `mount` and lock may leave there does not count, nor does the original's log of messages.
pub const UNCOUNTED: [&str; 3] = ["/run/mount", "/run/lock", "/run/ltsp/debug.log"];

/// The state of the machine before the run.
pub struct Before {
    mounts: Vec<Mounted>,
    loops: BTreeSet<String>,
    temporary: BTreeSet<PathBuf>,
    processes: BTreeSet<i32>,
}

/// What is left of the run.
pub struct Leftovers {
    pub observed: Value,
    /// Mounts of the setup that are gone.
    pub unmounted: Vec<String>,
    /// New entries of the temporary directories.
    pub temporary: BTreeSet<PathBuf>,
}

#[derive(Clone, PartialEq)]
struct Mounted {
    path: String,
    kind: String,
    /// `major:minor` of its file system.
    device: String,
}

impl Before {
    /// # Errors
    /// The mount table, the loop devices or a directory cannot be read.
    pub fn take() -> Result<Self> {
        Ok(Self {
            mounts: mounts()?,
            loops: loops()?,
            temporary: temporary_entries()?,
            processes: processes().into_iter().map(|(pid, _)| pid).collect(),
        })
    }

    /// Gives helpers of the program `settle` to end; no longer than they need, unless processes of the
    /// setup, which may still do something, are there.
    ///
    /// # Errors
    /// As for [`Before::take`].
    pub fn wait(&self, settle: Duration, stand_ins: &[Child]) -> Result<()> {
        let deadline = Instant::now() + settle;
        loop {
            let quiet =
                stand_ins.is_empty() && self.new_processes().is_empty() && self.new_loops()?.is_empty();
            if quiet || Instant::now() >= deadline {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Names what is left, then ends and detaches it: what still writes cannot be looked at, and nothing may
    /// outlive the case.
    ///
    /// # Errors
    /// As for [`Before::take`].
    pub fn collect(&self, of_setup: &[String]) -> Result<Leftovers> {
        let now = mounts()?;
        let mut left: Vec<Value> = Vec::new();
        let mut unmatched = self.mounts.clone();
        for mounted in &now {
            match unmatched.iter().position(|known| known == mounted) {
                Some(index) => drop(unmatched.remove(index)),
                None => left.push(json!({"path": starred(&mounted.path), "type": mounted.kind})),
            }
        }
        let gone = |path: &&String| !now.iter().any(|mounted| mounted.path == **path);
        let unmounted = of_setup.iter().filter(gone).cloned().collect();

        let temporary: BTreeSet<PathBuf> =
            temporary_entries()?.difference(&self.temporary).cloned().collect();
        let mut kinds = Vec::new();
        for path in &temporary {
            let found = fs::symlink_metadata(path).during("look at", path)?;
            kinds.push(json!({"in": path.parent(), "type": kind_name(found.file_type())}));
        }

        let running = self.new_processes();
        let mut names: Vec<&String> = running.iter().map(|(_, name)| name).collect();
        names.sort();
        let loops = self.new_loops()?;
        let observed = json!({"mounts": left, "loops": loops.len(), "temporary": kinds, "processes": names});

        for (pid, _) in &running {
            // It may just have ended by itself.
            let _ = Pid::from_raw(*pid).map(|pid| kill_process(pid, Signal::KILL));
        }
        for device in loops {
            // Detaching fails where it is still mounted; then the end of the namespace does it.
            Command::new("losetup").args(["-d", &device]).output().during("start", "losetup")?;
        }
        Ok(Leftovers { observed, unmounted, temporary })
    }

    fn new_processes(&self) -> Vec<(i32, String)> {
        processes().into_iter().filter(|(pid, _)| !self.processes.contains(pid)).collect()
    }

    fn new_loops(&self) -> Result<BTreeSet<String>> {
        Ok(loops()?.difference(&self.loops).cloned().collect())
    }
}

/// Process ids and names of what runs on the machine; dead ones that nobody has waited for do not run.
pub fn processes() -> Vec<(i32, String)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    // A process that ends meanwhile is not there.
    numbers.filter_map(|pid| running_name(pid).map(|name| (pid, name))).collect()
}

fn running_name(pid: i32) -> Option<String> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // PID (NAME) STATE …, and the name may hold anything.
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let state = rest.trim_start().chars().next()?;
    (!matches!(state, 'Z' | 'X')).then(|| name.to_owned())
}

fn mounts() -> Result<Vec<Mounted>> {
    let path = "/proc/self/mountinfo";
    let text = fs::read_to_string(path).during("read", path)?;
    let mut mounts = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let kind = line.split(" - ").nth(1).and_then(|rest| rest.split(' ').next());
        if let ([_, _, device, _, at, ..], Some(kind)) = (fields.as_slice(), kind) {
            mounts.push(Mounted { path: unescaped(at), kind: kind.to_owned(), device: (*device).to_owned() });
        }
    }
    Ok(mounts)
}

/// Undoes the kernel's `\040` for blanks and the like.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escape, character)| text.replace(escape, character))
}

/// The loop devices bound to files of this machine. The kernel shows all loop devices to every namespace, so
/// they are told apart by the file system that the bound file is on.
fn loops() -> Result<BTreeSet<String>> {
    let output = Command::new("losetup")
        .args(["--list", "--noheadings", "-O", "NAME,BACK-MAJ:MIN"])
        .output()
        .during("start", "losetup")?;
    if !output.status.success() {
        return Err(Error::new("run", "losetup", String::from_utf8_lossy(&output.stderr)));
    }
    let devices: BTreeSet<String> = mounts()?.into_iter().map(|mounted| mounted.device).collect();
    let text = String::from_utf8_lossy(&output.stdout);
    let mut bound = BTreeSet::new();
    for line in text.lines() {
        if let [name, backing] = line.split_whitespace().collect::<Vec<_>>().as_slice() {
            if devices.contains(*backing) {
                bound.insert((*name).to_owned());
            }
        }
    }
    Ok(bound)
}

fn temporary_entries() -> Result<BTreeSet<PathBuf>> {
    let mut entries = BTreeSet::new();
    for directory in TEMPORARY {
        if !Path::new(directory).is_dir() {
            continue;
        }
        for entry in fs::read_dir(directory).during("list", directory)? {
            let path = entry.during("list", directory)?.path();
            if !UNCOUNTED.iter().any(|uncounted| path == Path::new(uncounted)) {
                entries.insert(path);
            }
        }
    }
    Ok(entries)
}

/// The path with a random name directly below a temporary directory written `*`.
fn starred(path: &str) -> String {
    for directory in TEMPORARY {
        let Some(rest) = path.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/')) else {
            continue;
        };
        let below = rest.split_once('/').map(|(_, below)| format!("/{below}")).unwrap_or_default();
        return format!("{directory}/*{below}");
    }
    path.to_owned()
}
