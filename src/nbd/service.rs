//! The service of nbd-server.

use rustix::fs::{Access, access};

use crate::error::{Error, Result};
use crate::sys::command::Command;
use crate::sys::signals;

/// What a distribution starts services with: it is there if this file can be executed, and is then run by
/// this name (N12). Debian's comes first: Debian has the generic one, too, which knows no policy-rc.d.
const TOOLS: [(&str, &str); 3] = [
    ("/usr/sbin/invoke-rc.d", "invoke-rc.d"),
    ("/sbin/rc-service", "rc-service"),
    ("/usr/sbin/service", "/usr/sbin/service"),
];

/// Starts nbd-server, which does not run. It is stopped before, as systemd may believe that it still does.
///
/// Where there is no such tool nothing is done, as in the original on Debian and Gentoo. That the
/// service cannot be started is a warning, for the exports have been written.
///
/// # Errors
/// Only when a signal came.
pub fn start() -> Result<()> {
    let Some((_, program)) = TOOLS.iter().find(|(file, _)| access(*file, Access::EXEC_OK).is_ok()) else {
        log::info!("Nothing here can start services; nbd-server is not running");
        return Ok(());
    };
    for action in ["stop", "start"] {
        if let Err(error) = run(program, action) {
            signals::check()?;
            log::warn!("{error}");
            break;
        }
    }
    Ok(())
}

fn run(program: &str, action: &str) -> Result<()> {
    let command = Command::new(program).arg("nbd-server").arg(action);
    let started = command.status()?;
    started.check().map(drop).map_err(|error: Error| error.hint("start nbd-server, or no client can boot"))
}
