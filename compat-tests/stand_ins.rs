//! What stands in for the rest of a server: recording scripts for tools, and processes that run meanwhile.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ltsp_core::error::{During, Error, Result};
use rustix::fs::{FlockOperation, fcntl_lock};

use crate::entry::put;
use crate::machine::STAGE;
use crate::setup::{File, Process, Shim, Shims};

/// What was put in place, and what it noted.
pub struct StandIns {
    pub shims: Option<Recorder>,
    pub processes: Vec<Child>,
}

/// The scripts of a case and their common log.
pub struct Recorder {
    /// To be put first in `PATH`.
    pub directory: PathBuf,
    log: PathBuf,
}

/// # Errors
/// A script cannot be written.
pub fn write_shims(shims: &Shims) -> Result<Recorder> {
    let stage = Path::new(STAGE);
    let recorder = Recorder { directory: stage.join("shims"), log: stage.join("shims.log") };
    let real = stage.join("real");
    for directory in [&recorder.directory, &real] {
        fs::create_dir(directory).during("create", directory)?;
    }
    fs::write(&recorder.log, "").during("create", &recorder.log)?;
    // Cases may run as any user.
    fs::set_permissions(&recorder.log, fs::Permissions::from_mode(0o666)).during("chmod", &recorder.log)?;

    let described: Vec<(String, Shim)> = match shims {
        Shims::Names(names) => names.iter().map(|name| (name.clone(), Shim::default())).collect(),
        Shims::Described(described) => described.0.clone(),
    };
    for (name, shim) in described {
        let script = script(&name, &shim, &recorder.log, &real);
        let mut places = vec![recorder.directory.join(&name)];
        for directory in ["/usr/sbin", "/usr/bin"] {
            let existing = Path::new(directory).join(&name);
            if existing.exists() {
                fs::copy(&existing, real.join(&name)).during("copy", &existing)?;
                fs::remove_file(&existing).during("remove", &existing)?;
                places.push(existing);
            }
        }
        for place in places {
            fs::write(&place, &script).during("write", &place)?;
            fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).during("chmod", &place)?;
        }
    }
    Ok(recorder)
}

/// Each call is noted as its number of words, then the words, all ended by NUL.
fn script(name: &str, shim: &Shim, log: &Path, real: &Path) -> String {
    let mut text = format!(
        "#!/bin/sh\nprintf '%s\\0' $(($# + 1)) {} \"$@\" >> {}\n",
        quoted(name),
        quoted(&log.to_string_lossy())
    );
    if shim.delay > 0.0 {
        text.push_str(&format!("sleep {}\n", shim.delay));
    }
    if !shim.stdout.is_empty() {
        text.push_str(&format!("printf %s {}\n", quoted(&shim.stdout)));
    }
    if !shim.stderr.is_empty() {
        text.push_str(&format!("printf %s {} >&2\n", quoted(&shim.stderr)));
    }
    if shim.exec {
        text.push_str(&format!("exec {} \"$@\"\n", quoted(&real.join(name).to_string_lossy())));
    }
    text.push_str(&format!("exit {}\n", shim.exit));
    text
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

impl Recorder {
    /// What service managers were asked, as `ACTION UNIT`, in order; the three tools read alike, and a stop
    /// followed at once by a start of the same unit reads `restart`.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn services(&self) -> Result<Vec<String>> {
        let log = fs::read(&self.log).during("read", &self.log)?;
        let mut words = log.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        let mut requests: Vec<(String, String)> = Vec::new();
        while let Some(Ok(count)) = words.next().map(|count| count.parse::<usize>()) {
            let call: Vec<String> = words.by_ref().take(count).collect();
            for request in requests_of(&call) {
                match requests.last_mut() {
                    Some((action, unit))
                        if action == "stop" && request == ("start".to_owned(), unit.clone()) =>
                    {
                        "restart".clone_into(action);
                    }
                    _ => requests.push(request),
                }
            }
        }
        Ok(requests.into_iter().map(|(action, unit)| format!("{action} {unit}")).collect())
    }
}

fn requests_of(call: &[String]) -> Vec<(String, String)> {
    let Some((tool, arguments)) = call.split_first() else { return Vec::new() };
    let mut plain = arguments.iter().filter(|word| !word.starts_with('-')).cloned();
    let first = plain.next();
    let rest: Vec<String> = plain.collect();
    match (tool.as_str(), first) {
        ("service" | "invoke-rc.d", Some(unit)) => {
            vec![(rest.first().cloned().unwrap_or_default(), unit)]
        }
        ("systemctl", Some(action)) if rest.is_empty() => vec![(action, String::new())],
        ("systemctl", Some(action)) => {
            let bare = |unit: &String| unit.strip_suffix(".service").unwrap_or(unit).to_owned();
            rest.iter().map(|unit| (action.clone(), bare(unit))).collect()
        }
        _ => Vec::new(),
    }
}

/// Starts this program once for each process, under that process's name.
///
/// # Errors
/// One cannot be started, or does not get its lock.
pub fn start_processes(processes: &[Process]) -> Result<Vec<Child>> {
    let directory = Path::new(STAGE).join("processes");
    if !processes.is_empty() {
        fs::create_dir(&directory).during("create", &directory)?;
    }
    let mut children = Vec::new();
    for process in processes {
        let program = directory.join(&process.name);
        fs::copy("/proc/self/exe", &program).during("copy this program to", &program)?;
        let description = serde_json::to_string(process).map_err(|error| Error::said(error.to_string()))?;
        let mut child = Command::new(&program)
            .args([STAND_IN, &description])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .during("start", &program)?;
        // It says a line when it is ready.
        let stdout = child.stdout.take().ok_or_else(|| Error::said("a process has no standard output"))?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).during("hear from", &program)?;
        if line.is_empty() {
            return Err(Error::new("start", &program, "it ended before it was ready"));
        }
        children.push(child);
    }
    Ok(children)
}

/// The first argument by which [`start_processes`] starts this program.
pub const STAND_IN: &str = "--stand-in";

/// The life of a process of the setup.
///
/// # Errors
/// The lock is not to be had, or a file cannot be written.
pub fn stand_in(description: &str) -> Result<()> {
    let process: Process =
        serde_json::from_str(description).map_err(|error| Error::said(error.to_string()))?;
    // Caught and forgotten: the process lives on.
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::new(AtomicBool::new(false)))
        .during("catch", "SIGHUP")?;
    let mut held = None;
    if let Some(path) = &process.lock {
        let file = fs::OpenOptions::new().read(true).write(true).open(path).during("open", path)?;
        fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).during("lock", path)?;
        held = Some(file);
    }
    println!("ready");
    // Longer than any case.
    std::thread::sleep(Duration::from_secs_f64(process.seconds.unwrap_or(3600.0)));
    for (path, file) in &process.then {
        let file: File =
            serde_json::from_value(file.clone()).map_err(|error| Error::said(error.to_string()))?;
        put(Path::new(path), &file.entry(), Path::new("/"))?;
    }
    drop(held);
    Ok(())
}
