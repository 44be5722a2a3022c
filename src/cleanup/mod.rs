//! What turns a writable view of a chroot into one that may be published: without accounts, host keys,
//! logs and caches (section 6 of the specification).
//!
//! A chroot with LTSP 5 inside brings a program for this, which then does it alone. For any other
//! chroot the same is done here, step by step; each step can be used by itself.

pub mod accounts;
pub mod boot;
pub mod histories;
pub mod keys;
pub mod logs;
pub mod machine_id;
pub mod modern;
pub mod network;
pub mod network_secrets;
pub mod packages;
pub mod renewal;
pub mod system_accounts;

mod account_file;
mod inside;
mod login_defs;
mod steps;
mod walk;

pub use login_defs::Ranges;

use crate::error::{Error, Result, shown};
use crate::sys::command::Changes;
use crate::sys::confined::Root;
use crate::sys::signals;

use inside::Inside;

/// The chroot's own program (U50, U59).
const PROGRAM: &str = "/usr/share/ltsp/ltsp-cleanup";

/// Cleans `root`, a writable view; its [name](Root::name) is that of the chroot. The process has to be
/// allowed to call chroot(2).
///
/// Programs of the chroot get our environment with `changes` (S8), only with a `PATH` and a `HOME` of
/// their own; nothing is mounted for them (C27).
///
/// # Errors
/// When the chroot's own program fails: its exit status is the error's (U59). Otherwise, after every
/// step had its turn, when one has failed that removes accounts or keys or belongs to the admin (D18);
/// other failed steps are only warned about. At once when a signal comes.
pub fn clean(root: &Root, changes: &Changes) -> Result<()> {
    let inside = Inside::new(root, changes);
    if root.is_executable(PROGRAM)? {
        run_its_program(&inside)?;
    } else {
        log::warn!("there is no executable {}: cleaning up without it", shown(root.shown(PROGRAM)));
        steps::run(&inside)?;
    }
    accounts::remove_backups(root)
}

fn run_its_program(inside: &Inside) -> Result<()> {
    let failed = |error: Error| {
        let status = error.status();
        Error::said(format!("the cleanup of {} failed: {error}", shown(inside.root.name())))
            .with_status(status)
    };
    match inside.command(PROGRAM).arg("--yes").status() {
        Ok(finished) => finished.check().map(drop).map_err(failed),
        Err(error) => {
            signals::check()?;
            Err(failed(error).hint("the programs of the chroot have to run on this machine"))
        }
    }
}
