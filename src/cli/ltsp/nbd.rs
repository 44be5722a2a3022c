//! `ltsp nbd`: the images as exports of nbd-server.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Failure, Outcome};
use crate::cli::getopt::OptionSpec;
use crate::config::modern::{self, Globals};
use crate::config::settings::NbdSettings;
use crate::error::{Error, Result, shown};
use crate::site::{Site, Start, hooks::When};
use crate::sys::coprocess::Output;

/// It has none.
const OPTIONS: &[OptionSpec<()>] = &[];

pub(super) fn help_text() -> String {
    "\
Usage: ltsp [OPTION]... nbd

Writes an export for each image in the base directory to
/etc/nbd-server/conf.d, and has nbd-server serve it. Clients then boot with
nbdroot=SERVER:BASE_DIR/NAME, as they did with LTSP 5. Exports that exist are
kept; `ltsp --overwrite nbd` writes them anew.

nbd-server runs as a user of its own, who must be able to enter the folder of
images: chmod 711 BASE_DIR/images.

Examples:
  ltsp nbd
  ltsp --base-dir=/opt/ltsp --overwrite nbd

Settings: BASE_DIR, OVERWRITE, PRE_NBD_* and POST_NBD_* in the environment or
in /etc/ltsp/ltsp.conf.
See ltsp(8) and ltsp-nbd(8).
"
    .to_owned()
}

pub(super) fn main(globals: &Globals, words: Vec<OsString>) -> Outcome {
    let line = super::parsed("nbd", OPTIONS, words, help_text)?;
    if let Some(operand) = line.operands.first() {
        let error = Error::said(format!("{} is one word too many: it exports all images", shown(operand)));
        return Err(Failure::Usage(vec![error], help_text()));
    }
    crate::cli::require_root()?;
    let start = Start { applet: "nbd", globals, output: Output::Ours, dry_run: false };
    let mut site = Site::load(start, super::places(), std::env::vars_os())?;
    site.run_hooks(When::Before)?;
    let settings = settings(&site)?;
    warn_of_closed_folder(&settings.base.join("images"));
    crate::nbd::configure(&settings)?;
    site.run_hooks(When::After)?;
    Ok(())
}

/// Existing files are kept unless OVERWRITE says otherwise: somebody may have edited them.
fn settings(site: &Site) -> Result<NbdSettings> {
    Ok(NbdSettings {
        base: modern::directory(&site.variables, "BASE_DIR")?,
        overwrite: site.variables.get("OVERWRITE").is_some_and(|value| value == "1"),
        quiet: false,
    })
}

/// `ltsp image` makes the folder for root alone, as NFS needs no more (I31, O5).
fn warn_of_closed_folder(images: &Path) {
    let Ok(metadata) = images.metadata() else { return };
    if metadata.permissions().mode() & 0o001 == 0 {
        log::warn!(
            "only root can enter {0}: nbd-server, which runs as another user, cannot serve what is in it\n\
             hint: chmod 711 {0}",
            shown(images)
        );
    }
}
