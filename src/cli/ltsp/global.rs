//! The options before the applet's name (F3 to F5).

use std::ffi::OsString;

use super::APPLETS;
use crate::cli::getopt::{Argument, Given, OptionSpec};
use crate::cli::help;
use crate::config::modern::Globals;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Id {
    BaseDir,
    Help,
    HomeDir,
    Overwrite,
    TftpDir,
    Version,
}

pub(super) const OPTIONS: &[OptionSpec<Id>] = &[
    OptionSpec::new(
        Id::BaseDir,
        Some(b'b'),
        "base-dir",
        Argument::Required("DIR"),
        "Where chroots and virtual machines lie, and images in DIR/images. Default: /srv/ltsp.",
    ),
    OptionSpec::new(
        Id::Help,
        Some(b'h'),
        "help",
        Argument::Optional("APPLET"),
        "Show this text, or that of an applet.",
    ),
    OptionSpec::new(
        Id::HomeDir,
        Some(b'm'),
        "home-dir",
        Argument::Required("DIR"),
        "The home directories that clients use. Default: /home.",
    ),
    OptionSpec::new(
        Id::Overwrite,
        Some(b'o'),
        "overwrite",
        Argument::Optional("0|1"),
        "Whether configuration files that exist are written anew; 1 if no value is given.",
    ),
    OptionSpec::new(
        Id::TftpDir,
        Some(b't'),
        "tftp-dir",
        Argument::Required("DIR"),
        "What the TFTP server serves. Default: /srv/tftp.",
    ),
    OptionSpec::new(Id::Version, Some(b'V'), "version", Argument::None, "Show the version."),
];

pub(super) fn help_text() -> String {
    let applets: String =
        APPLETS.iter().map(|applet| format!("  {:9} {}\n", applet.name, applet.summary)).collect();
    format!(
        "\
Usage: ltsp [OPTION]... APPLET [ARGUMENT]...

Sets up a server for diskless clients, which boot over the network from an
image of the server itself, of a chroot or of a virtual machine.

Options, which stand before the applet:
{}
Applets:
{applets}
Other applets (dnsmasq, info, initrd, ipxe, nfs, ...) are those of the package
ltsp, and are handed to it if it is installed.

Examples:
  ltsp image /               make an image of this server
  ltsp --help=image          all about an applet

Settings are read from the environment and from the sections of
/etc/ltsp/ltsp.conf that fit; options override both.
See ltsp(8).
",
        help::options(OPTIONS)
    )
}

/// What is asked for instead of an applet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Information {
    Version,
    /// Of this applet, unless it is empty.
    Help(OsString),
}

/// The version as soon as it is asked for, otherwise the last help (F4, F5).
pub(super) fn information(options: &[Given<Id>]) -> Option<Information> {
    let mut asked = None;
    for given in options {
        match given.id {
            Id::Version => return Some(Information::Version),
            Id::Help => asked = Some(Information::Help(given.value().to_owned())),
            _ => {}
        }
    }
    asked
}

/// The variables that options set (F3).
pub(super) fn variables(options: &[Given<Id>]) -> Globals {
    let mut globals = Globals::default();
    for given in options {
        let (variable, option) = match given.id {
            Id::BaseDir => ("BASE_DIR", "base-dir"),
            Id::HomeDir => ("HOME_DIR", "home-dir"),
            Id::Overwrite => ("OVERWRITE", "overwrite"),
            Id::TftpDir => ("TFTP_DIR", "tftp-dir"),
            Id::Help | Id::Version => continue,
        };
        let value = match given.id {
            Id::Overwrite if given.value().is_empty() => "1".into(),
            _ => given.value().to_owned(),
        };
        globals.given.push((variable, option, value));
    }
    globals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::getopt::{self, CommandLine};

    fn line(words: &[&str]) -> CommandLine<Id> {
        getopt::parse(OPTIONS, words.iter().map(OsString::from), true).unwrap()
    }

    #[test]
    fn the_table_the_help_text_and_the_manual_page_agree() {
        help::check_table(OPTIONS, &help_text(), include_str!("../../../man/ltsp.8"));
    }

    // F1, F2, F3
    #[test]
    fn options_stand_before_the_applet() {
        for (words, operands, given) in [
            (&["-b/x", "image", "-b", "0"][..], &["image", "-b", "0"][..], &[("BASE_DIR", "/x")][..]),
            (&["--base=/x", "--", "-t"], &["-t"], &[("BASE_DIR", "/x")]),
            (&["-o", "0", "image"], &["0", "image"], &[("OVERWRITE", "1")]),
            (&["-o0", "--home", "/h", "image"], &["image"], &[("OVERWRITE", "0"), ("HOME_DIR", "/h")]),
            (&["-t", "", "image"], &["image"], &[("TFTP_DIR", "")]),
            (&["image", "-V"], &["image", "-V"], &[]),
            (&[], &[], &[]),
        ] {
            let line = line(words);
            assert_eq!(line.operands, operands, "{words:?}");
            let found = variables(&line.options).given;
            let found: Vec<_> =
                found.iter().map(|(name, _, value)| (*name, value.to_str().unwrap())).collect();
            assert_eq!(found, given, "{words:?}");
        }
    }

    // F4, F5
    #[test]
    fn help_and_version_are_recognised_in_all_their_forms() {
        let help = |applet: &str| Some(Information::Help(applet.into()));
        for (words, expected) in [
            (&["-h"][..], help("")),
            (&["--help=image"], help("image")),
            (&["-himage"], help("image")),
            (&["--help", "image"], help("")),
            (&["-h", "-V"], Some(Information::Version)),
            (&["-b", "/x", "--vers"], Some(Information::Version)),
            (&["image", "-h"], None),
        ] {
            assert_eq!(information(&line(words).options), expected, "{words:?}");
        }
    }
}
