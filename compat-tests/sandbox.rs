//! One case in namespaces of its own: this program starts itself as the first process in them.
//!
//! When that process ends, for whatever reason, the kernel ends everything that it has started, unmounts what
//! is mounted and frees the loop devices. It ends at the latest when the runner does.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ltsp_core::error::{During, Error, Result};
use rustix::fs::Mode;
use serde_json::{Value, json};

use crate::case::Case;
use crate::leftovers::Before;
use crate::machine::{self, Plan, Programs, STAGE};
use crate::observe::Observer;
use crate::program;
use crate::snapshot::{self, Node};
use crate::tree::Trees;
use crate::world::World;

/// The first argument by which [`run`] starts this program.
pub const INSIDE: &str = "--inside";

/// All that a run showed, to be compared with an expectation or with another program's outcome.
pub struct Outcome {
    pub observed: Value,
    pub stdout: String,
    pub stderr: String,
}

/// Runs one case, given as the text of its file, on a machine of its own.
///
/// # Errors
/// The machine cannot be made or looked at; a program that fails is no error.
pub fn run(plan: &Plan, trees: &Path, case: &str) -> Result<Outcome> {
    let this = std::env::current_exe().during("find", "this program")?;
    let mut child = Command::new("env")
        // Without the signals that a background job of a shell ignores: cases send some of them.
        .args(["--default-signal", "setpriv", "--pdeathsig", "KILL"])
        .args(["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child"])
        .arg(this)
        .arg(INSIDE)
        .args([plan.root.as_path(), plan.mount_point.as_path(), trees])
        .args(plan.programs.words())
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .during("start", "env")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(case.as_bytes()).during("hand over", "the case")?;
    }
    let output = child.wait_with_output().during("wait for", "the sandbox")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::action("run the case", format!("{} ({})", said.trim_end(), output.status)));
    }
    let result: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| Error::action("read the sandbox's result", error.to_string()))?;
    let text = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
    Ok(Outcome { observed: result["observed"].clone(), stdout: text("stdout"), stderr: text("stderr") })
}

/// The part inside the namespaces: makes the machine, runs the case, prints the outcome.
///
/// # Errors
/// As for [`run`].
pub fn inside(arguments: &[std::ffi::OsString]) -> Result<()> {
    let [root, mount_point, trees, kind, programs] = arguments else {
        return Err(Error::said("this is not how the sandbox is started"));
    };
    let programs = Programs::from_words(kind, programs)
        .ok_or_else(|| Error::said("the sandbox is asked for programs that it does not know"))?;
    let plan = Plan { root: root.into(), mount_point: mount_point.into(), programs };
    // No terminal, whatever the runner was started from.
    rustix::process::setsid().during("leave", "the session")?;
    rustix::process::umask(Mode::empty());
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).during("read", "the case")?;
    let case = Case::parse(&text).map_err(Error::said)?;
    let trees = Trees::load(Path::new(trees))?;

    let lower = machine::enter(&plan, &case.keep)?;
    let setup_begins = Node::look_at(Path::new(STAGE))?.ctime;
    let world = World::set_up(&case.setup, &trees)?;
    let files_before = snapshot::take(setup_begins)?;
    let before = Before::take()?;

    let finished = program::run(&case, world.stand_ins.shims.as_ref())?;
    before.wait(Duration::from_secs_f64(case.settle), &world.stand_ins.processes)?;

    let leftovers = before.collect(&world.mounts)?;
    let files_after = snapshot::take((i64::MAX, 0))?;
    let observer = Observer {
        case: &case,
        world: &world,
        lower: &lower,
        before: &files_before,
        after: &files_after,
        leftovers: &leftovers,
    };
    let observed = observer.observe(&finished)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let result =
        json!({"observed": observed, "stdout": text(&finished.stdout), "stderr": text(&finished.stderr)});
    println!("{result}");
    Ok(())
}
