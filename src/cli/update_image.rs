//! The command line of `ltsp-update-image` (§3.1).

mod settings;

use std::ffi::OsString;

use super::getopt::{self, Argument, CommandLine, OptionSpec};
use super::{Call, Outcome, help};
use crate::error::{Error, Result};
use settings::{Interpreted, interpret};

pub(super) const NAME: &str = "ltsp-update-image";

/// What an option means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id {
    Base,
    Cleanup,
    Compression,
    Exclude,
    ConfigNbd,
    Help,
    NoCompress,
    NoBackup,
    Revert,
    Version,
    // Not in the original.
    Engine,
    Verify,
    // Of earlier releases, accepted (§11.1).
    Arch,
    Port,
    ExcludeDirs,
    TftpDirs,
    TftpBootDir,
    Force,
    ImageOnly,
    SkipImage,
    NbdNamed,
    // Of earlier releases, refused (§11.1).
    BootParameter,
    OpenbsdInetd,
}

const OPTIONS: &[OptionSpec<Id>] = &[
    OptionSpec::new(
        Id::Base,
        Some(b'b'),
        "base",
        Argument::Required("PATH"),
        "The base directory: chroots lie in it, images in PATH/images. Default: /opt/ltsp.",
    ),
    OptionSpec::new(
        Id::Cleanup,
        Some(b'c'),
        "cleanup",
        Argument::None,
        "Leave accounts, passwords, keys, logs and caches out of the image. The chroot itself is not changed.",
    ),
    OptionSpec::new(
        Id::Compression,
        None,
        "compression",
        Argument::Required("TYPE"),
        "Compress with gzip, lz4, lzo, xz or zstd. Further words are options of that compressor: \"xz -b 1M\". \
         Default: gzip.",
    ),
    OptionSpec::new(
        Id::Exclude,
        Some(b'e'),
        "exclude",
        Argument::Required("LIST"),
        "Leave out what matches these patterns, besides those in /etc/ltsp/ltsp-update-image.excludes. They \
         are separated by line breaks, blanks or commas; a LIST that as a whole matches something is one \
         pattern. May be repeated.",
    ),
    OptionSpec::new(
        Id::ConfigNbd,
        Some(b'f'),
        "config-nbd",
        Argument::None,
        "Go on although this server seems to export its chroots over NFS.",
    ),
    OptionSpec::new(Id::Help, Some(b'h'), "help", Argument::None, "Show this text."),
    OptionSpec::new(Id::NoCompress, Some(b'm'), "no-compress", Argument::None, "Do not compress the image."),
    OptionSpec::new(
        Id::NoBackup,
        Some(b'n'),
        "no-backup",
        Argument::None,
        "Do not keep the previous image as NAME.img.old.",
    ),
    OptionSpec::new(
        Id::Revert,
        Some(b'r'),
        "revert",
        Argument::None,
        "Make no image: exchange NAME.img with NAME.img.old, and update the kernels.",
    ),
    OptionSpec::new(Id::Version, None, "version", Argument::None, "Show the version."),
    OptionSpec::added(
        Id::Engine,
        "engine",
        Argument::Required("NAME"),
        "The program that writes the image: builtin, mksquashfs, or auto, which is builtin unless more is asked \
         of it than it can do. Default: auto.",
    ),
    OptionSpec::added(
        Id::Verify,
        "verify",
        Argument::None,
        "Compare every file in the new image with its source before it is published.",
    ),
    OptionSpec::old(Id::Arch, Some(b'a'), "arch", Argument::Required("CHROOT")),
    OptionSpec::old(Id::Port, Some(b'p'), "port", Argument::Required("PORT")),
    OptionSpec::old(Id::ExcludeDirs, None, "exclude-dirs", Argument::Required("LIST")),
    OptionSpec::old(Id::TftpDirs, Some(b't'), "tftp-dirs", Argument::Required("LIST")),
    OptionSpec::old(Id::TftpBootDir, Some(b'd'), "tftp-boot-dir", Argument::Required("DIR")),
    OptionSpec::old(Id::TftpBootDir, None, "tftpbootdir", Argument::Required("DIR")),
    OptionSpec::old(Id::Force, None, "force", Argument::None),
    OptionSpec::old(Id::ImageOnly, Some(b'i'), "image-only", Argument::None),
    OptionSpec::old(Id::SkipImage, Some(b's'), "skip-image", Argument::None),
    OptionSpec::old(Id::NbdNamed, Some(b'N'), "nbd-named", Argument::None),
    OptionSpec::old(Id::BootParameter, Some(b'I'), "ipappend", Argument::Required("N")),
    OptionSpec::old(Id::BootParameter, Some(b'o'), "options", Argument::Required("OPTIONS")),
    OptionSpec::old(Id::BootParameter, Some(b'S'), "server", Argument::Required("SERVER")),
    OptionSpec::old(Id::BootParameter, Some(b'T'), "timeout", Argument::Required("TIME")),
    OptionSpec::old(Id::OpenbsdInetd, Some(b'O'), "openbsd-inetd", Argument::None),
];

fn help_text() -> String {
    format!(
        "\
Usage: ltsp-update-image [OPTION]... [CHROOT]...

Makes a squashfs image of each CHROOT and publishes it for diskless clients:
the image in the base directory, its kernels in the TFTP directories, its
export in the configuration of nbd-server.

CHROOT is the name of a directory in the base directory, or the path of any
directory, or / for this server itself. Without one, every directory in the
base directory is taken that holds a system (an executable bin/true).

Options:
{}
Long options may be shortened as long as they stay unambiguous.

Examples:
  ltsp-update-image                     all chroots in /opt/ltsp
  ltsp-update-image -c /                this server without accounts and keys
  ltsp-update-image -e 'usr/share/doc/* usr/share/man/*' amd64
                                        without documentation
  ltsp-update-image --revert amd64      back to the previous image

Settings: the variables BASE, CLEANUP, COMPRESSION, CONFIG_NBD, EXCLUDE,
EXCLUDE_FILE, EXCLUDED_MOUNTS, NO_BACKUP, NO_COMPRESS, REVERT, TFTP_DIRS and
TFTP_BOOT_DIR are read from the environment, then from these files, which are
NAME=\"VALUE\" lines in the syntax of the shell. Later ones override earlier
ones, options override all of them:
  /etc/ltsp/ltsp-server.conf
  /etc/ltsp/ltsp-update-image.conf
  /etc/ltsp/ltsp-update-image.conf.d/*  (names without a dot)
See ltsp-update-image(8).
",
        help::options(OPTIONS)
    )
}

/// Parses, prints help or version, or makes images.
pub(super) fn main(call: Call<'_>, words: Vec<OsString>) -> Outcome {
    let line = getopt::parse(OPTIONS, words, super::posixly_correct())?;
    // U10: the first of them decides.
    match line.options.iter().map(|given| given.id).find(|id| matches!(id, Id::Help | Id::Version)) {
        Some(Id::Help) => return super::print(&help_text()),
        Some(_) => return super::print(&super::version(NAME)),
        None => {}
    }
    refused(&line)?;
    run(call, line).map_err(super::single)
}

fn run(call: Call<'_>, line: CommandLine<Id>) -> Result<()> {
    super::require_root()?;
    let variables = super::configuration(call)?;
    let Interpreted { settings, warnings } = interpret(call, line, variables)?;
    for warning in warnings {
        log::warn!("{warning}");
    }
    crate::run::run(&settings)
}

/// Options of earlier releases whose loss must not go unnoticed (H8, H10).
fn refused(line: &CommandLine<Id>) -> Outcome {
    let mut errors = Vec::new();
    for given in &line.options {
        let error = Error::said(format!("{} is not an option any more", given.spelling));
        match given.id {
            Id::BootParameter => errors
                .push(error.hint("boot parameters belong in etc/ltsp/update-kernels.conf inside the chroot")),
            Id::OpenbsdInetd => errors.push(error.hint("images are exported by nbd-server itself now")),
            _ => {}
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> std::result::Result<CommandLine<Id>, Vec<Error>> {
        getopt::parse(OPTIONS, words.iter().map(OsString::from), false)
    }

    #[test]
    fn the_table_the_help_text_and_the_manual_page_agree() {
        help::check_table(OPTIONS, &help_text(), include_str!("../../man/ltsp-update-image.8"));
    }

    // U5: whatever the old and the added options are called.
    #[test]
    fn every_abbreviation_of_a_current_option_means_what_it_meant() {
        let names = [
            "base",
            "cleanup",
            "compression",
            "config-nbd",
            "exclude",
            "help",
            "no-backup",
            "no-compress",
            "revert",
            "version",
        ];
        let listed: Vec<&str> =
            OPTIONS.iter().filter(|spec| !spec.yields).filter_map(|spec| spec.long).collect();
        assert_eq!(listed.len(), names.len());
        for name in names {
            for end in 1..=name.len() {
                let prefix = &name[..end];
                let fitting: Vec<&&str> = names.iter().filter(|name| name.starts_with(prefix)).collect();
                let word = format!("--{prefix}");
                // A value for those that take one; the others take it as an operand.
                let found = line(&[&word, "x"]).map(|line| line.options[0].spelling.clone());
                match fitting.as_slice() {
                    [only] => assert_eq!(found.unwrap(), format!("--{only}"), "{word}"),
                    _ => assert!(found.is_err(), "{word}"),
                }
            }
        }
        for ambiguous in ["--c", "--co", "--n", "--no", "--no-"] {
            assert!(line(&[ambiguous]).is_err(), "{ambiguous}");
        }
        assert_eq!(line(&["--no-comp"]).unwrap().options[0].id, Id::NoCompress); // H3
    }

    // U1, U4, U14
    #[test]
    fn letters_mean_what_they_mean_since_5_4() {
        for (words, expected) in [
            (vec!["-b", "x"], Id::Base),
            (vec!["-c"], Id::Cleanup),
            (vec!["-e", "x"], Id::Exclude),
            (vec!["-f"], Id::ConfigNbd),
            (vec!["-h"], Id::Help),
            (vec!["-m"], Id::NoCompress),
            (vec!["-n"], Id::NoBackup),
            (vec!["-r"], Id::Revert),
        ] {
            assert_eq!(line(&words).unwrap().options[0].id, expected, "{words:?}");
        }
    }

    // H8, H10
    #[test]
    fn options_that_would_be_missed_are_refused_all_at_once() {
        let line = line(&["-I", "3", "--timeout", "5", "-O", "-o", "quiet", "-S", "x"]).unwrap();
        let errors = refused(&line).unwrap_err();
        assert_eq!(errors.len(), 5);
        assert!(errors[1].to_string().starts_with("--timeout is not"), "{}", errors[1]);
        assert!(errors[0].to_string().contains("etc/ltsp/update-kernels.conf"), "{}", errors[0]);
    }
}
