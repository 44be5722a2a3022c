//! What goes before the writer on its command line so that a busy server stays usable.

use std::ffi::OsString;

use rustix::fs::Access;

use crate::error::Result;
use crate::sys::command::{self, Command};

/// `nice`, and `ionice` in the idle class where that is possible (U42, D11).
///
/// # Errors
/// When the trial of ionice is interrupted.
pub(super) fn words() -> Result<Vec<OsString>> {
    let mut words: Vec<OsString> = Vec::new();
    if executable("/usr/bin/nice") && command::exists("nice") {
        words.push("nice".into());
    }
    if executable("/usr/bin/ionice") && command::exists("ionice") {
        // In a container or under some schedulers the class cannot be set.
        let trial = Command::new("ionice").args(["-c3", "true"]).output()?;
        if trial.status.success() {
            words.extend(["ionice".into(), "-c3".into()]);
        }
    }
    Ok(words)
}

fn executable(path: &str) -> bool {
    rustix::fs::access(path, Access::EXEC_OK).is_ok()
}
