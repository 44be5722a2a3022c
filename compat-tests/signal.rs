//! The signal that a case sends during its run: when, which and to whom.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::time::{Duration, Instant};

use ltsp_core::error::{During, Error, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::case::{Receiver, SignalPlan};
use crate::leftovers::processes;

const NAMES: [(&str, Signal); 11] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("ABRT", Signal::ABORT),
    ("KILL", Signal::KILL),
    ("USR1", Signal::USR1),
    ("SEGV", Signal::SEGV),
    ("USR2", Signal::USR2),
    ("PIPE", Signal::PIPE),
    ("ALRM", Signal::ALARM),
    ("TERM", Signal::TERM),
];

/// The name of a signal without `SIG`, as cases write it.
pub fn name(number: i32) -> String {
    match NAMES.iter().find(|(_, signal)| signal.as_raw() == number) {
        Some((name, _)) => (*name).to_owned(),
        None => number.to_string(),
    }
}

/// A signal not yet sent.
pub struct Pending<'a> {
    plan: &'a SignalPlan,
    signal: Signal,
    started: Instant,
    names_before: BTreeSet<OsString>,
    /// When it is to be sent, once the event has come.
    due: Option<Instant>,
}

impl<'a> Pending<'a> {
    /// To be called directly before the program starts.
    ///
    /// # Errors
    /// The signal has no known name.
    pub fn new(plan: &'a SignalPlan) -> Result<Self> {
        let Some((_, signal)) = NAMES.iter().find(|(name, _)| *name == plan.name) else {
            return Err(Error::said(format!("unknown signal {}", plan.name)));
        };
        let names_before = plan.when.new_file_in.as_deref().map(names).unwrap_or_default();
        Ok(Self { plan, signal: *signal, started: Instant::now(), names_before, due: None })
    }

    /// Sends the signal if its time has come; true when it is sent.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn poll(&mut self, process: Pid) -> Result<bool> {
        if self.due.is_none() && self.has_come() {
            self.due = Some(Instant::now() + Duration::from_secs_f64(self.plan.wait));
        }
        if self.due.is_none_or(|due| Instant::now() < due) {
            return Ok(false);
        }
        match self.plan.to {
            Receiver::Process => kill_process(process, self.signal),
            Receiver::Group => kill_process_group(process, self.signal),
        }
        .during("send a signal to", "the program")?;
        Ok(true)
    }

    fn has_come(&self) -> bool {
        let when = &self.plan.when;
        when.after.is_some_and(|seconds| self.started.elapsed().as_secs_f64() >= seconds)
            || when.new_file_in.as_deref().is_some_and(|path| !names(path).is_subset(&self.names_before))
            || when.process.as_ref().is_some_and(|name| processes().iter().any(|(_, known)| known == name))
    }
}

/// The names in a directory; none where there is no such directory yet.
fn names(directory: &str) -> BTreeSet<OsString> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name())).collect(),
        Err(_) => BTreeSet::new(),
    }
}
