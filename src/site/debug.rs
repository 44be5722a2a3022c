//! For admins who look for a mistake: messages about what is done, and a shell where a run has failed (F15).

use std::ffi::OsStr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Site;
use crate::error::{Error, Result};
use crate::report;
use crate::sys::command::Command;
use crate::sys::signals;

/// One failure travels through several hands.
static OPENED: AtomicBool = AtomicBool::new(false);

impl Site {
    /// From now on, the debug messages are those of this applet: they are shown if LTSP_DEBUG asks for them.
    pub fn debug_messages(&self) {
        self.debug_messages_of(self.applet);
    }

    /// The same of the front end itself.
    pub(super) fn debug_messages_of(&self, applet: &str) {
        report::debug(&self.variables.get("LTSP_DEBUG").unwrap_or_default().to_string_lossy(), applet);
    }

    /// With DEBUG_SHELL=1, tells what has failed and opens a shell on standard input, once; everything is
    /// still mounted then. `image` is an image's name, and its root, which becomes the working directory.
    ///
    /// # Errors
    /// When the shell was opened: the failure, which has been told, with its status. When it cannot be
    /// started.
    pub fn debug_shell(&self, failure: &Error, image: Option<(&OsStr, &Path)>) -> Result<()> {
        let wanted = self.variables.get("DEBUG_SHELL").is_some_and(|value| value == "1");
        // Whoever has stopped the run wants it to end.
        if !wanted || signals::caught().is_some() || OPENED.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        log::error!("{failure}");
        log::warn!("DEBUG_SHELL: the run ends when this shell does; what is mounted is visible in it alone");
        let mut command = Command::interactive("/bin/sh").env("PS1", "debug:$PWD\\$ ");
        for (name, value) in self.environment() {
            command = command.env(name, value);
        }
        if let Some((name, root)) = image {
            command = command.current_dir(root).env("_IMG_NAME", name).env("_COW_DIR", root);
        }
        command.to_errors()?;
        Err(Error::said("the run has failed, as told before the shell").with_status(failure.status()))
    }

    /// Opens that shell for a run that has failed elsewhere.
    ///
    /// # Errors
    /// The failure itself.
    pub fn debugged<T>(&self, outcome: Result<T>) -> Result<T> {
        if let Err(error) = &outcome {
            self.debug_shell(error, None)?;
        }
        outcome
    }
}
