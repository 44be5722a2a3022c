//! Which cases there are, and running them, several at a time.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use ltsp_core::error::{During, Error, Result};
use serde_json::json;

use crate::case::{Case, Standard};
use crate::compare::differences;
use crate::machine::{Plan, Programs};
use crate::options::Options;
use crate::root_fs::Recipe;
use crate::sandbox::{self, Outcome};
use crate::self_test;
use crate::variants;

/// One case and what decides whether it passes.
pub struct Check {
    pub name: String,
    pub title: String,
    /// The text of the case.
    pub case: String,
    pub verdict: Verdict,
}

pub enum Verdict {
    /// What is observed is what the case expects.
    Matches,
    /// Exactly these differences are found; each begins as given here.
    Reports(Vec<String>),
}

/// Checks that have one kind of machine.
struct Group {
    title: &'static str,
    machine: Machine,
    checks: Vec<Check>,
}

/// Which root and which programs.
#[derive(Clone, Copy, PartialEq)]
enum Machine {
    Ltsp5,
    Ltsp19,
}

/// What became of one check.
struct Done<'a> {
    check: &'a Check,
    seconds: f64,
    /// None if it has passed.
    complaints: Vec<String>,
}

/// Runs what the options ask for; true if all has passed.
///
/// # Errors
/// The suite itself cannot work: no root rights, no root file system, a file that is no case.
pub fn run(options: &Options) -> Result<bool> {
    let tests = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/compat-tests"));
    let recorded = cases(&tests.join("recorded/ltsp5"))?;
    // What the original never promised is not asked of it.
    let replacement = options.standard == Standard::Replacement;
    let ours = if replacement { cases(&tests.join("ours"))? } else { Vec::new() };
    let mut ours_modern = if replacement { cases(&tests.join("ours-ltsp19"))? } else { Vec::new() };
    let basis = recorded.iter().find(|check| check.name == self_test::BASIS);
    let basis = basis.ok_or_else(|| Error::action("find the case", self_test::BASIS))?;
    let planted = self_test::checks(&basis.case).map_err(Error::said)?;

    let mut modern = cases(&tests.join("recorded/ltsp19"))?;
    let of_ltsp19 = modern.iter_mut().chain(&mut ours_modern);
    of_ltsp19.for_each(|check| check.name.insert_str(0, "ltsp19/"));
    let mut groups = [
        Group { title: "self-test", machine: Machine::Ltsp5, checks: planted },
        Group { title: "recorded", machine: Machine::Ltsp5, checks: recorded },
        Group { title: "recorded from the modern LTSP", machine: Machine::Ltsp19, checks: modern },
        Group { title: "our own", machine: Machine::Ltsp5, checks: ours },
        Group { title: "our own of the modern LTSP", machine: Machine::Ltsp19, checks: ours_modern },
    ];
    for group in &mut groups {
        group.checks.retain(|check| {
            options.filters.is_empty() || options.filters.iter().any(|filter| check.name.contains(filter))
        });
    }
    if options.list {
        for check in groups.iter().flat_map(|group| &group.checks) {
            println!("{}: test", check.name);
        }
        return Ok(true);
    }
    let (mut run, mut failed) = (0, 0);
    let trees = tests.join("recorded/trees");
    for Group { title, machine, checks } in groups.iter().filter(|group| !group.checks.is_empty()) {
        let plan = plan(options, *machine)?;
        if options.show {
            checks.iter().for_each(|check| show(check, &plan, &trees));
            continue;
        }
        let failures = run_all(checks, &plan, &trees, options)?;
        println!("{title}: {} passed, {failures} failed", checks.len() - failures);
        (run, failed) = (run + checks.len(), failed + failures);
    }
    if options.show {
        return Ok(true);
    }
    println!("{} passed, {failed} failed", run - failed);
    Ok(failed == 0)
}

/// The cases in a directory, in the order of their names.
fn cases(directory: &Path) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for item in fs::read_dir(directory).during("list", directory)? {
        let path = item.during("list", directory)?.path();
        let text = fs::read_to_string(&path).during("read", &path)?;
        let unreadable = |reason: String| Error::new("read the case", &path, reason);
        for text in variants::expanded(text).map_err(unreadable)? {
            let case = Case::parse(&text).map_err(unreadable)?;
            checks.push(Check { name: case.id, title: case.title, case: text, verdict: Verdict::Matches });
        }
    }
    checks.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(checks)
}

/// Prints what a case shows, for the author of its expectation.
fn show(check: &Check, plan: &Plan, trees: &Path) {
    match sandbox::run(plan, trees, &check.case) {
        Ok(Outcome { observed, stdout, stderr }) => {
            println!("{}", json!({"id": check.name, "expect": observed, "stdout": stdout, "stderr": stderr}))
        }
        Err(error) => eprintln!("{}: {error}", check.name),
    }
}

fn plan(options: &Options, machine: Machine) -> Result<Plan> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::said("the recorded cases need root: they mount file systems").hint("use sudo"));
    }
    let recipe = match machine {
        Machine::Ltsp5 => Recipe::ltsp5()?,
        Machine::Ltsp19 => Recipe::ltsp19()?,
    };
    let root = recipe.root(&options.cache)?;
    let mount_point = options.cache.join("mount-point");
    fs::create_dir_all(&mount_point).during("create", &mount_point)?;
    let programs = match (&options.programs, machine) {
        // The package's own.
        (_, Machine::Ltsp19) if options.standard == Standard::Original => Programs::Stock,
        (Some(directory), _) => Programs::Directory(fs::canonicalize(directory).during("find", directory)?),
        (None, Machine::Ltsp5) => Programs::Binary(PathBuf::from(env!("CARGO_BIN_EXE_ltsp-update-image"))),
        (None, Machine::Ltsp19) => Programs::Ltsp(PathBuf::from(env!("CARGO_BIN_EXE_ltsp"))),
    };
    Ok(Plan { root, mount_point, programs })
}

/// Runs the checks and prints each; returns how many have failed.
fn run_all(checks: &[Check], plan: &Plan, trees: &Path, options: &Options) -> Result<usize> {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let mut failed = 0;
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.min(checks.len()) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some(check) = checks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // The receiver lives as long as this scope.
                    let _ = sender.send(run_one(check, plan, trees, options.standard));
                }
            });
        }
        drop(sender);
        for done in receiver {
            report(&done);
            failed += usize::from(!done.complaints.is_empty());
        }
    });
    Ok(failed)
}

fn run_one<'a>(check: &'a Check, plan: &Plan, trees: &Path, standard: Standard) -> Done<'a> {
    let started = Instant::now();
    let complaints = match sandbox::run(plan, trees, &check.case) {
        Ok(outcome) => judge(check, standard, &outcome).unwrap_or_else(|reason| vec![reason]),
        Err(error) => vec![error.to_string()],
    };
    Done { check, seconds: started.elapsed().as_secs_f64(), complaints }
}

fn judge(check: &Check, standard: Standard, outcome: &Outcome) -> std::result::Result<Vec<String>, String> {
    let found = differences(&Case::parse(&check.case)?.expectation(standard), outcome);
    let mut complaints = match &check.verdict {
        Verdict::Matches => found,
        Verdict::Reports(starts) => {
            let fits = found.len() == starts.len()
                && found.iter().zip(starts).all(|(difference, start)| difference.starts_with(start));
            if fits {
                return Ok(Vec::new());
            }
            let wanted = starts.iter().map(|start| format!("was to be reported: {start}"));
            wanted.chain(found.iter().map(|difference| format!("was reported: {difference}"))).collect()
        }
    };
    if !complaints.is_empty() {
        for (name, text) in [("standard output", &outcome.stdout), ("standard error", &outcome.stderr)] {
            complaints.extend(text.lines().map(|line| format!("{name}: {line}")));
        }
    }
    Ok(complaints)
}

fn report(done: &Done<'_>) {
    let word = if done.complaints.is_empty() { "ok  " } else { "FAIL" };
    println!("{word} {}: {} ({:.1} s)", done.check.name, done.check.title, done.seconds);
    for complaint in &done.complaints {
        for line in complaint.lines() {
            println!("     {line}");
        }
    }
}
