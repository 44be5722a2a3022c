//! The command line of `nbdswapd`: one file, or nothing (N30–N33).

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::{Call, Outcome};
use crate::config::legacy;
use crate::config::settings::{SwapService, SwapSettings};
use crate::config::variables::{Variables, words};
use crate::error::{Error, Result, shown};

pub(super) const NAME: &str = "nbdswapd";

/// Set at the start, so that an inherited value has no effect (N30).
const DEFAULTS: &[(&str, &str)] = &[("SIZE", "512"), ("RUN_MKSWAP", "true")];

const HELP: &str = "\
Usage: nbdswapd [FILE]

Makes the swap FILE of an LTSP client. nbd-server runs this program, as
/etc/nbd-server/conf.d/swap.conf tells it to. Without FILE it is started by
inetd and serves a file of its own on standard input.

Settings: the variables SIZE (in MiB, default 512), RUN_MKSWAP (default true),
and without FILE also SWAPDIR, SWAP and NBD_SERVER_OPTS, are read from
/etc/ltsp/nbdswapd.conf.
See nbdswapd(8).
";

/// Makes a swap file. There are no options: any first word is the file (N32), but for these two, which
/// nbd-server never passes.
pub(super) fn main(call: Call<'_>, words: Vec<OsString>) -> Outcome {
    match words.as_slice() {
        [only] if only == "--help" => super::print(HELP),
        [only] if only == "--version" => super::print(&super::version(NAME)),
        _ => run(call, words.into_iter().next()).map_err(super::single),
    }
}

fn run(call: Call<'_>, file: Option<OsString>) -> Result<()> {
    let mut loaded = legacy::load_one(super::sources(call), std::env::vars_os(), DEFAULTS)?;
    if file.is_none() {
        // inetd's standard error is the connection to the client, too.
        loaded.warnings.clear();
    }
    let variables = super::told(loaded);
    crate::nbd::swap::run(&interpret(&variables, file)?)
}

fn interpret(variables: &Variables, file: Option<OsString>) -> Result<SwapSettings> {
    let path = |name: &str| variables.non_empty(name).map(PathBuf::from);
    let service = match file {
        Some(file) => SwapService::NbdServer(file.into()),
        None => SwapService::Inetd {
            dir: path("SWAPDIR"),
            file: path("SWAP"),
            server_options: words(variables.get("NBD_SERVER_OPTS").unwrap_or_default()),
        },
    };
    Ok(SwapSettings { size: size(variables)?, run_mkswap: variables.is_true("RUN_MKSWAP"), service })
}

fn size(variables: &Variables) -> Result<u64> {
    let value = variables.get("SIZE").unwrap_or_default();
    value.to_str().and_then(|text| text.parse().ok()).filter(|&size| size > 0).ok_or_else(|| {
        let origin = variables.origin("SIZE").map_or_else(String::new, |origin| format!(" (from {origin})"));
        Error::said(format!("SIZE={}{origin} is not a size", shown(OsStr::new(value))))
            .hint("give the number of MiB: SIZE=512")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::variables::Origin;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        let mut variables = Variables::default();
        for (name, value) in DEFAULTS.iter().chain(pairs) {
            variables.assign(name, *value, Origin::Default);
        }
        variables
    }

    #[test]
    fn the_manual_page_names_the_settings_of_the_help_text() {
        let manual = include_str!("../../man/nbdswapd.8");
        for name in ["SIZE", "RUN_MKSWAP", "SWAPDIR", "SWAP", "NBD_SERVER_OPTS"] {
            assert!(HELP.contains(name) && manual.contains(name), "{name}");
        }
    }

    // N30, N32, N33
    #[test]
    fn with_a_file_it_serves_nbd_server_and_without_one_inetd() {
        let pairs = [("SWAPDIR", "/d"), ("SWAP", ""), ("NBD_SERVER_OPTS", " -a  30 "), ("RUN_MKSWAP", "yes")];
        let found = interpret(&variables(&pairs), Some("/tmp/nbd-swap/x".into())).unwrap();
        let service = SwapService::NbdServer("/tmp/nbd-swap/x".into());
        assert_eq!(found, SwapSettings { size: 512, run_mkswap: false, service });
        let found = interpret(&variables(&pairs), None).unwrap();
        let server_options = vec!["-a".into(), "30".into()];
        assert_eq!(found.service, SwapService::Inetd { dir: Some("/d".into()), file: None, server_options });
    }

    #[test]
    fn a_size_that_is_no_number_is_refused() {
        for value in ["", "0", "1G", "-1", "x"] {
            let error = interpret(&variables(&[("SIZE", value)]), None).unwrap_err().to_string();
            assert!(error.starts_with(&format!("SIZE={value} (from ")), "{error}");
        }
    }
}
