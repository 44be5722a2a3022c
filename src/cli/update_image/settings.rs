//! What a command line of `ltsp-update-image` and its configuration mean together (§3.1, S9).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Id;
use crate::cli::Call;
use crate::cli::getopt::{CommandLine, Given};
use crate::config::engine::engine;
use crate::config::legacy::{absolute, base_directory};
use crate::config::settings::{Action, Compression, Settings, Steps};
use crate::config::switch::Switch;
use crate::config::variables::{Origin, Variables, expanded_words, words};
use crate::error::Result;
use crate::sys::command::Changes;

/// The list that comes with the package.
const EXCLUDE_FILE: &str = "/etc/ltsp/ltsp-update-image.excludes";

const CLEANUP: Switch = Switch {
    name: "CLEANUP",
    any_value: false,
    consequence: "; IMAGES ARE PUBLISHED UNCLEANED, with the accounts, passwords and keys of their chroots",
};
const REVERT: Switch = Switch::only_true("REVERT");
const NO_BACKUP: Switch = Switch::only_true("NO_BACKUP");
const NO_COMPRESS: Switch = Switch::any_value("NO_COMPRESS");
const CONFIG_NBD: Switch = Switch::any_value("CONFIG_NBD");

/// What a command line and the configuration mean together.
pub(super) struct Interpreted {
    /// Everything the run works from.
    pub(super) settings: Settings,
    /// What the admin should know.
    pub(super) warnings: Vec<String>,
}

pub(super) fn interpret(
    call: Call<'_>,
    line: CommandLine<Id>,
    mut variables: Variables,
) -> Result<Interpreted> {
    let mut warnings = Vec::new();
    let mut operands = line.operands;
    let mut excludes: Vec<OsString> =
        variables.non_empty("EXCLUDE").map(OsStr::to_owned).into_iter().collect();
    let mut excludes_of_files = true;
    let mut steps = Steps { image: true, kernels: true, exports: true };
    let mut verify = false;
    let mut tftp_dirs = None;
    let mut tftp_boot_dir = None;
    for given in &line.options {
        warnings.extend(deprecation(given));
        let mut set = |name, value: &OsStr, option| variables.assign(name, value, Origin::Option(option));
        match given.id {
            Id::Base => set("BASE", given.value(), "base"),
            Id::Cleanup => set("CLEANUP", "true".as_ref(), "cleanup"),
            Id::Compression => set("COMPRESSION", given.value(), "compression"),
            Id::ConfigNbd | Id::Force => set("CONFIG_NBD", "true".as_ref(), "config-nbd"),
            Id::NoCompress => set("NO_COMPRESS", "true".as_ref(), "no-compress"),
            Id::NoBackup => set("NO_BACKUP", "true".as_ref(), "no-backup"),
            Id::Revert => set("REVERT", "true".as_ref(), "revert"),
            Id::Exclude | Id::ExcludeDirs => {
                // The first option replaces what a file had set (S2), further ones add to it, an empty
                // value clears all (D3).
                if excludes_of_files || given.value().is_empty() {
                    excludes.clear();
                    excludes_of_files = false;
                }
                match given.id {
                    Id::ExcludeDirs => excludes.extend(words(given.value())),
                    _ if given.value().is_empty() => {}
                    _ => excludes.push(given.value().to_owned()),
                }
            }
            Id::Arch => operands.push(given.value().to_owned()),
            Id::TftpDirs => {
                set("TFTP_DIRS", given.value(), "tftp-dirs");
                tftp_dirs = Some(given.value().to_owned());
            }
            Id::TftpBootDir => tftp_boot_dir = Some(given.value().to_owned()),
            Id::Engine => set("ENGINE", given.value(), "engine"),
            Id::Verify => verify = true,
            Id::ImageOnly => steps.kernels = false,
            Id::SkipImage => steps.image = false,
            Id::Port | Id::NbdNamed | Id::BootParameter | Id::OpenbsdInetd | Id::Help | Id::Version => {}
        }
    }
    let reverting = REVERT.is_on(&variables);
    let mut switches = vec![REVERT, NO_BACKUP, NO_COMPRESS, CONFIG_NBD];
    if !reverting {
        // U41
        switches.insert(0, CLEANUP);
    }
    warnings.extend(switches.iter().filter_map(|switch| switch.doubt(&variables)));
    let (set, removed) = variables.child_environment(std::env::vars_os());
    let settings = Settings {
        action: if reverting { Action::Revert } else { Action::Build },
        base: base_directory(&variables)?,
        operands,
        cleanup: !reverting && CLEANUP.is_on(&variables),
        excluded_mounts: excluded_mounts(variables.get("EXCLUDED_MOUNTS").unwrap_or_default()),
        backup: !NO_BACKUP.is_on(&variables),
        compression: Compression {
            none: NO_COMPRESS.is_on(&variables),
            compressor: words(variables.get("COMPRESSION").unwrap_or_default()),
        },
        engine: engine(&variables)?,
        verify,
        exclude_file: exclude_file(&variables, Path::new(EXCLUDE_FILE))?,
        excludes,
        config_nbd: CONFIG_NBD.is_on(&variables),
        given_options: line.options.iter().filter(|given| matters(given)).flat_map(Given::words).collect(),
        tftp_dirs,
        tftp_boot_dir,
        known_tftp_dirs: expanded_words(variables.get("TFTP_DIRS").unwrap_or_default()),
        steps,
        called_as: call.called_as.to_owned(),
        child_environment: Changes { set, removed },
    };
    Ok(Interpreted { settings, warnings })
}

/// Whether an option belongs in a command line that is to do the same.
fn matters(given: &Given<Id>) -> bool {
    // The chroot is among the operands by now; the others do nothing.
    !matches!(given.id, Id::Arch | Id::Port | Id::NbdNamed)
}

/// Options of earlier releases that still do something, or nothing (§11.1).
fn deprecation(given: &Given<Id>) -> Option<String> {
    let instead = match given.id {
        Id::Arch => "name the chroot without an option",
        Id::Port => "it has no effect: clients ask for an image by its name, not by a port",
        Id::NbdNamed => "it has no effect: exports always have names now",
        Id::ExcludeDirs => "use --exclude",
        Id::Force => "it is read as --config-nbd",
        Id::TftpDirs => "set TFTP_DIRS in /etc/ltsp/ltsp-server.conf",
        Id::TftpBootDir => "set TFTP_BOOT_DIR in /etc/ltsp/ltsp-server.conf",
        Id::ImageOnly => "kernels are not updated this time",
        Id::SkipImage => "use ltsp-update-kernels and ltsp-config nbd-server",
        _ => return None,
    };
    Some(format!("{} is an option of earlier releases: {instead}", given.spelling))
}

/// A list separated by commas; a single name may hold commas itself (D12).
fn excluded_mounts(value: &OsStr) -> Vec<PathBuf> {
    let parts = value.as_bytes().split(|&byte| byte == b',').map(OsStr::from_bytes);
    let mut mounts: Vec<PathBuf> =
        parts.chain([value]).filter(|part| !part.is_empty()).map(Into::into).collect();
    mounts.dedup();
    mounts
}

/// The list of the package, or where there is none the one that a setting names (U43).
fn exclude_file(variables: &Variables, standard: &Path) -> Result<Option<PathBuf>> {
    if standard.is_file() {
        return Ok(Some(standard.to_owned()));
    }
    variables.non_empty("EXCLUDE_FILE").map(|file| absolute(file.into())).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::getopt;
    use crate::cli::update_image::{NAME, OPTIONS};

    fn interpreted(words: &[&str], variables: &[(&str, &str)]) -> Interpreted {
        let environment = variables.iter().map(|(name, value)| (name.into(), value.into()));
        let line = getopt::parse(OPTIONS, words.iter().map(OsString::from), false).unwrap();
        let call = Call { tool: NAME, called_as: "/usr/sbin/ltsp-update-image".as_ref() };
        interpret(call, line, Variables::from_environment(environment)).unwrap()
    }

    fn settings(words: &[&str], variables: &[(&str, &str)]) -> Settings {
        interpreted(words, variables).settings
    }

    // S2, S9, U8
    #[test]
    fn options_override_variables_and_the_last_of_them_wins() {
        let found = settings(&["-b", "/a", "--base=/b/", "amd64"], &[("BASE", "/c")]);
        assert_eq!(found.base, Path::new("/b"));
        assert_eq!(found.operands, ["amd64"]);
        assert_eq!(settings(&[], &[("BASE", "/c")]).base, Path::new("/c"));
        assert_eq!(settings(&["-b", ""], &[("BASE", "/c")]).base, Path::new("/opt/ltsp"));
        let found = settings(&["--compression=xz -b 1M"], &[("COMPRESSION", "gzip")]);
        assert_eq!(found.compression.compressor, ["xz", "-b", "1M"]);
        let found = settings(&["--compression="], &[("COMPRESSION", "gzip")]);
        assert_eq!(found.compression.compressor, [""; 0]);
    }

    // S9
    #[test]
    fn switches_are_read_from_options_and_variables() {
        let plain = settings(&[], &[]);
        assert!(plain.action == Action::Build && plain.backup && !plain.cleanup && !plain.config_nbd);
        assert!(!plain.compression.none);
        for (words, variables) in
            [(vec!["-c"], vec![]), (vec![], vec![("CLEANUP", "true")]), (vec!["-c"], vec![("CLEANUP", "no")])]
        {
            assert!(settings(&words, &variables).cleanup, "{words:?} {variables:?}");
        }
        assert!(!settings(&["-n"], &[]).backup);
        assert!(!settings(&[], &[("NO_BACKUP", "true")]).backup);
        assert!(settings(&[], &[("NO_BACKUP", "yes")]).backup);
        assert!(settings(&[], &[("NO_COMPRESS", "false")]).compression.none);
        assert!(settings(&["-f"], &[]).config_nbd);
        assert_eq!(settings(&["--revert"], &[]).action, Action::Revert);
        // U41
        assert!(!settings(&["-cr"], &[]).cleanup);
    }

    // D39
    #[test]
    fn doubtful_switches_are_told_unless_an_option_settles_them() {
        let variables = [("CLEANUP", "yes"), ("NO_COMPRESS", "false")];
        let warnings = interpreted(&[], &variables).warnings;
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("UNCLEANED"), "{warnings:?}");
        assert_eq!(interpreted(&["-cm"], &variables).warnings, [""; 0]);
        assert_eq!(interpreted(&["-mr"], &variables).warnings, [""; 0]);
    }

    // D3, S2, H4
    #[test]
    fn excludes_add_up_and_replace_the_variable() {
        let variable = [("EXCLUDE", "of file")];
        for (words, expected) in [
            (vec![], vec!["of file"]),
            (vec!["-e", "a b", "--exclude=c"], vec!["a b", "c"]),
            (vec!["--exclude="], vec![]),
            (vec!["-e", "a", "-e", "", "-e", "b"], vec!["b"]),
            (vec!["--exclude-dirs", " home  tmp "], vec!["home", "tmp"]),
        ] {
            assert_eq!(settings(&words, &variable).excludes, expected, "{words:?}");
        }
    }

    // H1–H13
    #[test]
    fn options_of_earlier_releases_are_accepted_with_a_warning() {
        let found = interpreted(&["-a", "i386", "x", "-p", "2000", "-N", "-d", "boot", "-i", "--force"], &[]);
        assert_eq!(found.settings.operands, ["x", "i386"]);
        assert_eq!(found.settings.tftp_boot_dir, Some("boot".into()));
        assert!(found.settings.config_nbd);
        assert_eq!(found.settings.steps, Steps { image: true, kernels: false, exports: true });
        assert_eq!(found.warnings.len(), 6, "{:?}", found.warnings);
        let found = settings(&["--tftp-dirs=/a /b", "-s"], &[("TFTP_DIRS", "/c")]);
        assert_eq!(found.tftp_dirs, Some("/a /b".into()));
        assert_eq!(found.known_tftp_dirs, [Path::new("/a"), Path::new("/b")]);
        assert!(!found.steps.image && found.steps.kernels);
    }

    // D12
    #[test]
    fn several_mounts_may_be_excluded() {
        for (value, expected) in
            [("", vec![]), ("/home", vec!["/home"]), ("/home,/srv,", vec!["/home", "/srv", "/home,/srv,"])]
        {
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(excluded_mounts(value.as_ref()), expected, "{value}");
        }
    }

    // U43
    #[test]
    fn the_standard_exclude_file_wins_where_it_exists() {
        let dir = tempfile::tempdir().unwrap();
        let standard = dir.path().join("standard");
        let mut variables = Variables::default();
        assert_eq!(exclude_file(&variables, &standard).unwrap(), None);
        variables.assign("EXCLUDE_FILE", "/a b", Origin::Environment);
        assert_eq!(exclude_file(&variables, &standard).unwrap(), Some("/a b".into()));
        std::fs::write(&standard, "").unwrap();
        assert_eq!(exclude_file(&variables, &standard).unwrap(), Some(standard));
    }

    // D14, U15
    #[test]
    fn the_options_given_can_be_repeated() {
        let found = settings(&["-cb", "/x", "--exc=a b", "-a", "amd64", "-p1"], &[]);
        assert_eq!(found.given_options, ["--cleanup", "--base=/x", "--exclude=a b"]);
        assert_eq!(found.called_as, "/usr/sbin/ltsp-update-image");
    }
}
