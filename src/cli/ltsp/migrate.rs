//! `ltsp migrate`: the settings of LTSP 5 as an `ltsp.conf`, on standard output.

use std::ffi::OsString;

use super::{Failure, Outcome};
use crate::cli::getopt::OptionSpec;
use crate::config::modern::Globals;
use crate::error::{Error, shown};
use crate::migrate::Legacy;
use crate::report;

/// It has none.
const OPTIONS: &[OptionSpec<()>] = &[];

pub(super) fn help_text() -> String {
    "\
Usage: ltsp [OPTION]... migrate

Reads the settings of LTSP 5 (/etc/ltsp/ltsp-server.conf, and the files of
ltsp-update-image and ltsp-update-kernels) and prints an ltsp.conf with which
`ltsp image` and `ltsp kernel` do the same. Comments in it tell what has no
counterpart. It writes to no file.

Examples:
  ltsp migrate                       look at it first
  ltsp migrate >/etc/ltsp/ltsp.conf  if there is no such file yet

See ltsp(8) and ltsp-migrate(8).
"
    .to_owned()
}

pub(super) fn main(_globals: &Globals, words: Vec<OsString>) -> Outcome {
    report::keep_output_for_results();
    let line = super::parsed("migrate", OPTIONS, words, help_text)?;
    if let Some(operand) = line.operands.first() {
        let error = Error::said(format!("{} is one word too many", shown(operand)));
        return Err(Failure::Usage(vec![error], help_text()));
    }
    let places = super::places();
    let (found, warnings) = Legacy::read(places.etc, places.owner)?;
    for warning in warnings {
        log::warn!("{warning}");
    }
    crate::cli::print(&found.ltsp_conf()).map_err(|mut errors| Failure::Failed(errors.remove(0)))
}
