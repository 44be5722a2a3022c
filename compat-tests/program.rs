//! One run of the program under test.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use ltsp_core::error::{During, Error, Result};
use rustix::fs::Mode;
use rustix::process::{Pid, Signal, kill_process_group, umask};
use serde_json::{Map, Value, json};

use crate::case::Case;
use crate::entry::octal;
use crate::machine::STAGE;
use crate::signal::{self, Pending};
use crate::stand_ins::Recorder;

/// What the program itself showed.
pub struct Finished {
    /// A number, or text where a signal or the time limit ended it.
    pub exit: Value,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// The same of each of the case's `commands`, by its text.
    pub commands: Map<String, Value>,
}

/// Runs the case's command line, or its `commands`, to the end.
///
/// # Errors
/// Something cannot be started; a program that fails is no error.
pub fn run(case: &Case, shims: Option<&Recorder>) -> Result<Finished> {
    if case.commands.is_empty() {
        return run_one(case, &case.argv, shims);
    }
    let (mut stdout, mut stderr, mut commands) = (Vec::new(), Vec::new(), Map::new());
    let mut exit = Value::Null;
    for line in &case.commands {
        let one = run_one(case, &["sh".to_owned(), "-c".to_owned(), line.clone()], shims)?;
        for (all, new) in [(&mut stdout, &one.stdout), (&mut stderr, &one.stderr)] {
            all.extend(format!("[{line}]\n").bytes());
            all.extend(new);
        }
        let seen = json!({
            "exit": one.exit, "stdout_empty": one.stdout.is_empty(), "stderr_empty": one.stderr.is_empty(),
        });
        if commands.insert(line.clone(), seen).is_some() {
            return Err(Error::new("run", line, "the case has this command twice"));
        }
        exit = one.exit;
    }
    Ok(Finished { exit, stdout, stderr, commands })
}

/// The longest pause between two looks at the program that counts as time in which it could run.
const TICK: Duration = Duration::from_millis(500);

fn run_one(case: &Case, argv: &[String], shims: Option<&Recorder>) -> Result<Finished> {
    let (stdout, stderr) = (Path::new(STAGE).join("stdout"), Path::new(STAGE).join("stderr"));
    let mut pending = case.signal.as_ref().map(Pending::new).transpose()?;
    // Only time in which this program runs, too, counts: a computer may sleep meanwhile.
    let (mut last, mut elapsed) = (Instant::now(), Duration::ZERO);
    let mut child = start(case, argv, shims, &stdout, &stderr)?;
    let pid = Pid::from_child(&child);
    let limit = Duration::from_secs_f64(case.timeout);

    let exit = loop {
        if let Some(status) = child.try_wait().during("wait for", "the program")? {
            break described(status);
        }
        elapsed += last.elapsed().min(TICK);
        last = Instant::now();
        if elapsed > limit {
            break end(&mut child, pid)?;
        }
        if let Some(signal) = &mut pending {
            if signal.poll(pid)? {
                pending = None;
            }
        }
        std::thread::sleep(Duration::from_millis(4));
    };
    // A program that fails by itself must not pass for one that the signal ended.
    let exit = if pending.is_some() { json!(format!("{exit} before the signal was sent")) } else { exit };
    Ok(Finished {
        exit,
        stdout: fs::read(&stdout).during("read", &stdout)?,
        stderr: fs::read(&stderr).during("read", &stderr)?,
        commands: Map::new(),
    })
}

fn start(
    case: &Case,
    argv: &[String],
    shims: Option<&Recorder>,
    stdout: &Path,
    stderr: &Path,
) -> Result<Child> {
    let setup = &case.setup;
    let (program, arguments) =
        argv.split_first().ok_or_else(|| Error::said("the case has no command line"))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(environment(&setup.env, shims))
        .current_dir(setup.cwd.as_deref().unwrap_or("/"))
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(fs::File::create(stdout).during("create", stdout)?)
        .stderr(fs::File::create(stderr).during("create", stderr)?);
    if let Some(uid) = setup.uid {
        // The standard library then also drops all further groups.
        command.uid(uid).gid(uid);
    }
    let mask = octal(setup.umask.as_deref().unwrap_or("0022"))?;
    let own = umask(Mode::from_raw_mode(mask));
    let child = command.spawn();
    umask(own);
    child.during("start", program)
}

fn environment(
    changes: &BTreeMap<String, Option<String>>,
    shims: Option<&Recorder>,
) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> =
        [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/root"), ("LANG", "C.UTF-8"), ("TERM", "dumb")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    for (name, value) in changes {
        match value {
            Some(value) => environment.insert(name.clone(), value.clone()),
            None => environment.remove(name),
        };
    }
    if let (Some(shims), Some(path)) = (shims, environment.get_mut("PATH")) {
        *path = format!("{}:{path}", shims.directory.display());
    }
    environment
}

fn described(status: ExitStatus) -> Value {
    match (status.code(), status.signal()) {
        (Some(code), _) => json!(code),
        (None, Some(number)) => json!(format!("signal {}", signal::name(number))),
        (None, None) => json!(status.to_string()),
    }
}

fn end(child: &mut Child, pid: Pid) -> Result<Value> {
    kill_process_group(pid, Signal::KILL).during("end", "the program")?;
    child.wait().during("wait for", "the program")?;
    Ok(json!("killed at the time limit"))
}
