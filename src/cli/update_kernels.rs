//! The command line of `ltsp-update-kernels` (K1).

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::getopt::{self, Argument, CommandLine, OptionSpec};
use super::{Call, Outcome, help};
use crate::config::legacy::base_directory;
use crate::config::settings::KernelSettings;
use crate::config::switch::Switch;
use crate::config::variables::{Origin, Variables, expanded_words};
use crate::error::{Error, Result, shown};
use crate::run::KERNEL_ROOT;
use crate::sys::{namespace, signals};

pub(super) const NAME: &str = "ltsp-update-kernels";

const PREFER_NBD_IMAGE: Switch = Switch::only_true("PREFER_NBD_IMAGE");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id {
    Base,
    Help,
    Version,
    // Of earlier releases (§11.3).
    TftpDirs,
    TftpBootDir,
    CopyTftp,
}

const OPTIONS: &[OptionSpec<Id>] = &[
    OptionSpec::new(
        Id::Base,
        Some(b'b'),
        "base",
        Argument::Required("PATH"),
        "The base directory: chroots lie in it, images in PATH/images. Default: /opt/ltsp.",
    ),
    OptionSpec::new(Id::Help, Some(b'h'), "help", Argument::None, "Show this text."),
    OptionSpec::new(Id::Version, None, "version", Argument::None, "Show the version."),
    OptionSpec::old(Id::TftpDirs, Some(b't'), "tftpdirs", Argument::Required("LIST")),
    OptionSpec::old(Id::TftpDirs, None, "tftp-dirs", Argument::Required("LIST")),
    OptionSpec::old(Id::TftpBootDir, Some(b'd'), "tftpbootdir", Argument::Required("DIR")),
    OptionSpec::old(Id::TftpBootDir, None, "tftp-boot-dir", Argument::Required("DIR")),
    OptionSpec::old(Id::CopyTftp, Some(b'c'), "copytftp", Argument::Required("true")),
];

fn help_text() -> String {
    format!(
        "\
Usage: ltsp-update-kernels [OPTION]... [NAME]...

Copies the kernels of chroots and images to the TFTP directories, where clients
that boot from the network find them.

NAME is a chroot or an image in the base directory, or the path of any chroot.
Without one, all of the base directory are taken.

Options:
{}
Examples:
  ltsp-update-kernels
  ltsp-update-kernels --base=/srv/ltsp amd64

Settings: the variables BASE, TFTP_DIRS (separated by blanks), TFTP_BOOT_DIR
and PREFER_NBD_IMAGE are read from the environment, then from
/etc/ltsp/ltsp-server.conf, /etc/ltsp/ltsp-update-kernels.conf and
/etc/ltsp/ltsp-update-kernels.conf.d/* (names without a dot).
See ltsp-update-kernels(8).
",
        help::options(OPTIONS)
    )
}

/// Parses, prints help or version, or updates kernels.
pub(super) fn main(call: Call<'_>, words: Vec<OsString>) -> Outcome {
    let line = getopt::parse(OPTIONS, words, super::posixly_correct())?;
    match line.options.iter().map(|given| given.id).find(|id| matches!(id, Id::Help | Id::Version)) {
        Some(Id::Help) => super::print(&help_text()),
        Some(_) => super::print(&super::version(NAME)),
        None => run(call, line).map_err(super::single),
    }
}

fn run(call: Call<'_>, line: CommandLine<Id>) -> Result<()> {
    super::require_root()?;
    let variables = super::configuration(call)?;
    super::warn_of_doubts(&[PREFER_NBD_IMAGE], &variables);
    // Not from the files: it holds for this one run only.
    let root = std::env::var_os(KERNEL_ROOT);
    let called_by_us = root.is_some();
    let root = root.filter(|root| !root.is_empty()).map(PathBuf::from);
    let (settings, warnings) = interpret(line, variables, root)?;
    // It has told already which of its own options are old.
    for warning in warnings.iter().filter(|_| !called_by_us) {
        log::warn!("{warning}");
    }
    // Images are mounted to be looked into: for this process alone, and undone after a signal too.
    signals::catch()?;
    // Where a container forbids that, chroots need no mounts.
    let _ = namespace::private_mounts();
    crate::kernel::update(&settings)
}

fn interpret(
    line: CommandLine<Id>,
    mut variables: Variables,
    root_override: Option<PathBuf>,
) -> Result<(KernelSettings, Vec<String>)> {
    let mut warnings = Vec::new();
    for given in &line.options {
        let mut set = |name, option| variables.assign(name, given.value(), Origin::Option(option));
        let instead = match given.id {
            Id::Base => {
                set("BASE", "base");
                continue;
            }
            Id::TftpDirs => {
                set("TFTP_DIRS", "tftpdirs");
                "set TFTP_DIRS in /etc/ltsp/ltsp-server.conf"
            }
            Id::TftpBootDir => {
                set("TFTP_BOOT_DIR", "tftpbootdir");
                "set TFTP_BOOT_DIR in /etc/ltsp/ltsp-server.conf"
            }
            Id::CopyTftp if given.value() == "true" => "kernels are always copied",
            // H33: it asked for kernels to stay away.
            Id::CopyTftp => {
                let value = shown(given.value());
                return Err(Error::said(format!("--copytftp {value} is not possible any more"))
                    .hint("to copy no kernels, do not call this program"));
            }
            Id::Help | Id::Version => continue,
        };
        warnings.push(format!("{} is an option of earlier releases: {instead}", given.spelling));
    }
    if root_override.is_some() && line.operands.len() != 1 {
        return Err(Error::said(format!("{KERNEL_ROOT} in the environment goes with exactly one name"))
            .hint(format!("unset {KERNEL_ROOT}")));
    }
    let settings = KernelSettings {
        base: base_directory(&variables)?,
        names: line.operands,
        tftp_dirs: expanded_words(variables.get("TFTP_DIRS").unwrap_or_default()),
        tftp_boot_dir: variables.get("TFTP_BOOT_DIR").map(OsStr::to_owned).unwrap_or_default(),
        prefer_image: PREFER_NBD_IMAGE.is_on(&variables),
        root_override,
    };
    Ok((settings, warnings))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn interpreted(words: &[&str], variables: &[(&str, &str)]) -> Result<(KernelSettings, Vec<String>)> {
        let line = getopt::parse(OPTIONS, words.iter().map(OsString::from), false).unwrap();
        let environment = variables.iter().map(|(name, value)| (name.into(), value.into()));
        interpret(line, Variables::from_environment(environment), None)
    }

    #[test]
    fn the_table_the_help_text_and_the_manual_page_agree() {
        help::check_table(OPTIONS, &help_text(), include_str!("../../man/ltsp-update-kernels.8"));
    }

    // U5
    #[test]
    fn one_letter_is_enough_for_each_current_option() {
        for (word, id) in [("--b=x", Id::Base), ("--h", Id::Help), ("--v", Id::Version)] {
            let line = getopt::parse(OPTIONS, [word.into()], false).unwrap();
            assert_eq!(line.options[0].id, id, "{word}");
        }
        // H34
        assert!(getopt::parse(OPTIONS, ["--basedir=x".into()], false).is_err());
    }

    // S3, S9
    #[test]
    fn settings_come_from_variables_and_options() {
        let variables =
            [("BASE", "/a/"), ("TFTP_DIRS", "/t  /u"), ("TFTP_BOOT_DIR", ""), ("PREFER_NBD_IMAGE", "true")];
        let (found, warnings) = interpreted(&["amd64", "/srv/x"], &variables).unwrap();
        let expected = KernelSettings {
            base: "/a".into(),
            names: vec!["amd64".into(), "/srv/x".into()],
            tftp_dirs: vec!["/t".into(), "/u".into()],
            tftp_boot_dir: OsString::new(),
            prefer_image: true,
            root_override: None,
        };
        assert_eq!((found, warnings), (expected, vec![]));
        let (found, _) = interpreted(&["-b/b"], &[("PREFER_NBD_IMAGE", "yes"), ("TFTP_DIRS", "")]).unwrap();
        assert_eq!(found.base, Path::new("/b"));
        assert!(!found.prefer_image);
        assert_eq!(found.tftp_dirs, [""; 0].map(PathBuf::from));
    }

    // H32, H33, H35
    #[test]
    fn options_of_earlier_releases_are_accepted_with_a_warning() {
        for words in [["-t", "/t", "-d", "x"], ["--tftp-dirs", "/t", "--tftp-boot-dir", "x"]] {
            let (found, warnings) = interpreted(&words, &[]).unwrap();
            assert_eq!(found.tftp_dirs, [Path::new("/t")]);
            assert_eq!(found.tftp_boot_dir, "x");
            assert_eq!(warnings.len(), 2, "{warnings:?}");
        }
        assert_eq!(interpreted(&["-c", "true"], &[]).unwrap().1.len(), 1);
        assert!(interpreted(&["--copytftp=false"], &[]).is_err());
    }
}
