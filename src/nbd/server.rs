//! Bringing new exports to nbd-server, whether it runs or not.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::error::{Result, shown};
use crate::nbd::process::Process;
use crate::nbd::reload::{Reload, reload};
use crate::nbd::service;
use crate::sys::signals;

/// What was written in `conf.d`.
#[derive(Debug, Default)]
pub struct Changes {
    /// The names of sections that a running nbd-server may not have.
    pub added: Vec<OsString>,
    /// The files with another text for a section that it has.
    pub changed: Vec<PathBuf>,
}

impl Changes {
    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty()
    }
}

/// Starts nbd-server if it does not run (N11); if it does, makes it add the new exports. What it cannot
/// take up without a restart, which would disconnect its clients, is a warning (D34).
///
/// # Errors
/// When the processes cannot be listed, or a signal came.
pub fn tell(conf_d: &Path, changes: &Changes) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let running = Process::all(Path::new("/proc"))?;
    if running.is_empty() {
        return service::start();
    }
    if !changes.added.is_empty() {
        add(&running, conf_d, &changes.added)?;
    }
    if !changes.changed.is_empty() {
        let files: Vec<String> = changes.changed.iter().map(shown).collect();
        needs_restart(&format!("it goes on with what it had read before from {}", files.join(", ")));
    }
    Ok(())
}

fn add(running: &[Process], conf_d: &Path, names: &[OsString]) -> Result<()> {
    let names: Vec<&OsStr> = names.iter().map(OsString::as_os_str).collect();
    let mut reason = "no process of it accepts connections".to_owned();
    let mut ended = false;
    for process in running.iter().filter(|process| process.catches_hangup) {
        match reload(process, conf_d, &names) {
            Ok(Reload::Serves) => {
                log::info!("nbd-server serves the new exports; its clients stay connected");
                return Ok(());
            }
            Ok(Reload::Told) => {
                log::info!("nbd-server was told to read the new exports; its clients stay connected");
                return Ok(());
            }
            Ok(Reload::Failed) => reason = "it was told to read them, but does not serve them".to_owned(),
            Ok(Reload::Ended) => ended = true,
            Err(error) => {
                signals::check()?;
                reason = error.to_string().replace('\n', "; ");
            }
        }
    }
    if ended {
        // Each client has a process of its own, which goes on.
        log::warn!("nbd-server ended when it was told to read new exports; it is started again");
        return service::start();
    }
    needs_restart(&format!("it has not got the new exports ({reason})"));
    Ok(())
}

fn needs_restart(what: &str) {
    log::warn!(
        "nbd-server is running, and {what}\n\
         hint: `service nbd-server restart` helps, but disconnects every client: they have to be rebooted"
    );
}
