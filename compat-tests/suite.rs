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
use crate::live;
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
    pub basis: Basis,
    /// The differences that must be found, no more and no fewer; each begins as given here. None but in tests of
    /// the runner itself.
    pub reports: Vec<String>,
}

/// What an outcome is compared with.
#[derive(Clone, Copy, PartialEq)]
pub enum Basis {
    /// What the case expects.
    Case,
    /// What the installed original shows in a run of its own, on an equal machine.
    Live,
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
    let mut live = if replacement { cases(&tests.join("live"))? } else { Vec::new() };
    for check in &mut live {
        check.name.insert_str(0, "live/");
        check.basis = Basis::Live;
    }
    if replacement {
        live.extend(self_test::live_checks());
    }
    let mut groups = [
        Group { title: "self-test", machine: Machine::Ltsp5, checks: planted },
        Group { title: "recorded", machine: Machine::Ltsp5, checks: recorded },
        Group { title: "recorded from the modern LTSP", machine: Machine::Ltsp19, checks: modern },
        Group { title: "live against the modern LTSP", machine: Machine::Ltsp19, checks: live },
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
            let (name, title) = (case.id, case.title);
            checks.push(Check { name, title, case: text, basis: Basis::Case, reports: Vec::new() });
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
    let complaints = judge(check, plan, trees, standard).unwrap_or_else(|reason| vec![reason]);
    Done { check, seconds: started.elapsed().as_secs_f64(), complaints }
}

/// What is wrong with one check; nothing if it has passed.
fn judge(
    check: &Check,
    plan: &Plan,
    trees: &Path,
    standard: Standard,
) -> std::result::Result<Vec<String>, String> {
    let run = |plan: &Plan| sandbox::run(plan, trees, &check.case).map_err(|error| error.to_string());
    let case = Case::parse(&check.case)?;
    let (found, outcomes) = match check.basis {
        Basis::Case => {
            let outcome = run(plan)?;
            (differences(&case.expectation(standard), &outcome), vec![("", outcome)])
        }
        Basis::Live => {
            let (original, ours) = (run(&plan.of_original())?, run(plan)?);
            (live::differences(&case, &original, &ours), vec![("original: ", original), ("", ours)])
        }
    };
    let as_wanted = found.len() == check.reports.len()
        && found.iter().zip(&check.reports).all(|(difference, start)| difference.starts_with(start));
    if as_wanted {
        return Ok(Vec::new());
    }
    let wanted = check.reports.iter().map(|start| format!("was to be reported: {start}"));
    let mut complaints: Vec<String> = wanted.chain(found).collect();
    for (whose, outcome) in &outcomes {
        for (name, text) in [("standard output", &outcome.stdout), ("standard error", &outcome.stderr)] {
            complaints.extend(text.lines().map(|line| format!("{whose}{name}: {line}")));
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
