//! The command line of `ltsp-config` (N1, N2).

use std::ffi::{OsStr, OsString};

use super::getopt::{self, Argument, OptionSpec};
use super::{Call, Outcome, help};
use crate::config::legacy::base_directory;
use crate::config::settings::NbdSettings;
use crate::config::switch::Switch;
use crate::config::variables::{Origin, Variables};
use crate::error::{Error, Result, shown};

pub(super) const NAME: &str = "ltsp-config";

const OVERWRITE: Switch = Switch::only_true("OVERWRITE");
const QUIET: Switch = Switch::only_true("QUIET");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id {
    Base,
    Overwrite,
    Quiet,
    Help,
    Version,
    /// For tools that are not here.
    Nothing,
}

const OPTIONS: &[OptionSpec<Id>] = &[
    OptionSpec::new(
        Id::Base,
        Some(b'b'),
        "base",
        Argument::Required("PATH"),
        "The base directory: images lie in PATH/images. Default: /opt/ltsp.",
    ),
    OptionSpec::new(Id::Overwrite, Some(b'o'), "overwrite", Argument::None, "Rewrite files that exist."),
    OptionSpec::new(
        Id::Quiet,
        Some(b'q'),
        "quiet",
        Argument::None,
        "Do not warn about files that exist and are kept.",
    ),
    OptionSpec::new(Id::Help, Some(b'h'), "help", Argument::None, "Show this text."),
    OptionSpec::new(Id::Version, None, "version", Argument::None, "Show the version."),
    OptionSpec::new(
        Id::Nothing,
        Some(b'd'),
        "directory",
        Argument::Required("PATH"),
        "Accepted without effect.",
    ),
    OptionSpec::new(
        Id::Nothing,
        Some(b'l'),
        "language",
        Argument::Required("NAME"),
        "Accepted without effect.",
    ),
    OptionSpec::new(Id::Nothing, None, "enable-dns", Argument::None, "Accepted without effect."),
    OptionSpec::new(Id::Nothing, None, "no-proxy-dhcp", Argument::None, "Accepted without effect."),
];

fn help_text() -> String {
    format!(
        "\
Usage: ltsp-config nbd-server [OPTION]...

Writes an export for each image in the base directory, and one for swap files,
to /etc/nbd-server/conf.d, and has nbd-server read them.

Options:
{}
Settings: the variables BASE, OVERWRITE and QUIET are read from the
environment, then from /etc/ltsp/ltsp-server.conf, /etc/ltsp/ltsp-config.conf
and /etc/ltsp/ltsp-config.conf.d/* (names without a dot).
See ltsp-config(8).
",
        help::options(OPTIONS)
    )
}

/// Parses, prints help or version, or configures nbd-server.
pub(super) fn main(call: Call<'_>, words: Vec<OsString>) -> Outcome {
    let line = getopt::parse(OPTIONS, words, super::posixly_correct())?;
    let ids: Vec<Id> = line.options.iter().map(|given| given.id).collect();
    match ids.iter().find(|id| matches!(id, Id::Help | Id::Version)) {
        Some(Id::Help) => return super::print(&help_text()),
        Some(_) => return super::print(&super::version(NAME)),
        None => {}
    }
    let base = line.options.iter().rfind(|given| given.id == Id::Base).map(|given| given.value().to_owned());
    // Further operands are ignored (N1). The operand comes before the root check (S14).
    check_tool(line.operands.first().map(OsString::as_os_str))
        .and_then(|()| run(call, base, ids.contains(&Id::Overwrite), ids.contains(&Id::Quiet)))
        .map_err(super::single)
}

fn run(call: Call<'_>, base: Option<OsString>, overwrite: bool, quiet: bool) -> Result<()> {
    super::require_root()?;
    let mut variables = super::configuration(call)?;
    let settings = interpret(&mut variables, base, overwrite, quiet)?;
    super::warn_of_doubts(&[OVERWRITE, QUIET], &variables);
    crate::nbd::configure(&settings)
}

fn interpret(
    variables: &mut Variables,
    base: Option<OsString>,
    overwrite: bool,
    quiet: bool,
) -> Result<NbdSettings> {
    if let Some(base) = base {
        variables.assign("BASE", base, Origin::Option("base"));
    }
    if overwrite {
        variables.assign("OVERWRITE", "true", Origin::Option("overwrite"));
    }
    if quiet {
        variables.assign("QUIET", "true", Origin::Option("quiet"));
    }
    Ok(NbdSettings {
        base: base_directory(variables)?,
        overwrite: OVERWRITE.is_on(variables),
        quiet: QUIET.is_on(variables),
    })
}

/// Tells what to do instead where LTSP 5 had a tool that is not here.
fn check_tool(operand: Option<&OsStr>) -> Result<()> {
    let Some(operand) = operand else {
        return Err(Error::said(format!(
            "it needs the name of what to configure: nbd-server\n\n{}",
            help_text()
        )));
    };
    let instead = match operand.to_str() {
        Some("nbd-server") => return Ok(()),
        Some("dnsmasq") => {
            "write a file in /etc/dnsmasq.d yourself, or use `ltsp dnsmasq` of LTSP 19.08 or later"
        }
        Some("isc-dhcp-server") => {
            "write /etc/dhcp/dhcpd.conf yourself, or use dnsmasq with `ltsp dnsmasq` of LTSP 19.08 or later"
        }
        Some("lts.conf") => {
            "write lts.conf into the TFTP directory of the image yourself; later releases of LTSP read ltsp.conf"
        }
        Some("nfs") => {
            "add the base directory to /etc/exports yourself, or use `ltsp nfs` of LTSP 19.08 or later"
        }
        _ => {
            return Err(Error::said(format!(
                "there is nothing of the name {} to configure, only nbd-server\n\n{}",
                shown(operand),
                help_text()
            )));
        }
    };
    Err(Error::said(format!("{} is not configured by this program, only nbd-server is", shown(operand)))
        .hint(instead))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_table_the_help_text_and_the_manual_page_agree() {
        help::check_table(OPTIONS, &help_text(), include_str!("../../man/ltsp-config.8"));
    }

    // N1: also with the option that is ours.
    #[test]
    fn one_letter_is_enough_for_every_long_option() {
        let mut letters: Vec<_> = OPTIONS.iter().filter_map(|spec| spec.long?.chars().next()).collect();
        letters.sort_unstable();
        letters.dedup();
        assert_eq!(letters.len(), OPTIONS.len());
    }

    // N2, S9, D4, D24
    #[test]
    fn settings_come_from_variables_and_options() {
        let environment = [("BASE", "/a/"), ("OVERWRITE", "true"), ("QUIET", "yes")];
        let mut variables = Variables::from_environment(environment.map(|(n, v)| (n.into(), v.into())));
        let found = interpret(&mut variables, None, false, false).unwrap();
        assert_eq!(found, NbdSettings { base: "/a".into(), overwrite: true, quiet: false });
        let found = interpret(&mut variables, Some("/b".into()), false, true).unwrap();
        assert_eq!((found.base.as_path(), found.quiet), (Path::new("/b"), true));
        assert!(interpret(&mut variables, Some("/".into()), false, false).is_err());
    }

    // S14
    #[test]
    fn a_missing_or_unknown_operand_gets_the_usage_text() {
        for operand in [None, Some("nbd"), Some("")] {
            let error = check_tool(operand.map(OsStr::new)).unwrap_err();
            assert!(error.to_string().contains("Usage: ltsp-config nbd-server"), "{operand:?}: {error}");
            assert_eq!(error.status(), 1);
        }
        assert!(check_tool(Some("nbd-server".as_ref())).is_ok());
    }

    #[test]
    fn other_tools_of_ltsp_5_are_told_what_replaces_them() {
        for operand in ["dnsmasq", "isc-dhcp-server", "lts.conf", "nfs"] {
            let error = check_tool(Some(operand.as_ref())).unwrap_err().to_string();
            assert!(error.starts_with(operand) && error.contains("\nhint: "), "{error}");
        }
    }
}
